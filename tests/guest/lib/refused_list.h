// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the reference names and Corbel does not have: the probes refused.c, of a child and of the
// root, prove that it is refused. docs/abi-coverage.md is made from it.
#ifndef GUEST_REFUSED_LIST_H
#define GUEST_REFUSED_LIST_H

#include "hv/cpuid.h"
#include "hv/hypercall_codes.h"
#include "hv/msr.h"
#include "hv/partition.h"

// HV_STATUS_INVALID_HYPERCALL_CODE, whoever calls and whatever the input.
#define REFUSED_HYPERCALLS(X)                                                                      \
    X(HVCALL_GET_LOGICAL_PROCESSOR_RUN_TIME)                                                       \
    X(HVCALL_PARK_LOGICAL_PROCESSORS)                                                              \
    X(HVCALL_INVOKE_HYPERVISOR_DEBUGGER)                                                           \
    X(HVCALL_MODIFY_VTL_PROTECTION_MASK)                                                           \
    X(HVCALL_ENABLE_PARTITION_VTL)                                                                 \
    X(HVCALL_DISABLE_PARTITION_VTL)                                                                \
    X(HVCALL_ENABLE_VP_VTL)                                                                        \
    X(HVCALL_DISABLE_VP_VTL)                                                                       \
    X(HVCALL_VTL_CALL)                                                                             \
    X(HVCALL_VTL_RETURN)                                                                           \
    X(HVCALL_SAVE_PARTITION_STATE)                                                                 \
    X(HVCALL_RESTORE_PARTITION_STATE)                                                              \
    X(HVCALL_INITIALIZE_EVENT_LOG_BUFFER_GROUP)                                                    \
    X(HVCALL_FINALIZE_EVENT_LOG_BUFFER_GROUP)                                                      \
    X(HVCALL_CREATE_EVENT_LOG_BUFFER)                                                              \
    X(HVCALL_DELETE_EVENT_LOG_BUFFER)                                                              \
    X(HVCALL_MAP_EVENT_LOG_BUFFER)                                                                 \
    X(HVCALL_UNMAP_EVENT_LOG_BUFFER)                                                               \
    X(HVCALL_SET_EVENT_LOG_GROUP_SOURCES)                                                          \
    X(HVCALL_RELEASE_EVENT_LOG_BUFFER)                                                             \
    X(HVCALL_FLUSH_EVENT_LOG_BUFFER)                                                               \
    X(HVCALL_POST_DEBUG_DATA)                                                                      \
    X(HVCALL_RETRIEVE_DEBUG_DATA)                                                                  \
    X(HVCALL_RESET_DEBUG_SESSION)                                                                  \
    X(HVCALL_OUTPUT_DEBUG_CHARACTER)                                                               \
    X(HVCALL_ADD_LOGICAL_PROCESSOR)                                                                \
    X(HVCALL_REMOVE_LOGICAL_PROCESSOR)                                                             \
    X(HVCALL_QUERY_NUMA_DISTANCE)                                                                  \
    X(HVCALL_SET_LOGICAL_PROCESSOR_PROPERTY)                                                       \
    X(HVCALL_GET_LOGICAL_PROCESSOR_PROPERTY)                                                       \
    X(HVCALL_MAP_DEVICE_INTERRUPT)                                                                 \
    X(HVCALL_UNMAP_DEVICE_INTERRUPT)                                                               \
    X(HVCALL_MAP_DEVICE_PAGES)                                                                     \
    X(HVCALL_UNMAP_DEVICE_PAGES)                                                                   \
    X(HVCALL_ATTACH_DEVICE)                                                                        \
    X(HVCALL_DETACH_DEVICE)                                                                        \
    X(HVCALL_ENTER_SLEEP_STATE)                                                                    \
    X(HVCALL_PREPARE_FOR_SLEEP)                                                                    \
    X(HVCALL_PREPARE_FOR_HIBERNATE)                                                                \
    X(HVCALL_NOTIFY_PARTITION_EVENT)                                                               \
    X(HVCALL_GET_LOGICAL_PROCESSOR_REGISTERS)                                                      \
    X(HVCALL_SET_LOGICAL_PROCESSOR_REGISTERS)                                                      \
    X(HVCALL_QUERY_ASSOCIATED_LPS_FOR_MCA)                                                         \
    X(HVCALL_INJECT_SYNTHETIC_MACHINE_CHECK)                                                       \
    X(HVCALL_SCRUB_PARTITION)                                                                      \
    X(HVCALL_COLLECT_LIVEDUMP)                                                                     \
    X(HVCALL_DISABLE_HYPERVISOR)                                                                   \
    X(HVCALL_GET_SPA_PAGE_LIST)                                                                    \
    X(HVCALL_CHECK_FOR_IO_INTERCEPT)                                                               \
    X(HVCALL_FLUSH_GUEST_PHYSICAL_ADDRESS_SPACE)                                                   \
    X(HVCALL_FLUSH_GUEST_PHYSICAL_ADDRESS_LIST)                                                    \
    X(HVCALL_CHECK_SPARSE_GPA_PAGE_VTL_ACCESS)                                                     \
    X(HVCALL_ACQUIRE_SPARSE_SPA_PAGE_HOST_ACCESS)                                                  \
    X(HVCALL_RELEASE_SPARSE_SPA_PAGE_HOST_ACCESS)                                                  \
    X(HVCALL_ACCEPT_GPA_PAGES)                                                                     \
    X(HVCALL_MODIFY_SPARSE_GPA_PAGE_HOST_VISIBILITY)                                               \
    X(HVCALL_GET_VP_STATE)                                                                         \
    X(HVCALL_SET_VP_STATE)                                                                         \
    X(HVCALL_GET_VP_SET_FROM_MDA)                                                                  \
    X(HVCALL_GET_PARTITION_PROPERTY_EX)                                                            \
    X(HVCALL_MEMORY_MAPPED_IO_READ)                                                                \
    X(HVCALL_MEMORY_MAPPED_IO_WRITE)                                                               \
    X(HVCALL_SET_PARTITION_PROPERTY_EX)                                                            \
    X(HVCALL_DISABLE_HYPERVISOR_EX)                                                                \
    X(HVCALL_INSTALL_INTERCEPT_EX)                                                                 \
    X(HVCALL_PIN_GPA_PAGE_RANGES)                                                                  \
    X(HVCALL_UNPIN_GPA_PAGE_RANGES)                                                                \
    X(HVCALL_QUERY_SPARSE_GPA_PAGE_HOST_VISIBILITY)                                                \
    X(HVCALL_SET_VIRTUAL_INTERRUPT_TARGET)                                                         \
    X(HVCALL_MAP_STATS_PAGE2)

