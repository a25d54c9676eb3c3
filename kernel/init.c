// SPDX-License-Identifier: BSD-2-Clause-Patent
// Launch: each processor arrives here from the loader, has its state captured into a root VP,
// enters it once, and stays or goes back (include/corbel/launch.h, docs/boot.md).
#include "corbel/cpufeatures.h"
#include "corbel/fpu.h"
#include "corbel/idt.h"
#include "corbel/interrupts.h"
#include "corbel/launch.h"
#include "corbel/log.h"
#include "corbel/lp.h"
#include "corbel/machine.h"
#include "corbel/partition.h"
#include "corbel/phys.h"
#include "corbel/string.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "hv/partition.h"
#include "hv/status.h"

#define JOIN_SECONDS       5u
#define TABLE_SHIFT(level) (12 - 9 + 9 * (level))
#define PTE_ADDRESS        0x000ffffffffff000ul
#define LOW_HALF           256u

const struct vcpu_ops *vcpu;
struct hv_space hv_space;
struct frames machine_frames;

static struct partition root_storage;
static struct memory_types machine_types; // the boot processor's: all have the same
static uint64_t image_pa;
static bool machine_ready;
static enum launch_status machine_status;

enum decision { UNDECIDED, COMMIT, ABORT };
static _Atomic uint32_t joined, decision;

// What the processor had before, beyond the launch_context.
struct native_state {
    uint64_t efer;
    uint64_t dr6, dr7;
};

_Noreturn void hv_launch(const struct launch_info *info, struct launch_context *context);
_Noreturn void launch_leave(uint64_t context_pa, uint64_t back);

uint64_t image_to_phys(const void *address)
{
    return (uint64_t)address - HV_IMAGE_BASE + image_pa;
}

void machine_gpa_config(struct gpa_space_config *config)
{
    uint32_t bits = cpu_features.physical_bits;

    *config = (struct gpa_space_config){
        .format = vcpu->format,
        .types = vcpu->types_in_tables ? &machine_types : NULL,
        .frames = &machine_frames,
        .levels = 4,
        .address_bits = bits < 48 ? bits : 48,
        .huge_pages = vcpu->huge_pages(),
    };
}

// ---- once ---------------------------------------------------------------------------------------

static bool punch(uint64_t pa, uint64_t size)
{
    uint64_t page = pa >> PAGE_SHIFT, left = (size + PAGE_SIZE - 1) >> PAGE_SHIFT, done;
    struct gpa_batch batch;

    gpa_batch_init(&batch, &root_partition->gpa);
    while (left) {
        if (gpa_root_punch(&root_partition->gpa, page, left, &done, &batch) != HV_STATUS_SUCCESS)
            return false;
        gpa_batch_release(&batch);
        page += done;
        left -= done;
    }
    return true;
}

// The root: all of memory but the hypervisor's and the APIC's registers, one VP an LP.
static enum launch_status make_root(const struct launch_info *info)
{
    struct partition *p = root_partition;
    struct vp *vp;

    if (frames_init(&machine_frames, info->ram, info->ram_count, &p->pool) != HV_STATUS_SUCCESS)
        return LAUNCH_NO_MEMORY;
    frames_own_range(&machine_frames, info->block.base, info->block.size);
    partition_enter_root(p);
    if (info->root_management)
        p->privileges |= HV_PRIV_CREATE_PARTITIONS | HV_PRIV_ACCESS_PARTITION_ID |
                         HV_PRIV_ACCESS_MEMORY_POOL | HV_PRIV_POST_MESSAGES |
                         HV_PRIV_SIGNAL_EVENTS | HV_PRIV_CREATE_PORT | HV_PRIV_CONNECT_PORT;
    if (partition_initialize(p) != HV_STATUS_SUCCESS)
        return LAUNCH_NO_MEMORY;
    if (!punch(info->block.base, info->block.size) || !punch(VAPIC_BASE_PA, PAGE_SIZE))
        return LAUNCH_NO_MEMORY;
    for (uint32_t i = 0; i < info->lp_count; i++)
        if (vp_create(p, i, &vp) != HV_STATUS_SUCCESS)
            return LAUNCH_NO_MEMORY;
    return LAUNCH_OK;
}

