// SPDX-License-Identifier: BSD-2-Clause-Patent
// The VHDX log: replay of logs that others wrote, and what a crash leaves of our own.
#include <check.h>
#include <stdio.h>

#include "root/lib/image/vhdx.h"
#include "vhdx_make.h"

enum { BLOCKS = 6, SLOTS = 2 * BLOCKS, ROUNDS = 40, STEPS = 60 };

static struct memory_file memory;
static struct vhdx vhdx;
static uint64_t map[64];
static uint8_t page[2][4096], expected[4096];

static const struct make_options options = {
    .disk_size = BLOCKS * MIB, .block_size = MIB, .sector_size = 512, .physical_size = 4096};

static void setup(void)
{
    make_vhdx(&memory, &options);
    make_header(&memory, MAKE_HEADER_2, 7, make_log_guid);
    memset(page[0], 0xA0, sizeof page[0]);
    memset(page[1], 0xB1, sizeof page[1]);
}

static void teardown(void)
{
    memory_file_free(&memory);
}

static enum vhdx_error open_it(void)
{
    const struct vhdx_params params = {
        .unique = {0x77, 0xCD}, .memory = map, .memory_size = sizeof map};
    return vhdx_open(&vhdx, &memory.file, &params);
}

// The entry that fills the page at `offset`, in a metadata region where nothing else is.
static uint32_t entry_at(uint32_t place, uint32_t tail, uint64_t sequence, uint64_t offset,
                         const uint8_t *data)
{
    const struct make_change change = {.offset = MAKE_METADATA * MIB + offset, .data = data};
    const struct make_entry entry = {.place = place,
                                     .tail = tail,
                                     .sequence = sequence,
                                     .flushed = memory.size,
                                     .last = memory.size,
                                     .changes = &change,
                                     .count = 1};
    return make_log_entry(&memory, &entry);
}

static const uint8_t *at(uint64_t offset)
{
    return memory.bytes + MAKE_METADATA * MIB + offset;
}

enum { SPOT = 0x40000 };

START_TEST(test_replay_one)
{
    for (unsigned i = 0; i < 4096; i++) {
        page[0][i] = (uint8_t)(i * 7 + i / 256);
    }
    entry_at(0x5000, 0x5000, 3, SPOT, page[0]);
    ck_assert_int_eq(open_it(), VHDX_OK);
    ck_assert_mem_eq(at(SPOT), page[0], 4096);
    // The log is out of use now.
    ck_assert_uint_eq(load_le64(memory.bytes + MAKE_HEADER_1 + 8), 8);
    ck_assert_uint_eq(load_le64(memory.bytes + MAKE_HEADER_1 + 48), 0);
    const unsigned writes = memory.writes;
    ck_assert_int_eq(open_it(), VHDX_OK);
    ck_assert_uint_eq(memory.writes, writes);
}
END_TEST

START_TEST(test_replay_sequence_in_order)
{
    uint32_t place = 0;
    place += entry_at(place, 0, 10, SPOT, page[0]);
    place += entry_at(place, 0, 11, SPOT + 4096, page[0]);
    place += entry_at(place, 0, 12, SPOT, page[1]);
    ck_assert_int_eq(open_it(), VHDX_OK);
    ck_assert_mem_eq(at(SPOT), page[1], 4096);
    ck_assert_mem_eq(at(SPOT + 4096), page[0], 4096);
}
END_TEST

// What is before the tail has been done already and is not done again.
START_TEST(test_replay_from_tail)
{
    uint32_t place = 0;
    place += entry_at(place, 0, 10, SPOT, page[0]);
    entry_at(place, place, 11, SPOT + 4096, page[1]);
    ck_assert_int_eq(open_it(), VHDX_OK);
    ck_assert_uint_eq(at(SPOT)[0], 0);
    ck_assert_mem_eq(at(SPOT + 4096), page[1], 4096);
}
END_TEST

START_TEST(test_replay_highest_sequence)
{
    entry_at(0, 0, 20, SPOT, page[0]);
    entry_at(0x8000, 0x8000, 30, SPOT, page[1]);
    entry_at(0x20000, 0x20000, 25, SPOT, page[0]);
    ck_assert_int_eq(open_it(), VHDX_OK);
    ck_assert_mem_eq(at(SPOT), page[1], 4096);
}
END_TEST

