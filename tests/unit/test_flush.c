// SPDX-License-Identifier: BSD-2-Clause-Patent
// Lists of translations to drop, and the notes that VPs leave each other, against a TLB that is an
// array of pages.
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "corbel/flush.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "hv/memory.h"

#define PAGES 256u // the pages 0..255 of the address space

static bool pcid;
static _Atomic bool cached[PAGES];
static _Atomic uint32_t whole, by_page;

static void get_paging(const struct vp *vp, struct walk_state *paging)
{
    (void)vp;
    *paging = (struct walk_state){.cr4 = pcid ? CR4_PCIDE : 0};
}

static void flush_guest(struct vp *vp)
{
    (void)vp;
    whole++;
    for (uint32_t i = 0; i < PAGES; i++)
        cached[i] = false;
}

static void flush_pages(struct vp *vp, const struct flush_list *list)
{
    (void)vp;
    by_page++;
    ck_assert(!list->all);
    for (uint32_t i = 0; i < list->count; i++)
        for (uint64_t n = 0; n <= (list->range[i] & 0xfff); n++)
            if ((list->range[i] >> 12) + n < PAGES)
                cached[(list->range[i] >> 12) + n] = false;
}

static const struct vcpu_ops ops = {
    .get_paging = get_paging, .flush_guest = flush_guest, .flush_pages = flush_pages};
const struct vcpu_ops *vcpu = &ops;

void vp_signal(struct vp *vp, uint32_t work)
{
    atomic_fetch_or(&vp->work, work);
}

static struct vp vp;

static void setup(void)
{
    memset(&vp, 0, sizeof(vp));
    spin_init(&vp.flush_lock);
    vp.sched.state = SCHED_RUNNING;
    pcid = false;
    whole = by_page = 0;
    for (uint32_t i = 0; i < PAGES; i++)
        cached[i] = true;
}

static uint64_t element(uint64_t page, uint64_t more)
{
    return page << 12 | more;
}

START_TEST(an_empty_list_drops_nothing)
{
    struct flush_list list;

    flush_list_init(&list);
    ck_assert_int_eq(flush_way(&list, false), FLUSH_NOTHING);
    ck_assert_int_eq(flush_way(&list, true), FLUSH_NOTHING);
    vp_flush_drop(&vp, &list);
    ck_assert_uint_eq(whole + by_page, 0);
}
END_TEST

START_TEST(limits)
{
    struct flush_list list;

    flush_list_init(&list);
    flush_list_add(&list, element(5, FLUSH_PAGES - 1), false);
    ck_assert(!list.all);
    flush_list_add(&list, element(1, 0), false); // one page more than is done singly
    ck_assert(list.all);
    flush_list_add(&list, element(2, 0), false);
    ck_assert(list.all && list.count == 0);

    flush_list_init(&list);
    for (uint32_t i = 0; i < FLUSH_RANGES; i++)
        flush_list_add(&list, element(i, 0), false);
    ck_assert(!list.all && list.count == FLUSH_RANGES);
    flush_list_add(&list, element(0, 0), false);
    ck_assert(list.all);

    flush_list_init(&list);
    flush_list_add(&list, element(0, 0xfff), false); // 4,096 pages
    ck_assert(list.all);
}
END_TEST

// Bit 11 is a page count of the simple form, and "large" in the extended one.
START_TEST(extended_ranges)
{
    struct flush_list list;

    flush_list_init(&list);
    flush_list_add(&list, element(7, 3), true);
    ck_assert(!list.all && list.pages == 4);
    flush_list_add(&list, HV_GVA_RANGE_EX_LARGE | 1ull << 21, true);
    ck_assert(list.all);
    flush_list_init(&list);
    flush_list_add(&list, HV_GVA_RANGE_EX_LARGE | HV_GVA_RANGE_EX_SIZE_1GB, true);
    ck_assert(list.all);
}
END_TEST

START_TEST(pcids_are_all_dropped)
{
    struct flush_list list;

    pcid = true;
    flush_list_init(&list);
    flush_list_add(&list, element(7, 0), false);
    vp_flush_drop(&vp, &list);
    ck_assert_uint_eq(whole, 1);
    ck_assert_uint_eq(by_page, 0);
}
END_TEST

static void random_list(struct flush_list *list, bool wanted[PAGES], bool *everything)
{
    uint32_t elements = (uint32_t)rand() % (rand() % 4 ? 6 : FLUSH_RANGES + 3), pages = 0;

    flush_list_init(list);
    *everything = elements > FLUSH_RANGES;
    for (uint32_t i = 0; i < elements; i++) {
        uint32_t page = (uint32_t)rand() % PAGES, more = (uint32_t)rand() % (rand() % 8 ? 4 : 70);
        bool large = rand() % 64 == 0;

        flush_list_add(list, element(page, more) | (large ? HV_GVA_RANGE_EX_LARGE : 0), true);
        *everything |= large;
        pages += more + 1;
        for (uint32_t n = page; n <= page + more && n < PAGES; n++)
            wanted[n] = true;
    }
    *everything |= pages > FLUSH_PAGES;
}

