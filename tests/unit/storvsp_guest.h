// SPDX-License-Identifier: BSD-2-Clause-Patent
// A guest with the storage VSP, for tests of it: a controller on the model guest's bus, and SRBs as
// Linux's storvsc sends them.
#pragma once
#include "fake_block.h"
#include "root/lib/bytes.h"
#include "root/lib/vsp/storvsp.h"
#include "root/lib/vsp/storvsp_proto.h"
#include "vmbus_guest.h"

enum { SG_SECTORS = 512, SG_RING = 9, SG_DATA_PAGES = 64, SG_SENSE = 20 };

static const struct vmbus_guid sg_class =
    VMBUS_GUID(0xBA6163D9, 0x04A1, 0x4D29, 0xB6, 0x05, 0x72, 0xE2, 0xFF, 0xB1, 0xDC, 0x7F);
static const struct vmbus_guid sg_instance =
    VMBUS_GUID(0x11223344, 0x5566, 0x7788, 1, 2, 3, 4, 5, 6, 7, 8);

struct sg {
    struct vg *vg;
    void *arena;
    struct storvsp *storvsp;
    struct fake_block disk, second;
    struct scsi_lun unit, other;
    struct vg_channel channel;
    uint64_t data; // page number of a buffer
    uint64_t next_id;
    uint8_t packet[STOR_PACKET]; // the last answer
    uint32_t size;
};

// Runs the host, takes one completion of that id into sg->packet.
static inline void sg_expect(struct sg *sg, struct vg_channel *channel, uint64_t id)
{
    uint8_t bytes[256];

    vg_run(sg->vg);
    sg->size = vg_expect_completion(channel, id, bytes);
    must(sg->size == STOR_PACKET || sg->size == STOR_PACKET_OLD);
    memset(sg->packet, 0, sizeof sg->packet);
    memcpy(sg->packet, bytes, sg->size);
    must_equal(load_le32(sg->packet + STOR_OPERATION), STOR_COMPLETE_IO);
    must_equal(load_le32(sg->packet + STOR_FLAGS), 0);
}

static inline void sg_expect_none(struct sg *sg, struct vg_channel *channel)
{
    vg_run(sg->vg);
    must_equal(vg_used(&channel->in), 0);
}

// One control operation with a 16-bit argument; returns the NTSTATUS.
static inline uint32_t sg_control(struct sg *sg, struct vg_channel *channel, uint32_t operation,
                                  uint16_t argument, uint32_t size)
{
    uint8_t packet[STOR_PACKET] = {0};
    const uint64_t id = ++sg->next_id;

    store_le32(packet + STOR_OPERATION, operation);
    store_le32(packet + STOR_FLAGS, 1);
    store_le16(packet + STOR_PAYLOAD, argument);
    must(vg_write(channel, id, packet, size));
    sg_expect(sg, channel, id);
    return load_le32(sg->packet + STOR_STATUS);
}

static inline uint32_t sg_op(struct sg *sg, uint32_t operation, uint16_t argument)
{
    return sg_control(sg, &sg->channel, operation, argument, STOR_PACKET);
}

static inline void sg_open(struct sg *sg)
{
    vg_connect(sg->vg, VMBUS_V5_3);
    sg->channel = vg_open(sg->vg, vg_relid(sg->vg, &sg_class, 0), SG_RING, SG_RING);
}

static inline void sg_init_protocol(struct sg *sg, uint16_t version)
{
    const uint32_t size = version < STOR_V5_1 ? STOR_PACKET_OLD : STOR_PACKET;

    must_equal(sg_control(sg, &sg->channel, STOR_BEGIN_INIT, 0, size), 0);
    must_equal(sg_control(sg, &sg->channel, STOR_QUERY_VERSION, version, size), 0);
    must_equal(sg_control(sg, &sg->channel, STOR_QUERY_PROPERTIES, 0, size), 0);
    must_equal(sg_control(sg, &sg->channel, STOR_END_INIT, 0, size), 0);
}

