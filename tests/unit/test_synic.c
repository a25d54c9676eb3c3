// SPDX-License-Identifier: BSD-2-Clause-Patent
// SynIC: registers, message slots, queues, event flags, and the MessagePending race.
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "corbel/synic.h"
#include "hv/msr.h"
#include "hv/synic.h"

static _Alignas(4096) struct hv_message_page sim;
static _Alignas(4096) struct hv_synic_event_flags_page sief;
static struct synic synic;
static struct synic_action act;
static struct synic_signals signals;

static enum synic_result wr(uint32_t msr, uint64_t value)
{
    return synic_write_msr(&synic, msr, value, &act);
}
static uint64_t rd(uint32_t msr)
{
    uint64_t value = 0x5555;

    ck_assert_int_eq(synic_read_msr(&synic, msr, &value), SYNIC_OK);
    return value;
}

static void setup(void)
{
    memset(&sim, 0xaa, sizeof(sim));
    memset(&sief, 0xaa, sizeof(sief));
    synic_init(&synic, &sim, &sief);
}

// Everything on; SINT 2 with vector 0x42, SINT 3 with 0x43.
static void setup_enabled(void)
{
    setup();
    wr(HV_X64_MSR_SCONTROL, 1);
    wr(HV_X64_MSR_SIMP, 0x5001);
    wr(HV_X64_MSR_SIEFP, 0x6001);
    wr(HV_X64_MSR_SINT(2), 0x42);
    wr(HV_X64_MSR_SINT(3), 0x43);
}

static struct hv_message make_message(uint32_t type, uint8_t size, uint8_t fill)
{
    struct hv_message m = {.header = {.message_type = type,
                                      .payload_size = size,
                                      .origination_id = 0x1122334455667788}};

    memset(m.payload, fill, sizeof(m.payload));
    return m;
}

static struct synic_message_node make_node(uint32_t type, const void *payload, uint8_t size)
{
    return (struct synic_message_node){
        .payload = payload, .payload_size = size, .message_type = type, .origination_id = type + 1};
}

// ---- registers -------------------------------------------------------------------------------

START_TEST(reset_values)
{
    uint64_t value;

    ck_assert_uint_eq(rd(HV_X64_MSR_SCONTROL), 0);
    ck_assert_uint_eq(rd(HV_X64_MSR_SVERSION), 1);
    ck_assert_uint_eq(rd(HV_X64_MSR_SIEFP), 0);
    ck_assert_uint_eq(rd(HV_X64_MSR_SIMP), 0);
    ck_assert_uint_eq(rd(HV_X64_MSR_EOM), 0);
    for (uint32_t i = 0; i < 16; i++)
        ck_assert_uint_eq(rd(HV_X64_MSR_SINT(i)), 0x10000);
    for (size_t i = 0; i < sizeof(sim); i++)
        ck_assert(((uint8_t *)&sim)[i] == 0 && ((uint8_t *)&sief)[i] == 0);
    for (uint32_t msr = 0x40000070; msr < 0x400000b0; msr++) {
        bool ours =
            (msr >= 0x40000080 && msr <= 0x40000084) || (msr >= 0x40000090 && msr <= 0x4000009f);
        ck_assert_int_eq(synic_has_msr(msr), ours);
        ck_assert_int_eq(synic_read_msr(&synic, msr, &value), ours ? SYNIC_OK : SYNIC_GP);
        if (!ours)
            ck_assert_int_eq(wr(msr, 0), SYNIC_GP);
    }
}
END_TEST

START_TEST(register_writes)
{
    ck_assert_int_eq(wr(HV_X64_MSR_SVERSION, 1), SYNIC_GP);
    ck_assert_int_eq(wr(HV_X64_MSR_SCONTROL, UINT64_MAX), SYNIC_OK); // RsvdP: stored
    ck_assert_uint_eq(rd(HV_X64_MSR_SCONTROL), UINT64_MAX);
    ck_assert_uint_eq(act.flags, 0); // nothing queued: nothing to rescan
    ck_assert_int_eq(wr(HV_X64_MSR_EOM, 77), SYNIC_OK);
    ck_assert_uint_eq(act.flags, 0);
    ck_assert_uint_eq(rd(HV_X64_MSR_EOM), 0);
}
END_TEST

