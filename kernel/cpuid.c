// SPDX-License-Identifier: BSD-2-Clause-Patent
// CPUID as partitions see it: what the processor says, less what a partition cannot have, plus the
// hypervisor's own leaves. One rule a leaf says what stays; a rule without a routine gives a static
// answer (SDM 2A CPUID, APM 3 appendix E; TLFS: Feature and Interface Discovery).
#include "corbel/cpuid.h"

#include "corbel/cores.h"
#include "corbel/cpufeatures.h"
#include "corbel/fpu.h"
#include "corbel/layout.h"
#include "corbel/lp.h"
#include "corbel/partition.h"
#include "corbel/scheduler.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "corbel/x86.h"
#include "hv/call_system.h"
#include "hv/cpuid.h"

static_assert(sizeof(struct cpuid_table) <= PAGE_SIZE, "the CPUID table is one page");

#define ALL 0xffffffffu

enum {
    LEAF1_ECX_HYPERVISOR = 1u << 31,
    LEAF1_ECX_X2APIC = 1u << 21,
    LEAF1_ECX_DEADLINE = 1u << 24,
    LEAF1_ECX_OSXSAVE = 1u << 27,
    LEAF1_EDX_APIC = 1u << 9,
    LEAF1_EDX_HTT = 1u << 28,
    LEAF7_ECX_OSPKE = 1u << 4,
    LEAF7_ECX_RDPID = 1u << 22,
    LEAF81_EDX_RDTSCP = 1u << 27,
    LEAF88_EBX_IBPB = 1u << 12,
    BASIC_MAX_CHILD = 0x16,
    BASIC_MAX_LEAST = 0xb,
    EXTENDED_MAX_CHILD = 0x80000021,
    LEAFD_FIRST_COMPONENT = 2,
    LEAFD_COMPONENTS = 10,   // 2..9: up to PKRU
    LEAFD_ALIGNED = 1u << 1, // ECX of a component
    LEAFD_XSAVEC = 1u << 1,  // EAX of subleaf 1; besides: XSAVEOPT, XGETBV with ECX 1
    LEAFD_KEPT = LEAFD_XSAVEC | 1u << 0 | 1u << 2,
    LEAFD_HEADER_END = 576 // legacy area and XSAVE header
};

typedef void cpuid_fix(const struct vp *vp, const struct cpuid_question *q, struct cpuid_entry *e);

struct leaf_rule {
    uint32_t leaf;
    struct cpuid_entry child; // bits that a child may see
    struct cpuid_entry root;  // bits that the root may see
    cpuid_fix *fix;           // per VP, or by subleaf
};

static bool is_root(const struct vp *vp)
{
    return vp->partition == root_partition;
}

// ---- topology: a child's VPs are cores of one package, or their threads -------------------------

// Of a core; one VP is no sibling of anybody.
static uint32_t thread_bits(const struct vp *vp)
{
    uint32_t threads = vp->partition->threads;

    return vp->partition->vp_limit > 1 ? (uint32_t)__builtin_ctz(threads) : 0;
}

static uint32_t vp_bits(const struct vp *vp)
{
    uint32_t limit = vp->partition->vp_limit;

    uint32_t bits = limit > 1 ? 32u - (uint32_t)__builtin_clz(limit - 1) : 0;

    return bits < thread_bits(vp) ? thread_bits(vp) : bits;
}

static void fix_leaf1(const struct vp *vp, const struct cpuid_question *q, struct cpuid_entry *e)
{
    (void)q;
    e->ecx |= LEAF1_ECX_HYPERVISOR | LEAF1_ECX_X2APIC | LEAF1_ECX_DEADLINE;
    if (is_root(vp))
        return;
    e->ebx = (e->ebx & 0xffff) | vp->apic_id << 24 | (1u << vp_bits(vp) & 0xff) << 16;
    e->edx &= ~(uint32_t)LEAF1_EDX_HTT;
    e->edx |= vp->partition->vp_count > 1 ? LEAF1_EDX_HTT : 0;
}

