// SPDX-License-Identifier: BSD-2-Clause-Patent
// The command line behind Ctrl-] and ":".
#pragma once
#include "root/console.h"

// For console.entered. `line` is a VM's, or NULL.
void verbs_run(struct console *console, struct console_line *line, char *text);
