// SPDX-License-Identifier: BSD-2-Clause-Patent
// Storage VSP: channels, requests and their flow. Contract in storvsp.h.
#include "storvsp_priv.h"

enum { REQUESTS_MAX = 4096, SUB_CHANNELS_MAX = 255, BLOB_VERSION = 1 };

static const struct vmbus_guid class_id =
    VMBUS_GUID(0xBA6163D9, 0x04A1, 0x4D29, 0xB6, 0x05, 0x72, 0xE2, 0xFF, 0xB1, 0xDC, 0x7F);

// ---- requests ----------------------------------------------------------------------------------

static void wake_all(struct storvsp *storvsp)
{
    for (uint32_t i = 0; i <= storvsp->limits.subchannels; i++) {
        const struct stor_channel *channel = &storvsp->channels[i];
        if (channel->channel && channel->open && !channel->closing) {
            vmbus_channel_wake(channel->channel);
        }
    }
}

static struct stor_request *take_request(struct stor_channel *channel)
{
    struct storvsp *const storvsp = channel->storvsp;
    struct stor_request *request = storvsp->free;

    if (request) {
        storvsp->free = request->next;
        storvsp->in_flight++;
        channel->in_flight++;
        request->channel = channel;
    } else {
        storvsp->starved = true;
    }
    return request;
}

static void finish_close(struct stor_channel *channel)
{
    if (channel->closing && channel->in_flight == 0) {
        channel->closing = false;
        channel->open = false;
        vmbus_channel_closed(channel->channel);
    }
}

static void free_request(struct stor_request *request)
{
    struct stor_channel *const channel = request->channel;
    struct storvsp *const storvsp = channel->storvsp;

    request->next = storvsp->free;
    storvsp->free = request;
    storvsp->in_flight--;
    channel->in_flight--;
    finish_close(channel);
    if (storvsp->starved) {
        storvsp->starved = false;
        wake_all(storvsp);
    }
    stor_try_reset(storvsp);
}

uint32_t stor_packet_size(const struct storvsp *storvsp)
{
    return storvsp->version && storvsp->version < STOR_V5_1 ? STOR_PACKET_OLD : STOR_PACKET;
}

void stor_answer(struct stor_request *request, uint32_t status)
{
    const struct stor_channel *channel = request->channel;

    store_le32(request->packet + STOR_OPERATION, STOR_COMPLETE_IO);
    store_le32(request->packet + STOR_FLAGS, 0);
    store_le32(request->packet + STOR_STATUS, status);
    // Room for it was there before the request was taken, and nobody else sends here.
    if (!channel->closing &&
        vmbus_channel_complete(channel->channel, request->transaction_id, request->packet,
                               request->answer_size) == VMBUS_SEND_FULL) {
        vmbus_channel_fail(channel->channel, "no room for a storage completion");
    }
    free_request(request);
}

// ---- reading -----------------------------------------------------------------------------------

// Takes one packet. False: there is none, or nothing can be taken now.
static bool take_packet(struct stor_channel *channel)
{
    struct storvsp *const storvsp = channel->storvsp;

    if (storvsp->reset) {
        return false;
    }
    // Room for the answers to all that is taken, this one, and an announcement.
    if (!vmbus_channel_room(channel->channel, channel->in_flight + 2, STOR_PACKET)) {
        // What is in flight may ask for more than the ring can ever have: then it is not the guest
        // that makes room, but the next completion.
        storvsp->starved = storvsp->starved || channel->in_flight != 0;
        return false;
    }
    struct stor_request *request = take_request(channel);
    if (!request) {
        return false;
    }
    memset(request->packet, 0, sizeof request->packet);
    struct vmbus_packet packet = {.buffer = request->packet,
                                  .capacity = sizeof request->packet,
                                  .words = request->words,
                                  .word_capacity = STOR_WORDS};
    const enum vmbus_read read = vmbus_channel_read(channel->channel, &packet);
    if (read != VMBUS_READ_PACKET && read != VMBUS_READ_OVERSIZE) {
        free_request(request);
        return false;
    }
    request->transaction_id = packet.transaction_id;
    request->answer_size = stor_packet_size(storvsp);
    request->ranges = packet.ranges;
    if (packet.type == VMBUS_PACKET_COMPLETION || !packet.wants_completion) {
        // Nothing was asked for that could be completed, and every request has to be.
        vmbus_channel_fail(channel->channel, "storage packet that wants no completion");
        free_request(request);
        return false;
    }
    if (read == VMBUS_READ_OVERSIZE) {
        memset(request->packet, 0, sizeof request->packet);
        stor_answer(request, STOR_STATUS_PARAMETER);
    } else {
        stor_handle(request, packet.size);
    }
    return true;
}

