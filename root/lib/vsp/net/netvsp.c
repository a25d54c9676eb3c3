// SPDX-License-Identifier: BSD-2-Clause-Patent
// Network VSP, life of the adapter and its channels: contract in netvsp.h.
#include "netvsp_priv.h"

#include "../../mem.h"
#include "../wire.h"

enum {
    PACKET_MAX = 128, // payload of what a guest sends; NVSP needs NVSP_SIZE_61
};

uint32_t netvsp_message_size(const struct netvsp *vsp)
{
    return vsp->version >= NVSP_VERSION_61 ? NVSP_SIZE_61 : NVSP_SIZE;
}

void netvsp_complete(struct netvsp *vsp, struct vmbus_channel *channel, uint64_t id, uint32_t type,
                     const void *body, uint32_t size)
{
    uint8_t message[NVSP_SIZE_61] = {0};

    le32_put(message, type);
    memcpy(message + NVSP_BODY, body, size);
    vmbus_channel_complete(channel, id, message, netvsp_message_size(vsp));
}

// ---- packets from the guest --------------------------------------------------------------------

static void complete_rndis(struct netvsp *vsp, struct vmbus_channel *channel,
                           const struct vmbus_packet *packet, uint32_t status)
{
    vsp->statistics.refused_packets += status != NVSP_STATUS_SUCCESS;
    if (packet->wants_completion) {
        netvsp_complete(vsp, channel, packet->transaction_id, NVSP_SEND_RNDIS_COMPLETE, &status,
                        sizeof status);
    }
}

// Returns how many frames it came to.
static uint32_t handle_message(struct netvsp *vsp, uint32_t queue,
                               const struct vmbus_packet *packet)
{
    struct vmbus_channel *channel = vsp->queues[queue].channel;
    const uint8_t *message = packet->buffer;
    uint32_t frames = 0;

    if (packet->size >= NVSP_BODY + sizeof(struct nvsp_rndis) &&
        le32_get(message) == NVSP_SEND_RNDIS && vsp->version) {
        const struct nvsp_rndis rndis = {le32_get(message + 4), le32_get(message + 8),
                                         le32_get(message + 12)};
        complete_rndis(vsp, channel, packet, netvsp_transmit(vsp, queue, &rndis, packet, &frames));
    } else if (queue == 0) {
        netvsp_control(vsp, message, packet->size, packet);
    } else {
        vmbus_channel_fail(vsp->primary, "control message on a subchannel of a network adapter");
    }
    return frames;
}

static void handle_packet(struct netvsp *vsp, uint32_t queue, enum vmbus_read result,
                          const struct vmbus_packet *packet, uint32_t *frames)
{
    if (packet->type == VMBUS_PACKET_COMPLETION) {
        vsp->statistics.refused_transfers +=
            !netvsp_transfer_end(vsp, packet->transaction_id, queue);
    } else if (result == VMBUS_READ_OVERSIZE) {
        complete_rndis(vsp, vsp->queues[queue].channel, packet, NVSP_STATUS_INVALID_RNDIS);
    } else {
        *frames += handle_message(vsp, queue, packet);
    }
}

static void read_packets(struct netvsp *vsp, uint32_t queue)
{
    struct vmbus_channel *channel = vsp->queues[queue].channel;
    uint32_t frames = 0;
    uint8_t payload[PACKET_MAX];

    while (frames < NETVSP_WAKE_FRAMES &&
           vmbus_channel_room(channel, 1, netvsp_message_size(vsp))) {
        struct vmbus_packet packet = {
            .buffer = payload,
            .capacity = sizeof payload,
            .words = vsp->config.scratch->words,
            .word_capacity = NETVSP_WORDS,
        };
        const enum vmbus_read result = vmbus_channel_read(channel, &packet);
        if (result != VMBUS_READ_PACKET && result != VMBUS_READ_OVERSIZE) {
            return;
        }
        handle_packet(vsp, queue, result, &packet, &frames);
    }
    if (frames >= NETVSP_WAKE_FRAMES) {
        vmbus_channel_wake(channel);
    }
}

