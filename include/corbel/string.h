// SPDX-License-Identifier: BSD-2-Clause-Patent
// The four memory functions that compilers call, and what little else the core needs.
#pragma once

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);
