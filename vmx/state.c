// SPDX-License-Identifier: BSD-2-Clause-Patent
// What a new VMCS holds, the state after INIT, and the state that a root VP takes over.
#include "corbel/cpufeatures.h"
#include "corbel/gpa.h"
#include "corbel/launch.h"
#include "corbel/partition.h"
#include "corbel/phys.h"
#include "corbel/speculation.h"
#include "corbel/string.h"
#include "corbel/vpstart.h"
#include "vmx/vmx.h"

#define BITMAP_SIZE  0x1000u
#define PAUSE_GAP    128u  // cycles between two PAUSEs of one loop
#define PAUSE_WINDOW 4096u // cycles that a loop may last

#define DR6_RESET 0xffff0ff0u

#define SELECTOR_CODE 8u
#define SELECTOR_DATA 16u
#define SELECTOR_TSS  24u

const uint32_t vmx_live_msrs[VMX_LIVE_COUNT] = {MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SFMASK,
                                                MSR_KERNEL_GS_BASE};

// The same for all children; the root's lets most of the machine through.
static uint8_t bitmap_root[BITMAP_SIZE] __attribute__((aligned(4096)));
// By what a child has to itself: enum procfeature_msrs.
static uint8_t bitmap_child[PROCFEATURE_MSRS][BITMAP_SIZE] __attribute__((aligned(4096)));
// The same where the processor has the APIC.
static uint8_t bitmap_apicv[PROCFEATURE_MSRS][BITMAP_SIZE] __attribute__((aligned(4096)));

// Reads at 0 (low MSRs) and 400h (high), writes 800h further (SDM 3C 25.6.9). MSRs outside both
// ranges always exit.
static uint8_t *bitmap_byte(uint8_t *map, uint32_t msr, bool write)
{
    return &map[(write ? 0x800 : 0) + (msr < 0x2000 ? 0 : 0x400) + ((msr & 0x1fff) >> 3)];
}

static void bitmap_free(uint8_t *map, uint32_t msr, bool write)
{
    *bitmap_byte(map, msr, write) &= (uint8_t) ~(1u << (msr & 7));
}

static void bitmap_set(uint8_t *map, uint32_t msr, bool exits)
{
    for (int write = 0; write < 2; write++) {
        bitmap_free(map, msr, write);
        *bitmap_byte(map, msr, write) |= (uint8_t)(exits << (msr & 7));
    }
}

// What the processor does right by itself (SDM 3C 30.5): reads from the page of what it keeps there
// and of what never changes, and the three writes that it virtualizes.
static void free_x2apic(uint8_t *map)
{
    static const uint32_t reads[] = {VAPIC_ID, VAPIC_VER, VAPIC_TPR, VAPIC_PPR, VAPIC_LDR};
    static const uint32_t writes[] = {VAPIC_TPR, VAPIC_EOI, VAPIC_SELF_IPI};

    for (unsigned i = 0; i < sizeof(reads) / sizeof(reads[0]); i++)
        bitmap_free(map, MSR_X2APIC_FIRST + (reads[i] >> 4), false);
    for (uint32_t part = 0; part < 8; part++) {
        bitmap_free(map, MSR_X2APIC_FIRST + (VAPIC_ISR >> 4) + part, false);
        bitmap_free(map, MSR_X2APIC_FIRST + (VAPIC_IRR >> 4) + part, false);
    }
    for (unsigned i = 0; i < sizeof(writes) / sizeof(writes[0]); i++)
        bitmap_free(map, MSR_X2APIC_FIRST + (writes[i] >> 4), true);
}

