// SPDX-License-Identifier: BSD-2-Clause-Patent
// The root's GPA space against a model: the identity map less its holes, with overlays and rights,
// in pages as large as what is special in them allows, and a TLB that forgets only when a flush was
// asked for.
#include "slpt_hw.h"

#include "hv/status.h"

#define ADDRESS_BITS 40u
#define REGIONS      5u
#define PAGES        (REGIONS * 512u)
#define OVERLAYS     6u
#define OVERLAY_SPA  0x70000u

// Two neighbours, one in the same GiB, one of another, one at the end. The first two GiB are
// modelled in full: nothing special happens there outside these regions.
static const uint64_t region_base[REGIONS] = {
    0, 512, 300u * 512, 5u << 18, (1u << (ADDRESS_BITS - 12)) - 512,
};

static struct pool pool;
static struct frames frames;
static struct gpa_space space;
static struct gpa_batch batch;
static struct {
    bool hole;
    uint32_t rights;
} model[PAGES];
static struct hw_page tlb[PAGES];
static bool huge_pages;

static struct {
    struct gpa_overlay record;
    uint64_t page;
    uint64_t spa;
    uint32_t rights;
    uint64_t age;
} overlay[OVERLAYS];
static uint64_t overlay_clock;

static uint64_t gpa_page_of(uint64_t page)
{
    return region_base[page / 512] + page % 512;
}

static void setup_with(uint64_t pool_pages, bool huge)
{
    static const struct launch_range ram = {0, 0x4000000};
    struct gpa_space_config config = {
        .format = &slpt_npt,
        .pool = &pool,
        .frames = &frames,
        .levels = 4,
        .address_bits = ADDRESS_BITS,
        .root = true,
        .huge_pages = huge,
    };

    huge_pages = huge;
    fake_phys_setup();
    pool_init(&pool);
    pool_deposit(&pool, FAKE_PHYS_BASE, 100);
    ck_assert_uint_eq(frames_init(&frames, &ram, 1, &pool), HV_STATUS_SUCCESS);
    pool_init(&pool);
    pool_deposit(&pool, FAKE_PHYS_BASE + 100 * PAGE_SIZE, pool_pages);
    ck_assert_uint_eq(gpa_space_init(&space, &config), HV_STATUS_SUCCESS);
    gpa_batch_init(&batch, &space);
    memset(overlay, 0, sizeof(overlay));
    memset(tlb, 0, sizeof(tlb));
    for (unsigned i = 0; i < PAGES; i++) {
        model[i].hole = false;
        model[i].rights = GPA_ALL;
    }
}

static void setup(void)
{
    setup_with(1000, true);
}

static void release(void)
{
    must(batch.count == 0 || batch.flush);
    if (batch.flush)
        memset(tlb, 0, sizeof(tlb));
    gpa_batch_release(&batch);
}

// A flush is asked for if a TLB may hold what is no longer so.
static void check_tlb(uint64_t first, uint64_t pages)
{
    for (uint64_t page = first; page < first + pages; page++) {
        struct hw_page now = hw_walk(gpa_space_root(&space), gpa_page_of(page) << 12, false);

        must(hw_within(&tlb[page], &now) || batch.flush);
        if (random_below(16) == 0)
            tlb[page] = now;
    }
}

// A processor touches every page of a region.
static void fill_tlb(uint64_t region)
{
    for (uint64_t page = region * 512; page < region * 512 + 512; page++)
        tlb[page] = hw_walk(gpa_space_root(&space), gpa_page_of(page) << 12, false);
}

static int top_overlay(uint64_t page)
{
    int top = -1;

    for (unsigned i = 0; i < OVERLAYS; i++) {
        if (overlay[i].age != 0 && overlay[i].page == page &&
            (top < 0 || overlay[i].age > overlay[top].age))
            top = (int)i;
    }
    return top;
}

static bool special(uint64_t page)
{
    return model[page].hole || model[page].rights != GPA_ALL || top_overlay(page) >= 0;
}

