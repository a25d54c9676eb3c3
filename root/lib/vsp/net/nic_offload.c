// SPDX-License-Identifier: BSD-2-Clause-Patent
// OIDs of the network adapter that carry NDIS objects: task offload, RSS, configuration parameters.
#include "../../mem.h"
#include "../wire.h"
#include "lso.h"
#include "nic_priv.h"

// ---- task offload ----------------------------------------------------------------------------

// NDIS_OFFLOAD, revisions 1, 2 and 3: each longer than the one before.
enum offload_offset {
    OFFLOAD_IP4_TX = 4, // {u32 encapsulation, u32 flags}
    OFFLOAD_IP4_RX = 12,
    OFFLOAD_IP6_TX = 20,
    OFFLOAD_IP6_RX = 28,
    OFFLOAD_LSO_V1 = 36, // {encapsulation, max size, min segments, options}
    OFFLOAD_LSO_V2_IP4 = 80,
    OFFLOAD_LSO_V2_IP6 = 92,
    OFFLOAD_LSO_V2_IP6_FLAGS = 104,
    OFFLOAD_SIZE_1 = 112,
    OFFLOAD_SIZE_2 = 144,
    OFFLOAD_SIZE_3 = 156,
    OFFLOAD_8023 = 2, // encapsulation
};

enum offload_flag {
    FLAG_IP_OPTIONS = 0x001, // IPv6: extension headers
    FLAG_TCP_OPTIONS = 0x004,
    FLAG_TCP = 0x010,
    FLAG_UDP = 0x040,
    FLAG_IP = 0x100,
};

static void put_checksums(uint8_t *at, uint32_t tcp, uint32_t udp, uint32_t ip)
{
    const uint32_t any = tcp | udp | ip;

    le32_put(at, any ? OFFLOAD_8023 : 0);
    le32_put(at + 4, (any ? FLAG_IP_OPTIONS : 0) | (tcp ? FLAG_TCP | FLAG_TCP_OPTIONS : 0) |
                         (udp ? FLAG_UDP : 0) | (ip ? FLAG_IP : 0));
}

static void put_lso(uint8_t *at, uint32_t enabled)
{
    le32_put(at, enabled ? OFFLOAD_8023 : 0);
    le32_put(at + 4, enabled ? NIC_LSO_MAX : 0);
    le32_put(at + 8, enabled ? NIC_LSO_SEGMENTS_MIN : 0);
}

// The revision that the guest's request names, as far as we know it; else the one for its NDIS.
static unsigned revision_for(const struct nic *nic, const uint8_t *in, uint32_t size)
{
    if (size >= NDIS_HEADER && in[0] == NDIS_OBJECT_OFFLOAD && in[1] >= 1) {
        const uint16_t room = le16_get(in + 2);
        return room >= OFFLOAD_SIZE_3 ? 3 : room >= OFFLOAD_SIZE_2 ? 2 : 1;
    }
    return nic->ndis_version >= 0x6001E ? 3 : nic->ndis_version >= 0x60001 ? 2 : 1;
}

static uint32_t put_offload(const struct nic_offload *offload, unsigned revision, uint8_t *out)
{
    static const uint16_t sizes[] = {0, OFFLOAD_SIZE_1, OFFLOAD_SIZE_2, OFFLOAD_SIZE_3};
    const uint32_t tx = offload->transmit, rx = offload->receive;

    memset(out, 0, sizes[revision]);
    out[0] = NDIS_OBJECT_OFFLOAD;
    out[1] = (uint8_t)revision;
    le16_put(out + 2, sizes[revision]);
    put_checksums(out + OFFLOAD_IP4_TX, tx & NIC_TCP4, tx & NIC_UDP4, tx & NIC_IPV4);
    put_checksums(out + OFFLOAD_IP4_RX, rx & NIC_TCP4, rx & NIC_UDP4, rx & NIC_IPV4);
    put_checksums(out + OFFLOAD_IP6_TX, tx & NIC_TCP6, tx & NIC_UDP6, 0);
    put_checksums(out + OFFLOAD_IP6_RX, rx & NIC_TCP6, rx & NIC_UDP6, 0);
    put_lso(out + OFFLOAD_LSO_V1, offload->lso & NIC_LSO_V1);
    le32_put(out + OFFLOAD_LSO_V1 + 12,
             offload->lso & NIC_LSO_V1 ? FLAG_IP_OPTIONS | FLAG_TCP_OPTIONS : 0);
    put_lso(out + OFFLOAD_LSO_V2_IP4, offload->lso & NIC_LSO_V2_IPV4);
    put_lso(out + OFFLOAD_LSO_V2_IP6, offload->lso & NIC_LSO_V2_IPV6);
    le32_put(out + OFFLOAD_LSO_V2_IP6_FLAGS,
             offload->lso & NIC_LSO_V2_IPV6 ? FLAG_IP_OPTIONS | FLAG_TCP_OPTIONS : 0);
    return sizes[revision];
}

