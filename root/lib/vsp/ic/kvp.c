// SPDX-License-Identifier: BSD-2-Clause-Patent
// Key-value exchange: contract in kvp.h. A message is {u8 operation, u8 pool, u16 0} and a body.
#include "kvp.h"

#include "../../mem.h"
#include "../utf16.h"
#include "../wire.h"

enum kvp_operation { GET, SET, DELETE, ENUMERATE, GET_ADDRESSES, SET_ADDRESSES };

// A value: {u32 type, u32 key bytes, u32 value bytes, key, value}; sizes count the terminator.
enum kvp_layout {
    BODY = 4,
    VALUE_TYPE = 0,
    VALUE_KEY_SIZE = 4,
    VALUE_SIZE = 8,
    VALUE_KEY = 12,
    VALUE_DATA = VALUE_KEY + 2 * KVP_KEY_UNITS,
    VALUE_END = VALUE_DATA + 2 * KVP_VALUE_UNITS,
    ENUMERATE_VALUE = 4, // behind the u32 index
    DELETE_KEY = 4,      // behind the u32 size

    // All lists are UTF-16.
    ADDRESSES_ADAPTER = 0,
    ADAPTER_UNITS = 128,
    ADDRESSES_FAMILIES = 256,
    ADDRESSES_DHCP = 257,
    ADDRESSES_IP = 258,
    LIST_UNITS = 1024,
    ADDRESSES_MASK = ADDRESSES_IP + 2 * LIST_UNITS,
    ADDRESSES_GATEWAY = ADDRESSES_MASK + 2 * LIST_UNITS,
    GATEWAY_UNITS = 512,
    ADDRESSES_DNS = ADDRESSES_GATEWAY + 2 * GATEWAY_UNITS,
    ADDRESSES_END = ADDRESSES_DNS + 2 * LIST_UNITS,

    MESSAGE_VALUE = BODY + ENUMERATE_VALUE + VALUE_END, // every operation on values is that long
    MESSAGE_ADDRESSES = BODY + ADDRESSES_END,
};

static struct kvp *of(struct ic *ic)
{
    return (struct kvp *)ic; // its first member
}

static uint8_t *begin(struct kvp *kvp, uint8_t operation, uint8_t pool, uint32_t size)
{
    uint8_t *message = ic_body(&kvp->ic);

    memset(message, 0, size);
    message[0] = operation;
    message[1] = pool;
    kvp->operation = operation;
    return message + BODY;
}

static bool may_begin(const struct kvp *kvp, unsigned pool)
{
    return ic_idle(&kvp->ic) && pool < KVP_POOLS;
}

static bool put_key(uint8_t *size_at, uint8_t *key_at, const char *key)
{
    const uint32_t units = utf16_from_text(key_at, KVP_KEY_UNITS, key);
    le32_put(size_at, 2 * units);
    return units > 1;
}

static bool send_value(struct kvp *kvp)
{
    ic_request(&kvp->ic, MESSAGE_VALUE, KVP_TIMEOUT);
    return true;
}

bool kvp_get(struct kvp *kvp, enum kvp_pool pool, const char *key)
{
    if (!may_begin(kvp, pool)) {
        return false;
    }
    uint8_t *value = begin(kvp, GET, (uint8_t)pool, MESSAGE_VALUE);
    return put_key(value + VALUE_KEY_SIZE, value + VALUE_KEY, key) && send_value(kvp);
}

bool kvp_set(struct kvp *kvp, enum kvp_pool pool, const char *key, const char *text)
{
    if (!may_begin(kvp, pool)) {
        return false;
    }
    uint8_t *value = begin(kvp, SET, (uint8_t)pool, MESSAGE_VALUE);
    const uint32_t units = utf16_from_text(value + VALUE_DATA, KVP_VALUE_UNITS, text);
    le32_put(value + VALUE_TYPE, KVP_STRING);
    le32_put(value + VALUE_SIZE, 2 * units);
    return units != 0 && put_key(value + VALUE_KEY_SIZE, value + VALUE_KEY, key) && send_value(kvp);
}

