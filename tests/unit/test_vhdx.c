// SPDX-License-Identifier: BSD-2-Clause-Patent
#include <check.h>
#include <stdio.h>

#include "root/lib/image/vhdx.h"
#include "vhdx_make.h"

#define GIB (1024 * MIB)

static struct memory_file memory;
static struct vhdx vhdx;
static uint64_t map[1 << 14];
static uint8_t buffer[4 * MIB], other[4 * MIB];

static const struct make_options small = {
    .disk_size = 8 * MIB + 4096, .block_size = MIB, .sector_size = 512, .physical_size = 4096};

static void teardown(void)
{
    memory_file_free(&memory);
}

static enum vhdx_error open_it(void)
{
    const struct vhdx_params params = {
        .unique = {0xAB, 0xCD}, .memory = map, .memory_size = sizeof map};
    return vhdx_open(&vhdx, &memory.file, &params);
}

static void make_and_open(const struct make_options *options)
{
    make_vhdx(&memory, options);
    ck_assert_str_eq(vhdx_error_text(open_it()), "no error");
}

static enum block_status run(enum block_operation operation, uint64_t sector, uint64_t count,
                             void *data)
{
    return image_run(&vhdx.device, operation, false, sector, count, data, count * vhdx.sector_size);
}

static void fill(uint8_t *bytes, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(seed * 37 + i * 11 + (i >> 9) * 3);
    }
}

static void check_content(uint64_t sector, uint64_t count, const uint8_t *expected)
{
    memset(other, 0x5A, count * vhdx.sector_size);
    ck_assert_int_eq(run(BLOCK_READ, sector, count, other), BLOCK_OK);
    ck_assert_mem_eq(other, expected, count * vhdx.sector_size);
}

static uint64_t bat_entry(uint64_t index)
{
    return load_le64(memory.bytes + MAKE_BAT * MIB + index * 8);
}

static void set_bat_entry(uint64_t index, uint64_t entry)
{
    store_le64(memory.bytes + MAKE_BAT * MIB + index * 8, entry);
}

START_TEST(test_info)
{
    struct block_info info;
    make_and_open(&small);
    vhdx.device.ops->info(&vhdx.device, &info);
    ck_assert_uint_eq(info.sectors, (8 * MIB + 4096) / 512);
    ck_assert_uint_eq(info.sector_size, 512);
    ck_assert_uint_eq(info.physical_size, 4096);
    ck_assert_uint_eq(info.trim_granularity, 2048);
    ck_assert(!info.read_only);
    ck_assert(info.has_id);
    ck_assert_mem_eq(info.id, make_disk_id, 16);
}
END_TEST

START_TEST(test_empty_reads_zeros_and_changes_nothing)
{
    make_and_open(&small);
    memset(buffer, 0, MIB);
    check_content(1000, 2048, buffer);
    ck_assert_int_eq(vhdx_close(&vhdx), BLOCK_OK);
    ck_assert_uint_eq(memory.writes, 0);
}
END_TEST

START_TEST(test_write_read_reopen)
{
    make_and_open(&small);
    const size_t before = memory.size;
    fill(buffer, 3 * MIB, 1);
    ck_assert_int_eq(run(BLOCK_WRITE, 2000, 4096, buffer), BLOCK_OK); // into three blocks
    ck_assert_uint_eq(memory.size, before + 3 * MIB);
    check_content(2000, 4096, buffer);
    ck_assert_int_eq(vhdx_close(&vhdx), BLOCK_OK);
    ck_assert_int_eq(open_it(), VHDX_OK);
    check_content(2000, 4096, buffer);
    memset(buffer, 0, MIB);
    check_content(0, 2000, buffer);
    check_content(6096, 48, buffer);
}
END_TEST

