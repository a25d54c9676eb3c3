// SPDX-License-Identifier: BSD-2-Clause-Patent
// A child whose parent asks for another frequency of its TSC (ProcessorClockFrequency): all that
// reads the TSC or is due at one agrees. SDM 3C 26.6.5; TLFS: Partition Reference TSC Mechanism.
//
// rig: --lps 2
#include <assert.h>

#include "con.h"
#include "cpu.h"
#include "hv/call_partition.h"
#include "hv/msr.h"
#include "hv/partition.h"
#include "hv/synic.h"
#include "hv/time.h"
#include "hvcall.h"
#include "remote.h"
#include "rootprobe.h"
#include "tap.h"

#define TSC_PAGE  0x30000u // a GPA of the child where nothing is
#define TABLES    REMOTE_INPUT(1)
#define ROUTINE   0x800u // in that page
#define FRACTION  1000u  // of a second: what a timer is set to, below
#define TIMER_MS  20u
#define LATEST_MS 500u
#define TRIES     10u // of a timer that is later: the emulator's host may have kept it
#define SLOW_S    20u // between readings, on a busy host
#define VECTOR    0x51u
#define LVT_TIMER 0x832u
#define INITIAL   0x838u
#define DIVIDE    0x83eu
#define DEADLINE  (2u << 17)
#define AVX512F   (1u << 16)
#define RYZEN     0x657a7952u // the second word of the processor's name
#define RESTORED  12345u
#define PRIVILEGES                                                                                 \
    (HV_PRIV_ACCESS_SYNIC_REGS | HV_PRIV_ACCESS_HYPERCALL_MSRS | HV_PRIV_ACCESS_VP_INDEX |         \
     HV_PRIV_ACCESS_INTR_CTRL_REGS | HV_PRIV_ACCESS_PARTITION_REFERENCE_COUNTER |                  \
     HV_PRIV_ACCESS_PARTITION_REFERENCE_TSC | HV_PRIV_ACCESS_SYNTHETIC_TIMER_REGS |                \
     HV_PRIV_ACCESS_FREQUENCY_REGS)

static struct remote r;
static uint64_t machine_hz;

static uint16_t set_hz(uint64_t id, uint64_t hz)
{
    struct hv_input_set_partition_property in = {
        id, HV_PARTITION_PROPERTY_PROCESSOR_CLOCK_FREQUENCY, 0, hz};
    return parent_call(HVCALL_SET_PARTITION_PROPERTY, &in, sizeof(in));
}

static uint64_t get_hz(uint64_t id)
{
    struct hv_input_get_partition_property in = {
        id, HV_PARTITION_PROPERTY_PROCESSOR_CLOCK_FREQUENCY, 0};
    uint64_t value = 0;
    parent_call_out(HVCALL_GET_PARTITION_PROPERTY, &in, sizeof(in), &value, sizeof(value));
    return value;
}

static uint64_t now(void)
{
    return rdmsr(HV_X64_MSR_TIME_REF_COUNT);
}

// ---- clocks -------------------------------------------------------------------------------------

// Ticks between two readings, by bounds on the reference time between them: exact but for what the
// scale of the reference time is rounded by.
static void test_rate(uint64_t hz)
{
    uint64_t outer = now(), first = remote_rdtsc(&r, 0), inner = now();
    delay_us(50000);
    uint64_t inner_end = now(), ticks = remote_rdtsc(&r, 0) - first, outer_end = now();
    uint64_t least = (inner_end - inner - 1) * (hz / 1000) / (HV_REFERENCE_TIME_HZ / 1000);
    uint64_t most = (outer_end - outer + 1) * (hz / 1000 + 1) / (HV_REFERENCE_TIME_HZ / 1000) + 1;
    tap_ok(ticks >= least && ticks <= most, "RDTSC counts at %lu Hz (%lu, of %lu to %lu)", hz,
           ticks, least, most);
}

// Whoever tells the TSC tells the same.
static void test_agree(void)
{
    uint64_t a = remote_rdtsc(&r, 0), b = remote_rdmsr(&r, 1, MSR_TSC);
    uint64_t c = parent_get64(r.child.id, 0, HV_REGISTER_TSC), d = remote_rdtsc(&r, 1);
    tap_ok(a < b && b < c && c < d && d - a < machine_hz * SLOW_S,
           "RDTSC, RDMSR, the parent and another VP agree (%lu %lu %lu %lu)", a, b, c, d);
}

