// SPDX-License-Identifier: BSD-2-Clause-Patent
// Saved state of dynamic memory: what is ballooned, and the operation under way. The new owner
// hears of every ballooned page by `taken`, before anything else.
#include "dynmem_priv.h"

enum { SAVED_VERSION = 1 };

void dynmem_save(void *device, struct vmbus_channel *primary, struct blob_writer *blob)
{
    const struct dynmem *dynmem = device;

    (void)primary;
    blob_put_u32(blob, SAVED_VERSION);
    blob_put_u32(blob, (uint32_t)dynmem->state);
    blob_put_u32(blob, dynmem->version);
    blob_put_u8(blob, dynmem->can_balloon);
    blob_put_u8(blob, dynmem->can_hot_add);
    blob_put_u32(blob, dynmem->alignment);
    blob_put_u64(blob, dynmem->ready_since);
    blob_put_u32(blob, (uint32_t)dynmem->operation);
    blob_put_u8(blob, dynmem->request_due);
    blob_put_u8(blob, dynmem->reply_due);
    blob_put_u8(blob, dynmem->accepted);
    blob_put_u32(blob, dynmem->transaction);
    blob_put_u64(blob, dynmem->wanted);
    blob_put_u64(blob, dynmem->moved);
    blob_put_u64(blob, dynmem->asked);
    blob_put_u64(blob, dynmem->next);
    dynmem_pages_save(dynmem, blob);
}

static void restore_operation(struct dynmem *dynmem, struct blob_reader *blob)
{
    dynmem->operation = (enum dynmem_operation)blob_get_max(blob, DYNMEM_HOT_ADD);
    dynmem->request_due = blob_get_bool(blob);
    dynmem->reply_due = blob_get_bool(blob);
    dynmem->accepted = blob_get_bool(blob);
    dynmem->transaction = blob_get_u32(blob);
    dynmem->wanted = blob_get_u64(blob);
    dynmem->moved = blob_get_u64(blob);
    dynmem->asked = blob_get_u64(blob);
    dynmem->next = blob_get_u64(blob);
    const uint64_t pages = dynmem->config.pages;
    const uint64_t from = dynmem->operation == DYNMEM_HOT_ADD ? dynmem->next : 0;
    if (dynmem->next > pages || dynmem->wanted > pages - from || dynmem->moved > pages ||
        dynmem->asked > dynmem->wanted ||
        (dynmem->operation != DYNMEM_NONE && dynmem->state != DYNMEM_READY)) {
        blob_fail(blob);
    }
}

static void restore_negotiated(struct dynmem *dynmem, struct blob_reader *blob)
{
    dynmem->state = (enum dynmem_state)blob_get_max(blob, DYNMEM_READY);
    dynmem->version = blob_get_u32(blob);
    dynmem->can_balloon = blob_get_bool(blob);
    dynmem->can_hot_add = blob_get_bool(blob);
    dynmem->alignment = blob_get_u32(blob);
    dynmem->ready_since = blob_get_u64(blob);
    if (dynmem->can_hot_add &&
        (dynmem->alignment == 0 || (dynmem->alignment & (dynmem->alignment - 1)))) {
        blob_fail(blob);
    }
}

bool dynmem_restore(void *device, struct vmbus_channel *primary, struct blob_reader *blob)
{
    struct dynmem *dynmem = device;

    if (blob_get_u32(blob) != SAVED_VERSION) {
        return false;
    }
    restore_negotiated(dynmem, blob);
    restore_operation(dynmem, blob);
    if (!blob->failed && dynmem_pages_restore(dynmem, blob) &&
        (dynmem->state != DYNMEM_CLOSED) == vmbus_channel_is_open(primary)) {
        return true;
    }
    dynmem_pages_give_all(dynmem);
    dynmem->state = DYNMEM_CLOSED;
    dynmem->operation = DYNMEM_NONE;
    dynmem->request_due = dynmem->reply_due = false;
    return false;
}
