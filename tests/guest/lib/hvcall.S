// SPDX-License-Identifier: BSD-2-Clause-Patent
// uint64_t hv_call(uint64_t control, uint64_t first, uint64_t second)
        .text
        .globl  hv_call
hv_call:
        mov     %rdx, %r8
        mov     %rsi, %rdx
        mov     %rdi, %rcx
        mov     hv_page(%rip), %rax
        jmp     *%rax

// uint64_t hv_call_xmm(uint64_t control, uint64_t block[14])
        .globl  hv_call_xmm
hv_call_xmm:
        push    %rbx
        mov     %rsi, %rbx
        mov     %rdi, %rcx
        mov     (%rbx), %rdx
        mov     8(%rbx), %r8
        movups  16(%rbx), %xmm0
        movups  32(%rbx), %xmm1
        movups  48(%rbx), %xmm2
        movups  64(%rbx), %xmm3
        movups  80(%rbx), %xmm4
        movups  96(%rbx), %xmm5
        mov     hv_page(%rip), %rax
        call    *%rax
        mov     %rdx, (%rbx)
        mov     %r8, 8(%rbx)
        movups  %xmm0, 16(%rbx)
        movups  %xmm1, 32(%rbx)
        movups  %xmm2, 48(%rbx)
        movups  %xmm3, 64(%rbx)
        movups  %xmm4, 80(%rbx)
        movups  %xmm5, 96(%rbx)
        pop     %rbx
        ret
        .section .note.GNU-stack, "", @progbits
