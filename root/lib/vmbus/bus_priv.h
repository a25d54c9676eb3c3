// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the parts of the protocol state machine share. Indices of channels and GPADLs are valid
// ones.
#pragma once
#include "bus.h"

struct bus_input {
    const uint8_t *bytes;
    size_t size;
    uint32_t connection;
};

// ---- bus.c: connection --------------------------------------------------------------------------

// Fills in an action that posts a message.
void bus_post(struct bus_action *action, uint32_t vp, uint8_t sint, const void *message,
              size_t size);
// The immediate answer to the present message, to the VP of the connection.
void bus_answer(struct vmbus_bus *bus, const void *message, size_t size);
void bus_complain(struct vmbus_bus *bus, const char *text);
// When nothing is held any more, completes a disconnection.
void bus_check_disconnected(struct vmbus_bus *bus);
// The host speaks this version.
bool bus_is_supported(const struct vmbus_bus *bus, uint32_t version);

// ---- bus_channel.c ------------------------------------------------------------------------------

// Clears a slot but for its place in the queue.
void bus_clear_channel(struct bus_channel *channel);
// There is something to do (enum bus_channel_todo).
void bus_queue_channel(struct vmbus_bus *bus, uint16_t channel, uint8_t todo);
// The guest has let a channel go: relid, GPADLs, and what was still to be said to it.
void bus_guest_leaves(struct vmbus_bus *bus, uint16_t channel);
// Brings the device side after the guest side, and frees the slot when nobody needs it.
void bus_settle(struct vmbus_bus *bus, uint16_t channel);
// The device side is idle: every non-reserved one of them.
bool bus_channels_let_go(const struct vmbus_bus *bus);
bool bus_next_channel(struct vmbus_bus *bus, bool may_post, struct bus_action *action);

// ---- bus_offer.c --------------------------------------------------------------------------------

// The next OFFERCHANNEL; false when there is none (any more).
bool bus_next_offer(struct vmbus_bus *bus, struct bus_action *action);

// ---- bus_request.c ------------------------------------------------------------------------------

// The channel with this relid; BUS_NONE with a complaint when there is none.
uint16_t bus_by_relid(struct vmbus_bus *bus, uint32_t relid);
void bus_on_open(struct vmbus_bus *bus, const struct bus_input *input);
void bus_on_close(struct vmbus_bus *bus, const struct bus_input *input);
void bus_on_released(struct vmbus_bus *bus, const struct bus_input *input);
void bus_on_modify(struct vmbus_bus *bus, const struct bus_input *input);
void bus_on_open_reserved(struct vmbus_bus *bus, const struct bus_input *input);
void bus_on_close_reserved(struct vmbus_bus *bus, const struct bus_input *input);

// ---- bus_gpadl.c --------------------------------------------------------------------------------

// The GPADL of a channel by id, in any state but free and orphan; BUS_NONE when there is none.
uint16_t bus_gpadl_of(const struct vmbus_bus *bus, uint16_t channel, uint32_t id);
// The unfinished GPADL of this id. BODY messages name no channel, so there is one on the whole bus.
uint16_t bus_gpadl_partial(const struct vmbus_bus *bus, uint32_t id);
// A cleared slot with room for that many words; BUS_NONE when there is none. It is free until its
// state is set.
uint16_t bus_gpadl_take(struct vmbus_bus *bus, uint32_t words);
// Rings start or stop to use a GPADL.
void bus_gpadl_set_ring(struct vmbus_bus *bus, uint16_t gpadl, bool used);
// The guest forgets the GPADLs of a channel.
void bus_gpadls_orphan(struct vmbus_bus *bus, uint16_t channel);
// The device of a channel has let go of all of them.
void bus_gpadls_unhold(struct vmbus_bus *bus, uint16_t channel);
bool bus_has_gpadls(const struct vmbus_bus *bus, uint16_t channel);
bool bus_gpadls_let_go(const struct vmbus_bus *bus);
bool bus_next_gpadl(struct vmbus_bus *bus, bool may_post, struct bus_action *action);

void bus_on_gpadl_header(struct vmbus_bus *bus, const struct bus_input *input);
void bus_on_gpadl_body(struct vmbus_bus *bus, const struct bus_input *input);
void bus_on_gpadl_teardown(struct vmbus_bus *bus, const struct bus_input *input);

// ---- bus_connect.c: Hyper-V sockets -------------------------------------------------------------

void bus_on_connect(struct vmbus_bus *bus, const struct bus_input *input);
// An offer answers the connection that waits for it.
void bus_connected(struct vmbus_bus *bus, const struct vmbus_offer *offer);
bool bus_next_connect(struct vmbus_bus *bus, bool may_post, struct bus_action *action);
bool bus_connects_wait(const struct vmbus_bus *bus);
