// SPDX-License-Identifier: BSD-2-Clause-Patent
// Configuration: corbel.conf and UEFI load options. Pure code shared by corbel.efi and root.efi; no
// allocation, no UEFI types, input of any bytes. The language and the keys are in docs/boot.md.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONF_MAX_TEXT  0x40000u // bytes of a file
#define CONF_MAX_KEYS  64u      // keys of one section
#define CONF_NAME_SIZE 32u      // NAME of [vm NAME], with its NUL
#define CONF_PATH_SIZE 256u
#define CONF_LINE_SIZE 2048u // a command line
#define CONF_COM_PORTS 4u
#define CONF_DISKS     4u
#define CONF_NETS      2u

// How a value is read, and what is stored at conf_key.offset.
enum conf_type {
    CONF_NUMBER,  // uint64_t: one of the words, or decimal or 0x number in [min, max]
    CONF_WORDS,   // uint64_t: the OR of one or more of the words
    CONF_STRING,  // char[max], NUL-terminated; at least min bytes without the NUL
    CONF_SERIAL,  // struct conf_serial: BAUD[,DPS[,PORT]]
    CONF_IGNORED, // nothing: accepted for other loaders' sake
    CONF_TYPE_COUNT
};

struct conf_word {
    const char *word; // lower case; values are compared without regard to case
    uint64_t value;
};

struct conf_key {
    const char *name;
    enum conf_type type;
    uint64_t min; // min > max: words only
    uint64_t max;
    const struct conf_word *words; // ended by a NULL word; NULL: none
    size_t offset;                 // in the section's struct
};

struct conf_section {
    const char *name; // "": keys before the first section header
    bool has_name;    // [vm NAME]: may come more than once
    const struct conf_key *keys;
    size_t key_count; // up to CONF_MAX_KEYS
};

struct conf_schema {
    const struct conf_section *sections;
    size_t section_count; // up to 32
};

struct conf_error {
    unsigned line;    // 1 up; 0: not in a file
    char key[32];     // the key, section or word at fault, perhaps cut; may be empty
    const char *what; // static text
};

// Called at the start of every section that occurs (the global one always, first). `name` is the
// NAME of [vm NAME], else "". Returns where the section's values go, a struct laid out as the
// schema says and already holding the defaults; NULL: check the values and drop them. To refuse the
// section, set *what to a static text.
typedef void *conf_open(void *context, const struct conf_section *section, const char *name,
                        const char **what);

// Parse a whole file. The first error ends it: false and *error filled; values stored before stay.
bool conf_parse(const char *text, size_t len, const struct conf_schema *schema, conf_open *open,
                void *context, struct conf_error *error);

// Parse load options, `key=value key="value with blanks"`, into one section's struct. A first word
// without '=' is the program's or a module's name and is skipped. False: *error filled, line 0.
bool conf_parse_words(const char *text, size_t len, const struct conf_section *section, void *out,
                      struct conf_error *error);

// Write "FILE:LINE: KEY: WHAT" (parts that are absent left out) to buffer, cut to fit,
// NUL-terminated.
void conf_error_format(const struct conf_error *error, const char *file, char *buffer, size_t size);

// ---- what corbel.conf holds (boot/conf_keys.c) ------------------------------------------------

struct conf_serial {
    uint32_t port;         // I/O port
    uint32_t divisor;      // of 115200 Hz
    uint32_t line_control; // LCR
};

// 1..4: COM1..COM4.
enum conf_console {
    CONF_CONSOLE_NONE = 0, // of a VM: none; of the root: UEFI's own console
    CONF_CONSOLE_ROOT = 5  // of a VM: the root's
};
enum conf_lazy { CONF_LAZY_NO, CONF_LAZY_4K, CONF_LAZY_2M };
enum conf_exit { CONF_EXIT_STAY, CONF_EXIT_LAST, CONF_EXIT_POWEROFF };

#define CONF_LOG_E9     (1u << 0)
#define CONF_LOG_COM(n) (1u << (n)) // n = 1..4

#define CONF_MANAGEMENT_AUTO 2u
#define CONF_NO_FAIL_LP      0xffffffffu

struct conf_boot {
    uint64_t enable;
    uint64_t log;       // CONF_LOG_*
    uint64_t memory;    // MiB; 0: auto
    uint64_t rootproc;  // 0: all
    uint64_t scheduler; // 0 default, 1 classic without SMT, 2 classic, 3 core, 4 root
    uint64_t x2apic;    // 0 default, 1 enable, 2 disable
    uint64_t
        management; // 1: the root may create partitions; CONF_MANAGEMENT_AUTO: if it is root.efi
    uint64_t fail_lp;
    uint64_t trace; // which partition each processor runs when is kept in memory
    struct conf_serial com[CONF_COM_PORTS];
    char next[CONF_PATH_SIZE];
    char next_options[CONF_LINE_SIZE];
};

struct conf_root {
    uint64_t console; // COM port of the firmware's machine that shows the console; 0: UEFI's own
    uint64_t exit;    // enum conf_exit: when the last VM has ended
    char
        uplink[CONF_NAME_SIZE]; // the switch that the machine's network card is put on; empty: none
};

struct conf_vm {
    uint64_t vps;
    uint64_t memory;     // MiB
    uint64_t memory_max; // MiB it may be made while it runs; less than memory: as much as that
    uint64_t console;    // the machine's port that carries the VM's COM1, enum conf_console
    uint64_t lazy;       // enum conf_lazy: in which pages RAM is mapped when it is first touched
    uint64_t vmbus;      // whether the VM has a VMBus
    uint64_t weight;     // of each processor, 1 to 10000
    uint64_t cap;        // of each processor, percent of an LP; 100: none
    uint64_t reserve;    // likewise; 0: none
    uint64_t threads;    // of a core, that its processors are; 0: as many as the machine's
    char name[CONF_NAME_SIZE];
    char disk[CONF_DISKS][CONF_PATH_SIZE]; // images; empty: none
    char cd[CONF_PATH_SIZE];
    char net[CONF_NETS][CONF_NAME_SIZE];  // names of switches
    char vlan[CONF_NETS][CONF_PATH_SIZE]; // of the ports there (root/lib/vlan.h); empty: none
    char group[CONF_NAME_SIZE];           // name of a CPU group; empty: none
    char kernel[CONF_PATH_SIZE];
    char initrd[CONF_PATH_SIZE];
    char cmdline[CONF_LINE_SIZE];
};

// A CPU group: VMs that share a part of some LPs' time.
struct conf_group {
    uint64_t cap; // percent
    char name[CONF_NAME_SIZE];
    char lps[CONF_PATH_SIZE]; // root/lib/lpset.h; empty: all
};

enum conf_section_index {
    CONF_SECTION_BOOT,
    CONF_SECTION_ROOT,
    CONF_SECTION_VM,
    CONF_SECTION_GROUP
};

// All of corbel.conf: sections in the order of enum conf_section_index.
extern const struct conf_schema conf_corbel;

extern const struct conf_boot conf_boot_defaults;
extern const struct conf_root conf_root_defaults;
extern const struct conf_group conf_group_defaults;
extern const struct conf_vm conf_vm_defaults; // name and kernel empty