static void announce_units(struct storvsp *storvsp)
{
    uint8_t packet[STOR_PACKET] = {0};

    if (!storvsp->announce || storvsp->state != STOR_READY) {
        return;
    }
    store_le32(packet + STOR_OPERATION, STOR_ENUMERATE_BUS);
    const enum vmbus_send sent =
        vmbus_channel_send(storvsp->primary, 0, false, packet, stor_packet_size(storvsp));
    storvsp->announce = sent == VMBUS_SEND_FULL;
}

// ---- channels ----------------------------------------------------------------------------------

// What this device keeps for the channel. A channel that was restored has it from the first time.
static struct stor_channel *find_channel(struct storvsp *storvsp, struct vmbus_channel *channel)
{
    struct stor_channel *found = vmbus_channel_context(channel);
    const bool is_primary = vmbus_channel_index(channel) == 0;

    if (found || is_primary) {
        found = is_primary ? &storvsp->channels[0] : found;
    } else {
        for (uint32_t i = 1; i <= storvsp->limits.subchannels && !found; i++) {
            found = storvsp->channels[i].channel ? NULL : &storvsp->channels[i];
        }
    }
    if (found && !found->channel) {
        *found = (struct stor_channel){.storvsp = storvsp, .channel = channel};
        found->open = vmbus_channel_is_open(channel);
        vmbus_channel_set_context(channel, found);
    }
    return found;
}

static void on_open(void *device, struct vmbus_channel *vmbus, const struct vmbus_open *open)
{
    struct storvsp *const storvsp = device;
    struct stor_channel *channel = find_channel(storvsp, vmbus);

    (void)open; // its user data mean nothing to a SCSI controller
    if (!channel) {
        vmbus_channel_opened(vmbus, VMBUS_STATUS_FAILED);
        return;
    }
    channel->open = true;
    channel->closing = false;
    if (channel == &storvsp->channels[0]) {
        storvsp->state = STOR_OPENED;
        storvsp->version = 0;
        storvsp->has_sub_channels = false;
        storvsp->announce = false;
        scsi_target_reset(&storvsp->target);
    }
    vmbus_channel_opened(vmbus, VMBUS_STATUS_OK);
}

static void on_close(void *device, struct vmbus_channel *vmbus)
{
    struct storvsp *const storvsp = device;
    struct stor_channel *channel = find_channel(storvsp, vmbus);

    if (!channel) {
        vmbus_channel_closed(vmbus);
        return;
    }
    if (channel == &storvsp->channels[0]) {
        storvsp->state = STOR_CLOSED;
    }
    channel->closing = true;
    finish_close(channel);
}

static void on_wake(void *device, struct vmbus_channel *vmbus)
{
    struct storvsp *const storvsp = device;
    struct stor_channel *channel = find_channel(storvsp, vmbus);

    if (!channel || channel->closing) {
        return;
    }
    announce_units(storvsp);
    for (uint32_t i = 0; i < STOR_WAKE_PACKETS; i++) {
        if (!take_packet(channel)) {
            return;
        }
    }
    vmbus_channel_wake(vmbus);
}

static void on_released(void *device, struct vmbus_channel *vmbus)
{
    struct storvsp *const storvsp = device;
    struct stor_channel *channel = vmbus_channel_context(vmbus);

    if (channel) {
        channel->channel = NULL;
    }
    if (vmbus == storvsp->primary) {
        storvsp->primary = NULL;
    }
}

// ---- saved state -------------------------------------------------------------------------------

static void save_unit(const struct scsi_lun *lun, struct blob_writer *blob)
{
    blob_put_u8(blob, (uint8_t)lun->type);
    blob_put_u8(blob, (uint8_t)lun->attentions);
    blob_put_u8(blob, (uint8_t)lun->event);
    blob_put_u8(blob, lun->write_cache);
    blob_put_u8(blob, lun->stopped);
    blob_put_u8(blob, lun->locked);
    blob_put_u8(blob, lun->tray_open);
}

static void on_save(void *device, struct vmbus_channel *primary, struct blob_writer *blob)
{
    const struct storvsp *storvsp = device;

    (void)primary;
    blob_put_u8(blob, BLOB_VERSION);
    blob_put_u32(blob, storvsp->state);
    blob_put_u16(blob, storvsp->version);
    blob_put_u8(blob, storvsp->has_sub_channels);
    blob_put_u8(blob, storvsp->announce);
    for (uint32_t i = 0; i < SCSI_LUNS; i++) {
        blob_put_u8(blob, storvsp->target.luns[i] != NULL);
        if (storvsp->target.luns[i]) {
            save_unit(storvsp->target.luns[i], blob);
        }
    }
}

static void restore_unit(struct scsi_lun *lun, struct blob_reader *blob)
{
    if (blob_get_u8(blob) != (uint8_t)lun->type) {
        blob_fail(blob);
    }
    lun->attentions = blob_get_u8(blob) & SCSI_ATTENTIONS;
    lun->event = (enum scsi_media_event)blob_get_u8(blob);
    if (lun->event != SCSI_NEW_MEDIA && lun->event != SCSI_MEDIA_REMOVED) {
        lun->event = SCSI_NO_EVENT;
    }
    lun->write_cache = blob_get_bool(blob);
    lun->stopped = blob_get_bool(blob);
    lun->locked = blob_get_bool(blob);
    lun->tray_open = blob_get_bool(blob);
}

