// SPDX-License-Identifier: BSD-2-Clause-Patent
// World switch on AMD (APM 2 15.5). The hypervisor runs with GIF clear and RFLAGS.IF set: under
// V_INTR_MASKING the host's IF at VMRUN is the mask of physical interrupts, and GIF keeps them (and
// NMI, SMI) away until a window is opened.
//
// The hot window: from here until svm_unload_guest(), FS, GS, TR, LDTR, KERNEL_GS_BASE and the SYSCALL
// and SYSENTER MSRs are still the guest's. Allowed in it: anything that uses neither of them, takes no
// interrupt and raises no fault; an exception without IST still lands in the panic handler, one with
// IST (NMI, #DF, #MC) would look for its stack through the guest's TR. Hence STGI comes after svm_unload_guest(). From one VP to the
// next the window stays open.
#include "corbel/run_gprs.S"

    .text

// void svm_loop(struct vp *vp): enters the guest, and after each exit the VP that svm_exit() names.
    .globl svm_loop
    .type svm_loop, @function
    .balign 64
svm_loop:
    ENTER_LOOP
enter:
    mov VP_HW_PA(%rdi), %rax
    LOAD_GPRS %rdi
    mov VP_GPR(7)(%rdi), %rdi
    vmrun %rax
    mov (%rsp), %rax
    SAVE_GPRS %rax
    mov %rdi, VP_GPR(7)(%rax)
    mov %rax, %rdi
    call svm_exit
    mov %rax, %rdi
    mov %rax, (%rsp)
    test %rax, %rax
    jnz enter
    LEAVE_LOOP
    .size svm_loop, . - svm_loop

// void svm_window(void): lets pending interrupts (one or more), NMIs and SMIs in.
    .globl svm_window
svm_window:
    stgi
    nop
    nop
    clgi
    ret

// void svm_window_masked(void): NMIs and SMIs only; with IF set it would swallow device interrupts.
    .globl svm_window_masked
svm_window_masked:
    cli
    stgi
    nop
    nop
    clgi
    sti
    ret

// void svm_halt(void): sleeps until an interrupt, which the STI shadow lets in only at HLT.
    .globl svm_halt
svm_halt:
    cli
    stgi
    sti
    hlt
    clgi
    ret
    .section .note.GNU-stack, "", @progbits
