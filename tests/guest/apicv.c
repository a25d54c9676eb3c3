// SPDX-License-Identifier: BSD-2-Clause-Patent
// Interrupts of an x2APIC that the processor may deliver by itself, in every state that a guest can
// bring it into, and between such delivery and the hypervisor's: the same everywhere, but for what
// an EOI costs.
//
// rig: --vps 2 --lps 2
// rig: --vps 2 --lps 1
// timeout: 180
#include "apic.h"
#include "clock.h"
#include "cpu.h"
#include "hv/assist.h"
#include "hv/synic.h"
#include "hvcall.h"
#include "machine.h"
#include "percpu.h"
#include "smp.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define LOW      0x45u
#define MIDDLE   0x65u
#define HIGH     0x85u
#define SINT     5u
#define STORM    3000u
#define STORM_US 3000000u // on one LP each round takes some turns
#define MSR_EOI  0x80bu
#define MSR_TPR  0x808u
#define MSR_SELF 0x83fu
// Instructions, as the rigs count time; an exit and an entry are some hundred at least.
#define NO_EXIT 60u

static volatile uint32_t order[16], taken, nested, isr_seen, ppr_seen;
static volatile uint32_t counted[CPU_MAX][256];

static void note(uint8_t vector)
{
    if (taken < 16) {
        order[taken] = vector;
    }
    taken++;
}

static void on_vector(struct trap_frame *frame)
{
    uint8_t vector = (uint8_t)frame->vector;
    note(vector);
    isr_seen += apic_vector_bit(APIC_ISR, vector) && !apic_vector_bit(APIC_IRR, vector);
    ppr_seen = apic_read(APIC_PPR);
    wrmsr(MSR_EOI, 0);
    isr_seen += !apic_vector_bit(APIC_ISR, vector);
}

static void reset(void)
{
    taken = isr_seen = ppr_seen = nested = 0;
    trap_set_handler(LOW, on_vector);
    trap_set_handler(MIDDLE, on_vector);
    trap_set_handler(HIGH, on_vector);
}

static void self(uint8_t vector)
{
    wrmsr(MSR_SELF, vector);
}

static void open_window(void)
{
    sti_nop();
    cli();
}

// ---- on one processor ---------------------------------------------------------------------------

static void test_order(void)
{
    reset();
    self(LOW);
    self(HIGH);
    self(MIDDLE);
    self(HIGH);
    tap_ok(apic_vector_bit(APIC_IRR, LOW) && apic_vector_bit(APIC_IRR, HIGH) && !taken,
           "self IPIs are pending while interrupts are off");
    open_window();
    open_window();
    open_window();
    tap_ok(taken == 3 && order[0] == HIGH && order[1] == MIDDLE && order[2] == LOW,
           "they come in the order of their priority, each once (%u)", taken);
    tap_is(isr_seen, 6, "and are in service up to the EOI");
    tap_is(ppr_seen, LOW & 0xf0, "PPR is the class in service");
    tap_is(apic_read(APIC_PPR), 0, "and 0 behind the last");
}

static void on_outer(struct trap_frame *frame)
{
    note((uint8_t)frame->vector);
    self(LOW); // lower: waits
    sti();
    nested = taken;
    self(HIGH); // higher: at once
    nested = taken - nested;
    cli();
    wrmsr(MSR_EOI, 0);
}

static void test_nesting(void)
{
    reset();
    trap_set_handler(MIDDLE, on_outer);
    self(MIDDLE);
    open_window();
    open_window();
    tap_ok(taken == 3 && order[0] == MIDDLE && order[1] == HIGH && order[2] == LOW && nested == 1,
           "a higher vector interrupts a handler, a lower one waits for its EOI (%u)", taken);
}

static void test_tpr(void)
{
    reset();
    wrmsr(MSR_TPR, MIDDLE & 0xf0);
    self(MIDDLE);
    self(LOW);
    open_window();
    tap_ok(!taken, "what TPR holds back does not come");
    sti();
    write_cr8(LOW >> 4);
    uint32_t first = taken;
    wrmsr(MSR_TPR, 0);
    uint32_t second = taken;
    cli();
    tap_ok(first == 1 && second == 2 && order[0] == MIDDLE && order[1] == LOW,
           "and comes when CR8 and TPR let it, before the next instruction (%u, %u)", first,
           second);
    wrmsr(MSR_TPR, 0x37);
    tap_ok(rdmsr(MSR_TPR) == 0x37 && read_cr8() == 3 && apic_read(APIC_PPR) == 0x37,
           "TPR keeps its low bits, PPR and CR8 follow");
    wrmsr(MSR_TPR, 0);
}

