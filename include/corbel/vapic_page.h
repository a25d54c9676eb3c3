// SPDX-License-Identifier: BSD-2-Clause-Patent
// The virtual APIC on loan: a processor that delivers interrupts by itself keeps IRR, ISR and TPR
// in a page laid out like the register page, and which vectors are the highest of each in a word of
// its own (SDM 3C 30.1, 25.4.2 "Guest interrupt status"). Before an entry that state is lent, after
// an exit it is taken back; in between the struct vapic must not be looked at. Owner only.
#pragma once

#include <stdint.h>

#include "corbel/vapic.h"

// Guest interrupt status: the highest vector in IRR and in ISR, 0: none.
#define VAPIC_STATUS_IRR       0x00ffu
#define VAPIC_STATUS_ISR       0xff00u
#define VAPIC_STATUS_ISR_SHIFT 8

// Whether this state may be lent: x2APIC mode, enabled, and no auto-EOI vector, which the processor
// would leave in service.
static inline bool vapic_lendable(const struct vapic *a)
{
    const uint32_t on = VAPIC_BASE_ENABLE | VAPIC_BASE_X2APIC | VAPIC_SVR_ENABLE;

    return (atomic_load_explicit(&a->mode, memory_order_relaxed) & on) == on &&
           !(a->auto_eoi[0] | a->auto_eoi[1] | a->auto_eoi[2] | a->auto_eoi[3]);
}

// Writes the registers that never change while the state can be lent: ID, version, LDR.
void vapic_prepare_page(const struct vapic *a, uint32_t *page);

// Lends: `held` is the status that the page stands for. Returns the new status. What the guest's
// EOI assist has been offered is taken back, since nobody looks at what comes next.
uint16_t vapic_lend(struct vapic *a, uint32_t *page, uint16_t held);

// Takes back; `held` is the status as it was lent, `status` what it has become.
void vapic_take_back(struct vapic *a, const uint32_t *page, uint16_t held, uint16_t status);

// What has been posted and not been merged goes to `vectors`, to be posted to the processor. False:
// not all of it, since there is something that only vapic_merge() can do. Any LP.
bool vapic_withdraw(struct vapic *a, uint64_t vectors[VAPIC_WORDS]);

// Edges that the processor has not taken become pending here.
void vapic_take_edges(struct vapic *a, const uint64_t vectors[VAPIC_WORDS]);

// The level-triggered vectors that are pending or in service: their EOI has to be known of.
void vapic_levels(const struct vapic *a, uint64_t map[VAPIC_WORDS]);

// The processor has done the EOI of `vector`, and the state has been taken back: what is left to
// do.
void vapic_eoi_done(struct vapic *a, uint8_t vector, struct vapic_action *action);
