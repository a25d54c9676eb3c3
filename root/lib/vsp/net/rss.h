// SPDX-License-Identifier: BSD-2-Clause-Patent
// Receive side scaling: the Toeplitz hash of a packet's addresses and ports, and the table that
// turns it into a queue (NDIS: RSS hashing functions, NDIS_RECEIVE_SCALE_PARAMETERS).
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "packet.h"

enum {
    RSS_KEY = 40,
    RSS_TABLE_MAX = 128,

    RSS_HASH_FUNCTION = 0x000000FF,
    RSS_TOEPLITZ = 0x00000001,
    RSS_IPV4 = 0x00000100,
    RSS_TCP_IPV4 = 0x00000200,
    RSS_IPV6 = 0x00000400,
    RSS_TCP_IPV6 = 0x00001000,
    RSS_UDP_IPV4 = 0x00004000,
    RSS_UDP_IPV6 = 0x00008000,
    RSS_TYPES = RSS_IPV4 | RSS_TCP_IPV4 | RSS_IPV6 | RSS_TCP_IPV6 | RSS_UDP_IPV4 | RSS_UDP_IPV6,
};

struct rss {
    bool enabled;
    uint32_t types;               // hash types to use
    uint32_t table_size;          // power of two, 1..RSS_TABLE_MAX
    uint8_t table[RSS_TABLE_MAX]; // queue numbers
    uint8_t key[RSS_KEY];
};

struct rss_hash {
    uint32_t value;
    uint32_t type; // one of the RSS_ types, 0: the packet has none
};

// The Toeplitz hash of at most RSS_KEY - 4 bytes.
uint32_t rss_toeplitz(const uint8_t *key, const uint8_t *input, uint32_t size);

// The hash of a packet by the most specific type that is enabled. Not enabled: type 0.
struct rss_hash rss_hash_packet(const struct rss *rss, const uint8_t *frame,
                                const struct packet *packet);

// The queue of a packet with this hash; 0 when it has none.
uint32_t rss_queue(const struct rss *rss, struct rss_hash hash);
