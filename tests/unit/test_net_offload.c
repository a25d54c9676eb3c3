// SPDX-License-Identifier: BSD-2-Clause-Patent
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "root/lib/vsp/net/ether.h"
#include "root/lib/vsp/net/lso.h"
#include "root/lib/vsp/net/packet.h"
#include "root/lib/vsp/net/rss.h"
#include "root/lib/vsp/wire.h"

enum { IP4 = ETHER_HEADER, IP6 = ETHER_HEADER };

static uint8_t frame[LSO_FRAME_MAX];

// The sum of RFC 1071 as its text has it, word by word.
static uint16_t plain_sum(const uint8_t *bytes, uint32_t size)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < size; i++) {
        sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    return (uint16_t)sum;
}

static uint32_t make_ipv4(uint8_t protocol, uint32_t options, uint32_t l4_size)
{
    const uint32_t header = IPV4_HEADER + options;

    memset(frame, 0, sizeof frame);
    be16_put(frame + ETHER_TYPE_AT, ETHER_TYPE_IPV4);
    frame[IP4] = (uint8_t)(0x40 | header / 4);
    be16_put(frame + IP4 + IPV4_TOTAL_LENGTH, (uint16_t)(header + l4_size));
    be16_put(frame + IP4 + IPV4_ID, 0xFFFE);
    frame[IP4 + IPV4_PROTOCOL] = protocol;
    memcpy(frame + IP4 + IPV4_SOURCE, "\x42\x09\x95\xBB\xA1\x8E\x64\x50", 8);
    return ETHER_HEADER + header;
}

static uint32_t make_ipv6(uint8_t protocol, uint32_t l4_size)
{
    memset(frame, 0, sizeof frame);
    be16_put(frame + ETHER_TYPE_AT, ETHER_TYPE_IPV6);
    frame[IP6] = 0x60;
    be16_put(frame + IP6 + IPV6_PAYLOAD_LENGTH, (uint16_t)l4_size);
    frame[IP6 + IPV6_NEXT] = protocol;
    memcpy(frame + IP6 + IPV6_SOURCE,
           "\x3f\xfe\x25\x01\x02\x00\x1f\xff\0\0\0\0\0\0\0\7"
           "\x3f\xfe\x25\x01\x02\x00\x00\x03\0\0\0\0\0\0\0\1",
           32);
    return ETHER_HEADER + IPV6_HEADER;
}

static void make_tcp(uint32_t at, uint32_t options, uint32_t payload)
{
    be16_put(frame + at, 2794);
    be16_put(frame + at + 2, 1766);
    be32_put(frame + at + TCP_SEQUENCE, 0xFFFFFF00);
    frame[at + TCP_DATA_OFFSET] = (uint8_t)((TCP_HEADER + options) / 4 << 4);
    frame[at + TCP_FLAGS] = 0x99; // CWR, ACK, PSH, FIN
    for (uint32_t i = 0; i < payload; i++) {
        frame[at + TCP_HEADER + options + i] = (uint8_t)(i * 7 + i / 256);
    }
}

START_TEST(test_checksum_sum)
{
    srand(3);
    for (unsigned i = 0; i < 20000; i++) {
        const uint32_t size = (uint32_t)rand() % 70;
        const uint32_t at = (uint32_t)rand() % 8;
        for (uint32_t j = 0; j < size; j++) {
            frame[at + j] = (uint8_t)(rand() % 3 ? rand() : 0xFF);
        }
        const uint16_t start = (uint16_t)rand();
        uint8_t prefix[80] = {(uint8_t)(start >> 8), (uint8_t)start};
        memcpy(prefix + 2, frame + at, size);
        ck_assert_uint_eq(checksum_add(start, frame + at, size), plain_sum(prefix, size + 2));
    }
    ck_assert_uint_eq(checksum_add(0, (const uint8_t *)"\x00\x01\xf2\x03\xf4\xf5\xf6\xf7", 8),
                      0xDDF2); // RFC 1071, section 3
}
END_TEST

