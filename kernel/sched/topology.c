// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/topology.h"

#include <stdbool.h>

enum { EAX, EBX, ECX, EDX };

#define LEAF_CACHE        0x4u
#define LEAF_EXTENDED     0xBu
#define LEAF_EXTENDED_2   0x1Fu
#define LEAF_AMD          0x80000000u
#define LEAF_AMD_FEATURES 0x80000001u
#define LEAF_AMD_SIZES    0x80000008u
#define LEAF_AMD_CACHE    0x8000001Du
#define LEAF_AMD_TOPOLOGY 0x8000001Eu

#define AMD_TOPOLOGY_EXTENSIONS (1u << 22) // 8000_0001 ECX
#define SUBLEAVES_MAX           16u

static uint32_t bits_for(uint32_t count)
{
    return count > 1 ? 32 - (uint32_t)__builtin_clz(count - 1) : 0;
}

// SDM 2A CPUID leaves 0Bh and 1Fh: EAX 4:0 shift, ECX 15:8 kind of level (1: threads). False: the
// leaf says nothing.
static bool read_levels(topology_cpuid *cpuid, uint32_t leaf, struct topology *t)
{
    uint32_t r[4];
    bool any = false;

    for (uint32_t i = 0; i < SUBLEAVES_MAX; i++) {
        cpuid(leaf, i, r);
        uint32_t kind = r[ECX] >> 8 & 0xff;
        if (!kind || !r[EBX])
            break;
        if (kind == 1)
            t->shift[SCHED_NEAR_CORE] = r[EAX] & 0x1f;
        t->shift[SCHED_NEAR_NODE] = r[EAX] & 0x1f;
        any = true;
    }
    return any;
}

// EAX of both vendors' leaf: 4:0 type, 7:5 level, 25:14 threads that share it, less one.
static void read_cache(topology_cpuid *cpuid, uint32_t leaf, struct topology *t)
{
    uint32_t r[4];

    for (uint32_t i = 0; i < SUBLEAVES_MAX; i++) {
        cpuid(leaf, i, r);
        if (!(r[EAX] & 0x1f))
            break;
        if ((r[EAX] >> 5 & 7) >= 2)
            t->shift[SCHED_NEAR_CACHE] = bits_for((r[EAX] >> 14 & 0xfff) + 1);
    }
}

static void read_amd(topology_cpuid *cpuid, uint32_t last, bool levels, struct topology *t)
{
    uint32_t r[4];
    bool extensions;

    cpuid(LEAF_AMD_FEATURES, 0, r);
    extensions = r[ECX] & AMD_TOPOLOGY_EXTENSIONS;
    if (last >= LEAF_AMD_SIZES && !levels) {
        cpuid(LEAF_AMD_SIZES, 0, r);
        uint32_t size = r[ECX] >> 12 & 0xf;
        t->shift[SCHED_NEAR_NODE] = size ? size : bits_for((r[ECX] & 0xff) + 1);
    }
    if (extensions && last >= LEAF_AMD_TOPOLOGY) {
        if (!levels) {
            cpuid(LEAF_AMD_TOPOLOGY, 0, r);
            t->shift[SCHED_NEAR_CORE] = bits_for((r[EBX] >> 8 & 0xff) + 1);
        }
        read_cache(cpuid, LEAF_AMD_CACHE, t);
    }
}

void topology_read(topology_cpuid *cpuid, struct topology *t)
{
    uint32_t r[4], last;
    bool levels;

    *t = (struct topology){{0}};
    cpuid(0, 0, r);
    last = r[EAX];
    levels = (last >= LEAF_EXTENDED_2 && read_levels(cpuid, LEAF_EXTENDED_2, t)) ||
             (last >= LEAF_EXTENDED && read_levels(cpuid, LEAF_EXTENDED, t));
    if (last >= LEAF_CACHE)
        read_cache(cpuid, LEAF_CACHE, t); // AMD: no subleaf has a type
    cpuid(LEAF_AMD, 0, r);
    if (r[EAX] >= LEAF_AMD_FEATURES && r[EAX] < LEAF_AMD + 0x10000)
        read_amd(cpuid, r[EAX], levels, t);
    for (uint32_t d = SCHED_NEAR_CACHE; d < SCHED_FAR; d++)
        if (t->shift[d] < t->shift[d - 1])
            t->shift[d] = t->shift[d - 1];
}
