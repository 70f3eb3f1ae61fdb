#include <string.h>

#include "acme.h"

acme_plugin_twice acme_twice;

void acme_twice(void *out, const void *in, size_t size) {
    memcpy(out, in, size);
    memcpy((char *)out + size, in, size);
}
