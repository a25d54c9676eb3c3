// SPDX-License-Identifier: BSD-2-Clause-Patent
// Intercept messages. What a VP did is written into the VP's own buffer, the VP is suspended, and
// the message is queued at SINT 0 of one of the parent's VPs; the buffer is free again when the
// parent has resumed the VP.
#include "corbel/intercept.h"

#include "corbel/decode.h"
#include "corbel/guestmem.h"
#include "corbel/log.h"
#include "corbel/lp.h"
#include "corbel/partition.h"
#include "corbel/string.h"
#include "corbel/vp.h"
#include "corbel/xmm.h"
#include "hv/memory.h"
#include "hv/message.h"
#include "hv/synic.h"

#define SINT HV_SYNIC_INTERCEPTION_SINT

// The parts of the two messages that are on measured paths.
#define INLINE static inline __attribute__((always_inline))

// ---- delivery -----------------------------------------------------------------------------------

// The fields belong to that VP; what is read here may change at once, and then the message waits in
// the queue until SynIC is enabled again.
static bool listens(const struct vp *vp)
{
    const struct synic *s = &vp->active->synic;

    return (__atomic_load_n(&s->scontrol, __ATOMIC_RELAXED) & HV_SCONTROL_ENABLE) &&
           (__atomic_load_n(&s->simp, __ATOMIC_RELAXED) & HV_PAGE_MSR_ENABLE);
}

// The parent's VP on this LP if it listens (nothing has to cross to another LP), else the lowest
// that does, else VP 0, where the message waits.
static __attribute__((noinline)) struct vp *receiver(const struct partition *parent)
{
    struct vp *here = this_lp()->root_vp;

    if (here && here->partition == parent && listens(here))
        return here;
    for (uint32_t i = 0; i < parent->vp_limit; i++)
        if (parent->vps[i] && listens(parent->vps[i]))
            return parent->vps[i];
    return partition_vp(parent, 0);
}

static struct vp *enqueue(const struct vp *vp, struct synic_message_node *node, uint32_t type,
                          const void *payload, uint32_t size, struct synic **where,
                          struct synic_signals *signals)
{
    struct vp *target = receiver(vp->partition->parent);

    node->payload = payload;
    node->origination_id = vp->partition->id;
    node->message_type = type;
    node->payload_size = (uint8_t)size;
    node->stamp = false;
    *where = &target->active->synic;
    synic_enqueue(*where, SINT, node, true, 0, signals);
    return target;
}

void intercept_notify(struct vp *vp, uint32_t type, uint32_t size)
{
    struct dispatched *d = &vp->dispatched;
    struct synic_signals signals;
    struct vp *target = enqueue(vp, &d->node, type, d->payload, size, &d->synic, &signals);

    vp_post_signals(target, &signals);
}

// A message is written where the parent reads it, if its slot is free (`target` is whose, and the
// lock of its SynIC is held from start() to send()); else into the VP's own buffer, which is
// queued.
struct outgoing {
    struct vp *target;
};

// Whether the message goes the usual way, once the last is taken back; else the VP has a page of
// its own for it.
static __attribute__((noinline)) bool take_back(struct vp *vp)
{
    if (vp->state_pages[STATE_PAGE_MESSAGE].page)
        return false;
    synic_cancel(vp->message_synic, &vp->message_node);
    return true;
}

// A parent that resumed the VP without having taken the last message has lost interest in it.
INLINE void *start(struct vp *vp, struct outgoing *out)
{
    const struct partition *parent = vp->partition->parent;
    struct vp *here = this_lp()->root_vp;
    void *payload;

    if (atomic_load_explicit(&vp->message_node.queued, memory_order_acquire) && !take_back(vp)) {
        out->target = NULL;
        return ((struct hv_message *)vp->state_pages[STATE_PAGE_MESSAGE].page)->payload;
    }
    out->target = here && here->partition == parent ? here : receiver(parent);
    payload = synic_claim(&out->target->active->synic, SINT);
    if (payload)
        return payload;
    out->target = NULL;
    return vp->message;
}

