// SPDX-License-Identifier: BSD-2-Clause-Patent
// The keys of corbel.conf. docs/boot.md says what each means.
#include "boot/conf.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define WORDS_ONLY   .min = 1, .max = 0

static const struct conf_word bool_words[] = {
    {"yes", 1}, {"no", 0}, {"true", 1}, {"false", 0}, {"on", 1},
    {"off", 0}, {"1", 1},  {"0", 0},    {NULL, 0},
};

static const struct conf_word log_words[] = {
    {"none", 0},
    {"e9", CONF_LOG_E9},
    {"com1", CONF_LOG_COM(1)},
    {"com2", CONF_LOG_COM(2)},
    {"com3", CONF_LOG_COM(3)},
    {"com4", CONF_LOG_COM(4)},
    {NULL, 0},
};

static const struct conf_word auto_words[] = {{"auto", 0}, {NULL, 0}};
static const struct conf_word none_words[] = {{"none", CONF_NO_FAIL_LP}, {NULL, 0}};

// The numbers are those of the launch event (hypervisor launch event id 2).
static const struct conf_word scheduler_words[] = {
    {"default", 0}, {"classic-nosmt", 1}, {"classic", 2}, {"core", 3}, {"root", 4}, {NULL, 0},
};

static const struct conf_word x2apic_words[] = {
    {"default", 0},
    {"enable", 1},
    {"disable", 2},
    {NULL, 0},
};

static const struct conf_word management_words[] = {
    {"auto", CONF_MANAGEMENT_AUTO},
    {"no", 0},
    {"yes", 1},
    {NULL, 0},
};

static const struct conf_word console_words[] = {
    {"none", CONF_CONSOLE_NONE}, {"com1", 1}, {"com2", 2}, {"com3", 3}, {"com4", 4}, {NULL, 0},
};

static const struct conf_word vm_console_words[] = {
    {"none", CONF_CONSOLE_NONE}, {"com1", 1}, {"com2", 2}, {"com3", 3}, {"com4", 4},
    {"root", CONF_CONSOLE_ROOT}, {NULL, 0},
};

static const struct conf_word lazy_words[] = {
    {"no", CONF_LAZY_NO},
    {"4k", CONF_LAZY_4K},
    {"2m", CONF_LAZY_2M},
    {"yes", CONF_LAZY_2M},
    {NULL, 0},
};

static const struct conf_word exit_words[] = {
    {"stay", CONF_EXIT_STAY},
    {"last", CONF_EXIT_LAST},
    {"poweroff", CONF_EXIT_POWEROFF},
    {NULL, 0},
};

#define BOOT(field) .offset = offsetof(struct conf_boot, field)
static const struct conf_key boot_keys[] = {
    {"enable", CONF_NUMBER, WORDS_ONLY, .words = bool_words, BOOT(enable)},
    {"next", CONF_STRING, 0, CONF_PATH_SIZE, BOOT(next)},
    {"next-options", CONF_STRING, 0, CONF_LINE_SIZE, BOOT(next_options)},
    {"log", CONF_WORDS, .words = log_words, BOOT(log)},
    {"com1", CONF_SERIAL, BOOT(com[0])},
    {"com2", CONF_SERIAL, BOOT(com[1])},
    {"com3", CONF_SERIAL, BOOT(com[2])},
    {"com4", CONF_SERIAL, BOOT(com[3])},
    {"memory", CONF_NUMBER, 4, 1u << 20, auto_words, BOOT(memory)},
    {"rootproc", CONF_NUMBER, 1, 256, auto_words, BOOT(rootproc)},
    {"scheduler", CONF_NUMBER, 0, 4, scheduler_words, BOOT(scheduler)},
    {"trace", CONF_NUMBER, WORDS_ONLY, .words = bool_words, BOOT(trace)},
    {"x2apic", CONF_NUMBER, WORDS_ONLY, .words = x2apic_words, BOOT(x2apic)},
    {"management", CONF_NUMBER, WORDS_ONLY, .words = management_words, BOOT(management)},
    {"fail-lp", CONF_NUMBER, 0, 255, none_words, BOOT(fail_lp)},
    // The vendor's loader.
    {"MSHV_ENABLE", CONF_NUMBER, WORDS_ONLY, .words = bool_words, BOOT(enable)},
    {"MSHV_SCHEDULER_TYPE", CONF_NUMBER, 0, 4, scheduler_words, BOOT(scheduler)},
    {"MSHV_X2APIC_POLICY", CONF_NUMBER, WORDS_ONLY, .words = x2apic_words, BOOT(x2apic)},
    {"MSHV_ROOT", CONF_IGNORED, .offset = 0},
    {"MSHV_LOAD_OPTION", CONF_IGNORED, .offset = 0},
    {"LXHVLOADER_DEBUG", CONF_IGNORED, .offset = 0},
};

