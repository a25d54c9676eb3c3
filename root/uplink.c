// SPDX-License-Identifier: BSD-2-Clause-Patent
// The machine's network card at a switch: contract in uplink.h.
#include "root/uplink.h"

#include "root/efi.h"
#include "root/hv.h"
#include "root/lib/mem.h"
#include "root/lib/vsp/net/uplink.h"
#include "root/log.h"
#include "root/pages.h"

enum {
    QUEUE_SIZE = 256 << 10,
    BUFFERS = 32, // frames that the card has not sent yet
    BUDGET = 64,  // frames each way at once
};
// Reference time: between two looks while there is traffic, and otherwise.
#define BUSY_INTERVAL 10000u
#define IDLE_INTERVAL 100000u
#define BUSY_FOR      1000000u

struct buffer {
    bool busy;
    uint8_t bytes[ETHER_FRAME_STANDARD + ETHER_TAG];
};

static EFI_GUID network_guid = EFI_SIMPLE_NETWORK_PROTOCOL_GUID;
static EFI_HANDLE handle;
static EFI_SIMPLE_NETWORK *card; // NULL: no uplink
static struct uplink *uplink;
static struct buffer *buffers;
static uint64_t due, busy_until;

// ---- the card ----------------------------------------------------------------------------------

// Buffers come back one by one, in any order.
static void recycle(void)
{
    void *sent = NULL;
    UINT32 interrupts;

    for (unsigned n = 0; n < BUFFERS; n++) {
        if (EFI_ERROR(card->GetStatus(card, &interrupts, &sent)) || !sent) {
            return;
        }
        for (unsigned i = 0; i < BUFFERS; i++) {
            if (buffers[i].bytes == sent) {
                buffers[i].busy = false;
            }
        }
    }
}

static bool transmit(void *ctx, const void *frame, uint32_t size)
{
    (void)ctx;
    if (size > sizeof buffers[0].bytes) {
        return true; // dropped
    }
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < BUFFERS; i++) {
            if (buffers[i].busy) {
                continue;
            }
            memcpy(buffers[i].bytes, frame, size);
            buffers[i].busy =
                !EFI_ERROR(card->Transmit(card, 0, size, buffers[i].bytes, NULL, NULL, NULL));
            if (!buffers[i].busy) {
                recycle(); // the card may have room then
            }
            return buffers[i].busy;
        }
        recycle();
    }
    return false;
}

static uint32_t receive(void *ctx, void *frame, uint32_t capacity)
{
    UINTN size = capacity;

    (void)ctx;
    const EFI_STATUS status = card->Receive(card, NULL, &size, frame, NULL, NULL, NULL);
    if (status == EFI_BUFFER_TOO_SMALL) {
        return (uint32_t)size;
    }
    return EFI_ERROR(status) ? 0 : (uint32_t)size;
}

// ---- start -------------------------------------------------------------------------------------

static EFI_STATUS find_card(void)
{
    EFI_BOOT_SERVICES *services = efi_system->BootServices;
    EFI_HANDLE *handles;
    UINTN count;
    const EFI_STATUS status =
        services->LocateHandleBuffer(ByProtocol, &network_guid, NULL, &count, &handles);

    if (!EFI_ERROR(status)) {
        handle = handles[0];
        services->FreePool(handles);
    }
    return status;
}

// The firmware connects its drivers only to what it boots from.
static void connect_drivers(void)
{
    EFI_BOOT_SERVICES *services = efi_system->BootServices;
    EFI_HANDLE *handles;
    UINTN count;

    if (EFI_ERROR(services->LocateHandleBuffer(AllHandles, NULL, NULL, &count, &handles))) {
        return;
    }
    for (UINTN i = 0; i < count; i++) {
        services->ConnectController(handles[i], NULL, NULL, TRUE);
    }
    services->FreePool(handles);
}

// Exclusive: the firmware's own network stack lets go, and takes no frames any more.
static const char *open_card(void)
{
    EFI_BOOT_SERVICES *services = efi_system->BootServices;
    const UINT32 filters =
        EFI_SIMPLE_NETWORK_RECEIVE_UNICAST | EFI_SIMPLE_NETWORK_RECEIVE_BROADCAST;

    if (EFI_ERROR(find_card())) {
        connect_drivers();
        if (EFI_ERROR(find_card())) {
            return "the firmware knows no network card";
        }
    }
    if (EFI_ERROR(services->OpenProtocol(handle, &network_guid, (void **)&card, efi_image, NULL,
                                         EFI_OPEN_PROTOCOL_EXCLUSIVE))) {
        card = NULL;
        return "the firmware does not give its network card away";
    }
    if (card->Mode->State == EfiSimpleNetworkStopped) {
        (void)card->Start(card);
    }
    if (card->Mode->State == EfiSimpleNetworkStarted) {
        (void)card->Initialize(card, 0, 0);
    }
    const EFI_STATUS status = card->ReceiveFilters(
        card, filters | EFI_SIMPLE_NETWORK_RECEIVE_PROMISCUOUS, 0, FALSE, 0, NULL);
    if (EFI_ERROR(status)) {
        root_log("uplink: state %u, filters %x, status %lx", card->Mode->State,
                 card->Mode->ReceiveFilterMask, status);
        return "the network card cannot receive for others";
    }
    return NULL;
}

bool uplink_start(struct virtual_switch *sw)
{
    static const struct uplink_interface interface = {NULL, transmit, receive};
    static const struct port_vlan vlan = {.mode = PORT_ACCESS};
    const char *error = open_card();
    void *queue = pages_zeroed(QUEUE_SIZE);

    uplink = pages_zeroed(sizeof *uplink);
    buffers = pages_zeroed(BUFFERS * sizeof *buffers);
    if (!error && (!queue || !uplink || !buffers)) {
        error = "not enough memory";
    }
    if (!error &&
        !uplink_attach(uplink, sw, &interface, ETHER_FRAME_STANDARD, &vlan, queue, QUEUE_SIZE)) {
        error = "the switch takes no uplink";
    }
    if (error) {
        root_fail("uplink: %s", error);
        uplink_stop();
        return false;
    }
    root_log("the network card is an uplink now");
    return true;
}

void uplink_stop(void)
{
    if (card) {
        (void)card->Shutdown(card);
        (void)card->Stop(card);
        efi_system->BootServices->CloseProtocol(handle, &network_guid, efi_image, NULL);
        card = NULL;
    }
}

// ---- service -----------------------------------------------------------------------------------

bool uplink_poll(uint64_t now)
{
    struct port_statistics before;

    if (!card) {
        return false;
    }
    before = uplink->port.statistics;
    const bool more = uplink_run(uplink, BUDGET, now);
    const struct port_statistics *after = &uplink->port.statistics;
    const bool received = after->in.directed_frames != before.in.directed_frames ||
                          after->in.broadcast_frames != before.in.broadcast_frames ||
                          after->in.multicast_frames != before.in.multicast_frames;
    if (received || more) {
        busy_until = now + BUSY_FOR;
    }
    due = more ? now : now + (now < busy_until ? BUSY_INTERVAL : IDLE_INTERVAL);
    return received;
}

uint64_t uplink_due(void)
{
    return card ? due : UINT64_MAX;
}
