// SPDX-License-Identifier: BSD-2-Clause-Patent
// The configuration parser: language, every value type, every error, load options.
#include "boot/conf.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

struct parsed {
    struct conf_boot boot;
    struct conf_root root;
    struct conf_group group;
    struct conf_vm vm[4];
    size_t vms;
    bool drop;
    struct conf_error error;
};

static void *open_any(void *context, const struct conf_section *section, const char *name,
                      const char **what)
{
    struct parsed *p = context;
    if (p->drop)
        return NULL;
    if (section == &conf_corbel.sections[CONF_SECTION_BOOT])
        return &p->boot;
    if (section == &conf_corbel.sections[CONF_SECTION_ROOT])
        return &p->root;
    if (section == &conf_corbel.sections[CONF_SECTION_GROUP]) {
        p->group = conf_group_defaults;
        strcpy(p->group.name, name);
        return &p->group;
    }
    if (p->vms == 4) {
        *what = "too many";
        return NULL;
    }
    p->vm[p->vms] = conf_vm_defaults;
    strcpy(p->vm[p->vms].name, name);
    return &p->vm[p->vms++];
}

static struct parsed out;

// The text is copied to an allocation of its exact size, so that the sanitizer sees over-reads.
static bool parse_bytes(const char *text, size_t len)
{
    char *copy = malloc(len ? len : 1);
    memcpy(copy, text, len);
    bool drop = out.drop;
    memset(&out, 0, sizeof(out));
    out.drop = drop;
    out.boot = conf_boot_defaults;
    out.root = conf_root_defaults;
    bool good = conf_parse(copy, len, &conf_corbel, open_any, &out, &out.error);
    free(copy);
    return good;
}

static bool parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

static bool words(const char *text)
{
    size_t len = strlen(text);
    char *copy = malloc(len ? len : 1);
    memcpy(copy, text, len);
    out.boot = conf_boot_defaults;
    bool good = conf_parse_words(copy, len, &conf_corbel.sections[CONF_SECTION_BOOT], &out.boot,
                                 &out.error);
    free(copy);
    return good;
}

START_TEST(test_whole_file)
{
    const char *text = "\xef\xbb\xbf# Corbel\r\n"
                       "log = e9 com2\r\n"
                       "com2 = 57600,7e2,0x3e8\r\n"
                       "\tnext=\\EFI\\debian\\grubx64.efi   # what comes after\n"
                       "next-options = \"a  # b\"\n"
                       "memory = 64\n"
                       "rootproc = 2\nscheduler = core\nx2apic = disable\nfail-lp = 3\n"
                       "\n[root]\nexit = poweroff\nconsole = com1\n"
                       "[vm one]\nkernel = vmlinuz\ncmdline = console=ttyS0 a=b#c\nvps = 2\nweight "
                       "= 400\ncap = 50\nreserve = 25\ncpugroup = b\n"
                       "[cpugroup b]\ncap = 40\nlps = 4-7,9\n"
                       "[ vm  two.x-y_z ]\nkernel = k\nmemory = 0x200\ninitrd = i\nconsole = none\n"
                       "lazy = 4k";
    ck_assert_msg(parse(text), "line %u %s", out.error.line, out.error.what);
    ck_assert_uint_eq(out.boot.log, CONF_LOG_E9 | CONF_LOG_COM(2));
    ck_assert_uint_eq(out.boot.com[1].divisor, 2);
    ck_assert_uint_eq(out.boot.com[1].line_control, 2 | 4 | 0x18);
    ck_assert_uint_eq(out.boot.com[1].port, 0x3e8);
    ck_assert_str_eq(out.boot.next, "\\EFI\\debian\\grubx64.efi");
    ck_assert_str_eq(out.boot.next_options, "a  # b");
    ck_assert_uint_eq(out.boot.memory, 64);
    ck_assert_uint_eq(out.boot.rootproc, 2);
    ck_assert_uint_eq(out.boot.scheduler, 3);
    ck_assert_uint_eq(out.boot.x2apic, 2);
    ck_assert_uint_eq(out.boot.fail_lp, 3);
    ck_assert_uint_eq(out.boot.enable, 1);
    ck_assert_uint_eq(out.root.exit, CONF_EXIT_POWEROFF);
    ck_assert_uint_eq(out.root.console, 1);
    ck_assert_uint_eq(out.vms, 2);
    ck_assert_str_eq(out.vm[0].name, "one");
    ck_assert_str_eq(out.vm[0].cmdline, "console=ttyS0 a=b#c");
    ck_assert_uint_eq(out.vm[0].vps, 2);
    ck_assert_uint_eq(out.vm[0].weight, 400);
    ck_assert_str_eq(out.vm[0].group, "b");
    ck_assert_str_eq(out.group.name, "b");
    ck_assert_uint_eq(out.group.cap, 40);
    ck_assert_str_eq(out.group.lps, "4-7,9");
    ck_assert_uint_eq(out.vm[0].cap, 50);
    ck_assert_uint_eq(out.vm[0].reserve, 25);
    ck_assert_uint_eq(out.vm[1].weight, 100);
    ck_assert_uint_eq(out.vm[1].cap, 100);
    ck_assert_uint_eq(out.vm[1].reserve, 0);
    ck_assert_uint_eq(out.vm[0].memory, 256);
    ck_assert_uint_eq(out.vm[0].console, CONF_CONSOLE_ROOT);
    ck_assert_str_eq(out.vm[1].name, "two.x-y_z");
    ck_assert_uint_eq(out.vm[1].memory, 512);
    ck_assert_str_eq(out.vm[1].initrd, "i");
    ck_assert_uint_eq(out.vm[1].console, CONF_CONSOLE_NONE);
    ck_assert_uint_eq(out.vm[0].lazy, CONF_LAZY_NO);
    ck_assert_uint_eq(out.vm[1].lazy, CONF_LAZY_4K);
}
END_TEST

