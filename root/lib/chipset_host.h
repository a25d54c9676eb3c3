// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the chipset asks of its owner (root.efi, or a process on a Linux root): interrupts, time and
// a place for what the machine says.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define CHIPSET_NO_DEADLINE UINT64_MAX

// Delivery types are those of an I/O APIC redirection entry and equally of
// HV_INTERRUPT_TYPE (TLFS: HvCallAssertVirtualInterrupt).
enum interrupt_delivery {
    DELIVERY_FIXED = 0,
    DELIVERY_LOWEST_PRIORITY = 1,
    DELIVERY_SMI = 2,
    DELIVERY_NMI = 4,
    DELIVERY_INIT = 5,
    DELIVERY_EXTINT = 7,
};

struct chipset_interrupt {
    uint32_t destination; // APIC id, or logical destination
    uint8_t vector;       // as the guest wrote it, 0..255: the receiver judges it
    uint8_t delivery;     // enum interrupt_delivery
    bool logical;
    bool level; // level triggered: the owner answers its EOI with chipset_eoi()
};

// Callbacks of one machine. All are required. They are called from within chipset_* functions and
// must not call back into the same chipset. reset and power_off are requests: the owner carries
// them out after the access that caused them has returned.
struct chipset_host {
    void *ctx;
    void (*raise_interrupt)(void *ctx, const struct chipset_interrupt *interrupt);
    uint64_t (*now_100ns)(void *ctx);   // the partition's reference time, never goes back
    int64_t (*wall_seconds)(void *ctx); // seconds since 1970-01-01 00:00:00 as the RTC shows it
    // Wants chipset_tick() at the deadline, instead of the one wanted before;
    // CHIPSET_NO_DEADLINE: not at all. Every chipset_tick() says it anew.
    void (*set_timer)(void *ctx, uint64_t deadline_100ns);
    void (*console_out)(void *ctx, uint8_t byte);
    void (*debug_out)(void *ctx, uint8_t byte);
    void (*exit_value)(void *ctx, uint32_t value); // the guest wrote PORT_EXIT
    void (*power_off)(void *ctx);
    void (*reset)(void *ctx);
};
