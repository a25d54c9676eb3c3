// SPDX-License-Identifier: BSD-2-Clause-Patent
// The control protocol of VMBus against a guest that plays by the rules and one that does not.
#include <check.h>

#include "vmbus_echo.h"

static const uint32_t versions[] = {VMBUS_V2_4, VMBUS_V3_0, VMBUS_V4_0, VMBUS_V4_1,
                                    VMBUS_V5_0, VMBUS_V5_1, VMBUS_V5_2, VMBUS_V5_3};
enum { VERSIONS = sizeof versions / sizeof versions[0] };

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

// ---- negotiation -------------------------------------------------------------------------------

START_TEST(test_each_version)
{
    const uint32_t version = versions[_i];
    const struct vmbus_msg_contact message = vg_contact_message(version);
    struct vmbus_msg_version answer;

    vg_send(vg, &message, sizeof message);
    const struct vg_message got = vg_expect(vg, VMBUS_VERSION_RESPONSE, &answer, sizeof answer);
    ck_assert_uint_eq(got.size, 16);
    ck_assert_uint_eq(answer.supported, 1);
    ck_assert_uint_eq(answer.state, 0);
    ck_assert_uint_eq(answer.connection, version >= VMBUS_V5_0 ? 4 : version);
    ck_assert_uint_eq(vmbus_channel_version(echo.channel), version);
    vg_expect_nothing(vg);
}
END_TEST

START_TEST(test_refused_versions)
{
    static const uint32_t refused[] = {0,          0x0000000D, 0x00010001, 0x00020003,
                                       0x00050004, 0x00060000, 0xFFFFFFFF};
    for (unsigned i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        ck_assert(!vg_negotiate(vg, refused[i]));
        ck_assert_uint_eq(vmbus_channel_version(echo.channel), 0);
    }
    // Linux: 6.0 is refused, 5.3 then accepted.
    ck_assert(vg_negotiate(vg, VMBUS_V5_3));
}
END_TEST

START_TEST(test_version_limit)
{
    struct vmbus_limits limits = *vg_default_limits();

    limits.max_version = VMBUS_V4_0;
    vg_new_server(vg, &limits);
    ck_assert(!vg_negotiate(vg, VMBUS_V5_3));
    ck_assert(!vg_negotiate(vg, VMBUS_V4_1));
    ck_assert(vg_negotiate(vg, VMBUS_V4_0));
    ck_assert(vg_negotiate(vg, VMBUS_V2_4));
}
END_TEST

START_TEST(test_message_vp)
{
    struct vmbus_msg_contact message = vg_contact_message(VMBUS_V5_3);

    message.target_vp = 3;
    vg_send(vg, &message, sizeof message);
    ck_assert_uint_eq(vg_expect(vg, VMBUS_VERSION_RESPONSE, NULL, 0).vp, 3);
    vg_unload(vg);
    // Clients before 3.0 hear on VP 0; a refusal goes where the client waits.
    message.version = VMBUS_V2_4;
    vg_send(vg, &message, sizeof message);
    ck_assert_uint_eq(vg_expect(vg, VMBUS_VERSION_RESPONSE, NULL, 0).vp, 0);
    message.version = 0x00060000;
    vg_send(vg, &message, sizeof message);
    ck_assert_uint_eq(vg_expect(vg, VMBUS_VERSION_RESPONSE, NULL, 0).vp, 3);
}
END_TEST

