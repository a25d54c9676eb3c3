// SPDX-License-Identifier: BSD-2-Clause-Patent
// VHDX region table and metadata (MS-VHDX 2.2.3, 2.6).
#include "crc32c.h"
#include "vhdx_priv.h"

enum { SECTOR = 4096 };

// The file's own way of writing GUIDs (MS-DTYP 2.3.4.2).
static const uint8_t bat_region[] = {0x66, 0x77, 0xC2, 0x2D, 0x23, 0xF6, 0x00, 0x42,
                                     0x9D, 0x64, 0x11, 0x5E, 0x9B, 0xFD, 0x4A, 0x08};
static const uint8_t metadata_region[] = {0x06, 0xA2, 0x7C, 0x8B, 0x90, 0x47, 0x9A, 0x4B,
                                          0xB8, 0xFE, 0x57, 0x5F, 0x05, 0x0F, 0x88, 0x6E};

// ---- regions -----------------------------------------------------------------------------------

// Whether the region table at `offset` is valid; *count is how many entries it has.
static bool check_region_table(struct vhdx *vhdx, uint64_t offset, uint32_t *count)
{
    uint8_t *const sector = vhdx->sector;
    uint32_t crc = 0, expected = 0, signature = 0;

    for (uint32_t at = 0; at < VHDX_TABLE_SIZE; at += SECTOR) {
        if (file_read(vhdx->file, offset + at, sector, SECTOR) != BLOCK_OK) {
            return false;
        }
        if (at == 0) {
            signature = load_le32(sector + REGION_SIGNATURE);
            expected = load_le32(sector + REGION_CHECKSUM);
            *count = load_le32(sector + REGION_COUNT);
            store_le32(sector + REGION_CHECKSUM, 0);
        }
        crc = crc32c(crc, sector, SECTOR);
    }
    return signature == VHDX_REGION_SIGNATURE && crc == expected && *count <= REGION_MAX;
}

static bool region_is_sound(const struct vhdx *vhdx, const struct vhdx_region *region)
{
    const uint64_t end = file_size(vhdx->file);
    return region->offset >= VHDX_HEADER_SECTION && region->offset % VHDX_MIB == 0 &&
           region->length != 0 && region->length % VHDX_MIB == 0 && region->offset <= end &&
           region->length <= end - region->offset;
}

enum vhdx_error vhdx_get_region(struct vhdx *vhdx, uint32_t index, struct vhdx_region *region,
                                const uint8_t **guid, bool *required)
{
    uint8_t *const entry = vhdx->descriptors;
    const uint64_t offset = vhdx->region_table + REGION_ENTRIES + index * REGION_ENTRY_SIZE;

    if (file_read(vhdx->file, offset, entry, REGION_ENTRY_SIZE) != BLOCK_OK) {
        return VHDX_ERROR_IO;
    }
    region->offset = load_le64(entry + REGION_ENTRY_OFFSET);
    region->length = load_le32(entry + REGION_ENTRY_LENGTH);
    *guid = entry + REGION_ENTRY_GUID;
    *required = load_le32(entry + REGION_ENTRY_REQUIRED) & 1;
    return region_is_sound(vhdx, region) ? VHDX_OK : VHDX_ERROR_REGION_TABLE;
}

// Keeps a region that is known; a kind appears once.
static enum vhdx_error keep_region(struct vhdx *vhdx, const struct vhdx_region *region,
                                   const uint8_t *guid, bool required)
{
    struct vhdx_region *known = NULL;

    if (memcmp(guid, bat_region, VHDX_GUID_SIZE) == 0) {
        known = &vhdx->bat;
    } else if (memcmp(guid, metadata_region, VHDX_GUID_SIZE) == 0) {
        known = &vhdx->metadata;
    } else {
        return required ? VHDX_ERROR_REGION_UNKNOWN : VHDX_OK;
    }
    if (known->length) {
        return VHDX_ERROR_REGION_TABLE;
    }
    *known = *region;
    return VHDX_OK;
}

