// SPDX-License-Identifier: BSD-2-Clause-Patent
// Virtual processors (tlfs-reference 1.8): life cycle, registers, address translation.
#include "corbel/cores.h"
#include "corbel/cpufeatures.h"
#include "corbel/guestmem.h"
#include "corbel/layout.h"
#include "corbel/msr.h"
#include "corbel/partition.h"
#include "corbel/registers.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "hypercall/list.h"

// ---- life cycle ---------------------------------------------------------------------------------

// VPs come and go one call at a time.
static uint16_t begin_change(struct hypercall *call, uint64_t id, struct partition **p)
{
    uint16_t status = hypercall_begin_change(call, id, p);

    if (status == HV_STATUS_SUCCESS && atomic_load(&(*p)->state) != PARTITION_ACTIVE) {
        hypercall_end_change(*p);
        status = HV_STATUS_INVALID_PARTITION_STATE;
    }
    return status;
}

// VPs that from now on share cores with others change their places, and are off their LPs
// meanwhile, as in delete_vp(). (They are all below the new one then.)
static uint16_t create_vp(struct partition *p, uint32_t index)
{
    bool shares = cores_in_use && cores_would_share(p, index);
    uint32_t limit = p->vp_limit;
    struct vp *vp;
    uint16_t status;

    if (shares && !hypercall_stop_vps(p))
        return HV_STATUS_RETRY;
    if (shares && atomic_load(&p->references) > 2) {
        hypercall_resume_vps(p, limit);
        return HV_STATUS_RETRY;
    }
    spin_lock(&p->lock);
    status = vp_create(p, index, &vp);
    spin_unlock(&p->lock);
    if (shares)
        hypercall_resume_vps(p, limit);
    return status;
}

uint16_t hypercall_create_vp(struct hypercall *call)
{
    const struct hv_input_create_vp *in = call->input;
    struct partition *p;
    uint16_t status;

    if (in->reserved[0] || in->reserved[1] || in->reserved[2] || in->subnode_type > HV_SUBNODE_L3 ||
        in->flags || !hypercall_proximity_valid(&in->proximity_domain_info))
        return HV_STATUS_INVALID_PARAMETER;
    status = begin_change(call, in->partition_id, &p);
    if (status != HV_STATUS_SUCCESS)
        return status;
    status = create_vp(p, in->vp_index);
    hypercall_end_change(p);
    return status;
}

// VPs reach each other without references (interprocessor interrupts), so all are off their LPs
// while one goes; hypercalls of the parent hold references. Either may have to be waited for.
static uint16_t delete_vp(struct partition *p, uint32_t index)
{
    struct vp *vp = partition_vp(p, index);

    if (!vp)
        return HV_STATUS_INVALID_VP_INDEX;
    if (!hypercall_stop_vps(p))
        return HV_STATUS_RETRY;
    __atomic_store_n(&p->vps[index], NULL, __ATOMIC_SEQ_CST);
    if (atomic_load(&p->references) > 2) {
        __atomic_store_n(&p->vps[index], vp, __ATOMIC_SEQ_CST);
        hypercall_resume_vps(p, p->vp_limit);
        return HV_STATUS_RETRY;
    }
    atomic_fetch_or(&vp->suspend, VP_SUSPEND_DEAD);
    partition_clear_vp_overlays(vp);
    port_space_forget(&p->ports, &vp->active->synic);
    hypercall_resume_vps(p, p->vp_limit);
    spin_lock(&p->lock);
    vp_destroy(vp);
    spin_unlock(&p->lock);
    return HV_STATUS_SUCCESS;
}

uint16_t hypercall_delete_vp(struct hypercall *call)
{
    const struct hv_input_delete_vp *in = call->input;
    struct partition *p;
    uint16_t status;

    if (in->reserved)
        return HV_STATUS_INVALID_PARAMETER;
    status = begin_change(call, in->partition_id, &p);
    if (status != HV_STATUS_SUCCESS)
        return status;
    status = delete_vp(p, in->vp_index);
    hypercall_end_change(p);
    return status;
}