// A packet that was captured: DNS query, checksums as the sender computed them.
START_TEST(test_known_packet)
{
    static const uint8_t packet_bytes[] = {
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
        0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
    };
    memset(frame, 0, sizeof frame);
    be16_put(frame + ETHER_TYPE_AT, ETHER_TYPE_IPV4);
    memcpy(frame + IP4, packet_bytes, sizeof packet_bytes);
    be16_put(frame + IP4 + 20 + UDP_LENGTH, 0x73 - 20);
    const struct packet packet = packet_parse(frame, ETHER_HEADER + 0x73, false);
    ck_assert_uint_eq(packet.version, 4);
    ck_assert_uint_eq(packet.protocol, IP_UDP);
    ck_assert_uint_eq(packet_verify(frame, &packet).good, CHECKSUM_IP);
    be16_put(frame + IP4 + IPV4_CHECKSUM, 0);
    ck_assert(packet_fill_checksums(frame, &packet, CHECKSUM_IP));
    ck_assert_uint_eq(be16_get(frame + IP4 + IPV4_CHECKSUM), 0xB861);
}
END_TEST

// Checks by the rule of the RFCs: pseudo header and segment sum to ones.
static void expect_transport_right(const struct packet *packet)
{
    static uint8_t pseudo[65536 + 40];
    const uint32_t length = packet->end - packet->l4;
    const uint32_t addresses = packet->version == 4 ? 8 : 32;
    const uint32_t source = packet->version == 4 ? IPV4_SOURCE : IPV6_SOURCE;

    memcpy(pseudo, frame + packet->l3 + source, addresses);
    be32_put(pseudo + addresses, length);
    be32_put(pseudo + addresses + 4, packet->protocol);
    memcpy(pseudo + addresses + 8, frame + packet->l4, length);
    ck_assert_uint_eq(plain_sum(pseudo, addresses + 8 + length), 0xFFFF);
}

START_TEST(test_fill_and_verify)
{
    for (uint32_t payload = 0; payload < 40; payload++) {
        for (unsigned kind = 0; kind < 4; kind++) {
            const uint8_t protocol = kind & 1 ? IP_UDP : IP_TCP;
            const uint32_t header = kind & 1 ? UDP_HEADER : TCP_HEADER;
            const uint32_t checksum = kind & 1 ? CHECKSUM_UDP : CHECKSUM_TCP;
            const uint32_t ip = kind & 2 ? 0 : CHECKSUM_IP;
            const uint32_t l4 = kind & 2 ? make_ipv6(protocol, header + payload)
                                         : make_ipv4(protocol, 4, header + payload);
            make_tcp(l4, 0, payload);
            if (kind & 1) {
                be16_put(frame + l4 + UDP_LENGTH, (uint16_t)(header + payload));
            }
            struct packet packet = packet_parse(frame, l4 + header + payload + 5, false);
            ck_assert_uint_eq(packet.protocol, protocol);
            ck_assert_uint_eq(packet.l4, l4);
            ck_assert_uint_eq(packet.payload, l4 + header);
            ck_assert_uint_eq(packet.end, l4 + header + payload);
            ck_assert(packet_fill_checksums(frame, &packet, checksum | ip));
            expect_transport_right(&packet);
            struct packet_verdict verdict = packet_verify(frame, &packet);
            ck_assert_uint_eq(verdict.present, checksum | ip);
            ck_assert_uint_eq(verdict.good, checksum | ip);
            frame[l4 + header + payload - 1] ^= 1;
            verdict = packet_verify(frame, &packet);
            ck_assert_uint_eq(verdict.present, checksum | ip);
            ck_assert_uint_eq(verdict.good, ip);
            ck_assert(
                !packet_fill_checksums(frame, &packet, (CHECKSUM_TCP | CHECKSUM_UDP) & ~checksum));
        }
    }
}
END_TEST

