// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "vmx/task.h"

#include <stddef.h>

#include "corbel/x86.h"

enum { // attributes of a segment
    TYPE_MASK = 0xf,
    TYPE_ACCESSED = 1,
    TYPE_WRITABLE = 2, // of data; of code: readable
    TYPE_CONFORMING = 4,
    TYPE_CODE = 8,
    TYPE_LDT = 2,
    TYPE_BUSY = 2,   // of a TSS
    TYPE_TSS_32 = 8, // set in the types of a 32-bit one
    NOT_SYSTEM = 1u << 4,
    DPL_SHIFT = 5,
    PRESENT = 1u << 7,
    DEFAULT_32 = 1u << 14,
    GRANULAR = 1u << 15,
    ATTRIBUTES_V86 = 0xf3
};
#define SELECTOR_TI    4u
#define SELECTOR_RPL   3u
#define SELECTOR_INDEX 0xfff8u
#define FLAGS_NT       (1u << 14)
#define FLAGS_VM       (1u << 17)
#define TSS_MAX        0x68u
#define TSS_CR3        0x1cu
#define TSS_T          0x64u
#define ESP            4u
#define LINKS(source)  ((source) == TASK_CALL || (source) == TASK_GATE)

// SDM 3A figures 8-2 and 8-10. From `state` on: EIP, EFLAGS, eight registers, segments.
static const struct layout {
    uint32_t size, width, state, segments, ldt;
} layouts[2] = {{0x2c, 2, 0x0e, 4, 0x2a}, {0x68, 4, 0x20, 6, 0x60}};

static const struct layout *layout_of(uint16_t tss_attributes)
{
    return &layouts[!!(tss_attributes & TYPE_TSS_32)];
}

