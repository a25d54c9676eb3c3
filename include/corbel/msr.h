// SPDX-License-Identifier: BSD-2-Clause-Patent
// MSR accesses that exit: one table of descriptors (kernel/msr.c), architectural and synthetic.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "hv/call_vp.h"

struct partition;
struct vp;

enum msr_result {
    MSR_OK,
    MSR_FAULT,     // #GP(0)
    MSR_INTERCEPT, // the parent gets a message; the VP is suspended, RIP stays
    MSR_RETRY      // somebody else is changing it: execute the instruction again
};

// Owner LP. What the guest's RDMSR and WRMSR do, privileges and intercepts included.
enum msr_result msr_read(struct vp *vp, uint32_t msr, uint64_t *value);
enum msr_result msr_write(struct vp *vp, uint32_t msr, uint64_t value);

typedef enum msr_result msr_reader(struct vp *vp, uint32_t msr, uint64_t *value);
typedef enum msr_result msr_writer(struct vp *vp, uint32_t msr, uint64_t value);

// A reader that only has to say what the value is.
#define MSR_READER(name, expression)                                                               \
    static enum msr_result name(struct vp *vp, uint32_t msr, uint64_t *value)                      \
    {                                                                                              \
        (void)vp;                                                                                  \
        (void)msr;                                                                                 \
        *value = (expression);                                                                     \
        return MSR_OK;                                                                             \
    }

// The registers of the virtual APIC, by x2APIC or synthetic number.
msr_reader msr_read_apic;
msr_writer msr_write_apic;

// Synthetic MSRs: a dense table from 40000000h. No handler: the access does not exist. The handlers
// check values; the privilege (HV_PRIV_*, all bits of it) is checked by the caller, so that the
// parent reaches the same registers by name (kernel/registers.c) for a VP that is stopped.
#define MSR_SYNTHETIC_FIRST 0x40000000u
#define MSR_SYNTHETIC_COUNT 0x116u
struct msr_descriptor {
    msr_reader *read;
    msr_writer *write;
    uint64_t privilege;
    bool plain; // reading always succeeds and looks at no guest register
};
extern const struct msr_descriptor msr_synthetic[MSR_SYNTHETIC_COUNT];

// Writes HV_X64_MSR_HYPERCALL of the VP's partition. MSR_FAULT if it is locked, but for its parent
// (`lockable` false): a system reset clears the lock, and whoever resets a child is its parent.
// Results as msr_writer.
enum msr_result msr_set_hypercall(struct vp *vp, uint64_t value, bool lockable);

// The descriptor of a synthetic MSR that the VP may read and whose reading is plain, or NULL: the
// rest of the accesses takes msr_read.
static inline const struct msr_descriptor *msr_plain(uint64_t privileges, uint32_t msr)
{
    uint32_t index = msr - MSR_SYNTHETIC_FIRST;
    const struct msr_descriptor *d = &msr_synthetic[index];

    if (index >= MSR_SYNTHETIC_COUNT || !d->plain || (d->privilege & ~privileges))
        return (const struct msr_descriptor *)0;
    return d;
}

// The rest: ranges of architectural MSRs (kernel/msr_arch.c). MSR_FAULT also for unknown ones,
// which *known tells apart.
enum msr_result msr_arch_read(struct vp *vp, uint32_t msr, uint64_t *value, bool *known);
enum msr_result msr_arch_write(struct vp *vp, uint32_t msr, uint64_t value, bool *known);

// What a parent registers for accesses of its child to MSRs that do not exist: for one VP, which
// wins, or HV_ANY_VP. A second one for the same replaces the first. `result`, `access`: valid.
// Partition's lock held. HV_STATUS_INSUFFICIENT_MEMORY; unregister: INVALID_PARAMETER, there is
// none.
uint16_t msr_result_register(struct partition *p, uint32_t vp_index,
                             const struct hv_register_msr_result *result);
uint16_t msr_result_unregister(struct partition *p, uint32_t vp_index, uint32_t msr,
                               uint32_t access);
// `access`: one bit of HV_INTERCEPT_ACCESS_MASK_*. Takes the partition's lock.
bool msr_result_find(const struct vp *vp, uint32_t msr, uint32_t access, uint32_t *action);
// Frees them all; no VP is left.
void msr_results_forget(struct partition *p);

// Whether eight memory types are all legal in PAT (SDM 3A 12.12) or in fixed-range MTRRs.
bool msr_pat_valid(uint64_t value);
bool msr_mtrr_types_valid(uint64_t value);
