// SPDX-License-Identifier: BSD-2-Clause-Patent
// Processor features that a parent withholds when it creates a partition: gone from CPUID, from
// CR4, XCR0 and the MSRs, and from what the properties tell (tlfs-reference 1.6, 2.19).
//
// rig: --lps 2
#include "hv/features.h"
#include "con.h"
#include "cpu.h"
#include "hv/partition.h"
#include "hvcall.h"
#include "parent.h"
#include "realmode.h"
#include "rootprobe.h"
#include "tap.h"

#define CR4_PSE      (1ul << 4)
#define CR4_SMEP     (1ul << 20)
#define TSC_DEADLINE 0x6e0u
#define TSC_AUX      0xc0000103u
#define APIC_SVR     0x80fu

// Leaf 7: what needs AVX-512's state.
#define AVX512_EBX (1u << 16 | 1u << 17 | 1u << 21 | 1u << 28 | 1u << 30 | 1u << 31)
#define AVX512_ECX (1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14)

// What is withheld, and where CPUID shows it.
static const uint64_t withheld0 = HV_PROC_FEATURE0_SSE4_1 | HV_PROC_FEATURE0_AES |
                                  HV_PROC_FEATURE0_RDRAND | HV_PROC_FEATURE0_SMEP |
                                  HV_PROC_FEATURE0_LZCNT | HV_PROC_FEATURE0_RDTSCP |
                                  HV_PROC_FEATURE0_RDPID;
static const uint64_t withheld1 = HV_PROC_FEATURE1_TSC_DEADLINE_TMR;

static const struct {
    uint32_t leaf, subleaf;
    struct cpuid bits; // that are withheld
} places[] = {
    {0x00000001,
     0,
     {.ecx = 1u << 19 | 1u << 25 | 1u << 30 | 1u << 24 |  // SSE4.1, AES, RDRAND, timer
             1u << 26 | 1u << 12 | 1u << 28 | 1u << 29}}, // XSAVE, FMA, AVX, F16C
    {0x00000007,
     0,
     {.ebx = 1u << 7 | 1u << 5 | AVX512_EBX, .ecx = 1u << 22 | 1u << 9 | 1u << 10 | AVX512_ECX}},
    {0x0000000d, 0, {~0u, ~0u, ~0u, ~0u}},
    {0x0000000d, 1, {~0u, ~0u, ~0u, ~0u}},
    {0x80000001, 0, {.ecx = 1u << 5 | 1u << 11 | 1u << 16, .edx = 1u << 27}},
    {0x80000002, 0, {0}},
    {0x80000008, 0, {0}},
};
#define PLACES (sizeof(places) / sizeof(places[0]))

static struct child whole, less;
static struct hv_message message;

static uint16_t create(struct child *c, uint64_t bank0, uint64_t bank1, uint64_t xsave)
{
    struct hv_input_create_partition in = {.disabled_processor_features = {bank0, bank1},
                                           .disabled_xsave_features = xsave,
                                           .compatibility_version = HV_COMPATIBILITY_VERSION_21_H2};
    struct hv_output_create_partition out = {0};
    uint16_t status = parent_call_out(HVCALL_CREATE_PARTITION, &in, sizeof(in), &out, sizeof(out));
    *c = (struct child){.id = out.partition_id};
    return status;
}

static uint64_t property(uint64_t id, uint32_t code)
{
    struct hv_input_get_partition_property in = {id, code, 0};
    uint64_t value = ~0ul;
    parent_call_out(HVCALL_GET_PARTITION_PROPERTY, &in, sizeof(in), &value, sizeof(value));
    return value;
}

// ---- CPUID --------------------------------------------------------------------------------------

CODE(cpuid_code, "cpuid\n out %al, $0x42\n hlt")

static struct cpuid ask(struct child *c, uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r = {0};
    parent_set64(c->id, 0, HV_REGISTER_RAX, leaf);
    parent_set64(c->id, 0, HV_REGISTER_RCX, subleaf);
    RUN(c, cpuid_code);
    if (!message_wait(&message, PATIENCE_US))
        tap_bail_out("leaf %x: no message", leaf);
    r.eax = (uint32_t)parent_get64(c->id, 0, HV_REGISTER_RAX);
    r.ebx = (uint32_t)parent_get64(c->id, 0, HV_REGISTER_RBX);
    r.ecx = (uint32_t)parent_get64(c->id, 0, HV_REGISTER_RCX);
    r.edx = (uint32_t)parent_get64(c->id, 0, HV_REGISTER_RDX);
    return r;
}

