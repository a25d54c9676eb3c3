// SPDX-License-Identifier: BSD-2-Clause-Patent
// The adapter behind RNDIS: every OID, every control message.
#include "netvsp_guest.h"

static struct virtual_switch sw;
static struct guest *guest;

static void setup(void)
{
    switch_init(&sw, 42);
    guest = malloc(sizeof *guest);
    guest_create(guest, &sw, 1);
    guest_start(guest, NVSP_VERSION_61, 1500);
}

static void teardown(void)
{
    guest_destroy(guest);
    free(guest);
}

START_TEST(test_initialize)
{
    const uint32_t bad[3] = {2, 0, 0x4000};

    ck_assert_uint_eq(guest_rndis_init(guest), RNDIS_STATUS_SUCCESS);
    ck_assert_uint_eq(guest->reply_size, 52);
    ck_assert_uint_eq(le32_get(guest->reply + 16), 1); // version 1.0
    ck_assert_uint_eq(le32_get(guest->reply + 20), 0);
    ck_assert_uint_eq(le32_get(guest->reply + 24), 1); // connectionless
    ck_assert_uint_eq(le32_get(guest->reply + 32), 8); // packets in a message
    ck_assert_uint_ge(le32_get(guest->reply + 36), 8 * 65536);
    ck_assert_uint_eq(le32_get(guest->reply + 40), 3);
    guest_filter(guest, 1);
    ck_assert_uint_eq(guest_control(guest, RNDIS_INITIALIZE, bad, 3, 0, 0),
                      RNDIS_STATUS_BAD_VERSION);
    ck_assert_uint_eq(guest_query_u32(guest, OID_PACKET_FILTER), 1); // nothing changed
    ck_assert_uint_eq(guest_rndis_init(guest), RNDIS_STATUS_SUCCESS);
    ck_assert_uint_eq(guest_query_u32(guest, OID_PACKET_FILTER), 0); // begins anew
}
END_TEST

START_TEST(test_halt_reset_keepalive)
{
    const uint8_t halt[12] = {RNDIS_HALT, 0, 0, 0, 12};
    const uint8_t reset[12] = {RNDIS_RESET, 0, 0, 0, 12};
    const uint8_t *data;
    const unsigned before = guest->replies;
    uint32_t filter = 1;

    ck_assert_uint_eq(guest_control(guest, RNDIS_KEEPALIVE, 0, 0, 0, 0), RNDIS_STATUS_SUCCESS);
    guest_filter(guest, 5);
    guest_rndis(guest, guest_primary(guest), true, reset, 12);
    guest_run(guest);
    ck_assert_uint_eq(le32_get(guest->reply), RNDIS_RESET | RNDIS_COMPLETE);
    ck_assert_uint_eq(le32_get(guest->reply + 8), RNDIS_STATUS_SUCCESS);
    ck_assert_uint_eq(le32_get(guest->reply + 12), 1);
    ck_assert_uint_eq(guest_query_u32(guest, OID_PACKET_FILTER), 0);
    const unsigned replies = guest->replies;
    ck_assert_uint_eq(replies, before + 4);
    guest_rndis(guest, guest_primary(guest), true, halt, 12);
    guest_run(guest);
    ck_assert_uint_eq(guest->replies, replies);
    ck_assert_uint_eq(guest_query(guest, OID_PACKET_FILTER, 0, 0, &data), UINT32_MAX);
    ck_assert_uint_eq(le32_get(guest->reply + 12), RNDIS_STATUS_NOT_READY);
    ck_assert_uint_eq(guest_set(guest, OID_PACKET_FILTER, &filter, 4), RNDIS_STATUS_NOT_READY);
    guest_rndis(guest, guest_primary(guest), true, reset, 12);
    guest_run(guest);
    ck_assert_uint_eq(guest_set(guest, OID_PACKET_FILTER, &filter, 4), RNDIS_STATUS_NOT_READY);
}
END_TEST

