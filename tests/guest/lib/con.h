// SPDX-License-Identifier: BSD-2-Clause-Patent
// Output to COM1 and port 0xe9, and the end of the program. No locks: one processor prints.
#ifndef GUEST_CON_H
#define GUEST_CON_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Sets COM1 to 115200 8n1. Works without one as well.
void con_init(void);

void con_putc(char c);

// Has a byte come on COM1? Takes it.
bool con_input(void);

// %d %i %u %x %c %s %p %%, with l and ll, width, 0 and -.
void con_vprintf(const char *format, va_list args);
void con_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Ends the machine by port 0xf4: the emulator or tools/rig exits with (value << 1) | 1.
_Noreturn void guest_exit(uint8_t value);

// Freestanding C wants these of its environment.
void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t strlen(const char *text);
int strncmp(const char *a, const char *b, size_t size);

#endif
