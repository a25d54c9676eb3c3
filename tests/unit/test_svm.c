// SPDX-License-Identifier: BSD-2-Clause-Patent
// Decisions of the AMD backend that no emulator shows: what an exception's exit code says (APM 2
// 8.2, 15.12), and whether SVM can be used.
#define _GNU_SOURCE
#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "corbel/decode.h"
#include "corbel/guestmem.h"
#include "hv/message.h"
#include "hv/registers.h"
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

#define INTERRUPT(vector)                                                                          \
    (HV_PENDING_INTERRUPTION_PENDING | (uint64_t)(vector) << HV_PENDING_INTERRUPTION_VECTOR_SHIFT)

static struct vmcb vmcb;
static struct vp vp;

static void fresh(uint64_t rflags)
{
    memset(&vmcb, 0, sizeof(vmcb));
    memset(&vp, 0, sizeof(vp));
    vmcb.vintr = SVM_VINTR_MASKING | 3;
    vp.hw = &vmcb;
    vp.rflags = rflags;
}

// APM 2 15.21.4: what can be taken at once is a virtual interrupt; what cannot is injected.
START_TEST(interrupt)
{
    fresh(RFLAGS_IF);
    svm_inject(&vp, INTERRUPT(0x81));
    ck_assert_uint_eq(vmcb.event_inject, 0);
    ck_assert_uint_eq(vmcb.vintr, SVM_VINTR_MASKING | 3 | SVM_VINTR_IRQ | SVM_VINTR_IGNORE_TPR |
                                      0x81ull << SVM_VINTR_VECTOR_SHIFT);
    fresh(0);
    svm_inject(&vp, INTERRUPT(0x81));
    ck_assert_uint_eq(vmcb.event_inject, SVM_EVENT_VALID | 0x81);
    ck_assert_uint_eq(vmcb.vintr, SVM_VINTR_MASKING | 3);
    fresh(RFLAGS_IF);
    vp.shadow = 1;
    svm_inject(&vp, INTERRUPT(0x81));
    ck_assert_uint_eq(vmcb.event_inject, SVM_EVENT_VALID | 0x81);
}
END_TEST

// An exit before the interrupt has been taken: it is pending again, whatever the exit says of it.
START_TEST(taken_back)
{
    fresh(RFLAGS_IF);
    svm_inject(&vp, INTERRUPT(0x81));
    vmcb.exit_int_info = SVM_EVENT_VALID | SVM_EVENT_EXCEPTION << SVM_EVENT_TYPE_SHIFT | 0x81;
    svm_take_back_interrupt(&vp);
    ck_assert_uint_eq(vp.pending_interruption, INTERRUPT(0x81));
    ck_assert_uint_eq(vmcb.exit_int_info, 0);
    ck_assert_uint_eq(vmcb.vintr & SVM_VINTR_IRQ, 0);
    ck_assert_uint_eq(atomic_load(&vp.work), VP_WORK_INTERRUPT);
    fresh(0);
    svm_interrupt_window(&vp, 8); // a window is not an interrupt
    svm_take_back_interrupt(&vp);
    ck_assert_uint_eq(vp.pending_interruption, 0);
    ck_assert_uint_ne(vmcb.vintr & SVM_VINTR_IRQ, 0);
}
END_TEST

// There is one V_IRQ: a window waits for the next exit.
START_TEST(interrupt_and_window)
{
    fresh(RFLAGS_IF);
    svm_inject(&vp, INTERRUPT(0x81));
    svm_interrupt_window(&vp, 0);
    ck_assert_uint_eq(atomic_load(&vp.work), 0);
    vp.windows = 8;
    svm_interrupt_window(&vp, 8);
    ck_assert_uint_eq(vmcb.vintr >> SVM_VINTR_VECTOR_SHIFT, 0x81);
    ck_assert_uint_eq(vmcb.intercept_misc1 & SVM_INTERCEPT_VINTR, 0);
    ck_assert_uint_eq(atomic_load(&vp.work), VP_WORK_INTERRUPT);
    ck_assert_uint_eq(vp.windows, 0);
    vmcb.vintr &= ~(uint64_t)SVM_VINTR_IRQ; // taken
    svm_interrupt_window(&vp, 8);
    ck_assert_uint_eq(vmcb.vintr & (SVM_VINTR_IRQ | SVM_VINTR_PRIORITY_MASK | SVM_VINTR_IGNORE_TPR),
                      SVM_VINTR_IRQ | 8u << SVM_VINTR_PRIORITY_SHIFT);
    ck_assert_uint_ne(vmcb.intercept_misc1 & SVM_INTERCEPT_VINTR, 0);
    svm_interrupt_window(&vp, 0);
    ck_assert_uint_eq(vmcb.vintr & SVM_VINTR_IRQ, 0);
    ck_assert_uint_eq(vmcb.intercept_misc1 & SVM_INTERCEPT_VINTR, 0);
}
END_TEST

// ---- INVLPGA, which a user program cannot execute: the fault's handler notes the operands -------

enum { NOTED = 80 };
static struct {
    uint64_t gva[NOTED];
    uint32_t asid[NOTED];
    volatile unsigned count;
} noted;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    static const uint8_t invlpga[] = {0x0f, 0x01, 0xdf};
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;

    (void)signal;
    (void)info;
    if (memcmp((const void *)regs[REG_RIP], invlpga, sizeof(invlpga)) != 0 || noted.count == NOTED)
        abort();
    noted.gva[noted.count] = (uint64_t)regs[REG_RAX];
    noted.asid[noted.count] = (uint32_t)regs[REG_RCX];
    noted.count++;
    regs[REG_RIP] += sizeof(invlpga);
}

