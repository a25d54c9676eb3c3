// SPDX-License-Identifier: BSD-2-Clause-Patent
// Processor features that a parent withholds: what CPUID loses, and what goes with it. The machine
// here has everything, which no rig has.
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "corbel/cpufeatures.h"
#include "corbel/procfeatures.h"
#include "corbel/speculation.h"
#include "corbel/x86.h"
#include "hv/features.h"

#define ALL_CR4 (0x7fful | CR4_PCIDE | CR4_OSXSAVE | CR4_FSGSBASE | CR4_SMEP | CR4_SMAP | CR4_UMIP)

struct cpu_features cpu_features;

void cpuid_offered(uint32_t leaf, uint32_t subleaf, struct cpuid_entry *e)
{
    (void)leaf;
    (void)subleaf;
    *e = (struct cpuid_entry){~0u, ~0u, ~0u, ~0u};
}

static void machine(void)
{
    cpu_features = (struct cpu_features){.amd = true,
                                         .xsave = true,
                                         .rdtscp = true,
                                         .speculation = SPECULATION_CONTROL | SPECULATION_IBPB,
                                         .xcr0 = 0x2e7,
                                         .guest_cr4 = ALL_CR4 | CR4_LA57};
}

static struct procfeatures less(uint64_t bank0, uint64_t bank1, uint64_t xsave)
{
    const uint64_t disabled[PROCFEATURE_BANKS] = {bank0, bank1, xsave};
    struct procfeatures f;

    machine();
    procfeatures_init(&f, disabled);
    return f;
}

static struct cpuid_entry leaf(const struct procfeatures *f, uint32_t number, uint32_t subleaf)
{
    struct cpuid_entry e = {~0u, ~0u, ~0u, ~0u};

    procfeatures_hide(f, number, subleaf, &e);
    return e;
}

START_TEST(nothing_withheld)
{
    struct procfeatures f = less(0, 0, 0);
    struct cpuid_entry e = leaf(&f, 1, 0);

    ck_assert(!f.withholds && f.ibpb && f.deadline);
    ck_assert_uint_eq(f.cr4, ALL_CR4 | CR4_LA57);
    ck_assert_uint_eq(f.xcr0, 0x2e7);
    ck_assert_uint_eq(f.msrs, PROCFEATURE_TSC_AUX | PROCFEATURE_SPEC_CTRL);
    ck_assert_uint_eq(e.ecx & e.edx, ~0u);
    f = less(HV_PROC_FEATURE0_X87_POINTERS_SAVED, HV_BIT(63), HV_BIT(63)); // nothing that counts
    ck_assert(!f.withholds);
}
END_TEST

