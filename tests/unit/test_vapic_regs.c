// SPDX-License-Identifier: BSD-2-Clause-Patent
// Virtual APIC: which registers exist in which form, reserved bits, modes, TLFS MSRs, save and
// restore.
#include <string.h>

#include "tests/unit/vapic_fixture.h"

// What SDM 3A says of each register, written down apart from the implementation's table.
struct rule {
    uint32_t offset;
    bool xapic;        // exists in the page
    bool read, write;  // x2APIC MSR
    uint32_t reserved; // bits that fault when written through the MSR
};

static const struct rule rules[] = {
    {0x020, true, true, false, 0},           {0x030, true, true, false, 0},
    {0x080, true, true, true, 0xffffff00},   {0x090, true, false, false, 0},
    {0x0a0, true, true, false, 0},           {0x0b0, true, false, true, 0xffffffff},
    {0x0c0, true, false, false, 0},          {0x0d0, true, true, false, 0},
    {0x0e0, true, false, false, 0},          {0x0f0, true, true, true, 0xfffffc00},
    {0x280, true, true, true, 0xffffffff},   {0x300, true, true, true, 0xfff32000},
    {0x310, true, false, false, 0},          {0x320, true, true, true, 0xfff8ef00},
    {0x330, true, true, true, 0xfffee800},   {0x340, true, true, true, 0xfffee800},
    {0x350, true, true, true, 0xfffe0800},   {0x360, true, true, true, 0xfffe0800},
    {0x370, true, true, true, 0xfffeef00},   {0x380, true, true, true, 0},
    {0x390, true, true, false, 0},           {0x3e0, true, true, true, 0xfffffff4},
    {0x3f0, false, false, true, 0xffffff00},
};

static const struct rule *rule_of(uint32_t offset)
{
    static const struct rule bitmap = {0x100, true, true, false, 0};
    static const struct rule none;

    if (offset >= 0x100 && offset < 0x280)
        return &bitmap;
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (rules[i].offset == offset)
            return &rules[i];
    return &none;
}

START_TEST(x2apic_access_rights)
{
    for (uint32_t msr = 0x800; msr < 0x900; msr++) {
        const struct rule *rule = rule_of((msr - 0x800) << 4);
        uint64_t value = 0;

        setup_x2apic();
        ck_assert_msg(rdmsr(msr, &value) == (rule->read ? VAPIC_OK : VAPIC_GP), "read %x", msr);
        ck_assert_msg(wrmsr(msr, 0) == (rule->write ? VAPIC_OK : VAPIC_GP), "write %x", msr);
    }
}
END_TEST

START_TEST(x2apic_reserved_bits)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        for (uint32_t bit = 0; bit < 64 && rules[i].write; bit++) {
            uint32_t msr = X2(rules[i].offset);
            bool icr = rules[i].offset == VAPIC_ICR;
            bool fault = bit < 32 ? rules[i].reserved >> bit & 1 : !icr;

            setup_x2apic();
            ck_assert_msg(wrmsr(msr, UINT64_C(1) << bit) == (fault ? VAPIC_GP : VAPIC_OK),
                          "msr %x bit %u", msr, bit);
        }
    }
}
END_TEST

START_TEST(x2apic_msrs_need_the_mode)
{
    uint64_t value;

    for (uint32_t msr = 0x800; msr < 0x900; msr++) {
        ck_assert_int_eq(rdmsr(msr, &value), VAPIC_GP);
        ck_assert_int_eq(wrmsr(msr, 0), VAPIC_GP);
    }
    setup_x2apic();
    ck_assert_uint_eq(rd(VAPIC_ID), 0xffffffff); // and the page is gone
    wr(VAPIC_TPR, 0x50);
    ck_assert_uint_eq(rdmsr_ok(X2(VAPIC_TPR)), 0);
    ck_assert_int_eq(rdmsr(0x7ff, &value), VAPIC_GP);
    ck_assert_int_eq(rdmsr(0x900, &value), VAPIC_GP);
    ck_assert_int_eq(wrmsr(0x4000006f, 0), VAPIC_GP);
    ck_assert_int_eq(wrmsr(0x40000073, 0), VAPIC_GP);
}
END_TEST

