// SPDX-License-Identifier: BSD-2-Clause-Patent
// A parent's hand in what CPUID tells its child: registered results, HvCallGetVpCpuidValues, and
// the synthetic features that it gives before the child is initialized.
//
// rig: --lps 2
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "parent.h"
#include "rootprobe.h"
#include "tap.h"

#define LEAF1_ECX_OSXSAVE (1u << 27)
#define LEAF_D            0xdu

// cpuid; out %al, $0x42; hlt
static const uint8_t code[] = {0x0f, 0xa2, 0xe6, 0x42, 0xf4};

static struct child c;

static bool same(const struct cpuid *a, const struct cpuid *b)
{
    return a->eax == b->eax && a->ebx == b->ebx && a->ecx == b->ecx && a->edx == b->edx;
}

// What the child's VP 0 finds; false when it does not come back.
static bool ask(uint32_t leaf, uint32_t subleaf, struct cpuid *r)
{
    struct hv_message message;
    *r = (struct cpuid){0};
    parent_set64(c.id, 0, HV_REGISTER_RAX, leaf);
    parent_set64(c.id, 0, HV_REGISTER_RCX, subleaf);
    child_run(&c, code, sizeof(code));
    if (!message_wait(&message, PATIENCE_US) ||
        message.header.message_type != HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT) {
        tap_note("leaf %x: no port message", leaf);
        return false;
    }
    r->eax = (uint32_t)parent_get64(c.id, 0, HV_REGISTER_RAX);
    r->ebx = (uint32_t)parent_get64(c.id, 0, HV_REGISTER_RBX);
    r->ecx = (uint32_t)parent_get64(c.id, 0, HV_REGISTER_RCX);
    r->edx = (uint32_t)parent_get64(c.id, 0, HV_REGISTER_RDX);
    return true;
}

// HvCallGetVpCpuidValues of one leaf.
static uint16_t values(uint32_t leaf, uint32_t subleaf, uint64_t xfem, uint32_t flags,
                       struct cpuid *r)
{
    struct {
        struct hv_input_get_vp_cpuid_values in;
        struct hv_cpuid_leaf_info leaf;
    } call = {{c.id, 0, flags, 0, 0}, {leaf, subleaf, xfem, 0}};
    return hv_call_memory(HVCALL_GET_VP_CPUID_VALUES, 1, &call, sizeof(call), r, sizeof(*r), NULL);
}

// ---- what is there ----------------------------------------------------------------------------

static void test_values(void)
{
    static const uint32_t leaves[][2] = {
        {0, 0},          {1, 0},          {7, 0},          {7, 1},          {0xb, 0},
        {0xb, 1},        {0xd, 0},        {0xd, 1},        {0xd, 2},        {0x40000000, 0},
        {0x40000001, 0}, {0x40000002, 0}, {0x40000003, 0}, {0x40000004, 0}, {0x40000005, 0},
        {0x40000006, 0}, {0x40000007, 0}, {0x40000008, 0}, {0x40000009, 0}, {0x4000000a, 0},
        {0x4000000b, 0}, {0x80000000, 0}, {0x80000001, 0}, {0x80000008, 0}, {0x50000000, 0}};
    unsigned wrong = 0;
    for (unsigned i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
        struct cpuid seen, told = {0};
        bool back = ask(leaves[i][0], leaves[i][1], &seen);
        uint16_t status =
            values(leaves[i][0], leaves[i][1], 0, HV_CPUID_VALUES_USE_VP_XFEM_XSS, &told);
        if (!back || status != HV_STATUS_SUCCESS || !same(&seen, &told)) {
            tap_note("leaf %x.%x: status %x, EAX %x and %x", leaves[i][0], leaves[i][1], status,
                     seen.eax, told.eax);
            wrong++;
        }
    }
    tap_is(wrong, 0, "HvCallGetVpCpuidValues answers what CPUID tells the VP");
    struct cpuid legacy, avx;
    values(LEAF_D, 0, 3, 0, &legacy);
    values(LEAF_D, 0, 7, 0, &avx);
    if (legacy.eax & 4) {
        tap_ok(legacy.ebx == 576 && avx.ebx > 576,
               "leaf D tells the size of the XFEM that is asked for (%u, %u)", legacy.ebx, avx.ebx);
    } else {
        tap_skip("no AVX", "leaf D tells the size of the XFEM that is asked for");
    }
}

