// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "root/lib/lpset.h"

#include "boot/text.h"

#define LPS (64 * LPSET_WORDS)

static bool separator(char c)
{
    return c == ',' || c == ' ' || c == '\t';
}

// A number below LPS at *text, which is moved behind it.
static bool number(const char **text, uint32_t *value)
{
    const char *p = *text;

    *value = 0;
    while (*p >= '0' && *p <= '9' && *value < LPS) {
        *value = *value * 10 + (uint32_t)(*p++ - '0');
    }
    if (p == *text || *value >= LPS) {
        return false;
    }
    *text = p;
    return true;
}

bool lpset_parse(const char *text, uint64_t set[LPSET_WORDS])
{
    uint32_t low, high;

    for (uint32_t i = 0; i < LPSET_WORDS; i++) {
        set[i] = 0;
    }
    while (*text) {
        if (separator(*text)) {
            text++;
            continue;
        }
        if (!number(&text, &low)) {
            return false;
        }
        high = low;
        if (*text == '-') {
            text++;
            if (!number(&text, &high) || high < low) {
                return false;
            }
        }
        if (*text && !separator(*text)) {
            return false;
        }
        for (uint32_t lp = low; lp <= high; lp++) {
            set[lp / 64] |= UINT64_C(1) << (lp % 64);
        }
    }
    return true;
}

void lpset_format(const uint64_t set[LPSET_WORDS], char *text, size_t size)
{
    char one[8];
    size_t used = 0;

    text[0] = 0;
    for (uint32_t lp = 0; lp < LPS; lp++) {
        if (!(set[lp / 64] >> (lp % 64) & 1)) {
            continue;
        }
        const size_t length = text_format(one, sizeof one, used ? ", %u" : "%u", lp);
        if (used + length + sizeof "..." > size) {
            text_format(text + used, size - used, "...");
            return;
        }
        text_format(text + used, size - used, "%s", one);
        used += length;
    }
}