START_TEST(test_other_sint_or_vtl)
{
    struct vmbus_msg_contact message = vg_contact_message(VMBUS_V5_3);
    struct vmbus_msg_version answer;

    vg_connect(vg, VMBUS_V5_3);
    message.sint = 5;
    message.target_vp = 2;
    vg_send(vg, &message, sizeof message);
    struct vg_message got = vg_expect(vg, VMBUS_VERSION_RESPONSE, &answer, sizeof answer);
    ck_assert_uint_eq(answer.supported, 0);
    ck_assert_uint_eq(got.sint, 5);
    ck_assert_uint_eq(got.vp, 2);
    message.sint = 200; // no such SINT: where everybody listens
    vg_send(vg, &message, sizeof message);
    got = vg_expect(vg, VMBUS_VERSION_RESPONSE, &answer, sizeof answer);
    ck_assert_uint_eq(answer.supported, 0);
    ck_assert_uint_eq(got.sint, 2);
    message.sint = 2;
    message.vtl = 2;
    vg_send(vg, &message, sizeof message);
    vg_expect(vg, VMBUS_VERSION_RESPONSE, &answer, sizeof answer);
    ck_assert_uint_eq(answer.supported, 0);
    // None of them was for this bus: the connection is still there.
    ck_assert_uint_eq(vmbus_channel_version(echo.channel), VMBUS_V5_3);
}
END_TEST

START_TEST(test_interrupt_page_is_no_sint)
{
    struct vmbus_msg_contact message = vg_contact_message(VMBUS_V4_0);
    struct vmbus_msg_version answer;

    // Before 5.0 these bytes are the GPA of the interrupt page, and on connection 1 always.
    message.sint = 0x00;
    message.vtl = 0x70;
    vg_send(vg, &message, sizeof message);
    vg_expect(vg, VMBUS_VERSION_RESPONSE, &answer, sizeof answer);
    ck_assert_uint_eq(answer.supported, 1);
    message.version = VMBUS_V5_3;
    ck_assert_uint_eq(
        vmbus_server_message(vg->server, VMBUS_CONNECTION_1, &message, sizeof message),
        VMBUS_ACCEPTED);
    vg_run(vg);
    vg_expect(vg, VMBUS_VERSION_RESPONSE, &answer, sizeof answer);
    ck_assert_uint_eq(answer.supported, 1);
}
END_TEST

START_TEST(test_monitor_pages)
{
    struct vmbus_msg_contact message = vg_contact_message(VMBUS_V5_3);
    struct vmbus_msg_version answer;

    message.monitor_in = 0;
    vg_send(vg, &message, sizeof message);
    vg_expect(vg, VMBUS_VERSION_RESPONSE, &answer, sizeof answer);
    ck_assert_uint_eq(answer.supported, 1);
    ck_assert_uint_eq(answer.state, 2);
    ck_assert_uint_eq(vmbus_channel_version(echo.channel), 0);
    message.monitor_out = 0;
    vg_send(vg, &message, sizeof message);
    vg_expect(vg, VMBUS_VERSION_RESPONSE, &answer, sizeof answer);
    ck_assert_uint_eq(answer.state, 0);
}
END_TEST

// ---- offers ------------------------------------------------------------------------------------

START_TEST(test_offer_fields)
{
    struct vmbus_offer offer = echo_offer(9);
    struct echo pipe = {0};

    offer.flags = VMBUS_OFFER_ENUMERATE_INTERFACE | VMBUS_OFFER_NAMED_PIPE;
    offer.user_data[0] = VMBUS_PIPE_MESSAGES;
    offer.user_data[119] = 0x77;
    offer.mmio_megabytes = 8;
    offer.mmio_megabytes_optional = 9;
    ck_assert_ptr_nonnull(vmbus_channel_offer(vg->server, &offer, &echo_ops, &pipe));
    vg_connect(vg, VMBUS_V5_3);
    ck_assert_uint_eq(vg->offer_count, 2);
    const struct vmbus_msg_offer *got = &vg->offers[1];
    ck_assert(vmbus_guid_equal(&got->class_id, &offer.class_id));
    ck_assert(vmbus_guid_equal(&got->instance_id, &offer.instance_id));
    ck_assert_uint_eq(got->flags, 0x11);
    ck_assert_uint_eq(got->mmio_megabytes, 8);
    ck_assert_uint_eq(got->mmio_megabytes_optional, 9);
    ck_assert_mem_eq(got->user_data, offer.user_data, 120);
    ck_assert_uint_eq(got->sub_index, 0);
    ck_assert_uint_eq(got->relid, 2);
    ck_assert_uint_eq(got->monitor_id, 0xFF);
    ck_assert_uint_eq(got->monitor_allocated, 0);
    ck_assert_uint_eq(got->dedicated, 1);
    ck_assert_uint_eq(got->connection_id, 0x2002);
}
END_TEST

