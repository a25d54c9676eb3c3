// SPDX-License-Identifier: BSD-2-Clause-Patent
// Saved state: contract in blob.h.
#include "blob.h"

#include "../mem.h"

void blob_put_bytes(struct blob_writer *blob, const void *bytes, size_t size)
{
    if (blob->used <= blob->capacity && size <= blob->capacity - blob->used && size) {
        memcpy(blob->data + blob->used, bytes, size);
    }
    blob->used += size;
}

static void put(struct blob_writer *blob, uint64_t value, unsigned size)
{
    uint8_t bytes[8];

    for (unsigned i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(value >> 8 * i);
    }
    blob_put_bytes(blob, bytes, size);
}

void blob_put_u8(struct blob_writer *blob, uint8_t value)
{
    put(blob, value, 1);
}

void blob_put_u16(struct blob_writer *blob, uint16_t value)
{
    put(blob, value, 2);
}

void blob_put_u32(struct blob_writer *blob, uint32_t value)
{
    put(blob, value, 4);
}

void blob_put_u64(struct blob_writer *blob, uint64_t value)
{
    put(blob, value, 8);
}

bool blob_fits(const struct blob_writer *blob)
{
    return blob->used <= blob->capacity;
}

void blob_fail(struct blob_reader *blob)
{
    blob->failed = true;
}

void blob_get_bytes(struct blob_reader *blob, void *to, size_t size)
{
    if (blob->failed || size > blob->size - blob->used) {
        blob->failed = true;
        memset(to, 0, size);
        return;
    }
    memcpy(to, blob->data + blob->used, size);
    blob->used += size;
}

static uint64_t get(struct blob_reader *blob, unsigned size)
{
    uint8_t bytes[8];
    uint64_t value = 0;

    blob_get_bytes(blob, bytes, size);
    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)bytes[i] << 8 * i;
    }
    return value;
}

uint8_t blob_get_u8(struct blob_reader *blob)
{
    return (uint8_t)get(blob, 1);
}

uint16_t blob_get_u16(struct blob_reader *blob)
{
    return (uint16_t)get(blob, 2);
}

uint32_t blob_get_u32(struct blob_reader *blob)
{
    return (uint32_t)get(blob, 4);
}

uint64_t blob_get_u64(struct blob_reader *blob)
{
    return get(blob, 8);
}

uint32_t blob_get_max(struct blob_reader *blob, uint32_t max)
{
    const uint32_t value = blob_get_u32(blob);

    if (value > max) {
        blob_fail(blob);
        return 0;
    }
    return value;
}

bool blob_get_bool(struct blob_reader *blob)
{
    const uint8_t value = blob_get_u8(blob);

    if (value > 1) {
        blob_fail(blob);
    }
    return value == 1;
}
