// SPDX-License-Identifier: BSD-2-Clause-Patent
// The machine a bare-metal guest finds itself on: command line, memory map, processors, PM timer.
#ifndef GUEST_MACHINE_H
#define GUEST_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"

#define MACHINE_RANGES 32

struct machine_range {
    uint64_t base, size;
    uint32_t type; // as E820: 1 is RAM
};

struct machine {
    const char *cmdline;
    uint32_t range_count;
    struct machine_range ranges[MACHINE_RANGES];
    uint32_t cpu_count;         // enabled ones in the MADT, at most CPU_MAX; 1 without MADT
    uint32_t apic_ids[CPU_MAX]; // the boot processor's first
    uint16_t pm_timer_port;     // 0: none
    uint64_t image_end;         // RAM from here on is the program's, up to the range's end
};
extern struct machine machine;

// Reads what the loader left (magic: BOOT_MAGIC_*) and the ACPI tables.
void machine_init(uint32_t magic, uint32_t info);

// The value of NAME=NUMBER on the command line (decimal or 0x), else `other`.
uint64_t machine_option(const char *name, uint64_t other);

// End of the RAM range that holds the program.
uint64_t machine_ram_end(void);

// Is the page frame at `gpa` in a RAM range?
bool machine_is_ram(uint64_t gpa);

#endif
