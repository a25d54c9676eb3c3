// SPDX-License-Identifier: BSD-2-Clause-Patent
// corbel.conf as the root sees it: contract in config.h.
#include "root/config.h"

#include "boot/text.h"
#include "root/cpugroups.h"
#include "root/efi.h"
#include "root/files.h"
#include "root/lib/mem.h"
#include "root/log.h"
#include "root/vm.h"

#define CONF_NAME    "corbel.conf"
#define CONF_DEFAULT "\\EFI\\BOOT\\" CONF_NAME

struct console *consoles[CONF_COM_PORTS + 1];
uint32_t console_count;

static void *allocate(uint64_t size)
{
    void *memory;

    if (EFI_ERROR(efi_system->BootServices->AllocatePool(EfiLoaderData, size, &memory))) {
        return NULL;
    }
    return memset(memory, 0, size);
}

// ---- the file ----------------------------------------------------------------------------------

static bool name_taken(const char *name)
{
    for (uint32_t i = 0; i < vm_count; i++) {
        if (!memcmp(vms[i]->conf.name, name, CONF_NAME_SIZE)) {
            return true;
        }
    }
    return false;
}

static void *open_vm(const char *name, const char **what)
{
    char padded[CONF_NAME_SIZE] = {0};
    struct vm *vm;

    text_format(padded, sizeof padded, "%s", name);
    if (name_taken(padded)) {
        *what = "there is a VM of this name already";
        return NULL;
    }
    if (vm_count == VM_MAX) {
        *what = "too many VMs";
        return NULL;
    }
    vm = allocate(sizeof *vm);
    if (!vm) {
        *what = "not enough memory for another VM";
        return NULL;
    }
    vm->conf = conf_vm_defaults;
    memcpy(vm->conf.name, padded, sizeof padded);
    vms[vm_count++] = vm;
    return &vm->conf;
}

static void *open_section(void *context, const struct conf_section *section, const char *name,
                          const char **what)
{
    struct config *config = context;

    if (section == &conf_corbel.sections[CONF_SECTION_BOOT]) {
        return &config->boot;
    }
    if (section == &conf_corbel.sections[CONF_SECTION_ROOT]) {
        return &config->root;
    }
    if (section == &conf_corbel.sections[CONF_SECTION_GROUP]) {
        return cpugroups_open(name, what);
    }
    return open_vm(name, what);
}

bool config_read(struct config *config)
{
    char path[CONF_PATH_SIZE + sizeof CONF_NAME] = "", line[256];
    struct file file;
    struct conf_error error;

    config->boot = conf_boot_defaults;
    config->root = conf_root_defaults;
    if (file_own_folder(path, CONF_PATH_SIZE)) {
        uint64_t used = 0;
        while (path[used]) {
            used++;
        }
        text_format(path + used, sizeof path - used, CONF_NAME);
    }
    if (!file_exists(path)) {
        text_format(path, sizeof path, "%s", CONF_DEFAULT);
    }
    if (!file_load("", path, &file)) {
        return false;
    }
    if (!conf_parse((const char *)file.bytes, file.size, &conf_corbel, open_section, config,
                    &error)) {
        conf_error_format(&error, CONF_NAME, line, sizeof line);
        root_fail("%s", line);
        return false;
    }
    if (vm_count == 0) {
        root_fail("%s: no [vm NAME] section: nothing to run", CONF_NAME);
    }
    return vm_count != 0;
}

// ---- consoles ----------------------------------------------------------------------------------

// COM port 1..4, or 0 for the firmware's console; opened once.
static struct console *open_console(const struct config *config, uint64_t port)
{
    static struct console *by_port[CONF_COM_PORTS + 1];
    struct console *console = by_port[port];

    if (console) {
        return console;
    }
    console = allocate(sizeof *console);
    if (!console) {
        return NULL;
    }
    if (port) {
        const struct conf_serial *serial = &config->boot.com[port - 1];
        terminal_uart(&console->terminal, (uint16_t)serial->port, (uint16_t)serial->divisor,
                      (uint8_t)serial->line_control);
    } else {
        terminal_firmware(&console->terminal);
    }
    by_port[port] = console;
    consoles[console_count++] = console;
    return console;
}

bool config_consoles(const struct config *config,
                     void (*command)(struct console *console, struct console_line *line,
                                     uint8_t key),
                     void (*entered)(struct console *console, struct console_line *line,
                                     char *text))
{
    for (uint32_t i = 0; i < vm_count; i++) {
        const uint64_t chosen = vms[i]->conf.console;
        if (chosen == CONF_CONSOLE_NONE) {
            continue;
        }
        struct console *console =
            open_console(config, chosen == CONF_CONSOLE_ROOT ? config->root.console : chosen);
        if (!console) {
            root_fail("vm %s: no memory for its console", vms[i]->conf.name);
            return false;
        }
        console->command = command;
        console->entered = entered;
        if (!console_attach(console, &vms[i]->line)) {
            root_fail("vm %s: too many VMs on its console", vms[i]->conf.name);
            return false;
        }
    }
    return true;
}
