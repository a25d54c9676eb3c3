// SPDX-License-Identifier: BSD-2-Clause-Patent
// The contract between corbel.efi and the hypervisor: what the loader leaves in memory, and how a
// processor enters and, should anything fail, leaves again. See docs/boot.md.
//
// The loader
//  1. allocates one block of EfiReservedMemoryType, copies the hypervisor's ELF segments into it
//  and
//     builds the hypervisor's page tables (include/corbel/layout.h) from pages of the block's pool;
//  2. fills struct launch_info, which lies in the block and in the direct map;
//  3. calls launch_processor() on every processor: it fills a struct launch_context and jumps
//  through
//     the trampoline page, which both address spaces map at its physical address.
//
// The launch_contexts and the trampoline lie outside the block: the resumed guest still reads its
// status and runs its stub there when the block is already gone from its view. Both are the guest's
// memory; the hypervisor unmaps `contexts` and `trampoline_pa` when LAUNCH_STAY has succeeded, and
// the loader frees them.
//
// The hypervisor's ELF entry (hv_entry) is entered with: CR3 = the hypervisor's tables, interrupts
// off, RSP = top of the LP's main stack (page aligned, nothing pushed), EFER.NXE set, RDI = struct
// launch_info (direct-map address), RSI = struct launch_context (direct-map address). It resumes
// the captured state as a guest (the loader sees launch_context.status = LAUNCH_OK) or, on failure,
// restores the captured state natively (status = another code). Either way execution continues at
// launch_context.rip with launch_context.rsp and general registers undefined but for those (the
// loader's stub has pushed what it needs). The first instruction there is CPUID, so a resumed guest
// exits before anything is committed.
//
// Going back natively: with interrupts off and CR3 still the hypervisor's, load RDI = physical
// address of the launch_context (RSI at entry less HV_DIRECT_BASE) and jump to
// launch_info.trampoline_pa + trampoline_header.back_offset. That restores CR0, CR4, CR3, GDTR,
// IDTR, segments (FS and GS bases included), LDTR, TR where the selector is not null, RSP, RFLAGS
// (IF clear) and RIP. Everything else, other MSRs and debug registers above all, the hypervisor has
// put back before it jumps.
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define LAUNCH_MAGIC      0x4c45425243564800ul
#define LAUNCH_VERSION    1u
#define LAUNCH_MAX_LPS    256u
#define LAUNCH_MAX_RANGES 128u

enum launch_status {
    LAUNCH_OK = 0,
    LAUNCH_NO_SVM = 1,         // CPUID 8000_0001 ECX[2] clear
    LAUNCH_NO_NPT = 2,         // CPUID 8000_000A EDX[0] clear
    LAUNCH_SVM_DISABLED = 3,   // VM_CR.SVMDIS set by firmware
    LAUNCH_SVM_IN_USE = 4,     // EFER.SVME already set: another hypervisor is here
    LAUNCH_ENTRY_FAILED = 5,   // the processor refused the captured state
    LAUNCH_PEER_FAILED = 6,    // another processor failed; this one was rolled back
    LAUNCH_TIMEOUT = 7,        // a processor did not reach the rendezvous
    LAUNCH_NO_MEMORY = 8,      // the hypervisor's pool is too small
    LAUNCH_FAULT_INJECTED = 9, // configuration key `fail-lp`: proves the rollback
    LAUNCH_NO_VENDOR = 10,     // neither AMD nor Intel virtualization
    LAUNCH_NO_VMX = 11,        // CPUID 1 ECX[5] clear
    LAUNCH_VMX_DISABLED = 12,  // IA32_FEATURE_CONTROL locked without VMX
    LAUNCH_VMX_IN_USE = 13,    // CR4.VMXE already set: another hypervisor is here
    LAUNCH_VMX_LACKING = 14,   // a VMX capability that is needed is absent; the log names it
    LAUNCH_STATUS_COUNT = 15,
    LAUNCH_PENDING = 0xffff
};