static void fix_cache_leaf(const struct vp *vp, struct cpuid_entry *e, bool cores)
{
    uint32_t level = e->eax >> 5 & 7, type = e->eax & 0x1f;
    uint32_t sharing = (1u << (level >= 3 ? vp_bits(vp) : thread_bits(vp))) - 1;

    if (is_root(vp) || type == 0)
        return;
    e->eax = (e->eax & 0x3fff) | sharing << 14;
    if (cores)
        e->eax |= ((1u << (vp_bits(vp) - thread_bits(vp))) - 1) << 26;
}

static void fix_leaf4(const struct vp *vp, const struct cpuid_question *q, struct cpuid_entry *e)
{
    (void)q;
    fix_cache_leaf(vp, e, true);
}

static void fix_amd_cache(const struct vp *vp, const struct cpuid_question *q,
                          struct cpuid_entry *e)
{
    (void)q;
    fix_cache_leaf(vp, e, false);
}

static void fix_topology(const struct vp *vp, const struct cpuid_question *q, struct cpuid_entry *e)
{
    if (is_root(vp))
        return;
    *e = (struct cpuid_entry){0, 0, q->subleaf & 0xff, vp->apic_id};
    if (q->subleaf == 0) {
        e->eax = thread_bits(vp);
        e->ebx = 1u << thread_bits(vp);
        e->ecx |= 1u << 8; // threads
    } else if (q->subleaf == 1) {
        e->eax = vp_bits(vp);
        e->ebx = vp->partition->vp_count;
        e->ecx |= 2u << 8; // cores
    }
}

static void fix_amd_topology(const struct vp *vp, const struct cpuid_question *q,
                             struct cpuid_entry *e)
{
    uint32_t bits = thread_bits(vp);

    (void)q;
    if (!is_root(vp))
        *e = (struct cpuid_entry){vp->apic_id,
                                  (vp->apic_id >> bits & 0xff) | ((1u << bits) - 1) << 8, 0, 0};
}

static void fix_sizes(const struct vp *vp, const struct cpuid_question *q, struct cpuid_entry *e)
{
    (void)q;
    if (!is_root(vp))
        e->ecx = vp_bits(vp) << 12 | ((vp->partition->vp_count - 1) & 0xff);
}

// ---- features -----------------------------------------------------------------------------------

static void fix_leaf7_1(struct cpuid_entry *e)
{
    const uint32_t shown = 0x00001c30; // AVX-VNNI, BF16, fast REP

    *e = (struct cpuid_entry){cpuid(7, 1).eax & shown, 0, 0, 0};
}

static void fix_leaf7(const struct vp *vp, const struct cpuid_question *q, struct cpuid_entry *e)
{
    const uint32_t subleaf = q->subleaf;

    if (subleaf == 1) {
        fix_leaf7_1(e);
        return;
    }
    if (subleaf > 1) {
        *e = (struct cpuid_entry){0, 0, 0, 0};
        return;
    }
    e->eax = e->eax > 1 ? 1 : e->eax;
    if (!is_root(vp) && !cpu_features.rdtscp)
        e->ecx &= ~(uint32_t)LEAF7_ECX_RDPID;
}

static uint32_t xsave_size(uint64_t components)
{
    uint32_t size = LEAFD_HEADER_END;

    for (uint32_t i = LEAFD_FIRST_COMPONENT; i < LEAFD_COMPONENTS; i++) {
        if (!(components >> i & 1))
            continue;
        struct cpuid_regs d = cpuid(13, i);
        if (d.ebx + d.eax > size)
            size = d.ebx + d.eax;
    }
    return size;
}

// The same in the compacted form of XSAVEC: one after the other, some on 64 bytes (SDM 1 13.4.3).
static uint32_t xsave_compact_size(uint64_t components)
{
    uint32_t size = LEAFD_HEADER_END;

    for (uint32_t i = LEAFD_FIRST_COMPONENT; i < LEAFD_COMPONENTS; i++) {
        if (!(components >> i & 1))
            continue;
        struct cpuid_regs d = cpuid(13, i);
        size = (d.ecx & LEAFD_ALIGNED ? (size + 63) & ~63u : size) + d.eax;
    }
    return size;
}

static uint32_t leafd_kept(void)
{
    return LEAFD_KEPT | (cpu_features.xsaves ? FPU_XSAVES : 0);
}

