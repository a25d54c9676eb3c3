// SPDX-License-Identifier: BSD-2-Clause-Patent
// What is flushed where (include/corbel/tlb.h), against a model of tagged TLBs. LPs run VPs of two
// partitions, tables change under them, partitions go and others get their memory; every use of a
// translation after it was revoked is counted. There has to be none, and there have to be some as
// soon as one thing that the decisions ask for is left out.
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "corbel/tlb.h"

#define LPS        3u
#define PARTITIONS 2u
#define VPS        3u // a partition
#define PAGES      4u // of a guest's address space, and of its GPA space
#define PCIDS      2u
#define TAGS       7u // few, so that they run out
#define ENTRIES    (TAGS * PARTITIONS * PCIDS * PAGES)
#define STEPS      400000u
#define NOBODY     UINT32_MAX

enum vendor { INTEL, AMD, AMD_BY_ASID }; // the last can flush one ASID alone

// Of one VP: what it has looked up by its own tables and its partition's.
struct combined {
    bool valid, global;
    uint32_t tag, root, pcid, page, gpa, spa;
};

struct vp {
    struct tlb_vp tlb;
    uint64_t known; // generation of the space
    uint32_t pcid;
    uint32_t table[PCIDS][PAGES]; // GPA
    bool loose[PCIDS][PAGES];     // changed since the guest last asked for a flush
};

struct partition {
    uint64_t generation;
    uint32_t map[PAGES]; // SPA
    struct vp vp[VPS];
    bool changing;
};

struct lp {
    struct tlb_lp tlb;
    uint32_t partition, vp; // whose turn it is
    bool begun;             // and it has looked at the generation
    bool asked;             // to flush, by who changes the space
    struct combined entry[ENTRIES];
    uint32_t cursor;
    bool physical_valid[PARTITIONS][PAGES]; // Intel's guest-physical ones, by root table
    uint32_t physical[PARTITIONS][PAGES];
};

static struct lp lps[LPS];
static struct partition partitions[PARTITIONS];
static enum vendor vendor;
static uint32_t next_spa, stale;
static uint64_t seed;

// What is left out, to see that it is missed.
static uint32_t deaf;     // TLB_*
static bool careless;     // the generation is not looked at
static bool unseen_turns; // running VPs are not asked

static uint32_t draw(uint32_t count)
{
    seed = seed * 6364136223846793005ul + 1442695040888963407ul;
    return (uint32_t)(seed >> 33) % count;
}

// ---- a processor --------------------------------------------------------------------------------

static void drop_tag(struct lp *lp, uint32_t tag)
{
    for (uint32_t i = 0; i < ENTRIES; i++)
        if (lp->entry[i].tag == tag)
            lp->entry[i].valid = false;
}

static void drop_all(struct lp *lp)
{
    for (uint32_t i = 0; i < ENTRIES; i++)
        lp->entry[i].valid = false;
}

static void drop_space(struct lp *lp, uint32_t root)
{
    memset(lp->physical_valid[root], 0, sizeof(lp->physical_valid[root]));
    for (uint32_t i = 0; i < ENTRIES; i++)
        if (lp->entry[i].root == root)
            lp->entry[i].valid = false;
}

// AMD's entries are found by tag, page and PCID alone, Intel's by the root table too.
static const struct combined *look_up(const struct lp *lp, const struct vp *vp, uint32_t page)
{
    for (uint32_t i = 0; i < ENTRIES; i++) {
        const struct combined *e = &lp->entry[i];
        if (e->valid && e->tag == vp->tlb.tag && e->page == page &&
            (e->global || e->pcid == vp->pcid) && (vendor != INTEL || e->root == lp->partition))
            return e;
    }
    return NULL;
}

static uint32_t second_level(struct lp *lp, uint32_t gpa)
{
    uint32_t root = lp->partition;

    if (vendor != INTEL)
        return partitions[root].map[gpa];
    if (!lp->physical_valid[root][gpa]) {
        lp->physical_valid[root][gpa] = true;
        lp->physical[root][gpa] = partitions[root].map[gpa];
    }
    return lp->physical[root][gpa];
}

static const struct combined *walk(struct lp *lp, const struct vp *vp, uint32_t page)
{
    struct combined *e = &lp->entry[lp->cursor++ % ENTRIES];
    uint32_t gpa = vp->table[vp->pcid][page];

    *e = (struct combined){.valid = true,
                           .global = page == 0, // the same in all PCIDs: change_guest()
                           .tag = vp->tlb.tag,
                           .root = lp->partition,
                           .pcid = vp->pcid,
                           .page = page,
                           .gpa = gpa,
                           .spa = second_level(lp, gpa)};
    return e;
}

