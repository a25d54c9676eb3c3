// SPDX-License-Identifier: BSD-2-Clause-Patent
// TLFS: Virtual Processors, Guest Spinlocks: index, idle state, assist page, run time, spin waits.
//
// rig: --vps 1 --lps 1
// rig: --vps 2 --lps 2
// rig: --vps 4 --lps 1 --cmdline lps=1
// rig: --vps 4 --lps 2
// timeout: 180
#include "apic.h"
#include "clock.h"
#include "con.h"
#include "cpu.h"
#include "hv/synic.h"
#include "hvcall.h"
#include "machine.h"
#include "percpu.h"
#include "smp.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define IDLE_VECTOR  0x45u
#define TIMER_VECTOR 0x46u
#define MS           10000ul // reference time units
#define RESTS        20u

static volatile uint32_t taken[CPU_MAX][256];

static void on_interrupt(struct trap_frame *frame)
{
    taken[percpu()->index][frame->vector]++;
    apic_eoi();
}

static uint64_t reference(void)
{
    return rdmsr(HV_X64_MSR_TIME_REF_COUNT);
}

static bool is_gp(struct trap trap)
{
    return trap.taken && trap.vector == VECTOR_GP && trap.error == 0;
}

// ---- index and run time ---------------------------------------------------------------------

static void read_index(void *context)
{
    *(uint64_t *)context = rdmsr(HV_X64_MSR_VP_INDEX);
}

static void test_index(void)
{
    uint64_t wrong = rdmsr(HV_X64_MSR_VP_INDEX) != machine.apic_ids[0];
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        uint64_t index = ~0ul;
        smp_call(i, read_index, &index);
        wrong += index != machine.apic_ids[i];
    }
    tap_is(wrong, 0, "every VP reads its own index");
    tap_ok(is_gp(try_wrmsr(HV_X64_MSR_VP_INDEX, 0)), "the index cannot be written");
}

static void test_runtime(void)
{
    uint64_t last = rdmsr(HV_X64_MSR_VP_RUNTIME), backward = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        uint64_t now = rdmsr(HV_X64_MSR_VP_RUNTIME);
        backward += now < last;
        last = now;
    }
    tap_is(backward, 0, "the run time never goes backward");
    uint64_t run = rdmsr(HV_X64_MSR_VP_RUNTIME), time = reference();
    clock_delay(30000);
    run = rdmsr(HV_X64_MSR_VP_RUNTIME) - run;
    time = reference() - time;
    tap_ok(run > 0 && run <= time + MS, "it is at most the time that passes (%lu of %lu)", run,
           time);
    tap_ok(is_gp(try_wrmsr(HV_X64_MSR_VP_RUNTIME, 0)), "the run time cannot be written");
}

// Burns time until told to stop; its own run time meanwhile.
static volatile bool burning;
static volatile uint64_t burnt[CPU_MAX];

static void burn(void *context)
{
    (void)context;
    uint64_t start = rdmsr(HV_X64_MSR_VP_RUNTIME);
    while (burning) {
        pause();
    }
    burnt[percpu()->index] = rdmsr(HV_X64_MSR_VP_RUNTIME) - start;
}

// On one LP the VPs have its time between them, and none has that of another.
static void test_runtime_shares(void)
{
    const char *what = "the run times of VPs on one LP add up to no more than the time";
    uint64_t sum = 0;
    if (machine.cpu_count < 2 || machine_option("lps", 0) != 1) {
        tap_skip("not several VPs on one LP", "%s", what);
        return;
    }
    uint64_t time = reference();
    burning = true;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        smp_run(i, burn, NULL);
    }
    sum = rdmsr(HV_X64_MSR_VP_RUNTIME);
    clock_delay(200000);
    sum = rdmsr(HV_X64_MSR_VP_RUNTIME) - sum;
    burning = false;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        smp_wait(i, CLOCK_PATIENCE);
        sum += burnt[i];
    }
    time = reference() - time;
    tap_ok(sum <= time + MS && sum > time / 10, "%s (%lu of %lu)", what, sum, time);
}

