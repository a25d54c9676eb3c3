// SPDX-License-Identifier: BSD-2-Clause-Patent
// How a processor leaves the firmware for the hypervisor, and comes back.
#include "boot/offsets.h"

#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define RFLAGS_IF   0x200

// uint32_t launch_capture(struct launch_context *context, const struct launch_jump *jump)
// Captures this processor, segments excepted, and jumps. Returns launch_context.status, as a guest or
// natively. What a C caller relies on is on this stack, so that any general registers will do.
    .text
    .globl launch_capture
    .hidden launch_capture
    .type launch_capture, @function
launch_capture:
    pushfq
    cli
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    push %rdi
    sub $8, %rsp
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    mov %rsp, CONTEXT_RSP(%rdi)
    lea .Lcontinue(%rip), %rax
    mov %rax, CONTEXT_RIP(%rdi)
    pushfq
    pop CONTEXT_RFLAGS(%rdi)
    mov %cr0, %rax
    mov %rax, CONTEXT_CR0(%rdi)
    mov %cr3, %rax
    mov %rax, CONTEXT_CR3(%rdi)
    mov %cr4, %rax
    mov %rax, CONTEXT_CR4(%rdi)
    sgdt CONTEXT_GDTR(%rdi)
    sidt CONTEXT_IDTR(%rdi)
    mov JUMP_CR3(%rsi), %rdx
    mov JUMP_STACK(%rsi), %rcx
    mov JUMP_ENTRY(%rsi), %rax
    mov JUMP_INFO(%rsi), %rdi
    mov JUMP_TRAMPOLINE(%rsi), %r8
    mov JUMP_CONTEXT(%rsi), %rsi
    jmp *%r8
.Lcontinue:
    cpuid // the resumed guest's first exit: nothing is committed before it
    ldmxcsr (%rsp)
    fldcw 4(%rsp)
    add $8, %rsp
    pop %rdi
    mov CONTEXT_STATUS(%rdi), %eax
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    popfq
    ret
    .size launch_capture, . - launch_capture

// The trampoline: a page of its own in the image's code, which the hypervisor's tables map at its
// physical address, as the firmware's do. Code here is position independent and uses nothing outside.
    .section .text.trampoline, "ax", @progbits
    .balign 4096
    .globl trampoline
    .hidden trampoline
trampoline: // struct trampoline_header
    .quad .Lenter - trampoline
    .quad .Lback - trampoline

// RDX = CR3, RCX = stack, RAX = entry, RDI and RSI = the entry's arguments.
.Lenter:
    mov %rdx, %cr3
    mov %rcx, %rsp
    xor %ebp, %ebp
    jmp *%rax

// RDI = physical address of a launch_context. See include/corbel/launch.h.
.Lback:
    cli
    cld
    movabs $OFFSETS_DIRECT_BASE, %rax
    add %rdi, %rax
    mov CONTEXT_CR0(%rax), %rbx
    mov CONTEXT_CR4(%rax), %rcx
    mov CONTEXT_CR3(%rax), %rdx
    // CR4 first: PCIDE may only be set while CR3[11:0] is 0, as it is in the hypervisor's.
    mov %rcx, %cr4
    mov %rbx, %cr0
    mov %rdx, %cr3
    // From here on the context is at its physical address.
    mov CONTEXT_RSP(%rdi), %rsp
    lgdt CONTEXT_GDTR(%rdi)
    lidt CONTEXT_IDTR(%rdi)
    mov CONTEXT_SS+SEGMENT_SELECTOR(%rdi), %ss
    mov CONTEXT_DS+SEGMENT_SELECTOR(%rdi), %ds
    mov CONTEXT_ES+SEGMENT_SELECTOR(%rdi), %es
    mov CONTEXT_FS+SEGMENT_SELECTOR(%rdi), %fs
    mov CONTEXT_GS+SEGMENT_SELECTOR(%rdi), %gs
    // A selector load need not have left the bases as they were.
    mov $MSR_FS_BASE, %ecx
    mov CONTEXT_FS(%rdi), %eax
    mov CONTEXT_FS+4(%rdi), %edx
    wrmsr
    mov $MSR_GS_BASE, %ecx
    mov CONTEXT_GS(%rdi), %eax
    mov CONTEXT_GS+4(%rdi), %edx
    wrmsr
    lldt CONTEXT_LDTR+SEGMENT_SELECTOR(%rdi)
    // LTR takes no null selector: that is in place already. Any other must be made available before LTR
    // makes it busy again.
    movzwl CONTEXT_TR+SEGMENT_SELECTOR(%rdi), %eax
    mov %eax, %ecx
    and $0xfff8, %ecx
    jz .Lno_tr
    mov CONTEXT_GDTR+TABLE_BASE(%rdi), %rdx
    andb $~2, 5(%rdx,%rcx)
    ltr %ax
.Lno_tr:
    movzwl CONTEXT_CS+SEGMENT_SELECTOR(%rdi), %eax
    push %rax
    lea .Lreloaded(%rip), %rax
    push %rax
    lretq
.Lreloaded:
    mov CONTEXT_RFLAGS(%rdi), %rax
    and $~RFLAGS_IF, %rax
    push %rax
    popfq
    jmp *CONTEXT_RIP(%rdi)
    .balign 4096

    .section .note.GNU-stack,"",@progbits
