// SPDX-License-Identifier: BSD-2-Clause-Patent
// Byte devices: contract in file.h.
#include "file.h"

#include "../mem.h"

enum { ZEROS = 32768 }; // bytes written at once where a file cannot zero by itself

static const uint8_t zeros[ZEROS];

uint64_t file_size(const struct image_file *file)
{
    return file->ops->size(file->ctx);
}

bool file_is_read_only(const struct image_file *file)
{
    return !file->ops->write;
}

static bool inside(const struct image_file *file, uint64_t offset, uint64_t size)
{
    const uint64_t end = file_size(file);
    return offset <= end && size <= end - offset;
}

enum block_status file_read(const struct image_file *file, uint64_t offset, void *to, size_t size)
{
    return inside(file, offset, size) ? file->ops->read(file->ctx, offset, to, size)
                                      : BLOCK_ERROR_IO;
}

enum block_status file_write(const struct image_file *file, uint64_t offset, const void *from,
                             size_t size)
{
    if (file_is_read_only(file)) {
        return BLOCK_ERROR_READ_ONLY;
    }
    return inside(file, offset, size) ? file->ops->write(file->ctx, offset, from, size)
                                      : BLOCK_ERROR_IO;
}

enum block_status file_flush(const struct image_file *file)
{
    return file->ops->flush ? file->ops->flush(file->ctx) : BLOCK_OK;
}

enum block_status file_grow(const struct image_file *file, uint64_t size)
{
    if (size <= file_size(file)) {
        return BLOCK_OK;
    }
    return file->ops->grow ? file->ops->grow(file->ctx, size) : BLOCK_ERROR_SPACE;
}

enum block_status file_zero(const struct image_file *file, uint64_t offset, uint64_t size)
{
    if (file_is_read_only(file)) {
        return BLOCK_ERROR_READ_ONLY;
    }
    if (!inside(file, offset, size)) {
        return BLOCK_ERROR_IO;
    }
    if (file->ops->zero) {
        return file->ops->zero(file->ctx, offset, size);
    }
    while (size) {
        const size_t now = size < ZEROS ? (size_t)size : ZEROS;
        const enum block_status status = file->ops->write(file->ctx, offset, zeros, now);
        if (status != BLOCK_OK) {
            return status;
        }
        offset += now;
        size -= now;
    }
    return BLOCK_OK;
}

// A walk over bytes [skip, skip + left) of a list of segments.
struct walk {
    const struct block_segment *segment;
    uint64_t skip;
    uint64_t left;
};

// The next piece in one segment; its size is 0 at the end.
static struct block_segment next_piece(struct walk *walk)
{
    struct block_segment piece = {NULL, 0};

    while (walk->left && piece.size == 0) {
        if (walk->skip < walk->segment->size) {
            const uint64_t here = walk->segment->size - walk->skip;
            piece.base = (uint8_t *)walk->segment->base + walk->skip;
            piece.size = (size_t)(here < walk->left ? here : walk->left);
            walk->left -= piece.size;
            walk->skip = 0;
        } else {
            walk->skip -= walk->segment->size;
        }
        walk->segment++;
    }
    return piece;
}

static enum block_status move_segments(const struct image_file *file, uint64_t offset,
                                       struct walk walk, bool is_write)
{
    for (;;) {
        const struct block_segment piece = next_piece(&walk);
        if (!piece.size) {
            return BLOCK_OK;
        }
        const enum block_status status = is_write ? file_write(file, offset, piece.base, piece.size)
                                                  : file_read(file, offset, piece.base, piece.size);
        if (status != BLOCK_OK) {
            return status;
        }
        offset += piece.size;
    }
}

enum block_status file_read_segments(const struct image_file *file, uint64_t offset,
                                     const struct block_segment *segments, uint64_t skip,
                                     uint64_t size)
{
    return move_segments(file, offset, (struct walk){segments, skip, size}, false);
}

enum block_status file_write_segments(const struct image_file *file, uint64_t offset,
                                      const struct block_segment *segments, uint64_t skip,
                                      uint64_t size)
{
    return move_segments(file, offset, (struct walk){segments, skip, size}, true);
}

void segments_clear(const struct block_segment *segments, uint64_t skip, uint64_t size)
{
    struct walk walk = {segments, skip, size};

    for (struct block_segment piece = next_piece(&walk); piece.size; piece = next_piece(&walk)) {
        memset(piece.base, 0, piece.size);
    }
}
