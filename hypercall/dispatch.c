// SPDX-License-Identifier: BSD-2-Clause-Patent
// A hypercall from the exit to the result: what the TLFS says of all calls alike (tlfs-reference
// 0.3). Register-only calls take a short path; all others go through a plan of where their
// parameters lie.
#include "corbel/exits_common.h"
#include "corbel/guestmem.h"
#include "corbel/hypercall.h"
#include "corbel/intercept.h"
#include "corbel/lp.h"
#include "corbel/partition.h"
#include "corbel/string.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "corbel/xmm.h"
#include "hv/msr.h"

#define BUDGET_PER_SECOND 20000u // TLFS: Hypercall Continuation: 50 us
#define HEADER_MAX        (280 + HYPERCALL_VARIABLE_MAX)
#define ELEMENT_BYTES     1024u // rep elements copied at a time, in and out
#define OUTPUT_MAX        64u
#define CHUNK_ELEMENTS    64u // of calls whose elements have no bytes
#define REGISTER_BYTES    HV_HYPERCALL_FAST_MAX_BYTES

// Where the parameters of one call are.
struct parameters {
    const uint8_t *input;
    uint8_t *output;
    struct gpa_translation input_page, output_page; // memory form: pinned
    uint64_t output_gpa;
    _Alignas(8) uint8_t registers[REGISTER_BYTES]; // fast form: RDX, R8, XMM0-5
};

// ---- registers of the caller (tlfs-reference 0.2) -----------------------------------------------

static uint64_t pair(const struct vp *vp, enum gpr high, enum gpr low)
{
    return vp->gpr[high] << 32 | (uint32_t)vp->gpr[low];
}

static inline uint64_t get_word(const struct vp *vp, bool wide, uint32_t index)
{
    if (likely(wide))
        return vp->gpr[index ? R8 : RDX];
    return index ? pair(vp, RDI, RSI) : pair(vp, RBX, RCX);
}

static inline void set_result(struct vp *vp, bool wide, uint64_t value)
{
    if (likely(wide)) {
        vp->gpr[RAX] = value;
    } else {
        vp->gpr[RAX] = (uint32_t)value;
        vp->gpr[RDX] = value >> 32;
    }
}

// A continuation: the instruction comes again, with the elements that are done behind it.
static void set_control(struct vp *vp, bool wide, uint64_t control)
{
    if (wide)
        vp->gpr[RCX] = control;
    else
        set_result(vp, false, control);
}

// ---- parameters ---------------------------------------------------------------------------------

static bool offers(const struct vp *vp, const struct hypercall_plan *plan)
{
    return !plan->register_output || (vp->partition->privileges & HV_PRIV_FAST_HYPERCALL_OUTPUT);
}

static void load_registers(const struct vp *vp, bool wide, const struct hypercall_plan *plan,
                           struct parameters *at)
{
    uint64_t words[2] = {get_word(vp, wide, 0), get_word(vp, wide, 1)};

    memcpy(at->registers, words, sizeof(words));
    if (plan->xmm_input || plan->register_output)
        xmm_read_block(at->registers + sizeof(words));
    at->input = at->registers;
    at->output = at->registers + plan->output_offset;
}

static void store_registers(struct vp *vp, const struct hypercall_plan *plan,
                            const struct parameters *at)
{
    if (!plan->register_output)
        return;
    if (plan->output_offset == 0) {
        memcpy(&vp->gpr[RDX], at->registers, 8);
        memcpy(&vp->gpr[R8], at->registers + 8, 8);
    }
    if (plan->output_offset + plan->output_bytes > HYPERCALL_SLOT)
        xmm_write_block(at->registers + HYPERCALL_SLOT);
}

// The page of a parameter list, pinned. A child's list that is not there, or not accessible, is its
// parent's to provide: the VP stops with a memory intercept, which tells the instruction's length,
// and calls again, unless the parent completes the call with a status of its own. The root has no
// parent, and overlay pages and device memory are nobody's to provide: INVALID_ALIGNMENT, "not
// within the bounds of the GPA space".
static bool pin(struct vp *vp, uint64_t gpa, uint32_t access, uint32_t length,
                struct gpa_translation *page, uint16_t *status)
{
    struct partition *p = vp->partition;
    struct slat_fault fault = {.gpa = gpa, .walk = true, .length = (uint8_t)length};

