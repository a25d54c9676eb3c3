// SPDX-License-Identifier: BSD-2-Clause-Patent
// Page pools. Free pages are kept as extents of contiguous pages: the first page of each holds the
// list link and the length, the others are not touched. Pages given back next to the extent that
// was used last join it, so a pool that is filled page by page in order stays one extent.
#include "corbel/pool.h"

#include <stddef.h>

#include "corbel/phys.h"

struct pool_extent {
    struct pool_extent *next;
    uint64_t pages;
};

static struct pool_extent *extent_end(struct pool_extent *extent)
{
    return (struct pool_extent *)((char *)extent + extent->pages * PAGE_SIZE);
}

void pool_init(struct pool *pool)
{
    spin_init(&pool->lock);
    pool->free = NULL;
    pool->available = 0;
    pool->in_use = 0;
}

static void put_pages(struct pool *pool, struct pool_extent *extent, uint64_t pages)
{
    struct pool_extent *head = pool->free;

    pool->available += pages;
    if (head != NULL && extent_end(head) == extent) {
        head->pages += pages;
        return;
    }
    extent->pages = pages;
    if (head != NULL && extent_end(extent) == head) {
        extent->pages += head->pages;
        head = head->next;
    }
    extent->next = head;
    pool->free = extent;
}

// One page off the end of the first extent, or NULL.
static void *take_page(struct pool *pool)
{
    struct pool_extent *head = pool->free;

    if (head == NULL)
        return NULL;
    pool->available--;
    if (--head->pages == 0)
        pool->free = head->next;
    return extent_end(head);
}

void pool_deposit(struct pool *pool, uint64_t pa, uint64_t pages)
{
    if (pages == 0)
        return;
    spin_lock(&pool->lock);
    put_pages(pool, phys_to_virt(pa), pages);
    spin_unlock(&pool->lock);
}

bool pool_withdraw(struct pool *pool, uint64_t *pa)
{
    void *page;

    spin_lock(&pool->lock);
    page = take_page(pool);
    spin_unlock(&pool->lock);
    if (page == NULL)
        return false;
    page_zero(page);
    *pa = virt_to_phys(page);
    return true;
}

void *pool_alloc(struct pool *pool)
{
    void *page;

    spin_lock(&pool->lock);
    page = take_page(pool);
    if (page != NULL)
        pool->in_use++;
    spin_unlock(&pool->lock);
    if (page != NULL)
        page_zero(page);
    return page;
}

// The end of the first extent that is long enough, or NULL.
static void *take_run(struct pool *pool, uint64_t pages)
{
    for (struct pool_extent **link = &pool->free; *link != NULL; link = &(*link)->next) {
        struct pool_extent *extent = *link;

        if (extent->pages < pages)
            continue;
        extent->pages -= pages;
        if (extent->pages == 0)
            *link = extent->next;
        pool->available -= pages;
        pool->in_use += pages;
        return extent_end(extent);
    }
    return NULL;
}

// Merges two lists sorted by address and joins neighbours.
static struct pool_extent *merge(struct pool_extent *a, struct pool_extent *b)
{
    struct pool_extent *first = NULL;
    struct pool_extent *last = NULL;

    while (a != NULL || b != NULL) {
        struct pool_extent **from = b == NULL || (a != NULL && a < b) ? &a : &b;
        struct pool_extent *extent = *from;

        *from = extent->next;
        extent->next = NULL;
        if (last != NULL && extent_end(last) == extent) {
            last->pages += extent->pages;
            continue;
        }
        if (last != NULL)
            last->next = extent;
        else
            first = extent;
        last = extent;
    }
    return first;
}

// Sorts the free list by address and joins all neighbours. Merge sort: bin[i] holds a sorted list
// of 2^i of the extents seen so far, or nothing.
static void sort(struct pool *pool)
{
    struct pool_extent *bin[40] = {NULL};
    struct pool_extent *rest = pool->free;
    const unsigned last = sizeof(bin) / sizeof(bin[0]) - 1;

    while (rest != NULL) {
        struct pool_extent *carry = rest;
        unsigned i;

        rest = rest->next;
        carry->next = NULL;
        for (i = 0; i < last && bin[i] != NULL; i++) {
            carry = merge(bin[i], carry);
            bin[i] = NULL;
        }
        bin[i] = merge(bin[i], carry);
    }
    pool->free = NULL;
    for (unsigned i = 0; i <= last; i++)
        pool->free = merge(pool->free, bin[i]);
}

void *pool_alloc_run(struct pool *pool, uint64_t pages)
{
    char *run = NULL;

    if (pages == 0)
        return NULL;
    spin_lock(&pool->lock);
    if (pool->available >= pages) {
        run = take_run(pool, pages);
        if (run == NULL) {
            sort(pool);
            run = take_run(pool, pages);
        }
    }
    spin_unlock(&pool->lock);
    for (uint64_t i = 0; run != NULL && i < pages; i++)
        page_zero(run + i * PAGE_SIZE);
    return run;
}

void pool_free_run(struct pool *pool, void *first, uint64_t pages)
{
    if (pages == 0)
        return;
    spin_lock(&pool->lock);
    phys_invariant(pool->in_use >= pages);
    pool->in_use -= pages;
    put_pages(pool, first, pages);
    spin_unlock(&pool->lock);
}

void pool_free(struct pool *pool, void *page)
{
    pool_free_run(pool, page, 1);
}

struct pool_balance pool_balance(struct pool *pool)
{
    struct pool_balance balance;

    spin_lock(&pool->lock);
    balance.available = pool->available;
    balance.in_use = pool->in_use;
    spin_unlock(&pool->lock);
    return balance;
}
