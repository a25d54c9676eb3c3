// SPDX-License-Identifier: BSD-2-Clause-Patent
// The verbs about processors: contract in verb.h.
#include <stddef.h>

#include "boot/text.h"
#include "hv/corbel.h"
#include "hv/partition.h"
#include "root/calls.h"
#include "root/lib/lpset.h"
#include "root/lib/mem.h"
#include "root/verb.h"
#include "root/vm.h"

enum { GUID_TEXT = 37, LPS_TEXT = 512, PERCENT = 100 };

// As the tool writes it: an error of the hypervisor as a Windows status code.
static void failed(const struct verb_call *call, uint16_t status)
{
    console_print(call->console, "Failed with error 0xc035%04x\n", (unsigned)status);
}

static void report(const struct verb_call *call, const char *what, uint16_t status)
{
    if (status == HV_STATUS_SUCCESS) {
        console_print(call->console, "vm %s: %s is set\n", call->vm->conf.name, what);
    } else {
        failed(call, status);
    }
}

// ---- weight, cap, reserve -----------------------------------------------------------------------

void verb_weight(const struct verb_call *call)
{
    uint64_t weight;

    if (verb_number_of(call, 0, HV_CPU_WEIGHT_MAX, &weight)) {
        report(call, "the weight",
               call_set_property(&call->vm->account, HV_PARTITION_PROPERTY_CPU_WEIGHT, weight));
    }
}

void verb_cap(const struct verb_call *call)
{
    uint64_t percent;

    if (verb_number_of(call, 0, PERCENT, &percent)) {
        report(call, "the cap",
               call_set_property(&call->vm->account, HV_PARTITION_PROPERTY_CPU_CAP,
                                 percent * HV_CPU_FULL / PERCENT));
    }
}

void verb_reserve(const struct verb_call *call)
{
    uint64_t percent;

    if (verb_number_of(call, 0, PERCENT, &percent)) {
        report(call, "the reserve",
               call_set_property(&call->vm->account, HV_PARTITION_PROPERTY_CPU_RESERVE,
                                 percent * HV_CPU_FULL / PERCENT));
    }
}

// ---- ids ----------------------------------------------------------------------------------------

// Ids are numbers here; as GUIDs they are the last digits.
static const char *guid(uint64_t id, char text[GUID_TEXT])
{
    text_format(text, GUID_TEXT, "00000000-0000-0000-%04x-%04x%08x", (unsigned)(id >> 48),
                (unsigned)(id >> 32 & 0xffff), (unsigned)id);
    return text;
}

// What stands behind the name in "/GroupId:..."; names may be left out.
static const char *value_of(const char *text)
{
    const char *c = text;

    while (*text == '/' && *c && *c != ':') {
        c++;
    }
    return *c == ':' ? c + 1 : text;
}

static bool hex_digit(char c, uint64_t *digit)
{
    if (c >= '0' && c <= '9') {
        *digit = (uint64_t)(c - '0');
    } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
        *digit = (uint64_t)((c | 0x20) - 'a' + 10);
    } else {
        return false;
    }
    return true;
}

static bool guid_id(const char *text, uint64_t *id)
{
    uint64_t digit;
    bool dashes = false;

    *id = 0;
    for (; *text; text++) {
        dashes |= *text == '-';
        if (*text == '-') {
            continue;
        }
        if (*id >> 60 || !hex_digit(*text, &digit)) {
            return false;
        }
        *id = *id << 4 | digit;
    }
    return dashes;
}

// A number or a GUID.
static bool id_of(const struct verb_call *call, unsigned argument, uint64_t *id)
{
    const char *text = value_of(call->argument[argument]);

    if (verb_number(text, UINT32_MAX, id) || guid_id(text, id)) {
        return true;
    }
    console_print(call->console, "\"%s\" is no id of a CPU group\n", text);
    return false;
}

static struct vm *vm_of(const struct verb_call *call, unsigned argument)
{
    const char *name = value_of(call->argument[argument]);

