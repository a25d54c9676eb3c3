// SPDX-License-Identifier: BSD-2-Clause-Patent
// Text between UTF-8, which we use, and UTF-16 little endian, which guests send and receive.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Writes the text and a terminator to `out`, which has room for `units` 16-bit units, and fills the
// rest with zeros. Malformed UTF-8 becomes U+FFFD. Returns the units written, the terminator
// included; 0: it does not fit: as much of it as does is there, terminated, if units is not 0.
uint32_t utf16_from_text(uint8_t *out, uint32_t units, const char *text);

// Writes at most `units` units of UTF-16, up to the first 0, as UTF-8 with a terminator to `out`,
// which has `capacity` bytes, not 0; 3 a unit are always enough. Unpaired surrogates become U+FFFD.
// What does not fit is left out. Returns the bytes written without the terminator.
size_t utf16_to_text(char *out, size_t capacity, const uint8_t *in, uint32_t units);
