// SPDX-License-Identifier: BSD-2-Clause-Patent
// Intercept messages, by table: contract in vmexit.h. Port accesses and first touches of memory are
// on measured paths: no firmware, no clock, one hypercall each to go on.
#include "root/vmexit.h"

#include "hv/msr.h"
#include "root/balloon.h"
#include "root/devices.h"
#include "root/dispatch.h"
#include "root/log.h"

enum { VECTOR_DB = 1, VECTOR_UD = 6, VECTOR_GP = 13, RFLAGS_TF = 1 << 8 };
#define DR6_SINGLE_STEP UINT64_C(0xffff4ff0) // reset value with BS

typedef void handler(struct vm *vm, const struct hv_message *message,
                     struct call_registers *resume);

// ---- building the answer -----------------------------------------------------------------------

uint64_t vmexit_next_rip(const struct hv_x64_intercept_message_header *header)
{
    const uint64_t rip = header->rip + (header->length_cr8 & HV_INTERCEPT_LENGTH_MASK);

    if ((header->execution_state & HV_EXECUTION_STATE_EFER_LMA) &&
        (header->cs.attributes & HV_SEGMENT_LONG)) {
        return rip;
    }
    return header->cs.attributes & HV_SEGMENT_DEFAULT ? (uint32_t)rip : (uint16_t)rip;
}

void vmexit_resume(struct call_registers *resume)
{
    call_registers_add(resume, HV_REGISTER_INTERCEPT_SUSPEND, 0);
}

void vmexit_inject(struct call_registers *resume, uint8_t vector, bool has_error, uint32_t error,
                   uint64_t parameter)
{
    const uint64_t event = HV_PENDING_EVENT_PENDING |
                           (uint64_t)HV_PENDING_EVENT_EXCEPTION << HV_PENDING_EVENT_TYPE_SHIFT |
                           (has_error ? HV_PENDING_EXCEPTION_DELIVER_ERROR_CODE : 0) |
                           (uint64_t)vector << HV_PENDING_EXCEPTION_VECTOR_SHIFT |
                           (uint64_t)error << HV_PENDING_EXCEPTION_ERROR_CODE_SHIFT;

    call_registers_add128(resume, HV_REGISTER_PENDING_EVENT0, event, parameter);
    vmexit_resume(resume);
}

void vmexit_complete(struct call_registers *resume,
                     const struct hv_x64_intercept_message_header *header)
{
    if (header->rflags & RFLAGS_TF) {
        vmexit_inject(resume, VECTOR_DB, false, 0, DR6_SINGLE_STEP);
    } else {
        vmexit_resume(resume);
    }
}

static void advance(struct call_registers *resume,
                    const struct hv_x64_intercept_message_header *header)
{
    call_registers_add(resume, HV_REGISTER_RIP, vmexit_next_rip(header));
    vmexit_complete(resume, header);
}

// ---- ports -------------------------------------------------------------------------------------

static void handle_port(struct vm *vm, const struct hv_message *message,
                        struct call_registers *resume)
{
    const struct hv_x64_io_port_intercept_message *port = (const void *)message->payload;
    const unsigned size = port->access_info & HV_IO_PORT_ACCESS_SIZE_MASK;
    const bool is_write = port->header.access_type == HV_INTERCEPT_ACCESS_WRITE;
    uint32_t value = (uint32_t)port->rax;

    if (port->access_info & HV_IO_PORT_ACCESS_STRING) {
        emulate_port_string(vm, port, resume);
        return;
    }
    if (!chipset_pio(&vm->chipset, port->port_number, size, is_write, &value)) {
        vm_fail(vm, "port access of %u bytes", size);
        return;
    }
    if (!is_write) { // a 4-byte read clears the upper half, narrower ones leave the rest
        const uint64_t kept = size == 4 ? 0 : port->rax & ~(UINT64_MAX >> (64 - 8 * size));
        call_registers_add(resume, HV_REGISTER_RAX, kept | value);
    }
    advance(resume, &port->header);
}

// ---- memory ------------------------------------------------------------------------------------

static __attribute__((noinline, cold)) bool bring_back(struct vm *vm, uint64_t gpa)
{
    if (balloon_back(devices_balloon(vm), gpa)) {
        return true;
    }
    vm_fail(vm, "the machine has no memory left for GPA %lx", gpa);
    return false;
}

