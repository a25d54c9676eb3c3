// SPDX-License-Identifier: BSD-2-Clause-Patent
// The hypervisor's address space as the loader builds it: the tables are walked by a walker of the
// test's own, and every page that is present must be one that the layout names, with its rights.
#include "boot/pagetable.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "boot/space.h"
#include "corbel/layout.h"

#define BLOCK_PA      0x7fe00000ul
#define CONTEXTS_PA   0x12345000ul
#define TRAMPOLINE_PA 0x00801000ul
#define APIC_PA       0xfee00000ul

static uint8_t file[0x6000];
static struct image image = {
    .file = file,
    .entry = HV_IMAGE_BASE,
    .size = 0x9000,
    .segment_count = 3,
    .segments =
        {
            {0x1000, 0x2010, HV_IMAGE_BASE, 0x2010, PT_EXECUTE},
            {0x3010, 0x800, HV_IMAGE_BASE + 0x4000, 0x800, PT_READ},
            {0x4000, 0x100, HV_IMAGE_BASE + 0x6000, 0x2001, PT_WRITE},
        },
};

static struct space_request request;
static struct space_plan plan;
static uint8_t *block;
static struct launch_info *info;

static void build(uint32_t lps, unsigned levels, uint64_t memory)
{
    for (size_t i = 0; i < sizeof(file); i++)
        file[i] = (uint8_t)(i * 7 + i / 256 + 1);
    request = (struct space_request){
        .image = &image,
        .lp_count = lps,
        .levels = levels,
        .memory = memory,
        .ram_bytes = 2ul << 30,
        .contexts_pa = CONTEXTS_PA,
        .trampoline_pa = TRAMPOLINE_PA,
        .apic_pa = APIC_PA,
    };
    ck_assert(space_plan(&request, &plan));
    block = calloc(1, plan.size);
    info = space_build(&request, &plan, block, BLOCK_PA);
    ck_assert_ptr_nonnull(info);
}

static void drop(void)
{
    free(block);
}

struct leaf {
    uint64_t va, pa;
    bool write, execute, uncached;
};
typedef void visit(const struct leaf *leaf, void *context);

// As ck_assert, but cheap where it holds: walks make millions of checks.
#define CHECK(condition, va)                                                                       \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg("%s at %lx", #condition, (unsigned long)(va));                            \
    } while (0)

// Every table must lie in the block's tables; every leaf is handed to `visit`.
static void walk(uint64_t table, unsigned level, uint64_t va, bool write, bool execute, visit *v,
                 void *context)
{
    CHECK(table >= BLOCK_PA + plan.tables, va);
    CHECK(table < info->pool.base, va);
    const uint64_t *entries = (const uint64_t *)(block + (table - BLOCK_PA));
    for (uint64_t i = 0; i < 512; i++) {
        if (!entries[i])
            continue;
        CHECK(entries[i] & PTE_PRESENT, va);
        // No U, A, D, PS, G, nor any reserved or ignored bit.
        CHECK(!(entries[i] & 0x7ff0000000000fe4ul & ~(uint64_t)PTE_PCD), va);
        uint64_t at = va | i << (12 + 9 * (level - 1));
        bool w = write && (entries[i] & PTE_WRITE), x = execute && !(entries[i] >> 63);
        if (level > 1) {
            walk(entries[i] & PTE_ADDRESS, level - 1, at, w, x, v, context);
            continue;
        }
        unsigned top = 12 + 9 * request.levels - 1;
        if (at >> top & 1)
            at |= ~0ul << top;
        bool uc = (entries[i] & PTE_PCD) && (entries[i] & PTE_PWT);
        v(&(struct leaf){at, entries[i] & PTE_ADDRESS, w, x, uc}, context);
    }
}

static void walk_all(visit *v, void *context)
{
    walk(info->hv_cr3, request.levels, 0, true, true, v, context);
}

struct region {
    uint64_t va, pa, pages;
    bool write, execute, uncached;
    uint64_t seen;
};
struct regions {
    struct region list[4 * 256 + 16];
    unsigned count;
    unsigned at; // the first that is not wholly seen
};

static void expect(struct regions *r, uint64_t va, uint64_t pa, uint64_t pages, const char *rights)
{
    r->list[r->count++] = (struct region){
        va,
        pa,
        pages,
        strchr(rights, 'w') != NULL,
        strchr(rights, 'x') != NULL,
        strchr(rights, 'u') != NULL,
        0,
    };
}

