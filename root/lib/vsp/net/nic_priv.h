// SPDX-License-Identifier: BSD-2-Clause-Patent
// Between the files of the network adapter: the OIDs that need more than a line.
#pragma once

#include "nic.h"

// Queries write to `out` and return the size; `in` is what the guest sent along.
uint32_t nic_query_offload_capabilities(const struct nic *nic, const uint8_t *in, uint32_t size,
                                        uint8_t *out);
uint32_t nic_query_offload_config(const struct nic *nic, const uint8_t *in, uint32_t size,
                                  uint8_t *out);
uint32_t nic_query_rss_capabilities(const struct nic *nic, const uint8_t *in, uint32_t size,
                                    uint8_t *out);

// Sets return an RNDIS_STATUS.
uint32_t nic_set_offload(struct nic *nic, const uint8_t *in, uint32_t size);
uint32_t nic_set_rss(struct nic *nic, const uint8_t *in, uint32_t size);
uint32_t nic_set_config_parameter(struct nic *nic, const uint8_t *in, uint32_t size);

// [offset, offset + length) is inside `size` bytes.
static inline bool nic_inside(uint32_t offset, uint32_t length, uint32_t size)
{
    return offset <= size && length <= size - offset;
}
