// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "netvsp_guest.h"

static struct virtual_switch sw;
static struct guest *one, *two;
static uint8_t bytes[LSO_FRAME_MAX + 64];

static void setup(void)
{
    switch_init(&sw, 42);
    one = malloc(sizeof *one);
    two = malloc(sizeof *two);
    guest_create(one, &sw, 1);
    guest_create(two, &sw, 2);
}

static void teardown(void)
{
    guest_destroy(one);
    guest_destroy(two);
    free(one);
    free(two);
}

static void both_up(uint32_t version, uint32_t mtu)
{
    guest_up(one, version, mtu);
    guest_up(two, version, mtu);
}

// An IPv4 TCP frame from `from` to `to` with this much payload; checksums are left open.
static struct frame tcp_frame(uint8_t to, uint8_t from, uint32_t payload)
{
    const struct frame frame = frame_make(bytes, 54 + payload, to, from);
    be16_put(bytes + 12, ETHER_TYPE_IPV4);
    memset(bytes + 14, 0, 40);
    bytes[14] = 0x45;
    be16_put(bytes + 16, (uint16_t)(40 + payload));
    bytes[22] = 64;
    bytes[23] = IP_TCP;
    memcpy(bytes + 26, "\x0A\0\0\1\x0A\0\0\2", 8);
    be16_put(bytes + 34, 1000);
    be16_put(bytes + 36, 2000);
    bytes[46] = 0x50;
    return frame;
}

static struct guest_frame *expect_frame(struct guest *guest, const void *expected, uint32_t size)
{
    guest_run(guest);
    ck_assert_uint_ge(guest->frames, 1);
    struct guest_frame *frame = &guest->frame[guest->frames - 1];
    ck_assert_uint_eq(frame->size, size);
    ck_assert_int_eq(memcmp(frame->bytes, expected, size), 0);
    return frame;
}

START_TEST(test_versions)
{
    static const uint32_t versions[] = {NVSP_VERSION_61, NVSP_VERSION_6, NVSP_VERSION_5,
                                        NVSP_VERSION_4,  NVSP_VERSION_2, NVSP_VERSION_1};
    static const uint32_t refused[] = {0, 1, 0x30000, 0x60002, 0x70000, UINT32_MAX};

    for (unsigned i = 0; i < 6; i++) {
        ck_assert(fake_open(guest_primary(one)));
        for (unsigned j = 0; j < 6; j++) {
            ck_assert_uint_eq(guest_init(one, refused[j]), NVSP_STATUS_VERSION);
        }
        ck_assert_uint_eq(guest_init(one, versions[i]), NVSP_STATUS_SUCCESS);
        ck_assert_uint_eq(one->completion_size, i == 0 ? 40 : 32); // ring padding
        // Only once.
        const uint32_t again[2] = {versions[i], versions[i]};
        ck_assert_uint_eq(guest_nvsp(one, NVSP_INIT, again, 8, true), 0);
        ck_assert_uint_eq(one->vsp.statistics.refused_messages, i + 1);
        fake_close(guest_primary(one));
        one->message_size = NVSP_SIZE;
    }
    const uint32_t range[2] = {NVSP_VERSION_1, NVSP_VERSION_5};
    ck_assert(fake_open(guest_primary(one)));
    guest_nvsp(one, NVSP_INIT, range, 8, true);
    ck_assert_uint_eq(le32_get(one->completion + 4), NVSP_VERSION_5);
}
END_TEST

START_TEST(test_state_order)
{
    static const uint32_t types[] = {
        NVSP_SEND_NDIS_VERSION,
        NVSP_SEND_RECEIVE_BUFFER,
        NVSP_REVOKE_RECEIVE_BUFFER,
        NVSP_SEND_SEND_BUFFER,
        NVSP_REVOKE_SEND_BUFFER,
        NVSP_SEND_RNDIS,
        NVSP_SEND_NDIS_CONFIG,
        NVSP_SWITCH_DATA_PATH,
        NVSP_OID_QUERY_EX,
        NVSP_SUBCHANNEL,
        NVSP_INIT_COMPLETE,
        0,
        99,
        109,
        137,
    };
    const uint32_t body[6] = {1, 1};

    ck_assert(fake_open(guest_primary(one)));
    for (unsigned i = 0; i < sizeof types / sizeof types[0]; i++) {
        ck_assert_uint_eq(guest_nvsp(one, types[i], body, sizeof body, true), 0);
        ck_assert_uint_eq(one->completion_size, 0);
        ck_assert_uint_eq(one->vsp.statistics.refused_messages, i + 1);
    }
    // Messages of a later version than was negotiated.
    guest_init(one, NVSP_VERSION_1);
    for (unsigned i = 6; i < 10; i++) {
        ck_assert_uint_eq(guest_nvsp(one, types[i], body, sizeof body, true), 0);
    }
    // Too short for what it says it is.
    uint8_t message[8] = {NVSP_SEND_SEND_BUFFER};
    fake_send(guest_primary(one), 5, true, message, 8);
    guest_run(one);
    ck_assert_uint_eq(one->completion_size, 0);
    ck_assert(!one->vsp.send.buffer.held);
}
END_TEST

