// SPDX-License-Identifier: BSD-2-Clause-Patent
// Consoles: focus, backlog, escapes, slow terminals and guests that do not read.
#include "root/console.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct console console;
static struct console_line one, two;
static char screen[65536], keys[65536], got_one[4096], got_two[4096], commands[64];
static size_t screen_size, keys_start, keys_size, screen_room, one_room;
static uint64_t now;

static size_t fake_write(struct console_terminal *terminal, const uint8_t *bytes, size_t size)
{
    (void)terminal;
    const size_t part = size < screen_room ? size : screen_room;
    memcpy(screen + screen_size, bytes, part);
    screen_size += part;
    screen_room -= part;
    return part;
}

static size_t fake_read(struct console_terminal *terminal, uint8_t *bytes, size_t size)
{
    (void)terminal;
    const size_t left = keys_size - keys_start, part = size < left ? size : left;
    memcpy(bytes, keys + keys_start, part);
    keys_start += part;
    return part;
}

static size_t take_one(void *ctx, const uint8_t *bytes, size_t size)
{
    (void)ctx;
    const size_t part = size < one_room ? size : one_room;
    strncat(got_one, (const char *)bytes, part);
    one_room -= part;
    return part;
}

static size_t take_two(void *ctx, const uint8_t *bytes, size_t size)
{
    (void)ctx;
    strncat(got_two, (const char *)bytes, size);
    return size;
}

static void fake_command(struct console *at, struct console_line *line, uint8_t key)
{
    const char text[3] = {line == &one ? '1' : '2', (char)key, 0};
    strcat(commands, text);
    if (key == 'n') {
        console_next(at);
    } else if (key == ':') {
        console_prompt(at);
    }
}

static void fake_entered(struct console *at, struct console_line *line, char *text)
{
    ck_assert_ptr_eq(at, &console);
    strcat(commands, line == &one ? "1<" : "2<");
    strcat(commands, text);
    strcat(commands, ">");
}

static void setup(void)
{
    memset(&console, 0, sizeof console);
    memset(&one, 0, sizeof one);
    memset(&two, 0, sizeof two);
    console.terminal = (struct console_terminal){fake_write, fake_read, 0, 0};
    console.command = fake_command;
    console.entered = fake_entered;
    one.input = take_one;
    two.input = take_two;
    memset(screen, 0, sizeof screen);
    got_one[0] = got_two[0] = commands[0] = 0;
    screen_size = keys_start = keys_size = 0;
    screen_room = sizeof screen - 1;
    one_room = 4000;
    now = 1000;
    ck_assert(console_attach(&console, &one));
    ck_assert(console_attach(&console, &two));
}

static void type(const char *text)
{
    strcpy(keys, text);
    keys_start = 0;
    keys_size = strlen(text);
    console_poll(&console, now);
}

static void put(struct console_line *line, const char *text)
{
    while (*text) {
        console_put(line, (uint8_t)*text++);
    }
}

START_TEST(test_focus)
{
    put(&one, "first");
    put(&two, "second");
    ck_assert_str_eq(screen, "first");
    type("abc");
    ck_assert_str_eq(got_one, "abc");
    ck_assert_str_eq(got_two, "");
    type("d\x1dne");
    ck_assert_str_eq(got_one, "abcd");
    ck_assert_str_eq(got_two, "e");
    ck_assert_str_eq(screen, "first\r\nsecond");
    ck_assert_ptr_eq(console_focus(&console), &two);
    put(&one, "third");
    put(&two, "fourth");
    ck_assert_str_eq(screen, "first\r\nsecondfourth");
    type("\x1dn");
    ck_assert_str_eq(screen, "first\r\nsecondfourth\r\nthird");
    ck_assert_str_eq(commands, "1n2n");
}
END_TEST

START_TEST(test_escape)
{
    type("a\x1d");
    ck_assert_str_eq(got_one, "a");
    type("lb");
    ck_assert_str_eq(commands, "1l");
    ck_assert_str_eq(got_one, "ab");
    type("\x1d\x1d");
    ck_assert_str_eq(got_one, "ab\x1d");
    type("\x1d\x1dk"); // the pair is typed, the k is not a command
    ck_assert_str_eq(got_one, "ab\x1d\x1dk");
    ck_assert_str_eq(commands, "1l");
}
END_TEST

// A command line is echoed, can be corrected and given up, and none of it reaches the guest.
START_TEST(test_prompt)
{
    type("a\x1d:copz\x7fy b\rc");
    ck_assert_str_eq(commands, "1:1<copy b>");
    ck_assert_str_eq(screen, "corbel> copz\b \by b\r\n");
    ck_assert_str_eq(got_one, "ac");
    commands[0] = 0;
    type("\x1d:\x7fx\x03"
         "d\x1d:y\x1dn");
    ck_assert_str_eq(commands, "1:1:");
    ck_assert_str_eq(got_one, "acdn");
}
END_TEST