// State and version of the protocol, as far as they can go together.
static bool restore_protocol(struct storvsp *storvsp, bool open, struct blob_reader *blob)
{
    const uint32_t state = blob_get_max(blob, STOR_READY);
    const uint16_t version = blob_get_u16(blob);
    const bool has_version = state == STOR_CLOSED ? version != 0 : state >= STOR_VERSION;

    if ((state != STOR_CLOSED) != open || has_version != (version != 0) ||
        (has_version && !stor_is_known_version(version))) {
        return false;
    }
    storvsp->state = (enum stor_state)state;
    storvsp->version = version;
    storvsp->has_sub_channels = blob_get_bool(blob);
    storvsp->announce = blob_get_bool(blob);
    return true;
}

static bool on_restore(void *device, struct vmbus_channel *primary, struct blob_reader *blob)
{
    struct storvsp *const storvsp = device;

    if (blob_get_u8(blob) != BLOB_VERSION ||
        !restore_protocol(storvsp, vmbus_channel_is_open(primary), blob)) {
        return false;
    }
    for (uint32_t i = 0; i < SCSI_LUNS; i++) {
        // The units must be those that the guest knows.
        if (blob_get_bool(blob) != (storvsp->target.luns[i] != NULL)) {
            blob_fail(blob);
        }
        if (storvsp->target.luns[i]) {
            restore_unit(storvsp->target.luns[i], blob);
        }
    }
    return !blob->failed;
}

// ---- the owner's side --------------------------------------------------------------------------

static bool limits_allowed(const struct storvsp_limits *limits)
{
    return limits->requests >= 1 && limits->requests <= REQUESTS_MAX &&
           limits->subchannels <= SUB_CHANNELS_MAX;
}

size_t storvsp_size(const struct storvsp_limits *limits)
{
    return limits_allowed(limits)
               ? sizeof(struct storvsp) + limits->requests * sizeof(struct stor_request) +
                     (1 + (size_t)limits->subchannels) * sizeof(struct stor_channel)
               : 0;
}

struct storvsp *storvsp_init(void *arena, size_t size, const struct storvsp_limits *limits)
{
    struct storvsp *const storvsp = arena;
    const size_t needed = storvsp_size(limits);

    if (!needed || size < needed || (uintptr_t)arena % sizeof(uint64_t)) {
        return NULL;
    }
    memset(arena, 0, needed);
    storvsp->limits = *limits;
    storvsp->requests = (struct stor_request *)(storvsp + 1);
    storvsp->channels = (struct stor_channel *)(storvsp->requests + limits->requests);
    for (uint32_t i = 0; i < limits->requests; i++) {
        storvsp->requests[i].next = storvsp->free;
        storvsp->free = &storvsp->requests[i];
    }
    return storvsp;
}

bool storvsp_offer(struct storvsp *storvsp, struct vmbus_server *server,
                   const struct vmbus_guid *instance)
{
    static const struct vmbus_device_ops ops = {.open = on_open,
                                                .close = on_close,
                                                .wake = on_wake,
                                                .released = on_released,
                                                .save = on_save,
                                                .restore = on_restore};
    const struct vmbus_offer offer = {.class_id = class_id, .instance_id = *instance};

    if (storvsp->primary) {
        return false;
    }
    storvsp->primary = vmbus_channel_offer(server, &offer, &ops, storvsp);
    return storvsp->primary != NULL;
}

void storvsp_revoke(struct storvsp *storvsp)
{
    if (storvsp->primary) {
        vmbus_channel_rescind(storvsp->primary);
    }
}

bool storvsp_is_gone(const struct storvsp *storvsp)
{
    return !storvsp->primary && storvsp->in_flight == 0;
}

uint32_t storvsp_in_flight(const struct storvsp *storvsp)
{
    return storvsp->in_flight;
}

static void units_changed(struct storvsp *storvsp)
{
    if (storvsp->primary && storvsp->state == STOR_READY) {
        storvsp->announce = true;
        announce_units(storvsp);
    }
}

bool storvsp_add_lun(struct storvsp *storvsp, uint32_t number, struct scsi_lun *lun)
{
    const bool added = scsi_target_add(&storvsp->target, number, lun);

    if (added) {
        units_changed(storvsp);
    }
    return added;
}

struct scsi_lun *storvsp_remove_lun(struct storvsp *storvsp, uint32_t number)
{
    struct scsi_lun *lun = scsi_target_remove(&storvsp->target, number);

    if (lun) {
        units_changed(storvsp);
    }
    return lun;
}
