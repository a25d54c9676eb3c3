// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "root/lib/lpset.h"

#include "boot/text.h"
#include "root/lib/numset.h"

#define LPS (64 * LPSET_WORDS)

bool lpset_parse(const char *text, uint64_t set[LPSET_WORDS])
{
    return numset_parse(text, (uint8_t *)set, LPS);
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
