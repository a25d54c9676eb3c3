// SPDX-License-Identifier: BSD-2-Clause-Patent
// Guest loaders over hostile images: sound ones of each kind with the fuzzer's patches applied, or
// the fuzzer's bytes as they are. A load that fails must leave guest memory alone; one that works
// must enter the kernel inside guest memory.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "root/lib/load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PIECES = 4, FILL = 0x77, CHOICES = 7, IMAGE_SIZE = 0x800 };

#define MIB  UINT64_C(0x100000)
#define GIB4 (UINT64_C(1) << 32)

static struct load_ram ram[PIECES] = {{0, 0xc0000, NULL},
                                      {MIB, 0x20000, NULL},
                                      {MIB + 0x20000, 0xe0000, NULL},
                                      {GIB4, 0x10000, NULL}};

static void expect(int truth)
{
    if (!truth) {
        abort();
    }
}

static void setup(void)
{
    for (int i = 0; i < PIECES; i++) {
        if (!ram[i].host) {
            ram[i].host = malloc(ram[i].size);
        }
        memset(ram[i].host, FILL, ram[i].size);
    }
}

static int in_ram(uint64_t gpa)
{
    for (int i = 0; i < PIECES; i++) {
        if (gpa >= ram[i].gpa && gpa - ram[i].gpa < ram[i].size) {
            return 1;
        }
    }
    return 0;
}

static void check_untouched(void)
{
    for (int i = 0; i < PIECES; i++) {
        const uint8_t *host = ram[i].host;
        expect(host[0] == FILL && memcmp(host, host + 1, ram[i].size - 1) == 0);
    }
}

static void check_loaded(const struct load_request *request, const struct load_result *result)
{
    const struct load_vp_state *vp = &result->vp;
    uint64_t end = result->kernel_gpa + result->kernel_size;
    expect(end > result->kernel_gpa && in_ram(result->kernel_gpa) && in_ram(end - 1));
    expect(vp->rip >= result->kernel_gpa && vp->rip < end && vp->rip < GIB4);
    expect(in_ram(vp->rsp - 1) && in_ram(vp->gdtr.base) && in_ram(result->info_gpa));
    expect((vp->efer != 0) == (result->kind == LOAD_LINUX_64));
    expect((result->initrd_gpa != 0) == (request->initrd_size != 0));
    uint64_t initrd_end = result->initrd_gpa + request->initrd_size;
    expect(!result->initrd_gpa || (in_ram(result->initrd_gpa) && in_ram(initrd_end - 1)));
    expect(!result->initrd_gpa || initrd_end <= result->kernel_gpa || result->initrd_gpa >= end);
}

static void put(uint8_t *image, size_t at, uint64_t value, size_t size)
{
    memcpy(image + at, &value, size);
}

// A 64-bit relocatable kernel.
static void make_linux(uint8_t *image)
{
    image[0x1f1] = 1;
    put(image, 0x1fe, 0xaa55, 2);
    image[0x201] = 0x6a;
    memcpy(image + 0x202, "HdrS", 4);
    put(image, 0x206, 0x20f, 2);
    image[0x211] = 1;
    put(image, 0x22c, 0x7fffffff, 4);
    put(image, 0x230, 0x2000, 4);
    image[0x234] = 1;
    image[0x235] = 12;
    put(image, 0x236, 3, 2);
    put(image, 0x238, 255, 4);
    put(image, 0x258, 0x140000, 8);
    put(image, 0x260, 0x40000, 4);
}

static void make_elf32(uint8_t *image)
{
    static const uint32_t programs[2][8] = {
        {1, 0x200, 0x110000, 0x110000, 0x300, 0x300, 7, 0x1000},
        {1, 0x500, 0xc0118000, 0x118000, 0x100, 0x10000, 7, 0x1000}};
    memcpy(image, "\177ELF\1\1\1", 7);
    put(image, 0x10, 3 << 16 | 2, 4);
    put(image, 0x18, 0x110010, 4);
    put(image, 0x1c, 0x34, 4);
    put(image, 0x2a, 0x20, 2);
    put(image, 0x2c, 2, 2);
    memcpy(image + 0x34, programs, sizeof(programs));
}

