// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/trace.h"

#include "corbel/cpufeatures.h"
#include "corbel/lp.h"
#include "corbel/partition.h"
#include "corbel/pool.h"
#include "corbel/speculation.h"
#include "corbel/string.h"
#include "corbel/vp.h"
#include "corbel/x86.h"

bool trace_on;
static struct trace_ring *rings[LP_MAX];

bool trace_init(struct pool *pool, uint32_t count, uint32_t threads)
{
    for (uint32_t i = 0; i < count; i++) {
        struct trace_ring *ring = pool_alloc_run(pool, TRACE_BYTES / PAGE_SIZE);
        if (!ring)
            return false;
        ring->capacity = (TRACE_BYTES - sizeof(*ring)) / sizeof(struct trace_record);
        ring->lp = i;
        ring->threads = threads;
        memcpy(ring->magic, TRACE_MAGIC, sizeof(TRACE_MAGIC));
        rings[i] = ring;
    }
    trace_on = true;
    cpu_features.speculation |= SPECULATION_TRACE;
    speculation_sort(cpu_features.speculation, &cpu_features.changes);
    return true;
}

void trace_change(void)
{
    const struct lp *lp = this_lp();

    trace_put(lp, lp->vp->partition->id);
}

void trace_put(const struct lp *lp, uint64_t partition)
{
    struct trace_ring *ring = rings[lp->index];

    ring->records[ring->count % ring->capacity] = (struct trace_record){rdtsc(), partition};
    ring->count++;
}
