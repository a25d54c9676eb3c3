// SPDX-License-Identifier: BSD-2-Clause-Patent
// The RNDIS PACKET message: what a guest sends, taken apart; what it receives, put together.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "rndis.h"

// The whole message is in private memory.
struct rndis_packet {
    uint8_t *frame; // inside the message
    uint32_t size;  // of the frame
    bool has_checksum, has_lso, has_vlan;
    uint32_t checksum; // enum ppi_checksum_transmit
    uint32_t lso;      // enum ppi_lso
    uint16_t tci;      // as in a tag
};

// Takes a PACKET message of `size` bytes (8-byte header included, which has been checked) apart.
// Everything that it refers to lies inside the message. False: malformed.
bool rndis_packet_parse(uint8_t *message, uint32_t size, struct rndis_packet *packet);

struct rndis_receive {
    uint32_t frame_size;
    bool has_checksum, has_vlan, has_hash;
    uint32_t checksum; // enum ppi_checksum_receive
    uint16_t tci;
    uint32_t hash;
};

enum { RNDIS_RECEIVE_HEADER_MAX = RNDIS_BODY + RNDIS_PACKET_BODY + 3 * (RNDIS_PPI_HEADER + 4) };

// Writes all that stands before the frame; returns its size, at most RNDIS_RECEIVE_HEADER_MAX.
uint32_t rndis_packet_header(const struct rndis_receive *receive, uint8_t *out);
