// SPDX-License-Identifier: BSD-2-Clause-Patent
// Turning SVM on and off, and the life of a VMCB.
#include "corbel/cpufeatures.h"
#include "corbel/gpa.h"
#include "corbel/log.h"
#include "corbel/partition.h"
#include "corbel/phys.h"
#include "corbel/pool.h"
#include "corbel/speculation.h"
#include "corbel/string.h"
#include "corbel/vpstart.h"
#include "svm/svm.h"

#define CPUID_SVM_LEAF 0x8000000au
#define CPUID_ECX_SVM  (1u << 2)
#define MSRPM_SIZE     0x2000u
#define IOPM_SIZE      0x3000u

uint32_t svm_features;

// Permission maps are the same for all children; the root's lets most of the machine through.
static uint8_t msrpm_root[MSRPM_SIZE] __attribute__((aligned(4096)));
// By what a child has to itself: enum procfeature_msrs.
static uint8_t msrpm_child[PROCFEATURE_MSRS][MSRPM_SIZE] __attribute__((aligned(4096)));
static uint8_t iopm_root[IOPM_SIZE] __attribute__((aligned(4096)));
static uint8_t iopm_child[IOPM_SIZE] __attribute__((aligned(4096)));
static bool maps_ready;

enum { MSRPM_READ = 1, MSRPM_WRITE = 2 };

enum launch_status svm_probe(void)
{
    if (cpuid(0x80000000, 0).eax < CPUID_SVM_LEAF ||
        (cpuid(0x80000001, 0).ecx & CPUID_ECX_SVM) == 0)
        return LAUNCH_NO_SVM;
    return svm_usable(rdmsr(MSR_VM_CR), cpuid(CPUID_SVM_LEAF, 0).edx, rdmsr(MSR_EFER));
}

// Sets or clears the two bits of an MSR in a permission map (APM 2 15.11).
static void msrpm_set(uint8_t *map, uint32_t msr, uint32_t access, bool exits)
{
    uint32_t base = msr < 0x2000 ? 0 : msr < 0xc0002000u ? 0x800 : 0x1000;
    uint32_t bit = (msr & 0x1fff) * 2;
    uint8_t mask = (uint8_t)(access << (bit & 7));
    uint8_t *byte = &map[base + bit / 8];
    *byte = exits ? *byte | mask : *byte & (uint8_t)~mask;
}

static void build_maps(void)
{
    static const uint32_t root_exits[] = {MSR_APIC_BASE, MSR_TSC_DEADLINE, MSR_PAT, MSR_EFER,
                                          MSR_VM_CR,     MSR_VM_HSAVE_PA,  MSR_XSS, MSR_TSC_RATIO};
    // State that VMLOAD/VMSAVE or the switch keep per VP: the guest may have it to itself.
    static const uint32_t child_free[] = {
        MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_STAR,    MSR_LSTAR,
        MSR_CSTAR,       MSR_SFMASK,       MSR_FS_BASE,      MSR_GS_BASE, MSR_KERNEL_GS_BASE};
    uint32_t i;

    memset(msrpm_root, 0, sizeof(msrpm_root));
    for (i = 0; i < sizeof(root_exits) / sizeof(root_exits[0]); i++)
        msrpm_set(msrpm_root, root_exits[i], MSRPM_READ | MSRPM_WRITE, true);
    for (i = MSR_X2APIC_FIRST; i <= MSR_X2APIC_LAST; i++)
        msrpm_set(msrpm_root, i, MSRPM_READ | MSRPM_WRITE, true);
    memset(msrpm_child, 0xff, sizeof(msrpm_child));
    for (uint32_t has = 0; has < PROCFEATURE_MSRS; has++) {
        for (i = 0; i < sizeof(child_free) / sizeof(child_free[0]); i++)
            msrpm_set(msrpm_child[has], child_free[i], MSRPM_READ | MSRPM_WRITE, false);
        if (has & PROCFEATURE_SPEC_CTRL)
            msrpm_set(msrpm_child[has], MSR_SPEC_CTRL, MSRPM_READ | MSRPM_WRITE, false);
        if (has & PROCFEATURE_TSC_AUX)
            msrpm_set(msrpm_child[has], MSR_TSC_AUX, MSRPM_READ | MSRPM_WRITE, false);
    }
    memset(iopm_root, 0, sizeof(iopm_root));
    memset(iopm_child, 0xff, sizeof(iopm_child));
    maps_ready = true;
}