START_TEST(page_registers)
{
    ck_assert_int_eq(wr(HV_X64_MSR_SIMP, 0x7ffe), SYNIC_OK); // disabled, reserved bits kept
    ck_assert_uint_eq(act.flags, 0);
    ck_assert_uint_eq(rd(HV_X64_MSR_SIMP), 0x7ffe);
    wr(HV_X64_MSR_SIMP, 0x7001);
    ck_assert_uint_eq(act.flags, SYNIC_ACT_SIM);
    ck_assert_uint_eq(act.sim_old, SYNIC_NO_PAGE);
    ck_assert_uint_eq(act.sim_new, 7);
    wr(HV_X64_MSR_SIMP, 0x7801); // same page
    ck_assert_uint_eq(act.flags, 0);
    wr(HV_X64_MSR_SIMP, UINT64_MAX); // beyond any GPA space: still no fault
    ck_assert_uint_eq(act.sim_old, 7);
    ck_assert_uint_eq(act.sim_new, UINT64_MAX >> 12);
    wr(HV_X64_MSR_SIMP, 0);
    ck_assert_uint_eq(act.sim_new, SYNIC_NO_PAGE);
    wr(HV_X64_MSR_SIEFP, 0x9001);
    ck_assert_uint_eq(act.flags, SYNIC_ACT_SIEF);
    ck_assert_uint_eq(act.sief_old, SYNIC_NO_PAGE);
    ck_assert_uint_eq(act.sief_new, 9);
    wr(HV_X64_MSR_SIEFP, 0xa001);
    ck_assert_uint_eq(act.sief_old, 9);
    ck_assert_uint_eq(act.sief_new, 10);
}
END_TEST

START_TEST(sint_vectors)
{
    for (uint64_t v = 0; v < 256; v++) {
        ck_assert_int_eq(wr(HV_X64_MSR_SINT(5), v), v < 16 ? SYNIC_GP : SYNIC_OK);
        ck_assert_int_eq(wr(HV_X64_MSR_SINT(6), 0x10000 | v), SYNIC_OK);
    }
    ck_assert_uint_eq(rd(HV_X64_MSR_SINT(5)), 255);
    ck_assert_int_eq(wr(HV_X64_MSR_SINT(5), 3), SYNIC_GP);
    ck_assert_int_eq(wr(HV_X64_MSR_SINT(5), HV_SINT_AUTO_EOI | 0xff0f), SYNIC_GP);
    ck_assert_int_eq(wr(HV_X64_MSR_SINT(5), HV_SINT_POLLING | 15), SYNIC_GP);
    ck_assert_uint_eq(rd(HV_X64_MSR_SINT(5)), 255); // unchanged
    ck_assert_int_eq(wr(HV_X64_MSR_SINT(5), 0xfffffffffff8ff40), SYNIC_OK);
    ck_assert_uint_eq(rd(HV_X64_MSR_SINT(5)), 0xfffffffffff8ff40);
}
END_TEST

START_TEST(auto_eoi_mask)
{
    wr(HV_X64_MSR_SINT(2), HV_SINT_AUTO_EOI | 0x42);
    ck_assert_uint_eq(act.flags, SYNIC_ACT_AUTO_EOI);
    ck_assert_uint_eq(synic.auto_eoi[1], 1u << 2);
    wr(HV_X64_MSR_SINT(3), HV_SINT_AUTO_EOI | 0x42);
    ck_assert_uint_eq(act.flags, 0);
    wr(HV_X64_MSR_SINT(2), 0x42); // SINT 3 still says so
    ck_assert_uint_eq(act.flags, 0);
    wr(HV_X64_MSR_SINT(3), HV_SINT_MASKED | HV_SINT_AUTO_EOI | 0x42);
    ck_assert_uint_eq(act.flags, SYNIC_ACT_AUTO_EOI);
    ck_assert_uint_eq(synic.auto_eoi[1], 0);
    wr(HV_X64_MSR_SINT(3), HV_SINT_POLLING | HV_SINT_AUTO_EOI | 0x42);
    ck_assert_uint_eq(act.flags, 0);
    wr(HV_X64_MSR_SINT(15), HV_SINT_AUTO_EOI | 0xff);
    ck_assert_uint_eq(synic.auto_eoi[3], UINT64_C(1) << 63);
}
END_TEST

