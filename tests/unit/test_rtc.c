// SPDX-License-Identifier: BSD-2-Clause-Patent
#include <check.h>
#include <time.h>

#include "fake_host.h"
#include "root/lib/ports.h"
#include "root/lib/rtc.h"

enum { SEC, SEC_ALARM, MIN, MIN_ALARM, HOUR, HOUR_ALARM, WDAY, DAY, MONTH, YEAR, A, B, C, D };
enum { SET = 0x80, PIE = 0x40, AIE = 0x20, UIE = 0x10, BINARY = 4, H24 = 2 };

#define SECOND      UINT64_C(10000000)
#define LEAP_MOMENT 1709251198 // 2024-02-29 23:59:58, a Thursday

static struct fake_host fake;
static struct chipset_host host;
static struct rtc rtc;

static void setup(void)
{
    host = fake_host_init(&fake);
    fake.wall = LEAP_MOMENT;
    rtc_init(&rtc, &host);
}

static uint8_t get(unsigned index)
{
    rtc_write(&rtc, 0, (uint8_t)index, &host);
    return rtc_read(&rtc, 1, &host);
}

static void put(unsigned index, uint8_t value)
{
    rtc_write(&rtc, 0, (uint8_t)index, &host);
    rtc_write(&rtc, 1, value, &host);
}

static void pass(uint64_t units)
{
    const uint64_t before = fake.now;
    fake.now += units;
    fake.wall += (int64_t)(fake.now / SECOND - before / SECOND);
    rtc_advance(&rtc, &host);
}

static void expect_time(unsigned century, unsigned year, unsigned month, unsigned day,
                        unsigned hour, unsigned minute, unsigned second)
{
    ck_assert_uint_eq(get(RTC_CENTURY), century);
    ck_assert_uint_eq(get(YEAR), year);
    ck_assert_uint_eq(get(MONTH), month);
    ck_assert_uint_eq(get(DAY), day);
    ck_assert_uint_eq(get(HOUR), hour);
    ck_assert_uint_eq(get(MIN), minute);
    ck_assert_uint_eq(get(SEC), second);
}

START_TEST(test_bcd_and_rollover)
{
    expect_time(0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x58);
    ck_assert_uint_eq(get(WDAY), 5);
    pass(2 * SECOND);
    expect_time(0x20, 0x24, 0x03, 0x01, 0x00, 0x00, 0x00);
    ck_assert_uint_eq(get(WDAY), 6);
}
END_TEST

START_TEST(test_modes)
{
    put(B, BINARY | H24);
    expect_time(20, 24, 2, 29, 23, 59, 58);
    put(B, 0);
    ck_assert_uint_eq(get(HOUR), 0x91); // 11 PM
    pass(2 * SECOND);
    ck_assert_uint_eq(get(HOUR), 0x12); // midnight is 12 AM
    pass(12 * 3600 * SECOND);
    ck_assert_uint_eq(get(HOUR), 0x92); // noon is 12 PM
    pass(3600 * SECOND);
    ck_assert_uint_eq(get(HOUR), 0x81);
    put(B, BINARY);
    ck_assert_uint_eq(get(HOUR), 0x81);
}
END_TEST

// Against the C library, over six centuries.
START_TEST(test_calendar)
{
    for (int64_t at = -11676096000; at < 7258118400; at += 86400 * 3 + 8641) { // 1600 to 2200
        const time_t moment = at;
        struct tm tm;
        fake.wall = at;
        rtc_init(&rtc, &host);
        put(B, BINARY | H24);
        ck_assert_ptr_nonnull(gmtime_r(&moment, &tm));
        expect_time((unsigned)(tm.tm_year + 1900) / 100, (unsigned)(tm.tm_year + 1900) % 100,
                    (unsigned)tm.tm_mon + 1, (unsigned)tm.tm_mday, (unsigned)tm.tm_hour,
                    (unsigned)tm.tm_min, (unsigned)tm.tm_sec);
        ck_assert_uint_eq(get(WDAY), (unsigned)tm.tm_wday + 1);
        // Freeze and release: what is shown is read back as the same time.
        put(B, SET | BINARY | H24);
        put(B, BINARY | H24);
        ck_assert_int_eq(rtc.seconds, at);
        ck_assert_int_eq(rtc.offset, 0);
    }
}
END_TEST

START_TEST(test_status_registers)
{
    ck_assert_uint_eq(get(A), 0x26);
    ck_assert_uint_eq(get(B), 0x02);
    ck_assert_uint_eq(get(C), 0x00);
    ck_assert_uint_eq(get(D), 0x80);
    ck_assert_uint_eq(rtc_read(&rtc, 0, &host), 0xFF);
    put(A, 0xA6);
    ck_assert_uint_eq(get(A), 0x26); // UIP is read-only
    put(C, 0xFF);
    put(D, 0x00);
    ck_assert_uint_eq(get(C), 0x00);
    ck_assert_uint_eq(get(D), 0x80);
}
END_TEST

