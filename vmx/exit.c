// SPDX-License-Identifier: BSD-2-Clause-Patent
// Exits on Intel: the hot ones by comparison, the rest by one table. What an exit means is decided
// in kernel/exits.c; here it is only read out of the VMCS.
#include "corbel/exits_return.h"
#include "corbel/hypercall.h"
#include "corbel/intercept.h"
#include "corbel/interrupts.h"
#include "corbel/log.h"
#include "corbel/msr.h"
#include "corbel/partition.h"
#include "hv/message.h"
#include "hv/status.h"
#include "vmx/failure.h"
#include "vmx/vmx.h"

#define DR6_TRAP_BITS 0x600fu // B0-B3, BD, BS
#define DR6_FIXED     0xffff0ff0u

static inline uint32_t exit_length(void)
{
    return (uint32_t)vmread(VMCS_EXIT_LENGTH);
}

// ---- completed without neutral state ------------------------------------------------------------

// An instruction that exits without faulting delivers no event and is not traced.
static inline bool plain_instruction(void)
{
    return !(vmread(VMCS_GUEST_RFLAGS) & RFLAGS_TF);
}

static inline void complete(uint64_t rip)
{
    uint64_t blocked = vmread(VMCS_INTERRUPTIBILITY);

    vmwrite(VMCS_GUEST_RIP, rip + exit_length());
    if (unlikely(blocked & VMX_BLOCKED_SHADOW))
        vmwrite(VMCS_INTERRUPTIBILITY, blocked & ~(uint64_t)VMX_BLOCKED_SHADOW);
}

// The next instruction of code below 4 GiB might lie beyond it: those go the long way.
static inline bool wraps(uint64_t rip)
{
    return (uint32_t)rip > 0xfffffff0u;
}

static inline bool fast_cpuid(struct vp *vp, uint64_t rip)
{
    uint8_t flags;
    const struct cpuid_entry *e = cpuid_find(vp->partition->cpuid, (uint32_t)vp->gpr[RAX], &flags);

    if (flags != CPUID_STATIC || wraps(rip) || !plain_instruction())
        return false;
    vp->gpr[RAX] = e->eax;
    vp->gpr[RBX] = e->ebx;
    vp->gpr[RCX] = e->ecx;
    vp->gpr[RDX] = e->edx;
    complete(rip);
    vp->counters[VP_COUNTER_CPUID]++;
    return true;
}

static inline bool fast_rdmsr(struct vp *vp, uint64_t rip)
{
    uint32_t msr = (uint32_t)vp->gpr[RCX];
    const struct msr_descriptor *d = msr_plain(vp->partition->privileges, msr);
    uint64_t value;

    if (!d || wraps(rip) || !plain_instruction())
        return false;
    d->read(vp, msr, &value);
    vp->gpr[RAX] = (uint32_t)value;
    vp->gpr[RDX] = value >> 32;
    complete(rip);
    vp->counters[VP_COUNTER_RDMSR]++;
    return true;
}

// The most frequent write: its instruction is checked first, since the EOI cannot be taken back. Of
// an APIC that is on loan the processor has the state.
static inline bool fast_eoi(struct vp *vp, uint64_t rip)
{
    uint32_t msr = (uint32_t)vp->gpr[RCX];

    if (vmx_of(vp)->lent || !vp_is_eoi(msr) || wraps(rip) || !plain_instruction() ||
        !vp_eoi_at_once(vp, msr, (uint32_t)vp->gpr[RAX] | vp->gpr[RDX] << 32))
        return false;
    complete(rip);
    vp->counters[VP_COUNTER_WRMSR]++;
    return true;
}

// ---- handlers of the table ----------------------------------------------------------------------

static void handle_cpuid(struct vp *vp)
{
    exit_cpuid(vp, exit_length());
}

static void handle_rdmsr(struct vp *vp)
{
    exit_msr(vp, false, exit_length());
}

static void handle_wrmsr(struct vp *vp)
{
    exit_msr(vp, true, exit_length());
}

static void handle_halt(struct vp *vp)
{
    exit_hlt(vp, exit_length());
}

static void handle_vmcall(struct vp *vp)
{
    enum hypercall_caller caller = HYPERCALL_CALLER_NARROW;
    struct vcpu_mode mode;

    vmx_get_mode(vp, &mode);
    if (mode.cpl != 0 || mode.real_mode)
        caller = HYPERCALL_CALLER_ILLEGAL;
    else if (mode.decode == DECODE_64)
        caller = HYPERCALL_CALLER_WIDE;
    hypercall_exit(vp, exit_length(), caller);
}