uint32_t nic_query_offload_capabilities(const struct nic *nic, const uint8_t *in, uint32_t size,
                                        uint8_t *out)
{
    static const struct nic_offload all = {NIC_CHECKSUMS, NIC_CHECKSUMS, NIC_LSO};
    return put_offload(&all, revision_for(nic, in, size), out);
}

uint32_t nic_query_offload_config(const struct nic *nic, const uint8_t *in, uint32_t size,
                                  uint8_t *out)
{
    return put_offload(&nic->offload, revision_for(nic, in, size), out);
}

// NDIS_OFFLOAD_PARAMETERS: a byte for each offload.
enum parameters_offset {
    PARAMETERS_CHECKSUMS = 4, // IPv4, TCP4, UDP4, TCP6, UDP6: the order of enum nic_checksum
    PARAMETERS_LSO_V1 = 9,
    PARAMETERS_LSO_V2_IP4 = 11,
    PARAMETERS_LSO_V2_IP6 = 12,
    PARAMETERS_SIZE = 16,
};
enum { NO_CHANGE = 0, OFF = 1, TRANSMIT = 2, RECEIVE = 3, BOTH = 4, ON = 2 };

static bool apply_checksum(struct nic_offload *offload, unsigned bit, uint8_t value)
{
    if (value == NO_CHANGE) {
        return true;
    }
    offload->transmit &= ~bit;
    offload->receive &= ~bit;
    offload->transmit |= value == TRANSMIT || value == BOTH ? bit : 0;
    offload->receive |= value == RECEIVE || value == BOTH ? bit : 0;
    return value <= BOTH;
}

static bool apply_lso(struct nic_offload *offload, unsigned bit, uint8_t value)
{
    if (value == NO_CHANGE) {
        return true;
    }
    offload->lso = value == ON ? offload->lso | bit : offload->lso & ~bit;
    return value <= ON;
}

uint32_t nic_set_offload(struct nic *nic, const uint8_t *in, uint32_t size)
{
    struct nic_offload offload = nic->offload;
    bool valid = true;

    if (size < PARAMETERS_SIZE) {
        return RNDIS_STATUS_INVALID_LENGTH;
    }
    for (unsigned i = 0; i < 5; i++) {
        valid = apply_checksum(&offload, 1u << i, in[PARAMETERS_CHECKSUMS + i]) && valid;
    }
    valid = apply_lso(&offload, NIC_LSO_V1, in[PARAMETERS_LSO_V1]) && valid;
    valid = apply_lso(&offload, NIC_LSO_V2_IPV4, in[PARAMETERS_LSO_V2_IP4]) && valid;
    valid = apply_lso(&offload, NIC_LSO_V2_IPV6, in[PARAMETERS_LSO_V2_IP6]) && valid;
    if (in[0] != NDIS_OBJECT_DEFAULT || !valid) {
        return RNDIS_STATUS_INVALID_DATA;
    }
    nic->offload = offload;
    return RNDIS_STATUS_SUCCESS;
}

// ---- receive side scaling --------------------------------------------------------------------