START_TEST(test_update_in_progress)
{
    pass(SECOND - 22281);
    ck_assert_uint_eq(get(A) & 0x80, 0);
    pass(1);
    ck_assert_uint_eq(get(A) & 0x80, 0x80);
    ck_assert_uint_eq(get(SEC), 0x58);
    pass(22279);
    ck_assert_uint_eq(get(A) & 0x80, 0x80);
    pass(1);
    ck_assert_uint_eq(get(A) & 0x80, 0);
    ck_assert_uint_eq(get(SEC), 0x59);
}
END_TEST

// Linux mc146818_set_time(): inhibit, hold the divider, write, release.
START_TEST(test_set_time)
{
    put(B, SET | H24);
    put(A, 0x76);
    put(YEAR, 0x31);
    put(MONTH, 0x12);
    put(DAY, 0x31);
    put(HOUR, 0x10);
    put(MIN, 0x20);
    put(SEC, 0x30);
    put(RTC_CENTURY, 0x20);
    pass(100 * SECOND);
    expect_time(0x20, 0x31, 0x12, 0x31, 0x10, 0x20, 0x30); // stands still
    ck_assert_uint_eq(get(A) & 0x80, 0);
    put(B, H24);
    put(A, 0x26);
    expect_time(0x20, 0x31, 0x12, 0x31, 0x10, 0x20, 0x30);
    pass(SECOND / 2 - 1);
    ck_assert_uint_eq(get(SEC), 0x30);
    pass(1); // the first update is half a second after the release
    ck_assert_uint_eq(get(SEC), 0x31);
    pass(3600 * SECOND);
    expect_time(0x20, 0x31, 0x12, 0x31, 0x11, 0x20, 0x31);
    ck_assert_uint_eq(get(WDAY), 4); // a Wednesday
}
END_TEST

START_TEST(test_set_time_while_running)
{
    put(HOUR, 0x05);
    expect_time(0x20, 0x24, 0x02, 0x29, 0x05, 0x59, 0x58);
    pass(2 * SECOND);
    expect_time(0x20, 0x24, 0x02, 0x29, 0x06, 0x00, 0x00);
}
END_TEST

START_TEST(test_follows_a_stepped_wall_clock)
{
    put(HOUR, 0x05); // the guest's own offset stays
    fake.wall += 600;
    pass(SECOND);
    expect_time(0x20, 0x24, 0x02, 0x29, 0x06, 0x09, 0x59);
    fake.wall -= 1200;
    pass(SECOND);
    expect_time(0x20, 0x24, 0x02, 0x29, 0x05, 0x50, 0x00);
}
END_TEST

START_TEST(test_hostile_time_values)
{
    for (unsigned mode = 0; mode < 4; mode++) {
        for (unsigned value = 0; value < 256; value++) {
            put(B, (uint8_t)(SET | mode << 1));
            for (unsigned index = SEC; index <= YEAR; index++) {
                put(index, (uint8_t)value);
            }
            put(RTC_CENTURY, (uint8_t)value);
            put(B, (uint8_t)(mode << 1 | AIE | PIE | UIE));
            pass(3 * SECOND);
            rtc_deadline(&rtc);
            put(B, H24 | BINARY);
            ck_assert_uint_lt(get(SEC), 60);
            ck_assert_uint_lt(get(HOUR), 24);
            ck_assert_uint_ge(get(MONTH), 1);
            ck_assert_uint_le(get(MONTH), 12);
        }
    }
}
END_TEST

START_TEST(test_nvram)
{
    for (unsigned index = 0x0E; index < RTC_NVRAM; index++) {
        if (index != RTC_CENTURY) {
            put(index, (uint8_t)(index * 7));
        }
    }
    rtc_reset(&rtc);
    for (unsigned index = 0x0E; index < RTC_NVRAM; index++) {
        if (index != RTC_CENTURY) {
            ck_assert_uint_eq(get(index), (uint8_t)(index * 7));
        }
    }
    ck_assert_uint_eq(get(0x80 | 0x0E), 0x0E * 7); // bit 7 of the index is the NMI mask
}
END_TEST

START_TEST(test_update_interrupt)
{
    ck_assert_uint_eq(rtc_deadline(&rtc), CHIPSET_NO_DEADLINE);
    put(B, H24 | UIE);
    ck_assert_uint_eq(rtc_deadline(&rtc), SECOND);
    pass(SECOND - 1);
    ck_assert(!rtc_interrupt(&rtc));
    pass(1);
    ck_assert(rtc_interrupt(&rtc));
    ck_assert_uint_eq(rtc_deadline(&rtc), CHIPSET_NO_DEADLINE); // until acknowledged
    ck_assert_uint_eq(get(C) & 0xB0, 0x90);
    ck_assert(!rtc_interrupt(&rtc));
    ck_assert_uint_eq(get(C), 0);
    ck_assert_uint_eq(rtc_deadline(&rtc), 2 * SECOND);
    put(B, H24 | SET | UIE);
    ck_assert_uint_eq(get(B), H24 | SET); // SET clears UIE
    ck_assert_uint_eq(rtc_deadline(&rtc), CHIPSET_NO_DEADLINE);
}
END_TEST

