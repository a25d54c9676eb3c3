// SPDX-License-Identifier: BSD-2-Clause-Patent
// Saving a bus and restoring it into a fresh server over the same guest memory: the guest must not
// notice, and a blob that somebody has tampered with must not do harm.
#include <check.h>

#include "vmbus_echo.h"

static struct vg *vg;
static struct echo echo, other;
static uint8_t blob[1 << 20];
static size_t blob_size;

static void setup(void)
{
    vg = vg_create(NULL);
    echo_attach(&echo, vg, 1);
    echo_attach(&other, vg, 2);
    echo.saved = 0x11111111;
    other.saved = 0x22222222;
}

static void teardown(void)
{
    vg_destroy(vg);
}

static size_t save_to(uint8_t *bytes, size_t capacity)
{
    struct blob_writer writer = {.data = bytes, .capacity = capacity};

    ck_assert(vmbus_server_save(vg->server, &writer));
    return writer.used;
}

static void fresh_server(void)
{
    vg_new_server(vg, vg_default_limits());
    echo_attach(&echo, vg, 1);
    echo_attach(&other, vg, 2);
}

static bool restore_bytes(const uint8_t *bytes, size_t size)
{
    struct blob_reader reader = {.data = bytes, .size = size};

    return vmbus_server_restore(vg->server, &reader);
}

// Save, forget everything, restore.
static void migrate(void)
{
    static uint8_t again[sizeof blob];

    blob_size = save_to(blob, sizeof blob);
    fresh_server();
    ck_assert(restore_bytes(blob, blob_size));
    // What was restored saves to the same bytes.
    ck_assert_uint_eq(save_to(again, sizeof again), blob_size);
    ck_assert_mem_eq(again, blob, blob_size);
    vg_run(vg);
}

START_TEST(test_empty)
{
    migrate();
    ck_assert_uint_eq(echo.saved, 0x11111111);
    ck_assert_uint_eq(other.saved, 0x22222222);
    vg_connect(vg, VMBUS_V5_3);
    ck_assert_uint_eq(vg->offer_count, 2);
}
END_TEST

START_TEST(test_open_channel)
{
    uint8_t data[16];

    vg_connect(vg, VMBUS_V5_1);
    struct vg_channel channel = vg_open(vg, 1, 4, 4);
    // Traffic moves the indices; one packet is in each ring when it happens.
    for (unsigned i = 0; i < 100; i++) {
        ck_assert(vg_write(&channel, i + 1, "12345678", 8));
        vg_run(vg);
        vg_expect_completion(&channel, i + 1, data);
    }
    ck_assert_uint_eq(vmbus_channel_send(echo.channel, 500, false, "abcdefgh", 8), VMBUS_SEND_OK);
    ck_assert(vg_write(&channel, 501, "12345678", 8));
    const uint32_t signals = vg->signals;
    migrate();
    ck_assert_uint_eq(vmbus_channel_version(echo.channel), VMBUS_V5_1);
    ck_assert(vmbus_channel_is_open(echo.channel));
    ck_assert(vg->listening[1]);
    ck_assert_uint_eq(vmbus_channel_target_vp(echo.channel), 1);
    ck_assert_uint_gt(vg->signals, signals); // the guest is woken
    ck_assert_uint_eq(echo.packets, 1);      // and so is the device
    struct vg_packet head;
    uint32_t ext_size, size;
    ck_assert(vg_read_packet(&channel, &head, data, &ext_size, data, &size));
    ck_assert_uint_eq(head.transaction_id, 500);
    vg_expect_completion(&channel, 501, data);
    vg_close(&channel);
    vg_expect_nothing(vg);
    vg_unload(vg);
}
END_TEST

