// SPDX-License-Identifier: BSD-2-Clause-Patent
// The root's own lines: contract in log.h.
#include "root/log.h"

#include <efi.h>
#include <stdarg.h>
#include <stdbool.h>

#include "boot/text.h"
#include "root/cpu.h"
#include "root/efi.h"

enum { LINE_SIZE = 384, PORT_LOG = 0xE9 };

static char failure[LINE_SIZE];
static bool failed;

static void put_line(const char *prefix, const char *text, bool screen)
{
    static char line[LINE_SIZE];
    static uint16_t wide[LINE_SIZE];
    size_t used = text_format(line, sizeof line - 2, "%s%s", prefix, text);

    line[used++] = '\n';
    cpu_out_string(PORT_LOG, line, used);
    if (!screen) {
        return;
    }
    line[used - 1] = '\r';
    line[used++] = '\n';
    line[used] = 0;
    if (text_to_utf16(line, wide, LINE_SIZE)) {
        efi_system->ConOut->OutputString(efi_system->ConOut, (CHAR16 *)wide);
    }
}

void root_log(const char *format, ...)
{
    char text[LINE_SIZE];
    va_list arguments;

    va_start(arguments, format);
    text_vformat(text, sizeof text, format, arguments);
    va_end(arguments);
    put_line("root: ", text, false);
}

void root_log_guest(const char *name, const char *text)
{
    char prefix[LINE_SIZE / 2];

    text_format(prefix, sizeof prefix, "vm %s: ", name);
    put_line(prefix, text, false);
}

void root_fail(const char *format, ...)
{
    char text[LINE_SIZE];
    va_list arguments;

    va_start(arguments, format);
    text_vformat(text, sizeof text, format, arguments);
    va_end(arguments);
    put_line("root: ", text, true);
    if (!failed) {
        failed = true;
        text_format(failure, sizeof failure, "%s", text);
    }
}

const char *root_failure(void)
{
    return failed ? failure : NULL;
}

void root_marker(const char *format, ...)
{
    char text[LINE_SIZE];
    va_list arguments;

    va_start(arguments, format);
    text_vformat(text, sizeof text, format, arguments);
    va_end(arguments);
    put_line("rig: ", text, false);
}