// What the guest writes meanwhile comes behind it, and behind what the root has had to say.
START_TEST(test_prompt_is_undisturbed)
{
    put(&one, "~ # ");
    type("\x1d:he");
    put(&one, "news\r\n~ # ");
    put(&two, "unseen");
    console_print(&console, "copy: done\n");
    now += CONSOLE_SILENCE;
    console_poll(&console, now);
    ck_assert_str_eq(screen, "~ # \r\ncorbel> he");
    ck_assert(!console_busy(&console));
    type("lp\r");
    ck_assert_str_eq(commands, "1:1<help>");
    ck_assert_str_eq(screen, "~ # \r\ncorbel> help\r\ncopy: done\r\nnews\r\n~ # ");
    memset(screen, 0, sizeof screen);
    screen_size = 0;
    type("\x1d:");
    put(&one, "more\r\n");
    type("\x03");
    ck_assert_str_eq(screen, "\r\ncorbel> \r\nmore\r\n");
}
END_TEST

START_TEST(test_prompt_is_bounded)
{
    char *long_line = malloc(2 * CONSOLE_COMMAND);
    memset(long_line, 'x', 2 * CONSOLE_COMMAND - 1);
    long_line[2 * CONSOLE_COMMAND - 1] = 0;
    console_prompt(&console);
    type(long_line);
    free(long_line);
    ck_assert_uint_eq(console.command_count, CONSOLE_COMMAND - 1);
    ck_assert(console.prompting);
}
END_TEST

START_TEST(test_backlog_loses_the_oldest)
{
    for (unsigned i = 0; i < CONSOLE_BACKLOG; i++) {
        console_put(&two, 'x');
    }
    put(&two, "end");
    console_next(&console);
    ck_assert_uint_eq(screen_size, CONSOLE_BACKLOG);
    ck_assert_int_eq(strspn(screen, "x"), CONSOLE_BACKLOG - 3);
    ck_assert_str_eq(screen + CONSOLE_BACKLOG - 3, "end");
}
END_TEST

START_TEST(test_slow_terminal)
{
    screen_room = 3;
    put(&one, "abcdef");
    ck_assert_str_eq(screen, "abc");
    ck_assert(console_busy(&console));
    screen_room = 2;
    console_poll(&console, now);
    ck_assert_str_eq(screen, "abcde");
    screen_room = 100;
    put(&one, "g"); // behind what waits
    ck_assert_str_eq(screen, "abcdefg");
    ck_assert(!console_busy(&console));
}
END_TEST

START_TEST(test_dead_terminal)
{
    screen_room = 0;
    for (unsigned i = 0; i < CONSOLE_OUTPUT; i++) {
        console_put(&one, 'x');
    }
    put(&one, "yz");
    ck_assert_uint_eq(console.output_count, CONSOLE_OUTPUT);
    screen_room = sizeof screen - 1;
    console_poll(&console, now);
    ck_assert_uint_eq(screen_size, CONSOLE_OUTPUT);
    ck_assert_int_eq(strspn(screen, "x"), CONSOLE_OUTPUT - 2);
    ck_assert_str_eq(screen + CONSOLE_OUTPUT - 2, "yz");
}
END_TEST

START_TEST(test_guest_that_does_not_read)
{
    char text[CONSOLE_INPUT + 101];
    memset(text, 'k', sizeof text - 1);
    text[sizeof text - 1] = 0;
    one_room = 0;
    type(text);
    ck_assert_uint_eq(keys_start, CONSOLE_INPUT); // the rest waits in the terminal
    ck_assert(console_busy(&console));
    one_room = 4000;
    console_poll(&console, now);
    console_poll(&console, now);
    ck_assert_uint_eq(strlen(got_one), CONSOLE_INPUT + 100);
    ck_assert(!console_busy(&console));
}
END_TEST

START_TEST(test_no_console)
{
    struct console_line none = {.console = NULL};
    console_put(&none, 'x');
    ck_assert_uint_eq(none.backlog_count, 0);
    ck_assert_uint_eq(screen_size, 0);
}
END_TEST

START_TEST(test_print_and_many_lines)
{
    static struct console_line lines[CONSOLE_LINES];
    console_print(&console, "a%u\nb", 7u);
    ck_assert_str_eq(screen, "a7\r\nb");
    for (unsigned i = 2; i < CONSOLE_LINES; i++) {
        ck_assert(console_attach(&console, &lines[i]));
    }
    ck_assert(!console_attach(&console, &lines[0]));
    ck_assert_ptr_null(lines[0].console);
}
END_TEST

