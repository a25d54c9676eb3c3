// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the files of the classic scheduler share.
#pragma once

#include "corbel/sched.h"

// Moves a READY VP's virtual timer along with it. Both locks are held; `home` is `to` already.
void sched_timer_move(struct sched_lp *from, struct sched_lp *to, struct sched_vp *vp);

// Who waits for a root VP to finish is chosen among the others again. The lock is held.
void sched_settle(struct sched_lp *lp);

// Knuth's MMIX generator; the upper half is good enough to choose by.
static inline uint64_t sched_random(struct sched_lp *lp)
{
    lp->random = lp->random * 6364136223846793005u + 1442695040888963407u;
    return lp->random;
}
