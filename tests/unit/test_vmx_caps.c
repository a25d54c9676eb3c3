// SPDX-License-Identifier: BSD-2-Clause-Patent
// vmx/caps.c: controls against capability MSRs (SDM 3D appendix A).
#include <check.h>

#include "vmx/caps.h"
#include "vmx/vmcs.h"

void vmx_bad_field(enum vmcs_field field)
{
    ck_abort_msg("field %#x", field);
}

// A processor that lets every control be chosen and wants the default-1 bits of SDM 3D A.2-A.5.
static struct vmx_msrs full(void)
{
    return (struct vmx_msrs){
        .basic = VMX_BASIC_TRUE_CONTROLS | 4,
        .pin = 0xffffffff00000016,
        .cpu = 0xffffffff04006172,
        .cpu2 = 0xffffffff00000000,
        .exit = 0xffffffff00036dfb,
        .entry = 0xffffffff000011fb,
        .ept_vpid = UINT64_MAX,
        .misc = 0x300481e5,
        .cr0_fixed0 = 0x80000021,
        .cr0_fixed1 = 0xffffffff,
        .cr4_fixed0 = 0x2000,
        .cr4_fixed1 = 0x3767ff,
    };
}

START_TEST(takes_all)
{
    struct vmx_msrs m = full();
    struct vmx_controls c;

    ck_assert_ptr_null(vmx_make_controls(&m, &c));
    ck_assert_uint_eq(c.pin, 0x16 | VMX_PIN_EXTERNAL | VMX_PIN_NMI | VMX_PIN_VIRTUAL_NMI);
    ck_assert_uint_eq(c.cpu & 0x04006172, 0x04006172);
    // What a VP switches starts switched off.
    ck_assert_uint_eq(
        c.cpu & (VMX_CPU_INTERRUPT_WINDOW | VMX_CPU_NMI_WINDOW | VMX_CPU_IO | VMX_CPU_RDPMC), 0);
    ck_assert_uint_eq(c.entry & VMX_ENTRY_LONG_MODE, 0);
    ck_assert_uint_eq(c.cpu2, VMX_CPU2_EPT | VMX_CPU2_UNRESTRICTED | VMX_CPU2_VPID |
                                  VMX_CPU2_RDTSCP | VMX_CPU2_INVPCID | VMX_CPU2_XSAVES);
    ck_assert(c.vpid && c.ept_ad && c.tpr_shadow && c.pause_loop && c.apicv && c.posted);
    ck_assert(c.tsc_scaling && c.preemption_timer);
    ck_assert_uint_eq(c.timer_shift, 5);
    ck_assert_uint_eq(c.pin & (VMX_PIN_POSTED | VMX_PIN_PREEMPTION_TIMER), 0);
    ck_assert_uint_eq(c.exit & (VMX_EXIT_ACKNOWLEDGE | VMX_EXIT_SAVE_PREEMPTION_TIMER), 0);
    ck_assert_uint_eq(c.cpu & (VMX_CPU_CR8_LOAD | VMX_CPU_CR8_STORE), 0);
    ck_assert_uint_eq(c.cr0_must, 0x20);
    ck_assert_uint_eq(c.cr4_must, 0x2000);
}
END_TEST

START_TEST(falls_back)
{
    struct vmx_msrs m = full();
    struct vmx_controls c;

    m.cpu &= ~((uint64_t)VMX_CPU_TPR_SHADOW << 32);
    m.cpu2 &=
        ~((uint64_t)(VMX_CPU2_VPID | VMX_CPU2_PAUSE_LOOP | VMX_CPU2_INVPCID | VMX_CPU2_TSC_SCALING)
          << 32);
    m.ept_vpid &= ~(uint64_t)VMX_CAP_EPT_AD;
    ck_assert_ptr_null(vmx_make_controls(&m, &c));
    ck_assert(!c.vpid && !c.ept_ad && !c.tpr_shadow && !c.pause_loop && !c.tsc_scaling);
    ck_assert_uint_eq(c.cpu & VMX_CPU_TPR_SHADOW, 0);
    ck_assert_uint_eq(c.cpu & (VMX_CPU_CR8_LOAD | VMX_CPU_CR8_STORE),
                      VMX_CPU_CR8_LOAD | VMX_CPU_CR8_STORE);
    ck_assert_uint_eq(c.cpu2 & (VMX_CPU2_VPID | VMX_CPU2_INVPCID), 0);
}
END_TEST

