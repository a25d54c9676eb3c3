// SPDX-License-Identifier: BSD-2-Clause-Patent
// Exceptions and interrupts: handlers by vector, and calls that survive a fault.
#ifndef GUEST_TRAP_H
#define GUEST_TRAP_H

#include <stdbool.h>
#include <stdint.h>

// What the stubs in vectors.S leave on the stack.
struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};

// How a call ended that trap_try made.
struct trap {
    bool taken;
    uint8_t vector;
    uint32_t error;
    uint64_t rip;
    uint64_t cr2; // #PF
};

typedef void trap_handler(struct trap_frame *frame);
typedef void trap_body(void *context);

// Fills the IDT that all processors share with code segment `cs`. On a processor with stacks of
// its own for them (ist true), #DF and NMI use IST 1 and 2.
void trap_init(uint16_t cs, bool ist);

// Loads the IDT on this processor.
void trap_load(void);

// A handler for a vector, or NULL to remove it. One that returns resumes what was interrupted;
// APIC interrupts it must EOI itself. It comes before a trap_try in progress.
void trap_set_handler(uint8_t vector, trap_handler *handler);

// Calls body(context). An exception without handler ends the call: `taken` is then set. May nest.
struct trap trap_try(trap_body *body, void *context);

// The same in ring 3, on the same stack. A body that returns ends as #BP (VECTOR_BP).
struct trap trap_try_user(trap_body *body, void *context);

// Interrupts (vector 32 and up) that came without handler, and the last one's vector.
extern volatile uint32_t trap_stray_count;
extern volatile uint8_t trap_stray_vector;

// One access each that survives a fault. A read that faulted leaves *value alone.
struct trap try_rdmsr(uint32_t msr, uint64_t *value);
struct trap try_wrmsr(uint32_t msr, uint64_t value);
struct trap try_read8(uint64_t address, uint8_t *value);
struct trap try_write8(uint64_t address, uint8_t value);

#endif