static __attribute__((noinline)) void queue(struct vp *vp, uint32_t type, uint32_t size)
{
    struct synic_signals signals;
    struct vp *target;

    if (vp->state_pages[STATE_PAGE_MESSAGE].page) {
        state_page_publish(vp, type, size);
        return;
    }
    target = enqueue(vp, &vp->message_node, type, vp->message, size, &vp->message_synic, &signals);

    if (signals.count)
        vp_post_interrupt(target, signals.vector[0], false);
}

INLINE void send(struct vp *vp, const struct outgoing *out, uint32_t type, uint32_t size)
{
    int vector;

    vp->counters[VP_COUNTER_INTERCEPT_MESSAGE]++;
    atomic_fetch_or(&vp->suspend, VP_SUSPEND_INTERCEPT); // before the parent can answer
    if (!out->target) {
        queue(vp, type, size);
        return;
    }
    vector = synic_publish(&out->target->active->synic, SINT, type, size, vp->partition->id);
    if (vector != SYNIC_NO_VECTOR)
        lp_leave_to(this_lp(), out->target, (uint8_t)vector);
}

// The same where the backend does not ask by itself whether the VP has been stopped: on all ways
// but those of port accesses and memory.
static __attribute__((noinline)) void send_and_leave(struct vp *vp, const struct outgoing *out,
                                                     uint32_t type, uint32_t size)
{
    atomic_fetch_or_explicit(&vp->work, VP_WORK_LEAVE, memory_order_relaxed);
    send(vp, out, type, size);
}

// ---- common parts -------------------------------------------------------------------------------

static void get_segment(struct vp *vp, uint32_t name, struct hv_x64_segment_register *s)
{
    union hv_register_value v;

    vcpu->get_register(vp, name, &v);
    *s = v.segment;
}

static bool interruption_pending(const struct vp *vp)
{
    return vp->pending_interruption & HV_PENDING_INTERRUPTION_PENDING;
}

INLINE void fill_header(struct vp *vp, struct hv_x64_intercept_message_header *h, uint8_t access,
                        uint8_t length)
{
    uint8_t tpr = atomic_load_explicit(&vp->active->apic.tpr, memory_order_relaxed);

    h->vp_index = vp->index;
    h->length_cr8 = (uint8_t)((length & HV_INTERCEPT_LENGTH_MASK) | (tpr & 0xf0));
    h->access_type = access;
    h->execution_state = vcpu->execution_state(vp, &h->cs);
    h->execution_state |= interruption_pending(vp) ? HV_EXECUTION_STATE_INTERRUPTION_PENDING : 0;
    h->rip = vp->rip;
    h->rflags = vp->rflags;
}

// ---- messages -----------------------------------------------------------------------------------

// The GVA is told where it is known without decoding the instruction: of a fetch. AMD's processors
// do not report that of a data access (APM 2 15.25.6), and who emulates it decodes it anyway.
// Instruction bytes are left out where they would not be those that caused the access:
// while the processor walked page tables or delivered an event. A fetch has its own address and no
// bytes.
void intercept_memory(struct vp *vp, const struct slat_fault *fault, bool unmapped)
{
    uint8_t access = fault->write     ? HV_INTERCEPT_ACCESS_WRITE
                     : fault->execute ? HV_INTERCEPT_ACCESS_EXECUTE
                                      : HV_INTERCEPT_ACCESS_READ;
    bool own = !fault->walk && !interruption_pending(vp);
    struct hv_x64_memory_intercept_message *m;
    _Alignas(8) uint8_t bytes[16] = {0};
    uint32_t count = own && !fault->execute ? guest_fetch(vp, bytes) : 0;
    struct outgoing out;

    m = start(vp, &out);
    fill_header(vp, &m->header, access, fault->length);
    m->cache_type = HV_CACHE_TYPE_WRITE_BACK;
    m->instruction_byte_count = (uint8_t)count;
    m->memory_access_info = 0;
    m->tpr_priority = (uint8_t)(m->header.length_cr8 >> 4);
    m->reserved = 0;
    m->guest_virtual_address = 0;
    m->guest_physical_address = fault->gpa;
    __builtin_memcpy(m->instruction_bytes, bytes, sizeof(m->instruction_bytes));
    if (fault->execute && !fault->walk) {
        m->guest_virtual_address =
            vp->rip +
            (m->header.execution_state & HV_EXECUTION_STATE_EFER_LMA ? 0 : m->header.cs.base);
        m->memory_access_info = HV_MEMORY_ACCESS_GVA_VALID;
    }
    send(vp, &out, unmapped ? HV_MESSAGE_TYPE_UNMAPPED_GPA : HV_MESSAGE_TYPE_GPA_INTERCEPT,
         sizeof(*m));
}

