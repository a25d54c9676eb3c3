// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "vmx/caps.h"

#include <stddef.h>

#include "vmx/vmcs.h"

enum group { PIN, CPU, CPU2, EXIT, ENTRY, GROUPS };

// One row a control: without a text it is optional.
struct control {
    enum group group;
    uint32_t bit;
    const char *lacking;
};

static const struct control controls[] = {
    {PIN, VMX_PIN_EXTERNAL, "external-interrupt exiting"},
    {PIN, VMX_PIN_NMI, "NMI exiting"},
    {PIN, VMX_PIN_VIRTUAL_NMI, "virtual NMIs"},
    {CPU, VMX_CPU_INTERRUPT_WINDOW, "interrupt-window exiting"},
    {CPU, VMX_CPU_NMI_WINDOW, "NMI-window exiting"},
    {CPU, VMX_CPU_TSC_OFFSET, "TSC offsetting"},
    {CPU, VMX_CPU_HLT, "HLT exiting"},
    {CPU, VMX_CPU_MWAIT, "MWAIT exiting"},
    {CPU, VMX_CPU_MONITOR, "MONITOR exiting"},
    {CPU, VMX_CPU_RDPMC, "RDPMC exiting"},
    {CPU, VMX_CPU_IO, "unconditional I/O exiting"},
    {CPU, VMX_CPU_MSR_BITMAP, "MSR bitmaps"},
    {CPU, VMX_CPU_SECONDARY, "secondary controls"},
    {CPU, VMX_CPU_TPR_SHADOW, NULL},
    {CPU2, VMX_CPU2_EPT, "extended page tables"},
    {CPU2, VMX_CPU2_UNRESTRICTED, "unrestricted guest"},
    {CPU2, VMX_CPU2_VPID, NULL},
    {CPU2, VMX_CPU2_RDTSCP, NULL},
    {CPU2, VMX_CPU2_INVPCID, NULL},
    {CPU2, VMX_CPU2_PAUSE_LOOP, NULL},
    {CPU2, VMX_CPU2_XSAVES, NULL},
    {EXIT, VMX_EXIT_SAVE_DEBUG, "saving debug controls"},
    {EXIT, VMX_EXIT_HOST_64, "a 64-bit host"},
    {EXIT, VMX_EXIT_SAVE_PAT, "saving PAT"},
    {EXIT, VMX_EXIT_LOAD_PAT, "loading PAT at exits"},
    {EXIT, VMX_EXIT_SAVE_EFER, "saving EFER"},
    {EXIT, VMX_EXIT_LOAD_EFER, "loading EFER at exits"},
    {ENTRY, VMX_ENTRY_LOAD_DEBUG, "loading debug controls"},
    {ENTRY, VMX_ENTRY_LONG_MODE, "64-bit guests"},
    {ENTRY, VMX_ENTRY_LOAD_PAT, "loading PAT"},
    {ENTRY, VMX_ENTRY_LOAD_EFER, "loading EFER"},
};

static bool has(uint64_t set, uint64_t wanted)
{
    return (set & wanted) == wanted;
}

// Bits that are not set for every VP but must be free to be set and cleared.
static const uint32_t switched[GROUPS] = {
    [PIN] = VMX_PIN_POSTED | VMX_PIN_PREEMPTION_TIMER,
    [EXIT] = VMX_EXIT_ACKNOWLEDGE | VMX_EXIT_SAVE_PREEMPTION_TIMER,
    [CPU] = VMX_CPU_INTERRUPT_WINDOW | VMX_CPU_NMI_WINDOW | VMX_CPU_RDPMC | VMX_CPU_IO,
    [CPU2] = VMX_CPU2_PAUSE_LOOP | VMX_CPU2_APICV | VMX_CPU2_TSC_SCALING,
    [ENTRY] = VMX_ENTRY_LONG_MODE,
};