START_TEST(test_too_many_invalid_messages)
{
    uint8_t message[NVSP_SIZE] = {200};

    ck_assert(fake_open(guest_primary(one)));
    for (unsigned i = 0; i < 100000 && guest_primary(one)->open; i++) {
        fake_send(guest_primary(one), 0, false, message, sizeof message);
        fake_run(&one->bus);
        ck_assert_uint_lt(i, 10000);
    }
    ck_assert(guest_primary(one)->last_failure != NULL);
}
END_TEST

START_TEST(test_receive_buffer)
{
    const struct nvsp_buffer bad = {77, GUEST_RECEIVE_ID, 0};
    const struct nvsp_buffer small = {0xBAD, GUEST_RECEIVE_ID, 0};

    ck_assert(fake_open(guest_primary(one)));
    guest_init(one, NVSP_VERSION_5);
    guest_nvsp(one, NVSP_SEND_RECEIVE_BUFFER, &bad, sizeof bad, true);
    ck_assert_uint_eq(le32_get(one->completion + 4), NVSP_STATUS_FAILURE);
    fake_gpadl_add(&one->bus, 0xBAD, 900, 20);
    guest_nvsp(one, NVSP_SEND_RECEIVE_BUFFER, &small, sizeof small, true);
    ck_assert_uint_eq(le32_get(one->completion + 4), NVSP_STATUS_FAILURE);
    ck_assert_uint_eq(guest_receive_buffer(one), NVSP_STATUS_SUCCESS);
    ck_assert_uint_ge(one->sub_size, 1514 + 256 + 36);
    ck_assert_uint_eq(one->sub_count, GUEST_RECEIVE_PAGES * VMBUS_PAGE / one->sub_size);
    ck_assert_uint_eq(guest_receive_buffer(one), NVSP_STATUS_FAILURE); // it has one
    const uint32_t other = 1;
    guest_nvsp(one, NVSP_REVOKE_RECEIVE_BUFFER, &other, 4, false);
    ck_assert(one->vsp.receive.buffer.held);
    const uint32_t id = GUEST_RECEIVE_ID;
    guest_nvsp(one, NVSP_REVOKE_RECEIVE_BUFFER, &id, 4, false);
    ck_assert(!one->vsp.receive.buffer.held);
    ck_assert_uint_eq(guest_receive_buffer(one), NVSP_STATUS_SUCCESS);
    // Teardown of the page list without revoking it first.
    ck_assert(fake_gpadl_tear(&one->bus, guest_primary(one), GUEST_RECEIVE_GPADL));
    ck_assert(!one->vsp.receive.buffer.held);
}
END_TEST

START_TEST(test_jumbo)
{
    guest_start(one, NVSP_VERSION_61, 9000);
    ck_assert_uint_eq(guest_query_u32(one, OID_MAXIMUM_FRAME_SIZE), 9000);
    ck_assert_uint_ge(one->sub_size, 9014 + 256 + 36);
    guest_filter(one, FILTER_DIRECTED);
    guest_up(two, NVSP_VERSION_61, 9000);
    const struct frame frame = frame_make(bytes, 9014, 1, 2);
    guest_transmit(two, &frame, 0, 0);
    expect_frame(one, bytes, 9014);
    fake_close(guest_primary(one));
    one->message_size = NVSP_SIZE;
    guest_start(one, NVSP_VERSION_61, 60000); // more than there is
    ck_assert_uint_eq(guest_query_u32(one, OID_MAXIMUM_TOTAL_SIZE), ETHER_FRAME_MAX);
    fake_close(guest_primary(one));
    one->message_size = NVSP_SIZE;
    guest_start(one, NVSP_VERSION_61, 68); // less than Ethernet has
    ck_assert_uint_eq(guest_query_u32(one, OID_MAXIMUM_FRAME_SIZE), 1500);
}
END_TEST

START_TEST(test_frames_both_ways)
{
    static const uint32_t versions[] = {NVSP_VERSION_1, NVSP_VERSION_4, NVSP_VERSION_61};

    for (unsigned i = 0; i < 3; i++) {
        both_up(versions[i], 1500);
        for (uint32_t size = 60; size <= 1514; size += 97) {
            struct frame frame = frame_make(bytes, size, 2, 1);
            guest_transmit(one, &frame, 0, 0);
            const struct guest_frame *got = expect_frame(two, bytes, size);
            ck_assert(!got->has_vlan && !got->has_hash);
            frame = frame_make(bytes, size, 0xFF, 2);
            guest_transmit(two, &frame, 0, 0);
            expect_frame(one, bytes, size);
        }
        ck_assert_uint_eq(one->frames, two->frames);
        ck_assert_uint_eq(one->statuses_bad, 0);
        for (struct guest *guest = one; guest; guest = guest == one ? two : NULL) {
            ck_assert_uint_eq(guest->vsp.receive.free_count, guest->vsp.receive.slots);
            fake_close(guest_primary(guest));
            guest->message_size = NVSP_SIZE;
        }
    }
}
END_TEST

