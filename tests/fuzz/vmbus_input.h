// SPDX-License-Identifier: BSD-2-Clause-Patent
// Bytes of a fuzzer, taken from the front; zeros when there are no more.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VG_PAGES    64
#define VG_MESSAGES 256

struct input {
    const uint8_t *data;
    size_t left;
};

static inline uint64_t take(struct input *input, unsigned size)
{
    uint64_t value = 0;

    while (size-- > 0 && input->left > 0) {
        value = value << 8 | *input->data++;
        input->left--;
    }
    return value;
}

static inline size_t take_bytes(struct input *input, void *to, size_t size)
{
    const size_t taken = size < input->left ? size : input->left;

    memcpy(to, input->data, taken);
    memset((uint8_t *)to + taken, 0, size - taken);
    input->data += taken;
    input->left -= taken;
    return taken;
}
