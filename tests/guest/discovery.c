// SPDX-License-Identifier: BSD-2-Clause-Patent
// What CPUID says is true: the Hv#1 signature on every processor, privileges and hints that match
// what works, and no feature shown that is not there.
//
// rig: --vps 1 --lps 1
// rig: --vps 2 --lps 2
// rig: --vps 4 --lps 2
// timeout: 180
#include "apic.h"
#include "clock.h"
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "machine.h"
#include "smp.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

// ---- the signature, on every processor ------------------------------------------------------

static volatile uint32_t signatures;

static bool same_text(const struct cpuid *leaf, const char *text)
{
    return !memcmp(&leaf->ebx, text, 4) && !memcmp(&leaf->ecx, text + 4, 4) &&
           !memcmp(&leaf->edx, text + 8, 4);
}

static void check_signature(void *context)
{
    (void)context;
    struct cpuid vendor = cpuid(HV_CPUID_VENDOR_AND_MAX, 0);
    bool right = cpuid(1, 0).ecx & HV_CPUID_1_ECX_HYPERVISOR_PRESENT;
    right &= same_text(&vendor, "Microsoft Hv") && vendor.eax >= HV_CPUID_HARDWARE_FEATURES;
    right &= cpuid(HV_CPUID_INTERFACE, 0).eax == HV_CPUID_INTERFACE_HV1;
    if (right) {
        __asm__ volatile("lock incl %0" : "+m"(signatures));
    }
}

static void test_signature(void)
{
    check_signature(NULL);
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        smp_call(i, check_signature, NULL);
    }
    tap_is(signatures, machine.cpu_count,
           "hypervisor bit, \"Microsoft Hv\" and \"Hv#1\" are on every processor");
    // Linux looks for hypervisors at each of these.
    bool alone = true;
    for (uint32_t leaf = 0x40000100; leaf < 0x40010000; leaf += 0x100) {
        struct cpuid r = cpuid(leaf, 0);
        alone &= !same_text(&r, "KVMKVMKVM\0\0\0") && !same_text(&r, "XenVMMXenVMM");
    }
    tap_ok(alone, "no other hypervisor shows itself from 40000100 up");
}

// ---- leaves ---------------------------------------------------------------------------------

static void test_leaves(void)
{
    struct cpuid max = cpuid(HV_CPUID_VENDOR_AND_MAX, 0), r = cpuid(HV_CPUID_INTERFACE, 0);
    tap_ok(!r.ebx && !r.ecx && !r.edx, "40000001: the rest is 0");
    r = cpuid(HV_CPUID_VERSION, 0);
    tap_ok(r.eax && r.ebx >> HV_CPUID_VERSION_MAJOR_SHIFT, "40000002: version %u.%u build %u",
           r.ebx >> 16, r.ebx & 0xffff, r.eax);
    r = cpuid(HV_CPUID_IMPLEMENTATION_LIMITS, 0);
    tap_ok(r.eax >= machine.cpu_count && r.ebx >= 1, "40000005: room for %u VPs, %u LPs", r.eax,
           r.ebx);
    r = cpuid(HV_CPUID_ENLIGHTENMENT_INFO, 0);
    tap_ok(!(r.ecx & ~HV_HINT_ECX_PHYSICAL_ADDRESS_BITS_MASK), "40000004: reserved bits are 0");
    bool zero = true;
    for (uint32_t leaf = max.eax + 1; leaf < 0x40000010; leaf++) {
        r = cpuid(leaf, 0);
        zero &= !r.eax && !r.ebx && !r.ecx && !r.edx;
    }
    tap_ok(zero, "leaves beyond %x are 0", max.eax);
}

