// SPDX-License-Identifier: BSD-2-Clause-Patent
// Key-value exchange: reads and writes the guest's pools of keys, and its network addresses, by
// way of the daemon in the guest (Linux: include/uapi/linux/hyperv.h, hv_kvp_daemon).
#pragma once

#include "ic.h"

enum kvp_pool {
    KVP_EXTERNAL = 0,      // the host writes, the guest reads
    KVP_GUEST = 1,         // the guest writes
    KVP_AUTO = 2,          // what the guest's driver says of the system; only enumerated
    KVP_AUTO_EXTERNAL = 3, // what the host says of itself
    KVP_AUTO_INTERNAL = 4,
    KVP_POOLS = 5,
};

enum kvp_type { KVP_STRING = 1, KVP_U32 = 4, KVP_U64 = 8 };

enum {
    KVP_KEY_UNITS = 256, // UTF-16 units, terminator included
    KVP_VALUE_UNITS = 1024,
    KVP_KEY_TEXT = 3 * KVP_KEY_UNITS + 1, // as UTF-8
    KVP_VALUE_TEXT = 3 * KVP_VALUE_UNITS + 1,
    KVP_ADDRESSES_TEXT = 1025,
    KVP_ADAPTER_TEXT = 129,
};

#define KVP_TIMEOUT IC_SECONDS(60)

// One entry. Numbers are also in `number`; the text of a number is empty.
struct kvp_entry {
    char key[KVP_KEY_TEXT];
    enum kvp_type type;
    char text[KVP_VALUE_TEXT];
    uint64_t number;
};

// The addresses of one adapter: ASCII lists, separated by semicolons.
struct kvp_addresses {
    char adapter[KVP_ADAPTER_TEXT]; // the adapter's instance id, {xxxxxxxx-...}
    uint8_t families;               // 1 IPv4, 2 IPv6
    bool dhcp;
    char addresses[KVP_ADDRESSES_TEXT], masks[KVP_ADDRESSES_TEXT];
    char gateways[KVP_ADDRESSES_TEXT / 2 + 1], servers[KVP_ADDRESSES_TEXT];
};

struct kvp;

// The end of an operation. IC_STATUS_OK, or why not; an enumeration ends with IC_STATUS_NO_MORE.
// After a get or an enumerate kvp->entry, after get_addresses kvp->addresses hold the answer.
// Another operation may be begun from here, unless the status is IC_STATUS_CLOSED.
typedef void kvp_done(void *ctx, struct kvp *kvp, uint32_t status);

struct kvp {
    struct ic ic;
    void *ctx;
    kvp_done *done;
    uint8_t operation;
    struct kvp_entry entry;
    struct kvp_addresses addresses;
    uint8_t buffer[8192];
};

// As ic_create().
bool kvp_create(struct kvp *kvp, struct vmbus_server *server, void *ctx, kvp_done *done);

// Operations. False: no daemon's driver, another operation is under way, an argument is out of
// range or too long, or (addresses) the guest is too old; then done is not called.
bool kvp_get(struct kvp *kvp, enum kvp_pool pool, const char *key);
bool kvp_set(struct kvp *kvp, enum kvp_pool pool, const char *key, const char *value);
bool kvp_set_number(struct kvp *kvp, enum kvp_pool pool, const char *key, enum kvp_type type,
                    uint64_t value);
bool kvp_delete(struct kvp *kvp, enum kvp_pool pool, const char *key);
bool kvp_enumerate(struct kvp *kvp, enum kvp_pool pool, uint32_t index);
bool kvp_get_addresses(struct kvp *kvp, const char *adapter);
bool kvp_set_addresses(struct kvp *kvp, const struct kvp_addresses *addresses);
