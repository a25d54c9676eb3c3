// SPDX-License-Identifier: BSD-2-Clause-Patent
// Each privilege of a partition opens the synthetic MSRs it names and no others, and its leaf
// 40000003 shows it. TLFS: Partition Privilege Flags; tlfs-reference 2.2, 4.
//
// rig: --lps 2
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "parent.h"
#include "realmode.h"
#include "rootprobe.h"
#include "tap.h"

#define LEAST (HV_PRIV_ACCESS_HYPERCALL_MSRS | HV_PRIV_ACCESS_VP_INDEX)

struct range {
    uint32_t first, last;
};

// What is there whatever the privileges: NPIEP and the crash MSRs go with features.
static const struct range free_msrs[] = {
    {HV_X64_MSR_GUEST_OS_ID, HV_X64_MSR_VP_INDEX},
    {HV_X64_MSR_NPIEP_CONFIG, HV_X64_MSR_NPIEP_CONFIG},
    {HV_X64_MSR_CRASH_P0, HV_X64_MSR_CRASH_CTL},
};

// A privilege, and the MSRs that can be read with it.
static const struct gate {
    const char *name;
    uint64_t privilege;
    struct range msrs[3];
} gates[] = {
    {"none", 0, {{1, 0}}},
    {"AccessVpRunTimeReg",
     HV_PRIV_ACCESS_VP_RUNTIME_REG,
     {{HV_X64_MSR_VP_RUNTIME, HV_X64_MSR_VP_RUNTIME}}},
    {"AccessPartitionReferenceCounter",
     HV_PRIV_ACCESS_PARTITION_REFERENCE_COUNTER,
     {{HV_X64_MSR_TIME_REF_COUNT, HV_X64_MSR_TIME_REF_COUNT}}},
    {"AccessSynicRegs",
     HV_PRIV_ACCESS_SYNIC_REGS,
     {{HV_X64_MSR_SCONTROL, HV_X64_MSR_EOM}, {HV_X64_MSR_SINT0, HV_X64_MSR_SINT15}}},
    {"AccessSyntheticTimerRegs",
     HV_PRIV_ACCESS_SYNTHETIC_TIMER_REGS,
     {{HV_X64_MSR_STIMER0_CONFIG, HV_X64_MSR_STIMER3_COUNT},
      {HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG, HV_X64_MSR_STIME_UNHALTED_TIMER_COUNT}}},
    {"AccessIntrCtrlRegs",
     HV_PRIV_ACCESS_INTR_CTRL_REGS,
     {{HV_X64_MSR_ICR, HV_X64_MSR_VP_ASSIST_PAGE}}},
    {"AccessResetReg", HV_PRIV_ACCESS_RESET_REG, {{HV_X64_MSR_RESET, HV_X64_MSR_RESET}}},
    {"AccessPartitionReferenceTsc",
     HV_PRIV_ACCESS_PARTITION_REFERENCE_TSC,
     {{HV_X64_MSR_REFERENCE_TSC, HV_X64_MSR_REFERENCE_TSC}}},
    {"AccessGuestIdleReg",
     HV_PRIV_ACCESS_GUEST_IDLE_REG,
     {{HV_X64_MSR_GUEST_IDLE, HV_X64_MSR_GUEST_IDLE}}},
    {"AccessFrequencyRegs",
     HV_PRIV_ACCESS_FREQUENCY_REGS,
     {{HV_X64_MSR_TSC_FREQUENCY, HV_X64_MSR_APIC_FREQUENCY}}},
};
#define GATES (sizeof(gates) / sizeof(gates[0]))

// Every MSR that any of them opens is tried with each.
static const uint32_t extra[] = {HV_X64_MSR_GUEST_OS_ID, HV_X64_MSR_HYPERCALL, HV_X64_MSR_VP_INDEX,
                                 HV_X64_MSR_EOI, HV_X64_MSR_REENLIGHTENMENT_CONTROL};
#define EXTRA (sizeof(extra) / sizeof(extra[0]))

static struct child c;
static struct hv_message message;

CODE(msr_code, "rdmsr\n out %al, $0x42\n hlt")
CODE(cpuid_code, "cpuid\n out %al, $0x42\n hlt")

static void ends(uint32_t what)
{
    if (!message_wait(&message, PATIENCE_US)) {
        tap_bail_out("%x: no message", what);
    }
}

static bool reads(uint32_t msr)
{
    parent_set64(c.id, 0, HV_REGISTER_RCX, msr);
    RUN(&c, msr_code);
    ends(msr);
    return message.header.message_type == HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT;
}

static bool in(const struct range *ranges, unsigned count, uint32_t msr)
{
    for (unsigned i = 0; i < count; i++) {
        if (ranges[i].last && msr >= ranges[i].first && msr <= ranges[i].last) {
            return true;
        }
    }
    return false;
}

// A read of the idle MSR sleeps: with its privilege it is not tried.
static uint32_t wrong(const struct gate *g, uint32_t msr)
{
    bool want = in(g->msrs, 3, msr) || in(free_msrs, 3, msr);
    if (want && msr == HV_X64_MSR_GUEST_IDLE) {
        return 0;
    }
    bool got = reads(msr);
    if (got != want) {
        tap_note("%s: MSR %x is%s there", g->name, msr, got ? "" : " not");
    }
    return got != want;
}

static void test_gate(const struct gate *g)
{
    struct cpuid r;
    uint32_t bad = 0;
    parent_set64(c.id, 0, HV_REGISTER_RAX, HV_CPUID_FEATURES);
    parent_set64(c.id, 0, HV_REGISTER_RCX, 0);
    RUN(&c, cpuid_code);
    ends(HV_CPUID_FEATURES);
    r.eax = (uint32_t)parent_get64(c.id, 0, HV_REGISTER_RAX);
    r.ebx = (uint32_t)parent_get64(c.id, 0, HV_REGISTER_RBX);
    tap_is((uint64_t)r.ebx << 32 | r.eax, LEAST | g->privilege,
           "%s: leaf 40000003 shows the partition's privileges", g->name);
    for (unsigned i = 0; i < GATES; i++) {
        for (unsigned n = 0; n < 3 && gates[i].msrs[n].last; n++) {
            const struct range *range = &gates[i].msrs[n];
            bad += wrong(g, range->first);
            bad += range->last != range->first ? wrong(g, range->last) : 0;
        }
    }
    for (unsigned i = 0; i < EXTRA; i++) {
        bad += extra[i] == HV_X64_MSR_EOI ? reads(extra[i]) : wrong(g, extra[i]);
    }
    tap_is(bad, 0, "%s: it opens its MSRs, and those of other privileges are #GP", g->name);
}

static bool prepare(uint64_t privileges)
{
    return child_prepare_privileged(&c, privileges) &&
           parent_install(c.id, HV_INTERCEPT_TYPE_X64_MSR, 0, 0) == HV_STATUS_SUCCESS &&
           parent_install(c.id, HV_INTERCEPT_TYPE_EXCEPTION, HV_INTERCEPT_ACCESS_MASK_EXECUTE,
                          VECTOR_GP) == HV_STATUS_SUCCESS;
}

void root_main(void)
{
    hv_need();
    hv_setup();
    messages_on();
    for (unsigned i = 0; i < GATES; i++) {
        if (!tap_ok(prepare(LEAST | gates[i].privilege), "a child is made: %s", gates[i].name)) {
            return;
        }
        test_gate(&gates[i]);
        tap_ok(child_delete(&c), "every page comes back");
    }
}
