// SPDX-License-Identifier: BSD-2-Clause-Patent
// What is said to be accessed and written, against a processor that sets the bits in leaves where
// it does not hold the translation already, and forgets translations only when a flush was asked
// for. What was written is never missed; what was not, since it was last cleared, shows only where
// the page was mapped anew or got other rights.
#include "slpt_hw.h"

#include "hv/status.h"

#define ADDRESS_BITS 40u
#define PAGES        1024u
#define SPA_FIRST    0x1000u
#define ACCESSED     HV_GPA_ACCESS_STATE_ACCESSED
#define DIRTY        HV_GPA_ACCESS_STATE_DIRTY
#define CLEAR_ALL    (HV_GPA_ACCESS_STATE_CLEAR_ACCESSED | HV_GPA_ACCESS_STATE_CLEAR_DIRTY)

static const struct launch_range ram = {0, 0x4000000};
static struct pool frame_pool, pool;
static struct frames frames;
static struct gpa_space space;
static struct gpa_batch batch;
static struct gpa_overlay overlay;
static bool ept;

static struct {
    bool known;    // to the model TLB
    bool writable; // that the entry's dirty bit is set has been seen
} tlb[PAGES];
static uint8_t must_show[PAGES], may_show[PAGES];

static void setup_with(bool use_ept, uint64_t pages)
{
    struct gpa_space_config config = {
        .format = use_ept ? &slpt_ept : &slpt_npt,
        .pool = &pool,
        .frames = &frames,
        .levels = 4,
        .address_bits = ADDRESS_BITS,
    };

    ept = use_ept;
    fake_phys_setup();
    pool_init(&frame_pool);
    pool_init(&pool);
    pool_deposit(&frame_pool, FAKE_PHYS_BASE, 1024);
    pool_deposit(&pool, FAKE_PHYS_BASE + 1024 * PAGE_SIZE, pages);
    must_equal(frames_init(&frames, &ram, 1, &frame_pool), HV_STATUS_SUCCESS);
    must_equal(gpa_space_init(&space, &config), HV_STATUS_SUCCESS);
    gpa_batch_init(&batch, &space);
    memset(tlb, 0, sizeof(tlb));
    memset(must_show, 0, sizeof(must_show));
    memset(may_show, 0, sizeof(may_show));
    memset(&overlay, 0, sizeof(overlay));
    space.tracked = true;
}

static void setup(void)
{
    setup_with(true, 900);
}

static void release(void)
{
    if (batch.flush)
        memset(tlb, 0, sizeof(tlb));
    gpa_batch_release(&batch);
}

static uint64_t *leaf(uint64_t page)
{
    struct slpt_path path;

    slpt_walk(&space.slpt, page << PAGE_SHIFT, 1, &path);
    return path.slot[path.level];
}

// SDM 3C 29.3.5 and APM 2 15.25.6 by the bits of the manuals. False: a fault.
static bool touch(uint64_t page, bool write)
{
    struct hw_page now = hw_walk(gpa_space_root(&space), page << PAGE_SHIFT, ept);
    uint64_t accessed = ept ? 1u << 8 : 1u << 5, dirty = ept ? 1u << 9 : 1u << 6;

    if (!now.present || (write && !now.write))
        return false;
    if (!tlb[page].known || (write && !tlb[page].writable)) {
        *leaf(page) |= accessed | (write ? dirty : 0);
        tlb[page].known = true;
        tlb[page].writable = *leaf(page) & dirty;
    }
    return true;
}

static uint8_t query(uint64_t page, uint64_t change)
{
    uint8_t state = 0xff;

    must_equal(gpa_access_state(&space, page, change, &state, &batch), HV_STATUS_SUCCESS);
    release();
    return state;
}

static void map(uint64_t page, uint32_t rights, bool large)
{
    must_equal(gpa_map(&space, page, SPA_FIRST + page, rights, large, &batch), HV_STATUS_SUCCESS);
    release();
}

