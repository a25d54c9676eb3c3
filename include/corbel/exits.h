// SPDX-License-Identifier: BSD-2-Clause-Patent
// Counters of a VP: one per kind of exit, the same kinds on both vendors, always on.
#pragma once

enum vp_counter {
    VP_COUNTER_CPUID,
    VP_COUNTER_HYPERCALL,
    VP_COUNTER_RDMSR,
    VP_COUNTER_WRMSR,
    VP_COUNTER_IO,
    VP_COUNTER_HLT,
    VP_COUNTER_INTERRUPT,
    VP_COUNTER_INTERRUPT_WINDOW,
    VP_COUNTER_NMI,
    VP_COUNTER_SMI,
    VP_COUNTER_PAGE_FAULT,  // second-level faults
    VP_COUNTER_APIC_ACCESS, // of those: the APIC page
    VP_COUNTER_EXCEPTION,
    VP_COUNTER_CONTROL_REGISTER,
    VP_COUNTER_XSETBV,
    VP_COUNTER_PAUSE,
    VP_COUNTER_IRET,
    VP_COUNTER_UNDEFINED, // instructions that raise #UD here (VMRUN, MWAIT, ...)
    VP_COUNTER_CACHE,     // INVD, WBINVD
    VP_COUNTER_SHUTDOWN,
    VP_COUNTER_OTHER,
    VP_COUNTER_INTERCEPT_MESSAGE,
    VP_COUNTER_INJECTED,
    VP_COUNTER_SCHEDULED,
    VP_COUNTER_COUNT
};
