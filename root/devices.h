// SPDX-License-Identifier: BSD-2-Clause-Patent
// The devices of a VM on its VMBus, as corbel.conf wants them.
#pragma once
#include <stdbool.h>

#include "root/console.h"
#include "root/vm.h"

// Opens the images, and offers everything on the VM's bus. Once. False: root_fail() has been
// called.
bool devices_create(struct vm *vm);

// Makes durable what disks hold back; at the end of the root.
void devices_flush(struct vm *vm);
void devices_close(struct vm *vm);

// The partition is gone: what the devices gave it while it ran is taken back.
void devices_stopped(struct vm *vm);

// Between two runs of the bus: what the guest has given up goes back to the machine. Whether more
// is left to do.
bool devices_settle(struct vm *vm);

// The services, memory and sockets of a VM with a VMBus; else NULL.
struct services *devices_services(struct vm *vm);
struct balloon *devices_balloon(struct vm *vm);
struct sockets *devices_sockets(struct vm *vm);

// Puts a disk into the running machine, takes one out, makes one larger (to so many MiB). NULL, or
// why not.
const char *devices_add_disk(struct vm *vm, uint32_t unit, const char *path);
const char *devices_remove_disk(struct vm *vm, uint32_t unit);
const char *devices_grow_disk(struct vm *vm, uint32_t unit, uint64_t mib);

// Two lines or more about them.
void devices_list(struct console *console, const struct vm *vm);

// Asks the guest's operating system to shut down. False: it has no driver for that.
bool devices_shut_down(struct vm *vm);

// Presses Ctrl, Alt and Delete on the synthetic keyboard.
void devices_type_ctrl_alt_del(struct vm *vm);
