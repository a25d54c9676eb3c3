// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/cpufeatures.h"
#include "corbel/memtype.h"
#include "corbel/x86.h"

enum { LEAF1_EDX_MTRR = 1u << 12, MTRRCAP_COUNT = 0xff, WRITE_BACK_ENABLED = 1u << 11 | MEMORY_WB };

void memory_types_read(struct memory_types *m)
{
    uint32_t count;

    *m =
        (struct memory_types){.def_type = WRITE_BACK_ENABLED, .physical_mask = cpu_physical_mask()};
    if (!(cpuid(1, 0).edx & LEAF1_EDX_MTRR))
        return;
    m->def_type = rdmsr(MSR_MTRR_DEF_TYPE);
    m->fixed[0] = rdmsr(MSR_MTRR_FIX64K);
    m->fixed[1] = rdmsr(MSR_MTRR_FIX16K_80000);
    m->fixed[2] = rdmsr(MSR_MTRR_FIX16K_A0000);
    for (uint32_t i = 0; i <= MSR_MTRR_FIX4K_F8000 - MSR_MTRR_FIX4K_C0000; i++)
        m->fixed[3 + i] = rdmsr(MSR_MTRR_FIX4K_C0000 + i);
    count = rdmsr(MSR_MTRRCAP) & MTRRCAP_COUNT;
    m->variable_count = count < MEMORY_VARIABLE_RANGES ? count : MEMORY_VARIABLE_RANGES;
    for (uint32_t i = 0; i < m->variable_count; i++) {
        m->variable[i].base = rdmsr(MSR_MTRR_PHYSBASE0 + 2 * i);
        m->variable[i].mask = rdmsr(MSR_MTRR_PHYSBASE0 + 2 * i + 1);
    }
}
