// SPDX-License-Identifier: BSD-2-Clause-Patent
// AML encoder (ACPI 6.5: 20.2 the grammar, 6.4 resource descriptors).
#include "aml.h"

#include "mem.h"

enum {
    AML_ZERO = 0x00,
    AML_ONE = 0x01,
    AML_NAME = 0x08,
    AML_BYTE = 0x0a,
    AML_WORD = 0x0b,
    AML_DWORD = 0x0c,
    AML_STRING = 0x0d,
    AML_QWORD = 0x0e,
    AML_SCOPE = 0x10,
    AML_BUFFER = 0x11,
    AML_PACKAGE = 0x12,
    AML_DUAL_NAME = 0x2e,
    AML_EXTENDED = 0x5b,
    AML_DEVICE = 0x82, // after AML_EXTENDED

    RESOURCE_IRQ = 0x22,       // small, 2 bytes
    RESOURCE_IO = 0x47,        // small, 7 bytes
    RESOURCE_END = 0x79,       // small, 1 byte
    RESOURCE_INTERRUPT = 0x89, // large
    RESOURCE_QWORD = 0x8a,     // large

    SEGMENT_SIZE = 4,
    SEGMENTS_MAX = 2,
    PACKAGE_LENGTH_MAX = (1 << 28) - 1
};

static void put(struct aml *aml, const void *bytes, size_t size)
{
    if (aml->failed || size > aml->size - aml->used) {
        aml->failed = true;
        return;
    }
    memcpy(aml->bytes + aml->used, bytes, size);
    aml->used += size;
}

static void put_byte(struct aml *aml, uint8_t byte)
{
    put(aml, &byte, 1);
}

void aml_init(struct aml *aml, void *bytes, size_t size)
{
    memset(aml, 0, sizeof(*aml));
    aml->bytes = bytes;
    aml->size = size;
}

bool aml_finish(const struct aml *aml)
{
    return !aml->failed && aml->depth == 0;
}

