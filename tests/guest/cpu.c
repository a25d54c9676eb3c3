// SPDX-License-Identifier: BSD-2-Clause-Patent
// Instructions that exit end where the processor's own would: lengths with any prefixes, single
// steps, interrupt shadows, breakpoints; control registers and XSETBV check what they are given.
#include "cpu.h"
#include "apic.h"
#include "clock.h"
#include "con.h"
#include "hvcall.h"
#include "irqlog.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define VECTOR            0x44
#define CPUID_1_ECX_XSAVE (1u << 26)
#define CPUID_1_ECX_AVX   (1u << 28)
#define DR6_B0            1ul
#define DR6_B1            2ul
#define DR6_BS            (1ul << 14)
#define DR7_L0            1ul
#define DR7_L1            4ul

#define CODE(name, text)                                                                           \
    extern const uint8_t name[];                                                                   \
    __asm__(".pushsection .text\n" #name ":\n" text "\nret\n.popsection\n")

// ---- lengths of instructions ----------------------------------------------------------------

// Each runs with harmless operands and counts in RDI what comes right after it.
#define LENGTH_LIST(X)                                                                             \
    X(cpuid_plain, "0x0f, 0xa2")                                                                   \
    X(cpuid_66, "0x66, 0x0f, 0xa2")                                                                \
    X(cpuid_f2, "0xf2, 0x0f, 0xa2")                                                                \
    X(cpuid_f3, "0xf3, 0x0f, 0xa2")                                                                \
    X(cpuid_2e, "0x2e, 0x0f, 0xa2")                                                                \
    X(cpuid_67, "0x67, 0x0f, 0xa2")                                                                \
    X(cpuid_rex, "0x4f, 0x0f, 0xa2")                                                               \
    X(cpuid_many, "0x66, 0x2e, 0x67, 0xf3, 0x64, 0x48, 0x0f, 0xa2")                                \
    X(cpuid_longest, "0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, "    \
                     "0x66, 0x0f, 0xa2")                                                           \
    X(rdmsr_plain, "0x0f, 0x32")                                                                   \
    X(rdmsr_66, "0x66, 0x0f, 0x32")                                                                \
    X(rdmsr_rex, "0x48, 0x0f, 0x32")                                                               \
    X(rdmsr_many, "0x65, 0x66, 0xf2, 0x41, 0x0f, 0x32")                                            \
    X(in_imm, "0xe4, 0x80")                                                                        \
    X(in_imm_prefix, "0x2e, 0x67, 0xe4, 0x80")                                                     \
    X(in_word, "0x66, 0xe5, 0x80")                                                                 \
    X(in_rex, "0x48, 0xe5, 0x80")                                                                  \
    X(out_imm, "0xe6, 0x80")                                                                       \
    X(out_many, "0x66, 0x66, 0x48, 0xe6, 0x80")

#define LENGTH_CODE(name, bytes) CODE(length_##name, ".byte " bytes "\ninc %rdi");
LENGTH_LIST(LENGTH_CODE)

struct length_case {
    const char *name;
    const uint8_t *code;
};
#define LENGTH_ROW(name, bytes) {#name, length_##name},
static const struct length_case length_cases[] = {LENGTH_LIST(LENGTH_ROW)};

static void run_length(void *context)
{
    const uint8_t *code = *(const uint8_t **)context;
    uint64_t count = 0, a = 0, c = MSR_APIC_BASE;
    __asm__ volatile("call *%[code]"
                     : "+D"(count), "+a"(a), "+c"(c)
                     : [code] "r"(code)
                     : "rbx", "rdx", "memory");
    *(uint64_t *)context = count;
}

static void test_lengths(void)
{
    for (unsigned i = 0; i < sizeof(length_cases) / sizeof(length_cases[0]); i++) {
        uint64_t context = (uint64_t)length_cases[i].code;
        struct trap trap = trap_try(run_length, &context);
        tap_ok(!trap.taken && context == 1, "%s ends at the next instruction",
               length_cases[i].name);
    }
}

CODE(too_long,
     ".byte 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, "
     "0x66, 0x0f, 0xa2");
CODE(lock_cpuid, ".byte 0xf0, 0x0f, 0xa2");
CODE(lock_rdmsr, ".byte 0xf0, 0x0f, 0x32");

static void call_code(void *context)
{
    __asm__ volatile("call *%0" : : "r"(context) : "rax", "rbx", "rcx", "rdx", "rdi", "memory");
}

static void expect_fault(const void *code, uint8_t vector, const char *what)
{
    struct trap trap = trap_try(call_code, (void *)code);
    tap_ok(trap.taken && trap.vector == vector, "%s (vector %d)", what,
           trap.taken ? trap.vector : -1);
}

// ---- instructions that a guest does not have ------------------------------------------------

CODE(vmrun, "mov $0x1000, %eax\n vmrun");
CODE(vmload, "mov $0x1000, %eax\n vmload");
CODE(vmsave, "mov $0x1000, %eax\n vmsave");
CODE(clgi, "clgi");
CODE(stgi, "stgi");
CODE(skinit, "mov $0x1000, %eax\n skinit");
CODE(invlpga, "xor %ecx, %ecx\n mov $0x1000, %eax\n invlpga");
CODE(vmxon, "sub $8, %rsp\n movq $0x1000, (%rsp)\n vmxon (%rsp)\n add $8, %rsp");
CODE(vmcall_other, ".byte 0x0f, 0x01, 0xc1");
CODE(monitor, "lea (%rip), %rax\n xor %ecx, %ecx\n xor %edx, %edx\n monitor");
CODE(mwait, "xor %eax, %eax\n xor %ecx, %ecx\n mwait");
CODE(rsm, "rsm");
CODE(rdtscp, "rdtscp");
CODE(undefined, "ud2");

static void test_hidden(void)
{
    bool amd = cpuid(0, 0).ecx == 0x444d4163; // "cAMD"
    tap_ok(!(cpuid(0x80000001, 0).ecx & 4), "CPUID shows no SVM");
    tap_ok(!(cpuid(1, 0).ecx & (1u << 5)), "CPUID shows no VMX");
    expect_fault(vmrun, VECTOR_UD, "VMRUN is #UD");
    expect_fault(vmload, VECTOR_UD, "VMLOAD is #UD");
    expect_fault(vmsave, VECTOR_UD, "VMSAVE is #UD");
    expect_fault(clgi, VECTOR_UD, "CLGI is #UD");
    expect_fault(stgi, VECTOR_UD, "STGI is #UD");
    expect_fault(skinit, VECTOR_UD, "SKINIT is #UD");
    expect_fault(invlpga, VECTOR_UD, "INVLPGA is #UD");
    expect_fault(vmxon, VECTOR_UD, "VMXON is #UD");
    if (amd) {
        expect_fault(vmcall_other, VECTOR_UD, "VMCALL is #UD on AMD");
    }
    if (!(cpuid(1, 0).ecx & 8)) {
        expect_fault(monitor, VECTOR_UD, "MONITOR, not shown, is #UD");
        expect_fault(mwait, VECTOR_UD, "MWAIT, not shown, is #UD");
    }
    if (!(cpuid(0x80000001, 0).edx & (1u << 27))) {
        expect_fault(rdtscp, VECTOR_UD, "RDTSCP, not shown, is #UD");
    }
    expect_fault(rsm, VECTOR_UD, "RSM is #UD");
}

// ---- single steps ---------------------------------------------------------------------------

#define STEP_MAX 16
static volatile struct {
    uint32_t count;
    uint64_t rip[STEP_MAX], dr6[STEP_MAX];
} steps;

static void on_step(struct trap_frame *frame)
{
    if (steps.count < STEP_MAX) {
        steps.rip[steps.count] = frame->rip;
        steps.dr6[steps.count] = read_dr6();
    }
    steps.count++;
    if (read_dr6() & DR6_B0) {
        frame->rflags |= RFLAGS_RF; // go on past an execution breakpoint
    }
    write_dr6(0xffff0ff0);
    if (steps.count >= STEP_MAX) {
        frame->rflags &= ~RFLAGS_TF;
    }
}

// TF is set by the POPF, whose own end traps not; the first #DB comes after the instruction that
// follows. The second POPF clears it and is the last to be stepped over.
#define STEP_CODE(name, text)                                                                      \
    extern const uint8_t step_##name[], step_##name##_after[];                                     \
    __asm__(".pushsection .text\n step_" #name ":\n"                                               \
            "pushfq\n orl $0x100, (%rsp)\n popfq\n" text "\n step_" #name "_after:\n"              \
            "nop\n pushfq\n andl $~0x100, (%rsp)\n popfq\n ret\n.popsection\n")
STEP_CODE(nop, "nop");
STEP_CODE(cpuid, "cpuid");
STEP_CODE(rdmsr, "rdmsr");
STEP_CODE(in, "in $0x80, %al");
STEP_CODE(out, "out %al, $0x80");
STEP_CODE(mov_cr, "mov %cr0, %rax");
STEP_CODE(rdtsc, "rdtsc");

static void test_step(const uint8_t *code, const uint8_t *after, const char *what)
{
    steps.count = 0;
    trap_set_handler(VECTOR_DB, on_step);
    write_dr6(0xffff0ff0);
    __asm__ volatile("call *%2" : : "a"(0), "c"(MSR_APIC_BASE), "r"(code) : "rbx", "rdx", "memory");
    trap_set_handler(VECTOR_DB, 0);
    bool right = steps.count == 5 && steps.rip[0] == (uint64_t)after &&
                 steps.rip[1] == (uint64_t)after + 1 && (steps.dr6[0] & DR6_BS);
    tap_ok(right, "single step over %s: #DB right after it, with DR6.BS", what);
    if (!right) {
        tap_note("%u steps, first at %lx (want %lx), dr6 %lx", steps.count, steps.rip[0],
                 (uint64_t)after, steps.dr6[0]);
    }
}

// ---- interrupt shadows ----------------------------------------------------------------------

static volatile uint64_t irq_rip;

static void on_irq(struct trap_frame *frame)
{
    irq_rip = frame->rip;
    irqlog.count++;
    apic_eoi();
}

#define SHADOW_CODE(name, text)                                                                    \
    extern const uint8_t shadow_##name[], shadow_##name##_at[];                                    \
    __asm__(".pushsection .text\n shadow_" #name ":\n" text "\n cli\n ret\n.popsection\n")
SHADOW_CODE(sti_nop, "sti\n nop\n shadow_sti_nop_at: nop");
SHADOW_CODE(sti_cpuid, "sti\n cpuid\n shadow_sti_cpuid_at: nop\n nop");
SHADOW_CODE(sti_in, "sti\n in $0x80, %al\n shadow_sti_in_at: nop\n nop");
SHADOW_CODE(sti_rdmsr, "sti\n rdmsr\n shadow_sti_rdmsr_at: nop\n nop");
SHADOW_CODE(sti_hlt, "sti\n hlt\n shadow_sti_hlt_at: nop");
SHADOW_CODE(mov_ss, "mov %ss, %eax\n sti\n mov %eax, %ss\n nop\n shadow_mov_ss_at: nop\n nop");

static void test_shadow(const uint8_t *code, const uint8_t *at, const char *what)
{
    irqlog_clear();
    irq_rip = 0;
    apic_ipi(0, ICR_FIXED | ICR_SELF | VECTOR);
    __asm__ volatile("call *%2" : : "a"(0), "c"(MSR_APIC_BASE), "r"(code) : "rbx", "rdx", "memory");
    tap_ok(irqlog.count == 1, "%s: the waiting interrupt is taken (%u)", what, irqlog.count);
    tap_is(irq_rip, (uint64_t)at, "%s: at the end of the shadow", what);
}

static void test_shadows(void)
{
    trap_set_handler(VECTOR, on_irq);
    test_shadow(shadow_sti_nop, shadow_sti_nop_at, "STI; NOP");
    test_shadow(shadow_sti_cpuid, shadow_sti_cpuid_at, "STI; CPUID");
    test_shadow(shadow_sti_in, shadow_sti_in_at, "STI; IN");
    test_shadow(shadow_sti_rdmsr, shadow_sti_rdmsr_at, "STI; RDMSR");
    test_shadow(shadow_sti_hlt, shadow_sti_hlt_at, "STI; HLT");
    irqlog_clear();
    apic_ipi(0, ICR_FIXED | ICR_SELF | VECTOR);
    __asm__ volatile("call *%0" : : "r"(shadow_mov_ss) : "rax", "memory");
    tap_ok(irqlog.count == 1, "STI; MOV SS; NOP: the waiting interrupt is taken once");
    trap_set_handler(VECTOR, 0);
}

// ---- breakpoints ----------------------------------------------------------------------------

extern const uint8_t break_here_at[];
CODE(break_here, "cpuid\n break_here_at: nop\n nop");

static volatile uint64_t watched;

static void test_breakpoints(void)
{
    trap_set_handler(VECTOR_DB, on_step);
    steps.count = 0;
    write_dr0((uint64_t)break_here_at);
    write_dr7(DR7_L0 | 0x400);
    write_dr6(0xffff0ff0);
    struct trap trap = trap_try(call_code, (void *)break_here);
    write_dr7(0x400);
    tap_ok(!trap.taken && steps.count == 1 && steps.rip[0] == (uint64_t)break_here_at &&
               (steps.dr6[0] & 0xf) == DR6_B0,
           "an execution breakpoint right after CPUID hits once (%u, dr6 %lx)", steps.count,
           steps.dr6[0]);

    steps.count = 0;
    write_dr1((uint64_t)&watched);
    write_dr7(DR7_L1 | 0x400 | 0x9ul << 20); // write, 8 bytes
    watched = 1;
    uint64_t count = steps.count;
    write_dr7(0x400);
    watched = 2;
    tap_ok(count == 1 && steps.count == 1 && (steps.dr6[0] & 0xf) == DR6_B1,
           "a write watchpoint hits once, while it is on (%u)", steps.count);
    trap_set_handler(VECTOR_DB, 0);
}

static void body_write_dr7(void *context)
{
    write_dr7(*(uint64_t *)context);
}

static void body_write_dr6(void *context)
{
    write_dr6(*(uint64_t *)context);
}

static void body_dr4(void *context)
{
    __asm__ volatile("mov %0, %%dr4" : : "r"(context));
}

static void test_debug_registers(void)
{
    write_dr0(0x1111);
    write_dr1(0x2222);
    write_dr2(0x3333);
    write_dr3(0x4444);
    cpuid(0, 0);
    tap_ok(read_dr0() == 0x1111 && read_dr1() == 0x2222 && read_dr2() == 0x3333 &&
               read_dr3() == 0x4444,
           "DR0 to DR3 keep what is written, over an exit");
    uint64_t high = 1ul << 32;
    struct trap trap = trap_try(body_write_dr7, &high);
    tap_ok(trap.taken && trap.vector == VECTOR_GP, "upper bits of DR7 are #GP");
    trap = trap_try(body_write_dr6, &high);
    tap_ok(trap.taken && trap.vector == VECTOR_GP, "upper bits of DR6 are #GP");
    write_cr4(read_cr4() | CR4_DE);
    trap = trap_try(body_dr4, 0);
    write_cr4(read_cr4() & ~CR4_DE);
    tap_ok(trap.taken && trap.vector == VECTOR_UD, "DR4 is #UD with CR4.DE");
    tap_is(read_dr7(), 0x400, "DR7 is at its reset value");
}

// ---- control registers ----------------------------------------------------------------------

struct write {
    int reg; // 0, 3, 4, 8 or -1: XCR0
    uint64_t value;
};

static void body_write(void *context)
{
    struct write *w = context;
    switch (w->reg) {
    case 0:
        write_cr0(w->value);
        break;
    case 3:
        write_cr3(w->value);
        break;
    case 4:
        write_cr4(w->value);
        break;
    case 8:
        write_cr8(w->value);
        break;
    default:
        xsetbv(0, w->value);
    }
}

static void refused(int reg, uint64_t value, const char *what)
{
    struct write w = {reg, value};
    struct trap trap = trap_try(body_write, &w);
    tap_ok(trap.taken && trap.vector == VECTOR_GP && trap.error == 0, "%s is #GP(0)", what);
}

// QEMU's translator takes any value for CR0 and CR4; tried with one that does no harm.
static bool processor_checks(void)
{
    uint64_t cr0 = read_cr0();
    struct write w = {0, cr0 | CR0_NW};
    bool checks = trap_try(body_write, &w).taken;
    write_cr0(cr0);
    return checks;
}

static void test_refused(void)
{
    uint64_t cr0 = read_cr0(), cr4 = read_cr4();
    if (!processor_checks()) {
        tap_skip("this processor does not check them", "bad values for CR0 and CR4 are #GP");
        return;
    }
    refused(0, cr0 & ~CR0_PE, "CR0 with PG and without PE");
    refused(0, cr0 | CR0_NW, "CR0 with NW and without CD");
    refused(0, cr0 | 1ul << 40, "CR0 with upper bits");
    tap_is(read_cr0(), cr0, "CR0 is what it was");
    refused(4, cr4 & ~CR4_PAE, "CR4 without PAE in long mode");
    refused(4, cr4 | 1ul << 31, "CR4 with reserved bits");
    refused(4, cr4 | 1ul << 40, "CR4 with upper bits");
    tap_is(read_cr4(), cr4, "CR4 is what it was");
    refused(8, 16, "CR8 with 16");
}

static void test_control(void)
{
    uint64_t cr0 = read_cr0();
    test_refused();
    write_cr0(cr0 | CR0_TS);
    extern const uint8_t use_fpu[];
    struct trap trap = trap_try(call_code, (void *)use_fpu);
    __asm__ volatile("clts");
    tap_ok(trap.taken && trap.vector == VECTOR_NM && read_cr0() == cr0,
           "CR0.TS makes the FPU #NM, CLTS ends it");
    __asm__ volatile("lmsw %w0" : : "r"((uint16_t)(cr0 | CR0_TS)));
    uint64_t w = read_cr0();
    __asm__ volatile("clts");
    tap_is(w, cr0 | CR0_TS, "LMSW sets TS");
}
CODE(use_fpu, "fninit\n fld1\n fstp %st");

static void test_xsetbv(void)
{
    if (!(cpuid(1, 0).ecx & CPUID_1_ECX_XSAVE)) {
        tap_skip("not shown", "XSETBV");
        return;
    }
    struct write w = {-1, 1};
    struct trap trap = trap_try(body_write, &w);
    tap_ok(trap.taken && trap.vector == VECTOR_UD, "XSETBV without CR4.OSXSAVE is #UD");
    tap_ok(!(cpuid(1, 0).ecx & (1u << 27)), "CPUID shows OSXSAVE clear");
    write_cr4(read_cr4() | CR4_OSXSAVE);
    tap_ok(cpuid(1, 0).ecx & (1u << 27), "CPUID shows OSXSAVE with CR4.OSXSAVE");
    struct cpuid leaf = cpuid(0xd, 0);
    uint64_t offered = (uint64_t)leaf.edx << 32 | leaf.eax;
    tap_is(xgetbv(0), 1, "XCR0 is 1 after reset");
    refused(-1, 0, "XCR0 without x87");
    refused(-1, 2, "XCR0 with SSE alone");
    refused(-1, 5, "XCR0 with AVX and without SSE");
    refused(-1, offered | 1ul << 62, "XCR0 with what CPUID does not offer");
    for (uint64_t value = 1; value <= offered && value <= 7; value = value << 1 | 1) {
        if (value & ~offered) {
            break;
        }
        xsetbv(0, value);
        tap_ok(xgetbv(0) == value, "XCR0 takes %lx", value);
        uint32_t size = cpuid(0xd, 0).ebx;
        tap_ok(size == (value & 4 ? 0x340 : 0x240), "and CPUID shows its size (%x)", size);
    }
    xsetbv(0, 1);
    write_cr4(read_cr4() & ~CR4_OSXSAVE);
}

// ---- ring 3 ---------------------------------------------------------------------------------

static void body_cpuid(void *context)
{
    *(struct cpuid *)context = cpuid(0, 0);
}

static void body_hlt(void *context)
{
    (void)context;
    __asm__ volatile("hlt");
}

static void body_in(void *context)
{
    (void)context;
    in8(0x80);
}

static void body_rdmsr(void *context)
{
    (void)context;
    rdmsr(MSR_APIC_BASE);
}

static void test_user(void)
{
    struct cpuid answer = {0}, want = cpuid(0, 0);
    struct trap trap = trap_try_user(body_cpuid, &answer);
    tap_ok(trap.vector == VECTOR_BP && answer.ebx == want.ebx, "ring 3: CPUID answers");
    trap = trap_try_user(body_hlt, 0);
    tap_ok(trap.vector == VECTOR_GP, "ring 3: HLT is #GP");
    trap = trap_try_user(body_in, 0);
    tap_ok(trap.vector == VECTOR_GP, "ring 3: IN without permission is #GP");
    trap = trap_try_user(body_rdmsr, 0);
    tap_ok(trap.vector == VECTOR_GP, "ring 3: RDMSR is #GP");
}

void guest_main(void)
{
    apic_enable(false);
    clock_tsc_hz();
    test_lengths();
    expect_fault(too_long, VECTOR_GP, "an instruction of 16 bytes is #GP");
    expect_fault(lock_cpuid, VECTOR_UD, "LOCK CPUID is #UD");
    expect_fault(lock_rdmsr, VECTOR_UD, "LOCK RDMSR is #UD");
    expect_fault(undefined, VECTOR_UD, "UD2 is #UD");
    test_step(step_nop, step_nop_after, "NOP");
    test_step(step_cpuid, step_cpuid_after, "CPUID");
    test_step(step_rdmsr, step_rdmsr_after, "RDMSR");
    test_step(step_in, step_in_after, "IN");
    test_step(step_out, step_out_after, "OUT");
    test_step(step_mov_cr, step_mov_cr_after, "MOV from CR0");
    test_step(step_rdtsc, step_rdtsc_after, "RDTSC");
    test_shadows();
    test_breakpoints();
    test_debug_registers();
    test_control();
    test_xsetbv();
    test_user();
    if (hv_present()) {
        test_hidden();
    }
}
