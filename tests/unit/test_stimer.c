// SPDX-License-Identifier: BSD-2-Clause-Patent
// Synthetic timers: registers, one-shot and periodic expirations, catching up, lazy ones, messages.
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "corbel/stimer.h"
#include "hv/msr.h"
#include "hv/synic.h"

static _Alignas(4096) struct hv_message_page sim;
static _Alignas(4096) struct hv_synic_event_flags_page sief;
static struct synic synic;
static struct stimers timers;
static struct synic_signals out;

#define CONFIG(n)    HV_X64_MSR_STIMER_CONFIG(n)
#define COUNT(n)     HV_X64_MSR_STIMER_COUNT(n)
#define DIRECT(v)    (HV_STIMER_DIRECT | (uint64_t)(v) << HV_STIMER_VECTOR_SHIFT)
#define SINT(n)      ((uint64_t)(n) << HV_STIMER_SINT_SHIFT)
#define ENABLED_AUTO (HV_STIMER_ENABLE | HV_STIMER_AUTO_ENABLE)

static enum stimer_result wr(uint32_t msr, uint64_t value, uint64_t now)
{
    return stimer_write_msr(&timers, msr, value, now);
}
static uint64_t rd(uint32_t msr)
{
    uint64_t value = 0x5555;

    ck_assert_int_eq(stimer_read_msr(&timers, msr, &value), STIMER_OK);
    return value;
}
// Number of vectors raised at `now`.
static uint32_t expire(uint64_t now)
{
    stimer_expire(&timers, now, &out);
    return out.count;
}
static const struct hv_timer_message_payload *slot_payload(uint32_t sint)
{
    return (const void *)sim.slot[sint].payload;
}

static void setup(void)
{
    struct synic_action act;

    synic_init(&synic, &sim, &sief);
    stimer_init(&timers, &synic, true);
    synic_write_msr(&synic, HV_X64_MSR_SCONTROL, 1, &act);
    synic_write_msr(&synic, HV_X64_MSR_SIMP, 0x5001, &act);
    synic_write_msr(&synic, HV_X64_MSR_SINT(4), 0x44, &act);
}

// ---- registers -------------------------------------------------------------------------------

START_TEST(reset_and_range)
{
    uint64_t value;

    for (uint32_t n = 0; n < 4; n++) {
        ck_assert_uint_eq(rd(CONFIG(n)), 0);
        ck_assert_uint_eq(rd(COUNT(n)), 0);
    }
    ck_assert_uint_eq(stimer_next(&timers), STIMER_NEVER);
    ck_assert(!stimer_has_msr(0x400000af) && stimer_has_msr(0x400000b0));
    ck_assert(stimer_has_msr(0x400000b7) && !stimer_has_msr(0x400000b8));
    ck_assert_int_eq(wr(0x400000b8, 0, 0), STIMER_GP);
    ck_assert_int_eq(stimer_read_msr(&timers, 0x400000af, &value), STIMER_GP);
}
END_TEST

START_TEST(enable_rules)
{
    wr(CONFIG(0), HV_STIMER_ENABLE, 0); // SINT 0, not direct
    ck_assert_uint_eq(rd(CONFIG(0)), 0);
    wr(CONFIG(0), HV_STIMER_AUTO_ENABLE, 0);
    wr(COUNT(0), 100, 0); // auto-enable may not get around that rule
    ck_assert_uint_eq(rd(CONFIG(0)), HV_STIMER_AUTO_ENABLE);
    ck_assert_uint_eq(stimer_next(&timers), STIMER_NEVER);
    wr(CONFIG(1), SINT(4) | HV_STIMER_ENABLE, 0); // enabled without a count: nothing runs yet
    ck_assert_uint_eq(rd(CONFIG(1)), SINT(4) | HV_STIMER_ENABLE);
    ck_assert_uint_eq(stimer_next(&timers), STIMER_NEVER);
    wr(COUNT(1), 500, 0);
    ck_assert_uint_eq(stimer_next(&timers), 500);
    wr(COUNT(1), 0, 0); // stops and disables
    ck_assert_uint_eq(rd(CONFIG(1)), SINT(4));
    ck_assert_uint_eq(stimer_next(&timers), STIMER_NEVER);
    wr(COUNT(1), 700, 0); // no auto-enable: stays off
    ck_assert_uint_eq(rd(CONFIG(1)), SINT(4));
    ck_assert_uint_eq(stimer_next(&timers), STIMER_NEVER);
    wr(CONFIG(1), SINT(4) | HV_STIMER_ENABLE, 0);
    ck_assert_uint_eq(stimer_next(&timers), 700);
    wr(CONFIG(2), DIRECT(0xed) | HV_STIMER_AUTO_ENABLE, 0);
    wr(COUNT(2), 600, 0);
    ck_assert_uint_eq(rd(CONFIG(2)), DIRECT(0xed) | ENABLED_AUTO);
    ck_assert_uint_eq(stimer_next(&timers), 600);
    wr(CONFIG(2), 0, 0);
    ck_assert_uint_eq(stimer_next(&timers), 700);
    ck_assert_int_eq(wr(CONFIG(3), UINT64_C(0xfffffffffff0e000), 0), STIMER_OK); // stored
    ck_assert_uint_eq(rd(CONFIG(3)), UINT64_C(0xfffffffffff0e000));
}
END_TEST

