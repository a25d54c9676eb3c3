// SPDX-License-Identifier: BSD-2-Clause-Patent
// World switch on Intel (SDM 3C 27, 28). The hypervisor runs with RFLAGS.IF clear; an exit loads all
// host state that it uses, so unlike on AMD nothing of the guest's is left but registers that the
// hypervisor never reads. An NMI may come at any time and only notes itself.
#include "corbel/lp_offsets.h"
#include "corbel/run_gprs.S"

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
    ENTER_LOOP
    mov %rsp, %rax
    and $LP_AREA_MASK, %rax
    mov %rsp, LP_HOST_RSP(%rax)
    mov $VMCS_HOST_RSP, %eax
    vmwrite %rsp, %rax
enter:
    mov VP_HW(%rdi), %rax
    LOAD_GPRS %rdi
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
    SAVE_GPRS %rdi
    pop VP_GPR(7)(%rdi)
    call vmx_exit
next:
    mov %rax, %rdi
    mov %rax, (%rsp)
    test %rax, %rax
    jnz enter
    LEAVE_LOOP
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
