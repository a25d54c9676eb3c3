// SPDX-License-Identifier: BSD-2-Clause-Patent
// TLB flushes by hypercall (tlfs-reference 1.2). Whatever is asked for, a target drops all
// translations of its own, which is always allowed; ranges and address spaces are only checked.
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

// Whether a VP still may use translations from before the flush that it has been told of. It clears
// the bit on its way back into the guest, and only a VP that runs can be in the guest.
static bool lingers(struct vp *vp)
{
    return (atomic_load(&vp->work) & VP_WORK_FLUSH) &&
           __atomic_load_n(&vp->sched.state, __ATOMIC_SEQ_CST) == SCHED_RUNNING;
}

// Two VPs may wait for each other here, or somebody may want to stop this one: then it goes back to
// the guest, which lets it drop its own translations, and comes again.
static bool must_give_up(const struct hypercall *call, uint64_t limit)
{
    uint32_t work = atomic_load(&call->vp->work), suspend = atomic_load(&call->vp->suspend);

    return (work & VP_WORK_FLUSH) || suspend || rdtsc() >= limit;
}

static uint16_t flush(struct hypercall *call, const struct vp_set *set)
{
    struct partition *p = call->caller;
    uint64_t limit = rdtsc() + tsc_hz / 10000;

    for (uint32_t i = 0; i < p->vp_limit; i++) {
        struct vp *target = partition_vp(p, i);
        if (!target || !vp_set_has(set, i))
            continue;
        if (target == call->vp)
            vcpu->flush_guest(target);
        else
            vp_signal(target, VP_WORK_FLUSH);
    }
    for (uint32_t i = 0; i < p->vp_limit; i++) {
        struct vp *target = partition_vp(p, i);
        while (target && target != call->vp && vp_set_has(set, i) && lingers(target)) {
            if (must_give_up(call, limit))
                return HV_STATUS_RETRY;
            lp_serve_requests(this_lp());
            cpu_relax();
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
static uint16_t flush_masked(struct hypercall *call, uint64_t allowed)
{
    const struct hv_input_flush_virtual_address_space *in = call->input;
    uint16_t status = check(in->address_space, in->flags, allowed);
    struct vp_set set;

    if (status != HV_STATUS_SUCCESS)
        return status;
    vp_set_mask(&set, in->processor_mask);
    if ((in->flags & HV_FLUSH_ALL_PROCESSORS) || in->processor_mask == 0)
        vp_set_all(&set);
    return flush(call, &set);
}

static uint16_t flush_set(struct hypercall *call, uint64_t allowed)
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
    return flush(call, &set);
}

uint16_t hypercall_flush_space(struct hypercall *call)
{
    return flush_masked(call, SPACE_FLAGS);
}

uint16_t hypercall_flush_space_ex(struct hypercall *call)
{
    return flush_set(call, SPACE_FLAGS);
}

// One flush is good for all ranges.
static uint16_t all_done(struct hypercall *call, uint16_t status)
{
    if (status == HV_STATUS_SUCCESS)
        call->done = call->count;
    return status;
}

uint16_t hypercall_flush_list(struct hypercall *call)
{
    return all_done(call, flush_masked(call, LIST_FLAGS));
}

uint16_t hypercall_flush_list_ex(struct hypercall *call)
{
    return all_done(call, flush_set(call, LIST_FLAGS));
}
