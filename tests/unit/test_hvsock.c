// SPDX-License-Identifier: BSD-2-Clause-Patent
// Hyper-V sockets over the real bus, with a guest that connects, streams and lies.
#include <check.h>

#include "root/lib/vsp/hvsock.h"
#include "root/lib/vsp/wire.h"
#include "vmbus_guest.h"

enum { SOCKETS = 3, STREAM = 300000, PIPE_HEADER = 8, RING_PAGES = 7 };

static struct vg *vg;
static struct hvsock_host host;
static struct hvsock sockets[SOCKETS];
static struct hvsock_service services[2];
static unsigned connects, closes;
static bool refuse, echo, finish;
static struct hvsock *last;
static uint8_t got[STREAM];
static size_t got_size;

static bool on_connected(void *ctx, struct hvsock *sock)
{
    ck_assert_ptr_eq(ctx, &host);
    connects++;
    last = sock;
    sock->user = &connects;
    return !refuse;
}

// Echo, or keep.
static void on_ready(void *ctx, struct hvsock *sock)
{
    uint8_t bytes[1000];
    size_t size;

    (void)ctx;
    ck_assert_ptr_eq(sock->user, &connects);
    while (!echo && (size = hvsock_receive(sock, got + got_size, 777)) != 0) {
        got_size += size;
        ck_assert_uint_le(got_size, STREAM - 777);
    }
    while (echo && (size = hvsock_receive(sock, bytes, sizeof bytes)) != 0) {
        ck_assert_uint_eq(hvsock_send(sock, bytes, size), size);
    }
    if (hvsock_ended(sock)) {
        (finish ? hvsock_finish : hvsock_shutdown)(sock);
    }
}

static void on_closed(void *ctx, struct hvsock *sock)
{
    (void)ctx;
    ck_assert_ptr_nonnull(sock);
    closes++;
}

static void run(void)
{
    vg_run(vg);
    hvsock_run(&host, vg->now);
    vg_run(vg);
}

static void setup(void)
{
    vg = vg_create(NULL);
    for (unsigned i = 0; i < 2; i++) {
        services[i] = (struct hvsock_service){hvsock_port(5000 + i), &host, on_connected, on_ready,
                                              on_closed};
    }
    hvsock_init(&host, vg->server, services, 2, sockets, SOCKETS);
    connects = closes = 0;
    refuse = echo = finish = false;
    got_size = 0;
    vg_connect(vg, VMBUS_V5_3);
}

static void teardown(void)
{
    vg_destroy(vg);
}

// The guest's connect().
static void request(uint8_t endpoint, uint32_t port)
{
    const struct vmbus_msg_tl_connect message = {.header.type = VMBUS_TL_CONNECT_REQUEST,
                                                 .endpoint = {{endpoint, 1, 2}},
                                                 .service = hvsock_port(port)};
    const unsigned before = vg->connects;

    vg_send(vg, &message, sizeof message);
    ck_assert_uint_eq(vg->connects, before + 1);
    hvsock_requested(&host, &vg->endpoint, &vg->service);
    run();
}

static struct vg_channel accept_offer(uint32_t port, bool host_connects)
{
    const struct vmbus_guid id = hvsock_port(port);

    vg_take_offers(vg);
    const struct vmbus_msg_offer *offer = &vg->offers[vg->offer_count - 1];
    ck_assert(vmbus_guid_equal(&offer->class_id, &id));
    ck_assert_uint_eq(offer->flags, 0x2011);
    ck_assert_uint_eq(le32_get(offer->user_data), 0);
    ck_assert_uint_eq(offer->user_data[4], host_connects);
    return vg_open(vg, offer->relid, RING_PAGES, RING_PAGES);
}

static struct vg_channel connected(uint8_t endpoint, uint32_t port)
{
    request(endpoint, port);
    return accept_offer(port, false);
}