START_TEST(test_malformed_control)
{
    static const struct {
        uint32_t type, size;
    } messages[] = {
        {RNDIS_INITIALIZE, 8}, {RNDIS_QUERY, 8}, {RNDIS_QUERY, 12}, {RNDIS_SET, 12},
        {RNDIS_SET_EX, 12},    {0, 40},          {10, 40},          {0x80000004, 40},
        {RNDIS_INDICATE, 40},  {RNDIS_RESET, 8}, {UINT32_MAX, 40},
    };
    uint8_t message[64] = {0};

    for (unsigned i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        const unsigned replies = guest->replies;
        le32_put(message, messages[i].type);
        le32_put(message + 4, messages[i].size);
        guest_rndis(guest, guest_primary(guest), true, message, messages[i].size);
        guest_run(guest);
        ck_assert_uint_eq(guest->statuses_bad, i + 1);
        ck_assert_uint_eq(guest->replies, replies);
    }
    // Whole headers, but information outside the message: answered with a status.
    const uint32_t words[][4] = {{OID_PACKET_FILTER, 4, 21, 0},
                                 {OID_PACKET_FILTER, 5, 20, 0},
                                 {OID_PACKET_FILTER, UINT32_MAX, 20, 0},
                                 {OID_PACKET_FILTER, 4, UINT32_MAX, 0}};
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_uint_eq(guest_control(guest, RNDIS_SET, words[i], 4, message, 4),
                          RNDIS_STATUS_INVALID_LENGTH);
        ck_assert_uint_eq(guest_control(guest, RNDIS_QUERY, words[i], 4, message, 4),
                          RNDIS_STATUS_INVALID_LENGTH);
        ck_assert_uint_eq(guest_control(guest, RNDIS_SET_EX, words[i], 4, message, 4),
                          RNDIS_STATUS_INVALID_LENGTH);
    }
    ck_assert_uint_eq(guest_control(guest, RNDIS_QUERY, words[0], 3, 0, 0),
                      RNDIS_STATUS_INVALID_LENGTH);
}
END_TEST

// Every OID of the list answers a query with a sane size, or takes a set; nothing else does.
START_TEST(test_supported_list)
{
    static uint32_t list[256];
    const uint8_t *data;
    const uint32_t size = guest_query(guest, OID_SUPPORTED_LIST, 0, 0, &data);
    unsigned set_only = 0;

    ck_assert_uint_ge(size, 4 * 45);
    memcpy(list, data, size);
    for (uint32_t i = 0; i < size / 4; i++) {
        const uint32_t answer = guest_query(guest, list[i], 0, 0, &data);
        for (uint32_t j = 0; j < i; j++) {
            ck_assert_uint_ne(list[i], list[j]);
        }
        if (answer == UINT32_MAX) {
            ck_assert_uint_eq(le32_get(guest->reply + 12), RNDIS_STATUS_NOT_SUPPORTED);
            ck_assert_uint_ne(guest_set(guest, list[i], 0, 0), RNDIS_STATUS_NOT_SUPPORTED);
            set_only++;
        } else {
            ck_assert_uint_le(answer, NIC_INFO_MAX);
        }
    }
    ck_assert_uint_eq(set_only, 5);
    static const uint32_t unknown[] = {0, 1, 0x10117, 0x20000, 0xFC01020E, UINT32_MAX};
    for (unsigned i = 0; i < 6; i++) {
        ck_assert_uint_eq(guest_query(guest, unknown[i], 0, 0, &data), UINT32_MAX);
        ck_assert_uint_eq(guest_set(guest, unknown[i], list, 4), RNDIS_STATUS_NOT_SUPPORTED);
    }
    ck_assert_uint_eq(guest_set(guest, OID_LINK_SPEED, list, 4), RNDIS_STATUS_NOT_SUPPORTED);
}
END_TEST

