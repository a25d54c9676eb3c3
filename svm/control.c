// SPDX-License-Identifier: BSD-2-Clause-Patent
// CR4 writes of children whose parent withholds features that CR4 governs: the processor knows all
// of its own bits and would take them (APM 2 3.1.3, SDM 2B MOV to control registers).
#include "corbel/exits_common.h"
#include "corbel/partition.h"
#include "svm/svm.h"

static bool cr4_faults(const struct vp *vp, const struct vmcb *v, uint64_t value)
{
    const uint64_t changed = v->cr4 ^ value;
    const bool long_mode = v->efer & EFER_LMA;

    if (value & ~vp->partition->features.cr4)
        return true;
    if (long_mode && (!(value & CR4_PAE) || (changed & CR4_LA57)))
        return true;
    return (changed & value & CR4_PCIDE) && (!long_mode || (v->cr3 & ~PAGE_MASK));
}

void svm_exit_cr4_write(struct vp *vp)
{
    struct vmcb *v = svm_vmcb(vp);
    uint64_t value;
    uint32_t length;

    if (!svm_mov_to_cr(vp, &value, &length))
        return;
    if (cr4_faults(vp, v, value)) {
        vp_inject_gp(vp);
        return;
    }
    v->cr4 = value;
    svm_flush(vp);
    vp_advance(vp, length);
}
