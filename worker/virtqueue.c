/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/virtqueue.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stddef.h>

/* Where descriptors are read from: the ring's own table or an indirect one. */
struct table {
    const unsigned char *base; /* guest memory; an indirect table may lie at any address */
    uint32_t size;             /* descriptors */
    bool indirect;
};

static int fault(struct guest_fault *ret_fault, enum log_code code, uint64_t a, uint64_t b,
                 uint64_t c)
{
    *ret_fault = (struct guest_fault){.code = code, .args = {a, b, c}};
    return -EBADMSG;
}

static bool part_valid(const struct window *window, uint64_t addr, uint64_t alignment,
                       uint64_t length)
{
    return addr % alignment == 0 &&
           window_translate(window, (struct guest_addr){addr}, length) != NULL;
}

bool virtqueue_valid(const struct state_queue *state, const struct window *window,
                     uint32_t size_max)
{
    uint64_t size = state->size;
    return size != 0 && size <= size_max && (size & (size - 1)) == 0 &&
           part_valid(window, state->desc, VRING_DESC_ALIGN_SIZE, 16 * size) &&
           part_valid(window, state->driver, VRING_AVAIL_ALIGN_SIZE, 6 + 2 * size) &&
           part_valid(window, state->device, VRING_USED_ALIGN_SIZE, 6 + 8 * size);
}

/* The two event words lie behind the rings, §2.7.6 and §2.7.8. */
static const uint16_t *used_event(const struct virtqueue *vq)
{
    return &vq->avail->ring[vq->size];
}

static uint16_t *avail_event(const struct virtqueue *vq)
{
    return (uint16_t *)&vq->used->ring[vq->size];
}

/*
 * A predecessor that died while it published a batch left batch_end ahead of next_used. Whether
 * the driver can see the batch, only used->idx tells. The chains of a batch that it cannot see
 * are still the device's, so taking them again is safe.
 */
static int settle_batch(struct virtqueue *vq, struct guest_fault *ret_fault)
{
    struct state_queue *state = vq->state;
    if (state->batch_end != state->next_used) {
        uint16_t used_idx = __atomic_load_n(&vq->used->idx, __ATOMIC_ACQUIRE);
        if (used_idx == state->batch_end)
            state->next_used = state->batch_end;
        else if (used_idx == state->next_used)
            state->batch_end = state->next_used;
        else
            return fault(ret_fault, LOG_USED_INVALID, vq->index, used_idx, state->next_used);
    }
    state->next_avail = state->next_used;
    return 0;
}

int virtqueue_start(struct virtqueue *vq, unsigned int index, const struct window *window,
                    struct state_queue *state, uint32_t size_max, uint64_t features,
                    struct guest_fault *ret_fault)
{
    if (!virtqueue_valid(state, window, size_max))
        return fault(ret_fault, LOG_QUEUE_INVALID, index, state->size, 0);

    uint64_t size = state->size;
    vq->window = window;
    vq->state = state;
    vq->index = index;
    vq->event_idx = (features & (1ull << VIRTIO_RING_F_EVENT_IDX)) != 0;
    vq->indirect = (features & (1ull << VIRTIO_RING_F_INDIRECT_DESC)) != 0;
    vq->notify_off = false;
    vq->signal_always = true;
    vq->size = (uint16_t)size;
    vq->filled = 0;
    vq->desc = window_translate(window, (struct guest_addr){state->desc}, 16 * size);
    vq->avail = window_translate(window, (struct guest_addr){state->driver}, 6 + 2 * size);
    vq->used = window_translate(window, (struct guest_addr){state->device}, 6 + 8 * size);
    int r = settle_batch(vq, ret_fault);
    if (r < 0)
        return r;
    vq->next_used = state->next_used;
    vq->decided = state->next_used;
    vq->signalled = state->next_used;
    vq->next_avail = state->next_used;
    vq->avail_idx = state->next_used;
    vq->running = true;
    return 0;
}

void virtqueue_stop(struct virtqueue *vq)
{
    vq->running = false;
    vq->filled = 0;
}

/*
 * §2.7.13.3: learn how far the driver has come. It can have no more chains outstanding than
 * the ring has entries, and can take none back: with anything else, elements that wait to be
 * published would be overwritten.
 */