static void test_frequency(uint64_t hz)
{
    tap_is(get_hz(r.child.id), hz, "the property tells the frequency");
    tap_is(remote_rdmsr(&r, 0, HV_X64_MSR_TSC_FREQUENCY), hz, "so does the child's MSR");
    tap_is(parent_get64(r.child.id, 0, HV_REGISTER_PROCESSOR_CLOCK_FREQUENCY), hz,
           "and the register");
    tap_is(remote_rdmsr(&r, 0, HV_X64_MSR_APIC_FREQUENCY), rdmsr(HV_X64_MSR_APIC_FREQUENCY),
           "the APIC timer's is the machine's");
}

// What the guest computes from the page lies between two readings of the counter.
static bool page_agrees(void)
{
    const uint64_t scale =
        remote_load(&r, 0, TSC_PAGE + offsetof(struct hv_reference_tsc_page, tsc_scale));
    const uint64_t add =
        remote_load(&r, 0, TSC_PAGE + offsetof(struct hv_reference_tsc_page, tsc_offset));
    uint64_t before = remote_rdmsr(&r, 0, HV_X64_MSR_TIME_REF_COUNT), tsc = remote_rdtsc(&r, 0);
    uint64_t after = remote_rdmsr(&r, 0, HV_X64_MSR_TIME_REF_COUNT);
    uint64_t time = (uint64_t)((unsigned __int128)tsc * scale >> 64) + add;
    tap_note("the page says %lu, the counter %lu and %lu", time, before, after);
    return time >= before && time <= after;
}

// The child's reference time goes as fast as ours.
static void test_reference(void)
{
    remote_wrmsr(&r, 0, HV_X64_MSR_REFERENCE_TSC, TSC_PAGE | HV_PAGE_MSR_ENABLE);
    tap_ok((uint32_t)remote_load(&r, 0, TSC_PAGE) != HV_REFERENCE_TSC_SEQUENCE_INVALID &&
               page_agrees(),
           "the reference TSC page agrees with the counter");
    uint64_t outer = now(), first = remote_rdmsr(&r, 0, HV_X64_MSR_TIME_REF_COUNT), inner = now();
    delay_us(50000);
    uint64_t inner_end = now(), passed = remote_rdmsr(&r, 0, HV_X64_MSR_TIME_REF_COUNT) - first;
    uint64_t outer_end = now();
    tap_ok(passed + 2 >= inner_end - inner && passed <= outer_end - outer + 2,
           "which goes as ours does (%lu, of %lu to %lu)", passed, inner_end - inner,
           outer_end - outer);
}

// ---- timers -------------------------------------------------------------------------------------

// HLT until an interrupt, whose handler keeps the TSC. The table at RAX: 10 bytes each for GDTR and
// IDTR, the result behind them.
__asm__(".pushsection .text\n"
        "halt_code: mov 16(%rdi), %rax\n lgdt (%rax)\n lidt 16(%rax)\n sti\n hlt\n cli\n ret\n"
        ".balign 64\n"
        "halt_handler: push %rax\n push %rcx\n push %rdx\n"
        " rdtsc\n mov %eax, (TSC_RESULT)\n mov %edx, (TSC_RESULT + 4)\n"
        " mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n"
        " pop %rdx\n pop %rcx\n pop %rax\n iretq\n"
        "cpuid_code: mov 16(%rdi), %eax\n xor %ecx, %ecx\n cpuid\n"
        " or %ebx, %eax\n or %ecx, %eax\n or %edx, %eax\n mov %rax, (TSC_RESULT)\n ret\n"
        "halt_end:\n"
        ".set TSC_RESULT, 0x11020\n"
        ".popsection\n");
extern const uint8_t halt_code[], halt_handler[], cpuid_code[], halt_end[];

struct tables { // at TABLES
    uint16_t gdt_limit;
    uint8_t gdt_base[14];
    uint16_t idt_limit;
    uint8_t idt_base[14];
    uint64_t tsc; // 32
    uint64_t gdt[3];
    uint64_t idt[2 * (VECTOR + 1)];
};
static_assert(offsetof(struct tables, tsc) == 0x20 && TABLES == 0x11000, "TSC_RESULT");
static_assert(sizeof(struct tables) <= ROUTINE, "the routine is behind it");

