// SPDX-License-Identifier: BSD-2-Clause-Patent
// The block allocation table of a VHDX image (MS-VHDX 2.5): an entry of 8 bytes for each payload
// block, and after each chunk of them one for a sector bitmap block.
#include "vhdx_priv.h"

uint64_t vhdx_bat_entries(const struct vhdx *vhdx, uint64_t blocks)
{
    return blocks + (blocks - 1) / vhdx->chunk_ratio;
}

uint64_t vhdx_bat_place(const struct vhdx *vhdx, uint64_t block)
{
    return vhdx->bat.offset + (block + block / vhdx->chunk_ratio) * 8;
}

enum block_status vhdx_bat_get(struct vhdx *vhdx, uint64_t block, uint64_t *entry)
{
    const uint64_t place = vhdx_bat_place(vhdx, block), in_page = place % VHDX_PAGE;
    enum block_status status;
    const struct vhdx_page *page = vhdx_get_page(vhdx, place - in_page, &status);

    if (!page) {
        return status;
    }
    *entry = load_le64(page->bytes + in_page);
    const uint64_t offset = *entry & BAT_OFFSET_MASK, end = file_size(vhdx->file);
    // Opening has checked it; but that was another read of the file.
    return (*entry & BAT_STATE_MASK) != BAT_FULLY_PRESENT ||
                   (offset >= VHDX_HEADER_SECTION && offset <= end &&
                    vhdx->block_size <= end - offset)
               ? BLOCK_OK
               : BLOCK_ERROR_CORRUPT;
}

enum block_status vhdx_bat_set(struct vhdx *vhdx, uint64_t block, uint64_t entry)
{
    const uint64_t place = vhdx_bat_place(vhdx, block), in_page = place % VHDX_PAGE;
    enum block_status status;
    struct vhdx_page *page = vhdx_get_page(vhdx, place - in_page, &status);

    if (page) {
        store_le64(page->bytes + in_page, entry);
        vhdx_dirty_page(vhdx, page);
    }
    return status;
}