    for (uint32_t i = 0; i < vm_count; i++) {
        if (verb_same(vms[i]->conf.name, name) && vm_running(vms[i])) {
            return vms[i];
        }
    }
    console_print(call->console, "no VM \"%s\" runs\n", name);
    return NULL;
}

// ---- the tool's commands ------------------------------------------------------------------------

static uint64_t of_lp(uint32_t lp, uint64_t what)
{
    uint64_t value = 0;

    call_get_lp(lp, what, &value);
    return value;
}

static void get_cpu_topology(const struct verb_call *call)
{
    uint64_t node;

    console_print(call->console, "LpIndex NodeNumber PackageId CoreId RootVpIndex\n"
                                 "------- ---------- --------- ------ -----------\n");
    for (uint32_t lp = 0; call_get_lp(lp, HV_LP_NODE, &node) == HV_STATUS_SUCCESS; lp++) {
        const uint64_t root = of_lp(lp, HV_LP_ROOT_VP);
        char root_text[12];
        text_format(root_text, sizeof root_text, "%u", (unsigned)root);
        console_print(call->console, "%7u %10lu %9lu %6lu %11s\n", lp, node,
                      of_lp(lp, HV_LP_PACKAGE), of_lp(lp, HV_LP_CORE),
                      root == HV_LP_NO_ROOT_VP ? "-1" : root_text);
    }
}

static void print_group(const struct verb_call *call, uint64_t id)
{
    uint64_t cap = 0, lps[LPSET_WORDS] = {0};
    char text[LPS_TEXT], guid_text[GUID_TEXT];

    call_get_cpu_group((uint32_t)id, HV_CPU_GROUP_CAP, &cap);
    for (uint32_t i = 0; i < LPSET_WORDS; i++) {
        call_get_cpu_group((uint32_t)id, HV_CPU_GROUP_LPS_0 + i, &lps[i]);
    }
    lpset_format(lps, text, sizeof text);
    console_print(call->console, "%s %6lu %s\n", guid(id, guid_text), cap, text);
}

static bool next_group(uint64_t *id)
{
    return call_get_cpu_group((uint32_t)*id, HV_CPU_GROUP_NEXT, id) == HV_STATUS_SUCCESS && *id;
}

static void get_groups(const struct verb_call *call)
{
    uint64_t only = 0;

    if (call->argument[1][0] && !id_of(call, 1, &only)) {
        return;
    }
    console_print(call->console, "CpuGroupId                           CpuCap LpIndexes\n"
                                 "------------------------------------ ------ ---------\n");
    for (uint64_t id = 0; next_group(&id);) {
        if (!only || id == only) {
            print_group(call, id);
        }
    }
}

static void set_group(const struct verb_call *call, uint64_t id, uint64_t cap, const uint64_t *lps)
{
    struct hv_corbel_cpu_group value = {.id = (uint32_t)id, .cap = (uint32_t)cap};
    uint16_t status;

    if (lps) {
        memcpy(value.lps, lps, sizeof value.lps);
    }
    status = call_set_cpu_group(&value);
    if (status != HV_STATUS_SUCCESS) {
        failed(call, status);
    }
}

// One that is there keeps its cap, and gets other LPs.
static void create_group(const struct verb_call *call)
{
    uint64_t id, cap, lps[LPSET_WORDS];

    if (!id_of(call, 1, &id)) {
        return;
    }
    if (!lpset_parse(value_of(call->argument[2]), lps)) {
        console_print(call->console, "\"%s\" is no list of processors\n", call->argument[2]);
        return;
    }
    call_get_cpu_group((uint32_t)id, HV_CPU_GROUP_CAP, &cap);
    set_group(call, id, cap ? cap : HV_CPU_FULL, lps);
}

static bool group_exists(const struct verb_call *call, uint64_t id)
{
    uint64_t cap;
    uint16_t status = call_get_cpu_group((uint32_t)id, HV_CPU_GROUP_CAP, &cap);

    if (status != HV_STATUS_SUCCESS) {
        failed(call, status);
    }
    return status == HV_STATUS_SUCCESS;
}

