// SPDX-License-Identifier: BSD-2-Clause-Patent
// What Ctrl-] and a key do on a console.
#pragma once
#include "root/console.h"

// For console.command. `line` is a VM's, or NULL.
void command_run(struct console *console, struct console_line *line, uint8_t key);
