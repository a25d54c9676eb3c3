// SPDX-License-Identifier: BSD-2-Clause-Patent
// The root scheduler: where the hypervisor says that it schedules no VPs by itself, this program
// runs them, in turn, inside HvCallDispatchVp, on all processors. Devices are the boot processor's,
// which answers all intercepts; interrupts end a VP's turn there.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "hv/message.h"
#include "root/vm.h"

// Asks the hypervisor who schedules. Once, before the rest.
void dispatch_start(void);
// Whether this program does.
static inline bool dispatch_mine(void)
{
    extern bool dispatch_is_mine;
    return dispatch_is_mine;
}

// Has the other processors take part, if there are any; and no more. False: one does not return.
void dispatch_others(void);
bool dispatch_end(void);

// The VPs of a VM, which have just been created, take part; their intercept messages come in pages
// of their own. HV_STATUS.
uint16_t dispatch_attach(struct vm *vm);
// They do no more.
void dispatch_detach(struct vm *vm);

// A message that says which VPs have stopped waiting. False: it is no such message.
bool dispatch_signal(const struct hv_message *message);

// A turn of the next VP that does not wait, its intercepts included; sleeps until an interrupt
// comes if all wait. Returns at once if a message waits or hv_signalled is set; interrupts are
// enabled then.
void dispatch_turn(void);
