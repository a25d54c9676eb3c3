// SPDX-License-Identifier: BSD-2-Clause-Patent
// Hypercalls for child partitions: contract in calls.h.
#include "root/calls.h"

#include "root/hv.h"
#include "root/lib/mem.h"
#include "root/log.h"
#include "root/pages.h"

enum {
    DEPOSIT_BATCH = 32,
    // What one call may ask for before the root stops believing it: 64 MiB.
    DEPOSIT_BATCHES_MAX = 512,
    DEPOSIT_ELEMENTS = (HV_PAGE_SIZE - sizeof(struct hv_input_deposit_memory)) / sizeof(uint64_t),
    MAP_ELEMENTS = (HV_PAGE_SIZE - sizeof(struct hv_input_map_gpa_pages)) / sizeof(uint64_t),
    FAST_REGISTERS = (HV_HYPERCALL_FAST_MAX_BYTES - sizeof(struct hv_input_vp_registers)) /
                     sizeof(struct hv_register_assoc),
    WITHDRAW_ELEMENTS = HV_PAGE_SIZE / sizeof(uint64_t)
};
_Static_assert(DEPOSIT_BATCH <= DEPOSIT_ELEMENTS, "a batch is one hypercall");
_Static_assert(sizeof(struct hv_input_vp_registers) +
                       CALL_REGISTERS * sizeof(struct hv_register_assoc) <=
                   HV_PAGE_SIZE,
               "a register list is one page");

// Three blocks: a deposit happens while a call's own input waits to be given again.
static _Alignas(HV_PAGE_SIZE) uint8_t input_page[HV_PAGE_SIZE];
static _Alignas(HV_PAGE_SIZE) uint8_t output_page[HV_PAGE_SIZE];
static _Alignas(HV_PAGE_SIZE) uint8_t deposit_page[HV_PAGE_SIZE];

static uint64_t control_of(uint16_t code, uint32_t reps)
{
    return hv_hypercall_control(code, false, 0, reps);
}

static uint16_t simple_call(uint16_t code, const void *input, void *output)
{
    return hv_hypercall_result_status(hv_hypercall(control_of(code, 0), input, output));
}

// All reps of a call, from *done on; *done is where it stopped.
static uint16_t rep_call(uint16_t code, uint32_t reps, uint32_t *done, const void *input,
                         void *output)
{
    while (*done < reps) {
        const uint64_t control = hv_hypercall_with_rep_start(control_of(code, reps), *done);
        const uint64_t result = hv_hypercall(control, input, output);
        const uint32_t reached = hv_hypercall_result_reps(result);
        const uint16_t status = hv_hypercall_result_status(result);

        if (reached > *done && reached <= reps) {
            *done = reached;
        } else if (status == HV_STATUS_SUCCESS) {
            return HV_STATUS_OPERATION_FAILED; // neither progress nor an error
        }
        if (status != HV_STATUS_SUCCESS) {
            return status;
        }
    }
    return HV_STATUS_SUCCESS;
}

// ---- deposits ----------------------------------------------------------------------------------

// Of page numbers: a sum alone would not see two errors that cancel out.
static uint64_t mixed(uint64_t page_number)
{
    const uint64_t mix = page_number * UINT64_C(0x9E3779B97F4A7C15);
    return (mix ^ mix >> 32) * UINT64_C(0xD6E8FEB86659FD93);
}

// Gives the pool of `partition` a batch; `account` (may be NULL) notes what went in.
static bool deposit(uint64_t partition, struct account *account)
{
    struct hv_input_deposit_memory *input = (void *)deposit_page;
    uint64_t *page = (uint64_t *)(input + 1);
    uint32_t count = 0, done = 0;

    input->partition_id = partition;
    for (uint64_t address; count < DEPOSIT_BATCH && (address = pages_take()) != 0; count++) {
        page[count] = address >> HV_PAGE_SHIFT;
    }
    const uint16_t status = rep_call(HVCALL_DEPOSIT_MEMORY, count, &done, input, NULL);
    for (uint32_t i = 0; i < count; i++) {
        if (i >= done) {
            pages_give(page[i] << HV_PAGE_SHIFT);
        } else if (account) {
            account->deposited++;
            account->sum += mixed(page[i]);
        }
    }
    if (done == 0) {
        root_log("cannot deposit memory for partition %lx (status %x, %u pages)", partition,
                 (unsigned)status, (unsigned)count);
    }
    return done != 0;
}

bool call_deposit_ahead(struct account *account, uint32_t pages)
{
    bool given = true;

    for (uint32_t done = 0; done < pages && given; done += DEPOSIT_BATCH) {
        given = deposit(account->partition, account);
    }
    return given;
}