// ---- link --------------------------------------------------------------------------------------

// Linux guests do not follow rapid changes: they are told the last state, at intervals.
static void update_link(struct netvsp *vsp)
{
    const uint64_t now = vmbus_channel_now(vsp->primary);
    struct netvsp_reply *reply = netvsp_reply_new(vsp);

    if (vsp->nic.link_up == vsp->link_wanted) {
        vsp->link_due = false;
    } else if (!vsp->nic.initialized) {
        vsp->nic.link_up = vsp->link_wanted;
        vsp->link_due = false;
    } else if (vsp->link_changed && now - vsp->link_changed < NETVSP_LINK_DELAY_100NS) {
        vmbus_channel_set_deadline(vsp->primary, vsp->link_changed + NETVSP_LINK_DELAY_100NS);
    } else if (reply) {
        vsp->nic.link_up = vsp->link_wanted;
        vsp->link_changed = now;
        vsp->link_due = false;
        reply->size = rndis_indicate(vsp->link_wanted ? RNDIS_STATUS_MEDIA_CONNECT
                                                      : RNDIS_STATUS_MEDIA_DISCONNECT,
                                     reply->bytes);
        vsp->reply_count++;
    }
}

// ---- channel callbacks -------------------------------------------------------------------------

void netvsp_start(struct netvsp *vsp)
{
    vsp->version = 0;
    vsp->granted = vsp->opened = 0;
    vsp->table_due = false;
    vsp->reply_first = vsp->reply_count = 0;
    vsp->link_changed = 0;
    vsp->link_due = true;
    vsp->nic.ndis_version = 0;
    vsp->nic.frame_max = ETHER_FRAME_STANDARD;
    vsp->nic.tags = false;
    switch_set_max_frame(&vsp->nic.port, ETHER_FRAME_STANDARD);
    nic_reset(&vsp->nic);
    frame_queue_clear(&vsp->nic.port.queue);
}

static void on_open(void *device, struct vmbus_channel *channel, const struct vmbus_open *open)
{
    struct netvsp *vsp = device;
    const uint32_t index = vmbus_channel_index(channel);

    (void)open;
    if (index >= vsp->config.queues || vsp->queues[index].channel ||
        (index && index > vsp->granted)) {
        vmbus_channel_opened(channel, VMBUS_STATUS_FAILED);
        return;
    }
    if (index == 0) {
        netvsp_start(vsp);
    } else {
        vsp->opened++;
        vsp->table_due = vsp->opened == vsp->granted;
    }
    vsp->queues[index].channel = channel;
    vsp->queues[index].batched = 0;
    vmbus_channel_opened(channel, VMBUS_STATUS_OK);
    if (vsp->table_due) {
        vmbus_channel_wake(vsp->primary);
    }
}

static void on_close(void *device, struct vmbus_channel *channel)
{
    struct netvsp *vsp = device;
    const uint32_t index = vmbus_channel_index(channel);

    if (index < NIC_QUEUES_MAX && vsp->queues[index].channel == channel) {
        netvsp_transfers_forget(vsp, index);
        vsp->queues[index].channel = 0;
        if (index == 0) {
            netvsp_drop_receive(vsp);
            netvsp_drop_send(vsp);
            netvsp_start(vsp);
        } else if (vsp->opened) {
            vsp->opened--;
        }
    }
    vmbus_channel_closed(channel);
}

static void on_wake(void *device, struct vmbus_channel *channel)
{
    struct netvsp *vsp = device;
    const uint32_t index = vmbus_channel_index(channel);

    if (index >= NIC_QUEUES_MAX || vsp->queues[index].channel != channel) {
        return;
    }
    read_packets(vsp, index);
    if (!vsp->queues[0].channel) {
        return;
    }
    if (vsp->table_due) {
        netvsp_send_table(vsp);
    }
    if (vsp->link_due) {
        update_link(vsp);
    }
    if (netvsp_receive_run(vsp)) {
        vmbus_channel_wake(vsp->primary);
    }
}

