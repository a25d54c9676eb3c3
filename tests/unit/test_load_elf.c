// SPDX-License-Identifier: BSD-2-Clause-Patent
// Guest loaders: multiboot 1 and PVH kernels.
#include "load_guest.h"

enum {
    IMAGE_SIZE = 0x6000,
    TEXT_OFFSET = 0x1000, // of the first segment in the file
    TEXT_SIZE = 0x2000,
    DATA_OFFSET = 0x3000,
    DATA_SIZE = 0x1800,
    BSS_SIZE = 0x5000,
    NOTE_OFFSET = 0x4800,
    HEADER_OFFSET = TEXT_OFFSET + 0x40, // of the multiboot header
    MULTIBOOT_MAGIC = 0x1badb002
};
#define TEXT_GPA   (MIB)
#define DATA_GPA   (4 * MIB - 0x1000) // across the seam of the RAM pieces
#define KERNEL_END (DATA_GPA + DATA_SIZE + BSS_SIZE)
#define HIGH_BASE  UINT64_C(0xffffffff80000000)

static uint8_t image[IMAGE_SIZE];
static bool is_64;

static void put(size_t at, uint64_t value, size_t size)
{
    memcpy(image + at, &value, size);
}

// Where the program header `index` lies, and its fields, in both classes.
enum field { P_TYPE, P_OFFSET, P_VADDR, P_PADDR, P_FILESZ, P_MEMSZ, P_ALIGN };

static void put_program(int index, enum field field, uint64_t value)
{
    static const size_t offsets_32[] = {0, 4, 8, 12, 16, 20, 28};
    static const size_t offsets_64[] = {0, 8, 16, 24, 32, 40, 48};
    if (is_64) {
        put(0x40 + (size_t)index * 0x38 + offsets_64[field], value, field == P_TYPE ? 4 : 8);
    } else {
        put(0x34 + (size_t)index * 0x20 + offsets_32[field], value, 4);
    }
}

static void put_segment(int index, uint32_t type, uint64_t offset, uint64_t gpa, uint64_t filesz,
                        uint64_t memsz)
{
    put_program(index, P_TYPE, type);
    put_program(index, P_OFFSET, offset);
    put_program(index, P_VADDR, gpa);
    put_program(index, P_PADDR, gpa);
    put_program(index, P_FILESZ, filesz);
    put_program(index, P_MEMSZ, memsz);
}

static void put_phnum(uint16_t count)
{
    put(is_64 ? 0x38 : 0x2c, count, 2);
}

static void put_entry(uint64_t entry)
{
    put(0x18, entry, is_64 ? 8 : 4);
}

// Text at 1 MiB, data and bss across 4 MiB.
static void make_elf(bool wide)
{
    is_64 = wide;
    for (size_t i = 0; i < IMAGE_SIZE; i++) {
        image[i] = (uint8_t)(i * 13 + (i >> 8) + 1);
    }
    memset(image, 0, 0x1000);
    memcpy(image, "\177ELF", 4);
    image[4] = wide ? 2 : 1;
    image[5] = 1;
    image[6] = 1;
    put(0x10, 2, 2);
    put(0x12, wide ? 62 : 3, 2);
    put(wide ? 0x20 : 0x1c, wide ? 0x40 : 0x34, wide ? 8 : 4);
    put(wide ? 0x36 : 0x2a, wide ? 0x38 : 0x20, 2);
    put_phnum(2);
    put_segment(0, 1, TEXT_OFFSET, TEXT_GPA, TEXT_SIZE, TEXT_SIZE);
    put_segment(1, 1, DATA_OFFSET, DATA_GPA, DATA_SIZE, DATA_SIZE + BSS_SIZE);
    put_entry(TEXT_GPA + 0x123);
}

static void put_header(size_t at, uint32_t flags)
{
    put(at, MULTIBOOT_MAGIC, 4);
    put(at + 4, flags, 4);
    put(at + 8, 0 - MULTIBOOT_MAGIC - flags, 4);
}

static void make_multiboot(bool wide)
{
    make_elf(wide);
    put_header(HEADER_OFFSET, 3);
}

