// SPDX-License-Identifier: BSD-2-Clause-Patent
// The command line: which verb is meant, with what arguments, and what is refused.
#include "root/verbs.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "root/balloon.h"
#include "root/devices.h"
#include "root/services.h"
#include "root/sockets.h"
#include "root/verb.h"
#include "root/vm.h"

static struct vm vm;
static struct console_line line = {.ctx = &vm};
static struct console console;
static char done[256], printed[4096];

static void did(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(done, sizeof done, format, arguments);
    va_end(arguments);
}

void console_print(struct console *at, const char *format, ...)
{
    (void)at;
    strncat(printed, format, sizeof printed - strlen(printed) - 1);
}

void bus_wake_all(void)
{
}

uint64_t bus_now(const struct vm *of)
{
    ck_assert_ptr_eq(of, &vm);
    return 1234;
}

struct services *devices_services(struct vm *of)
{
    return (struct services *)of->devices;
}

struct balloon *devices_balloon(struct vm *of)
{
    return (struct balloon *)of->devices;
}

struct sockets *devices_sockets(struct vm *of)
{
    return (struct sockets *)of->devices;
}

void services_keys(struct services *s, struct console *c, enum kvp_pool pool)
{
    (void)s, (void)c;
    did("keys %d", (int)pool);
}

void services_set_key(struct services *s, struct console *c, const char *key, const char *value)
{
    (void)s, (void)c;
    did("set %s=%s", key, value ? value : "(none)");
}

void services_copy(struct services *s, struct console *c, const char *path, const char *folder)
{
    (void)s, (void)c;
    did("copy %s to %s", path, folder);
}

void services_freeze(struct services *s, struct console *c)
{
    (void)s, (void)c;
    did("freeze");
}

void services_thaw(struct services *s, struct console *c)
{
    (void)s, (void)c;
    did("thaw");
}

void balloon_resize(struct balloon *b, struct console *c, uint64_t mib)
{
    (void)b, (void)c;
    did("memory %lu", mib);
}

void sockets_send(struct sockets *s, struct console *c, uint32_t port, const char *text,
                  uint64_t now)
{
    (void)s, (void)c;
    did("send %u %s at %lu", port, text, now);
}

const char *devices_add_disk(struct vm *of, uint32_t unit, const char *path)
{
    (void)of;
    did("add %u %s", unit, path);
    return NULL;
}

const char *devices_remove_disk(struct vm *of, uint32_t unit)
{
    (void)of;
    did("remove %u", unit);
    return "there is no such disk";
}

const char *devices_grow_disk(struct vm *of, uint32_t unit, uint64_t mib)
{
    (void)of;
    did("grow %u %lu", unit, mib);
    return NULL;
}

void verb_weight(const struct verb_call *call)
{
    did("weight %s", call->argument[0]);
}

void verb_cap(const struct verb_call *call)
{
    did("cap %s", call->argument[0]);
}

void verb_reserve(const struct verb_call *call)
{
    did("reserve %s", call->argument[0]);
}

void verb_cpugroups(const struct verb_call *call)
{
    did("cpugroups %s,%s,%s", call->argument[0], call->argument[1], call->argument[2]);
}

static void setup(void)
{
    memset(&vm, 0, sizeof vm);
    vm.account.partition = 5;
    vm.devices = (struct devices *)&vm; // only its address is passed on
    printed[0] = done[0] = 0;
}

static void enter(const char *text)
{
    char copy[CONSOLE_COMMAND];

    snprintf(copy, sizeof copy, "%s", text);
    done[0] = printed[0] = 0;
    verbs_run(&console, &line, copy);
}

START_TEST(test_verbs)
{
    static const struct {
        const char *text, *done;
    } rows[] = {
        {"copy \\a.txt /tmp", "copy \\a.txt to /tmp"},
        {"  copy   a   /tmp/a folder", "copy a to /tmp/a folder"},
        {"freeze", "freeze"},
        {"thaw ", "thaw"},
        {"keys 4", "keys 4"},
        {"set greeting hello there", "set greeting=hello there"},
        {"unset greeting", "set greeting=(none)"},
        {"memory 1048576", "memory 1048576"},
        {"send 4294967295 a  line ", "send 4294967295 a  line  at 1234"},
        {"add-disk 3 \\b.vhdx", "add 3 \\b.vhdx"},
        {"remove-disk 4", "remove 4"},
        {"grow-disk 0 24", "grow 0 24"},
        {"weight 200", "weight 200"},
        {"cap 50", "cap 50"},
        {"reserve 10", "reserve 10"},
        {"cpugroups", "cpugroups ,,"},
        {"cpugroups one two three", "cpugroups one,two,three"},
    };

    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enter(rows[i].text);
        ck_assert_str_eq(done, rows[i].done);
    }
}
END_TEST

START_TEST(test_refused)
{
    static const char *const rows[] = {
        "",
        "copies a b",
        "copy",
        "copy a",
        "keys 5",
        "keys -1",
        "keys 1x",
        "keys",
        "memory 1048577",
        "memory ",
        "send 4294967296 x",
        "send 7",
        "add-disk 5 a",
        "grow-disk 0",
        "set key",
        "memory 99999999999999999999",
        "weight",
        "cap ",
    };

    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enter(rows[i]);
        ck_assert_msg(!done[0], "\"%s\" did %s", rows[i], done);
        ck_assert_msg(printed[0], "\"%s\" says nothing", rows[i]);
    }
}
END_TEST

START_TEST(test_no_vm)
{
    char text[] = "freeze";

    vm.account.partition = 0;
    enter("freeze");
    ck_assert_str_eq(done, "");
    vm.account.partition = 5;
    vm.devices = NULL;
    enter("freeze");
    ck_assert_str_eq(done, "");
    enter("weight 1"); // needs no bus
    ck_assert_str_eq(done, "weight 1");
    done[0] = 0;
    verbs_run(&console, NULL, text);
    ck_assert_str_eq(done, "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("root_verbs");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, test_verbs);
    tcase_add_test(tcase, test_refused);
    tcase_add_test(tcase, test_no_vm);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
