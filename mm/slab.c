// SPDX-License-Identifier: BSD-2-Clause-Patent
// Small objects: pages cut into equal parts behind a header, free parts in a list.
#include "corbel/slab.h"

#include <stddef.h>

#include "corbel/phys.h"
#include "corbel/string.h"

struct slab_object {
    struct slab_object *next;
};

struct slab_page {
    struct slab_page *next, *previous; // among those with a free object
    struct slab_object *free;
    uint64_t used;
};

void slab_init(struct slab *slab, struct pool *pool, uint32_t size)
{
    slab->pool = pool;
    slab->pages = NULL;
    slab->size = size;
}

static void link_page(struct slab *slab, struct slab_page *page)
{
    page->previous = NULL;
    page->next = slab->pages;
    if (page->next)
        page->next->previous = page;
    slab->pages = page;
}

static void unlink_page(struct slab *slab, struct slab_page *page)
{
    if (page->previous)
        page->previous->next = page->next;
    else
        slab->pages = page->next;
    if (page->next)
        page->next->previous = page->previous;
}

static struct slab_page *add_page(struct slab *slab)
{
    struct slab_page *page = pool_alloc(slab->pool);

    if (!page)
        return NULL;
    for (uint32_t at = sizeof(*page); at + slab->size <= PAGE_SIZE; at += slab->size) {
        struct slab_object *object = (struct slab_object *)((char *)page + at);
        object->next = page->free;
        page->free = object;
    }
    link_page(slab, page);
    return page;
}

void *slab_alloc(struct slab *slab)
{
    struct slab_page *page = slab->pages ? slab->pages : add_page(slab);
    struct slab_object *object;

    if (!page)
        return NULL;
    object = page->free;
    page->free = object->next;
    page->used++;
    if (!page->free)
        unlink_page(slab, page);
    memset(object, 0, slab->size);
    return object;
}

void slab_free(struct slab *slab, void *object)
{
    struct slab_page *page = (struct slab_page *)((uintptr_t)object & ~(PAGE_SIZE - 1));
    struct slab_object *freed = object;

    phys_invariant(page->used > 0);
    if (!page->free)
        link_page(slab, page);
    freed->next = page->free;
    page->free = freed;
    if (--page->used == 0) {
        unlink_page(slab, page);
        pool_free(slab->pool, page);
    }
}
