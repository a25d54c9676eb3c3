// SPDX-License-Identifier: BSD-2-Clause-Patent
// Whose siblings a VM's processors are told they are, and whether they share cores with others
// (Hyper-V scheduler types: HwThreadCountPerCore, NoNonArchitecturalCoreSharing). Command line:
// threads=N of a core; shared=1: cores are shared.
//
// rig: --vps 4 --lps 4
// rig: --vps 4 --lps 4 --threads 2 --cmdline threads=2
// rig: --vps 1 --lps 2 --threads 2
#include "apic.h"
#include "cpu.h"
#include "hvcall.h"
#include "machine.h"
#include "smp.h"
#include "start.h"
#include "tap.h"

#define KIND_THREADS 1u
#define KIND_CORES   2u

static uint32_t bits_for(uint32_t count)
{
    return count > 1 ? 32 - (uint32_t)__builtin_clz(count - 1) : 0;
}

static uint32_t field(uint32_t value, uint32_t shift, uint32_t bits)
{
    return value >> shift & ((1u << bits) - 1);
}

static void test_levels(uint32_t id, uint32_t threads)
{
    struct cpuid smt = cpuid(0xb, 0), core = cpuid(0xb, 1);

    tap_ok(field(smt.eax, 0, 5) == bits_for(threads) && smt.ebx == threads &&
               field(smt.ecx, 8, 8) == KIND_THREADS && smt.edx == id,
           "0Bh: processor %u is one of %u threads (%x %x %x)", id, threads, smt.eax, smt.ebx,
           smt.ecx);
    tap_ok(field(core.eax, 0, 5) == bits_for(machine.cpu_count) && core.ebx == machine.cpu_count &&
               field(core.ecx, 8, 8) == KIND_CORES,
           "0Bh: and of %u processors of a package (%x %x %x)", machine.cpu_count, core.eax,
           core.ebx, core.ecx);
}

// APM 3 E.4.15 (8000_001E) and E.4.14 (8000_001D).
static void test_amd(uint32_t id, uint32_t threads)
{
    struct cpuid r = cpuid(0x8000001e, 0), first = cpuid(0x8000001d, 0);

    if (cpuid(0x80000000, 0).eax < 0x8000001e || !(cpuid(0x80000001, 0).ecx >> 22 & 1)) {
        return;
    }
    tap_ok(r.eax == id && field(r.ebx, 0, 8) == id / threads && field(r.ebx, 8, 8) + 1 == threads,
           "8000001E: core %u of %u threads (%x %x)", id / threads, threads, r.eax, r.ebx);
    tap_is(field(first.eax, 14, 12) + 1, threads, "8000001D: they share a first-level cache");
    tap_is(field(cpuid(0x80000008, 0).ecx, 0, 8) + 1, machine.cpu_count,
           "80000008: processors of the package");
}

static void test_leaf_1(void)
{
    struct cpuid r = cpuid(1, 0);

    tap_is(field(r.ebx, 16, 8), 1u << bits_for(machine.cpu_count), "1: APIC ids of the package");
    tap_is(field(r.edx, 28, 1), machine.cpu_count > 1, "1: HTT where there are several");
}

static void test_sharing(bool shared)
{
    uint32_t hints = cpuid(0x40000004, 0).eax;

    tap_is(!(hints & HV_HINT_EAX_NO_NON_ARCHITECTURAL_CORE_SHARING), shared,
           "40000004: whether cores are shared with others");
}

void guest_main(void)
{
    uint32_t threads = (uint32_t)machine_option("threads", 1);

    hv_need();
    test_leaf_1();
    test_levels(apic_id(), threads);
    test_amd(apic_id(), threads);
    test_sharing(machine_option("shared", 0));
}