// Interrupts by the processor: all of it, or none.
START_TEST(apicv_needs_all)
{
    static const uint32_t parts[] = {VMX_CPU2_X2APIC, VMX_CPU2_APIC_REGISTERS, VMX_CPU2_DELIVERY};
    struct vmx_controls c;
    struct vmx_msrs m;

    for (unsigned i = 0; i < 3; i++) {
        m = full();
        m.cpu2 &= ~((uint64_t)parts[i] << 32);
        ck_assert_ptr_null(vmx_make_controls(&m, &c));
        ck_assert(!c.apicv && !c.posted);
    }
    m = full();
    m.cpu &= ~((uint64_t)VMX_CPU_TPR_SHADOW << 32);
    ck_assert_ptr_null(vmx_make_controls(&m, &c));
    ck_assert(!c.apicv && !c.posted);
    m = full();
    m.pin &= ~((uint64_t)VMX_PIN_POSTED << 32);
    ck_assert_ptr_null(vmx_make_controls(&m, &c));
    ck_assert(c.apicv && !c.posted);
    m = full();
    m.exit &= ~((uint64_t)VMX_EXIT_ACKNOWLEDGE << 32);
    ck_assert_ptr_null(vmx_make_controls(&m, &c));
    ck_assert(c.apicv && !c.posted);
}
END_TEST

// A timer whose rest is not saved would start anew with each entry.
START_TEST(timer_needs_both)
{
    struct vmx_controls c;
    struct vmx_msrs m = full();

    m.pin &= ~((uint64_t)VMX_PIN_PREEMPTION_TIMER << 32);
    ck_assert_ptr_null(vmx_make_controls(&m, &c));
    ck_assert(!c.preemption_timer);
    m = full();
    m.exit &= ~((uint64_t)VMX_EXIT_SAVE_PREEMPTION_TIMER << 32);
    ck_assert_ptr_null(vmx_make_controls(&m, &c));
    ck_assert(!c.preemption_timer);
    m = full();
    m.pin |= VMX_PIN_PREEMPTION_TIMER; // cannot be switched off
    ck_assert_ptr_nonnull(vmx_make_controls(&m, &c));
    m = full();
    m.exit |= VMX_EXIT_SAVE_PREEMPTION_TIMER;
    ck_assert_ptr_nonnull(vmx_make_controls(&m, &c));
}
END_TEST

// Against the timer as SDM 3C 26.5.1 has it: one less whenever bit `shift` of the TSC changes.
static uint64_t expiry(uint64_t now, uint32_t ticks, uint32_t shift)
{
    while (ticks) {
        now++;
        ticks -= !(now & ((UINT64_C(1) << shift) - 1));
    }
    return now;
}

START_TEST(timer_expires_at_the_end)
{
    for (uint32_t shift = 0; shift < 6; shift++)
        for (uint64_t now = 1000; now < 1080; now++)
            for (uint64_t end = 990; end < now + 200; end++) {
                uint64_t at = expiry(now, vmx_timer_ticks(end, now, shift), shift);
                uint64_t due = end > now ? end : now;
                ck_assert_uint_ge(at, due);
                ck_assert_uint_lt(at, due + (UINT64_C(1) << shift));
            }
}
END_TEST

START_TEST(timer_has_32_bits)
{
    const uint64_t now = UINT64_C(1) << 62, most = UINT32_MAX;

    ck_assert_uint_eq(vmx_timer_ticks(0, 0, 0), 0);
    ck_assert_uint_eq(vmx_timer_ticks(0, UINT64_MAX, 31), 0);
    ck_assert_uint_eq(vmx_timer_ticks(now + most - 1, now, 0), most - 1);
    ck_assert_uint_eq(vmx_timer_ticks(now + most, now, 0), most);
    ck_assert_uint_eq(vmx_timer_ticks(now + most + 1, now, 0), most);
    ck_assert_uint_eq(vmx_timer_ticks(now + (most << 5), now, 5), most);
    ck_assert_uint_eq(vmx_timer_ticks(now + (most << 5) - 32, now, 5), most - 1);
    ck_assert_uint_eq(vmx_timer_ticks(UINT64_MAX, 0, 0), most); // nobody's turn ends
    ck_assert_uint_eq(vmx_timer_ticks(UINT64_MAX, 0, 31), most);
    ck_assert_uint_eq(vmx_timer_ticks(UINT64_MAX, UINT64_MAX - 1, 31), 1);
}
END_TEST