// NDIS_RECEIVE_SCALE_CAPABILITIES, revision 2, as long as Linux takes it: without the padding.
enum rss_capability {
    RSS_CAPABILITIES_SIZE = 18,
    RSS_CAP_TCP_IPV4 = 0x0100,
    RSS_CAP_TCP_IPV6 = 0x0200,
    RSS_CAP_UDP_IPV4 = 0x0800,
    RSS_CAP_UDP_IPV6 = 0x1000,
    RSS_CAP_DPC = 0x04000000, // classification at DPC
};

uint32_t nic_query_rss_capabilities(const struct nic *nic, const uint8_t *in, uint32_t size,
                                    uint8_t *out)
{
    (void)in, (void)size;
    memset(out, 0, RSS_CAPABILITIES_SIZE);
    out[0] = NDIS_OBJECT_RSS_CAPABILITIES;
    out[1] = 2;
    le16_put(out + 2, RSS_CAPABILITIES_SIZE);
    le32_put(out + 4, RSS_TOEPLITZ | RSS_CAP_TCP_IPV4 | RSS_CAP_TCP_IPV6 | RSS_CAP_UDP_IPV4 |
                          RSS_CAP_UDP_IPV6 | RSS_CAP_DPC);
    le32_put(out + 8, nic->queues);
    le32_put(out + 12, nic->queues);
    le16_put(out + 16, RSS_TABLE_MAX);
    return RSS_CAPABILITIES_SIZE;
}

// NDIS_RECEIVE_SCALE_PARAMETERS, as far as it concerns us.
enum rss_parameters {
    RSS_PARAMETERS_FLAGS = 4,
    RSS_PARAMETERS_HASH = 8,
    RSS_PARAMETERS_TABLE_SIZE = 12, // bytes; entries are u32
    RSS_PARAMETERS_TABLE = 16,
    RSS_PARAMETERS_KEY_SIZE = 20,
    RSS_PARAMETERS_KEY = 24,
    RSS_PARAMETERS_SIZE = 28,

    RSS_HASH_UNCHANGED = 0x02,
    RSS_TABLE_UNCHANGED = 0x04,
    RSS_KEY_UNCHANGED = 0x08,
    RSS_DISABLE = 0x10,
};

static bool take_table(struct rss *rss, const uint8_t *in, uint32_t size, uint32_t queues)
{
    const uint32_t offset = le32_get(in + RSS_PARAMETERS_TABLE);
    const uint32_t length = le16_get(in + RSS_PARAMETERS_TABLE_SIZE);
    const uint32_t entries = length / 4;

    if (!nic_inside(offset, length, size) || entries == 0 || entries > RSS_TABLE_MAX ||
        length % 4 != 0 || (entries & (entries - 1)) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < entries; i++) {
        const uint32_t queue = le32_get(in + offset + 4 * i);
        if (queue >= queues) {
            return false;
        }
        rss->table[i] = (uint8_t)queue;
    }
    rss->table_size = entries;
    return true;
}

static bool take_key(struct rss *rss, const uint8_t *in, uint32_t size)
{
    const uint32_t offset = le32_get(in + RSS_PARAMETERS_KEY);
    const uint32_t length = le16_get(in + RSS_PARAMETERS_KEY_SIZE);

    if (!nic_inside(offset, length, size) || length != RSS_KEY) {
        return false;
    }
    memcpy(rss->key, in + offset, RSS_KEY);
    return true;
}

uint32_t nic_set_rss(struct nic *nic, const uint8_t *in, uint32_t size)
{
    struct rss rss = nic->rss;

    if (size < RSS_PARAMETERS_SIZE) {
        return RNDIS_STATUS_INVALID_LENGTH;
    }
    const uint16_t flags = le16_get(in + RSS_PARAMETERS_FLAGS);
    const uint32_t hash = le32_get(in + RSS_PARAMETERS_HASH);
    if (in[0] != NDIS_OBJECT_RSS_PARAMETERS) {
        return RNDIS_STATUS_INVALID_DATA;
    }
    if ((flags & RSS_DISABLE) || (!(flags & RSS_HASH_UNCHANGED) && hash == 0)) {
        nic->rss.enabled = false;
        return RNDIS_STATUS_SUCCESS;
    }
    if (!(flags & RSS_HASH_UNCHANGED)) {
        if ((hash & RSS_HASH_FUNCTION) != RSS_TOEPLITZ) {
            return RNDIS_STATUS_INVALID_DATA;
        }
        rss.types = hash & RSS_TYPES;
    }
    if ((!(flags & RSS_TABLE_UNCHANGED) && !take_table(&rss, in, size, nic->queues)) ||
        (!(flags & RSS_KEY_UNCHANGED) && !take_key(&rss, in, size))) {
        return RNDIS_STATUS_INVALID_DATA;
    }
    rss.enabled = rss.table_size != 0;
    nic->rss = rss;
    return RNDIS_STATUS_SUCCESS;
}

