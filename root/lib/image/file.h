// SPDX-License-Identifier: BSD-2-Clause-Patent
// Byte devices: the file (or partition) that an image lies in, as the environment provides it.
// Everything is synchronous. Offsets and sizes are bytes of any alignment; callers stay below
// size(). After a write has failed the bytes it was for are undefined, and only they.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "block.h"

struct image_file_ops {
    uint64_t (*size)(void *ctx); // asked with every access: cheap
    enum block_status (*read)(void *ctx, uint64_t offset, void *to, size_t size);
    // NULL: the file is read-only.
    enum block_status (*write)(void *ctx, uint64_t offset, const void *from, size_t size);
    // Makes everything written, and the size, durable. NULL only for read-only files.
    enum block_status (*flush)(void *ctx);
    // Optional: grows the file; new bytes read as zeros.
    enum block_status (*grow)(void *ctx, uint64_t size);
    // Optional: makes a range read as zeros, faster than by writing them.
    enum block_status (*zero)(void *ctx, uint64_t offset, uint64_t size);
    // Optional: nobody needs this range any more. What it reads as from now on is undefined.
    void (*discard)(void *ctx, uint64_t offset, uint64_t size);
};

struct image_file {
    const struct image_file_ops *ops;
    void *ctx;
};

uint64_t file_size(const struct image_file *file);
bool file_is_read_only(const struct image_file *file);
// Reading and writing past the end fails with BLOCK_ERROR_IO.
enum block_status file_read(const struct image_file *file, uint64_t offset, void *to, size_t size);
enum block_status file_write(const struct image_file *file, uint64_t offset, const void *from,
                             size_t size);
enum block_status file_flush(const struct image_file *file);
// BLOCK_ERROR_SPACE when the file cannot grow. A size that is not larger is no error.
enum block_status file_grow(const struct image_file *file, uint64_t size);
// By the file's own means, or by writing zeros.
enum block_status file_zero(const struct image_file *file, uint64_t offset, uint64_t size);

// Bytes [skip, skip + size) of the segments, from or to the file at `offset`. The segments hold
// that many.
enum block_status file_read_segments(const struct image_file *file, uint64_t offset,
                                     const struct block_segment *segments, uint64_t skip,
                                     uint64_t size);
enum block_status file_write_segments(const struct image_file *file, uint64_t offset,
                                      const struct block_segment *segments, uint64_t skip,
                                      uint64_t size);
// Clears bytes [skip, skip + size) of the segments.
void segments_clear(const struct block_segment *segments, uint64_t skip, uint64_t size);
