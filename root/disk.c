// SPDX-License-Identifier: BSD-2-Clause-Patent
// Disks in files of the boot volume and on block devices: contract in disk.h.
#include "root/disk.h"

#include "boot/text.h"
#include "root/cpu.h"
#include "root/efi.h"
#include "root/files.h"
#include "root/lib/mem.h"
#include "root/log.h"
#include "root/pages.h"

enum {
    SECTOR_DISK = 512,
    SECTOR_CD = 2048,
    ZEROS = 65536,
    MAP_SIZE = 1 << 20, // of a VHDX file's space: two bits a MiB, 4 TiB
};

// ---- the file ----------------------------------------------------------------------------------

static uint64_t size(void *ctx)
{
    const struct disk *disk = ctx;
    return disk->size;
}

static enum block_status read(void *ctx, uint64_t offset, void *to, size_t count)
{
    const struct disk *disk = ctx;
    EFI_FILE_HANDLE file = disk->handle;
    UINTN got = count;

    if (EFI_ERROR(file->SetPosition(file, offset)) || EFI_ERROR(file->Read(file, &got, to))) {
        return BLOCK_ERROR_IO;
    }
    return got == count ? BLOCK_OK : BLOCK_ERROR_IO;
}

static enum block_status write_at(struct disk *disk, uint64_t offset, const void *from,
                                  size_t count)
{
    EFI_FILE_HANDLE file = disk->handle;
    UINTN done = count;

    disk->dirty = true;
    EFI_STATUS status = file->SetPosition(file, offset);
    if (!EFI_ERROR(status)) {
        status = file->Write(file, &done, (void *)(uintptr_t)from);
    }
    if (status == EFI_VOLUME_FULL) {
        return BLOCK_ERROR_SPACE;
    }
    return EFI_ERROR(status) || done != count ? BLOCK_ERROR_IO : BLOCK_OK;
}

static enum block_status write(void *ctx, uint64_t offset, const void *from, size_t count)
{
    return write_at(ctx, offset, from, count);
}

static enum block_status flush(void *ctx)
{
    struct disk *disk = ctx;
    EFI_FILE_HANDLE file = disk->handle;

    if (disk->dirty && EFI_ERROR(file->Flush(file))) {
        return BLOCK_ERROR_IO;
    }
    disk->dirty = false;
    return BLOCK_OK;
}

// The firmware does not say what a file that grows by seeking holds there.
static enum block_status grow(void *ctx, uint64_t wanted)
{
    static const uint8_t zeros[ZEROS];
    struct disk *disk = ctx;
    enum block_status status = BLOCK_OK;

    while (disk->size < wanted && status == BLOCK_OK) {
        const size_t part = wanted - disk->size < ZEROS ? wanted - disk->size : ZEROS;
        status = write_at(disk, disk->size, zeros, part);
        if (status == BLOCK_OK) {
            disk->size += part;
        }
    }
    return status;
}

static const struct image_file_ops ops = {
    .size = size, .read = read, .write = write, .flush = flush, .grow = grow};
static const struct image_file_ops read_only_ops = {.size = size, .read = read};

// ---- the image ---------------------------------------------------------------------------------

// New GUIDs of the image are made of it: not twice the same.
static void unique_bytes(uint8_t bytes[16])
{
    uint64_t value = cpu_tsc();

    for (unsigned i = 0; i < 16; i++) {
        value = value * UINT64_C(6364136223846793005) + (cpu_tsc() | 1);
        bytes[i] = (uint8_t)(value >> 56);
    }
}

static const char *open_vhdx(struct disk *disk, bool read_only)
{
    struct vhdx_params params = {.read_only = read_only, .memory_size = MAP_SIZE};

    if (!disk->vhdx) {
        disk->vhdx = pages_zeroed(sizeof *disk->vhdx);
    }
    if (!disk->vhdx_map) {
        disk->vhdx_map = pages_zeroed(MAP_SIZE);
    }
    if (!disk->vhdx || !disk->vhdx_map) {
        return "not enough memory";
    }
    params.memory = disk->vhdx_map;
    unique_bytes(params.unique);
    const enum vhdx_error error = vhdx_open(disk->vhdx, &disk->file, &params);
    disk->is_vhdx = error == VHDX_OK;
    return error == VHDX_OK ? NULL : vhdx_error_text(error);
}

