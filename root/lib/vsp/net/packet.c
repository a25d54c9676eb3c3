// SPDX-License-Identifier: BSD-2-Clause-Patent
// Headers and checksums: contract in packet.h.
#include "packet.h"

#include "../wire.h"
#include "ether.h"

enum {
    EXTENSIONS_MAX = 8,            // IPv6 extension headers followed; Linux limits them likewise
    FRAGMENT_OFFSET_MORE = 0x3FFF, // IPv4: more fragments, fragment offset
};

static struct packet no_transport(struct packet packet)
{
    packet.protocol = 0;
    packet.l4 = packet.payload = packet.end;
    return packet;
}

static struct packet parse_transport(struct packet packet, const uint8_t *frame, uint8_t protocol)
{
    const uint32_t room = packet.end - packet.l4;
    uint32_t header = 0;

    if (protocol == IP_TCP && room >= TCP_HEADER) {
        header = (uint32_t)(frame[packet.l4 + TCP_DATA_OFFSET] >> 4) * 4;
        header = header >= TCP_HEADER ? header : 0;
    } else if (protocol == IP_UDP && room >= UDP_HEADER) {
        header = UDP_HEADER;
    }
    if (header == 0 || header > room) {
        return no_transport(packet);
    }
    packet.protocol = protocol;
    packet.payload = packet.l4 + header;
    return packet;
}

static struct packet parse_ipv4(const uint8_t *frame, uint32_t size, bool whole)
{
    const uint8_t *ip = frame + ETHER_HEADER;
    const uint32_t room = size - ETHER_HEADER;
    struct packet packet = {.version = 4, .l3 = ETHER_HEADER};

    if (room < IPV4_HEADER || ip[0] >> 4 != 4) {
        return (struct packet){0};
    }
    const uint32_t header = (uint32_t)(ip[0] & 15) * 4;
    const uint32_t total = whole ? room : be16_get(ip + IPV4_TOTAL_LENGTH);
    if (header < IPV4_HEADER || header > total || total > room) {
        return (struct packet){0};
    }
    packet.options = header > IPV4_HEADER;
    packet.l4 = packet.l3 + header;
    packet.end = packet.l3 + total;
    if (be16_get(ip + IPV4_FRAGMENT) & FRAGMENT_OFFSET_MORE) {
        return no_transport(packet);
    }
    return parse_transport(packet, frame, ip[IPV4_PROTOCOL]);
}

// Follows the extension headers that may stand before a transport header. A routing header with
// segments left makes the checksum that of another destination (RFC 8200 8.1): not ours to touch.
static struct packet parse_extensions(struct packet packet, const uint8_t *frame)
{
    uint8_t next = frame[packet.l3 + IPV6_NEXT];

    for (unsigned i = 0; i < EXTENSIONS_MAX; i++) {
        const uint8_t *header = frame + packet.l4;
        if (next != IP_HOP_BY_HOP && next != IP_ROUTING && next != IP_DESTINATION) {
            return parse_transport(packet, frame, next);
        }
        if (packet.end - packet.l4 < 8) {
            break;
        }
        const uint32_t length = (header[1] + 1u) * 8;
        if (length > packet.end - packet.l4 || (next == IP_ROUTING && header[3] != 0)) {
            break;
        }
        packet.options = true;
        packet.l4 += length;
        next = header[0];
    }
    return no_transport(packet);
}

static struct packet parse_ipv6(const uint8_t *frame, uint32_t size, bool whole)
{
    const uint8_t *ip = frame + ETHER_HEADER;
    const uint32_t room = size - ETHER_HEADER;
    struct packet packet = {.version = 6, .l3 = ETHER_HEADER, .l4 = ETHER_HEADER + IPV6_HEADER};

    if (room < IPV6_HEADER || ip[0] >> 4 != 6) {
        return (struct packet){0};
    }
    const uint32_t length =
        whole ? room - IPV6_HEADER : be16_get(ip + IPV6_PAYLOAD_LENGTH); // no jumbograms
    if (length > room - IPV6_HEADER) {
        return (struct packet){0};
    }
    packet.end = packet.l4 + length;
    return parse_extensions(packet, frame);
}

struct packet packet_parse(const uint8_t *frame, uint32_t size, bool whole)
{
    if (size < ETHER_HEADER) {
        return (struct packet){0};
    }
    switch (be16_get(frame + ETHER_TYPE_AT)) {
    case ETHER_TYPE_IPV4:
        return parse_ipv4(frame, size, whole);
    case ETHER_TYPE_IPV6:
        return parse_ipv6(frame, size, whole);
    default:
        return (struct packet){0};
    }
}

