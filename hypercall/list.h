// SPDX-License-Identifier: BSD-2-Clause-Patent
// The calls there are (tlfs-reference 1): code, handler, kind, sizes of the fixed input header, an
// input element, an output element and the output, and the privileges without which the answer is
// HV_STATUS_ACCESS_DENIED. The relation of the caller to the target is checked in the handlers.
#pragma once

#include "corbel/hypercall.h"

#define PRIV_CHILDREN HV_PRIV_CREATE_PARTITIONS
#define PRIV_TIME                                                                                  \
    (HV_PRIV_ACCESS_PARTITION_REFERENCE_COUNTER | HV_PRIV_ACCESS_PARTITION_REFERENCE_TSC)
#define REP       HYPERCALL_REP
#define SIMPLE    HYPERCALL_SIMPLE
#define VARIABLE  HYPERCALL_VARIABLE
#define IN(name)  sizeof(struct hv_input_##name)
#define OUT(name) sizeof(struct hv_output_##name)

// X(code, handler, kind, input, element in, element out, output, privilege)
#define HYPERCALL_LIST(X)                                                                          \
    X(SWITCH_VIRTUAL_ADDRESS_SPACE, switch_space, SIMPLE, IN(switch_virtual_address_space), 0, 0,  \
      0, 0)                                                                                        \
    X(FLUSH_VIRTUAL_ADDRESS_SPACE, flush_space, SIMPLE, IN(flush_virtual_address_space), 0, 0, 0,  \
      0)                                                                                           \
    X(FLUSH_VIRTUAL_ADDRESS_LIST, flush_list, REP, IN(flush_virtual_address_space), 8, 0, 0, 0)    \
    X(NOTIFY_LONG_SPIN_WAIT, long_spin_wait, SIMPLE, IN(notify_long_spin_wait), 0, 0, 0, 0)        \
    X(SEND_SYNTHETIC_CLUSTER_IPI, cluster_ipi, SIMPLE, IN(send_synthetic_cluster_ipi), 0, 0, 0, 0) \
    X(FLUSH_VIRTUAL_ADDRESS_SPACE_EX, flush_space_ex, SIMPLE | VARIABLE,                           \
      IN(flush_virtual_address_space_ex), 0, 0, 0, 0)                                              \
    X(FLUSH_VIRTUAL_ADDRESS_LIST_EX, flush_list_ex, REP | VARIABLE,                                \
      IN(flush_virtual_address_space_ex), 8, 0, 0, 0)                                              \
    X(SEND_SYNTHETIC_CLUSTER_IPI_EX, cluster_ipi_ex, SIMPLE | VARIABLE,                            \
      IN(send_synthetic_cluster_ipi_ex), 0, 0, 0, 0)                                               \
    X(CREATE_PARTITION, create_partition, SIMPLE, IN(create_partition), 0, 0,                      \
      OUT(create_partition), PRIV_CHILDREN)                                                        \
    X(INITIALIZE_PARTITION, initialize_partition, SIMPLE, IN(partition), 0, 0, 0, PRIV_CHILDREN)   \
    X(FINALIZE_PARTITION, finalize_partition, SIMPLE, IN(partition), 0, 0, 0, PRIV_CHILDREN)       \
    X(DELETE_PARTITION, delete_partition, SIMPLE, IN(partition), 0, 0, 0, PRIV_CHILDREN)           \
    X(GET_PARTITION_PROPERTY, get_property, SIMPLE, IN(get_partition_property), 0, 0,              \
      OUT(get_partition_property), PRIV_CHILDREN)                                                  \
    X(SET_PARTITION_PROPERTY, set_property, SIMPLE, IN(set_partition_property), 0, 0, 0,           \
      PRIV_CHILDREN)                                                                               \
    X(GET_PARTITION_ID, get_partition_id, SIMPLE, 0, 0, 0, OUT(get_partition_id),                  \
      HV_PRIV_ACCESS_PARTITION_ID)                                                                 \
    X(GET_NEXT_CHILD_PARTITION, get_next_child, SIMPLE, IN(get_next_child_partition), 0, 0,        \
      OUT(get_next_child_partition), PRIV_CHILDREN)                                                \
    X(DEPOSIT_MEMORY, deposit, REP, IN(deposit_memory), 8, 0, 0, HV_PRIV_ACCESS_MEMORY_POOL)       \
    X(WITHDRAW_MEMORY, withdraw, REP, IN(withdraw_memory), 0, 8, 0, HV_PRIV_ACCESS_MEMORY_POOL)    \
    X(GET_MEMORY_BALANCE, get_balance, SIMPLE, IN(get_memory_balance), 0, 0,                       \
      OUT(get_memory_balance), HV_PRIV_ACCESS_MEMORY_POOL)                                         \
    X(MAP_GPA_PAGES, map_gpa, REP, IN(map_gpa_pages), 8, 0, 0, PRIV_CHILDREN)                      \
    X(UNMAP_GPA_PAGES, unmap_gpa, REP, IN(unmap_gpa_pages), 0, 0, 0, PRIV_CHILDREN)                \
    X(GET_GPA_PAGES_ACCESS_STATE, get_access_state, REP, IN(get_gpa_pages_access_state), 0, 1, 0,  \
      PRIV_CHILDREN)                                                                               \
    X(INSTALL_INTERCEPT, install_intercept, SIMPLE, IN(install_intercept), 0, 0, 0, PRIV_CHILDREN) \
    X(CREATE_VP, create_vp, SIMPLE, IN(create_vp), 0, 0, 0, PRIV_CHILDREN)                         \
    X(DELETE_VP, delete_vp, SIMPLE, IN(delete_vp), 0, 0, 0, PRIV_CHILDREN)                         \
    X(GET_VP_REGISTERS, get_registers, REP, IN(vp_registers), 4, 16, 0, PRIV_CHILDREN)             \
    X(SET_VP_REGISTERS, set_registers, REP, IN(vp_registers), sizeof(struct hv_register_assoc), 0, \
      0, PRIV_CHILDREN)                                                                            \
    X(TRANSLATE_VIRTUAL_ADDRESS, translate, SIMPLE, IN(translate_virtual_address), 0, 0,           \
      OUT(translate_virtual_address), PRIV_CHILDREN)                                               \
    X(READ_GPA, read_gpa, SIMPLE, IN(read_gpa), 0, 0, OUT(read_gpa), PRIV_CHILDREN)                \
    X(WRITE_GPA, write_gpa, SIMPLE, IN(write_gpa), 0, 0, OUT(write_gpa), PRIV_CHILDREN)            \
    X(ASSERT_VIRTUAL_INTERRUPT_OLD, assert_interrupt_old, SIMPLE, IN(assert_virtual_interrupt), 0, \
      0, 0, PRIV_CHILDREN)                                                                         \
    X(CLEAR_VIRTUAL_INTERRUPT, clear_interrupt, SIMPLE, IN(partition), 0, 0, 0, PRIV_CHILDREN)     \
    X(CREATE_PORT_OLD, create_port_old, SIMPLE, IN(create_port_old), 0, 0, 0, HV_PRIV_CREATE_PORT) \
    X(DELETE_PORT, delete_port, SIMPLE, IN(delete_port), 0, 0, 0, HV_PRIV_CREATE_PORT)             \
    X(CONNECT_PORT_OLD, connect_port_old, SIMPLE, IN(connect_port_old), 0, 0, 0,                   \
      HV_PRIV_CONNECT_PORT)                                                                        \
    X(GET_PORT_PROPERTY, get_port_property, SIMPLE, IN(get_port_property), 0, 0,                   \
      OUT(port_property), HV_PRIV_CREATE_PORT)                                                     \
    X(DISCONNECT_PORT, disconnect_port, SIMPLE, IN(disconnect_port), 0, 0, 0,                      \
      HV_PRIV_CONNECT_PORT)                                                                        \
    X(POST_MESSAGE, post_message, SIMPLE, IN(post_message), 0, 0, 0, HV_PRIV_POST_MESSAGES)        \
    X(SIGNAL_EVENT, signal_event, SIMPLE, IN(signal_event), 0, 0, 0, HV_PRIV_SIGNAL_EVENTS)        \
    X(MAP_SPARSE_GPA_PAGES, map_sparse, REP, IN(map_sparse_gpa_pages),                             \
      sizeof(struct hv_gpa_mapping), 0, 0, PRIV_CHILDREN)                                          \
    X(SET_PORT_PROPERTY, set_port_property, SIMPLE, IN(set_port_property), 0, 0,                   \
      OUT(port_property), HV_PRIV_CREATE_PORT)                                                     \
    X(SET_SYSTEM_PROPERTY, set_system_property, SIMPLE, IN(set_system_property), 0, 0, 0,          \
      PRIV_CHILDREN)                                                                               \
    X(GET_SYSTEM_PROPERTY, get_system_property, SIMPLE, IN(get_system_property), 0, 0,             \
      OUT(get_system_property), PRIV_CHILDREN)                                                     \
    X(MODIFY_SPARSE_GPA_PAGES, modify_sparse, REP, IN(modify_sparse_gpa_pages), 8, 0, 0,           \
      PRIV_CHILDREN)                                                                               \
    X(REGISTER_INTERCEPT_RESULT, register_result, SIMPLE, IN(register_cpuid_result), 0, 0, 0,      \
      PRIV_CHILDREN)                                                                               \
    X(UNREGISTER_INTERCEPT_RESULT, unregister_result, SIMPLE, IN(unregister_cpuid_result), 0, 0,   \
      0, PRIV_CHILDREN)                                                                            \
    X(RETARGET_DEVICE_INTERRUPT, retarget_interrupt, SIMPLE | VARIABLE,                            \
      IN(retarget_device_interrupt), 0, 0, 0, 0)                                                   \
    X(ASSERT_VIRTUAL_INTERRUPT, assert_interrupt, SIMPLE, IN(assert_virtual_interrupt), 0, 0, 0,   \
      PRIV_CHILDREN)                                                                               \
    X(NOTIFY_PORT_RING_EMPTY, notify_port_ring_empty, SIMPLE, IN(notify_port_ring_empty), 0, 0, 0, \
      0)                                                                                           \
    X(CREATE_PORT, create_port, SIMPLE, IN(create_port), 0, 0, 0, HV_PRIV_CREATE_PORT)             \
    X(CONNECT_PORT, connect_port, SIMPLE, IN(connect_port), 0, 0, 0, HV_PRIV_CONNECT_PORT)         \
    X(START_VIRTUAL_PROCESSOR, start_vp, SIMPLE, IN(start_virtual_processor), 0, 0, 0, 0)          \
    X(GET_VP_INDEX_FROM_APIC_ID, vp_index_from_apic_id, REP, IN(get_vp_index_from_apic_id), 4, 4,  \
      0, 0)                                                                                        \
    X(TRANSLATE_VIRTUAL_ADDRESS_EX, translate_ex, SIMPLE, IN(translate_virtual_address), 0, 0,     \
      OUT(translate_virtual_address_ex), PRIV_CHILDREN)                                            \
    X(RESTORE_PARTITION_TIME, restore_partition_time, SIMPLE, IN(restore_partition_time), 0, 0, 0, \
      PRIV_TIME)                                                                                   \
    X(MAP_STATS_PAGE, map_stats_page, SIMPLE, IN(stats_page), 0, 0, OUT(map_stats_page),           \
      PRIV_CHILDREN)                                                                               \
    X(UNMAP_STATS_PAGE, unmap_stats_page, SIMPLE, IN(stats_page), 0, 0, 0, PRIV_CHILDREN)          \
    X(MAP_VP_STATE_PAGE, map_vp_state_page, SIMPLE, IN(map_vp_state_page), 0, 0,                   \
      OUT(map_vp_state_page), PRIV_CHILDREN)                                                       \
    X(UNMAP_VP_STATE_PAGE, unmap_vp_state_page, SIMPLE, IN(unmap_vp_state_page), 0, 0, 0,          \
      PRIV_CHILDREN)                                                                               \
    X(DISPATCH_VP, dispatch_vp, SIMPLE, IN(dispatch_vp), 0, 0, OUT(dispatch_vp), PRIV_CHILDREN)    \
    X(GET_VP_CPUID_VALUES, get_cpuid_values, REP, IN(get_vp_cpuid_values),                         \
      sizeof(struct hv_cpuid_leaf_info), sizeof(struct hv_cpuid_values), 0, PRIV_CHILDREN)         \
    X(SIGNAL_EVENT_DIRECT, signal_event_direct, SIMPLE, IN(signal_event_direct), 0, 0,             \
      OUT(signal_event_direct), PRIV_CHILDREN)                                                     \
    X(POST_MESSAGE_DIRECT, post_message_direct, SIMPLE, IN(post_message_direct), 0, 0, 0,          \
      PRIV_CHILDREN)

#define HYPERCALL_EXTENDED_LIST(X)                                                                 \
    X(EXT_QUERY_CAPABILITIES, extended_capabilities, SIMPLE, 0, 0, 0, 8,                           \
      HV_PRIV_ENABLE_EXTENDED_HYPERCALLS)

enum hypercall_rows {
    ROW_NONE,
#define ROW(code, ...) ROW_##code,
    HYPERCALL_LIST(ROW) HYPERCALL_EXTENDED_LIST(ROW)
#undef ROW
        ROW_COUNT
};

#define DECLARE(code, name, ...) hypercall_handler hypercall_##name;
HYPERCALL_LIST(DECLARE)
HYPERCALL_EXTENDED_LIST(DECLARE)
#undef DECLARE
