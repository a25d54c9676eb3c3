// SPDX-License-Identifier: BSD-2-Clause-Patent
// The ideal that schedulers are measured against: everybody is served all the time, in proportion
// to weight, within bounds. The level is found by bisection.
#include "sim.h"

#define LEVEL_MAX (1ull << 44) // ppm an weight, 20 bits of fraction

static uint64_t at(const struct fluid *f, uint64_t level)
{
    uint64_t share = (uint64_t)(((unsigned __int128)level * f->weight) >> 20);

    if (share < f->floor)
        share = f->floor;
    return share < f->ceiling ? share : f->ceiling;
}

static uint64_t sum(const struct fluid *f, uint32_t count, uint64_t level, uint32_t group,
                    const uint64_t *levels)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t l = level;
        if (group && f[i].group != group)
            continue;
        if (levels && f[i].group && levels[f[i].group - 1] < l)
            l = levels[f[i].group - 1];
        total += at(&f[i], l);
    }
    return total;
}

static uint64_t highest(const struct fluid *f, uint32_t count, uint64_t capacity, uint32_t group,
                        const uint64_t *levels)
{
    uint64_t low = 0, high = LEVEL_MAX;

    while (low < high) {
        uint64_t middle = (low + high + 1) / 2;
        if (sum(f, count, middle, group, levels) <= capacity)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

void fluid_share(struct fluid *f, uint32_t count, uint64_t capacity, const uint64_t *groups,
                 uint32_t group_count)
{
    uint64_t levels[16], level;

    for (uint32_t g = 0; g < group_count; g++)
        levels[g] = highest(f, count, groups[g], g + 1, 0);
    level = highest(f, count, capacity, 0, levels);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t l = f[i].group && levels[f[i].group - 1] < level ? levels[f[i].group - 1] : level;
        f[i].share = at(&f[i], l);
    }
}
