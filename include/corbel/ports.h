// SPDX-License-Identifier: BSD-2-Clause-Patent
// Ports and connections of one partition (TLFS: Ports and Connections). A port belongs to the
// receiver, a connection to the sender, and both are paid for from their owner's pool; a port has
// one connection at most. Ids are chosen by who creates them: ports and connections are found in
// two tables of chains.
//
// Two kinds of lock. What changes the tables or the tie between a port and its connection is
// serialised by one lock of this file. A connection is used under the lock of its chain only, which
// also keeps the port behind it, and that port's partition with its VPs, from going away.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "corbel/slab.h"
#include "corbel/spinlock.h"
#include "corbel/synic.h"
#include "hv/synic.h"

#define PORT_CHAINS     256u
#define PORT_LOCKS      16u
#define DOORBELL_CHAINS 16u

struct partition;
struct connection;

// TLFS: Guest Message Buffers.
struct port_buffer {
    struct synic_message_node node;
    struct port_buffer *next; // a ring of HV_PORT_MESSAGE_BUFFER_COUNT
    struct synic *synic;      // where `node` was queued last
    uint64_t payload[HV_MESSAGE_PAYLOAD_MAX_BYTES / 8];
};

struct port {
    struct port *next; // of its chain
    struct port_space *space;
    struct connection *connection; // NULL: not connected
    struct port_buffer *buffers;   // message ports: where the search for a free one begins
    uint64_t partner;              // id of the partition that may connect
    uint64_t posts;                // messages and events sent through it
    uint32_t id;
    uint32_t vp;           // HV_ANY_VP: the hypervisor chooses
    uint32_t preferred_vp; // which it tries first
    uint16_t base_flag, flag_count;
    uint8_t type; // HV_PORT_TYPE_*
    uint8_t sint;
    bool rung; // a doorbell that found the event ring full: port_ring_emptied
};

// TLFS: doorbells: the write that rings it.
struct doorbell {
    uint64_t gpa;
    uint64_t value;
    uint64_t flags; // HV_DOORBELL_*
};

struct connection {
    struct connection *next; // of its chain
    struct port_space *space;
    struct port *port;                // NULL: deleted
    struct connection *next_doorbell; // of its GPA's chain
    struct doorbell doorbell;
    uint32_t id;
    uint8_t type; // HV_PORT_TYPE_*
};

// The tables: one page from the partition's pool.
struct port_tables {
    struct port *ports[PORT_CHAINS];
    struct connection *connections[PORT_CHAINS];
};

struct port_space {
    struct partition *partition;
    uint64_t id; // the partition's
    struct port_tables *tables;
    struct slab port_slab, connection_slab, buffer_slab;
    struct spinlock locks[PORT_LOCKS]; // of the chains of connections
    struct spinlock doorbell_lock;     // a leaf
    struct connection *doorbells[DOORBELL_CHAINS];
    uint32_t doorbell_count; // any LP reads it
};

// `tables`: a zeroed page.
void port_space_init(struct port_space *space, struct partition *partition, uint64_t id,
                     struct pool *pool, struct port_tables *tables);

// Takes away at most `budget` ports and connections and says whether more remain. Nobody may create
// any meanwhile; others may go on using what is still there.
bool port_space_clear(struct port_space *space, uint32_t budget);

// For a VP that goes away and has been taken out of its partition's table: waits for those who
// still use a port of the space, after which it is nobody's target any more, and resets its SynIC.
void port_space_forget(struct port_space *space, struct synic *target);

// All below return HV_STATUS. The ids are the caller's: bits 31:24 are refused here.

// `config` holds type, sint, vp, base_flag, flag_count and partner, all validated; the rest is set
// here. INVALID_PORT_ID (in use), INSUFFICIENT_MEMORY.
uint16_t port_create(struct port_space *space, uint32_t id, const struct port *config);

// Frees the port and its buffers, those in queues as well: messages not delivered are lost.
// INVALID_PORT_ID.
uint16_t port_delete(struct port_space *space, uint32_t id);

// A connection of `space` to the port of `receiver`. INVALID_CONNECTION_ID (in use),
// INVALID_PORT_ID (none such, another type, connected already), INVALID_PARTITION_ID (the port is
// for another partition), INSUFFICIENT_MEMORY. `doorbell` is for that type only, else NULL.
uint16_t connection_create(struct port_space *space, uint32_t id, struct port_space *receiver,
                           uint32_t port_id, uint32_t type, const struct doorbell *doorbell);

// The connection whose doorbell a write of `size` bytes at `gpa` rings. False: none.
bool doorbell_find(struct port_space *space, uint64_t gpa, uint32_t size, uint64_t value,
                   uint32_t *id);

// HvCallNotifyPortRingEmpty: offers the doorbells of a source that have been waiting for room to
// `ring`, until it finds the ring full again (false).
void port_ring_emptied(struct port_space *space, uint32_t sint,
                       bool (*ring)(struct port *port, void *context), void *context);

// Queued messages are not affected. INVALID_CONNECTION_ID.
uint16_t connection_delete(struct port_space *space, uint32_t id);

// Reads a property, or sets it if `set`. INVALID_PORT_ID, UNKNOWN_PROPERTY, INVALID_PARAMETER (the
// value).
uint16_t port_property(struct port_space *space, uint32_t id, uint32_t code, bool set,
                       uint64_t *value);

// Finds the connection and holds it and its port until connection_done, which follows a success and
// no error. INVALID_CONNECTION_ID, INVALID_PORT_ID (deleted, or not of `type`).
uint16_t connection_use(struct port_space *space, uint32_t id, uint32_t type, struct port **port);

static inline void connection_done(struct port_space *space, uint32_t id)
{
    spin_unlock(&space->locks[id % PORT_LOCKS]);
}

// Queues a message at a SynIC through a message port that the caller holds. `payload` is rounded up
// to words when it is copied. INSUFFICIENT_BUFFERS, INVALID_SYNIC_STATE.
uint16_t port_post(struct port *port, struct synic *target, uint32_t type, const void *payload,
                   uint32_t size, uint64_t now, struct synic_signals *signals);
