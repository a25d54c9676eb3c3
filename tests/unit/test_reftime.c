// SPDX-License-Identifier: BSD-2-Clause-Patent
// Reference time: scale, inverse, page contents and the guest's way of reading the page.
#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

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

// Time that was held goes on from where it stood; durations do not notice.
START_TEST(held_and_going_on)
{
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        const uint64_t start = UINT64_C(123456789012345), second = rates[i];
        struct reftime r;
        uint64_t stood;

        reftime_init(&r, rates[i], start);
        ck_assert(!reftime_held(&r));
        stood = reftime_at(&r, start + second);
        reftime_hold(&r, start + second);
        ck_assert(reftime_held(&r));
        ck_assert_uint_eq(reftime_at(&r, start + second), stood);
        ck_assert_uint_eq(reftime_at(&r, start + 9 * second), stood);
        ck_assert_uint_eq(reftime_to_tsc(&r, stood + 1), UINT64_MAX);
        ck_assert_uint_ne(reftime_ticks(&r, 1000), UINT64_MAX);
        reftime_go_on(&r, start + 10 * second);
        ck_assert(!reftime_held(&r));
        ck_assert_uint_eq(reftime_at(&r, start + 10 * second), stood + 1);
        ck_assert_uint_ge(reftime_at(&r, start + 11 * second), stood + 10000000);
        ck_assert_uint_le(reftime_at(&r, start + 11 * second), stood + 10000002);
        uint64_t tsc = reftime_to_tsc(&r, stood + 5000);
        ck_assert_uint_ge(reftime_at(&r, tsc), stood + 5000);
        ck_assert_uint_lt(reftime_at(&r, tsc - 1), stood + 5000);
        reftime_hold(&r, start + 12 * second);
        reftime_set(&r, 777);
        ck_assert_uint_eq(reftime_at(&r, start + 13 * second), 777);
        reftime_go_on(&r, start + 14 * second);
        ck_assert_uint_eq(reftime_at(&r, start + 14 * second), 778);
        ck_assert(r.begun == 5 && r.complete == 5);
    }
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

// The page lies across two memory pages so that the store to the offset faults, and the handler
// sees what a guest could see at that moment: scale new, offset old, so the sequence must say
// invalid.
static struct hv_reference_tsc_page *split;
static volatile sig_atomic_t faults, sequence_seen, scale_was_new;

static void between_the_fields(int number)
{
    (void)number;
    faults++;
    sequence_seen = (sig_atomic_t)split->tsc_sequence;
    scale_was_new = split->tsc_scale == 2222;
    mprotect((char *)split + 16, HV_PAGE_SIZE, PROT_READ | PROT_WRITE);
}

START_TEST(readers_never_see_a_mixture)
{
    struct reftime r = {.scale = 1111, .offset = -1111};
    struct sigaction action = {.sa_handler = between_the_fields};
    char *area =
        mmap(NULL, 3 * HV_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    ck_assert(area != MAP_FAILED);
    split = (struct hv_reference_tsc_page *)(area + HV_PAGE_SIZE - 16);
    reftime_publish(&r, split);
    ck_assert_uint_eq(split->tsc_sequence, 1);
    ck_assert_int_eq(sigaction(SIGSEGV, &action, NULL), 0);
    ck_assert_int_eq(mprotect(area + HV_PAGE_SIZE, HV_PAGE_SIZE, PROT_NONE), 0);
    r.scale = 2222;
    r.offset = -2222;
    reftime_publish(&r, split);
    ck_assert_int_eq(faults, 1);
    ck_assert_int_eq(scale_was_new, 1);
    ck_assert_int_eq(sequence_seen, 0);
    ck_assert_uint_eq(split->tsc_sequence, 2);
    ck_assert_int_eq(split->tsc_offset, -2222);
    munmap(area, 3 * HV_PAGE_SIZE);
}
END_TEST

// A guest's time is set with its TSC: it is exactly that, goes on from there, or stands there.
START_TEST(restored)
{
    static struct hv_reference_tsc_page page;
    struct reftime r;
    uint64_t one = 2893456789u;

    reftime_init(&r, one, 12345);
    reftime_publish(&r, &page);
    for (uint32_t i = 0; i < 1000; i++) {
        uint64_t tsc = one * i * 7 + i, time = UINT64_C(864000000000) * (999 - i) + i;
        reftime_restore(&r, tsc, time, i + 10);
        ck_assert_uint_eq(reftime_at(&r, tsc), time);
        ck_assert_uint_ge(reftime_at(&r, tsc + one), time + HV_REFERENCE_TIME_HZ - 1);
        ck_assert_uint_le(reftime_to_tsc(&r, time), tsc);
        reftime_publish(&r, &page);
        ck_assert_uint_eq(page.tsc_sequence, i + 11);
        ck_assert_int_eq(page.tsc_offset, r.offset);
    }
    reftime_hold(&r, one);
    reftime_restore(&r, 5, 777, 3);
    ck_assert(reftime_held(&r));
    ck_assert_uint_eq(reftime_at(&r, one * 100), 777);
    reftime_go_on(&r, one * 100);
    ck_assert_uint_eq(reftime_at(&r, one * 100), 778);
    ck_assert_uint_eq(atomic_load(&r.begun), atomic_load(&r.complete));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reftime");
    TCase *tc = tcase_create("reftime");
    SRunner *runner;
    int failed;

    tcase_add_test(tc, division);
    tcase_add_test(tc, scale_is_exact);
    tcase_add_test(tc, starts_at_zero);
    tcase_add_test(tc, held_and_going_on);
    tcase_add_test(tc, inverse_is_the_first_instant);
    tcase_add_test(tc, inverse_at_the_ends);
    tcase_add_test(tc, page_contents);
    tcase_add_test(tc, readers_never_see_a_mixture);
    tcase_add_test(tc, restored);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
