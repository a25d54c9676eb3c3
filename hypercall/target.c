// SPDX-License-Identifier: BSD-2-Clause-Patent
// On whom a call may act (tlfs-reference 0.4).
#include "corbel/hypercall.h"
#include "corbel/partition.h"
#include "corbel/vp.h"

uint16_t hypercall_target(struct hypercall *call, uint64_t id, uint32_t allowed,
                          struct partition **target)
{
    struct partition *p = partition_get(id == HV_PARTITION_ID_SELF ? call->caller->id : id);
    bool self = p && p == call->caller;

    if (p && ((self && (allowed & HYPERCALL_SELF)) ||
              (p->parent == call->caller && (allowed & HYPERCALL_PARENT)))) {
        *target = p;
        return HV_STATUS_SUCCESS;
    }
    if (p)
        partition_put(p);
    // Whether somebody else's partition exists is told only to those who manage partitions.
    return p || !(call->caller->privileges & HV_PRIV_CREATE_PARTITIONS)
               ? HV_STATUS_ACCESS_DENIED
               : HV_STATUS_INVALID_PARTITION_ID;
}

uint16_t hypercall_active(struct hypercall *call, uint64_t id, uint32_t allowed,
                          struct partition **target)
{
    uint16_t status = hypercall_target(call, id, allowed, target);

    if (status == HV_STATUS_SUCCESS && atomic_load(&(*target)->state) != PARTITION_ACTIVE) {
        partition_put(*target);
        status = HV_STATUS_INVALID_PARTITION_STATE;
    }
    return status;
}

uint16_t hypercall_vp(struct hypercall *call, uint64_t id, uint32_t index, uint32_t allowed,
                      struct partition **target, struct vp **vp)
{
    uint16_t status = hypercall_active(call, id, allowed, target);

    if (status != HV_STATUS_SUCCESS)
        return status;
    if (index == HV_VP_INDEX_SELF && *target == call->caller)
        index = call->vp->index;
    *vp = partition_vp(*target, index);
    if (*vp)
        return HV_STATUS_SUCCESS;
    partition_put(*target);
    return HV_STATUS_INVALID_VP_INDEX;
}

uint16_t hypercall_begin_change(struct hypercall *call, uint64_t id, struct partition **target)
{
    uint16_t status = hypercall_target(call, id, HYPERCALL_PARENT, target);

    if (status == HV_STATUS_SUCCESS && atomic_exchange(&(*target)->changing, true)) {
        partition_put(*target);
        status = HV_STATUS_RETRY;
    }
    return status;
}

void hypercall_end_change(struct partition *target)
{
    atomic_store(&target->changing, false);
    partition_put(target);
}

uint16_t hypercall_input_vtl(uint8_t vtl)
{
    if (vtl & HV_INPUT_VTL_RESERVED_MASK)
        return HV_STATUS_INVALID_PARAMETER;
    if ((vtl & HV_INPUT_VTL_USE_TARGET) && (vtl & HV_INPUT_VTL_TARGET_MASK))
        return HV_STATUS_INVALID_VTL_STATE;
    return HV_STATUS_SUCCESS;
}

bool hypercall_proximity_valid(const struct hv_proximity_domain_info *info)
{
    if (info->flags & HV_PROXIMITY_RSVD_MASK)
        return false;
    return !(info->flags & HV_PROXIMITY_INFO_VALID) || (info->flags & HV_PROXIMITY_PREFERRED) ||
           info->domain_id == 0;
}

void hypercall_resume_vps(struct partition *p, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (p->vps[i])
            vp_resume(p->vps[i]);
}

bool hypercall_stop_vps(struct partition *p)
{
    for (uint32_t i = 0; i < p->vp_limit; i++) {
        if (p->vps[i] && !vp_stop(p->vps[i])) {
            hypercall_resume_vps(p, i);
            return false;
        }
    }
    return true;
}
