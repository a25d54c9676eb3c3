// SPDX-License-Identifier: BSD-2-Clause-Patent
// A block device in memory, for tests of what stands on one. It completes at once, or, held, when
// the test says so. It allocates exactly its size: sanitizers watch the edges.
#pragma once
#include <stdlib.h>
#include <string.h>

#include "root/lib/image/block.h"

enum { FAKE_PENDING = 512 };

struct fake_block {
    struct block_device device;
    struct block_info info;
    uint8_t *bytes;
    enum block_status fail; // instead of doing it
    bool hold;
    struct block_request *pending[FAKE_PENDING];
    unsigned count;
    unsigned operations[5]; // by enum block_operation
    bool last_forced;
};

static inline void fake_block_copy(struct fake_block *fake, const struct block_request *request)
{
    uint8_t *at = fake->bytes + request->sector * fake->info.sector_size;

    for (uint32_t i = 0; i < request->segment_count; i++) {
        const struct block_segment *segment = &request->segments[i];
        if (request->operation == BLOCK_READ) {
            memcpy(segment->base, at, segment->size);
        } else {
            memcpy(at, segment->base, segment->size);
        }
        at += segment->size;
    }
}

static inline void fake_block_finish(struct fake_block *fake, struct block_request *request)
{
    if (fake->fail == BLOCK_OK && request->operation <= BLOCK_WRITE) {
        fake_block_copy(fake, request);
    } else if (fake->fail == BLOCK_OK && request->operation != BLOCK_FLUSH) {
        memset(fake->bytes + request->sector * fake->info.sector_size, 0,
               request->count * fake->info.sector_size);
    }
    request->done(request, fake->fail);
}

static inline void fake_block_info(const struct block_device *device, struct block_info *info)
{
    *info = ((const struct fake_block *)device->ctx)->info;
}

static inline void fake_block_submit(struct block_device *device, struct block_request *request)
{
    struct fake_block *fake = device->ctx;

    fake->operations[request->operation]++;
    fake->last_forced = request->force_unit_access;
    if (fake->hold && fake->count < FAKE_PENDING) {
        fake->pending[fake->count++] = request;
    } else {
        fake_block_finish(fake, request);
    }
}

static inline void fake_block_init(struct fake_block *fake, uint64_t sectors, uint32_t sector_size)
{
    static const struct block_ops ops = {fake_block_info, fake_block_submit};
    uint8_t pattern[4096 + 251];

    memset(fake, 0, sizeof *fake);
    fake->device = (struct block_device){&ops, fake};
    fake->info = (struct block_info){.sectors = sectors,
                                     .sector_size = sector_size,
                                     .physical_size = 4096,
                                     .trim_granularity = 8};
    fake->bytes = malloc(sectors * sector_size);
    // Every sector has a pattern of its own, out of one that is made once.
    for (uint32_t i = 0; i < sizeof pattern; i++) {
        pattern[i] = (uint8_t)(i * 5);
    }
    for (uint64_t i = 0; i < sectors; i++) {
        memcpy(fake->bytes + i * sector_size, pattern + i * 7 % 251, sector_size);
    }
}

static inline void fake_block_free(struct fake_block *fake)
{
    free(fake->bytes);
    fake->bytes = NULL;
}

// Completes what is held, the oldest first. Returns how many it was.
static inline unsigned fake_block_release(struct fake_block *fake)
{
    unsigned done = 0;

    while (fake->count) {
        struct block_request *request = fake->pending[0];
        fake->count--;
        memmove(fake->pending, fake->pending + 1, fake->count * sizeof *fake->pending);
        fake_block_finish(fake, request);
        done++;
    }
    return done;
}
