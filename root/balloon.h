// SPDX-License-Identifier: BSD-2-Clause-Patent
// How much memory a running VM has: the guest's balloon, and memory that is added while it runs.
//
// Ballooned pages are not used by the guest, but stay reserved for it. Added memory lies above
// 4 GiB and all other RAM; it goes with the partition, and the VM starts again with what it is
// configured to have.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "root/console.h"
#include "root/lib/vsp/dynmem.h"

struct vm;

struct balloon {
    struct vm *vm;
    struct dynmem dynmem;
    struct console *console; // that asked for the operation under way
    uint32_t pieces;         // of the VM's memory as configured
    uint64_t added;          // pages that the guest has taken beyond it
    uint64_t mapped;         // pages mapped beyond it: the guest may take less
    uint64_t reports;        // of the guest about its needs
};

// Offers the device. False: no memory, or no room on the bus.
bool balloon_create(struct balloon *balloon, struct vm *vm, struct vmbus_server *server);

// The partition is gone: added memory goes back to the firmware.
void balloon_stopped(struct balloon *balloon);

// Makes it so many MiB, as far as the guest goes along and memory-max allows.
void balloon_resize(struct balloon *balloon, struct console *console, uint64_t mib);

// A line or two.
void balloon_list(const struct balloon *balloon, struct console *console);
