/* Needs a symbol version that an older library of the same soname lacks. */
#include <string.h>

#include "../../replica/c/transform.h"

int acme_version_two(void);

const uint32_t transform_factor = 1;

const char *transform_open(void) { return acme_version_two() == 2 ? 0 : "libacme_versioned.so.1 is of an old version"; }

void transform(void *out, const void *in, uint64_t size) { memcpy(out, in, size); }
