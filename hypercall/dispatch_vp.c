// SPDX-License-Identifier: BSD-2-Clause-Patent
// The root scheduler's calls (spec: root-abi 3.2.1, 3.3, 3.8): dispatching a VP, and the pages in
// which its parent finds what it did.
#include "corbel/dispatch_vp.h"
#include "corbel/partition.h"
#include "corbel/registers.h"
#include "corbel/scheduler.h"
#include "corbel/state_page.h"
#include "corbel/vp.h"
#include "hv/call_system.h"
#include "hv/stats.h"
#include "hypercall/list.h"

// The register page's interrupts are CPUID 40000003 ECX bit 9, which is not offered. That the
// caller's side may be left unflushed is a permission, of which no use is made.
#define FLAGS                                                                                      \
    (HV_DISPATCH_VP_CLEAR_INTERCEPT_SUSPEND | HV_DISPATCH_VP_ENABLE_CALLER_INTERRUPTS |            \
     HV_DISPATCH_VP_SET_CALLER_SPEC_CTRL | HV_DISPATCH_VP_SKIP_VP_SPEC_FLUSH |                     \
     HV_DISPATCH_VP_SKIP_CALLER_SPEC_FLUSH | HV_DISPATCH_VP_SKIP_CALLER_USER_SPEC_FLUSH)

uint16_t hypercall_dispatch_vp(struct hypercall *call)
{
    const struct hv_input_dispatch_vp *in = call->input;
    union hv_register_value spec_ctrl = {.reg64 = in->spec_ctrl};
    struct partition *p;
    struct vp *vp;
    uint16_t status;

    if (dispatch_answer(call->vp, call->output))
        return HV_STATUS_SUCCESS;
    if (call->caller != root_partition)
        return HV_STATUS_ACCESS_DENIED;
    if (scheduler_type() != HV_SCHEDULER_TYPE_ROOT)
        return HV_STATUS_OPERATION_DENIED;
    if (in->flags & ~FLAGS)
        return HV_STATUS_INVALID_PARAMETER;
    status = hypercall_vp(call, in->partition_id, in->vp_index, HYPERCALL_PARENT, &p, &vp);
    if (status != HV_STATUS_SUCCESS)
        return status;
    if (in->flags & HV_DISPATCH_VP_SET_CALLER_SPEC_CTRL)
        status = register_set(call->vp, HV_REGISTER_SPEC_CTRL, &spec_ctrl);
    if (status != HV_STATUS_SUCCESS) {
        partition_put(p);
        return status;
    }
    return dispatch_begin(call->vp, vp, in, call->output);
}

// ---- pages --------------------------------------------------------------------------------------

// A VP of a child of the root's, stopped.
static uint16_t stopped(struct hypercall *call, uint64_t partition, uint32_t index,
                        struct partition **p, struct vp **vp)
{
    uint16_t status;

    if (call->caller != root_partition)
        return HV_STATUS_ACCESS_DENIED;
    status = hypercall_vp(call, partition, index, HYPERCALL_PARENT, p, vp);
    if (status == HV_STATUS_SUCCESS && !vp_stop(*vp)) {
        partition_put(*p);
        status = HV_STATUS_RETRY;
    }
    return status;
}

static uint16_t map(struct hypercall *call, uint64_t partition, uint32_t index,
                    enum state_page_type type, uint64_t *gpa_page)
{
    struct partition *p;
    struct vp *vp;
    uint16_t status = stopped(call, partition, index, &p, &vp);

    if (status != HV_STATUS_SUCCESS)
        return status;
    status = state_page_map(vp, type, gpa_page);
    vp_resume(vp);
    partition_put(p);
    return status;
}

static uint16_t unmap(struct hypercall *call, uint64_t partition, uint32_t index,
                      enum state_page_type type)
{
    struct partition *p;
    struct vp *vp;
    uint16_t status = stopped(call, partition, index, &p, &vp);

    if (status != HV_STATUS_SUCCESS)
        return status;
    if (vp->state_pages[type].page)
        state_page_unmap(vp, type);
    else
        status = HV_STATUS_INVALID_PARAMETER;
    vp_resume(vp);
    partition_put(p);
    return status;
}

uint16_t hypercall_map_vp_state_page(struct hypercall *call)
{
    const struct hv_input_map_vp_state_page *in = call->input;
    struct hv_output_map_vp_state_page *out = call->output;
    bool placed = in->flags & HV_VP_STATE_PAGE_LOCATION_PROVIDED;
    uint16_t status = hypercall_input_vtl(in->input_vtl);

    if (in->type != HV_VP_STATE_PAGE_INTERCEPT_MESSAGE ||
        (in->flags & ~HV_VP_STATE_PAGE_LOCATION_PROVIDED) ||
        (placed && in->requested_gpa_page >= call->caller->gpa.page_limit))
        return HV_STATUS_INVALID_PARAMETER;
    if (status != HV_STATUS_SUCCESS)
        return status;
    out->gpa_page = placed ? in->requested_gpa_page : STATE_PAGE_ANYWHERE;
    return map(call, in->partition_id, in->vp_index, STATE_PAGE_MESSAGE, &out->gpa_page);
}

uint16_t hypercall_unmap_vp_state_page(struct hypercall *call)
{
    const struct hv_input_unmap_vp_state_page *in = call->input;
    uint16_t status = hypercall_input_vtl(in->input_vtl);

    if (in->type != HV_VP_STATE_PAGE_INTERCEPT_MESSAGE || in->reserved)
        return HV_STATUS_INVALID_PARAMETER;
    if (status != HV_STATUS_SUCCESS)
        return status;
    return unmap(call, in->partition_id, in->vp_index, STATE_PAGE_MESSAGE);
}

// Statistics of children's VPs, in the area that is the VP's own; there are no others yet.
static bool names_vp(uint32_t type, uint32_t padding, const union hv_stats_object_identity *id)
{
    return type == HV_STATS_OBJECT_VP && !padding && !id->vp.flags && !id->vp.reserved &&
           id->vp.area == HV_STATS_AREA_SELF;
}

uint16_t hypercall_map_stats_page(struct hypercall *call)
{
    const struct hv_input_stats_page *in = call->input;
    struct hv_output_map_stats_page *out = call->output;

    if (!names_vp(in->type, in->padding, &in->identity))
        return HV_STATUS_INVALID_PARAMETER;
    out->gpa_page = STATE_PAGE_ANYWHERE;
    return map(call, in->identity.vp.partition_id, in->identity.vp.vp_index, STATE_PAGE_STATS,
               &out->gpa_page);
}

uint16_t hypercall_unmap_stats_page(struct hypercall *call)
{
    const struct hv_input_stats_page *in = call->input;

    if (!names_vp(in->type, in->padding, &in->identity))
        return HV_STATUS_INVALID_PARAMETER;
    return unmap(call, in->identity.vp.partition_id, in->identity.vp.vp_index, STATE_PAGE_STATS);
}
