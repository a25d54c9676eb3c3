// SPDX-License-Identifier: BSD-2-Clause-Patent
// What each processor has to itself. The bare-metal entry finds it by the stack pointer, since the
// segment bases are under test; an EFI program has one for its only thread.
#ifndef GUEST_PERCPU_H
#define GUEST_PERCPU_H

#include <stdbool.h>
#include <stdint.h>

struct trap_catch;

struct percpu {
    uint32_t index; // 0: the boot processor
    uint32_t apic_id;
    struct trap_catch *catch; // innermost trap_try
    void (*volatile work)(void *context);
    void *context;
    volatile uint32_t starts; // how often it came up
};

// This processor's.
struct percpu *percpu(void);

// Selectors of 64-bit ring 0.
uint16_t percpu_cs(void);
uint16_t percpu_ss(void);

#endif