// What the VP will refuse when it starts is refused here.
static bool context_valid(const struct hv_initial_vp_context *c, uint64_t cr4)
{
    const struct hv_x64_segment_register *segments[] = {&c->cs, &c->ds, &c->es, &c->fs,
                                                        &c->gs, &c->ss, &c->tr, &c->ldtr};

    for (unsigned i = 0; i < sizeof(segments) / sizeof(segments[0]); i++)
        if (segments[i]->attributes & HV_SEGMENT_RESERVED_MASK)
            return false;
    return !(c->rflags & ~(uint64_t)RFLAGS_ALLOWED) &&
           !(c->efer & ~(cpu_guest_efer() | EFER_LMA)) && !(c->cr4 & ~cr4) && !(c->cr0 >> 32) &&
           !((c->cr0 & CR0_PG) && !(c->cr0 & CR0_PE)) &&
           !((c->cr0 & CR0_NW) && !(c->cr0 & CR0_CD)) &&
           !(c->cr3 & ~(cpu_physical_mask() | 0xffful)) && msr_pat_valid(c->pat);
}

uint16_t hypercall_start_vp(struct hypercall *call)
{
    const struct hv_input_start_virtual_processor *in = call->input;
    uint32_t allowed = HYPERCALL_PARENT;
    struct partition *p;
    struct vp *vp;
    uint16_t status;

    if (call->caller->privileges & HV_PRIV_START_VIRTUAL_PROCESSOR)
        allowed |= HYPERCALL_SELF;
    if (in->reserved[0] || in->reserved[1] || in->reserved[2])
        return HV_STATUS_INVALID_PARAMETER;
    status = hypercall_vp(call, in->partition_id, in->vp_index, allowed, &p, &vp);
    if (status != HV_STATUS_SUCCESS)
        return status;
    if (in->target_vtl)
        status = HV_STATUS_ACCESS_DENIED;
    else if (vp == call->vp)
        status = HV_STATUS_INVALID_VP_INDEX;
    else if (!context_valid(&in->vp_context, p->features.cr4))
        status = HV_STATUS_INVALID_REGISTER_VALUE;
    else if (!vp_stop(vp))
        status = HV_STATUS_RETRY;
    if (status == HV_STATUS_SUCCESS) {
        vp->start_context = in->vp_context;
        vp_signal(vp, VP_WORK_START);
        vp_resume(vp);
    }
    partition_put(p);
    return status;
}

uint16_t hypercall_vp_index_from_apic_id(struct hypercall *call)
{
    const struct hv_input_get_vp_index_from_apic_id *in = call->input;
    const uint32_t *ids = call->elements;
    uint32_t *indexes = call->out_elements;
    struct partition *p;
    uint16_t status;

    for (uint32_t i = 0; i < sizeof(in->reserved); i++)
        if (in->reserved[i])
            return HV_STATUS_INVALID_PARAMETER;
    status = hypercall_active(call, in->partition_id, HYPERCALL_PARENT | HYPERCALL_SELF, &p);
    if (status != HV_STATUS_SUCCESS)
        return status;
    if (in->target_vtl)
        status = HV_STATUS_INVALID_VTL_STATE;
    while (status == HV_STATUS_SUCCESS && call->done < call->limit) {
        uint32_t at = call->done - call->start, i = 0;
        while (i < p->vp_limit && !(p->vps[i] && p->vps[i]->apic_id == ids[at]))
            i++;
        if (i == p->vp_limit) {
            status = HV_STATUS_INVALID_PARAMETER;
            break;
        }
        indexes[at] = i;
        call->done++;
        if (hypercall_stop(call))
            break;
    }
    partition_put(p);
    return status;
}

// ---- registers ----------------------------------------------------------------------------------

// A child's VP, named as it should be: nearly always.
static inline bool known_vp(const struct hypercall *call, const struct hv_input_vp_registers *in,
                            struct partition **p, struct vp **vp)
{
    *p = partition_get(in->partition_id);
    if (__builtin_expect(!*p, 0))
        return false;
    *vp = partition_vp(*p, in->vp_index);
    if ((*p)->parent == call->caller && *vp && atomic_load(&(*p)->state) == PARTITION_ACTIVE &&
        !(in->input_vtl | in->reserved[0] | in->reserved[1] | in->reserved[2]))
        return true;
    partition_put(*p);
    return false;
}

static uint16_t find_registers(struct hypercall *call, struct partition **p, struct vp **vp)
{
    const struct hv_input_vp_registers *in = call->input;
    uint16_t status = hypercall_input_vtl(in->input_vtl);

    if (in->reserved[0] | in->reserved[1] | in->reserved[2])
        return HV_STATUS_INVALID_PARAMETER;
    if (status != HV_STATUS_SUCCESS)
        return status;
    return hypercall_vp(call, in->partition_id, in->vp_index, HYPERCALL_PARENT, p, vp);
}

