// SPDX-License-Identifier: BSD-2-Clause-Patent
// How VMBus connections and channels end, what else the protocol has (subchannels, reserved
// channels, sockets), and what a guest may try.
#include <check.h>

#include "vmbus_echo.h"

static struct vg *vg;
static struct echo echo;

static void setup(void)
{
    vg = vg_create(NULL);
    echo_attach(&echo, vg, 1);
}

static void teardown(void)
{
    vg_destroy(vg);
}

static uint32_t relid_of(uint8_t n)
{
    const struct vmbus_guid class_id = echo_class(n);
    return vg_relid(vg, &class_id, 0);
}

// Connects with the newest version and opens device 1.
static struct vg_channel open_echo(void)
{
    vg_connect(vg, VMBUS_V5_3);
    return vg_open(vg, relid_of(1), 4, 4);
}

static uint32_t created(uint32_t id)
{
    struct vmbus_msg_gpadl_created answer;

    vg_expect(vg, VMBUS_GPADL_CREATED, &answer, sizeof answer);
    ck_assert_uint_eq(answer.gpadl, id);
    return answer.status;
}

// ---- ends --------------------------------------------------------------------------------------

START_TEST(test_unload)
{
    open_echo();
    vg_unload(vg);
    vg_expect_nothing(vg);
    ck_assert_uint_eq(echo.closes, 1);
    ck_assert_uint_eq(echo.released, 0); // the offer stays
    ck_assert(vmbus_server_is_idle(vg->server));
    // Nothing works any more but to begin anew; then everything does.
    vg_send_relid(vg, VMBUS_CLOSECHANNEL, 1);
    vg_send_teardown(vg, 1, VG_GPADL_FIRST);
    vg_expect_nothing(vg);
    vg_connect(vg, VMBUS_V3_0);
    vg_open(vg, relid_of(1), 2, 2);
}
END_TEST

START_TEST(test_unload_without_connection)
{
    vg_unload(vg);
    vg_unload(vg);
    ck_assert(vg_negotiate(vg, VMBUS_V5_3));
    vg_unload(vg);
}
END_TEST

START_TEST(test_contact_replaces_unload)
{
    const struct vmbus_header unload = {.type = VMBUS_UNLOAD};
    const struct vmbus_msg_contact contact = vg_contact_message(VMBUS_V5_2);

    open_echo();
    echo.late_close = true;
    vg_send(vg, &unload, sizeof unload);
    vg_send(vg, &contact, sizeof contact);
    vg_expect_nothing(vg);
    vmbus_channel_closed(echo.channel);
    vg_run(vg);
    vg_expect(vg, VMBUS_VERSION_RESPONSE, NULL, 0);
    vg_expect_nothing(vg);
    ck_assert_uint_eq(vmbus_channel_version(echo.channel), VMBUS_V5_2);
}
END_TEST

START_TEST(test_contact_drops_old_answers)
{
    const struct vmbus_header request = {.type = VMBUS_REQUESTOFFERS};
    const struct vmbus_msg_contact contact = vg_contact_message(VMBUS_V5_3);

    ck_assert(vg_negotiate(vg, VMBUS_V5_3));
    // The guest takes no messages, as one that has crashed.
    vg->post_result = VMBUS_POST_LATER;
    vg_send(vg, &request, sizeof request);
    ck_assert_uint_eq(vg_try_send(vg, &request, sizeof request), VMBUS_BUSY);
    ck_assert_uint_eq(vg_try_send(vg, &contact, sizeof contact), VMBUS_ACCEPTED);
    vg_run(vg);
    vg->post_result = VMBUS_POST_OK;
    ck_assert_uint_ne(vmbus_server_deadline(vg->server), UINT64_MAX);
    vg_wait(vg, 10000);
    vg_expect(vg, VMBUS_VERSION_RESPONSE, NULL, 0);
    vg_expect_nothing(vg);
}
END_TEST

