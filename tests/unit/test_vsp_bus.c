// SPDX-License-Identifier: BSD-2-Clause-Patent
// Devices over the real bus: rings, page lists, transfer pages, pipes, subchannels. What each
// device does is tested elsewhere; here that it and the bus fit together.
#include <check.h>

#include "net_frames.h"
#include "root/lib/vsp/ic/heartbeat.h"
#include "root/lib/vsp/ic/shutdown.h"
#include "root/lib/vsp/keyboard.h"
#include "root/lib/vsp/net/netvsp.h"
#include "root/lib/vsp/wire.h"
#include "vmbus_guest.h"

enum { SLOTS = 300, RECEIVE_PAGES = 160, SEND_PAGES = 6, QUEUE = 128 * 1024, PIPE_HEADER = 8 };

static struct vg *vg;
static struct virtual_switch sw;
static struct netvsp vsp;
static struct netvsp_slot slots[SLOTS];
static struct netvsp_scratch scratch;
static struct switch_port peer;
static uint8_t queue[QUEUE] __attribute__((aligned(8)));
static uint8_t peer_queue[QUEUE] __attribute__((aligned(8)));
static struct heartbeat heartbeat;
static struct shutdown_ic shutdown_dev;
static struct keyboard keyboard;
static uint32_t shutdown_status;

static const struct vmbus_guid net_class =
    VMBUS_GUID(0xf8615163, 0xdf3e, 0x46c5, 0x91, 0x3f, 0xf2, 0xd2, 0xf9, 0x65, 0xed, 0x0e);

// The guest's network driver.
static struct vg_channel net;
static uint64_t receive_gpn, send_gpn, page_gpn;
static uint32_t receive_gpadl, send_gpadl, slot_size;
static unsigned frames;
static uint32_t frame_sizes[1024];
static uint32_t control[64];

static void answered(void *ctx, uint32_t status)
{
    (void)ctx;
    shutdown_status = status;
}

static void setup(void)
{
    const struct netvsp_config config = {
        .instance_id = {{1}},
        .address = frame_address(1),
        .name = "net0",
        .link_bps = 1000000000,
        .frame_max = ETHER_FRAME_STANDARD,
        .queues = 2,
        .sw = &sw,
        .queue_memory = queue,
        .queue_size = QUEUE,
        .slots = slots,
        .slot_count = SLOTS,
        .scratch = &scratch,
    };
    const struct port_config port = {.address = frame_address(9), .max_frame = 1514};

    vg = vg_create(NULL);
    switch_init(&sw, 5);
    ck_assert(netvsp_create(&vsp, vg->server, &config));
    ck_assert(heartbeat_create(&heartbeat, vg->server));
    ck_assert(shutdown_create(&shutdown_dev, vg->server, NULL, answered));
    ck_assert(keyboard_create(&keyboard, vg->server));
    ck_assert(switch_attach(&sw, &peer, &port, peer_queue, QUEUE));
    switch_set_filter(&peer, FILTER_DIRECTED | FILTER_BROADCAST);
    vg_connect(vg, VMBUS_V5_3);
    ck_assert_uint_eq(vg->offer_count, 4);
    frames = 0;
}

static void teardown(void)
{
    vg_destroy(vg);
}

// ---- network -----------------------------------------------------------------------------------

static void nvsp(uint32_t type, uint32_t a, uint32_t b, uint8_t *answer)
{
    uint8_t message[NVSP_SIZE] = {0};

    le32_put(message, type);
    le32_put(message + 4, a);
    le32_put(message + 8, b);
    ck_assert(vg_write(&net, type, message, sizeof message));
    vg_run(vg);
    vg_expect_completion(&net, type, answer);
}

