// SPDX-License-Identifier: BSD-2-Clause-Patent
#include <check.h>

#include "fake_host.h"
#include "root/lib/chipset.h"

static struct fake_host fake;
static struct chipset chipset;

static void setup(void)
{
    const struct chipset_host host = fake_host_init(&fake);
    chipset_init(&chipset, &host);
}

static uint32_t in(unsigned port, unsigned size)
{
    uint32_t value = 0x5A5A5A5A;
    ck_assert(chipset_pio(&chipset, (uint16_t)port, size, false, &value));
    return value;
}

static void out(unsigned port, unsigned size, uint32_t value)
{
    const uint32_t before = value;
    ck_assert(chipset_pio(&chipset, (uint16_t)port, size, true, &value));
    ck_assert_uint_eq(value, before);
}

static uint64_t load(uint64_t gpa, unsigned size)
{
    uint64_t value = 0x5A5A5A5A5A5A5A5A;
    ck_assert(chipset_mmio(&chipset, gpa, size, false, &value));
    return value;
}

static void store(uint64_t gpa, unsigned size, uint64_t value)
{
    ck_assert(chipset_mmio(&chipset, gpa, size, true, &value));
}

static void program(unsigned pin, uint32_t low)
{
    store(IOAPIC_BASE, 4, 0x10 + 2 * pin);
    store(IOAPIC_BASE + 0x10, 4, low);
}

START_TEST(test_unowned_ports)
{
    ck_assert_uint_eq(in(0x1234, 1), 0xFF);
    ck_assert_uint_eq(in(0x1234, 2), 0xFFFF);
    ck_assert_uint_eq(in(0x21, 4), 0xFFFFFFFF); // no 8259
    ck_assert_uint_eq(in(0x40, 1), 0xFF);       // no 8254
    ck_assert_uint_eq(in(0xFFFF, 4), 0xFFFFFFFF);
    ck_assert_uint_eq(chipset.unowned_reads, 5);
    ck_assert_uint_eq(chipset.unowned_writes, 0);
    out(0x4321, 4, 1);
    out(0xFFFD, 4, 1);
    ck_assert_uint_eq(chipset.unowned_writes, 2);
    ck_assert_uint_eq(chipset.unowned_port, 0xFFFD);
    out(0x80, 1, 0x42);
    ck_assert_uint_eq(in(0x80, 1), 0x42);
    ck_assert_uint_eq(chipset.unowned_reads, 5);
    ck_assert_uint_eq(chipset.unowned_writes, 2);
}
END_TEST

START_TEST(test_sizes)
{
    uint32_t value = 7;
    uint64_t wide = 7;
    for (unsigned size = 0; size < 20; size++) {
        if (size != 1 && size != 2 && size != 4) {
            ck_assert(!chipset_pio(&chipset, 0x3F8, size, false, &value));
            ck_assert(!chipset_pio(&chipset, 0x3F8, size, true, &value));
            ck_assert(size == 8 || !chipset_mmio(&chipset, IOAPIC_BASE, size, false, &wide));
        }
    }
    ck_assert_uint_eq(value, 7);
    ck_assert_uint_eq(wide, 7);
    ck_assert_uint_eq(fake.outputs, 0);
}
END_TEST

START_TEST(test_wide_access_splits)
{
    out(0x3F8 + 7, 1, 0xA5);
    ck_assert_uint_eq(in(0x3F8 + 6, 2), 0xA5B0); // MSR, SCR
    ck_assert_uint_eq(in(0x3F8 + 7, 2), 0xFFA5); // the second byte has no owner
    out(0x3F8, 2, 0x0548);                       // THR and IER
    ck_assert_str_eq(fake.output, "H");
    ck_assert_uint_eq(in(0x3F9, 1), 5);
    out(0x70, 2, 0x770E); // index and data in one write
    out(0x70, 1, 0x0E);
    ck_assert_uint_eq(in(0x71, 1), 0x77);
    ck_assert_uint_eq(in(0x70, 2), 0x77FF);
    ck_assert_uint_eq(chipset.unowned_reads, 0);
    // A timer read that straddles its dword still reads the right bytes.
    fake.now = 98765432101;
    const uint32_t timer = in(PORT_PM_TIMER, 4);
    ck_assert_uint_eq(in(PORT_PM_TIMER + 1, 2), timer >> 8 & 0xFFFF);
    ck_assert_uint_eq(in(PORT_PM_TIMER - 2, 4), timer << 16);
    ck_assert_uint_eq(in(PORT_PM_TIMER + 2, 4), timer >> 16 | 0xFFFF0000);
}
END_TEST

