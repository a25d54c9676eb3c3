// SPDX-License-Identifier: BSD-2-Clause-Patent
// The guest's send and receive buffers and the accounting of their parts. The send buffer is the
// guest's to share out; of the receive buffer we do: a slot is free, or in a batch that is being
// filled (taken), or with the guest. The slots of one transfer are a list; its id is the number of
// the first one, with a stamp that makes old ids invalid.
#include "netvsp_priv.h"

enum {
    HEADROOM = 256, // RNDIS header and per-packet information, a tag; what Hyper-V reserves
    TAILROOM = 36,  // Windows may write that far behind the frame
};

static bool take(struct netvsp *vsp, struct netvsp_buffer *buffer, uint32_t gpadl, uint16_t id)
{
    buffer->held = vmbus_gpadl_acquire(vsp->primary, gpadl, &buffer->ranges);
    buffer->gpadl = gpadl;
    buffer->id = id;
    return buffer->held;
}

static void drop(struct netvsp *vsp, struct netvsp_buffer *buffer)
{
    if (buffer->held) {
        buffer->held = false;
        vmbus_gpadl_release(vsp->primary, buffer->gpadl);
    }
}

uint32_t netvsp_take_receive(struct netvsp *vsp, uint32_t gpadl, uint16_t id)
{
    struct netvsp_receive *receive = &vsp->receive;

    if (receive->buffer.held || !take(vsp, &receive->buffer, gpadl, id)) {
        return NVSP_STATUS_FAILURE;
    }
    receive->slot_size = (HEADROOM + vsp->nic.frame_max + TAILROOM + 7) & ~7u;
    const uint64_t fit = receive->buffer.ranges.size / receive->slot_size;
    receive->slots = fit < vsp->config.slot_count ? (uint32_t)fit : vsp->config.slot_count;
    if (receive->slots < NETVSP_SLOTS_MIN) {
        drop(vsp, &receive->buffer);
        return NVSP_STATUS_FAILURE;
    }
    receive->free_count = 0;
    receive->free_first = NETVSP_NO_SLOT;
    for (uint32_t i = receive->slots; i-- > 0;) {
        netvsp_slot_give(vsp, (uint16_t)i);
    }
    vsp->nic.receive_space = receive->slots * receive->slot_size;
    return NVSP_STATUS_SUCCESS;
}

void netvsp_drop_receive(struct netvsp *vsp)
{
    drop(vsp, &vsp->receive.buffer);
    vsp->receive.slots = vsp->receive.free_count = 0;
    vsp->receive.free_first = NETVSP_NO_SLOT;
    vsp->nic.receive_space = 0;
    for (uint32_t i = 0; i < NIC_QUEUES_MAX; i++) {
        vsp->queues[i].batched = 0;
    }
}

uint32_t netvsp_take_send(struct netvsp *vsp, uint32_t gpadl, uint16_t id)
{
    struct netvsp_send *send = &vsp->send;

    if (send->buffer.held || !take(vsp, &send->buffer, gpadl, id)) {
        return NVSP_STATUS_FAILURE;
    }
    const uint64_t sections = send->buffer.ranges.size / NETVSP_SECTION;
    send->sections = sections < UINT32_MAX ? (uint32_t)sections : UINT32_MAX - 1;
    vsp->nic.send_space = send->sections * NETVSP_SECTION;
    return NVSP_STATUS_SUCCESS;
}

void netvsp_drop_send(struct netvsp *vsp)
{
    drop(vsp, &vsp->send.buffer);
    vsp->send.sections = 0;
    vsp->nic.send_space = 0;
}

uint16_t netvsp_slot_take(struct netvsp *vsp, bool control)
{
    struct netvsp_receive *receive = &vsp->receive;
    const uint32_t reserve = control ? 0 : NETVSP_SLOTS_CONTROL;

    if (!receive->buffer.held || receive->free_count <= reserve) {
        return NETVSP_NO_SLOT;
    }
    const uint16_t slot = receive->free_first;
    receive->free_first = vsp->config.slots[slot].next;
    receive->free_count--;
    vsp->config.slots[slot].state = NETVSP_SLOT_TAKEN;
    vsp->config.slots[slot].next = NETVSP_NO_SLOT;
    return slot;
}

void netvsp_slot_give(struct netvsp *vsp, uint16_t slot)
{
    vsp->config.slots[slot].state = NETVSP_SLOT_FREE;
    vsp->config.slots[slot].next = vsp->receive.free_first;
    vsp->receive.free_first = slot;
    vsp->receive.free_count++;
}

// Linux takes transaction id 0 for none: slot numbers count from 1.
uint64_t netvsp_transfer_id(const struct netvsp *vsp, uint16_t first)
{
    return (uint64_t)(vsp->receive.stamp + 1) << 32 | (first + 1u);
}

void netvsp_transfer_begin(struct netvsp *vsp, uint16_t first, uint32_t queue)
{
    struct netvsp_slot *slot = &vsp->config.slots[first];

    slot->state = NETVSP_SLOT_FIRST;
    slot->queue = (uint8_t)queue;
    slot->stamp = ++vsp->receive.stamp;
}

static void give_list(struct netvsp *vsp, uint16_t first)
{
    while (first != NETVSP_NO_SLOT) {
        const uint16_t next = vsp->config.slots[first].next;
        netvsp_slot_give(vsp, first);
        first = next;
    }
}

bool netvsp_transfer_end(struct netvsp *vsp, uint64_t id, uint32_t queue)
{
    const uint32_t number = (uint32_t)id;

    if (number == 0 || number > vsp->receive.slots) {
        return false;
    }
    const struct netvsp_slot *slot = &vsp->config.slots[number - 1];
    if (slot->state != NETVSP_SLOT_FIRST || slot->queue != queue || slot->stamp != id >> 32) {
        return false;
    }
    give_list(vsp, (uint16_t)(number - 1));
    return true;
}

void netvsp_transfers_forget(struct netvsp *vsp, uint32_t queue)
{
    for (uint32_t i = 0; i < vsp->receive.slots; i++) {
        if (vsp->config.slots[i].state == NETVSP_SLOT_FIRST &&
            vsp->config.slots[i].queue == queue) {
            give_list(vsp, (uint16_t)i);
        }
    }
    if (vsp->queues[queue].batched) {
        vsp->queues[queue].batched = 0;
        if (vsp->receive.slots) {
            give_list(vsp, vsp->queues[queue].first);
        }
    }
}

bool netvsp_slot_restore(struct netvsp *vsp, uint16_t slot, uint16_t last)
{
    struct netvsp_slot *slots = vsp->config.slots;

    if (slots[slot].state != NETVSP_SLOT_FREE) {
        return false;
    }
    slots[slot].state = NETVSP_SLOT_TAKEN;
    slots[slot].next = NETVSP_NO_SLOT;
    if (last != NETVSP_NO_SLOT) {
        slots[last].next = slot;
    }
    return true;
}

void netvsp_slots_collect(struct netvsp *vsp)
{
    vsp->receive.free_count = 0;
    vsp->receive.free_first = NETVSP_NO_SLOT;
    for (uint32_t i = vsp->receive.slots; i-- > 0;) {
        if (vsp->config.slots[i].state == NETVSP_SLOT_FREE) {
            netvsp_slot_give(vsp, (uint16_t)i);
        }
    }
}
