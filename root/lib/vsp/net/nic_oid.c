// SPDX-License-Identifier: BSD-2-Clause-Patent
// The OIDs of the network adapter, one table: contract in nic.h. Meaning and size of each are those
// of MS-RNDIS and the NDIS reference; the order is that of the answer to OID_SUPPORTED_LIST.
#include <assert.h>
#include <stddef.h>

#include "../../mem.h"
#include "../wire.h"
#include "nic_priv.h"

enum {
    MAC_COPY_LOOKAHEAD = 0x01,
    MAC_TRANSFERS_NOT_PEND = 0x04,
    MAC_NO_LOOPBACK = 0x08,
    MAC_FULL_DUPLEX = 0x10,
    MAC_PRIORITY = 0x40,
    MAC_VLAN = 0x200,

    LINK_STATE_SIZE = 40,
    LINK_CONNECTED = 1, // NDIS_MEDIA_CONNECT_STATE
    LINK_DISCONNECTED = 2,
    LINK_FULL_DUPLEX = 2,

    STATISTICS_SIZE = 152,
    STATISTICS_ALL = 0x3FFFF, // the 18 counters
    NAME_SIZE = 512,          // UTF-16, NUL padded
    DRIVER_VERSION = 0x0100,  // RNDIS 1.0
    VENDOR_NONE = 0xFFFFFF,   // no IEEE code
};

static const char vendor[] = "Corbel network adapter";

static uint32_t put_u32(uint8_t *out, uint32_t value)
{
    le32_put(out, value);
    return 4;
}

static uint64_t frames(const struct port_traffic *traffic)
{
    return traffic->directed_frames + traffic->multicast_frames + traffic->broadcast_frames;
}

static uint64_t bytes(const struct port_traffic *traffic)
{
    return traffic->directed_bytes + traffic->multicast_bytes + traffic->broadcast_bytes;
}

static uint64_t refused(const struct nic *nic)
{
    const struct port_statistics *port = &nic->port.statistics;
    return port->in_bad_size + port->in_spoofed + port->in_vlan + port->in_reserved;
}

static uint64_t no_buffer(const struct nic *nic)
{
    return nic->port.statistics.out_full + nic->receive_no_buffer;
}

// ---- values ----------------------------------------------------------------------------------

static uint64_t value_frame_size(const struct nic *nic)
{
    return nic->frame_max - ETHER_HEADER;
}

static uint64_t value_total_size(const struct nic *nic)
{
    return nic->frame_max;
}

static uint64_t value_send_space(const struct nic *nic)
{
    return nic->send_space;
}

static uint64_t value_receive_space(const struct nic *nic)
{
    return nic->receive_space;
}

static uint64_t value_link_speed(const struct nic *nic)
{
    const uint64_t units = nic->link_bps / 100;
    return units < UINT32_MAX ? units : UINT32_MAX;
}

static uint64_t value_disconnected(const struct nic *nic)
{
    return !nic->link_up;
}

static uint64_t value_filter(const struct nic *nic)
{
    return nic->port.filter;
}

static uint64_t value_mac_options(const struct nic *nic)
{
    return MAC_COPY_LOOKAHEAD | MAC_TRANSFERS_NOT_PEND | MAC_NO_LOOPBACK | MAC_FULL_DUPLEX |
           (nic->tags ? MAC_PRIORITY | MAC_VLAN : 0);
}

static uint64_t value_sent(const struct nic *nic)
{
    return frames(&nic->port.statistics.in);
}

static uint64_t value_received(const struct nic *nic)
{
    return frames(&nic->port.statistics.out);
}

static uint64_t value_sent_bytes(const struct nic *nic)
{
    return bytes(&nic->port.statistics.in);
}

static uint64_t value_received_bytes(const struct nic *nic)
{
    return bytes(&nic->port.statistics.out);
}

static uint64_t value_send_errors(const struct nic *nic)
{
    return nic->transmit_errors;
}

// ---- answers of other shapes -----------------------------------------------------------------

static uint32_t query_list(const struct nic *nic, const uint8_t *in, uint32_t size, uint8_t *out);

static uint32_t query_vendor(const struct nic *nic, const uint8_t *in, uint32_t size, uint8_t *out)
{
    (void)nic, (void)in, (void)size;
    memcpy(out, vendor, sizeof vendor);
    return sizeof vendor;
}

static uint32_t query_driver_version(const struct nic *nic, const uint8_t *in, uint32_t size,
                                     uint8_t *out)
{
    (void)nic, (void)in, (void)size;
    le16_put(out, DRIVER_VERSION);
    return 2;
}

