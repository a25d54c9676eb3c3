// SPDX-License-Identifier: BSD-2-Clause-Patent
// A guest for the loader tests: RAM in three pieces of which two touch in guest space but not on
// the host, and checks that hold for every kind of kernel.
#pragma once

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "root/lib/load.h"

#define MIB  UINT64_C(0x100000)
#define GIB4 (UINT64_C(1) << 32)

enum { GUEST_FILL = 0xa5, GUEST_PIECES = 3 };

static const uint64_t guest_gpas[GUEST_PIECES] = {0, 4 * MIB, GIB4};
static const uint64_t guest_sizes[GUEST_PIECES] = {4 * MIB, 12 * MIB, 2 * MIB};

struct guest {
    struct load_ram ram[GUEST_PIECES];
    struct load_reserved reserved[LOAD_RESERVED_MAX];
    struct load_request request;
    struct load_result result;
};

static struct guest guest;

// Each piece is its own allocation, so that the address sanitizer sees a write beyond one.
static void guest_setup(void)
{
    memset(&guest, 0, sizeof(guest));
    for (int i = 0; i < GUEST_PIECES; i++) {
        guest.ram[i] = (struct load_ram){guest_gpas[i], guest_sizes[i], malloc(guest_sizes[i])};
        memset(guest.ram[i].host, GUEST_FILL, guest_sizes[i]);
    }
    guest.request.ram = guest.ram;
    guest.request.ram_count = GUEST_PIECES;
    guest.request.reserved = guest.reserved;
}

static void guest_teardown(void)
{
    for (int i = 0; i < GUEST_PIECES; i++) {
        free(guest.ram[i].host);
    }
}

static inline void guest_reserve(uint64_t gpa, uint64_t size, enum load_memory_type type)
{
    guest.reserved[guest.request.reserved_count++] = (struct load_reserved){gpa, size, type};
}

static inline void guest_cmdline(const char *text)
{
    guest.request.cmdline = text;
    guest.request.cmdline_size = strlen(text);
}

static inline uint8_t guest_byte(uint64_t gpa)
{
    for (int i = 0; i < GUEST_PIECES; i++) {
        if (gpa >= guest_gpas[i] && gpa - guest_gpas[i] < guest_sizes[i]) {
            return ((uint8_t *)guest.ram[i].host)[gpa - guest_gpas[i]];
        }
    }
    ck_abort_msg("read outside guest RAM at %#lx", (unsigned long)gpa);
    return 0;
}

static inline void guest_read(uint64_t gpa, void *out, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        ((uint8_t *)out)[i] = guest_byte(gpa + i);
    }
}

static inline uint64_t guest_u64(uint64_t gpa)
{
    uint64_t value;
    guest_read(gpa, &value, sizeof(value));
    return value;
}

static inline uint32_t guest_u32(uint64_t gpa)
{
    uint32_t value;
    guest_read(gpa, &value, sizeof(value));
    return value;
}

static inline void guest_check_bytes(uint64_t gpa, const void *expected, size_t size)
{
    // An assertion a byte costs a system call a byte.
    for (size_t i = 0; i < size; i++) {
        if (guest_byte(gpa + i) != ((const uint8_t *)expected)[i]) {
            ck_abort_msg("byte %zu at %#lx is wrong", i, (unsigned long)gpa);
        }
    }
}

static inline void guest_check_fill(uint64_t gpa, uint64_t size, uint8_t fill)
{
    for (uint64_t i = 0; i < size; i++) {
        if (guest_byte(gpa + i) != fill) {
            ck_abort_msg("byte at %#lx is not %#x", (unsigned long)(gpa + i), fill);
        }
    }
}

// What the result calls untouched is: whole pages of RAM, ascending, as they were set up. What was
// written lies elsewhere.
static inline void guest_check_ranges(void)
{
    uint64_t end = 0;
    ck_assert_uint_gt(guest.result.untouched_count, 0);
    for (uint32_t i = 0; i < guest.result.untouched_count; i++) {
        const struct load_range *range = &guest.result.untouched[i];
        ck_assert(range->gpa >= end && range->size && (range->gpa | range->size) % 4096 == 0);
        end = range->gpa + range->size;
        for (uint32_t piece = 0; piece < guest.request.ram_count; piece++) {
            const struct load_ram *ram = &guest.request.ram[piece];
            uint64_t from = range->gpa > ram->gpa ? range->gpa : ram->gpa;
            uint64_t to = end < ram->gpa + ram->size ? end : ram->gpa + ram->size;
            if (from < to) {
                const uint8_t *at = (const uint8_t *)ram->host + (from - ram->gpa);
                ck_assert_msg(*at == GUEST_FILL && !memcmp(at, at + 1, to - from - 1),
                              "[%#lx, %#lx) was written", (unsigned long)from, (unsigned long)to);
            }
        }
        for (uint32_t j = 0; j < guest.request.reserved_count; j++) {
            const struct load_reserved *r = &guest.reserved[j];
            ck_assert(r->gpa >= end || r->gpa + r->size <= range->gpa);
        }
    }
}

// Into memory as it was set up, whatever an earlier load has left in it.
static inline void guest_load(const void *image, size_t size)
{
    for (int i = 0; i < GUEST_PIECES; i++) {
        memset(guest.ram[i].host, GUEST_FILL, guest_sizes[i]);
    }
    guest.request.image = image;
    guest.request.image_size = size;
    enum load_error error = load_guest(&guest.request, &guest.result);
    ck_assert_msg(error == LOAD_OK, "load_guest: %s", load_error_text(error));
    guest_check_ranges();
}

