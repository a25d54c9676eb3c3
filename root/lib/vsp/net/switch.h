// SPDX-License-Identifier: BSD-2-Clause-Patent
// A virtual learning switch (IEEE 802.1Q: independent VLAN learning, without spanning tree). Its
// ports are the network adapters of children, a port of the root itself, and an uplink to the
// outside (uplink.h). A switch whose ports are all children is what Hyper-V calls private, with the
// root's port internal, with an uplink external.
//
// Ports are hostile: a port gets no frame that is not for it unless it may listen, cannot take
// another port's address, cannot fill the address table for others, and can make the switch hold
// no more than the memory that the receiving port has brought.
//
// No allocation, no locks: the owner serialises all calls for one switch. Time is in 100 ns units
// and never goes back.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ether.h"
#include "frame_queue.h"

enum {
    SWITCH_PORTS_MAX = 64,
    SWITCH_MACS = 1024,  // address table entries
    SWITCH_MAC_WAYS = 4, // entries that one address can be in
    SWITCH_GROUPS_MAX = 64,
    SWITCH_VLANS = 4096,
};

#define SWITCH_MAC_AGE_100NS UINT64_C(3000000000) // 300 s, the default of 802.1Q

// What a port receives, as NDIS packet filter bits (NDIS: OID_GEN_CURRENT_PACKET_FILTER).
enum packet_filter {
    FILTER_DIRECTED = 0x01,
    FILTER_MULTICAST = 0x02,
    FILTER_ALL_MULTICAST = 0x04,
    FILTER_BROADCAST = 0x08,
    FILTER_PROMISCUOUS = 0x20,
};

enum port_flag {
    PORT_SPOOF = 1 << 0,       // may send from addresses other than its own
    PORT_PROMISCUOUS = 1 << 1, // FILTER_PROMISCUOUS shows it all frames, not just all of its own
    PORT_LEARN = 1 << 2,       // addresses are learned from what it sends
    PORT_FLOOD = 1 << 3, // gets frames to addresses that nobody knows: there is more behind it
};

enum port_vlan_mode { PORT_ACCESS, PORT_TRUNK };

// Access: frames without tag belong to `native` (0: the untagged network); tagged ones with an id
// other than 0 are refused. Trunk: frames with tag belong to their id if `allowed` has it, frames
// without tag to `native`, which need not be in `allowed`.
struct port_vlan {
    enum port_vlan_mode mode;
    uint16_t native;                   // 0..VLAN_ID_MAX
    uint8_t allowed[SWITCH_VLANS / 8]; // bit n: VLAN n
};

struct port_config {
    struct ether_address address; // zero: none of its own
    uint32_t flags;               // enum port_flag
    uint32_t max_frame;           // without tag; ETHER_HEADER..ETHER_FRAME_MAX
    uint32_t learn_max;           // addresses learned from this port at most
    struct port_vlan vlan;
    void *ctx;
    // A frame has been queued for the port, whose queue was empty. May not call the switch.
    void (*wake)(void *ctx);
};

// Frames and bytes by kind of destination; bytes are without tag and FCS.
struct port_traffic {
    uint64_t directed_frames, directed_bytes;
    uint64_t multicast_frames, multicast_bytes;
    uint64_t broadcast_frames, broadcast_bytes;
};

// `in` is what the port has sent into the switch, `out` what the switch has queued for it.
struct port_statistics {
    struct port_traffic in, out;
    uint64_t in_bad_size; // shorter than a header or longer than the port's max_frame
    uint64_t in_spoofed;  // source not the port's own, or a group address
    uint64_t in_vlan;     // VLAN that the port is not in
    uint64_t in_reserved; // destination that bridges do not forward (802.1Q table 8-1)
    uint64_t out_full;    // no room in the port's queue
    uint64_t out_bad_size;
};

struct switch_port {
    struct port_config config;
    struct frame_queue queue;
    struct port_statistics statistics;
    uint32_t filter; // enum packet_filter
    uint32_t group_count;
    struct ether_address groups[SWITCH_GROUPS_MAX];
    uint32_t learned;
    bool attached;
};

struct switch_mac {
    struct ether_address address;
    uint16_t vlan;
    uint8_t port; // 0: free, else index + 1
    uint64_t seen;
};

struct virtual_switch {
    struct switch_port *ports[SWITCH_PORTS_MAX];
    unsigned port_end; // no port at or behind this index
    struct switch_mac macs[SWITCH_MACS];
    uint64_t key;
};

// An empty switch. key: random, so that nobody can aim at slots of the address table.
void switch_init(struct virtual_switch *sw, uint64_t key);

// Puts a port on the switch. memory of `size` bytes becomes its queue. The filter is empty: nothing
// is received yet. False: no place, or the address is another port's, or a value is out of range.
bool switch_attach(struct virtual_switch *sw, struct switch_port *port,
                   const struct port_config *config, void *memory, uint32_t size);

// Takes the port off; the addresses behind it are forgotten, its queue is cleared.
void switch_detach(struct virtual_switch *sw, struct switch_port *port);

// Changes the port's own address. False: it is a group's, zero, or another port's.
bool switch_set_address(struct virtual_switch *sw, struct switch_port *port,
                        const struct ether_address *address);

// Changes the port's max_frame. False: out of range.
bool switch_set_max_frame(struct switch_port *port, uint32_t max_frame);

// What the port wants to receive: enum packet_filter bits; unknown ones are ignored.
void switch_set_filter(struct switch_port *port, uint32_t filter);

// The groups that FILTER_MULTICAST lets through. False: too many, or one is not a group address;
// nothing changed.
bool switch_set_groups(struct switch_port *port, const struct ether_address *groups,
                       uint32_t count);

// A frame from the port. It is copied to the queues of all its receivers.
void switch_send(struct virtual_switch *sw, struct switch_port *port, const struct frame *frame,
                 uint64_t now);

// The next frame for the port, and its removal: see frame_queue.h.
bool switch_peek(const struct switch_port *port, struct frame *frame);
void switch_pop(struct switch_port *port);