INLINE void fill_port(struct vp *vp, struct hv_x64_io_port_intercept_message *m,
                      const struct io_access *io)
{
    fill_header(vp, &m->header, io->write ? HV_INTERCEPT_ACCESS_WRITE : HV_INTERCEPT_ACCESS_READ,
                io->length);
    m->port_number = io->port;
    m->access_info = (uint8_t)(io->size | (io->string ? HV_IO_PORT_ACCESS_STRING : 0) |
                               (io->rep ? HV_IO_PORT_ACCESS_REP : 0));
    m->instruction_byte_count = 0;
    m->reserved = 0;
    m->rax = vp->gpr[RAX];
}

static __attribute__((noinline)) void string_io(struct vp *vp, const struct io_access *io)
{
    struct hv_x64_io_port_intercept_message *m;
    uint8_t bytes[16] = {0};
    uint32_t count = guest_fetch(vp, bytes);
    struct outgoing out;

    m = start(vp, &out);
    fill_port(vp, m, io);
    m->instruction_byte_count = (uint8_t)count;
    memcpy(m->instruction_bytes, bytes, sizeof(m->instruction_bytes));
    get_segment(vp, HV_REGISTER_DS, &m->ds);
    get_segment(vp, HV_REGISTER_ES, &m->es);
    m->rcx = vp->gpr[RCX];
    m->rsi = vp->gpr[RSI];
    m->rdi = vp->gpr[RDI];
    send(vp, &out, HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT, sizeof(*m));
}

// For other accesses the fields behind RAX are zero.
inline void intercept_io(struct vp *vp, const struct io_access *io)
{
    struct hv_x64_io_port_intercept_message *m;
    struct outgoing out;

    if (__builtin_expect(io->string, 0)) {
        string_io(vp, io);
        return;
    }
    m = start(vp, &out);
    fill_port(vp, m, io);
    __builtin_memset(m->instruction_bytes, 0, sizeof(m->instruction_bytes));
    m->ds = m->es = (struct hv_x64_segment_register){0};
    m->rcx = m->rsi = m->rdi = 0;
    send(vp, &out, HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT, sizeof(*m));
}

void intercept_msr(struct vp *vp, uint32_t msr, bool write, uint64_t value, uint8_t length)
{
    struct outgoing out;
    struct hv_x64_msr_intercept_message *m = start(vp, &out);

    (void)value; // RDX:RAX hold it
    fill_header(vp, &m->header, write ? HV_INTERCEPT_ACCESS_WRITE : HV_INTERCEPT_ACCESS_READ,
                length);
    m->msr_number = msr;
    m->reserved = 0;
    m->rdx = vp->gpr[RDX];
    m->rax = vp->gpr[RAX];
    send_and_leave(vp, &out, HV_MESSAGE_TYPE_MSR_INTERCEPT, sizeof(*m));
}

void intercept_cpuid(struct vp *vp, const struct cpuid_entry *defaults, uint8_t length)
{
    struct outgoing out;
    struct hv_x64_cpuid_intercept_message *m = start(vp, &out);

    fill_header(vp, &m->header, HV_INTERCEPT_ACCESS_EXECUTE, length);
    m->rax = vp->gpr[RAX];
    m->rcx = vp->gpr[RCX];
    m->rdx = vp->gpr[RDX];
    m->rbx = vp->gpr[RBX];
    m->default_result_rax = defaults->eax;
    m->default_result_rcx = defaults->ecx;
    m->default_result_rdx = defaults->edx;
    m->default_result_rbx = defaults->ebx;
    send_and_leave(vp, &out, HV_MESSAGE_TYPE_X64_CPUID_INTERCEPT, sizeof(*m));
}

