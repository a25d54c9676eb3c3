// SPDX-License-Identifier: BSD-2-Clause-Patent
// Key-value exchange, file copy, backup; each with a guest that keeps what it is sent.
#include "ic_guest.h"
#include "root/lib/vsp/ic/fcopy.h"
#include "root/lib/vsp/ic/kvp.h"
#include "root/lib/vsp/ic/vss.h"

static struct ic_guest guest;
static unsigned ends;
static uint32_t end_status;

static void setup(void)
{
    fake_init(&bus, 1);
    ends = 0;
}

static void teardown(void)
{
    fake_end(&bus);
}

static void pass(uint64_t time)
{
    bus.now += time;
    fake_run(&bus);
}

static void put_text(uint8_t *at, const char *text)
{
    do {
        le16_put(at, (uint8_t)*text);
        at += 2;
    } while (*text++);
}

static bool has_text(const uint8_t *at, const char *text)
{
    do {
        if (le16_get(at) != (uint8_t)*text) {
            return false;
        }
        at += 2;
    } while (*text++);
    return true;
}

// ---- key-value exchange ----------------------------------------------------------------------

enum { POOL_KEYS = 8 };

// The pools of the guest's daemon.
struct record {
    bool used;
    uint32_t type, key_size, value_size;
    uint8_t key[512], value[2048];
};
static struct record pools[KVP_POOLS][POOL_KEYS];
static struct kvp kvp;

static void kvp_ended(void *ctx, struct kvp *which, uint32_t status)
{
    ck_assert_ptr_eq(ctx, &ends);
    ck_assert_ptr_eq(which, &kvp);
    ends++;
    end_status = status;
}

static struct record *find_record(unsigned pool, const uint8_t *key, uint32_t size)
{
    for (unsigned i = 0; i < POOL_KEYS; i++) {
        struct record *record = &pools[pool][i];
        if (record->used && record->key_size == size && memcmp(record->key, key, size) == 0) {
            return record;
        }
    }
    return NULL;
}

static uint32_t daemon_set(unsigned pool, const uint8_t *value)
{
    const uint32_t key_size = le32_get(value + 4);
    struct record *record = find_record(pool, value + 12, key_size);

    for (unsigned i = 0; !record && i < POOL_KEYS; i++) {
        record = pools[pool][i].used ? NULL : &pools[pool][i];
    }
    ck_assert_ptr_nonnull(record);
    *record = (struct record){true, le32_get(value), key_size, le32_get(value + 8), {0}, {0}};
    memcpy(record->key, value + 12, 512);
    memcpy(record->value, value + 524, 2048);
    return IC_STATUS_OK;
}

static void fill_value(uint8_t *value, const struct record *record)
{
    le32_put(value, record->type);
    le32_put(value + 4, record->key_size);
    le32_put(value + 8, record->value_size);
    memcpy(value + 12, record->key, 512);
    memcpy(value + 524, record->value, 2048);
}

static uint32_t daemon_enumerate(unsigned pool, uint8_t *body)
{
    uint32_t index = le32_get(body);

    for (unsigned i = 0; i < POOL_KEYS; i++) {
        if (pools[pool][i].used && index-- == 0) {
            fill_value(body + 4, &pools[pool][i]);
            return IC_STATUS_OK;
        }
    }
    return IC_STATUS_NO_MORE;
}

static uint32_t daemon_do(uint8_t *message)
{
    const unsigned pool = message[1];
    uint8_t *body = message + 4;
    struct record *record;

    ck_assert_uint_lt(pool, KVP_POOLS);
    switch (message[0]) {
    case 0:
        record = find_record(pool, body + 12, le32_get(body + 4));
        if (record) {
            fill_value(body, record);
        }
        return record ? IC_STATUS_OK : IC_STATUS_NO_MORE;
    case 1:
        return daemon_set(pool, body);
    case 2:
        record = find_record(pool, body + 4, le32_get(body));
        if (record) {
            record->used = false;
        }
        return record ? IC_STATUS_OK : IC_STATUS_NO_MORE;
    default:
        ck_assert_uint_eq(message[0], 3);
        return daemon_enumerate(pool, body);
    }
}

static void serve(void)
{
    const unsigned before = ends;
    ck_assert(guest_take(&guest));
    guest_expect_type(&guest, &kvp.ic, IC_KVP, 2580);
    guest_answer(&guest, daemon_do(guest_body(&guest)));
    ck_assert_uint_eq(ends, before + 1);
}

