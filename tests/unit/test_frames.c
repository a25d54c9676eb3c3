// SPDX-License-Identifier: BSD-2-Clause-Patent
// The machine frame table against a model of every frame.
#include "fake_phys.h"

#include <signal.h>

#include "corbel/frames.h"
#include "hv/status.h"

#define FRAMES     (10u * 512) // the model covers 20 MiB
#define MAX_USES   0xfffdu
#define REGION(pa) ((pa) & ~(LARGE_PAGE_SIZE - 1))

// 0-640K, 1 MiB-9 MiB+12K, 10 MiB-20 MiB less half a page at each end.
static const struct launch_range ram[] = {
    {0, 0xa0000},
    {0x100000, 0x803000},
    {0xa00800, 0x9ff000},
};

static struct pool pool;
static struct frames frames;

static struct {
    bool ram;
    bool owned;
    uint32_t uses;
} model[FRAMES];
static uint32_t model_large[FRAMES / 512];

static uint64_t at(uint64_t frame)
{
    return frame * PAGE_SIZE;
}

static void setup(void)
{
    fake_phys_setup();
    pool_init(&pool);
    pool_deposit(&pool, FAKE_PHYS_BASE, 64);
    ck_assert_uint_eq(frames_init(&frames, ram, 3, &pool), HV_STATUS_SUCCESS);
    memset(model, 0, sizeof(model));
    memset(model_large, 0, sizeof(model_large));
    for (unsigned i = 0; i < FRAMES; i++)
        model[i].ram = i < 0xa0 || (i >= 0x100 && i < 0x903) || (i >= 0xa01 && i < 0x13ff);
}

static void check_all(void)
{
    for (unsigned i = 0; i < FRAMES; i++) {
        uint32_t uses = model_large[i / 512] + model[i].uses;

        must_equal(frames_uses(&frames, at(i)), uses);
        must(frames_owned(&frames, at(i)) == model[i].owned);
    }
}

static bool region_free(unsigned region)
{
    for (unsigned i = region * 512; i < region * 512 + 512; i++) {
        if (!model[i].ram || model[i].owned)
            return false;
    }
    return true;
}

START_TEST(only_ram_is_used)
{
    static const struct {
        uint64_t pa;
        bool ram;
    } cases[] = {
        {0, true},        {0x9f000, true},     {0xa0000, false},   {0xff000, false},
        {0x100000, true}, {0x902000, true},    {0x903000, false},  {0xa00000, false},
        {0xa01000, true}, {0x13fe000, true},   {0x13ff000, false}, {0x1400000, false},
        {~0ul, false},    {0xfee00000, false}, {1ul << 51, false},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint16_t expected = cases[i].ram ? HV_STATUS_SUCCESS : HV_STATUS_OPERATION_DENIED;

        ck_assert_uint_eq(frames_map(&frames, cases[i].pa), expected);
        if (!cases[i].ram) {
            ck_assert_uint_eq(frames_own(&frames, cases[i].pa), expected);
            ck_assert_uint_eq(frames_uses(&frames, cases[i].pa), 0);
            continue;
        }
        frames_unmap(&frames, cases[i].pa);
        ck_assert_uint_eq(frames_own(&frames, cases[i].pa), expected);
        ck_assert(frames_owned(&frames, cases[i].pa));
        frames_disown(&frames, cases[i].pa);
    }
}
END_TEST

START_TEST(large_wants_whole_regions)
{
    for (unsigned region = 0; region < FRAMES / 512; region++) {
        bool whole = region_free(region);

        ck_assert(whole ==
                  (region == 1 || region == 2 || region == 3 || (region > 5 && region < 9)));
        ck_assert_uint_eq(frames_map_large(&frames, at(region * 512)),
                          whole ? HV_STATUS_SUCCESS : HV_STATUS_OPERATION_DENIED);
    }
    ck_assert_uint_eq(frames_map_large(&frames, 0x40000000), HV_STATUS_OPERATION_DENIED);
}
END_TEST

