// SPDX-License-Identifier: BSD-2-Clause-Patent
// What guests tell and ask the virtualization stack: extended hypercalls (TLFS: Extended Hypercall
// Interface; tlfs-reference 1.1) and crashes (TLFS: Guest Crash Enlightenment).
#include "hv/msr.h"
#include "root/lib/mem.h"
#include "root/log.h"
#include "root/vmexit.h"

#define CRASH_LINE       160u
#define CRASH_PARAMETERS 5u

// ---- extended hypercalls -----------------------------------------------------------------------

void vm_note_zeroed(struct vm *vm, const struct load_result *loaded)
{
    struct hv_output_get_boot_zeroed_memory *zeroed = &vm->zeroed;

    zeroed->range_count = 0;
    for (uint32_t i = 0; i < loaded->untouched_count; i++) {
        const struct load_range *range = &loaded->untouched[i];
        zeroed->range[zeroed->range_count++] = (struct hv_boot_zeroed_range){
            range->gpa >> HV_PAGE_SHIFT, range->size >> HV_PAGE_SHIFT};
    }
}

// The answer of a call and its size. NULL: there is no such call.
static const void *answer_of(const struct vm *vm, uint64_t control, uint32_t *size)
{
    static const uint64_t capabilities = HV_EXT_CAPABILITY_GET_BOOT_ZEROED_MEMORY;

    switch (hv_hypercall_code(control)) {
    case HVCALL_EXT_QUERY_CAPABILITIES:
        *size = sizeof capabilities;
        return &capabilities;
    case HVCALL_EXT_GET_BOOT_ZEROED_MEMORY:
        *size = sizeof vm->zeroed;
        return &vm->zeroed;
    default:
        return NULL;
    }
}

static uint16_t carry_out(const struct vm *vm, uint64_t control, uint64_t output)
{
    uint32_t size = 0;
    const void *answer = answer_of(vm, control, &size);
    void *to;

    if (!answer) {
        return HV_STATUS_INVALID_HYPERCALL_CODE;
    }
    if (control >> 16) { // fast, reps, a variable header, reserved bits
        return HV_STATUS_INVALID_HYPERCALL_INPUT;
    }
    to = guest_memory_at(&vm->memory, output, size);
    if ((output & 7) || (output & HV_PAGE_MASK) + size > HV_PAGE_SIZE || !to) {
        return HV_STATUS_INVALID_ALIGNMENT;
    }
    memcpy(to, answer, size);
    return HV_STATUS_SUCCESS;
}

void vmexit_hypercall(struct vm *vm, const struct hv_message *message,
                      struct call_registers *resume)
{
    const struct hv_x64_hypercall_intercept_message *call = (const void *)message->payload;
    const bool wide = (call->header.execution_state & HV_EXECUTION_STATE_EFER_LMA) &&
                      (call->header.cs.attributes & HV_SEGMENT_LONG);
    const uint64_t control = wide ? call->rcx : call->rdx << 32 | (uint32_t)call->rax;
    const uint64_t output = wide ? call->r8 : call->rdi << 32 | (uint32_t)call->rsi;

    call_registers_add(resume, HV_REGISTER_RAX, carry_out(vm, control, output));
    if (!wide) {
        call_registers_add(resume, HV_REGISTER_RDX, 0);
    }
    call_registers_add(resume, HV_REGISTER_RIP, vmexit_next_rip(&call->header));
    vmexit_complete(resume, &call->header);
}

// ---- crashes -----------------------------------------------------------------------------------

// The guest's text, line by line, printable characters only: it goes to somebody's terminal.
static void show_text(const struct vm *vm, uint64_t gpa, uint64_t size)
{
    char line[CRASH_LINE + 1];
    uint32_t used = 0;

    size = size < HV_CRASH_MESSAGE_MAX_BYTES ? size : HV_CRASH_MESSAGE_MAX_BYTES;
    for (uint64_t i = 0; i <= size; i++) {
        const char *c = i < size ? guest_memory_at(&vm->memory, gpa + i, 1) : NULL;
        const bool printable = c && *c >= ' ' && *c <= '~';
        if (printable) {
            line[used++] = *c;
        }
        if (used == CRASH_LINE || (used && (!c || *c == '\n'))) {
            line[used] = 0;
            root_log_guest(vm->conf.name, line);
            used = 0;
        }
        if (!c) {
            return;
        }
    }
}

void vmexit_crash(struct vm *vm, uint32_t vp, uint64_t control)
{
    uint32_t names[CRASH_PARAMETERS];
    union hv_register_value value[CRASH_PARAMETERS];

    for (uint32_t i = 0; i < CRASH_PARAMETERS; i++) {
        names[i] = HV_REGISTER_GUEST_CRASH_P(i);
    }
    if (call_get_registers(vm->account.partition, vp, names, CRASH_PARAMETERS, value) !=
        HV_STATUS_SUCCESS) {
        root_log("vm %s: VP %u reports a crash", vm->conf.name, vp);
        return;
    }
    root_log("vm %s: VP %u reports a crash: %lx %lx %lx %lx %lx", vm->conf.name, vp, value[0].reg64,
             value[1].reg64, value[2].reg64, value[3].reg64, value[4].reg64);
    if (control & HV_CRASH_CTL_CRASH_MESSAGE) {
        show_text(vm, value[3].reg64, value[4].reg64);
    }
}
