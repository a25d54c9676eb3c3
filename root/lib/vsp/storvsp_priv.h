// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the parts of the storage VSP share.
#pragma once
#include "../bytes.h"
#include "../mem.h"
#include "storvsp.h"
#include "storvsp_proto.h"

enum {
    STOR_WAKE_PACKETS = 32, // taken from one channel before others have a turn
    // The range of one command: its header and every page that SCSI_TRANSFER_MAX bytes can touch.
    STOR_WORDS = 1 + SCSI_TRANSFER_MAX / VMBUS_PAGE + 1,
};

// How far the guest has come on the primary channel.
enum stor_state { STOR_CLOSED, STOR_OPENED, STOR_BEGUN, STOR_VERSION, STOR_PROPERTIES, STOR_READY };

struct stor_channel {
    struct storvsp *storvsp;
    struct vmbus_channel *channel; // NULL: free
    bool open, closing;
    uint32_t in_flight;
};

struct stor_request {
    struct scsi_task task;
    struct stor_channel *channel;
    struct stor_request *next; // in the free list
    uint64_t transaction_id;
    struct vmbus_ranges ranges;
    uint64_t words[STOR_WORDS];
    uint8_t packet[STOR_PACKET]; // the guest's, then the answer
    uint32_t answer_size;
};

struct storvsp {
    struct vmbus_channel *primary; // NULL: not offered
    struct scsi_target target;
    struct storvsp_limits limits;
    enum stor_state state;
    uint16_t version;      // enum stor_version; 0: not yet agreed upon
    bool has_sub_channels; // the guest has asked for them
    bool starved;          // a channel waits for a free request
    bool announce;         // units have come or gone, and the guest is to look
    uint32_t in_flight;
    struct stor_request *reset; // waits until it is the only one
    struct stor_request *free;
    struct stor_request *requests; // limits.requests of them
    struct stor_channel *channels; // 1 + limits.subchannels; the first is the primary
};

// ---- storvsp.c -------------------------------------------------------------------------------

// Answers a request and frees it. The packet is complete but for operation, flags and status.
void stor_answer(struct stor_request *request, uint32_t status);
// Bytes of a packet as this guest has it.
uint32_t stor_packet_size(const struct storvsp *storvsp);

// ---- storvsp_control.c -----------------------------------------------------------------------

// Takes a packet that has arrived in request->packet. `size` as the guest sent it.
void stor_handle(struct stor_request *request, uint32_t size);
bool stor_is_known_version(uint16_t version);
// Carries out a reset when nothing else is in flight.
void stor_try_reset(struct storvsp *storvsp);

// ---- storvsp_srb.c ---------------------------------------------------------------------------

void stor_execute_srb(struct stor_request *request);
