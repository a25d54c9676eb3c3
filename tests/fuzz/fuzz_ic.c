// SPDX-License-Identifier: BSD-2-Clause-Patent
// All integration components against a guest that answers as the fuzzer likes: right headers with
// any body, any bytes at all, late, twice or never, while the owner goes on asking. No crash, no
// endless work; every request ends once.
#include <stdlib.h>
#include <string.h>

#include "root/lib/vsp/ic/fcopy.h"
#include "root/lib/vsp/ic/heartbeat.h"
#include "root/lib/vsp/ic/kvp.h"
#include "root/lib/vsp/ic/shutdown.h"
#include "root/lib/vsp/ic/timesync.h"
#include "root/lib/vsp/ic/vss.h"
#include "root/lib/vsp/wire.h"
#include "tests/unit/fake_vmbus.h"

enum { COMPONENTS = 6 };

struct input {
    const uint8_t *data;
    size_t left;
};

static struct vmbus_server bus;
static struct heartbeat heartbeat;
static struct shutdown_ic shutdown_dev;
static struct timesync timesync;
static struct kvp kvp;
static struct fcopy fcopy;
static struct vss vss;
static struct ic *const components[COMPONENTS] = {&heartbeat.ic, &shutdown_dev.ic, &timesync.ic,
                                                  &kvp.ic,       &fcopy.ic,        &vss.ic};
static int shutdowns, kvps, copies, freezes, thaws; // begun and not ended

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static uint64_t take(struct input *input, unsigned size)
{
    uint64_t value = 0;
    while (size-- > 0 && input->left > 0) {
        value = value << 8 | *input->data++;
        input->left--;
    }
    return value;
}

static void shutdown_done(void *ctx, uint32_t status)
{
    (void)ctx, (void)status;
    check(--shutdowns == 0);
}

static uint64_t wall(void *ctx)
{
    (void)ctx;
    return UINT64_C(133500000000000000);
}

static void kvp_ended(void *ctx, struct kvp *which, uint32_t status)
{
    (void)ctx;
    check(--kvps == 0);
    check(memchr(which->entry.key, 0, sizeof which->entry.key) != NULL);
    check(memchr(which->entry.text, 0, sizeof which->entry.text) != NULL);
    check(memchr(which->addresses.servers, 0, sizeof which->addresses.servers) != NULL);
    if (status == IC_STATUS_OK) {
        kvps += kvp_enumerate(which, KVP_AUTO, 1);
    }
}

static bool read_file(void *ctx, uint64_t offset, void *data, uint32_t size)
{
    (void)ctx;
    memset(data, (int)offset, size);
    return offset < 30000;
}

static void copy_done(void *ctx, uint32_t status)
{
    (void)ctx, (void)status;
    check(--copies == 0);
}

static void frozen(void *ctx, uint32_t status)
{
    (void)ctx;
    check(--freezes == 0);
    thaws += status == IC_STATUS_OK;
}

static void thawed(void *ctx, uint32_t status)
{
    (void)ctx, (void)status;
    check(--thaws == 0);
}

static void setup(void)
{
    fake_init(&bus, 1);
    shutdowns = kvps = copies = freezes = thaws = 0;
    check(heartbeat_create(&heartbeat, &bus));
    check(shutdown_create(&shutdown_dev, &bus, NULL, shutdown_done));
    check(timesync_create(&timesync, &bus, NULL, wall));
    check(kvp_create(&kvp, &bus, NULL, kvp_ended));
    check(fcopy_create(&fcopy, &bus));
    check(vss_create(&vss, &bus, NULL, frozen, thawed));
}

// Something to ask of the guest.
static void ask(struct input *input)
{
    const uint8_t kind = (uint8_t)take(input, 1);
    const struct fcopy_source source = {NULL, kind * 300u, read_file, copy_done};

    switch (kind % 8) {
    case 0:
        shutdowns +=
            shutdown_request(&shutdown_dev, kind & 8 ? SHUTDOWN_HIBERNATE : 0, kind & 16, "now");
        break;
    case 1:
        timesync_step(&timesync);
        break;
    case 2:
        kvps += kvp_get(&kvp, (enum kvp_pool)(kind >> 3 & 7), "key");
        break;
    case 3:
        kvps += kvp_get_addresses(&kvp, "{adapter}");
        break;
    case 4:
        copies += fcopy_start(&fcopy, "name", "/path", 3, &source);
        break;
    case 5:
        fcopy_cancel(&fcopy);
        break;
    case 6:
        freezes += vss_freeze(&vss);
        break;
    default:
        vss_thaw(&vss);
        break;
    }
}

// The oldest request comes back with parts of it changed.
static void answer(struct input *input, struct ic *ic)
{
    const struct fake_packet *packet = fake_peek(ic->channel);
    uint8_t message[FAKE_PAYLOAD];

    if (!packet) {
        return;
    }
    uint32_t size = packet->size;
    memcpy(message, packet->data, size);
    fake_pop(ic->channel);
    message[17] = 5;
    if (le16_get(message + 4) == IC_NEGOTIATE) { // the last of each list
        const uint16_t versions = le16_get(message + IC_HEADER + 2);
        memmove(message + IC_HEADER + 8, message + IC_HEADER + 12, 4);
        memmove(message + IC_HEADER + 12, message + IC_HEADER + 12 + 4 * versions, 4);
        memcpy(message + IC_HEADER, "\1\0\1\0", 4);
    }
    const uint8_t kind = (uint8_t)take(input, 1);
    for (unsigned i = 0; i < kind % 8; i++) {
        const uint32_t at = (uint32_t)take(input, 2) % size;
        message[at] = (uint8_t)take(input, 1);
    }
    if (kind >= 0xF0) {
        size = (uint32_t)take(input, 2) % (size + 1);
    }
    fake_send(ic->channel, 1, kind & 8, message, size);
}

static void junk(struct input *input, struct ic *ic)
{
    uint8_t message[64] = {0};
    const uint32_t size = (uint32_t)take(input, 1) % sizeof message;

    for (uint32_t i = 0; i < size; i++) {
        message[i] = (uint8_t)take(input, 1);
    }
    fake_send(ic->channel, take(input, 1), size & 1, message, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};

    setup();
    for (unsigned step = 0; step < 300 && input.left > 0; step++) {
        const uint8_t kind = (uint8_t)take(&input, 1);
        struct ic *ic = components[kind % COMPONENTS];

        if (!ic->channel->open) {
            fake_open(ic->channel);
        } else if (kind < 160) {
            answer(&input, ic);
        } else if (kind < 200) {
            ask(&input);
        } else if (kind < 220) {
            junk(&input, ic);
        } else if (kind < 240) {
            bus.now += take(&input, 4);
        } else if (kind < 250) {
            ic->channel->room = kind % 4;
        } else {
            fake_close(ic->channel);
        }
        fake_run(&bus);
    }
    for (unsigned i = 0; i < COMPONENTS; i++) {
        ic_remove(components[i]);
    }
    fake_run(&bus);
    check(shutdowns == 0 && kvps == 0 && copies == 0 && freezes == 0 && thaws == 0);
    fake_end(&bus);
    return 0;
}
