// SPDX-License-Identifier: BSD-2-Clause-Patent
// A parent's hypercalls, with the memory they ask for, and a small child that runs real-mode code.
#ifndef PROBE_PARENT_H
#define PROBE_PARENT_H

#include <stdbool.h>
#include <stdint.h>

#include "hv/hypercall.h"
#include "hv/message.h"

// ---- plain calls: HV_STATUS, nothing behind them --------------------------------------------

uint16_t parent_call(uint16_t code, const void *input, uint32_t size);
uint16_t parent_call_out(uint16_t code, const void *input, uint32_t size, void *output,
                         uint32_t output_size);
uint16_t parent_on(uint16_t code, uint64_t partition);

uint16_t parent_create(uint64_t flags, uint64_t *id);
uint16_t parent_deposit(uint64_t partition, const uint64_t *pages, uint32_t count, uint32_t *done);
uint16_t parent_withdraw(uint64_t partition, uint64_t *pages, uint32_t count, uint32_t *done);
uint16_t parent_balance(uint64_t partition, struct hv_output_get_memory_balance *balance);
uint16_t parent_map(uint64_t partition, uint64_t gpa_page, const uint64_t *own_pages,
                    uint32_t count, uint32_t flags, uint32_t *done);
uint16_t parent_unmap(uint64_t partition, uint64_t gpa_page, uint32_t count, uint32_t flags);
uint16_t parent_create_vp(uint64_t partition, uint32_t vp);
uint16_t parent_install(uint64_t partition, uint32_t type, uint32_t access, uint64_t parameter);
uint16_t parent_get(uint64_t partition, uint32_t vp, uint32_t name, union hv_register_value *value);
uint16_t parent_set(uint64_t partition, uint32_t vp, uint32_t name,
                    const union hv_register_value *value);
uint16_t parent_set64(uint64_t partition, uint32_t vp, uint32_t name, uint64_t value);
uint64_t parent_get64(uint64_t partition, uint32_t vp, uint32_t name); // ~0 on failure
uint16_t parent_read_gpa(uint64_t partition, uint64_t gpa, uint32_t count,
                         struct hv_output_read_gpa *out);
uint16_t parent_write_gpa(uint64_t partition, uint64_t gpa, uint32_t count, const void *data,
                          uint32_t *result);
uint16_t parent_translate(uint64_t partition, uint64_t address, uint64_t flags, uint32_t *code,
                          uint64_t *page);

// ---- pages to give: taken and given back by number ------------------------------------------

uint64_t page_take(void); // page number; ends the program when there is none
void page_give(uint64_t page);
uint32_t pages_free(void);

// ---- a child that pays its way --------------------------------------------------------------

struct child {
    uint64_t id;
    uint64_t deposited; // pages of ours in its pool
    uint64_t code_page; // ours, mapped at CHILD_CODE, once child_prepare has been called
};

#define CHILD_CODE  0x1000 // GPA of the code page, which is its stack too
#define CHILD_STACK 0x2000

// Do `code` on the child, depositing what it asks for.
uint16_t child_paid(struct child *c, uint16_t code, const void *input, uint32_t size);

// Create and initialize; false when a status is not success.
bool child_create(struct child *c);
bool child_create_with(struct child *c, uint64_t privileges); // 0: those it gets anyway

// The two steps of it: properties may be set between them.
bool child_create_empty(struct child *c, uint64_t privileges);
bool child_initialize(struct child *c);

bool child_create_vp(struct child *c, uint32_t vp);
bool child_map(struct child *c, uint64_t gpa_page, uint64_t own_page, uint32_t flags);

// Withdraw and delete; true when all pages came back. child_delete finalizes first.
bool child_reclaim(struct child *c);
bool child_delete(struct child *c);

// A partition with VP 0, a code page at CHILD_CODE, and all ports and MSRs intercepted.
bool child_prepare(struct child *c);

// The same of a partition that has been created and not initialized.
bool child_prepare_created(struct child *c);
// child_prepare() of a partition with these privileges.
bool child_prepare_privileged(struct child *c, uint64_t privileges);

// Copies real-mode code to the page and lets VP 0 run it from its start, segments 0.
void child_run(struct child *c, const void *code, uint64_t size);

// Lets another VP, or that one once more, run the same code from its start.
void child_run_vp(struct child *c, uint32_t vp);

// Lets VP 0 go on at `rip` after an intercept.
void child_go(struct child *c, uint64_t rip);

// ---- messages -------------------------------------------------------------------------------

// SIM page, SynIC on, SINT 0 masked: messages are polled.
void messages_on(void);

// Microseconds after which what must come at once has not come. An emulator with a tenth of a
// processor takes a second to give each of three VPs its turn.
#define PATIENCE_US 60000000ul

// The next message, copied; its slot is freed. False after `us` microseconds without one.
bool message_wait(struct hv_message *message, uint64_t us);

void delay_us(uint64_t us);

#endif
