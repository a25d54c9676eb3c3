// SPDX-License-Identifier: BSD-2-Clause-Patent
// What Corbel does not have is refused as the reference says, and not advertised: to the root, and
// as a property of its child. tlfs-reference 1, 2, 4.
//
// rig: --lps 2
#include "refused.h"
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "parent.h"
#include "refused_list.h"
#include "rootprobe.h"
#include "tap.h"

enum { eax, ebx, ecx, edx };

#define ITEM(name)                name,
#define BIT(leaf, register, mask) {leaf, register, mask},
#define SUM(name)                 | (name)
#define COUNT(list)               (sizeof(list) / sizeof((list)[0]))

static const uint16_t calls[] = {REFUSED_HYPERCALLS(ITEM)};
static const uint16_t extended_calls[] = {REFUSED_EXTENDED_HYPERCALLS(ITEM)};
static const uint32_t msrs[] = {REFUSED_MSRS(ITEM)};
static const struct refused_bit bits[] = {REFUSED_CPUID_BITS(BIT)};
static const uint32_t properties[] = {REFUSED_PROPERTIES(ITEM)};

static struct child c;

static void test_calls(void)
{
    bool may = hv_privileges() & HV_PRIV_ENABLE_EXTENDED_HYPERCALLS;
    tap_is(refused_calls(calls, COUNT(calls), HV_STATUS_INVALID_HYPERCALL_CODE), 0,
           "%lu calls of the reference do not exist: INVALID_HYPERCALL_CODE", COUNT(calls));
    tap_is(refused_calls(extended_calls, COUNT(extended_calls),
                         may ? HV_STATUS_INVALID_HYPERCALL_CODE : HV_STATUS_ACCESS_DENIED),
           0, "nor do %lu extended ones, %s", COUNT(extended_calls),
           may ? "for one that may make such calls"
               : "which one without the privilege is not told");
}

static void look_at_msrs(void *wrong)
{
    *(unsigned *)wrong = refused_msrs(msrs, COUNT(msrs));
}

static void test_msrs(void)
{
    unsigned wrong = ~0u;
    efi_try(look_at_msrs, &wrong);
    tap_is(wrong, 0, "%lu MSRs of the reference are #GP(0)", COUNT(msrs));
}

static void test_bits(void)
{
    tap_is(hv_privileges() & (0 REFUSED_PRIVILEGES(SUM)), 0,
           "privileges to what is not there are nobody's");
    tap_is(refused_bits(bits, COUNT(bits)), 0, "%lu features, hints and limits are not there",
           COUNT(bits));
}

// Properties that can be read or set.
static unsigned known_properties(void)
{
    unsigned known = 0;
    for (unsigned i = 0; i < COUNT(properties); i++) {
        const struct hv_input_get_partition_property get = {c.id, properties[i], 0};
        const struct hv_input_set_partition_property set = {c.id, properties[i], 0, 0};
        uint64_t value = 0;
        if (parent_call_out(HVCALL_GET_PARTITION_PROPERTY, &get, sizeof(get), &value,
                            sizeof(value)) != HV_STATUS_UNKNOWN_PROPERTY ||
            parent_call(HVCALL_SET_PARTITION_PROPERTY, &set, sizeof(set)) !=
                HV_STATUS_UNKNOWN_PROPERTY) {
            tap_note("property %x is there", properties[i]);
            known++;
        }
    }
    return known;
}

static void test_properties(void)
{
    parent_create(0, &c.id);
    tap_is(known_properties(), 0, "%lu properties are unknown before a child is initialized",
           COUNT(properties));
    tap_ok(child_prepare_created(&c) && known_properties() == 0, "and afterwards");
    tap_ok(child_delete(&c), "every page comes back");
}

// ---- reserved fields --------------------------------------------------------------------------

#define NOBODY 0x123400ul // no partition, and no connection
#define VP1    1ul
#define STATE  (VP1 | (uint64_t)HV_VP_STATE_PAGE_INTERCEPT_MESSAGE << 32)

