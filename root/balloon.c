// SPDX-License-Identifier: BSD-2-Clause-Patent
// Dynamic memory of a VM: contract in balloon.h.
#include "root/balloon.h"

#include "root/lib/mem.h"
#include "root/pages.h"
#include "root/vm.h"

#define MIB        UINT64_C(0x100000)
#define MIB_PAGES  (MIB / HV_PAGE_SIZE)
#define ADD_UNIT   (128 * MIB) // Linux adds memory in blocks of so much
#define PAGES(mib) ((mib)*MIB_PAGES)

// ---- what the device asks for
// --------------------------------------------------------------------

static bool owns(void *ctx, uint64_t first, uint64_t count)
{
    const struct balloon *b = ctx;
    uint64_t gpa = first << HV_PAGE_SHIFT;
    const uint64_t end = gpa + (count << HV_PAGE_SHIFT);

    while (gpa < end) {
        const struct load_ram *piece = guest_memory_find(&b->vm->memory, gpa);
        if (!piece) {
            return false;
        }
        gpa = piece->gpa + piece->size;
    }
    return true;
}

static void taken(void *ctx, uint64_t first, uint64_t count)
{
    balloon_taken(ctx, first, count);
}

// A VM that ends gets nothing more.
static void given(void *ctx, uint64_t first, uint64_t count)
{
    struct balloon *b = ctx;

    if (b->vm->end == VM_RUNS) {
        balloon_given(b, first, count);
    }
}

static void reported(void *ctx, const struct dynmem_status *status)
{
    struct balloon *b = ctx;

    (void)status;
    b->reports++;
}

static uint64_t present(const struct balloon *b)
{
    return PAGES(b->vm->conf.memory) + b->added - b->dynmem.ballooned;
}

static void done(void *ctx, enum dynmem_operation operation, uint64_t pages)
{
    struct balloon *b = ctx;

    if (operation == DYNMEM_HOT_ADD) {
        b->added += pages;
    }
    if (b->console) {
        console_print(b->console, "memory: %lu MiB\n", present(b) / MIB_PAGES);
        b->console = NULL;
    }
    vm_due_changed = true;
}

// ---- adding
// --------------------------------------------------------------------------------------

// Above 4 GiB and all RAM as configured; blocks of the guest's are aligned to their size.
static uint64_t added_start(const struct vm *vm)
{
    return (guest_memory_end(&vm->memory) + ADD_UNIT - 1) / ADD_UNIT * ADD_UNIT;
}

static bool add_block(struct balloon *b)
{
    if (!balloon_add(b, added_start(b->vm) + (b->mapped << HV_PAGE_SHIFT), ADD_UNIT)) {
        return false;
    }
    b->mapped += ADD_UNIT >> HV_PAGE_SHIFT;
    return true;
}

// One request of the device for all blocks, which follow each other.
static bool add(struct balloon *b, uint64_t pages)
{
    const uint64_t unit = ADD_UNIT >> HV_PAGE_SHIFT;
    const uint64_t first = (added_start(b->vm) >> HV_PAGE_SHIFT) + b->added;
    const uint64_t rounded = (pages + unit - 1) / unit * unit;

    while (b->mapped < b->added + rounded) {
        if (!add_block(b)) {
            return false;
        }
    }
    return dynmem_hot_add(&b->dynmem, first, rounded);
}

// ---- for the console
// -----------------------------------------------------------------------------

static const char *resize(struct balloon *b, uint64_t wanted)
{
    const uint64_t now = present(b), max = PAGES(b->vm->conf.memory_max);
    struct dynmem *d = &b->dynmem;

    if (wanted < now) {
        return dynmem_balloon(d, now - wanted) ? NULL : "the guest has no balloon";
    }
    if (wanted == now) {
        return "it is so already";
    }
    if (d->ballooned) {
        const uint64_t back = wanted - now < d->ballooned ? wanted - now : d->ballooned;
        if (!balloon_can_give(b, back)) {
            return "the machine does not have so much any more";
        }
        return dynmem_unballoon(d, back) ? NULL : "the guest does not take it";
    }
    if (wanted > max) {
        return "memory-max does not allow it";
    }
    return add(b, wanted - now) ? NULL : "there is not so much, or the guest cannot take more";
}

void balloon_resize(struct balloon *b, struct console *console, uint64_t mib)
{
    const char *error = "the guest's driver is not ready (yet)";

    if (dynmem_idle(&b->dynmem)) {
        b->console = console;
        error = resize(b, PAGES(mib));
    }
    if (error) {
        console_print(console, "memory: %s\n", error);
        b->console = NULL;
    }
    bus_wake_all();
}

void balloon_list(const struct balloon *b, struct console *console)
{
    const struct dynmem *d = &b->dynmem;

    if (d->state != DYNMEM_READY) {
        console_print(console, "  memory %lu MiB, no balloon\n", present(b) / MIB_PAGES);
        return;
    }
    console_print(console,
                  "  memory %lu MiB (%lu ballooned, %lu returned, %lu added), available %lu MiB, "
                  "committed %lu MiB, %lu reports\n",
                  present(b) / MIB_PAGES, d->ballooned / MIB_PAGES, b->returned / MIB_PAGES,
                  b->added / MIB_PAGES, d->last.available / MIB_PAGES,
                  d->last.committed / MIB_PAGES, b->reports);
}

// ---- life
// ----------------------------------------------------------------------------------------

bool balloon_create(struct balloon *b, struct vm *vm, struct vmbus_server *server)
{
    const uint64_t extra = vm->conf.memory_max > vm->conf.memory
                               ? (vm->conf.memory_max - vm->conf.memory) * MIB + ADD_UNIT
                               : 0;
    struct dynmem_config config = {
        .pages = (added_start(vm) + extra) >> HV_PAGE_SHIFT,
        .ctx = b,
        .owns = owns,
        .taken = taken,
        .given = given,
        .status = reported,
        .done = done,
    };
    const uint64_t blocks = config.pages * HV_PAGE_SIZE / HV_LARGE_PAGE_SIZE;
    uint8_t **block;

    b->vm = vm;
    config.bitmap = pages_zeroed((config.pages + 63) / 64 * sizeof *config.bitmap);
    block = pages_zeroed(blocks * sizeof *block);
    if (!config.bitmap || !block) {
        return false;
    }
    guest_memory_track(&vm->memory, block, blocks);
    return dynmem_create(&b->dynmem, server, &config);
}
