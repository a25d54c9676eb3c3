// SPDX-License-Identifier: BSD-2-Clause-Patent
// The virtual machine control block (APM 2 appendix B) and the numbers that go with it.
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SVM_INTERCEPT_READ_CR8 = 1u << 8,   // in intercept_cr, low half: reads
    SVM_INTERCEPT_WRITE_CR4 = 1u << 20, // high half: writes
    SVM_INTERCEPT_WRITE_CR8 = 1u << 24,
};

enum { // intercept_misc1
    SVM_INTERCEPT_INTR = 1u << 0,
    SVM_INTERCEPT_NMI = 1u << 1,
    SVM_INTERCEPT_SMI = 1u << 2,
    SVM_INTERCEPT_INIT = 1u << 3,
    SVM_INTERCEPT_VINTR = 1u << 4,
    SVM_INTERCEPT_READ_IDTR = 1u << 6,
    SVM_INTERCEPT_READ_GDTR = 1u << 7,
    SVM_INTERCEPT_READ_LDTR = 1u << 8,
    SVM_INTERCEPT_READ_TR = 1u << 9,
    SVM_INTERCEPT_RDPMC = 1u << 15,
    SVM_INTERCEPT_CPUID = 1u << 18,
    SVM_INTERCEPT_IRET = 1u << 20,
    SVM_INTERCEPT_INVD = 1u << 22,
    SVM_INTERCEPT_PAUSE = 1u << 23,
    SVM_INTERCEPT_HLT = 1u << 24,
    SVM_INTERCEPT_INVLPGA = 1u << 26,
    SVM_INTERCEPT_IOIO = 1u << 27,
    SVM_INTERCEPT_MSR = 1u << 28
};
#define SVM_INTERCEPT_SHUTDOWN (1u << 31)

enum { // intercept_misc2
    SVM_INTERCEPT_VMRUN = 1u << 0,
    SVM_INTERCEPT_VMMCALL = 1u << 1,
    SVM_INTERCEPT_VMLOAD = 1u << 2,
    SVM_INTERCEPT_VMSAVE = 1u << 3,
    SVM_INTERCEPT_STGI = 1u << 4,
    SVM_INTERCEPT_CLGI = 1u << 5,
    SVM_INTERCEPT_SKINIT = 1u << 6,
    SVM_INTERCEPT_ICEBP = 1u << 8,
    SVM_INTERCEPT_MONITOR = 1u << 10,
    SVM_INTERCEPT_MWAIT = 1u << 11,
    SVM_INTERCEPT_MWAIT_ARMED = 1u << 12,
    SVM_INTERCEPT_XSETBV = 1u << 13
};

enum { // vintr, 64 bits
    SVM_VINTR_TPR_MASK = 0xf,
    SVM_VINTR_IRQ = 1u << 8,
    SVM_VINTR_PRIORITY_SHIFT = 16,
    SVM_VINTR_PRIORITY_MASK = 0xfu << 16,
    SVM_VINTR_IGNORE_TPR = 1u << 20,
    SVM_VINTR_MASKING = 1u << 24,
    SVM_VINTR_VECTOR_SHIFT = 32
};

enum { SVM_TLB_KEEP = 0, SVM_TLB_FLUSH_ALL = 1, SVM_TLB_FLUSH_ASID = 3 };

enum {
    SVM_NP_ENABLE = 1u << 0,
    SVM_SHADOW = 1u << 0 // interrupt_shadow
};

enum { // EVENTINJ and EXITINTINFO
    SVM_EVENT_VECTOR = 0xff,
    SVM_EVENT_TYPE_SHIFT = 8,
    SVM_EVENT_TYPE_MASK = 7u << 8,
    SVM_EVENT_INTERRUPT = 0,
    SVM_EVENT_NMI = 2,
    SVM_EVENT_EXCEPTION = 3,
    SVM_EVENT_SOFTWARE = 4,
    SVM_EVENT_ERROR_VALID = 1u << 11
};
// Reads and writes of DR0-3, writes of DR7.
#define SVM_INTERCEPT_DEBUG 0x008f000fu