START_TEST(test_offer_rules)
{
    struct vmbus_offer offer = echo_offer(1);

    ck_assert_ptr_null(vmbus_channel_offer(vg->server, &offer, &echo_ops, &echo)); // ids are taken
    offer = echo_offer(2);
    offer.flags = 0x2; // confidential: not on this bus
    ck_assert_ptr_null(vmbus_channel_offer(vg->server, &offer, &echo_ops, &echo));
    offer.flags = VMBUS_OFFER_NAMED_PIPE;
    offer.user_data[0] = 1; // no such pipe
    ck_assert_ptr_null(vmbus_channel_offer(vg->server, &offer, &echo_ops, &echo));
    // A subchannel needs an open primary.
    ck_assert_ptr_null(vmbus_channel_offer_sub(echo.channel));
}
END_TEST

START_TEST(test_offers_run_out)
{
    struct echo others[64];
    unsigned offered = 1;

    for (uint8_t n = 2; n < 80; n++) {
        const struct vmbus_offer offer = echo_offer(n);
        memset(&others[n % 64], 0, sizeof others[0]);
        if (vmbus_channel_offer(vg->server, &offer, &echo_ops, &others[n % 64])) {
            offered++;
        }
    }
    ck_assert_uint_eq(offered, vg_default_limits()->channels);
    vg_connect(vg, VMBUS_V5_3);
    ck_assert_uint_eq(vg->offer_count, offered);
    for (uint32_t i = 0; i < offered; i++) {
        ck_assert_uint_eq(vg->offers[i].relid, i + 1);
    }
}
END_TEST

START_TEST(test_offers_are_sorted)
{
    struct echo others[4];

    echo_attach(&others[0], vg, 7);
    echo_attach(&others[1], vg, 3);
    echo_attach(&others[2], vg, 5);
    vg_connect(vg, VMBUS_V5_3);
    ck_assert_uint_eq(vg->offer_count, 4);
    ck_assert_uint_eq(relid_of(1), 1);
    ck_assert_uint_eq(relid_of(3), 2);
    ck_assert_uint_eq(relid_of(5), 3);
    ck_assert_uint_eq(relid_of(7), 4);
}
END_TEST

START_TEST(test_order_within_class)
{
    // OpenVMM's example: instances 5, 6, 8 and 1 of a class, two of them with an order.
    static const struct {
        uint8_t instance;
        uint32_t order;
    } offers[] = {{5, 0}, {6, 2}, {8, 1}, {1, 0}};
    static const uint8_t expected[] = {8, 6, 1, 5};
    struct echo others[4] = {0};

    for (unsigned i = 0; i < 4; i++) {
        struct vmbus_offer offer = echo_offer(9);
        offer.instance_id = (struct vmbus_guid){{offers[i].instance}};
        offer.order = offers[i].order;
        ck_assert_ptr_nonnull(vmbus_channel_offer(vg->server, &offer, &echo_ops, &others[i]));
    }
    vg_connect(vg, VMBUS_V5_3);
    ck_assert_uint_eq(vg->offer_count, 5);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_uint_eq(vg->offers[1 + i].instance_id.bytes[0], expected[i]);
        ck_assert_uint_eq(vg->offers[1 + i].relid, i + 2);
    }
}
END_TEST

START_TEST(test_hot_add)
{
    struct echo other;

    vg_connect(vg, VMBUS_V5_3);
    echo_attach(&other, vg, 2);
    vg_run(vg);
    vg_take_offers(vg);
    ck_assert_uint_eq(vg->offer_count, 2);
    vg_expect_nothing(vg); // no second ALLOFFERS_DELIVERED
}
END_TEST

