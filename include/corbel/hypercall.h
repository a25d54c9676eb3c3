// SPDX-License-Identifier: BSD-2-Clause-Patent
// Hypercalls: one table of descriptors says what the TLFS says of each call; one routine enforces it
// (TLFS: Hypercall Interface; tlfs-reference 0.1-0.3). Handlers see copied, size-checked input.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/partition.h"
#include "corbel/vp.h"
#include "hv/hypercall.h"
#include "hv/status.h"

struct hypercall {
    struct vp *vp;             // caller
    struct partition *caller;  // its partition
    const void *input;         // header, a copy; variable header follows it
    void *output;              // zeroed; header, then output elements
    const void *elements;      // rep input elements of this entry (first is element `start`)
    void *out_elements;        // rep output elements (first is element `start`)
    uint32_t variable;         // bytes of variable header
    uint32_t start;            // first element to do
    uint32_t count;            // rep count
    uint32_t done;             // rep handlers: elements finished, absolute
};

typedef uint16_t hypercall_handler(struct hypercall *call);

// Entry from the backend: VMCALL/VMMCALL executed by `vp`, length bytes long. Advances RIP itself
// unless the call is to be continued or faults.
void hypercall_exit(struct vp *vp, uint32_t length);

// Target partition of a management call: SELF, the caller itself or a child. Takes a reference.
enum hypercall_relation {
    HYPERCALL_PARENT = 1, // caller created the target
    HYPERCALL_SELF = 2
};
uint16_t hypercall_target(struct hypercall *call, uint64_t id, uint32_t allowed,
                          struct partition **target);
