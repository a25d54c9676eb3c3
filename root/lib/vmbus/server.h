// SPDX-License-Identifier: BSD-2-Clause-Patent
// The VMBus of one virtual machine, as its owner (root.efi, or a process on a Linux root) drives
// it. Devices use channel.h.
//
// The owner brings guest events in (a message, a signal, time) and then calls vmbus_server_run()
// until it says there is no more to do. All memory is the caller's arena, given once.
//
// What has to exist beneath (spec: VMBus 1.1, 1.2): the guest's messages to the connections
// VMBUS_CONNECTION_1 and VMBUS_CONNECTION_4 come to vmbus_server_message(), its signals of a
// channel's connection to vmbus_server_signal(). Messages to the guest and event flags go by
// HvCallPostMessageDirect and HvCallSignalEventDirect, or their like.
//
// Locking: none; the owner serialises all calls for one server.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel.h"

enum {
    VMBUS_CONNECTION_1 = 1, // messages of clients before 5.0, and of firmware
    VMBUS_CONNECTION_4 = 4, // messages of clients from 5.0 on
    VMBUS_SINT = 2,         // the one SINT that guests use for VMBus
    VMBUS_MESSAGE_TYPE = 1, // of every message, both ways
    VMBUS_MESSAGE_MAX = 240,
    VMBUS_CHANNELS_MAX = 2047, // relids 1..2047: bits of the SIEFP page
};

// The event connection of the channel with this relid.
#define VMBUS_EVENT_CONNECTION(relid) (0x2000u | (relid))

enum vmbus_post {
    VMBUS_POST_OK,
    VMBUS_POST_LATER,  // no buffer now: vmbus_server_run() tries again when the owner calls it
    VMBUS_POST_FAILED, // never: no such VP, or its SynIC is off. The message is lost
};

enum vmbus_log_level { VMBUS_LOG_INFO, VMBUS_LOG_WARNING };

// The environment. ctx is given back with each call. Callbacks must not call into the server.
struct vmbus_host {
    void *ctx;
    struct vmbus_memory memory;
    // A message of VMBUS_MESSAGE_TYPE for a VP's SINT; size <= VMBUS_MESSAGE_MAX.
    enum vmbus_post (*post_message)(void *ctx, uint32_t vp, uint8_t sint, const void *payload,
                                    size_t size);
    // Sets an event flag (0..2047) of a VP's SINT.
    void (*signal_event)(void *ctx, uint32_t vp, uint8_t sint, uint16_t flag);
    // Signals of VMBUS_EVENT_CONNECTION(relid) are wanted from now on, or no more. False when it
    // cannot be done: the channel is then not opened.
    bool (*listen)(void *ctx, uint16_t relid, bool wanted);
    uint64_t (*now_100ns)(void *ctx); // the guest's reference time, never goes back
    // One line without a newline. The library limits how many there are.
    void (*log)(void *ctx, enum vmbus_log_level level, const char *text);
    // A Hyper-V socket: the guest connects `endpoint` to `service`. The owner offers a channel of
    // that class and instance (now or soon), or calls vmbus_server_refuse(). NULL: all refused.
    void (*connect)(void *ctx, const struct vmbus_guid *endpoint, const struct vmbus_guid *service);
};

// How much a guest may hold. Every limit is validated by vmbus_server_size().
struct vmbus_limits {
    uint16_t channels;    // 1..VMBUS_CHANNELS_MAX, subchannels included
    uint16_t gpadls;      // at one time, 1..4096
    uint32_t gpadl_words; // of all GPADLs: about one a page of guest buffers, plus one each
    uint32_t max_version; // newest version accepted, e.g. 0x00050003; 0: the newest known
};

// Bytes of arena for these limits; 0 when a limit is out of range.
size_t vmbus_server_size(const struct vmbus_limits *limits);

// Sets a server up in the arena (aligned to 16 bytes, vmbus_server_size() bytes at least, which it
// uses from now on). *host is copied. NULL when limits, alignment or size do not fit.
struct vmbus_server *vmbus_server_init(void *arena, size_t size, const struct vmbus_limits *limits,
                                       const struct vmbus_host *host);

enum vmbus_accept {
    VMBUS_ACCEPTED,
    VMBUS_BUSY, // answers wait to be posted, or the guest floods: give it again after a run. The
                // guest's HvCallPostMessage is meant to see HV_STATUS_INSUFFICIENT_BUFFERS
};

// A message of the guest, of type VMBUS_MESSAGE_TYPE, that came by that connection. The bytes are
// private to the caller; a message that is no good (size included) is accepted and dropped.
enum vmbus_accept vmbus_server_message(struct vmbus_server *server, uint32_t connection,
                                       const void *message, size_t size);

// The guest signalled the event connection of this relid (any value: unknown ones are ignored).
void vmbus_server_signal(struct vmbus_server *server, uint32_t relid);

// Does a bounded amount of what there is to do: posts messages, calls devices. True when there is
// more: call again, when others had a turn. False: nothing until an event or the deadline.
bool vmbus_server_run(struct vmbus_server *server);

// When vmbus_server_run() has to be called at the latest, in now_100ns() units; UINT64_MAX: never.
uint64_t vmbus_server_deadline(const struct vmbus_server *server);

// The machine was reset: channels are closed, the connection forgotten; offers stay. Devices may
// still have to answer close: run until vmbus_server_is_idle().
void vmbus_server_reset(struct vmbus_server *server);

// No connection and no channel that is not closed.
bool vmbus_server_is_idle(const struct vmbus_server *server);

// The answer to connect() when nobody takes the connection; status is an NTSTATUS.
void vmbus_server_refuse(struct vmbus_server *server, const struct vmbus_guid *endpoint,
                         const struct vmbus_guid *service, uint32_t status);

// ---- save and restore ------------------------------------------------------------------------

// Writes the whole state: connection, channels, GPADLs, and each device's by its save callback.
// The guest's VPs do not run, and the devices have nothing in flight. False when the blob is full
// (blob->used says how much is needed) or an answer of a device to open or close is outstanding.
bool vmbus_server_save(struct vmbus_server *server, struct blob_writer *blob);

// Restores into a fresh server to which the same devices (by class and instance) have been offered,
// before the first run. The blob is hostile. False when it is malformed, of an unknown version, or
// does not fit these limits or offers: the server must then be set up anew. Afterwards both ends of
// every open channel are woken, since signals may have been lost.
bool vmbus_server_restore(struct vmbus_server *server, struct blob_reader *blob);
