// SPDX-License-Identifier: BSD-2-Clause-Patent
// VHDX log replay (MS-VHDX 2.3). The log is a ring of sectors. The active sequence is the run of
// valid entries with the highest sequence number that still has its tail; replay writes what its
// entries from the tail on hold.
#include "crc32c.h"
#include "vhdx_priv.h"

enum {
    // How often the whole log may be read in search of the active sequence. An honest log is read
    // once, and what old entries have left behind a second time.
    SEARCH_PASSES = 16,
};

// The largest area that replay clears, and that it lets the file grow to. A table that is to be
// cleared has at the most 2^26 entries of 8 bytes.
#define ZERO_MAX (1024 * VHDX_MIB)
#define FILE_MAX (128 * VHDX_TIB)

struct entry {
    uint32_t place; // in the log
    uint32_t length;
    uint32_t tail;
    uint32_t descriptors;
    uint64_t sequence;
    uint64_t flushed, last; // file sizes
};

// A run of entries.
struct run {
    uint32_t first; // place of the first entry
    uint32_t count;
    struct entry head; // the last one
};

struct replay {
    struct vhdx *vhdx;
    uint64_t budget; // bytes that may still be read
    bool exhausted;  // it was not enough: what was found is worth nothing
    enum block_status status;
    uint64_t zeroed;
};

static uint32_t advance(const struct replay *replay, uint32_t place, uint32_t bytes)
{
    return (uint32_t)(((uint64_t)place + bytes) % replay->vhdx->log.place.length);
}

static bool read_sector(struct replay *replay, uint32_t place, uint8_t *sector)
{
    if (replay->budget < LOG_SECTOR || replay->status != BLOCK_OK) {
        replay->exhausted = true;
        return false;
    }
    replay->budget -= LOG_SECTOR;
    replay->status =
        file_read(replay->vhdx->file, replay->vhdx->log.place.offset + place, sector, LOG_SECTOR);
    return replay->status == BLOCK_OK;
}

// Sectors of header and descriptors.
static uint32_t descriptor_sectors(const struct entry *entry)
{
    return (ENTRY_HEADER + entry->descriptors * DESCRIPTOR_SIZE + LOG_SECTOR - 1) / LOG_SECTOR;
}

// Fields of an entry's header that can be judged without the rest of it.
static bool parse_entry(const struct vhdx *vhdx, uint32_t place, const uint8_t *sector,
                        struct entry *entry)
{
    entry->place = place;
    entry->length = load_le32(sector + ENTRY_LENGTH);
    entry->tail = load_le32(sector + ENTRY_TAIL);
    entry->descriptors = load_le32(sector + ENTRY_DESCRIPTORS);
    entry->sequence = load_le64(sector + ENTRY_SEQUENCE);
    entry->flushed = load_le64(sector + ENTRY_FLUSHED_OFFSET);
    entry->last = load_le64(sector + ENTRY_LAST_OFFSET);
    return load_le32(sector + ENTRY_SIGNATURE) == VHDX_ENTRY_SIGNATURE &&
           memcmp(sector + ENTRY_LOG_GUID, vhdx->log_guid, VHDX_GUID_SIZE) == 0 &&
           entry->length != 0 && entry->length % LOG_SECTOR == 0 &&
           entry->length <= vhdx->log.place.length && entry->tail % LOG_SECTOR == 0 &&
           entry->tail < vhdx->log.place.length && entry->sequence != 0 &&
           entry->descriptors <= entry->length / DESCRIPTOR_SIZE &&
           descriptor_sectors(entry) <= entry->length / LOG_SECTOR;
}

static bool checksum_matches(struct replay *replay, const struct entry *entry)
{
    uint8_t *const sector = replay->vhdx->sector;
    uint32_t expected = 0, crc = 0;

    for (uint32_t at = 0; at < entry->length; at += LOG_SECTOR) {
        if (!read_sector(replay, advance(replay, entry->place, at), sector)) {
            return false;
        }
        if (at == 0) {
            expected = load_le32(sector + ENTRY_CHECKSUM);
            store_le32(sector + ENTRY_CHECKSUM, 0);
        }
        crc = crc32c(crc, sector, LOG_SECTOR);
    }
    return crc == expected;
}

// A visitor gets each descriptor and, with a data descriptor, the data sector.
typedef bool (*visit)(struct replay *replay, const struct entry *entry, const uint8_t *descriptor,
                      uint8_t *data);