static void lay_tables(void)
{
    struct tables *t = remote_input(&r, 1);
    const uint64_t gdt = TABLES + offsetof(struct tables, gdt);
    const uint64_t idt = TABLES + offsetof(struct tables, idt);
    const uint64_t handler = TABLES + ROUTINE + (uint64_t)(halt_handler - halt_code);
    *t = (struct tables){.gdt_limit = sizeof(t->gdt) - 1,
                         .idt_limit = sizeof(t->idt) - 1,
                         .gdt = {0, 0x00af9b000000ffff, 0x00cf93000000ffff}};
    memcpy(t->gdt_base, &gdt, sizeof(gdt));
    memcpy(t->idt_base, &idt, sizeof(idt));
    t->idt[2ul * VECTOR] =
        (handler & 0xffff) | 8ul << 16 | 0x8eul << 40 | (handler >> 16 & 0xffff) << 48;
    memcpy((uint8_t *)t + ROUTINE, halt_code, (size_t)(halt_end - halt_code));
}

// All that a leaf says to VP 1, in one.
static uint32_t any_of(uint32_t leaf)
{
    struct tables *t = remote_input(&r, 1);
    remote_run(&r, 1, TABLES + ROUTINE + (uint64_t)(cpuid_code - halt_code), leaf, 0);
    remote_end(&r, 1);
    return (uint32_t) * (volatile uint64_t *)&t->tsc;
}

static void test_cpuid(uint64_t hz)
{
    for (uint32_t leaf = 0x15; leaf <= 0x16 && leaf <= cpuid(0, 0).eax; leaf++) {
        struct cpuid is = cpuid(leaf, 0);
        uint32_t machine = is.eax | is.ebx | is.ecx | is.edx;
        tap_is(any_of(leaf), hz == machine_hz ? machine : 0, "CPUID %x %s", leaf,
               hz == machine_hz ? "is the machine's" : "does not tell the machine's frequencies");
    }
}

// VP 1 halts until its timer; its TSC then.
static uint64_t halt(void)
{
    struct tables *t = remote_input(&r, 1);
    t->tsc = 0;
    remote_run(&r, 1, TABLES + ROUTINE, TABLES, 0);
    remote_end(&r, 1);
    return *(volatile uint64_t *)&t->tsc;
}

static void test_deadline(uint64_t hz)
{
    const uint64_t latest = hz / FRACTION * LATEST_MS;
    uint64_t due = 0, kept, woke = 0;
    bool right = false;
    remote_wrmsr(&r, 1, LVT_TIMER, DEADLINE | VECTOR);
    for (uint32_t i = 0; i < TRIES; i++) {
        due = remote_rdtsc(&r, 1) + hz / FRACTION * TIMER_MS;
        remote_wrmsr(&r, 1, MSR_TSC_DEADLINE, due);
        kept = remote_rdmsr(&r, 1, MSR_TSC_DEADLINE);
        woke = halt();
        right = (kept == due || kept == 0) && woke >= due;
        if (!right || woke - due < latest) {
            break;
        }
    }
    tap_ok(right && woke - due < latest, "a deadline of the TSC is met (%ld ticks late)",
           (int64_t)(woke - due));
}

static void test_one_shot(uint64_t hz)
{
    const uint64_t apic = rdmsr(HV_X64_MSR_APIC_FREQUENCY) / FRACTION * TIMER_MS;
    remote_wrmsr(&r, 1, LVT_TIMER, VECTOR);
    remote_wrmsr(&r, 1, DIVIDE, 0xb); // 1
    uint64_t passed = 0;
    bool right = false;
    for (uint32_t i = 0; i < TRIES; i++) {
        uint64_t start = now(), tsc = remote_rdtsc(&r, 1);
        remote_wrmsr(&r, 1, INITIAL, apic);
        uint64_t woke = halt();
        passed = now() - start;
        right = passed >= TIMER_MS * 9990ul && woke - tsc >= hz / FRACTION * TIMER_MS / 1000 * 999;
        if (!right || passed < LATEST_MS * 10000ul) {
            break;
        }
    }
    tap_ok(right && passed < LATEST_MS * 10000ul,
           "the APIC timer's count takes as long as by the clock (%lu)", passed);
}