bool vmexit_map(struct vm *vm, const struct load_ram *piece, uint64_t gpa)
{
    const bool large = vm->conf.lazy != CONF_LAZY_4K;
    struct guest_run run = guest_touch_run(&vm->memory, piece, gpa, large);

    if (__builtin_expect(run.count == 0, 0)) {
        if (!bring_back(vm, gpa)) {
            return false;
        }
        run = guest_touch_run(&vm->memory, piece, gpa, large);
    }
    const uint16_t status = vm_map_run(vm, &run);
    if (status != HV_STATUS_SUCCESS) {
        vm_fail(vm, "mapping GPA %lx failed, status %x", gpa, (unsigned)status);
    }
    return status == HV_STATUS_SUCCESS;
}

// An access that no instruction can be completed for, because none made it: the processor did, for
// a page table or the frame of an interrupt, where there is no memory. On a machine that ends in a
// triple fault. The bytes of the instruction come only where they are to blame.
static bool is_hopeless(const struct hv_x64_memory_intercept_message *memory)
{
    return (memory->header.execution_state & HV_EXECUTION_STATE_INTERRUPTION_PENDING) ||
           (!(memory->memory_access_info & HV_MEMORY_ACCESS_GVA_VALID) &&
            memory->instruction_byte_count == 0);
}

// A hypercall whose parameters are where there is no memory ends with a status (TLFS: Hypercall
// Inputs); its intercept is the one that tells a length without bytes.
static bool is_hypercall(const struct hv_x64_memory_intercept_message *memory)
{
    return (memory->header.length_cr8 & HV_INTERCEPT_LENGTH_MASK) &&
           !(memory->memory_access_info & HV_MEMORY_ACCESS_GVA_VALID) &&
           memory->instruction_byte_count == 0;
}

static void refuse_hypercall(const struct hv_x64_memory_intercept_message *memory,
                             struct call_registers *resume)
{
    const bool wide = (memory->header.execution_state & HV_EXECUTION_STATE_EFER_LMA) &&
                      (memory->header.cs.attributes & HV_SEGMENT_LONG);

    call_registers_add(resume, HV_REGISTER_RAX, HV_STATUS_INVALID_ALIGNMENT);
    if (!wide) {
        call_registers_add(resume, HV_REGISTER_RDX, 0);
    }
    advance(resume, &memory->header);
}

static void handle_unmapped(struct vm *vm, const struct hv_message *message,
                            struct call_registers *resume)
{
    const struct hv_x64_memory_intercept_message *memory = (const void *)message->payload;
    const uint64_t gpa = memory->guest_physical_address;
    const struct load_ram *piece = guest_memory_find(&vm->memory, gpa);

    if (piece) {
        if (vmexit_map(vm, piece, gpa)) {
            vmexit_resume(resume);
        }
    } else if (memory->header.access_type == HV_INTERCEPT_ACCESS_EXECUTE) {
        vmexit_inject(resume, VECTOR_UD, false, 0, 0); // all ones are no instruction
    } else if (is_hypercall(memory)) {
        refuse_hypercall(memory, resume);
    } else if (is_hopeless(memory)) {
        root_log("vm %s: VP %u cannot go on: GPA %lx is no memory, RIP %lx", vm->conf.name,
                 memory->header.vp_index, gpa, memory->header.rip);
        vm_request(vm, VM_RESET);
    } else {
        emulate_memory(vm, memory, resume);
    }
}

static void handle_rights(struct vm *vm, const struct hv_message *message,
                          struct call_registers *resume)
{
    const struct hv_x64_memory_intercept_message *memory = (const void *)message->payload;

    (void)resume;
    vm_fail(vm, "VP %u may not access GPA %lx (access %u, RIP %lx)", memory->header.vp_index,
            memory->guest_physical_address, memory->header.access_type, memory->header.rip);
}

// ---- the rest ----------------------------------------------------------------------------------

static void handle_msr(struct vm *vm, const struct hv_message *message,
                       struct call_registers *resume)
{
    const struct hv_x64_msr_intercept_message *msr = (const void *)message->payload;
    const bool is_write = msr->header.access_type == HV_INTERCEPT_ACCESS_WRITE;

    if (is_write && msr->msr_number == HV_X64_MSR_RESET) {
        if (msr->rax & HV_MSR_RESET_RESET) {
            vm_request(vm, VM_RESET);
        }
        advance(resume, &msr->header);
    } else if (is_write && msr->msr_number == HV_X64_MSR_CRASH_CTL) {
        vmexit_crash(vm, msr->header.vp_index, msr->rdx << 32 | (uint32_t)msr->rax);
        advance(resume, &msr->header);
    } else {
        vmexit_inject(resume, VECTOR_GP, true, 0, 0);
    }
}