START_TEST(xapic_page_map)
{
    for (uint32_t offset = 0; offset < 0x1000; offset += 16) {
        setup_xapic();
        uint32_t before = rd(offset);
        wr(VAPIC_ESR, 0);
        uint32_t error = rd(VAPIC_ESR);
        ck_assert_msg(!!error == !rule_of(offset)->xapic, "read %x: %x", offset, error);
        ck_assert_msg(!error || before == 0, "%x", offset);
        setup_xapic();
        wr(offset, 0);
        wr(VAPIC_ESR, 0);
        error = rd(VAPIC_ESR);
        uint32_t expected = offset == VAPIC_ICR ? VAPIC_ESR_SEND_ILLEGAL
                            : rule_of(offset)->xapic || offset == VAPIC_ESR
                                ? 0
                                : VAPIC_ESR_ILLEGAL_REGISTER;
        ck_assert_msg(error == expected, "write %x: %x", offset, error);
    }
}
END_TEST

START_TEST(xapic_drops_reserved_bits)
{
    static const struct {
        uint32_t offset, kept;
    } writable[] = {
        {VAPIC_TPR, 0xff},          {VAPIC_LDR, 0xff000000},      {VAPIC_SVR, 0x3ff},
        {VAPIC_ICR2, 0xff000000},   {VAPIC_LVT_THERMAL, 0x107ff}, {VAPIC_LVT_PERF, 0x107ff},
        {VAPIC_LVT_LINT0, 0x1a7ff}, {VAPIC_LVT_LINT1, 0x1a7ff},   {VAPIC_LVT_ERROR, 0x100ff},
        {VAPIC_TIMER_INITIAL, ~0u}, {VAPIC_TIMER_DIVIDE, 0xb},    {VAPIC_ICR, 0xccfff & ~0x1000u},
    };

    for (size_t i = 0; i < sizeof(writable) / sizeof(writable[0]); i++) {
        wr(writable[i].offset, 0xffffffff);
        ck_assert_msg(rd(writable[i].offset) == writable[i].kept, "%x", writable[i].offset);
    }
}
END_TEST

START_TEST(read_only_registers)
{
    wr(VAPIC_ID, 0xff000000);
    wr(VAPIC_VER, 0);
    wr(VAPIC_IRR, 0xffffffff);
    wr(VAPIC_ISR + 0x70, 0xffffffff);
    wr(VAPIC_TIMER_CURRENT, 5);
    wr(VAPIC_PPR, 0xff);
    ck_assert_uint_eq(rd(VAPIC_ID), 3u << 24);
    ck_assert_uint_eq(rd(VAPIC_VER), 0x50014);
    ck_assert_uint_eq(rd(VAPIC_IRR), 0);
    ck_assert_uint_eq(rd(VAPIC_ISR + 0x70), 0);
    ck_assert_uint_eq(rd(VAPIC_TIMER_CURRENT), 0);
    ck_assert_uint_eq(rd(VAPIC_PPR), 0);
    ck_assert_int_eq(vapic_highest_irr(&apic), -1);
}
END_TEST

START_TEST(odd_offsets)
{
    wr(VAPIC_TPR, 0x30);
    wr(VAPIC_TPR + 1, 0x40); // not aligned: dropped
    wr(VAPIC_TPR + 4, 0x50);
    wr(VAPIC_TPR + 12, 0x60);
    ck_assert_uint_eq(rd(VAPIC_TPR), 0x30);
    ck_assert_uint_eq(rd(VAPIC_ID + 3), 3); // a byte of the register
    ck_assert_uint_eq(rd(VAPIC_VER + 2), 5);
    ck_assert_uint_eq(rd(VAPIC_VER + 4), 0);
    ck_assert_uint_eq(rd(VAPIC_VER + 12), 0);
}
END_TEST

// ---- IA32_APIC_BASE --------------------------------------------------------------------------

