// SPDX-License-Identifier: BSD-2-Clause-Patent
// 16550A UART: contract and sources in uart.h.
#include "uart.h"

#include "mem.h"

enum uart_register {
    UART_DATA = 0, // RBR, THR; DLL with DLAB
    UART_IER = 1,  // DLM with DLAB
    UART_IIR = 2,  // FCR when written
    UART_LCR = 3,
    UART_MCR = 4,
    UART_LSR = 5,
    UART_MSR = 6,
    UART_SCR = 7,
};

enum uart_bit {
    IER_RECEIVE = 1 << 0,
    IER_THRE = 1 << 1,
    IER_LINE = 1 << 2,
    IER_MODEM = 1 << 3,
    IER_ALL = 0x0F,

    IIR_NONE = 0x01,
    IIR_MODEM = 0x00,
    IIR_THRE = 0x02,
    IIR_RECEIVE = 0x04,
    IIR_LINE = 0x06,
    IIR_TIMEOUT = 0x0C,
    IIR_FIFOS = 0xC0,

    FCR_ENABLE = 1 << 0,
    FCR_CLEAR_RX = 1 << 1,
    FCR_TRIGGER_SHIFT = 6,
    FCR_KEPT = 0xC9,

    LCR_DATA_BITS = 3,
    LCR_TWO_STOPS = 1 << 2,
    LCR_PARITY = 1 << 3,
    LCR_DLAB = 1 << 7,

    MCR_DTR = 1 << 0,
    MCR_RTS = 1 << 1,
    MCR_OUT1 = 1 << 2,
    MCR_OUT2 = 1 << 3,
    MCR_LOOP = 1 << 4,
    MCR_ALL = 0x1F,

    LSR_READY = 1 << 0,
    LSR_OVERRUN = 1 << 1,
    LSR_THRE = 1 << 5,
    LSR_IDLE = 1 << 6,

    MSR_CTS = 1 << 4,
    MSR_DSR = 1 << 5,
    MSR_RING = 1 << 6,
    MSR_CARRIER = 1 << 7,
    MSR_DELTA_SHIFT = 4,
};

enum {
    // The transmitter is always ready, so a guest that reads LSR this often without writing
    // anything waits for input.
    LSR_POLLS_LISTEN = 16,
    TIMEOUT_CHARACTERS = 4,
    DIVISOR_RESET = 12, // 9600 baud
};

void uart_init(struct uart *uart)
{
    memset(uart, 0, sizeof *uart);
    uart->divisor = DIVISOR_RESET;
}

void uart_reset(struct uart *uart)
{
    const struct uart before = *uart;

    uart_init(uart);
    memcpy(uart->queue, before.queue, sizeof uart->queue);
    uart->queue_start = before.queue_start;
    uart->queue_count = before.queue_count;
}

static unsigned capacity(const struct uart *uart)
{
    return uart->fcr & FCR_ENABLE ? UART_FIFO : 1;
}

static unsigned trigger_level(const struct uart *uart)
{
    static const uint8_t levels[4] = {1, 4, 8, 14};
    return uart->fcr & FCR_ENABLE ? levels[uart->fcr >> FCR_TRIGGER_SHIFT] : 1;
}

// The time of four characters in 100 ns units: the clock is 1.8432 MHz, 16 cycles a bit, so a bit
// takes divisor * 16e7 / 1843200 = divisor * 15625 / 180 units.
static uint64_t timeout_100ns(const struct uart *uart)
{
    const unsigned bits = 1 + 5 + (uart->lcr & LCR_DATA_BITS) + (uart->lcr & LCR_PARITY ? 1 : 0) +
                          (uart->lcr & LCR_TWO_STOPS ? 2 : 1);
    const uint64_t divisor = uart->divisor ? uart->divisor : 1;
    return divisor * TIMEOUT_CHARACTERS * bits * 15625 / 180;
}

static void clear_receiver(struct uart *uart)
{
    uart->rx_count = 0;
    uart->timed_out = false;
}

