// SPDX-License-Identifier: BSD-2-Clause-Patent
// Text without a C library: formatting, and UTF-8 to and from the firmware's UTF-16. Pure.
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Knows %s, %u (unsigned), %lu (uint64_t), %lx (uint64_t, hexadecimal) and %%, with a width and a
// zero before it: %08x. Cuts to fit; always NUL-terminates when size > 0. Returns the length
// written, without the NUL.
size_t text_vformat(char *buffer, size_t size, const char *format, va_list arguments);
size_t text_format(char *buffer, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// NUL-terminated UTF-8 to NUL-terminated UTF-16. False: not UTF-8, or more than size units with the
// NUL; *out is then empty.
bool text_to_utf16(const char *text, uint16_t *out, size_t size);

// Up to `units` of UTF-16, ended early by a NUL, to UTF-8. False: lone surrogates, control
// characters other than tab, or more than size bytes with the NUL; *out is then empty.
bool text_from_utf16(const uint16_t *text, size_t units, char *out, size_t size);
