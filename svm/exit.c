// SPDX-License-Identifier: BSD-2-Clause-Patent
// Exits on AMD: the hot ones by comparison, the rest by one table. What an exit means is decided in
// kernel/exits.c; here it is only read out of the VMCB.
#include "corbel/decode.h"
#include "corbel/exits_return.h"
#include "corbel/guestmem.h"
#include "corbel/hypercall.h"
#include "corbel/intercept.h"
#include "corbel/interrupts.h"
#include "corbel/log.h"
#include "corbel/msr.h"
#include "corbel/partition.h"
#include "hv/message.h"
#include "hv/status.h"
#include "svm/svm.h"

// Usual encodings, little-endian; others are decoded.
#define OPCODE_CPUID     0xa20fu
#define OPCODE_RDMSR     0x320fu
#define OPCODE_WRMSR     0x300fu
#define OPCODE_HLT       0xf4u
#define SVM_SEGMENT_LONG 0x200u // attributes: L of a code segment
#define OPCODE_VMMCALL   0xd9010fu

// Length of the intercepted instruction: what the processor saved, or decoded from guest memory. 0:
// the bytes are not that instruction (any more): executing again settles it.
static inline uint32_t length_of(struct vp *vp, const struct vmcb *v, enum insn insn,
                                 uint32_t opcode, uint32_t size)
{
    if (guest_code_is(this_lp(), vp, v->cr3, v->cs.base + v->rip, opcode, size))
        return size;
    if (svm_has(SVM_FEATURE_NRIP))
        return (uint32_t)(v->next_rip - v->rip);
    return guest_instruction_length(vp, insn);
}

static uint32_t decoded_length(struct vp *vp, const struct vmcb *v, enum insn insn)
{
    return svm_has(SVM_FEATURE_NRIP) ? (uint32_t)(v->next_rip - v->rip)
                                     : guest_instruction_length(vp, insn);
}

// What the fast paths ask before they complete an instruction without neutral state.
static inline bool plain_instruction(struct lp *lp, const struct vp *vp, const struct vmcb *v,
                                     uint32_t opcode, uint32_t size)
{
    if ((v->rflags & RFLAGS_TF) || (v->exit_int_info & SVM_EVENT_VALID))
        return false;
    return guest_code_is(lp, vp, v->cr3, v->cs.base + v->rip, opcode, size);
}

static inline void complete(struct vmcb *v, uint32_t size)
{
    v->rip += size;
    v->interrupt_shadow = 0;
}

// CPUID that the table answers: no neutral state is touched.
static inline bool fast_cpuid(struct lp *lp, struct vp *vp, struct vmcb *v)
{
    uint8_t flags;
    const struct cpuid_entry *e = cpuid_find(vp->partition->cpuid, (uint32_t)v->rax, &flags);

    if (flags != CPUID_STATIC || !plain_instruction(lp, vp, v, OPCODE_CPUID, 2))
        return false;
    v->rax = e->eax;
    vp->gpr[RBX] = e->ebx;
    vp->gpr[RCX] = e->ecx;
    vp->gpr[RDX] = e->edx;
    complete(v, 2);
    vp->counters[VP_COUNTER_CPUID]++;
    return true;
}

static inline bool fast_rdmsr(struct lp *lp, struct vp *vp, struct vmcb *v)
{
    uint32_t msr = (uint32_t)vp->gpr[RCX];
    const struct msr_descriptor *d = msr_plain(vp->partition->privileges, msr);
    uint64_t value;

    if (!d || !plain_instruction(lp, vp, v, OPCODE_RDMSR, 2))
        return false;
    d->read(vp, msr, &value);
    v->rax = (uint32_t)value;
    vp->gpr[RDX] = value >> 32;
    complete(v, 2);
    vp->counters[VP_COUNTER_RDMSR]++;
    return true;
}

// The most frequent write: its instruction is checked first, since the EOI cannot be taken back.
static inline bool fast_eoi(struct lp *lp, struct vp *vp, struct vmcb *v)
{
    uint32_t msr = (uint32_t)vp->gpr[RCX];

    if (!vp_is_eoi(msr) || !plain_instruction(lp, vp, v, OPCODE_WRMSR, 2) ||
        !vp_eoi_at_once(vp, msr, (uint32_t)v->rax | vp->gpr[RDX] << 32))
        return false;
    complete(v, 2);
    vp->counters[VP_COUNTER_WRMSR]++;
    return true;
}

static void exit_cpuid_slow(struct vp *vp)
{
    const struct vmcb *v = svm_vmcb(vp);
    uint32_t length = length_of(vp, v, INSN_CPUID, OPCODE_CPUID, 2);
    if (length)
        exit_cpuid(vp, length);
}