// Several messages in one: all in a section of the send buffer; headers there, data in pages.
START_TEST(test_send_sections)
{
    uint8_t message[NVSP_SIZE_61] = {NVSP_SEND_RNDIS};
    uint8_t *section = guest_page(one, PAGE_SEND) + 3 * NETVSP_SECTION;
    uint32_t size = 0;

    both_up(NVSP_VERSION_5, 1500);
    for (uint8_t i = 0; i < 4; i++) {
        frame_make(bytes, 100u + i, 2, 1);
        size += guest_packet(section + size, bytes, 100u + i, 0, 0);
    }
    le32_put(message + 8, 3);
    le32_put(message + 12, size);
    fake_send(guest_primary(one), 9, true, message, NVSP_SIZE);
    guest_run(one);
    guest_run(two);
    ck_assert_uint_eq(two->frames, 4);
    for (uint8_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(two->frame[i].size, 100u + i);
    }

    frame_make(bytes, 1000, 2, 1);
    uint8_t whole[2000];
    size = guest_packet(whole, bytes, 1000, 0, 0);
    memcpy(section, whole, 60);
    memcpy(guest_page(one, PAGE_FREE) + 4000, whole + 60, 96);
    memcpy(guest_page(one, PAGE_FREE + 5), whole + 156, size - 156);
    fake_range(guest_primary(one), PAGE_FREE, 4000, 96);
    fake_range(guest_primary(one), PAGE_FREE + 5, 0, size - 156);
    le32_put(message + 12, 60);
    fake_send(guest_primary(one), 10, true, message, NVSP_SIZE);
    guest_run(one);
    expect_frame(two, bytes, 1000);
    ck_assert_uint_eq(one->statuses_bad, 0);

    // Sections that are not there, or longer than they are.
    const uint32_t sections = GUEST_SEND_PAGES * VMBUS_PAGE / NETVSP_SECTION;
    static const uint32_t lengths[] = {NETVSP_SECTION + 1, UINT32_MAX};
    for (unsigned i = 0; i < 2; i++) {
        le32_put(message + 8, 3);
        le32_put(message + 12, lengths[i]);
        fake_send(guest_primary(one), 11, true, message, NVSP_SIZE);
        le32_put(message + 8, sections + i * 0x10000000);
        le32_put(message + 12, 60);
        fake_send(guest_primary(one), 12, true, message, NVSP_SIZE);
    }
    guest_run(one);
    ck_assert_uint_eq(one->statuses_bad, 4);
}
END_TEST

START_TEST(test_transmit_checksum)
{
    const struct guest_info info = {PPI_CHECKSUM,
                                    TX_IPV4 | TX_TCP_CHECKSUM | TX_IP_CHECKSUM | 34u << 16};

    both_up(NVSP_VERSION_61, 1500);
    struct frame frame = tcp_frame(2, 1, 777);
    be16_put(bytes + 50, 0x1234); // whatever the guest left there
    guest_transmit(one, &frame, &info, 1);
    struct packet packet = packet_parse(bytes, frame.size, false);
    ck_assert(packet_fill_checksums(bytes, &packet, CHECKSUM_IP | CHECKSUM_TCP));
    const struct guest_frame *got = expect_frame(two, bytes, frame.size);
    ck_assert_uint_eq(got->checksum, RX_IP_SUCCEEDED | RX_TCP_SUCCEEDED);

    // Without the offload the guest's own sums travel, and are judged.
    guest_transmit(one, &frame, 0, 0);
    ck_assert_uint_eq(expect_frame(two, bytes, frame.size)->checksum,
                      RX_IP_SUCCEEDED | RX_TCP_SUCCEEDED);
    bytes[60] ^= 1;
    guest_transmit(one, &frame, 0, 0);
    ck_assert_uint_eq(expect_frame(two, bytes, frame.size)->checksum,
                      RX_IP_SUCCEEDED | RX_TCP_FAILED);
    bytes[22] ^= 1; // time to live
    guest_transmit(one, &frame, 0, 0);
    ck_assert_uint_eq(expect_frame(two, bytes, frame.size)->checksum, RX_IP_FAILED | RX_TCP_FAILED);

    // Asked for a UDP checksum of a TCP packet.
    const struct guest_info wrong = {PPI_CHECKSUM, TX_IPV4 | TX_UDP_CHECKSUM};
    const unsigned before = two->frames;
    guest_transmit(one, &frame, &wrong, 1);
    guest_run(two);
    ck_assert_uint_eq(two->frames, before);
    ck_assert_uint_eq(guest_query_u32(one, OID_XMIT_ERROR), 1);
}
END_TEST

