// SPDX-License-Identifier: BSD-2-Clause-Patent
// The local APIC's timer in its three modes: it never fires early, it does fire, and its registers
// say what it does.
//
// rig: --vps 1 --lps 1 --count
// timeout: 180
#include "apic.h"
#include "clock.h"
#include "cpu.h"
#include "hvcall.h"
#include "irqlog.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define TIMER_VECTOR             0x45
#define SECOND                   1000000ul
#define CPUID_1_ECX_TSC_DEADLINE (1u << 24)

// Timer ticks a second, by the TSC, and how exact that is: fractions of 2^20.
static uint64_t timer_hz;
static const char *form;

struct moment {
    uint64_t tsc;
    uint32_t count;
};

// The count and the TSC at (nearly) the same moment: the closest of some tries, since a processor
// may be taken away in between.
static struct moment sample(void)
{
    struct moment best = {0};
    uint64_t shortest = ~0ull;
    for (int i = 0; i < 16; i++) {
        uint64_t before = rdtsc();
        uint32_t now = apic_read(APIC_TIMER_CURRENT);
        uint64_t after = rdtsc();
        if (after - before < shortest) {
            shortest = after - before;
            best = (struct moment){.tsc = before + shortest / 2, .count = now};
        }
    }
    return best;
}

// Timer ticks a second between two moments.
static uint64_t rate(struct moment from, struct moment to)
{
    return (uint64_t)(from.count - to.count) * (clock_tsc_hz() / 1000) /
           ((to.tsc - from.tsc) / 1000);
}

static void measure_timer(void)
{
    apic_write(APIC_TIMER_DIVIDE, APIC_DIVIDE_BY_1);
    apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED | TIMER_VECTOR);
    apic_write(APIC_TIMER_INITIAL, 0xffffffff);
    struct moment start = sample();
    clock_delay(50000);
    struct moment end = sample();
    apic_write(APIC_TIMER_INITIAL, 0);
    timer_hz = rate(start, end);
    tap_ok(end.count < start.count, "%s: the count goes down (%lu ticks a second)", form, timer_hz);
    if (hv_present()) {
        uint64_t told = rdmsr(HV_X64_MSR_APIC_FREQUENCY);
        tap_ok(timer_hz > told / 100 * 99 && timer_hz < told / 100 * 101,
               "%s: within 1%% of the frequency MSR (%lu)", form, told);
    }
}

// TSC counts that so many timer ticks take, less what the measurement may be off by (0.5 %).
static uint64_t least_tsc(uint64_t ticks)
{
    return ticks * (clock_tsc_hz() / 1000) / (timer_hz / 1000) / 1000 * 995;
}

static bool wait_for(uint32_t count, uint64_t us)
{
    sti();
    bool came = clock_wait(&irqlog.count, count, us);
    cli();
    return came;
}

static void test_one_shot(void)
{
    static const uint32_t delays_us[] = {50, 1000, 20000};
    for (unsigned i = 0; i < sizeof(delays_us) / sizeof(delays_us[0]); i++) {
        uint32_t ticks = (uint32_t)(timer_hz / 1000 * delays_us[i] / 1000);
        irqlog_clear();
        apic_write(APIC_LVT_TIMER, TIMER_VECTOR);
        uint64_t start = rdtsc();
        apic_write(APIC_TIMER_INITIAL, ticks);
        bool came = wait_for(1, CLOCK_PATIENCE);
        uint64_t took = irqlog.tsc[0] - start;
        tap_ok(came, "%s: one-shot, %u us: it fires", form, delays_us[i]);
        tap_ok(took >= least_tsc(ticks), "%s: one-shot, %u us: not early (%lu counts of %lu)", form,
               delays_us[i], took, least_tsc(ticks));
        sti();
        clock_delay(3 * delays_us[i] + 1000);
        cli();
        tap_ok(irqlog.count == 1 && apic_read(APIC_TIMER_CURRENT) == 0,
               "%s: one-shot, %u us: once, and the count stays 0", form, delays_us[i]);
    }
}

