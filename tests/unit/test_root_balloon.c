// SPDX-License-Identifier: BSD-2-Clause-Patent
// A VM's memory that comes and goes, over a machine of a few blocks: what a balloon has taken is
// there for others, and what comes back holds nothing of theirs.
#include "root/balloon.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "root/pages.h"
#include "root/vm.h"

#define MIB    UINT64_C(0x100000)
#define BLOCK  HV_LARGE_PAGE_SIZE
#define BLOCKS 12 // of the machine
#define PAGES  (BLOCK / HV_PAGE_SIZE)

enum { RAM = 6 }; // blocks of the VM

static uint8_t *machine;
static bool taken[BLOCKS];
static uint64_t unmapped[16], mapped;
static unsigned unmaps;
static uint16_t unmap_status;
static struct vm vm;
static struct balloon balloon;
static uint64_t bitmap[16 * PAGES / 64];
static uint8_t *moved[16];

// ---- the machine -------------------------------------------------------------------------------

void *pages_large(uint64_t size)
{
    const unsigned count = (unsigned)(size / BLOCK);

    for (unsigned i = 0; i + count <= BLOCKS; i++) {
        unsigned n = 0;
        while (n < count && !taken[i + n]) {
            n++;
        }
        if (n == count) {
            memset(&taken[i], true, count);
            return machine + i * BLOCK;
        }
    }
    return NULL;
}

void pages_large_free(void *memory, uint64_t size)
{
    const uint64_t first = (uint64_t)((uint8_t *)memory - machine) / BLOCK;

    for (uint64_t i = first; i < first + size / BLOCK; i++) {
        ck_assert_uint_lt(i, BLOCKS);
        ck_assert(taken[i]);
        taken[i] = false;
    }
}

static unsigned left(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < BLOCKS; i++) {
        n += !taken[i];
    }
    return n;
}

uint16_t call_unmap_block(struct account *account, uint64_t gpa_page)
{
    ck_assert_ptr_eq(account, &vm.account);
    if (unmap_status == HV_STATUS_SUCCESS) {
        unmapped[unmaps++] = gpa_page;
    }
    return unmap_status;
}

uint16_t call_map(struct account *account, uint64_t gpa_page, uint64_t own_page, uint64_t count,
                  uint32_t flags)
{
    (void)account;
    (void)gpa_page;
    (void)own_page;
    (void)flags;
    mapped += count;
    return HV_STATUS_SUCCESS;
}

// ---- a VM of 6 blocks --------------------------------------------------------------------------

static void setup(void)
{
    machine = aligned_alloc(BLOCK, BLOCKS * BLOCK);
    memset(machine, 0xee, BLOCKS * BLOCK);
    memset(taken, 0, sizeof taken);
    memset(&vm, 0, sizeof vm);
    memset(&balloon, 0, sizeof balloon);
    memset(bitmap, 0, sizeof bitmap);
    memset(moved, 0, sizeof moved);
    unmaps = 0;
    mapped = 0;
    unmap_status = HV_STATUS_SUCCESS;
    balloon.vm = &vm;
    balloon.dynmem.config.bitmap = bitmap;
    balloon.dynmem.config.pages = 16 * PAGES;
    vm.conf.memory = RAM * BLOCK / MIB;
    ck_assert_uint_eq(vm_allocate(&vm), 0);
    guest_memory_track(&vm.memory, moved, 16);
}

static void teardown(void)
{
    free(machine);
}

// What the guest gives up; the library has set the bits by then.
static void take(uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++) {
        bitmap[i / 64] |= UINT64_C(1) << (i % 64);
    }
    balloon_taken(&balloon, first, count);
}

static void give(uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++) {
        bitmap[i / 64] &= ~(UINT64_C(1) << (i % 64));
    }
    balloon_given(&balloon, first, count);
}