static int refresh_avail_idx(struct virtqueue *vq, struct guest_fault *ret_fault)
{
    /* Acquire: pairs with the driver's barrier between filling avail->ring and the descriptors,
     * and moving avail->idx; without it those could be read as they were before. */
    uint16_t idx = __atomic_load_n(&vq->avail->idx, __ATOMIC_ACQUIRE);
    uint16_t outstanding = (uint16_t)(idx - vq->next_used);
    uint16_t taken = (uint16_t)(vq->next_avail - vq->next_used);
    if (outstanding > vq->size || outstanding < taken)
        return fault(ret_fault, LOG_AVAIL_INVALID, vq->index, idx, vq->next_avail);
    vq->avail_idx = idx;
    return 0;
}

/* Append the buffer of a descriptor that has been copied. */
static enum ring_check add_segment(const struct virtqueue *vq, struct chain *chain,
                                   const struct vring_desc *desc)
{
    bool writable = (desc->flags & VRING_DESC_F_WRITE) != 0;
    if (!writable && chain->writable_count > 0)
        return CHECK_ORDER;
    if (desc->len == 0)
        return CHECK_OK; /* nothing to translate: such an address means nothing */
    if (desc->len > UINT32_MAX - chain->readable_length - chain->writable_length)
        return CHECK_LENGTH;
    void *buffer = window_translate(vq->window, (struct guest_addr){desc->addr}, desc->len);
    if (!buffer)
        return CHECK_ADDRESS;
    unsigned int count = chain->readable_count + chain->writable_count;
    chain->segments[count] = (struct iovec){.iov_base = buffer, .iov_len = desc->len};
    if (writable) {
        chain->writable_count++;
        chain->writable_length += desc->len;
    } else {
        chain->readable_count++;
        chain->readable_length += desc->len;
    }
    return CHECK_OK;
}

/* §2.7.5.3: go on in the indirect table that a descriptor refers to; its WRITE flag is ignored. */
static enum ring_check enter_indirect(const struct virtqueue *vq, struct table *table,
                                      const struct vring_desc *desc)
{
    if (!vq->indirect)
        return CHECK_INDIRECT_FEATURE;
    if (table->indirect)
        return CHECK_INDIRECT_NESTED;
    if ((desc->flags & VRING_DESC_F_NEXT) != 0)
        return CHECK_INDIRECT_WITH_NEXT;
    if (desc->len == 0 || desc->len % sizeof(struct vring_desc) != 0)
        return CHECK_INDIRECT_LENGTH;
    table->base = window_translate(vq->window, (struct guest_addr){desc->addr}, desc->len);
    if (!table->base)
        return CHECK_INDIRECT_ADDRESS;
    table->size = desc->len / (uint32_t)sizeof(struct vring_desc);
    table->indirect = true;
    return CHECK_OK;
}

/*
 * Follow a chain to its end. Every descriptor is copied once, at its turn. Two bounds end
 * every walk: the table's size, which only a loop exceeds, and CHAIN_SEGMENTS_MAX over all,
 * since an indirect table can be as large as the window. *ret_index: where it failed.
 */
static enum ring_check walk_chain(const struct virtqueue *vq, struct chain *chain,
                                  uint32_t *ret_index)
{
    struct table table = {.base = (const unsigned char *)vq->desc, .size = vq->size};
    uint32_t index = chain->ref.id;
    uint32_t steps = 0;
    unsigned int visited = 0;
    for (;;) {
        *ret_index = index;
        if (steps++ == table.size)
            return CHECK_LOOP;
        if (visited == CHAIN_SEGMENTS_MAX)
            return CHECK_SEGMENTS;
        struct vring_desc desc;
        guest_copy(&desc, table.base + (size_t)index * sizeof(desc), sizeof(desc));

        enum ring_check check;
        if ((desc.flags & VRING_DESC_F_INDIRECT) != 0) {
            check = enter_indirect(vq, &table, &desc);
            if (check != CHECK_OK)
                return check;
            index = 0;
            steps = 0;
            continue;
        }
        visited++;
        check = add_segment(vq, chain, &desc);
        if (check != CHECK_OK)
            return check;
        if ((desc.flags & VRING_DESC_F_NEXT) == 0)
            return CHECK_OK;
        if (desc.next >= table.size)
            return CHECK_NEXT;
        index = desc.next;
    }
}