START_TEST(test_values)
{
    const uint8_t *data;

    ck_assert_uint_eq(guest_query_u32(guest, OID_LINK_SPEED), 100000000);
    ck_assert_uint_eq(guest_query_u32(guest, OID_MEDIA_CONNECT_STATUS), 0);
    ck_assert_uint_eq(guest_query_u32(guest, OID_MAXIMUM_FRAME_SIZE), 1500);
    ck_assert_uint_eq(guest_query_u32(guest, OID_MAXIMUM_TOTAL_SIZE), 1514);
    ck_assert_uint_eq(guest_query_u32(guest, OID_MAC_OPTIONS), 0x25D);
    ck_assert_uint_eq(guest_query_u32(guest, OID_RECEIVE_BUFFER_SPACE),
                      guest->sub_size * guest->sub_count);
    ck_assert_uint_eq(guest_query_u32(guest, OID_TRANSMIT_BUFFER_SPACE),
                      GUEST_SEND_PAGES * VMBUS_PAGE / NETVSP_SECTION * NETVSP_SECTION);
    ck_assert_uint_eq(guest_query(guest, OID_PERMANENT_ADDRESS, 0, 0, &data), 6);
    ck_assert_int_eq(memcmp(data, "\2\0\0\0\0\1", 6), 0);
    ck_assert_uint_eq(guest_query(guest, OID_CURRENT_ADDRESS, 0, 0, &data), 6);
    ck_assert_int_eq(memcmp(data, "\2\0\0\0\0\1", 6), 0);
    ck_assert_uint_eq(guest_query(guest, OID_FRIENDLY_NAME, 0, 0, &data), 512);
    ck_assert_int_eq(memcmp(data,
                            "n\0e\0t\0"
                            "0\0\0\0",
                            10),
                     0);
    ck_assert_uint_eq(guest_query(guest, OID_MAX_LINK_SPEED, 0, 0, &data), 16);
    ck_assert_uint_eq(le64_get(data + 8), 10000000000);
    ck_assert_uint_eq(guest_query(guest, OID_LINK_STATE, 0, 0, &data), 40);
    ck_assert_uint_eq(le32_get(data + 4), 1);
    ck_assert_uint_eq(le64_get(data + 16), 10000000000);
    ck_assert_uint_eq(guest_query(guest, OID_DRIVER_VERSION, 0, 0, &data), 2);
}
END_TEST

START_TEST(test_filter_and_groups)
{
    uint8_t groups[(SWITCH_GROUPS_MAX + 1) * 6];
    const uint8_t *data;

    for (unsigned i = 0; i < sizeof groups; i++) {
        groups[i] = (uint8_t)(1 + 2 * i);
    }
    guest_filter(guest, 0x0F);
    ck_assert_uint_eq(guest_query_u32(guest, OID_PACKET_FILTER), 0x0F);
    ck_assert_uint_eq(guest_set(guest, OID_PACKET_FILTER, groups, 3), RNDIS_STATUS_INVALID_LENGTH);
    ck_assert_uint_eq(guest_set(guest, OID_MULTICAST_LIST, groups, SWITCH_GROUPS_MAX * 6),
                      RNDIS_STATUS_SUCCESS);
    ck_assert_uint_eq(guest_query(guest, OID_MULTICAST_LIST, 0, 0, &data), SWITCH_GROUPS_MAX * 6);
    ck_assert_int_eq(memcmp(data, groups, SWITCH_GROUPS_MAX * 6), 0);
    ck_assert_uint_eq(guest_set(guest, OID_MULTICAST_LIST, groups, sizeof groups),
                      RNDIS_STATUS_MULTICAST_FULL);
    ck_assert_uint_eq(guest_set(guest, OID_MULTICAST_LIST, groups, 7), RNDIS_STATUS_INVALID_LENGTH);
    groups[0] = 2;
    ck_assert_uint_eq(guest_set(guest, OID_MULTICAST_LIST, groups, 6), RNDIS_STATUS_INVALID_DATA);
    ck_assert_uint_eq(guest_set(guest, OID_MULTICAST_LIST, groups, 0), RNDIS_STATUS_SUCCESS);
    ck_assert_uint_eq(guest_query(guest, OID_MULTICAST_LIST, 0, 0, &data), 0);
}
END_TEST

