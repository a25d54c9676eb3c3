// SPDX-License-Identifier: BSD-2-Clause-Patent
// The classic scheduler: which VP an LP runs next. Each LP has a fair queue of its own (weights,
// caps, reserves, CPU groups: corbel/sched_queue.h) and decides alone; work moves only when an LP
// takes it from another (kernel/sched/balance.c). Root VPs come first when they wake, since all
// I/O waits for them, and compete as others do once their slice is used up.
//
// kernel/sched is pure: time and the machine come in as arguments, decisions come out; the same
// object files run in the hypervisor and in the simulator (tests/sched).
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/sched_queue.h"
#include "corbel/spinlock.h"

#define SCHED_LPS_MAX 2048u

struct sched_lp;
struct sched_core;
struct sched_team;

enum sched_state {
    SCHED_BLOCKED,
    SCHED_READY, // also while a bound holds it back
    SCHED_RUNNING,
    SCHED_LENT // ready, but has lent its LP and gets it back: sched_lend
};

struct sched_vp {
    struct sched_entity entity; // first
    struct sched_lp *home;      // LP whose lock guards this; changes only while READY
    enum sched_state state;
    bool pinned;              // root VPs: never move, preempt when they wake
    bool woken;               // while its LP is lent
    bool outside;             // in no queue: somebody else says when it runs (sched_dispatch)
    bool ahead;               // such a VP that has woken, for a slice: not in the queue's sums
    uint64_t slice_end;       // time
    const uint64_t *affinity; // bit set of the LPs it may run on; NULL: any
    uint64_t moves;           // from LP to LP
    // Core scheduler (corbel/sched_core.h): the siblings it runs with, and its thread of a core.
    struct sched_team *team;
    uint32_t thread;

    // Virtual timer: queue of the home LP, sorted by deadline.
    struct sched_vp *timer_next, *timer_previous;
    uint64_t timer_deadline; // SCHED_NO_TIMER: not queued
};

struct sched_lp {
    struct spinlock lock;
    struct sched_queue queue;
    struct sched_vp *running; // NULL: idle
    struct sched_vp *first;   // READY root VP that has woken: before all others
    struct sched_vp *resume;  // READY VP that was helped: it is next
    // Whose turn a root VP that runs now has interrupted. It may have been the VP's wish, to wait
    // for the root; as long as nobody else has to be chosen its turn just goes on, so it is
    // BLOCKED or READY but neither counted nor in the queue.
    struct sched_vp *interrupted;
    bool interrupted_ready;
    struct sched_vp *lender; // LENT by: the next to run; NULL: nobody
    uint64_t turn_end;       // of the interrupted VP, and of one that has borrowed the LP
    uint64_t interrupted_at;
    bool preempt;     // somebody came who should run at once
    uint64_t release; // when a bound next lets somebody go, SCHED_NEVER
    struct sched_vp *timers;
    struct sched_vp *popped; // whose timer was taken last, until the owner looks for the next
    uint64_t first_deadline; // of `timers` and `release`
    uint32_t assigned;       // VPs whose home this is

    uint32_t index; // in the machine
    uint32_t hint;  // LP that has work to take, when it woke this one
    uint64_t look;  // when it should look around again
    uint64_t probes, random;
    struct sched_range {
        uint32_t first, count;
    } near[SCHED_DISTANCES]; // of the machine, by distance
    struct sched_core *core; // core scheduler: whose thread it is; NULL: classic
};

// The LPs, sorted so that threads of a core, cores of a cache, and LPs of a node are neighbours.
struct sched_machine {
    struct sched_lp *const *lps;
    uint32_t count;
    const struct sched_policy *policy;
    _Atomic uint64_t idle[SCHED_LPS_MAX / 64]; // LPs that wait for work
    _Atomic uint32_t idle_count;
};

// Where an LP is: equal numbers at a level mean that two share it.
struct sched_place {
    uint32_t id[SCHED_FAR]; // by enum sched_distance
};

#define SCHED_NO_TIMER SCHED_NEVER

enum sched_wake {
    SCHED_WAKE_NONE,    // waits in a queue already
    SCHED_WAKE_RUNNING, // runs: nothing to do but tell it
    SCHED_WAKE_QUEUED,  // will run in its turn
    SCHED_WAKE_PREEMPT, // should run now: the home LP must be asked to reschedule
    SCHED_WAKE_HELD,    // a bound holds it: the home LP's timer may have to be set anew
    SCHED_WAKE_OUTSIDE  // it is nobody's here: whoever dispatches it has to be told
};

