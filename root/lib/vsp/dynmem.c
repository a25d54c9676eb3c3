// SPDX-License-Identifier: BSD-2-Clause-Patent
// Dynamic memory, life of the device and its protocol: contract in dynmem.h.
#include "dynmem_priv.h"

#include "../mem.h"
#include "wire.h"

enum {
    SIMPLE_SIZE = 16,
    CAPABILITIES_SIZE = 32,
    STATUS_SIZE = 48,

    CAP_BALLOON = 1 << 0,
    CAP_HOT_ADD = 1 << 1,
    CAP_ALIGNMENT_SHIFT = 2, // 4 bits: log2 of MiB
    MIB_PAGES = 256,
};

// ---- negotiation -----------------------------------------------------------------------------

// The answer to a version or capabilities message; each is {header, u64 bit 0 accepted}.
static void send_reply(struct dynmem *dynmem)
{
    const bool version = dynmem->state == DYNMEM_VERSION;
    uint8_t message[SIMPLE_SIZE] = {0};

    le16_put(message, version ? DYNMEM_VERSION_RESPONSE : DYNMEM_CAPABILITIES_RESPONSE);
    le16_put(message + 2, sizeof message);
    le32_put(message + 4, dynmem->transaction);
    le64_put(message + DYNMEM_HEADER, dynmem->accepted);
    dynmem->reply_due =
        vmbus_channel_send(dynmem->channel, 0, false, message, sizeof message) == VMBUS_SEND_FULL;
    if (!dynmem->reply_due && dynmem->accepted) {
        dynmem->state = version ? DYNMEM_CAPABILITIES : DYNMEM_READY;
        dynmem->ready_since = vmbus_channel_now(dynmem->channel);
    }
}

static bool handle_version(struct dynmem *dynmem, const uint8_t *message, uint32_t size)
{
    if (dynmem->state != DYNMEM_VERSION || size < SIMPLE_SIZE) {
        return false;
    }
    dynmem->version = le32_get(message + DYNMEM_HEADER);
    dynmem->accepted = dynmem->version == DYNMEM_2_0 || dynmem->version == DYNMEM_1_0 ||
                       dynmem->version == DYNMEM_0_3;
    dynmem->transaction = le32_get(message + 4);
    send_reply(dynmem);
    return true;
}

static bool handle_capabilities(struct dynmem *dynmem, const uint8_t *message, uint32_t size)
{
    if (dynmem->state != DYNMEM_CAPABILITIES || size < CAPABILITIES_SIZE) {
        return false;
    }
    const uint64_t capabilities = le64_get(message + DYNMEM_HEADER);
    dynmem->can_balloon = capabilities & CAP_BALLOON;
    dynmem->can_hot_add = (capabilities & CAP_HOT_ADD) && dynmem->version != DYNMEM_0_3;
    dynmem->alignment = (uint32_t)MIB_PAGES << (capabilities >> CAP_ALIGNMENT_SHIFT & 15);
    dynmem->accepted = true;
    dynmem->transaction = le32_get(message + 4);
    send_reply(dynmem);
    return true;
}

static bool handle_status(struct dynmem *dynmem, const uint8_t *message, uint32_t size)
{
    if (dynmem->state != DYNMEM_READY || size < STATUS_SIZE) {
        return false;
    }
    dynmem->last = (struct dynmem_status){
        .available = le64_get(message + 8),
        .committed = le64_get(message + 16),
        .page_file = le64_get(message + 24),
        .zero_free = le64_get(message + 32),
        .page_file_writes = le32_get(message + 40),
        .io_difference = le32_get(message + 44),
    };
    if (dynmem->config.status) {
        dynmem->config.status(dynmem->config.ctx, &dynmem->last);
    }
    return true;
}

static bool handle(struct dynmem *dynmem, const uint8_t *message, uint32_t size)
{
    // Ring padding may follow what the header says.
    if (size < DYNMEM_HEADER || le16_get(message + 2) < DYNMEM_HEADER ||
        le16_get(message + 2) > size) {
        return false;
    }
    size = le16_get(message + 2);
    switch (le16_get(message)) {
    case DYNMEM_VERSION_REQUEST:
        return handle_version(dynmem, message, size);
    case DYNMEM_CAPABILITIES_REPORT:
        return handle_capabilities(dynmem, message, size);
    case DYNMEM_STATUS_REPORT:
        return handle_status(dynmem, message, size);
    case DYNMEM_BALLOON_RESPONSE:
        return dynmem_balloon_answer(dynmem, message, size);
    case DYNMEM_UNBALLOON_RESPONSE:
        return dynmem_unballoon_answer(dynmem);
    case DYNMEM_HOT_ADD_RESPONSE:
        return dynmem_hot_add_answer(dynmem, message, size);
    default:
        return false;
    }
}

// ---- channel ---------------------------------------------------------------------------------