START_TEST(test_defaults)
{
    ck_assert(parse(""));
    ck_assert(!memcmp(&out.boot, &conf_boot_defaults, sizeof(out.boot)));
    ck_assert(parse("\n\n   \n#x\n  # y"));
    ck_assert(parse("memory = auto\nfail-lp = NONE\nrootproc = Auto\nlog = none\ncom1 = 9600\n"));
    ck_assert_uint_eq(out.boot.memory, 0);
    ck_assert_uint_eq(out.boot.log, 0);
    ck_assert_uint_eq(out.boot.fail_lp, CONF_NO_FAIL_LP);
    ck_assert_uint_eq(out.boot.com[0].divisor, 12);
    ck_assert_uint_eq(out.boot.com[0].line_control, 3);
    ck_assert_uint_eq(out.boot.com[0].port, 0x3f8);
    ck_assert(parse("next-options = dyndbg=\"file x # +p\" quiet # comment\n"));
    ck_assert_str_eq(out.boot.next_options, "dyndbg=\"file x # +p\" quiet");
    ck_assert(parse("next-options = \"\"\n"));
    ck_assert_str_eq(out.boot.next_options, "");
    ck_assert(parse("com1 = ,5s1\n"));
    ck_assert_uint_eq(out.boot.com[0].line_control, 0x38);
    ck_assert_uint_eq(out.boot.com[0].divisor, 1);
    ck_assert_uint_eq(out.root.exit, CONF_EXIT_STAY);
    ck_assert(parse("[root]\nexit = last"));
    ck_assert_uint_eq(out.root.exit, CONF_EXIT_LAST);
}
END_TEST