enum vhdx_error vhdx_read_regions(struct vhdx *vhdx)
{
    vhdx->region_table = VHDX_REGION_TABLE_1;
    if (!check_region_table(vhdx, vhdx->region_table, &vhdx->regions)) {
        vhdx->region_table = VHDX_REGION_TABLE_2;
        if (!check_region_table(vhdx, vhdx->region_table, &vhdx->regions)) {
            return VHDX_ERROR_REGION_TABLE;
        }
    }
    for (uint32_t i = 0; i < vhdx->regions; i++) {
        struct vhdx_region region;
        const uint8_t *guid;
        bool required;
        enum vhdx_error error = vhdx_get_region(vhdx, i, &region, &guid, &required);
        if (error == VHDX_OK) {
            error = keep_region(vhdx, &region, guid, required);
        }
        if (error != VHDX_OK) {
            return error;
        }
    }
    return vhdx->bat.length && vhdx->metadata.length ? VHDX_OK : VHDX_ERROR_REGION_MISSING;
}

// ---- metadata ----------------------------------------------------------------------------------

enum item {
    ITEM_PARAMETERS,
    ITEM_DISK_SIZE,
    ITEM_PAGE83,
    ITEM_SECTOR_SIZE,
    ITEM_PHYSICAL_SIZE,
    ITEM_PARENT_LOCATOR,
    ITEM_COUNT,
    ITEM_SIZE_MAX = 16,
};

struct item_kind {
    uint8_t guid[VHDX_GUID_SIZE];
    uint8_t size; // bytes; 0: not read
};

// MS-VHDX 2.6.2.
static const struct item_kind kinds[ITEM_COUNT] = {
    [ITEM_PARAMETERS] = {{0x37, 0x67, 0xA1, 0xCA, 0x36, 0xFA, 0x43, 0x4D, 0xB3, 0xB6, 0x33, 0xF0,
                          0xAA, 0x44, 0xE7, 0x6B},
                         8},
    [ITEM_DISK_SIZE] = {{0x24, 0x42, 0xA5, 0x2F, 0x1B, 0xCD, 0x76, 0x48, 0xB2, 0x11, 0x5D, 0xBE,
                         0xD8, 0x3B, 0xF4, 0xB8},
                        8},
    [ITEM_PAGE83] = {{0xAB, 0x12, 0xCA, 0xBE, 0xE6, 0xB2, 0x23, 0x45, 0x93, 0xEF, 0xC3, 0x09, 0xE0,
                      0x00, 0xC7, 0x46},
                     16},
    [ITEM_SECTOR_SIZE] = {{0x1D, 0xBF, 0x41, 0x81, 0x6F, 0xA9, 0x09, 0x47, 0xBA, 0x47, 0xF2, 0x33,
                           0xA8, 0xFA, 0xAB, 0x5F},
                          4},
    [ITEM_PHYSICAL_SIZE] = {{0xC7, 0x48, 0xA3, 0xCD, 0x5D, 0x44, 0x71, 0x44, 0x9C, 0xC9, 0xE9, 0x88,
                             0x52, 0x51, 0xC5, 0x56},
                            4},
    [ITEM_PARENT_LOCATOR] = {{0x2D, 0x5F, 0xD3, 0xA8, 0x0B, 0xB3, 0x4D, 0x45, 0xAB, 0xF7, 0xD3,
                              0xD8, 0x48, 0x34, 0xAB, 0x0C},
                             0},
};

// What the items say.
struct metadata {
    bool present[ITEM_COUNT];
    uint64_t place[ITEM_COUNT]; // in the file
    uint8_t bytes[ITEM_COUNT][ITEM_SIZE_MAX];
};

static enum item find_kind(const uint8_t *entry)
{
    enum item item = 0;

    if (load_le32(entry + METADATA_ENTRY_FLAGS) & METADATA_FLAG_USER) {
        return ITEM_COUNT;
    }
    while (item < ITEM_COUNT &&
           memcmp(kinds[item].guid, entry + METADATA_ENTRY_GUID, VHDX_GUID_SIZE) != 0) {
        item++;
    }
    return item;
}

static enum vhdx_error read_item(struct vhdx *vhdx, const uint8_t *entry, struct metadata *metadata)
{
    const enum item item = find_kind(entry);
    const uint32_t offset = load_le32(entry + METADATA_ENTRY_OFFSET);
    const uint32_t length = load_le32(entry + METADATA_ENTRY_LENGTH);