static uint32_t query_max_link_speed(const struct nic *nic, const uint8_t *in, uint32_t size,
                                     uint8_t *out)
{
    (void)in, (void)size;
    le64_put(out, nic->link_bps);
    le64_put(out + 8, nic->link_bps);
    return 16;
}

static uint32_t query_link_state(const struct nic *nic, const uint8_t *in, uint32_t size,
                                 uint8_t *out)
{
    (void)in, (void)size;
    memset(out, 0, LINK_STATE_SIZE);
    out[0] = NDIS_OBJECT_DEFAULT;
    out[1] = 1;
    le16_put(out + 2, LINK_STATE_SIZE);
    le32_put(out + 4, nic->link_up ? LINK_CONNECTED : LINK_DISCONNECTED);
    le32_put(out + 8, LINK_FULL_DUPLEX);
    le64_put(out + 16, nic->link_bps);
    le64_put(out + 24, nic->link_bps);
    return LINK_STATE_SIZE;
}

static uint32_t query_name(const struct nic *nic, const uint8_t *in, uint32_t size, uint8_t *out)
{
    (void)in, (void)size;
    memset(out, 0, NAME_SIZE);
    for (unsigned i = 0; i < NIC_NAME_MAX && nic->name[i]; i++) {
        le16_put(out + 2 * i, (uint8_t)nic->name[i]);
    }
    return NAME_SIZE;
}

static uint32_t query_permanent(const struct nic *nic, const uint8_t *in, uint32_t size,
                                uint8_t *out)
{
    (void)in, (void)size;
    memcpy(out, nic->permanent.byte, ETHER_ADDRESS);
    return ETHER_ADDRESS;
}

static uint32_t query_current(const struct nic *nic, const uint8_t *in, uint32_t size, uint8_t *out)
{
    (void)in, (void)size;
    memcpy(out, nic->port.config.address.byte, ETHER_ADDRESS);
    return ETHER_ADDRESS;
}

static uint32_t query_groups(const struct nic *nic, const uint8_t *in, uint32_t size, uint8_t *out)
{
    const uint32_t length = nic->port.group_count * ETHER_ADDRESS;
    (void)in, (void)size;
    memcpy(out, nic->port.groups, length);
    return length;
}

// NDIS_STATISTICS_INFO, revision 1.
static uint32_t query_statistics(const struct nic *nic, const uint8_t *in, uint32_t size,
                                 uint8_t *out)
{
    const struct port_traffic *sent = &nic->port.statistics.in;
    const struct port_traffic *received = &nic->port.statistics.out;
    const uint64_t counters[18] = {
        no_buffer(nic),
        nic->port.statistics.out_bad_size,
        bytes(received),
        received->directed_frames,
        received->multicast_frames,
        received->broadcast_frames,
        bytes(sent),
        sent->directed_frames,
        sent->multicast_frames,
        sent->broadcast_frames,
        nic->transmit_errors,
        refused(nic),
        received->directed_bytes,
        received->multicast_bytes,
        received->broadcast_bytes,
        sent->directed_bytes,
        sent->multicast_bytes,
        sent->broadcast_bytes,
    };

    (void)in, (void)size;
    out[0] = NDIS_OBJECT_DEFAULT;
    out[1] = 1;
    le16_put(out + 2, STATISTICS_SIZE);
    le32_put(out + 4, STATISTICS_ALL);
    for (unsigned i = 0; i < 18; i++) {
        le64_put(out + 8 + 8 * i, counters[i]);
    }
    return STATISTICS_SIZE;
}

// ---- settings --------------------------------------------------------------------------------

static uint32_t set_filter(struct nic *nic, const uint8_t *in, uint32_t size)
{
    if (size < 4) {
        return RNDIS_STATUS_INVALID_LENGTH;
    }
    switch_set_filter(&nic->port, le32_get(in));
    return RNDIS_STATUS_SUCCESS;
}

static uint32_t set_groups(struct nic *nic, const uint8_t *in, uint32_t size)
{
    if (size % ETHER_ADDRESS != 0) {
        return RNDIS_STATUS_INVALID_LENGTH;
    }
    if (size / ETHER_ADDRESS > SWITCH_GROUPS_MAX) {
        return RNDIS_STATUS_MULTICAST_FULL;
    }
    struct ether_address groups[SWITCH_GROUPS_MAX];
    memcpy(groups, in, size);
    return switch_set_groups(&nic->port, groups, size / ETHER_ADDRESS) ? RNDIS_STATUS_SUCCESS
                                                                       : RNDIS_STATUS_INVALID_DATA;
}

// Everything we give the guest is whole frames: a shorter lookahead changes nothing.
static uint32_t set_lookahead(struct nic *nic, const uint8_t *in, uint32_t size)
{
    if (size < 4) {
        return RNDIS_STATUS_INVALID_LENGTH;
    }
    return le32_get(in) <= nic->frame_max ? RNDIS_STATUS_SUCCESS : RNDIS_STATUS_INVALID_DATA;
}