// ---- direct messages -------------------------------------------------------------------------

START_TEST(post_writes_the_slot)
{
    struct hv_message m = make_message(0x80000001, 80, 0x5a);
    ck_assert_int_eq(synic_post_message(&synic, 2, &m, &signals), SYNIC_DELIVERED);
    ck_assert(signals.count == 1 && signals.vector[0] == 0x42);
    ck_assert_uint_eq(sim.slot[2].header.message_type, 0x80000001);
    ck_assert_uint_eq(sim.slot[2].header.payload_size, 80);
    ck_assert_uint_eq(sim.slot[2].header.flags, 0);
    ck_assert_uint_eq(sim.slot[2].header.reserved, 0);
    ck_assert_uint_eq(sim.slot[2].header.origination_id, 0x1122334455667788);
    ck_assert_mem_eq(sim.slot[2].payload, m.payload, 80);
    ck_assert_uint_eq(sim.slot[2].payload[80], 0);
    ck_assert_uint_eq(sim.slot[1].header.message_type, 0);
    ck_assert_uint_eq(sim.slot[3].header.message_type, 0);
}
END_TEST

// A message written where it is read: the same slot, head and vector as one that is posted.
START_TEST(claim_and_publish)
{
    uint8_t *payload = synic_claim(&synic, 2);

    ck_assert_ptr_eq(payload, sim.slot[2].payload);
    ck_assert(spin_is_locked(&synic.lock));
    memset(payload, 0x5a, 80);
    ck_assert_int_eq(synic_publish(&synic, 2, 0x80010000, 80, 0x1122334455667788), 0x42);
    ck_assert(!spin_is_locked(&synic.lock));
    ck_assert_uint_eq(sim.slot[2].header.message_type, 0x80010000);
    ck_assert_uint_eq(sim.slot[2].header.payload_size, 80);
    ck_assert_uint_eq(sim.slot[2].header.flags, 0);
    ck_assert_uint_eq(sim.slot[2].header.origination_id, 0x1122334455667788);
    ck_assert_ptr_null(synic_claim(&synic, 2)); // busy, and the guest is told
    ck_assert(!spin_is_locked(&synic.lock));
    ck_assert_uint_eq(sim.slot[2].header.flags, HV_MESSAGE_FLAG_PENDING);
    ck_assert_ptr_nonnull(synic_claim(&synic, 7)); // masked
    ck_assert_int_eq(synic_publish(&synic, 7, 1, 8, 0), SYNIC_NO_VECTOR);
    wr(HV_X64_MSR_SCONTROL, 0);
    ck_assert_ptr_null(synic_claim(&synic, 3));
    ck_assert(!spin_is_locked(&synic.lock));
}
END_TEST

START_TEST(post_to_a_busy_slot)
{
    struct hv_message first = make_message(1, 8, 1), second = make_message(2, 8, 2);

    synic_post_message(&synic, 2, &first, &signals);
    ck_assert_int_eq(synic_post_message(&synic, 2, &second, &signals), SYNIC_BUSY);
    ck_assert_uint_eq(signals.count, 0);
    ck_assert_uint_eq(sim.slot[2].header.message_type, 1);
    ck_assert_uint_eq(sim.slot[2].header.flags, HV_MESSAGE_FLAG_PENDING);
    ck_assert_int_eq(synic_post_message(&synic, 3, &second, &signals), SYNIC_DELIVERED);
    ck_assert(signals.count == 1 && signals.vector[0] == 0x43);
    sim.slot[2].header.message_type = 0;
    ck_assert_int_eq(synic_post_message(&synic, 2, &second, &signals), SYNIC_DELIVERED);
    ck_assert_uint_eq(sim.slot[2].header.flags, 0);
}
END_TEST

