// SPDX-License-Identifier: BSD-2-Clause-Patent
// Partitions: table, life cycle, and what a change of the GPA space asks of other LPs.
#include "corbel/partition.h"

#include "corbel/scheduler.h"

#include "corbel/controls.h"
#include "corbel/guestmem.h"
#include "corbel/interrupts.h"
#include "corbel/log.h"
#include "corbel/lp.h"
#include "corbel/machine.h"
#include "corbel/monitor.h"
#include "corbel/msr.h"
#include "corbel/phys.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "hv/hypercall.h"
#include "hv/partition.h"
#include "hv/status.h"

#define ID_SLOT_BITS    8u
#define FINALIZE_BUDGET 512u // entries of the GPA space for one entry of the hypercall
#define PORTS_BUDGET    64u  // ports and connections for one

static_assert(PARTITION_MAX == 1u << ID_SLOT_BITS, "an id is sequence << 8 | slot");
static_assert(PARTITION_MAX_VPS * sizeof(struct vp *) <= PAGE_SIZE, "the VP table is one page");
static_assert(sizeof(struct cpuid_table) <= PAGE_SIZE, "the CPUID table is one page");

struct partition *root_partition;

static struct spinlock table_lock;
static struct partition *table[PARTITION_MAX];
static uint64_t sequence;

enum finalize_step {
    FINALIZE_PORTS,
    FINALIZE_VPS,
    FINALIZE_OVERLAYS,
    FINALIZE_SPACE,
    FINALIZE_PAGES
};

struct partition *partition_get(uint64_t id)
{
    struct partition *p;

    spin_lock(&table_lock);
    p = table[id % PARTITION_MAX];
    if (p && p->id == id)
        atomic_fetch_add(&p->references, 1);
    else
        p = NULL;
    spin_unlock(&table_lock);
    return p;
}

void partition_put(struct partition *p)
{
    atomic_fetch_sub(&p->references, 1);
}

uint64_t partition_next_child(const struct partition *parent, uint64_t previous)
{
    uint64_t after = 0, best_sequence = UINT64_MAX, best = 0;
    bool known = previous == 0;

    spin_lock(&table_lock);
    for (uint32_t i = 0; i < PARTITION_MAX; i++) {
        if (table[i] && table[i]->id == previous && table[i]->parent == parent) {
            after = table[i]->creation_sequence;
            known = true;
        }
    }
    for (uint32_t i = 0; i < PARTITION_MAX; i++) {
        const struct partition *p = table[i];
        if (p && p->parent == parent && p->creation_sequence > after &&
            p->creation_sequence < best_sequence) {
            best_sequence = p->creation_sequence;
            best = p->id;
        }
    }
    spin_unlock(&table_lock);
    return known ? best : UINT64_MAX;
}

// Enters a new partition into the table. Slot 0 belongs to the root, whose id is 1 << 8.
static bool enter(struct partition *p)
{
    bool entered = false;

    spin_lock(&table_lock);
    for (uint32_t i = 0; i < PARTITION_MAX && !entered; i++) {
        if (!table[i]) {
            p->creation_sequence = ++sequence;
            p->id = sequence << ID_SLOT_BITS | i;
            table[i] = p;
            entered = true;
        }
    }
    if (entered && p->parent)
        p->parent->children++;
    spin_unlock(&table_lock);
    return entered;
}

uint16_t partition_create(struct partition *parent, uint64_t flags,
                          const uint64_t disabled[PROCFEATURE_BANKS], struct partition **created)
{
    struct partition *p = pool_alloc(&parent->pool);

    if (!p)
        return HV_STATUS_INSUFFICIENT_MEMORY;
    p->parent = parent;
    p->creation_flags = flags;
    p->threads = flags & HV_PARTITION_CREATION_FLAG_SMT_ENABLED_GUEST ? scheduler_threads() : 1;
    p->references = 1;
    p->state = PARTITION_UNINITIALIZED;
    p->privileges = HV_PRIV_ACCESS_VP_RUNTIME_REG | HV_PRIV_ACCESS_PARTITION_REFERENCE_COUNTER |
                    HV_PRIV_ACCESS_SYNIC_REGS | HV_PRIV_ACCESS_SYNTHETIC_TIMER_REGS |
                    HV_PRIV_ACCESS_INTR_CTRL_REGS | HV_PRIV_ACCESS_HYPERCALL_MSRS |
                    HV_PRIV_ACCESS_VP_INDEX | HV_PRIV_ACCESS_RESET_REG;
    p->synthetic_features = FEATURES_GUEST;
    p->tsc_hz = tsc_hz;
    procfeatures_init(&p->features, disabled);
    controls_init(p);
    spin_init(&p->lock);
    pool_init(&p->pool);
    if (!enter(p)) {
        pool_free(&parent->pool, p);
        return HV_STATUS_NO_RESOURCES;
    }
    *created = p;
    return HV_STATUS_SUCCESS;
}