static bool special_in(uint64_t gpa_page, uint64_t pages)
{
    for (uint64_t i = 0; i < PAGES; i++) {
        if (gpa_page_of(i) / pages == gpa_page / pages && special(i))
            return true;
    }
    return false;
}

static void check_page(uint64_t page)
{
    uint64_t gpa = gpa_page_of(page) << 12 | 0x18;
    struct hw_page hw = hw_walk(gpa_space_root(&space), gpa, false);
    struct gpa_translation tr = gpa_translate(&space, gpa, GPA_NONE);
    int top = top_overlay(page);
    uint64_t spa = top >= 0 ? overlay[top].spa << 12 | 0x18 : gpa;
    uint32_t rights = top >= 0 ? overlay[top].rights : model[page].rights;

    if (top < 0 && model[page].hole) {
        must(!hw.present);
        must_equal(tr.status, GPA_UNMAPPED);
        return;
    }
    must_equal(tr.status, GPA_OK);
    must_equal(tr.spa, spa);
    must_equal(tr.rights, rights);
    must(tr.overlay == (top >= 0));
    must(!hw.present || hw_is(&hw, spa, rights));
}

// The processor touches a page: what it then has, and in which size.
static void step_fault(uint64_t page)
{
    uint64_t gpa = gpa_page_of(page) << 12;
    int top = top_overlay(page);
    uint32_t rights = top >= 0 ? overlay[top].rights : model[page].rights;
    enum gpa_fault expected = GPA_FAULT_DENIED;
    enum gpa_fault result = gpa_root_fault(&space, gpa, GPA_WRITE);
    struct hw_page hw = hw_walk(gpa_space_root(&space), gpa, false);

    if (top < 0 && model[page].hole)
        expected = GPA_FAULT_HOLE;
    else if ((rights & GPA_WRITE) != 0)
        expected = GPA_FAULT_RESOLVED;
    if (result == GPA_FAULT_NO_MEMORY && pool_balance(&pool).available < 2)
        return;
    must_equal(result, expected);
    must(hw.present || result != GPA_FAULT_RESOLVED);
    if (result != GPA_FAULT_RESOLVED || top >= 0)
        return;
    must(hw.size > PAGE_SIZE || special_in(gpa >> 12, 512));
    must(hw.size > LARGE_PAGE_SIZE || !huge_pages || special_in(gpa >> 12, 512 * 512));
}

static bool done(uint16_t status)
{
    if (status == HV_STATUS_INSUFFICIENT_MEMORY) {
        must(pool_balance(&pool).available < 3);
        return false;
    }
    must_equal(status, HV_STATUS_SUCCESS);
    return true;
}

static void step_holes(uint64_t page, bool punch)
{
    uint64_t pages = random_below(4) == 0 ? 512 + random_below(600) : 1 + random_below(3);
    uint64_t finished;
    uint16_t status;

    // Regions 0 and 1 are neighbours; no other range goes on in the next region.
    if (pages > 3)
        page = page % 1024 < 512 && page < 512 ? page / 8 * 8 % 16 : page / 512 * 512;
    if (page + pages > (page < 1024 ? 1024 : page / 512 * 512 + 512))
        pages = 1;
    status = punch ? gpa_root_punch(&space, gpa_page_of(page), pages, &finished, &batch)
                   : gpa_root_fill(&space, gpa_page_of(page), pages, &finished, &batch);
    if (done(status))
        must(finished == pages || !gpa_batch_has_room(&batch));
    must(!punch || finished == 0 || batch.flush);
    for (uint64_t i = 0; i < finished; i++) {
        if (model[page + i].hole != punch)
            model[page + i].rights = GPA_ALL;
        model[page + i].hole = punch;
    }
    check_tlb(page, pages);
}

