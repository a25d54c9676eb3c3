// SPDX-License-Identifier: BSD-2-Clause-Patent
// The guest's side of Hv#1: discovery and hypercalls.
#ifndef GUEST_HVCALL_H
#define GUEST_HVCALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hv/cpuid.h"
#include "hv/hypercall.h"
#include "hv/msr.h"
#include "hv/status.h"

// An open-source guest (bit 63), no known operating system.
#define HV_TEST_OS_ID (HV_GUEST_OS_ID_OPEN_SOURCE | UINT64_C(0x7f00000000000000) | 1)

// Does this processor say Hv#1?
bool hv_present(void);

// Ends the program, as skipped, where there is no Hv#1.
void hv_need(void);

// Privileges and features (leaf 40000003 EBX:EAX), and bits of its EDX.
uint64_t hv_privileges(void);
uint32_t hv_features(void);

// Whether the processor delivers the interrupts of an x2APIC by itself (leaf 40000006): then the
// synthetic APIC registers and the EOI assist are of no use in that mode.
bool hv_delivers(void);

// OS id and hypercall page. Once a partition.
void hv_setup(void);

// Where hypercalls are made, after hv_setup: a page of the image, unless set to another before.
extern uint8_t *hv_page;

// A hypercall with its control word and two operands: GPAs, or 16 bytes of input when it is fast.
uint64_t hv_call(uint64_t control, uint64_t first, uint64_t second);

// A fast one whose 112 bytes of registers come from and go back to `block`.
uint64_t hv_call_xmm(uint64_t control, uint64_t block[14]);

// A memory-based one of these sizes through pages of this file; the status. Not reentrant, for the
// boot processor only. `reps` 0 for a simple call; *done (if not NULL) gets the reps completed.
uint16_t hv_call_memory(uint16_t code, uint32_t reps, const void *input, size_t input_size,
                        void *output, size_t output_size, uint32_t *done);

// Identity-mapped: a pointer is a GPA.
static inline uint64_t hv_gpa(const volatile void *pointer)
{
    return (uint64_t)pointer;
}

#endif