START_TEST(test_receive_checksum_can_be_switched_off)
{
    uint8_t parameters[20] = {NDIS_OBJECT_DEFAULT, 1, 20, 0, 1, 2, 4, 4, 4};

    both_up(NVSP_VERSION_61, 1500);
    ck_assert_uint_eq(guest_set(two, OID_OFFLOAD_PARAMETERS, parameters, 20), RNDIS_STATUS_SUCCESS);
    const struct frame frame = tcp_frame(2, 1, 100);
    guest_transmit(one, &frame, 0, 0);
    ck_assert(!expect_frame(two, bytes, frame.size)->has_checksum);
    parameters[4] = 3;
    guest_set(two, OID_OFFLOAD_PARAMETERS, parameters, 20);
    guest_transmit(one, &frame, 0, 0);
    ck_assert_uint_eq(expect_frame(two, bytes, frame.size)->checksum, RX_IP_FAILED);
}
END_TEST

START_TEST(test_large_send)
{
    enum { PAYLOAD = 40000, MSS = 1460 };
    const struct guest_info info = {PPI_LSO, MSS | 34u << 20 | 1u << 30};
    uint8_t sum[PAYLOAD];
    uint32_t done = 0;

    both_up(NVSP_VERSION_61, 1500);
    struct frame frame = tcp_frame(2, 1, PAYLOAD);
    be16_put(bytes + 16, 0);
    for (uint32_t i = 0; i < PAYLOAD; i++) {
        bytes[54 + i] = (uint8_t)(i ^ i >> 8);
    }
    guest_transmit(one, &frame, &info, 1);
    guest_run(two);
    ck_assert_uint_eq(two->frames, (PAYLOAD + MSS - 1) / MSS);
    for (unsigned i = 0; i < two->frames; i++) {
        const struct guest_frame *got = &two->frame[i];
        const struct packet packet = packet_parse(got->bytes, got->size, false);
        ck_assert_uint_eq(packet_verify(got->bytes, &packet).good, CHECKSUM_IP | CHECKSUM_TCP);
        ck_assert_uint_eq(got->checksum, RX_IP_SUCCEEDED | RX_TCP_SUCCEEDED);
        ck_assert_uint_eq(be32_get(got->bytes + 38), done);
        memcpy(sum + done, got->bytes + 54, got->size - 54);
        done += got->size - 54;
    }
    ck_assert_uint_eq(done, PAYLOAD);
    ck_assert_int_eq(memcmp(sum, bytes + 54, PAYLOAD), 0);
    ck_assert_uint_eq(one->statuses_bad, 0);

    // A segment longer than the MTU.
    const struct guest_info wrong = {PPI_LSO, 1461};
    const unsigned before = two->frames;
    guest_transmit(one, &frame, &wrong, 1);
    guest_run(two);
    ck_assert_uint_eq(two->frames, before);
    ck_assert_uint_eq(one->vsp.nic.transmit_errors, 1);
}
END_TEST

static void retag(struct guest *guest, enum port_vlan_mode mode, uint16_t native, uint16_t allowed)
{
    struct port_vlan *vlan = &guest->vsp.nic.port.config.vlan;
    vlan->mode = mode;
    vlan->native = native;
    vlan->allowed[allowed / 8] |= (uint8_t)(1 << allowed % 8);
}

START_TEST(test_vlan)
{
    const struct guest_info info = {PPI_8021Q, 10 << 4 | 5 | 8};
    struct guest_frame *got;

    both_up(NVSP_VERSION_61, 1500);
    retag(one, PORT_TRUNK, 0, 10);
    retag(two, PORT_TRUNK, 0, 10);
    struct frame frame = frame_make(bytes, 200, 2, 1);
    guest_transmit(one, &frame, &info, 1);
    got = expect_frame(two, bytes, 200);
    ck_assert(got->has_vlan);
    ck_assert_uint_eq(got->vlan, info.value);

    // A tag inside the frame means the same.
    uint8_t tagged[204];
    memcpy(tagged, bytes, 12);
    memcpy(tagged + 12, "\x81\x00\xB0\x0A", 4);
    memcpy(tagged + 16, bytes + 12, 188);
    frame = (struct frame){.bytes = tagged, .size = 204};
    guest_transmit(one, &frame, 0, 0);
    got = expect_frame(two, bytes, 200);
    ck_assert_uint_eq(got->vlan, info.value);

    // A guest that did not negotiate it gets it inside.
    two->vsp.nic.tags = false;
    guest_transmit(one, &frame, 0, 0);
    got = expect_frame(two, tagged, 204);
    ck_assert(!got->has_vlan);

    retag(two, PORT_ACCESS, 10, 0);
    guest_transmit(one, &frame, 0, 0);
    got = expect_frame(two, bytes, 200);
    ck_assert(!got->has_vlan);
    retag(two, PORT_ACCESS, 11, 0);
    const unsigned before = two->frames;
    guest_transmit(one, &frame, 0, 0);
    guest_run(two);
    ck_assert_uint_eq(two->frames, before);
}
END_TEST

