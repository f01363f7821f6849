/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/guest.h"

#include <errno.h>
#include <stdlib.h>

/* Words that both sides write or read at any time. */
#define LOAD(word, order) __atomic_load_n(&(word), __ATOMIC_##order)
#define STORE(word, value, order) __atomic_store_n(&(word), value, __ATOMIC_##order)

static bool has(const struct guest *guest, unsigned int bit)
{
    return (guest->features >> bit & 1) != 0;
}

/* §2.7.6, §2.7.8: used_event lies behind the available ring, avail_event behind the used ring. */
static __virtio16 *used_event(struct guest_queue *queue)
{
    return &queue->avail->ring[queue->size];
}

static __virtio16 *avail_event(struct guest_queue *queue)
{
    return (__virtio16 *)&queue->used->ring[queue->size];
}

static int allocate_split(struct guest_queue *queue)
{
    struct guest *guest = queue->guest;
    uint32_t size = queue->size;
    queue->desc = guest_alloc(guest, 16ull * size, 16, &queue->desc_addr);
    queue->avail = guest_alloc(guest, 6 + 2ull * size, 2, &queue->avail_addr);
    queue->used = guest_alloc(guest, 6 + 8ull * size, 4, &queue->used_addr);
    if (!queue->desc || !queue->avail || !queue->used)
        return -ENOMEM;
    for (uint32_t i = 0; i < size; i++)
        queue->desc[i].next = (uint16_t)(i + 1);
    queue->free_tail = (uint16_t)(size - 1);
    return 0;
}

static int allocate(struct guest_queue *queue)
{
    struct guest *guest = queue->guest;
    uint32_t size = queue->size;
    bool indirect = has(guest, VIRTIO_RING_F_INDIRECT_DESC);
    queue->is_packed = has(guest, VIRTIO_F_RING_PACKED);
    int r = queue->is_packed ? guest_packed_allocate(queue) : allocate_split(queue);
    if (r < 0)
        return r;
    if (indirect)
        queue->indirect =
            guest_alloc(guest, 16ull * GUEST_INDIRECT_MAX * size, 16, &queue->indirect_addr);
    queue->tokens = calloc(size, sizeof(queue->tokens[0]));
    queue->chain_length = calloc(size, sizeof(queue->chain_length[0]));
    if (!queue->tokens || !queue->chain_length || (indirect && !queue->indirect))
        return -ENOMEM;
    queue->packed.indirect = (struct vring_packed_desc *)(void *)queue->indirect;
    queue->free_count = (uint16_t)size;
    return 0;
}

void guest_queue_program(struct guest_queue *queue)
{
    struct guest *guest = queue->guest;
    const struct {
        uint64_t offset;
        uint64_t address;
    } areas[] = {
        {VIRTIO_MMIO_QUEUE_DESC_LOW, queue->desc_addr},
        {VIRTIO_MMIO_QUEUE_AVAIL_LOW, queue->avail_addr},
        {VIRTIO_MMIO_QUEUE_USED_LOW, queue->used_addr},
    };
    guest_write(guest, VIRTIO_MMIO_QUEUE_SEL, 4, queue->index);
    guest_write(guest, VIRTIO_MMIO_QUEUE_NUM, 4, queue->size);
    for (unsigned int i = 0; i < 3; i++) {
        guest_write(guest, areas[i].offset, 4, (uint32_t)areas[i].address);
        guest_write(guest, areas[i].offset + 4, 4, (uint32_t)(areas[i].address >> 32));
    }
    guest_write(guest, VIRTIO_MMIO_QUEUE_READY, 4, 1);
}

