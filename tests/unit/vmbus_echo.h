// SPDX-License-Identifier: BSD-2-Clause-Patent
// A device for tests of VMBus: completes every packet that wants it with the packet's own payload,
// keeps what else comes, and records what it is told. It can be made to answer open and close late,
// and to stop reading.
#pragma once
#include "vmbus_guest.h"

enum { ECHO_BUFFER = 8192, ECHO_WORDS = 256 };

struct echo {
    struct vmbus_channel *channel; // the primary
    bool late_open, late_close;    // the test answers
    bool deaf;                     // reads nothing
    bool holds_late;               // the test gives revoked GPADLs back
    uint32_t open_status;
    unsigned opens, closes, wakes, released, revoked, restored;
    uint32_t revoked_id;
    struct vmbus_open open;
    unsigned packets, oversize;
    struct vmbus_packet last;
    uint64_t sum; // of the payload bytes of all packets
    uint8_t buffer[ECHO_BUFFER];
    uint64_t words[ECHO_WORDS];
    uint32_t saved; // what save and restore carry
    unsigned turn;  // of all wakes of all devices, its last
};

static unsigned echo_turns;

static inline void echo_open(void *device, struct vmbus_channel *channel,
                             const struct vmbus_open *open)
{
    struct echo *echo = device;

    echo->opens++;
    echo->open = *open;
    must(!vmbus_channel_is_open(channel));
    if (!echo->late_open) {
        vmbus_channel_opened(channel, echo->open_status);
    }
}

static inline void echo_close(void *device, struct vmbus_channel *channel)
{
    struct echo *echo = device;

    echo->closes++;
    must(!vmbus_channel_is_open(channel));
    must_equal(vmbus_channel_send(channel, 1, false, "x", 1), VMBUS_SEND_CLOSED);
    if (!echo->late_close) {
        vmbus_channel_closed(channel);
    }
}

static inline void echo_wake(void *device, struct vmbus_channel *channel)
{
    struct echo *echo = device;
    struct vmbus_packet packet = {.buffer = echo->buffer,
                                  .capacity = ECHO_BUFFER,
                                  .words = echo->words,
                                  .word_capacity = ECHO_WORDS};

    echo->wakes++;
    echo->turn = ++echo_turns;
    while (!echo->deaf && vmbus_channel_room(channel, 1, ECHO_BUFFER)) {
        const enum vmbus_read result = vmbus_channel_read(channel, &packet);
        if (result == VMBUS_READ_NONE || result == VMBUS_READ_CLOSED) {
            return;
        }
        echo->packets++;
        echo->last = packet;
        if (result == VMBUS_READ_OVERSIZE) {
            echo->oversize++;
            must_equal(vmbus_channel_complete(channel, packet.transaction_id, NULL, 0),
                       VMBUS_SEND_OK);
            continue;
        }
        for (uint32_t i = 0; i < packet.size; i++) {
            echo->sum += echo->buffer[i];
        }
        if (packet.wants_completion) {
            must_equal(
                vmbus_channel_complete(channel, packet.transaction_id, echo->buffer, packet.size),
                VMBUS_SEND_OK);
        }
    }
}

static inline void echo_revoked(void *device, struct vmbus_channel *channel, uint32_t gpadl)
{
    struct echo *echo = device;

    echo->revoked++;
    echo->revoked_id = gpadl;
    if (!echo->holds_late) {
        vmbus_gpadl_release(channel, gpadl);
    }
}

static inline void echo_released(void *device, struct vmbus_channel *channel)
{
    struct echo *echo = device;

    (void)channel;
    echo->released++;
}

static inline void echo_save(void *device, struct vmbus_channel *primary, struct blob_writer *blob)
{
    (void)primary;
    blob_put_u32(blob, ((struct echo *)device)->saved);
}

static inline bool echo_restore(void *device, struct vmbus_channel *primary,
                                struct blob_reader *blob)
{
    struct echo *echo = device;

    (void)primary;
    echo->saved = blob_get_u32(blob);
    echo->restored++;
    return true;
}

static const struct vmbus_device_ops echo_ops = {
    .open = echo_open,
    .close = echo_close,
    .wake = echo_wake,
    .gpadl_revoked = echo_revoked,
    .released = echo_released,
    .save = echo_save,
    .restore = echo_restore,
};

// Class and instance number n.
static inline struct vmbus_guid echo_class(uint8_t n)
{
    return (struct vmbus_guid)VMBUS_GUID(0xC0FFEE00u + n, 0x1111, 0x2222, 0x33, 0x44, 0, 0, 0, 0, 0,
                                         n);
}

static inline struct vmbus_offer echo_offer(uint8_t n)
{
    return (struct vmbus_offer){.class_id = echo_class(n),
                                .instance_id = VMBUS_GUID(n, 1, 2, 3, 4, 5, 6, 7, 8, 9, n),
                                .mmio_megabytes = n};
}

// Offers the device as number n.
static inline void echo_attach(struct echo *echo, struct vg *vg, uint8_t n)
{
    const struct vmbus_offer offer = echo_offer(n);

    memset(echo, 0, sizeof *echo);
    echo->channel = vmbus_channel_offer(vg->server, &offer, &echo_ops, echo);
    must(echo->channel != NULL);
}
