// SPDX-License-Identifier: BSD-2-Clause-Patent
// The ring to the guest: contract in ring.h.
#include "../mem.h"
#include "ring_priv.h"

bool vmbus_ring_out_init(struct vmbus_ring_out *out, const struct vmbus_memory *memory,
                         const struct vmbus_ranges *pages, uint32_t out_page)
{
    memset(out, 0, sizeof *out);
    vmbus_ring_setup(&out->ring, memory, pages, out_page,
                     vmbus_ranges_get(pages, 0).size / VMBUS_PAGE);
    if (!vmbus_ring_load_index(&out->ring, RING_WRITE_INDEX, &out->next) ||
        !vmbus_ring_load_index(&out->ring, RING_READ_INDEX, &out->read)) {
        return false;
    }
    out->published = out->next;
    vmbus_ring_store(&out->ring, RING_PENDING_SEND, 0);
    vmbus_ring_store(&out->ring, RING_FEATURES, RING_FEATURE_PENDING_SEND);
    return !out->ring.fault;
}

// Eight bytes stay free, so that a full ring is no empty one, and eight more, so that a guest that
// signals at exactly the pending size does so for every packet.
static bool can_ever_fit(const struct vmbus_ring *ring, uint64_t bytes)
{
    return bytes <= ring->size - 16;
}

static bool fits(const struct vmbus_ring_out *out, uint64_t bytes)
{
    const struct vmbus_ring *ring = &out->ring;
    const uint32_t free = ring->size - ring_distance(ring, out->read, out->next);

    return bytes + 8 <= free;
}

static bool fits_now(struct vmbus_ring_out *out, uint64_t bytes)
{
    return vmbus_ring_load_index(&out->ring, RING_READ_INDEX, &out->read) && fits(out, bytes);
}

// Asks for a signal when there is room: for a quarter of the ring at least, or guest and host would
// take turns with single packets.
static void ask_for_room(struct vmbus_ring_out *out, uint32_t bytes)
{
    struct vmbus_ring *ring = &out->ring;
    uint32_t want = align8(bytes) + 8;

    want = want < ring->size / 4 ? ring->size / 4 : want;
    want = want > ring->size - 8 ? ring->size - 8 : want;
    vmbus_ring_store(ring, RING_PENDING_SEND, want);
    out->waiting = true;
    // The guest stores its read index and then reads the pending size; we the other way round.
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

bool vmbus_ring_room(struct vmbus_ring_out *out, uint64_t bytes)
{
    if (out->ring.fault) {
        return true;
    }
    if (!can_ever_fit(&out->ring, bytes)) {
        return false;
    }
    if (fits(out, bytes) || fits_now(out, bytes)) {
        return true;
    }
    if (!out->ring.fault) {
        ask_for_room(out, (uint32_t)bytes);
    }
    return fits_now(out, bytes) || out->ring.fault;
}

uint64_t vmbus_ring_bytes(uint32_t packets, uint32_t payload_size)
{
    const uint64_t payload = ((uint64_t)payload_size + 7) & ~UINT64_C(7);

    return packets * (VMBUS_DESCRIPTOR + payload + VMBUS_FOOTER);
}

struct outgoing_size {
    uint32_t offset; // of the payload
    uint64_t length; // of the packet without its footer
};

static struct outgoing_size size_of(const struct vmbus_outgoing *packet)
{
    const uint32_t offset =
        VMBUS_DESCRIPTOR + packet->extension[0].size + packet->extension[1].size;
    const uint64_t payload = (uint64_t)packet->payload[0].size + packet->payload[1].size;

    return (struct outgoing_size){.offset = offset,
                                  .length = (offset + payload + 7) & ~UINT64_C(7)};
}

// Writes bytes behind the others; after a fault nothing more happens.
static void append(struct vmbus_ring_out *out, const void *from, uint32_t size)
{
    if (!out->ring.fault && size && vmbus_ring_put(&out->ring, out->next, from, size)) {
        out->next = ring_advance(&out->ring, out->next, size);
    }
}

static void write_packet(struct vmbus_ring_out *out, const struct vmbus_outgoing *packet,
                         const struct outgoing_size *size)
{
    static const uint8_t zeros[8];
    const struct vmbus_descriptor head = {
        .type = (uint16_t)packet->type,
        .offset8 = (uint16_t)(size->offset / 8),
        .length8 = (uint16_t)(size->length / 8),
        .flags = packet->wants_completion ? DESCRIPTOR_WANTS_COMPLETION : 0,
        .transaction_id = packet->transaction_id,
    };
    const uint32_t footer[2] = {0, out->next};
    const uint32_t filled = size->offset + packet->payload[0].size + packet->payload[1].size;

    append(out, &head, sizeof head);
    append(out, packet->extension[0].data, packet->extension[0].size);
    append(out, packet->extension[1].data, packet->extension[1].size);
    append(out, packet->payload[0].data, packet->payload[0].size);
    append(out, packet->payload[1].data, packet->payload[1].size);
    append(out, zeros, (uint32_t)size->length - filled);
    append(out, footer, sizeof footer);
}

enum vmbus_send vmbus_ring_write(struct vmbus_ring_out *out, const struct vmbus_outgoing *packet)
{
    const struct outgoing_size size = size_of(packet);

    if (out->ring.fault) {
        return VMBUS_SEND_CLOSED;
    }
    if (size.length / 8 > UINT16_MAX || !can_ever_fit(&out->ring, size.length + VMBUS_FOOTER)) {
        return VMBUS_SEND_SIZE;
    }
    if (!vmbus_ring_room(out, size.length + VMBUS_FOOTER)) {
        return VMBUS_SEND_FULL;
    }
    if (!out->ring.fault) {
        write_packet(out, packet, &size);
    }
    if (out->waiting) {
        vmbus_ring_store(&out->ring, RING_PENDING_SEND, 0);
        out->waiting = false;
    }
    return out->ring.fault ? VMBUS_SEND_CLOSED : VMBUS_SEND_OK;
}

bool vmbus_ring_write_publish(struct vmbus_ring_out *out)
{
    struct vmbus_ring *ring = &out->ring;
    const uint32_t before = out->published;

    if (ring->fault || out->next == before) {
        return false;
    }
    vmbus_ring_store(ring, RING_WRITE_INDEX, out->next);
    out->published = out->next;
    // The guest clears its mask and then reads our index; we the other way round.
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return vmbus_ring_load(ring, RING_INTERRUPT_MASK) == 0 &&
           vmbus_ring_load_index(ring, RING_READ_INDEX, &out->read) && out->read == before;
}
