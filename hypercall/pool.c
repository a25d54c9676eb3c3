// SPDX-License-Identifier: BSD-2-Clause-Patent
// Deposits (tlfs-reference 1.7). A page changes hands in this order: owned (nobody can map or pin
// it any more), a hole in the root's space, flushed everywhere, in the direct map, in the pool; and
// back.
#include "corbel/pool.h"
#include "corbel/layout.h"
#include "corbel/machine.h"
#include "corbel/partition.h"
#include "corbel/phys.h"
#include "corbel/x86.h"
#include "hypercall/list.h"

static void make_room(struct partition *p, struct gpa_batch *batch)
{
    if (gpa_batch_has_room(batch))
        return;
    partition_commit(p, batch);
    gpa_batch_init(batch, &p->gpa);
}

static uint16_t pool_target(struct hypercall *call, uint64_t id, uint32_t allowed,
                            struct partition **p)
{
    if (call->caller != root_partition) // only the root has memory of its own to give
        return HV_STATUS_ACCESS_DENIED;
    return hypercall_target(call, id, allowed, p);
}

// ---- deposit ------------------------------------------------------------------------------------

// The page is the root's own RAM with all rights; afterwards nobody's but the hypervisor's, though
// translations of it may linger until the flush.
static uint16_t take(struct partition *root, uint64_t page, struct gpa_batch *batch)
{
    struct gpa_translation t = gpa_translate(&root->gpa, page << PAGE_SHIFT, GPA_ALL);
    uint64_t done = 0;
    uint16_t status;

    if (t.status != GPA_OK || t.overlay)
        return HV_STATUS_OPERATION_DENIED;
    status = frames_own(&machine_frames, page << PAGE_SHIFT);
    if (status != HV_STATUS_SUCCESS)
        return status;
    status = gpa_root_punch(&root->gpa, page, 1, &done, batch);
    if (status == HV_STATUS_SUCCESS && done == 1)
        return HV_STATUS_SUCCESS;
    frames_disown(&machine_frames, page << PAGE_SHIFT);
    return status == HV_STATUS_INSUFFICIENT_MEMORY ? HV_STATUS_INSUFFICIENT_ROOT_MEMORY : status;
}

// Gives a page back to the root that has not entered a pool. The hole was made a moment ago, so the
// tables that it needs are there.
static void give_back(struct partition *root, uint64_t page, struct gpa_batch *batch)
{
    uint64_t done = 0;

    make_room(root, batch);
    phys_invariant(gpa_root_fill(&root->gpa, page, 1, &done, batch) == HV_STATUS_SUCCESS &&
                   done == 1);
    frames_disown(&machine_frames, page << PAGE_SHIFT);
}

// Puts `count` pages that have been taken and flushed into the pool; what does not fit the direct
// map goes back. *done: how many went in.
static uint16_t put_in(struct partition *root, struct pool *pool, const uint64_t *pages,
                       uint32_t count, uint32_t *done)
{
    struct gpa_batch batch;
    uint16_t status = HV_STATUS_SUCCESS;

    gpa_batch_init(&batch, &root->gpa);
    for (*done = 0; *done < count && status == HV_STATUS_SUCCESS;) {
        uint64_t pa = pages[*done] << PAGE_SHIFT;
        status = hv_map_page(&hv_space, HV_DIRECT_BASE + pa, pa, HV_PAGE_WRITE);
        if (status == HV_STATUS_SUCCESS) {
            pool_deposit(pool, pa, 1);
            ++*done;
        }
    }
    for (uint32_t i = *done; i < count; i++)
        give_back(root, pages[i], &batch);
    partition_commit(root, &batch);
    return status;
}

// As many elements as one flush covers.
static uint16_t deposit_some(struct hypercall *call, struct pool *pool)
{
    const uint64_t *pages = (const uint64_t *)call->elements + (call->done - call->start);
    uint32_t left = call->limit - call->done, count = 0, done = 0;
    struct partition *root = call->caller;
    struct gpa_batch batch;
    uint16_t status = HV_STATUS_SUCCESS, put;

    gpa_batch_init(&batch, &root->gpa);
    while (count < left && gpa_batch_has_room(&batch)) {
        if (pages[count] >= root->gpa.page_limit)
            status = HV_STATUS_OPERATION_DENIED;
        else
            status = take(root, pages[count], &batch);
        if (status != HV_STATUS_SUCCESS)
            break;
        count++;
    }
    partition_commit(root, &batch);
    put = put_in(root, pool, pages, count, &done);
    call->done += done;
    return put != HV_STATUS_SUCCESS ? put : status;
}

