// SPDX-License-Identifier: BSD-2-Clause-Patent
// Sets of logical processors as people write them: 0-3,8 12.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LPSET_WORDS 4u // 256 LPs

// Fills `set` from a text that root/lib/numset.h reads. False: it does not, or a number is above
// 255.
bool lpset_parse(const char *text, uint64_t set[LPSET_WORDS]);

// Writes the set as numbers between commas; a text that is too short for them ends in "...".
void lpset_format(const uint64_t set[LPSET_WORDS], char *text, size_t size);
