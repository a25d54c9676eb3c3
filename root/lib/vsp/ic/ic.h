// SPDX-License-Identifier: BSD-2-Clause-Patent
// Integration components: what they have in common. Each is a VMBus channel in message pipe mode;
// the host negotiates versions when the guest has opened it and then sends requests, one at a time,
// which the guest answers in place (Linux: include/linux/hyperv.h, drivers/hv/channel_mgmt.c;
// OpenVMM: hyperv_ic_protocol).
//
// A guest's driver may wait for a daemon before it answers at all: negotiation has no time limit,
// requests have one. Answers that come late, twice or unasked are ignored.
//
// Saved and restored is what was negotiated, and that a backup has to be thawed; a request under
// way is lost, its late answer ignored.
//
// No locks, no allocation: the owner serialises calls for one machine.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "../../vmbus/channel.h"

enum {
    IC_HEADER = 20,
    IC_VERSIONS_MAX = 8,
    IC_NEGOTIATION_MAX = IC_HEADER + 8 + 4 * (2 + IC_VERSIONS_MAX),
};

enum ic_type {
    IC_NEGOTIATE = 0,
    IC_HEARTBEAT = 1,
    IC_KVP = 2,
    IC_SHUTDOWN = 3,
    IC_TIMESYNC = 4,
    IC_VSS = 5,
    IC_FCOPY = 7,
};

#define IC_STATUS_OK            UINT32_C(0)
#define IC_STATUS_FAIL          UINT32_C(0x80004005)
#define IC_STATUS_NO_MORE       UINT32_C(0x80070103) // the end of an enumeration
#define IC_STATUS_NOT_SUPPORTED UINT32_C(0x80070032)
#define IC_STATUS_TIMEOUT       UINT32_C(0x800705B4) // ours: the guest has not answered
#define IC_STATUS_CLOSED        UINT32_C(0x800710DF) // ours: the channel has closed
#define IC_STATUS_MALFORMED     UINT32_C(0x8007000D) // ours: the answer makes no sense

struct ic_version {
    uint16_t major, minor;
};

struct ic;

// What kind of component it is. Lives as long as its components.
struct ic_class {
    struct vmbus_guid class_id, instance_id;
    enum ic_type type;
    const struct ic_version *versions; // ascending, at most IC_VERSIONS_MAX
    uint32_t version_count;
    // The guest is there and the version is known; also after it was restored.
    void (*ready)(struct ic *ic);
    // The request has ended: the guest's status and the body of its answer (of any size; it is
    // where ic_body() is), or one of our own statuses and no body. Another request may be made from
    // here, unless the status is IC_STATUS_CLOSED.
    void (*done)(struct ic *ic, uint32_t status, const uint8_t *body, uint32_t size);
    // The time set with ic_set_timer() has come; only while ready. Optional.
    void (*timer)(struct ic *ic);
    // The channel has closed, after `done` if a request was under way. Optional.
    void (*closed)(struct ic *ic);
    // What is saved beside what was negotiated. Optional, both or none; restoring fails the blob.
    void (*save)(const struct ic *ic, struct blob_writer *blob);
    void (*restore)(struct ic *ic, struct blob_reader *blob);
};

enum ic_state {
    IC_CLOSED,      // no driver in the guest
    IC_NEGOTIATING, // waits for its versions
    IC_READY,
    IC_REFUSED, // the guest knows none of our versions
};

struct ic {
    const struct ic_class *class;
    struct vmbus_channel *channel; // NULL: removed
    enum ic_state state;
    struct ic_version framework, version;
    bool pending; // a request waits for its answer
    bool unsent;  // the buffer holds a message that the ring had no room for
    bool resumed; // restored: begins at the next wake where it was
    uint8_t transaction;
    uint64_t deadline; // of the request
    uint64_t timer;    // of the class
    uint32_t size;     // of the unsent message
    uint8_t *buffer;
    uint32_t capacity;
    uint64_t ignored; // messages from the guest that were no answer
};

// Offers the component. buffer: for one message in or out, at least IC_NEGOTIATION_MAX bytes, stays
// the caller's but is used until ic_gone(). False: the bus has no room.
bool ic_create(struct ic *ic, struct vmbus_server *server, const struct ic_class *class,
               void *buffer, uint32_t capacity);

// Takes it away; ic_gone() says when it is.
void ic_remove(struct ic *ic);
bool ic_gone(const struct ic *ic);

// Whether a request can be made.
static inline bool ic_idle(const struct ic *ic)
{
    return ic->state == IC_READY && !ic->pending;
}

// The place for a request's body. Only when idle.
uint8_t *ic_body(struct ic *ic);

// Sends the request whose body of `size` bytes is at ic_body(). Only when idle. `done` comes with
// the answer, or after `timeout` (100 ns units) without.
void ic_request(struct ic *ic, uint32_t size, uint64_t timeout);

// Asks for `timer` at that time, UINT64_MAX: not at all; replaces the one asked for before.
void ic_set_timer(struct ic *ic, uint64_t when);

// The guest's reference time. Only while it is not gone.
uint64_t ic_now(const struct ic *ic);

// version >= major.minor
static inline bool ic_at_least(const struct ic *ic, uint16_t major, uint16_t minor)
{
    return ic->version.major > major || (ic->version.major == major && ic->version.minor >= minor);
}

#define IC_SECONDS(n) ((uint64_t)(n)*10000000)
