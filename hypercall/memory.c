// SPDX-License-Identifier: BSD-2-Clause-Patent
// Maps of GPA spaces, and access to guest memory by GPA (tlfs-reference 1.7).
#include "corbel/guestmem.h"
#include "corbel/layout.h"
#include "corbel/partition.h"
#include "corbel/string.h"
#include "corbel/vp.h"
#include "hypercall/list.h"

// ADJUSTABLE only says that rights may be changed later; the others ask for what is not there.
#define MAP_FLAGS   (HV_MAP_GPA_PERMISSIONS_MASK | HV_MAP_GPA_ADJUSTABLE | HV_MAP_GPA_LARGE_PAGE)
#define UNMAP_FLAGS (HV_UNMAP_GPA_KEEP_PRECOMMITTED | HV_UNMAP_GPA_LARGE_PAGE)
#define LARGE_PAGES (HV_LARGE_PAGE_SIZE / HV_PAGE_SIZE)

// One call's changes to a target's space.
struct mapping {
    struct partition *target;
    uint32_t rights;
    bool large;
    struct gpa_batch batch;
};

static uint16_t begin(struct hypercall *call, uint64_t id, uint32_t flags, uint32_t relations,
                      struct mapping *m)
{
    uint16_t status = hypercall_active(call, id, relations, &m->target);

    if (status != HV_STATUS_SUCCESS)
        return status;
    m->rights = flags & HV_MAP_GPA_PERMISSIONS_MASK;
    m->large = flags & HV_MAP_GPA_LARGE_PAGE;
    if ((flags & ~MAP_FLAGS) || !gpa_rights_legal(m->rights)) {
        partition_put(m->target);
        return HV_STATUS_INVALID_PARAMETER;
    }
    gpa_batch_init(&m->batch, &m->target->gpa);
    return HV_STATUS_SUCCESS;
}

// A child's page from the caller's, which must have at least the rights that it gives away and be
// one page of that size. The root maps itself only onto itself: what may change are its rights.
static uint16_t map_one(const struct hypercall *call, struct mapping *m, uint64_t gpa_page,
                        uint64_t source)
{
    struct gpa_space *from = &call->caller->gpa;
    struct gpa_translation t;

    if (source >= from->page_limit)
        return HV_STATUS_INVALID_PARAMETER;
    if (m->target == call->caller)
        return source == gpa_page ? gpa_protect(from, gpa_page, m->rights, m->large, &m->batch)
                                  : HV_STATUS_ACCESS_DENIED;
    t = gpa_translate(from, source << PAGE_SHIFT, m->rights);
    if (t.status != GPA_OK || t.overlay || (m->large && t.page_size < HV_LARGE_PAGE_SIZE))
        return HV_STATUS_OPERATION_DENIED;
    return gpa_map(&m->target->gpa, gpa_page, t.spa >> PAGE_SHIFT, m->rights, m->large, &m->batch);
}

// What is done with one element, `index` of those that this execution of the call has before it.
typedef uint16_t step(const struct hypercall *call, struct mapping *m, uint32_t index);

// Does the steps that are left, unless `status` is an error already, and ends what begin() began.
static uint16_t for_each(struct hypercall *call, struct mapping *m, uint16_t status, step *one)
{
    while (status == HV_STATUS_SUCCESS && call->done < call->limit) {
        if (!gpa_batch_has_room(&m->batch)) {
            partition_commit(m->target, &m->batch);
            gpa_batch_init(&m->batch, &m->target->gpa);
        }
        status = one(call, m, call->done - call->start);
        if (status == HV_STATUS_SUCCESS)
            call->done++;
        if (call->done < call->limit && hypercall_stop(call))
            break;
    }
    partition_commit(m->target, &m->batch);
    partition_put(m->target);
    return status;
}

// The page that the next element of a call on consecutive pages is about.
static uint64_t next_page(const struct hypercall *call, const struct mapping *m, uint64_t base)
{
    return base + call->done * (m->large ? LARGE_PAGES : 1);
}

static uint16_t map_step(const struct hypercall *call, struct mapping *m, uint32_t index)
{
    const struct hv_input_map_gpa_pages *in = call->input;
    const uint64_t *sources = call->elements;

    return map_one(call, m, next_page(call, m, in->target_gpa_base), sources[index]);
}

uint16_t hypercall_map_gpa(struct hypercall *call)
{
    const struct hv_input_map_gpa_pages *in = call->input;
    struct mapping m;
    uint16_t status =
        begin(call, in->target_partition_id, in->map_flags, HYPERCALL_PARENT | HYPERCALL_SELF, &m);

    if (status != HV_STATUS_SUCCESS)
        return status;
    if (in->target_gpa_base >= m.target->gpa.page_limit)
        status = HV_STATUS_INVALID_PARAMETER;
    return for_each(call, &m, status, map_step);
}

static uint16_t sparse_step(const struct hypercall *call, struct mapping *m, uint32_t index)
{
    const struct hv_gpa_mapping *pair = (const struct hv_gpa_mapping *)call->elements + index;

    return map_one(call, m, pair->target_gpa_page, pair->source_gpa_page);
}

