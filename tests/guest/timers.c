// SPDX-License-Identifier: BSD-2-Clause-Patent
// Timers in numbers: tens of thousands of expirations on all processors at once, none early; lazy
// and auto-enabled timers; the time-unhalted timer. TLFS: Timers, Synthetic Time-Unhalted Timer
// MSRs.
//
// rig: --vps 1 --lps 1
// rig: --vps 1 --lps 1 --count --cmdline counted=1
// rig: --vps 2 --lps 2
// rig: --vps 4 --lps 2
// timeout: 240
#include "apic.h"
#include "clock.h"
#include "con.h"
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

#define EXPIRATIONS 40000u // a run; the three make more than 100,000
#define VECTOR      0x51
#define OTHER       0x52
#define MS          10000ul // reference time units
#define LATENESSES  32u
#define HALTS       20u
#define ONE_EXIT    8192ul  // instructions, at most: what is late by one exit
#define ONE_CALL    50000ul // and by another one before it

struct account {
    volatile uint64_t due, fired; // fired: 0 until it does
    uint32_t count, early, lost;
    uint32_t todo;
    uint32_t later[LATENESSES]; // by how many TSC counts: [0] none, [n] below 1 << n
    uint64_t latest;
} __attribute__((aligned(64)));

static struct account accounts[CPU_MAX];
static volatile uint32_t hits;

static uint64_t reference(void)
{
    return rdmsr(HV_X64_MSR_TIME_REF_COUNT);
}

static bool is_gp(struct trap trap)
{
    return trap.taken && trap.vector == VECTOR_GP && trap.error == 0;
}

// ---- many one-shot timers ---------------------------------------------------------------------

static void on_one_shot(struct trap_frame *frame)
{
    (void)frame;
    accounts[percpu()->index].fired = reference();
    apic_eoi();
}

static void book(struct account *a)
{
    uint64_t late = a->fired > a->due ? clock_ticks(a->fired - a->due) / 10 : 0;
    uint32_t step = late ? 64 - (uint32_t)__builtin_clzl(late) : 0;
    a->count += a->fired != 0;
    a->lost += a->fired == 0;
    a->early += a->fired != 0 && a->fired < a->due;
    a->later[step < LATENESSES ? step : LATENESSES - 1]++;
    a->latest = late > a->latest ? late : a->latest;
}

// Timers by turns, distances of 0 to 25 us, half of the waits in HLT. An interrupt that came
// between a look at `fired` and HLT would leave the processor asleep for good: smp_run() calls with
// interrupts enabled.
static void run_one_shots(void *context)
{
    struct account *a = context;
    uint64_t seed = 0x9e3779b97f4a7c15ul * (percpu()->index + 1);
    cli();
    for (uint32_t i = 0; i < HV_SYNIC_STIMER_COUNT; i++) {
        wrmsr(HV_X64_MSR_STIMER_CONFIG(i), HV_STIMER_DIRECT | HV_STIMER_AUTO_ENABLE |
                                               (uint64_t)VECTOR << HV_STIMER_VECTOR_SHIFT);
    }
    for (uint32_t i = 0; i < a->todo; i++) {
        seed = seed * 6364136223846793005ul + 1442695040888963407ul;
        a->fired = 0;
        a->due = reference() + (seed >> 33) % 250;
        wrmsr(HV_X64_MSR_STIMER_COUNT(i % HV_SYNIC_STIMER_COUNT), a->due);
        uint64_t end = rdtsc() + clock_ticks(CLOCK_PATIENCE);
        while (!a->fired && rdtsc() < end) {
            if (seed >> 40 & 1) {
                sti_hlt_cli();
            } else {
                sti_nop();
                cli();
            }
        }
        book(a);
    }
}

static void add(struct account *sum, const struct account *a)
{
    sum->count += a->count;
    sum->early += a->early;
    sum->lost += a->lost;
    for (uint32_t i = 0; i < LATENESSES; i++) {
        sum->later[i] += a->later[i];
    }
    sum->latest = a->latest > sum->latest ? a->latest : sum->latest;
}

// A bound that `permille` of the expirations keep, in TSC counts.
static uint64_t lateness(const struct account *a, uint32_t permille)
{
    uint64_t seen = 0;
    for (uint32_t i = 0; i < LATENESSES; i++) {
        seen += a->later[i];
        if (seen * 1000 >= (uint64_t)a->count * permille) {
            return 1ul << i;
        }
    }
    return ~0ul;
}