bool kvp_set_number(struct kvp *kvp, enum kvp_pool pool, const char *key, enum kvp_type type,
                    uint64_t number)
{
    if (!may_begin(kvp, pool) || (type != KVP_U32 && type != KVP_U64) ||
        (type == KVP_U32 && number > UINT32_MAX)) {
        return false;
    }
    uint8_t *value = begin(kvp, SET, (uint8_t)pool, MESSAGE_VALUE);
    le32_put(value + VALUE_TYPE, (uint32_t)type);
    le32_put(value + VALUE_SIZE, type == KVP_U32 ? 4 : 8);
    le64_put(value + VALUE_DATA, number);
    return put_key(value + VALUE_KEY_SIZE, value + VALUE_KEY, key) && send_value(kvp);
}

bool kvp_delete(struct kvp *kvp, enum kvp_pool pool, const char *key)
{
    if (!may_begin(kvp, pool)) {
        return false;
    }
    uint8_t *body = begin(kvp, DELETE, (uint8_t)pool, MESSAGE_VALUE);
    return put_key(body, body + DELETE_KEY, key) && send_value(kvp);
}

bool kvp_enumerate(struct kvp *kvp, enum kvp_pool pool, uint32_t index)
{
    if (!may_begin(kvp, pool)) {
        return false;
    }
    le32_put(begin(kvp, ENUMERATE, (uint8_t)pool, MESSAGE_VALUE), index);
    return send_value(kvp);
}

// ---- addresses -------------------------------------------------------------------------------

// Version 3 brought the operations on addresses.
static bool may_ask_addresses(const struct kvp *kvp)
{
    return ic_idle(&kvp->ic) && ic_at_least(&kvp->ic, 3, 0);
}

bool kvp_get_addresses(struct kvp *kvp, const char *adapter)
{
    if (!may_ask_addresses(kvp)) {
        return false;
    }
    uint8_t *body = begin(kvp, GET_ADDRESSES, 0, MESSAGE_ADDRESSES);
    if (utf16_from_text(body + ADDRESSES_ADAPTER, ADAPTER_UNITS, adapter) <= 1) {
        return false;
    }
    ic_request(&kvp->ic, MESSAGE_ADDRESSES, KVP_TIMEOUT);
    return true;
}

bool kvp_set_addresses(struct kvp *kvp, const struct kvp_addresses *addresses)
{
    if (!may_ask_addresses(kvp)) {
        return false;
    }
    uint8_t *body = begin(kvp, SET_ADDRESSES, 0, MESSAGE_ADDRESSES);
    body[ADDRESSES_FAMILIES] = addresses->families;
    body[ADDRESSES_DHCP] = addresses->dhcp;
    if (utf16_from_text(body + ADDRESSES_ADAPTER, ADAPTER_UNITS, addresses->adapter) <= 1 ||
        !utf16_from_text(body + ADDRESSES_IP, LIST_UNITS, addresses->addresses) ||
        !utf16_from_text(body + ADDRESSES_MASK, LIST_UNITS, addresses->masks) ||
        !utf16_from_text(body + ADDRESSES_GATEWAY, GATEWAY_UNITS, addresses->gateways) ||
        !utf16_from_text(body + ADDRESSES_DNS, LIST_UNITS, addresses->servers)) {
        return false;
    }
    ic_request(&kvp->ic, MESSAGE_ADDRESSES, KVP_TIMEOUT);
    return true;
}

// ---- answers ---------------------------------------------------------------------------------

