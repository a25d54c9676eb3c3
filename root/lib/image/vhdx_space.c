// SPDX-License-Identifier: BSD-2-Clause-Patent
// Which parts of a VHDX file are in use: a bit for each MiB, since everything in the file is made
// of those (MS-VHDX 2.1).
#include "vhdx_priv.h"

#define FILE_MAX (128 * VHDX_TIB)

enum { WORD_BITS = 64, ENTRIES = VHDX_PAGE / 8 };

static uint64_t bit(uint64_t index)
{
    return UINT64_C(1) << index % WORD_BITS;
}

static bool test(const uint64_t *map, uint64_t index)
{
    return map[index / WORD_BITS] & bit(index);
}

// MiB that the file has, the last one perhaps in part.
static uint64_t file_mib(const struct vhdx *vhdx)
{
    return (file_size(vhdx->file) + VHDX_MIB - 1) / VHDX_MIB;
}

static uint64_t block_mib(const struct vhdx *vhdx)
{
    return vhdx->block_size / VHDX_MIB;
}

// Marks [offset, offset + size) as used. False when a part of it already is, or is not in the map.
static bool claim(struct vhdx *vhdx, uint64_t offset, uint64_t size)
{
    const uint64_t first = offset / VHDX_MIB, end = first + size / VHDX_MIB;

    if (end > vhdx->space) {
        return false;
    }
    for (uint64_t i = first; i < end; i++) {
        if (test(vhdx->used, i)) {
            return false;
        }
        vhdx->used[i / WORD_BITS] |= bit(i);
    }
    return true;
}

static enum vhdx_error claim_regions(struct vhdx *vhdx)
{
    if (!claim(vhdx, 0, VHDX_HEADER_SECTION) ||
        !claim(vhdx, vhdx->log.place.offset, vhdx->log.place.length)) {
        return VHDX_ERROR_LOG_LOCATION;
    }
    for (uint32_t i = 0; i < vhdx->regions; i++) {
        struct vhdx_region region;
        const uint8_t *guid;
        bool required;
        const enum vhdx_error error = vhdx_get_region(vhdx, i, &region, &guid, &required);
        if (error != VHDX_OK) {
            return error;
        }
        if (!claim(vhdx, region.offset, region.length)) {
            return VHDX_ERROR_REGION_TABLE;
        }
    }
    return VHDX_OK;
}

// One entry of the BAT: a payload block that is present lies in the file, and nothing else there.
static bool check_entry(struct vhdx *vhdx, uint64_t index, uint64_t entry)
{
    const uint64_t offset = entry & BAT_OFFSET_MASK, end = file_size(vhdx->file);

    if (index % (vhdx->chunk_ratio + 1) == vhdx->chunk_ratio) {
        return true; // a sector bitmap block: of no meaning without a parent
    }
    switch (entry & BAT_STATE_MASK) {
    case BAT_NOT_PRESENT:
    case BAT_UNDEFINED:
    case BAT_ZERO:
    case BAT_UNMAPPED:
        return true;
    case BAT_FULLY_PRESENT:
        vhdx->taken++;
        return offset <= end && vhdx->block_size <= end - offset &&
               claim(vhdx, offset, vhdx->block_size);
    default:
        return false;
    }
}

static enum vhdx_error claim_blocks(struct vhdx *vhdx)
{
    const uint64_t entries = vhdx_bat_entries(vhdx, vhdx->blocks);

    for (uint64_t first = 0; first < entries; first += ENTRIES) {
        if (file_read(vhdx->file, vhdx->bat.offset + first * 8, vhdx->sector, VHDX_PAGE) !=
            BLOCK_OK) {
            return VHDX_ERROR_IO;
        }
        for (uint64_t i = 0; i < ENTRIES && first + i < entries; i++) {
            if (!check_entry(vhdx, first + i, load_le64(vhdx->sector + i * 8))) {
                return VHDX_ERROR_BAT_ENTRY;
            }
        }
    }
    return VHDX_OK;
}

// Blocks that fit into the gaps of the file.
static uint64_t free_blocks(const struct vhdx *vhdx)
{
    const uint64_t end = file_mib(vhdx), length = block_mib(vhdx);
    uint64_t run = 0, blocks = 0;

    for (uint64_t i = 0; i < end; i++) {
        run = test(vhdx->used, i) ? 0 : run + 1;
        if (run == length) {
            blocks++;
            run = 0;
        }
    }
    return blocks;
}

// Blocks come to be where there is a gap, or else at the end of the file. Taking one and giving one
// back change nothing here, so the image can be opened again with the map that it has.
uint64_t vhdx_space_needed(const struct vhdx *vhdx, uint64_t blocks)
{
    const uint64_t has = vhdx->taken + free_blocks(vhdx);

    return file_mib(vhdx) + (blocks > has ? blocks - has : 0) * block_mib(vhdx);
}

static size_t map_size(uint64_t mib)
{
    return (size_t)(2 * ((mib + WORD_BITS - 1) / WORD_BITS) * sizeof(uint64_t));
}

