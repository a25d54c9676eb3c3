// SPDX-License-Identifier: BSD-2-Clause-Patent
// The plan of a guest's memory: runs of RAM, what is taken of them, and the memory map.
#include "load_priv.h"

enum { BLOCK_GDT_SIZE = 64, BLOCK_STACK_SIZE = LOAD_PAGE };

static bool spans_overlap(uint64_t start_a, uint64_t end_a, uint64_t start_b, uint64_t end_b)
{
    return start_a < end_b && start_b < end_a;
}

// Checks the pieces of RAM and joins those that touch.
static bool plan_ram(struct load_plan *plan)
{
    const struct load_request *request = plan->request;
    if (!request->ram || request->ram_count == 0 || request->ram_count > LOAD_RAM_MAX) {
        return false;
    }
    uint64_t previous_end = 0;
    for (uint32_t i = 0; i < request->ram_count; i++) {
        const struct load_ram *ram = &request->ram[i];
        if (!ram->host || ram->size == 0 || (ram->gpa | ram->size) % LOAD_PAGE != 0 ||
            ram->size > UINT64_MAX - ram->gpa || ram->gpa < previous_end) {
            return false;
        }
        if (plan->ram_count != 0 && ram->gpa == previous_end) {
            plan->ram[plan->ram_count - 1].end = ram->gpa + ram->size;
        } else {
            plan->ram[plan->ram_count++] = (struct load_span){ram->gpa, ram->gpa + ram->size};
        }
        previous_end = ram->gpa + ram->size;
    }
    return true;
}

// Takes the reserved ranges and the legacy area, ascending by start.
static bool plan_reserved(struct load_plan *plan)
{
    const struct load_request *request = plan->request;
    if (request->reserved_count > LOAD_RESERVED_MAX ||
        (request->reserved_count != 0 && !request->reserved)) {
        return false;
    }
    plan->taken[0] = (struct load_span){LOAD_LEGACY_START, LOAD_LEGACY_END};
    plan->taken_count = 1;
    for (uint32_t i = 0; i < request->reserved_count; i++) {
        const struct load_reserved *new = &request->reserved[i];
        if (new->size == 0 || new->size > UINT64_MAX - new->gpa ||
            new->type < LOAD_MEMORY_RESERVED || new->type > LOAD_MEMORY_NVS) {
            return false;
        }
        for (uint32_t j = 0; j < i; j++) {
            const struct load_reserved *old = &request->reserved[j];
            if (spans_overlap(new->gpa, new->gpa + new->size, old->gpa, old->gpa + old->size)) {
                return false;
            }
        }
        uint32_t at = plan->taken_count++;
        for (; at > 0 && plan->taken[at - 1].start > new->gpa; at--) {
            plan->taken[at] = plan->taken[at - 1];
        }
        plan->taken[at] = (struct load_span){new->gpa, new->gpa + new->size};
    }
    plan->fixed_count = plan->taken_count;
    return true;
}

static void map_insert(struct load_plan *plan, uint64_t start, uint64_t end, uint32_t type)
{
    uint32_t at = plan->map_count++;
    for (; at > 0 && plan->map[at - 1].gpa > start; at--) {
        plan->map[at] = plan->map[at - 1];
    }
    plan->map[at] = (struct load_map_entry){start, end - start, type};
}

static void plan_map(struct load_plan *plan)
{
    for (uint32_t i = 0; i < plan->ram_count; i++) {
        uint64_t cursor = plan->ram[i].start;
        uint64_t end = plan->ram[i].end;
        for (uint32_t j = 0; j < plan->fixed_count; j++) {
            const struct load_span *hole = &plan->taken[j];
            if (!spans_overlap(cursor, end, hole->start, hole->end)) {
                continue;
            }
            if (hole->start > cursor) {
                map_insert(plan, cursor, hole->start, LOAD_MEMORY_RAM);
            }
            cursor = hole->end;
        }
        if (cursor < end) {
            map_insert(plan, cursor, end, LOAD_MEMORY_RAM);
        }
    }
    for (uint32_t i = 0; i < plan->request->reserved_count; i++) {
        const struct load_reserved *reserved = &plan->request->reserved[i];
        map_insert(plan, reserved->gpa, reserved->gpa + reserved->size, reserved->type);
    }
}