void vmx_build_bitmaps(void)
{
    static const uint32_t root_exits[] = {MSR_APIC_BASE, MSR_FEATURE_CONTROL, MSR_TSC_DEADLINE,
                                          MSR_XSS, MSR_EFER};
    // State that the VMCS or the switch keep per VP: the guest may have it to itself.
    static const uint32_t child_free[] = {
        MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_STAR,    MSR_LSTAR,
        MSR_CSTAR,       MSR_SFMASK,       MSR_FS_BASE,      MSR_GS_BASE, MSR_KERNEL_GS_BASE};
    uint32_t i;

    memset(bitmap_root, 0, BITMAP_SIZE);
    for (i = 0; i < sizeof(root_exits) / sizeof(root_exits[0]); i++)
        bitmap_set(bitmap_root, root_exits[i], true);
    for (i = MSR_VMX_BASIC; i <= MSR_VMX_LAST; i++)
        bitmap_set(bitmap_root, i, true);
    for (i = MSR_X2APIC_FIRST; i <= MSR_X2APIC_LAST; i++)
        bitmap_set(bitmap_root, i, true);
    memset(bitmap_child, 0xff, sizeof(bitmap_child));
    for (uint32_t has = 0; has < PROCFEATURE_MSRS; has++) {
        for (i = 0; i < sizeof(child_free) / sizeof(child_free[0]); i++)
            bitmap_set(bitmap_child[has], child_free[i], false);
        if (has & PROCFEATURE_SPEC_CTRL)
            bitmap_set(bitmap_child[has], MSR_SPEC_CTRL, false);
        if (has & PROCFEATURE_TSC_AUX)
            bitmap_set(bitmap_child[has], MSR_TSC_AUX, false);
        memcpy(bitmap_apicv[has], bitmap_child[has], BITMAP_SIZE);
        free_x2apic(bitmap_apicv[has]);
    }
}

uint64_t vmx_msr_bitmap(const struct vp *vp, bool apicv)
{
    uint32_t has = vp->partition->features.msrs;

    if (vp->partition == root_partition)
        return image_to_phys(bitmap_root);
    return image_to_phys(apicv ? bitmap_apicv[has] : bitmap_child[has]);
}

uint64_t vmx_ept_pointer(const struct gpa_space *space)
{
    enum { WRITE_BACK = 6, LEVELS_SHIFT = 3, ACCESSED_DIRTY = 1u << 6 };

    return gpa_space_root(space) | WRITE_BACK | (uint64_t)(space->slpt.levels - 1) << LEVELS_SHIFT |
           (vmx_controls.ept_ad ? ACCESSED_DIRTY : 0);
}

static void fill_controls(const struct vp *vp)
{
    const struct vmx_controls *c = &vmx_controls;
    bool root = vp->partition == root_partition;

    // The root's interrupts are the firmware's until the launch is final: vmx_stay.
    vmwrite(VMCS_PIN_CONTROLS, root ? c->pin & ~(uint32_t)VMX_PIN_EXTERNAL : c->pin);
    vmwrite(VMCS_CPU_CONTROLS, root ? c->cpu : c->cpu | VMX_CPU_RDPMC | VMX_CPU_IO);
    vmwrite(VMCS_CPU_CONTROLS2, c->pause_loop && !root ? c->cpu2 | VMX_CPU2_PAUSE_LOOP : c->cpu2);
    if (vp->partition->tsc_ratio.multiplier) {
        vmcs_change(VMCS_CPU_CONTROLS2, VMX_CPU2_TSC_SCALING, true);
        vmwrite(VMCS_TSC_MULTIPLIER, vp->partition->tsc_ratio.multiplier);
    }
    vmwrite(VMCS_EXIT_CONTROLS, c->exit);
    vmwrite(VMCS_ENTRY_CONTROLS, c->entry);
    if (c->preemption_timer && !root)
        vmx_use_timer();
    if (c->pause_loop) {
        vmwrite(VMCS_PAUSE_GAP, PAUSE_GAP);
        vmwrite(VMCS_PAUSE_WINDOW, PAUSE_WINDOW);
    }
}

// Its value is written before entries: vmx_time_slice().
void vmx_use_timer(void)
{
    vmcs_change(VMCS_PIN_CONTROLS, VMX_PIN_PREEMPTION_TIMER, true);
    vmcs_change(VMCS_EXIT_CONTROLS, VMX_EXIT_SAVE_PREEMPTION_TIMER, true);
}