// The same where the caller may make extended calls, else ACCESS_DENIED.
#define REFUSED_EXTENDED_HYPERCALLS(X)                                                             \
    X(HVCALL_EXT_MEMORY_HEAT_HINT)                                                                 \
    X(HVCALL_EXT_EPF_SETUP)                                                                        \
    X(HVCALL_EXT_SCHEDULER_ASSIST_SETUP)                                                           \
    X(HVCALL_EXT_MEMORY_HEAT_HINT_ASYNC)                                                           \
    X(HVCALL_VBS_VM_CALL_REPORT)

// #GP(0), reading and writing.
#define REFUSED_MSRS(X)                                                                            \
    X(HV_X64_MSR_POWER_STATE_TRIGGER_C1)                                                           \
    X(HV_X64_MSR_POWER_STATE_TRIGGER_C2)                                                           \
    X(HV_X64_MSR_POWER_STATE_TRIGGER_C3)                                                           \
    X(HV_X64_MSR_POWER_STATE_CONFIG_C1)                                                            \
    X(HV_X64_MSR_POWER_STATE_CONFIG_C2)                                                            \
    X(HV_X64_MSR_POWER_STATE_CONFIG_C3)                                                            \
    X(HV_X64_MSR_STATS_PARTITION_RETAIL_PAGE)                                                      \
    X(HV_X64_MSR_STATS_PARTITION_INTERNAL_PAGE)                                                    \
    X(HV_X64_MSR_STATS_VP_RETAIL_PAGE)                                                             \
    X(HV_X64_MSR_STATS_VP_INTERNAL_PAGE)                                                           \
    X(HV_X64_MSR_SYNDBG_CONTROL)                                                                   \
    X(HV_X64_MSR_SYNDBG_STATUS)                                                                    \
    X(HV_X64_MSR_SYNDBG_SEND_BUFFER)                                                               \
    X(HV_X64_MSR_SYNDBG_RECV_BUFFER)                                                               \
    X(HV_X64_MSR_SYNDBG_PENDING_BUFFER)                                                            \
    X(HV_X64_MSR_DEBUG_DEVICE_OPTIONS)                                                             \
    X(HV_X64_MSR_REENLIGHTENMENT_CONTROL)                                                          \
    X(HV_X64_MSR_TSC_EMULATION_CONTROL)                                                            \
    X(HV_X64_MSR_TSC_EMULATION_STATUS)                                                             \
    X(HV_X64_MSR_TSC_INVARIANT_CONTROL)                                                            \
    X(HV_X64_MSR_NESTED_VP_INDEX)                                                                  \
    X(HV_X64_MSR_NESTED_SCONTROL)                                                                  \
    X(HV_X64_MSR_NESTED_SVERSION)                                                                  \
    X(HV_X64_MSR_NESTED_SIEFP)                                                                     \
    X(HV_X64_MSR_NESTED_SIMP)                                                                      \
    X(HV_X64_MSR_NESTED_EOM)                                                                       \
    X(HV_X64_MSR_NESTED_SINT0)