static void exit_msr_access(struct vp *vp, struct vmcb *v)
{
    bool write = v->exit_info1 & 1;
    uint32_t length = write ? length_of(vp, v, INSN_WRMSR, OPCODE_WRMSR, 2)
                            : length_of(vp, v, INSN_RDMSR, OPCODE_RDMSR, 2);
    if (length)
        exit_msr(vp, write, length);
}

static void exit_vmmcall(struct vp *vp, struct vmcb *v)
{
    enum hypercall_caller caller = HYPERCALL_CALLER_NARROW;
    uint32_t length = length_of(vp, v, INSN_VMMCALL, OPCODE_VMMCALL, 3);

    if (v->cpl != 0 || !(v->cr0 & CR0_PE))
        caller = HYPERCALL_CALLER_ILLEGAL;
    else if ((v->efer & EFER_LMA) && (v->cs.attributes & SVM_SEGMENT_LONG))
        caller = HYPERCALL_CALLER_WIDE;
    if (length)
        hypercall_exit(vp, length, caller);
}

// The root's CR3 is in its own memory: with the hypervisor's, at the hypervisor's addresses, QEMU
// has saved the host's state where the guest's belongs (docs/emulators.md), and the guest's is
// gone. A child could make it look so, and gets no answer here; the root could as well reset the
// machine.
static void check_saved_state(const struct vp *vp, const struct vmcb *v)
{
    if (unlikely(v->rip >= HV_IMAGE_BASE && v->cr3 == read_cr3() &&
                 vp->partition == root_partition))
        panic("emulator fault: host state in the VMCB (RIP %#lx)", (unsigned long)v->rip);
}

static void exit_page_fault(struct vp *vp, struct vmcb *v)
{
    check_saved_state(vp, v);
    struct slat_fault fault = {
        .gpa = v->exit_info2,
        .write = v->exit_info1 & SVM_NPF_WRITE,
        .execute = v->exit_info1 & SVM_NPF_FETCH,
        .walk = v->exit_info1 & SVM_NPF_WALK,
        .present = v->exit_info1 & SVM_NPF_PRESENT,
    };
    fault.read = !fault.write && !fault.execute;
    exit_gpa_fault(vp, &fault);
}

static void exit_halt(struct vp *vp)
{
    const struct vmcb *v = svm_vmcb(vp);
    uint32_t length = length_of(vp, v, INSN_HLT, OPCODE_HLT, 1);
    if (length)
        exit_hlt(vp, length);
}

static void exit_nmi(struct vp *vp)
{
    svm_take_masked(this_lp());
    exit_foreign_nmi(vp);
}

static void exit_smi(struct vp *vp)
{
    (void)vp;
    svm_take_masked(this_lp());
}

static void exit_init(struct vp *vp)
{
    hv_log("LP %u: physical INIT ignored (VP %u)", this_lp()->index, vp->index);
}

static void exit_window(struct vp *vp)
{
    svm_interrupt_window(vp, 0);
    exit_window_opened(vp);
}

static void exit_cr8_write(struct vp *vp)
{
    uint64_t value;
    uint32_t length;

    if (svm_mov_to_cr(vp, &value, &length))
        exit_cr8(vp, value, length);
}

static void exit_io_access(struct vp *vp, struct vmcb *v)
{
    uint64_t info = v->exit_info1;
    struct io_access io = {
        .port = (uint16_t)(info >> SVM_IO_PORT_SHIFT),
        .size = (uint8_t)((info & SVM_IO_SIZE_MASK) >> SVM_IO_SIZE_SHIFT),
        .write = !(info & SVM_IO_IN),
        .string = info & SVM_IO_STRING,
        .rep = info & SVM_IO_REP,
        .length = (uint8_t)(v->exit_info2 - v->rip),
    };
    exit_io(vp, &io);
}

static void exit_invd(struct vp *vp)
{
    const struct vmcb *v = svm_vmcb(vp);
    uint32_t length = decoded_length(vp, v, INSN_INVD);
    if (length)
        exit_cache(vp, length);
}

static void exit_xsetbv_access(struct vp *vp)
{
    const struct vmcb *v = svm_vmcb(vp);
    uint32_t length = decoded_length(vp, v, INSN_XSETBV);
    if (length)
        exit_xsetbv(vp, length);
}

