#include "acme.h"
#include "transform.h"

const uint32_t transform_factor = 1;

const char *transform_open(void) { return 0; }

void transform(void *out, const void *in, uint64_t size) { acme_confd_square(out, in, size / sizeof(int32_t)); }