START_TEST(test_everything_at_once)
{
    struct vmbus_ranges ranges;

    vg_connect(vg, VMBUS_V5_3);
    struct vg_channel channel = vg_open(vg, 1, 4, 4);
    ck_assert_ptr_nonnull(vmbus_channel_offer_sub(echo.channel));
    ck_assert_ptr_nonnull(vmbus_channel_offer_sub(echo.channel));
    vg_run(vg);
    vg_take_offers(vg);
    struct vg_channel sub = vg_open(vg, 4, 4, 4);
    const uint32_t buffer = vg_make_gpadl(vg, 1, vg_alloc(vg, 100), 100);
    // An unfinished GPADL, and one that is torn down while the rings use it.
    struct vmbus_msg_gpadl_header header = {.header.type = VMBUS_GPADL_HEADER,
                                            .relid = 2,
                                            .gpadl = 5,
                                            .range_bytes = 16,
                                            .range_count = 1};
    vg_send(vg, &header, sizeof header);
    vg_send_teardown(vg, sub.relid, sub.gpadl);
    vg_expect_nothing(vg);
    migrate();
    vg_expect_nothing(vg);
    struct vmbus_channel *second = vmbus_channel_sub(echo.channel, 2);
    ck_assert_ptr_nonnull(second);
    ck_assert(vmbus_channel_is_open(second));
    ck_assert(!vmbus_channel_is_open(vmbus_channel_sub(echo.channel, 1)));
    ck_assert(vmbus_gpadl_acquire(echo.channel, buffer, &ranges));
    ck_assert_uint_eq(ranges.size, 100 * 4096);
    vmbus_gpadl_release(echo.channel, buffer);
    // The unfinished one is finished.
    uint64_t body[4] = {VMBUS_GPADL_BODY, 5ull << 32, 4096, VG_FIRST_PAGE};
    vg_send(vg, body, sizeof body);
    struct vmbus_msg_gpadl_created created;
    vg_expect(vg, VMBUS_GPADL_CREATED, &created, sizeof created);
    ck_assert_uint_eq(created.status, 0);
    // The torn one is answered when its channel closes.
    vg_send_relid(vg, VMBUS_CLOSECHANNEL, sub.relid);
    vg_expect(vg, VMBUS_GPADL_TORNDOWN, NULL, 0);
    vg_send_relid(vg, VMBUS_CLOSECHANNEL, 1);
    vg_expect(vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
    vg_expect(vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
    vg_teardown(vg, 1, channel.gpadl);
}
END_TEST

START_TEST(test_messages_that_wait)
{
    const struct vmbus_header request = {.type = VMBUS_REQUESTOFFERS};

    ck_assert(vg_negotiate(vg, VMBUS_V5_3));
    vg->post_result = VMBUS_POST_LATER;
    vg_send(vg, &request, sizeof request);
    migrate();
    vg->post_result = VMBUS_POST_OK;
    vg_run(vg);
    vg->offer_count = 0;
    vg_take_offers(vg);
    ck_assert_uint_eq(vg->offer_count, 2);
    vg_expect(vg, VMBUS_ALLOFFERS_DELIVERED, NULL, 0);
    // An answer, and a channel's own message.
    vg->post_result = VMBUS_POST_LATER;
    vg_send_open(vg, 1, 4711, 2, 0);
    migrate();
    vg->post_result = VMBUS_POST_OK;
    vg_run(vg);
    ck_assert_uint_eq(vg_open_status(vg, 1), VMBUS_STATUS_FAILED);
}
END_TEST

START_TEST(test_sockets_that_wait)
{
    const struct vmbus_guid service = {{7}};
    struct vmbus_msg_tl_connect message = {.header.type = VMBUS_TL_CONNECT_REQUEST,
                                           .service = service};

    vg_connect(vg, VMBUS_V5_3);
    for (uint8_t i = 1; i <= 2; i++) {
        message.endpoint = (struct vmbus_guid){{i}};
        vg_send(vg, &message, sizeof message);
    }
    vg->post_result = VMBUS_POST_LATER;
    vg_send_teardown(vg, 1, 99); // waits to be posted
    vmbus_server_refuse(vg->server, &message.endpoint, &service, VMBUS_STATUS_REFUSED);
    ck_assert_uint_eq(vg->connects, 2);
    blob_size = save_to(blob, sizeof blob);
    fresh_server();
    ck_assert(restore_bytes(blob, blob_size));
    vg->post_result = VMBUS_POST_OK;
    vg_run(vg);
    ck_assert_uint_eq(vg->connects, 3); // the owner is asked again about the first
    ck_assert_uint_eq(vg->endpoint.bytes[0], 1);
    vg_expect(vg, VMBUS_GPADL_TORNDOWN, NULL, 0);
    vg_expect(vg, VMBUS_TL_CONNECT_RESULT, NULL, 0);
    vg_expect_nothing(vg);
}
END_TEST

START_TEST(test_answer_that_was_not_taken_up)
{
    const struct vmbus_msg_gpadl_teardown message = {
        .header.type = VMBUS_GPADL_TEARDOWN, .relid = 1, .gpadl = 99};

    vg_connect(vg, VMBUS_V5_3);
    ck_assert_uint_eq(vg_try_send(vg, &message, sizeof message), VMBUS_ACCEPTED);
    migrate(); // before the server ran
    vg_expect(vg, VMBUS_GPADL_TORNDOWN, NULL, 0);
    vg_expect_nothing(vg);
}
END_TEST

START_TEST(test_relid_outlives_device)
{
    vg_connect(vg, VMBUS_V5_3);
    vg_open(vg, 1, 2, 2);
    vmbus_channel_rescind(echo.channel);
    vg_run(vg);
    vg_expect(vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
    blob_size = save_to(blob, sizeof blob);
    fresh_server(); // it has the device again, under the same ids
    ck_assert(restore_bytes(blob, blob_size));
    vg_run(vg);
    vg_expect_nothing(vg);
    vg_send_relid(vg, VMBUS_RELID_RELEASED, 1);
    vg->offer_count = 0;
    vg_take_offers(vg);
    ck_assert_uint_eq(vg->offer_count, 1);
    ck_assert_uint_eq(vg->offers[0].relid, 1);
}
END_TEST

START_TEST(test_reserved)
{
    vg_connect(vg, VMBUS_V5_3);
    const uint32_t gpadl = vg_make_gpadl(vg, 1, vg_alloc(vg, 4), 4);
    const struct vmbus_msg_open_reserved open = {.header.type = VMBUS_OPEN_RESERVED_CHANNEL,
                                                 .relid = 1,
                                                 .target_vp = 3,
                                                 .sint = 4,
                                                 .ring_gpadl = gpadl,
                                                 .out_page = 2};
    vg_send(vg, &open, sizeof open);
    vg_expect(vg, VMBUS_OPENCHANNEL_RESULT, NULL, 0);
    vg_unload(vg);
    migrate();
    ck_assert(vmbus_channel_is_open(echo.channel));
    const struct vmbus_msg_close_reserved close = {
        .header.type = VMBUS_CLOSE_RESERVED_CHANNEL, .relid = 1, .target_vp = 1, .sint = 2};
    vg_send(vg, &close, sizeof close);
    ck_assert(!vmbus_channel_is_open(echo.channel));
}
END_TEST

START_TEST(test_not_at_rest)
{
    struct blob_writer writer = {.data = blob, .capacity = sizeof blob};

    echo.late_open = echo.late_close = true;
    vg_connect(vg, VMBUS_V5_3);
    vg_send_open(vg, 1, vg_make_gpadl(vg, 1, vg_alloc(vg, 4), 4), 2, 0);
    ck_assert(!vmbus_server_save(vg->server, &writer));
    vmbus_channel_opened(echo.channel, 0);
    vg_run(vg);
    ck_assert(vmbus_server_save(vg->server, &writer));
    vg_send_relid(vg, VMBUS_CLOSECHANNEL, 1);
    ck_assert(!vmbus_server_save(vg->server, &writer));
    vmbus_channel_closed(echo.channel);
    vg_run(vg);
    ck_assert(vmbus_server_save(vg->server, &writer));
}
END_TEST

START_TEST(test_blob_too_small)
{
    vg_connect(vg, VMBUS_V5_3);
    vg_open(vg, 1, 4, 4);
    const size_t size = save_to(blob, sizeof blob);
    for (size_t capacity = 0; capacity < size; capacity++) {
        uint8_t *exact = malloc(capacity ? capacity : 1);
        struct blob_writer writer = {.data = exact, .capacity = capacity};
        must(!vmbus_server_save(vg->server, &writer));
        must_equal(writer.used, size);
        free(exact);
    }
}
END_TEST

static const struct vmbus_device_ops forgetful_ops = {
    .open = echo_open, .close = echo_close, .wake = echo_wake, .released = echo_released};

START_TEST(test_device_without_state)
{
    const struct vmbus_offer offer = echo_offer(3);
    struct echo third = {0};

    third.channel = vmbus_channel_offer(vg->server, &offer, &forgetful_ops, &third);
    vg_connect(vg, VMBUS_V5_3);
    struct vg_channel channel = vg_open(vg, 3, 2, 2);
    blob_size = save_to(blob, sizeof blob);
    fresh_server();
    third = (struct echo){.late_close = _i};
    third.channel = vmbus_channel_offer(vg->server, &offer, &forgetful_ops, &third);
    ck_assert(restore_bytes(blob, blob_size));
    vg_run(vg);
    vg_expect(vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
    ck_assert_uint_eq(third.closes, 1);
    if (!_i) {
        vg_teardown(vg, 3, channel.gpadl);
    }
    vg_send_relid(vg, VMBUS_RELID_RELEASED, 3);
    if (_i) { // the device is slow, the guest has long let go
        vg_expect_nothing(vg);
        vmbus_channel_closed(third.channel);
        vg_run(vg);
    }
    vg->offer_count = 0;
    vg_take_offers(vg);
    ck_assert_uint_eq(vg->offer_count, 1); // it begins anew
    vg_open(vg, 3, 2, 2);
}
END_TEST

START_TEST(test_broken_rings)
{
    vg_connect(vg, VMBUS_V5_3);
    struct vg_channel channel = vg_open(vg, 1, 2, 2);
    blob_size = save_to(blob, sizeof blob);
    channel.out.control[VG_WRITE] = 3;
    fresh_server();
    ck_assert(restore_bytes(blob, blob_size));
    vg_run(vg);
    vg_expect(vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
    ck_assert(!vmbus_channel_is_open(echo.channel));
}
END_TEST

START_TEST(test_missing_device)
{
    vg_connect(vg, VMBUS_V5_3);
    blob_size = save_to(blob, sizeof blob);
    vg_new_server(vg, vg_default_limits());
    echo_attach(&echo, vg, 1);
    ck_assert(!restore_bytes(blob, blob_size));
}
END_TEST

START_TEST(test_truncated_blobs)
{
    vg_connect(vg, VMBUS_V5_3);
    vg_open(vg, 1, 4, 4);
    const size_t size = save_to(blob, sizeof blob);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *exact = malloc(cut ? cut : 1);
        memcpy(exact, blob, cut);
        fresh_server();
        must(!restore_bytes(exact, cut));
        free(exact);
    }
}
END_TEST

// After a restore that was accepted the server works whatever the blob said.
static void exercise(void)
{
    vg->offer_count = 0;
    vg_run(vg);
    vg->count = 0;
    for (uint32_t relid = 1; relid < 6; relid++) {
        vmbus_server_signal(vg->server, relid);
        vg_send_relid(vg, VMBUS_CLOSECHANNEL, relid);
        vg_send_relid(vg, VMBUS_RELID_RELEASED, relid);
        vg_send_teardown(vg, relid, VG_GPADL_FIRST);
        vg_run(vg);
        vg->count = 0;
    }
    vmbus_server_reset(vg->server);
    vg_run(vg);
    must(vmbus_server_is_idle(vg->server));
    vg->count = 0;
    vg_connect(vg, VMBUS_V5_3);
    must(vg->offer_count >= 2);
}

START_TEST(test_flipped_bits)
{
    static uint8_t bent[sizeof blob];
    unsigned accepted = 0;

    vg_connect(vg, VMBUS_V5_3);
    vg_open(vg, 1, 2, 2);
    ck_assert_ptr_nonnull(vmbus_channel_offer_sub(echo.channel));
    vg_run(vg);
    vg_take_offers(vg);
    vg_make_gpadl(vg, 2, vg_alloc(vg, 2), 2);
    const size_t size = save_to(blob, sizeof blob);
    vg->next_page = 512;
    for (size_t bit = 0; bit < size * 8; bit++) {
        memcpy(bent, blob, size);
        bent[bit / 8] ^= (uint8_t)(1u << bit % 8);
        fresh_server();
        if (restore_bytes(bent, size)) {
            accepted++;
            exercise();
        }
    }
    ck_assert_uint_gt(accepted, 0); // user data, page numbers
}
END_TEST

static Suite *suite(void)
{
    const TTest *const tests[] = {test_empty,
                                  test_open_channel,
                                  test_everything_at_once,
                                  test_messages_that_wait,
                                  test_sockets_that_wait,
                                  test_answer_that_was_not_taken_up,
                                  test_relid_outlives_device,
                                  test_reserved,
                                  test_not_at_rest,
                                  test_blob_too_small,
                                  test_broken_rings,
                                  test_missing_device,
                                  test_truncated_blobs,
                                  test_flipped_bits};
    Suite *s = suite_create("vmbus_save");
    TCase *tc = tcase_create("save");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 120);
    for (unsigned i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        tcase_add_test(tc, tests[i]);
    }
    tcase_add_loop_test(tc, test_device_without_state, 0, 2);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());

    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
