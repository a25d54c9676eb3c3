// SPDX-License-Identifier: BSD-2-Clause-Patent
// Guest memory as the VMBus library and its devices see it: pages that the environment finds, bytes
// that are copied. Nobody keeps a pointer into guest memory, nobody reads a guest byte twice.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VMBUS_PAGE = 4096, VMBUS_PAGE_SHIFT = 12 };

// Finds one 4 KiB page of guest memory (gpn = GPA / 4096, any value a guest may invent). Returns
// its host address, page aligned, or NULL when the guest has no RAM there or, with `write`, may not
// write it. The guest goes on changing the page while the host reads it. The pointer is good until
// control is back in the owner's loop: the owner takes memory away from a guest only there.
struct vmbus_memory {
    void *ctx;
    void *(*page)(void *ctx, uint64_t gpn, bool write);
};

// Copy between guest memory at gpa and private memory, across pages. False when a byte of the range
// is no memory of the guest, or the range wraps; then some leading bytes may have been copied.
bool vmbus_memory_read(const struct vmbus_memory *memory, uint64_t gpa, void *to, size_t size);
bool vmbus_memory_write(const struct vmbus_memory *memory, uint64_t gpa, const void *from,
                        size_t size);
