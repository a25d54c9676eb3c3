// SPDX-License-Identifier: BSD-2-Clause-Patent
// Frames for the tests of the switch and the network VSP.
#pragma once
#include <string.h>

#include "root/lib/vsp/net/frame_queue.h"

// A frame from 02:00:00:00:00:<from> to 02:00:00:00:00:<to>; `to` 0xFF is the broadcast address.
static inline struct frame frame_make(uint8_t *bytes, uint32_t size, uint8_t to, uint8_t from)
{
    memset(bytes, 0, ETHER_HEADER);
    if (to == 0xFF) {
        memset(bytes, 0xFF, ETHER_ADDRESS);
    } else {
        bytes[0] = 2;
        bytes[5] = to;
    }
    bytes[6] = 2;
    bytes[11] = from;
    bytes[12] = 0x88;
    bytes[13] = 0xB5; // local experimental
    for (uint32_t i = ETHER_HEADER; i < size; i++) {
        bytes[i] = (uint8_t)(i * 31 + from);
    }
    return (struct frame){.bytes = bytes, .size = size};
}

static inline struct ether_address frame_address(uint8_t last)
{
    return (struct ether_address){{2, 0, 0, 0, 0, last}};
}