// A build-id note before the Xen one, as linkers arrange them.
static void make_pvh(uint64_t entry, uint32_t entry_size)
{
    make_elf(true);
    put_phnum(3);
    put_segment(2, 4, NOTE_OFFSET, 0, 20 + 8 + 16 + entry_size, 0);
    put_program(2, P_ALIGN, 4);
    put(NOTE_OFFSET, 4, 4);
    put(NOTE_OFFSET + 4, 7, 4);
    put(NOTE_OFFSET + 8, 3, 4);
    memcpy(image + NOTE_OFFSET + 12, "GNU\0idididi", 12);
    size_t at = NOTE_OFFSET + 12 + 4 + 8;
    put(at, 4, 4);
    put(at + 4, entry_size, 4);
    put(at + 8, 18, 4);
    memcpy(image + at + 12, "Xen", 4);
    put(at + 16, entry, entry_size);
    put_program(2, P_FILESZ, at + 16 + entry_size - NOTE_OFFSET);
}

static void load_image(void)
{
    guest_load(image, IMAGE_SIZE);
}

static void fails(enum load_error error)
{
    guest_load_fails(image, IMAGE_SIZE, error);
}

static void check_kernel_loaded(void)
{
    guest_check_bytes(TEXT_GPA, image + TEXT_OFFSET, TEXT_SIZE);
    guest_check_fill(TEXT_GPA + TEXT_SIZE, 4096, GUEST_FILL);
    guest_check_bytes(DATA_GPA, image + DATA_OFFSET, DATA_SIZE);
    guest_check_fill(DATA_GPA + DATA_SIZE, BSS_SIZE, 0);
    ck_assert_uint_eq(guest_byte(KERNEL_END), GUEST_FILL);
    ck_assert_uint_eq(guest_byte(DATA_GPA - 1), GUEST_FILL);
    ck_assert_uint_eq(guest.result.kernel_gpa, TEXT_GPA);
    ck_assert_uint_eq(guest.result.kernel_size, KERNEL_END - TEXT_GPA);
}

static uint64_t info(uint64_t offset)
{
    return guest.result.info_gpa + offset;
}

static void check_multiboot_memory(uint32_t index, uint64_t gpa, uint64_t size, uint32_t type)
{
    uint64_t at = guest_u32(info(48)) + index * UINT64_C(24);
    ck_assert_uint_eq(guest_u32(at), 20);
    ck_assert_uint_eq(guest_u64(at + 4), gpa);
    ck_assert_uint_eq(guest_u64(at + 12), size);
    ck_assert_uint_eq(guest_u32(at + 20), type);
}

START_TEST(multiboot_information)
{
    guest_cmdline("one two");
    guest_reserve(15 * MIB, MIB, LOAD_MEMORY_ACPI);
    make_multiboot(false);
    load_image();
    ck_assert_int_eq(guest.result.kind, LOAD_MULTIBOOT1);
    check_kernel_loaded();
    guest_check_32();
    ck_assert_uint_eq(guest.result.vp.rip, TEXT_GPA + 0x123);
    ck_assert_uint_eq(guest.result.vp.rax, 0x2badb002);
    ck_assert_uint_eq(guest.result.vp.rbx, guest.result.info_gpa);

    ck_assert_uint_eq(guest_u32(info(0)), 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9);
    ck_assert_uint_eq(guest_u32(info(4)), 640);
    ck_assert_uint_eq(guest_u32(info(8)), 14 * 1024);
    guest_check_bytes(guest_u32(info(16)), "one two", 8);
    ck_assert_uint_eq(guest_u32(info(20)), 0);
    guest_check_bytes(guest_u32(info(64)), "Corbel", 7);
    ck_assert_uint_eq(guest_u32(info(44)), 4 * 24);
    check_multiboot_memory(0, 0, 0xa0000, 1);
    check_multiboot_memory(1, MIB, 14 * MIB, 1);
    check_multiboot_memory(2, 15 * MIB, MIB, 3);
    check_multiboot_memory(3, GIB4, 2 * MIB, 1);
}
END_TEST

START_TEST(multiboot_module)
{
    static const uint8_t module[5001] = {1, 2, 3, [5000] = 9};
    guest.request.initrd = module;
    guest.request.initrd_size = sizeof(module);
    make_multiboot(false);
    load_image();
    uint64_t expected = (KERNEL_END + 4095) & ~UINT64_C(4095);
    ck_assert_uint_eq(guest.result.initrd_gpa, expected);
    ck_assert_uint_eq(guest_u32(info(20)), 1);
    uint64_t list = guest_u32(info(24));
    ck_assert_uint_eq(guest_u32(list), expected);
    ck_assert_uint_eq(guest_u32(list + 4), expected + sizeof(module));
    ck_assert_uint_eq(guest_byte(guest_u32(list + 8)), 0);
    guest_check_bytes(expected, module, sizeof(module));
}
END_TEST