// What Linux's rndis_netdev_set_hwcaps() demands.
START_TEST(test_offload_capabilities)
{
    const uint8_t *data;
    uint8_t header[4] = {NDIS_OBJECT_OFFLOAD, 3, 156, 0};

    ck_assert_uint_eq(guest_query(guest, OID_OFFLOAD_CAPABILITIES, header, 4, &data), 156);
    ck_assert_uint_eq(data[0], NDIS_OBJECT_OFFLOAD);
    ck_assert_uint_eq(data[1], 3);
    ck_assert_uint_eq(le16_get(data + 2), 156);
    ck_assert_uint_eq(le32_get(data + 4), 2);
    ck_assert_uint_eq(le32_get(data + 8) & 0x154, 0x154); // TCP4, options, UDP4, IP4
    ck_assert_uint_eq(le32_get(data + 24) & 0x55, 0x55);  // TCP6, options, extensions, UDP6
    ck_assert_uint_eq(le32_get(data + 80), 2);            // LSOv2
    ck_assert_uint_eq(le32_get(data + 84), 0xF53C);
    ck_assert_uint_eq(le32_get(data + 104) & 5, 5);
    ck_assert_uint_eq(le32_get(data + 144), 0); // no RSC
    header[2] = 144;
    ck_assert_uint_eq(guest_query(guest, OID_OFFLOAD_CAPABILITIES, header, 4, &data), 144);
    header[2] = 112;
    ck_assert_uint_eq(guest_query(guest, OID_OFFLOAD_CAPABILITIES, header, 4, &data), 112);
    ck_assert_uint_eq(data[1], 1);
    ck_assert_uint_eq(guest_query(guest, OID_OFFLOAD_CAPABILITIES, 0, 0, &data), 156);
}
END_TEST

START_TEST(test_offload_parameters)
{
    uint8_t parameters[24] = {NDIS_OBJECT_DEFAULT, 3, 24, 0};
    const uint8_t *data;

    // Linux: transmit on, receive on, both large sends; then everything off.
    memset(parameters + 4, 4, 5);
    parameters[9] = parameters[11] = parameters[12] = 2;
    ck_assert_uint_eq(guest_set(guest, OID_OFFLOAD_PARAMETERS, parameters, 24),
                      RNDIS_STATUS_SUCCESS);
    guest_query(guest, OID_OFFLOAD_CURRENT_CONFIG, 0, 0, &data);
    ck_assert_uint_eq(le32_get(data + 84), 0xF53C);
    memset(parameters + 4, 1, 6);
    parameters[11] = parameters[12] = 1;
    ck_assert_uint_eq(guest_set(guest, OID_OFFLOAD_PARAMETERS, parameters, 24),
                      RNDIS_STATUS_SUCCESS);
    guest_query(guest, OID_OFFLOAD_CURRENT_CONFIG, 0, 0, &data);
    for (unsigned at = 4; at < 156; at += 4) {
        ck_assert_uint_eq(le32_get(data + at), 0);
    }
    memset(parameters + 4, 0, 20);
    parameters[5] = 2; // TCP4 transmit only
    parameters[6] = 3; // UDP4 receive only
    ck_assert_uint_eq(guest_set(guest, OID_OFFLOAD_PARAMETERS, parameters, 24),
                      RNDIS_STATUS_SUCCESS);
    guest_query(guest, OID_OFFLOAD_CURRENT_CONFIG, 0, 0, &data);
    ck_assert_uint_eq(le32_get(data + 8), 0x15);
    ck_assert_uint_eq(le32_get(data + 16), 0x41);
    ck_assert_uint_eq(le32_get(data + 24), 0);
    for (unsigned at = 4; at < 13; at++) {
        if (at == 10) {
            continue; // IPsec, which there is not
        }
        memset(parameters + 4, 0, 20);
        parameters[at] = 5;
        ck_assert_uint_eq(guest_set(guest, OID_OFFLOAD_PARAMETERS, parameters, 24),
                          RNDIS_STATUS_INVALID_DATA);
    }
    parameters[12] = 0;
    parameters[0] = 0;
    ck_assert_uint_eq(guest_set(guest, OID_OFFLOAD_PARAMETERS, parameters, 24),
                      RNDIS_STATUS_INVALID_DATA);
    ck_assert_uint_eq(guest_set(guest, OID_OFFLOAD_PARAMETERS, parameters, 15),
                      RNDIS_STATUS_INVALID_LENGTH);
    guest_query(guest, OID_OFFLOAD_CURRENT_CONFIG, 0, 0, &data);
    ck_assert_uint_eq(le32_get(data + 8), 0x15);
}
END_TEST

