// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "refused.h"

#include "cpu.h"
#include "hvcall.h"
#include "tap.h"
#include "trap.h"

_Alignas(4096) static uint8_t pages[2][4096];

unsigned refused_calls(const uint16_t *codes, unsigned count, uint16_t status)
{
    unsigned wrong = 0;
    for (unsigned i = 0; i < count; i++) {
        const uint64_t controls[] = {codes[i], codes[i] | HV_HYPERCALL_FAST,
                                     hv_hypercall_control(codes[i], false, 0, 1),
                                     hv_hypercall_control(codes[i], true, 1, 0),
                                     hv_hypercall_control(codes[i], false, 1, 2)};
        for (unsigned n = 0; n < sizeof(controls) / sizeof(controls[0]); n++) {
            bool fast = controls[n] & HV_HYPERCALL_FAST;
            uint64_t result =
                hv_call(controls[n], fast ? 1 : hv_gpa(pages[0]), fast ? 0 : hv_gpa(pages[1]));
            if (result != status) {
                tap_note("hypercall %lx ends with %lx", controls[n], result);
                wrong++;
            }
        }
    }
    return wrong;
}

static bool faults(struct trap trap)
{
    return trap.taken && trap.vector == VECTOR_GP && trap.error == 0;
}

unsigned refused_msrs(const uint32_t *msrs, unsigned count)
{
    unsigned wrong = 0;
    for (unsigned i = 0; i < count; i++) {
        if (!faults(try_rdmsr(msrs[i], NULL)) || !faults(try_wrmsr(msrs[i], 0))) {
            tap_note("MSR %x is there", msrs[i]);
            wrong++;
        }
    }
    return wrong;
}

unsigned refused_bits(const struct refused_bit *bits, unsigned count)
{
    unsigned wrong = 0;
    for (unsigned i = 0; i < count; i++) {
        struct cpuid r = cpuid(bits[i].leaf, 0);
        const uint32_t registers[] = {r.eax, r.ebx, r.ecx, r.edx};
        if (registers[bits[i].index] & bits[i].mask) {
            tap_note("leaf %x, register %u has bits of %x", bits[i].leaf, bits[i].index,
                     bits[i].mask);
            wrong++;
        }
    }
    return wrong;
}
