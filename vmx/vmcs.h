// SPDX-License-Identifier: BSD-2-Clause-Patent
// The virtual machine control structure: encodings of its fields (SDM 3D appendix B), bits of its
// controls (SDM 3C 25.6-25.8) and exit reasons (SDM 3D appendix C).
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum vmcs_field {
    VMCS_VPID = 0x0000,
    VMCS_POSTED_VECTOR = 0x0002,
    VMCS_GUEST_ES_SELECTOR = 0x0800, // ES CS SS DS FS GS LDTR TR follow each other, 2 apart
    VMCS_INTERRUPT_STATUS = 0x0810,  // RVI in 7:0, SVI in 15:8
    VMCS_PML_INDEX = 0x0812,
    VMCS_HOST_ES_SELECTOR = 0x0c00,
    VMCS_HOST_CS_SELECTOR = 0x0c02,
    VMCS_HOST_SS_SELECTOR = 0x0c04,
    VMCS_HOST_DS_SELECTOR = 0x0c06,
    VMCS_HOST_FS_SELECTOR = 0x0c08,
    VMCS_HOST_GS_SELECTOR = 0x0c0a,
    VMCS_HOST_TR_SELECTOR = 0x0c0c,

    VMCS_MSR_BITMAP = 0x2004,
    VMCS_PML_ADDRESS = 0x200e,
    VMCS_TSC_OFFSET = 0x2010,
    VMCS_VIRTUAL_APIC = 0x2012,
    VMCS_POSTED_DESCRIPTOR = 0x2016,
    VMCS_EPT_POINTER = 0x201a,
    VMCS_EOI_EXIT0 = 0x201c, // four, 2 apart
    VMCS_XSS_EXITING = 0x202c,
    VMCS_TSC_MULTIPLIER = 0x2032,
    VMCS_GUEST_PHYSICAL = 0x2400,
    VMCS_LINK_POINTER = 0x2800,
    VMCS_GUEST_DEBUGCTL = 0x2802,
    VMCS_GUEST_PAT = 0x2804,
    VMCS_GUEST_EFER = 0x2806,
    VMCS_GUEST_PDPTE0 = 0x280a, // four, 2 apart
    VMCS_HOST_PAT = 0x2c00,
    VMCS_HOST_EFER = 0x2c02,

    VMCS_PIN_CONTROLS = 0x4000,
    VMCS_CPU_CONTROLS = 0x4002,
    VMCS_EXCEPTION_BITMAP = 0x4004,
    VMCS_PF_MASK = 0x4006,
    VMCS_PF_MATCH = 0x4008,
    VMCS_CR3_TARGETS = 0x400a,
    VMCS_EXIT_CONTROLS = 0x400c,
    VMCS_EXIT_STORE_COUNT = 0x400e,
    VMCS_EXIT_LOAD_COUNT = 0x4010,
    VMCS_ENTRY_CONTROLS = 0x4012,
    VMCS_ENTRY_LOAD_COUNT = 0x4014,
    VMCS_ENTRY_EVENT = 0x4016,
    VMCS_ENTRY_ERROR = 0x4018,
    VMCS_ENTRY_LENGTH = 0x401a,
    VMCS_TPR_THRESHOLD = 0x401c,
    VMCS_CPU_CONTROLS2 = 0x401e,
    VMCS_PAUSE_GAP = 0x4020,
    VMCS_PAUSE_WINDOW = 0x4022,
    VMCS_INSTRUCTION_ERROR = 0x4400,
    VMCS_EXIT_REASON = 0x4402,
    VMCS_EXIT_EVENT = 0x4404,
    VMCS_EXIT_ERROR = 0x4406,
    VMCS_VECTORING_EVENT = 0x4408,
    VMCS_VECTORING_ERROR = 0x440a,
    VMCS_EXIT_LENGTH = 0x440c,
    VMCS_GUEST_ES_LIMIT = 0x4800,
    VMCS_GUEST_GDTR_LIMIT = 0x4810,
    VMCS_GUEST_IDTR_LIMIT = 0x4812,
    VMCS_GUEST_ES_RIGHTS = 0x4814,
    VMCS_GUEST_CS_RIGHTS = 0x4816,
    VMCS_GUEST_SS_RIGHTS = 0x4818,
    VMCS_INTERRUPTIBILITY = 0x4824,
    VMCS_ACTIVITY = 0x4826,
    VMCS_GUEST_SYSENTER_CS = 0x482a,
    VMCS_PREEMPTION_TIMER = 0x482e,
    VMCS_HOST_SYSENTER_CS = 0x4c00,

    VMCS_CR0_MASK = 0x6000,
    VMCS_CR4_MASK = 0x6002,
    VMCS_CR0_SHADOW = 0x6004,
    VMCS_CR4_SHADOW = 0x6006,
    VMCS_QUALIFICATION = 0x6400,
    VMCS_GUEST_CR0 = 0x6800,
    VMCS_GUEST_CR3 = 0x6802,
    VMCS_GUEST_CR4 = 0x6804,
    VMCS_GUEST_ES_BASE = 0x6806,
    VMCS_GUEST_CS_BASE = 0x6808,
    VMCS_GUEST_FS_BASE = 0x680e,
    VMCS_GUEST_GS_BASE = 0x6810,
    VMCS_GUEST_GDTR_BASE = 0x6816,
    VMCS_GUEST_IDTR_BASE = 0x6818,
    VMCS_GUEST_DR7 = 0x681a,
    VMCS_GUEST_RSP = 0x681c,
    VMCS_GUEST_RIP = 0x681e,
    VMCS_GUEST_RFLAGS = 0x6820,
    VMCS_PENDING_DEBUG = 0x6822,
    VMCS_GUEST_SYSENTER_ESP = 0x6824,
    VMCS_GUEST_SYSENTER_EIP = 0x6826,
    VMCS_HOST_CR0 = 0x6c00,
    VMCS_HOST_CR3 = 0x6c02,
    VMCS_HOST_CR4 = 0x6c04,
    VMCS_HOST_FS_BASE = 0x6c06,
    VMCS_HOST_GS_BASE = 0x6c08,
    VMCS_HOST_TR_BASE = 0x6c0a,
    VMCS_HOST_GDTR_BASE = 0x6c0c,
    VMCS_HOST_IDTR_BASE = 0x6c0e,
    VMCS_HOST_SYSENTER_ESP = 0x6c10,
    VMCS_HOST_SYSENTER_EIP = 0x6c12,
    VMCS_HOST_RSP = 0x6c14,
    VMCS_HOST_RIP = 0x6c16
};

