// SPDX-License-Identifier: BSD-2-Clause-Patent
// Spin hints (TLFS: Guest Spinlocks) and the extended calls.
#include "corbel/lp.h"
#include "corbel/partition.h"
#include "corbel/vp.h"
#include "hypercall/list.h"

uint16_t hypercall_long_spin_wait(struct hypercall *call)
{
    if (call->caller->vp_count > 1 || this_lp()->sched.queue.count)
        vp_spin(call->vp);
    return HV_STATUS_SUCCESS;
}

uint16_t hypercall_extended_capabilities(struct hypercall *call)
{
    *(uint64_t *)call->output = 0;
    return HV_STATUS_SUCCESS;
}
