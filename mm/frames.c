// SPDX-License-Identifier: BSD-2-Clause-Patent
// The machine frame table. A group is 8 MiB: four 2 MiB regions, and one page of 16-bit counters
// for its 2,048 frames where single pages matter. A group is a cache line with its own lock, so LPs
// that map memory of different partitions do not meet.
//
// Without counters every page of a region is RAM, or none is (region.ram), and none is owned; a
// region that is RAM in part gets counters at the start.
#include "corbel/frames.h"

#include <stddef.h>

#include "corbel/phys.h"
#include "corbel/spinlock.h"
#include "hv/status.h"

#define GROUP_SHIFT   23
#define GROUP_FRAMES  2048u
#define GROUP_REGIONS 4u
#define REGION_SHIFT  21
#define REGION_FRAMES 512u

enum frame_value { // of a counter; anything less is a number of uses
    FRAME_MAX_USES = 0xfffd,
    FRAME_NOT_RAM = 0xfffe,
    FRAME_OWNED = 0xffff
};

enum region_kind {
    REGION_NOT_RAM = 0,
    REGION_RAM = 1,   // all of it
    REGION_OWNED = 2, // all of it, for ever: the initial block
};

struct frame_region {
    uint32_t uses;   // 2 MiB mappings
    uint16_t barred; // counters that are FRAME_NOT_RAM or FRAME_OWNED
    uint16_t kind;   // enum region_kind; with counters only REGION_OWNED matters
};

struct frame_group {
    struct spinlock lock;
    uint16_t *counters; // GROUP_FRAMES, or NULL
    struct frame_region region[GROUP_REGIONS];
    uint64_t reserved[2]; // a cache line
};
static_assert(sizeof(struct frame_group) == 64, "one cache line a group");

static struct frame_group *group_of(const struct frames *frames, uint64_t pa)
{
    uint64_t index = pa >> GROUP_SHIFT;

    return index < frames->group_count ? &frames->groups[index] : NULL;
}

static struct frame_region *region_of(struct frame_group *group, uint64_t pa)
{
    return &group->region[(pa >> REGION_SHIFT) % GROUP_REGIONS];
}

static uint16_t *counter_of(struct frame_group *group, uint64_t pa)
{
    return &group->counters[(pa >> PAGE_SHIFT) % GROUP_FRAMES];
}

// Gives the group its counters. Group locked, or at the start.
static uint16_t need_counters(struct frames *frames, struct frame_group *group)
{
    uint16_t *counters;

    if (group->counters != NULL)
        return HV_STATUS_SUCCESS;
    counters = pool_alloc(frames->pool);
    if (counters == NULL)
        return HV_STATUS_INSUFFICIENT_ROOT_MEMORY;
    for (unsigned i = 0; i < GROUP_FRAMES; i++) {
        struct frame_region *region = &group->region[i / REGION_FRAMES];

        if (region->kind == REGION_RAM)
            continue;
        counters[i] = region->kind == REGION_OWNED ? FRAME_OWNED : FRAME_NOT_RAM;
        region->barred++;
    }
    group->counters = counters;
    return HV_STATUS_SUCCESS;
}

// Marks frames [first, end) of the group as RAM. At the start only.
static uint16_t add_ram(struct frames *frames, struct frame_group *group, unsigned first,
                        unsigned end)
{
    for (unsigned i = first; i < end; i++) {
        struct frame_region *region = &group->region[i / REGION_FRAMES];

        if (group->counters == NULL && i % REGION_FRAMES == 0 && end - i >= REGION_FRAMES) {
            region->kind = REGION_RAM;
            i += REGION_FRAMES - 1;
            continue;
        }
        if (need_counters(frames, group) != HV_STATUS_SUCCESS)
            return HV_STATUS_INSUFFICIENT_ROOT_MEMORY;
        if (group->counters[i] == FRAME_NOT_RAM) {
            group->counters[i] = 0;
            region->barred--;
        }
    }
    return HV_STATUS_SUCCESS;
}

// The page range [*first, *end) inside the byte range, as page numbers; may be empty.
static void whole_pages(const struct launch_range *range, uint64_t *first, uint64_t *end)
{
    *first = (range->base + PAGE_SIZE - 1) >> PAGE_SHIFT;
    *end = (range->base + range->size) >> PAGE_SHIFT;
}

static uint16_t add_range(struct frames *frames, uint64_t first, uint64_t end)
{
    while (first < end) {
        uint64_t group_end = (first / GROUP_FRAMES + 1) * GROUP_FRAMES;
        uint64_t stop = group_end < end ? group_end : end;
        uint16_t status = add_ram(frames, &frames->groups[first / GROUP_FRAMES],
                                  first % GROUP_FRAMES, stop - first / GROUP_FRAMES * GROUP_FRAMES);

        if (status != HV_STATUS_SUCCESS)
            return status;
        first = stop;
    }
    return HV_STATUS_SUCCESS;
}

