// SPDX-License-Identifier: BSD-2-Clause-Patent
// SDM 3A 3.4.5.
#include "boot/segment.h"

#define ATTRIBUTES_LOW  0x00ffu // type, S, DPL, P
#define ATTRIBUTES_HIGH 0xf000u // AVL, L, D, G
#define GRANULARITY     0x8000u
#define NON_SYSTEM      0x0010u
#define ACCESSED        0x0001u

static uint64_t read64(const uint8_t *at)
{
    uint64_t value = 0;
    for (unsigned i = 8; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

struct launch_segment segment_decode(const uint8_t *table, uint32_t limit, uint16_t selector,
                                     int system)
{
    struct launch_segment segment = {.selector = selector};
    uint32_t index = selector & 0xfff8u, size = system ? 16 : 8;
    if (!(selector & 0xfffcu) || index + size - 1 > limit)
        return segment;
    uint64_t low = read64(table + index);
    segment.base = (low >> 16 & 0xffffff) | (low >> 56 & 0xff) << 24;
    if (system)
        segment.base |= read64(table + index + 8) << 32;
    segment.attributes = (uint16_t)((low >> 40 & ATTRIBUTES_LOW) | (low >> 40 & ATTRIBUTES_HIGH));
    // A loaded segment counts as accessed, whatever the table says: VMX entry insists.
    if (segment.attributes & NON_SYSTEM)
        segment.attributes |= ACCESSED;
    segment.limit = (uint32_t)((low & 0xffff) | (low >> 32 & 0xf0000));
    if (segment.attributes & GRANULARITY)
        segment.limit = segment.limit << 12 | 0xfff;
    return segment;
}
