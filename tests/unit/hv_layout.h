// SPDX-License-Identifier: BSD-2-Clause-Patent
// Tables of structure sizes and field offsets, and the check of one.
#ifndef TESTS_UNIT_HV_LAYOUT_H
#define TESTS_UNIT_HV_LAYOUT_H

#include <check.h>
#include <stddef.h>

struct layout {
    const char *what;
    size_t actual;
    size_t expected;
};

// clang-format 14 takes the braces for a block.
// clang-format off
#define LAYOUT(name, value, number) {name, value, number}
// clang-format on
#define SIZE(type, size)    LAYOUT("size of " #type, sizeof(struct type), size)
#define AT(type, field, at) LAYOUT(#type " " #field, offsetof(struct type, field), at)

// Fails the running test at the first row whose number differs.
static inline void check_layouts(const struct layout *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(rows[i].actual == rows[i].expected, "%s is %zu, not %zu", rows[i].what,
                      rows[i].actual, rows[i].expected);
}

#endif
