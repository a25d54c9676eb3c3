// SPDX-License-Identifier: BSD-2-Clause-Patent
// Integration components, the common part: contract in ic.h.
#include "ic.h"

#include "../../mem.h"
#include "../wire.h"

// The header of every message, behind the pipe's own.
enum ic_header {
    HEADER_FRAMEWORK = 0, // major, minor
    HEADER_TYPE = 4,
    HEADER_VERSION = 6,
    HEADER_SIZE = 10, // of the body
    HEADER_STATUS = 12,
    HEADER_TRANSACTION = 16,
    HEADER_FLAGS = 17,

    FLAG_TRANSACTION = 1,
    FLAG_REQUEST = 2,
    FLAG_RESPONSE = 4,

    NEGOTIATE_FRAMEWORKS = 0, // u16 count
    NEGOTIATE_VERSIONS = 2,   // u16 count
    NEGOTIATE_LIST = 8,       // frameworks, then versions

    RING_OVERHEAD = 64, // of a packet: descriptor, pipe header, footer
};

static const struct ic_version frameworks[] = {{1, 0}, {3, 0}};
enum { FRAMEWORKS = sizeof frameworks / sizeof frameworks[0] };

static uint32_t put_version(uint8_t *at, struct ic_version version)
{
    le16_put(at, version.major);
    le16_put(at + 2, version.minor);
    return 4;
}

static struct ic_version get_version(const uint8_t *at)
{
    return (struct ic_version){le16_get(at), le16_get(at + 2)};
}

static bool listed(struct ic_version version, const struct ic_version *list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (list[i].major == version.major && list[i].minor == version.minor) {
            return true;
        }
    }
    return false;
}

static void update_deadline(struct ic *ic)
{
    const uint64_t deadline = ic->pending ? ic->deadline : UINT64_MAX;
    const uint64_t timer = ic->state == IC_READY ? ic->timer : UINT64_MAX;
    vmbus_channel_set_deadline(ic->channel, deadline < timer ? deadline : timer);
}

// Sends what is in the buffer; when the ring is full it stays there for the next wake.
static void flush(struct ic *ic)
{
    ic->unsent = vmbus_channel_send(ic->channel, ic->transaction, false, ic->buffer, ic->size) ==
                 VMBUS_SEND_FULL;
}

static void send_message(struct ic *ic, enum ic_type type, uint32_t size)
{
    uint8_t *header = ic->buffer;

    memset(header, 0, IC_HEADER);
    put_version(header + HEADER_FRAMEWORK, ic->framework);
    le16_put(header + HEADER_TYPE, (uint16_t)type);
    put_version(header + HEADER_VERSION, ic->version);
    le16_put(header + HEADER_SIZE, (uint16_t)size);
    header[HEADER_TRANSACTION] = ++ic->transaction;
    header[HEADER_FLAGS] = FLAG_TRANSACTION | FLAG_REQUEST;
    ic->size = IC_HEADER + size;
    flush(ic);
}

static void negotiate(struct ic *ic)
{
    uint8_t *body = ic_body(ic);
    uint32_t size = NEGOTIATE_LIST;

    memset(body, 0, NEGOTIATE_LIST);
    le16_put(body + NEGOTIATE_FRAMEWORKS, FRAMEWORKS);
    le16_put(body + NEGOTIATE_VERSIONS, (uint16_t)ic->class->version_count);
    for (uint32_t i = 0; i < FRAMEWORKS; i++) {
        size += put_version(body + size, frameworks[i]);
    }
    for (uint32_t i = 0; i < ic->class->version_count; i++) {
        size += put_version(body + size, ic->class->versions[i]);
    }
    ic->framework = frameworks[0];
    ic->version = frameworks[0];
    send_message(ic, IC_NEGOTIATE, size);
}

