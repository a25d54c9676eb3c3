// SPDX-License-Identifier: BSD-2-Clause-Patent
// Any bytes as corbel.conf and as load options. Values that come out must be inside their limits.
#include "boot/conf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct parsed {
    struct conf_boot boot;
    struct conf_root root;
    struct conf_group group;
    struct conf_vm vm;
};

static void *open_any(void *context, const struct conf_section *section, const char *name,
                      const char **what)
{
    struct parsed *p = context;
    if (strlen(name) >= CONF_NAME_SIZE)
        abort();
    if (!strcmp(name, "refused"))
        *what = "refused";
    if (section == &conf_corbel.sections[CONF_SECTION_BOOT])
        return &p->boot;
    if (section == &conf_corbel.sections[CONF_SECTION_GROUP])
        return &p->group;
    if (section == &conf_corbel.sections[CONF_SECTION_ROOT])
        return &p->root;
    return name[0] == 'x' ? NULL : (void *)&p->vm;
}

static void check_boot(const struct conf_boot *boot)
{
    if (boot->enable > 1 || boot->scheduler > 4 || boot->x2apic > 2 || boot->log > 0x1f ||
        boot->memory > 1u << 20 || memchr(boot->next, 0, sizeof(boot->next)) == NULL ||
        memchr(boot->next_options, 0, sizeof(boot->next_options)) == NULL)
        abort();
    for (size_t i = 0; i < CONF_COM_PORTS; i++)
        if (!boot->com[i].divisor || boot->com[i].line_control > 0x3f || boot->com[i].port > 0xfff8)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct parsed p;
    struct conf_error error;
    char text[128];
    p.boot = conf_boot_defaults;
    p.root = conf_root_defaults;
    p.vm = conf_vm_defaults;
    if (!conf_parse((const char *)data, size, &conf_corbel, open_any, &p, &error)) {
        if (!error.what || !error.line)
            abort();
        conf_error_format(&error, "corbel.conf", text, sizeof(text));
    }
    check_boot(&p.boot);
    if (p.vm.vps < 1 || p.vm.vps > 256 || p.vm.memory < 1 || p.vm.console > CONF_CONSOLE_ROOT)
        abort();
    if (!conf_parse_words((const char *)data, size, &conf_corbel.sections[CONF_SECTION_BOOT],
                          &p.boot, &error) &&
        !error.what)
        abort();
    check_boot(&p.boot);
    return 0;
}