// Takes what the host sends: frames, control messages, completions of packets.
static void take_all(struct vg_channel *channel)
{
    struct vg_packet head;
    uint8_t ext[2048], data[256];
    uint32_t ext_size, size;

    while (vg_read_packet(channel, &head, ext, &ext_size, data, &size)) {
        if (head.type != VMBUS_PACKET_TRANSFER_PAGES) {
            continue;
        }
        ck_assert_uint_eq(le16_get(ext), 0xCAFE);
        for (uint32_t i = 0; i < le32_get(ext + 4); i++) {
            const uint32_t length = le32_get(ext + 8 + 8 * i), at = le32_get(ext + 12 + 8 * i);
            const uint8_t *message = vg_at(vg, receive_gpn) + at;
            ck_assert_uint_le(at + length, RECEIVE_PAGES * VMBUS_PAGE);
            if (le32_get(message) == RNDIS_PACKET) {
                frame_sizes[frames++ % 1024] = le32_get(message + 12);
            } else {
                memcpy(control, message, length < sizeof control ? length : sizeof control);
            }
        }
        const uint8_t done[NVSP_SIZE] = {NVSP_SEND_RNDIS_COMPLETE, 0, 0, 0, NVSP_STATUS_SUCCESS};
        ck_assert(vg_write_packet(channel, VMBUS_PACKET_COMPLETION, false, head.transaction_id,
                                  NULL, 0, done, sizeof done));
    }
}

static void rndis(struct vg_channel *channel, bool is_control, const void *bytes, uint32_t size)
{
    uint8_t message[NVSP_SIZE] = {NVSP_SEND_RNDIS};

    le32_put(message + 4, is_control);
    le32_put(message + 8, NVSP_NO_SECTION);
    memcpy(vg_at(vg, page_gpn) + 500, bytes, size);
    while (!vg_write_direct(channel, 77, page_gpn, 500, size, message, sizeof message)) {
        vg_run(vg);
        take_all(channel);
    }
}

static void net_up(uint32_t ring_pages)
{
    const uint32_t init[6] = {RNDIS_INITIALIZE, 24, 1, 1, 0, 0x4000};
    const uint32_t filter[8] = {RNDIS_SET, 32, 2, OID_PACKET_FILTER, 4, 20, 0, 9};
    uint8_t answer[256];

    net = vg_open(vg, vg_relid(vg, &net_class, 0), ring_pages, ring_pages);
    receive_gpn = vg_alloc(vg, RECEIVE_PAGES);
    send_gpn = vg_alloc(vg, SEND_PAGES);
    page_gpn = vg_alloc(vg, 2);
    receive_gpadl = vg_make_gpadl(vg, net.relid, receive_gpn, RECEIVE_PAGES);
    send_gpadl = vg_make_gpadl(vg, net.relid, send_gpn, SEND_PAGES);
    nvsp(NVSP_INIT, NVSP_VERSION_5, NVSP_VERSION_5, answer);
    ck_assert_uint_eq(le32_get(answer + 12), NVSP_STATUS_SUCCESS);
    nvsp(NVSP_SEND_RECEIVE_BUFFER, receive_gpadl, 0xCAFE, answer);
    ck_assert_uint_eq(le32_get(answer + 4), NVSP_STATUS_SUCCESS);
    slot_size = le32_get(answer + 16);
    nvsp(NVSP_SEND_SEND_BUFFER, send_gpadl, 0, answer);
    ck_assert_uint_eq(le32_get(answer + 4), NVSP_STATUS_SUCCESS);
    rndis(&net, true, init, sizeof init);
    vg_run(vg);
    take_all(&net);
    ck_assert_uint_eq(control[0], RNDIS_INITIALIZE | RNDIS_COMPLETE);
    rndis(&net, true, filter, sizeof filter);
    vg_run(vg);
    take_all(&net);
    ck_assert_uint_eq(control[0], RNDIS_SET | RNDIS_COMPLETE);
    ck_assert_uint_eq(control[3], 0);
}

static void guest_frame(struct vg_channel *channel, uint32_t size)
{
    uint8_t message[2000] = {0}, bytes[1514];

    frame_make(bytes, size, 9, 1);
    le32_put(message, RNDIS_PACKET);
    le32_put(message + 4, 44 + size);
    le32_put(message + 8, 36);
    le32_put(message + 12, size);
    memcpy(message + 44, bytes, size);
    rndis(channel, false, message, 44 + size);
}

