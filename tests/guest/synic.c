// SPDX-License-Identifier: BSD-2-Clause-Patent
// SynIC and synthetic timers: sources, message slots, end of message, direct interrupts; no timer
// is ever early.
//
// rig: --vps 1 --lps 1
// rig: --vps 2 --lps 2
// rig: --vps 2 --lps 1
// rig: --vps 4 --lps 2
// timeout: 180
#include "hv/synic.h"
#include "apic.h"
#include "clock.h"
#include "con.h"
#include "cpu.h"
#include "hv/message.h"
#include "hvcall.h"
#include "irqlog.h"
#include "machine.h"
#include "percpu.h"
#include "smp.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define DIRECT_VECTOR 0x46
#define SINT_VECTOR   0x47
#define MS            10000ul // reference time units
#define SINT          4

_Alignas(4096) static struct hv_message_page sim;
_Alignas(4096) static uint8_t sief[4096];

static uint64_t reference(void)
{
    return rdmsr(HV_X64_MSR_TIME_REF_COUNT);
}

static bool is_gp(struct trap trap)
{
    return trap.taken && trap.vector == VECTOR_GP && trap.error == 0;
}

static volatile struct hv_message *slot(void)
{
    return &sim.slot[SINT];
}

static void free_slot(void)
{
    WRITE_ONCE(slot()->header.message_type, HV_MESSAGE_TYPE_NONE);
    __asm__ volatile("mfence" ::: "memory");
    if (slot()->header.flags & HV_MESSAGE_FLAG_PENDING) {
        wrmsr(HV_X64_MSR_EOM, 0);
    }
}

// ---- registers ------------------------------------------------------------------------------

static void test_registers(void)
{
    tap_is(rdmsr(HV_X64_MSR_SVERSION), HV_SYNIC_VERSION, "SVERSION is 1");
    tap_ok(is_gp(try_wrmsr(HV_X64_MSR_SVERSION, 1)), "writing SVERSION is #GP(0)");
    tap_is(rdmsr(HV_X64_MSR_EOM), 0, "EOM reads 0");
    bool reset = true;
    for (uint32_t i = 0; i < HV_SYNIC_SINT_COUNT; i++) {
        reset &= rdmsr(HV_X64_MSR_SINT(i)) == HV_SINT_RESET_VALUE;
    }
    tap_ok(reset, "all sources are masked at first");
    tap_ok(!rdmsr(HV_X64_MSR_SIMP) && !rdmsr(HV_X64_MSR_SIEFP) && !rdmsr(HV_X64_MSR_SCONTROL),
           "the pages and the SynIC are off at first");
    bool refused = true;
    for (uint64_t vector = 0; vector < HV_SYNIC_FIRST_VALID_VECTOR; vector++) {
        refused &= is_gp(try_wrmsr(HV_X64_MSR_SINT(SINT), vector));
    }
    tap_ok(refused && rdmsr(HV_X64_MSR_SINT(SINT)) == HV_SINT_RESET_VALUE,
           "vectors below 16 are #GP(0)");
    tap_ok(!try_wrmsr(HV_X64_MSR_SINT(SINT), HV_SINT_MASKED).taken,
           "vector 0 of a masked source is accepted");
}

static void test_pages(void)
{
    memset(&sim, 0x77, sizeof(sim));
    memset(sief, 0x77, sizeof(sief));
    wrmsr(HV_X64_MSR_SIMP, hv_gpa(&sim) | HV_PAGE_MSR_ENABLE);
    wrmsr(HV_X64_MSR_SIEFP, hv_gpa(sief) | HV_PAGE_MSR_ENABLE);
    tap_is(rdmsr(HV_X64_MSR_SIMP), hv_gpa(&sim) | HV_PAGE_MSR_ENABLE, "SIMP reads back");
    bool zero = true;
    for (unsigned i = 0; i < 4096; i++) {
        zero &= ((volatile uint8_t *)&sim)[i] == 0 && ((volatile uint8_t *)sief)[i] == 0;
    }
    tap_ok(zero, "message and event pages are the hypervisor's own, and zero");
    wrmsr(HV_X64_MSR_SIMP, 0);
    tap_is(((volatile uint8_t *)&sim)[5], 0x77, "off again, the memory beneath is back");
    wrmsr(HV_X64_MSR_SIMP, hv_gpa(&sim) | HV_PAGE_MSR_ENABLE);
    wrmsr(HV_X64_MSR_SCONTROL, HV_SCONTROL_ENABLE);
    tap_is(rdmsr(HV_X64_MSR_SCONTROL), HV_SCONTROL_ENABLE, "SCONTROL reads back");
    wrmsr(HV_X64_MSR_SIEFP, 0);
}

