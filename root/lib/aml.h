// SPDX-License-Identifier: BSD-2-Clause-Patent
// An encoder for the AML that a DSDT of fixed devices needs (ACPI 6.5, chapter 20): scopes,
// devices, names, integers, strings, packages and resource templates. No methods.
//
// Objects nest between an opening call and aml_close. Lengths are filled in when an object closes,
// in their shortest form. An encoder that runs out of room, nests too deep or is given a name that
// is none remembers that and writes nothing more: check aml_finish once at the end.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AML_DEPTH_MAX = 8 };

struct aml_open {
    size_t start; // where the length goes
    bool buffer;  // a buffer has its size in front of its bytes
};

struct aml {
    uint8_t *bytes;
    size_t size;
    size_t used;
    uint32_t depth;
    bool failed;
    struct aml_open open[AML_DEPTH_MAX];
};

void aml_init(struct aml *aml, void *bytes, size_t size);

// True when everything was encoded and closed.
bool aml_finish(const struct aml *aml);

// A path is "\\_SB", "COM1" or "_SB.VMOD": segments of one to four of A-Z, 0-9 and _, the first of
// them no digit; shorter ones are padded. At most two segments.
void aml_open_scope(struct aml *aml, const char *path);
void aml_open_device(struct aml *aml, const char *path);
// Name (path, ...): the next object is its value.
void aml_name(struct aml *aml, const char *path);
void aml_open_package(struct aml *aml, uint8_t count);
// ResourceTemplate () { ... }; aml_close_resources adds the end tag and closes it.
void aml_open_resources(struct aml *aml);
void aml_close_resources(struct aml *aml);
void aml_close(struct aml *aml);

void aml_integer(struct aml *aml, uint64_t value);
void aml_string(struct aml *aml, const char *text);
// EisaId ("PNP0501"): three capitals and four hexadecimal digits in upper case.
void aml_eisa_id(struct aml *aml, const char *id);

// IO (Decode16, port, port, 1, length)
void aml_io(struct aml *aml, uint16_t port, uint8_t length);
// IRQNoFlags () {irq}, irq < 16
void aml_irq(struct aml *aml, uint8_t irq);
// Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) {gsi}
void aml_interrupt_edge(struct aml *aml, uint32_t gsi);
// QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite, ...)
// size is not 0 and base + size does not wrap.
void aml_memory_window(struct aml *aml, uint64_t base, uint64_t size);
