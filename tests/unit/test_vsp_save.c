// SPDX-License-Identifier: BSD-2-Clause-Patent
// Devices are saved with their bus and restored on a fresh one: their guests' drivers do not
// notice. And what a blob that was tampered with can do: nothing but be refused.
#include "vsp_guest.h"

static uint8_t blob[1 << 20], again[sizeof blob];
static size_t blob_size;

static size_t save_to(uint8_t *bytes)
{
    struct blob_writer writer = {.data = bytes, .capacity = sizeof blob};
    ck_assert(vmbus_server_save(vg->server, &writer));
    return writer.used;
}

static bool restore(void)
{
    struct blob_reader reader = {.data = blob, .size = blob_size};

    vg_new_server(vg, vg_default_limits());
    attach_devices();
    return vmbus_server_restore(vg->server, &reader);
}

// Save, forget everything, restore.
static void migrate(void)
{
    blob_size = save_to(blob);
    ck_assert(restore());
    ck_assert_uint_eq(save_to(again), blob_size);
    ck_assert_mem_eq(again, blob, blob_size);
    vg_run(vg);
}

static void peer_frame(uint32_t size)
{
    uint8_t bytes[1514];
    const struct frame frame = frame_make(bytes, size, 1, 9);
    switch_send(&sw, &peer, &frame, vg->now);
    vg_run(vg);
}

START_TEST(test_nothing_open)
{
    migrate();
    net_up(9);
    peer_frame(100);
    take_all(&net);
    ck_assert_uint_eq(frames, 1);
}
END_TEST

START_TEST(test_network)
{
    struct vg_channel sub;
    uint8_t answer[256];
    const uint8_t done[NVSP_SIZE] = {NVSP_SEND_RNDIS_COMPLETE, 0, 0, 0, NVSP_STATUS_SUCCESS};

    net_up(9);
    nvsp(NVSP_SUBCHANNEL, 1, 1, answer);
    vg_take_offers(vg);
    sub = vg_open(vg, vg_relid(vg, &net_class, 1), 9, 9);
    take_all(&net);
    keep_transfers = true;
    for (unsigned i = 0; i < 30; i++) {
        peer_frame(100 + i);
    }
    take_all(&net);
    ck_assert_uint_eq(frames, 30);
    for (unsigned i = 0; i < 20; i++) {
        peer_frame(200); // in the ring, not seen by the guest
    }
    const uint32_t free_before = vsp.receive.free_count;
    migrate();
    ck_assert_uint_eq(vsp.receive.free_count, free_before);
    ck_assert_uint_eq(vsp.opened, 1);
    take_all(&net);
    ck_assert_uint_eq(frames, 50);
    // What was with the guest comes back; ids are good once.
    for (unsigned twice = 0; twice < 2; twice++) {
        for (unsigned i = 0; i < kept_count; i++) {
            ck_assert(vg_write_packet(&net, VMBUS_PACKET_COMPLETION, false, kept[i], NULL, 0, done,
                                      sizeof done));
            vg_run(vg);
        }
    }
    ck_assert_uint_eq(vsp.receive.free_count, vsp.receive.slots);
    ck_assert_uint_eq(vsp.statistics.refused_transfers, kept_count);
    keep_transfers = false;
    for (unsigned i = 0; i < 100; i++) {
        peer_frame(100 + i);
        take_all(&net);
        guest_frame(&net, 100);
        vg_run(vg);
        guest_frame(&sub, 101);
        vg_run(vg);
        take_all(&sub);
    }
    ck_assert_uint_eq(frames, 150);
    ck_assert_uint_eq(peer.queue.frames, 200);
    ck_assert_uint_eq(vsp.nic.port.filter, 9);
}
END_TEST

