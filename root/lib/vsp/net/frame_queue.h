// SPDX-License-Identifier: BSD-2-Clause-Patent
// A bounded first-in first-out queue of Ethernet frames in memory that its owner brings. A frame
// stays contiguous, so that the consumer can use it in place. No locks: the owner serialises.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ether.h"

// What somebody has established about a frame's checksums. A frame in the switch is always
// complete: this only saves the receiver the work of summing again.
enum frame_check {
    FRAME_IP_GOOD = 1 << 0,
    FRAME_L4_GOOD = 1 << 1,
};

// A frame without its VLAN tag.
struct frame {
    const uint8_t *bytes;
    uint32_t size;
    uint16_t tci; // 802.1Q tag control information, when tagged
    bool tagged;
    uint8_t checks; // enum frame_check
};

struct frame_queue {
    uint8_t *memory; // 8-byte aligned
    uint32_t capacity;
    uint32_t head, tail; // offsets of the oldest record and of the first free byte
    uint32_t frames;
};

// The queue takes [memory, memory + size); size is rounded down to a multiple of 8. A frame of n
// bytes needs n + 8, rounded up to 8; at most 8 + ETHER_FRAME_MAX bytes are lost at the wrap.
void frame_queue_init(struct frame_queue *queue, void *memory, uint32_t size);

// Copies the frame in. False: no room; nothing changed. The frame has at most ETHER_FRAME_MAX
// bytes.
bool frame_queue_push(struct frame_queue *queue, const struct frame *frame);

// The oldest frame, which stays valid until frame_queue_pop(). False: the queue is empty.
bool frame_queue_peek(const struct frame_queue *queue, struct frame *frame);

// Removes the oldest frame of a queue that is not empty.
void frame_queue_pop(struct frame_queue *queue);

// Drops everything.
void frame_queue_clear(struct frame_queue *queue);
