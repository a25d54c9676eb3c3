// SPDX-License-Identifier: BSD-2-Clause-Patent
// Time synchronization: tells the guest what time it is. A SYNC message, when the guest's driver
// comes up and whenever the owner asks, makes it step its clock; a SAMPLE, every five seconds, is
// a measurement that its time daemon may use.
#pragma once

#include "ic.h"

#define TIMESYNC_INTERVAL IC_SECONDS(5)
#define TIMESYNC_TIMEOUT  IC_SECONDS(30)

struct timesync {
    struct ic ic;
    void *ctx;
    uint64_t (*wall)(void *ctx);
    bool step_wanted;
    uint64_t samples, steps; // answered
    bool stepping;           // what is under way is a SYNC
    uint8_t buffer[256];
};

// As ic_create(). wall(ctx): UTC in 100 ns units since 1601-01-01, read when it is called.
bool timesync_create(struct timesync *timesync, struct vmbus_server *server, void *ctx,
                     uint64_t (*wall)(void *ctx));

// Makes the guest step its clock, now or as soon as it can: after it was restored or paused, or
// when the root's own clock has been set.
void timesync_step(struct timesync *timesync);
