// SPDX-License-Identifier: BSD-2-Clause-Patent
// Accesses to control registers that exit: of CR0 and CR4 the bits that are the hypervisor's, CR8
// where there is no TPR shadow (SDM 3C 26.1.3).
#include "corbel/cpufeatures.h"
#include "corbel/exits_common.h"
#include "corbel/guestmem.h"
#include "corbel/partition.h"
#include "vmx/vmx.h"

#define PDPTE_PRESENT  1u
#define PDPTE_RESERVED 0x1e6u
#define PAE_CR3_MASK   0xffffffe0u

// SDM 3A 4.4.1. False: reserved bits are set, or they cannot be read.
static bool read_pdptes(const struct vp *vp, uint64_t cr3, uint64_t pdptes[4])
{
    if (!guest_read(vp->partition, cr3 & PAE_CR3_MASK, pdptes, 4 * sizeof(*pdptes)))
        return false;
    for (unsigned i = 0; i < 4; i++)
        if ((pdptes[i] & PDPTE_PRESENT) && (pdptes[i] & (PDPTE_RESERVED | ~cpu_physical_mask())))
            return false;
    return true;
}

static void put_pdptes(const uint64_t pdptes[4])
{
    for (unsigned i = 0; i < 4; i++)
        vmwrite(VMCS_GUEST_PDPTE0 + 2 * i, pdptes[i]);
}

// After CR0, CR3, CR4 or EFER were set from outside. What cannot be read is not present.
void vmx_load_pdptes(struct vp *vp)
{
    static const uint64_t none[4] = {0, 0, 0, 0};
    uint64_t pdptes[4];
    bool pae = (vmread(VMCS_GUEST_CR0) & CR0_PG) && (vmread(VMCS_GUEST_CR4) & CR4_PAE) &&
               !(vmread(VMCS_GUEST_EFER) & EFER_LMA);

    vmx_of(vp)->pdptes_old = false;
    if (pae)
        put_pdptes(read_pdptes(vp, vmread(VMCS_GUEST_CR3), pdptes) ? pdptes : none);
}

// SDM 2A MOV to control registers: whether this value faults.
static bool cr0_faults(uint64_t old, uint64_t value)
{
    uint64_t efer = vmread(VMCS_GUEST_EFER), cr4 = vmread(VMCS_GUEST_CR4);
    bool code_64 = vmread(VMCS_GUEST_CS_RIGHTS) & HV_SEGMENT_LONG;

    if (value >> 32 || ((value & CR0_PG) && !(value & CR0_PE)) ||
        ((value & CR0_NW) && !(value & CR0_CD)))
        return true;
    if (!((old ^ value) & CR0_PG))
        return false;
    if (value & CR0_PG)
        return (efer & EFER_LME) && (!(cr4 & CR4_PAE) || code_64);
    return (cr4 & CR4_PCIDE) || ((efer & EFER_LMA) && code_64);
}

static void write_cr0_exit(struct vp *vp, uint64_t value, uint32_t length)
{
    uint64_t old = vmx_guest_cr0(), pdptes[4];
    bool pae = (value & CR0_PG) && (vmread(VMCS_GUEST_CR4) & CR4_PAE) &&
               !(vmread(VMCS_GUEST_EFER) & EFER_LME);

    if (cr0_faults(old, value) || (pae && !read_pdptes(vp, vmread(VMCS_GUEST_CR3), pdptes))) {
        vp_inject_gp(vp);
        return;
    }
    vmx_put_cr0(value | CR0_ET);
    if (pae)
        put_pdptes(pdptes);
    if ((old ^ value) & (CR0_PG | CR0_PE | CR0_WP))
        vmx_flush_guest(vp);
    vp_advance(vp, length);
}

void vmx_control_access(struct vp *vp)
{
    uint64_t qualification = vmread(VMCS_QUALIFICATION);
    uint32_t number = qualification & VMX_CR_NUMBER_MASK;
    uint32_t kind = qualification >> VMX_CR_KIND_SHIFT & VMX_CR_KIND_MASK;
    uint64_t *gpr = &vp->gpr[qualification >> VMX_CR_GPR_SHIFT & VMX_CR_GPR_MASK];
    uint32_t length = (uint32_t)vmread(VMCS_EXIT_LENGTH);
    struct vcpu_mode mode;

    vmx_get_mode(vp, &mode);
    if (kind == VMX_CR_MOV_TO && number == 0) {
        write_cr0_exit(vp, mode.decode == DECODE_64 ? *gpr : (uint32_t)*gpr, length);
    } else if (kind == VMX_CR_MOV_TO && number == 8) {
        exit_cr8(vp, *gpr, length);
    } else if (kind == VMX_CR_MOV_FROM && number == 8) {
        *gpr = vmx_tpr(vp) >> 4;
        vp_advance(vp, length);
    } else { // CR4: a bit that is not the guest's; the others do not exit
        vp_inject_gp(vp);
    }
}
