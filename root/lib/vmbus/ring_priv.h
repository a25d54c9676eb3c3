// SPDX-License-Identifier: BSD-2-Clause-Patent
// What both directions of a ring share (ring.c).
#pragma once
#include "ring.h"

// Words of the control page, in units of 32 bits (Linux: struct hv_ring_buffer).
enum vmbus_ring_word {
    RING_WRITE_INDEX = 0,
    RING_READ_INDEX = 1,
    RING_INTERRUPT_MASK = 2,
    RING_PENDING_SEND = 3,
    RING_FEATURES = 16,
};

enum { RING_FEATURE_PENDING_SEND = 1 << 0 };

struct vmbus_descriptor {
    uint16_t type;    // enum vmbus_packet_type
    uint16_t offset8; // of the payload from the descriptor, in units of 8 bytes
    uint16_t length8; // of the packet, the footer not counted
    uint16_t flags;
    uint64_t transaction_id;
};
_Static_assert(sizeof(struct vmbus_descriptor) == VMBUS_DESCRIPTOR, "packet descriptor");

enum { DESCRIPTOR_WANTS_COMPLETION = 1 << 0, DESCRIPTOR_FLAGS = DESCRIPTOR_WANTS_COMPLETION };

struct vmbus_pipe_header {
    uint32_t type;
    uint32_t size;
};
_Static_assert(sizeof(struct vmbus_pipe_header) == 8, "pipe header");

enum { PIPE_DATA = 1 };

// Remembers the first fault; returns false.
bool vmbus_ring_fault(struct vmbus_ring *ring, const char *text);

// One word of the control page, by a single access. On a fault: load returns 0, store does nothing.
uint32_t vmbus_ring_load(struct vmbus_ring *ring, enum vmbus_ring_word word);
void vmbus_ring_store(struct vmbus_ring *ring, enum vmbus_ring_word word, uint32_t value);

// Loads an index of the guest's: below the size, a multiple of 8, or a fault.
bool vmbus_ring_load_index(struct vmbus_ring *ring, enum vmbus_ring_word word, uint32_t *index);

// Sets a ring up on pages [first, end) of the list.
void vmbus_ring_setup(struct vmbus_ring *ring, const struct vmbus_memory *memory,
                      const struct vmbus_ranges *pages, uint32_t first, uint32_t end);

// Copies data bytes, offset < size, around the end of the ring.
bool vmbus_ring_get(struct vmbus_ring *ring, uint32_t offset, void *to, uint32_t size);
bool vmbus_ring_put(struct vmbus_ring *ring, uint32_t offset, const void *from, uint32_t size);

// Bytes from one index to another, and the index so many bytes on.
static inline uint32_t ring_distance(const struct vmbus_ring *ring, uint32_t from, uint32_t to)
{
    return to >= from ? to - from : ring->size - from + to;
}

static inline uint32_t ring_advance(const struct vmbus_ring *ring, uint32_t from, uint32_t bytes)
{
    const uint64_t to = (uint64_t)from + bytes;

    return (uint32_t)(to >= ring->size ? to - ring->size : to);
}

static inline uint32_t align8(uint32_t value)
{
    return (value + 7) & ~UINT32_C(7);
}