// Extended state that the hypervisor keeps (arch/x86/fpu.c); no supervisor components.
static void fix_leafd(const struct vp *vp, const struct cpuid_question *q, struct cpuid_entry *e)
{
    const struct procfeatures *f = &vp->partition->features;
    const uint32_t subleaf = q->subleaf;
    uint64_t xcr0 = f->xcr0;
    struct cpuid_regs host = cpuid(13, subleaf);

    *e = (struct cpuid_entry){0, 0, 0, 0};
    if (!(f->cr4 & CR4_OSXSAVE))
        return;
    if (subleaf == 0)
        *e = (struct cpuid_entry){(uint32_t)xcr0, xsave_size(q->xcr0 & xcr0), xsave_size(xcr0),
                                  (uint32_t)(xcr0 >> 32)};
    else if (subleaf == 1)
        *e = (struct cpuid_entry){host.eax & leafd_kept(),
                                  host.eax & LEAFD_XSAVEC ? xsave_compact_size(q->xcr0 & xcr0) : 0,
                                  0, 0};
    else if (subleaf < 63 && xcr0 >> subleaf & 1)
        *e = (struct cpuid_entry){host.eax, host.ebx, host.ecx & ~1u, 0};
}

// Leaves with subleaves, or another answer on each processor, that the root sees as they are.
static void fix_nothing(const struct vp *vp, const struct cpuid_question *q, struct cpuid_entry *e)
{
    (void)vp;
    (void)q;
    (void)e;
}

// ---- rules --------------------------------------------------------------------------------------

// clang-format 14 takes the braces for a block.
// clang-format off
#define NONE {0, 0, 0, 0}
#define FULL {ALL, ALL, ALL, ALL}
// clang-format on

// Leaves not named: a child sees zeros, the root what the machine says.
static const struct leaf_rule rules[] = {
    {0x00000000, FULL, FULL, NULL},
    // Hidden: MONITOR, VMX, SMX, and what a child lacks besides (debug store, thermal, PMU, PSN).
    {0x00000001, {ALL, ALL, 0xfffa3203, 0x1f8bfbff}, {ALL, ALL, 0xffffff97, ALL}, fix_leaf1},
    {0x00000002, FULL, FULL, NULL},
    {0x00000004, FULL, FULL, fix_leaf4},
    {0x00000005, NONE, NONE, NULL},
    {0x00000006, {1u << 2, 0, 0, 0}, FULL, NULL}, // the APIC timer runs in every state
    // Hidden: TSX, SGX, MPX, CET, AMX, PKS, user interrupts; for a child also the capabilities MSR
    // and the cache flush.
    {0x00000007,
     {ALL, 0xfdbf27e9, 0x1a415f5f, 0x8c00451c},
     {ALL, 0xffffbffb, 0x5fffff5f, 0xfcafffdf},
     fix_leaf7},
    {0x0000000b, FULL, FULL, fix_topology},
    {0x0000000d, NONE, NONE, fix_leafd},
    {0x0000000f, NONE, FULL, fix_nothing},
    {0x00000010, NONE, FULL, fix_nothing},
    {0x00000012, NONE, FULL, fix_nothing},
    {0x00000014, NONE, FULL, fix_nothing},
    {0x00000015, FULL, FULL, NULL},
    {0x00000016, FULL, FULL, NULL},
    {0x00000017, NONE, FULL, fix_nothing},
    {0x00000018, NONE, FULL, fix_nothing},
    {0x0000001a, NONE, FULL, fix_nothing},
    {0x0000001b, NONE, FULL, fix_nothing},
    {0x0000001d, NONE, NONE, NULL}, // AMX tiles
    {0x0000001e, NONE, NONE, NULL},
    {0x0000001f, NONE, FULL, fix_nothing},
    {0x80000000, FULL, FULL, NULL},
    // Hidden: SVM, SKINIT, LWP, TCE, MWAITX; for a child also OSVW, IBS, WDT, counters, BPEXT.
    {0x80000001, {ALL, ALL, 0x006109f3, ALL}, {ALL, ALL, 0xdffd6ffb, ALL}, NULL},
    {0x80000002, FULL, FULL, NULL},
    {0x80000003, FULL, FULL, NULL},
    {0x80000004, FULL, FULL, NULL},
    {0x80000005, FULL, FULL, NULL},
    {0x80000006, FULL, FULL, NULL},
    {0x80000007, {0, 0, 0, 1u << 8}, FULL, NULL}, // invariant TSC
    // Hidden: INVLPGB; for a child also RDPRU, IRPERF, PPIN, CPPC, VIRT_SPEC_CTRL.
    {0x80000008, {ALL, 0x751fd205, ALL, 0}, {ALL, 0xfffffff7, ALL, ALL}, fix_sizes},
    {0x8000000a, NONE, NONE, NULL},
    {0x80000019, FULL, FULL, NULL},
    {0x8000001a, FULL, FULL, NULL},
    {0x8000001c, NONE, NONE, NULL},
    {0x8000001d, FULL, FULL, fix_amd_cache},
    {0x8000001e, FULL, FULL, fix_amd_topology},
    {0x8000001f, NONE, NONE, NULL},
    {0x80000020, NONE, FULL, fix_nothing},
    // Hidden: upper address ignore, which is an EFER bit. A child has automatic IBRS, and is told
    // what the processor does at VERW and IBPB, and what it does not suffer from.
    {0x80000021, {0x70000165, 0, 0x00000006, 0}, {0xffffff7f, ALL, ALL, ALL}, NULL},
    {0x80000026, NONE, FULL, fix_nothing},
};