void intercept_exception(struct vp *vp, uint32_t vector, uint8_t info, uint32_t error,
                         uint64_t parameter)
{
    _Alignas(8) uint8_t bytes[16] = {0};
    uint32_t count = guest_fetch(vp, bytes);
    struct outgoing out;
    struct hv_x64_exception_intercept_message *m = start(vp, &out);

    fill_header(vp, &m->header, HV_INTERCEPT_ACCESS_EXECUTE, 0);
    m->exception_vector = (uint16_t)vector;
    m->exception_info = info;
    m->error_code = error;
    m->exception_parameter = parameter;
    m->reserved = 0;
    memcpy(m->instruction_bytes, bytes, sizeof(m->instruction_bytes));
    m->instruction_byte_count = (uint8_t)count;
    get_segment(vp, HV_REGISTER_DS, &m->ds);
    get_segment(vp, HV_REGISTER_SS, &m->ss);
    memcpy(m->gp, vp->gpr, sizeof(m->gp));
    send_and_leave(vp, &out, HV_MESSAGE_TYPE_EXCEPTION_INTERCEPT, sizeof(*m));
}

void intercept_hypercall(struct vp *vp, uint8_t length)
{
    struct outgoing out;
    struct hv_x64_hypercall_intercept_message *m = start(vp, &out);

    fill_header(vp, &m->header, HV_INTERCEPT_ACCESS_EXECUTE, length);
    m->rax = vp->gpr[RAX];
    m->rbx = vp->gpr[RBX];
    m->rcx = vp->gpr[RCX];
    m->rdx = vp->gpr[RDX];
    m->r8 = vp->gpr[R8];
    m->rsi = vp->gpr[RSI];
    m->rdi = vp->gpr[RDI];
    xmm_read_block(m->xmm);
    m->flags = 0;
    memset(m->reserved, 0, sizeof(m->reserved));
    send(vp, &out, HV_MESSAGE_TYPE_HYPERCALL_INTERCEPT, sizeof(*m));
}

void intercept_unrecoverable(struct vp *vp)
{
    struct outgoing out;
    struct hv_x64_intercept_message_header *h = start(vp, &out);

    fill_header(vp, h, HV_INTERCEPT_ACCESS_EXECUTE, 0);
    send_and_leave(vp, &out, HV_MESSAGE_TYPE_UNRECOVERABLE_EXCEPTION, sizeof(*h));
}

void intercept_invalid_register(struct vp *vp)
{
    struct outgoing out;
    struct hv_x64_invalid_vp_register_message *m = start(vp, &out);

    m->vp_index = vp->index;
    m->reserved = 0;
    send_and_leave(vp, &out, HV_MESSAGE_TYPE_INVALID_VP_REGISTER_VALUE, sizeof(*m));
}

void intercept_send_eois(struct vp *vp)
{
    struct synic_signals signals;
    struct vp *target;

    for (uint32_t w = 0; w < 4; w++) {
        while (vp->eoi_pending[w]) {
            uint32_t bit = (uint32_t)__builtin_ctzl(vp->eoi_pending[w]);
            if (atomic_load_explicit(&vp->eoi_node.queued, memory_order_acquire)) {
                atomic_fetch_or_explicit(&vp->work, VP_WORK_MESSAGE, memory_order_relaxed);
                return;
            }
            vp->eoi_pending[w] &= ~(1ul << bit);
            vp->eoi_message.vp_index = vp->index;
            vp->eoi_message.interrupt_vector = w * 64 + bit;
            target = enqueue(vp, &vp->eoi_node, HV_MESSAGE_TYPE_X64_APIC_EOI, &vp->eoi_message,
                             sizeof(vp->eoi_message), &vp->eoi_synic, &signals);
            vp_post_signals(target, &signals);
        }
    }
}

void intercept_apic_eoi(struct vp *vp, uint32_t vector)
{
    vp->eoi_pending[vector >> 6 & 3] |= 1ul << (vector & 63);
    intercept_send_eois(vp);
}
