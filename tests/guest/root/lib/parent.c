// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "parent.h"

#include "con.h"
#include "cpu.h"
#include "hv/partition.h"
#include "hv/synic.h"
#include "hvcall.h"
#include "rootprobe.h"
#include "tap.h"

#define POOL_PAGES    4096
#define DEPOSIT_BATCH 16
#define DEPOSIT_TRIES 256
#define REFERENCE_US  10 // reference time units a microsecond

_Alignas(4096) static uint8_t block[4096];
_Alignas(4096) static volatile struct hv_message_page sim;

// ---- plain calls ----------------------------------------------------------------------------

uint16_t parent_call(uint16_t code, const void *input, uint32_t size)
{
    return hv_call_memory(code, 0, input, size, NULL, 0, NULL);
}

uint16_t parent_call_out(uint16_t code, const void *input, uint32_t size, void *output,
                         uint32_t output_size)
{
    return hv_call_memory(code, 0, input, size, output, output_size, NULL);
}

uint16_t parent_on(uint16_t code, uint64_t partition)
{
    return parent_call(code, &partition, sizeof(partition));
}

// A rep call: header, then elements.
static uint16_t list_call(uint16_t code, const void *header, uint32_t header_size,
                          const void *elements, uint32_t element_size, uint32_t count, void *output,
                          uint32_t output_size, uint32_t *done)
{
    uint32_t reps = 0;
    memcpy(block, header, header_size);
    if (elements) {
        memcpy(block + header_size, elements, element_size * count);
    }
    uint16_t status = hv_call_memory(code, count, block, sizeof(block), output, output_size, &reps);
    if (done) {
        *done = reps;
    }
    return status;
}

uint16_t parent_create(uint64_t flags, uint64_t *id)
{
    struct hv_input_create_partition in = {.flags = flags,
                                           .compatibility_version = HV_COMPATIBILITY_VERSION_21_H2};
    struct hv_output_create_partition out = {0};
    uint16_t status = parent_call_out(HVCALL_CREATE_PARTITION, &in, sizeof(in), &out, sizeof(out));
    *id = status == HV_STATUS_SUCCESS ? out.partition_id : 0;
    return status;
}

uint16_t parent_deposit(uint64_t partition, const uint64_t *pages, uint32_t count, uint32_t *done)
{
    struct hv_input_deposit_memory in = {partition};
    return list_call(HVCALL_DEPOSIT_MEMORY, &in, sizeof(in), pages, 8, count, NULL, 0, done);
}

uint16_t parent_withdraw(uint64_t partition, uint64_t *pages, uint32_t count, uint32_t *done)
{
    struct hv_input_withdraw_memory in = {.partition_id = partition};
    return list_call(HVCALL_WITHDRAW_MEMORY, &in, sizeof(in), NULL, 0, count, pages, 8 * count,
                     done);
}

uint16_t parent_balance(uint64_t partition, struct hv_output_get_memory_balance *balance)
{
    struct hv_input_get_memory_balance in = {.partition_id = partition};
    return parent_call_out(HVCALL_GET_MEMORY_BALANCE, &in, sizeof(in), balance, sizeof(*balance));
}

uint16_t parent_map(uint64_t partition, uint64_t gpa_page, const uint64_t *own_pages,
                    uint32_t count, uint32_t flags, uint32_t *done)
{
    struct hv_input_map_gpa_pages in = {partition, gpa_page, flags, 0};
    return list_call(HVCALL_MAP_GPA_PAGES, &in, sizeof(in), own_pages, 8, count, NULL, 0, done);
}

uint16_t parent_unmap(uint64_t partition, uint64_t gpa_page, uint32_t count, uint32_t flags)
{
    struct hv_input_unmap_gpa_pages in = {partition, gpa_page, flags, 0};
    return list_call(HVCALL_UNMAP_GPA_PAGES, &in, sizeof(in), NULL, 0, count, NULL, 0, NULL);
}

uint16_t parent_create_vp(uint64_t partition, uint32_t vp)
{
    struct hv_input_create_vp in = {.partition_id = partition, .vp_index = vp};
    return parent_call(HVCALL_CREATE_VP, &in, sizeof(in));
}

uint16_t parent_install(uint64_t partition, uint32_t type, uint32_t access, uint64_t parameter)
{
    struct hv_input_install_intercept in = {partition, access, type, parameter};
    return parent_call(HVCALL_INSTALL_INTERCEPT, &in, sizeof(in));
}

