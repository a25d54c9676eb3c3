// SPDX-License-Identifier: BSD-2-Clause-Patent
// The time of day: read from the firmware once, then by the reference time.
#pragma once
#include <stdint.h>

// After hv_start(). A machine whose clock cannot be read starts in 1970.
void clock_start(void);

// Seconds since 1970-01-01 00:00:00, in whatever time zone the machine's clock is.
int64_t clock_seconds(void);

// The same in units of 100 ns since 1601-01-01.
uint64_t clock_100ns(void);
