// SPDX-License-Identifier: BSD-2-Clause-Patent
// Heartbeat: asks the guest every two seconds whether it lives.
#pragma once

#include "ic.h"

enum heartbeat_state {
    HEARTBEAT_NONE, // the guest has no driver for it
    HEARTBEAT_OK,   // answered the last time it was asked
    HEARTBEAT_LOST, // has not answered for HEARTBEAT_TIMEOUT
};

#define HEARTBEAT_INTERVAL IC_SECONDS(2)
#define HEARTBEAT_TIMEOUT  IC_SECONDS(10)

struct heartbeat {
    struct ic ic;
    uint64_t sequence;
    uint64_t beats; // answers
    enum heartbeat_state state;
    uint32_t application; // what the guest says of its applications; only Windows does. 0: unknown
    uint8_t buffer[256];
};

// As ic_create().
bool heartbeat_create(struct heartbeat *heartbeat, struct vmbus_server *server);