START_TEST(test_fixed)
{
    struct make_options options = small;
    options.fixed = true;
    options.flags = 1;
    make_and_open(&options);
    const size_t before = memory.size;
    struct block_info info;
    vhdx.device.ops->info(&vhdx.device, &info);
    ck_assert_uint_eq(info.trim_granularity, 0);
    fill(buffer, 2 * MIB, 2);
    ck_assert_int_eq(run(BLOCK_WRITE, 1, 4095, buffer), BLOCK_OK);
    check_content(1, 4095, buffer);
    memset(buffer + 5 * 512, 0, 2048 * 512);
    ck_assert_int_eq(run(BLOCK_ZERO, 6, 2048, NULL), BLOCK_OK);
    check_content(1, 4095, buffer);
    ck_assert_int_eq(run(BLOCK_TRIM, 2048, 2048, NULL), BLOCK_OK);
    check_content(1, 4095, buffer); // a trim that is not offered does nothing
    ck_assert_int_eq(vhdx_close(&vhdx), BLOCK_OK);
    ck_assert_uint_eq(memory.size, before);
    ck_assert_uint_eq(vhdx.log.active, false); // the table never changed
}
END_TEST

START_TEST(test_4096_byte_sectors)
{
    const struct make_options options = {
        .disk_size = 64 * MIB, .block_size = 2 * MIB, .sector_size = 4096, .physical_size = 4096};
    make_and_open(&options);
    fill(buffer, 3 * MIB, 3);
    ck_assert_int_eq(run(BLOCK_WRITE, 500, 600, buffer), BLOCK_OK);
    ck_assert_int_eq(vhdx_close(&vhdx), BLOCK_OK);
    ck_assert_int_eq(open_it(), VHDX_OK);
    check_content(500, 600, buffer);
}
END_TEST

// After each 4096 blocks of 1 MiB comes an entry that is not a block's.
START_TEST(test_chunks)
{
    const struct make_options options = {
        .disk_size = 9 * GIB, .block_size = MIB, .sector_size = 512, .physical_size = 512};
    make_and_open(&options);
    fill(buffer, 3 * MIB, 4);
    ck_assert_int_eq(run(BLOCK_WRITE, 4095 * 2048, 4096, buffer), BLOCK_OK);
    ck_assert_int_eq(run(BLOCK_WRITE, 8192 * 2048, 2048, buffer + MIB), BLOCK_OK);
    ck_assert_int_eq(vhdx_close(&vhdx), BLOCK_OK);
    ck_assert_uint_eq(bat_entry(4095) & 7, 6);
    ck_assert_uint_eq(bat_entry(4096), 0);
    ck_assert_uint_eq(bat_entry(4097) & 7, 6);
    ck_assert_uint_eq(bat_entry(8192 + 2) & 7, 6);
    ck_assert_int_eq(open_it(), VHDX_OK);
    check_content(4095 * 2048, 4096, buffer);
    check_content(8192 * 2048, 2048, buffer + MIB);
}
END_TEST

START_TEST(test_segments_of_any_size)
{
    make_and_open(&small);
    fill(buffer, 1536, 5);
    const struct block_segment segments[] = {
        {buffer, 1}, {NULL, 0}, {buffer + 1, 700}, {buffer + 701, 835}};
    struct image_result result = {0, BLOCK_ERROR_IO};
    struct block_request request = {.operation = BLOCK_WRITE,
                                    .sector = 2047,
                                    .count = 3,
                                    .segments = segments,
                                    .segment_count = 4,
                                    .done = image_done,
                                    .owner = &result};
    block_submit(&vhdx.device, &request);
    ck_assert_uint_eq(result.done, 1);
    ck_assert_int_eq(result.status, BLOCK_OK);
    check_content(2047, 3, buffer);
    request.segment_count = 3; // bytes are missing
    block_submit(&vhdx.device, &request);
    ck_assert_int_eq(result.status, BLOCK_ERROR_RANGE);
}
END_TEST

START_TEST(test_trim_gives_space_back)
{
    make_and_open(&small);
    fill(buffer, 4 * MIB, 6);
    ck_assert_int_eq(run(BLOCK_WRITE, 0, 8192, buffer), BLOCK_OK);
    ck_assert_int_eq(run(BLOCK_FLUSH, 0, 0, NULL), BLOCK_OK);
    const size_t full = memory.size;
    ck_assert_int_eq(run(BLOCK_TRIM, 1000, 4096, NULL), BLOCK_OK); // one whole block
    memset(buffer + MIB, 0, MIB);
    check_content(0, 8192, buffer);
    ck_assert_uint_eq(memory.discarded, 0); // a crash would still need it
    ck_assert_int_eq(run(BLOCK_FLUSH, 0, 0, NULL), BLOCK_OK);
    ck_assert_uint_eq(memory.discarded, MIB);
    // The hole is used again, and what was in it does not show.
    memset(buffer, 7, 512);
    ck_assert_int_eq(run(BLOCK_WRITE, 7 * 2048 + 3, 1, buffer), BLOCK_OK);
    ck_assert_uint_eq(memory.size, full);
    memset(other, 0, sizeof other);
    memcpy(other + 3 * 512, buffer, 512);
    memcpy(buffer, other, MIB);
    check_content(7 * 2048, 2048, buffer);
}
END_TEST

