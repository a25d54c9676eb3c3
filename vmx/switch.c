// SPDX-License-Identifier: BSD-2-Clause-Patent
// Whose state is in the processor, and what of the TLB may still be used.
#include "corbel/cpufeatures.h"
#include "corbel/exits_common.h"
#include "corbel/fpu.h"
#include "corbel/gpa.h"
#include "corbel/idt.h"
#include "corbel/partition.h"
#include "corbel/speculation.h"
#include "vmx/vmx.h"

struct descriptor {
    uint64_t first, second;
};

static void invept(uint64_t kind, uint64_t pointer)
{
    struct descriptor d = {pointer, 0};
    __asm__ volatile("invept %0, %1" : : "m"(d), "r"(kind) : "cc", "memory");
}

static void invvpid(uint64_t kind, uint64_t vpid)
{
    struct descriptor d = {vpid, 0};
    __asm__ volatile("invvpid %0, %1" : : "m"(d), "r"(kind) : "cc", "memory");
}

// What tlb.h asks for. VMCS open for TLB_LOAD_TAG. INVEPT of a context takes its combined
// mappings along, whatever their VPID. Without VPIDs every entry and exit flushes what is linear or
// combined (SDM 3C 29.4.3.1).
static void drop(const struct vp *vp, uint32_t todo)
{
    if (vmx_controls.vpid) {
        if (todo & TLB_DROP_ALL)
            invvpid(VMX_INVVPID_ALL, 0);
        if (todo & TLB_LOAD_TAG)
            vmwrite(VMCS_VPID, vp->tlb.tag);
        if (todo & TLB_DROP_TAG)
            invvpid(VMX_INVVPID_CONTEXT, vp->tlb.tag);
    }
    if (todo & TLB_DROP_SPACE)
        invept(VMX_INVEPT_CONTEXT, vmx_ept_pointer(&vp->partition->gpa));
}

static void assign_vpid(struct lp *lp, struct vp *vp)
{
    uint32_t todo = tlb_arrive(&lp->tlb, lp->index, &vp->tlb);

    if (todo)
        drop(vp, todo);
}

void vmx_flush_guest(struct vp *vp)
{
    drop(vp, tlb_guest_changed(&vp->tlb, vmx_is_loaded(vp)));
}

// All of the VP's: one INVVPID of its context costs less than the walks of a list would (SDM
// 3C 28.3.3).
void vmx_flush_pages(struct vp *vp, const struct flush_list *list)
{
    (void)list;
    vmx_flush_guest(vp);
}

void vmx_flush_gpa(struct vp *vp)
{
    drop(vp, tlb_space_changed(&vp->tlb, vmx_is_loaded(vp)));
}

// SPEC_CTRL is one register for host and guest. Read first: a write costs much more.
static void load_spec_control(const struct vmx_vp *x)
{
    if ((cpu_features.speculation & SPECULATION_CONTROL) && rdmsr(MSR_SPEC_CTRL) != x->spec_ctrl)
        wrmsr(MSR_SPEC_CTRL, x->spec_ctrl);
}

static void load(struct lp *lp, struct vp *vp)
{
    struct vmx_vp *x = vmx_of(vp);

    vmx_open(vp);
    if (lp->last_partition != vp->partition) {
        if (cpu_features.speculation)
            speculation_switch(speculation_between(cpu_features.speculation, lp->last_partition,
                                                   vp->partition, root_partition));
        lp->last_partition = vp->partition;
    }
    if (x->host_lp != lp->index) {
        x->host_lp = lp->index;
        vmx_host_state();
    }
    vmwrite(VMCS_HOST_RSP, lp->host_rsp);
    load_spec_control(x);
    assign_vpid(lp, vp);
    fpu_load(lp, vp);
    if (cpu_features.rdtscp)
        wrmsr(MSR_TSC_AUX, vp->tsc_aux);
    for (unsigned i = 0; i < VMX_LIVE_COUNT; i++)
        wrmsr(vmx_live_msrs[i], x->live[i]);
    write_cr2(x->cr2);
    write_dr0(vp->dr[0]);
    write_dr1(vp->dr[1]);
    write_dr2(vp->dr[2]);
    write_dr3(vp->dr[3]);
    write_dr6(x->dr6);
    if (x->lending)
        vmx_post_begin(lp, vp);
}

// Of the VP that is in the registers.
void vmx_read_live(struct vp *vp)
{
    struct vmx_vp *x = vmx_of(vp);

    if (cpu_features.speculation & SPECULATION_CONTROL)
        x->spec_ctrl = rdmsr(MSR_SPEC_CTRL);
    if (cpu_features.rdtscp)
        vp->tsc_aux = rdmsr(MSR_TSC_AUX);
    for (unsigned i = 0; i < VMX_LIVE_COUNT; i++)
        x->live[i] = rdmsr(vmx_live_msrs[i]);
    x->cr2 = read_cr2();
    vp->dr[0] = read_dr0();
    vp->dr[1] = read_dr1();
    vp->dr[2] = read_dr2();
    vp->dr[3] = read_dr3();
    x->dr6 = read_dr6();
}

static void save(struct lp *lp, struct vp *vp)
{
    fpu_save(lp, vp);
    vmx_read_live(vp);
    vmx_post_end(vp);
    vmx_close(vp, NULL);
}

struct vp *vmx_next(struct lp *lp, struct vp *vp, bool blocked)
{
    do {
        if (vp)
            save(lp, vp);
        vp = lp_switch(lp, vp, blocked);
        blocked = false;
        if (!vp)
            return NULL;
        load(lp, vp);
    } while (!lp_begin_turn(lp, vp));
    vmx_sync_out(vp);
    return vp;
}

bool vmx_run(struct lp *lp)
{
    struct vp *vp = vmx_next(lp, NULL, false);

    if (!vp)
        return false;
    vmx_loop(vp);
    return true;
}

void vmx_trial(struct lp *lp, struct vp *vp)
{
    load(lp, vp);
    vmx_sync_out(vp);
    vmx_loop(vp);
    save(lp, vp);
}

// NMIs that came while the hypervisor ran only noted themselves.
static void forward_nmi(struct lp *lp)
{
    if (lp->nmi_seen)
        exit_foreign_nmi(lp->root_vp);
}

void vmx_take_interrupts(struct lp *lp)
{
    idt_use_window();
    vmx_window();
    idt_use_host();
    forward_nmi(lp);
}

void vmx_halt_lp(struct lp *lp)
{
    idt_use_window();
    vmx_halt();
    idt_use_host();
    forward_nmi(lp);
}
