// SPDX-License-Identifier: BSD-2-Clause-Patent
// What a guest tells and asks the virtualization stack: extended hypercalls, and its crash with a
// text that the root shows. TLFS: Extended Hypercall Interface, Guest Crash Enlightenment.
//
// log: root: vm child: VP 0 reports a crash: 11 22 33 [0-9a-f]+ 35$
// log: vm child: first line of the crash
// log: vm child: second line, 7f is left out$
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "machine.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

_Alignas(4096) static struct hv_output_get_boot_zeroed_memory zeroed;
_Alignas(4096) static uint64_t capabilities[512];

static uint64_t call(uint16_t code, void *output)
{
    return hv_call(code, 0, hv_gpa(output));
}

static void test_capabilities(void)
{
    tap_ok(hv_privileges() & HV_PRIV_ENABLE_EXTENDED_HYPERCALLS, "extended hypercalls are allowed");
    tap_is(call(HVCALL_EXT_QUERY_CAPABILITIES, capabilities), HV_STATUS_SUCCESS,
           "HvExtCallQueryCapabilities succeeds");
    tap_is(capabilities[0], HV_EXT_CAPABILITY_GET_BOOT_ZEROED_MEMORY,
           "what can be had is the memory zeroed at boot");
    tap_is(call(HVCALL_EXT_MEMORY_HEAT_HINT, capabilities), HV_STATUS_INVALID_HYPERCALL_CODE,
           "what is not among the capabilities does not exist");
    tap_is(call(HVCALL_EXT_QUERY_CAPABILITIES, (uint8_t *)capabilities + 4),
           HV_STATUS_INVALID_ALIGNMENT, "output that is not aligned is refused");
    tap_is(hv_call(HVCALL_EXT_QUERY_CAPABILITIES, 0, 0xd0000000), HV_STATUS_INVALID_ALIGNMENT,
           "and output where there is no memory");
    tap_is(call(HVCALL_EXT_GET_BOOT_ZEROED_MEMORY, (uint8_t *)&zeroed + 16),
           HV_STATUS_INVALID_ALIGNMENT, "and output that crosses its page");
    tap_is(call(HVCALL_EXT_QUERY_CAPABILITIES, capabilities) |
               hv_call(HVCALL_EXT_QUERY_CAPABILITIES | HV_BIT(32), 0, hv_gpa(capabilities)),
           HV_STATUS_INVALID_HYPERCALL_INPUT, "a rep count is refused");
}

// Is [start, start + pages) RAM that reads as zeros? Low memory the program has written already.
static bool is_zero(uint64_t start, uint64_t pages)
{
    const volatile uint64_t *word = (const volatile uint64_t *)(start << 12);
    for (uint64_t i = 0; i < pages; i++) {
        if (!machine_is_ram((start + i) << 12)) {
            tap_note("page %lx is not RAM", start + i);
            return false;
        }
        for (unsigned n = 0; n < 512 && start + i > LOW_SNIPPET >> 12; n++) {
            if (word[i * 512 + n]) {
                tap_note("page %lx is not zero", start + i);
                return false;
            }
        }
    }
    return true;
}

static void test_zeroed(void)
{
    uint64_t end = 0, pages = 0;
    bool right = true, ascending = true;
    tap_is(call(HVCALL_EXT_GET_BOOT_ZEROED_MEMORY, &zeroed), HV_STATUS_SUCCESS,
           "HvExtCallGetBootZeroedMemory succeeds");
    for (uint64_t i = 0; i < zeroed.range_count; i++) {
        const struct hv_boot_zeroed_range *range = &zeroed.range[i];
        ascending &= range->start_gpa_page >= end && range->page_count;
        end = range->start_gpa_page + range->page_count;
        pages += range->page_count;
        right &= is_zero(range->start_gpa_page, range->page_count);
    }
    tap_ok(zeroed.range_count > 0 && zeroed.range_count <= HV_BOOT_ZEROED_MEMORY_MAX_RANGES &&
               ascending,
           "it tells ranges, ascending (%lu)", zeroed.range_count);
    tap_ok(right, "all of it is RAM and zero");
    tap_ok(pages > machine_ram_end() / 4096 / 2, "and most of the memory (%lu pages)", pages);
}

static void test_crash_text(void)
{
    static const char text[] = "first line of the crash\nsecond line, 7\x7f"
                               "f is left out\n";
    for (uint32_t i = 0; i < 3; i++) {
        wrmsr(HV_X64_MSR_CRASH_P(i), 0x11 * (i + 1));
    }
    wrmsr(HV_X64_MSR_CRASH_P(3), hv_gpa(text));
    wrmsr(HV_X64_MSR_CRASH_P(4), sizeof(text) - 1);
    wrmsr(HV_X64_MSR_CRASH_CTL, HV_CRASH_CTL_CRASH_NOTIFY | HV_CRASH_CTL_CRASH_MESSAGE);
    tap_is(rdmsr(HV_X64_MSR_CRASH_P(0)), 0x11, "a guest that has told its crash goes on");
    wrmsr(HV_X64_MSR_CRASH_P(3), ~0xffful);
    wrmsr(HV_X64_MSR_CRASH_P(4), ~0ul);
    wrmsr(HV_X64_MSR_CRASH_CTL, HV_CRASH_CTL_CRASH_NOTIFY | HV_CRASH_CTL_CRASH_MESSAGE);
    tap_is(rdmsr(HV_X64_MSR_CRASH_P(4)), ~0ul, "whatever it names as its text");
}

void guest_main(void)
{
    hv_need();
    hv_setup();
    test_capabilities();
    test_zeroed();
    test_crash_text();
}
