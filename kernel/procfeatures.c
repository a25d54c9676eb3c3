// SPDX-License-Identifier: BSD-2-Clause-Patent
// Processor features by the numbers of tlfs-reference 2.19: where CPUID shows each (SDM 2A CPUID,
// APM 3 appendix E), and what else goes with it.
#include "corbel/procfeatures.h"

#include "corbel/cpufeatures.h"
#include "corbel/fpu.h"
#include "corbel/speculation.h"
#include "corbel/x86.h"
#include "hv/features.h"

enum leaf_register { EAX, EBX, ECX, EDX };

struct feature {
    uint64_t mask; // one bit of the bank
    uint8_t bank;  // enum procfeature_bank
    uint8_t reg;   // enum leaf_register
    uint8_t bit;   // of that register
    uint8_t subleaf;
    uint32_t leaf;
    uint64_t cr4; // bits that exist with it
};

#define ROW(number, name, leaf, subleaf, reg, bit, cr4)                                            \
    {                                                                                              \
        HV_PROC_FEATURE##number##_##name, PROCFEATURES##number, reg, bit, subleaf, leaf, cr4       \
    }
#define F0(name, leaf, reg, bit) ROW(0, name, leaf, 0, reg, bit, 0)
#define F1(name, leaf, reg, bit) ROW(1, name, leaf, 0, reg, bit, 0)
#define XF(name, leaf, subleaf, reg, bit, cr4)                                                     \
    {                                                                                              \
        HV_XSAVE_FEATURE_##name, PROCFEATURES_XSAVE, reg, bit, subleaf, leaf, cr4                  \
    }

// A feature with several rows has several bits.
static const struct feature features[] = {
    F0(SSE3, 1, ECX, 0),
    F0(LAHF_SAHF, 0x80000001, ECX, 0),
    F0(SSSE3, 1, ECX, 9),
    F0(SSE4_1, 1, ECX, 19),
    F0(SSE4_2, 1, ECX, 20),
    F0(SSE4A, 0x80000001, ECX, 6),
    F0(XOP, 0x80000001, ECX, 11),
    F0(POPCNT, 1, ECX, 23),
    F0(CMPXCHG16B, 1, ECX, 13),
    F0(ALTMOVCR8, 0x80000001, ECX, 4),
    F0(LZCNT, 0x80000001, ECX, 5),
    F0(MISALIGN_SSE, 0x80000001, ECX, 7),
    F0(MMX_EXT, 0x80000001, EDX, 22),
    F0(AMD3DNOW, 0x80000001, EDX, 31),
    F0(EXTENDED_AMD3DNOW, 0x80000001, EDX, 30),
    F0(PAGE_1GB, 0x80000001, EDX, 26),
    F0(AES, 1, ECX, 25),
    F0(PCLMULQDQ, 1, ECX, 1),
    ROW(0, PCID, 1, 0, ECX, 17, CR4_PCIDE),
    F0(FMA4, 0x80000001, ECX, 16),
    F0(F16C, 1, ECX, 29),
    F0(RDRAND, 1, ECX, 30),
    ROW(0, FSGSBASE, 7, 0, EBX, 0, CR4_FSGSBASE),
    ROW(0, SMEP, 7, 0, EBX, 7, CR4_SMEP),
    F0(ENHANCED_FAST_STRING, 7, EBX, 9),
    F0(BMI1, 7, EBX, 3),
    F0(BMI2, 7, EBX, 8),
    F0(MOVBE, 1, ECX, 22),
    F0(RDSEED, 7, EBX, 18),
    F0(ADX, 7, EBX, 19),
    F0(INTEL_PREFETCH, 0x80000001, ECX, 8),
    ROW(0, SMAP, 7, 0, EBX, 20, CR4_SMAP),
    F0(RDTSCP, 0x80000001, EDX, 27),
    F0(CLFLUSHOPT, 7, EBX, 23),
    F0(CLWB, 7, EBX, 24),
    F0(SHA, 7, EBX, 29),
    F0(INVPCID, 7, EBX, 10),
    F0(IBRS, 0x80000008, EBX, 14),
    F0(IBRS, 7, EDX, 26),
    F0(STIBP, 0x80000008, EBX, 15),
    F0(STIBP, 7, EDX, 27),
    F0(IBPB, 0x80000008, EBX, 12),
    F0(MDD, 0x80000008, EBX, 24),
    F0(MDD, 7, EDX, 31),
    F0(FAST_SHORT_REP_MOV, 7, EDX, 4),
    F0(RDPID, 7, ECX, 22),
    ROW(0, UMIP, 7, 0, ECX, 2, CR4_UMIP),
    F0(MD_CLEAR, 7, EDX, 10),
    F1(TSC_INVARIANT, 0x80000007, EDX, 8),
    F1(CLZERO, 0x80000008, EBX, 0),
    F1(RDPRU, 0x80000008, EBX, 4),
    ROW(1, LA57, 7, 0, ECX, 16, CR4_LA57),
    F1(PSFD, 0x80000008, EBX, 28),
    F1(UMWAIT_TPAUSE, 7, ECX, 5),
    F1(MOVDIRI, 7, ECX, 27),
    F1(MOVDIR64B, 7, ECX, 28),
    F1(CLDEMOTE, 7, ECX, 25),
    F1(SERIALIZE, 7, EDX, 14),
    F1(TSC_DEADLINE_TMR, 1, ECX, 24),
    ROW(1, FZL_REP_MOVSB, 7, 1, EAX, 10, 0),
    ROW(1, FS_REP_STOSB, 7, 1, EAX, 11, 0),
    ROW(1, FS_REP_CMPSB, 7, 1, EAX, 12, 0),
    XF(XSAVE, 1, 0, ECX, 26, CR4_OSXSAVE),
    XF(XSAVEOPT, 13, 1, EAX, 0, 0),
    XF(XSAVE_COMP, 13, 1, EAX, 1, 0),
    XF(XCR1, 13, 1, EAX, 2, 0),
    XF(XSAVE_SUPERVISOR, 13, 1, EAX, 3, 0),
    XF(AVX, 1, 0, ECX, 28, 0),
    XF(AVX2, 7, 0, EBX, 5, 0),
    XF(FMA, 1, 0, ECX, 12, 0),
    XF(AVX512, 7, 0, EBX, 16, 0),
    XF(AVX512_DQ, 7, 0, EBX, 17, 0),
    XF(AVX512_CD, 7, 0, EBX, 28, 0),
    XF(AVX512_BW, 7, 0, EBX, 30, 0),
    XF(AVX512_VL, 7, 0, EBX, 31, 0),
    XF(AVX512_BITALG, 7, 0, ECX, 12, 0),
    XF(AVX512_I_FMA, 7, 0, EBX, 21, 0),
    XF(AVX512_V_BMI, 7, 0, ECX, 1, 0),
    XF(AVX512_V_BMI2, 7, 0, ECX, 6, 0),
    XF(AVX512_VNNI, 7, 0, ECX, 11, 0),
    XF(GFNI, 7, 0, ECX, 8, 0),
    XF(VAES, 7, 0, ECX, 9, 0),
    XF(AVX512_V_POPCNTDQ, 7, 0, ECX, 14, 0),
    XF(VPCLMULQDQ, 7, 0, ECX, 10, 0),
    XF(AVX512_BF16, 7, 1, EAX, 5, 0),
    XF(AVX_VNNI, 7, 1, EAX, 4, 0),
};
#define FEATURES (sizeof(features) / sizeof(features[0]))