static void test_leaves(void)
{
    uint64_t seen = 0;
    for (unsigned i = 0; i < PLACES; i++) {
        const struct cpuid *bits = &places[i].bits;
        struct cpuid all = ask(&whole, places[i].leaf, places[i].subleaf);
        struct cpuid r = ask(&less, places[i].leaf, places[i].subleaf);
        seen |= (all.ebx & bits->ebx) | (all.ecx & bits->ecx);
        tap_ok(r.eax == (all.eax & ~bits->eax) && r.ebx == (all.ebx & ~bits->ebx) &&
                   r.ecx == (all.ecx & ~bits->ecx) && r.edx == (all.edx & ~bits->edx),
               "leaf %x.%u lacks what is withheld and nothing else (%x %x %x %x of %x %x %x %x)",
               places[i].leaf, places[i].subleaf, r.eax, r.ebx, r.ecx, r.edx, all.eax, all.ebx,
               all.ecx, all.edx);
    }
    tap_ok(seen, "the machine has some of it");
}

// ---- CR4, XCR0 ----------------------------------------------------------------------------------

CODE(cr4_code, "mov %cr4, %ecx\n or %ebx, %ecx\n mov %ecx, %cr4\n mov %cr4, %eax\n"
               "out %al, $0x42\n hlt")

// Whether the child gets the bit.
static bool takes_cr4(struct child *c, uint64_t bit)
{
    parent_set64(c->id, 0, HV_REGISTER_CR4, 0);
    parent_set64(c->id, 0, HV_REGISTER_RBX, bit);
    RUN(c, cr4_code);
    if (!message_wait(&message, PATIENCE_US))
        tap_bail_out("CR4: no message");
    return message.header.message_type == HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT &&
           (parent_get64(c->id, 0, HV_REGISTER_CR4) & bit) &&
           (parent_get64(c->id, 0, HV_REGISTER_RAX) & bit);
}

static void test_cr4(void)
{
    bool smep = ask(&whole, 7, 0).ebx >> 7 & 1, xsave = ask(&whole, 1, 0).ecx >> 26 & 1;
    tap_ok(takes_cr4(&whole, CR4_SMEP) == smep && takes_cr4(&whole, CR4_OSXSAVE) == xsave,
           "a child with all features sets CR4.SMEP and OSXSAVE where they are (%u, %u)", smep,
           xsave);
    tap_ok(takes_cr4(&less, CR4_PSE), "the other sets bits that it has");
    tap_ok(!takes_cr4(&less, CR4_SMEP) &&
               message.header.message_type == HV_MESSAGE_TYPE_EXCEPTION_INTERCEPT,
           "SMEP is #GP where it is withheld");
    tap_ok(!takes_cr4(&less, CR4_OSXSAVE) &&
               message.header.message_type == HV_MESSAGE_TYPE_EXCEPTION_INTERCEPT,
           "and so is OSXSAVE");
    tap_is(parent_get64(less.id, 0, HV_REGISTER_CR4), 0, "CR4 is as it was");
    tap_ok(parent_set64(less.id, 0, HV_REGISTER_CR4, CR4_SMEP) ==
                   HV_STATUS_INVALID_REGISTER_VALUE &&
               parent_set64(less.id, 0, HV_REGISTER_CR4, CR4_PSE) == HV_STATUS_SUCCESS,
           "the parent cannot set it either");
    tap_ok((parent_set64(whole.id, 0, HV_REGISTER_XFEM, 7) == HV_STATUS_SUCCESS) == xsave &&
               parent_set64(less.id, 0, HV_REGISTER_XFEM, 7) == HV_STATUS_INVALID_REGISTER_VALUE,
           "nor an XSAVE component that is withheld");
}

// ---- MSRs ---------------------------------------------------------------------------------------

CODE(msr_code, "rdmsr\n out %al, $0x42\n hlt")