#define DISABLED 0xfee00100u
#define XAPIC    0xfee00900u
#define X2APIC   0xfee00d00u
#define INVALID  0xfee00500u

static void enter_mode(uint64_t base)
{
    setup_xapic();
    if (base != XAPIC)
        ck_assert_int_eq(wrmsr(MSR_BASE, base), VAPIC_OK);
}

START_TEST(mode_transitions)
{
    static const struct {
        uint64_t from, to;
        bool legal;
    } moves[] = {
        {DISABLED, DISABLED, true}, {DISABLED, XAPIC, true}, {DISABLED, X2APIC, false},
        {DISABLED, INVALID, false}, {XAPIC, DISABLED, true}, {XAPIC, XAPIC, true},
        {XAPIC, X2APIC, true},      {XAPIC, INVALID, false}, {X2APIC, DISABLED, true},
        {X2APIC, XAPIC, false},     {X2APIC, X2APIC, true},  {X2APIC, INVALID, false},
    };

    for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
        enter_mode(moves[i].from);
        ck_assert_msg(wrmsr(MSR_BASE, moves[i].to) == (moves[i].legal ? VAPIC_OK : VAPIC_GP),
                      "move %zu", i);
        ck_assert_uint_eq(rdmsr_ok(MSR_BASE), moves[i].legal ? moves[i].to : moves[i].from);
        if (!moves[i].legal || moves[i].from == moves[i].to)
            ck_assert_uint_eq(act.flags, 0);
    }
}
END_TEST

START_TEST(apic_base_bits)
{
    for (uint32_t bit = 0; bit < 64; bit++) {
        uint64_t flip = UINT64_C(1) << bit;
        bool ok = bit == 8 || bit == 10 || bit == 11; // BSP, x2APIC, enable

        setup_xapic();
        ck_assert_msg(wrmsr(MSR_BASE, XAPIC ^ flip) == (ok ? VAPIC_OK : VAPIC_GP), "bit %u", bit);
    }
    setup_xapic();
    ck_assert_int_eq(wrmsr(MSR_BASE, 0xfee00800), VAPIC_OK);
    ck_assert_uint_eq(rdmsr_ok(MSR_BASE), XAPIC); // the BSP flag does not move
    vapic_init(&apic, 4, 0, &clock_3g);
    ck_assert_uint_eq(rdmsr_ok(MSR_BASE), 0xfee00800);
    ck_assert_int_eq(wrmsr(MSR_BASE, 0xfee00c00), VAPIC_GP); // x2APIC not offered
}
END_TEST

START_TEST(x2apic_entry_keeps_state)
{
    vapic_set_irr(&apic, 0x33);
    vapic_set_irr(&apic, 0x44);
    vapic_accept(&apic, 0x44);
    wr(VAPIC_TPR, 0x20);
    wr(VAPIC_LVT_LINT1, 0x400);
    wr(VAPIC_LDR, 0x80000000);
    wr(VAPIC_ICR2, 0x07000000);
    wr(VAPIC_ICR, 0x4055);
    ck_assert_int_eq(wrmsr(MSR_BASE, X2APIC), VAPIC_OK);
    ck_assert_uint_eq(act.flags & VAPIC_ACT_MODE, VAPIC_ACT_MODE);
    ck_assert_uint_eq(rdmsr_ok(X2(VAPIC_ID)), 3);
    ck_assert_uint_eq(rdmsr_ok(X2(VAPIC_LDR)), 8);
    ck_assert_uint_eq(rdmsr_ok(X2(VAPIC_TPR)), 0x20);
    ck_assert_uint_eq(rdmsr_ok(X2(VAPIC_PPR)), 0x40);
    ck_assert_uint_eq(rdmsr_ok(X2(VAPIC_SVR)), 0x1ff);
    ck_assert_uint_eq(rdmsr_ok(X2(VAPIC_LVT_LINT1)), 0x400);
    ck_assert_uint_eq(rdmsr_ok(X2(VAPIC_ICR)), 0x4055);
    ck_assert_uint_eq(rdmsr_ok(X2(VAPIC_IRR) + 1), 1u << 0x13);
    ck_assert_uint_eq(rdmsr_ok(X2(VAPIC_ISR) + 2), 1u << 4);
    ck_assert_int_eq(wrmsr(X2(VAPIC_EOI), 1), VAPIC_GP);
    ck_assert_int_eq(wrmsr(X2(VAPIC_EOI), 0), VAPIC_OK);
    ck_assert_uint_eq(act.eoi_vector, 0x44);
}
END_TEST

