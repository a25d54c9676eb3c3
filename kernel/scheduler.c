// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/scheduler.h"

#include "corbel/log.h"
#include "corbel/lp.h"
#include "corbel/topology.h"
#include "corbel/x86.h"
#include "hv/call_system.h"
#include "hv/corbel.h"
#include "hv/status.h"

static uint32_t type;
static const struct sched_place *lp_places;

static void native_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
    struct cpuid_regs r = cpuid(leaf, subleaf);

    regs[0] = r.eax;
    regs[1] = r.ebx;
    regs[2] = r.ecx;
    regs[3] = r.edx;
}

void scheduler_init(struct sched_place *places, uint32_t count, uint32_t wanted)
{
    struct topology topology;
    bool smt = false;

    lp_places = places;
    topology_read(native_cpuid, &topology);
    for (uint32_t i = 0; i < count; i++) {
        places[i] = topology_place(&topology, lp_of(i)->apic_id);
        smt |= i > 0 && places[i].id[SCHED_NEAR_CORE] == places[i - 1].id[SCHED_NEAR_CORE];
    }
    type = smt ? HV_SCHEDULER_TYPE_LP_SMT : HV_SCHEDULER_TYPE_LP;
    if (wanted == HV_SCHEDULER_TYPE_CORE_SMT || wanted == HV_SCHEDULER_TYPE_ROOT)
        hv_log("scheduler type %u is not there: the classic one takes its place", wanted);
    hv_log("scheduler type is %u: classic, %s", type, smt ? "SMT" : "no SMT");
    if (root_vp_count < count)
        hv_log("the root has %u of %u processors", root_vp_count, count);
}

static uint64_t threads_of_core(uint32_t core)
{
    uint64_t threads = 0;

    for (uint32_t i = 0; i < lp_count; i++)
        threads += lp_places[i].id[SCHED_NEAR_CORE] == core;
    return threads;
}

uint16_t scheduler_lp(uint32_t lp, uint32_t what, uint64_t *value)
{
    const struct sched_place *place = &lp_places[lp < lp_count ? lp : 0];

    if (lp >= lp_count)
        return HV_STATUS_INVALID_LP_INDEX;
    switch (what) {
    case HV_LP_NODE:
    case HV_LP_PACKAGE: // taken for the node
        *value = place->id[SCHED_NEAR_NODE];
        break;
    case HV_LP_CORE:
        *value = place->id[SCHED_NEAR_CORE];
        break;
    case HV_LP_ROOT_VP:
        *value = lp_of(lp)->root_vp_index;
        if (*value >= root_vp_count)
            *value = HV_LP_NO_ROOT_VP;
        break;
    case HV_LP_THREADS:
        *value = threads_of_core(place->id[SCHED_NEAR_CORE]);
        break;
    default:
        return HV_STATUS_INVALID_PARAMETER;
    }
    return HV_STATUS_SUCCESS;
}

uint32_t scheduler_type(void)
{
    return type;
}
