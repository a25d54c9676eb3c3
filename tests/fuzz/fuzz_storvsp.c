// SPDX-License-Identifier: BSD-2-Clause-Patent
// Storage packets of the fuzzer's choosing, in and out of order, on the primary channel and a
// subchannel, with ranges of any shape, while the owner plugs, resets, holds and revokes. Every
// packet that is taken is answered once, and at the end nothing is in flight.
#include <stdint.h>

#define VG_PAGES    128
#define VG_MESSAGES 256
#include "../unit/storvsp_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t size;
};

static struct sg *sg;
static struct vg_channel sub;
static bool has_sub;
static uint64_t sent, answered;

static uint64_t take(struct input *input, size_t width)
{
    uint64_t value = 0;
    for (size_t i = 0; i < width && input->size; i++) {
        value |= (uint64_t)*input->data++ << 8 * i;
        input->size--;
    }
    return value;
}

static void drain(struct vg_channel *channel)
{
    static uint8_t bytes[VMBUS_PIPE_PACKET];
    uint8_t ext[1024];
    struct vg_packet head;
    uint32_t ext_size, size;

    vg_run(sg->vg);
    while (vg_read_packet(channel, &head, ext, &ext_size, bytes, &size)) {
        must(size == STOR_PACKET || size == STOR_PACKET_OLD);
        answered += head.type == VMBUS_PACKET_COMPLETION;
        vg_run(sg->vg);
    }
}

// A packet with what the fuzzer wants different from a sound SRB.
static void make_packet(struct input *input, uint8_t *packet)
{
    struct sg_srb srb = {.sense_size = SG_SENSE};
    srb.lun = take(input, 1) % 3;
    srb.cdb_size = (uint8_t)take(input, 1);
    srb.data_in = (uint8_t)take(input, 1);
    srb.transfer = (uint32_t)take(input, 3);
    for (unsigned i = 0; i < 16; i++) {
        srb.cdb[i] = (uint8_t)take(input, 1);
    }
    sg_make_srb(packet, &srb);
    const uint32_t operation = (uint32_t)take(input, 1) % 16;
    store_le32(packet + STOR_OPERATION, operation ? operation : STOR_EXECUTE_SRB);
}

static void send_packet(struct input *input, struct vg_channel *channel)
{
    uint8_t packet[STOR_PACKET];
    uint64_t ext[20] = {0};
    make_packet(input, packet);
    const uint8_t shape = (uint8_t)take(input, 1);
    const uint32_t size = shape & 1 ? STOR_PACKET : (uint32_t)take(input, 1) % (STOR_PACKET + 1);
    const uint32_t pages = (uint32_t)take(input, 1) % 16;
    bool written;

    if (shape & 2) {
        written = vg_write_packet(channel, VMBUS_PACKET_IN_BAND, true, 1, NULL, 0, packet, size);
    } else {
        // A list that the library accepts or not, of pages that exist or not.
        const uint32_t offset = shape & 4 ? (uint32_t)take(input, 2) % VMBUS_PAGE : 0;
        const uint32_t length = shape & 8 ? (uint32_t)take(input, 3) : pages * 4096 - offset;
        ext[0] = UINT64_C(1) << 32;
        ext[1] = (uint64_t)offset << 32 | length;
        for (uint32_t i = 0; i < pages; i++) {
            ext[2 + i] = shape & 16 ? take(input, 2) : sg->data + i;
        }
        written = vg_write_packet(channel, VMBUS_PACKET_GPA_DIRECT, true, 1, ext, (2 + pages) * 8,
                                  packet, size);
    }
    sent += written;
}

static void owner_step(uint8_t choice)
{
    switch (choice % 8) {
    case 0:
        sg->disk.hold = !sg->disk.hold;
        break;
    case 1:
        storvsp_add_lun(sg->storvsp, 1, &sg->other);
        break;
    case 2:
        if (sg->other.in_flight == 0) {
            storvsp_remove_lun(sg->storvsp, 1);
        }
        break;
    case 3:
        sg->disk.fail = (enum block_status)(choice / 8 % 6);
        break;
    case 4:
        scsi_lun_resized(&sg->unit);
        break;
    default:
        fake_block_release(&sg->disk);
        break;
    }
}

static void open_channels(uint32_t kind)
{
    sg = sg_create(1 + kind % 8, 2);
    has_sub = false;
    sent = answered = 0;
    sg_open(sg);
    if (kind & 0x10) {
        sg_init_protocol(sg, kind & 0x20 ? STOR_V4_2 : STOR_V6_2);
        sg->unit.attentions = 0;
    }
    if ((kind & 0x50) == 0x50) {
        must_equal(sg_control(sg, &sg->channel, STOR_CREATE_SUB_CHANNELS, 1,
                              kind & 0x20 ? STOR_PACKET_OLD : STOR_PACKET),
                   0);
        vg_take_offers(sg->vg);
        sub = vg_open(sg->vg, vg_relid(sg->vg, &sg_class, 1), SG_RING, SG_RING);
        has_sub = true;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};

    open_channels((uint32_t)take(&input, 1));
    while (input.size > 2) {
        const uint8_t choice = (uint8_t)take(&input, 1);
        if (choice % 4 == 0) {
            owner_step((uint8_t)take(&input, 1));
        } else {
            send_packet(&input, has_sub && choice % 4 == 1 ? &sub : &sg->channel);
        }
        drain(&sg->channel);
        if (has_sub) {
            drain(&sub);
        }
    }
    sg->disk.hold = false;
    fake_block_release(&sg->disk);
    drain(&sg->channel);
    if (has_sub) {
        drain(&sub);
    }
    must_equal(storvsp_in_flight(sg->storvsp), 0);
    // A list of ranges that the library refuses fails its channel, and what is in the ring is lost.
    must(answered <= sent);
    must(sg->vg->logged || answered == sent);
    storvsp_revoke(sg->storvsp);
    vg_run(sg->vg);
    sg_destroy(sg);
    return 0;
}
