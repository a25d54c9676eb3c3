// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/scheduler.h"

#include "corbel/log.h"
#include "corbel/lp.h"
#include "corbel/sched_core.h"
#include "corbel/topology.h"
#include "corbel/x86.h"
#include "hv/call_system.h"

static uint32_t type, threads;

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
    default:
        return "classic, SMT";
    }
}

static uint32_t choose(uint32_t wanted)
{
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
    return threads;
}

uint32_t scheduler_type(void)
{
    return type;
}

uint32_t scheduler_threads(void)
{
    return threads ? threads : 1;
}
