// SPDX-License-Identifier: BSD-2-Clause-Patent
// Guest file copy: contract in fcopy.h. A message is {u32 operation, two unused ids of 16 bytes}
// and a body; a copy is START, DATA for each fragment, COMPLETE, and CANCEL where it goes wrong.
#include "fcopy.h"

#include "../../mem.h"
#include "../utf16.h"
#include "../wire.h"

enum fcopy_operation { START = 0, DATA = 1, COMPLETE = 2, CANCEL = 3 };

enum fcopy_layout {
    HEADER = 36,
    START_NAME = HEADER,
    START_PATH = START_NAME + 2 * FCOPY_PATH_UNITS,
    START_FLAGS = START_PATH + 2 * FCOPY_PATH_UNITS,
    START_FILE_SIZE = START_FLAGS + 4,
    START_SIZE = START_FILE_SIZE + 8,

    DATA_OFFSET = HEADER + 4, // behind a pad
    DATA_SIZE = DATA_OFFSET + 8,
    DATA_BYTES = DATA_SIZE + 4,
    DATA_END = DATA_BYTES + FCOPY_FRAGMENT,
};
_Static_assert(IC_HEADER + DATA_END <= sizeof(((struct fcopy *)0)->buffer), "room for a fragment");

static struct fcopy *of(struct ic *ic)
{
    return (struct fcopy *)ic; // its first member
}

static void finish(struct fcopy *fcopy, uint32_t status)
{
    fcopy->step = FCOPY_IDLE;
    fcopy->source.done(fcopy->source.ctx, status);
}

static void send_operation(struct fcopy *fcopy, enum fcopy_step step,
                           enum fcopy_operation operation)
{
    uint8_t *body = ic_body(&fcopy->ic);

    memset(body, 0, HEADER);
    le32_put(body, operation);
    fcopy->step = step;
    ic_request(&fcopy->ic, HEADER, FCOPY_TIMEOUT);
}

static void cancel(struct fcopy *fcopy, uint32_t status)
{
    fcopy->status = status;
    send_operation(fcopy, FCOPY_CANCELLING, CANCEL);
}

// The next fragment, or the end.
static void go_on(struct fcopy *fcopy)
{
    const uint64_t left = fcopy->source.size - fcopy->sent;
    const uint32_t size = left < FCOPY_FRAGMENT ? (uint32_t)left : FCOPY_FRAGMENT;
    uint8_t *body = ic_body(&fcopy->ic);

    if (size == 0) {
        send_operation(fcopy, FCOPY_COMPLETING, COMPLETE);
        return;
    }
    memset(body, 0, DATA_END);
    le32_put(body, DATA);
    le64_put(body + DATA_OFFSET, fcopy->sent);
    le32_put(body + DATA_SIZE, size);
    if (fcopy->cancel ||
        !fcopy->source.read(fcopy->source.ctx, fcopy->sent, body + DATA_BYTES, size)) {
        cancel(fcopy, IC_STATUS_FAIL);
        return;
    }
    fcopy->sending = size;
    fcopy->step = FCOPY_SENDING;
    ic_request(&fcopy->ic, DATA_END, FCOPY_TIMEOUT);
}

static void done(struct ic *ic, uint32_t status, const uint8_t *body, uint32_t size)
{
    struct fcopy *fcopy = of(ic);

    (void)body, (void)size;
    if (fcopy->step == FCOPY_CANCELLING) {
        finish(fcopy, fcopy->status);
    } else if (status == IC_STATUS_CLOSED || fcopy->step == FCOPY_COMPLETING) {
        finish(fcopy, status);
    } else if (status != IC_STATUS_OK && fcopy->step == FCOPY_STARTING) {
        finish(fcopy, status); // nothing was begun
    } else if (status != IC_STATUS_OK) {
        cancel(fcopy, status);
    } else {
        fcopy->sent += fcopy->sending;
        fcopy->sending = 0;
        go_on(fcopy);
    }
}

static void ready(struct ic *ic)
{
    (void)ic;
}

static const struct ic_version versions[] = {{1, 1}};

static const struct ic_class fcopy_class = {
    .class_id =
        VMBUS_GUID(0x34d14be3, 0xdee4, 0x41c8, 0x9a, 0xe7, 0x6b, 0x17, 0x49, 0x77, 0xc1, 0x92),
    .instance_id = VMBUS_GUID(0xeb765408, 0x105f, 0x49b6, 0xb4, 0xaa, 0xc1, 0x23, 0xb6, 0x4d, 0x17,
                              0xd4), // the daemon looks for this one
    .type = IC_FCOPY,
    .versions = versions,
    .version_count = 1,
    .ready = ready,
    .done = done,
};

bool fcopy_create(struct fcopy *fcopy, struct vmbus_server *server)
{
    memset(fcopy, 0, sizeof *fcopy);
    return ic_create(&fcopy->ic, server, &fcopy_class, fcopy->buffer, sizeof fcopy->buffer);
}

bool fcopy_start(struct fcopy *fcopy, const char *name, const char *path, uint32_t flags,
                 const struct fcopy_source *source)
{
    if (fcopy->step != FCOPY_IDLE || !ic_idle(&fcopy->ic)) {
        return false;
    }
    uint8_t *body = ic_body(&fcopy->ic);
    memset(body, 0, START_SIZE);
    le32_put(body, START);
    if (utf16_from_text(body + START_NAME, FCOPY_PATH_UNITS, name) <= 1 ||
        utf16_from_text(body + START_PATH, FCOPY_PATH_UNITS, path) <= 1) {
        return false;
    }
    le32_put(body + START_FLAGS, flags);
    le64_put(body + START_FILE_SIZE, source->size);
    fcopy->source = *source;
    fcopy->sent = fcopy->sending = 0;
    fcopy->cancel = false;
    fcopy->step = FCOPY_STARTING;
    ic_request(&fcopy->ic, START_SIZE, FCOPY_TIMEOUT);
    return true;
}

void fcopy_cancel(struct fcopy *fcopy)
{
    fcopy->cancel = true;
}
