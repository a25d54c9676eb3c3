// SPDX-License-Identifier: BSD-2-Clause-Patent
// What becomes of accesses to MSRs that do not exist, MSR by MSR, as a parent registered it for its
// child (tlfs-reference 1.9, HvCallRegisterInterceptResult). Kept in pages of the child's pool; an
// access to such an MSR looks at them all, which nobody does often.
#include "corbel/layout.h"
#include "corbel/msr.h"
#include "corbel/partition.h"
#include "corbel/vp.h"
#include "hv/memory.h"
#include "hv/status.h"

struct registered {
    uint32_t vp_index; // HV_ANY_VP: every VP's
    uint32_t msr;
    uint32_t access; // one bit of HV_INTERCEPT_ACCESS_MASK_*
    uint32_t action; // HV_UNIMPLEMENTED_MSR_ACTION_*
};

struct msr_results {
    struct msr_results *next;
    uint64_t count;
    struct registered entry[(PAGE_SIZE - 16) / sizeof(struct registered)];
};
static_assert(sizeof(struct msr_results) <= PAGE_SIZE, "a page of results");

#define PAGE_RESULTS (sizeof(((struct msr_results *)0)->entry) / sizeof(struct registered))

static struct registered *find(const struct partition *p, uint32_t vp_index, uint32_t msr,
                               uint32_t access, struct msr_results **holder)
{
    for (*holder = p->msr_results; *holder; *holder = (*holder)->next)
        for (uint64_t i = 0; i < (*holder)->count; i++) {
            struct registered *r = &(*holder)->entry[i];
            if (r->vp_index == vp_index && r->msr == msr && r->access == access)
                return r;
        }
    return NULL;
}

// A page with room, or NULL. VPs may be looking: the page is empty before they can see it.
static struct msr_results *have_room(struct partition *p)
{
    struct msr_results *page = p->msr_results;

    while (page && page->count == PAGE_RESULTS)
        page = page->next;
    if (page)
        return page;
    page = pool_alloc(&p->pool);
    if (page) {
        page->next = p->msr_results;
        __atomic_store_n(&p->msr_results, page, __ATOMIC_RELEASE);
    }
    return page;
}

static uint16_t register_one(struct partition *p, const struct registered *r)
{
    struct msr_results *holder;
    struct registered *to = find(p, r->vp_index, r->msr, r->access, &holder);

    if (!to) {
        holder = have_room(p);
        if (!holder)
            return HV_STATUS_INSUFFICIENT_MEMORY;
        to = &holder->entry[holder->count++];
    }
    *to = *r;
    return HV_STATUS_SUCCESS;
}

uint16_t msr_result_register(struct partition *p, uint32_t vp_index,
                             const struct hv_register_msr_result *result)
{
    struct registered r = {vp_index, result->msr_index, 0, result->action};
    uint16_t status = HV_STATUS_SUCCESS;

    for (r.access = HV_INTERCEPT_ACCESS_MASK_READ;
         r.access <= HV_INTERCEPT_ACCESS_MASK_WRITE && status == HV_STATUS_SUCCESS; r.access <<= 1)
        if (result->access_type & r.access)
            status = register_one(p, &r);
    return status;
}

uint16_t msr_result_unregister(struct partition *p, uint32_t vp_index, uint32_t msr,
                               uint32_t access)
{
    uint16_t status = HV_STATUS_INVALID_PARAMETER;

    for (uint32_t bit = HV_INTERCEPT_ACCESS_MASK_READ; bit <= HV_INTERCEPT_ACCESS_MASK_WRITE;
         bit <<= 1) {
        struct msr_results *holder;
        struct registered *at = access & bit ? find(p, vp_index, msr, bit, &holder) : NULL;
        if (!at)
            continue;
        *at = holder->entry[--holder->count];
        status = HV_STATUS_SUCCESS;
    }
    return status;
}

bool msr_result_find(const struct vp *vp, uint32_t msr, uint32_t access, uint32_t *action)
{
    struct partition *p = vp->partition;
    struct msr_results *holder;
    const struct registered *r;

    if (!__atomic_load_n(&p->msr_results, __ATOMIC_ACQUIRE))
        return false;
    spin_lock(&p->lock);
    r = find(p, vp->index, msr, access, &holder);
    if (!r)
        r = find(p, HV_ANY_VP, msr, access, &holder);
    if (r)
        *action = r->action;
    spin_unlock(&p->lock);
    return r != NULL;
}

void msr_results_forget(struct partition *p)
{
    while (p->msr_results) {
        struct msr_results *page = p->msr_results;

        p->msr_results = page->next;
        pool_free(&p->pool, page);
    }
}