START_TEST(test_rss_capabilities)
{
    const uint8_t *data;
    ck_assert_uint_eq(guest_query(guest, OID_RSS_CAPABILITIES, 0, 0, &data), 18);
    ck_assert_uint_eq(data[0], NDIS_OBJECT_RSS_CAPABILITIES);
    ck_assert_uint_eq(le32_get(data + 12), 4);
    ck_assert_uint_eq(le16_get(data + 16), 128);
}
END_TEST

static uint32_t set_parameter(const char *name, uint32_t type, const char *value)
{
    uint8_t info[256] = {0};
    const uint32_t name_size = 2 * (uint32_t)strlen(name), size = 2 * (uint32_t)strlen(value);

    le32_put(info, 20);
    le32_put(info + 4, name_size);
    le32_put(info + 8, type);
    le32_put(info + 12, 20 + name_size);
    le32_put(info + 16, size);
    for (uint32_t i = 0; i < name_size / 2; i++) {
        info[20 + 2 * i] = (uint8_t)name[i];
    }
    for (uint32_t i = 0; i < size / 2; i++) {
        info[20 + name_size + 2 * i] = (uint8_t)value[i];
    }
    return guest_set(guest, OID_RNDIS_CONFIG_PARAMETER, info, 20 + name_size + size);
}

START_TEST(test_network_address)
{
    const uint8_t *data;

    ck_assert_uint_eq(set_parameter("NetworkAddress", 2, "02AAbbCCddEE"),
                      RNDIS_STATUS_NOT_ACCEPTED);
    ck_assert_uint_eq(set_parameter("NetworkAddress", 2, "020000000001"), RNDIS_STATUS_SUCCESS);
    guest->vsp.nic.port.config.flags |= PORT_SPOOF;
    ck_assert_uint_eq(set_parameter("NetworkAddress", 2, "02AAbbCCddEE"), RNDIS_STATUS_SUCCESS);
    guest_query(guest, OID_CURRENT_ADDRESS, 0, 0, &data);
    ck_assert_int_eq(memcmp(data, "\x02\xAA\xBB\xCC\xDD\xEE", 6), 0);
    guest_query(guest, OID_PERMANENT_ADDRESS, 0, 0, &data);
    ck_assert_int_eq(memcmp(data, "\2\0\0\0\0\1", 6), 0);
    ck_assert_uint_eq(set_parameter("NetworkAddress", 2, "03AAbbCCddEE"),
                      RNDIS_STATUS_NOT_ACCEPTED); // a group
    ck_assert_uint_eq(set_parameter("NetworkAddress", 2, "02AAbbCCddE"), RNDIS_STATUS_INVALID_DATA);
    ck_assert_uint_eq(set_parameter("NetworkAddress", 2, "02AAbbCCddEG"),
                      RNDIS_STATUS_INVALID_DATA);
    ck_assert_uint_eq(set_parameter("NetworkAddress", 0, "02AAbbCCddEE"),
                      RNDIS_STATUS_INVALID_DATA);
    ck_assert_uint_eq(set_parameter("NetworkAddresses", 2, "02AAbbCCddEE"),
                      RNDIS_STATUS_NOT_SUPPORTED);
    ck_assert_uint_eq(set_parameter("", 2, ""), RNDIS_STATUS_NOT_SUPPORTED);
    static const uint32_t outside[][5] = {{20, UINT32_MAX, 2, 20, 0},
                                          {UINT32_MAX, 4, 2, 20, 0},
                                          {20, 0, 2, 21, 4},
                                          {20, 0, 2, 4, UINT32_MAX}};
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_uint_eq(guest_set(guest, OID_RNDIS_CONFIG_PARAMETER, outside[i], 20),
                          RNDIS_STATUS_INVALID_DATA);
    }
}
END_TEST