uint16_t frames_init(struct frames *frames, const struct launch_range *ranges, uint32_t range_count,
                     struct pool *pool)
{
    uint64_t limit = 0;
    uint64_t first;
    uint64_t end;

    for (uint32_t i = 0; i < range_count; i++) {
        whole_pages(&ranges[i], &first, &end);
        if (end > limit)
            limit = end;
    }
    frames->pool = pool;
    frames->group_count = (limit + GROUP_FRAMES - 1) / GROUP_FRAMES;
    frames->groups = NULL;
    if (frames->group_count == 0)
        return HV_STATUS_SUCCESS;
    frames->groups = pool_alloc_run(
        pool, (frames->group_count * sizeof(struct frame_group) + PAGE_SIZE - 1) >> PAGE_SHIFT);
    if (frames->groups == NULL)
        return HV_STATUS_INSUFFICIENT_ROOT_MEMORY;
    for (uint32_t i = 0; i < range_count; i++) {
        uint16_t status;

        whole_pages(&ranges[i], &first, &end);
        status = add_range(frames, first, end);
        if (status != HV_STATUS_SUCCESS)
            return status;
    }
    return HV_STATUS_SUCCESS;
}

static bool barred(uint16_t value)
{
    return value > FRAME_MAX_USES;
}

// Marks frames [first, end) of a group as owned. Group locked.
static uint16_t own_frames(struct frames *frames, struct frame_group *group, unsigned first,
                           unsigned end)
{
    uint16_t status = need_counters(frames, group);

    if (status != HV_STATUS_SUCCESS)
        return status;
    for (unsigned i = first; i < end; i++) {
        if (group->region[i / REGION_FRAMES].uses != 0 ||
            (group->counters[i] != 0 && !barred(group->counters[i])))
            return HV_STATUS_OPERATION_DENIED;
    }
    for (unsigned i = first; i < end; i++) {
        if (!barred(group->counters[i]))
            group->region[i / REGION_FRAMES].barred++;
        group->counters[i] = FRAME_OWNED;
    }
    return HV_STATUS_SUCCESS;
}

// Whether [first, end) is a whole region that can be marked without counters. Group locked.
static bool own_region(struct frame_group *group, unsigned first, unsigned end)
{
    struct frame_region *region = &group->region[first / REGION_FRAMES];

    if (group->counters != NULL || end - first != REGION_FRAMES || region->uses != 0)
        return false;
    region->kind = REGION_OWNED;
    return true;
}

uint16_t frames_own_range(struct frames *frames, uint64_t pa, uint64_t size)
{
    uint64_t first = pa >> PAGE_SHIFT;
    uint64_t end = (pa + size + PAGE_SIZE - 1) >> PAGE_SHIFT;
    uint16_t status = HV_STATUS_SUCCESS;

    while (first < end && status == HV_STATUS_SUCCESS) {
        struct frame_group *group = group_of(frames, first << PAGE_SHIFT);
        uint64_t region_end = (first / REGION_FRAMES + 1) * REGION_FRAMES;
        uint64_t stop = region_end < end ? region_end : end;
        unsigned in_group = first % GROUP_FRAMES;

        // Beyond the table nothing is RAM, so nothing can be mapped or deposited there anyway.
        if (group == NULL)
            break;
        spin_lock(&group->lock);
        if (!own_region(group, in_group, in_group + (unsigned)(stop - first)))
            status = own_frames(frames, group, in_group, in_group + (unsigned)(stop - first));
        spin_unlock(&group->lock);
        first = stop;
    }
    return status;
}

// Whether the frame can be used by a child, as far as the region knows. Group locked.
static bool usable_without_counters(const struct frame_group *group,
                                    const struct frame_region *region)
{
    return group->counters != NULL || region->kind == REGION_RAM;
}

uint16_t frames_own(struct frames *frames, uint64_t pa)
{
    struct frame_group *group = group_of(frames, pa);
    struct frame_region *region;
    uint16_t status = HV_STATUS_OPERATION_DENIED;

    if (group == NULL)
        return status;
    region = region_of(group, pa);
    spin_lock(&group->lock);
    if (region->uses == 0 && usable_without_counters(group, region)) {
        status = need_counters(frames, group);
        if (status == HV_STATUS_SUCCESS && *counter_of(group, pa) != 0)
            status = HV_STATUS_OPERATION_DENIED;
    }
    if (status == HV_STATUS_SUCCESS) {
        *counter_of(group, pa) = FRAME_OWNED;
        region->barred++;
    }
    spin_unlock(&group->lock);
    return status;
}

