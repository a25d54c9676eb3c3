// SPDX-License-Identifier: BSD-2-Clause-Patent
// UEFI: simple file system protocol, LoadImage; device paths of files.
#include "boot/loader.h"
#include "boot/text.h"

#define PATH_UNITS 512u

static const EFI_GUID file_system_guid = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
static const EFI_GUID loaded_image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;

// Join the file path nodes of the image and cut the last name off: "\EFI\corbel\", or "\".
static size_t own_directory(EFI_LOADED_IMAGE *self, CHAR16 *path, size_t size)
{
    size_t used = 0, end = 1;
    path[used++] = L'\\';
    for (EFI_DEVICE_PATH *node = self->FilePath; node && !IsDevicePathEnd(node);
         node = NextDevicePathNode(node)) {
        if (DevicePathType(node) != MEDIA_DEVICE_PATH ||
            DevicePathSubType(node) != MEDIA_FILEPATH_DP)
            continue;
        const CHAR16 *name = ((FILEPATH_DEVICE_PATH *)node)->PathName;
        size_t units = (DevicePathNodeLength(node) - SIZE_OF_FILEPATH_DEVICE_PATH) / sizeof(*name);
        for (size_t i = 0; i < units && name[i] && used < size; i++) {
            CHAR16 unit = name[i] == L'/' ? L'\\' : name[i];
            if (unit == L'\\' && path[used - 1] == L'\\')
                continue;
            path[used++] = unit;
            if (unit == L'\\')
                end = used;
        }
    }
    return end;
}

// Absolute path on the volume. False: too long.
static bool resolve(EFI_LOADED_IMAGE *self, const CHAR16 *name, CHAR16 *path, size_t size)
{
    bool absolute = name[0] == L'\\' || name[0] == L'/';
    size_t used = absolute ? 0 : own_directory(self, path, size);
    for (; *name && used < size; name++)
        path[used++] = *name == L'/' ? L'\\' : *name;
    if (used == size)
        return false;
    path[used] = 0;
    return true;
}

static EFI_STATUS read_all(EFI_FILE_HANDLE file, char **text, size_t *size)
{
    // One byte more than is allowed, so that the parser sees a file that is too long.
    UINTN got = CONF_MAX_TEXT + 1;
    EFI_STATUS status = BS->AllocatePool(EfiLoaderData, got, (void **)text);
    if (EFI_ERROR(status))
        return status;
    status = file->Read(file, &got, *text);
    *size = got;
    if (EFI_ERROR(status))
        BS->FreePool(*text);
    return status;
}

EFI_STATUS file_read_beside(EFI_LOADED_IMAGE *self, const CHAR16 *name, char **text, size_t *size)
{
    EFI_FILE_IO_INTERFACE *volume;
    EFI_FILE_HANDLE root, file;
    CHAR16 path[PATH_UNITS];
    EFI_STATUS status =
        BS->HandleProtocol(self->DeviceHandle, (EFI_GUID *)&file_system_guid, (void **)&volume);
    if (EFI_ERROR(status) || !resolve(self, name, path, PATH_UNITS))
        return EFI_NOT_FOUND;
    status = volume->OpenVolume(volume, &root);
    if (EFI_ERROR(status))
        return status;
    status = root->Open(root, &file, path, EFI_FILE_MODE_READ, 0);
    if (!EFI_ERROR(status)) {
        status = read_all(file, text, size);
        file->Close(file);
    }
    root->Close(root);
    return status;
}

static EFI_STATUS load(EFI_HANDLE parent, EFI_LOADED_IMAGE *self, const char *name,
                       EFI_HANDLE *image)
{
    CHAR16 wide[CONF_PATH_SIZE], path[PATH_UNITS];
    if (!text_to_utf16(name, (uint16_t *)wide, CONF_PATH_SIZE) ||
        !resolve(self, wide, path, PATH_UNITS))
        return EFI_INVALID_PARAMETER;
    EFI_DEVICE_PATH *device_path = FileDevicePath(self->DeviceHandle, path);
    if (!device_path)
        return EFI_OUT_OF_RESOURCES;
    EFI_STATUS status = BS->LoadImage(FALSE, parent, device_path, NULL, 0, image);
    BS->FreePool(device_path);
    return status;
}

// The options outlive the image's start: some images keep the pointer.
static EFI_STATUS set_options(EFI_HANDLE image, const char *options)
{
    static uint16_t wide[CONF_LINE_SIZE];
    EFI_LOADED_IMAGE *loaded;
    EFI_STATUS status = BS->HandleProtocol(image, (EFI_GUID *)&loaded_image_guid, (void **)&loaded);
    if (EFI_ERROR(status) || !options[0])
        return status;
    if (!text_to_utf16(options, wide, CONF_LINE_SIZE))
        return EFI_INVALID_PARAMETER;
    size_t units = 0;
    while (wide[units])
        units++;
    loaded->LoadOptions = wide;
    loaded->LoadOptionsSize = (UINT32)((units + 1) * sizeof(wide[0]));
    return EFI_SUCCESS;
}

EFI_STATUS file_start(EFI_HANDLE parent, EFI_LOADED_IMAGE *self, const char *path,
                      const char *options)
{
    EFI_HANDLE image = NULL;
    EFI_STATUS status = load(parent, self, path, &image);
    if (!EFI_ERROR(status))
        status = set_options(image, options);
    if (EFI_ERROR(status)) {
        log_line("next: cannot load %s (status %lx)", path, status);
        if (image)
            BS->UnloadImage(image);
        return status;
    }
    return BS->StartImage(image, NULL, NULL);
}
