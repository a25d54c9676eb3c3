// SPDX-License-Identifier: BSD-2-Clause-Patent
// The root's hypercalls against a hypervisor made of a few variables: deposits, accounts, reps.
#include "root/calls.h"

#include <check.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "root/hv.h"
#include "root/log.h"
#include "root/pages.h"

enum { PAGES = 1024, MAPPED = 4096 };
#define CHILD UINT64_C(0x301)

static struct {
    uint64_t pool[PAGES]; // of the child
    uint32_t pool_count, own_pool_count;
    uint32_t pages_out;         // the root's pages given to somebody
    uint32_t pages_left;        // that the root can still get
    uint32_t needed;            // pages that a simple call of `needs` wants in the pool
    uint16_t needs;             // its code
    uint16_t shortage;          // the status it fails with meanwhile
    uint32_t rep_limit;         // reps done in one entry
    uint32_t map_pages_a_table; // elements that one page of the pool maps
    uint64_t gpa[MAPPED], own[MAPPED];
    uint32_t mapped, calls;
    uint32_t flags;
    bool lie, keep_one, stuck;
    struct hv_register_assoc set[CALL_REGISTERS];
} hv;

uint64_t pages_take(void)
{
    if (hv.pages_left == 0) {
        return 0;
    }
    hv.pages_left--;
    return (uint64_t)(0x1000 + hv.pages_out++) << 12;
}

void pages_give(uint64_t page)
{
    ck_assert_uint_eq(page & 0xfff, 0);
    hv.pages_out--;
    hv.pages_left++;
}

void root_log(const char *format, ...)
{
    (void)format;
}

static uint64_t deposit(const void *input, uint32_t start, uint32_t count)
{
    const struct hv_input_deposit_memory *in = input;
    const uint64_t *page = (const uint64_t *)(in + 1);

    for (uint32_t i = start; i < count; i++) {
        if (i - start == hv.rep_limit) {
            return hv_hypercall_result(HV_STATUS_SUCCESS, i);
        }
        if (in->partition_id == HV_PARTITION_ID_SELF) {
            hv.own_pool_count++;
        } else {
            ck_assert_uint_eq(in->partition_id, CHILD);
            hv.pool[hv.pool_count++] = page[i];
        }
    }
    return hv_hypercall_result(HV_STATUS_SUCCESS, count);
}

static uint64_t withdraw(void *output, uint32_t start, uint32_t count)
{
    uint64_t *page = output;

    for (uint32_t i = start; i < count; i++) {
        if (hv.pool_count == (hv.keep_one ? 1 : 0)) {
            return hv_hypercall_result(HV_STATUS_NO_RESOURCES, i);
        }
        if (i - start == hv.rep_limit) {
            return hv_hypercall_result(HV_STATUS_SUCCESS, i);
        }
        page[i] = hv.pool[--hv.pool_count] + (hv.lie ? 1 : 0);
        hv.lie = false;
    }
    return hv_hypercall_result(HV_STATUS_SUCCESS, count);
}

static uint64_t map(const void *input, uint32_t start, uint32_t count)
{
    const struct hv_input_map_gpa_pages *in = input;
    const uint64_t *page = (const uint64_t *)(in + 1);
    const uint64_t step = in->map_flags & HV_MAP_GPA_LARGE_PAGE ? 512 : 1;

    hv.flags = in->map_flags;
    for (uint32_t i = start; i < count; i++) {
        if (hv.mapped >= hv.pool_count * hv.map_pages_a_table) {
            return hv_hypercall_result(HV_STATUS_INSUFFICIENT_MEMORY, i);
        }
        hv.gpa[hv.mapped] = in->target_gpa_base + i * step;
        hv.own[hv.mapped++] = page[i];
    }
    return hv_hypercall_result(HV_STATUS_SUCCESS, count);
}

static uint64_t other(uint16_t code, const void *input, void *output, uint32_t count)
{
    if (code == hv.needs && hv.pool_count + hv.own_pool_count < hv.needed) {
        return hv.shortage;
    }
    if (code == HVCALL_CREATE_PARTITION) {
        *(uint64_t *)output = CHILD;
    }
    if (code == HVCALL_SET_VP_REGISTERS) {
        memcpy(hv.set, (const struct hv_input_vp_registers *)input + 1, count * sizeof hv.set[0]);
    }
    return hv_hypercall_result(HV_STATUS_SUCCESS, count);
}