uint16_t hypercall_deposit(struct hypercall *call)
{
    const struct hv_input_deposit_memory *in = call->input;
    struct partition *p;
    uint16_t status = pool_target(call, in->partition_id, HYPERCALL_PARENT | HYPERCALL_SELF, &p);
    uint32_t state;

    if (status != HV_STATUS_SUCCESS)
        return status;
    state = atomic_load(&p->state);
    if (state != PARTITION_UNINITIALIZED && state != PARTITION_ACTIVE)
        status = HV_STATUS_INVALID_PARTITION_STATE;
    while (status == HV_STATUS_SUCCESS && call->done < call->limit) {
        status = deposit_some(call, &p->pool);
        if (hypercall_stop(call))
            break;
    }
    partition_put(p);
    return status;
}

// ---- withdraw -----------------------------------------------------------------------------------

// One free page of the pool back to the root. Translations of its direct-map address that other LPs
// may still hold do no harm: the address means the same page whenever it means anything, nobody
// uses it while the page is not the hypervisor's, and the rights are the same when it comes back.
static uint16_t withdraw_one(struct partition *root, struct pool *pool, struct gpa_batch *batch,
                             uint64_t *page)
{
    uint64_t pa, done = 0;
    uint16_t status;

    if (!pool_withdraw(pool, &pa))
        return HV_STATUS_NO_RESOURCES;
    status = gpa_root_fill(&root->gpa, pa >> PAGE_SHIFT, 1, &done, batch);
    if (status != HV_STATUS_SUCCESS || done != 1) {
        pool_deposit(pool, pa, 1);
        return HV_STATUS_INSUFFICIENT_ROOT_MEMORY;
    }
    hv_unmap_page(&hv_space, HV_DIRECT_BASE + pa);
    invlpg(phys_to_virt(pa));
    frames_disown(&machine_frames, pa);
    *page = pa >> PAGE_SHIFT;
    return HV_STATUS_SUCCESS;
}

// The root's own pool keeps what it has: part of it came with the hypervisor's image and belongs to
// no one else.
uint16_t hypercall_withdraw(struct hypercall *call)
{
    const struct hv_input_withdraw_memory *in = call->input;
    uint64_t *pages = call->out_elements;
    struct partition *p, *root = call->caller;
    struct gpa_batch batch;
    uint16_t status = pool_target(call, in->partition_id, HYPERCALL_PARENT | HYPERCALL_SELF, &p);

    if (status != HV_STATUS_SUCCESS)
        return status;
    if (!hypercall_proximity_valid(&in->proximity_domain_info))
        status = HV_STATUS_INVALID_PARAMETER;
    else if (p == root)
        status = HV_STATUS_NO_RESOURCES;
    gpa_batch_init(&batch, &root->gpa);
    while (status == HV_STATUS_SUCCESS && call->done < call->limit) {
        make_room(root, &batch);
        status = withdraw_one(root, &p->pool, &batch, &pages[call->done - call->start]);
        if (status == HV_STATUS_SUCCESS)
            call->done++;
        if (hypercall_stop(call))
            break;
    }
    partition_commit(root, &batch);
    partition_put(p);
    return status;
}

uint16_t hypercall_get_balance(struct hypercall *call)
{
    const struct hv_input_get_memory_balance *in = call->input;
    struct hv_output_get_memory_balance *out = call->output;
    struct pool_balance balance;
    struct partition *p;
    uint16_t status = pool_target(call, in->partition_id, HYPERCALL_PARENT | HYPERCALL_SELF, &p);

    if (status != HV_STATUS_SUCCESS)
        return status;
    if (!hypercall_proximity_valid(&in->proximity_domain_info))
        status = HV_STATUS_INVALID_PARAMETER;
    balance = pool_balance(&p->pool);
    out->pages_available = balance.available;
    out->pages_in_use = balance.in_use;
    partition_put(p);
    return status;
}