START_TEST(disabled_and_silent)
{
    struct hv_message m = make_message(1, 8, 1);

    wr(HV_X64_MSR_SIMP, 0x5000);
    ck_assert_int_eq(synic_post_message(&synic, 2, &m, &signals), SYNIC_DISABLED);
    wr(HV_X64_MSR_SIMP, 0x5001);
    wr(HV_X64_MSR_SCONTROL, 0);
    ck_assert_int_eq(synic_post_message(&synic, 2, &m, &signals), SYNIC_DISABLED);
    ck_assert_uint_eq(sim.slot[2].header.message_type, 0);
    wr(HV_X64_MSR_SCONTROL, 1);
    ck_assert_int_eq(synic_post_message(&synic, 7, &m, &signals), SYNIC_DISABLED); // masked
    wr(HV_X64_MSR_SINT(7), HV_SINT_PROXY | 0x47);
    ck_assert_int_eq(synic_post_message(&synic, 7, &m, &signals), SYNIC_DISABLED);
    ck_assert_uint_eq(sim.slot[7].header.message_type, 0);
    wr(HV_X64_MSR_SINT(8), HV_SINT_POLLING | 0x48);
    ck_assert_int_eq(synic_post_message(&synic, 8, &m, &signals), SYNIC_DELIVERED);
    ck_assert_uint_eq(signals.count, 0);
}
END_TEST

// ---- queues ----------------------------------------------------------------------------------

START_TEST(queue_is_first_in_first_out)
{
    static uint64_t payload[5] = {10, 11, 12, 13, 14};
    struct synic_message_node node[5];

    for (uint32_t i = 0; i < 5; i++) {
        node[i] = make_node(i + 1, &payload[i], 8);
        enum synic_post result = synic_enqueue(&synic, 2, &node[i], false, 0, &signals);
        ck_assert_int_eq(result, i ? SYNIC_BUSY : SYNIC_DELIVERED);
        ck_assert_uint_eq(signals.count, i ? 0 : 1);
        ck_assert_int_eq(node[i].queued, i != 0);
    }
    ck_assert_uint_eq(sim.slot[2].header.flags, HV_MESSAGE_FLAG_PENDING);
    for (uint32_t i = 0; i < 5; i++) {
        ck_assert_uint_eq(sim.slot[2].header.message_type, i + 1);
        ck_assert_uint_eq(sim.slot[2].header.origination_id, i + 2);
        ck_assert_uint_eq(sim.slot[2].payload64[0], 10 + i);
        // The message says itself whether more wait: only then does the guest write EOM.
        ck_assert_int_eq(!!(sim.slot[2].header.flags & HV_MESSAGE_FLAG_PENDING), i < 4);
        ck_assert_int_eq(synic_rescan_needed(&synic, 0x42), i < 4);
        ck_assert(!synic_rescan_needed(&synic, 0x43));
        synic_pump(&synic, 0, &signals); // busy: nothing moves
        ck_assert_uint_eq(signals.count, 0);
        sim.slot[2].header.message_type = 0;
        wr(HV_X64_MSR_EOM, 0);
        ck_assert_uint_eq(act.flags, i < 4 ? SYNIC_ACT_RESCAN : 0);
        synic_pump(&synic, 0, &signals);
        ck_assert_uint_eq(signals.count, i < 4);
        ck_assert(i == 4 || signals.vector[0] == 0x42);
    }
    ck_assert_ptr_null(synic.queue[2].head);
    ck_assert_ptr_null(synic.queue[2].tail);
}
END_TEST

START_TEST(direct_post_does_not_overtake)
{
    uint64_t payload = 1;
    struct synic_message_node a = make_node(1, &payload, 8), b = make_node(2, &payload, 8);
    struct hv_message m = make_message(9, 8, 9);

    synic_enqueue(&synic, 2, &a, false, 0, &signals);
    synic_enqueue(&synic, 2, &b, false, 0, &signals);
    sim.slot[2].header.message_type = 0; // freed, but no EOM yet: b comes first
    ck_assert_int_eq(synic_post_message(&synic, 2, &m, &signals), SYNIC_BUSY);
    synic_pump(&synic, 0, &signals);
    ck_assert_uint_eq(sim.slot[2].header.message_type, 2);
}
END_TEST

