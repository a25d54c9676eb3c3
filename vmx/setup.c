// SPDX-License-Identifier: BSD-2-Clause-Patent
// Turning VMX on and off, and the life of a VMCS.
#include "corbel/cpufeatures.h"
#include "corbel/log.h"
#include "corbel/partition.h"
#include "corbel/phys.h"
#include "corbel/pool.h"
#include "corbel/slpt.h"
#include "corbel/string.h"
#include "hv/cpuid.h"
#include "vmx/vmx.h"

#define CPUID_ECX_VMX (1u << 5)

struct vmx_controls vmx_controls;
static bool controls_ready;

static uint64_t read_or_zero(uint32_t msr)
{
    uint64_t value;
    return rdmsr_safe(msr, &value) ? value : 0;
}

static struct vmx_msrs read_msrs(void)
{
    bool truth;
    struct vmx_msrs m = {.basic = rdmsr(MSR_VMX_BASIC)};

    truth = m.basic & VMX_BASIC_TRUE_CONTROLS;
    m.pin = rdmsr(truth ? MSR_VMX_TRUE_PIN : MSR_VMX_PIN);
    m.cpu = rdmsr(truth ? MSR_VMX_TRUE_CPU : MSR_VMX_CPU);
    m.exit = rdmsr(truth ? MSR_VMX_TRUE_EXIT : MSR_VMX_EXIT);
    m.entry = rdmsr(truth ? MSR_VMX_TRUE_ENTRY : MSR_VMX_ENTRY);
    m.cpu2 = read_or_zero(MSR_VMX_CPU2); // absent without secondary controls, as is the next
    m.ept_vpid = read_or_zero(MSR_VMX_EPT_VPID);
    m.misc = rdmsr(MSR_VMX_MISC);
    m.cr0_fixed0 = rdmsr(MSR_VMX_CR0_FIXED0);
    m.cr0_fixed1 = rdmsr(MSR_VMX_CR0_FIXED1);
    m.cr4_fixed0 = rdmsr(MSR_VMX_CR4_FIXED0);
    m.cr4_fixed1 = rdmsr(MSR_VMX_CR4_FIXED1);
    return m;
}

enum launch_status vmx_probe(void)
{
    struct vmx_controls c;
    struct vmx_msrs m;
    const char *lacking;

    if (!(cpuid(1, 0).ecx & CPUID_ECX_VMX))
        return LAUNCH_NO_VMX;
    if (read_cr4() & CR4_VMXE)
        return LAUNCH_VMX_IN_USE;
    if (vmx_feature_switch(rdmsr(MSR_FEATURE_CONTROL)) == VMX_SWITCH_OFF)
        return LAUNCH_VMX_DISABLED;
    m = read_msrs();
    lacking = vmx_make_controls(&m, &c);
    if (!lacking)
        return LAUNCH_OK;
    hv_log("LP %u: the processor's VMX lacks %s", this_lp()->index, lacking);
    return LAUNCH_VMX_LACKING;
}

static bool has_huge_pages(void)
{
    return read_or_zero(MSR_VMX_EPT_VPID) & VMX_CAP_EPT_1G;
}

static bool has_access_bits(void)
{
    return read_or_zero(MSR_VMX_EPT_VPID) & VMX_CAP_EPT_AD; // asked before the controls are made
}

static uint32_t tsc_fraction(void)
{
    return vmx_controls.tsc_scaling ? 48 : 0; // SDM 3C 26.6.5
}

static bool vmxon(uint64_t pa)
{
    bool failed;
    __asm__ volatile("vmxon %1" : "=@ccbe"(failed) : "m"(pa) : "cc", "memory");
    return !failed;
}

enum launch_status vmx_enable(struct lp *lp)
{
    struct vmx_msrs m = read_msrs();
    void *region;

    if (!controls_ready) { // the trial of the boot processor is alone
        vmx_make_controls(&m, &vmx_controls);
        vmx_build_bitmaps();
        cpu_features.xsaves &= !!(vmx_controls.cpu2 & VMX_CPU2_XSAVES);
        controls_ready = true;
    }
    region = lp->hsave_pa ? phys_to_virt(lp->hsave_pa) : pool_alloc(&root_partition->pool);
    if (!region)
        return LAUNCH_NO_MEMORY;
    lp->hsave_pa = virt_to_phys(region);
    *(uint32_t *)region = (uint32_t)(m.basic & VMX_BASIC_REVISION);
    tlb_lp_init(&lp->tlb, 1u << 16);
    if (vmx_feature_switch(rdmsr(MSR_FEATURE_CONTROL)) == VMX_SWITCH_UNLOCKED)
        wrmsr(MSR_FEATURE_CONTROL,
              rdmsr(MSR_FEATURE_CONTROL) | VMX_FEATURE_ENABLE | VMX_FEATURE_LOCK);
    write_cr0(vmx_fix(read_cr0(), m.cr0_fixed0, m.cr0_fixed1));
    write_cr4(vmx_fix(read_cr4(), m.cr4_fixed0, m.cr4_fixed1));
    return vmxon(lp->hsave_pa) ? LAUNCH_OK : LAUNCH_ENTRY_FAILED;
}