START_TEST(test_net_both_ways)
{
    uint8_t bytes[1514];
    struct frame frame;

    net_up(9);
    for (uint32_t i = 0; i < 1000; i++) {
        guest_frame(&net, 60 + i % 1400);
        vg_run(vg);
        ck_assert(switch_peek(&peer, &frame));
        ck_assert_uint_eq(frame.size, 60 + i % 1400);
        frame_make(bytes, frame.size, 9, 1);
        ck_assert_int_eq(memcmp(frame.bytes, bytes, frame.size), 0);
        switch_pop(&peer);
        frame = frame_make(bytes, 100 + i % 1400, 1, 9);
        switch_send(&sw, &peer, &frame, vg->now);
        vg_run(vg);
        take_all(&net);
        ck_assert_uint_eq(frames, i + 1);
        ck_assert_uint_eq(frame_sizes[i % 1024], 100 + i % 1400);
    }
    vg_run(vg);
    ck_assert_uint_eq(vsp.receive.free_count, vsp.receive.slots);
}
END_TEST

// Small rings, and a guest that is slow: nothing that was queued is lost or late.
START_TEST(test_net_pressure)
{
    uint8_t bytes[1514];
    unsigned sent = 0;

    net_up(2);
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < 60; i++) {
            const struct frame frame = frame_make(bytes, 60 + sent++ % 1000, 1, 9);
            switch_send(&sw, &peer, &frame, vg->now);
        }
        guest_frame(&net, 100);
        vg_run(vg);
        while (peer.queue.frames) {
            switch_pop(&peer);
        }
        for (unsigned i = 0; i < 3; i++) {
            take_all(&net);
            vg_run(vg);
        }
    }
    take_all(&net);
    vg_run(vg);
    ck_assert_uint_eq(frames + vsp.nic.port.statistics.out_full, sent);
    ck_assert_uint_gt(frames, 5000);
    ck_assert_uint_eq(vsp.receive.free_count, vsp.receive.slots);
    ck_assert_uint_eq(vg->logged, 0);
}
END_TEST

START_TEST(test_net_subchannel)
{
    struct vg_channel sub;
    struct vg_packet head;
    uint8_t answer[256], ext[16];
    uint32_t ext_size, size;

    net_up(9);
    nvsp(NVSP_SUBCHANNEL, 1, 5, answer);
    ck_assert_uint_eq(le32_get(answer + 8), 1);
    vg_take_offers(vg);
    sub = vg_open(vg, vg_relid(vg, &net_class, 1), 9, 9);
    ck_assert(vg_read_packet(&net, &head, ext, &ext_size, answer, &size));
    ck_assert_uint_eq(le32_get(answer), NVSP_SEND_INDIRECTION_TABLE);
    guest_frame(&sub, 200);
    vg_run(vg);
    ck_assert_uint_eq(peer.queue.frames, 1);
    vg_close(&sub);
    guest_frame(&net, 200);
    vg_run(vg);
    ck_assert_uint_eq(peer.queue.frames, 2);
    ck_assert_uint_eq(vsp.opened, 0);
}
END_TEST

// The guest tears the receive buffer down while frames are under way, then closes.
START_TEST(test_net_ends)
{
    uint8_t bytes[100];

    for (unsigned i = 0; i < 3; i++) {
        net_up(5);
        const struct frame frame = frame_make(bytes, 100, 1, 9);
        for (unsigned j = 0; j < 40; j++) {
            switch_send(&sw, &peer, &frame, vg->now);
        }
        vg_run(vg);
        if (i == 1) {
            vg_teardown(vg, net.relid, receive_gpadl);
            ck_assert(!vsp.receive.buffer.held);
            switch_send(&sw, &peer, &frame, vg->now);
            vg_run(vg);
        }
        vg_close(&net);
        vg_run(vg);
        ck_assert(!vsp.receive.buffer.held && !vsp.send.buffer.held);
        if (i != 1) {
            vg_teardown(vg, net.relid, receive_gpadl);
        }
        vg_teardown(vg, net.relid, send_gpadl);
    }
    netvsp_remove(&vsp);
    vg_run(vg);
    ck_assert(netvsp_gone(&vsp));
}
END_TEST

// ---- components --------------------------------------------------------------------------------

static struct vg_channel open_component(const struct vmbus_guid *class_id)
{
    return vg_open(vg, vg_relid(vg, class_id, 0), 4, 4);
}

