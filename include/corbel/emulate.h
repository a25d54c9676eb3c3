// SPDX-License-Identifier: BSD-2-Clause-Patent
// Executes a decoded instruction with one memory operand on register and memory values: the caller
// reads the device register, runs this, and writes the device register. Pure functions.
#ifndef CORBEL_EMULATE_H
#define CORBEL_EMULATE_H

#include "corbel/decode.h"

#include <stdint.h>

enum emulate_access {
    EMULATE_READ = 1 << 0,
    EMULATE_WRITE = 1 << 1,
};

enum {
    EMULATE_REFUSED = -1,
};

/*
 * What the instruction does with its memory operand of d->memory_size bytes: a mask of enum
 * emulate_access, or 0 when emulate_rmw refuses it (no memory operand, two of them, a REP prefix,
 * an operation that is not on the list of enum insn). A read comes before a write of the same
 * bytes.
 */
unsigned emulate_access(const struct decoded *d);

/*
 * Runs d. gpr is in encoding order (RAX RCX RDX RBX RSP RBP RSI RDI R8..R15). memory_in is the
 * operand when emulate_access() has EMULATE_READ, else ignored; *memory_out receives the new
 * operand when it has EMULATE_WRITE, else it is untouched; both in the low d->memory_size bytes,
 * the rest zero. Registers and the status flags of *rflags become what the processor leaves; flags
 * that the SDM calls undefined are kept, or cleared after a logical operation. CMPXCHG writes
 * whether or not the comparison succeeds, as the processor does. RIP is the caller's. Returns 0, or
 * EMULATE_REFUSED with nothing changed.
 */
int emulate_rmw(const struct decoded *d, uint64_t gpr[16], uint64_t *rflags, uint64_t memory_in,
                uint64_t *memory_out);

#endif