void partition_enter_root(struct partition *p)
{
    static const uint64_t nothing[PROCFEATURE_BANKS];

    p->references = 1;
    p->privileges = HV_PRIV_ACCESS_VP_RUNTIME_REG | HV_PRIV_ACCESS_PARTITION_REFERENCE_COUNTER |
                    HV_PRIV_ACCESS_SYNIC_REGS | HV_PRIV_ACCESS_SYNTHETIC_TIMER_REGS |
                    HV_PRIV_ACCESS_INTR_CTRL_REGS | HV_PRIV_ACCESS_HYPERCALL_MSRS |
                    HV_PRIV_ACCESS_VP_INDEX | HV_PRIV_ACCESS_PARTITION_REFERENCE_TSC |
                    HV_PRIV_ACCESS_FREQUENCY_REGS;
    p->tsc_hz = tsc_hz;
    p->synthetic_features = FEATURES_GUEST & ~HV_SYNTH_FEATURE_RESTORE_TIME; // for children only
    procfeatures_init(&p->features, nothing);
    controls_init(p);
    spin_init(&p->lock);
    enter(p);
}

static void free_optional(struct pool *pool, void *page)
{
    if (page)
        pool_free(pool, page);
}

static void free_tables(struct partition *p)
{
    cpuid_forget_results(p);
    msr_results_forget(p);
    free_optional(&p->pool, p->cpuid);
    free_optional(&p->pool, (void *)p->vps);
    free_optional(&p->pool, p->ports.tables);
    free_optional(&p->pool, p->hypercall.page);
    free_optional(&p->pool, p->reference_tsc.page);
    free_optional(&p->pool, p->intercepts.io[0]);
    free_optional(&p->pool, p->intercepts.io[1]);
    p->cpuid = NULL;
    p->vps = NULL;
    p->ports.tables = NULL;
    p->hypercall.page = p->reference_tsc.page = NULL;
    p->intercepts.io[0] = p->intercepts.io[1] = NULL;
}

static bool allocate_tables(struct partition *p)
{
    p->cpuid = pool_alloc(&p->pool);
    p->vps = (struct vp **)pool_alloc(&p->pool);
    p->ports.tables = pool_alloc(&p->pool);
    p->hypercall.page = pool_alloc(&p->pool);
    p->reference_tsc.page = pool_alloc(&p->pool);
    return p->cpuid && p->vps && p->ports.tables && p->hypercall.page && p->reference_tsc.page;
}

uint16_t partition_initialize(struct partition *p)
{
    struct gpa_space_config config;
    uint16_t status;

    machine_gpa_config(&config);
    config.pool = &p->pool;
    config.root = !p->parent;
    if (!allocate_tables(p)) {
        free_tables(p);
        return HV_STATUS_INSUFFICIENT_MEMORY;
    }
    status = gpa_space_init(&p->gpa, &config);
    if (status != HV_STATUS_SUCCESS) {
        free_tables(p);
        return status;
    }
    partition_time_init(p);
    vapic_clock_init(&p->clock, p->tsc_hz, lapic_hz);
    port_space_init(&p->ports, p, p->id, &p->pool, p->ports.tables);
    cpuid_init(p);
    atomic_store(&p->state, PARTITION_ACTIVE);
    return HV_STATUS_SUCCESS;
}

// All VPs off their LPs for good, then gone: while one still runs it may reach the others
// (interprocessor interrupts). False: one could not be had yet.
static bool finalize_vps(struct partition *p)
{
    bool running = false;

    for (uint32_t i = 0; i < p->vp_limit; i++) {
        if (!p->vps[i])
            continue;
        vp_suspend(p->vps[i], VP_SUSPEND_DEAD);
        running |= sched_runs(&p->vps[i]->sched) || atomic_load(&p->vps[i]->dispatched.by);
    }
    for (uint32_t i = 0; i < p->vp_limit && !running; i++) {
        if (!p->vps[i])
            continue;
        partition_clear_vp_overlays(p->vps[i]);
        spin_lock(&p->lock);
        vp_destroy(p->vps[i]);
        spin_unlock(&p->lock);
    }
    return !running;
}

