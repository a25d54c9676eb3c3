// SPDX-License-Identifier: BSD-2-Clause-Patent
// How much is logged on behalf of one guest: a burst, and so many lines a second after it. The log
// may be a serial line, which holds up the LP, and its ring is everybody's.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LOG_RATE_BURST      100u // lines: three reports of a triple fault
#define LOG_RATE_PER_SECOND 8u

// A bucket that leaks; all zeros is an empty one.
struct log_rate {
    uint64_t leaked; // the TSC up to which it has leaked
    uint32_t level;  // lines in it
    uint32_t left_out;
};

// Whether a report of `lines` (1 to LOG_RATE_BURST) may be logged at `now`; else it counts as left
// out. *left_out: how many reports were, since the last that may. tsc_hz: above 10 MHz. The caller
// serializes.
bool log_rate_admit(struct log_rate *r, uint64_t now, uint64_t tsc_hz, uint32_t lines,
                    uint32_t *left_out);