// Another message queued is an occasion to deliver, too (TLFS: Message Buffers).
START_TEST(enqueue_delivers_the_head)
{
    uint64_t payload = 1;
    struct synic_message_node a = make_node(1, &payload, 8), b = make_node(2, &payload, 8);
    struct synic_message_node c = make_node(3, &payload, 8);

    synic_enqueue(&synic, 2, &a, false, 0, &signals);
    synic_enqueue(&synic, 2, &b, false, 0, &signals);
    sim.slot[2].header.message_type = 0;
    ck_assert_int_eq(synic_enqueue(&synic, 2, &c, false, 0, &signals), SYNIC_BUSY);
    ck_assert_uint_eq(signals.count, 1);
    ck_assert_uint_eq(sim.slot[2].header.message_type, 2);
    ck_assert(!b.queued && c.queued);
}
END_TEST

START_TEST(queueing_while_disabled)
{
    uint64_t payload = 1;
    struct synic_message_node a = make_node(1, &payload, 8), b = make_node(2, &payload, 8);

    wr(HV_X64_MSR_SIMP, 0);
    ck_assert_int_eq(synic_enqueue(&synic, 2, &a, false, 0, &signals), SYNIC_DISABLED);
    ck_assert(!a.queued);
    ck_assert_int_eq(synic_enqueue(&synic, 2, &b, true, 0, &signals), SYNIC_BUSY);
    ck_assert(b.queued);
    synic_pump(&synic, 0, &signals);
    ck_assert(b.queued);
    wr(HV_X64_MSR_SIMP, 0x5001);
    ck_assert_uint_eq(act.flags, SYNIC_ACT_SIM | SYNIC_ACT_RESCAN);
    synic_pump(&synic, 0, &signals);
    ck_assert_uint_eq(signals.count, 1);
    ck_assert(!b.queued);
}
END_TEST

START_TEST(pump_serves_all_sints)
{
    static struct synic_message_node node[16];
    uint64_t payload = 7;

    wr(HV_X64_MSR_SIMP, 0);
    for (uint32_t i = 0; i < 16; i++) {
        wr(HV_X64_MSR_SINT(i), 0x60 + i);
        node[i] = make_node(100 + i, &payload, 8);
        synic_enqueue(&synic, i, &node[i], true, 0, &signals);
    }
    wr(HV_X64_MSR_SIMP, 0x5001);
    synic_pump(&synic, 0, &signals);
    ck_assert_uint_eq(signals.count, 16);
    for (uint32_t i = 0; i < 16; i++) {
        ck_assert_uint_eq(signals.vector[i], 0x60 + i);
        ck_assert_uint_eq(sim.slot[i].header.message_type, 100 + i);
    }
}
END_TEST

START_TEST(cancel_and_hand_back)
{
    uint64_t payload = 1;
    struct synic_message_node n[4];

    for (uint32_t i = 0; i < 4; i++) {
        n[i] = make_node(i + 1, &payload, 8);
        n[i].hand_back = i == 3;
        synic_enqueue(&synic, 2, &n[i], false, 0, &signals);
    }
    ck_assert(!synic_cancel(&synic, &n[0])); // already delivered
    ck_assert(synic_cancel(&synic, &n[2]));  // from the middle
    ck_assert(!synic_cancel(&synic, &n[2]));
    ck_assert(synic_cancel(&synic, &n[3])); // the tail
    synic_enqueue(&synic, 2, &n[3], false, 0, &signals);
    ck_assert(synic_cancel(&synic, &n[1])); // the head
    sim.slot[2].header.message_type = 0;
    synic_pump(&synic, 0, &signals);
    ck_assert_uint_eq(sim.slot[2].header.message_type, 4);
    ck_assert_ptr_eq(signals.done, &n[3]);
    ck_assert_ptr_null(n[3].next);
    ck_assert_uint_eq(synic.queued, 0);
}
END_TEST