START_TEST(test_components)
{
    struct vg_channel beat = open_component(&heartbeat.ic.class->class_id);
    struct vg_channel down = open_component(&shutdown_dev.ic.class->class_id);
    uint8_t message[4096];
    uint32_t size;

    negotiate(&beat);
    ck_assert(take_request(&beat, message, &size));
    migrate(); // one waits for the guest's version, one for its answer
    ck_assert_int_eq(heartbeat.ic.state, IC_READY);
    answer_request(&beat, message, size);
    ck_assert_uint_eq(heartbeat.ic.ignored, 1); // the request was the old host's
    ck_assert(take_request(&beat, message, &size));
    message[PIPE_HEADER + IC_HEADER]++;
    answer_request(&beat, message, size);
    ck_assert_int_eq(heartbeat.state, HEARTBEAT_OK);
    negotiate(&down);
    migrate();
    ck_assert(shutdown_request(&shutdown_dev, SHUTDOWN_HIBERNATE, false, NULL));
}
END_TEST

// The next message is this operation, whatever came before; the guest says that it is done.
static void obey(struct vg_channel *backup, uint8_t operation)
{
    uint8_t message[512];
    uint32_t size;

    ck_assert(take_request(backup, message, &size));
    ck_assert_uint_eq(message[PIPE_HEADER + IC_HEADER], operation);
    answer_request(backup, message, size);
}

// Who is saved frozen is not left so: the owner that would thaw it is another's.
START_TEST(test_backup)
{
    enum { CHECK = 2, COMPLETE = 4, FREEZE = 5, THAW = 6 };
    struct vg_channel backup = open_component(&vss.ic.class->class_id);
    uint8_t message[512];
    uint32_t size;

    negotiate(&backup);
    migrate();
    ck_assert(!take_request(&backup, message, &size)); // nothing to thaw
    ck_assert(vss_freeze(&vss));
    obey(&backup, CHECK);
    obey(&backup, FREEZE);
    ck_assert_int_eq(vss.state, VSS_FROZEN);
    ck_assert_uint_eq(vss_frozen, 1);
    migrate();
    obey(&backup, THAW);
    obey(&backup, COMPLETE);
    ck_assert_int_eq(vss.state, VSS_IDLE);
    ck_assert_uint_eq(vss_thawed, 0);
    ck_assert(vss_freeze(&vss));
    obey(&backup, CHECK);
    ck_assert(
        take_request(&backup, message, &size)); // FREEZE: nobody knows whether it has happened
    migrate();
    answer_request(&backup, message, size);
    ck_assert_int_eq(vss.state, VSS_THAWING);
    migrate(); // and once more before it has obeyed
    ck_assert(take_request(&backup, message, &size));
    ck_assert_uint_eq(message[PIPE_HEADER + IC_HEADER], THAW);
    answer_request(&backup, message, size); // of the one before
    obey(&backup, THAW);
    obey(&backup, COMPLETE);
    migrate();
    ck_assert(!take_request(&backup, message, &size));
    ck_assert_uint_eq(vss_frozen, 1);
    ck_assert(vss_freeze(&vss));
}
END_TEST

START_TEST(test_keyboard)
{
    struct vg_channel keys = open_component(&keyboard_class);
    const uint32_t request[2] = {1, 0x10000};
    struct vg_packet head;
    uint8_t message[256], ext[16];
    uint32_t ext_size, size;

    ck_assert(vg_write(&keys, 3, request, sizeof request));
    vg_run(vg);
    migrate();
    ck_assert(keyboard_key(&keyboard, 0x1C, 0));
    vg_expect_completion(&keys, 3, message);
    ck_assert(vg_read_packet(&keys, &head, ext, &ext_size, message, &size));
    ck_assert(vg_read_packet(&keys, &head, ext, &ext_size, message, &size));
    ck_assert_uint_eq(le16_get(message + 4), 0x1C);
}
END_TEST

static void memory_message(struct vg_channel *channel, uint16_t type, uint64_t a, uint64_t b,
                           uint16_t size)
{
    uint8_t message[32] = {0};

    le16_put(message, type);
    le16_put(message + 2, size);
    le64_put(message + 8, a);
    le64_put(message + 16, b);
    ck_assert(vg_write_packet(channel, VMBUS_PACKET_IN_BAND, false, 1, NULL, 0, message, size));
    vg_run(vg);
}

