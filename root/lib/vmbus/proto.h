// SPDX-License-Identifier: BSD-2-Clause-Patent
// VMBus control messages as they travel: little endian, naturally aligned, each behind a header.
// Sources: Linux include/linux/hyperv.h, OpenVMM vmbus_core::protocol. H: host, G: guest.
#pragma once
#include <stdint.h>

#include "channel.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "messages are copied as they are");

enum vmbus_version {
    VMBUS_V2_4 = 0x00020004, // Windows 8: dedicated interrupts both ways
    VMBUS_V3_0 = 0x00030000, // the VP for messages is honoured
    VMBUS_V4_0 = 0x00040000, // Hyper-V sockets, reserved channels
    VMBUS_V4_1 = 0x00040001, // MODIFYCHANNEL, TL_CONNECT_RESULT
    VMBUS_V5_0 = 0x00050000, // connection 4, the SINT in INITIATE_CONTACT
    VMBUS_V5_1 = 0x00050001, // and the VTL
    VMBUS_V5_2 = 0x00050002, // TL_CONNECT_REQUEST with a silo
    VMBUS_V5_3 = 0x00050003, // MODIFYCHANNEL_RESPONSE
};

enum vmbus_message_type {
    VMBUS_OFFERCHANNEL = 1,             // H to G
    VMBUS_RESCIND_CHANNELOFFER = 2,     // H to G
    VMBUS_REQUESTOFFERS = 3,            // G to H
    VMBUS_ALLOFFERS_DELIVERED = 4,      // H to G
    VMBUS_OPENCHANNEL = 5,              // G to H
    VMBUS_OPENCHANNEL_RESULT = 6,       // H to G
    VMBUS_CLOSECHANNEL = 7,             // G to H, no answer
    VMBUS_GPADL_HEADER = 8,             // G to H
    VMBUS_GPADL_BODY = 9,               // G to H
    VMBUS_GPADL_CREATED = 10,           // H to G
    VMBUS_GPADL_TEARDOWN = 11,          // G to H
    VMBUS_GPADL_TORNDOWN = 12,          // H to G
    VMBUS_RELID_RELEASED = 13,          // G to H, no answer
    VMBUS_INITIATE_CONTACT = 14,        // G to H
    VMBUS_VERSION_RESPONSE = 15,        // H to G
    VMBUS_UNLOAD = 16,                  // G to H
    VMBUS_UNLOAD_RESPONSE = 17,         // H to G
    VMBUS_OPEN_RESERVED_CHANNEL = 18,   // G to H
    VMBUS_CLOSE_RESERVED_CHANNEL = 19,  // G to H
    VMBUS_CLOSE_RESERVED_RESPONSE = 20, // H to G
    VMBUS_TL_CONNECT_REQUEST = 21,      // G to H
    VMBUS_MODIFYCHANNEL = 22,           // G to H
    VMBUS_TL_CONNECT_RESULT = 23,       // H to G
    VMBUS_MODIFYCHANNEL_RESPONSE = 24,  // H to G
    VMBUS_MESSAGE_TYPES,
};

#define VMBUS_NO_INTERRUPTS UINT32_C(0xFFFFFFFF) // target VP that takes none

struct vmbus_header {
    uint32_t type; // enum vmbus_message_type
    uint32_t padding;
};

struct vmbus_msg_offer {
    struct vmbus_header header;
    struct vmbus_guid class_id;
    struct vmbus_guid instance_id;
    uint8_t reserved[16];
    uint16_t flags;
    uint16_t mmio_megabytes;
    uint8_t user_data[VMBUS_USER_DATA];
    uint16_t sub_index;
    uint16_t mmio_megabytes_optional;
    uint32_t relid;
    uint8_t monitor_id;        // VMBUS_NO_MONITOR
    uint8_t monitor_allocated; // 0: the guest signals by hypercall
    uint16_t dedicated;        // 1: signals by the channel's own connection
    uint32_t connection_id;
};
_Static_assert(sizeof(struct vmbus_msg_offer) == 196, "OFFERCHANNEL");

enum { VMBUS_NO_MONITOR = 0xFF };

// RESCIND_CHANNELOFFER, CLOSECHANNEL, RELID_RELEASED, CLOSE_RESERVED_RESPONSE
struct vmbus_msg_relid {
    struct vmbus_header header;
    uint32_t relid;
};
_Static_assert(sizeof(struct vmbus_msg_relid) == 12, "messages that are a relid");

