// SPDX-License-Identifier: BSD-2-Clause-Patent
// Spin hints (TLFS: Guest Spinlocks) and the extended calls.
#include "corbel/lp.h"
#include "corbel/vp.h"
#include "hypercall/list.h"

// The caller waits for a lock whose holder may be waiting for this LP. Only then is it worth giving
// up the rest of the slice.
uint16_t hypercall_long_spin_wait(struct hypercall *call)
{
    if (this_lp()->sched.ready_count)
        atomic_fetch_or_explicit(&call->vp->work, VP_WORK_LEAVE, memory_order_relaxed);
    return HV_STATUS_SUCCESS;
}

uint16_t hypercall_extended_capabilities(struct hypercall *call)
{
    *(uint64_t *)call->output = 0;
    return HV_STATUS_SUCCESS;
}