// What has no meaning, or tells of what is not there: a guest may rely on none of it.
static void test_nothing_else(void)
{
    const uint32_t features =
        HV_FEATURE_EDX_XMM_HYPERCALL_INPUT | HV_FEATURE_EDX_GUEST_IDLE |
        HV_FEATURE_EDX_TIMER_FREQUENCIES | HV_FEATURE_EDX_GUEST_CRASH_MSRS | HV_FEATURE_EDX_NPIEP |
        HV_FEATURE_EDX_EXTENDED_GVA_RANGES | HV_FEATURE_EDX_FAST_HYPERCALL_OUTPUT |
        HV_FEATURE_EDX_SINT_POLLING_MODE | HV_FEATURE_EDX_HYPERCALL_MSR_LOCK |
        HV_FEATURE_EDX_DIRECT_SYNTHETIC_TIMERS | HV_FEATURE_EDX_TIME_UNHALTED_TIMER;
    const uint32_t hints = HV_HINT_EAX_REMOTE_TLB_FLUSH_HYPERCALL | HV_HINT_EAX_APIC_MSRS |
                           HV_HINT_EAX_RELAXED_TIMING | HV_HINT_EAX_DEPRECATE_AUTO_EOI |
                           HV_HINT_EAX_CLUSTER_IPI | HV_HINT_EAX_EX_PROCESSOR_MASKS |
                           HV_HINT_EAX_NO_NON_ARCHITECTURAL_CORE_SHARING |
                           HV_HINT_EAX_RESTORE_TIME_ON_RESUME;
    struct cpuid r = cpuid(HV_CPUID_FEATURES, 0);
    tap_is(r.ecx, 0, "40000003 ECX: no power states, no PMU, no trap intercept, no shadow stack");
    tap_is(r.edx & ~features, 0,
           "40000003 EDX: no MWAIT, debugging, monitor, sleep, NUMA distances, machine checks, "
           "VSM registers or LBR");
    r = cpuid(HV_CPUID_ENLIGHTENMENT_INFO, 0);
    tap_is(r.eax & ~hints, 0, "40000004 EAX: no call where an instruction does, no reset by MSR");
    tap_is(r.edx, 0, "40000004 EDX is reserved");
    r = cpuid(HV_CPUID_IMPLEMENTATION_LIMITS, 0);
    tap_ok(!r.ecx && !r.edx, "40000005: no vectors for interrupt remapping; the rest is 0");
}

// ---- the same everywhere --------------------------------------------------------------------

#define LEAVES (HV_CPUID_NESTED_FEATURES - HV_CPUID_VENDOR_AND_MAX + 1)

static struct cpuid boot_leaves[LEAVES];
static volatile uint32_t different;

static void compare_leaves(void *context)
{
    (void)context;
    for (uint32_t i = 0; i < LEAVES; i++) {
        struct cpuid r = cpuid(HV_CPUID_VENDOR_AND_MAX + i, 0);
        different += memcmp(&r, &boot_leaves[i], sizeof(r)) != 0;
    }
}

static void test_same(void)
{
    for (uint32_t i = 0; i < LEAVES; i++) {
        boot_leaves[i] = cpuid(HV_CPUID_VENDOR_AND_MAX + i, 0);
    }
    compare_leaves(NULL);
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        smp_call(i, compare_leaves, NULL);
    }
    tap_is(different, 0, "privileges, features, hints and limits are the same on every processor");
}

// Bits that stand alone, and those that go with a privilege.
static void test_recommendations(void)
{
    static const struct {
        uint32_t bit;
        uint64_t privilege;
        const char *what;
    } hints[] = {{HV_HINT_EAX_RELAXED_TIMING, 0, "relaxed timing"},
                 {HV_HINT_EAX_APIC_MSRS, HV_PRIV_ACCESS_INTR_CTRL_REGS, "the APIC MSRs"},
                 {HV_HINT_EAX_DEPRECATE_AUTO_EOI, HV_PRIV_ACCESS_SYNIC_REGS, "no AutoEOI"}};
    struct cpuid r = cpuid(HV_CPUID_ENLIGHTENMENT_INFO, 0);
    for (unsigned i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
        bool has = (hv_privileges() & hints[i].privilege) == hints[i].privilege &&
                   !(hints[i].bit == HV_HINT_EAX_APIC_MSRS && hv_delivers());
        tap_is(r.eax & hints[i].bit, has ? hints[i].bit : 0,
               "40000004 recommends %s where it can be had", hints[i].what);
    }
    tap_is(r.eax & (HV_HINT_EAX_NESTED | HV_HINT_EAX_ENLIGHTENED_VMCS | HV_HINT_EAX_DMA_REMAPPING |
                    HV_HINT_EAX_INTERRUPT_REMAPPING | HV_HINT_EAX_X2APIC_MSRS),
           0, "and nothing for nested hypervisors or remapping");
    tap_is(r.ecx & HV_HINT_ECX_PHYSICAL_ADDRESS_BITS_MASK, cpuid(0x80000008, 0).eax & 0xff,
           "40000004 ECX has the width of physical addresses");
}