uint16_t partition_finalize(struct partition *p)
{
    atomic_store(&p->state, PARTITION_FINALIZING);
    switch ((enum finalize_step)p->finalize_step) {
    case FINALIZE_PORTS: // while there are VPs: senders may be about to reach them
        if (monitors_leave(p) == HV_STATUS_SUCCESS && !port_space_clear(&p->ports, PORTS_BUDGET))
            p->finalize_step = FINALIZE_VPS;
        return HV_STATUS_RETRY;
    case FINALIZE_VPS:
        if (!finalize_vps(p))
            return HV_STATUS_RETRY;
        p->finalize_step = FINALIZE_OVERLAYS;
        return HV_STATUS_RETRY;
    case FINALIZE_OVERLAYS:
        partition_move_overlay(p, &p->hypercall.overlay, NULL, false, 0, 0);
        partition_move_overlay(p, &p->reference_tsc.overlay, NULL, false, 0, 0);
        p->finalize_step = FINALIZE_SPACE;
        return HV_STATUS_RETRY;
    case FINALIZE_SPACE:
        if (gpa_space_destroy(&p->gpa, FINALIZE_BUDGET))
            return HV_STATUS_RETRY;
        p->finalize_step = FINALIZE_PAGES;
        return HV_STATUS_RETRY;
    case FINALIZE_PAGES:
        free_tables(p);
        break;
    }
    atomic_store(&p->state, PARTITION_FINALIZED);
    return HV_STATUS_SUCCESS;
}

uint16_t partition_delete(struct partition *p)
{
    struct pool_balance balance = pool_balance(&p->pool);
    struct partition *parent = p->parent;

    if (balance.available || balance.in_use)
        return HV_STATUS_OPERATION_DENIED;
    spin_lock(&table_lock);
    // Ours and the one that stands for its existence: somebody else is still looking at it.
    if (atomic_load(&p->references) > 2) {
        spin_unlock(&table_lock);
        return HV_STATUS_RETRY;
    }
    table[p->id % PARTITION_MAX] = NULL;
    parent->children--;
    spin_unlock(&table_lock);
    controls_release(p);
    pool_free(&parent->pool, p);
    return HV_STATUS_SUCCESS;
}

// ---- GPA space ----------------------------------------------------------------------------------

static bool runs(const struct lp *lp, const struct partition *p)
{
    const struct vp *vp = __atomic_load_n(&lp->vp, __ATOMIC_SEQ_CST);

    return vp && vp->partition == p;
}

// Waits until an LP has either flushed or taken the partition off. Serves what others ask of this
// LP meanwhile: they may be waiting for it.
static void await_flush(struct lp *lp, const struct partition *p, uint64_t before)
{
    while (runs(lp, p) && atomic_load(&lp->flush_ack) == before) {
        lp_serve_requests(this_lp());
        cpu_relax();
    }
}

static void flush(struct partition *p)
{
    struct lp *self = this_lp();
    const uint32_t lps = lp_count;
    uint64_t acks[LP_MAX];

    for (uint32_t i = 0; i < lps; i++) {
        struct lp *lp = lp_of(i);
        acks[i] = UINT64_MAX;
        if (lp == self || !lp->present || !runs(lp, p))
            continue;
        acks[i] = atomic_load(&lp->flush_ack);
        lp_request(lp, LP_REQUEST_FLUSH);
    }
    guest_forget_code(self);
    if (runs(self, p))
        vcpu->flush_gpa(self->vp);
    for (uint32_t i = 0; i < lps; i++)
        if (acks[i] != UINT64_MAX)
            await_flush(lp_of(i), p, acks[i]);
}

void partition_commit(struct partition *p, struct gpa_batch *batch)
{
    if (batch->flush)
        flush(p);
    gpa_batch_release(batch);
}

bool partition_move_overlay(struct partition *p, struct gpa_overlay *overlay, const void *page,
                            bool enable, uint64_t gpa_page, uint32_t rights)
{
    struct gpa_batch batch;
    uint16_t status = HV_STATUS_SUCCESS;

    gpa_batch_init(&batch, &p->gpa);
    if (enable && gpa_page < p->gpa.page_limit)
        status = gpa_overlay_set(&p->gpa, overlay, gpa_page, virt_to_phys(page) >> PAGE_SHIFT,
                                 rights, &batch);
    else
        gpa_overlay_clear(&p->gpa, overlay, &batch);
    partition_commit(p, &batch);
    return status == HV_STATUS_SUCCESS;
}

void partition_clear_vp_overlays(struct vp *vp)
{
    struct vtl_context *c = vp->active;

    partition_move_overlay(vp->partition, &c->sim_overlay, NULL, false, 0, 0);
    partition_move_overlay(vp->partition, &c->sief_overlay, NULL, false, 0, 0);
    partition_move_overlay(vp->partition, &c->assist.overlay, NULL, false, 0, 0);
    partition_move_overlay(vp->partition, &c->ring.overlay, NULL, false, 0, 0);
    for (uint32_t i = 0; i < STATE_PAGES; i++)
        state_page_unmap(vp, (enum state_page_type)i);
}
