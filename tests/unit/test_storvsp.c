// SPDX-License-Identifier: BSD-2-Clause-Patent
// The storage VSP against the model guest: initialization, commands, subchannels, resets, hot plug.
#include <check.h>

#include "storvsp_guest.h"

static struct sg *sg;

static void teardown(void)
{
    if (sg) {
        sg_destroy(sg);
        sg = NULL;
    }
}

// ---- initialization ----------------------------------------------------------------------------

static const uint16_t versions[] = {STOR_V2_0, STOR_V4_2, STOR_V5_1, STOR_V6_0, STOR_V6_2};

START_TEST(test_versions)
{
    const uint32_t size = versions[_i] < STOR_V5_1 ? STOR_PACKET_OLD : STOR_PACKET;
    sg = sg_create(8, 3);
    sg_open(sg);
    must_equal(sg_control(sg, &sg->channel, STOR_BEGIN_INIT, 0, size), 0);
    ck_assert_uint_eq(sg->size, size);
    must_equal(sg_control(sg, &sg->channel, STOR_QUERY_VERSION, 0x0700, size),
               STOR_STATUS_REVISION);
    must_equal(sg_control(sg, &sg->channel, STOR_QUERY_VERSION, versions[_i], size), 0);
    ck_assert_uint_eq(sg->size, size);
    must_equal(sg_control(sg, &sg->channel, STOR_QUERY_PROPERTIES, 0, size), 0);
    ck_assert_uint_eq(load_le16(sg->packet + PROPERTIES_CHANNELS), 3);
    ck_assert_uint_eq(load_le32(sg->packet + PROPERTIES_FLAGS), 1);
    ck_assert_uint_eq(load_le32(sg->packet + PROPERTIES_TRANSFER), 256 * 1024);
    must_equal(sg_control(sg, &sg->channel, STOR_END_INIT, 0, size), 0);
    ck_assert_uint_eq(sg->size, size);
}
END_TEST

START_TEST(test_no_sub_channels)
{
    sg = sg_create(8, 0);
    sg_open(sg);
    must_equal(sg_op(sg, STOR_BEGIN_INIT, 0), 0);
    must_equal(sg_op(sg, STOR_QUERY_VERSION, STOR_V6_2), 0);
    must_equal(sg_op(sg, STOR_QUERY_PROPERTIES, 0), 0);
    ck_assert_uint_eq(load_le32(sg->packet + PROPERTIES_FLAGS), 0);
    must_equal(sg_op(sg, STOR_CREATE_SUB_CHANNELS, 1), STOR_STATUS_PARAMETER);
}
END_TEST

// Every operation in every state: what is not legal there says so and changes nothing.
START_TEST(test_order)
{
    static const struct {
        uint8_t operation;
        uint8_t legal; // bits: opened, begun, version, properties, ready
    } rows[] = {{STOR_BEGIN_INIT, 1},
                {STOR_QUERY_VERSION, 2},
                {STOR_QUERY_PROPERTIES, 4},
                {STOR_END_INIT, 8},
                {STOR_CREATE_SUB_CHANNELS, 8 | 16},
                {STOR_EXECUTE_SRB, 16},
                {STOR_RESET_LUN, 16},
                {STOR_RESET_ADAPTER, 16},
                {STOR_RESET_BUS, 16}};
    static const uint8_t way[] = {STOR_BEGIN_INIT, STOR_QUERY_VERSION, STOR_QUERY_PROPERTIES,
                                  STOR_END_INIT};
    sg = sg_create(8, 2);
    sg_open(sg);
    for (unsigned state = 0; state < 5; state++) {
        for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
            if (!(rows[i].legal & 1 << state)) {
                must_equal(sg_op(sg, rows[i].operation, STOR_V6_2), STOR_STATUS_DEVICE_STATE);
            }
        }
        if (state < 4) {
            must_equal(sg_op(sg, way[state], STOR_V6_2), 0);
        }
    }
    must_equal(sg_op(sg, STOR_RESET_BUS, 0), 0);
}
END_TEST

START_TEST(test_unknown_operations)
{
    static const uint32_t unknown[] = {
        0, STOR_COMPLETE_IO, STOR_REMOVE_DEVICE, 12, 14, 15, UINT32_MAX, 0x103};
    sg = sg_ready(8, 0);
    for (unsigned i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        must_equal(sg_op(sg, unknown[i], 0), STOR_STATUS_REQUEST);
    }
}
END_TEST