START_TEST(multiboot_module_without_room)
{
    static const uint8_t module[4097];
    guest.request.initrd = module;
    guest.request.initrd_size = sizeof(module);
    make_multiboot(false);
    guest_reserve(5 * MIB, 11 * MIB, LOAD_MEMORY_RESERVED);
    put_program(1, P_MEMSZ, MIB); // leaves 4 KiB behind the kernel
    fails(LOAD_ERROR_INITRD_SPACE);
    guest.request.initrd_size = 4096;
    load_image();
    ck_assert_uint_eq(guest.result.initrd_gpa, 5 * MIB - 4096);
}
END_TEST

START_TEST(multiboot_memory_sizes)
{
    // Memory from 0 that ends early, and none at 1 MiB.
    const struct load_ram ram[] = {{0, 0x80000, guest.ram[0].host},
                                   {2 * MIB, 12 * MIB, guest.ram[1].host}};
    guest.request.ram = ram;
    guest.request.ram_count = 2;
    make_multiboot(false);
    put_program(0, P_PADDR, 2 * MIB);
    load_image();
    ck_assert_uint_eq(guest_u32(info(4)), 512);
    ck_assert_uint_eq(guest_u32(info(8)), 0);
}
END_TEST

START_TEST(multiboot_elf64)
{
    make_multiboot(true);
    load_image();
    ck_assert_int_eq(guest.result.kind, LOAD_MULTIBOOT1);
    check_kernel_loaded();
    guest_check_32();
    ck_assert_uint_eq(guest.result.vp.rip, TEXT_GPA + 0x123);
}
END_TEST

START_TEST(multiboot_entry)
{
    // Linked high, loaded low: the entry point is virtual.
    make_multiboot(true);
    put_program(0, P_VADDR, HIGH_BASE + TEXT_GPA);
    put_entry(HIGH_BASE + TEXT_GPA + 0x456);
    load_image();
    ck_assert_uint_eq(guest.result.vp.rip, TEXT_GPA + 0x456);
    // Linked high with an entry point that is physical already.
    put_entry(TEXT_GPA + 0x789);
    load_image();
    ck_assert_uint_eq(guest.result.vp.rip, TEXT_GPA + 0x789);
}
END_TEST

START_TEST(multiboot_entry_errors)
{
    make_multiboot(true);
    put_entry(TEXT_GPA + TEXT_SIZE);
    fails(LOAD_ERROR_ENTRY);
    put_entry(TEXT_GPA - 1);
    fails(LOAD_ERROR_ENTRY);
    put_entry(UINT64_MAX);
    fails(LOAD_ERROR_ENTRY);
    // In the image, but out of reach of 32-bit code.
    put_program(0, P_PADDR, GIB4);
    put_program(0, P_VADDR, GIB4);
    put_entry(GIB4);
    fails(LOAD_ERROR_ENTRY);
}
END_TEST

START_TEST(multiboot_header_search)
{
    make_elf(false);
    put_header(8192 - 12, 0);
    load_image();
    make_elf(false);
    put_header(8192 - 8, 0);
    guest_refuses(image, IMAGE_SIZE, LOAD_ERROR_ELF_BOOT);
    make_elf(false);
    put_header(HEADER_OFFSET + 2, 0);
    guest_refuses(image, IMAGE_SIZE, LOAD_ERROR_ELF_BOOT);
    make_multiboot(false);
    image[HEADER_OFFSET + 8]++;
    guest_refuses(image, IMAGE_SIZE, LOAD_ERROR_ELF_BOOT);
    make_multiboot(false);
    image[0] = 0;
    guest_refuses(image, IMAGE_SIZE, LOAD_ERROR_ELF_HEADER);
}
END_TEST

START_TEST(multiboot_requirements)
{
    make_elf(false);
    put_header(HEADER_OFFSET, 1 << 3);
    fails(LOAD_ERROR_MULTIBOOT_FLAGS);
    put_header(HEADER_OFFSET, 1 << 15 | 3);
    fails(LOAD_ERROR_MULTIBOOT_FLAGS);
    put_header(HEADER_OFFSET, 1 << 17 | 7); // bit 17 is optional, 2 a wish
    load_image();
}
END_TEST

