// SPDX-License-Identifier: BSD-2-Clause-Patent
// A guest's TSC that runs at another rate than the machine's: the processor multiplies (SDM 3C
// 26.6.5, APM 2 15.30.5), and the hypervisor computes the same. Integers only.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct tsc_ratio {
    uint64_t multiplier; // as the processor wants it; 0: the machine's rate
    uint32_t fraction;   // its low bits that are behind the point, 1..55
};

// The ratio to_hz / from_hz, to the nearest. False, and nothing changed: it is not above 0 and
// below 256, which is as much as any vendor's multiplier holds. Both rates above 0;
// fraction: 1..55.
bool tsc_ratio_make(struct tsc_ratio *r, uint64_t from_hz, uint64_t to_hz, uint32_t fraction);

// What a processor with a multiplier makes of its TSC: the low 64 bits of the product.
static inline uint64_t tsc_ratio_apply(const struct tsc_ratio *r, uint64_t tsc)
{
    unsigned __int128 product = (unsigned __int128)tsc * r->multiplier;

    return (uint64_t)(product >> 64) << (64 - r->fraction) | (uint64_t)product >> r->fraction;
}

// Ticks of the machine's TSC after which the guest's has gone on by `ticks` or more: no timer set
// to it is early. UINT64_MAX if that is more than there are. The multiplier is not 0.
uint64_t tsc_ratio_reach(const struct tsc_ratio *r, uint64_t ticks);
