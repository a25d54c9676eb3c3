// SPDX-License-Identifier: BSD-2-Clause-Patent
// Which processors the root keeps, and the MADT that tells it so (CPU resource controls: Minroot).
#include "boot/minroot.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct launch_lp lps[32];
static uint32_t nodes[32];

static void machine(uint32_t count, uint32_t per_node)
{
    for (uint32_t i = 0; i < count; i++) {
        lps[i] = (struct launch_lp){.apic_id = 2 * i};
        nodes[i] = per_node ? i / per_node : 0;
    }
}

static void expect_kept(uint32_t count, uint32_t rootproc, uint64_t kept)
{
    uint32_t next = 0, rest = rootproc;

    for (uint32_t i = 0; i < count; i++)
        ck_assert_uint_eq(lps[i].root_vp, kept >> i & 1 ? next++ : rest++);
    ck_assert_uint_eq(next, rootproc);
}

START_TEST(the_first_processors_are_kept)
{
    machine(8, 0);
    minroot_choose(lps, nodes, 8, 0, 3);
    expect_kept(8, 3, 0x07);
}
END_TEST

START_TEST(without_a_number_all_are_kept)
{
    machine(8, 4);
    minroot_choose(lps, nodes, 8, 0, 0);
    expect_kept(8, 8, 0xff);
    minroot_choose(lps, nodes, 8, 2, 9);
    expect_kept(8, 8, 0xff);
}
END_TEST

// CPU resource controls, example 1: 32 LPs in two nodes, 8 root VPs.
START_TEST(each_node_gets_its_part)
{
    machine(32, 16);
    minroot_choose(lps, nodes, 32, 0, 8);
    expect_kept(32, 8, 0x000f000f);
}
END_TEST

START_TEST(the_boot_processor_is_kept)
{
    machine(8, 0);
    minroot_choose(lps, nodes, 8, 5, 1);
    expect_kept(8, 1, 0x20);
    minroot_choose(lps, nodes, 8, 5, 3);
    expect_kept(8, 3, 0x23);
    machine(8, 4);
    minroot_choose(lps, nodes, 8, 6, 4);
    expect_kept(8, 4, 0x53);
    minroot_choose(lps, nodes, 8, 6, 1); // node 1's, though node 0 comes first
    expect_kept(8, 1, 0x40);
}
END_TEST

START_TEST(what_does_not_divide_goes_to_the_first_nodes)
{
    machine(12, 4);
    minroot_choose(lps, nodes, 12, 0, 5);
    expect_kept(12, 5, 0x133);
}
END_TEST

START_TEST(a_small_node_leaves_its_part_to_others)
{
    machine(9, 8);
    minroot_choose(lps, nodes, 9, 0, 6);
    expect_kept(9, 6, 0x11f);
}
END_TEST

START_TEST(any_machine_keeps_as_many_as_asked_for)
{
    srand(1);
    for (int i = 0; i < 100000; i++) {
        uint32_t count = 1 + (uint32_t)rand() % 32, wanted = (uint32_t)rand() % 40;
        uint32_t boot = (uint32_t)rand() % count,
                 expected = wanted && wanted < count ? wanted : count;
        uint64_t seen = 0;
        machine(count, 0);
        for (uint32_t k = 0; k < count; k++)
            nodes[k] = (uint32_t)rand() % 4;
        minroot_choose(lps, nodes, count, boot, wanted);
        for (uint32_t k = 0; k < count; k++)
            seen |= 1ull << lps[k].root_vp;
        ck_assert_uint_eq(seen, (1ull << count) - 1); // each index once
        ck_assert_uint_lt(lps[boot].root_vp, expected);
    }
}
END_TEST

// ---- the MADT -----------------------------------------------------------------------------------

static uint8_t madt[256];
static uint32_t end;

static void entry(uint8_t type, uint8_t size, uint32_t id_at, uint32_t id, uint32_t flags_at)
{
    uint8_t *e = madt + end;

    memset(e, 0, size);
    e[0] = type;
    e[1] = size;
    memcpy(e + id_at, &id, type == 0 ? 1 : 4);
    e[flags_at] = 0x5; // enabled, and a bit that is not ours
    end += size;
    memcpy(madt + 4, &end, 4);
}

static void make_madt(void)
{
    memset(madt, 0, sizeof madt);
    memcpy(madt, "APIC", 4);
    end = 44;
    entry(0, 8, 3, 0, 4);
    entry(0, 8, 3, 2, 4);
    entry(1, 12, 3, 2, 4); // an I/O APIC of the same number
    entry(9, 16, 4, 4, 8);
    entry(9, 16, 4, 6, 8);
    entry(0, 8, 3, 0x33, 4); // nobody's
}

static uint8_t sum(void)
{
    uint8_t s = 0;

    for (uint32_t i = 0; i < end; i++)
        s = (uint8_t)(s + madt[i]);
    return s;
}

START_TEST(processors_that_are_not_the_roots_are_disabled)
{
    machine(4, 0);
    minroot_choose(lps, nodes, 4, 2, 2); // keeps APIC ids 0 and 4
    make_madt();
    ck_assert_uint_eq(minroot_hide(madt, sizeof madt, lps, 4, 2), 2);
    ck_assert_uint_eq(madt[44 + 4], 0x5);
    ck_assert_uint_eq(madt[52 + 4], 0x4);
    ck_assert_uint_eq(madt[60 + 4], 0x5);
    ck_assert_uint_eq(madt[72 + 8], 0x5);
    ck_assert_uint_eq(madt[88 + 8], 0x4);
    ck_assert_uint_eq(madt[104 + 4], 0x5);
    ck_assert_uint_eq(sum(), 0);
}
END_TEST

START_TEST(a_table_that_is_cut_off_is_not_left)
{
    machine(4, 0);
    minroot_choose(lps, nodes, 4, 0, 1);
    for (uint32_t size = 44; size <= 112; size++) {
        uint8_t *copy = malloc(size); // its end is guarded by the sanitizer
        make_madt();
        memcpy(copy, madt, size);
        minroot_hide(copy, size, lps, 4, 1);
        free(copy);
    }
    make_madt();
    madt[53] = 0; // an entry without a length
    ck_assert_uint_eq(minroot_hide(madt, sizeof madt, lps, 4, 1), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("minroot");
    TCase *t = tcase_create("minroot");
    SRunner *r;
    int failed;

    tcase_add_test(t, the_first_processors_are_kept);
    tcase_add_test(t, without_a_number_all_are_kept);
    tcase_add_test(t, each_node_gets_its_part);
    tcase_add_test(t, the_boot_processor_is_kept);
    tcase_add_test(t, what_does_not_divide_goes_to_the_first_nodes);
    tcase_add_test(t, a_small_node_leaves_its_part_to_others);
    tcase_add_test(t, any_machine_keeps_as_many_as_asked_for);
    tcase_add_test(t, processors_that_are_not_the_roots_are_disabled);
    tcase_add_test(t, a_table_that_is_cut_off_is_not_left);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
