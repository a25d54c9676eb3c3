// SPDX-License-Identifier: BSD-2-Clause-Patent
// What a device (VSP) sees of VMBus: it offers channels, the guest opens them, packets go both ways
// through two rings, and the channel ends by the guest's will or the host's. The owner of a virtual
// machine has the other view, server.h.
//
// Sources: Linux include/linux/hyperv.h and drivers/hv, OpenVMM vmbus_core and vmbus_ring.
//
// Locking: the library takes none. Everything here belongs to one server, whose owner serialises
// all calls; callbacks come from within such calls. A callback may call everything in this header,
// on any channel of the same server, and must return soon: it does not wait for anything.
//
// Life of a channel, as a device sees it:
//
//   vmbus_channel_offer()                                   the guest may see it from now on
//     open callback -> vmbus_channel_opened(STATUS)         rings exist between opened(0) and
//     closed
//       wake callbacks: read, send, complete
//     close callback -> vmbus_channel_closed()              then perhaps open again
//   vmbus_channel_rescind(), or the end of a subchannel     (close first, if it was open)
//     released callback                                     the pointer is dead when it returns
//
// A hostile guest breaks its rings: the library then fails the channel: it logs why, reads and
// sends say so from then on, and soon after the close callback comes as if the guest had closed
// it. The guest sees the offer rescinded; it comes back when the guest contacts the bus anew. A
// device that finds its own protocol broken beyond an answer calls vmbus_channel_fail().
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blob.h"
#include "guid.h"
#include "memory.h"
#include "ranges.h"

struct vmbus_server;  // the bus of one virtual machine
struct vmbus_channel; // one channel of it; lives in the server's arena

// ---- offers ----------------------------------------------------------------------------------

enum {
    VMBUS_USER_DATA = 120,     // bytes of user data in an offer and in an open request
    VMBUS_PIPE_PACKET = 16384, // most payload bytes of one packet in pipe mode
};

enum vmbus_offer_flags {
    VMBUS_OFFER_ENUMERATE_INTERFACE = 0x0001,
    // Pipe mode: a packet's payload starts with {u32 type, u32 length}. The library writes, checks
    // and strips that header: the device sees what is behind it.
    VMBUS_OFFER_NAMED_PIPE = 0x0010,
    VMBUS_OFFER_SOCKET = 0x2000, // Hyper-V socket (TLNPI provider)
    VMBUS_OFFER_FLAGS = VMBUS_OFFER_ENUMERATE_INTERFACE | VMBUS_OFFER_NAMED_PIPE |
                        VMBUS_OFFER_SOCKET, // all that may be set; 0x2 and 0x4 mean confidential
};

// User data of a pipe offer begins with its type (little endian u32).
enum vmbus_pipe_type { VMBUS_PIPE_BYTES = 0, VMBUS_PIPE_MESSAGES = 4 };

// As the guest will see it in OFFERCHANNEL. class_id and instance_id together are unique on a bus.
// Guests learn of offers in the order of class, `order` and instance, and get their relids in it: a
// device that keeps these keeps its relid when the guest hibernates.
struct vmbus_offer {
    struct vmbus_guid class_id;
    struct vmbus_guid instance_id;
    uint16_t flags;                   // enum vmbus_offer_flags
    uint16_t mmio_megabytes;          // MMIO space that the guest must find for the device
    uint16_t mmio_megabytes_optional; // and that it would like
    uint32_t order; // among offers of its class: lower first; 0: after those that have one
    uint8_t user_data[VMBUS_USER_DATA]; // pipe offers: begins with enum vmbus_pipe_type
};

// What the guest said when it opened a channel. Copied once; the rings have been validated.
struct vmbus_open {
    uint8_t user_data[VMBUS_USER_DATA];
    uint32_t version;       // of the VMBus connection: major << 16 | minor
    uint32_t target_vp;     // VP that takes our signals
    uint32_t ring_in_size;  // bytes of data in the ring from the guest
    uint32_t ring_out_size; // and in the one to it
};

// NTSTATUS values that go into messages.
#define VMBUS_STATUS_OK      UINT32_C(0)
#define VMBUS_STATUS_FAILED  UINT32_C(0x8000FFFF)
#define VMBUS_STATUS_REFUSED UINT32_C(0xC0000236)