static void handle_ept(struct vp *vp)
{
    uint64_t q = vmread(VMCS_QUALIFICATION);
    struct slat_fault fault = {
        .gpa = vmread(VMCS_GUEST_PHYSICAL),
        .write = q & VMX_EPT_WRITE,
        .execute = q & VMX_EPT_FETCH,
        .walk = (q & VMX_EPT_LINEAR) && !(q & VMX_EPT_FINAL),
        .present = q & VMX_EPT_PRESENT,
    };

    fault.read = !fault.write && !fault.execute;
    // SDM 3C 28.2.3: an IRET that faulted here has unblocked NMIs already.
    if ((q & VMX_EPT_IRET_UNBLOCKED) && !(vmread(VMCS_VECTORING_EVENT) & VMX_EVENT_VALID))
        vmcs_change(VMCS_INTERRUPTIBILITY, VMX_BLOCKED_NMI, true);
    exit_gpa_fault(vp, &fault);
}

static void handle_io(struct vp *vp)
{
    uint64_t q = vmread(VMCS_QUALIFICATION);
    struct io_access io = {
        .port = (uint16_t)(q >> VMX_IO_PORT_SHIFT),
        .size = (uint8_t)((q & VMX_IO_SIZE_MASK) + 1),
        .write = !(q & VMX_IO_IN),
        .string = q & VMX_IO_STRING,
        .rep = q & VMX_IO_REP,
        .length = (uint8_t)exit_length(),
    };
    exit_io(vp, &io);
}

// What the exit has acknowledged is an interrupt that a window has let in.
static void handle_external(struct vp *vp)
{
    uint32_t event = (uint32_t)vmread(VMCS_EXIT_EVENT), vector = event & VMX_EVENT_VECTOR;

    if (event & VMX_EVENT_VALID)
        this_lp()->accepted[vector >> 6] |= UINT64_C(1) << (vector & 63);
    exit_interrupt(vp);
}

static void handle_slice_end(struct vp *vp)
{
    (void)vp;
    lp_after_interrupt(this_lp());
}

static void handle_init(struct vp *vp)
{
    hv_log("LP %u: physical INIT or SIPI ignored (VP %u)", this_lp()->index, vp->index);
}

static void handle_window(struct vp *vp)
{
    vmx_interrupt_window(vp, 0);
    exit_window_opened(vp);
}

static void handle_nmi_window(struct vp *vp)
{
    vmx_nmi_window(vp, false);
    vp->nmi_masked = false;
    atomic_fetch_or_explicit(&vp->work, VP_WORK_NMI, memory_order_relaxed);
}

static void handle_invd(struct vp *vp)
{
    exit_cache(vp, exit_length());
}

static void handle_xsetbv(struct vp *vp)
{
    exit_xsetbv(vp, exit_length());
}

static void handle_machine_check(struct vp *vp)
{
    (void)vp;
    panic("machine check while a guest was entered");
}

static void take_nmi(struct vp *vp)
{
    vp->counters[VP_COUNTER_NMI]++;
    this_lp()->nmi_seen = true;
    vmx_unblock_nmi();
    exit_foreign_nmi(vp);
}

// INT3, INTO and ICEBP that nobody intercepts are delivered as what they are, with their length.
static void redeliver(struct vp *vp, uint32_t vector, uint32_t type)
{
    vp->pending_interruption = HV_PENDING_INTERRUPTION_PENDING |
                               (uint64_t)type << HV_PENDING_INTERRUPTION_TYPE_SHIFT |
                               (uint64_t)vector << HV_PENDING_INTERRUPTION_VECTOR_SHIFT |
                               (uint64_t)exit_length() << HV_PENDING_INTERRUPTION_LENGTH_SHIFT;
    atomic_fetch_or_explicit(&vp->work, VP_WORK_INTERRUPT, memory_order_relaxed);
}

