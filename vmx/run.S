// SPDX-License-Identifier: BSD-2-Clause-Patent
// World switch on Intel (SDM 3C 27, 28). The hypervisor runs with RFLAGS.IF clear; an exit loads all
// host state that it uses, so unlike on AMD nothing of the guest's is left but registers that the
// hypervisor never reads. An NMI may come at any time and only notes itself.
#include "corbel/lp_offsets.h"
#include "corbel/vp_offsets.h"

#define VMCS_HOST_RSP 0x6c14
#define LP_AREA_MASK  0xffffffffffff0000
#define VMX_LAUNCHED  64 // struct vmx_vp

    .text

// void vmx_loop(struct vp *vp): enters the guest, and after each exit the VP that vmx_exit() names.
// At an exit the processor continues at vmx_host_entry with the RSP that is noted here: a VP that
// takes over within the loop gets it from vmx_next().
    .globl vmx_loop
    .type vmx_loop, @function
    .balign 64
vmx_loop:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    push %rdi
    mov %rsp, %rax
    and $LP_AREA_MASK, %rax
    mov %rsp, LP_HOST_RSP(%rax)
    mov $VMCS_HOST_RSP, %eax
    vmwrite %rsp, %rax
enter:
    mov VP_HW(%rdi), %rax
    mov VP_GPR(1)(%rdi), %rcx
    mov VP_GPR(2)(%rdi), %rdx
    mov VP_GPR(3)(%rdi), %rbx
    mov VP_GPR(5)(%rdi), %rbp
    mov VP_GPR(6)(%rdi), %rsi
    mov VP_GPR(8)(%rdi), %r8
    mov VP_GPR(9)(%rdi), %r9
    mov VP_GPR(10)(%rdi), %r10
    mov VP_GPR(11)(%rdi), %r11
    mov VP_GPR(12)(%rdi), %r12
    mov VP_GPR(13)(%rdi), %r13
    mov VP_GPR(14)(%rdi), %r14
    mov VP_GPR(15)(%rdi), %r15
    cmpb $0, VMX_LAUNCHED(%rax)
    je launch
    mov VP_GPR(0)(%rdi), %rax
    mov VP_GPR(7)(%rdi), %rdi
    vmresume
    jmp failed
launch:
    movb $1, VMX_LAUNCHED(%rax)
    mov VP_GPR(0)(%rdi), %rax
    mov VP_GPR(7)(%rdi), %rdi
    vmlaunch
failed:
    mov (%rsp), %rdi
    call vmx_entry_failed
    jmp next

    .globl vmx_host_entry
    .balign 64
vmx_host_entry:
    push %rdi
    mov 8(%rsp), %rdi
    mov %rax, VP_GPR(0)(%rdi)
    mov %rcx, VP_GPR(1)(%rdi)
    mov %rdx, VP_GPR(2)(%rdi)
    mov %rbx, VP_GPR(3)(%rdi)
    mov %rbp, VP_GPR(5)(%rdi)
    mov %rsi, VP_GPR(6)(%rdi)
    mov %r8, VP_GPR(8)(%rdi)
    mov %r9, VP_GPR(9)(%rdi)
    mov %r10, VP_GPR(10)(%rdi)
    mov %r11, VP_GPR(11)(%rdi)
    mov %r12, VP_GPR(12)(%rdi)
    mov %r13, VP_GPR(13)(%rdi)
    mov %r14, VP_GPR(14)(%rdi)
    mov %r15, VP_GPR(15)(%rdi)
    pop VP_GPR(7)(%rdi)
    call vmx_exit
next:
    mov %rax, %rdi
    mov %rax, (%rsp)
    test %rax, %rax
    jnz enter
    pop %rdi
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
    .size vmx_loop, . - vmx_loop

// void vmx_window(void): lets pending interrupts (one or more) in. The instruction behind STI still has
// them held back.
    .globl vmx_window
vmx_window:
    sti
    nop
    nop
    cli
    ret

// void vmx_halt(void): sleeps until an interrupt, which the STI shadow lets in only at HLT.
    .globl vmx_halt
vmx_halt:
    sti
    hlt
    cli
    ret

// void vmx_unblock_nmi(void): an exit by NMI leaves NMIs blocked until the next IRET (SDM 3C 28.5.5).
    .globl vmx_unblock_nmi
vmx_unblock_nmi:
    mov %rsp, %rax
    mov %ss, %ecx
    push %rcx
    push %rax
    pushfq
    mov %cs, %ecx
    push %rcx
    lea 1f(%rip), %rax
    push %rax
    iretq
1:
    ret
    .section .note.GNU-stack, "", @progbits
