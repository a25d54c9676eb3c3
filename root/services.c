// SPDX-License-Identifier: BSD-2-Clause-Patent
// Integration services: contract in services.h.
#include "root/services.h"

#include "boot/text.h"
#include "root/devices.h"
#include "root/files.h"
#include "root/vm.h"

// What was asked for goes out with the next run of the bus.
static void asked(struct console *console, bool done)
{
    if (!done) {
        console_print(console, "the guest cannot do that (now)\n");
    }
    bus_wake_all();
}

// ---- key-value exchange
// --------------------------------------------------------------------------

// Nothing that moves an administrator's cursor.
static void make_plain(char *text)
{
    for (; *text; text++) {
        if ((uint8_t)*text < ' ' || *text == 0x7f) {
            *text = '.';
        }
    }
}

static void print_key(struct console *console, struct kvp_entry *entry)
{
    make_plain(entry->key);
    make_plain(entry->text);
    if (entry->type == KVP_STRING) {
        console_print(console, "  %s = %s\n", entry->key, entry->text);
    } else {
        console_print(console, "  %s = %lu\n", entry->key, entry->number);
    }
}

static void keys_done(void *ctx, struct kvp *kvp, uint32_t status)
{
    struct services *s = ctx;

    if (status != IC_STATUS_OK) {
        console_print(s->keys_to,
                      s->listing && status == IC_STATUS_NO_MORE ? "keys: that is all\n"
                                                                : "keys: status %x\n",
                      status);
    } else if (s->listing) {
        print_key(s->keys_to, &kvp->entry);
        (void)kvp_enumerate(kvp, s->pool, ++s->key);
    } else {
        console_print(s->keys_to, "keys: done\n");
    }
    vm_due_changed = true;
}

void services_keys(struct services *s, struct console *console, enum kvp_pool pool)
{
    const bool idle = ic_idle(&s->kvp.ic);

    if (idle) {
        s->keys_to = console;
        s->pool = pool;
        s->key = 0;
        s->listing = true;
    }
    asked(console, idle && kvp_enumerate(&s->kvp, pool, 0));
}

void services_set_key(struct services *s, struct console *console, const char *key,
                      const char *value)
{
    const bool idle = ic_idle(&s->kvp.ic);

    if (idle) {
        s->keys_to = console;
        s->listing = false;
    }
    asked(console, idle && (value ? kvp_set(&s->kvp, KVP_EXTERNAL, key, value)
                                  : kvp_delete(&s->kvp, KVP_EXTERNAL, key)));
}

// ---- file copy
// -----------------------------------------------------------------------------------

static bool read_file(void *ctx, uint64_t offset, void *data, uint32_t size)
{
    const struct services *s = ctx;

    return file_read_at(s->copy_from, offset, data, size);
}

static void copied(void *ctx, uint32_t status)
{
    struct services *s = ctx;

    file_release(s->copy_from);
    s->copy_from = NULL;
    console_print(s->copy_to, status == IC_STATUS_OK ? "copy: done\n" : "copy: status %x\n",
                  status);
    vm_due_changed = true;
}

// What follows the last separator.
static const char *last_name(const char *path)
{
    const char *name = path;

    for (const char *c = path; *c; c++) {
        if (*c == '\\' || *c == '/') {
            name = c + 1;
        }
    }
    return name;
}

// With a separator at its end, without which Linux's daemon does not make the last folder. False:
// too long.
static bool folder_path(const char *folder, char *path, size_t size)
{
    const char *last = last_name(folder);
    const char separator[2] = {last > folder ? last[-1] : '/', 0};

    return text_format(path, size, "%s%s", folder, *last ? separator : "") < size - 1;
}

void services_copy(struct services *s, struct console *console, const char *path,
                   const char *folder)
{
    struct fcopy_source source = {.ctx = s, .read = read_file, .done = copied};
    const char *why = "a copy is under way";
    char into[FCOPY_PATH_UNITS];
    void *handle = s->copy_from ? NULL : file_try(path, false, &source.size, &why);

    if (!handle) {
        console_print(console, "copy: %s: %s\n", path, why);
        return;
    }
    s->copy_from = handle;
    s->copy_to = console;
    const bool begun =
        folder_path(folder, into, sizeof into) &&
        fcopy_start(&s->fcopy, last_name(path), into, FCOPY_OVERWRITE | FCOPY_CREATE_PATH, &source);
    if (!begun) {
        file_release(handle);
        s->copy_from = NULL;
    }
    asked(console, begun);
}

// ---- backup
// --------------------------------------------------------------------------------------

static void frozen(void *ctx, uint32_t status)
{
    struct services *s = ctx;

    if (status == IC_STATUS_OK) {
        devices_flush(s->vm);
        console_print(s->freeze_to, "freeze: frozen\n");
    } else {
        console_print(s->freeze_to, "freeze: status %x\n", status);
    }
    vm_due_changed = true;
}

static void thawed(void *ctx, uint32_t status)
{
    struct services *s = ctx;

    console_print(s->freeze_to, status == IC_STATUS_OK ? "thaw: done\n" : "thaw: status %x\n",
                  status);
    vm_due_changed = true;
}

void services_freeze(struct services *s, struct console *console)
{
    if (s->vss.state == VSS_IDLE) {
        s->freeze_to = console;
    }
    asked(console, vss_freeze(&s->vss));
}

void services_thaw(struct services *s, struct console *console)
{
    asked(console, vss_thaw(&s->vss));
}

// ---- all
// -----------------------------------------------------------------------------------------

bool services_create(struct services *s, struct vm *vm, struct vmbus_server *server)
{
    s->vm = vm;
    return kvp_create(&s->kvp, server, s, keys_done) && fcopy_create(&s->fcopy, server) &&
           vss_create(&s->vss, server, s, frozen, thawed);
}

void services_list(const struct services *s, struct console *console)
{
    console_print(console, "  keys %s, file copy %s, backup %s\n",
                  s->kvp.ic.state == IC_READY ? "ready" : "off",
                  s->fcopy.ic.state == IC_READY ? "ready" : "off",
                  s->vss.state == VSS_FROZEN    ? "frozen"
                  : s->vss.ic.state == IC_READY ? "ready"
                                                : "off");
}