uint16_t parent_get(uint64_t partition, uint32_t vp, uint32_t name, union hv_register_value *value)
{
    struct hv_input_vp_registers in = {.partition_id = partition, .vp_index = vp};
    return list_call(HVCALL_GET_VP_REGISTERS, &in, sizeof(in), &name, sizeof(name), 1, value,
                     sizeof(*value), NULL);
}

uint16_t parent_set(uint64_t partition, uint32_t vp, uint32_t name,
                    const union hv_register_value *value)
{
    struct hv_input_vp_registers in = {.partition_id = partition, .vp_index = vp};
    struct hv_register_assoc element = {.name = name, .value = *value};
    return list_call(HVCALL_SET_VP_REGISTERS, &in, sizeof(in), &element, sizeof(element), 1, NULL,
                     0, NULL);
}

uint16_t parent_set64(uint64_t partition, uint32_t vp, uint32_t name, uint64_t value)
{
    union hv_register_value v = {.reg128 = {value, 0}};
    return parent_set(partition, vp, name, &v);
}

uint64_t parent_get64(uint64_t partition, uint32_t vp, uint32_t name)
{
    union hv_register_value v = {.reg128 = {0, 0}};
    return parent_get(partition, vp, name, &v) == HV_STATUS_SUCCESS ? v.reg64 : ~0ul;
}

uint16_t parent_read_gpa(uint64_t partition, uint64_t gpa, uint32_t count,
                         struct hv_output_read_gpa *out)
{
    struct hv_input_read_gpa in = {.partition_id = partition,
                                   .byte_count = count,
                                   .base_gpa = gpa,
                                   .control_flags = HV_CACHE_TYPE_WRITE_BACK};
    return parent_call_out(HVCALL_READ_GPA, &in, sizeof(in), out, sizeof(*out));
}

uint16_t parent_write_gpa(uint64_t partition, uint64_t gpa, uint32_t count, const void *data,
                          uint32_t *result)
{
    struct hv_input_write_gpa in = {.partition_id = partition,
                                    .byte_count = count,
                                    .base_gpa = gpa,
                                    .control_flags = HV_CACHE_TYPE_WRITE_BACK};
    struct hv_output_write_gpa out = {~0u, 0};
    memcpy(in.data, data, count < sizeof(in.data) ? count : sizeof(in.data));
    uint16_t status = parent_call_out(HVCALL_WRITE_GPA, &in, sizeof(in), &out, sizeof(out));
    *result = out.access_result;
    return status;
}

uint16_t parent_translate(uint64_t partition, uint64_t address, uint64_t flags, uint32_t *code,
                          uint64_t *page)
{
    struct hv_input_translate_virtual_address in = {
        .partition_id = partition, .control_flags = flags, .gva_page = address >> 12};
    struct hv_output_translate_virtual_address out = {~0ul, 0};
    uint16_t status =
        parent_call_out(HVCALL_TRANSLATE_VIRTUAL_ADDRESS, &in, sizeof(in), &out, sizeof(out));
    *code = (uint32_t)(out.translation_result & HV_TRANSLATE_RESULT_CODE_MASK);
    *page = out.gpa_page;
    return status;
}

// ---- pages ----------------------------------------------------------------------------------

static uint64_t pool[POOL_PAGES];
static uint32_t pool_count;
static bool pool_filled;

uint64_t page_take(void)
{
    if (!pool_filled) {
        uint64_t first = (uint64_t)efi_pages(POOL_PAGES, false) >> 12;
        for (pool_count = 0; pool_count < POOL_PAGES; pool_count++) {
            pool[pool_count] = first + pool_count;
        }
        pool_filled = true;
    }
    if (!pool_count) {
        tap_bail_out("no pages left");
    }
    return pool[--pool_count];
}

void page_give(uint64_t page)
{
    if (pool_count < POOL_PAGES) {
        pool[pool_count++] = page;
    }
}

uint32_t pages_free(void)
{
    return pool_count;
}

// ---- a child --------------------------------------------------------------------------------

static uint32_t deposit_batch(uint64_t partition)
{
    uint64_t pages[DEPOSIT_BATCH];
    uint32_t done = 0;
    for (uint32_t i = 0; i < DEPOSIT_BATCH; i++) {
        pages[i] = page_take();
    }
    parent_deposit(partition, pages, DEPOSIT_BATCH, &done);
    for (uint32_t i = done; i < DEPOSIT_BATCH; i++) {
        page_give(pages[i]);
    }
    return done;
}