// Advice of protocols to the adapter (NDIS: both may be ignored).
static uint32_t set_advice(struct nic *nic, const uint8_t *in, uint32_t size)
{
    (void)nic, (void)in, (void)size;
    return RNDIS_STATUS_SUCCESS;
}

// ---- the table -------------------------------------------------------------------------------

// What a query is answered with: `value`, or the result of `get`, as 4 or 8 bytes; a 64-bit counter
// at offset `value` in the port's statistics; or whatever `query` writes.
enum oid_kind { KIND_VALUE, KIND_GET, KIND_GET64, KIND_COUNTER, KIND_QUERY, KIND_SET_ONLY };

struct oid {
    uint32_t oid;
    enum oid_kind kind;
    uint32_t value;
    uint64_t (*get)(const struct nic *nic);
    uint32_t (*query)(const struct nic *nic, const uint8_t *in, uint32_t size, uint8_t *out);
    uint32_t (*set)(struct nic *nic, const uint8_t *in, uint32_t size);
};

#define VALUE(name, v)                                                                             \
    {                                                                                              \
        .oid = name, .kind = KIND_VALUE, .value = v                                                \
    }
#define GET(name, f)                                                                               \
    {                                                                                              \
        .oid = name, .kind = KIND_GET, .get = f                                                    \
    }
#define GET64(name, f)                                                                             \
    {                                                                                              \
        .oid = name, .kind = KIND_GET64, .get = f                                                  \
    }
#define QUERY(name, f)                                                                             \
    {                                                                                              \
        .oid = name, .kind = KIND_QUERY, .query = f                                                \
    }
#define SET(name, f)                                                                               \
    {                                                                                              \
        .oid = name, .kind = KIND_SET_ONLY, .set = f                                               \
    }
#define COUNTER(name, field)                                                                       \
    {                                                                                              \
        .oid = name, .kind = KIND_COUNTER, .value = offsetof(struct port_statistics, field)        \
    }