// Without the register state its instructions go too (SDM 1 13.3, 14.3, 15.3).
#define AVX512_FEATURES                                                                            \
    (HV_XSAVE_FEATURE_AVX512 | HV_XSAVE_FEATURE_AVX512_DQ | HV_XSAVE_FEATURE_AVX512_CD |           \
     HV_XSAVE_FEATURE_AVX512_BW | HV_XSAVE_FEATURE_AVX512_VL | HV_XSAVE_FEATURE_AVX512_BITALG |    \
     HV_XSAVE_FEATURE_AVX512_I_FMA | HV_XSAVE_FEATURE_AVX512_V_BMI |                               \
     HV_XSAVE_FEATURE_AVX512_V_BMI2 | HV_XSAVE_FEATURE_AVX512_VNNI |                               \
     HV_XSAVE_FEATURE_AVX512_V_POPCNTDQ | HV_XSAVE_FEATURE_AVX512_BF16)
#define AVX_FEATURES                                                                               \
    (AVX512_FEATURES | HV_XSAVE_FEATURE_AVX | HV_XSAVE_FEATURE_AVX2 | HV_XSAVE_FEATURE_FMA |       \
     HV_XSAVE_FEATURE_VAES | HV_XSAVE_FEATURE_VPCLMULQDQ | HV_XSAVE_FEATURE_AVX_VNNI)
#define XSAVE_FEATURES                                                                             \
    (AVX_FEATURES | HV_XSAVE_FEATURE_XSAVE | HV_XSAVE_FEATURE_XSAVEOPT |                           \
     HV_XSAVE_FEATURE_XSAVE_COMP | HV_XSAVE_FEATURE_XCR1 | HV_XSAVE_FEATURE_XSAVE_SUPERVISOR)
#define AVX_FEATURES0  (HV_PROC_FEATURE0_F16C | HV_PROC_FEATURE0_FMA4 | HV_PROC_FEATURE0_XOP)
#define SPEC_CTRL_USES (HV_PROC_FEATURE0_IBRS | HV_PROC_FEATURE0_STIBP | HV_PROC_FEATURE0_MDD)

