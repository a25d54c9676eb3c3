// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "boot/space.h"

#include "boot/pagetable.h"
#include "corbel/layout.h"

#define MIB 0x100000ul
#define GIB 0x40000000ul

static uint64_t pages_of(uint64_t bytes)
{
    return (bytes + PAGE_SIZE - 1) >> PAGE_SHIFT;
}

static uint64_t round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

uint64_t space_context_pages(uint32_t lp_count)
{
    return pages_of(lp_count * sizeof(struct launch_context));
}

uint64_t space_stack_top(uint32_t lp_index)
{
    return HV_LP_BASE + (lp_index + 1) * HV_LP_AREA_SIZE;
}

// The root's tables grow with the memory they map, everything else with the processors.
static uint64_t default_pool(const struct space_request *request)
{
    return 8 * MIB + request->lp_count * MIB + request->ram_bytes / GIB * PAGE_SIZE;
}

bool space_plan(const struct space_request *request, struct space_plan *plan)
{
    uint64_t lps = request->lp_count;
    plan->areas = request->image->size;
    plan->info = plan->areas + lps * LP_AREA_PAGES * PAGE_SIZE;
    plan->tables = plan->info + round_up(sizeof(struct launch_info), PAGE_SIZE);
    uint64_t wanted = plan->tables + default_pool(request);
    wanted += wanted / 128 + MIB; // for the tables
    plan->size = round_up(request->memory ? request->memory : wanted, LARGE_PAGE_SIZE);
    // The direct map covers the tables too, hence the bound of the whole block.
    plan->table_pages = 1 + pagetable_bound(pages_of(plan->size)) +
                        pagetable_bound(pages_of(request->image->size)) +
                        pagetable_bound(lps * HV_LP_AREA_SIZE / PAGE_SIZE) +
                        pagetable_bound(lps * HV_WINDOW_SLOTS) +
                        pagetable_bound(space_context_pages(request->lp_count)) +
                        2 * pagetable_bound(1);
    return plan->tables + (plan->table_pages + SPACE_MIN_POOL_PAGES) * PAGE_SIZE <= plan->size;
}

static bool map_image(struct pagetable *pt, const struct image *image, uint8_t *block, uint64_t pa)
{
    for (unsigned i = 0; i < image->segment_count; i++) {
        const struct image_segment *s = &image->segments[i];
        uint64_t at = s->va - HV_IMAGE_BASE;
        for (uint64_t byte = 0; byte < s->file_size; byte++)
            block[at + byte] = image->file[s->offset + byte];
        if (!pagetable_map(pt, s->va, pa + at, pages_of(s->memory_size), s->rights))
            return false;
    }
    return true;
}

static bool map_lp_area(struct pagetable *pt, uint32_t lp, uint64_t pa)
{
    static const struct {
        uint64_t page, count;
    } parts[] = {
        {LP_AREA_DATA_PAGE, LP_AREA_DATA_PAGES},
        {LP_AREA_NMI_PAGE, LP_AREA_NMI_PAGES},
        {LP_AREA_FAULT_PAGE, LP_AREA_FAULT_PAGES},
        {LP_AREA_STACK_PAGE, LP_AREA_STACK_PAGES},
    };
    uint64_t va = HV_LP_BASE + lp * HV_LP_AREA_SIZE;
    for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (!pagetable_map(pt, va + parts[i].page * PAGE_SIZE, pa, parts[i].count, PT_WRITE))
            return false;
        pa += parts[i].count * PAGE_SIZE;
    }
    return true;
}

static bool map_direct(struct pagetable *pt, uint64_t pa, uint64_t bytes)
{
    return pagetable_map(pt, HV_DIRECT_BASE + pa, pa, pages_of(bytes), PT_WRITE);
}

static bool map_all(struct pagetable *pt, const struct space_request *request,
                    const struct space_plan *plan, uint8_t *block, uint64_t pa)
{
    if (!map_image(pt, request->image, block, pa))
        return false;
    for (uint32_t lp = 0; lp < request->lp_count; lp++)
        if (!map_lp_area(pt, lp, pa + plan->areas + lp * LP_AREA_PAGES * PAGE_SIZE))
            return false;
    return pagetable_reserve(pt, HV_WINDOW_BASE, request->lp_count * HV_WINDOW_SLOTS) &&
           pagetable_map(pt, HV_MMIO_BASE, request->apic_pa, 1, PT_WRITE | PT_UNCACHED) &&
           pagetable_map(pt, request->trampoline_pa, request->trampoline_pa, 1, PT_EXECUTE) &&
           map_direct(pt, request->contexts_pa,
                      request->lp_count * sizeof(struct launch_context)) &&
           map_direct(pt, pa + plan->info, plan->size - plan->info);
}

struct launch_info *space_build(const struct space_request *request, const struct space_plan *plan,
                                void *block, uint64_t pa)
{
    struct pagetable pt;
    uint8_t *bytes = block;
    struct launch_info *info = (struct launch_info *)(bytes + plan->info);
    if (!pagetable_init(&pt, bytes + plan->tables, pa + plan->tables, plan->table_pages,
                        request->levels) ||
        !map_all(&pt, request, plan, bytes, pa))
        return NULL;
    uint64_t pool = plan->tables + pt.used * PAGE_SIZE; // tables not used join it
    info->magic = LAUNCH_MAGIC;
    info->version = LAUNCH_VERSION;
    info->size = sizeof(*info);
    info->block = (struct launch_range){pa, plan->size};
    info->pool = (struct launch_range){pa + pool, plan->size - pool};
    info->contexts = (struct launch_range){request->contexts_pa,
                                           space_context_pages(request->lp_count) * PAGE_SIZE};
    info->hv_cr3 = pagetable_root(&pt);
    info->image_pa = pa;
    info->image_size = request->image->size;
    info->trampoline_pa = request->trampoline_pa;
    info->lp_count = request->lp_count;
    return info;
}
