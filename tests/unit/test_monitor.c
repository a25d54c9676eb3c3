// SPDX-License-Identifier: BSD-2-Clause-Patent
// The monitor page: when triggers are armed and signalled, and when the next look is due.
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "corbel/monitor.h"

static struct hv_monitor_page page;
static struct {
    uint32_t connection, flag, count;
} signalled;

static void note(void *context, uint32_t connection, uint32_t flag)
{
    ck_assert_ptr_eq(context, &page);
    signalled.connection = connection;
    signalled.flag = flag;
    signalled.count++;
}

static uint32_t look(uint64_t now)
{
    return monitor_look(&page, now, note, &page);
}

static void fresh(uint32_t enabled)
{
    memset(&page, 0, sizeof(page));
    memset(&signalled, 0, sizeof(signalled));
    page.trigger_state = enabled;
}

START_TEST(deferred_by_its_latency)
{
    fresh(4);
    page.latency[2][7] = 3000;
    page.parameter[2][7] = (struct hv_monitor_parameter){0x10005, 3, 0};
    ck_assert_uint_eq(look(100), 3000);
    ck_assert_uint_eq(signalled.count, 0);
    page.group[2].both = 1u << 7; // pending, not armed
    look(1000);
    ck_assert_uint_eq(page.group[2].pending, 1u << 7);
    ck_assert_uint_eq(page.group[2].armed, 1u << 7);
    ck_assert_uint_eq(page.next_check_time[2][7], 4000);
    look(3999);
    ck_assert_uint_eq(signalled.count, 0);
    look(4000);
    ck_assert_uint_eq(signalled.count, 1);
    ck_assert_uint_eq(signalled.connection, 0x10005);
    ck_assert_uint_eq(signalled.flag, 3);
    ck_assert_uint_eq(page.group[2].both, 0);
    look(9000);
    ck_assert_uint_eq(signalled.count, 1);
}
END_TEST

// The guest clears Armed with each Pending that it sets: the latency begins again.
START_TEST(set_again)
{
    fresh(1);
    page.latency[0][0] = 1000;
    page.group[0].both = 1;
    look(0);
    page.group[0].both = 1;
    look(900);
    look(1100);
    ck_assert_uint_eq(signalled.count, 0);
    look(1900);
    ck_assert_uint_eq(signalled.count, 1);
}
END_TEST

START_TEST(only_enabled_groups)
{
    fresh(0);
    page.group[1].both = ~UINT64_C(0);
    ck_assert_uint_eq(look(UINT32_MAX), MONITOR_LONGEST);
    ck_assert_uint_eq(signalled.count, 0);
    page.trigger_state = 2 | HV_MONITOR_STATE_DISABLED;
    ck_assert_uint_eq(look(UINT32_MAX), MONITOR_LONGEST);
    ck_assert_uint_eq(signalled.count, 0);
    page.trigger_state = 2;
    look(1);
    ck_assert_uint_eq(signalled.count, 32);
    ck_assert_uint_eq(page.group[1].both, 0);
}
END_TEST

START_TEST(time_wraps)
{
    const uint64_t before = UINT64_C(0x5fffffff0);

    fresh(1);
    page.latency[0][31] = 100;
    page.group[0].both = 1u << 31;
    look(before);
    look(before + 99);
    ck_assert_uint_eq(signalled.count, 0);
    look(before + 100);
    ck_assert_uint_eq(signalled.count, 1);
}
END_TEST

START_TEST(next_look)
{
    fresh(3);
    ck_assert_uint_eq(look(0), MONITOR_USUAL); // no latency is given
    page.latency[0][3] = 2000;
    page.latency[1][30] = 5000;
    page.latency[2][0] = 600; // not enabled
    ck_assert_uint_eq(look(0), 2000);
    page.latency[1][30] = 1;
    ck_assert_uint_eq(look(0), MONITOR_LEAST);
    page.latency[1][30] = page.latency[0][3] = UINT16_MAX;
    ck_assert_uint_eq(look(0), UINT16_MAX);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("monitor");
    TCase *tests = tcase_create("monitor");
    tcase_add_test(tests, deferred_by_its_latency);
    tcase_add_test(tests, set_again);
    tcase_add_test(tests, only_enabled_groups);
    tcase_add_test(tests, time_wraps);
    tcase_add_test(tests, next_look);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