START_TEST(test_no_offers_before_asked)
{
    const struct vmbus_header request = {.type = VMBUS_REQUESTOFFERS};
    struct echo other;

    ck_assert(vg_negotiate(vg, VMBUS_V5_3));
    echo_attach(&other, vg, 2);
    vg_run(vg);
    vg_expect_nothing(vg);
    vg_send(vg, &request, sizeof request);
    vg_take_offers(vg);
    ck_assert_uint_eq(vg->offer_count, 2);
    vg_expect(vg, VMBUS_ALLOFFERS_DELIVERED, NULL, 0);
    vg_send(vg, &request, sizeof request); // once a connection
    vg_expect_nothing(vg);
}
END_TEST

// ---- GPADLs ------------------------------------------------------------------------------------

static uint32_t created(uint32_t id)
{
    struct vmbus_msg_gpadl_created answer;

    vg_expect(vg, VMBUS_GPADL_CREATED, &answer, sizeof answer);
    ck_assert_uint_eq(answer.gpadl, id);
    return answer.status;
}

START_TEST(test_gpadl_of_many_messages)
{
    struct vmbus_ranges ranges;

    vg_connect(vg, VMBUS_V5_3);
    const uint64_t gpn = vg_alloc(vg, 500);
    const uint32_t id = vg_make_gpadl(vg, 1, gpn, 500);
    ck_assert(vmbus_gpadl_acquire(echo.channel, id, &ranges));
    ck_assert_uint_eq(ranges.size, 500 * 4096);
    for (uint32_t page = 0; page < 500; page++) {
        size_t length;
        ck_assert_ptr_eq(vmbus_ranges_span(vmbus_channel_memory(echo.channel), &ranges,
                                           page * 4096ull + 8, true, &length),
                         vg_at(vg, gpn + page) + 8);
        ck_assert_uint_eq(length, 4088);
    }
    vmbus_gpadl_release(echo.channel, id);
    vg_teardown(vg, 1, id);
    ck_assert(!vmbus_gpadl_acquire(echo.channel, id, &ranges));
}
END_TEST

START_TEST(test_gpadl_refusals)
{
    static const struct {
        uint16_t ranges, words;
        uint64_t first;
    } bad[] = {
        {0, 2, 4096},                           // no range
        {65, 2, 4096},                          // too many
        {1, 0, 0},                              // no words
        {1, 1, 4096},                           // no page number
        {1, 2, 0},                              // no bytes
        {1, 2, 4096 | UINT64_C(1) << 32},       // needs two pages
        {1, 2, 8 | UINT64_C(4096) << 32},       // offset behind the first page
        {1, 2, 0xFFFFFFFF},                     // 2^20 pages
        {2, 2, 4096},                           // second range is missing
        {1, 2, 8 | UINT64_C(0xFFFFFFFF) << 32}, // offset overflows
    };

    vg_connect(vg, VMBUS_V5_3);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const uint64_t words[2] = {bad[i].first, VG_FIRST_PAGE};
        vg_send_gpadl(vg, 1, 77, bad[i].ranges, words, bad[i].words);
        ck_assert_uint_eq(created(77), VMBUS_STATUS_FAILED);
        vg_expect_nothing(vg);
    }
    // Ids are free again, and nothing leaked.
    for (unsigned i = 0; i < 500; i++) {
        vg_teardown(vg, 1, vg_make_gpadl(vg, 1, VG_FIRST_PAGE, 300));
    }
}
END_TEST

