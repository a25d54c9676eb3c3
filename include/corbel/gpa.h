// SPDX-License-Identifier: BSD-2-Clause-Patent
// GPA spaces: a partition's guest physical memory as a second-level translation (TLFS: MapGpaPages
// and its kin, overlay pages). A child's space holds what its parent mapped; the root's space is
// the identity map, built as the root touches it, less its holes.
//
// Operations take and drop the space's lock, are all-or-nothing, and put into the caller's
// gpa_batch what they took out of the tables. The pattern, always:
//
//     struct gpa_batch batch;
//     gpa_batch_init(&batch, space);
//     ... operations, each only while gpa_batch_has_room(&batch) ...
//     if (batch.flush)
//         <make every LP that may hold translations of this space drop them, and wait>
//     gpa_batch_release(&batch);
//
// Only the release ends uses of frames and gives tables back to the pool, so no page changes its
// owner while a stale translation still reaches it. A use that widens rights or fills what was
// unmapped needs no flush: neither vendor caches those as faults (SDM 3C 29.4.2, APM 2 15.25).
//
// `gpa_page` and `spa_page` are page numbers (4 KiB) at every size; large operations want both to
// be multiples of 512.
//
// Lock order: GPA space, frame group, pool.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "corbel/frames.h"
#include "corbel/pool.h"
#include "corbel/slpt.h"
#include "corbel/spinlock.h"

// An overlay page (TLFS: Overlay Pages): a page of the hypervisor that hides what is mapped beneath
// it. The record belongs to whoever owns the page and stays put while it is set.
struct gpa_overlay {
    struct gpa_overlay *next; // older
    uint64_t gpa_page;
    uint64_t entry;   // the overlay's own leaf
    uint64_t beneath; // the visible overlay of a page keeps the entry beneath all of them
    bool set;
};

struct gpa_space {
    struct spinlock lock;
    struct slpt slpt;
    struct gpa_overlay *overlays; // newest first
    uint64_t page_limit;          // pages in the space: GPAs at or above are invalid
    uint64_t mapped_pages; // child: 4 KiB units mapped, with any rights, also beneath overlays
    uint64_t cursor;       // of gpa_space_destroy
    _Atomic bool tracked;  // somebody asks for what was written: gpa_wrote()
    _Atomic uint64_t generation; // grows, after the tables changed, whenever a flush is needed
};

struct gpa_space_config {
    const struct slpt_format *format;
    const struct memory_types *types; // root's space with EPT; else NULL
    struct pool *pool;                // pays for the tables
    struct frames *frames;            // the machine's
    unsigned levels;                  // 4, or 5
    unsigned address_bits;            // GPA width, at most 12 + 9 * levels and 52
    bool root;                        // identity space
    bool huge_pages;                  // the processor has 1 GiB second-level pages (root only)
};

// HV_STATUS_SUCCESS or HV_STATUS_INSUFFICIENT_MEMORY. Not locked.
uint16_t gpa_space_init(struct gpa_space *space, const struct gpa_space_config *config);

// What the hardware is given as the second-level root.
static inline uint64_t gpa_space_root(const struct gpa_space *space)
{
    return virt_to_phys(space->slpt.root);
}

// Takes a child's space apart in at most `budget` steps (an entry each) and says whether more
// remains. At the end the pool has all tables back. The caller has removed the overlays, and no
// processor uses the space or has translations of it. Between calls nothing else may be done with
// the space.
bool gpa_space_destroy(struct gpa_space *space, uint32_t budget);

static inline void gpa_batch_init(struct gpa_batch *batch, struct gpa_space *space)
{
    batch->slpt = &space->slpt;
    batch->count = 0;
    batch->flush = false;
}

static inline bool gpa_batch_has_room(const struct gpa_batch *batch)
{
    return batch->count <= GPA_BATCH_ITEMS - GPA_BATCH_STEP;
}

// After the flush, if one was needed. Leaves the batch empty for use again.
void gpa_batch_release(struct gpa_batch *batch);

static inline bool gpa_rights_legal(uint32_t rights)
{
    return rights <= GPA_ALL && (rights == GPA_NONE || (rights & GPA_READ) != 0);
}

// Whether `rights` suffice for `access`; for execution either execute bit does.
static inline bool gpa_rights_allow(uint32_t rights, uint32_t access)
{
    uint32_t data = access & (GPA_READ | GPA_WRITE);

    return (rights & data) == data && ((access & GPA_EXEC) == 0 || (rights & GPA_EXEC) != 0);
}

// ---- a child's space (TLFS: HvCallMapGpaPages, HvCallUnmapGpaPages, HvCallModifySparseGpaPages) -
// Common errors: HV_STATUS_INVALID_PARAMETER (GPA out of range, alignment, illegal rights),
// HV_STATUS_INSUFFICIENT_MEMORY (the space's pool), HV_STATUS_INSUFFICIENT_ROOT_MEMORY (the frame
// table). At an overlaid page they change what lies beneath.

// Maps one page, or one 2 MiB page if `large`, replacing what was mapped. The caller has translated
// the source through the parent's space. HV_STATUS_OPERATION_DENIED: not RAM, or the hypervisor's.
// HV_STATUS_ACCESS_DENIED on a root space.
uint16_t gpa_map(struct gpa_space *space, uint64_t gpa_page, uint64_t spa_page, uint32_t rights,
                 bool large, struct gpa_batch *batch);

// Unmaps one page or a 2 MiB range; success if nothing was mapped. HV_STATUS_ACCESS_DENIED on a
// root space.
uint16_t gpa_unmap(struct gpa_space *space, uint64_t gpa_page, bool large, struct gpa_batch *batch);