static void exit_vector(struct vp *vp)
{
    const struct vmcb *v = svm_vmcb(vp);
    uint32_t vector = 0;
    uint8_t info = svm_exception_info((uint32_t)v->exit_code, &vector);
    uint64_t parameter = vector == EXC_PF ? v->exit_info2 : vector == EXC_DB ? v->dr6 : 0;

    exit_exception(vp, vector, info,
                   info & HV_EXCEPTION_INFO_ERROR_CODE_VALID ? (uint32_t)v->exit_info1 : 0,
                   parameter);
}

#define ENTRY(code, function, count) [SVM_EXIT_##code] = {function, VP_COUNTER_##count}
static const struct exit_entry exits[] = {
    ENTRY(WRITE_CR4, svm_exit_cr4_write, CONTROL_REGISTER),
    ENTRY(WRITE_CR8, exit_cr8_write, CONTROL_REGISTER),
    [SVM_EXIT_READ_DR0...
        SVM_EXIT_WRITE_DR7] = {svm_use_debug_registers, VP_COUNTER_CONTROL_REGISTER},
    [SVM_EXIT_EXCEPTION... SVM_EXIT_EXCEPTION_LAST] = {exit_vector, VP_COUNTER_EXCEPTION},
    ENTRY(INTR, exit_interrupt, INTERRUPT),
    ENTRY(NMI, exit_nmi, NMI),
    ENTRY(SMI, exit_smi, SMI),
    ENTRY(INIT, exit_init, OTHER),
    ENTRY(VINTR, exit_window, INTERRUPT_WINDOW),
    [SVM_EXIT_READ_IDTR... SVM_EXIT_READ_TR] = {exit_table_store, VP_COUNTER_OTHER},
    ENTRY(RDPMC, vp_inject_gp, UNDEFINED),
    ENTRY(CPUID, exit_cpuid_slow, CPUID),
    ENTRY(IRET, exit_nmi_iret, IRET),
    ENTRY(INVD, exit_invd, CACHE),
    ENTRY(PAUSE, exit_spin, PAUSE),
    ENTRY(HLT, exit_halt, HLT),
    ENTRY(INVLPGA, vp_inject_ud, UNDEFINED),
    ENTRY(SHUTDOWN, exit_shutdown, SHUTDOWN),
    [SVM_EXIT_VMRUN] = {vp_inject_ud, VP_COUNTER_UNDEFINED},
    [SVM_EXIT_VMMCALL + 1 ... SVM_EXIT_SKINIT] = {vp_inject_ud, VP_COUNTER_UNDEFINED},
    ENTRY(ICEBP, exit_vector, EXCEPTION),
    [SVM_EXIT_MONITOR... SVM_EXIT_MWAIT_ARMED] = {vp_inject_ud, VP_COUNTER_UNDEFINED},
    ENTRY(XSETBV, exit_xsetbv_access, XSETBV),
};

static void unexpected(struct vp *vp, struct vmcb *v)
{
    if (exit_fails_launch(this_lp(), vp))
        return;
    if (v->exit_code != SVM_EXIT_INVALID || vp->partition == root_partition)
        panic("unexpected #VMEXIT %#lx info %#lx %#lx", (unsigned long)v->exit_code,
              (unsigned long)v->exit_info1, (unsigned long)v->exit_info2);
    intercept_invalid_register(vp);
}

static inline void sync_in(struct vp *vp)
{
    svm_sync_in(vp);
    exit_sync_tpr(vp, (uint8_t)((svm_vmcb(vp)->vintr & SVM_VINTR_TPR_MASK) << 4));
}

static struct vp *prepare(struct vp *vp), *prepare_fast(struct vp *vp);
static const struct exit_ways ways = {.sync_in = sync_in,
                                      .sync_out = svm_sync_out,
                                      .reload = svm_reload,
                                      .next = svm_next,
                                      .prepare = prepare,
                                      .prepare_fast = prepare_fast};

static __attribute__((noinline)) struct vp *prepare(struct vp *vp)
{
    return exit_prepare(&ways, vp);
}

static __attribute__((noinline)) struct vp *prepare_fast(struct vp *vp)
{
    return exit_prepare_fast(&ways, vp);
}

static inline void enter_neutral(struct vp *vp, struct vmcb *v)
{
    if (unlikely(v->exit_int_info & SVM_EVENT_VALID))
        svm_requeue_event(vp);
    sync_in(vp);
}

static __attribute__((noinline)) struct vp *slow_msr(struct vp *vp, struct vmcb *v)
{
    enter_neutral(vp, v);
    vp->counters[VP_COUNTER_RDMSR + (v->exit_info1 & 1)]++;
    exit_msr_access(vp, v);
    return exit_resume(&ways, vp);
}

