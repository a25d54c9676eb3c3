// SPDX-License-Identifier: BSD-2-Clause-Patent
// The synthetic time-unhalted timer of a VP (TLFS: Synthetic Time-Unhalted Timer MSRs): periodic,
// in time that the VP has run. All times are run time of the VP, 100 ns units. Owner LP only, or
// the VP is stopped. Pure.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define UNHALTED_NEVER     UINT64_MAX
#define UNHALTED_MIN_SPACE 500u // a timer expires at most every 50 us

struct unhalted_timer {
    uint64_t config; // HV_STIME_UNHALTED_*, as the guest wrote it
    uint64_t period;
    uint64_t due;  // the grid of the periods
    uint64_t fire; // when to expire: due or a little later
};

// Stopped, as a new VP has it.
void unhalted_init(struct unhalted_timer *t);

// Either write starts the first period anew; reserved bits are kept without effect.
void unhalted_set_config(struct unhalted_timer *t, uint64_t config, uint64_t runtime);
void unhalted_set_period(struct unhalted_timer *t, uint64_t period, uint64_t runtime);

// Whether the timer expires at `runtime`; if so the next expiration is chosen. Periods that went by
// unseen are skipped, and the grid is kept.
bool unhalted_expire(struct unhalted_timer *t, uint64_t runtime);

// Run time at which it expires next, or UNHALTED_NEVER.
static inline uint64_t unhalted_next(const struct unhalted_timer *t)
{
    return t->fire;
}
