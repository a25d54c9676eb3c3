// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/scheduler.h"

#include "corbel/log.h"
#include "corbel/lp.h"
#include "corbel/sched_core.h"
#include "corbel/topology.h"
#include "corbel/x86.h"
#include "hv/call_system.h"
#include "hv/corbel.h"
#include "hv/status.h"

static uint32_t type, threads;
static const struct sched_place *lp_places;

static void native_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
    struct cpuid_regs r = cpuid(leaf, subleaf);

    regs[0] = r.eax;
    regs[1] = r.ebx;
    regs[2] = r.ecx;
    regs[3] = r.edx;
}

// Threads of each core if all have the same, a power of two, and are neighbours; 1 if there is no
// SMT; 0: cores differ.
static uint32_t threads_a_core(const struct sched_place *places, uint32_t count)
{
    uint32_t threads = 1;

    while (threads < count && places[threads].id[SCHED_NEAR_CORE] == places[0].id[SCHED_NEAR_CORE])
        threads++;
    if (count % threads || (threads & (threads - 1)))
        return 0;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < i; j++)
            if ((places[i].id[SCHED_NEAR_CORE] == places[j].id[SCHED_NEAR_CORE]) !=
                (i / threads == j / threads))
                return 0;
    return threads;
}

static const char *name_of(uint32_t t)
{
    switch (t) {
    case HV_SCHEDULER_TYPE_LP:
        return "classic, no SMT";
    case HV_SCHEDULER_TYPE_CORE_SMT:
        return "core";
    case HV_SCHEDULER_TYPE_ROOT:
        return "the root schedules";
    default:
        return "classic, SMT";
    }
}

static uint32_t choose(uint32_t wanted)
{
    if (wanted == HV_SCHEDULER_TYPE_ROOT)
        return wanted;
    if (threads == 1)
        return HV_SCHEDULER_TYPE_LP;
    if (threads >= 2 && threads <= SCHED_THREADS_MAX &&
        (wanted == 0 || wanted == HV_SCHEDULER_TYPE_CORE_SMT))
        return HV_SCHEDULER_TYPE_CORE_SMT;
    return HV_SCHEDULER_TYPE_LP_SMT;
}

uint32_t scheduler_init(struct sched_place *places, uint32_t count, uint32_t wanted)
{
    struct topology topology;

    lp_places = places;
    topology_read(native_cpuid, &topology);
    for (uint32_t i = 0; i < count; i++)
        places[i] = topology_place(&topology, lp_of(i)->apic_id);
    threads = threads_a_core(places, count);
    type = choose(wanted);
    if (!threads)
        hv_log("scheduler: cores have different numbers of threads, or LPs are out of order");
    if (wanted && wanted != type)
        hv_log("scheduler type %u is not there: type %u takes its place", wanted, type);
    hv_log("scheduler type is %u: %s", type, name_of(type));
    if (root_vp_count < count)
        hv_log("the root has %u of %u processors", root_vp_count, count);
    return threads;
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

bool scheduler_smt(void)
{
    return threads != 1;
}

uint32_t scheduler_threads(void)
{
    return threads ? threads : 1;
}