void vmx_fill(struct vp *vp)
{
    static const enum vmcs_field zero[] = {
        VMCS_PF_MASK,          VMCS_PF_MATCH,           VMCS_CR3_TARGETS,
        VMCS_EXIT_STORE_COUNT, VMCS_EXIT_LOAD_COUNT,    VMCS_ENTRY_LOAD_COUNT,
        VMCS_ACTIVITY,         VMCS_GUEST_DEBUGCTL,     VMCS_GUEST_SYSENTER_CS,
        VMCS_ENTRY_ERROR,      VMCS_GUEST_SYSENTER_ESP, VMCS_GUEST_SYSENTER_EIP,
        VMCS_ENTRY_LENGTH};

    for (unsigned i = 0; i < sizeof(zero) / sizeof(zero[0]); i++)
        vmwrite(zero[i], 0);
    fill_controls(vp);
    vmwrite(VMCS_LINK_POINTER, UINT64_MAX);
    vmwrite(VMCS_MSR_BITMAP, vmx_msr_bitmap(vp, false));
    vmwrite(VMCS_TSC_OFFSET, vp->partition->tsc_offset);
    vmwrite(VMCS_EPT_POINTER, vmx_ept_pointer(&vp->partition->gpa));
    vmwrite(VMCS_EXCEPTION_BITMAP, vp_exception_intercepts(vp));
    vmwrite(VMCS_CR0_MASK, vmx_controls.cr0_must | CR0_NW | CR0_CD);
    vmwrite(VMCS_CR4_MASK, vmx_controls.cr4_must | ~vp->partition->features.cr4);
    vmwrite(VMCS_GUEST_PAT, PAT_RESET);
    if (vmx_controls.cpu2 & VMX_CPU2_XSAVES)
        vmwrite(VMCS_XSS_EXITING, 0);
    if (vmx_controls.tpr_shadow) {
        vmwrite(VMCS_VIRTUAL_APIC, virt_to_phys(vmx_of(vp)->virtual_apic));
        vmwrite(VMCS_TPR_THRESHOLD, 0);
    }
}

// Host state is this LP's: written anew when the VP comes from another.
void vmx_host_state(void)
{
    struct launch_table idt;
    struct lp *lp = this_lp();

    __asm__ volatile("sidt %0" : "=m"(idt));
    vmwrite(VMCS_HOST_CR0, read_cr0());
    vmwrite(VMCS_HOST_CR3, read_cr3());
    vmwrite(VMCS_HOST_CR4, read_cr4());
    vmwrite(VMCS_HOST_CS_SELECTOR, SELECTOR_CODE);
    vmwrite(VMCS_HOST_SS_SELECTOR, SELECTOR_DATA);
    vmwrite(VMCS_HOST_DS_SELECTOR, SELECTOR_DATA);
    vmwrite(VMCS_HOST_ES_SELECTOR, SELECTOR_DATA);
    vmwrite(VMCS_HOST_FS_SELECTOR, 0);
    vmwrite(VMCS_HOST_GS_SELECTOR, 0);
    vmwrite(VMCS_HOST_TR_SELECTOR, SELECTOR_TSS);
    vmwrite(VMCS_HOST_FS_BASE, 0);
    vmwrite(VMCS_HOST_GS_BASE, 0);
    vmwrite(VMCS_HOST_TR_BASE, (uint64_t)lp->tss);
    vmwrite(VMCS_HOST_GDTR_BASE, (uint64_t)lp->gdt);
    vmwrite(VMCS_HOST_IDTR_BASE, idt.base);
    vmwrite(VMCS_HOST_EFER, rdmsr(MSR_EFER));
    vmwrite(VMCS_HOST_PAT, rdmsr(MSR_PAT));
    vmwrite(VMCS_HOST_SYSENTER_CS, 0);
    vmwrite(VMCS_HOST_SYSENTER_ESP, 0);
    vmwrite(VMCS_HOST_SYSENTER_EIP, 0);
    vmwrite(VMCS_HOST_RIP, (uint64_t)vmx_host_entry);
}

// State after INIT (SDM 3A table 9-1). What INIT keeps (MSRs, x87/SSE, XCR0) is not touched.
void vmx_reset_vmcs(struct vp *vp)
{
    static const uint16_t attributes[8] = {0x93, 0x9b, 0x93, 0x93, 0x93, 0x93, 0x82, 0x8b};

    for (unsigned i = 0; i < 8; i++) {
        struct hv_x64_segment_register s = {0, 0xffff, 0, attributes[i]};
        if (i == HV_REGISTER_CS - HV_REGISTER_ES) {
            s.selector = 0xf000;
            s.base = 0xffff0000;
        }
        vmx_put_segment(i, &s);
    }
    vmwrite(VMCS_GUEST_GDTR_BASE, 0);
    vmwrite(VMCS_GUEST_GDTR_LIMIT, 0xffff);
    vmwrite(VMCS_GUEST_IDTR_BASE, 0);
    vmwrite(VMCS_GUEST_IDTR_LIMIT, 0xffff);
    vmx_put_efer(0);
    vmx_put_cr0(CR0_ET | CR0_NW | CR0_CD);
    vmx_put_cr4(0);
    vmwrite(VMCS_GUEST_CR3, 0);
    vmwrite(VMCS_GUEST_DR7, 0x400);
    vmwrite(VMCS_INTERRUPTIBILITY, 0);
    vmwrite(VMCS_PENDING_DEBUG, 0);
    vmwrite(VMCS_ENTRY_EVENT, 0);
    vmx_interrupt_window(vp, 0);
    vmx_nmi_window(vp, false);
}

