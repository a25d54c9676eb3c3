// SPDX-License-Identifier: BSD-2-Clause-Patent
// What LPs share, from CPUID leaves as real and emulated processors have them.
#include <check.h>
#include <string.h>

#include "corbel/topology.h"

struct leaf {
    uint32_t leaf, subleaf, regs[4];
};

static const struct leaf *leaves;
static size_t leaf_count;

static void fake(uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
    memset(regs, 0, 16);
    for (size_t i = 0; i < leaf_count; i++)
        if (leaves[i].leaf == leaf && leaves[i].subleaf == subleaf)
            memcpy(regs, leaves[i].regs, 16);
}

static struct topology read(const struct leaf *l, size_t count)
{
    struct topology t;

    leaves = l;
    leaf_count = count;
    topology_read(fake, &t);
    return t;
}
#define READ(l) read(l, sizeof(l) / sizeof((l)[0]))

static void is(const struct topology *t, uint32_t core, uint32_t cache, uint32_t node)
{
    ck_assert_uint_eq(t->shift[SCHED_NEAR_CORE], core);
    ck_assert_uint_eq(t->shift[SCHED_NEAR_CACHE], cache);
    ck_assert_uint_eq(t->shift[SCHED_NEAR_NODE], node);
}

START_TEST(intel_with_threads)
{
    static const struct leaf l[] = {
        {0, 0, {0x1f, 0, 0, 0}},
        {0x4, 0, {0x1c004121, 0, 0, 0}}, // L1, two threads
        {0x4, 1, {0x1c004163, 0, 0, 0}}, // L2
        {0x4, 2, {0x1c07c163, 0, 0, 0}}, // L3, 32 threads
        {0x1f, 0, {1, 2, 0x100, 5}},     // threads
        {0x1f, 1, {5, 16, 0x201, 5}},    // cores
        {0xb, 0, {4, 99, 0x100, 5}},     // not asked: 1Fh has it
        {0x80000000, 0, {0x80000008, 0, 0, 0}},
    };
    struct topology t = READ(l);
    is(&t, 1, 5, 5);
    struct sched_place place = topology_place(&t, 0x27);
    ck_assert_uint_eq(place.id[SCHED_NEAR_CORE], 0x13);
    ck_assert_uint_eq(place.id[SCHED_NEAR_NODE], 1);
}
END_TEST

START_TEST(amd_with_levels_and_caches_of_cores)
{
    static const struct leaf l[] = {
        {0, 0, {0xd, 0, 0, 0}},
        {0xb, 0, {1, 2, 0x100, 0}},
        {0xb, 1, {7, 128, 0x201, 0}},
        {0x80000000, 0, {0x80000020, 0, 0, 0}},
        {0x80000001, 0, {0, 0, 1u << 22, 0}},
        {0x80000008, 0, {0, 0, 0x707f, 0}},
        {0x8000001d, 0, {0x4121, 0, 0, 0}},
        {0x8000001d, 1, {0x4143, 0, 0, 0}},
        {0x8000001d, 2, {0x3c163, 0, 0, 0}}, // 16 threads share the L3
        {0x8000001e, 0, {0, 0x300, 0, 0}},   // not asked
    };
    struct topology t = READ(l);
    is(&t, 1, 4, 7);
}
END_TEST

START_TEST(amd_without_levels)
{
    static const struct leaf l[] = {
        {0, 0, {0xa, 0, 0, 0}},
        {0x80000000, 0, {0x8000001e, 0, 0, 0}},
        {0x80000001, 0, {0, 0, 1u << 22, 0}},
        {0x80000008, 0, {0, 0, 0x7, 0}}, // 8 threads, size of the id not told
        {0x8000001e, 0, {0, 0x100, 0, 0}},
    };
    struct topology t = READ(l);
    is(&t, 1, 1, 3);
}
END_TEST

START_TEST(nothing_is_told)
{
    static const struct leaf old[] = {{0, 0, {1, 0, 0, 0}}};
    // One level without processors, and subleaves that never end.
    static const struct leaf empty[] = {{0, 0, {0xb, 0, 0, 0}}, {0xb, 0, {3, 0, 0x100, 0}}};
    struct topology t = READ(old);
    is(&t, 0, 0, 0);
    t = READ(empty);
    is(&t, 0, 0, 0);
}
END_TEST

START_TEST(shifts_never_shrink)
{
    static const struct leaf odd[] = {
        {0, 0, {0xb, 0, 0, 0}},
        {0x4, 2, {0x63, 0, 0, 0}},
        {0xb, 0, {31, 2, 0x100, 0}},
        {0xb, 1, {2, 2, 0x201, 0}},
    };
    struct topology t = READ(odd);
    is(&t, 31, 31, 31);
    ck_assert_uint_eq(topology_place(&t, UINT32_MAX).id[SCHED_NEAR_NODE], 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("topology");
    TCase *t = tcase_create("topology");
    tcase_add_test(t, intel_with_threads);
    tcase_add_test(t, amd_with_levels_and_caches_of_cores);
    tcase_add_test(t, amd_without_levels);
    tcase_add_test(t, nothing_is_told);
    tcase_add_test(t, shifts_never_shrink);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
