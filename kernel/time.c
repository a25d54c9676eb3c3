// SPDX-License-Identifier: BSD-2-Clause-Patent
// A partition's reference time (TLFS: Reference Counter, Reference TSC): read by any LP without a
// lock, and made to stand and to go on under the partition's time_lock. A child whose time stands
// has no valid reference TSC page, so that its VPs, should they run, ask the counter; the page gets
// a new offset and a new sequence when time goes on. The root's time always goes.
#include "corbel/partition.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "corbel/x86.h"
#include "hv/status.h"

// Added to `begun` for good where the guest's TSC is scaled: whoever reads in line sees a change.
#define READ_SLOWLY (UINT32_C(1) << 31)

void partition_time_init(struct partition *p)
{
    uint64_t tsc = partition_tsc(p, rdtsc());

    spin_init(&p->time_lock);
    reftime_init(&p->reftime, p->tsc_hz, tsc);
    if (p->tsc_ratio.multiplier)
        atomic_fetch_add(&p->reftime.begun, READ_SLOWLY);
    if (!p->parent)
        return;
    p->time_stops = TIME_STOP_ASLEEP;
    reftime_hold(&p->reftime, tsc);
}

// Reference time counts faster than 10 MHz, and 64 bits of a TSC shall last for years.
#define TSC_HZ_LEAST (HV_REFERENCE_TIME_HZ + 1)
#define TSC_HZ_LIMIT (UINT64_C(1) << 36)

bool partition_set_tsc_hz(struct partition *p, uint64_t hz)
{
    struct tsc_ratio ratio = {0};

    if (hz != tsc_hz && (hz < TSC_HZ_LEAST || hz >= TSC_HZ_LIMIT || !vcpu->tsc_fraction() ||
                         !tsc_ratio_make(&ratio, tsc_hz, hz, vcpu->tsc_fraction())))
        return false;
    p->tsc_ratio = ratio;
    p->tsc_hz = hz;
    return true;
}

// The root's TSC is the machine's.
uint64_t time_ticks(uint64_t units)
{
    return reftime_ticks(&root_partition->reftime, units);
}

uint64_t partition_reference_time_slowly(const struct partition *p)
{
    const struct reftime *r = &p->reftime;
    uint32_t complete;
    uint64_t time;

    do {
        complete = atomic_load_explicit(&r->complete, memory_order_acquire);
        time = reftime_at(r, partition_tsc(p, rdtsc()));
        atomic_thread_fence(memory_order_acquire);
    } while ((atomic_load_explicit(&r->begun, memory_order_relaxed) - complete) & ~READ_SLOWLY);
    return time;
}

// Readers that found the page valid when they looked again read the TSC before the fence.
static void stand(struct partition *p)
{
    reftime_withdraw(p->reference_tsc.page);
    atomic_thread_fence(memory_order_seq_cst);
    reftime_hold(&p->reftime, partition_tsc(p, rdtsc()));
}

static void go_on(struct partition *p)
{
    reftime_go_on(&p->reftime, partition_tsc(p, rdtsc()));
    reftime_publish(&p->reftime, p->reference_tsc.page);
}

// Timers are due at other moments of the TSC now. VPs that sleep look when they wake.
static void time_changed(struct partition *p)
{
    for (uint32_t i = 0; i < p->vp_limit; i++) {
        struct vp *vp = partition_vp(p, i);
        if (vp)
            vp_signal(vp, VP_WORK_TIMER);
    }
}

// Lock held. Whether time stands or goes now and did not before.
static bool set_stops(struct partition *p, uint32_t stops)
{
    bool stood = p->time_stops, stands = stops;

    __atomic_store_n(&p->time_stops, stops, __ATOMIC_RELAXED);
    if (stands && !stood)
        stand(p);
    if (!stands && stood)
        go_on(p);
    return stands != stood;
}

void partition_freeze_time(struct partition *p, bool freeze)
{
    bool changed;

    spin_lock(&p->time_lock);
    changed = set_stops(p, freeze ? p->time_stops | TIME_STOP_FREEZE
                                  : p->time_stops & ~(uint32_t)TIME_STOP_FREEZE);
    spin_unlock(&p->time_lock);
    if (changed)
        time_changed(p);
}

uint16_t partition_set_time(struct partition *p, uint64_t time)
{
    uint16_t status = HV_STATUS_INVALID_PARTITION_STATE;

    spin_lock(&p->time_lock);
    if (reftime_held(&p->reftime)) {
        reftime_set(&p->reftime, time);
        status = HV_STATUS_SUCCESS;
    }
    spin_unlock(&p->time_lock);
    return status;
}

// The page is published whether or not it is enabled, like everywhere here.
static void move_time(struct partition *p, uint64_t now, uint64_t time, uint64_t tsc,
                      uint32_t sequence)
{
    spin_lock(&p->time_lock);
    reftime_withdraw(p->reference_tsc.page);
    reftime_begin_change(&p->reftime);
    p->tsc_offset += tsc - partition_tsc(p, now);
    reftime_restore(&p->reftime, tsc, time, sequence);
    reftime_end_change(&p->reftime);
    if (sequence && !reftime_held(&p->reftime))
        reftime_publish(&p->reftime, p->reference_tsc.page);
    spin_unlock(&p->time_lock);
}

void partition_restore_time(struct partition *p, uint64_t time, uint64_t tsc, uint32_t sequence)
{
    const uint64_t now = rdtsc(), from = partition_tsc(p, now);

    move_time(p, now, time, tsc, sequence);
    for (uint32_t i = 0; i < p->vp_limit; i++) {
        struct vp *vp = partition_vp(p, i);
        if (!vp)
            continue;
        vapic_timer_tsc_moved(&vp->active->apic, from, tsc);
        vcpu->set_tsc_offset(vp);
    }
    time_changed(p);
}

void partition_vp_sleeps(struct partition *p, bool sleeps)
{
    bool changed;

    if (!p->parent)
        return;
    spin_lock(&p->time_lock);
    p->vps_awake += sleeps ? -1u : 1u;
    changed = set_stops(p, p->vps_awake ? p->time_stops & ~(uint32_t)TIME_STOP_ASLEEP
                                        : p->time_stops | TIME_STOP_ASLEEP);
    spin_unlock(&p->time_lock);
    if (changed)
        time_changed(p);
}

void partition_publish_time(struct partition *p)
{
    spin_lock(&p->time_lock);
    if (reftime_held(&p->reftime))
        reftime_withdraw(p->reference_tsc.page);
    else
        reftime_publish(&p->reftime, p->reference_tsc.page);
    spin_unlock(&p->time_lock);
}
