// SPDX-License-Identifier: BSD-2-Clause-Patent
// The hypervisor, carried inside corbel.efi.
    .section .rodata
    .balign 64
    .globl embedded_image
    .hidden embedded_image
embedded_image:
    .incbin HV_IMAGE
    .globl embedded_image_end
    .hidden embedded_image_end
embedded_image_end:

    .section .note.GNU-stack,"",@progbits
