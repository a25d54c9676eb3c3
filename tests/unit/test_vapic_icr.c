// SPDX-License-Identifier: BSD-2-Clause-Patent
// Virtual APIC: interprocessor interrupts, all shorthands and delivery modes, in both modes.
#include "tests/unit/vapic_fixture.h"

#define LOGICAL (1u << 11)
#define ASSERT_ (1u << 14)
#define LEVEL   (1u << 15)
#define SELF    (1u << 18)
#define ALL     (2u << 18)
#define OTHERS  (3u << 18)
#define MODE(m) ((uint32_t)(m) << 8)

// Sends through the form of the present mode.
static bool x2apic_mode;
static void send(uint32_t dest, uint32_t low)
{
    if (x2apic_mode) {
        ck_assert_int_eq(wrmsr(X2(VAPIC_ICR), (uint64_t)dest << 32 | low), VAPIC_OK);
    } else {
        wr(VAPIC_ICR2, dest << 24);
        wr(VAPIC_ICR, low);
    }
}

static void setup_form_x2apic(void)
{
    x2apic_mode = true;
    setup_x2apic();
}

static void expect_ipi(uint32_t mode, uint32_t vector, uint32_t shorthand)
{
    ck_assert_uint_eq(act.flags, VAPIC_ACT_IPI);
    ck_assert_uint_eq(act.ipi.mode, mode);
    ck_assert_uint_eq(act.ipi.vector, vector);
    ck_assert_uint_eq(act.ipi.shorthand, shorthand);
}

START_TEST(destination_forms)
{
    send(7, ASSERT_ | 0x41);
    expect_ipi(VAPIC_FIXED, 0x41, VAPIC_DEST_FIELD);
    ck_assert_uint_eq(act.ipi.dest, 7);
    ck_assert(!act.ipi.logical);
    send(5, ASSERT_ | LOGICAL | 0x42);
    expect_ipi(VAPIC_FIXED, 0x42, VAPIC_DEST_FIELD);
    ck_assert_uint_eq(act.ipi.dest, 5);
    ck_assert(act.ipi.logical);
    send(3, ASSERT_ | LOGICAL | 0x43); // our id, but as a logical destination
    expect_ipi(VAPIC_FIXED, 0x43, VAPIC_DEST_FIELD);
    send(x2apic_mode ? 0xffffffff : 0xff, ASSERT_ | 0x44);
    ck_assert_uint_eq(act.ipi.dest, VAPIC_BROADCAST);
    if (x2apic_mode) {
        send(0xff, ASSERT_ | 0x45); // an id like any other
        ck_assert_uint_eq(act.ipi.dest, 0xff);
    }
}
END_TEST

START_TEST(modes_with_destination)
{
    static const struct {
        uint32_t mode;
        bool sent, vectored;
    } modes[] = {
        {VAPIC_FIXED, true, true},         {VAPIC_LOWEST, true, true},   {VAPIC_SMI, true, false},
        {VAPIC_REMOTE_READ, false, false}, {VAPIC_NMI, true, false},     {VAPIC_INIT, true, false},
        {VAPIC_SIPI, true, true},          {VAPIC_EXTINT, false, false},
    };

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        for (uint32_t shorthand = 0; shorthand <= OTHERS; shorthand += OTHERS) {
            send(7, MODE(modes[i].mode) | ASSERT_ | shorthand | 0x87);
            if (modes[i].sent)
                expect_ipi(modes[i].mode, modes[i].vectored ? 0x87 : 0, shorthand >> 18);
            else
                ck_assert_uint_eq(act.flags, 0);
        }
    }
    ck_assert_int_eq(vapic_highest_irr(&apic), -1);
}
END_TEST

// All-including-self is one broadcast by the caller; self is done here.
START_TEST(modes_to_self_and_all)
{
    for (uint32_t mode = 0; mode < 8; mode++) {
        send(0, MODE(mode) | ASSERT_ | ALL | 0x51);
        if (mode == VAPIC_FIXED || mode == VAPIC_LOWEST)
            expect_ipi(mode, 0x51, VAPIC_DEST_ALL);
        else if (mode == VAPIC_NMI)
            expect_ipi(mode, 0, VAPIC_DEST_ALL);
        else
            ck_assert_uint_eq(act.flags, 0);
        send(0, MODE(mode) | ASSERT_ | SELF | 0x51);
        if (mode == VAPIC_NMI)
            expect_ipi(mode, 0, VAPIC_DEST_SELF);
        else
            ck_assert_uint_eq(act.flags, mode <= VAPIC_LOWEST ? VAPIC_ACT_PENDING : 0);
    }
}
END_TEST

START_TEST(self_ipi_is_done_here)
{
    send(0, ASSERT_ | SELF | 0x61);
    ck_assert_uint_eq(act.flags, VAPIC_ACT_PENDING);
    ck_assert_int_eq(vapic_deliverable(&apic), 0x61);
    vapic_accept(&apic, 0x61);
    ck_assert_int_eq(vapic_eoi(&apic), 0x61);
    send(3, ASSERT_ | 0x62); // by our own id
    ck_assert_uint_eq(act.flags, VAPIC_ACT_PENDING);
    ck_assert_int_eq(vapic_deliverable(&apic), 0x62);
    send(0, LEVEL | ASSERT_ | SELF | 0x63); // level is overridden
    vapic_accept(&apic, 0x63);
    ck_assert_int_eq(vapic_eoi(&apic), 0x63);
}
END_TEST