    *page = gpa_pin(&p->gpa, gpa, access);
    if (likely(page->status == GPA_OK))
        return true;
    *status = page->status == GPA_NO_COUNTERS ? HV_STATUS_INSUFFICIENT_ROOT_MEMORY
                                              : HV_STATUS_INVALID_ALIGNMENT;
    if (p->parent && (page->status == GPA_UNMAPPED || page->status == GPA_NO_ACCESS)) {
        fault.read = access == GPA_READ;
        fault.write = access == GPA_WRITE;
        intercept_memory(vp, &fault, page->status == GPA_UNMAPPED);
        *status = HV_STATUS_RETRY;
    }
    return false;
}

static bool pin_lists(struct vp *vp, bool wide, const struct hypercall_plan *plan, uint32_t length,
                      struct parameters *at, uint16_t *status)
{
    struct gpa_space *space = &vp->partition->gpa;
    uint64_t in = get_word(vp, wide, 0), out = get_word(vp, wide, 1);

    *status = HV_STATUS_INVALID_ALIGNMENT;
    if ((plan->input_bytes && !hypercall_list_valid(in, plan->input_bytes, space->page_limit)) ||
        (plan->output_bytes && !hypercall_list_valid(out, plan->output_bytes, space->page_limit)))
        return false;
    if (plan->input_bytes) {
        if (!pin(vp, in, GPA_READ, length, &at->input_page, status))
            return false;
        at->input = window_map(this_lp(), WINDOW_INPUT, at->input_page.spa);
    }
    if (plan->output_bytes) {
        if (!pin(vp, out, GPA_WRITE, length, &at->output_page, status)) {
            if (plan->input_bytes)
                gpa_unpin(space, &at->input_page);
            return false;
        }
        at->output = window_map(this_lp(), WINDOW_OUTPUT, at->output_page.spa);
        at->output_gpa = out;
    }
    return true;
}

static void release(struct vp *vp, const struct hypercall_plan *plan, const struct parameters *at)
{
    if (plan->fast)
        return;
    if (plan->input_bytes)
        gpa_unpin(&vp->partition->gpa, &at->input_page);
    if (plan->output_bytes) {
        gpa_wrote(&vp->partition->gpa, at->output_gpa);
        gpa_unpin(&vp->partition->gpa, &at->output_page);
    }
}

// ---- running ------------------------------------------------------------------------------------

bool hypercall_stop(const struct hypercall *call)
{
    return atomic_load_explicit(&call->vp->work, memory_order_relaxed) || rdtsc() >= call->deadline;
}

static uint16_t run_simple(const struct hypercall_descriptor *d, struct hypercall *call,
                           const struct hypercall_plan *plan, const struct parameters *at)
{
    uint64_t output[OUTPUT_MAX / 8];
    uint16_t status;

    memset(output, 0, d->output_size);
    call->output = output;
    status = d->handler(call);
    if (status == HV_STATUS_SUCCESS && plan->output_bytes)
        memcpy(at->output, output, plan->output_bytes);
    return status;
}

static uint32_t chunk(const struct hypercall_descriptor *d, uint32_t left)
{
    uint32_t size = d->element_in > d->element_out ? d->element_in : d->element_out;
    uint32_t fits = size ? ELEMENT_BYTES / size : CHUNK_ELEMENTS;

    return left < fits ? left : fits;
}

