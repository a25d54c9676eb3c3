// SPDX-License-Identifier: BSD-2-Clause-Patent
// HvCallGetGpaPagesAccessState: what a child reads and writes shows, again and again, whatever the
// processor remembers; what it does not does not.
//
// rig: --lps 2
// rig: --lps 1
#include "con.h"
#include "cpu.h"
#include "hv/call_memory.h"
#include "hv/memory.h"
#include "hv/partition.h"
#include "hvcall.h"
#include "parent.h"
#include "rootprobe.h"
#include "tap.h"

#define FIRST  0x10u // GPA page; the code writes to the first and reads the second
#define PAGES  4u
#define ROUNDS 200u
#define BOTH   (HV_GPA_ACCESS_STATE_ACCESSED | HV_GPA_ACCESS_STATE_DIRTY)
#define CLEAR  (HV_GPA_ACCESS_STATE_CLEAR_ACCESSED | HV_GPA_ACCESS_STATE_CLEAR_DIRTY)

// mov ax, 0x1000; mov ds, ax; again: inc byte [0]; mov al, [0x1000]; out 0x42, al; jmp again
static const uint8_t code[] = {0xb8, 0x00, 0x10, 0x8e, 0xd8, 0xfe, 0x06, 0x00,
                               0x00, 0xa0, 0x00, 0x10, 0xe6, 0x42, 0xeb, 0xf5};
#define AFTER_OUT (CHILD_CODE + 14)

static struct child c;
static uint64_t own[PAGES];
static uint8_t states[PAGES];

static uint16_t track(uint64_t value)
{
    struct hv_input_set_partition_property in = {
        c.id, HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING, 0, value};
    return parent_call(HVCALL_SET_PARTITION_PROPERTY, &in, sizeof(in));
}

static uint16_t ask(uint64_t flags, uint64_t page)
{
    struct hv_input_get_gpa_pages_access_state in = {c.id, flags, page};
    uint32_t done = 0;
    memset(states, 0xff, sizeof(states));
    uint16_t status = hv_call_memory(HVCALL_GET_GPA_PAGES_ACCESS_STATE, PAGES, &in, sizeof(in),
                                     states, sizeof(states), &done);
    return status == HV_STATUS_SUCCESS && done != PAGES ? 0xffff : status;
}

static bool are(uint8_t first, uint8_t second, uint8_t others)
{
    bool right =
        states[0] == first && states[1] == second && states[2] == others && states[3] == others;
    if (!right) {
        tap_note("states %x %x %x %x", states[0], states[1], states[2], states[3]);
    }
    return right;
}

static bool out_comes(void)
{
    struct hv_message message;
    return message_wait(&message, PATIENCE_US) &&
           message.header.message_type == HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT;
}

static void test_refusals(void)
{
    tap_is(ask(0, FIRST), HV_STATUS_OPERATION_DENIED, "without the property it is denied");
    tap_is(track(2), HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, "the property is 0 or 1");
}

// Returns whether it can be had.
static bool test_property(void)
{
    bool tracks = cpuid(HV_CPUID_HARDWARE_FEATURES, 0).eax & HV_HARDWARE_EAX_GPA_ACCESS_TRACKING;
    tap_is(track(1), tracks ? HV_STATUS_SUCCESS : HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE,
           "tracking can be had where leaf 40000006 says so (%u)", tracks);
    return tracks;
}

static void test_rounds(void)
{
    uint32_t good = 0;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        child_go(&c, AFTER_OUT);
        good += out_comes() && ask(CLEAR, FIRST) == HV_STATUS_SUCCESS &&
                are(BOTH, HV_GPA_ACCESS_STATE_ACCESSED, 0);
    }
    tap_is(good, ROUNDS, "what is written and read shows each time, and nothing else");
}

static void test_hypervisor_writes(void)
{
    uint32_t result = ~0u;
    uint8_t byte = 1;
    parent_write_gpa(c.id, (FIRST + 2) << 12 | 8, 1, &byte, &result);
    tap_is(result, HV_ACCESS_GPA_SUCCESS, "WriteGpa writes");
    ask(CLEAR, FIRST);
    tap_ok(states[2] == BOTH && states[3] == 0, "and that shows (%x)", states[2]);
    ask(HV_GPA_ACCESS_STATE_SET_DIRTY, FIRST);
    ask(0, FIRST);
    tap_ok(states[3] == HV_GPA_ACCESS_STATE_DIRTY, "a page can be made dirty (%x)", states[3]);
}

void root_main(void)
{
    hv_need();
    hv_setup();
    messages_on();
    bool ready = child_prepare(&c);
    for (uint32_t i = 0; ready && i < PAGES; i++) {
        own[i] = page_take();
        ready = child_map(&c, FIRST + i, own[i], HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE);
    }
    if (!tap_ok(ready, "a child with %u pages", PAGES)) {
        return;
    }
    test_refusals();
    if (test_property()) {
        tap_ok(ask(CLEAR, FIRST) == HV_STATUS_SUCCESS && are(BOTH, BOTH, BOTH),
               "what was just mapped counts as written");
        child_run(&c, code, sizeof(code));
        tap_ok(out_comes(), "the child runs");
        ask(CLEAR, FIRST);
        test_rounds();
        test_hypervisor_writes();
        struct hv_input_get_gpa_pages_access_state wrong = {c.id, 0x10, FIRST};
        tap_is(hv_call_memory(HVCALL_GET_GPA_PAGES_ACCESS_STATE, 1, &wrong, sizeof(wrong), states,
                              1, NULL),
               HV_STATUS_INVALID_PARAMETER, "unknown flags are refused");
        tap_is(track(0), HV_STATUS_SUCCESS, "tracking ends");
    }
    tap_ok(child_delete(&c), "all pages come back");
}