// Entries and sequences go on at the start of the log.
START_TEST(test_replay_wraps)
{
    entry_at(0xFD000, 0xFD000, 5, SPOT, page[0]);
    entry_at(0xFF000, 0xFD000, 6, SPOT + 4096, page[0]); // its data are at 0
    entry_at(0x1000, 0xFD000, 7, SPOT + 8192, page[0]);
    ck_assert_int_eq(open_it(), VHDX_OK);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_mem_eq(at(SPOT + i * 4096), page[0], 4096);
    }
}
END_TEST

START_TEST(test_torn_head_is_ignored)
{
    uint32_t place = entry_at(0, 0, 10, SPOT, page[0]);
    entry_at(place, 0, 11, SPOT, page[1]);
    make_log_sector(&memory, place + 0x1000)[100] ^= 1;
    ck_assert_int_eq(open_it(), VHDX_OK);
    ck_assert_mem_eq(at(SPOT), page[0], 4096);
}
END_TEST

// The newest sequence without its tail counts for nothing; the one before it does.
START_TEST(test_missing_tail)
{
    entry_at(0, 0, 10, SPOT, page[0]);
    entry_at(0x10000, 0xE000, 12, SPOT, page[1]);
    ck_assert_int_eq(open_it(), VHDX_OK);
    ck_assert_mem_eq(at(SPOT), page[0], 4096);
}
END_TEST

START_TEST(test_zero_descriptor_and_growth)
{
    memset(memory.bytes + MAKE_METADATA * MIB + SPOT, 0x55, 3 * 4096);
    const struct make_change changes[] = {
        {.offset = MAKE_METADATA * MIB + SPOT, .zero = 8192},
        {.offset = MAKE_METADATA * MIB + SPOT + 4096, .data = page[1]}};
    const struct make_entry entry = {.sequence = 1,
                                     .flushed = memory.size,
                                     .last = memory.size + 3 * MIB,
                                     .changes = changes,
                                     .count = 2};
    const size_t before = memory.size;
    make_log_entry(&memory, &entry);
    ck_assert_int_eq(open_it(), VHDX_OK);
    ck_assert_uint_eq(at(SPOT)[4095], 0);
    ck_assert_mem_eq(at(SPOT + 4096), page[1], 4096);
    ck_assert_uint_eq(at(SPOT + 8192)[0], 0x55);
    ck_assert_uint_eq(memory.size, before + 3 * MIB);
}
END_TEST

// 200 descriptors need two sectors.
START_TEST(test_many_descriptors)
{
    struct make_change changes[200];
    for (unsigned i = 0; i < 200; i++) {
        changes[i] = (struct make_change){.offset = MAKE_METADATA * MIB + SPOT + i * 4096,
                                          .data = i == 150 ? page[1] : page[0]};
    }
    const struct make_entry entry = {.place = 0x80000,
                                     .tail = 0x80000,
                                     .sequence = UINT64_C(0x100000005),
                                     .flushed = memory.size,
                                     .last = memory.size,
                                     .changes = changes,
                                     .count = 180};
    make_log_entry(&memory, &entry);
    ck_assert_int_eq(open_it(), VHDX_OK);
    ck_assert_mem_eq(at(SPOT + 150 * 4096), page[1], 4096);
    ck_assert_mem_eq(at(SPOT + 179 * 4096), page[0], 4096);
    ck_assert_uint_eq(at(SPOT + 180 * 4096)[0], 0);
}
END_TEST

START_TEST(test_read_only_file)
{
    entry_at(0, 0, 1, SPOT, page[0]);
    memory_file_read_only(&memory);
    ck_assert_int_eq(open_it(), VHDX_ERROR_LOG_READ_ONLY);
}
END_TEST

START_TEST(test_empty_log_in_use)
{
    ck_assert_int_eq(open_it(), VHDX_ERROR_LOG);
    ck_assert_uint_eq(memory.writes, 0);
}
END_TEST

// ---- hostile logs: one valid entry, and something wrong with it --------------------------------

static struct make_change bad_change;
static struct make_entry bad_entry;