enum { // pin-based controls
    VMX_PIN_EXTERNAL = 1u << 0,
    VMX_PIN_NMI = 1u << 3,
    VMX_PIN_VIRTUAL_NMI = 1u << 5,
    VMX_PIN_PREEMPTION_TIMER = 1u << 6,
    VMX_PIN_POSTED = 1u << 7
};

enum { // primary processor-based controls
    VMX_CPU_INTERRUPT_WINDOW = 1u << 2,
    VMX_CPU_TSC_OFFSET = 1u << 3,
    VMX_CPU_HLT = 1u << 7,
    VMX_CPU_MWAIT = 1u << 10,
    VMX_CPU_RDPMC = 1u << 11,
    VMX_CPU_CR8_LOAD = 1u << 19,
    VMX_CPU_CR8_STORE = 1u << 20,
    VMX_CPU_TPR_SHADOW = 1u << 21,
    VMX_CPU_NMI_WINDOW = 1u << 22,
    VMX_CPU_IO = 1u << 24, // all ports exit
    VMX_CPU_MSR_BITMAP = 1u << 28,
    VMX_CPU_MONITOR = 1u << 29
};
#define VMX_CPU_SECONDARY (1u << 31)

enum { // secondary processor-based controls
    VMX_CPU2_EPT = 1u << 1,
    VMX_CPU2_RDTSCP = 1u << 3,
    VMX_CPU2_X2APIC = 1u << 4,
    VMX_CPU2_VPID = 1u << 5,
    VMX_CPU2_UNRESTRICTED = 1u << 7,
    VMX_CPU2_APIC_REGISTERS = 1u << 8,
    VMX_CPU2_DELIVERY = 1u << 9,
    VMX_CPU2_PAUSE_LOOP = 1u << 10,
    VMX_CPU2_INVPCID = 1u << 12,
    VMX_CPU2_PML = 1u << 17,
    VMX_CPU2_XSAVES = 1u << 20,
    VMX_CPU2_TSC_SCALING = 1u << 25
};

