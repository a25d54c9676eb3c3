// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "eventchild.h"

#include "hv/call_ipc.h"
#include "hv/registers.h"
#include "hv/synic.h"
#include "string.h"

#define VECTOR  0x54u
#define SIEF    0x3000u
#define SIM     0x4000u
#define WAIT    1                // where the code below waits
#define HANDLER (CHILD_CODE + 5) // in the code below
#define RESULTS 0xf00            // in the code page
#define RW      (HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE)

// Real mode. The handler notes its TSC, frees flag and slot of the SINT, and counts itself.
static const uint8_t code[] = {
    0xfb,                                                 // 00 sti
    0xf3, 0x90,                                           // 01 pause
    0xeb, 0xfc,                                           // 03 jmp 01
    0x0f, 0x31,                                           // 05 rdtsc
    0x66, 0xa3, 0x00, 0x1f,                               // 07 mov [0x1f00], eax
    0x66, 0x89, 0x16, 0x04, 0x1f,                         // 0b mov [0x1f04], edx
    0x66, 0xc7, 0x06, 0x00, 0x34, 0x00, 0x00, 0x00, 0x00, // 10 mov dword [0x3400], 0
    0x66, 0xc7, 0x06, 0x00, 0x44, 0x00, 0x00, 0x00, 0x00, // 19 mov dword [0x4400], 0
    0x66, 0xff, 0x06, 0x08, 0x1f,                         // 22 inc dword [0x1f08]
    0xcf,                                                 // 27 iret
};
static const uint8_t halt[] = {0xf4, 0x90}; // hlt, nop

static bool map_vectors(struct child *c)
{
    uint64_t page = page_take();

    ((uint32_t *)(page << 12))[VECTOR] = HANDLER; // segment 0
    return child_map(c, 0, page, RW);
}

static bool make_port(struct child *c, uint32_t id, uint32_t type)
{
    struct hv_input_create_port port = {
        .port_partition_id = c->id, .port_id = id, .connection_partition_id = HV_PARTITION_ID_SELF};
    struct hv_input_connect_port connection = {.connection_partition_id = HV_PARTITION_ID_SELF,
                                               .connection_id = id,
                                               .port_partition_id = c->id,
                                               .port_id = id,
                                               .connection_info = {.port_type = type}};

    port.port_info.port_type = type;
    port.port_info.message.target_sint = EVENT_CHILD_SINT;
    if (type == HV_PORT_TYPE_EVENT)
        port.port_info.event.flag_count = 1;
    return child_paid(c, HVCALL_CREATE_PORT, &port, sizeof(port)) == HV_STATUS_SUCCESS &&
           parent_call(HVCALL_CONNECT_PORT, &connection, sizeof(connection)) == HV_STATUS_SUCCESS;
}

bool event_child_start(struct child *c, uint32_t port, bool halts,
                       volatile struct event_results **results)
{
    uint8_t text[sizeof(code)];
    bool right = child_prepare(c) && map_vectors(c) && make_port(c, port, HV_PORT_TYPE_EVENT) &&
                 make_port(c, port + 1, HV_PORT_TYPE_MESSAGE);

    *results = (volatile struct event_results *)((c->code_page << 12) + RESULTS);
    parent_set64(c->id, 0, HV_REGISTER_APIC_SVR, 0x1ff);
    parent_set64(c->id, 0, HV_REGISTER_SIEFP, SIEF | HV_PAGE_MSR_ENABLE);
    parent_set64(c->id, 0, HV_REGISTER_SIMP, SIM | HV_PAGE_MSR_ENABLE);
    parent_set64(c->id, 0, HV_REGISTER_SINT(EVENT_CHILD_SINT), VECTOR | HV_SINT_AUTO_EOI);
    parent_set64(c->id, 0, HV_REGISTER_SCONTROL, HV_SCONTROL_ENABLE);
    memcpy(text, code, sizeof(text));
    if (halts)
        memcpy(text + WAIT, halt, sizeof(halt));
    child_run(c, text, sizeof(text));
    (*results)->count = 0;
    return right;
}