// QEMU's TLB has no ASIDs and drops everything whenever it may, so no boot of the rig shows that a
// page-wise flush reaches its pages: one INVLPGA for each, with the VP's ASID.
START_TEST(invalidated_pages)
{
    const struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    struct flush_list list;
    unsigned at = 0;

    sigaction(SIGILL, &action, NULL);  // a processor without SVM, or with SVM off
    sigaction(SIGSEGV, &action, NULL); // #GP: not at CPL 0
    flush_list_init(&list);
    svm_invalidate_pages(7, &list);
    ck_assert_uint_eq(noted.count, 0);
    list.range[0] = 0x7fff12345000;          // one page
    list.range[1] = 0xffff800000200000 | 62; // and 62 more
    list.count = 2;
    list.pages = 64;
    svm_invalidate_pages(0x1234, &list);
    ck_assert_uint_eq(noted.count, 64);
    ck_assert_uint_eq(noted.gva[at++], 0x7fff12345000);
    for (unsigned n = 0; n < 63; n++)
        ck_assert_uint_eq(noted.gva[at++], 0xffff800000200000 + n * 4096ul);
    for (unsigned n = 0; n < 64; n++)
        ck_assert_uint_eq(noted.asid[n], 0x1234);
    signal(SIGILL, SIG_DFL);
    signal(SIGSEGV, SIG_DFL);
}
END_TEST

// ---- MOV to a control register, told by decode assists or read from memory ----------------------

static uint8_t code[16];
static uint32_t code_count, fetches;
static enum decode_mode decode_mode;

uint32_t guest_fetch(struct vp *of, uint8_t bytes[16])
{
    (void)of;
    memcpy(bytes, code, sizeof(code));
    fetches++;
    return code_count;
}

void svm_get_mode(const struct vp *of, struct vcpu_mode *mode)
{
    (void)of;
    *mode = (struct vcpu_mode){.decode = decode_mode, .protected_mode = true};
}

// MOV CR8, R10 in memory; MOV from general register n, of m bytes, by the processor's word.
static void exit_by_mov(uint32_t features, uint64_t info, uint32_t size)
{
    static const uint8_t mov_cr8_r10[] = {0x45, 0x0f, 0x22, 0xc2};

    fresh(0);
    memcpy(code, mov_cr8_r10, sizeof(mov_cr8_r10));
    code_count = 15;
    fetches = 0;
    decode_mode = DECODE_64;
    svm_features = features;
    for (unsigned i = 0; i < GPR_COUNT; i++)
        vp.gpr[i] = 0x100000000ul * (i + 1) + i;
    vmcb.rip = 0x7ffe;
    vmcb.next_rip = vmcb.rip + size;
    vmcb.exit_info1 = info;
}

static const uint64_t told = 1ull << 63; // APM 2 15.8.1: EXITINFO1 of a MOV
static const uint32_t assists = 1u << 7 | 1u << 3;

START_TEST(mov_told)
{
    uint64_t value;
    uint32_t length;

    for (unsigned i = 0; i < 16; i++) {
        exit_by_mov(assists, told | i, i % 4 + 3);
        ck_assert(svm_mov_to_cr(&vp, &value, &length));
        ck_assert_uint_eq(value, 0x100000000ul * (i + 1) + i);
        ck_assert_uint_eq(length, i % 4 + 3);
        ck_assert_uint_eq(fetches, 0);
        decode_mode = DECODE_32;
        ck_assert(svm_mov_to_cr(&vp, &value, &length));
        ck_assert_uint_eq(value, i); // 32 bits outside of 64-bit mode
    }
}
END_TEST

// One of the features alone, or an EXITINFO1 that does not say MOV: the instruction tells.
START_TEST(mov_not_told)
{
    static const struct {
        uint32_t features;
        uint64_t info;
    } cases[] = {{0, 1ull << 63 | 3},
                 {1u << 7, 1ull << 63 | 3},
                 {1u << 3, 1ull << 63 | 3},
                 {1u << 7 | 1u << 3, 3}};
    uint64_t value;
    uint32_t length;

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        exit_by_mov(cases[i].features, cases[i].info, 9);
        ck_assert(svm_mov_to_cr(&vp, &value, &length));
        ck_assert_uint_eq(value, 0xb0000000aul);
        ck_assert_uint_eq(length, 4);
        ck_assert_uint_eq(fetches, 1);
        code[1] = 0x90; // changed since
        ck_assert(!svm_mov_to_cr(&vp, &value, &length));
        code_count = 0; // gone
        ck_assert(!svm_mov_to_cr(&vp, &value, &length));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("svm");
    TCase *tests = tcase_create("svm");
    tcase_add_test(tests, vector_and_info);
    tcase_add_test(tests, icebp);
    tcase_add_test(tests, usable);
    tcase_add_test(tests, interrupt);
    tcase_add_test(tests, taken_back);
    tcase_add_test(tests, interrupt_and_window);
    tcase_add_test(tests, invalidated_pages);
    tcase_add_test(tests, mov_told);
    tcase_add_test(tests, mov_not_told);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
