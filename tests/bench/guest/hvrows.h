// SPDX-License-Identifier: BSD-2-Clause-Patent
// Hypercalls of Hv#1 with operands in memory: Corbel's, and KVM's, which offers that interface
// beside its own and has no other calls of these kinds.
#pragma once

// Fills in the operands; after the processors are known.
void hvrows_setup(void);

// SendSyntheticClusterIpi to nobody.
void op_hypercall_memory(void);

// FlushVirtualAddressSpace on all other processors, and FlushVirtualAddressList of one page and of
// 64.
void op_flush_others(void);
void op_flush_page(void);
void op_flush_64(void);

// SendSyntheticClusterIpi to all other processors.
void op_cluster(void);