static void open_subchannels(struct guest *guest, uint32_t wanted, uint32_t granted)
{
    const uint32_t body[2] = {1, wanted};

    ck_assert_uint_eq(guest_nvsp(guest, NVSP_SUBCHANNEL, body, 8, true), NVSP_SUBCHANNEL);
    ck_assert_uint_eq(le32_get(guest->completion + 4), NVSP_STATUS_SUCCESS);
    ck_assert_uint_eq(le32_get(guest->completion + 8), granted);
    for (uint32_t i = 1; i <= granted; i++) {
        ck_assert(!guest->has_table);
        ck_assert(guest->bus.channels[i].used);
        ck_assert(fake_open(&guest->bus.channels[i]));
        guest_run(guest);
    }
    ck_assert(guest->has_table);
}

// As Linux sends it: revision 2, 128 entries, key behind them.
static uint32_t rss_parameters(uint8_t *out, uint32_t queues)
{
    memset(out, 0, 44 + 512 + 40);
    out[0] = NDIS_OBJECT_RSS_PARAMETERS;
    out[1] = 2;
    le16_put(out + 2, 40);
    le32_put(out + 8, RSS_TOEPLITZ | RSS_IPV4 | RSS_TCP_IPV4 | RSS_IPV6 | RSS_TCP_IPV6);
    le16_put(out + 12, 512);
    le32_put(out + 16, 44);
    le16_put(out + 20, 40);
    le32_put(out + 24, 44 + 512);
    for (uint32_t i = 0; i < 128; i++) {
        le32_put(out + 44 + 4 * i, i % queues);
    }
    for (uint32_t i = 0; i < 40; i++) {
        out[44 + 512 + i] = (uint8_t)(i * 37 + 11);
    }
    return 44 + 512 + 40;
}

START_TEST(test_rss)
{
    uint8_t parameters[600];
    unsigned seen[4] = {0};

    both_up(NVSP_VERSION_5, 1500);
    open_subchannels(two, 7, 3);
    for (unsigned i = 0; i < NVSP_SEND_TABLE; i++) {
        ck_assert_uint_eq(two->table[i], i % 4);
    }
    const uint32_t size = rss_parameters(parameters, 4);
    ck_assert_uint_eq(guest_set(two, OID_RSS_PARAMETERS, parameters, size), RNDIS_STATUS_SUCCESS);
    for (unsigned i = 0; i < 200; i++) {
        const struct frame frame = tcp_frame(2, 1, 50);
        be16_put(bytes + 34, (uint16_t)(1000 + i));
        guest_transmit(one, &frame, 0, 0);
        const struct guest_frame *got = expect_frame(two, bytes, frame.size);
        uint8_t input[12];
        memcpy(input, bytes + 26, 12);
        const uint32_t hash = rss_toeplitz(parameters + 44 + 512, input, 12);
        ck_assert(got->has_hash);
        ck_assert_uint_eq(got->hash, hash);
        ck_assert_uint_eq(got->queue, hash % 128 % 4);
        seen[got->queue]++;
    }
    ck_assert(seen[0] && seen[1] && seen[2] && seen[3]);
    // Sending works on each channel.
    for (unsigned i = 0; i < 4; i++) {
        uint8_t message[600];
        frame_make(bytes, 100 + i, 1, 2);
        const uint32_t length = guest_packet(message, bytes, 100 + i, 0, 0);
        guest_rndis(two, &two->bus.channels[i], false, message, length);
        guest_run(two);
        expect_frame(one, bytes, 100 + i);
    }
    // A closed subchannel's frames go to the primary.
    for (unsigned i = 1; i < 4; i++) {
        fake_close(&two->bus.channels[i]);
    }
    const struct frame frame = tcp_frame(2, 1, 50);
    for (unsigned i = 0; i < 20; i++) {
        be16_put(bytes + 34, (uint16_t)(2000 + i));
        guest_transmit(one, &frame, 0, 0);
        ck_assert_uint_eq(expect_frame(two, bytes, frame.size)->queue, 0);
    }
}
END_TEST

START_TEST(test_rss_refusals)
{
    uint8_t good[600], bad[600];
    const uint32_t size = rss_parameters(good, 4);
    static const struct {
        unsigned at;
        uint32_t value;
    } changes[] = {
        {0, 0x80},
        {8, 2},
        {12, 512 | 8 << 16},
        {12, 500},
        {12, 1024},
        {12, 0},
        {16, 45 + 512},
        {16, UINT32_MAX},
        {20, 39},
        {20, 41},
        {24, 44 + 512 + 1},
        {24, 0xFFFFFFFE},
        {44, 4},
        {44 + 508, UINT32_MAX},
    };

    guest_up(one, NVSP_VERSION_5, 1500);
    for (unsigned i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        memcpy(bad, good, size);
        if (i == 2) {
            continue; // the pad behind the size means nothing
        }
        le32_put(bad + changes[i].at, changes[i].value);
        ck_assert_msg(guest_set(one, OID_RSS_PARAMETERS, bad, size) == RNDIS_STATUS_INVALID_DATA,
                      "change %u", i);
        ck_assert(!one->vsp.nic.rss.enabled);
    }
    ck_assert_uint_eq(guest_set(one, OID_RSS_PARAMETERS, good, 27), RNDIS_STATUS_INVALID_LENGTH);
    ck_assert_uint_eq(guest_set(one, OID_RSS_PARAMETERS, good, size), RNDIS_STATUS_SUCCESS);
    ck_assert(one->vsp.nic.rss.enabled);
    le16_put(good + 4, 0x10);
    ck_assert_uint_eq(guest_set(one, OID_RSS_PARAMETERS, good, size), RNDIS_STATUS_SUCCESS);
    ck_assert(!one->vsp.nic.rss.enabled);
}
END_TEST

