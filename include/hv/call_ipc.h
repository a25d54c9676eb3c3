// SPDX-License-Identifier: BSD-2-Clause-Patent
// Blocks of the port, message and event calls. TLFS: Inter-Partition Communication
#ifndef HV_CALL_IPC_H
#define HV_CALL_IPC_H

#include "hv/base.h"
#include "hv/memory.h"
#include "hv/message.h"
#include "hv/synic.h"

// 0095
struct hv_input_create_port {
    uint64_t port_partition_id;                            // 0
    uint32_t port_id;                                      // 8
    uint8_t port_vtl;                                      // 12
    uint8_t min_connection_vtl;                            // 13
    uint16_t reserved;                                     // 14
    uint64_t connection_partition_id;                      // 16
    struct hv_port_info port_info;                         // 24
    struct hv_proximity_domain_info proximity_domain_info; // 48
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_create_port, 56);
HV_ASSERT_OFFSET(struct hv_input_create_port, port_info, 24);

// 0057
struct hv_input_create_port_old {
    uint64_t port_partition_id;       // 0
    uint32_t port_id;                 // 8
    uint32_t padding;                 // 12
    uint64_t connection_partition_id; // 16
    struct hv_port_info port_info;    // 24
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_create_port_old, 48);

// 0058
struct hv_input_delete_port {
    uint64_t port_partition_id; // 0
    uint32_t port_id;           // 8
    uint32_t reserved;          // 12
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_delete_port, 16);

// 0096
struct hv_input_connect_port {
    uint64_t connection_partition_id;                      // 0
    uint32_t connection_id;                                // 8
    uint8_t connection_vtl;                                // 12
    uint8_t reserved0;                                     // 13
    uint16_t reserved1;                                    // 14
    uint64_t port_partition_id;                            // 16
    uint32_t port_id;                                      // 24
    uint32_t reserved2;                                    // 28
    struct hv_connection_info connection_info;             // 32
    struct hv_proximity_domain_info proximity_domain_info; // 64
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_connect_port, 72);
HV_ASSERT_OFFSET(struct hv_input_connect_port, connection_info, 32);

// 0059: the connection info is its first 8 bytes
struct hv_input_connect_port_old {
    uint64_t connection_partition_id; // 0
    uint32_t connection_id;           // 8
    uint32_t padding0;                // 12
    uint64_t port_partition_id;       // 16
    uint32_t port_id;                 // 24
    uint32_t padding1;                // 28
    uint32_t port_type;               // 32 HV_PORT_TYPE_*
    uint32_t reserved;                // 36
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_connect_port_old, 40);

#define HV_DISCONNECT_PORT_DOORBELL 0x1u

// 005b
struct hv_input_disconnect_port {
    uint64_t connection_partition_id; // 0
    uint32_t connection_id;           // 8
    uint32_t flags;                   // 12 HV_DISCONNECT_PORT_DOORBELL
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_disconnect_port, 16);

// 005a
struct hv_input_get_port_property {
    uint64_t partition_id;  // 0
    uint32_t port_id;       // 8
    uint32_t padding0;      // 12
    uint32_t property_code; // 16 HV_PORT_PROPERTY_*
    uint32_t padding1;      // 20
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_get_port_property, 24);

// 0070
struct hv_input_set_port_property {
    uint64_t partition_id;   // 0
    uint32_t port_id;        // 8
    uint32_t padding0;       // 12
    uint32_t property_code;  // 16 HV_PORT_PROPERTY_*
    uint32_t padding1;       // 20
    uint64_t property_value; // 24
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_set_port_property, 32);

struct hv_output_port_property {
    uint64_t property_value; // 0
} HV_ABI;

// 005c
struct hv_input_post_message {
    uint32_t connection_id;                        // 0
    uint32_t reserved;                             // 4
    uint32_t message_type;                         // 8
    uint32_t payload_size;                         // 12
    uint8_t payload[HV_MESSAGE_PAYLOAD_MAX_BYTES]; // 16
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_post_message, 256);
HV_ASSERT_OFFSET(struct hv_input_post_message, payload, 16);

// 005d
struct hv_input_signal_event {
    uint32_t connection_id; // 0
    uint16_t flag_number;   // 4
    uint16_t reserved;      // 6
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_signal_event, 8);

// 00c0
struct hv_input_signal_event_direct {
    uint64_t target_partition; // 0
    uint32_t target_vp;        // 8
    uint8_t target_vtl;        // 12
    uint8_t target_sint;       // 13
    uint16_t flag_number;      // 14
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_signal_event_direct, 16);

struct hv_output_signal_event_direct {
    uint8_t newly_signaled; // 0
    uint8_t reserved[7];    // 1
} HV_ABI;

// 00c1: the message is only 4-byte aligned, hence the bytes
struct hv_input_post_message_direct {
    uint64_t partition_id;            // 0
    uint32_t vp_index;                // 8
    uint8_t vtl;                      // 12
    uint8_t padding0[3];              // 13
    uint8_t sint_index;               // 16
    uint8_t padding1[3];              // 17
    uint8_t message[HV_MESSAGE_SIZE]; // 20
    uint32_t padding2;                // 276
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_post_message_direct, 280);
HV_ASSERT_OFFSET(struct hv_input_post_message_direct, message, 20);

// 008b
struct hv_input_notify_port_ring_empty {
    uint32_t sint_index; // 0
    uint32_t reserved;   // 4
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_notify_port_ring_empty, 8);

#endif