// A VP that nobody has: told apart from a call that may not be made.
static void test_start_privilege(void)
{
    static struct hv_input_start_virtual_processor in;
    in = (struct hv_input_start_virtual_processor){.partition_id = HV_PARTITION_ID_SELF,
                                                   .vp_index = 200};
    bool may = hv_privileges() & HV_PRIV_START_VIRTUAL_PROCESSOR;
    tap_is(hv_call_memory(HVCALL_START_VIRTUAL_PROCESSOR, 0, &in, sizeof(in), NULL, 0, NULL),
           may ? HV_STATUS_INVALID_VP_INDEX : HV_STATUS_ACCESS_DENIED,
           "starting VPs is allowed where the privilege is shown");
}

// The hardware features in use, and of the features of root and nesting none.
static void test_hardware(void)
{
    struct cpuid r = cpuid(HV_CPUID_HARDWARE_FEATURES, 0);
    bool intel = cpuid(0, 0).ebx == 0x756e6547; // "Genu"
    tap_is(r.eax & ~HV_HARDWARE_EAX_APIC_OVERLAY_ASSIST,
           HV_HARDWARE_EAX_MSR_BITMAPS | HV_HARDWARE_EAX_SECOND_LEVEL_TRANSLATION |
               (intel ? HV_HARDWARE_EAX_UNRESTRICTED_GUEST : 0),
           "40000006: MSR bitmaps and second-level translation are in use; Intel's unrestricted "
           "guests where it is Intel");
    tap_ok(!r.ebx && !r.ecx && !r.edx, "40000006: the rest is 0");
    for (uint32_t leaf = HV_CPUID_CPU_MANAGEMENT; leaf <= HV_CPUID_NESTED_FEATURES; leaf++) {
        r = cpuid(leaf, 0);
        tap_ok(!r.eax && !r.ebx && !r.ecx && !r.edx, "%x: nothing is offered", leaf);
    }
}

static void test_privileges(void)
{
    static const uint64_t needed = HV_PRIV_ACCESS_HYPERCALL_MSRS | HV_PRIV_ACCESS_VP_INDEX;
    static const uint64_t refused = HV_PRIV_CREATE_PARTITIONS | HV_PRIV_ACCESS_PARTITION_ID |
                                    HV_PRIV_ACCESS_MEMORY_POOL | HV_PRIV_ADJUST_MESSAGE_BUFFERS |
                                    HV_PRIV_CREATE_PORT | HV_PRIV_ACCESS_STATS |
                                    HV_PRIV_CPU_MANAGEMENT | HV_PRIV_CONFIGURE_PROFILER;
    uint64_t privileges = hv_privileges();
    tap_note("privileges %lx, features %x", privileges, hv_features());
    tap_is(privileges & needed, needed, "hypercall MSRs and VP index are there");
    tap_is(privileges & refused, 0, "no privilege of a parent or root");
    tap_is(privileges & HV_PRIV_RESERVED_MASK, 0, "reserved privileges are 0");
    tap_is(!(privileges & HV_PRIV_FAST_HYPERCALL_OUTPUT),
           !(hv_features() & HV_FEATURE_EDX_FAST_HYPERCALL_OUTPUT),
           "the privilege of register output and its feature go together");
    tap_is(!(privileges & HV_PRIV_ENABLE_EXTENDED_GVA_RANGES),
           !(hv_features() & HV_FEATURE_EDX_EXTENDED_GVA_RANGES),
           "those of extended GVA ranges too");
    uint64_t linux_needs = HV_PRIV_ACCESS_PARTITION_REFERENCE_COUNTER |
                           HV_PRIV_ACCESS_PARTITION_REFERENCE_TSC | HV_PRIV_ACCESS_SYNIC_REGS |
                           HV_PRIV_ACCESS_SYNTHETIC_TIMER_REGS | HV_PRIV_ACCESS_FREQUENCY_REGS |
                           HV_PRIV_ACCESS_RESET_REG;
    tap_is(privileges & linux_needs, linux_needs,
           "reference time, SynIC, timers, frequencies and reset are there");
}

