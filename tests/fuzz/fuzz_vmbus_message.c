// SPDX-License-Identifier: BSD-2-Clause-Patent
// The VMBus control protocol under any sequence of messages, signals, host actions and time: no
// crash, no endless work, answers where a guest waits, and after a reset all is as it was.
#include "tests/fuzz/vmbus_input.h"
#include "tests/unit/vmbus_guest.h"

enum { DEVICES = 3, STEPS = 200, CHANNELS = 12, IDS = 8 };

static struct vg *vg;

// ---- a device that takes its time --------------------------------------------------------------

enum owes { OWES_OPEN = 1, OWES_CLOSE = 2 };

static struct {
    struct vmbus_channel *primary; // NULL: not offered
    bool late;
    unsigned held[IDS]; // GPADLs: at least as often as it holds them
} devices[DEVICES];

// Channels that the devices know, primaries and subchannels.
static struct {
    struct vmbus_channel *channel;
    unsigned owes;
} known[CHANNELS];

static unsigned find(struct vmbus_channel *channel)
{
    for (unsigned i = 0; i < CHANNELS; i++) {
        if (known[i].channel == channel) {
            return i;
        }
    }
    for (unsigned i = 0;; i++) {
        must(i < CHANNELS);
        if (!known[i].channel) {
            known[i].channel = channel;
            known[i].owes = 0;
            return i;
        }
    }
}

static bool is_late(void *device)
{
    return devices[(uintptr_t)device].late;
}

static void on_open(void *device, struct vmbus_channel *channel, const struct vmbus_open *open)
{
    const unsigned i = find(channel);

    must(known[i].owes == 0 && !vmbus_channel_is_open(channel));
    must(open->ring_in_size >= VMBUS_PAGE && open->ring_out_size >= VMBUS_PAGE);
    if (is_late(device)) {
        known[i].owes = OWES_OPEN;
    } else {
        vmbus_channel_opened(channel, VMBUS_STATUS_OK);
    }
}

static void on_close(void *device, struct vmbus_channel *channel)
{
    const unsigned i = find(channel);

    must(known[i].owes != OWES_CLOSE && !vmbus_channel_is_open(channel));
    known[i].owes = OWES_CLOSE;
    if (!is_late(device)) {
        known[i].owes = 0;
        vmbus_channel_closed(channel);
    }
}

static void on_wake(void *device, struct vmbus_channel *channel)
{
    uint8_t buffer[64];
    struct vmbus_packet packet = {.buffer = buffer, .capacity = sizeof buffer};
    enum vmbus_read result;

    (void)device;
    must(vmbus_channel_is_open(channel));
    do {
        result = vmbus_channel_read(channel, &packet);
    } while (result == VMBUS_READ_PACKET || result == VMBUS_READ_OVERSIZE);
}

static void let_go(uintptr_t n, uint32_t id)
{
    for (; devices[n].held[id]; devices[n].held[id]--) {
        vmbus_gpadl_release(devices[n].primary, id);
    }
}

static void on_revoked(void *device, struct vmbus_channel *channel, uint32_t gpadl)
{
    must(devices[(uintptr_t)device].primary == channel && gpadl < IDS);
    if (!is_late(device)) {
        let_go((uintptr_t)device, gpadl);
    }
}

static void on_released(void *device, struct vmbus_channel *channel)
{
    const unsigned i = find(channel);

    must(known[i].owes == 0);
    known[i].channel = NULL;
    if (devices[(uintptr_t)device].primary == channel) {
        devices[(uintptr_t)device].primary = NULL;
        memset(devices[(uintptr_t)device].held, 0, sizeof devices[0].held);
    }
}

static void on_save(void *device, struct vmbus_channel *primary, struct blob_writer *blob)
{
    must(devices[(uintptr_t)device].primary == primary);
    blob_put_u8(blob, (uint8_t)(uintptr_t)device);
}