// Elements in chunks: copied in, done, copied out, until all are done, one fails or time is up.
static uint16_t run_rep(const struct hypercall_descriptor *d, struct hypercall *call,
                        const struct hypercall_plan *plan, const struct parameters *at)
{
    uint64_t in[ELEMENT_BYTES / 8], out[ELEMENT_BYTES / 8];
    const uint8_t *source = at->input + d->input_size + plan->variable;
    const size_t in_size = d->element_in, out_size = d->element_out;
    uint16_t status;

    call->elements = in;
    call->out_elements = out;
    call->done = plan->start;
    do {
        call->start = call->done;
        call->limit = call->start + chunk(d, plan->count - call->start);
        memcpy(in, source + call->start * in_size, (call->limit - call->start) * in_size);
        memset(out, 0, (call->limit - call->start) * out_size);
        status = d->handler(call);
        if (out_size)
            memcpy(at->output + call->start * out_size, out, (call->done - call->start) * out_size);
    } while (status == HV_STATUS_SUCCESS && call->done < plan->count && call->done > call->start &&
             !hypercall_stop(call));
    return status == HV_STATUS_SUCCESS && call->done < plan->count ? HV_STATUS_RETRY : status;
}

static uint16_t run_copied(const struct hypercall_descriptor *d, struct hypercall *call,
                           const struct hypercall_plan *plan, const struct parameters *at)
{
    uint64_t header[HEADER_MAX / 8];

    call->input = header;
    memcpy(header, at->input, d->input_size + plan->variable);
    return d->kind & HYPERCALL_REP ? run_rep(d, call, plan, at) : run_simple(d, call, plan, at);
}

static uint16_t run(struct vp *vp, const struct hypercall_descriptor *d,
                    const struct hypercall_plan *plan, const struct parameters *at, uint32_t *done)
{
    struct hypercall call;
    uint16_t status;

    call.vp = vp;
    call.caller = vp->partition;
    call.variable = plan->variable;
    call.count = plan->count;
    call.done = 0;
    call.lends = false;
    call.deadline = rdtsc() + tsc_hz / BUDGET_PER_SECOND;
    status = run_copied(d, &call, plan, at);
    if (d->kind & HYPERCALL_REP)
        *done = call.done;
    return status;
}

// An extended call of a child whose parent carries those out.
static inline bool is_parents(const struct partition *p, uint64_t control)
{
    return hv_hypercall_code(control) >= HVCALL_EXT_FIRST && p->intercepts.hypercall &&
           (p->privileges & HV_PRIV_ENABLE_EXTENDED_HYPERCALLS);
}

// A code that no call has. Without the privilege an extended one is denied like those that exist
// (tlfs-reference 1.13): what there is, is not for such a caller to know.
static uint16_t unknown_code(const struct partition *p, uint64_t control)
{
    return hv_hypercall_code(control) >= HVCALL_EXT_FIRST &&
                   !(p->privileges & HV_PRIV_ENABLE_EXTENDED_HYPERCALLS)
               ? HV_STATUS_ACCESS_DENIED
               : HV_STATUS_INVALID_HYPERCALL_CODE;
}

// Everything but the short path. HV_STATUS_RETRY: the instruction is executed again.
static __attribute__((noinline)) void general(struct vp *vp, const struct hypercall_descriptor *d,
                                              uint64_t control, bool wide, uint32_t length)
{
    struct hypercall_plan plan;
    struct parameters at;
    uint32_t done = 0;
    uint16_t status;

    if (unlikely(is_parents(vp->partition, control))) {
        intercept_hypercall(vp, (uint8_t)length);
        return;
    }
    if (unlikely(!d->handler))
        status = unknown_code(vp->partition, control);
    else
        status = d->privilege & ~vp->partition->privileges
                     ? HV_STATUS_ACCESS_DENIED
                     : hypercall_plan(d, control, wide, &plan);
    if (status == HV_STATUS_SUCCESS) {
        done = plan.start;
        if (plan.fast && !offers(vp, &plan)) {
            vp_inject_ud(vp);
            return;
        }
        at.input = at.output = at.registers;
        if (plan.fast)
            load_registers(vp, wide, &plan, &at);
        if (plan.fast || pin_lists(vp, wide, &plan, length, &at, &status)) {
            status = run(vp, d, &plan, &at, &done);
            release(vp, &plan, &at);
            if (plan.fast)
                store_registers(vp, &plan, &at);
        }
    }
    if (status == HV_STATUS_RETRY) {
        if (d->kind & HYPERCALL_REP)
            set_control(vp, wide, hv_hypercall_with_rep_start(control, done));
        vp->dispatch.length = (uint8_t)length;
        vp->dispatch.wide = wide;
        return;
    }
    set_result(vp, wide, hv_hypercall_result(status, done));
    vp_advance(vp, length);
}