static bool guest_send(struct vg_channel *channel, const void *bytes, uint32_t size)
{
    uint8_t packet[PIPE_HEADER + VMBUS_PIPE_PACKET];

    le32_put(packet, 1);
    le32_put(packet + 4, size);
    memcpy(packet + PIPE_HEADER, bytes, size);
    return vg_write_packet(channel, VMBUS_PACKET_IN_BAND, false, 1, NULL, 0, packet,
                           PIPE_HEADER + size);
}

// Takes a packet; its size, or UINT32_MAX when there is none.
static uint32_t guest_receive(struct vg_channel *channel, void *to)
{
    uint8_t packet[PIPE_HEADER + VMBUS_PIPE_PACKET + 8], ext[16];
    struct vg_packet head;
    uint32_t ext_size, size;

    if (!vg_read_packet(channel, &head, ext, &ext_size, packet, &size)) {
        return UINT32_MAX;
    }
    ck_assert_uint_eq(head.type, VMBUS_PACKET_IN_BAND);
    ck_assert_uint_eq(le32_get(packet), 1);
    ck_assert_uint_le(le32_get(packet + 4) + PIPE_HEADER, size);
    memcpy(to, packet + PIPE_HEADER, le32_get(packet + 4));
    return le32_get(packet + 4);
}

static uint8_t byte_at(size_t at)
{
    return (uint8_t)(at * 131 + at / 251);
}

