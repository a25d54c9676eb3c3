// SPDX-License-Identifier: BSD-2-Clause-Patent
// Backup: contract in vss.h. A message is {u8 operation, 7 bytes reserved, u32 flags}. Whenever
// FREEZE may have reached the guest, THAW follows.
#include "vss.h"

#include "../../mem.h"
#include "../wire.h"

enum vss_operation {
    HOT_BACKUP = 2, // can it be backed up while it runs?
    BACKUP_COMPLETE = 4,
    FREEZE = 5,
    THAW = 6,
};
enum { MESSAGE_SIZE = 12 };

static struct vss *of(struct ic *ic)
{
    return (struct vss *)ic; // its first member
}

static void send_operation(struct vss *vss, enum vss_state state, enum vss_operation operation)
{
    memset(ic_body(&vss->ic), 0, MESSAGE_SIZE);
    ic_body(&vss->ic)[0] = (uint8_t)operation;
    vss->state = state;
    ic_request(&vss->ic, MESSAGE_SIZE, VSS_TIMEOUT);
}

static void thaw(struct vss *vss, uint32_t status)
{
    vss->status = status;
    ic_set_timer(&vss->ic, UINT64_MAX);
    send_operation(vss, VSS_THAWING, THAW);
}

static void not_frozen(struct vss *vss, uint32_t status)
{
    vss->state = VSS_IDLE;
    vss->frozen(vss->ctx, status);
}

static void freeze_answered(struct vss *vss, uint32_t status)
{
    if (status == IC_STATUS_OK) {
        vss->state = VSS_FROZEN;
        vss->was_frozen = true;
        ic_set_timer(&vss->ic, ic_now(&vss->ic) + VSS_FROZEN_LIMIT);
        vss->frozen(vss->ctx, IC_STATUS_OK);
        return;
    }
    // Some file systems may be frozen: whatever is gets thawed, then the owner hears of it.
    thaw(vss, status);
    vss->frozen(vss->ctx, status);
}

// A failed freeze has been reported already: only a good one ends with `thawed`.
static void ended(struct vss *vss)
{
    vss->state = VSS_IDLE;
    if (vss->was_frozen) {
        vss->was_frozen = false;
        vss->thawed(vss->ctx, vss->status);
    }
}

static void done(struct ic *ic, uint32_t status, const uint8_t *body, uint32_t size)
{
    struct vss *vss = of(ic);
    const enum vss_state state = vss->state;

    (void)body, (void)size;
    if (state == VSS_CHECKING && status == IC_STATUS_OK) {
        send_operation(vss, VSS_FREEZING, FREEZE);
    } else if (state == VSS_CHECKING || (state == VSS_FREEZING && status == IC_STATUS_CLOSED)) {
        not_frozen(vss, status);
    } else if (state == VSS_FREEZING) {
        freeze_answered(vss, status);
    } else if (state == VSS_THAWING) {
        vss->status = vss->status == IC_STATUS_OK ? status : vss->status;
        if (status == IC_STATUS_CLOSED) {
            ended(vss);
        } else {
            send_operation(vss, VSS_ENDING, BACKUP_COMPLETE);
        }
    } else {
        ended(vss); // how the guest takes the end of the backup changes nothing
    }
}

static void frozen_too_long(struct ic *ic)
{
    if (of(ic)->state == VSS_FROZEN) {
        thaw(of(ic), IC_STATUS_TIMEOUT);
    }
}

static void closed(struct ic *ic)
{
    struct vss *vss = of(ic);

    vss->thaw_owed = false;
    if (vss->state == VSS_FROZEN) {
        vss->status = IC_STATUS_CLOSED;
        ended(vss);
    }
}

static void ready(struct ic *ic)
{
    struct vss *vss = of(ic);

    if (vss->thaw_owed) {
        vss->thaw_owed = false;
        thaw(vss, IC_STATUS_CLOSED);
    }
}

// The backup itself ends with the host that made it.
static void save(const struct ic *ic, struct blob_writer *blob)
{
    const struct vss *vss = (const struct vss *)ic;

    blob_put_u8(blob, vss->thaw_owed || vss->state == VSS_FREEZING || vss->state == VSS_FROZEN ||
                          vss->state == VSS_THAWING);
}

static void restore(struct ic *ic, struct blob_reader *blob)
{
    of(ic)->thaw_owed = blob_get_bool(blob);
}

static const struct ic_version versions[] = {{5, 0}};

static const struct ic_class vss_class = {
    .class_id =
        VMBUS_GUID(0x35fa2e29, 0xea23, 0x4236, 0x96, 0xae, 0x3a, 0x6e, 0xba, 0xcb, 0xa4, 0x40),
    .instance_id =
        VMBUS_GUID(0x2450ee40, 0x33bf, 0x4fbd, 0x89, 0x2e, 0x9f, 0xb0, 0x6e, 0x92, 0x14, 0xcf),
    .type = IC_VSS,
    .versions = versions,
    .version_count = 1,
    .ready = ready,
    .done = done,
    .timer = frozen_too_long,
    .closed = closed,
    .save = save,
    .restore = restore,
};

bool vss_create(struct vss *vss, struct vmbus_server *server, void *ctx,
                void (*frozen)(void *ctx, uint32_t status),
                void (*thawed)(void *ctx, uint32_t status))
{
    memset(vss, 0, sizeof *vss);
    vss->ctx = ctx;
    vss->frozen = frozen;
    vss->thawed = thawed;
    return ic_create(&vss->ic, server, &vss_class, vss->buffer, sizeof vss->buffer);
}

bool vss_freeze(struct vss *vss)
{
    if (vss->state != VSS_IDLE || !ic_idle(&vss->ic)) {
        return false;
    }
    vss->status = IC_STATUS_OK;
    send_operation(vss, VSS_CHECKING, HOT_BACKUP);
    return true;
}

bool vss_thaw(struct vss *vss)
{
    if (vss->state != VSS_FROZEN) {
        return false;
    }
    thaw(vss, IC_STATUS_OK);
    return true;
}
