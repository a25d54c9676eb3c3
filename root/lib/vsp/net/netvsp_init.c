// SPDX-License-Identifier: BSD-2-Clause-Patent
// NVSP messages other than packets: version, configuration, buffers, subchannels.
#include "../../mem.h"
#include "../wire.h"
#include "netvsp_priv.h"

enum {
    MDL_CHAIN_MAX = 34, // pages of one packet; what Hyper-V says
    SUBCHANNEL_ALLOCATE = 1,
    REFUSALS_MAX = 4096, // invalid messages before the channel is closed
};

// ---- handlers: the body has the size that the table says ---------------------------------------

static uint32_t choose_version(uint32_t min, uint32_t max)
{
    static const uint32_t versions[] = {
        NVSP_VERSION_61, NVSP_VERSION_6, NVSP_VERSION_5,
        NVSP_VERSION_4,  NVSP_VERSION_2, NVSP_VERSION_1,
    };

    for (unsigned i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        if (min <= versions[i] && versions[i] <= max) {
            return versions[i];
        }
    }
    return 0;
}

bool netvsp_version_known(uint32_t version)
{
    return choose_version(version, version) != 0;
}

static void init(struct netvsp *vsp, const uint8_t *body, const struct vmbus_packet *packet)
{
    const uint32_t version = choose_version(le32_get(body), le32_get(body + 4));
    const struct nvsp_init_complete answer = {
        .version = version ? version : NVSP_NO_VERSION,
        .mdl_chain_max = MDL_CHAIN_MAX,
        .status = version ? NVSP_STATUS_SUCCESS : NVSP_STATUS_VERSION,
    };

    vsp->version = version;
    netvsp_complete(vsp, vsp->primary, packet->transaction_id, NVSP_INIT_COMPLETE, &answer,
                    sizeof answer);
}

static void ndis_version(struct netvsp *vsp, const uint8_t *body, const struct vmbus_packet *packet)
{
    vsp->nic.ndis_version = (le32_get(body) & 0xFFFF) << 16 | (le32_get(body + 4) & 0xFFFF);
    if (packet->wants_completion) {
        vmbus_channel_complete(vsp->primary, packet->transaction_id, 0, 0);
    }
}

// The MTU decides the size of the receive buffer's slots: later changes come with a new channel.
static void ndis_config(struct netvsp *vsp, const uint8_t *body, const struct vmbus_packet *packet)
{
    const uint32_t mtu = le32_get(body);
    const uint32_t least = mtu > ETHER_FRAME_STANDARD ? mtu : ETHER_FRAME_STANDARD;

    if (vsp->receive.buffer.held) {
        vsp->statistics.refused_messages++;
    } else {
        vsp->nic.frame_max = least < vsp->config.frame_max ? least : vsp->config.frame_max;
        switch_set_max_frame(&vsp->nic.port, vsp->nic.frame_max);
        vsp->nic.tags = le64_get(body + 8) & NVSP_CAP_8021Q;
    }
    if (packet->wants_completion) {
        vmbus_channel_complete(vsp->primary, packet->transaction_id, 0, 0);
    }
}

static void receive_buffer(struct netvsp *vsp, const uint8_t *body,
                           const struct vmbus_packet *packet)
{
    const uint32_t status = netvsp_take_receive(vsp, le32_get(body), le16_get(body + 4));
    struct nvsp_receive_buffer_complete answer = {.status = status};

    if (status == NVSP_STATUS_SUCCESS) {
        answer.sections = 1;
        answer.sub_size = vsp->receive.slot_size;
        answer.sub_count = vsp->receive.slots;
        answer.end_offset = vsp->receive.slot_size * vsp->receive.slots;
    }
    netvsp_complete(vsp, vsp->primary, packet->transaction_id, NVSP_SEND_RECEIVE_BUFFER_COMPLETE,
                    &answer, sizeof answer);
}

static void send_buffer(struct netvsp *vsp, const uint8_t *body, const struct vmbus_packet *packet)
{
    const uint32_t status = netvsp_take_send(vsp, le32_get(body), le16_get(body + 4));
    const struct nvsp_send_buffer_complete answer = {
        .status = status,
        .section_size = status == NVSP_STATUS_SUCCESS ? NETVSP_SECTION : 0,
    };

    netvsp_complete(vsp, vsp->primary, packet->transaction_id, NVSP_SEND_SEND_BUFFER_COMPLETE,
                    &answer, sizeof answer);
}

static void revoke(struct netvsp *vsp, const uint8_t *body, const struct vmbus_packet *packet,
                   const struct netvsp_buffer *buffer, void (*drop)(struct netvsp *vsp))
{
    if (buffer->held && buffer->id == le16_get(body)) {
        drop(vsp);
    } else {
        vsp->statistics.refused_messages++;
    }
    if (packet->wants_completion) {
        vmbus_channel_complete(vsp->primary, packet->transaction_id, 0, 0);
    }
}

static void revoke_receive(struct netvsp *vsp, const uint8_t *body,
                           const struct vmbus_packet *packet)
{
    revoke(vsp, body, packet, &vsp->receive.buffer, netvsp_drop_receive);
}

static void revoke_send(struct netvsp *vsp, const uint8_t *body, const struct vmbus_packet *packet)
{
    revoke(vsp, body, packet, &vsp->send.buffer, netvsp_drop_send);
}