// Bits of CPUID leaves that are 0: of the privileges in 40000003 EBX:EAX, and of a leaf's register.
#define REFUSED_PRIVILEGES(X)                                                                      \
    X(HV_PRIV_ACCESS_STATS_REG)                                                                    \
    X(HV_PRIV_ACCESS_DEBUG_REGS)                                                                   \
    X(HV_PRIV_ACCESS_REENLIGHTENMENT_CONTROLS)                                                     \
    X(HV_PRIV_ACCESS_ROOT_SCHEDULER_REG)                                                           \
    X(HV_PRIV_ACCESS_TSC_INVARIANT_CONTROLS)                                                       \
    X(HV_PRIV_ADJUST_MESSAGE_BUFFERS)                                                              \
    X(HV_PRIV_ACCESS_STATS)                                                                        \
    X(HV_PRIV_DEBUGGING)                                                                           \
    X(HV_PRIV_CPU_MANAGEMENT)                                                                      \
    X(HV_PRIV_CONFIGURE_PROFILER)                                                                  \
    X(HV_PRIV_ACCESS_VP_EXIT_TRACING)                                                              \
    X(HV_PRIV_ACCESS_VSM)                                                                          \
    X(HV_PRIV_ACCESS_VP_REGISTERS)                                                                 \
    X(HV_PRIV_ISOLATION)