static void handle_exception(struct vp *vp)
{
    uint32_t event = (uint32_t)vmread(VMCS_EXIT_EVENT), vector = event & VMX_EVENT_VECTOR;
    uint32_t type = (event & VMX_EVENT_TYPE_MASK) >> VMX_EVENT_TYPE_SHIFT, error = 0;
    uint64_t parameter = 0;
    uint8_t info = 0;

    if (type == HV_INTERRUPTION_TYPE_NMI) {
        take_nmi(vp);
        return;
    }
    if ((event & VMX_EVENT_IRET_UNBLOCKED) && vector != EXC_DF)
        vmcs_change(VMCS_INTERRUPTIBILITY, VMX_BLOCKED_NMI, true);
    if (event & VMX_EVENT_ERROR_VALID) {
        info = HV_EXCEPTION_INFO_ERROR_CODE_VALID;
        error = (uint32_t)vmread(VMCS_EXIT_ERROR);
    }
    if (vector == EXC_PF)
        parameter = vmread(VMCS_QUALIFICATION);
    else if (vector == EXC_DB)
        parameter = (read_dr6() & ~(uint64_t)DR6_TRAP_BITS) | DR6_FIXED |
                    (vmread(VMCS_QUALIFICATION) & DR6_TRAP_BITS);
    if (type != HV_INTERRUPTION_TYPE_EXCEPTION)
        info |= HV_EXCEPTION_INFO_SOFTWARE_EXCEPTION;
    vp->counters[VP_COUNTER_EXCEPTION]++;
    if (type != HV_INTERRUPTION_TYPE_EXCEPTION &&
        !(vp->partition->intercepts.exceptions >> vector & 1))
        redeliver(vp, vector, type);
    else
        exit_exception(vp, vector, info, error, parameter);
}

#define ENTRY(reason, function, count) [VMX_EXIT_##reason] = {function, VP_COUNTER_##count}
static const struct exit_entry exits[VMX_EXIT_REASONS] = {
    ENTRY(EXCEPTION, handle_exception, COUNT), // counts by itself
    ENTRY(EXTERNAL, handle_external, INTERRUPT),
    ENTRY(TRIPLE_FAULT, exit_shutdown, SHUTDOWN),
    ENTRY(INIT, handle_init, OTHER),
    ENTRY(SIPI, handle_init, OTHER),
    ENTRY(INTERRUPT_WINDOW, handle_window, INTERRUPT_WINDOW),
    ENTRY(NMI_WINDOW, handle_nmi_window, IRET),
    ENTRY(TASK_SWITCH, vmx_task_switch, OTHER),
    ENTRY(CPUID, handle_cpuid, CPUID),
    ENTRY(GETSEC, vp_inject_ud, UNDEFINED),
    ENTRY(HLT, handle_halt, HLT),
    ENTRY(INVD, handle_invd, CACHE),
    ENTRY(RDPMC, vp_inject_gp, UNDEFINED),
    ENTRY(VMCALL, handle_vmcall, HYPERCALL),
    [VMX_EXIT_VMCLEAR... VMX_EXIT_VMXON] = {vp_inject_ud, VP_COUNTER_UNDEFINED},
    ENTRY(CR, vmx_control_access, CONTROL_REGISTER),
    ENTRY(IO, handle_io, IO),
    ENTRY(RDMSR, handle_rdmsr, RDMSR),
    ENTRY(WRMSR, handle_wrmsr, WRMSR),
    ENTRY(MWAIT, vp_inject_ud, UNDEFINED),
    ENTRY(MONITOR, vp_inject_ud, UNDEFINED),
    ENTRY(PAUSE, exit_spin, PAUSE),
    ENTRY(MACHINE_CHECK, handle_machine_check, OTHER),
    ENTRY(TPR, handle_window, INTERRUPT_WINDOW),
    ENTRY(EOI, vmx_handle_eoi, APIC_ACCESS),
    ENTRY(EPT_VIOLATION, handle_ept, PAGE_FAULT),
    ENTRY(INVEPT, vp_inject_ud, UNDEFINED),
    ENTRY(INVVPID, vp_inject_ud, UNDEFINED),
    ENTRY(PREEMPTION_TIMER, handle_slice_end, INTERRUPT),
    ENTRY(XSETBV, handle_xsetbv, XSETBV),
    ENTRY(APIC_WRITE, vmx_handle_apic_write, APIC_ACCESS),
};

// ---- entering again -----------------------------------------------------------------------------

static inline void sync_in(struct vp *vp)
{
    vmx_sync_in(vp);
    if (vmx_of(vp)->lent)
        vmx_apic_take_back(vp);
    else
        exit_sync_tpr(vp, vmx_tpr(vp));
}

