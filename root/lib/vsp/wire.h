// SPDX-License-Identifier: BSD-2-Clause-Patent
// Integers as they stand in messages and frames: unaligned, little endian for everything that the
// VMBus carries, big endian inside network frames. The caller has checked that they are in range.
#pragma once

#include <stdint.h>

static inline uint16_t le16_get(const void *at)
{
    const uint8_t *bytes = at;
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static inline uint32_t le32_get(const void *at)
{
    const uint8_t *bytes = at;
    return (uint32_t)le16_get(bytes) | (uint32_t)le16_get(bytes + 2) << 16;
}

static inline uint64_t le64_get(const void *at)
{
    const uint8_t *bytes = at;
    return (uint64_t)le32_get(bytes) | (uint64_t)le32_get(bytes + 4) << 32;
}

static inline void le16_put(void *at, uint16_t value)
{
    uint8_t *bytes = at;
    bytes[0] = (uint8_t)value;
    bytes[1] = (uint8_t)(value >> 8);
}

static inline void le32_put(void *at, uint32_t value)
{
    uint8_t *bytes = at;
    le16_put(bytes, (uint16_t)value);
    le16_put(bytes + 2, (uint16_t)(value >> 16));
}

static inline void le64_put(void *at, uint64_t value)
{
    uint8_t *bytes = at;
    le32_put(bytes, (uint32_t)value);
    le32_put(bytes + 4, (uint32_t)(value >> 32));
}

static inline uint16_t be16_get(const void *at)
{
    const uint8_t *bytes = at;
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline uint32_t be32_get(const void *at)
{
    const uint8_t *bytes = at;
    return (uint32_t)be16_get(bytes) << 16 | be16_get(bytes + 2);
}

static inline void be16_put(void *at, uint16_t value)
{
    uint8_t *bytes = at;
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)value;
}

static inline void be32_put(void *at, uint32_t value)
{
    uint8_t *bytes = at;
    be16_put(bytes, (uint16_t)(value >> 16));
    be16_put(bytes + 2, (uint16_t)value);
}