static void kvp_begin(void)
{
    memset(pools, 0, sizeof pools);
    ck_assert(kvp_create(&kvp, &bus, &ends, kvp_ended));
    ck_assert(!kvp_get(&kvp, KVP_GUEST, "x"));
    guest_open(&guest, &kvp.ic, 4, 0);
}

START_TEST(test_kvp_pools)
{
    kvp_begin();
    for (unsigned pool = 0; pool < KVP_POOLS; pool++) {
        char value[] = "value of 0";
        value[9] = (char)('0' + pool);
        ck_assert(kvp_set(&kvp, pool, "name \xC3\xBC", value));
        serve();
        ck_assert_uint_eq(end_status, IC_STATUS_OK);
        ck_assert(kvp_set_number(&kvp, pool, "small", KVP_U32, 4000000000 + pool));
        serve();
        ck_assert(kvp_set_number(&kvp, pool, "big", KVP_U64, UINT64_C(1) << 60 | pool));
        serve();
    }
    for (unsigned pool = 0; pool < KVP_POOLS; pool++) {
        ck_assert(kvp_get(&kvp, pool, "name \xC3\xBC"));
        serve();
        ck_assert_uint_eq(end_status, IC_STATUS_OK);
        ck_assert_int_eq(strncmp(kvp.entry.text, "value of ", 9), 0);
        ck_assert_int_eq(kvp.entry.text[9], '0' + (int)pool);
        ck_assert_str_eq(kvp.entry.key, "name \xC3\xBC");
        static const char *const names[] = {"name \xC3\xBC", "small", "big"};
        for (uint32_t i = 0; i < 3; i++) {
            ck_assert(kvp_enumerate(&kvp, pool, i));
            serve();
            ck_assert_str_eq(kvp.entry.key, names[i]);
        }
        ck_assert_int_eq(kvp.entry.type, KVP_U64);
        ck_assert_uint_eq(kvp.entry.number, UINT64_C(1) << 60 | pool);
        ck_assert(kvp_enumerate(&kvp, pool, 3));
        serve();
        ck_assert_uint_eq(end_status, IC_STATUS_NO_MORE);
        ck_assert(kvp_get(&kvp, pool, "small"));
        serve();
        ck_assert_int_eq(kvp.entry.type, KVP_U32);
        ck_assert_uint_eq(kvp.entry.number, 4000000000 + pool);
        ck_assert(kvp_delete(&kvp, pool, "small"));
        serve();
        ck_assert(kvp_get(&kvp, pool, "small"));
        serve();
        ck_assert_uint_eq(end_status, IC_STATUS_NO_MORE);
    }
}
END_TEST

START_TEST(test_kvp_refusals)
{
    static char text[4000];

    kvp_begin();
    ck_assert(!kvp_get(&kvp, KVP_POOLS, "x"));
    ck_assert(!kvp_get(&kvp, KVP_GUEST, ""));
    ck_assert(!kvp_set_number(&kvp, KVP_GUEST, "x", KVP_STRING, 1));
    ck_assert(!kvp_set_number(&kvp, KVP_GUEST, "x", KVP_U32, UINT64_C(1) << 32));
    memset(text, 'k', 256);
    ck_assert(!kvp_get(&kvp, KVP_GUEST, text));
    ck_assert(!kvp_delete(&kvp, KVP_GUEST, text));
    text[255] = 0;
    ck_assert(kvp_get(&kvp, KVP_GUEST, text));
    ck_assert(!kvp_get(&kvp, KVP_GUEST, "x")); // one at a time
    serve();
    memset(text, 'v', 1024);
    ck_assert(!kvp_set(&kvp, KVP_GUEST, "x", text));
    text[1023] = 0;
    ck_assert(kvp_set(&kvp, KVP_GUEST, "x", text));
    serve();
    ck_assert(kvp_get(&kvp, KVP_GUEST, "x"));
    serve();
    ck_assert_uint_eq(strlen(kvp.entry.text), 1023);
    ck_assert(kvp_get(&kvp, KVP_GUEST, "x"));
    pass(KVP_TIMEOUT);
    ck_assert_uint_eq(end_status, IC_STATUS_TIMEOUT);
}
END_TEST

