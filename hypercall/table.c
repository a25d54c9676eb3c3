// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "hypercall/list.h"

#define ENTRY(call, function, shape, input, in, out, output, needs)                                \
    [ROW_##call] = {                                                                               \
        .handler = hypercall_##function,                                                           \
        .name = #call,                                                                             \
        .privilege = (needs),                                                                      \
        .code = HVCALL_##call,                                                                     \
        .kind = (shape) == SIMPLE && (input) <= HYPERCALL_SLOT && (output) == 0                    \
                    ? HYPERCALL_REGISTERS                                                          \
                    : (shape),                                                                     \
        .listed = (shape) == REP && (in) && !(out) && (input) < HV_HYPERCALL_FAST_MAX_BYTES        \
                      ? (uint8_t)((HV_HYPERCALL_FAST_MAX_BYTES - (input)) / ((in) ? (in) : 1))     \
                      : 0,                                                                         \
        .input_size = (input),                                                                     \
        .output_size = (output),                                                                   \
        .element_in = (in),                                                                        \
        .element_out = (out),                                                                      \
    },

const struct hypercall_descriptor hypercall_table[ROW_COUNT] = {
    [ROW_NONE] = {.name = "unknown"}, HYPERCALL_LIST(ENTRY) HYPERCALL_EXTENDED_LIST(ENTRY)};

const uint32_t hypercall_rows = ROW_COUNT;

#define INDEX(call, ...) [HVCALL_##call] = ROW_##call,
const uint8_t hypercall_row_of[HYPERCALL_CODES] = {HYPERCALL_LIST(INDEX)};

#define EXTENDED(call, ...) [HVCALL_##call - 0x8000] = ROW_##call,
const uint8_t hypercall_extended_row_of[8] = {HYPERCALL_EXTENDED_LIST(EXTENDED)};

_Static_assert(ROW_COUNT <= 256, "a row number is one byte");
