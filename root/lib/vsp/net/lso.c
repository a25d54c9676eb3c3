// SPDX-License-Identifier: BSD-2-Clause-Patent
// Large send: contract in lso.h.
#include "lso.h"

#include "../../mem.h"
#include "../wire.h"
#include "ether.h"

enum {
    TCP_FIN = 0x01,
    TCP_PSH = 0x08,
    TCP_CWR = 0x80,
};

bool lso_begin(struct lso *lso, const uint8_t *frame, uint32_t size, uint32_t mss,
               uint32_t max_frame)
{
    if (size > LSO_FRAME_MAX || mss < LSO_MSS_MIN) {
        return false;
    }
    *lso = (struct lso){.frame = frame, .packet = packet_parse(frame, size, true), .mss = mss};
    return lso->packet.protocol == IP_TCP && mss <= max_frame &&
           lso->packet.payload <= max_frame - mss;
}

// Sets the lengths, and the id that tells IPv4 packets apart.
static void write_ip(const struct lso *lso, uint8_t *out, uint32_t size)
{
    uint8_t *ip = out + lso->packet.l3;

    if (lso->packet.version == 4) {
        be16_put(ip + IPV4_TOTAL_LENGTH, (uint16_t)(size - lso->packet.l3));
        be16_put(ip + IPV4_ID, (uint16_t)(be16_get(ip + IPV4_ID) + lso->segment));
    } else {
        be16_put(ip + IPV6_PAYLOAD_LENGTH, (uint16_t)(size - lso->packet.l3 - IPV6_HEADER));
    }
}

// FIN and PSH belong to the last segment; CWR, which answers one congestion signal, to the first.
static void write_tcp(const struct lso *lso, uint8_t *out, bool last)
{
    uint8_t *tcp = out + lso->packet.l4;

    be32_put(tcp + TCP_SEQUENCE, be32_get(tcp + TCP_SEQUENCE) + lso->done);
    if (!last) {
        tcp[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    }
    if (lso->segment > 0) {
        tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
    }
}

uint32_t lso_next(struct lso *lso, uint8_t *out)
{
    const struct packet *packet = &lso->packet;
    const uint32_t left = packet->end - packet->payload - lso->done;
    const uint32_t part = left < lso->mss ? left : lso->mss;
    const uint32_t size = packet->payload + part;

    if (left == 0 && lso->segment > 0) {
        return 0;
    }
    memcpy(out, lso->frame, packet->payload);
    memcpy(out + packet->payload, lso->frame + packet->payload + lso->done, part);
    write_ip(lso, out, size);
    write_tcp(lso, out, part == left);
    struct packet made = *packet;
    made.end = size;
    packet_fill_checksums(out, &made, CHECKSUM_TCP | (packet->version == 4 ? CHECKSUM_IP : 0));
    lso->done += part;
    lso->segment++;
    return size;
}