START_TEST(test_zero)
{
    make_and_open(&small);
    fill(buffer, 3 * MIB, 8);
    ck_assert_int_eq(run(BLOCK_WRITE, 0, 6144, buffer), BLOCK_OK);
    ck_assert_int_eq(run(BLOCK_ZERO, 100, 5000, NULL), BLOCK_OK);
    memset(buffer + 100 * 512, 0, 5000 * 512);
    check_content(0, 6144, buffer);
    ck_assert_int_eq(vhdx_close(&vhdx), BLOCK_OK);
    ck_assert_uint_eq(bat_entry(1) & 7, 2);
    ck_assert_int_eq(open_it(), VHDX_OK);
    check_content(0, 6144, buffer);
}
END_TEST

// The last block is whole when all of it that the disk has is covered.
START_TEST(test_trim_last_block)
{
    make_and_open(&small);
    fill(buffer, 4096, 9);
    ck_assert_int_eq(run(BLOCK_WRITE, 8 * 2048, 8, buffer), BLOCK_OK);
    ck_assert_int_eq(run(BLOCK_TRIM, 8 * 2048, 8, NULL), BLOCK_OK);
    memset(buffer, 0, 4096);
    check_content(8 * 2048, 8, buffer);
}
END_TEST

START_TEST(test_ranges)
{
    make_and_open(&small);
    const uint64_t sectors = small.disk_size / 512;
    ck_assert_int_eq(run(BLOCK_READ, sectors, 1, buffer), BLOCK_ERROR_RANGE);
    ck_assert_int_eq(run(BLOCK_READ, sectors - 1, 2, buffer), BLOCK_ERROR_RANGE);
    ck_assert_int_eq(run(BLOCK_READ, UINT64_MAX, 1, buffer), BLOCK_ERROR_RANGE);
    ck_assert_int_eq(run(BLOCK_TRIM, 1, UINT64_MAX, NULL), BLOCK_ERROR_RANGE);
    ck_assert_int_eq(run(BLOCK_WRITE, 0, 0, buffer), BLOCK_ERROR_RANGE);
    ck_assert_int_eq(run(BLOCK_READ, sectors - 1, 1, buffer), BLOCK_OK);
}
END_TEST

START_TEST(test_read_only)
{
    make_vhdx(&memory, &small);
    memory_file_read_only(&memory);
    ck_assert_int_eq(open_it(), VHDX_OK);
    ck_assert_int_eq(run(BLOCK_READ, 0, 1, buffer), BLOCK_OK);
    ck_assert_int_eq(run(BLOCK_WRITE, 0, 1, buffer), BLOCK_ERROR_READ_ONLY);
    ck_assert_int_eq(run(BLOCK_ZERO, 0, 1, NULL), BLOCK_ERROR_READ_ONLY);
    ck_assert_int_eq(run(BLOCK_FLUSH, 0, 0, NULL), BLOCK_OK);
    ck_assert_int_eq(vhdx_close(&vhdx), BLOCK_OK);
}
END_TEST

START_TEST(test_file_full)
{
    make_and_open(&small);
    memory.limit = memory.size + MIB;
    fill(buffer, 2 * MIB, 10);
    ck_assert_int_eq(run(BLOCK_WRITE, 0, 1, buffer), BLOCK_OK);
    ck_assert_int_eq(run(BLOCK_WRITE, 2048, 1, buffer), BLOCK_ERROR_SPACE);
    ck_assert_int_eq(run(BLOCK_WRITE, 1, 1, buffer), BLOCK_OK);
    ck_assert_int_eq(run(BLOCK_ZERO, 0, 2048, NULL), BLOCK_OK);
    ck_assert_int_eq(run(BLOCK_FLUSH, 0, 0, NULL), BLOCK_OK);
    ck_assert_int_eq(run(BLOCK_WRITE, 2048, 1, buffer), BLOCK_OK); // where the other one was
    check_content(2048, 1, buffer);
}
END_TEST

