// SPDX-License-Identifier: BSD-2-Clause-Patent
// A VM's memory that comes and goes while it runs: contract in balloon.h. The root gives and takes
// blocks of 2 MiB, which the firmware's memory holds in between, for whichever VM is next.
#include "root/balloon.h"
#include "root/lib/mem.h"
#include "root/pages.h"
#include "root/vm.h"

#define BLOCK_PAGES (HV_LARGE_PAGE_SIZE / HV_PAGE_SIZE)
#define BLOCK_WORDS (BLOCK_PAGES / 64) // of the bitmap
#define SWEEP_MAX   256u               // blocks looked at between two turns of the main loop

// ---- blocks that the guest does without --------------------------------------------------------

void balloon_taken(struct balloon *b, uint64_t first, uint64_t count)
{
    const uint64_t start = first / BLOCK_PAGES, end = (first + count - 1) / BLOCK_PAGES + 1;

    if (b->sweep == b->sweep_end) {
        b->sweep = start;
        b->sweep_end = end;
    }
    b->sweep = start < b->sweep ? start : b->sweep;
    b->sweep_end = end > b->sweep_end ? end : b->sweep_end;
}

static bool is_given_up(const struct balloon *b, uint64_t block)
{
    const uint64_t *word = &b->dynmem.config.bitmap[block * BLOCK_WORDS];
    uint64_t all = UINT64_MAX;

    for (unsigned i = 0; i < BLOCK_WORDS; i++) {
        all &= word[i];
    }
    return all == UINT64_MAX;
}

static void release(struct balloon *b, uint64_t block)
{
    struct guest_memory *memory = &b->vm->memory;
    const uint64_t gpa = block * HV_LARGE_PAGE_SIZE;
    uint8_t *host = guest_block(memory, gpa);

    if (!host || !guest_block_may_move(memory, gpa) || !is_given_up(b, block) ||
        call_unmap_block(&b->vm->account, gpa >> HV_PAGE_SHIFT) != HV_STATUS_SUCCESS) {
        return;
    }
    guest_block_move(memory, gpa, NULL);
    pages_large_free(host, HV_LARGE_PAGE_SIZE);
    b->returned += BLOCK_PAGES;
    b->has_moved = true;
}

bool balloon_sweep(struct balloon *b)
{
    const uint64_t whole = b->dynmem.config.pages / BLOCK_PAGES;

    for (unsigned i = 0; b->sweep < b->sweep_end && i < SWEEP_MAX; i++, b->sweep++) {
        if (b->sweep < whole) {
            release(b, b->sweep);
        }
    }
    return b->sweep < b->sweep_end;
}

// ---- and gets again ----------------------------------------------------------------------------

// What it holds may have been another VM's.
static void *clean_block(void)
{
    void *host = pages_large(HV_LARGE_PAGE_SIZE);

    return host ? memset(host, 0, HV_LARGE_PAGE_SIZE) : NULL;
}

bool balloon_back(struct balloon *b, uint64_t gpa)
{
    void *host;

    if (!guest_block_is_away(&b->vm->memory, gpa)) {
        return true;
    }
    host = clean_block();
    if (!host) {
        return false;
    }
    guest_block_move(&b->vm->memory, gpa, host);
    b->returned -= BLOCK_PAGES;
    return true;
}

void balloon_given(struct balloon *b, uint64_t first, uint64_t count)
{
    const uint64_t end = (first + count) << HV_PAGE_SHIFT;
    uint64_t gpa = first << HV_PAGE_SHIFT;

    for (gpa -= gpa % HV_LARGE_PAGE_SIZE; b->returned && gpa < end; gpa += HV_LARGE_PAGE_SIZE) {
        (void)balloon_back(b, gpa); // else at its first touch
    }
}

bool balloon_can_give(const struct balloon *b, uint64_t pages)
{
    const uint64_t away = b->returned / BLOCK_PAGES, most = pages / BLOCK_PAGES + 2;
    void *list = NULL;
    bool enough = true;

    for (uint64_t i = away < most ? away : most; enough && i; i--) {
        void **block = pages_large(HV_LARGE_PAGE_SIZE);
        enough = block;
        if (block) {
            *block = list;
            list = block;
        }
    }
    while (list) {
        void *next = *(void **)list;
        pages_large_free(list, HV_LARGE_PAGE_SIZE);
        list = next;
    }
    return enough;
}

// ---- adding ------------------------------------------------------------------------------------

// From wherever there is any; mapped when the guest touches it.
static bool add_blocks(struct balloon *b, uint64_t gpa, uint64_t size)
{
    struct guest_memory *memory = &b->vm->memory;
    const uint64_t end = gpa + size;

    if (!guest_memory_add_at(memory, gpa, NULL, size)) {
        return false;
    }
    for (uint64_t at = gpa; at < end; at += HV_LARGE_PAGE_SIZE) {
        guest_block_move(memory, at, NULL);
    }
    for (uint64_t at = gpa; at < end; at += HV_LARGE_PAGE_SIZE) {
        void *host = clean_block();
        if (!host) {
            vm_free(b->vm, memory->count - 1);
            return false;
        }
        guest_block_move(memory, at, host);
    }
    return true;
}

bool balloon_add(struct balloon *b, uint64_t gpa, uint64_t size)
{
    struct vm *vm = b->vm;
    const struct guest_run none = {0, 0, 0, false};
    struct guest_run run[2] = {none, none};
    void *host = pages_large(size);

    if (!host) {
        return add_blocks(b, gpa, size);
    }
    memset(host, 0, size);
    if (!guest_memory_add_at(&vm->memory, gpa, host, size)) {
        pages_large_free(host, size);
        return false;
    }
    guest_piece_runs(&vm->memory.piece[vm->memory.count - 1], &run[0], &run[1]);
    if (vm_map_run(vm, &run[0]) != HV_STATUS_SUCCESS) {
        guest_memory_drop_last(&vm->memory);
        return false; // parts may be mapped: the memory stays out of use
    }
    return true;
}

// ---- the end -----------------------------------------------------------------------------------

void balloon_stopped(struct balloon *b)
{
    vm_free(b->vm, b->has_moved ? 0 : b->vm->memory.fixed);
    b->has_moved = false;
    b->sweep = b->sweep_end = b->returned = 0;
    b->added = b->mapped = 0;
    b->console = NULL;
}
