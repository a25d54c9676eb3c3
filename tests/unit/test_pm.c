// SPDX-License-Identifier: BSD-2-Clause-Patent
#include <check.h>

#include "fake_host.h"
#include "root/lib/pm.h"

static struct fake_host fake;
static struct chipset_host host;
static struct pm pm;

static void setup(void)
{
    host = fake_host_init(&fake);
    pm_reset(&pm, 0);
}

static uint32_t in(unsigned offset, unsigned size)
{
    return pm_read(&pm, offset, size, fake.now);
}

static void out(unsigned offset, unsigned size, uint32_t value)
{
    pm_write(&pm, offset, size, value, &host);
}

START_TEST(test_timer_counts)
{
    ck_assert_uint_eq(in(8, 4), 0);
    fake.now = 10000000;
    ck_assert_uint_eq(in(8, 4), 3579545);
    fake.now = 12345;
    ck_assert_uint_eq(in(8, 4), 4418); // 12345 * 0.3579545 = 4418.9
    // Thirty years: no overflow, and the counter has wrapped.
    fake.now = UINT64_C(9467280000000000);
    ck_assert_uint_eq(in(8, 4), (uint32_t)(UINT64_C(946728000) * 3579545));
    ck_assert_uint_eq(in(10, 2), in(8, 4) >> 16);
    ck_assert_uint_eq(in(9, 1), in(8, 4) >> 8 & 0xFF);
    out(8, 4, 0);
    ck_assert_uint_ne(in(8, 4), 0); // read-only
}
END_TEST

START_TEST(test_power_off)
{
    ck_assert_uint_eq(in(4, 2), 1); // SCI_EN
    out(4, 2, 1 << 10 | 1 << 13);   // another sleep type
    ck_assert_uint_eq(fake.power_offs, 0);
    ck_assert_uint_eq(in(4, 2), 1 | 1 << 10); // SLP_EN reads as zero
    out(4, 2, 5 << 10);                       // without SLP_EN
    ck_assert_uint_eq(in(4, 2), 1 | 5 << 10);
    ck_assert_uint_eq(fake.power_offs, 0);
    out(4, 2, 5 << 10 | 1 << 13);
    ck_assert_uint_eq(fake.power_offs, 1);
    out(5, 1, 0x34); // the same by a byte access
    ck_assert_uint_eq(fake.power_offs, 2);
    out(6, 2, 0xFFFF);
    ck_assert_uint_eq(fake.power_offs, 2);
    ck_assert_uint_eq(in(6, 2), 0);
}
END_TEST

START_TEST(test_power_button)
{
    pm_raise(&pm, PM_POWER_BUTTON);
    ck_assert(!pm_interrupt(&pm));
    ck_assert_uint_eq(in(0, 2), 0x100);
    out(2, 2, 0x100);
    ck_assert(pm_interrupt(&pm));
    ck_assert_uint_eq(in(0, 4), 0x01000100);
    out(0, 2, 0x00FF); // other bits
    ck_assert(pm_interrupt(&pm));
    out(1, 1, 0x01);
    ck_assert(!pm_interrupt(&pm));
    ck_assert_uint_eq(in(0, 4), 0x01000000);
    out(2, 2, 0xFFFF);
    ck_assert_uint_eq(in(2, 2), 0x0721); // only events that exist
    out(3, 1, 0);
    ck_assert_uint_eq(in(2, 2), 0x0021);
}
END_TEST

START_TEST(test_timer_event)
{
    // The top bit of 32 toggles after 2^31 ticks, 599.93 s.
    const uint64_t toggle = UINT64_C(5999320160);
    out(2, 2, 1);
    ck_assert_uint_eq(pm_deadline(&pm), toggle);
    fake.now = toggle - 1;
    pm_advance(&pm, fake.now);
    ck_assert(!pm_interrupt(&pm));
    ck_assert_uint_eq(in(8, 4), 0x7FFFFFFF);
    fake.now = toggle;
    pm_advance(&pm, fake.now);
    ck_assert(pm_interrupt(&pm));
    ck_assert_uint_eq(in(8, 4), 0x80000000);
    ck_assert_uint_eq(pm_deadline(&pm), CHIPSET_NO_DEADLINE);
    out(0, 2, 1);
    ck_assert(!pm_interrupt(&pm));
    ck_assert_uint_gt(pm_deadline(&pm), 2 * toggle - 2);
    ck_assert_uint_le(pm_deadline(&pm), 2 * toggle);
    out(2, 2, 0);
    ck_assert_uint_eq(pm_deadline(&pm), CHIPSET_NO_DEADLINE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pm");
    TCase *tests = tcase_create("pm");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, test_timer_counts);
    tcase_add_test(tests, test_power_off);
    tcase_add_test(tests, test_power_button);
    tcase_add_test(tests, test_timer_event);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
