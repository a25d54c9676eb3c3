// SPDX-License-Identifier: BSD-2-Clause-Patent
// The vendor contract: all that the rest of the hypervisor asks of svm/ and vmx/. One table of
// functions is chosen at boot; only cold paths go through it. Hot exits (CPUID, MSRs, hypercalls,
// interrupts) are called by the backend directly, so no indirect call lies on them.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/decode.h"
#include "corbel/launch.h"
#include "corbel/walk.h"
#include "hv/registers.h"

struct lp;
struct vp;
struct gpa_space;
struct slpt_format;
struct flush_list;

// A fault that second-level translation reported.
struct slat_fault {
    uint64_t gpa;
    bool read, write, execute;
    bool walk;      // while the processor read or wrote a guest page table
    uint8_t length; // of a hypercall's instruction whose parameter list this is, else 0
    bool present;   // the entry was present: a rights violation
};

// What code runs in a VP: enough to decode an instruction and to fill message headers.
struct vcpu_mode {
    enum decode_mode decode;
    uint8_t cpl;
    bool protected_mode;
    bool long_mode; // EFER.LMA
    bool real_mode;
};

struct vcpu_ops {
    const char *name;
    const struct slpt_format *format; // of second-level tables
    uint32_t hardware;                // HV_HARDWARE_EAX_* of this backend alone
    bool types_in_tables;             // which hold the memory type: the MTRRs do not count
    bool (*huge_pages)(void);         // second-level pages of 1 GiB
    bool (*tracks)(void);             // processors set accessed and dirty bits in them
    // Interrupts of children in x2APIC mode are delivered, and their EOI done, without an exit.
    // NULL: never.
    bool (*delivers)(void);
    // Has what is posted to the virtual APIC of a VP that runs on another LP delivered there
    // without an exit. False: the VP has to exit, and finds what is posted. NULL: always. Any LP.
    bool (*notify)(struct vp *vp);
    // Can this processor do it? Does not change its state.
    enum launch_status (*probe)(void);
    // Turns virtualization on for this LP / off again (rollback).
    enum launch_status (*enable)(struct lp *lp);
    void (*disable)(struct lp *lp);
    // The launch of this LP is final: interrupts are the hypervisor's from here on.
    void (*stay)(struct lp *lp);

    // VP state: allocates from the partition's pool; false: no memory. The state is that of a
    // reset.
    bool (*create)(struct vp *vp);
    void (*destroy)(struct vp *vp);
    // INIT semantics (SDM 3A table 9-1); general registers included.
    void (*reset)(struct vp *vp);
    // The root VP takes over the captured state of the processor it runs on.
    void (*capture)(struct vp *vp, const struct launch_context *context);

    // Runs the VPs that lp_switch() names, one after the other, until it names none. False: there
    // was not even a first.
    bool (*run)(struct lp *lp);
    // The first entry of a captured VP, until it has to leave (VP_WORK_LEAVE).
    void (*trial)(struct lp *lp, struct vp *vp);

    // One register, by TLFS name. VP stopped or current. HV_STATUS.
    uint16_t (*get_register)(struct vp *vp, uint32_t name, union hv_register_value *value);
    uint16_t (*set_register)(struct vp *vp, uint32_t name, const union hv_register_value *value);

    void (*get_mode)(const struct vp *vp, struct vcpu_mode *mode);
    void (*get_paging)(const struct vp *vp, struct walk_state *paging);
    uint64_t (*cr3)(const struct vp *vp);
    // CS and HV_EXECUTION_STATE_* of an intercept message's header, but for a pending interruption.
    uint16_t (*execution_state)(const struct vp *vp, struct hv_x64_segment_register *cs);
    uint64_t (*segment_base)(const struct vp *vp, uint32_t register_name);

    // Event delivery. `event` as HV_PENDING_INTERRUPTION_*. May be called only when nothing else is
    // queued for this entry, and no window is open.
    void (*inject)(struct vp *vp, uint64_t event);
    // An interrupt that can be taken at once (IF, no shadow) comes with the next entry.
    void (*raise)(struct vp *vp, uint32_t vector);
    // Asks for an exit when an interrupt of this priority class (15: ExtINT) could be taken; 0: no
    // more.
    void (*interrupt_window)(struct vp *vp, uint32_t priority);
    // Asks for an exit when the guest lets its TPR fall, perhaps below this priority class; 0: no
    // more.
    void (*tpr_window)(struct vp *vp, uint32_t priority);
    void (*nmi_window)(struct vp *vp, bool wanted);

    void (*set_tpr)(struct vp *vp, uint8_t tpr);
    void (*set_exception_intercepts)(struct vp *vp, uint32_t vectors);
    // HV_MSR_NPIEP_PREVENT_*: the instructions whose execution exits, whatever the privilege. NULL:
    // the processor cannot tell these from those that load the registers; there is no NPIEP then.
    void (*set_table_intercepts)(struct vp *vp, uint64_t prevented);
    // Bits behind the point of the multiplier of a guest's TSC; 0: there is none.
    uint32_t (*tsc_fraction)(void);
    // The partition's offset of the TSC has changed. VP stopped or current.
    void (*set_tsc_offset)(struct vp *vp);
    void (*flush_gpa)(struct vp *vp);   // second-level translations, at the next entry
    void (*flush_guest)(struct vp *vp); // guest translations, at the next entry
    // Those of single pages, of the current PCID and of all if they are global; perhaps more.
    void (*flush_pages)(struct vp *vp, const struct flush_list *list);
    // Opens a window in which this LP takes pending interrupts (or halts until one comes).
    void (*take_interrupts)(struct lp *lp);
    void (*halt)(struct lp *lp);
};

extern const struct vcpu_ops svm_ops, vmx_ops;

// The backend of this machine; set by the first processor that launches.
extern const struct vcpu_ops *vcpu;