// What a daemon can say that makes no sense.
START_TEST(test_kvp_malformed)
{
    static const struct {
        unsigned at; // in the message behind the IC header
        uint32_t value;
    } changes[] = {
        {4, 0},     {4, 2},  {4, 9},     {8, 513},         {8, 514},     {8, UINT32_MAX},
        {12, 2049}, {12, 7}, {12, 2050}, {12, UINT32_MAX}, {4, KVP_U32},
    };

    kvp_begin();
    kvp_set(&kvp, KVP_GUEST, "x", "abc");
    serve();
    for (unsigned i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        ck_assert(kvp_get(&kvp, KVP_GUEST, "x"));
        ck_assert(guest_take(&guest));
        ck_assert_uint_eq(daemon_do(guest_body(&guest)), IC_STATUS_OK);
        le32_put(guest_body(&guest) + changes[i].at, changes[i].value);
        guest_answer(&guest, IC_STATUS_OK);
        ck_assert_msg(end_status == IC_STATUS_MALFORMED, "change %u", i);
    }
    ck_assert(kvp_enumerate(&kvp, KVP_GUEST, 0));
    ck_assert(guest_take(&guest));
    guest.size = 200; // cut
    guest_answer(&guest, IC_STATUS_OK);
    ck_assert_uint_eq(end_status, IC_STATUS_MALFORMED);
    // The largest sizes, without terminators anywhere.
    ck_assert(kvp_get(&kvp, KVP_GUEST, "x"));
    ck_assert(guest_take(&guest));
    memset(guest_body(&guest) + 4, 0xFF, 2572);
    le32_put(guest_body(&guest) + 4, KVP_STRING);
    le32_put(guest_body(&guest) + 8, 512);
    le32_put(guest_body(&guest) + 12, 2048);
    guest_answer(&guest, IC_STATUS_OK);
    ck_assert_uint_eq(end_status, IC_STATUS_OK);
    ck_assert_uint_eq(strlen(kvp.entry.key), 3 * 256);
    ck_assert_uint_eq(strlen(kvp.entry.text), 3 * 1024);
}
END_TEST

START_TEST(test_kvp_addresses)
{
    struct kvp_addresses wanted = {
        .adapter = "{12345678-0001-0002-0304-050607080901}",
        .families = 1,
        .addresses = "192.168.1.5;10.0.0.5",
        .masks = "255.255.255.0;255.0.0.0",
        .gateways = "192.168.1.1",
        .servers = "192.168.1.2",
    };

    kvp_begin();
    ck_assert(kvp_set_addresses(&kvp, &wanted));
    ck_assert(guest_take(&guest));
    guest_expect_type(&guest, &kvp.ic, IC_KVP, 7430);
    const uint8_t *body = guest_body(&guest);
    ck_assert_uint_eq(body[0], 5);
    ck_assert(has_text(body + 4, wanted.adapter));
    ck_assert_uint_eq(body[260], 1);
    ck_assert_uint_eq(body[261], 0);
    ck_assert(has_text(body + 262, wanted.addresses));
    ck_assert(has_text(body + 262 + 2048, wanted.masks));
    ck_assert(has_text(body + 262 + 4096, wanted.gateways));
    ck_assert(has_text(body + 262 + 5120, wanted.servers));
    guest_answer(&guest, IC_STATUS_OK);
    ck_assert_uint_eq(end_status, IC_STATUS_OK);

    ck_assert(kvp_get_addresses(&kvp, wanted.adapter));
    ck_assert(guest_take(&guest));
    ck_assert_uint_eq(guest_body(&guest)[0], 4);
    guest_body(&guest)[260] = 3;
    guest_body(&guest)[261] = 1;
    put_text(guest_body(&guest) + 262, "fe80::1;172.16.0.9");
    put_text(guest_body(&guest) + 262 + 4096, "172.16.0.1");
    memset(guest_body(&guest) + 262 + 5120, 0x41, 2048); // no terminator
    guest_answer(&guest, IC_STATUS_OK);
    ck_assert_uint_eq(end_status, IC_STATUS_OK);
    ck_assert_uint_eq(kvp.addresses.families, 3);
    ck_assert(kvp.addresses.dhcp);
    ck_assert_str_eq(kvp.addresses.addresses, "fe80::1;172.16.0.9");
    ck_assert_str_eq(kvp.addresses.gateways, "172.16.0.1");
    ck_assert_uint_le(strlen(kvp.addresses.servers), KVP_ADDRESSES_TEXT - 1);
    ck_assert(!kvp_get_addresses(&kvp, ""));
    memset(wanted.adapter, 'a', sizeof wanted.adapter - 1);
    ck_assert(!kvp_set_addresses(&kvp, &wanted));
    fake_close(guest.channel);
    guest_open(&guest, &kvp.ic, 1, 0);
    ck_assert(!kvp_get_addresses(&kvp, "x")); // not in version 1
}
END_TEST