START_TEST(test_post_later)
{
    const struct vmbus_header request = {.type = VMBUS_REQUESTOFFERS};

    ck_assert(vg_negotiate(vg, VMBUS_V5_3));
    vg->post_result = VMBUS_POST_LATER;
    vg_send(vg, &request, sizeof request);
    for (unsigned i = 0; i < 10; i++) {
        vg_wait(vg, 10000);
        ck_assert_uint_eq(vg_try_send(vg, &request, sizeof request), VMBUS_BUSY);
    }
    vg->post_result = VMBUS_POST_OK;
    vg_run(vg);
    vg_take_offers(vg);
    ck_assert_uint_eq(vg->offer_count, 1);
    vg_expect(vg, VMBUS_ALLOFFERS_DELIVERED, NULL, 0);
    // A message that can never be posted is lost, and said so.
    vg->post_result = VMBUS_POST_FAILED;
    vg_send_teardown(vg, 1, 1);
    vg->post_result = VMBUS_POST_OK;
    ck_assert_str_eq(vg->line, "vmbus: a message could not be posted");
    vg_run(vg);
    vg_expect_nothing(vg);
}
END_TEST

START_TEST(test_reset)
{
    open_echo();
    echo.late_close = true;
    vg->post_result = VMBUS_POST_LATER;
    vmbus_server_reset(vg->server);
    vg_run(vg);
    ck_assert(!vmbus_server_is_idle(vg->server));
    ck_assert_uint_eq(echo.closes, 1);
    vmbus_channel_closed(echo.channel);
    vg_run(vg);
    ck_assert(vmbus_server_is_idle(vg->server));
    vg->post_result = VMBUS_POST_OK;
    vg_run(vg);
    vg_expect_nothing(vg);
    echo.late_close = false;
    vg_connect(vg, VMBUS_V5_3);
    vg_open(vg, 1, 2, 2);
}
END_TEST

START_TEST(test_rescind_open)
{
    struct vmbus_msg_relid message;
    const struct vg_channel channel = open_echo();

    vmbus_channel_rescind(echo.channel);
    vmbus_channel_rescind(echo.channel);
    vg_run(vg);
    vg_expect(vg, VMBUS_RESCIND_CHANNELOFFER, &message, sizeof message);
    ck_assert_uint_eq(message.relid, 1);
    ck_assert_uint_eq(echo.closes, 1);
    ck_assert_uint_eq(echo.released, 1);
    // The guest cleans up: close is allowed, the GPADL is torn down, a new one refused.
    vg_send_relid(vg, VMBUS_CLOSECHANNEL, 1);
    vg_expect_nothing(vg);
    vg_teardown(vg, 1, channel.gpadl);
    const uint64_t words[2] = {4096, VG_FIRST_PAGE};
    vg_send_gpadl(vg, 1, 1, 1, words, 2);
    ck_assert_uint_eq(created(1), VMBUS_STATUS_FAILED);
    // The same device comes again: offered only when the old relid is free (Linux would drop it).
    echo_attach(&echo, vg, 1);
    vg_run(vg);
    vg_expect_nothing(vg);
    vg_send_relid(vg, VMBUS_RELID_RELEASED, 1);
    vg_take_offers(vg);
    ck_assert_uint_eq(vg->offer_count, 2);
    ck_assert_uint_eq(vg->offers[1].relid, 1);
    vg_open(vg, 1, 2, 2);
}
END_TEST

START_TEST(test_rescind_unknown_to_guest)
{
    vmbus_channel_rescind(echo.channel);
    vg_run(vg);
    ck_assert_uint_eq(echo.released, 1);
    ck_assert_uint_eq(echo.closes, 0);
    vg_connect(vg, VMBUS_V5_3);
    ck_assert_uint_eq(vg->offer_count, 0);
}
END_TEST