int guest_queue_start(struct guest *guest, struct guest_queue *queue, uint32_t index, uint32_t size)
{
    *queue = (struct guest_queue){.guest = guest, .index = index};
    guest_write(guest, VIRTIO_MMIO_QUEUE_SEL, 4, index);
    if (guest_read(guest, VIRTIO_MMIO_QUEUE_READY, 4) != 0)
        return guest->error < 0 ? guest->error : -EBUSY;
    uint32_t size_max = (uint32_t)guest_read(guest, VIRTIO_MMIO_QUEUE_NUM_MAX, 4);
    if (size_max == 0)
        return guest->error < 0 ? guest->error : -ENOENT;
    queue->size = size == 0 || size > size_max ? size_max : size;
    int r = allocate(queue);
    if (r < 0) {
        guest_queue_free(queue);
        return r;
    }
    guest_queue_program(queue);
    return guest->error;
}

void guest_queue_free(struct guest_queue *queue)
{
    free(queue->tokens);
    free(queue->chain_length);
    free(queue->packed.next_free);
    *queue = (struct guest_queue){0};
}

static void fill(struct vring_desc *desc, const struct guest_segment *segment)
{
    desc->addr = segment->addr;
    desc->len = segment->len;
    desc->flags = segment->device_writable ? VRING_DESC_F_WRITE : 0;
}

static void fill_chain(struct guest_queue *queue, const struct guest_segment *segments,
                       unsigned int count)
{
    uint16_t at = queue->free_head;
    for (unsigned int i = 0; i < count; i++) {
        struct vring_desc *desc = &queue->desc[at];
        fill(desc, &segments[i]);
        if (i + 1 < count)
            desc->flags |= VRING_DESC_F_NEXT;
        at = desc->next;
    }
    queue->free_head = at;
}

static void fill_indirect(struct guest_queue *queue, const struct guest_segment *segments,
                          unsigned int count)
{
    uint16_t head = queue->free_head;
    unsigned int first = GUEST_INDIRECT_MAX * (unsigned int)head;
    struct vring_desc *table = &queue->indirect[first];
    for (unsigned int i = 0; i < count; i++) {
        fill(&table[i], &segments[i]);
        table[i].next = (uint16_t)(i + 1);
        if (i + 1 < count)
            table[i].flags |= VRING_DESC_F_NEXT;
    }
    struct vring_desc *desc = &queue->desc[head];
    desc->addr = queue->indirect_addr + 16ull * first;
    desc->len = 16 * count;
    desc->flags = VRING_DESC_F_INDIRECT;
    queue->free_head = desc->next;
}

int guest_queue_add(struct guest_queue *queue, const struct guest_segment *segments,
                    unsigned int count, void *token)
{
    bool indirect = queue->indirect && count > 1 && count <= GUEST_INDIRECT_MAX;
    unsigned int needed = indirect ? 1 : count;
    if (queue->free_count < needed)
        return -ENOSPC;
    if (queue->is_packed)
        return guest_packed_add(queue, segments, count, token);
    uint16_t head = queue->free_head;
    if (indirect)
        fill_indirect(queue, segments, count);
    else
        fill_chain(queue, segments, count);
    queue->free_count = (uint16_t)(queue->free_count - needed);
    queue->tokens[head] = token;
    queue->chain_length[head] = (uint16_t)needed;
    queue->avail->ring[queue->avail_index & (queue->size - 1)] = head;
    queue->avail_index++;
    /* The entry and its descriptors are written before the index. Pairs with the device's acquire
     * load. */
    STORE(queue->avail->idx, queue->avail_index, RELEASE);
    return 0;
}

static bool kick_wanted(struct guest_queue *queue)
{
    if (has(queue->guest, VIRTIO_RING_F_EVENT_IDX))
        return vring_need_event(LOAD(*avail_event(queue), RELAXED), queue->avail_index,
                                queue->kicked_index);
    return (LOAD(queue->used->flags, RELAXED) & VRING_USED_F_NO_NOTIFY) == 0;
}

