// SPDX-License-Identifier: BSD-2-Clause-Patent
// Guest shutdown: asks the guest's operating system to power off, restart or hibernate.
#pragma once

#include "ic.h"

enum shutdown_kind { SHUTDOWN_POWER_OFF = 0, SHUTDOWN_RESTART = 2, SHUTDOWN_HIBERNATE = 4 };

#define SHUTDOWN_TIMEOUT IC_SECONDS(60)

struct shutdown_ic {
    struct ic ic;
    void *ctx;
    // The guest's answer: IC_STATUS_OK, it will do so; or why not.
    void (*answered)(void *ctx, uint32_t status);
    uint8_t buffer[2304];
};

// As ic_create(). answered may be NULL.
bool shutdown_create(struct shutdown_ic *shutdown, struct vmbus_server *server, void *ctx,
                     void (*answered)(void *ctx, uint32_t status));

// Asks. `text` (UTF-8, NULL: none) is for the guest's users, cut to 1,023 UTF-16 units. force: even
// when applications object. False: no driver, another request is under way, or the guest is too
// old to hibernate; then nothing was asked.
bool shutdown_request(struct shutdown_ic *shutdown, enum shutdown_kind kind, bool force,
                      const char *text);
