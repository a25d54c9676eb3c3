// SPDX-License-Identifier: BSD-2-Clause-Patent
// The hypervisor beneath: contract in hv.h.
#include "root/hv.h"

#include "hv/cpuid.h"
#include "hv/hypercall.h"
#include "hv/msr.h"
#include "hv/synic.h"
#include "hv/time.h"
#include "root/cpu.h"
#include "root/efi.h"
#include "root/log.h"

enum {
    WAKE_VECTOR = 0x50,
    SIGNAL_VECTOR,
    VECTORS = 2,
    GATE_PRESENT_INTERRUPT_64 = 0x8E00, // SDM 3A 6.14.1
};

// Open source, an OS type that nobody has, version 1.
#define GUEST_OS_ID (HV_GUEST_OS_ID_OPEN_SOURCE | UINT64_C(0x7C) << 56 | 1)

struct idt_gate {
    uint16_t offset_low;    // 0
    uint16_t selector;      // 2
    uint16_t flags;         // 4
    uint16_t offset_middle; // 6
    uint32_t offset_high;   // 8
    uint32_t reserved;      // 12
} __attribute__((packed));
_Static_assert(sizeof(struct idt_gate) == 16, "64-bit gate");

struct descriptor_table {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));
_Static_assert(sizeof(struct descriptor_table) == 10, "operand of SIDT");

void wake_interrupt(void); // entry.S
void signal_interrupt(void);

volatile bool hv_signalled;

// Overlays cover these pages while they are enabled.
static _Alignas(HV_PAGE_SIZE) volatile struct hv_message_page message_page;
static _Alignas(HV_PAGE_SIZE) volatile struct hv_synic_event_flags_page flags_page;
static _Alignas(HV_PAGE_SIZE) volatile struct hv_reference_tsc_page tsc_page;
// Executable memory from the firmware: its data pages need not be.
static EFI_PHYSICAL_ADDRESS hypercall_page;

static struct idt_gate saved_gates[VECTORS];
static uint32_t listened; // bit n: source n
static bool gate_set, synic_on, has_timer;
static uint64_t wake_time = UINT64_MAX;

// ---- detection ---------------------------------------------------------------------------------

bool hv_present(void)
{
    if (!(cpu_id(1).ecx & HV_CPUID_1_ECX_HYPERVISOR_PRESENT)) {
        return false;
    }
    const struct cpuid_result vendor = cpu_id(HV_CPUID_VENDOR_AND_MAX);
    return vendor.ebx == HV_CPUID_VENDOR_EBX && vendor.ecx == HV_CPUID_VENDOR_ECX &&
           vendor.edx == HV_CPUID_VENDOR_EDX && vendor.eax >= HV_CPUID_MIN_CONFORMANT_MAX &&
           cpu_id(HV_CPUID_INTERFACE).eax == HV_CPUID_INTERFACE_HV1;
}

uint64_t hv_privileges(void)
{
    const struct cpuid_result features = cpu_id(HV_CPUID_FEATURES);
    return (uint64_t)features.ebx << 32 | features.eax;
}

bool hv_has_xmm_input(void)
{
    static bool known, has;

    if (!known) {
        has = cpu_id(HV_CPUID_FEATURES).edx & HV_FEATURE_EDX_XMM_HYPERCALL_INPUT;
        known = true;
    }
    return has;
}

// ---- interrupt gate ----------------------------------------------------------------------------

// The gates of our vectors, one after the other.
static struct idt_gate *find_gates(void)
{
    struct descriptor_table idt;

    __asm__ volatile("sidt %0" : "=m"(idt));
    if (idt.limit < (WAKE_VECTOR + VECTORS) * sizeof(struct idt_gate) - 1) {
        return NULL;
    }
    return (struct idt_gate *)idt.base + WAKE_VECTOR;
}

