// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the files of the ACPI builder share.
#pragma once

#include "acpi.h"
#include "acpi_layout.h"

enum { ACPI_TABLE_ALIGN = 16 };

struct acpi_build {
    uint8_t *bytes;
    size_t size;
    size_t used;
    uint64_t gpa;
    bool failed; // ran out of room; nothing is written any more
    struct acpi_tables tables;
};

// Takes cleared room at the next multiple of align. NULL when there is none.
void *acpi_reserve(struct acpi_build *build, size_t size, size_t align);

// Fills in the header of the table that begins at offset and ends with what was reserved last.
void acpi_finish_table(struct acpi_build *build, uint32_t offset, const char *signature,
                       uint8_t revision);

// Builds the DSDT and notes its offset.
void acpi_build_dsdt(struct acpi_build *build, const struct acpi_config *config);
