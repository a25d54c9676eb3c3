// SPDX-License-Identifier: BSD-2-Clause-Patent
// The terminals behind consoles: a 16550 by its ports, and the firmware's text console.
#include "root/console.h"
#include "root/cpu.h"
#include "root/efi.h"

// 16550: register offsets and bits (National Semiconductor PC16550D).
enum {
    UART_DATA = 0,
    UART_INTERRUPT_ENABLE = 1,
    UART_FIFO_CONTROL = 2,
    UART_LINE_CONTROL = 3,
    UART_MODEM_CONTROL = 4,
    UART_LINE_STATUS = 5,
    FCR_ENABLE_CLEAR = 0x07,
    LCR_DLAB = 0x80,
    MCR_DTR_RTS = 0x03,
    LSR_DATA_READY = 0x01,
    LSR_THR_EMPTY = 0x20,
    LSR_SENT = 0x40, // FIFO and shift register
    LSR_NO_UART = 0xFF,
    FIFO_SIZE = 16
};

// An empty transmitter takes a whole FIFO without being asked again.
static size_t uart_write(struct console_terminal *terminal, const uint8_t *bytes, size_t size)
{
    size_t sent = 0;

    while (sent < size) {
        if (terminal->room == 0) {
            if (!(cpu_in(terminal->port + UART_LINE_STATUS) & LSR_THR_EMPTY)) {
                break;
            }
            terminal->room = FIFO_SIZE;
        }
        terminal->room--;
        cpu_out(terminal->port + UART_DATA, bytes[sent++]);
    }
    return sent;
}

static size_t uart_read(struct console_terminal *terminal, uint8_t *bytes, size_t size)
{
    size_t got = 0;

    while (got < size) {
        const uint8_t status = cpu_in(terminal->port + UART_LINE_STATUS);
        if (status == LSR_NO_UART || !(status & LSR_DATA_READY)) {
            break;
        }
        bytes[got++] = cpu_in(terminal->port + UART_DATA);
    }
    return got;
}

void terminal_uart(struct console_terminal *terminal, uint16_t port, uint16_t divisor,
                   uint8_t line_control)
{
    *terminal = (struct console_terminal){uart_write, uart_read, port, 0};
    cpu_out(port + UART_INTERRUPT_ENABLE, 0);
    cpu_out(port + UART_LINE_CONTROL, line_control | LCR_DLAB);
    cpu_out(port + UART_DATA, (uint8_t)divisor);
    cpu_out(port + UART_INTERRUPT_ENABLE, (uint8_t)(divisor >> 8));
    cpu_out(port + UART_LINE_CONTROL, line_control);
    cpu_out(port + UART_FIFO_CONTROL, FCR_ENABLE_CLEAR);
    cpu_out(port + UART_MODEM_CONTROL, MCR_DTR_RTS);
}

bool terminal_sent(const struct console_terminal *terminal)
{
    return !terminal->port || (cpu_in(terminal->port + UART_LINE_STATUS) & LSR_SENT);
}

// The firmware's console knows characters, not bytes: what is not ASCII is shown as a question
// mark.
static size_t firmware_write(struct console_terminal *terminal, const uint8_t *bytes, size_t size)
{
    SIMPLE_TEXT_OUTPUT_INTERFACE *out = efi_system->ConOut;

    (void)terminal;
    for (size_t i = 0; i < size; i++) {
        CHAR16 text[2] = {bytes[i] < 0x80 ? bytes[i] : L'?', 0};
        out->OutputString(out, text);
    }
    return size;
}

static size_t firmware_read(struct console_terminal *terminal, uint8_t *bytes, size_t size)
{
    SIMPLE_INPUT_INTERFACE *in = efi_system->ConIn;
    size_t got = 0;
    EFI_INPUT_KEY key;

    (void)terminal;
    while (got < size && !EFI_ERROR(in->ReadKeyStroke(in, &key))) {
        if (key.UnicodeChar != 0 && key.UnicodeChar < 0x80) {
            bytes[got++] = (uint8_t)key.UnicodeChar;
        }
    }
    return got;
}

void terminal_firmware(struct console_terminal *terminal)
{
    *terminal = (struct console_terminal){firmware_write, firmware_read, 0, 0};
}
