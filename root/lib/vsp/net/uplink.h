// SPDX-License-Identifier: BSD-2-Clause-Patent
// The switch's way out: a port whose frames go to a real network interface and whose senders are
// everybody behind it. root.efi implements the interface with UEFI's Simple Network Protocol, a
// process on Linux with a tap. Tags are inline on the wire: they are added and taken off here.
//
// Locking as in switch.h.
#pragma once

#include "switch.h"

// The interface. Neither call waits. The frames have a tag where the wire has one, and no FCS.
struct uplink_interface {
    void *ctx;
    // Sends; the bytes are copied or on the wire when it returns. False: busy, offer it again
    // later.
    bool (*transmit)(void *ctx, const void *frame, uint32_t size);
    // Copies the next received frame, at most `capacity` bytes of it, and returns its full length;
    // 0: none.
    uint32_t (*receive)(void *ctx, void *frame, uint32_t capacity);
};

struct uplink {
    struct virtual_switch *sw;
    struct switch_port port;
    struct uplink_interface interface;
    uint64_t bad_frames; // received, but shorter than a header or longer than the port's max_frame
    uint8_t buffer[ETHER_FRAME_MAX + ETHER_TAG];
};

// Puts the uplink on the switch; memory as for switch_attach(). max_frame is the interface's MTU
// and header. False as switch_attach().
bool uplink_attach(struct uplink *uplink, struct virtual_switch *sw,
                   const struct uplink_interface *interface, uint32_t max_frame,
                   const struct port_vlan *vlan, void *memory, uint32_t size);

// Moves at most `budget` frames each way. True: there may be more to do at once.
bool uplink_run(struct uplink *uplink, unsigned budget, uint64_t now);