START_TEST(life_of_a_page)
{
    ck_assert_uint_eq(query(3, CLEAR_ALL), 0); // not mapped
    map(3, GPA_ALL, false);
    ck_assert_uint_eq(query(3, 0), ACCESSED | DIRTY);
    ck_assert_uint_eq(query(3, CLEAR_ALL), ACCESSED | DIRTY);
    ck_assert_uint_eq(query(3, 0), 0);
    ck_assert(touch(3, false));
    ck_assert_uint_eq(query(3, HV_GPA_ACCESS_STATE_CLEAR_ACCESSED), ACCESSED);
    ck_assert(touch(3, true));
    ck_assert_uint_eq(query(3, HV_GPA_ACCESS_STATE_CLEAR_DIRTY), ACCESSED | DIRTY);
    ck_assert_uint_eq(query(3, 0), ACCESSED);
    ck_assert(touch(3, true)); // the TLB was flushed, or this would not show
    ck_assert_uint_eq(query(3, CLEAR_ALL), ACCESSED | DIRTY);
    ck_assert_uint_eq(query(3, HV_GPA_ACCESS_STATE_SET_DIRTY), 0);
    ck_assert_uint_eq(query(3, HV_GPA_ACCESS_STATE_SET_ACCESSED), DIRTY);
    ck_assert_uint_eq(query(3, 0), ACCESSED | DIRTY);
}
END_TEST

START_TEST(hypervisor_writes)
{
    map(3, GPA_ALL, false);
    query(3, CLEAR_ALL);
    gpa_wrote(&space, 3 << PAGE_SHIFT | 5);
    ck_assert_uint_eq(query(3, CLEAR_ALL), ACCESSED | DIRTY);
    space.tracked = false;
    gpa_wrote(&space, 3 << PAGE_SHIFT);
    ck_assert_uint_eq(query(3, 0), 0);
    space.tracked = true;
    gpa_wrote(&space, 900 << PAGE_SHIFT); // gone meanwhile
}
END_TEST

// One page of a large one is told apart from the others, which stay as they were.
START_TEST(large_page)
{
    map(0, GPA_ALL, true);
    ck_assert_uint_eq(query(7, CLEAR_ALL), ACCESSED | DIRTY);
    for (uint64_t page = 0; page < 512; page++)
        ck_assert_uint_eq(query(page, 0), page == 7 ? 0 : ACCESSED | DIRTY);
    ck_assert(touch(7, true));
    ck_assert_uint_eq(query(7, 0), ACCESSED | DIRTY);
}
END_TEST

// Reading, and setting what is set, splits nothing.
START_TEST(large_page_stays)
{
    map(0, GPA_ALL, true);
    query(7, 0);
    query(7, HV_GPA_ACCESS_STATE_SET_ACCESSED | HV_GPA_ACCESS_STATE_SET_DIRTY);
    ck_assert_uint_eq(hw_walk(gpa_space_root(&space), 0, ept).size, 512 * PAGE_SIZE);
}
END_TEST

START_TEST(rights)
{
    map(3, GPA_NONE, false);
    ck_assert_uint_eq(query(3, HV_GPA_ACCESS_STATE_SET_DIRTY), 0);
    ck_assert_uint_eq(query(3, CLEAR_ALL), 0);
    must_equal(gpa_protect(&space, 3, GPA_ALL, false, &batch), HV_STATUS_SUCCESS);
    release();
    ck_assert_uint_eq(query(3, CLEAR_ALL), ACCESSED | DIRTY);
}
END_TEST

START_TEST(beneath_an_overlay)
{
    map(3, GPA_ALL, false);
    query(3, CLEAR_ALL);
    must_equal(gpa_overlay_set(&space, &overlay, 3, 0x70000, GPA_READ | GPA_WRITE, &batch),
               HV_STATUS_SUCCESS);
    release();
    ck_assert_uint_eq(query(3, CLEAR_ALL), ACCESSED | DIRTY); // it was in use until now
    ck_assert(touch(3, true));                                // the overlay
    ck_assert_uint_eq(query(3, 0), 0);
    gpa_overlay_clear(&space, &overlay, &batch);
    release();
    ck_assert_uint_eq(query(3, 0), 0);
    ck_assert(touch(3, true));
    ck_assert_uint_eq(query(3, 0), ACCESSED | DIRTY);
}
END_TEST