// Walks an entry; false as soon as the visitor says so or the entry contradicts itself.
static bool walk_entry(struct replay *replay, const struct entry *entry, visit visitor)
{
    struct vhdx *const vhdx = replay->vhdx;
    uint32_t data_at = descriptor_sectors(entry) * LOG_SECTOR;

    for (uint32_t i = 0; i < entry->descriptors; i++) {
        const uint32_t at = ENTRY_HEADER + i * DESCRIPTOR_SIZE;
        const uint32_t in_sector = at % LOG_SECTOR;
        if ((i == 0 || in_sector == 0) &&
            !read_sector(replay, advance(replay, entry->place, at - in_sector),
                         vhdx->descriptors)) {
            return false;
        }
        const uint8_t *descriptor = vhdx->descriptors + in_sector;
        const bool is_data = load_le32(descriptor + DESCRIPTOR_SIGNATURE) == VHDX_DESC_SIGNATURE;
        if (is_data) {
            if (data_at >= entry->length ||
                !read_sector(replay, advance(replay, entry->place, data_at), vhdx->sector)) {
                return false;
            }
            data_at += LOG_SECTOR;
        }
        if (!visitor(replay, entry, descriptor, is_data ? vhdx->sector : NULL)) {
            return false;
        }
    }
    return true;
}

static bool overlaps(uint64_t offset, uint64_t size, uint64_t other, uint64_t other_size)
{
    return offset < other + other_size && other < offset + size;
}

// The log may change everything but itself and what comes before the region tables.
static bool target_allowed(const struct replay *replay, const struct entry *entry, uint64_t offset,
                           uint64_t size)
{
    const struct vhdx_region *log = &replay->vhdx->log.place;
    return offset % LOG_SECTOR == 0 && size % LOG_SECTOR == 0 && offset >= VHDX_REGION_TABLE_1 &&
           offset <= entry->last && size <= entry->last - offset &&
           !overlaps(offset, size, log->offset, log->length);
}

static bool check_descriptor(struct replay *replay, const struct entry *entry,
                             const uint8_t *descriptor, uint8_t *data)
{
    const uint64_t offset = load_le64(descriptor + DESCRIPTOR_OFFSET);

    if (load_le64(descriptor + DESCRIPTOR_SEQUENCE) != entry->sequence) {
        return false;
    }
    if (!data) {
        return load_le32(descriptor + DESCRIPTOR_SIGNATURE) == VHDX_ZERO_SIGNATURE &&
               target_allowed(replay, entry, offset, load_le64(descriptor + DESCRIPTOR_LEADING));
    }
    return load_le32(data + DATA_SIGNATURE) == VHDX_DATA_SIGNATURE &&
           load_le32(data + DATA_SEQUENCE_HIGH) == (uint32_t)(entry->sequence >> 32) &&
           load_le32(data + DATA_SEQUENCE_LOW) == (uint32_t)entry->sequence &&
           target_allowed(replay, entry, offset, LOG_SECTOR);
}

// Whether there is a valid entry at this place of the log.
static bool read_entry(struct replay *replay, uint32_t place, struct entry *entry)
{
    struct vhdx *const vhdx = replay->vhdx;

    return read_sector(replay, place, vhdx->sector) &&
           parse_entry(vhdx, place, vhdx->sector, entry) && checksum_matches(replay, entry) &&
           walk_entry(replay, entry, check_descriptor);
}

// Collects the run of consecutive entries that begins at `place`.
static struct run read_run(struct replay *replay, uint32_t place)
{
    struct run run = {.first = place};
    uint64_t total = 0;
    struct entry entry;

    while (read_entry(replay, place, &entry)) {
        total += entry.length;
        if ((run.count && entry.sequence != run.head.sequence + 1) ||
            total > replay->vhdx->log.place.length) {
            break;
        }
        run.head = entry;
        run.count++;
        place = advance(replay, place, entry.length);
    }
    return run;
}

// Drops the entries before the tail that the head names. False when the tail is not in the run.
static bool cut_at_tail(struct replay *replay, struct run *run)
{
    struct vhdx *const vhdx = replay->vhdx;

    while (run->count && run->first != run->head.tail) {
        struct entry entry;
        if (!read_sector(replay, run->first, vhdx->sector) ||
            !parse_entry(vhdx, run->first, vhdx->sector, &entry)) {
            return false;
        }
        run->first = advance(replay, run->first, entry.length);
        run->count--;
    }
    return run->count != 0;
}