// Where the TSC counts instructions, an expiration is late by the exit that it causes, a few by
// another that was under way or by an interrupt of the root, whose VP shares the LP: no more than a
// hypercall may take (TLFS: Hypercall Continuation, 50 us). Elsewhere the host keeps the emulator's
// threads waiting as well.
static void test_late(const struct account *sum)
{
    uint64_t most = lateness(sum, 999);
    tap_note("50 %% are late by less than %lu TSC counts, 90 %% by %lu, 99 %% by %lu, 99.9 %% by "
             "%lu, the latest by %lu",
             lateness(sum, 500), lateness(sum, 900), lateness(sum, 990), most, sum->latest);
    if (machine_option("counted", 0)) {
        tap_ok(most <= ONE_EXIT, "99.9 %% are late by one exit (%lu instructions)", most);
        tap_ok(sum->latest <= ONE_CALL, "none is late by more than a hypercall may take (%lu)",
               sum->latest);
    } else {
        tap_ok(lateness(sum, 500) <= clock_ticks(20000), "most come within 20 milliseconds");
    }
}

static void test_never_early(void)
{
    uint32_t cpus = machine.cpu_count;
    struct account sum = {0};
    trap_set_handler(VECTOR, on_one_shot);
    for (uint32_t i = 0; i < cpus; i++) {
        accounts[i] = (struct account){.todo = (EXPIRATIONS + cpus - 1) / cpus};
    }
    for (uint32_t i = 1; i < cpus; i++) {
        smp_run(i, run_one_shots, &accounts[i]);
    }
    run_one_shots(&accounts[0]);
    for (uint32_t i = 0; i < cpus; i++) {
        if (i) {
            smp_wait(i, 8 * CLOCK_PATIENCE);
        }
        add(&sum, &accounts[i]);
    }
    tap_ok(sum.count >= EXPIRATIONS && sum.lost == 0,
           "%u timers on %u processors expire, none is lost", sum.count, cpus);
    tap_is(sum.early, 0, "no timer is ever signalled before its time");
    test_late(&sum);
}

// ---- periodic, lazy ---------------------------------------------------------------------------

#define TIMES 64
static volatile uint64_t times[TIMES];

static void on_hit(struct trap_frame *frame)
{
    (void)frame;
    if (hits < TIMES) {
        times[hits] = reference();
    }
    hits++;
    apic_eoi();
}

static bool wait_hits(uint32_t count)
{
    sti();
    bool came = clock_wait(&hits, count, CLOCK_PATIENCE);
    cli();
    return came;
}

static void test_lazy(void)
{
    const uint64_t period = 2 * MS;
    const uint32_t missed = 20, after = 5;
    hits = 0;
    trap_set_handler(OTHER, on_hit);
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, HV_STIMER_DIRECT | HV_STIMER_PERIODIC | HV_STIMER_LAZY |
                                         HV_STIMER_AUTO_ENABLE |
                                         (uint64_t)OTHER << HV_STIMER_VECTOR_SHIFT);
    uint64_t start = reference();
    wrmsr(HV_X64_MSR_STIMER0_COUNT, period);
    cli();
    clock_delay(missed * period / 10); // one is kept by the APIC, the rest is missed
    uint64_t open = reference();
    bool came = wait_hits(after);
    uint64_t spent = reference() - open;
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, 0);
    wrmsr(HV_X64_MSR_STIMER0_COUNT, 0);
    bool early = false;
    for (uint32_t i = 1; i < after; i++) {
        early |= times[i] < start + (i + 1) * period;
    }
    tap_ok(came && !early, "lazy: periods come, none early");
    tap_ok(spent >= (after - 3) * period, "lazy: what was missed is skipped, not made up for (%lu)",
           spent);
}

// A periodic timer keeps to the grid of its first period.
static void test_grid(void)
{
    const uint64_t period = 3 * MS;
    hits = 0;
    trap_set_handler(OTHER, on_hit);
    wrmsr(HV_X64_MSR_STIMER0_CONFIG,
          HV_STIMER_DIRECT | HV_STIMER_PERIODIC | (uint64_t)OTHER << HV_STIMER_VECTOR_SHIFT);
    wrmsr(HV_X64_MSR_STIMER0_COUNT, period);
    uint64_t start = reference();
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, rdmsr(HV_X64_MSR_STIMER0_CONFIG) | HV_STIMER_ENABLE);
    bool came = wait_hits(30);
    wrmsr(HV_X64_MSR_STIMER0_COUNT, 0);
    bool early = false;
    for (uint32_t i = 0; i < 30; i++) {
        early |= times[i] < start + (i + 1) * period;
    }
    tap_ok(came && !early, "periodic: 30 periods come, each no earlier than its place in the grid");
    tap_ok(!(rdmsr(HV_X64_MSR_STIMER0_CONFIG) & HV_STIMER_ENABLE), "count 0 disables it");
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, 0);
}

