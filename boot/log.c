// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "boot/loader.h"
#include "boot/text.h"
#include "corbel/x86.h"

#define LINE_SIZE 384u
#define PORT_E9   0xe9

// 16550: register offsets and bits.
enum {
    UART_DATA = 0,
    UART_INTERRUPT_ENABLE = 1,
    UART_FIFO_CONTROL = 2,
    UART_LINE_CONTROL = 3,
    UART_MODEM_CONTROL = 4,
    UART_LINE_STATUS = 5,
    LCR_DLAB = 0x80,
    FCR_ENABLE_CLEAR = 0x07,
    MCR_DTR_RTS_OUT2 = 0x0b,
    LSR_THR_EMPTY = 0x20
};
#define UART_PATIENCE 100000u // polls of a transmitter that stays full

static bool log_e9;
static uint16_t log_uart; // 0: none

static void uart_open(const struct conf_serial *serial)
{
    log_uart = (uint16_t)serial->port;
    outb(log_uart + UART_INTERRUPT_ENABLE, 0);
    outb(log_uart + UART_LINE_CONTROL, (uint8_t)(serial->line_control | LCR_DLAB));
    outb(log_uart + UART_DATA, (uint8_t)serial->divisor);
    outb(log_uart + UART_INTERRUPT_ENABLE, (uint8_t)(serial->divisor >> 8));
    outb(log_uart + UART_LINE_CONTROL, (uint8_t)serial->line_control);
    outb(log_uart + UART_FIFO_CONTROL, FCR_ENABLE_CLEAR);
    outb(log_uart + UART_MODEM_CONTROL, MCR_DTR_RTS_OUT2);
}

void log_open(const struct conf_boot *conf)
{
    log_e9 = conf->log & CONF_LOG_E9;
    for (unsigned i = 0; i < CONF_COM_PORTS; i++)
        if (conf->log & CONF_LOG_COM(i + 1))
            uart_open(&conf->com[i]);
}

static void put_port(char c)
{
    if (log_e9)
        outb(PORT_E9, (uint8_t)c);
    if (!log_uart)
        return;
    for (unsigned i = 0; i < UART_PATIENCE; i++)
        if (inb(log_uart + UART_LINE_STATUS) & LSR_THR_EMPTY)
            break;
    outb(log_uart + UART_DATA, (uint8_t)c);
}

static void put_line(const char *line)
{
    static uint16_t wide[LINE_SIZE];
    for (const char *c = line; *c; c++)
        put_port(*c);
    // A line cut inside a character is not UTF-8: the ports have it, the screen does not.
    if (text_to_utf16(line, wide, LINE_SIZE))
        ST->ConOut->OutputString(ST->ConOut, (CHAR16 *)wide);
}

void log_line(const char *format, ...)
{
    static char line[LINE_SIZE];
    va_list arguments;
    size_t used = text_format(line, sizeof(line), "corbel: ");
    va_start(arguments, format);
    used += text_vformat(line + used, sizeof(line) - used - 2, format, arguments);
    va_end(arguments);
    text_format(line + used, sizeof(line) - used, "\r\n");
    put_line(line);
}

bool refuse(struct reason *reason, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    text_vformat(reason->text, sizeof(reason->text), format, arguments);
    va_end(arguments);
    return false;
}
