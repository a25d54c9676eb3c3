// SPDX-License-Identifier: BSD-2-Clause-Patent
// Formatting and the conversions between UTF-8 and UTF-16, malformed input above all.
#include "boot/text.h"

#include <check.h>
#include <string.h>

START_TEST(test_format)
{
    char text[32];
    ck_assert_uint_eq(text_format(text, sizeof(text), "a%sb%u%%", "xy", 4294967295u), 15);
    ck_assert_str_eq(text, "axyb4294967295%");
    text_format(text, sizeof(text), "%5u|%3s|%04x|%2lu", 12u, "a", 0xbcu, 345ul);
    ck_assert_str_eq(text, "   12|  a|00bc|345");
    text_format(text, sizeof(text), "%lu %lx %x", UINT64_MAX, 0xfee0ul, 0u);
    ck_assert_str_eq(text, "18446744073709551615 fee0 0");
    ck_assert_uint_eq(text_format(text, 4, "abcdef"), 3);
    ck_assert_str_eq(text, "abc");
    text[0] = 'x';
    ck_assert_uint_eq(text_format(text, 0, "abc"), 0);
    ck_assert_int_eq(text[0], 'x');
}
END_TEST

// All of Unicode survives the way there and back.
START_TEST(test_round_trip)
{
    for (uint32_t point = 0x20; point < 0x110000; point++) {
        uint16_t units[3] = {(uint16_t)point};
        if (point > 0xffff) {
            units[0] = (uint16_t)(0xd7c0 + (point >> 10));
            units[1] = (uint16_t)(0xdc00 + (point & 0x3ff));
        }
        char bytes[5];
        uint16_t back[3];
        bool surrogate = point >= 0xd800 && point < 0xe000;
        if (text_from_utf16(units, 3, bytes, sizeof(bytes)) == surrogate)
            ck_abort_msg("from U+%x", point);
        if (!surrogate && (!text_to_utf16(bytes, back, 3) || memcmp(back, units, 2) ||
                           (point > 0xffff && back[1] != units[1])))
            ck_abort_msg("to U+%x", point);
    }
}
END_TEST

static const char *const malformed[] = {
    "\x80",
    "\xc0\x80",
    "\xc1\xbf",
    "\xe0\x9f\xbf",
    "\xed\xa0\x80",
    "\xf0\x8f\xbf\xbf",
    "\xf4\x90\x80\x80",
    "\xf8\x88\x80\x80\x80",
    "\xff",
    "a\xc3",
    "\xe2\x82",
    "\xf0\x9f\x98",
    "\xc3(",
};

START_TEST(test_malformed)
{
    uint16_t out[8] = {1};
    ck_assert(!text_to_utf16(malformed[_i], out, 8));
    ck_assert_uint_eq(out[0], 0);
}
END_TEST

START_TEST(test_limits)
{
    uint16_t units[4];
    char bytes[4];
    ck_assert(text_to_utf16("abc", units, 4));
    ck_assert_uint_eq(units[2], 'c');
    ck_assert_uint_eq(units[3], 0);
    ck_assert(!text_to_utf16("abcd", units, 4));
    ck_assert(!text_to_utf16("ab\xf0\x9f\x98\x80", units, 4));
    ck_assert(text_from_utf16((const uint16_t[]){'a', 'b', 'c'}, 3, bytes, 4));
    ck_assert_str_eq(bytes, "abc");
    ck_assert(!text_from_utf16((const uint16_t[]){'a', 'b', 'c', 'd'}, 4, bytes, 4));
    ck_assert(text_from_utf16((const uint16_t[]){'a', 0, 1}, 3, bytes, 4));
    ck_assert_str_eq(bytes, "a");
    ck_assert(!text_from_utf16((const uint16_t[]){'a', 1}, 2, bytes, 4));
    ck_assert(!text_from_utf16((const uint16_t[]){0xd83d}, 1, bytes, 4));
    ck_assert(!text_from_utf16((const uint16_t[]){0xde00, 0xd83d}, 2, bytes, 4));
    ck_assert(text_from_utf16(units, 0, bytes, 1));
    ck_assert_str_eq(bytes, "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("text");
    TCase *tcase = tcase_create("text");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_format);
    tcase_add_test(tcase, test_round_trip);
    tcase_add_loop_test(tcase, test_malformed, 0, (int)(sizeof(malformed) / sizeof(malformed[0])));
    tcase_add_test(tcase, test_limits);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