enum vhdx_error vhdx_map_space(struct vhdx *vhdx, const struct vhdx_params *params)
{
    if (file_size(vhdx->file) > FILE_MAX) {
        return VHDX_ERROR_FILE_SIZE;
    }
    const uint64_t available = params->memory_size / (2 * sizeof(uint64_t));
    vhdx->memory_needed = map_size(file_mib(vhdx) + vhdx->blocks * block_mib(vhdx)); // at most
    if (available * WORD_BITS < file_mib(vhdx) || !params->memory ||
        (uintptr_t)params->memory % sizeof(uint64_t)) {
        return VHDX_ERROR_MEMORY;
    }
    vhdx->used = params->memory;
    vhdx->held = vhdx->used + available;
    vhdx->space = available * WORD_BITS;
    memset(params->memory, 0, params->memory_size);
    vhdx->hint = 0;
    vhdx->taken = 0;
    vhdx->held_low = UINT64_MAX;
    vhdx->held_high = 0;
    enum vhdx_error error = claim_regions(vhdx);
    if (error == VHDX_OK) {
        error = claim_blocks(vhdx);
    }
    if (error != VHDX_OK) {
        return error;
    }
    const uint64_t needed = vhdx_space_needed(vhdx, vhdx->blocks);
    vhdx->memory_needed = map_size(needed);
    return needed <= vhdx->space ? VHDX_OK : VHDX_ERROR_MEMORY;
}

// The first run of `length` free bits within [from, end), or end.
static uint64_t find_run(const struct vhdx *vhdx, uint64_t from, uint64_t end, uint64_t length)
{
    uint64_t run = 0, i = from;

    while (i < end) {
        if (i % WORD_BITS == 0 && vhdx->used[i / WORD_BITS] == UINT64_MAX) {
            run = 0;
            i += WORD_BITS;
        } else {
            run = test(vhdx->used, i++) ? 0 : run + 1;
            if (run == length) {
                return i - length;
            }
        }
    }
    return end;
}

static enum block_status take_at(struct vhdx *vhdx, uint64_t index, uint64_t *offset)
{
    *offset = index * VHDX_MIB;
    if (!claim(vhdx, *offset, vhdx->block_size)) {
        return BLOCK_ERROR_SPACE;
    }
    vhdx->taken++;
    const enum block_status status = file_grow(vhdx->file, *offset + vhdx->block_size);
    if (status != BLOCK_OK) {
        vhdx_return_space(vhdx, *offset);
    }
    return status;
}

enum block_status vhdx_take_space(struct vhdx *vhdx, uint64_t *offset, bool *fresh)
{
    const uint64_t length = block_mib(vhdx);

    for (;;) {
        const uint64_t end = file_mib(vhdx);
        const uint64_t index = find_run(vhdx, vhdx->hint, end, length);
        if (index != end) {
            *fresh = false;
            vhdx->hint = index + length;
            return take_at(vhdx, index, offset);
        }
        vhdx->hint = end;
        if (end + length <= vhdx->space) {
            *fresh = true;
            return take_at(vhdx, end, offset);
        }
        if (vhdx->held_low > vhdx->held_high) {
            return BLOCK_ERROR_SPACE;
        }
        const enum block_status status = vhdx_commit(vhdx);
        if (status != BLOCK_OK) {
            return status;
        }
    }
}

static void make_free(struct vhdx *vhdx, uint64_t index)
{
    vhdx->used[index / WORD_BITS] &= ~bit(index);
    vhdx->held[index / WORD_BITS] &= ~bit(index);
    // A run may begin before this bit, in a part that was too small for a block until now.
    const uint64_t before = block_mib(vhdx) - 1;
    const uint64_t low = index > before ? index - before : 0;
    vhdx->hint = low < vhdx->hint ? low : vhdx->hint;
}

void vhdx_return_space(struct vhdx *vhdx, uint64_t offset)
{
    vhdx->taken--;
    for (uint64_t i = 0; i < block_mib(vhdx); i++) {
        make_free(vhdx, offset / VHDX_MIB + i);
    }
}

void vhdx_hold_space(struct vhdx *vhdx, uint64_t offset)
{
    const uint64_t first = offset / VHDX_MIB, last = first + block_mib(vhdx) - 1;

    for (uint64_t i = first; i <= last; i++) {
        vhdx->held[i / WORD_BITS] |= bit(i);
    }
    vhdx->held_low = first < vhdx->held_low ? first : vhdx->held_low;
    vhdx->held_high = last > vhdx->held_high ? last : vhdx->held_high;
}

void vhdx_release_held(struct vhdx *vhdx)
{
    uint64_t released = 0;

    for (uint64_t i = vhdx->held_low; i <= vhdx->held_high && vhdx->held_low != UINT64_MAX; i++) {
        if (test(vhdx->held, i)) {
            make_free(vhdx, i);
            released++;
            if (vhdx->file->ops->discard) {
                vhdx->file->ops->discard(vhdx->file->ctx, i * VHDX_MIB, VHDX_MIB);
            }
        }
    }
    vhdx->taken -= released / block_mib(vhdx);
    vhdx->held_low = UINT64_MAX;
    vhdx->held_high = 0;
}
