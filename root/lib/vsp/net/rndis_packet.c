// SPDX-License-Identifier: BSD-2-Clause-Patent
// RNDIS PACKET: contract in rndis_packet.h.
#include "rndis_packet.h"

#include "../../mem.h"
#include "../wire.h"
#include "ether.h"

enum { PPI_DATA = 4, PPIS_MAX = 16 };

// [offset, offset + length) is inside `size` bytes.
static bool inside(uint32_t offset, uint32_t length, uint32_t size)
{
    return offset <= size && length <= size - offset;
}

static uint16_t tci_of(uint32_t info)
{
    return (uint16_t)((info & PPI_VLAN_PRIORITY) << VLAN_PRIORITY_SHIFT |
                      (info & PPI_VLAN_DEI ? VLAN_DEI : 0) |
                      (info >> PPI_VLAN_ID_SHIFT & VLAN_ID_MASK));
}

static uint32_t info_of(uint16_t tci)
{
    return (uint32_t)tci >> VLAN_PRIORITY_SHIFT | (tci & VLAN_DEI ? PPI_VLAN_DEI : 0) |
           (uint32_t)(tci & VLAN_ID_MASK) << PPI_VLAN_ID_SHIFT;
}

static void take_info(struct rndis_packet *packet, uint32_t type, uint32_t info)
{
    switch (type) {
    case PPI_CHECKSUM:
        packet->has_checksum = true;
        packet->checksum = info;
        break;
    case PPI_LSO:
        packet->has_lso = true;
        packet->lso = info;
        break;
    case PPI_8021Q:
        packet->has_vlan = true;
        packet->tci = tci_of(info);
        break;
    default: // advice that we do not use: hash value, cancel id and so on
        break;
    }
}

// Walks the list of per-packet information. Each item takes at least its header, so that the walk
// ends; what is used of it lies inside it.
static bool parse_infos(const uint8_t *list, uint32_t size, struct rndis_packet *packet)
{
    unsigned items = 0;

    while (size > 0) {
        if (size < RNDIS_PPI_HEADER || ++items > PPIS_MAX) {
            return false;
        }
        const uint32_t item = le32_get(list);
        const uint32_t type = le32_get(list + 4);
        const uint32_t offset = le32_get(list + 8);
        if (item < RNDIS_PPI_HEADER || item > size || offset < RNDIS_PPI_HEADER || offset > item) {
            return false;
        }
        if (!(type & PPI_INTERNAL) && inside(offset, PPI_DATA, item)) {
            take_info(packet, type, le32_get(list + offset));
        }
        list += item;
        size -= item;
    }
    return true;
}

bool rndis_packet_parse(uint8_t *message, uint32_t size, struct rndis_packet *packet)
{
    uint8_t *body = message + RNDIS_BODY;

    *packet = (struct rndis_packet){0};
    if (size < RNDIS_BODY + RNDIS_PACKET_BODY) {
        return false;
    }
    size -= RNDIS_BODY;
    const uint32_t offset = le32_get(body + PACKET_DATA_OFFSET);
    const uint32_t length = le32_get(body + PACKET_DATA_LENGTH);
    const uint32_t ppi_offset = le32_get(body + PACKET_PPI_OFFSET);
    const uint32_t ppi_length = le32_get(body + PACKET_PPI_LENGTH);
    if (!inside(offset, length, size) || offset < RNDIS_PACKET_BODY || length < ETHER_HEADER) {
        return false;
    }
    packet->frame = body + offset;
    packet->size = length;
    if (ppi_length == 0) {
        return true;
    }
    return ppi_offset >= RNDIS_PACKET_BODY && inside(ppi_offset, ppi_length, size) &&
           parse_infos(body + ppi_offset, ppi_length, packet);
}

static uint32_t put_info(uint8_t *at, uint32_t type, uint32_t info)
{
    le32_put(at, RNDIS_PPI_HEADER + PPI_DATA);
    le32_put(at + 4, type);
    le32_put(at + 8, RNDIS_PPI_HEADER);
    le32_put(at + 12, info);
    return RNDIS_PPI_HEADER + PPI_DATA;
}

uint32_t rndis_packet_header(const struct rndis_receive *receive, uint8_t *out)
{
    uint8_t *body = out + RNDIS_BODY;
    uint32_t end = RNDIS_PACKET_BODY;

    memset(out, 0, RNDIS_BODY + RNDIS_PACKET_BODY);
    if (receive->has_checksum) {
        end += put_info(body + end, PPI_CHECKSUM, receive->checksum);
    }
    if (receive->has_vlan) {
        end += put_info(body + end, PPI_8021Q, info_of(receive->tci));
    }
    if (receive->has_hash) {
        end += put_info(body + end, PPI_HASH, receive->hash);
    }
    if (end > RNDIS_PACKET_BODY) {
        le32_put(body + PACKET_PPI_OFFSET, RNDIS_PACKET_BODY);
        le32_put(body + PACKET_PPI_LENGTH, end - RNDIS_PACKET_BODY);
    }
    le32_put(body + PACKET_DATA_OFFSET, end);
    le32_put(body + PACKET_DATA_LENGTH, receive->frame_size);
    le32_put(out, RNDIS_PACKET);
    le32_put(out + 4, RNDIS_BODY + end + receive->frame_size);
    return RNDIS_BODY + end;
}