#define SVM_EVENT_VALID (1u << 31)

enum svm_exit_code {
    SVM_EXIT_READ_CR0 = 0x00,
    SVM_EXIT_WRITE_CR0 = 0x10,
    SVM_EXIT_WRITE_CR4 = 0x14,
    SVM_EXIT_WRITE_CR8 = 0x18,
    SVM_EXIT_READ_DR0 = 0x20,
    SVM_EXIT_WRITE_DR7 = 0x37,
    SVM_EXIT_EXCEPTION = 0x40,
    SVM_EXIT_EXCEPTION_LAST = 0x5f,
    SVM_EXIT_INTR = 0x60,
    SVM_EXIT_NMI = 0x61,
    SVM_EXIT_SMI = 0x62,
    SVM_EXIT_INIT = 0x63,
    SVM_EXIT_VINTR = 0x64,
    SVM_EXIT_READ_IDTR = 0x66,
    SVM_EXIT_READ_GDTR = 0x67,
    SVM_EXIT_READ_LDTR = 0x68,
    SVM_EXIT_READ_TR = 0x69,
    SVM_EXIT_RDPMC = 0x6f,
    SVM_EXIT_CPUID = 0x72,
    SVM_EXIT_IRET = 0x74,
    SVM_EXIT_INVD = 0x76,
    SVM_EXIT_PAUSE = 0x77,
    SVM_EXIT_HLT = 0x78,
    SVM_EXIT_INVLPGA = 0x7a,
    SVM_EXIT_IOIO = 0x7b,
    SVM_EXIT_MSR = 0x7c,
    SVM_EXIT_SHUTDOWN = 0x7f,
    SVM_EXIT_VMRUN = 0x80,
    SVM_EXIT_VMMCALL = 0x81,
    SVM_EXIT_SKINIT = 0x86,
    SVM_EXIT_ICEBP = 0x88,
    SVM_EXIT_MONITOR = 0x8a,
    SVM_EXIT_MWAIT = 0x8b,
    SVM_EXIT_MWAIT_ARMED = 0x8c,
    SVM_EXIT_XSETBV = 0x8d,
    SVM_EXIT_NPF = 0x400
};
#define SVM_EXIT_INVALID 0xfffffffffffffffful

enum { // EXITINFO1 of IOIO
    SVM_IO_IN = 1u << 0,
    SVM_IO_STRING = 1u << 2,
    SVM_IO_REP = 1u << 3,
    SVM_IO_SIZE_SHIFT = 4, // one-hot: bytes
    SVM_IO_SIZE_MASK = 7u << 4,
    SVM_IO_PORT_SHIFT = 16
};

enum { // EXITINFO1 of NPF
    SVM_NPF_PRESENT = 1u << 0,
    SVM_NPF_WRITE = 1u << 1,
    SVM_NPF_RESERVED = 1u << 3,
    SVM_NPF_FETCH = 1u << 4
};
enum { SVM_CR_REGISTER = 0xf };  // EXITINFO1 of MOV CR, with decode assists: general register
#define SVM_CR_MOV   (1ul << 63) // it was MOV, and the number is there
#define SVM_NPF_WALK (1ul << 33) // while walking the guest's page tables

struct vmcb_segment {
    uint16_t selector;
    uint16_t attributes; // descriptor bits 47:40 in 7:0, 55:52 in 11:8
    uint32_t limit;
    uint64_t base;
};

