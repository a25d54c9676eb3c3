// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the processor has, read once at launch; the same on every LP.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/speculation.h"

struct cpu_features {
    bool amd, intel;
    bool xsave, xsaveopt;
    bool xsaves;     // offered to guests: without supervisor components, IA32_XSS stays 0
    bool huge_pages; // 1 GiB pages
    bool nx;
    bool x2apic;
    bool tsc_deadline;
    uint32_t speculation;               // enum speculation_duty
    struct speculation_changes changes; // of these, between partitions
    bool rdtscp;
    bool smep, smap, umip;
    uint32_t physical_bits;
    uint32_t mxcsr_mask; // bits of MXCSR that may be set
    uint64_t xcr0;       // components the hardware can keep
    uint64_t guest_cr4;  // bits a guest may set
    uint64_t guest_efer; // bits a guest may set
};
extern struct cpu_features cpu_features;

void cpu_probe(void);

static inline uint32_t cpu_physical_bits(void)
{
    return cpu_features.physical_bits;
}
static inline uint64_t cpu_physical_mask(void)
{
    return (1ul << cpu_features.physical_bits) - 1;
}
static inline bool cpu_has_huge_pages(void)
{
    return cpu_features.huge_pages;
}
static inline uint64_t cpu_guest_cr4(void)
{
    return cpu_features.guest_cr4;
}
static inline uint64_t cpu_guest_efer(void)
{
    return cpu_features.guest_efer;
}

// The physical address of something in the hypervisor's image.
uint64_t image_to_phys(const void *address);
