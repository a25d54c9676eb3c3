// SPDX-License-Identifier: BSD-2-Clause-Patent
// The control protocol of VMBus as a state machine without input or output: messages of the guest
// and wishes of the host go in, actions come out one by one. What comes out is a function of what
// went in. Private to the library; server.c carries the actions out.
//
// Nothing is queued: what has still to be said is a set of flags on the object it is about, so
// memory is bounded by the tables, whatever a guest sends. Each message of a guest has at most one
// immediate answer (`reply`), and the next is taken only when no answer waits to be posted.
//
// A channel has two sides that move apart and together again: what the guest knows of it (enum
// bus_guest) and what the device was told (enum bus_device). `settle` in bus_channel.c is the one
// place that says what a combination calls for.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blob.h"
#include "proto.h"
#include "ranges.h"
#include "server.h"
#include "store.h"

#define BUS_NONE UINT16_MAX // index of no channel, no GPADL

enum { BUS_CONNECTS_MAX = 16 }; // socket connections that the owner has not answered

// What the guest knows of a channel.
enum bus_guest {
    BUS_UNKNOWN,   // not offered in this connection; it has no relid
    BUS_OFFERED,   // offered, closed
    BUS_OPENING,   // asked to open, not answered
    BUS_OPEN,      // open
    BUS_RESCINDED, // the offer is withdrawn, the relid not released
    BUS_GUESTS
};

// What the device of a channel was told.
enum bus_device {
    BUS_IDLE,     // nothing, or the answer to close has come
    BUS_STARTED,  // to open; no answer yet
    BUS_RUNNING,  // opened
    BUS_STOPPING, // to close; no answer yet
    BUS_DEVICES
};

// What has still to come out for a channel, in this order.
enum bus_channel_todo {
    BUS_DO_CLOSE = 1 << 0,          // tell the device
    BUS_DO_OPEN_RESULT = 1 << 1,    // to the guest
    BUS_DO_MODIFY_RESULT = 1 << 2,  // to the guest
    BUS_DO_RESCIND = 1 << 3,        // to the guest
    BUS_DO_CLOSE_RESERVED = 1 << 4, // to the guest
    BUS_DO_OPEN = 1 << 5,           // tell the device
    BUS_DO_RELEASE = 1 << 6,        // tell the device: the channel is gone
    BUS_DO_POSTS =
        BUS_DO_OPEN_RESULT | BUS_DO_MODIFY_RESULT | BUS_DO_RESCIND | BUS_DO_CLOSE_RESERVED,
};

struct bus_open_request {
    uint32_t open_id;
    uint32_t ring_gpadl;
    uint32_t target_vp;
    uint32_t out_page;
    uint8_t user_data[VMBUS_USER_DATA];
};

struct bus_channel {
    struct vmbus_offer offer;
    struct bus_open_request request; // while the guest side is BUS_OPENING or BUS_OPEN
    uint32_t open_status;            // for BUS_DO_OPEN_RESULT
    uint32_t reserved_vp;            // where answers go while it is reserved
    uint16_t primary;                // index of the primary channel; its own for a primary
    uint16_t sub_index;
    uint16_t relid;    // 0: none
    uint16_t next;     // in the queue of channels with something to do
    uint16_t saved_as; // number in the blob it comes from
    uint16_t ring;     // GPADL of the rings while the device side is not BUS_IDLE
    uint8_t reserved_sint;
    uint8_t guest;  // enum bus_guest
    uint8_t device; // enum bus_device
    uint8_t todo;   // enum bus_channel_todo
    bool used;      // the slot is taken
    bool leaving;   // the offer is over: the slot is freed when both sides have let go
    bool gone;      // the device has been told so
    bool withheld;  // broken, or released by the guest: not offered again in this connection
    bool reserved;  // opened by OPEN_RESERVED_CHANNEL
    bool queued;
};

enum bus_gpadl_state {
    BUS_GPADL_FREE,
    BUS_GPADL_PARTIAL,  // bodies are missing
    BUS_GPADL_ACCEPTED, // usable
    BUS_GPADL_TEARING,  // the guest waits for TORNDOWN until the last reference is gone
    BUS_GPADL_ORPHAN,   // the guest has forgotten it; as above, without the message
    BUS_GPADL_STATES
};