struct vmcb {
    uint32_t intercept_cr;         // 000
    uint32_t intercept_dr;         // 004
    uint32_t intercept_exceptions; // 008
    uint32_t intercept_misc1;      // 00c
    uint32_t intercept_misc2;      // 010
    uint32_t intercept_misc3;      // 014
    uint8_t reserved_18[0x3c - 0x18];
    uint16_t pause_threshold;  // 03c
    uint16_t pause_count;      // 03e
    uint64_t iopm_base;        // 040
    uint64_t msrpm_base;       // 048
    uint64_t tsc_offset;       // 050
    uint32_t asid;             // 058
    uint32_t tlb_control;      // 05c
    uint64_t vintr;            // 060
    uint64_t interrupt_shadow; // 068
    uint64_t exit_code;        // 070
    uint64_t exit_info1;       // 078
    uint64_t exit_info2;       // 080
    uint64_t exit_int_info;    // 088
    uint64_t nested_control;   // 090
    uint64_t avic_bar;         // 098
    uint64_t ghcb;             // 0a0
    uint64_t event_inject;     // 0a8
    uint64_t nested_cr3;       // 0b0
    uint64_t lbr_control;      // 0b8
    uint64_t clean;            // 0c0
    uint64_t next_rip;         // 0c8
    uint8_t fetched_count;     // 0d0
    uint8_t fetched_bytes[15]; // 0d1
    uint8_t reserved_e0[0x400 - 0xe0];
    struct vmcb_segment es; // 400
    struct vmcb_segment cs;
    struct vmcb_segment ss;
    struct vmcb_segment ds;
    struct vmcb_segment fs;
    struct vmcb_segment gs;
    struct vmcb_segment gdtr;
    struct vmcb_segment ldtr;
    struct vmcb_segment idtr;
    struct vmcb_segment tr; // 490
    uint8_t reserved_4a0[0x4cb - 0x4a0];
    uint8_t cpl; // 4cb
    uint32_t reserved_4cc;
    uint64_t efer; // 4d0
    uint8_t reserved_4d8[0x548 - 0x4d8];
    uint64_t cr4;    // 548
    uint64_t cr3;    // 550
    uint64_t cr0;    // 558
    uint64_t dr7;    // 560
    uint64_t dr6;    // 568
    uint64_t rflags; // 570
    uint64_t rip;    // 578
    uint8_t reserved_580[0x5d8 - 0x580];
    uint64_t rsp;                 // 5d8
    uint64_t s_cet;               // 5e0
    uint64_t ssp;                 // 5e8
    uint64_t interrupt_ssp_table; // 5f0
    uint64_t rax;                 // 5f8
    uint64_t star;                // 600
    uint64_t lstar;
    uint64_t cstar;
    uint64_t sfmask;
    uint64_t kernel_gs_base; // 620
    uint64_t sysenter_cs;
    uint64_t sysenter_esp;
    uint64_t sysenter_eip;
    uint64_t cr2; // 640
    uint8_t reserved_648[0x668 - 0x648];
    uint64_t g_pat;    // 668
    uint64_t debugctl; // 670
    uint8_t reserved_678[0x6e0 - 0x678];
    uint64_t spec_ctrl; // 6e0: the processor's, or ours where it does not know it
    uint8_t reserved_6e8[0x1000 - 0x6e8];
};
static_assert(offsetof(struct vmcb, iopm_base) == 0x40, "VMCB");
static_assert(offsetof(struct vmcb, exit_code) == 0x70, "VMCB");
static_assert(offsetof(struct vmcb, event_inject) == 0xa8, "VMCB");
static_assert(offsetof(struct vmcb, next_rip) == 0xc8, "VMCB");
static_assert(offsetof(struct vmcb, fetched_count) == 0xd0, "VMCB");
static_assert(offsetof(struct vmcb, es) == 0x400, "VMCB");
static_assert(offsetof(struct vmcb, cpl) == 0x4cb, "VMCB");
static_assert(offsetof(struct vmcb, efer) == 0x4d0, "VMCB");
static_assert(offsetof(struct vmcb, cr4) == 0x548, "VMCB");
static_assert(offsetof(struct vmcb, rip) == 0x578, "VMCB");
static_assert(offsetof(struct vmcb, rax) == 0x5f8, "VMCB");
static_assert(offsetof(struct vmcb, cr2) == 0x640, "VMCB");
static_assert(offsetof(struct vmcb, g_pat) == 0x668, "VMCB");
static_assert(offsetof(struct vmcb, spec_ctrl) == 0x6e0, "VMCB");
static_assert(sizeof(struct vmcb) == 0x1000, "VMCB");