// The root's own words do not cut a guest's line, and are not behind a part of one.
START_TEST(test_notes_wait_for_the_line)
{
    put(&one, "ok 1 - it");
    console_print(&console, "memory: %u MiB\n", 256u);
    console_print(&console, "copy: done\n");
    console_poll(&console, now);
    now += CONSOLE_SILENCE - 1;
    console_poll(&console, now);
    ck_assert_str_eq(screen, "ok 1 - it");
    ck_assert(console_busy(&console));
    put(&one, " works\r\nok");
    ck_assert_str_eq(screen, "ok 1 - it works\r\nmemory: 256 MiB\r\ncopy: done\r\nok");
    ck_assert(!console_busy(&console));
    put(&one, "\r\n");
    console_print(&console, "thaw: done\n"); // between lines there is nothing to wait for
    ck_assert_str_eq(screen + screen_size - 16, "ok\r\nthaw: done\r\n");
}
END_TEST

START_TEST(test_notes_wait_for_silence)
{
    put(&one, "~ # ");
    console_poll(&console, now);
    console_print(&console, "copy: done\n");
    now += CONSOLE_SILENCE - 1;
    put(&one, "l"); // which is no silence
    console_poll(&console, now);
    now += CONSOLE_SILENCE - 1;
    console_poll(&console, now);
    ck_assert_str_eq(screen, "~ # l");
    now++;
    console_poll(&console, now);
    ck_assert_str_eq(screen, "~ # l\r\ncopy: done\r\n");
    put(&one, "s\r\n");
    ck_assert_str_eq(screen, "~ # l\r\ncopy: done\r\ns\r\n");
}
END_TEST

// A guest that never ends its line, and is never silent.
START_TEST(test_notes_wait_so_long)
{
    put(&one, "|");
    for (; now < 2 * CONSOLE_PATIENCE; now += CONSOLE_SILENCE / 2) {
        console_poll(&console, now);
        put(&one, "\b/");
    }
    console_print(&console, "copy: done\n");
    console_poll(&console, now);
    const uint64_t until = now + CONSOLE_PATIENCE;
    for (; now < until; now += CONSOLE_SILENCE / 2) {
        put(&one, "\b-");
        console_poll(&console, now);
        ck_assert(console_busy(&console));
    }
    put(&one, "\b|");
    console_poll(&console, now);
    ck_assert(!console_busy(&console));
    ck_assert_str_eq(screen + screen_size - 15, "|\r\ncopy: done\r\n");
}
END_TEST

START_TEST(test_notes_are_bounded_and_whole)
{
    unsigned printed = 0;
    put(&one, "~ # ");
    for (; printed < CONSOLE_NOTES / 16 - 1; printed++) {
        console_print(&console, "%04u.%010u\n", printed, printed);
    }
    ck_assert_uint_eq(screen_size, 4);
    console_print(&console, "the last of them\n"); // for which the others go
    ck_assert_uint_eq(screen_size, 6 + printed * 17);
    console_next(&console);
    ck_assert_str_eq(screen + screen_size - 18, "the last of them\r\n");
    for (unsigned i = 0; i < printed; i++) {
        char line[32];
        snprintf(line, sizeof line, "%04u.%010u\r\n", i, i);
        ck_assert(!memcmp(screen + 6 + i * 17, line, 17));
    }
}
END_TEST

START_TEST(test_without_lines)
{
    memset(&console, 0, sizeof console);
    console.terminal = (struct console_terminal){fake_write, fake_read, 0, 0};
    console.command = fake_command;
    console.entered = fake_entered;
    type("ab\x1dl");
    ck_assert_str_eq(commands, "2l");
    ck_assert_ptr_null(console_focus(&console));
    console_next(&console);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("root_console");
    TCase *tcase = tcase_create("all");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, test_focus);
    tcase_add_test(tcase, test_escape);
    tcase_add_test(tcase, test_prompt);
    tcase_add_test(tcase, test_prompt_is_undisturbed);
    tcase_add_test(tcase, test_prompt_is_bounded);
    tcase_add_test(tcase, test_backlog_loses_the_oldest);
    tcase_add_test(tcase, test_slow_terminal);
    tcase_add_test(tcase, test_dead_terminal);
    tcase_add_test(tcase, test_guest_that_does_not_read);
    tcase_add_test(tcase, test_no_console);
    tcase_add_test(tcase, test_print_and_many_lines);
    tcase_add_test(tcase, test_notes_wait_for_the_line);
    tcase_add_test(tcase, test_notes_wait_for_silence);
    tcase_add_test(tcase, test_notes_wait_so_long);
    tcase_add_test(tcase, test_notes_are_bounded_and_whole);
    tcase_add_test(tcase, test_without_lines);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
