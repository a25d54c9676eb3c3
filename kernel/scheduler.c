// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/scheduler.h"

#include "corbel/log.h"
#include "corbel/lp.h"
#include "corbel/topology.h"
#include "corbel/x86.h"
#include "hv/call_system.h"

static uint32_t type;

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

    topology_read(native_cpuid, &topology);
    for (uint32_t i = 0; i < count; i++) {
        places[i] = topology_place(&topology, lp_of(i)->apic_id);
        smt |= i > 0 && places[i].id[SCHED_NEAR_CORE] == places[i - 1].id[SCHED_NEAR_CORE];
    }
    type = smt ? HV_SCHEDULER_TYPE_LP_SMT : HV_SCHEDULER_TYPE_LP;
    if (wanted == HV_SCHEDULER_TYPE_CORE_SMT || wanted == HV_SCHEDULER_TYPE_ROOT)
        hv_log("scheduler type %u is not there: the classic one takes its place", wanted);
    hv_log("scheduler type is %u: classic, %s", type, smt ? "SMT" : "no SMT");
}

uint32_t scheduler_type(void)
{
    return type;
}
