// SPDX-License-Identifier: BSD-2-Clause-Patent
// A guest that goes on from its hibernation tells what time it was. TLFS:
// HvCallRestorePartitionTime.
#include "corbel/partition.h"
#include "corbel/vp.h"
#include "hypercall/list.h"

// The far half of either counter stays out of reach: times are compared, and differences taken.
#define TIME_LIMIT (UINT64_C(1) << 63)

static bool may_restore(const struct partition *p)
{
    return p->parent && (p->synthetic_features & HV_SYNTH_FEATURE_RESTORE_TIME) &&
           (p->privileges & PRIV_TIME) == PRIV_TIME;
}

// No VP may read one clock before the change and the other after it: they stand still meanwhile.
static uint16_t restore(struct partition *p, const struct hv_input_restore_partition_time *in)
{
    uint16_t status = HV_STATUS_RETRY;

    if (atomic_exchange(&p->changing, true))
        return HV_STATUS_RETRY;
    if (hypercall_stop_vps(p)) {
        partition_restore_time(p, in->reference_time, in->tsc, in->tsc_sequence);
        hypercall_resume_vps(p, p->vp_limit);
        status = HV_STATUS_SUCCESS;
    }
    atomic_store(&p->changing, false);
    return status;
}

uint16_t hypercall_restore_partition_time(struct hypercall *call)
{
    const struct hv_input_restore_partition_time *in = call->input;
    struct partition *p;
    uint16_t status =
        hypercall_active(call, in->partition_id, HYPERCALL_SELF | HYPERCALL_PARENT, &p);

    if (status != HV_STATUS_SUCCESS)
        return status;
    if (!may_restore(p))
        status = HV_STATUS_ACCESS_DENIED;
    else if (in->reserved || in->reference_time >= TIME_LIMIT || in->tsc >= TIME_LIMIT)
        status = HV_STATUS_INVALID_PARAMETER;
    else
        status = restore(p, in);
    partition_put(p);
    return status;
}
