// SPDX-License-Identifier: BSD-2-Clause-Patent
// MODE SENSE and MODE SELECT (SPC-4 6.11 to 6.14, 7.5; SBC-3 6.5; MMC-6 Annex E).
#include "scsi_priv.h"

enum {
    OP_SELECT_10 = 0x55,
    OP_SENSE_10 = 0x5A,

    PAGE_ERRORS = 0x01,
    PAGE_CACHING = 0x08,
    PAGE_CONTROL = 0x0A,
    PAGE_EXCEPTIONS = 0x1C,
    PAGE_CD_CAPABILITIES = 0x2A,
    PAGE_ALL = 0x3F,
    SUBPAGE_ALL = 0xFF,

    HEADER_6 = 4,
    HEADER_10 = 8,
    DESCRIPTOR = 8,
    PAGE_SIZE_MAX = 32,
    LIST_MAX = 128, // more than all pages of a unit with header and descriptor

    DEVICE_WRITE_PROTECTED = 0x80,
    DEVICE_FORCE_UNIT_ACCESS = 0x10,
    WRITE_CACHE = 0x04,
};

// What of a page a MODE SENSE asks for.
enum page_control { CONTROL_CURRENT, CONTROL_CHANGEABLE, CONTROL_DEFAULT, CONTROL_SAVED };

struct page_kind {
    uint8_t code;
    uint8_t types;
    uint8_t size; // with the two bytes of its header
    void (*put)(const struct scsi_lun *lun, enum page_control control, uint8_t *page);
};

static void put_nothing(const struct scsi_lun *lun, enum page_control control, uint8_t *page)
{
    (void)lun;
    (void)control;
    (void)page;
}

static void put_caching(const struct scsi_lun *lun, enum page_control control, uint8_t *page)
{
    if (control != CONTROL_CURRENT || lun->write_cache) {
        page[2] = WRITE_CACHE;
    }
}

static void put_control(const struct scsi_lun *lun, enum page_control control, uint8_t *page)
{
    (void)lun;
    if (control != CONTROL_CHANGEABLE) {
        page[3] = 0x10; // tasks are reordered without restriction
    }
}

static void put_capabilities(const struct scsi_lun *lun, enum page_control control, uint8_t *page)
{
    enum { READS_CD_R_RW_DVD = 0x0B, MULTI_SESSION = 0x40 };
    enum { LOCK = 0x01, LOCKED = 0x02, EJECT = 0x08, TRAY = 1 << 5 };

    if (control == CONTROL_CHANGEABLE) {
        return;
    }
    page[2] = READS_CD_R_RW_DVD;
    page[4] = MULTI_SESSION;
    page[6] = LOCK | EJECT | TRAY;
    if (control == CONTROL_CURRENT && lun->locked) {
        page[6] |= LOCKED;
    }
}

static const struct page_kind kinds[] = {
    {PAGE_ERRORS, LUN_ANY, 12, put_nothing},
    {PAGE_CACHING, LUN_DISK, 20, put_caching},
    {PAGE_CONTROL, LUN_DISK, 12, put_control},
    {PAGE_EXCEPTIONS, LUN_DISK, 12, put_nothing},
    {PAGE_CD_CAPABILITIES, LUN_CD, 22, put_capabilities},
};

static bool has_page(const struct scsi_lun *lun, const struct page_kind *kind, uint8_t code)
{
    const uint8_t type = lun->type == SCSI_CD ? LUN_CD : LUN_DISK;
    return kind->types & type && (code == PAGE_ALL || code == kind->code);
}

static void put_page(const struct scsi_lun *lun, const struct page_kind *kind,
                     enum page_control control, uint8_t *page)
{
    memset(page, 0, kind->size);
    kind->put(lun, control, page);
    page[0] = kind->code;
    page[1] = kind->size - 2;
}

// Appends the pages; returns their size, 0 when there is no such page.
static uint32_t put_pages(const struct scsi_lun *lun, uint8_t code, enum page_control control,
                          uint8_t *at)
{
    uint32_t size = 0;

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (has_page(lun, &kinds[i], code)) {
            put_page(lun, &kinds[i], control, at + size);
            size += kinds[i].size;
        }
    }
    return size;
}

// The short block descriptor of a disk: sectors and their size.
static uint32_t put_descriptor(const struct scsi_lun *lun, uint8_t *at)
{
    if (lun->type != SCSI_DISK) {
        return 0;
    }
    const struct block_info info = scsi_info(lun);
    store_be32(at, info.sectors > UINT32_MAX ? UINT32_MAX : (uint32_t)info.sectors);
    store_be32(at + 4, info.sector_size);
    return DESCRIPTOR;
}

static uint8_t device_parameter(const struct scsi_lun *lun)
{
    if (lun->type != SCSI_DISK) {
        return 0;
    }
    return scsi_info(lun).read_only ? DEVICE_WRITE_PROTECTED | DEVICE_FORCE_UNIT_ACCESS
                                    : DEVICE_FORCE_UNIT_ACCESS;
}