START_TEST(test_small_ports)
{
    ck_assert_uint_eq(in(0xE9, 1), 0xE9);
    out(0xE9, 1, 'd');
    ck_assert_str_eq(fake.debug, "d");
    out(0xF4, 1, 0x1FF);
    ck_assert_uint_eq(fake.exit_value, 0xFF);
    out(0xF4, 4, 0x12345678);
    ck_assert_uint_eq(fake.exit_value, 0x12345678);
    out(0xF4, 2, 0x9ABCDEF0);
    ck_assert_uint_eq(fake.exit_value, 0xDEF0);
    ck_assert_uint_eq(fake.exits, 3);
    out(0xF5, 1, 1);
    ck_assert_uint_eq(fake.exits, 3);
    ck_assert_uint_eq(in(0xF4, 4), 0xFFFFFFFF);
    ck_assert_uint_eq(in(0x92, 1), 2);
    ck_assert_uint_eq(in(0x60, 1), 0xFF);
    ck_assert_uint_eq(in(0x64, 1), 0xFD);
    ck_assert_uint_eq(in(0xCFC, 4), 0xFFFFFFFF);
    ck_assert_uint_eq(in(0xCFE, 2), 0xFFFF);
    ck_assert_uint_eq(fake.resets, 0);
}
END_TEST

START_TEST(test_system_b)
{
    out(0x61, 1, 0xFD);
    const uint32_t first = in(0x61, 1);
    ck_assert_uint_eq(first & 0xEF, 0x2D); // no NMI source, counter 2 expired, as written
    fake.now += 151;
    ck_assert_uint_eq(in(0x61, 1), first ^ 0x10);
}
END_TEST

START_TEST(test_resets)
{
    out(0x64, 1, 0xAA);
    out(0x64, 1, 0xFF); // pulses nothing
    out(0x92, 1, 2);
    out(0xCF9, 1, 0x02);
    ck_assert_uint_eq(in(0xCF9, 1), 0x02);
    ck_assert_uint_eq(fake.resets, 0);
    out(0xCF9, 1, 0x06);
    ck_assert_uint_eq(fake.resets, 1);
    ck_assert_uint_eq(in(0xCF9, 1), 0x02);
    out(0x64, 1, 0xFE);
    ck_assert_uint_eq(fake.resets, 2);
    out(0x92, 1, 1);
    ck_assert_uint_eq(fake.resets, 3);
    out(PORT_PM1_CONTROL, 2, PM_SLEEP_TYPE_S5 << 10 | 1 << 13);
    ck_assert_uint_eq(fake.power_offs, 1);
}
END_TEST

// The reset register lies within the PCI address register: only byte accesses reach it.
START_TEST(test_pci_address_is_not_reset)
{
    out(0xCF8, 4, 0x80000600);
    ck_assert_uint_eq(fake.resets, 0);
    ck_assert_uint_eq(in(0xCF8, 4), 0xFFFFFFFF);
    ck_assert_uint_eq(chipset.unowned_reads + chipset.unowned_writes, 0);
    out(0xCF8, 2, 0x0600);
    ck_assert_uint_eq(fake.resets, 1);
}
END_TEST

START_TEST(test_mmio)
{
    store(IOAPIC_BASE, 4, 1);
    ck_assert_uint_eq(load(IOAPIC_BASE + 0x10, 4), 0x170020);
    ck_assert_uint_eq(load(IOAPIC_BASE + 0x10, 8), 0x170020);
    ck_assert_uint_eq(load(IOAPIC_BASE + 0x10, 2), 0x0020);
    ck_assert_uint_eq(load(IOAPIC_BASE + 0x10, 1), 0x20);
    store(IOAPIC_BASE, 1, 0x10);
    ck_assert_uint_eq(load(IOAPIC_BASE, 4), 0x10);
    ck_assert_uint_eq(chipset.unowned_mmio, 0);
    ck_assert_uint_eq(load(IOAPIC_BASE - 4, 4), 0xFFFFFFFF);
    ck_assert_uint_eq(load(IOAPIC_BASE + IOAPIC_SIZE, 8), UINT64_MAX);
    ck_assert_uint_eq(load(0, 1), 0xFF);
    ck_assert_uint_eq(load(UINT64_MAX, 2), 0xFFFF);
    store(UINT64_C(1) << 32 | IOAPIC_BASE, 4, 1);
    ck_assert_uint_eq(load(IOAPIC_BASE, 4), 0x10);
    ck_assert_uint_eq(chipset.unowned_mmio, 5);
}
END_TEST

START_TEST(test_com1_interrupt)
{
    program(PIN_COM1, 0x34);
    out(0x3FC, 1, 8 | 2);
    out(0x3FA, 1, 0x81);
    out(0x3F9, 1, 1);
    ck_assert_uint_eq(fake.deadline, CHIPSET_NO_DEADLINE);
    ck_assert_uint_eq(chipset_console_in(&chipset, (const uint8_t *)"a", 1), 1);
    ck_assert_uint_eq(fake.interrupts, 0);
    ck_assert_uint_ne(fake.deadline, CHIPSET_NO_DEADLINE);
    fake.now = fake.deadline;
    chipset_tick(&chipset);
    ck_assert_uint_eq(fake.interrupts, 1);
    ck_assert_uint_eq(fake.interrupt[0].vector, 0x34);
    ck_assert_uint_eq(fake.deadline, CHIPSET_NO_DEADLINE);
    ck_assert_uint_eq(in(0x3F8, 1), 'a');
    ck_assert_uint_eq(chipset.ioapic.lines, 0);
}
END_TEST

