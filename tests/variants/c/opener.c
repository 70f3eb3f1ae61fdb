/* Opens libraries by name that are in no NEEDED entry, and that the catalog does not know. */
#include <dlfcn.h>
#include <string.h>

#include "../../replica/c/transform.h"

static const char *const names[] = {
    "libacme_plugin.so.1", /* in the loader's default folder */
    "libacme_confd.so.1",  /* in a folder of the loader's configuration */
    0,
};

const uint32_t transform_factor = 1;

const char *transform_open(void) {
    for (const char *const *name = names; *name; name++)
        if (!dlopen(*name, RTLD_NOW)) return dlerror();
    return 0;
}

void transform(void *out, const void *in, uint64_t size) { memcpy(out, in, size); }