enum load_error load_plan_init(struct load_plan *plan, const struct load_request *request)
{
    memset(plan, 0, sizeof(*plan));
    plan->request = request;
    plan->image = request->image;
    if (!plan_ram(plan) || !plan_reserved(plan) || (!request->image && request->image_size != 0) ||
        (!request->initrd && request->initrd_size != 0) ||
        (!request->cmdline && request->cmdline_size != 0)) {
        return LOAD_ERROR_REQUEST;
    }
    if (request->cmdline_size > LOAD_CMDLINE_MAX) {
        return LOAD_ERROR_CMDLINE;
    }
    plan_map(plan);
    return LOAD_OK;
}

// First taken range that [start, end) overlaps; NULL when it is free.
static const struct load_span *plan_conflict(const struct load_plan *plan, uint64_t start,
                                             uint64_t end)
{
    for (uint32_t i = 0; i < plan->taken_count; i++) {
        if (spans_overlap(start, end, plan->taken[i].start, plan->taken[i].end)) {
            return &plan->taken[i];
        }
    }
    return NULL;
}

enum load_error load_claim(struct load_plan *plan, uint64_t gpa, uint64_t size)
{
    bool in_ram = false;
    for (uint32_t i = 0; i < plan->ram_count && !in_ram; i++) {
        const struct load_span *run = &plan->ram[i];
        in_ram = gpa >= run->start && gpa < run->end && size <= run->end - gpa;
    }
    if (!in_ram) {
        return LOAD_ERROR_SEGMENT_RAM;
    }
    const struct load_span *conflict = plan_conflict(plan, gpa, gpa + size);
    if (conflict) {
        return conflict < &plan->taken[plan->fixed_count] ? LOAD_ERROR_SEGMENT_RESERVED
                                                          : LOAD_ERROR_SEGMENT_OVERLAP;
    }
    if (plan->taken_count == LOAD_TAKEN_MAX) {
        return LOAD_ERROR_SEGMENT_COUNT;
    }
    plan->taken[plan->taken_count++] = (struct load_span){gpa, gpa + size};
    return LOAD_OK;
}

// Highest fit in [low, high), which lies in one run.
static bool find_down(const struct load_plan *plan, const struct load_want *want, uint64_t low,
                      uint64_t high, uint64_t *gpa)
{
    while (high > low && want->size <= high - low) {
        uint64_t start = (high - want->size) & ~(want->align - 1);
        if (start < low) {
            return false;
        }
        const struct load_span *conflict = plan_conflict(plan, start, start + want->size);
        if (!conflict) {
            *gpa = start;
            return true;
        }
        high = conflict->start;
    }
    return false;
}

// Lowest fit in [low, high), which lies in one run.
static bool find_up(const struct load_plan *plan, const struct load_want *want, uint64_t low,
                    uint64_t high, uint64_t *gpa)
{
    while (low < high) {
        uint64_t slack = -low & (want->align - 1);
        if (slack >= high - low || want->size > high - low - slack) {
            return false;
        }
        uint64_t start = low + slack;
        const struct load_span *conflict = plan_conflict(plan, start, start + want->size);
        if (!conflict) {
            *gpa = start;
            return true;
        }
        low = conflict->end;
    }
    return false;
}

bool load_find(struct load_plan *plan, const struct load_want *want, uint64_t *gpa)
{
    bool found = false;
    for (uint32_t i = 0; i < plan->ram_count && !found && want->size != 0; i++) {
        const struct load_span *run = &plan->ram[want->downwards ? plan->ram_count - 1 - i : i];
        uint64_t low = run->start > want->low ? run->start : want->low;
        uint64_t high = run->end < want->high ? run->end : want->high;
        found = want->downwards ? find_down(plan, want, low, high, gpa)
                                : find_up(plan, want, low, high, gpa);
    }
    return found && load_claim(plan, *gpa, want->size) == LOAD_OK;
}