START_TEST(test_packet_sizes)
{
    uint8_t bytes[200] = {STOR_BEGIN_INIT};
    sg = sg_create(8, 0);
    sg_open(sg);
    for (uint32_t size = 0; size < STOR_PACKET_OLD; size += 8) {
        must(vg_write(&sg->channel, 5, bytes, size));
        sg_expect(sg, &sg->channel, 5);
        must_equal(load_le32(sg->packet + STOR_STATUS), STOR_STATUS_PARAMETER);
    }
    must(vg_write(&sg->channel, 6, bytes, 200)); // more than a packet can be
    sg_expect(sg, &sg->channel, 6);
    must_equal(load_le32(sg->packet + STOR_STATUS), STOR_STATUS_PARAMETER);
    sg_init_protocol(sg, STOR_V6_0);
    bytes[0] = STOR_RESET_BUS;
    must(vg_write(&sg->channel, 7, bytes, STOR_PACKET_OLD)); // too short for this version
    sg_expect(sg, &sg->channel, 7);
    must_equal(load_le32(sg->packet + STOR_STATUS), STOR_STATUS_PARAMETER);
}
END_TEST

START_TEST(test_reopen)
{
    sg = sg_ready(8, 0);
    vg_close(&sg->channel);
    sg->channel = vg_open(sg->vg, sg->channel.relid, SG_RING, SG_RING);
    must_equal(sg_op(sg, STOR_RESET_BUS, 0), STOR_STATUS_DEVICE_STATE); // from the start again
    sg_init_protocol(sg, STOR_V5_1);
}
END_TEST

// ---- commands ----------------------------------------------------------------------------------

START_TEST(test_read_and_write)
{
    sg = sg_ready(8, 0);
    const struct sg_srb read = sg_rw(0x28, 100, 17), write = sg_rw(0x2A, 200, 17);
    sg_run_srb(sg, &read, SRB_SUCCESS, 0, 17 * 512);
    ck_assert_mem_eq(vg_at(sg->vg, sg->data), sg->disk.bytes + 100 * 512, 17 * 512);
    sg_run_srb(sg, &write, SRB_SUCCESS, 0, 17 * 512);
    ck_assert_mem_eq(sg->disk.bytes + 200 * 512, sg->disk.bytes + 100 * 512, 17 * 512);
    ck_assert_uint_eq(storvsp_in_flight(sg->storvsp), 0);
}
END_TEST

// A buffer that begins and ends within pages.
START_TEST(test_offset)
{
    sg = sg_ready(8, 0);
    const struct sg_srb read = sg_rw(0x28, 5, 20);
    const uint64_t id = sg_send(sg, &sg->channel, &read, 1004);
    sg_expect(sg, &sg->channel, id);
    sg_expect_srb(sg, SRB_SUCCESS, 0, 20 * 512);
    ck_assert_mem_eq(vg_at(sg->vg, sg->data) + 1004, sg->disk.bytes + 5 * 512, 20 * 512);
    ck_assert_uint_eq(vg_at(sg->vg, sg->data)[1003], 0);
    ck_assert_uint_eq(vg_at(sg->vg, sg->data)[1004 + 20 * 512], 0);
}
END_TEST

START_TEST(test_errors)
{
    sg = sg_ready(8, 0);
    struct sg_srb srb = sg_rw(0x28, SG_SECTORS, 1);
    sg_run_srb(sg, &srb, SRB_ERROR | SRB_AUTOSENSE, 2, 0);
    ck_assert_uint_eq(sg->packet[SRB_SENSE_SIZE], 18);
    ck_assert_uint_eq(sg->packet[SRB_CDB], 0x70);
    ck_assert_uint_eq(sg->packet[SRB_CDB + 2], 5);
    ck_assert_uint_eq(sg->packet[SRB_CDB + 12], 0x21);
    srb.sense_size = 8; // room for less
    sg_run_srb(sg, &srb, SRB_ERROR | SRB_AUTOSENSE, 2, 0);
    ck_assert_uint_eq(sg->packet[SRB_SENSE_SIZE], 8);
    ck_assert_uint_eq(sg->packet[SRB_CDB + 12], 0);
    srb.sense_size = 0;
    sg_run_srb(sg, &srb, SRB_ERROR, 2, 0);
    srb = sg_rw(0x28, 0, 1);
    sg->disk.fail = BLOCK_ERROR_IO;
    sg_run_srb(sg, &srb, SRB_ERROR | SRB_AUTOSENSE, 2, 0);
    ck_assert_uint_eq(sg->packet[SRB_CDB + 2], 3);
}
END_TEST

