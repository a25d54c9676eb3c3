// SPDX-License-Identifier: BSD-2-Clause-Patent
// corbel.conf as the root sees it.
#pragma once
#include <stdbool.h>

#include "boot/conf.h"
#include "root/console.h"

struct config {
    struct conf_boot boot; // for the settings of the COM ports
    struct conf_root root;
};

// Reads corbel.conf beside root.efi, else in \EFI\BOOT, and fills vms[]. False: root_fail() has
// been called.
bool config_read(struct config *config);

// Opens the terminals that the VMs' consoles name and attaches the VMs. False: as above.
bool config_consoles(const struct config *config,
                     void (*command)(struct console *console, struct console_line *line,
                                     uint8_t key),
                     void (*entered)(struct console *console, struct console_line *line,
                                     char *text));

// Every console that is open.
extern struct console *consoles[CONF_COM_PORTS + 1];
extern uint32_t console_count;
