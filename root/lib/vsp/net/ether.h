// SPDX-License-Identifier: BSD-2-Clause-Patent
// Ethernet as the switch and the network VSP see it (IEEE 802.3, 802.1Q).
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
    ETHER_ADDRESS = 6,
    ETHER_HEADER = 14, // destination, source, type
    ETHER_TAG = 4,
    ETHER_TYPE_AT = 12,

    ETHER_TYPE_IPV4 = 0x0800,
    ETHER_TYPE_VLAN = 0x8100,
    ETHER_TYPE_IPV6 = 0x86DD,

    // The longest frame anywhere here, without tag and FCS: a header and an MTU of 9,202.
    ETHER_FRAME_MAX = 9216,
    ETHER_FRAME_STANDARD = 1514,

    // 802.1Q tag control information
    VLAN_ID_MASK = 0x0FFF,
    VLAN_ID_MAX = 4094,
    VLAN_DEI = 1 << 12,
    VLAN_PRIORITY_SHIFT = 13,
};

struct ether_address {
    uint8_t byte[ETHER_ADDRESS];
};

static inline bool ether_is_group(const uint8_t *address)
{
    return address[0] & 1;
}

static inline bool ether_is_broadcast(const uint8_t *address)
{
    return (address[0] & address[1] & address[2] & address[3] & address[4] & address[5]) == 0xFF;
}

static inline bool ether_is_zero(const uint8_t *address)
{
    return !(address[0] | address[1] | address[2] | address[3] | address[4] | address[5]);
}