START_TEST(test_udp_zero)
{
    const uint32_t l4 = make_ipv4(IP_UDP, 0, UDP_HEADER + 2);
    be16_put(frame + l4 + UDP_LENGTH, UDP_HEADER + 2);
    const struct packet packet = packet_parse(frame, l4 + UDP_HEADER + 2, false);
    ck_assert_uint_eq(packet_verify(frame, &packet).present, CHECKSUM_IP); // none sent
    ck_assert(packet_fill_checksums(frame, &packet, CHECKSUM_UDP));
    // The payload that makes the sum 0: the checksum has to be written as ones.
    const uint16_t sum = be16_get(frame + l4 + UDP_CHECKSUM);
    be16_put(frame + l4 + UDP_HEADER, sum);
    ck_assert(packet_fill_checksums(frame, &packet, CHECKSUM_UDP));
    ck_assert_uint_eq(be16_get(frame + l4 + UDP_CHECKSUM), 0xFFFF);
    const uint32_t six = make_ipv6(IP_UDP, UDP_HEADER);
    const struct packet over_six = packet_parse(frame, six + UDP_HEADER, false);
    ck_assert_uint_eq(packet_verify(frame, &over_six).present, CHECKSUM_UDP); // and wrong
    ck_assert_uint_eq(packet_verify(frame, &over_six).good, 0);
}
END_TEST

START_TEST(test_malformed)
{
    uint32_t l4 = make_ipv4(IP_TCP, 0, TCP_HEADER);
    make_tcp(l4, 0, 0);
    const uint32_t size = l4 + TCP_HEADER;
    ck_assert_uint_eq(packet_parse(frame, size, false).protocol, IP_TCP);
    for (uint32_t shorter = 0; shorter < size; shorter++) {
        ck_assert_uint_eq(packet_parse(frame, shorter, false).version, 0);
    }
    frame[l4 + TCP_DATA_OFFSET] = 0x40;
    ck_assert_uint_eq(packet_parse(frame, size, false).protocol, 0);
    frame[l4 + TCP_DATA_OFFSET] = 0x60;
    ck_assert_uint_eq(packet_parse(frame, size, false).protocol, 0);
    frame[l4 + TCP_DATA_OFFSET] = 0x50;
    be16_put(frame + IP4 + IPV4_FRAGMENT, 0x2000);
    ck_assert_uint_eq(packet_parse(frame, size, false).protocol, 0);
    ck_assert_uint_eq(packet_parse(frame, size, false).version, 4);
    be16_put(frame + IP4 + IPV4_FRAGMENT, 0x4000); // do not fragment
    ck_assert_uint_eq(packet_parse(frame, size, false).protocol, IP_TCP);
    frame[IP4] = 0x44;
    ck_assert_uint_eq(packet_parse(frame, size, false).version, 0);
    frame[IP4] = 0x4F;
    ck_assert_uint_eq(packet_parse(frame, size, false).version, 0);
    be16_put(frame + ETHER_TYPE_AT, 0x0806);
    ck_assert_uint_eq(packet_parse(frame, size, false).version, 0);
    l4 = make_ipv6(IP_TCP, TCP_HEADER);
    make_tcp(l4, 0, 0);
    be16_put(frame + IP6 + IPV6_PAYLOAD_LENGTH, TCP_HEADER + 1);
    ck_assert_uint_eq(packet_parse(frame, l4 + TCP_HEADER, false).version, 0);
}
END_TEST