static const struct leaf_rule *find_rule(uint32_t leaf)
{
    for (unsigned i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (rules[i].leaf == leaf)
            return &rules[i];
    return NULL;
}

static bool leaf_exists(uint32_t leaf)
{
    uint32_t max = cpuid(leaf & 0x80000000u, 0).eax;

    return leaf <= max || leaf == BASIC_MAX_LEAST;
}

// The host's answer under the rule's mask.
static struct cpuid_entry masked(const struct leaf_rule *rule, uint32_t leaf, uint32_t subleaf,
                                 bool root)
{
    static const struct cpuid_entry all = FULL, none = NONE;
    const struct cpuid_entry *m = root ? &all : &none;
    struct cpuid_regs r = {0, 0, 0, 0};

    if (rule)
        m = root ? &rule->root : &rule->child;
    if (leaf_exists(leaf))
        r = cpuid(leaf, subleaf);
    return (struct cpuid_entry){r.eax & m->eax, r.ebx & m->ebx, r.ecx & m->ecx, r.edx & m->edx};
}

// ---- static answers -----------------------------------------------------------------------------

// Limits and bits that depend on what other bits came to.
static void adjust_static(uint32_t leaf, bool root, struct cpuid_entry *e)
{
    switch (leaf) {
    case 0:
        if (!root && e->eax > BASIC_MAX_CHILD)
            e->eax = BASIC_MAX_CHILD;
        if (e->eax < BASIC_MAX_LEAST)
            e->eax = BASIC_MAX_LEAST;
        break;
    case 0x80000000:
        if (!root && e->eax > EXTENDED_MAX_CHILD)
            e->eax = EXTENDED_MAX_CHILD;
        break;
    case 0x80000001:
        if (!cpu_features.rdtscp)
            e->edx &= ~(uint32_t)LEAF81_EDX_RDTSCP;
        break;
    default:
        break;
    }
}

void cpuid_offered(uint32_t leaf, uint32_t subleaf, struct cpuid_entry *e)
{
    *e = masked(find_rule(leaf), leaf, subleaf, false);
    if (leaf == 1)
        e->ecx |= LEAF1_ECX_DEADLINE;
    if (leaf == 7 && subleaf == 1)
        fix_leaf7_1(e);
    if (leaf == 13 && subleaf == 1)
        e->eax = cpu_features.xsave ? cpuid(13, 1).eax & leafd_kept() : 0;
    adjust_static(leaf, false, e);
}

// What these say of the TSC and of the frequencies it is taken for is the machine's: a TSC of
// another rate has none of them enumerated (SDM 2A CPUID), and the synthetic MSR tells the rate.
static bool hidden_by_rate(const struct partition *p, uint32_t leaf)
{
    return p->tsc_ratio.multiplier && (leaf == 0x15 || leaf == 0x16);
}

static void fill_range(const struct partition *p, uint32_t base, uint32_t count,
                       struct cpuid_entry *entry)
{
    bool root = p == root_partition;

    for (uint32_t i = 0; i < count; i++) {
        const struct leaf_rule *rule = find_rule(base + i);

        entry[i] = masked(rule, base + i, 0, root);
        adjust_static(base + i, root, &entry[i]);
        procfeatures_hide(&p->features, base + i, 0, &entry[i]);
        if (hidden_by_rate(p, base + i))
            entry[i] = (struct cpuid_entry){0};
    }
}

// ---- the hypervisor's leaves --------------------------------------------------------------------

#define VERSION_MAJOR 10u
#define VERSION_MINOR 0u
#define VERSION_BUILD 27744u // the interface generation whose root driver this speaks to
#define SPIN_RETRIES  0xfffu

// Bits that a privilege, or a feature that the parent may take away, brings along.
struct shown_bit {
    uint64_t needs;
    uint32_t bit;
};

static const struct shown_bit privilege_edx[] = {
    {HV_PRIV_ACCESS_FREQUENCY_REGS, HV_FEATURE_EDX_TIMER_FREQUENCIES},
    {HV_PRIV_FAST_HYPERCALL_OUTPUT, HV_FEATURE_EDX_FAST_HYPERCALL_OUTPUT},
    {HV_PRIV_ACCESS_SYNIC_REGS, HV_FEATURE_EDX_SINT_POLLING_MODE},
    {HV_PRIV_CREATE_PARTITIONS, HV_FEATURE_EDX_TRANSLATE_GVA_FLAGS},
    {HV_PRIV_ACCESS_GUEST_IDLE_REG, HV_FEATURE_EDX_GUEST_IDLE},
    {HV_PRIV_ENABLE_EXTENDED_GVA_RANGES, HV_FEATURE_EDX_EXTENDED_GVA_RANGES},
};

static const struct shown_bit timer_edx[] = {
    {HV_SYNTH_FEATURE_DIRECT_SYNTHETIC_TIMERS, HV_FEATURE_EDX_DIRECT_SYNTHETIC_TIMERS},
    {HV_SYNTH_FEATURE_SYNTHETIC_TIME_UNHALTED_TIMER, HV_FEATURE_EDX_TIME_UNHALTED_TIMER},
};

static const struct shown_bit privilege_hints[] = {
    {HV_PRIV_ACCESS_INTR_CTRL_REGS, HV_HINT_EAX_APIC_MSRS},
    {HV_PRIV_ACCESS_SYNIC_REGS, HV_HINT_EAX_DEPRECATE_AUTO_EOI},
};

static const struct shown_bit feature_hints[] = {
    {HV_SYNTH_FEATURE_TB_FLUSH_HYPERCALLS, HV_HINT_EAX_REMOTE_TLB_FLUSH_HYPERCALL},
    {HV_SYNTH_FEATURE_SYNTHETIC_CLUSTER_IPI, HV_HINT_EAX_CLUSTER_IPI},
    {HV_SYNTH_FEATURE_EXTENDED_PROCESSOR_MASKS, HV_HINT_EAX_EX_PROCESSOR_MASKS},
};

#define TIME_PRIVILEGES                                                                            \
    (HV_PRIV_ACCESS_PARTITION_REFERENCE_COUNTER | HV_PRIV_ACCESS_PARTITION_REFERENCE_TSC)
static const struct shown_bit time_hints[] = {
    {HV_SYNTH_FEATURE_RESTORE_TIME, HV_HINT_EAX_RESTORE_TIME_ON_RESUME},
};

static uint32_t shown(const struct shown_bit *bits, size_t count, uint64_t has)
{
    uint32_t mask = 0;

    for (size_t i = 0; i < count; i++)
        mask |= bits[i].needs & ~has ? 0 : bits[i].bit;
    return mask;
}
#define SHOWN(bits, has) shown(bits, sizeof(bits) / sizeof((bits)[0]), has)

static uint32_t feature_edx(const struct partition *p)
{
    uint32_t edx = HV_FEATURE_EDX_XMM_HYPERCALL_INPUT | HV_FEATURE_EDX_GUEST_CRASH_MSRS |
                   HV_FEATURE_EDX_HYPERCALL_MSR_LOCK |
                   (vcpu->set_table_intercepts ? HV_FEATURE_EDX_NPIEP : 0);

    edx |= SHOWN(privilege_edx, p->privileges);
    if (p->privileges & HV_PRIV_ACCESS_SYNTHETIC_TIMER_REGS)
        edx |= SHOWN(timer_edx, p->synthetic_features);
    return edx;
}

// Whether a VP shares a core with nobody but its siblings. Without SMT no core is shared; the
// classic scheduler cares for LPs only.
static bool keeps_cores(const struct partition *p)
{
    return !scheduler_smt() || (cores_in_use && (p->team_size == 0 || p->team_size == p->threads));
}

// Then the APIC's own registers cost less than the synthetic ones, which exit.
static bool delivers(const struct partition *p)
{
    return p != root_partition && vcpu->delivers && vcpu->delivers();
}

static uint32_t hints_eax(const struct partition *p)
{
    uint32_t eax = (keeps_cores(p) ? HV_HINT_EAX_NO_NON_ARCHITECTURAL_CORE_SHARING : 0) |
                   HV_HINT_EAX_RELAXED_TIMING | SHOWN(privilege_hints, p->privileges) |
                   SHOWN(feature_hints, p->synthetic_features);

    if ((p->privileges & TIME_PRIVILEGES) == TIME_PRIVILEGES)
        eax |= SHOWN(time_hints, p->synthetic_features);
    return delivers(p) ? eax & ~HV_HINT_EAX_APIC_MSRS : eax;
}

void cpuid_shares_cores(struct partition *p)
{
    p->cpuid->hv[4].eax = hints_eax(p);
}

static uint32_t spin_retries(const struct partition *p)
{
    return p->synthetic_features & HV_SYNTH_FEATURE_NOTIFY_LONG_SPIN_WAIT
               ? SPIN_RETRIES
               : HV_HINT_EBX_NEVER_NOTIFY;
}

static void fill_hypervisor_leaves(const struct partition *p, struct cpuid_entry *e)
{
    uint64_t privileges = p->privileges;

    e[0] = (struct cpuid_entry){HV_CPUID_NESTED_FEATURES, HV_CPUID_VENDOR_EBX, HV_CPUID_VENDOR_ECX,
                                HV_CPUID_VENDOR_EDX};
    e[1] = (struct cpuid_entry){HV_CPUID_INTERFACE_HV1, 0, 0, 0};
    e[2] = (struct cpuid_entry){
        VERSION_BUILD, VERSION_MAJOR << HV_CPUID_VERSION_MAJOR_SHIFT | VERSION_MINOR, 0, 0};
    e[3] =
        (struct cpuid_entry){(uint32_t)privileges, (uint32_t)(privileges >> 32), 0, feature_edx(p)};
    e[4] = (struct cpuid_entry){hints_eax(p), spin_retries(p), cpu_physical_bits(), 0};
    e[5] = (struct cpuid_entry){PARTITION_MAX_VPS, LP_MAX, 0, 0};
    e[6] = (struct cpuid_entry){HV_HARDWARE_EAX_MSR_BITMAPS |
                                    HV_HARDWARE_EAX_SECOND_LEVEL_TRANSLATION | vcpu->hardware |
                                    (delivers(p) ? HV_HARDWARE_EAX_APIC_OVERLAY_ASSIST : 0) |
                                    ((privileges & HV_PRIV_CREATE_PARTITIONS) && vcpu->tracks()
                                         ? HV_HARDWARE_EAX_GPA_ACCESS_TRACKING
                                         : 0),
                                0, 0, 0};
}

static bool wants(const struct partition_intercepts *in, uint32_t leaf)
{
    for (uint32_t i = 0; i < in->cpuid_count; i++)
        if (in->cpuid_leaf[i] == leaf)
            return true;
    return in->cpuid_all;
}

static void set_flags(const struct partition *p, uint32_t base, uint32_t count, uint8_t *flags)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct leaf_rule *rule = find_rule(base + i);
        bool own = (rule && rule->fix) || cpuid_has_result(p, base + i);
        flags[i] = (uint8_t)((own ? CPUID_PER_VP : CPUID_STATIC) |
                             (wants(&p->intercepts, base + i) ? CPUID_INTERCEPT : 0));
    }
}