static void push(struct uart *uart, uint8_t byte, uint64_t now)
{
    uart->rx_idle_since = now;
    uart->timed_out = false;
    if (uart->rx_count < capacity(uart)) {
        uart->rx[(uart->rx_start + uart->rx_count++) % UART_FIFO] = byte;
        return;
    }
    uart->line_errors |= LSR_OVERRUN;
    if (!(uart->fcr & FCR_ENABLE)) {
        uart->rx[uart->rx_start] = byte; // without FIFO the new character replaces the old
    }
}

// Input is let through only while somebody listens, so that what was typed ahead survives the
// FIFO resets of a driver's probing: the driver asserts RTS, or wants receive interrupts, or polls.
static bool listening(const struct uart *uart)
{
    return !(uart->mcr & MCR_LOOP) && ((uart->mcr & MCR_RTS) || (uart->ier & IER_RECEIVE) ||
                                       uart->lsr_polls >= LSR_POLLS_LISTEN);
}

void uart_advance(struct uart *uart, uint64_t now)
{
    if (listening(uart)) {
        while (uart->queue_count && uart->rx_count < capacity(uart)) {
            push(uart, uart->queue[uart->queue_start], now);
            uart->queue_start = (uart->queue_start + 1) % UART_QUEUE;
            uart->queue_count--;
        }
    }
    if ((uart->fcr & FCR_ENABLE) && uart->rx_count &&
        now - uart->rx_idle_since >= timeout_100ns(uart)) {
        uart->timed_out = true;
    }
}

uint64_t uart_deadline(const struct uart *uart)
{
    const bool waits = (uart->ier & IER_RECEIVE) && uart->rx_count && !uart->timed_out &&
                       uart->rx_count < trigger_level(uart);
    return waits ? uart->rx_idle_since + timeout_100ns(uart) : CHIPSET_NO_DEADLINE;
}

size_t uart_receive(struct uart *uart, const uint8_t *bytes, size_t size, uint64_t now)
{
    size_t taken = 0;

    while (taken < size && uart->queue_count < UART_QUEUE) {
        const unsigned end = (uart->queue_start + uart->queue_count++) % UART_QUEUE;
        uart->queue[end] = bytes[taken++];
    }
    uart_advance(uart, now);
    return taken;
}

// The pending interrupt of highest priority, as IIR shows it.
static uint8_t interrupt_id(const struct uart *uart)
{
    if ((uart->ier & IER_LINE) && uart->line_errors) {
        return IIR_LINE;
    }
    if ((uart->ier & IER_RECEIVE) && uart->rx_count >= trigger_level(uart)) {
        return IIR_RECEIVE;
    }
    if ((uart->ier & IER_RECEIVE) && uart->timed_out) {
        return IIR_TIMEOUT;
    }
    if ((uart->ier & IER_THRE) && uart->thre_pending) {
        return IIR_THRE;
    }
    if ((uart->ier & IER_MODEM) && uart->msr_delta) {
        return IIR_MODEM;
    }
    return IIR_NONE;
}

