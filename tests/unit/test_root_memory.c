// SPDX-License-Identifier: BSD-2-Clause-Patent
// Layout of a child's memory.
#include "root/memory.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define MIB  UINT64_C(0x100000)
#define GIB  (1024 * MIB)
#define HOST ((void *)(UINT64_C(1) << 40)) // never dereferenced

static struct guest_memory memory;

static void setup(void)
{
    memset(&memory, 0, sizeof memory);
}

START_TEST(test_small)
{
    ck_assert(guest_memory_add(&memory, HOST, 5 * MIB));
    ck_assert_uint_eq(memory.count, 1);
    ck_assert_uint_eq(memory.piece[0].gpa, 0);
    ck_assert_uint_eq(memory.size, 5 * MIB);
    ck_assert_uint_eq(guest_acpi_gpa(&memory), 5 * MIB - GUEST_ACPI_SIZE);
    ck_assert_uint_eq(guest_memory_end(&memory), 4 * GIB);
}
END_TEST

START_TEST(test_around_the_hole)
{
    ck_assert(guest_memory_add(&memory, HOST, 5 * GIB));
    ck_assert_uint_eq(memory.count, 2);
    ck_assert_uint_eq(memory.piece[0].size, 3 * GIB);
    ck_assert_uint_eq(memory.piece[1].gpa, 4 * GIB);
    ck_assert_uint_eq(memory.piece[1].size, 2 * GIB);
    ck_assert_ptr_eq(memory.piece[1].host, (uint8_t *)HOST + 3 * GIB);
    ck_assert_uint_eq(guest_acpi_gpa(&memory), 3 * GIB - GUEST_ACPI_SIZE);
    ck_assert_uint_eq(guest_memory_end(&memory), 6 * GIB);
    ck_assert_ptr_null(guest_memory_find(&memory, 3 * GIB));
    ck_assert_ptr_null(guest_memory_find(&memory, 4 * GIB - 1));
    ck_assert_ptr_eq(guest_memory_find(&memory, 4 * GIB), &memory.piece[1]);
    ck_assert_ptr_null(guest_memory_find(&memory, 6 * GIB));
    ck_assert_ptr_null(guest_memory_find(&memory, UINT64_MAX));
}
END_TEST

// Memory that comes and goes does not move what is made of the size.
START_TEST(test_added_while_it_runs)
{
    ck_assert(guest_memory_add(&memory, HOST, 512 * MIB));
    ck_assert(guest_memory_add_at(&memory, 4 * GIB, (uint8_t *)HOST + GIB, 128 * MIB));
    ck_assert_uint_eq(memory.size, 512 * MIB);
    ck_assert_uint_eq(guest_memory_end(&memory), 4 * GIB);
    ck_assert_ptr_eq(guest_memory_at(&memory, 4 * GIB + MIB, MIB), (uint8_t *)HOST + GIB + MIB);
    ck_assert_ptr_null(guest_memory_at(&memory, 4 * GIB + 127 * MIB, 2 * MIB));
    guest_memory_drop_last(&memory);
    ck_assert_ptr_null(guest_memory_find(&memory, 4 * GIB));
    ck_assert_ptr_eq(guest_memory_find(&memory, MIB), &memory.piece[0]);
}
END_TEST

START_TEST(test_exactly_to_the_hole_and_on)
{
    ck_assert(guest_memory_add(&memory, HOST, 3 * GIB));
    ck_assert_uint_eq(memory.count, 1);
    ck_assert_uint_eq(guest_memory_end(&memory), 4 * GIB);
    ck_assert(guest_memory_add(&memory, (uint8_t *)HOST + 8 * GIB, 2 * MIB));
    ck_assert(guest_memory_add(&memory, (uint8_t *)HOST + 9 * GIB, 2 * MIB));
    ck_assert_uint_eq(memory.piece[1].gpa, 4 * GIB);
    ck_assert_uint_eq(memory.piece[2].gpa, 4 * GIB + 2 * MIB);
    ck_assert_uint_eq(guest_memory_end(&memory), 4 * GIB + 4 * MIB);
}
END_TEST

START_TEST(test_too_many_pieces)
{
    for (unsigned i = 0; i < LOAD_RAM_MAX; i++) {
        ck_assert(guest_memory_add(&memory, HOST, 2 * MIB));
    }
    ck_assert(!guest_memory_add(&memory, HOST, 2 * MIB));
    ck_assert_uint_eq(memory.size, LOAD_RAM_MAX * 2 * MIB);
}
END_TEST

START_TEST(test_at)
{
    ck_assert(guest_memory_add(&memory, HOST, 2 * MIB));
    ck_assert(guest_memory_add(&memory, (uint8_t *)HOST + GIB, MIB));
    ck_assert_ptr_eq(guest_memory_at(&memory, 0x1234, 8), (uint8_t *)HOST + 0x1234);
    ck_assert_ptr_eq(guest_memory_at(&memory, 2 * MIB + 4, 4), (uint8_t *)HOST + GIB + 4);
    ck_assert_ptr_nonnull(guest_memory_at(&memory, 2 * MIB - 8, 8));
    ck_assert_ptr_null(guest_memory_at(&memory, 2 * MIB - 7, 8)); // into another piece
    ck_assert_ptr_nonnull(guest_memory_at(&memory, 3 * MIB - 1, 1));
    ck_assert_ptr_null(guest_memory_at(&memory, 3 * MIB - 1, 2));
    ck_assert_ptr_null(guest_memory_at(&memory, 3 * MIB, 1));
    ck_assert_ptr_null(guest_memory_at(&memory, 8, UINT64_MAX));
}
END_TEST