static inline struct sg *sg_create(uint16_t requests, uint16_t subchannels)
{
    static const uint8_t id[16] = {0xAA, 0xBB};
    const struct storvsp_limits limits = {requests, subchannels};
    struct sg *sg = calloc(1, sizeof *sg);
    const size_t size = storvsp_size(&limits);

    must(sg && size);
    sg->vg = vg_create(NULL);
    sg->arena = malloc(size);
    sg->storvsp = storvsp_init(sg->arena, size, &limits);
    must(sg->storvsp != NULL);
    fake_block_init(&sg->disk, SG_SECTORS, 512);
    fake_block_init(&sg->second, 16, 512);
    scsi_lun_init(&sg->unit, SCSI_DISK, &sg->disk.device, id, "one");
    scsi_lun_init(&sg->other, SCSI_DISK, &sg->second.device, id, "two");
    must(storvsp_add_lun(sg->storvsp, 0, &sg->unit));
    must(storvsp_offer(sg->storvsp, sg->vg->server, &sg_instance));
    sg->data = vg_alloc(sg->vg, SG_DATA_PAGES);
    return sg;
}

static inline void sg_destroy(struct sg *sg)
{
    vg_destroy(sg->vg);
    fake_block_free(&sg->disk);
    fake_block_free(&sg->second);
    free(sg->arena);
    free(sg);
}

// A controller that is ready, its unit's first attention taken.
static inline struct sg *sg_ready(uint16_t requests, uint16_t subchannels)
{
    struct sg *sg = sg_create(requests, subchannels);

    sg_open(sg);
    sg_init_protocol(sg, STOR_V6_2);
    sg->unit.attentions = 0;
    return sg;
}

// ---- commands ----------------------------------------------------------------------------------

struct sg_srb {
    uint8_t target, lun, cdb_size, sense_size, data_in;
    uint32_t transfer;
    uint8_t cdb[16];
};

static inline void sg_make_srb(uint8_t *packet, const struct sg_srb *srb)
{
    memset(packet, 0, STOR_PACKET);
    store_le32(packet + STOR_OPERATION, STOR_EXECUTE_SRB);
    store_le32(packet + STOR_FLAGS, 1);
    store_le16(packet + SRB_LENGTH, 0x34);
    packet[SRB_TARGET] = srb->target;
    packet[SRB_LUN] = srb->lun;
    packet[SRB_CDB_SIZE] = srb->cdb_size;
    packet[SRB_SENSE_SIZE] = srb->sense_size;
    packet[SRB_DATA_IN] = srb->data_in;
    store_le32(packet + SRB_TRANSFER, srb->transfer);
    memcpy(packet + SRB_CDB, srb->cdb, 16);
}

// Sends it, with the buffer when there are data. Returns the id.
static inline uint64_t sg_send(struct sg *sg, struct vg_channel *channel, const struct sg_srb *srb,
                               uint32_t offset)
{
    uint8_t packet[STOR_PACKET];
    const uint64_t id = ++sg->next_id;

    sg_make_srb(packet, srb);
    if (srb->transfer) {
        must(vg_write_direct(channel, id, sg->data, offset, srb->transfer, packet, sizeof packet));
    } else {
        must(vg_write(channel, id, packet, sizeof packet));
    }
    return id;
}

static inline struct sg_srb sg_rw(uint8_t opcode, uint16_t sector, uint16_t count)
{
    struct sg_srb srb = {.cdb_size = 10, .sense_size = SG_SENSE};

    srb.data_in = opcode == 0x28;
    srb.transfer = count * 512u;
    srb.cdb[0] = opcode;
    store_be32(srb.cdb + 2, sector);
    store_be16(srb.cdb + 7, count);
    return srb;
}

static inline void sg_expect_srb(const struct sg *sg, uint8_t srb_status, uint8_t scsi_status,
                                 uint32_t transfer)
{
    must_equal(load_le32(sg->packet + STOR_STATUS), 0);
    must_equal(sg->packet[SRB_STATUS], srb_status);
    must_equal(sg->packet[SRB_SCSI_STATUS], scsi_status);
    must_equal(load_le32(sg->packet + SRB_TRANSFER), transfer);
}

static inline void sg_run_srb(struct sg *sg, const struct sg_srb *srb, uint8_t srb_status,
                              uint8_t scsi_status, uint32_t transfer)
{
    const uint64_t id = sg_send(sg, &sg->channel, srb, 0);

    sg_expect(sg, &sg->channel, id);
    sg_expect_srb(sg, srb_status, scsi_status, transfer);
}
