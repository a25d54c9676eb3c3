// SPDX-License-Identifier: BSD-2-Clause-Patent
// Rates of a guest's TSC. SDM 3C 26.6.5 "TSC scaling", APM 2 15.30.5 "TSC Ratio MSR".
#include "corbel/tsc_ratio.h"

#include "corbel/reftime.h"

#define INTEGER_BITS 8 // AMD has these, Intel more

bool tsc_ratio_make(struct tsc_ratio *r, uint64_t from_hz, uint64_t to_hz, uint32_t fraction)
{
    uint64_t high = to_hz >> (64 - fraction), multiplier, rest;

    if (high >= from_hz)
        return false;
    multiplier = reftime_div128(high, to_hz << fraction, from_hz, &rest);
    multiplier += rest >= from_hz - rest;
    if (multiplier == 0 || multiplier >> (fraction + INTEGER_BITS))
        return false;
    r->multiplier = multiplier == UINT64_C(1) << fraction ? 0 : multiplier;
    r->fraction = fraction;
    return true;
}

// The product of a sum, rounded down, is not below the sum of the products, rounded down.
uint64_t tsc_ratio_reach(const struct tsc_ratio *r, uint64_t ticks)
{
    uint64_t high = ticks >> (64 - r->fraction), rest, machine;

    if (high >= r->multiplier)
        return UINT64_MAX;
    machine = reftime_div128(high, ticks << r->fraction, r->multiplier, &rest);
    return rest && machine < UINT64_MAX ? machine + 1 : machine;
}
