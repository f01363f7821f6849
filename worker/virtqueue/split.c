/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The split ring, VirtIO 1.2 §2.7.
 *
 * A batch is published in three steps, and the worker may be killed between any two of them:
 * batch_end says what is about to be seen, used->idx makes it seen (release), next_used says that
 * it has been seen.
 */
#include <stddef.h>

#include "worker/virtqueue/format.h"

/* Where descriptors are read from: the ring's own table or an indirect one. */
struct table {
    const unsigned char *base; /* guest memory; an indirect table may lie at any address */
    uint32_t size;             /* descriptors */
    bool indirect;
};

bool split_usable(const struct state_queue *state, const struct window *window)
{
    uint64_t size = state->size;
    return (size & (size - 1)) == 0 &&
           ring_part_valid(window, state->desc, VRING_DESC_ALIGN_SIZE, 16 * size) &&
           ring_part_valid(window, state->driver, VRING_AVAIL_ALIGN_SIZE, 6 + 2 * size) &&
           ring_part_valid(window, state->device, VRING_USED_ALIGN_SIZE, 6 + 8 * size);
}

bool split_indices_valid(const struct state_queue *state)
{
    uint16_t batch = (uint16_t)(state->batch_end - state->next_used);
    uint16_t taken = (uint16_t)(state->next_avail - state->next_used);
    return batch <= state->size && taken <= state->size;
}

/* The two event words follow the rings, §2.7.6 and §2.7.8. */
static const uint16_t *used_event(const struct virtqueue *vq)
{
    return &vq->split.avail->ring[vq->size];
}

static uint16_t *avail_event(const struct virtqueue *vq)
{
    return (uint16_t *)&vq->split.used->ring[vq->size];
}

/*
 * A predecessor that died while it published a batch left batch_end ahead of next_used. Only
 * used->idx tells whether the driver can see the batch. If it cannot, the chains still belong to
 * the device, so it is safe to take them again.
 */
static int settle_batch(struct virtqueue *vq, struct guest_fault *ret_fault)
{
    struct state_queue *state = vq->state;
    if (state->batch_end != state->next_used) {
        uint16_t used_idx = __atomic_load_n(&vq->split.used->idx, __ATOMIC_ACQUIRE);
        if (used_idx == state->batch_end)
            state->next_used = state->batch_end;
        else if (used_idx == state->next_used)
            state->batch_end = state->next_used;
        else
            return ring_fault(ret_fault, LOG_USED_INVALID, vq->index, used_idx, state->next_used);
    }
    state->next_avail = state->next_used;
    return 0;
}

int split_start(struct virtqueue *vq, struct guest_fault *ret_fault)
{
    const struct state_queue *state = vq->state;
    uint64_t size = vq->size;
    struct split_ring *ring = &vq->split;
    ring->desc = window_translate(vq->window, (struct guest_addr){state->desc}, 16 * size);
    ring->avail = window_translate(vq->window, (struct guest_addr){state->driver}, 6 + 2 * size);
    ring->used = window_translate(vq->window, (struct guest_addr){state->device}, 6 + 8 * size);
    int r = settle_batch(vq, ret_fault);
    if (r < 0)
        return r;
    vq->next_used = state->next_used;
    vq->decided = state->next_used;
    vq->signalled = state->next_used;
    vq->next_avail = state->next_used;
    ring->avail_idx = state->next_used;
    return 0;
}

/*
 * §2.7.13.3: learn how far the driver has come. It can have no more chains outstanding than the
 * ring has entries, and it can take none back. If this were not checked, elements that wait to be
 * published could be overwritten.
 */
static int refresh_avail_idx(struct virtqueue *vq, struct guest_fault *ret_fault)
{
    /* Acquire: pairs with the driver's barrier between filling avail->ring and the descriptors, and
     * moving avail->idx. Without it, ring and descriptors could be read as they were before. */
    uint16_t idx = __atomic_load_n(&vq->split.avail->idx, __ATOMIC_ACQUIRE);
    uint16_t outstanding = (uint16_t)(idx - vq->next_used);
    uint16_t taken = (uint16_t)(vq->next_avail - vq->next_used);
    if (outstanding > vq->size || outstanding < taken)
        return ring_fault(ret_fault, LOG_AVAIL_INVALID, vq->index, idx, vq->next_avail);
    vq->split.avail_idx = idx;
    return 0;
}

/* §2.7.5.3: continue in the indirect table that a descriptor refers to. The descriptor's WRITE flag
 * is ignored. */
