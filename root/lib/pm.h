// SPDX-License-Identifier: BSD-2-Clause-Patent
// ACPI fixed hardware: PM1a event and control registers and the 32-bit PM timer. Source: ACPI 6.5
// section 4.8.3. The machine is always in ACPI mode: SCI_EN reads as one and there is no SMI_CMD.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "chipset_host.h"

struct pm {
    uint64_t timer_half; // how often the timer's top bit has toggled
    uint16_t status, enable, control;
};

enum pm_event { // bits of the PM1 status and enable registers
    PM_TIMER_EVENT = 1 << 0,
    PM_GLOBAL_EVENT = 1 << 5,
    PM_POWER_BUTTON = 1 << 8,
    PM_SLEEP_BUTTON = 1 << 9,
    PM_RTC_EVENT = 1 << 10,
};

void pm_reset(struct pm *pm, uint64_t now);

// Register accesses: offset within the block (0..11), naturally aligned, size 1, 2 or 4.
uint32_t pm_read(struct pm *pm, unsigned offset, unsigned size, uint64_t now);
void pm_write(struct pm *pm, unsigned offset, unsigned size, uint32_t value,
              const struct chipset_host *host);

// Sets status bits (for example PM_POWER_BUTTON when the owner wants an orderly shutdown).
void pm_raise(struct pm *pm, enum pm_event event);

void pm_advance(struct pm *pm, uint64_t now);
uint64_t pm_deadline(const struct pm *pm);

// The SCI line: an enabled event's status bit is set.
bool pm_interrupt(const struct pm *pm);
