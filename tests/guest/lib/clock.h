// SPDX-License-Identifier: BSD-2-Clause-Patent
// The TSC as a clock.
#ifndef GUEST_CLOCK_H
#define GUEST_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define PM_TIMER_HZ 3579545u

// Microseconds after which what must come at once has not come. A busy host may keep one of the
// emulator's threads from running for long, while the others' time goes on.
#define CLOCK_PATIENCE 60000000ul

// TSC counts a second: measured against the ACPI PM timer the first time it is asked for, or told
// by the hypervisor where there is no such timer.
uint64_t clock_tsc_hz(void);

// Measures anew against the PM timer, over `us` microseconds; 0 without one.
uint64_t clock_measure_tsc_hz(uint32_t us);

// TSC counts of so many microseconds.
uint64_t clock_ticks(uint64_t us);

void clock_delay(uint64_t us);

// Waits until *flag is at least `want`, for at most `us`; true when it got there.
bool clock_wait(volatile uint32_t *flag, uint32_t want, uint64_t us);

#endif