START_TEST(whole_blocks_go_back_to_the_machine)
{
    take(PAGES + 1, 3 * PAGES);   // blocks 2 and 3, parts of 1 and 4
    ck_assert_uint_eq(unmaps, 0); // only when nobody holds a pointer
    ck_assert(!balloon_sweep(&balloon));
    ck_assert_uint_eq(unmaps, 2);
    ck_assert_uint_eq(unmapped[0], 2 * PAGES);
    ck_assert_uint_eq(unmapped[1], 3 * PAGES);
    ck_assert_uint_eq(left(), BLOCKS - RAM + 2);
    ck_assert_uint_eq(balloon.returned, 2 * PAGES);
    ck_assert_ptr_null(guest_memory_at(&vm.memory, 2 * BLOCK, 1));
    ck_assert_ptr_nonnull(guest_memory_at(&vm.memory, 4 * BLOCK, 1));
    take(PAGES, 1); // completes block 1
    ck_assert(!balloon_sweep(&balloon));
    ck_assert_uint_eq(unmaps, 3);
    ck_assert_uint_eq(unmapped[2], PAGES);
    ck_assert(!balloon_sweep(&balloon));
    ck_assert_uint_eq(unmaps, 3);
}
END_TEST

START_TEST(what_is_still_mapped_stays)
{
    unmap_status = HV_STATUS_INSUFFICIENT_MEMORY;
    take(0, PAGES);
    ck_assert(!balloon_sweep(&balloon));
    ck_assert_uint_eq(left(), BLOCKS - RAM);
    ck_assert_ptr_nonnull(guest_memory_at(&vm.memory, 0, 1));
}
END_TEST

START_TEST(what_comes_back_is_zero)
{
    take(PAGES, 2 * PAGES);
    balloon_sweep(&balloon);
    memset(machine, 0x5a, BLOCKS * BLOCK); // another VM's
    void *other = pages_large(BLOCK);
    give(PAGES + 5, 1);
    const uint8_t *at = guest_memory_at(&vm.memory, BLOCK, BLOCK);
    ck_assert_ptr_nonnull(at);
    ck_assert_ptr_ne(at, other);
    uint64_t bad = 0;
    for (uint64_t i = 0; i < BLOCK; i++) {
        bad += at[i] != 0;
    }
    ck_assert_uint_eq(bad, 0);
    ck_assert_uint_eq(balloon.returned, PAGES);
    ck_assert_ptr_null(guest_memory_at(&vm.memory, 2 * BLOCK, 1));
    ck_assert(balloon_back(&balloon, 2 * BLOCK + 77)); // a touch of what it has given up
    ck_assert_ptr_nonnull(guest_memory_at(&vm.memory, 2 * BLOCK, 1));
    ck_assert_uint_eq(balloon.returned, 0);
    ck_assert(balloon_back(&balloon, 2 * BLOCK)); // it is there
}
END_TEST

START_TEST(others_may_have_it_by_then)
{
    take(0, 2 * PAGES);
    balloon_sweep(&balloon);
    ck_assert(balloon_can_give(&balloon, 2 * PAGES));
    ck_assert_uint_eq(left(), BLOCKS - RAM + 2); // it only looks
    while (pages_large(BLOCK)) {
    }
    ck_assert(!balloon_can_give(&balloon, 1));
    ck_assert(!balloon_back(&balloon, 0));
    give(0, 2 * PAGES);
    ck_assert(guest_block_is_away(&vm.memory, 0));
    ck_assert_uint_eq(balloon.returned, 2 * PAGES);
    pages_large_free(machine + 3 * BLOCK, BLOCK);
    ck_assert(balloon_back(&balloon, 1)); // at its touch
    ck_assert_ptr_eq(guest_memory_at(&vm.memory, 0, 1), machine + 3 * BLOCK);
}
END_TEST

START_TEST(memory_is_added_from_scattered_blocks)
{
    for (unsigned i = RAM; i < BLOCKS; i += 2) {
        taken[i] = true; // 3 blocks are left, no two of them together
    }
    ck_assert(balloon_add(&balloon, 10 * BLOCK, 2 * BLOCK));
    ck_assert_uint_eq(mapped, 0);
    ck_assert_uint_eq(left(), 1);
    const uint8_t *first = guest_memory_at(&vm.memory, 10 * BLOCK, BLOCK);
    const uint8_t *second = guest_memory_at(&vm.memory, 11 * BLOCK, BLOCK);
    ck_assert_ptr_eq(first, machine + 7 * BLOCK);
    ck_assert_ptr_eq(second, machine + 9 * BLOCK);
    ck_assert_uint_eq(first[5] | second[BLOCK - 1], 0);
    ck_assert(!balloon_add(&balloon, 12 * BLOCK, 2 * BLOCK)); // one is not enough
    ck_assert_uint_eq(left(), 1);
    ck_assert_ptr_null(moved[12]);
    vm_free(&vm, vm.memory.fixed);
    ck_assert_uint_eq(left(), 3);
    ck_assert(balloon_add(&balloon, 10 * BLOCK, BLOCK));
    ck_assert_uint_eq(mapped, 1);
}
END_TEST

