// SPDX-License-Identifier: BSD-2-Clause-Patent
// The physical local APIC and the interrupts that arrive at it. The hypervisor's vectors are 0xF0
// and up; all others belong to the root VP that is pinned to the LP.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/vapic.h"

struct lp;
struct vp;

enum lp_vector {
    LP_VECTOR_FIRST = 0xf0,
    LP_VECTOR_TIMER = 0xf0,
    LP_VECTOR_KICK = 0xf1,
    LP_VECTOR_POSTED = 0xf2, // to a guest, for its posted interrupts (Intel)
    LP_VECTOR_ERROR = 0xfe,
    LP_VECTOR_SPURIOUS = 0xff
};

// Takes the APIC over from the firmware at launch: timer and error vectors are ours, LINT0/1, LDR
// and DFR stay as the root has them. Fills an image of what the root had.
void lapic_save(struct lp *lp, struct vapic_image *image);
void lapic_take_over(struct lp *lp);

// Measures timer ticks against the TSC (`tsc_hz`); sets lapic_hz. The APIC must be the
// hypervisor's.
void lapic_calibrate(uint64_t tsc_hz);
extern uint64_t lapic_hz;

// One-shot timer of this LP at an absolute TSC; UINT64_MAX: off.
void lapic_timer(struct lp *lp, uint64_t deadline);
void lapic_kick(const struct lp *target);
void lapic_send_posted(const struct lp *target);
void lapic_eoi(struct lp *lp);

// Has this LP take a kick as soon as it lets interrupts in: at once after its next entry. May be
// called by an NMI's handler, whatever it has interrupted.
void lapic_kick_self(struct lp *lp);

// Root VP's register writes that the physical APIC has to follow: LVT LINT0/1, LDR, DFR, mode. EOIs
// that the root VP will never send, because a reset or a disabled APIC has lost the interrupt, are
// paid.
void lapic_mirror(struct lp *lp, struct vp *root_vp, const struct vapic_action *action);

// Before interrupts are let in on LP `lp`: an 8259's stays where it is (LINT0 masked) while the
// root VP could not take it. Its acknowledge cycle is the guest's to give: an OS that has
// interrupts off may be giving the 8259 other vectors, or withdraw the request. Not so one inside
// HvCallDispatchVp, whose wait it ends.
void lapic_hold_extint(struct lp *lp);
// The root VP can take it now: LINT0 is as the root VP has it, and the window that follows the next
// exit accepts it.
void lapic_release_extint(struct lp *lp);

// Distributes what the last window accepted: own vectors are handled, device vectors posted to the
// root VP, 8259 vectors passed as ExtINT.
void lp_distribute_interrupts(struct lp *lp);
// The root VP EOI'd a vector: pay the physical EOI if it was level triggered.
void lp_root_eoi(struct lp *lp, uint8_t vector);
// The root VP's APIC was reset: nobody will EOI what was in service.
void lp_root_reset(struct lp *lp);

// Resets the machine (reset register, then keyboard controller, then triple fault).
_Noreturn void platform_reset(void);