static bool on_restore(void *device, struct vmbus_channel *primary, struct blob_reader *blob)
{
    must(devices[(uintptr_t)device].primary == primary);
    must(blob_get_u8(blob) == (uintptr_t)device);
    return true;
}

static const struct vmbus_device_ops ops = {.open = on_open,
                                            .close = on_close,
                                            .wake = on_wake,
                                            .gpadl_revoked = on_revoked,
                                            .released = on_released,
                                            .save = on_save,
                                            .restore = on_restore};

static const struct vmbus_limits limits = {.channels = CHANNELS, .gpadls = 8, .gpadl_words = 1024};

static void attach(uintptr_t n)
{
    const struct vmbus_offer offer = {.class_id = {{(uint8_t)n}}, .instance_id = {{1}}};

    devices[n].primary = vmbus_channel_offer(vg->server, &offer, &ops, (void *)n);
}

static void answer(unsigned i)
{
    const unsigned owes = known[i].owes;

    known[i].owes = 0;
    if (owes == OWES_OPEN) {
        vmbus_channel_opened(known[i].channel, VMBUS_STATUS_OK);
    } else if (owes == OWES_CLOSE) {
        vmbus_channel_closed(known[i].channel);
    }
}

// ---- what happens ------------------------------------------------------------------------------

// Answers are not looked at one by one, only their form.
static void drop_answers(void)
{
    struct vmbus_header header;

    for (; vg->count; vg->count--, vg->first = (vg->first + 1) % VG_MESSAGES) {
        memcpy(&header, vg->messages[vg->first].bytes, sizeof header);
        must(header.type >= 1 && header.type < VMBUS_MESSAGE_TYPES && header.padding == 0);
    }
}

// A message that is well formed where it matters: small relids and ids, pages that exist.
static void send_shaped(struct input *input)
{
    uint8_t bytes[VMBUS_MESSAGE_MAX] = {0};
    uint32_t words[VMBUS_MESSAGE_MAX / 4];
    const uint32_t type = (uint32_t)take(input, 1) % 26;

    take_bytes(input, bytes, 12 + take(input, 1) % 60);
    memcpy(words, bytes, sizeof words);
    words[0] = type;
    words[1] = 0;
    words[2] %= 8; // relid
    words[3] %= 8; // GPADL, open id
    if (type == VMBUS_OPENCHANNEL) {
        words[4] %= 8;
        words[6] %= 8;
    } else if (type == VMBUS_GPADL_HEADER) {
        const uint32_t pages = words[5] % 16;
        words[4] = (pages + 1) * 8 | 1u << 16;
        words[5] = pages * VMBUS_PAGE;
        words[6] = 0;
        for (uint32_t i = 0; i < pages; i++) {
            words[7 + 2 * i] = VG_FIRST_PAGE + words[2] * 8 + i;
            words[8 + 2 * i] = 0;
        }
    } else if (type == VMBUS_INITIATE_CONTACT) {
        static const uint32_t versions[] = {VMBUS_V2_4, VMBUS_V3_0, VMBUS_V4_0, VMBUS_V4_1,
                                            VMBUS_V5_0, VMBUS_V5_2, VMBUS_V5_3, 0x60000};
        words[2] = versions[words[2]];
        words[4] = VMBUS_SINT;
        memset(words + 6, 0, 16);
    }
    vg_try_send(vg, words, sizeof words);
}

static void send_raw(struct input *input)
{
    uint8_t bytes[VMBUS_MESSAGE_MAX + 8];
    const size_t size = take(input, 1) % sizeof bytes;

    take_bytes(input, bytes, sizeof bytes);
    vmbus_server_message(vg->server, take(input, 1) & 1 ? 1 : 4, bytes, size);
}

