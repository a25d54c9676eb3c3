// SPDX-License-Identifier: BSD-2-Clause-Patent
// The core scheduler: a core belongs to one team at a time. A team is the VPs of one VM that are
// sibling threads, or one VP that has no siblings; each of its VPs runs on the thread of its number
// and nowhere else, and a thread whose VP does not run stays idle.
//
// Which team has a core, and for how long, is what the classic scheduler decides (corbel/sched.h),
// with a core for an LP and a team for a VP: shares, bounds and turns are of a core's time. What is
// here is how the threads of a core change from one team to the next: nobody enters any more, who
// is inside is told to leave, and whoever leaves last chooses; so VPs of two teams never run at
// once, however long a thread takes. Pure, like the rest of kernel/sched.
//
// Locks, in this order: the core's, the team's, the queue's.
#pragma once

#include "corbel/sched.h"

#define SCHED_THREADS_MAX 4u // of a core

struct sched_core {
    struct sched_lp queue; // first; of teams. `running` has the core
    struct spinlock lock;
    uint32_t inside;         // threads whose VP runs
    bool leaving;            // the team's turn is over: who is inside is to leave
    bool idle;               // nobody has the core, and that has been announced
    uint32_t first, threads; // LPs
};

struct sched_team {
    struct sched_vp unit; // first; what has turns
    struct spinlock lock;
    struct sched_vp *vps[SCHED_THREADS_MAX]; // by thread; guarded by the lock as their states are
    uint32_t ready;                          // threads whose VP is READY
};

// The cores of a machine whose LPs are prepared (sched_machine_init), all with `threads` of them.
struct sched_cores {
    struct sched_machine machine; // of their queues
    struct sched_core *cores;
    uint32_t threads;
};

// LPs of a core that have to come to sched_core_switch; more than that does them no harm.
struct sched_kick {
    const struct sched_core *core; // NULL: none
    uint32_t threads;
};

// `queues` has room for the cores' pointers. `places` of the LPs as for sched_machine_init; the LPs
// have been prepared. Each LP gets its core.
void sched_cores_init(struct sched_cores *cores, struct sched_core *array, struct sched_lp **queues,
                      struct sched_lp *const *lps, uint32_t threads,
                      const struct sched_place *places, uint32_t count,
                      const struct sched_policy *policy);

// An empty team, at home on a core; `pinned` as for a VP.
void sched_team_init(struct sched_team *team, struct sched_core *core, bool pinned);
// Adds a VP, blocked, for the thread of that number. The team has none there.
void sched_team_join(struct sched_team *team, struct sched_vp *vp, uint32_t thread,
                     struct sched_lp *const *lps);
// Removes a VP that is not to run any more, and waits for the LP that has picked it nevertheless.
// True: it was the last one, and the team is in no queue any more.
bool sched_team_leave(struct sched_vp *vp);

// BLOCKED -> READY. Any LP. The result is about the VP; *kick: who is to come to it.
enum sched_wake sched_core_wake(const struct sched_cores *cores, struct sched_vp *vp,
                                struct sched_kick *kick, uint64_t now);

// The LP's running VP, if it has one, stops running: blocked, or it could go on. Returns the VP
// that runs now, NULL: the LP is to be idle until it is kicked. *kick: the other threads that are
// to leave, or to come in. Owner LP.
struct sched_vp *sched_core_switch(struct sched_cores *cores, struct sched_lp *lp, bool blocked,
                                   struct sched_kick *kick, uint64_t now);

// At the end of the running VP's slice, when a bound lets somebody go (sched_must_look,
// sched_must_release of the LP), or when a kick says so: sets lp->preempt if the running VP has to
// give way, and until when neither can be. *kick: of an idle core that could help. Owner LP.
void sched_core_look(struct sched_cores *cores, struct sched_lp *lp, struct sched_kick *kick,
                     uint64_t now);

// For an idle LP: if nobody has its core, takes a team from another; true if one came. Owner LP.
bool sched_core_pull(const struct sched_cores *cores, struct sched_lp *lp);
// Whether it has to be looked again before the LP sleeps: somebody waits, and nobody has the core.
bool sched_core_waiting(const struct sched_lp *lp);

// As sched_boost and sched_give_way; the LP has a running VP, which leaves if it is true. Owner LP.
bool sched_core_boost(struct sched_lp *self, struct sched_vp *vp, uint64_t now);
bool sched_core_give_way(struct sched_lp *lp);

static inline struct sched_team *sched_core_team(const struct sched_core *core)
{
    return (struct sched_team *)core->queue.running;
}
