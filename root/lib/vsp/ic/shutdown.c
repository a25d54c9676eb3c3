// SPDX-License-Identifier: BSD-2-Clause-Patent
// Guest shutdown: contract in shutdown.h. The message is {u32 reason, u32 timeout in seconds, u32
// flags, 2,048 bytes of text}.
#include "shutdown.h"

#include "../../mem.h"
#include "../utf16.h"
#include "../wire.h"

enum {
    MESSAGE_FLAGS = 8,
    MESSAGE_TEXT = 12,
    TEXT_UNITS = 1024,
    MESSAGE_SIZE = MESSAGE_TEXT + 2 * TEXT_UNITS,
    FLAG_FORCE = 1,
};

// SHTDN_REASON_FLAG_PLANNED
#define REASON_PLANNED UINT32_C(0x80000000)

static struct shutdown_ic *of(struct ic *ic)
{
    return (struct shutdown_ic *)ic; // its first member
}

static void ready(struct ic *ic)
{
    (void)ic;
}

static void done(struct ic *ic, uint32_t status, const uint8_t *body, uint32_t size)
{
    (void)body, (void)size;
    if (of(ic)->answered) {
        of(ic)->answered(of(ic)->ctx, status);
    }
}

static const struct ic_version versions[] = {{1, 0}, {3, 0}, {3, 1}, {3, 2}};

static const struct ic_class shutdown_class = {
    .class_id =
        VMBUS_GUID(0x0e0b6031, 0x5213, 0x4934, 0x81, 0x8b, 0x38, 0xd9, 0x0c, 0xed, 0x39, 0xdb),
    .instance_id =
        VMBUS_GUID(0xb6650ff7, 0x33bc, 0x4840, 0x80, 0x48, 0xe0, 0x67, 0x67, 0x86, 0xf3, 0x93),
    .type = IC_SHUTDOWN,
    .versions = versions,
    .version_count = sizeof versions / sizeof versions[0],
    .ready = ready,
    .done = done,
};

bool shutdown_create(struct shutdown_ic *shutdown, struct vmbus_server *server, void *ctx,
                     void (*answered)(void *ctx, uint32_t status))
{
    shutdown->ctx = ctx;
    shutdown->answered = answered;
    return ic_create(&shutdown->ic, server, &shutdown_class, shutdown->buffer,
                     sizeof shutdown->buffer);
}

bool shutdown_request(struct shutdown_ic *shutdown, enum shutdown_kind kind, bool force,
                      const char *text)
{
    struct ic *ic = &shutdown->ic;

    // Hosts may ask for hibernation from version 3.2 on.
    if (!ic_idle(ic) || (kind == SHUTDOWN_HIBERNATE && !ic_at_least(ic, 3, 2))) {
        return false;
    }
    uint8_t *body = ic_body(ic);
    le32_put(body, REASON_PLANNED);
    le32_put(body + 4, 0);
    le32_put(body + MESSAGE_FLAGS, (uint32_t)kind | (force ? FLAG_FORCE : 0));
    utf16_from_text(body + MESSAGE_TEXT, TEXT_UNITS, text ? text : "");
    ic_request(ic, MESSAGE_SIZE, SHUTDOWN_TIMEOUT);
    return true;
}