START_TEST(test_early_tick_rearms)
{
    out(0x3FC, 1, 8 | 2);
    out(0x3FA, 1, 0x81);
    out(0x3F9, 1, 1);
    chipset_console_in(&chipset, (const uint8_t *)"a", 1);
    const unsigned before = fake.set_timers;
    const uint64_t deadline = fake.deadline;
    in(0x80, 1); // no change: not asked again
    ck_assert_uint_eq(fake.set_timers, before);
    fake.deadline = 0;
    fake.now = deadline - 1;
    chipset_tick(&chipset);
    ck_assert_uint_eq(fake.deadline, deadline);
}
END_TEST

START_TEST(test_console_space)
{
    uint8_t bytes[UART_QUEUE + 1] = {0};
    ck_assert_uint_eq(chipset_console_space(&chipset), UART_QUEUE);
    ck_assert_uint_eq(chipset_console_in(&chipset, bytes, 10), 10);
    ck_assert_uint_eq(chipset_console_space(&chipset), UART_QUEUE - 10);
    ck_assert_uint_eq(chipset_console_in(&chipset, bytes, sizeof bytes), UART_QUEUE - 10);
    ck_assert_uint_eq(chipset_console_space(&chipset), 0);
    ck_assert_uint_eq(chipset_console_in(&chipset, bytes, 1), 0);
}
END_TEST

START_TEST(test_sci_is_level)
{
    program(PIN_SCI, 0x8039);
    out(PORT_PM1_EVENT + 2, 2, PM_POWER_BUTTON);
    chipset_power_button(&chipset);
    ck_assert_uint_eq(fake.interrupts, 1);
    ck_assert(fake.interrupt[0].level);
    chipset_eoi(&chipset, 0x39); // without having handled it
    ck_assert_uint_eq(fake.interrupts, 2);
    out(PORT_PM1_EVENT, 2, PM_POWER_BUTTON);
    chipset_eoi(&chipset, 0x39);
    ck_assert_uint_eq(fake.interrupts, 2);
}
END_TEST

START_TEST(test_rtc_interrupt)
{
    program(PIN_RTC, 0x38);
    out(0x70, 1, 11);
    out(0x71, 1, 0x12);
    fake.now = fake.deadline;
    fake.wall++;
    chipset_tick(&chipset);
    ck_assert_uint_eq(fake.interrupts, 1);
    ck_assert_uint_eq(fake.interrupt[0].vector, 0x38);
    out(0x70, 1, 12);
    in(0x71, 1);
    ck_assert_uint_eq(fake.deadline, 20000000);
}
END_TEST

START_TEST(test_reset)
{
    program(PIN_COM1, 0x34);
    out(0x3FB, 1, 3);
    out(0x80, 1, 9);
    out(0x70, 1, 0x40);
    out(0x71, 1, 0x99);
    chipset_power_button(&chipset);
    in(0x999, 1);
    chipset_console_in(&chipset, (const uint8_t *)"a", 1);
    chipset_reset(&chipset);
    ck_assert_uint_eq(in(0x3FB, 1), 0);
    ck_assert_uint_eq(in(0x80, 1), 0);
    ck_assert_uint_eq(in(PORT_PM1_EVENT, 2), 0);
    out(0x70, 1, 0x40);
    ck_assert_uint_eq(in(0x71, 1), 0x99);
    store(IOAPIC_BASE, 4, 0x10 + 2 * PIN_COM1);
    ck_assert_uint_eq(load(IOAPIC_BASE + 0x10, 4), 0x10000);
    ck_assert_uint_eq(chipset.unowned_reads, 1);
    ck_assert_uint_eq(chipset_console_space(&chipset), UART_QUEUE - 1);
}
END_TEST

START_TEST(test_copy_restores)
{
    out(0x3FF, 1, 0x11);
    program(3, 0x55);
    const struct chipset saved = chipset;
    out(0x3FF, 1, 0x22);
    program(3, 0x66);
    chipset = saved;
    ck_assert_uint_eq(in(0x3FF, 1), 0x11);
    ck_assert_uint_eq(load(IOAPIC_BASE + 0x10, 4), 0x55);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chipset");
    TCase *tests = tcase_create("chipset");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, test_unowned_ports);
    tcase_add_test(tests, test_sizes);
    tcase_add_test(tests, test_wide_access_splits);
    tcase_add_test(tests, test_small_ports);
    tcase_add_test(tests, test_system_b);
    tcase_add_test(tests, test_resets);
    tcase_add_test(tests, test_pci_address_is_not_reset);
    tcase_add_test(tests, test_mmio);
    tcase_add_test(tests, test_com1_interrupt);
    tcase_add_test(tests, test_early_tick_rearms);
    tcase_add_test(tests, test_console_space);
    tcase_add_test(tests, test_sci_is_level);
    tcase_add_test(tests, test_rtc_interrupt);
    tcase_add_test(tests, test_reset);
    tcase_add_test(tests, test_copy_restores);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
