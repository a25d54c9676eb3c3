// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the files of the Intel backend share.
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "corbel/lp.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "corbel/x86.h"
#include "vmx/caps.h"
#include "vmx/vmcs.h"

// MSRs of the guest that stay in the processor while the VP is loaded.
enum vmx_live_msr {
    VMX_LIVE_STAR,
    VMX_LIVE_LSTAR,
    VMX_LIVE_CSTAR,
    VMX_LIVE_SFMASK,
    VMX_LIVE_KERNEL_GS,
    VMX_LIVE_COUNT
};
extern const uint32_t vmx_live_msrs[VMX_LIVE_COUNT];

// Posted-interrupt descriptor (SDM 3C 30.6). Any LP sets vectors; the processor clears them.
struct vmx_posted {
    _Atomic uint64_t vectors[VAPIC_WORDS];
    _Atomic uint64_t outstanding; // bit 0: a notification is under way
    uint64_t reserved[3];
};
static_assert(sizeof(struct vmx_posted) == 64, "SDM 3C 30.6");

// vp->hw: what a VP has beside its VMCS, whose address is vp->hw_pa. One page.
struct vmx_vp {
    struct vmx_posted posted;
    uint8_t launched; // VMRESUME instead of VMLAUNCH; run.S
    bool ready;       // the VMCS has been filled (needs VMX operation: at the first use)
    bool tr_null;     // the firmware had no TR; a trial leaves the hypervisor's selector in it
    bool pdptes_old;  // CR0, CR3 or CR4 were set: read the four entries before PAE code runs
    uint32_t host_lp; // whose host state is in the VMCS
    void *virtual_apic;
    bool apicv;           // its APIC may be on loan to the processor (apicv.c),
    bool lending;         // its controls say so,
    bool lent;            // and it is now
    uint16_t apic_status; // that virtual_apic stands for
    uint64_t eoi_exits[VAPIC_WORDS];
    bool posts;                    // the controls for posted interrupts are set
    _Atomic uint32_t posting;      // 1 + index of the LP that takes them for it now; 0: none
    _Atomic uint32_t posters;      // LPs that are just using that
    uint64_t live[VMX_LIVE_COUNT]; // of a VP that is not loaded
    uint64_t cr2, dr6, spec_ctrl;  // the same
    uint64_t pdptes[4];            // for get_paging
};
static_assert(offsetof(struct vmx_vp, launched) == 64, "run.S");
static_assert(sizeof(struct vmx_vp) <= PAGE_SIZE, "one page");

extern struct vmx_controls vmx_controls; // the same on every LP; constant after launch

static inline struct vmx_vp *vmx_of(const struct vp *vp)
{
    return vp->hw;
}

// Makes the VP's VMCS current; it must be closed with what this returns. A VP that is not on this
// LP must be stopped.
struct vp *vmx_open(const struct vp *vp);
void vmx_close(const struct vp *vp, struct vp *was);

static inline bool vmx_is_loaded(const struct vp *vp)
{
    return this_lp()->vp == vp;
}

// To and from the neutral place in struct vp. VMCS open.
static inline void vmx_sync_in(struct vp *vp)
{
    vp->gpr[RSP] = vmread(VMCS_GUEST_RSP);
    vp->rip = vmread(VMCS_GUEST_RIP);
    vp->rflags = vmread(VMCS_GUEST_RFLAGS);
    vp->shadow = vmread(VMCS_INTERRUPTIBILITY) & VMX_BLOCKED_SHADOW;
}
void vmx_sync_out(struct vp *vp);

// The running VP, whose VMCS is open, is to exit when its slice ends. The preemption timer stands
// still outside of the guest: what is left is written anew before each entry, but see
// EXITS_UNTIMED.
static inline void vmx_time_slice(const struct lp *lp)
{
    if (lp->ends_slices)
        vmwrite(VMCS_PREEMPTION_TIMER,
                vmx_timer_ticks(lp->sched.running->slice_end, rdtsc(), vmx_controls.timer_shift));
}

static inline void vmx_reload(struct lp *lp, struct vp *vp)
{
    vmx_sync_out(vp);
    vmx_time_slice(lp);
}

// run.S
void vmx_loop(struct vp *vp);
void vmx_host_entry(void);
void vmx_window(void);
void vmx_halt(void);
void vmx_unblock_nmi(void);

// setup.c
enum launch_status vmx_probe(void);
enum launch_status vmx_enable(struct lp *lp);
void vmx_disable(struct lp *lp);
void vmx_stay(struct lp *lp);
bool vmx_create(struct vp *vp);
void vmx_destroy(struct vp *vp);