START_TEST(init_deassert_is_swallowed)
{
    send(7, MODE(VAPIC_INIT) | LEVEL);
    ck_assert_uint_eq(act.flags, 0);
    send(0, MODE(VAPIC_INIT) | LEVEL | OTHERS);
    ck_assert_uint_eq(act.flags, 0);
    send(7, MODE(VAPIC_INIT) | LEVEL | ASSERT_);
    expect_ipi(VAPIC_INIT, 0, VAPIC_DEST_FIELD);
    send(7, MODE(VAPIC_INIT)); // edge without assert: EDK2
    expect_ipi(VAPIC_INIT, 0, VAPIC_DEST_FIELD);
    send(7, MODE(VAPIC_SIPI) | 0x05); // SIPI vectors may be below 16
    expect_ipi(VAPIC_SIPI, 0x05, VAPIC_DEST_FIELD);
    send(7, MODE(VAPIC_NMI) | ASSERT_ | 2);
    expect_ipi(VAPIC_NMI, 0, VAPIC_DEST_FIELD);
}
END_TEST

static uint32_t latched_esr(void)
{
    if (x2apic_mode) {
        ck_assert_int_eq(wrmsr(X2(VAPIC_ESR), 0), VAPIC_OK);
        return (uint32_t)rdmsr_ok(X2(VAPIC_ESR));
    }
    wr(VAPIC_ESR, 0);
    return rd(VAPIC_ESR);
}

START_TEST(illegal_vectors_are_not_sent)
{
    static const uint32_t forms[] = {0, SELF, ALL, OTHERS};

    for (uint32_t mode = VAPIC_FIXED; mode <= VAPIC_LOWEST; mode++) {
        for (size_t i = 0; i < 4; i++) {
            for (uint32_t v = 0; v < 16; v++) {
                send(7, MODE(mode) | ASSERT_ | forms[i] | v);
                ck_assert(!(act.flags & VAPIC_ACT_IPI));
                ck_assert_uint_eq(latched_esr(), VAPIC_ESR_SEND_ILLEGAL);
            }
            send(7, MODE(mode) | ASSERT_ | forms[i] | 16);
            ck_assert_uint_eq(latched_esr(), 0);
        }
    }
}
END_TEST

START_TEST(icr_reads_back)
{
    send(9, ASSERT_ | LOGICAL | OTHERS | 0x77);
    if (x2apic_mode) {
        ck_assert_uint_eq(rdmsr_ok(X2(VAPIC_ICR)), UINT64_C(0x9000c4877));
        // The delivery status bit may be written back and stays clear.
        ck_assert_int_eq(wrmsr(X2(VAPIC_ICR), UINT64_C(0x9000c5877)), VAPIC_OK);
        ck_assert_uint_eq(rdmsr_ok(X2(VAPIC_ICR)), UINT64_C(0x9000c4877));
    } else {
        ck_assert_uint_eq(rd(VAPIC_ICR), 0xc4877);
        ck_assert_uint_eq(rd(VAPIC_ICR2), 9u << 24);
        wr(VAPIC_ICR, 0xc5877);
        ck_assert_uint_eq(rd(VAPIC_ICR), 0xc4877);
        wr(VAPIC_ICR2, 0x0a000000); // alone it sends nothing
        ck_assert_uint_eq(act.flags, 0);
    }
}
END_TEST

START_TEST(self_ipi_register)
{
    ck_assert_int_eq(wrmsr(X2(VAPIC_SELF_IPI), 0x91), VAPIC_OK);
    ck_assert_uint_eq(act.flags, VAPIC_ACT_PENDING);
    ck_assert_int_eq(vapic_deliverable(&apic), 0x91);
    ck_assert_uint_eq(rdmsr_ok(X2(VAPIC_ICR)), 0);
    ck_assert_int_eq(wrmsr(X2(VAPIC_SELF_IPI), 0x0f), VAPIC_OK);
    ck_assert_uint_eq(latched_esr(), VAPIC_ESR_SEND_ILLEGAL);
    ck_assert_int_eq(wrmsr(X2(VAPIC_SELF_IPI), 0x191), VAPIC_GP);
}
END_TEST

static void add_common(TCase *tc)
{
    tcase_add_test(tc, destination_forms);
    tcase_add_test(tc, modes_with_destination);
    tcase_add_test(tc, modes_to_self_and_all);
    tcase_add_test(tc, self_ipi_is_done_here);
    tcase_add_test(tc, init_deassert_is_swallowed);
    tcase_add_test(tc, illegal_vectors_are_not_sent);
    tcase_add_test(tc, icr_reads_back);
}

int main(void)
{
    TCase *xapic = tcase_create("xapic");
    TCase *x2apic = tcase_create("x2apic");

    tcase_add_checked_fixture(xapic, setup_xapic, NULL);
    add_common(xapic);
    tcase_add_checked_fixture(x2apic, setup_form_x2apic, NULL);
    add_common(x2apic);
    tcase_add_test(x2apic, self_ipi_register);
    return run_suite("vapic ipi", (TCase *[]){xapic, x2apic}, 2);
}
