// SPDX-License-Identifier: BSD-2-Clause-Patent
// XSAVES and IA32_XSS: what CPUID offers works, without supervisor components; what it does not is
// not there. SDM 1 13.11, SDM 2A CPUID leaf 0Dh.
#include "cpu.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#include <stddef.h>

#define MSR_XSS       0xda0
#define ECX_XSAVE     (1u << 26) // leaf 1
#define EAX_XSAVES    (1u << 3)  // leaf 13, 1
#define XCOMP_COMPACT (1ul << 63)
#define LEGACY_XMM0   160
#define XSTATE_BV     512
#define XCOMP_BV      520
#define SSE           2ul

_Alignas(64) static uint8_t area[4096];

static void xsaves(void *context)
{
    (void)context;
    __asm__ volatile("xsaves64 %0" : "+m"(area) : "a"(3), "d"(0) : "memory");
}

static void xrstors(void *context)
{
    (void)context;
    __asm__ volatile("xrstors64 %0" : : "m"(area), "a"(3), "d"(0) : "memory");
}

static bool faults(struct trap trap, uint32_t vector)
{
    return trap.taken && trap.vector == vector;
}

static uint64_t word(uint32_t offset)
{
    return *(volatile uint64_t *)(area + offset);
}

static void set_xmm0(uint64_t value)
{
    __asm__ volatile("movq %0, %%xmm0" : : "r"(value));
}

static uint64_t xmm0(void)
{
    uint64_t value;
    __asm__ volatile("movq %%xmm0, %0" : "=r"(value));
    return value;
}

static void test_offered(void)
{
    uint64_t value = 1;
    struct cpuid d = cpuid(13, 1);
    tap_ok(!d.ecx && !d.edx, "no supervisor component is offered");
    tap_ok(d.ebx >= 576 && d.ebx <= 4096, "the size of the compacted area is told: %u", d.ebx);
    tap_ok(!try_rdmsr(MSR_XSS, &value).taken && value == 0, "IA32_XSS is 0");
    tap_ok(!try_wrmsr(MSR_XSS, 0).taken, "and may be set to that");
    for (uint32_t bit = 0; bit < 64; bit += 7) {
        tap_ok(faults(try_wrmsr(MSR_XSS, 1ul << bit), VECTOR_GP), "bit %u of it is #GP", bit);
    }
    set_xmm0(0x1122334455667788);
    tap_ok(!trap_try(xsaves, NULL).taken, "XSAVES");
    tap_ok((word(XSTATE_BV) & SSE) && word(XCOMP_BV) == (XCOMP_COMPACT | 3) &&
               word(LEGACY_XMM0) == 0x1122334455667788,
           "has saved in the compacted format");
    set_xmm0(0);
    tap_ok(!trap_try(xrstors, NULL).taken && xmm0() == 0x1122334455667788,
           "XRSTORS brings it back");
}

void guest_main(void)
{
    uint64_t value;
    if (!(cpuid(1, 0).ecx & ECX_XSAVE)) {
        tap_ok(faults(try_rdmsr(MSR_XSS, &value), VECTOR_GP), "no XSAVE: IA32_XSS is #GP");
        return;
    }
    write_cr4(read_cr4() | CR4_OSXSAVE | CR4_OSFXSR);
    xsetbv(0, 3); // x87 and SSE
    if (cpuid(13, 1).eax & EAX_XSAVES) {
        test_offered();
    } else {
        tap_ok(faults(trap_try(xsaves, NULL), VECTOR_UD), "XSAVES, not shown, is #UD");
        tap_ok(faults(try_rdmsr(MSR_XSS, &value), VECTOR_GP), "IA32_XSS is #GP");
        tap_ok(faults(try_wrmsr(MSR_XSS, 0), VECTOR_GP), "to write it as well");
    }
}
