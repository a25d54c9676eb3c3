// SPDX-License-Identifier: BSD-2-Clause-Patent
// The guest's XMM0-5 while it is loaded on this LP: the hypervisor itself uses no vector registers.
#pragma once

#define XMM_BLOCK_BYTES 96u // XMM0..XMM5, 16 bytes each

void xmm_read_block(void *block);
void xmm_write_block(const void *block);
