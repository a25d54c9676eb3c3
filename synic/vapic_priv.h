// SPDX-License-Identifier: BSD-2-Clause-Patent
// Shared by the files of the virtual APIC only.
#pragma once

#include "corbel/vapic.h"

#define VAPIC_LOAD(field)         atomic_load_explicit(&(field), memory_order_relaxed)
#define VAPIC_STORE(field, value) atomic_store_explicit(&(field), (value), memory_order_relaxed)

#define VAPIC_FIRST_VECTOR 16u // 0..15 are reserved: illegal in messages

#define VAPIC_MSR_BASE         0x1bu
#define VAPIC_MSR_TSC_DEADLINE 0x6e0u
#define VAPIC_MSR_X2APIC       0x800u // first of 0x100

enum vapic_icr_bits {
    VAPIC_ICR_VECTOR = 0xff,
    VAPIC_ICR_MODE_SHIFT = 8,
    VAPIC_ICR_LOGICAL = 1u << 11,
    VAPIC_ICR_BUSY = 1u << 12,
    VAPIC_ICR_ASSERT = 1u << 14,
    VAPIC_ICR_LEVEL = 1u << 15,
    VAPIC_ICR_SHORTHAND_SHIFT = 18,
    // Delivery status is read-only; reserved: 13, 17:16, 31:20.
    VAPIC_ICR_WRITABLE = 0x000ccfff,
    VAPIC_ICR_IGNORED = VAPIC_ICR_BUSY
};

static inline bool vapic_hw_enabled(const struct vapic *a)
{
    return a->base & VAPIC_BASE_ENABLE;
}
static inline bool vapic_x2apic(const struct vapic *a)
{
    return a->base & VAPIC_BASE_X2APIC;
}
static inline uint32_t vapic_x2apic_ldr(uint32_t id)
{
    return (id >> 4) << 16 | 1u << (id & 15);
}

static inline void vapic_set_bit(uint64_t map[VAPIC_WORDS], uint32_t vector)
{
    map[vector >> 6] |= UINT64_C(1) << (vector & 63);
}
static inline void vapic_clear_bit(uint64_t map[VAPIC_WORDS], uint32_t vector)
{
    map[vector >> 6] &= ~(UINT64_C(1) << (vector & 63));
}
static inline bool vapic_test_bit(const uint64_t map[VAPIC_WORDS], uint32_t vector)
{
    return map[vector >> 6] >> (vector & 63) & 1;
}

// vapic.c
void vapic_publish_mode(struct vapic *a);                      // after base or svr changed
void vapic_update_ppr(struct vapic *a);                        // after tpr or isr changed
void vapic_error(struct vapic *a, uint32_t esr_bit);           // collect, and raise LVT ERROR
void vapic_reset_registers(struct vapic *a);                   // power-on values, mode kept
void vapic_clear_remote_irr(struct vapic *a, uint32_t vector); // of a LINT, at its EOI
// vapic_icr.c: `value` has reserved bits removed and ICR high as the mode shows it.
void vapic_write_icr(struct vapic *a, uint64_t value, struct vapic_action *action);
void vapic_self_ipi(struct vapic *a, uint8_t vector, struct vapic_action *action);
// vapic_timer.c: each first lets pass what has expired by `now`.
void vapic_timer_write_lvt(struct vapic *a, uint32_t value, uint64_t now);
void vapic_timer_write_initial(struct vapic *a, uint32_t value, uint64_t now);
void vapic_timer_write_divide(struct vapic *a, uint32_t value, uint64_t now);
void vapic_timer_write_deadline(struct vapic *a, uint64_t value, uint64_t now);
uint64_t vapic_timer_read_deadline(const struct vapic *a, uint64_t now);
uint32_t vapic_timer_read_current(const struct vapic *a, uint64_t now);
void vapic_timer_import(struct vapic *a, const struct vapic_image *image, uint64_t now);