void cpuid_set_flags(struct partition *p)
{
    struct cpuid_table *t = p->cpuid;

    set_flags(p, 0, CPUID_BASIC_LEAVES, t->basic_flags);
    set_flags(p, 0x40000000, CPUID_HV_LEAVES, t->hv_flags);
    set_flags(p, 0x80000000, CPUID_EXTENDED_LEAVES, t->extended_flags);
    t->other_flags = CPUID_PER_VP | (p->intercepts.cpuid_all ? CPUID_INTERCEPT : 0);
}

void cpuid_init(struct partition *p)
{
    struct cpuid_table *t = p->cpuid;

    fill_range(p, 0, CPUID_BASIC_LEAVES, t->basic);
    fill_range(p, 0x80000000, CPUID_EXTENDED_LEAVES, t->extended);
    fill_hypervisor_leaves(p, t->hv);
    cpuid_set_flags(p);
}

// Beyond a maximum, Intel answers as the highest basic leaf does, AMD with zeros.
static uint32_t settle_leaf(const struct cpuid_table *t, uint32_t leaf)
{
    if (leaf < CPUID_BASIC_LEAVES || leaf - 0x80000000u < CPUID_EXTENDED_LEAVES ||
        leaf >> 16 == 0x4000 || cpu_features.amd)
        return leaf;
    return t->basic[0].eax;
}

