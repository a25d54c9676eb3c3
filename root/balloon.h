// SPDX-License-Identifier: BSD-2-Clause-Patent
// How much memory a running VM has: the guest's balloon, and memory that is added while it runs.
//
// Blocks of 2 MiB that the balloon has taken as a whole go back to the machine, whose other VMs may
// have them; the guest gets others in their place, all zeroes, when it is given the pages again or
// touches them nevertheless. Added memory lies above 4 GiB and all other RAM. The VM starts again
// with what it is configured to have, if the machine still has it.
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
    uint64_t added;          // pages that the guest has taken beyond it
    uint64_t mapped;         // pages mapped beyond it: the guest may take less
    uint64_t reports;        // of the guest about its needs
    uint64_t returned;       // ballooned pages that the machine has
    bool has_moved;          // blocks of the memory as configured, since the VM was started
    // Blocks [sweep, sweep_end) to be looked at, in 2 MiB of GPA.
    uint64_t sweep, sweep_end;
};

// Offers the device. False: no memory, or no room on the bus.
bool balloon_create(struct balloon *balloon, struct vm *vm, struct vmbus_server *server);

// The partition is gone: added memory goes back to the firmware, and all of it does if blocks of
// the rest have moved.
void balloon_stopped(struct balloon *balloon);

// In the main loop, where nobody else holds a pointer into guest memory: lets go of what the guest
// has given up since the last time. Whether more is left to do.
bool balloon_sweep(struct balloon *balloon);

// There is memory at gpa, which is the VM's RAM, when this returns. False: the machine has none.
bool balloon_back(struct balloon *balloon, uint64_t gpa);

// Makes it so many MiB, as far as the guest goes along and memory-max allows.
void balloon_resize(struct balloon *balloon, struct console *console, uint64_t mib);

// For balloon.c: the guest has given pages up; it gets them back; whether the machine has enough
// for that; memory added at a GPA, multiples of 2 MiB both.
void balloon_taken(struct balloon *balloon, uint64_t first, uint64_t count);
void balloon_given(struct balloon *balloon, uint64_t first, uint64_t count);
bool balloon_can_give(const struct balloon *balloon, uint64_t pages);
bool balloon_add(struct balloon *balloon, uint64_t gpa, uint64_t size);

// A line or two.
void balloon_list(const struct balloon *balloon, struct console *console);
