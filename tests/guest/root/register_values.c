// SPDX-License-Identifier: BSD-2-Clause-Patent
// What registers hold, by their names: all are set to values of their own and then read, and those
// that are MSRs or CPUID leaves are what the child reads. tlfs-reference 3.
//
// rig: --lps 2
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "parent.h"
#include "realmode.h"
#include "rootprobe.h"
#include "tap.h"

#define PRIVILEGES                                                                                 \
    (HV_PRIV_ACCESS_HYPERCALL_MSRS | HV_PRIV_ACCESS_VP_INDEX | HV_PRIV_ACCESS_SYNIC_REGS |         \
     HV_PRIV_ACCESS_SYNTHETIC_TIMER_REGS | HV_PRIV_ACCESS_INTR_CTRL_REGS |                         \
     HV_PRIV_ACCESS_PARTITION_REFERENCE_TSC)
#define X2APIC_BASE 0xfee00d00u
#define X2APIC_MSR  0x800u
#define MASKED_LVT  0x10000u

static struct child c;
static struct hv_message message;

CODE(msr_code, "rdmsr\n out %al, $0x42\n hlt")
CODE(cpuid_code, "cpuid\n out %al, $0x42\n hlt")

// A register with the MSR that shows it, or a family of both. Value: of the n-th, first + n * step.
struct row {
    uint32_t name, msr, count, name_step, msr_step;
    uint64_t first, step;
};

#define ONE(name, msr, value)                                                                      \
    {                                                                                              \
        HV_REGISTER_##name, msr, 1, 0, 0, value, 0                                                 \
    }
#define APIC(name, value)                                                                          \
    {                                                                                              \
        HV_REGISTER_##name, X2APIC_MSR + (HV_REGISTER_##name & 0xff), 1, 0, 0, value, 0            \
    }
#define FAMILY(name, msr, n, by, first, step)                                                      \
    {                                                                                              \
        HV_REGISTER_##name(0), msr, n, HV_REGISTER_##name(1) - HV_REGISTER_##name(0), by, first,   \
            step                                                                                   \
    }