static uint16_t fold(uint64_t sum)
{
    while (sum >> 16) {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    return (uint16_t)sum;
}

// Little-endian words are added, whose sum is that of big-endian ones with its bytes swapped (RFC
// 1071 2 B): no word has to be turned.
uint16_t checksum_add(uint16_t sum, const uint8_t *bytes, uint32_t size)
{
    uint64_t wide = 0;

    for (; size >= 8; size -= 8, bytes += 8) {
        const uint64_t word = le64_get(bytes);
        wide += word;
        wide += wide < word; // the carry comes round
    }
    uint32_t rest = fold(wide);
    for (; size >= 2; size -= 2, bytes += 2) {
        rest += le16_get(bytes);
    }
    if (size) {
        rest += bytes[0];
    }
    const uint16_t swapped = fold(rest);
    return fold((uint64_t)sum + (uint16_t)(swapped << 8 | swapped >> 8));
}

// The sum of the pseudo header (RFC 9293 3.1, RFC 8200 8.1) and the transport packet.
static uint16_t transport_sum(const uint8_t *frame, const struct packet *packet)
{
    const uint32_t length = packet->end - packet->l4;
    const uint8_t *ip = frame + packet->l3;
    uint16_t sum = fold((uint64_t)packet->protocol + length);

    if (packet->version == 4) {
        sum = checksum_add(sum, ip + IPV4_SOURCE, 8);
    } else {
        sum = checksum_add(sum, ip + IPV6_SOURCE, 32);
    }
    return checksum_add(sum, frame + packet->l4, length);
}

static uint16_t ip_sum(const uint8_t *frame, const struct packet *packet)
{
    const uint8_t *ip = frame + packet->l3;
    return checksum_add(0, ip, (uint32_t)(ip[0] & 15) * 4);
}

static void fill_transport(uint8_t *frame, const struct packet *packet, uint32_t at)
{
    be16_put(frame + at, 0);
    const uint16_t sum = (uint16_t)~transport_sum(frame, packet);
    // A UDP checksum of 0 would say that there is none (RFC 768).
    be16_put(frame + at, sum == 0 && packet->protocol == IP_UDP ? 0xFFFF : sum);
}

bool packet_fill_checksums(uint8_t *frame, const struct packet *packet, uint32_t checksums)
{
    if (((checksums & CHECKSUM_IP) && packet->version != 4) ||
        ((checksums & CHECKSUM_TCP) && packet->protocol != IP_TCP) ||
        ((checksums & CHECKSUM_UDP) && packet->protocol != IP_UDP)) {
        return false;
    }
    if (checksums & CHECKSUM_IP) {
        be16_put(frame + packet->l3 + IPV4_CHECKSUM, 0);
        be16_put(frame + packet->l3 + IPV4_CHECKSUM, (uint16_t)~ip_sum(frame, packet));
    }
    if (checksums & CHECKSUM_TCP) {
        fill_transport(frame, packet, packet->l4 + TCP_CHECKSUM);
    }
    if (checksums & CHECKSUM_UDP) {
        fill_transport(frame, packet, packet->l4 + UDP_CHECKSUM);
    }
    return true;
}

struct packet_verdict packet_verify(const uint8_t *frame, const struct packet *packet)
{
    struct packet_verdict verdict = {0, 0};

    if (packet->version == 4) {
        verdict.present |= CHECKSUM_IP;
        verdict.good |= ip_sum(frame, packet) == 0xFFFF ? CHECKSUM_IP : 0;
    }
    if (packet->protocol == IP_TCP) {
        verdict.present |= CHECKSUM_TCP;
        verdict.good |= transport_sum(frame, packet) == 0xFFFF ? CHECKSUM_TCP : 0;
    } else if (packet->protocol == IP_UDP) {
        const bool has = be16_get(frame + packet->l4 + UDP_CHECKSUM) != 0;
        // UDP without a checksum is for IPv4 only (RFC 8200 8.1).
        verdict.present |= has || packet->version == 6 ? CHECKSUM_UDP : 0;
        verdict.good |= has && transport_sum(frame, packet) == 0xFFFF ? CHECKSUM_UDP : 0;
    }
    return verdict;
}
