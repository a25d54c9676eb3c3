// SPDX-License-Identifier: BSD-2-Clause-Patent
// Frame queue: contract in frame_queue.h.
//
// Records are {u32 size, u16 tci, u8 flags, u8 0} and the frame, padded to 8 bytes. A record never
// wraps: what does not fit before the end starts at 0, and a record of size RECORD_WRAP marks the
// gap. Empty when no frames are counted, so head == tail is not ambiguous.
#include "frame_queue.h"

#include "../../mem.h"
#include "../wire.h"

enum {
    RECORD_HEADER = 8,
    RECORD_TAGGED = 0x80,
    RECORD_CHECKS = FRAME_IP_GOOD | FRAME_L4_GOOD,
};

#define RECORD_WRAP UINT32_MAX

void frame_queue_init(struct frame_queue *queue, void *memory, uint32_t size)
{
    *queue = (struct frame_queue){.memory = memory, .capacity = size & ~7u};
}

void frame_queue_clear(struct frame_queue *queue)
{
    queue->head = queue->tail = queue->frames = 0;
}

static uint32_t record_size(uint32_t frame_size)
{
    return (RECORD_HEADER + frame_size + 7) & ~7u;
}

// The offset where a record of this size goes, or UINT32_MAX. *wraps: the tail has to be marked.
static uint32_t place(const struct frame_queue *queue, uint32_t need, bool *wraps)
{
    *wraps = false;
    if (queue->frames == 0) {
        return need <= queue->capacity ? 0 : UINT32_MAX;
    }
    if (queue->tail <= queue->head) {
        return queue->head - queue->tail >= need ? queue->tail : UINT32_MAX;
    }
    if (queue->capacity - queue->tail >= need) {
        return queue->tail;
    }
    *wraps = true;
    return queue->head >= need ? 0 : UINT32_MAX;
}

bool frame_queue_push(struct frame_queue *queue, const struct frame *frame)
{
    const uint32_t need = record_size(frame->size);
    bool wraps;
    const uint32_t at = place(queue, need, &wraps);

    if (at == UINT32_MAX) {
        return false;
    }
    if (wraps && queue->tail < queue->capacity) {
        le32_put(queue->memory + queue->tail, RECORD_WRAP);
    }
    if (queue->frames == 0) {
        queue->head = 0;
    }
    uint8_t *record = queue->memory + at;
    le32_put(record, frame->size);
    le16_put(record + 4, frame->tci);
    record[6] = (uint8_t)((frame->checks & RECORD_CHECKS) | (frame->tagged ? RECORD_TAGGED : 0));
    record[7] = 0;
    memcpy(record + RECORD_HEADER, frame->bytes, frame->size);
    queue->tail = at + need;
    queue->frames++;
    return true;
}

bool frame_queue_peek(const struct frame_queue *queue, struct frame *frame)
{
    if (queue->frames == 0) {
        return false;
    }
    const uint8_t *record = queue->memory + queue->head;
    *frame = (struct frame){
        .bytes = record + RECORD_HEADER,
        .size = le32_get(record),
        .tci = le16_get(record + 4),
        .tagged = record[6] & RECORD_TAGGED,
        .checks = record[6] & RECORD_CHECKS,
    };
    return true;
}

void frame_queue_pop(struct frame_queue *queue)
{
    queue->head += record_size(le32_get(queue->memory + queue->head));
    queue->frames--;
    if (queue->frames == 0) {
        frame_queue_clear(queue);
    } else if (queue->head == queue->capacity ||
               le32_get(queue->memory + queue->head) == RECORD_WRAP) {
        queue->head = 0;
    }
}