START_TEST(direct_mode_must_be_offered)
{
    stimer_init(&timers, &synic, false);
    ck_assert_int_eq(wr(CONFIG(0), DIRECT(0xed), 0), STIMER_GP);
    ck_assert_uint_eq(rd(CONFIG(0)), 0);
    ck_assert_int_eq(wr(CONFIG(0), SINT(4) | HV_STIMER_ENABLE, 0), STIMER_OK);
}
END_TEST

// ---- one-shot --------------------------------------------------------------------------------

START_TEST(one_shot_direct)
{
    wr(CONFIG(0), DIRECT(0xed) | HV_STIMER_AUTO_ENABLE, 10);
    wr(COUNT(0), 1000, 10);
    ck_assert_uint_eq(expire(999), 0);
    ck_assert_uint_eq(expire(1000), 1);
    ck_assert_uint_eq(out.vector[0], 0xed);
    ck_assert_uint_eq(rd(CONFIG(0)), DIRECT(0xed) | HV_STIMER_AUTO_ENABLE); // disabled by itself
    ck_assert_uint_eq(rd(COUNT(0)), 1000);
    ck_assert_uint_eq(expire(UINT64_MAX - 1), 0);
    wr(COUNT(0), 500, 2000); // in the past: at once
    ck_assert_uint_eq(stimer_next(&timers), 500);
    ck_assert_uint_eq(expire(2000), 1);
    wr(CONFIG(0), DIRECT(5) | HV_STIMER_AUTO_ENABLE, 0); // not a vector
    wr(COUNT(0), 500, 2000);
    ck_assert_uint_eq(expire(2000), 0);
}
END_TEST

START_TEST(one_shot_message)
{
    wr(CONFIG(3), SINT(4) | HV_STIMER_AUTO_ENABLE, 0);
    wr(COUNT(3), 1000, 0);
    ck_assert_uint_eq(expire(1234), 1);
    ck_assert_uint_eq(out.vector[0], 0x44);
    ck_assert_uint_eq(sim.slot[4].header.message_type, HV_MESSAGE_TYPE_TIMER_EXPIRED);
    ck_assert_uint_eq(sim.slot[4].header.payload_size, 24);
    ck_assert_uint_eq(sim.slot[4].header.origination_id, 0);
    ck_assert_uint_eq(slot_payload(4)->timer_index, 3);
    ck_assert_uint_eq(slot_payload(4)->reserved, 0);
    ck_assert_uint_eq(slot_payload(4)->expiration_time, 1000);
    ck_assert_uint_eq(slot_payload(4)->delivery_time, 1234);
}
END_TEST

START_TEST(message_waits_for_the_slot)
{
    struct synic_signals later;

    wr(CONFIG(0), SINT(4) | HV_STIMER_AUTO_ENABLE, 0);
    wr(CONFIG(1), SINT(4) | HV_STIMER_AUTO_ENABLE, 0);
    wr(COUNT(0), 1000, 0);
    wr(COUNT(1), 1001, 0);
    ck_assert_uint_eq(expire(1002), 1);
    ck_assert_uint_eq(slot_payload(4)->timer_index, 0);
    ck_assert_uint_eq(sim.slot[4].header.flags, HV_MESSAGE_FLAG_PENDING);
    sim.slot[4].header.message_type = 0;
    synic_pump(&synic, 7777, &later);
    ck_assert_uint_eq(later.count, 1);
    ck_assert_uint_eq(slot_payload(4)->timer_index, 1);
    ck_assert_uint_eq(slot_payload(4)->expiration_time, 1001);
    ck_assert_uint_eq(slot_payload(4)->delivery_time, 7777);
}
END_TEST