void frames_disown(struct frames *frames, uint64_t pa)
{
    struct frame_group *group = group_of(frames, pa);

    phys_invariant(group != NULL);
    spin_lock(&group->lock);
    phys_invariant(group->counters != NULL && *counter_of(group, pa) == FRAME_OWNED);
    *counter_of(group, pa) = 0;
    region_of(group, pa)->barred--;
    spin_unlock(&group->lock);
}

bool frames_owned(struct frames *frames, uint64_t pa)
{
    struct frame_group *group = group_of(frames, pa);
    bool owned;

    if (group == NULL)
        return false;
    spin_lock(&group->lock);
    owned = group->counters != NULL ? *counter_of(group, pa) == FRAME_OWNED
                                    : region_of(group, pa)->kind == REGION_OWNED;
    spin_unlock(&group->lock);
    return owned;
}

// The first use of a single page in its group. Group locked.
static uint16_t map_first(struct frames *frames, struct frame_group *group, uint64_t pa)
{
    uint16_t status;

    if (region_of(group, pa)->kind != REGION_RAM)
        return HV_STATUS_OPERATION_DENIED;
    status = need_counters(frames, group);
    if (status == HV_STATUS_SUCCESS)
        *counter_of(group, pa) = 1;
    return status;
}

uint16_t frames_map(struct frames *frames, uint64_t pa)
{
    struct frame_group *group = group_of(frames, pa);
    uint16_t status = HV_STATUS_OPERATION_DENIED;

    if (group == NULL)
        return status;
    spin_lock(&group->lock);
    if (group->counters == NULL) {
        status = map_first(frames, group, pa);
    } else if (*counter_of(group, pa) < FRAME_MAX_USES) {
        ++*counter_of(group, pa);
        status = HV_STATUS_SUCCESS;
    }
    spin_unlock(&group->lock);
    return status;
}

void frames_unmap(struct frames *frames, uint64_t pa)
{
    struct frame_group *group = group_of(frames, pa);
    uint16_t *counter;

    phys_invariant(group != NULL);
    spin_lock(&group->lock);
    phys_invariant(group->counters != NULL);
    counter = counter_of(group, pa);
    phys_invariant(*counter != 0 && !barred(*counter));
    --*counter;
    spin_unlock(&group->lock);
}

uint16_t frames_map_large(struct frames *frames, uint64_t pa)
{
    struct frame_group *group = group_of(frames, pa);
    uint16_t status = HV_STATUS_OPERATION_DENIED;
    struct frame_region *region;

    if (group == NULL)
        return status;
    region = region_of(group, pa);
    spin_lock(&group->lock);
    if (region->barred == 0 && usable_without_counters(group, region) &&
        region->uses < FRAME_MAX_USES) {
        region->uses++;
        status = HV_STATUS_SUCCESS;
    }
    spin_unlock(&group->lock);
    return status;
}

void frames_unmap_large(struct frames *frames, uint64_t pa)
{
    struct frame_group *group = group_of(frames, pa);

    phys_invariant(group != NULL);
    spin_lock(&group->lock);
    phys_invariant(region_of(group, pa)->uses != 0);
    region_of(group, pa)->uses--;
    spin_unlock(&group->lock);
}

uint16_t frames_split(struct frames *frames, uint64_t pa)
{
    struct frame_group *group = group_of(frames, pa);
    struct frame_region *region;
    uint16_t *counter;
    uint16_t status;

    phys_invariant(group != NULL);
    region = region_of(group, pa);
    spin_lock(&group->lock);
    phys_invariant(region->uses != 0);
    status = need_counters(frames, group);
    counter = status == HV_STATUS_SUCCESS ? counter_of(group, pa & ~(LARGE_PAGE_SIZE - 1)) : NULL;
    for (unsigned i = 0; status == HV_STATUS_SUCCESS && i < REGION_FRAMES; i++) {
        if (counter[i] == FRAME_MAX_USES)
            status = HV_STATUS_OPERATION_DENIED;
    }
    for (unsigned i = 0; status == HV_STATUS_SUCCESS && i < REGION_FRAMES; i++)
        counter[i]++;
    if (status == HV_STATUS_SUCCESS)
        region->uses--;
    spin_unlock(&group->lock);
    return status;
}

uint32_t frames_uses(struct frames *frames, uint64_t pa)
{
    struct frame_group *group = group_of(frames, pa);
    uint32_t uses;

    if (group == NULL)
        return 0;
    spin_lock(&group->lock);
    uses = region_of(group, pa)->uses;
    if (group->counters != NULL && !barred(*counter_of(group, pa)))
        uses += *counter_of(group, pa);
    spin_unlock(&group->lock);
    return uses;
}
