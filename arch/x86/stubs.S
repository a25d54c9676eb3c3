// SPDX-License-Identifier: BSD-2-Clause-Patent
// Interrupt and exception stubs, and the hypervisor's entry from the loader.
#include "corbel/lp_offsets.h"

#define LP_AREA_MASK 0xffffffffffff0000

    .text

// Host IDT: every vector pushes a frame {r15..rax, vector, error code, RIP, CS, RFLAGS, RSP, SS} and
// calls idt_fault, which returns only for an NMI and for a #GP that was expected.
    .globl idt_host_stubs
    .balign 16
idt_host_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if (vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21)
    .byte 0x66, 0x90
    .else
    push $0
    .endif
    push $vector
    jmp host_common
    .set vector, vector + 1
    .endr

host_common:
    .irp reg, rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
    push %\reg
    .endr
    mov %rsp, %rdi
    cld
    mov %rsp, %rbp
    and $-16, %rsp
    call idt_fault
    mov %rbp, %rsp
    .irp reg, r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax
    pop %\reg
    .endr
    add $16, %rsp
    iretq

// Window IDT: every vector sets its bit in lp->accepted, nothing else. The local APIC's EOI follows
// when the window is closed. (An NMI sets the same bit and is told apart by lp->nmi_seen's owner.)
// A vector that pushes an error code as an exception may be an 8259's too: see window_check.
    .globl idt_window_stubs
    .balign 16
idt_window_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    push $vector
    .if (vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21)
    jmp window_check
    .else
    jmp window_common
    .endif
    .set vector, vector + 1
    .endr

// Above the vector lie RIP and CS of an interrupt, or error code and RIP of an exception: no address of
// code is the selector.
window_check:
    cmpq $8, 16(%rsp)
    jne host_common

window_common:
    push %rax
    push %rcx
    mov %rsp, %rax
    and $LP_AREA_MASK, %rax
    mov 16(%rsp), %rcx
    bts %rcx, LP_ACCEPTED(%rax)
    pop %rcx
    pop %rax
    add $8, %rsp
    iretq

// bool rdmsr_safe(uint32_t msr, uint64_t *value): idt_fault sends a #GP at msr_read_at to msr_failed.
    .globl rdmsr_safe, msr_read_at, msr_failed
rdmsr_safe:
    mov %edi, %ecx
msr_read_at:
    rdmsr
    shl $32, %rdx
    or %rdx, %rax
    mov %rax, (%rsi)
    mov $1, %eax
    ret
msr_failed:
    xor %eax, %eax
    ret

// From the loader's trampoline: CR3 is ours, interrupts are off, RSP is the top of this LP's stack,
// RDI struct launch_info, RSI struct launch_context (include/corbel/launch.h).
    .globl hv_entry
    .type hv_entry, @function
hv_entry:
    xor %ebp, %ebp
    cld
    call hv_launch
    ud2

// _Noreturn void launch_leave(uint64_t context_pa, uint64_t back): natively back to the loader.
    .globl launch_leave
launch_leave:
    jmp *%rsi

// void load_segments(void): CS 8, data segments 16; FS and GS are left alone (their bases may still be
// the guest's).
    .globl load_segments
load_segments:
    mov $16, %eax
    mov %eax, %ss
    mov %eax, %ds
    mov %eax, %es
    pop %rax
    push $8
    push %rax
    lretq

// void speculation_fill_returns(void): 32 calls, more than any return predictor remembers; a RET that
// is predicted by one of them goes to an INT3.
    .globl speculation_fill_returns
speculation_fill_returns:
    .rept 32
    call 1f
    int3
1:
    .endr
    add $256, %rsp
    lfence
    ret
    .section .note.GNU-stack, "", @progbits