enum launch_status svm_enable(struct lp *lp)
{
    void *hsave, *host;

    if (!maps_ready) { // the trial of the boot processor is alone
        svm_features = cpuid(CPUID_SVM_LEAF, 0).edx;
        svm_shared_msrs = (cpu_features.rdtscp ? SVM_SHARED_TSC_AUX : 0u) |
                          (spec_control_shared() ? SVM_SHARED_SPEC_CTRL : 0u) |
                          (svm_has(SVM_FEATURE_TSC_RATE) ? SVM_SHARED_TSC_RATIO : 0u);
        build_maps();
    }
    hsave = lp->hsave_pa ? phys_to_virt(lp->hsave_pa) : pool_alloc(&root_partition->pool);
    host = lp->host_state_pa ? phys_to_virt(lp->host_state_pa) : pool_alloc(&root_partition->pool);
    if (!hsave || !host) {
        if (hsave)
            pool_free(&root_partition->pool, hsave);
        return LAUNCH_NO_MEMORY;
    }
    lp->hsave_pa = virt_to_phys(hsave);
    lp->host_state_pa = virt_to_phys(host);
    tlb_lp_init(&lp->tlb, cpuid(CPUID_SVM_LEAF, 0).ebx);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME |
                        (cpu_features.speculation & SPECULATION_AUTO_IBRS ? EFER_AUTO_IBRS : 0));
    wrmsr(MSR_VM_HSAVE_PA, lp->hsave_pa);
    if (svm_has(SVM_FEATURE_TSC_RATE))
        svm_set_tsc_multiplier(lp, 0);
    __asm__ volatile("vmsave %0" : : "a"(lp->host_state_pa) : "memory"); // it never changes
    lp->host_loaded = true;
    // IF stays clear until the launch is final: interrupts are the firmware's so long.
    __asm__ volatile("clgi" : : : "memory");
    return LAUNCH_OK;
}

// Only a launch that goes back comes here. The firmware's TR is null as a rule, which LTR cannot
// load; left in place, the hypervisor's selector would be saved by the firmware and loaded again
// later.
void svm_disable(struct lp *lp)
{
    __asm__ volatile("cli; stgi" : : : "memory");
    __asm__ volatile("vmload %0" : : "a"(lp->root_vp->hw_pa) : "memory");
    wrmsr(MSR_VM_HSAVE_PA, 0);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(uint64_t)EFER_SVME);
    lp->guest_loaded = NULL;
}

// From now on RFLAGS.IF is set, and GIF holds interrupts back.
void svm_stay(struct lp *lp)
{
    (void)lp;
    __asm__ volatile("sti" : : : "memory");
}

static uint32_t tsc_fraction(void)
{
    return svm_has(SVM_FEATURE_TSC_RATE) ? SVM_TSC_FRACTION : 0;
}