enum bus_gpadl_todo {
    BUS_DO_REVOKE = 1 << 0,   // tell the device that holds it
    BUS_DO_TORNDOWN = 1 << 1, // to the guest; then it is free
};

struct bus_gpadl {
    uint32_t id;
    uint32_t held;    // references of the device
    uint16_t channel; // index of the channel it belongs to
    uint16_t next;    // in the queue of GPADLs with something to do
    uint16_t words;   // that the range buffer has
    uint16_t filled;  // of them have come
    uint16_t count;   // ranges
    uint8_t state;    // enum bus_gpadl_state
    uint8_t todo;     // enum bus_gpadl_todo
    bool in_ring;     // the rings of an open channel
    bool queued;
    struct vmbus_ranges ranges; // from BUS_GPADL_ACCEPTED on
    uint16_t blocks[VMBUS_RANGE_BLOCKS];
};

enum bus_connection_state {
    BUS_DISCONNECTED,
    BUS_DISCONNECTING, // until channels and GPADLs are let go; then `after` is carried out
    BUS_CONNECTED,
    BUS_CONNECTION_STATES
};

enum bus_after { BUS_AFTER_NOTHING, BUS_AFTER_UNLOAD, BUS_AFTER_CONTACT, BUS_AFTERS };

// INITIATE_CONTACT as far as it matters later.
struct bus_contact {
    uint32_t version;
    uint32_t vp;
    bool monitor_ok; // both monitor pages, or none
};

struct bus_connection {
    uint32_t version;           // 0 unless BUS_CONNECTED
    uint32_t vp;                // takes our messages; outlives the connection
    struct bus_contact contact; // for BUS_AFTER_CONTACT
    uint8_t state;              // enum bus_connection_state
    uint8_t after;              // enum bus_after
    bool offers_asked;          // REQUESTOFFERS has come
    bool offers_told;           // ALLOFFERS_DELIVERED has gone
};

// A connection of a Hyper-V socket that waits for the owner, or for its refusal to be posted.
struct bus_connect {
    struct vmbus_guid endpoint;
    struct vmbus_guid service;
    uint32_t status;
    bool used;
    bool asked;   // the owner knows
    bool refused; // the guest has to know
};

enum bus_action_kind {
    BUS_POST,          // message[0..size) to vp, sint
    BUS_TELL_OPEN,     // channel: start the device; the answer is bus_opened()
    BUS_TELL_CLOSE,    // channel: stop it; the answer is bus_closed()
    BUS_TELL_REVOKED,  // channel, gpadl: the device has to let go
    BUS_TELL_RELEASED, // channel: the device forgets it
    BUS_TELL_CONNECT,  // endpoint, service
};

struct bus_action {
    enum bus_action_kind kind;
    uint16_t channel;
    uint32_t gpadl;
    uint32_t vp;
    uint8_t sint;
    uint16_t size;
    struct vmbus_guid endpoint, service;
    _Alignas(8) uint8_t message[VMBUS_MESSAGE_MAX];
};

struct bus_queue {
    uint16_t first, last;
};

struct vmbus_bus {
    struct vmbus_limits limits;
    struct bus_channel *channels; // limits.channels
    struct bus_gpadl *gpadls;     // limits.gpadls
    uint16_t *relids;             // limits.channels + 1: the channel that has this relid
    struct vmbus_store store;
    struct bus_connection connection;
    struct bus_connect connects[BUS_CONNECTS_MAX];
    struct bus_queue channel_queue, gpadl_queue;
    bool offers_wait; // some channel may have to be offered
    bool has_reply;
    struct bus_action reply;
    const char *complaint; // why the last message was refused or dropped; NULL: it was not
};

// ---- in -----------------------------------------------------------------------------------------

// The arrays are set; everything else is initialised.
void bus_init(struct vmbus_bus *bus);