START_TEST(test_runs)
{
    const struct load_ram piece = {4 * MIB, 5 * MIB, (uint8_t *)HOST + 6 * MIB};
    struct guest_run large, small;
    const uint64_t own = (uintptr_t)piece.host >> 12;

    guest_piece_runs(&piece, &large, &small);
    ck_assert(large.large);
    ck_assert_uint_eq(large.gpa_page, 0x400);
    ck_assert_uint_eq(large.own_page, own);
    ck_assert_uint_eq(large.count, 2);
    ck_assert(!small.large);
    ck_assert_uint_eq(small.gpa_page, 0x800);
    ck_assert_uint_eq(small.own_page, own + 0x400);
    ck_assert_uint_eq(small.count, 0x100);
}
END_TEST

START_TEST(test_touch)
{
    const struct load_ram piece = {4 * MIB, 5 * MIB, (uint8_t *)HOST + 6 * MIB};
    const uint64_t own = (uintptr_t)piece.host >> 12;
    struct guest_run run = guest_touch_run(&memory, &piece, 7 * MIB + 0x5678, true);

    ck_assert(run.large);
    ck_assert_uint_eq(run.gpa_page, 0x600);
    ck_assert_uint_eq(run.own_page, own + 0x200);
    ck_assert_uint_eq(run.count, 1);
    run = guest_touch_run(&memory, &piece, 7 * MIB + 0x5678, false);
    ck_assert(!run.large);
    ck_assert_uint_eq(run.gpa_page, 0x705);
    ck_assert_uint_eq(run.own_page, own + 0x305);
    run = guest_touch_run(&memory, &piece, 8 * MIB + 0x5678, true); // the rest is no large page
    ck_assert(!run.large);
    ck_assert_uint_eq(run.gpa_page, 0x805);
    ck_assert_uint_eq(run.own_page, own + 0x405);
}
END_TEST

// ---- blocks that move --------------------------------------------------------------------------

#define ELSEWHERE ((uint8_t *)HOST + 100 * MIB)

START_TEST(test_moved)
{
    uint8_t *moved[8] = {NULL};

    ck_assert(guest_memory_add(&memory, HOST, 9 * MIB));
    ck_assert(!guest_block_may_move(&memory, 0)); // nobody keeps track
    guest_memory_track(&memory, moved, 8);
    ck_assert(guest_block_may_move(&memory, 7 * MIB + 5));
    ck_assert(!guest_block_may_move(&memory, 8 * MIB)); // half a block
    ck_assert(!guest_block_may_move(&memory, 10 * MIB));
    ck_assert_ptr_eq(guest_block(&memory, 3 * MIB), (uint8_t *)HOST + 2 * MIB);
    ck_assert_ptr_null(guest_block(&memory, 10 * MIB));

    guest_block_move(&memory, 3 * MIB, NULL);
    ck_assert(guest_block_is_away(&memory, 2 * MIB));
    ck_assert(!guest_block_is_away(&memory, 4 * MIB));
    ck_assert_ptr_null(guest_block(&memory, 2 * MIB));
    ck_assert_ptr_null(guest_memory_at(&memory, 3 * MIB, 1));
    ck_assert_ptr_null(guest_memory_at(&memory, 2 * MIB - 1, 2));
    ck_assert_ptr_null(guest_memory_at(&memory, 0, 9 * MIB));
    ck_assert_ptr_nonnull(guest_memory_at(&memory, 2 * MIB - 1, 1));
    ck_assert_ptr_nonnull(guest_memory_at(&memory, 4 * MIB, 5 * MIB));

    guest_block_move(&memory, 2 * MIB, ELSEWHERE);
    ck_assert(!guest_block_is_away(&memory, 2 * MIB));
    ck_assert_ptr_eq(guest_block(&memory, 4 * MIB - 1), ELSEWHERE);
    ck_assert_ptr_eq(guest_memory_at(&memory, 3 * MIB, MIB), ELSEWHERE + MIB);
    ck_assert_ptr_null(guest_memory_at(&memory, 3 * MIB, MIB + 1));
    ck_assert_ptr_null(guest_memory_at(&memory, 2 * MIB - 1, 2));
    const struct guest_run run = guest_touch_run(&memory, memory.piece, 3 * MIB + 0x5678, false);
    ck_assert_uint_eq(run.gpa_page, 0x305);
    ck_assert_uint_eq(run.own_page, ((uintptr_t)ELSEWHERE + MIB + 0x5000) >> 12);

    ck_assert(guest_memory_add_at(&memory, 12 * MIB, HOST, 2 * MIB));
    ck_assert_uint_eq(memory.fixed, 1);
    guest_block_move(&memory, 12 * MIB, ELSEWHERE);
    guest_memory_drop_last(&memory);
    ck_assert_ptr_null(moved[6]);
    ck_assert_ptr_eq(moved[1], ELSEWHERE);
    guest_memory_drop_last(&memory);
    ck_assert_ptr_null(moved[1]);
    ck_assert_uint_eq(memory.fixed, 0);
    ck_assert_uint_eq(memory.size, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("root_memory");
    TCase *tcase = tcase_create("all");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, test_small);
    tcase_add_test(tcase, test_around_the_hole);
    tcase_add_test(tcase, test_added_while_it_runs);
    tcase_add_test(tcase, test_exactly_to_the_hole_and_on);
    tcase_add_test(tcase, test_too_many_pieces);
    tcase_add_test(tcase, test_at);
    tcase_add_test(tcase, test_runs);
    tcase_add_test(tcase, test_touch);
    tcase_add_test(tcase, test_moved);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
