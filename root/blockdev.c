// SPDX-License-Identifier: BSD-2-Clause-Patent
// Opening block devices of the firmware: contract in blockdev.h.
#include "root/blockdev.h"

#include "boot/text.h"
#include "root/efi.h"
#include "root/lib/mem.h"
#include "root/pages.h"

enum { PATH_UNITS = 256, BOUNCE_SIZE = 1 << 16, SECTOR_MIN = 512, SECTOR_MAX = 4096 };

static EFI_GUID block_guid = EFI_BLOCK_IO_PROTOCOL_GUID;
static EFI_GUID path_guid = EFI_DEVICE_PATH_PROTOCOL_GUID;

bool blockdev_named(const char *path)
{
    const char *prefix = BLOCKDEV_PREFIX;

    while (*prefix && *path == *prefix) {
        path++;
        prefix++;
    }
    return !*prefix;
}

// Bytes ahead of the node that ends a path.
static UINTN path_size(const EFI_DEVICE_PATH *path)
{
    const EFI_DEVICE_PATH *node = path;

    while (!IsDevicePathEnd(node)) {
        node = NextDevicePathNode(node);
    }
    return (UINTN)((const uint8_t *)node - (const uint8_t *)path);
}

static EFI_DEVICE_PATH *path_from_text(const char *text)
{
    static EFI_GUID guid = EFI_DEVICE_PATH_FROM_TEXT_PROTOCOL_GUID;
    EFI_DEVICE_PATH_FROM_TEXT_PROTOCOL *from_text;
    uint16_t wide[PATH_UNITS];

    if (!text_to_utf16(text, wide, PATH_UNITS) ||
        EFI_ERROR(efi_system->BootServices->LocateProtocol(&guid, NULL, (void **)&from_text))) {
        return NULL;
    }
    return from_text->ConvertTextToDevicePath((CHAR16 *)wide);
}

// The firmware starts the drivers of what it boots from, and perhaps no others: those along the
// path, from where they are missing.
static void connect(EFI_DEVICE_PATH *path)
{
    EFI_HANDLE handle, last = NULL;
    EFI_DEVICE_PATH *rest = path;

    while (!EFI_ERROR(efi_system->BootServices->LocateDevicePath(&path_guid, &rest, &handle)) &&
           handle != last && !IsDevicePathEnd(rest)) {
        (void)efi_system->BootServices->ConnectController(handle, NULL, rest, FALSE);
        last = handle;
        rest = path;
    }
}

// The device of exactly this path.
static EFI_HANDLE find(const char *text)
{
    EFI_DEVICE_PATH *path = path_from_text(text), *rest = path;
    EFI_HANDLE handle = NULL;

    if (!path) {
        return NULL;
    }
    connect(path);
    if (EFI_ERROR(efi_system->BootServices->LocateDevicePath(&block_guid, &rest, &handle)) ||
        !IsDevicePathEnd(rest)) {
        handle = NULL;
    }
    efi_system->BootServices->FreePool(path);
    return handle;
}

// Whether the boot volume is the device, or on it: its path begins with the device's.
static bool holds_boot_volume(EFI_HANDLE handle)
{
    static EFI_GUID image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
    EFI_DEVICE_PATH *own, *boot;
    EFI_LOADED_IMAGE *image;
    EFI_BOOT_SERVICES *services = efi_system->BootServices;

    if (EFI_ERROR(services->HandleProtocol(handle, &path_guid, (void **)&own)) ||
        EFI_ERROR(services->HandleProtocol(efi_image, &image_guid, (void **)&image)) ||
        EFI_ERROR(services->HandleProtocol(image->DeviceHandle, &path_guid, (void **)&boot))) {
        return true; // not known: better not
    }
    const UINTN size = path_size(own);
    return size <= path_size(boot) && !memcmp(own, boot, size);
}

static const char *take_medium(struct blockdev *device, bool writable)
{
    EFI_BLOCK_IO *io = device->io;
    const EFI_BLOCK_IO_MEDIA *medium = io->Media;

    if (!medium->MediaPresent) {
        return "no medium is in the device";
    }
    if (writable && medium->ReadOnly) {
        return "the device may not be written";
    }
    if (medium->BlockSize < SECTOR_MIN || medium->BlockSize > SECTOR_MAX ||
        medium->BlockSize & (medium->BlockSize - 1)) {
        return "the device has sectors of an odd size";
    }
    device->sector_size = medium->BlockSize;
    device->alignment = medium->IoAlign > 1 ? medium->IoAlign : 1;
    device->size = (medium->LastBlock + 1) * medium->BlockSize;
    device->bounce = device->bounce ? device->bounce : pages_zeroed(BOUNCE_SIZE);
    return device->bounce ? NULL : "not enough memory";
}

const char *blockdev_open(struct blockdev *device, const char *path, bool writable)
{
    const char *error;

    device->handle = find(path + sizeof BLOCKDEV_PREFIX - 1);
    if (!device->handle) {
        return "no such device";
    }
    if (holds_boot_volume(device->handle)) {
        return "the boot volume is there";
    }
    if (EFI_ERROR(efi_system->BootServices->OpenProtocol(device->handle, &block_guid, &device->io,
                                                         efi_image, NULL,
                                                         EFI_OPEN_PROTOCOL_EXCLUSIVE))) {
        device->io = NULL;
        return "the device is in use";
    }
    error = take_medium(device, writable);
    if (error) {
        blockdev_close(device);
    }
    return error;
}

void blockdev_close(struct blockdev *device)
{
    efi_system->BootServices->CloseProtocol(device->handle, &block_guid, efi_image, NULL);
    device->io = NULL;
}