static void test_config(void)
{
    wrmsr(HV_X64_MSR_STIMER0_COUNT, 0);
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, HV_STIMER_ENABLE);
    tap_ok(!(rdmsr(HV_X64_MSR_STIMER0_CONFIG) & HV_STIMER_ENABLE),
           "a timer for SINT 0 that is not direct cannot be enabled");
    wrmsr(HV_X64_MSR_STIMER0_CONFIG,
          (uint64_t)SINT << HV_STIMER_SINT_SHIFT | HV_STIMER_AUTO_ENABLE);
    wrmsr(HV_X64_MSR_STIMER0_COUNT, reference() + 1000 * MS);
    tap_ok(rdmsr(HV_X64_MSR_STIMER0_CONFIG) & HV_STIMER_ENABLE,
           "a count enables a timer with auto-enable");
    wrmsr(HV_X64_MSR_STIMER0_COUNT, 0);
    tap_ok(!(rdmsr(HV_X64_MSR_STIMER0_CONFIG) & HV_STIMER_ENABLE), "count 0 disables it");
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, 0);
}

// ---- direct timers --------------------------------------------------------------------------

static const uint64_t direct_config =
    HV_STIMER_DIRECT | HV_STIMER_AUTO_ENABLE | (uint64_t)DIRECT_VECTOR << HV_STIMER_VECTOR_SHIFT;

static volatile uint64_t irq_time[IRQLOG_MAX];
static volatile uint32_t irq_count;

static void on_timer(struct trap_frame *frame)
{
    (void)frame;
    if (irq_count < IRQLOG_MAX) {
        irq_time[irq_count] = reference();
    }
    irq_count++;
    apic_eoi();
}

static bool wait_irqs(uint32_t count, uint64_t us)
{
    sti();
    bool came = clock_wait(&irq_count, count, us);
    cli();
    return came;
}

static void test_one_shot(uint32_t timer, uint64_t after)
{
    irq_count = 0;
    wrmsr(HV_X64_MSR_STIMER_CONFIG(timer), direct_config);
    uint64_t due = reference() + after;
    wrmsr(HV_X64_MSR_STIMER_COUNT(timer), due);
    bool came = wait_irqs(1, CLOCK_PATIENCE);
    tap_ok(came, "timer %u, direct, in %lu us: it fires", timer, after / 10);
    tap_ok(irq_time[0] >= due, "timer %u: not early (%ld)", timer, (int64_t)(irq_time[0] - due));
    tap_ok(!(rdmsr(HV_X64_MSR_STIMER_CONFIG(timer)) & HV_STIMER_ENABLE),
           "timer %u: it is disabled afterwards", timer);
}

static void test_past(void)
{
    irq_count = 0;
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, direct_config);
    wrmsr(HV_X64_MSR_STIMER0_COUNT, 1);
    tap_ok(wait_irqs(1, CLOCK_PATIENCE), "a time in the past fires at once");
}

// Once more where the processor was taken away until a timer fired.
static void test_cancel(void)
{
    uint64_t due;
    do {
        sti();
        pause();
        cli();
        irq_count = 0;
        due = reference() + 10 * MS;
        wrmsr(HV_X64_MSR_STIMER0_CONFIG, direct_config);
        wrmsr(HV_X64_MSR_STIMER0_COUNT, due);
        wrmsr(HV_X64_MSR_STIMER0_COUNT, 0);
        wrmsr(HV_X64_MSR_STIMER_CONFIG(1), direct_config);
        wrmsr(HV_X64_MSR_STIMER_COUNT(1), due);
        wrmsr(HV_X64_MSR_STIMER_CONFIG(1), 0);
    } while (reference() >= due);
    sti();
    clock_delay(20000);
    cli();
    tap_is(irq_count, 0, "count 0 and disabling cancel a timer");
    wrmsr(HV_X64_MSR_STIMER_COUNT(1), 0);
}

static void test_periodic(void)
{
    const uint32_t periods = 20;
    const uint64_t period = 2 * MS;
    irq_count = 0;
    wrmsr(HV_X64_MSR_STIMER0_COUNT, 0);
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, direct_config | HV_STIMER_PERIODIC);
    uint64_t start = reference();
    wrmsr(HV_X64_MSR_STIMER0_COUNT, period);
    bool came = wait_irqs(periods, CLOCK_PATIENCE);
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, 0);
    wrmsr(HV_X64_MSR_STIMER0_COUNT, 0);
    tap_ok(came, "periodic, direct: %u periods of 2 ms come", periods);
    bool early = false;
    for (uint32_t i = 0; i < periods && i < irq_count; i++) {
        early |= irq_time[i] < start + (i + 1) * period;
    }
    tap_ok(!early, "periodic: none is early (%lu us in all)", (irq_time[periods - 1] - start) / 10);
    uint32_t count = irq_count;
    sti();
    clock_delay(10000);
    cli();
    tap_ok(irq_count <= count + 1, "periodic: disabled, it stops");
}

