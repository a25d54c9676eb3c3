// SPDX-License-Identifier: BSD-2-Clause-Patent
// What LPs share, from their APIC ids: threads a core, cores a last-level cache, caches a package.
// SDM 3A 10.9; APM 3 appendix E.4 (CPUID 0000_000B, 8000_001D, 8000_001E). Pure.
#pragma once

#include <stdint.h>

#include "corbel/sched.h"

// The processor's CPUID, or a test's. Leaves beyond its maximum are not asked for.
typedef void topology_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);

// By how many bits an APIC id is shifted to number the cores, caches and packages.
struct topology {
    uint32_t shift[SCHED_FAR]; // by enum sched_distance; none is less than the one before
};

void topology_read(topology_cpuid *cpuid, struct topology *t);

static inline struct sched_place topology_place(const struct topology *t, uint32_t apic_id)
{
    struct sched_place place;

    for (uint32_t d = 0; d < SCHED_FAR; d++)
        place.id[d] = t->shift[d] < 32 ? apic_id >> t->shift[d] : 0;
    return place;
}