START_TEST(reset_empties_everything)
{
    uint64_t payload = 1;
    struct synic_message_node a = make_node(1, &payload, 8), b = make_node(2, &payload, 8);
    struct synic_message_node c = make_node(3, &payload, 8);

    b.hand_back = true;
    synic_enqueue(&synic, 2, &a, false, 0, &signals);
    synic_enqueue(&synic, 2, &b, false, 0, &signals);
    synic_enqueue(&synic, 2, &c, false, 0, &signals);
    sief.event_flags[3].flags8[0] = 1;
    ck_assert_ptr_eq(synic_reset(&synic), &b);
    ck_assert_ptr_null(b.next);
    ck_assert(!b.queued && !c.queued);
    ck_assert_uint_eq(sim.slot[2].header.message_type, 0);
    ck_assert_uint_eq(sief.event_flags[3].flags8[0], 0);
    ck_assert_uint_eq(rd(HV_X64_MSR_SINT(2)), 0x10000);
    ck_assert_uint_eq(rd(HV_X64_MSR_SCONTROL), 0);
    ck_assert_uint_eq(synic.queued, 0);
}
END_TEST

START_TEST(stamped_when_written)
{
    struct hv_timer_message_payload timer = {.timer_index = 2, .expiration_time = 1000};
    struct synic_message_node a = make_node(HV_MESSAGE_TYPE_TIMER_EXPIRED, &timer, 24);
    struct hv_message m = make_message(1, 8, 1);
    const struct hv_timer_message_payload *seen = (const void *)sim.slot[2].payload;

    a.stamp = true;
    synic_post_message(&synic, 2, &m, &signals);
    synic_enqueue(&synic, 2, &a, true, 1001, &signals);
    sim.slot[2].header.message_type = 0;
    synic_pump(&synic, 5000, &signals);
    ck_assert_uint_eq(seen->timer_index, 2);
    ck_assert_uint_eq(seen->expiration_time, 1000);
    ck_assert_uint_eq(seen->delivery_time, 5000);
    ck_assert_uint_eq(timer.delivery_time, 0); // the sender's copy is its own
}
END_TEST

// The EOI of any source's vector is an occasion for its own queue, and for no other.
START_TEST(eoi_of_each_source)
{
    static const uint32_t sources[] = {0, 2, 3, 15};
    uint64_t payload = 1;
    struct synic_message_node node[4];

    wr(HV_X64_MSR_SIMP, 0);
    for (uint32_t i = 0; i < 4; i++) {
        wr(HV_X64_MSR_SINT(sources[i]), 0x40 + sources[i]);
        node[i] = make_node(1, &payload, 8);
        synic_enqueue(&synic, sources[i], &node[i], true, 0, &signals);
    }
    for (uint32_t i = 0; i < 16; i++)
        ck_assert_int_eq(synic_rescan_needed(&synic, (uint8_t)(0x40 + i)),
                         i == 0 || i == 2 || i == 3 || i == 15);
}
END_TEST

// ---- event flags -----------------------------------------------------------------------------