static void set_group_property(const struct verb_call *call)
{
    uint64_t id, cap;

    if (!id_of(call, 1, &id) || !group_exists(call, id)) {
        return;
    }
    if (verb_number(value_of(call->argument[2]), HV_CPU_FULL, &cap)) {
        set_group(call, id, cap, NULL);
    } else {
        console_print(call->console, "\"%s\" is no cap up to %u\n", call->argument[2], HV_CPU_FULL);
    }
}

static void delete_group(const struct verb_call *call)
{
    uint64_t id;

    if (id_of(call, 1, &id)) {
        set_group(call, id, HV_CPU_GROUP_GONE, NULL);
    }
}

static uint64_t group_of(const struct vm *vm)
{
    uint64_t id = 0;

    call_get_property(vm->account.partition, HV_PARTITION_PROPERTY_CPU_GROUP_ID, &id);
    return id;
}

static void set_vm_group(const struct verb_call *call)
{
    struct vm *vm = vm_of(call, 1);
    uint64_t id;
    uint16_t status;

    if (!vm || !id_of(call, 2, &id)) {
        return;
    }
    status = call_set_property(&vm->account, HV_PARTITION_PROPERTY_CPU_GROUP_ID, id);
    if (status != HV_STATUS_SUCCESS) {
        failed(call, status);
    }
}

static void get_vm_group(const struct verb_call *call)
{
    const struct vm *only = NULL;
    char vm_text[GUID_TEXT], group_text[GUID_TEXT];

    if (call->argument[1][0] && !(only = vm_of(call, 1))) {
        return;
    }
    console_print(call->console, "VmName VmId                                 CpuGroupId\n"
                                 "------ ------------------------------------ "
                                 "------------------------------------\n");
    for (uint32_t i = 0; i < vm_count; i++) {
        if (vm_running(vms[i]) && (!only || vms[i] == only)) {
            console_print(call->console, "%6s %s %s\n", vms[i]->conf.name,
                          guid(vms[i]->account.partition, vm_text),
                          guid(group_of(vms[i]), group_text));
        }
    }
}

static void print_members(const struct verb_call *call, uint64_t id)
{
    char vm_text[GUID_TEXT], group_text[GUID_TEXT];

    for (uint32_t i = 0; i < vm_count; i++) {
        if (vm_running(vms[i]) && group_of(vms[i]) == id) {
            console_print(call->console, "%s %6s %s\n", guid(id, group_text), vms[i]->conf.name,
                          guid(vms[i]->account.partition, vm_text));
        }
    }
}

static void get_group_vms(const struct verb_call *call)
{
    uint64_t only = 0;

    if (call->argument[1][0] && !id_of(call, 1, &only)) {
        return;
    }
    console_print(call->console, "CpuGroupId                           VmName VmId\n"
                                 "------------------------------------ ------ "
                                 "------------------------------------\n");
    for (uint64_t id = 0; next_group(&id);) {
        if (!only || id == only) {
            print_members(call, id);
        }
    }
}

static const struct {
    const char *name;
    unsigned arguments; // at least
    void (*run)(const struct verb_call *call);
    const char *text;
} commands[] = {
    {"GetCpuTopology", 0, get_cpu_topology, ""},
    {"GetGroups", 0, get_groups, "[GROUP]"},
    {"CreateGroup", 2, create_group, "GROUP LPS"},
    {"SetGroupProperty", 2, set_group_property, "GROUP CAP: of 65536"},
    {"DeleteGroup", 1, delete_group, "GROUP: has to be empty"},
    {"SetVmGroup", 2, set_vm_group, "VM GROUP: 0 for none"},
    {"GetVmGroup", 0, get_vm_group, "[VM]"},
    {"GetGroupVms", 0, get_group_vms, "[GROUP]"},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

void verb_cpugroups(const struct verb_call *call)
{
    for (unsigned i = 0; i < COMMANDS; i++) {
        if (verb_same(call->argument[0], commands[i].name) &&
            (!commands[i].arguments || call->argument[commands[i].arguments][0])) {
            commands[i].run(call);
            return;
        }
    }
    for (unsigned i = 0; i < COMMANDS; i++) {
        console_print(call->console, "  cpugroups %s %s\n", commands[i].name, commands[i].text);
    }
}
