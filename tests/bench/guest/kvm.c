// SPDX-License-Identifier: BSD-2-Clause-Patent
// KVM: its own leaves, calls and registers (Linux: Documentation/virt/kvm/x86: cpuid, hypercalls,
// msr), and Hv#1's hypercalls where it has none of its own.
#include "apic.h"
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "hvrows.h"
#include "layout.h"
#include "machine.h"
#include "percpu.h"
#include "platform.h"
#include "tap.h"

#define LEAVES_FIRST     0x40000000u
#define LEAVES_END       0x40010000u
#define LEAVES_STEP      0x100u
#define FEATURES         1u // leaf, from the first
#define FEATURE_PV_EOI   (1u << 6)
#define FEATURE_POLL     (1u << 12)
#define MSR_PV_EOI       0x4b564d04u
#define MSR_POLL_CONTROL 0x4b564d05u
#define HC_VAPIC_POLL    1u // does nothing

_Alignas(64) static volatile uint32_t pv_eoi[CPU_MAX][16];

static uint32_t leaves(void)
{
    for (uint32_t leaf = LEAVES_FIRST; leaf < LEAVES_END; leaf += LEAVES_STEP) {
        struct cpuid c = cpuid(leaf, 0);
        const uint32_t signature[3] = {c.ebx, c.ecx, c.edx};
        if (!memcmp(signature, "KVMKVMKVM\0\0\0", sizeof(signature)))
            return leaf;
    }
    return 0;
}

static bool found(void)
{
    return leaves();
}

static void op_hypercall(void)
{
    uint64_t result;
    __asm__ volatile("vmmcall" : "=a"(result) : "a"(HC_VAPIC_POLL) : "memory");
}

static void op_rdmsr(void)
{
    rdmsr(MSR_POLL_CONTROL);
}

static void op_wrmsr(void)
{
    wrmsr(MSR_POLL_CONTROL, 1);
}

static void eoi(void)
{
    wrmsr(MSR_X2APIC_FIRST + (APIC_EOI >> 4), 0);
}

static void eoi_assist(void)
{
    uint32_t *word = (uint32_t *)&pv_eoi[percpu()->index][0];
    bool spared;
    __asm__ volatile("btrl $0, %0" : "+m"(*word), "=@ccc"(spared) : : "memory");
    if (!spared)
        eoi();
}

static void ipi(uint32_t cpu)
{
    wrmsr(MSR_X2APIC_FIRST + (APIC_ICR >> 4),
          (uint64_t)machine.apic_ids[cpu] << 32 | ICR_FIXED | VECTOR_IPI);
}

static uint64_t timer_same(uint64_t tsc)
{
    return tsc;
}

static void timer_arm(uint64_t tsc)
{
    wrmsr(MSR_TSC_DEADLINE, tsc);
}

static void timer_stop(void)
{
    wrmsr(MSR_TSC_DEADLINE, 0);
}

static void hv1(bool on)
{
    if (on) {
        hv_setup();
        return;
    }
    wrmsr(HV_X64_MSR_HYPERCALL, 0);
    wrmsr(HV_X64_MSR_GUEST_OS_ID, 0);
}

static void setup(void)
{
    uint32_t features = cpuid(leaves() + FEATURES, 0).eax;
    tap_ok(features & FEATURE_PV_EOI && features & FEATURE_POLL,
           "KVM offers EOIs without exit and poll control");
    hv1(true);
    hvrows_setup();
    hv1(false);
}

static void setup_cpu(void)
{
    wrmsr(MSR_PV_EOI, (uint64_t)&pv_eoi[percpu()->index][0] | 1);
    wrmsr(MSR_X2APIC_FIRST + (APIC_LVT_TIMER >> 4), APIC_LVT_DEADLINE | VECTOR_TIMER);
}

static const struct bench_gap gaps[] = {{0}};

const struct platform platform_kvm = {
    .name = "kvm",
    .found = found,
    .setup = setup,
    .setup_cpu = setup_cpu,
    .hypercall = op_hypercall,
    .hypercall_memory = op_hypercall_memory,
    .rdmsr = op_rdmsr,
    .wrmsr = op_wrmsr,
    .flush = op_flush_others,
    .flush_page = op_flush_page,
    .flush_64 = op_flush_64,
    .cluster = op_cluster,
    .eoi = eoi,
    .eoi_assist = eoi_assist,
    .ipi = ipi,
    .timer_unit = timer_same,
    .timer_tsc = timer_same,
    .timer_arm = timer_arm,
    .timer_stop = timer_stop,
    .hv1 = hv1,
    .gaps = gaps,
};
