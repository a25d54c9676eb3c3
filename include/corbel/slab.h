// SPDX-License-Identifier: BSD-2-Clause-Patent
// Objects smaller than a page, all of one size, from a partition's pool. A page goes back to the
// pool with its last object, so what was paid for is paid back exactly.
//
// Nothing is locked: the caller serialises all functions on one slab.
#pragma once

#include <stdint.h>

#include "corbel/pool.h"

struct slab_page;

struct slab {
    struct pool *pool;
    struct slab_page *pages; // those with a free object
    uint32_t size;           // bytes of an object, a multiple of 8
};

// `size`: 8 to 1024 bytes, a multiple of 8.
void slab_init(struct slab *slab, struct pool *pool, uint32_t size);

// A zeroed object, or NULL: the pool is empty.
void *slab_alloc(struct slab *slab);

// Gives back what slab_alloc of the same slab returned.
void slab_free(struct slab *slab, void *object);
