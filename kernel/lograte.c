// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/lograte.h"

static void leak(struct log_rate *r, uint64_t now, uint64_t tsc_hz)
{
    uint64_t line = tsc_hz / LOG_RATE_PER_SECOND;
    uint64_t lines = now > r->leaked ? (now - r->leaked) / line : 0;

    if (lines >= r->level) {
        r->level = 0;
        r->leaked = now > r->leaked ? now : r->leaked;
    } else {
        r->level -= (uint32_t)lines;
        r->leaked += lines * line;
    }
}

bool log_rate_admit(struct log_rate *r, uint64_t now, uint64_t tsc_hz, uint32_t lines,
                    uint32_t *left_out)
{
    leak(r, now, tsc_hz);
    if (r->level + lines > LOG_RATE_BURST) {
        r->left_out += r->left_out < UINT32_MAX;
        return false;
    }
    r->level += lines;
    *left_out = r->left_out;
    r->left_out = 0;
    return true;
}