static void test_synthetic(void)
{
    remote_wrmsr(&r, 1, HV_X64_MSR_STIMER0_CONFIG,
                 HV_STIMER_DIRECT | HV_STIMER_AUTO_ENABLE |
                     (uint64_t)VECTOR << HV_STIMER_VECTOR_SHIFT);
    uint64_t due = 0, woke = 0;
    for (uint32_t i = 0; i < TRIES; i++) {
        due = remote_rdmsr(&r, 1, HV_X64_MSR_TIME_REF_COUNT) + TIMER_MS * 10000ul;
        remote_wrmsr(&r, 1, HV_X64_MSR_STIMER0_COUNT, due);
        halt();
        woke = remote_rdmsr(&r, 1, HV_X64_MSR_TIME_REF_COUNT);
        if (woke < due || woke - due < LATEST_MS * 10000ul) {
            break;
        }
    }
    tap_ok(woke >= due && woke - due < LATEST_MS * 10000ul,
           "a synthetic timer is on time (%ld late)", (int64_t)(woke - due));
}

// A guest that comes from elsewhere goes on with its TSC, at the rate of this one.
static void test_restore(uint64_t hz)
{
    const struct hv_input_restore_partition_time in = {
        .partition_id = r.child.id, .tsc_sequence = 7, .reference_time = RESTORED, .tsc = 1000};
    tap_is(parent_call(HVCALL_RESTORE_PARTITION_TIME, &in, sizeof(in)), HV_STATUS_SUCCESS,
           "time is restored");
    uint64_t tsc = remote_rdtsc(&r, 1);
    tap_ok(tsc >= 1000 && tsc < hz * SLOW_S, "the TSC goes on from there (%lu)", tsc);
    tap_ok(page_agrees(), "the page agrees");
    test_rate(hz);
    test_deadline(hz);
}

static void test_child(const char *name, uint64_t hz)
{
    struct child c;
    tap_note("%s: %lu of %lu Hz", name, hz, machine_hz);
    bool right = child_create_empty(&c, PRIVILEGES) && get_hz(c.id) == machine_hz &&
                 set_hz(c.id, hz) == HV_STATUS_SUCCESS && get_hz(c.id) == hz &&
                 child_initialize(&c) && remote_start_child(&r, &c, REMOTE_VPS);
    if (!tap_ok(right, "a child with %s of the machine's frequency runs", name))
        return;
    tap_is(set_hz(r.child.id, machine_hz), HV_STATUS_INVALID_PARTITION_STATE,
           "which is fixed from then on");
    lay_tables();
    remote_synic_on(&r, 1);
    test_frequency(hz);
    test_cpuid(hz);
    test_rate(hz);
    test_agree();
    test_reference();
    test_deadline(hz);
    test_one_shot(hz);
    test_synthetic();
    test_restore(hz);
    tap_ok(remote_delete(&r), "every page comes back");
}

// ---- without
// --------------------------------------------------------------------------------------

static void test_refused(bool scales)
{
    const uint64_t never[] = {0, 1, HV_REFERENCE_TIME_HZ, machine_hz * 256, 1ul << 36, ~0ul};
    const uint64_t other[] = {machine_hz / 2, machine_hz + machine_hz / 2};
    struct child c;
    if (!child_create_empty(&c, 0)) {
        tap_bail_out("no partition");
    }
    tap_is(set_hz(c.id, machine_hz), HV_STATUS_SUCCESS, "the machine's own frequency can be set");
    for (unsigned i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
        tap_is(set_hz(c.id, never[i]), HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, "%lx Hz cannot",
               never[i]);
    }
    for (unsigned i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        tap_is(set_hz(c.id, other[i]),
               scales ? HV_STATUS_SUCCESS : HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, "%lu Hz %s",
               other[i], scales ? "can" : "cannot: the processor does not scale");
    }
    tap_is(get_hz(c.id), scales ? other[1] : machine_hz, "what was refused changes nothing");
    tap_ok(child_reclaim(&c), "every page comes back");
}

// Of the rigs' processors the newer Intel one, which alone has AVX-512, and the Ryzen scale.
void root_main(void)
{
    bool scales = (cpuid(7, 0).ebx & AVX512F) || cpuid(0x80000002, 0).ebx == RYZEN;
    hv_need();
    hv_setup();
    messages_on();
    machine_hz = rdmsr(HV_X64_MSR_TSC_FREQUENCY);
    test_refused(scales);
    test_child("all", machine_hz);
    if (scales) {
        test_child("half", machine_hz / 2);
        test_child("one and a half", machine_hz + machine_hz / 2);
    }
}