// ---- idle state -----------------------------------------------------------------------------

static void idle(void)
{
    rdmsr(HV_X64_MSR_GUEST_IDLE);
}

static void send_self(uint8_t vector)
{
    wrmsr(HV_X64_MSR_ICR, ICR_SELF | ICR_FIXED | vector);
}

static void arm_timer(uint64_t due)
{
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, HV_STIMER_DIRECT | HV_STIMER_AUTO_ENABLE |
                                         (uint64_t)TIMER_VECTOR << HV_STIMER_VECTOR_SHIFT);
    wrmsr(HV_X64_MSR_STIMER0_COUNT, due);
}

static void test_idle_pending(void)
{
    cli();
    send_self(IDLE_VECTOR);
    idle();
    tap_is(taken[0][IDLE_VECTOR], 0, "with an interrupt pending the idle state is left at once");
    sti_nop();
    cli();
    tap_is(taken[0][IDLE_VECTOR], 1, "and the interrupt is taken when it is unmasked");
}

// An idle state of 40 ms that a timer ends whose interrupt is masked.
struct rest {
    uint64_t run;   // run time of the VP meanwhile
    int64_t late;   // when it was over, behind the timer
    uint32_t early; // interrupts taken by then
    uint32_t taken; // and when they were unmasked
};

static struct rest rest_until_timer(bool by_tpr)
{
    struct rest rest;
    uint64_t run = rdmsr(HV_X64_MSR_VP_RUNTIME);
    uint32_t before = taken[0][TIMER_VECTOR];
    uint64_t due = reference() + 40 * MS;
    if (by_tpr) {
        write_cr8(15);
        sti();
    }
    arm_timer(due);
    idle();
    rest.late = (int64_t)(reference() - due);
    rest.run = rdmsr(HV_X64_MSR_VP_RUNTIME) - run;
    rest.early = taken[0][TIMER_VECTOR] - before;
    sti();
    write_cr8(0);
    sti_nop();
    cli();
    rest.taken = taken[0][TIMER_VECTOR] - before;
    return rest;
}

// The least run time of some counts: it is also what passes while the emulator is kept from running
// outside the idle state.
static void test_idle_timer(bool by_tpr)
{
    const char *how = by_tpr ? "the task priority" : "RFLAGS.IF";
    struct rest rest;
    uint32_t right = 0, rests = 0;
    do {
        rest = rest_until_timer(by_tpr);
        right += rest.late >= 0 && !rest.early && rest.taken == 1;
        rests++;
    } while (rest.run >= 30 * MS && rests < RESTS);
    tap_is(right, rests, "an interrupt that %s masks ends the idle state, and is taken later, once",
           how);
    tap_ok(rest.run < 30 * MS, "an idle VP uses no run time (%lu of %lu)", rest.run, 40 * MS);
}

struct nap {
    volatile uint32_t asleep, awake;
    uint32_t handled; // while asleep
};

static void take_nap(void *context)
{
    struct nap *nap = context;
    cli();
    nap->asleep = 1;
    idle();
    nap->handled = taken[percpu()->index][IDLE_VECTOR] + taken[percpu()->index][VECTOR_NMI];
    nap->awake = 1;
    sti();
}

static void on_nmi(struct trap_frame *frame)
{
    taken[percpu()->index][frame->vector]++;
}

static void test_idle_remote(uint32_t icr, const char *what, uint32_t handled)
{
    if (machine.cpu_count < 2) {
        tap_skip("one processor", "%s", what);
        return;
    }
    struct nap nap = {0};
    taken[1][IDLE_VECTOR] = taken[1][VECTOR_NMI] = 0;
    smp_run(1, take_nap, &nap);
    clock_wait(&nap.asleep, 1, CLOCK_PATIENCE);
    clock_delay(20000);
    bool slept = !nap.awake;
    apic_ipi(machine.apic_ids[1], icr);
    bool woke = clock_wait(&nap.awake, 1, CLOCK_PATIENCE);
    smp_wait(1, CLOCK_PATIENCE);
    tap_ok(slept && woke && nap.handled == handled, "%s (slept %u, woke %u, %u taken asleep)", what,
           slept, woke, nap.handled);
}