START_TEST(faults_change_nothing)
{
    struct vapic before;

    setup_x2apic();
    wrmsr(X2(VAPIC_ICR), 0x700004055);
    memcpy(&before, &apic, sizeof(before));
    ck_assert_int_eq(wrmsr(X2(VAPIC_ICR), 0x100000), VAPIC_GP);
    ck_assert_int_eq(wrmsr(X2(VAPIC_LVT_TIMER), 0x60030), VAPIC_GP); // reserved timer mode
    ck_assert_int_eq(wrmsr(X2(VAPIC_SVR), 0x1000), VAPIC_GP);
    ck_assert_int_eq(wrmsr(X2(VAPIC_TPR), 0x100), VAPIC_GP);
    ck_assert_int_eq(wrmsr(X2(VAPIC_ID), 0), VAPIC_GP);
    ck_assert_int_eq(wrmsr(MSR_BASE, XAPIC), VAPIC_GP);
    ck_assert_int_eq(wrmsr(HV_X64_MSR_EOI + 0x100, 0), VAPIC_GP);
    ck_assert_mem_eq(&before, &apic, sizeof(before));
}
END_TEST

// ---- TLFS MSRs -------------------------------------------------------------------------------

START_TEST(synthetic_msrs)
{
    uint64_t value;

    for (int x2apic = 0; x2apic < 2; x2apic++) {
        if (x2apic)
            setup_x2apic();
        ck_assert_int_eq(wrmsr(HV_X64_MSR_TPR, 0x45), VAPIC_OK);
        ck_assert_uint_eq(act.flags, VAPIC_ACT_TPR | VAPIC_ACT_PENDING);
        ck_assert_uint_eq(rdmsr_ok(HV_X64_MSR_TPR), 0x45);
        wrmsr(HV_X64_MSR_TPR, 0);
        vapic_set_irr(&apic, 0x80);
        vapic_accept(&apic, 0x80);
        ck_assert_int_eq(rdmsr(HV_X64_MSR_EOI, &value), VAPIC_GP);
        ck_assert_int_eq(wrmsr(HV_X64_MSR_EOI, UINT64_MAX), VAPIC_OK);
        ck_assert_uint_eq(act.flags, VAPIC_ACT_EOI | VAPIC_ACT_PENDING);
        ck_assert_uint_eq(act.eoi_vector, 0x80);
    }
}
END_TEST

START_TEST(synthetic_icr)
{
    ck_assert_int_eq(wrmsr(HV_X64_MSR_ICR, 0x0900000000004031), VAPIC_OK);
    ck_assert_uint_eq(act.flags, VAPIC_ACT_IPI);
    ck_assert_uint_eq(act.ipi.dest, 9);
    ck_assert_uint_eq(act.ipi.vector, 0x31);
    ck_assert_uint_eq(rd(VAPIC_ICR2), 0x09000000);
    ck_assert_uint_eq(rdmsr_ok(HV_X64_MSR_ICR), 0x0900000000004031);
    ck_assert_int_eq(wrmsr(HV_X64_MSR_ICR, UINT64_C(0xfffffffffff34031)), VAPIC_OK);
    ck_assert_uint_eq(rd(VAPIC_ICR2), 0xff000000); // reserved bits dropped
    ck_assert_uint_eq(rd(VAPIC_ICR), 0x4031);
    ck_assert_uint_eq(act.ipi.dest, VAPIC_BROADCAST);
    setup_x2apic();
    ck_assert_int_eq(wrmsr(HV_X64_MSR_ICR, 0x0123456700004032), VAPIC_OK);
    ck_assert_uint_eq(act.ipi.dest, 0x01234567);
    ck_assert_uint_eq(rdmsr_ok(X2(VAPIC_ICR)), 0x0123456700004032);
}
END_TEST