// Trims and writes in turn, without a flush: held space never makes the file outgrow its map.
START_TEST(test_churn_stays_bounded)
{
    make_and_open(&small);
    const uint64_t most = memory.size + 9 * MIB;
    vhdx.space = memory.size / MIB + 9; // as if the map were no larger than has to be
    fill(buffer, 512, 11);
    for (unsigned i = 0; i < 200; i++) {
        ck_assert_int_eq(run(BLOCK_WRITE, i % 8 * 2048, 1, buffer), BLOCK_OK);
        ck_assert_int_eq(run(BLOCK_TRIM, i % 8 * 2048, 2048, NULL), BLOCK_OK);
    }
    ck_assert_uint_le(memory.size, most);
}
END_TEST

// More table pages than the cache holds: 40 pages of 512 blocks.
START_TEST(test_many_pages)
{
    const struct make_options options = {
        .disk_size = 20 * GIB, .block_size = MIB, .sector_size = 512, .physical_size = 512};
    make_and_open(&options);
    for (uint64_t i = 0; i < 40; i++) {
        fill(buffer, 512, (unsigned)i);
        ck_assert_int_eq(run(BLOCK_WRITE, i * 512 * 2048, 1, buffer), BLOCK_OK);
    }
    ck_assert(vhdx.log.active); // it had to commit
    ck_assert_int_eq(vhdx_close(&vhdx), BLOCK_OK);
    ck_assert_int_eq(open_it(), VHDX_OK);
    for (uint64_t i = 0; i < 40; i++) {
        fill(buffer, 512, (unsigned)i);
        check_content(i * 512 * 2048, 1, buffer);
    }
}
END_TEST

START_TEST(test_force_unit_access)
{
    make_and_open(&small);
    fill(buffer, 512, 12);
    ck_assert_int_eq(image_run(&vhdx.device, BLOCK_WRITE, true, 5, 1, buffer, 512), BLOCK_OK);
    ck_assert_uint_eq(vhdx.dirty_pages, 0);
    ck_assert_int_eq(open_it(), VHDX_OK); // without closing: by the log
    check_content(5, 1, buffer);
}
END_TEST

START_TEST(test_header_discipline)
{
    make_and_open(&small);
    fill(buffer, 512, 13);
    uint8_t before[4096];
    memcpy(before, memory.bytes + MAKE_HEADER_2, 4096); // the current one
    ck_assert_int_eq(run(BLOCK_WRITE, 0, 1, buffer), BLOCK_OK);
    ck_assert_mem_eq(memory.bytes + MAKE_HEADER_2, before, 4096);
    const uint8_t *header = memory.bytes + MAKE_HEADER_1;
    ck_assert_uint_eq(load_le64(header + 8), 8);
    ck_assert_mem_ne(header + 16, before + 16, 16); // FileWriteGuid
    ck_assert_mem_ne(header + 32, before + 32, 16); // DataWriteGuid
    ck_assert_mem_ne(header + 16, header + 32, 16);
    ck_assert_uint_eq(load_le64(header + 48) | load_le64(header + 56), 0);
    ck_assert_int_eq(run(BLOCK_FLUSH, 0, 0, NULL), BLOCK_OK);
    header = memory.bytes + MAKE_HEADER_2;
    ck_assert_uint_eq(load_le64(header + 8), 9);
    ck_assert_uint_ne(load_le64(header + 48), 0); // the log is in use
    ck_assert_int_eq(vhdx_close(&vhdx), BLOCK_OK);
    header = memory.bytes + MAKE_HEADER_1;
    ck_assert_uint_eq(load_le64(header + 8), 10);
    ck_assert_uint_eq(load_le64(header + 48) | load_le64(header + 56), 0);
}
END_TEST