static void handle_unrecoverable(struct vm *vm, const struct hv_message *message,
                                 struct call_registers *resume)
{
    const struct hv_x64_intercept_message_header *header = (const void *)message->payload;

    (void)resume;
    root_log("vm %s: triple fault on VP %u, RIP %lx", vm->conf.name, header->vp_index, header->rip);
    vm_request(vm, VM_RESET);
}

static void handle_invalid_register(struct vm *vm, const struct hv_message *message,
                                    struct call_registers *resume)
{
    const struct hv_x64_invalid_vp_register_message *invalid = (const void *)message->payload;

    (void)resume;
    vm_fail(vm, "VP %u cannot run in its present state", invalid->vp_index);
}

static void handle_unsupported(struct vm *vm, const struct hv_message *message,
                               struct call_registers *resume)
{
    const struct hv_x64_unsupported_feature_message *feature = (const void *)message->payload;

    (void)resume;
    vm_fail(vm, "VP %u uses what the hypervisor lacks (feature %u, parameter %lx)",
            feature->vp_index, feature->feature_code, feature->feature_parameter);
}

// The VP did not stop for this one.
static void handle_eoi(struct vm *vm, const struct hv_message *message,
                       struct call_registers *resume)
{
    const struct hv_x64_apic_eoi_message *eoi = (const void *)message->payload;

    (void)resume;
    chipset_eoi(&vm->chipset, (uint8_t)eoi->interrupt_vector);
}

// ---- dispatch ----------------------------------------------------------------------------------

// In the order of how often they come. Every payload begins with the VP's index.
static const struct {
    uint32_t type;
    uint8_t payload_size; // at least
    uint8_t event;        // enum vm_event
    handler *handle;
} handlers[] = {
    {HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT, sizeof(struct hv_x64_io_port_intercept_message),
     VM_EVENT_PORT, handle_port},
    {HV_MESSAGE_TYPE_UNMAPPED_GPA, sizeof(struct hv_x64_memory_intercept_message), VM_EVENT_MEMORY,
     handle_unmapped},
    {HV_MESSAGE_TYPE_X64_APIC_EOI, sizeof(struct hv_x64_apic_eoi_message), VM_EVENT_EOI,
     handle_eoi},
    {HV_MESSAGE_TYPE_MSR_INTERCEPT, sizeof(struct hv_x64_msr_intercept_message), VM_EVENT_MSR,
     handle_msr},
    {HV_MESSAGE_TYPE_GPA_INTERCEPT, sizeof(struct hv_x64_memory_intercept_message), VM_EVENT_MEMORY,
     handle_rights},
    {HV_MESSAGE_TYPE_HYPERCALL_INTERCEPT, sizeof(struct hv_x64_hypercall_intercept_message),
     VM_EVENT_OTHER, vmexit_hypercall},
    {HV_MESSAGE_TYPE_UNRECOVERABLE_EXCEPTION, sizeof(struct hv_x64_intercept_message_header),
     VM_EVENT_OTHER, handle_unrecoverable},
    {HV_MESSAGE_TYPE_INVALID_VP_REGISTER_VALUE, sizeof(struct hv_x64_invalid_vp_register_message),
     VM_EVENT_OTHER, handle_invalid_register},
    {HV_MESSAGE_TYPE_UNSUPPORTED_FEATURE, sizeof(struct hv_x64_unsupported_feature_message),
     VM_EVENT_OTHER, handle_unsupported},
};

static void handle_unknown(struct vm *vm, const struct hv_message *message)
{
    if (dispatch_signal(message)) {
        return;
    }
    vm_fail(vm, "message of type %x and %u bytes", message->header.message_type,
            message->header.payload_size);
}

void vmexit_handle(const struct hv_message *message, struct call_registers *resume)
{
    struct vm *vm = vm_find(message->header.origination_id);
    const uint32_t vp = *(const uint32_t *)message->payload;
    const unsigned count = sizeof handlers / sizeof handlers[0];
    unsigned i = 0;

    resume->count = 0;
    if (!vm || vm->end != VM_RUNS) {
        return; // it was on its way when the VM ended
    }
    while (i < count && handlers[i].type != message->header.message_type) {
        i++;
    }
    if (i == count || message->header.payload_size < handlers[i].payload_size ||
        vp >= vm->conf.vps) {
        handle_unknown(vm, message);
        return;
    }
    vm->events[vp][handlers[i].event]++;
    call_registers_start(resume, vm->account.partition, vp);
    handlers[i].handle(vm, message, resume);
    if (vm->end != VM_RUNS) {
        resume->count = 0;
    }
}