// A flat image of 0x3000 bytes with its header at 0x100, loaded at 2 MiB from its byte 0x80 on.
static void make_flat(uint32_t header_addr, uint32_t load, uint32_t load_end, uint32_t bss_end,
                      uint32_t entry)
{
    make_elf(false);
    memset(image, 0x11, 0x100);
    put_header(0x100, 1 << 16);
    const uint32_t fields[] = {header_addr, load, load_end, bss_end, entry};
    memcpy(image + 0x10c, fields, sizeof(fields));
}

enum { FLAT_GPA = 2 << 20, FLAT_HEADER = FLAT_GPA + 0x80, FLAT_SIZE = 0x3000 };

static void flat_fails(uint32_t header_addr, uint32_t load, uint32_t load_end, uint32_t bss_end,
                       uint32_t entry, enum load_error error)
{
    make_flat(header_addr, load, load_end, bss_end, entry);
    guest_load_fails(image, FLAT_SIZE, error);
}

START_TEST(multiboot_address_fields)
{
    make_flat(FLAT_HEADER, FLAT_GPA, FLAT_GPA + 0x2000, FLAT_GPA + 0x5000, FLAT_GPA + 0x200);
    guest_load(image, FLAT_SIZE);
    ck_assert_int_eq(guest.result.kind, LOAD_MULTIBOOT1);
    ck_assert_uint_eq(guest.result.vp.rip, FLAT_GPA + 0x200);
    ck_assert_uint_eq(guest.result.kernel_size, 0x5000);
    guest_check_bytes(FLAT_GPA, image + 0x80, 0x2000);
    guest_check_fill(FLAT_GPA + 0x2000, 0x3000, 0);
    ck_assert_uint_eq(guest_byte(FLAT_GPA + 0x5000), GUEST_FILL);
    guest_check_32();
}
END_TEST

START_TEST(multiboot_address_fields_to_the_end)
{
    make_flat(FLAT_HEADER, FLAT_GPA, 0, 0, FLAT_GPA);
    guest_load(image, FLAT_SIZE);
    ck_assert_uint_eq(guest.result.kernel_size, FLAT_SIZE - 0x80);
    guest_check_bytes(FLAT_GPA, image + 0x80, FLAT_SIZE - 0x80);
    ck_assert_uint_eq(guest_byte(FLAT_GPA + FLAT_SIZE - 0x80), GUEST_FILL);
}
END_TEST

START_TEST(multiboot_address_errors)
{
    const uint32_t end = FLAT_GPA + 0x1000;
    // Header before the load address; load address before the file's start.
    flat_fails(FLAT_GPA - 1, FLAT_GPA, end, 0, FLAT_GPA, LOAD_ERROR_MULTIBOOT_ADDRESS);
    flat_fails(FLAT_GPA + 0x101, FLAT_GPA, end, 0, FLAT_GPA, LOAD_ERROR_MULTIBOOT_ADDRESS);
    // Ends that are before starts.
    flat_fails(FLAT_HEADER, FLAT_GPA, FLAT_GPA, 0, FLAT_GPA, LOAD_ERROR_MULTIBOOT_ADDRESS);
    flat_fails(FLAT_HEADER, FLAT_GPA, end, end - 1, FLAT_GPA, LOAD_ERROR_MULTIBOOT_ADDRESS);
    // More than the file has.
    flat_fails(FLAT_HEADER, FLAT_GPA, FLAT_GPA + FLAT_SIZE - 0x7f, 0, FLAT_GPA,
               LOAD_ERROR_TRUNCATED);
    // Entry outside.
    flat_fails(FLAT_HEADER, FLAT_GPA, end, 0, end, LOAD_ERROR_ENTRY);
    flat_fails(FLAT_HEADER, FLAT_GPA, end, 0, FLAT_GPA - 1, LOAD_ERROR_ENTRY);
    // Outside RAM, over the BIOS area, bss over the hole.
    flat_fails(0xffff0080, 0xffff0000, 0, 0, 0xffff0000, LOAD_ERROR_SEGMENT_RAM);
    flat_fails(0x9f080, 0x9f000, 0, 0, 0x9f000, LOAD_ERROR_SEGMENT_RESERVED);
    flat_fails(FLAT_HEADER, FLAT_GPA, end, UINT32_MAX, FLAT_GPA, LOAD_ERROR_SEGMENT_RAM);
    make_flat(FLAT_HEADER, FLAT_GPA, 0, 0, FLAT_GPA);
    guest_load_fails(image, 0x100 + 31, LOAD_ERROR_TRUNCATED);
}
END_TEST

