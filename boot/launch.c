// SPDX-License-Identifier: BSD-2-Clause-Patent
// The launch itself: what include/corbel/launch.h asks of the loader, in its order.
#include "boot/image.h"
#include "boot/loader.h"
#include "boot/minroot.h"
#include "boot/offsets.h"
#include "boot/segment.h"
#include "boot/space.h"
#include "corbel/layout.h"
#include "corbel/topology.h"
#include "corbel/x86.h"

// Microseconds in which the firmware wants the other processors back. The hypervisor's own
// rendezvous gives up much sooner, and rolls back those that came.
#define JOIN_TIMEOUT  20000000u
#define CHECK_TIMEOUT 20000000u
#define NO_LP         UINT32_MAX

struct launch_jump {
    uint64_t trampoline; // where to jump
    uint64_t cr3;
    uint64_t stack;
    uint64_t entry;
    uint64_t info; // direct-map address
    uint64_t context;
};

#define CHECK_JUMP(name, field)                                                                    \
    static_assert(JUMP_##name == offsetof(struct launch_jump, field), #field)
CHECK_JUMP(TRAMPOLINE, trampoline);
CHECK_JUMP(CR3, cr3);
CHECK_JUMP(STACK, stack);
CHECK_JUMP(ENTRY, entry);
CHECK_JUMP(INFO, info);
CHECK_JUMP(CONTEXT, context);
#define CHECK_CONTEXT(name, field)                                                                 \
    static_assert(CONTEXT_##name == offsetof(struct launch_context, field), #field)
CHECK_CONTEXT(STATUS, status);
CHECK_CONTEXT(RIP, rip);
CHECK_CONTEXT(RSP, rsp);
CHECK_CONTEXT(RFLAGS, rflags);
CHECK_CONTEXT(CR0, cr0);
CHECK_CONTEXT(CR3, cr3);
CHECK_CONTEXT(CR4, cr4);
CHECK_CONTEXT(ES, es);
CHECK_CONTEXT(CS, cs);
CHECK_CONTEXT(SS, ss);
CHECK_CONTEXT(DS, ds);
CHECK_CONTEXT(FS, fs);
CHECK_CONTEXT(GS, gs);
CHECK_CONTEXT(LDTR, ldtr);
CHECK_CONTEXT(TR, tr);
CHECK_CONTEXT(GDTR, gdtr);
CHECK_CONTEXT(IDTR, idtr);
static_assert(SEGMENT_SELECTOR == offsetof(struct launch_segment, selector), "selector");
static_assert(TABLE_BASE == offsetof(struct launch_table, base), "table base");
static_assert(OFFSETS_DIRECT_BASE == HV_DIRECT_BASE, "direct map");

// boot/image.S, boot/capture.S
extern const uint8_t embedded_image[] __attribute__((visibility("hidden")));
extern const uint8_t embedded_image_end[] __attribute__((visibility("hidden")));
extern const struct trampoline_header trampoline __attribute__((visibility("hidden")));
uint32_t launch_capture(struct launch_context *context, const struct launch_jump *jump)
    __attribute__((visibility("hidden")));

static const char *const status_texts[LAUNCH_STATUS_COUNT] = {
    [LAUNCH_OK] = "no error",
    [LAUNCH_NO_SVM] = "no SVM",
    [LAUNCH_NO_NPT] = "SVM without nested paging",
    [LAUNCH_SVM_DISABLED] = "SVM is disabled by the firmware",
    [LAUNCH_SVM_IN_USE] = "SVM is in use by another hypervisor",
    [LAUNCH_ENTRY_FAILED] = "the processor refused the captured state",
    [LAUNCH_PEER_FAILED] = "another processor failed",
    [LAUNCH_TIMEOUT] = "a processor did not arrive in time",
    [LAUNCH_NO_MEMORY] = "not enough memory for the hypervisor's pool",
    [LAUNCH_FAULT_INJECTED] = "fault injected by fail-lp",
    [LAUNCH_NO_VENDOR] = "neither AMD nor Intel virtualization",
    [LAUNCH_NO_VMX] = "no VMX",
    [LAUNCH_VMX_DISABLED] = "VMX is disabled by the firmware",
    [LAUNCH_VMX_IN_USE] = "VMX is in use already",
    [LAUNCH_VMX_LACKING] = "the processor lacks a VMX capability (the log names it)",
};

// Read by all processors, written by the boot processor before it starts them.
static struct {
    struct image image;
    struct launch_info *info;
    struct launch_context *contexts;
    uint32_t boot_lp;
    bool inside[LAUNCH_MAX_LPS]; // each processor writes its own
} machine;

static const char *status_text(uint32_t status)
{
    if (status == LAUNCH_PENDING)
        return "did not run the launch";
    return status < LAUNCH_STATUS_COUNT ? status_texts[status] : "unknown status";
}

// ---- one processor (any) -----------------------------------------------------------------------

#define READ_SELECTOR(name)                                                                        \
    static uint16_t read_##name(void)                                                              \
    {                                                                                              \
        uint16_t value;                                                                            \
        __asm__ volatile("mov %%" #name ", %0" : "=r"(value));                                     \
        return value;                                                                              \
    }
READ_SELECTOR(es)
READ_SELECTOR(cs)
READ_SELECTOR(ss)
READ_SELECTOR(ds)
READ_SELECTOR(fs)
READ_SELECTOR(gs)

static void capture_segments(struct launch_context *context)
{
    struct launch_table gdt;
    uint16_t ldtr, tr;
    __asm__ volatile("sgdt %0" : "=m"(gdt));
    __asm__ volatile("sldt %0" : "=r"(ldtr));
    __asm__ volatile("str %0" : "=r"(tr));
    const uint8_t *table = (const uint8_t *)gdt.base;
    context->ldtr = segment_decode(table, gdt.limit, ldtr, true);
    context->tr = segment_decode(table, gdt.limit, tr, true);
    const struct {
        struct launch_segment *segment;
        uint16_t selector;
    } list[] = {
        {&context->es, read_es()}, {&context->cs, read_cs()}, {&context->ss, read_ss()},
        {&context->ds, read_ds()}, {&context->fs, read_fs()}, {&context->gs, read_gs()},
    };
    for (unsigned i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        bool local = list[i].selector & 4;
        *list[i].segment =
            segment_decode(local ? (const uint8_t *)context->ldtr.base : table,
                           local ? context->ldtr.limit : gdt.limit, list[i].selector, false);
    }
    context->fs.base = rdmsr(MSR_FS_BASE);
    context->gs.base = rdmsr(MSR_GS_BASE);
}

// Enter the hypervisor; returns its verdict. On any but LAUNCH_OK the processor is as it was.
static uint32_t launch_processor(uint32_t lp, uint32_t phase)
{
    struct launch_context *context = &machine.contexts[lp];
    const struct launch_jump jump = {
        .trampoline = (uint64_t)&trampoline + trampoline.enter_offset,
        .cr3 = machine.info->hv_cr3,
        .stack = space_stack_top(lp),
        .entry = machine.image.entry,
        .info = HV_DIRECT_BASE + (uint64_t)machine.info,
        .context = HV_DIRECT_BASE + (uint64_t)context,
    };
    uint64_t efer = rdmsr(MSR_EFER);
    *context = (struct launch_context){.lp_index = lp, .phase = phase, .status = LAUNCH_PENDING};
    capture_segments(context);
    // The hypervisor's tables use the no-execute bit.
    if (!(efer & EFER_NXE))
        wrmsr(MSR_EFER, efer | EFER_NXE);
    uint32_t status = launch_capture(context, &jump);
    if (!(efer & EFER_NXE) && (status != LAUNCH_OK || phase == LAUNCH_TRIAL))
        wrmsr(MSR_EFER, efer);
    return status;
}

static uint32_t own_lp(void)
{
    uint32_t apic_id = smp_apic_id();
    for (uint32_t lp = 0; lp < machine.info->lp_count; lp++)
        if (machine.info->lps[lp].apic_id == apic_id)
            return lp;
    return NO_LP;
}

static void EFIAPI join_procedure(void *argument)
{
    (void)argument;
    uint32_t lp = own_lp();
    if (lp != NO_LP)
        launch_processor(lp, LAUNCH_JOIN);
}

static bool is_inside(void)
{
    if (!(cpuid(1, 0).ecx >> 31))
        return false;
    struct cpuid_regs r = cpuid(0x40000000, 0);
    return r.ebx == 0x7263694d && r.ecx == 0x666f736f && r.edx == 0x76482074; // "Microsoft Hv"
}

static void EFIAPI check_procedure(void *lps)
{
    uint32_t apic_id = smp_apic_id();
    for (uint32_t lp = 0; lp < LAUNCH_MAX_LPS; lp++)
        if (((const struct launch_lp *)lps)[lp].apic_id == apic_id)
            machine.inside[lp] = is_inside();
}

// ---- the phases (boot processor) ---------------------------------------------------------------

// A failed processor that explains the others, else any that failed; NO_LP: none.
static uint32_t find_failed(void)
{
    uint32_t found = NO_LP;
    for (uint32_t lp = 0; lp < machine.info->lp_count; lp++) {
        uint32_t status = machine.contexts[lp].status;
        if (status == LAUNCH_OK || lp == machine.boot_lp)
            continue;
        if (status != LAUNCH_PEER_FAILED && status != LAUNCH_TIMEOUT)
            return lp;
        if (found == NO_LP)
            found = lp;
    }
    return found;
}

static bool join_others(struct reason *reason)
{
    if (!machine.info->join_count)
        return true;
    for (uint32_t lp = 0; lp < machine.info->lp_count; lp++)
        machine.contexts[lp].status = LAUNCH_PENDING;
    EFI_STATUS status = smp_run_on_others(join_procedure, NULL, JOIN_TIMEOUT);
    uint32_t lp = find_failed();
    if (lp != NO_LP)
        return refuse(reason, "processor %u: %s", lp, status_text(machine.contexts[lp].status));
    if (EFI_ERROR(status))
        return refuse(reason, "the firmware could not run all processors (status %lx)", status);
    return true;
}

// Whether a processor may still be inside the block after a failure.
static bool block_is_in_use(void)
{
    for (uint32_t lp = 0; lp < machine.info->lp_count; lp++) {
        uint32_t status = machine.contexts[lp].status;
        if (lp != machine.boot_lp && (status == LAUNCH_OK || status == LAUNCH_PENDING))
            return true;
    }
    return false;
}

static bool try_boot_processor(struct reason *reason)
{
    uint32_t status = launch_processor(machine.boot_lp, LAUNCH_TRIAL);
    if (status != LAUNCH_OK)
        return refuse(reason, "processor %u: %s", machine.boot_lp, status_text(status));
    return true;
}

// Ask every processor for the signature: by INIT and SIPI, which are virtual by now.
static bool check_all(const struct launch_lp *lps, uint32_t lp_count, struct reason *reason)
{
    machine.inside[machine.boot_lp] = is_inside();
    EFI_STATUS status =
        lp_count > 1 ? smp_run_on_others(check_procedure, (void *)lps, CHECK_TIMEOUT) : EFI_SUCCESS;
    for (uint32_t lp = 0; lp < lp_count; lp++)
        if (!machine.inside[lp])
            return refuse(reason, "processor %u runs outside the hypervisor", lp);
    if (EFI_ERROR(status))
        return refuse(reason, "the processors do not come back (status %lx)", status);
    return true;
}

// ---- preparation -------------------------------------------------------------------------------

static void fill_log(struct launch_info *info, const struct conf_boot *conf)
{
    info->log_targets = conf->log & CONF_LOG_E9 ? LAUNCH_LOG_E9 : 0;
    for (unsigned i = 0; i < CONF_COM_PORTS; i++) {
        if (!(conf->log & CONF_LOG_COM(i + 1)))
            continue;
        info->log_targets |= LAUNCH_LOG_COM;
        info->com_port = conf->com[i].port;
        info->com_divisor = conf->com[i].divisor;
        info->com_line_control = conf->com[i].line_control;
    }
}

static void native_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
    struct cpuid_regs r = cpuid(leaf, subleaf);
    regs[0] = r.eax;
    regs[1] = r.ebx;
    regs[2] = r.ecx;
    regs[3] = r.edx;
}

// An operating system that finds itself able to create partitions may expect more of a root's
// interface than there is yet, so only root.efi gets that privilege unasked.
static bool may_manage(const struct conf_boot *conf)
{
    static const char name[] = "root.efi";
    size_t length = 0;

    if (conf->management != CONF_MANAGEMENT_AUTO)
        return conf->management;
    while (conf->next[length])
        length++;
    if (length < sizeof(name) - 1)
        return false;
    for (size_t i = 0; i < sizeof(name) - 1; i++)
        if ((conf->next[length - sizeof(name) + 1 + i] | 0x20) != (name[i] | 0x20))
            return false;
    return true;
}

static uint32_t rootproc(const struct conf_boot *conf, uint32_t lp_count)
{
    return conf->rootproc && conf->rootproc < lp_count ? (uint32_t)conf->rootproc : lp_count;
}

// Packages are taken for NUMA nodes, as the hypervisor does.
static void choose_root_vps(const struct conf_boot *conf, struct launch_lp *lps, uint32_t lp_count)
{
    static uint32_t nodes[LAUNCH_MAX_LPS];
    struct topology topology;

    topology_read(native_cpuid, &topology);
    for (uint32_t i = 0; i < lp_count; i++)
        nodes[i] = topology_place(&topology, lps[i].apic_id).id[SCHED_NEAR_NODE];
    minroot_choose(lps, nodes, lp_count, machine.boot_lp, rootproc(conf, lp_count));
}

static bool fill_info(struct launch_info *info, const struct conf_boot *conf,
                      const struct launch_lp *lps, struct reason *reason)
{
    fill_log(info, conf);
    info->join_count = info->lp_count - 1;
    info->scheduler_type = (uint32_t)conf->scheduler;
    info->x2apic_policy = (uint32_t)conf->x2apic;
    info->fail_lp = (uint32_t)conf->fail_lp;
    info->rootproc = rootproc(conf, info->lp_count);
    info->root_management = may_manage(conf);
    for (uint32_t lp = 0; lp < info->lp_count; lp++)
        info->lps[lp] = lps[lp];
    info->rsdp_pa = acpi_rsdp();
    info->tsc_hz = tsc_frequency(info->rsdp_pa);
    // Once more: the block is no longer among it.
    if (!memory_ram(info->ram, &info->ram_count))
        return refuse(reason, "the memory map is in more than %u pieces", LAUNCH_MAX_RANGES);
    return true;
}

// RAM of the machine in bytes, for the size of the pool.
static uint64_t ram_bytes(void)
{
    static struct launch_range ranges[LAUNCH_MAX_RANGES];
    uint32_t count;
    uint64_t bytes = 0;
    memory_ram(ranges, &count);
    for (uint32_t i = 0; i < count; i++)
        bytes += ranges[i].size;
    return bytes;
}

static bool make_block(const struct conf_boot *conf, uint32_t lp_count, struct reason *reason)
{
    struct space_plan plan;
    const struct space_request request = {
        .image = &machine.image,
        .lp_count = lp_count,
        .levels = read_cr4() & CR4_LA57 ? 5 : 4,
        .memory = conf->memory << 20,
        .ram_bytes = ram_bytes(),
        .contexts_pa = (uint64_t)machine.contexts,
        .trampoline_pa = (uint64_t)&trampoline,
        .apic_pa = rdmsr(MSR_APIC_BASE) & 0x000ffffffffff000ul,
    };
    if (!space_plan(&request, &plan))
        return refuse(reason, "not enough memory: %lu MiB are too few for %u processors",
                      conf->memory, lp_count);
    uint64_t block = memory_alloc_block(plan.size);
    if (!block)
        return refuse(reason, "not enough memory: no %lu MiB in one piece", plan.size >> 20);
    machine.info = space_build(&request, &plan, (void *)block, block);
    if (machine.info)
        return true;
    memory_free_block(block, plan.size);
    return refuse(reason, "the hypervisor's address space does not fit");
}

static void free_block(void)
{
    memory_free_block(machine.info->block.base, machine.info->block.size);
}

// The trial and the joining. False: no processor is inside, the block is free again.
static bool enter_all(struct reason *reason)
{
    if (!try_boot_processor(reason)) {
        free_block();
        return false;
    }
    if (!join_others(reason)) {
        if (!block_is_in_use())
            free_block();
        return false;
    }
    return true;
}

static bool launch_with_contexts(const struct conf_boot *conf, const struct launch_lp *lps,
                                 uint32_t lp_count, bool *complete, struct reason *reason)
{
    if (!make_block(conf, lp_count, reason))
        return false;
    if (!fill_info(machine.info, conf, lps, reason)) {
        free_block();
        return false;
    }
    if (!enter_all(reason))
        return false;
    uint32_t status = launch_processor(machine.boot_lp, LAUNCH_STAY);
    if (status == LAUNCH_OK) {
        // The block is out of reach now: nothing may touch machine.info.
        acpi_hide_processors(acpi_rsdp(), lps, lp_count, rootproc(conf, lp_count));
        *complete = check_all(lps, lp_count, reason);
        return true;
    }
    refuse(reason, "processor %u: %s", machine.boot_lp, status_text(status));
    if (lp_count > 1)
        return true; // the others are inside for good
    free_block();
    return false;
}

bool launch(const struct conf_boot *conf, bool *complete, uint32_t *processors,
            struct reason *reason)
{
    static struct launch_lp lps[LAUNCH_MAX_LPS];
    EFI_PHYSICAL_ADDRESS contexts;
    const char *what =
        image_parse(embedded_image, (size_t)(embedded_image_end - embedded_image), &machine.image);
    if (what)
        return refuse(reason, "the hypervisor's image: %s", what);
    if (!smp_collect(lps, processors, &machine.boot_lp, reason))
        return false;
    // Entries that are not filled must not be taken for APIC id 0.
    for (uint32_t lp = *processors; lp < LAUNCH_MAX_LPS; lp++)
        lps[lp].apic_id = NO_LP;
    choose_root_vps(conf, lps, *processors);
    uint64_t pages = space_context_pages(*processors);
    if (EFI_ERROR(BS->AllocatePages(AllocateAnyPages, EfiLoaderData, pages, &contexts)))
        return refuse(reason, "not enough memory: no page");
    machine.contexts = (struct launch_context *)contexts;
    bool launched = launch_with_contexts(conf, lps, *processors, complete, reason);
    BS->FreePages(contexts, pages);
    return launched;
}