static struct vp *prepare(struct vp *vp), *prepare_fast(struct vp *vp);
static const struct exit_ways ways = {.sync_in = sync_in,
                                      .sync_out = vmx_sync_out,
                                      .reload = vmx_reload,
                                      .next = vmx_next,
                                      .prepare = prepare,
                                      .prepare_fast = prepare_fast};

static inline void sync_out_timed(struct vp *vp)
{
    vmx_reload(this_lp(), vp);
}

// Behind an exit that may have taken long.
static const struct exit_ways timed_ways = {
    .sync_out = sync_out_timed, .reload = vmx_reload, .next = vmx_next, .prepare = prepare};

static __attribute__((noinline)) struct vp *prepare(struct vp *vp)
{
    return exit_prepare(&ways, vp);
}

static __attribute__((noinline)) struct vp *prepare_fast(struct vp *vp)
{
    return exit_prepare_fast(&ways, vp);
}

// An entry or an exit that cannot be: the words go to the log or the panic.
static void refused(struct vp *vp, uint32_t reason)
{
    struct lp *lp = this_lp();
    struct vmx_guest_state state;
    const char *why;

    vmx_read_guest_state(&state);
    why = reason & VMX_EXIT_ENTRY_FAILED ? vmx_guest_state_fault(&state) : NULL;
    hv_log("LP %u VP %u: exit %u (%s), qualification %#lx: %s", lp->index, vp->index,
           reason & VMX_EXIT_REASON_MASK, vmx_reason_text(reason),
           (unsigned long)vmread(VMCS_QUALIFICATION), why ? why : "no rule known here is broken");
    if (exit_fails_launch(lp, vp))
        return;
    if (!(reason & VMX_EXIT_ENTRY_FAILED) || vp->partition == root_partition)
        panic("VM exit %#x (%s) at %#lx: %s", reason, vmx_reason_text(reason),
              (unsigned long)vp->rip, why ? why : "see the log");
    intercept_invalid_register(vp);
}

static inline void enter_neutral(struct vp *vp)
{
    uint32_t event = (uint32_t)vmread(VMCS_VECTORING_EVENT);

    sync_in(vp);
    if (unlikely(event & VMX_EVENT_VALID))
        vmx_requeue_event(vp, event);
}

static __attribute__((noinline)) struct vp *other_exit(struct vp *vp, uint32_t reason)
{
    if (unlikely(reason & VMX_EXIT_ENTRY_FAILED)) {
        sync_in(vp);
        vmx_of(vp)->launched = 0; // SDM 3C 27.8: nothing was launched
    } else {
        enter_neutral(vp);
    }
    if (likely(reason < VMX_EXIT_REASONS && exits[reason].handler)) {
        if (reason != VMX_EXIT_EXCEPTION)
            vp->counters[exits[reason].counter]++;
        exits[reason].handler(vp);
    } else {
        refused(vp, reason);
    }
    return exit_resume_or_leave(&timed_ways, vp);
}

static MEASURED struct vp *rdmsr_exit(struct vp *vp, uint64_t rip)
{
    return likely(fast_rdmsr(vp, rip)) ? exit_resume_fast(&ways, vp)
                                       : other_exit(vp, VMX_EXIT_RDMSR);
}

static __attribute__((noinline)) struct vp *slow_wrmsr(struct vp *vp)
{
    enter_neutral(vp);
    vp->counters[VP_COUNTER_WRMSR]++;
    handle_wrmsr(vp);
    return exit_resume(&ways, vp);
}

static MEASURED struct vp *wrmsr_exit(struct vp *vp, uint64_t rip)
{
    return fast_eoi(vp, rip) ? exit_resume_fast(&ways, vp) : slow_wrmsr(vp);
}

static MEASURED struct vp *io_exit(struct vp *vp)
{
    enter_neutral(vp);
    vp->counters[VP_COUNTER_IO]++;
    handle_io(vp);
    return exit_resume_or_leave(&ways, vp);
}

static MEASURED struct vp *page_fault_exit(struct vp *vp)
{
    enter_neutral(vp);
    vp->counters[VP_COUNTER_PAGE_FAULT]++;
    handle_ept(vp);
    return exit_resume_or_leave(&ways, vp);
}