// state.c: the contents of a new VMCS, INIT, and the captured state.
void vmx_fill(struct vp *vp);
void vmx_use_timer(void); // VMCS open
void vmx_host_state(void);
void vmx_build_bitmaps(void);
// Physical. `apicv`: with the registers of the x2APIC that the processor has.
uint64_t vmx_msr_bitmap(const struct vp *vp, bool apicv);
uint64_t vmx_ept_pointer(const struct gpa_space *space); // as in the VMCS and for INVEPT
void vmx_reset_neutral(struct vp *vp);                   // what is in struct vp and struct vmx_vp
void vmx_reset_vmcs(struct vp *vp);                      // VMCS open
void vmx_reset(struct vp *vp);
void vmx_capture(struct vp *vp, const struct launch_context *context);

// taskswitch.c
void vmx_task_switch(struct vp *vp);

// switch.c
bool vmx_run(struct lp *lp);
void vmx_trial(struct lp *lp, struct vp *vp);
// `vp`, whose state is in the registers (NULL: none), has ended its turn. Returns the VP to enter.
struct vp *vmx_next(struct lp *lp, struct vp *vp, bool blocked);
void vmx_read_live(struct vp *vp);
void vmx_take_interrupts(struct lp *lp);
void vmx_halt_lp(struct lp *lp);
void vmx_flush_gpa(struct vp *vp);
void vmx_flush_guest(struct vp *vp);
void vmx_flush_pages(struct vp *vp, const struct flush_list *list);

// exit.c: one exit, and an entry that failed before it began. Returns the VP to enter, NULL: none.
struct vp *vmx_exit(struct vp *vp);
struct vp *vmx_entry_failed(struct vp *vp);

// control.c: accesses to control registers that exit.
void vmx_control_access(struct vp *vp);
void vmx_load_pdptes(struct vp *vp);

// event.c
void vmx_requeue_event(struct vp *vp, uint32_t event);
void vmx_inject(struct vp *vp, uint64_t event);
void vmx_raise(struct vp *vp, uint32_t vector);
void vmx_interrupt_window(struct vp *vp, uint32_t priority);
void vmx_tpr_window(struct vp *vp, uint32_t priority);
void vmx_nmi_window(struct vp *vp, bool wanted);
void vmx_set_tpr(struct vp *vp, uint8_t tpr);
void vmx_set_exception_intercepts(struct vp *vp, uint32_t vectors);
void vmx_set_tsc_offset(struct vp *vp);
static inline uint8_t vmx_tpr(const struct vp *vp)
{
    return ((const uint8_t *)vmx_of(vp)->virtual_apic)[VAPIC_TPR];
}

// apicv.c: interrupts delivered by the processor. VMCS open, VP loaded.
void vmx_apic_lend(struct vp *vp); // before an entry
void vmx_apic_take_back(struct vp *vp);
void vmx_handle_eoi(struct vp *vp);
void vmx_handle_apic_write(struct vp *vp);
bool vmx_delivers(void);

// posted.c. Notifications begin with the loan of the APIC, and end with it or when the VP leaves
// its LP; what was posted is then pending in the APIC. VMCS open.
void vmx_post_begin(struct lp *lp, struct vp *vp);
void vmx_post_end(struct vp *vp);
void vmx_post_disable(struct vp *vp);
void vmx_post_collect(struct vp *vp);
bool vmx_notify(struct vp *vp);

// registers.c
uint16_t vmx_get_register(struct vp *vp, uint32_t name, union hv_register_value *value);
uint16_t vmx_set_register(struct vp *vp, uint32_t name, const union hv_register_value *value);
void vmx_get_mode(const struct vp *vp, struct vcpu_mode *mode);
void vmx_get_paging(const struct vp *vp, struct walk_state *paging);
uint64_t vmx_cr3(const struct vp *vp);
uint16_t vmx_execution_state(const struct vp *vp, struct hv_x64_segment_register *cs);
uint64_t vmx_segment_base(const struct vp *vp, uint32_t name);
// A segment as the VMCS holds it; index in the order of the register names. VMCS open.
void vmx_put_segment(unsigned index, const struct hv_x64_segment_register *s);
// What the guest believes CR0 and CR4 to be, and to make it so. VMCS open.
uint64_t vmx_guest_cr0(void);
uint64_t vmx_guest_cr4(void);
void vmx_put_cr0(uint64_t value);
void vmx_put_cr4(uint64_t value);
void vmx_put_efer(uint64_t value);
