// SPDX-License-Identifier: BSD-2-Clause-Patent
// Code that must lie below 1 MiB, copied to LOW_CODE: where application processors start, and the
// way out of long mode and back for legacy_call. Addresses within the copy are LOW(label).
#include "layout.h"
#define LOW(label) (label - low_start + LOW_CODE)

        .section .text.low, "ax"
        .globl  low_start
low_start:
// ---- an application processor, CS = LOW_CODE >> 4, IP = 0 -----------------------------------
        .code16
        cli
        cld
        xor     %ax, %ax
        mov     %ax, %ds
        lgdtl   LOW(low_gdtr)
        mov     %cr0, %eax
        and     $0x9fffffff, %eax       // caches on: INIT leaves CD and NW set
        or      $1, %eax
        mov     %eax, %cr0
        ljmpl   $SEL_CODE32, $LOW(1f)
        .code32
1:      mov     $SEL_DATA, %eax
        mov     %eax, %ds
        mov     %eax, %ss
        mov     $0x620, %eax
        mov     %eax, %cr4
        mov     LOW(low_ap_cr3), %eax
        mov     %eax, %cr3
        mov     $0xc0000080, %ecx
        rdmsr
        or      $0x900, %eax
        wrmsr
        mov     $0x80010033, %eax
        mov     %eax, %cr0
        ljmp    $SEL_CODE64, $LOW(2f)
        .code64
2:      mov     $SEL_DATA, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        xor     %eax, %eax
        mov     %eax, %fs
        mov     %eax, %gs
        fninit
        mov     LOW(low_ap_stack), %rsp
        xor     %ebp, %ebp
        mov     $smp_ap_start, %rax
        call    *%rax
        ud2

        .balign 8
        .globl  low_gdtr
low_gdtr:
        .word   8 * GDT_BOOT_ENTRIES - 1
        .long   LOW(low_gdt)
        .balign 8
        .globl  low_ap_cr3
low_ap_cr3:
        .quad   0
        .globl  low_ap_stack
low_ap_stack:
        .quad   0
        .globl  low_gdt
low_gdt:
        .skip   64                      // copy of boot_gdt: an LGDT in real mode reaches 1 MiB
low_real_idtr:
        .word   0x3ff
        .long   0

// ---- legacy_call: EBX = mode (enum legacy_mode), from 64-bit code at LOW(low_legacy) ---------
        .balign 16
        .globl  low_legacy
low_legacy:
        .code64
        push    %rbx
        push    %rbp
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        pushfq
        cli
        sub     $32, %rsp
        sidt    (%rsp)
        sgdt    16(%rsp)
        mov     %rsp, LOW(legacy_rsp)
        mov     %edi, %ebx
        // An LGDT in real mode would cut the base to 24 bits; use the low copy throughout.
        lgdt    LOW(low_gdtr64)
        mov     $LOW_STACK, %esp
        pushq   $SEL_CODE32
        pushq   $LOW(1f)
        lretq
        .code32
1:      mov     %cr0, %eax
        and     $0x7fffffff, %eax
        mov     %eax, %cr0
        mov     $0xc0000080, %ecx
        rdmsr
        and     $~0x100, %eax
        wrmsr
        mov     $SEL_DATA, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     $LOW_STACK, %esp
        cmp     $1, %ebx
        jb      legacy_real
        je      legacy_prot16

        // Flat 32-bit protected mode without paging.
        call    legacy_load32
        push    %eax
        mov     $LOW_SNIPPET, %eax
        xchg    %eax, (%esp)
        call    *(%esp)
        lea     4(%esp), %esp
        call    legacy_store32
legacy_back:
        mov     $0xc0000080, %ecx
        rdmsr
        or      $0x100, %eax
        wrmsr
        mov     %cr0, %eax
        or      $0x80000000, %eax
        mov     %eax, %cr0
        ljmp    $SEL_CODE64, $LOW(2f)
        .code64
2:      mov     LOW(legacy_rsp), %rsp
        lgdt    16(%rsp)
        lidt    (%rsp)
        mov     $SEL_DATA, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        add     $32, %rsp
        popfq
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %rbp
        pop     %rbx
        ret

        .code32
// Registers from and to LOW_REGS: EAX ECX EDX EBX ESI EDI EBP EFLAGS.
legacy_load32:
        mov     LOW_REGS + 4, %ecx
        mov     LOW_REGS + 8, %edx
        mov     LOW_REGS + 12, %ebx
        mov     LOW_REGS + 16, %esi
        mov     LOW_REGS + 20, %edi
        mov     LOW_REGS + 24, %ebp
        mov     LOW_REGS, %eax
        ret
legacy_store32:
        mov     %eax, LOW_REGS
        mov     %ecx, LOW_REGS + 4
        mov     %edx, LOW_REGS + 8
        mov     %ebx, LOW_REGS + 12
        mov     %esi, LOW_REGS + 16
        mov     %edi, LOW_REGS + 20
        mov     %ebp, LOW_REGS + 24
        pushf
        popl    LOW_REGS + 28
        ret

legacy_prot16:
        ljmp    $SEL_CODE16, $LOW(3f)
        .code16
3:      mov     $SEL_DATA16, %ax
        mov     %ax, %ds
        mov     %ax, %es
        mov     %ax, %ss
        call    legacy_call16
        ljmpl   $SEL_CODE32, $LOW(legacy_flat)

        .code32
legacy_real:
        ljmp    $SEL_CODE16, $LOW(4f)
        .code16
4:      mov     $SEL_DATA16, %ax
        mov     %ax, %ds
        mov     %ax, %es
        mov     %ax, %ss
        mov     %cr0, %eax
        and     $~1, %eax
        mov     %eax, %cr0
        ljmp    $0, $LOW(5f)
5:      xor     %ax, %ax
        mov     %ax, %ds
        mov     %ax, %es
        mov     %ax, %ss
        lidtl   LOW(low_real_idtr)
        call    legacy_call16
        cli
        xor     %ax, %ax
        mov     %ax, %ds
        lgdtl   LOW(low_gdtr)
        mov     %cr0, %eax
        or      $1, %eax
        mov     %eax, %cr0
        ljmpl   $SEL_CODE32, $LOW(legacy_flat)

        .code32
legacy_flat:
        mov     $SEL_DATA, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     $LOW_STACK, %esp
        jmp     legacy_back

        .code16
legacy_call16:
        mov     LOW_REGS + 4, %ecx
        mov     LOW_REGS + 8, %edx
        mov     LOW_REGS + 12, %ebx
        mov     LOW_REGS + 16, %esi
        mov     LOW_REGS + 20, %edi
        mov     LOW_REGS + 24, %ebp
        mov     LOW_REGS, %eax
        pushw   $LOW(6f)
        pushw   $LOW_SNIPPET
        ret
6:      mov     %eax, LOW_REGS
        mov     %ecx, LOW_REGS + 4
        mov     %edx, LOW_REGS + 8
        mov     %ebx, LOW_REGS + 12
        mov     %esi, LOW_REGS + 16
        mov     %edi, LOW_REGS + 20
        mov     %ebp, LOW_REGS + 24
        pushfl
        popl    %eax
        mov     %eax, LOW_REGS + 28
        ret

        .balign 8
low_gdtr64:
        .word   8 * GDT_BOOT_ENTRIES - 1
        .quad   LOW(low_gdt)
legacy_rsp:
        .quad   0
        .globl  low_end
low_end:
        .section .note.GNU-stack, "", @progbits