START_TEST(test_missing_units)
{
    sg = sg_ready(8, 0);
    struct sg_srb srb = {.cdb_size = 6,
                         .sense_size = SG_SENSE,
                         .data_in = 1,
                         .transfer = 36,
                         .lun = 1,
                         .cdb = {0x12, 0, 0, 0, 36}};
    sg_run_srb(sg, &srb, SRB_INVALID_LUN, 0, 36);
    ck_assert_uint_eq(vg_at(sg->vg, sg->data)[0], 0x7F);
    srb.lun = 0;
    srb.target = 1;
    sg_run_srb(sg, &srb, SRB_INVALID_LUN, 0, 36);
    ck_assert_uint_eq(vg_at(sg->vg, sg->data)[0], 0x7F);
    srb = sg_rw(0x28, 0, 1);
    srb.lun = 200;
    sg_run_srb(sg, &srb, SRB_INVALID_LUN | SRB_AUTOSENSE, 2, 0);
    storvsp_remove_lun(sg->storvsp, 0);
    must_equal(storvsp_add_lun(sg->storvsp, 5, &sg->unit), true);
}
END_TEST

START_TEST(test_hostile_srbs)
{
    sg = sg_ready(8, 0);
    uint8_t packet[STOR_PACKET];
    struct sg_srb srb = sg_rw(0x28, 0, 2);
    sg_make_srb(packet, &srb);
    must(vg_write(&sg->channel, 50, packet, sizeof packet)); // data without a buffer
    sg_expect(sg, &sg->channel, 50);
    sg_expect_srb(sg, SRB_INVALID_REQUEST, 0, 0);
    must(vg_write_direct(&sg->channel, 51, sg->data, 0, 1023, packet, sizeof packet)); // too small
    sg_expect(sg, &sg->channel, 51);
    sg_expect_srb(sg, SRB_INVALID_REQUEST, 0, 0);
    packet[SRB_CDB_SIZE] = 17;
    must(vg_write_direct(&sg->channel, 52, sg->data, 0, 1024, packet, sizeof packet));
    sg_expect(sg, &sg->channel, 52);
    sg_expect_srb(sg, SRB_INVALID_REQUEST, 0, 0);
    packet[SRB_CDB_SIZE] = 0;
    must(vg_write_direct(&sg->channel, 53, sg->data, 0, 1024, packet, sizeof packet));
    sg_expect(sg, &sg->channel, 53);
    sg_expect_srb(sg, SRB_INVALID_REQUEST, 0, 0);
    packet[SRB_CDB_SIZE] = 10;
    packet[SRB_DATA_IN] = 2; // a READ without data
    must(vg_write_direct(&sg->channel, 54, sg->data, 0, 1024, packet, sizeof packet));
    sg_expect(sg, &sg->channel, 54);
    sg_expect_srb(sg, SRB_ERROR | SRB_AUTOSENSE, 2, 0);
    ck_assert_uint_eq(sg->disk.operations[BLOCK_READ], 0);
}
END_TEST

// Two ranges, and one with more pages than a command may have.
START_TEST(test_hostile_ranges)
{
    sg = sg_ready(8, 0);
    uint8_t packet[STOR_PACKET];
    const struct sg_srb srb = sg_rw(0x28, 0, 2);
    const uint64_t two[] = {UINT64_C(2) << 32, 512, sg->data, 512, sg->data + 1};
    uint64_t many[2 + 80] = {UINT64_C(1) << 32, 80 * 4096};
    sg_make_srb(packet, &srb);
    must(vg_write_packet(&sg->channel, VMBUS_PACKET_GPA_DIRECT, true, 60, two, sizeof two, packet,
                         sizeof packet));
    sg_expect(sg, &sg->channel, 60);
    sg_expect_srb(sg, SRB_INVALID_REQUEST, 0, 0);
    must(vg_write_packet(&sg->channel, VMBUS_PACKET_GPA_DIRECT, true, 61, many, sizeof many, packet,
                         sizeof packet));
    sg_expect(sg, &sg->channel, 61);
    must_equal(load_le32(sg->packet + STOR_STATUS), STOR_STATUS_PARAMETER);
    const uint64_t wild[] = {UINT64_C(1) << 32, 1024, UINT64_C(0x123456789ABCDEF)};
    must(vg_write_packet(&sg->channel, VMBUS_PACKET_GPA_DIRECT, true, 62, wild, sizeof wild, packet,
                         sizeof packet));
    sg_expect(sg, &sg->channel, 62);
    sg_expect_srb(sg, SRB_ERROR | SRB_AUTOSENSE, 2, 0);
    ck_assert_uint_eq(sg->disk.operations[BLOCK_READ], 0);
}
END_TEST

