// SPDX-License-Identifier: BSD-2-Clause-Patent
// A guest that writes anything anywhere in the rings of an open channel, between any two accesses
// of the host: what the device reads has been checked, the host writes nothing outside of the
// rings, and work is bounded.
#include "tests/fuzz/vmbus_input.h"
#include "tests/unit/vmbus_echo.h"

enum { OUT_PAGES = 2, IN_PAGES = 2, STEPS = 200, CANARY = 0xC5 };

static struct vg *vg;
static struct echo echo;
static struct vg_channel channel;
static struct input input;
static uint64_t first_page;
static unsigned changes;

// Control words get values near those that mean something.
static void scribble(void)
{
    const uint8_t kind = (uint8_t)take(&input, 1);
    struct vg_ring *ring = kind & 1 ? &channel.out : &channel.in;
    const uint32_t value = (uint32_t)take(&input, kind & 2 ? 2 : 4);

    switch (kind >> 2 & 7) {
    case 0:
        ring->control[VG_WRITE] = kind & 0x20 ? value : value % ring->size & ~7u;
        break;
    case 1:
        ring->control[VG_READ] = kind & 0x20 ? value : value % ring->size & ~7u;
        break;
    case 2:
        ring->control[VG_MASK] = kind & 0x20 ? value : 0;
        break;
    case 3:
        ring->control[VG_PENDING] = value;
        break;
    case 4:
        ring->control[VG_FEATURES] = value;
        break;
    case 5:
        vg->missing[first_page - VG_FIRST_PAGE + value % 4] = kind & 0x20 ? 1 : 0;
        break;
    default: {
        const uint32_t at = value % (ring->size - 64);
        take_bytes(&input, ring->data + at, take(&input, 1) % 64);
        break;
    }
    }
}

// Between two accesses of the host; a few times in one run, or nothing would ever be whole.
static void hook(void *ctx)
{
    (void)ctx;
    if (changes && input.left && (input.data[0] & 0xF) == 0) {
        changes--;
        take(&input, 1);
        scribble();
    }
}

static void write_well_formed(void)
{
    static const uint16_t types[] = {VMBUS_PACKET_IN_BAND, VMBUS_PACKET_GPA_DIRECT,
                                     VMBUS_PACKET_COMPLETION, VMBUS_PACKET_IN_BAND};
    uint8_t ext[256], data[300];
    const uint8_t kind = (uint8_t)take(&input, 1);
    const uint16_t type = types[kind & 3];
    const uint32_t ext_size =
        type == VMBUS_PACKET_GPA_DIRECT ? 8 * (1 + (uint32_t)take(&input, 1) % 31) : 0;

    take_bytes(&input, ext, ext_size);
    const uint32_t size = (uint32_t)take(&input, 2) % sizeof data;
    take_bytes(&input, data, size);
    // The guest's own bookkeeping must be sound for that.
    if (channel.out.control[VG_WRITE] % 8 == 0 &&
        channel.out.control[VG_WRITE] < channel.out.size && channel.out.control[VG_READ] % 8 == 0 &&
        channel.out.control[VG_READ] < channel.out.size) {
        vg_write_packet(&channel, type, kind & 4, kind, ext, ext_size, data, size);
    }
}

static void step(void)
{
    switch (take(&input, 1) % 6) {
    case 0:
        scribble();
        break;
    case 1:
        vmbus_server_signal(vg->server, channel.relid);
        break;
    case 2: {
        uint8_t data[200] = {0};
        vmbus_channel_send(echo.channel, take(&input, 1), false, data,
                           (uint32_t)take(&input, 1) % sizeof data);
        break;
    }
    case 3:
        vmbus_channel_wake(echo.channel);
        break;
    default:
        write_well_formed();
        break;
    }
    changes = 16;
    // A guest that goes on writing keeps the host busy for ever, but in turns.
    for (unsigned runs = 0; runs < 20 && vmbus_server_run(vg->server); runs++) {
    }
    vg->first = vg->count = 0;
}

static void check_canaries(void)
{
    const uint8_t *before = vg_at(vg, first_page - 1);
    const uint8_t *after = vg_at(vg, first_page + OUT_PAGES + IN_PAGES);

    for (uint32_t i = 0; i < VMBUS_PAGE; i++) {
        must(before[i] == CANARY && after[i] == CANARY);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct vmbus_limits limits = {.channels = 4, .gpadls = 4, .gpadl_words = 256};

    vg = vg_create(&limits);
    echo_attach(&echo, vg, 1);
    vg_connect(vg, VMBUS_V5_3);
    const uint64_t canary = vg_alloc(vg, 1);
    memset(vg_at(vg, canary), CANARY, VMBUS_PAGE);
    channel = vg_open(vg, 1, OUT_PAGES, IN_PAGES);
    first_page = canary + 1;
    memset(vg_at(vg, vg_alloc(vg, 1)), CANARY, VMBUS_PAGE);
    input = (struct input){data, size};
    vg->hook = hook;
    for (unsigned steps = 0; steps < STEPS && input.left; steps++) {
        step();
    }
    vg->hook = NULL;
    check_canaries();
    vmbus_server_reset(vg->server);
    vg_run(vg);
    must(vmbus_server_is_idle(vg->server));
    vg_destroy(vg);
    return 0;
}
