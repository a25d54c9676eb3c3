// SPDX-License-Identifier: BSD-2-Clause-Patent
// The ring from the guest: contract in ring.h.
#include "../mem.h"
#include "ring_priv.h"
#include "store.h"

// Extension of a GPA-direct packet, before its range buffer.
struct gpa_direct {
    uint32_t reserved; // may hold anything
    uint32_t count;
};

bool vmbus_ring_in_init(struct vmbus_ring_in *in, const struct vmbus_memory *memory,
                        const struct vmbus_ranges *pages, uint32_t out_page)
{
    memset(in, 0, sizeof *in);
    vmbus_ring_setup(&in->ring, memory, pages, 0, out_page);
    if (!vmbus_ring_load_index(&in->ring, RING_WRITE_INDEX, &in->write) ||
        !vmbus_ring_load_index(&in->ring, RING_READ_INDEX, &in->next)) {
        return false;
    }
    in->published = in->next;
    in->masked = true;
    vmbus_ring_store(&in->ring, RING_INTERRUPT_MASK, 1);
    return !in->ring.fault;
}

// Copies the next descriptor and judges it by itself and by what the guest has published.
static enum vmbus_read next_descriptor(struct vmbus_ring_in *in, struct vmbus_descriptor *head)
{
    struct vmbus_ring *ring = &in->ring;

    if (in->next == in->write && !vmbus_ring_load_index(ring, RING_WRITE_INDEX, &in->write)) {
        return VMBUS_READ_CLOSED;
    }
    const uint32_t available = ring_distance(ring, in->next, in->write);
    if (available == 0) {
        return VMBUS_READ_NONE;
    }
    if (available < VMBUS_DESCRIPTOR + VMBUS_FOOTER) {
        vmbus_ring_fault(ring, "less than a packet in the ring");
        return VMBUS_READ_CLOSED;
    }
    if (!vmbus_ring_get(ring, in->next, head, sizeof *head)) {
        return VMBUS_READ_CLOSED;
    }
    if (head->length8 * 8u + VMBUS_FOOTER > available || head->length8 < head->offset8 ||
        head->offset8 * 8u < VMBUS_DESCRIPTOR || (head->flags & ~DESCRIPTOR_FLAGS)) {
        vmbus_ring_fault(ring, "bad packet descriptor");
        return VMBUS_READ_CLOSED;
    }
    return VMBUS_READ_PACKET;
}

// The range buffer of a GPA-direct packet that starts at `at`.
static enum vmbus_read read_ranges(struct vmbus_ring_in *in, const struct vmbus_descriptor *head,
                                   struct vmbus_packet *packet)
{
    struct vmbus_ring *ring = &in->ring;
    struct gpa_direct direct;
    const uint32_t fixed = VMBUS_DESCRIPTOR + sizeof direct;

    if (head->offset8 * 8u < fixed) {
        vmbus_ring_fault(ring, "GPA-direct packet without ranges");
        return VMBUS_READ_CLOSED;
    }
    const uint32_t words = head->offset8 - fixed / 8;
    if (words > packet->word_capacity) {
        return VMBUS_READ_OVERSIZE;
    }
    if (!vmbus_ring_get(ring, ring_advance(ring, in->next, VMBUS_DESCRIPTOR), &direct,
                        sizeof direct) ||
        !vmbus_ring_get(ring, ring_advance(ring, in->next, fixed), packet->words, words * 8)) {
        return VMBUS_READ_CLOSED;
    }
    packet->ranges.flat = packet->words;
    if (!vmbus_ranges_validate(&packet->ranges, words, direct.count)) {
        vmbus_ring_fault(ring, "bad ranges in a GPA-direct packet");
        return VMBUS_READ_CLOSED;
    }
    return VMBUS_READ_PACKET;
}

// Where the payload is, without a pipe header. False: a fault.
static bool find_payload(struct vmbus_ring_in *in, const struct vmbus_descriptor *head, bool pipe,
                         uint32_t *at, uint32_t *size)
{
    struct vmbus_ring *ring = &in->ring;
    struct vmbus_pipe_header header;

    *at = ring_advance(ring, in->next, head->offset8 * 8u);
    *size = (head->length8 - head->offset8) * 8u;
    if (!pipe || head->type == VMBUS_PACKET_COMPLETION) {
        return true;
    }
    if (*size < sizeof header) {
        return vmbus_ring_fault(ring, "packet without a pipe header");
    }
    if (!vmbus_ring_get(ring, *at, &header, sizeof header)) {
        return false;
    }
    if (header.type != PIPE_DATA || header.size > *size - sizeof header ||
        header.size > VMBUS_PIPE_PACKET) {
        return vmbus_ring_fault(ring, "bad pipe header");
    }
    *at = ring_advance(ring, *at, sizeof header);
    *size = header.size;
    return true;
}

