// SPDX-License-Identifier: BSD-2-Clause-Patent
// The two rings of an open channel, host side. Private to the library.
//
// A ring is a control page and data pages in guest memory. The producer owns the write index, the
// pending send size and the feature bits, the consumer the read index and the interrupt mask (spec:
// VMBus 1.7). Everything in it is the guest's to change at any time: the host keeps its own index
// privately and never reads it back, reads each of the guest's words once and validates it, and
// copies a packet out before it looks at it.
//
// Reading and writing move private indices only; publishing makes them visible to the guest and
// says whether the guest has to be signalled. After a fault (see `fault`) nothing works any more.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel.h"

struct vmbus_ring {
    const struct vmbus_memory *memory;
    struct vmbus_ranges pages; // one page-aligned range; lives as long as the ring
    uint32_t first;            // index of the control page; the data pages follow
    uint32_t size;             // bytes of data, a multiple of VMBUS_PAGE
    const char *fault;         // what the guest has broken; NULL: nothing
};

// From the guest: the host consumes.
struct vmbus_ring_in {
    struct vmbus_ring ring;
    uint32_t next;      // of the packet to read
    uint32_t published; // read index that the guest knows
    uint32_t write;     // the guest's write index as last validated
    bool masked;        // the interrupt mask is set: the guest does not signal new packets
};

// To the guest: the host produces.
struct vmbus_ring_out {
    struct vmbus_ring ring;
    uint32_t next;      // of the packet to write
    uint32_t published; // write index that the guest knows
    uint32_t read;      // the guest's read index as last validated
    bool waiting;       // a pending send size is set: the guest signals when there is room
};

enum {
    VMBUS_RING_PAGES_MIN = 2, // control page and one page of data
    VMBUS_DESCRIPTOR = 16,    // bytes before, and behind a packet
    VMBUS_FOOTER = 8,
};

// Divides the GPADL of a channel: pages [0, out_page) are the ring from the guest, the rest the
// ring to it. It has to be one page-aligned range of whole pages, each ring VMBUS_RING_PAGES_MIN.
bool vmbus_rings_valid(const struct vmbus_ranges *pages, uint32_t out_page);

// Take the rings over where they stand. The ring from the guest is masked, the one to it announces
// that its pending send size is meant. False: a fault.
bool vmbus_ring_in_init(struct vmbus_ring_in *in, const struct vmbus_memory *memory,
                        const struct vmbus_ranges *pages, uint32_t out_page);
bool vmbus_ring_out_init(struct vmbus_ring_out *out, const struct vmbus_memory *memory,
                         const struct vmbus_ranges *pages, uint32_t out_page);

// Reads the next packet: VMBUS_READ_PACKET, _NONE (empty), _OVERSIZE, _CLOSED (fault). In pipe mode
// the header of in-band packets is checked and stripped.
enum vmbus_read vmbus_ring_read(struct vmbus_ring_in *in, bool pipe, struct vmbus_packet *packet);

// Publishes what was read. True: the guest waits for room and has enough now; signal it.
bool vmbus_ring_read_publish(struct vmbus_ring_in *in);

// Sets the interrupt mask for a time of reading. False: a fault.
bool vmbus_ring_mask(struct vmbus_ring_in *in);

// Clears the interrupt mask when the ring is empty, and all that was read published: the guest
// compares indices to decide whether to signal. False: it is not empty (any more) and stays
// masked, or there is a fault: read on.
bool vmbus_ring_unmask(struct vmbus_ring_in *in);

struct vmbus_part {
    const void *data;
    uint32_t size;
};

struct vmbus_outgoing {
    enum vmbus_packet_type type;
    bool wants_completion;
    uint64_t transaction_id;
    struct vmbus_part extension[2]; // between descriptor and payload; sizes are multiples of 8
    struct vmbus_part payload[2];
};

// Writes a packet. VMBUS_SEND_CLOSED: a fault. On VMBUS_SEND_FULL the guest has been asked to
// signal when there is room.
enum vmbus_send vmbus_ring_write(struct vmbus_ring_out *out, const struct vmbus_outgoing *packet);

// Publishes what was written. True: the guest may be asleep; signal it.
bool vmbus_ring_write_publish(struct vmbus_ring_out *out);

// Bytes that packets of that payload take in the ring, without an extension.
uint64_t vmbus_ring_bytes(uint32_t packets, uint32_t payload_size);

// Whether so many bytes can be written now; if not, the guest has been asked to signal. Bytes that
// can never fit are never there. True after a fault: then writing says so.
bool vmbus_ring_room(struct vmbus_ring_out *out, uint64_t bytes);