static void check_pvh_memory(uint32_t index, uint64_t gpa, uint64_t size, uint32_t type)
{
    uint64_t at = guest_u64(info(40)) + index * UINT64_C(24);
    ck_assert_uint_eq(guest_u64(at), gpa);
    ck_assert_uint_eq(guest_u64(at + 8), size);
    ck_assert_uint_eq(guest_u64(at + 16), type);
}

START_TEST(pvh_start_info)
{
    static const uint8_t module[777] = {5};
    guest_cmdline("vfs.root.mountfrom=ufs:/dev/da0");
    guest.request.rsdp_gpa = 0xe0040;
    guest.request.initrd = module;
    guest.request.initrd_size = sizeof(module);
    guest_reserve(8 * MIB, 4096, LOAD_MEMORY_RESERVED);
    make_pvh(TEXT_GPA + 0x321, 8);
    load_image();
    ck_assert_int_eq(guest.result.kind, LOAD_PVH);
    check_kernel_loaded();
    guest_check_32();
    ck_assert_uint_eq(guest.result.vp.rip, TEXT_GPA + 0x321);
    ck_assert_uint_eq(guest.result.vp.rbx, guest.result.info_gpa);

    ck_assert_uint_eq(guest_u32(info(0)), 0x336ec578);
    ck_assert_uint_eq(guest_u32(info(4)), 1);
    ck_assert_uint_eq(guest_u32(info(8)), 0);
    ck_assert_uint_eq(guest_u32(info(12)), 1);
    guest_check_bytes(guest_u64(info(24)), "vfs.root.mountfrom=ufs:/dev/da0", 32);
    ck_assert_uint_eq(guest_u64(info(32)), 0xe0040);
    ck_assert_uint_eq(guest_u32(info(48)), 5);
    ck_assert_uint_eq(guest_u32(info(52)), 0);
    check_pvh_memory(0, 0, 0xa0000, 1);
    check_pvh_memory(1, MIB, 7 * MIB, 1);
    check_pvh_memory(2, 8 * MIB, 4096, 2);
    check_pvh_memory(3, 8 * MIB + 4096, 8 * MIB - 4096, 1);
    check_pvh_memory(4, GIB4, 2 * MIB, 1);

    uint64_t list = guest_u64(info(16));
    ck_assert_uint_eq(guest_u64(list), guest.result.initrd_gpa);
    ck_assert_uint_eq(guest_u64(list + 8), sizeof(module));
    ck_assert_uint_eq(guest_u64(list + 16), 0);
    ck_assert_uint_ge(guest.result.initrd_gpa, KERNEL_END);
    guest_check_bytes(guest.result.initrd_gpa, module, sizeof(module));
}
END_TEST

START_TEST(pvh_plain)
{
    make_pvh(TEXT_GPA, 4);
    put_header(HEADER_OFFSET, 3); // the note goes before a multiboot header
    load_image();
    ck_assert_int_eq(guest.result.kind, LOAD_PVH);
    ck_assert_uint_eq(guest.result.vp.rip, TEXT_GPA);
    ck_assert_uint_eq(guest_u32(info(12)), 0);
    ck_assert_uint_eq(guest_u64(info(16)), 0);
    ck_assert_uint_eq(guest_byte(guest_u64(info(24))), 0);
    ck_assert_uint_eq(guest_u64(info(32)), 0);
}
END_TEST

START_TEST(pvh_entry_errors)
{
    make_pvh(TEXT_GPA + TEXT_SIZE, 8);
    fails(LOAD_ERROR_ENTRY);
    make_pvh(0, 8);
    fails(LOAD_ERROR_ENTRY);
    make_pvh(GIB4, 8);
    put_program(0, P_PADDR, GIB4);
    fails(LOAD_ERROR_ENTRY);
}
END_TEST

