// SPDX-License-Identifier: BSD-2-Clause-Patent
// Small objects from a pool: distinct, zeroed, and paid back to the page.
#include "fake_phys.h"

#include "corbel/slab.h"

#define PAGES   64u
#define OBJECTS 4000u

static struct pool pool;
static struct slab slab;

static void setup(void)
{
    fake_phys_setup();
    pool_init(&pool);
    pool_deposit(&pool, FAKE_PHYS_BASE, PAGES);
}

static void check_all_back(void)
{
    struct pool_balance balance = pool_balance(&pool);

    ck_assert_uint_eq(balance.in_use, 0);
    ck_assert_uint_eq(balance.available, PAGES);
    ck_assert_ptr_null(slab.pages);
}

static bool zeroed(const uint8_t *object, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++)
        if (object[i])
            return false;
    return true;
}

// As many objects as the pool has room for, none overlapping; the next one is refused.
START_TEST(objects_fill_the_pool)
{
    static const uint32_t sizes[] = {8, 32, 72, 296, 1024};
    static uint8_t *object[PAGES * PAGE_SIZE / 8];

    for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        uint32_t size = sizes[s], count = 0;
        slab_init(&slab, &pool, size);
        while ((object[count] = slab_alloc(&slab)) != NULL) {
            must(zeroed(object[count], size));
            memset(object[count], (int)(count % 255 + 1), size);
            count++;
        }
        ck_assert_uint_eq(pool_balance(&pool).available, 0);
        ck_assert_uint_ge(count, PAGES * ((PAGE_SIZE - 64) / size));
        for (uint32_t i = 0; i < count; i++)
            for (uint32_t b = 0; b < size; b++)
                must_equal(object[i][b], (uint8_t)(i % 255 + 1));
        for (uint32_t i = 0; i < count; i++)
            slab_free(&slab, object[i]);
        check_all_back();
    }
}
END_TEST

// A page stays exactly as long as one of its objects.
START_TEST(random_order)
{
    static uint64_t *object[OBJECTS];
    uint32_t live = 0;

    slab_init(&slab, &pool, 72);
    for (uint32_t step = 0; step < 200000; step++) {
        uint32_t i = (uint32_t)random_below(OBJECTS);
        if (object[i]) {
            must_equal(*object[i], i);
            slab_free(&slab, object[i]);
            object[i] = NULL;
            live--;
        } else if ((object[i] = slab_alloc(&slab)) != NULL) {
            *object[i] = i;
            live++;
        }
        must(pool_balance(&pool).in_use * (PAGE_SIZE / 72) >= live);
        must(live || !pool_balance(&pool).in_use);
    }
    for (uint32_t i = 0; i < OBJECTS; i++)
        if (object[i])
            slab_free(&slab, object[i]);
    check_all_back();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("slab");
    TCase *tests = tcase_create("slab");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, fake_phys_teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, objects_fill_the_pool);
    tcase_add_test(tests, random_order);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
