// SPDX-License-Identifier: BSD-2-Clause-Patent
// Event injection and windows (APM 2 15.20, 15.21).
#include "hv/message.h"
#include "hv/msr.h"
#include "hv/registers.h"
#include "svm/svm.h"

// Pending-interruption types (TLFS) as EVENTINJ types. AMD tells INT3 and INTO by their vectors and
// cannot inject ICEBP, whose #DB differs only in that RIP is behind the instruction.
static const uint8_t type_to_svm[8] = {
    SVM_EVENT_INTERRUPT, SVM_EVENT_INTERRUPT, SVM_EVENT_NMI,       SVM_EVENT_EXCEPTION,
    SVM_EVENT_SOFTWARE,  SVM_EVENT_EXCEPTION, SVM_EVENT_EXCEPTION, SVM_EVENT_EXCEPTION};

// INT3, INTO and ICEBP exit before they are executed (APM 2 15.12.4, 15.12.5, 15.9).
uint8_t svm_exception_info(uint32_t exit_code, uint32_t *vector)
{
    static const uint32_t software = 1u << EXC_BP | 1u << EXC_OF,
                          error_code = 1u << EXC_DF | 1u << EXC_TS | 1u << EXC_NP | 1u << EXC_SS |
                                       1u << EXC_GP | 1u << EXC_PF | 1u << EXC_AC;

    *vector = exit_code == SVM_EXIT_ICEBP ? EXC_DB : exit_code - SVM_EXIT_EXCEPTION;
    if (exit_code == SVM_EXIT_ICEBP || (software >> *vector & 1))
        return HV_EXCEPTION_INFO_SOFTWARE_EXCEPTION;
    return error_code >> *vector & 1 ? HV_EXCEPTION_INFO_ERROR_CODE_VALID : 0;
}

// Whether the event whose delivery ended is the software event that was injected with this entry:
// none has been executed since, so the processor is still where it was entered.
static bool was_injected(const struct lp *lp, const struct vmcb *v, uint32_t vector)
{
    return lp->exit_cursor == lp->soft_exit && v->rip == lp->soft_entry_rip &&
           (lp->soft_event >> HV_PENDING_INTERRUPTION_VECTOR_SHIFT & 0xff) == vector;
}

// The exit came while an event was being delivered: deliver it again, once. Software interrupts and
// INT3/INTO are simply executed again, since RIP still points at them, unless they were injected:
// then there need be no such instruction.
void svm_requeue_event(struct vp *vp)
{
    struct vmcb *v = vp->hw;
    struct lp *lp = this_lp();
    uint64_t info = v->exit_int_info;
    uint32_t type = (info & SVM_EVENT_TYPE_MASK) >> SVM_EVENT_TYPE_SHIFT;
    uint32_t vector = info & SVM_EVENT_VECTOR;
    uint64_t event;

    if ((type == SVM_EVENT_SOFTWARE || type == SVM_EVENT_EXCEPTION) &&
        was_injected(lp, v, vector)) {
        event = lp->soft_event;
        v->rip = lp->soft_rip;
    } else if (type == SVM_EVENT_SOFTWARE ||
               (type == SVM_EVENT_EXCEPTION && (vector == EXC_BP || vector == EXC_OF))) {
        return;
    } else {
        event = HV_PENDING_INTERRUPTION_PENDING |
                (uint64_t)type << HV_PENDING_INTERRUPTION_TYPE_SHIFT |
                (uint64_t)vector << HV_PENDING_INTERRUPTION_VECTOR_SHIFT;
        if (info & SVM_EVENT_ERROR_VALID)
            event |= HV_PENDING_INTERRUPTION_DELIVER_ERROR_CODE | (info & 0xffffffff00000000ul);
    }
    vp->pending_interruption = event;
    vp->exception_parameter = vector == EXC_DB ? v->dr6 : v->cr2;
    atomic_fetch_or_explicit(&vp->work, VP_WORK_INTERRUPT, memory_order_relaxed);
}

// The handler is to return behind the instruction: the processor pushes next_rip where it knows
// that field (APM 2 15.20), RIP elsewhere and for ICEBP.
static void skip_instruction(struct vp *vp, uint64_t event, uint32_t type)
{
    struct vmcb *v = vp->hw;
    struct lp *lp = this_lp();
    uint32_t length = event >> HV_PENDING_INTERRUPTION_LENGTH_SHIFT & 15;

    lp->soft_event = event;
    lp->soft_rip = vp->rip;
    lp->soft_exit = lp->exit_cursor + 1;
    v->next_rip = vp->rip + length;
    if (!svm_has(SVM_FEATURE_NRIP) || type == HV_INTERRUPTION_TYPE_PRIVILEGED_SW_EXCEPTION)
        vp->rip += length;
    lp->soft_entry_rip = vp->rip;
}

// An interrupt that can be taken at once is a virtual one (APM 2 15.21.4): it comes before the
// first instruction, as an injected one does. QEMU 11.1 may deliver an injected one twice
// (docs/emulators.md).
void svm_raise(struct vp *vp, uint32_t vector)
{
    struct vmcb *v = vp->hw;
    uint64_t tpr = v->vintr & (SVM_VINTR_TPR_MASK | SVM_VINTR_MASKING);

    v->vintr =
        tpr | SVM_VINTR_IRQ | SVM_VINTR_IGNORE_TPR | (uint64_t)vector << SVM_VINTR_VECTOR_SHIFT;
    vp->counters[VP_COUNTER_INJECTED]++;
}