static void test_masked(void)
{
    irqlog_clear();
    apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED | TIMER_VECTOR);
    apic_write(APIC_TIMER_INITIAL, (uint32_t)(timer_hz / 1000));
    sti();
    clock_delay(5000);
    cli();
    tap_is(irqlog.count, 0, "%s: a masked timer does not fire", form);
    tap_is(apic_read(APIC_TIMER_CURRENT), 0, "%s: but it counts", form);
    apic_write(APIC_LVT_TIMER, TIMER_VECTOR);
    sti();
    clock_delay(2000);
    cli();
    tap_is(irqlog.count, 0, "%s: unmasking it afterwards does not fire it", form);
}

// Takes what is pending, and forgets it.
static void forget(void)
{
    sti();
    pause();
    cli();
    irqlog_clear();
}

// A timer of 10 ms that is stopped again, well before it fires even where the processor is taken
// away in between: then it is done once more.
static void start_and_stop(void (*start)(void), void (*stop)(void))
{
    uint64_t from;
    do {
        forget();
        from = rdtsc();
        start();
        stop();
    } while (rdtsc() - from >= clock_ticks(9000));
}

static void start_count(void)
{
    apic_write(APIC_TIMER_INITIAL, (uint32_t)(timer_hz / 100));
}

static void stop_count(void)
{
    apic_write(APIC_TIMER_INITIAL, 0);
}

static void test_stop(void)
{
    apic_write(APIC_LVT_TIMER, TIMER_VECTOR);
    start_and_stop(start_count, stop_count);
    sti();
    clock_delay(30000);
    cli();
    tap_ok(irqlog.count == 0 && apic_read(APIC_TIMER_CURRENT) == 0,
           "%s: writing 0 to the initial count stops it", form);
}

static void test_periodic(void)
{
    const uint32_t periods = 20, period_us = 2000;
    uint32_t ticks = (uint32_t)(timer_hz / 1000 * period_us / 1000);
    irqlog_clear();
    apic_write(APIC_LVT_TIMER, APIC_LVT_PERIODIC | TIMER_VECTOR);
    uint64_t start = rdtsc();
    apic_write(APIC_TIMER_INITIAL, ticks);
    bool came = wait_for(periods, CLOCK_PATIENCE);
    uint64_t took = rdtsc() - start;
    apic_write(APIC_TIMER_INITIAL, 0);
    tap_ok(came, "%s: periodic: %u periods of %u us come", form, periods, period_us);
    bool early = false;
    for (uint32_t i = 0; i < periods && i < irqlog.count; i++) {
        early |= irqlog.tsc[i] - start < least_tsc((i + 1ul) * ticks);
    }
    tap_ok(!early, "%s: periodic: none of them early (%lu us in all)", form,
           took / (clock_tsc_hz() / SECOND));
    uint32_t count = irqlog.count;
    sti();
    clock_delay(3 * period_us);
    cli();
    tap_ok(irqlog.count <= count + 1, "%s: periodic: initial count 0 stops it", form);
}

static void test_divide(void)
{
    static const struct {
        uint8_t code, shift;
    } divisors[] = {{0x0, 1}, {0x1, 2}, {0x2, 3}, {0x3, 4}, {0x8, 5}, {0x9, 6}, {0xa, 7}};
    bool right = true;
    apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED | TIMER_VECTOR);
    for (unsigned i = 0; i < sizeof(divisors) / sizeof(divisors[0]); i++) {
        apic_write(APIC_TIMER_DIVIDE, divisors[i].code);
        apic_write(APIC_TIMER_INITIAL, 0xffffffff);
        struct moment start = sample();
        clock_delay(20000);
        uint64_t hz = rate(start, sample());
        uint64_t want = timer_hz >> divisors[i].shift;
        if (hz < want / 50 * 49 || hz > want / 50 * 51) {
            tap_note("divide code %x: %lu a second, want %lu", divisors[i].code, hz, want);
            right = false;
        }
    }
    apic_write(APIC_TIMER_INITIAL, 0);
    apic_write(APIC_TIMER_DIVIDE, APIC_DIVIDE_BY_1);
    tap_ok(right, "%s: the divide register divides by 2 to 128", form);
}