// X(leaf, register, bit)
#define REFUSED_CPUID_BITS(X)                                                                      \
    X(0x40000003, ecx, HV_FEATURE_ECX_HPET_NEEDED_FOR_C3)                                          \
    X(0x40000003, ecx, HV_FEATURE_ECX_INVARIANT_MPERF)                                             \
    X(0x40000003, ecx, HV_FEATURE_ECX_SUPERVISOR_SHADOW_STACK)                                     \
    X(0x40000003, ecx, HV_FEATURE_ECX_ARCHITECTURAL_PMU)                                           \
    X(0x40000003, ecx, HV_FEATURE_ECX_EXCEPTION_TRAP_INTERCEPT)                                    \
    X(0x40000003, ecx, HV_FEATURE_ECX_VP_DISPATCH_INTERRUPT_INJECTION)                             \
    X(0x40000003, ecx, HV_FEATURE_ECX_GHCB_ROOT_MAPPING)                                           \
    X(0x40000003, edx, HV_FEATURE_EDX_MWAIT)                                                       \
    X(0x40000003, edx, HV_FEATURE_EDX_GUEST_DEBUGGING)                                             \
    X(0x40000003, edx, HV_FEATURE_EDX_PERFORMANCE_MONITOR)                                         \
    X(0x40000003, edx, HV_FEATURE_EDX_CPU_DYNAMIC_PARTITIONING)                                    \
    X(0x40000003, edx, HV_FEATURE_EDX_HYPERVISOR_SLEEP)                                            \
    X(0x40000003, edx, HV_FEATURE_EDX_NUMA_DISTANCES)                                              \
    X(0x40000003, edx, HV_FEATURE_EDX_SYNTHETIC_MACHINE_CHECK)                                     \
    X(0x40000003, edx, HV_FEATURE_EDX_DEBUG_MSRS)                                                  \
    X(0x40000003, edx, HV_FEATURE_EDX_DISABLE_HYPERVISOR)                                          \
    X(0x40000003, edx, HV_FEATURE_EDX_SVM_FEATURES)                                                \
    X(0x40000003, edx, HV_FEATURE_EDX_VSM_PAT_REGISTER)                                            \
    X(0x40000003, edx, HV_FEATURE_EDX_VSM_BNDCFGS_REGISTER)                                        \
    X(0x40000003, edx, HV_FEATURE_EDX_WATCHDOG_TIMER)                                              \
    X(0x40000003, edx, HV_FEATURE_EDX_DEVICE_DOMAINS)                                              \
    X(0x40000003, edx, HV_FEATURE_EDX_S1_DEVICE_DOMAINS)                                           \
    X(0x40000003, edx, HV_FEATURE_EDX_LBR)                                                         \
    X(0x40000003, edx, HV_FEATURE_EDX_IPT)                                                         \
    X(0x40000003, edx, HV_FEATURE_EDX_CROSS_VTL_FLUSH)                                             \
    X(0x40000003, edx, HV_FEATURE_EDX_IDLE_SPEC_CTRL)                                              \
    X(0x40000003, edx, HV_FEATURE_EDX_APIC_EOI_INTERCEPT)                                          \
    X(0x40000004, eax, HV_HINT_EAX_SWITCH_ADDRESS_SPACE_HYPERCALL)                                 \
    X(0x40000004, eax, HV_HINT_EAX_LOCAL_TLB_FLUSH_HYPERCALL)                                      \
    X(0x40000004, eax, HV_HINT_EAX_RESET_MSR)                                                      \
    X(0x40000004, eax, HV_HINT_EAX_DMA_REMAPPING)                                                  \
    X(0x40000004, eax, HV_HINT_EAX_INTERRUPT_REMAPPING)                                            \
    X(0x40000004, eax, HV_HINT_EAX_X2APIC_MSRS)                                                    \
    X(0x40000004, eax, HV_HINT_EAX_NESTED)                                                         \
    X(0x40000004, eax, HV_HINT_EAX_INT_FOR_MBEC_SYSCALLS)                                          \
    X(0x40000004, eax, HV_HINT_EAX_ENLIGHTENED_VMCS)                                               \
    X(0x40000004, eax, HV_HINT_EAX_SYNCED_TIMELINE)                                                \
    X(0x40000004, eax, HV_HINT_EAX_CORE_SCHEDULER_REQUESTED)                                       \
    X(0x40000004, eax, HV_HINT_EAX_DIRECT_LOCAL_FLUSH_ENTIRE)                                      \
    X(0x40000004, eax, HV_HINT_EAX_USE_X2APIC)                                                     \
    X(0x40000004, eax, HV_HINT_EAX_MMIO_HYPERCALLS)                                                \
    X(0x40000004, eax, HV_HINT_EAX_GPA_PINNING_HYPERCALL)                                          \
    X(0x40000004, eax, HV_HINT_EAX_WAKE_VPS)                                                       \
    X(0x40000006, eax, HV_HARDWARE_EAX_PERFORMANCE_COUNTERS)                                       \
    X(0x40000006, eax, HV_HARDWARE_EAX_DMA_REMAPPING)                                              \
    X(0x40000006, eax, HV_HARDWARE_EAX_INTERRUPT_REMAPPING)                                        \
    X(0x40000006, eax, HV_HARDWARE_EAX_MEMORY_PATROL_SCRUBBER)                                     \
    X(0x40000006, eax, HV_HARDWARE_EAX_DMA_PROTECTION)                                             \
    X(0x40000006, eax, HV_HARDWARE_EAX_HPET_REQUESTED)                                             \
    X(0x40000006, eax, HV_HARDWARE_EAX_VOLATILE_SYNTHETIC_TIMERS)                                  \
    X(0x40000006, eax, HV_HARDWARE_EAX_PHYSICAL_DESTINATION_MODE)                                  \
    X(0x40000006, eax, HV_HARDWARE_EAX_VMFUNC_ALIAS_MAP_SWITCH)                                    \
    X(0x40000006, eax, HV_HARDWARE_EAX_MEMORY_ZEROING)                                             \
    X(0x40000006, eax, HV_HARDWARE_EAX_RESOURCE_ALLOCATION)                                        \
    X(0x40000006, eax, HV_HARDWARE_EAX_RESOURCE_MONITORING)                                        \
    X(0x40000006, eax, HV_HARDWARE_EAX_GUEST_VIRTUAL_PMU)                                          \
    X(0x40000006, eax, HV_HARDWARE_EAX_GUEST_VIRTUAL_LBR)                                          \
    X(0x40000006, eax, HV_HARDWARE_EAX_GUEST_VIRTUAL_IPT)                                          \
    X(0x40000006, eax, HV_HARDWARE_EAX_APIC_EMULATION)                                             \
    X(0x40000006, eax, HV_HARDWARE_EAX_ACPI_WDAT)                                                  \
    X(0x40000006, eax, HV_HARDWARE_EAX_HARDWARE_WATCHDOG)                                          \
    X(0x40000006, eax, HV_HARDWARE_EAX_DEVICE_ACCESS_TRACKING)                                     \
    X(0x40000007, eax, HV_CPU_MANAGEMENT_EAX_START_LOGICAL_PROCESSOR)                              \
    X(0x40000007, eax, HV_CPU_MANAGEMENT_EAX_CREATE_ROOT_VP)                                       \
    X(0x40000007, eax, HV_CPU_MANAGEMENT_EAX_PERF_COUNTER_SYNC)                                    \
    X(0x40000007, eax, HV_CPU_MANAGEMENT_EAX_RESERVED_IDENTITY)                                    \
    X(0x40000009, eax, HV_NESTED_ACCESS_EAX_SYNIC_REGS)                                            \
    X(0x40000009, eax, HV_NESTED_ACCESS_EAX_INTR_CTRL_REGS)                                        \
    X(0x40000009, eax, HV_NESTED_ACCESS_EAX_HYPERCALL_MSRS)                                        \
    X(0x40000009, eax, HV_NESTED_ACCESS_EAX_VP_INDEX)                                              \
    X(0x40000009, eax, HV_NESTED_ACCESS_EAX_REENLIGHTENMENT_CONTROLS)                              \
    X(0x40000009, edx, HV_NESTED_ACCESS_EDX_XMM_HYPERCALL_INPUT)                                   \
    X(0x40000009, edx, HV_NESTED_ACCESS_EDX_FAST_HYPERCALL_OUTPUT)                                 \
    X(0x40000009, edx, HV_NESTED_ACCESS_EDX_SINT_POLLING_MODE)                                     \
    X(0x4000000A, eax, HV_NESTED_EAX_DIRECT_FLUSH)                                                 \
    X(0x4000000A, eax, HV_NESTED_EAX_GUEST_MAPPING_FLUSH)                                          \
    X(0x4000000A, eax, HV_NESTED_EAX_ENLIGHTENED_MSR_BITMAP)                                       \
    X(0x4000000A, eax, HV_NESTED_EAX_COMBINED_VIRT_EXCEPTIONS)                                     \
    X(0x4000000A, eax, HV_NESTED_EAX_GUEST_DEBUGCTL)                                               \
    X(0x4000000A, eax, HV_NESTED_EAX_ENLIGHTENED_TLB)                                              \
    X(0x4000000A, ebx, HV_NESTED_EBX_EVMCS_PERF_GLOBAL_CTRL)