// Long enough for the hypervisor to be interrupted: that is no reason to interrupt the guest.
static void test_masked(void)
{
    reset();
    self(MIDDLE);
    clock_delay(50000);
    uint32_t early = taken;
    open_window();
    tap_ok(!early && taken == 1, "what is pending waits as long as interrupts are off (%u, %u)",
           early, taken);
}

static void test_shadow_and_halt(void)
{
    reset();
    uint64_t flags;
    self(MIDDLE);
    __asm__ volatile("sti; pushfq; pop %0; cli" : "=r"(flags) : : "memory");
    tap_is(taken, 1, "STI holds it back for one instruction");
    self(LOW);
    __asm__ volatile("sti; hlt; cli" : : : "memory");
    tap_is(taken, 2, "a pending vector ends HLT at once");
    wrmsr(MSR_TPR, 0xf0);
    self(LOW);
    apic_write(APIC_TIMER_DIVIDE, APIC_DIVIDE_BY_1);
    apic_write(APIC_LVT_TIMER, HIGH);
    apic_write(APIC_TIMER_INITIAL, 1000);
    wrmsr(MSR_TPR, MIDDLE & 0xf0);
    __asm__ volatile("sti; hlt; cli" : : : "memory");
    tap_ok(taken == 3 && order[2] == HIGH,
           "one that TPR holds back does not: the timer's does (%u, %x)", taken, order[2]);
    wrmsr(MSR_TPR, 0);
    open_window();
    tap_is(taken, 4, "and the other comes when TPR falls");
    apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED);
}

static void test_errors(void)
{
    tap_ok(try_wrmsr(MSR_EOI, 1).vector == VECTOR_GP, "a write of EOI other than 0 is #GP(0)");
    tap_ok(try_wrmsr(MSR_TPR, 0x100).vector == VECTOR_GP, "so are reserved bits of TPR");
    tap_ok(try_wrmsr(MSR_SELF, 0x100).vector == VECTOR_GP, "and of SELF IPI");
    tap_ok(try_rdmsr(MSR_EOI, NULL).vector == VECTOR_GP, "reading EOI is");
    tap_ok(try_rdmsr(MSR_SELF, NULL).vector == VECTOR_GP, "and reading SELF IPI");
    tap_ok(try_wrmsr(0x802, 0).vector == VECTOR_GP && try_wrmsr(0x80a, 0).vector == VECTOR_GP,
           "and writing what is read only");
    tap_ok(try_rdmsr(0x80e, NULL).vector == VECTOR_GP && try_rdmsr(0x840, NULL).vector == VECTOR_GP,
           "and what does not exist");
    apic_write(APIC_ESR, 0);
    self(15);
    apic_write(APIC_ESR, 0);
    tap_ok(apic_read(APIC_ESR) & 0x60, "a self IPI with vector 15 is an error (ESR %x)",
           apic_read(APIC_ESR));
    tap_is(apic_read(APIC_ID), machine.apic_ids[0], "the id is there to read");
    tap_ok((apic_read(APIC_VERSION) & 0xff) == 0x14 && (apic_read(APIC_LDR) & 1),
           "version and LDR too");
}

// ---- from one way to the other ------------------------------------------------------------------

static void test_disabled(void)
{
    reset();
    self(MIDDLE);
    apic_write(APIC_SVR, APIC_SPURIOUS_VECTOR);
    tap_ok(apic_vector_bit(APIC_IRR, MIDDLE), "a disabled APIC keeps what was pending");
    open_window();
    tap_ok(taken == 1 && isr_seen == 2, "and that is handled up to its EOI");
    self(MIDDLE);
    open_window();
    tap_is(taken, 1, "but it accepts nothing");
    apic_write(APIC_SVR, APIC_SVR_ENABLE | APIC_SPURIOUS_VECTOR);
    self(MIDDLE);
    open_window();
    tap_is(taken, 2, "enabled again it does");
}

static volatile uint32_t auto_seen;

static void on_auto(struct trap_frame *frame)
{
    note((uint8_t)frame->vector);
    auto_seen += apic_vector_bit(APIC_ISR, (uint8_t)frame->vector);
}

// While a vector is in service and others wait, its source becomes AutoEOI, and is no more.
static void test_auto_eoi(void)
{
    reset();
    trap_set_handler(HIGH, on_auto);
    self(LOW);
    self(HIGH);
    wrmsr(HV_X64_MSR_SINT(SINT), HV_SINT_AUTO_EOI | HIGH);
    open_window();
    open_window();
    tap_ok(taken == 2 && order[0] == HIGH && order[1] == LOW && !auto_seen,
           "an AutoEOI vector is not left in service (%u taken, %u)", taken, auto_seen);
    self(HIGH);
    wrmsr(HV_X64_MSR_SINT(SINT), HV_SINT_RESET_VALUE);
    reset();
    open_window();
    tap_ok(taken == 1 && isr_seen == 2, "without AutoEOI it is, up to its EOI");
}

