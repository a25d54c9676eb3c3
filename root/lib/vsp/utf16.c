// SPDX-License-Identifier: BSD-2-Clause-Patent
// UTF-8 and UTF-16: contract in utf16.h (RFC 3629, RFC 2781).
#include "utf16.h"

#include <stdbool.h>

#include "../mem.h"
#include "wire.h"

enum {
    REPLACEMENT = 0xFFFD,
    SURROGATE_HIGH = 0xD800,
    SURROGATE_LOW = 0xDC00,
    SURROGATE_END = 0xE000,
    CODE_MAX = 0x10FFFF,
};

// How many bytes follow this first byte, and the bits it holds; 4: it is no first byte.
static unsigned follows(uint8_t first, uint32_t *bits)
{
    if (first < 0x80) {
        *bits = first;
        return 0;
    }
    if (first >= 0xC2 && first < 0xE0) {
        *bits = first & 0x1F;
        return 1;
    }
    if ((first & 0xF0) == 0xE0) {
        *bits = first & 0x0F;
        return 2;
    }
    if (first >= 0xF0 && first < 0xF5) {
        *bits = first & 0x07;
        return 3;
    }
    return 4;
}

// The code point at *text, which moves on; not called at the terminator.
static uint32_t next_code(const char **text)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    uint32_t code = 0;
    const unsigned more = follows((uint8_t) * (*text)++, &code);

    if (more == 4) {
        return REPLACEMENT;
    }
    for (unsigned i = 0; i < more; i++) {
        const uint8_t byte = (uint8_t) * *text;
        if ((byte & 0xC0) != 0x80) {
            return REPLACEMENT;
        }
        code = code << 6 | (byte & 0x3F);
        ++*text;
    }
    const bool surrogate = code >= SURROGATE_HIGH && code < SURROGATE_END;
    return code < least[more] || code > CODE_MAX || surrogate ? REPLACEMENT : code;
}

uint32_t utf16_from_text(uint8_t *out, uint32_t units, const char *text)
{
    uint32_t used = 0;

    memset(out, 0, (size_t)units * 2);
    while (*text) {
        const uint32_t code = next_code(&text);
        const uint32_t need = code >= 0x10000 ? 2 : 1;
        if (units < need + 1 || used > units - need - 1) {
            return 0;
        }
        if (need == 2) {
            le16_put(out + 2 * used, (uint16_t)(SURROGATE_HIGH + ((code - 0x10000) >> 10)));
            le16_put(out + 2 * used + 2, (uint16_t)(SURROGATE_LOW + (code & 0x3FF)));
        } else {
            le16_put(out + 2 * used, (uint16_t)code);
        }
        used += need;
    }
    return units ? used + 1 : 0;
}

static unsigned encode(uint32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

size_t utf16_to_text(char *out, size_t capacity, const uint8_t *in, uint32_t units)
{
    size_t used = 0;

    for (uint32_t i = 0; i < units; i++) {
        uint32_t code = le16_get(in + 2 * i);
        char bytes[4];
        if (code == 0) {
            break;
        }
        if (code >= SURROGATE_HIGH && code < SURROGATE_END) {
            const uint32_t low = i + 1 < units ? le16_get(in + 2 * i + 2) : 0;
            if (code < SURROGATE_LOW && low >= SURROGATE_LOW && low < SURROGATE_END) {
                code = 0x10000 + ((code - SURROGATE_HIGH) << 10) + (low - SURROGATE_LOW);
                i++;
            } else {
                code = REPLACEMENT;
            }
        }
        const unsigned size = encode(code, bytes);
        if (size >= capacity - used) {
            break;
        }
        memcpy(out + used, bytes, size);
        used += size;
    }
    out[used] = 0;
    return used;
}