// ---- MSRs exist exactly where privileges and features say so --------------------------------

#define NONE   0u
#define READ   1u // can be read
#define SLEEPS 2u // a read sleeps: not tried where it is there

struct msr_rule {
    uint32_t first, last;
    uint64_t privilege;
    uint32_t feature; // of 40000003 EDX, besides
    uint32_t flags;
};

static const struct msr_rule rules[] = {
    {HV_X64_MSR_GUEST_OS_ID, HV_X64_MSR_HYPERCALL, HV_PRIV_ACCESS_HYPERCALL_MSRS, 0, READ},
    {HV_X64_MSR_VP_INDEX, HV_X64_MSR_VP_INDEX, HV_PRIV_ACCESS_VP_INDEX, 0, READ},
    {HV_X64_MSR_RESET, HV_X64_MSR_RESET, HV_PRIV_ACCESS_RESET_REG, 0, READ},
    {HV_X64_MSR_VP_RUNTIME, HV_X64_MSR_VP_RUNTIME, HV_PRIV_ACCESS_VP_RUNTIME_REG, 0, READ},
    {HV_X64_MSR_TIME_REF_COUNT, HV_X64_MSR_TIME_REF_COUNT,
     HV_PRIV_ACCESS_PARTITION_REFERENCE_COUNTER, 0, READ},
    {HV_X64_MSR_REFERENCE_TSC, HV_X64_MSR_REFERENCE_TSC, HV_PRIV_ACCESS_PARTITION_REFERENCE_TSC, 0,
     READ},
    {HV_X64_MSR_TSC_FREQUENCY, HV_X64_MSR_APIC_FREQUENCY, HV_PRIV_ACCESS_FREQUENCY_REGS,
     HV_FEATURE_EDX_TIMER_FREQUENCIES, READ},
    {HV_X64_MSR_NPIEP_CONFIG, HV_X64_MSR_NPIEP_CONFIG, 0, HV_FEATURE_EDX_NPIEP, READ},
    {HV_X64_MSR_EOI, HV_X64_MSR_EOI, HV_PRIV_ACCESS_INTR_CTRL_REGS, 0, NONE},
    {HV_X64_MSR_ICR, HV_X64_MSR_VP_ASSIST_PAGE, HV_PRIV_ACCESS_INTR_CTRL_REGS, 0, READ},
    {HV_X64_MSR_SCONTROL, HV_X64_MSR_EOM, HV_PRIV_ACCESS_SYNIC_REGS, 0, READ},
    {HV_X64_MSR_SINT0, HV_X64_MSR_SINT15, HV_PRIV_ACCESS_SYNIC_REGS, 0, READ},
    {HV_X64_MSR_STIMER0_CONFIG, HV_X64_MSR_STIMER3_COUNT, HV_PRIV_ACCESS_SYNTHETIC_TIMER_REGS, 0,
     READ},
    {HV_X64_MSR_POWER_STATE_TRIGGER_C1, HV_X64_MSR_POWER_STATE_TRIGGER_C3, HV_PRIV_CPU_MANAGEMENT,
     0, SLEEPS},
    {HV_X64_MSR_POWER_STATE_CONFIG_C1, HV_X64_MSR_POWER_STATE_CONFIG_C3, HV_PRIV_CPU_MANAGEMENT, 0,
     READ},
    {HV_X64_MSR_STATS_PARTITION_RETAIL_PAGE, HV_X64_MSR_STATS_VP_INTERNAL_PAGE,
     HV_PRIV_ACCESS_STATS_REG, 0, READ},
    {HV_X64_MSR_GUEST_IDLE, HV_X64_MSR_GUEST_IDLE, HV_PRIV_ACCESS_GUEST_IDLE_REG,
     HV_FEATURE_EDX_GUEST_IDLE, SLEEPS},
    {HV_X64_MSR_SYNDBG_CONTROL, HV_X64_MSR_SYNDBG_PENDING_BUFFER, HV_PRIV_DEBUGGING,
     HV_FEATURE_EDX_DEBUG_MSRS, READ},
    {HV_X64_MSR_CRASH_P0, HV_X64_MSR_CRASH_CTL, 0, HV_FEATURE_EDX_GUEST_CRASH_MSRS, READ},
    {HV_X64_MSR_REENLIGHTENMENT_CONTROL, HV_X64_MSR_TSC_EMULATION_STATUS,
     HV_PRIV_ACCESS_REENLIGHTENMENT_CONTROLS, 0, READ},
    {HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG, HV_X64_MSR_STIME_UNHALTED_TIMER_COUNT,
     HV_PRIV_ACCESS_SYNTHETIC_TIMER_REGS, HV_FEATURE_EDX_TIME_UNHALTED_TIMER, READ},
    {HV_X64_MSR_TSC_INVARIANT_CONTROL, HV_X64_MSR_TSC_INVARIANT_CONTROL,
     HV_PRIV_ACCESS_TSC_INVARIANT_CONTROLS, 0, READ},
};

