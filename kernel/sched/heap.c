// SPDX-License-Identifier: BSD-2-Clause-Patent
// Pairing heaps of scheduling entities (Fredman, Sedgewick, Sleator and Tarjan, 1986): adding costs
// the same whatever there is, taking the least out grows with the logarithm. Keys wrap: they are
// compared by their difference.
#include <stddef.h>

#include "corbel/sched_queue.h"

// The root with the greater key becomes the first child of the other, which is returned.
static inline struct sched_node *link(struct sched_node *a, struct sched_node *b)
{
    if ((int64_t)(b->key - a->key) < 0) {
        struct sched_node *least = b;
        b = a;
        a = least;
    }
    b->previous = a;
    b->next = a->child;
    if (b->next)
        b->next->previous = b;
    a->child = b;
    return a;
}

// One heap of a row of siblings: neighbours in pairs, then the pairs from the last to the first.
static struct sched_node *merge(struct sched_node *n)
{
    struct sched_node *pairs = NULL, *root;

    while (n) {
        struct sched_node *a = n, *b = n->next;
        n = NULL;
        if (b) {
            n = b->next;
            a = link(a, b);
        }
        a->next = pairs;
        pairs = a;
    }
    root = pairs;
    if (!root)
        return NULL;
    pairs = root->next;
    while (pairs) {
        struct sched_node *following = pairs->next;
        root = link(root, pairs);
        pairs = following;
    }
    root->next = root->previous = NULL;
    return root;
}

void sched_heap_insert(struct sched_heap *heap, struct sched_node *node)
{
    node->child = node->next = node->previous = NULL;
    heap->root = heap->root ? link(heap->root, node) : node;
}

void sched_heap_remove(struct sched_heap *heap, struct sched_node *node)
{
    struct sched_node *rest = merge(node->child);

    if (heap->root == node) {
        heap->root = rest;
        return;
    }
    if (node->previous->child == node)
        node->previous->child = node->next;
    else
        node->previous->next = node->next;
    if (node->next)
        node->next->previous = node->previous;
    if (rest)
        heap->root = link(heap->root, rest);
}
