// SPDX-License-Identifier: BSD-2-Clause-Patent
// What assembly needs of C structs, without suffixes. boot/launch.c asserts every value.
#pragma once

#define CONTEXT_STATUS   8
#define CONTEXT_RIP      16
#define CONTEXT_RSP      24
#define CONTEXT_RFLAGS   32
#define CONTEXT_CR0      40
#define CONTEXT_CR3      48
#define CONTEXT_CR4      56
#define CONTEXT_ES       64
#define CONTEXT_CS       80
#define CONTEXT_SS       96
#define CONTEXT_DS       112
#define CONTEXT_FS       128
#define CONTEXT_GS       144
#define CONTEXT_LDTR     160
#define CONTEXT_TR       176
#define CONTEXT_GDTR     192
#define CONTEXT_IDTR     208
#define SEGMENT_SELECTOR 12
#define TABLE_BASE       2

#define JUMP_TRAMPOLINE 0
#define JUMP_CR3        8
#define JUMP_STACK      16
#define JUMP_ENTRY      24
#define JUMP_INFO       32
#define JUMP_CONTEXT    40

#define OFFSETS_DIRECT_BASE 0xffff800000000000