// The way of paravirtual locks: look, sleep with interrupts off, be kicked.
struct turns {
    volatile uint32_t turn;
    uint32_t rounds;
};

static void take_turns(struct turns *t, uint32_t me)
{
    cli();
    for (uint32_t n = 0; n < t->rounds; n++) {
        while (t->turn != me) {
            idle();
            sti_nop();
            cli();
        }
        t->turn = !me;
        apic_ipi(machine.apic_ids[!me], ICR_FIXED | IDLE_VECTOR);
    }
}

static void other_turn(void *context)
{
    take_turns(context, 1);
    sti();
}

static void test_idle_turns(void)
{
    if (machine.cpu_count < 2) {
        tap_skip("one processor", "no wake-up is lost");
        return;
    }
    struct turns t = {.rounds = 2000};
    smp_run(1, other_turn, &t);
    take_turns(&t, 0);
    tap_ok(smp_wait(1, CLOCK_PATIENCE), "two VPs wake each other %u times, and no wake-up is lost",
           t.rounds);
}

static void test_idle(void)
{
    if (!(hv_privileges() & HV_PRIV_ACCESS_GUEST_IDLE_REG)) {
        tap_ok(!(hv_features() & HV_FEATURE_EDX_GUEST_IDLE) &&
                   is_gp(try_rdmsr(HV_X64_MSR_GUEST_IDLE, NULL)),
               "without its privilege the idle state is not there");
        return;
    }
    tap_ok(hv_features() & HV_FEATURE_EDX_GUEST_IDLE, "the idle state goes with its privilege");
    tap_ok(is_gp(try_wrmsr(HV_X64_MSR_GUEST_IDLE, 0)), "its MSR cannot be written");
    trap_set_handler(IDLE_VECTOR, on_interrupt);
    trap_set_handler(TIMER_VECTOR, on_interrupt);
    trap_set_handler(VECTOR_NMI, on_nmi);
    test_idle_pending();
    test_idle_timer(false);
    test_idle_timer(true);
    test_idle_remote(ICR_FIXED | IDLE_VECTOR, "an IPI ends the idle state of another VP", 0);
    test_idle_remote(ICR_NMI, "so does an NMI", 1);
    test_idle_turns();
}

// ---- assist page ----------------------------------------------------------------------------

_Alignas(4096) static volatile uint8_t page[2][4096];

static void set_assist(void *context)
{
    wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, *(uint64_t *)context);
}

static void test_assist_page(void)
{
    uint64_t value = hv_gpa(page[0]) | HV_PAGE_MSR_ENABLE | 0x7f0, other;
    tap_is(rdmsr(HV_X64_MSR_VP_ASSIST_PAGE), 0, "the assist page is off at first");
    memset((void *)page, 0x33, sizeof(page));
    wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, value);
    tap_is(rdmsr(HV_X64_MSR_VP_ASSIST_PAGE), value, "its MSR keeps page, enable and bits 11:1");
    tap_ok(page[0][0] == 0 && page[0][1000] == 0, "the page is the hypervisor's, and zero");
    page[0][0] = 1;
    page[0][1000] = 0x77;
    wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, hv_gpa(page[1]) | HV_PAGE_MSR_ENABLE);
    tap_ok(page[0][0] == 0x33 && page[0][1000] == 0x33, "moved, it uncovers what was beneath");
    tap_ok(page[1][0] == 0 && page[1][1000] == 0x77,
           "it keeps its contents but for the EOI assist field");
    tap_ok(is_gp(try_wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, 1ul << 51 | HV_PAGE_MSR_ENABLE)),
           "a page beyond the GPA space is #GP(0)");
    tap_is(page[1][1000], 0x77, "and changes nothing");
    if (machine.cpu_count > 1) {
        other = hv_gpa(page[0]) | HV_PAGE_MSR_ENABLE;
        smp_call(1, set_assist, &other);
        tap_ok(page[0][1000] == 0 && page[1][1000] == 0x77, "every VP has a page of its own");
        other = 0;
        smp_call(1, set_assist, &other);
    }
    wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, 0);
    tap_is(page[1][1000], 0x33, "off again, the memory beneath is back");
}

