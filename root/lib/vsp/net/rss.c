// SPDX-License-Identifier: BSD-2-Clause-Patent
// Receive side scaling: contract in rss.h.
#include "rss.h"

#include "../../mem.h"
#include "../wire.h"

enum { INPUT_MAX = 36, PORTS = 4 };

uint32_t rss_toeplitz(const uint8_t *key, const uint8_t *input, uint32_t size)
{
    // The high half is the key's window at the present input bit.
    uint64_t window = (uint64_t)be32_get(key) << 32;
    uint32_t hash = 0;

    for (uint32_t i = 0; i < size; i++) {
        window |= (uint64_t)key[i + 4] << 24;
        for (unsigned bit = 0x80; bit; bit >>= 1) {
            if (input[i] & bit) {
                hash ^= (uint32_t)(window >> 32);
            }
            window <<= 1;
        }
    }
    return hash;
}

// The types that this packet could have, the more specific one and the other.
static void types_of(const struct packet *packet, uint32_t *with_ports, uint32_t *addresses)
{
    const bool four = packet->version == 4;

    *addresses = four ? RSS_IPV4 : RSS_IPV6;
    *with_ports = 0;
    if (packet->protocol == IP_TCP) {
        *with_ports = four ? RSS_TCP_IPV4 : RSS_TCP_IPV6;
    } else if (packet->protocol == IP_UDP) {
        *with_ports = four ? RSS_UDP_IPV4 : RSS_UDP_IPV6;
    }
}

struct rss_hash rss_hash_packet(const struct rss *rss, const uint8_t *frame,
                                const struct packet *packet)
{
    struct rss_hash hash = {0, 0};
    uint8_t input[INPUT_MAX];
    uint32_t size, with_ports, addresses;

    if (!rss->enabled || packet->version == 0) {
        return hash;
    }
    if (packet->version == 4) {
        size = 8;
        memcpy(input, frame + packet->l3 + IPV4_SOURCE, size);
    } else {
        size = 32;
        memcpy(input, frame + packet->l3 + IPV6_SOURCE, size);
    }
    types_of(packet, &with_ports, &addresses);
    if (rss->types & with_ports) {
        memcpy(input + size, frame + packet->l4, PORTS); // source and destination port
        size += PORTS;
        hash.type = with_ports;
    } else if (rss->types & addresses) {
        hash.type = addresses;
    } else {
        return hash;
    }
    hash.value = rss_toeplitz(rss->key, input, size);
    return hash;
}

uint32_t rss_queue(const struct rss *rss, struct rss_hash hash)
{
    return hash.type ? rss->table[hash.value & (rss->table_size - 1)] : 0;
}
