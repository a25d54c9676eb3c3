// SPDX-License-Identifier: BSD-2-Clause-Patent
// Storage VSP: the guest's way from opening the channel to commands, subchannels, resets
// (spec: VMBus 2.1).
#include "storvsp_priv.h"

static void reply_with_payload(struct stor_request *request, const uint8_t *payload, uint32_t size)
{
    memset(request->packet, 0, sizeof request->packet);
    memcpy(request->packet + STOR_PAYLOAD, payload, size);
    stor_answer(request, STOR_STATUS_OK);
}

// Moves on to the next state; the request is answered.
static void advance(struct stor_request *request, enum stor_state next)
{
    request->channel->storvsp->state = next;
    stor_answer(request, STOR_STATUS_OK);
}

static void begin_init(struct stor_request *request)
{
    advance(request, STOR_BEGUN);
}

bool stor_is_known_version(uint16_t version)
{
    static const uint16_t versions[] = {STOR_V2_0, STOR_V4_2, STOR_V5_1, STOR_V6_0, STOR_V6_2};

    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        if (versions[i] == version) {
            return true;
        }
    }
    return false;
}

static void query_version(struct stor_request *request)
{
    const uint16_t version = load_le16(request->packet + VERSION_NUMBER);

    if (!stor_is_known_version(version)) {
        stor_answer(request, STOR_STATUS_REVISION); // the guest tries another one
        return;
    }
    request->channel->storvsp->version = version;
    advance(request, STOR_VERSION);
}

static void query_properties(struct stor_request *request)
{
    struct storvsp *const storvsp = request->channel->storvsp;
    const uint16_t subchannels = storvsp->limits.subchannels;
    uint8_t payload[24] = {0};

    store_le16(payload + PROPERTIES_CHANNELS - STOR_PAYLOAD, subchannels);
    store_le32(payload + PROPERTIES_FLAGS - STOR_PAYLOAD,
               subchannels ? PROPERTIES_MULTI_CHANNEL : 0);
    store_le32(payload + PROPERTIES_TRANSFER - STOR_PAYLOAD, SCSI_TRANSFER_MAX);
    storvsp->state = STOR_PROPERTIES;
    reply_with_payload(request, payload, sizeof payload);
}

static void end_init(struct stor_request *request)
{
    advance(request, STOR_READY);
}

// The guest learns that it gets them, then they are offered (spec: VMBus 1.10).
static void create_sub_channels(struct stor_request *request)
{
    struct storvsp *const storvsp = request->channel->storvsp;
    const uint16_t count = load_le16(request->packet + SUB_CHANNELS_COUNT);

    if (storvsp->has_sub_channels) {
        stor_answer(request, STOR_STATUS_DEVICE_STATE);
        return;
    }
    if (count == 0 || count > storvsp->limits.subchannels) {
        stor_answer(request, STOR_STATUS_PARAMETER);
        return;
    }
    storvsp->has_sub_channels = true;
    stor_answer(request, STOR_STATUS_OK);
    // A bus without channels left offers fewer: the guest uses what comes.
    for (uint16_t i = 0; i < count && storvsp->state != STOR_CLOSED; i++) {
        if (!vmbus_channel_offer_sub(storvsp->primary)) {
            break;
        }
    }
}

// ---- resets ------------------------------------------------------------------------------------

void stor_try_reset(struct storvsp *storvsp)
{
    struct stor_request *const request = storvsp->reset;

    if (!request || storvsp->in_flight > 1) {
        return;
    }
    storvsp->reset = NULL;
    const uint8_t number = request->packet[SRB_LUN];
    if (load_le32(request->packet + STOR_OPERATION) != STOR_RESET_LUN) {
        scsi_target_reset(&storvsp->target);
    } else if (number < SCSI_LUNS && storvsp->target.luns[number]) {
        scsi_lun_reset(storvsp->target.luns[number]);
    }
    // Channels that had something to read did not: they must look again.
    storvsp->starved = true;
    memset(request->packet, 0, sizeof request->packet);
    stor_answer(request, STOR_STATUS_OK);
}

// Backends cannot take a request back, so what is in flight completes first; meanwhile nothing new
// is taken.
static void reset(struct stor_request *request)
{
    request->channel->storvsp->reset = request;
    stor_try_reset(request->channel->storvsp);
}

// ---- dispatch ----------------------------------------------------------------------------------

static const struct {
    uint8_t operation;
    uint8_t from, to; // states in which it is legal
    bool on_sub_channels;
    void (*handle)(struct stor_request *request);
} operations[] = {
    {STOR_BEGIN_INIT, STOR_OPENED, STOR_OPENED, false, begin_init},
    {STOR_QUERY_VERSION, STOR_BEGUN, STOR_BEGUN, false, query_version},
    {STOR_QUERY_PROPERTIES, STOR_VERSION, STOR_VERSION, false, query_properties},
    {STOR_END_INIT, STOR_PROPERTIES, STOR_PROPERTIES, false, end_init},
    {STOR_CREATE_SUB_CHANNELS, STOR_PROPERTIES, STOR_READY, false, create_sub_channels},
    {STOR_EXECUTE_SRB, STOR_READY, STOR_READY, true, stor_execute_srb},
    {STOR_RESET_LUN, STOR_READY, STOR_READY, true, reset},
    {STOR_RESET_ADAPTER, STOR_READY, STOR_READY, true, reset},
    {STOR_RESET_BUS, STOR_READY, STOR_READY, true, reset},
};

void stor_handle(struct stor_request *request, uint32_t size)
{
    const struct storvsp *storvsp = request->channel->storvsp;
    const uint32_t operation = load_le32(request->packet + STOR_OPERATION);
    const bool is_sub = request->channel != &storvsp->channels[0];

    // Before there is a version, old guests send and expect the packets that they know.
    if (!storvsp->version && size < STOR_PACKET) {
        request->answer_size = STOR_PACKET_OLD;
    }
    if (size < request->answer_size) {
        stor_answer(request, STOR_STATUS_PARAMETER);
        return;
    }
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        if (operations[i].operation != operation) {
            continue;
        }
        if (storvsp->state < operations[i].from || storvsp->state > operations[i].to ||
            (is_sub && !operations[i].on_sub_channels)) {
            stor_answer(request, STOR_STATUS_DEVICE_STATE);
        } else {
            operations[i].handle(request);
        }
        return;
    }
    stor_answer(request, STOR_STATUS_REQUEST);
}