START_TEST(writes_cancel_a_waiting_message)
{
    static const uint32_t msrs[] = {CONFIG(1), COUNT(1)};
    struct synic_signals later;

    for (size_t i = 0; i < 2; i++) {
        setup();
        wr(CONFIG(0), SINT(4) | HV_STIMER_AUTO_ENABLE, 0);
        wr(CONFIG(1), SINT(4) | HV_STIMER_AUTO_ENABLE, 0);
        wr(COUNT(0), 1000, 0);
        wr(COUNT(1), 1000, 0);
        expire(1000);
        ck_assert(timers.timer[1].node.queued);
        wr(msrs[i], 0, 1100);
        ck_assert(!timers.timer[1].node.queued);
        sim.slot[4].header.message_type = 0;
        synic_pump(&synic, 7777, &later);
        ck_assert_uint_eq(later.count, 0);
        ck_assert_uint_eq(sim.slot[4].header.message_type, 0);
    }
}
END_TEST

START_TEST(four_at_once)
{
    for (uint32_t n = 0; n < 4; n++) {
        wr(CONFIG(n), DIRECT(0x50 + n) | HV_STIMER_AUTO_ENABLE, 0);
        wr(COUNT(n), 100 + n, 0);
    }
    ck_assert_uint_eq(stimer_next(&timers), 100);
    ck_assert_uint_eq(expire(101), 2);
    ck_assert_uint_eq(stimer_next(&timers), 102);
    ck_assert_uint_eq(expire(1000), 2);
    ck_assert_uint_eq(out.vector[0], 0x52);
    ck_assert_uint_eq(out.vector[1], 0x53);
    ck_assert_uint_eq(stimer_next(&timers), STIMER_NEVER);
}
END_TEST

// ---- periodic --------------------------------------------------------------------------------

static void start_periodic(uint64_t flags, uint64_t period, uint64_t now)
{
    wr(CONFIG(0), DIRECT(0xed) | HV_STIMER_PERIODIC | HV_STIMER_AUTO_ENABLE | flags, now);
    wr(COUNT(0), period, now);
}

START_TEST(periodic_never_early_never_drifts)
{
    const uint64_t begin = 123, period = 15625;
    uint32_t seed = 3;

    start_periodic(0, period, begin);
    for (uint64_t i = 1; i <= 100000; i++) {
        uint64_t due = begin + i * period;
        ck_assert_uint_eq(stimer_next(&timers), due);
        ck_assert_uint_eq(expire(due - 1), 0);
        seed = seed * 1664525 + 1013904223;
        ck_assert_uint_eq(expire(due + seed % (period / 2)), 1);
    }
    ck_assert(rd(CONFIG(0)) & HV_STIMER_ENABLE);
}
END_TEST

// What is missed is made up for at half the period, then the grid is back.
START_TEST(periodic_catches_up)
{
    const uint64_t period = 10000;
    uint64_t now = 5 * period + 100; // 4 missed besides the one that is due
    uint32_t signals = 0;

    start_periodic(0, period, 0);
    for (;;) {
        ck_assert_uint_eq(expire(now), 1);
        signals++;
        uint64_t next = stimer_next(&timers);
        ck_assert_uint_ge(next, now + period / 2);
        if (next > now + period / 2) {
            ck_assert_uint_eq(next % period, 0);
            now = next;
            break;
        }
        now = next;
    }
    // As many signals as periods have passed: none lost.
    ck_assert_uint_eq(signals, now / period - 1);
}
END_TEST

START_TEST(periodic_skips_what_is_too_much)
{
    const uint64_t period = 10000;
    uint64_t now = 1000 * period + 1;
    uint32_t signals = 0;

    start_periodic(0, period, 0);
    while (expire(now)) {
        signals++;
        now = stimer_next(&timers);
        if (now % period == 0)
            break;
    }
    ck_assert_uint_ge(signals, STIMER_CATCH_UP);
    ck_assert_uint_le(signals, 2 * STIMER_CATCH_UP + 2);
    ck_assert_uint_eq(now % period, 0);
}
END_TEST

