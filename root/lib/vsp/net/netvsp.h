// SPDX-License-Identifier: BSD-2-Clause-Patent
// Network VSP: the host side of a guest's synthetic network adapter. NVSP 1 to 6.1 over a VMBus
// channel and its subchannels, RNDIS inside it, a port of a virtual switch behind it. Offloads are
// done in software: what leaves for the switch is complete frames of at most the MTU.
//
// Sources: Linux drivers/net/hyperv, OpenVMM vm/devices/net/netvsp, MS-RNDIS, NDIS reference.
//
// All memory is the caller's: struct netvsp, the slots for the receive buffer, the switch port's
// queue. One wake does a bounded amount of work. No locks: the owner serialises all calls for the
// adapters of one switch.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "../../vmbus/channel.h"
#include "lso.h"
#include "nic.h"
#include "nvsp.h"

enum {
    NETVSP_REPLIES = 16,       // control messages on their way to the guest
    NETVSP_BATCH = 32,         // frames in one transfer
    NETVSP_SLOTS_MIN = 64,     // sub-allocations of a receive buffer at least
    NETVSP_SLOTS_CONTROL = 16, // of these that data leaves free
    NETVSP_SLOTS_MAX = 65535,  // more than the largest GPADL holds
    NETVSP_SECTION = 6144,     // of the send buffer
    NETVSP_WAKE_FRAMES = 1024, // frames that one wake sends or receives
    NETVSP_WORDS = 256,        // of the range buffer of one packet
    NETVSP_MESSAGE_MAX = RNDIS_HEADER_MAX + LSO_FRAME_MAX + 3,
};

#define NETVSP_LINK_DELAY_100NS UINT64_C(50000000) // 5 s between changes of the link state

// Working memory for one message at a time; adapters that are never used at once can share it.
struct netvsp_scratch {
    uint64_t words[NETVSP_WORDS];
    uint8_t message[NETVSP_MESSAGE_MAX];
    uint8_t frame[ETHER_FRAME_MAX + ETHER_TAG];
};

// One sub-allocation of the receive buffer.
struct netvsp_slot {
    uint16_t next;  // in the free list or in its transfer
    uint8_t state;  // enum netvsp_slot_state
    uint8_t queue;  // the channel that its transfer went through
    uint32_t stamp; // of the transfer whose first slot this is
};

struct netvsp_config {
    struct vmbus_guid instance_id;
    uint32_t order; // guests find adapters in it; 0: after those that have one
    struct ether_address address;
    char name[NIC_NAME_MAX];
    uint64_t link_bps;
    uint32_t frame_max;  // ETHER_FRAME_STANDARD..ETHER_FRAME_MAX: the guest may choose less
    uint32_t queues;     // channels, 1..NIC_QUEUES_MAX; 1: no RSS
    uint32_t port_flags; // enum port_flag
    struct port_vlan vlan;
    struct virtual_switch *sw;
    void *queue_memory; // of the switch port
    uint32_t queue_size;
    struct netvsp_slot *slots;
    uint32_t slot_count; // at most so much of a receive buffer is used; 16 MiB: 9,300
    struct netvsp_scratch *scratch;
};

// A channel of the adapter, 0 the primary, and the transfer that is being filled for it.
struct netvsp_queue {
    struct vmbus_channel *channel; // NULL: not open
    struct vmbus_transfer batch[NETVSP_BATCH];
    uint32_t batched;
    uint16_t first; // slot
};

// A GPADL that the guest has given for packets.
struct netvsp_buffer {
    struct vmbus_ranges ranges;
    bool held;
    uint32_t gpadl;
    uint16_t id;
};

struct netvsp_receive {
    struct netvsp_buffer buffer;
    uint32_t slot_size;
    uint32_t slots; // in use by this buffer
    uint32_t free_count;
    uint16_t free_first;
    uint32_t stamp;
};

struct netvsp_send {
    struct netvsp_buffer buffer;
    uint32_t sections;
};

struct netvsp_reply {
    uint32_t size;
    uint8_t bytes[NIC_REPLY_MAX];
};

struct netvsp_statistics {
    uint64_t refused_messages;  // NVSP messages that were not valid in their state
    uint64_t refused_packets;   // RNDIS messages that were malformed
    uint64_t refused_transfers; // completions of transfers that are not there
    uint64_t dropped_replies;
    uint64_t segments; // frames made of large sends
};

struct netvsp {
    struct netvsp_config config;
    struct nic nic;
    struct vmbus_channel *primary; // the offer; NULL: gone
    uint32_t version;              // enum nvsp_version; 0: not negotiated
    struct netvsp_queue queues[NIC_QUEUES_MAX];
    uint32_t granted; // subchannels promised
    uint32_t opened;  // of these, open
    bool table_due;   // the guest waits for the send indirection table
    struct netvsp_receive receive;
    struct netvsp_send send;
    struct netvsp_reply replies[NETVSP_REPLIES];
    uint32_t reply_first, reply_count;
    bool link_wanted;      // what the owner has set
    bool link_due;         // the guest has to be told
    uint64_t link_changed; // when it was told last
    struct netvsp_statistics statistics;
};

// Puts an adapter on the switch and offers it to the guest, link up. The config is copied, what it
// points to must live on. False: a value is out of range, the switch or the bus has no room, or the
// address is taken; then nothing remains.
bool netvsp_create(struct netvsp *vsp, struct vmbus_server *server,
                   const struct netvsp_config *config);

// Takes the adapter away from the guest and off the switch. The memory is the caller's again when
// netvsp_gone() says so.
void netvsp_remove(struct netvsp *vsp);
bool netvsp_gone(const struct netvsp *vsp);

// The cable. The guest learns of it at once, or when the last change is long enough ago.
void netvsp_set_link(struct netvsp *vsp, bool up);