// Callbacks of a device; `device` is what was given with the offer. Subchannels share them.
struct vmbus_device_ops {
    // The guest opens the channel. The device answers with vmbus_channel_opened(), here or later.
    // *open is valid during the call. Nothing can be sent before the answer.
    void (*open)(void *device, struct vmbus_channel *channel, const struct vmbus_open *open);
    // The channel ends: closed by the guest, rescinded, failed, or the guest was reset. No packet
    // can be read or sent any more. The device drops what it has in flight (guest memory that a
    // request named must not be touched after the answer), gives back its GPADLs and answers with
    // vmbus_channel_closed(), here or later. If open has not been answered, it need not be now.
    void (*close)(void *device, struct vmbus_channel *channel);
    // There may be packets to read, or room to send, or the deadline has passed; also once after
    // opening and after restoring. The device reads until vmbus_channel_read() has no more, or
    // until it can take no more itself (then vmbus_channel_wake() when it can again).
    void (*wake)(void *device, struct vmbus_channel *channel);
    // Optional (NULL when the device never holds GPADLs): the guest tears a GPADL down that the
    // device holds. The device stops using it and calls vmbus_gpadl_release(), here or later; only
    // then does the guest get its answer.
    void (*gpadl_revoked)(void *device, struct vmbus_channel *channel, uint32_t gpadl);
    // Optional: the offer has ended; the last callback for this channel.
    void (*released)(void *device, struct vmbus_channel *channel);
    // The device's own state, for the primary channel only; called with nothing in flight. Without
    // them a channel that was open is rescinded at restore, and offered anew. restore is called
    // with the channels in place (vmbus_channel_is_open(), rings and GPADLs usable; wake follows)
    // and must treat the blob as hostile; false refuses it.
    void (*save)(void *device, struct vmbus_channel *primary, struct blob_writer *blob);
    bool (*restore)(void *device, struct vmbus_channel *primary, struct blob_reader *blob);
};

// Offers a channel. Everything is copied but *ops, which must live on. NULL when the offer is not
// valid (flags, pipe data), its ids are taken, or the server has no channel left.
struct vmbus_channel *vmbus_channel_offer(struct vmbus_server *server,
                                          const struct vmbus_offer *offer,
                                          const struct vmbus_device_ops *ops, void *device);

// Offers a subchannel of an open primary channel, with the next index (1, 2, ...). It ends when
// the primary closes. NULL when the primary is not open or the server has no channel left. A
// device offers as many as it has promised the guest, after the packet that promised them.
struct vmbus_channel *vmbus_channel_offer_sub(struct vmbus_channel *primary);

// Ends an offer (hot removal), with its subchannels. close (if open) and released come, now or
// later. Harmless when it is ending already.
void vmbus_channel_rescind(struct vmbus_channel *channel);

// ---- state -----------------------------------------------------------------------------------

// Answers to the callbacks. Calls that answer nothing are ignored. A status other than
// VMBUS_STATUS_OK: the channel stays closed.
void vmbus_channel_opened(struct vmbus_channel *channel, uint32_t status);
void vmbus_channel_closed(struct vmbus_channel *channel);

// Open and not failed: packets can be read and sent.
bool vmbus_channel_is_open(const struct vmbus_channel *channel);

// 0 for a primary channel, else the index of the subchannel.
uint32_t vmbus_channel_index(const struct vmbus_channel *channel);
// The primary channel of a subchannel; of a primary itself.
struct vmbus_channel *vmbus_channel_primary(struct vmbus_channel *channel);
// The subchannel of a primary with this index (1, 2, ...); NULL when there is none (any more).
struct vmbus_channel *vmbus_channel_sub(struct vmbus_channel *primary, uint32_t index);
// The VP that takes our signals now; the guest may move it (MODIFYCHANNEL).
uint32_t vmbus_channel_target_vp(const struct vmbus_channel *channel);
// Version of the VMBus connection; 0 when there is none.
uint32_t vmbus_channel_version(const struct vmbus_channel *channel);

// A pointer for the device's use, one a channel. NULL at first.
void vmbus_channel_set_context(struct vmbus_channel *channel, void *context);
void *vmbus_channel_context(const struct vmbus_channel *channel);

// Guest memory, for vmbus_ranges_*().
const struct vmbus_memory *vmbus_channel_memory(const struct vmbus_channel *channel);

// The guest's reference time in units of 100 ns; never goes back.
uint64_t vmbus_channel_now(const struct vmbus_channel *channel);

// Asks for one wake at or soon after that time; replaces the one asked for before. UINT64_MAX:
// none. Closing forgets it.
void vmbus_channel_set_deadline(struct vmbus_channel *channel, uint64_t deadline_100ns);

// Asks for a wake soon, not from within this call: the device can go on reading or sending.
void vmbus_channel_wake(struct vmbus_channel *channel);

// The guest has broken the device's protocol: fails the channel (see above). `reason` is a literal;
// it is logged.
void vmbus_channel_fail(struct vmbus_channel *channel, const char *reason);

// A line for the log that begins with the channel's name; the library limits the rate.
void vmbus_channel_log(struct vmbus_channel *channel, const char *text);