void scsi_mode_sense(struct scsi_task *task)
{
    const uint8_t *cdb = task->cdb;
    const bool ten = cdb[0] == OP_SENSE_10;
    const enum page_control control = cdb[2] >> 6;
    const uint32_t header = ten ? HEADER_10 : HEADER_6;
    const bool no_descriptor = cdb[1] & 8;
    uint8_t list[LIST_MAX] = {0};

    if (control == CONTROL_SAVED) {
        scsi_fail(task, KEY_ILLEGAL_REQUEST, CODE_SAVING);
        return;
    }
    const uint32_t descriptor = no_descriptor ? 0 : put_descriptor(task->lun, list + header);
    const uint32_t pages =
        put_pages(task->lun, cdb[2] & PAGE_ALL, control, list + header + descriptor);
    const bool whole = cdb[3] == 0 || (cdb[3] == SUBPAGE_ALL && (cdb[2] & PAGE_ALL) == PAGE_ALL);
    if (!pages || !whole) {
        scsi_bad_field(task);
        return;
    }
    const uint32_t size = header + descriptor + pages;
    if (ten) {
        store_be16(list, (uint16_t)(size - 2));
        list[3] = device_parameter(task->lun);
        store_be16(list + 6, (uint16_t)descriptor);
    } else {
        list[0] = (uint8_t)(size - 1);
        list[2] = device_parameter(task->lun);
        list[3] = (uint8_t)descriptor;
    }
    scsi_reply(task, list, size, ten ? load_be16(cdb + 7) : cdb[4]);
}

// ---- MODE SELECT -------------------------------------------------------------------------------

// Whether the page differs from the unit's only where it may; then *write_cache is what it says.
static bool check_page(const struct scsi_lun *lun, const uint8_t *page, uint32_t left,
                       uint32_t *size, bool *write_cache)
{
    uint8_t current[PAGE_SIZE_MAX], changeable[PAGE_SIZE_MAX];

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct page_kind *kind = &kinds[i];
        if (kind->code != page[0] || !has_page(lun, kind, kind->code)) {
            continue;
        }
        if (left < kind->size) {
            return false;
        }
        put_page(lun, kind, CONTROL_CURRENT, current);
        put_page(lun, kind, CONTROL_CHANGEABLE, changeable);
        for (uint32_t n = 1; n < kind->size; n++) {
            const uint8_t fixed = n == 1 ? 0xFF : (uint8_t)~changeable[n];
            if ((page[n] ^ current[n]) & fixed) {
                return false;
            }
        }
        if (kind->code == PAGE_CACHING) {
            *write_cache = page[2] & WRITE_CACHE;
        }
        *size = kind->size;
        return true;
    }
    return false;
}

static bool select_pages(struct scsi_lun *lun, const uint8_t *list, uint32_t size)
{
    bool write_cache = lun->write_cache;
    uint32_t at = 0;

    while (at < size) {
        uint32_t page_size = 0;
        if (size - at < 2 || !check_page(lun, list + at, size - at, &page_size, &write_cache)) {
            return false;
        }
        at += page_size;
    }
    lun->write_cache = write_cache;
    return true;
}

void scsi_mode_select(struct scsi_task *task)
{
    const uint8_t *cdb = task->cdb;
    const bool ten = cdb[0] == OP_SELECT_10;
    const uint32_t header = ten ? HEADER_10 : HEADER_6;
    const uint32_t size = ten ? load_be16(cdb + 7) : cdb[4];
    uint8_t list[LIST_MAX];

    if ((cdb[1] & 0x11) != 0x10) { // page format, and nothing is saved
        scsi_bad_field(task);
        return;
    }
    if (size == 0) {
        scsi_good(task);
        return;
    }
    if (size < header || size > LIST_MAX || size > scsi_data_size(task, SCSI_TO_DEVICE)) {
        scsi_fail(task, KEY_ILLEGAL_REQUEST, CODE_LIST_LENGTH);
        return;
    }
    if (!task->data.read(task->data.ctx, 0, list, size)) {
        scsi_fail(task, KEY_ABORTED_COMMAND, CODE_DATA_PHASE);
        return;
    }
    const uint32_t descriptor = ten ? load_be16(list + 6) : list[3];
    if (descriptor > size - header) {
        scsi_fail(task, KEY_ILLEGAL_REQUEST, CODE_LIST_LENGTH);
        return;
    }
    const uint32_t before = header + descriptor;
    const bool had_cache = task->lun->write_cache;
    if ((descriptor != 0 && descriptor != DESCRIPTOR) ||
        !select_pages(task->lun, list + before, size - before)) {
        scsi_fail(task, KEY_ILLEGAL_REQUEST, CODE_FIELD_IN_LIST);
        return;
    }
    task->transferred = size;
    // What the cache holds is durable before the guest stops asking for it (SBC-3, caching page:
    // WCE).
    if (had_cache && !task->lun->write_cache && !scsi_info(task->lun).read_only) {
        scsi_flush(task);
    } else {
        scsi_good(task);
    }
}
