// SPDX-License-Identifier: BSD-2-Clause-Patent
// What must not be there: each function notes what is, and returns how many.
#ifndef GUEST_REFUSED_H
#define GUEST_REFUSED_H

#include <stdint.h>

// A bit of a register of a CPUID leaf.
struct refused_bit {
    uint32_t leaf;
    uint32_t index; // EAX, EBX, ECX, EDX
    uint32_t mask;
};

// Hypercalls that do not end with `status`: fast or in memory, with reps, a start index and a
// variable header or without. After hv_setup.
unsigned refused_calls(const uint16_t *codes, unsigned count, uint16_t status);

// MSRs that can be read or written (0) without #GP(0).
unsigned refused_msrs(const uint32_t *msrs, unsigned count);

// Bits that are set.
unsigned refused_bits(const struct refused_bit *bits, unsigned count);

#endif