static bool is_lead(char c)
{
    return (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// Reads one name segment into out, padded. Returns what follows it, or NULL when it is no segment.
static const char *segment(const char *path, uint8_t out[SEGMENT_SIZE])
{
    memset(out, '_', SEGMENT_SIZE);
    if (!is_lead(*path)) {
        return NULL;
    }
    uint32_t length = 0;
    for (; is_lead(*path) || is_digit(*path); path++) {
        if (length == SEGMENT_SIZE) {
            return NULL;
        }
        out[length++] = (uint8_t)*path;
    }
    return path;
}

// NameString: an optional root, then one segment or two behind a prefix.
static void put_path(struct aml *aml, const char *path)
{
    uint8_t segments[SEGMENTS_MAX][SEGMENT_SIZE];
    uint32_t count = 0;
    if (*path == '\\') {
        put_byte(aml, '\\');
        path++;
    }
    do {
        path = count < SEGMENTS_MAX ? segment(path, segments[count]) : NULL;
        count++;
    } while (path && *path++ == '.');
    if (!path || path[-1] != '\0') {
        aml->failed = true;
        return;
    }
    if (count == SEGMENTS_MAX) {
        put_byte(aml, AML_DUAL_NAME);
    }
    put(aml, segments, (size_t)count * SEGMENT_SIZE);
}

static void open_object(struct aml *aml, bool buffer)
{
    if (aml->depth == AML_DEPTH_MAX) {
        aml->failed = true;
        return;
    }
    aml->open[aml->depth++] = (struct aml_open){aml->used, buffer};
}

void aml_open_scope(struct aml *aml, const char *path)
{
    put_byte(aml, AML_SCOPE);
    open_object(aml, false);
    put_path(aml, path);
}

void aml_open_device(struct aml *aml, const char *path)
{
    put_byte(aml, AML_EXTENDED);
    put_byte(aml, AML_DEVICE);
    open_object(aml, false);
    put_path(aml, path);
}

void aml_name(struct aml *aml, const char *path)
{
    put_byte(aml, AML_NAME);
    put_path(aml, path);
}

void aml_open_package(struct aml *aml, uint8_t count)
{
    put_byte(aml, AML_PACKAGE);
    open_object(aml, false);
    put_byte(aml, count);
}

void aml_open_resources(struct aml *aml)
{
    put_byte(aml, AML_BUFFER);
    open_object(aml, true);
}

void aml_close_resources(struct aml *aml)
{
    const uint8_t end[] = {RESOURCE_END, 0}; // a checksum of 0 counts as right
    put(aml, end, sizeof(end));
    aml_close(aml);
}

// Encodes an integer in its shortest form; returns its size.
static size_t encode_integer(uint64_t value, uint8_t out[9])
{
    static const struct {
        uint64_t max;
        uint8_t prefix;
        uint8_t size;
    } forms[] = {{0xff, AML_BYTE, 1},
                 {0xffff, AML_WORD, 2},
                 {0xffffffff, AML_DWORD, 4},
                 {UINT64_MAX, AML_QWORD, 8}};
    if (value <= 1) {
        out[0] = value == 0 ? AML_ZERO : AML_ONE;
        return 1;
    }
    uint32_t form = 0;
    while (value > forms[form].max) {
        form++;
    }
    out[0] = forms[form].prefix;
    memcpy(out + 1, &value, forms[form].size);
    return 1 + (size_t)forms[form].size;
}

// PkgLength counts itself: one byte up to 63, else a lead byte with the low four bits and a count
// of bytes that follow. Returns its size.
static size_t encode_package_length(size_t content, uint8_t out[4])
{
    if (content + 1 <= 0x3f) {
        out[0] = (uint8_t)(content + 1);
        return 1;
    }
    size_t more = 1;
    while (content + 1 + more >= (size_t)1 << (4 + 8 * more)) {
        more++;
    }
    size_t length = content + 1 + more;
    out[0] = (uint8_t)(more << 6 | (length & 0xf));
    for (size_t i = 0; i < more; i++) {
        out[1 + i] = (uint8_t)(length >> (4 + 8 * i));
    }
    return 1 + more;
}

// Moves what was written from `start` on by `gap` bytes, in pieces from the end.
static void shift(struct aml *aml, size_t start, size_t gap)
{
    uint8_t piece[64];
    size_t end = aml->used;
    while (end > start) {
        size_t size = end - start < sizeof(piece) ? end - start : sizeof(piece);
        end -= size;
        memcpy(piece, aml->bytes + end, size);
        memcpy(aml->bytes + end + gap, piece, size);
    }
    aml->used += gap;
}

void aml_close(struct aml *aml)
{
    if (aml->failed || aml->depth == 0) {
        aml->failed = true;
        return;
    }
    const struct aml_open *open = &aml->open[--aml->depth];
    uint8_t size_field[9];
    size_t content = aml->used - open->start;
    size_t size_length = open->buffer ? encode_integer(content, size_field) : 0;
    if (content > PACKAGE_LENGTH_MAX - sizeof(size_field) - 4) {
        aml->failed = true;
        return;
    }
    uint8_t header[4 + sizeof(size_field)];
    size_t header_length = encode_package_length(content + size_length, header);
    memcpy(header + header_length, size_field, size_length);
    header_length += size_length;
    if (header_length > aml->size - aml->used) {
        aml->failed = true;
        return;
    }
    shift(aml, open->start, header_length);
    memcpy(aml->bytes + open->start, header, header_length);
}

void aml_integer(struct aml *aml, uint64_t value)
{
    uint8_t bytes[9];
    put(aml, bytes, encode_integer(value, bytes));
}

void aml_string(struct aml *aml, const char *text)
{
    put_byte(aml, AML_STRING);
    do {
        put_byte(aml, (uint8_t)*text);
    } while (*text++ != '\0');
}

// Four hexadecimal digits; false when one is none.
static bool hex4(const char *text, uint32_t *value)
{
    *value = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t digit;
        if (is_digit(text[i])) {
            digit = (uint32_t)(text[i] - '0');
        } else if (text[i] >= 'A' && text[i] <= 'F') {
            digit = (uint32_t)(text[i] - 'A') + 10;
        } else {
            return false;
        }
        *value = *value << 4 | digit;
    }
    return true;
}

void aml_eisa_id(struct aml *aml, const char *id)
{
    uint32_t letters = 0;
    uint32_t product;
    for (int i = 0; i < 3; i++) {
        if (id[i] < 'A' || id[i] > 'Z') {
            aml->failed = true;
            return;
        }
        letters = letters << 5 | (uint32_t)(id[i] - 'A' + 1);
    }
    if (!hex4(id + 3, &product) || id[7] != '\0') {
        aml->failed = true;
        return;
    }
    // Both halves are big-endian (ACPI 6.5, 19.3.4).
    const uint8_t bytes[] = {AML_DWORD, (uint8_t)(letters >> 8), (uint8_t)letters,
                             (uint8_t)(product >> 8), (uint8_t)product};
    put(aml, bytes, sizeof(bytes));
}

void aml_io(struct aml *aml, uint16_t port, uint8_t length)
{
    struct {
        uint8_t tag;
        uint8_t decode_16;
        uint16_t min, max;
        uint8_t alignment;
        uint8_t length;
    } __attribute__((packed)) io = {RESOURCE_IO, 1, port, port, 1, length};
    _Static_assert(sizeof(io) == 8, "I/O port descriptor");
    put(aml, &io, sizeof(io));
}

void aml_irq(struct aml *aml, uint8_t irq)
{
    const uint8_t low = irq < 8 ? (uint8_t)(1 << irq) : 0;
    const uint8_t high = irq < 8 ? 0 : (uint8_t)(1 << (irq - 8) % 8);
    const uint8_t bytes[] = {RESOURCE_IRQ, low, high};
    if (irq > 15) {
        aml->failed = true;
    }
    put(aml, bytes, sizeof(bytes));
}

void aml_interrupt_edge(struct aml *aml, uint32_t gsi)
{
    struct {
        uint8_t tag;
        uint16_t length;
        uint8_t flags; // bit 0 consumer, bit 1 edge, bit 2 active low, bit 3 shared
        uint8_t count;
        uint32_t gsi;
    } __attribute__((packed)) interrupt = {RESOURCE_INTERRUPT, 6, 0x03, 1, gsi};
    _Static_assert(sizeof(interrupt) == 9, "extended interrupt descriptor");
    put(aml, &interrupt, sizeof(interrupt));
}

void aml_memory_window(struct aml *aml, uint64_t base, uint64_t size)
{
    struct qword_space {
        uint8_t tag;
        uint16_t length;
        uint8_t kind;       // 0: memory
        uint8_t flags;      // bit 0 consumer, bit 1 subtractive, bits 2 and 3 min and max fixed
        uint8_t type_flags; // bit 0 writable, bits 2:1 = 1 cacheable
        uint64_t granularity, min, max, translation, size;
    } __attribute__((packed));
    const struct qword_space window = {RESOURCE_QWORD,  0x2b, 0,   0x0c, 0x03, 0, base,
                                       base + size - 1, 0,    size};
    _Static_assert(sizeof(window) == 0x2e, "QWORD address space descriptor");
    put(aml, &window, sizeof(window));
}
