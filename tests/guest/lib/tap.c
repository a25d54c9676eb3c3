// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "tap.h"

#include "con.h"

static unsigned tests, failures;

static void result(bool passed, const char *name, va_list args, const char *skip)
{
    con_printf("%sok %u - ", passed ? "" : "not ", ++tests);
    con_vprintf(name, args);
    if (skip) {
        con_printf(" # SKIP %s", skip);
    }
    con_putc('\n');
    failures += !passed;
}

bool tap_ok(bool passed, const char *name, ...)
{
    va_list args;
    va_start(args, name);
    result(passed, name, args, NULL);
    va_end(args);
    return passed;
}

bool tap_is(uint64_t got, uint64_t want, const char *name, ...)
{
    va_list args;
    va_start(args, name);
    result(got == want, name, args, NULL);
    va_end(args);
    if (got != want) {
        con_printf("#   got 0x%lx, want 0x%lx\n", got, want);
    }
    return got == want;
}

void tap_skip(const char *why, const char *name, ...)
{
    va_list args;
    va_start(args, name);
    result(true, name, args, why);
    va_end(args);
}

void tap_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    con_printf("# ");
    con_vprintf(format, args);
    con_putc('\n');
    va_end(args);
}

_Noreturn void tap_bail_out(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    con_printf("Bail out! ");
    con_vprintf(format, args);
    con_putc('\n');
    va_end(args);
    guest_exit(1);
}

_Noreturn void tap_done(void)
{
    con_printf("1..%u\n", tests);
    guest_exit(failures ? 1 : 0);
}