START_TEST(test_ipv6_extensions)
{
    const uint32_t first = make_ipv6(IP_HOP_BY_HOP, 8 + 16 + 8 + TCP_HEADER);
    const uint32_t size = first + 8 + 16 + 8 + TCP_HEADER;

    frame[first] = IP_DESTINATION;
    frame[first + 8] = IP_ROUTING;
    frame[first + 9] = 1;
    frame[first + 24] = IP_TCP;
    make_tcp(first + 32, 0, 0);
    struct packet packet = packet_parse(frame, size, false);
    ck_assert_uint_eq(packet.protocol, IP_TCP);
    ck_assert_uint_eq(packet.l4, first + 32);
    ck_assert(packet.options);
    frame[first + 24 + 3] = 1; // segments left
    ck_assert_uint_eq(packet_parse(frame, size, false).protocol, 0);
    frame[first + 24 + 3] = 0;
    frame[first + 24 + 1] = 200; // longer than the packet
    ck_assert_uint_eq(packet_parse(frame, size, false).protocol, 0);
    frame[first + 24 + 1] = 0;
    frame[first + 8] = IP_FRAGMENT;
    ck_assert_uint_eq(packet_parse(frame, size, false).protocol, 0);

    // A chain that is too long ends the search.
    make_ipv6(IP_HOP_BY_HOP, 8 * 100);
    ck_assert_uint_eq(packet_parse(frame, first + 8 * 100, false).protocol, 0);
}
END_TEST

// Puts the segments together again and compares with the packet they were made of.
static void expect_segments(uint32_t l4, uint32_t options, uint32_t payload, uint32_t mss)
{
    static uint8_t large[LSO_FRAME_MAX], joined[LSO_FRAME_MAX];
    const uint32_t headers = l4 + TCP_HEADER + options;
    struct lso lso;
    uint32_t done = 0, segments = 0, size;

    memcpy(large, frame, headers + payload);
    ck_assert(lso_begin(&lso, large, headers + payload, mss, headers + mss));
    while ((size = lso_next(&lso, frame)) != 0) {
        const struct packet packet = packet_parse(frame, size, false);
        const struct packet_verdict verdict = packet_verify(frame, &packet);
        const bool last = done + (size - headers) == payload;
        ck_assert_uint_eq(packet.protocol, IP_TCP);
        ck_assert_uint_eq(packet.end, size);
        ck_assert_uint_eq(verdict.good, verdict.present);
        expect_transport_right(&packet);
        ck_assert_uint_eq(be32_get(frame + l4 + TCP_SEQUENCE), 0xFFFFFF00 + done);
        ck_assert_uint_eq(frame[l4 + TCP_FLAGS],
                          0x10 | (last ? 0x09 : 0) | (segments == 0 ? 0x80 : 0));
        if (packet.version == 4) {
            ck_assert_uint_eq(be16_get(frame + IP4 + IPV4_ID), (uint16_t)(0xFFFE + segments));
        }
        ck_assert_uint_eq(size - headers, payload - done < mss ? payload - done : mss);
        memcpy(joined + done, frame + headers, size - headers);
        done += size - headers;
        segments++;
    }
    ck_assert_uint_eq(done, payload);
    ck_assert_uint_eq(segments, payload ? (payload + mss - 1) / mss : 1);
    ck_assert_int_eq(memcmp(joined, large + headers, payload), 0);
}

START_TEST(test_large_send)
{
    static const uint32_t payloads[] = {0, 1, 1447, 1448, 1449, 2896, 64000};
    static const uint32_t sizes[] = {48, 1448, 8948};

    for (unsigned i = 0; i < 7; i++) {
        for (unsigned j = 0; j < 3; j++) {
            uint32_t l4 = make_ipv4(IP_TCP, 8, 0); // version 2: the length is left at 0
            be16_put(frame + IP4 + IPV4_TOTAL_LENGTH, 0);
            make_tcp(l4, 12, payloads[i]);
            expect_segments(l4, 12, payloads[i], sizes[j]);
            l4 = make_ipv6(IP_TCP, 0);
            make_tcp(l4, 12, payloads[i]);
            expect_segments(l4, 12, payloads[i], sizes[j]);
        }
    }
}
END_TEST