// A call that has no short way.
static __attribute__((noinline)) struct vp *long_hypercall(struct vp *vp)
{
    sync_in(vp);
    hypercall_exit(vp, exit_length(), HYPERCALL_CALLER_WIDE);
    return exit_resume_or_leave(&timed_ways, vp);
}

// From 64-bit code at CPL 0, that is, by far most often.
static inline bool wide_caller(void)
{
    return (vmread(VMCS_GUEST_CS_RIGHTS) & HV_SEGMENT_LONG) &&
           !(vmread(VMCS_GUEST_SS_RIGHTS) & HV_SEGMENT_DPL_MASK) &&
           (vmread(VMCS_GUEST_EFER) & EFER_LMA);
}

static MEASURED struct vp *lend(struct lp *lp, struct vp *vp)
{
    return exit_lend(&ways, lp, vp);
}

static MEASURED struct vp *hypercall(struct lp *lp, struct vp *vp, uint64_t rip)
{
    uint64_t result;
    uint32_t status;

    if (!wide_caller() || !plain_instruction())
        return other_exit(vp, VMX_EXIT_VMCALL);
    status = exit_call(vp, &result);
    if (unlikely(status == HYPERCALL_NOT_FAST))
        return long_hypercall(vp);
    if (likely(status != HV_STATUS_RETRY)) {
        vp->gpr[RAX] = result;
        complete(rip);
    }
    return unlikely(lp->heir) ? lend(lp, vp) : exit_resume_fast(&ways, vp);
}

static __attribute__((noinline)) struct vp *halt_exit(struct lp *lp, struct vp *vp)
{
    if (!plain_instruction())
        return other_exit(vp, VMX_EXIT_HLT);
    sync_in(vp);
    vp_advance(vp, exit_length());
    return exit_halted(&ways, lp, vp);
}

EXIT_INLINE struct vp *dispatch(struct lp *lp, struct vp *vp, uint32_t reason, uint64_t rip)
{
    if (reason == VMX_EXIT_CPUID && likely(fast_cpuid(vp, rip)))
        return exit_resume_fast(&ways, vp);
    if (reason == VMX_EXIT_RDMSR)
        return rdmsr_exit(vp, rip);
    if (reason == VMX_EXIT_WRMSR)
        return wrmsr_exit(vp, rip);
    if (reason == VMX_EXIT_VMCALL)
        return hypercall(lp, vp, rip);
    if (reason == VMX_EXIT_IO)
        return io_exit(vp);
    if (reason == VMX_EXIT_HLT)
        return halt_exit(lp, vp);
    if (reason == VMX_EXIT_EPT_VIOLATION)
        return page_fault_exit(vp);
    return other_exit(vp, reason);
}

// Exits that are short, after which the VP is entered again without more ado, leave the end of its
// slice as it is, though its time stands still in each; but one exit of so many times it anew.
#define EXITS_UNTIMED 16u

static __attribute__((noinline)) struct vp *timed_exit(struct lp *lp, struct vp *vp,
                                                       uint32_t reason, uint64_t rip)
{
    vmx_time_slice(lp);
    return dispatch(lp, vp, reason, rip);
}

struct vp *vmx_exit(struct vp *vp)
{
    struct lp *lp = this_lp();
    uint32_t reason = (uint32_t)vmread(VMCS_EXIT_REASON);
    uint64_t rip = vmread(VMCS_GUEST_RIP);
    uint32_t number = lp->exit_cursor++;
    struct lp_exit_record *record = &lp->last_exits[number % LP_LAST_EXITS];

    record->reason = reason;
    record->rip = rip;
    if (unlikely(number % EXITS_UNTIMED == 0))
        return timed_exit(lp, vp, reason, rip);
    return dispatch(lp, vp, reason, rip);
}

// VMLAUNCH or VMRESUME failed by itself: a control or host state is wrong, which no guest can make
// so.
struct vp *vmx_entry_failed(struct vp *vp)
{
    struct lp *lp = this_lp();
    uint32_t error = (uint32_t)vmread(VMCS_INSTRUCTION_ERROR);

    vmx_of(vp)->launched = 0;
    if (!lp->launching)
        panic("VM entry failed: error %u (%s)", error, vmx_error_text(error));
    hv_log("LP %u: VM entry failed: error %u (%s)", lp->index, error, vmx_error_text(error));
    lp->entry_failed = true;
    return NULL;
}
