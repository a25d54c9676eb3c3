// SPDX-License-Identifier: BSD-2-Clause-Patent
// The hypercalls that the root makes for its children, one function each. They return HV_STATUS.
// Calls that may want memory deposit it by themselves, in batches, and keep the account.
// TLFS: Partitions, Virtual Processors, Guest Physical Address Spaces
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hv/corbel.h"
#include "hv/hypercall.h"

// A child partition as the root pays for it.
struct account {
    uint64_t partition; // 0: none
    uint64_t deposited; // pages given and not yet withdrawn
    uint64_t sum;       // of those pages' numbers, mixed: tells wrong pages from the right number
};

uint16_t call_create_partition(struct account *account, uint64_t flags);
uint16_t call_initialize_partition(struct account *account);
uint16_t call_finalize_partition(const struct account *account);
uint16_t call_delete_partition(const struct account *account);

// Withdraws all that the partition has; the partition is finalized, or was never initialized.
// *lost says how many of the deposited pages did not come back; it is at least 1 when pages came
// back that were not deposited.
uint16_t call_withdraw_all(struct account *account, uint64_t *lost);

// Gives the partition at least so many pages for what its guest may ask of the hypervisor by
// itself, which nobody is asked to pay for then: where its overlay pages lie, large pages are
// split. False: there are none to give.
bool call_deposit_ahead(struct account *account, uint32_t pages);

uint16_t call_set_property(struct account *account, uint32_t property, uint64_t value);
// CPU groups (hv/corbel.h): `value` in, or *answer out.
uint16_t call_set_cpu_group(const struct hv_corbel_cpu_group *value);
uint16_t call_get_cpu_group(uint32_t id, uint64_t what, uint64_t *answer);
// An LP of the machine (hv/corbel.h).
uint16_t call_get_lp(uint32_t lp, uint64_t what, uint64_t *answer);

uint16_t call_install_intercept(struct account *account, uint32_t type, uint32_t access_mask,
                                uint64_t parameter);
uint16_t call_create_vp(struct account *account, uint32_t vp);

// ---- calls_dispatch.c: the root scheduler ------------------------------------------------------

// HV_SCHEDULER_TYPE_*.
uint16_t call_scheduler_type(uint64_t *type);
// Where the VP's intercept messages come, from now on.
uint16_t call_map_message_page(struct account *account, uint32_t vp,
                               const struct hv_message **page);
// Runs the VP on this processor, which may be any, for `slice` units of 100 ns at most. Neither
// block crosses a page.
uint16_t call_dispatch_vp(uint64_t partition, uint32_t vp, uint64_t slice,
                          struct hv_input_dispatch_vp *in, struct hv_output_dispatch_vp *out);

// Maps `count` pages (4 KiB, or 2 MiB with HV_MAP_GPA_LARGE_PAGE in flags) from page numbers
// gpa_page and own_page on, which count in 4 KiB and are aligned.
uint16_t call_map(struct account *account, uint64_t gpa_page, uint64_t own_page, uint64_t count,
                  uint32_t flags);
// Unmaps 2 MiB from page number gpa_page on, however they are mapped, if they are.
uint16_t call_unmap_block(struct account *account, uint64_t gpa_page);

uint16_t call_assert_interrupt(uint64_t partition, uint64_t control, uint64_t destination,
                               uint32_t vector);

// Result (HV_TRANSLATE_GVA_*) in *code and, for HV_TRANSLATE_GVA_SUCCESS and the codes that name a
// page table, the page in *gpa_page.
uint16_t call_translate(uint64_t partition, uint32_t vp, uint64_t linear, uint64_t flags,
                        uint32_t *code, uint64_t *gpa_page);

// Up to CALL_REGISTERS registers.
enum { CALL_REGISTERS = 64 };
uint16_t call_get_registers(uint64_t partition, uint32_t vp, const uint32_t *names, uint32_t count,
                            union hv_register_value *values);

// ---- setting registers -------------------------------------------------------------------------

// A list of registers to set at once, built in the page that the hypercall reads.
struct call_registers {
    struct hv_input_vp_registers header;
    struct hv_register_assoc element[CALL_REGISTERS];
    uint32_t count;
} __attribute__((aligned(4096)));

static inline void call_registers_start(struct call_registers *list, uint64_t partition,
                                        uint32_t vp)
{
    list->header.partition_id = partition;
    list->header.vp_index = vp;
    list->count = 0;
}

// Names are added until the list is full, which no caller comes near.
static inline void call_registers_add128(struct call_registers *list, uint32_t name, uint64_t low,
                                         uint64_t high)
{
    if (list->count < CALL_REGISTERS) {
        struct hv_register_assoc *element = &list->element[list->count++];
        element->name = name;
        element->value.reg128.low = low;
        element->value.reg128.high = high;
    }
}

static inline void call_registers_add(struct call_registers *list, uint32_t name, uint64_t value)
{
    call_registers_add128(list, name, value, 0);
}

uint16_t call_set_registers(const struct call_registers *list);

// ---- calls_ports.c: ports, connections, messages, events ---------------------------------------

// Owner of a port or connection: a child's account, or one without a partition: the root itself.
// `partner` is the id of the partition that may connect; HV_PARTITION_ID_SELF: the root.
uint16_t call_create_port(struct account *owner, uint32_t id, uint64_t partner,
                          const struct hv_port_info *info);
uint16_t call_delete_port(struct account *owner, uint32_t id);
uint16_t call_connect(struct account *owner, uint32_t id, uint64_t receiver, uint32_t port,
                      uint32_t type);
uint16_t call_disconnect(struct account *owner, uint32_t id);

// Up to HV_MESSAGE_PAYLOAD_MAX_BYTES bytes through a connection of the root's, or straight to a
// VP's SINT.
uint16_t call_post(uint32_t connection, uint32_t type, const void *payload, size_t size);
uint16_t call_post_direct(uint64_t partition, uint32_t vp, uint8_t sint, uint32_t type,
                          const void *payload, size_t size);
uint16_t call_signal_direct(uint64_t partition, uint32_t vp, uint8_t sint, uint16_t flag);

uint16_t call_get_property(uint64_t partition, uint32_t property, uint64_t *value);

// A simple call; what it asks for is deposited. For the above.
uint16_t call_paid(struct account *account, uint16_t code, const void *input, void *output);
