// SPDX-License-Identifier: BSD-2-Clause-Patent
// Random port and memory accesses, input, time and EOIs: no crash, no endless work, and what is
// read stays within its size.
#include <stdlib.h>

#include "root/lib/chipset.h"
#include "tests/unit/fake_host.h"

struct input {
    const uint8_t *data;
    size_t left;
};

static uint64_t take(struct input *input, unsigned size)
{
    uint64_t value = 0;
    while (size-- > 0 && input->left > 0) {
        value = value << 8 | *input->data++;
        input->left--;
    }
    return value;
}

// Half of the ports are ones that a device owns.
static uint16_t take_port(struct input *input)
{
    static const uint16_t bases[] = {0x3F8, 0x600, 0x70, 0x60, 0xE9, 0xF4, 0xCF8, 0x3F8};
    const uint16_t port = (uint16_t)take(input, 2);
    return port & 1 ? port >> 1 : (uint16_t)(bases[port >> 1 & 7] + (port >> 4 & 15));
}

static void check(int holds)
{
    if (!holds) {
        abort();
    }
}

static void do_pio(struct chipset *chipset, struct input *input)
{
    const uint8_t kind = (uint8_t)take(input, 1);
    const uint16_t port = take_port(input);
    const unsigned size = kind >> 1 & 7;
    const bool is_write = kind & 1;
    uint32_t value = is_write ? (uint32_t)take(input, 4) : 0;
    const bool done = chipset_pio(chipset, port, size, is_write, &value);
    check(done == (size == 1 || size == 2 || size == 4));
    check(is_write || !done || size == 4 || value >> 8 * size == 0);
}

static void do_mmio(struct chipset *chipset, struct input *input)
{
    const uint8_t kind = (uint8_t)take(input, 1);
    const uint64_t gpa = kind & 2 ? take(input, 8) : IOAPIC_BASE + take(input, 1);
    uint64_t value = take(input, 4);
    chipset_mmio(chipset, gpa, 1u << (kind >> 2 & 3), kind & 1, &value);
}

static void do_console(struct chipset *chipset, struct input *input)
{
    uint8_t bytes[255] = {0};
    const size_t size = take(input, 1);
    const size_t space = chipset_console_space(chipset);
    check(chipset_console_in(chipset, bytes, size) == (size < space ? size : space));
}

static void do_time(struct fake_host *fake, struct chipset *chipset, struct input *input)
{
    const uint64_t step = take(input, 5);
    fake->now += step;
    fake->wall += (int64_t)take(input, 2) - 32768;
    chipset_tick(chipset);
    // What is due has been done: the next deadline is in the future.
    check(fake->deadline > fake->now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct fake_host fake;
    struct chipset chipset;
    const struct chipset_host host = fake_host_init(&fake);

    chipset_init(&chipset, &host);
    for (unsigned step = 0; step < 1000 && input.left > 0; step++) {
        switch (take(&input, 1) % 8) {
        case 0:
            do_console(&chipset, &input);
            break;
        case 1:
            do_time(&fake, &chipset, &input);
            break;
        case 2:
            chipset_eoi(&chipset, (uint8_t)take(&input, 1));
            break;
        case 3:
            do_mmio(&chipset, &input);
            break;
        default:
            do_pio(&chipset, &input);
            break;
        }
        // One access raises at most one interrupt a pin.
        check(fake.interrupts <= IOAPIC_PINS);
        fake.interrupts = 0;
    }
    return 0;
}
