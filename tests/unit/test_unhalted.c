// SPDX-License-Identifier: BSD-2-Clause-Patent
// The time-unhalted timer against the grid of its periods.
#include <check.h>
#include <stdlib.h>

#include "corbel/unhalted.h"
#include "hv/synic.h"

#define ENABLED (HV_STIME_UNHALTED_ENABLE | 0x40)

static struct unhalted_timer t;

START_TEST(off_at_first)
{
    unhalted_init(&t);
    ck_assert_uint_eq(unhalted_next(&t), UNHALTED_NEVER);
    ck_assert(!unhalted_expire(&t, UINT64_MAX - 1));
    unhalted_set_config(&t, ENABLED, 1000);
    ck_assert_uint_eq(unhalted_next(&t), UNHALTED_NEVER); // no period
    unhalted_set_period(&t, 5000, 1000);
    ck_assert_uint_eq(unhalted_next(&t), 6000);
    unhalted_set_config(&t, 0x40, 1000);
    ck_assert_uint_eq(unhalted_next(&t), UNHALTED_NEVER); // not enabled
    unhalted_set_config(&t, ENABLED, 2000);
    unhalted_set_period(&t, 0, 2000);
    ck_assert_uint_eq(unhalted_next(&t), UNHALTED_NEVER);
}
END_TEST

// The grid of a model that adds periods one by one.
START_TEST(never_early_never_drifts)
{
    srand(1);
    for (int round = 0; round < 50; round++) {
        uint64_t period = 1 + (uint64_t)rand() % 20000, now = (uint64_t)rand(), grid = now + period;
        uint64_t last = 0;
        unhalted_init(&t);
        unhalted_set_config(&t, ENABLED, now);
        unhalted_set_period(&t, period, now);
        for (int i = 0; i < 500; i++) {
            now += (uint64_t)rand() % 3000;
            if (!unhalted_expire(&t, now)) {
                ck_assert_msg(now < grid || now < last + UNHALTED_MIN_SPACE || now < t.fire,
                              "lost");
                continue;
            }
            ck_assert_uint_ge(now, grid);
            ck_assert(!last || now >= last + UNHALTED_MIN_SPACE);
            while (grid <= now)
                grid += period;
            ck_assert_uint_eq(t.due, grid);
            last = now;
        }
    }
}
END_TEST

START_TEST(ends_of_time)
{
    unhalted_init(&t);
    unhalted_set_config(&t, ENABLED, 10);
    unhalted_set_period(&t, UINT64_MAX, 10);
    ck_assert_uint_eq(unhalted_next(&t), UNHALTED_NEVER);
    unhalted_set_period(&t, UINT64_MAX - 100, 10);
    ck_assert_uint_eq(unhalted_next(&t), UINT64_MAX - 90);
    ck_assert(unhalted_expire(&t, UINT64_MAX - 80));
    ck_assert_uint_eq(unhalted_next(&t), UNHALTED_NEVER);
    unhalted_set_period(&t, 1, 10);
    ck_assert_uint_eq(unhalted_next(&t), 10 + UNHALTED_MIN_SPACE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("unhalted");
    TCase *tcase = tcase_create("unhalted");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, off_at_first);
    tcase_add_test(tcase, never_early_never_drifts);
    tcase_add_test(tcase, ends_of_time);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
