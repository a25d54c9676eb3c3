// SPDX-License-Identifier: BSD-2-Clause-Patent
// The port and address map of the child machine: what the chipset answers and what the ACPI tables
// must say about it. A generation-2-like machine: no 8259, no 8254, no 8042, no PCI.
#pragma once

enum chipset_port {
    PORT_KBC_DATA = 0x60,
    PORT_SYSTEM_B = 0x61,   // NMI status and control, speaker gate
    PORT_KBC_STATUS = 0x64, // command when written
    PORT_RTC_INDEX = 0x70,
    PORT_RTC_DATA = 0x71,
    PORT_POST = 0x80,
    PORT_SYSTEM_A = 0x92, // fast reset and A20
    PORT_DEBUG = 0xE9,
    PORT_EXIT = 0xF4,
    PORT_COM1 = 0x3F8,
    PORT_PM = 0x600,                // ACPI fixed hardware, PM_BLOCK_SIZE bytes
    PORT_PM1_EVENT = PORT_PM + 0,   // PM1a_EVT_BLK, 4 bytes
    PORT_PM1_CONTROL = PORT_PM + 4, // PM1a_CNT_BLK, 2 bytes
    PORT_PM_TIMER = PORT_PM + 8,    // PM_TMR_BLK, 4 bytes, 32 bits wide (FADT TMR_VAL_EXT)
    PORT_PCI_ADDRESS = 0xCF8,
    PORT_RESET = 0xCF9, // FADT RESET_REG, byte, RESET_VALUE 6
    PORT_PCI_DATA = 0xCFC,
};

enum {
    PM_BLOCK_SIZE = 12,
    PM_SLEEP_TYPE_S5 = 5, // what the DSDT's \_S5 gives (ACPI_SLP_TYP_S5)
    RTC_CENTURY = 0x32,   // FADT CENTURY
    RESET_VALUE = 0x06,
};

// IOAPIC pins (= global system interrupts, GSI base 0). The lines are active high; COM1 and the RTC
// are edge triggered, the SCI is level triggered: the MADT overrides IRQ 9 as active high, level.
enum chipset_pin {
    PIN_COM1 = 4,
    PIN_RTC = 8,
    PIN_SCI = 9,
};

#define IOAPIC_BASE 0xFEC00000u
#define IOAPIC_SIZE 0x1000u
