// SPDX-License-Identifier: BSD-2-Clause-Patent
// GUIDs as they stand in messages: 16 bytes, the first three fields little endian
// (MS-DTYP 2.3.4.2).
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct vmbus_guid {
    uint8_t bytes[16];
};
_Static_assert(sizeof(struct vmbus_guid) == 16, "wire size of a GUID");

// Initialiser from the written form aaaaaaaa-bbbb-cccc-d0d1-d2d3d4d5d6d7.
#define VMBUS_GUID(a, b, c, d0, d1, d2, d3, d4, d5, d6, d7)                                        \
    {                                                                                              \
        {                                                                                          \
            (uint8_t)((a)&0xFF), (uint8_t)((a) >> 8 & 0xFF), (uint8_t)((a) >> 16 & 0xFF),          \
                (uint8_t)((a) >> 24 & 0xFF), (uint8_t)((b)&0xFF), (uint8_t)((b) >> 8 & 0xFF),      \
                (uint8_t)((c)&0xFF), (uint8_t)((c) >> 8 & 0xFF), d0, d1, d2, d3, d4, d5, d6, d7,   \
        }                                                                                          \
    }

bool vmbus_guid_equal(const struct vmbus_guid *a, const struct vmbus_guid *b);

// Order by bytes: negative, 0 or positive, as memcmp().
int vmbus_guid_compare(const struct vmbus_guid *a, const struct vmbus_guid *b);
