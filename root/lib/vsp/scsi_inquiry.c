// SPDX-License-Identifier: BSD-2-Clause-Patent
// INQUIRY and vital product data (SPC-4 6.6, 7.8; SBC-3 6.6).
#include "scsi_priv.h"

enum {
    PAGE_SUPPORTED = 0x00,
    PAGE_SERIAL = 0x80,
    PAGE_IDENTIFICATION = 0x83,
    PAGE_LIMITS = 0xB0,
    PAGE_CHARACTERISTICS = 0xB1,
    PAGE_PROVISIONING = 0xB2,

    PAGE_HEADER = 4,
    PAGE_MAX = 128,
    STANDARD_SIZE = 36,
    NO_UNIT = 0x7F, // peripheral qualifier 3, no device type
    REMOVABLE = 0x80,
    VERSION_SPC3 = 5,
};

// Linux enables UNMAP and WRITE SAME for a disk of this controller by the vendor's name alone.
static const char vendor[] = "Msft    ";

static void put_standard(const struct scsi_lun *lun, uint8_t *data)
{
    const bool is_cd = lun->type == SCSI_CD;

    data[0] = (uint8_t)lun->type;
    data[1] = is_cd ? REMOVABLE : 0;
    data[2] = VERSION_SPC3;
    data[3] = 2; // response data format
    data[4] = STANDARD_SIZE - 5;
    data[7] = 2; // command queuing
    memcpy(data + 8, vendor, 8);
    memcpy(data + 16, is_cd ? "Virtual DVD-ROM " : "Virtual Disk    ", 16);
    memcpy(data + 32, "1.0 ", 4);
}

static uint32_t put_supported(const struct scsi_lun *lun, uint8_t *page)
{
    static const uint8_t pages[] = {PAGE_SUPPORTED, PAGE_SERIAL,          PAGE_IDENTIFICATION,
                                    PAGE_LIMITS,    PAGE_CHARACTERISTICS, PAGE_PROVISIONING};
    const uint32_t count = lun->type == SCSI_CD ? 3 : sizeof pages;

    memcpy(page + PAGE_HEADER, pages, count);
    return count;
}

static uint32_t serial_size(const struct scsi_lun *lun)
{
    uint32_t size = 0;

    while (lun->serial[size]) {
        size++;
    }
    return size;
}

static uint32_t put_serial(const struct scsi_lun *lun, uint8_t *page)
{
    const uint32_t size = serial_size(lun);

    memcpy(page + PAGE_HEADER, lun->serial, size);
    return size;
}

static char hex_digit(uint8_t value)
{
    return (char)(value < 10 ? '0' + value : 'a' + value - 10);
}

// Two designators of the unit: the T10 vendor's, with the whole id in text, and a locally assigned
// NAA one (its first 60 bits).
static uint32_t put_identification(const struct scsi_lun *lun, uint8_t *page)
{
    enum { T10_SIZE = 8 + 32, NAA_SIZE = 8, ASCII = 2, BINARY = 1, TYPE_T10 = 1, TYPE_NAA = 3 };
    uint8_t *t10 = page + PAGE_HEADER, *naa = t10 + 4 + T10_SIZE;

    t10[0] = ASCII;
    t10[1] = TYPE_T10;
    t10[3] = T10_SIZE;
    memcpy(t10 + 4, vendor, 8);
    for (uint32_t i = 0; i < sizeof lun->id; i++) {
        t10[12 + 2 * i] = (uint8_t)hex_digit(lun->id[i] >> 4);
        t10[13 + 2 * i] = (uint8_t)hex_digit(lun->id[i] & 15);
    }
    naa[0] = BINARY;
    naa[1] = TYPE_NAA;
    naa[3] = NAA_SIZE;
    store_be64(naa + 4, UINT64_C(3) << 60 | load_be64(lun->id) >> 4);
    return 4 + T10_SIZE + 4 + NAA_SIZE;
}