#define STATE_AVX    (1ul << 2)
#define STATE_AVX512 (7ul << 5)

static void withhold_dependent(uint64_t disabled[PROCFEATURE_BANKS])
{
    uint64_t *xsave = &disabled[PROCFEATURES_XSAVE];

    *xsave |= *xsave & HV_XSAVE_FEATURE_XSAVE ? XSAVE_FEATURES : 0;
    *xsave |= *xsave & HV_XSAVE_FEATURE_AVX ? AVX_FEATURES : 0;
    *xsave |= *xsave & HV_XSAVE_FEATURE_AVX512 ? AVX512_FEATURES : 0;
    disabled[PROCFEATURES0] |= *xsave & HV_XSAVE_FEATURE_AVX ? AVX_FEATURES0 : 0;
}

static void keep(struct procfeatures *f)
{
    const uint64_t *disabled = f->disabled;
    const uint64_t either = HV_PROC_FEATURE0_RDTSCP | HV_PROC_FEATURE0_RDPID;

    f->cr4 = cpu_guest_cr4();
    for (unsigned i = 0; i < FEATURES; i++)
        f->cr4 &= disabled[features[i].bank] & features[i].mask ? ~features[i].cr4 : ~0ul;
    f->xcr0 = cpu_features.xcr0;
    f->xcr0 &= disabled[PROCFEATURES_XSAVE] & HV_XSAVE_FEATURE_XSAVE ? 3ul : ~0ul;
    f->xcr0 &=
        disabled[PROCFEATURES_XSAVE] & HV_XSAVE_FEATURE_AVX ? ~(STATE_AVX | STATE_AVX512) : ~0ul;
    f->xcr0 &= disabled[PROCFEATURES_XSAVE] & HV_XSAVE_FEATURE_AVX512 ? ~STATE_AVX512 : ~0ul;
    f->msrs = 0;
    if (cpu_features.rdtscp && (disabled[PROCFEATURES0] & either) != either)
        f->msrs |= PROCFEATURE_TSC_AUX;
    if ((cpu_features.speculation & SPECULATION_CONTROL) &&
        (disabled[PROCFEATURES0] & SPEC_CTRL_USES) != SPEC_CTRL_USES)
        f->msrs |= PROCFEATURE_SPEC_CTRL;
    f->ibpb = (cpu_features.speculation & SPECULATION_IBPB) &&
              !(disabled[PROCFEATURES0] & HV_PROC_FEATURE0_IBPB);
    f->deadline = !(disabled[PROCFEATURES1] & HV_PROC_FEATURE1_TSC_DEADLINE_TMR);
}

void procfeatures_init(struct procfeatures *f, const uint64_t disabled[PROCFEATURE_BANKS])
{
    f->withholds = false;
    for (unsigned i = 0; i < PROCFEATURE_BANKS; i++)
        f->disabled[i] = disabled[i];
    withhold_dependent(f->disabled);
    for (unsigned i = 0; i < FEATURES; i++)
        f->withholds |= (f->disabled[features[i].bank] & features[i].mask) != 0;
    keep(f);
}

static uint32_t *register_of(struct cpuid_entry *e, enum leaf_register reg)
{
    uint32_t *registers[] = {[EAX] = &e->eax, [EBX] = &e->ebx, [ECX] = &e->ecx, [EDX] = &e->edx};

    return registers[reg];
}

// SDM 2A: IBRS and IBPB share leaf 7's bit.
static void hide_shared(const struct procfeatures *f, uint32_t leaf, struct cpuid_entry *e)
{
    if (leaf == 7 && (f->disabled[PROCFEATURES0] & HV_PROC_FEATURE0_IBPB))
        e->edx &= ~(1u << 26);
}

void procfeatures_hide(const struct procfeatures *f, uint32_t leaf, uint32_t subleaf,
                       struct cpuid_entry *e)
{
    if (!f->withholds)
        return;
    for (unsigned i = 0; i < FEATURES; i++)
        if (features[i].leaf == leaf && features[i].subleaf == subleaf &&
            (f->disabled[features[i].bank] & features[i].mask))
            *register_of(e, features[i].reg) &= ~(1u << features[i].bit);
    if (subleaf == 0)
        hide_shared(f, leaf, e);
}

uint64_t procfeatures_bank(const struct procfeatures *f, enum procfeature_bank bank)
{
    uint64_t has = 0;

    for (unsigned i = 0; i < FEATURES; i++) {
        struct cpuid_entry e;
        if (features[i].bank != bank)
            continue;
        cpuid_offered(features[i].leaf, features[i].subleaf, &e);
        if (*register_of(&e, features[i].reg) >> features[i].bit & 1)
            has |= features[i].mask;
    }
    return has & ~f->disabled[bank];
}