// Known to have stopped other implementations: a division by the period.
static void test_period_zero(void)
{
    hits = 0;
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, 0);
    wrmsr(HV_X64_MSR_STIMER0_COUNT, 0);
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, HV_STIMER_DIRECT | HV_STIMER_PERIODIC | HV_STIMER_ENABLE |
                                         (uint64_t)OTHER << HV_STIMER_VECTOR_SHIFT);
    sti();
    clock_delay(5000);
    cli();
    tap_is(hits, 0, "a periodic timer with count 0 never expires");
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, 0);
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, HV_STIMER_DIRECT | HV_STIMER_PERIODIC | HV_STIMER_AUTO_ENABLE |
                                         (uint64_t)OTHER << HV_STIMER_VECTOR_SHIFT);
    wrmsr(HV_X64_MSR_STIMER0_COUNT, 1);
    sti();
    clock_delay(20000);
    uint32_t alive = hits;
    cli();
    wrmsr(HV_X64_MSR_STIMER0_COUNT, 0);
    tap_ok(alive > 0 && alive <= 20000 / 50 * 2,
           "one of 100 ns comes at most every 50 us and leaves time for the program (%u)", alive);
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, 0);
}

// ---- the time-unhalted timer ------------------------------------------------------------------

_Alignas(4096) static struct hv_vp_assist_page assist;

static void spin_hits(uint32_t count)
{
    uint64_t end = rdtsc() + clock_ticks(CLOCK_PATIENCE);
    while (hits < count && rdtsc() < end) {
        sti_nop();
        cli();
    }
}

static void test_unhalted_periods(void)
{
    const uint64_t period = 2 * MS;
    hits = 0;
    wrmsr(HV_X64_MSR_STIME_UNHALTED_TIMER_COUNT, period);
    uint64_t before = rdmsr(HV_X64_MSR_VP_RUNTIME);
    wrmsr(HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG, HV_STIME_UNHALTED_ENABLE | OTHER);
    spin_hits(5);
    uint64_t ran = rdmsr(HV_X64_MSR_VP_RUNTIME) - before;
    tap_ok(hits >= 5 && ran >= 5 * period,
           "the time-unhalted timer fires every period that the VP has run (%u in %lu)", hits, ran);
    tap_is(assist.synthetic_time_unhalted_timer_expired, 1, "the assist page tells that it did");
    assist.synthetic_time_unhalted_timer_expired = 0;
    spin_hits(hits + 2); // one may have been waiting already
    tap_is(assist.synthetic_time_unhalted_timer_expired, 1,
           "the guest resets that, and the next expiration sets it");
}

// Halts until a timer of so many reference time units; what the VP has run meanwhile, ~0: it did
// not come or was early.
static uint64_t halt_for(uint64_t units)
{
    uint64_t ran = rdmsr(HV_X64_MSR_VP_RUNTIME);
    uint64_t due = reference() + units, end = rdtsc() + clock_ticks(CLOCK_PATIENCE);
    accounts[0].fired = 0;
    wrmsr(HV_X64_MSR_STIMER0_COUNT, due);
    while (!accounts[0].fired && rdtsc() < end) {
        sti_hlt_cli();
    }
    return accounts[0].fired >= due ? rdmsr(HV_X64_MSR_VP_RUNTIME) - ran : ~0ul;
}

// A halt of ten periods, ended by another timer. Where the emulator is kept from running on the way
// into the halt or out of it the VP has run all the while: then once more.
static void test_unhalted_halt(void)
{
    const uint64_t period = 5 * MS;
    uint64_t ran = ~0ul;
    wrmsr(HV_X64_MSR_STIME_UNHALTED_TIMER_COUNT, period);
    trap_set_handler(VECTOR, on_one_shot);
    wrmsr(HV_X64_MSR_STIMER0_CONFIG,
          HV_STIMER_DIRECT | HV_STIMER_AUTO_ENABLE | (uint64_t)VECTOR << HV_STIMER_VECTOR_SHIFT);
    for (uint32_t i = 0; i < HALTS; i++) {
        hits = 0;
        ran = halt_for(10 * period);
        if (ran < period || ran == ~0ul) {
            break;
        }
    }
    tap_ok(ran < period && hits <= 1,
           "it does not count while the VP is halted (%u in ten periods, of which it ran %lu)",
           hits, ran);
    uint32_t halted = hits;
    spin_hits(halted + 2);
    tap_ok(hits >= halted + 2, "and goes on when the VP runs again");
}