static uint32_t get(const uint8_t *from, uint32_t width)
{
    uint32_t value = from[0] | (uint32_t)from[1] << 8;
    return width == 2 ? value : value | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static void put(uint8_t *to, uint32_t width, uint32_t value)
{
    for (uint32_t i = 0; i < width; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

// ---- descriptors --------------------------------------------------------------------------------

// False: the selector is beyond its table.
static bool descriptor_at(const struct task_cpu *cpu, uint16_t selector, uint64_t *linear)
{
    const struct hv_x64_segment_register *ldt = &cpu->segment[TASK_LDTR];
    bool local = selector & SELECTOR_TI;
    uint32_t limit = local ? ldt->limit : cpu->gdt_limit;

    *linear = (local ? ldt->base : cpu->gdt_base) + (selector & SELECTOR_INDEX);
    return (!local || (ldt->attributes & PRESENT)) && (selector & SELECTOR_INDEX) + 7 <= limit;
}

static struct hv_x64_segment_register unpack(uint64_t d, uint16_t selector)
{
    uint32_t limit = (d & 0xffff) | (d >> 32 & 0xf0000);
    uint16_t attributes = d >> 40 & 0xf0ff;

    return (struct hv_x64_segment_register){.base = (d >> 16 & 0xffffff) | (d >> 32 & 0xff000000),
                                            .limit =
                                                attributes & GRANULAR ? limit << 12 | 0xfff : limit,
                                            .selector = selector,
                                            .attributes = attributes};
}

// Changes type bits of the descriptor at `linear`.
static bool retype(const struct task_memory *m, uint64_t linear, uint8_t set, uint8_t clear)
{
    uint8_t byte;

    if (!m->read(m->context, linear + 5, &byte, 1))
        return false;
    byte = (uint8_t)((byte | set) & ~clear);
    return m->write(m->context, linear + 5, &byte, 1);
}

// ---- the old task -------------------------------------------------------------------------------

static bool save(const struct task_cpu *cpu, const struct task_memory *m, enum task_source source)
{
    const struct hv_x64_segment_register *tr = &cpu->segment[TASK_TR];
    const struct layout *l = layout_of(tr->attributes);
    uint8_t state[TSS_MAX], *to = state;

    put(to, l->width, cpu->eip);
    put(to += l->width, l->width, source == TASK_IRET ? cpu->eflags & ~FLAGS_NT : cpu->eflags);
    for (uint32_t i = 0; i < 8; i++)
        put(to += l->width, l->width, cpu->gpr[i]);
    for (uint32_t i = 0; i < l->segments; i++)
        put(to += l->width, l->width, cpu->segment[i].selector);
    return m->write(m->context, tr->base + l->state, state, (10 + l->segments) * l->width);
}

// Links and busy bits (SDM 3A table 8-2).
static bool mark(const struct task_cpu *cpu, const struct task_memory *m, uint64_t new_descriptor,
                 uint64_t new_tss, enum task_source source)
{
    const uint16_t old = cpu->segment[TASK_TR].selector;
    uint64_t linear;

    if (LINKS(source) && !m->write(m->context, new_tss, &old, sizeof(old)))
        return false;
    if (!LINKS(source) && descriptor_at(cpu, old, &linear) && !retype(m, linear, 0, TYPE_BUSY))
        return false;
    return source == TASK_IRET || retype(m, new_descriptor, TYPE_BUSY, 0);
}

// ---- the new task -------------------------------------------------------------------------------

static void take(struct task_cpu *cpu, const struct layout *l, const uint8_t *tss,
                 enum task_source source)
{
    const uint8_t *from = tss + l->state;

    cpu->eip = get(from, l->width);
    cpu->eflags = get(from += l->width, l->width) | 2;
    if (LINKS(source))
        cpu->eflags |= FLAGS_NT;
    for (uint32_t i = 0; i < 8; i++)
        cpu->gpr[i] = get(from += l->width, l->width);
    for (uint32_t i = 0; i < TASK_LDTR; i++)
        cpu->segment[i] = (struct hv_x64_segment_register){
            .selector = i < l->segments ? (uint16_t)get(from += l->width, l->width) : 0};
    cpu->segment[TASK_LDTR] =
        (struct hv_x64_segment_register){.selector = (uint16_t)get(tss + l->ldt, 2)};
    if (l->width == 4)
        cpu->cr3 = get(tss + TSS_CR3, 4);
}

// 0, or the exception that this descriptor means for the segment (SDM 3A table 8-1).
static uint32_t refusal(enum task_segment which, uint16_t attributes, uint32_t rpl, uint32_t cpl)
{
    uint32_t type = attributes & TYPE_MASK, dpl = attributes >> DPL_SHIFT & 3;
    bool code = type & TYPE_CODE, conforming = code && (type & TYPE_CONFORMING);
    bool right;

    switch (which) {
    case TASK_LDTR:
        right = !(attributes & NOT_SYSTEM) && type == TYPE_LDT;
        return !right || !(attributes & PRESENT) ? EXC_TS : 0;
    case TASK_CS:
        right = code && (conforming ? dpl <= rpl : dpl == rpl);
        break;
    case TASK_SS:
        right = !code && (type & TYPE_WRITABLE) && rpl == cpl && dpl == cpl;
        break;
    default:
        right = (!code || (type & TYPE_WRITABLE)) && (conforming || (dpl >= rpl && dpl >= cpl));
        break;
    }
    if (!right || !(attributes & NOT_SYSTEM))
        return EXC_TS;
    return attributes & PRESENT ? 0 : which == TASK_SS ? EXC_SS : EXC_NP;
}

static enum task_outcome load(struct task_cpu *cpu, const struct task_memory *m,
                              enum task_segment which, uint32_t *vector)
{
    struct hv_x64_segment_register *s = &cpu->segment[which];
    uint16_t selector = s->selector;
    uint64_t linear, d;

    *vector = EXC_TS;
    if (!(selector & ~SELECTOR_RPL)) // null
        return which == TASK_CS || which == TASK_SS ? TASK_BAD : TASK_DONE;
    if ((which == TASK_LDTR && (selector & SELECTOR_TI)) || !descriptor_at(cpu, selector, &linear))
        return TASK_BAD;
    if (!m->read(m->context, linear, &d, sizeof(d)))
        return TASK_LOST_MEMORY;
    *vector = refusal(which, d >> 40 & 0xf0ff, selector & SELECTOR_RPL,
                      cpu->segment[TASK_CS].selector & SELECTOR_RPL);
    if (*vector)
        return TASK_BAD;
    if (which != TASK_LDTR && !(d >> 40 & TYPE_ACCESSED)) {
        d |= (uint64_t)TYPE_ACCESSED << 40;
        if (!retype(m, linear, TYPE_ACCESSED, 0))
            return TASK_LOST_MEMORY;
    }
    *s = unpack(d, selector);
    return TASK_DONE;
}

static enum task_outcome load_all(struct task_cpu *cpu, const struct task_memory *m,
                                  uint32_t *vector, uint32_t *error)
{
    static const uint8_t order[] = {TASK_LDTR, TASK_CS, TASK_SS, TASK_DS,
                                    TASK_ES,   TASK_FS, TASK_GS};

    for (uint32_t i = 0; i < sizeof(order); i++) {
        struct hv_x64_segment_register *s = &cpu->segment[order[i]];
        enum task_outcome outcome;

        if (order[i] != TASK_LDTR && (cpu->eflags & FLAGS_VM)) {
            *s = (struct hv_x64_segment_register){(uint64_t)s->selector << 4, 0xffff, s->selector,
                                                  ATTRIBUTES_V86};
            continue;
        }
        *error = s->selector & ~SELECTOR_RPL;
        outcome = load(cpu, m, order[i], vector);
        if (outcome != TASK_DONE)
            return outcome;
    }
    return TASK_DONE;
}

enum task_outcome task_switch(struct task_cpu *cpu, const struct task_memory *m, uint16_t selector,
                              enum task_source source, uint32_t *vector, uint32_t *error)
{
    struct hv_x64_segment_register tr;
    uint8_t tss[TSS_MAX];
    const struct layout *l;
    uint64_t linear, d;
    enum task_outcome outcome;

    if (!descriptor_at(cpu, selector, &linear) || !m->read(m->context, linear, &d, sizeof(d)))
        return TASK_NO_MEMORY;
    tr = unpack(d, selector);
    l = layout_of(tr.attributes);
    if (!m->read(m->context, tr.base, tss, l->size) || !save(cpu, m, source) ||
        !mark(cpu, m, linear, tr.base, source))
        return TASK_NO_MEMORY;
    take(cpu, l, tss, source);
    tr.attributes |= TYPE_BUSY;
    cpu->segment[TASK_TR] = tr;
    if (cpu->paging && l->width == 4)
        m->set_cr3(m->context, cpu->cr3);
    outcome = load_all(cpu, m, vector, error);
    return outcome == TASK_DONE && l->width == 4 && (tss[TSS_T] & 1) ? TASK_TRAP : outcome;
}

bool task_push(struct task_cpu *cpu, const struct task_memory *m, uint32_t error)
{
    const struct hv_x64_segment_register *ss = &cpu->segment[TASK_SS];
    uint32_t width = layout_of(cpu->segment[TASK_TR].attributes)->width;
    uint32_t mask = ss->attributes & DEFAULT_32 ? ~0u : 0xffff;
    uint32_t esp = (cpu->gpr[ESP] & ~mask) | ((cpu->gpr[ESP] - width) & mask);

    if (!m->write(m->context, ss->base + (esp & mask), &error, width))
        return false;
    cpu->gpr[ESP] = esp;
    return true;
}