    if (item == ITEM_COUNT) {
        return load_le32(entry + METADATA_ENTRY_FLAGS) & METADATA_FLAG_REQUIRED
                   ? VHDX_ERROR_METADATA_UNKNOWN
                   : VHDX_OK;
    }
    if (metadata->present[item] || offset < VHDX_TABLE_SIZE || offset > vhdx->metadata.length ||
        length > vhdx->metadata.length - offset) {
        return VHDX_ERROR_METADATA_TABLE;
    }
    metadata->present[item] = true;
    metadata->place[item] = vhdx->metadata.offset + offset;
    if (!kinds[item].size) {
        return VHDX_OK;
    }
    if (length != kinds[item].size) {
        return VHDX_ERROR_METADATA_VALUE;
    }
    return file_read(vhdx->file, metadata->place[item], metadata->bytes[item], length) == BLOCK_OK
               ? VHDX_OK
               : VHDX_ERROR_IO;
}

static enum vhdx_error read_items(struct vhdx *vhdx, struct metadata *metadata)
{
    uint8_t header[METADATA_ENTRIES], entry[METADATA_ENTRY_SIZE];

    if (file_read(vhdx->file, vhdx->metadata.offset, header, sizeof header) != BLOCK_OK) {
        return VHDX_ERROR_IO;
    }
    const uint32_t count = load_le16(header + METADATA_COUNT);
    if (load_le64(header + METADATA_SIGNATURE) != VHDX_METADATA_SIGNATURE || count > METADATA_MAX) {
        return VHDX_ERROR_METADATA_TABLE;
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t offset = vhdx->metadata.offset + METADATA_ENTRIES + i * METADATA_ENTRY_SIZE;
        if (file_read(vhdx->file, offset, entry, sizeof entry) != BLOCK_OK) {
            return VHDX_ERROR_IO;
        }
        const enum vhdx_error error = read_item(vhdx, entry, metadata);
        if (error != VHDX_OK) {
            return error;
        }
    }
    return VHDX_OK;
}

static bool is_power_of_two(uint32_t value)
{
    return value && !(value & (value - 1));
}

static bool is_sector_size(uint32_t size)
{
    return size == 512 || size == 4096;
}

static enum vhdx_error take_values(struct vhdx *vhdx, const struct metadata *metadata)
{
    const uint32_t flags = load_le32(metadata->bytes[ITEM_PARAMETERS] + 4);

    if (flags & PARAMETERS_HAS_PARENT) {
        return VHDX_ERROR_PARENT;
    }
    vhdx->leave_allocated = flags & PARAMETERS_LEAVE_ALLOCATED;
    vhdx->block_size = load_le32(metadata->bytes[ITEM_PARAMETERS]);
    vhdx->disk_size = load_le64(metadata->bytes[ITEM_DISK_SIZE]);
    vhdx->disk_size_offset = metadata->place[ITEM_DISK_SIZE];
    vhdx->sector_size = load_le32(metadata->bytes[ITEM_SECTOR_SIZE]);
    vhdx->physical_size = load_le32(metadata->bytes[ITEM_PHYSICAL_SIZE]);
    memcpy(vhdx->page83, metadata->bytes[ITEM_PAGE83], VHDX_GUID_SIZE);
    if (!is_power_of_two(vhdx->block_size) || vhdx->block_size < VHDX_MIB ||
        vhdx->block_size > 256 * VHDX_MIB || !is_sector_size(vhdx->sector_size) ||
        !is_sector_size(vhdx->physical_size) || vhdx->disk_size == 0 ||
        vhdx->disk_size % vhdx->sector_size || vhdx->disk_size > 64 * VHDX_TIB) {
        return VHDX_ERROR_METADATA_VALUE;
    }
    // MS-VHDX 2.5: a sector bitmap block of 1 MiB describes 2^23 sectors.
    vhdx->chunk_ratio = (uint32_t)((UINT64_C(1) << 23) * vhdx->sector_size / vhdx->block_size);
    vhdx->blocks = (vhdx->disk_size + vhdx->block_size - 1) / vhdx->block_size;
    return vhdx_bat_entries(vhdx, vhdx->blocks) * 8 <= vhdx->bat.length ? VHDX_OK
                                                                        : VHDX_ERROR_BAT_SIZE;
}

enum vhdx_error vhdx_read_metadata(struct vhdx *vhdx)
{
    struct metadata metadata = {0};
    const enum vhdx_error error = read_items(vhdx, &metadata);

    if (error != VHDX_OK) {
        return error;
    }
    for (enum item item = 0; item < ITEM_PARENT_LOCATOR; item++) {
        if (!metadata.present[item]) {
            return VHDX_ERROR_METADATA_MISSING;
        }
    }
    return take_values(vhdx, &metadata);
}