static bool take_value(struct kvp_entry *entry, const uint8_t *value)
{
    const uint32_t size = le32_get(value + VALUE_SIZE);

    entry->type = KVP_STRING;
    entry->text[0] = 0;
    entry->number = 0;
    switch (le32_get(value + VALUE_TYPE)) {
    case KVP_STRING:
        if (size > 2 * KVP_VALUE_UNITS || size % 2 != 0) {
            return false;
        }
        utf16_to_text(entry->text, sizeof entry->text, value + VALUE_DATA, size / 2);
        return true;
    case KVP_U32:
        entry->type = KVP_U32;
        entry->number = le32_get(value + VALUE_DATA);
        return size == 4;
    case KVP_U64:
        entry->type = KVP_U64;
        entry->number = le64_get(value + VALUE_DATA);
        return size == 8;
    default:
        return false;
    }
}

static bool take_entry(struct kvp_entry *entry, const uint8_t *value)
{
    const uint32_t key = le32_get(value + VALUE_KEY_SIZE);

    if (key > 2 * KVP_KEY_UNITS || key % 2 != 0) {
        return false;
    }
    utf16_to_text(entry->key, sizeof entry->key, value + VALUE_KEY, key / 2);
    return take_value(entry, value);
}

static void take_addresses(struct kvp_addresses *to, const uint8_t *body)
{
    to->families = body[ADDRESSES_FAMILIES];
    to->dhcp = body[ADDRESSES_DHCP] != 0;
    utf16_to_text(to->adapter, sizeof to->adapter, body + ADDRESSES_ADAPTER, ADAPTER_UNITS);
    utf16_to_text(to->addresses, sizeof to->addresses, body + ADDRESSES_IP, LIST_UNITS);
    utf16_to_text(to->masks, sizeof to->masks, body + ADDRESSES_MASK, LIST_UNITS);
    utf16_to_text(to->gateways, sizeof to->gateways, body + ADDRESSES_GATEWAY, GATEWAY_UNITS);
    utf16_to_text(to->servers, sizeof to->servers, body + ADDRESSES_DNS, LIST_UNITS);
}

// Takes what the operation asked for out of the answer. False: it is not there.
static bool take_answer(struct kvp *kvp, const uint8_t *body, uint32_t size)
{
    switch (kvp->operation) {
    case GET:
        return size >= BODY + VALUE_END && take_entry(&kvp->entry, body + BODY);
    case ENUMERATE:
        return size >= MESSAGE_VALUE && take_entry(&kvp->entry, body + BODY + ENUMERATE_VALUE);
    case GET_ADDRESSES:
        if (size < MESSAGE_ADDRESSES) {
            return false;
        }
        take_addresses(&kvp->addresses, body + BODY);
        return true;
    default:
        return true;
    }
}

static void done(struct ic *ic, uint32_t status, const uint8_t *body, uint32_t size)
{
    struct kvp *kvp = of(ic);

    if (status == IC_STATUS_OK && !take_answer(kvp, body, size)) {
        status = IC_STATUS_MALFORMED;
    }
    kvp->done(kvp->ctx, kvp, status);
}

static void ready(struct ic *ic)
{
    (void)ic;
}

static const struct ic_version versions[] = {{1, 0}, {3, 0}, {4, 0}};

static const struct ic_class kvp_class = {
    .class_id =
        VMBUS_GUID(0xa9a0f4e7, 0x5a45, 0x4d96, 0xb8, 0x27, 0x8a, 0x84, 0x1e, 0x8c, 0x03, 0xe6),
    .instance_id =
        VMBUS_GUID(0x242ff919, 0x07db, 0x4180, 0x9c, 0x2e, 0xb8, 0x6c, 0xb6, 0x8c, 0x8c, 0x55),
    .type = IC_KVP,
    .versions = versions,
    .version_count = sizeof versions / sizeof versions[0],
    .ready = ready,
    .done = done,
};

bool kvp_create(struct kvp *kvp, struct vmbus_server *server, void *ctx, kvp_done *on_done)
{
    memset(kvp, 0, sizeof *kvp);
    kvp->ctx = ctx;
    kvp->done = on_done;
    return ic_create(&kvp->ic, server, &kvp_class, kvp->buffer, sizeof kvp->buffer);
}
