// SPDX-License-Identifier: BSD-2-Clause-Patent
// MC146818 real-time clock with 128 bytes of NVRAM. Source: Motorola MC146818A data sheet. It shows
// the owner's wall clock plus the offset that the guest has set.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "chipset_host.h"

enum { RTC_NVRAM = 128 };

struct rtc {
    int64_t seconds;          // guest time: seconds since 1970, at update_time
    int64_t offset;           // guest time minus wall clock
    uint64_t update_time;     // reference time of the last update of the time registers
    uint64_t period_index;    // periodic interrupts since reference time 0, at the present rate
    uint8_t index;            // address register
    uint8_t flags;            // register C: PF, AF, UF
    uint8_t nvram[RTC_NVRAM]; // time registers are valid here only while updates are inhibited
};

// First power-on: shows the wall clock, 24 h, BCD, no interrupts, NVRAM zero.
void rtc_init(struct rtc *rtc, const struct chipset_host *host);

// Machine reset: interrupts off; time, alarm and NVRAM stay (they have a battery).
void rtc_reset(struct rtc *rtc);

// Port accesses: offset 0 is the index, 1 the data port.
uint8_t rtc_read(struct rtc *rtc, unsigned offset, const struct chipset_host *host);
void rtc_write(struct rtc *rtc, unsigned offset, uint8_t value, const struct chipset_host *host);

// Lets time pass up to host->now_100ns: updates, alarm and periodic flags.
void rtc_advance(struct rtc *rtc, const struct chipset_host *host);

// When the next enabled interrupt is due, or CHIPSET_NO_DEADLINE.
uint64_t rtc_deadline(const struct rtc *rtc);

// The interrupt line: an enabled flag is set in register C.
bool rtc_interrupt(const struct rtc *rtc);
