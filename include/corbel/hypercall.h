// SPDX-License-Identifier: BSD-2-Clause-Patent
// Hypercalls: one table of descriptors says what the TLFS says of each call; one routine enforces
// it (TLFS: Hypercall Interface; tlfs-reference 0.1-0.3). Handlers see copied, size-checked input.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "hv/hypercall.h"
#include "hv/status.h"

struct partition;
struct vp;

// Internal: nothing was done; the instruction is executed again after interrupts were taken.
#define HV_STATUS_RETRY 0xffffu

struct hypercall {
    struct vp *vp;            // caller
    struct partition *caller; // its partition
    const void *input;        // header, a copy; variable header follows it
    void *output;             // simple calls: zeroed
    const void *elements;     // rep input elements, a copy; the first is element `start`
    void *out_elements;       // rep output elements; the first is element `start`
    uint32_t variable;        // bytes of variable header
    uint32_t start;           // first element to do
    uint32_t limit;           // one past the last that is here now
    uint32_t count;           // rep count
    uint32_t done;            // rep handlers: elements finished, absolute
    uint64_t deadline;        // TSC: time to go back to the guest
    bool lends;               // the backend looks at lp->heir afterwards
};

// HV_STATUS, or HV_STATUS_RETRY. A rep handler does elements [start, limit) in order, keeps `done`,
// and may stop early with HV_STATUS_SUCCESS (hypercall_stop), after one element at least.
typedef uint16_t hypercall_handler(struct hypercall *call);

enum hypercall_kind {
    HYPERCALL_SIMPLE = 0,
    HYPERCALL_REP = 1,
    HYPERCALL_VARIABLE = 2, // takes a variable header; with or without HYPERCALL_REP
    HYPERCALL_REGISTERS = 4 // simple, no output, input in two registers: the short path
};

struct hypercall_descriptor {
    hypercall_handler *handler; // NULL: no such call
    const char *name;
    uint64_t privilege; // HV_PRIV_*, all of them
    uint16_t code;
    uint16_t input_size; // bytes of the fixed header
    uint8_t kind;        // enum hypercall_kind
    uint8_t listed; // rep, no output: how many elements registers hold, the short path of lists
    uint8_t output_size; // bytes, simple calls
    uint8_t element_in;  // bytes of a rep element
    uint8_t element_out;
};

#define HYPERCALL_VARIABLE_MAX 520u // bytes: the mask and the 64 banks of a VP set
#define HYPERCALL_SLOT         16u  // bytes of register space that input and output share out

// What a control word means for a call.
struct hypercall_plan {
    bool fast;
    bool xmm_input; // more input than two registers hold
    bool register_output;
    uint32_t variable; // bytes
    uint32_t start, count;
    uint32_t input_bytes; // header, variable header and all elements
    uint32_t output_bytes;
    uint32_t output_offset; // fast: where output begins in the 112 bytes of registers
};

// Checks a control word against a descriptor. HV_STATUS_SUCCESS or
// HV_STATUS_INVALID_HYPERCALL_INPUT. `wide`: the caller runs 64-bit code. Pure.
uint16_t hypercall_plan(const struct hypercall_descriptor *d, uint64_t control, bool wide,
                        struct hypercall_plan *plan);

// A parameter list of `bytes` bytes at `gpa`: aligned, inside one page, inside the GPA space. Pure.
static inline bool hypercall_list_valid(uint64_t gpa, uint32_t bytes, uint64_t page_limit)
{
    return (gpa & 7) == 0 && (gpa & HV_PAGE_MASK) + bytes <= HV_PAGE_SIZE &&
           gpa >> HV_PAGE_SHIFT < page_limit;
}

// Row of a call code in hypercall_table; row 0 is the call that does not exist.
#define HYPERCALL_CODES 0x132u
extern const struct hypercall_descriptor hypercall_table[];
extern const uint32_t hypercall_rows;
extern const uint8_t hypercall_row_of[HYPERCALL_CODES];
extern const uint8_t hypercall_extended_row_of[8]; // codes 8000..8007

