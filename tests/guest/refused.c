// SPDX-License-Identifier: BSD-2-Clause-Patent
// What Corbel does not have is refused as the reference says, and not advertised: to a child.
// tlfs-reference 1, 2, 4.
#include "refused.h"
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "refused_list.h"
#include "start.h"
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

static void test_msrs(void)
{
    tap_is(refused_msrs(msrs, COUNT(msrs)), 0, "%lu MSRs of the reference are #GP(0)", COUNT(msrs));
}

static void test_bits(void)
{
    tap_is(hv_privileges() & (0 REFUSED_PRIVILEGES(SUM)), 0,
           "privileges to what is not there are nobody's");
    tap_is(refused_bits(bits, COUNT(bits)), 0, "%lu features, hints and limits are not there",
           COUNT(bits));
}

void guest_main(void)
{
    hv_need();
    hv_setup();
    test_calls();
    test_msrs();
    test_bits();
}