static const struct {
    const char *text;
    unsigned line;
    const char *key;
    const char *what;
} bad[] = {
    {"nonsense = 1", 1, "nonsense", "unknown key"},
    {"\n\nNext = x", 3, "Next", "unknown key"},
    {"= 1", 1, "", "unknown key"},
    {"memory", 1, "memory", "line is not key = value"},
    {"memory = ", 1, "memory", "not a number"},
    {"memory = 12x", 1, "memory", "not a number"},
    {"memory = -1", 1, "memory", "not a number"},
    {"memory = 0x", 1, "memory", "not a number"},
    {"memory = 99999999999999999999", 1, "memory", "not a number"},
    {"memory = 18446744073709551616", 1, "memory", "not a number"},
    {"memory = 3", 1, "memory", "out of range"},
    {"memory = 1048577", 1, "memory", "out of range"},
    {"# a\nmemory = 8\r\nmemory = 8\n", 3, "memory", "given twice"},
    {"fail-lp = 256", 1, "fail-lp", "out of range"},
    {"scheduler = 5", 1, "scheduler", "out of range"},
    {"scheduler = fair", 1, "scheduler", "not a number"},
    {"enable = maybe", 1, "enable", "not one of the known words"},
    {"enable = 2", 1, "enable", "not one of the known words"},
    {"log = e9 lpt1", 1, "log", "not one of the known words"},
    {"log = e9,com1", 1, "log", "not one of the known words"},
    {"com1 = 115201", 1, "com1", "not a speed that divides 115200"},
    {"com1 = 0", 1, "com1", "not a speed that divides 115200"},
    {"com1 = 1", 1, "com1", "not a speed that divides 115200"},
    {"com1 = 9600,9n1", 1, "com1", "framing is not like 8n1"},
    {"com1 = 9600,8x1", 1, "com1", "framing is not like 8n1"},
    {"com1 = 9600,8n", 1, "com1", "framing is not like 8n1"},
    {"com1 = 9600,8n1,0x3f9", 1, "com1", "not an I/O port of a UART"},
    {"com1 = 9600,8n1,0x10000", 1, "com1", "not an I/O port of a UART"},
    {"com1 = 9600,8n1,0x3f8,x", 1, "com1", "wants BAUD[,DPS[,PORT]]"},
    {"next = \"a\" b", 1, "next", "quotes do not enclose the value"},
    {"next = \"a", 1, "next", "quotes do not enclose the value"},
    {"next = \"", 1, "next", "quotes do not enclose the value"},
    {"next = a\x01", 1, "", "control character"},
    {"[disk]", 1, "[disk]", "unknown section"},
    {"[]", 1, "[]", "unknown section"},
    {"[", 1, "[", "section without ]"},
    {"[root", 1, "[root", "section without ]"},
    {"[root x]", 1, "[root x]", "takes no name"},
    {"[root]\n[root]", 2, "", "section given twice"},
    {"[vm]", 1, "[vm]", "wants a name: letters, digits, - _ ."},
    {"[vm a b]", 1, "[vm a b]", "wants a name: letters, digits, - _ ."},
    {"[vm a/b]", 1, "[vm a/b]", "wants a name: letters, digits, - _ ."},
    {"[vm a2345678901234567890123456789012]", 1, "[vm a23456789012345678901234567",
     "wants a name: letters, digits, - _ ."},
    {"[vm a]\nkernel =", 2, "kernel", "empty"},
    {"[vm a]\nvps = 0", 2, "vps", "out of range"},
    {"[cpugroup a]\ncap = 0", 2, "cap", "out of range"},
    {"[vm a]\nweight = 10001", 2, "weight", "out of range"},
    {"[vm a]\ncap = 0", 2, "cap", "out of range"},
    {"[vm a]\nreserve = 101", 2, "reserve", "out of range"},
    {"[vm a]\nnext = x", 2, "next", "unknown key"},
    {"[vm a]\n[vm b]\n[vm c]\n[vm d]\n[vm e]", 5, "e", "too many"},
    {"\xff\xfe#\0", 1, "", "UTF-16 text: save it as UTF-8"},
    {"\xfe\xff", 1, "", "UTF-16 text: save it as UTF-8"},
    {"[root]\nexit = 1", 2, "exit", "not one of the known words"},
};

START_TEST(test_errors)
{
    for (int drop = 0; drop < 2; drop++) {
        out.drop = drop;
        ck_assert_msg(!parse(bad[_i].text) || (drop && !strcmp(bad[_i].what, "too many")),
                      "accepted: %s", bad[_i].text);
        if (drop && !strcmp(bad[_i].what, "too many"))
            continue;
        ck_assert_str_eq(out.error.what, bad[_i].what);
        ck_assert_str_eq(out.error.key, bad[_i].key);
        ck_assert_uint_eq(out.error.line, bad[_i].line);
    }
    out.drop = false;
}
END_TEST