// ---- configuration parameters ----------------------------------------------------------------

// RNDIS_CONFIG_PARAMETER_INFO: where name and value are, and the value's type.
enum config_parameter {
    CONFIG_NAME_OFFSET = 0,
    CONFIG_NAME_LENGTH = 4,
    CONFIG_TYPE = 8,
    CONFIG_VALUE_OFFSET = 12,
    CONFIG_VALUE_LENGTH = 16,
    CONFIG_SIZE = 20,
    CONFIG_STRING = 2,
};

// Whether UTF-16 text is this ASCII string; a terminator may follow.
static bool is_text(const uint8_t *utf16, uint32_t size, const char *ascii)
{
    uint32_t i = 0;

    for (; ascii[i]; i++) {
        if (2 * i + 2 > size || le16_get(utf16 + 2 * i) != (uint8_t)ascii[i]) {
            return false;
        }
    }
    return size == 2 * i || (size == 2 * i + 2 && le16_get(utf16 + 2 * i) == 0);
}

static int hex_digit(uint16_t character)
{
    if (character >= '0' && character <= '9') {
        return character - '0';
    }
    character |= 0x20;
    return character >= 'a' && character <= 'f' ? character - 'a' + 10 : -1;
}

// Twelve hexadecimal digits.
static bool take_address(const uint8_t *utf16, uint32_t size, struct ether_address *address)
{
    if (size < 4 * ETHER_ADDRESS) {
        return false;
    }
    for (unsigned i = 0; i < ETHER_ADDRESS; i++) {
        const int high = hex_digit(le16_get(utf16 + 4 * i));
        const int low = hex_digit(le16_get(utf16 + 4 * i + 2));
        if (high < 0 || low < 0) {
            return false;
        }
        address->byte[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

uint32_t nic_set_config_parameter(struct nic *nic, const uint8_t *in, uint32_t size)
{
    struct ether_address address;

    if (size < CONFIG_SIZE) {
        return RNDIS_STATUS_INVALID_LENGTH;
    }
    const uint32_t name = le32_get(in + CONFIG_NAME_OFFSET);
    const uint32_t name_length = le32_get(in + CONFIG_NAME_LENGTH);
    const uint32_t value = le32_get(in + CONFIG_VALUE_OFFSET);
    const uint32_t value_length = le32_get(in + CONFIG_VALUE_LENGTH);
    if (!nic_inside(name, name_length, size) || !nic_inside(value, value_length, size)) {
        return RNDIS_STATUS_INVALID_DATA;
    }
    if (!is_text(in + name, name_length, "NetworkAddress")) {
        return RNDIS_STATUS_NOT_SUPPORTED;
    }
    if (le32_get(in + CONFIG_TYPE) != CONFIG_STRING ||
        !take_address(in + value, value_length, &address)) {
        return RNDIS_STATUS_INVALID_DATA;
    }
    // A guest that may not send from other addresses may not take one either.
    const bool same = memcmp(&address, &nic->port.config.address, sizeof address) == 0;
    if (!same && !(nic->port.config.flags & PORT_SPOOF)) {
        return RNDIS_STATUS_NOT_ACCEPTED;
    }
    return switch_set_address(nic->sw, &nic->port, &address) ? RNDIS_STATUS_SUCCESS
                                                             : RNDIS_STATUS_NOT_ACCEPTED;
}