static void step_protect(uint64_t page, bool large)
{
    static const uint32_t legal[] = {0, 1, 3, 5, 7, 15, 15, 15};
    uint32_t rights = legal[random_below(8)];
    uint64_t pages = large ? 512 : 1;
    uint16_t status;

    page = page / pages * pages;
    status = gpa_protect(&space, gpa_page_of(page), rights, large, &batch);
    check_tlb(page, pages);
    for (uint64_t i = 0; i < pages; i++) {
        if (model[page + i].hole) {
            must_equal(status, HV_STATUS_OPERATION_DENIED);
            return;
        }
    }
    for (uint64_t i = 0; done(status) && i < pages; i++)
        model[page + i].rights = rights;
}

static void step_overlay(uint64_t page)
{
    unsigned i = random_below(OVERLAYS);

    if (overlay[i].age != 0) {
        page = overlay[i].page;
        gpa_overlay_clear(&space, &overlay[i].record, &batch);
        overlay[i].age = 0;
        must(batch.flush);
    } else {
        overlay[i].page = page;
        overlay[i].spa = OVERLAY_SPA + i;
        overlay[i].rights = random_below(2) == 0 ? GPA_READ : GPA_ALL;
        if (done(gpa_overlay_set(&space, &overlay[i].record, gpa_page_of(page), overlay[i].spa,
                                 overlay[i].rights, &batch)))
            overlay[i].age = ++overlay_clock;
    }
    check_tlb(page, 1);
    check_page(page);
}

static void random_step(void)
{
    uint64_t page = random_below(PAGES);
    bool thorough = random_below(8) == 0;

    // Few pages, so that tables become plain again.
    if (random_below(3) != 0)
        page = page / 512 * 512 + page % 5;

    if (!gpa_batch_has_room(&batch) || thorough)
        release();
    if (thorough)
        fill_tlb(page / 512);
    switch (random_below(8)) {
    case 0:
        step_holes(page, true);
        break;
    case 1:
    case 2:
        step_holes(page, false);
        break;
    case 3:
        step_protect(page, random_below(3) == 0);
        break;
    case 4:
        step_overlay(page);
        break;
    default:
        step_fault(page);
    }
    if (thorough)
        check_tlb(page / 512 * 512, 512);
    check_page(page);
    check_page(random_below(PAGES));
}

// The tables that the model makes necessary at most: those above the largest page, and those with
// something special in them.
static uint64_t tables_allowed(void)
{
    uint64_t tables = 1 + 2; // two 512 GiB ranges were touched

    for (unsigned i = 0; i < REGIONS; i++) {
        bool last_of_gib = i + 1 == REGIONS || region_base[i + 1] >> 18 != region_base[i] >> 18;

        tables += special_in(region_base[i], 512);
        if (last_of_gib)
            tables += !huge_pages || special_in(region_base[i], 512 * 512);
    }
    return tables;
}

static void random_run(uint64_t pool_pages, bool huge, int steps)
{
    setup_with(pool_pages, huge);
    for (int i = 0; i < steps; i++) {
        random_step();
        if (i % 500 != 0)
            continue;
        for (uint64_t page = 0; page < PAGES; page++)
            check_page(page);
        release();
        must_equal(pool_balance(&pool).in_use, space.slpt.table_pages);
        must(space.slpt.table_pages <= tables_allowed());
    }
    release();
    fake_phys_teardown();
}

START_TEST(random_huge)
{
    random_run(100, true, 150000);
}
END_TEST

START_TEST(random_large)
{
    random_run(100, false, 150000);
}
END_TEST

START_TEST(random_short_of_memory)
{
    for (uint64_t pages = 1; pages < 12; pages++)
        random_run(pages, pages % 2 == 0, 10000);
}
END_TEST

// ---- single behaviours --------------------------------------------------------------------------