// `slice` in ticks; the other times follow from it.
void sched_policy_init(struct sched_policy *policy, uint64_t slice);
// Prepares the LPs of a machine. `places` has `count` entries, or is NULL: all are equally far.
void sched_machine_init(struct sched_machine *machine, struct sched_lp *const *lps,
                        const struct sched_place *places, uint32_t count,
                        const struct sched_policy *policy);

// Adds a VP, blocked. With pinned, it stays at `home` for ever.
void sched_vp_init(struct sched_vp *vp, struct sched_lp *home, bool pinned);
// Removes a VP that is not to run any more. Waits for the LP that has picked it nevertheless.
void sched_vp_remove(struct sched_vp *vp);
// Weight, reserve, cap and group from now on. The controls are valid (sched_controls_valid).
void sched_vp_control(struct sched_vp *vp, const struct sched_controls *controls, uint64_t now);

static inline bool sched_allowed(const struct sched_vp *vp, uint32_t lp)
{
    return !vp->affinity || (vp->affinity[lp / 64] >> (lp % 64) & 1);
}

// Locks the queue a VP belongs to now.
struct sched_lp *sched_lock_home(struct sched_vp *vp);

// BLOCKED -> READY. *home is where it was queued. Any LP.
enum sched_wake sched_wake(struct sched_vp *vp, struct sched_lp **home, uint64_t now);

// Whether an LP has the VP. Any LP; a change of the VP's that lets it run no more, made before, is
// either seen by the LP that picks it (after sched_switch) or shows here.
static inline bool sched_runs(const struct sched_vp *vp)
{
    return __atomic_load_n(&vp->state, __ATOMIC_SEQ_CST) == SCHED_RUNNING;
}

// Whether somebody could run on the LP. Any LP, no lock.
static inline bool sched_waiting(const struct sched_lp *lp)
{
    return __atomic_load_n(&lp->queue.count, __ATOMIC_SEQ_CST) ||
           __atomic_load_n(&lp->interrupted_ready, __ATOMIC_SEQ_CST) ||
           __atomic_load_n(&lp->first, __ATOMIC_SEQ_CST);
}

// The LP's running VP, if it has one, stops running: blocked, or it waits for its next turn.
// Returns the VP that runs now, NULL: none is ready. Owner LP.
struct sched_vp *sched_switch(struct sched_lp *lp, bool blocked, uint64_t now);

// The running VP blocks, and `to` is woken and runs in its place. False, and nothing has changed:
// `to` is neither a root VP, blocked and at home here, nor the lender. Owner LP.
bool sched_hand_over(struct sched_lp *lp, struct sched_vp *to, uint64_t now);

// The running VP, a root VP, wakes `to` and lets it run before it goes on itself: it has the LP
// again when `to` ends its turn, at the latest after `limit` ticks, or as soon as it is woken.
// False: `to` is not blocked, not at home here, or has bounds to be looked at; somebody else waits
// for the LP; or the root VP has used up its slice. Owner LP.
bool sched_lend(struct sched_lp *lp, struct sched_vp *to, uint64_t now, uint64_t limit);

// The running VP gives its place to a READY VP of its partition, of whichever LP, that is the next
// to run on this one. It has the other's place for it, so that both together, and everybody else,
// have what they had. False: the other is not ready or a bound holds it, may not move, or has
// another weight; somebody else's turn has come; or a queue is busy. Owner LP.
bool sched_boost(struct sched_lp *self, struct sched_vp *vp, uint64_t now);

// The root scheduler (TLFS: HvCallDispatchVp): a VP that is in no queue, from now on. It is
// blocked.
void sched_vp_outside(struct sched_vp *vp);
// The running VP, a root VP, lets `to`, one of those, run in its place until it blocks or has to
// give way: at time `end`, or as soon as the root VP is woken. `to` comes here if it was at home
// elsewhere. False: it runs. Owner LP.
bool sched_dispatch(struct sched_lp *lp, struct sched_vp *to, uint64_t now, uint64_t end);

// Whoever waits first is the next to run, before the running VP. False: nobody waits. Owner LP.
bool sched_give_way(struct sched_lp *lp);

