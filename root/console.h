// SPDX-License-Identifier: BSD-2-Clause-Patent
// Consoles: one terminal of the machine carries the COM1 of one or more VMs. The VM in focus has
// the keyboard and the screen; what the others write is kept, the oldest lost first, and shown when
// they come into focus. Ctrl-] and a key are commands. The root's own words are lines of their own:
// they wait for the end of the line that the guest is at, or till the guest has been silent, but no
// guest keeps them back for long. What the guest writes while a command line is typed waits for the
// end of that. Pure but for the terminal's two functions.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CONSOLE_ESCAPE = 0x1D, // Ctrl-]
    CONSOLE_LINES = 16,
    CONSOLE_OUTPUT = 4096,  // bytes that wait for a slow terminal
    CONSOLE_INPUT = 1024,   // and for a guest that does not read
    CONSOLE_COMMAND = 512,  // of a command line, with its NUL
    CONSOLE_NOTES = 4096,   // of the root's that wait for the guest
    CONSOLE_BACKLOG = 16384 // of a VM out of focus
};
// In units of 100 ns.
#define CONSOLE_SILENCE  UINT64_C(2000000)  // 200 ms: the guest waits for somebody
#define CONSOLE_PATIENCE UINT64_C(20000000) // 2 s that the root's words wait at most

// A terminal. Both functions return at once with how many bytes they took or gave.
struct console_terminal {
    size_t (*write)(struct console_terminal *terminal, const uint8_t *bytes, size_t size);
    size_t (*read)(struct console_terminal *terminal, uint8_t *bytes, size_t size);
    uint16_t port; // for a UART: its first port
    uint8_t room;  // and how many bytes its FIFO is known to take
};

struct console;

// A VM's end.
struct console_line {
    struct console *console; // NULL: no console, output is dropped
    // Takes input for the guest, returns how much; the rest is offered again.
    size_t (*input)(void *ctx, const uint8_t *bytes, size_t size);
    void *ctx;
    uint32_t backlog_start, backlog_count;
    uint8_t backlog[CONSOLE_BACKLOG];
};

struct console {
    struct console_terminal terminal;
    // A key after Ctrl-]. `line` is in focus, or NULL.
    void (*command)(struct console *console, struct console_line *line, uint8_t key);
    struct console_line *lines[CONSOLE_LINES];
    uint32_t line_count, focus;
    // A command line has been entered (console_prompt), NUL-terminated; it may be changed.
    void (*entered)(struct console *console, struct console_line *line, char *text);
    bool escaped; // the last byte was Ctrl-]
    bool prompting;
    bool guest_open;      // the cursor is behind a part of a guest's line
    bool guest_wrote;     // since the last poll
    uint64_t quiet_since; // the last poll that found that it had
    bool notes_seen;      // by a poll, the first
    uint64_t notes_since; // of which was then
    uint32_t command_count, notes_count;
    char command_text[CONSOLE_COMMAND];
    uint32_t output_start, output_count;
    uint32_t input_start, input_count;
    uint8_t output[CONSOLE_OUTPUT];
    uint8_t input[CONSOLE_INPUT];
    char notes[CONSOLE_NOTES];
};

// Attaches a line; the first one is in focus. False: too many.
bool console_attach(struct console *console, struct console_line *line);

// The guest of this line wrote a byte.
void console_put(struct console_line *line, uint8_t byte);

// Text of the root's own, whole lines, whoever is in focus; "\n" goes out as "\r\n".
void console_print(struct console *console, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// The line in focus, or NULL.
struct console_line *console_focus(const struct console *console);

// Gives the focus to the next line and shows what it has written meanwhile.
void console_next(struct console *console);

// What is typed from now on is a command line: up to Enter; Ctrl-C, or another Ctrl-], gives it up.
void console_prompt(struct console *console);

// Moves bytes both ways; commands are called from here. now: in units of 100 ns, never less than
// the last time.
void console_poll(struct console *console, uint64_t now);

// Something waits that only console_poll() moves: poll again soon.
bool console_busy(const struct console *console);

// ---- terminals ---------------------------------------------------------------------------------

// The UART at `port`: sets it up with the divisor and the line control register's value.
void terminal_uart(struct console_terminal *terminal, uint16_t port, uint16_t divisor,
                   uint8_t line_control);

// Whether all that a terminal has taken is on its line: what is in a UART when the machine is
// switched off is lost.
bool terminal_sent(const struct console_terminal *terminal);

// The firmware's console.
void terminal_firmware(struct console_terminal *terminal);
