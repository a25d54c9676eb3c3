// SPDX-License-Identifier: BSD-2-Clause-Patent
// Saved state of the network VSP. Frames that wait, on the switch or in a batch that the guest has
// not been told of, are lost, as on any network. What comes back is hostile: it gets the checks
// that a guest's messages get.
#include "../../mem.h"
#include "netvsp_priv.h"

enum { NETVSP_SAVED_VERSION = 1 };

// ---- save --------------------------------------------------------------------------------------

static void save_nic(const struct nic *nic, struct blob_writer *blob)
{
    blob_put_u32(blob, nic->ndis_version);
    blob_put_u32(blob, nic->frame_max);
    blob_put_u8(blob, nic->tags);
    blob_put_u8(blob, nic->initialized);
    blob_put_u32(blob, nic->port.filter);
    blob_put_u32(blob, nic->port.group_count);
    blob_put_bytes(blob, nic->port.groups, nic->port.group_count * sizeof nic->port.groups[0]);
    blob_put_u32(blob, nic->offload.transmit);
    blob_put_u32(blob, nic->offload.receive);
    blob_put_u32(blob, nic->offload.lso);
    blob_put_u8(blob, nic->rss.enabled);
    blob_put_u32(blob, nic->rss.types);
    blob_put_u32(blob, nic->rss.table_size);
    blob_put_bytes(blob, nic->rss.table, nic->rss.table_size);
    blob_put_bytes(blob, nic->rss.key, sizeof nic->rss.key);
}

static void save_buffer(const struct netvsp_buffer *buffer, struct blob_writer *blob)
{
    blob_put_u8(blob, buffer->held);
    blob_put_u32(blob, buffer->gpadl);
    blob_put_u16(blob, buffer->id);
}

// Each transfer that the guest has: its slots from the first on.
static void save_transfers(const struct netvsp *vsp, struct blob_writer *blob)
{
    for (uint32_t i = 0; i < vsp->receive.slots; i++) {
        const struct netvsp_slot *slot = &vsp->config.slots[i];
        if (slot->state != NETVSP_SLOT_FIRST) {
            continue;
        }
        blob_put_u8(blob, 1);
        blob_put_u8(blob, slot->queue);
        blob_put_u32(blob, slot->stamp);
        for (uint16_t at = (uint16_t)i; at != NETVSP_NO_SLOT; at = vsp->config.slots[at].next) {
            blob_put_u16(blob, at);
        }
        blob_put_u16(blob, NETVSP_NO_SLOT);
    }
    blob_put_u8(blob, 0);
}

static void save_replies(const struct netvsp *vsp, struct blob_writer *blob)
{
    blob_put_u32(blob, vsp->reply_count);
    for (uint32_t i = 0; i < vsp->reply_count; i++) {
        const struct netvsp_reply *reply = &vsp->replies[(vsp->reply_first + i) % NETVSP_REPLIES];
        blob_put_u32(blob, reply->size);
        blob_put_bytes(blob, reply->bytes, reply->size);
    }
}

void netvsp_save(void *device, struct vmbus_channel *primary, struct blob_writer *blob)
{
    const struct netvsp *vsp = device;
    const bool open = vsp->queues[0].channel != 0;

    (void)primary;
    blob_put_u32(blob, NETVSP_SAVED_VERSION);
    blob_put_bytes(blob, vsp->nic.port.config.address.byte, ETHER_ADDRESS);
    blob_put_u8(blob, vsp->nic.link_up);
    blob_put_u8(blob, open);
    if (!open) {
        return;
    }
    blob_put_u32(blob, vsp->version);
    blob_put_u32(blob, vsp->granted);
    blob_put_u8(blob, vsp->table_due);
    save_nic(&vsp->nic, blob);
    save_buffer(&vsp->send.buffer, blob);
    save_buffer(&vsp->receive.buffer, blob);
    blob_put_u32(blob, vsp->receive.slots);
    blob_put_u32(blob, vsp->receive.stamp);
    save_transfers(vsp, blob);
    save_replies(vsp, blob);
}

// ---- restore -----------------------------------------------------------------------------------

static void restore_rss(struct nic *nic, struct blob_reader *blob)
{
    struct rss *rss = &nic->rss;

    rss->enabled = blob_get_bool(blob);
    rss->types = blob_get_u32(blob) & RSS_TYPES;
    rss->table_size = blob_get_max(blob, RSS_TABLE_MAX);
    blob_get_bytes(blob, rss->table, rss->table_size);
    blob_get_bytes(blob, rss->key, sizeof rss->key);
    if ((rss->table_size & (rss->table_size - 1)) || (rss->enabled && !rss->table_size)) {
        blob_fail(blob);
    }
    for (uint32_t i = 0; i < rss->table_size; i++) {
        if (rss->table[i] >= nic->queues) {
            blob_fail(blob);
        }
    }
}

