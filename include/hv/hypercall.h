// SPDX-License-Identifier: BSD-2-Clause-Patent
// The hypercall control word and result, the call codes and the input and output blocks.
// A block's struct is the fixed header; variable header and rep elements follow it directly.
// TLFS: Hypercall Interface
#ifndef HV_HYPERCALL_H
#define HV_HYPERCALL_H

#include "hv/base.h"
#include "hv/call_device.h"
#include "hv/call_ipc.h"
#include "hv/call_memory.h"
#include "hv/call_partition.h"
#include "hv/call_system.h"
#include "hv/call_tlb.h"
#include "hv/call_vp.h"
#include "hv/call_vtl.h"
#include "hv/hypercall_codes.h"
#include "hv/status.h"

// Control word (hypercall input value).
#define HV_HYPERCALL_CODE_MASK           UINT64_C(0x000000000000FFFF) // 15:0
#define HV_HYPERCALL_FAST                HV_BIT(16)
#define HV_HYPERCALL_VARHEAD_SHIFT       17
#define HV_HYPERCALL_VARHEAD_MASK        UINT64_C(0x0000000007FE0000) // 26:17, QWORDs
#define HV_HYPERCALL_RESERVED_30_27_MASK UINT64_C(0x0000000078000000)
#define HV_HYPERCALL_NESTED              HV_BIT(31)
#define HV_HYPERCALL_REP_COUNT_SHIFT     32
#define HV_HYPERCALL_REP_COUNT_MASK      UINT64_C(0x00000FFF00000000) // 43:32
#define HV_HYPERCALL_RESERVED_47_44_MASK UINT64_C(0x0000F00000000000)
#define HV_HYPERCALL_REP_START_SHIFT     48
#define HV_HYPERCALL_REP_START_MASK      UINT64_C(0x0FFF000000000000) // 59:48
#define HV_HYPERCALL_RESERVED_63_60_MASK UINT64_C(0xF000000000000000)
#define HV_HYPERCALL_RESERVED_MASK                                                                 \
    (HV_HYPERCALL_RESERVED_30_27_MASK | HV_HYPERCALL_RESERVED_47_44_MASK |                         \
     HV_HYPERCALL_RESERVED_63_60_MASK)
#define HV_HYPERCALL_REP_MAX     0xFFF
#define HV_HYPERCALL_VARHEAD_MAX 0x3FF

// Result value.
#define HV_HYPERCALL_RESULT_STATUS_MASK UINT64_C(0x000000000000FFFF) // 15:0
#define HV_HYPERCALL_RESULT_REPS_SHIFT  32
#define HV_HYPERCALL_RESULT_REPS_MASK   UINT64_C(0x00000FFF00000000) // 43:32

// Register forms: bytes carried by the two general registers, by one XMM register, by all of them.
#define HV_HYPERCALL_FAST_GPR_BYTES 16
#define HV_HYPERCALL_FAST_XMM_BYTES 16
#define HV_HYPERCALL_FAST_XMM_COUNT 6
#define HV_HYPERCALL_FAST_MAX_BYTES 112
#define HV_HYPERCALL_ALIGNMENT      8

// VTL return control input (RAX/ECX at the call). TLFS: VTL Return
#define HV_VTL_RETURN_FAST UINT64_C(1)

// Call code of a control word.
static inline uint16_t hv_hypercall_code(uint64_t control)
{
    return (uint16_t)(control & HV_HYPERCALL_CODE_MASK);
}

static inline bool hv_hypercall_is_fast(uint64_t control)
{
    return (control & HV_HYPERCALL_FAST) != 0;
}

static inline bool hv_hypercall_is_nested(uint64_t control)
{
    return (control & HV_HYPERCALL_NESTED) != 0;
}

// Variable header size in QWORDs, 0..1023.
static inline uint32_t hv_hypercall_varhead(uint64_t control)
{
    return (uint32_t)((control & HV_HYPERCALL_VARHEAD_MASK) >> HV_HYPERCALL_VARHEAD_SHIFT);
}

// Rep count, 0..4095; 0 for simple calls.
static inline uint32_t hv_hypercall_rep_count(uint64_t control)
{
    return (uint32_t)((control & HV_HYPERCALL_REP_COUNT_MASK) >> HV_HYPERCALL_REP_COUNT_SHIFT);
}

// First rep element to process, 0..4095.
static inline uint32_t hv_hypercall_rep_start(uint64_t control)
{
    return (uint32_t)((control & HV_HYPERCALL_REP_START_MASK) >> HV_HYPERCALL_REP_START_SHIFT);
}

// The control word with its rep start replaced: what a continuation leaves in the register.
static inline uint64_t hv_hypercall_with_rep_start(uint64_t control, uint32_t start)
{
    return (control & ~HV_HYPERCALL_REP_START_MASK) |
           (((uint64_t)start << HV_HYPERCALL_REP_START_SHIFT) & HV_HYPERCALL_REP_START_MASK);
}

// A control word. varhead in QWORDs; out-of-range fields are cut to their width.
static inline uint64_t hv_hypercall_control(uint16_t code, bool fast, uint32_t varhead,
                                            uint32_t rep_count)
{
    return code | (fast ? HV_HYPERCALL_FAST : 0) |
           (((uint64_t)varhead << HV_HYPERCALL_VARHEAD_SHIFT) & HV_HYPERCALL_VARHEAD_MASK) |
           (((uint64_t)rep_count << HV_HYPERCALL_REP_COUNT_SHIFT) & HV_HYPERCALL_REP_COUNT_MASK);
}

// A result value: status and reps completed, counted from element 0.
static inline uint64_t hv_hypercall_result(uint16_t status, uint32_t reps)
{
    return status |
           (((uint64_t)reps << HV_HYPERCALL_RESULT_REPS_SHIFT) & HV_HYPERCALL_RESULT_REPS_MASK);
}

static inline uint16_t hv_hypercall_result_status(uint64_t result)
{
    return (uint16_t)(result & HV_HYPERCALL_RESULT_STATUS_MASK);
}

static inline uint32_t hv_hypercall_result_reps(uint64_t result)
{
    return (uint32_t)((result & HV_HYPERCALL_RESULT_REPS_MASK) >> HV_HYPERCALL_RESULT_REPS_SHIFT);
}

#endif