// ---- file copy -------------------------------------------------------------------------------

enum { FILE_MAX = 40000 };

static struct fcopy fcopy;
static uint8_t file[FILE_MAX], copy[FILE_MAX];
static uint64_t copied, file_limit;

static bool read_file(void *ctx, uint64_t offset, void *data, uint32_t size)
{
    ck_assert_ptr_eq(ctx, file);
    ck_assert_uint_le(offset + size, FILE_MAX);
    memcpy(data, file + offset, size);
    return offset + size <= file_limit;
}

static void file_done(void *ctx, uint32_t status)
{
    ck_assert_ptr_eq(ctx, file);
    ends++;
    end_status = status;
}

static bool start_copy(uint64_t size)
{
    const struct fcopy_source source = {file, size, read_file, file_done};
    return fcopy_start(&fcopy, "data.bin", "/tmp/x", FCOPY_OVERWRITE | FCOPY_CREATE_PATH, &source);
}

static void fcopy_begin(void)
{
    for (unsigned i = 0; i < FILE_MAX; i++) {
        file[i] = (uint8_t)(i * 7 + i / 256);
    }
    file_limit = FILE_MAX;
    ck_assert(fcopy_create(&fcopy, &bus));
    ck_assert(!start_copy(1));
    guest_open(&guest, &fcopy.ic, 1, 1);
}

static uint32_t take_operation(void)
{
    ck_assert(guest_take(&guest));
    return le32_get(guest_body(&guest));
}

START_TEST(test_fcopy)
{
    static const uint64_t sizes[] = {0, 1, FCOPY_FRAGMENT, FCOPY_FRAGMENT + 1, FILE_MAX};

    fcopy_begin();
    for (unsigned i = 0; i < 5; i++) {
        memset(copy, 0, sizeof copy);
        copied = 0;
        ck_assert(start_copy(sizes[i]));
        ck_assert(!start_copy(1)); // one at a time
        ck_assert_uint_eq(take_operation(), 0);
        guest_expect_type(&guest, &fcopy.ic, IC_FCOPY, 1088);
        ck_assert(has_text(guest_body(&guest) + 36, "data.bin"));
        ck_assert(has_text(guest_body(&guest) + 36 + 520, "/tmp/x"));
        ck_assert_uint_eq(le32_get(guest_body(&guest) + 1076), 3);
        ck_assert_uint_eq(le64_get(guest_body(&guest) + 1080), sizes[i]);
        guest_answer(&guest, IC_STATUS_OK);
        while (take_operation() == 1) {
            const uint32_t size = le32_get(guest_body(&guest) + 48);
            guest_expect_type(&guest, &fcopy.ic, IC_FCOPY, 36 + 16 + FCOPY_FRAGMENT);
            ck_assert_uint_eq(le64_get(guest_body(&guest) + 40), copied);
            ck_assert_uint_le(copied + size, sizes[i]);
            memcpy(copy + copied, guest_body(&guest) + 52, size);
            copied += size;
            guest_answer(&guest, IC_STATUS_OK);
        }
        ck_assert_uint_eq(le32_get(guest_body(&guest)), 2);
        ck_assert_uint_eq(ends, i);
        guest_answer(&guest, IC_STATUS_OK);
        ck_assert_uint_eq(ends, i + 1);
        ck_assert_uint_eq(end_status, IC_STATUS_OK);
        ck_assert_uint_eq(copied, sizes[i]);
        ck_assert_int_eq(memcmp(copy, file, sizes[i]), 0);
    }
}
END_TEST

