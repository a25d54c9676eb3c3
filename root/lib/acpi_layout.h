// SPDX-License-Identifier: BSD-2-Clause-Patent
// Layouts of the ACPI tables (ACPI 6.5, chapter 5; WAET and SPCR: Microsoft's specifications).
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "acpi.h"

struct acpi_header {
    char signature[4];
    uint32_t length;
    uint8_t revision;
    uint8_t checksum;
    char oem_id[6];
    char oem_table_id[8];
    uint32_t oem_revision;
    char creator_id[4];
    uint32_t creator_revision;
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_header) == 36, "system description table header");

struct acpi_rsdp {
    char signature[8];
    uint8_t checksum; // of the first 20 bytes
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt; // 16
    uint32_t length;
    uint64_t xsdt; // 24
    uint8_t extended_checksum;
    uint8_t reserved[3];
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_rsdp) == ACPI_RSDP_SIZE, "RSDP");

struct acpi_address {
    uint8_t space; // 1: I/O ports
    uint8_t bit_width;
    uint8_t bit_offset;
    uint8_t access_size; // 1 byte, 2 word, 3 dword
    uint64_t address;
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_address) == 12, "generic address structure");

struct acpi_fadt {
    struct acpi_header header;
    uint32_t facs; // 36
    uint32_t dsdt; // 40
    uint8_t reserved0;
    uint8_t profile;  // 45
    uint16_t sci;     // 46
    uint32_t smi_cmd; // 48
    uint8_t smi_values[4];
    uint32_t pm1a_event; // 56
    uint32_t pm1b_event;
    uint32_t pm1a_control; // 64
    uint32_t pm1b_control;
    uint32_t pm2_control;
    uint32_t pm_timer; // 76
    uint32_t gpe0, gpe1;
    uint8_t pm1_event_length; // 88
    uint8_t pm1_control_length;
    uint8_t pm2_control_length;
    uint8_t pm_timer_length; // 91
    uint8_t gpe0_length, gpe1_length, gpe1_base;
    uint8_t cst_control;
    uint16_t c2_latency, c3_latency; // 96
    uint16_t flush_size, flush_stride;
    uint8_t duty_offset, duty_width;
    uint8_t day_alarm, month_alarm;
    uint8_t century;    // 108
    uint16_t boot_arch; // 109
    uint8_t reserved1;
    uint32_t flags;                     // 112
    struct acpi_address reset_register; // 116
    uint8_t reset_value;                // 128
    uint16_t arm_boot_arch;
    uint8_t minor_version;            // 131
    uint64_t x_facs;                  // 132
    uint64_t x_dsdt;                  // 140
    struct acpi_address x_pm1a_event; // 148
    struct acpi_address x_pm1b_event;
    struct acpi_address x_pm1a_control; // 172
    struct acpi_address x_pm1b_control;
    struct acpi_address x_pm2_control;
    struct acpi_address x_pm_timer; // 208
    struct acpi_address x_gpe0, x_gpe1;
    struct acpi_address sleep_control; // 244
    struct acpi_address sleep_status;  // 256
    uint64_t hypervisor_vendor;        // 268
} __attribute__((packed));
_Static_assert(offsetof(struct acpi_fadt, pm_timer) == 76, "PM_TMR_BLK");
_Static_assert(offsetof(struct acpi_fadt, century) == 108, "CENTURY");
_Static_assert(offsetof(struct acpi_fadt, reset_register) == 116, "RESET_REG");
_Static_assert(offsetof(struct acpi_fadt, x_pm_timer) == 208, "X_PM_TMR_BLK");
_Static_assert(offsetof(struct acpi_fadt, sleep_control) == 244, "SLEEP_CONTROL_REG");
_Static_assert(sizeof(struct acpi_fadt) == 276, "FADT revision 6");

struct acpi_facs {
    char signature[4];
    uint32_t length;
    uint32_t hardware_signature;
    uint32_t waking_vector;
    uint32_t global_lock;
    uint32_t flags;
    uint64_t x_waking_vector;
    uint8_t version;
    uint8_t reserved[31];
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_facs) == 64, "FACS");

struct madt_start {
    struct acpi_header header;
    uint32_t local_apic;
    uint32_t flags; // bit 0: PCAT_COMPAT
} __attribute__((packed));

struct madt_lapic {
    uint8_t type, length; // 0, 8
    uint8_t uid;
    uint8_t apic_id;
    uint32_t flags; // bit 0: enabled
} __attribute__((packed));
_Static_assert(sizeof(struct madt_lapic) == 8, "local APIC");

struct madt_ioapic {
    uint8_t type, length; // 1, 12
    uint8_t id;
    uint8_t reserved;
    uint32_t address;
    uint32_t gsi_base;
} __attribute__((packed));
_Static_assert(sizeof(struct madt_ioapic) == 12, "I/O APIC");

struct madt_override {
    uint8_t type, length; // 2, 10
    uint8_t bus;          // 0: ISA
    uint8_t source;
    uint32_t gsi;
    uint16_t flags;
} __attribute__((packed));
_Static_assert(sizeof(struct madt_override) == 10, "interrupt source override");

struct madt_lapic_nmi {
    uint8_t type, length; // 4, 6
    uint8_t uid;          // 0xff: all
    uint16_t flags;
    uint8_t lint;
} __attribute__((packed));
_Static_assert(sizeof(struct madt_lapic_nmi) == 6, "local APIC NMI");

struct madt_x2apic {
    uint8_t type, length; // 9, 16
    uint16_t reserved;
    uint32_t apic_id;
    uint32_t flags;
    uint32_t uid;
} __attribute__((packed));
_Static_assert(sizeof(struct madt_x2apic) == 16, "local x2APIC");

struct madt_x2apic_nmi {
    uint8_t type, length; // 10, 12
    uint16_t flags;
    uint32_t uid; // 0xffffffff: all
    uint8_t lint;
    uint8_t reserved[3];
} __attribute__((packed));
_Static_assert(sizeof(struct madt_x2apic_nmi) == 12, "local x2APIC NMI");

struct acpi_waet {
    struct acpi_header header;
    uint32_t flags; // bit 0: the RTC needs no acknowledgement; bit 1: the PM timer reads well
} __attribute__((packed));

struct acpi_spcr {
    struct acpi_header header;
    uint8_t interface; // 36; 0: 16550
    uint8_t reserved0[3];
    struct acpi_address base; // 40
    uint8_t interrupt_type;   // 52; bit 0: 8259, bit 1: I/O APIC
    uint8_t irq;
    uint32_t gsi; // 54
    uint8_t baud; // 58; 7: 115200
    uint8_t parity;
    uint8_t stop_bits;
    uint8_t flow_control;
    uint8_t terminal; // 62; 3: ANSI
    uint8_t language;
    uint16_t pci_device, pci_vendor; // 64; 0xffff: not PCI
    uint8_t pci_bus, pci_slot, pci_function;
    uint32_t pci_flags; // 71
    uint8_t pci_segment;
    uint32_t uart_clock;
} __attribute__((packed));
_Static_assert(offsetof(struct acpi_spcr, gsi) == 54, "SPCR GSI");
_Static_assert(sizeof(struct acpi_spcr) == 80, "SPCR revision 2");
