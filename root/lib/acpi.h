// SPDX-License-Identifier: BSD-2-Clause-Patent
// ACPI tables for a generation-2-like machine: RSDP, RSDT, XSDT, FADT (revision 6), FACS, MADT,
// DSDT, WAET and, where there is a serial port, SPCR. No HPET, no MCFG: the machine has neither.
//
// Why not hardware-reduced by default. A machine with PM1 registers, a PM timer and an SCI is what
// every guest has run on for twenty years: Linux, FreeBSD and Windows drive power-off through
// PM1a_CNT, take the PM timer as a clock of last resort, and Linux and FreeBSD keep their legacy
// serial and RTC paths. In hardware-reduced mode Windows wants sleep registers and an event device
// instead, FreeBSD has no power-off before 14, and BIOS-era systems do not boot at all. Nothing is
// gained in return, because root/lib has those registers anyway. So FADT leaves HW_REDUCED clear
// unless it is asked for; then the sleep control and status ports take over.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ACPI_VPS_MAX = 4096,
    ACPI_ALIGN = 64,                // of the buffer's GPA: the FACS wants it (ACPI 6.5, 5.2.10)
    ACPI_SLP_TYP_S5 = 5,            // SLP_TYP that PM1a_CNT (or SLEEP_CONTROL) gets for power-off
    ACPI_BIOS_RSDP_START = 0xe0000, // where BIOS-era guests search (ACPI 6.5, 5.2.5.1)
    ACPI_BIOS_RSDP_END = 0x100000,
    ACPI_RSDP_SIZE = 36
};

struct acpi_window {
    uint64_t base;
    uint64_t size; // 0: no such window
};

// All ports are I/O ports, all interrupts are inputs of the I/O APIC counted from 0 (the tables add
// gsi_base). A port of 0 means that the device or register does not exist.
struct acpi_config {
    const uint32_t *apic_ids; // one per VP, strictly ascending, none 0xffffffff
    uint32_t vp_count;        // 1..ACPI_VPS_MAX
    uint32_t local_apic_gpa;  // 0xfee00000
    uint32_t ioapic_gpa;      // 0xfec00000
    uint8_t ioapic_id;
    uint32_t gsi_base;         // 0 in any usual machine: ISA interrupts then equal GSIs
    bool legacy_pic;           // two 8259s and an 8254: PCAT_COMPAT, and IRQ 0 on input 2
    bool hardware_reduced;     // see above; needs the two sleep ports
    uint16_t pm1_event_port;   // PM1a_EVT_BLK, 4 bytes
    uint16_t pm1_control_port; // PM1a_CNT_BLK, 2 bytes; SCI_EN reads as one: there is no SMI_CMD
    uint16_t pm_timer_port;    // PM_TMR_BLK, 4 bytes, counts 32 bits
    uint16_t sleep_control_port;
    uint16_t sleep_status_port;
    uint16_t sci_irq;    // 9; level, active high; below 16
    bool power_button;   // PM1 status bit 8 works: lets the root ask a guest to shut down
    uint16_t reset_port; // 0xcf9
    uint8_t reset_value; // 6
    uint8_t century;     // CMOS index of the century; 0: none
    bool rtc;            // MC146818 at 0x70, IRQ 8
    uint16_t com1_port;  // 0x3f8
    uint16_t com1_irq;   // 4
    bool vmbus;
    uint16_t vmbus_irq;            // 0: an empty _CRS, enough for all that use SynIC interrupts
    struct acpi_window vmbus_low;  // MMIO for VMBus devices below 4 GiB, listed first
    struct acpi_window vmbus_high; // and above
};

// What was built: offsets into the buffer and GPAs.
struct acpi_tables {
    uint64_t gpa;                          // of the buffer
    uint32_t size;                         // bytes of it in use; the rest is untouched
    uint64_t rsdp_gpa;                     // the RSDP is the first thing in the buffer
    uint32_t xsdt, fadt, facs, madt, dsdt; // offsets
};

enum acpi_error {
    ACPI_OK,
    ACPI_ERROR_PLACE,
    ACPI_ERROR_SPACE,
    ACPI_ERROR_VPS,
    ACPI_ERROR_APIC_ID,
    ACPI_ERROR_IRQ,
    ACPI_ERROR_WINDOW,
    ACPI_ERROR_PORTS,
    ACPI_ERROR_COUNT
};

// Builds the tables into buffer[0..size), which the guest will see at gpa (a multiple of
// ACPI_ALIGN, with the whole buffer below 4 GiB because FADT and RSDT hold 32-bit addresses). On an
// error *tables is unchanged and the buffer's content is unspecified.
enum acpi_error acpi_build(const struct acpi_config *config, uint64_t gpa, void *buffer,
                           size_t size, struct acpi_tables *tables);

// Where a BIOS-era guest must find a copy of the RSDP: copy ACPI_RSDP_SIZE bytes from the start of
// the buffer to this GPA. It is the RSDP's own GPA when that is already in the searched area (no
// copy needed), else 0xf0000 or the first 16-byte boundary behind tables that lie there. 0: no
// room.
uint64_t acpi_bios_rsdp_gpa(const struct acpi_tables *tables);

// One line, without a full stop. Never NULL, whatever the value.
const char *acpi_error_text(enum acpi_error error);
