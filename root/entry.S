// SPDX-License-Identifier: BSD-2-Clause-Patent
// The handler of the SynIC's and the synthetic timer's vector. It has nothing to do: the interrupt
// ends a halt, the main loop looks for itself, and the source is set to AutoEOI.
        .text
        .globl  wake_interrupt
wake_interrupt:
        iretq

// The handler of the sources of guests' messages and events.
        .globl  signal_interrupt
signal_interrupt:
        movb    $1, hv_signalled(%rip)
        iretq

        .section .note.GNU-stack, "", @progbits