START_TEST(test_grow)
{
    make_and_open(&small);
    fill(buffer, 2 * MIB, 14);
    ck_assert_int_eq(run(BLOCK_WRITE, 8 * 2048, 8, buffer), BLOCK_OK);
    set_bat_entry(9, (50 * MIB) | 6); // means nothing yet
    ck_assert_int_eq(vhdx_grow(&vhdx, 4 * MIB), BLOCK_ERROR_RANGE);
    ck_assert_int_eq(vhdx_grow(&vhdx, 20 * MIB + 1), BLOCK_ERROR_RANGE);
    ck_assert_int_eq(vhdx_grow(&vhdx, 1000 * GIB), BLOCK_ERROR_SPACE);
    ck_assert_int_eq(vhdx_grow(&vhdx, 20 * MIB), BLOCK_OK);
    struct block_info info;
    vhdx.device.ops->info(&vhdx.device, &info);
    ck_assert_uint_eq(info.sectors, 40960);
    memset(buffer + 4096, 0, 2 * MIB);
    check_content(8 * 2048, 3000, buffer);
    fill(buffer, 2 * MIB, 15);
    ck_assert_int_eq(run(BLOCK_WRITE, 18 * 2048, 4096, buffer), BLOCK_OK);
    ck_assert_int_eq(vhdx_close(&vhdx), BLOCK_OK);
    ck_assert_int_eq(open_it(), VHDX_OK);
    ck_assert_uint_eq(vhdx.disk_size, 20 * MIB);
    check_content(18 * 2048, 4096, buffer);
}
END_TEST

START_TEST(test_memory)
{
    make_vhdx(&memory, &small);
    struct vhdx_params params = {.memory = map, .memory_size = 8};
    ck_assert_int_eq(vhdx_open(&vhdx, &memory.file, &params), VHDX_ERROR_MEMORY);
    ck_assert_uint_eq(vhdx.memory_needed, 16);
    params.memory_size = 16;
    ck_assert_int_eq(vhdx_open(&vhdx, &memory.file, &params), VHDX_OK);
    params.memory = (uint8_t *)map + 4;
    ck_assert_int_eq(vhdx_open(&vhdx, &memory.file, &params), VHDX_ERROR_MEMORY);
}
END_TEST

// An image that has been opened can be opened again with as much memory, whatever was done to it.
START_TEST(test_memory_lasts)
{
    const struct make_options wide = {
        .disk_size = 120 * MIB, .block_size = 2 * MIB, .sector_size = 512, .physical_size = 4096};
    struct vhdx_params params = {.memory = map, .memory_size = 32};
    make_vhdx(&memory, &wide);
    memory.limit = 256 * MIB;
    ck_assert_int_eq(vhdx_open(&vhdx, &memory.file, &params), VHDX_OK);
    for (uint64_t mib = 0; mib < 120; mib += 2) { // a block each
        ck_assert_int_eq(run(BLOCK_WRITE, mib * 2048, 1, buffer), BLOCK_OK);
    }
    ck_assert_int_eq(run(BLOCK_TRIM, 0, 60 * 2048, NULL), BLOCK_OK);
    ck_assert_int_eq(run(BLOCK_FLUSH, 0, 0, NULL), BLOCK_OK);
    ck_assert_int_eq(vhdx_open(&vhdx, &memory.file, &params), VHDX_OK);
    uint64_t size = 120 * MIB;
    enum block_status status;
    do {
        size += 2 * MIB;
        status = vhdx_grow(&vhdx, size);
        ck_assert_int_eq(vhdx_open(&vhdx, &memory.file, &params), VHDX_OK);
    } while (status == BLOCK_OK);
    ck_assert_int_eq(status, BLOCK_ERROR_SPACE);
    ck_assert_uint_gt(size, 122 * MIB);
    for (uint64_t mib = 0; mib < size / MIB - 2; mib += 2) {
        ck_assert_int_eq(run(BLOCK_WRITE, mib * 2048, 1, buffer), BLOCK_OK);
    }
    ck_assert_int_eq(vhdx_close(&vhdx), BLOCK_OK);
    ck_assert_int_eq(vhdx_open(&vhdx, &memory.file, &params), VHDX_OK);
}
END_TEST

