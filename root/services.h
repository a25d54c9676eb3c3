// SPDX-License-Identifier: BSD-2-Clause-Patent
// Integration services of a VM that an administrator asks for: file copy, backup, key-value
// exchange. What comes of it is printed on the console that asked, when it comes.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "root/console.h"
#include "root/lib/vsp/ic/fcopy.h"
#include "root/lib/vsp/ic/kvp.h"
#include "root/lib/vsp/ic/vss.h"

struct vm;

struct services {
    struct vm *vm;
    struct kvp kvp;
    struct console *keys_to;
    enum kvp_pool pool; // that is listed
    uint32_t key;       // listed next
    bool listing;
    struct fcopy fcopy;
    struct console *copy_to;
    void *copy_from; // the firmware's handle of the file
    struct vss vss;
    struct console *freeze_to;
};

// Offers them. False: no room.
bool services_create(struct services *services, struct vm *vm, struct vmbus_server *server);

// Lists a pool of keys.
void services_keys(struct services *services, struct console *console, enum kvp_pool pool);

// Writes a key of the pool that the host writes; value NULL: deletes it.
void services_set_key(struct services *services, struct console *console, const char *key,
                      const char *value);

// Copies a file of the boot volume into a folder of the guest.
void services_copy(struct services *services, struct console *console, const char *path,
                   const char *folder);

// Has the guest's file systems written and kept still until the thaw, a minute at most; the VM's
// image files are consistent then.
void services_freeze(struct services *services, struct console *console);
void services_thaw(struct services *services, struct console *console);

// One line.
void services_list(const struct services *services, struct console *console);
