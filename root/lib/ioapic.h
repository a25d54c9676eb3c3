// SPDX-License-Identifier: BSD-2-Clause-Patent
// I/O APIC with 24 pins, version 0x20 (with EOI register). Sources: Intel 82093AA data sheet; the
// I/O APIC chapters of the ICH data sheets for the EOI register. Line polarity is not modelled: a
// line is asserted or not, whatever polarity the guest programmes.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "chipset_host.h"

enum { IOAPIC_PINS = 24 };

struct ioapic {
    uint64_t entry[IOAPIC_PINS]; // redirection table
    uint32_t lines;              // bit n: pin n is asserted
    uint8_t select;              // IOREGSEL
    uint8_t id;                  // bits 27:24 of the ID register
};

// Reset state: every entry masked. The lines keep their level.
void ioapic_reset(struct ioapic *ioapic);

// An access to the register page at an offset within it. Registers are 32 bits wide. Offsets that
// are no register read as 0 and ignore writes.
uint32_t ioapic_read(const struct ioapic *ioapic, uint32_t offset);
void ioapic_write(struct ioapic *ioapic, uint32_t offset, uint32_t value,
                  const struct chipset_host *host);

// Drives a pin (0..23; others are ignored). An edge pin sends when it becomes asserted and is not
// masked (an edge on a masked pin is lost, as on the 82093AA); a level pin when it is asserted, not
// masked and its last interrupt has seen its EOI.
void ioapic_set_pin(struct ioapic *ioapic, unsigned pin, bool asserted,
                    const struct chipset_host *host);

// A processor has written EOI for a level-triggered vector: level pins of that vector may send
// again and do so at once if still asserted.
void ioapic_eoi(struct ioapic *ioapic, uint8_t vector, const struct chipset_host *host);