// What the host does to a device.
static void device_action(struct input *input)
{
    const unsigned n = (unsigned)take(input, 1) % DEVICES;
    struct vmbus_channel *channel = devices[n].primary;
    const uint32_t id = (uint32_t)take(input, 1) % IDS;
    struct vmbus_ranges ranges;

    if (!channel) {
        attach(n);
        return;
    }
    switch (take(input, 1) % 6) {
    case 0:
        vmbus_channel_rescind(channel);
        break;
    case 1:
        vmbus_channel_offer_sub(channel);
        break;
    case 2:
        vmbus_channel_fail(channel, "fuzz");
        break;
    case 3:
        if (vmbus_gpadl_acquire(channel, id, &ranges)) {
            must(ranges.count >= 1 && ranges.size >= 1);
            devices[n].held[id]++;
        }
        break;
    case 4:
        vmbus_gpadl_release(channel, id);
        break;
    default:
        devices[n].late = !devices[n].late;
        break;
    }
}

// The machine moves to another host.
static void migrate(void)
{
    static uint8_t blob[65536], again[65536];
    struct blob_writer writer = {.data = blob, .capacity = sizeof blob};
    struct blob_writer second = {.data = again, .capacity = sizeof again};

    if (!vmbus_server_save(vg->server, &writer)) {
        return; // a device owes an answer
    }
    vg_new_server(vg, &limits);
    memset(known, 0, sizeof known);
    for (uintptr_t n = 0; n < DEVICES; n++) {
        memset(devices[n].held, 0, sizeof devices[n].held);
        if (devices[n].primary) {
            attach(n);
        }
    }
    struct blob_reader reader = {.data = blob, .size = writer.used};
    must(vmbus_server_restore(vg->server, &reader) && reader.used == reader.size);
    if (vmbus_server_save(vg->server, &second)) {
        must(second.used == writer.used);
    }
}

static void host_action(struct input *input)
{
    switch (take(input, 1) % 8) {
    case 0:
        vg->post_result = take(input, 1) % 3;
        break;
    case 1:
        vmbus_server_refuse(vg->server, &vg->endpoint, &vg->service, 1);
        break;
    case 2:
        vmbus_server_reset(vg->server);
        break;
    case 3:
        answer((unsigned)take(input, 1) % CHANNELS);
        break;
    case 4:
        migrate();
        break;
    default:
        device_action(input);
        break;
    }
}

static void step(struct input *input)
{
    switch (take(input, 1) % 8) {
    case 0:
        host_action(input);
        break;
    case 1:
        vmbus_server_signal(vg->server, (uint32_t)take(input, 2));
        break;
    case 2:
        send_raw(input);
        break;
    case 3:
        vg->now += take(input, 3);
        break;
    default:
        send_shaped(input);
        break;
    }
    vg_run(vg);
    drop_answers();
}

// Whatever has been done, the machine can be reset, and the guest sees every offer.
static void recover(void)
{
    unsigned offered = 0;

    vg->post_result = VMBUS_POST_OK;
    for (unsigned n = 0; n < DEVICES; n++) {
        devices[n].late = false;
    }
    vmbus_server_reset(vg->server);
    vg_wait(vg, 100000000);
    for (unsigned n = 0; n < DEVICES; n++) {
        for (uint32_t id = 0; devices[n].primary && id < IDS; id++) {
            let_go(n, id);
        }
    }
    for (unsigned i = 0; i < CHANNELS; i++) {
        answer(i);
    }
    vg_run(vg);
    must(vmbus_server_is_idle(vg->server));
    drop_answers();
    vg_connect(vg, VMBUS_V5_3);
    for (unsigned n = 0; n < DEVICES; n++) {
        offered += devices[n].primary != NULL;
    }
    must(vg->offer_count == offered);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};

    memset(devices, 0, sizeof devices);
    memset(known, 0, sizeof known);
    vg = vg_create(&limits);
    for (uintptr_t n = 0; n < DEVICES; n++) {
        attach(n);
    }
    for (unsigned steps = 0; steps < STEPS && input.left; steps++) {
        step(&input);
    }
    recover();
    vg_destroy(vg);
    return 0;
}