// ---- NPIEP ----------------------------------------------------------------------------------

struct stored {
    uint8_t gdtr[10], idtr[10];
    uint16_t ldtr, tr;
    uint64_t ldtr64, tr64;
};

static uint8_t *table_at; // where SGDT stores, for the user's attempts

static void body_sgdt(void *context)
{
    (void)context;
    __asm__ volatile("sgdt (%0)" : : "r"(table_at) : "memory");
}

static void body_sidt(void *context)
{
    (void)context;
    __asm__ volatile("sidt (%0)" : : "r"(table_at) : "memory");
}

static void body_sldt(void *context)
{
    (void)context;
    __asm__ volatile("sldt (%0)" : : "r"(table_at) : "memory");
}

static void body_str(void *context)
{
    (void)context;
    __asm__ volatile("str (%0)" : : "r"(table_at) : "memory");
}

static void store_tables(struct stored *s)
{
    memset(s, 0xa5, sizeof(*s));
    __asm__ volatile("sgdt %0" : "=m"(s->gdtr));
    __asm__ volatile("sidt %0" : "=m"(s->idtr));
    __asm__ volatile("sldt %0" : "=m"(s->ldtr));
    __asm__ volatile("str %0" : "=m"(s->tr));
    __asm__ volatile("sldt %0" : "=r"(s->ldtr64));
    __asm__ volatile("str %0" : "=r"(s->tr64));
}

static bool same(const void *a, const void *b, uint32_t size)
{
    const uint8_t *x = a, *y = b;
    while (size && *x == *y) {
        x++, y++, size--;
    }
    return size == 0;
}

static void test_npiep_user(void)
{
    static trap_body *const bodies[] = {body_sgdt, body_sidt, body_sldt, body_str};
    static uint8_t at[16];
    uint32_t wrong = 0;
    table_at = at;
    for (uint64_t prevent = 0; prevent < 16; prevent++) {
        wrmsr(HV_X64_MSR_NPIEP_CONFIG, prevent);
        for (uint32_t i = 0; i < 4; i++) {
            struct trap trap = trap_try_user(bodies[i], NULL);
            wrong += prevent >> i & 1 ? !is_gp(trap) : trap.vector != VECTOR_BP;
        }
    }
    tap_is(wrong, 0, "SGDT, SIDT, SLDT and STR in user mode are #GP(0) as configured");
    wrmsr(HV_X64_MSR_NPIEP_CONFIG, 0);
}

// What another VP finds: its own register, and instructions that nothing prevents.
static void look_at_npiep(void *context)
{
    uint32_t *wrong = context;
    *wrong = rdmsr(HV_X64_MSR_NPIEP_CONFIG) != 0;
    *wrong += trap_try_user(body_sidt, NULL).vector != VECTOR_BP;
    *wrong += trap_try_user(body_str, NULL).vector != VECTOR_BP;
}

static void test_npiep_per_vp(void)
{
    static uint8_t at[16];
    uint32_t wrong = ~0u;
    if (machine.cpu_count < 2) {
        tap_skip("one processor", "NPIEP is configured on a per-VP basis");
        return;
    }
    table_at = at;
    wrmsr(HV_X64_MSR_NPIEP_CONFIG, 15);
    smp_call(1, look_at_npiep, &wrong);
    tap_ok(wrong == 0 && is_gp(trap_try_user(body_sidt, NULL)),
           "NPIEP is configured on a per-VP basis (%u)", wrong);
    wrmsr(HV_X64_MSR_NPIEP_CONFIG, 0);
}

