// SPDX-License-Identifier: BSD-2-Clause-Patent
// Guest translations that have to go: lists of them, and the note that a VP finds before it enters
// its guest again.
#include "corbel/flush.h"

#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "hv/memory.h"

static void add(struct flush_list *list, uint64_t range)
{
    uint32_t pages = (uint32_t)(range & HV_GVA_RANGE_ADDITIONAL_MASK) + 1;

    if (list->count == FLUSH_RANGES || list->pages + pages > FLUSH_PAGES) {
        flush_list_everything(list);
        return;
    }
    list->range[list->count++] = range;
    list->pages += pages;
}

void flush_list_add(struct flush_list *list, uint64_t element, bool extended)
{
    if (list->all)
        return;
    if (extended && (element & HV_GVA_RANGE_EX_LARGE))
        flush_list_everything(list);
    else
        add(list, element);
}

void flush_list_join(struct flush_list *list, const struct flush_list *more)
{
    if (more->all)
        flush_list_everything(list);
    for (uint32_t i = 0; i < more->count && !list->all; i++)
        add(list, more->range[i]);
}

void vp_flush_drop(struct vp *vp, const struct flush_list *list)
{
    struct walk_state paging;

    vcpu->get_paging(vp, &paging);
    switch (flush_way(list, paging.cr4 & CR4_PCIDE)) {
    case FLUSH_WHOLE:
        vcpu->flush_guest(vp);
        break;
    case FLUSH_BY_PAGE:
        vcpu->flush_pages(vp, list);
        break;
    case FLUSH_NOTHING:
        break;
    }
}

// The list is complete before the bit is seen; who clears the bit finds it.
void vp_flush_note(struct vp *vp, const struct flush_list *list)
{
    if (list->all) {
        vp_signal(vp, VP_WORK_FLUSH);
        return;
    }
    spin_lock(&vp->flush_lock);
    flush_list_join(&vp->flush, list);
    spin_unlock(&vp->flush_lock);
    vp_signal(vp, VP_WORK_FLUSH_PAGES);
}

void vp_flush_serve(struct vp *vp, uint32_t work)
{
    struct flush_list list;

    if (work & VP_WORK_FLUSH_PAGES) {
        spin_lock(&vp->flush_lock);
        list = vp->flush;
        flush_list_init(&vp->flush);
        spin_unlock(&vp->flush_lock);
    }
    if (work & VP_WORK_FLUSH)
        vcpu->flush_guest(vp);
    else if (work & VP_WORK_FLUSH_PAGES)
        vp_flush_drop(vp, &list);
}
