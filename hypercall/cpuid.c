// SPDX-License-Identifier: BSD-2-Clause-Patent
// What a parent says and asks of its child's CPUID (tlfs-reference 1.8, 1.9).
#include "corbel/cpuid.h"
#include "corbel/partition.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "hypercall/list.h"

#define VALUES_FLAGS (HV_CPUID_VALUES_USE_VP_XFEM_XSS | HV_CPUID_VALUES_APPLY_REGISTERED_RESULTS)

// The child a result is for, active, and if the result is for one VP, with that VP.
static uint16_t result_target(struct hypercall *call, struct partition **p)
{
    const struct hv_input_register_intercept_result *in = call->input;
    uint16_t status;

    if (in->intercept_type != HV_INTERCEPT_TYPE_X64_CPUID)
        return HV_STATUS_INVALID_PARAMETER;
    status = hypercall_active(call, in->partition_id, HYPERCALL_PARENT, p);
    if (status == HV_STATUS_SUCCESS && in->vp_index != HV_ANY_VP &&
        !partition_vp(*p, in->vp_index)) {
        partition_put(*p);
        status = HV_STATUS_INVALID_VP_INDEX;
    }
    return status;
}

uint16_t hypercall_register_result(struct hypercall *call)
{
    const struct hv_input_register_cpuid_result *in = call->input;
    struct partition *p;
    uint16_t status;

    if (in->result.subleaf_specific > 1 || in->result.always_override > 1 || in->result.padding)
        return HV_STATUS_INVALID_PARAMETER;
    status = result_target(call, &p);
    if (status != HV_STATUS_SUCCESS)
        return status;
    spin_lock(&p->lock);
    status = cpuid_register(p, in->vp_index, &in->result);
    spin_unlock(&p->lock);
    partition_put(p);
    return status;
}

uint16_t hypercall_unregister_result(struct hypercall *call)
{
    const struct hv_input_unregister_cpuid_result *in = call->input;
    const struct hv_register_cpuid_result key = {
        .eax = in->eax, .ecx = in->ecx, .subleaf_specific = in->subleaf_specific};
    struct partition *p;
    uint16_t status;

    if (in->subleaf_specific > 1)
        return HV_STATUS_INVALID_PARAMETER;
    status = result_target(call, &p);
    if (status != HV_STATUS_SUCCESS)
        return status;
    spin_lock(&p->lock);
    status = cpuid_unregister(p, in->vp_index, &key);
    spin_unlock(&p->lock);
    partition_put(p);
    return status;
}

uint16_t hypercall_get_cpuid_values(struct hypercall *call)
{
    const struct hv_input_get_vp_cpuid_values *in = call->input;
    const struct hv_cpuid_leaf_info *leaves = call->elements;
    struct hv_cpuid_values *values = call->out_elements;
    struct partition *p;
    struct vp *vp;
    uint16_t status;

    if ((in->flags & ~VALUES_FLAGS) || in->reserved)
        return HV_STATUS_INVALID_PARAMETER;
    status = hypercall_vp(call, in->partition_id, in->vp_index, HYPERCALL_PARENT, &p, &vp);
    if (status != HV_STATUS_SUCCESS)
        return status;
    if (!vp_stop(vp)) {
        partition_put(p);
        return HV_STATUS_RETRY;
    }
    while (call->done < call->limit) {
        const struct hv_cpuid_leaf_info *leaf = &leaves[call->done - call->start];
        struct cpuid_question question = {leaf->eax, leaf->ecx,
                                          in->flags & HV_CPUID_VALUES_USE_VP_XFEM_XSS ? vp->xcr0
                                                                                      : leaf->xfem,
                                          !(in->flags & HV_CPUID_VALUES_APPLY_REGISTERED_RESULTS)};
        struct cpuid_entry e;

        cpuid_answer(vp, &question, &e);
        values[call->done - call->start] = (struct hv_cpuid_values){e.eax, e.ebx, e.ecx, e.edx};
        call->done++;
        if (hypercall_stop(call))
            break;
    }
    vp_resume(vp);
    partition_put(p);
    return HV_STATUS_SUCCESS;
}
