// SPDX-License-Identifier: BSD-2-Clause-Patent
// Between the files of the network VSP.
#pragma once

#include "netvsp.h"

// ---- netvsp.c --------------------------------------------------------------------------------

// The size of every NVSP message in the negotiated version.
uint32_t netvsp_message_size(const struct netvsp *vsp);

// Completes a packet with an NVSP message of this type and body. The caller has made sure that
// there is room.
void netvsp_complete(struct netvsp *vsp, struct vmbus_channel *channel, uint64_t id, uint32_t type,
                     const void *body, uint32_t size);

// State of a channel that has just been opened, or is closed.
void netvsp_start(struct netvsp *vsp);

// ---- netvsp_init.c: everything but packets ---------------------------------------------------

// Handles an NVSP message other than SEND_RNDIS, `size` bytes of it. The caller has made sure that
// there is room for a completion.
void netvsp_control(struct netvsp *vsp, const uint8_t *message, uint32_t size,
                    const struct vmbus_packet *packet);

// Whether we speak this enum nvsp_version.
bool netvsp_version_known(uint32_t version);

// Tells the guest which channels to send through, once all subchannels are open.
void netvsp_send_table(struct netvsp *vsp);

// ---- netvsp_buffers.c ------------------------------------------------------------------------

// Takes hold of the guest's buffers and gives them back. The take functions return an nvsp_status.
uint32_t netvsp_take_receive(struct netvsp *vsp, uint32_t gpadl, uint16_t id);
uint32_t netvsp_take_send(struct netvsp *vsp, uint32_t gpadl, uint16_t id);
void netvsp_drop_receive(struct netvsp *vsp);
void netvsp_drop_send(struct netvsp *vsp);

enum { NETVSP_NO_SLOT = UINT16_MAX };

enum netvsp_slot_state {
    NETVSP_SLOT_FREE,
    NETVSP_SLOT_TAKEN, // ours, or a transfer's but not its first
    NETVSP_SLOT_FIRST, // the first of a transfer that the guest has
};

// A free slot, or NETVSP_NO_SLOT; data leaves some for control messages.
uint16_t netvsp_slot_take(struct netvsp *vsp, bool control);
void netvsp_slot_give(struct netvsp *vsp, uint16_t slot);

// The id that a transfer which begins with this slot will have, and its beginning: the guest has
// been told of it through the queue.
uint64_t netvsp_transfer_id(const struct netvsp *vsp, uint16_t first);
void netvsp_transfer_begin(struct netvsp *vsp, uint16_t first, uint32_t queue);

// The guest has completed a transfer: its slots are free again. False: there is none of that id.
bool netvsp_transfer_end(struct netvsp *vsp, uint64_t id, uint32_t queue);

// The channel is closed: nothing that went through it will be completed.
void netvsp_transfers_forget(struct netvsp *vsp, uint32_t queue);

// Restoring: takes this very slot, behind `last` in its transfer (NETVSP_NO_SLOT: it begins one).
// False: it is not free. After the last one netvsp_slots_collect() makes the list of free ones
// anew.
bool netvsp_slot_restore(struct netvsp *vsp, uint16_t slot, uint16_t last);
void netvsp_slots_collect(struct netvsp *vsp);

// ---- netvsp_save.c ---------------------------------------------------------------------------

// As in struct vmbus_device_ops.
void netvsp_save(void *device, struct vmbus_channel *primary, struct blob_writer *blob);
bool netvsp_restore(void *device, struct vmbus_channel *primary, struct blob_reader *blob);

// ---- netvsp_tx.c -----------------------------------------------------------------------------

// The RNDIS messages of one SEND_RNDIS. *frames counts what went to the switch. Returns an
// nvsp_status.
uint32_t netvsp_transmit(struct netvsp *vsp, uint32_t queue, const struct nvsp_rndis *rndis,
                         const struct vmbus_packet *packet, uint32_t *frames);

// ---- netvsp_rx.c -----------------------------------------------------------------------------

// A place for a control message to the guest; NULL: too many wait.
struct netvsp_reply *netvsp_reply_new(struct netvsp *vsp);

// Gives the guest what waits for it, as far as rings and receive buffer allow, and at most
// NETVSP_WAKE_FRAMES frames. True: there is more that could go at once.
bool netvsp_receive_run(struct netvsp *vsp);
