// SPDX-License-Identifier: BSD-2-Clause-Patent
// The handler of the SynIC's and the synthetic timer's vector. It has nothing to do: the interrupt
// ends a halt, the main loop looks for itself, and the source is set to AutoEOI.
        .text
        .globl  wake_interrupt
wake_interrupt:
        iretq

        .section .note.GNU-stack, "", @progbits
