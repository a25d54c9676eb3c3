// SPDX-License-Identifier: BSD-2-Clause-Patent
// Numbers that C and assembly share: selectors, low memory, per-processor areas.
#ifndef GUEST_LAYOUT_H
#define GUEST_LAYOUT_H

#define SEL_CODE64       0x08
#define SEL_DATA         0x10
#define SEL_CODE32       0x18
#define SEL_CODE16       0x20
#define SEL_DATA16       0x28
#define SEL_USER_DATA    0x33
#define SEL_USER_CODE64  0x3b
#define SEL_TSS          0x40
#define GDT_BOOT_ENTRIES 8 // before the TSS

// Low memory. The page of LOW_CODE is also where application processors start (SIPI vector 8).
#define LOW_REGS        0x6000 // struct legacy_regs of legacy_call
#define LOW_STACK       0x7ff0 // stack of what runs outside long mode, grows down
#define LOW_CODE        0x8000 // copy of low.S
#define LOW_SNIPPET     0xa000 // code that legacy_call runs
#define LOW_SNIPPET_MAX 0x1000
#define SIPI_VECTOR     (LOW_CODE >> 12)

// A processor's area: struct percpu at its base, the #DF and NMI stacks, then the main stack.
#define CPU_AREA_SHIFT 15
#define CPU_AREA_SIZE  (1 << CPU_AREA_SHIFT)
#define CPU_MAX        8
#define CPU_DF_STACK   0x2000
#define CPU_NMI_STACK  0x3000

#define BOOT_MAGIC_MULTIBOOT 0x2badb002
#define BOOT_MAGIC_PVH       0x336ec578

#endif