// HV_STATUS_UNKNOWN_PROPERTY to the parent that asks or sets.
#define REFUSED_PROPERTIES(X)                                                                      \
    X(HV_PARTITION_PROPERTY_SUSPEND)                                                               \
    X(HV_PARTITION_PROPERTY_INTEGRATED_SCHEDULER_ENABLED)                                          \
    X(HV_PARTITION_PROPERTY_EMULATED_TIMER_PERIOD)                                                 \
    X(HV_PARTITION_PROPERTY_EMULATED_TIMER_CONTROL)                                                \
    X(HV_PARTITION_PROPERTY_PM_TIMER_ASSIST)                                                       \
    X(HV_PARTITION_PROPERTY_DEBUG_CHANNEL_ID)                                                      \
    X(HV_PARTITION_PROPERTY_VIRTUAL_TLB_PAGE_COUNT)                                                \
    X(HV_PARTITION_PROPERTY_VSM_CONFIG)                                                            \
    X(HV_PARTITION_PROPERTY_ZERO_MEMORY_ON_RESET)                                                  \
    X(HV_PARTITION_PROPERTY_PROCESSORS_PER_SOCKET)                                                 \
    X(HV_PARTITION_PROPERTY_NESTED_TLB_SIZE)                                                       \
    X(HV_PARTITION_PROPERTY_VSM_PERMISSIONS_DIRTY_SINCE_LAST_QUERY)                                \
    X(HV_PARTITION_PROPERTY_SGX_LAUNCH_CONTROL_CONFIG)                                             \
    X(HV_PARTITION_PROPERTY_DEFAULT_SGX_LAUNCH_CONTROL(0))                                         \
    X(HV_PARTITION_PROPERTY_ISOLATION_STATE)                                                       \
    X(HV_PARTITION_PROPERTY_ISOLATION_CONTROL)                                                     \
    X(HV_PARTITION_PROPERTY_ALLOCATION_ID)                                                         \
    X(HV_PARTITION_PROPERTY_MONITORING_ID)                                                         \
    X(HV_PARTITION_PROPERTY_NON_ARCHITECTURAL_CORE_SHARING)                                        \
    X(HV_PARTITION_PROPERTY_HYPERCALL_DOORBELL_PAGE)                                               \
    X(HV_PARTITION_PROPERTY_ISOLATION_POLICY)                                                      \
    X(HV_PARTITION_PROPERTY_AUTO_EOI_ENABLED)                                                      \
    X(HV_PARTITION_PROPERTY_SEV_VMGEXIT_OFFLOADS)                                                  \
    X(HV_PARTITION_PROPERTY_PARTITION_DIAG_BUFFER_CONFIG)                                          \
    X(HV_PARTITION_PROPERTY_PROCESSOR_CL_FLUSH_SIZE)                                               \
    X(HV_PARTITION_PROPERTY_ENLIGHTENMENT_MODIFICATIONS)                                           \
    X(HV_PARTITION_PROPERTY_COMPATIBILITY_VERSION)                                                 \
    X(HV_PARTITION_PROPERTY_MAX_XSAVE_DATA_SIZE)                                                   \
    X(HV_PARTITION_PROPERTY_PROCESSOR_VIRTUALIZATION_FEATURES)                                     \
    X(HV_PARTITION_PROPERTY_VMM_CAPABILITIES)                                                      \
    X(HV_PARTITION_PROPERTY_ASSIGNABLE_SYNTHETIC_PROC_FEATURES)

#endif
