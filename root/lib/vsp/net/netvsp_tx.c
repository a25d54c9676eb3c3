// SPDX-License-Identifier: BSD-2-Clause-Patent
// From the guest to the switch. The RNDIS messages of one NVSP message are a string of bytes: what
// lies in a section of the send buffer, then the pages that the packet itself names. Each byte is
// copied once, into scratch memory, and judged there.
#include "../../mem.h"
#include "../wire.h"
#include "netvsp_priv.h"
#include "rndis_packet.h"

struct source {
    const struct vmbus_memory *memory;
    const struct vmbus_ranges *section_buffer;
    uint64_t section_at;
    uint32_t section_size;
    const struct vmbus_ranges *pages;
    uint64_t size; // of both
};

static bool source_read(const struct source *source, uint64_t offset, void *to, uint32_t size)
{
    uint8_t *out = to;

    if (offset < source->section_size) {
        const uint32_t left = source->section_size - (uint32_t)offset;
        const uint32_t part = size < left ? size : left;
        if (!vmbus_ranges_read(source->memory, source->section_buffer, source->section_at + offset,
                               out, part)) {
            return false;
        }
        offset += part;
        out += part;
        size -= part;
    }
    return size == 0 || vmbus_ranges_read(source->memory, source->pages,
                                          offset - source->section_size, out, size);
}

static bool source_init(struct netvsp *vsp, const struct nvsp_rndis *rndis,
                        const struct vmbus_packet *packet, struct source *source)
{
    *source = (struct source){
        .memory = vmbus_channel_memory(vsp->primary),
        .section_buffer = &vsp->send.buffer.ranges,
        .pages = &packet->ranges,
    };
    if (rndis->section != NVSP_NO_SECTION) {
        if (rndis->section >= vsp->send.sections || rndis->section_size > NETVSP_SECTION) {
            return false;
        }
        source->section_at = (uint64_t)rndis->section * NETVSP_SECTION;
        source->section_size = rndis->section_size;
    }
    source->size = source->section_size + packet->ranges.size;
    return true;
}

static void to_switch(struct netvsp *vsp, const struct rndis_packet *packet, const uint8_t *bytes,
                      uint32_t size, uint8_t checks, uint64_t now)
{
    const struct frame frame = {
        .bytes = bytes,
        .size = size,
        .tci = packet->tci,
        .tagged = packet->has_vlan,
        .checks = checks,
    };
    switch_send(vsp->nic.sw, &vsp->nic.port, &frame, now);
}

static uint32_t send_large(struct netvsp *vsp, const struct rndis_packet *packet, uint64_t now)
{
    struct netvsp_scratch *scratch = vsp->config.scratch;
    uint32_t frames = 0, size;
    struct lso lso;

    if (!lso_begin(&lso, packet->frame, packet->size, packet->lso & LSO_MSS_MASK,
                   vsp->nic.frame_max)) {
        vsp->nic.transmit_errors++;
        return 1;
    }
    while ((size = lso_next(&lso, scratch->frame)) != 0) {
        to_switch(vsp, packet, scratch->frame, size, FRAME_IP_GOOD | FRAME_L4_GOOD, now);
        frames++;
    }
    vsp->statistics.segments += frames;
    return frames;
}

// Computes the checksums that the guest left to us. False: they do not apply to this frame.
static bool fill_checksums(const struct rndis_packet *packet, uint8_t *checks)
{
    const uint32_t wanted = packet->has_checksum ? packet->checksum : 0;
    const uint32_t fill = (wanted & TX_TCP_CHECKSUM ? CHECKSUM_TCP : 0) |
                          (wanted & TX_UDP_CHECKSUM ? CHECKSUM_UDP : 0) |
                          (wanted & TX_IP_CHECKSUM ? CHECKSUM_IP : 0);

    *checks = 0;
    if (!fill) {
        return true;
    }
    const struct packet parsed = packet_parse(packet->frame, packet->size, false);
    *checks = (uint8_t)((fill & CHECKSUM_IP ? FRAME_IP_GOOD : 0) |
                        (fill & (CHECKSUM_TCP | CHECKSUM_UDP) ? FRAME_L4_GOOD : 0));
    return packet_fill_checksums(packet->frame, &parsed, fill);
}

