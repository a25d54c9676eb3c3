// SPDX-License-Identifier: BSD-2-Clause-Patent
// GUIDs: contract in guid.h.
#include "guid.h"

#include "../mem.h"

int vmbus_guid_compare(const struct vmbus_guid *a, const struct vmbus_guid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

bool vmbus_guid_equal(const struct vmbus_guid *a, const struct vmbus_guid *b)
{
    return vmbus_guid_compare(a, b) == 0;
}