int virtqueue_pop(struct virtqueue *vq, struct chain *ret_chain, struct guest_fault *ret_fault)
{
    if (vq->next_avail == vq->avail_idx) {
        int r = refresh_avail_idx(vq, ret_fault);
        if (r < 0)
            return r;
        if (vq->next_avail == vq->avail_idx)
            return 0;
    }
    uint16_t head = guest_load16(&vq->avail->ring[vq->next_avail & (vq->size - 1)]);
    if (head >= vq->size)
        return fault(ret_fault, LOG_DESC_INVALID, vq->index, head, CHECK_HEAD);

    ret_chain->ref = (struct chain_ref){.id = head};
    ret_chain->readable_count = 0;
    ret_chain->writable_count = 0;
    ret_chain->readable_length = 0;
    ret_chain->writable_length = 0;
    uint32_t index = head;
    enum ring_check check = walk_chain(vq, ret_chain, &index);
    if (check == CHECK_LOOP || check == CHECK_SEGMENTS || check == CHECK_LENGTH)
        return fault(ret_fault, LOG_CHAIN_INVALID, vq->index, head, check);
    if (check != CHECK_OK)
        return fault(ret_fault, LOG_DESC_INVALID, vq->index, index, check);
    vq->next_avail++;
    vq->state->next_avail = vq->next_avail;
    return 1;
}

void virtqueue_push(struct virtqueue *vq, struct chain_ref ref, uint32_t length)
{
    vq->used_elements[vq->filled++] = (struct vring_used_elem){.id = ref.id, .len = length};
}

void virtqueue_publish(struct virtqueue *vq)
{
    if (vq->filled == 0)
        return;
    uint16_t old = vq->next_used;
    uint16_t new = (uint16_t)(old + vq->filled);
    for (uint16_t i = 0; i < vq->filled; i++)
        vq->used->ring[(uint16_t)(old + i) & (vq->size - 1)] = vq->used_elements[i];

    vq->state->batch_end = new;
    /* Release: pairs with the driver's read barrier after used->idx. It orders the elements, and
     * what was written to the buffers, before the index that gives them to the driver; and
     * batch_end, so that a successor finds it where used->idx has moved. */
    __atomic_store_n(&vq->used->idx, new, __ATOMIC_RELEASE);
    /* The compiler's order is enough here: a process dies between two instructions. */
    atomic_signal_fence(memory_order_seq_cst);
    vq->state->next_used = new;

    vq->next_used = new;
    vq->filled = 0;
}

bool virtqueue_interrupt_due(struct virtqueue *vq)
{
    uint16_t old = vq->decided;
    bool wanted;
    vq->decided = vq->next_used;
    /* Pairs with the driver's full barrier between writing used_event (or avail->flags) and
     * reading used->idx. Without it, this side could read the old used_event before its
     * used->idx is seen, while the driver misses that idx and sleeps: no interrupt, for ever. */
    atomic_thread_fence(memory_order_seq_cst);
    if (vq->signal_always)
        wanted = true;
    else if (vq->event_idx)
        wanted = vring_need_event(guest_load16(used_event(vq)), vq->next_used, old);
    else
        wanted = (guest_load16(&vq->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT) == 0;
    if (wanted) {
        vq->signal_always = false;
        vq->signalled = vq->next_used;
    }
    return wanted;
}

/* §2.7.10. With EVENT_IDX an avail_event that is left behind keeps the driver quiet by itself. */
void virtqueue_disable_notify(struct virtqueue *vq)
{
    if (vq->event_idx || vq->notify_off)
        return;
    vq->notify_off = true;
    guest_store16(&vq->used->flags, VRING_USED_F_NO_NOTIFY);
}

bool virtqueue_enable_notify(struct virtqueue *vq)
{
    vq->notify_off = false;
    if (vq->event_idx)
        guest_store16(avail_event(vq), vq->next_avail);
    else
        guest_store16(&vq->used->flags, 0);
    /* Pairs with the driver's full barrier between moving avail->idx and reading avail_event (or
     * used->flags). Without it, both could read what was before: no kick, and nobody looks. */
    atomic_thread_fence(memory_order_seq_cst);
    return guest_load16(&vq->avail->idx) == vq->next_avail;
}
