// SPDX-License-Identifier: BSD-2-Clause-Patent
// Virtual APIC timer: the three modes over a simulated TSC, counts, divides, drift, mode changes.
#include "tests/unit/vapic_fixture.h"

#define ONE_SHOT 0u
#define PERIODIC VAPIC_LVT_PERIODIC
#define DEADLINE VAPIC_LVT_DEADLINE
#define DIV_1    0xbu
#define VECTOR   0xecu

static void start(uint32_t mode, uint32_t divide, uint32_t count)
{
    wr(VAPIC_LVT_TIMER, mode | VECTOR);
    wr(VAPIC_TIMER_DIVIDE, divide);
    wr(VAPIC_TIMER_INITIAL, count);
    ck_assert(act.flags & VAPIC_ACT_TIMER);
}

// Takes the timer's interrupt; false if there is none.
static bool take(void)
{
    if (vapic_deliverable(&apic) != (int)VECTOR)
        return false;
    vapic_accept(&apic, VECTOR);
    ck_assert_int_eq(vapic_eoi(&apic), VECTOR);
    return true;
}

START_TEST(clock_ratios)
{
    struct vapic_clock c;

    ck_assert_uint_eq(clock_3g.tsc_per_tick, UINT64_C(15) << 40);
    ck_assert_uint_eq(clock_3g.min_period, TSC_HZ / 10000 + 1);
    vapic_clock_init(&c, 1000000000, 1000000000);
    ck_assert_uint_eq(c.tsc_per_tick, UINT64_C(1) << 40);
    ck_assert_uint_eq(c.ticks_per_tsc, UINT64_C(1) << 40);
    vapic_clock_init(&c, 1000000000, 2500000000);
    ck_assert_uint_eq(c.ticks_per_tsc, UINT64_C(5) << 39);
}
END_TEST

START_TEST(one_shot)
{
    uint64_t start_tsc = tsc;

    start(ONE_SHOT, DIV_1, 1000);
    ck_assert_uint_eq(vapic_timer_deadline(&apic), start_tsc + 15000);
    ck_assert_uint_eq(rd(VAPIC_TIMER_CURRENT), 1000);
    tsc = start_tsc + 1500;
    ck_assert_uint_eq(rd(VAPIC_TIMER_CURRENT), 900);
    tsc = start_tsc + 14999;
    ck_assert_uint_eq(rd(VAPIC_TIMER_CURRENT), 1); // 0 only with the expiry
    ck_assert(!vapic_timer_expire(&apic, tsc));
    ck_assert(!take());
    tsc++;
    ck_assert_uint_eq(rd(VAPIC_TIMER_CURRENT), 0);
    ck_assert(vapic_timer_expire(&apic, tsc));
    ck_assert(take());
    ck_assert(!vapic_timer_expire(&apic, tsc + 1000000));
    ck_assert_uint_eq(vapic_timer_deadline(&apic), VAPIC_NO_DEADLINE);
    ck_assert_uint_eq(rd(VAPIC_TIMER_INITIAL), 1000);
    start(ONE_SHOT, DIV_1, 1000);
    wr(VAPIC_TIMER_INITIAL, 0); // stops it
    ck_assert_uint_eq(vapic_timer_deadline(&apic), VAPIC_NO_DEADLINE);
}
END_TEST

START_TEST(divides)
{
    static const uint32_t code[8] = {0xb, 0x0, 0x1, 0x2, 0x3, 0x8, 0x9, 0xa}; // 1, 2, 4 ... 128

    for (uint32_t i = 0; i < 8; i++) {
        start(ONE_SHOT, code[i], 100);
        ck_assert_uint_eq(rd(VAPIC_TIMER_DIVIDE), code[i]);
        ck_assert_uint_eq(vapic_timer_deadline(&apic), tsc + (UINT64_C(1500) << i));
        tsc += UINT64_C(750) << i;
        ck_assert_uint_eq(rd(VAPIC_TIMER_CURRENT), 50);
    }
    start(ONE_SHOT, 0xa, 0xffffffff);
    ck_assert_uint_eq(vapic_timer_deadline(&apic), tsc + UINT64_C(0xffffffff) * 128 * 15);
    ck_assert_uint_eq(rd(VAPIC_TIMER_CURRENT), 0xffffffff);
}
END_TEST

// The count of the moment goes on at the new rate.
START_TEST(divide_written_while_counting)
{
    start(ONE_SHOT, DIV_1, 1000);
    tsc += 6000;
    wr(VAPIC_TIMER_DIVIDE, 0x0);
    ck_assert_uint_eq(rd(VAPIC_TIMER_CURRENT), 600);
    ck_assert_uint_eq(vapic_timer_deadline(&apic), tsc + 600 * 30);
}
END_TEST

