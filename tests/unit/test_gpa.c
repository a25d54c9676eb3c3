// SPDX-License-Identifier: BSD-2-Clause-Patent
// A child's GPA space against a model: a plain array of pages with their overlays, the frames'
// uses, the pool, and a TLB that forgets only when a flush was asked for.
#include "slpt_hw.h"

#include <signal.h>

#include "hv/status.h"

#define ADDRESS_BITS 40u
#define REGIONS      6u
#define PAGES        (REGIONS * 512u)
#define SPA_REGIONS  4u
#define SPA_FIRST    0x1000u // page number of the frames that are mapped: 16 MiB
#define SPA_OWNED    (SPA_FIRST + 3 * 512 + 77)
#define OVERLAYS     12u
#define OVERLAY_SPA  0x70000u // page number: hypervisor pages, not in the frame table

// Pages of one table, of a neighbouring one, of other tables at each level, and the last of the
// space.
static const uint64_t region_base[REGIONS] = {
    0, 512, 511u * 512, 1u << 18, 1u << 27, (1u << (ADDRESS_BITS - 12)) - 512,
};

struct model_page {
    bool mapped;
    uint32_t rights;
    uint64_t spa;
};

static const struct launch_range ram = {0, 0x4000000};
static struct pool frame_pool;
static struct pool pool;
static struct frames frames;
static struct gpa_space space;
static struct gpa_batch batch;
static struct model_page model[PAGES];
static uint64_t model_mapped;
static uint32_t model_uses[SPA_REGIONS * 512];
static struct hw_page tlb[PAGES];
static bool ept;

static struct {
    struct gpa_overlay record;
    uint64_t page; // index in the model
    uint64_t spa;
    uint32_t rights;
    uint64_t age; // 0: not set
} overlay[OVERLAYS];
static uint64_t overlay_clock;

static uint64_t gpa_page_of(uint64_t page)
{
    return region_base[page / 512] + page % 512;
}

static void setup_with(uint64_t pool_pages, bool use_ept)
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
    pool_deposit(&pool, FAKE_PHYS_BASE + 1024 * PAGE_SIZE, pool_pages);
    must_equal(frames_init(&frames, &ram, 1, &frame_pool), HV_STATUS_SUCCESS);
    must_equal(frames_own(&frames, SPA_OWNED * PAGE_SIZE), HV_STATUS_SUCCESS);
    must_equal(gpa_space_init(&space, &config), HV_STATUS_SUCCESS);
    gpa_batch_init(&batch, &space);
    memset(model, 0, sizeof(model));
    memset(model_uses, 0, sizeof(model_uses));
    memset(tlb, 0, sizeof(tlb));
    memset(overlay, 0, sizeof(overlay));
    model_mapped = 0;
}

static void setup(void)
{
    setup_with(1000, false);
}

static void release(void)
{
    must(batch.count == 0 || batch.flush);
    if (batch.flush)
        memset(tlb, 0, sizeof(tlb));
    gpa_batch_release(&batch);
    must_equal(batch.count, 0);
    must(!batch.flush);
}

// ---- the model --------------------------------------------------------------------------------

static void model_set(uint64_t page, bool mapped, uint64_t spa, uint32_t rights)
{
    if (model[page].mapped)
        model_uses[model[page].spa - SPA_FIRST]--;
    if (mapped)
        model_uses[spa - SPA_FIRST]++;
    model_mapped += mapped - (uint64_t)model[page].mapped;
    model[page] = (struct model_page){mapped, rights, spa};
}

// The overlay that is visible at the page, or -1.
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

static void check_page(uint64_t page)
{
    uint64_t gpa = gpa_page_of(page) << 12 | 0x123;
    struct hw_page hw = hw_walk(gpa_space_root(&space), gpa, ept);
    struct gpa_translation tr = gpa_translate(&space, gpa, GPA_NONE);
    int top = top_overlay(page);
    struct model_page expected = model[page];

    if (top >= 0)
        expected = (struct model_page){true, overlay[top].rights, overlay[top].spa};
    if (!expected.mapped) {
        must(!hw.present);
        must_equal(tr.status, GPA_UNMAPPED);
        return;
    }
    must_equal(tr.status, GPA_OK);
    must_equal(tr.spa, expected.spa << 12 | 0x123);
    must_equal(tr.rights, expected.rights);
    must(tr.overlay == (top >= 0));
    must(hw_is(&hw, expected.spa << 12 | 0x123, expected.rights));
    must(!hw.present || hw.size == tr.page_size);
}

