// SPDX-License-Identifier: BSD-2-Clause-Patent
// Intercept messages: what a VM's processors could not do by themselves. TLFS: Intercepts
#pragma once
#include "hv/message.h"
#include "root/vm.h"

// Handles a message in its slot, which stays as it is. What the VP needs to go on is left in
// *resume for call_set_registers(), once the slot is free; nothing (count 0) when it is not to go
// on.
void vmexit_handle(const struct hv_message *message, struct call_registers *resume);

// Sets what vmexit_handle() has left, so that the VP goes on; nothing if there is nothing.
static inline void vmexit_answer(const struct call_registers *resume)
{
    if (resume->count) {
        const uint16_t status = call_set_registers(resume);
        if (status != HV_STATUS_SUCCESS) {
            vm_fail(vm_find(resume->header.partition_id), "resuming VP %u failed, status %x",
                    resume->header.vp_index, (unsigned)status);
        }
    }
}

// ---- for the handlers --------------------------------------------------------------------------

// RIP behind the instruction of a message whose header gives its length.
uint64_t vmexit_next_rip(const struct hv_x64_intercept_message_header *header);

// Adds an exception to *resume, taken at the instruction that was intercepted.
void vmexit_inject(struct call_registers *resume, uint8_t vector, bool has_error, uint32_t error,
                   uint64_t parameter);

// Maps the run of RAM around a GPA that was touched for the first time. False: vm_fail() was
// called.
bool vmexit_map(struct vm *vm, const struct load_ram *piece, uint64_t gpa);

// Lets the VP run on.
void vmexit_resume(struct call_registers *resume);

// The same after the instruction has been completed: a single step ends there with #DB.
void vmexit_complete(struct call_registers *resume,
                     const struct hv_x64_intercept_message_header *header);

// ---- guestcall.c: what guests tell and ask -----------------------------------------------------

// An extended hypercall: answers it.
void vmexit_hypercall(struct vm *vm, const struct hv_message *message,
                      struct call_registers *resume);
// The guest has written HV_CRASH_CTL_*: logs its parameters and its text.
void vmexit_crash(struct vm *vm, uint32_t vp, uint64_t control);

// ---- emulate.c: instructions that are not done by the message alone ----------------------------

// An access to memory that is not RAM.
void emulate_memory(struct vm *vm, const struct hv_x64_memory_intercept_message *message,
                    struct call_registers *resume);
// INS or OUTS.
void emulate_port_string(struct vm *vm, const struct hv_x64_io_port_intercept_message *message,
                         struct call_registers *resume);
