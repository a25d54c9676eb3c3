// SPDX-License-Identifier: BSD-2-Clause-Patent
// Address spaces and TLB flushes by hypercall (tlfs-reference 1.2). A target drops pages one by one
// or all that it has; which address space they are of is only checked, since dropping more is
// always allowed.
#include "corbel/cpufeatures.h"
#include "corbel/lp.h"
#include "corbel/partition.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "corbel/vpset.h"
#include "hypercall/list.h"

#define SPACE_FLAGS                                                                                \
    (HV_FLUSH_ALL_PROCESSORS | HV_FLUSH_ALL_VIRTUAL_ADDRESS_SPACES |                               \
     HV_FLUSH_NON_GLOBAL_MAPPINGS_ONLY)
#define LIST_FLAGS (HV_FLUSH_ALL_PROCESSORS | HV_FLUSH_ALL_VIRTUAL_ADDRESS_SPACES)

// Somebody wants to stop this VP, or the wait is long: it goes back to the guest, which lets
// interrupts in, and comes again.
static bool must_give_up(const struct hypercall *call, uint64_t limit)
{
    return atomic_load(&call->vp->suspend) || rdtsc() >= limit;
}

// Two VPs may wait for each other here: each drops its own meanwhile.
static void serve_others(struct vp *self)
{
    uint32_t work = atomic_load_explicit(&self->work, memory_order_relaxed) & VP_WORK_FLUSHES;

    if (work)
        vp_flush_serve(self, atomic_fetch_and(&self->work, ~(uint32_t)VP_WORK_FLUSHES) & work);
    lp_serve_requests(this_lp());
    cpu_relax();
}

// Complete when it returns with success: no VP of the set uses an old translation any more. Only
// those are interrupted that run; the others drop theirs before they do.
static uint16_t flush(struct hypercall *call, const struct vp_set *set,
                      const struct flush_list *list)
{
    struct partition *p = call->caller;
    uint64_t limit = rdtsc() + tsc_hz / 10000;

    for (uint32_t i = 0; i < p->vp_limit; i++) {
        struct vp *target = partition_vp(p, i);
        if (!target || !vp_set_has(set, i))
            continue;
        if (target == call->vp)
            vp_flush_drop(target, list);
        else if (list->all)
            vp_signal(target, VP_WORK_FLUSH);
        else
            vp_flush_note(target, list);
    }
    for (uint32_t i = 0; i < p->vp_limit; i++) {
        const struct vp *target = partition_vp(p, i);
        while (target && target != call->vp && vp_set_has(set, i) && vp_flush_lingers(target)) {
            if (must_give_up(call, limit))
                return HV_STATUS_RETRY;
            serve_others(call->vp);
        }
    }
    return HV_STATUS_SUCCESS;
}

static uint16_t check(uint64_t address_space, uint64_t flags, uint64_t allowed)
{
    if (flags & ~allowed)
        return HV_STATUS_INVALID_PARAMETER;
    if (!(flags & HV_FLUSH_ALL_VIRTUAL_ADDRESS_SPACES) && (address_space & ~cpu_physical_mask()))
        return HV_STATUS_INVALID_PARAMETER;
    return HV_STATUS_SUCCESS;
}

// A mask of 0 means all, as guests of older generations expect.
static uint16_t flush_masked(struct hypercall *call, uint64_t allowed,
                             const struct flush_list *list)
{
    const struct hv_input_flush_virtual_address_space *in = call->input;
    uint16_t status = check(in->address_space, in->flags, allowed);
    struct vp_set set;

    if (status != HV_STATUS_SUCCESS)
        return status;
    vp_set_mask(&set, in->processor_mask);
    if ((in->flags & HV_FLUSH_ALL_PROCESSORS) || in->processor_mask == 0)
        vp_set_all(&set);
    return flush(call, &set, list);
}

static uint16_t flush_set(struct hypercall *call, uint64_t allowed, const struct flush_list *list)
{
    const struct hv_input_flush_virtual_address_space_ex *in = call->input;
    uint16_t status = check(in->address_space, in->flags, allowed);
    struct vp_set set;

    if (status == HV_STATUS_SUCCESS)
        status = vp_set_parse(&in->vp_set, call->variable, &set);
    if (status != HV_STATUS_SUCCESS)
        return status;
    if (in->flags & HV_FLUSH_ALL_PROCESSORS)
        vp_set_all(&set);
    return flush(call, &set, list);
}

static const struct flush_list everything = {.all = true};

uint16_t hypercall_flush_space(struct hypercall *call)
{
    return flush_masked(call, SPACE_FLAGS, &everything);
}

uint16_t hypercall_flush_space_ex(struct hypercall *call)
{
    return flush_set(call, SPACE_FLAGS, &everything);
}

// Extended ranges are for those who have the privilege (CPUID 40000003 EDX[14]).
static uint64_t list_flags(const struct hypercall *call)
{
    bool extended = call->caller->privileges & HV_PRIV_ENABLE_EXTENDED_GVA_RANGES;

    return LIST_FLAGS | (extended ? HV_FLUSH_USE_EXTENDED_RANGE_FORMAT : 0);
}

// The elements that are left. More than a list holds are not looked at one by one.
static void read_list(const struct hypercall *call, uint64_t flags, struct flush_list *list)
{
    const uint64_t *element = call->elements;

    flush_list_init(list);
    if (call->count - call->start > FLUSH_RANGES || call->limit < call->count)
        flush_list_everything(list);
    else
        for (uint32_t i = call->start; i < call->limit; i++, element++)
            flush_list_add(list, *element, flags & HV_FLUSH_USE_EXTENDED_RANGE_FORMAT);
}

// One flush is good for all elements.
static uint16_t all_done(struct hypercall *call, uint16_t status)
{
    if (status == HV_STATUS_SUCCESS)
        call->done = call->count;
    return status;
}

uint16_t hypercall_flush_list(struct hypercall *call)
{
    const struct hv_input_flush_virtual_address_space *in = call->input;
    struct flush_list list;

    read_list(call, in->flags, &list);
    return all_done(call, flush_masked(call, list_flags(call), &list));
}

uint16_t hypercall_flush_list_ex(struct hypercall *call)
{
    const struct hv_input_flush_virtual_address_space_ex *in = call->input;
    struct flush_list list;

    read_list(call, in->flags, &list);
    return all_done(call, flush_set(call, list_flags(call), &list));
}

// TLFS: HvCallSwitchVirtualAddressSpace: a MOV to CR3 that keeps translations of all address
// spaces. Hardware that does not know which address space a translation is of keeps none, which is
// always allowed.
uint16_t hypercall_switch_space(struct hypercall *call)
{
    const struct hv_input_switch_virtual_address_space *in = call->input;
    union hv_register_value value = {.reg128 = {in->address_space, 0}};
    struct walk_state paging;

    vcpu->get_paging(call->vp, &paging);
    if ((in->address_space & ~cpu_physical_mask()) ||
        (!(paging.efer & EFER_LMA) && in->address_space >> 32))
        return HV_STATUS_INVALID_PARAMETER;
    return vcpu->set_register(call->vp, HV_REGISTER_CR3, &value);
}