START_TEST(test_fcopy_failures)
{
    const struct fcopy_source source = {file, 1, read_file, file_done};
    static char longer[261];

    fcopy_begin();
    memset(longer, 'n', 260);
    ck_assert(!fcopy_start(&fcopy, longer, "/", 0, &source));
    ck_assert(!fcopy_start(&fcopy, "", "/", 0, &source));
    ck_assert(!fcopy_start(&fcopy, "x", longer, 0, &source));
    // The guest refuses to begin.
    ck_assert(start_copy(20000));
    ck_assert_uint_eq(take_operation(), 0);
    guest_answer(&guest, 0x80070050);
    ck_assert_uint_eq(end_status, 0x80070050);
    ck_assert(!guest_take(&guest));
    // Its disk is full.
    ck_assert(start_copy(20000));
    take_operation();
    guest_answer(&guest, 0);
    ck_assert_uint_eq(take_operation(), 1);
    guest_answer(&guest, 0x80070070);
    ck_assert_uint_eq(ends, 1);
    ck_assert_uint_eq(take_operation(), 3);
    guest_answer(&guest, 0);
    ck_assert_uint_eq(end_status, 0x80070070);
    // The source cannot be read.
    file_limit = FCOPY_FRAGMENT;
    ck_assert(start_copy(20000));
    take_operation();
    guest_answer(&guest, 0);
    take_operation();
    guest_answer(&guest, 0);
    ck_assert_uint_eq(take_operation(), 3);
    guest_answer(&guest, IC_STATUS_FAIL);
    ck_assert_uint_eq(end_status, IC_STATUS_FAIL);
    ck_assert_uint_eq(ends, 3);
    // Somebody gives it up.
    file_limit = FILE_MAX;
    ck_assert(start_copy(20000));
    fcopy_cancel(&fcopy);
    take_operation();
    guest_answer(&guest, 0);
    ck_assert_uint_eq(take_operation(), 3);
    guest_answer(&guest, 0);
    ck_assert_uint_eq(end_status, IC_STATUS_FAIL);
    // The guest falls silent, then goes away.
    ck_assert(start_copy(20000));
    take_operation();
    guest_answer(&guest, 0);
    pass(FCOPY_TIMEOUT);
    ck_assert_uint_eq(take_operation(), 1);
    ck_assert_uint_eq(take_operation(), 3);
    pass(FCOPY_TIMEOUT);
    ck_assert_uint_eq(end_status, IC_STATUS_TIMEOUT);
    ck_assert(start_copy(20000));
    fake_close(guest.channel);
    ck_assert_uint_eq(end_status, IC_STATUS_CLOSED);
    ck_assert_uint_eq(ends, 6);
    guest_open(&guest, &fcopy.ic, 1, 1);
    ck_assert(start_copy(1));
}
END_TEST

// ---- backup ----------------------------------------------------------------------------------

static struct vss vss;
static unsigned frozens, thaweds;
static uint32_t frozen_status, thawed_status;

static void on_frozen(void *ctx, uint32_t status)
{
    ck_assert_ptr_eq(ctx, &vss);
    frozens++;
    frozen_status = status;
}

static void on_thawed(void *ctx, uint32_t status)
{
    ck_assert_ptr_eq(ctx, &vss);
    thaweds++;
    thawed_status = status;
}

static void vss_begin(void)
{
    frozens = thaweds = 0;
    ck_assert(vss_create(&vss, &bus, &vss, on_frozen, on_thawed));
    ck_assert(!vss_freeze(&vss));
    guest_open(&guest, &vss.ic, 5, 0);
    ck_assert(!vss_thaw(&vss));
}

// The guest gets this operation and answers.
static void expect_vss(uint8_t operation, uint32_t status)
{
    ck_assert(guest_take(&guest));
    guest_expect_type(&guest, &vss.ic, IC_VSS, 12);
    ck_assert_uint_eq(guest_body(&guest)[0], operation);
    guest_answer(&guest, status);
}

static void freeze(void)
{
    ck_assert(vss_freeze(&vss));
    expect_vss(2, IC_STATUS_OK);
    expect_vss(5, IC_STATUS_OK);
    ck_assert_uint_eq(frozen_status, IC_STATUS_OK);
    ck_assert_int_eq(vss.state, VSS_FROZEN);
}

