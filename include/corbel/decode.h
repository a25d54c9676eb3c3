// SPDX-License-Identifier: BSD-2-Clause-Patent
// The one instruction decoder. It finds the exact length of any x86 instruction (SDM 2, chapter 2
// and appendix A; APM 3, appendix A) and describes the operands of the few that the hypervisor
// completes itself. Pure functions: no state, no allocation, safe on any LP at any time.
#ifndef CORBEL_DECODE_H
#define CORBEL_DECODE_H

#include <stdbool.h>
#include <stdint.h>

/* From CS.D, CS.L and EFER.LMA. Real and virtual-8086 mode are DECODE_16. */
enum decode_mode {
    DECODE_16,
    DECODE_32,
    DECODE_64,
};

enum decode_status {
    DECODE_OK = 0,
    DECODE_TRUNCATED = -1, /* a longer sequence may be an instruction: more bytes are needed */
    DECODE_INVALID = -2,   /* no instruction (#UD), or longer than 15 bytes (#GP) */
};

enum {
    DECODE_MAX_LENGTH = 15,
    DECODE_NO_REGISTER = 0xFF,
};

enum decode_prefix {
    DECODE_PREFIX_LOCK = 1 << 0,
    DECODE_PREFIX_REPNE = 1 << 1, /* F2; of F2 and F3 only the last one is reported */
    DECODE_PREFIX_REP = 1 << 2,   /* F3 */
    DECODE_PREFIX_OPERAND = 1 << 3,
    DECODE_PREFIX_ADDRESS = 1 << 4,
    DECODE_PREFIX_SEGMENT = 1 << 5, /* an override that the mode obeys */
};

/* Segment registers in the order of their encoding. */
enum decode_segment {
    DECODE_ES,
    DECODE_CS,
    DECODE_SS,
    DECODE_DS,
    DECODE_FS,
    DECODE_GS,
};

enum decode_encoding {
    DECODE_LEGACY,
    DECODE_VEX,
    DECODE_XOP,
    DECODE_EVEX,
};

/*
 * What the hypervisor needs to tell apart. Everything else is INSN_OTHER: its length is exact and
 * its operation unknown. The eight of group 1 keep the order of ModRM.reg.
 */
enum insn {
    INSN_OTHER,
    INSN_ADD,
    INSN_OR,
    INSN_ADC,
    INSN_SBB,
    INSN_AND,
    INSN_SUB,
    INSN_XOR,
    INSN_CMP,
    INSN_TEST,
    INSN_MOV, /* general registers, immediates and memory only */
    INSN_MOVZX,
    INSN_MOVSX, /* and MOVSXD */
    INSN_XCHG,
    INSN_INC,
    INSN_DEC,
    INSN_NOT,
    INSN_NEG,
    INSN_BT,
    INSN_BTS,
    INSN_BTR,
    INSN_BTC,
    INSN_CMPXCHG,
    INSN_XADD,
    INSN_STOS,
    INSN_LODS,
    INSN_MEMORY_LAST = INSN_LODS, /* up to here emulate.h can complete a memory operand */
    INSN_MOVS,
    INSN_CMPS,
    INSN_SCAS,
    INSN_INS,
    INSN_OUTS,
    INSN_IN,
    INSN_OUT,
    INSN_PUSH,
    INSN_POP,
    INSN_PUSHF,
    INSN_POPF,
    INSN_INT, /* INT n; immediate holds the vector */
    INSN_INT1,
    INSN_INT3,
    INSN_INTO,
    INSN_IRET,
    INSN_HLT,
    INSN_PAUSE,
    INSN_CPUID,
    INSN_RDMSR,
    INSN_WRMSR,
    INSN_RDTSC,
    INSN_RDTSCP,
    INSN_RDPMC,
    INSN_RDPRU,
    INSN_MOV_FROM_CR, /* reg is the CR (LOCK adds 8 on AMD: APM 3), rm the general register */
    INSN_MOV_TO_CR,
    INSN_MOV_FROM_DR,
    INSN_MOV_TO_DR,
    INSN_CLTS,
    INSN_LMSW,
    INSN_SMSW,
    INSN_SGDT,
    INSN_SIDT,
    INSN_LGDT,
    INSN_LIDT,
    INSN_SLDT,
    INSN_STR,
    INSN_LLDT,
    INSN_LTR,
    INSN_INVLPG,
    INSN_INVLPGA,
    INSN_INVPCID,
    INSN_INVD,
    INSN_WBINVD,  /* and WBNOINVD */
    INSN_MONITOR, /* and MONITORX */
    INSN_MWAIT,   /* and MWAITX */
    INSN_XSETBV,
    INSN_RSM,
    INSN_VMCALL,
    INSN_VMMCALL,
    INSN_VMRUN,
    INSN_VMLOAD,
    INSN_VMSAVE,
    INSN_STGI,
    INSN_CLGI,
    INSN_SKINIT,
};