START_TEST(event_flags)
{
    ck_assert_int_eq(synic_set_event_flag(&synic, 3, 2047, &signals), SYNIC_NEWLY_SET);
    ck_assert(signals.count == 1 && signals.vector[0] == 0x43);
    ck_assert_uint_eq(sief.event_flags[3].flags8[255], 0x80);
    ck_assert_int_eq(synic_set_event_flag(&synic, 3, 2047, &signals), SYNIC_ALREADY);
    ck_assert_uint_eq(signals.count, 0);
    ck_assert_int_eq(synic_set_event_flag(&synic, 3, 9, &signals), SYNIC_NEWLY_SET);
    ck_assert_uint_eq(sief.event_flags[3].flags8[1], 0x02);
    ck_assert_int_eq(synic_set_event_flag(&synic, 9, 9, &signals), SYNIC_EVENT_DISABLED); // masked
    wr(HV_X64_MSR_SINT(9), HV_SINT_PROXY | 0x49);
    ck_assert_int_eq(synic_set_event_flag(&synic, 9, 9, &signals), SYNIC_EVENT_DISABLED);
    wr(HV_X64_MSR_SINT(9), HV_SINT_PROXY | HV_SINT_POLLING | 0x49);
    ck_assert_int_eq(synic_set_event_flag(&synic, 9, 9, &signals), SYNIC_EVENT_DISABLED);
    ck_assert_uint_eq(sief.event_flags[9].flags8[1], 0);
    wr(HV_X64_MSR_SINT(9), HV_SINT_MASKED | HV_SINT_POLLING);
    ck_assert_int_eq(synic_set_event_flag(&synic, 9, 9, &signals), SYNIC_NEWLY_SET);
    ck_assert_uint_eq(signals.count, 0);
    wr(HV_X64_MSR_SIEFP, 0x6000);
    ck_assert_int_eq(synic_set_event_flag(&synic, 3, 1, &signals), SYNIC_EVENT_DISABLED);
    wr(HV_X64_MSR_SIEFP, 0x6001);
    wr(HV_X64_MSR_SCONTROL, 0);
    ck_assert_int_eq(synic_set_event_flag(&synic, 3, 1, &signals), SYNIC_EVENT_DISABLED);
    ck_assert_uint_eq(sief.event_flags[3].flags8[0], 0);
    for (size_t i = 0; i < 16; i++)
        ck_assert(i == 3 || i == 9 || sief.event_flags[i].flags64[0] == 0);
}
END_TEST

// ---- sources that are intercepts --------------------------------------------------------------

static bool is_sint_intercept(uint32_t sint)
{
    const struct hv_message *m = &sim.slot[0];

    return m->header.message_type == HV_MESSAGE_TYPE_SYNIC_SINT_INTERCEPT &&
           m->header.payload_size == 4 && *(const uint32_t *)m->payload == sint;
}

// HV_SINT_AS_INTERCEPT: the source does not interrupt, a message at SINT 0 tells of it.
START_TEST(source_as_intercept)
{
    wr(HV_X64_MSR_SINT(0), 0x40);
    wr(HV_X64_MSR_SINT(5), HV_SINT_AS_INTERCEPT | 0x45);
    ck_assert_int_eq(synic_set_event_flag(&synic, 5, 1, &signals), SYNIC_NEWLY_SET);
    ck_assert(signals.count == 1 && signals.vector[0] == 0x40);
    ck_assert(is_sint_intercept(5));
    synic_set_event_flag(&synic, 5, 2, &signals); // SINT 0 is busy: it waits
    ck_assert_uint_eq(signals.count, 0);
    synic_set_event_flag(&synic, 5, 3, &signals); // and one that waits is enough
    ck_assert(sim.slot[0].header.flags & HV_MESSAGE_FLAG_PENDING);
    sim.slot[0].header.message_type = 0;
    synic_pump(&synic, 0, &signals);
    ck_assert(signals.count == 1 && signals.vector[0] == 0x40);
    ck_assert(is_sint_intercept(5));
    sim.slot[0].header.message_type = 0;
    synic_pump(&synic, 0, &signals);
    ck_assert_uint_eq(signals.count, 0);
    ck_assert_uint_eq(synic.queued, 0);
}
END_TEST

START_TEST(message_at_a_source_as_intercept)
{
    struct hv_message m = make_message(1, 8, 1);

    wr(HV_X64_MSR_SINT(0), 0x40);
    wr(HV_X64_MSR_SINT(5), HV_SINT_AS_INTERCEPT | 0x45);
    wr(HV_X64_MSR_SINT(6), HV_SINT_AS_INTERCEPT | HV_SINT_POLLING | 0x46);
    wr(HV_X64_MSR_SINT(0), HV_SINT_AS_INTERCEPT | 0x40); // means nothing for SINT 0 itself
    ck_assert_int_eq(synic_post_message(&synic, 6, &m, &signals), SYNIC_DELIVERED);
    ck_assert_uint_eq(signals.count, 0);
    ck_assert_int_eq(synic_post_message(&synic, 5, &m, &signals), SYNIC_DELIVERED);
    ck_assert(signals.count == 1 && signals.vector[0] == 0x40);
    ck_assert(is_sint_intercept(5));
    ck_assert_uint_eq(sim.slot[5].header.message_type, 1);
    ck_assert(!synic_rescan_needed(&synic, 0x45));
}
END_TEST