START_TEST(refusals)
{
    uint8_t state;

    ck_assert_int_eq(gpa_access_state(&space, space.page_limit, 0, &state, &batch),
                     HV_STATUS_INVALID_PARAMETER);
    ck_assert_int_eq(gpa_access_state(&space, 0, 16, &state, &batch), HV_STATUS_INVALID_PARAMETER);
    ck_assert_int_eq(gpa_access_state(&space, 0, 3, &state, &batch), HV_STATUS_INVALID_PARAMETER);
    ck_assert_int_eq(gpa_access_state(&space, 0, 12, &state, &batch), HV_STATUS_INVALID_PARAMETER);
}
END_TEST

START_TEST(no_memory)
{
    uint8_t state;

    fake_phys_teardown();
    setup_with(false, 4);
    map(0, GPA_ALL, true);
    while (pool_balance(&pool).available)
        pool_alloc(&pool);
    ck_assert_int_eq(gpa_access_state(&space, 7, CLEAR_ALL, &state, &batch),
                     HV_STATUS_INSUFFICIENT_MEMORY);
    release();
    ck_assert_uint_eq(query(7, 0), ACCESSED | DIRTY);
}
END_TEST

static uint32_t seed;
static uint32_t next(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static void all_may(uint64_t page, uint64_t count)
{
    for (uint64_t i = page; i < page + count; i++)
        may_show[i] = ACCESSED | DIRTY;
}

static void change_maps(uint64_t page)
{
    bool large = next(8) == 0;
    uint64_t first = large ? page & ~511ul : page, count = large ? 512 : 1;

    switch (next(3)) {
    case 0:
        map(first, next(4) ? GPA_ALL : GPA_READ, large);
        break;
    case 1:
        must_equal(gpa_unmap(&space, first, large, &batch), HV_STATUS_SUCCESS);
        for (uint64_t i = first; i < first + count; i++)
            must_show[i] = 0;
        break;
    default:
        gpa_protect(&space, page, next(2) ? GPA_ALL : GPA_READ, false, &batch);
        break;
    }
    release();
    all_may(first, count);
}

static void check(uint64_t page, uint64_t change)
{
    uint8_t state = query(page, change);

    ck_assert_uint_eq(must_show[page] & ~state, 0);
    ck_assert_uint_eq(state & ~may_show[page], 0);
    if (change & HV_GPA_ACCESS_STATE_CLEAR_ACCESSED)
        must_show[page] &= (uint8_t)~ACCESSED, may_show[page] &= (uint8_t)~ACCESSED;
    if (change & HV_GPA_ACCESS_STATE_CLEAR_DIRTY)
        must_show[page] &= (uint8_t)~DIRTY, may_show[page] &= (uint8_t)~DIRTY;
}

// A few pages, so that all of it meets on one.
static uint64_t some_page(void)
{
    return next(4) ? 500 + next(24) : next(PAGES);
}

START_TEST(never_missed)
{
    fake_phys_teardown();
    setup_with(_i & 1, 900);
    seed = (uint32_t)_i * 7919u + 1u;
    for (uint32_t round = 0; round < 20000; round++) {
        uint64_t page = some_page();
        bool write = next(2);

        switch (next(8)) {
        case 0:
            change_maps(page);
            break;
        case 1:
        case 2:
        case 3:
            if (touch(page, write)) {
                must_show[page] |= ACCESSED | (write ? DIRTY : 0);
                may_show[page] |= must_show[page];
            }
            break;
        default:
            check(page, next(3) ? CLEAR_ALL & next(8) : 0);
            break;
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gpa_access");
    TCase *tests = tcase_create("gpa_access");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, fake_phys_teardown);
    tcase_add_test(tests, life_of_a_page);
    tcase_add_test(tests, hypervisor_writes);
    tcase_add_test(tests, large_page);
    tcase_add_test(tests, large_page_stays);
    tcase_add_test(tests, rights);
    tcase_add_test(tests, beneath_an_overlay);
    tcase_add_test(tests, refusals);
    tcase_add_test(tests, no_memory);
    tcase_add_loop_test(tests, never_missed, 0, 16);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
