// SPDX-License-Identifier: BSD-2-Clause-Patent
// Answers of CPUID leaves that a parent registered for its child (tlfs-reference 1.9,
// HvCallRegisterInterceptResult): kept in pages of the child's pool, laid over the hypervisor's own
// answers when a leaf is asked for.
#include "corbel/cpuid.h"

#include "corbel/layout.h"
#include "corbel/partition.h"
#include "hv/status.h"

#define RANKS 4u

struct registered {
    uint32_t vp_index; // HV_ANY_VP: every VP's
    struct hv_register_cpuid_result result;
};

struct cpuid_results {
    struct cpuid_results *next;
    uint64_t count;
    struct registered entry[(PAGE_SIZE - 16) / sizeof(struct registered)];
};
static_assert(sizeof(struct cpuid_results) <= PAGE_SIZE, "a page of results");

#define PAGE_RESULTS (sizeof(((struct cpuid_results *)0)->entry) / sizeof(struct registered))

// The more an entry says of whom and what it is for, the later it is applied.
static uint32_t rank_of(const struct registered *r)
{
    return (r->vp_index != HV_ANY_VP ? 2u : 0) | (r->result.subleaf_specific ? 1u : 0);
}

static bool same_key(const struct registered *a, const struct registered *b)
{
    return a->vp_index == b->vp_index && a->result.eax == b->result.eax &&
           a->result.subleaf_specific == b->result.subleaf_specific &&
           (!a->result.subleaf_specific || a->result.ecx == b->result.ecx);
}

static struct registered *find(struct partition *p, const struct registered *key,
                               struct cpuid_results **holder)
{
    for (*holder = p->cpuid_results; *holder; *holder = (*holder)->next)
        for (uint64_t i = 0; i < (*holder)->count; i++)
            if (same_key(&(*holder)->entry[i], key))
                return &(*holder)->entry[i];
    return NULL;
}

static struct registered *add(struct partition *p)
{
    struct cpuid_results *page = p->cpuid_results;

    while (page && page->count == PAGE_RESULTS)
        page = page->next;
    if (!page) {
        page = pool_alloc(&p->pool);
        if (!page)
            return NULL;
        page->next = p->cpuid_results;
        p->cpuid_results = page;
    }
    return &page->entry[page->count++];
}

uint16_t cpuid_register(struct partition *p, uint32_t vp_index,
                        const struct hv_register_cpuid_result *result)
{
    const struct registered r = {vp_index, *result};
    struct cpuid_results *holder;
    struct registered *to = find(p, &r, &holder);

    if (!to)
        to = add(p);
    if (!to)
        return HV_STATUS_INSUFFICIENT_MEMORY;
    *to = r;
    cpuid_set_flags(p);
    return HV_STATUS_SUCCESS;
}

uint16_t cpuid_unregister(struct partition *p, uint32_t vp_index,
                          const struct hv_register_cpuid_result *key)
{
    const struct registered r = {vp_index, *key};
    struct cpuid_results *holder;
    struct registered *at = find(p, &r, &holder);

    if (!at)
        return HV_STATUS_INVALID_PARAMETER;
    *at = holder->entry[--holder->count];
    cpuid_set_flags(p);
    return HV_STATUS_SUCCESS;
}

bool cpuid_has_result(const struct partition *p, uint32_t leaf)
{
    for (const struct cpuid_results *page = p->cpuid_results; page; page = page->next)
        for (uint64_t i = 0; i < page->count; i++)
            if (page->entry[i].result.eax == leaf)
                return true;
    return false;
}

static uint32_t lay_over(uint32_t value, const struct hv_cpuid_result_register *r)
{
    return (value & ~r->mask) | (r->value & r->mask);
}

static bool applies(const struct registered *r, uint32_t vp_index,
                    const struct cpuid_question *question)
{
    return r->result.eax == question->leaf &&
           (r->vp_index == HV_ANY_VP || r->vp_index == vp_index) &&
           (!r->result.subleaf_specific || r->result.ecx == question->subleaf);
}

void cpuid_apply_results(struct partition *p, uint32_t vp_index,
                         const struct cpuid_question *question, bool always, struct cpuid_entry *e)
{
    spin_lock(&p->lock);
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        for (const struct cpuid_results *page = p->cpuid_results; page; page = page->next) {
            for (uint64_t i = 0; i < page->count; i++) {
                const struct registered *r = &page->entry[i];
                if (rank_of(r) != rank || r->result.always_override != always ||
                    !applies(r, vp_index, question))
                    continue;
                e->eax = lay_over(e->eax, &r->result.out_eax);
                e->ebx = lay_over(e->ebx, &r->result.out_ebx);
                e->ecx = lay_over(e->ecx, &r->result.out_ecx);
                e->edx = lay_over(e->edx, &r->result.out_edx);
            }
        }
    }
    spin_unlock(&p->lock);
}

void cpuid_forget_results(struct partition *p)
{
    while (p->cpuid_results) {
        struct cpuid_results *page = p->cpuid_results;

        p->cpuid_results = page->next;
        pool_free(&p->pool, page);
    }
}
