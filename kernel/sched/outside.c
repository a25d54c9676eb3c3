// SPDX-License-Identifier: BSD-2-Clause-Patent
// VPs that the root schedules: they are in no queue, and run only in the place of a root VP, which
// has lent its LP (include/corbel/sched.h).
#include <stddef.h>

#include "corbel/sched.h"
#include "sched_lp.h"

// Never counted in a queue's sums, whoever runs.
void sched_vp_outside(struct sched_vp *vp)
{
    vp->outside = true;
    vp->ahead = true;
}

bool sched_dispatch(struct sched_lp *lp, struct sched_vp *to, uint64_t now, uint64_t end)
{
    struct sched_vp *from = lp->running;
    bool free;

    if (!sched_vp_move(to, lp, now))
        return false;
    spin_lock(&lp->lock);
    free = to->state == SCHED_BLOCKED && to->home == lp;
    if (free) {
        from->state = SCHED_LENT;
        from->woken = false;
        lp->lender = from;
        lp->turn_end = 0;
        to->slice_end = end;
        to->state = SCHED_RUNNING;
        lp->running = to;
    }
    spin_unlock(&lp->lock);
    return free;
}

struct sched_vp *sched_dispatched(struct sched_lp *lp, uint64_t now)
{
    struct sched_vp *root = lp->lender;

    lp->running->state = SCHED_BLOCKED;
    lp->lender = NULL;
    lp->preempt = false;
    root->slice_end = now + lp->queue.policy->slice;
    return root;
}
