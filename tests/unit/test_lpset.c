// SPDX-License-Identifier: BSD-2-Clause-Patent
// Sets of LPs: read, refused, written.
#include <check.h>
#include <string.h>

#include "root/lib/lpset.h"

static uint64_t set[LPSET_WORDS];

START_TEST(numbers_and_ranges)
{
    ck_assert(lpset_parse("0-3,8 12", set));
    ck_assert_uint_eq(set[0], 0x110f);
    ck_assert(lpset_parse(" 63-64 ,, 255", set));
    ck_assert_uint_eq(set[0], 1ull << 63);
    ck_assert_uint_eq(set[1], 1);
    ck_assert_uint_eq(set[3], 1ull << 63);
    ck_assert(lpset_parse("", set));
    ck_assert_uint_eq(set[0] | set[1] | set[2] | set[3], 0);
}
END_TEST

START_TEST(refused)
{
    static const char *const bad[] = {"256",   "3-1", "1-",    "-1",  "a",
                                      "1-2-3", "1x",  "0-256", "1;2", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!lpset_parse(bad[i], set), "%s", bad[i]);
}
END_TEST

START_TEST(written_as_it_is_read)
{
    char text[32], small[9];
    ck_assert(lpset_parse("1-3,200", set));
    lpset_format(set, text, sizeof(text));
    ck_assert_str_eq(text, "1, 2, 3, 200");
    lpset_format(set, small, sizeof(small));
    ck_assert_str_eq(small, "1, 2...");
    memset(set, 0, sizeof(set));
    lpset_format(set, text, sizeof(text));
    ck_assert_str_eq(text, "");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("lpset");
    TCase *t = tcase_create("lpset");
    tcase_add_test(t, numbers_and_ranges);
    tcase_add_test(t, refused);
    tcase_add_test(t, written_as_it_is_read);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
