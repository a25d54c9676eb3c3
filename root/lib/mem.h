// SPDX-License-Identifier: BSD-2-Clause-Patent
// The whole C library that root/lib needs. The prototypes are the standard ones, so that a hosted
// build may include <string.h> beside this header; a freestanding build links its own three.
#pragma once

#include <stddef.h>

void *memcpy(void *restrict dst, const void *restrict src, size_t size);
void *memset(void *dst, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);
