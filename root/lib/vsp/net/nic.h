// SPDX-License-Identifier: BSD-2-Clause-Patent
// The network adapter behind an RNDIS connection: what the guest can ask of it and set (OIDs), and
// the control messages that do so. It knows nothing of VMBus.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "rndis.h"
#include "rss.h"
#include "switch.h"

enum {
    NIC_NAME_MAX = 64,
    NIC_QUEUES_MAX = 16,
    NIC_INFO_MAX = 640,                    // longest answer to a query
    NIC_REPLY_MAX = 8 + 16 + NIC_INFO_MAX, // longest reply to a control message
    NIC_LSO_MAX = 0xF53C,                  // payload of a large send; what Hyper-V says
    NIC_LSO_SEGMENTS_MIN = 2,
};

// Checksums that are computed for (transmit) or validated for the guest (receive).
enum nic_checksum {
    NIC_IPV4 = 1 << 0,
    NIC_TCP4 = 1 << 1,
    NIC_UDP4 = 1 << 2,
    NIC_TCP6 = 1 << 3,
    NIC_UDP6 = 1 << 4,
    NIC_CHECKSUMS = 31,
};

enum nic_lso {
    NIC_LSO_V1 = 1 << 0,
    NIC_LSO_V2_IPV4 = 1 << 1,
    NIC_LSO_V2_IPV6 = 1 << 2,
    NIC_LSO = 7,
};

struct nic_offload {
    uint32_t transmit, receive; // enum nic_checksum
    uint32_t lso;               // enum nic_lso
};

struct nic {
    // Given by the owner.
    struct virtual_switch *sw;
    struct ether_address permanent;
    uint64_t link_bps;
    char name[NIC_NAME_MAX]; // ASCII, ends with 0
    uint32_t queues;         // receive queues that RSS may use; 1..NIC_QUEUES_MAX
    // The adapter's port on the switch.
    struct switch_port port;
    // Negotiated by NVSP.
    uint32_t ndis_version; // major << 16 | minor
    uint32_t frame_max;    // with header, without tag
    bool tags;             // the guest takes 802.1Q information beside the packet
    uint32_t send_space, receive_space;
    // Set through RNDIS.
    bool initialized;
    bool link_up;
    struct nic_offload offload;
    struct rss rss;
    // Beside what the port counts.
    uint64_t transmit_errors, receive_no_buffer;
};

// State after the guest's driver is gone: not initialized, nothing received, all offloads on.
void nic_reset(struct nic *nic);

// Handles one control message of `size` bytes (8-byte header included, which has been checked) and
// writes the answer to `reply` (NIC_REPLY_MAX bytes). Returns the answer's size; 0: there is none.
// *malformed: the message is no control message, or too short to be answered.
uint32_t rndis_control(struct nic *nic, const uint8_t *message, uint32_t size, uint8_t *reply,
                       bool *malformed);

// Writes an INDICATE message without data to `out` (NIC_REPLY_MAX bytes) and returns its size.
uint32_t rndis_indicate(uint32_t status, uint8_t *out);

// Answers a query: writes at most NIC_INFO_MAX bytes to `out`, their number to *out_size, and
// returns an RNDIS_STATUS. `in` is what came with the query.
uint32_t nic_query(const struct nic *nic, uint32_t oid, const uint8_t *in, uint32_t size,
                   uint8_t *out, uint32_t *out_size);

// Sets; returns an RNDIS_STATUS.
uint32_t nic_set(struct nic *nic, uint32_t oid, const uint8_t *in, uint32_t size);
