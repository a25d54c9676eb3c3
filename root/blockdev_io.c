// SPDX-License-Identifier: BSD-2-Clause-Patent
// Reading and writing a block device of the firmware: contract in blockdev.h. The protocol moves
// whole sectors to and from aligned buffers; what is not both goes by a buffer of ours.
#include "root/blockdev.h"
#include "root/efi.h"
#include "root/lib/mem.h"

enum {
    BOUNCE = 1 << 16,
    AT_ONCE = 1 << 22, // some firmware's drivers fail with much more
};

struct piece {
    uint64_t sector;
    uint32_t skip; // bytes of the first sector that are not meant
    size_t bytes;  // that are
    size_t whole;  // bytes of all sectors
};

static enum block_status move(const struct blockdev *device, bool write, uint64_t sector,
                              void *buffer, size_t size)
{
    EFI_BLOCK_IO *io = device->io;
    const EFI_STATUS status = write ? io->WriteBlocks(io, io->Media->MediaId, sector, size, buffer)
                                    : io->ReadBlocks(io, io->Media->MediaId, sector, size, buffer);

    return EFI_ERROR(status) ? BLOCK_ERROR_IO : BLOCK_OK;
}

static bool is_direct(const struct blockdev *device, uint64_t offset, const void *buffer,
                      size_t size)
{
    return offset % device->sector_size == 0 && size >= device->sector_size &&
           (uintptr_t)buffer % device->alignment == 0;
}

static struct piece piece_at(const struct blockdev *device, uint64_t offset, size_t size)
{
    const uint32_t sector_size = device->sector_size;
    struct piece piece = {.sector = offset / sector_size, .skip = offset % sector_size};

    piece.bytes = size < BOUNCE - piece.skip ? size : BOUNCE - piece.skip;
    piece.whole = (piece.skip + piece.bytes + sector_size - 1) / sector_size * sector_size;
    return piece;
}

// Sectors that are written in part keep the rest.
static enum block_status write_piece(const struct blockdev *device, const struct piece *piece,
                                     const uint8_t *from)
{
    enum block_status status = BLOCK_OK;

    if (piece->bytes != piece->whole) {
        status = move(device, false, piece->sector, device->bounce, piece->whole);
    }
    if (status != BLOCK_OK) {
        return status;
    }
    memcpy((uint8_t *)device->bounce + piece->skip, from, piece->bytes);
    return move(device, true, piece->sector, device->bounce, piece->whole);
}

static enum block_status read_piece(const struct blockdev *device, const struct piece *piece,
                                    uint8_t *to)
{
    const enum block_status status =
        move(device, false, piece->sector, device->bounce, piece->whole);

    if (status == BLOCK_OK) {
        memcpy(to, (const uint8_t *)device->bounce + piece->skip, piece->bytes);
    }
    return status;
}

static enum block_status transfer(const struct blockdev *device, bool write, uint64_t offset,
                                  uint8_t *buffer, size_t size)
{
    enum block_status status = BLOCK_OK;

    while (size && status == BLOCK_OK) {
        size_t part;
        if (is_direct(device, offset, buffer, size)) {
            part = (size < AT_ONCE ? size : AT_ONCE) / device->sector_size * device->sector_size;
            status = move(device, write, offset / device->sector_size, buffer, part);
        } else {
            const struct piece piece = piece_at(device, offset, size);
            part = piece.bytes;
            status =
                write ? write_piece(device, &piece, buffer) : read_piece(device, &piece, buffer);
        }
        offset += part;
        buffer += part;
        size -= part;
    }
    return status;
}

enum block_status blockdev_read(void *device, uint64_t offset, void *to, size_t size)
{
    return transfer(device, false, offset, to, size);
}

enum block_status blockdev_write(void *device, uint64_t offset, const void *from, size_t size)
{
    return transfer(device, true, offset, (uint8_t *)(uintptr_t)from, size);
}

static uint64_t size_of(void *ctx)
{
    return ((const struct blockdev *)ctx)->size;
}

static enum block_status flush(void *ctx)
{
    EFI_BLOCK_IO *io = ((const struct blockdev *)ctx)->io;

    return EFI_ERROR(io->FlushBlocks(io)) ? BLOCK_ERROR_IO : BLOCK_OK;
}

const struct image_file_ops blockdev_ops = {
    .size = size_of, .read = blockdev_read, .write = blockdev_write, .flush = flush};
const struct image_file_ops blockdev_read_only_ops = {.size = size_of, .read = blockdev_read};
