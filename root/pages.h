// SPDX-License-Identifier: BSD-2-Clause-Patent
// Memory from the firmware. Single pages, for deposits, come from a list of the root's own, so that
// pages which the hypervisor gives back in any order can be used again.
#pragma once
#include <stdbool.h>
#include <stdint.h>

// A 4 KiB page's address; 0: none.
uint64_t pages_take(void);
// Takes a page back: one from pages_take().
void pages_give(uint64_t page);

// Memory of `size` bytes (a multiple of 2 MiB), aligned to 2 MiB; NULL: none in one piece. The
// contents are undefined.
void *pages_large(uint64_t size);
void pages_large_free(void *memory, uint64_t size);

// Bytes that the firmware still has, in pieces of any size; 0: it does not say.
uint64_t pages_left(void);

// Zeroed memory of at least `size` bytes, page aligned, never given back; NULL: none in one piece.
void *pages_zeroed(uint64_t size);
