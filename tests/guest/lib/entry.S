// SPDX-License-Identifier: BSD-2-Clause-Patent
// From a multiboot 1 or PVH loader (flat 32-bit protected mode) to guest_start in long mode, with
// the first 4 GiB mapped to themselves in 2 MiB pages, for ring 3 too.
#include "layout.h"

        .section .multiboot, "a"
        .balign 4
        .long   0x1badb002, 0x00000003, -(0x1badb002 + 0x00000003)

        .section .note.pvh, "a", @note
        .balign 4
        .long   4, 4, 18                // XEN_ELFNOTE_PHYS32_ENTRY
        .asciz  "Xen"
        .long   pvh_entry

        .bss
        .balign 4096
        .globl  boot_pml4
boot_pml4:
        .skip   4096
        .globl  boot_pdpt
boot_pdpt:
        .skip   4096
        .globl  boot_pd
boot_pd:
        .skip   4 * 4096
        .balign CPU_AREA_SIZE
        .globl  cpu_areas
cpu_areas:
        .skip   CPU_MAX * CPU_AREA_SIZE

        .section .text.entry, "ax"
        .code32
        .globl  pvh_entry
pvh_entry:
        mov     $BOOT_MAGIC_PVH, %eax
        .globl  _start
_start:
        cli
        cld
        mov     %eax, %esi
        mov     $cpu_areas + CPU_AREA_SIZE, %esp

        // All that the loader may have left unzeroed.
        mov     $__bss_start, %edi
        mov     $__bss_end, %ecx
        sub     %edi, %ecx
        xor     %eax, %eax
        rep stosb

        movl    $boot_pdpt + 7, boot_pml4
        mov     $boot_pdpt, %edi
        mov     $boot_pd + 7, %eax
1:      mov     %eax, (%edi)
        add     $8, %edi
        add     $4096, %eax
        cmp     $boot_pd + 4 * 4096, %eax
        jb      1b
        mov     $boot_pd, %edi
        mov     $0x87, %eax             // 2 MiB page, user, writable, present
        mov     $2048, %ecx
2:      mov     %eax, (%edi)
        add     $8, %edi
        add     $0x200000, %eax
        loop    2b

        mov     $boot_pml4, %eax
        mov     %eax, %cr3
        mov     $0x620, %eax            // PAE, OSFXSR, OSXMMEXCPT
        mov     %eax, %cr4
        mov     $0xc0000080, %ecx
        rdmsr
        or      $0x900, %eax            // LME, NXE
        wrmsr
        mov     $0x80010033, %eax       // PG, WP, NE, ET, MP, PE
        mov     %eax, %cr0
        lgdt    boot_gdtr
        ljmp    $SEL_CODE64, $1f

        .code64
1:      mov     $SEL_DATA, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        xor     %eax, %eax
        mov     %eax, %fs
        mov     %eax, %gs
        lldt    %ax
        fninit
        mov     %esi, %edi
        mov     %ebx, %esi
        mov     $cpu_areas + CPU_AREA_SIZE, %rsp
        xor     %ebp, %ebp
        call    guest_start
3:      cli
        hlt
        jmp     3b

        .section .rodata
        .balign 8
        .globl  boot_gdt
boot_gdt:
        .quad   0
        .quad   0x00af9b000000ffff      // 08 64-bit code
        .quad   0x00cf93000000ffff      // 10 data
        .quad   0x00cf9b000000ffff      // 18 32-bit code
        .quad   0x00009b000000ffff      // 20 16-bit code, 64 KiB
        .quad   0x000093000000ffff      // 28 16-bit data, 64 KiB
        .quad   0x00cff3000000ffff      // 30 ring 3 data
        .quad   0x00affb000000ffff      // 38 ring 3 64-bit code
        .globl  boot_gdtr
boot_gdtr:
        .word   8 * GDT_BOOT_ENTRIES - 1
        .quad   boot_gdt
        .section .note.GNU-stack, "", @progbits
