// SPDX-License-Identifier: BSD-2-Clause-Patent
// Out of long mode and back.
#ifndef GUEST_LEGACY_H
#define GUEST_LEGACY_H

#include <stddef.h>
#include <stdint.h>

enum legacy_mode {
    LEGACY_REAL = 0,   // real mode, segments 0, interrupt table at 0
    LEGACY_PROT16 = 1, // 16-bit protected mode, segments at 0 of 64 KiB, no paging
    LEGACY_PROT32 = 2  // flat 32-bit protected mode, no paging
};

struct legacy_regs {
    uint32_t eax, ecx, edx, ebx, esi, edi, ebp, eflags; // eflags: out only
};

// Copies position-independent code that ends in a near RET to LOW_SNIPPET and runs it with these
// registers; they hold its results afterwards. Interrupts are off.
void legacy_call(enum legacy_mode mode, const void *code, size_t size, struct legacy_regs *regs);

#endif
