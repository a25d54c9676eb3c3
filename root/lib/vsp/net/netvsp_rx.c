// SPDX-License-Identifier: BSD-2-Clause-Patent
// From the switch to the guest. A frame goes with its RNDIS header into a slot of the receive
// buffer; slots are told to the guest in batches, each through the channel that RSS chooses.
// Control messages go the same way, one by one and first.
#include "../../mem.h"
#include "../wire.h"
#include "netvsp_priv.h"
#include "rndis_packet.h"

struct netvsp_reply *netvsp_reply_new(struct netvsp *vsp)
{
    if (vsp->reply_count == NETVSP_REPLIES) {
        return 0;
    }
    return &vsp->replies[(vsp->reply_first + vsp->reply_count) % NETVSP_REPLIES];
}

static bool write_slot(struct netvsp *vsp, uint16_t slot, uint32_t offset, const void *bytes,
                       uint32_t size)
{
    return vmbus_ranges_write(vmbus_channel_memory(vsp->primary), &vsp->receive.buffer.ranges,
                              (uint64_t)slot * vsp->receive.slot_size + offset, bytes, size);
}

static enum vmbus_send send_transfer(struct netvsp *vsp, uint32_t queue, uint32_t channel_type,
                                     uint16_t first, const struct vmbus_transfer *transfers,
                                     uint32_t count)
{
    const struct nvsp_rndis body = {channel_type, NVSP_NO_SECTION, 0};
    uint8_t message[NVSP_SIZE_61] = {0};

    le32_put(message, NVSP_SEND_RNDIS);
    memcpy(message + NVSP_BODY, &body, sizeof body);
    const enum vmbus_send sent = vmbus_channel_send_transfer(
        vsp->queues[queue].channel, netvsp_transfer_id(vsp, first), vsp->receive.buffer.id,
        transfers, count, message, netvsp_message_size(vsp));
    if (sent == VMBUS_SEND_OK) {
        netvsp_transfer_begin(vsp, first, queue);
    }
    return sent;
}

// The oldest control message. False: it has to wait.
static bool send_reply(struct netvsp *vsp)
{
    const struct netvsp_reply *reply = &vsp->replies[vsp->reply_first];
    const uint16_t slot = netvsp_slot_take(vsp, true);

    if (slot == NETVSP_NO_SLOT) {
        return false;
    }
    const struct vmbus_transfer transfer = {reply->size, slot * vsp->receive.slot_size};
    if (write_slot(vsp, slot, 0, reply->bytes, reply->size)) {
        const enum vmbus_send sent =
            send_transfer(vsp, 0, NVSP_CHANNEL_CONTROL, slot, &transfer, 1);
        if (sent != VMBUS_SEND_OK) {
            netvsp_slot_give(vsp, slot);
            return false;
        }
    } else {
        netvsp_slot_give(vsp, slot); // the guest's buffer is no memory: its loss
        vsp->statistics.dropped_replies++;
    }
    vsp->reply_first = (vsp->reply_first + 1) % NETVSP_REPLIES;
    vsp->reply_count--;
    return true;
}

// Tells the guest of a batch. False: no room in the ring, the batch stays.
static bool send_batch(struct netvsp *vsp, uint32_t index)
{
    struct netvsp_queue *queue = &vsp->queues[index];

    if (queue->batched == 0) {
        return true;
    }
    const enum vmbus_send sent =
        send_transfer(vsp, index, NVSP_CHANNEL_DATA, queue->first, queue->batch, queue->batched);
    if (sent == VMBUS_SEND_OK) {
        queue->batched = 0;
    }
    return sent == VMBUS_SEND_OK;
}

// What the guest wants to know of a frame's checksums.
static uint32_t receive_checksum(const struct nic *nic, const struct frame *frame,
                                 const struct packet *packet)
{
    struct packet_verdict verdict = {CHECKSUM_IP | CHECKSUM_TCP | CHECKSUM_UDP, 0};
    const bool four = packet->version == 4;
    const uint32_t tcp = four ? NIC_TCP4 : NIC_TCP6, udp = four ? NIC_UDP4 : NIC_UDP6;
    const uint32_t l4 = packet->protocol == IP_TCP   ? CHECKSUM_TCP
                        : packet->protocol == IP_UDP ? CHECKSUM_UDP
                                                     : 0;
    const uint32_t wanted = (four && (nic->offload.receive & NIC_IPV4) ? CHECKSUM_IP : 0) |
                            (nic->offload.receive & tcp ? l4 & CHECKSUM_TCP : 0) |
                            (nic->offload.receive & udp ? l4 & CHECKSUM_UDP : 0);
    const uint32_t known = (frame->checks & FRAME_IP_GOOD ? CHECKSUM_IP : 0) |
                           (frame->checks & FRAME_L4_GOOD ? l4 : 0);

    if (wanted & ~known) {
        verdict = packet_verify(frame->bytes, packet);
    }
    const uint32_t good = wanted & (verdict.good | known);
    const uint32_t bad = wanted & verdict.present & ~good;
    return (good & CHECKSUM_IP ? RX_IP_SUCCEEDED : 0) | (bad & CHECKSUM_IP ? RX_IP_FAILED : 0) |
           (good & CHECKSUM_TCP ? RX_TCP_SUCCEEDED : 0) | (bad & CHECKSUM_TCP ? RX_TCP_FAILED : 0) |
           (good & CHECKSUM_UDP ? RX_UDP_SUCCEEDED : 0) | (bad & CHECKSUM_UDP ? RX_UDP_FAILED : 0);
}