// MS-VHDX 2.3.3: the candidate with the highest sequence number. Its count is 0 when there is none.
static struct run find_active(struct replay *replay)
{
    struct run best = {0};
    uint64_t place = 0;

    while (place < replay->vhdx->log.place.length) {
        struct run run = read_run(replay, (uint32_t)place);
        uint64_t skip = LOG_SECTOR;
        if (run.count) {
            const uint64_t end = (uint64_t)run.head.place + run.head.length;
            // A run that wraps has seen everything from here on.
            skip = end > place ? end - place : replay->vhdx->log.place.length;
        }
        if (run.count && (!best.count || run.head.sequence > best.head.sequence) &&
            cut_at_tail(replay, &run)) {
            best = run;
        }
        place += skip;
    }
    return best;
}

static bool apply_descriptor(struct replay *replay, const struct entry *entry,
                             const uint8_t *descriptor, uint8_t *data)
{
    const uint64_t offset = load_le64(descriptor + DESCRIPTOR_OFFSET);

    if (!check_descriptor(replay, entry, descriptor, data)) {
        return false;
    }
    if (data) {
        memcpy(data, descriptor + DESCRIPTOR_LEADING, DATA_BYTES);
        memcpy(data + DATA_BYTES + DATA_BYTES_SIZE, descriptor + DESCRIPTOR_TRAILING,
               LOG_SECTOR - DATA_BYTES - DATA_BYTES_SIZE);
        replay->status = file_write(replay->vhdx->file, offset, data, LOG_SECTOR);
        return replay->status == BLOCK_OK;
    }
    const uint64_t size = load_le64(descriptor + DESCRIPTOR_LEADING);
    if (size > ZERO_MAX - replay->zeroed) {
        return false;
    }
    replay->zeroed += size;
    replay->status = file_zero(replay->vhdx->file, offset, size);
    return replay->status == BLOCK_OK;
}

static bool apply_run(struct replay *replay, const struct run *run)
{
    struct vhdx *const vhdx = replay->vhdx;
    uint32_t place = run->first;

    for (uint32_t i = 0; i < run->count; i++) {
        struct entry entry;
        if (!read_sector(replay, place, vhdx->sector) ||
            !parse_entry(vhdx, place, vhdx->sector, &entry)) {
            return false;
        }
        // An entry before the head may speak of a file that was still smaller.
        entry.last = entry.last < run->head.last ? entry.last : run->head.last;
        if (!walk_entry(replay, &entry, apply_descriptor)) {
            return false;
        }
        place = advance(replay, place, entry.length);
    }
    return true;
}

static enum vhdx_error error_of(const struct replay *replay)
{
    return replay->status == BLOCK_OK ? VHDX_ERROR_LOG : VHDX_ERROR_IO;
}

enum vhdx_error vhdx_replay(struct vhdx *vhdx)
{
    const uint64_t search = SEARCH_PASSES * vhdx->log.place.length;
    struct replay replay = {.vhdx = vhdx, .budget = search, .status = BLOCK_OK};

    if (vhdx_is_zero_guid(vhdx->log_guid)) {
        return VHDX_OK;
    }
    const struct run run = find_active(&replay);
    if (!run.count || replay.exhausted) {
        return error_of(&replay);
    }
    if (run.head.flushed > file_size(vhdx->file) || run.head.last > FILE_MAX) {
        return VHDX_ERROR_LOG_TRUNCATED;
    }
    if (file_is_read_only(vhdx->file)) {
        return VHDX_ERROR_LOG_READ_ONLY;
    }
    replay.budget = search;
    if (file_grow(vhdx->file, run.head.last) != BLOCK_OK) {
        return VHDX_ERROR_IO;
    }
    if (!apply_run(&replay, &run)) {
        return error_of(&replay);
    }
    if (file_flush(vhdx->file) != BLOCK_OK) {
        return VHDX_ERROR_IO;
    }
    memset(vhdx->log_guid, 0, VHDX_GUID_SIZE);
    vhdx_make_guid(vhdx, vhdx->file_write_guid);
    return vhdx_write_header(vhdx) == BLOCK_OK ? VHDX_OK : VHDX_ERROR_IO;
}
