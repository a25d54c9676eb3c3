// SPDX-License-Identifier: BSD-2-Clause-Patent
// The synthetic SCSI controller on VMBus: the storage VSP. A controller is one primary channel, any
// number of subchannels that the guest asks for, and a SCSI target with up to SCSI_LUNS units.
//
// Sources: Linux drivers/scsi/storvsc_drv.c, OpenVMM storvsp and storvsp_protocol.
//
// Guest memory that a command names is handed to the block device beneath (scsi.h) without a copy.
// A backend that completes later therefore obliges the owner: as long as storvsp_in_flight() is not
// 0, no memory is taken from the guest.
//
// Locking: as the VMBus library (vmbus/channel.h): the owner serialises all calls for one server,
// the completions of backends among them.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../vmbus/channel.h"
#include "scsi.h"

struct storvsp; // lives in the caller's arena

struct storvsp_limits {
    uint16_t requests;    // in flight at one time, 1..4096; more wait in the guest's rings
    uint16_t subchannels; // that the guest may ask for, 0..255
};

// Bytes of arena for these limits; 0 when one is out of range.
size_t storvsp_size(const struct storvsp_limits *limits);

// Sets up a controller without units in the arena (aligned to 8 bytes, storvsp_size() bytes at
// least). NULL when limits, alignment or size do not fit.
struct storvsp *storvsp_init(void *arena, size_t size, const struct storvsp_limits *limits);

// Offers the controller on a bus, with an instance id of its own. False when the bus does not take
// the offer, or it has been offered already.
bool storvsp_offer(struct storvsp *storvsp, struct vmbus_server *server,
                   const struct vmbus_guid *instance);

// Takes the controller from the guest. When storvsp_is_gone(), nothing refers to the arena or the
// units any more.
void storvsp_revoke(struct storvsp *storvsp);
bool storvsp_is_gone(const struct storvsp *storvsp);

// Requests that the guest waits for.
uint32_t storvsp_in_flight(const struct storvsp *storvsp);

// Units, at any time; the guest is told. As scsi_target_add() and scsi_target_remove().
bool storvsp_add_lun(struct storvsp *storvsp, uint32_t number, struct scsi_lun *lun);
struct scsi_lun *storvsp_remove_lun(struct storvsp *storvsp, uint32_t number);