static const struct msr_rule *find_rule(uint32_t msr)
{
    for (unsigned i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (msr >= rules[i].first && msr <= rules[i].last) {
            return &rules[i];
        }
    }
    return NULL;
}

static bool offered(const struct msr_rule *rule)
{
    return rule && (hv_privileges() & rule->privilege) == rule->privilege &&
           (hv_features() & rule->feature) == rule->feature;
}

// One MSR: 0 right, 1 should be there, 2 should not.
static unsigned check_msr(uint32_t msr)
{
    const struct msr_rule *rule = find_rule(msr);
    bool there = offered(rule);
    // Numbers that only some publications have.
    if ((there && rule->flags & SLEEPS) || msr == HV_X64_MSR_DEBUG_DEVICE_OPTIONS ||
        msr == HV_X64_MSR_SIRBP) {
        return 0;
    }
    struct trap trap = try_rdmsr(msr, 0);
    bool fault = trap.taken && trap.vector == VECTOR_GP && trap.error == 0;
    if (there && rule->flags & READ) {
        return trap.taken ? 1 : 0;
    }
    return fault ? 0 : 2;
}

static void test_msrs(void)
{
    unsigned counts[3] = {0};
    for (uint32_t msr = 0x40000000; msr < 0x40000200; msr++) {
        unsigned wrong = check_msr(msr);
        counts[wrong]++;
        if (wrong) {
            tap_note("MSR %x should%s be there", msr, wrong == 2 ? " not" : "");
        }
    }
    tap_is(counts[1], 0, "every synthetic MSR that is advertised can be read");
    tap_is(counts[2], 0, "every other one is #GP(0)");
    for (uint32_t msr = 0x40001000; msr < 0x400010a0; msr++) {
        counts[2] += !try_rdmsr(msr, 0).taken;
    }
    tap_is(counts[2], 0, "the nested ones are #GP");
}

// ---- hints ----------------------------------------------------------------------------------

// Flush everything of the caller's own.
static uint16_t flush_all(void)
{
    uint64_t block[14] = {0, 0x3, 1};
    return hv_hypercall_result_status(
        hv_call_xmm(HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE | HV_HYPERCALL_FAST, block));
}

