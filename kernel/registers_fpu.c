// SPDX-License-Identifier: BSD-2-Clause-Patent
// XMM, x87 and YMM registers, in the VP's XSAVE area (SDM 1 10.5.1, 13.4). A
// component whose XSTATE_BV bit is clear is in its initial state whatever the memory holds.
#include "corbel/cpufeatures.h"
#include "corbel/fpu.h"
#include "corbel/partition.h"
#include "corbel/string.h"
#include "corbel/vp.h"
#include "hv/status.h"
#include "kernel/registers_priv.h"

enum {
    LEGACY_FCW = 0,
    LEGACY_FSW = 2,
    LEGACY_FTW = 4,
    LEGACY_FOP = 6,
    LEGACY_RIP = 8,
    LEGACY_RDP = 16,
    LEGACY_MXCSR = 24,
    LEGACY_ST = 32,
    LEGACY_XMM = 160,
    XSTATE_BV = 512,
    STATE_X87 = 1,
    STATE_SSE = 2,
    STATE_AVX = 4,
    AVX_YMM = 576, // upper halves: the standard format's place (SDM 1 13.4.2)
    FCW_INITIAL = 0x37f,
    XMM_BYTES = 256,
    ST_BYTES = 128
};

// Whether the component is in memory, not initial.
static bool present(const struct vp *vp, uint64_t component)
{
    uint64_t bv;

    if (!cpu_features.xsave)
        return true;
    memcpy(&bv, vp->xsave + XSTATE_BV, sizeof(bv));
    return bv & component;
}

// Writes the initial state out, so that a part of it can be changed.
static void make_present(struct vp *vp, uint64_t component)
{
    uint64_t bv;

    fpu_changed(vp);
    if (present(vp, component))
        return;
    if (component != STATE_X87) {
        memset(vp->xsave + (component == STATE_SSE ? LEGACY_XMM : AVX_YMM), 0, XMM_BYTES);
    } else {
        uint16_t fcw = FCW_INITIAL;
        memset(vp->xsave, 0, LEGACY_MXCSR);
        memcpy(vp->xsave + LEGACY_FCW, &fcw, sizeof(fcw));
        memset(vp->xsave + LEGACY_ST, 0, ST_BYTES);
    }
    memcpy(&bv, vp->xsave + XSTATE_BV, sizeof(bv));
    bv |= component;
    memcpy(vp->xsave + XSTATE_BV, &bv, sizeof(bv));
}

static void get_x87_control(const struct vp *vp, struct hv_x64_fp_control_status_register *c)
{
    if (!present(vp, STATE_X87)) {
        c->fp_control = FCW_INITIAL;
        return;
    }
    memcpy(c, vp->xsave, sizeof(*c)); // FCW, FSW, FTW, -, FOP, RIP: the same order
    c->ignne = 0;
}

static void get_sse_control(const struct vp *vp, struct hv_x64_xmm_control_status_register *c)
{
    if (present(vp, STATE_X87))
        memcpy(&c->last_rdp, vp->xsave + LEGACY_RDP, sizeof(c->last_rdp));
    memcpy(&c->mxcsr, vp->xsave + LEGACY_MXCSR, sizeof(c->mxcsr));
    c->mxcsr_mask = cpu_features.mxcsr_mask;
}

// x87 and SSE registers have 16 bytes each, whatever of them is used (SDM 1 10.5.1).
static uint8_t *legacy_slot(struct vp *vp, uint32_t area, size_t index)
{
    return vp->xsave + area + 16 * index;
}