// The guest's choice: one of each list, or counts of 0.
static void negotiated(struct ic *ic, const uint8_t *body, uint32_t size)
{
    ic->state = IC_REFUSED;
    if (size < NEGOTIATE_LIST + 8 || le16_get(body + NEGOTIATE_FRAMEWORKS) != 1 ||
        le16_get(body + NEGOTIATE_VERSIONS) != 1) {
        vmbus_channel_log(ic->channel, "the guest knows no version of this component");
        return;
    }
    ic->framework = get_version(body + NEGOTIATE_LIST);
    ic->version = get_version(body + NEGOTIATE_LIST + 4);
    if (!listed(ic->framework, frameworks, FRAMEWORKS) ||
        !listed(ic->version, ic->class->versions, ic->class->version_count)) {
        vmbus_channel_log(ic->channel, "the guest chose a version that was not offered");
        return;
    }
    ic->state = IC_READY;
    ic->timer = UINT64_MAX;
    ic->class->ready(ic);
}

// The statuses that only we give are nothing that a guest can say.
static uint32_t guest_status(uint32_t status)
{
    const bool ours =
        status == IC_STATUS_TIMEOUT || status == IC_STATUS_CLOSED || status == IC_STATUS_MALFORMED;
    return ours ? IC_STATUS_FAIL : status;
}

// A message from the guest, `size` bytes in the buffer.
static void receive(struct ic *ic, uint32_t size)
{
    const uint8_t *header = ic->buffer;
    const bool negotiating = ic->state == IC_NEGOTIATING;
    const uint16_t type = negotiating ? (uint16_t)IC_NEGOTIATE : (uint16_t)ic->class->type;

    if (size < IC_HEADER || (!negotiating && !ic->pending) ||
        le16_get(header + HEADER_TYPE) != type || !(header[HEADER_FLAGS] & FLAG_RESPONSE) ||
        header[HEADER_TRANSACTION] != ic->transaction) {
        ic->ignored++;
        return;
    }
    const uint32_t said = le16_get(header + HEADER_SIZE);
    const uint32_t room = size - IC_HEADER;
    const uint32_t body_size = said < room ? said : room;
    if (negotiating) {
        negotiated(ic, header + IC_HEADER, body_size);
    } else {
        ic->pending = false;
        ic->class->done(ic, guest_status(le32_get(header + HEADER_STATUS)), header + IC_HEADER,
                        body_size);
    }
}

static void check_times(struct ic *ic)
{
    const uint64_t now = ic_now(ic);

    if (ic->pending && ic->deadline <= now) {
        ic->pending = false;
        ic->unsent = false;
        ic->class->done(ic, IC_STATUS_TIMEOUT, 0, 0);
    }
    if (ic->state == IC_READY && ic->timer <= now) {
        ic->timer = UINT64_MAX;
        ic->class->timer(ic);
    }
}

// Nothing could be sent while restoring.
static void resume(struct ic *ic)
{
    ic->resumed = false;
    if (ic->unsent) { // the negotiation itself
        negotiate(ic);
    } else if (ic->state == IC_READY) {
        ic->class->ready(ic);
    }
}

static void on_wake(void *device, struct vmbus_channel *channel)
{
    struct ic *ic = device;

    if (ic->resumed) {
        resume(ic);
    }
    check_times(ic);
    if (ic->unsent) {
        flush(ic);
    }
    // An unsent message is in the buffer that reading needs: first it has to go.
    while (!ic->unsent) {
        struct vmbus_packet packet = {.buffer = ic->buffer, .capacity = ic->capacity};
        const enum vmbus_read result = vmbus_channel_read(channel, &packet);
        if (result == VMBUS_READ_NONE || result == VMBUS_READ_CLOSED) {
            break;
        }
        if (result == VMBUS_READ_PACKET && packet.type == VMBUS_PACKET_IN_BAND) {
            receive(ic, packet.size);
        } else {
            ic->ignored++;
        }
    }
    update_deadline(ic);
}

static void on_open(void *device, struct vmbus_channel *channel, const struct vmbus_open *open)
{
    struct ic *ic = device;

    if (open->ring_out_size < ic->capacity + RING_OVERHEAD) {
        vmbus_channel_opened(channel, VMBUS_STATUS_FAILED);
        return;
    }
    ic->state = IC_NEGOTIATING;
    ic->pending = ic->unsent = ic->resumed = false;
    ic->timer = UINT64_MAX;
    vmbus_channel_opened(channel, VMBUS_STATUS_OK);
    negotiate(ic);
}

