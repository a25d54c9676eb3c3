// SPDX-License-Identifier: BSD-2-Clause-Patent
// Which partition an LP ran when: a ring of records for each LP, in memory, for those who look at
// the machine from outside (tests/rig/cores.py). Only with `trace = yes` in corbel.conf. A record
// lies outside of the time that the partition's instructions took: it enters before the first, and
// has left after the last.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/layout.h"

struct lp;
struct pool;

#define TRACE_MAGIC  "CORBEL TRACE 1"
#define TRACE_BYTES  (128 * PAGE_SIZE)
#define TRACE_NOBODY 0ul // instead of a partition's id

struct trace_record {
    uint64_t tsc;
    uint64_t partition; // that the LP runs from then on
};

struct trace_ring {
    char magic[16];
    uint64_t count; // of records ever; the next is at count % capacity
    uint32_t capacity;
    uint32_t lp, threads; // LPs n x threads to (n + 1) x threads - 1 are a core
    uint32_t reserved;
    struct trace_record records[];
};

extern bool trace_on;

// Allocates the rings of `count` LPs. False: no memory.
bool trace_init(struct pool *pool, uint32_t count, uint32_t threads);
// With SPECULATION_TRACE: this LP goes over to lp->vp's partition.
void trace_change(void);
// With trace_on: the LP runs a VP of a partition from now on, or nobody's. Owner LP.
void trace_put(const struct lp *lp, uint64_t partition);
