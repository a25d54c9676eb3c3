// SPDX-License-Identifier: BSD-2-Clause-Patent
// Monitor ports: who owns a page, where it is laid over, and who looks at it. Nearly nobody has
// any, so they are one list, changed and looked at by one LP at a time; whoever comes meanwhile
// comes again, since the overlays of a change wait for other LPs.
#include "corbel/monitor.h"

#include "corbel/ipc.h"
#include "corbel/partition.h"
#include "corbel/vp.h"
#include "hv/status.h"

struct monitor { // a page from the receiver's pool, as the monitor page itself
    struct monitor *next;
    struct partition *receiver, *sender; // sender NULL: not connected
    uint32_t port_id, connection_id;
    struct hv_monitor_page *page;
    struct gpa_overlay receiver_overlay, sender_overlay;
};
static_assert(sizeof(struct monitor) <= PAGE_SIZE, "a monitor is one page");

static struct monitor *monitors;
static atomic_flag busy = ATOMIC_FLAG_INIT;

static bool begin(void)
{
    return !atomic_flag_test_and_set_explicit(&busy, memory_order_acquire);
}

static void end(void)
{
    atomic_flag_clear_explicit(&busy, memory_order_release);
}

static struct monitor **link_of_port(const struct partition *p, uint32_t port_id)
{
    struct monitor **link = &monitors;

    while (*link && ((*link)->receiver != p || (*link)->port_id != port_id))
        link = &(*link)->next;
    return link;
}

static uint16_t lay(struct partition *p, struct gpa_overlay *overlay, const struct monitor *m,
                    uint64_t gpa)
{
    return partition_move_overlay(p, overlay, m->page, true, gpa >> PAGE_SHIFT,
                                  GPA_READ | GPA_WRITE)
               ? HV_STATUS_SUCCESS
               : HV_STATUS_INSUFFICIENT_MEMORY;
}

static uint16_t gpa_status(const struct partition *p, uint64_t gpa)
{
    if (gpa & ~PAGE_MASK)
        return HV_STATUS_INVALID_ALIGNMENT;
    return gpa >> PAGE_SHIFT < p->gpa.page_limit ? HV_STATUS_SUCCESS : HV_STATUS_INVALID_PARAMETER;
}

// ---- ports --------------------------------------------------------------------------------------

static void free_monitor(struct monitor *m)
{
    struct partition *p = m->receiver;

    partition_move_overlay(p, &m->receiver_overlay, NULL, false, 0, 0);
    if (m->page)
        pool_free(&p->pool, m->page);
    pool_free(&p->pool, m);
}

static struct monitor *make_monitor(struct partition *p, uint32_t port_id)
{
    struct monitor *m = pool_alloc(&p->pool);

    if (!m)
        return NULL;
    m->receiver = p;
    m->port_id = port_id;
    m->page = pool_alloc(&p->pool);
    if (m->page)
        return m;
    free_monitor(m);
    return NULL;
}

uint16_t monitor_create(struct partition *p, uint32_t port_id, const struct port *config,
                        uint64_t gpa)
{
    uint16_t status = gpa_status(p, gpa);
    struct monitor *m;

    if (status != HV_STATUS_SUCCESS)
        return status;
    if (!begin())
        return HV_STATUS_RETRY;
    m = make_monitor(p, port_id);
    status = m ? lay(p, &m->receiver_overlay, m, gpa) : HV_STATUS_INSUFFICIENT_MEMORY;
    if (status == HV_STATUS_SUCCESS)
        status = port_create(&p->ports, port_id, config);
    if (status == HV_STATUS_SUCCESS) {
        m->next = monitors;
        monitors = m;
    } else if (m) {
        free_monitor(m);
    }
    end();
    return status;
}

// VP 0 of the sender begins to look, or need not any more.
static void tell_first(struct partition *sender)
{
    struct vp *first = partition_vp(sender, 0);

    if (!first)
        return;
    first->monitors = __atomic_load_n(&sender->monitored, __ATOMIC_SEQ_CST) != 0;
    vp_signal(first, VP_WORK_TIMER);
}