START_TEST(test_gpadl_ids)
{
    const uint64_t words[2] = {4096, VG_FIRST_PAGE};
    uint64_t many[100];
    struct echo other;

    echo_attach(&other, vg, 2);
    vg_connect(vg, VMBUS_V5_3);
    vg_send_gpadl(vg, 99, 5, 1, words, 2); // no such channel: still an answer
    ck_assert_uint_eq(created(5), VMBUS_STATUS_FAILED);
    vg_send_gpadl(vg, 1, 5, 1, words, 2);
    ck_assert_uint_eq(created(5), 0);
    vg_send_gpadl(vg, 1, 5, 1, words, 2); // twice
    ck_assert_uint_eq(created(5), VMBUS_STATUS_FAILED);
    vg_send_gpadl(vg, 2, 5, 1, words, 2); // ids are per channel
    ck_assert_uint_eq(created(5), 0);
    // but not of unfinished ones, since bodies name no channel
    many[0] = 99 * 4096;
    for (unsigned i = 1; i < 100; i++) {
        many[i] = VG_FIRST_PAGE + i;
    }
    struct vmbus_msg_gpadl_header header = {.header.type = VMBUS_GPADL_HEADER,
                                            .relid = 1,
                                            .gpadl = 6,
                                            .range_bytes = 800,
                                            .range_count = 1};
    vg_send(vg, &header, sizeof header);
    vg_expect_nothing(vg);
    vg_send_gpadl(vg, 2, 6, 1, words, 2);
    ck_assert_uint_eq(created(6), VMBUS_STATUS_FAILED);
    // An unfinished one can be torn down.
    vg_teardown(vg, 1, 6);
    vg_send_gpadl(vg, 2, 6, 1, many, 100);
    ck_assert_uint_eq(created(6), 0);
    vg_teardown(vg, 1, 4711); // never made: answered
    vg_teardown(vg, 4711, 1);
}
END_TEST

START_TEST(test_gpadl_body_too_much)
{
    struct vmbus_msg_gpadl_body body = {.header.type = VMBUS_GPADL_BODY, .gpadl = 5};
    uint8_t padded[VMBUS_MESSAGE_MAX] = {0};
    const struct vmbus_msg_gpadl_header header = {.header.type = VMBUS_GPADL_HEADER,
                                                  .relid = 1,
                                                  .gpadl = 5,
                                                  .range_bytes = 16,
                                                  .range_count = 1};
    const uint64_t words[2] = {4096, VG_FIRST_PAGE};

    vg_connect(vg, VMBUS_V5_3);
    // Firmware sends every message at full length.
    memcpy(padded, &header, sizeof header);
    memcpy(padded + sizeof header, words, sizeof words);
    memset(padded + sizeof header + sizeof words, 0xEE, 100);
    vg_send(vg, padded, sizeof padded);
    ck_assert_uint_eq(created(5), 0);
    // A body for a GPADL that is complete.
    vg_send(vg, &body, sizeof body);
    vg_expect_nothing(vg);
    vg_teardown(vg, 1, 5);
    vg_send(vg, &body, sizeof body);
    vg_expect_nothing(vg);
}
END_TEST

START_TEST(test_gpadl_quota)
{
    unsigned made = 0;
    const uint64_t words[2] = {4096, VG_FIRST_PAGE};

    vg_connect(vg, VMBUS_V5_3);
    for (uint32_t id = 1; id <= 100; id++) {
        vg_send_gpadl(vg, 1, id, 1, words, 2);
        made += created(id) == 0;
    }
    ck_assert_uint_eq(made, vg_default_limits()->gpadls);
    for (uint32_t id = 1; id <= made; id++) {
        vg_teardown(vg, 1, id);
    }
    // Words: 16384 are 8 times 2000 and no more.
    static uint64_t long_list[2000];
    long_list[0] = 1999 * 4096;
    made = 0;
    for (uint32_t id = 1; id <= 10; id++) {
        vg_send_gpadl(vg, 1, id, 1, long_list, 2000);
        made += created(id) == 0;
    }
    ck_assert_uint_eq(made, 8);
}
END_TEST