static const char *collect(const struct vmx_msrs *m, uint32_t value[GROUPS])
{
    const uint64_t msr[GROUPS] = {m->pin, m->cpu, m->cpu2, m->exit, m->entry};

    for (unsigned g = 0; g < GROUPS; g++)
        value[g] = (uint32_t)msr[g];
    for (unsigned i = 0; i < sizeof(controls) / sizeof(controls[0]); i++) {
        const struct control *c = &controls[i];
        bool may = msr[c->group] >> 32 & c->bit;

        if (!may && c->lacking)
            return c->lacking;
        if (may)
            value[c->group] |= c->bit;
    }
    for (unsigned g = 0; g < GROUPS; g++) {
        if ((uint32_t)msr[g] & switched[g])
            return "a control that can be switched off";
        value[g] &= ~switched[g];
    }
    return NULL;
}

static const char *lacks_ept(uint64_t caps)
{
    if (!has(caps, VMX_CAP_WALK_4 | VMX_CAP_EPT_WB | VMX_CAP_EPT_2M))
        return "EPT of four levels, write-back, with 2 MiB pages";
    if (!has(caps, VMX_CAP_INVEPT | VMX_CAP_INVEPT_CONTEXT | VMX_CAP_INVEPT_ALL))
        return "INVEPT of one and of all contexts";
    return NULL;
}

// What CR3 and CR8 accesses do by default where the processor lets nothing else be chosen.
#define CR3_EXITING (3u << 15)
// What an unrestricted guest has to itself: PG and PE.
#define CR0_UNRESTRICTED UINT64_C(0x80000001)

const char *vmx_make_controls(const struct vmx_msrs *m, struct vmx_controls *c)
{
    uint32_t value[GROUPS];
    const char *lacking;

    if (!(m->basic & VMX_BASIC_TRUE_CONTROLS) || ((uint32_t)m->cpu & CR3_EXITING))
        return "CR3 accesses that do not exit";
    lacking = collect(m, value);
    if (!lacking)
        lacking = lacks_ept(m->ept_vpid);
    if (lacking)
        return lacking;
    *c = (struct vmx_controls){
        .pin = value[PIN],
        .cpu = value[CPU],
        .cpu2 = value[CPU2],
        .exit = value[EXIT],
        .entry = value[ENTRY],
        .cr0_must = m->cr0_fixed0 & ~CR0_UNRESTRICTED,
        .cr0_may = m->cr0_fixed1,
        .cr4_must = m->cr4_fixed0,
        .cr4_may = m->cr4_fixed1,
    };
    c->pause_loop = m->cpu2 >> 32 & VMX_CPU2_PAUSE_LOOP;
    c->tsc_scaling = m->cpu2 >> 32 & VMX_CPU2_TSC_SCALING;
    c->ept_ad = m->ept_vpid & VMX_CAP_EPT_AD;
    c->tpr_shadow = c->cpu & VMX_CPU_TPR_SHADOW;
    c->apicv = c->tpr_shadow && has(m->cpu2 >> 32, VMX_CPU2_APICV);
    c->posted =
        c->apicv && has(m->pin >> 32, VMX_PIN_POSTED) && has(m->exit >> 32, VMX_EXIT_ACKNOWLEDGE);
    c->preemption_timer = has(m->pin >> 32, VMX_PIN_PREEMPTION_TIMER) &&
                          has(m->exit >> 32, VMX_EXIT_SAVE_PREEMPTION_TIMER);
    c->timer_shift = m->misc & VMX_MISC_TIMER_SHIFT;
    if (!c->tpr_shadow)
        c->cpu |= VMX_CPU_CR8_LOAD | VMX_CPU_CR8_STORE;
    c->vpid = (c->cpu2 & VMX_CPU2_VPID) &&
              has(m->ept_vpid, VMX_CAP_INVVPID | VMX_CAP_INVVPID_CONTEXT | VMX_CAP_INVVPID_ALL);
    if (!c->vpid && ((uint32_t)m->cpu2 & VMX_CPU2_VPID))
        return "INVVPID";
    if (!c->vpid)
        c->cpu2 &= ~(uint32_t)VMX_CPU2_VPID;
    return NULL;
}

enum vmx_switch vmx_feature_switch(uint64_t feature_control)
{
    if (!(feature_control & VMX_FEATURE_LOCK))
        return VMX_SWITCH_UNLOCKED;
    return feature_control & VMX_FEATURE_ENABLE ? VMX_SWITCH_ON : VMX_SWITCH_OFF;
}
