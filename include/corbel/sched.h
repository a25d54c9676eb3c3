// SPDX-License-Identifier: BSD-2-Clause-Patent
// Scheduling: which VP an LP runs next. The policy is in kernel/sched and is pure: it sees struct
// sched_vp and struct sched_lp, and time as an argument. Present policy: one queue an LP, round
// robin with a time slice, root VPs first when they wake, work pulled by idle LPs.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/spinlock.h"

struct sched_lp;

enum sched_state {
    SCHED_BLOCKED,
    SCHED_READY,
    SCHED_RUNNING,
    SCHED_LENT // ready, but has lent its LP and gets it back: sched_lend
};

// A VP is boosted once at most between two turns that come by themselves: two that wait for each
// other would otherwise pass their LP to and fro for ever, before all who wait behind them.
enum sched_boosted {
    SCHED_NOT_BOOSTED,
    SCHED_AHEAD, // waits before its time
    SCHED_OWING  // has had, or has, such a turn
};

struct sched_vp {
    struct sched_vp *next, *previous; // queue of the LP, when READY
    struct sched_lp *home;            // LP whose lock guards this; changes only while READY
    enum sched_state state;
    bool pinned; // root VPs: never move
    bool urgent; // root VPs: preempt on wake-up
    bool woken;  // ready by a wake-up, not by the end of its slice
    enum sched_boosted boosted;
    uint64_t slice_end; // TSC

    // Virtual timer: queue of the home LP, sorted by deadline.
    struct sched_vp *timer_next, *timer_previous;
    uint64_t timer_deadline; // TSC; SCHED_NO_TIMER: not queued
};

struct sched_lp {
    struct spinlock lock;
    struct sched_vp *head, *tail; // READY VPs in the order in which they will run
    struct sched_vp *running;     // NULL: idle
    struct sched_vp *lender;      // LENT by: the next to run; NULL: nobody
    struct sched_vp *timers;
    uint64_t first_deadline; // of `timers`
    uint32_t ready_count;
    uint32_t assigned; // VPs whose home this is
};

#define SCHED_NO_TIMER UINT64_MAX

enum sched_wake {
    SCHED_WAKE_NONE,    // waits in a queue already
    SCHED_WAKE_RUNNING, // runs: nothing to do but tell it
    SCHED_WAKE_QUEUED,  // will run in its turn
    SCHED_WAKE_PREEMPT  // should run now: the home LP must be asked to reschedule
};

void sched_lp_init(struct sched_lp *lp);
// Adds a VP, blocked. With pinned, it stays at `home` for ever.
void sched_vp_init(struct sched_vp *vp, struct sched_lp *home, bool pinned);
// Removes a VP that is not to run any more. Waits for the LP that has picked it nevertheless.
void sched_vp_remove(struct sched_vp *vp);

// Locks the queue a VP belongs to now.
struct sched_lp *sched_lock_home(struct sched_vp *vp);

// BLOCKED -> READY. *home is where it was queued. Any LP.
enum sched_wake sched_wake(struct sched_vp *vp, struct sched_lp **home);

// Whether an LP has the VP. Any LP; a change of the VP's that lets it run no more, made before, is
// either seen by the LP that picks it (after sched_switch) or shows here.
static inline bool sched_runs(const struct sched_vp *vp)
{
    return __atomic_load_n(&vp->state, __ATOMIC_SEQ_CST) == SCHED_RUNNING;
}

// The LP's running VP, if it has one, stops running: blocked, or back to the end (or, if preempted
// with slice left, the front) of the queue. Returns the VP that runs now, NULL: none is ready.
// `slice` in TSC ticks. Owner LP.
struct sched_vp *sched_switch(struct sched_lp *lp, bool blocked, uint64_t now, uint64_t slice);

// The running VP blocks, and `to` is woken and runs in its place. False, and nothing has changed:
// `to` is neither blocked and at home here, nor the lender. Owner LP.
bool sched_hand_over(struct sched_lp *lp, struct sched_vp *to, uint64_t now, uint64_t slice);

// The running VP wakes `to` and lets it run before it goes on itself: it has the LP again when `to`
// ends its turn, at the latest after `limit` TSC ticks, or as soon as it is woken. False, and
// nothing has changed: `to` is not blocked, not at home here, or somebody else waits for the LP.
// Owner LP.
bool sched_lend(struct sched_lp *lp, struct sched_vp *to, uint64_t now, uint64_t limit);

// Takes a READY unpinned VP from a busier LP of the array; true if something came. Owner LP.
bool sched_pull(struct sched_lp *self, struct sched_lp *const lps[], uint32_t count);

// A READY VP, of whichever LP, becomes the next to run on this one. False: it is not ready, may not
// move, has been boosted last time, a root VP has just woken here, or a queue is busy. Owner LP.
bool sched_boost(struct sched_lp *self, struct sched_vp *vp);

// Should the running VP give way now? (slice over and someone waits, or an urgent VP or a lender
// has been woken)
bool sched_must_yield(const struct sched_lp *lp, uint64_t now);

// Virtual timers.
void sched_timer_set(struct sched_vp *vp, uint64_t deadline);
// Earliest deadline of the LP's timers, SCHED_NO_TIMER if none. Any LP, no lock.
static inline uint64_t sched_timer_first(const struct sched_lp *lp)
{
    return __atomic_load_n(&lp->first_deadline, __ATOMIC_RELAXED);
}
// Removes and returns a VP whose timer is due, or NULL.
struct sched_vp *sched_timer_pop(struct sched_lp *lp, uint64_t now);