uint16_t hypercall_map_sparse(struct hypercall *call)
{
    const struct hv_input_map_sparse_gpa_pages *in = call->input;
    struct mapping m;
    uint16_t status =
        begin(call, in->target_partition_id, in->map_flags, HYPERCALL_PARENT | HYPERCALL_SELF, &m);

    return status == HV_STATUS_SUCCESS ? for_each(call, &m, status, sparse_step) : status;
}

static uint16_t unmap_step(const struct hypercall *call, struct mapping *m, uint32_t index)
{
    const struct hv_input_unmap_gpa_pages *in = call->input;

    (void)index;
    return gpa_unmap(&m->target->gpa, next_page(call, m, in->target_gpa_base), m->large, &m->batch);
}

uint16_t hypercall_unmap_gpa(struct hypercall *call)
{
    const struct hv_input_unmap_gpa_pages *in = call->input;
    struct mapping m;
    uint16_t status = begin(call, in->target_partition_id, 0, HYPERCALL_PARENT, &m);

    if (status != HV_STATUS_SUCCESS)
        return status;
    m.large = in->unmap_flags & HV_UNMAP_GPA_LARGE_PAGE;
    if ((in->unmap_flags & ~UNMAP_FLAGS) || in->target_gpa_base >= m.target->gpa.page_limit)
        status = HV_STATUS_INVALID_PARAMETER;
    return for_each(call, &m, status, unmap_step);
}

static uint16_t modify_step(const struct hypercall *call, struct mapping *m, uint32_t index)
{
    const uint64_t *pages = call->elements;

    return gpa_protect(&m->target->gpa, pages[index], m->rights, m->large, &m->batch);
}

uint16_t hypercall_modify_sparse(struct hypercall *call)
{
    const struct hv_input_modify_sparse_gpa_pages *in = call->input;
    struct mapping m;
    uint16_t status = begin(call, in->target_partition_id, in->map_flags, HYPERCALL_PARENT, &m);

    if (status != HV_STATUS_SUCCESS)
        return status;
    if (in->reserved)
        status = HV_STATUS_INVALID_PARAMETER;
    return for_each(call, &m, status, modify_step);
}

// ---- ReadGpa, WriteGpa --------------------------------------------------------------------------

static bool cache_type_valid(uint64_t flags)
{
    switch (flags) {
    case HV_CACHE_TYPE_UNCACHED:
    case HV_CACHE_TYPE_WRITE_COMBINING:
    case HV_CACHE_TYPE_WRITE_THROUGH:
    case HV_CACHE_TYPE_WRITE_PROTECTED:
    case HV_CACHE_TYPE_WRITE_BACK:
        return true;
    default:
        return false;
    }
}

static uint32_t access_result(enum gpa_status status, bool write)
{
    switch (status) {
    case GPA_OK:
        return HV_ACCESS_GPA_SUCCESS;
    case GPA_NO_ACCESS:
        return write ? HV_ACCESS_GPA_WRITE_INTERCEPT : HV_ACCESS_GPA_READ_INTERCEPT;
    case GPA_OVERLAY_DENIED:
        return HV_ACCESS_GPA_ILLEGAL_OVERLAY_ACCESS;
    default:
        return HV_ACCESS_GPA_UNMAPPED;
    }
}

// Both calls: the header is the same. The registers of the APIC page are not memory, so it reads as
// unmapped; they have names (HvCallGetVpRegisters).
static uint16_t access_gpa(struct hypercall *call, const struct hv_input_read_gpa *in,
                           const void *from, void *to, uint32_t *result)
{
    struct gpa_translation t;
    struct partition *p;
    struct vp *vp;
    void *memory;
    uint16_t status = hypercall_vp(call, in->partition_id, in->vp_index, HYPERCALL_PARENT, &p, &vp);

    if (status != HV_STATUS_SUCCESS)
        return status;
    if (in->byte_count == 0 || in->byte_count > HV_ACCESS_GPA_MAX_BYTES ||
        (in->base_gpa & HV_PAGE_MASK) + in->byte_count > HV_PAGE_SIZE ||
        in->base_gpa >> PAGE_SHIFT >= p->gpa.page_limit || !cache_type_valid(in->control_flags)) {
        partition_put(p);
        return HV_STATUS_INVALID_PARAMETER;
    }
    t = gpa_pin(&p->gpa, in->base_gpa, from ? GPA_WRITE : GPA_READ);
    *result = access_result(t.status, from != NULL);
    if (t.status == GPA_OK) {
        memory = window_map(this_lp(), WINDOW_DATA, t.spa);
        memcpy(from ? memory : to, from ? from : memory, in->byte_count);
        if (from)
            gpa_wrote(&p->gpa, in->base_gpa);
        gpa_unpin(&p->gpa, &t);
    }
    partition_put(p);
    return HV_STATUS_SUCCESS;
}

uint16_t hypercall_read_gpa(struct hypercall *call)
{
    struct hv_output_read_gpa *out = call->output;

    return access_gpa(call, call->input, NULL, out->data, &out->access_result);
}

uint16_t hypercall_write_gpa(struct hypercall *call)
{
    const struct hv_input_write_gpa *in = call->input;
    struct hv_output_write_gpa *out = call->output;

    return access_gpa(call, call->input, in->data, NULL, &out->access_result);
}
