// SPDX-License-Identifier: BSD-2-Clause-Patent
// Save and restore of a server and its devices: contract in server.h.
//
// The blob: magic, version, the protocol state (bus_save.c), a message that waits to be posted, and
// for each primary channel its number and the device's own bytes. Ring indices are not in it: those
// in guest memory are the same, since everything has been published.
#include "../mem.h"
#include "server_priv.h"

enum {
    BLOB_MAGIC = 0x53424D56, // "VMBS"
    BLOB_VERSION = 1,
};

static bool is_primary(const struct bus_channel *state, uint16_t index)
{
    return state->used && !state->leaving && state->primary == index;
}

// The device writes behind its length, which is known afterwards.
static void save_device(struct vmbus_channel *channel, struct blob_writer *blob)
{
    struct blob_writer length = *blob;
    struct blob_writer part = {0};

    blob_put_u32(blob, 0);
    if (blob_fits(blob)) {
        part.data = blob->data + blob->used;
        part.capacity = blob->capacity - blob->used;
    }
    channel->ops->save(channel->device, channel, &part);
    blob->used += part.used;
    blob_put_u32(&length, (uint32_t)part.used);
}

static void save_devices(struct vmbus_server *server, struct blob_writer *blob)
{
    for (uint32_t i = 0; i < server->bus.limits.channels; i++) {
        struct vmbus_channel *channel = &server->channels[i];
        if (is_primary(&server->bus.channels[i], (uint16_t)i) && channel->ops->save) {
            blob_put_u16(blob, (uint16_t)i);
            save_device(channel, blob);
        }
    }
    blob_put_u16(blob, BUS_NONE);
}

bool vmbus_server_save(struct vmbus_server *server, struct blob_writer *blob)
{
    if (!bus_is_at_rest(&server->bus)) {
        return false;
    }
    for (uint32_t i = 0; i < server->bus.limits.channels; i++) {
        vmbus_channel_flush(&server->channels[i]);
    }
    blob_put_u32(blob, BLOB_MAGIC);
    blob_put_u32(blob, BLOB_VERSION);
    bus_save(&server->bus, blob);
    blob_put_u8(blob, server->has_post);
    if (server->has_post) {
        bus_save_post(blob, &server->post);
    }
    save_devices(server, blob);
    return blob_fits(blob);
}

// Subchannels have the device of their primary; what is only a relid has none.
static void bind_channels(struct vmbus_server *server)
{
    for (uint32_t i = 0; i < server->bus.limits.channels; i++) {
        const struct bus_channel *state = &server->bus.channels[i];
        const struct vmbus_channel *primary = &server->channels[state->primary];
        if (state->used && state->leaving) {
            vmbus_channel_bind(server, (uint16_t)i, NULL, NULL);
        } else if (state->used && state->primary != i) {
            vmbus_channel_bind(server, (uint16_t)i, primary->ops, primary->device);
        }
    }
}

// Channels whose rings the guest has broken, or whose device cannot go on, are rescinded.
static void attach_channels(struct vmbus_server *server)
{
    for (uint32_t i = 0; i < server->bus.limits.channels; i++) {
        struct vmbus_channel *channel = &server->channels[i];
        if (server->bus.channels[i].used && vmbus_channel_is_open(channel) &&
            !vmbus_channel_attach(channel)) {
            bus_fail(&server->bus, (uint16_t)i);
        }
    }
}

// The part of the blob that is a device's.
static void restore_device(struct vmbus_server *server, uint16_t number, struct blob_reader *blob)
{
    const uint16_t index = bus_restored(&server->bus, number);
    const uint32_t size = blob_get_u32(blob);

    if (blob->failed || size > blob->size - blob->used || index == BUS_NONE ||
        !is_primary(&server->bus.channels[index], index)) {
        blob_fail(blob);
        return;
    }
    struct vmbus_channel *channel = &server->channels[index];
    struct blob_reader part = {.data = blob->data + blob->used, .size = size};
    blob->used += size;
    if (channel->restored || !channel->ops->restore) {
        blob_fail(blob);
        return;
    }
    channel->restored = true;
    vmbus_channel_enter(channel);
    if (!channel->ops->restore(channel->device, channel, &part) || part.failed) {
        blob_fail(blob);
    }
    vmbus_channel_exit(channel);
}

static void restore_devices(struct vmbus_server *server, struct blob_reader *blob)
{
    uint16_t number;

    while ((number = blob_get_u16(blob)) != BUS_NONE && !blob->failed) {
        restore_device(server, number, blob);
    }
}

// Signals may have been lost: both ends look at their rings. A device that has no state to go on
// with begins anew.
static void resume_channels(struct vmbus_server *server)
{
    for (uint32_t i = 0; i < server->bus.limits.channels; i++) {
        struct vmbus_channel *channel = &server->channels[i];
        const struct bus_channel *state = &server->bus.channels[i];
        if (!state->used || !vmbus_channel_is_open(channel)) {
            continue;
        }
        if (!server->channels[state->primary].restored) {
            bus_restart(&server->bus, state->primary);
            continue;
        }
        vmbus_channel_wake(channel);
        if (state->request.target_vp != VMBUS_NO_INTERRUPTS) {
            server->host.signal_event(server->host.ctx, state->request.target_vp, VMBUS_SINT,
                                      state->relid);
        }
    }
}

bool vmbus_server_restore(struct vmbus_server *server, struct blob_reader *blob)
{
    if (blob_get_u32(blob) != BLOB_MAGIC || blob_get_u32(blob) != BLOB_VERSION ||
        !bus_restore(&server->bus, blob)) {
        return false;
    }
    server->has_post = blob_get_bool(blob);
    if (server->has_post) {
        bus_restore_post(blob, &server->post);
    }
    if (blob->failed) {
        return false;
    }
    bind_channels(server);
    attach_channels(server);
    restore_devices(server, blob);
    if (blob->failed) {
        return false;
    }
    resume_channels(server);
    return true;
}