static inline void guest_check_untouched(void)
{
    for (int i = 0; i < GUEST_PIECES; i++) {
        const uint8_t *host = guest.ram[i].host;
        if (host) {
            ck_assert_uint_eq(host[0], GUEST_FILL);
            ck_assert(memcmp(host, host + 1, guest_sizes[i] - 1) == 0);
        }
    }
}

// The load fails with this error and leaves the result alone. The image is given in an allocation
// of exactly its size.
static inline void guest_refuses(const void *image, size_t size, enum load_error expected)
{
    struct load_result before;
    memset(&guest.result, 0x5a, sizeof(guest.result));
    before = guest.result;
    uint8_t *copy = malloc(size ? size : 1);
    if (size) {
        memcpy(copy, image, size);
    }
    guest.request.image = copy;
    guest.request.image_size = size;
    enum load_error error = load_guest(&guest.request, &guest.result);
    ck_assert_msg(error == expected, "%zu bytes: got \"%s\", expected \"%s\"", size,
                  load_error_text(error), load_error_text(expected));
    ck_assert_mem_eq(&guest.result, &before, sizeof(before));
    free(copy);
}

// The same, and guest memory is as it was set up.
static inline void guest_load_fails(const void *image, size_t size, enum load_error expected)
{
    guest_refuses(image, size, expected);
    guest_check_untouched();
}

static inline void guest_check_segment(const struct load_segment *segment, uint16_t selector,
                                       uint16_t attributes, uint32_t limit)
{
    ck_assert_uint_eq(segment->base, 0);
    ck_assert_uint_eq(segment->selector, selector);
    ck_assert_uint_eq(segment->attributes, attributes);
    ck_assert_uint_eq(segment->limit, limit);
}

// Segments, descriptor table and stack. The table in memory must describe what the registers hold.
static inline void guest_check_flat(uint16_t code_attributes)
{
    const struct load_vp_state *vp = &guest.result.vp;
    guest_check_segment(&vp->cs, 0x10, code_attributes, 0xffffffff);
    const struct load_segment *data[] = {&vp->ds, &vp->es, &vp->fs, &vp->gs, &vp->ss};
    for (size_t i = 0; i < sizeof(data) / sizeof(data[0]); i++) {
        guest_check_segment(data[i], 0x18, 0xc093, 0xffffffff);
    }
    guest_check_segment(&vp->tr, 0x20, 0x8b, 0x67);
    ck_assert_uint_eq(vp->ldtr.attributes, 0);
    ck_assert_uint_eq(vp->gdtr.limit, 0x2f);
    ck_assert_uint_eq(guest_u64(vp->gdtr.base), 0);
    uint64_t code =
        code_attributes & 0x2000 ? UINT64_C(0x00af9b000000ffff) : UINT64_C(0x00cf9b000000ffff);
    ck_assert_uint_eq(guest_u64(vp->gdtr.base + 0x10), code);
    ck_assert_uint_eq(guest_u64(vp->gdtr.base + 0x18), UINT64_C(0x00cf93000000ffff));
    ck_assert_uint_eq(guest_u64(vp->gdtr.base + 0x20), UINT64_C(0x00008b0000000067));
    ck_assert_uint_eq(guest_u64(vp->gdtr.base + 0x28), 0);
    ck_assert_uint_eq(vp->rflags, 2);
    ck_assert_uint_ne(vp->rsp, 0);
    ck_assert_uint_eq(vp->rsp % 16, 0);
    guest_byte(vp->rsp - 1);
    ck_assert(vp->rsp - 4096 > vp->gdtr.base);
}

static inline void guest_check_32(void)
{
    const struct load_vp_state *vp = &guest.result.vp;
    guest_check_flat(0xc09b);
    ck_assert_uint_eq(vp->cr0, 0x11);
    ck_assert_uint_eq(vp->cr3, 0);
    ck_assert_uint_eq(vp->cr4, 0);
    ck_assert_uint_eq(vp->efer, 0);
    ck_assert_uint_eq(vp->rbp, 0);
    ck_assert_uint_eq(vp->rdi, 0);
}

// Walks the page tables for an address; it must translate to itself, writable.
static inline void guest_check_identity(uint64_t address)
{
    const struct load_vp_state *vp = &guest.result.vp;
    uint64_t entry = guest_u64(vp->cr3 + (address >> 39 & 0x1ff) * 8);
    ck_assert_uint_eq(entry & 0xfff, 3);
    entry = guest_u64((entry & ~UINT64_C(0xfff)) + (address >> 30 & 0x1ff) * 8);
    ck_assert_uint_eq(entry & 0xfff, 3);
    entry = guest_u64((entry & ~UINT64_C(0xfff)) + (address >> 21 & 0x1ff) * 8);
    ck_assert_uint_eq(entry & 0xfff, 0x83);
    ck_assert_uint_eq((entry & ~UINT64_C(0xfff)) + (address & (2 * MIB - 1)), address);
}

static inline void guest_check_64(void)
{
    const struct load_vp_state *vp = &guest.result.vp;
    guest_check_flat(0xa09b);
    ck_assert_uint_eq(vp->cr0, 0x80000011);
    ck_assert_uint_eq(vp->cr4, 0x20);
    ck_assert_uint_eq(vp->efer, 0x500);
    ck_assert_uint_eq(vp->cr3 % 4096, 0);
    const uint64_t addresses[] = {0,          0x1fffff,   vp->rip,    vp->rsi,
                                  0x3fffffff, 0x40000000, 0xc0201234, GIB4 - 1};
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        guest_check_identity(addresses[i]);
    }
}
