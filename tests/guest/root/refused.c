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

void root_main(void)
{
    hv_need();
    hv_setup();
    test_calls();
    test_msrs();
    test_bits();
    test_properties();
}