static void test_values_refused(void)
{
    struct cpuid r;
    struct hv_input_get_vp_cpuid_values in = {c.id, 7, 0, 0, 0};
    tap_is(values(1, 0, 0, 4, &r), HV_STATUS_INVALID_PARAMETER,
           "HvCallGetVpCpuidValues: a reserved flag is refused");
    tap_is(hv_call_memory(HVCALL_GET_VP_CPUID_VALUES, 1, &in, sizeof(in), NULL, 0, NULL),
           HV_STATUS_INVALID_VP_INDEX, "HvCallGetVpCpuidValues: so is a VP that is not there");
    in.partition_id = HV_PARTITION_ID_SELF;
    tap_is(hv_call_memory(HVCALL_GET_VP_CPUID_VALUES, 1, &in, sizeof(in), NULL, 0, NULL),
           HV_STATUS_ACCESS_DENIED, "HvCallGetVpCpuidValues: and the caller itself");
}

// ---- registered results -----------------------------------------------------------------------

static uint16_t put(uint32_t vp, const struct hv_register_cpuid_result *result)
{
    struct hv_input_register_cpuid_result in = {c.id, vp, HV_INTERCEPT_TYPE_X64_CPUID, *result};
    return child_paid(&c, HVCALL_REGISTER_INTERCEPT_RESULT, &in, sizeof(in));
}

static uint16_t take(uint32_t vp, uint32_t leaf, uint32_t subleaf, uint8_t specific)
{
    struct hv_input_unregister_cpuid_result in = {
        c.id, vp, HV_INTERCEPT_TYPE_X64_CPUID, leaf, subleaf, specific, {0}};
    return parent_call(HVCALL_UNREGISTER_INTERCEPT_RESULT, &in, sizeof(in));
}

#define FULL(number)                                                                               \
    {                                                                                              \
        (number), 0xffffffffu                                                                      \
    }

static void test_registered(void)
{
    struct cpuid before, r;
    const struct hv_register_cpuid_result brand = {.eax = 0x80000002,
                                                   .out_eax = FULL(0x62726f43), // "Corb"
                                                   .out_ebx = {0x12345678, 0xff00}};
    ask(0x80000002, 0, &before);
    tap_is(put(HV_ANY_VP, &brand), HV_STATUS_SUCCESS, "a CPUID result is registered");
    ask(0x80000002, 9, &r);
    tap_ok(r.eax == 0x62726f43 && r.ebx == ((before.ebx & ~0xff00u) | 0x5600) &&
               r.ecx == before.ecx && r.edx == before.edx,
           "the child sees it where the masks say, in every subleaf, and the rest as before");
    values(0x80000002, 0, 0, HV_CPUID_VALUES_APPLY_REGISTERED_RESULTS, &r);
    tap_is(r.eax, 0x62726f43, "HvCallGetVpCpuidValues applies registered results when asked to");
    values(0x80000002, 0, 0, 0, &r);
    tap_ok(same(&r, &before), "and else leaves them out");
    const struct hv_register_cpuid_result third = {
        .eax = 0x80000002, .ecx = 3, .subleaf_specific = 1, .out_eax = FULL(0x33333333)};
    tap_is(put(HV_ANY_VP, &third), HV_STATUS_SUCCESS, "a second one is for subleaf 3 only");
    ask(0x80000002, 3, &r);
    tap_is(r.eax, 0x33333333, "there it wins over the first");
    ask(0x80000002, 2, &r);
    tap_is(r.eax, 0x62726f43, "and nowhere else");
    const struct hv_register_cpuid_result own = {.eax = 0x80000002, .out_eax = FULL(0x44444444)};
    tap_is(put(0, &own), HV_STATUS_SUCCESS, "a third is for VP 0 only");
    ask(0x80000002, 3, &r);
    tap_is(r.eax, 0x44444444, "what is for one VP wins over what is for all");
    tap_is(take(0, 0x80000002, 0, 0), HV_STATUS_SUCCESS, "it is unregistered");
    ask(0x80000002, 3, &r);
    tap_is(r.eax, 0x33333333, "and gone");
    tap_ok(take(HV_ANY_VP, 0x80000002, 3, 1) == HV_STATUS_SUCCESS &&
               take(HV_ANY_VP, 0x80000002, 0, 0) == HV_STATUS_SUCCESS,
           "so are the others");
    ask(0x80000002, 3, &r);
    tap_ok(same(&r, &before), "the leaf is as it was");
    tap_is(take(HV_ANY_VP, 0x80000002, 0, 0), HV_STATUS_INVALID_PARAMETER,
           "what is not registered cannot be unregistered");
}