static void check_uses(void)
{
    for (unsigned i = 0; i < SPA_REGIONS * 512; i++)
        must_equal(frames_uses(&frames, (SPA_FIRST + i) * PAGE_SIZE), model_uses[i]);
}

static void check_accounts(void)
{
    uint64_t tables = space.slpt.table_pages;

    for (uint32_t i = 0; i < batch.count; i++)
        tables += (batch.item[i] & GPA_ITEM_KIND) >= GPA_ITEM_TABLE;
    must_equal(pool_balance(&pool).in_use, tables);
    must_equal(space.mapped_pages, model_mapped);
}

// After an operation on pages [first, first + pages): what a TLB may still hold is right, or a
// flush is asked for and the generation moved on.
static void check_tlb(uint64_t first, uint64_t pages, uint64_t generation)
{
    for (uint64_t page = first; page < first + pages; page++) {
        struct hw_page now = hw_walk(gpa_space_root(&space), gpa_page_of(page) << 12, ept);

        if (!hw_within(&tlb[page], &now)) {
            must(batch.flush);
            must(atomic_load(&space.generation) > generation);
        }
        if (random_below(16) == 0)
            tlb[page] = now;
    }
}

// A processor touches every page of a region.
static void fill_tlb(uint64_t region)
{
    for (uint64_t page = region * 512; page < region * 512 + 512; page++)
        tlb[page] = hw_walk(gpa_space_root(&space), gpa_page_of(page) << 12, ept);
}

static uint32_t random_rights(void)
{
    static const uint32_t legal[] = {0, 1, 3, 5, 7, 9, 11, 13, 15, 15, 15};

    return legal[random_below(sizeof(legal) / sizeof(legal[0]))];
}

// Only a nearly empty pool excuses a refusal.
static bool done(uint16_t status)
{
    if (status == HV_STATUS_INSUFFICIENT_MEMORY) {
        must(pool_balance(&pool).available < 3);
        return false;
    }
    must_equal(status, HV_STATUS_SUCCESS);
    return true;
}

static void step_map(uint64_t page, bool large)
{
    uint64_t count = large ? 512 : 1;
    uint64_t spa = SPA_FIRST + random_below(SPA_REGIONS * 512) / count * count;
    uint32_t rights = random_rights();
    uint16_t status = gpa_map(&space, gpa_page_of(page), spa, rights, large, &batch);

    if (SPA_OWNED >= spa && SPA_OWNED < spa + count) {
        must_equal(status, HV_STATUS_OPERATION_DENIED);
        return;
    }
    for (uint64_t i = 0; done(status) && i < count; i++)
        model_set(page + i, true, spa + i, rights);
}

static void step_unmap(uint64_t page, bool large)
{
    uint16_t status = gpa_unmap(&space, gpa_page_of(page), large, &batch);

    for (uint64_t i = 0; done(status) && i < (large ? 512 : 1); i++)
        model_set(page + i, false, 0, 0);
}

static void step_protect(uint64_t page, bool large)
{
    uint64_t count = large ? 512 : 1;
    uint32_t rights = random_rights();
    uint16_t status = gpa_protect(&space, gpa_page_of(page), rights, large, &batch);

    for (uint64_t i = 0; i < count; i++) {
        if (!model[page + i].mapped) {
            must_equal(status, HV_STATUS_OPERATION_DENIED);
            return;
        }
    }
    for (uint64_t i = 0; done(status) && i < count; i++)
        model[page + i].rights = rights;
}

static void take_overlay_away(unsigned i)
{
    uint64_t old = overlay[i].page;

    gpa_overlay_clear(&space, &overlay[i].record, &batch);
    overlay[i].age = 0;
    must(batch.flush);
    check_page(old);
}