enum vmbus_read vmbus_ring_read(struct vmbus_ring_in *in, bool pipe, struct vmbus_packet *packet)
{
    struct vmbus_ring *ring = &in->ring;
    struct vmbus_descriptor head;
    uint32_t at;

    if (ring->fault) {
        return VMBUS_READ_CLOSED;
    }
    enum vmbus_read result = next_descriptor(in, &head);
    if (result != VMBUS_READ_PACKET) {
        return result;
    }
    packet->type = head.type;
    packet->wants_completion = head.flags & DESCRIPTOR_WANTS_COMPLETION;
    packet->transaction_id = head.transaction_id;
    memset(&packet->ranges, 0, sizeof packet->ranges);
    if (head.type == VMBUS_PACKET_GPA_DIRECT) {
        result = read_ranges(in, &head, packet);
    } else if (head.type != VMBUS_PACKET_IN_BAND && head.type != VMBUS_PACKET_COMPLETION) {
        vmbus_ring_fault(ring, "packet of a type that guests do not send");
    }
    if (ring->fault || !find_payload(in, &head, pipe, &at, &packet->size)) {
        return VMBUS_READ_CLOSED;
    }
    if (packet->size > packet->capacity) {
        result = VMBUS_READ_OVERSIZE;
    }
    if (result == VMBUS_READ_PACKET && !vmbus_ring_get(ring, at, packet->buffer, packet->size)) {
        return VMBUS_READ_CLOSED;
    }
    in->next = ring_advance(ring, in->next, head.length8 * 8u + VMBUS_FOOTER);
    return result;
}

// The guest waits for room when it has set a pending send size, and wants one signal when there is
// that much. Guests disagree about equality: OpenVMM's signals are due when
// before < pending <= after, Linux's (hv_pkt_iter_close) when before <= pending < after. This
// is both, at the cost of a second signal when the room is met exactly. Some guests ask for the
// size of the ring less one: the low three bits mean nothing.
static bool room_is_awaited(uint32_t pending, uint32_t before, uint32_t after)
{
    return pending && before != after && before <= pending && (pending & ~UINT32_C(7)) <= after;
}

bool vmbus_ring_read_publish(struct vmbus_ring_in *in)
{
    struct vmbus_ring *ring = &in->ring;
    uint32_t write;

    if (ring->fault || in->next == in->published) {
        return false;
    }
    vmbus_ring_store(ring, RING_READ_INDEX, in->next);
    // The guest stores its pending size and then reads our index; we the other way round.
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    const uint32_t features = vmbus_ring_load(ring, RING_FEATURES);
    const uint32_t pending = vmbus_ring_load(ring, RING_PENDING_SEND);
    if (!vmbus_ring_load_index(ring, RING_WRITE_INDEX, &write)) {
        return false;
    }
    const uint32_t before = ring->size - ring_distance(ring, in->published, write);
    const uint32_t after = ring->size - ring_distance(ring, in->next, write);
    in->published = in->next;
    return (features & RING_FEATURE_PENDING_SEND) && room_is_awaited(pending, before, after);
}

bool vmbus_ring_mask(struct vmbus_ring_in *in)
{
    struct vmbus_ring *ring = &in->ring;

    if (ring->fault) {
        return false;
    }
    if (!in->masked) {
        // The mask is the consumer's: a producer that sets it has lost its way.
        if (vmbus_ring_load(ring, RING_INTERRUPT_MASK)) {
            return vmbus_ring_fault(ring, "the guest set the interrupt mask of its own ring");
        }
        vmbus_ring_store(ring, RING_INTERRUPT_MASK, 1);
        in->masked = true;
    }
    return !ring->fault;
}

bool vmbus_ring_unmask(struct vmbus_ring_in *in)
{
    struct vmbus_ring *ring = &in->ring;

    if (ring->fault || in->next != in->write || in->next != in->published) {
        return false;
    }
    vmbus_ring_store(ring, RING_INTERRUPT_MASK, 0);
    // The guest stores its write index and then reads the mask; we the other way round.
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!vmbus_ring_load_index(ring, RING_WRITE_INDEX, &in->write)) {
        return false;
    }
    if (in->next != in->write) {
        vmbus_ring_store(ring, RING_INTERRUPT_MASK, 1);
        return false;
    }
    in->masked = false;
    return true;
}
