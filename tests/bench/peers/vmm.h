// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the bench guest expects of whoever answers its ports and addresses; the built-in root's
// machine has the same (root/lib/ports.h), where the interrupt comes from the UART through the I/O
// APIC.
#pragma once

#include <stdint.h>
#include <stdio.h>

enum vmm_port {
    VMM_RTC_INDEX = 0x70,
    VMM_DEBUG = 0xe9,
    VMM_EXIT = 0xf4,
    VMM_UART = 0x3f8,
    VMM_UART_PORTS = 8,
};

enum vmm_uart {
    VMM_UART_DATA = 0,
    VMM_UART_IER = 1, // bit 1: inject VMM_VECTOR
    VMM_UART_LSR = 5,
    VMM_UART_SCRATCH = 7,
    VMM_IER_THRE = 2,
    VMM_LSR_EMPTY = 0x60,
};

#define VMM_IOAPIC 0xfec00000u // reads as 0
#define VMM_VECTOR 0x43u       // VECTOR_DEVICE of the guest

struct vmm {
    uint8_t rtc_index, scratch;
    int exit_value; // -1 until the guest ends
};

// A port access of one byte: the value read (any when written). *inject is set when the guest asked
// for the interrupt.
static inline uint8_t vmm_port(struct vmm *vmm, uint16_t port, int write, uint8_t value,
                               int *inject)
{
    switch (port) {
    case VMM_RTC_INDEX:
        if (write)
            vmm->rtc_index = value;
        return vmm->rtc_index;
    case VMM_EXIT:
        if (write)
            vmm->exit_value = value;
        return 0xff;
    case VMM_UART + VMM_UART_DATA:
        if (write && value != '\r')
            putchar(value);
        return 0;
    case VMM_UART + VMM_UART_IER:
        *inject = write && (value & VMM_IER_THRE);
        return 0;
    case VMM_UART + VMM_UART_LSR:
        return VMM_LSR_EMPTY;
    case VMM_UART + VMM_UART_SCRATCH:
        if (write)
            vmm->scratch = value;
        return vmm->scratch;
    default:
        return 0xff;
    }
}