// Every file operation fails in its turn. Whatever was flushed before stays; nothing is lost that
// was reported as written and flushed.
START_TEST(test_failing_file)
{
    for (int operations = 0; operations < 60; operations++) {
        make_and_open(&small);
        fill(buffer, 1024, 16);
        ck_assert_int_eq(image_run(&vhdx.device, BLOCK_WRITE, true, 0, 2, buffer, 1024), BLOCK_OK);
        memory.fail_after = operations;
        bool written = run(BLOCK_WRITE, 2048 * 3, 2, buffer) == BLOCK_OK;
        written = run(BLOCK_TRIM, 2048 * 5, 2048, NULL) == BLOCK_OK && written;
        const bool flushed = run(BLOCK_FLUSH, 0, 0, NULL) == BLOCK_OK && written;
        vhdx_close(&vhdx);
        memory.fail_after = -1;
        ck_assert_int_eq(open_it(), VHDX_OK);
        check_content(0, 2, buffer);
        if (flushed) {
            check_content(2048 * 3, 2, buffer);
        }
        memory_file_free(&memory);
    }
    memory_file_init(&memory, 0);
}
END_TEST

// ---- hostile images ----------------------------------------------------------------------------

static uint8_t *item(unsigned index)
{
    return memory.bytes + MAKE_METADATA * MIB + MAKE_ITEMS + index * 32;
}

static uint8_t *item_entry(unsigned index)
{
    return memory.bytes + MAKE_METADATA * MIB + 32 + index * 32;
}

static uint8_t *regions(void)
{
    return memory.bytes + MAKE_REGIONS_1;
}

static void break_signature(void)
{
    memory.bytes[0] = 'V';
}

static void break_headers(void)
{
    memory.bytes[MAKE_HEADER_1 + 100] ^= 1;
    memory.bytes[MAKE_HEADER_2 + 100] ^= 1;
}

static void equal_sequences(void)
{
    make_header(&memory, MAKE_HEADER_1, 7, make_log_guid);
}

static void edit_header(uint32_t field, uint64_t value, unsigned size)
{
    memcpy(memory.bytes + MAKE_HEADER_2 + field, &value, size);
    make_checksum(memory.bytes + MAKE_HEADER_2, 4096);
}

static void header_version(void)
{
    edit_header(66, 2, 2);
}

static void log_version(void)
{
    edit_header(64, 1, 2);
}

static void log_outside(void)
{
    edit_header(72, 4000 * MIB, 8);
}

static void log_misaligned(void)
{
    edit_header(72, MIB + 4096, 8);
}

static void log_in_header(void)
{
    edit_header(72, 0, 8);
}

static void log_empty(void)
{
    edit_header(68, 0, 4);
}

static void log_on_metadata(void)
{
    edit_header(72, MAKE_METADATA * MIB, 8);
}

static void break_region_tables(void)
{
    memory.bytes[MAKE_REGIONS_1 + 500] ^= 1;
    memory.bytes[MAKE_REGIONS_2 + 60000] ^= 1;
}

static void region_count(void)
{
    store_le32(regions() + 8, 2048);
    make_checksum(regions(), 65536);
    memory.bytes[MAKE_REGIONS_2] = 0;
}

static void region_overlap(void)
{
    store_le64(regions() + 16 + 16, MAKE_METADATA * MIB);
    make_checksum(regions(), 65536);
}

static void region_outside(void)
{
    store_le64(regions() + 16 + 16, UINT64_MAX - MIB + 1);
    make_checksum(regions(), 65536);
}

static void region_twice(void)
{
    memcpy(regions() + 48, regions() + 16, 16);
    make_checksum(regions(), 65536);
}

static void region_unknown(void)
{
    regions()[48] ^= 1;
    make_checksum(regions(), 65536);
}

static void region_missing(void)
{
    store_le32(regions() + 48 + 28, 0);
    region_unknown();
}

static void metadata_signature(void)
{
    memory.bytes[MAKE_METADATA * MIB] = 'M';
}

static void metadata_count(void)
{
    store_le16(memory.bytes + MAKE_METADATA * MIB + 10, 2048);
}

static void metadata_missing(void)
{
    store_le16(memory.bytes + MAKE_METADATA * MIB + 10, 4);
}

