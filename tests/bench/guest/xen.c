// SPDX-License-Identifier: BSD-2-Clause-Patent
// Xen for a PVH guest: hypercalls, event channels with one vector for all, the single-shot timer.
// Xen: public/{xen,version,memory,event_channel,vcpu,hvm/hvm_op,hvm/params}.h
#include "apic.h"
#include "con.h"
#include "cpu.h"
#include "layout.h"
#include "machine.h"
#include "percpu.h"
#include "platform.h"
#include "tap.h"
#include "trap.h"

#define LEAVES_FIRST 0x40000000u
#define LEAVES_END   0x40010000u
#define LEAVES_STEP  0x100u
#define MSR_PAGE     2u // leaf: EBX is the register that places the hypercall page

enum xen_call {
    XEN_MEMORY_OP = 12,
    XEN_VERSION = 17,
    XEN_VCPU_OP = 24,
    XEN_EVENT_CHANNEL_OP = 32,
    XEN_HVM_OP = 34,
};

enum xen_command {
    XENVER_VERSION = 0,
    XENVER_GET_FEATURES = 6,
    XENMEM_DECREASE_RESERVATION = 1,
    XENMEM_ADD_TO_PHYSMAP = 7,
    VCPUOP_STOP_PERIODIC = 7,
    VCPUOP_SET_SINGLESHOT = 8,
    VCPUOP_STOP_SINGLESHOT = 9,
    EVTCHNOP_BIND_VIRQ = 1,
    EVTCHNOP_SEND = 4,
    EVTCHNOP_BIND_IPI = 7,
    HVMOP_SET_PARAM = 0,
    HVMOP_FLUSH_TLBS = 5,
};

#define DOMID_SELF         0x7ff0u
#define PARAM_CALLBACK_IRQ 0u
#define CALLBACK_VECTOR    (2ul << 56)
#define VIRQ_TIMER         0u

struct xen_time {
    uint32_t version, pad0;
    uint64_t tsc_timestamp, system_time; // ns
    uint32_t tsc_to_system_mul;
    int8_t tsc_shift;
    uint8_t flags, pad1[2];
};

struct xen_vcpu {
    uint8_t pending, mask, pad[6];
    uint64_t pending_sel;
    uint64_t arch[2];
    struct xen_time time;
};
_Static_assert(sizeof(struct xen_vcpu) == 64, "struct vcpu_info");

struct xen_shared {
    struct xen_vcpu vcpu[32];
    uint64_t pending[64], mask[64];
    uint8_t rest[4096 - 32 * 64 - 2 * 64 * 8]; // the page is mapped in place of RAM
};
_Static_assert(sizeof(struct xen_shared) == 4096, "a page");

struct xen_add_to_physmap {
    uint16_t domid, size;
    uint32_t space;
    uint64_t index, gpfn;
};
struct xen_reservation {
    uint64_t frames; // address of an array of frame numbers
    uint64_t count;
    uint32_t order, flags;
    uint16_t domid, pad[3];
};
struct xen_hvm_param {
    uint16_t domid, pad;
    uint32_t index;
    uint64_t value;
};
struct xen_bind_virq {
    uint32_t virq, vcpu, port;
};
struct xen_bind_ipi {
    uint32_t vcpu, port;
};
struct xen_features {
    uint32_t index, map;
};
struct xen_singleshot {
    uint64_t timeout_ns;
    uint32_t flags, pad;
};

_Alignas(4096) static volatile struct xen_shared shared_page[1];
static uint32_t ipi_port[CPU_MAX];
static struct xen_singleshot singleshot;
static struct xen_features features;
static uint32_t page_msr;

static inline int64_t call(uint32_t number, uint64_t first, uint64_t second, uint64_t third)
{
    register uint64_t a __asm__("rdi") = first;
    register uint64_t b __asm__("rsi") = second;
    register uint64_t c __asm__("rdx") = third;
    int64_t result;
    __asm__ volatile("vmmcall"
                     : "=a"(result), "+r"(a), "+r"(b), "+r"(c)
                     : "a"((uint64_t)number)
                     : "memory");
    return result;
}

static uint32_t leaves(void)
{
    for (uint32_t leaf = LEAVES_FIRST; leaf < LEAVES_END; leaf += LEAVES_STEP) {
        struct cpuid c = cpuid(leaf, 0);
        const uint32_t signature[3] = {c.ebx, c.ecx, c.edx};
        if (!memcmp(signature, "XenVMMXenVMM", sizeof(signature)))
            return leaf;
    }
    return 0;
}

static bool found(void)
{
    return leaves();
}

static void op_hypercall(void)
{
    call(XEN_VERSION, XENVER_VERSION, 0, 0);
}

static void op_hypercall_memory(void)
{
    call(XEN_VERSION, XENVER_GET_FEATURES, (uint64_t)&features, 0);
}

static void op_rdmsr(void)
{
    rdmsr(page_msr);
}

static void op_flush(void)
{
    call(XEN_HVM_OP, HVMOP_FLUSH_TLBS, 0, 0);
}

static void eoi(void)
{
    wrmsr(MSR_X2APIC_FIRST + (APIC_EOI >> 4), 0);
}

