// SPDX-License-Identifier: BSD-2-Clause-Patent
// Doorbells: a child's write to a GPA without memory becomes an entry in an event ring of the root
// (tlfs-reference 1.10; root-abi 3.7).
#include "corbel/decode.h"
#include "corbel/emulate.h"
#include "corbel/exits_common.h"
#include "corbel/guestmem.h"
#include "corbel/ipc.h"
#include "corbel/partition.h"
#include "hv/call_ipc.h"
#include "hypercall/list.h"

// A ring without room is told so, and the doorbell is kept until it has some.
static uint16_t ring_at(struct port *port, struct vp *vp, const void *what)
{
    struct vtl_context *c = vp->active;
    struct synic_signals signals;
    enum synic_post result;

    (void)what;
    if (!(__atomic_load_n(&c->ring.value, __ATOMIC_RELAXED) & HV_PAGE_MSR_ENABLE))
        return HV_STATUS_INVALID_SYNIC_STATE;
    result = synic_ring_post(&c->synic, c->ring.page, port->sint, port->id, &signals);
    if (result == SYNIC_DISABLED)
        return HV_STATUS_INVALID_SYNIC_STATE;
    port->rung |= result == SYNIC_BUSY;
    vp_post_signals(vp, &signals);
    return HV_STATUS_SUCCESS;
}

static bool ring(struct port_space *space, uint32_t id)
{
    struct port *port;
    uint16_t status = connection_use(space, id, HV_PORT_TYPE_DOORBELL, &port);

    if (status != HV_STATUS_SUCCESS)
        return false;
    status = port_send(port, ring_at, NULL);
    connection_done(space, id);
    return status == HV_STATUS_SUCCESS;
}

static __attribute__((noinline)) bool decode_and_ring(struct vp *vp, uint64_t gpa)
{
    struct port_space *space = &vp->partition->ports;
    struct vcpu_mode mode;
    struct decoded d;
    uint8_t bytes[16];
    uint64_t rflags = vp->rflags, value;
    uint32_t id;

    vcpu->get_mode(vp, &mode);
    if (decode(bytes, guest_fetch(vp, bytes), mode.decode, &d) != DECODE_OK ||
        emulate_access(&d) != EMULATE_WRITE)
        return false;
    if (emulate_rmw(&d, vp->gpr, &rflags, 0, &value) < 0 ||
        !doorbell_find(space, gpa, d.memory_size, value, &id) || !ring(space, id))
        return false;
    vp_advance(vp, d.length);
    return true;
}

bool doorbell_exit(struct vp *vp, uint64_t gpa)
{
    return __atomic_load_n(&vp->partition->ports.doorbell_count, __ATOMIC_RELAXED) &&
           decode_and_ring(vp, gpa);
}

static bool ring_again(struct port *port, void *context)
{
    (void)context;
    port->rung = false;
    return port_send(port, ring_at, NULL) != HV_STATUS_SUCCESS || !port->rung;
}

uint16_t hypercall_notify_port_ring_empty(struct hypercall *call)
{
    const struct hv_input_notify_port_ring_empty *in = call->input;

    if (in->reserved || in->sint_index >= HV_SYNIC_SINT_COUNT)
        return HV_STATUS_INVALID_PARAMETER;
    if (call->caller->parent)
        return HV_STATUS_ACCESS_DENIED;
    port_ring_emptied(&call->caller->ports, in->sint_index, ring_again, NULL);
    return HV_STATUS_SUCCESS;
}