static inline uint16_t begin_registers(struct hypercall *call, struct partition **p, struct vp **vp)
{
    uint16_t status = HV_STATUS_SUCCESS;

    if (!known_vp(call, call->input, p, vp))
        status = find_registers(call, p, vp);
    if (status == HV_STATUS_SUCCESS && !vp_stop(*vp)) {
        partition_put(*p);
        status = HV_STATUS_RETRY;
    }
    return status;
}

uint16_t hypercall_get_registers(struct hypercall *call)
{
    const uint32_t *names = call->elements;
    union hv_register_value *values = call->out_elements;
    struct partition *p;
    struct vp *vp;
    uint16_t status = begin_registers(call, &p, &vp);

    if (status != HV_STATUS_SUCCESS)
        return status;
    while (call->done < call->limit) {
        uint32_t at = call->done - call->start;
        status = register_get(vp, names[at], &values[at]);
        if (status != HV_STATUS_SUCCESS)
            break;
        call->done++;
    }
    vp_resume(vp);
    partition_put(p);
    return status;
}

uint16_t hypercall_set_registers(struct hypercall *call)
{
    const struct hv_register_assoc *assoc = call->elements;
    uint32_t done = call->done;
    struct partition *p;
    struct vp *vp;
    uint16_t status = begin_registers(call, &p, &vp);

    if (status != HV_STATUS_SUCCESS)
        return status;
    for (; done < call->limit && status == HV_STATUS_SUCCESS; assoc++) {
        if (assoc->reserved[0] | assoc->reserved[1] | assoc->reserved[2])
            status = HV_STATUS_INVALID_PARAMETER;
        else
            status = register_set(vp, assoc->name, &assoc->value);
        done += status == HV_STATUS_SUCCESS;
    }
    call->done = done;
    if (call->lends)
        vp_resume_next(vp);
    else
        vp_resume(vp);
    partition_put(p);
    return status;
}

// ---- translation --------------------------------------------------------------------------------

#define TRANSLATE_FLAGS                                                                            \
    (HV_TRANSLATE_GVA_VALIDATE_MASK | HV_TRANSLATE_GVA_PRIVILEGE_EXEMPT |                          \
     HV_TRANSLATE_GVA_SET_PAGE_TABLE_BITS | HV_TRANSLATE_GVA_SUPERVISOR_ACCESS |                   \
     HV_TRANSLATE_GVA_USER_ACCESS | HV_TRANSLATE_GVA_ENFORCE_SMAP |                                \
     HV_TRANSLATE_GVA_OVERRIDE_SMAP)

static const struct {
    uint64_t flag;
    uint32_t walk;
} walk_flags[] = {
    {HV_TRANSLATE_GVA_VALIDATE_READ, WALK_READ},
    {HV_TRANSLATE_GVA_VALIDATE_WRITE, WALK_WRITE},
    {HV_TRANSLATE_GVA_VALIDATE_EXECUTE, WALK_EXECUTE},
    {HV_TRANSLATE_GVA_SET_PAGE_TABLE_BITS, WALK_SET_BITS},
    {HV_TRANSLATE_GVA_SUPERVISOR_ACCESS, WALK_SUPERVISOR},
    {HV_TRANSLATE_GVA_USER_ACCESS, WALK_USER},
    {HV_TRANSLATE_GVA_ENFORCE_SMAP, WALK_SMAP_ENFORCE},
    {HV_TRANSLATE_GVA_OVERRIDE_SMAP, WALK_SMAP_OVERRIDE},
};

// For whom rights are checked: as the flags say, else for the privilege that the VP has now.
static uint32_t walk_flags_of(struct vp *vp, uint64_t flags)
{
    uint32_t walk = 0;
    struct vcpu_mode mode;

    for (unsigned i = 0; i < sizeof(walk_flags) / sizeof(walk_flags[0]); i++)
        walk |= flags & walk_flags[i].flag ? walk_flags[i].walk : 0;
    if (flags & HV_TRANSLATE_GVA_PRIVILEGE_EXEMPT)
        return walk & ~(uint32_t)(WALK_SUPERVISOR | WALK_USER);
    if (!(walk & (WALK_SUPERVISOR | WALK_USER))) {
        vcpu->get_mode(vp, &mode);
        walk |= mode.cpl == 3 ? WALK_USER : WALK_SUPERVISOR;
    }
    return walk;
}