// The vector that stands for all event channels is not the APIC's: clearing what is pending is all.
static void op_take_event(void)
{
    volatile struct xen_vcpu *vcpu = &shared_page->vcpu[percpu()->index];
    vcpu->pending = 0;
    uint64_t words = __atomic_exchange_n(&vcpu->pending_sel, 0, __ATOMIC_SEQ_CST);
    for (; words; words &= words - 1) {
        unsigned word = (unsigned)__builtin_ctzl(words);
        __atomic_exchange_n(&shared_page->pending[word], 0, __ATOMIC_SEQ_CST);
    }
}

static void on_upcall(struct trap_frame *frame)
{
    (void)frame;
    bench_interrupt(rdtsc(), op_take_event);
}

static void ipi(uint32_t cpu)
{
    call(XEN_EVENT_CHANNEL_OP, EVTCHNOP_SEND, (uint64_t)&ipi_port[cpu], 0);
}

// Time of the boot processor; the TSC is constant, so it is read once.
static uint64_t timer_unit(uint64_t tsc)
{
    volatile struct xen_time *t = &shared_page->vcpu[0].time;
    uint64_t delta = tsc - t->tsc_timestamp;
    delta = t->tsc_shift < 0 ? delta >> -t->tsc_shift : delta << t->tsc_shift;
    return t->system_time + (uint64_t)((unsigned __int128)delta * t->tsc_to_system_mul >> 32);
}

static uint64_t timer_tsc(uint64_t ns)
{
    volatile struct xen_time *t = &shared_page->vcpu[0].time;
    uint64_t high = (ns - t->system_time) >> 32, low = (ns - t->system_time) << 32, rest;
    __asm__("divq %3"
            : "=a"(low), "=d"(rest)
            : "a"(low), "r"((uint64_t)t->tsc_to_system_mul), "d"(high)
            : "cc");
    return t->tsc_timestamp + (t->tsc_shift < 0 ? low << -t->tsc_shift : low >> t->tsc_shift);
}

static void timer_arm(uint64_t ns)
{
    singleshot.timeout_ns = ns;
    call(XEN_VCPU_OP, VCPUOP_SET_SINGLESHOT, 0, (uint64_t)&singleshot);
}

static void timer_stop(void)
{
    call(XEN_VCPU_OP, VCPUOP_STOP_SINGLESHOT, 0, 0);
}

static void bind_ports(void)
{
    struct xen_bind_virq timer = {.virq = VIRQ_TIMER};
    call(XEN_VCPU_OP, VCPUOP_STOP_PERIODIC, 0, 0);
    tap_is((uint64_t)call(XEN_EVENT_CHANNEL_OP, EVTCHNOP_BIND_VIRQ, (uint64_t)&timer, 0), 0,
           "the timer has an event channel");
    for (uint32_t cpu = 0; cpu < machine.cpu_count; cpu++) {
        struct xen_bind_ipi bind = {.vcpu = cpu};
        tap_is((uint64_t)call(XEN_EVENT_CHANNEL_OP, EVTCHNOP_BIND_IPI, (uint64_t)&bind, 0), 0,
               "processor %u has an event channel", cpu);
        ipi_port[cpu] = bind.port;
    }
}

// Memory is populated on demand, from what the domain has less than its maximum; a page given back
// splits the entry of its 2 MiB.
static void small_pages(uint64_t gpa)
{
    uint64_t frame = gpa >> 12;
    struct xen_reservation give = {.frames = (uint64_t)&frame, .count = 1, .domid = DOMID_SELF};
    tap_is((uint64_t)call(XEN_MEMORY_OP, XENMEM_DECREASE_RESERVATION, (uint64_t)&give, 0), 1,
           "a page is given back");
}

static void setup(void)
{
    struct xen_add_to_physmap map = {DOMID_SELF, 0, 0, 0, (uint64_t)shared_page >> 12};
    struct xen_hvm_param param = {DOMID_SELF, 0, PARAM_CALLBACK_IRQ,
                                  CALLBACK_VECTOR | VECTOR_UPCALL};
    page_msr = cpuid(leaves() + MSR_PAGE, 0).ebx;
    tap_is((uint64_t)call(XEN_MEMORY_OP, XENMEM_ADD_TO_PHYSMAP, (uint64_t)&map, 0), 0,
           "the shared page is mapped");
    trap_set_handler(VECTOR_UPCALL, on_upcall);
    tap_is((uint64_t)call(XEN_HVM_OP, HVMOP_SET_PARAM, (uint64_t)&param, 0), 0,
           "event channels have a vector");
    bind_ports();
}

static void setup_cpu(void)
{
}

static const struct bench_gap gaps[] = {
    {"wrmsr", "Xen has no synthetic register whose writing does nothing"},
    {"flush-page-3", "Xen flushes whole TLBs for a guest"},
    {"flush-64-3", "Xen flushes whole TLBs for a guest"},
    {"cluster-1", "Xen has no call that interrupts several VPs"},
    {"cluster-3", "Xen has no call that interrupts several VPs"},
    {0},
};

const struct platform platform_xen = {
    .name = "xen",
    .found = found,
    .setup = setup,
    .setup_cpu = setup_cpu,
    .hypercall = op_hypercall,
    .hypercall_memory = op_hypercall_memory,
    .rdmsr = op_rdmsr,
    .flush = op_flush,
    .eoi = eoi,
    .eoi_assist = op_take_event,
    .ipi = ipi,
    .timer_unit = timer_unit,
    .timer_tsc = timer_tsc,
    .timer_arm = timer_arm,
    .timer_stop = timer_stop,
    .small_pages = small_pages,
    .gaps = gaps,
};