static void set_controls(struct vp *vp)
{
    struct vmcb *v = vp->hw;
    bool root = vp->partition == root_partition;

    v->intercept_misc1 = SVM_INTERCEPT_INTR | SVM_INTERCEPT_NMI | SVM_INTERCEPT_SMI |
                         SVM_INTERCEPT_INIT | SVM_INTERCEPT_CPUID | SVM_INTERCEPT_INVD |
                         SVM_INTERCEPT_HLT | SVM_INTERCEPT_INVLPGA | SVM_INTERCEPT_IOIO |
                         SVM_INTERCEPT_MSR | SVM_INTERCEPT_SHUTDOWN;
    v->intercept_misc2 = SVM_INTERCEPT_VMRUN | SVM_INTERCEPT_VMMCALL | SVM_INTERCEPT_VMLOAD |
                         SVM_INTERCEPT_VMSAVE | SVM_INTERCEPT_STGI | SVM_INTERCEPT_CLGI |
                         SVM_INTERCEPT_SKINIT | SVM_INTERCEPT_MONITOR | SVM_INTERCEPT_MWAIT |
                         SVM_INTERCEPT_MWAIT_ARMED | SVM_INTERCEPT_XSETBV;
    if (!root)
        v->intercept_misc1 |= SVM_INTERCEPT_RDPMC;
    if (~vp->partition->features.cr4 & cpu_guest_cr4())
        v->intercept_cr |= SVM_INTERCEPT_WRITE_CR4;
    svm_set_exception_intercepts(vp, vp_exception_intercepts(vp));
    v->iopm_base = image_to_phys(root ? iopm_root : iopm_child);
    v->msrpm_base = image_to_phys(root ? msrpm_root : msrpm_child[vp->partition->features.msrs]);
    v->vintr = SVM_VINTR_MASKING;
    v->nested_control = SVM_NP_ENABLE;
    v->nested_cr3 = gpa_space_root(&vp->partition->gpa);
    svm_set_tsc_offset(vp);
    if (svm_has(SVM_FEATURE_PAUSE_FILTER) && !root) {
        v->intercept_misc1 |= SVM_INTERCEPT_PAUSE;
        v->pause_count = 3000;
        v->pause_threshold = svm_has(SVM_FEATURE_PAUSE_THRESHOLD) ? 128 : 0;
    }
}

bool svm_create(struct vp *vp)
{
    struct vmcb *v = pool_alloc(&vp->partition->pool);
    if (!v)
        return false;
    vp->hw = v;
    vp->hw_pa = virt_to_phys(v);
    vp->fetched = svm_has(SVM_FEATURE_DECODE) ? &v->fetched_count : NULL;
    set_controls(vp);
    v->g_pat = PAT_RESET;
    svm_reset(vp);
    return true;
}

void svm_destroy(struct vp *vp)
{
    if (!vp->hw)
        return;
    pool_free(&vp->partition->pool, vp->hw);
    vp->hw = NULL;
    vp->fetched = NULL;
}

static struct vmcb_segment segment(uint16_t selector, uint16_t attributes, uint32_t limit,
                                   uint64_t base)
{
    return (struct vmcb_segment){selector, attributes, limit, base};
}

// State after INIT (SDM 3A table 9-1; APM 2 14.1.3). What INIT keeps (MSRs, x87/SSE, XCR0) is not
// touched.
void svm_reset(struct vp *vp)
{
    struct vmcb *v = vp->hw;
    struct vmcb_segment data = segment(0, 0x93, 0xffff, 0);

    v->es = v->ss = v->ds = v->fs = v->gs = data;
    v->cs = segment(0xf000, 0x9b, 0xffff, 0xffff0000);
    v->gdtr = v->idtr = segment(0, 0, 0xffff, 0);
    v->ldtr = segment(0, 0x82, 0xffff, 0);
    v->tr = segment(0, 0x8b, 0xffff, 0);
    v->cpl = 0;
    v->efer = EFER_SVME;
    v->cr0 = CR0_ET | CR0_NW | CR0_CD;
    v->cr2 = v->cr3 = v->cr4 = 0;
    v->dr6 = 0xffff0ff0;
    v->dr7 = 0x400;
    v->intercept_dr = SVM_INTERCEPT_DEBUG;
    vp->shadow = 0;
    v->event_inject = 0;
    svm_interrupt_window(vp, 0);
    svm_nmi_window(vp, false);
    svm_set_tpr(vp, 0);
    for (int i = 0; i < GPR_COUNT; i++)
        vp->gpr[i] = 0;
    vp->gpr[RDX] = cpuid(1, 0).eax;
    vp->rip = 0xfff0;
    vp->rflags = RFLAGS_FIXED;
    for (int i = 0; i < 4; i++)
        vp->dr[i] = 0;
    svm_sync_out(vp);
    svm_flush(vp);
}

static struct vmcb_segment from_launch(const struct launch_segment *s)
{
    uint16_t a = (uint16_t)((s->attributes & 0xff) | (s->attributes >> 4 & 0xf00));
    return segment(s->selector, a, s->limit, s->base);
}