START_TEST(test_large_send_refusals)
{
    struct lso lso;
    const uint32_t l4 = make_ipv4(IP_TCP, 0, 0);

    make_tcp(l4, 0, 3000);
    const uint32_t size = l4 + TCP_HEADER + 3000;
    ck_assert(lso_begin(&lso, frame, size, 1460, 1514));
    ck_assert(!lso_begin(&lso, frame, size, 1461, 1514));
    ck_assert(!lso_begin(&lso, frame, size, UINT32_MAX, 1514));
    ck_assert(!lso_begin(&lso, frame, size, LSO_MSS_MIN - 1, 1514));
    ck_assert(!lso_begin(&lso, frame, size, 0, 1514));
    ck_assert(!lso_begin(&lso, frame, l4 + TCP_HEADER - 1, 1460, 1514));
    ck_assert(!lso_begin(&lso, frame, LSO_FRAME_MAX + 1, 1460, 1514));
    frame[IP4 + IPV4_PROTOCOL] = IP_UDP;
    ck_assert(!lso_begin(&lso, frame, size, 1460, 1514));
}
END_TEST

static struct rss make_rss(uint32_t types)
{
    struct rss rss = {.enabled = true, .types = types, .table_size = 128};
    memcpy(rss.key,
           "\x6d\x5a\x56\xda\x25\x5b\x0e\xc2\x41\x67\x25\x3d\x43\xa3\x8f\xb0\xd0\xca\x2b\xcb"
           "\xae\x7b\x30\xb4\x77\xcb\x2d\xa3\x80\x30\xf2\x0c\x6a\x42\xb7\x3b\xbe\xac\x01\xfa",
           RSS_KEY);
    for (unsigned i = 0; i < RSS_TABLE_MAX; i++) {
        rss.table[i] = (uint8_t)(i % 5);
    }
    return rss;
}

// The vectors of Microsoft's "Verifying the RSS hash calculation".
START_TEST(test_toeplitz_vectors)
{
    struct rss rss = make_rss(RSS_TYPES);
    uint32_t l4 = make_ipv4(IP_TCP, 0, TCP_HEADER);

    make_tcp(l4, 0, 0);
    struct packet packet = packet_parse(frame, l4 + TCP_HEADER, false);
    struct rss_hash hash = rss_hash_packet(&rss, frame, &packet);
    ck_assert_uint_eq(hash.value, 0x51CCC178);
    ck_assert_uint_eq(hash.type, RSS_TCP_IPV4);
    ck_assert_uint_eq(rss_queue(&rss, hash), 0x78 % 5);
    rss.types = RSS_IPV4 | RSS_UDP_IPV4;
    hash = rss_hash_packet(&rss, frame, &packet);
    ck_assert_uint_eq(hash.value, 0x323E8FC2);
    ck_assert_uint_eq(hash.type, RSS_IPV4);
    rss.types = RSS_TCP_IPV6;
    hash = rss_hash_packet(&rss, frame, &packet);
    ck_assert_uint_eq(hash.type, 0);
    ck_assert_uint_eq(rss_queue(&rss, hash), 0);

    rss.types = RSS_TYPES;
    l4 = make_ipv6(IP_TCP, TCP_HEADER);
    make_tcp(l4, 0, 0);
    packet = packet_parse(frame, l4 + TCP_HEADER, false);
    hash = rss_hash_packet(&rss, frame, &packet);
    ck_assert_uint_eq(hash.value, 0x40207D3D);
    ck_assert_uint_eq(hash.type, RSS_TCP_IPV6);
    rss.types = RSS_IPV6;
    ck_assert_uint_eq(rss_hash_packet(&rss, frame, &packet).value, 0x2CC18CD5);
    rss.enabled = false;
    ck_assert_uint_eq(rss_hash_packet(&rss, frame, &packet).type, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net_offload");
    TCase *tests = tcase_create("net_offload");
    tcase_add_test(tests, test_checksum_sum);
    tcase_add_test(tests, test_known_packet);
    tcase_add_test(tests, test_fill_and_verify);
    tcase_add_test(tests, test_udp_zero);
    tcase_add_test(tests, test_malformed);
    tcase_add_test(tests, test_ipv6_extensions);
    tcase_add_test(tests, test_large_send);
    tcase_add_test(tests, test_large_send_refusals);
    tcase_add_test(tests, test_toeplitz_vectors);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