// Regions are in ascending order of addresses, as the walk is.
static void match(const struct leaf *leaf, void *context)
{
    struct regions *r = context;
    CHECK(!(leaf->write && leaf->execute), leaf->va);
    while (r->at < r->count && r->list[r->at].seen == r->list[r->at].pages)
        r->at++;
    CHECK(r->at < r->count, leaf->va);
    struct region *e = &r->list[r->at];
    CHECK(leaf->va == e->va + e->seen * PAGE_SIZE, leaf->va);
    CHECK(leaf->pa == e->pa + e->seen * PAGE_SIZE, leaf->va);
    CHECK(leaf->write == e->write && leaf->execute == e->execute, leaf->va);
    CHECK(leaf->uncached == e->uncached, leaf->va);
    e->seen++;
}

static void expect_layout(struct regions *r)
{
    uint64_t areas = BLOCK_PA + plan.areas;
    expect(r, TRAMPOLINE_PA, TRAMPOLINE_PA, 1, "x");
    expect(r, HV_DIRECT_BASE + CONTEXTS_PA, CONTEXTS_PA, space_context_pages(request.lp_count),
           "w");
    expect(r, HV_DIRECT_BASE + BLOCK_PA + plan.info, BLOCK_PA + plan.info,
           (plan.size - plan.info) / PAGE_SIZE, "w");
    expect(r, HV_MMIO_BASE, APIC_PA, 1, "wu");
    for (uint64_t lp = 0; lp < request.lp_count; lp++) {
        uint64_t va = HV_LP_BASE + lp * HV_LP_AREA_SIZE, pa = areas + lp * 13 * PAGE_SIZE;
        expect(r, va + 0x0000, pa + 0x0000, 2, "w");
        expect(r, va + 0x3000, pa + 0x2000, 2, "w");
        expect(r, va + 0x6000, pa + 0x4000, 2, "w");
        expect(r, va + 0x9000, pa + 0x6000, 7, "w");
    }
    expect(r, HV_IMAGE_BASE, BLOCK_PA, 3, "x");
    expect(r, HV_IMAGE_BASE + 0x4000, BLOCK_PA + 0x4000, 1, "");
    expect(r, HV_IMAGE_BASE + 0x6000, BLOCK_PA + 0x6000, 3, "w");
}

static const struct {
    uint32_t lps;
    unsigned levels;
    uint64_t memory;
} shapes[] = {{1, 4, 0},   {4, 5, 0},         {256, 4, 0},
              {256, 5, 0}, {2, 4, 6ul << 20}, {3, 4, 64ul << 20}};

START_TEST(test_space)
{
    static struct regions r;
    r.count = r.at = 0;
    build(shapes[_i].lps, shapes[_i].levels, shapes[_i].memory);
    expect_layout(&r);
    walk_all(match, &r);
    for (unsigned i = 0; i < r.count; i++)
        CHECK(r.list[i].seen == r.list[i].pages, r.list[i].va);
    // The launch_info is in the direct map, the pool is free and up to the end.
    ck_assert_uint_eq(info->magic, LAUNCH_MAGIC);
    ck_assert_uint_eq(info->block.base, BLOCK_PA);
    ck_assert_uint_eq(info->block.size, plan.size);
    ck_assert_uint_eq(info->pool.base % PAGE_SIZE, 0);
    ck_assert_uint_eq(info->pool.base + info->pool.size, BLOCK_PA + plan.size);
    if (!shapes[_i].memory)
        ck_assert_uint_ge(info->pool.size, (8ul + shapes[_i].lps) << 20);
    else
        ck_assert_uint_eq(plan.size, shapes[_i].memory);
    for (const uint8_t *b = block + (info->pool.base - BLOCK_PA); b < block + plan.size; b++)
        CHECK(!*b, b - block);
    drop();
}
END_TEST

START_TEST(test_image_is_copied)
{
    build(2, 4, 0);
    ck_assert(!memcmp(block, file + 0x1000, 0x2010));
    ck_assert(!memcmp(block + 0x4000, file + 0x3010, 0x800));
    ck_assert(!memcmp(block + 0x6000, file + 0x4000, 0x100));
    for (size_t i = 0x2010; i < 0x4000; i++)
        CHECK(!block[i], i);
    for (size_t i = 0x6100; i < 0x9000; i++)
        CHECK(!block[i], i);
    drop();
}
END_TEST

static uint64_t *descend(uint64_t va)
{
    uint64_t table = info->hv_cr3;
    for (unsigned level = request.levels; level > 1; level--) {
        uint64_t entry =
            *(uint64_t *)(block + (table - BLOCK_PA) + (va >> (12 + 9 * (level - 1)) & 511) * 8);
        CHECK(entry & PTE_PRESENT, va);
        table = entry & PTE_ADDRESS;
    }
    return (uint64_t *)(block + (table - BLOCK_PA) + (va >> 12 & 511) * 8);
}

