// SPDX-License-Identifier: BSD-2-Clause-Patent
// Any bytes as a saved VMBus server: refused, or a server that works. The first byte chooses
// between the bytes as they are and a good blob that they change in places.
#include "tests/fuzz/vmbus_input.h"
#include "tests/unit/vmbus_echo.h"

static uint8_t blob[65536];
static struct echo echoes[2];

static struct vg *new_machine(void)
{
    static const struct vmbus_limits limits = {.channels = 8, .gpadls = 8, .gpadl_words = 1024};
    struct vg *vg = vg_create(&limits);

    echo_attach(&echoes[0], vg, 1);
    echo_attach(&echoes[1], vg, 2);
    return vg;
}

// A machine with something of everything in it.
static size_t good_blob(void)
{
    struct blob_writer writer = {.data = blob, .capacity = sizeof blob};
    struct vg *vg = new_machine();

    vg_connect(vg, VMBUS_V5_3);
    vg_open(vg, 1, 2, 2);
    must(vmbus_channel_offer_sub(echoes[0].channel) != NULL);
    vg_run(vg);
    vg_take_offers(vg);
    vg_open(vg, 3, 2, 2);
    vg_make_gpadl(vg, 2, vg_alloc(vg, 5), 5);
    must(vmbus_server_save(vg->server, &writer));
    vg_destroy(vg);
    return writer.used;
}

static void exercise(struct vg *vg)
{
    vg_run(vg);
    for (uint32_t relid = 1; relid <= 8; relid++) {
        vmbus_server_signal(vg->server, relid);
        vg_run(vg);
        vg_send_teardown(vg, relid, VG_GPADL_FIRST);
        vg_send_relid(vg, VMBUS_CLOSECHANNEL, relid);
        vg_send_relid(vg, VMBUS_RELID_RELEASED, relid);
    }
    vmbus_server_reset(vg->server);
    vg_run(vg);
    must(vmbus_server_is_idle(vg->server));
    vg->first = vg->count = 0;
    vg_connect(vg, VMBUS_V5_3);
    must(vg->offer_count == 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct blob_reader reader = {.data = blob};

    if (take(&input, 1) & 1) {
        reader.size = take_bytes(&input, blob, sizeof blob);
    } else {
        reader.size = good_blob();
        while (input.left >= 3) {
            const size_t at = take(&input, 2) % reader.size;
            blob[at] = (uint8_t)take(&input, 1);
        }
    }
    struct vg *vg = new_machine();
    if (vmbus_server_restore(vg->server, &reader)) {
        exercise(vg);
    }
    vg_destroy(vg);
    return 0;
}
