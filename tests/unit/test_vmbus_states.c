// SPDX-License-Identifier: BSD-2-Clause-Patent
// Every message in every state: what the host answers and which state follows. The table is
// docs/vmbus-states.md; the test makes it anew and compares. VMBUS_STATES_WRITE=1 in the
// environment writes the file instead: a difference is then for a reviewer to judge.
#include <check.h>
#include <stdarg.h>

#include "root/lib/vmbus/server_priv.h"
#include "vmbus_echo.h"

#define TABLE "docs/vmbus-states.md"

enum { RELID = 1, RING = VG_GPADL_FIRST, RING_2, BUFFER, PARTIAL, NEW };

static struct vg *vg;
static struct echo echo;

static const struct bus_channel *state(void)
{
    return &vg->server->bus.channels[0];
}

// ---- states ------------------------------------------------------------------------------------

static void gpadls(void)
{
    const struct vmbus_msg_gpadl_header header = {.header.type = VMBUS_GPADL_HEADER,
                                                  .relid = RELID,
                                                  .gpadl = PARTIAL,
                                                  .range_bytes = 16,
                                                  .range_count = 1};
    must_equal(vg_make_gpadl(vg, RELID, VG_FIRST_PAGE, 4), RING);
    must_equal(vg_make_gpadl(vg, RELID, VG_FIRST_PAGE + 4, 4), RING_2);
    must_equal(vg_make_gpadl(vg, RELID, VG_FIRST_PAGE + 8, 4), BUFFER);
    vg_send(vg, &header, sizeof header);
}

static void to_disconnected(void)
{
}

static void to_negotiated(void)
{
    must(vg_negotiate(vg, VMBUS_V5_3));
}

static void to_offered(void)
{
    vg_connect(vg, VMBUS_V5_3);
    gpadls();
}

static void to_opening(void)
{
    to_offered();
    echo.late_open = true;
    vg_send_open(vg, RELID, RING, 2, 0);
}

static void to_open(void)
{
    to_offered();
    vg_send_open(vg, RELID, RING, 2, 0);
    must_equal(vg_open_status(vg, RELID), 0);
}

static void to_closing(void)
{
    to_open();
    echo.late_close = true;
    vg_send_relid(vg, VMBUS_CLOSECHANNEL, RELID);
}

static void to_reopening(void)
{
    to_closing();
    vg_send_open(vg, RELID, RING_2, 2, 0);
}