// Changes the rights of a mapped page or of a 2 MiB range, mapped as a whole or page by page
// without gaps. HV_STATUS_OPERATION_DENIED if any of it is unmapped. On the root's space everything
// but holes is mapped.
uint16_t gpa_protect(struct gpa_space *space, uint64_t gpa_page, uint32_t rights, bool large,
                     struct gpa_batch *batch);

// ---- the root's space ---------------------------------------------------------------------------
enum gpa_fault {
    GPA_FAULT_RESOLVED,  // mapped now, or already: resume the guest
    GPA_FAULT_HOLE,      // a hole, or beyond the space: the APIC page or somebody else's memory
    GPA_FAULT_DENIED,    // mapped, without the rights
    GPA_FAULT_NO_MEMORY, // no table page left: the fault cannot be resolved
};

// A second-level fault of the root at `gpa` (bytes) for `access` (enum gpa_rights): maps the
// largest identity page there that contains no hole, no overlay and no page with special rights.
// Never needs a flush.
enum gpa_fault gpa_root_fault(struct gpa_space *space, uint64_t gpa, uint32_t access);

// Makes pages holes, in 2 MiB holes where alignment allows, or gives holes back to the identity map
// (then with all rights). Repeating either is harmless. `*done` pages are finished, which may be
// fewer than `pages` also on success, when the batch is full: flush, release, go on.
// HV_STATUS_INVALID_PARAMETER (range), HV_STATUS_INSUFFICIENT_MEMORY (a large page had to be
// split).
uint16_t gpa_root_punch(struct gpa_space *space, uint64_t gpa_page, uint64_t pages, uint64_t *done,
                        struct gpa_batch *batch);
uint16_t gpa_root_fill(struct gpa_space *space, uint64_t gpa_page, uint64_t pages, uint64_t *done,
                       struct gpa_batch *batch);

// ---- overlays, any space ------------------------------------------------------------------------
// Puts the hypervisor's page `spa_page` over `gpa_page` with `rights` (not none), above overlays
// that are there already. An overlay that is set moves there; with an error it stays where it is.
// HV_STATUS_INVALID_PARAMETER (range, rights), HV_STATUS_INSUFFICIENT_MEMORY.
uint16_t gpa_overlay_set(struct gpa_space *space, struct gpa_overlay *overlay, uint64_t gpa_page,
                         uint64_t spa_page, uint32_t rights, struct gpa_batch *batch);

// Takes an overlay away, in any order; nothing happens if it is not set. The page may be freed or
// moved only after the flush.
void gpa_overlay_clear(struct gpa_space *space, struct gpa_overlay *overlay,
                       struct gpa_batch *batch);

// ---- translation --------------------------------------------------------------------------------
enum gpa_status {
    GPA_OK = 0,
    GPA_UNMAPPED,       // nothing there, a hole, or beyond the space
    GPA_NO_ACCESS,      // mapped, without the rights asked for
    GPA_OVERLAY_DENIED, // an overlay, without the rights asked for (TLFS: illegal overlay access)
    GPA_NOT_MEMORY,     // gpa_pin: neither RAM of a partition nor an overlay
    GPA_NO_COUNTERS,    // gpa_pin: the frame table is out of memory
};

struct gpa_translation {
    enum gpa_status status;
    uint32_t rights;    // of the mapping; valid but for GPA_UNMAPPED, as are the following
    uint64_t spa;       // of the byte asked for
    uint64_t page_size; // bytes, of the mapping; for the root the largest identity page possible
    bool overlay;
    bool pinned;
};

// Translates `gpa` (bytes) for `access` (enum gpa_rights, may be GPA_NONE; GPA_EXEC is satisfied by
// either execute bit). The answer may be stale when it arrives: use gpa_pin to touch the page.
struct gpa_translation gpa_translate(struct gpa_space *space, uint64_t gpa, uint32_t access);

// The same, and if GPA_OK the page cannot become the hypervisor's or change its owner until
// gpa_unpin: whoever reads or writes guest memory pins it first. An overlay page is the
// hypervisor's already: its owner keeps it.
struct gpa_translation gpa_pin(struct gpa_space *space, uint64_t gpa, uint32_t access);
void gpa_unpin(struct gpa_space *space, const struct gpa_translation *translation);

// gpa_pin for an access of a few instructions: a child's space stays locked until gpa_release,
// which always follows.
struct gpa_translation gpa_hold(struct gpa_space *space, uint64_t gpa, uint32_t access);
void gpa_release(struct gpa_space *space, const struct gpa_translation *translation);

// ---- what was accessed and written (TLFS: HvCallGetGpaPagesAccessState)
// --------------------------

// Makes `*state` HV_GPA_ACCESS_STATE_ACCESSED and _DIRTY of a page of a child's space, and then
// changes them as the HV_GPA_ACCESS_STATE_* flags `change` say. A page counts as accessed and
// written from when it was mapped, or got other rights, until that is cleared; one that is not
// mapped, or has no rights, is neither. What is written before the flush that clearing asks for has
// ended may not show again. HV_STATUS_INVALID_PARAMETER, HV_STATUS_INSUFFICIENT_MEMORY (a large
// page is split).
uint16_t gpa_access_state(struct gpa_space *space, uint64_t gpa_page, uint64_t change,
                          uint8_t *state, struct gpa_batch *batch);

// The hypervisor has written to the page of `gpa` by itself: to be said behind the writing.
void gpa_mark_written(struct gpa_space *space, uint64_t gpa);
static inline void gpa_wrote(struct gpa_space *space, uint64_t gpa)
{
    if (__builtin_expect(atomic_load_explicit(&space->tracked, memory_order_relaxed), 0))
        gpa_mark_written(space, gpa);
}
