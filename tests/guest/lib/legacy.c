// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "legacy.h"

#include "con.h"
#include "layout.h"

extern uint8_t low_start[], low_legacy[];

void legacy_call(enum legacy_mode mode, const void *code, size_t size, struct legacy_regs *regs)
{
    // Volatile: a constant address this low looks like a null pointer to the compiler.
    uint64_t volatile at = LOW_REGS;
    memcpy((void *)LOW_SNIPPET, code, size);
    memcpy((void *)at, regs, sizeof(*regs));
    ((void (*)(uint64_t))(low_legacy - low_start + LOW_CODE))(mode);
    memcpy(regs, (void *)at, sizeof(*regs));
}