uint64_t hv_hypercall(uint64_t control, const void *input, void *output)
{
    const uint32_t start = hv_hypercall_rep_start(control);
    const uint32_t count = hv_hypercall_rep_count(control);

    hv.calls++;
    ck_assert_uint_eq((uintptr_t)input & 7, 0);
    ck_assert_uint_eq(control & HV_HYPERCALL_RESERVED_MASK, 0);
    if (hv.stuck) {
        return hv_hypercall_result(HV_STATUS_SUCCESS, start);
    }
    switch (hv_hypercall_code(control)) {
    case HVCALL_DEPOSIT_MEMORY:
        return deposit(input, start, count);
    case HVCALL_WITHDRAW_MEMORY:
        return withdraw(output, start, count);
    case HVCALL_MAP_GPA_PAGES:
        return map(input, start, count);
    default:
        return other(hv_hypercall_code(control), input, output, count);
    }
}

// The fast form: the same call, with its block in registers.
uint64_t hv_hypercall_fast(uint64_t control, const void *block)
{
    ck_assert(hv_hypercall_is_fast(control));
    return hv_hypercall(control & ~HV_HYPERCALL_FAST, block, NULL);
}

bool hv_has_xmm_input(void)
{
    return true;
}

static struct account account;

static void setup(void)
{
    memset(&hv, 0, sizeof hv);
    hv.pages_left = PAGES;
    hv.rep_limit = UINT32_MAX;
    hv.map_pages_a_table = 512;
    account = (struct account){0};
    ck_assert_uint_eq(call_create_partition(&account, 0), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(account.partition, CHILD);
}

START_TEST(test_no_deposit_unasked)
{
    ck_assert_uint_eq(call_initialize_partition(&account), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(hv.calls, 2);
    ck_assert_uint_eq(account.deposited, 0);
}
END_TEST

START_TEST(test_deposits_until_it_is_enough)
{
    uint64_t lost = 99;

    hv.needs = HVCALL_INITIALIZE_PARTITION;
    hv.needed = 100;
    hv.shortage = HV_STATUS_INSUFFICIENT_MEMORY;
    hv.rep_limit = 5; // the rep call has to be continued
    ck_assert_uint_eq(call_initialize_partition(&account), HV_STATUS_SUCCESS);
    ck_assert_uint_ge(account.deposited, 100);
    ck_assert_uint_le(account.deposited, 200);
    ck_assert_uint_eq(account.deposited, hv.pool_count);
    ck_assert_uint_eq(account.deposited, hv.pages_out);
    ck_assert_uint_eq(call_withdraw_all(&account, &lost), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(lost, 0);
    ck_assert_uint_eq(hv.pages_out, 0);
    ck_assert_uint_eq(account.sum, 0);
}
END_TEST

START_TEST(test_creation_is_paid_by_the_root)
{
    hv.needs = HVCALL_CREATE_PARTITION;
    hv.needed = 1;
    hv.shortage = HV_STATUS_INSUFFICIENT_MEMORY;
    ck_assert_uint_eq(call_create_partition(&account, 0), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(account.deposited, 0);
    ck_assert_uint_gt(hv.own_pool_count, 0);
}
END_TEST

START_TEST(test_root_memory_goes_to_the_root)
{
    hv.needs = HVCALL_CREATE_VP;
    hv.needed = 1;
    hv.shortage = HV_STATUS_INSUFFICIENT_ROOT_MEMORY;
    ck_assert_uint_eq(call_create_vp(&account, 0), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(account.deposited, 0);
    ck_assert_uint_gt(hv.own_pool_count, 0);
}
END_TEST

START_TEST(test_gives_up)
{
    hv.needs = HVCALL_CREATE_VP;
    hv.needed = UINT32_MAX;
    hv.shortage = HV_STATUS_INSUFFICIENT_MEMORY;
    ck_assert_uint_eq(call_create_vp(&account, 0), HV_STATUS_INSUFFICIENT_MEMORY);
    ck_assert_uint_eq(hv.pages_left, 0); // all that the root had was tried
    ck_assert_uint_eq(account.deposited, hv.pool_count);
}
END_TEST

START_TEST(test_lost_page)
{
    uint64_t lost;

    hv.needs = HVCALL_CREATE_VP;
    hv.needed = 10;
    hv.shortage = HV_STATUS_INSUFFICIENT_MEMORY;
    hv.keep_one = true;
    ck_assert_uint_eq(call_create_vp(&account, 0), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(call_withdraw_all(&account, &lost), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(lost, 1);
}
END_TEST

START_TEST(test_wrong_page)
{
    uint64_t lost;

    hv.needs = HVCALL_CREATE_VP;
    hv.needed = 10;
    hv.shortage = HV_STATUS_INSUFFICIENT_MEMORY;
    hv.lie = true;
    ck_assert_uint_eq(call_create_vp(&account, 0), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(call_withdraw_all(&account, &lost), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(lost, 1);
}
END_TEST

START_TEST(test_map_in_batches_with_deposits)
{
    hv.map_pages_a_table = 7;
    ck_assert_uint_eq(call_map(&account, 0x100, 0x5000, 1200, HV_MAP_GPA_READABLE),
                      HV_STATUS_SUCCESS);
    ck_assert_uint_eq(hv.mapped, 1200);
    for (uint32_t i = 0; i < 1200; i++) {
        ck_assert_uint_eq(hv.gpa[i], 0x100 + i);
        ck_assert_uint_eq(hv.own[i], 0x5000 + i);
    }
    ck_assert_uint_eq(hv.flags, HV_MAP_GPA_READABLE);
}
END_TEST

START_TEST(test_map_large)
{
    ck_assert_uint_eq(call_map(&account, 0, 0x200, 3, HV_MAP_GPA_LARGE_PAGE), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(hv.mapped, 3);
    ck_assert_uint_eq(hv.gpa[2], 0x400);
    ck_assert_uint_eq(hv.own[2], 0x600);
    ck_assert_uint_eq(call_map(&account, 0, 0, 0, 0), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(hv.mapped, 3);
}
END_TEST

START_TEST(test_no_progress_is_an_error)
{
    hv.stuck = true;
    ck_assert_uint_eq(call_map(&account, 0, 0, 1, 0), HV_STATUS_OPERATION_FAILED);
}
END_TEST

START_TEST(test_register_list)
{
    static struct call_registers list;

    call_registers_start(&list, CHILD, 3);
    call_registers_add128(&list, HV_REGISTER_CS, 1, 2);
    call_registers_add(&list, HV_REGISTER_RIP, 5);
    ck_assert_uint_eq(call_set_registers(&list), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(hv.set[0].value.reg128.high, 2);
    call_registers_start(&list, CHILD, 3);
    call_registers_add(&list, HV_REGISTER_RAX, 7); // nothing stays of what was there before
    ck_assert_uint_eq(call_set_registers(&list), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(hv.set[0].name, HV_REGISTER_RAX);
    ck_assert_uint_eq(hv.set[0].value.reg128.low, 7);
    ck_assert_uint_eq(hv.set[0].value.reg128.high, 0);
    for (unsigned i = 0; i < CALL_REGISTERS + 10; i++) {
        call_registers_add(&list, HV_REGISTER_RAX, i);
    }
    ck_assert_uint_eq(list.count, CALL_REGISTERS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("root_calls");
    TCase *tcase = tcase_create("all");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, test_no_deposit_unasked);
    tcase_add_test(tcase, test_deposits_until_it_is_enough);
    tcase_add_test(tcase, test_creation_is_paid_by_the_root);
    tcase_add_test(tcase, test_root_memory_goes_to_the_root);
    tcase_add_test(tcase, test_gives_up);
    tcase_add_test(tcase, test_lost_page);
    tcase_add_test(tcase, test_wrong_page);
    tcase_add_test(tcase, test_map_in_batches_with_deposits);
    tcase_add_test(tcase, test_map_large);
    tcase_add_test(tcase, test_no_progress_is_an_error);
    tcase_add_test(tcase, test_register_list);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
