// SPDX-License-Identifier: BSD-2-Clause-Patent
// Which translations of guests an LP's TLB may hold, and what has to go when. Pure; both backends
// ask here and do what they are told with the means of their processor.
//
// A tag (VPID, ASID) names the translations of one VP on one LP. It is handed out once in a
// generation of the LP and never shared, so what no tag in use names cannot be used again: losing
// the tag drops all that a VP has, on every LP, at the price of a new one. A VP has one tag at a
// time; where it ran before it has none.
//
// Guest-physical translations of Intel's processors carry no tag, only their root table's address
// (SDM 3C 29.4.2), which may have been another partition's before. They are dropped with each new
// tag. AMD's have none of these (APM 2 15.16).
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct tlb_lp {
    uint32_t next, limit; // tags [next, limit) have not been handed out in this generation
    uint64_t generation;  // never 0
};

struct tlb_vp {
    uint64_t generation; // of `lp`, when `tag` was handed out; 0: it has none
    uint32_t tag;
    uint32_t lp;
};

enum tlb_do {
    TLB_DROP_ALL = 1u << 0,   // on this LP, whatever the tag
    TLB_LOAD_TAG = 1u << 1,   // the VP's tag is new
    TLB_DROP_SPACE = 1u << 2, // guest-physical ones of the VP's root table, and what came by them
    TLB_DROP_TAG = 1u << 3    // those with the VP's tag
};

static inline void tlb_lp_init(struct tlb_lp *lp, uint32_t limit)
{
    *lp = (struct tlb_lp){.next = 1, .limit = limit, .generation = 1}; // 0 is the host's tag
}

static inline void tlb_vp_init(struct tlb_vp *vp)
{
    *vp = (struct tlb_vp){.lp = UINT32_MAX};
}

// The VP's state comes to LP `index`. What has to be done before it is entered: TLB_*.
static inline uint32_t tlb_arrive(struct tlb_lp *lp, uint32_t index, struct tlb_vp *vp)
{
    uint32_t todo = TLB_LOAD_TAG | TLB_DROP_SPACE;

    if (__builtin_expect(vp->lp == index && vp->generation == lp->generation, 1))
        return 0;
    if (lp->next >= lp->limit) {
        lp->generation++;
        lp->next = 1;
        todo |= TLB_DROP_ALL;
    }
    *vp = (struct tlb_vp){.generation = lp->generation, .tag = lp->next++, .lp = index};
    return todo;
}

static inline void tlb_lose_tag(struct tlb_vp *vp)
{
    vp->generation = 0;
}

// Second-level translations of the VP have changed. `here`: its state is in this LP, which is where
// they have to go at once; elsewhere it has a new tag when it comes.
static inline uint32_t tlb_space_changed(struct tlb_vp *vp, bool here)
{
    if (here && vp->generation)
        return TLB_DROP_SPACE;
    tlb_lose_tag(vp);
    return 0;
}

// The same for translations of the guest's own.
static inline uint32_t tlb_guest_changed(struct tlb_vp *vp, bool here)
{
    if (here && vp->generation)
        return TLB_DROP_TAG;
    tlb_lose_tag(vp);
    return 0;
}

// A VP begins its turn, after it can be seen that it does: has its GPA space changed since it last
// knew? Who changes a space counts `generation` up first and looks for running VPs then, so one of
// the two finds the other.
static inline bool tlb_behind(uint64_t *known, uint64_t generation)
{
    if (__builtin_expect(*known == generation, 1))
        return false;
    *known = generation;
    return true;
}
