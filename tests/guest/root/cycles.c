// SPDX-License-Identifier: BSD-2-Clause-Patent
// Creating, running and deleting a partition a thousand times leaks nothing: neither a page of the
// parent's nor one of the pool that pays for partitions.
//
// rig: --lps 2
// timeout: 300
#include "con.h"
#include "hvcall.h"
#include "parent.h"
#include "rootprobe.h"
#include "tap.h"

#define CYCLES 1000
#define VPS    3

static const uint8_t code[] = {0xe6, 0x42, 0xf4}; // OUT 0x42, AL; HLT

static bool one_cycle(void)
{
    struct hv_message message;
    struct child c;
    bool right = child_prepare(&c);
    for (uint32_t vp = 1; right && vp < VPS; vp++) {
        right = child_create_vp(&c, vp);
    }
    if (right) {
        child_run(&c, code, sizeof(code));
        right = message_wait(&message, PATIENCE_US) &&
                message.header.message_type == HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT &&
                message.header.origination_id == c.id;
    }
    return child_delete(&c) && right;
}

// Deleted while it runs, its message unread.
static bool one_abrupt_cycle(void)
{
    static const uint8_t loop[] = {0xeb, 0xfe};
    struct child c;
    bool right = child_prepare(&c);
    if (right) {
        child_run(&c, loop, sizeof(loop));
    }
    return child_delete(&c) && right;
}

void root_main(void)
{
    struct hv_output_get_memory_balance before = {0}, after = {0};
    hv_need();
    hv_setup();
    messages_on();
    tap_ok(one_cycle() && one_abrupt_cycle(), "a partition is created, run and deleted");
    parent_balance(HV_PARTITION_ID_SELF, &before);
    uint32_t free = pages_free(), good = 0;
    for (int i = 0; i < CYCLES; i++) {
        good += i % 10 ? one_cycle() : one_abrupt_cycle();
        if (i % 100 == 99) {
            tap_note("%d cycles", i + 1);
        }
    }
    parent_balance(HV_PARTITION_ID_SELF, &after);
    tap_is(good, CYCLES, "%u more times", CYCLES);
    tap_is(pages_free(), free, "every page of the parent's is back");
    tap_ok(after.pages_available == before.pages_available &&
               after.pages_in_use == before.pages_in_use,
           "the root's pool is as before (%lu and %lu, %lu and %lu)", before.pages_available,
           before.pages_in_use, after.pages_available, after.pages_in_use);
    struct hv_input_get_next_child_partition in = {HV_PARTITION_ID_SELF, 0};
    struct hv_output_get_next_child_partition out = {~0ul};
    parent_call_out(HVCALL_GET_NEXT_CHILD_PARTITION, &in, sizeof(in), &out, sizeof(out));
    tap_is(out.next_child_id, 0, "no partition is left");
}
