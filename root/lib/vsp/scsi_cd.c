// SPDX-License-Identifier: BSD-2-Clause-Patent
// Commands of CD and DVD drives (MMC-6). A disc is one data track in one session.
#include "scsi_priv.h"

void scsi_prevent_allow(struct scsi_task *task)
{
    if (task->cdb[4] & 0xFE) { // persistent prevention is not supported
        scsi_bad_field(task);
        return;
    }
    task->lun->locked = task->cdb[4] & 1;
    scsi_good(task);
}

// An address as a TOC shows it: a sector, or minutes, seconds and frames of 1/75 s, counted from
// 2 s before the first sector (MMC-6 4.2.3.4); beyond what those can say, their largest value.
static void put_address(uint8_t *to, uint32_t sector, bool in_time)
{
    enum { FRAMES = 75, SECONDS = 60, LEAD_IN = 150, LAST_FRAME = 256 * SECONDS * FRAMES - 1 };

    if (!in_time) {
        store_be32(to, sector);
        return;
    }
    const uint32_t frame = sector < LAST_FRAME - LEAD_IN ? sector + LEAD_IN : LAST_FRAME;
    to[0] = 0;
    to[1] = (uint8_t)(frame / FRAMES / SECONDS);
    to[2] = (uint8_t)(frame / FRAMES % SECONDS);
    to[3] = (uint8_t)(frame % FRAMES);
}

static void put_track(uint8_t *to, uint8_t number, uint32_t sector, bool in_time)
{
    enum { DATA_TRACK = 0x14 }; // ADR 1, control 4

    to[1] = DATA_TRACK;
    to[2] = number;
    put_address(to + 4, sector, in_time);
}

// MMC-6 6.25.
void scsi_read_toc(struct scsi_task *task)
{
    enum { FORMAT_TOC = 0, FORMAT_SESSIONS = 1, FIRST = 1, LEAD_OUT = 0xAA, HEADER = 4, TRACK = 8 };
    const bool in_time = task->cdb[1] & 2;
    const uint8_t format = task->cdb[2] & 0x0F ? task->cdb[2] & 0x0F : task->cdb[9] >> 6;
    const uint8_t from = task->cdb[6];
    const uint64_t sectors = scsi_info(task->lun).sectors;
    const uint32_t end = sectors > UINT32_MAX ? UINT32_MAX : (uint32_t)sectors;
    uint8_t data[HEADER + 2 * TRACK] = {0};
    uint32_t size = HEADER;

    if (format > FORMAT_SESSIONS || (format == FORMAT_TOC && from > FIRST && from != LEAD_OUT)) {
        scsi_bad_field(task);
        return;
    }
    if (format == FORMAT_SESSIONS || from <= FIRST) {
        put_track(data + size, FIRST, 0, in_time);
        size += TRACK;
    }
    if (format == FORMAT_TOC) {
        put_track(data + size, LEAD_OUT, end, in_time);
        size += TRACK;
    }
    store_be16(data, (uint16_t)(size - 2));
    data[2] = FIRST;
    data[3] = FIRST;
    scsi_reply(task, data, size, load_be16(task->cdb + 7));
}

// ---- GET CONFIGURATION (MMC-6 6.6) -------------------------------------------------------------

enum {
    PROFILE_CD_ROM = 0x0008,
    PROFILE_DVD_ROM = 0x0010,
    FEATURE_CURRENT = 0x01,
    FEATURE_PERSISTENT = 0x02,
    FEATURE_HEADER = 4,
    FEATURE_DATA_MAX = 8,
    REQUEST_ALL = 0,
    REQUEST_CURRENT = 1,
    REQUEST_ONE = 2,
};

static const struct feature {
    uint16_t code;
    uint8_t flags; // version and persistence
    bool of_disc;  // current only with a disc
    uint8_t size;
    uint8_t data[FEATURE_DATA_MAX];
} features[] = {
    // Profile list: what the drive can be.
    {0x0000, FEATURE_PERSISTENT, false, 8, {0, PROFILE_DVD_ROM, 0, 0, 0, PROFILE_CD_ROM}},
    // Core, version 2: ATAPI-like interface, INQ2, device busy events.
    {0x0001, 2 << 2 | FEATURE_PERSISTENT, false, 8, {0, 0, 0, 1, 1}},
    // Removable medium, version 1: tray, eject, lock.
    {0x0003, 1 << 2 | FEATURE_PERSISTENT, false, 4, {0x29}},
    // Random readable: sectors of 2048 bytes, one of them a block.
    {0x0010, 0, true, 8, {0, 0, 8, 0, 0, 1}},
    // CD read and DVD read.
    {0x001E, 2 << 2, true, 4, {0}},
    {0x001F, 0, true, 4, {0}},
};

