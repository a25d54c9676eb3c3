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

// Two lines or more about them.
void devices_list(struct console *console, const struct vm *vm);

// Asks the guest's operating system to shut down. False: it has no driver for that.
bool devices_shut_down(struct vm *vm);

// Prints, as the answers come, what the guest says of itself.
void devices_show_keys(struct console *console, struct vm *vm);

// Presses Ctrl, Alt and Delete on the synthetic keyboard.
void devices_type_ctrl_alt_del(struct vm *vm);
