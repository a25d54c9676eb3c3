// SPDX-License-Identifier: BSD-2-Clause-Patent
// Operands of intercepted instructions: the processor's word where it has decode assists (APM 2
// 15.8), the instruction in guest memory elsewhere.
#include "corbel/decode.h"
#include "corbel/guestmem.h"
#include "svm/svm.h"

// The length is the next RIP's, so both features are needed.
static bool told(const struct vmcb *v)
{
    return svm_has(SVM_FEATURE_DECODE) && svm_has(SVM_FEATURE_NRIP) && (v->exit_info1 & SVM_CR_MOV);
}

bool svm_mov_to_cr(struct vp *vp, uint64_t *value, uint32_t *length)
{
    const struct vmcb *v = svm_vmcb(vp);
    struct vcpu_mode mode;
    struct decoded d;
    uint8_t bytes[16];
    uint32_t reg;

    svm_get_mode(vp, &mode);
    if (told(v)) {
        reg = v->exit_info1 & SVM_CR_REGISTER;
        *length = (uint32_t)(v->next_rip - v->rip);
    } else {
        if (decode(bytes, guest_fetch(vp, bytes), mode.decode, &d) != DECODE_OK ||
            d.insn != INSN_MOV_TO_CR)
            return false;
        reg = d.rm;
        *length = d.length;
    }
    *value = mode.decode == DECODE_64 ? vp->gpr[reg] : (uint32_t)vp->gpr[reg];
    return true;
}
