// SPDX-License-Identifier: BSD-2-Clause-Patent
// Virtual APIC timer over the guest's TSC: one-shot, periodic, TSC-deadline. SDM 3A "APIC Timer".
//
// Nothing runs between accesses: the state is the TSC of the next expiry, and the current count is
// computed from it. Whoever changes the timer first lets pass what has expired by then.
#include "corbel/reftime.h"
#include "vapic_priv.h"

#define FRACTION       40
#define MIN_PERIODS_HZ 10000u // shortest period: 100 us, so that no guest can storm an LP

// floor((a << FRACTION) / b). The high part must be below b (the contract of vapic_clock_init).
static uint64_t ratio(uint64_t a, uint64_t b)
{
    uint64_t rest;

    return reftime_div128(a >> (64 - FRACTION), a << FRACTION, b, &rest);
}

void vapic_clock_init(struct vapic_clock *clock, uint64_t tsc_hz, uint64_t apic_hz)
{
    clock->tsc_hz = tsc_hz;
    clock->apic_hz = apic_hz;
    clock->tsc_per_tick = ratio(tsc_hz, apic_hz);
    clock->ticks_per_tsc = ratio(apic_hz, tsc_hz);
    clock->min_period = tsc_hz / MIN_PERIODS_HZ + 1;
}

// Divide configuration: bits 3, 1, 0 are 0..6 for 2..128 and 7 for 1.
static uint32_t divide_shift(const struct vapic *a)
{
    uint32_t code = (a->timer_divide & 3) | (a->timer_divide & 8) >> 1;

    return (code + 1) & 7;
}

static uint64_t ticks_to_tsc(const struct vapic *a, uint32_t count)
{
    unsigned __int128 ticks = (uint64_t)count << divide_shift(a);
    unsigned __int128 up = ((unsigned __int128)1 << FRACTION) - 1;

    return (uint64_t)((ticks * a->clock->tsc_per_tick + up) >> FRACTION);
}

// Rounded up, so that the count reaches 0 only with the expiry.
static uint32_t tsc_to_ticks(const struct vapic *a, uint64_t tsc)
{
    uint32_t shift = FRACTION + divide_shift(a);
    unsigned __int128 up = ((unsigned __int128)1 << shift) - 1;
    uint64_t ticks = (uint64_t)(((unsigned __int128)tsc * a->clock->ticks_per_tsc + up) >> shift);

    return ticks < a->timer_initial ? (uint32_t)ticks : a->timer_initial;
}

static uint32_t mode(const struct vapic *a)
{
    return a->lvt[VAPIC_TIMER] & VAPIC_LVT_TIMER_MODE;
}

static uint64_t later(uint64_t tsc, uint64_t delta)
{
    uint64_t sum;

    return __builtin_add_overflow(tsc, delta, &sum) ? VAPIC_NO_DEADLINE : sum;
}

static void set_period(struct vapic *a)
{
    a->timer_period = ticks_to_tsc(a, a->timer_initial);
    if (mode(a) == VAPIC_LVT_PERIODIC && a->timer_period < a->clock->min_period)
        a->timer_period = a->clock->min_period;
}

bool vapic_timer_expire(struct vapic *a, uint64_t now)
{
    uint64_t expiry = a->timer_expiry;

    if (expiry == VAPIC_NO_DEADLINE || now < expiry)
        return false;
    if (mode(a) == VAPIC_LVT_PERIODIC) {
        uint64_t late = now - expiry;
        if (late >= a->timer_period)
            expiry = now - late % a->timer_period;
        a->timer_expiry = later(expiry, a->timer_period);
    } else {
        a->timer_expiry = VAPIC_NO_DEADLINE;
    }
    if ((a->lvt[VAPIC_TIMER] & VAPIC_LVT_MASKED) || !vapic_accepts(a))
        return false;
    vapic_set_irr(a, a->lvt[VAPIC_TIMER] & VAPIC_LVT_VECTOR);
    return true;
}

uint32_t vapic_timer_read_current(const struct vapic *a, uint64_t now)
{
    uint64_t expiry = a->timer_expiry;

    if (mode(a) == VAPIC_LVT_DEADLINE || expiry == VAPIC_NO_DEADLINE)
        return 0;
    if (now < expiry)
        return tsc_to_ticks(a, expiry - now);
    if (mode(a) != VAPIC_LVT_PERIODIC)
        return 0;
    return tsc_to_ticks(a, a->timer_period - (now - expiry) % a->timer_period);
}

uint64_t vapic_timer_read_deadline(const struct vapic *a, uint64_t now)
{
    bool armed = mode(a) == VAPIC_LVT_DEADLINE && a->timer_expiry != VAPIC_NO_DEADLINE;

    return armed && now < a->timer_expiry ? a->timer_expiry : 0;
}

// Entering or leaving deadline mode disarms. Between one-shot and periodic the count runs on:
// firmware (EDK2) writes the count first and the mode after it.
void vapic_timer_write_lvt(struct vapic *a, uint32_t value, uint64_t now)
{
    vapic_timer_expire(a, now);
    if ((a->lvt[VAPIC_TIMER] ^ value) & VAPIC_LVT_DEADLINE) {
        a->timer_initial = 0;
        a->timer_expiry = VAPIC_NO_DEADLINE;
    }
    a->lvt[VAPIC_TIMER] = value;
    set_period(a);
}

void vapic_timer_write_initial(struct vapic *a, uint32_t value, uint64_t now)
{
    if (mode(a) == VAPIC_LVT_DEADLINE)
        return;
    vapic_timer_expire(a, now);
    a->timer_initial = value;
    set_period(a);
    a->timer_expiry = value ? later(now, a->timer_period) : VAPIC_NO_DEADLINE;
}

void vapic_timer_write_divide(struct vapic *a, uint32_t value, uint64_t now)
{
    bool counting = mode(a) != VAPIC_LVT_DEADLINE;

    vapic_timer_expire(a, now);
    uint32_t current = vapic_timer_read_current(a, now);
    a->timer_divide = value;
    set_period(a);
    if (counting && a->timer_expiry != VAPIC_NO_DEADLINE)
        a->timer_expiry = later(now, ticks_to_tsc(a, current));
}

void vapic_timer_write_deadline(struct vapic *a, uint64_t value, uint64_t now)
{
    if (mode(a) != VAPIC_LVT_DEADLINE)
        return;
    vapic_timer_expire(a, now);
    a->timer_expiry = value ? value : VAPIC_NO_DEADLINE;
    vapic_timer_expire(a, now);
}

void vapic_timer_tsc_moved(struct vapic *a, uint64_t from, uint64_t to)
{
    if (mode(a) == VAPIC_LVT_DEADLINE || a->timer_expiry == VAPIC_NO_DEADLINE)
        return;
    a->timer_expiry = a->timer_expiry > from ? later(to, a->timer_expiry - from) : to;
}

// LVT, mode and divide are in place already.
void vapic_timer_import(struct vapic *a, const struct vapic_image *image, uint64_t now)
{
    uint32_t current = image->regs[VAPIC_TIMER_CURRENT >> 4];

    a->timer_expiry = VAPIC_NO_DEADLINE;
    if (mode(a) == VAPIC_LVT_DEADLINE) {
        a->timer_initial = 0;
        if (image->tsc_deadline)
            a->timer_expiry = image->tsc_deadline;
    } else {
        a->timer_initial = image->regs[VAPIC_TIMER_INITIAL >> 4];
        if (a->timer_initial && current)
            a->timer_expiry = later(now, ticks_to_tsc(a, current));
    }
    set_period(a);
}