static uint32_t put_feature(const struct feature *feature, bool has_disc, uint8_t *to)
{
    const bool current = has_disc || !feature->of_disc;

    store_be16(to, feature->code);
    to[2] = feature->flags | (current ? FEATURE_CURRENT : 0);
    to[3] = feature->size;
    memcpy(to + FEATURE_HEADER, feature->data, feature->size);
    if (feature->code == 0 && has_disc) {
        to[FEATURE_HEADER + 2] = FEATURE_CURRENT; // the disc is taken for a DVD
    }
    return FEATURE_HEADER + feature->size;
}

void scsi_get_configuration(struct scsi_task *task)
{
    enum { HEADER = 8, COUNT = sizeof features / sizeof *features };
    const uint8_t request = task->cdb[1] & 3;
    const uint16_t first = load_be16(task->cdb + 2);
    const bool has_disc = task->lun->medium && !task->lun->tray_open;
    uint8_t data[HEADER + COUNT * (FEATURE_HEADER + FEATURE_DATA_MAX)] = {0};
    uint32_t size = HEADER;

    if (request > REQUEST_ONE) {
        scsi_bad_field(task);
        return;
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        const bool wanted =
            request == REQUEST_ONE ? features[i].code == first : features[i].code >= first;
        if (wanted && (request != REQUEST_CURRENT || has_disc || !features[i].of_disc)) {
            size += put_feature(&features[i], has_disc, data + size);
        }
    }
    store_be32(data, size - 4);
    store_be16(data + 6, has_disc ? PROFILE_DVD_ROM : 0);
    scsi_reply(task, data, size, load_be16(task->cdb + 7));
}

// ---- the rest ----------------------------------------------------------------------------------

// MMC-6 6.7: of the event classes there is the media class only.
void scsi_get_event_status(struct scsi_task *task)
{
    enum { POLLED = 1, CLASS_MEDIA = 4, HEADER = 4, NO_EVENT_AVAILABLE = 0x80 };
    enum { DOOR_OPEN = 1, MEDIA_PRESENT = 2 };
    struct scsi_lun *lun = task->lun;
    uint8_t data[HEADER + 4] = {0};
    uint32_t size = HEADER;

    if (!(task->cdb[1] & POLLED)) {
        scsi_bad_field(task);
        return;
    }
    data[2] = NO_EVENT_AVAILABLE;
    data[3] = 1 << CLASS_MEDIA;
    if (task->cdb[4] & 1 << CLASS_MEDIA) {
        data[2] = CLASS_MEDIA;
        data[4] = (uint8_t)lun->event;
        data[5] = lun->tray_open ? DOOR_OPEN : lun->medium ? MEDIA_PRESENT : 0;
        size += 4;
        lun->event = SCSI_NO_EVENT;
    }
    store_be16(data, (uint16_t)(size - HEADER)); // of the event descriptor
    scsi_reply(task, data, size, load_be16(task->cdb + 7));
}

// MMC-6 6.21: a finished disc of one session with one track.
void scsi_read_disc_information(struct scsi_task *task)
{
    enum { SIZE = 34, COMPLETE = 0x0E, UNRESTRICTED = 0x20 };
    uint8_t data[SIZE] = {0};

    if (task->cdb[1] & 7) { // other kinds of information
        scsi_bad_field(task);
        return;
    }
    store_be16(data, SIZE - 2);
    data[2] = COMPLETE;
    data[3] = data[4] = data[5] = data[6] = 1;
    data[7] = UNRESTRICTED;
    memset(data + 16, 0xFF, 8); // lead-in and lead-out: not of this disc
    scsi_reply(task, data, SIZE, load_be16(task->cdb + 7));
}
