// SPDX-License-Identifier: BSD-2-Clause-Patent
// Devices over the real bus: rings, page lists, transfer pages, pipes, subchannels. What each
// device does is tested elsewhere; here that it and the bus fit together.
#include "vsp_guest.h"

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
    struct vg_channel keys = open_component(&keyboard_class);
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