static enum launch_status machine_init(const struct launch_info *info)
{
    image_pa = info->image_pa;
    tsc_hz = info->tsc_hz;
    cpu_probe();
    if (!cpu_features.amd && !cpu_features.intel)
        return LAUNCH_NO_VENDOR;
    vcpu = cpu_features.amd ? &svm_ops : &vmx_ops;
    memory_types_read(&machine_types);
    root_partition = &root_storage;
    for (uint32_t i = 0; i < info->lp_count; i++) {
        lp_of(i)->index = i;
        lp_of(i)->apic_id = info->lps[i].apic_id;
        lp_of(i)->root_vp_index = info->lps[i].root_vp;
    }
    root_vp_count = info->rootproc;
    lp_init_scheduling(info->lp_count, info->scheduler_type);
    pool_init(&root_partition->pool);
    pool_deposit(&root_partition->pool, info->pool.base, info->pool.size / PAGE_SIZE);
    hv_space_init(&hv_space, info->hv_cr3, &root_partition->pool);
    this_lp()->x2apic = rdmsr(MSR_APIC_BASE) & APIC_BASE_X2APIC;
    lapic_calibrate(tsc_hz);
    return make_root(info);
}

// ---- each processor -----------------------------------------------------------------------------

// The last-level table of this LP's windows, which the loader has built.
static uint64_t *window_table(uint64_t root_pa, uint64_t va)
{
    uint64_t *table = phys_to_virt(root_pa & PTE_ADDRESS);
    int top = read_cr4() & CR4_LA57 ? 5 : 4;

    for (int level = top; level > 1; level--)
        table = phys_to_virt(table[va >> TABLE_SHIFT(level) & 511] & PTE_ADDRESS);
    return &table[va >> PAGE_SHIFT & 511];
}

static void set_up_lp(struct lp *lp, const struct launch_info *info)
{
    uint64_t cr4 = read_cr4() & (CR4_PAE | CR4_PGE | CR4_LA57 | CR4_MCE | CR4_VMXE);

    gdt_load(lp);
    idt_use_host();
    write_cr0((read_cr0() | CR0_WP | CR0_NE) & ~(uint64_t)(CR0_EM | CR0_TS | CR0_CD | CR0_NW));
    cr4 |= cpu_features.smep ? CR4_SMEP : 0;
    cr4 |= cpu_features.smap ? CR4_SMAP : 0;
    cr4 |= cpu_features.umip ? CR4_UMIP : 0;
    write_cr4(cr4);
    fpu_enable();
    lp->x2apic = rdmsr(MSR_APIC_BASE) & APIC_BASE_X2APIC;
    lp->window_pte =
        window_table(info->hv_cr3, HV_WINDOW_BASE + lp->index * HV_WINDOW_SLOTS * PAGE_SIZE);
    for (uint32_t i = 0; i < HV_WINDOW_SLOTS; i++)
        lp->window_spa[i] = UINT64_MAX;
    lp->root_vp = partition_vp(root_partition, lp->root_vp_index);
}

// The first entry: up to the CPUID at which the loader's stub continues. Interrupts stay the
// firmware's: with IF clear at VMRUN none of them exits.
static enum launch_status first_entry(struct lp *lp, const struct launch_context *context)
{
    struct vp *vp = lp->root_vp;
    enum launch_status status = vcpu->probe();

    if (status == LAUNCH_OK)
        status = vcpu->enable(lp);
    if (status != LAUNCH_OK)
        return status;
    vcpu->capture(vp, context);
    fpu_capture(lp, vp);
    atomic_store(&vp->suspend, 0);
    atomic_store(&vp->work, VP_WORK_LEAVE);
    lp->vp = vp;
    lp->launching = true;
    lp->entry_failed = false;
    vcpu->trial(lp, vp);
    lp->vp = NULL;
    lp->launching = false;
    return lp->entry_failed ? LAUNCH_ENTRY_FAILED : LAUNCH_OK;
}

// All join or none does.
static enum launch_status rendezvous(uint32_t count, enum launch_status mine)
{
    uint64_t limit = rdtsc() + tsc_hz * JOIN_SECONDS;
    uint32_t undecided = UNDECIDED;

