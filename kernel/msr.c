// SPDX-License-Identifier: BSD-2-Clause-Patent
// RDMSR and WRMSR that exit: finds the descriptor, checks the privilege, and decides what becomes
// of accesses to MSRs that do not exist.
#include "corbel/msr.h"

#include "corbel/partition.h"
#include "corbel/vp.h"
#include "corbel/x86.h"
#include "hv/memory.h"
#include "hv/msr.h"

// No such MSR: what the parent registered for it, else the parent's business if it wants it to be
// (HvInterceptTypeX64Msr), else ignored if it said so (property UnimplementedMsrAction), else #GP.
static enum msr_result unimplemented(const struct vp *vp, uint32_t msr, uint32_t access,
                                     uint64_t *value)
{
    const struct partition *p = vp->partition;
    uint32_t action = p->unimplemented_msr_action;

    if (!msr_result_find(vp, msr, access, &action) && (p->intercepts.msr_access & access))
        return MSR_INTERCEPT;
    if (action == HV_UNIMPLEMENTED_MSR_ACTION_FAULT)
        return MSR_FAULT;
    if (value)
        *value = 0;
    return MSR_OK;
}

enum msr_result msr_read(struct vp *vp, uint32_t msr, uint64_t *value)
{
    uint32_t index = msr - MSR_SYNTHETIC_FIRST;
    enum msr_result result;
    bool known;

    if (index < MSR_SYNTHETIC_COUNT) {
        const struct msr_descriptor *d = &msr_synthetic[index];
        if (__builtin_expect(d->read && !(d->privilege & ~vp->partition->privileges), 1))
            return d->read(vp, msr, value);
        return unimplemented(vp, msr, HV_INTERCEPT_ACCESS_MASK_READ, value);
    }
    result = msr_arch_read(vp, msr, value, &known);
    return known ? result : unimplemented(vp, msr, HV_INTERCEPT_ACCESS_MASK_READ, value);
}

enum msr_result msr_write(struct vp *vp, uint32_t msr, uint64_t value)
{
    uint32_t index = msr - MSR_SYNTHETIC_FIRST;
    enum msr_result result;
    bool known;

    if (index < MSR_SYNTHETIC_COUNT) {
        const struct msr_descriptor *d = &msr_synthetic[index];
        if (__builtin_expect(d->write && !(d->privilege & ~vp->partition->privileges), 1))
            return d->write(vp, msr, value);
        return unimplemented(vp, msr, HV_INTERCEPT_ACCESS_MASK_WRITE, NULL);
    }
    result = msr_arch_write(vp, msr, value, &known);
    return known ? result : unimplemented(vp, msr, HV_INTERCEPT_ACCESS_MASK_WRITE, NULL);
}