// The sender no longer has the page.
static void detach(struct monitor *m)
{
    struct partition *sender = m->sender;

    if (!sender)
        return;
    partition_move_overlay(sender, &m->sender_overlay, NULL, false, 0, 0);
    m->sender = NULL;
    if (__atomic_sub_fetch(&sender->monitored, 1, __ATOMIC_SEQ_CST) == 0)
        tell_first(sender);
}

static void remove_monitor(struct monitor **link)
{
    struct monitor *m = *link;

    *link = m->next;
    detach(m);
    free_monitor(m);
}

uint16_t monitor_delete(struct partition *p, uint32_t port_id)
{
    struct monitor **link;
    uint16_t status = HV_STATUS_INVALID_PORT_ID;

    if (!begin())
        return HV_STATUS_RETRY;
    link = link_of_port(p, port_id);
    if (*link) {
        remove_monitor(link);
        status = port_delete(&p->ports, port_id);
    }
    end();
    return status;
}

// ---- connections --------------------------------------------------------------------------------

static uint16_t attach(struct monitor *m, struct partition *sender, uint32_t id, uint64_t gpa)
{
    uint16_t status = lay(sender, &m->sender_overlay, m, gpa);

    if (status != HV_STATUS_SUCCESS) {
        connection_delete(&sender->ports, id);
        return status;
    }
    m->sender = sender;
    m->connection_id = id;
    __atomic_store_n(&sender->monitor_due, 0, __ATOMIC_RELAXED);
    __atomic_fetch_add(&sender->monitored, 1, __ATOMIC_SEQ_CST);
    tell_first(sender);
    return status;
}

uint16_t monitor_connect(struct partition *sender, uint32_t id, struct partition *receiver,
                         uint32_t port_id, uint64_t gpa)
{
    uint16_t status = gpa_status(sender, gpa);
    struct monitor *m;

    if (status != HV_STATUS_SUCCESS)
        return status;
    if (!begin())
        return HV_STATUS_RETRY;
    m = *link_of_port(receiver, port_id);
    status = connection_create(&sender->ports, id, &receiver->ports, port_id, HV_PORT_TYPE_MONITOR,
                               NULL);
    if (status == HV_STATUS_SUCCESS && m) // a port of that type has one
        status = attach(m, sender, id, gpa);
    end();
    return status;
}

uint16_t monitor_disconnect(struct partition *sender, uint32_t id)
{
    struct monitor *m;
    uint16_t status = HV_STATUS_INVALID_CONNECTION_ID;

    if (!begin())
        return HV_STATUS_RETRY;
    for (m = monitors; m && (m->sender != sender || m->connection_id != id);)
        m = m->next;
    if (m) {
        detach(m);
        status = connection_delete(&sender->ports, id);
    }
    end();
    return status;
}

uint16_t monitors_leave(struct partition *p)
{
    struct monitor **link = &monitors;

    if (!begin())
        return HV_STATUS_RETRY;
    while (*link) {
        if ((*link)->sender == p)
            detach(*link);
        if ((*link)->receiver == p)
            remove_monitor(link);
        else
            link = &(*link)->next;
    }
    end();
    return HV_STATUS_SUCCESS;
}

// ---- looking ------------------------------------------------------------------------------------

static void signal(void *context, uint32_t connection, uint32_t flag)
{
    ipc_signal_event(context, connection, flag); // errors are dropped, as the reference says
}

// When somebody changes monitors just now: soon again.
void monitors_poll(struct partition *sender)
{
    uint64_t now = partition_reference_time(sender);
    uint32_t next = MONITOR_LONGEST;

    if (rdtsc() < __atomic_load_n(&sender->monitor_due, __ATOMIC_RELAXED))
        return;
    if (begin()) {
        for (struct monitor *m = monitors; m; m = m->next) {
            if (m->sender != sender)
                continue;
            uint32_t after = monitor_look(m->page, now, signal, sender);
            next = after < next ? after : next;
        }
        end();
    } else {
        next = MONITOR_LEAST;
    }
    __atomic_store_n(&sender->monitor_due, rdtsc() + time_ticks(next), __ATOMIC_RELAXED);
}
