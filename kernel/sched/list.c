// SPDX-License-Identifier: BSD-2-Clause-Patent
// Lists of scheduling entities, sorted by key. Taking the first out costs next to nothing; a place
// is looked for from the end that is nearest by key, or from where another has come. With the tens
// of VPs that an LP has at most this is cheaper than any heap (docs/scheduler.md has the counts).
// Keys wrap: they are compared by their difference.
#include <stddef.h>

#include "corbel/sched_queue.h"

static inline bool before(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) < 0;
}

// The last node that is not behind `key`, from `n` on down or up. There is one, and one that is.
static struct sched_node *near(struct sched_node *n, uint64_t key)
{
    if (before(key, n->key)) {
        do
            n = n->previous;
        while (before(key, n->key));
        return n;
    }
    do
        n = n->next;
    while (!before(key, n->key));
    return n->previous;
}

static uint64_t apart(uint64_t a, uint64_t b)
{
    return before(a, b) ? b - a : a - b;
}

// The last node that is not behind `key`; NULL: all are.
static struct sched_node *place(const struct sched_list *list, uint64_t key)
{
    struct sched_node *n = list->last, *recent = list->recent;

    if (!n || !before(key, n->key))
        return n;
    if (before(key, list->first->key))
        return NULL;
    if (recent && apart(key, recent->key) < n->key - key)
        n = recent;
    if (apart(key, n->key) > key - list->first->key)
        n = list->first;
    return near(n, key);
}

void sched_list_insert(struct sched_list *list, struct sched_node *node)
{
    struct sched_node *previous = place(list, node->key),
                      *next = previous ? previous->next : list->first;

    node->previous = previous;
    node->next = next;
    if (previous && next)
        list->recent = node;
    *(previous ? &previous->next : &list->first) = node;
    *(next ? &next->previous : &list->last) = node;
}

void sched_list_remove(struct sched_list *list, struct sched_node *node)
{
    struct sched_node *previous = node->previous, *next = node->next;

    if (list->recent == node)
        list->recent = previous;
    *(previous ? &previous->next : &list->first) = next;
    *(next ? &next->previous : &list->last) = previous;
}
