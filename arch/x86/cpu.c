// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/cpufeatures.h"

#include "corbel/fpu.h"
#include "corbel/speculation.h"
#include "corbel/x86.h"

struct cpu_features cpu_features;

enum {
    CPUID1_ECX_X2APIC = 1u << 21,
    CPUID1_ECX_DEADLINE = 1u << 24,
    CPUID1_ECX_XSAVE = 1u << 26,
    CPUID7_EBX_FSGSBASE = 1u << 0,
    CPUID7_EBX_SMEP = 1u << 7,
    CPUID7_EBX_SMAP = 1u << 20,
    CPUID7_ECX_UMIP = 1u << 2,
    CPUID7_ECX_PKU = 1u << 3,
    CPUID7_ECX_LA57 = 1u << 16,
    CPUID1_ECX_PCID = 1u << 17,
    CPUID81_EDX_NX = 1u << 20,
    CPUID81_EDX_FFXSR = 1u << 25,
    CPUID81_EDX_HUGE = 1u << 26,
    CPUID81_EDX_RDTSCP = 1u << 27
};

static uint64_t guest_cr4(const struct cpuid_regs *one, const struct cpuid_regs *seven)
{
    uint64_t bits = 0x7ff; // VME..OSXMMEXCPT exist wherever long mode does

    bits |= one->ecx & CPUID1_ECX_PCID ? CR4_PCIDE : 0;
    bits |= one->ecx & CPUID1_ECX_XSAVE ? CR4_OSXSAVE : 0;
    bits |= seven->ebx & CPUID7_EBX_FSGSBASE ? CR4_FSGSBASE : 0;
    bits |= seven->ebx & CPUID7_EBX_SMEP ? CR4_SMEP : 0;
    bits |= seven->ebx & CPUID7_EBX_SMAP ? CR4_SMAP : 0;
    bits |= seven->ecx & CPUID7_ECX_UMIP ? CR4_UMIP : 0;
    bits |= seven->ecx & CPUID7_ECX_PKU ? CR4_PKE : 0;
    bits |= seven->ecx & CPUID7_ECX_LA57 ? CR4_LA57 : 0;
    return bits;
}

static void probe_speculation(uint32_t signature, uint32_t leaf7_edx, uint32_t extended_max)
{
    struct speculation_leaves l = {.signature = signature, .leaf7_edx = leaf7_edx};

    if (extended_max >= 0x80000008)
        l.leaf88_ebx = cpuid(0x80000008, 0).ebx;
    if (extended_max >= 0x80000021) {
        l.leaf821_eax = cpuid(0x80000021, 0).eax;
        l.leaf821_ecx = cpuid(0x80000021, 0).ecx;
    }
    cpu_features.speculation =
        cpu_features.amd ? speculation_duties(&l) : speculation_duties_intel(&l);
    speculation_sort(cpu_features.speculation, &cpu_features.changes);
}

void cpu_probe(void)
{
    struct cpuid_regs vendor = cpuid(0, 0), one = cpuid(1, 0), seven = {0, 0, 0, 0};
    struct cpuid_regs extended = cpuid(0x80000001, 0);
    uint32_t extended_max = cpuid(0x80000000, 0).eax;
    struct cpu_features *f = &cpu_features;

    if (vendor.eax >= 7)
        seven = cpuid(7, 0);
    f->amd = vendor.ecx == 0x444d4163 || vendor.ecx == 0x656e6975; // "cAMD", "uine" (Hygon)
    f->intel = vendor.ecx == 0x6c65746e;                           // "ntel"
    f->x2apic = one.ecx & CPUID1_ECX_X2APIC;
    f->tsc_deadline = one.ecx & CPUID1_ECX_DEADLINE;
    f->xsave = one.ecx & CPUID1_ECX_XSAVE;
    f->smep = seven.ebx & CPUID7_EBX_SMEP;
    f->smap = seven.ebx & CPUID7_EBX_SMAP;
    f->umip = seven.ecx & CPUID7_ECX_UMIP;
    f->nx = extended.edx & CPUID81_EDX_NX;
    f->huge_pages = extended.edx & CPUID81_EDX_HUGE;
    f->rdtscp = extended.edx & CPUID81_EDX_RDTSCP;
    f->physical_bits = extended_max >= 0x80000008 ? cpuid(0x80000008, 0).eax & 0xff : 36;
    probe_speculation(one.eax, seven.edx, extended_max);
    f->guest_cr4 = guest_cr4(&one, &seven);
    f->guest_efer = EFER_SCE | EFER_LME | (f->nx ? EFER_NXE : 0) |
                    (extended.edx & CPUID81_EDX_FFXSR ? EFER_FFXSR : 0) |
                    (f->speculation & SPECULATION_AUTO_IBRS ? EFER_AUTO_IBRS : 0);
    fpu_probe();
}
