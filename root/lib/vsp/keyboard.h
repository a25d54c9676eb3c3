// SPDX-License-Identifier: BSD-2-Clause-Patent
// Synthetic keyboard: keystrokes to the guest as scan codes of set 1, lamps back (Linux:
// drivers/input/serio/hyperv-keyboard.c).
// The channel is not a pipe.
//
// No locks, no allocation: the owner serialises calls for one machine.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "../vmbus/channel.h"

enum { KEYBOARD_KEYS = 128 }; // keystrokes that wait for the guest

enum keyboard_flag {
    KEY_UNICODE = 1 << 0, // the code is a UTF-16 unit
    KEY_BREAK = 1 << 1,   // released
    KEY_E0 = 1 << 2,      // prefix
    KEY_E1 = 1 << 3,
    KEY_FLAGS = 15,
};

enum keyboard_lamp { LAMP_SCROLL = 1, LAMP_NUM = 2, LAMP_CAPS = 4 };

struct keystroke {
    uint16_t code;
    uint16_t flags; // enum keyboard_flag
};

struct keyboard {
    struct vmbus_channel *channel; // NULL: removed
    bool ready;                    // the guest's driver has agreed on the version
    bool response_due, accepted;   // to its request, when the ring had no room
    uint32_t lamps;                // enum keyboard_lamp
    struct keystroke keys[KEYBOARD_KEYS];
    unsigned first, count;
    uint64_t refused; // messages that were not valid
};

// Offers the keyboard. False: the bus has no room.
bool keyboard_create(struct keyboard *keyboard, struct vmbus_server *server);

// Takes it away; keyboard_gone() says when it is.
void keyboard_remove(struct keyboard *keyboard);
bool keyboard_gone(const struct keyboard *keyboard);

// A key was pressed or released. What the guest has no driver for yet waits. False: too many wait,
// or unknown flags; the keystroke is lost.
bool keyboard_key(struct keyboard *keyboard, uint16_t code, uint32_t flags);
