// SPDX-License-Identifier: BSD-2-Clause-Patent
// memcpy and its kin. The compiler calls them; string instructions are small and, on every processor
// with SVM or VMX, fast.
    .text
    .globl memcpy, memmove, memset, memcmp
    .type memcpy, @function
    .type memmove, @function
    .type memset, @function
    .type memcmp, @function
memcpy:
    mov %rdi, %rax
    mov %rdx, %rcx
    shr $3, %rcx
    rep movsq
    mov %edx, %ecx
    and $7, %ecx
    rep movsb
    ret
memmove:
    mov %rdi, %rax
    mov %rdx, %rcx
    mov %rdi, %r8
    sub %rsi, %r8
    cmp %rdx, %r8
    jb 1f
    rep movsb
    ret
1:  lea -1(%rdi,%rdx), %rdi
    lea -1(%rsi,%rdx), %rsi
    std
    rep movsb
    cld
    ret
memset:
    mov %rdi, %r8
    movzbl %sil, %eax
    mov $0x0101010101010101, %r9
    imul %r9, %rax
    mov %rdx, %rcx
    shr $3, %rcx
    rep stosq
    mov %edx, %ecx
    and $7, %ecx
    rep stosb
    mov %r8, %rax
    ret
memcmp:
    xor %eax, %eax
    mov %rdx, %rcx
    test %rcx, %rcx
    jz 2f
    repe cmpsb
    jz 2f
    movzbl -1(%rdi), %eax
    movzbl -1(%rsi), %ecx
    sub %ecx, %eax
2:  ret
    .section .note.GNU-stack, "", @progbits