// What a medium that is not there leaves at 0: no limit is reported.
static uint32_t put_limits(const struct scsi_lun *lun, uint8_t *page)
{
    enum { SIZE = 60 };
    const struct block_info info = scsi_info(lun);

    page[4] = 1; // a WRITE SAME of no sectors is refused
    store_be16(page + 6, (uint16_t)(info.physical_size / info.sector_size));
    store_be32(page + 8, SCSI_TRANSFER_MAX / info.sector_size);
    store_be32(page + 12, SCSI_TRANSFER_MAX / info.sector_size);
    if (info.trim_granularity) {
        store_be32(page + 20, SCSI_UNMAP_MAX / info.sector_size);
        store_be32(page + 24, SCSI_UNMAP_DESCRIPTORS);
        store_be32(page + 28, info.trim_granularity);
        store_be32(page + 32, UINT32_C(1) << 31); // aligned to sector 0
    }
    store_be64(page + 36, SCSI_WRITE_SAME_MAX / info.sector_size);
    return SIZE;
}

static uint32_t put_characteristics(const struct scsi_lun *lun, uint8_t *page)
{
    enum { SIZE = 60, NOT_ROTATING = 1 };

    (void)lun;
    store_be16(page + 4, NOT_ROTATING);
    return SIZE;
}

static uint32_t put_provisioning(const struct scsi_lun *lun, uint8_t *page)
{
    // UNMAP, WRITE SAME (16) and (10) with UNMAP; what is unmapped reads as zeros.
    enum { SIZE = 4, LBPU = 0x80, LBPWS = 0x40, LBPWS10 = 0x20, LBPRZ = 0x04, THIN = 2 };

    if (scsi_info(lun).trim_granularity) {
        page[5] = LBPU | LBPWS | LBPWS10 | LBPRZ;
        page[6] = THIN;
    }
    return SIZE;
}

static const struct {
    uint8_t code;
    uint8_t types;
    uint32_t (*put)(const struct scsi_lun *lun, uint8_t *page); // returns the page's length
} pages[] = {
    {PAGE_SUPPORTED, LUN_ANY, put_supported},
    {PAGE_SERIAL, LUN_ANY, put_serial},
    {PAGE_IDENTIFICATION, LUN_ANY, put_identification},
    {PAGE_LIMITS, LUN_DISK, put_limits},
    {PAGE_CHARACTERISTICS, LUN_DISK, put_characteristics},
    {PAGE_PROVISIONING, LUN_DISK, put_provisioning},
};

static void vital_product_data(struct scsi_task *task, uint32_t allocation)
{
    uint8_t page[PAGE_MAX] = {0};
    const uint8_t type = task->lun->type == SCSI_CD ? LUN_CD : LUN_DISK;

    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        if (pages[i].code == task->cdb[2] && (pages[i].types & type)) {
            const uint32_t length = pages[i].put(task->lun, page);
            page[0] = (uint8_t)task->lun->type;
            page[1] = task->cdb[2];
            store_be16(page + 2, (uint16_t)length);
            scsi_reply(task, page, PAGE_HEADER + length, allocation);
            return;
        }
    }
    scsi_bad_field(task);
}

void scsi_inquiry(struct scsi_task *task)
{
    const uint32_t allocation = load_be16(task->cdb + 3);
    uint8_t data[STANDARD_SIZE] = {0};

    if (task->lun && task->cdb[1] & 1) {
        vital_product_data(task, allocation);
        return;
    }
    if (task->lun && (task->cdb[1] & 2 || task->cdb[2])) { // CMDDT, or a page without EVPD
        scsi_bad_field(task);
        return;
    }
    if (task->lun) {
        put_standard(task->lun, data);
    } else {
        data[0] = NO_UNIT;
        data[2] = VERSION_SPC3;
        data[3] = 2;
        data[4] = STANDARD_SIZE - 5;
    }
    scsi_reply(task, data, sizeof data, allocation);
}
