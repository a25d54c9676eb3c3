// SPDX-License-Identifier: BSD-2-Clause-Patent
// Integers as they stand in files and on wires, at any alignment.
#pragma once
#include <stdint.h>

static inline uint16_t load_le16(const void *from)
{
    const uint8_t *bytes = from;
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static inline uint32_t load_le32(const void *from)
{
    const uint8_t *bytes = from;
    return load_le16(bytes) | (uint32_t)load_le16(bytes + 2) << 16;
}

static inline uint64_t load_le64(const void *from)
{
    const uint8_t *bytes = from;
    return load_le32(bytes) | (uint64_t)load_le32(bytes + 4) << 32;
}

static inline void store_le16(void *to, uint16_t value)
{
    uint8_t *bytes = to;
    bytes[0] = (uint8_t)value;
    bytes[1] = (uint8_t)(value >> 8);
}

static inline void store_le32(void *to, uint32_t value)
{
    uint8_t *bytes = to;
    store_le16(bytes, (uint16_t)value);
    store_le16(bytes + 2, (uint16_t)(value >> 16));
}

static inline void store_le64(void *to, uint64_t value)
{
    uint8_t *bytes = to;
    store_le32(bytes, (uint32_t)value);
    store_le32(bytes + 4, (uint32_t)(value >> 32));
}

static inline uint16_t load_be16(const void *from)
{
    const uint8_t *bytes = from;
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline uint32_t load_be32(const void *from)
{
    const uint8_t *bytes = from;
    return (uint32_t)load_be16(bytes) << 16 | load_be16(bytes + 2);
}

static inline uint64_t load_be64(const void *from)
{
    const uint8_t *bytes = from;
    return (uint64_t)load_be32(bytes) << 32 | load_be32(bytes + 4);
}

static inline void store_be16(void *to, uint16_t value)
{
    uint8_t *bytes = to;
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)value;
}

static inline void store_be32(void *to, uint32_t value)
{
    uint8_t *bytes = to;
    store_be16(bytes, (uint16_t)(value >> 16));
    store_be16(bytes + 2, (uint16_t)value);
}

static inline void store_be64(void *to, uint64_t value)
{
    uint8_t *bytes = to;
    store_be32(bytes, (uint32_t)(value >> 32));
    store_be32(bytes + 4, (uint32_t)value);
}
