// SPDX-License-Identifier: BSD-2-Clause-Patent
#include <check.h>

#include "fake_host.h"
#include "root/lib/ioapic.h"

static struct fake_host fake;
static struct chipset_host host;
static struct ioapic ioapic;

static void setup(void)
{
    host = fake_host_init(&fake);
    memset(&ioapic, 0, sizeof ioapic);
    ioapic_reset(&ioapic);
}

static uint32_t get(unsigned reg)
{
    ioapic_write(&ioapic, 0x00, reg, &host);
    return ioapic_read(&ioapic, 0x10);
}

static void put(unsigned reg, uint32_t value)
{
    ioapic_write(&ioapic, 0x00, reg, &host);
    ioapic_write(&ioapic, 0x10, value, &host);
}

static void program(unsigned pin, uint32_t low, uint32_t high)
{
    put(0x11 + 2 * pin, high);
    put(0x10 + 2 * pin, low);
}

static void pin_is(unsigned pin, bool asserted)
{
    ioapic_set_pin(&ioapic, pin, asserted, &host);
}

START_TEST(test_registers)
{
    ck_assert_uint_eq(get(1), 0x00170020);
    ck_assert_uint_eq(get(0), 0);
    put(0, 0xFFFFFFFF);
    ck_assert_uint_eq(get(0), 0x0F000000);
    ck_assert_uint_eq(get(2), 0x0F000000);
    put(1, 0);
    ck_assert_uint_eq(get(1), 0x00170020);
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        ck_assert_uint_eq(get(0x10 + 2 * pin), 0x10000);
        ck_assert_uint_eq(get(0x11 + 2 * pin), 0);
    }
    ck_assert_uint_eq(get(0x3F), 0);
    // Past the table, and between: nothing there, nothing happens.
    put(0x40, 0xFFFFFFFF);
    put(0xFF, 0xFFFFFFFF);
    ck_assert_uint_eq(get(0x40), 0);
    ck_assert_uint_eq(get(0xFF), 0);
    ck_assert_uint_eq(get(0x0F), 0);
    ck_assert_uint_eq(ioapic_read(&ioapic, 0x20), 0);
    ck_assert_uint_eq(ioapic_read(&ioapic, 0x40), 0);
    // Read-only bits of an entry do not take writes.
    program(23, 0xFFFFFFFF, 0xFFFFFFFF);
    ck_assert_uint_eq(get(0x3E), 0x0001AFFF);
    ck_assert_uint_eq(get(0x3F), 0xFFFE0000);
    ck_assert_uint_eq(fake.interrupts, 0);
}
END_TEST

START_TEST(test_edge)
{
    program(4, 0x31, 0x02000000);
    pin_is(4, true);
    ck_assert_uint_eq(fake.interrupts, 1);
    ck_assert_uint_eq(fake.interrupt[0].vector, 0x31);
    ck_assert_uint_eq(fake.interrupt[0].destination, 2);
    ck_assert_uint_eq(fake.interrupt[0].delivery, DELIVERY_FIXED);
    ck_assert(!fake.interrupt[0].logical);
    ck_assert(!fake.interrupt[0].level);
    pin_is(4, true); // still asserted: no second edge
    ck_assert_uint_eq(fake.interrupts, 1);
    pin_is(4, false);
    ck_assert_uint_eq(fake.interrupts, 1);
    pin_is(4, true);
    ck_assert_uint_eq(fake.interrupts, 2);
    ck_assert_uint_eq(get(0x18) & 0x4000, 0);
}
END_TEST

START_TEST(test_edge_on_masked_pin_is_lost)
{
    program(4, 0x10031, 0);
    pin_is(4, true);
    program(4, 0x31, 0);
    ck_assert_uint_eq(fake.interrupts, 0);
    pin_is(4, false);
    pin_is(4, true);
    ck_assert_uint_eq(fake.interrupts, 1);
}
END_TEST

