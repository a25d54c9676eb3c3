// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "boot/text.h"

struct sink {
    char *buffer;
    size_t size;
    size_t used;
};

static void put(struct sink *sink, char c)
{
    if (sink->used + 1 < sink->size)
        sink->buffer[sink->used++] = c;
}

static void pad(struct sink *sink, char with, size_t width, size_t have)
{
    for (; have < width; have++)
        put(sink, with);
}

static void put_text(struct sink *sink, const char *text, size_t width)
{
    size_t length = 0;

    text = text ? text : "(none)";
    while (text[length])
        length++;
    pad(sink, ' ', width, length);
    for (; *text; text++)
        put(sink, *text);
}

static void put_number(struct sink *sink, uint64_t value, unsigned base, char with, size_t width)
{
    char digits[24];
    size_t n = 0;
    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    pad(sink, with, width, n);
    while (n)
        put(sink, digits[--n]);
}

size_t text_vformat(char *buffer, size_t size, const char *format, va_list arguments)
{
    struct sink sink = {buffer, size, 0};
    for (const char *f = format; *f; f++) {
        if (*f != '%') {
            put(&sink, *f);
            continue;
        }
        char with = f[1] == '0' ? '0' : ' ';
        size_t width = 0;
        for (f++; *f >= '0' && *f <= '9'; f++)
            width = width * 10 + (size_t)(*f - '0');
        bool is_long = *f == 'l';
        f += is_long;
        if (*f == 's')
            put_text(&sink, va_arg(arguments, const char *), width);
        else if (*f == 'u' || *f == 'x')
            put_number(&sink,
                       is_long ? va_arg(arguments, uint64_t) : va_arg(arguments, unsigned int),
                       *f == 'u' ? 10 : 16, with, width);
        else
            put(&sink, *f);
    }
    if (size)
        buffer[sink.used] = 0;
    return sink.used;
}

size_t text_format(char *buffer, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t n = text_vformat(buffer, size, format, arguments);
    va_end(arguments);
    return n;
}

// Forms of UTF-8 by the number of bytes (Unicode 3.9, D92).
static const struct {
    uint8_t mask, lead;
    uint32_t first; // smallest code point of this form
} forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
#define FORMS (sizeof(forms) / sizeof(forms[0]))

// One code point; the number of bytes it took, or 0.
static size_t decode(const char *text, uint32_t *point)
{
    uint8_t lead = (uint8_t)text[0];
    for (size_t more = 0; more < FORMS; more++) {
        if ((lead & forms[more].mask) != forms[more].lead)
            continue;
        *point = lead & (uint8_t)~forms[more].mask;
        for (size_t i = 1; i <= more; i++) {
            if (((uint8_t)text[i] & 0xc0) != 0x80)
                return 0;
            *point = *point << 6 | ((uint8_t)text[i] & 0x3f);
        }
        bool good = *point >= forms[more].first && *point < 0x110000 && *point >> 11 != 0x1b;
        return good ? more + 1 : 0;
    }
    return 0;
}

bool text_to_utf16(const char *text, uint16_t *out, size_t size)
{
    size_t used = 0;
    uint32_t point;
    while (*text) {
        size_t bytes = decode(text, &point), units = bytes && point > 0xffff ? 2 : 1;
        if (!bytes || used + units >= size) {
            out[0] = 0;
            return false;
        }
        text += bytes;
        if (units == 2) {
            out[used++] = (uint16_t)(0xd800 + ((point - 0x10000) >> 10));
            point = 0xdc00 + ((point - 0x10000) & 0x3ff);
        }
        out[used++] = (uint16_t)point;
    }
    out[used] = 0;
    return true;
}

static size_t encode(uint32_t point, char *out)
{
    size_t more = 0;
    while (more + 1 < FORMS && point >= forms[more + 1].first)
        more++;
    out[0] = (char)(forms[more].lead | point >> 6 * more);
    for (size_t i = 1; i <= more; i++)
        out[i] = (char)(0x80 | (point >> 6 * (more - i) & 0x3f));
    return more + 1;
}

// The next code point of UTF-16; 0 is the end, or bad when *good is cleared.
static uint32_t next_point(const uint16_t *text, size_t units, size_t *at, bool *good)
{
    if (*at >= units || !text[*at])
        return 0;
    uint32_t point = text[(*at)++];
    if (point >> 10 == 0x36 && *at < units && text[*at] >> 10 == 0x37)
        point = 0x10000 + ((point & 0x3ff) << 10) + (text[(*at)++] & 0x3ff);
    *good = (point >= ' ' || point == '\t') && point >> 11 != 0x1b;
    return point;
}

bool text_from_utf16(const uint16_t *text, size_t units, char *out, size_t size)
{
    size_t used = 0, at = 0;
    bool good = true;
    uint32_t point;
    while ((point = next_point(text, units, &at, &good)) != 0) {
        char bytes[4];
        size_t n = encode(point, bytes);
        if (!good || used + n >= size) {
            out[0] = 0;
            return false;
        }
        for (size_t i = 0; i < n; i++)
            out[used++] = bytes[i];
    }
    out[used] = 0;
    return true;
}