static enum ring_check enter_indirect(const struct virtqueue *vq, struct table *table,
                                      const struct vring_desc *desc)
{
    if (!vq->indirect)
        return CHECK_INDIRECT_FEATURE;
    if (table->indirect)
        return CHECK_INDIRECT_NESTED;
    if ((desc->flags & VRING_DESC_F_NEXT) != 0)
        return CHECK_INDIRECT_WITH_NEXT;
    table->indirect = true;
    return indirect_table(vq, desc->addr, desc->len, &table->base, &table->size);
}

/*
 * Follow a chain to its end. Every descriptor is copied once, when the walk reaches it. Two bounds
 * end every walk: the table's size, which only a loop exceeds, and CHAIN_SEGMENTS_MAX over all,
 * since an indirect table can be as large as the window. *ret_index: where it failed.
 */
static enum ring_check walk_chain(const struct virtqueue *vq, struct chain *chain,
                                  uint32_t *ret_index)
{
    struct table table = {.base = (const unsigned char *)vq->split.desc, .size = vq->size};
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
        check = chain_add(vq, chain, desc.addr, desc.len, (desc.flags & VRING_DESC_F_WRITE) != 0);
        if (check != CHECK_OK)
            return check;
        if ((desc.flags & VRING_DESC_F_NEXT) == 0)
            return CHECK_OK;
        if (desc.next >= table.size)
            return CHECK_NEXT;
        index = desc.next;
    }
}

int split_pop(struct virtqueue *vq, struct chain *ret_chain, struct guest_fault *ret_fault)
{
    if (vq->next_avail == vq->split.avail_idx) {
        int r = refresh_avail_idx(vq, ret_fault);
        if (r < 0)
            return r;
        if (vq->next_avail == vq->split.avail_idx)
            return 0;
    }
    uint16_t head = guest_load16(&vq->split.avail->ring[vq->next_avail & (vq->size - 1)]);
    if (head >= vq->size)
        return ring_fault(ret_fault, LOG_DESC_INVALID, vq->index, head, CHECK_HEAD);

    chain_clear(ret_chain);
    ret_chain->ref = (struct chain_ref){.id = head};
    uint32_t index = head;
    enum ring_check check = walk_chain(vq, ret_chain, &index);
    if (check == CHECK_LOOP || check == CHECK_SEGMENTS || check == CHECK_LENGTH)
        return ring_fault(ret_fault, LOG_CHAIN_INVALID, vq->index, head, check);
    if (check != CHECK_OK)
        return ring_fault(ret_fault, LOG_DESC_INVALID, vq->index, index, check);
    vq->next_avail++;
    vq->state->next_avail = vq->next_avail;
    return 1;
}

void split_publish(struct virtqueue *vq)
{
    struct state_queue *state = vq->state;
    uint16_t old = vq->next_used;
    uint16_t new = (uint16_t)(old + vq->filled);
    for (uint16_t i = 0; i < vq->filled; i++)
        vq->split.used->ring[(uint16_t)(old + i) & (vq->size - 1)] =
            (struct vring_used_elem){.id = state->batch[i].id, .len = state->batch[i].length};

    state->batch_end = new;
    /* Release: pairs with the driver's read barrier after used->idx. The elements, and what was
     * written to the buffers, come before the index that gives them to the driver. batch_end comes
     * before it, too, so that a successor finds it if used->idx has moved. */
    __atomic_store_n(&vq->split.used->idx, new, __ATOMIC_RELEASE);
    /* It is enough to keep the compiler's order here: a process dies between two instructions. */
    atomic_signal_fence(memory_order_seq_cst);
    state->next_used = new;

    vq->next_used = new;
    vq->filled = 0;
}

bool split_interrupt_wanted(const struct virtqueue *vq, uint16_t old)
{
    if (vq->event_idx)
        return vring_need_event(guest_load16(used_event(vq)), vq->next_used, old);
    return (guest_load16(&vq->split.avail->flags) & VRING_AVAIL_F_NO_INTERRUPT) == 0;
}

void split_notify_off(struct virtqueue *vq)
{
    guest_store16(&vq->split.used->flags, VRING_USED_F_NO_NOTIFY);
}

void split_notify_on(struct virtqueue *vq)
{
    if (vq->event_idx)
        guest_store16(avail_event(vq), vq->next_avail);
    else
        guest_store16(&vq->split.used->flags, 0);
}
