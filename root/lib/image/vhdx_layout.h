// SPDX-License-Identifier: BSD-2-Clause-Patent
// The VHDX file format (MS-VHDX, version 1): offsets of fields within their structure, in bytes.
// Integers are little endian. The structures are read and written by offset, never overlaid.
#pragma once
#include <stdint.h>

#define VHDX_MIB UINT64_C(0x100000)
#define VHDX_TIB UINT64_C(0x10000000000)

// MS-VHDX 2.2: header section.
enum vhdx_header_section {
    VHDX_HEADER_1 = 0x10000,
    VHDX_HEADER_2 = 0x20000,
    VHDX_REGION_TABLE_1 = 0x30000,
    VHDX_REGION_TABLE_2 = 0x40000,
    VHDX_TABLE_SIZE = 0x10000, // of region tables and the metadata table
    VHDX_HEADER_SECTION = 0x100000,
};

#define VHDX_FILE_SIGNATURE     UINT64_C(0x656C696678646876) // "vhdxfile"
#define VHDX_HEADER_SIGNATURE   UINT32_C(0x64616568)         // "head"
#define VHDX_REGION_SIGNATURE   UINT32_C(0x69676572)         // "regi"
#define VHDX_METADATA_SIGNATURE UINT64_C(0x617461646174656D) // "metadata"
#define VHDX_ENTRY_SIGNATURE    UINT32_C(0x65676F6C)         // "loge"
#define VHDX_ZERO_SIGNATURE     UINT32_C(0x6F72657A)         // "zero"
#define VHDX_DESC_SIGNATURE     UINT32_C(0x63736564)         // "desc"
#define VHDX_DATA_SIGNATURE     UINT32_C(0x61746164)         // "data"

// MS-VHDX 2.2.2: headers. The checksum is CRC-32C over the structure with the field as 0.
enum vhdx_header_field {
    HEADER_SIGNATURE = 0,
    HEADER_CHECKSUM = 4,
    HEADER_SEQUENCE = 8,
    HEADER_FILE_WRITE_GUID = 16,
    HEADER_DATA_WRITE_GUID = 32,
    HEADER_LOG_GUID = 48,
    HEADER_LOG_VERSION = 64,
    HEADER_VERSION = 66,
    HEADER_LOG_LENGTH = 68,
    HEADER_LOG_OFFSET = 72,
    HEADER_SIZE = 4096,
};

// MS-VHDX 2.2.3: region table.
enum vhdx_region_field {
    REGION_SIGNATURE = 0,
    REGION_CHECKSUM = 4,
    REGION_COUNT = 8,
    REGION_ENTRIES = 16,
    REGION_ENTRY_SIZE = 32,
    REGION_MAX = 2047,

    REGION_ENTRY_GUID = 0,
    REGION_ENTRY_OFFSET = 16,
    REGION_ENTRY_LENGTH = 24,
    REGION_ENTRY_REQUIRED = 28,
};

// MS-VHDX 2.6.1: metadata table.
enum vhdx_metadata_field {
    METADATA_SIGNATURE = 0,
    METADATA_COUNT = 10,
    METADATA_ENTRIES = 32,
    METADATA_ENTRY_SIZE = 32,
    METADATA_MAX = 2047,

    METADATA_ENTRY_GUID = 0,
    METADATA_ENTRY_OFFSET = 16,
    METADATA_ENTRY_LENGTH = 20,
    METADATA_ENTRY_FLAGS = 24,
    METADATA_FLAG_USER = 1,
    METADATA_FLAG_REQUIRED = 4,

    PARAMETERS_LEAVE_ALLOCATED = 1,
    PARAMETERS_HAS_PARENT = 2,
};

// MS-VHDX 2.5.1: block allocation table.
#define BAT_STATE_MASK  UINT64_C(7)
#define BAT_OFFSET_MASK (~(VHDX_MIB - 1))
enum vhdx_bat_state {
    BAT_NOT_PRESENT = 0,
    BAT_UNDEFINED = 1,
    BAT_ZERO = 2,
    BAT_UNMAPPED = 3,
    BAT_FULLY_PRESENT = 6,
    BAT_PARTIALLY_PRESENT = 7, // differencing images only
};

// MS-VHDX 2.3: log. An entry is its header, descriptors up to the end of a sector, data sectors.
enum vhdx_log_field {
    LOG_SECTOR = 4096,

    ENTRY_SIGNATURE = 0,
    ENTRY_CHECKSUM = 4,
    ENTRY_LENGTH = 8,
    ENTRY_TAIL = 12,
    ENTRY_SEQUENCE = 16,
    ENTRY_DESCRIPTORS = 24,
    ENTRY_LOG_GUID = 32,
    ENTRY_FLUSHED_OFFSET = 48,
    ENTRY_LAST_OFFSET = 56,
    ENTRY_HEADER = 64,

    DESCRIPTOR_SIZE = 32,
    DESCRIPTOR_SIGNATURE = 0,
    DESCRIPTOR_TRAILING = 4, // data: the last 4 bytes of the sector
    DESCRIPTOR_LEADING = 8,  // data: the first 8 bytes; zero: the length
    DESCRIPTOR_OFFSET = 16,
    DESCRIPTOR_SEQUENCE = 24,

    DATA_SIGNATURE = 0,
    DATA_SEQUENCE_HIGH = 4,
    DATA_BYTES = 8,
    DATA_BYTES_SIZE = 4084,
    DATA_SEQUENCE_LOW = 4092,
};

enum { VHDX_GUID_SIZE = 16 };
