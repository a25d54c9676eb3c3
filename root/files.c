// SPDX-License-Identifier: BSD-2-Clause-Patent
// Files by the firmware's simple file system protocol: contract in files.h.
#include "root/files.h"

#include "boot/text.h"
#include "hv/base.h"
#include "root/efi.h"
#include "root/log.h"

enum {
    PATH_UNITS = 512,
    READ_AT_ONCE = 4 << 20 // some firmware's drivers fail with much more
};

static EFI_LOADED_IMAGE *own_image(void)
{
    static EFI_GUID guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
    EFI_LOADED_IMAGE *image;
    const EFI_STATUS status =
        efi_system->BootServices->HandleProtocol(efi_image, &guid, (void **)&image);

    return EFI_ERROR(status) ? NULL : image;
}

static EFI_FILE_HANDLE open_volume(void)
{
    static EFI_GUID guid = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
    EFI_LOADED_IMAGE *image = own_image();
    EFI_FILE_IO_INTERFACE *volume;
    EFI_FILE_HANDLE root;

    if (!image || EFI_ERROR(efi_system->BootServices->HandleProtocol(image->DeviceHandle, &guid,
                                                                     (void **)&volume))) {
        return NULL;
    }
    return EFI_ERROR(volume->OpenVolume(volume, &root)) ? NULL : root;
}

static EFI_STATUS open_file(const char *path, uint64_t mode, EFI_FILE_HANDLE *file)
{
    uint16_t wide[PATH_UNITS];
    EFI_FILE_HANDLE root;

    if (!text_to_utf16(path, wide, PATH_UNITS)) {
        return EFI_INVALID_PARAMETER;
    }
    for (uint16_t *unit = wide; *unit; unit++) {
        *unit = *unit == '/' ? '\\' : *unit;
    }
    root = open_volume();
    if (!root) {
        return EFI_NO_MEDIA;
    }
    const EFI_STATUS status = root->Open(root, file, (CHAR16 *)wide, mode, 0);
    root->Close(root);
    return status;
}

bool file_exists(const char *path)
{
    EFI_FILE_HANDLE file;

    if (EFI_ERROR(open_file(path, EFI_FILE_MODE_READ, &file))) {
        return false;
    }
    file->Close(file);
    return true;
}

// By seeking to the end, which a folder refuses (UEFI 2.10, 13.5: SetPosition).
static EFI_STATUS size_of(EFI_FILE_HANDLE file, uint64_t *size)
{
    EFI_STATUS status = file->SetPosition(file, UINT64_MAX);

    if (!EFI_ERROR(status)) {
        status = file->GetPosition(file, size);
    }
    return EFI_ERROR(status) ? status : file->SetPosition(file, 0);
}

static EFI_STATUS read_contents(EFI_FILE_HANDLE handle, struct file *file)
{
    EFI_PHYSICAL_ADDRESS memory;
    EFI_STATUS status = size_of(handle, &file->size);

    if (EFI_ERROR(status)) {
        return status;
    }
    status = efi_system->BootServices->AllocatePages(AllocateAnyPages, EfiLoaderData,
                                                     file->size / HV_PAGE_SIZE + 1, &memory);
    if (EFI_ERROR(status)) {
        return EFI_OUT_OF_RESOURCES;
    }
    file->bytes = (uint8_t *)memory;
    for (uint64_t done = 0; done < file->size;) {
        UINTN part = file->size - done < READ_AT_ONCE ? file->size - done : READ_AT_ONCE;
        status = handle->Read(handle, &part, file->bytes + done);
        if (EFI_ERROR(status) || part == 0) {
            return EFI_DEVICE_ERROR;
        }
        done += part;
    }
    file->bytes[file->size] = 0;
    return EFI_SUCCESS;
}

static const char *reason(EFI_STATUS status)
{
    static const struct {
        EFI_STATUS status;
        const char *text;
    } reasons[] = {
        {EFI_NOT_FOUND, "no such file"},
        {EFI_INVALID_PARAMETER, "not a file name"},
        {EFI_NO_MEDIA, "the boot volume cannot be read"},
        {EFI_OUT_OF_RESOURCES, "not enough memory to read it"},
        {EFI_UNSUPPORTED, "not a file"},
        {EFI_WRITE_PROTECTED, "the boot volume cannot be written"},
        {EFI_ACCESS_DENIED, "it may not be written"},
    };

    for (unsigned i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].status == status) {
            return reasons[i].text;
        }
    }
    return "cannot be read";
}

static void fail(const char *owner, const char *path, EFI_STATUS status)
{
    root_fail("%s%s%s%s: %s", owner[0] ? "vm " : "", owner, owner[0] ? ": " : "", path,
              reason(status));
}

bool file_load(const char *owner, const char *path, struct file *file)
{
    EFI_FILE_HANDLE handle;
    EFI_STATUS status = open_file(path, EFI_FILE_MODE_READ, &handle);

    if (!EFI_ERROR(status)) {
        status = read_contents(handle, file);
        handle->Close(handle);
    }
    if (EFI_ERROR(status)) {
        fail(owner, path, status);
    }
    return !EFI_ERROR(status);
}

void *file_try(const char *path, bool writable, uint64_t *size, const char **why)
{
    const uint64_t mode = EFI_FILE_MODE_READ | (writable ? EFI_FILE_MODE_WRITE : 0);
    EFI_FILE_HANDLE handle;
    EFI_STATUS status = open_file(path, mode, &handle);

    if (!EFI_ERROR(status)) {
        status = size_of(handle, size);
        if (EFI_ERROR(status)) {
            handle->Close(handle);
        }
    }
    if (EFI_ERROR(status)) {
        *why = reason(status);
        return NULL;
    }
    return handle;
}

bool file_read_at(void *handle, uint64_t offset, void *data, uint64_t size)
{
    EFI_FILE_HANDLE file = handle;
    UINTN part = size;

    return !EFI_ERROR(file->SetPosition(file, offset)) &&
           !EFI_ERROR(file->Read(file, &part, data)) && part == size;
}

void file_release(void *handle)
{
    EFI_FILE_HANDLE file = handle;

    file->Close(file);
}

bool file_own_folder(char *path, uint64_t size)
{
    uint16_t wide[PATH_UNITS] = {'\\'};
    UINTN used = 1, end = 1;
    EFI_LOADED_IMAGE *image = own_image();

    for (EFI_DEVICE_PATH *node = image ? image->FilePath : NULL; node && !IsDevicePathEnd(node);
         node = NextDevicePathNode(node)) {
        if (DevicePathType(node) != MEDIA_DEVICE_PATH ||
            DevicePathSubType(node) != MEDIA_FILEPATH_DP) {
            continue;
        }
        const CHAR16 *name = ((FILEPATH_DEVICE_PATH *)node)->PathName;
        const UINTN units =
            (DevicePathNodeLength(node) - SIZE_OF_FILEPATH_DEVICE_PATH) / sizeof *name;
        for (UINTN i = 0; i < units && name[i] && used < PATH_UNITS; i++) {
            if (name[i] == '\\' && wide[used - 1] == '\\') {
                continue;
            }
            wide[used++] = name[i];
            end = name[i] == '\\' ? used : end;
        }
    }
    return text_from_utf16(wide, end, path, size);
}