// ---- take over, save, restore ----------------------------------------------------------------

static void disturb(void)
{
    wr(VAPIC_LDR, 0x40000000);
    wr(VAPIC_LVT_TIMER, VAPIC_LVT_PERIODIC | 0x20);
    wr(VAPIC_TIMER_DIVIDE, 0xb);
    wr(VAPIC_TIMER_INITIAL, 2000000);
    wr(VAPIC_LVT_LINT0, 0x700);
    wr(VAPIC_LVT_LINT1, 0x400);
    wr(VAPIC_TPR, 0x10);
    vapic_post(&apic, 0x99, true);
    vapic_post(&apic, 0x30, false);
    vapic_accept(&apic, (uint8_t)vapic_deliverable(&apic));
    wr(VAPIC_ICR2, 0x05000000);
    wr(VAPIC_ICR, 0xc4051);
}

START_TEST(export_import_round_trip)
{
    static struct vapic copy;
    struct vapic_image image, again;

    disturb();
    tsc += 777777;
    vapic_export(&apic, &image, tsc);
    vapic_init(&copy, 99, ALL_FLAGS, &clock_3g);
    ck_assert_int_eq(vapic_import(&copy, &image, tsc), VAPIC_OK);
    vapic_export(&copy, &again, tsc);
    ck_assert_mem_eq(&image, &again, sizeof(image));
    ck_assert_uint_eq(image.regs[VAPIC_TIMER_CURRENT >> 4], 2000000 - 777777 / 15);
    // Both expire together, but for the count's resolution.
    ck_assert_uint_ge(copy.timer_expiry, apic.timer_expiry);
    ck_assert_uint_le(copy.timer_expiry, apic.timer_expiry + TSC_PER_TICK);
    ck_assert_int_eq(vapic_eoi(&copy), 0x99 | VAPIC_EOI_WAS_LEVEL);
    ck_assert_int_eq(vapic_deliverable(&copy), 0x30);
    ck_assert(vapic_match(&copy, 0x40, true));
}
END_TEST

START_TEST(import_x2apic_deadline)
{
    static struct vapic_image image;

    image.apic_base = X2APIC;
    image.regs[VAPIC_ID >> 4] = 0x123;
    image.regs[VAPIC_SVR >> 4] = 0x1ff;
    image.regs[VAPIC_LVT_TIMER >> 4] = VAPIC_LVT_DEADLINE | 0xec;
    image.tsc_deadline = tsc + 500;
    ck_assert_int_eq(vapic_import(&apic, &image, tsc), VAPIC_OK);
    ck_assert_uint_eq(rdmsr_ok(X2(VAPIC_ID)), 0x123);
    ck_assert_uint_eq(rdmsr_ok(X2(VAPIC_LDR)), 0x120008);
    ck_assert_uint_eq(rdmsr_ok(MSR_DEADLINE), tsc + 500);
    ck_assert_uint_eq(vapic_timer_deadline(&apic), tsc + 500);
}
END_TEST

START_TEST(import_refuses_and_filters)
{
    static struct vapic_image image;

    image.apic_base = 0xfee00500;
    ck_assert_int_eq(vapic_import(&apic, &image, tsc), VAPIC_GP);
    image.apic_base = 0xfed00900;
    ck_assert_int_eq(vapic_import(&apic, &image, tsc), VAPIC_GP);
    ck_assert_uint_eq(rd(VAPIC_ID), 3u << 24); // unchanged
    memset(&image, 0xff, sizeof(image));
    image.apic_base = XAPIC;
    ck_assert_int_eq(vapic_import(&apic, &image, tsc), VAPIC_OK);
    ck_assert_uint_eq(rd(VAPIC_SVR), 0x3ff);
    ck_assert_uint_eq(rd(VAPIC_LVT_TIMER), 0x100ff);
    ck_assert_uint_eq(rd(VAPIC_LVT_LINT0), 0x1e7ff);
    ck_assert_uint_eq(rd(VAPIC_IRR), 0xffff0000);
    ck_assert_uint_eq(rd(VAPIC_TPR), 0xff);
    ck_assert_uint_eq(rd(VAPIC_ICR), 0xccfff & ~0x1000u);
    memset(&image, 0, sizeof(image));
    image.apic_base = DISABLED;
    ck_assert_int_eq(vapic_import(&apic, &image, tsc), VAPIC_OK);
    ck_assert(!vapic_match(&apic, VAPIC_BROADCAST, false));
}
END_TEST