START_TEST(test_level)
{
    program(9, 0x8039 | 1 << 11, 0x03000000);
    pin_is(9, true);
    ck_assert_uint_eq(fake.interrupts, 1);
    ck_assert(fake.interrupt[0].level);
    ck_assert(fake.interrupt[0].logical);
    ck_assert_uint_eq(get(0x22), 0x8839 | 0x4000);
    // No second one before the EOI, not even for a new edge.
    pin_is(9, false);
    pin_is(9, true);
    ck_assert_uint_eq(fake.interrupts, 1);
    ioapic_eoi(&ioapic, 0x38, &host); // another vector
    ck_assert_uint_eq(fake.interrupts, 1);
    ioapic_eoi(&ioapic, 0x39, &host);
    ck_assert_uint_eq(fake.interrupts, 2); // still asserted
    pin_is(9, false);
    ioapic_eoi(&ioapic, 0x39, &host);
    ck_assert_uint_eq(fake.interrupts, 2);
    ck_assert_uint_eq(get(0x22), 0x8839);
    ioapic_eoi(&ioapic, 0x39, &host); // an EOI too many
    ck_assert_uint_eq(fake.interrupts, 2);
}
END_TEST

START_TEST(test_level_masking)
{
    program(9, 0x18039, 0);
    pin_is(9, true);
    ck_assert_uint_eq(fake.interrupts, 0);
    program(9, 0x8039, 0); // unmasked while asserted: delivered
    ck_assert_uint_eq(fake.interrupts, 1);
    program(9, 0x18039, 0); // masked in the handler: remote IRR stays
    ck_assert_uint_eq(get(0x22), 0x1C039);
    ioapic_write(&ioapic, 0x40, 0x39, &host); // EOI register
    ck_assert_uint_eq(get(0x22), 0x18039);
    ck_assert_uint_eq(fake.interrupts, 1);
    program(9, 0x8039, 0);
    ck_assert_uint_eq(fake.interrupts, 2);
}
END_TEST

START_TEST(test_switch_to_edge_clears_remote_irr)
{
    program(9, 0x8039, 0);
    pin_is(9, true);
    program(9, 0x10039, 0);
    ck_assert_uint_eq(get(0x22), 0x10039);
    program(9, 0x8039, 0);
    ck_assert_uint_eq(fake.interrupts, 2);
}
END_TEST

START_TEST(test_shared_vector)
{
    program(9, 0x8050, 0);
    program(10, 0x8050, 0x01000000);
    pin_is(9, true);
    pin_is(10, true);
    ck_assert_uint_eq(fake.interrupts, 2);
    pin_is(9, false);
    ioapic_eoi(&ioapic, 0x50, &host);
    ck_assert_uint_eq(fake.interrupts, 3);
    ck_assert_uint_eq(fake.interrupt[2].destination, 1);
}
END_TEST

START_TEST(test_delivery_modes)
{
    static const struct {
        unsigned mode;
        bool sent, level;
    } rows[] = {
        {DELIVERY_FIXED, true, true},
        {DELIVERY_LOWEST_PRIORITY, true, true},
        {DELIVERY_SMI, true, false},
        {3, false, false},
        {DELIVERY_NMI, true, false},
        {DELIVERY_INIT, true, false},
        {6, false, false},
        {DELIVERY_EXTINT, true, false},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const unsigned before = fake.interrupts;
        program(3, 0x8060 | rows[i].mode << 8, 0);
        pin_is(3, true);
        ck_assert_uint_eq(fake.interrupts - before, rows[i].sent);
        if (rows[i].sent) {
            ck_assert_uint_eq(fake.interrupt[before].delivery, rows[i].mode);
            ck_assert_int_eq(fake.interrupt[before].level, rows[i].level);
        }
        pin_is(3, false);
        ioapic_eoi(&ioapic, 0x60, &host);
    }
}
END_TEST

START_TEST(test_extended_destination)
{
    program(1, 0x40, 0x34u << 24 | 0x12u << 17);
    pin_is(1, true);
    ck_assert_uint_eq(fake.interrupt[0].destination, 0x1234);
}
END_TEST

START_TEST(test_pin_out_of_range)
{
    pin_is(24, true);
    pin_is(200, true);
    ck_assert_uint_eq(ioapic.lines, 0);
    ck_assert_uint_eq(fake.interrupts, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ioapic");
    TCase *tests = tcase_create("ioapic");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, test_registers);
    tcase_add_test(tests, test_edge);
    tcase_add_test(tests, test_edge_on_masked_pin_is_lost);
    tcase_add_test(tests, test_level);
    tcase_add_test(tests, test_level_masking);
    tcase_add_test(tests, test_switch_to_edge_clears_remote_irr);
    tcase_add_test(tests, test_shared_vector);
    tcase_add_test(tests, test_delivery_modes);
    tcase_add_test(tests, test_extended_destination);
    tcase_add_test(tests, test_pin_out_of_range);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