// What a VP whose APIC is on loan to the processor has besides.
#define VMX_CPU2_APICV (VMX_CPU2_X2APIC | VMX_CPU2_APIC_REGISTERS | VMX_CPU2_DELIVERY)

enum { // exit controls
    VMX_EXIT_SAVE_DEBUG = 1u << 2,
    VMX_EXIT_HOST_64 = 1u << 9,
    VMX_EXIT_ACKNOWLEDGE = 1u << 15,
    VMX_EXIT_SAVE_PAT = 1u << 18,
    VMX_EXIT_LOAD_PAT = 1u << 19,
    VMX_EXIT_SAVE_EFER = 1u << 20,
    VMX_EXIT_LOAD_EFER = 1u << 21,
    VMX_EXIT_SAVE_PREEMPTION_TIMER = 1u << 22
};

enum { // entry controls
    VMX_ENTRY_LOAD_DEBUG = 1u << 2,
    VMX_ENTRY_LONG_MODE = 1u << 9,
    VMX_ENTRY_LOAD_PAT = 1u << 14,
    VMX_ENTRY_LOAD_EFER = 1u << 15
};

enum { // interruptibility state
    VMX_BLOCKED_STI = 1u << 0,
    VMX_BLOCKED_MOV_SS = 1u << 1,
    VMX_BLOCKED_NMI = 1u << 3,
    VMX_BLOCKED_SHADOW = VMX_BLOCKED_STI | VMX_BLOCKED_MOV_SS
};

// Entry, exit and vectoring events: vector in 7:0, type in 10:8 with the numbers of
// HV_INTERRUPTION_TYPE_*.
enum {
    VMX_EVENT_VECTOR = 0xff,
    VMX_EVENT_TYPE_SHIFT = 8,
    VMX_EVENT_TYPE_MASK = 7u << 8,
    VMX_EVENT_ERROR_VALID = 1u << 11,
    VMX_EVENT_IRET_UNBLOCKED = 1u << 12 // exit events: the fault of an IRET that ended an NMI
};
#define VMX_EVENT_VALID (1u << 31)

#define VMX_PENDING_STEP (1ul << 14) // pending debug exceptions: BS

enum { // access rights beyond those of HV_X64_SEGMENT_REGISTER
    VMX_RIGHTS_UNUSABLE = 1u << 16,
    VMX_RIGHTS_MASK = 0xf0ff
};

enum { // qualification of an EPT violation
    VMX_EPT_READ = 1u << 0,
    VMX_EPT_WRITE = 1u << 1,
    VMX_EPT_FETCH = 1u << 2,
    VMX_EPT_PRESENT = 7u << 3, // rights that the entry gave
    VMX_EPT_LINEAR = 1u << 7,
    VMX_EPT_FINAL = 1u << 8, // not while walking the guest's page tables
    VMX_EPT_IRET_UNBLOCKED = 1u << 12
};

enum {                    // qualification of an I/O instruction
    VMX_IO_SIZE_MASK = 7, // bytes - 1
    VMX_IO_IN = 1u << 3,
    VMX_IO_STRING = 1u << 4,
    VMX_IO_REP = 1u << 5,
    VMX_IO_PORT_SHIFT = 16
};

