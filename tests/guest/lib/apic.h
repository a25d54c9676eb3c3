// SPDX-License-Identifier: BSD-2-Clause-Patent
// The local APIC in both its forms. Registers are named by their xAPIC offsets.
#ifndef GUEST_APIC_H
#define GUEST_APIC_H

#include <stdbool.h>
#include <stdint.h>

#define APIC_PAGE 0xfee00000ull

#define APIC_BASE_BSP    (1ull << 8)
#define APIC_BASE_X2APIC (1ull << 10)
#define APIC_BASE_ENABLE (1ull << 11)

#define APIC_ID            0x020u
#define APIC_VERSION       0x030u
#define APIC_TPR           0x080u
#define APIC_PPR           0x0a0u
#define APIC_EOI           0x0b0u
#define APIC_LDR           0x0d0u
#define APIC_DFR           0x0e0u
#define APIC_SVR           0x0f0u
#define APIC_ISR           0x100u
#define APIC_TMR           0x180u
#define APIC_IRR           0x200u
#define APIC_ESR           0x280u
#define APIC_ICR           0x300u
#define APIC_ICR_HIGH      0x310u
#define APIC_LVT_TIMER     0x320u
#define APIC_LVT_THERMAL   0x330u
#define APIC_LVT_PERF      0x340u
#define APIC_LVT_LINT0     0x350u
#define APIC_LVT_LINT1     0x360u
#define APIC_LVT_ERROR     0x370u
#define APIC_TIMER_INITIAL 0x380u
#define APIC_TIMER_CURRENT 0x390u
#define APIC_TIMER_DIVIDE  0x3e0u
#define APIC_SELF_IPI      0x3f0u

#define APIC_SVR_ENABLE   (1u << 8)
#define APIC_LVT_MASKED   (1u << 16)
#define APIC_LVT_PERIODIC (1u << 17)
#define APIC_LVT_DEADLINE (2u << 17)
#define APIC_DIVIDE_BY_1  0xbu
#define APIC_DIVIDE_BY_16 0x3u

#define ICR_FIXED   (0u << 8)
#define ICR_LOWEST  (1u << 8)
#define ICR_NMI     (4u << 8)
#define ICR_INIT    (5u << 8)
#define ICR_STARTUP (6u << 8)
#define ICR_LOGICAL (1u << 11)
#define ICR_PENDING (1u << 12)
#define ICR_ASSERT  (1u << 14)
#define ICR_LEVEL   (1u << 15)
#define ICR_SELF    (1u << 18)
#define ICR_ALL     (2u << 18)
#define ICR_OTHERS  (3u << 18)

#define APIC_SPURIOUS_VECTOR 0xffu

// Is this processor's APIC in x2APIC mode?
bool apic_is_x2(void);

// Enables this processor's APIC in the form asked for, by way of the disabled state if need be,
// with spurious vector 0xff, priority 0 and all local sources masked. Disabling loses the APIC's
// state.
void apic_enable(bool x2);

// Does CPUID offer x2APIC?
bool apic_has_x2(void);

uint32_t apic_read(uint32_t reg);
void apic_write(uint32_t reg, uint32_t value);

// APIC id of this processor.
uint32_t apic_id(void);

// Sends an IPI. dest is a physical or logical id in the current form's width; ignored with
// shorthands. Waits for the delivery status in xAPIC form.
void apic_ipi(uint32_t dest, uint32_t icr_low);

static inline void apic_eoi(void)
{
    apic_write(APIC_EOI, 0);
}

// Is bit `vector` of the 256-bit register at `reg` (APIC_IRR, APIC_ISR, APIC_TMR) set?
bool apic_vector_bit(uint32_t reg, uint8_t vector);

#endif
