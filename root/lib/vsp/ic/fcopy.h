// SPDX-License-Identifier: BSD-2-Clause-Patent
// Guest file copy: puts a file of the host into the guest, by way of the daemon there (Linux:
// tools/hv/hv_fcopy_uio_daemon.c). One file at a time, one fragment at a time.
#pragma once

#include "ic.h"

enum {
    FCOPY_PATH_UNITS = 260, // UTF-16 units of name and path, terminators included
    FCOPY_FRAGMENT = 6144,
};

enum fcopy_flag {
    FCOPY_OVERWRITE = 1,   // else a file that exists is an error
    FCOPY_CREATE_PATH = 2, // make the folder
};

#define FCOPY_TIMEOUT IC_SECONDS(60)

// Where the file comes from. read fills `data` with bytes [offset, offset + size) of it; false: it
// cannot, and the copy is cancelled. done is the end of a copy that fcopy_start() began: the status
// is IC_STATUS_OK, or why not.
struct fcopy_source {
    void *ctx;
    uint64_t size;
    bool (*read)(void *ctx, uint64_t offset, void *data, uint32_t size);
    void (*done)(void *ctx, uint32_t status);
};

enum fcopy_step { FCOPY_IDLE, FCOPY_STARTING, FCOPY_SENDING, FCOPY_COMPLETING, FCOPY_CANCELLING };

struct fcopy {
    struct ic ic;
    struct fcopy_source source;
    enum fcopy_step step;
    uint64_t sent;    // bytes that the guest has taken
    uint32_t sending; // of the fragment under way
    uint32_t status;  // why it is being cancelled
    bool cancel;
    uint8_t buffer[6400];
};

// As ic_create().
bool fcopy_create(struct fcopy *fcopy, struct vmbus_server *server);

// Begins to copy to `name` in the folder `path` of the guest (UTF-8). The source is copied. False:
// no driver, a copy is under way, or a name is empty or too long; then done is not called.
bool fcopy_start(struct fcopy *fcopy, const char *name, const char *path, uint32_t flags,
                 const struct fcopy_source *source);

// Gives the copy up after the fragment that is under way; done comes with IC_STATUS_FAIL.
void fcopy_cancel(struct fcopy *fcopy);
