// SPDX-License-Identifier: BSD-2-Clause-Patent
// Dynamic memory and the keyboard against a guest that sends what the fuzzer likes. No crash; the
// owner's view of who has which page is that of the bitmap; operations end once.
#include <stdlib.h>
#include <string.h>

#include "root/lib/vsp/dynmem.h"
#include "root/lib/vsp/keyboard.h"
#include "root/lib/vsp/wire.h"
#include "tests/unit/fake_vmbus.h"

enum { PAGES = 70000 };

struct input {
    const uint8_t *data;
    size_t left;
};

static struct vmbus_server bus;
static struct dynmem dynmem;
static struct keyboard keyboard;
static uint64_t bitmap[PAGES / 64 + 1];
static uint8_t owner[PAGES];
static uint64_t taken_pages;
static int operations;

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

static bool owns(void *ctx, uint64_t first, uint64_t count)
{
    (void)ctx, (void)count;
    return first % 97 != 0;
}

static void set_owner(uint64_t first, uint64_t count, uint8_t value)
{
    check(count != 0 && first < PAGES && count <= PAGES - first);
    for (uint64_t i = first; i < first + count; i++) {
        check(owner[i] != value);
        owner[i] = value;
    }
}

static void taken(void *ctx, uint64_t first, uint64_t count)
{
    (void)ctx;
    set_owner(first, count, 1);
    taken_pages += count;
}

static void given(void *ctx, uint64_t first, uint64_t count)
{
    (void)ctx;
    set_owner(first, count, 0);
    taken_pages -= count;
}

static void done(void *ctx, enum dynmem_operation operation, uint64_t pages)
{
    (void)ctx, (void)operation;
    check(--operations == 0 && pages <= PAGES);
}

static void bring_up(void)
{
    uint8_t message[32] = {1, 0, 16, 0};

    fake_open(dynmem.channel);
    le32_put(message + 8, DYNMEM_2_0);
    fake_send(dynmem.channel, 1, false, message, 16);
    memset(message, 0, sizeof message);
    message[0] = 3;
    message[2] = 32;
    message[8] = 3;
    fake_send(dynmem.channel, 1, false, message, 32);
    fake_run(&bus);
    bus.now += DYNMEM_DELAY_100NS;
}

static void send(struct input *input, struct vmbus_channel *channel)
{
    uint8_t message[512] = {0};
    const uint8_t kind = (uint8_t)take(input, 1);
    uint32_t size = 8;

    message[0] = kind % 16;
    le32_put(message + 8, (uint32_t)take(input, kind & 16 ? 4 : 1));
    le32_put(message + 12, (uint32_t)take(input, kind & 32 ? 4 : 1));
    for (size = 16; size < 16 + 8u * (kind >> 5); size += 8) {
        le64_put(message + size, take(input, 3) | take(input, 2) << 40);
    }
    le16_put(message + 2, (uint16_t)(kind & 16 ? size : take(input, 1)));
    fake_send(channel, kind, kind & 64, message, size);
}

static void ask(struct input *input)
{
    const uint64_t pages = take(input, 2);

    switch (take(input, 1) % 4) {
    case 0:
        operations += dynmem_balloon(&dynmem, pages);
        break;
    case 1:
        operations += dynmem_unballoon(&dynmem, pages);
        break;
    case 2:
        operations += dynmem_hot_add(&dynmem, pages << 8, pages << 8 & 0x1FFF);
        break;
    default:
        keyboard_key(&keyboard, (uint16_t)pages, (uint32_t)take(input, 1));
        break;
    }
}

// The device as it comes from a blob.
static void restore(struct input *input)
{
    struct vmbus_channel *channel = dynmem.channel;
    struct blob_reader blob = {.data = input->data, .size = input->left};

    fake_close(channel);
    channel->open = channel->wake = true;
    if (!channel->ops->restore(channel->device, channel, &blob) || blob.failed) {
        channel->failed = "refused";
    }
    operations = dynmem.operation != DYNMEM_NONE;
    input->data += blob.used;
    input->left -= blob.used;
}

static void step(struct input *input)
{
    const uint8_t kind = (uint8_t)take(input, 1);
    struct vmbus_channel *channel = kind & 1 ? dynmem.channel : keyboard.channel;

    if (!dynmem.channel->open) {
        bring_up();
    } else if (!channel->open) {
        fake_open(channel);
    } else if (kind < 100) {
        send(input, channel);
    } else if (kind < 200) {
        ask(input);
    } else if (kind < 240) {
        while (fake_peek(channel)) {
            fake_pop(channel);
        }
    } else if (kind < 248) {
        channel->room = kind % 4;
    } else if (kind < 251) {
        restore(input);
    } else {
        fake_close(channel);
    }
    fake_run(&bus);
    check(dynmem.ballooned == taken_pages);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct dynmem_config config = {.bitmap = bitmap,
                                         .pages = PAGES,
                                         .owns = owns,
                                         .taken = taken,
                                         .given = given,
                                         .done = done};
    struct input input = {data, size};

    fake_init(&bus, 1);
    taken_pages = 0;
    operations = 0;
    check(dynmem_create(&dynmem, &bus, &config));
    check(keyboard_create(&keyboard, &bus));
    for (unsigned i = 0; i < 200 && input.left > 0; i++) {
        step(&input);
    }
    dynmem_remove(&dynmem);
    keyboard_remove(&keyboard);
    fake_run(&bus);
    check(taken_pages == 0 && operations == 0);
    fake_end(&bus);
    return 0;
}