static void test_hlt(void)
{
    irqlog_clear();
    apic_write(APIC_LVT_TIMER, TIMER_VECTOR);
    uint64_t start = rdtsc();
    apic_write(APIC_TIMER_INITIAL, (uint32_t)(timer_hz / 100));
    sti_hlt_cli();
    uint64_t took = rdtsc() - start;
    tap_ok(IRQLOG_IS(TIMER_VECTOR) && took >= least_tsc(timer_hz / 100),
           "%s: HLT sleeps until the timer fires", form);
}

static void test_deadline_at(uint32_t us)
{
    irqlog_clear();
    uint64_t deadline = rdtsc() + clock_ticks(us);
    wrmsr(MSR_TSC_DEADLINE, deadline);
    bool armed = us < 1000 || rdmsr(MSR_TSC_DEADLINE) == deadline;
    bool came = wait_for(1, CLOCK_PATIENCE);
    tap_ok(came && armed, "%s: deadline, %u us: it fires", form, us);
    tap_ok(irqlog.tsc[0] >= deadline, "%s: deadline, %u us: not early", form, us);
    tap_ok(irqlog.count == 1 && rdmsr(MSR_TSC_DEADLINE) == 0,
           "%s: deadline, %u us: once, and the MSR reads 0", form, us);
}

static void arm(void)
{
    wrmsr(MSR_TSC_DEADLINE, rdtsc() + clock_ticks(10000));
}

static void disarm(void)
{
    wrmsr(MSR_TSC_DEADLINE, 0);
}

static void arm_in_mode(void)
{
    apic_write(APIC_LVT_TIMER, APIC_LVT_DEADLINE | TIMER_VECTOR);
    __asm__ volatile("mfence" ::: "memory"); // SDM 3A 11.5.4.1: before the MSR is written
    arm();
}

static void leave_mode(void)
{
    apic_write(APIC_LVT_TIMER, TIMER_VECTOR);
}

static void test_deadline(void)
{
    if (!(cpuid(1, 0).ecx & CPUID_1_ECX_TSC_DEADLINE)) {
        tap_skip("not offered", "%s: deadline", form);
        return;
    }
    apic_write(APIC_LVT_TIMER, APIC_LVT_DEADLINE | TIMER_VECTOR);
    __asm__ volatile("mfence" ::: "memory");
    test_deadline_at(50);
    test_deadline_at(1000);
    test_deadline_at(20000);
    irqlog_clear();
    wrmsr(MSR_TSC_DEADLINE, 1);
    tap_ok(wait_for(1, CLOCK_PATIENCE), "%s: a deadline in the past fires at once", form);
    start_and_stop(arm, disarm);
    sti();
    clock_delay(30000);
    cli();
    tap_is(irqlog.count, 0, "%s: writing 0 disarms it", form);
    start_and_stop(arm_in_mode, leave_mode);
    sti();
    clock_delay(30000);
    cli();
    tap_is(irqlog.count, 0, "%s: leaving the mode disarms it", form);
}

static void test_form(bool x2)
{
    form = x2 ? "x2APIC" : "xAPIC";
    apic_enable(x2);
    measure_timer();
    test_one_shot();
    test_masked();
    test_stop();
    test_periodic();
    test_divide();
    test_hlt();
    test_deadline();
}

void guest_main(void)
{
    irqlog_watch(TIMER_VECTOR);
    tap_note("TSC at %lu Hz", clock_tsc_hz());
    test_form(false);
    if (apic_has_x2()) {
        test_form(true);
    }
}