struct vmbus_msg_open {
    struct vmbus_header header;
    uint32_t relid;
    uint32_t open_id;
    uint32_t ring_gpadl;
    uint32_t target_vp;
    uint32_t out_page; // first page of the ring to the guest
    uint8_t user_data[VMBUS_USER_DATA];
};
_Static_assert(sizeof(struct vmbus_msg_open) == 148, "OPENCHANNEL");

struct vmbus_msg_open_result {
    struct vmbus_header header;
    uint32_t relid;
    uint32_t open_id;
    uint32_t status;
};
_Static_assert(sizeof(struct vmbus_msg_open_result) == 20, "OPENCHANNEL_RESULT");

struct vmbus_msg_gpadl_header {
    struct vmbus_header header;
    uint32_t relid;
    uint32_t gpadl;
    uint16_t range_bytes; // of the whole range buffer
    uint16_t range_count;
    // range buffer
};
_Static_assert(sizeof(struct vmbus_msg_gpadl_header) == 20, "GPADL_HEADER");

struct vmbus_msg_gpadl_body {
    struct vmbus_header header;
    uint32_t number; // not used
    uint32_t gpadl;
    // range buffer, continued
};
_Static_assert(sizeof(struct vmbus_msg_gpadl_body) == 16, "GPADL_BODY");

struct vmbus_msg_gpadl_created {
    struct vmbus_header header;
    uint32_t relid;
    uint32_t gpadl;
    uint32_t status;
};
_Static_assert(sizeof(struct vmbus_msg_gpadl_created) == 20, "GPADL_CREATED");

struct vmbus_msg_gpadl_teardown {
    struct vmbus_header header;
    uint32_t relid;
    uint32_t gpadl;
};
_Static_assert(sizeof(struct vmbus_msg_gpadl_teardown) == 16, "GPADL_TEARDOWN");

struct vmbus_msg_gpadl_torndown {
    struct vmbus_header header;
    uint32_t gpadl;
};
_Static_assert(sizeof(struct vmbus_msg_gpadl_torndown) == 12, "GPADL_TORNDOWN");

struct vmbus_msg_contact {
    struct vmbus_header header;
    uint32_t version;
    uint32_t target_vp;
    uint8_t sint; // from 5.0 on; before: the GPA of the interrupt page, of which 2.4 has no use
    uint8_t vtl;  // from 5.1 on
    uint8_t rest[6];
    uint64_t monitor_in;  // parent to child
    uint64_t monitor_out; // child to parent
};
_Static_assert(sizeof(struct vmbus_msg_contact) == 40, "INITIATE_CONTACT");

enum vmbus_contact_state { VMBUS_CONTACT_OK = 0, VMBUS_CONTACT_FAILED = 2 };

struct vmbus_msg_version {
    struct vmbus_header header;
    uint8_t supported;
    uint8_t state; // enum vmbus_contact_state
    uint16_t padding;
    uint32_t connection; // from 5.0 on: for messages from now on; before: the version
};
_Static_assert(sizeof(struct vmbus_msg_version) == 16, "VERSION_RESPONSE");

struct vmbus_msg_open_reserved {
    struct vmbus_header header;
    uint32_t relid;
    uint32_t target_vp; // for the answer
    uint32_t sint;
    uint32_t ring_gpadl;
    uint32_t out_page;
};
_Static_assert(sizeof(struct vmbus_msg_open_reserved) == 28, "OPEN_RESERVED_CHANNEL");

struct vmbus_msg_close_reserved {
    struct vmbus_header header;
    uint32_t relid;
    uint32_t target_vp;
    uint32_t sint;
};
_Static_assert(sizeof(struct vmbus_msg_close_reserved) == 20, "CLOSE_RESERVED_CHANNEL");

struct vmbus_msg_tl_connect { // from 5.2 on a silo GUID may follow
    struct vmbus_header header;
    struct vmbus_guid endpoint;
    struct vmbus_guid service;
};
_Static_assert(sizeof(struct vmbus_msg_tl_connect) == 40, "TL_CONNECT_REQUEST");

struct vmbus_msg_tl_result {
    struct vmbus_header header;
    struct vmbus_guid endpoint;
    struct vmbus_guid service;
    uint32_t status;
};
_Static_assert(sizeof(struct vmbus_msg_tl_result) == 44, "TL_CONNECT_RESULT");

struct vmbus_msg_modify {
    struct vmbus_header header;
    uint32_t relid;
    uint32_t target_vp;
};
_Static_assert(sizeof(struct vmbus_msg_modify) == 16, "MODIFYCHANNEL");

struct vmbus_msg_modify_result {
    struct vmbus_header header;
    uint32_t relid;
    uint32_t status;
};
_Static_assert(sizeof(struct vmbus_msg_modify_result) == 16, "MODIFYCHANNEL_RESPONSE");