static void test_synthetic(void)
{
    reset();
    trap_set_handler(MIDDLE, on_outer); // in service, one pending behind it
    self(MIDDLE);
    sti();
    pause();
    cli();
    wrmsr(HV_X64_MSR_TPR, HIGH & 0xf0);
    self(LOW);
    open_window();
    uint32_t held = taken;
    tap_ok(read_cr8() == HIGH >> 4, "the synthetic TPR is the TPR");
    write_cr8(0);
    open_window();
    tap_ok(held == 3 && taken == 4, "and holds back (%u, %u)", held, taken);
    wrmsr(HV_X64_MSR_ICR, ICR_SELF | ICR_FIXED | HIGH);
    open_window();
    tap_is(taken, 5, "the synthetic ICR sends");
}

// ---- between processors -------------------------------------------------------------------------

static volatile bool stop, ready;

static void on_count(struct trap_frame *frame)
{
    counted[percpu()->index][frame->vector]++;
    wrmsr(MSR_EOI, 0);
}

// Spins with interrupts on (in the guest all the time), or sleeps between them.
static void spin(void *halts)
{
    cli(); // nothing comes between the look at `stop` and HLT
    ready = true;
    while (!stop) {
        if (halts) {
            sti_hlt_cli();
        } else {
            sti();
            pause();
            cli();
        }
    }
}

static bool arrived(uint8_t vector, uint32_t count)
{
    uint64_t limit = rdtsc() + clock_ticks(CLOCK_PATIENCE);
    while (counted[1][vector] < count) {
        if (rdtsc() > limit) {
            return false;
        }
        pause();
    }
    return true;
}

static void test_remote(bool halts)
{
    uint32_t rounds = 0;
    bool lost = false;
    stop = ready = false;
    trap_set_handler(LOW, on_count);
    trap_set_handler(HIGH, on_count);
    counted[1][LOW] = counted[1][HIGH] = 0;
    smp_run(1, spin, halts ? (void *)1 : NULL);
    while (!ready) {
        pause();
    }
    uint64_t limit = rdtsc() + clock_ticks(STORM_US);
    while (rounds < STORM && !lost && rdtsc() < limit) {
        rounds++;
        apic_ipi(machine.apic_ids[1], ICR_FIXED | LOW);
        apic_ipi(machine.apic_ids[1], ICR_FIXED | HIGH);
        lost = !arrived(LOW, rounds) || !arrived(HIGH, rounds);
    }
    stop = true;
    apic_ipi(machine.apic_ids[1], ICR_FIXED | LOW);
    smp_wait(1, CLOCK_PATIENCE);
    tap_ok(!lost && counted[1][HIGH] == rounds && counted[1][LOW] <= rounds + 1,
           "%u IPIs to a processor that %s all arrive, each once (%u, %u)", 2 * rounds,
           halts ? "halts" : "runs", counted[1][LOW], counted[1][HIGH]);
}

// ---- what it costs
// --------------------------------------------------------------------------------

static uint64_t cheapest(uint32_t msr, uint64_t value)
{
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 32; i++) {
        uint64_t before = rdtsc();
        wrmsr(msr, value);
        uint64_t ticks = rdtsc() - before;
        best = ticks < best ? ticks : best;
    }
    return best;
}

static void test_cost(void)
{
    uint64_t eoi = cheapest(MSR_EOI, 0), tpr = cheapest(MSR_TPR, 0), send = cheapest(MSR_SELF, LOW);
    tap_note("EOI %lu, TPR %lu, self IPI %lu ticks", eoi, tpr, send);
    if (hv_delivers()) {
        tap_ok(eoi < NO_EXIT && tpr < NO_EXIT && send < NO_EXIT,
               "EOI, TPR and self IPI are done without an exit");
    }
    reset();
    open_window();
    tap_is(taken, 1, "and the self IPIs have been one");
}

void guest_main(void)
{
    hv_need();
    hv_setup();
    clock_tsc_hz();
    apic_enable(true);
    tap_is(smp_start_all(), machine.cpu_count, "all processors start");
    tap_note("delivered by %s", hv_delivers() ? "the processor" : "the hypervisor");
    test_order();
    test_nesting();
    test_tpr();
    test_masked();
    test_shadow_and_halt();
    test_errors();
    test_disabled();
    test_auto_eoi();
    test_synthetic();
    test_remote(false);
    test_remote(true);
    test_cost();
}