static void test_hlt(void)
{
    irq_count = 0;
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, direct_config);
    uint64_t due = reference() + 10 * MS;
    wrmsr(HV_X64_MSR_STIMER0_COUNT, due);
    sti_hlt_cli();
    tap_ok(irq_count == 1 && reference() >= due, "HLT sleeps until a timer fires");
}

// ---- timer messages -------------------------------------------------------------------------

static const uint64_t message_config = HV_STIMER_AUTO_ENABLE | (uint64_t)SINT
                                                                   << HV_STIMER_SINT_SHIFT;

static bool message_right(uint32_t timer, uint64_t due)
{
    const volatile struct hv_message *m = slot();
    const volatile struct hv_timer_message_payload *p = (const volatile void *)m->payload;
    bool right = m->header.message_type == HV_MESSAGE_TYPE_TIMER_EXPIRED &&
                 m->header.payload_size == sizeof(*p) && m->header.origination_id == 0 &&
                 p->timer_index == timer && p->expiration_time == due && p->delivery_time >= due &&
                 p->delivery_time <= reference();
    if (!right) {
        tap_note("type %x size %u origin %lx timer %u due %lu (want %lu) delivered %lu",
                 m->header.message_type, m->header.payload_size, m->header.origination_id,
                 p->timer_index, p->expiration_time, due, p->delivery_time);
    }
    return right;
}

static void test_message(void)
{
    irq_count = 0;
    wrmsr(HV_X64_MSR_SINT(SINT), SINT_VECTOR);
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, message_config);
    uint64_t due = reference() + 3 * MS;
    wrmsr(HV_X64_MSR_STIMER0_COUNT, due);
    bool came = wait_irqs(1, CLOCK_PATIENCE);
    tap_ok(came && irq_time[0] >= due, "a timer message raises its source's vector, not early");
    tap_ok(message_right(0, due), "the message tells timer, expiration and delivery");
    free_slot();
    wrmsr(HV_X64_MSR_EOM, 0);
    tap_is(slot()->header.message_type, HV_MESSAGE_TYPE_NONE, "a freed slot stays free");
}

// Two messages for one slot: the second waits.
static bool slot_is_taken(void)
{
    return slot()->header.message_type != HV_MESSAGE_TYPE_NONE;
}

static bool slot_shows_pending(void)
{
    return slot()->header.flags & HV_MESSAGE_FLAG_PENDING;
}

static void wait_slot(bool (*is_so)(void))
{
    uint64_t start = rdtsc(), ticks = clock_ticks(CLOCK_PATIENCE);
    while (!is_so() && rdtsc() - start < ticks) {
        pause();
    }
}

static void test_queue(void)
{
    irq_count = 0;
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, message_config);
    wrmsr(HV_X64_MSR_STIMER_CONFIG(1), message_config);
    uint64_t due0 = reference() + 3 * MS, due1 = due0 + 3 * MS;
    wrmsr(HV_X64_MSR_STIMER0_COUNT, due0);
    wrmsr(HV_X64_MSR_STIMER_COUNT(1), due1);
    wait_irqs(1, CLOCK_PATIENCE);
    sti();
    wait_slot(slot_shows_pending);
    cli();
    tap_ok(message_right(0, due0), "the first message stays in its slot");
    tap_ok(slot()->header.flags & HV_MESSAGE_FLAG_PENDING, "and shows that another waits");
    uint64_t freed = reference();
    free_slot();
    bool came = wait_irqs(2, CLOCK_PATIENCE);
    const volatile struct hv_timer_message_payload *p = (const volatile void *)slot()->payload;
    tap_ok(came && message_right(1, due1), "end of message brings the second");
    tap_ok(p->delivery_time >= freed, "stamped when it came into the slot");
    free_slot();
}

static volatile uint32_t timers_seen;

// The slot is freed before the EOI, and EOM is never written.
static void on_message(struct trap_frame *frame)
{
    (void)frame;
    const volatile struct hv_timer_message_payload *p = (const volatile void *)slot()->payload;
    if (slot()->header.message_type == HV_MESSAGE_TYPE_TIMER_EXPIRED) {
        timers_seen |= 1u << p->timer_index;
    }
    WRITE_ONCE(slot()->header.message_type, HV_MESSAGE_TYPE_NONE);
    irq_count++;
    apic_eoi();
}

