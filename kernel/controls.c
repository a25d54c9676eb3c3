// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/controls.h"

#include "corbel/lp.h"
#include "corbel/partition.h"
#include "corbel/vp.h"
#include "corbel/x86.h"
#include "hv/partition.h"
#include "hv/status.h"

static_assert(SCHED_WHOLE == HV_CPU_FULL && SCHED_WEIGHT_MAX == HV_CPU_WEIGHT_MAX &&
                  SCHED_WEIGHT_DEFAULT == HV_CPU_WEIGHT_DEFAULT,
              "the scheduler counts as the ABI does");

void controls_init(struct partition *p)
{
    p->controls = (struct sched_controls){.weight = HV_CPU_WEIGHT_DEFAULT};
}

void controls_apply(struct vp *vp)
{
    sched_vp_control(&vp->sched, &vp->partition->controls, rdtsc());
}

static uint16_t change(struct partition *p, const struct sched_controls *controls)
{
    if (!sched_controls_valid(controls))
        return HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
    p->controls = *controls;
    for (uint32_t i = 0; i < p->vp_limit; i++)
        if (p->vps[i])
            controls_apply(p->vps[i]);
    return HV_STATUS_SUCCESS;
}

uint64_t controls_reserve(const struct partition *p)
{
    return p->controls.reserve;
}

uint16_t controls_set_reserve(struct partition *p, uint64_t value)
{
    struct sched_controls c = p->controls;

    c.reserve = value > HV_CPU_FULL ? UINT32_MAX : (uint32_t)value;
    return change(p, &c);
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
