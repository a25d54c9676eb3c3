// SPDX-License-Identifier: BSD-2-Clause-Patent
// corbel.efi: launch the hypervisor beneath the running firmware, then start `next` or return.
#include "boot/loader.h"
#include "boot/text.h"
#include "corbel/x86.h"

#define CONF_FILE L"corbel.conf"

// Present in the configuration tables: Corbel is launched. The table outlives the loader.
static EFI_GUID launched_guid = {
    0x7d2c5a1e, 0x93b4, 0x4f0c, {0x8e, 0x51, 0x6a, 0xc0, 0x3d, 0x17, 0xb2, 0x49}};

struct launched_table {
    uint32_t version; // LAUNCH_VERSION
    uint32_t processors;
};

static struct conf_boot conf;

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);

static bool is_launched(void)
{
    for (UINTN i = 0; i < ST->NumberOfTableEntries; i++)
        if (!CompareGuid(&ST->ConfigurationTable[i].VendorGuid, &launched_guid))
            return true;
    return false;
}

static void mark_launched(uint32_t processors)
{
    struct launched_table *table;
    if (EFI_ERROR(BS->AllocatePool(EfiRuntimeServicesData, sizeof(*table), (void **)&table)))
        return;
    *table = (struct launched_table){LAUNCH_VERSION, processors};
    BS->InstallConfigurationTable(&launched_guid, table);
}

// ---- configuration -----------------------------------------------------------------------------

// The other sections are root.efi's: checked here, so that their faults show before the launch.
static void *open_section(void *context, const struct conf_section *section, const char *name,
                          const char **what)
{
    (void)context, (void)name, (void)what;
    return section == &conf_corbel.sections[CONF_SECTION_BOOT] ? &conf : NULL;
}

static bool refuse_conf(struct reason *reason, const struct conf_error *error, const char *file)
{
    conf_error_format(error, file, reason->text, sizeof(reason->text));
    return false;
}

static bool read_file(EFI_LOADED_IMAGE *self, struct reason *reason)
{
    struct conf_error error;
    char *text;
    size_t size;
    EFI_STATUS status = file_read_beside(self, CONF_FILE, &text, &size);
    if (status == EFI_NOT_FOUND)
        return true;
    if (EFI_ERROR(status))
        return refuse(reason, "corbel.conf: cannot be read (status %lx)", status);
    bool good = conf_parse(text, size, &conf_corbel, open_section, NULL, &error);
    BS->FreePool(text);
    return good || refuse_conf(reason, &error, "corbel.conf");
}

// Boot managers put bytes of their own there, which are no options of ours: only text counts.
static bool read_options(EFI_LOADED_IMAGE *self, struct reason *reason)
{
    static char text[2 * CONF_LINE_SIZE];
    struct conf_error error;
    size_t units = self->LoadOptionsSize / sizeof(uint16_t), length = 0;
    if (!self->LoadOptions || self->LoadOptionsSize % sizeof(uint16_t) ||
        !text_from_utf16(self->LoadOptions, units, text, sizeof(text)))
        return true;
    while (text[length])
        length++;
    return conf_parse_words(text, length, &conf_corbel.sections[CONF_SECTION_BOOT], &conf,
                            &error) ||
           refuse_conf(reason, &error, "options");
}

static bool check_log(struct reason *reason)
{
    uint64_t ports = conf.log & ~(uint64_t)CONF_LOG_E9;
    if (ports & (ports - 1)) {
        conf.log = CONF_LOG_E9;
        return refuse(reason, "corbel.conf: log: more than one COM port");
    }
    return true;
}

// The options are read even where the file is bad: they may name the log, or `next`.
static bool configure(EFI_LOADED_IMAGE *self, struct reason *reason)
{
    struct reason other;
    conf = conf_boot_defaults;
    bool good = read_file(self, reason);
    good &= read_options(self, good ? reason : &other);
    good &= check_log(good ? reason : &other);
    log_open(&conf);
    return good;
}

// ---- launch ------------------------------------------------------------------------------------

static bool may_launch(EFI_LOADED_IMAGE *self, struct reason *reason)
{
    if (!configure(self, reason))
        return false;
    if (!conf.enable)
        return refuse(reason, "disabled by the configuration");
    if (is_launched())
        return refuse(reason, "already launched");
    return true;
}

// EFI_DEVICE_ERROR: some processors are inside the hypervisor and some are not; start nothing more.
static EFI_STATUS launch_or_say_why(EFI_LOADED_IMAGE *self, uint64_t started)
{
    static struct reason reason;
    uint32_t processors;
    bool complete = false;
    if (!may_launch(self, &reason) || !launch(&conf, &complete, &processors, &reason)) {
        log_line("not launched: %s", reason.text);
        return EFI_UNSUPPORTED;
    }
    mark_launched(processors);
    if (!complete) {
        log_line("launched, but reset the machine: %s", reason.text);
        return EFI_DEVICE_ERROR;
    }
    log_line("launched on %u processor%s", processors, processors == 1 ? "" : "s");
    log_line("TSC %lu at the start, %lu now", started, rdtsc());
    return EFI_SUCCESS;
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
    static EFI_GUID loaded_image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
    EFI_LOADED_IMAGE *self;
    uint64_t started = rdtsc();
    InitializeLib(image, system);
    EFI_STATUS status = BS->HandleProtocol(image, &loaded_image_guid, (void **)&self);
    if (EFI_ERROR(status))
        return status;
    status = launch_or_say_why(self, started);
    if (status == EFI_DEVICE_ERROR || !conf.next[0])
        return status;
    return file_start(image, self, conf.next, conf.next_options);
}