static void to_rescinding(void)
{
    to_open();
    echo.late_close = true;
    vmbus_channel_rescind(echo.channel);
    vg_run(vg);
    vg_expect(vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
}

static void to_rescinded(void)
{
    to_open();
    vmbus_channel_fail(echo.channel, "test");
    vg_run(vg);
    vg_expect(vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
}

static void to_released(void)
{
    to_offered();
    vg_send_relid(vg, VMBUS_RELID_RELEASED, RELID);
}

static void to_reserved(void)
{
    const struct vmbus_msg_open_reserved message = {.header.type = VMBUS_OPEN_RESERVED_CHANNEL,
                                                    .relid = RELID,
                                                    .sint = VMBUS_SINT,
                                                    .ring_gpadl = RING,
                                                    .out_page = 2};
    to_offered();
    vg_send(vg, &message, sizeof message);
    vg_expect(vg, VMBUS_OPENCHANNEL_RESULT, NULL, 0);
}

static void to_reserved_alone(void)
{
    to_reserved();
    vg_unload(vg);
}

static void to_unloading(void)
{
    const struct vmbus_header message = {.type = VMBUS_UNLOAD};

    to_open();
    echo.late_close = true;
    vg_send(vg, &message, sizeof message);
}

static const struct {
    const char *name;
    void (*reach)(void);
} states[] = {
    {"disconnected", to_disconnected},
    {"negotiated", to_negotiated},
    {"offered", to_offered},
    {"opening", to_opening},
    {"open", to_open},
    {"closing", to_closing},
    {"reopening", to_reopening},
    {"rescinding", to_rescinding},
    {"rescinded", to_rescinded},
    {"released", to_released},
    {"reserved", to_reserved},
    {"reserved, unloaded", to_reserved_alone},
    {"unloading", to_unloading},
};
enum { STATES = sizeof states / sizeof states[0] };

// The name of the state that the bus is in.
static const char *name_of_state(void)
{
    static const char *const guests[] = {"unknown", "offered", "opening", "open", "rescinded"};
    static const char *const devices[] = {"idle", "started", "running", "stopping"};
    static const char *const connections[] = {"disconnected", "disconnecting", "connected"};
    static char name[100];
    const struct bus_channel *channel = state();

    snprintf(name, sizeof name, "%s, %s/%s%s", connections[vg->server->bus.connection.state],
             guests[channel->guest], devices[channel->device],
             channel->reserved ? ", reserved" : "");
    return name;
}

// ---- messages ----------------------------------------------------------------------------------

static const char *const type_names[] = {
    "0",
    "OFFERCHANNEL",
    "RESCIND_CHANNELOFFER",
    "REQUESTOFFERS",
    "ALLOFFERS_DELIVERED",
    "OPENCHANNEL",
    "OPENCHANNEL_RESULT",
    "CLOSECHANNEL",
    "GPADL_HEADER",
    "GPADL_BODY",
    "GPADL_CREATED",
    "GPADL_TEARDOWN",
    "GPADL_TORNDOWN",
    "RELID_RELEASED",
    "INITIATE_CONTACT",
    "VERSION_RESPONSE",
    "UNLOAD",
    "UNLOAD_RESPONSE",
    "OPEN_RESERVED_CHANNEL",
    "CLOSE_RESERVED_CHANNEL",
    "CLOSE_RESERVED_RESPONSE",
    "TL_CONNECT_REQUEST",
    "MODIFYCHANNEL",
    "TL_CONNECT_RESULT",
    "MODIFYCHANNEL_RESPONSE",
    "25",
};

// Messages that mean something; those without words go as a bare header, or full of zeros.
static const struct {
    const char *name; // NULL: the name of the type
    uint32_t type;
    uint32_t words[8]; // behind the header
} messages[] = {
    {NULL, 0, {0}},
    {NULL, VMBUS_OFFERCHANNEL, {0}},
    {NULL, VMBUS_RESCIND_CHANNELOFFER, {RELID}},
    {NULL, VMBUS_REQUESTOFFERS, {0}},
    {NULL, VMBUS_ALLOFFERS_DELIVERED, {0}},
    {"OPENCHANNEL", VMBUS_OPENCHANNEL, {RELID, 7, RING_2, 0, 2}},
    {"OPENCHANNEL, no such GPADL", VMBUS_OPENCHANNEL, {RELID, 7, 1, 0, 2}},
    {"OPENCHANNEL, no such relid", VMBUS_OPENCHANNEL, {9, 7, RING_2, 0, 2}},
    {NULL, VMBUS_OPENCHANNEL_RESULT, {RELID}},
    {NULL, VMBUS_CLOSECHANNEL, {RELID}},
    {"CLOSECHANNEL, no such relid", VMBUS_CLOSECHANNEL, {9}},
    {"GPADL_HEADER", VMBUS_GPADL_HEADER, {RELID, NEW, 1 << 16 | 16, 4096, 0, VG_FIRST_PAGE}},
    {"GPADL_HEADER, id in use", VMBUS_GPADL_HEADER, {RELID, BUFFER, 1 << 16 | 16, 4096, 0, 256}},
    {"GPADL_HEADER, bad range", VMBUS_GPADL_HEADER, {RELID, NEW, 1 << 16 | 16, 0, 0, 256}},
    {"GPADL_HEADER, no such relid", VMBUS_GPADL_HEADER, {9, NEW, 1 << 16 | 16, 4096, 0, 256}},
    {"GPADL_BODY", VMBUS_GPADL_BODY, {0, PARTIAL, 4096, 0, VG_FIRST_PAGE}},
    {"GPADL_BODY, complete already", VMBUS_GPADL_BODY, {0, BUFFER, 4096, 0, VG_FIRST_PAGE}},
    {NULL, VMBUS_GPADL_CREATED, {RELID, BUFFER}},
    {"GPADL_TEARDOWN", VMBUS_GPADL_TEARDOWN, {RELID, BUFFER}},
    {"GPADL_TEARDOWN, of the rings", VMBUS_GPADL_TEARDOWN, {RELID, RING}},
    {"GPADL_TEARDOWN, unfinished", VMBUS_GPADL_TEARDOWN, {RELID, PARTIAL}},
    {"GPADL_TEARDOWN, unknown", VMBUS_GPADL_TEARDOWN, {RELID, NEW}},
    {NULL, VMBUS_GPADL_TORNDOWN, {BUFFER}},
    {NULL, VMBUS_RELID_RELEASED, {RELID}},
    {"INITIATE_CONTACT 5.3", VMBUS_INITIATE_CONTACT, {VMBUS_V5_3, 0, VMBUS_SINT}},
    {"INITIATE_CONTACT 6.0", VMBUS_INITIATE_CONTACT, {0x00060000, 0, VMBUS_SINT}},
    {NULL, VMBUS_VERSION_RESPONSE, {1}},
    {NULL, VMBUS_UNLOAD, {0}},
    {NULL, VMBUS_UNLOAD_RESPONSE, {0}},
    {NULL, VMBUS_OPEN_RESERVED_CHANNEL, {RELID, 0, VMBUS_SINT, RING_2, 2}},
    {NULL, VMBUS_CLOSE_RESERVED_CHANNEL, {RELID, 0, VMBUS_SINT}},
    {NULL, VMBUS_CLOSE_RESERVED_RESPONSE, {RELID}},
    {NULL, VMBUS_TL_CONNECT_REQUEST, {1, 2, 3, 4, 5, 6, 7, 8}},
    {NULL, VMBUS_MODIFYCHANNEL, {RELID, 2}},
    {NULL, VMBUS_TL_CONNECT_RESULT, {0}},
    {NULL, VMBUS_MODIFYCHANNEL_RESPONSE, {RELID}},
    {NULL, 25, {0}},
};
enum { MESSAGES = sizeof messages / sizeof messages[0] };

static const char *name_of_message(unsigned i)
{
    return messages[i].name ? messages[i].name : type_names[messages[i].type];
}

// Bytes 16 of these messages are a status; VERSION_RESPONSE has a flag at 8.
static const char *verdict_of(const struct vg_message *message, uint32_t type)
{
    uint32_t status = 0;

    if (type == VMBUS_VERSION_RESPONSE) {
        return message->bytes[8] ? " ok" : " no";
    }
    if (type == VMBUS_OPENCHANNEL_RESULT || type == VMBUS_GPADL_CREATED) {
        memcpy(&status, message->bytes + 16, 4);
    } else if (type == VMBUS_MODIFYCHANNEL_RESPONSE) {
        memcpy(&status, message->bytes + 12, 4);
    } else {
        return "";
    }
    return status ? " no" : " ok";
}

static void append(char *cell, const char *text)
{
    must(strlen(cell) + strlen(text) < 300);
    strcat(cell, text);
}

// Sends message m in state s and writes down what comes of it.
static void try_one(unsigned s, unsigned m, char *cell)
{
    uint32_t words[VMBUS_MESSAGE_MAX / 4] = {messages[m].type};
    char before[100];

    vg = vg_create(NULL);
    echo_attach(&echo, vg, 1);
    vg->next_page = 64;
    states[s].reach();
    vg_expect_nothing(vg);
    snprintf(before, sizeof before, "%s", name_of_state());
    memcpy(words + 2, messages[m].words, sizeof messages[m].words);
    vg_send(vg, words, 160);
    cell[0] = 0;
    while (vg->count) {
        const struct vg_message *message = &vg->messages[vg->first];
        uint32_t type;
        memcpy(&type, message->bytes, 4);
        append(cell, cell[0] ? ", " : "");
        append(cell, type_names[type]);
        append(cell, verdict_of(message, type));
        vg->first = (vg->first + 1) % VG_MESSAGES;
        vg->count--;
    }
    if (strcmp(before, name_of_state()) != 0) {
        append(cell, cell[0] ? "; to " : "to ");
        append(cell, name_of_state());
    }
    if (!cell[0]) {
        append(cell, vg->server->bus.complaint ? "dropped" : "taken");
    }
    vg_destroy(vg);
}

// ---- the table ---------------------------------------------------------------------------------

static char table[200000];
static size_t table_size;

__attribute__((format(printf, 1, 2))) static void put(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    table_size += (size_t)vsnprintf(table + table_size, sizeof table - table_size, format, list);
    va_end(list);
    must(table_size < sizeof table);
}

static void put_states(void)
{
    put("| state | connection, guest side / device side of the channel |\n|---|---|\n");
    for (unsigned s = 0; s < STATES; s++) {
        vg = vg_create(NULL);
        echo_attach(&echo, vg, 1);
        vg->next_page = 64;
        states[s].reach();
        put("| %s | %s |\n", states[s].name, name_of_state());
        vg_destroy(vg);
    }
}

static void put_messages(void)
{
    char cell[320];

    for (unsigned s = 0; s < STATES; s++) {
        put("\n## %s\n| message | what follows |\n|---|---|\n", states[s].name);
        unsigned dropped = 0;
        for (unsigned m = 0; m < MESSAGES; m++) {
            try_one(s, m, cell);
            if (strcmp(cell, "dropped") == 0) {
                dropped++;
            } else {
                put("| %s | %s |\n", name_of_message(m), cell);
            }
        }
        put("\nDropped, with a line in the log: %u others.\n", dropped);
    }
}

static void make_table(void)
{
    table_size = 0;
    put("# VMBus: every message in every state\n"
        "Made by `tests/unit/test_vmbus_states.c`, which fails when the library does something "
        "else.\n"
        "One channel, version 5.3; the device answers at once except where a state needs it late.\n"
        "\"taken\" is accepted without an answer or a change of state; \"ok\" and \"no\" are the "
        "status\n"
        "in an answer.\n\n");
    put_states();
    put_messages();
}

START_TEST(test_table)
{
    static char file[sizeof table];
    FILE *stream;

    make_table();
    if (getenv("VMBUS_STATES_WRITE")) {
        stream = fopen(TABLE, "w");
        ck_assert_ptr_nonnull(stream);
        ck_assert_uint_eq(fwrite(table, 1, table_size, stream), table_size);
        fclose(stream);
        return;
    }
    stream = fopen(TABLE, "r");
    ck_assert_ptr_nonnull(stream);
    const size_t size = fread(file, 1, sizeof file - 1, stream);
    fclose(stream);
    file[size] = 0;
    ck_assert_str_eq(file, table);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("vmbus_states");
    TCase *tc = tcase_create("states");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_table);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());

    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