static bool set_gates(void)
{
    struct idt_gate *gate = find_gates();
    const uint64_t handlers[VECTORS] = {(uintptr_t)wake_interrupt, (uintptr_t)signal_interrupt};
    uint16_t cs;

    if (!gate) {
        root_fail("the firmware's interrupt table is too short");
        return false;
    }
    __asm__("mov %%cs, %0" : "=r"(cs));
    for (unsigned i = 0; i < VECTORS; i++) {
        saved_gates[i] = gate[i];
        gate[i] = (struct idt_gate){(uint16_t)handlers[i],         cs,
                                    GATE_PRESENT_INTERRUPT_64,     (uint16_t)(handlers[i] >> 16),
                                    (uint32_t)(handlers[i] >> 32), 0};
    }
    gate_set = true;
    return true;
}

// ---- start and stop ----------------------------------------------------------------------------

static bool start_hypercalls(void)
{
    const EFI_STATUS status = efi_system->BootServices->AllocatePages(
        AllocateAnyPages, EfiLoaderCode, 1, &hypercall_page);

    if (EFI_ERROR(status)) {
        hypercall_page = 0;
        root_fail("no memory for the hypercall page");
        return false;
    }
    cpu_write_msr(HV_X64_MSR_GUEST_OS_ID, GUEST_OS_ID);
    cpu_write_msr(HV_X64_MSR_HYPERCALL, hypercall_page | HV_MSR_HYPERCALL_ENABLE);
    if (!(cpu_read_msr(HV_X64_MSR_HYPERCALL) & HV_MSR_HYPERCALL_ENABLE)) {
        root_fail("the hypervisor does not enable the hypercall page");
        return false;
    }
    return true;
}

static void start_time(void)
{
    const struct cpuid_result features = cpu_id(HV_CPUID_FEATURES);

    if (hv_privileges() & HV_PRIV_ACCESS_PARTITION_REFERENCE_TSC) {
        cpu_write_msr(HV_X64_MSR_REFERENCE_TSC, (uintptr_t)&tsc_page | HV_PAGE_MSR_ENABLE);
    }
    if ((features.edx & HV_FEATURE_EDX_DIRECT_SYNTHETIC_TIMERS) &&
        (hv_privileges() & HV_PRIV_ACCESS_SYNTHETIC_TIMER_REGS)) {
        cpu_write_msr(HV_X64_MSR_STIMER0_CONFIG,
                      HV_STIMER_DIRECT | HV_STIMER_AUTO_ENABLE |
                          (uint64_t)WAKE_VECTOR << HV_STIMER_VECTOR_SHIFT);
        has_timer = true;
    }
}

bool hv_start(void)
{
    if (!start_hypercalls() || !set_gates()) {
        return false;
    }
    synic_on = true;
    cpu_write_msr(HV_X64_MSR_SIMP, (uintptr_t)&message_page | HV_PAGE_MSR_ENABLE);
    cpu_write_msr(HV_X64_MSR_SIEFP, (uintptr_t)&flags_page | HV_PAGE_MSR_ENABLE);
    cpu_write_msr(HV_X64_MSR_SINT(HV_SYNIC_INTERCEPTION_SINT), WAKE_VECTOR | HV_SINT_AUTO_EOI);
    cpu_write_msr(HV_X64_MSR_SCONTROL, HV_SCONTROL_ENABLE);
    start_time();
    return true;
}