static void edit_sector(uint32_t sector, uint32_t field, uint32_t value)
{
    store_le32(make_log_sector(&memory, sector * 4096) + field, value);
    uint8_t both[8192];
    memcpy(both, make_log_sector(&memory, 0), 8192);
    make_checksum(both, 8192);
    memcpy(make_log_sector(&memory, 0), both, 8192);
}

static const struct {
    uint32_t sector, field, value;
} bad_fields[] = {
    {0, 0, 0},           // signature
    {0, 8, 0},           // length
    {0, 8, 0x1001},      //
    {0, 8, 0x101000},    // longer than the log
    {0, 12, 0x1000},     // tail
    {0, 12, 0x100000},   // outside the log
    {0, 16, 0},          // sequence
    {0, 24, 2},          // descriptors: more than data sectors
    {0, 24, 0xFFFFFFFF}, //
    {0, 32, 0},          // GUID
    {0, 64, 0},          // descriptor signature
    {0, 80, 0x1001},     // file offset
    {0, 80, 0},          // the file identifier
    {0, 80, 0x10000},    // a header
    {0, 80, 0x100000},   // the log itself
    {0, 80, 0x1FF000},   // its end
    {0, 84, 0x7FFFFFFF}, // beyond the end of the file
    {0, 88, 2},          // descriptor's sequence
    {1, 0, 0},           // data signature
    {1, 4, 1},           // high half of the sequence
    {1, 4092, 2},        // and the low one
};

START_TEST(test_hostile_entry)
{
    entry_at(0, 0, 1, SPOT, page[0]);
    edit_sector(bad_fields[_i].sector, bad_fields[_i].field, bad_fields[_i].value);
    ck_assert_int_eq(open_it(), VHDX_ERROR_LOG);
    ck_assert_uint_eq(memory.writes, 0);
}
END_TEST

START_TEST(test_hostile_sizes)
{
    bad_change = (struct make_change){.offset = MAKE_METADATA * MIB + SPOT, .data = page[0]};
    bad_entry = (struct make_entry){.sequence = 1,
                                    .flushed = memory.size + 1,
                                    .last = memory.size,
                                    .changes = &bad_change,
                                    .count = 1};
    make_log_entry(&memory, &bad_entry);
    ck_assert_int_eq(open_it(), VHDX_ERROR_LOG_TRUNCATED);
    bad_entry.flushed = 0;
    bad_entry.last = UINT64_C(1) << 60;
    make_log_entry(&memory, &bad_entry);
    ck_assert_int_eq(open_it(), VHDX_ERROR_LOG_TRUNCATED);
    bad_entry.last = memory.size;
    bad_change = (struct make_change){.offset = MAKE_METADATA * MIB, .zero = UINT64_MAX - 4095};
    make_log_entry(&memory, &bad_entry);
    ck_assert_int_eq(open_it(), VHDX_ERROR_LOG);
    bad_change.zero = 0x1000000000; // inside the file, as the log has it, and too much
    bad_entry.last = 0x2000000000;
    memory.limit = 64 * MIB;
    make_log_entry(&memory, &bad_entry);
    ck_assert_int_eq(open_it(), VHDX_ERROR_IO);
}
END_TEST

// Every sector claims to be an entry as long as the log: the search gives up in bounded time.
START_TEST(test_hostile_search)
{
    for (uint32_t place = 0; place < MIB; place += 4096) {
        uint8_t *sector = make_log_sector(&memory, place);
        memcpy(sector, "loge", 4);
        store_le32(sector + 8, (uint32_t)MIB);
        store_le64(sector + 16, 1);
        memcpy(sector + 32, make_log_guid, 16);
    }
    ck_assert_int_eq(open_it(), VHDX_ERROR_LOG);
    ck_assert_uint_lt(memory.reads, 16 * 256 + 100);
}
END_TEST

// ---- crashes -----------------------------------------------------------------------------------

// The model: the value that was durable in each slot of the disk, and those written since.
static struct slot {
    uint32_t durable;
    uint32_t since[STEPS];
    unsigned count;
} slots[SLOTS];
static uint32_t value;
static unsigned stride = 1; // blocks from one that has slots to the next