static const struct oid oids[] = {
    QUERY(OID_SUPPORTED_LIST, query_list),
    VALUE(OID_HARDWARE_STATUS, 0),
    VALUE(OID_MEDIA_SUPPORTED, 0), // 802.3
    VALUE(OID_MEDIA_IN_USE, 0),
    GET(OID_MAXIMUM_LOOKAHEAD, value_total_size),
    GET(OID_MAXIMUM_FRAME_SIZE, value_frame_size),
    GET(OID_LINK_SPEED, value_link_speed),
    GET(OID_TRANSMIT_BUFFER_SPACE, value_send_space),
    GET(OID_RECEIVE_BUFFER_SPACE, value_receive_space),
    GET(OID_TRANSMIT_BLOCK_SIZE, value_total_size),
    GET(OID_RECEIVE_BLOCK_SIZE, value_total_size),
    VALUE(OID_VENDOR_ID, VENDOR_NONE),
    QUERY(OID_VENDOR_DESCRIPTION, query_vendor),
    {.oid = OID_PACKET_FILTER, .kind = KIND_GET, .get = value_filter, .set = set_filter},
    {.oid = OID_CURRENT_LOOKAHEAD, .kind = KIND_GET, .get = value_total_size, .set = set_lookahead},
    QUERY(OID_DRIVER_VERSION, query_driver_version),
    GET(OID_MAXIMUM_TOTAL_SIZE, value_total_size),
    SET(OID_PROTOCOL_OPTIONS, set_advice),
    GET(OID_MAC_OPTIONS, value_mac_options),
    GET(OID_MEDIA_CONNECT_STATUS, value_disconnected),
    VALUE(OID_MAXIMUM_SEND_PACKETS, RNDIS_PACKETS_MAX),
    VALUE(OID_VENDOR_DRIVER_VERSION, 0x10000),
    SET(OID_NETWORK_LAYER_ADDRESSES, set_advice),
    QUERY(OID_RSS_CAPABILITIES, nic_query_rss_capabilities),
    SET(OID_RSS_PARAMETERS, nic_set_rss),
    QUERY(OID_MAX_LINK_SPEED, query_max_link_speed),
    QUERY(OID_LINK_STATE, query_link_state),
    SET(OID_RNDIS_CONFIG_PARAMETER, nic_set_config_parameter),
    GET(OID_XMIT_OK, value_sent),
    GET(OID_RCV_OK, value_received),
    GET(OID_XMIT_ERROR, value_send_errors),
    VALUE(OID_RCV_ERROR, 0), // frames in a switch have no errors
    GET(OID_RCV_NO_BUFFER, no_buffer),
    QUERY(OID_STATISTICS, query_statistics),
    COUNTER(OID_DIRECTED_BYTES_XMIT, in.directed_bytes),
    COUNTER(OID_DIRECTED_FRAMES_XMIT, in.directed_frames),
    COUNTER(OID_MULTICAST_BYTES_XMIT, in.multicast_bytes),
    COUNTER(OID_MULTICAST_FRAMES_XMIT, in.multicast_frames),
    COUNTER(OID_BROADCAST_BYTES_XMIT, in.broadcast_bytes),
    COUNTER(OID_BROADCAST_FRAMES_XMIT, in.broadcast_frames),
    COUNTER(OID_DIRECTED_BYTES_RCV, out.directed_bytes),
    COUNTER(OID_DIRECTED_FRAMES_RCV, out.directed_frames),
    COUNTER(OID_MULTICAST_BYTES_RCV, out.multicast_bytes),
    COUNTER(OID_MULTICAST_FRAMES_RCV, out.multicast_frames),
    COUNTER(OID_BROADCAST_BYTES_RCV, out.broadcast_bytes),
    COUNTER(OID_BROADCAST_FRAMES_RCV, out.broadcast_frames),
    QUERY(OID_FRIENDLY_NAME, query_name),
    GET64(OID_BYTES_RCV, value_received_bytes),
    GET64(OID_BYTES_XMIT, value_sent_bytes),
    GET64(OID_RCV_DISCARDS, no_buffer),
    GET64(OID_XMIT_DISCARDS, refused),
    QUERY(OID_PERMANENT_ADDRESS, query_permanent),
    QUERY(OID_CURRENT_ADDRESS, query_current),
    {.oid = OID_MULTICAST_LIST, .kind = KIND_QUERY, .query = query_groups, .set = set_groups},
    VALUE(OID_MAXIMUM_LIST_SIZE, SWITCH_GROUPS_MAX),
    VALUE(OID_802_3_MAC_OPTIONS, 0),
    VALUE(OID_RCV_ERROR_ALIGNMENT, 0), // there is no wire
    VALUE(OID_XMIT_ONE_COLLISION, 0),
    VALUE(OID_XMIT_MORE_COLLISIONS, 0),
    QUERY(OID_OFFLOAD_CURRENT_CONFIG, nic_query_offload_config),
    SET(OID_OFFLOAD_PARAMETERS, nic_set_offload),
    QUERY(OID_OFFLOAD_CAPABILITIES, nic_query_offload_capabilities),
};

enum { OIDS = sizeof oids / sizeof oids[0] };
static_assert(OIDS * 4 <= NIC_INFO_MAX, "the list fits a reply");
static_assert(SWITCH_GROUPS_MAX * ETHER_ADDRESS <= NIC_INFO_MAX, "the groups fit a reply");

static uint32_t query_list(const struct nic *nic, const uint8_t *in, uint32_t size, uint8_t *out)
{
    (void)nic, (void)in, (void)size;
    for (unsigned i = 0; i < OIDS; i++) {
        le32_put(out + 4 * i, oids[i].oid);
    }
    return 4 * OIDS;
}

static const struct oid *find(uint32_t oid)
{
    for (unsigned i = 0; i < OIDS; i++) {
        if (oids[i].oid == oid) {
            return &oids[i];
        }
    }
    return 0;
}

uint32_t nic_query(const struct nic *nic, uint32_t oid, const uint8_t *in, uint32_t size,
                   uint8_t *out, uint32_t *out_size)
{
    const struct oid *entry = find(oid);

    *out_size = 0;
    if (!entry || entry->kind == KIND_SET_ONLY) {
        return RNDIS_STATUS_NOT_SUPPORTED;
    }
    switch (entry->kind) {
    case KIND_VALUE:
        *out_size = put_u32(out, entry->value);
        break;
    case KIND_GET:
        *out_size = put_u32(out, (uint32_t)entry->get(nic));
        break;
    case KIND_GET64:
        le64_put(out, entry->get(nic));
        *out_size = 8;
        break;
    case KIND_COUNTER:
        le64_put(out, *(const uint64_t *)((const uint8_t *)&nic->port.statistics + entry->value));
        *out_size = 8;
        break;
    default:
        *out_size = entry->query(nic, in, size, out);
        break;
    }
    return RNDIS_STATUS_SUCCESS;
}

uint32_t nic_set(struct nic *nic, uint32_t oid, const uint8_t *in, uint32_t size)
{
    const struct oid *entry = find(oid);
    return entry && entry->set ? entry->set(nic, in, size) : RNDIS_STATUS_NOT_SUPPORTED;
}
