// SPDX-License-Identifier: BSD-2-Clause-Patent
// Application processors: start them, give them work. Processor 0 is the boot processor.
#ifndef GUEST_SMP_H
#define GUEST_SMP_H

#include <stdbool.h>
#include <stdint.h>

#include "percpu.h"

// An idle processor sleeps and wakes by this vector.
#define SMP_WAKE_VECTOR 0xf0u

typedef void smp_body(void *context);

// Makes this processor's area, GDT, TSS and IDT its own; index 0 does the common part too.
void smp_init_cpu(uint32_t index);

struct percpu *smp_cpu(uint32_t index);

// Starts processor `index` by INIT and SIPI, its APIC in the form that the caller's has, and waits
// CLOCK_PATIENCE for it; true when it came up. It then waits for work with interrupts on.
bool smp_start(uint32_t index);

// Starts all that the machine has; returns how many run, this one included.
uint32_t smp_start_all(void);

// What an application processor needs at LOW_CODE, for starts by other means than smp_start.
void smp_prepare_start(uint32_t index);

// What such a start has to enter: 64-bit code with everything set up but the stack. Its stack is
// smp_stack_top(index).
_Noreturn void smp_ap_start(void);
uint64_t smp_stack_top(uint32_t index);

// Gives a processor work and returns at once; smp_wait waits until it is idle again, for at most
// `us`.
void smp_run(uint32_t index, smp_body *body, void *context);
bool smp_wait(uint32_t index, uint64_t us);

// Both, with CLOCK_PATIENCE.
bool smp_call(uint32_t index, smp_body *body, void *context);

#endif