static void on_wake(void *device, struct vmbus_channel *channel)
{
    struct dynmem *dynmem = device;
    uint8_t payload[DYNMEM_MESSAGE_MAX];

    if (dynmem->reply_due) {
        send_reply(dynmem);
    }
    if (dynmem->request_due) {
        dynmem_operation_go_on(dynmem);
    }
    while (!dynmem->reply_due && vmbus_channel_room(channel, 2, SIMPLE_SIZE)) {
        struct vmbus_packet packet = {.buffer = payload, .capacity = sizeof payload};
        const enum vmbus_read result = vmbus_channel_read(channel, &packet);
        if (result == VMBUS_READ_NONE || result == VMBUS_READ_CLOSED) {
            return;
        }
        if (packet.wants_completion) {
            vmbus_channel_complete(channel, packet.transaction_id, 0, 0);
        }
        if (result != VMBUS_READ_PACKET || packet.type != VMBUS_PACKET_IN_BAND ||
            !handle(dynmem, payload, packet.size)) {
            // Memory is at stake: a guest that gets this wrong is not asked again.
            vmbus_channel_fail(channel, "invalid message to dynamic memory");
            return;
        }
    }
}

static void on_open(void *device, struct vmbus_channel *channel, const struct vmbus_open *open)
{
    struct dynmem *dynmem = device;

    (void)open;
    dynmem->state = DYNMEM_VERSION;
    dynmem->reply_due = dynmem->request_due = false;
    memset(&dynmem->last, 0, sizeof dynmem->last);
    vmbus_channel_opened(channel, VMBUS_STATUS_OK);
}

// Without a driver nobody knows which pages are ballooned: the guest may use all that it has.
static void on_close(void *device, struct vmbus_channel *channel)
{
    struct dynmem *dynmem = device;
    const enum dynmem_operation operation = dynmem->operation;

    dynmem->state = DYNMEM_CLOSED;
    dynmem->operation = DYNMEM_NONE;
    dynmem->request_due = dynmem->reply_due = false;
    dynmem_pages_give_all(dynmem);
    if (operation != DYNMEM_NONE) {
        dynmem->config.done(dynmem->config.ctx, operation, dynmem->moved);
    }
    vmbus_channel_closed(channel);
}

static void on_released(void *device, struct vmbus_channel *channel)
{
    (void)channel;
    ((struct dynmem *)device)->channel = 0;
}

static const struct vmbus_device_ops ops = {
    .open = on_open,
    .close = on_close,
    .wake = on_wake,
    .released = on_released,
    .save = dynmem_save,
    .restore = dynmem_restore,
};

bool dynmem_create(struct dynmem *dynmem, struct vmbus_server *server,
                   const struct dynmem_config *config)
{
    static const struct vmbus_offer offer = {
        .class_id =
            VMBUS_GUID(0x525074dc, 0x8985, 0x46e2, 0x80, 0x57, 0xa3, 0x07, 0xdc, 0x18, 0xa5, 0x02),
        .instance_id =
            VMBUS_GUID(0x1eccfd72, 0x4b41, 0x45ef, 0xb7, 0x3a, 0x4a, 0x6e, 0x44, 0xc1, 0x29, 0x24),
    };

    memset(dynmem, 0, sizeof *dynmem);
    dynmem->config = *config;
    if (config->pages == 0 || config->pages > UINT64_C(1) << 40) {
        return false;
    }
    memset(config->bitmap, 0, (config->pages + 63) / 64 * 8);
    dynmem->channel = vmbus_channel_offer(server, &offer, &ops, dynmem);
    return dynmem->channel != 0;
}

void dynmem_remove(struct dynmem *dynmem)
{
    if (dynmem->channel) {
        vmbus_channel_rescind(dynmem->channel);
    }
}

bool dynmem_gone(const struct dynmem *dynmem)
{
    return !dynmem->channel;
}

bool dynmem_idle(const struct dynmem *dynmem)
{
    return dynmem->state == DYNMEM_READY && dynmem->operation == DYNMEM_NONE &&
           vmbus_channel_now(dynmem->channel) - dynmem->ready_since >= DYNMEM_DELAY_100NS;
}

static bool begin(struct dynmem *dynmem, enum dynmem_operation operation, uint64_t first,
                  uint64_t pages)
{
    dynmem->operation = operation;
    dynmem->wanted = pages;
    dynmem->moved = dynmem->asked = 0;
    dynmem->next = first;
    dynmem_operation_go_on(dynmem);
    return true;
}

bool dynmem_balloon(struct dynmem *dynmem, uint64_t pages)
{
    return dynmem_idle(dynmem) && dynmem->can_balloon && pages != 0 &&
           pages <= dynmem->config.pages && begin(dynmem, DYNMEM_BALLOON, 0, pages);
}

bool dynmem_unballoon(struct dynmem *dynmem, uint64_t pages)
{
    return dynmem_idle(dynmem) && pages != 0 && pages <= dynmem->ballooned &&
           begin(dynmem, DYNMEM_UNBALLOON, 0, pages);
}

bool dynmem_hot_add(struct dynmem *dynmem, uint64_t first, uint64_t pages)
{
    return dynmem_idle(dynmem) && dynmem->can_hot_add && pages != 0 &&
           first < dynmem->config.pages && pages <= dynmem->config.pages - first &&
           first % dynmem->alignment == 0 && pages % dynmem->alignment == 0 &&
           begin(dynmem, DYNMEM_HOT_ADD, first, pages);
}