// New, or from where it is: there it stays if there is no memory.
static void put_overlay(unsigned i, uint64_t page)
{
    uint64_t old = overlay[i].page, spa = OVERLAY_SPA + random_below(1000);
    uint32_t rights = random_rights() | GPA_READ;
    bool moves = overlay[i].age != 0;

    if (done(gpa_overlay_set(&space, &overlay[i].record, gpa_page_of(page), spa, rights, &batch))) {
        must(!moves || batch.flush);
        overlay[i].page = page;
        overlay[i].spa = spa;
        overlay[i].rights = rights;
        overlay[i].age = ++overlay_clock;
    }
    check_tlb(page, 1, 0);
    check_page(page);
    if (moves)
        check_page(old);
}

static void step_overlay(uint64_t page)
{
    unsigned i = random_below(OVERLAYS);

    // Often over another one.
    if (random_below(2) == 0 && overlay[(i + 1) % OVERLAYS].age != 0)
        page = overlay[(i + 1) % OVERLAYS].page;
    if (overlay[i].age != 0 && random_below(2) == 0)
        take_overlay_away(i);
    else
        put_overlay(i, page);
}

static void random_step(void)
{
    static void (*const steps[])(uint64_t page, bool large) = {step_map, step_map, step_unmap,
                                                               step_protect};
    uint64_t page = random_below(PAGES);
    uint64_t generation = atomic_load(&space.generation);
    unsigned what = random_below(8);
    bool large = random_below(12) == 0;
    bool thorough = random_below(8) == 0;

    if (!gpa_batch_has_room(&batch) || thorough)
        release();
    if (thorough)
        fill_tlb(page / 512);
    if (what >= 6) {
        step_overlay(page);
        return;
    }
    if (large)
        page = page / 512 * 512;
    // A table of single pages for large operations to meet.
    else if (random_below(2) == 0)
        page = page / 512 * 512 + page % 8;
    steps[what % 4](page, large);
    if (large || thorough)
        check_tlb(page / 512 * 512, 512, generation);
    else
        check_tlb(page, 1, generation);
    check_page(page);
    check_page(page / 512 * 512 + random_below(512));
    check_page(random_below(PAGES));
    check_accounts();
}

static void random_run(uint64_t pool_pages, bool use_ept, int steps)
{
    setup_with(pool_pages, use_ept);
    for (int i = 0; i < steps; i++) {
        random_step();
        if (i % 1000 != 0)
            continue;
        for (uint64_t page = 0; page < PAGES; page++)
            check_page(page);
        release();
        check_uses();
        check_accounts();
    }
    for (unsigned i = 0; i < OVERLAYS; i++)
        gpa_overlay_clear(&space, &overlay[i].record, &batch);
    release();
    while (gpa_space_destroy(&space, 100))
        ;
    must_equal(pool_balance(&pool).in_use, 0);
    must_equal(pool_balance(&pool).available, pool_pages);
    memset(model_uses, 0, sizeof(model_uses));
    check_uses();
    must(!gpa_space_destroy(&space, 1));
    fake_phys_teardown();
}

START_TEST(random_npt)
{
    random_run(200, false, 300000);
}
END_TEST

START_TEST(random_ept)
{
    random_run(200, true, 100000);
}
END_TEST

START_TEST(random_short_of_memory)
{
    for (uint64_t pages = 1; pages < 16; pages++)
        random_run(pages, false, 10000);
}
END_TEST

// ---- single behaviours --------------------------------------------------------------------------