// The hypervisor keeps some of a VP's answers itself.
static void test_override(void)
{
    struct cpuid r;
    struct hv_register_cpuid_result one = {
        .eax = 1, .out_ebx = FULL(0x77000000), .out_ecx = {LEAF1_ECX_OSXSAVE, LEAF1_ECX_OSXSAVE}};
    put(HV_ANY_VP, &one);
    ask(1, 0, &r);
    tap_is(r.ebx >> 24, 0, "without AlwaysOverride the VP's own APIC id wins over a result");
    one.always_override = 1;
    tap_is(put(HV_ANY_VP, &one), HV_STATUS_SUCCESS, "a result is replaced by another of its key");
    ask(1, 0, &r);
    tap_is(r.ebx >> 24, 0x77, "with AlwaysOverride the result wins");
    tap_ok(!(r.ecx & LEAF1_ECX_OSXSAVE), "OSXSAVE mirrors CR4 whatever is registered");
    take(HV_ANY_VP, 1, 0, 0);
}

static void test_registered_refused(void)
{
    struct hv_register_cpuid_result result = {.eax = 2, .subleaf_specific = 2};
    tap_is(put(HV_ANY_VP, &result), HV_STATUS_INVALID_PARAMETER,
           "SubleafSpecific other than 0 and 1 is refused");
    result = (struct hv_register_cpuid_result){.eax = 2, .always_override = 2};
    tap_is(put(HV_ANY_VP, &result), HV_STATUS_INVALID_PARAMETER, "and AlwaysOverride");
    result = (struct hv_register_cpuid_result){.eax = 2};
    tap_is(put(9, &result), HV_STATUS_INVALID_VP_INDEX, "and a VP that is not there");
    struct hv_input_register_cpuid_result in = {c.id, HV_ANY_VP, HV_INTERCEPT_TYPE_X64_MSR, result};
    tap_is(parent_call(HVCALL_REGISTER_INTERCEPT_RESULT, &in, sizeof(in)),
           HV_STATUS_INVALID_PARAMETER, "and a type that has no results");
    in.intercept_type = HV_INTERCEPT_TYPE_X64_CPUID;
    in.partition_id = HV_PARTITION_ID_SELF;
    tap_is(parent_call(HVCALL_REGISTER_INTERCEPT_RESULT, &in, sizeof(in)), HV_STATUS_ACCESS_DENIED,
           "and the caller itself");
}

// More results than one page of the child's pool holds; they go with the child.
static void test_many(void)
{
    uint16_t status = HV_STATUS_SUCCESS;
    for (uint32_t i = 0; i < 200 && status == HV_STATUS_SUCCESS; i++) {
        const struct hv_register_cpuid_result result = {
            .eax = 0x80000003, .ecx = i, .subleaf_specific = 1, .out_edx = FULL(0x1000 + i)};
        status = put(HV_ANY_VP, &result);
    }
    tap_is(status, HV_STATUS_SUCCESS, "200 results are registered, paid from the child's pool");
    struct cpuid first, last;
    ask(0x80000003, 0, &first);
    ask(0x80000003, 199, &last);
    tap_ok(first.edx == 0x1000 && last.edx == 0x1000 + 199, "the first and the last are there");
}

// ---- features -----------------------------------------------------------------------------------

static uint16_t set_features(uint64_t id, uint64_t features)
{
    struct hv_input_set_partition_property in = {id, HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES,
                                                 0, features};
    return parent_call(HVCALL_SET_PARTITION_PROPERTY, &in, sizeof(in));
}

static uint64_t get_property(uint64_t id, uint32_t code_of)
{
    struct hv_input_get_partition_property in = {id, code_of, 0};
    uint64_t value = ~0ul;
    parent_call_out(HVCALL_GET_PARTITION_PROPERTY, &in, sizeof(in), &value, sizeof(value));
    return value;
}