// Deposits what `status` asks for; false when it asks for nothing or there is nothing to give.
static bool pay(struct account *account, uint16_t status)
{
    switch (status) {
    case HV_STATUS_INSUFFICIENT_MEMORY:
    case HV_STATUS_INSUFFICIENT_CONTIGUOUS_MEMORY:
        return account->partition ? deposit(account->partition, account)
                                  : deposit(HV_PARTITION_ID_SELF, NULL);
    case HV_STATUS_INSUFFICIENT_ROOT_MEMORY:
    case HV_STATUS_INSUFFICIENT_CONTIGUOUS_ROOT_MEMORY:
        return deposit(HV_PARTITION_ID_SELF, NULL);
    default:
        return false;
    }
}

uint16_t call_paid(struct account *account, uint16_t code, const void *input, void *output)
{
    uint16_t status = simple_call(code, input, output);

    for (unsigned i = 0; i < DEPOSIT_BATCHES_MAX && pay(account, status); i++) {
        status = simple_call(code, input, output);
    }
    return status;
}

uint16_t call_withdraw_all(struct account *account, uint64_t *lost)
{
    struct hv_input_withdraw_memory *input = (void *)input_page;
    const uint64_t *page = (const uint64_t *)output_page;
    uint64_t extra = 0;
    uint16_t status;

    do {
        uint32_t done = 0;
        *input = (struct hv_input_withdraw_memory){.partition_id = account->partition};
        status = rep_call(HVCALL_WITHDRAW_MEMORY, WITHDRAW_ELEMENTS, &done, input, output_page);
        for (uint32_t i = 0; i < done; i++) {
            if (account->deposited == 0) {
                extra++; // not ours to use
                continue;
            }
            account->deposited--;
            account->sum -= mixed(page[i]);
            pages_give(page[i] << HV_PAGE_SHIFT);
        }
    } while (status == HV_STATUS_SUCCESS);
    *lost = account->deposited + extra;
    if (*lost == 0 && account->sum != 0) {
        *lost = 1;
    }
    return status == HV_STATUS_NO_RESOURCES ? HV_STATUS_SUCCESS : status;
}

// ---- partitions --------------------------------------------------------------------------------

uint16_t call_create_partition(struct account *account, uint64_t flags)
{
    struct hv_input_create_partition *input = (void *)input_page;
    const struct hv_output_create_partition *output = (const void *)output_page;

    *account = (struct account){0};
    *input = (struct hv_input_create_partition){
        .flags = flags,
        .compatibility_version = HV_COMPATIBILITY_VERSION_21_H2,
    };
    const uint16_t status = call_paid(account, HVCALL_CREATE_PARTITION, input, output_page);
    if (status == HV_STATUS_SUCCESS) {
        account->partition = output->partition_id;
    }
    return status;
}

static const void *partition_input(const struct account *account)
{
    struct hv_input_partition *input = (void *)input_page;

    input->partition_id = account->partition;
    return input;
}

uint16_t call_initialize_partition(struct account *account)
{
    return call_paid(account, HVCALL_INITIALIZE_PARTITION, partition_input(account), NULL);
}

uint16_t call_finalize_partition(const struct account *account)
{
    return simple_call(HVCALL_FINALIZE_PARTITION, partition_input(account), NULL);
}

uint16_t call_delete_partition(const struct account *account)
{
    return simple_call(HVCALL_DELETE_PARTITION, partition_input(account), NULL);
}

uint16_t call_set_property(struct account *account, uint32_t property, uint64_t value)
{
    struct hv_input_set_partition_property *input = (void *)input_page;

    *input = (struct hv_input_set_partition_property){
        .partition_id = account->partition, .property_code = property, .property_value = value};
    return call_paid(account, HVCALL_SET_PARTITION_PROPERTY, input, NULL);
}

uint16_t call_install_intercept(struct account *account, uint32_t type, uint32_t access_mask,
                                uint64_t parameter)
{
    struct hv_input_install_intercept *input = (void *)input_page;

    *input = (struct hv_input_install_intercept){.partition_id = account->partition,
                                                 .access_type = access_mask,
                                                 .intercept_type = type,
                                                 .intercept_parameter = parameter};
    return call_paid(account, HVCALL_INSTALL_INTERCEPT, input, NULL);
}

uint16_t call_create_vp(struct account *account, uint32_t vp)
{
    struct hv_input_create_vp *input = (void *)input_page;

    *input = (struct hv_input_create_vp){.partition_id = account->partition, .vp_index = vp};
    return call_paid(account, HVCALL_CREATE_VP, input, NULL);
}

// ---- memory ------------------------------------------------------------------------------------

static uint16_t map_batch(struct account *account, uint32_t count)
{
    uint32_t done = 0;
    uint16_t status = rep_call(HVCALL_MAP_GPA_PAGES, count, &done, input_page, NULL);

    for (unsigned i = 0; i < DEPOSIT_BATCHES_MAX && pay(account, status); i++) {
        status = rep_call(HVCALL_MAP_GPA_PAGES, count, &done, input_page, NULL);
    }
    return status;
}

