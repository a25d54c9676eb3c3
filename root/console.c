// SPDX-License-Identifier: BSD-2-Clause-Patent
// Consoles: contract in console.h.
#include "root/console.h"

#include <stdarg.h>

#include "boot/text.h"

enum {
    PRINT_SIZE = 256,
    PATIENCE = 1000000, // attempts on a terminal that takes nothing
    CTRL_C = 3,
    BACKSPACE = 8,
    DELETE = 127,
};

// ---- output ------------------------------------------------------------------------------------

static void pump_output(struct console *console)
{
    while (console->output_count != 0) {
        const uint32_t start = console->output_start;
        uint32_t run = CONSOLE_OUTPUT - start;
        if (run > console->output_count) {
            run = console->output_count;
        }
        const uint32_t sent =
            (uint32_t)console->terminal.write(&console->terminal, console->output + start, run);
        console->output_start = (start + sent) % CONSOLE_OUTPUT;
        console->output_count -= sent;
        if (sent < run) {
            return;
        }
    }
}

// Waits for a full buffer to move on; a terminal that never does loses its oldest output.
static void make_room(struct console *console)
{
    for (uint32_t i = 0; i < PATIENCE && console->output_count == CONSOLE_OUTPUT; i++) {
        pump_output(console);
    }
    if (console->output_count == CONSOLE_OUTPUT) {
        console->output_start = (console->output_start + 1) % CONSOLE_OUTPUT;
        console->output_count--;
    }
}

static void send(struct console *console, uint8_t byte)
{
    if (console->output_count == 0 && console->terminal.write(&console->terminal, &byte, 1) == 1) {
        return;
    }
    if (console->output_count == CONSOLE_OUTPUT) {
        make_room(console);
    }
    console->output[(console->output_start + console->output_count++) % CONSOLE_OUTPUT] = byte;
    pump_output(console);
}

static void keep(struct console_line *line, uint8_t byte)
{
    line->backlog[(line->backlog_start + line->backlog_count) % CONSOLE_BACKLOG] = byte;
    if (line->backlog_count < CONSOLE_BACKLOG) {
        line->backlog_count++;
    } else {
        line->backlog_start = (line->backlog_start + 1) % CONSOLE_BACKLOG;
    }
}

static void emit(struct console *console, const char *text)
{
    for (; *text; text++) {
        if (*text == '\n') {
            send(console, '\r');
        }
        send(console, (uint8_t)*text);
    }
}

static void fresh_line(struct console *console)
{
    if (console->guest_open) {
        console->guest_open = false;
        emit(console, "\n");
    }
}

static void show_notes(struct console *console)
{
    if (console->notes_count) {
        fresh_line(console);
        console->notes[console->notes_count] = 0;
        console->notes_count = 0;
        console->notes_seen = false;
        emit(console, console->notes);
    }
}

// Text without NUL inside, shorter than the buffer.
static void note(struct console *console, const char *text)
{
    size_t size = 0;

    while (text[size]) {
        size++;
    }
    if (console->notes_count + size >= CONSOLE_NOTES) {
        show_notes(console);
    }
    for (size_t i = 0; i < size; i++) {
        console->notes[console->notes_count++] = text[i];
    }
}

static void show(struct console *console, uint8_t byte)
{
    send(console, byte);
    console->guest_open = byte != '\n';
    console->guest_wrote = true;
    if (!console->guest_open) {
        show_notes(console);
    }
}

static void show_backlog(struct console *console, struct console_line *line)
{
    for (uint32_t i = 0; i < line->backlog_count; i++) {
        show(console, line->backlog[(line->backlog_start + i) % CONSOLE_BACKLOG]);
    }
    line->backlog_start = line->backlog_count = 0;
}

void console_put(struct console_line *line, uint8_t byte)
{
    struct console *console = line->console;

    if (!console) {
        return;
    }
    if (console->lines[console->focus] == line && !console->prompting) {
        show(console, byte);
    } else {
        keep(line, byte);
    }
}