START_TEST(periodic_keeps_the_grid)
{
    uint64_t first = tsc + 300000 * 15;
    uint32_t seed = 5;

    start(PERIODIC, DIV_1, 300000);
    for (uint64_t i = 0; i < 100000; i++) {
        uint64_t due = first + i * 300000 * 15;
        ck_assert_uint_eq(vapic_timer_deadline(&apic), due);
        ck_assert(!vapic_timer_expire(&apic, due - 1));
        seed = seed * 1664525 + 1013904223;
        tsc = due + seed % (300000 * 15); // handled late, by less than a period
        ck_assert(vapic_timer_expire(&apic, tsc));
        ck_assert(take());
        ck_assert(!vapic_timer_expire(&apic, tsc));
    }
}
END_TEST

START_TEST(periodic_collapses_missed_periods)
{
    uint64_t begin = tsc, period = 300000 * 15;

    start(PERIODIC, DIV_1, 300000);
    tsc = begin + 7 * period + 15;
    ck_assert_uint_eq(rd(VAPIC_TIMER_CURRENT), 299999); // read before it is handled
    ck_assert(vapic_timer_expire(&apic, tsc));
    ck_assert(take());
    ck_assert(!take());
    ck_assert_uint_eq(vapic_timer_deadline(&apic), begin + 8 * period);
    tsc = begin + 8 * period + period - 1;
    ck_assert(vapic_timer_expire(&apic, tsc));
    ck_assert_uint_eq(vapic_timer_deadline(&apic), begin + 9 * period);
    ck_assert(vapic_timer_expire(&apic, begin + 9 * period));
    ck_assert_uint_eq(vapic_timer_deadline(&apic), begin + 10 * period);
}
END_TEST

START_TEST(short_periods_are_stretched)
{
    start(PERIODIC, DIV_1, 1);
    ck_assert_uint_eq(vapic_timer_deadline(&apic), tsc + clock_3g.min_period);
    ck_assert_uint_le(rd(VAPIC_TIMER_CURRENT), 1);
    start(ONE_SHOT, DIV_1, 1); // one-shot ones are not
    ck_assert_uint_eq(vapic_timer_deadline(&apic), tsc + 15);
}
END_TEST

START_TEST(masked_timer_runs_silently)
{
    start(PERIODIC | VAPIC_LVT_MASKED, DIV_1, 300000);
    ck_assert_uint_eq(vapic_timer_deadline(&apic), VAPIC_NO_DEADLINE);
    uint64_t begin = tsc;
    tsc += 10 * 4500000 + 4500;
    ck_assert_uint_eq(rd(VAPIC_TIMER_CURRENT), 300000 - 300);
    wr(VAPIC_LVT_TIMER, PERIODIC | VECTOR); // what passed while masked is gone
    ck_assert(!take());
    ck_assert_uint_eq(vapic_timer_deadline(&apic), begin + 11 * 4500000);
    start(ONE_SHOT | VAPIC_LVT_MASKED, DIV_1, 100);
    tsc += 10000;
    wr(VAPIC_LVT_TIMER, VECTOR);
    ck_assert(!take());
    ck_assert_uint_eq(vapic_timer_deadline(&apic), VAPIC_NO_DEADLINE);
}
END_TEST

// A due but not yet handled expiry is latched before a write takes the timer away.
START_TEST(expiry_before_write_is_not_lost)
{
    start(ONE_SHOT, DIV_1, 100);
    tsc += 2000;
    wr(VAPIC_TIMER_INITIAL, 100000);
    ck_assert(take());
    tsc += 100000 * 15;
    wr(VAPIC_LVT_TIMER, VAPIC_LVT_MASKED | VECTOR);
    ck_assert(take());
    start(ONE_SHOT, DIV_1, 100);
    tsc += 2000;
    wr(VAPIC_SVR, 0xff);
    wr(VAPIC_SVR, 0x1ff);
    ck_assert(take());
    start(PERIODIC, DIV_1, 300000);
    tsc += 4500000 + 15;
    wr(VAPIC_TIMER_DIVIDE, 0x0);
    ck_assert(take());
    ck_assert_uint_eq(vapic_timer_deadline(&apic), tsc + 299999 * 30);
}
END_TEST

