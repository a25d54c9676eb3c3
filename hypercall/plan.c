// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/hypercall.h"

// Input takes slots from the first one, output from the next free one (tlfs-reference 0.2). Output
// in registers exists for 64-bit callers only.
static bool plan_fast(bool wide, struct hypercall_plan *p)
{
    p->xmm_input = p->input_bytes > HYPERCALL_SLOT;
    p->register_output = p->output_bytes != 0;
    p->output_offset = (p->input_bytes + HYPERCALL_SLOT - 1) / HYPERCALL_SLOT * HYPERCALL_SLOT;
    if (p->input_bytes > HV_HYPERCALL_FAST_MAX_BYTES || (p->register_output && !wide))
        return false;
    return p->output_offset + p->output_bytes <= HV_HYPERCALL_FAST_MAX_BYTES;
}

uint16_t hypercall_plan(const struct hypercall_descriptor *d, uint64_t control, bool wide,
                        struct hypercall_plan *p)
{
    bool rep = d->kind & HYPERCALL_REP;

    p->fast = hv_hypercall_is_fast(control);
    p->xmm_input = p->register_output = false;
    p->variable = hv_hypercall_varhead(control) * 8;
    p->start = hv_hypercall_rep_start(control);
    p->count = hv_hypercall_rep_count(control);
    p->output_offset = 0;
    if (control & (HV_HYPERCALL_RESERVED_MASK | HV_HYPERCALL_NESTED))
        return HV_STATUS_INVALID_HYPERCALL_INPUT;
    if (rep ? p->start >= p->count : (p->start | p->count) != 0)
        return HV_STATUS_INVALID_HYPERCALL_INPUT;
    if (p->variable > (d->kind & HYPERCALL_VARIABLE ? HYPERCALL_VARIABLE_MAX : 0))
        return HV_STATUS_INVALID_HYPERCALL_INPUT;
    p->input_bytes = d->input_size + p->variable + p->count * d->element_in;
    p->output_bytes = d->output_size + p->count * d->element_out;
    if (p->fast && !plan_fast(wide, p))
        return HV_STATUS_INVALID_HYPERCALL_INPUT;
    return HV_STATUS_SUCCESS;
}
