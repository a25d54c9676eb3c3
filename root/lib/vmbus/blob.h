// SPDX-License-Identifier: BSD-2-Clause-Patent
// Saved state: little-endian integers and byte strings one after the other, in the caller's memory.
// A blob that comes back is hostile input: the reader never leaves it, and after the first thing
// that is wrong every read yields zeros and failed stays true, so that one check at the end (and
// one before each use as an index or a count) is enough.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blob_writer {
    uint8_t *data; // may be NULL with a capacity of 0: only counts
    size_t capacity;
    size_t used; // bytes asked for so far; > capacity: it did not fit
};

struct blob_reader {
    const uint8_t *data;
    size_t size;
    size_t used;
    bool failed;
};

void blob_put_u8(struct blob_writer *blob, uint8_t value);
void blob_put_u16(struct blob_writer *blob, uint16_t value);
void blob_put_u32(struct blob_writer *blob, uint32_t value);
void blob_put_u64(struct blob_writer *blob, uint64_t value);
void blob_put_bytes(struct blob_writer *blob, const void *bytes, size_t size);
// Everything that was put lies in data.
bool blob_fits(const struct blob_writer *blob);

uint8_t blob_get_u8(struct blob_reader *blob);
uint16_t blob_get_u16(struct blob_reader *blob);
uint32_t blob_get_u32(struct blob_reader *blob);
uint64_t blob_get_u64(struct blob_reader *blob);
// Values that must not exceed max: a larger one fails the reader and yields 0.
uint32_t blob_get_max(struct blob_reader *blob, uint32_t max);
// A byte that must be 0 or 1.
bool blob_get_bool(struct blob_reader *blob);
void blob_get_bytes(struct blob_reader *blob, void *to, size_t size);
// Declares what was read inconsistent.
void blob_fail(struct blob_reader *blob);