START_TEST(first_touch_maps_the_largest_page)
{
    struct hw_page hw;

    ck_assert_int_eq(gpa_root_fault(&space, 0x12345678, GPA_WRITE), GPA_FAULT_RESOLVED);
    hw = hw_walk(gpa_space_root(&space), 0x12345678, false);
    ck_assert(hw_is(&hw, 0x12345678, GPA_ALL));
    ck_assert_uint_eq(hw.size, 1ul << 30);
    ck_assert_uint_eq(gpa_translate(&space, 5ul << 30, 0).page_size, 1ul << 30);
    // Touched again (two LPs at once): harmless.
    ck_assert_int_eq(gpa_root_fault(&space, 0x12345678, GPA_EXEC), GPA_FAULT_RESOLVED);
    ck_assert_int_eq(gpa_root_fault(&space, 1ul << ADDRESS_BITS, GPA_READ), GPA_FAULT_HOLE);
    ck_assert_int_eq(gpa_root_fault(&space, UINT64_MAX, GPA_READ), GPA_FAULT_HOLE);
    ck_assert_uint_eq(space.slpt.table_pages, 2);
}
END_TEST

// The block of a hypervisor, 5 MiB and a page from 3 MiB on: large holes inside, small ones at the
// ends.
START_TEST(punch_a_block)
{
    const uint64_t first = 0x300;
    const uint64_t pages = 0x501;
    uint64_t finished;

    ck_assert_int_eq(gpa_root_fault(&space, 0, GPA_READ), GPA_FAULT_RESOLVED);
    ck_assert_uint_eq(gpa_root_punch(&space, first, pages, &finished, &batch), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(finished, pages);
    ck_assert(batch.flush);
    release();
    for (uint64_t page = first - 2; page < first + pages + 2; page++) {
        bool hole = page >= first && page < first + pages;
        struct hw_page hw = hw_walk(gpa_space_root(&space), page << 12, false);

        ck_assert(hw_is(&hw, page << 12, hole ? GPA_NONE : GPA_ALL));
        ck_assert_int_eq(gpa_root_fault(&space, page << 12, GPA_READ),
                         hole ? GPA_FAULT_HOLE : GPA_FAULT_RESOLVED);
    }
    // Root, 512 GiB, 1 GiB, and the two 2 MiB ranges that are holes in part.
    ck_assert_uint_eq(space.slpt.table_pages, 5);
    ck_assert_uint_eq(gpa_root_fill(&space, first, pages, &finished, &batch), HV_STATUS_SUCCESS);
    release();
    ck_assert_uint_eq(finished, pages);
    ck_assert_uint_eq(space.slpt.table_pages, 2);
    ck_assert_uint_eq(pool_balance(&pool).in_use, 2);
    ck_assert_int_eq(gpa_root_fault(&space, first << 12, GPA_READ), GPA_FAULT_RESOLVED);
}
END_TEST

START_TEST(refused)
{
    uint64_t finished = 9;

    ck_assert_uint_eq(gpa_root_punch(&space, 1ul << 28, 1, &finished, &batch), 5);
    ck_assert_uint_eq(finished, 0);
    ck_assert_uint_eq(gpa_root_punch(&space, 1, 1ul << 28, &finished, &batch), 5);
    ck_assert_uint_eq(gpa_root_fill(&space, 1, UINT64_MAX, &finished, &batch), 5);
    ck_assert_uint_eq(gpa_map(&space, 1, 1, GPA_ALL, false, &batch), HV_STATUS_ACCESS_DENIED);
    ck_assert_uint_eq(gpa_map(&space, 0, 0, GPA_ALL, true, &batch), HV_STATUS_ACCESS_DENIED);
    ck_assert_uint_eq(gpa_unmap(&space, 1, false, &batch), HV_STATUS_ACCESS_DENIED);
    ck_assert_uint_eq(gpa_root_punch(&space, 7, 1, &finished, &batch), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(gpa_protect(&space, 7, GPA_ALL, false, &batch), HV_STATUS_OPERATION_DENIED);
    ck_assert_uint_eq(gpa_protect(&space, 0, GPA_ALL, true, &batch), HV_STATUS_OPERATION_DENIED);
}
END_TEST

// A page that the root gave away and the hypervisor shows to it again (a state page).
START_TEST(overlay_over_a_hole)
{
    struct gpa_overlay record = {.set = false};
    uint64_t finished;

    gpa_root_punch(&space, 7, 1, &finished, &batch);
    ck_assert_uint_eq(gpa_overlay_set(&space, &record, 7, 7, GPA_READ, &batch), 0);
    ck_assert_int_eq(gpa_translate(&space, 0x7000, GPA_READ).status, GPA_OK);
    ck_assert_int_eq(gpa_root_fault(&space, 0x7000, GPA_WRITE), GPA_FAULT_DENIED);
    gpa_overlay_clear(&space, &record, &batch);
    ck_assert_int_eq(gpa_translate(&space, 0x7000, GPA_READ).status, GPA_UNMAPPED);
    // Deposited while it is overlaid, and withdrawn after.
    gpa_root_fill(&space, 7, 1, &finished, &batch);
    gpa_overlay_set(&space, &record, 7, OVERLAY_SPA, GPA_READ, &batch);
    gpa_root_punch(&space, 7, 1, &finished, &batch);
    ck_assert_int_eq(gpa_translate(&space, 0x7000, GPA_READ).status, GPA_OK);
    gpa_overlay_clear(&space, &record, &batch);
    ck_assert_int_eq(gpa_root_fault(&space, 0x7000, GPA_READ), GPA_FAULT_HOLE);
    gpa_root_fill(&space, 7, 1, &finished, &batch);
    release();
    ck_assert_uint_eq(space.slpt.table_pages, 2);
}
END_TEST

START_TEST(pin_keeps_a_page_from_deposit)
{
    struct gpa_translation pin = gpa_pin(&space, 0x7008, GPA_WRITE);

    ck_assert_int_eq(pin.status, GPA_OK);
    ck_assert_uint_eq(frames_own(&frames, 0x7000), HV_STATUS_OPERATION_DENIED);
    gpa_unpin(&space, &pin);
    ck_assert_uint_eq(frames_own(&frames, 0x7000), HV_STATUS_SUCCESS);
    ck_assert_int_eq(gpa_pin(&space, 0x7008, GPA_WRITE).status, GPA_NOT_MEMORY);
    ck_assert_int_eq(gpa_pin(&space, 0xfee00000, GPA_WRITE).status, GPA_NOT_MEMORY);
}
END_TEST

// Every batch that fills up is emptied by the caller, and the punch goes on where it stopped.
START_TEST(long_fill_in_batches)
{
    uint64_t finished = 0;
    uint64_t total = 0;
    unsigned rounds = 0;

    // One hole in each of 300 regions: each fill drops a table.
    for (uint64_t i = 0; i < 300; i++) {
        ck_assert_uint_eq(gpa_root_punch(&space, i * 512, 1, &finished, &batch), 0);
        release();
    }
    ck_assert_uint_eq(space.slpt.table_pages, 303);
    for (; total < 300 * 512; total += finished) {
        ck_assert_uint_eq(gpa_root_fill(&space, total, 300 * 512 - total, &finished, &batch), 0);
        ck_assert_uint_gt(finished, 0);
        release();
        rounds++;
    }
    ck_assert_uint_gt(rounds, 300 / GPA_BATCH_ITEMS);
    ck_assert_uint_eq(space.slpt.table_pages, 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gpa_root");
    TCase *runs = tcase_create("random");
    TCase *tests = tcase_create("behaviour");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(runs, 300);
    tcase_add_test(runs, random_huge);
    tcase_add_test(runs, random_large);
    tcase_add_test(runs, random_short_of_memory);
    tcase_add_checked_fixture(tests, setup, fake_phys_teardown);
    tcase_add_test(tests, first_touch_maps_the_largest_page);
    tcase_add_test(tests, punch_a_block);
    tcase_add_test(tests, refused);
    tcase_add_test(tests, overlay_over_a_hole);
    tcase_add_test(tests, pin_keeps_a_page_from_deposit);
    tcase_add_test(tests, long_fill_in_batches);
    suite_add_tcase(suite, tests);
    suite_add_tcase(suite, runs);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