// VPIDs are of use only with INVVPID of one and of all contexts.
START_TEST(needs_invvpid_for_vpid)
{
    static const uint64_t parts[] = {VMX_CAP_INVVPID, VMX_CAP_INVVPID_CONTEXT, VMX_CAP_INVVPID_ALL};

    for (unsigned i = 0; i < 3; i++) {
        struct vmx_msrs m = full();
        struct vmx_controls c;

        m.ept_vpid &= ~parts[i];
        ck_assert_ptr_null(vmx_make_controls(&m, &c));
        ck_assert(!c.vpid);
        ck_assert_uint_eq(c.cpu2 & VMX_CPU2_VPID, 0);
    }
}
END_TEST

START_TEST(names_what_lacks)
{
    static const struct {
        size_t msr;
        uint32_t bit;
    } required[] = {
        {offsetof(struct vmx_msrs, pin), VMX_PIN_EXTERNAL},
        {offsetof(struct vmx_msrs, pin), VMX_PIN_NMI},
        {offsetof(struct vmx_msrs, pin), VMX_PIN_VIRTUAL_NMI},
        {offsetof(struct vmx_msrs, cpu), VMX_CPU_INTERRUPT_WINDOW},
        {offsetof(struct vmx_msrs, cpu), VMX_CPU_NMI_WINDOW},
        {offsetof(struct vmx_msrs, cpu), VMX_CPU_MSR_BITMAP},
        {offsetof(struct vmx_msrs, cpu), VMX_CPU_HLT},
        {offsetof(struct vmx_msrs, cpu), VMX_CPU_IO},
        {offsetof(struct vmx_msrs, cpu), VMX_CPU_SECONDARY},
        {offsetof(struct vmx_msrs, cpu2), VMX_CPU2_EPT},
        {offsetof(struct vmx_msrs, cpu2), VMX_CPU2_UNRESTRICTED},
        {offsetof(struct vmx_msrs, exit), VMX_EXIT_HOST_64},
        {offsetof(struct vmx_msrs, exit), VMX_EXIT_SAVE_EFER},
        {offsetof(struct vmx_msrs, entry), VMX_ENTRY_LOAD_EFER},
        {offsetof(struct vmx_msrs, entry), VMX_ENTRY_LONG_MODE},
    };
    struct vmx_controls c;
    struct vmx_msrs m;

    for (unsigned i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
        m = full();
        *(uint64_t *)((char *)&m + required[i].msr) &= ~((uint64_t)required[i].bit << 32);
        ck_assert_msg(vmx_make_controls(&m, &c) != NULL, "row %u", i);
    }
    m = full();
    m.ept_vpid &= ~(uint64_t)VMX_CAP_INVEPT_CONTEXT;
    ck_assert_ptr_nonnull(vmx_make_controls(&m, &c));
    m = full();
    m.basic = 4; // CR3 accesses exit always
    ck_assert_ptr_nonnull(vmx_make_controls(&m, &c));
    m = full();
    m.entry |= VMX_ENTRY_LONG_MODE; // cannot be switched off
    ck_assert_ptr_nonnull(vmx_make_controls(&m, &c));
}
END_TEST

START_TEST(feature_control)
{
    ck_assert_int_eq(vmx_feature_switch(0), VMX_SWITCH_UNLOCKED);
    ck_assert_int_eq(vmx_feature_switch(VMX_FEATURE_ENABLE), VMX_SWITCH_UNLOCKED);
    ck_assert_int_eq(vmx_feature_switch(VMX_FEATURE_LOCK), VMX_SWITCH_OFF);
    ck_assert_int_eq(vmx_feature_switch(VMX_FEATURE_LOCK | 2), VMX_SWITCH_OFF); // inside SMX only
    ck_assert_int_eq(vmx_feature_switch(VMX_FEATURE_LOCK | VMX_FEATURE_ENABLE), VMX_SWITCH_ON);
    ck_assert_uint_eq(vmx_fix(0x10, 0x21, 0xff), 0x31);
    ck_assert_uint_eq(vmx_fix(0x100, 0x21, 0xff), 0x21);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vmx_caps");
    TCase *tests = tcase_create("vmx_caps");

    tcase_add_test(tests, takes_all);
    tcase_add_test(tests, falls_back);
    tcase_add_test(tests, apicv_needs_all);
    tcase_add_test(tests, timer_needs_both);
    tcase_add_test(tests, timer_expires_at_the_end);
    tcase_add_test(tests, timer_has_32_bits);
    tcase_add_test(tests, needs_invvpid_for_vpid);
    tcase_add_test(tests, names_what_lacks);
    tcase_add_test(tests, feature_control);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
