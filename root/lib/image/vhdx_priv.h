// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the parts of the VHDX implementation share.
#pragma once
#include "../bytes.h"
#include "../mem.h"
#include "vhdx.h"
#include "vhdx_layout.h"

static inline bool vhdx_is_zero_guid(const uint8_t *guid)
{
    return (load_le64(guid) | load_le64(guid + 8)) == 0;
}

// ---- vhdx_header.c ---------------------------------------------------------------------------

// Finds the current header.
enum vhdx_error vhdx_read_header(struct vhdx *vhdx);
// Writes what *vhdx says into the header that is not current, durably; then that one is current.
enum block_status vhdx_write_header(struct vhdx *vhdx);
// Before the first change of the file since it was opened (MS-VHDX 2.2.2: FileWriteGuid,
// DataWriteGuid). Harmless at any other time.
enum block_status vhdx_begin_writing(struct vhdx *vhdx);
// A GUID that nobody has used.
void vhdx_make_guid(struct vhdx *vhdx, uint8_t guid[VHDX_GUID_SIZE]);

// ---- vhdx_replay.c ---------------------------------------------------------------------------

// Applies the log, if the header says that it is in use, and puts it out of use.
enum vhdx_error vhdx_replay(struct vhdx *vhdx);

// ---- vhdx_table.c ----------------------------------------------------------------------------

// Regions and metadata; sets up what *vhdx has of both.
enum vhdx_error vhdx_read_regions(struct vhdx *vhdx);
enum vhdx_error vhdx_read_metadata(struct vhdx *vhdx);
// Entry `index` < vhdx->regions of the region table. *guid points to 16 bytes, good until the next
// call of anything here.
enum vhdx_error vhdx_get_region(struct vhdx *vhdx, uint32_t index, struct vhdx_region *region,
                                const uint8_t **guid, bool *required);

// ---- vhdx_page.c -----------------------------------------------------------------------------

// The page of the file at `offset` (a multiple of VHDX_PAGE), from memory or the file. Good until
// the next call. NULL: *status says why.
struct vhdx_page *vhdx_get_page(struct vhdx *vhdx, uint64_t offset, enum block_status *status);
// The page is about to be changed.
void vhdx_dirty_page(struct vhdx *vhdx, struct vhdx_page *page);
// Makes all data and all dirty pages durable, the pages by way of the log.
enum block_status vhdx_commit(struct vhdx *vhdx);

// ---- vhdx_log.c ------------------------------------------------------------------------------

// Writes one entry that holds all dirty pages. Not flushed; the log's head stays.
enum block_status vhdx_log_write(struct vhdx *vhdx, uint32_t *entry_length);

// ---- vhdx_space.c ----------------------------------------------------------------------------

// Sets up the map of the file's space; checks every entry of the BAT.
enum vhdx_error vhdx_map_space(struct vhdx *vhdx, const struct vhdx_params *params);
// MiB that the map has to have room for when the disk has so many blocks.
uint64_t vhdx_space_needed(const struct vhdx *vhdx, uint64_t blocks);
// Finds room for one block. *fresh: nothing was there before, it reads as zeros.
enum block_status vhdx_take_space(struct vhdx *vhdx, uint64_t *offset, bool *fresh);
// Gives it back at once: nothing refers to it, in memory or in the file.
void vhdx_return_space(struct vhdx *vhdx, uint64_t offset);
// Gives it back with the next commit.
void vhdx_hold_space(struct vhdx *vhdx, uint64_t offset);
// A commit is complete.
void vhdx_release_held(struct vhdx *vhdx);

// ---- vhdx_bat.c ------------------------------------------------------------------------------

// The entry of a payload block < vhdx->blocks, and changing it.
enum block_status vhdx_bat_get(struct vhdx *vhdx, uint64_t block, uint64_t *entry);
enum block_status vhdx_bat_set(struct vhdx *vhdx, uint64_t block, uint64_t entry);
// Where in the file the entry of payload block `block` is.
uint64_t vhdx_bat_place(const struct vhdx *vhdx, uint64_t block);
// How many entries (of 8 bytes) a disk of these many blocks takes.
uint64_t vhdx_bat_entries(const struct vhdx *vhdx, uint64_t blocks);