START_TEST(tsc_deadline)
{
    uint64_t value;

    ck_assert_int_eq(wrmsr(MSR_DEADLINE, tsc + 100), VAPIC_OK); // other modes: ignored
    ck_assert_uint_eq(rdmsr_ok(MSR_DEADLINE), 0);
    ck_assert_uint_eq(vapic_timer_deadline(&apic), VAPIC_NO_DEADLINE);
    wr(VAPIC_LVT_TIMER, DEADLINE | VECTOR);
    ck_assert_int_eq(wrmsr(MSR_DEADLINE, tsc + 100), VAPIC_OK);
    ck_assert(act.flags & VAPIC_ACT_TIMER);
    ck_assert_uint_eq(rdmsr_ok(MSR_DEADLINE), tsc + 100);
    ck_assert_uint_eq(vapic_timer_deadline(&apic), tsc + 100);
    wr(VAPIC_TIMER_INITIAL, 55); // ignored in this mode
    ck_assert_uint_eq(rd(VAPIC_TIMER_INITIAL), 0);
    ck_assert_uint_eq(rd(VAPIC_TIMER_CURRENT), 0);
    ck_assert(!vapic_timer_expire(&apic, tsc + 99));
    tsc += 100;
    ck_assert_uint_eq(rdmsr_ok(MSR_DEADLINE), 0); // passed, though not handled yet
    ck_assert(vapic_timer_expire(&apic, tsc));
    ck_assert(take());
    ck_assert_uint_eq(rdmsr_ok(MSR_DEADLINE), 0);
    wrmsr(MSR_DEADLINE, tsc - 5); // in the past: at once
    ck_assert(take());
    wrmsr(MSR_DEADLINE, tsc + 100);
    wrmsr(MSR_DEADLINE, 0); // disarms
    ck_assert_uint_eq(vapic_timer_deadline(&apic), VAPIC_NO_DEADLINE);
    ck_assert(!vapic_timer_expire(&apic, tsc + 1000));
    vapic_init(&apic, 3, VAPIC_FLAG_X2APIC, &clock_3g); // not offered
    ck_assert_int_eq(wrmsr(MSR_DEADLINE, 1), VAPIC_GP);
    ck_assert_int_eq(rdmsr(MSR_DEADLINE, &value), VAPIC_GP);
    wr(VAPIC_SVR, 0x1ff);
    wr(VAPIC_LVT_TIMER, DEADLINE | VECTOR);
    ck_assert_uint_eq(rd(VAPIC_LVT_TIMER), VECTOR);
    ck_assert_int_eq(wrmsr(MSR_BASE, 0xfee00c00), VAPIC_OK);
    ck_assert_int_eq(wrmsr(X2(VAPIC_LVT_TIMER), DEADLINE | VECTOR), VAPIC_GP);
}
END_TEST

START_TEST(mode_changes)
{
    // EDK2 writes the count first and makes it periodic afterwards.
    wr(VAPIC_LVT_TIMER, VAPIC_LVT_MASKED);
    wr(VAPIC_TIMER_INITIAL, 300000);
    wr(VAPIC_TIMER_DIVIDE, DIV_1);
    wr(VAPIC_LVT_TIMER, PERIODIC | VECTOR);
    ck_assert_uint_eq(vapic_timer_deadline(&apic), tsc + 4500000);
    tsc += 4500000;
    ck_assert(vapic_timer_expire(&apic, tsc));
    ck_assert_uint_eq(vapic_timer_deadline(&apic), tsc + 4500000);
    wr(VAPIC_LVT_TIMER, ONE_SHOT | VECTOR); // ends with this period
    ck_assert_uint_eq(vapic_timer_deadline(&apic), tsc + 4500000);
    tsc += 4500000;
    ck_assert(vapic_timer_expire(&apic, tsc));
    ck_assert_uint_eq(vapic_timer_deadline(&apic), VAPIC_NO_DEADLINE);
    start(PERIODIC, DIV_1, 300000);
    wr(VAPIC_LVT_TIMER, DEADLINE | VECTOR); // disarms
    ck_assert_uint_eq(vapic_timer_deadline(&apic), VAPIC_NO_DEADLINE);
    ck_assert_uint_eq(rd(VAPIC_TIMER_INITIAL), 0);
    wrmsr(MSR_DEADLINE, tsc + 50);
    wr(VAPIC_LVT_TIMER, PERIODIC | VECTOR); // disarms again
    ck_assert_uint_eq(vapic_timer_deadline(&apic), VAPIC_NO_DEADLINE);
    wr(VAPIC_LVT_TIMER, DEADLINE | VECTOR);
    ck_assert_uint_eq(rdmsr_ok(MSR_DEADLINE), 0);
    wr(VAPIC_LVT_TIMER, DEADLINE | PERIODIC | VECTOR); // reserved: the mode stays
    ck_assert_uint_eq(rd(VAPIC_LVT_TIMER), DEADLINE | VECTOR);
}
END_TEST