// A tag inside the frame becomes one beside it, as the switch has it.
static void take_tag(struct rndis_packet *packet)
{
    uint8_t addresses[2 * ETHER_ADDRESS];

    if (packet->has_vlan || packet->size < ETHER_HEADER + ETHER_TAG ||
        be16_get(packet->frame + ETHER_TYPE_AT) != ETHER_TYPE_VLAN) {
        return;
    }
    packet->has_vlan = true;
    packet->tci = be16_get(packet->frame + ETHER_TYPE_AT + 2);
    memcpy(addresses, packet->frame, sizeof addresses);
    packet->frame += ETHER_TAG;
    packet->size -= ETHER_TAG;
    memcpy(packet->frame, addresses, sizeof addresses);
}

// Returns the number of frames that it came to, for the budget; one that was dropped counts too.
static uint32_t send_packet(struct netvsp *vsp, struct rndis_packet *packet)
{
    const uint64_t now = vmbus_channel_now(vsp->primary);
    uint8_t checks;

    if (!vsp->nic.initialized || !vsp->nic.link_up) {
        vsp->nic.transmit_errors++;
        return 1;
    }
    take_tag(packet);
    if (packet->has_lso && (packet->lso & LSO_MSS_MASK)) {
        return send_large(vsp, packet, now);
    }
    if (!fill_checksums(packet, &checks)) {
        vsp->nic.transmit_errors++;
        return 1;
    }
    to_switch(vsp, packet, packet->frame, packet->size, checks, now);
    return 1;
}

static bool control_message(struct netvsp *vsp, uint32_t queue, const uint8_t *message,
                            uint32_t size)
{
    bool malformed;

    if (queue != 0) {
        return false;
    }
    struct netvsp_reply *reply = netvsp_reply_new(vsp);
    if (!reply) {
        vsp->statistics.dropped_replies++;
        return true;
    }
    reply->size = rndis_control(&vsp->nic, message, size, reply->bytes, &malformed);
    vsp->reply_count += reply->size != 0;
    return !malformed;
}

uint32_t netvsp_transmit(struct netvsp *vsp, uint32_t queue, const struct nvsp_rndis *rndis,
                         const struct vmbus_packet *packet, uint32_t *frames)
{
    uint8_t *message = vsp->config.scratch->message;
    struct source source;
    uint64_t offset = 0;

    if (!source_init(vsp, rndis, packet, &source) || source.size < RNDIS_BODY) {
        return NVSP_STATUS_INVALID_RNDIS;
    }
    for (unsigned i = 0; source.size - offset >= RNDIS_BODY; i++) {
        struct rndis_packet data;
        if (i == RNDIS_PACKETS_MAX || !source_read(&source, offset, message, RNDIS_BODY)) {
            return NVSP_STATUS_INVALID_RNDIS;
        }
        const uint32_t size = le32_get(message + 4);
        if (size < RNDIS_BODY || size > source.size - offset || size > NETVSP_MESSAGE_MAX ||
            !source_read(&source, offset + RNDIS_BODY, message + RNDIS_BODY, size - RNDIS_BODY)) {
            return NVSP_STATUS_INVALID_RNDIS;
        }
        offset += size;
        if (le32_get(message) != RNDIS_PACKET) {
            if (!control_message(vsp, queue, message, size)) {
                return NVSP_STATUS_INVALID_RNDIS;
            }
        } else if (rndis_packet_parse(message, size, &data)) {
            *frames += send_packet(vsp, &data);
        } else {
            return NVSP_STATUS_INVALID_RNDIS;
        }
    }
    return NVSP_STATUS_SUCCESS;
}