// ---- hostile guest ---------------------------------------------------------------------------

static uint64_t random64(void)
{
    static uint64_t seed = 11;

    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return seed ^ seed >> 29;
}

static void random_access(void)
{
    static const uint32_t others[] = {MSR_BASE, MSR_DEADLINE, HV_X64_MSR_EOI, HV_X64_MSR_ICR,
                                      HV_X64_MSR_TPR};
    uint64_t value = random64() >> random64() % 64, dummy;
    uint32_t offset = random64() % 0x1000;
    uint32_t msr = random64() & 1 ? 0x800 + random64() % 0x100 : others[random64() % 5];

    switch (random64() % 8) {
    case 0:
    case 1:
        wr(offset & ~0xfu, (uint32_t)value);
        break;
    case 2:
        rd(offset);
        break;
    case 3:
    case 4:
        wrmsr(msr, msr == MSR_BASE ? 0xfee00100 | (value & 0xc00) : value);
        break;
    case 5:
        rdmsr(msr, &dummy);
        break;
    case 6:
        vapic_post(&apic, (uint8_t)value, value >> 8 & 1);
        break;
    default:
        tsc += value;
        vapic_timer_expire(&apic, tsc);
        break;
    }
}

static bool invariants_hold(int deliverable)
{
    bool disarmed = vapic_timer_deadline(&apic) == VAPIC_NO_DEADLINE;

    if (deliverable >= 0 && (deliverable < 16 || deliverable > 255))
        return false;
    if (deliverable >= 0 && deliverable >> 4 <= apic.ppr >> 4)
        return false;
    return apic.ppr >> 4 >= apic.tpr >> 4 && (apic.base & 0xfffff000) == VAPIC_BASE_PA &&
           (apic.base & 0xc00) != VAPIC_BASE_X2APIC && !((apic.irr[0] | apic.isr[0]) & 0xffff) &&
           (disarmed || (apic.svr & VAPIC_SVR_ENABLE));
}

// Whatever is written: no undefined behaviour (the sanitizers look), and the invariants hold.
START_TEST(random_accesses)
{
    for (int i = 0; i < 1000000; i++) {
        random_access();
        int v = vapic_deliverable(&apic);
        if (!invariants_hold(v))
            ck_abort_msg("step %d", i);
        if (v >= 0 && random64() & 1)
            vapic_accept(&apic, (uint8_t)v);
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("registers");

    tcase_add_checked_fixture(tc, setup_xapic, NULL);
    tcase_add_test(tc, x2apic_access_rights);
    tcase_add_test(tc, x2apic_reserved_bits);
    tcase_add_test(tc, x2apic_msrs_need_the_mode);
    tcase_add_test(tc, xapic_page_map);
    tcase_add_test(tc, xapic_drops_reserved_bits);
    tcase_add_test(tc, read_only_registers);
    tcase_add_test(tc, odd_offsets);
    tcase_add_test(tc, mode_transitions);
    tcase_add_test(tc, apic_base_bits);
    tcase_add_test(tc, x2apic_entry_keeps_state);
    tcase_add_test(tc, faults_change_nothing);
    tcase_add_test(tc, synthetic_msrs);
    tcase_add_test(tc, synthetic_icr);
    tcase_add_test(tc, export_import_round_trip);
    tcase_add_test(tc, import_x2apic_deadline);
    tcase_add_test(tc, import_refuses_and_filters);
    tcase_add_test(tc, random_accesses);
    tcase_set_timeout(tc, 60);
    return run_suite("vapic registers", &tc, 1);
}
