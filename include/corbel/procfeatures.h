// SPDX-License-Identifier: BSD-2-Clause-Patent
// Processor features that a parent withholds from its child (tlfs-reference 1.6, CreatePartition;
// 2.19): they are gone from CPUID, and with them control register bits, XSAVE components and MSRs.
// An instruction that no control bit governs still works, as on the closed hypervisor: no processor
// can take it away.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/cpuid.h"

enum procfeature_bank {
    PROCFEATURES0, // HV_PROC_FEATURE0_*
    PROCFEATURES1, // HV_PROC_FEATURE1_*
    PROCFEATURES_XSAVE,
    PROCFEATURE_BANKS
};

// MSRs that a child's VPs have to themselves, without exits.
enum procfeature_msrs {
    PROCFEATURE_TSC_AUX = 1u << 0,
    PROCFEATURE_SPEC_CTRL = 1u << 1,
    PROCFEATURE_MSRS = 4 // combinations
};

struct procfeatures {
    uint64_t disabled[PROCFEATURE_BANKS];
    uint64_t cr4;   // bits that the guest may set
    uint64_t xcr0;  // components that it may have
    uint32_t msrs;  // enum procfeature_msrs
    bool ibpb;      // MSR PRED_CMD
    bool deadline;  // the APIC timer's TSC-deadline mode
    bool withholds; // something that the machine has
};

// Everything that the processor has, less these. Bits that mean nothing here are ignored: parents
// withhold whatever they do not know.
void procfeatures_init(struct procfeatures *f, const uint64_t disabled[PROCFEATURE_BANKS]);

// Takes what is withheld out of a leaf's answer.
void procfeatures_hide(const struct procfeatures *f, uint32_t leaf, uint32_t subleaf,
                       struct cpuid_entry *e);

// The features of a bank that the machine has for children and that are not withheld.
uint64_t procfeatures_bank(const struct procfeatures *f, enum procfeature_bank bank);