// Bits that show what the VP has set itself (SDM 2A CPUID: OSXSAVE, OSPKE, APIC).
static void mirror(const struct vp *vp, const struct cpuid_question *q, struct cpuid_entry *e)
{
    struct walk_state paging;

    if (q->leaf != 1 && (q->leaf != 7 || q->subleaf))
        return;
    vcpu->get_paging(vp, &paging);
    if (q->leaf == 1) {
        e->ecx &= ~(uint32_t)LEAF1_ECX_OSXSAVE;
        e->ecx |= paging.cr4 & CR4_OSXSAVE ? LEAF1_ECX_OSXSAVE : 0;
        e->edx &= ~(uint32_t)LEAF1_EDX_APIC;
        e->edx |= vp->active->apic.base & VAPIC_BASE_ENABLE ? LEAF1_EDX_APIC : 0;
    } else {
        e->ecx &= ~(uint32_t)LEAF7_ECX_OSPKE;
        e->ecx |= paging.cr4 & CR4_PKE ? LEAF7_ECX_OSPKE : 0;
    }
}

void cpuid_answer(struct vp *vp, const struct cpuid_question *question, struct cpuid_entry *result)
{
    struct partition *p = vp->partition;
    struct cpuid_question q = *question;
    const struct leaf_rule *rule;
    bool laid_over;
    uint8_t flags;

    q.leaf = settle_leaf(p->cpuid, q.leaf);
    *result = *cpuid_find(p->cpuid, q.leaf, &flags);
    if (flags & CPUID_STATIC)
        return;
    laid_over = p->cpuid_results && !q.no_results;
    rule = find_rule(q.leaf);
    if (rule && rule->fix)
        *result = masked(rule, q.leaf, q.subleaf, is_root(vp));
    else if (!cpuid_in_table(q.leaf))
        *result = (struct cpuid_entry){0, 0, 0, 0};
    if (laid_over)
        cpuid_apply_results(p, vp->index, &q, false, result);
    if (rule && rule->fix) {
        rule->fix(vp, &q, result);
        procfeatures_hide(&p->features, q.leaf, q.subleaf, result);
    }
    if (laid_over)
        cpuid_apply_results(p, vp->index, &q, true, result);
    mirror(vp, &q, result);
}

void cpuid_slow(struct vp *vp, uint32_t leaf, uint32_t subleaf, struct cpuid_entry *result)
{
    const struct cpuid_question question = {leaf, subleaf, vp->xcr0, false};

    cpuid_answer(vp, &question, result);
}