static bool pay(struct child *c, uint16_t status)
{
    uint32_t done = 0;
    if (status == HV_STATUS_INSUFFICIENT_MEMORY) {
        done = deposit_batch(c->id);
        c->deposited += done;
    } else if (status == HV_STATUS_INSUFFICIENT_ROOT_MEMORY) {
        done = deposit_batch(HV_PARTITION_ID_SELF);
    }
    return done != 0;
}

uint16_t child_paid(struct child *c, uint16_t code, const void *input, uint32_t size)
{
    uint16_t status = parent_call(code, input, size);
    for (int i = 0; i < DEPOSIT_TRIES && pay(c, status); i++) {
        status = parent_call(code, input, size);
    }
    return status;
}

bool child_initialize(struct child *c)
{
    uint16_t status = child_paid(c, HVCALL_INITIALIZE_PARTITION, &c->id, sizeof(c->id));
    if (status != HV_STATUS_SUCCESS) {
        tap_note("initialize: status %x", status);
    }
    return status == HV_STATUS_SUCCESS;
}

bool child_create(struct child *c)
{
    return child_create_with(c, 0);
}

bool child_create_with(struct child *c, uint64_t privileges)
{
    return child_create_empty(c, privileges) && child_initialize(c);
}

bool child_create_empty(struct child *c, uint64_t privileges)
{
    *c = (struct child){0};
    uint16_t status = parent_create(0, &c->id);
    if (status == HV_STATUS_INSUFFICIENT_MEMORY && deposit_batch(HV_PARTITION_ID_SELF)) {
        status = parent_create(0, &c->id);
    }
    if (status != HV_STATUS_SUCCESS) {
        tap_note("create: status %x", status);
        return false;
    }
    if (privileges) {
        struct hv_input_set_partition_property in = {c->id, HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS,
                                                     0, privileges};
        status = parent_call(HVCALL_SET_PARTITION_PROPERTY, &in, sizeof(in));
        if (status != HV_STATUS_SUCCESS) {
            tap_note("privileges: status %x", status);
            return false;
        }
    }
    return true;
}

bool child_create_vp(struct child *c, uint32_t vp)
{
    struct hv_input_create_vp in = {.partition_id = c->id, .vp_index = vp};
    return child_paid(c, HVCALL_CREATE_VP, &in, sizeof(in)) == HV_STATUS_SUCCESS;
}

bool child_map(struct child *c, uint64_t gpa_page, uint64_t own_page, uint32_t flags)
{
    uint16_t status = parent_map(c->id, gpa_page, &own_page, 1, flags, NULL);
    for (int i = 0; i < DEPOSIT_TRIES && pay(c, status); i++) {
        status = parent_map(c->id, gpa_page, &own_page, 1, flags, NULL);
    }
    return status == HV_STATUS_SUCCESS;
}

static bool withdraw_all(struct child *c)
{
    uint64_t pages[256];
    uint32_t done;
    do {
        done = 0;
        parent_withdraw(c->id, pages, 256, &done);
        for (uint32_t i = 0; i < done; i++) {
            page_give(pages[i]);
        }
        c->deposited -= done;
    } while (done);
    return c->deposited == 0;
}

bool child_reclaim(struct child *c)
{
    bool all = withdraw_all(c);
    uint16_t deleted = parent_on(HVCALL_DELETE_PARTITION, c->id);
    if (c->code_page) {
        page_give(c->code_page);
    }
    if (!all || deleted) {
        tap_note("%lu pages missing, delete: status %x", c->deposited, deleted);
    }
    return all && !deleted;
}

bool child_delete(struct child *c)
{
    uint16_t status = parent_on(HVCALL_FINALIZE_PARTITION, c->id);
    if (status) {
        tap_note("finalize: status %x", status);
    }
    return !status && child_reclaim(c);
}

static bool furnish(struct child *c)
{
    if (!child_create_vp(c, 0)) {
        return false;
    }
    c->code_page = page_take();
    struct hv_input_install_intercept ports = {
        c->id, HV_INTERCEPT_ACCESS_MASK_READ | HV_INTERCEPT_ACCESS_MASK_WRITE,
        HV_INTERCEPT_TYPE_X64_IO_PORT_RANGE, 0xffff0000};
    struct hv_input_install_intercept msrs = {
        c->id, HV_INTERCEPT_ACCESS_MASK_READ | HV_INTERCEPT_ACCESS_MASK_WRITE,
        HV_INTERCEPT_TYPE_X64_MSR, 0};
    return child_map(c, CHILD_CODE >> 12, c->code_page,
                     HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE | HV_MAP_GPA_EXECUTABLE) &&
           child_paid(c, HVCALL_INSTALL_INTERCEPT, &ports, sizeof(ports)) == HV_STATUS_SUCCESS &&
           child_paid(c, HVCALL_INSTALL_INTERCEPT, &msrs, sizeof(msrs)) == HV_STATUS_SUCCESS;
}