// A note that is not sound is not there.
START_TEST(pvh_note_errors)
{
    const size_t xen = NOTE_OFFSET + 24;
    static const struct {
        size_t at;
        uint32_t value;
    } bad[] = {{0, 3},          {0, UINT32_MAX}, {4, 2},         {4, 16},         {4, 9},
               {4, UINT32_MAX}, {8, 17},         {12, 0x6f6558}, {12, 0x586e6558}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        make_pvh(TEXT_GPA, 8);
        put(xen + bad[i].at, bad[i].value, 4);
        guest_refuses(image, IMAGE_SIZE, LOAD_ERROR_ELF_BOOT);
    }
    // The note in front must not lead the walk out of the segment.
    static const uint32_t sizes[] = {UINT32_MAX, UINT32_MAX - 2, 0x80000000, 64, 45};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (size_t at = 0; at <= 4; at += 4) {
            make_pvh(TEXT_GPA, 8);
            put(NOTE_OFFSET + at, sizes[i], 4);
            guest_refuses(image, IMAGE_SIZE, LOAD_ERROR_ELF_BOOT);
        }
    }
    make_pvh(TEXT_GPA, 8);
    put_program(2, P_OFFSET, UINT64_MAX);
    guest_refuses(image, IMAGE_SIZE, LOAD_ERROR_ELF_BOOT);
    make_pvh(TEXT_GPA, 8);
    put_program(2, P_FILESZ, 24 + 16 + 7);
    guest_refuses(image, IMAGE_SIZE, LOAD_ERROR_ELF_BOOT);
    guest_check_untouched();
}
END_TEST

START_TEST(pvh_note_aligned_to_8)
{
    // name and data are then padded to 8 bytes
    make_pvh(TEXT_GPA + 8, 8);
    put_program(2, P_ALIGN, 8);
    memset(image + NOTE_OFFSET, 0, 64);
    put(NOTE_OFFSET, 4, 4);
    put(NOTE_OFFSET + 4, 8, 4);
    put(NOTE_OFFSET + 8, 18, 4);
    memcpy(image + NOTE_OFFSET + 12, "Xen", 4);
    put(NOTE_OFFSET + 20, TEXT_GPA + 8, 8);
    put_program(2, P_FILESZ, 28);
    load_image();
    ck_assert_uint_eq(guest.result.vp.rip, TEXT_GPA + 8);
}
END_TEST

START_TEST(elf_header_errors)
{
    static const struct {
        size_t at;
        uint8_t value;
        enum load_error error;
    } bad[] = {{4, 3, LOAD_ERROR_ELF_HEADER},     {4, 0, LOAD_ERROR_ELF_HEADER},
               {5, 2, LOAD_ERROR_ELF_HEADER},     {0x10, 1, LOAD_ERROR_ELF_MACHINE},
               {0x12, 8, LOAD_ERROR_ELF_MACHINE}, {0x36, 0x37, LOAD_ERROR_ELF_HEADER},
               {0x27, 1, LOAD_ERROR_TRUNCATED},   {0x39, 2, LOAD_ERROR_TRUNCATED},
               {0x37, 0xff, LOAD_ERROR_TRUNCATED}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        make_multiboot(true);
        image[bad[i].at] = bad[i].value;
        guest_refuses(image, IMAGE_SIZE, bad[i].error);
    }
    guest_check_untouched();
}
END_TEST

START_TEST(elf_segment_errors)
{
    static const struct {
        int index;
        enum field field;
        uint64_t value;
        enum load_error error;
    } bad[] = {
        {0, P_FILESZ, TEXT_SIZE + 1, LOAD_ERROR_SEGMENT_SIZE},
        {0, P_OFFSET, IMAGE_SIZE - TEXT_SIZE + 1, LOAD_ERROR_TRUNCATED},
        {0, P_OFFSET, UINT64_MAX, LOAD_ERROR_TRUNCATED},
        {0, P_PADDR, 0x9f000, LOAD_ERROR_SEGMENT_RESERVED},
        {0, P_PADDR, DATA_GPA - TEXT_SIZE + 1, LOAD_ERROR_SEGMENT_OVERLAP},
        {0, P_PADDR, DATA_GPA + 1, LOAD_ERROR_SEGMENT_OVERLAP},
        {0, P_PADDR, 16 * MIB - TEXT_SIZE + 1, LOAD_ERROR_SEGMENT_RAM},
        {0, P_PADDR, UINT64_MAX - TEXT_SIZE + 2, LOAD_ERROR_SEGMENT_RAM},
        {0, P_PADDR, UINT64_MAX, LOAD_ERROR_SEGMENT_RAM},
        {0, P_MEMSZ, 16 * MIB, LOAD_ERROR_SEGMENT_RAM},
        {0, P_MEMSZ, UINT64_MAX, LOAD_ERROR_SEGMENT_RAM},
        {0, P_MEMSZ, UINT64_MAX - TEXT_GPA + 1, LOAD_ERROR_SEGMENT_RAM},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        make_multiboot(true);
        put_program(bad[i].index, bad[i].field, bad[i].value);
        guest_refuses(image, IMAGE_SIZE, bad[i].error);
    }
    guest_check_untouched();
}
END_TEST