static void test_eoi_rescan(void)
{
    irq_count = 0;
    timers_seen = 0;
    trap_set_handler(SINT_VECTOR, on_message);
    uint64_t due = reference() + 3 * MS;
    for (uint32_t timer = 0; timer < 3; timer++) {
        wrmsr(HV_X64_MSR_STIMER_CONFIG(timer), message_config);
        wrmsr(HV_X64_MSR_STIMER_COUNT(timer), due);
    }
    wait_slot(slot_shows_pending);
    wait_irqs(3, CLOCK_PATIENCE);
    tap_is(timers_seen, 7,
           "The hypervisor scans the queues when the guest indicates the end of interrupt by "
           "writing to the APIC's EOI register");
    trap_set_handler(SINT_VECTOR, on_timer);
}

static void test_masked(void)
{
    irq_count = 0;
    wrmsr(HV_X64_MSR_SINT(SINT), HV_SINT_MASKED | SINT_VECTOR);
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, message_config);
    uint64_t due = reference() + 3 * MS;
    wrmsr(HV_X64_MSR_STIMER0_COUNT, due);
    sti();
    wait_slot(slot_is_taken);
    clock_delay(20000);
    cli();
    tap_ok(irq_count == 0 && message_right(0, due),
           "a masked source gets its message and raises nothing");
    free_slot();
}

static void on_auto(struct trap_frame *frame)
{
    (void)frame;
    irq_time[0] = apic_vector_bit(APIC_ISR, SINT_VECTOR);
    irq_count++;
}

static void test_auto_eoi(void)
{
    irq_count = 0;
    irq_time[0] = 1;
    trap_set_handler(SINT_VECTOR, on_auto);
    wrmsr(HV_X64_MSR_SINT(SINT), HV_SINT_AUTO_EOI | SINT_VECTOR);
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, message_config);
    wrmsr(HV_X64_MSR_STIMER0_COUNT, reference() + 2 * MS);
    bool came = wait_irqs(1, CLOCK_PATIENCE);
    tap_ok(came && irq_time[0] == 0, "auto EOI: the vector is not in service in its handler");
    free_slot();
    wrmsr(HV_X64_MSR_SINT(SINT), HV_SINT_RESET_VALUE);
    trap_set_handler(SINT_VECTOR, on_timer);
}

// ---- the other processor has its own --------------------------------------------------------

static struct other {
    volatile uint64_t due, time;
} others[CPU_MAX];

static void on_other(struct trap_frame *frame)
{
    (void)frame;
    others[percpu()->index].time = reference();
    apic_eoi();
}

static void run_other(void *context)
{
    struct other *o = context;
    wrmsr(HV_X64_MSR_STIMER0_CONFIG,
          HV_STIMER_DIRECT | HV_STIMER_AUTO_ENABLE | 0x48ul << HV_STIMER_VECTOR_SHIFT);
    o->due = reference() + 5 * MS;
    wrmsr(HV_X64_MSR_STIMER0_COUNT, o->due);
    uint64_t end = rdtsc() + clock_ticks(CLOCK_PATIENCE);
    while (!o->time && rdtsc() < end) {
        pause();
    }
}

static void test_others(void)
{
    bool right = true;
    irq_count = 0;
    trap_set_handler(0x48, on_other);
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, direct_config);
    uint64_t due = reference() + 5 * MS;
    wrmsr(HV_X64_MSR_STIMER0_COUNT, due);
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        smp_run(i, run_other, &others[i]);
    }
    bool mine = wait_irqs(1, CLOCK_PATIENCE);
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        right &=
            smp_wait(i, 2 * CLOCK_PATIENCE) && others[i].time && others[i].time >= others[i].due;
    }
    tap_ok(mine && irq_time[0] >= due && !others[0].time, "this processor's timer fires here");
    if (machine.cpu_count > 1) {
        tap_ok(right, "the others' fire there");
    }
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
    trap_set_handler(DIRECT_VECTOR, on_timer);
    trap_set_handler(SINT_VECTOR, on_timer);
    test_registers();
    test_pages();
    test_config();
    if (hv_features() & HV_FEATURE_EDX_DIRECT_SYNTHETIC_TIMERS) {
        for (uint32_t timer = 0; timer < HV_SYNIC_STIMER_COUNT; timer++) {
            test_one_shot(timer, (timer + 1) * MS / 2);
        }
        test_past();
        test_cancel();
        test_periodic();
        test_hlt();
        test_others();
    }
    test_message();
    test_queue();
    test_eoi_rescan();
    test_masked();
    test_auto_eoi();
}
