// SPDX-License-Identifier: BSD-2-Clause-Patent
// Files of the volume that root.efi was loaded from, read whole.
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct file {
    uint8_t *bytes; // page aligned, followed by at least one zero byte
    uint64_t size;
};

// Whether there is such a file: UTF-8, "\" or "/" between names, relative to the volume's root.
bool file_exists(const char *path);

// Reads a file into memory that is never given back. False: root_fail() has been called; its text
// begins with `owner`, a VM's name or "".
bool file_load(const char *owner, const char *path, struct file *file);

// The folder of root.efi itself, with "\" at its end; false: too long for `size` bytes.
bool file_own_folder(char *path, uint64_t size);

// Opens a file to read, and to write if `writable`. Returns the firmware's handle; NULL: *why says
// why not.
void *file_try(const char *path, bool writable, uint64_t *size, const char **why);

// Exactly these bytes of an open file. False: they are not there, or cannot be read.
bool file_read_at(void *handle, uint64_t offset, void *data, uint64_t size);

void file_release(void *handle);
