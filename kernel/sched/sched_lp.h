// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the files of the classic scheduler share.
#pragma once

#include "corbel/sched.h"

// Moves a READY VP's virtual timer along with it. Both locks are held; `home` is `to` already.
void sched_timer_move(struct sched_lp *from, struct sched_lp *to, struct sched_vp *vp);

// A VP of a team runs on an LP: what is left of its timer goes along. Owner of both.
void sched_vp_rehome(struct sched_vp *vp, struct sched_lp *to);
// Until when the LP is not to ask for releases of its core.
void sched_release_at(struct sched_lp *lp, uint64_t release);

// Who waits for a root VP to finish is chosen among the others again. The lock is held.
void sched_settle(struct sched_lp *lp);

// The VP that runs is one of sched_dispatch, and ends its turn: the root VP, which has its LP back.
// The lock is held.
struct sched_vp *sched_dispatched(struct sched_lp *lp, uint64_t now);

// Knuth's MMIX generator; the upper half is good enough to choose by.
static inline uint64_t sched_random(struct sched_lp *lp)
{
    lp->random = lp->random * 6364136223846793005u + 1442695040888963407u;
    return lp->random;
}