START_TEST(leaves)
{
    static const struct {
        uint64_t bank0;
        uint32_t leaf;
        struct cpuid_entry gone;
        uint64_t cr4;
    } rows[] = {
        {HV_PROC_FEATURE0_AES, 1, {.ecx = 1u << 25}, 0},
        {HV_PROC_FEATURE0_PCID, 1, {.ecx = 1u << 17}, CR4_PCIDE},
        {HV_PROC_FEATURE0_SMEP, 7, {.ebx = 1u << 7}, CR4_SMEP},
        {HV_PROC_FEATURE0_SMAP, 7, {.ebx = 1u << 20}, CR4_SMAP},
        {HV_PROC_FEATURE0_UMIP, 7, {.ecx = 1u << 2}, CR4_UMIP},
        {HV_PROC_FEATURE0_FSGSBASE, 7, {.ebx = 1u << 0}, CR4_FSGSBASE},
        {HV_PROC_FEATURE0_PAGE_1GB, 0x80000001, {.edx = 1u << 26}, 0},
        {HV_PROC_FEATURE0_SSE4A, 0x80000001, {.ecx = 1u << 6}, 0},
        {HV_PROC_FEATURE0_IBPB, 7, {.edx = 1u << 26}, 0}, // shared with IBRS
        {HV_PROC_FEATURE0_IBPB, 0x80000008, {.ebx = 1u << 12}, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct procfeatures f = less(rows[i].bank0, 0, 0);
        struct cpuid_entry e = leaf(&f, rows[i].leaf, 0), other = leaf(&f, rows[i].leaf, 1);
        ck_assert_uint_eq(e.eax, ~rows[i].gone.eax);
        ck_assert_uint_eq(e.ebx, ~rows[i].gone.ebx);
        ck_assert_uint_eq(e.ecx, ~rows[i].gone.ecx);
        ck_assert_uint_eq(e.edx, ~rows[i].gone.edx);
        ck_assert_uint_eq(other.eax & other.ebx & other.ecx & other.edx, ~0u);
        ck_assert_uint_eq(f.cr4, (ALL_CR4 | CR4_LA57) & ~rows[i].cr4);
    }
}
END_TEST

// SDM 1 13.3, 14.3, 15.3: instructions need the state that XSAVE keeps.
START_TEST(state_takes_instructions_along)
{
    struct procfeatures f = less(0, 0, HV_XSAVE_FEATURE_XSAVE);
    struct cpuid_entry one = leaf(&f, 1, 0), seven = leaf(&f, 7, 0), d = leaf(&f, 13, 1);

    ck_assert_uint_eq(f.cr4 & CR4_OSXSAVE, 0);
    ck_assert_uint_eq(f.xcr0, 3);
    ck_assert_uint_eq(~one.ecx, 1u << 12 | 1u << 26 | 1u << 28 | 1u << 29);
    ck_assert_uint_eq(seven.ebx & (1u << 5 | 1u << 16), 0);
    ck_assert_uint_eq(d.eax & 7, 0);
    ck_assert_uint_eq(procfeatures_bank(&f, PROCFEATURES_XSAVE), HV_XSAVE_FEATURE_GFNI);
    f = less(0, 0, HV_XSAVE_FEATURE_AVX);
    ck_assert_uint_eq(f.xcr0, 0x203); // PKRU stays
    ck_assert_uint_ne(f.cr4 & CR4_OSXSAVE, 0);
    ck_assert_uint_eq(procfeatures_bank(&f, PROCFEATURES0) & HV_PROC_FEATURE0_F16C, 0);
    f = less(0, 0, HV_XSAVE_FEATURE_AVX512);
    ck_assert_uint_eq(f.xcr0, 0x207);
    seven = leaf(&f, 7, 0);
    ck_assert_uint_eq(seven.ebx & (1u << 5 | 1u << 16 | 1u << 31), 1u << 5);
}
END_TEST

START_TEST(msrs)
{
    struct procfeatures f = less(HV_PROC_FEATURE0_RDTSCP, 0, 0);

    ck_assert_uint_eq(f.msrs & PROCFEATURE_TSC_AUX, PROCFEATURE_TSC_AUX); // RDPID reads it
    f = less(HV_PROC_FEATURE0_RDTSCP | HV_PROC_FEATURE0_RDPID, 0, 0);
    ck_assert_uint_eq(f.msrs, PROCFEATURE_SPEC_CTRL);
    f = less(HV_PROC_FEATURE0_IBRS | HV_PROC_FEATURE0_STIBP, 0, 0);
    ck_assert_uint_eq(f.msrs & PROCFEATURE_SPEC_CTRL, PROCFEATURE_SPEC_CTRL); // SSBD
    f = less(HV_PROC_FEATURE0_IBRS | HV_PROC_FEATURE0_STIBP | HV_PROC_FEATURE0_MDD, 0, 0);
    ck_assert_uint_eq(f.msrs, PROCFEATURE_TSC_AUX);
    f = less(HV_PROC_FEATURE0_IBRS | HV_PROC_FEATURE0_STIBP | HV_PROC_FEATURE0_MDD |
                 HV_PROC_FEATURE0_RDTSCP | HV_PROC_FEATURE0_RDPID,
             0, 0);
    ck_assert_uint_eq(f.msrs, 0);
    f = less(HV_PROC_FEATURE0_IBPB, HV_PROC_FEATURE1_TSC_DEADLINE_TMR, 0);
    ck_assert(!f.ibpb && !f.deadline);
}
END_TEST

// Whatever is withheld, the banks tell the rest.
START_TEST(banks)
{
    struct procfeatures whole = less(0, 0, 0), none = less(~0ul, ~0ul, ~0ul);
    uint64_t all0 = procfeatures_bank(&whole, PROCFEATURES0);

    ck_assert_uint_ne(all0 & HV_PROC_FEATURE0_SSE3, 0);
    for (unsigned i = 0; i < PROCFEATURE_BANKS; i++)
        ck_assert_uint_eq(procfeatures_bank(&none, i), 0);
    for (unsigned bit = 0; bit < 64; bit++) {
        struct procfeatures f = less(HV_BIT(bit), 0, 0);
        ck_assert_uint_eq(procfeatures_bank(&f, PROCFEATURES0), all0 & ~HV_BIT(bit));
    }
    ck_assert_uint_eq(none.cr4 & ~0x7fful, 0);
    ck_assert_uint_eq(none.xcr0, 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("procfeatures");
    TCase *tests = tcase_create("procfeatures");
    tcase_add_test(tests, nothing_withheld);
    tcase_add_test(tests, leaves);
    tcase_add_test(tests, state_takes_instructions_along);
    tcase_add_test(tests, msrs);
    tcase_add_test(tests, banks);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
