#include "acme.h"

/* Adler-32, as zlib.adler32 of Python. */
uint32_t acme_sum(const unsigned char *bytes, size_t size) {
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < size; i++) {
        a = (a + bytes[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}
