// SPDX-License-Identifier: BSD-2-Clause-Patent
// Lists of scheduling entities, sorted by key. Taking the first out costs next to nothing; a place
// is looked for from the end that is nearer by key. With the tens of VPs that an LP has at most
// this is cheaper than any heap (docs/scheduler.md has the counts). Keys wrap: they are compared
// by their difference.
#include <stddef.h>

#include "corbel/sched_queue.h"

static inline bool before(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) < 0;
}

// The last node that is not behind `key`; NULL: all are.
static struct sched_node *place(const struct sched_list *list, uint64_t key)
{
    struct sched_node *n = list->last, *next;

    if (!n || !before(key, n->key))
        return n;
    if (n->key - key <= key - list->first->key) {
        do
            n = n->previous;
        while (n && before(key, n->key));
        return n;
    }
    for (n = NULL, next = list->first; !before(key, next->key); next = n->next)
        n = next;
    return n;
}

void sched_list_insert(struct sched_list *list, struct sched_node *node)
{
    struct sched_node *previous = place(list, node->key),
                      *next = previous ? previous->next : list->first;

    node->previous = previous;
    node->next = next;
    *(previous ? &previous->next : &list->first) = node;
    *(next ? &next->previous : &list->last) = node;
}

void sched_list_remove(struct sched_list *list, struct sched_node *node)
{
    struct sched_node *previous = node->previous, *next = node->next;

    *(previous ? &previous->next : &list->first) = next;
    *(next ? &next->previous : &list->last) = previous;
}