START_TEST(all_of_it_goes_back_once)
{
    take(0, 3 * PAGES);
    balloon_sweep(&balloon);
    give(PAGES, PAGES);
    vm_free(&vm, 0);
    ck_assert_uint_eq(left(), BLOCKS);
    ck_assert_uint_eq(vm.memory.count, 0);
    ck_assert_uint_eq(vm.memory.size, 0);
    taken[0] = true;
    vm.conf.memory = BLOCKS * BLOCK / MIB;
    ck_assert_uint_eq(vm_allocate(&vm), BLOCK); // what it lacks; it keeps nothing
    ck_assert_uint_eq(left(), BLOCKS - 1);
    vm.conf.memory = 5; // the last block is half used, and goes back whole
    ck_assert_uint_eq(vm_allocate(&vm), 0);
    vm_free(&vm, 0);
    ck_assert_uint_eq(left(), BLOCKS - 1);
}
END_TEST

START_TEST(who_ends_keeps_what_it_was_started_with)
{
    ck_assert(balloon_add(&balloon, 10 * BLOCK, 2 * BLOCK));
    balloon.added = balloon.mapped = 2 * PAGES;
    ck_assert_uint_eq(left(), BLOCKS - RAM - 2);
    balloon_stopped(&balloon);
    ck_assert_uint_eq(left(), BLOCKS - RAM);
    ck_assert_uint_eq(vm.memory.size, RAM * BLOCK);
    ck_assert_ptr_eq(guest_memory_at(&vm.memory, 0, RAM * BLOCK), machine);
    ck_assert_uint_eq(balloon.added + balloon.mapped, 0);
    balloon_stopped(&balloon); // once more changes nothing
    ck_assert_uint_eq(left(), BLOCKS - RAM);
}
END_TEST

// Reset while another VM has what it gave up: it cannot start until that is back.
START_TEST(who_gave_up_memory_starts_when_it_is_there_again)
{
    take(PAGES, 2 * PAGES);
    ck_assert(!balloon_sweep(&balloon));
    uint8_t *others[BLOCKS];
    unsigned n = 0;
    while ((others[n] = pages_large(BLOCK))) {
        n++;
    }
    ck_assert_uint_eq(n, BLOCKS - RAM + 2);
    balloon_stopped(&balloon);
    ck_assert_uint_eq(vm.memory.count, 0);
    ck_assert_uint_eq(left(), RAM - 2);
    ck_assert_uint_eq(vm_allocate(&vm), 2 * BLOCK); // what it lacks
    ck_assert_uint_eq(vm.memory.count, 0);
    ck_assert_uint_eq(left(), RAM - 2);
    pages_large_free(others[n - 1], BLOCK);
    ck_assert_uint_eq(vm_allocate(&vm), BLOCK);
    pages_large_free(others[n - 3], BLOCK);
    ck_assert_uint_eq(vm_allocate(&vm), 0);
    ck_assert_uint_eq(left(), 0);
    ck_assert_uint_eq(vm.memory.size, RAM * BLOCK);
    for (uint64_t gpa = 0; gpa < RAM * BLOCK; gpa += BLOCK) { // none is away, all are its own
        uint8_t *at = guest_memory_at(&vm.memory, gpa, BLOCK);
        ck_assert_ptr_nonnull(at);
        ck_assert(taken[(at - machine) / (ptrdiff_t)BLOCK]);
        ck_assert_uint_ne(*at, 1);
        *at = 1;
    }
    ck_assert_uint_eq(balloon.returned, 0);
    ck_assert(!balloon_sweep(&balloon)); // what the dead guest gave up is forgotten
    ck_assert_uint_eq(unmaps, 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("root_balloon");
    TCase *tcase = tcase_create("all");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, whole_blocks_go_back_to_the_machine);
    tcase_add_test(tcase, what_is_still_mapped_stays);
    tcase_add_test(tcase, what_comes_back_is_zero);
    tcase_add_test(tcase, others_may_have_it_by_then);
    tcase_add_test(tcase, memory_is_added_from_scattered_blocks);
    tcase_add_test(tcase, all_of_it_goes_back_once);
    tcase_add_test(tcase, who_ends_keeps_what_it_was_started_with);
    tcase_add_test(tcase, who_gave_up_memory_starts_when_it_is_there_again);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