void hv_stop(void)
{
    cpu_disable_interrupts();
    if (has_timer) {
        cpu_write_msr(HV_X64_MSR_STIMER0_CONFIG, 0);
        has_timer = false;
    }
    if (synic_on) {
        for (uint32_t sint = 0; sint < HV_SYNIC_SINT_COUNT; sint++) {
            cpu_write_msr(HV_X64_MSR_SINT(sint), HV_SINT_RESET_VALUE);
        }
        cpu_write_msr(HV_X64_MSR_SCONTROL, 0);
        cpu_write_msr(HV_X64_MSR_SIMP, 0);
        cpu_write_msr(HV_X64_MSR_SIEFP, 0);
        cpu_write_msr(HV_X64_MSR_REFERENCE_TSC, 0);
        synic_on = false;
    }
    if (hypercall_page) {
        cpu_write_msr(HV_X64_MSR_HYPERCALL, 0);
        cpu_write_msr(HV_X64_MSR_GUEST_OS_ID, 0);
        efi_system->BootServices->FreePages(hypercall_page, 1);
        hypercall_page = 0;
    }
    cpu_enable_interrupts(); // what is still pending finds the gate
    if (gate_set) {
        for (unsigned i = 0; i < VECTORS; i++) {
            find_gates()[i] = saved_gates[i];
        }
        gate_set = false;
    }
}

// ---- hypercalls --------------------------------------------------------------------------------

uint64_t hv_hypercall(uint64_t control, const void *input, void *output)
{
    register uint64_t r8 __asm__("r8") = (uintptr_t)output;
    uint64_t rdx = (uintptr_t)input;
    uint64_t result;

    __asm__ volatile("call *%[page]"
                     : "=a"(result), "+c"(control), "+d"(rdx), "+r"(r8)
                     : [page] "r"(hypercall_page)
                     : "memory", "cc", "r9", "r10", "r11");
    return result;
}

// The compiler uses no XMM registers here, and UEFI's calling convention gives these away.
uint64_t hv_hypercall_fast(uint64_t control, const void *block)
{
    const uint64_t *words = block;
    register uint64_t r8 __asm__("r8") = words[1];
    uint64_t rdx = words[0], result;

    __asm__ volatile("movups 0x10(%[block]), %%xmm0\n\t"
                     "movups 0x20(%[block]), %%xmm1\n\t"
                     "movups 0x30(%[block]), %%xmm2\n\t"
                     "movups 0x40(%[block]), %%xmm3\n\t"
                     "movups 0x50(%[block]), %%xmm4\n\t"
                     "movups 0x60(%[block]), %%xmm5\n\t"
                     "call *%[page]"
                     : "=a"(result), "+c"(control), "+d"(rdx), "+r"(r8)
                     : [page] "r"(hypercall_page), [block] "r"(block)
                     : "memory", "cc", "r9", "r10", "r11");
    return result;
}

// ---- messages ----------------------------------------------------------------------------------

static volatile struct hv_message *slot(void)
{
    return &message_page.slot[HV_SYNIC_INTERCEPTION_SINT];
}