bool child_prepare(struct child *c)
{
    return child_create(c) && furnish(c);
}

bool child_prepare_created(struct child *c)
{
    return child_initialize(c) && furnish(c);
}

bool child_prepare_privileged(struct child *c, uint64_t privileges)
{
    struct hv_input_set_partition_property input = {0, HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS, 0,
                                                    privileges};
    *c = (struct child){0};
    uint16_t status = parent_create(0, &c->id);
    if (status == HV_STATUS_SUCCESS) {
        input.partition_id = c->id;
        status = parent_call(HVCALL_SET_PARTITION_PROPERTY, &input, sizeof(input));
    }
    if (status != HV_STATUS_SUCCESS) {
        tap_note("privileges: status %x", status);
    }
    return status == HV_STATUS_SUCCESS && child_prepare_created(c);
}

void child_run_vp(struct child *c, uint32_t vp)
{
    union hv_register_value cs = {
        .segment = {.base = 0, .limit = 0xffff, .selector = 0, .attributes = 0x009b}};
    parent_set64(c->id, vp, HV_REGISTER_INTERNAL_ACTIVITY_STATE, 0); // out of an earlier HLT
    parent_set(c->id, vp, HV_REGISTER_CS, &cs);
    parent_set64(c->id, vp, HV_REGISTER_RIP, CHILD_CODE);
    parent_set64(c->id, vp, HV_REGISTER_RSP, CHILD_STACK);
    parent_set64(c->id, vp, HV_REGISTER_RFLAGS, 2);
    parent_set64(c->id, vp, HV_REGISTER_INTERCEPT_SUSPEND, 0);
    parent_set64(c->id, vp, HV_REGISTER_EXPLICIT_SUSPEND, 0);
}

void child_run(struct child *c, const void *code, uint64_t size)
{
    parent_set64(c->id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 1);
    memset((void *)(c->code_page << 12), 0xf4, 4096); // HLT
    memcpy((void *)(c->code_page << 12), code, size);
    child_run_vp(c, 0);
}

void child_go(struct child *c, uint64_t rip)
{
    parent_set64(c->id, 0, HV_REGISTER_RIP, rip);
    parent_set64(c->id, 0, HV_REGISTER_INTERCEPT_SUSPEND, 0);
}

// ---- messages -------------------------------------------------------------------------------

void messages_on(void)
{
    wrmsr(HV_X64_MSR_SIMP, hv_gpa(&sim) | HV_PAGE_MSR_ENABLE);
    wrmsr(HV_X64_MSR_SINT(HV_SYNIC_INTERCEPTION_SINT), HV_SINT_RESET_VALUE);
    wrmsr(HV_X64_MSR_SCONTROL, HV_SCONTROL_ENABLE);
}

bool message_wait(struct hv_message *message, uint64_t us)
{
    volatile struct hv_message *slot = &sim.slot[HV_SYNIC_INTERCEPTION_SINT];
    uint64_t end = rdmsr(HV_X64_MSR_TIME_REF_COUNT) + us * REFERENCE_US;
    while (slot->header.message_type == HV_MESSAGE_TYPE_NONE) {
        if (rdmsr(HV_X64_MSR_TIME_REF_COUNT) >= end) {
            return false;
        }
        pause();
    }
    for (unsigned i = 0; i < sizeof(*message) / 8; i++) {
        ((uint64_t *)message)[i] = ((volatile uint64_t *)slot)[i];
    }
    slot->header.message_type = HV_MESSAGE_TYPE_NONE;
    __asm__ volatile("mfence" ::: "memory");
    if (slot->header.flags & HV_MESSAGE_FLAG_PENDING) {
        wrmsr(HV_X64_MSR_EOM, 0);
    }
    return true;
}

void delay_us(uint64_t us)
{
    uint64_t end = rdmsr(HV_X64_MSR_TIME_REF_COUNT) + us * REFERENCE_US;
    while (rdmsr(HV_X64_MSR_TIME_REF_COUNT) < end) {
        pause();
    }
}