START_TEST(arguments)
{
    const uint64_t limit = UINT64_C(1) << (ADDRESS_BITS - 12);
    struct gpa_overlay record = {.set = false};

    for (uint32_t rights = 0; rights < 16; rights++) {
        bool legal = rights == 0 || (rights & 1) != 0;
        uint16_t status = legal ? HV_STATUS_SUCCESS : HV_STATUS_INVALID_PARAMETER;

        ck_assert_uint_eq(gpa_map(&space, 5, SPA_FIRST, rights, false, &batch), status);
        ck_assert_uint_eq(gpa_protect(&space, 5, rights, false, &batch), status);
        release();
    }
    ck_assert_uint_eq(gpa_map(&space, limit, SPA_FIRST, 15, false, &batch), 5);
    ck_assert_uint_eq(gpa_map(&space, UINT64_MAX, SPA_FIRST, 15, false, &batch), 5);
    ck_assert_uint_eq(gpa_map(&space, 0, UINT64_C(1) << 40, 15, false, &batch), 5);
    ck_assert_uint_eq(gpa_map(&space, 0, SPA_FIRST | UINT64_C(1) << 52, 15, false, &batch), 5);
    ck_assert_uint_eq(gpa_map(&space, 0, SPA_FIRST, 16 | 15, false, &batch), 5);
    ck_assert_uint_eq(gpa_map(&space, 1, SPA_FIRST, 15, true, &batch), 5);
    ck_assert_uint_eq(gpa_map(&space, 0, SPA_FIRST + 1, 15, true, &batch), 5);
    ck_assert_uint_eq(gpa_unmap(&space, limit, false, &batch), 5);
    ck_assert_uint_eq(gpa_unmap(&space, 256, true, &batch), 5);
    ck_assert_uint_eq(gpa_protect(&space, limit, 15, false, &batch), 5);
    ck_assert_uint_eq(gpa_overlay_set(&space, &record, limit, 1, 15, &batch), 5);
    ck_assert_uint_eq(gpa_overlay_set(&space, &record, 1, 1, 0, &batch), 5);
    ck_assert_uint_eq(gpa_overlay_set(&space, &record, 1, 1, 2, &batch), 5);
    ck_assert(!record.set);
    ck_assert_int_eq(gpa_translate(&space, limit << 12, 0).status, GPA_UNMAPPED);
    ck_assert_int_eq(gpa_translate(&space, UINT64_MAX, 0).status, GPA_UNMAPPED);
    // Not memory at all: the frame table ends at 64 MiB.
    ck_assert_uint_eq(gpa_map(&space, 0, 0xfee00, 15, false, &batch), HV_STATUS_OPERATION_DENIED);
    ck_assert_uint_eq(gpa_map(&space, 0, 0x80000, 15, true, &batch), HV_STATUS_OPERATION_DENIED);
    ck_assert_uint_eq(space.mapped_pages, 1);
    ck_assert_uint_eq(space.slpt.table_pages, 4);
}
END_TEST

START_TEST(access_tells_unmapped_from_denied)
{
    struct gpa_overlay record = {.set = false};

    gpa_map(&space, 1, SPA_FIRST, GPA_NONE, false, &batch);
    gpa_map(&space, 2, SPA_FIRST, GPA_READ | 8, false, &batch);
    gpa_overlay_set(&space, &record, 3, OVERLAY_SPA, GPA_READ, &batch);
    ck_assert_int_eq(gpa_translate(&space, 0x0fff, GPA_READ).status, GPA_UNMAPPED);
    ck_assert_int_eq(gpa_translate(&space, 0x1000, GPA_READ).status, GPA_NO_ACCESS);
    ck_assert_int_eq(gpa_translate(&space, 0x2000, GPA_READ).status, GPA_OK);
    ck_assert_int_eq(gpa_translate(&space, 0x2000, GPA_EXEC).status, GPA_OK);
    ck_assert_int_eq(gpa_translate(&space, 0x2000, GPA_WRITE).status, GPA_NO_ACCESS);
    ck_assert_int_eq(gpa_translate(&space, 0x3000, GPA_READ).status, GPA_OK);
    ck_assert_int_eq(gpa_translate(&space, 0x3000, GPA_WRITE).status, GPA_OVERLAY_DENIED);
    ck_assert_int_eq(gpa_translate(&space, 0x3000, GPA_EXEC).status, GPA_OVERLAY_DENIED);
}
END_TEST

