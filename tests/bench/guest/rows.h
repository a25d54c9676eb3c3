// SPDX-License-Identifier: BSD-2-Clause-Patent
// The rows of the bench.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "platform.h"

struct row {
    const char *name;
    uint32_t cpus;           // the machine has exactly so many
    unsigned rounds;         // 0: as many as usual
    void (*op)(void);        // what is measured from call to return,
    size_t platform_op;      // or the platform's: its place in struct platform,
    int64_t (*sample)(void); // or counts that it says itself, the reading of the TSC included
    void (*before)(void), (*after)(void);
};

extern const struct row rows[]; // up to one without a name

// The operation of a row; NULL for a sample.
void (*row_op(const struct row *row))(void);

// Handlers, and memory to touch; before the platform's setup.
void rows_setup(void);