// The taken range that begins first of those that reach beyond `from`, before `limit`; NULL: none.
static const struct load_span *next_taken(const struct load_plan *plan, uint64_t from,
                                          uint64_t limit)
{
    const struct load_span *next = NULL;
    for (uint32_t i = 0; i < plan->taken_count; i++) {
        const struct load_span *taken = &plan->taken[i];
        if (taken->end > from && taken->start < limit && (!next || taken->start < next->start)) {
            next = taken;
        }
    }
    return next;
}

void load_untouched(const struct load_plan *plan, struct load_result *result)
{
    result->untouched_count = 0;
    for (uint32_t i = 0; i < plan->ram_count; i++) {
        const uint64_t limit = plan->ram[i].end;
        uint64_t from = plan->ram[i].start;
        while (from < limit) {
            const struct load_span *taken = next_taken(plan, from, limit);
            const uint64_t end = taken ? taken->start & ~(uint64_t)(LOAD_PAGE - 1) : limit;
            if (end > from && result->untouched_count < LOAD_UNTOUCHED_MAX) {
                result->untouched[result->untouched_count++] =
                    (struct load_range){from, end - from};
            }
            from = taken ? (taken->end + LOAD_PAGE - 1) & ~(uint64_t)(LOAD_PAGE - 1) : limit;
        }
    }
}

uint32_t load_block_add(struct load_block *block, uint32_t size, uint32_t align)
{
    uint32_t offset = (block->size + align - 1) & ~(align - 1);
    block->size = offset + size;
    return offset;
}

void load_block_init(struct load_block *block)
{
    *block = (struct load_block){0, 0};
    load_block_add(block, BLOCK_GDT_SIZE, LOAD_PAGE);
    // load_state.c counts on the stack ending with the second page.
    load_block_add(block, BLOCK_STACK_SIZE, LOAD_PAGE);
}

enum load_error load_block_place(struct load_plan *plan, struct load_block *block)
{
    const struct load_want want = {
        .size = block->size, .align = LOAD_PAGE, .low = LOAD_BOOT_DATA_MIN, .high = LOAD_4GIB};
    return load_find(plan, &want, &block->gpa) ? LOAD_OK : LOAD_ERROR_BOOT_SPACE;
}

// Copies to guest memory, or clears it when data is NULL.
static void write_runs(const struct load_plan *plan, uint64_t gpa, const uint8_t *data,
                       uint64_t size)
{
    const struct load_request *request = plan->request;
    for (uint32_t i = 0; i < request->ram_count && size != 0; i++) {
        const struct load_ram *ram = &request->ram[i];
        if (gpa < ram->gpa || gpa - ram->gpa >= ram->size) {
            continue;
        }
        uint64_t offset = gpa - ram->gpa;
        uint64_t part = size < ram->size - offset ? size : ram->size - offset;
        uint8_t *host = (uint8_t *)ram->host + offset;
        if (data) {
            memcpy(host, data, (size_t)part);
            data += part;
        } else {
            memset(host, 0, (size_t)part);
        }
        gpa += part;
        size -= part;
    }
}

void load_write(const struct load_plan *plan, uint64_t gpa, const void *data, uint64_t size)
{
    if (size != 0) {
        write_runs(plan, gpa, data, size);
    }
}

void load_clear(const struct load_plan *plan, uint64_t gpa, uint64_t size)
{
    write_runs(plan, gpa, NULL, size);
}

void load_write_piece(const struct load_plan *plan, const struct load_piece *piece)
{
    load_write(plan, piece->gpa, plan->image + piece->offset, piece->file_size);
    load_clear(plan, piece->gpa + piece->file_size, piece->memory_size - piece->file_size);
}

void load_write_cmdline(const struct load_plan *plan, uint64_t gpa)
{
    load_write(plan, gpa, plan->request->cmdline, plan->request->cmdline_size);
    load_clear(plan, gpa + plan->request->cmdline_size, 1);
}