// A call that is refused for something else, or not at all, until the byte at `offset` is `bad`.
static const struct reserved_field {
    uint16_t code;
    uint8_t reps, offset, bad;
    uint64_t first, second; // of the input, which is zeros behind them
} reserved_fields[] = {
    {HVCALL_GET_PARTITION_PROPERTY, 0, 12, 1, NOBODY, 0},
    {HVCALL_SET_PARTITION_PROPERTY, 0, 15, 1, NOBODY, 0},
    {HVCALL_CREATE_VP, 0, 12, 1, NOBODY, VP1},
    {HVCALL_CREATE_VP, 0, 13, 1, NOBODY, VP1},
    {HVCALL_CREATE_VP, 0, 14, 1, NOBODY, VP1},
    {HVCALL_CREATE_VP, 0, 15, HV_SUBNODE_L3 + 1, NOBODY, VP1},
    {HVCALL_CREATE_VP, 0, 28, 2, NOBODY, VP1},
    {HVCALL_CREATE_VP, 0, 32, 1, NOBODY, VP1},
    {HVCALL_DELETE_VP, 0, 12, 1, NOBODY, VP1},
    {HVCALL_GET_VP_REGISTERS, 1, 12, 0x20, NOBODY, VP1},
    {HVCALL_GET_VP_REGISTERS, 1, 13, 1, NOBODY, VP1},
    {HVCALL_SET_VP_REGISTERS, 1, 14, 1, NOBODY, VP1},
    {HVCALL_SET_VP_REGISTERS, 1, 15, 1, NOBODY, VP1},
    {HVCALL_START_VIRTUAL_PROCESSOR, 0, 13, 1, NOBODY, VP1},
    {HVCALL_START_VIRTUAL_PROCESSOR, 0, 14, 1, NOBODY, VP1},
    {HVCALL_START_VIRTUAL_PROCESSOR, 0, 15, 1, NOBODY, VP1},
    {HVCALL_GET_VP_INDEX_FROM_APIC_ID, 1, 9, 1, NOBODY, 0},
    {HVCALL_GET_VP_INDEX_FROM_APIC_ID, 1, 15, 1, NOBODY, 0},
    {HVCALL_GET_VP_CPUID_VALUES, 1, 12, 4, NOBODY, VP1},
    {HVCALL_GET_VP_CPUID_VALUES, 1, 16, 1, NOBODY, VP1},
    {HVCALL_MAP_VP_STATE_PAGE, 0, 14, 0x20, NOBODY, STATE},
    {HVCALL_MAP_VP_STATE_PAGE, 0, 15, 2, NOBODY, STATE},
    {HVCALL_UNMAP_VP_STATE_PAGE, 0, 15, 1, NOBODY, STATE},
    {HVCALL_POST_MESSAGE, 0, 4, 1, NOBODY, 1},
    {HVCALL_SIGNAL_EVENT, 0, 6, 1, NOBODY, 0},
    {HVCALL_NOTIFY_PORT_RING_EMPTY, 0, 4, 1, 5, 0},
    {HVCALL_GET_SYSTEM_PROPERTY, 0, 4, 1, HV_SYSTEM_PROPERTY_SCHEDULER_TYPE, 0},
};

_Alignas(4096) static uint8_t field_input[4096];
_Alignas(4096) static uint8_t field_output[4096];

static uint16_t call_with(const struct reserved_field *f, uint8_t value)
{
    memset(field_input, 0, sizeof(field_input));
    memcpy(field_input, &f->first, 8);
    memcpy(field_input + 8, &f->second, 8);
    field_input[f->offset] |= value;
    return hv_hypercall_result_status(hv_call(hv_hypercall_control(f->code, false, 0, f->reps),
                                              hv_gpa(field_input), hv_gpa(field_output)));
}

static void test_reserved(void)
{
    unsigned wrong = 0;
    for (unsigned i = 0; i < COUNT(reserved_fields); i++) {
        const struct reserved_field *f = &reserved_fields[i];
        uint16_t without = call_with(f, 0), with = call_with(f, f->bad);
        if (without == HV_STATUS_INVALID_PARAMETER || with != HV_STATUS_INVALID_PARAMETER) {
            tap_note("call %x, byte %u: %x, and reserved %x", f->code, f->offset, without, with);
            wrong++;
        }
    }
    tap_is(wrong, 0, "%lu reserved fields and flags: INVALID_PARAMETER", COUNT(reserved_fields));
}

void root_main(void)
{
    hv_need();
    hv_setup();
    test_calls();
    test_msrs();
    test_bits();
    test_properties();
    test_reserved();
}
