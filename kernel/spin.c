// SPDX-License-Identifier: BSD-2-Clause-Patent
// Yielding to the holder of a lock. Who holds it is the guest's knowledge; it cannot be one that
// runs, and whoever of the partition waits for an LP may be.
#include "corbel/lp.h"
#include "corbel/vp.h"

static bool help_sibling(struct vp *vp)
{
    const struct partition *p = vp->partition;

    for (uint32_t i = 1; i <= p->vp_limit; i++) {
        struct vp *other = partition_vp(p, (vp->spun_for + i) % p->vp_limit);
        if (!other || other == vp ||
            __atomic_load_n(&other->sched.state, __ATOMIC_RELAXED) != SCHED_READY)
            continue;
        if (sched_boost(&this_lp()->sched, &other->sched, rdtsc())) {
            vp->spun_for = other->index;
            return true;
        }
    }
    return false;
}

__attribute__((noinline)) void vp_spin(struct vp *vp)
{
    if (help_sibling(vp) || sched_give_way(&this_lp()->sched))
        atomic_fetch_or_explicit(&vp->work, VP_WORK_LEAVE, memory_order_relaxed);
}