START_TEST(test_flags_without_enables)
{
    pass(SECOND);
    ck_assert(!rtc_interrupt(&rtc));
    ck_assert_uint_eq(get(C) & 0xD0, 0x50); // UF and PF, no IRQF
}
END_TEST

START_TEST(test_alarm)
{
    put(HOUR_ALARM, 0x07);
    put(MIN_ALARM, 0x30);
    put(SEC_ALARM, 0x15);
    get(C);
    put(B, H24 | AIE);
    // From 23:59:58 to 07:30:15 tomorrow.
    const uint64_t due = (2 + 7 * 3600 + 30 * 60 + 15) * SECOND;
    ck_assert_uint_eq(rtc_deadline(&rtc), due);
    pass(due - 1);
    ck_assert(!rtc_interrupt(&rtc));
    pass(1);
    ck_assert(rtc_interrupt(&rtc));
    ck_assert_uint_eq(get(C) & 0xA0, 0xA0);
    ck_assert_uint_eq(rtc_deadline(&rtc), due + 86400 * SECOND);
    put(HOUR_ALARM, 0xFF); // every hour
    ck_assert_uint_eq(rtc_deadline(&rtc), due + 3600 * SECOND);
    put(MIN_ALARM, 0xC0);
    put(SEC_ALARM, 0xFE); // every second
    ck_assert_uint_eq(rtc_deadline(&rtc), due + SECOND);
    put(MIN_ALARM, 0x75); // never
    ck_assert_uint_eq(rtc_deadline(&rtc), CHIPSET_NO_DEADLINE);
    pass(2 * 86400 * SECOND);
    ck_assert_uint_eq(get(C) & 0x20, 0);
    put(MIN_ALARM, 0x29);
    put(HOUR_ALARM, 0x07);
    put(SEC_ALARM, 0x14); // just missed: the longest search
    ck_assert_uint_eq(rtc_deadline(&rtc), fake.now + (86400 - 61) * SECOND);
}
END_TEST

START_TEST(test_alarm_12_hours)
{
    put(B, AIE);
    put(HOUR_ALARM, 0x91); // 11 PM
    put(MIN_ALARM, 0x59);
    put(SEC_ALARM, 0x59);
    ck_assert_uint_eq(rtc_deadline(&rtc), SECOND);
}
END_TEST

START_TEST(test_periodic)
{
    put(A, 0x2F); // 2 Hz
    get(C);
    put(B, H24 | PIE);
    ck_assert_uint_eq(rtc_deadline(&rtc), SECOND / 2);
    pass(SECOND / 2 - 1);
    ck_assert(!rtc_interrupt(&rtc));
    pass(1);
    ck_assert(rtc_interrupt(&rtc));
    ck_assert_uint_eq(get(C), 0xC0);
    ck_assert_uint_eq(rtc_deadline(&rtc), SECOND);
    put(A, 0x26); // 1,024 Hz: 976.5625 us
    ck_assert_uint_eq(rtc_deadline(&rtc), SECOND / 2 + 9766);
    put(A, 0x21); // 256 Hz
    ck_assert_uint_eq(rtc_deadline(&rtc), SECOND / 2 + 39063);
    put(A, 0x23); // 8,192 Hz
    ck_assert_uint_eq(rtc_deadline(&rtc), SECOND / 2 + 1221);
    put(A, 0x20);
    ck_assert_uint_eq(rtc_deadline(&rtc), CHIPSET_NO_DEADLINE);
    put(A, 0x66); // divider held
    ck_assert_uint_eq(rtc_deadline(&rtc), CHIPSET_NO_DEADLINE);
    pass(SECOND);
    ck_assert_uint_eq(get(C), 0);
}
END_TEST

START_TEST(test_reset_disables_interrupts)
{
    put(B, H24 | PIE | UIE | AIE);
    pass(SECOND);
    ck_assert(rtc_interrupt(&rtc));
    rtc_reset(&rtc);
    ck_assert(!rtc_interrupt(&rtc));
    ck_assert_uint_eq(get(B), H24);
    ck_assert_uint_eq(get(SEC), 0x59);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rtc");
    TCase *tests = tcase_create("rtc");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, test_bcd_and_rollover);
    tcase_add_test(tests, test_modes);
    tcase_add_test(tests, test_calendar);
    tcase_add_test(tests, test_status_registers);
    tcase_add_test(tests, test_update_in_progress);
    tcase_add_test(tests, test_set_time);
    tcase_add_test(tests, test_set_time_while_running);
    tcase_add_test(tests, test_follows_a_stepped_wall_clock);
    tcase_add_test(tests, test_hostile_time_values);
    tcase_add_test(tests, test_nvram);
    tcase_add_test(tests, test_update_interrupt);
    tcase_add_test(tests, test_flags_without_enables);
    tcase_add_test(tests, test_alarm);
    tcase_add_test(tests, test_alarm_12_hours);
    tcase_add_test(tests, test_periodic);
    tcase_add_test(tests, test_reset_disables_interrupts);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