static volatile uint32_t nmis;

static void on_nmi(struct trap_frame *frame)
{
    (void)frame;
    nmis++;
}

static void test_unhalted(void)
{
    trap_set_handler(OTHER, on_hit);
    tap_ok(!rdmsr(HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG) &&
               !rdmsr(HV_X64_MSR_STIME_UNHALTED_TIMER_COUNT),
           "the time-unhalted timer is off at first");
    wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, hv_gpa(&assist) | HV_PAGE_MSR_ENABLE);
    test_unhalted_periods();
    test_unhalted_halt();
    trap_set_handler(VECTOR_NMI, on_nmi);
    wrmsr(HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG, HV_STIME_UNHALTED_ENABLE | VECTOR_NMI);
    tap_is(rdmsr(HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG), HV_STIME_UNHALTED_ENABLE | VECTOR_NMI,
           "its configuration reads back");
    uint64_t end = rdtsc() + clock_ticks(CLOCK_PATIENCE);
    while (!nmis && rdtsc() < end) {
        pause();
    }
    wrmsr(HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG, 0);
    tap_ok(nmis > 0, "vector 2 sends an NMI");
    uint32_t count = nmis;
    clock_delay(20000);
    tap_is(nmis, count, "disabled, it is silent");
    trap_set_handler(VECTOR_NMI, NULL);
    wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, 0);
}

// A message timer whose message page is away, and comes back.
_Alignas(4096) static struct hv_message_page sim;

static void test_message_page_away(void)
{
    volatile struct hv_message *slot = &sim.slot[4];
    wrmsr(HV_X64_MSR_SCONTROL, HV_SCONTROL_ENABLE);
    wrmsr(HV_X64_MSR_SINT(4), OTHER);
    hits = 0;
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, HV_STIMER_AUTO_ENABLE | 4ul << HV_STIMER_SINT_SHIFT);
    wrmsr(HV_X64_MSR_STIMER0_COUNT, reference() + MS);
    sti();
    clock_delay(10000);
    cli();
    tap_is(slot->header.message_type, 0, "a timer message without a message page writes nothing");
    wrmsr(HV_X64_MSR_SIMP, hv_gpa(hv_page) | HV_PAGE_MSR_ENABLE); // on the hypercall page
    wrmsr(HV_X64_MSR_STIMER0_COUNT, reference() + MS);
    sti();
    clock_delay(10000);
    cli();
    wrmsr(HV_X64_MSR_SIMP, 0);
    tap_ok(hv_page[0] == 0x0f && hv_page[3] == 0xc3,
           "nor does one whose page is laid over another overlay harm that");
    wrmsr(HV_X64_MSR_SIMP, hv_gpa(&sim) | HV_PAGE_MSR_ENABLE);
    wrmsr(HV_X64_MSR_EOM, 0);
    slot->header.message_type = 0;
    wrmsr(HV_X64_MSR_EOM, 0);
    hits = 0;
    wrmsr(HV_X64_MSR_STIMER0_COUNT, reference() + MS);
    bool came = wait_hits(1);
    tap_ok(came && slot->header.message_type == HV_MESSAGE_TYPE_TIMER_EXPIRED,
           "with its page in place the next message comes");
    wrmsr(HV_X64_MSR_SINT(4), HV_SINT_RESET_VALUE);
    wrmsr(HV_X64_MSR_SIMP, 0);
    wrmsr(HV_X64_MSR_SCONTROL, 0);
}

void guest_main(void)
{
    hv_need();
    clock_tsc_hz();
    apic_enable(apic_has_x2());
    if (!tap_is(smp_start_all(), machine.cpu_count, "all processors start")) {
        return;
    }
    hv_setup();
    test_grid();
    test_lazy();
    test_period_zero();
    test_message_page_away();
    if (hv_features() & HV_FEATURE_EDX_TIME_UNHALTED_TIMER) {
        test_unhalted();
    } else {
        tap_ok(is_gp(try_rdmsr(HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG, 0)),
               "the time-unhalted timer is not offered, and not there");
    }
    test_never_early();
}
