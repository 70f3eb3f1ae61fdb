/* Prints each of its arguments that the loader cannot open, each in a process of its own: a library may end it. */
#include <dlfcn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        int status = 0;
        pid_t child = fork();
        if (child == 0) _exit(dlopen(argv[i], RTLD_LAZY) ? 0 : 1);
        if (child < 0 || waitpid(child, &status, 0) < 0) return 2;
        if (status) puts(argv[i]);
    }
    return 0;
}