const struct hv_message *hv_message(void)
{
    if (slot()->header.message_type == HV_MESSAGE_TYPE_NONE) {
        return NULL;
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return (const struct hv_message *)slot();
}

// The flag is read after the type is cleared: a message that found the slot taken has set it before
// (TLFS: SynIC Message Page).
bool hv_message_done(void)
{
    slot()->header.message_type = HV_MESSAGE_TYPE_NONE;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return slot()->header.flags & HV_MESSAGE_FLAG_PENDING;
}

void hv_message_next(void)
{
    cpu_write_msr(HV_X64_MSR_EOM, 0);
}

// ---- other sources -----------------------------------------------------------------------------

void hv_listen(uint32_t sint)
{
    if (!(listened >> sint & 1)) {
        listened |= 1u << sint;
        cpu_write_msr(HV_X64_MSR_SINT(sint), SIGNAL_VECTOR | HV_SINT_AUTO_EOI);
    }
}

uint32_t hv_waiting_message(uint32_t sint, uint64_t *origin)
{
    const volatile struct hv_message_header *header = &message_page.slot[sint].header;
    const uint32_t type = header->message_type;

    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    *origin = type == HV_MESSAGE_TYPE_NONE ? 0 : header->origination_id;
    return type;
}

bool hv_take_message(uint32_t sint, struct hv_message *message)
{
    volatile struct hv_message *from = &message_page.slot[sint];

    if (from->header.message_type == HV_MESSAGE_TYPE_NONE) {
        return false;
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    *message = *from;
    from->header.message_type = HV_MESSAGE_TYPE_NONE;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (from->header.flags & HV_MESSAGE_FLAG_PENDING) {
        cpu_write_msr(HV_X64_MSR_EOM, 0);
    }
    return true;
}

uint64_t hv_take_flags(uint32_t sint, uint32_t word)
{
    volatile uint64_t *flags = &flags_page.event_flags[sint].flags64[word];

    return *flags ? __atomic_exchange_n(flags, 0, __ATOMIC_SEQ_CST) : 0;
}

uint32_t hv_own_vp(void)
{
    return (uint32_t)cpu_read_msr(HV_X64_MSR_VP_INDEX);
}

// ---- other processors --------------------------------------------------------------------------

static struct descriptor_table boot_idt;
static uint16_t boot_cs;

static uint16_t read_cs(void)
{
    uint16_t cs;

    __asm__("mov %%cs, %0" : "=r"(cs));
    return cs;
}

bool hv_worker_prepare(void)
{
    __asm__ volatile("sidt %0" : "=m"(boot_idt));
    boot_cs = read_cs();
    return gate_set;
}

static struct descriptor_table *own_idt(void)
{
    static struct descriptor_table tables[64]; // by VP index

    return &tables[hv_own_vp() % 64];
}

// The gate's code segment has to be there. The source makes the vector one that is not EOI'd.
bool hv_worker_start(void)
{
    if (read_cs() != boot_cs) {
        return false;
    }
    __asm__ volatile("sidt %0" : "=m"(*own_idt()));
    __asm__ volatile("lidt %0" : : "m"(boot_idt));
    cpu_write_msr(HV_X64_MSR_SINT(HV_SYNIC_INTERCEPTION_SINT), WAKE_VECTOR | HV_SINT_AUTO_EOI);
    return true;
}

void hv_worker_stop(void)
{
    cpu_enable_interrupts(); // what is still pending finds the gate
    cpu_disable_interrupts();
    cpu_write_msr(HV_X64_MSR_SINT(HV_SYNIC_INTERCEPTION_SINT), HV_SINT_RESET_VALUE);
    __asm__ volatile("lidt %0" : : "m"(*own_idt()));
}

void hv_wake(uint32_t vp)
{
    register uint64_t r8 __asm__("r8") = UINT64_C(1) << vp;
    uint64_t control = HVCALL_SEND_SYNTHETIC_CLUSTER_IPI | HV_HYPERCALL_FAST;
    uint64_t rdx = WAKE_VECTOR, result;

    __asm__ volatile("call *%[page]"
                     : "=a"(result), "+c"(control), "+d"(rdx), "+r"(r8)
                     : [page] "r"(hypercall_page)
                     : "memory", "cc", "r9", "r10", "r11");
}

// ---- time --------------------------------------------------------------------------------------

uint64_t hv_time(void)
{
    for (;;) {
        const uint32_t sequence = tsc_page.tsc_sequence;
        if (sequence == HV_REFERENCE_TSC_SEQUENCE_INVALID) {
            return cpu_read_msr(HV_X64_MSR_TIME_REF_COUNT);
        }
        const uint64_t scale = tsc_page.tsc_scale;
        const uint64_t offset = (uint64_t)tsc_page.tsc_offset;
        const uint64_t time = (uint64_t)((unsigned __int128)cpu_tsc() * scale >> 64) + offset;
        if (tsc_page.tsc_sequence == sequence) {
            return time;
        }
    }
}

void hv_wake_at(uint64_t time)
{
    if (time == wake_time || !has_timer) {
        return;
    }
    wake_time = time;
    cpu_write_msr(HV_X64_MSR_STIMER0_COUNT, time == UINT64_MAX ? 0 : time);
}

void hv_idle(void)
{
    cpu_disable_interrupts();
    if (hv_message() || hv_signalled) {
        cpu_enable_interrupts();
    } else {
        cpu_wait_for_interrupt();
    }
}