static void restore_nic(struct nic *nic, uint32_t frame_max, struct blob_reader *blob)
{
    struct ether_address groups[SWITCH_GROUPS_MAX];

    nic->ndis_version = blob_get_u32(blob);
    nic->frame_max = blob_get_max(blob, frame_max);
    if (nic->frame_max < ETHER_FRAME_STANDARD) {
        nic->frame_max = ETHER_FRAME_STANDARD;
        blob_fail(blob);
    }
    switch_set_max_frame(&nic->port, nic->frame_max);
    nic->tags = blob_get_bool(blob);
    nic->initialized = blob_get_bool(blob);
    switch_set_filter(&nic->port, blob_get_u32(blob));
    const uint32_t count = blob_get_max(blob, SWITCH_GROUPS_MAX);
    blob_get_bytes(blob, groups, count * sizeof groups[0]);
    if (blob->failed || !switch_set_groups(&nic->port, groups, count)) {
        blob_fail(blob);
    }
    nic->offload.transmit = blob_get_u32(blob) & NIC_CHECKSUMS;
    nic->offload.receive = blob_get_u32(blob) & NIC_CHECKSUMS;
    nic->offload.lso = blob_get_u32(blob) & NIC_LSO;
    restore_rss(nic, blob);
}

static void restore_send(struct netvsp *vsp, struct blob_reader *blob)
{
    const bool held = blob_get_bool(blob);
    const uint32_t gpadl = blob_get_u32(blob);
    const uint16_t id = blob_get_u16(blob);

    if (held && (blob->failed || netvsp_take_send(vsp, gpadl, id) != NVSP_STATUS_SUCCESS)) {
        blob_fail(blob);
    }
}

static void restore_transfers(struct netvsp *vsp, struct blob_reader *blob)
{
    while (blob_get_bool(blob) && !blob->failed) {
        const uint8_t queue = blob_get_u8(blob);
        const uint32_t stamp = blob_get_u32(blob);
        uint16_t slot = blob_get_u16(blob), last = NETVSP_NO_SLOT;
        const uint16_t first = slot;

        while (!blob->failed && slot != NETVSP_NO_SLOT) {
            if (slot >= vsp->receive.slots || !netvsp_slot_restore(vsp, slot, last)) {
                blob_fail(blob);
                return;
            }
            last = slot;
            slot = blob_get_u16(blob);
        }
        if (blob->failed || first == NETVSP_NO_SLOT || queue >= vsp->config.queues) {
            blob_fail(blob);
            return;
        }
        vsp->config.slots[first].state = NETVSP_SLOT_FIRST;
        vsp->config.slots[first].queue = queue;
        vsp->config.slots[first].stamp = stamp;
    }
}

static void restore_receive(struct netvsp *vsp, struct blob_reader *blob)
{
    const bool held = blob_get_bool(blob);
    const uint32_t gpadl = blob_get_u32(blob);
    const uint16_t id = blob_get_u16(blob);
    const uint32_t slots = blob_get_u32(blob);

    vsp->receive.stamp = blob_get_u32(blob);
    if (held && (blob->failed || netvsp_take_receive(vsp, gpadl, id) != NVSP_STATUS_SUCCESS)) {
        blob_fail(blob);
    }
    // The guest has been told how many there are.
    if (slots != vsp->receive.slots) {
        blob_fail(blob);
    }
    if (!blob->failed) {
        restore_transfers(vsp, blob);
        netvsp_slots_collect(vsp);
    }
}

static void restore_replies(struct netvsp *vsp, struct blob_reader *blob)
{
    const uint32_t count = blob_get_max(blob, NETVSP_REPLIES);

    vsp->reply_first = 0;
    for (uint32_t i = 0; i < count; i++) {
        vsp->replies[i].size = blob_get_max(blob, NIC_REPLY_MAX);
        blob_get_bytes(blob, vsp->replies[i].bytes, vsp->replies[i].size);
    }
    vsp->reply_count = blob->failed ? 0 : count;
}

static void restore_queues(struct netvsp *vsp, struct vmbus_channel *primary)
{
    vsp->queues[0].channel = primary;
    for (uint32_t i = 1; i <= vsp->granted; i++) {
        struct vmbus_channel *sub = vmbus_channel_sub(primary, i);
        if (sub && vmbus_channel_is_open(sub)) {
            vsp->queues[i].channel = sub;
            vsp->opened++;
        }
    }
}

static void restore_open(struct netvsp *vsp, struct vmbus_channel *primary,
                         struct blob_reader *blob)
{
    vsp->version = blob_get_u32(blob);
    if (vsp->version && !netvsp_version_known(vsp->version)) {
        blob_fail(blob);
    }
    vsp->granted = blob_get_max(blob, vsp->config.queues - 1);
    vsp->table_due = blob_get_bool(blob);
    restore_nic(&vsp->nic, vsp->config.frame_max, blob);
    restore_send(vsp, blob);
    restore_receive(vsp, blob);
    restore_replies(vsp, blob);
    if (blob->failed || !vmbus_channel_is_open(primary)) {
        blob_fail(blob);
        netvsp_drop_send(vsp);
        netvsp_drop_receive(vsp);
        netvsp_start(vsp);
        return;
    }
    restore_queues(vsp, primary);
}

bool netvsp_restore(void *device, struct vmbus_channel *primary, struct blob_reader *blob)
{
    struct netvsp *vsp = device;
    struct ether_address address;

    if (blob_get_u32(blob) != NETVSP_SAVED_VERSION) {
        return false;
    }
    blob_get_bytes(blob, address.byte, ETHER_ADDRESS);
    vsp->nic.link_up = blob_get_bool(blob);
    const bool open = blob_get_bool(blob);
    if (blob->failed || !switch_set_address(vsp->nic.sw, &vsp->nic.port, &address)) {
        return false;
    }
    if (open) {
        restore_open(vsp, primary, blob);
    }
    vsp->link_due = true;
    return !blob->failed;
}
