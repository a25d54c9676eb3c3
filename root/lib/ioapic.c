// SPDX-License-Identifier: BSD-2-Clause-Patent
// I/O APIC: contract and sources in ioapic.h.
#include "ioapic.h"

enum ioapic_offset { IOAPIC_SELECT = 0x00, IOAPIC_WINDOW = 0x10, IOAPIC_EOI = 0x40 };

enum ioapic_register {
    REGISTER_ID = 0,
    REGISTER_VERSION = 1,
    REGISTER_ARBITRATION = 2,
    REGISTER_TABLE = 0x10, // two registers an entry, low half first
};

enum ioapic_constant {
    VERSION = 0x20 | (IOAPIC_PINS - 1) << 16,
    ID_SHIFT = 24,
    ID_MASK = 0x0F,
};

// Redirection entry, low half.
enum entry_bit {
    ENTRY_VECTOR = 0xFF,
    ENTRY_DELIVERY_SHIFT = 8,
    ENTRY_DELIVERY_MASK = 7,
    ENTRY_LOGICAL = 1 << 11,
    ENTRY_REMOTE_IRR = 1 << 14,
    ENTRY_LEVEL = 1 << 15,
    ENTRY_MASKED = 1 << 16,
    ENTRY_LOW_WRITABLE = 0x0001AFFF, // all but delivery status (12) and remote IRR (14)
};

// High half: destination 7:0 in bits 31:24; bits 23:17 are destination 14:8, the extended form of
// virtual machines (TLFS leaf 0x40000082 EAX bit 2); a guest that does not know it leaves them 0.
enum { ENTRY_DESTINATION_SHIFT = 56, ENTRY_EXTENDED_SHIFT = 49, ENTRY_EXTENDED_MASK = 0x7F };
#define ENTRY_HIGH_WRITABLE 0xFFFE0000u

static unsigned delivery_of(uint64_t entry)
{
    return entry >> ENTRY_DELIVERY_SHIFT & ENTRY_DELIVERY_MASK;
}

// Only fixed and lowest-priority interrupts can be level triggered; the others are edges whatever
// the trigger bit says.
static bool is_level(uint64_t entry)
{
    return (entry & ENTRY_LEVEL) && delivery_of(entry) <= DELIVERY_LOWEST_PRIORITY;
}

static void send(uint64_t entry, const struct chipset_host *host)
{
    static const uint8_t known = 1 << DELIVERY_FIXED | 1 << DELIVERY_LOWEST_PRIORITY |
                                 1 << DELIVERY_SMI | 1 << DELIVERY_NMI | 1 << DELIVERY_INIT |
                                 1 << DELIVERY_EXTINT;
    if (!(known >> delivery_of(entry) & 1)) {
        return;
    }
    const struct chipset_interrupt interrupt = {
        .destination = (uint32_t)(entry >> ENTRY_DESTINATION_SHIFT) |
                       (uint32_t)(entry >> ENTRY_EXTENDED_SHIFT & ENTRY_EXTENDED_MASK) << 8,
        .vector = entry & ENTRY_VECTOR,
        .delivery = (uint8_t)delivery_of(entry),
        .logical = entry & ENTRY_LOGICAL,
        .level = is_level(entry),
    };
    host->raise_interrupt(host->ctx, &interrupt);
}

// Sends a level interrupt if the pin wants one and the last has been acknowledged.
static void service_level(struct ioapic *ioapic, unsigned pin, const struct chipset_host *host)
{
    const uint64_t entry = ioapic->entry[pin];

    if (is_level(entry) && (ioapic->lines >> pin & 1) &&
        !(entry & (ENTRY_MASKED | ENTRY_REMOTE_IRR))) {
        ioapic->entry[pin] |= ENTRY_REMOTE_IRR;
        send(entry, host);
    }
}

void ioapic_reset(struct ioapic *ioapic)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        ioapic->entry[pin] = ENTRY_MASKED;
    }
    ioapic->select = 0;
    ioapic->id = 0;
}

static uint32_t read_window(const struct ioapic *ioapic)
{
    const unsigned half = ioapic->select - REGISTER_TABLE;

    if (ioapic->select >= REGISTER_TABLE && half < 2 * IOAPIC_PINS) {
        return (uint32_t)(ioapic->entry[half / 2] >> (half % 2 * 32));
    }
    switch (ioapic->select) {
    case REGISTER_ID:
    case REGISTER_ARBITRATION:
        return (uint32_t)ioapic->id << ID_SHIFT;
    case REGISTER_VERSION:
        return VERSION;
    default:
        return 0;
    }
}

static void write_entry(struct ioapic *ioapic, unsigned half, uint32_t value,
                        const struct chipset_host *host)
{
    const unsigned pin = half / 2;
    uint64_t entry = ioapic->entry[pin];

    if (half % 2) {
        entry = (uint32_t)entry | (uint64_t)(value & ENTRY_HIGH_WRITABLE) << 32;
    } else {
        entry &= ~(uint64_t)ENTRY_LOW_WRITABLE;
        entry |= value & ENTRY_LOW_WRITABLE;
        // Guests switch an entry to edge and back to get rid of a stale remote IRR.
        if (!(entry & ENTRY_LEVEL)) {
            entry &= ~(uint64_t)ENTRY_REMOTE_IRR;
        }
    }
    ioapic->entry[pin] = entry;
    service_level(ioapic, pin, host);
}

static void write_window(struct ioapic *ioapic, uint32_t value, const struct chipset_host *host)
{
    const unsigned half = ioapic->select - REGISTER_TABLE;

    if (ioapic->select >= REGISTER_TABLE && half < 2 * IOAPIC_PINS) {
        write_entry(ioapic, half, value, host);
    } else if (ioapic->select == REGISTER_ID) {
        ioapic->id = value >> ID_SHIFT & ID_MASK;
    }
}

uint32_t ioapic_read(const struct ioapic *ioapic, uint32_t offset)
{
    switch (offset) {
    case IOAPIC_SELECT:
        return ioapic->select;
    case IOAPIC_WINDOW:
        return read_window(ioapic);
    default:
        return 0;
    }
}

void ioapic_write(struct ioapic *ioapic, uint32_t offset, uint32_t value,
                  const struct chipset_host *host)
{
    switch (offset) {
    case IOAPIC_SELECT:
        ioapic->select = (uint8_t)value;
        break;
    case IOAPIC_WINDOW:
        write_window(ioapic, value, host);
        break;
    case IOAPIC_EOI:
        ioapic_eoi(ioapic, (uint8_t)value, host);
        break;
    default:
        break;
    }
}

void ioapic_set_pin(struct ioapic *ioapic, unsigned pin, bool asserted,
                    const struct chipset_host *host)
{
    if (pin >= IOAPIC_PINS) {
        return;
    }
    const uint32_t bit = UINT32_C(1) << pin;
    const bool rises = asserted && !(ioapic->lines & bit);
    const uint64_t entry = ioapic->entry[pin];

    ioapic->lines = asserted ? ioapic->lines | bit : ioapic->lines & ~bit;
    if (is_level(entry)) {
        service_level(ioapic, pin, host);
    } else if (rises && !(entry & ENTRY_MASKED)) {
        send(entry, host);
    }
}

void ioapic_eoi(struct ioapic *ioapic, uint8_t vector, const struct chipset_host *host)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        const uint64_t entry = ioapic->entry[pin];
        if ((entry & ENTRY_VECTOR) == vector && (entry & ENTRY_REMOTE_IRR)) {
            ioapic->entry[pin] = entry & ~(uint64_t)ENTRY_REMOTE_IRR;
            service_level(ioapic, pin, host);
        }
    }
}