// ---- the two backends ---------------------------------------------------------------------------

static void arrive(struct lp *lp, struct vp *vp);

static void obey(struct lp *lp, struct vp *vp, uint32_t todo)
{
    todo &= ~deaf;
    if (todo & TLB_DROP_ALL)
        drop_all(lp);
    if (vendor == INTEL && (todo & TLB_DROP_SPACE))
        drop_space(lp, lp->partition);
    if (vendor == INTEL && (todo & TLB_DROP_TAG))
        drop_tag(lp, vp->tlb.tag);
    if (vendor == AMD_BY_ASID && (todo & (TLB_DROP_SPACE | TLB_DROP_TAG)))
        drop_tag(lp, vp->tlb.tag);
    if (vendor == AMD && !(todo & TLB_LOAD_TAG) && (todo & (TLB_DROP_SPACE | TLB_DROP_TAG))) {
        tlb_lose_tag(&vp->tlb);
        arrive(lp, vp);
    }
}

static void arrive(struct lp *lp, struct vp *vp)
{
    obey(lp, vp, tlb_arrive(&lp->tlb, (uint32_t)(lp - lps), &vp->tlb));
}

static struct vp *vp_of(const struct lp *lp)
{
    return lp->vp == NOBODY ? NULL : &partitions[lp->partition].vp[lp->vp];
}

static struct lp *runner(const struct vp *vp)
{
    for (uint32_t i = 0; i < LPS; i++)
        if (vp_of(&lps[i]) == vp)
            return &lps[i];
    return NULL;
}

// ---- what happens -------------------------------------------------------------------------------

// First half of a turn: the VP can be seen to run.
static void turn(struct lp *lp)
{
    uint32_t p = draw(PARTITIONS), v = draw(VPS);

    if (lp->vp != NOBODY || runner(&partitions[p].vp[v]))
        return;
    lp->partition = p;
    lp->vp = v;
    lp->begun = false;
    arrive(lp, vp_of(lp));
}

static void begin(struct lp *lp)
{
    struct vp *vp = vp_of(lp);

    if (!vp || lp->begun)
        return;
    lp->begun = true;
    if (!careless && tlb_behind(&vp->known, partitions[lp->partition].generation))
        obey(lp, vp, tlb_space_changed(&vp->tlb, true));
}

static void end(struct lp *lp)
{
    lp->vp = NOBODY;
}

static void serve(struct lp *lp)
{
    struct vp *vp = vp_of(lp);

    if (lp->asked && vp)
        obey(lp, vp, tlb_space_changed(&vp->tlb, true));
    lp->asked = false;
}

// A revoked page may be used until the change is complete, but not longer.
static void use(struct lp *lp)
{
    struct vp *vp = vp_of(lp);
    const struct partition *p = &partitions[lp->partition];
    uint32_t page = draw(PAGES);

    if (!vp || !lp->begun)
        return;
    const struct combined *e = look_up(lp, vp, page);
    if (!e)
        e = walk(lp, vp, page);
    if (!vp->loose[vp->pcid][page] && e->gpa != vp->table[vp->pcid][page])
        stale++;
    if (!p->changing && e->spa != p->map[e->gpa])
        stale++;
}

static void change_space(struct partition *p)
{
    if (p->changing)
        return;
    p->changing = true;
    p->map[draw(PAGES)] = next_spa++;
    p->generation++;
    for (uint32_t i = 0; i < LPS && !unseen_turns; i++)
        if (lps[i].vp != NOBODY && lps[i].partition == (uint32_t)(p - partitions))
            lps[i].asked = true;
}

// Complete when all that were asked have flushed, or run something else.
static void complete(struct partition *p)
{
    for (uint32_t i = 0; i < LPS; i++)
        if (lps[i].asked && lps[i].vp != NOBODY && lps[i].partition == (uint32_t)(p - partitions))
            return;
    p->changing = false;
}

static void change_guest(struct vp *vp)
{
    uint32_t pcid = draw(PCIDS), page = draw(PAGES), gpa = draw(PAGES);

    for (uint32_t i = 0; i < PCIDS; i++) {
        if (i != pcid && page != 0)
            continue;
        vp->table[i][page] = gpa;
        vp->loose[i][page] = true;
    }
}

