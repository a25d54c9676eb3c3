// SPDX-License-Identifier: BSD-2-Clause-Patent
// The C library's memory functions, which the compiler may call by itself. GNU-EFI's libefi has
// only some of them, in an object that drags in much else.
#include <stddef.h>
#include <stdint.h>

#include "root/lib/mem.h"

void *memcpy(void *restrict dst, const void *restrict src, size_t size)
{
    void *at = dst;
    size_t words = size / 8, rest = size % 8;

    __asm__ volatile("rep movsq" : "+D"(at), "+S"(src), "+c"(words) : : "memory");
    __asm__ volatile("rep movsb" : "+D"(at), "+S"(src), "+c"(rest) : : "memory");
    return dst;
}

void *memset(void *dst, int value, size_t size)
{
    void *at = dst;
    size_t words = size / 8, rest = size % 8;
    const uint64_t pattern = (uint8_t)value * UINT64_C(0x0101010101010101);

    __asm__ volatile("rep stosq" : "+D"(at), "+c"(words) : "a"(pattern) : "memory");
    __asm__ volatile("rep stosb" : "+D"(at), "+c"(rest) : "a"(pattern) : "memory");
    return dst;
}

int memcmp(const void *a, const void *b, size_t size)
{
    const uint8_t *left = a, *right = b;

    for (size_t i = 0; i < size; i++) {
        if (left[i] != right[i]) {
            return left[i] < right[i] ? -1 : 1;
        }
    }
    return 0;
}
