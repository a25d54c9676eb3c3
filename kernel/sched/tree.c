// SPDX-License-Identifier: BSD-2-Clause-Patent
// Trees of scheduling entities: a treap by key, with the least value below each node. Keys and
// values wrap: they are compared by their difference.
#include "corbel/sched_queue.h"

#include <stddef.h>

static inline bool before(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) < 0;
}

static inline uint64_t least_of(const struct sched_node *n)
{
    uint64_t least = n->value;

    if (n->left && before(n->left->least, least))
        least = n->left->least;
    if (n->right && before(n->right->least, least))
        least = n->right->least;
    return least;
}

// `with` takes the place of `node` below its parent.
static void replace(struct sched_tree *tree, const struct sched_node *node, struct sched_node *with)
{
    struct sched_node *up = node->up;

    if (!up)
        tree->root = with;
    else if (up->left == node)
        up->left = with;
    else
        up->right = with;
    if (with)
        with->up = up;
}

static void rotate_up(struct sched_tree *tree, struct sched_node *n)
{
    struct sched_node *up = n->up, *inner;

    replace(tree, up, n);
    if (up->left == n) {
        inner = n->right;
        up->left = inner;
        n->right = up;
    } else {
        inner = n->left;
        up->right = inner;
        n->left = up;
    }
    if (inner)
        inner->up = up;
    up->up = n;
    n->least = up->least;
    up->least = least_of(up);
}

void sched_tree_insert(struct sched_tree *tree, struct sched_node *node)
{
    struct sched_node **place = &tree->root, *up = NULL;
    bool first = true;

    node->least = node->value;
    node->left = node->right = node->up = NULL;
    if (!tree->root) {
        tree->root = tree->first = node;
        return;
    }
    while (*place) {
        up = *place;
        if (before(node->value, up->least))
            up->least = node->value;
        if (before(node->key, up->key)) {
            place = &up->left;
        } else {
            place = &up->right;
            first = false;
        }
    }
    node->up = up;
    *place = node;
    if (first)
        tree->first = node;
    while (node->up && node->up->rank < node->rank)
        rotate_up(tree, node);
}

void sched_tree_remove(struct sched_tree *tree, struct sched_node *node)
{
    if (tree->root == node && !node->left && !node->right) {
        tree->root = tree->first = NULL;
        return;
    }
    if (tree->first == node)
        tree->first = sched_tree_next(node);
    while (node->left && node->right)
        rotate_up(tree, node->left->rank > node->right->rank ? node->left : node->right);
    replace(tree, node, node->left ? node->left : node->right);
    for (struct sched_node *n = node->up; n; n = n->up) {
        uint64_t least = least_of(n);
        if (least == n->least)
            break;
        n->least = least;
    }
}

struct sched_node *sched_tree_next(const struct sched_node *node)
{
    struct sched_node *n = node->right;

    if (n) {
        while (n->left)
            n = n->left;
        return n;
    }
    for (n = node->up; n && n->right == node; n = n->up)
        node = n;
    return n;
}

// On the way down to the limit, all that is left of it is allowed: the best of those subtrees and
// of the nodes passed is remembered, and looked up in its subtree at the end.
struct sched_node *sched_tree_least(const struct sched_tree *tree, uint64_t limit)
{
    struct sched_node *n = tree->root, *best = NULL;
    uint64_t least = 0;

    // Mostly the first to run is among those with the least keys, and eligible.
    if (n && tree->first->value == n->least && !before(limit, tree->first->key))
        return tree->first;
    while (n) {
        if (before(limit, n->key)) {
            n = n->left;
            continue;
        }
        if (!best || before(n->value, least)) {
            best = n;
            least = n->value;
        }
        if (n->left && before(n->left->least, least)) {
            best = n->left;
            least = best->least;
        }
        n = n->right;
    }
    while (best && best->value != least)
        best = best->left && best->left->least == least ? best->left : best->right;
    return best;
}