static void test_npiep(void)
{
    static uint8_t two_pages[2 * 4096];
    struct stored before, after;
    if (!(hv_features() & HV_FEATURE_EDX_NPIEP)) {
        tap_ok(is_gp(try_rdmsr(HV_X64_MSR_NPIEP_CONFIG, NULL)), "NPIEP is not there");
        return;
    }
    tap_is(rdmsr(HV_X64_MSR_NPIEP_CONFIG), 0, "NPIEP is off at first");
    tap_ok(is_gp(try_wrmsr(HV_X64_MSR_NPIEP_CONFIG, 16)), "its reserved bits are #GP(0)");
    store_tables(&before);
    wrmsr(HV_X64_MSR_NPIEP_CONFIG, 15);
    tap_is(rdmsr(HV_X64_MSR_NPIEP_CONFIG), 15, "its MSR reads back");
    store_tables(&after);
    tap_ok(same(&before, &after, sizeof(before)), "the kernel stores what it did without");
    table_at = two_pages + 4096 - ((uint64_t)two_pages & 4095) - 3;
    bool taken = trap_try(body_sgdt, NULL).taken;
    tap_ok(!taken && same(table_at, before.gdtr, 10), "also across a page");
    table_at = (uint8_t *)(5ul << 39);
    struct trap trap = trap_try(body_sgdt, NULL);
    tap_ok(trap.taken && trap.vector == VECTOR_PF && trap.error == 2 && trap.cr2 == 5ul << 39,
           "a page that is not there is #PF (vector %u, error %x)", trap.vector, trap.error);
    table_at = (uint8_t *)(1ul << 63);
    trap = trap_try(body_sgdt, NULL);
    tap_ok(is_gp(trap), "a non-canonical address is #GP(0) (vector %u)", trap.vector);
    test_npiep_user();
    test_npiep_per_vp();
}

// ---- spin waits -----------------------------------------------------------------------------

static volatile uint32_t locked, released;

// Holds the lock for some time of its own, not of the clock's.
static void holder(void *context)
{
    uint64_t start = rdmsr(HV_X64_MSR_VP_RUNTIME);
    locked = 1;
    while (rdmsr(HV_X64_MSR_VP_RUNTIME) - start < *(uint64_t *)context) {
        pause();
    }
    released = 1;
}

static void spinner(void *context)
{
    (void)context;
    while (!released) {
        pause();
    }
}

static void test_spin(void)
{
    uint64_t hold = 50 * MS, calls = 0, bad = 0;
    uint32_t retries = cpuid(HV_CPUID_ENLIGHTENMENT_INFO, 0).ebx;
    tap_ok(retries && retries != ~0u, "a number of spins is recommended (%u)", retries);
    tap_is(hv_call(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_HYPERCALL_FAST, 1, 0), 0,
           "HvCallNotifyLongSpinWait succeeds when nobody waits");
    if (machine.cpu_count < 2) {
        return;
    }
    locked = released = 0;
    smp_run(1, holder, &hold);
    clock_wait(&locked, 1, CLOCK_PATIENCE);
    for (uint32_t i = 2; i < machine.cpu_count; i++) {
        smp_run(i, spinner, NULL);
    }
    while (!released) {
        bad += hv_call(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_HYPERCALL_FAST, ++calls, 0) != 0;
    }
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        bad += !smp_wait(i, CLOCK_PATIENCE);
    }
    tap_is(bad, 0, "HvCallNotifyLongSpinWait always succeeds");
    tap_note("%lu calls until the lock was free", calls);
    // On one LP each call lets the holder, or another that waits, have its slice.
    if (machine_option("lps", 0) == 1) {
        tap_ok(calls < 100, "the holder of the lock runs while another VP waits (%lu calls)",
               calls);
    }
}

void guest_main(void)
{
    hv_need();
    hv_setup();
    apic_enable(apic_has_x2());
    tap_is(smp_start_all(), machine.cpu_count, "all processors start");
    test_index();
    test_runtime();
    test_runtime_shares();
    test_idle();
    test_assist_page();
    test_npiep();
    test_spin();
}
