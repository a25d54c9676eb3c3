// SPDX-License-Identifier: BSD-2-Clause-Patent
// Heartbeat: contract in heartbeat.h. The message is {u64 sequence, u32 application state, 28 bytes
// reserved}; the guest answers with the sequence + 1.
#include "heartbeat.h"

#include "../../mem.h"
#include "../wire.h"

enum { MESSAGE_SIZE = 40, APPLICATION = 8 };

static struct heartbeat *of(struct ic *ic)
{
    return (struct heartbeat *)ic; // its first member
}

static void beat(struct ic *ic)
{
    struct heartbeat *heartbeat = of(ic);

    if (ic_idle(ic)) {
        memset(ic_body(ic), 0, MESSAGE_SIZE);
        le64_put(ic_body(ic), heartbeat->sequence);
        ic_request(ic, MESSAGE_SIZE, HEARTBEAT_TIMEOUT);
    }
    ic_set_timer(ic, ic_now(ic) + HEARTBEAT_INTERVAL);
}

static void done(struct ic *ic, uint32_t status, const uint8_t *body, uint32_t size)
{
    struct heartbeat *heartbeat = of(ic);

    if (status == IC_STATUS_OK && size >= APPLICATION + 4 &&
        le64_get(body) == heartbeat->sequence + 1) {
        heartbeat->state = HEARTBEAT_OK;
        heartbeat->application = le32_get(body + APPLICATION);
        heartbeat->beats++;
    } else if (status != IC_STATUS_CLOSED) {
        heartbeat->state = HEARTBEAT_LOST;
    }
    heartbeat->sequence += 2;
}

static void closed(struct ic *ic)
{
    of(ic)->state = HEARTBEAT_NONE;
    of(ic)->application = 0;
}

static const struct ic_version versions[] = {{1, 0}, {3, 0}};

static const struct ic_class heartbeat_class = {
    .class_id =
        VMBUS_GUID(0x57164f39, 0x9115, 0x4e78, 0xab, 0x55, 0x38, 0x2f, 0x3b, 0xd5, 0x42, 0x2d),
    .instance_id =
        VMBUS_GUID(0xfd149e91, 0x82e0, 0x4a7d, 0xaf, 0xa6, 0x2a, 0x41, 0x66, 0xcb, 0xd7, 0xc0),
    .type = IC_HEARTBEAT,
    .versions = versions,
    .version_count = sizeof versions / sizeof versions[0],
    .ready = beat,
    .done = done,
    .timer = beat,
    .closed = closed,
};

bool heartbeat_create(struct heartbeat *heartbeat, struct vmbus_server *server)
{
    heartbeat->sequence = heartbeat->beats = 0;
    heartbeat->state = HEARTBEAT_NONE;
    heartbeat->application = 0;
    return ic_create(&heartbeat->ic, server, &heartbeat_class, heartbeat->buffer,
                     sizeof heartbeat->buffer);
}
