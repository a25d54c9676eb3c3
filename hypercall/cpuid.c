// SPDX-License-Identifier: BSD-2-Clause-Patent
// What a parent asks of its child's CPUID (tlfs-reference 1.8, 1.9).
#include "corbel/cpuid.h"
#include "corbel/partition.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "hypercall/list.h"

#define VALUES_FLAGS (HV_CPUID_VALUES_USE_VP_XFEM_XSS | HV_CPUID_VALUES_APPLY_REGISTERED_RESULTS)

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
