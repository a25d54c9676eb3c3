// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "boot/ranges.h"

bool ranges_add(struct launch_range *ranges, uint32_t *count, uint32_t max, uint64_t base,
                uint64_t size)
{
    uint64_t end = base + size;
    if (!size)
        return true;
    if (end < base)
        return false;
    // [first, last) are the ranges that touch the new one.
    uint32_t first = 0;
    while (first < *count && ranges[first].base + ranges[first].size < base)
        first++;
    uint32_t last = first;
    while (last < *count && ranges[last].base <= end)
        last++;
    if (first == last) {
        if (*count == max)
            return false;
        for (uint32_t i = *count; i > first; i--)
            ranges[i] = ranges[i - 1];
        ++*count;
        ranges[first] = (struct launch_range){base, size};
        return true;
    }
    uint64_t last_end = ranges[last - 1].base + ranges[last - 1].size;
    base = base < ranges[first].base ? base : ranges[first].base;
    end = end > last_end ? end : last_end;
    ranges[first] = (struct launch_range){base, end - base};
    for (uint32_t i = last; i < *count; i++)
        ranges[first + 1 + i - last] = ranges[i];
    *count -= last - first - 1;
    return true;
}