START_TEST(test_subchannel_rules)
{
    const uint32_t body[2] = {1, 2}, other[2] = {2, 2};
    uint8_t message[100];

    guest_up(one, NVSP_VERSION_5, 1500);
    guest_nvsp(one, NVSP_SUBCHANNEL, other, 8, true);
    ck_assert_uint_eq(le32_get(one->completion + 4), NVSP_STATUS_FAILURE);
    open_subchannels(one, 2, 2);
    guest_nvsp(one, NVSP_SUBCHANNEL, body, 8, true); // only once
    ck_assert_uint_eq(le32_get(one->completion + 4), NVSP_STATUS_FAILURE);
    ck_assert_uint_eq(le32_get(one->completion + 8), 0);
    // Control messages are for the primary.
    const uint8_t keepalive[12] = {RNDIS_KEEPALIVE, 0, 0, 0, 12};
    guest_rndis(one, &one->bus.channels[1], true, keepalive, 12);
    guest_run(one);
    ck_assert_uint_eq(one->statuses_bad, 1);
    // Closing the primary ends them; the next time they are offered anew.
    fake_close(guest_primary(one));
    ck_assert(!one->bus.channels[1].used);
    one->message_size = NVSP_SIZE;
    one->has_table = false;
    guest_up(one, NVSP_VERSION_61, 1500);
    open_subchannels(one, 1, 1);
    memset(message, 0, sizeof message);
    le32_put(message, NVSP_SEND_SEND_BUFFER);
    fake_send(&one->bus.channels[1], 1, true, message, NVSP_SIZE_61);
    fake_run(&one->bus);
    ck_assert(guest_primary(one)->last_failure != NULL);
}
END_TEST

// The guest does not give slots back: nothing is lost but what the queue cannot hold.
START_TEST(test_slots_run_out)
{
    unsigned sent = 0;

    both_up(NVSP_VERSION_5, 1500);
    two->keep = true;
    const unsigned data_slots = two->vsp.receive.slots - NETVSP_SLOTS_CONTROL;
    for (; sent < 1000; sent++) {
        const struct frame frame = frame_make(bytes, 60 + sent % 1000, 2, 1);
        guest_transmit(one, &frame, 0, 0);
        guest_run(two);
    }
    ck_assert_uint_eq(two->frames, data_slots);
    ck_assert_uint_eq(two->vsp.receive.free_count, NETVSP_SLOTS_CONTROL);
    // Control messages still come through.
    const uint8_t keepalive[12] = {RNDIS_KEEPALIVE, 0, 0, 0, 12};
    guest_rndis(two, guest_primary(two), true, keepalive, 12);
    guest_run(two);
    ck_assert_uint_eq(le32_get(two->reply), RNDIS_KEEPALIVE | RNDIS_COMPLETE);
    // Ids that were never given, twice the same, the wrong channel.
    fake_complete(guest_primary(two), 0, 0, 0);
    fake_complete(guest_primary(two), UINT64_MAX, 0, 0);
    fake_complete(guest_primary(two), two->kept_ids[0] + (1ull << 32), 0, 0);
    fake_complete(guest_primary(two), two->kept_ids[0], 0, 0);
    fake_complete(guest_primary(two), two->kept_ids[0], 0, 0);
    const unsigned before = two->frames;
    guest_run(two);
    ck_assert_uint_eq(two->vsp.statistics.refused_transfers, 4);
    ck_assert_uint_eq(two->frames, before); // it was one of the reserve: a control message's
    two->keep = false;
    for (unsigned i = 1, kept = two->kept; i < kept; i++) {
        fake_complete(guest_primary(two), two->kept_ids[i], 0, 0);
        guest_run(two);
    }
    const unsigned queued = two->frames - data_slots;
    ck_assert_uint_gt(queued, 100);
    ck_assert_uint_eq(queued + two->vsp.nic.port.statistics.out_full, sent - data_slots);
    ck_assert_uint_eq(two->vsp.receive.free_count, two->vsp.receive.slots);
}
END_TEST

// The ring to the guest is full: batches wait and go on when there is room.
START_TEST(test_full_ring)
{
    unsigned frames = 0;

    both_up(NVSP_VERSION_5, 1500);
    guest_primary(two)->room = 1;
    for (unsigned i = 0; i < 150; i++) {
        const struct frame frame = frame_make(bytes, 60 + i, 2, 1);
        guest_transmit(one, &frame, 0, 0);
        fake_run(&two->bus);
    }
    ck_assert_uint_eq(guest_primary(two)->out.count, 1);
    // Guess the id of a transfer that has not been sent: it may not be completed.
    const uint64_t id = fake_peek(guest_primary(two))->id;
    for (uint64_t i = 1; i < 100; i++) {
        fake_complete(guest_primary(two), (id & ~0xFFFFFFFFull) + (i << 32) + (id & 0xFFFFFFFF) + i,
                      0, 0);
    }
    guest_run(two);
    ck_assert_uint_eq(two->frames, 150);
    for (; frames < 150; frames++) {
        ck_assert_uint_eq(two->frame[frames].size, 60 + frames); // in order
    }
    ck_assert_uint_eq(two->vsp.receive.free_count, two->vsp.receive.slots);
}
END_TEST