static const uint64_t some_features =
    HV_SYNTH_FEATURE_HYPERVISOR_PRESENT | HV_SYNTH_FEATURE_HV1 |
    HV_SYNTH_FEATURE_ACCESS_HYPERCALL_REGS | HV_SYNTH_FEATURE_ACCESS_VP_INDEX |
    HV_SYNTH_FEATURE_ACCESS_SYNIC_REGS | HV_SYNTH_FEATURE_ACCESS_PARTITION_REFERENCE_COUNTER |
    HV_SYNTH_FEATURE_SYNTHETIC_CLUSTER_IPI;

static void test_feature_leaves(void)
{
    struct cpuid features, hints;
    ask(HV_CPUID_FEATURES, 0, &features);
    ask(HV_CPUID_ENLIGHTENMENT_INFO, 0, &hints);
    uint64_t privileges = (uint64_t)features.ebx << 32 | features.eax;
    tap_ok((privileges & HV_PRIV_ACCESS_SYNIC_REGS) &&
               (privileges & HV_PRIV_ACCESS_PARTITION_REFERENCE_COUNTER) &&
               !(privileges & HV_PRIV_ACCESS_SYNTHETIC_TIMER_REGS) &&
               !(privileges & HV_PRIV_ACCESS_INTR_CTRL_REGS),
           "leaf 40000003 shows the privileges that were given (%lx)", privileges);
    tap_ok(!(features.edx & HV_FEATURE_EDX_DIRECT_SYNTHETIC_TIMERS) &&
               (features.edx & HV_FEATURE_EDX_SINT_POLLING_MODE),
           "and the features that go with them (%x)", features.edx);
    tap_ok((hints.eax & HV_HINT_EAX_CLUSTER_IPI) && !(hints.eax & HV_HINT_EAX_APIC_MSRS) &&
               !(hints.eax & HV_HINT_EAX_REMOTE_TLB_FLUSH_HYPERCALL) &&
               !(hints.eax & HV_HINT_EAX_EX_PROCESSOR_MASKS) &&
               !(hints.eax & HV_HINT_EAX_RESTORE_TIME_ON_RESUME),
           "leaf 40000004 recommends what was given and nothing else (%x)", hints.eax);
    tap_is(hints.ebx, HV_HINT_EBX_NEVER_NOTIFY, "and never to notify of long waits");
}

static void test_features(void)
{
    c = (struct child){0};
    if (!tap_is(parent_create(0, &c.id), HV_STATUS_SUCCESS, "a partition is created")) {
        return;
    }
    uint64_t all = get_property(c.id, HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES);
    tap_ok(all != ~0ul && (all & some_features) == some_features, "it has features already (%lx)",
           all);
    tap_is(set_features(c.id, some_features | HV_SYNTH_FEATURE_ENLIGHTENED_VMCS),
           HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, "a feature that is not there is refused");
    tap_is(set_features(c.id, some_features & ~HV_SYNTH_FEATURE_HV1),
           HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, "a partition without Hv#1 too");
    tap_is(set_features(c.id, some_features & ~HV_SYNTH_FEATURE_ACCESS_VP_INDEX),
           HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, "and one that lacks what Hv#1 must have");
    tap_is(set_features(c.id, some_features), HV_STATUS_SUCCESS, "some features are given");
    tap_is(get_property(c.id, HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES), some_features,
           "and read back");
    tap_is(get_property(c.id, HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS) &
               (HV_PRIV_ACCESS_SYNTHETIC_TIMER_REGS | HV_PRIV_ACCESS_INTR_CTRL_REGS),
           0, "the privileges follow, the others are gone");
    if (!tap_ok(child_prepare_created(&c), "it is initialized, with a VP")) {
        return;
    }
    tap_is(set_features(c.id, all), HV_STATUS_INVALID_PARTITION_STATE,
           "an initialized partition keeps its features");
    test_feature_leaves();
    tap_ok(child_delete(&c), "every page comes back");
}

void root_main(void)
{
    hv_need();
    hv_setup();
    messages_on();
    if (!tap_ok(child_prepare(&c), "a child is made")) {
        return;
    }
    test_values();
    test_values_refused();
    test_registered();
    test_override();
    test_registered_refused();
    test_many();
    tap_ok(child_delete(&c), "every page comes back");
    test_features();
}
