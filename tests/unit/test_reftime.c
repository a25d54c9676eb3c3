// SPDX-License-Identifier: BSD-2-Clause-Patent
// Reference time: scale, inverse, page contents and the guest's way of reading the page.
#include <check.h>
#include <pthread.h>
#include <stdlib.h>

#include "corbel/reftime.h"

static const uint64_t rates[] = {10000001,   24000000,   999999937,   1000000000,       2893456789,
                                 3000000000, 4294967296, 10000000000, UINT64_C(1) << 40};

START_TEST(division)
{
    uint64_t rest;

    ck_assert_uint_eq(reftime_div128(0, 100, 7, &rest), 14);
    ck_assert_uint_eq(rest, 2);
    ck_assert_uint_eq(reftime_div128(1, 0, 3, &rest), UINT64_C(0x5555555555555555));
    ck_assert_uint_eq(rest, 1);
    ck_assert_uint_eq(reftime_div128(UINT64_MAX - 1, UINT64_MAX, UINT64_MAX, &rest), UINT64_MAX);
    ck_assert_uint_eq(rest, UINT64_MAX - 1);
}
END_TEST

START_TEST(scale_is_exact)
{
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        struct reftime r;
        reftime_init(&r, rates[i], 0);
        // scale = floor(2^64 * 10^7 / hz)
        unsigned __int128 numerator = (unsigned __int128)10000000 << 64;
        ck_assert((unsigned __int128)r.scale * rates[i] <= numerator);
        ck_assert(((unsigned __int128)r.scale + 1) * rates[i] > numerator);
        ck_assert_uint_eq(reftime_tsc_frequency(&r), rates[i]);
        ck_assert_uint_eq(reftime_at(&r, 0), 0);
        // A thousand days are right to a unit.
        uint64_t days = UINT64_C(86400) * 1000;
        if (rates[i] < UINT64_C(1) << 37) {
            uint64_t time = reftime_at(&r, days * rates[i]);
            ck_assert_uint_le(time, days * 10000000);
            ck_assert_uint_ge(time, days * 10000000 - 1);
        }
    }
}
END_TEST

START_TEST(starts_at_zero)
{
    struct reftime r;

    reftime_init(&r, 2893456789, 987654321987654321);
    ck_assert_int_lt(r.offset, 0);
    ck_assert_uint_eq(reftime_at(&r, 987654321987654321), 0);
    ck_assert_uint_eq(reftime_at(&r, 987654321987654321 + 2893456789), 10000000);
}
END_TEST

// to_tsc gives the first TSC that reads the wanted time: one less reads earlier.
START_TEST(inverse_is_the_first_instant)
{
    uint64_t seed = 9;

    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        struct reftime r;
        reftime_init(&r, rates[i], i & 1 ? rates[i] * 1000 + 17 : 0);
        for (int n = 0; n < 20000; n++) {
            seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            uint64_t time = 1 + (seed >> 20 >> (n % 40));
            uint64_t tsc = reftime_to_tsc(&r, time);
            if (tsc == UINT64_MAX)
                continue;
            ck_assert_uint_ge(reftime_at(&r, tsc), time);
            ck_assert_uint_lt(reftime_at(&r, tsc - 1), time);
        }
    }
}
END_TEST

START_TEST(inverse_at_the_ends)
{
    struct reftime r;

    reftime_init(&r, 3000000000, 0);
    ck_assert_uint_eq(reftime_to_tsc(&r, 0), 0);
    ck_assert_uint_eq(reftime_to_tsc(&r, 1), 300 + 1); // scale is rounded down
    ck_assert_uint_eq(reftime_to_tsc(&r, UINT64_MAX), UINT64_MAX);
    ck_assert_uint_eq(reftime_to_tsc(&r, r.scale), UINT64_MAX);
    ck_assert_uint_lt(reftime_to_tsc(&r, r.scale - 1), UINT64_MAX);
    r.offset = 1000; // time stood at 1000 before TSC 0
    ck_assert_uint_eq(reftime_to_tsc(&r, 999), 0);
    ck_assert_uint_eq(reftime_to_tsc(&r, 1000), 0);
    ck_assert_uint_eq(reftime_to_tsc(&r, 1001), 301);
}
END_TEST

START_TEST(page_contents)
{
    static struct hv_reference_tsc_page page;
    struct reftime r;

    reftime_init(&r, 3000000000, 3000000000);
    reftime_publish(&r, &page);
    ck_assert_uint_eq(page.tsc_sequence, 1);
    ck_assert_uint_eq(page.tsc_scale, r.scale);
    ck_assert_int_eq(page.tsc_offset, r.offset);
    reftime_withdraw(&page);
    ck_assert_uint_eq(page.tsc_sequence, 0);
    reftime_publish(&r, &page);
    ck_assert_uint_eq(page.tsc_sequence, 2); // not 1 again
    r.sequence = UINT32_MAX - 1;
    reftime_publish(&r, &page);
    ck_assert_uint_eq(page.tsc_sequence, 1); // neither ~0 nor 0
    r.sequence = UINT32_MAX;
    reftime_publish(&r, &page);
    ck_assert_uint_eq(page.tsc_sequence, 1);
}
END_TEST

static struct hv_reference_tsc_page shared;
static _Atomic bool stop;

// Scale and offset are always changed together: offset = 2 * scale.
static void *guest(void *argument)
{
    volatile struct hv_reference_tsc_page *page = &shared;
    uint64_t torn = 0;

    while (!stop) {
        uint32_t sequence = page->tsc_sequence;
        if (sequence == 0)
            continue;
        uint64_t scale = page->tsc_scale;
        int64_t offset = page->tsc_offset;
        if (page->tsc_sequence == sequence && (uint64_t)offset != scale * 2)
            torn++;
    }
    *(uint64_t *)argument = torn;
    return NULL;
}

START_TEST(readers_never_see_a_mixture)
{
    struct reftime r = {.tsc_hz = 1, .scale = 0, .offset = 0};
    uint64_t torn = 0;
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, guest, &torn), 0);
    for (uint64_t i = 1; i < 1000000; i++) {
        r.scale = i;
        r.offset = (int64_t)(i * 2);
        reftime_publish(&r, &shared);
    }
    stop = true;
    pthread_join(thread, NULL);
    ck_assert_uint_eq(torn, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reftime");
    TCase *tc = tcase_create("reftime");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, division);
    tcase_add_test(tc, scale_is_exact);
    tcase_add_test(tc, starts_at_zero);
    tcase_add_test(tc, inverse_is_the_first_instant);
    tcase_add_test(tc, inverse_at_the_ends);
    tcase_add_test(tc, page_contents);
    tcase_add_test(tc, readers_never_see_a_mixture);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
