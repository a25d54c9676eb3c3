// SPDX-License-Identifier: BSD-2-Clause-Patent
// What is logged on behalf of a guest, against a model that looks at every second.
#include <check.h>
#include <stdlib.h>

#include "corbel/lograte.h"

#define HZ UINT64_C(1000000000)

static struct log_rate r;
static uint32_t left_out;

static bool admit(uint64_t now, uint32_t lines)
{
    return log_rate_admit(&r, now, HZ, lines, &left_out);
}

static void setup(void)
{
    r = (struct log_rate){0};
    left_out = 0;
}

START_TEST(burst_then_rate)
{
    uint64_t now = 5 * HZ;
    for (uint32_t i = 0; i < LOG_RATE_BURST; i++)
        ck_assert(admit(now, 1));
    ck_assert(!admit(now, 1));
    ck_assert(!admit(now + HZ / LOG_RATE_PER_SECOND - 1, 1));
    ck_assert(admit(now + HZ / LOG_RATE_PER_SECOND, 1));
    ck_assert_uint_eq(left_out, 2);
    ck_assert(!admit(now + HZ / LOG_RATE_PER_SECOND, 1));
    ck_assert(admit(now + 1000 * HZ, LOG_RATE_BURST)); // no more than a burst is saved up
    ck_assert_uint_eq(left_out, 1);
    ck_assert(!admit(now + 1000 * HZ, 1));
}
END_TEST

// A report is logged as a whole or not at all.
START_TEST(whole_reports)
{
    ck_assert(admit(HZ, LOG_RATE_BURST - 10));
    ck_assert(!admit(HZ, 11));
    ck_assert(admit(HZ, 10));
    ck_assert_uint_eq(left_out, 1);
    ck_assert(!admit(HZ + 11 * HZ / LOG_RATE_PER_SECOND - 1, 11));
    ck_assert(admit(HZ + 11 * HZ / LOG_RATE_PER_SECOND, 11));
}
END_TEST

// Times of LPs may differ a little.
START_TEST(time_may_step_back)
{
    ck_assert(admit(10 * HZ, LOG_RATE_BURST));
    ck_assert(!admit(9 * HZ, 1));
    ck_assert(!admit(10 * HZ, 1));
    ck_assert(admit(11 * HZ, LOG_RATE_PER_SECOND));
    ck_assert(!admit(11 * HZ, 1));
}
END_TEST

// Whatever is asked for and when: in no stretch of time more than a burst and the rate.
START_TEST(bounded_in_any_stretch)
{
    enum { REPORTS = 2000 };
    static uint64_t when[REPORTS];
    static uint32_t logged[REPORTS];
    uint64_t now = 0, total = 0;
    uint32_t count = 0, refused = 0, told = 0;
    srand(1);
    for (int i = 0; i < REPORTS; i++) {
        uint32_t lines = 1 + (uint32_t)rand() % 40;
        now += (uint64_t)rand() % HZ;
        if (admit(now, lines)) {
            when[count] = now;
            logged[count++] = lines;
            total += lines;
            told += left_out;
        } else {
            refused++;
        }
    }
    ck_assert_uint_eq(told + r.left_out, refused);
    ck_assert_uint_ge(total, now / HZ * LOG_RATE_PER_SECOND / 2); // and it is made use of
    for (uint32_t from = 0; from < count; from++) {
        uint64_t sum = 0;
        for (uint32_t to = from; to < count && to < from + 200; to++) {
            sum += logged[to];
            ck_assert_uint_le(sum, LOG_RATE_BURST + 1 +
                                       (when[to] - when[from]) / (HZ / LOG_RATE_PER_SECOND));
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lograte");
    TCase *all = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(all, setup, NULL);
    tcase_add_test(all, burst_then_rate);
    tcase_add_test(all, whole_reports);
    tcase_add_test(all, time_may_step_back);
    tcase_add_test(all, bounded_in_any_stretch);
    suite_add_tcase(suite, all);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