static MEASURED struct vp *msr_exit(struct lp *lp, struct vp *vp, struct vmcb *v)
{
    bool done = v->exit_info1 & 1 ? fast_eoi(lp, vp, v) : fast_rdmsr(lp, vp, v);

    return done ? exit_resume_fast(&ways, vp) : slow_msr(vp, v);
}

static __attribute__((noinline)) struct vp *slow_hypercall(struct vp *vp, struct vmcb *v)
{
    enter_neutral(vp, v);
    vp->counters[VP_COUNTER_HYPERCALL]++;
    exit_vmmcall(vp, v);
    return exit_resume_or_leave(&ways, vp);
}

// A call that has no short way, from an instruction that is known.
static __attribute__((noinline)) struct vp *long_hypercall(struct vp *vp)
{
    sync_in(vp);
    hypercall_exit(vp, 3, HYPERCALL_CALLER_WIDE);
    return exit_resume_or_leave(&ways, vp);
}

static MEASURED struct vp *lend(struct lp *lp, struct vp *vp)
{
    return exit_lend(&ways, lp, vp);
}

static MEASURED struct vp *hypercall(struct lp *lp, struct vp *vp, struct vmcb *v)
{
    uint64_t result;
    uint32_t status;

    if (v->cpl != 0 || !(v->efer & EFER_LMA) || !(v->cs.attributes & SVM_SEGMENT_LONG) ||
        !plain_instruction(lp, vp, v, OPCODE_VMMCALL, 3))
        return slow_hypercall(vp, v);
    status = exit_call(vp, &result);
    if (unlikely(status == HYPERCALL_NOT_FAST))
        return long_hypercall(vp);
    if (likely(status != HV_STATUS_RETRY)) {
        v->rax = result;
        complete(v, 3);
    }
    return unlikely(lp->heir) ? lend(lp, vp) : exit_resume_fast(&ways, vp);
}

static __attribute__((noinline)) struct vp *other_exit(struct vp *vp, struct vmcb *v)
{
    uint64_t code = v->exit_code;

    if (unlikely(v->vintr & SVM_VINTR_IRQ) && code != SVM_EXIT_VINTR)
        svm_take_back_interrupt(vp);
    enter_neutral(vp, v);
    if (code < sizeof(exits) / sizeof(exits[0]) && exits[code].handler) {
        vp->counters[exits[code].counter]++;
        exits[code].handler(vp);
    } else {
        unexpected(vp, v);
    }
    return exit_resume_or_leave(&ways, vp);
}

static MEASURED struct vp *io_exit(struct vp *vp, struct vmcb *v)
{
    enter_neutral(vp, v);
    vp->counters[VP_COUNTER_IO]++;
    exit_io_access(vp, v);
    return exit_resume_or_leave(&ways, vp);
}

static MEASURED struct vp *page_fault_exit(struct vp *vp, struct vmcb *v)
{
    if (unlikely(v->vintr & SVM_VINTR_IRQ))
        svm_take_back_interrupt(vp);
    enter_neutral(vp, v);
    vp->counters[VP_COUNTER_PAGE_FAULT]++;
    exit_page_fault(vp, v);
    return exit_resume_or_leave(&ways, vp);
}

static __attribute__((noinline)) struct vp *halt_exit(struct lp *lp, struct vp *vp, struct vmcb *v)
{
    if (!plain_instruction(lp, vp, v, OPCODE_HLT, 1))
        return other_exit(vp, v);
    complete(v, 1);
    sync_in(vp);
    return exit_halted(&ways, lp, vp);
}

// A leaf of its own, without a frame, for the one exit that is answered here; the others are tail
// calls.
struct vp *svm_exit(struct vp *vp)
{
    struct vmcb *v = vp->hw;
    struct lp *lp = this_lp();
    uint64_t code = v->exit_code;
    struct lp_exit_record *record = &lp->last_exits[lp->exit_cursor++ % LP_LAST_EXITS];

    record->reason = code;
    record->rip = v->rip;
    v->tlb_control = SVM_TLB_KEEP;
    if (code == SVM_EXIT_CPUID && likely(fast_cpuid(lp, vp, v)))
        return exit_resume_fast(&ways, vp);
    if (code == SVM_EXIT_MSR)
        return msr_exit(lp, vp, v);
    if (code == SVM_EXIT_VMMCALL)
        return hypercall(lp, vp, v);
    if (code == SVM_EXIT_IOIO)
        return io_exit(vp, v);
    if (code == SVM_EXIT_HLT)
        return halt_exit(lp, vp, v);
    if (code == SVM_EXIT_NPF)
        return page_fault_exit(vp, v);
    return other_exit(vp, v);
}
