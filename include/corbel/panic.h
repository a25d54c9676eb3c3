// SPDX-License-Identifier: BSD-2-Clause-Patent
// The frame of a host exception, and the end it leads to.
#pragma once

#include <stdint.h>

struct fault_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error_code;
    uint64_t rip, cs, rflags, rsp, ss;
};

_Noreturn void panic_fault(const struct fault_frame *frame);