START_TEST(test_rescind_while_opening)
{
    vg_connect(vg, VMBUS_V5_3);
    echo.late_open = true;
    vg_send_open(vg, 1, vg_make_gpadl(vg, 1, vg_alloc(vg, 8), 8), 4, 0);
    vmbus_channel_rescind(echo.channel);
    vg_run(vg);
    vg_expect(vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
    vg_expect_nothing(vg); // no result: the rescind is the answer
    ck_assert_uint_eq(echo.closes, 1);
    ck_assert_uint_eq(echo.released, 1);
}
END_TEST

START_TEST(test_release_of_unclaimed)
{
    vg_connect(vg, VMBUS_V5_3);
    vg_send_relid(vg, VMBUS_RELID_RELEASED, 1);
    vg_run(vg);
    vg_expect_nothing(vg); // not offered again in this connection
    vg_send_relid(vg, VMBUS_RELID_RELEASED, 1);
    vg_send_relid(vg, VMBUS_RELID_RELEASED, 0);
    vg_send_relid(vg, VMBUS_RELID_RELEASED, 0xFFFFFFFF);
    vg_connect(vg, VMBUS_V5_3);
    ck_assert_uint_eq(vg->offer_count, 1);
}
END_TEST

START_TEST(test_release_of_open_is_refused)
{
    open_echo();
    vg_send_relid(vg, VMBUS_RELID_RELEASED, 1);
    ck_assert(vmbus_channel_is_open(echo.channel));
}
END_TEST

START_TEST(test_device_fails_channel)
{
    open_echo();
    vmbus_channel_fail(echo.channel, "made no sense");
    ck_assert_str_eq(vg->line, "vmbus channel 1 (class c0ffee01): made no sense");
    ck_assert(!vmbus_channel_is_open(echo.channel));
    vg_run(vg);
    vg_expect(vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
    ck_assert_uint_eq(echo.closes, 1);
    ck_assert_uint_eq(echo.released, 0);
    vg_send_relid(vg, VMBUS_RELID_RELEASED, 1);
    vg_expect_nothing(vg);
    // It comes back with the next connection.
    vg_connect(vg, VMBUS_V5_3);
    ck_assert_uint_eq(vg->offer_count, 1);
    vg_open(vg, 1, 2, 2);
}
END_TEST

START_TEST(test_open_that_the_device_never_sees)
{
    const struct vmbus_msg_contact contact = vg_contact_message(VMBUS_V5_3);
    struct vmbus_msg_open open = {.header.type = VMBUS_OPENCHANNEL, .relid = 1, .out_page = 4};

    vg_connect(vg, VMBUS_V5_3);
    open.ring_gpadl = vg_make_gpadl(vg, 1, vg_alloc(vg, 8), 8);
    ck_assert_uint_eq(vg_try_send(vg, &open, sizeof open), VMBUS_ACCEPTED);
    ck_assert_uint_eq(vg_try_send(vg, &contact, sizeof contact), VMBUS_ACCEPTED);
    vg_run(vg);
    vg_expect(vg, VMBUS_VERSION_RESPONSE, NULL, 0);
    vg_expect_nothing(vg);
    ck_assert_uint_eq(echo.opens, 0);
    ck_assert_uint_eq(echo.closes, 0);
}
END_TEST

START_TEST(test_answers_of_many)
{
    struct echo others[3];
    struct vg_channel channels[3];

    // Three teardowns that wait for their rings, ended by one action of the host.
    for (uint8_t i = 0; i < 3; i++) {
        echo_attach(&others[i], vg, (uint8_t)(i + 2));
    }
    vg_connect(vg, VMBUS_V5_3);
    for (uint32_t i = 0; i < 3; i++) {
        channels[i] = vg_open(vg, i + 2, 2, 2);
        vg_send_teardown(vg, i + 2, channels[i].gpadl);
    }
    vg->post_result = VMBUS_POST_LATER;
    for (unsigned i = 0; i < 3; i++) {
        vmbus_channel_rescind(others[i].channel);
    }
    vg_run(vg);
    ck_assert_uint_eq(others[0].released + others[1].released + others[2].released, 3);
    vg->post_result = VMBUS_POST_OK;
    vg_run(vg);
    for (unsigned i = 0; i < 3; i++) {
        vg_expect(vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        vg_expect(vg, VMBUS_GPADL_TORNDOWN, NULL, 0);
    }
    vg_expect_nothing(vg);
    // Two more GPADLs die with the relid.
    vg_make_gpadl(vg, 1, VG_FIRST_PAGE, 1);
    vg_make_gpadl(vg, 1, VG_FIRST_PAGE, 1);
    vmbus_channel_rescind(echo.channel);
    vg_run(vg);
    vg_expect(vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
    vg_send_relid(vg, VMBUS_RELID_RELEASED, 1);
    echo_attach(&echo, vg, 1);
    vg_run(vg);
    vg->offer_count = 0;
    vg_take_offers(vg);
    ck_assert_uint_eq(vg->offer_count, 1);
}
END_TEST

START_TEST(test_forgotten_references)
{
    struct vmbus_ranges ranges;
    struct vg_channel channel = open_echo();

    // A device that closes without giving its GPADLs back has given them back.
    const uint32_t id = vg_make_gpadl(vg, 1, vg_alloc(vg, 1), 1);
    ck_assert(vmbus_gpadl_acquire(echo.channel, id, &ranges));
    vg_close(&channel);
    vg_teardown(vg, 1, id);
    ck_assert_uint_eq(echo.revoked, 0);
}
END_TEST

START_TEST(test_subchannel_fails_alone)
{
    open_echo();
    struct vmbus_channel *sub = vmbus_channel_offer_sub(echo.channel);
    vg_run(vg);
    vg_take_offers(vg);
    struct vg_channel channel = vg_open(vg, 2, 4, 4);
    channel.out.control[VG_WRITE] = 5;
    vg_signal_host(&channel);
    vg_run(vg);
    ck_assert_uint_eq(echo.released, 1);
    ck_assert_ptr_null(vmbus_channel_sub(echo.channel, 1));
    ck_assert(vmbus_channel_is_open(echo.channel));
    vg_expect(vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
    (void)sub;
}
END_TEST

// ---- subchannels -------------------------------------------------------------------------------

START_TEST(test_subchannels)
{
    const struct vmbus_guid class_id = echo_class(1);
    struct vg_channel primary = open_echo();
    struct vmbus_channel *subs[3];

    for (unsigned i = 0; i < 3; i++) {
        subs[i] = vmbus_channel_offer_sub(echo.channel);
        ck_assert_ptr_nonnull(subs[i]);
        ck_assert_uint_eq(vmbus_channel_index(subs[i]), i + 1);
        ck_assert_ptr_eq(vmbus_channel_primary(subs[i]), echo.channel);
        ck_assert_ptr_eq(vmbus_channel_sub(echo.channel, i + 1), subs[i]);
    }
    ck_assert_ptr_null(vmbus_channel_sub(echo.channel, 4));
    ck_assert_ptr_null(vmbus_channel_sub(echo.channel, 0));
    ck_assert_ptr_null(vmbus_channel_offer_sub(subs[0]));
    vg_run(vg);
    vg_take_offers(vg);
    ck_assert_uint_eq(vg->offer_count, 4);
    struct vg_channel sub = vg_open(vg, vg_relid(vg, &class_id, 2), 4, 4);
    ck_assert_uint_eq(echo.opens, 2);
    ck_assert(vmbus_channel_is_open(subs[1]));
    uint64_t word = 3;
    ck_assert(vg_write(&sub, 5, &word, sizeof word));
    vg_run(vg);
    ck_assert_uint_eq(vg_expect_completion(&sub, 5, &word), 8);
    // GPADLs of the primary are there for the subchannel too.
    struct vmbus_ranges ranges;
    const uint32_t buffer = vg_make_gpadl(vg, 1, vg_alloc(vg, 1), 1);
    ck_assert(vmbus_gpadl_acquire(subs[1], buffer, &ranges));
    vmbus_gpadl_release(subs[1], buffer);
    vg_teardown(vg, 1, buffer);
    // Closing the primary ends them all.
    vg_send_relid(vg, VMBUS_CLOSECHANNEL, 1);
    for (unsigned i = 0; i < 3; i++) {
        vg_expect(vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
    }
    vg_expect_nothing(vg);
    ck_assert_uint_eq(echo.closes, 2);
    ck_assert_uint_eq(echo.released, 3);
    vg_teardown(vg, sub.relid, sub.gpadl);
    vg_teardown(vg, 1, primary.gpadl);
    for (unsigned i = 1; i <= 3; i++) {
        vg_send_relid(vg, VMBUS_RELID_RELEASED, vg->offers[i].relid);
    }
    // And it begins anew.
    vg_open(vg, 1, 2, 2);
    ck_assert_uint_eq(vmbus_channel_index(vmbus_channel_offer_sub(echo.channel)), 1);
    vg_run(vg);
    vg_take_offers(vg);
    ck_assert_uint_eq(vg->offers[4].sub_index, 1);
}
END_TEST

START_TEST(test_subchannels_at_unload)
{
    open_echo();
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_ptr_nonnull(vmbus_channel_offer_sub(echo.channel));
    }
    vg_run(vg);
    vg_take_offers(vg);
    vg_open(vg, 2, 2, 2);
    vg_unload(vg);
    vg_expect_nothing(vg);
    ck_assert_uint_eq(echo.closes, 2);
    ck_assert_uint_eq(echo.released, 3);
    vg_connect(vg, VMBUS_V5_3);
    ck_assert_uint_eq(vg->offer_count, 1);
}
END_TEST

// ---- reserved channels -------------------------------------------------------------------------

static void open_reserved(uint32_t vp, uint32_t sint, uint32_t gpadl)
{
    const struct vmbus_msg_open_reserved message = {.header.type = VMBUS_OPEN_RESERVED_CHANNEL,
                                                    .relid = 1,
                                                    .target_vp = vp,
                                                    .sint = sint,
                                                    .ring_gpadl = gpadl,
                                                    .out_page = 2};
    vg_send(vg, &message, sizeof message);
}

static void close_reserved(uint32_t vp, uint32_t sint)
{
    const struct vmbus_msg_close_reserved message = {
        .header.type = VMBUS_CLOSE_RESERVED_CHANNEL, .relid = 1, .target_vp = vp, .sint = sint};
    vg_send(vg, &message, sizeof message);
}

START_TEST(test_reserved_channel)
{
    struct vmbus_msg_open_result result;

    vg_connect(vg, VMBUS_V5_3);
    const uint32_t gpadl = vg_make_gpadl(vg, 1, vg_alloc(vg, 4), 4);
    open_reserved(5, 7, gpadl);
    struct vg_message got = vg_expect(vg, VMBUS_OPENCHANNEL_RESULT, &result, sizeof result);
    ck_assert_uint_eq(got.vp, 5);
    ck_assert_uint_eq(got.sint, 7);
    ck_assert_uint_eq(result.status, 0);
    ck_assert(vmbus_channel_is_open(echo.channel));
    // Its interrupts are off.
    const uint32_t signals = vg->signals;
    ck_assert_uint_eq(vmbus_channel_send(echo.channel, 1, false, "x", 1), VMBUS_SEND_OK);
    ck_assert_uint_eq(vg->signals, signals);
    // Only its own messages touch it.
    vg_send_relid(vg, VMBUS_CLOSECHANNEL, 1);
    const uint64_t words[2] = {4096, VG_FIRST_PAGE};
    vg_send_gpadl(vg, 1, 1, 1, words, 2);
    ck_assert_uint_eq(created(1), VMBUS_STATUS_FAILED);
    ck_assert(vmbus_channel_is_open(echo.channel));
    // It survives unload and a new connection, and is not offered in it.
    vg_unload(vg);
    ck_assert(vmbus_channel_is_open(echo.channel));
    vg_connect(vg, VMBUS_V5_3);
    ck_assert_uint_eq(vg->offer_count, 0);
    ck_assert(vmbus_channel_is_open(echo.channel));
    close_reserved(6, 8);
    got = vg_expect(vg, VMBUS_CLOSE_RESERVED_RESPONSE, NULL, 0);
    ck_assert_uint_eq(got.vp, 6);
    ck_assert_uint_eq(got.sint, 8);
    ck_assert_uint_eq(echo.closes, 1);
    vg_teardown(vg, 1, gpadl);
}
END_TEST

START_TEST(test_reserved_channel_refusals)
{
    struct vmbus_msg_open_result result;

    vg_connect(vg, VMBUS_V5_3);
    const uint32_t gpadl = vg_make_gpadl(vg, 1, vg_alloc(vg, 4), 4);
    open_reserved(5, 16, gpadl); // no such SINT
    ck_assert_uint_eq(vg_expect(vg, VMBUS_OPENCHANNEL_RESULT, &result, sizeof result).sint, 2);
    ck_assert_uint_eq(result.status, VMBUS_STATUS_FAILED);
    open_reserved(5, 3, gpadl + 1); // no such GPADL
    const struct vg_message got = vg_expect(vg, VMBUS_OPENCHANNEL_RESULT, &result, sizeof result);
    ck_assert_uint_eq(got.sint, 3);
    ck_assert_uint_eq(result.status, VMBUS_STATUS_FAILED);
    close_reserved(1, 2);
    vg_expect_nothing(vg);
    // The refusal left nothing behind.
    vg_send_open(vg, 1, gpadl, 2, 0);
    ck_assert_uint_eq(vg_open_status(vg, 1), 0);
    close_reserved(1, 2);
    ck_assert(vmbus_channel_is_open(echo.channel));
}
END_TEST

START_TEST(test_reserved_channel_without_connection)
{
    vg_connect(vg, VMBUS_V5_3);
    open_reserved(5, 7, vg_make_gpadl(vg, 1, vg_alloc(vg, 4), 4));
    vg_expect(vg, VMBUS_OPENCHANNEL_RESULT, NULL, 0);
    vg_unload(vg);
    close_reserved(0, 2); // the one message for a channel that works without a connection
    ck_assert_uint_eq(echo.closes, 1);
    vg_expect_nothing(vg);
    ck_assert(vmbus_server_is_idle(vg->server));
    vg_connect(vg, VMBUS_V5_3);
    ck_assert_uint_eq(vg->offer_count, 1);
}
END_TEST

START_TEST(test_reserved_channel_at_reset)
{
    vg_connect(vg, VMBUS_V5_3);
    open_reserved(5, 7, vg_make_gpadl(vg, 1, vg_alloc(vg, 4), 4));
    vg_expect(vg, VMBUS_OPENCHANNEL_RESULT, NULL, 0);
    vmbus_server_reset(vg->server);
    vg_run(vg);
    ck_assert_uint_eq(echo.closes, 1);
    ck_assert(vmbus_server_is_idle(vg->server));
}
END_TEST

// ---- sockets -----------------------------------------------------------------------------------

static const struct vmbus_guid service =
    VMBUS_GUID(0x1234, 0xfacb, 0x11e6, 0xbd, 0x58, 0x64, 0, 0x6a, 0x79, 0x86, 0xd3);

static void connect_socket(uint8_t endpoint)
{
    const struct vmbus_msg_tl_connect message = {
        .header.type = VMBUS_TL_CONNECT_REQUEST, .endpoint = {{endpoint}}, .service = service};

    vg_send(vg, &message, sizeof message);
}

START_TEST(test_socket_accepted)
{
    struct vmbus_offer offer = {.flags = VMBUS_OFFER_SOCKET | VMBUS_OFFER_NAMED_PIPE |
                                         VMBUS_OFFER_ENUMERATE_INTERFACE};

    vg_connect(vg, VMBUS_V5_3);
    connect_socket(9);
    ck_assert_uint_eq(vg->connects, 1);
    ck_assert_uint_eq(vg->endpoint.bytes[0], 9);
    ck_assert(vmbus_guid_equal(&vg->service, &service));
    offer.class_id = vg->service;
    offer.instance_id = vg->endpoint;
    struct echo socket = {0};
    ck_assert_ptr_nonnull(vmbus_channel_offer(vg->server, &offer, &echo_ops, &socket));
    vg_run(vg);
    vg_take_offers(vg);
    ck_assert_uint_eq(vg->offers[1].flags, 0x2011);
    // What has been answered is not refused.
    vmbus_server_refuse(vg->server, &vg->endpoint, &service, VMBUS_STATUS_REFUSED);
    vg_run(vg);
    vg_expect_nothing(vg);
}
END_TEST

START_TEST(test_socket_refused)
{
    struct vmbus_msg_tl_result result;

    vg_connect(vg, VMBUS_V4_1);
    connect_socket(9);
    vmbus_server_refuse(vg->server, &vg->endpoint, &service, VMBUS_STATUS_REFUSED);
    vg_run(vg);
    vg_expect(vg, VMBUS_TL_CONNECT_RESULT, &result, sizeof result);
    ck_assert_uint_eq(result.endpoint.bytes[0], 9);
    ck_assert_uint_eq(result.status, 0xC0000236);
    // At most 16 wait for the owner; an owner that answers none is asked no more.
    for (uint8_t i = 0; i < 20; i++) {
        connect_socket((uint8_t)(i + 100));
    }
    ck_assert_uint_eq(vg->connects, 17);
    for (unsigned i = 0; i < 4; i++) {
        vg_expect(vg, VMBUS_TL_CONNECT_RESULT, &result, sizeof result);
        ck_assert_uint_eq(result.endpoint.bytes[0], 116 + i);
    }
    vg_expect_nothing(vg);
}
END_TEST

START_TEST(test_socket_versions)
{
    vg_connect(vg, VMBUS_V3_0);
    connect_socket(1);
    ck_assert_uint_eq(vg->connects, 0);
    vg_connect(vg, VMBUS_V4_0);
    connect_socket(1);
    ck_assert_uint_eq(vg->connects, 1);
    vmbus_server_refuse(vg->server, &vg->endpoint, &service, VMBUS_STATUS_REFUSED);
    vg_run(vg);
    vg_expect_nothing(vg); // 4.0 has no such answer
}
END_TEST

START_TEST(test_socket_without_owner)
{
    struct vmbus_host host = vg_host(vg);
    struct vmbus_msg_tl_result result;
    const struct vmbus_limits *limits = vg_default_limits();

    host.connect = NULL;
    vg->server = vmbus_server_init(vg->arena, vmbus_server_size(limits), limits, &host);
    vg_connect(vg, VMBUS_V5_3);
    connect_socket(9);
    vg_expect(vg, VMBUS_TL_CONNECT_RESULT, &result, sizeof result);
    ck_assert_uint_eq(result.status, VMBUS_STATUS_REFUSED);
}
END_TEST

// ---- abuse -------------------------------------------------------------------------------------

START_TEST(test_every_type_of_every_length)
{
    uint8_t bytes[VMBUS_MESSAGE_MAX + 16];

    for (unsigned connected = 0; connected < 2; connected++) {
        for (uint32_t type = 0; type < 40; type++) {
            for (size_t size = 0; size <= sizeof bytes; size++) {
                memset(bytes, 0, sizeof bytes);
                memcpy(bytes, &type, sizeof type);
                bytes[8] = 1; // where relids are
                if (connected && type != VMBUS_INITIATE_CONTACT && type != VMBUS_UNLOAD) {
                    vg->first = vg->count = 0;
                    if (vmbus_channel_version(echo.channel) == 0) {
                        vg_connect(vg, VMBUS_V5_3);
                    }
                }
                vg->count = 0;
                vg_send(vg, bytes, size);
                ck_assert_uint_le(vg->count, 3); // an answer, or offers
            }
        }
    }
}
END_TEST

START_TEST(test_message_flood)
{
    const struct vmbus_msg_relid message = {.header.type = VMBUS_CLOSECHANNEL, .relid = 99};
    unsigned accepted = 0;

    vg_connect(vg, VMBUS_V5_3);
    vg->logged = 0;
    for (unsigned i = 0; i < 100000; i++) {
        accepted += vg_try_send(vg, &message, sizeof message) == VMBUS_ACCEPTED;
        vg_run(vg);
    }
    ck_assert_uint_lt(accepted, 5000);
    ck_assert_uint_lt(vg->logged, 40);
    // Time heals.
    const uint64_t deadline = vmbus_server_deadline(vg->server);
    ck_assert_uint_gt(deadline, vg->now);
    vg_wait(vg, deadline - vg->now);
    ck_assert_uint_eq(vg_try_send(vg, &message, sizeof message), VMBUS_ACCEPTED);
    vg_wait(vg, 100000000);
    vg_unload(vg);
}
END_TEST

START_TEST(test_signals_of_nothing)
{
    for (uint32_t relid = 0; relid < 5000; relid++) {
        vmbus_server_signal(vg->server, relid);
    }
    vmbus_server_signal(vg->server, UINT32_MAX);
    vg_run(vg);
    ck_assert_uint_eq(echo.wakes, 0);
    vg_connect(vg, VMBUS_V5_3);
    vmbus_server_signal(vg->server, 1); // offered, not open
    vg_run(vg);
    ck_assert_uint_eq(echo.wakes, 0);
}
END_TEST

START_TEST(test_deadline)
{
    open_echo();
    const unsigned wakes = echo.wakes;
    ck_assert_uint_eq(vmbus_server_deadline(vg->server), UINT64_MAX);
    vmbus_channel_set_deadline(echo.channel, vg->now + 500);
    ck_assert_uint_eq(vmbus_server_deadline(vg->server), vg->now + 500);
    vg_wait(vg, 499);
    ck_assert_uint_eq(echo.wakes, wakes);
    vg_wait(vg, 1);
    ck_assert_uint_eq(echo.wakes, wakes + 1);
    vg_wait(vg, 1000);
    ck_assert_uint_eq(echo.wakes, wakes + 1);
    ck_assert_uint_eq(vmbus_server_deadline(vg->server), UINT64_MAX);
    vmbus_channel_set_deadline(echo.channel, vg->now + 500);
    vg_unload(vg);
    vg_wait(vg, 1000);
    ck_assert_uint_eq(echo.wakes, wakes + 1);
}
END_TEST

START_TEST(test_deadlines_of_two)
{
    struct echo other;

    echo_attach(&other, vg, 2);
    open_echo();
    vg_open(vg, 2, 2, 2);
    vmbus_channel_set_deadline(echo.channel, vg->now + 10);
    vmbus_channel_set_deadline(other.channel, vg->now + 20);
    vg_wait(vg, 10);
    ck_assert_uint_eq(vmbus_server_deadline(vg->server), vg->now + 10);
    ck_assert_uint_eq(echo.wakes, 2);
    ck_assert_uint_eq(other.wakes, 1);
    vg_wait(vg, 10);
    ck_assert_uint_eq(other.wakes, 2);
}
END_TEST

START_TEST(test_small_things)
{
    int thing;

    ck_assert_ptr_null(vmbus_channel_context(echo.channel));
    vmbus_channel_set_context(echo.channel, &thing);
    ck_assert_ptr_eq(vmbus_channel_context(echo.channel), &thing);
    ck_assert_uint_eq(vmbus_channel_now(echo.channel), vg->now);
    vmbus_channel_log(echo.channel, "hello");
    ck_assert_str_eq(vg->line, "vmbus channel 0 (class c0ffee01): hello");
}
END_TEST

START_TEST(test_memory)
{
    const struct vmbus_memory *memory = vmbus_channel_memory(echo.channel);
    const uint64_t gpa = VG_FIRST_PAGE * UINT64_C(4096);
    uint8_t bytes[9000];

    for (unsigned i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i / 7);
    }
    ck_assert(vmbus_memory_write(memory, gpa + 100, bytes, sizeof bytes));
    ck_assert_mem_eq(vg->memory + 100, bytes, sizeof bytes);
    memset(bytes, 0, sizeof bytes);
    ck_assert(vmbus_memory_read(memory, gpa + 100, bytes, sizeof bytes));
    ck_assert_mem_eq(vg->memory + 100, bytes, sizeof bytes);
    ck_assert(!vmbus_memory_read(memory, gpa - 1, bytes, 2));
    ck_assert(!vmbus_memory_write(memory, gpa + VG_PAGES * 4096ull - 1, bytes, 2));
    ck_assert(!vmbus_memory_read(memory, UINT64_MAX, bytes, 2));
    ck_assert(!vmbus_memory_write(memory, UINT64_MAX, bytes, 2));
    vg->read_only[1] = 1;
    ck_assert(!vmbus_memory_write(memory, gpa + 4095, bytes, 2));
    ck_assert(vmbus_memory_read(memory, gpa + 4095, bytes, 2));
}
END_TEST

START_TEST(test_limits)
{
    const struct vmbus_limits good = {.channels = 1, .gpadls = 1, .gpadl_words = 1};
    struct vmbus_limits limits = good;
    const struct vmbus_host host = vg_host(vg);
    _Alignas(16) static uint8_t arena[65536];
    const size_t size = vmbus_server_size(&good);

    ck_assert_uint_gt(size, 0);
    ck_assert_uint_lt(size, sizeof arena);
    ck_assert_ptr_null(vmbus_server_init(arena, size - 1, &good, &host));
    ck_assert_ptr_null(vmbus_server_init(arena + 8, sizeof arena - 8, &good, &host));
    ck_assert_ptr_nonnull(vmbus_server_init(arena, size, &good, &host));
    limits.channels = 0;
    ck_assert_uint_eq(vmbus_server_size(&limits), 0);
    limits.channels = 2048;
    ck_assert_uint_eq(vmbus_server_size(&limits), 0);
    limits = good;
    limits.gpadls = 0;
    ck_assert_uint_eq(vmbus_server_size(&limits), 0);
    limits = good;
    limits.gpadl_words = UINT32_MAX;
    ck_assert_uint_eq(vmbus_server_size(&limits), 0);
}
END_TEST

static Suite *suite(void)
{
    const TTest *const tests[] = {test_unload,
                                  test_unload_without_connection,
                                  test_contact_replaces_unload,
                                  test_contact_drops_old_answers,
                                  test_post_later,
                                  test_reset,
                                  test_rescind_open,
                                  test_rescind_unknown_to_guest,
                                  test_rescind_while_opening,
                                  test_release_of_unclaimed,
                                  test_release_of_open_is_refused,
                                  test_device_fails_channel,
                                  test_open_that_the_device_never_sees,
                                  test_answers_of_many,
                                  test_forgotten_references,
                                  test_subchannel_fails_alone,
                                  test_subchannels,
                                  test_subchannels_at_unload,
                                  test_reserved_channel,
                                  test_reserved_channel_refusals,
                                  test_reserved_channel_without_connection,
                                  test_reserved_channel_at_reset,
                                  test_socket_accepted,
                                  test_socket_refused,
                                  test_socket_versions,
                                  test_socket_without_owner,
                                  test_every_type_of_every_length,
                                  test_message_flood,
                                  test_signals_of_nothing,
                                  test_deadline,
                                  test_deadlines_of_two,
                                  test_small_things,
                                  test_memory,
                                  test_limits};
    Suite *s = suite_create("vmbus_ends");
    TCase *tc = tcase_create("vmbus_ends");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    for (unsigned i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        tcase_add_test(tc, tests[i]);
    }
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
