// SPDX-License-Identifier: BSD-2-Clause-Patent
// Decisions of the AMD backend that no emulator shows: what an exception's exit code says (APM 2
// 8.2, 15.12), and whether SVM can be used.
#include <check.h>
#include <stdlib.h>

#include "hv/message.h"
#include "svm/svm.h"

uint32_t svm_features;

START_TEST(vector_and_info)
{
    static const uint32_t with_error =
        1u << 8 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 17;
    static const uint32_t software = 1u << 3 | 1u << 4; // INT3, INTO

    for (uint32_t i = 0; i < 32; i++) {
        uint32_t vector = 99;
        uint8_t info = svm_exception_info(0x40 + i, &vector);
        ck_assert_uint_eq(vector, i);
        ck_assert_uint_eq(!!(info & HV_EXCEPTION_INFO_ERROR_CODE_VALID), with_error >> i & 1);
        ck_assert_uint_eq(!!(info & HV_EXCEPTION_INFO_SOFTWARE_EXCEPTION), software >> i & 1);
    }
}
END_TEST

START_TEST(icebp)
{
    uint32_t vector = 99;
    ck_assert_uint_eq(svm_exception_info(0x88, &vector), HV_EXCEPTION_INFO_SOFTWARE_EXCEPTION);
    ck_assert_uint_eq(vector, 1);
}
END_TEST

// APM 2 15.4. QEMU has no VM_CR, so no boot of the rig shows that refusal.
START_TEST(usable)
{
    const uint64_t efer = EFER_LME | EFER_LMA | EFER_NXE;

    ck_assert_int_eq(svm_usable(0, SVM_FEATURE_NPT, efer), LAUNCH_OK);
    ck_assert_int_eq(svm_usable(1u << 3, SVM_FEATURE_NPT, efer), LAUNCH_OK); // LOCK alone
    ck_assert_int_eq(svm_usable(1u << 4, SVM_FEATURE_NPT, efer), LAUNCH_SVM_DISABLED);
    ck_assert_int_eq(svm_usable(3u << 3, ~0u, efer), LAUNCH_SVM_DISABLED);
    ck_assert_int_eq(svm_usable(1u << 4, 0, efer | EFER_SVME), LAUNCH_SVM_DISABLED);
    ck_assert_int_eq(svm_usable(0, ~(uint32_t)SVM_FEATURE_NPT, efer), LAUNCH_NO_NPT);
    ck_assert_int_eq(svm_usable(0, SVM_FEATURE_NPT, efer | EFER_SVME), LAUNCH_SVM_IN_USE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("svm");
    TCase *tests = tcase_create("svm");
    tcase_add_test(tests, vector_and_info);
    tcase_add_test(tests, icebp);
    tcase_add_test(tests, usable);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
