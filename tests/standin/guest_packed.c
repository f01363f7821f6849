/* SPDX-License-Identifier: Apache-2.0 */
/* The packed ring (§2.8) of guest_queue.c. It is used as Linux uses it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/standin/guest.h"

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED (1u << VRING_PACKED_DESC_F_USED)
#define WRAP_BIT (1u << VRING_PACKED_EVENT_F_WRAP_CTR)

/* Words that both sides write or read at any time. */
#define LOAD(word, order) __atomic_load_n(&(word), __ATOMIC_##order)
#define STORE(word, value, order) __atomic_store_n(&(word), value, __ATOMIC_##order)

static bool event_idx(const struct guest_queue *queue)
{
    return (queue->guest->features >> VIRTIO_RING_F_EVENT_IDX & 1) != 0;
}

int guest_packed_allocate(struct guest_queue *queue)
{
    struct guest *guest = queue->guest;
    struct guest_packed *ring = &queue->packed;
    ring->desc = guest_alloc(guest, 16ull * queue->size, 16, &queue->desc_addr);
    ring->driver = guest_alloc(guest, 4, 4, &queue->avail_addr);
    ring->device = guest_alloc(guest, 4, 4, &queue->used_addr);
    ring->next_free = calloc(queue->size, sizeof(ring->next_free[0]));
    if (!ring->desc || !ring->driver || !ring->device || !ring->next_free)
        return -ENOMEM;
    ring->next_wrap = true;
    ring->used_wrap = true;
    for (uint32_t id = 0; id < queue->size; id++)
        ring->next_free[id] = (uint16_t)(id + 1);
    return 0;
}

static void go_on(const struct guest_queue *queue, uint32_t *offset, bool *wrap, uint32_t count)
{
    *offset += count;
    if (*offset >= queue->size) {
        *offset -= queue->size;
        *wrap = !*wrap;
    }
}

static uint16_t available(bool wrap)
{
    return wrap ? AVAIL : USED;
}

static uint16_t write_flag(const struct guest_segment *segment)
{
    return segment->device_writable ? VRING_DESC_F_WRITE : 0;
}

static struct guest_segment fill_indirect(struct guest_queue *queue, uint16_t id,
                                          const struct guest_segment *segments, unsigned int count)
{
    unsigned int first = GUEST_INDIRECT_MAX * (unsigned int)id;
    for (unsigned int i = 0; i < count; i++)
        queue->packed.indirect[first + i] = (struct vring_packed_desc){
            .addr = segments[i].addr, .len = segments[i].len, .flags = write_flag(&segments[i])};
    return (struct guest_segment){.addr = queue->indirect_addr + 16ull * first, .len = 16 * count};
}

int guest_packed_add(struct guest_queue *queue, const struct guest_segment *segments,
                     unsigned int count, void *token)
{
    struct guest_packed *ring = &queue->packed;
    uint16_t id = queue->free_head, extra = 0, first_flags = 0;
    struct guest_segment table;
    if (queue->indirect && count > 1 && count <= GUEST_INDIRECT_MAX) {
        table = fill_indirect(queue, id, segments, count);
        segments = &table;
        count = 1;
        extra = VRING_DESC_F_INDIRECT;
    }
    struct vring_packed_desc *first = &ring->desc[ring->next];
    for (unsigned int i = 0; i < count; i++) {
        struct vring_packed_desc *desc = &ring->desc[ring->next];
        uint16_t flags = (uint16_t)(write_flag(&segments[i]) | extra | available(ring->next_wrap) |
                                    (i + 1 < count ? VRING_DESC_F_NEXT : 0));
        desc->addr = segments[i].addr;
        desc->len = segments[i].len;
        desc->id = id;
        if (i == 0)
            first_flags = flags;
        else
            desc->flags = flags;
        go_on(queue, &ring->next, &ring->next_wrap, 1);
    }
    queue->free_head = ring->next_free[id];
    queue->free_count = (uint16_t)(queue->free_count - count);
    queue->tokens[id] = token;
    queue->chain_length[id] = (uint16_t)count;
    ring->added = (uint16_t)(ring->added + count);
    /* The rest of the chain is written before the flags of its first descriptor. Pairs with the
     * device's acquire load. */
    STORE(first->flags, first_flags, RELEASE);
    return 0;
}

/* §2.8.10: the structure is read as a whole. */
bool guest_packed_kick_wanted(struct guest_queue *queue)
{
    struct guest_packed *ring = &queue->packed;
    uint32_t both = LOAD(*(uint32_t *)(void *)ring->device, RELAXED);
    uint16_t flags = (uint16_t)(both >> 16), off_wrap = (uint16_t)both;
    uint16_t added = ring->added;
    ring->added = 0;
    if (flags != VRING_PACKED_EVENT_FLAG_DESC)
        return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
    uint16_t event = off_wrap & (uint16_t)~WRAP_BIT;
    if (((off_wrap & WRAP_BIT) != 0) != ring->next_wrap)
        event = (uint16_t)(event - queue->size);
    return vring_need_event(event, (uint16_t)ring->next, (uint16_t)(ring->next - added));
}

static bool used_next(const struct guest_packed *ring, int order)
{
    uint16_t flags = __atomic_load_n(&ring->desc[ring->used].flags, order);
    uint16_t both = AVAIL | USED;
    return (flags & both) == (ring->used_wrap ? both : 0);
}

static uint16_t used_off_wrap(const struct guest_packed *ring)
{
    return (uint16_t)(ring->used | (ring->used_wrap ? WRAP_BIT : 0));
}

void *guest_packed_get(struct guest_queue *queue, uint32_t *ret_len)
{
    struct guest_packed *ring = &queue->packed;
    /* The flags are read before the rest. Pairs with the device's release store of the flags. */
    if (!used_next(ring, __ATOMIC_ACQUIRE))
        return NULL;
    const struct vring_packed_desc *desc = &ring->desc[ring->used];
    uint16_t id = desc->id;
    void *token = id < queue->size ? queue->tokens[id] : NULL;
    if (!token) {
        queue->guest->error = -EPROTO; /* not made available, or already used */
        return NULL;
    }
    *ret_len = desc->len;
    queue->tokens[id] = NULL;
    ring->next_free[id] = queue->free_head;
    queue->free_head = id;
    queue->free_count = (uint16_t)(queue->free_count + queue->chain_length[id]);
    queue->used_index++;
    go_on(queue, &ring->used, &ring->used_wrap, queue->chain_length[id]);
    if (event_idx(queue) && !queue->interrupts_off)
        STORE(ring->driver->off_wrap, used_off_wrap(ring), RELAXED);
    return token;
}

void guest_packed_disable_interrupts(struct guest_queue *queue)
{
    STORE(queue->packed.driver->flags, VRING_PACKED_EVENT_FLAG_DISABLE, RELAXED);
}

bool guest_packed_enable_interrupts(struct guest_queue *queue)
{
    struct guest_packed *ring = &queue->packed;
    uint16_t flags =
        event_idx(queue) ? VRING_PACKED_EVENT_FLAG_DESC : VRING_PACKED_EVENT_FLAG_ENABLE;
    STORE(ring->driver->off_wrap, used_off_wrap(ring), RELAXED);
    STORE(ring->driver->flags, flags, RELEASE); /* off_wrap is written before flags */
    /* Our event suppression is written before we look for the last time. Pairs with the device's
     * fence: the device publishes used descriptors before it reads our event suppression. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return !used_next(ring, __ATOMIC_RELAXED);
}