START_TEST(test_guest_to_host)
{
    struct vg_channel channel = connected(9, 5000);
    uint8_t bytes[4000];
    size_t sent = 0;

    ck_assert_uint_eq(connects, 1);
    while (sent < 200000) {
        const uint32_t size = (uint32_t)(1 + sent % 3999);
        for (uint32_t i = 0; i < size; i++) {
            bytes[i] = byte_at(sent + i);
        }
        if (guest_send(&channel, bytes, size)) {
            sent += size;
        } else {
            vg_run(vg); // the ring was full
        }
    }
    vg_run(vg);
    ck_assert_uint_eq(got_size, sent);
    for (size_t i = 0; i < sent; i++) {
        ck_assert_uint_eq(got[i], byte_at(i));
    }
    // End of file goes both ways.
    ck_assert(!hvsock_ended(last));
    ck_assert(guest_send(&channel, bytes, 0));
    vg_run(vg);
    ck_assert(hvsock_ended(last));
    ck_assert_uint_eq(guest_receive(&channel, bytes), 0);
    ck_assert_uint_eq(guest_receive(&channel, bytes), UINT32_MAX);
    ck_assert_uint_eq(hvsock_send(last, bytes, 1), 0);
    vg_send_relid(vg, VMBUS_CLOSECHANNEL, channel.relid);
    run();
    ck_assert_uint_eq(closes, 1);
    vg_expect(vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
}
END_TEST

START_TEST(test_host_to_guest)
{
    struct vg_channel channel = connected(9, 5001);
    static uint8_t bytes[STREAM], in[VMBUS_PIPE_PACKET];
    size_t sent = 0, received = 0;
    unsigned rounds = 0;
    uint32_t size;

    for (size_t i = 0; i < STREAM; i++) {
        bytes[i] = byte_at(i);
    }
    while (received < STREAM) {
        const size_t taken = hvsock_send(last, bytes + sent, STREAM - sent);
        ck_assert(taken != 0 || sent == STREAM);
        sent += taken;
        while ((size = guest_receive(&channel, in)) != UINT32_MAX) {
            ck_assert_int_eq(memcmp(in, bytes + received, size), 0);
            received += size;
        }
        vg_run(vg);
        ck_assert_uint_lt(++rounds, 1000);
    }
    ck_assert_uint_eq(received, STREAM);
    ck_assert_uint_gt(rounds, 5); // the ring filled up
    hvsock_shutdown(last);
    hvsock_shutdown(last);
    ck_assert_uint_eq(guest_receive(&channel, in), 0);
    ck_assert_uint_eq(guest_receive(&channel, in), UINT32_MAX);
}
END_TEST

START_TEST(test_echo)
{
    struct vg_channel channel = connected(9, 5000);
    uint8_t in[VMBUS_PIPE_PACKET];

    echo = true;
    for (unsigned i = 0; i < 500; i++) {
        char text[32];
        const uint32_t size = (uint32_t)snprintf(text, sizeof text, "line %u\n", i);
        ck_assert(guest_send(&channel, text, size));
        vg_run(vg);
        ck_assert_uint_eq(guest_receive(&channel, in), size);
        ck_assert_int_eq(memcmp(in, text, size), 0);
    }
}
END_TEST

// What was sent before, also in the callback that ends the connection, is still to be read.
START_TEST(test_finish)
{
    struct vg_channel channel = connected(9, 5001);
    uint8_t in[VMBUS_PIPE_PACKET];

    echo = finish = true;
    ck_assert(guest_send(&channel, "four", 4));
    ck_assert(guest_send(&channel, in, 0));
    run();
    ck_assert_int_ne(last->state, HVSOCK_CONNECTED);
    ck_assert_uint_eq(guest_receive(&channel, in), 4);
    ck_assert_uint_eq(guest_receive(&channel, in), 0);
    vg_expect(vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
    vg_send_relid(vg, VMBUS_CLOSECHANNEL, channel.relid);
    run();
    ck_assert_uint_eq(closes, 1);
}
END_TEST

// The ring has no room for the end: it goes first when there is.
START_TEST(test_finish_waits_for_room)
{
    struct vg_channel channel = connected(9, 5001);
    static uint8_t bytes[STREAM], in[VMBUS_PIPE_PACKET];
    uint32_t size = UINT32_MAX;
    size_t sent = 0, part, received = 0;

    while ((part = hvsock_send(last, bytes, sizeof bytes - sent)) != 0) {
        sent += part;
    }
    while (hvsock_send(last, bytes, 1)) {
        sent++;
    }
    hvsock_finish(last);
    run();
    ck_assert_int_eq(last->state, HVSOCK_CONNECTED);
    while (received < sent && (size = guest_receive(&channel, in)) != UINT32_MAX) {
        received += size;
    }
    ck_assert_uint_eq(received, sent);
    run();
    ck_assert_int_ne(last->state, HVSOCK_CONNECTED);
    ck_assert_uint_eq(guest_receive(&channel, in), 0);
}
END_TEST

START_TEST(test_refusals)
{
    struct vmbus_msg_tl_result result;

    request(9, 6000); // nobody listens
    vg_expect(vg, VMBUS_TL_CONNECT_RESULT, &result, sizeof result);
    ck_assert_uint_eq(result.status, VMBUS_STATUS_REFUSED);
    ck_assert_uint_eq(result.endpoint.bytes[0], 9);
    for (uint8_t i = 0; i < SOCKETS; i++) {
        connected((uint8_t)(20 + i), 5000);
    }
    request(30, 5000); // no socket is free
    vg_expect(vg, VMBUS_TL_CONNECT_RESULT, &result, sizeof result);
    ck_assert_uint_eq(host.refused, 2);
    hvsock_close(&sockets[1]);
    run();
    ck_assert_uint_eq(closes, 1);
    vg_expect(vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
    ck_assert_int_eq(sockets[1].state, HVSOCK_FREE);
    ck_assert_uint_eq(hvsock_send(&sockets[1], "x", 1), 0);
    // A flood of requests is refused, not kept.
    for (unsigned i = 0; i < 100; i++) {
        hvsock_requested(&host, &vg->endpoint, &vg->service);
    }
    ck_assert_uint_eq(host.request_count, HVSOCK_REQUESTS);
    request(31, 5000);
    vg_expect(vg, VMBUS_TL_CONNECT_RESULT, &result, sizeof result);
    ck_assert_uint_eq(result.endpoint.bytes[0], 31);
    run();
    ck_assert_uint_eq(host.request_count, 0);
}
END_TEST

START_TEST(test_service_refuses)
{
    refuse = true;
    struct vg_channel channel = connected(9, 5000);
    run();
    ck_assert_uint_eq(connects, 1);
    ck_assert_uint_eq(closes, 0);
    vg_expect(vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
    vg_send_relid(vg, VMBUS_CLOSECHANNEL, channel.relid);
    vg_teardown(vg, channel.relid, channel.gpadl);
    vg_send_relid(vg, VMBUS_RELID_RELEASED, channel.relid);
    run();
    ck_assert_int_eq(sockets[0].state, HVSOCK_FREE);
    ck_assert_uint_eq(closes, 0);
    refuse = false;
    connected(10, 5000);
    ck_assert_ptr_eq(last, &sockets[0]);
}
END_TEST

START_TEST(test_never_opened)
{
    request(9, 5000);
    vg_take_offers(vg);
    vg->now += HVSOCK_OPEN_LIMIT - 1;
    run();
    ck_assert_int_eq(sockets[0].state, HVSOCK_OFFERED);
    vg->now++;
    run();
    vg_expect(vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
    vg_send_relid(vg, VMBUS_RELID_RELEASED, vg->offers[vg->offer_count - 1].relid);
    run();
    ck_assert_int_eq(sockets[0].state, HVSOCK_FREE);
    ck_assert_uint_eq(closes, 1);
    ck_assert_uint_eq(connects, 0);
}
END_TEST

START_TEST(test_rings_too_small)
{
    request(9, 5000);
    vg_take_offers(vg);
    const uint32_t relid = vg->offers[vg->offer_count - 1].relid;
    const uint32_t gpadl = vg_make_gpadl(vg, relid, vg_alloc(vg, 4), 4);

    vg_send_open(vg, relid, gpadl, 2, 0); // one page of data each way
    ck_assert_uint_eq(vg_open_status(vg, relid), VMBUS_STATUS_FAILED);
    ck_assert_uint_eq(connects, 0);
}
END_TEST

START_TEST(test_host_connects)
{
    const struct vmbus_guid endpoint = {{77, 7}}, port = hvsock_port(1234);
    struct hvsock *sock = hvsock_connect(&host, &endpoint, &port, &services[0], vg->now);
    uint8_t in[VMBUS_PIPE_PACKET];

    ck_assert_ptr_nonnull(sock);
    ck_assert_uint_eq(hvsock_send(sock, "x", 1), 0); // not yet
    run();
    struct vg_channel channel = accept_offer(1234, true);
    ck_assert_uint_eq(connects, 1);
    ck_assert_uint_eq(hvsock_send(sock, "hello", 5), 5);
    ck_assert_uint_eq(guest_receive(&channel, in), 5);
    ck_assert_int_eq(memcmp(in, "hello", 5), 0);
}
END_TEST

// What is no data ends the connection, and only that.
START_TEST(test_lies)
{
    struct vg_channel channel = connected(9, 5000), other = connected(10, 5000);
    uint8_t packet[16] = {1};

    ck_assert(vg_write_packet(&channel, VMBUS_PACKET_COMPLETION, false, 1, NULL, 0, packet, 16));
    run();
    ck_assert_uint_eq(closes, 1);
    vg_expect(vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
    le32_put(packet + 4, 9); // longer than the packet
    ck_assert(guest_send(&other, "abc", 3));
    run();
    ck_assert_uint_eq(got_size, 3);
    ck_assert(vg_write_packet(&other, VMBUS_PACKET_IN_BAND, false, 1, NULL, 0, packet, 16));
    run();
    ck_assert_uint_eq(closes, 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hvsock");
    TCase *tests = tcase_create("hvsock");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_guest_to_host);
    tcase_add_test(tests, test_host_to_guest);
    tcase_add_test(tests, test_echo);
    tcase_add_test(tests, test_finish);
    tcase_add_test(tests, test_finish_waits_for_room);
    tcase_add_test(tests, test_refusals);
    tcase_add_test(tests, test_service_refuses);
    tcase_add_test(tests, test_never_opened);
    tcase_add_test(tests, test_rings_too_small);
    tcase_add_test(tests, test_host_connects);
    tcase_add_test(tests, test_lies);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