/* How the operands of a memory instruction are arranged. "rm" may also be a register. */
enum decode_form {
    FORM_NONE,
    FORM_RM_REG, /* rm is the destination, reg the source */
    FORM_REG_RM, /* reg is the destination, rm the source */
    FORM_RM_IMM, /* rm is the destination, immediate the source */
    FORM_RM,     /* rm is the only operand */
};

/*
 * One decoded instruction. Registers are numbered as encoded: RAX RCX RDX RBX RSP RBP RSI RDI
 * R8..R15. Memory fields hold the encoded operand: for VEX, XOP and EVEX instructions an index may
 * be a vector register and an 8-bit EVEX displacement is not scaled, so only their length is of
 * use.
 */
struct decoded {
    uint8_t length;   /* bytes, 1..15 */
    uint8_t mode;     /* enum decode_mode */
    uint8_t encoding; /* enum decode_encoding */
    uint8_t map;      /* 0 one-byte, 1 0F, 2 0F38, 3 0F3A; VEX, XOP, EVEX: the map field */
    uint8_t opcode;
    uint8_t insn;         /* enum insn */
    uint8_t form;         /* enum decode_form */
    uint8_t prefixes;     /* mask of enum decode_prefix */
    uint8_t rex;          /* the effective REX byte, or 0; for VEX, XOP and EVEX its equivalent */
    uint8_t modrm;        /* valid when has_modrm */
    uint8_t reg;          /* ModRM.reg with REX.R; 0 (the accumulator) for moffs, STOS, LODS */
    uint8_t rm;           /* ModRM.rm with REX.B, when has_modrm and not has_memory */
    uint8_t operand_size; /* bytes: 1, 2, 4, 8 */
    uint8_t address_size; /* bytes: 2, 4, 8 */
    uint8_t memory_size;  /* bytes read or written at the operand; 0 when form is FORM_NONE */
    uint8_t segment;      /* enum decode_segment of the memory operand */
    uint8_t base;         /* register or DECODE_NO_REGISTER */
    uint8_t index;        /* register or DECODE_NO_REGISTER */
    uint8_t scale;        /* the index is multiplied by 1 << scale */
    bool has_modrm;
    bool has_memory;
    bool rip_relative;
    bool byte_high;       /* reg 4..7 means AH, CH, DH, BH (a byte instruction without REX) */
    uint16_t selector;    /* far pointers: the segment; ENTER: the level */
    int64_t displacement; /* sign-extended; the offset itself for moffs */
    uint64_t immediate;   /* extended to 64 bits as the instruction does */
};

/*
 * Decodes the instruction that starts at bytes[0]; reads no more than count bytes and no more than
 * DECODE_MAX_LENGTH. Returns an enum decode_status; *out is meaningful only for DECODE_OK.
 * A success does not promise that the processor executes the instruction: features that are absent
 * and reserved vector encodings still decode. LOCK is checked (SDM 2, LOCK). APX (REX2, EVEX map 4)
 * and VEX map 7 are DECODE_INVALID: no partition is offered them. With an operand size prefix in
 * 64-bit mode, near branches have the 32-bit displacement of the SDM, not the 16-bit one of the
 * APM.
 */
int decode(const uint8_t *bytes, unsigned count, enum decode_mode mode, struct decoded *out);

/*
 * The linear address of the memory operand (has_memory). next_rip is the address of the following
 * instruction, segment_base the base of d->segment (0 in 64-bit mode but for FS and GS). The offset
 * wraps at the address size, the sum at 32 bits outside 64-bit mode. For BT and its kin with a
 * register bit offset this is the address of the operand-sized unit that holds the bit.
 */
uint64_t effective_address(const struct decoded *d, const uint64_t gpr[16], uint64_t next_rip,
                           uint64_t segment_base);

#endif
