// SPDX-License-Identifier: BSD-2-Clause-Patent
// The devices of one child machine behind its I/O ports and its IOAPIC page: COM1, RTC, ACPI
// power management, reset and debug ports. The port map is in ports.h. No 8259 pair and no 8254:
// a generation-2 machine has neither, guests find the IOAPIC through the MADT and the TSC and APIC
// frequencies through the synthetic MSRs, and an absent PIC reads as ones, which is how Linux
// recognises that there is none.
//
// A chipset is plain data but for the pointers in `host`, so it can be saved and restored by
// copying. It takes no locks: the owner serialises calls for one chipset.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chipset_host.h"
#include "ioapic.h"
#include "pm.h"
#include "ports.h"
#include "rtc.h"
#include "uart.h"

// The small registers that are not worth a device of their own.
struct chipset_latches {
    uint8_t post;          // last POST code
    uint8_t system_b;      // low four bits of port 0x61
    uint8_t reset_control; // port 0xCF9
};

struct port_range; // chipset.c

struct chipset {
    struct chipset_host host;
    struct ioapic ioapic;
    struct uart com1;
    struct rtc rtc;
    struct pm pm;
    struct chipset_latches latches;
    uint64_t deadline;                      // last value given to host.set_timer
    uint64_t unowned_reads, unowned_writes; // accesses that met no device
    uint16_t unowned_port;                  // the last port among them
    const struct port_range *recent_port;   // of the last access, NULL: of nobody
    uint64_t unowned_mmio;
};

// Powers a machine on. The callbacks are copied; they may be called from here on.
void chipset_init(struct chipset *chipset, const struct chipset_host *host);

// Machine reset: every device to its reset state; RTC time, NVRAM, console input that waits and the
// counters stay.
void chipset_reset(struct chipset *chipset);

// One port access by the guest; size 1, 2 or 4. Reads fill *value (zero-extended), writes use its
// low bytes. A width the device does not know is split into narrower accesses, as on ISA. What no
// device owns reads as ones and ignores writes. False only for a size that does not exist: then
// nothing happened.
bool chipset_pio(struct chipset *chipset, uint16_t port, unsigned size, bool is_write,
                 uint32_t *value);

// One memory access by the guest outside its RAM; size 1, 2, 4 or 8. As chipset_pio().
bool chipset_mmio(struct chipset *chipset, uint64_t gpa, unsigned size, bool is_write,
                  uint64_t *value);

// Console input for COM1: returns how many bytes were taken. The rest has to wait: offer it again
// after the guest's next accesses. chipset_console_space() says how many would be taken.
size_t chipset_console_in(struct chipset *chipset, const uint8_t *bytes, size_t size);
size_t chipset_console_space(const struct chipset *chipset);

// The deadline given to set_timer has passed (harmless at any other time).
void chipset_tick(struct chipset *chipset);

// The guest has written EOI for a level-triggered vector.
void chipset_eoi(struct chipset *chipset, uint8_t vector);

// Asks the guest to shut down: the ACPI power button.
void chipset_power_button(struct chipset *chipset);