static const struct row rows[] = {
    FAMILY(MTRR_PHYS_BASE, 0x200, 8, 2, 0x10000006, 0x10000000),
    FAMILY(MTRR_PHYS_MASK, 0x201, 8, 2, 0x800000800, 0x10000000),
    ONE(MTRR_FIX64K00000, 0x250, 0x0606060606060600),
    ONE(MTRR_FIX16K80000, 0x258, 0x0606060606060006),
    ONE(MTRR_FIX16KA0000, 0x259, 0x0606060606000606),
    ONE(MTRR_FIX4KC0000, 0x268, 0x0606060600060606),
    ONE(MTRR_FIX4KC8000, 0x269, 0x0606060006060606),
    ONE(MTRR_FIX4KD0000, 0x26a, 0x0606000606060606),
    ONE(MTRR_FIX4KD8000, 0x26b, 0x0600060606060606),
    ONE(MTRR_FIX4KE0000, 0x26c, 0x0006060606060606),
    ONE(MTRR_FIX4KE8000, 0x26d, 0x0606060606060604),
    ONE(MTRR_FIX4KF0000, 0x26e, 0x0606060606060406),
    ONE(MTRR_FIX4KF8000, 0x26f, 0x0606060606040606),
    ONE(MTRR_DEF_TYPE, 0x2ff, 0xc06),
    ONE(PAT, 0x277, 0x0007040600070401),
    ONE(SYSENTER_CS, 0x174, 0x10),
    ONE(SYSENTER_ESP, 0x175, 0xffff800000003000),
    ONE(SYSENTER_EIP, 0x176, 0xffff800000002000),
    ONE(STAR, 0xc0000081, 0x0023001000000000),
    ONE(LSTAR, 0xc0000082, 0xffff800000004000),
    ONE(CSTAR, 0xc0000083, 0xffff800000005000),
    ONE(SFMASK, 0xc0000084, 0x47700),
    ONE(KERNEL_GS_BASE, 0xc0000102, 0xffff800000001000),
    ONE(APIC_BASE, 0x1b, X2APIC_BASE),
    APIC(APIC_LVT_TIMER, MASKED_LVT | 0x31),
    APIC(APIC_LVT_THERMAL, MASKED_LVT | 0x32),
    APIC(APIC_LVT_PERFMON, MASKED_LVT | 0x33),
    APIC(APIC_LVT_LINT0, MASKED_LVT | 0x34),
    APIC(APIC_LVT_LINT1, MASKED_LVT | 0x35),
    APIC(APIC_LVT_ERROR, MASKED_LVT | 0x36),
    APIC(APIC_DIVIDE, 0xa),
    APIC(APIC_ICR, 0x0300000000004055),
    ONE(GUEST_OS_ID, HV_X64_MSR_GUEST_OS_ID, 0x8100000000001234),
    ONE(HYPERCALL, HV_X64_MSR_HYPERCALL, 0x4000),
    ONE(VP_ASSIST_PAGE, HV_X64_MSR_VP_ASSIST_PAGE, 0x5000),
    ONE(REFERENCE_TSC, HV_X64_MSR_REFERENCE_TSC, 0x6000),
    ONE(SCONTROL, HV_X64_MSR_SCONTROL, HV_SCONTROL_ENABLE),
    ONE(SIEFP, HV_X64_MSR_SIEFP, 0x7000),
    ONE(SIMP, HV_X64_MSR_SIMP, 0x8000),
    FAMILY(SINT, HV_X64_MSR_SINT0, 16, 1, 0x10040, 1),
    FAMILY(STIMER_CONFIG, HV_X64_MSR_STIMER0_CONFIG, 4, 2, 0x10000, 0x10000),
    FAMILY(STIMER_COUNT, HV_X64_MSR_STIMER0_COUNT, 4, 2, 0x1000000000000, 1),
    ONE(STIME_UNHALTED_TIMER_CONFIG, HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG, 0x40),
    ONE(STIME_UNHALTED_TIMER_COUNT, HV_X64_MSR_STIME_UNHALTED_TIMER_COUNT, 0x54321),
    FAMILY(GUEST_CRASH_P, HV_X64_MSR_CRASH_P0, 5, 1, 0x1122334455667700, 1),
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static void ends(uint32_t what)
{
    if (!message_wait(&message, PATIENCE_US)) {
        tap_bail_out("%x: no message", what);
    }
}

// What the child reads; ~0 for #GP.
static uint64_t child_reads(uint32_t msr)
{
    parent_set64(c.id, 0, HV_REGISTER_RCX, msr);
    RUN(&c, msr_code);
    ends(msr);
    if (message.header.message_type != HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT) {
        return ~0ul;
    }
    return (parent_get64(c.id, 0, HV_REGISTER_RDX) << 32) |
           (uint32_t)parent_get64(c.id, 0, HV_REGISTER_RAX);
}

// Sets all, or reads all: by name, or as the child does. How many go wrong.
enum pass { SET_ALL, GET_ALL, CHILD_READS_ALL };

static unsigned go_through(enum pass pass)
{
    unsigned wrong = 0;
    for (unsigned i = 0; i < ROWS; i++) {
        for (uint32_t n = 0; n < rows[i].count; n++) {
            uint32_t name = rows[i].name + n * rows[i].name_step;
            uint32_t msr = rows[i].msr + n * rows[i].msr_step;
            uint64_t value = rows[i].first + n * rows[i].step, got = 0;
            if (pass == SET_ALL) {
                got = parent_set64(c.id, 0, name, value) == HV_STATUS_SUCCESS ? value : 0;
            } else {
                got = pass == GET_ALL ? parent_get64(c.id, 0, name) : child_reads(msr);
            }
            if (got != value) {
                tap_note("register %x, MSR %x: %lx, want %lx", name, msr, got, value);
                wrong++;
            }
        }
    }
    return wrong;
}

static void test_msrs(void)
{
    tap_is(go_through(SET_ALL), 0, "registers that are MSRs can be set");
    tap_is(go_through(GET_ALL), 0, "each keeps its own value");
    tap_is(go_through(CHILD_READS_ALL), 0, "and that is what the child's RDMSR reads");
}

// ---- discovery ------------------------------------------------------------------------------

static void test_leaves(void)
{
    static const struct {
        uint32_t name, leaf;
    } leaves[] = {{HV_REGISTER_HYPERVISOR_VERSION, 0x40000002},
                  {HV_REGISTER_PRIVILEGES_AND_FEATURES_INFO, 0x40000003},
                  {HV_REGISTER_FEATURES_INFO, 0x40000004},
                  {HV_REGISTER_IMPLEMENTATION_LIMITS_INFO, 0x40000005},
                  {HV_REGISTER_HARDWARE_FEATURES_INFO, 0x40000006},
                  {HV_REGISTER_CPU_MANAGEMENT_FEATURES_INFO, 0x40000007},
                  {HV_REGISTER_PASID_FEATURES_INFO, 0x40000008},
                  {HV_REGISTER_SKIP_LEVEL_FEATURES_INFO, 0x40000009},
                  {HV_REGISTER_NESTED_VIRT_FEATURES_INFO, 0x4000000a},
                  {HV_REGISTER_IPT_FEATURES_INFO, 0x4000000b},
                  {HV_REGISTER_ISOLATION_CONFIGURATION, 0x4000000c}};
    for (unsigned i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
        static const uint32_t order[] = {HV_REGISTER_RAX, HV_REGISTER_RBX, HV_REGISTER_RCX,
                                         HV_REGISTER_RDX};
        uint32_t got[4];
        union hv_register_value v = {.reg128 = {~0ul, ~0ul}};
        parent_set64(c.id, 0, HV_REGISTER_RAX, leaves[i].leaf);
        parent_set64(c.id, 0, HV_REGISTER_RCX, 0);
        RUN(&c, cpuid_code);
        ends(leaves[i].leaf);
        for (unsigned n = 0; n < 4; n++) {
            got[n] = (uint32_t)parent_get64(c.id, 0, order[n]);
        }
        parent_get(c.id, 0, leaves[i].name, &v);
        tap_ok(!memcmp(got, &v, sizeof(got)), "register %x is what leaf %x shows the child",
               leaves[i].name, leaves[i].leaf);
    }
    tap_is(parent_get64(c.id, 0, HV_REGISTER_PROCESSOR_CLOCK_FREQUENCY),
           rdmsr(HV_X64_MSR_TSC_FREQUENCY), "ProcessorClockFrequency is the TSC's");
    tap_is(parent_get64(c.id, 0, HV_REGISTER_INTERRUPT_CLOCK_FREQUENCY),
           rdmsr(HV_X64_MSR_APIC_FREQUENCY), "InterruptClockFrequency is the APIC's");
    tap_is(parent_get64(c.id, 0, HV_REGISTER_GUEST_CRASH_CTL),
           HV_CRASH_CTL_CRASH_NOTIFY | HV_CRASH_CTL_CRASH_MESSAGE,
           "GuestCrashCtl tells what it can do");
}

// ---- the processor's own ----------------------------------------------------------------------

static const uint32_t general[] = {
    HV_REGISTER_RAX, HV_REGISTER_RCX, HV_REGISTER_RDX, HV_REGISTER_RBX,
    HV_REGISTER_RSP, HV_REGISTER_RBP, HV_REGISTER_RSI, HV_REGISTER_RDI,
    HV_REGISTER_R8,  HV_REGISTER_R9,  HV_REGISTER_R10, HV_REGISTER_R11,
    HV_REGISTER_R12, HV_REGISTER_R13, HV_REGISTER_R14, HV_REGISTER_R15};
#define GENERAL (sizeof(general) / sizeof(general[0]))

static void test_general(void)
{
    unsigned wrong = 0;
    for (unsigned i = 0; i < GENERAL; i++) {
        parent_set64(c.id, 0, general[i], 0x0123456789abcdeful * (i + 1));
    }
    for (unsigned i = 0; i < GENERAL; i++) {
        wrong += parent_get64(c.id, 0, general[i]) != 0x0123456789abcdeful * (i + 1);
    }
    tap_is(wrong, 0, "each general register keeps its own value");
}

static void test_segments(void)
{
    static const struct {
        uint32_t name;
        struct hv_x64_segment_register value;
    } segments[] = {
        {HV_REGISTER_SS, {.base = 0x1000, .limit = 0xffff, .selector = 0x100, .attributes = 0x93}},
        {HV_REGISTER_LDTR, {.base = 0x2000, .limit = 0x7fff, .selector = 0x38, .attributes = 0x82}},
        {HV_REGISTER_TR, {.base = 0x3000, .limit = 0x67, .selector = 0x40, .attributes = 0x8b}}};
    unsigned wrong = 0;
    for (unsigned i = 0; i < 3; i++) {
        union hv_register_value v = {.segment = segments[i].value};
        wrong += parent_set(c.id, 0, segments[i].name, &v) != HV_STATUS_SUCCESS;
    }
    for (unsigned i = 0; i < 3; i++) {
        union hv_register_value v = {.reg128 = {0, 0}};
        parent_get(c.id, 0, segments[i].name, &v);
        wrong += memcmp(&v.segment, &segments[i].value, sizeof(v.segment)) != 0;
    }
    tap_is(wrong, 0, "SS, LDTR and TR keep base, limit, selector and attributes");
}

static void test_others(void)
{
    for (uint64_t state = 0; state < 4; state++) {
        tap_ok(parent_set64(c.id, 0, HV_REGISTER_INTERRUPT_STATE, state) == HV_STATUS_SUCCESS &&
                   parent_get64(c.id, 0, HV_REGISTER_INTERRUPT_STATE) == state,
               "InterruptState keeps the shadow and the mask of NMIs (%lu)", state);
    }
    parent_set64(c.id, 0, HV_REGISTER_INTERRUPT_STATE, 0);
    tap_ok(parent_get64(c.id, 0, HV_REGISTER_INTERMEDIATE_CR0) ==
                   parent_get64(c.id, 0, HV_REGISTER_CR0) &&
               parent_get64(c.id, 0, HV_REGISTER_INTERMEDIATE_CR3) ==
                   parent_get64(c.id, 0, HV_REGISTER_CR3) &&
               parent_get64(c.id, 0, HV_REGISTER_INTERMEDIATE_CR4) ==
                   parent_get64(c.id, 0, HV_REGISTER_CR4) &&
               parent_get64(c.id, 0, HV_REGISTER_INTERMEDIATE_CR8) ==
                   parent_get64(c.id, 0, HV_REGISTER_CR8),
           "the intermediate control registers are the control registers where there is no VTL");
}

static bool prepare(void)
{
    struct hv_input_set_partition_property input = {0, HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS, 0,
                                                    PRIVILEGES};
    uint16_t status = parent_create(0, &c.id);
    if (status == HV_STATUS_SUCCESS) {
        input.partition_id = c.id;
        status = parent_call(HVCALL_SET_PARTITION_PROPERTY, &input, sizeof(input));
    }
    return status == HV_STATUS_SUCCESS && child_prepare_created(&c) &&
           parent_install(c.id, HV_INTERCEPT_TYPE_EXCEPTION, HV_INTERCEPT_ACCESS_MASK_EXECUTE,
                          VECTOR_GP) == HV_STATUS_SUCCESS;
}

void root_main(void)
{
    hv_need();
    hv_setup();
    messages_on();
    if (!tap_ok(prepare(), "a child is made")) {
        return;
    }
    test_msrs();
    test_leaves();
    test_general();
    test_segments();
    test_others();
    tap_ok(child_delete(&c), "every page comes back");
}
