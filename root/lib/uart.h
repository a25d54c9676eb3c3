// SPDX-License-Identifier: BSD-2-Clause-Patent
// 16550A UART. Sources: National Semiconductor PC16550D data sheet; what Linux's 8250 driver and
// FreeBSD's uart(4) probe for. The transmitter is infinitely fast: THRE and TEMT read as ones.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chipset_host.h"

enum {
    UART_PORTS = 8,
    UART_FIFO = 16,
    UART_QUEUE = 256, // bytes "on the wire", held back until the guest has room and listens
};

struct uart {
    uint64_t rx_idle_since; // time of the last receive or read, for the character timeout
    uint16_t divisor;
    uint8_t ier, lcr, mcr, scr, fcr;
    uint8_t line_errors; // LSR error bits that wait to be read
    uint8_t msr_delta;
    bool thre_pending; // transmitter-empty interrupt not yet seen by an IIR read
    bool timed_out;    // character timeout reached
    uint8_t lsr_polls; // LSR reads since the last write: shows a guest that polls for input
    uint8_t rx_start, rx_count;
    uint8_t rx[UART_FIFO];
    uint16_t queue_start, queue_count;
    uint8_t queue[UART_QUEUE];
};

// Power-on state: FIFOs off, interrupts off, nothing queued.
void uart_init(struct uart *uart);

// Master reset: as uart_init(), but queued input stays.
void uart_reset(struct uart *uart);

// A register access by the guest; offset 0..7. now in 100 ns units. Output bytes go to
// host->console_out.
uint8_t uart_read(struct uart *uart, unsigned offset, uint64_t now);
void uart_write(struct uart *uart, unsigned offset, uint8_t value, uint64_t now,
                const struct chipset_host *host);

// Queues input; returns how many of the bytes were taken (0..size). The rest is the caller's to
// offer again: nothing is ever overrun by the host.
size_t uart_receive(struct uart *uart, const uint8_t *bytes, size_t size, uint64_t now);

// Lets time pass: moves queued input into the receiver, notices the character timeout.
void uart_advance(struct uart *uart, uint64_t now);

// When uart_advance() has something to do next, or CHIPSET_NO_DEADLINE.
uint64_t uart_deadline(const struct uart *uart);

// The interrupt line: an enabled cause is pending and OUT2 lets it through.
bool uart_interrupt(const struct uart *uart);