START_TEST(test_statistics)
{
    static uint8_t bytes[1514];
    const uint8_t *data;
    struct switch_port other;
    static uint8_t queue[4096] __attribute__((aligned(8)));
    const struct port_config config = {.address = frame_address(9), .max_frame = 1514};

    ck_assert(switch_attach(&sw, &other, &config, queue, sizeof queue));
    guest_filter(guest, FILTER_DIRECTED | FILTER_BROADCAST);
    for (unsigned i = 0; i < 5; i++) {
        const struct frame out = frame_make(bytes, 100, i < 3 ? 9 : 0xFF, 1);
        guest_transmit(guest, &out, 0, 0);
        const struct frame in = frame_make(bytes, 200, i < 4 ? 1 : 0xFF, 9);
        switch_send(&sw, &other, &in, 1);
    }
    const struct frame spoofed = frame_make(bytes, 100, 9, 8);
    guest_transmit(guest, &spoofed, 0, 0);
    guest_run(guest);
    ck_assert_uint_eq(guest_query_u32(guest, OID_XMIT_OK), 5);
    ck_assert_uint_eq(guest_query_u32(guest, OID_RCV_OK), 5);
    ck_assert_uint_eq(guest_query(guest, OID_DIRECTED_BYTES_XMIT, 0, 0, &data), 8);
    ck_assert_uint_eq(le64_get(data), 300);
    guest_query(guest, OID_BROADCAST_FRAMES_RCV, 0, 0, &data);
    ck_assert_uint_eq(le64_get(data), 1);
    guest_query(guest, OID_BYTES_RCV, 0, 0, &data);
    ck_assert_uint_eq(le64_get(data), 1000);
    guest_query(guest, OID_XMIT_DISCARDS, 0, 0, &data);
    ck_assert_uint_eq(le64_get(data), 1);
    ck_assert_uint_eq(guest_query(guest, OID_STATISTICS, 0, 0, &data), 152);
    ck_assert_uint_eq(le64_get(data + 24), 1000); // octets in
    ck_assert_uint_eq(le64_get(data + 32), 4);
    ck_assert_uint_eq(le64_get(data + 48), 1);
    ck_assert_uint_eq(le64_get(data + 56), 500); // octets out
    ck_assert_uint_eq(le64_get(data + 96), 1);   // refused
    ck_assert_uint_eq(le64_get(data + 128), 300);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rndis");
    TCase *tests = tcase_create("rndis");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_initialize);
    tcase_add_test(tests, test_halt_reset_keepalive);
    tcase_add_test(tests, test_malformed_control);
    tcase_add_test(tests, test_supported_list);
    tcase_add_test(tests, test_values);
    tcase_add_test(tests, test_filter_and_groups);
    tcase_add_test(tests, test_offload_capabilities);
    tcase_add_test(tests, test_offload_parameters);
    tcase_add_test(tests, test_rss_capabilities);
    tcase_add_test(tests, test_network_address);
    tcase_add_test(tests, test_statistics);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