#define ROOT(field) .offset = offsetof(struct conf_root, field)
static const struct conf_key root_keys[] = {
    {"console", CONF_NUMBER, WORDS_ONLY, .words = console_words, ROOT(console)},
    {"exit", CONF_NUMBER, WORDS_ONLY, .words = exit_words, ROOT(exit)},
    {"uplink", CONF_STRING, 1, CONF_NAME_SIZE, ROOT(uplink)},
};

#define VM(field) .offset = offsetof(struct conf_vm, field)
static const struct conf_key vm_keys[] = {
    {"kernel", CONF_STRING, 1, CONF_PATH_SIZE, VM(kernel)},
    {"initrd", CONF_STRING, 0, CONF_PATH_SIZE, VM(initrd)},
    {"cmdline", CONF_STRING, 0, CONF_LINE_SIZE, VM(cmdline)},
    {"vps", CONF_NUMBER, 1, 256, NULL, VM(vps)},
    {"memory", CONF_NUMBER, 1, 1u << 20, NULL, VM(memory)},
    {"memory-max", CONF_NUMBER, 1, 1u << 20, NULL, VM(memory_max)},
    {"weight", CONF_NUMBER, 1, 10000, NULL, VM(weight)},
    {"cap", CONF_NUMBER, 1, 100, NULL, VM(cap)},
    {"reserve", CONF_NUMBER, 0, 100, NULL, VM(reserve)},
    {"threads", CONF_NUMBER, 0, 2, NULL, VM(threads)},
    {"cpugroup", CONF_STRING, 1, CONF_NAME_SIZE, VM(group)},
    {"console", CONF_NUMBER, WORDS_ONLY, .words = vm_console_words, VM(console)},
    {"lazy", CONF_NUMBER, WORDS_ONLY, .words = lazy_words, VM(lazy)},
    {"vmbus", CONF_NUMBER, WORDS_ONLY, .words = bool_words, VM(vmbus)},
    {"disk", CONF_STRING, 1, CONF_PATH_SIZE, VM(disk[0])},
    {"disk2", CONF_STRING, 1, CONF_PATH_SIZE, VM(disk[1])},
    {"disk3", CONF_STRING, 1, CONF_PATH_SIZE, VM(disk[2])},
    {"disk4", CONF_STRING, 1, CONF_PATH_SIZE, VM(disk[3])},
    {"cd", CONF_STRING, 1, CONF_PATH_SIZE, VM(cd)},
    {"net", CONF_STRING, 1, CONF_NAME_SIZE, VM(net[0])},
    {"net2", CONF_STRING, 1, CONF_NAME_SIZE, VM(net[1])},
    {"vlan", CONF_STRING, 1, CONF_PATH_SIZE, VM(vlan[0])},
    {"vlan2", CONF_STRING, 1, CONF_PATH_SIZE, VM(vlan[1])},
};

#define GROUP(field) .offset = offsetof(struct conf_group, field)
static const struct conf_key group_keys[] = {
    {"cap", CONF_NUMBER, 1, 100, NULL, GROUP(cap)},
    {"lps", CONF_STRING, 1, CONF_PATH_SIZE, GROUP(lps)},
};

static const struct conf_section sections[] = {
    [CONF_SECTION_BOOT] = {"", false, boot_keys, COUNT(boot_keys)},
    [CONF_SECTION_ROOT] = {"root", false, root_keys, COUNT(root_keys)},
    [CONF_SECTION_VM] = {"vm", true, vm_keys, COUNT(vm_keys)},
    [CONF_SECTION_GROUP] = {"cpugroup", true, group_keys, COUNT(group_keys)},
};

const struct conf_schema conf_corbel = {sections, COUNT(sections)};

const struct conf_boot conf_boot_defaults = {
    .enable = 1,
    .management = CONF_MANAGEMENT_AUTO,
    .log = CONF_LOG_E9,
    .fail_lp = CONF_NO_FAIL_LP,
    .com = {{0x3f8, 1, 3}, {0x2f8, 1, 3}, {0x3e8, 1, 3}, {0x2e8, 1, 3}},
};

const struct conf_root conf_root_defaults = {.console = CONF_CONSOLE_NONE, .exit = CONF_EXIT_STAY};

const struct conf_group conf_group_defaults = {.cap = 100};

const struct conf_vm conf_vm_defaults = {.vps = 1,
                                         .memory = 256,
                                         .weight = 100,
                                         .cap = 100,
                                         .console = CONF_CONSOLE_ROOT,
                                         .lazy = CONF_LAZY_NO,
                                         .vmbus = 1};