// Two in each block, at the same places: what belongs to another block shows.
static uint64_t slot_sector(unsigned slot)
{
    return slot / 2 * stride * UINT64_C(2048) + slot % 2 * UINT64_C(1000);
}

static void fill_sector(uint32_t with)
{
    for (unsigned i = 0; i < 512; i += 4) {
        store_le32(expected + i, with);
    }
}

static void write_slot(unsigned slot, bool fua)
{
    fill_sector(++value);
    ck_assert_int_eq(image_run(&vhdx.device, BLOCK_WRITE, fua, slot_sector(slot), 1, expected, 512),
                     BLOCK_OK);
    slots[slot].since[slots[slot].count++] = value;
}

static void all_durable(void)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (slots[i].count) {
            slots[i].durable = slots[i].since[slots[i].count - 1];
        }
        slots[i].count = 0;
    }
}

// A trim of a whole block: its slots become 0.
static void trim_block(unsigned block, enum block_operation operation)
{
    ck_assert_int_eq(
        image_run(&vhdx.device, operation, false, block * stride * UINT64_C(2048), 2048, NULL, 0),
        BLOCK_OK);
    for (unsigned i = 0; i < SLOTS; i++) {
        if (slot_sector(i) / 2048 == block * stride) {
            slots[i].since[slots[i].count++] = 0;
        }
    }
}

static uint32_t read_sector(uint64_t sector)
{
    uint8_t bytes[512];
    ck_assert_int_eq(image_run(&vhdx.device, BLOCK_READ, false, sector, 1, bytes, 512), BLOCK_OK);
    const uint32_t found = load_le32(bytes);
    fill_sector(found);
    ck_assert_mem_eq(bytes, expected, 512);
    return found;
}

// Each slot holds what was durable or one of the values after it; the rest of the disk is empty.
static void check_slots(void)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *slot = &slots[i];
        const uint32_t found = read_sector(slot_sector(i));
        bool allowed = found == slot->durable;
        for (unsigned n = 0; n < slot->count; n++) {
            allowed = allowed || found == slot->since[n];
        }
        ck_assert_msg(allowed, "slot %u has %u, durable is %u", i, found, slot->durable);
        ck_assert_uint_eq(read_sector(slot_sector(i) + 1), 0);
        slot->durable = found;
        slot->count = 0;
    }
}

static void random_step(void)
{
    const int dice = rand() % 20;
    if (dice < 12) {
        write_slot((unsigned)rand() % SLOTS, rand() % 8 == 0);
    } else if (dice < 16) {
        trim_block((unsigned)rand() % BLOCKS, rand() % 2 ? BLOCK_TRIM : BLOCK_ZERO);
    } else {
        ck_assert_int_eq(image_run(&vhdx.device, BLOCK_FLUSH, false, 0, 0, NULL, 0), BLOCK_OK);
        all_durable();
    }
}

START_TEST(test_crashes)
{
    static const unsigned chances[] = {0, 20, 128, 240, 256};
    srand(1234 + (unsigned)_i);
    memory_file_free(&memory);
    make_vhdx(&memory, &options);
    memory_file_journal(&memory);
    memset(slots, 0, sizeof slots);
    for (unsigned round = 0; round < ROUNDS; round++) {
        const enum vhdx_error error = open_it();
        ck_assert_msg(error == VHDX_OK, "round %u: %s", round, vhdx_error_text(error));
        check_slots();
        // What was read after the crash may still be undone by the next one, until a flush.
        ck_assert_int_eq(image_run(&vhdx.device, BLOCK_FLUSH, false, 0, 0, NULL, 0), BLOCK_OK);
        const unsigned steps = (unsigned)rand() % STEPS;
        for (unsigned i = 0; i < steps; i++) {
            random_step();
        }
        if (rand() % 6 == 0) {
            ck_assert_int_eq(vhdx_close(&vhdx), BLOCK_OK);
            all_durable();
        }
        memory_file_crash(&memory, chances[(unsigned)rand() % 5]);
    }
}
END_TEST