START_TEST(test_gpadl_held)
{
    struct vmbus_ranges ranges;

    vg_connect(vg, VMBUS_V5_3);
    const uint32_t id = vg_make_gpadl(vg, 1, vg_alloc(vg, 4), 4);
    echo.holds_late = true;
    ck_assert(vmbus_gpadl_acquire(echo.channel, id, &ranges));
    ck_assert(vmbus_gpadl_acquire(echo.channel, id, &ranges));
    vg_send_teardown(vg, 1, id);
    vg_expect_nothing(vg);
    ck_assert_uint_eq(echo.revoked, 1);
    ck_assert_uint_eq(echo.revoked_id, id);
    ck_assert(!vmbus_gpadl_acquire(echo.channel, id, &ranges));
    vg_send_teardown(vg, 1, id); // twice: one answer
    vmbus_gpadl_release(echo.channel, id);
    vg_run(vg);
    vg_expect_nothing(vg);
    vmbus_gpadl_release(echo.channel, id);
    vmbus_gpadl_release(echo.channel, id); // once too often: harmless
    vg_run(vg);
    vg_expect(vg, VMBUS_GPADL_TORNDOWN, NULL, 0);
    vg_expect_nothing(vg);
    ck_assert_uint_eq(echo.revoked, 1);
}
END_TEST

// ---- open and close ----------------------------------------------------------------------------

START_TEST(test_open)
{
    const struct vg_channel channel = open_echo();

    ck_assert_uint_eq(echo.opens, 1);
    ck_assert(vmbus_channel_is_open(echo.channel));
    ck_assert_uint_eq(echo.open.version, VMBUS_V5_3);
    ck_assert_uint_eq(echo.open.target_vp, 1);
    ck_assert_uint_eq(echo.open.user_data[3], 4);
    ck_assert_uint_eq(echo.open.ring_in_size, 3 * 4096);
    ck_assert_uint_eq(echo.open.ring_out_size, 3 * 4096);
    ck_assert(vg->listening[1]);
    ck_assert_uint_eq(echo.wakes, 1); // once after opening
    ck_assert_uint_eq(channel.in.control[VG_FEATURES], 1);
    ck_assert_uint_eq(channel.out.control[VG_MASK], 0);
}
END_TEST

START_TEST(test_close_and_reopen)
{
    struct vg_channel channel = open_echo();

    for (unsigned i = 1; i <= 3; i++) {
        vg_close(&channel);
        ck_assert_uint_eq(echo.closes, i);
        ck_assert(!vg->listening[1]);
        ck_assert(!vmbus_channel_is_open(echo.channel));
        channel = vg_open(vg, 1, 2, 2);
        ck_assert_uint_eq(echo.opens, i + 1);
    }
}
END_TEST

START_TEST(test_open_refused)
{
    const uint64_t gpn = vg_alloc(vg, 8);

    vg_connect(vg, VMBUS_V5_3);
    const uint32_t gpadl = vg_make_gpadl(vg, 1, gpn, 8);
    static const uint32_t bad_splits[] = {0, 1, 7, 8, 9, 0xFFFFFFFF};
    for (unsigned i = 0; i < sizeof bad_splits / sizeof bad_splits[0]; i++) {
        vg_send_open(vg, 1, gpadl, bad_splits[i], 0);
        ck_assert_uint_eq(vg_open_status(vg, 1), VMBUS_STATUS_FAILED);
    }
    vg_send_open(vg, 1, gpadl + 1, 4, 0); // no such GPADL
    ck_assert_uint_eq(vg_open_status(vg, 1), VMBUS_STATUS_FAILED);
    vg_send_open(vg, 50, gpadl, 4, 0); // no such channel
    ck_assert_uint_eq(vg_open_status(vg, 50), VMBUS_STATUS_FAILED);
    ck_assert_uint_eq(echo.opens, 0);
    // The device refuses.
    echo.open_status = 0xC000009A;
    vg_send_open(vg, 1, gpadl, 4, 0);
    ck_assert_uint_eq(vg_open_status(vg, 1), 0xC000009A);
    ck_assert_uint_eq(echo.opens, 1);
    ck_assert_uint_eq(echo.closes, 0);
    ck_assert(!vg->listening[1]);
    // The environment refuses.
    echo.open_status = 0;
    vg->no_listen = true;
    vg_send_open(vg, 1, gpadl, 4, 0);
    ck_assert_uint_eq(vg_open_status(vg, 1), VMBUS_STATUS_FAILED);
    vg->no_listen = false;
    // The indices are out of range.
    *(uint32_t *)(void *)vg_at(vg, gpn) = 4;
    vg_send_open(vg, 1, gpadl, 4, 0);
    ck_assert_uint_eq(vg_open_status(vg, 1), VMBUS_STATUS_FAILED);
    *(uint32_t *)(void *)vg_at(vg, gpn) = 0;
    // A control page is no memory.
    vg->missing[gpn + 4 - VG_FIRST_PAGE] = 1;
    vg_send_open(vg, 1, gpadl, 4, 0);
    ck_assert_uint_eq(vg_open_status(vg, 1), VMBUS_STATUS_FAILED);
    vg->missing[gpn + 4 - VG_FIRST_PAGE] = 0;
    vg_send_open(vg, 1, gpadl, 4, 0);
    ck_assert_uint_eq(vg_open_status(vg, 1), 0);
    // Twice.
    vg_send_open(vg, 1, gpadl, 4, 0);
    ck_assert_uint_eq(vg_open_status(vg, 1), VMBUS_STATUS_FAILED);
    ck_assert(vmbus_channel_is_open(echo.channel));
}
END_TEST

