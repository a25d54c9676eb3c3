// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/log.h"

#include "corbel/launch.h"
#include "corbel/lp.h"
#include "corbel/spinlock.h"
#include "corbel/x86.h"

#define RING_SIZE 0x10000u
#define LINE_MAX  240u
#define E9_PORT   0xe9
#define THR_EMPTY 0x20

// Found in a memory dump by its magic; `written` counts bytes since launch, so the newest byte is
// at (written - 1) % size (docs/debugging.md).
static struct {
    char magic[16];
    uint32_t size;
    uint32_t reserved;
    uint64_t written;
    char bytes[RING_SIZE];
} ring = {.magic = "CORBEL LOG RING", .size = RING_SIZE};

static uint32_t targets;
static uint16_t com_port;
static uint64_t tsc_per_us = 1, tsc_start;
static struct spinlock lock;

struct line {
    char text[LINE_MAX];
    uint32_t length;
};

void log_init(const struct launch_info *info)
{
    com_port = (uint16_t)info->com_port;
    tsc_per_us = info->tsc_hz / 1000000 ? info->tsc_hz / 1000000 : 1;
    tsc_start = rdtsc();
    if (info->log_targets & LAUNCH_LOG_COM) {
        outb(com_port + 1, 0); // no interrupts
        outb(com_port + 3, 0x80);
        outb(com_port, (uint8_t)info->com_divisor);
        outb(com_port + 1, (uint8_t)(info->com_divisor >> 8));
        outb(com_port + 3, (uint8_t)info->com_line_control);
        outb(com_port + 2, 0x07);
        outb(com_port + 4, 0x03);
    }
    targets = info->log_targets;
}

static void put_raw(char c)
{
    ring.bytes[ring.written++ % RING_SIZE] = c;
    if (targets & LAUNCH_LOG_E9)
        outb(E9_PORT, (uint8_t)c);
    if (targets & LAUNCH_LOG_COM) {
        for (uint32_t spin = 0; spin < 100000 && !(inb(com_port + 5) & THR_EMPTY); spin++)
            cpu_relax();
        outb(com_port, (uint8_t)c);
    }
}

static void put(struct line *l, char c)
{
    if (l->length < LINE_MAX)
        l->text[l->length++] = c;
}

static void put_number(struct line *l, uint64_t v, uint32_t base, uint32_t width, char pad)
{
    char digits[24];
    uint32_t n = 0;

    do {
        digits[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    while (width > n) {
        put(l, pad);
        width--;
    }
    while (n)
        put(l, digits[--n]);
}

static uint64_t get_number(va_list *args, uint32_t longs, bool is_signed)
{
    if (longs)
        return va_arg(*args, unsigned long);
    if (is_signed)
        return (uint64_t)(int64_t)va_arg(*args, int);
    return va_arg(*args, unsigned);
}

// One conversion; returns the rest of the format.
static const char *convert(struct line *l, const char *f, va_list *args)
{
    uint32_t width = 0, longs = 0;
    char pad = ' ';
    bool prefix = false;

    for (; *f == '0' || *f == '#'; f++) {
        if (*f == '0')
            pad = '0';
        else
            prefix = true;
    }
    while (*f >= '0' && *f <= '9')
        width = width * 10 + (uint32_t)(*f++ - '0');
    for (; *f == 'l'; f++)
        longs++;
    switch (*f) {
    case 's':
        for (const char *s = va_arg(*args, const char *); s && *s; s++)
            put(l, *s);
        break;
    case 'c':
        put(l, (char)va_arg(*args, int));
        break;
    case 'd': {
        int64_t v = (int64_t)get_number(args, longs, true);
        if (v < 0)
            put(l, '-');
        put_number(l, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10, width, pad);
        break;
    }
    case 'u':
        put_number(l, get_number(args, longs, false), 10, width, pad);
        break;
    case 'x':
    case 'p':
        if (prefix || *f == 'p') {
            put(l, '0');
            put(l, 'x');
        }
        put_number(l, *f == 'p' ? (uint64_t)va_arg(*args, void *) : get_number(args, longs, false),
                   16, width, pad);
        break;
    default:
        put(l, *f);
        break;
    }
    return *f ? f + 1 : f;
}

static void format_line(struct line *l, const char *f, va_list *args)
{
    while (*f) {
        if (*f == '%')
            f = convert(l, f + 1, args);
        else
            put(l, *f++);
    }
}

void hv_vlog(const char *format, va_list *args)
{
    struct line l = {.length = 0};
    uint64_t us = (rdtsc() - tsc_start) / tsc_per_us;

    put(&l, '[');
    put_number(&l, us / 1000000, 10, 4, ' ');
    put(&l, '.');
    put_number(&l, us % 1000000, 10, 6, '0');
    put(&l, ']');
    put(&l, ' ');
    format_line(&l, format, args);
    spin_lock(&lock);
    for (uint32_t i = 0; i < l.length; i++)
        put_raw(l.text[i]);
    put_raw('\n');
    spin_unlock(&lock);
}

void hv_log(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    hv_vlog(format, &args);
    va_end(args);
}

void log_break_lock(void)
{
    spin_init(&lock);
}