START_TEST(test_close_with_everything_in_flight)
{
    both_up(NVSP_VERSION_5, 1500);
    two->keep = true;
    for (unsigned i = 0; i < 300; i++) {
        const struct frame frame = frame_make(bytes, 60, 2, 1);
        guest_transmit(one, &frame, 0, 0);
        if (i < 50) {
            guest_run(two);
        }
    }
    fake_close(guest_primary(two));
    ck_assert_uint_eq(two->vsp.nic.port.queue.frames, 0);
    two->keep = false;
    two->frames = 0;
    two->message_size = NVSP_SIZE;
    guest_up(two, NVSP_VERSION_5, 1500);
    const struct frame frame = frame_make(bytes, 77, 2, 1);
    guest_transmit(one, &frame, 0, 0);
    expect_frame(two, bytes, 77);
    ck_assert_uint_eq(two->frames, 1);
}
END_TEST

START_TEST(test_link_state)
{
    both_up(NVSP_VERSION_61, 1500);
    netvsp_set_link(&two->vsp, false);
    guest_run(two);
    ck_assert_uint_eq(two->indications, 1);
    ck_assert_uint_eq(two->indicated, RNDIS_STATUS_MEDIA_DISCONNECT);
    ck_assert_uint_eq(guest_query_u32(two, OID_MEDIA_CONNECT_STATUS), 1);
    struct frame frame = frame_make(bytes, 77, 2, 1);
    guest_transmit(one, &frame, 0, 0);
    guest_run(two);
    ck_assert_uint_eq(two->frames, 0);
    frame = frame_make(bytes, 77, 1, 2);
    guest_transmit(two, &frame, 0, 0);
    guest_run(one);
    ck_assert_uint_eq(one->frames, 0);
    // Up, down, up within moments: the guest is told once, and late.
    netvsp_set_link(&two->vsp, true);
    guest_run(two);
    netvsp_set_link(&two->vsp, false);
    guest_run(two);
    netvsp_set_link(&two->vsp, true);
    guest_run(two);
    ck_assert_uint_eq(two->indications, 1);
    two->bus.now += NETVSP_LINK_DELAY_100NS;
    guest_run(two);
    ck_assert_uint_eq(two->indications, 2);
    ck_assert_uint_eq(two->indicated, RNDIS_STATUS_MEDIA_CONNECT);
    frame = frame_make(bytes, 77, 2, 1);
    guest_transmit(one, &frame, 0, 0);
    expect_frame(two, bytes, 77);
    // Without a driver nobody has to be told.
    fake_close(guest_primary(two));
    netvsp_set_link(&two->vsp, false);
    two->message_size = NVSP_SIZE;
    guest_up(two, NVSP_VERSION_61, 1500);
    ck_assert_uint_eq(two->indications, 2);
    ck_assert_uint_eq(guest_query_u32(two, OID_MEDIA_CONNECT_STATUS), 1);
}
END_TEST

START_TEST(test_control_flood)
{
    const uint8_t keepalive[12] = {RNDIS_KEEPALIVE, 0, 0, 0, 12};

    guest_up(one, NVSP_VERSION_5, 1500);
    one->keep = true;
    for (unsigned i = 0; i < 800; i++) {
        guest_rndis(one, guest_primary(one), true, keepalive, 12);
        guest_run(one);
    }
    ck_assert_uint_eq(one->vsp.reply_count, NETVSP_REPLIES);
    ck_assert_uint_eq(one->vsp.statistics.dropped_replies,
                      800 - NETVSP_REPLIES - one->vsp.receive.slots);
    one->keep = false;
    for (unsigned i = 0, kept = one->kept; i < kept; i++) {
        fake_complete(guest_primary(one), one->kept_ids[i], 0, 0);
        guest_run(one);
    }
    ck_assert_uint_eq(one->vsp.reply_count, 0);
}
END_TEST

