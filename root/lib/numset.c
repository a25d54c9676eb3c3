// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "root/lib/numset.h"

#include "root/lib/mem.h"

static bool separator(char c)
{
    return c == ',' || c == ' ' || c == '\t';
}

bool numset_number(const char **text, uint32_t limit, uint32_t *value)
{
    const char *p = *text;

    *value = 0;
    while (*p >= '0' && *p <= '9' && *value < limit) {
        *value = *value * 10 + (uint32_t)(*p++ - '0');
    }
    if (p == *text || *value >= limit) {
        return false;
    }
    *text = p;
    return true;
}

bool numset_parse(const char *text, uint8_t *set, uint32_t limit)
{
    uint32_t low, high;

    memset(set, 0, limit / 8);
    while (*text) {
        if (separator(*text)) {
            text++;
            continue;
        }
        if (!numset_number(&text, limit, &low)) {
            return false;
        }
        high = low;
        if (*text == '-') {
            text++;
            if (!numset_number(&text, limit, &high) || high < low) {
                return false;
            }
        }
        if (*text && !separator(*text)) {
            return false;
        }
        for (uint32_t n = low; n <= high; n++) {
            set[n / 8] |= (uint8_t)(1u << n % 8);
        }
    }
    return true;
}