START_TEST(test_vss)
{
    vss_begin();
    for (unsigned i = 1; i <= 3; i++) {
        freeze();
        ck_assert_uint_eq(frozens, i);
        ck_assert(!vss_freeze(&vss));
        ck_assert(vss_thaw(&vss));
        ck_assert(!vss_thaw(&vss));
        expect_vss(6, IC_STATUS_OK);
        ck_assert_uint_eq(thaweds, i - 1);
        expect_vss(4, IC_STATUS_OK);
        ck_assert_uint_eq(thaweds, i);
        ck_assert_uint_eq(thawed_status, IC_STATUS_OK);
        ck_assert_int_eq(vss.state, VSS_IDLE);
    }
    // The guest says that thawing went wrong: the backup may not be good.
    freeze();
    vss_thaw(&vss);
    expect_vss(6, IC_STATUS_FAIL);
    expect_vss(4, IC_STATUS_FAIL);
    ck_assert_uint_eq(thawed_status, IC_STATUS_FAIL);
}
END_TEST

START_TEST(test_vss_cannot_freeze)
{
    vss_begin();
    vss_freeze(&vss);
    expect_vss(2, IC_STATUS_FAIL);
    ck_assert_uint_eq(frozen_status, IC_STATUS_FAIL);
    ck_assert_int_eq(vss.state, VSS_IDLE);
    // Half frozen: thawed again.
    vss_freeze(&vss);
    expect_vss(2, IC_STATUS_OK);
    expect_vss(5, IC_STATUS_FAIL);
    ck_assert_uint_eq(frozens, 2);
    expect_vss(6, IC_STATUS_OK);
    expect_vss(4, IC_STATUS_OK);
    ck_assert_int_eq(vss.state, VSS_IDLE);
    // No answer to the freeze: it may have happened.
    vss_freeze(&vss);
    expect_vss(2, IC_STATUS_OK);
    ck_assert(guest_take(&guest));
    pass(VSS_TIMEOUT);
    ck_assert_uint_eq(frozen_status, IC_STATUS_TIMEOUT);
    expect_vss(6, IC_STATUS_OK);
    expect_vss(4, IC_STATUS_OK);
    ck_assert_uint_eq(frozens, 3);
    ck_assert_uint_eq(thaweds, 0);
    ck_assert(vss_freeze(&vss));
}
END_TEST

START_TEST(test_vss_ends_by_itself)
{
    vss_begin();
    freeze();
    pass(VSS_FROZEN_LIMIT - 1);
    ck_assert_int_eq(vss.state, VSS_FROZEN);
    pass(1);
    ck_assert_int_eq(vss.state, VSS_THAWING);
    ck_assert(!vss_thaw(&vss));
    expect_vss(6, IC_STATUS_OK);
    expect_vss(4, IC_STATUS_OK);
    ck_assert_uint_eq(thawed_status, IC_STATUS_TIMEOUT);
    // The guest goes away in each state.
    for (unsigned step = 0; step < 5; step++) {
        const unsigned f = frozens, t = thaweds;
        ck_assert(vss_freeze(&vss));
        if (step >= 1) {
            expect_vss(2, IC_STATUS_OK);
        }
        if (step >= 2) {
            expect_vss(5, IC_STATUS_OK);
        }
        if (step >= 3) {
            vss_thaw(&vss);
        }
        if (step >= 4) {
            expect_vss(6, IC_STATUS_OK);
        }
        fake_close(guest.channel);
        ck_assert_int_eq(vss.state, VSS_IDLE);
        ck_assert_uint_eq(frozens, f + 1);
        ck_assert_uint_eq(thaweds, t + (step >= 2));
        ck_assert_uint_eq(frozen_status, step >= 2 ? IC_STATUS_OK : IC_STATUS_CLOSED);
        if (step >= 2) {
            ck_assert_uint_eq(thawed_status, step == 4 ? IC_STATUS_OK : IC_STATUS_CLOSED);
        }
        guest_open(&guest, &vss.ic, 5, 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ic_data");
    TCase *tests = tcase_create("ic_data");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_kvp_pools);
    tcase_add_test(tests, test_kvp_refusals);
    tcase_add_test(tests, test_kvp_malformed);
    tcase_add_test(tests, test_kvp_addresses);
    tcase_add_test(tests, test_fcopy);
    tcase_add_test(tests, test_fcopy_failures);
    tcase_add_test(tests, test_vss);
    tcase_add_test(tests, test_vss_cannot_freeze);
    tcase_add_test(tests, test_vss_ends_by_itself);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
