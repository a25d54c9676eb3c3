// SPDX-License-Identifier: BSD-2-Clause-Patent
// Rates of a guest's TSC, against division of 128 bits: rounding, limits, and a way back that is
// never early.
#include <check.h>
#include <stdlib.h>

#include "corbel/tsc_ratio.h"

static const uint32_t fractions[] = {48, 32}; // Intel, AMD
static const uint64_t rates[] = {10000001,   100000000,  999999937,
                                 1000000000, 2893456789, 3000000000,
                                 4294967296, 5800000001, (UINT64_C(1) << 36) - 1};
enum { FRACTIONS = sizeof(fractions) / sizeof(fractions[0]) };
enum { RATES = sizeof(rates) / sizeof(rates[0]) };

START_TEST(nearest)
{
    struct tsc_ratio r;

    for (unsigned f = 0; f < FRACTIONS; f++)
        for (unsigned from = 0; from < RATES; from++)
            for (unsigned to = 0; to < RATES; to++) {
                unsigned __int128 wanted = (unsigned __int128)rates[to] << fractions[f];
                bool fits = (wanted + rates[from] / 2) / rates[from] >> (fractions[f] + 8) == 0;

                ck_assert_int_eq(tsc_ratio_make(&r, rates[from], rates[to], fractions[f]), fits);
                if (!fits)
                    continue;
                ck_assert_uint_eq(r.fraction, fractions[f]);
                if (from == to) {
                    ck_assert_uint_eq(r.multiplier, 0);
                    continue;
                }
                unsigned __int128 is = (unsigned __int128)r.multiplier * rates[from];
                ck_assert((is > wanted ? is - wanted : wanted - is) * 2 <= rates[from]);
            }
}
END_TEST

START_TEST(limits)
{
    struct tsc_ratio r = {1, 2};

    for (unsigned f = 0; f < FRACTIONS; f++) {
        ck_assert(!tsc_ratio_make(&r, 1000, 256000, fractions[f]));
        ck_assert(!tsc_ratio_make(&r, 1, UINT64_MAX, fractions[f]));
        ck_assert(!tsc_ratio_make(&r, 1000, 0, fractions[f]));
        ck_assert(!tsc_ratio_make(&r, UINT64_MAX, 1, fractions[f]));
    }
    ck_assert(r.multiplier == 1 && r.fraction == 2);
    ck_assert(tsc_ratio_make(&r, 1000, 255999, 32));
    ck_assert_uint_eq(r.multiplier, ((UINT64_C(255999) << 32) + 500) / 1000);
    ck_assert(tsc_ratio_make(&r, 3, 2, 48)); // .67 of the last bit
    ck_assert_uint_eq(r.multiplier, 187649984473771);
    ck_assert(tsc_ratio_make(&r, 3, 1, 48)); // .33
    ck_assert_uint_eq(r.multiplier, 93824992236885);
    ck_assert(tsc_ratio_make(&r, 1000000007, 1000000006, 48) && r.multiplier != 0);
}
END_TEST

START_TEST(applied)
{
    const struct tsc_ratio half = {UINT64_C(1) << 47, 48}, threefold = {UINT64_C(3) << 32, 32};

    ck_assert_uint_eq(tsc_ratio_apply(&half, 0), 0);
    ck_assert_uint_eq(tsc_ratio_apply(&half, 7), 3);
    ck_assert_uint_eq(tsc_ratio_apply(&half, UINT64_MAX), UINT64_MAX >> 1);
    ck_assert_uint_eq(tsc_ratio_apply(&threefold, 5), 15);
    // The low 64 bits, as a TSC that has gone round.
    ck_assert_uint_eq(tsc_ratio_apply(&threefold, UINT64_MAX), UINT64_MAX - 2);
}
END_TEST

static uint64_t random64(void)
{
    return (uint64_t)(unsigned)rand() << 62 ^ (uint64_t)(unsigned)rand() << 31 ^ (unsigned)rand();
}

// From any TSC: never before the guest's has gone on so far, and at most a tick of either after.
START_TEST(reached)
{
    struct tsc_ratio r;

    srand(1);
    for (unsigned i = 0; i < 200000; i++) {
        uint64_t from = rates[(unsigned)rand() % RATES], to = rates[(unsigned)rand() % RATES];
        uint64_t now = random64() >> 10, ticks = random64() >> (16 + (unsigned)rand() % 48);

        if (!tsc_ratio_make(&r, from, to, fractions[i % FRACTIONS]) || !r.multiplier)
            continue;
        uint64_t start = tsc_ratio_apply(&r, now), after = tsc_ratio_reach(&r, ticks);
        if (after == UINT64_MAX)
            continue;
        ck_assert_uint_ge(tsc_ratio_apply(&r, now + after) - start, ticks);
        if (after > 2)
            ck_assert_uint_le(tsc_ratio_apply(&r, now + after - 2) - start, ticks);
    }
}
END_TEST

START_TEST(never_reached)
{
    const struct tsc_ratio tiny = {1, 48}, half = {UINT64_C(1) << 47, 48},
                           least = {UINT64_C(1) << 48 | 1, 48};

    ck_assert_uint_eq(tsc_ratio_reach(&tiny, 1), UINT64_C(1) << 48);
    ck_assert_uint_eq(tsc_ratio_reach(&tiny, 1 << 16), UINT64_MAX);
    ck_assert_uint_eq(tsc_ratio_reach(&half, UINT64_C(1) << 62), UINT64_C(1) << 63);
    ck_assert_uint_eq(tsc_ratio_reach(&half, UINT64_C(1) << 63), UINT64_MAX);
    ck_assert_uint_lt(tsc_ratio_reach(&least, UINT64_MAX), UINT64_MAX);
    ck_assert_uint_eq(tsc_ratio_reach(&least, 0), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tsc_ratio");
    TCase *tests = tcase_create("all");

    tcase_add_test(tests, nearest);
    tcase_add_test(tests, limits);
    tcase_add_test(tests, applied);
    tcase_add_test(tests, reached);
    tcase_add_test(tests, never_reached);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