void vmx_reset_neutral(struct vp *vp)
{
    struct vmx_vp *x = vmx_of(vp);

    for (int i = 0; i < GPR_COUNT; i++)
        vp->gpr[i] = 0;
    for (int i = 0; i < 4; i++)
        vp->dr[i] = 0;
    vp->gpr[RDX] = cpuid(1, 0).eax;
    vp->rip = 0xfff0;
    vp->rflags = RFLAGS_FIXED;
    vp->shadow = 0;
    x->cr2 = 0;
    x->dr6 = DR6_RESET;
}

void vmx_reset(struct vp *vp)
{
    struct vp *was = vmx_open(vp);

    vmx_reset_neutral(vp);
    vmx_reset_vmcs(vp);
    vmx_set_tpr(vp, 0);
    if (vmx_is_loaded(vp)) {
        write_cr2(0);
        write_dr6(DR6_RESET);
    }
    vmx_sync_out(vp);
    vmx_flush_guest(vp);
    vmx_close(vp, was);
}

// Nothing but an entry can make TR null again: after a trial it still has the hypervisor's
// selector, which means nothing in the firmware's GDT.
static void capture_tr(struct vmx_vp *x, const struct launch_segment *tr)
{
    static const struct hv_x64_segment_register null = {0, 0, 0, 0};

    if (!(tr->attributes & HV_SEGMENT_PRESENT))
        x->tr_null = true;
    if (x->tr_null && (tr->selector == SELECTOR_TSS || tr->selector == 0))
        vmx_put_segment(HV_REGISTER_TR - HV_REGISTER_ES, &null);
}

static void capture_segments(const struct launch_context *c)
{
    const struct launch_segment *const segments[8] = {&c->es, &c->cs, &c->ss,   &c->ds,
                                                      &c->fs, &c->gs, &c->ldtr, &c->tr};

    for (unsigned i = 0; i < 8; i++) {
        const struct launch_segment *s = segments[i];
        vmx_put_segment(
            i, &(struct hv_x64_segment_register){s->base, s->limit, s->selector, s->attributes});
    }
    vmwrite(VMCS_GUEST_FS_BASE, rdmsr(MSR_FS_BASE));
    vmwrite(VMCS_GUEST_GS_BASE, rdmsr(MSR_GS_BASE));
    vmwrite(VMCS_GUEST_GDTR_BASE, c->gdtr.base);
    vmwrite(VMCS_GUEST_GDTR_LIMIT, c->gdtr.limit);
    vmwrite(VMCS_GUEST_IDTR_BASE, c->idtr.base);
    vmwrite(VMCS_GUEST_IDTR_LIMIT, c->idtr.limit);
}

void vmx_capture(struct vp *vp, const struct launch_context *c)
{
    struct vp *was = vmx_open(vp);
    struct vmx_vp *x = vmx_of(vp);

    capture_segments(c);
    capture_tr(x, &c->tr);
    vmx_put_cr0(c->cr0);
    vmx_put_cr4(c->cr4);
    vmx_put_efer(rdmsr(MSR_EFER));
    vmwrite(VMCS_GUEST_CR3, c->cr3);
    vmwrite(VMCS_GUEST_DR7, read_dr7());
    vmwrite(VMCS_GUEST_DEBUGCTL, rdmsr(MSR_DEBUGCTL));
    vmwrite(VMCS_GUEST_PAT, rdmsr(MSR_PAT));
    vmwrite(VMCS_GUEST_SYSENTER_CS, rdmsr(MSR_SYSENTER_CS));
    vmwrite(VMCS_GUEST_SYSENTER_ESP, rdmsr(MSR_SYSENTER_ESP));
    vmwrite(VMCS_GUEST_SYSENTER_EIP, rdmsr(MSR_SYSENTER_EIP));
    vmx_read_live(vp);
    vp->gpr[RSP] = c->rsp;
    vp->rip = c->rip;
    vp->rflags = c->rflags & ~(uint64_t)RFLAGS_IF;
    x->pdptes_old = true;
    vmx_sync_out(vp);
    vmx_close(vp, was);
}
