// SPDX-License-Identifier: BSD-2-Clause-Patent
// A file in memory, for tests of disk images. With a journal it can crash: of the writes since the
// last flush any may be lost, in whole or in pieces of `torn` bytes.
#pragma once
#include <stdlib.h>
#include <string.h>

#include "root/lib/image/file.h"

enum { IMAGE_TORN = 512, IMAGE_JOURNAL_MAX = 1 << 16 }; // what a device writes in one piece

struct image_write {
    uint64_t offset;
    size_t size;
    uint8_t *bytes;
};

struct memory_file {
    struct image_file file;
    uint8_t *bytes;
    size_t size;
    uint64_t limit; // the file cannot grow beyond; 0: it can
    // Failures: after so many more operations every one fails; negative: never.
    int fail_after;
    unsigned reads, writes, flushes;
    uint64_t discarded; // bytes
    // The journal.
    bool journaling;
    size_t torn;
    uint8_t *durable;
    size_t durable_size;
    struct image_write *journal;
    size_t entries;
};

static inline bool memory_file_fails(struct memory_file *memory)
{
    return memory->fail_after >= 0 && memory->fail_after-- <= 0 && (memory->fail_after = 0) == 0;
}

static inline uint64_t memory_size(void *ctx)
{
    return ((struct memory_file *)ctx)->size;
}

static inline enum block_status memory_read(void *ctx, uint64_t offset, void *to, size_t size)
{
    struct memory_file *memory = ctx;
    memory->reads++;
    if (memory_file_fails(memory)) {
        return BLOCK_ERROR_IO;
    }
    memcpy(to, memory->bytes + offset, size);
    return BLOCK_OK;
}

static inline enum block_status memory_write(void *ctx, uint64_t offset, const void *from,
                                             size_t size)
{
    struct memory_file *memory = ctx;
    memory->writes++;
    if (memory_file_fails(memory)) {
        return BLOCK_ERROR_IO;
    }
    memcpy(memory->bytes + offset, from, size);
    if (memory->journaling && memory->entries < IMAGE_JOURNAL_MAX) {
        struct image_write *write = &memory->journal[memory->entries++];
        *write = (struct image_write){offset, size, malloc(size)};
        memcpy(write->bytes, from, size);
    }
    return BLOCK_OK;
}

static inline void memory_drop_journal(struct memory_file *memory)
{
    for (size_t i = 0; i < memory->entries; i++) {
        free(memory->journal[i].bytes);
    }
    memory->entries = 0;
}

static inline enum block_status memory_flush(void *ctx)
{
    struct memory_file *memory = ctx;
    memory->flushes++;
    if (memory_file_fails(memory)) {
        return BLOCK_ERROR_IO;
    }
    if (memory->journaling) {
        if (memory->size > memory->durable_size) {
            memory->durable = realloc(memory->durable, memory->size);
            memset(memory->durable + memory->durable_size, 0, memory->size - memory->durable_size);
        }
        memory->durable_size = memory->size;
        for (size_t i = 0; i < memory->entries; i++) {
            const struct image_write *write = &memory->journal[i];
            memcpy(memory->durable + write->offset, write->bytes, write->size);
        }
        memory_drop_journal(memory);
    }
    return BLOCK_OK;
}

static inline enum block_status memory_grow(void *ctx, uint64_t size)
{
    struct memory_file *memory = ctx;
    if (memory_file_fails(memory)) {
        return BLOCK_ERROR_IO;
    }
    if (memory->limit && size > memory->limit) {
        return BLOCK_ERROR_SPACE;
    }
    memory->bytes = realloc(memory->bytes, size);
    memset(memory->bytes + memory->size, 0, size - memory->size);
    memory->size = size;
    return BLOCK_OK;
}

static inline void memory_discard(void *ctx, uint64_t offset, uint64_t size)
{
    struct memory_file *memory = ctx;
    memory->discarded += size;
    memset(memory->bytes + offset, 0xDD, size); // whoever reads it again has lost
}

static inline void memory_file_init(struct memory_file *memory, size_t size)
{
    static const struct image_file_ops ops = {.size = memory_size,
                                              .read = memory_read,
                                              .write = memory_write,
                                              .flush = memory_flush,
                                              .grow = memory_grow,
                                              .discard = memory_discard};
    memset(memory, 0, sizeof *memory);
    memory->file = (struct image_file){&ops, memory};
    memory->bytes = calloc(1, size ? size : 1);
    memory->size = size;
    memory->fail_after = -1;
}

static inline void memory_file_read_only(struct memory_file *memory)
{
    static const struct image_file_ops ops = {.size = memory_size, .read = memory_read};
    memory->file.ops = &ops;
}

static inline void memory_file_free(struct memory_file *memory)
{
    memory_drop_journal(memory);
    free(memory->journal);
    free(memory->durable);
    free(memory->bytes);
    memset(memory, 0, sizeof *memory);
}

static inline void memory_file_journal(struct memory_file *memory)
{
    memory->journaling = true;
    memory->torn = IMAGE_TORN;
    memory->journal = calloc(IMAGE_JOURNAL_MAX, sizeof *memory->journal);
    memory->durable = malloc(memory->size);
    memcpy(memory->durable, memory->bytes, memory->size);
    memory->durable_size = memory->size;
}

// What a crash leaves: the durable file and any pieces of what was written since. `chance` of 256
// is each piece's chance to have made it. The size may or may not have grown.
static inline void memory_file_crash(struct memory_file *memory, unsigned chance)
{
    const size_t grown = memory->size;
    const size_t size = rand() % 2 ? grown : memory->durable_size;

    memset(memory->bytes, 0, memory->size);
    memcpy(memory->bytes, memory->durable, memory->durable_size);
    for (size_t i = 0; i < memory->entries; i++) {
        const struct image_write *write = &memory->journal[i];
        for (size_t at = 0; at < write->size;) {
            const size_t edge = memory->torn - (write->offset + at) % memory->torn;
            const size_t piece = edge < write->size - at ? edge : write->size - at;
            if (write->offset + at + piece <= size && (unsigned)rand() % 256 < chance) {
                memcpy(memory->bytes + write->offset + at, write->bytes + at, piece);
            }
            at += piece;
        }
    }
    memory->size = size;
    memory_drop_journal(memory);
    if (size > memory->durable_size) {
        memory->durable = realloc(memory->durable, size);
    }
    memcpy(memory->durable, memory->bytes, size);
    memory->durable_size = size;
}

// ---- requests ----------------------------------------------------------------------------------

struct image_result {
    unsigned done;
    enum block_status status;
};

static inline void image_done(struct block_request *request, enum block_status status)
{
    struct image_result *result = request->owner;
    result->done++;
    result->status = status;
}

// Submits one request over one buffer and returns its status; the backends here are synchronous.
static inline enum block_status image_run(struct block_device *device,
                                          enum block_operation operation, bool fua, uint64_t sector,
                                          uint64_t count, void *buffer, size_t size)
{
    struct image_result result = {0, BLOCK_OK};
    const struct block_segment segment = {buffer, size};
    struct block_request request = {.operation = operation,
                                    .force_unit_access = fua,
                                    .sector = sector,
                                    .count = count,
                                    .segments = &segment,
                                    .segment_count = 1,
                                    .done = image_done,
                                    .owner = &result};
    block_submit(device, &request);
    if (result.done != 1) {
        abort();
    }
    return result.status;
}