// A raw image has no identity of its own: the name's, mixed.
static void id_of(const char *name, uint8_t id[16])
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);

    for (unsigned i = 0; i < 16; i++) {
        for (const char *c = name; *c; c++) {
            hash = (hash ^ (uint8_t)*c) * UINT64_C(0x100000001B3);
        }
        id[i] = (uint8_t)(hash >> 32);
    }
}

static const char *open_file(struct disk *disk, const char *path, bool is_cd)
{
    const char *error = NULL;

    disk->handle = file_try(path, !is_cd, &disk->size, &error);
    disk->file = (struct image_file){is_cd ? &read_only_ops : &ops, disk};
    return disk->handle ? NULL : error;
}

static const char *open_device(struct disk *disk, const char *path, bool is_cd)
{
    const char *error = blockdev_open(&disk->device, path, !is_cd);

    disk->handle = NULL;
    disk->size = disk->device.size;
    disk->file =
        (struct image_file){is_cd ? &blockdev_read_only_ops : &blockdev_ops, &disk->device};
    return error;
}

static void release(struct disk *disk)
{
    if (disk->handle) {
        file_release(disk->handle);
    } else {
        blockdev_close(&disk->device);
    }
    disk->is_open = false;
}

// What is on a device is the guest's, whatever it looks like.
static const char *open_image(struct disk *disk, bool is_cd)
{
    uint32_t sector_size = is_cd ? SECTOR_CD : SECTOR_DISK;

    if (disk->handle && vhdx_probe(&disk->file)) {
        return open_vhdx(disk, is_cd);
    }
    if (!disk->handle && !is_cd) {
        sector_size = disk->device.sector_size;
    }
    return raw_open(&disk->raw, &disk->file, sector_size, is_cd) ? NULL : "not an image";
}

const char *disk_open(struct disk *disk, const char *path, const char *name, bool is_cd)
{
    struct block_info info;
    uint8_t id[16];
    const char *error =
        blockdev_named(path) ? open_device(disk, path, is_cd) : open_file(disk, path, is_cd);

    if (error) {
        return error;
    }
    disk->dirty = disk->is_vhdx = false;
    disk->is_open = true;
    error = open_image(disk, is_cd);
    if (error) {
        release(disk);
        return error;
    }
    struct block_device *device = disk->is_vhdx ? &disk->vhdx->device : &disk->raw.device;
    device->ops->info(device, &info);
    id_of(name, id);
    scsi_lun_init(&disk->lun, is_cd ? SCSI_CD : SCSI_DISK, device, info.has_id ? info.id : id,
                  name);
    return NULL;
}

const char *disk_grow(struct disk *disk, uint64_t wanted)
{
    struct block_device *device = disk->lun.medium;
    struct block_info info;
    enum block_status status;

    device->ops->info(device, &info);
    if (wanted <= info.sectors * info.sector_size) {
        return "it is not smaller";
    }
    status = disk->is_vhdx ? vhdx_grow(disk->vhdx, wanted) : file_grow(&disk->file, wanted);
    if (status == BLOCK_OK) {
        scsi_lun_resized(&disk->lun);
    }
    return status == BLOCK_OK ? NULL : "the image cannot grow so far";
}

static void flushed(struct block_request *request, enum block_status status)
{
    *(enum block_status *)request->owner = status;
}

void disk_flush(struct disk *disk)
{
    enum block_status status = BLOCK_OK;
    struct block_request request = {.operation = BLOCK_FLUSH, .done = flushed, .owner = &status};

    block_submit(disk->lun.medium, &request);
    if (status != BLOCK_OK) {
        root_log("disk %s: what was written last is not on the medium", disk->lun.serial);
    }
}

void disk_close(struct disk *disk)
{
    const bool closed = !disk->is_vhdx || vhdx_close(disk->vhdx) == BLOCK_OK;

    if (!closed || (disk->file.ops->flush && file_flush(&disk->file) != BLOCK_OK)) {
        root_log("disk %s: could not be closed in order", disk->lun.serial);
    }
    release(disk);
}
