// SPDX-License-Identifier: BSD-2-Clause-Patent
// sched-sim [--tsv] [NAME...]: runs the scenarios that have one of the names in theirs, or all, and
// judges them; or prints the measures as a table (tests/sched/plot).
#include <stdio.h>
#include <string.h>

#include "scenario.h"

static bool wanted(const char *name, char **names)
{
    bool any = *names == NULL;

    for (; *names; names++)
        any |= strstr(name, *names) != NULL;
    return any;
}

int main(int argc, char **argv)
{
    bool table = argc > 1 && strcmp(argv[1], "--tsv") == 0;
    char **names = argv + 1 + table;
    int bad = 0;

    for (uint32_t i = 0; i < scenario_count; i++) {
        const struct scenario *s = &scenarios[i];
        struct measures m;
        if (!wanted(s->name, names))
            continue;
        bad += scenario_run(s, 1, &m, !table);
        if (table)
            printf("%s\t%s\t%lu\t%lu\t%lu\t%lu\t%lu\t%lu\n", s->name, s->what,
                   s->limit.share_error ? m.share_error : 0, m.cap_error, m.reserve_error,
                   m.group_error, m.delay_p99, m.moves);
    }
    if (!table)
        printf("%s\n", bad ? "sched-sim: FAILED" : "sched-sim: passed");
    return bad != 0;
}
