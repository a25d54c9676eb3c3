// SPDX-License-Identifier: BSD-2-Clause-Patent
// mm/memtype.c: MTRRs (SDM 3A 12.11).
#include <check.h>

#include "corbel/memtype.h"

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)
#define ENABLE (1u << 11)
#define FIXED  (1u << 10)
#define VALID  (1u << 11)
#define MASK   ((UINT64_C(1) << 40) - 1)

static void add(struct memory_types *m, uint64_t base, uint64_t size, enum memory_type type)
{
    m->variable[m->variable_count].base = base | type;
    m->variable[m->variable_count++].mask = (~(size - 1) & MASK) | VALID;
}

// A PC: write-back but for the hole below 4 GiB, with VGA memory and ROMs below 1 MiB.
static struct memory_types pc(void)
{
    struct memory_types m = {.def_type = ENABLE | FIXED | MEMORY_WB, .physical_mask = MASK};

    for (unsigned i = 0; i < 2; i++)
        m.fixed[i] = 0x0606060606060606;
    for (unsigned i = 3; i < MEMORY_FIXED_MSRS; i++)
        m.fixed[i] = 0x0505050505050505;
    m.fixed[10] = 0x0506050505050505; // one page of the last 32 KiB
    add(&m, GIB(2), GIB(2), MEMORY_UC);
    return m;
}

static void expect(const struct memory_types *m, uint64_t base, uint64_t size, bool uniform,
                   enum memory_type type)
{
    bool is;
    enum memory_type found = memory_type(m, base, size, &is);

    ck_assert_msg(found == type && is == uniform, "%#llx + %#llx: %d %d", (long long)base,
                  (long long)size, found, is);
}

START_TEST(pc_map)
{
    struct memory_types m = pc();

    expect(&m, GIB(1), GIB(1), true, MEMORY_WB);
    expect(&m, GIB(2), GIB(1), true, MEMORY_UC);
    expect(&m, 0xfee00000, KIB(4), true, MEMORY_UC);
    expect(&m, GIB(4), GIB(1), true, MEMORY_WB);
    expect(&m, 0, GIB(1), false, MEMORY_UC);
    expect(&m, 0, MIB(2), false, MEMORY_UC);
    expect(&m, MIB(2), MIB(2), true, MEMORY_WB);
    expect(&m, 0, KIB(4), true, MEMORY_WB);
    expect(&m, 0x9f000, KIB(4), true, MEMORY_WB);
    expect(&m, 0xa0000, KIB(4), true, MEMORY_UC);
    expect(&m, 0xbf000, KIB(4), true, MEMORY_UC);
    expect(&m, 0xc0000, KIB(4), true, MEMORY_WP);
    expect(&m, 0xfe000, KIB(4), true, MEMORY_WB);
    expect(&m, 0xff000, KIB(4), true, MEMORY_WP);
}
END_TEST

START_TEST(overlaps)
{
    struct memory_types m = {.def_type = ENABLE | MEMORY_UC, .physical_mask = MASK};

    add(&m, 0, GIB(4), MEMORY_WB);
    add(&m, MIB(512), MIB(64), MEMORY_WT);
    add(&m, MIB(544), MIB(2), MEMORY_UC);
    add(&m, GIB(8), MIB(2), MEMORY_WC);
    add(&m, GIB(8), MIB(1), MEMORY_WB);
    expect(&m, 0, MIB(2), true, MEMORY_WB);
    expect(&m, MIB(512), MIB(2), true, MEMORY_WT);
    expect(&m, MIB(544), MIB(2), true, MEMORY_UC);
    expect(&m, MIB(544), KIB(4), true, MEMORY_UC);
    expect(&m, 0, GIB(1), false, MEMORY_UC);
    expect(&m, GIB(5), GIB(1), true, MEMORY_UC);
    expect(&m, GIB(8), MIB(2), false, MEMORY_UC);
    expect(&m, GIB(8), KIB(4), true, MEMORY_UC); // not defined by the manual
    expect(&m, GIB(8) + MIB(1), KIB(4), true, MEMORY_WC);
    m.variable[0].mask &= ~(uint64_t)VALID;
    expect(&m, 0, MIB(2), true, MEMORY_UC);
    m.def_type = MEMORY_WB; // off
    expect(&m, GIB(8) + MIB(1), KIB(4), true, MEMORY_UC);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memtype");
    TCase *tests = tcase_create("memtype");

    tcase_add_test(tests, pc_map);
    tcase_add_test(tests, overlaps);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