// A call of the guest's, or a change of CR0, CR3 or CR4 from outside.
static void flush_guest(struct vp *vp)
{
    struct lp *lp = runner(vp);
    uint32_t todo = tlb_guest_changed(&vp->tlb, lp != NULL);

    if (lp)
        obey(lp, vp, todo);
    memset(vp->loose, 0, sizeof(vp->loose));
}

// Another partition gets the tables, and nobody who has run remembers anything.
static void replace(struct partition *p)
{
    for (uint32_t i = 0; i < LPS; i++)
        if (lps[i].vp != NOBODY && lps[i].partition == (uint32_t)(p - partitions))
            return;
    memset(p, 0, sizeof(*p));
    p->generation = 1;
    for (uint32_t i = 0; i < PAGES; i++)
        p->map[i] = next_spa++;
    for (uint32_t v = 0; v < VPS; v++)
        tlb_vp_init(&p->vp[v].tlb);
}

static void step(void)
{
    struct lp *lp = &lps[draw(LPS)];
    struct partition *p = &partitions[draw(PARTITIONS)];
    struct vp *vp = &p->vp[draw(VPS)];
    uint32_t kind = draw(1000);

    if (kind < 500)
        use(lp);
    else if (kind < 650)
        turn(lp);
    else if (kind < 800)
        begin(lp);
    else if (kind < 850)
        end(lp);
    else if (kind < 900)
        serve(lp);
    else if (kind < 920)
        change_space(p);
    else if (kind < 950)
        complete(p);
    else if (kind < 970)
        change_guest(vp);
    else if (kind < 985)
        flush_guest(vp);
    else if (kind < 998)
        vp->pcid = draw(PCIDS);
    else
        replace(p);
}

static uint32_t stale_uses(enum vendor v)
{
    memset(lps, 0, sizeof(lps));
    vendor = v;
    seed = 1;
    stale = 0;
    for (uint32_t i = 0; i < LPS; i++) {
        tlb_lp_init(&lps[i].tlb, TAGS);
        lps[i].vp = NOBODY;
    }
    for (uint32_t i = 0; i < PARTITIONS; i++)
        replace(&partitions[i]);
    for (uint32_t i = 0; i < STEPS; i++)
        step();
    return stale;
}

static void setup(void)
{
    deaf = 0;
    careless = unseen_turns = false;
}

START_TEST(nothing_revoked_is_used)
{
    ck_assert_uint_eq(stale_uses((enum vendor)_i), 0);
}
END_TEST

START_TEST(what_is_left_out_is_missed)
{
    static const uint32_t all[] = {TLB_DROP_ALL, TLB_DROP_SPACE, TLB_DROP_TAG};

    deaf = all[_i];
    ck_assert_uint_gt(stale_uses(AMD), 0);
    if (deaf == TLB_DROP_ALL) // TLB_DROP_SPACE of each new tag takes along what the tag had before
        ck_assert_uint_eq(stale_uses(INTEL), 0);
    else
        ck_assert_uint_gt(stale_uses(INTEL), 0);
}
END_TEST

START_TEST(both_who_change_and_who_begin_look)
{
    careless = _i == 0;
    unseen_turns = _i == 1;
    ck_assert_uint_gt(stale_uses(INTEL), 0);
    ck_assert_uint_gt(stale_uses(AMD), 0);
}
END_TEST

START_TEST(a_tag_is_never_the_hosts_nor_out_of_range)
{
    struct tlb_lp lp;
    struct tlb_vp vp;
    uint32_t rolled = 0;

    tlb_lp_init(&lp, 4);
    tlb_vp_init(&vp);
    for (uint32_t i = 0; i < 100; i++) {
        tlb_lose_tag(&vp);
        rolled += !!(tlb_arrive(&lp, 0, &vp) & TLB_DROP_ALL);
        ck_assert_uint_ge(vp.tag, 1);
        ck_assert_uint_lt(vp.tag, 4);
    }
    ck_assert_uint_eq(rolled, 33);
    ck_assert_uint_eq(tlb_arrive(&lp, 0, &vp), 0);
    ck_assert_uint_eq(tlb_arrive(&lp, 1, &vp), TLB_LOAD_TAG | TLB_DROP_SPACE);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("tlb");
    TCase *c = tcase_create("model");
    tcase_add_checked_fixture(c, setup, NULL);
    tcase_add_loop_test(c, nothing_revoked_is_used, 0, 3);
    tcase_add_loop_test(c, what_is_left_out_is_missed, 0, 3);
    tcase_add_loop_test(c, both_who_change_and_who_begin_look, 0, 2);
    tcase_add_test(c, a_tag_is_never_the_hosts_nor_out_of_range);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
