// SPDX-License-Identifier: BSD-2-Clause-Patent
// Descriptor tables of an LP. Two IDTs: the host's (exceptions panic), and the window's, used while
// interrupts are let in, where every vector only records itself: a legacy 8259 may deliver vectors
// 8-15 then, which must not look like exceptions.
#pragma once

#include <stdint.h>

struct lp;

void idt_build(void);
void idt_use_host(void);
void idt_use_window(void);
// GDT with TSS and IST stacks for this LP; loads GDTR, CS, SS, DS, ES and TR (not FS and GS).
void gdt_load(struct lp *lp);
