// SPDX-License-Identifier: BSD-2-Clause-Patent
// A child that comes to grief over and over: each time its parent is told, and the log is not
// flooded with reports.
//
// log: partition 0x[0-9a-f]+ VP 0: triple fault at 0x1000$
// log: partition 0x[0-9a-f]+: [1-9][0-9]* reports left out$
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "parent.h"
#include "realmode.h"
#include "rootprobe.h"
#include "tap.h"

#define TIMES     20u
#define LOG_AGAIN 6000000ul // microseconds after which another report has room

static struct child c;
static struct hv_message message;

CODE(fall_code, "ud2")

// With no memory for its interrupt table, the VP can take no exception: limit 0.
static bool falls(void)
{
    const union hv_register_value none = {.table = {.limit = 0}};
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 1);
    parent_set(c.id, 0, HV_REGISTER_IDTR, &none);
    RUN(&c, fall_code);
    return message_wait(&message, PATIENCE_US) &&
           message.header.message_type == HV_MESSAGE_TYPE_UNRECOVERABLE_EXCEPTION;
}

void root_main(void)
{
    uint32_t told = 0;
    hv_need();
    hv_setup();
    messages_on();
    if (!tap_ok(child_prepare(&c), "a child with a page of code is made")) {
        return;
    }
    for (uint32_t i = 0; i < TIMES; i++) {
        told += falls();
    }
    tap_is(told, TIMES, "its parent is told each time that it falls");
    delay_us(LOG_AGAIN);
    tap_ok(falls(), "and later too");
    tap_ok(child_delete(&c), "every page comes back");
}
