// SPDX-License-Identifier: BSD-2-Clause-Patent
// Assembly of the world switch that is the same on both vendors: run.S of svm/ and vmx/.
#include "corbel/vp_offsets.h"

// What a C function keeps, and the VP, on top of the stack.
    .macro ENTER_LOOP
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    push %rdi
    .endm

    .macro LEAVE_LOOP
    pop %rdi
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
    .endm

// The guest's general registers from and to struct vp at `vp`, but RAX, RSP and RDI.
    .macro LOAD_GPRS vp
    mov VP_GPR(1)(\vp), %rcx
    mov VP_GPR(2)(\vp), %rdx
    mov VP_GPR(3)(\vp), %rbx
    mov VP_GPR(5)(\vp), %rbp
    mov VP_GPR(6)(\vp), %rsi
    mov VP_GPR(8)(\vp), %r8
    mov VP_GPR(9)(\vp), %r9
    mov VP_GPR(10)(\vp), %r10
    mov VP_GPR(11)(\vp), %r11
    mov VP_GPR(12)(\vp), %r12
    mov VP_GPR(13)(\vp), %r13
    mov VP_GPR(14)(\vp), %r14
    mov VP_GPR(15)(\vp), %r15
    .endm

    .macro SAVE_GPRS vp
    mov %rcx, VP_GPR(1)(\vp)
    mov %rdx, VP_GPR(2)(\vp)
    mov %rbx, VP_GPR(3)(\vp)
    mov %rbp, VP_GPR(5)(\vp)
    mov %rsi, VP_GPR(6)(\vp)
    mov %r8, VP_GPR(8)(\vp)
    mov %r9, VP_GPR(9)(\vp)
    mov %r10, VP_GPR(10)(\vp)
    mov %r11, VP_GPR(11)(\vp)
    mov %r12, VP_GPR(12)(\vp)
    mov %r13, VP_GPR(13)(\vp)
    mov %r14, VP_GPR(14)(\vp)
    mov %r15, VP_GPR(15)(\vp)
    .endm