// Whether a bound lets somebody go by now, and then: lets them go. True if somebody came: an idle
// LP may be asked to help (sched_spare). Owner LP.
static inline bool sched_must_release(const struct sched_lp *lp, uint64_t now)
{
    return lp->release <= now;
}
bool sched_release(struct sched_lp *lp, uint64_t now);

// Should the running VP give way now? Its turn is over and someone waits or a bound says so, or
// someone should run at once. Owner LP.
static inline bool sched_must_yield(const struct sched_lp *lp, uint64_t now)
{
    const struct sched_vp *running = lp->running;

    if (!running)
        return false;
    if (lp->lender)
        return lp->lender->woken || now >= running->slice_end;
    return __atomic_load_n(&lp->preempt, __ATOMIC_RELAXED) ||
           (!running->ahead && __atomic_load_n(&lp->first, __ATOMIC_RELAXED)) ||
           (now >= running->slice_end &&
            (sched_waiting(lp) || sched_entity_bounded(&running->entity)));
}

// The LPs on which a VP may run from now on: a bit set that stays, NULL: all. Where it is now it
// stays, until it is moved.
void sched_vp_confine(struct sched_vp *vp, const uint64_t *lps);

// A VP that does not run waits on another LP from now on. False: it runs. No queue is held.
bool sched_vp_move(struct sched_vp *vp, struct sched_lp *to, uint64_t now);

// ---- balance ------------------------------------------------------------------------------------

// For an idle LP: takes a READY VP from the nearest of others that have one to spare; true if
// something came. Owner LP.
bool sched_pull(struct sched_lp *self, const struct sched_machine *machine);

// Whether the LP should look around: a slice is over, or it has not looked for as long. Owner LP.
static inline bool sched_must_look(const struct sched_lp *lp, uint64_t now)
{
    return lp->running && !lp->lender && (now >= lp->running->slice_end || now >= lp->look);
}
// Then: if the running VP's slice is over and nobody waits, it gets another; and work that lacks
// more service than the running VP is taken from an LP nearby. Returns as sched_spare. Owner LP.
struct sched_lp *sched_look(struct sched_lp *self, struct sched_machine *machine, uint64_t now);

// An idle LP that could take work from here, and should be asked to; NULL: none. For an LP on which
// somebody came whom a bound had held. Owner LP.
struct sched_lp *sched_spare(struct sched_lp *self, const struct sched_machine *machine);

// Announces that the LP waits for work, and that it does no more. Owner LP.
void sched_idle_begin(struct sched_machine *machine, struct sched_lp *lp);
void sched_idle_end(struct sched_machine *machine, struct sched_lp *lp);
// The idle LP nearest to `lp` on which the VP may run, told where to take work from; NULL: none.
// A core of which no thread runs comes before the idle thread of a busy one.
struct sched_lp *sched_idle_near(const struct sched_machine *machine, const struct sched_lp *lp,
                                 const struct sched_vp *vp);

// For a VP with a reserve that has begun to wait, where no LP is idle: if a root VP runs on its LP,
// which nobody preempts (it may be about to halt, and all I/O waits for it), moves it to another
// LP, nearby if it can be, where it is to run before the running VP. That LP must be asked to
// reschedule. NULL: no root VP runs, none was found, or the VP does not wait any more. Any LP.
struct sched_lp *sched_elsewhere(const struct sched_machine *machine, struct sched_lp *home,
                                 struct sched_vp *vp, uint64_t now);

// ---- virtual timers -----------------------------------------------------------------------------

void sched_timer_set(struct sched_vp *vp, uint64_t deadline);
// Earliest deadline of the LP's timers and bounds, SCHED_NO_TIMER if none. Any LP, no lock.
static inline uint64_t sched_timer_first(const struct sched_lp *lp)
{
    return __atomic_load_n(&lp->first_deadline, __ATOMIC_RELAXED);
}
// Removes and returns a VP whose timer is due, or NULL. The owner may use it until it asks again;
// it asks until there is none.
struct sched_vp *sched_timer_pop(struct sched_lp *lp, uint64_t now);
// Whether the LP's owner may be using the VP so. Any LP.
static inline bool sched_timer_popped(const struct sched_lp *lp, const struct sched_vp *vp)
{
    return __atomic_load_n(&lp->popped, __ATOMIC_SEQ_CST) == vp;
}