START_TEST(owned_and_mapped_exclude_each_other)
{
    const uint64_t pa = 0x200000 + 5 * PAGE_SIZE;

    ck_assert_uint_eq(frames_map_large(&frames, pa), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(frames_own(&frames, pa), HV_STATUS_OPERATION_DENIED);
    ck_assert_uint_eq(frames_map(&frames, pa), HV_STATUS_SUCCESS);
    frames_unmap_large(&frames, pa);
    ck_assert_uint_eq(frames_own(&frames, pa), HV_STATUS_OPERATION_DENIED);
    frames_unmap(&frames, pa);
    ck_assert_uint_eq(frames_own(&frames, pa), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(frames_own(&frames, pa), HV_STATUS_OPERATION_DENIED);
    ck_assert_uint_eq(frames_map(&frames, pa), HV_STATUS_OPERATION_DENIED);
    ck_assert_uint_eq(frames_map_large(&frames, pa), HV_STATUS_OPERATION_DENIED);
    ck_assert_uint_eq(frames_map(&frames, pa + PAGE_SIZE), HV_STATUS_SUCCESS);
    frames_disown(&frames, pa);
    ck_assert_uint_eq(frames_map_large(&frames, pa), HV_STATUS_SUCCESS);
}
END_TEST

START_TEST(block_is_owned_for_ever)
{
    uint64_t spent = pool_balance(&pool).in_use;

    // Regions 2 and 3 whole, without counters; then an unaligned piece at the end of RAM and
    // beyond.
    ck_assert_uint_eq(frames_own_range(&frames, 0x400000, 0x400000), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(pool_balance(&pool).in_use, spent);
    ck_assert_uint_eq(frames_own_range(&frames, 0x900fff, 0x2002), HV_STATUS_SUCCESS);
    for (uint64_t pa = 0x400000; pa < 0x800000; pa += PAGE_SIZE) {
        ck_assert(frames_owned(&frames, pa));
        ck_assert_uint_eq(frames_map(&frames, pa), HV_STATUS_OPERATION_DENIED);
        ck_assert_uint_eq(frames_own(&frames, pa), HV_STATUS_OPERATION_DENIED);
    }
    ck_assert_uint_eq(frames_map_large(&frames, 0x400000), HV_STATUS_OPERATION_DENIED);
    ck_assert(!frames_owned(&frames, 0x3ff000) && !frames_owned(&frames, 0x800000));
    ck_assert(!frames_owned(&frames, 0x8ff000) && frames_owned(&frames, 0x900000));
    ck_assert(frames_owned(&frames, 0x903000) && !frames_owned(&frames, 0x904000));
    // Counters that appear in the group later still know the block.
    ck_assert_uint_eq(frames_map(&frames, 0x200000), HV_STATUS_SUCCESS);
    ck_assert(frames_owned(&frames, 0x7ff000));
    ck_assert_uint_eq(frames_map(&frames, 0x7ff000), HV_STATUS_OPERATION_DENIED);
    ck_assert_uint_eq(frames_map_large(&frames, 0x600000), HV_STATUS_OPERATION_DENIED);
    // Beyond the table: nothing to do. Over a mapped page: refused.
    ck_assert_uint_eq(frames_own_range(&frames, 1ul << 40, 1ul << 30), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(frames_own_range(&frames, 0x1ff000, 0x2000), HV_STATUS_OPERATION_DENIED);
}
END_TEST

START_TEST(counters_do_not_wrap)
{
    const uint64_t pa = 0x200000;

    for (unsigned i = 0; i < MAX_USES; i++)
        must_equal(frames_map(&frames, pa), HV_STATUS_SUCCESS);
    must_equal(frames_map(&frames, pa), HV_STATUS_OPERATION_DENIED);
    must_equal(frames_uses(&frames, pa), MAX_USES);
    // A split would need one use more of each page.
    must_equal(frames_map_large(&frames, pa), HV_STATUS_SUCCESS);
    must_equal(frames_split(&frames, pa), HV_STATUS_OPERATION_DENIED);
    must_equal(frames_uses(&frames, pa), MAX_USES + 1);
    must_equal(frames_uses(&frames, pa + PAGE_SIZE), 1);
    frames_unmap(&frames, pa);
    must_equal(frames_split(&frames, pa), HV_STATUS_SUCCESS);
    must_equal(frames_uses(&frames, pa), MAX_USES);
    for (unsigned i = 1; i < MAX_USES; i++)
        must_equal(frames_map_large(&frames, 0x400000), HV_STATUS_SUCCESS);
    must_equal(frames_map_large(&frames, 0x400000), HV_STATUS_SUCCESS);
    must_equal(frames_map_large(&frames, 0x400000), HV_STATUS_OPERATION_DENIED);
}
END_TEST

START_TEST(out_of_memory_changes_nothing)
{
    void *spare = NULL;
    void *page;

    while ((page = pool_alloc(&pool)) != NULL)
        spare = page;
    // The last group (16 MiB up) is RAM in part and has counters; the second has a partial region
    // too. The table below is of one range of 8 MiB without any.
    static const struct launch_range whole = {0, 0x800000};
    struct frames small;
    pool_free(&pool, spare);
    ck_assert_uint_eq(frames_init(&small, &whole, 1, &pool), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(frames_map(&small, 0x1000), HV_STATUS_INSUFFICIENT_ROOT_MEMORY);
    ck_assert_uint_eq(frames_own(&small, 0x1000), HV_STATUS_INSUFFICIENT_ROOT_MEMORY);
    ck_assert(!frames_owned(&small, 0x1000));
    ck_assert_uint_eq(frames_uses(&small, 0x1000), 0);
    ck_assert_uint_eq(frames_map_large(&small, 0), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(frames_split(&small, 0), HV_STATUS_INSUFFICIENT_ROOT_MEMORY);
    ck_assert_uint_eq(frames_uses(&small, 0x1000), 1);
    frames_unmap_large(&small, 0);
    ck_assert_uint_eq(frames_init(&small, &whole, 1, &pool), HV_STATUS_INSUFFICIENT_ROOT_MEMORY);
    ck_assert_uint_eq(frames_init(&small, &whole, 0, &pool), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(frames_map(&small, 0), HV_STATUS_OPERATION_DENIED);
}
END_TEST

static void step_page(unsigned frame)
{
    bool usable = model[frame].ram && !model[frame].owned;

    switch (random_below(4)) {
    case 0:
        must_equal(frames_map(&frames, at(frame)),
                   usable ? HV_STATUS_SUCCESS : HV_STATUS_OPERATION_DENIED);
        model[frame].uses += usable;
        break;
    case 1:
        if (model[frame].uses != 0) {
            frames_unmap(&frames, at(frame));
            model[frame].uses--;
        }
        break;
    case 2:
        usable = usable && model[frame].uses == 0 && model_large[frame / 512] == 0;
        must_equal(frames_own(&frames, at(frame)),
                   usable ? HV_STATUS_SUCCESS : HV_STATUS_OPERATION_DENIED);
        model[frame].owned |= usable;
        break;
    default:
        if (model[frame].owned) {
            frames_disown(&frames, at(frame));
            model[frame].owned = false;
        }
    }
}

static void step_region(unsigned region)
{
    bool usable = region_free(region);

    switch (random_below(3)) {
    case 0:
        must_equal(frames_map_large(&frames, at(region * 512)),
                   usable ? HV_STATUS_SUCCESS : HV_STATUS_OPERATION_DENIED);
        model_large[region] += usable;
        break;
    case 1:
        if (model_large[region] != 0) {
            frames_unmap_large(&frames, at(region * 512));
            model_large[region]--;
        }
        break;
    default:
        if (model_large[region] != 0) {
            must_equal(frames_split(&frames, at(region * 512)), HV_STATUS_SUCCESS);
            model_large[region]--;
            for (unsigned i = 0; i < 512; i++)
                model[region * 512 + i].uses++;
        }
    }
}

START_TEST(random_against_model)
{
    for (int i = 0; i < 100000; i++) {
        if (random_below(8) == 0)
            step_region(random_below(FRAMES / 512));
        else
            step_page(random_below(FRAMES));
        if (i % 2000 == 0)
            check_all();
    }
    check_all();
}
END_TEST

START_TEST(unmap_of_unmapped_stops)
{
    ck_assert_uint_eq(frames_map(&frames, 0x200000), HV_STATUS_SUCCESS);
    frames_unmap(&frames, 0x201000);
}
END_TEST

START_TEST(disown_of_unowned_stops)
{
    ck_assert_uint_eq(frames_map(&frames, 0x200000), HV_STATUS_SUCCESS);
    frames_disown(&frames, 0x200000);
}
END_TEST

START_TEST(unmap_large_of_unmapped_stops)
{
    frames_unmap_large(&frames, 0x200000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("frames");
    TCase *tests = tcase_create("frames");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, fake_phys_teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, only_ram_is_used);
    tcase_add_test(tests, large_wants_whole_regions);
    tcase_add_test(tests, owned_and_mapped_exclude_each_other);
    tcase_add_test(tests, block_is_owned_for_ever);
    tcase_add_test(tests, counters_do_not_wrap);
    tcase_add_test(tests, out_of_memory_changes_nothing);
    tcase_add_test(tests, random_against_model);
    tcase_add_test_raise_signal(tests, unmap_of_unmapped_stops, SIGILL);
    tcase_add_test_raise_signal(tests, disown_of_unowned_stops, SIGILL);
    tcase_add_test_raise_signal(tests, unmap_large_of_unmapped_stops, SIGILL);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