START_TEST(test_limits)
{
    static char text[CONF_MAX_TEXT + 2];
    memset(text, '\n', sizeof(text));
    ck_assert(parse_bytes(text, CONF_MAX_TEXT));
    ck_assert(!parse_bytes(text, CONF_MAX_TEXT + 1));
    ck_assert_str_eq(out.error.what, "file is too long");
    memset(text, 'a', sizeof(text));
    memcpy(text, "next=", 5);
    ck_assert(parse_bytes(text, 5 + CONF_PATH_SIZE - 1));
    ck_assert_uint_eq(strlen(out.boot.next), CONF_PATH_SIZE - 1);
    ck_assert(!parse_bytes(text, 5 + CONF_PATH_SIZE));
    ck_assert_str_eq(out.error.what, "too long");
    ck_assert(!parse_bytes("log = e9\0com1", 13));
    ck_assert_str_eq(out.error.what, "control character");
}
END_TEST

START_TEST(test_words)
{
    ck_assert(words(""));
    ck_assert(words("corbel.efi"));
    ck_assert(words("next-options=a=\"b c\" memory=9"));
    ck_assert_str_eq(out.boot.next_options, "a=\"b c\"");
    ck_assert_uint_eq(out.boot.memory, 9);
    ck_assert(words("  lxhvloader.dll MSHV_ROOT=\\\\Windows MSHV_ENABLE=TRUE "
                    "MSHV_SCHEDULER_TYPE=ROOT MSHV_X2APIC_POLICY=ENABLE "
                    "MSHV_LOAD_OPTION=INCLUDETRACEMETADATA=1"));
    ck_assert_uint_eq(out.boot.enable, 1);
    ck_assert_uint_eq(out.boot.scheduler, 4);
    ck_assert_uint_eq(out.boot.x2apic, 1);
    ck_assert(words("MSHV_ENABLE=0 MSHV_SCHEDULER_TYPE=2"));
    ck_assert_uint_eq(out.boot.enable, 0);
    ck_assert_uint_eq(out.boot.scheduler, 2);
    ck_assert(words("log=\"e9 com1\"\tnext-options=\"root=/dev/vda # ro\""));
    ck_assert_uint_eq(out.boot.log, CONF_LOG_E9 | CONF_LOG_COM(1));
    ck_assert_str_eq(out.boot.next_options, "root=/dev/vda # ro");
    ck_assert(!words("MSHV_SEV_SNP=TRUE"));
    ck_assert_str_eq(out.error.what, "unknown key");
    ck_assert_str_eq(out.error.key, "MSHV_SEV_SNP");
    ck_assert_uint_eq(out.error.line, 0);
    ck_assert(!words("memory=8 quiet"));
    ck_assert_str_eq(out.error.what, "option is not key=value");
    ck_assert(!words("next=\"a b"));
    ck_assert_str_eq(out.error.what, "quotes do not enclose the value");
    ck_assert(!words("memory=8 memory=9"));
    ck_assert_str_eq(out.error.what, "given twice");
}
END_TEST

START_TEST(test_format)
{
    struct conf_error error = {.line = 120, .key = "memory", .what = "out of range"};
    char text[64];
    conf_error_format(&error, "corbel.conf", text, sizeof(text));
    ck_assert_str_eq(text, "corbel.conf:120: memory: out of range");
    error.key[0] = 0;
    error.line = 0;
    conf_error_format(&error, "options", text, sizeof(text));
    ck_assert_str_eq(text, "options: out of range");
    conf_error_format(&error, "options", text, 5);
    ck_assert_str_eq(text, "opti");
    text[0] = 'x';
    conf_error_format(&error, "options", text, 0);
    ck_assert_int_eq(text[0], 'x');
}
END_TEST

// A schema that broke the parser's limits would show only as missing checks.
START_TEST(test_schema)
{
    ck_assert_uint_le(conf_corbel.section_count, 32);
    for (size_t i = 0; i < conf_corbel.section_count; i++)
        ck_assert_uint_le(conf_corbel.sections[i].key_count, CONF_MAX_KEYS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conf");
    TCase *tcase = tcase_create("conf");
    tcase_add_test(tcase, test_whole_file);
    tcase_add_test(tcase, test_defaults);
    tcase_add_loop_test(tcase, test_errors, 0, (int)(sizeof(bad) / sizeof(bad[0])));
    tcase_add_test(tcase, test_limits);
    tcase_add_test(tcase, test_words);
    tcase_add_test(tcase, test_format);
    tcase_add_test(tcase, test_schema);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