START_TEST(hostile_values)
{
    tsc = UINT64_MAX - 100;
    start(PERIODIC, 0xa, 0xffffffff); // the sum does not fit: never
    ck_assert_uint_eq(vapic_timer_deadline(&apic), VAPIC_NO_DEADLINE);
    ck_assert(!vapic_timer_expire(&apic, UINT64_MAX));
    wr(VAPIC_LVT_TIMER, DEADLINE | VECTOR);
    ck_assert_int_eq(wrmsr(MSR_DEADLINE, UINT64_MAX), VAPIC_OK);
    ck_assert(!vapic_timer_expire(&apic, UINT64_MAX));
    tsc = 1000;
    start(PERIODIC, DIV_1, 300000); // a TSC far ahead: one interrupt, still armed
    tsc = UINT64_MAX / 2;
    ck_assert(vapic_timer_expire(&apic, tsc));
    ck_assert_uint_gt(vapic_timer_deadline(&apic), tsc);
    ck_assert_uint_le(vapic_timer_deadline(&apic), tsc + 4500000);
    wr(VAPIC_LVT_TIMER, 5); // illegal vector: an error instead of an interrupt
    start(ONE_SHOT, DIV_1, 10);
    wr(VAPIC_LVT_TIMER, 5);
    take();
    tsc += 1000;
    vapic_timer_expire(&apic, tsc);
    ck_assert_int_eq(vapic_highest_irr(&apic), -1);
    wr(VAPIC_ESR, 0);
    ck_assert_uint_eq(rd(VAPIC_ESR), VAPIC_ESR_RECEIVE_ILLEGAL);
}
END_TEST

// Odd ratio: never early by the exact rational, and the count falls monotonically to 0.
START_TEST(odd_ratio)
{
    static struct vapic_clock odd;
    uint32_t last = 123457;

    vapic_clock_init(&odd, 2893456789u, 99876543u);
    vapic_init(&apic, 3, ALL_FLAGS, &odd);
    wr(VAPIC_SVR, 0x1ff);
    start(ONE_SHOT, DIV_1, 123457);
    uint64_t span = vapic_timer_deadline(&apic) - tsc;
    ck_assert(span + 1 >= (unsigned __int128)123457 * 2893456789u / 99876543u);
    ck_assert(span <= (unsigned __int128)123457 * 2893456789u / 99876543u + 2);
    for (uint64_t end = tsc + span; tsc < end; tsc += 97) {
        uint32_t count = rd(VAPIC_TIMER_CURRENT);
        ck_assert_uint_le(count, last);
        ck_assert_uint_gt(count, 0);
        last = count;
    }
    ck_assert_uint_le(last, 5);
}
END_TEST

// The guest's TSC is set: what counts has as much left as before, a deadline is what it was.
START_TEST(tsc_moves)
{
    const uint64_t far = UINT64_C(1) << 62;
    start(ONE_SHOT, DIV_1, 1000);
    uint64_t left = vapic_timer_deadline(&apic) - tsc;
    uint32_t count = rd(VAPIC_TIMER_CURRENT);
    vapic_timer_tsc_moved(&apic, tsc, far);
    ck_assert_uint_eq(vapic_timer_deadline(&apic), far + left);
    tsc = far;
    ck_assert_uint_eq(rd(VAPIC_TIMER_CURRENT), count);
    vapic_timer_tsc_moved(&apic, tsc + left + 5, 77); // it is due already
    ck_assert_uint_eq(vapic_timer_deadline(&apic), 77);
    ck_assert(vapic_timer_expire(&apic, 77));
    vapic_timer_tsc_moved(&apic, 77, far); // it is off
    ck_assert_uint_eq(vapic_timer_deadline(&apic), VAPIC_NO_DEADLINE);
    tsc = 100;
    start(PERIODIC, DIV_1, 300000);
    left = vapic_timer_deadline(&apic) - tsc;
    vapic_timer_tsc_moved(&apic, tsc, UINT64_MAX - 2); // no room for it
    ck_assert_uint_eq(vapic_timer_deadline(&apic), VAPIC_NO_DEADLINE);
    tsc = 100;
    wr(VAPIC_LVT_TIMER, DEADLINE | VECTOR);
    ck_assert_int_eq(wrmsr(MSR_DEADLINE, 5000), VAPIC_OK);
    vapic_timer_tsc_moved(&apic, tsc, 4000);
    ck_assert_uint_eq(vapic_timer_deadline(&apic), 5000);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("timer");

    tcase_add_checked_fixture(tc, setup_xapic, NULL);
    tcase_add_test(tc, clock_ratios);
    tcase_add_test(tc, one_shot);
    tcase_add_test(tc, divides);
    tcase_add_test(tc, divide_written_while_counting);
    tcase_add_test(tc, periodic_keeps_the_grid);
    tcase_add_test(tc, periodic_collapses_missed_periods);
    tcase_add_test(tc, short_periods_are_stretched);
    tcase_add_test(tc, masked_timer_runs_silently);
    tcase_add_test(tc, expiry_before_write_is_not_lost);
    tcase_add_test(tc, tsc_deadline);
    tcase_add_test(tc, mode_changes);
    tcase_add_test(tc, hostile_values);
    tcase_add_test(tc, odd_ratio);
    tcase_add_test(tc, tsc_moves);
    return run_suite("vapic timer", &tc, 1);
}