// Takes a request (behind the pipe's header); false: there is none.
static bool take_request(struct vg_channel *channel, uint8_t *message, uint32_t *size)
{
    struct vg_packet head;
    uint8_t ext[16];
    uint32_t ext_size, padded;

    vg_run(vg);
    if (!vg_read_packet(channel, &head, ext, &ext_size, message, &padded)) {
        return false;
    }
    ck_assert_uint_eq(le32_get(message), 1);
    *size = PIPE_HEADER + le32_get(message + 4);
    ck_assert_uint_le(*size, padded);
    return true;
}

static void answer_request(struct vg_channel *channel, uint8_t *message, uint32_t size)
{
    message[PIPE_HEADER + 17] = 5;
    ck_assert(vg_write_packet(channel, VMBUS_PACKET_IN_BAND, false, 1, NULL, 0, message, size));
    vg_run(vg);
}

static void negotiate(struct vg_channel *channel)
{
    uint8_t message[4096];
    uint32_t size;

    ck_assert(take_request(channel, message, &size));
    uint8_t *body = message + PIPE_HEADER + IC_HEADER;
    const uint32_t versions = le16_get(body + 2);
    memmove(body + 8, body + 12, 4);                       // framework 3.0
    memmove(body + 12, body + 16 + 4 * (versions - 1), 4); // the newest
    memcpy(body, "\1\0\1\0", 4);
    answer_request(channel, message, size);
}

START_TEST(test_components)
{
    struct vg_channel beat = open_component(&heartbeat.ic.class->class_id);
    struct vg_channel down = open_component(&shutdown_dev.ic.class->class_id);
    uint8_t message[4096];
    uint32_t size;

    negotiate(&beat);
    negotiate(&down);
    for (unsigned i = 1; i <= 10; i++) {
        ck_assert(take_request(&beat, message, &size));
        message[PIPE_HEADER + IC_HEADER]++;
        answer_request(&beat, message, size);
        ck_assert_int_eq(heartbeat.state, HEARTBEAT_OK);
        ck_assert_uint_eq(heartbeat.beats, i);
        vg_wait(vg, HEARTBEAT_INTERVAL);
    }
    vg_wait(vg, HEARTBEAT_TIMEOUT);
    ck_assert_int_eq(heartbeat.state, HEARTBEAT_LOST);
    shutdown_status = 99;
    ck_assert(shutdown_request(&shutdown_dev, SHUTDOWN_POWER_OFF, true, "bye"));
    ck_assert(take_request(&down, message, &size));
    ck_assert_uint_eq(le32_get(message + PIPE_HEADER + IC_HEADER + 8), 1);
    answer_request(&down, message, size);
    ck_assert_uint_eq(shutdown_status, IC_STATUS_OK);
    ck_assert_uint_eq(vg->logged, 0);
}
END_TEST

START_TEST(test_keyboard)
{
    struct vg_channel keys = open_component(&vg->offers[vg->offer_count - 1].class_id);
    const uint32_t request[2] = {1, 0x10000};
    struct vg_packet head;
    uint8_t message[256], ext[16];
    uint32_t ext_size, size;

    ck_assert(keyboard_key(&keyboard, 0x1C, 0));
    ck_assert(vg_write(&keys, 3, request, sizeof request));
    vg_run(vg);
    vg_expect_completion(&keys, 3, message);
    ck_assert(vg_read_packet(&keys, &head, ext, &ext_size, message, &size));
    ck_assert_uint_eq(le32_get(message), 2);
    ck_assert(vg_read_packet(&keys, &head, ext, &ext_size, message, &size));
    ck_assert_uint_eq(le32_get(message), 3);
    ck_assert_uint_eq(le16_get(message + 4), 0x1C);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vsp_bus");
    TCase *tests = tcase_create("vsp_bus");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_net_both_ways);
    tcase_add_test(tests, test_net_pressure);
    tcase_add_test(tests, test_net_subchannel);
    tcase_add_test(tests, test_net_ends);
    tcase_add_test(tests, test_components);
    tcase_add_test(tests, test_keyboard);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