// What is wanted goes; the rest stays unless the list is over a limit.
START_TEST(random_against_model)
{
    srand(11);
    for (uint32_t round = 0; round < 5000; round++) {
        struct flush_list list;
        bool wanted[PAGES] = {false}, everything;
        uint32_t wrong = 0;

        setup();
        pcid = rand() % 4 == 0;
        random_list(&list, wanted, &everything);
        ck_assert_int_eq(list.all, everything);
        vp_flush_drop(&vp, &list);
        for (uint32_t i = 0; i < PAGES; i++)
            wrong += wanted[i] || everything ? cached[i] : !pcid && !cached[i];
        ck_assert_uint_eq(wrong, 0);
    }
}
END_TEST

START_TEST(notes_join)
{
    srand(12);
    for (uint32_t round = 0; round < 3000; round++) {
        bool wanted[PAGES] = {false}, everything = false, one;
        uint32_t notes = 1 + (uint32_t)rand() % 4, work, wrong = 0;

        setup();
        for (uint32_t i = 0; i < notes; i++) {
            struct flush_list list;
            random_list(&list, wanted, &one);
            everything |= one;
            vp_flush_note(&vp, &list);
            ck_assert(vp_flush_lingers(&vp));
        }
        work = atomic_exchange(&vp.work, 0);
        ck_assert_int_eq(everything && !(work & VP_WORK_FLUSH_PAGES), work == VP_WORK_FLUSH);
        vp_flush_serve(&vp, work);
        ck_assert(!vp_flush_lingers(&vp));
        for (uint32_t i = 0; i < PAGES; i++)
            wrong += cached[i] && (wanted[i] || everything);
        ck_assert_uint_eq(wrong, 0);
        vp_flush_serve(&vp, VP_WORK_FLUSH_PAGES); // nothing is left of it
        ck_assert_uint_eq(vp.flush.count, 0);
    }
}
END_TEST

// Few pages stay few: what nobody named is not dropped.
START_TEST(joined_notes_drop_no_more)
{
    struct flush_list list;

    flush_list_init(&list);
    list.range[1] = element(20, 0); // not of the list
    flush_list_add(&list, element(9, 0), false);
    vp_flush_note(&vp, &list);
    flush_list_init(&list);
    flush_list_add(&list, element(11, 1), false);
    vp_flush_note(&vp, &list);
    ck_assert(!vp.flush.all);
    ck_assert_uint_eq(vp.flush.count, 2);
    ck_assert_uint_eq(vp.flush.pages, 3);
    vp_flush_serve(&vp, atomic_exchange(&vp.work, 0));
    for (uint32_t i = 0; i < PAGES; i++)
        ck_assert_int_eq(cached[i], i != 9 && i != 11 && i != 12);
}
END_TEST

// Who does not run is not waited for, and drops its own before it runs.
START_TEST(only_who_runs_is_waited_for)
{
    struct flush_list list;

    flush_list_init(&list);
    flush_list_add(&list, element(9, 0), false);
    vp.sched.state = SCHED_BLOCKED;
    vp_flush_note(&vp, &list);
    ck_assert(!vp_flush_lingers(&vp));
    ck_assert(cached[9]);
    vp_flush_serve(&vp, atomic_exchange(&vp.work, 0));
    ck_assert(!cached[9]);
}
END_TEST

// ---- notes from other threads ------------------------------------------------------------------

#define NOTES 300u

static _Atomic uint32_t writers;

static void *writer(void *argument)
{
    uint32_t base = (uint32_t)(uintptr_t)argument * 64, seed = base;

    for (uint32_t i = 0; i < NOTES; i++) {
        uint32_t page = base + (uint32_t)rand_r(&seed) % 60, more = (uint32_t)rand_r(&seed) % 4;
        struct flush_list list;

        for (uint32_t n = page; n <= page + more; n++)
            cached[n] = true;
        flush_list_init(&list);
        flush_list_add(&list, element(page, more), false);
        vp_flush_note(&vp, &list);
        while (vp_flush_lingers(&vp))
            sched_yield();
        // The bit goes before the work is done, as the VP is out of its guest by then.
        while (atomic_load(&cached[page]) || atomic_load(&cached[page + more]))
            sched_yield();
    }
    writers--;
    return NULL;
}

START_TEST(notes_are_never_lost)
{
    pthread_t thread[3];

    writers = 3;
    for (uintptr_t i = 0; i < 3; i++)
        pthread_create(&thread[i], NULL, writer, (void *)i);
    while (writers) {
        uint32_t work = atomic_exchange(&vp.work, 0);
        vp_flush_serve(&vp, work);
        if (!work)
            sched_yield(); // they may have to share this processor
    }
    for (uint32_t i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("flush");
    TCase *tcase = tcase_create("flush");
    SRunner *runner = srunner_create(suite);

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, an_empty_list_drops_nothing);
    tcase_add_test(tcase, limits);
    tcase_add_test(tcase, extended_ranges);
    tcase_add_test(tcase, pcids_are_all_dropped);
    tcase_add_test(tcase, random_against_model);
    tcase_add_test(tcase, notes_join);
    tcase_add_test(tcase, joined_notes_drop_no_more);
    tcase_add_test(tcase, only_who_runs_is_waited_for);
    tcase_add_test(tcase, notes_are_never_lost);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