static bool reads_msr(struct child *c, uint32_t msr)
{
    parent_set64(c->id, 0, HV_REGISTER_RCX, msr);
    RUN(c, msr_code);
    if (!message_wait(&message, PATIENCE_US))
        tap_bail_out("MSR %x: no message", msr);
    return message.header.message_type == HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT;
}

static void test_msrs(void)
{
    bool rdtscp = ask(&whole, 0x80000001, 0).edx >> 27 & 1;
    tap_ok(reads_msr(&whole, TSC_DEADLINE) && !reads_msr(&less, TSC_DEADLINE),
           "the TSC deadline's MSR goes with the feature");
    tap_ok(reads_msr(&whole, TSC_AUX) == rdtscp && !reads_msr(&less, TSC_AUX),
           "and TSC_AUX with RDTSCP and RDPID");
}

// ---- properties ---------------------------------------------------------------------------------

static void test_properties(void)
{
    static const uint32_t codes[] = {HV_PARTITION_PROPERTY_PROCESSOR_FEATURES0,
                                     HV_PARTITION_PROPERTY_PROCESSOR_FEATURES1,
                                     HV_PARTITION_PROPERTY_PROCESSOR_FEATURES_DEPRECATED};
    static const uint64_t withheld[] = {withheld0, withheld1, withheld0};
    const uint64_t avx = HV_PROC_FEATURE0_F16C | HV_PROC_FEATURE0_FMA4 | HV_PROC_FEATURE0_XOP;
    for (unsigned i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        uint64_t all = property(whole.id, codes[i]), has = property(less.id, codes[i]);
        tap_ok((all & withheld[i]) && has == (all & ~withheld[i] & ~(i == 1 ? 0 : avx)),
               "property %x tells what is left (%lx of %lx)", codes[i], has, all);
        tap_is(property(HV_PARTITION_ID_SELF, codes[i]), all, "and of the root, all");
    }
    bool xsave = ask(&whole, 1, 0).ecx >> 26 & 1;
    uint64_t features = property(whole.id, HV_PARTITION_PROPERTY_PROCESSOR_XSAVE_FEATURES);
    tap_ok(!!(features & HV_XSAVE_FEATURE_XSAVE) == xsave &&
               !property(less.id, HV_PARTITION_PROPERTY_PROCESSOR_XSAVE_FEATURES),
           "without XSAVE nothing is left of its features");
    tap_ok(property(less.id, HV_PARTITION_PROPERTY_XSAVE_STATES) == 3 &&
               (property(whole.id, HV_PARTITION_PROPERTY_XSAVE_STATES) > 3) == xsave,
           "nor of its states, but those that FXSAVE keeps");
}

// A parent that knows fewer features than there are withholds all it does not know.
static void test_everything(void)
{
    struct child c;
    tap_is(create(&c, ~0ul, ~0ul, ~0ul), HV_STATUS_SUCCESS,
           "every bit may be withheld, unknown ones too");
    if (tap_ok(child_prepare_created(&c), "such a partition is initialized")) {
        struct cpuid r = ask(&c, 1, 0);
        tap_ok(!(r.ecx & (1u << 0 | 1u << 9 | 1u << 23 | 1u << 26)) && (r.ecx >> 31),
               "and runs, with little more than a hypervisor beneath it (%x)", r.ecx);
    }
    tap_ok(child_delete(&c), "every page comes back");
}

void root_main(void)
{
    hv_need();
    hv_setup();
    messages_on();
    tap_ok(child_prepare(&whole), "a child has all features");
    tap_is(create(&less, withheld0, withheld1, HV_XSAVE_FEATURE_XSAVE), HV_STATUS_SUCCESS,
           "another is created with some withheld");
    if (!tap_ok(child_prepare_created(&less), "and initialized")) {
        return;
    }
    parent_install(whole.id, HV_INTERCEPT_TYPE_EXCEPTION, HV_INTERCEPT_ACCESS_MASK_EXECUTE, 13);
    parent_install(less.id, HV_INTERCEPT_TYPE_EXCEPTION, HV_INTERCEPT_ACCESS_MASK_EXECUTE, 13);
    test_leaves();
    test_cr4();
    test_msrs();
    test_properties();
    test_everything();
    tap_ok(child_delete(&less) && child_delete(&whole), "every page comes back");
}
