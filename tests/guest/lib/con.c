// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "con.h"

#include "cpu.h"

enum {
    COM1 = 0x3f8,
    COM_IER = COM1 + 1,
    COM_FCR = COM1 + 2,
    COM_LCR = COM1 + 3,
    COM_MCR = COM1 + 4,
    COM_LSR = COM1 + 5,
    COM_SCRATCH = COM1 + 7,
    LCR_8N1 = 3,
    LCR_DLAB = 0x80,
    FCR_ENABLE = 1,
    MCR_DTR_RTS = 3,
    LSR_DATA_READY = 1,
    LSR_THRE = 0x20,
    PORT_DEBUG = 0xe9,
    PORT_EXIT = 0xf4,
    POLLS = 100000
};

static bool have_com1;

void con_init(void)
{
    out8(COM_SCRATCH, 0x5a);
    have_com1 = in8(COM_SCRATCH) == 0x5a;
    if (!have_com1) {
        return;
    }
    out8(COM_IER, 0);
    out8(COM_LCR, LCR_DLAB);
    out8(COM1, 1);
    out8(COM_IER, 0);
    out8(COM_LCR, LCR_8N1);
    out8(COM_FCR, FCR_ENABLE);
    out8(COM_MCR, MCR_DTR_RTS);
}

static void com1_byte(char c)
{
    for (unsigned i = 0; i < POLLS && !(in8(COM_LSR) & LSR_THRE); i++) {
        pause();
    }
    out8(COM1, (uint8_t)c);
}

void con_putc(char c)
{
    if (have_com1) {
        if (c == '\n') {
            com1_byte('\r');
        }
        com1_byte(c);
    }
    out8(PORT_DEBUG, (uint8_t)c);
}

bool con_input(void)
{
    if (!have_com1 || !(in8(COM_LSR) & LSR_DATA_READY)) {
        return false;
    }
    (void)in8(COM1);
    return true;
}

struct field {
    bool left, zero;
    unsigned width;
};

static void put_field(const char *text, size_t size, struct field field)
{
    size_t pad = field.width > size ? field.width - size : 0;
    if (!field.left) {
        for (; pad; pad--) {
            con_putc(field.zero ? '0' : ' ');
        }
    }
    for (size_t i = 0; i < size; i++) {
        con_putc(text[i]);
    }
    for (; pad; pad--) {
        con_putc(' ');
    }
}

static void put_number(uint64_t value, unsigned base, bool negative, struct field field)
{
    char text[24];
    size_t at = sizeof(text);
    do {
        text[--at] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    if (negative) {
        text[--at] = '-';
    }
    put_field(text + at, sizeof(text) - at, field);
}

static const char *parse_field(const char *format, struct field *field)
{
    for (; *format == '-' || *format == '0'; format++) {
        field->left |= *format == '-';
        field->zero |= *format == '0';
    }
    for (; *format >= '0' && *format <= '9'; format++) {
        field->width = field->width * 10 + (unsigned)(*format - '0');
    }
    return format;
}

static void put_signed(int64_t value, struct field field)
{
    put_number(value < 0 ? -(uint64_t)value : (uint64_t)value, 10, value < 0, field);
}

// All integers arrive as 8-byte slots of the register save area; `longs` says how much counts.
static void put_conversion(char kind, unsigned longs, struct field field, va_list *args)
{
    switch (kind) {
    case 'd':
    case 'i':
        put_signed(longs ? va_arg(*args, long) : va_arg(*args, int), field);
        break;
    case 'u':
    case 'x':
        put_number(longs ? va_arg(*args, unsigned long) : va_arg(*args, unsigned),
                   kind == 'x' ? 16 : 10, false, field);
        break;
    case 'p':
        put_number((uint64_t)va_arg(*args, void *), 16, false, field);
        break;
    case 'c': {
        char c = (char)va_arg(*args, int);
        put_field(&c, 1, field);
        break;
    }
    case 's': {
        const char *text = va_arg(*args, const char *);
        put_field(text, strlen(text), field);
        break;
    }
    default:
        con_putc(kind);
    }
}

void con_vprintf(const char *format, va_list args)
{
    va_list copy;
    va_copy(copy, args);
    for (; *format; format++) {
        if (*format != '%') {
            con_putc(*format);
            continue;
        }
        struct field field = {0};
        unsigned longs = 0;
        format = parse_field(format + 1, &field);
        for (; *format == 'l'; format++) {
            longs++;
        }
        if (!*format) {
            break;
        }
        put_conversion(*format, longs, field, &copy);
    }
    va_end(copy);
}

void con_printf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    con_vprintf(format, args);
    va_end(args);
}

_Noreturn void guest_exit(uint8_t value)
{
    out8(PORT_EXIT, value);
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}
