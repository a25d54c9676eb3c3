// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/fpu.h"

#include "corbel/cpufeatures.h"
#include "corbel/layout.h"
#include "corbel/lp.h"
#include "corbel/string.h"
#include "corbel/vp.h"
#include "corbel/x86.h"

// Components kept for guests: x87, SSE, AVX, AVX-512, PKRU. One page holds them (SDM 1 13.4).
enum {
    XCR0_X87 = 1u << 0,
    XCR0_SSE = 1u << 1,
    XCR0_AVX = 1u << 2,
    XCR0_AVX512 = 7u << 5,
    XCR0_PKRU = 1u << 9,
    XCR0_KNOWN = XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512 | XCR0_PKRU
};
#define FCW_INIT        0x37f
#define MXCSR_OFFSET    24
#define MXCSR_INIT      0x1f80
#define XSTATE_BV       512
#define EXTENDED_OFFSET 576

void fpu_probe(void)
{
    static uint8_t image[512] __attribute__((aligned(16)));
    struct cpu_features *f = &cpu_features;

    // A processor that stores no mask has the one of SDM 1 11.6.6.
    __asm__ volatile("fxsave64 (%0)" : : "r"(image) : "memory");
    memcpy(&f->mxcsr_mask, image + MXCSR_OFFSET + 4, sizeof(f->mxcsr_mask));
    f->mxcsr_mask = f->mxcsr_mask ? f->mxcsr_mask : 0xffbf;
    f->xcr0 = XCR0_X87 | XCR0_SSE;
    if (!f->xsave)
        return;
    struct cpuid_regs d = cpuid(13, 0);
    f->xcr0 = (d.eax | (uint64_t)d.edx << 32) & XCR0_KNOWN;
    if ((f->xcr0 & XCR0_AVX512) != XCR0_AVX512)
        f->xcr0 &= ~(uint64_t)XCR0_AVX512;
    // XRSTORS by a guest would load what its firmware has left in IA32_XSS.
    f->xsaves = (cpuid(13, 1).eax & FPU_XSAVES) && rdmsr(MSR_XSS) == 0;
}

bool fpu_xcr0_valid(uint64_t allowed, uint64_t v)
{
    if ((v & ~allowed) || !(v & XCR0_X87))
        return false;
    if ((v & XCR0_AVX) && !(v & XCR0_SSE))
        return false;
    if ((v & XCR0_AVX512) && ((v & XCR0_AVX512) != XCR0_AVX512 || !(v & XCR0_AVX)))
        return false;
    return true;
}

void fpu_enable(void)
{
    uint64_t cr4 = read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT;
    if (cpu_features.xsave)
        cr4 |= CR4_OSXSAVE;
    write_cr4(cr4);
    write_cr0((read_cr0() | CR0_MP | CR0_NE) & ~(uint64_t)(CR0_EM | CR0_TS));
}

void fpu_init(struct vp *vp)
{
    uint32_t mxcsr = MXCSR_INIT;
    uint16_t fcw = FCW_INIT;

    memset(vp->xsave, 0, PAGE_SIZE);
    memcpy(vp->xsave, &fcw, sizeof(fcw));
    memcpy(vp->xsave + MXCSR_OFFSET, &mxcsr, sizeof(mxcsr));
    if (cpu_features.xsave) { // standard format, x87 and SSE present
        uint64_t present = XCR0_X87 | XCR0_SSE;
        memcpy(vp->xsave + XSTATE_BV, &present, sizeof(present));
    }
    vp->xcr0 = vp->xcr0_seen = XCR0_X87;
    vp->fpu_lp = UINT32_MAX;
}

// Whether the VP has nothing but what FXSAVE keeps, now and ever before.
static inline bool legacy_only(const struct vp *vp)
{
    return !(vp->xcr0_seen & ~(uint64_t)(XCR0_X87 | XCR0_SSE));
}

static void set_xcr0(struct lp *lp, uint64_t value)
{
    if (lp->xcr0 == value)
        return;
    xsetbv(0, value);
    lp->xcr0 = value;
}

static void save_all(struct lp *lp, const struct vp *vp)
{
    set_xcr0(lp, cpu_features.xcr0);
    __asm__ volatile("xsave64 (%0)"
                     :
                     : "r"(vp->xsave), "a"((uint32_t)cpu_features.xcr0),
                       "d"((uint32_t)(cpu_features.xcr0 >> 32))
                     : "memory");
}

// Whether a component beyond x87 and SSE has another value than at reset, which is zero in all of
// them. XSTATE_BV alone need not tell: a processor may call everything in use (SDM 1 13.6).
static bool extended_in_use(const struct vp *vp)
{
    const uint64_t *words = (const uint64_t *)vp->xsave;
    uint64_t any = 0;

    for (uint32_t i = EXTENDED_OFFSET / 8; i < PAGE_SIZE / 8; i++)
        any |= words[i];
    return any;
}

void fpu_capture(struct lp *lp, struct vp *vp)
{
    uint64_t present;

    vp->fpu_lp = lp->index;
    lp->fpu_owner = vp;
    lp->xcr0 = vp->xcr0 = vp->xcr0_seen = cpu_features.xsave ? xgetbv(0) : XCR0_X87;
    if (!cpu_features.xsave)
        return;
    save_all(lp, vp);
    memcpy(&present, vp->xsave + XSTATE_BV, sizeof(present));
    set_xcr0(lp, vp->xcr0);
    if (extended_in_use(vp))
        vp->xcr0_seen |= present;
    lp->fpu_extended = !legacy_only(vp);
    present |= XCR0_X87 | XCR0_SSE;
    memcpy(vp->xsave + XSTATE_BV, &present, sizeof(present));
}

void fpu_changed(struct vp *vp)
{
    vp->fpu_lp = UINT32_MAX;
}

void fpu_set_xcr0(struct lp *lp, struct vp *vp, uint64_t value)
{
    vp->xcr0 = value;
    vp->xcr0_seen |= value;
    if (lp->vp != vp)
        return;
    set_xcr0(lp, value);
    lp->fpu_extended |= !legacy_only(vp);
}

// All components are moved whatever the VP's XCR0: what it disabled it may enable again. XSTATE_BV
// of a VP that never had more than x87 and SSE names these two.
void fpu_save(struct lp *lp, const struct vp *vp)
{
    if (legacy_only(vp))
        __asm__ volatile("fxsave64 (%0)" : : "r"(vp->xsave) : "memory");
    else
        save_all(lp, vp);
}

// Beyond x87 and SSE the registers are in their initial state unless lp->fpu_extended.
void fpu_load(struct lp *lp, struct vp *vp)
{
    bool resident = lp->fpu_owner == vp && vp->fpu_lp == lp->index;

    lp->fpu_owner = vp;
    vp->fpu_lp = lp->index;
    if (!resident && legacy_only(vp) && !lp->fpu_extended) {
        __asm__ volatile("fxrstor64 (%0)" : : "r"(vp->xsave) : "memory");
    } else if (!resident) {
        set_xcr0(lp, cpu_features.xcr0);
        __asm__ volatile("xrstor64 (%0)"
                         :
                         : "r"(vp->xsave), "a"((uint32_t)cpu_features.xcr0),
                           "d"((uint32_t)(cpu_features.xcr0 >> 32))
                         : "memory");
        lp->fpu_extended = !legacy_only(vp);
    }
    if (cpu_features.xsave)
        set_xcr0(lp, vp->xcr0);
}
