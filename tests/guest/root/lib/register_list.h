// SPDX-License-Identifier: BSD-2-Clause-Patent
// Every register of the reference (tlfs-reference 3), and what a parent may do with a child's: the
// probe beside this file proves it, docs/abi-coverage.md is made from it.
#ifndef PROBE_REGISTER_LIST_H
#define PROBE_REGISTER_LIST_H

#include "hv/register_names.h"

#define REFUSED 0u
#define GET     1u // HvCallGetVpRegisters
#define SET     2u // HvCallSetVpRegisters, of the value that it has
#define BOTH    (GET | SET)
#define MAYBE   4u // BOTH where the processor has it, else REFUSED

// X(name, access), F(name, how many of the family, access)
#define REGISTER_LIST(X, F)                                                                        \
    X(EXPLICIT_SUSPEND, BOTH)                                                                      \
    X(INTERCEPT_SUSPEND, BOTH)                                                                     \
    X(INSTRUCTION_EMULATION_HINTS, REFUSED)                                                        \
    X(DISPATCH_SUSPEND, BOTH)                                                                      \
    X(INTERNAL_ACTIVITY_STATE, BOTH)                                                               \
    X(HYPERVISOR_VERSION, GET)                                                                     \
    X(PRIVILEGES_AND_FEATURES_INFO, GET)                                                           \
    X(FEATURES_INFO, GET)                                                                          \
    X(IMPLEMENTATION_LIMITS_INFO, GET)                                                             \
    X(HARDWARE_FEATURES_INFO, GET)                                                                 \
    X(CPU_MANAGEMENT_FEATURES_INFO, GET)                                                           \
    X(PASID_FEATURES_INFO, GET)                                                                    \
    X(SKIP_LEVEL_FEATURES_INFO, GET)                                                               \
    X(NESTED_VIRT_FEATURES_INFO, GET)                                                              \
    X(IPT_FEATURES_INFO, GET)                                                                      \
    X(ISOLATION_CONFIGURATION, GET)                                                                \
    F(GUEST_CRASH_P, 5, BOTH)                                                                      \
    X(GUEST_CRASH_CTL, GET)                                                                        \
    X(POWER_STATE_CONFIG_C1, REFUSED)                                                              \
    X(POWER_STATE_TRIGGER_C1, REFUSED)                                                             \
    X(POWER_STATE_CONFIG_C2, REFUSED)                                                              \
    X(POWER_STATE_TRIGGER_C2, REFUSED)                                                             \
    X(POWER_STATE_CONFIG_C3, REFUSED)                                                              \
    X(POWER_STATE_TRIGGER_C3, REFUSED)                                                             \
    X(PROCESSOR_CLOCK_FREQUENCY, GET)                                                              \
    X(INTERRUPT_CLOCK_FREQUENCY, GET)                                                              \
    X(GUEST_IDLE, REFUSED)                                                                         \
    X(DEBUG_DEVICE_OPTIONS, REFUSED)                                                               \
    X(MEMORY_ZEROING_CONTROL, REFUSED)                                                             \
    X(PENDING_INTERRUPTION, BOTH)                                                                  \
    X(INTERRUPT_STATE, BOTH)                                                                       \
    X(PENDING_EVENT0, BOTH)                                                                        \
    X(PENDING_EVENT1, BOTH)                                                                        \
    X(DELIVERABILITY_NOTIFICATIONS, BOTH)                                                          \
    X(PENDING_DEBUG_EXCEPTION, REFUSED)                                                            \
    X(PENDING_EVENT2, REFUSED)                                                                     \
    X(PENDING_EVENT3, REFUSED)                                                                     \
    X(RAX, BOTH)                                                                                   \
    X(RCX, BOTH)                                                                                   \
    X(RDX, BOTH)                                                                                   \
    X(RBX, BOTH)                                                                                   \
    X(RSP, BOTH)                                                                                   \
    X(RBP, BOTH)                                                                                   \
    X(RSI, BOTH)                                                                                   \
    X(RDI, BOTH)                                                                                   \
    X(R8, BOTH)                                                                                    \
    X(R9, BOTH)                                                                                    \
    X(R10, BOTH)                                                                                   \
    X(R11, BOTH)                                                                                   \
    X(R12, BOTH)                                                                                   \
    X(R13, BOTH)                                                                                   \
    X(R14, BOTH)                                                                                   \
    X(R15, BOTH)                                                                                   \
    X(RIP, BOTH)                                                                                   \
    X(RFLAGS, BOTH)                                                                                \
    F(XMM, 16, BOTH)                                                                               \
    F(FP_MMX, 8, BOTH)                                                                             \
    X(FP_CONTROL_STATUS, BOTH)                                                                     \
    X(XMM_CONTROL_STATUS, BOTH)                                                                    \
    F(YMM_LOW, 16, MAYBE)                                                                          \
    F(YMM_HIGH, 16, MAYBE)                                                                         \
    X(CR0, BOTH)                                                                                   \
    X(CR2, BOTH)                                                                                   \
    X(CR3, BOTH)                                                                                   \
    X(CR4, BOTH)                                                                                   \
    X(CR8, BOTH)                                                                                   \
    X(XFEM, BOTH)                                                                                  \
    X(INTERMEDIATE_CR0, GET)                                                                       \
    X(INTERMEDIATE_CR3, GET)                                                                       \
    X(INTERMEDIATE_CR4, GET)                                                                       \
    X(INTERMEDIATE_CR8, GET)                                                                       \
    X(DR0, BOTH)                                                                                   \
    X(DR1, BOTH)                                                                                   \
    X(DR2, BOTH)                                                                                   \
    X(DR3, BOTH)                                                                                   \
    X(DR6, BOTH)                                                                                   \
    X(DR7, BOTH)                                                                                   \
    X(ES, BOTH)                                                                                    \
    X(CS, BOTH)                                                                                    \
    X(SS, BOTH)                                                                                    \
    X(DS, BOTH)                                                                                    \
    X(FS, BOTH)                                                                                    \
    X(GS, BOTH)                                                                                    \
    X(LDTR, BOTH)                                                                                  \
    X(TR, BOTH)                                                                                    \
    X(IDTR, BOTH)                                                                                  \
    X(GDTR, BOTH)                                                                                  \
    X(TSC, GET)                                                                                    \
    X(EFER, BOTH)                                                                                  \
    X(KERNEL_GS_BASE, BOTH)                                                                        \
    X(APIC_BASE, BOTH)                                                                             \
    X(PAT, BOTH)                                                                                   \
    X(SYSENTER_CS, BOTH)                                                                           \
    X(SYSENTER_EIP, BOTH)                                                                          \
    X(SYSENTER_ESP, BOTH)                                                                          \
    X(STAR, BOTH)                                                                                  \
    X(LSTAR, BOTH)                                                                                 \
    X(CSTAR, BOTH)                                                                                 \
    X(SFMASK, BOTH)                                                                                \
    X(INITIAL_APIC_ID, GET)                                                                        \
    X(MTRR_CAP, GET)                                                                               \
    X(MTRR_DEF_TYPE, BOTH)                                                                         \
    F(MTRR_PHYS_BASE, 8, BOTH)                                                                     \
    F(MTRR_PHYS_MASK, 8, BOTH)                                                                     \
    X(MTRR_FIX64K00000, BOTH)                                                                      \
    X(MTRR_FIX16K80000, BOTH)                                                                      \
    X(MTRR_FIX16KA0000, BOTH)                                                                      \
    X(MTRR_FIX4KC0000, BOTH)                                                                       \
    X(MTRR_FIX4KC8000, BOTH)                                                                       \
    X(MTRR_FIX4KD0000, BOTH)                                                                       \
    X(MTRR_FIX4KD8000, BOTH)                                                                       \
    X(MTRR_FIX4KE0000, BOTH)                                                                       \
    X(MTRR_FIX4KE8000, BOTH)                                                                       \
    X(MTRR_FIX4KF0000, BOTH)                                                                       \
    X(MTRR_FIX4KF8000, BOTH)                                                                       \
    X(TSC_AUX, MAYBE)                                                                              \
    X(BNDCFGS, REFUSED)                                                                            \
    X(DEBUG_CTL, BOTH)                                                                             \
    X(MCOUNT, REFUSED)                                                                             \
    X(ACOUNT, REFUSED)                                                                             \
    F(SGX_LAUNCH_CONTROL, 4, REFUSED)                                                              \
    X(SPEC_CTRL, MAYBE)                                                                            \
    X(PRED_CMD, REFUSED)                                                                           \
    X(VIRT_SPEC_CTRL, REFUSED)                                                                     \
    X(TSC_VIRTUAL_OFFSET, REFUSED)                                                                 \
    X(TSX_CTRL, REFUSED)                                                                           \
    X(MC_UPDATE_PATCH_LEVEL, GET)                                                                  \
    X(XSS, REFUSED)                                                                                \
    X(U_CET, REFUSED)                                                                              \
    X(S_CET, REFUSED)                                                                              \
    X(SSP, REFUSED)                                                                                \
    X(PL0_SSP, REFUSED)                                                                            \
    X(PL1_SSP, REFUSED)                                                                            \
    X(PL2_SSP, REFUSED)                                                                            \
    X(PL3_SSP, REFUSED)                                                                            \
    X(INTERRUPT_SSP_TABLE_ADDR, REFUSED)                                                           \
    X(TSC_VIRTUAL_MULTIPLIER, REFUSED)                                                             \
    X(TSC_DEADLINE, BOTH)                                                                          \
    X(TSC_ADJUST, REFUSED)                                                                         \
    X(PASID, REFUSED)                                                                              \
    X(UMWAIT_CONTROL, REFUSED)                                                                     \
    X(XFD, REFUSED)                                                                                \
    X(XFD_ERR, REFUSED)                                                                            \
    X(MISC_ENABLE, REFUSED)                                                                        \
    X(FEATURE_CONTROL, REFUSED)                                                                    \
    X(VMX_BASIC, REFUSED)                                                                          \
    X(VMX_PINBASED_CTLS, REFUSED)                                                                  \
    X(VMX_PROCBASED_CTLS, REFUSED)                                                                 \
    X(VMX_EXIT_CTLS, REFUSED)                                                                      \
    X(VMX_ENTRY_CTLS, REFUSED)                                                                     \
    X(VMX_MISC, REFUSED)                                                                           \
    X(VMX_CR0_FIXED0, REFUSED)                                                                     \
    X(VMX_CR0_FIXED1, REFUSED)                                                                     \
    X(VMX_CR4_FIXED0, REFUSED)                                                                     \
    X(VMX_CR4_FIXED1, REFUSED)                                                                     \
    X(VMX_VMCS_ENUM, REFUSED)                                                                      \
    X(VMX_PROCBASED_CTLS2, REFUSED)                                                                \
    X(VMX_EPT_VPID_CAP, REFUSED)                                                                   \
    X(VMX_TRUE_PINBASED_CTLS, REFUSED)                                                             \
    X(VMX_TRUE_PROCBASED_CTLS, REFUSED)                                                            \
    X(VMX_TRUE_EXIT_CTLS, REFUSED)                                                                 \
    X(VMX_TRUE_ENTRY_CTLS, REFUSED)                                                                \
    X(AMD_VM_HSAVE_PA, REFUSED)                                                                    \
    X(AMD_VM_CR, REFUSED)                                                                          \
    X(PERF_GLOBAL_CTRL, REFUSED)                                                                   \
    X(PERF_GLOBAL_STATUS, REFUSED)                                                                 \
    X(PERF_GLOBAL_IN_USE, REFUSED)                                                                 \
    X(FIXED_CTR_CTRL, REFUSED)                                                                     \
    X(DS_AREA, REFUSED)                                                                            \
    X(PEBS_ENABLE, REFUSED)                                                                        \
    X(PEBS_LD_LAT, REFUSED)                                                                        \
    X(PEBS_FRONTEND, REFUSED)                                                                      \
    X(RTIT_CTL, REFUSED)                                                                           \
    X(RTIT_STATUS, REFUSED)                                                                        \
    X(RTIT_OUTPUT_BASE, REFUSED)                                                                   \
    X(RTIT_OUTPUT_MASK_PTRS, REFUSED)                                                              \
    X(RTIT_CR3_MATCH, REFUSED)                                                                     \
    F(PERF_EVT_SEL, 1, REFUSED)                                                                    \
    F(PMC, 1, REFUSED)                                                                             \
    F(FIXED_CTR, 1, REFUSED)                                                                       \
    X(RTIT_ADDR0A, REFUSED)                                                                        \
    X(LBR_TOS, REFUSED)                                                                            \
    X(LBR_SELECT, REFUSED)                                                                         \
    X(LER_FROM_LIP, REFUSED)                                                                       \
    X(LER_TO_LIP, REFUSED)                                                                         \
    F(LBR_FROM, 1, REFUSED)                                                                        \
    F(LBR_TO, 1, REFUSED)                                                                          \
    F(LBR_INFO, 1, REFUSED)                                                                        \
    X(APIC_ID, BOTH)                                                                               \
    X(APIC_VERSION, GET)                                                                           \
    X(APIC_TPR, BOTH)                                                                              \
    X(APIC_PPR, GET)                                                                               \
    X(APIC_EOI, BOTH)                                                                              \
    X(APIC_LDR, BOTH)                                                                              \
    X(APIC_SVR, BOTH)                                                                              \
    F(APIC_ISR, 8, BOTH)                                                                           \
    F(APIC_TMR, 8, BOTH)                                                                           \
    F(APIC_IRR, 8, BOTH)                                                                           \
    X(APIC_ESR, BOTH)                                                                              \
    X(APIC_ICR, BOTH)                                                                              \
    X(APIC_LVT_TIMER, BOTH)                                                                        \
    X(APIC_LVT_THERMAL, BOTH)                                                                      \
    X(APIC_LVT_PERFMON, BOTH)                                                                      \
    X(APIC_LVT_LINT0, BOTH)                                                                        \
    X(APIC_LVT_LINT1, BOTH)                                                                        \
    X(APIC_LVT_ERROR, BOTH)                                                                        \
    X(APIC_INIT_COUNT, BOTH)                                                                       \
    X(APIC_CURRENT_COUNT, BOTH)                                                                    \
    X(APIC_DIVIDE, BOTH)                                                                           \
    X(APIC_SELF_IPI, BOTH)                                                                         \
    X(VP_RUNTIME, GET)                                                                             \
    X(HYPERCALL, BOTH)                                                                             \
    X(GUEST_OS_ID, BOTH)                                                                           \
    X(VP_INDEX, GET)                                                                               \
    X(TIME_REF_COUNT, GET)                                                                         \
    X(CPU_MANAGEMENT_VERSION, REFUSED)                                                             \
    X(SYNTHETIC_EOI, REFUSED)                                                                      \
    X(SYNTHETIC_ICR, BOTH)                                                                         \
    X(SYNTHETIC_TPR, BOTH)                                                                         \
    X(VP_ASSIST_PAGE, BOTH)                                                                        \
    X(VP_ROOT_SIGNAL_COUNT, GET)                                                                   \
    X(REFERENCE_TSC, BOTH)                                                                         \
    X(VP_CONFIG, REFUSED)                                                                          \
    X(GHCB, REFUSED)                                                                               \
    X(REFERENCE_TSC_SEQUENCE, GET)                                                                 \
    X(GUEST_SCHEDULER_EVENT, REFUSED)                                                              \
    X(REGISTER_PAGE, REFUSED)                                                                      \
    X(STATS_PARTITION_RETAIL, REFUSED)                                                             \
    X(STATS_PARTITION_INTERNAL, REFUSED)                                                           \
    X(STATS_VP_RETAIL, REFUSED)                                                                    \
    X(STATS_VP_INTERNAL, REFUSED)                                                                  \
    X(EMULATED_TIMER_PERIOD, REFUSED)                                                              \
    X(EMULATED_TIMER_CONTROL, REFUSED)                                                             \
    X(PM_TIMER_ASSIST, REFUSED)                                                                    \
    X(SEV_CONTROL, REFUSED)                                                                        \
    X(SEV_GHCB_GPA, REFUSED)                                                                       \
    X(SEV_DOORBELL_GPA, REFUSED)                                                                   \
    X(SEV_AVIC_GPA, REFUSED)                                                                       \
    X(NESTED_GUEST_STATE, REFUSED)                                                                 \
    X(NESTED_CURRENT_VM_GPA, REFUSED)                                                              \
    X(NESTED_VMX_INV_EPT, REFUSED)                                                                 \
    X(NESTED_VMX_INV_VPID, REFUSED)                                                                \
    X(NESTED_VP_INDEX, REFUSED)                                                                    \
    F(SINT, 16, BOTH)                                                                              \
    X(SCONTROL, BOTH)                                                                              \
    X(SVERSION, GET)                                                                               \
    X(SIEFP, BOTH)                                                                                 \
    X(SIMP, BOTH)                                                                                  \
    X(EOM, BOTH)                                                                                   \
    X(SIRBP, REFUSED)                                                                              \
    F(NESTED_SINT, 16, REFUSED)                                                                    \
    X(NESTED_SCONTROL, REFUSED)                                                                    \
    X(NESTED_SVERSION, REFUSED)                                                                    \
    X(NESTED_SIEFP, REFUSED)                                                                       \
    X(NESTED_SIMP, REFUSED)                                                                        \
    X(NESTED_EOM, REFUSED)                                                                         \
    X(NESTED_SIRBP, REFUSED)                                                                       \
    F(STIMER_CONFIG, 4, BOTH)                                                                      \
    F(STIMER_COUNT, 4, BOTH)                                                                       \
    X(STIME_UNHALTED_TIMER_CONFIG, BOTH)                                                           \
    X(STIME_UNHALTED_TIMER_COUNT, BOTH)                                                            \
    X(VSM_CODE_PAGE_OFFSETS, REFUSED)                                                              \
    X(VSM_VP_STATUS, REFUSED)                                                                      \
    X(VSM_PARTITION_STATUS, REFUSED)                                                               \
    X(VSM_VINA, REFUSED)                                                                           \
    X(VSM_CAPABILITIES, REFUSED)                                                                   \
    X(VSM_PARTITION_CONFIG, REFUSED)                                                               \
    X(GUEST_VSM_PARTITION_CONFIG, REFUSED)                                                         \
    F(VSM_VP_SECURE_CONFIG_VTL, 15, REFUSED)                                                       \
    X(VSM_VP_WAIT_FOR_TLB_LOCK, REFUSED)                                                           \
    X(ISOLATION_CAPABILITIES, REFUSED)                                                             \
    X(CR_INTERCEPT_CONTROL, REFUSED)                                                               \
    X(CR_INTERCEPT_CR0_MASK, REFUSED)                                                              \
    X(CR_INTERCEPT_CR4_MASK, REFUSED)                                                              \
    X(CR_INTERCEPT_IA32_MISC_ENABLE_MASK, REFUSED)

#endif
