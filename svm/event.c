// SPDX-License-Identifier: BSD-2-Clause-Patent
// Event injection and windows (APM 2 15.20, 15.21).
#include "hv/registers.h"
#include "svm/svm.h"

// Pending-interruption types (TLFS) and EVENTINJ types agree but for software exceptions, which AMD
// re-executes instead.
static const uint8_t type_to_svm[8] = {
    SVM_EVENT_INTERRUPT, SVM_EVENT_INTERRUPT, SVM_EVENT_NMI,       SVM_EVENT_EXCEPTION,
    SVM_EVENT_SOFTWARE,  SVM_EVENT_EXCEPTION, SVM_EVENT_EXCEPTION, SVM_EVENT_EXCEPTION};

// The exit came while an event was being delivered: deliver it again, once. Software interrupts and
// INT3/INTO are simply executed again, since RIP still points at them.
void svm_requeue_event(struct vp *vp)
{
    struct vmcb *v = vp->hw;
    uint64_t info = v->exit_int_info;
    uint32_t type = (info & SVM_EVENT_TYPE_MASK) >> SVM_EVENT_TYPE_SHIFT;
    uint32_t vector = info & SVM_EVENT_VECTOR;
    uint64_t event;

    if (type == SVM_EVENT_SOFTWARE)
        return;
    if (type == SVM_EVENT_EXCEPTION && (vector == EXC_BP || vector == EXC_OF))
        return;
    event = HV_PENDING_INTERRUPTION_PENDING | (uint64_t)type << HV_PENDING_INTERRUPTION_TYPE_SHIFT |
            (uint64_t)vector << HV_PENDING_INTERRUPTION_VECTOR_SHIFT;
    if (info & SVM_EVENT_ERROR_VALID)
        event |= HV_PENDING_INTERRUPTION_DELIVER_ERROR_CODE | (info & 0xffffffff00000000ul);
    vp->pending_interruption = event;
    vp->exception_parameter = v->cr2;
    atomic_fetch_or_explicit(&vp->work, VP_WORK_INTERRUPT, memory_order_relaxed);
}

void svm_inject(struct vp *vp, uint64_t event)
{
    struct vmcb *v = vp->hw;
    uint32_t type = event >> HV_PENDING_INTERRUPTION_TYPE_SHIFT & 7;
    uint32_t vector = event >> HV_PENDING_INTERRUPTION_VECTOR_SHIFT & 0xff;
    uint64_t inject =
        SVM_EVENT_VALID | (uint64_t)type_to_svm[type] << SVM_EVENT_TYPE_SHIFT | vector;

    if (event & HV_PENDING_INTERRUPTION_DELIVER_ERROR_CODE)
        inject |= SVM_EVENT_ERROR_VALID | (event & 0xffffffff00000000ul);
    if (type == HV_INTERRUPTION_TYPE_EXCEPTION && vector == EXC_PF)
        v->cr2 = vp->exception_parameter;
    if (type == HV_INTERRUPTION_TYPE_EXCEPTION && vector == EXC_DB)
        v->dr6 = vp->exception_parameter;
    v->event_inject = inject;
    vp->counters[VP_COUNTER_INJECTED]++;
}

// V_IRQ with its intercept: an exit at the first moment when an interrupt of that priority would be
// taken. CR8 writes are intercepted with it, because a write while V_IRQ is pending upsets
// QEMU 11.1 (docs/emulators.md).
void svm_interrupt_window(struct vp *vp, uint32_t priority)
{
    struct vmcb *v = vp->hw;

    v->vintr &= ~(uint64_t)(SVM_VINTR_IRQ | SVM_VINTR_PRIORITY_MASK | SVM_VINTR_IGNORE_TPR);
    v->intercept_misc1 &= ~(uint32_t)SVM_INTERCEPT_VINTR;
    v->intercept_cr &= ~(uint32_t)SVM_INTERCEPT_WRITE_CR8;
    if (priority) {
        v->vintr |= SVM_VINTR_IRQ | (uint64_t)priority << SVM_VINTR_PRIORITY_SHIFT;
        v->intercept_misc1 |= SVM_INTERCEPT_VINTR;
        v->intercept_cr |= SVM_INTERCEPT_WRITE_CR8;
    }
}

// Not by V_IRQ, whose comparison with V_TPR differs between processors and QEMU
// (docs/emulators.md): by the write of CR8 itself.
void svm_tpr_window(struct vp *vp, uint32_t priority)
{
    struct vmcb *v = vp->hw;

    if (priority)
        v->intercept_cr |= SVM_INTERCEPT_WRITE_CR8;
    else
        v->intercept_cr &= ~(uint32_t)SVM_INTERCEPT_WRITE_CR8;
}

void svm_nmi_window(struct vp *vp, bool wanted)
{
    struct vmcb *v = vp->hw;

    if (wanted)
        v->intercept_misc1 |= SVM_INTERCEPT_IRET;
    else
        v->intercept_misc1 &= ~(uint32_t)SVM_INTERCEPT_IRET;
}

void svm_set_tpr(struct vp *vp, uint8_t tpr)
{
    struct vmcb *v = vp->hw;
    v->vintr = (v->vintr & ~(uint64_t)SVM_VINTR_TPR_MASK) | tpr >> 4;
}

void svm_set_exception_intercepts(struct vp *vp, uint32_t vectors)
{
    svm_vmcb(vp)->intercept_exceptions = vectors;
}
