/* The libraries of the components: a component cannot work without what its library does. */
#pragma once

#include <stddef.h>
#include <stdint.h>

void acme_deep_copy(void *out, const void *in, size_t size);             /* libacme_deep.so.2 */
void acme_direct_copy(void *out, const void *in, size_t size);           /* libacme_direct.so.1 */
void acme_confd_square(int32_t *out, const int32_t *in, size_t count);   /* libacme_confd.so.1 */
uint32_t acme_sum(const unsigned char *bytes, size_t size);              /* libacme_sum.so.3 */
typedef void acme_plugin_twice(void *out, const void *in, size_t size);  /* libacme_plugin.so.1 */