// A crash in the middle of any commit, and of any replay after it.
START_TEST(test_crash_at_every_operation)
{
    for (int operations = 0; operations < 40; operations++) {
        memory_file_free(&memory);
        make_vhdx(&memory, &options);
        memory_file_journal(&memory);
        memset(slots, 0, sizeof slots);
        srand((unsigned)operations);
        ck_assert_int_eq(open_it(), VHDX_OK);
        write_slot(0, true);
        all_durable();
        write_slot(7, false);
        memory.fail_after = operations;
        image_run(&vhdx.device, BLOCK_FLUSH, false, 0, 0, NULL, 0);
        memory.fail_after = -1;
        memory_file_crash(&memory, 128);
        memory.fail_after = operations;
        open_it();
        memory.fail_after = -1;
        memory_file_crash(&memory, 128);
        ck_assert_int_eq(open_it(), VHDX_OK);
        check_slots();
        memory_drop_journal(&memory);
    }
}
END_TEST

static void start_over(unsigned seed, unsigned blocks_apart)
{
    struct make_options wide = options;
    stride = blocks_apart;
    wide.disk_size *= stride;
    memory_file_free(&memory);
    make_vhdx(&memory, &wide);
    memory_file_journal(&memory);
    memset(slots, 0, sizeof slots);
    srand(seed);
    ck_assert_int_eq(open_it(), VHDX_OK);
}

static void flush(void)
{
    ck_assert_int_eq(image_run(&vhdx.device, BLOCK_FLUSH, false, 0, 0, NULL, 0), BLOCK_OK);
    all_durable();
}

// More commits than the log has room for, so that entries wrap and replace older ones. The table
// has two pages, so entries differ in length and some lie across the end of the log.
START_TEST(test_crash_after_wrap)
{
    for (unsigned round = 0; round < 12; round++) {
        start_over(round + 100, 110);
        write_slot(0, false);
        if (round % 2) {
            write_slot(SLOTS - 1, false); // of the other page: all entries after this one shift
        }
        flush();
        for (unsigned i = 0; i < 150 + round * 7; i++) {
            write_slot(i % SLOTS, false);
            flush();
            trim_block((i + 3) % BLOCKS, BLOCK_TRIM);
            if (i % 3) {
                flush();
            }
        }
        write_slot(round, false);
        memory.fail_after = (int)round;
        image_run(&vhdx.device, BLOCK_FLUSH, false, 0, 0, NULL, 0);
        memory.fail_after = -1;
        memory_file_crash(&memory, 128);
        ck_assert_int_eq(open_it(), VHDX_OK);
        check_slots();
    }
}
END_TEST

// The log goes out of use only when the table is in place.
START_TEST(test_crash_while_closing)
{
    for (int operations = 0; operations < 12; operations++) {
        for (unsigned seed = 0; seed < 8; seed++) {
            start_over(seed, 1);
            memory.torn = 4096;
            write_slot(0, false);
            write_slot(5, false);
            flush();
            write_slot(9, false);
            memory.fail_after = operations;
            vhdx_close(&vhdx);
            memory.fail_after = -1;
            memory_file_crash(&memory, 128);
            ck_assert_int_eq(open_it(), VHDX_OK);
            check_slots();
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vhdx_log");
    TCase *tests = tcase_create("vhdx_log");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_replay_one);
    tcase_add_test(tests, test_replay_sequence_in_order);
    tcase_add_test(tests, test_replay_from_tail);
    tcase_add_test(tests, test_replay_highest_sequence);
    tcase_add_test(tests, test_replay_wraps);
    tcase_add_test(tests, test_torn_head_is_ignored);
    tcase_add_test(tests, test_missing_tail);
    tcase_add_test(tests, test_zero_descriptor_and_growth);
    tcase_add_test(tests, test_many_descriptors);
    tcase_add_test(tests, test_read_only_file);
    tcase_add_test(tests, test_empty_log_in_use);
    tcase_add_loop_test(tests, test_hostile_entry, 0,
                        (int)(sizeof bad_fields / sizeof *bad_fields));
    tcase_add_test(tests, test_hostile_sizes);
    tcase_add_test(tests, test_hostile_search);
    tcase_add_loop_test(tests, test_crashes, 0, 4);
    tcase_add_test(tests, test_crash_at_every_operation);
    tcase_add_test(tests, test_crash_after_wrap);
    tcase_add_test(tests, test_crash_while_closing);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