// True when bus_message() may be called: no answer waits.
bool bus_is_ready(const struct vmbus_bus *bus);

// A message of the guest, copied, of any size and content. Sets bus->complaint.
void bus_message(struct vmbus_bus *bus, uint32_t connection, const void *message, size_t size);

// Whether the message ends the connection, and is therefore taken even when answers wait (they are
// dropped).
bool bus_message_disconnects(const void *message, size_t size);

// The host offers a channel; primary BUS_NONE, or the index of the primary of a subchannel. Returns
// its index; BUS_NONE when the offer is not valid, taken, or there is no slot.
uint16_t bus_offer(struct vmbus_bus *bus, const struct vmbus_offer *offer, uint16_t primary);

// The host withdraws an offer, with its subchannels.
void bus_leave(struct vmbus_bus *bus, uint16_t channel);

// A channel is broken: withdrawn until the guest connects anew.
void bus_fail(struct vmbus_bus *bus, uint16_t channel);

// The answers to BUS_TELL_OPEN and BUS_TELL_CLOSE; ignored when none is awaited.
void bus_opened(struct vmbus_bus *bus, uint16_t channel, uint32_t status);
void bus_closed(struct vmbus_bus *bus, uint16_t channel);

// The GPADL of this id that belongs to the channel or its primary; BUS_NONE when there is none that
// is accepted. Holding and letting go; the latter is ignored when it is not held.
uint16_t bus_gpadl_find(struct vmbus_bus *bus, uint16_t channel, uint32_t id);
void bus_gpadl_hold(struct vmbus_bus *bus, uint16_t gpadl);
void bus_gpadl_unhold(struct vmbus_bus *bus, uint16_t channel, uint32_t id);

// The answer to BUS_TELL_RELEASED: the device will not be heard of again.
void bus_released(struct vmbus_bus *bus, uint16_t channel);

// The socket connection is refused; ignored when there is none that waits.
void bus_refuse(struct vmbus_bus *bus, const struct vmbus_guid *endpoint,
                const struct vmbus_guid *service, uint32_t status);

// The machine was reset: as an unload without an answer, reserved channels included.
void bus_reset(struct vmbus_bus *bus);

// ---- out ----------------------------------------------------------------------------------------

// The next action; false when there is none now. Without may_post no BUS_POST comes out.
bool bus_next(struct vmbus_bus *bus, bool may_post, struct bus_action *action);

// ---- state --------------------------------------------------------------------------------------

// Disconnected, and nothing is held by a device any more.
bool bus_is_idle(const struct vmbus_bus *bus);

// The guest has opened the channel and not closed it, and its device runs.
bool bus_is_open(const struct vmbus_bus *bus, uint16_t channel);

// The VP that takes the signals of an open channel; VMBUS_NO_INTERRUPTS: none. It moves at once
// when the guest asks for it, before the answer goes out: the guest relies on that.
uint32_t bus_target_vp(const struct vmbus_bus *bus, uint16_t channel);

// ---- save and restore (bus_save.c) --------------------------------------------------------------

// Nothing is on its way to a device or awaited from one: only posts may be outstanding.
bool bus_is_at_rest(const struct vmbus_bus *bus);

// Writes the state. The bus is at rest.
void bus_save(const struct vmbus_bus *bus, struct blob_writer *blob);

// Restores into a fresh bus with the same offers; the subchannels of the blob are made. False, with
// the bus unusable, when the blob does not make sense. Channels keep the numbers that they had in
// saved_as; those that are open have not been attached.
bool bus_restore(struct vmbus_bus *bus, struct blob_reader *blob);

// A message that waits to be posted.
void bus_save_post(struct blob_writer *blob, const struct bus_action *post);
void bus_restore_post(struct blob_reader *blob, struct bus_action *post);

// The index of the channel that the blob knew by that number; BUS_NONE when there is none.
uint16_t bus_restored(const struct vmbus_bus *bus, uint16_t saved_as);

// Rescinds a channel whose device cannot go on; it is offered anew when the guest has let it go.
void bus_restart(struct vmbus_bus *bus, uint16_t channel);