void console_print(struct console *console, const char *format, ...)
{
    char text[PRINT_SIZE];
    va_list arguments;

    va_start(arguments, format);
    text_vformat(text, sizeof text, format, arguments);
    va_end(arguments);
    if (console->prompting || console->guest_open || console->notes_count) {
        note(console, text);
    } else {
        emit(console, text);
    }
}

// ---- lines -------------------------------------------------------------------------------------

bool console_attach(struct console *console, struct console_line *line)
{
    if (console->line_count == CONSOLE_LINES) {
        return false;
    }
    console->lines[console->line_count++] = line;
    line->console = console;
    return true;
}

struct console_line *console_focus(const struct console *console)
{
    return console->line_count ? console->lines[console->focus] : NULL;
}

void console_next(struct console *console)
{
    if (console->line_count == 0) {
        return;
    }
    fresh_line(console);
    show_notes(console);
    console->focus = (console->focus + 1) % console->line_count;
    show_backlog(console, console->lines[console->focus]);
}

// ---- input -------------------------------------------------------------------------------------

static void feed_guest(struct console *console)
{
    struct console_line *line = console_focus(console);

    while (line && console->input_count != 0) {
        const uint32_t start = console->input_start;
        uint32_t run = CONSOLE_INPUT - start;
        if (run > console->input_count) {
            run = console->input_count;
        }
        const uint32_t taken = (uint32_t)line->input(line->ctx, console->input + start, run);
        console->input_start = (start + taken) % CONSOLE_INPUT;
        console->input_count -= taken;
        if (taken < run) {
            return;
        }
    }
}

void console_prompt(struct console *console)
{
    console->prompting = true;
    console->command_count = 0;
    fresh_line(console);
    emit(console, "corbel> ");
}

// The command line is over; with a text it is entered. Then the guest goes on.
static void end_prompt(struct console *console, char *text)
{
    console->prompting = false;
    emit(console, "\n");
    show_notes(console);
    if (text) {
        console->entered(console, console_focus(console), text);
    }
    if (console_focus(console) && !console->prompting) {
        show_backlog(console, console_focus(console));
    }
}

static void edit(struct console *console, uint8_t byte)
{
    if (byte == '\r' || byte == '\n') {
        console->command_text[console->command_count] = 0;
        end_prompt(console, console->command_text);
    } else if (byte == CTRL_C || byte == CONSOLE_ESCAPE) {
        end_prompt(console, NULL);
    } else if (byte == BACKSPACE || byte == DELETE) {
        if (console->command_count) {
            console->command_count--;
            emit(console, "\b \b");
        }
    } else if (byte >= ' ' && console->command_count < CONSOLE_COMMAND - 1) {
        console->command_text[console->command_count++] = (char)byte;
        send(console, byte);
    }
}

// Commands see what was typed before them already on its way.
static void type(struct console *console, uint8_t byte)
{
    const bool escaped = console->escaped;

    if (console->prompting) {
        edit(console, byte);
        return;
    }
    console->escaped = !escaped && byte == CONSOLE_ESCAPE;
    if (console->escaped) {
        return;
    }
    if (escaped && byte != CONSOLE_ESCAPE) {
        feed_guest(console);
        console->command(console, console_focus(console), byte);
        return;
    }
    console->input[(console->input_start + console->input_count++) % CONSOLE_INPUT] = byte;
}

static void look_at_guest(struct console *console, uint64_t now)
{
    if (console->guest_wrote) {
        console->guest_wrote = false;
        console->quiet_since = now;
    }
    if (console->notes_count && !console->notes_seen) {
        console->notes_seen = true;
        console->notes_since = now;
    }
    if (!console->prompting && (now - console->quiet_since >= CONSOLE_SILENCE ||
                                now - console->notes_since >= CONSOLE_PATIENCE)) {
        show_notes(console);
    }
}

void console_poll(struct console *console, uint64_t now)
{
    uint8_t byte;

    pump_output(console);
    while (console->input_count < CONSOLE_INPUT &&
           console->terminal.read(&console->terminal, &byte, 1) == 1) {
        type(console, byte);
    }
    feed_guest(console);
    look_at_guest(console, now);
}

bool console_busy(const struct console *console)
{
    return console->output_count != 0 || console->input_count != 0 ||
           (console->notes_count != 0 && !console->prompting);
}
