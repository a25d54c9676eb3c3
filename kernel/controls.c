// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/controls.h"

#include "corbel/cores.h"
#include "corbel/cpugroup.h"
#include "corbel/lp.h"
#include "corbel/partition.h"
#include "corbel/scheduler.h"
#include "corbel/vp.h"
#include "corbel/x86.h"
#include "hv/call_system.h"
#include "hv/partition.h"
#include "hv/status.h"

static_assert(SCHED_WHOLE == HV_CPU_FULL && SCHED_WEIGHT_MAX == HV_CPU_WEIGHT_MAX &&
                  SCHED_WEIGHT_DEFAULT == HV_CPU_WEIGHT_DEFAULT,
              "the scheduler counts as the ABI does");

void controls_init(struct partition *p)
{
    p->controls = (struct sched_controls){.weight = HV_CPU_WEIGHT_DEFAULT};
    p->group = 0;
    p->group_lps = NULL;
    p->reserved = 0;
}

void controls_apply(struct vp *vp)
{
    const struct partition *p = vp->partition;
    uint64_t now = rdtsc();

    if (cores_in_use) {
        cores_control(vp);
        return;
    }
    sched_vp_confine(&vp->sched, p->group_lps);
    if (!sched_allowed(&vp->sched, vp->sched.home->index))
        sched_vp_move(&vp->sched, &lp_least_loaded(p->group_lps)->sched, now);
    sched_vp_control(&vp->sched, &p->controls, now);
}

// What the root schedules by itself nobody else can (hyperv-cpu-scheduling: Virtual Machine CPU
// resource controls and the root scheduler).
static uint16_t change(struct partition *p, const struct sched_controls *controls)
{
    if (scheduler_type() == HV_SCHEDULER_TYPE_ROOT)
        return HV_STATUS_OPERATION_DENIED;
    if (!sched_controls_valid(controls))
        return HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
    p->controls = *controls;
    for (uint32_t i = 0; i < p->vp_limit; i++)
        if (p->vps[i])
            controls_apply(p->vps[i]);
    return HV_STATUS_SUCCESS;
}

// ---- what is reserved ---------------------------------------------------------------------------

// An LP, or a core, keeps a sixteenth for those without a reserve (kernel/sched/queue.c).
#define RESERVED_MAX (SCHED_WHOLE / 16 * 15)

static _Atomic uint64_t reserved; // by all partitions of the machine

static bool take(uint64_t amount)
{
    uint64_t had = atomic_load(&reserved);

    do
        if (had + amount > (uint64_t)(cores_in_use ? cores_count() : lp_count) * RESERVED_MAX)
            return false;
    while (!atomic_compare_exchange_weak(&reserved, &had, had + amount));
    return true;
}

// What the partition takes with that reserve: for each VP of an LP, and under the core scheduler of
// a core for all VPs that run on it together.
static uint64_t needed(const struct partition *p, uint64_t reserve)
{
    return reserve * (cores_in_use ? cores_teams(p, CORES_NO_VP) : p->vp_count);
}

bool controls_admit(struct partition *p, uint32_t index)
{
    uint64_t reserve = p->controls.reserve;
    uint64_t after = reserve * (cores_in_use ? cores_teams(p, index) : p->vp_count + 1);

    if (after > p->reserved) {
        if (!take(after - p->reserved))
            return false;
        p->reserved = after;
    }
    return true;
}

void controls_settle(struct partition *p)
{
    uint64_t after = needed(p, p->controls.reserve);

    if (after < p->reserved) {
        atomic_fetch_sub(&reserved, p->reserved - after);
        p->reserved = after;
    }
}

uint64_t controls_reserve(const struct partition *p)
{
    return p->controls.reserve;
}

uint16_t controls_set_reserve(struct partition *p, uint64_t value)
{
    struct sched_controls c = p->controls;
    uint64_t after;
    uint16_t status;

    if (value > HV_CPU_FULL)
        return HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
    c.reserve = (uint32_t)value;
    after = needed(p, value);
    if (after > p->reserved) {
        if (!take(after - p->reserved))
            return HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
        p->reserved = after;
    }
    status = change(p, &c);
    controls_settle(p);
    return status;
}

uint64_t controls_cap(const struct partition *p)
{
    return p->controls.cap ? p->controls.cap : HV_CPU_FULL;
}

// A VP that may never run is what Suspend is for.
uint16_t controls_set_cap(struct partition *p, uint64_t value)
{
    struct sched_controls c = p->controls;

    if (value == 0 || value > HV_CPU_FULL)
        return HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
    c.cap = value == HV_CPU_FULL ? 0 : (uint32_t)value;
    return change(p, &c);
}

uint64_t controls_weight(const struct partition *p)
{
    return p->controls.weight;
}

uint16_t controls_set_weight(struct partition *p, uint64_t value)
{
    struct sched_controls c = p->controls;

    c.weight = value > HV_CPU_WEIGHT_MAX ? 0 : (uint32_t)value;
    return change(p, &c);
}

// ---- the CPU group ------------------------------------------------------------------------------

static void resume(struct partition *p, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (p->vps[i])
            vp_resume(p->vps[i]);
}

// A VP changes LPs only while it is stopped.
static bool stop(struct partition *p)
{
    for (uint32_t i = 0; i < p->vp_limit; i++) {
        if (p->vps[i] && !vp_stop(p->vps[i])) {
            resume(p, i);
            return false;
        }
    }
    return true;
}

uint64_t controls_group(const struct partition *p)
{
    return p->group;
}

uint16_t controls_set_group(struct partition *p, uint64_t value)
{
    struct sched_controls c = p->controls;
    const uint64_t *lps = NULL;
    uint16_t status = HV_STATUS_SUCCESS;

    if (scheduler_type() == HV_SCHEDULER_TYPE_ROOT)
        return HV_STATUS_OPERATION_DENIED;
    if (value == p->group)
        return HV_STATUS_SUCCESS;
    if (value && p->group)
        return HV_STATUS_INVALID_CPU_GROUP_STATE;
    if (!stop(p))
        return HV_STATUS_RETRY;
    c.group = NULL;
    if (value)
        status = cpugroup_join(value, &c.group, &lps);
    if (status == HV_STATUS_SUCCESS) {
        uint64_t before = p->group;
        p->group = value;
        p->group_lps = lps;
        status = change(p, &c);
        if (before)
            cpugroup_leave(before);
    }
    resume(p, p->vp_limit);
    return status;
}

void controls_release(struct partition *p)
{
    if (p->group)
        cpugroup_leave(p->group);
    p->group = 0;
}