static uint64_t cache_type(struct vp *vp, uint32_t pat_index)
{
    union hv_register_value pat = {.reg128 = {0, 0}};
    uint64_t type;

    vcpu->get_register(vp, HV_REGISTER_PAT, &pat);
    type = pat.reg64 >> (8 * (pat_index & 7)) & 7;
    return type == 7 ? HV_CACHE_TYPE_UNCACHED : type; // UC-
}

static uint64_t success_result(struct vp *vp, const struct walk_result *w)
{
    struct gpa_translation t = gpa_translate(&vp->partition->gpa, w->gpa, GPA_NONE);

    return HV_TRANSLATE_GVA_SUCCESS |
           cache_type(vp, w->pat_index) << HV_TRANSLATE_RESULT_CACHE_TYPE_SHIFT |
           (t.status == GPA_OK && t.overlay ? HV_TRANSLATE_RESULT_OVERLAY_PAGE : 0);
}

static uint16_t translate(struct hypercall *call, struct walk_result *w, uint64_t *result)
{
    const struct hv_input_translate_virtual_address *in = call->input;
    uint64_t flags = in->control_flags & ~HV_TRANSLATE_GVA_INPUT_VTL_MASK;
    struct partition *p;
    struct vp *vp;
    uint16_t status =
        hypercall_input_vtl((uint8_t)(in->control_flags >> HV_TRANSLATE_GVA_INPUT_VTL_SHIFT));

    if ((flags & ~TRANSLATE_FLAGS) || !(flags & HV_TRANSLATE_GVA_VALIDATE_MASK) ||
        in->gva_page >> (64 - PAGE_SHIFT))
        return HV_STATUS_INVALID_PARAMETER;
    if (status == HV_STATUS_SUCCESS)
        status = hypercall_vp(call, in->partition_id, in->vp_index, HYPERCALL_PARENT, &p, &vp);
    if (status != HV_STATUS_SUCCESS)
        return status;
    if (vp_stop(vp)) {
        *w = guest_translate(vp, in->gva_page << PAGE_SHIFT, walk_flags_of(vp, flags));
        *result = w->code == WALK_SUCCESS ? success_result(vp, w) : (uint64_t)w->code;
        if (w->code == WALK_BUSY)
            status = HV_STATUS_RETRY;
        vp_resume(vp);
    } else {
        status = HV_STATUS_RETRY;
    }
    partition_put(p);
    return status;
}

static bool names_page(const struct walk_result *w)
{
    return w->code == WALK_SUCCESS || (w->code >= WALK_TABLE_UNMAPPED && w->code != WALK_BUSY);
}

uint16_t hypercall_translate(struct hypercall *call)
{
    struct hv_output_translate_virtual_address *out = call->output;
    struct walk_result w;
    uint16_t status = translate(call, &w, &out->translation_result);

    if (status == HV_STATUS_SUCCESS && names_page(&w))
        out->gpa_page = w.gpa >> PAGE_SHIFT;
    return status;
}

// Also what the VP would have to be injected with: a page fault.
uint16_t hypercall_translate_ex(struct hypercall *call)
{
    const struct hv_input_translate_virtual_address *in = call->input;
    struct hv_output_translate_virtual_address_ex *out = call->output;
    struct walk_result w;
    uint64_t result;
    uint16_t status = translate(call, &w, &result);

    if (status != HV_STATUS_SUCCESS)
        return status;
    out->translation_result = result;
    if (names_page(&w)) {
        out->gpa_page = w.gpa >> PAGE_SHIFT;
        return status;
    }
    out->pending_event[0].low = HV_PENDING_EVENT_PENDING |
                                HV_PENDING_EVENT_EXCEPTION << HV_PENDING_EVENT_TYPE_SHIFT |
                                HV_PENDING_EXCEPTION_DELIVER_ERROR_CODE |
                                (uint64_t)EXC_PF << HV_PENDING_EXCEPTION_VECTOR_SHIFT |
                                (uint64_t)w.error_code << HV_PENDING_EXCEPTION_ERROR_CODE_SHIFT;
    out->pending_event[0].high = in->gva_page << PAGE_SHIFT;
    return status;
}