static void metadata_twice(void)
{
    memcpy(item_entry(5), item_entry(1), 32);
    store_le16(memory.bytes + MAKE_METADATA * MIB + 10, 6);
}

static void metadata_unknown(void)
{
    memcpy(item_entry(5), item_entry(1), 32);
    item_entry(5)[0] ^= 1;
    store_le16(memory.bytes + MAKE_METADATA * MIB + 10, 6);
}

static void metadata_outside(void)
{
    store_le32(item_entry(1) + 16, (uint32_t)MIB - 7);
}

static void metadata_length(void)
{
    store_le32(item_entry(1) + 20, 4);
}

static void metadata_parent(void)
{
    store_le32(item(0) + 4, 2);
}

static void block_size_odd(void)
{
    store_le32(item(0), 3 * (uint32_t)MIB);
}

static void block_size_small(void)
{
    store_le32(item(0), (uint32_t)MIB / 2);
}

static void block_size_large(void)
{
    store_le32(item(0), 512 * (uint32_t)MIB);
}

static void sector_size(void)
{
    store_le32(item(3), 1024);
}

static void disk_size_odd(void)
{
    store_le64(item(1), MIB + 1);
}

static void disk_size_zero(void)
{
    store_le64(item(1), 0);
}

static void disk_size_huge(void)
{
    store_le64(item(1), UINT64_C(65) << 40);
}

static void bat_too_small(void)
{
    store_le64(item(1), 200 * GIB);
}

static void bat_state(void)
{
    set_bat_entry(1, 5);
}

static void bat_partial(void)
{
    set_bat_entry(1, 7);
}

static void bat_outside(void)
{
    set_bat_entry(1, (MAKE_BAT + 1) * MIB | 6);
}

static void bat_far_outside(void)
{
    set_bat_entry(1, (UINT64_MAX & ~(MIB - 1)) | 6);
}

static void bat_on_itself(void)
{
    set_bat_entry(1, MAKE_BAT * MIB | 6);
}

static void bat_on_header(void)
{
    set_bat_entry(1, 6);
}

static const struct {
    void (*edit)(void);
    enum vhdx_error error;
} hostile[] = {
    {break_signature, VHDX_ERROR_NOT_VHDX},
    {break_headers, VHDX_ERROR_HEADER},
    {equal_sequences, VHDX_ERROR_HEADER},
    {header_version, VHDX_ERROR_VERSION},
    {log_version, VHDX_ERROR_VERSION},
    {log_outside, VHDX_ERROR_LOG_LOCATION},
    {log_misaligned, VHDX_ERROR_LOG_LOCATION},
    {log_in_header, VHDX_ERROR_LOG_LOCATION},
    {log_empty, VHDX_ERROR_LOG_LOCATION},
    {log_on_metadata, VHDX_ERROR_REGION_TABLE},
    {break_region_tables, VHDX_ERROR_REGION_TABLE},
    {region_count, VHDX_ERROR_REGION_TABLE},
    {region_overlap, VHDX_ERROR_REGION_TABLE},
    {region_outside, VHDX_ERROR_REGION_TABLE},
    {region_twice, VHDX_ERROR_REGION_TABLE},
    {region_unknown, VHDX_ERROR_REGION_UNKNOWN},
    {region_missing, VHDX_ERROR_REGION_MISSING},
    {metadata_signature, VHDX_ERROR_METADATA_TABLE},
    {metadata_count, VHDX_ERROR_METADATA_TABLE},
    {metadata_missing, VHDX_ERROR_METADATA_MISSING},
    {metadata_twice, VHDX_ERROR_METADATA_TABLE},
    {metadata_unknown, VHDX_ERROR_METADATA_UNKNOWN},
    {metadata_outside, VHDX_ERROR_METADATA_TABLE},
    {metadata_length, VHDX_ERROR_METADATA_VALUE},
    {metadata_parent, VHDX_ERROR_PARENT},
    {block_size_odd, VHDX_ERROR_METADATA_VALUE},
    {block_size_small, VHDX_ERROR_METADATA_VALUE},
    {block_size_large, VHDX_ERROR_METADATA_VALUE},
    {sector_size, VHDX_ERROR_METADATA_VALUE},
    {disk_size_odd, VHDX_ERROR_METADATA_VALUE},
    {disk_size_zero, VHDX_ERROR_METADATA_VALUE},
    {disk_size_huge, VHDX_ERROR_METADATA_VALUE},
    {bat_too_small, VHDX_ERROR_BAT_SIZE},
    {bat_state, VHDX_ERROR_BAT_ENTRY},
    {bat_partial, VHDX_ERROR_BAT_ENTRY},
    {bat_outside, VHDX_ERROR_BAT_ENTRY},
    {bat_far_outside, VHDX_ERROR_BAT_ENTRY},
    {bat_on_itself, VHDX_ERROR_BAT_ENTRY},
    {bat_on_header, VHDX_ERROR_BAT_ENTRY},
};