// ---- the guest on another processor ----------------------------------------------------------

#define MESSAGES 400000u

static _Atomic bool eom_needed;
static _Atomic uint32_t consumed;
static _Atomic bool order_broken;

// A guest by the book: take, clear the type, test MessagePending, EOM if set.
static void *guest(void *argument)
{
    struct hv_message *slot = &sim.slot[2];
    uint32_t expected = 1;

    while (expected <= MESSAGES) {
        uint32_t type = __atomic_load_n((uint32_t *)slot, __ATOMIC_ACQUIRE);
        if (!type)
            continue;
        if (type != expected || slot->payload64[0] != expected * UINT64_C(3))
            order_broken = true;
        expected++;
        __atomic_store_n((uint32_t *)slot, 0, __ATOMIC_SEQ_CST);
        if (__atomic_load_n((uint8_t *)slot + 5, __ATOMIC_SEQ_CST) & HV_MESSAGE_FLAG_PENDING)
            eom_needed = true;
        consumed++;
    }
    return argument;
}

// Messages go out in pairs, and the next pair only after the last was consumed: the second message
// moves by the guest's EOM alone, so a MessagePending that the guest could miss hangs the test.
START_TEST(message_pending_is_never_missed)
{
    static struct synic_message_node node[2];
    static uint64_t payload[2];
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, guest, NULL), 0);
    for (uint32_t sent = 0; sent < MESSAGES; sent += 2) {
        for (uint32_t i = 0; i < 2; i++) {
            payload[i] = (sent + i + 1) * UINT64_C(3);
            node[i] = make_node(sent + i + 1, &payload[i], 8);
            synic_enqueue(&synic, 2, &node[i], false, 0, &signals);
        }
        while (consumed < sent + 2) {
            if (eom_needed) {
                eom_needed = false;
                synic_pump(&synic, 0, &signals);
            }
        }
    }
    pthread_join(thread, NULL);
    ck_assert(!order_broken);
    ck_assert_uint_eq(synic.queued, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("synic");
    TCase *registers = tcase_create("registers");
    TCase *enabled = tcase_create("enabled");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(registers, setup, NULL);
    tcase_add_test(registers, reset_values);
    tcase_add_test(registers, register_writes);
    tcase_add_test(registers, page_registers);
    tcase_add_test(registers, sint_vectors);
    tcase_add_test(registers, auto_eoi_mask);
    tcase_add_checked_fixture(enabled, setup_enabled, NULL);
    tcase_set_timeout(enabled, 60);
    tcase_add_test(enabled, post_writes_the_slot);
    tcase_add_test(enabled, claim_and_publish);
    tcase_add_test(enabled, post_to_a_busy_slot);
    tcase_add_test(enabled, disabled_and_silent);
    tcase_add_test(enabled, queue_is_first_in_first_out);
    tcase_add_test(enabled, direct_post_does_not_overtake);
    tcase_add_test(enabled, enqueue_delivers_the_head);
    tcase_add_test(enabled, queueing_while_disabled);
    tcase_add_test(enabled, pump_serves_all_sints);
    tcase_add_test(enabled, cancel_and_hand_back);
    tcase_add_test(enabled, reset_empties_everything);
    tcase_add_test(enabled, stamped_when_written);
    tcase_add_test(enabled, eoi_of_each_source);
    tcase_add_test(enabled, event_flags);
    tcase_add_test(enabled, source_as_intercept);
    tcase_add_test(enabled, message_at_a_source_as_intercept);
    tcase_add_test(enabled, message_pending_is_never_missed);
    suite_add_tcase(suite, registers);
    suite_add_tcase(suite, enabled);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