// For a guest that takes no tags beside the frame, the tag goes inside. Returns the frame to use.
static struct frame with_tag(struct netvsp *vsp, const struct frame *frame)
{
    uint8_t *out = vsp->config.scratch->frame;
    struct frame tagged = *frame;

    memcpy(out, frame->bytes, ETHER_TYPE_AT);
    be16_put(out + ETHER_TYPE_AT, ETHER_TYPE_VLAN);
    be16_put(out + ETHER_TYPE_AT + 2, frame->tci);
    memcpy(out + ETHER_TYPE_AT + ETHER_TAG, frame->bytes + ETHER_TYPE_AT,
           frame->size - ETHER_TYPE_AT);
    tagged.bytes = out;
    tagged.size += ETHER_TAG;
    tagged.tagged = false;
    return tagged;
}

// Writes the frame into the slot; returns the size of the whole RNDIS message, 0: no memory there.
static uint32_t write_frame(struct netvsp *vsp, uint16_t slot, const struct frame *frame,
                            const struct packet *packet, struct rss_hash hash)
{
    uint8_t header[RNDIS_RECEIVE_HEADER_MAX];
    struct rndis_receive receive = {.has_hash = hash.type != 0, .hash = hash.value};
    struct frame out = *frame;

    receive.checksum = receive_checksum(&vsp->nic, frame, packet);
    receive.has_checksum = receive.checksum != 0;
    if (frame->tagged && vsp->nic.tags) {
        receive.has_vlan = true;
        receive.tci = frame->tci;
    } else if (frame->tagged) {
        out = with_tag(vsp, frame);
    }
    receive.frame_size = out.size;
    const uint32_t size = rndis_packet_header(&receive, header);
    return write_slot(vsp, slot, 0, header, size) &&
                   write_slot(vsp, slot, size, out.bytes, out.size)
               ? size + out.size
               : 0;
}

static void add_to_batch(struct netvsp *vsp, uint32_t index, uint16_t slot, uint32_t size)
{
    struct netvsp_queue *queue = &vsp->queues[index];

    // The list of a transfer is in any order: new slots go to its front.
    vsp->config.slots[slot].next = queue->batched ? queue->first : NETVSP_NO_SLOT;
    queue->first = slot;
    queue->batch[queue->batched++] = (struct vmbus_transfer){size, slot * vsp->receive.slot_size};
}

// One frame. False: it has to wait.
static bool receive_frame(struct netvsp *vsp, const struct frame *frame)
{
    const struct packet packet = packet_parse(frame->bytes, frame->size, false);
    const struct rss_hash hash = rss_hash_packet(&vsp->nic.rss, frame->bytes, &packet);
    uint32_t index = rss_queue(&vsp->nic.rss, hash);

    if (!vsp->nic.link_up) {
        vsp->nic.receive_no_buffer++;
        return true;
    }
    if (!vsp->queues[index].channel) {
        index = 0;
    }
    if (vsp->queues[index].batched == NETVSP_BATCH && !send_batch(vsp, index)) {
        return false;
    }
    const uint16_t slot = netvsp_slot_take(vsp, false);
    if (slot == NETVSP_NO_SLOT) {
        return false;
    }
    const uint32_t size = write_frame(vsp, slot, frame, &packet, hash);
    if (size) {
        add_to_batch(vsp, index, slot, size);
    } else {
        netvsp_slot_give(vsp, slot);
        vsp->nic.receive_no_buffer++;
    }
    return true;
}

bool netvsp_receive_run(struct netvsp *vsp)
{
    struct frame frame;
    unsigned done = 0;

    if (!vsp->queues[0].channel || !vsp->receive.buffer.held) {
        return false;
    }
    while (vsp->reply_count && send_reply(vsp)) {
    }
    while (done < NETVSP_WAKE_FRAMES && switch_peek(&vsp->nic.port, &frame) &&
           receive_frame(vsp, &frame)) {
        switch_pop(&vsp->nic.port);
        done++;
    }
    for (uint32_t i = 0; i < NIC_QUEUES_MAX; i++) {
        send_batch(vsp, i);
    }
    return done == NETVSP_WAKE_FRAMES;
}
