// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "apic.h"

#include "cpu.h"

#define CPUID_1_ECX_X2APIC (1u << 21)

bool apic_is_x2(void)
{
    return rdmsr(MSR_APIC_BASE) & APIC_BASE_X2APIC;
}

bool apic_has_x2(void)
{
    return cpuid(1, 0).ecx & CPUID_1_ECX_X2APIC;
}

// The form is read anew each time: a cached one would go wrong across INIT.
uint32_t apic_read(uint32_t reg)
{
    if (apic_is_x2()) {
        return (uint32_t)rdmsr(MSR_X2APIC_FIRST + (reg >> 4));
    }
    return *(volatile uint32_t *)(APIC_PAGE + reg);
}

void apic_write(uint32_t reg, uint32_t value)
{
    if (apic_is_x2()) {
        wrmsr(MSR_X2APIC_FIRST + (reg >> 4), value);
    } else {
        *(volatile uint32_t *)(APIC_PAGE + reg) = value;
    }
}

uint32_t apic_id(void)
{
    uint32_t id = apic_read(APIC_ID);
    return apic_is_x2() ? id : id >> 24;
}

void apic_enable(bool x2)
{
    uint64_t base = rdmsr(MSR_APIC_BASE);
    if (!x2 && (base & APIC_BASE_X2APIC)) {
        wrmsr(MSR_APIC_BASE, base & ~(APIC_BASE_X2APIC | APIC_BASE_ENABLE));
    }
    base = (rdmsr(MSR_APIC_BASE) & ~APIC_BASE_X2APIC) | APIC_BASE_ENABLE;
    if (!(rdmsr(MSR_APIC_BASE) & APIC_BASE_X2APIC)) {
        wrmsr(MSR_APIC_BASE, base);
    }
    if (x2) {
        wrmsr(MSR_APIC_BASE, base | APIC_BASE_X2APIC);
    }
    apic_write(APIC_SVR, APIC_SVR_ENABLE | APIC_SPURIOUS_VECTOR);
    apic_write(APIC_TPR, 0);
    for (uint32_t reg = APIC_LVT_TIMER; reg <= APIC_LVT_ERROR; reg += 0x10) {
        apic_write(reg, APIC_LVT_MASKED);
    }
    apic_write(APIC_TIMER_INITIAL, 0);
}

void apic_ipi(uint32_t dest, uint32_t icr_low)
{
    if (apic_is_x2()) {
        wrmsr(MSR_X2APIC_FIRST + (APIC_ICR >> 4), (uint64_t)dest << 32 | icr_low);
        return;
    }
    apic_write(APIC_ICR_HIGH, dest << 24);
    apic_write(APIC_ICR, icr_low);
    while (apic_read(APIC_ICR) & ICR_PENDING) {
        pause();
    }
}

bool apic_vector_bit(uint32_t reg, uint8_t vector)
{
    return apic_read(reg + (vector / 32u) * 0x10u) >> (vector % 32u) & 1;
}
