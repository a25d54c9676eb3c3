// SPDX-License-Identifier: BSD-2-Clause-Patent
// Sets of numbers as people write them: 0-3,8 12.
#pragma once
#include <stdbool.h>
#include <stdint.h>

// A number in decimal below `limit` (at most 2^28) at *text, which is moved behind it. False: there
// is none, or it is too large; *text is where it was.
bool numset_number(const char **text, uint32_t limit, uint32_t *value);

// Fills bits 0 to limit - 1 of `set` (bit n is bit n % 8 of byte n / 8; limit a multiple of 8) from
// numbers and ranges (low-high) between commas or blanks. False: something else is there, a range
// is upside down, or a number is not below the limit.
bool numset_parse(const char *text, uint8_t *set, uint32_t limit);
