// SPDX-License-Identifier: BSD-2-Clause-Patent
// HV_VP_SET and processor masks (tlfs-reference 2.14), as far as VPs can exist. Pure.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "hv/status.h"
#include "hv/synic.h"

#define VP_SET_BANKS 4u // 256 VPs

struct vp_set {
    uint64_t bank[VP_SET_BANKS];
};

static inline void vp_set_all(struct vp_set *s)
{
    for (uint32_t i = 0; i < VP_SET_BANKS; i++)
        s->bank[i] = UINT64_MAX;
}

static inline void vp_set_mask(struct vp_set *s, uint64_t mask)
{
    for (uint32_t i = 1; i < VP_SET_BANKS; i++)
        s->bank[i] = 0;
    s->bank[0] = mask;
}

static inline bool vp_set_has(const struct vp_set *s, uint32_t index)
{
    return index < VP_SET_BANKS * 64 && (s->bank[index / 64] >> (index % 64) & 1);
}

// `bytes` bytes of banks follow the set: one for each bit of its mask, also with format ALL. Banks
// of VPs that cannot exist are ignored. HV_STATUS_INVALID_PARAMETER: format;
// HV_STATUS_INVALID_HYPERCALL_INPUT: number of banks.
static inline uint16_t vp_set_parse(const struct hv_vp_set *in, uint32_t bytes, struct vp_set *s)
{
    const uint64_t *banks = (const uint64_t *)(in + 1);
    uint64_t mask = in->valid_banks_mask;
    uint32_t count = 0;

    if (in->format != HV_VP_SET_FORMAT_SPARSE && in->format != HV_VP_SET_FORMAT_ALL)
        return HV_STATUS_INVALID_PARAMETER;
    vp_set_mask(s, 0);
    for (uint32_t i = 0; i < HV_VP_SET_MAX_BANKS; i++) {
        if (!(mask >> i & 1))
            continue;
        if ((count + 1) * 8 > bytes)
            return HV_STATUS_INVALID_HYPERCALL_INPUT;
        if (i < VP_SET_BANKS)
            s->bank[i] = banks[count];
        count++;
    }
    if (count * 8 != bytes)
        return HV_STATUS_INVALID_HYPERCALL_INPUT;
    if (in->format == HV_VP_SET_FORMAT_ALL)
        vp_set_all(s);
    return HV_STATUS_SUCCESS;
}