enum launch_phase {
    LAUNCH_TRIAL = 0, // enter, take the first exit, go back: proves this processor can
    LAUNCH_JOIN = 1,  // application processors: meet at a rendezvous of join_count, then stay
    LAUNCH_STAY = 2   // the boot processor, last: stay
};

enum launch_log { LAUNCH_LOG_E9 = 1u << 0, LAUNCH_LOG_COM = 1u << 1 };

struct launch_range {
    uint64_t base; // bytes, page aligned
    uint64_t size; // bytes
};

struct launch_lp {
    uint32_t apic_id;
    uint32_t root_vp; // index of its root VP
};

// Start of the trampoline page. Offsets are bytes from the start of the page.
struct trampoline_header {
    uint64_t enter_offset; // for the loader
    uint64_t back_offset;  // for the hypervisor: return natively, see above
};

struct launch_info {
    uint64_t magic;
    uint32_t version;
    uint32_t size;                // sizeof(struct launch_info)
    struct launch_range block;    // all that the hypervisor owns at launch
    struct launch_range pool;     // free pages (whole pages, all in the direct map)
    struct launch_range contexts; // array of struct launch_context by LP index, in the direct map
    uint64_t hv_cr3;              // the hypervisor's page-table root
    uint64_t image_pa;            // where the image's first page lies
    uint64_t image_size;
    uint64_t trampoline_pa; // identity-mapped executable page, dropped after launch
    uint64_t rsdp_pa;       // 0: none
    uint64_t tsc_hz;
    uint32_t lp_count;
    uint32_t join_count;  // processors that take part in LAUNCH_JOIN
    uint32_t log_targets; // enum launch_log
    uint32_t com_port;    // I/O port of the log's UART
    uint32_t com_divisor;
    uint32_t com_line_control; // LCR value, 8n1 = 3
    uint32_t scheduler_type;   // MSHV_SCHEDULER_TYPE, 0: default
    uint32_t x2apic_policy;    // 0 default, 1 enable, 2 disable
    uint32_t fail_lp;          // LP that fails on purpose; ~0: none
    uint32_t ram_count;
    uint32_t rootproc; // processors that the root is to use: root VPs from it on are firmware's
    uint32_t root_management;                   // 1: the root may create partitions
    struct launch_range ram[LAUNCH_MAX_RANGES]; // system RAM by the UEFI map, ascending, merged
    struct launch_lp lps[LAUNCH_MAX_LPS];       // index = LP index; ascending APIC id
};

#pragma pack(push, 1)
struct launch_table {
    uint16_t limit;
    uint64_t base;
};
#pragma pack(pop)
static_assert(sizeof(struct launch_table) == 10, "SGDT operand");

// Segment as the hypervisor wants it: expanded limit, attributes as in HV_X64_SEGMENT_REGISTER
// (TLFS: 3:0 type, 4 non-system, 6:5 DPL, 7 present, 12 AVL, 13 L, 14 D, 15 G).
struct launch_segment {
    uint64_t base;
    uint32_t limit;
    uint16_t selector;
    uint16_t attributes;
};

// A processor's state at the moment of launch. MSRs are not here: the hypervisor reads them itself.
struct launch_context {
    uint32_t lp_index;
    uint32_t phase;  // enum launch_phase
    uint32_t status; // enum launch_status, written by the hypervisor
    uint32_t reserved;
    uint64_t rip; // where execution continues, guest or native
    uint64_t rsp;
    uint64_t rflags;
    uint64_t cr0;
    uint64_t cr3;
    uint64_t cr4;
    struct launch_segment es, cs, ss, ds, fs, gs, ldtr, tr;
    struct launch_table gdtr;
    uint8_t pad0[6];
    struct launch_table idtr;
    uint8_t pad1[6];
};
static_assert(offsetof(struct launch_context, status) == 8, "launch stub");
static_assert(offsetof(struct launch_context, rip) == 16, "launch stub");
static_assert(offsetof(struct launch_context, cr3) == 48, "launch stub");
static_assert(offsetof(struct launch_context, gdtr) == 192, "launch stub");
static_assert(offsetof(struct launch_context, idtr) == 208, "launch stub");