void svm_capture(struct vp *vp, const struct launch_context *c)
{
    struct vmcb *v = vp->hw;

    v->es = from_launch(&c->es);
    v->cs = from_launch(&c->cs);
    v->ss = from_launch(&c->ss);
    v->ds = from_launch(&c->ds);
    v->fs = from_launch(&c->fs);
    v->gs = from_launch(&c->gs);
    v->ldtr = from_launch(&c->ldtr);
    v->tr = from_launch(&c->tr);
    v->fs.base = rdmsr(MSR_FS_BASE);
    v->gs.base = rdmsr(MSR_GS_BASE);
    v->gdtr = segment(0, 0, c->gdtr.limit, c->gdtr.base);
    v->idtr = segment(0, 0, c->idtr.limit, c->idtr.base);
    v->cpl = 0;
    v->efer = (rdmsr(MSR_EFER) & ~(uint64_t)EFER_AUTO_IBRS) | EFER_SVME; // that bit is ours
    v->cr0 = c->cr0;
    v->cr3 = c->cr3;
    v->cr4 = c->cr4;
    v->cr2 = read_cr2();
    v->dr6 = read_dr6();
    v->dr7 = read_dr7();
    v->g_pat = rdmsr(MSR_PAT);
    v->spec_ctrl = cpu_features.speculation & SPECULATION_CONTROL ? rdmsr(MSR_SPEC_CTRL) : 0;
    v->star = rdmsr(MSR_STAR);
    v->lstar = rdmsr(MSR_LSTAR);
    v->cstar = rdmsr(MSR_CSTAR);
    v->sfmask = rdmsr(MSR_SFMASK);
    v->kernel_gs_base = rdmsr(MSR_KERNEL_GS_BASE);
    v->sysenter_cs = rdmsr(MSR_SYSENTER_CS);
    v->sysenter_esp = rdmsr(MSR_SYSENTER_ESP);
    v->sysenter_eip = rdmsr(MSR_SYSENTER_EIP);
    v->intercept_dr = 0; // what the firmware has in them stays
    svm_read_registers(vp);
    if (!(v->dr7 & DR7_ENABLES))
        v->intercept_dr = SVM_INTERCEPT_DEBUG;
    vp->gpr[RSP] = c->rsp;
    vp->rip = c->rip;
    vp->rflags = c->rflags & ~(uint64_t)RFLAGS_IF;
    svm_sync_out(vp);
}

// Nested page tables are page tables (APM 2 15.25.6).
static bool has_access_bits(void)
{
    return true;
}

const struct vcpu_ops svm_ops = {
    .name = "SVM",
    .format = &slpt_npt,
    .huge_pages = cpu_has_huge_pages,
    .tracks = has_access_bits,
    .probe = svm_probe,
    .enable = svm_enable,
    .disable = svm_disable,
    .stay = svm_stay,
    .create = svm_create,
    .destroy = svm_destroy,
    .reset = svm_reset,
    .capture = svm_capture,
    .run = svm_run,
    .trial = svm_trial,
    .get_register = svm_get_register,
    .set_register = svm_set_register,
    .get_mode = svm_get_mode,
    .get_paging = svm_get_paging,
    .cr3 = svm_cr3,
    .execution_state = svm_execution_state,
    .segment_base = svm_segment_base,
    .inject = svm_inject,
    .raise = svm_raise,
    .interrupt_window = svm_interrupt_window,
    .tpr_window = svm_tpr_window,
    .nmi_window = svm_nmi_window,
    .set_tpr = svm_set_tpr,
    .set_exception_intercepts = svm_set_exception_intercepts,
    .set_table_intercepts = svm_set_table_intercepts,
    .tsc_fraction = tsc_fraction,
    .set_tsc_offset = svm_set_tsc_offset,
    .flush_gpa = svm_flush,
    .flush_guest = svm_flush,
    .flush_pages = svm_flush_pages,
    .take_interrupts = svm_take_interrupts,
    .halt = svm_halt_lp,
};