START_TEST(test_ring_gpadl_outlives_its_teardown)
{
    struct vg_channel channel = open_echo();
    uint32_t data = 5;

    vg_send_teardown(vg, 1, channel.gpadl); // the guest has not closed
    vg_expect_nothing(vg);
    ck_assert(vg_write(&channel, 8, &data, 4));
    vg_run(vg);
    ck_assert_uint_eq(echo.packets, 1);
    vg_send_relid(vg, VMBUS_CLOSECHANNEL, 1);
    vg_expect(vg, VMBUS_GPADL_TORNDOWN, NULL, 0);
}
END_TEST

START_TEST(test_late_answers)
{
    echo.late_open = true;
    echo.late_close = true;
    vg_connect(vg, VMBUS_V5_3);
    const uint64_t gpn = vg_alloc(vg, 16);
    const uint32_t first = vg_make_gpadl(vg, 1, gpn, 8);
    vg_send_open(vg, 1, first, 4, 0);
    vg_expect_nothing(vg);
    ck_assert(!vmbus_channel_is_open(echo.channel));
    ck_assert_uint_eq(vmbus_channel_send(echo.channel, 1, false, "x", 1), VMBUS_SEND_CLOSED);
    vmbus_channel_closed(echo.channel); // answers nothing
    vmbus_channel_opened(echo.channel, 0);
    vg_run(vg);
    ck_assert_uint_eq(vg_open_status(vg, 1), 0);
    vmbus_channel_opened(echo.channel, 0xC0000001); // answers nothing
    // Close, and open again before the device has closed (spec: VMBus 1.5).
    vg_send_relid(vg, VMBUS_CLOSECHANNEL, 1);
    vg_send_teardown(vg, 1, first);
    const uint32_t second = vg_make_gpadl(vg, 1, gpn + 8, 8);
    vg_send_open(vg, 1, second, 4, 0);
    vg_expect_nothing(vg);
    ck_assert_uint_eq(echo.opens, 1);
    vmbus_channel_closed(echo.channel);
    vg_run(vg);
    vg_expect(vg, VMBUS_GPADL_TORNDOWN, NULL, 0);
    ck_assert_uint_eq(echo.opens, 2);
    vmbus_channel_opened(echo.channel, 0);
    vg_run(vg);
    ck_assert_uint_eq(vg_open_status(vg, 1), 0);
    ck_assert(vmbus_channel_is_open(echo.channel));
}
END_TEST

START_TEST(test_contact_while_opening)
{
    const struct vmbus_msg_contact message = vg_contact_message(VMBUS_V5_3);

    echo.late_open = true;
    echo.late_close = true;
    vg_connect(vg, VMBUS_V5_3);
    vg_send_open(vg, 1, vg_make_gpadl(vg, 1, vg_alloc(vg, 8), 8), 4, 0);
    ck_assert_uint_eq(echo.opens, 1);
    vg_send(vg, &message, sizeof message);
    vg_expect_nothing(vg); // the device still has the rings
    ck_assert_uint_eq(echo.closes, 1);
    vmbus_channel_opened(echo.channel, 0); // too late
    vg_run(vg);
    vg_expect_nothing(vg);
    vmbus_channel_closed(echo.channel);
    vg_run(vg);
    vg_expect(vg, VMBUS_VERSION_RESPONSE, NULL, 0);
    vg_expect_nothing(vg);
}
END_TEST