START_TEST(test_malformed_messages)
{
    uint8_t message[4096];
    struct guest_info infos[2] = {{PPI_CHECKSUM, 0}, {PPI_8021Q, 0}};
    static const struct {
        unsigned at;
        uint32_t value;
    } changes[] = {
        {0, 10},          {0, 0x80000002},  {4, 7},           {4, 43},         {4, 1000},
        {4, UINT32_MAX},  {8, 35},          {8, 1000},        {8, UINT32_MAX}, {12, 13},
        {12, 1000},       {12, UINT32_MAX}, {28, 35},         {28, 1000},      {32, 1000},
        {32, UINT32_MAX}, {44, 0},          {44, 11},         {44, 33},        {44, UINT32_MAX},
        {52, 11},         {52, 17},         {52, UINT32_MAX}, {60, 8},
    };

    both_up(NVSP_VERSION_5, 1500);
    frame_make(bytes, 100, 2, 1);
    const uint32_t size = guest_packet(message, bytes, 100, infos, 2);
    guest_rndis(one, guest_primary(one), false, message, size);
    guest_run(one);
    ck_assert_uint_eq(one->statuses_bad, 0);
    expect_frame(two, bytes, 100);
    for (unsigned i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        guest_packet(message, bytes, 100, infos, 2);
        le32_put(message + changes[i].at, changes[i].value);
        guest_rndis(one, guest_primary(one), false, message, size);
        guest_run(one);
        ck_assert_msg(one->statuses_bad == i + 1, "change %u", i);
    }
    // Nothing, less than a header, a range that is no memory, too many at once.
    uint8_t nvsp[NVSP_SIZE] = {NVSP_SEND_RNDIS};
    le32_put(nvsp + 8, NVSP_NO_SECTION);
    one->statuses_bad = 0;
    fake_send(guest_primary(one), 1, true, nvsp, NVSP_SIZE);
    guest_rndis(one, guest_primary(one), false, message, 7);
    fake_range(guest_primary(one), FAKE_PAGES + 5, 0, size);
    fake_send(guest_primary(one), 1, true, nvsp, NVSP_SIZE);
    guest_run(one);
    ck_assert_uint_eq(one->statuses_bad, 3);
    uint32_t total = 0;
    for (unsigned i = 0; i < RNDIS_PACKETS_MAX + 1; i++) {
        total += guest_packet(message + total, bytes, 100, 0, 0);
    }
    guest_rndis(one, guest_primary(one), false, message, total);
    guest_run(one);
    ck_assert_uint_eq(one->statuses_bad, 4);
    guest_run(two);
    ck_assert_uint_eq(two->frames, 1 + RNDIS_PACKETS_MAX);
    // Range buffers that are too long, and payloads.
    for (uint32_t i = 0; i < 60; i++) {
        fake_range(guest_primary(one), PAGE_FREE, 0, 5 * VMBUS_PAGE);
    }
    fake_send(guest_primary(one), 1, true, nvsp, NVSP_SIZE);
    fake_send(guest_primary(one), 1, true, message, 1000);
    guest_run(one);
    ck_assert_uint_eq(one->statuses_bad, 6);
}
END_TEST

START_TEST(test_create_refusals)
{
    struct netvsp *vsp = malloc(sizeof *vsp);
    struct netvsp_config good = guest_config(one, &sw, 3), bad;

    bad = good;
    bad.address = frame_address(2); // taken
    ck_assert(!netvsp_create(vsp, &one->bus, &bad));
    bad = good;
    bad.frame_max = ETHER_FRAME_MAX + 1;
    ck_assert(!netvsp_create(vsp, &one->bus, &bad));
    bad = good;
    bad.queues = NIC_QUEUES_MAX + 1;
    ck_assert(!netvsp_create(vsp, &one->bus, &bad));
    bad = good;
    bad.slot_count = NETVSP_SLOTS_MIN - 1;
    ck_assert(!netvsp_create(vsp, &one->bus, &bad));
    bad = good;
    memset(bad.name, 'x', sizeof bad.name);
    ck_assert(!netvsp_create(vsp, &one->bus, &bad));
    one->bus.channel_limit = 1;
    ck_assert(!netvsp_create(vsp, &one->bus, &good));
    ck_assert_uint_eq(vsp->nic.port.attached, false); // and off the switch again
    one->bus.channel_limit = FAKE_CHANNELS;
    ck_assert(netvsp_create(vsp, &one->bus, &good));
    netvsp_remove(vsp);
    fake_run(&one->bus);
    ck_assert(netvsp_gone(vsp));
    free(vsp);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("netvsp");
    TCase *tests = tcase_create("netvsp");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_versions);
    tcase_add_test(tests, test_state_order);
    tcase_add_test(tests, test_too_many_invalid_messages);
    tcase_add_test(tests, test_receive_buffer);
    tcase_add_test(tests, test_jumbo);
    tcase_add_test(tests, test_frames_both_ways);
    tcase_add_test(tests, test_send_sections);
    tcase_add_test(tests, test_transmit_checksum);
    tcase_add_test(tests, test_receive_checksum_can_be_switched_off);
    tcase_add_test(tests, test_large_send);
    tcase_add_test(tests, test_vlan);
    tcase_add_test(tests, test_rss);
    tcase_add_test(tests, test_rss_refusals);
    tcase_add_test(tests, test_subchannel_rules);
    tcase_add_test(tests, test_slots_run_out);
    tcase_add_test(tests, test_full_ring);
    tcase_add_test(tests, test_close_with_everything_in_flight);
    tcase_add_test(tests, test_link_state);
    tcase_add_test(tests, test_control_flood);
    tcase_add_test(tests, test_malformed_messages);
    tcase_add_test(tests, test_create_refusals);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