#define IPI_VECTOR 0x44

// The status of a call that signalled this processor; 0xffff if nothing came.
static uint16_t signalled(uint64_t result)
{
    uint16_t status = hv_hypercall_result_status(result);
    bool came = apic_vector_bit(APIC_IRR, IPI_VECTOR);
    uint32_t strays = trap_stray_count;
    sti_nop();
    cli();
    if (trap_stray_count != strays) {
        apic_eoi();
    }
    return status == HV_STATUS_SUCCESS && !came ? 0xffff : status;
}

static uint16_t cluster_ipi(void)
{
    return signalled(hv_call(HVCALL_SEND_SYNTHETIC_CLUSTER_IPI | HV_HYPERCALL_FAST, IPI_VECTOR, 1));
}

static uint16_t cluster_ipi_ex(void)
{
    uint64_t block[14] = {IPI_VECTOR, HV_VP_SET_FORMAT_SPARSE, 1, 1};
    return signalled(
        hv_call_xmm(hv_hypercall_control(HVCALL_SEND_SYNTHETIC_CLUSTER_IPI_EX, true, 1, 0), block));
}

static uint16_t spin_wait(void)
{
    return hv_hypercall_result_status(
        hv_call(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_HYPERCALL_FAST, 1, 0));
}

static void test_hint(bool hinted, uint16_t (*call)(void), const char *name)
{
    if (!hinted) {
        tap_skip("not recommended", "%s", name);
        return;
    }
    tap_is(call(), HV_STATUS_SUCCESS, "%s is recommended and works", name);
}

static void test_hints(void)
{
    struct cpuid hints = cpuid(HV_CPUID_ENLIGHTENMENT_INFO, 0);
    bool xmm = hv_features() & HV_FEATURE_EDX_XMM_HYPERCALL_INPUT;
    tap_note("hints %x, spin %x", hints.eax, hints.ebx);
    test_hint(hints.eax & HV_HINT_EAX_REMOTE_TLB_FLUSH_HYPERCALL && xmm, flush_all,
              "HvCallFlushVirtualAddressSpace");
    test_hint(hints.eax & HV_HINT_EAX_CLUSTER_IPI, cluster_ipi, "HvCallSendSyntheticClusterIpi");
    test_hint(hints.eax & HV_HINT_EAX_CLUSTER_IPI && hints.eax & HV_HINT_EAX_EX_PROCESSOR_MASKS &&
                  xmm,
              cluster_ipi_ex, "HvCallSendSyntheticClusterIpiEx");
    test_hint(hints.ebx && hints.ebx != HV_HINT_EBX_NEVER_NOTIFY, spin_wait,
              "HvCallNotifyLongSpinWait");
    if (hints.eax & HV_HINT_EAX_APIC_MSRS) {
        tap_ok(hv_privileges() & HV_PRIV_ACCESS_INTR_CTRL_REGS,
               "APIC MSRs are recommended and there");
    }
}

// ---- honest features ------------------------------------------------------------------------

static void body_set_cr4(void *context)
{
    write_cr4(read_cr4() | *(uint64_t *)context);
}

static void test_cr4_bits(void)
{
    static const struct {
        uint32_t leaf, bit;
        char reg;
        uint8_t cr4;
        const char *name;
    } bits[] = {{1, 17, 'c', 17, "PCID"},    {1, 26, 'c', 18, "XSAVE"}, {7, 0, 'b', 16, "FSGSBASE"},
                {7, 7, 'b', 20, "SMEP"},     {7, 20, 'b', 21, "SMAP"},  {7, 2, 'c', 11, "UMIP"},
                {7, 16, 'c', 12, "5 levels"}};
    for (unsigned i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        struct cpuid r = cpuid(bits[i].leaf, 0);
        uint32_t reg = bits[i].reg == 'b' ? r.ebx : r.ecx;
        // These cannot be set here: code runs from user pages, and five levels need another mode.
        bool unusable = bits[i].cr4 == 20 || bits[i].cr4 == 21 || bits[i].cr4 == 12;
        if (!(reg >> bits[i].bit & 1) || unusable) {
            continue;
        }
        uint64_t old = read_cr4(), bit = 1ul << bits[i].cr4;
        struct trap trap = trap_try(body_set_cr4, &bit);
        bool set = read_cr4() & bit;
        write_cr4(old);
        tap_ok(!trap.taken && set, "%s is shown and CR4 takes it", bits[i].name);
    }
}

