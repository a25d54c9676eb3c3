// SPDX-License-Identifier: BSD-2-Clause-Patent
// A task switch in software (SDM 3A 8.3, 3C 26.4.2): the processor has checked gate, selector,
// type, presence and limit of the new TSS before it exits; what follows is done here. Pure: memory
// and CR3 are reached through the caller.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "hv/registers.h"

enum task_source { TASK_CALL = 0, TASK_IRET = 1, TASK_JUMP = 2, TASK_GATE = 3 }; // as qualified

enum task_segment { TASK_ES, TASK_CS, TASK_SS, TASK_DS, TASK_FS, TASK_GS, TASK_LDTR, TASK_TR };

// Legacy protected mode. EIP is that to which the old task returns.
struct task_cpu {
    uint32_t gpr[8]; // in the order of their numbers
    uint32_t eip, eflags, cr3;
    bool paging;
    struct hv_x64_segment_register segment[8];
    uint64_t gdt_base;
    uint32_t gdt_limit;
};

// Access to linear memory as by supervisor code. False: it cannot be done, and the guest has its
// fault already.
struct task_memory {
    bool (*read)(void *context, uint64_t linear, void *buffer, uint32_t size);
    bool (*write)(void *context, uint64_t linear, const void *buffer, uint32_t size);
    void (*set_cr3)(void *context, uint32_t cr3); // what is read next is read through it
    void *context;
};

enum task_outcome {
    TASK_DONE,
    TASK_TRAP,       // done, and the new task wants a debug trap (T)
    TASK_BAD,        // done, but a segment cannot be loaded: `vector` with `error` in the new task
    TASK_NO_MEMORY,  // before the new task has begun: the old one is as it was
    TASK_LOST_MEMORY // in the new task
};

// Carries out the switch of `cpu` to the TSS with this selector.
enum task_outcome task_switch(struct task_cpu *cpu, const struct task_memory *memory,
                              uint16_t selector, enum task_source source, uint32_t *vector,
                              uint32_t *error);

// Pushes the error code of the exception whose task gate this was, in the width of the new task.
// False: no memory.
bool task_push(struct task_cpu *cpu, const struct task_memory *memory, uint32_t error);
