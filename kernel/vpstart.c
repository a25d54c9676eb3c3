// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/vpstart.h"

#include "corbel/fpu.h"
#include "corbel/interrupts.h"
#include "corbel/log.h"
#include "corbel/lp.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "hv/status.h"

#define SIPI_ATTRIBUTES_CODE 0x009b
#define SIPI_LIMIT           0xffff

uint32_t vp_exception_intercepts(const struct vp *vp)
{
    if (vp->partition == root_partition) // machine checks and debug traps are the root's own
        return 0;
    // #AC and #DB can loop in delivery for ever without an exit (CVE-2015-5307, CVE-2015-8104).
    return 1u << EXC_AC | 1u << EXC_DB | 1u << EXC_MC | vp->partition->intercepts.exceptions;
}

void vp_send_nmi(struct vp *vp)
{
    atomic_store(&vp->nmi_pending, 1);
    vp_signal(vp, VP_WORK_NMI);
}

static void reset_private(struct vp *vp)
{
    vp->pending_interruption = 0;
    vp->nmi_masked = false;
    vp->nmi_step = false;
    atomic_store(&vp->nmi_pending, 0);
    for (int i = 0; i < 8; i++)
        atomic_store(&vp->extint[i], 0);
    atomic_store(&vp->extint_any, 0);
    vp->windows = 0;
    vcpu->reset(vp);
    if (this_lp()->vp == vp) {
        write_dr0(0);
        write_dr1(0);
        write_dr2(0);
        write_dr3(0);
    }
}

// SDM 3A 9.1: the boot processor starts at the reset vector, others wait for SIPI. A root VP's INIT
// happens beneath running firmware or OS, so the physical LINT pins follow the reset APIC.
void vp_init_signal(struct vp *vp)
{
    struct vapic_action mirror = {.flags = VAPIC_ACT_MIRROR};
    bool bsp = vp->active->apic.base & VAPIC_BASE_BSP;

    reset_private(vp);
    vapic_reset(&vp->active->apic);
    if (vp->partition == root_partition) {
        lp_root_reset(this_lp());
        lapic_mirror(this_lp(), vp, &mirror);
    }
    atomic_fetch_and(&vp->suspend, ~VP_SUSPEND_WAITS);
    if (!bsp)
        atomic_fetch_or(&vp->suspend, VP_SUSPEND_STARTUP);
    vp_update_timer(vp);
}

// The firmware's own processors beside a minimum root serve it until there is an operating system.
static bool is_gone(const struct vp *vp)
{
    const struct partition *p = vp->partition;

    return p == root_partition && vp->index >= root_vp_count &&
           __atomic_load_n(&p->guest_os_id, __ATOMIC_RELAXED);
}

void vp_sipi_signal(struct vp *vp)
{
    union hv_register_value cs = {.reg128 = {0, 0}};

    if (is_gone(vp))
        return;
    cs.segment.base = (uint64_t)vp->sipi_vector << 12;
    cs.segment.selector = (uint16_t)(vp->sipi_vector << 8);
    cs.segment.limit = SIPI_LIMIT;
    cs.segment.attributes = SIPI_ATTRIBUTES_CODE;
    vcpu->set_register(vp, HV_REGISTER_CS, &cs);
    vp->rip = 0;
    atomic_fetch_and(&vp->suspend, ~VP_SUSPEND_SIGNALED);
}

static uint16_t load64(struct vp *vp, uint32_t name, uint64_t value)
{
    union hv_register_value v = {.reg128 = {0, 0}};

    v.reg64 = value;
    return vcpu->set_register(vp, name, &v);
}

static uint16_t load_segment(struct vp *vp, uint32_t name, const struct hv_x64_segment_register *s)
{
    union hv_register_value v;

    v.segment = *s;
    return vcpu->set_register(vp, name, &v);
}

static uint16_t load_table(struct vp *vp, uint32_t name, const struct hv_x64_table_register *t)
{
    union hv_register_value v;

    v.table = *t;
    return vcpu->set_register(vp, name, &v);
}

uint16_t vp_load_context(struct vp *vp, const struct hv_initial_vp_context *c)
{
    uint16_t bad = 0;

    bad |= load_segment(vp, HV_REGISTER_CS, &c->cs);
    bad |= load_segment(vp, HV_REGISTER_DS, &c->ds);
    bad |= load_segment(vp, HV_REGISTER_ES, &c->es);
    bad |= load_segment(vp, HV_REGISTER_FS, &c->fs);
    bad |= load_segment(vp, HV_REGISTER_GS, &c->gs);
    bad |= load_segment(vp, HV_REGISTER_SS, &c->ss);
    bad |= load_segment(vp, HV_REGISTER_TR, &c->tr);
    bad |= load_segment(vp, HV_REGISTER_LDTR, &c->ldtr);
    bad |= load_table(vp, HV_REGISTER_IDTR, &c->idtr);
    bad |= load_table(vp, HV_REGISTER_GDTR, &c->gdtr);
    bad |= load64(vp, HV_REGISTER_EFER, c->efer);
    bad |= load64(vp, HV_REGISTER_CR0, c->cr0);
    bad |= load64(vp, HV_REGISTER_CR3, c->cr3);
    bad |= load64(vp, HV_REGISTER_CR4, c->cr4);
    bad |= load64(vp, HV_REGISTER_PAT, c->pat);
    vp->rip = c->rip;
    vp->gpr[RSP] = c->rsp;
    vp->rflags = c->rflags | RFLAGS_FIXED;
    return bad ? HV_STATUS_INVALID_REGISTER_VALUE : HV_STATUS_SUCCESS;
}

// TLFS: HvCallStartVirtualProcessor: like INIT and SIPI, but into the state that the caller gave.
void vp_start_signal(struct vp *vp)
{
    vp_init_signal(vp);
    if (is_gone(vp))
        return;
    if (vp_load_context(vp, &vp->start_context) != HV_STATUS_SUCCESS) {
        hv_log("partition %#lx VP %u: start context refused", (unsigned long)vp->partition->id,
               vp->index);
        return;
    }
    atomic_fetch_and(&vp->suspend, ~VP_SUSPEND_SIGNALED);
}