// A rep call without output and without a variable header, all of it in registers, from the start.
// This is how a parent answers an intercept.
static inline bool is_listed(const struct hypercall_descriptor *d, uint64_t control, uint32_t count)
{
    return (control & ~(HV_HYPERCALL_CODE_MASK | HV_HYPERCALL_REP_COUNT_MASK)) ==
               HV_HYPERCALL_FAST &&
           count - 1 < d->listed;
}

inline uint32_t hypercall_listed(struct vp *vp, uint64_t control, uint64_t *result)
{
    const struct partition *p = vp->partition;
    uint32_t row = hypercall_row(hv_hypercall_code(control));
    uint32_t count = hv_hypercall_rep_count(control);
    const struct hypercall_descriptor *d = &hypercall_table[row];
    uint64_t registers[REGISTER_BYTES / 8];
    struct hypercall call;
    uint16_t status;

    if (unlikely(!is_listed(d, control, count) || (d->privilege & ~p->privileges) ||
                 !(p->hypercall.value & HV_MSR_HYPERCALL_ENABLE)))
        return HYPERCALL_NOT_FAST;
    vp->hypercall_counters[row]++;
    registers[0] = vp->gpr[RDX];
    registers[1] = vp->gpr[R8];
    xmm_read_block(&registers[2]);
    call.vp = vp;
    call.caller = vp->partition;
    call.input = registers;
    call.elements = (const uint8_t *)registers + d->input_size;
    call.variable = call.start = call.done = 0;
    call.limit = call.count = count;
    call.deadline = UINT64_MAX; // a dozen elements at most
    call.lends = true;
    status = d->handler(&call);
    if (unlikely(status == HV_STATUS_RETRY ||
                 (status == HV_STATUS_SUCCESS && call.done < call.count))) {
        vp->gpr[RCX] = hv_hypercall_with_rep_start(control, call.done);
        return HV_STATUS_RETRY;
    }
    *result = hv_hypercall_result(status, call.done);
    return HV_STATUS_SUCCESS;
}

inline uint32_t hypercall_fast(struct vp *vp, uint64_t control, uint64_t first, uint64_t second)
{
    const struct partition *p = vp->partition;
    uint32_t row = hypercall_row(hv_hypercall_code(control));
    const struct hypercall_descriptor *d = &hypercall_table[row];
    uint64_t words[2] = {first, second};
    struct hypercall call;

    if (unlikely(!(d->kind & HYPERCALL_REGISTERS) || (d->privilege & ~p->privileges) ||
                 !(p->hypercall.value & HV_MSR_HYPERCALL_ENABLE)))
        return HYPERCALL_NOT_FAST;
    vp->hypercall_counters[row]++;
    call.vp = vp;
    call.caller = vp->partition;
    call.input = words;
    call.variable = 0;
    return d->handler(&call);
}

static inline uint64_t control_of(const struct vp *vp, bool wide)
{
    return likely(wide) ? vp->gpr[RCX] : pair(vp, RDX, RAX);
}

void hypercall_continue(struct vp *vp, uint32_t length, bool wide)
{
    uint64_t control = control_of(vp, wide);

    general(vp, &hypercall_table[hypercall_row(hv_hypercall_code(control))], control, wide, length);
}

void hypercall_exit(struct vp *vp, uint32_t length, enum hypercall_caller caller)
{
    const bool wide = caller == HYPERCALL_CALLER_WIDE;
    const struct hypercall_descriptor *d;
    uint64_t control;
    uint32_t row;

    if (unlikely(caller == HYPERCALL_CALLER_ILLEGAL ||
                 !(vp->partition->hypercall.value & HV_MSR_HYPERCALL_ENABLE))) {
        vp_inject_ud(vp);
        return;
    }
    control = control_of(vp, wide);
    row = hypercall_row(hv_hypercall_code(control));
    d = &hypercall_table[row];
    vp->hypercall_counters[row]++;
    general(vp, d, control, wide, length);
}