START_TEST(mapping_the_unmapped_needs_no_flush)
{
    ck_assert_uint_eq(gpa_map(&space, 7, SPA_FIRST, GPA_READ, false, &batch), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(gpa_map(&space, 512, SPA_FIRST, GPA_ALL, true, &batch), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(gpa_protect(&space, 7, GPA_ALL, false, &batch), HV_STATUS_SUCCESS);
    ck_assert(!batch.flush);
    ck_assert_uint_eq(batch.count, 0);
    ck_assert_uint_eq(atomic_load(&space.generation), 1);
    ck_assert_uint_eq(gpa_protect(&space, 7, GPA_READ, false, &batch), HV_STATUS_SUCCESS);
    ck_assert(batch.flush);
    ck_assert_uint_eq(atomic_load(&space.generation), 2);
}
END_TEST

// A frame and a table stay taken until the flush is done.
START_TEST(release_waits_for_the_flush)
{
    const uint64_t spa = SPA_FIRST * PAGE_SIZE;

    gpa_map(&space, 7, SPA_FIRST, GPA_ALL, false, &batch);
    gpa_unmap(&space, 7, false, &batch);
    ck_assert_uint_eq(frames_own(&frames, spa), HV_STATUS_OPERATION_DENIED);
    ck_assert_uint_eq(space.slpt.table_pages, 1);
    ck_assert_uint_eq(pool_balance(&pool).in_use, 4);
    release();
    ck_assert_uint_eq(frames_own(&frames, spa), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(pool_balance(&pool).in_use, 1);
}
END_TEST

START_TEST(pinned_pages_stay)
{
    const uint64_t spa = SPA_FIRST * PAGE_SIZE;
    struct gpa_overlay record = {.set = false};
    struct gpa_translation pin;
    struct gpa_translation over;

    gpa_map(&space, 7, SPA_FIRST, GPA_READ, false, &batch);
    ck_assert_int_eq(gpa_pin(&space, 0x7010, GPA_WRITE).status, GPA_NO_ACCESS);
    ck_assert_int_eq(gpa_pin(&space, 0x8000, GPA_READ).status, GPA_UNMAPPED);
    pin = gpa_pin(&space, 0x7010, GPA_READ);
    ck_assert_int_eq(pin.status, GPA_OK);
    ck_assert_uint_eq(pin.spa, spa + 0x10);
    gpa_unmap(&space, 7, false, &batch);
    release();
    ck_assert_uint_eq(frames_own(&frames, spa), HV_STATUS_OPERATION_DENIED);
    gpa_unpin(&space, &pin);
    ck_assert_uint_eq(frames_own(&frames, spa), HV_STATUS_SUCCESS);
    gpa_overlay_set(&space, &record, 7, OVERLAY_SPA, GPA_READ, &batch);
    over = gpa_pin(&space, 0x7000, GPA_READ);
    ck_assert_int_eq(over.status, GPA_OK);
    ck_assert(over.overlay && !over.pinned);
    gpa_unpin(&space, &over);
}
END_TEST

// Two overlays over a mapped page, taken away in either order; the parent remaps the page
// meanwhile.
START_TEST(overlays_nest)
{
    struct gpa_overlay a = {.set = false};
    struct gpa_overlay b = {.set = false};

    for (int newest_first = 0; newest_first < 2; newest_first++) {
        gpa_map(&space, 3, SPA_FIRST, GPA_ALL, false, &batch);
        gpa_overlay_set(&space, &a, 3, OVERLAY_SPA, GPA_READ, &batch);
        gpa_overlay_set(&space, &b, 3, OVERLAY_SPA + 1, GPA_READ, &batch);
        ck_assert_uint_eq(gpa_translate(&space, 0x3000, 0).spa >> 12, OVERLAY_SPA + 1);
        gpa_map(&space, 3, SPA_FIRST + 9, GPA_READ, false, &batch);
        gpa_overlay_clear(&space, newest_first ? &b : &a, &batch);
        ck_assert_uint_eq(gpa_translate(&space, 0x3000, 0).spa >> 12, OVERLAY_SPA + !newest_first);
        gpa_overlay_clear(&space, newest_first ? &a : &b, &batch);
        ck_assert_uint_eq(gpa_translate(&space, 0x3000, 0).spa >> 12, SPA_FIRST + 9);
        ck_assert(!gpa_translate(&space, 0x3000, 0).overlay);
        gpa_overlay_clear(&space, &a, &batch);
        release();
        ck_assert_uint_eq(frames_uses(&frames, SPA_FIRST * PAGE_SIZE), 0);
        ck_assert_uint_eq(frames_uses(&frames, (SPA_FIRST + 9) * PAGE_SIZE), 1);
    }
    // Over nothing: after it is gone the tables are too.
    gpa_unmap(&space, 3, false, &batch);
    gpa_overlay_set(&space, &a, 3, OVERLAY_SPA, GPA_ALL, &batch);
    ck_assert_uint_eq(space.mapped_pages, 0);
    gpa_overlay_clear(&space, &a, &batch);
    release();
    ck_assert_uint_eq(pool_balance(&pool).in_use, 1);
}
END_TEST

// The overlaid page keeps its overlay when its 2 MiB range is remapped or unmapped as a whole.
START_TEST(overlay_survives_large_operations)
{
    struct gpa_overlay a = {.set = false};

    gpa_map(&space, 512, SPA_FIRST, GPA_ALL, true, &batch);
    gpa_overlay_set(&space, &a, 515, OVERLAY_SPA, GPA_READ, &batch);
    ck_assert(batch.flush);
    release();
    ck_assert_uint_eq(gpa_map(&space, 512, SPA_FIRST + 512, GPA_READ, true, &batch),
                      HV_STATUS_SUCCESS);
    release();
    ck_assert_uint_eq(gpa_translate(&space, 515 << 12, 0).spa >> 12, OVERLAY_SPA);
    ck_assert_uint_eq(gpa_translate(&space, 514 << 12, 0).spa >> 12, SPA_FIRST + 512 + 2);
    for (unsigned i = 0; i < 512; i++) {
        ck_assert_uint_eq(frames_uses(&frames, (SPA_FIRST + i) * PAGE_SIZE), 0);
        ck_assert_uint_eq(frames_uses(&frames, (SPA_FIRST + 512 + i) * PAGE_SIZE), 1);
    }
    ck_assert_uint_eq(gpa_unmap(&space, 512, true, &batch), HV_STATUS_SUCCESS);
    release();
    ck_assert(gpa_translate(&space, 515 << 12, 0).overlay);
    ck_assert_uint_eq(space.mapped_pages, 0);
    for (unsigned i = 0; i < 512; i++)
        ck_assert_uint_eq(frames_uses(&frames, (SPA_FIRST + 512 + i) * PAGE_SIZE), 0);
    gpa_overlay_clear(&space, &a, &batch);
    release();
    ck_assert_uint_eq(pool_balance(&pool).in_use, 1);
}
END_TEST

// The frame table has no page left for counters: a split is refused, and nothing changes.
START_TEST(frame_table_out_of_memory)
{
    gpa_map(&space, 512, 0, GPA_ALL, true, &batch);
    while (pool_alloc(&frame_pool) != NULL)
        ;
    ck_assert_uint_eq(gpa_unmap(&space, 513, false, &batch), HV_STATUS_INSUFFICIENT_ROOT_MEMORY);
    ck_assert_uint_eq(gpa_map(&space, 1, 1, GPA_ALL, false, &batch),
                      HV_STATUS_INSUFFICIENT_ROOT_MEMORY);
    ck_assert_int_eq(gpa_pin(&space, 512 << 12, GPA_READ).status, GPA_NO_COUNTERS);
    ck_assert_uint_eq(gpa_translate(&space, 513 << 12, 0).page_size, LARGE_PAGE_SIZE);
    ck_assert_uint_eq(space.slpt.table_pages, 3);
    ck_assert_uint_eq(pool_balance(&pool).in_use, 3);
    ck_assert(!batch.flush);
}
END_TEST

START_TEST(destroy_is_bounded)
{
    unsigned calls = 0;

    for (uint64_t i = 0; i < 1000; i++)
        gpa_map(&space, i, SPA_FIRST + i, GPA_ALL, false, &batch);
    while (gpa_space_destroy(&space, 64))
        calls++;
    // 1,000 pages, and at most 4 * 512 empty entries.
    ck_assert_uint_ge(calls, 1000 / 64);
    ck_assert_uint_le(calls, (1000 + 4 * 512) / 64 + 1);
    ck_assert_uint_eq(pool_balance(&pool).in_use, 0);
    check_uses();
}
END_TEST

START_TEST(destroy_with_overlay_stops)
{
    struct gpa_overlay record = {.set = false};

    gpa_overlay_set(&space, &record, 7, OVERLAY_SPA, GPA_READ, &batch);
    gpa_space_destroy(&space, 64);
}
END_TEST

// Into a part of the space that has no tables, with too few pages for them: the overlay stays, and
// so does what it takes to keep it. Within its table it moves without any.
START_TEST(overlay_without_memory_stays)
{
    const uint64_t far = region_base[4];
    struct gpa_overlay a = {.set = false};
    uint64_t in_use, pa;

    ck_assert_uint_eq(gpa_overlay_set(&space, &a, 3, OVERLAY_SPA, GPA_READ, &batch), 0);
    in_use = pool_balance(&pool).in_use;
    while (pool_balance(&pool).available > 2)
        ck_assert(pool_withdraw(&pool, &pa));
    ck_assert_uint_eq(gpa_overlay_set(&space, &a, far, OVERLAY_SPA, GPA_READ, &batch),
                      HV_STATUS_INSUFFICIENT_MEMORY);
    release();
    ck_assert(a.set && a.gpa_page == 3);
    ck_assert_uint_eq(pool_balance(&pool).in_use, in_use);
    ck_assert_uint_eq(gpa_translate(&space, 0x3000, GPA_READ).spa >> 12, OVERLAY_SPA);
    ck_assert_int_eq(gpa_translate(&space, far << 12, GPA_READ).status, GPA_UNMAPPED);
    ck_assert_uint_eq(gpa_overlay_set(&space, &a, 4, OVERLAY_SPA, GPA_READ, &batch), 0);
    ck_assert(batch.flush);
    release();
    ck_assert_int_eq(gpa_translate(&space, 0x3000, GPA_READ).status, GPA_UNMAPPED);
    ck_assert_uint_eq(gpa_translate(&space, 0x4000, GPA_READ).spa >> 12, OVERLAY_SPA);
    gpa_overlay_clear(&space, &a, &batch);
    release();
    ck_assert_uint_eq(pool_balance(&pool).in_use, 1);
}
END_TEST

START_TEST(full_batch_stops)
{
    for (uint64_t i = 0; i <= 2 * GPA_BATCH_ITEMS; i++)
        gpa_map(&space, 7, SPA_FIRST + i, GPA_ALL, false, &batch);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gpa");
    TCase *runs = tcase_create("random");
    TCase *tests = tcase_create("behaviour");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(runs, 300);
    tcase_add_test(runs, random_npt);
    tcase_add_test(runs, random_ept);
    tcase_add_test(runs, random_short_of_memory);
    tcase_add_checked_fixture(tests, setup, fake_phys_teardown);
    tcase_add_test(tests, arguments);
    tcase_add_test(tests, access_tells_unmapped_from_denied);
    tcase_add_test(tests, mapping_the_unmapped_needs_no_flush);
    tcase_add_test(tests, release_waits_for_the_flush);
    tcase_add_test(tests, pinned_pages_stay);
    tcase_add_test(tests, overlays_nest);
    tcase_add_test(tests, overlay_survives_large_operations);
    tcase_add_test(tests, overlay_without_memory_stays);
    tcase_add_test(tests, frame_table_out_of_memory);
    tcase_add_test(tests, destroy_is_bounded);
    tcase_add_test_raise_signal(tests, destroy_with_overlay_stops, SIGILL);
    tcase_add_test_raise_signal(tests, full_batch_stops, SIGILL);
    suite_add_tcase(suite, tests);
    suite_add_tcase(suite, runs);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