START_TEST(lazy_skips)
{
    start_periodic(HV_STIMER_LAZY, 8000, 0);
    ck_assert_uint_eq(expire(3 * 8000 + 100), 1); // two missed: gone
    ck_assert_uint_eq(stimer_next(&timers), 4 * 8000);
    ck_assert_uint_eq(expire(5 * 8000 - 1000), 0); // the next one is near: skipped
    ck_assert_uint_eq(stimer_next(&timers), 5 * 8000);
    ck_assert_uint_eq(expire(6 * 8000 - 1001), 1);
    ck_assert_uint_eq(stimer_next(&timers), 6 * 8000);
}
END_TEST

START_TEST(short_periods_do_not_storm)
{
    uint64_t now = 0;
    uint32_t signals = 0;

    start_periodic(0, 1, 0);
    while (now < 1000000) {
        now = stimer_next(&timers);
        signals += expire(now);
        ck_assert_uint_ge(stimer_next(&timers), now + STIMER_MIN_SPACE);
    }
    ck_assert_uint_ge(signals, 1000000 / STIMER_MIN_SPACE - 1);
    start_periodic(0, 0, 0); // count 0: off, and no division by it
    ck_assert_uint_eq(expire(now * 2), 0);
    ck_assert_uint_eq(stimer_next(&timers), STIMER_NEVER);
}
END_TEST

START_TEST(periodic_message_collapses)
{
    wr(CONFIG(0), SINT(4) | HV_STIMER_PERIODIC | HV_STIMER_AUTO_ENABLE, 0);
    wr(COUNT(0), 10000, 0);
    ck_assert_uint_eq(expire(10000), 1);
    ck_assert_uint_eq(expire(20000), 0); // waits in the queue
    ck_assert_uint_eq(expire(30000), 0); // falls into it
    ck_assert_uint_eq(stimer_next(&timers), 40000);
    sim.slot[4].header.message_type = 0;
    synic_pump(&synic, 33333, &out);
    ck_assert_uint_eq(out.count, 1);
    ck_assert_uint_eq(slot_payload(4)->expiration_time, 20000);
    ck_assert_uint_eq(slot_payload(4)->delivery_time, 33333);
    sim.slot[4].header.message_type = 0;
    synic_pump(&synic, 33334, &out);
    ck_assert_uint_eq(out.count, 0);
    ck_assert_uint_eq(expire(40000), 1);
}
END_TEST

START_TEST(hostile_counts)
{
    static const uint64_t counts[] = {UINT64_MAX, UINT64_MAX - 1, UINT64_C(1) << 63, 1, 2, 3, 499};

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        start_periodic(0, counts[i], 12345);
        expire(UINT64_MAX - 5);
        expire(UINT64_MAX - 1);
        start_periodic(HV_STIMER_LAZY, counts[i], UINT64_MAX - 700);
        expire(UINT64_MAX - 100);
        wr(CONFIG(0), DIRECT(0xed) | HV_STIMER_AUTO_ENABLE, 0);
        wr(COUNT(0), counts[i], 0);
        ck_assert_uint_eq(expire(UINT64_MAX - 1), counts[i] != UINT64_MAX);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stimer");
    TCase *tc = tcase_create("stimer");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, reset_and_range);
    tcase_add_test(tc, enable_rules);
    tcase_add_test(tc, direct_mode_must_be_offered);
    tcase_add_test(tc, one_shot_direct);
    tcase_add_test(tc, one_shot_message);
    tcase_add_test(tc, message_waits_for_the_slot);
    tcase_add_test(tc, writes_cancel_a_waiting_message);
    tcase_add_test(tc, four_at_once);
    tcase_add_test(tc, periodic_never_early_never_drifts);
    tcase_add_test(tc, periodic_catches_up);
    tcase_add_test(tc, periodic_skips_what_is_too_much);
    tcase_add_test(tc, lazy_skips);
    tcase_add_test(tc, short_periods_do_not_storm);
    tcase_add_test(tc, periodic_message_collapses);
    tcase_add_test(tc, hostile_counts);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
