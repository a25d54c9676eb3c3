// SPDX-License-Identifier: BSD-2-Clause-Patent
// Completes the instruction that a guest could not: an access to a device's memory (from a memory
// intercept message) or to ports (from an I/O port intercept message). Only what drivers use on
// device memory is here: MOV in its forms, MOVZX, MOVSX, MOVNTI, the eight two-operand arithmetic
// and logical instructions, TEST, XCHG, and the string instructions MOVS, STOS, LODS, INS, OUTS.
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum emul_register {
    EMUL_RAX,
    EMUL_RCX,
    EMUL_RDX,
    EMUL_RBX,
    EMUL_RSP,
    EMUL_RBP,
    EMUL_RSI,
    EMUL_RDI, // R8 to R15 follow
    EMUL_REGISTERS = 16,
};

enum emul_segment { EMUL_ES, EMUL_CS, EMUL_SS, EMUL_DS, EMUL_FS, EMUL_GS, EMUL_SEGMENTS };

// Sets of registers: bit n is gpr[n].
enum {
    EMUL_ALL_GPRS = (1 << EMUL_REGISTERS) - 1,
    EMUL_ALL_BASES = 1 << EMUL_REGISTERS, // segment_base[]
};

struct emul_registers {
    uint64_t gpr[EMUL_REGISTERS];
    uint32_t changed; // those of gpr[] that were written are added
    uint64_t rip, rflags;
    uint64_t segment_base[EMUL_SEGMENTS]; // read by string instructions only
    bool cs_long;                         // EFER.LMA and CS.L: 64-bit code
    bool cs_default;                      // CS.D: 32-bit code, unless cs_long
};

// Where the data is. Values are little-endian in the low bytes.
struct emul_bus {
    void *ctx;
    // Fills in these registers, which are about to be read, before anything else happens. False:
    // they cannot be had (EMUL_UNKNOWN). NULL: all are there.
    bool (*fetch)(void *ctx, uint32_t registers);
    // A linear address by the guest's page tables and for its privilege level. False: the guest
    // must take a page fault there, which is for the owner to inject.
    bool (*translate)(void *ctx, uint64_t linear, bool is_write, uint64_t *gpa);
    // Guest RAM, size 1 to 8, within one page. False if the GPA is not RAM: it is a device's then.
    bool (*ram)(void *ctx, uint64_t gpa, unsigned size, bool is_write, uint64_t *value);
    // Device memory, size 1, 2, 4 or 8, within one page (chipset_mmio).
    void (*device)(void *ctx, uint64_t gpa, unsigned size, bool is_write, uint64_t *value);
    // A port, size 1, 2 or 4 (chipset_pio).
    void (*port)(void *ctx, uint16_t port, unsigned size, bool is_write, uint32_t *value);
};

enum emul_result {
    EMUL_DONE,    // completed, RIP is behind it
    EMUL_AGAIN,   // a repeated instruction did its share: registers moved on, RIP did not; run on
    EMUL_FAULT,   // translate() said no: registers are those before the element that faulted
    EMUL_SHORT,   // the instruction is longer than the bytes given; nothing changed
    EMUL_UNKNOWN, // not an instruction for this; nothing changed
};

// A repeated string instruction moves at most this much in one call.
enum { EMUL_SHARE = 4096 };

// Completes a memory access at `gpa` (the intercept message's). `bytes` are `count` (0..16) bytes
// from RIP on. The operand must lie within a page. String instructions find their operands by
// translation, whatever `gpa` says. Segment limits are not checked, no single-step trap is raised.
enum emul_result emul_memory(struct emul_registers *registers, const uint8_t *bytes, unsigned count,
                             uint64_t gpa, const struct emul_bus *bus);

// Completes INS or OUTS, with or without repetition; the port is DX.
enum emul_result emul_port_string(struct emul_registers *registers, const uint8_t *bytes,
                                  unsigned count, const struct emul_bus *bus);

// Completes IN or OUT of 1, 2 or 4 bytes by an instruction of `length` bytes (all of it is in the
// intercept message).
void emul_port(struct emul_registers *registers, uint16_t port, unsigned size, bool is_write,
               unsigned length, const struct emul_bus *bus);
