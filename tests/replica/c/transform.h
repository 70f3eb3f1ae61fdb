/* What one backend does with INPUT0; backend.c does the rest. */
#pragma once

#include <stdint.h>

const char *transform_open(void);    /* NULL, or why the backend cannot work */
extern const uint32_t transform_factor; /* how many times as long as INPUT0 is OUTPUT0 */
void transform(void *out, const void *in, uint64_t size);