START_TEST(test_modify)
{
    struct vmbus_msg_modify message = {.header.type = VMBUS_MODIFYCHANNEL, .relid = 1};
    struct vmbus_msg_modify_result answer;
    const struct vg_channel channel = open_echo();

    message.target_vp = 3;
    vg_send(vg, &message, sizeof message);
    vg_expect(vg, VMBUS_MODIFYCHANNEL_RESPONSE, &answer, sizeof answer);
    ck_assert_uint_eq(answer.relid, 1);
    ck_assert_uint_eq(answer.status, 0);
    ck_assert_uint_eq(vmbus_channel_target_vp(echo.channel), 3);
    ck_assert_uint_eq(vmbus_channel_send(echo.channel, 7, false, "hello", 5), VMBUS_SEND_OK);
    ck_assert_uint_eq(vg->last_vp, 3);
    message.target_vp = VMBUS_NO_INTERRUPTS;
    vg_send(vg, &message, sizeof message);
    vg_expect(vg, VMBUS_MODIFYCHANNEL_RESPONSE, &answer, sizeof answer);
    channel.in.control[VG_READ] = channel.in.control[VG_WRITE];
    const uint32_t signals = vg->signals;
    ck_assert_uint_eq(vmbus_channel_send(echo.channel, 7, false, "hello", 5), VMBUS_SEND_OK);
    ck_assert_uint_eq(vg->signals, signals);
    message.relid = 9;
    vg_send(vg, &message, sizeof message);
    vg_expect(vg, VMBUS_MODIFYCHANNEL_RESPONSE, &answer, sizeof answer);
    ck_assert_uint_eq(answer.relid, 9);
    ck_assert_uint_eq(answer.status, VMBUS_STATUS_FAILED);
}
END_TEST

START_TEST(test_modify_before_5_3)
{
    const struct vmbus_msg_modify message = {
        .header.type = VMBUS_MODIFYCHANNEL, .relid = 1, .target_vp = 2};

    for (unsigned i = 0; i < VERSIONS && versions[i] < VMBUS_V5_3; i++) {
        vg_connect(vg, versions[i]);
        vg_open(vg, 1, 2, 2);
        vg_send(vg, &message, sizeof message);
        vg_expect_nothing(vg);
        ck_assert_uint_eq(vmbus_channel_target_vp(echo.channel), versions[i] >= VMBUS_V4_1 ? 2 : 1);
    }
}
END_TEST

static Suite *suite(void)
{
    const TTest *const tests[] = {test_refused_versions,
                                  test_version_limit,
                                  test_message_vp,
                                  test_other_sint_or_vtl,
                                  test_interrupt_page_is_no_sint,
                                  test_monitor_pages,
                                  test_offer_fields,
                                  test_offer_rules,
                                  test_offers_run_out,
                                  test_offers_are_sorted,
                                  test_order_within_class,
                                  test_hot_add,
                                  test_no_offers_before_asked,
                                  test_gpadl_of_many_messages,
                                  test_gpadl_refusals,
                                  test_gpadl_ids,
                                  test_gpadl_body_too_much,
                                  test_gpadl_quota,
                                  test_gpadl_held,
                                  test_open,
                                  test_close_and_reopen,
                                  test_open_refused,
                                  test_ring_gpadl_outlives_its_teardown,
                                  test_late_answers,
                                  test_contact_while_opening,
                                  test_modify,
                                  test_modify_before_5_3};
    Suite *s = suite_create("vmbus");
    TCase *tc = tcase_create("vmbus");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_each_version, 0, VERSIONS);
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
