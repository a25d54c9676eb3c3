// SPDX-License-Identifier: BSD-2-Clause-Patent
// Interrupt stubs (16 bytes each) and the two ends of trap_try. Position independent.
        .text

// Vectors for which the processor pushes an error code.
        .set    has_error, (1 << 8) | (1 << 10) | (1 << 11) | (1 << 12) | (1 << 13) | (1 << 14) \
                           | (1 << 17) | (1 << 21) | (1 << 29) | (1 << 30)
        .balign 16
        .globl  trap_stubs
trap_stubs:
        .set    vector, 0
        .rept   256
        .balign 16
        .set    pushed, 0
        .if     vector < 32
        .set    pushed, (has_error >> vector) & 1
        .endif
        .if     pushed == 0
        pushq   $0
        .endif
        pushq   $vector
        jmp     trap_common
        .set    vector, vector + 1
        .endr

        .balign 16
trap_common:
        push    %rax
        push    %rcx
        push    %rdx
        push    %rbx
        push    %rbp
        push    %rsi
        push    %rdi
        push    %r8
        push    %r9
        push    %r10
        push    %r11
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        cld
        mov     %rsp, %rdi
        mov     %rsp, %rbx
        and     $-16, %rsp
        call    trap_dispatch
        mov     %rbx, %rsp
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %r11
        pop     %r10
        pop     %r9
        pop     %r8
        pop     %rdi
        pop     %rsi
        pop     %rbp
        pop     %rbx
        pop     %rdx
        pop     %rcx
        pop     %rax
        add     $16, %rsp
        iretq

// uint64_t trap_call(uint64_t *saved_rsp, trap_body *body, void *context): 0, or 1 after a fault,
// when trap_dispatch comes back to trap_recover with the saved stack pointer.
        .globl  trap_call
trap_call:
        push    %rbp
        push    %rbx
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        pushfq
        mov     %rsp, (%rdi)
        mov     %rdx, %rdi
        call    *%rsi
        xor     %eax, %eax
        jmp     1f
        .globl  trap_recover
trap_recover:
        mov     $1, %eax
1:      popfq
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %rbx
        pop     %rbp
        ret
        .section .note.GNU-stack, "", @progbits
