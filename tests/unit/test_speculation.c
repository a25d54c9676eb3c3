// SPDX-License-Identifier: BSD-2-Clause-Patent
// Which processor needs what between two partitions. No emulator of the rig shows these bits.
#include <check.h>
#include <stdlib.h>

#include "corbel/speculation.h"
#include "corbel/trace.h"

#define IBPB      (1u << 12)
#define IBPB_RET  (1u << 30)
#define IBRS      (1u << 14)
#define STIBP     (1u << 15)
#define SSBD      (1u << 24)
#define PSFD      (1u << 28)
#define VERW      (1u << 5)
#define AUTO_IBRS (1u << 8)
#define TSA_SQ_NO (1u << 1)
#define TSA_L1_NO (1u << 2)

// What speculation_switch calls there.
void speculation_fill_returns(void)
{
}

void trace_change(void)
{
}

static const struct {
    const char *what;
    struct speculation_leaves leaves;
    uint32_t duties;
} processors[] = {
    {"QEMU's EPYC", {0x00800f12, 0, 0, 0, 0}, SPECULATION_DIVIDE},
    {"Zen 1", {0x00800f12, IBPB, 0, 0, 0}, SPECULATION_IBPB | SPECULATION_RSB | SPECULATION_DIVIDE},
    {"Zen+", {0x00800f82, IBPB, 0, 0, 0}, SPECULATION_IBPB | SPECULATION_RSB | SPECULATION_DIVIDE},
    {"Zen 1, model 50h", {0x00850f00, 0, 0, 0, 0}, SPECULATION_DIVIDE},
    {"Hygon", {0x00900f02, IBPB, 0, 0, 0}, SPECULATION_IBPB | SPECULATION_RSB | SPECULATION_DIVIDE},
    {"Zen 2",
     {0x00830f10, IBPB | IBRS | STIBP | SSBD, 0, 0, 0},
     SPECULATION_IBPB | SPECULATION_RSB | SPECULATION_CONTROL},
    {"Zen 2, model 60h", {0x00860f01, 0, 0, 0, 0}, 0},
    {"Zen 3, microcode without the bit",
     {0x00a20f10, IBPB | IBRS | PSFD, 0, 0, 0},
     SPECULATION_IBPB | SPECULATION_RSB | SPECULATION_VERW | SPECULATION_CONTROL},
    {"Zen 3, which says that one queue is safe",
     {0x00a20f10, IBPB, VERW, TSA_L1_NO, 0},
     SPECULATION_IBPB | SPECULATION_RSB | SPECULATION_VERW},
    {"Zen 4",
     {0x00a10f11, IBPB | IBPB_RET | SSBD, AUTO_IBRS | VERW, 0, 0},
     SPECULATION_IBPB | SPECULATION_VERW | SPECULATION_AUTO_IBRS | SPECULATION_CONTROL},
    {"Zen 5",
     {0x00b00f21, IBPB | IBPB_RET | STIBP, AUTO_IBRS | VERW, TSA_SQ_NO | TSA_L1_NO, 0},
     SPECULATION_IBPB | SPECULATION_AUTO_IBRS | SPECULATION_CONTROL},
    {"IBPB_RET without IBPB", {0x00b00f21, IBPB_RET, 0, 0, 0}, 0},
};

#define MD_CLEAR  (1u << 10)
#define IBRS_IBPB (1u << 26)
#define L1D_FLUSH (1u << 28)

START_TEST(duties_of_intel)
{
    static const struct {
        uint32_t edx, duties;
    } rows[] = {
        {0, 0},
        {IBRS_IBPB, SPECULATION_IBPB | SPECULATION_RSB | SPECULATION_CONTROL},
        {1u << 27, SPECULATION_CONTROL},
        {1u << 31, SPECULATION_CONTROL},
        {MD_CLEAR, SPECULATION_VERW},
        {L1D_FLUSH | MD_CLEAR, SPECULATION_L1D | SPECULATION_VERW},
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct speculation_leaves l = {.signature = 0x50654, .leaf7_edx = rows[i].edx};
        ck_assert_msg(speculation_duties_intel(&l) == rows[i].duties, "row %u", i);
    }
}
END_TEST

// From whom to whom: predictors are for who comes next, buffers and the cache from who was before.
START_TEST(duties_between_partitions)
{
    enum { ALL = 0xff & ~SPECULATION_TRACE, TAUGHT = SPECULATION_IBPB | SPECULATION_RSB };
    enum { LEFT = SPECULATION_VERW | SPECULATION_L1D | SPECULATION_DIVIDE };
    static const char root, a, b;
    struct speculation_changes all, verw, trace;

    speculation_sort(ALL & ~SPECULATION_TRACE, &all);
    speculation_sort(SPECULATION_VERW, &verw);
    speculation_sort(SPECULATION_TRACE, &trace);
    ck_assert_uint_eq(speculation_between(&all, &a, &b, &root), TAUGHT | LEFT);
    ck_assert_uint_eq(speculation_between(&all, &a, &root, &root), TAUGHT);
    ck_assert_uint_eq(speculation_between(&all, &root, &a, &root), LEFT);
    ck_assert_uint_eq(speculation_between(&all, NULL, &a, &root), TAUGHT | LEFT);
    ck_assert_uint_eq(speculation_between(&all, NULL, &root, &root), TAUGHT);
    ck_assert_uint_eq(speculation_between(&verw, &a, &root, &root), 0);
    ck_assert_uint_eq(speculation_between(&verw, &root, &a, &root), SPECULATION_VERW);
    ck_assert_uint_eq(speculation_between(&trace, &a, &root, &root), SPECULATION_TRACE);
    ck_assert_uint_eq(speculation_between(&trace, &root, &a, &root), SPECULATION_TRACE);
}
END_TEST

START_TEST(duties)
{
    for (unsigned i = 0; i < sizeof(processors) / sizeof(processors[0]); i++)
        ck_assert_msg(speculation_duties(&processors[i].leaves) == processors[i].duties,
                      "%s: %x, want %x", processors[i].what,
                      speculation_duties(&processors[i].leaves), processors[i].duties);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("speculation");
    TCase *tests = tcase_create("speculation");
    tcase_add_test(tests, duties);
    tcase_add_test(tests, duties_of_intel);
    tcase_add_test(tests, duties_between_partitions);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
