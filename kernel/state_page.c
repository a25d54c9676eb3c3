// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/state_page.h"

#include "corbel/intercept.h"
#include "corbel/partition.h"
#include "corbel/phys.h"
#include "corbel/scheduler.h"
#include "corbel/string.h"
#include "corbel/synic.h"
#include "corbel/vp.h"
#include "hv/call_system.h"
#include "hv/message.h"
#include "hv/stats.h"
#include "hv/status.h"

// A VP with a message page has no message that could be taken back from a queue: its node counts as
// queued as long as there is the page, which is how intercept.c knows.
static void use(struct vp *vp, enum state_page_type type, bool used)
{
    if (type != STATE_PAGE_MESSAGE)
        return;
    if (vp->message_synic)
        synic_cancel(vp->message_synic, &vp->message_node);
    vp->message_synic = NULL;
    atomic_store(&vp->message_node.queued, used);
}

// Other LPs write statistics under the lock (kernel/dispatch_vp.c).
static void set_page(struct vp *vp, struct state_page *s, void *page)
{
    spin_lock(&vp->dispatched.lock);
    s->page = page;
    spin_unlock(&vp->dispatched.lock);
}

uint16_t state_page_map(struct vp *vp, enum state_page_type type, uint64_t *gpa_page)
{
    struct state_page *s = &vp->state_pages[type];
    struct pool *pool = &vp->partition->pool;
    void *page;

    if (s->page)
        return HV_STATUS_OPERATION_DENIED;
    page = pool_alloc(pool);
    if (!page)
        return HV_STATUS_INSUFFICIENT_MEMORY;
    if (*gpa_page == STATE_PAGE_ANYWHERE) // the root's own memory, until it was deposited
        *gpa_page = virt_to_phys(page) >> PAGE_SHIFT;
    if (!partition_move_overlay(root_partition, &s->overlay, page, true, *gpa_page,
                                GPA_READ | GPA_WRITE)) {
        pool_free(pool, page);
        return HV_STATUS_INSUFFICIENT_ROOT_MEMORY;
    }
    use(vp, type, true);
    set_page(vp, s, page);
    return HV_STATUS_SUCCESS;
}

void state_page_unmap(struct vp *vp, enum state_page_type type)
{
    struct state_page *s = &vp->state_pages[type];
    void *page;

    if (!s->page)
        return;
    use(vp, type, false);
    page = s->page;
    set_page(vp, s, NULL);
    partition_move_overlay(root_partition, &s->overlay, NULL, false, 0, 0);
    pool_free(&vp->partition->pool, page);
}

void state_page_publish(struct vp *vp, uint32_t message_type, uint32_t size)
{
    struct hv_message *m = vp->state_pages[STATE_PAGE_MESSAGE].page;
    struct hv_opaque_intercept_message opaque = {vp->index};

    m->header.payload_size = (uint8_t)size;
    m->header.flags = 0;
    m->header.reserved = 0;
    m->header.origination_id = vp->partition->id;
    __atomic_store_n(&m->header.message_type, message_type, __ATOMIC_RELEASE);
    if (scheduler_type() == HV_SCHEDULER_TYPE_ROOT)
        return;
    if (vp->dispatched.synic)
        synic_cancel(vp->dispatched.synic, &vp->dispatched.node);
    memcpy(vp->dispatched.payload, &opaque, sizeof(opaque));
    intercept_notify(vp, HV_MESSAGE_TYPE_OPAQUE_INTERCEPT, sizeof(opaque));
}