enum { // qualification of a control-register access
    VMX_CR_NUMBER_MASK = 0xf,
    VMX_CR_KIND_SHIFT = 4, // 0: MOV to, 1: MOV from, 2: CLTS, 3: LMSW
    VMX_CR_KIND_MASK = 3,
    VMX_CR_GPR_SHIFT = 8,
    VMX_CR_GPR_MASK = 0xf,
    VMX_CR_MOV_TO = 0,
    VMX_CR_MOV_FROM = 1
};

enum vmx_exit_reason {
    VMX_EXIT_EXCEPTION = 0,
    VMX_EXIT_EXTERNAL = 1,
    VMX_EXIT_TRIPLE_FAULT = 2,
    VMX_EXIT_INIT = 3,
    VMX_EXIT_SIPI = 4,
    VMX_EXIT_INTERRUPT_WINDOW = 7,
    VMX_EXIT_NMI_WINDOW = 8,
    VMX_EXIT_TASK_SWITCH = 9,
    VMX_EXIT_CPUID = 10,
    VMX_EXIT_GETSEC = 11,
    VMX_EXIT_HLT = 12,
    VMX_EXIT_INVD = 13,
    VMX_EXIT_RDPMC = 15,
    VMX_EXIT_VMCALL = 18,
    VMX_EXIT_VMCLEAR = 19, // this one to VMXON: VMX instructions
    VMX_EXIT_VMXON = 27,
    VMX_EXIT_CR = 28,
    VMX_EXIT_IO = 30,
    VMX_EXIT_RDMSR = 31,
    VMX_EXIT_WRMSR = 32,
    VMX_EXIT_BAD_STATE = 33,
    VMX_EXIT_BAD_MSR = 34,
    VMX_EXIT_MWAIT = 36,
    VMX_EXIT_MONITOR = 39,
    VMX_EXIT_PAUSE = 40,
    VMX_EXIT_MACHINE_CHECK = 41,
    VMX_EXIT_TPR = 43,
    VMX_EXIT_EOI = 45,
    VMX_EXIT_EPT_VIOLATION = 48,
    VMX_EXIT_EPT_MISCONFIGURED = 49,
    VMX_EXIT_INVEPT = 50,
    VMX_EXIT_PREEMPTION_TIMER = 52,
    VMX_EXIT_INVVPID = 53,
    VMX_EXIT_XSETBV = 55,
    VMX_EXIT_APIC_WRITE = 56,
    VMX_EXIT_PML_FULL = 62,
    VMX_EXIT_REASONS = 63,
    VMX_EXIT_REASON_MASK = 0xffff
};
#define VMX_EXIT_ENTRY_FAILED (1u << 31)

enum { // kinds of INVEPT and INVVPID
    VMX_INVEPT_CONTEXT = 1,
    VMX_INVEPT_ALL = 2,
    VMX_INVVPID_CONTEXT = 1,
    VMX_INVVPID_ALL = 2
};

static inline uint64_t vmread(enum vmcs_field field)
{
    uint64_t value;
    __asm__ volatile("vmread %1, %0" : "=r"(value) : "r"((uint64_t)field) : "cc");
    return value;
}

// A field that the processor does not have, or has for reading only: panics.
_Noreturn void vmx_bad_field(enum vmcs_field field);
static inline void vmwrite(enum vmcs_field field, uint64_t value)
{
    bool failed;
    __asm__ volatile("vmwrite %2, %1" : "=@ccbe"(failed) : "r"((uint64_t)field), "r"(value) : "cc");
    if (__builtin_expect(failed, 0))
        vmx_bad_field(field);
}

// Sets or clears bits of a control.
static inline void vmcs_change(enum vmcs_field field, uint64_t bits, bool set)
{
    uint64_t old = vmread(field), now = set ? old | bits : old & ~bits;

    if (now != old)
        vmwrite(field, now);
}