// There is no virtual function: the synthetic path is the only one. The answer is empty.
static void data_path(struct netvsp *vsp, const uint8_t *body, const struct vmbus_packet *packet)
{
    if (le32_get(body) != NVSP_DATA_PATH_SYNTHETIC) {
        vsp->statistics.refused_messages++;
    }
    if (packet->wants_completion) {
        vmbus_channel_complete(vsp->primary, packet->transaction_id, 0, 0);
    }
}

static void oid_query(struct netvsp *vsp, const uint8_t *body, const struct vmbus_packet *packet)
{
    const struct nvsp_oid_query_complete answer = {RNDIS_STATUS_NOT_SUPPORTED, 0};
    (void)body;
    netvsp_complete(vsp, vsp->primary, packet->transaction_id, NVSP_OID_QUERY_EX_COMPLETE, &answer,
                    sizeof answer);
}

// Linux waits until it has all that was granted: each is offered, or the channel fails.
static void subchannel(struct netvsp *vsp, const uint8_t *body, const struct vmbus_packet *packet)
{
    const uint32_t wanted = le32_get(body + 4);
    const uint32_t most = vsp->config.queues - 1;
    const bool valid = le32_get(body) == SUBCHANNEL_ALLOCATE && vsp->granted == 0;
    const uint32_t count = !valid ? 0 : wanted < most ? wanted : most;
    const struct nvsp_subchannel answer = {valid ? NVSP_STATUS_SUCCESS : NVSP_STATUS_FAILURE,
                                           count};

    netvsp_complete(vsp, vsp->primary, packet->transaction_id, NVSP_SUBCHANNEL, &answer,
                    sizeof answer);
    if (count) {
        vsp->granted = count;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!vmbus_channel_offer_sub(vsp->primary)) {
            vmbus_channel_fail(vsp->primary, "no room for the subchannels of a network adapter");
            return;
        }
    }
}

// ---- the table ---------------------------------------------------------------------------------

static const struct message {
    uint32_t type;
    uint32_t version; // the first that has it; 0: before the version is known
    uint32_t body;    // bytes that must be there
    bool answered;    // must want a completion
    void (*handle)(struct netvsp *vsp, const uint8_t *body, const struct vmbus_packet *packet);
} messages[] = {
    {NVSP_INIT, 0, 8, true, init},
    {NVSP_SEND_NDIS_VERSION, NVSP_VERSION_1, 8, false, ndis_version},
    {NVSP_SEND_RECEIVE_BUFFER, NVSP_VERSION_1, 6, true, receive_buffer},
    {NVSP_REVOKE_RECEIVE_BUFFER, NVSP_VERSION_1, 2, false, revoke_receive},
    {NVSP_SEND_SEND_BUFFER, NVSP_VERSION_1, 6, true, send_buffer},
    {NVSP_REVOKE_SEND_BUFFER, NVSP_VERSION_1, 2, false, revoke_send},
    {NVSP_SEND_NDIS_CONFIG, NVSP_VERSION_2, 16, false, ndis_config},
    {NVSP_SWITCH_DATA_PATH, NVSP_VERSION_4, 4, false, data_path},
    {NVSP_OID_QUERY_EX, NVSP_VERSION_5, 8, true, oid_query},
    {NVSP_SUBCHANNEL, NVSP_VERSION_5, 8, true, subchannel},
};

static const struct message *find(const struct netvsp *vsp, const uint8_t *message, uint32_t size,
                                  bool wants_completion)
{
    for (unsigned i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        const struct message *entry = &messages[i];
        if (size >= NVSP_BODY && entry->type == le32_get(message)) {
            // INIT only before the version is known, everything else only after.
            const bool now = entry->version ? entry->version <= vsp->version : vsp->version == 0;
            return now && size - NVSP_BODY >= entry->body && (wants_completion || !entry->answered)
                       ? entry
                       : 0;
        }
    }
    return 0;
}

void netvsp_control(struct netvsp *vsp, const uint8_t *message, uint32_t size,
                    const struct vmbus_packet *packet)
{
    const struct message *entry = find(vsp, message, size, packet->wants_completion);

    if (entry) {
        entry->handle(vsp, message + NVSP_BODY, packet);
    } else {
        vsp->statistics.refused_messages++;
        if (packet->wants_completion) {
            vmbus_channel_complete(vsp->primary, packet->transaction_id, 0, 0);
        }
    }
    if (vsp->statistics.refused_messages > REFUSALS_MAX) {
        vmbus_channel_fail(vsp->primary, "too many invalid messages to a network adapter");
    }
}

void netvsp_send_table(struct netvsp *vsp)
{
    const uint32_t size = netvsp_message_size(vsp);
    uint8_t message[NVSP_SIZE_61 + 4 * NVSP_SEND_TABLE] = {0};

    le32_put(message, NVSP_SEND_INDIRECTION_TABLE);
    le32_put(message + NVSP_BODY, NVSP_SEND_TABLE);
    le32_put(message + NVSP_BODY + 4, size);
    for (uint32_t i = 0; i < NVSP_SEND_TABLE; i++) {
        le32_put(message + size + 4 * i, i % (vsp->granted + 1));
    }
    if (vmbus_channel_send(vsp->primary, 0, false, message, size + 4 * NVSP_SEND_TABLE) !=
        VMBUS_SEND_FULL) {
        vsp->table_due = false;
    }
}
