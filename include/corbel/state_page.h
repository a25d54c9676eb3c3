// SPDX-License-Identifier: BSD-2-Clause-Patent
// Pages of a child's VP that its parent, the root, sees: where its intercept messages are written
// (spec: root-abi 3.3), and its statistics (3.8). They come from the child's pool.
#pragma once

#include <stdint.h>

#include "corbel/gpa.h"

struct vp;

enum state_page_type {
    STATE_PAGE_MESSAGE, // struct hv_message
    STATE_PAGE_STATS,   // struct hv_stats_page
    STATE_PAGES
};

struct state_page {
    void *page; // NULL: not mapped
    struct gpa_overlay overlay;
};

#define STATE_PAGE_ANYWHERE UINT64_MAX

// Makes the page, zeroed, and shows it to the root at *gpa_page, or where it lies, which is then
// told there. The VP is stopped. HV_STATUS_OPERATION_DENIED: it is mapped already;
// HV_STATUS_INSUFFICIENT_MEMORY, HV_STATUS_INSUFFICIENT_ROOT_MEMORY.
uint16_t state_page_map(struct vp *vp, enum state_page_type type, uint64_t *gpa_page);
// Takes it away, if it is there. The VP is stopped or never runs again.
void state_page_unmap(struct vp *vp, enum state_page_type type);

// The payload in the VP's message page is complete: the message is published there, and where the
// root does not dispatch the VP itself it is told by a message at SINT 0. Owner LP.
void state_page_publish(struct vp *vp, uint32_t message_type, uint32_t size);