// One page, as at its first touch, all in registers. False: it takes more than that.
static bool map_fast(const struct account *account, uint64_t gpa_page, uint64_t own_page,
                     uint32_t flags)
{
    struct {
        struct hv_input_map_gpa_pages input;
        uint64_t page;
        uint64_t unused[10]; // hv_hypercall_fast loads all registers
    } block;

    block.input = (struct hv_input_map_gpa_pages){account->partition, gpa_page, flags, 0};
    block.page = own_page;
    return hv_hypercall_fast(hv_hypercall_control(HVCALL_MAP_GPA_PAGES, true, 0, 1), &block) ==
           hv_hypercall_result(HV_STATUS_SUCCESS, 1);
}

uint16_t call_map(struct account *account, uint64_t gpa_page, uint64_t own_page, uint64_t count,
                  uint32_t flags)
{
    struct hv_input_map_gpa_pages *input = (void *)input_page;
    uint64_t *element = (uint64_t *)(input + 1);
    const uint64_t step = flags & HV_MAP_GPA_LARGE_PAGE ? HV_LARGE_PAGE_SIZE / HV_PAGE_SIZE : 1;
    uint16_t status = HV_STATUS_SUCCESS;

    if (count == 1 && hv_has_xmm_input() && map_fast(account, gpa_page, own_page, flags)) {
        return status;
    }
    while (count != 0 && status == HV_STATUS_SUCCESS) {
        const uint32_t batch = count < MAP_ELEMENTS ? (uint32_t)count : MAP_ELEMENTS;
        *input = (struct hv_input_map_gpa_pages){account->partition, gpa_page, flags, 0};
        for (uint32_t i = 0; i < batch; i++) {
            element[i] = own_page + i * step;
        }
        status = map_batch(account, batch);
        gpa_page += batch * step;
        own_page += batch * step;
        count -= batch;
    }
    return status;
}

uint16_t call_unmap_block(struct account *account, uint64_t gpa_page)
{
    struct hv_input_unmap_gpa_pages *input = (void *)input_page;
    uint32_t done = 0;

    *input =
        (struct hv_input_unmap_gpa_pages){account->partition, gpa_page, HV_UNMAP_GPA_LARGE_PAGE, 0};
    return rep_call(HVCALL_UNMAP_GPA_PAGES, 1, &done, input, NULL);
}

uint16_t call_translate(uint64_t partition, uint32_t vp, uint64_t linear, uint64_t flags,
                        uint32_t *code, uint64_t *gpa_page)
{
    struct hv_input_translate_virtual_address *input = (void *)input_page;
    const struct hv_output_translate_virtual_address *output = (const void *)output_page;

    *input = (struct hv_input_translate_virtual_address){
        .partition_id = partition,
        .vp_index = vp,
        .control_flags = flags,
        .gva_page = linear >> HV_PAGE_SHIFT,
    };
    const uint16_t status = simple_call(HVCALL_TRANSLATE_VIRTUAL_ADDRESS, input, output_page);
    if (status == HV_STATUS_SUCCESS) {
        *code = output->translation_result & HV_TRANSLATE_RESULT_CODE_MASK;
        *gpa_page = output->gpa_page;
    }
    return status;
}

// ---- virtual processors ------------------------------------------------------------------------

uint16_t call_assert_interrupt(uint64_t partition, uint64_t control, uint64_t destination,
                               uint32_t vector)
{
    struct hv_input_assert_virtual_interrupt *input = (void *)input_page;

    *input = (struct hv_input_assert_virtual_interrupt){
        .partition_id = partition,
        .control = control,
        .destination_address = destination,
        .vector = vector,
    };
    return simple_call(HVCALL_ASSERT_VIRTUAL_INTERRUPT, input, NULL);
}

uint16_t call_get_registers(uint64_t partition, uint32_t vp, const uint32_t *names, uint32_t count,
                            union hv_register_value *values)
{
    struct hv_input_vp_registers *input = (void *)input_page;
    uint32_t done = 0;

    if (count > CALL_REGISTERS) {
        return HV_STATUS_INVALID_PARAMETER;
    }
    *input = (struct hv_input_vp_registers){.partition_id = partition, .vp_index = vp};
    memcpy(input + 1, names, count * sizeof *names);
    const uint16_t status = rep_call(HVCALL_GET_VP_REGISTERS, count, &done, input, output_page);
    if (status == HV_STATUS_SUCCESS) {
        memcpy(values, output_page, count * sizeof *values);
    }
    return status;
}

uint16_t call_set_registers(const struct call_registers *list)
{
    uint32_t done = 0;

    // The answer to nearly every intercept: no page has to be looked up for it.
    if (list->count <= FAST_REGISTERS && hv_has_xmm_input()) {
        const uint64_t control =
            hv_hypercall_control(HVCALL_SET_VP_REGISTERS, true, 0, list->count);
        return hv_hypercall_result_status(hv_hypercall_fast(control, list));
    }
    return rep_call(HVCALL_SET_VP_REGISTERS, list->count, &done, list, NULL);
}
