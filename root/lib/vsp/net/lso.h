// SPDX-License-Identifier: BSD-2-Clause-Patent
// Large send: cuts one TCP packet that is longer than the network takes into segments (NDIS: large
// send offload, versions 1 and 2, which differ only in how the guest fills the length fields).
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "packet.h"

enum {
    LSO_MSS_MIN = 48,           // smaller ones only make work; Linux's TCP_MIN_SND_MSS
    LSO_FRAME_MAX = 65535 + 14, // an IP packet of the largest size and its Ethernet header
};

struct lso {
    const uint8_t *frame;
    struct packet packet;
    uint32_t mss;
    uint32_t done;    // payload bytes
    uint32_t segment; // segments made
};

// Begins. The frame stays until the last segment is made. False: it is not a TCP packet, mss is
// below LSO_MSS_MIN, or a segment would exceed max_frame.
bool lso_begin(struct lso *lso, const uint8_t *frame, uint32_t size, uint32_t mss,
               uint32_t max_frame);

// Writes the next segment, complete with its checksums, to `out` (room for the max_frame bytes) and
// returns its size; 0: there are no more. Without payload there is one segment.
uint32_t lso_next(struct lso *lso, uint8_t *out);