START_TEST(test_hostile)
{
    make_vhdx(&memory, &small);
    hostile[_i].edit();
    const enum vhdx_error error = open_it();
    ck_assert_msg(error == hostile[_i].error, "row %d: %s", _i, vhdx_error_text(error));
    ck_assert_uint_eq(memory.writes, 0);
}
END_TEST

// Two blocks of the disk in one place of the file.
START_TEST(test_hostile_shared_block)
{
    struct make_options options = small;
    options.fixed = true;
    make_vhdx(&memory, &options);
    set_bat_entry(3, bat_entry(2));
    ck_assert_int_eq(open_it(), VHDX_ERROR_BAT_ENTRY);
}
END_TEST

// The second region table and the second header stand in for the first ones.
START_TEST(test_copies)
{
    make_vhdx(&memory, &small);
    memory.bytes[MAKE_REGIONS_1 + 20] ^= 1;
    memory.bytes[MAKE_HEADER_2 + 20] ^= 1;
    ck_assert_int_eq(open_it(), VHDX_OK);
    ck_assert_uint_eq(vhdx.header_sequence, 6);
}
END_TEST

START_TEST(test_truncated_everywhere)
{
    make_vhdx(&memory, &small);
    const size_t whole = memory.size;
    for (memory.size = 0; memory.size < whole; memory.size += 32768) {
        ck_assert_int_ne(open_it(), VHDX_OK);
    }
}
END_TEST

START_TEST(test_texts)
{
    for (int error = -1; error <= VHDX_ERROR_COUNT; error++) {
        const char *text = vhdx_error_text((enum vhdx_error)error);
        ck_assert_ptr_nonnull(text);
        const bool known = error >= 0 && error < VHDX_ERROR_COUNT;
        ck_assert(known == (strcmp(text, "unknown error") != 0));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vhdx");
    TCase *tests = tcase_create("vhdx");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, NULL, teardown);
    tcase_add_test(tests, test_info);
    tcase_add_test(tests, test_empty_reads_zeros_and_changes_nothing);
    tcase_add_test(tests, test_write_read_reopen);
    tcase_add_test(tests, test_fixed);
    tcase_add_test(tests, test_4096_byte_sectors);
    tcase_add_test(tests, test_chunks);
    tcase_add_test(tests, test_segments_of_any_size);
    tcase_add_test(tests, test_trim_gives_space_back);
    tcase_add_test(tests, test_zero);
    tcase_add_test(tests, test_trim_last_block);
    tcase_add_test(tests, test_ranges);
    tcase_add_test(tests, test_read_only);
    tcase_add_test(tests, test_file_full);
    tcase_add_test(tests, test_churn_stays_bounded);
    tcase_add_test(tests, test_many_pages);
    tcase_add_test(tests, test_force_unit_access);
    tcase_add_test(tests, test_header_discipline);
    tcase_add_test(tests, test_grow);
    tcase_add_test(tests, test_memory);
    tcase_add_test(tests, test_memory_lasts);
    tcase_add_test(tests, test_failing_file);
    tcase_add_loop_test(tests, test_hostile, 0, (int)(sizeof hostile / sizeof *hostile));
    tcase_add_test(tests, test_hostile_shared_block);
    tcase_add_test(tests, test_copies);
    tcase_add_test(tests, test_truncated_everywhere);
    tcase_add_test(tests, test_texts);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
