// SPDX-License-Identifier: BSD-2-Clause-Patent
// MSR accesses that exit: one table of descriptors (kernel/msr.c), architectural and synthetic.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vp;

enum msr_result {
    MSR_OK,
    MSR_FAULT,     // #GP(0)
    MSR_INTERCEPT, // the parent gets a message; the VP is suspended, RIP stays
    MSR_VENDOR     // for the backend: state only it holds
};

enum msr_result msr_read(struct vp *vp, uint32_t msr, uint64_t *value);
enum msr_result msr_write(struct vp *vp, uint32_t msr, uint64_t value);
