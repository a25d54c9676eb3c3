// SPDX-License-Identifier: BSD-2-Clause-Patent
// Synthetic keyboard: contract in keyboard.h.
#include "keyboard.h"

#include "../mem.h"
#include "wire.h"

// Every message begins with its type, a u32.
enum keyboard_message {
    PROTOCOL_REQUEST = 1,  // {u32 version}
    PROTOCOL_RESPONSE = 2, // {u32 accepted}
    EVENT = 3,             // {u16 code, u16 0, u32 flags}
    LAMPS = 4,             // {u32}
};

enum {
    VERSION = 0x00010000,
    PAYLOAD_MAX = 64,
    REQUEST_SIZE = 8,
    RESPONSE_SIZE = 8,
    EVENT_SIZE = 12,
    REFUSALS_MAX = 256,
};

static void start(struct keyboard *keyboard)
{
    keyboard->ready = keyboard->response_due = keyboard->accepted = false;
    keyboard->lamps = 0;
    keyboard->refused = 0;
}

static void send_response(struct keyboard *keyboard)
{
    uint8_t message[RESPONSE_SIZE];

    le32_put(message, PROTOCOL_RESPONSE);
    le32_put(message + 4, keyboard->accepted);
    keyboard->response_due =
        vmbus_channel_send(keyboard->channel, 0, false, message, sizeof message) == VMBUS_SEND_FULL;
    keyboard->ready = keyboard->accepted && !keyboard->response_due;
}

static void send_keys(struct keyboard *keyboard)
{
    while (keyboard->ready && keyboard->count) {
        const struct keystroke *key = &keyboard->keys[keyboard->first];
        uint8_t message[EVENT_SIZE] = {EVENT};

        le16_put(message + 4, key->code);
        le32_put(message + 8, key->flags);
        if (vmbus_channel_send(keyboard->channel, 0, false, message, sizeof message) !=
            VMBUS_SEND_OK) {
            return;
        }
        keyboard->first = (keyboard->first + 1) % KEYBOARD_KEYS;
        keyboard->count--;
    }
}

static void handle(struct keyboard *keyboard, const uint8_t *message, uint32_t size)
{
    const uint32_t type = size >= REQUEST_SIZE ? le32_get(message) : 0;

    if (type == PROTOCOL_REQUEST) {
        keyboard->accepted = le32_get(message + 4) == VERSION;
        keyboard->ready = false;
        send_response(keyboard);
    } else if (type == LAMPS && keyboard->ready) {
        keyboard->lamps = le32_get(message + 4) & (LAMP_SCROLL | LAMP_NUM | LAMP_CAPS);
    } else if (++keyboard->refused > REFUSALS_MAX) {
        vmbus_channel_fail(keyboard->channel, "too many invalid messages to the keyboard");
    }
}

static void on_wake(void *device, struct vmbus_channel *channel)
{
    struct keyboard *keyboard = device;
    uint8_t payload[PAYLOAD_MAX];

    if (keyboard->response_due) {
        send_response(keyboard);
    }
    // Room for a completion and a response.
    while (!keyboard->response_due && vmbus_channel_room(channel, 2, RESPONSE_SIZE)) {
        struct vmbus_packet packet = {.buffer = payload, .capacity = sizeof payload};
        const enum vmbus_read result = vmbus_channel_read(channel, &packet);
        if (result == VMBUS_READ_NONE || result == VMBUS_READ_CLOSED) {
            break;
        }
        if (packet.wants_completion) {
            vmbus_channel_complete(channel, packet.transaction_id, 0, 0);
        }
        const bool whole = result == VMBUS_READ_PACKET && packet.type == VMBUS_PACKET_IN_BAND;
        handle(keyboard, payload, whole ? packet.size : 0);
    }
    send_keys(keyboard);
}

static void on_open(void *device, struct vmbus_channel *channel, const struct vmbus_open *open)
{
    (void)open;
    start(device);
    vmbus_channel_opened(channel, VMBUS_STATUS_OK);
}

static void on_close(void *device, struct vmbus_channel *channel)
{
    start(device);
    vmbus_channel_closed(channel);
}

static void on_released(void *device, struct vmbus_channel *channel)
{
    (void)channel;
    ((struct keyboard *)device)->channel = 0;
}

enum { SAVED_VERSION = 1 };

// Keystrokes that wait are the owner's and stay with it.
static void on_save(void *device, struct vmbus_channel *primary, struct blob_writer *blob)
{
    const struct keyboard *keyboard = device;

    (void)primary;
    blob_put_u32(blob, SAVED_VERSION);
    blob_put_u8(blob, keyboard->ready);
    blob_put_u8(blob, keyboard->response_due);
    blob_put_u8(blob, keyboard->accepted);
    blob_put_u32(blob, keyboard->lamps);
}

static bool on_restore(void *device, struct vmbus_channel *primary, struct blob_reader *blob)
{
    struct keyboard *keyboard = device;
    struct keyboard saved = {0};

    (void)primary;
    if (blob_get_u32(blob) != SAVED_VERSION) {
        return false;
    }
    saved.ready = blob_get_bool(blob);
    saved.response_due = blob_get_bool(blob);
    saved.accepted = blob_get_bool(blob);
    saved.lamps = blob_get_u32(blob) & (LAMP_SCROLL | LAMP_NUM | LAMP_CAPS);
    if (blob->failed || (saved.ready && (!saved.accepted || saved.response_due))) {
        return false;
    }
    keyboard->ready = saved.ready;
    keyboard->response_due = saved.response_due;
    keyboard->accepted = saved.accepted;
    keyboard->lamps = saved.lamps;
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

bool keyboard_create(struct keyboard *keyboard, struct vmbus_server *server)
{
    static const struct vmbus_offer offer = {
        .class_id =
            VMBUS_GUID(0xf912ad6d, 0x2b17, 0x48ea, 0xbd, 0x65, 0xf9, 0x27, 0xa6, 0x1c, 0x76, 0x84),
        .instance_id =
            VMBUS_GUID(0xd34b2567, 0xb9b6, 0x42b9, 0x87, 0x78, 0x0a, 0x4e, 0xc0, 0xb9, 0x55, 0xbf),
    };

    memset(keyboard, 0, sizeof *keyboard);
    keyboard->channel = vmbus_channel_offer(server, &offer, &ops, keyboard);
    return keyboard->channel != 0;
}

void keyboard_remove(struct keyboard *keyboard)
{
    if (keyboard->channel) {
        vmbus_channel_rescind(keyboard->channel);
    }
}

bool keyboard_gone(const struct keyboard *keyboard)
{
    return !keyboard->channel;
}

bool keyboard_key(struct keyboard *keyboard, uint16_t code, uint32_t flags)
{
    if (!keyboard->channel || keyboard->count == KEYBOARD_KEYS || (flags & ~(uint32_t)KEY_FLAGS)) {
        return false;
    }
    keyboard->keys[(keyboard->first + keyboard->count++) % KEYBOARD_KEYS] =
        (struct keystroke){code, (uint16_t)flags};
    send_keys(keyboard);
    return true;
}