START_TEST(test_no_completion_wanted)
{
    const uint8_t packet[STOR_PACKET] = {STOR_BEGIN_INIT};
    sg = sg_create(8, 0);
    sg_open(sg);
    must(vg_write_packet(&sg->channel, VMBUS_PACKET_IN_BAND, _i == 1, 1, NULL, 0, packet,
                         sizeof packet));
    if (_i == 0) {
        vg_run(sg->vg);
        vg_expect(sg->vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
        ck_assert_ptr_nonnull(strstr(sg->vg->line, "completion"));
    } else {
        sg_expect(sg, &sg->channel, 1);
    }
    ck_assert_uint_eq(storvsp_in_flight(sg->storvsp), 0);
}
END_TEST

START_TEST(test_unexpected_completion)
{
    const uint8_t packet[STOR_PACKET] = {STOR_BEGIN_INIT};
    sg = sg_create(8, 0);
    sg_open(sg);
    must(vg_write_packet(&sg->channel, VMBUS_PACKET_COMPLETION, false, 1, NULL, 0, packet,
                         sizeof packet));
    vg_run(sg->vg);
    vg_expect(sg->vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
}
END_TEST

// ---- flow --------------------------------------------------------------------------------------

// A guest that fills its ring and does not read answers: nothing is lost, nothing overflows.
START_TEST(test_flood)
{
    unsigned sent = 0, got = 0;
    uint8_t packet[STOR_PACKET], bytes[256];
    const struct sg_srb srb = {.cdb_size = 6, .sense_size = SG_SENSE};
    sg = sg_ready(4, 0);
    sg_make_srb(packet, &srb);
    while (sent < 3000) {
        while (sent < 3000 && vg_write(&sg->channel, 1000 + sent, packet, sizeof packet)) {
            sent++;
        }
        vg_run(sg->vg);
        for (unsigned i = 0; i < 50 && got < sent; i++) {
            vg_run(sg->vg);
            must_equal(vg_expect_completion(&sg->channel, 1000 + got, bytes), STOR_PACKET);
            must_equal(bytes[SRB_STATUS], SRB_SUCCESS);
            got++;
        }
    }
    while (got < sent) {
        vg_run(sg->vg);
        must_equal(vg_expect_completion(&sg->channel, 1000 + got, bytes), STOR_PACKET);
        got++;
    }
    sg_expect_none(sg, &sg->channel);
}
END_TEST

// Fewer requests than the guest sends, and a backend that takes its time.
START_TEST(test_starved)
{
    const struct sg_srb srb = sg_rw(0x28, 0, 1);
    uint8_t bytes[256];
    sg = sg_ready(3, 0);
    sg->disk.hold = true;
    const uint64_t first = sg_send(sg, &sg->channel, &srb, 0);
    for (unsigned i = 1; i < 20; i++) {
        sg_send(sg, &sg->channel, &srb, 0);
    }
    sg_expect_none(sg, &sg->channel);
    ck_assert_uint_eq(storvsp_in_flight(sg->storvsp), 3);
    unsigned done = 0;
    while (done < 20) {
        done += fake_block_release(&sg->disk);
        vg_run(sg->vg);
    }
    for (unsigned i = 0; i < 20; i++) {
        must_equal(vg_expect_completion(&sg->channel, first + i, bytes), STOR_PACKET);
    }
    ck_assert_uint_eq(storvsp_in_flight(sg->storvsp), 0);
}
END_TEST

// More in flight than the ring to the guest has room for answers.
START_TEST(test_small_ring)
{
    const struct sg_srb srb = sg_rw(0x28, 0, 1);
    uint8_t bytes[256];
    unsigned done = 0;
    sg = sg_create(100, 0);
    vg_connect(sg->vg, VMBUS_V5_3);
    sg->channel = vg_open(sg->vg, vg_relid(sg->vg, &sg_class, 0), SG_RING, 2);
    sg_init_protocol(sg, STOR_V6_2);
    sg->unit.attentions = 0;
    sg->disk.hold = true;
    const uint64_t first = sg_send(sg, &sg->channel, &srb, 0);
    for (unsigned i = 1; i < 100; i++) {
        sg_send(sg, &sg->channel, &srb, 0);
    }
    sg_expect_none(sg, &sg->channel);
    ck_assert_uint_lt(storvsp_in_flight(sg->storvsp), 50);
    for (unsigned i = 0; i < 100; i++) {
        if (vg_used(&sg->channel.in) == 0) {
            vg_run(sg->vg);
            done += fake_block_release(&sg->disk);
        }
        must_equal(vg_expect_completion(&sg->channel, first + i, bytes), STOR_PACKET);
    }
    ck_assert_uint_eq(done, 100);
}
END_TEST

START_TEST(test_close_in_flight)
{
    const struct sg_srb srb = sg_rw(0x28, 0, 1);
    sg = sg_ready(8, 0);
    sg->disk.hold = true;
    sg_send(sg, &sg->channel, &srb, 0);
    vg_run(sg->vg);
    vg_send_relid(sg->vg, VMBUS_CLOSECHANNEL, sg->channel.relid);
    vg_send_teardown(sg->vg, sg->channel.relid, sg->channel.gpadl);
    vg_expect_nothing(sg->vg); // the host still uses the guest's memory
    fake_block_release(&sg->disk);
    vg_run(sg->vg);
    vg_expect(sg->vg, VMBUS_GPADL_TORNDOWN, NULL, 0);
    ck_assert_uint_eq(vg_used(&sg->channel.in), 0);
    ck_assert_uint_eq(storvsp_in_flight(sg->storvsp), 0);
    sg->disk.hold = false;
    sg->channel = vg_open(sg->vg, sg->channel.relid, SG_RING, SG_RING);
    sg_init_protocol(sg, STOR_V6_2);
}
END_TEST

START_TEST(test_reset)
{
    static const uint8_t resets[] = {STOR_RESET_BUS, STOR_RESET_ADAPTER, STOR_RESET_LUN};
    uint8_t packet[STOR_PACKET] = {resets[_i]};
    const struct sg_srb srb = sg_rw(0x28, 0, 1);
    sg = sg_ready(8, 0);
    sg->disk.hold = true;
    const uint64_t first = sg_send(sg, &sg->channel, &srb, 0);
    must(vg_write(&sg->channel, 99, packet, sizeof packet));
    const uint64_t after = sg_send(sg, &sg->channel, &srb, 0);
    sg_expect_none(sg, &sg->channel); // the reset waits, what comes after it, too
    ck_assert_uint_eq(storvsp_in_flight(sg->storvsp), 2);
    fake_block_release(&sg->disk);
    sg_expect(sg, &sg->channel, first);
    sg_expect_srb(sg, SRB_SUCCESS, 0, 512);
    sg_expect(sg, &sg->channel, 99);
    must_equal(load_le32(sg->packet + STOR_STATUS), 0);
    sg_expect(sg, &sg->channel, after);
    sg_expect_srb(sg, SRB_ERROR | SRB_AUTOSENSE, 2, 0);
    ck_assert_uint_eq(sg->packet[SRB_CDB + 12], 0x29);
}
END_TEST

// A reset that waits when its channel is closed does not come back from the dead.
START_TEST(test_reset_and_close)
{
    uint8_t packet[STOR_PACKET] = {STOR_RESET_BUS};
    const struct sg_srb srb = sg_rw(0x28, 0, 1);
    sg = sg_ready(8, 0);
    sg->disk.hold = true;
    sg_send(sg, &sg->channel, &srb, 0);
    must(vg_write(&sg->channel, 99, packet, sizeof packet));
    vg_run(sg->vg);
    vg_send_relid(sg->vg, VMBUS_CLOSECHANNEL, sg->channel.relid);
    fake_block_release(&sg->disk);
    vg_run(sg->vg);
    ck_assert_uint_eq(storvsp_in_flight(sg->storvsp), 0);
    vg_teardown(sg->vg, sg->channel.relid, sg->channel.gpadl);
    sg->channel = vg_open(sg->vg, sg->channel.relid, SG_RING, SG_RING);
    sg_init_protocol(sg, STOR_V6_2);
}
END_TEST

// ---- subchannels -------------------------------------------------------------------------------

START_TEST(test_sub_channels)
{
    struct vg_channel subs[3];
    sg = sg_ready(8, 3);
    must_equal(sg_op(sg, STOR_CREATE_SUB_CHANNELS, 0), STOR_STATUS_PARAMETER);
    must_equal(sg_op(sg, STOR_CREATE_SUB_CHANNELS, 4), STOR_STATUS_PARAMETER);
    must_equal(sg_op(sg, STOR_CREATE_SUB_CHANNELS, 3), 0);
    vg_take_offers(sg->vg);
    must_equal(sg_op(sg, STOR_CREATE_SUB_CHANNELS, 1), STOR_STATUS_DEVICE_STATE);
    for (uint16_t i = 0; i < 3; i++) {
        subs[i] = vg_open(sg->vg, vg_relid(sg->vg, &sg_class, i + 1), SG_RING, SG_RING);
    }
    const struct sg_srb srb = sg_rw(0x28, 3, 1);
    sg->disk.hold = true;
    uint64_t ids[3];
    for (unsigned i = 0; i < 3; i++) {
        ids[i] = sg_send(sg, &subs[i], &srb, 0);
    }
    vg_run(sg->vg);
    fake_block_release(&sg->disk);
    for (unsigned i = 0; i < 3; i++) {
        sg_expect(sg, &subs[i], ids[i]);
        sg_expect_srb(sg, SRB_SUCCESS, 0, 512);
    }
    must_equal(sg_control(sg, &subs[0], STOR_BEGIN_INIT, 0, STOR_PACKET), STOR_STATUS_DEVICE_STATE);
    must_equal(sg_control(sg, &subs[2], STOR_CREATE_SUB_CHANNELS, 1, STOR_PACKET),
               STOR_STATUS_DEVICE_STATE);
    // Closing the primary ends them; a guest that comes back asks again.
    vg_send_relid(sg->vg, VMBUS_CLOSECHANNEL, sg->channel.relid);
    while (sg->vg->count) {
        vg_expect(sg->vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
    }
    sg->channel = vg_open(sg->vg, sg->channel.relid, SG_RING, SG_RING);
    sg->disk.hold = false;
    sg_init_protocol(sg, STOR_V6_2);
    must_equal(sg_op(sg, STOR_CREATE_SUB_CHANNELS, 3), 0);
}
END_TEST

// One request for all channels: each gets its turn.
START_TEST(test_sub_channels_starved)
{
    sg = sg_ready(1, 1);
    must_equal(sg_op(sg, STOR_CREATE_SUB_CHANNELS, 1), 0);
    vg_take_offers(sg->vg);
    struct vg_channel sub = vg_open(sg->vg, vg_relid(sg->vg, &sg_class, 1), SG_RING, SG_RING);
    const struct sg_srb srb = sg_rw(0x28, 3, 1);
    sg->disk.hold = true;
    const uint64_t one = sg_send(sg, &sg->channel, &srb, 0);
    vg_run(sg->vg);
    const uint64_t two = sg_send(sg, &sub, &srb, 0);
    vg_run(sg->vg);
    ck_assert_uint_eq(fake_block_release(&sg->disk), 1);
    sg_expect(sg, &sg->channel, one);
    ck_assert_uint_eq(fake_block_release(&sg->disk), 1);
    sg_expect(sg, &sub, two);
}
END_TEST

// ---- hot plug ----------------------------------------------------------------------------------

static void expect_enumerate(void)
{
    struct vg_packet head;
    uint8_t ext[16], bytes[256];
    uint32_t ext_size, size;
    vg_run(sg->vg);
    must(vg_read_packet(&sg->channel, &head, ext, &ext_size, bytes, &size));
    must_equal(head.type, VMBUS_PACKET_IN_BAND);
    must_equal(head.transaction_id, 0);
    must_equal(head.flags, 0);
    must_equal(size, STOR_PACKET);
    must_equal(load_le32(bytes), STOR_ENUMERATE_BUS);
}

START_TEST(test_hot_plug)
{
    sg = sg_ready(8, 0);
    must(storvsp_add_lun(sg->storvsp, 1, &sg->other));
    must(!storvsp_add_lun(sg->storvsp, 1, &sg->other));
    expect_enumerate();
    struct sg_srb srb = sg_rw(0x28, 0, 1);
    sg_run_srb(sg, &srb, SRB_ERROR | SRB_AUTOSENSE, 2, 0);
    ck_assert_uint_eq(sg->packet[SRB_CDB + 12], 0x3F);
    ck_assert_uint_eq(sg->packet[SRB_CDB + 13], 0x0E);
    srb.lun = 1;
    sg_run_srb(sg, &srb, SRB_ERROR | SRB_AUTOSENSE, 2, 0); // power on
    sg_run_srb(sg, &srb, SRB_SUCCESS, 0, 512);
    must(storvsp_remove_lun(sg->storvsp, 1) == &sg->other);
    must(storvsp_remove_lun(sg->storvsp, 1) == NULL);
    expect_enumerate();
    sg_run_srb(sg, &srb, SRB_INVALID_LUN | SRB_AUTOSENSE, 2, 0);
}
END_TEST

// The guest reads no answers while units come and go: one packet tells of all.
START_TEST(test_hot_plug_full)
{
    const struct sg_srb srb = {.cdb_size = 6, .sense_size = SG_SENSE};
    uint8_t packet[STOR_PACKET];
    struct vg_packet head;
    uint8_t ext[16], bytes[256];
    uint32_t ext_size, size, announced = 0;
    sg = sg_ready(64, 0);
    sg_make_srb(packet, &srb);
    while (vg_write(&sg->channel, 1, packet, sizeof packet)) {
        vg_run(sg->vg);
    }
    for (unsigned i = 0; i < 600; i++) {
        storvsp_add_lun(sg->storvsp, 1, &sg->other);
        storvsp_remove_lun(sg->storvsp, 1);
    }
    for (;;) {
        vg_run(sg->vg);
        if (!vg_read_packet(&sg->channel, &head, ext, &ext_size, bytes, &size)) {
            break;
        }
        announced += load_le32(bytes) == STOR_ENUMERATE_BUS;
    }
    ck_assert_uint_ge(announced, 1);
    sg_expect_none(sg, &sg->channel);
}
END_TEST

START_TEST(test_revoke)
{
    const struct sg_srb srb = sg_rw(0x28, 0, 1);
    sg = sg_ready(8, 0);
    must(!storvsp_offer(sg->storvsp, sg->vg->server, &sg_instance)); // it is offered
    sg->disk.hold = true;
    sg_send(sg, &sg->channel, &srb, 0);
    vg_run(sg->vg);
    storvsp_revoke(sg->storvsp);
    vg_run(sg->vg);
    ck_assert(!storvsp_is_gone(sg->storvsp));
    fake_block_release(&sg->disk);
    vg_run(sg->vg);
    vg_expect(sg->vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
    vg_send_teardown(sg->vg, sg->channel.relid, sg->channel.gpadl);
    vg_expect(sg->vg, VMBUS_GPADL_TORNDOWN, NULL, 0);
    vg_send_relid(sg->vg, VMBUS_RELID_RELEASED, sg->channel.relid);
    ck_assert(storvsp_is_gone(sg->storvsp));
    storvsp_revoke(sg->storvsp);
    must(storvsp_offer(sg->storvsp, sg->vg->server, &sg_instance)); // and comes back
    sg->disk.hold = false;
    sg_open(sg);
    sg_init_protocol(sg, STOR_V6_2);
}
END_TEST

// ---- save and restore --------------------------------------------------------------------------

static uint8_t blob[1 << 16];

static size_t save(void)
{
    struct blob_writer writer = {.data = blob, .capacity = sizeof blob};
    must(vmbus_server_save(sg->vg->server, &writer));
    return writer.used;
}

// A fresh server and controller over the same guest memory and units.
static bool restore(size_t size)
{
    const struct storvsp_limits limits = {8, 2};
    struct blob_reader reader = {.data = blob, .size = size};
    vg_new_server(sg->vg, vg_default_limits());
    free(sg->arena);
    sg->arena = malloc(storvsp_size(&limits));
    sg->storvsp = storvsp_init(sg->arena, storvsp_size(&limits), &limits);
    must(storvsp_add_lun(sg->storvsp, 0, &sg->unit));
    must(storvsp_offer(sg->storvsp, sg->vg->server, &sg_instance));
    return vmbus_server_restore(sg->vg->server, &reader);
}

START_TEST(test_save_and_restore)
{
    const struct sg_srb srb = sg_rw(0x28, 3, 1);
    sg = sg_ready(8, 2);
    must_equal(sg_op(sg, STOR_CREATE_SUB_CHANNELS, 1), 0);
    vg_take_offers(sg->vg);
    struct vg_channel sub = vg_open(sg->vg, vg_relid(sg->vg, &sg_class, 1), SG_RING, SG_RING);
    sg_run_srb(sg, &srb, SRB_SUCCESS, 0, 512);
    scsi_lun_resized(&sg->unit);
    sg->unit.write_cache = false;
    const uint64_t id = sg_send(sg, &sub, &srb, 0); // taken by neither yet
    const size_t size = save();
    sg->unit.attentions = 0;
    sg->unit.write_cache = true;
    must(restore(size));
    ck_assert(!sg->unit.write_cache);
    sg_expect(sg, &sub, id);
    sg_expect_srb(sg, SRB_ERROR | SRB_AUTOSENSE, 2, 0);
    ck_assert_uint_eq(sg->packet[SRB_CDB + 12], 0x2A);
    sg_run_srb(sg, &srb, SRB_SUCCESS, 0, 512);
    must_equal(sg_op(sg, STOR_CREATE_SUB_CHANNELS, 1), STOR_STATUS_DEVICE_STATE);
    vg_close(&sub);
    vg_send_relid(sg->vg, VMBUS_CLOSECHANNEL, sg->channel.relid);
    vg_expect(sg->vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0); // the subchannel's offer
    vg_teardown(sg->vg, sg->channel.relid, sg->channel.gpadl);
    sg->channel = vg_open(sg->vg, sg->channel.relid, SG_RING, SG_RING);
    sg_init_protocol(sg, STOR_V6_2);
}
END_TEST

// Whatever has become of the blob: it is refused, or what it says is possible.
START_TEST(test_restore_hostile)
{
    sg = sg_ready(8, 2);
    const size_t size = save();
    unsigned refused = 0;
    for (size_t i = 0; i < size; i++) {
        const uint8_t before = blob[i];
        blob[i] ^= (uint8_t)(1 << i % 8);
        if (restore(size)) {
            vg_run(sg->vg);
        } else {
            refused++;
        }
        blob[i] = before;
    }
    ck_assert_uint_gt(refused, 20);
    for (size_t i = 0; i < size; i++) {
        ck_assert(!restore(i));
    }
    must(storvsp_remove_lun(sg->storvsp, 0) == &sg->unit);
    must(restore(size));
}
END_TEST

START_TEST(test_limits)
{
    static uint64_t arena[20000];
    struct storvsp_limits limits = {0, 0};
    ck_assert_uint_eq(storvsp_size(&limits), 0);
    limits.requests = 4097;
    ck_assert_uint_eq(storvsp_size(&limits), 0);
    limits = (struct storvsp_limits){1, 256};
    ck_assert_uint_eq(storvsp_size(&limits), 0);
    ck_assert_ptr_null(storvsp_init(arena, sizeof arena, &limits));
    limits = (struct storvsp_limits){4, 4};
    const size_t size = storvsp_size(&limits);
    ck_assert_ptr_null(storvsp_init(arena, size - 1, &limits));
    ck_assert_ptr_null(storvsp_init((uint8_t *)arena + 4, size, &limits));
    ck_assert_ptr_nonnull(storvsp_init(arena, size, &limits));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("storvsp");
    TCase *tests = tcase_create("storvsp");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, NULL, teardown);
    tcase_add_loop_test(tests, test_versions, 0, (int)(sizeof versions / sizeof *versions));
    tcase_add_test(tests, test_no_sub_channels);
    tcase_add_test(tests, test_order);
    tcase_add_test(tests, test_unknown_operations);
    tcase_add_test(tests, test_packet_sizes);
    tcase_add_test(tests, test_reopen);
    tcase_add_test(tests, test_read_and_write);
    tcase_add_test(tests, test_offset);
    tcase_add_test(tests, test_errors);
    tcase_add_test(tests, test_missing_units);
    tcase_add_test(tests, test_hostile_srbs);
    tcase_add_test(tests, test_hostile_ranges);
    tcase_add_loop_test(tests, test_no_completion_wanted, 0, 2);
    tcase_add_test(tests, test_unexpected_completion);
    tcase_add_test(tests, test_flood);
    tcase_add_test(tests, test_starved);
    tcase_add_test(tests, test_small_ring);
    tcase_add_test(tests, test_close_in_flight);
    tcase_add_loop_test(tests, test_reset, 0, 3);
    tcase_add_test(tests, test_reset_and_close);
    tcase_add_test(tests, test_sub_channels);
    tcase_add_test(tests, test_sub_channels_starved);
    tcase_add_test(tests, test_hot_plug);
    tcase_add_test(tests, test_hot_plug_full);
    tcase_add_test(tests, test_revoke);
    tcase_add_test(tests, test_save_and_restore);
    tcase_add_test(tests, test_restore_hostile);
    tcase_add_test(tests, test_limits);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