static void on_close(void *device, struct vmbus_channel *channel)
{
    struct ic *ic = device;
    const bool pending = ic->pending;

    ic->state = IC_CLOSED;
    ic->pending = ic->unsent = false;
    if (pending) {
        ic->class->done(ic, IC_STATUS_CLOSED, 0, 0);
    }
    if (ic->class->closed) {
        ic->class->closed(ic);
    }
    vmbus_channel_closed(channel);
}

static void on_released(void *device, struct vmbus_channel *channel)
{
    struct ic *ic = device;

    (void)channel;
    ic->channel = 0;
}

enum { SAVED_VERSION = 2 };

static void on_save(void *device, struct vmbus_channel *primary, struct blob_writer *blob)
{
    const struct ic *ic = device;

    (void)primary;
    blob_put_u32(blob, SAVED_VERSION);
    blob_put_u8(blob, (uint8_t)ic->state);
    blob_put_u8(blob, ic->state == IC_NEGOTIATING && ic->unsent);
    blob_put_u8(blob, ic->transaction);
    blob_put_u16(blob, ic->framework.major);
    blob_put_u16(blob, ic->framework.minor);
    blob_put_u16(blob, ic->version.major);
    blob_put_u16(blob, ic->version.minor);
    if (ic->class->save) {
        ic->class->save(ic, blob);
    }
}

static struct ic_version restore_version(struct blob_reader *blob)
{
    const uint16_t major = blob_get_u16(blob);
    return (struct ic_version){major, blob_get_u16(blob)};
}

static bool on_restore(void *device, struct vmbus_channel *primary, struct blob_reader *blob)
{
    struct ic *ic = device;

    if (blob_get_u32(blob) != SAVED_VERSION) {
        return false;
    }
    const uint8_t state = blob_get_u8(blob);
    ic->unsent = blob_get_bool(blob);
    ic->transaction = blob_get_u8(blob);
    ic->framework = restore_version(blob);
    ic->version = restore_version(blob);
    if (ic->class->restore) {
        ic->class->restore(ic, blob);
    }
    const bool chosen = listed(ic->framework, frameworks, FRAMEWORKS) &&
                        listed(ic->version, ic->class->versions, ic->class->version_count);
    if (blob->failed || state > IC_REFUSED || (state == IC_READY && !chosen) ||
        (ic->unsent && state != IC_NEGOTIATING) ||
        (state != IC_CLOSED) != vmbus_channel_is_open(primary)) {
        ic->unsent = false;
        return false;
    }
    ic->state = (enum ic_state)state;
    ic->timer = UINT64_MAX;
    ic->resumed = true;
    return true;
}

static const struct vmbus_device_ops ops = {
    .open = on_open,
    .close = on_close,
    .wake = on_wake,
    .released = on_released,
    .save = on_save,
    .restore = on_restore,
};

bool ic_create(struct ic *ic, struct vmbus_server *server, const struct ic_class *class,
               void *buffer, uint32_t capacity)
{
    const struct vmbus_offer offer = {
        .class_id = class->class_id,
        .instance_id = class->instance_id,
        .flags = VMBUS_OFFER_ENUMERATE_INTERFACE | VMBUS_OFFER_NAMED_PIPE,
        .user_data = {VMBUS_PIPE_MESSAGES},
    };

    memset(ic, 0, sizeof *ic);
    ic->class = class;
    ic->buffer = buffer;
    ic->capacity = capacity;
    ic->timer = UINT64_MAX;
    ic->channel = vmbus_channel_offer(server, &offer, &ops, ic);
    return ic->channel != 0;
}

void ic_remove(struct ic *ic)
{
    if (ic->channel) {
        vmbus_channel_rescind(ic->channel);
    }
}

bool ic_gone(const struct ic *ic)
{
    return !ic->channel;
}

uint8_t *ic_body(struct ic *ic)
{
    return ic->buffer + IC_HEADER;
}

void ic_request(struct ic *ic, uint32_t size, uint64_t timeout)
{
    ic->pending = true;
    ic->deadline = ic_now(ic) + timeout;
    send_message(ic, ic->class->type, size);
    update_deadline(ic);
}

void ic_set_timer(struct ic *ic, uint64_t when)
{
    ic->timer = when;
    update_deadline(ic);
}

uint64_t ic_now(const struct ic *ic)
{
    return vmbus_channel_now(ic->channel);
}
