// SPDX-License-Identifier: BSD-2-Clause-Patent
// NVSP, the protocol between a guest's network driver and the network VSP, as it stands on the wire
// (Linux: drivers/net/hyperv/hyperv_net.h; OpenVMM: netvsp/src/protocol.rs). A message is a type
// and a body, always of the full size for its version, little endian.
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum nvsp_version {
    NVSP_VERSION_1 = 0x00002,
    NVSP_VERSION_2 = 0x30002,
    NVSP_VERSION_4 = 0x40000,
    NVSP_VERSION_5 = 0x50000,
    NVSP_VERSION_6 = 0x60000,
    NVSP_VERSION_61 = 0x60001,
};

enum {
    NVSP_SIZE = 28,    // of every message up to version 6
    NVSP_SIZE_61 = 40, // from 6.1 on
    NVSP_BODY = 4,     // offset of the body
    NVSP_SEND_TABLE = 16,
};

enum nvsp_type {
    NVSP_INIT = 1,
    NVSP_INIT_COMPLETE = 2,
    NVSP_SEND_NDIS_VERSION = 100,
    NVSP_SEND_RECEIVE_BUFFER = 101,
    NVSP_SEND_RECEIVE_BUFFER_COMPLETE = 102,
    NVSP_REVOKE_RECEIVE_BUFFER = 103,
    NVSP_SEND_SEND_BUFFER = 104,
    NVSP_SEND_SEND_BUFFER_COMPLETE = 105,
    NVSP_REVOKE_SEND_BUFFER = 106,
    NVSP_SEND_RNDIS = 107,
    NVSP_SEND_RNDIS_COMPLETE = 108,
    NVSP_SEND_NDIS_CONFIG = 125,
    NVSP_SWITCH_DATA_PATH = 129,
    NVSP_OID_QUERY_EX = 131,
    NVSP_OID_QUERY_EX_COMPLETE = 132,
    NVSP_SUBCHANNEL = 133, // request and completion
    NVSP_SEND_INDIRECTION_TABLE = 134,
};

enum nvsp_status {
    NVSP_STATUS_SUCCESS = 1,
    NVSP_STATUS_FAILURE = 2,
    NVSP_STATUS_INVALID_RNDIS = 5,
    NVSP_STATUS_BUSY = 6,
    NVSP_STATUS_VERSION = 7, // protocol version not supported
};

// Capabilities in SEND_NDIS_CONFIG.
enum nvsp_capability {
    NVSP_CAP_8021Q = 1 << 3,
};

enum nvsp_channel_type { NVSP_CHANNEL_DATA = 0, NVSP_CHANNEL_CONTROL = 1 };

#define NVSP_NO_SECTION          UINT32_MAX
#define NVSP_NO_VERSION          UINT32_MAX
#define NVSP_DATA_PATH_SYNTHETIC UINT32_C(0)

struct nvsp_init {
    uint32_t version_min, version_max;
};
struct nvsp_init_complete {
    uint32_t version; // no longer used by anybody
    uint32_t mdl_chain_max;
    uint32_t status;
};
struct nvsp_ndis_version {
    uint32_t major, minor;
};
struct nvsp_buffer { // SEND_RECEIVE_BUFFER, SEND_SEND_BUFFER
    uint32_t gpadl;
    uint16_t id;
    uint16_t reserved;
};
struct nvsp_receive_buffer_complete {
    uint32_t status;
    uint32_t sections; // 1
    uint32_t offset;
    uint32_t sub_size;
    uint32_t sub_count;
    uint32_t end_offset;
};
struct nvsp_send_buffer_complete {
    uint32_t status;
    uint32_t section_size;
};
struct nvsp_rndis {
    uint32_t channel_type;
    uint32_t section; // of the send buffer, or NVSP_NO_SECTION
    uint32_t section_size;
};
struct nvsp_ndis_config {
    uint32_t mtu; // with the Ethernet header
    uint32_t reserved;
    uint64_t capabilities;
};
struct nvsp_oid_query_complete {
    uint32_t status; // NDIS
    uint32_t bytes;
};
struct nvsp_subchannel {
    uint32_t operation; // 1: allocate; in the completion the status
    uint32_t count;
};
struct nvsp_indirection {
    uint32_t count;
    uint32_t offset; // of the table, from the start of the message
};

static_assert(sizeof(struct nvsp_receive_buffer_complete) == NVSP_SIZE - NVSP_BODY, "legacy size");
static_assert(sizeof(struct nvsp_init_complete) == 12, "wire size");
static_assert(sizeof(struct nvsp_buffer) == 8, "wire size");
static_assert(offsetof(struct nvsp_ndis_config, capabilities) == 8, "wire offset");
static_assert(sizeof(struct nvsp_rndis) == 12, "wire size");