bool uart_interrupt(const struct uart *uart)
{
    // On a PC, OUT2 gates the interrupt line; loopback forces the pin inactive.
    return (uart->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2 && interrupt_id(uart) != IIR_NONE;
}

// The modem status lines: a terminal that is always there, or the loopback of MCR.
static uint8_t modem_lines(const struct uart *uart)
{
    if (!(uart->mcr & MCR_LOOP)) {
        return MSR_CTS | MSR_DSR | MSR_CARRIER;
    }
    return (uint8_t)((uart->mcr & MCR_RTS ? MSR_CTS : 0) | (uart->mcr & MCR_DTR ? MSR_DSR : 0) |
                     (uart->mcr & MCR_OUT1 ? MSR_RING : 0) |
                     (uart->mcr & MCR_OUT2 ? MSR_CARRIER : 0));
}

static uint8_t read_data(struct uart *uart, uint64_t now)
{
    const uint8_t byte = uart->rx[uart->rx_start];

    if (uart->rx_count) {
        uart->rx_start = (uart->rx_start + 1) % UART_FIFO;
        uart->rx_count--;
    }
    uart->rx_idle_since = now;
    uart->timed_out = false;
    return byte;
}

static uint8_t read_iir(struct uart *uart)
{
    const uint8_t id = interrupt_id(uart);

    if (id == IIR_THRE) {
        uart->thre_pending = false;
    }
    return id | (uart->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint8_t read_lsr(struct uart *uart)
{
    const uint8_t lsr = LSR_THRE | LSR_IDLE | uart->line_errors | (uart->rx_count ? LSR_READY : 0);

    uart->line_errors = 0;
    if (uart->lsr_polls < LSR_POLLS_LISTEN) {
        uart->lsr_polls++;
    }
    return lsr;
}

static uint8_t read_msr(struct uart *uart)
{
    const uint8_t msr = modem_lines(uart) | uart->msr_delta;

    uart->msr_delta = 0;
    return msr;
}

uint8_t uart_read(struct uart *uart, unsigned offset, uint64_t now)
{
    const bool dlab = uart->lcr & LCR_DLAB;

    uart_advance(uart, now);
    switch (offset) {
    case UART_DATA:
        return dlab ? (uint8_t)uart->divisor : read_data(uart, now);
    case UART_IER:
        return dlab ? (uint8_t)(uart->divisor >> 8) : uart->ier;
    case UART_IIR:
        return read_iir(uart);
    case UART_LCR:
        return uart->lcr;
    case UART_MCR:
        return uart->mcr;
    case UART_LSR:
        return read_lsr(uart);
    case UART_MSR:
        return read_msr(uart);
    case UART_SCR:
        return uart->scr;
    default:
        return 0xFF;
    }
}

static void write_data(struct uart *uart, uint8_t value, uint64_t now,
                       const struct chipset_host *host)
{
    if (uart->mcr & MCR_LOOP) {
        push(uart, value, now);
    } else {
        host->console_out(host->ctx, value);
    }
    uart->thre_pending = true; // sent already
}

// Enabling the THRE interrupt while the transmitter is empty raises it, even if it was
// acknowledged before: not in the data sheet, but Linux and Windows start transmission that way.
static void write_ier(struct uart *uart, uint8_t value)
{
    value &= IER_ALL;
    if (value & ~uart->ier & IER_THRE) {
        uart->thre_pending = true;
    }
    uart->ier = value;
}

static void write_fcr(struct uart *uart, uint8_t value)
{
    if (((value ^ uart->fcr) & FCR_ENABLE) || (value & FCR_CLEAR_RX)) {
        clear_receiver(uart);
    }
    uart->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
}

static void write_mcr(struct uart *uart, uint8_t value)
{
    const uint8_t before = modem_lines(uart);

    uart->mcr = value & MCR_ALL;
    const uint8_t after = modem_lines(uart);
    // Ring reports only its trailing edge.
    const uint8_t changed = (uint8_t)((before ^ after) & ~(after & MSR_RING));
    uart->msr_delta |= changed >> MSR_DELTA_SHIFT;
}

static void set_divisor(struct uart *uart, unsigned shift, uint8_t value)
{
    const unsigned kept = uart->divisor & ~(0xFFu << shift);
    uart->divisor = (uint16_t)(kept | (unsigned)value << shift);
}

void uart_write(struct uart *uart, unsigned offset, uint8_t value, uint64_t now,
                const struct chipset_host *host)
{
    const bool dlab = uart->lcr & LCR_DLAB;

    uart->lsr_polls = 0;
    if (offset == UART_DATA && dlab) {
        set_divisor(uart, 0, value);
    } else if (offset == UART_DATA) {
        write_data(uart, value, now, host);
    } else if (offset == UART_IER && dlab) {
        set_divisor(uart, 8, value);
    } else if (offset == UART_IER) {
        write_ier(uart, value);
    } else if (offset == UART_IIR) {
        write_fcr(uart, value);
    } else if (offset == UART_LCR) {
        uart->lcr = value;
    } else if (offset == UART_MCR) {
        write_mcr(uart, value);
    } else if (offset == UART_SCR) {
        uart->scr = value;
    }
    uart_advance(uart, now);
}
