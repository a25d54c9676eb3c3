// SPDX-License-Identifier: BSD-2-Clause-Patent
// Page pools against a model that knows each page's owner.
#include "fake_phys.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "corbel/pool.h"

static struct pool pool;

enum owner { OUTSIDE, FREE, USED };
static enum owner owner[FAKE_PHYS_PAGES];

static void setup(void)
{
    fake_phys_setup();
    pool_init(&pool);
    memset(owner, 0, sizeof(owner));
}

static uint64_t page_pa(uint64_t index)
{
    return FAKE_PHYS_BASE + index * PAGE_SIZE;
}

static uint64_t page_index(const void *page)
{
    return (virt_to_phys(page) - FAKE_PHYS_BASE) / PAGE_SIZE;
}

static bool all_bytes(const void *page, int value)
{
    const unsigned char *bytes = page;

    return bytes[0] == value && memcmp(bytes, bytes + 1, PAGE_SIZE - 1) == 0;
}

static void check_balance(uint64_t available, uint64_t in_use)
{
    struct pool_balance balance = pool_balance(&pool);

    ck_assert_uint_eq(balance.available, available);
    ck_assert_uint_eq(balance.in_use, in_use);
}

START_TEST(empty)
{
    uint64_t pa;

    ck_assert_ptr_null(pool_alloc(&pool));
    ck_assert_ptr_null(pool_alloc_run(&pool, 1));
    ck_assert_ptr_null(pool_alloc_run(&pool, 0));
    ck_assert(!pool_withdraw(&pool, &pa));
    pool_deposit(&pool, page_pa(0), 0);
    check_balance(0, 0);
}
END_TEST

START_TEST(pages_come_zeroed_and_distinct)
{
    pool_deposit(&pool, page_pa(10), 5);
    pool_deposit(&pool, page_pa(100), 1);
    check_balance(6, 0);
    for (int i = 0; i < 6; i++) {
        void *page = pool_alloc(&pool);

        ck_assert_ptr_nonnull(page);
        ck_assert(all_bytes(page, 0));
        ck_assert(owner[page_index(page)] == OUTSIDE);
        owner[page_index(page)] = USED;
        memset(page, 0x77, PAGE_SIZE);
    }
    ck_assert_ptr_null(pool_alloc(&pool));
    check_balance(0, 6);
    for (int i = 10; i < 15; i++)
        ck_assert(owner[i] == USED);
    ck_assert(owner[100] == USED);
}
END_TEST

START_TEST(withdraw_takes_only_free_pages)
{
    void *page;
    uint64_t pa;

    pool_deposit(&pool, page_pa(3), 2);
    page = pool_alloc(&pool);
    memset(page, 0x11, PAGE_SIZE);
    ck_assert(pool_withdraw(&pool, &pa));
    ck_assert_uint_ne(pa, virt_to_phys(page));
    ck_assert(all_bytes(phys_to_virt(pa), 0));
    ck_assert(!pool_withdraw(&pool, &pa));
    check_balance(0, 1);
    ck_assert(all_bytes(page, 0x11));
    pool_free(&pool, page);
    ck_assert(pool_withdraw(&pool, &pa));
    ck_assert_uint_eq(pa, virt_to_phys(page));
    ck_assert(all_bytes(page, 0));
    check_balance(0, 0);
}
END_TEST

// Single pages deposited in a scattered order are one run once they are sorted.
START_TEST(run_from_scattered_deposits)
{
    static const unsigned char order[] = {7, 2, 5, 0, 3, 6, 1, 4};
    char *run;

    for (unsigned i = 0; i < sizeof(order); i++)
        pool_deposit(&pool, page_pa(20 + order[i]), 1);
    pool_deposit(&pool, page_pa(29), 1);
    ck_assert_ptr_null(pool_alloc_run(&pool, 9));
    check_balance(9, 0);
    run = pool_alloc_run(&pool, 8);
    ck_assert_ptr_eq(run, phys_to_virt(page_pa(20)));
    for (unsigned i = 0; i < 8; i++)
        ck_assert(all_bytes(run + i * PAGE_SIZE, 0));
    check_balance(1, 8);
    pool_free_run(&pool, run, 8);
    check_balance(9, 0);
}
END_TEST

START_TEST(whole_range_run)
{
    char *run;

    pool_deposit(&pool, page_pa(0), FAKE_PHYS_PAGES);
    run = pool_alloc_run(&pool, FAKE_PHYS_PAGES);
    ck_assert_ptr_eq(run, fake_arena);
    ck_assert_ptr_null(pool_alloc(&pool));
    pool_free_run(&pool, run, FAKE_PHYS_PAGES);
    ck_assert_ptr_null(pool_alloc_run(&pool, FAKE_PHYS_PAGES + 1));
    check_balance(FAKE_PHYS_PAGES, 0);
}
END_TEST