static struct vg_channel memory_up(void)
{
    struct vg_channel memory = open_component(&dynmem_class);

    memory_message(&memory, 1, DYNMEM_2_0, 0, 16);
    memory_message(&memory, 3, 3, 0, 32);
    vg->now += DYNMEM_DELAY_100NS;
    ck_assert(dynmem_idle(&dynmem));
    return memory;
}

START_TEST(test_memory)
{
    struct vg_channel memory = memory_up();

    ck_assert(dynmem_balloon(&dynmem, 300));
    memory_message(&memory, 7, UINT64_C(2) << 32, UINT64_C(300) << 40 | 1000, 24);
    ck_assert_uint_eq(dynmem_dones, 1);
    ck_assert(dynmem_balloon(&dynmem, 200));
    migrate(); // in the middle of it
    ck_assert_uint_eq(taken_pages, 300);
    ck_assert_uint_eq(dynmem.ballooned, 300);
    memory_message(&memory, 7, UINT64_C(2) << 32, UINT64_C(200) << 40 | 5000, 24);
    ck_assert_uint_eq(dynmem_dones, 2);
    ck_assert_uint_eq(dynmem_moved, 200);
    ck_assert_uint_eq(taken_pages, 500);
    ck_assert(dynmem_unballoon(&dynmem, 500));
    memory_message(&memory, 9, 0, 0, 8);
    ck_assert_uint_eq(taken_pages, 0);
}
END_TEST

// Everything is open and busy; then one byte of the blob changes.
START_TEST(test_tampered)
{
    unsigned refused = 0, accepted = 0;
    uint8_t answer[256];

    net_up(9);
    nvsp(NVSP_SUBCHANNEL, 1, 1, answer);
    vg_take_offers(vg);
    vg_open(vg, vg_relid(vg, &net_class, 1), 4, 4);
    struct vg_channel beat = open_component(&heartbeat.ic.class->class_id);
    negotiate(&beat);
    memory_up();
    ck_assert(dynmem_balloon(&dynmem, 300));
    keep_transfers = true;
    for (unsigned i = 0; i < 30; i++) {
        peer_frame(100 + i);
    }
    take_all(&net);
    blob_size = save_to(blob);
    const size_t devices = blob_size > 3000 ? blob_size - 3000 : 0;
    srand(7);
    for (unsigned i = 0; i < 3000; i++) {
        const size_t at =
            i % 8 ? devices + (size_t)i % (blob_size - devices) : (size_t)rand() % blob_size;
        const uint8_t old = blob[at];
        blob[at] ^= (uint8_t)(1u << rand() % 8);
        if (restore()) {
            accepted++;
            const uint8_t message[NVSP_SIZE] = {
                NVSP_SEND_RNDIS, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF};
            peer_frame(100);
            vg_write_direct(&net, 1, page_gpn, 500, 200, message, sizeof message);
            vg->now += IC_SECONDS(3);
            vg_run(vg);
        } else {
            refused++;
        }
        blob[at] = old;
    }
    ck_assert_uint_gt(refused, 500);
    ck_assert_uint_gt(accepted, 100);
    for (size_t size = 0; size < blob_size; size += 13) { // cut off
        struct blob_reader reader = {.data = blob, .size = size};
        vg_new_server(vg, vg_default_limits());
        attach_devices();
        ck_assert(!vmbus_server_restore(vg->server, &reader));
    }
    ck_assert(restore());
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vsp_save");
    TCase *tests = tcase_create("vsp_save");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, test_nothing_open);
    tcase_add_test(tests, test_network);
    tcase_add_test(tests, test_components);
    tcase_add_test(tests, test_backup);
    tcase_add_test(tests, test_keyboard);
    tcase_add_test(tests, test_memory);
    tcase_add_test(tests, test_tampered);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
