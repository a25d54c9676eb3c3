// SPDX-License-Identifier: BSD-2-Clause-Patent
// Partition reference time: the guest's TSC scaled to 100 ns, as the reference TSC page shows it.
// TLFS: Partition Reference Time Enlightenment. Integers only.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "hv/time.h"

struct reftime {
    uint64_t tsc_hz;
    uint64_t rate;     // 0.64 fixed: 100 ns units a TSC count
    uint64_t scale;    // the same, or 0 while time stands
    int64_t offset;    // added after scaling
    uint32_t sequence; // of the page, last published; kept here so that it never repeats
    // Changes of scale and offset that have begun and that are complete: a reader takes the second
    // before and the first after it has looked; if they are the same it has seen no half.
    _Atomic uint32_t begun, complete;
};

// floor((high:low) / divisor), remainder in *rest. The caller makes sure of high < divisor: the
// quotient then fits. One instruction; the compiler's 128-bit division is a library call.
static inline uint64_t reftime_div128(uint64_t high, uint64_t low, uint64_t divisor, uint64_t *rest)
{
    uint64_t quotient;

    __asm__("divq %4" : "=a"(quotient), "=d"(*rest) : "0"(low), "1"(high), "rm"(divisor) : "cc");
    return quotient;
}

// Reference time that reads 0 when the guest's TSC is `tsc_at_zero`. tsc_hz: above 10 MHz.
void reftime_init(struct reftime *r, uint64_t tsc_hz, uint64_t tsc_at_zero);

// ((tsc * scale) >> 64) + offset: exactly what a guest computes from the page.
static inline uint64_t reftime_at(const struct reftime *r, uint64_t tsc)
{
    return (uint64_t)(((unsigned __int128)tsc * r->scale) >> 64) + (uint64_t)r->offset;
}

// Time stands at what it is at `tsc`, or goes on from there with the next unit. One writer at a
// time; the page is the caller's.
void reftime_hold(struct reftime *r, uint64_t tsc);
void reftime_go_on(struct reftime *r, uint64_t tsc);
// Time that stands is another.
void reftime_set(struct reftime *r, uint64_t time);
// Time is `time` when the TSC reads `tsc`; if it stands, it stands at `time`. The page's next
// sequence follows on `sequence`.
void reftime_restore(struct reftime *r, uint64_t tsc, uint64_t time, uint32_t sequence);
// Around changes that readers have to see together with those made here; they may be nested.
static inline void reftime_begin_change(struct reftime *r)
{
    atomic_fetch_add(&r->begun, 1);
}
static inline void reftime_end_change(struct reftime *r)
{
    atomic_fetch_add(&r->complete, 1);
}
static inline bool reftime_held(const struct reftime *r)
{
    return r->scale == 0;
}

// The smallest TSC at which reference time has reached `time`: a timer set to it is never early.
// UINT64_MAX if no 64-bit TSC gets there, or time stands; 0 for times before TSC 0.
uint64_t reftime_to_tsc(const struct reftime *r, uint64_t time);

// TSC ticks in which at least `units` of 100 ns pass; UINT64_MAX if that is more than there are.
uint64_t reftime_ticks(const struct reftime *r, uint64_t units);

// Publish scale and offset in a reference TSC page that guests may be reading: sequence 0, fields,
// then the next sequence (never 0 nor 0xffffffff). One writer at a time.
void reftime_publish(struct reftime *r, struct hv_reference_tsc_page *page);
// Sequence 0: guests fall back to the reference counter MSR.
void reftime_withdraw(struct hv_reference_tsc_page *page);

// HV_X64_MSR_TSC_FREQUENCY; the APIC's is struct vapic_clock.apic_hz.
static inline uint64_t reftime_tsc_frequency(const struct reftime *r)
{
    return r->tsc_hz;
}
