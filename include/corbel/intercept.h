// SPDX-License-Identifier: BSD-2-Clause-Patent
// Intercept messages to the parent (TLFS: intercepts; tlfs-reference 2.4). Each function builds the
// message in the VP, suspends it (HvRegisterInterceptSuspend) and posts to SINT 0 of a VP of the
// parent. Owner LP only. A root VP has no parent: callers deal with that first.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/cpuid.h"
#include "corbel/vcpu.h"

struct vp;

struct io_access {
    uint16_t port;
    uint8_t size; // 1, 2, 4
    bool write, string, rep;
    uint8_t length; // of the instruction
};

void intercept_memory(struct vp *vp, const struct slat_fault *fault, bool unmapped);
void intercept_io(struct vp *vp, const struct io_access *io);
void intercept_msr(struct vp *vp, uint32_t msr, bool write, uint64_t value, uint8_t length);
void intercept_cpuid(struct vp *vp, const struct cpuid_entry *defaults, uint8_t length);
void intercept_exception(struct vp *vp, uint32_t vector, uint8_t info, uint32_t error,
                         uint64_t parameter);
// A hypercall that is the parent's to carry out; RIP stays at it.
void intercept_hypercall(struct vp *vp, uint8_t length);
void intercept_unrecoverable(struct vp *vp);
void intercept_invalid_register(struct vp *vp);

// The guest EOI'd a level-triggered vector. Does not suspend the VP; messages that the parent is
// not ready for are kept by vector and sent later (VP_WORK_MESSAGE).
void intercept_apic_eoi(struct vp *vp, uint32_t vector);
void intercept_send_eois(struct vp *vp);

// Sends the parent a message whose payload lies in vp->dispatched, and whose node is not queued.
void intercept_notify(struct vp *vp, uint32_t type, uint32_t size);