    if (mine != LAUNCH_OK)
        atomic_compare_exchange_strong(&decision, &undecided, ABORT);
    else if (atomic_fetch_add(&joined, 1) + 1 == count)
        atomic_compare_exchange_strong(&decision, &undecided, COMMIT);
    while (atomic_load(&decision) == UNDECIDED) {
        undecided = UNDECIDED;
        if (rdtsc() > limit && atomic_compare_exchange_strong(&decision, &undecided, ABORT))
            return LAUNCH_TIMEOUT;
        cpu_relax();
    }
    if (mine != LAUNCH_OK)
        return mine;
    return atomic_load(&decision) == COMMIT ? LAUNCH_OK : LAUNCH_PEER_FAILED;
}

static _Noreturn void go_back(struct lp *lp, const struct launch_info *info,
                              struct launch_context *context, const struct native_state *native,
                              bool enabled)
{
    const struct trampoline_header *header = (const struct trampoline_header *)info->trampoline_pa;

    if (enabled)
        vcpu->disable(lp);
    lp->fpu_owner = NULL;
    write_dr6(native->dr6);
    write_dr7(native->dr7);
    wrmsr(MSR_EFER, native->efer);
    launch_leave(virt_to_phys(context), info->trampoline_pa + header->back_offset);
}

// Last of all: nothing of the launch stays mapped. The identity map of the trampoline is all that
// the low half holds.
static void drop_launch_mappings(const struct launch_info *info)
{
    uint64_t *top = phys_to_virt(info->hv_cr3 & PTE_ADDRESS);

    memset(top, 0, LOW_HALF * sizeof(*top));
    for (uint64_t at = 0; at < info->contexts.size; at += PAGE_SIZE)
        hv_unmap_page(&hv_space, HV_DIRECT_BASE + info->contexts.base + at);
    write_cr3(read_cr3());
    for (uint32_t i = 0; i < lp_count; i++)
        if (i != this_lp()->index)
            lp_request(lp_of(i), LP_REQUEST_FLUSH);
}

// From here on the processor is the hypervisor's.
static _Noreturn void stay(struct lp *lp, const struct launch_info *info,
                           struct launch_context *context)
{
    struct vp *vp = lp->root_vp;
    struct vapic *a = &vp->active->apic;
    struct vapic_image image;

    lapic_save(lp, &image);
    if (vapic_import(a, &image, vp_tsc(vp)) != VAPIC_OK)
        hv_log("LP %u: the firmware's APIC state was not understood", lp->index);
    lapic_take_over(lp);
    vcpu->set_tpr(vp, atomic_load(&a->tpr));
    context->status = LAUNCH_OK;
    __atomic_store_n(&lp->present, true, __ATOMIC_SEQ_CST);
    if (context->phase == LAUNCH_STAY) {
        drop_launch_mappings(info);
        hv_log("Corbel launched on %u processors (%s), TSC %lu kHz, APIC timer %lu kHz", lp_count,
               vcpu->name, (unsigned long)(tsc_hz / 1000), (unsigned long)(lapic_hz / 1000));
    }
    vcpu->stay(lp);
    atomic_store(&vp->work, VP_WORK_INTERRUPT | VP_WORK_TIMER);
    vp_wake(vp);
    lp_loop();
}

void hv_launch(const struct launch_info *info, struct launch_context *context)
{
    struct lp *lp = this_lp();
    struct native_state native = {rdmsr(MSR_EFER), read_dr6(), read_dr7()};
    enum launch_status status;
    bool enabled;

    lp->index = context->lp_index;
    if (!machine_ready) {
        log_init(info);
        idt_build();
        idt_use_host();
        machine_status = machine_init(info);
        machine_ready = true;
    }
    status = machine_status;
    enabled = status == LAUNCH_OK;
    if (status == LAUNCH_OK) {
        set_up_lp(lp, info);
        status = first_entry(lp, context);
        enabled = status == LAUNCH_OK || status == LAUNCH_ENTRY_FAILED;
    }
    if (status == LAUNCH_OK && info->fail_lp == lp->index && context->phase != LAUNCH_STAY)
        status = LAUNCH_FAULT_INJECTED;
    if (context->phase == LAUNCH_JOIN)
        status = rendezvous(info->join_count, status);
    if (status == LAUNCH_OK && context->phase != LAUNCH_TRIAL)
        stay(lp, info, context);
    context->status = status;
    go_back(lp, info, context, &native, enabled);
}
