// SPDX-License-Identifier: BSD-2-Clause-Patent
// The hypervisor's own page tables against a model of what is mapped.
#include "fake_phys.h"

#include <signal.h>

#include "corbel/hvmap.h"
#include "hv/status.h"

#define PAGES 1536u
#define NX    (1ul << 63)

static struct pool pool;
static struct hv_space space;
static uint64_t root_pa;
static uint64_t model[PAGES]; // entry without address mask, 0: not mapped

static void setup(void)
{
    fake_phys_setup();
    pool_init(&pool);
    pool_deposit(&pool, FAKE_PHYS_BASE, 64);
    root_pa = virt_to_phys(pool_alloc(&pool));
    hv_space_init(&space, root_pa, &pool);
    memset(model, 0, sizeof(model));
}

// Three areas: the start of the direct map, its next table, and the windows.
static uint64_t va_of(uint64_t page)
{
    static const uint64_t base[] = {HV_DIRECT_BASE, HV_DIRECT_BASE + LARGE_PAGE_SIZE,
                                    HV_WINDOW_BASE};

    return base[page / 512] + page % 512 * PAGE_SIZE;
}

// The processor's walk: the last entry, or 0; rights of the upper levels are in it.
static uint64_t hw_entry(uint64_t va)
{
    uint64_t table = root_pa;
    uint64_t entry = 0;
    bool write = true;
    bool execute = true;

    for (int shift = 39; shift >= 12; shift -= 9) {
        entry = ((uint64_t *)phys_to_virt(table))[va >> shift & 511];
        if ((entry & 1) == 0)
            return 0;
        must((entry & 4) == 0); // never a user page: SMEP and SMAP are on
        write = write && (entry & 2) != 0;
        execute = execute && (entry & NX) == 0;
        table = entry & 0xffffffffff000;
        if (shift > 12 && (entry & 0x80) != 0)
            break;
    }
    must(!write || !execute);
    return (entry & 0xffffffffff018) | 1 | (write ? 2 : 0) | (execute ? 0 : NX);
}

static uint64_t expected(uint64_t pa, uint32_t rights)
{
    return pa | 1 | (rights & HV_PAGE_WRITE ? 2 : 0) | (rights & HV_PAGE_EXECUTE ? 0 : NX) |
           (rights & HV_PAGE_UNCACHED ? 0x18 : 0);
}

static void random_step(void)
{
    static const uint32_t rights[] = {HV_PAGE_READ, HV_PAGE_WRITE, HV_PAGE_EXECUTE,
                                      HV_PAGE_WRITE | HV_PAGE_UNCACHED};
    uint64_t page = random_below(PAGES);
    uint64_t pa = random_below(1ul << 40) << 12;
    uint32_t how = rights[random_below(4)];

    if (random_below(2) == 0) {
        uint16_t status = hv_map_page(&space, va_of(page), pa, how);

        must_equal(status, model[page] != 0 ? HV_STATUS_OBJECT_IN_USE : HV_STATUS_SUCCESS);
        if (model[page] == 0)
            model[page] = expected(pa, how);
    } else {
        must_equal(hv_unmap_page(&space, va_of(page)),
                   model[page] != 0 ? HV_STATUS_SUCCESS : HV_STATUS_NOT_FOUND);
        model[page] = 0;
    }
    must_equal(hw_entry(va_of(page)), model[page]);
}

START_TEST(random_against_model)
{
    for (int i = 0; i < 50000; i++) {
        random_step();
        if (i % 500 != 0)
            continue;
        for (uint64_t page = 0; page < PAGES; page++)
            must_equal(hw_entry(va_of(page)), model[page]);
    }
    // The root, two of the third level, two of the second, three of the first.
    ck_assert_uint_eq(pool_balance(&pool).in_use, 8);
}
END_TEST

START_TEST(out_of_tables)
{
    void *spare = NULL;
    void *page;

    while ((page = pool_alloc(&pool)) != NULL)
        spare = page;
    ck_assert_uint_eq(hv_map_page(&space, HV_DIRECT_BASE, 0x1000, HV_PAGE_WRITE),
                      HV_STATUS_INSUFFICIENT_ROOT_MEMORY);
    pool_free(&pool, spare);
    ck_assert_uint_eq(hv_map_page(&space, HV_DIRECT_BASE, 0x1000, HV_PAGE_WRITE),
                      HV_STATUS_INSUFFICIENT_ROOT_MEMORY);
    ck_assert_uint_eq(hw_entry(HV_DIRECT_BASE), 0);
    ck_assert_uint_eq(hv_unmap_page(&space, HV_DIRECT_BASE), HV_STATUS_NOT_FOUND);
    pool_deposit(&pool, FAKE_PHYS_BASE + 100 * PAGE_SIZE, 2);
    ck_assert_uint_eq(hv_map_page(&space, HV_DIRECT_BASE, 0x1000, HV_PAGE_WRITE), 0);
    ck_assert_uint_eq(hw_entry(HV_DIRECT_BASE), expected(0x1000, HV_PAGE_WRITE));
    ck_assert_uint_eq(pool_balance(&pool).available, 0);
}
END_TEST

// The loader maps the block in large pages: they are not touched.
START_TEST(large_pages_are_left_alone)
{
    uint64_t *pd;

    ck_assert_uint_eq(hv_map_page(&space, HV_DIRECT_BASE, 0x1000, HV_PAGE_WRITE), 0);
    pd = phys_to_virt(root_pa);
    pd = phys_to_virt(pd[HV_DIRECT_BASE >> 39 & 511] & PAGE_MASK);
    pd = phys_to_virt(pd[0] & PAGE_MASK);
    pd[1] = 0x200000 | NX | 0x83;
    ck_assert_uint_eq(hv_map_page(&space, HV_DIRECT_BASE + 0x201000, 0x5000, HV_PAGE_WRITE),
                      HV_STATUS_OBJECT_IN_USE);
    ck_assert_uint_eq(hv_unmap_page(&space, HV_DIRECT_BASE + 0x201000), HV_STATUS_OPERATION_DENIED);
    ck_assert_uint_eq(pd[1], 0x200000 | NX | 0x83);
}
END_TEST

START_TEST(writable_and_executable_stops)
{
    hv_map_page(&space, HV_DIRECT_BASE, 0x1000, HV_PAGE_WRITE | HV_PAGE_EXECUTE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hvmap");
    TCase *tests = tcase_create("hvmap");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, fake_phys_teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, random_against_model);
    tcase_add_test(tests, out_of_tables);
    tcase_add_test(tests, large_pages_are_left_alone);
    tcase_add_test_raise_signal(tests, writable_and_executable_stops, SIGILL);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