// ---- packets from the guest ------------------------------------------------------------------

enum vmbus_packet_type {
    VMBUS_PACKET_IN_BAND = 6,
    VMBUS_PACKET_TRANSFER_PAGES = 7, // host to guest only
    VMBUS_PACKET_GPA_DIRECT = 9,     // guest to host only
    VMBUS_PACKET_COMPLETION = 11,
};

struct vmbus_packet {
    // Set by the caller. The words hold the range buffer of a GPA-direct packet: one for each range
    // and one for each page of it; 0 when the device expects none. They must stay as long as
    // `ranges` is used.
    void *buffer;
    uint32_t capacity;
    uint64_t *words;
    uint32_t word_capacity;
    // Filled in by the library.
    enum vmbus_packet_type type; // never VMBUS_PACKET_TRANSFER_PAGES
    bool wants_completion;
    uint64_t transaction_id;    // the guest's; not unique, not trustworthy; echo it
    uint32_t size;              // payload bytes; ring padding to 8 included, as guests count it
    struct vmbus_ranges ranges; // GPA-direct: refers to words; else empty
};

enum vmbus_read {
    VMBUS_READ_PACKET,   // *packet is filled
    VMBUS_READ_NONE,     // nothing now: empty, or this wake has had its share; wake comes again
    VMBUS_READ_OVERSIZE, // a valid packet whose payload or range buffer exceeds its capacity: it is
                         // consumed; type, id, wants_completion and the true size are filled in
    VMBUS_READ_CLOSED,   // not open, or failed
};

// Takes the next packet out of the guest's ring. The packet is copied once and everything in it
// that is the bus's business has been checked; its payload is the guest's and has not.
// One wake reads at most VMBUS_WAKE_PACKETS packets; then the others of the machine have a turn.
enum { VMBUS_WAKE_PACKETS = 256 };
enum vmbus_read vmbus_channel_read(struct vmbus_channel *channel, struct vmbus_packet *packet);

// ---- packets to the guest --------------------------------------------------------------------

enum vmbus_send {
    VMBUS_SEND_OK,
    VMBUS_SEND_FULL,   // no room: nothing was written; wake comes when the guest has made room
    VMBUS_SEND_CLOSED, // not open, or failed
    VMBUS_SEND_SIZE,   // can never fit this ring, or more than VMBUS_PIPE_PACKET in pipe mode
};

// In-band data. With wants_completion the guest answers with a completion of that transaction id.
// Linux takes id 0 for "no request": use others then.
enum vmbus_send vmbus_channel_send(struct vmbus_channel *channel, uint64_t transaction_id,
                                   bool wants_completion, const void *data, uint32_t size);

// Answers a packet that wanted a completion. Never in pipe mode's frame.
enum vmbus_send vmbus_channel_complete(struct vmbus_channel *channel, uint64_t transaction_id,
                                       const void *data, uint32_t size);

struct vmbus_transfer {
    uint32_t size;
    uint32_t offset; // in the guest's buffer
};

enum { VMBUS_TRANSFERS_MAX = 562 }; // what Linux's netvsc accepts in one packet

// Transfer pages: data that has been written into a GPADL that the guest gave for it, by the id
// that guest and device agreed upon. Always wants a completion. count is 1..VMBUS_TRANSFERS_MAX.
enum vmbus_send vmbus_channel_send_transfer(struct vmbus_channel *channel, uint64_t transaction_id,
                                            uint16_t set_id, const struct vmbus_transfer *transfers,
                                            uint32_t count, const void *data, uint32_t size);

// Whether packets of these many payload bytes (one after the other, in-band or completion) would
// all fit now. If not, wake comes when there is room for them: a device that must answer what it
// reads asks before it reads. Never true for what the ring is too small for: a device refuses to
// open with rings that cannot hold what it has to say. True when the channel is closed: then
// sending will say so.
bool vmbus_channel_room(struct vmbus_channel *channel, uint32_t packets, uint32_t payload_size);

// Within a wake callback (and open, restore) what was read and sent is published, and the guest
// signalled, when the callback returns; elsewhere with every call. This publishes it at once.
void vmbus_channel_flush(struct vmbus_channel *channel);

// ---- GPADLs ----------------------------------------------------------------------------------

// Takes hold of a buffer that the guest has registered for this channel or its primary. Fills
// *ranges, which is valid until the release; each acquire needs a release. False when there is none
// of that id, or the guest is tearing it down.
bool vmbus_gpadl_acquire(struct vmbus_channel *channel, uint32_t gpadl,
                         struct vmbus_ranges *ranges);
void vmbus_gpadl_release(struct vmbus_channel *channel, uint32_t gpadl);