static void make_multiboot(uint8_t *image, uint32_t flags)
{
    put(image, 0x200, 0x1badb002, 4);
    put(image, 0x204, flags, 4);
    put(image, 0x208, (uint32_t)(0 - 0x1badb002 - flags), 4);
}

static void make_flat(uint8_t *image)
{
    static const uint32_t fields[] = {0x120200, 0x120100, 0x120500, 0x124000, 0x120300};
    make_multiboot(image, 0x10003);
    memcpy(image + 0x20c, fields, sizeof(fields));
}

static void make_pvh(uint8_t *image)
{
    static const uint64_t programs[3][7] = {
        {7 * (UINT64_C(1) << 32) | 1, 0x200, 0x110000, 0x110000, 0x300, 0x1000, 0x1000},
        {4, 0x400, 0, 0, 44, 44, 4},
        {6 * (UINT64_C(1) << 32) | 1, 0x500, 0x118000, 0x118000, 0x80, 0x10000, 0x1000}};
    static const uint32_t notes[] = {4, 0, 1, 0x554e47, 4, 8, 18, 0x6e6558, 0x110020, 0, 0};
    memcpy(image, "\177ELF\2\1\1", 7);
    put(image, 0x10, 62 << 16 | 2, 4);
    put(image, 0x18, 0x110010, 8);
    put(image, 0x20, 0x40, 8);
    put(image, 0x36, 0x38, 2);
    put(image, 0x38, 3, 2);
    memcpy(image + 0x40, programs, sizeof(programs));
    memcpy(image + 0x400, notes, sizeof(notes));
}

// Makes a sound image of the kind and applies the fuzzer's patches: offset, width, value. Two bytes
// left over cut the image. Returns its size.
static size_t make_image(uint8_t *image, uint8_t kind, const uint8_t *data, size_t size)
{
    memset(image, 0x90, IMAGE_SIZE);
    memset(image, 0, 0x290);
    if (kind == 0) {
        make_linux(image);
    } else if (kind == 1) {
        make_elf32(image);
        make_multiboot(image, 3);
    } else if (kind == 2) {
        make_flat(image);
    } else {
        make_pvh(image);
    }
    while (size >= 3) {
        size_t at = (data[0] | data[1] << 8) % IMAGE_SIZE;
        size_t width = (size_t)1 << data[2] % 4;
        if (width > size - 3 || width > IMAGE_SIZE - at) {
            break;
        }
        memcpy(image + at, data + 3, width);
        data += 3 + width;
        size -= 3 + width;
    }
    return size == 2 ? (size_t)(data[0] | data[1] << 8) % (IMAGE_SIZE + 1) : IMAGE_SIZE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[300] = "console=ttyS0";
    static const uint8_t initrd[256];
    static uint8_t made[IMAGE_SIZE];
    if (size < CHOICES) {
        return 0;
    }
    setup();
    const uint8_t *source = data + CHOICES;
    size_t image_size = size - CHOICES;
    if (data[0] % 5 < 4) {
        image_size = make_image(made, data[0] % 5, source, image_size);
        source = made;
    }
    uint8_t *image = malloc(image_size ? image_size : 1);
    memcpy(image, source, image_size);
    const struct load_reserved reserved[] = {
        {(uint64_t)data[1] << 12, 0x1000, LOAD_MEMORY_ACPI},
        {(UINT64_C(0x100) + data[2]) << 12, 0x800, LOAD_MEMORY_NVS}};
    const struct load_request request = {.ram = ram,
                                         .ram_count = PIECES - data[3] % PIECES,
                                         .reserved = reserved,
                                         .reserved_count = data[4] % 3,
                                         .image = image,
                                         .image_size = image_size,
                                         .initrd = initrd,
                                         .initrd_size = data[5],
                                         .cmdline = text,
                                         .cmdline_size = data[6],
                                         .rsdp_gpa = 0xf0000};
    struct load_result result;
    if (load_guest(&request, &result) == LOAD_OK) {
        check_loaded(&request, &result);
    } else {
        check_untouched();
    }
    free(image);
    return 0;
}