// Only a launch that goes back comes here; every VMCS was closed when its VP was saved.
void vmx_disable(struct lp *lp)
{
    if (!(read_cr4() & CR4_VMXE))
        return;
    lp->guest_loaded = NULL;
    __asm__ volatile("vmxoff" : : : "cc", "memory");
    write_cr4(read_cr4() & ~(uint64_t)CR4_VMXE);
}

// Interrupts are the hypervisor's from now on. RFLAGS.IF stays clear but in a window.
void vmx_stay(struct lp *lp)
{
    struct vp *vp = lp->root_vp, *was = vmx_open(vp);

    lp->nmi_any_time = true;
    vmcs_change(VMCS_PIN_CONTROLS, VMX_PIN_EXTERNAL, true);
    lp->ends_slices = vmx_controls.preemption_timer;
    if (lp->ends_slices)
        vmx_use_timer();
    vmx_close(vp, was);
}

bool vmx_create(struct vp *vp)
{
    struct pool *pool = &vp->partition->pool;
    struct vmx_vp *x = pool_alloc(pool);
    uint32_t *vmcs = x ? pool_alloc(pool) : NULL;

    vp->hw = x;
    if (!vmcs)
        return false;
    vp->hw_pa = virt_to_phys(vmcs);
    *vmcs = (uint32_t)(rdmsr(MSR_VMX_BASIC) & VMX_BASIC_REVISION);
    x->host_lp = UINT32_MAX;
    x->virtual_apic = pool_alloc(pool);
    x->apicv = vmx_controls.apicv && vp->partition != root_partition;
    vmx_reset_neutral(vp);
    return x->virtual_apic != NULL;
}

void vmx_destroy(struct vp *vp)
{
    struct pool *pool = &vp->partition->pool;
    struct vmx_vp *x = vp->hw;

    if (!x)
        return;
    if (x->virtual_apic)
        pool_free(pool, x->virtual_apic);
    if (vp->hw_pa)
        pool_free(pool, phys_to_virt(vp->hw_pa));
    pool_free(pool, x);
    vp->hw = NULL;
}

static void vmptrld(const struct vp *vp)
{
    __asm__ volatile("vmptrld %0" : : "m"(vp->hw_pa) : "cc", "memory");
}

// SDM 3C 25.11.3: a new VMCS is cleared before its first use.
static __attribute__((noinline, cold)) void open_first(struct vp *vp)
{
    __asm__ volatile("vmclear %0" : : "m"(vp->hw_pa) : "cc", "memory");
    vmptrld(vp);
    vmx_of(vp)->ready = true;
    vmx_fill(vp);
    vmx_reset_vmcs(vp);
}

struct vp *vmx_open(const struct vp *vp)
{
    struct lp *lp = this_lp();
    struct vp *was = lp->guest_loaded, *now = (struct vp *)(uintptr_t)vp;

    if (was == vp)
        return was;
    lp->guest_loaded = now;
    if (__builtin_expect(vmx_of(vp)->ready, 1))
        vmptrld(vp);
    else
        open_first(now);
    return was;
}

// Clears the VMCS, so that any LP may open it next (SDM 3C 25.11.1).
void vmx_close(const struct vp *vp, struct vp *was)
{
    struct lp *lp = this_lp();

    if (was == vp)
        return;
    __asm__ volatile("vmclear %0" : : "m"(vp->hw_pa) : "cc", "memory");
    vmx_of(vp)->launched = 0;
    lp->guest_loaded = was;
    if (was)
        vmptrld(was);
}

void vmx_bad_field(enum vmcs_field field)
{
    panic("VMWRITE to field %#x failed: error %lu", field,
          (unsigned long)vmread(VMCS_INSTRUCTION_ERROR));
}

const struct vcpu_ops vmx_ops = {
    .hardware = HV_HARDWARE_EAX_UNRESTRICTED_GUEST,
    .name = "VMX",
    .format = &slpt_ept,
    .types_in_tables = true,
    .huge_pages = has_huge_pages,
    .tracks = has_access_bits,
    .delivers = vmx_delivers,
    .notify = vmx_notify,
    .probe = vmx_probe,
    .enable = vmx_enable,
    .disable = vmx_disable,
    .stay = vmx_stay,
    .create = vmx_create,
    .destroy = vmx_destroy,
    .reset = vmx_reset,
    .capture = vmx_capture,
    .run = vmx_run,
    .trial = vmx_trial,
    .get_register = vmx_get_register,
    .set_register = vmx_set_register,
    .get_mode = vmx_get_mode,
    .get_paging = vmx_get_paging,
    .cr3 = vmx_cr3,
    .execution_state = vmx_execution_state,
    .segment_base = vmx_segment_base,
    .inject = vmx_inject,
    .raise = vmx_raise,
    .interrupt_window = vmx_interrupt_window,
    .tpr_window = vmx_tpr_window,
    .nmi_window = vmx_nmi_window,
    .set_tpr = vmx_set_tpr,
    .set_exception_intercepts = vmx_set_exception_intercepts,
    .tsc_fraction = tsc_fraction,
    .set_tsc_offset = vmx_set_tsc_offset,
    .flush_gpa = vmx_flush_gpa,
    .flush_guest = vmx_flush_guest,
    .flush_pages = vmx_flush_pages,
    .take_interrupts = vmx_take_interrupts,
    .halt = vmx_halt_lp,
};
