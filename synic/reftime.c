// SPDX-License-Identifier: BSD-2-Clause-Patent
// Partition reference time. TLFS: Partition Reference TSC Mechanism.
#include "corbel/reftime.h"

#include <stdatomic.h>

void reftime_init(struct reftime *r, uint64_t tsc_hz, uint64_t tsc_at_zero)
{
    uint64_t rest;

    r->tsc_hz = tsc_hz;
    r->scale = reftime_div128(HV_REFERENCE_TIME_HZ, 0, tsc_hz, &rest);
    r->sequence = 0;
    r->offset = 0;
    r->offset = -(int64_t)reftime_at(r, tsc_at_zero);
}

uint64_t reftime_ticks(const struct reftime *r, uint64_t units)
{
    uint64_t rest, tsc;

    if (units >= r->scale)
        return UINT64_MAX;
    tsc = reftime_div128(units, 0, r->scale, &rest);
    return rest ? tsc + 1 : tsc;
}

// floor(tsc * scale / 2^64) >= units  <=>  tsc >= units * 2^64 / scale, rounded up.
uint64_t reftime_to_tsc(const struct reftime *r, uint64_t time)
{
    __int128 units = (__int128)time - r->offset;

    if (units <= 0)
        return 0;
    return units > UINT64_MAX ? UINT64_MAX : reftime_ticks(r, (uint64_t)units);
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
