// SPDX-License-Identifier: BSD-2-Clause-Patent
// VHDX images with a log in use and the fuzzer's patches: offset, width, value. Checksums are made
// right again, or nothing behind them would be reached. What opens is read, written, trimmed and
// grown as the rest of the input says; what was flushed must be there when it is opened again.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/vhdx_make.h"
#include "root/lib/image/vhdx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DISK_MIB = 5, MAP = 4096, GROWN_MIB = 64, SECTORS_MAX = 64, STEP = 4 };

static struct memory_file memory;
static struct vhdx vhdx;
static uint64_t map[MAP];
static uint8_t buffer[SECTORS_MAX * 4096], again[SECTORS_MAX * 4096];

struct input {
    const uint8_t *data;
    size_t size;
};

static uint32_t take(struct input *input, size_t width)
{
    uint32_t value = 0;
    for (size_t i = 0; i < width && input->size; i++) {
        value |= (uint32_t)*input->data++ << 8 * i;
        input->size--;
    }
    return value;
}

static void expect(int truth)
{
    if (!truth) {
        abort();
    }
}

static void make_log(void)
{
    static uint8_t page[4096];
    const struct make_change changes[] = {{.offset = MAKE_METADATA * MIB + 0x80000, .zero = 8192},
                                          {.offset = MAKE_METADATA * MIB + 0x90000, .data = page}};
    struct make_entry entry = {
        .sequence = 9, .flushed = memory.size, .last = memory.size, .changes = changes, .count = 2};
    make_header(&memory, MAKE_HEADER_2, 7, make_log_guid);
    entry.place = make_log_entry(&memory, &entry);
    entry.sequence++;
    make_log_entry(&memory, &entry);
}

// Where patches go: the parts of the file that are parsed.
static void patch(struct input *input)
{
    static const uint64_t bases[] = {MAKE_HEADER_1,
                                     MAKE_HEADER_2,
                                     MAKE_REGIONS_1,
                                     MAKE_REGIONS_2,
                                     MAKE_METADATA * MIB,
                                     MAKE_BAT * MIB,
                                     MAKE_LOG * MIB,
                                     MAKE_LOG * MIB + 4096,
                                     MAKE_LOG * MIB + 8192,
                                     MAKE_LOG * MIB + 3 * 4096,
                                     MAKE_METADATA * MIB + MAKE_ITEMS,
                                     0};
    const uint64_t offset = bases[take(input, 1) % 12] + take(input, 2) % 4096;
    const uint32_t value = take(input, 4);
    memcpy(memory.bytes + offset, &value, 4);
}

static void fix_checksums(void)
{
    make_checksum(memory.bytes + MAKE_HEADER_1, 4096);
    make_checksum(memory.bytes + MAKE_HEADER_2, 4096);
    make_checksum(memory.bytes + MAKE_REGIONS_1, 65536);
    make_checksum(memory.bytes + MAKE_REGIONS_2, 65536);
    for (uint64_t place = 0; place < 4 * 4096; place += 4096) {
        uint8_t *entry = memory.bytes + MAKE_LOG * MIB + place;
        const uint32_t length = load_le32(entry + 8);
        if (memcmp(entry, "loge", 4) == 0 && length <= MIB - place) {
            make_checksum(entry, length);
        }
    }
}

static enum vhdx_error open_it(void)
{
    const struct vhdx_params params = {.memory = map, .memory_size = sizeof map};
    return vhdx_open(&vhdx, &memory.file, &params);
}

static enum block_status run(enum block_operation operation, bool fua, uint64_t sector,
                             uint64_t count, uint8_t *to)
{
    return image_run(&vhdx.device, operation, fua, sector, count, to, count * vhdx.sector_size);
}

static void step(struct input *input)
{
    static const enum block_operation operations[] = {BLOCK_READ,  BLOCK_WRITE, BLOCK_WRITE,
                                                      BLOCK_FLUSH, BLOCK_TRIM,  BLOCK_ZERO};
    const uint32_t choice = take(input, 1), at = take(input, 2), count = take(input, 1);
    const uint64_t sector = at * UINT64_C(61);
    if (choice % 8 == 7) {
        vhdx_grow(&vhdx, vhdx.disk_size + at * (uint64_t)vhdx.sector_size * 8);
        return;
    }
    const enum block_operation operation = operations[choice % 6];
    memset(buffer, (int)choice, sizeof buffer);
    const uint64_t sectors = operation == BLOCK_FLUSH ? 0
                             : operation == BLOCK_TRIM || operation == BLOCK_ZERO
                                 ? count * 64
                                 : count % SECTORS_MAX;
    run(operation, choice & 64, sector, sectors, buffer);
}

// What is durable survives without closing.
static void check_durable(void)
{
    memset(buffer, 0x3C, 4096);
    if (vhdx.read_only || run(BLOCK_WRITE, true, 5, 1, buffer) != BLOCK_OK) {
        return;
    }
    expect(open_it() == VHDX_OK);
    expect(run(BLOCK_READ, false, 5, 1, again) == BLOCK_OK);
    expect(memcmp(again, buffer, vhdx.sector_size) == 0);
    expect(vhdx_close(&vhdx) == BLOCK_OK);
    expect(open_it() == VHDX_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    const uint32_t kind = take(&input, 1);
    const struct make_options options = {.disk_size = DISK_MIB * MIB,
                                         .block_size = (uint32_t)MIB,
                                         .sector_size = kind & 1 ? 4096 : 512,
                                         .physical_size = 4096,
                                         .fixed = kind & 2};
    make_vhdx(&memory, &options);
    memory.limit = GROWN_MIB * MIB;
    if (kind & 4) {
        make_log();
    }
    for (uint32_t i = kind >> 4; i; i--) {
        patch(&input);
    }
    if (!(kind & 8)) {
        fix_checksums();
    }
    if (open_it() == VHDX_OK) {
        while (input.size >= STEP) {
            step(&input);
        }
        check_durable();
    }
    memory_file_free(&memory);
    return 0;
}