static void on_gpadl_revoked(void *device, struct vmbus_channel *channel, uint32_t gpadl)
{
    struct netvsp *vsp = device;

    (void)channel;
    if (vsp->receive.buffer.held && vsp->receive.buffer.gpadl == gpadl) {
        netvsp_drop_receive(vsp);
    }
    if (vsp->send.buffer.held && vsp->send.buffer.gpadl == gpadl) {
        netvsp_drop_send(vsp);
    }
}

static void on_released(void *device, struct vmbus_channel *channel)
{
    struct netvsp *vsp = device;

    if (vsp->primary == channel) {
        vsp->primary = 0;
    }
}

static const struct vmbus_device_ops ops = {
    .open = on_open,
    .close = on_close,
    .wake = on_wake,
    .gpadl_revoked = on_gpadl_revoked,
    .released = on_released,
    .save = netvsp_save,
    .restore = netvsp_restore,
};

// ---- the owner's side --------------------------------------------------------------------------

static void frames_wait(void *ctx)
{
    const struct netvsp *vsp = ctx;

    if (vsp->queues[0].channel) {
        vmbus_channel_wake(vsp->primary);
    }
}

static bool config_valid(const struct netvsp_config *config)
{
    return config->frame_max >= ETHER_FRAME_STANDARD && config->frame_max <= ETHER_FRAME_MAX &&
           config->queues >= 1 && config->queues <= NIC_QUEUES_MAX &&
           config->slot_count >= NETVSP_SLOTS_MIN && config->slot_count <= NETVSP_SLOTS_MAX &&
           !ether_is_zero(config->address.byte) && config->name[NIC_NAME_MAX - 1] == 0;
}

static bool attach(struct netvsp *vsp, const struct netvsp_config *config)
{
    const struct port_config port = {
        .address = config->address,
        .flags = config->port_flags,
        .max_frame = ETHER_FRAME_STANDARD,
        .learn_max = SWITCH_MACS / SWITCH_PORTS_MAX,
        .vlan = config->vlan,
        .ctx = vsp,
        .wake = frames_wait,
    };
    return switch_attach(config->sw, &vsp->nic.port, &port, config->queue_memory,
                         config->queue_size);
}

bool netvsp_create(struct netvsp *vsp, struct vmbus_server *server,
                   const struct netvsp_config *config)
{
    struct vmbus_offer offer = {
        .class_id =
            VMBUS_GUID(0xf8615163, 0xdf3e, 0x46c5, 0x91, 0x3f, 0xf2, 0xd2, 0xf9, 0x65, 0xed, 0x0e),
        .instance_id = config->instance_id,
        .order = config->order,
    };

    memset(vsp, 0, sizeof *vsp);
    if (!config_valid(config) || !attach(vsp, config)) {
        return false;
    }
    vsp->config = *config;
    vsp->nic.sw = config->sw;
    vsp->nic.permanent = config->address;
    vsp->nic.link_bps = config->link_bps;
    vsp->nic.queues = config->queues;
    memcpy(vsp->nic.name, config->name, sizeof vsp->nic.name);
    vsp->nic.link_up = vsp->link_wanted = true;
    netvsp_start(vsp);
    vsp->primary = vmbus_channel_offer(server, &offer, &ops, vsp);
    if (!vsp->primary) {
        switch_detach(config->sw, &vsp->nic.port);
    }
    return vsp->primary != 0;
}

void netvsp_remove(struct netvsp *vsp)
{
    switch_detach(vsp->config.sw, &vsp->nic.port);
    if (vsp->primary) {
        vmbus_channel_rescind(vsp->primary);
    }
}

bool netvsp_gone(const struct netvsp *vsp)
{
    return !vsp->primary;
}

void netvsp_set_link(struct netvsp *vsp, bool up)
{
    vsp->link_wanted = up;
    vsp->link_due = true;
    if (vsp->queues[0].channel) {
        vmbus_channel_wake(vsp->primary);
    }
}