START_TEST(test_windows_are_ready)
{
    build(256, 4, 0);
    for (uint64_t i = 0; i < 256 * HV_WINDOW_SLOTS; i++)
        CHECK(!*descend(HV_WINDOW_BASE + i * PAGE_SIZE), i);
    drop();
}
END_TEST

START_TEST(test_small_memory_is_refused)
{
    build(1, 4, 0);
    drop();
    request.memory = 2ul << 20;
    ck_assert(!space_plan(&request, &plan));
    request.memory = 4ul << 20;
    ck_assert(space_plan(&request, &plan));
    request.lp_count = 64;
    ck_assert(!space_plan(&request, &plan));
}
END_TEST

START_TEST(test_stacks)
{
    ck_assert_uint_eq(space_stack_top(0), HV_LP_BASE + 0x10000);
    ck_assert_uint_eq(space_stack_top(255), HV_LP_BASE + 256 * 0x10000);
}
END_TEST

START_TEST(test_map_refuses)
{
    static uint8_t tables[16 * PAGE_SIZE] __attribute__((aligned(4096)));
    struct pagetable pt;
    memset(tables, 0, sizeof(tables));
    ck_assert(!pagetable_init(&pt, tables, 0x1001, 16, 4));
    ck_assert(!pagetable_init(&pt, tables, 0, 16, 4));
    ck_assert(!pagetable_init(&pt, tables, 0x1000, 0, 4));
    ck_assert(!pagetable_init(&pt, tables, 0x1000, 16, 3));
    ck_assert(pagetable_init(&pt, tables, 0x1000, 16, 4));
    ck_assert(!pagetable_map(&pt, 0x5000, 0x5000, 1, PT_WRITE | PT_EXECUTE));
    ck_assert(!pagetable_map(&pt, 0x5001, 0x5000, 1, PT_WRITE));
    ck_assert(!pagetable_map(&pt, 0x5000, 0x5001, 1, PT_WRITE));
    ck_assert(!pagetable_map(&pt, 0x5000, 1ul << 52, 1, PT_WRITE));
    ck_assert(!pagetable_map(&pt, 0x5000, (1ul << 52) - PAGE_SIZE, 2, PT_WRITE));
    ck_assert(!pagetable_map(&pt, 0x800000000000ul, 0x5000, 1, PT_WRITE));
    ck_assert(!pagetable_map(&pt, 0x7ffffffff000ul, 0x5000, 2, PT_WRITE));
    ck_assert(!pagetable_map(&pt, 0xfffffffffffff000ul, 0x5000, 2, PT_WRITE));
    ck_assert_uint_eq(pt.used, 1);
    ck_assert(pagetable_map(&pt, 0xfffffffffffff000ul, 0x5000, 1, PT_WRITE));
    ck_assert(!pagetable_map(&pt, 0xfffffffffffff000ul, 0x5000, 1, PT_WRITE));
    ck_assert_uint_eq(pt.used, 4);
    ck_assert(pagetable_map(&pt, 0x7fffffffe000ul, 0x5000, 2, PT_READ));
    ck_assert_uint_eq(pt.used, 7);
    // Nine pages are left: too few for four more places of three tables each.
    for (uint64_t i = 0; i < 3; i++)
        ck_assert(pagetable_reserve(&pt, i << 39, 1));
    ck_assert(!pagetable_reserve(&pt, 3ul << 39, 1));
    ck_assert_uint_eq(pt.used, 16);
}
END_TEST

// The bound must hold wherever a run begins.
START_TEST(test_bound)
{
    static uint8_t tables[64 * PAGE_SIZE] __attribute__((aligned(4096)));
    static const uint64_t starts[] = {0, 0x1ff000, 0x3ffff000, 0x7fffffe000, 0xffffff8000000000ul};
    static const uint64_t counts[] = {1, 2, 511, 512, 513, 1025, 5000};
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        for (size_t j = 0; j < sizeof(counts) / sizeof(counts[0]); j++) {
            struct pagetable pt;
            memset(tables, 0, sizeof(tables));
            ck_assert(pagetable_init(&pt, tables, 0x1000, 64, 5));
            ck_assert(pagetable_map(&pt, starts[i], 0, counts[j], PT_READ));
            ck_assert_uint_le(pt.used - 1, pagetable_bound(counts[j]));
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pagetable");
    TCase *tcase = tcase_create("pagetable");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, test_space, 0, (int)(sizeof(shapes) / sizeof(shapes[0])));
    tcase_add_test(tcase, test_image_is_copied);
    tcase_add_test(tcase, test_windows_are_ready);
    tcase_add_test(tcase, test_small_memory_is_refused);
    tcase_add_test(tcase, test_stacks);
    tcase_add_test(tcase, test_map_refuses);
    tcase_add_test(tcase, test_bound);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