uint16_t register_get_fpu(struct vp *vp, uint32_t name, union hv_register_value *value)
{
    if (name <= HV_REGISTER_XMM(15)) {
        if (present(vp, STATE_SSE))
            memcpy(value, legacy_slot(vp, LEGACY_XMM, name - HV_REGISTER_XMM(0)), 16);
    } else if (name <= HV_REGISTER_FP_MMX(7)) {
        if (present(vp, STATE_X87))
            memcpy(value, legacy_slot(vp, LEGACY_ST, name - HV_REGISTER_FP_MMX(0)), 10);
    } else if (name == HV_REGISTER_FP_CONTROL_STATUS) {
        get_x87_control(vp, &value->fp_control_status);
    } else if (name == HV_REGISTER_XMM_CONTROL_STATUS) {
        get_sse_control(vp, &value->xmm_control_status);
    } else {
        return HV_STATUS_INVALID_PARAMETER;
    }
    return HV_STATUS_SUCCESS;
}

static uint16_t set_sse_control(struct vp *vp, const struct hv_x64_xmm_control_status_register *c)
{
    if (c->mxcsr & ~cpu_features.mxcsr_mask)
        return HV_STATUS_INVALID_REGISTER_VALUE; // XRSTOR would fault in the hypervisor
    make_present(vp, STATE_X87);
    memcpy(vp->xsave + LEGACY_RDP, &c->last_rdp, sizeof(c->last_rdp));
    memcpy(vp->xsave + LEGACY_MXCSR, &c->mxcsr, sizeof(c->mxcsr));
    return HV_STATUS_SUCCESS;
}

uint16_t register_set_fpu(struct vp *vp, uint32_t name, const union hv_register_value *value)
{
    if (name <= HV_REGISTER_XMM(15)) {
        make_present(vp, STATE_SSE);
        memcpy(legacy_slot(vp, LEGACY_XMM, name - HV_REGISTER_XMM(0)), value, 16);
    } else if (name <= HV_REGISTER_FP_MMX(7)) {
        make_present(vp, STATE_X87);
        memcpy(legacy_slot(vp, LEGACY_ST, name - HV_REGISTER_FP_MMX(0)), value, 10);
    } else if (name == HV_REGISTER_FP_CONTROL_STATUS) {
        struct hv_x64_fp_control_status_register c = value->fp_control_status;
        c.ignne = 0;
        make_present(vp, STATE_X87);
        memcpy(vp->xsave, &c, sizeof(c));
    } else if (name == HV_REGISTER_XMM_CONTROL_STATUS) {
        return set_sse_control(vp, &value->xmm_control_status);
    } else {
        return HV_STATUS_INVALID_PARAMETER;
    }
    return HV_STATUS_SUCCESS;
}

// The lower halves are the XMM registers.
uint16_t register_get_ymm(struct vp *vp, uint32_t name, union hv_register_value *value)
{
    if (!(vp->partition->features.xcr0 & STATE_AVX) || name > HV_REGISTER_YMM_HIGH(15))
        return HV_STATUS_INVALID_PARAMETER;
    if (name <= HV_REGISTER_YMM_LOW(15))
        return register_get_fpu(vp, name - HV_REGISTER_YMM_LOW(0) + HV_REGISTER_XMM(0), value);
    if (present(vp, STATE_AVX))
        memcpy(value, legacy_slot(vp, AVX_YMM, name - HV_REGISTER_YMM_HIGH(0)), 16);
    return HV_STATUS_SUCCESS;
}

uint16_t register_set_ymm(struct vp *vp, uint32_t name, const union hv_register_value *value)
{
    if (!(vp->partition->features.xcr0 & STATE_AVX) || name > HV_REGISTER_YMM_HIGH(15))
        return HV_STATUS_INVALID_PARAMETER;
    if (name <= HV_REGISTER_YMM_LOW(15))
        return register_set_fpu(vp, name - HV_REGISTER_YMM_LOW(0) + HV_REGISTER_XMM(0), value);
    vp->xcr0_seen |= STATE_AVX;
    make_present(vp, STATE_AVX);
    memcpy(legacy_slot(vp, AVX_YMM, name - HV_REGISTER_YMM_HIGH(0)), value, 16);
    return HV_STATUS_SUCCESS;
}
