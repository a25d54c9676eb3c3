// SPDX-License-Identifier: BSD-2-Clause-Patent
// Backup: makes the guest's file systems consistent and still for a moment, so that its disks can
// be copied as they are (Linux: drivers/hv/hv_snapshot.c, hv_vss_daemon).
#pragma once

#include "ic.h"

enum vss_state {
    VSS_IDLE,
    VSS_CHECKING, // asks whether the guest can
    VSS_FREEZING,
    VSS_FROZEN,
    VSS_THAWING,
    VSS_ENDING, // tells the guest how the backup went
};

#define VSS_TIMEOUT      IC_SECONDS(60) // for each step
#define VSS_FROZEN_LIMIT IC_SECONDS(60) // the guest is thawed after it, whatever the owner does

struct vss {
    struct ic ic;
    void *ctx;
    // Frozen with IC_STATUS_OK; or not, and why: the guest runs on. Comes once for each freeze.
    void (*frozen)(void *ctx, uint32_t status);
    // The freeze has ended: by vss_thaw() (IC_STATUS_OK), because it took too long
    // (IC_STATUS_TIMEOUT), or with the guest (IC_STATUS_CLOSED). What was copied before is worth
    // something only if the status is IC_STATUS_OK. A guest that is restored frozen is thawed, and
    // nobody is told.
    void (*thawed)(void *ctx, uint32_t status);
    enum vss_state state;
    bool was_frozen; // and the owner knows
    bool thaw_owed;  // it was saved while the guest was frozen, or may have been
    uint32_t status; // how it ends
    uint8_t buffer[256];
};

// As ic_create().
bool vss_create(struct vss *vss, struct vmbus_server *server, void *ctx,
                void (*frozen)(void *ctx, uint32_t status),
                void (*thawed)(void *ctx, uint32_t status));

// Asks the guest to freeze. False: no driver, or a backup is under way; then nothing is called.
bool vss_freeze(struct vss *vss);

// Ends the freeze. False: it is not frozen (any more).
bool vss_thaw(struct vss *vss);
