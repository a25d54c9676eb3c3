// SPDX-License-Identifier: BSD-2-Clause-Patent
// Pages of a VHDX file that change through the log: a small cache, and the commit.
#include "vhdx_priv.h"

static struct vhdx_page *find(struct vhdx *vhdx, uint64_t offset)
{
    for (uint32_t i = 0; i < VHDX_PAGES; i++) {
        if (vhdx->pages[i].offset == offset) {
            return &vhdx->pages[i];
        }
    }
    return NULL;
}

// The clean page that was not used for the longest time. NULL: all are dirty.
static struct vhdx_page *victim(struct vhdx *vhdx)
{
    struct vhdx_page *oldest = NULL;

    for (uint32_t i = 0; i < VHDX_PAGES; i++) {
        struct vhdx_page *const page = &vhdx->pages[i];
        if (!page->dirty && (!oldest || page->used < oldest->used)) {
            oldest = page;
        }
    }
    return oldest;
}

struct vhdx_page *vhdx_get_page(struct vhdx *vhdx, uint64_t offset, enum block_status *status)
{
    struct vhdx_page *page = find(vhdx, offset);

    *status = BLOCK_OK;
    if (!page) {
        page = victim(vhdx);
        if (!page) {
            *status = vhdx_commit(vhdx);
            if (*status != BLOCK_OK) {
                return NULL;
            }
            page = victim(vhdx);
        }
        page->offset = 0;
        *status = file_read(vhdx->file, offset, page->bytes, VHDX_PAGE);
        if (*status != BLOCK_OK) {
            return NULL;
        }
        page->offset = offset;
    }
    page->used = ++vhdx->clock;
    return page;
}

void vhdx_dirty_page(struct vhdx *vhdx, struct vhdx_page *page)
{
    if (!page->dirty) {
        page->dirty = true;
        vhdx->dirty_pages++;
    }
}

// Makes the current header name the log. Until then the entry that was written is nothing to a
// reader; from then on there is one that is valid.
static enum block_status activate_log(struct vhdx *vhdx)
{
    if (vhdx->log.active) {
        return BLOCK_OK;
    }
    const enum block_status status = vhdx_write_header(vhdx);
    vhdx->log.active = status == BLOCK_OK;
    return status;
}

static enum block_status write_pages(struct vhdx *vhdx)
{
    for (uint32_t i = 0; i < VHDX_PAGES; i++) {
        struct vhdx_page *const page = &vhdx->pages[i];
        if (page->dirty) {
            const enum block_status status =
                file_write(vhdx->file, page->offset, page->bytes, VHDX_PAGE);
            if (status != BLOCK_OK) {
                return status;
            }
            page->dirty = false;
            vhdx->dirty_pages--;
        }
    }
    return BLOCK_OK;
}

enum block_status vhdx_commit(struct vhdx *vhdx)
{
    // Data, and the pages that the entry before this one has put in place.
    enum block_status status = file_flush(vhdx->file);
    uint32_t length = 0;

    if (status != BLOCK_OK || !vhdx->dirty_pages) {
        return status;
    }
    if (vhdx_is_zero_guid(vhdx->log_guid)) {
        vhdx_make_guid(vhdx, vhdx->log_guid);
        vhdx->log.sequence = 1;
        vhdx->log.head = 0;
    }
    status = vhdx_log_write(vhdx, &length);
    if (status == BLOCK_OK) {
        status = file_flush(vhdx->file);
    }
    if (status != BLOCK_OK) {
        return status;
    }
    // Whatever fails from here on, this entry stays until the next one is complete.
    vhdx->log.head = (uint32_t)((vhdx->log.head + length) % vhdx->log.place.length);
    vhdx->log.sequence++;
    status = activate_log(vhdx);
    if (status == BLOCK_OK) {
        status = write_pages(vhdx);
    }
    if (status == BLOCK_OK) {
        vhdx_release_held(vhdx);
    }
    return status;
}