static inline uint32_t hypercall_row(uint32_t code)
{
    if (__builtin_expect(code < HYPERCALL_CODES, 1))
        return hypercall_row_of[code];
    code -= 0x8000;
    return code < sizeof(hypercall_extended_row_of) ? hypercall_extended_row_of[code] : 0;
}

enum hypercall_caller {
    HYPERCALL_CALLER_ILLEGAL, // CPL above 0, or real mode
    HYPERCALL_CALLER_NARROW,  // 32-bit registers
    HYPERCALL_CALLER_WIDE     // EFER.LMA and CS.L
};

// The short way for 64-bit callers at CPL 0: a fast call without output whose input is in two
// registers; `control` is a call code and HV_HYPERCALL_FAST, nothing else. HV_STATUS,
// HV_STATUS_RETRY (execute again), or HYPERCALL_NOT_FAST: nothing was done, take hypercall_exit.
// Neither RIP nor RAX is touched.
#define HYPERCALL_NOT_FAST 0x10000u
uint32_t hypercall_fast(struct vp *vp, uint64_t control, uint64_t first, uint64_t second);
// The same for rep calls whose input is in registers, from the first element on (RDX, R8 and the
// XMM registers are the caller's). HV_STATUS_SUCCESS: RAX is to become *result; HV_STATUS_RETRY,
// RCX tells what is done; or HYPERCALL_NOT_FAST. Then lp->heir, if there is one, runs next.
uint32_t hypercall_listed(struct vp *vp, uint64_t control, uint64_t *result);

// Entry from the backend: VMCALL/VMMCALL executed by `vp`, length bytes long. Advances RIP itself
// unless the call is to be continued or faults.
void hypercall_exit(struct vp *vp, uint32_t length, enum hypercall_caller caller);

// A call that has returned HV_STATUS_RETRY goes on, without its instruction: how long that is, and
// whether the caller runs 64-bit code. Owner LP.
void hypercall_continue(struct vp *vp, uint32_t length, bool wide);

// Whether a rep call has used up its time or the caller has something else to do.
bool hypercall_stop(const struct hypercall *call);

// Target partition of a management call: SELF, the caller itself or a child. Takes a reference;
// pair with partition_put. HV_STATUS_ACCESS_DENIED, HV_STATUS_INVALID_PARTITION_ID.
enum hypercall_relation {
    HYPERCALL_PARENT = 1, // caller created the target
    HYPERCALL_SELF = 2
};
uint16_t hypercall_target(struct hypercall *call, uint64_t id, uint32_t allowed,
                          struct partition **target);

// A child of the caller whose life cycle, or set of VPs, is to change: one such call at a time, the
// second one comes again (HV_STATUS_RETRY). hypercall_end_change drops the reference as well.
uint16_t hypercall_begin_change(struct hypercall *call, uint64_t id, struct partition **target);
void hypercall_end_change(struct partition *target);

// As hypercall_target for an active partition, else HV_STATUS_INVALID_PARTITION_STATE.
uint16_t hypercall_active(struct hypercall *call, uint64_t id, uint32_t allowed,
                          struct partition **target);

// The same with one of its VPs: HV_STATUS_INVALID_VP_INDEX.
uint16_t hypercall_vp(struct hypercall *call, uint64_t id, uint32_t index, uint32_t allowed,
                      struct partition **target, struct vp **vp);

// All VPs of a partition are off their LPs, but for the caller's; false: one could not be had, none
// is kept. `count`: those below it are let go again. `changing` is set (hypercall_begin_change).
bool hypercall_stop_vps(struct partition *p);
void hypercall_resume_vps(struct partition *p, uint32_t count);

// HV_INPUT_VTL of a call that reaches VTL 0 only.
uint16_t hypercall_input_vtl(uint8_t vtl);

// Whether the proximity domain asked for exists: there is one, 0.
bool hypercall_proximity_valid(const struct hv_proximity_domain_info *info);