bool guest_queue_kick(struct guest_queue *queue)
{
    struct guest *guest = queue->guest;
    /* The index (or the flags) is written before we read whether the device wants a kick. Pairs
     * with the device's fence: it publishes that wish before it looks for the last time at what is
     * available. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    bool wanted = queue->is_packed ? guest_packed_kick_wanted(queue) : kick_wanted(queue);
    queue->kicked_index = queue->avail_index;
    if (wanted) {
        guest->kicks++;
        guest_write(guest, VIRTIO_MMIO_QUEUE_NOTIFY, 4, queue->index);
    }
    return wanted;
}

/* §2.7.5: with IN_ORDER, descriptors are used in the order of the table, so a freed one goes to the
 * end of the free list. Without it, the descriptor that was freed last is used next: caches like
 * that. */
static void release_chain(struct guest_queue *queue, uint16_t head)
{
    uint16_t last = head;
    for (unsigned int i = 1; i < queue->chain_length[head]; i++)
        last = queue->desc[last].next;
    if (has(queue->guest, VIRTIO_F_IN_ORDER)) {
        queue->desc[queue->free_tail].next = head;
        queue->free_tail = last;
        queue->next_in_order = (uint16_t)((last + 1u) % queue->size);
        if (queue->free_count == 0)
            queue->free_head = head;
    } else {
        queue->desc[last].next = queue->free_head;
        queue->free_head = head;
    }
    queue->free_count = (uint16_t)(queue->free_count + queue->chain_length[head]);
}

void *guest_queue_get(struct guest_queue *queue, uint32_t *ret_len)
{
    if (queue->is_packed)
        return guest_packed_get(queue, ret_len);
    /* The index is read before the entry. Pairs with the device's release store of the index. */
    if (LOAD(queue->used->idx, ACQUIRE) == queue->used_index)
        return NULL;
    const struct vring_used_elem *element =
        &queue->used->ring[queue->used_index & (queue->size - 1)];
    uint32_t head = element->id;
    void *token = head < queue->size ? queue->tokens[head] : NULL;
    if (!token || (has(queue->guest, VIRTIO_F_IN_ORDER) && head != queue->next_in_order)) {
        queue->guest->error = -EPROTO; /* not made available, already used, or out of order */
        return NULL;
    }
    *ret_len = element->len;
    queue->tokens[head] = NULL;
    release_chain(queue, (uint16_t)head);
    queue->used_index++;
    if (has(queue->guest, VIRTIO_RING_F_EVENT_IDX) && !queue->interrupts_off)
        STORE(*used_event(queue), queue->used_index, RELAXED);
    return token;
}

void guest_queue_disable_interrupts(struct guest_queue *queue)
{
    queue->interrupts_off = true;
    if (queue->is_packed)
        guest_packed_disable_interrupts(queue);
    else if (!has(queue->guest, VIRTIO_RING_F_EVENT_IDX))
        STORE(queue->avail->flags, VRING_AVAIL_F_NO_INTERRUPT, RELAXED);
}

bool guest_queue_enable_interrupts(struct guest_queue *queue)
{
    queue->interrupts_off = false;
    if (queue->is_packed)
        return guest_packed_enable_interrupts(queue);
    if (has(queue->guest, VIRTIO_RING_F_EVENT_IDX))
        STORE(*used_event(queue), queue->used_index, RELAXED);
    else
        STORE(queue->avail->flags, 0, RELAXED);
    /* Our event suppression is written before we look for the last time. Pairs with the device's
     * fence: the device publishes the used index before it reads our event suppression. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return LOAD(queue->used->idx, RELAXED) == queue->used_index;
}

bool guest_queue_delay_interrupts(struct guest_queue *queue)
{
    if (queue->is_packed || !has(queue->guest, VIRTIO_RING_F_EVENT_IDX))
        return guest_queue_enable_interrupts(queue);
    const uint16_t under_way = (uint16_t)(queue->avail_index - queue->used_index);
    const uint16_t delay = (uint16_t)(under_way * 3u / 4);
    queue->interrupts_off = false;
    STORE(*used_event(queue), (uint16_t)(queue->used_index + delay), RELAXED);
    /* As in guest_queue_enable_interrupts. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return (uint16_t)(LOAD(queue->used->idx, RELAXED) - queue->used_index) <= delay;
}
