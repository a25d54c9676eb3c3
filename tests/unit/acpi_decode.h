// SPDX-License-Identifier: BSD-2-Clause-Patent
// A decoder for the AML that the builder makes, written from the grammar (ACPI 6.5, 20.2) and not
// from the encoder. It visits each named object with its full path and value.
#pragma once

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct decoded {
    char path[64]; // "\_SB_.COM1._HID"
    char kind;     // 'D' device, 'I' integer, 'S' string, 'B' buffer, 'P' package
    uint64_t integer;
    const uint8_t *bytes; // string, buffer or elements of the package
    uint32_t size;
    uint32_t count; // of elements
};

enum { DECODED_MAX = 16384 };

static struct decoded decoded[DECODED_MAX];
static uint32_t decoded_count;

// A length and the end of what it covers.
static inline const uint8_t *decode_length(const uint8_t **at, const uint8_t *end)
{
    const uint8_t *start = *at;
    ck_assert(start < end);
    uint32_t more = *start >> 6;
    ck_assert(end - start > (long)more);
    uint32_t length = more ? *start & 0xf : *start & 0x3f;
    ck_assert(more == 0 || (*start & 0x30) == 0);
    for (uint32_t i = 0; i < more; i++) {
        length |= (uint32_t)start[1 + i] << (4 + 8 * i);
    }
    ck_assert_uint_gt(length, more);
    ck_assert(length <= (uint64_t)(end - start));
    *at = start + 1 + more;
    return start + length;
}

static inline void decode_segment(const uint8_t **at, const uint8_t *end, char *path)
{
    ck_assert(end - *at >= 4);
    ck_assert(((*at)[0] >= 'A' && (*at)[0] <= 'Z') || (*at)[0] == '_');
    size_t length = strlen(path);
    ck_assert_uint_lt(length + 6, sizeof(decoded[0].path));
    if (length > 1) {
        path[length++] = '.';
    }
    memcpy(path + length, *at, 4);
    path[length + 4] = '\0';
    *at += 4;
}

// Appends a name to the path of the scope, or starts over when it is rooted.
static inline void decode_name(const uint8_t **at, const uint8_t *end, const char *scope,
                               char path[64])
{
    strcpy(path, scope);
    ck_assert(*at < end);
    if (**at == '\\') {
        strcpy(path, "\\");
        ++*at;
    }
    int count = 1;
    if (*at < end && **at == 0x2e) {
        count = 2;
        ++*at;
    }
    while (count-- > 0) {
        decode_segment(at, end, path);
    }
}

static inline uint64_t decode_integer(const uint8_t **at, const uint8_t *end)
{
    ck_assert(*at < end);
    uint8_t op = *(*at)++;
    if (op <= 1) {
        return op;
    }
    size_t size = op == 0x0a ? 1 : op == 0x0b ? 2 : op == 0x0c ? 4 : op == 0x0e ? 8 : 0;
    ck_assert_msg(size != 0, "%#x is no integer", op);
    ck_assert((size_t)(end - *at) >= size);
    uint64_t value = 0;
    memcpy(&value, *at, size);
    *at += size;
    return value;
}

static inline void decode_value(const uint8_t **at, const uint8_t *end, struct decoded *out)
{
    ck_assert(*at < end);
    uint8_t op = **at;
    if (op == 0x0d) {
        out->kind = 'S';
        out->bytes = ++*at;
        const uint8_t *nul = memchr(*at, 0, (size_t)(end - *at));
        ck_assert_ptr_nonnull(nul);
        out->size = (uint32_t)(nul - *at);
        *at = nul + 1;
    } else if (op == 0x11) {
        ++*at;
        const uint8_t *stop = decode_length(at, end);
        out->kind = 'B';
        out->size = (uint32_t)decode_integer(at, stop);
        out->bytes = *at;
        ck_assert_uint_eq(out->size, (uint64_t)(stop - *at));
        *at = stop;
    } else if (op == 0x12) {
        ++*at;
        const uint8_t *stop = decode_length(at, end);
        out->kind = 'P';
        out->count = *(*at)++;
        out->bytes = *at;
        for (uint32_t i = 0; i < out->count; i++) {
            decode_integer(at, stop);
        }
        ck_assert_ptr_eq(*at, stop);
    } else {
        out->kind = 'I';
        out->integer = decode_integer(at, end);
    }
}

static inline void decode_terms(const uint8_t *at, const uint8_t *end, const char *scope)
{
    while (at < end) {
        uint8_t op = *at++;
        char path[64];
        if (op == 0x08) {
            ck_assert_uint_lt(decoded_count, DECODED_MAX);
            struct decoded *out = &decoded[decoded_count++];
            memset(out, 0, sizeof(*out));
            decode_name(&at, end, scope, out->path);
            decode_value(&at, end, out);
        } else if (op == 0x10) {
            const uint8_t *stop = decode_length(&at, end);
            decode_name(&at, stop, scope, path);
            decode_terms(at, stop, path);
            at = stop;
        } else if (op == 0x5b && at < end && *at == 0x82) {
            at++;
            const uint8_t *stop = decode_length(&at, end);
            ck_assert_uint_lt(decoded_count, DECODED_MAX);
            struct decoded *out = &decoded[decoded_count++];
            memset(out, 0, sizeof(*out));
            out->kind = 'D';
            decode_name(&at, stop, scope, out->path);
            decode_terms(at, stop, out->path);
            at = stop;
        } else {
            ck_abort_msg("unknown AML %#x in %s", op, scope);
        }
    }
    ck_assert_ptr_eq(at, end);
}

// Decodes a block of terms; the objects are in decoded[] then.
static inline void decode_aml(const uint8_t *aml, size_t size)
{
    decoded_count = 0;
    decode_terms(aml, aml + size, "\\");
}

static inline const struct decoded *decoded_find(const char *path)
{
    for (uint32_t i = 0; i < decoded_count; i++) {
        if (strcmp(decoded[i].path, path) == 0) {
            return &decoded[i];
        }
    }
    return NULL;
}

static inline const struct decoded *decoded_get(const char *path, char kind)
{
    const struct decoded *found = decoded_find(path);
    ck_assert_msg(found != NULL, "no %s", path);
    ck_assert_int_eq(found->kind, kind);
    return found;
}