static uint64_t used_run(void)
{
    uint64_t start = random_below(FAKE_PHYS_PAGES);

    for (uint64_t i = 0; i < FAKE_PHYS_PAGES; i++) {
        uint64_t index = (start + i) % FAKE_PHYS_PAGES;

        if (owner[index] == USED)
            return index;
    }
    return FAKE_PHYS_PAGES;
}

static void take(void *page, uint64_t pages)
{
    for (uint64_t i = 0; i < pages; i++) {
        uint64_t index = page_index(page) + i;

        must(owner[index] == FREE);
        must(all_bytes(phys_to_virt(page_pa(index)), 0));
        owner[index] = USED;
        memset(phys_to_virt(page_pa(index)), 0x5a, PAGE_SIZE);
    }
}

static void random_step(void)
{
    uint64_t index = random_below(FAKE_PHYS_PAGES);
    uint64_t pages = 1 + random_below(6);
    uint64_t pa;
    void *page;

    switch (random_below(5)) {
    case 0:
        if (owner[index] == OUTSIDE) {
            pool_deposit(&pool, page_pa(index), 1);
            owner[index] = FREE;
        }
        break;
    case 1:
        if (pool_withdraw(&pool, &pa)) {
            index = (pa - FAKE_PHYS_BASE) / PAGE_SIZE;
            must(owner[index] == FREE);
            owner[index] = OUTSIDE;
        }
        break;
    case 2:
        page = pool_alloc_run(&pool, pages);
        if (page != NULL)
            take(page, pages);
        break;
    case 3:
        page = pool_alloc(&pool);
        if (page != NULL)
            take(page, 1);
        break;
    default:
        index = used_run();
        if (index < FAKE_PHYS_PAGES) {
            must(all_bytes(phys_to_virt(page_pa(index)), 0x5a));
            pool_free(&pool, phys_to_virt(page_pa(index)));
            owner[index] = FREE;
        }
    }
}

static uint64_t count(enum owner who)
{
    uint64_t n = 0;

    for (uint64_t i = 0; i < FAKE_PHYS_PAGES; i++)
        n += owner[i] == who;
    return n;
}

START_TEST(random_against_model)
{
    uint64_t pa;

    for (int i = 0; i < 60000; i++) {
        random_step();
        if (i % 16 == 0)
            check_balance(count(FREE), count(USED));
    }
    for (uint64_t i = 0; i < FAKE_PHYS_PAGES; i++) {
        if (owner[i] == USED)
            pool_free(&pool, phys_to_virt(page_pa(i)));
        if (owner[i] != OUTSIDE)
            owner[i] = FREE;
    }
    while (pool_withdraw(&pool, &pa)) {
        must(owner[(pa - FAKE_PHYS_BASE) / PAGE_SIZE] == FREE);
        owner[(pa - FAKE_PHYS_BASE) / PAGE_SIZE] = OUTSIDE;
    }
    must_equal(count(OUTSIDE), FAKE_PHYS_PAGES);
    check_balance(0, 0);
}
END_TEST

START_TEST(free_of_more_than_in_use_stops)
{
    pool_deposit(&pool, page_pa(0), 4);
    pool_free(&pool, phys_to_virt(page_pa(9)));
}
END_TEST

// By the clock as well as by count: where threads outnumber free processors, each waits in turn for
// one that does not run, and that can take a time slice per round.
static void *hammer(void *until)
{
    for (int i = 0; i < 20000 && time(NULL) < *(const time_t *)until; i++) {
        uint64_t *page = pool_alloc(&pool);

        if (page == NULL)
            continue;
        must_equal(page[511], 0);
        page[511] = 1;
        pool_free(&pool, page);
    }
    return NULL;
}

START_TEST(many_processors)
{
    pthread_t thread[3];
    time_t until = time(NULL) + 5;

    pool_deposit(&pool, page_pa(0), 2);
    for (int i = 0; i < 3; i++)
        must_equal(pthread_create(&thread[i], NULL, hammer, &until), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    check_balance(2, 0);
}
END_TEST

START_TEST(lock)
{
    struct spinlock lock;

    spin_init(&lock);
    ck_assert(!spin_is_locked(&lock));
    spin_lock(&lock);
    ck_assert(spin_is_locked(&lock));
    ck_assert(!spin_trylock(&lock));
    spin_unlock(&lock);
    ck_assert(spin_trylock(&lock));
    ck_assert(!spin_trylock(&lock));
    spin_unlock(&lock);
    ck_assert(!spin_is_locked(&lock));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool");
    TCase *tests = tcase_create("pool");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, fake_phys_teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, empty);
    tcase_add_test(tests, pages_come_zeroed_and_distinct);
    tcase_add_test(tests, withdraw_takes_only_free_pages);
    tcase_add_test(tests, run_from_scattered_deposits);
    tcase_add_test(tests, whole_range_run);
    tcase_add_test(tests, random_against_model);
    tcase_add_test_raise_signal(tests, free_of_more_than_in_use_stops, SIGILL);
    tcase_add_test(tests, many_processors);
    tcase_add_test(tests, lock);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
