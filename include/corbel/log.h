// SPDX-License-Identifier: BSD-2-Clause-Patent
// The log: COM port, port 0xE9 and a ring in memory (found by its magic, see docs/debugging.md).
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

struct launch_info;
void log_init(const struct launch_info *info);

// printf subset: %s %c %d %u %x %p with 0, width, l and ll; %% ; ends the line itself. Any LP.
__attribute__((format(printf, 1, 2))) void hv_log(const char *format, ...);

void hv_vlog(const char *format, va_list *args);
// For panic: whoever holds the log's lock will not come back.
void log_break_lock(void);

// Prints what, the VP, its registers, the last exits of this LP and a stack trace, stops all other
// LPs, and never returns.
__attribute__((format(printf, 1, 2))) _Noreturn void panic(const char *format, ...);

#define ASSERT(condition)                                                                          \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            panic("%s:%d: %s", __FILE__, __LINE__, #condition);                                    \
    } while (0)