START_TEST(elf_reserved_area)
{
    make_multiboot(false);
    guest_reserve(DATA_GPA + DATA_SIZE + BSS_SIZE - 1, 1, LOAD_MEMORY_ACPI);
    fails(LOAD_ERROR_SEGMENT_RESERVED);
    guest.reserved[0].gpa++;
    load_image();
}
END_TEST

START_TEST(elf_segment_count)
{
    make_multiboot(true);
    // 33 one-byte segments in a row in front of the image's end; the header table moves there.
    const uint64_t table = IMAGE_SIZE - 33 * 0x38;
    put(0x20, table, 8);
    put_phnum(33);
    for (int i = 0; i < 33; i++) {
        size_t at = (size_t)(table - 0x40);
        memset(image + table + i * 0x38, 0, 0x38);
        put(at + 0x40 + (size_t)i * 0x38, 1, 4);
        put(at + 0x40 + (size_t)i * 0x38 + 16, TEXT_GPA + 0x123 + (uint64_t)i, 8);
        put(at + 0x40 + (size_t)i * 0x38 + 24, TEXT_GPA + 0x123 + (uint64_t)i, 8);
        put(at + 0x40 + (size_t)i * 0x38 + 40, 1, 8);
    }
    fails(LOAD_ERROR_SEGMENT_COUNT);
    put_phnum(32);
    load_image();
    guest_check_fill(TEXT_GPA + 0x123, 32, 0);
    ck_assert_uint_eq(guest_byte(TEXT_GPA + 0x123 + 32), GUEST_FILL);
}
END_TEST

START_TEST(elf_nothing_to_load)
{
    make_multiboot(true);
    put_phnum(0);
    fails(LOAD_ERROR_SEGMENT_NONE);
    put_phnum(2);
    put_program(0, P_TYPE, 6);
    put_program(1, P_MEMSZ, 0);
    fails(LOAD_ERROR_SEGMENT_NONE);
}
END_TEST

// Whatever is cut off, the file is refused, and for its length once its kind can be told.
START_TEST(elf_truncated)
{
    make_multiboot(false);
    for (size_t size = 0; size < DATA_OFFSET + DATA_SIZE; size += size < 0x80 ? 1 : 61) {
        enum load_error expected = LOAD_ERROR_TRUNCATED;
        if (size < 0x18) {
            expected = LOAD_ERROR_UNKNOWN;
        } else if (size < 0x34) {
            expected = LOAD_ERROR_ELF_HEADER;
        } else if (size >= 0x34 + 2 * 0x20 && size < HEADER_OFFSET + 12) {
            expected = LOAD_ERROR_ELF_BOOT;
        }
        guest_refuses(image, size, expected);
    }
    guest_check_untouched();
    guest_load(image, DATA_OFFSET + DATA_SIZE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("load_elf");
    TCase *tests = tcase_create("load_elf");
    tcase_add_checked_fixture(tests, guest_setup, guest_teardown);
    tcase_set_timeout(tests, 120);
    const TTest *const all[] = {multiboot_information,
                                multiboot_module,
                                multiboot_module_without_room,
                                multiboot_memory_sizes,
                                multiboot_elf64,
                                multiboot_entry,
                                multiboot_entry_errors,
                                multiboot_header_search,
                                multiboot_requirements,
                                multiboot_address_fields,
                                multiboot_address_fields_to_the_end,
                                multiboot_address_errors,
                                pvh_start_info,
                                pvh_plain,
                                pvh_entry_errors,
                                pvh_note_errors,
                                pvh_note_aligned_to_8,
                                elf_header_errors,
                                elf_segment_errors,
                                elf_reserved_area,
                                elf_segment_count,
                                elf_nothing_to_load,
                                elf_truncated};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        tcase_add_test(tests, all[i]);
    }
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
