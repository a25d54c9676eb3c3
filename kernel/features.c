// SPDX-License-Identifier: BSD-2-Clause-Patent
// Synthetic processor features (tlfs-reference 2.19): the property by which a parent says, before
// the partition is initialized, what of Hv#1 its child is to have. Most features are privileges
// under another number; the rest are kept in the partition.
#include "corbel/partition.h"
#include "hv/status.h"

#define FEATURES_ALWAYS  (HV_SYNTH_FEATURE_HYPERVISOR_PRESENT | HV_SYNTH_FEATURE_HV1)
#define PRIVILEGES_LEAST (HV_PRIV_ACCESS_HYPERCALL_MSRS | HV_PRIV_ACCESS_VP_INDEX)

static const struct {
    uint64_t feature, privilege;
} meanings[] = {
    {HV_SYNTH_FEATURE_ACCESS_VP_RUN_TIME_REG, HV_PRIV_ACCESS_VP_RUNTIME_REG},
    {HV_SYNTH_FEATURE_ACCESS_PARTITION_REFERENCE_COUNTER,
     HV_PRIV_ACCESS_PARTITION_REFERENCE_COUNTER},
    {HV_SYNTH_FEATURE_ACCESS_SYNIC_REGS, HV_PRIV_ACCESS_SYNIC_REGS},
    {HV_SYNTH_FEATURE_ACCESS_SYNTHETIC_TIMER_REGS, HV_PRIV_ACCESS_SYNTHETIC_TIMER_REGS},
    {HV_SYNTH_FEATURE_ACCESS_INTR_CTRL_REGS, HV_PRIV_ACCESS_INTR_CTRL_REGS},
    {HV_SYNTH_FEATURE_ACCESS_HYPERCALL_REGS, HV_PRIV_ACCESS_HYPERCALL_MSRS},
    {HV_SYNTH_FEATURE_ACCESS_VP_INDEX, HV_PRIV_ACCESS_VP_INDEX},
    {HV_SYNTH_FEATURE_ACCESS_PARTITION_REFERENCE_TSC, HV_PRIV_ACCESS_PARTITION_REFERENCE_TSC},
    {HV_SYNTH_FEATURE_ACCESS_GUEST_IDLE_REG, HV_PRIV_ACCESS_GUEST_IDLE_REG},
    {HV_SYNTH_FEATURE_ACCESS_FREQUENCY_REGS, HV_PRIV_ACCESS_FREQUENCY_REGS},
    {HV_SYNTH_FEATURE_ENABLE_EXTENDED_GVA_RANGES, HV_PRIV_ENABLE_EXTENDED_GVA_RANGES},
    {HV_SYNTH_FEATURE_FAST_HYPERCALL_OUTPUT, HV_PRIV_FAST_HYPERCALL_OUTPUT},
    {HV_SYNTH_FEATURE_START_VIRTUAL_PROCESSOR, HV_PRIV_START_VIRTUAL_PROCESSOR},
    {HV_SYNTH_FEATURE_SIGNAL_EVENTS, HV_PRIV_SIGNAL_EVENTS},
    {HV_SYNTH_FEATURE_ACCESS_VP_REGS, HV_PRIV_ACCESS_VP_REGISTERS},
};
#define MEANINGS (sizeof(meanings) / sizeof(meanings[0]))

uint16_t partition_set_privileges(struct partition *p, uint64_t privileges)
{
    if ((privileges & ~PRIVILEGES_GUEST) || (privileges & PRIVILEGES_LEAST) != PRIVILEGES_LEAST)
        return HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
    p->privileges = privileges;
    return HV_STATUS_SUCCESS;
}

uint64_t partition_features(const struct partition *p)
{
    uint64_t features = FEATURES_ALWAYS | p->synthetic_features;

    for (unsigned i = 0; i < MEANINGS; i++)
        features |= p->privileges & meanings[i].privilege ? meanings[i].feature : 0;
    return features;
}

uint16_t partition_set_features(struct partition *p, uint64_t features)
{
    uint64_t privileges = p->privileges, rest = features & ~FEATURES_ALWAYS;
    uint16_t status;

    if ((features & FEATURES_ALWAYS) != FEATURES_ALWAYS)
        return HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
    for (unsigned i = 0; i < MEANINGS; i++) {
        privileges &= ~meanings[i].privilege;
        privileges |= features & meanings[i].feature ? meanings[i].privilege : 0;
        rest &= ~meanings[i].feature;
    }
    if (rest & ~FEATURES_GUEST)
        return HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
    status = partition_set_privileges(p, privileges);
    if (status == HV_STATUS_SUCCESS)
        p->synthetic_features = rest;
    return status;
}
