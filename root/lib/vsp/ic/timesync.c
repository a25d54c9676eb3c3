// SPDX-License-Identifier: BSD-2-Clause-Patent
// Time synchronization: contract in timesync.h. Version 4 sends the time together with the guest's
// reference time at the same instant, so that the message's way does not matter. Windows heeds
// only messages that ask for an answer.
#include "timesync.h"

#include "../../mem.h"
#include "../wire.h"

enum {
    V4_SIZE = 24, // {u64 UTC, u64 reference time, u8 flags, u8 leap, u8 stratum, 5 reserved}
    V4_FLAGS = 16,
    V4_LEAP = 17,
    V1_SIZE = 25, // {u64 UTC, u64 guest's time, u64 round trip, u8 flags}
    V1_FLAGS = 24,

    FLAG_SYNC = 1,
    FLAG_SAMPLE = 2,
    LEAP_UNKNOWN = 3, // RFC 5905 7.3
};

static struct timesync *of(struct ic *ic)
{
    return (struct timesync *)ic; // its first member
}

static void send_time(struct timesync *timesync)
{
    struct ic *ic = &timesync->ic;
    uint8_t *body = ic_body(ic);
    const uint8_t flags = timesync->step_wanted ? FLAG_SYNC : FLAG_SAMPLE;
    const bool v4 = ic_at_least(ic, 4, 0);

    timesync->stepping = timesync->step_wanted;
    timesync->step_wanted = false;
    memset(body, 0, v4 ? V4_SIZE : V1_SIZE);
    body[v4 ? V4_FLAGS : V1_FLAGS] = flags;
    if (v4) {
        body[V4_LEAP] = LEAP_UNKNOWN;
        le64_put(body + 8, ic_now(ic));
    }
    le64_put(body, timesync->wall(timesync->ctx));
    ic_request(ic, v4 ? V4_SIZE : V1_SIZE, TIMESYNC_TIMEOUT);
}

static void tick(struct ic *ic)
{
    if (ic_idle(ic)) {
        send_time(of(ic));
    }
    ic_set_timer(ic, ic_now(ic) + TIMESYNC_INTERVAL);
}

static void ready(struct ic *ic)
{
    of(ic)->step_wanted = true;
    tick(ic);
}

static void done(struct ic *ic, uint32_t status, const uint8_t *body, uint32_t size)
{
    struct timesync *timesync = of(ic);

    (void)body, (void)size;
    if (status == IC_STATUS_OK) {
        timesync->steps += timesync->stepping;
        timesync->samples += !timesync->stepping;
    }
    if (timesync->step_wanted && ic->state == IC_READY) {
        send_time(timesync);
    }
}

static const struct ic_version versions[] = {{1, 0}, {3, 0}, {4, 0}};

static const struct ic_class timesync_class = {
    .class_id =
        VMBUS_GUID(0x9527e630, 0xd0ae, 0x497b, 0xad, 0xce, 0xe8, 0x0a, 0xb0, 0x17, 0x5c, 0xaf),
    .instance_id =
        VMBUS_GUID(0x2dd1ce17, 0x079e, 0x403c, 0xb3, 0x52, 0xa1, 0x92, 0x1e, 0xe2, 0x07, 0xee),
    .type = IC_TIMESYNC,
    .versions = versions,
    .version_count = sizeof versions / sizeof versions[0],
    .ready = ready,
    .done = done,
    .timer = tick,
};

bool timesync_create(struct timesync *timesync, struct vmbus_server *server, void *ctx,
                     uint64_t (*wall)(void *ctx))
{
    timesync->ctx = ctx;
    timesync->wall = wall;
    timesync->step_wanted = timesync->stepping = false;
    timesync->samples = timesync->steps = 0;
    return ic_create(&timesync->ic, server, &timesync_class, timesync->buffer,
                     sizeof timesync->buffer);
}

void timesync_step(struct timesync *timesync)
{
    timesync->step_wanted = true;
    if (ic_idle(&timesync->ic)) {
        send_time(timesync);
    }
}
