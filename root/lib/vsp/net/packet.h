// SPDX-License-Identifier: BSD-2-Clause-Patent
// Where the headers of an Ethernet frame without tag are, and the Internet checksum (RFC 1071).
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum ip_protocol {
    IP_HOP_BY_HOP = 0,
    IP_TCP = 6,
    IP_UDP = 17,
    IP_ROUTING = 43,
    IP_FRAGMENT = 44,
    IP_DESTINATION = 60,
};

// Offsets in an IPv4, IPv6, TCP or UDP header.
enum header_offset {
    IPV4_TOTAL_LENGTH = 2,
    IPV4_ID = 4,
    IPV4_FRAGMENT = 6,
    IPV4_PROTOCOL = 9,
    IPV4_CHECKSUM = 10,
    IPV4_SOURCE = 12,
    IPV4_DESTINATION = 16,
    IPV4_HEADER = 20,

    IPV6_PAYLOAD_LENGTH = 4,
    IPV6_NEXT = 6,
    IPV6_SOURCE = 8,
    IPV6_DESTINATION = 24,
    IPV6_HEADER = 40,

    TCP_SEQUENCE = 4,
    TCP_DATA_OFFSET = 12,
    TCP_FLAGS = 13,
    TCP_CHECKSUM = 16,
    TCP_HEADER = 20,

    UDP_LENGTH = 4,
    UDP_CHECKSUM = 6,
    UDP_HEADER = 8,
};

// What a frame carries. All offsets are from its first byte and inside it.
struct packet {
    uint8_t version;  // 4, 6, or 0: no well-formed IP header
    uint8_t protocol; // IP_TCP or IP_UDP with a whole header at l4; 0: neither, or a fragment
    bool options;     // IPv4 options or IPv6 extension headers
    uint32_t l3, l4;  // offsets of the IP and the transport header
    uint32_t payload; // offset of what follows the transport header
    uint32_t end;     // end of the IP packet; Ethernet padding may follow
};

// Finds the headers. With `whole` the IP packet is taken to fill the frame, whatever its length
// field says: large sends leave that field open.
struct packet packet_parse(const uint8_t *frame, uint32_t size, bool whole);

// The one's complement sum of big-endian 16-bit words, not yet complemented; a last odd byte counts
// as the high half. `sum` starts at 0 or continues; folded to 16 bits. size < 2^17.
uint16_t checksum_add(uint16_t sum, const uint8_t *bytes, uint32_t size);

enum packet_checksum {
    CHECKSUM_IP = 1 << 0,
    CHECKSUM_TCP = 1 << 1,
    CHECKSUM_UDP = 1 << 2,
};

// Computes the checksums asked for and writes them into the frame. False: one does not apply to it;
// then nothing has changed.
bool packet_fill_checksums(uint8_t *frame, const struct packet *packet, uint32_t checksums);

// Which of its checksums (enum packet_checksum) the frame has, and which of those are right. A UDP
// checksum of 0 over IPv4 is none.
struct packet_verdict {
    uint32_t present, good;
};
struct packet_verdict packet_verify(const uint8_t *frame, const struct packet *packet);
