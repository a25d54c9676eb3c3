// SPDX-License-Identifier: BSD-2-Clause-Patent
// Partition reference time. TLFS: Partition Reference TSC Mechanism.
#include "corbel/reftime.h"

#include <stdatomic.h>

void reftime_init(struct reftime *r, uint64_t tsc_hz, uint64_t tsc_at_zero)
{
    uint64_t rest;

    r->tsc_hz = tsc_hz;
    r->scale = r->rate = reftime_div128(HV_REFERENCE_TIME_HZ, 0, tsc_hz, &rest);
    r->sequence = 0;
    r->begun = r->complete = 0;
    r->offset = 0;
    r->offset = -(int64_t)reftime_at(r, tsc_at_zero);
}

uint64_t reftime_ticks(const struct reftime *r, uint64_t units)
{
    uint64_t rest, tsc;

    if (units >= r->rate)
        return UINT64_MAX;
    tsc = reftime_div128(units, 0, r->rate, &rest);
    return rest ? tsc + 1 : tsc;
}

// floor(tsc * scale / 2^64) >= units  <=>  tsc >= units * 2^64 / scale, rounded up. The scale may
// become 0 meanwhile: it is read once.
uint64_t reftime_to_tsc(const struct reftime *r, uint64_t time)
{
    const uint64_t scale = __atomic_load_n(&r->scale, __ATOMIC_RELAXED);
    __int128 units = (__int128)time - r->offset;
    uint64_t rest, tsc;

    if (units <= 0)
        return 0;
    if (units >= scale)
        return UINT64_MAX;
    tsc = reftime_div128((uint64_t)units, 0, scale, &rest);
    return rest ? tsc + 1 : tsc;
}

static void change(struct reftime *r, uint64_t scale, int64_t offset)
{
    reftime_begin_change(r);
    r->scale = scale;
    r->offset = offset;
    reftime_end_change(r);
}

void reftime_hold(struct reftime *r, uint64_t tsc)
{
    change(r, 0, (int64_t)reftime_at(r, tsc));
}

void reftime_set(struct reftime *r, uint64_t time)
{
    change(r, 0, (int64_t)time);
}

void reftime_restore(struct reftime *r, uint64_t tsc, uint64_t time, uint32_t sequence)
{
    uint64_t passed = (uint64_t)(((unsigned __int128)tsc * r->scale) >> 64);

    r->sequence = sequence;
    change(r, r->scale, (int64_t)(time - passed));
}

// A unit later, because a reader's RDTSC may be executed a little before the loads that follow it.
void reftime_go_on(struct reftime *r, uint64_t tsc)
{
    uint64_t passed = (uint64_t)(((unsigned __int128)tsc * r->rate) >> 64);

    change(r, r->rate, (int64_t)((uint64_t)r->offset + 1 - passed));
}

// Guests read sequence, fields, sequence. The stores may not be reordered: each fence keeps the
// fields between the two values of the sequence.
void reftime_publish(struct reftime *r, struct hv_reference_tsc_page *page)
{
    volatile struct hv_reference_tsc_page *shared = page;

    reftime_withdraw(page);
    shared->tsc_scale = r->scale;
    shared->tsc_offset = r->offset;
    atomic_thread_fence(memory_order_release);
    r->sequence++;
    if (r->sequence == HV_REFERENCE_TSC_SEQUENCE_INVALID || r->sequence == UINT32_MAX)
        r->sequence = 1;
    shared->tsc_sequence = r->sequence;
}

void reftime_withdraw(struct hv_reference_tsc_page *page)
{
    volatile struct hv_reference_tsc_page *shared = page;

    shared->tsc_sequence = HV_REFERENCE_TSC_SEQUENCE_INVALID;
    atomic_thread_fence(memory_order_release);
}