// V_IRQ without its intercept is an interrupt, with it a window.
static bool interrupt_raised(const struct vmcb *v)
{
    return (v->vintr & SVM_VINTR_IRQ) && !(v->intercept_misc1 & SVM_INTERCEPT_VINTR);
}

void svm_take_back_interrupt(struct vp *vp)
{
    struct vmcb *v = vp->hw;

    if (!interrupt_raised(v))
        return;
    vp->pending_interruption =
        HV_PENDING_INTERRUPTION_PENDING | (v->vintr >> SVM_VINTR_VECTOR_SHIFT & 0xff)
                                              << HV_PENDING_INTERRUPTION_VECTOR_SHIFT;
    v->vintr &= ~(uint64_t)SVM_VINTR_IRQ;
    v->exit_int_info = 0; // of the same: QEMU calls it an exception
    atomic_fetch_or_explicit(&vp->work, VP_WORK_INTERRUPT, memory_order_relaxed);
}

void svm_inject(struct vp *vp, uint64_t event)
{
    struct vmcb *v = vp->hw;
    uint32_t type = event >> HV_PENDING_INTERRUPTION_TYPE_SHIFT & 7;
    uint32_t vector = event >> HV_PENDING_INTERRUPTION_VECTOR_SHIFT & 0xff;
    uint64_t inject =
        SVM_EVENT_VALID | (uint64_t)type_to_svm[type] << SVM_EVENT_TYPE_SHIFT | vector;

    if (type == HV_INTERRUPTION_TYPE_INTERRUPT && (vp->rflags & RFLAGS_IF) && !vp->shadow) {
        svm_raise(vp, vector);
        return;
    }
    vp->counters[VP_COUNTER_INJECTED]++;
    if (event & HV_PENDING_INTERRUPTION_DELIVER_ERROR_CODE)
        inject |= SVM_EVENT_ERROR_VALID | (event & 0xffffffff00000000ul);
    if (type == HV_INTERRUPTION_TYPE_EXCEPTION && vector == EXC_PF)
        v->cr2 = vp->exception_parameter;
    if (type == HV_INTERRUPTION_TYPE_EXCEPTION && vector == EXC_DB)
        v->dr6 = vp->exception_parameter;
    v->next_rip = vp->rip;
    if (type >= HV_INTERRUPTION_TYPE_SOFTWARE_INTERRUPT)
        skip_instruction(vp, event, type);
    v->event_inject = inject;
}

// V_IRQ with its intercept: an exit at the first moment when an interrupt of that priority would be
// taken. CR8 writes are intercepted with it, because a write while V_IRQ is pending upsets
// QEMU 11.1 (docs/emulators.md). Where V_IRQ is to deliver an interrupt with the next entry, the
// question is put again at the next exit: that interrupt's EOI, or the end of the slice.
void svm_interrupt_window(struct vp *vp, uint32_t priority)
{
    struct vmcb *v = vp->hw;

    if (interrupt_raised(v)) {
        if (priority) {
            vp->windows = 0;
            atomic_fetch_or_explicit(&vp->work, VP_WORK_INTERRUPT, memory_order_relaxed);
        }
        return;
    }
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

    v->intercept_cr &= ~(uint32_t)SVM_INTERCEPT_WRITE_CR8;
    v->intercept_cr |= priority ? SVM_INTERCEPT_WRITE_CR8 : 0;
}

void svm_nmi_window(struct vp *vp, bool wanted)
{
    struct vmcb *v = vp->hw;

    v->intercept_misc1 &= ~(uint32_t)SVM_INTERCEPT_IRET;
    v->intercept_misc1 |= wanted ? SVM_INTERCEPT_IRET : 0;
}

void svm_set_tpr(struct vp *vp, uint8_t tpr)
{
    struct vmcb *v = vp->hw;
    v->vintr = (v->vintr & ~(uint64_t)SVM_VINTR_TPR_MASK) | tpr >> 4;
}

void svm_set_exception_intercepts(struct vp *vp, uint32_t vectors)
{
    struct vmcb *v = vp->hw;

    v->intercept_exceptions = vectors;
    v->intercept_misc2 &= ~(uint32_t)SVM_INTERCEPT_ICEBP; // its #DB goes past the mask
    v->intercept_misc2 |= vectors >> EXC_DB & 1 ? SVM_INTERCEPT_ICEBP : 0;
}

void svm_set_tsc_offset(struct vp *vp)
{
    struct vmcb *v = vp->hw;

    v->tsc_offset = vp->partition->tsc_offset;
}

void svm_set_table_intercepts(struct vp *vp, uint64_t prevented)
{
    static const struct {
        uint64_t prevent;
        uint32_t intercept;
    } reads[] = {
        {HV_MSR_NPIEP_PREVENT_SGDT, SVM_INTERCEPT_READ_GDTR},
        {HV_MSR_NPIEP_PREVENT_SIDT, SVM_INTERCEPT_READ_IDTR},
        {HV_MSR_NPIEP_PREVENT_SLDT, SVM_INTERCEPT_READ_LDTR},
        {HV_MSR_NPIEP_PREVENT_STR, SVM_INTERCEPT_READ_TR},
    };
    struct vmcb *v = vp->hw;

    for (uint32_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
        v->intercept_misc1 &= ~reads[i].intercept;
        v->intercept_misc1 |= prevented & reads[i].prevent ? reads[i].intercept : 0;
    }
}