static void body_rdtscp(void *context)
{
    (void)context;
    __asm__ volatile("rdtscp" : : : "rax", "rcx", "rdx");
}

static void body_rdrand(void *context)
{
    (void)context;
    __asm__ volatile("rdrand %%rax" : : : "rax", "cc");
}

static void body_xgetbv(void *context)
{
    (void)context;
    xgetbv(0);
}

static void test_honest(void)
{
    struct cpuid one = cpuid(1, 0), ext = cpuid(0x80000001, 0), svm = cpuid(0x8000000a, 0);
    tap_ok(!(ext.ecx & 4) && !(one.ecx & 0x20), "neither SVM nor VMX is shown");
    tap_ok(!svm.eax && !svm.ebx && !svm.ecx && !svm.edx, "the SVM leaf is 0");
    tap_ok(!(one.ecx & 8), "MONITOR is not shown");
    tap_ok(!(one.ecx & 0x40), "SMX is not shown");
    tap_ok(one.edx & (1u << 9) && one.ecx & (1u << 21), "APIC and x2APIC are shown");
    if (ext.edx & (1u << 27)) {
        tap_ok(!trap_try(body_rdtscp, NULL).taken, "RDTSCP is shown and works");
    } else {
        tap_ok(trap_try(body_rdtscp, NULL).vector == VECTOR_UD, "RDTSCP is not shown and is #UD");
        tap_ok(try_rdmsr(MSR_TSC_AUX, 0).vector == VECTOR_GP, "and TSC_AUX is #GP");
    }
    if (one.ecx & (1u << 30)) {
        tap_ok(!trap_try(body_rdrand, NULL).taken, "RDRAND is shown and works");
    }
    tap_ok(trap_try(body_xgetbv, NULL).vector == VECTOR_UD, "XGETBV is #UD without CR4.OSXSAVE");
    if (one.ecx & (1u << 24)) {
        tap_ok(!try_rdmsr(MSR_TSC_DEADLINE, 0).taken, "TSC deadline is shown and its MSR is there");
    }
    uint32_t bits = cpuid(0x80000008, 0).eax & 0xff;
    tap_ok(bits >= 36 && bits <= 52, "physical addresses have %u bits", bits);
    tap_is(cpuid(0xb, 0).edx, apic_id(), "leaf B has this processor's x2APIC id");
    test_cr4_bits();
}

// The highest leaves answer, and those beyond are no window to the machine.
static void test_limits(void)
{
    uint32_t basic = cpuid(0, 0).eax, extended = cpuid(0x80000000, 0).eax;
    tap_ok(basic >= 0xb && basic < 0x40, "the highest basic leaf is %x", basic);
    tap_ok(extended >= 0x80000008 && extended < 0x80000100, "the highest extended leaf is %x",
           extended);
    struct cpuid r = cpuid(0x80860000, 0);
    bool amd = cpuid(0, 0).ecx == 0x444d4163; // "cAMD"
    if (amd) {
        tap_ok(!r.eax && !r.ebx && !r.ecx && !r.edx, "leaves of no range are 0");
    }
}

void guest_main(void)
{
    hv_need();
    apic_enable(apic_has_x2());
    tap_is(smp_start_all(), machine.cpu_count, "all processors start");
    test_signature();
    test_leaves();
    test_nothing_else();
    test_same();
    test_privileges();
    test_recommendations();
    test_hardware();
    test_msrs();
    hv_setup();
    test_start_privilege();
    test_hints();
    test_honest();
    test_limits();
}
