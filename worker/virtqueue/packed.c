/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packed ring, VirtIO 1.2 §2.8.
 *
 * Each chain has one used descriptor, at the place of the chain's first descriptor. The driver
 * polls only the next one, so a batch is seen at once if its first used descriptor is written last
 * (§2.8.9).
 *
 * A batch is published in four steps:
 *
 *   1  state->batch_count and batch_end: what is about to be seen
 *   2  the used descriptors of the second chain to the last
 *   3  the used descriptor of the first chain, its flags at the end (release)
 *   4  state->next_used: it has been seen
 *
 * Why each chain is completed exactly once, at whatever instruction a worker dies:
 *
 * - Before batch_end is written: batch_end equals next_used, nothing in the ring has changed, and
 *   the driver has seen nothing. The successor takes the chains again. (Positions distinguish a
 *   batch that fills the ring from no batch.)
 * - From there to the flags of step 3: descriptors may be overwritten, so no chain of the batch can
 *   be taken again. None needs to be taken again, since state->batch was complete before step 1.
 *   The flags at next_used are still the driver's: USED differs from this lap's wrap counter. The
 *   successor does steps 2 and 3 again, with the same values in the same places; the driver has had
 *   no reason to touch any of them.
 * - After the flags of step 3: USED equals the wrap counter, and stays so even if the driver makes
 *   the descriptor available again, which it marks for the next lap (AVAIL changes). Only the
 *   device changes USED, and the successor starts before that. It does step 4.
 *
 * The same holds for a successor that dies while it does so. If a driver changes the flags against
 * the standard, it gets its batch twice, or not at all; every position stays inside the ring.
 */
#include <stddef.h>

#include "worker/virtqueue/format.h"

#define DESC_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define DESC_USED (1u << VRING_PACKED_DESC_F_USED)
#define EVENT_AREA_SIZE sizeof(struct vring_packed_desc_event)
#define EVENT_AREA_ALIGN 4u
#define EVENT_FLAGS_SHIFT 16u /* where the flags are, in the structure read as one word */
#define EVENT_FLAGS_MASK 3u

/* ---- Positions: struct state_queue ---- */

static uint16_t offset_of(uint16_t position)
{
    return position & STATE_POSITION_OFFSET;
}

/* The Ring Wrap Counter, §2.8.1: 1 in the first lap. */
static bool wrap_counter(uint16_t position)
{
    return (position & STATE_POSITION_LAP) == 0;
}

/* `descriptors` is at most `size`. */
static uint16_t advance(uint16_t position, uint32_t descriptors, uint32_t size)
{
    uint32_t offset = offset_of(position) + descriptors;
    uint32_t lap = position & STATE_POSITION_LAP;
    if (offset >= size) {
        offset -= size;
        lap ^= STATE_POSITION_LAP;
    }
    return (uint16_t)(lap | offset);
}

/* The number of descriptors from one position to another one, which is at most `size` further
 * on. */
static uint32_t distance(uint16_t from, uint16_t to, uint32_t size)
{
    uint32_t turn = ((from ^ to) & STATE_POSITION_LAP) != 0 ? size : 0;
    return offset_of(to) + turn - offset_of(from);
}

/* The position in the form of the event suppression structure, §2.8.14: bit 15 is the wrap counter
 * itself. */
static uint16_t off_wrap(uint16_t position)
{
    return position ^ STATE_POSITION_LAP;
}

/* ---- Start ---- */

bool packed_usable(const struct state_queue *state, const struct window *window)
{
    return state->size <= STATE_POSITION_LAP && /* §2.8: 2^15 */
           ring_part_valid(window, state->desc, VRING_DESC_ALIGN_SIZE, 16ull * state->size) &&
           ring_part_valid(window, state->driver, EVENT_AREA_ALIGN, EVENT_AREA_SIZE) &&
           ring_part_valid(window, state->device, EVENT_AREA_ALIGN, EVENT_AREA_SIZE);
}

/* Do the chains of the batch fill exactly the descriptors that it takes in the ring? */
static bool batch_valid(const struct state_queue *state, uint32_t descriptors)
{
    uint64_t sum = 0;
    if (state->batch_count > STATE_BATCH_MAX)
        return false;
    for (uint32_t i = 0; i < state->batch_count; i++) {
        if (state->batch[i].descriptors == 0)
            return false;
        sum += state->batch[i].descriptors;
    }
    return sum == descriptors;
}

bool packed_indices_valid(const struct state_queue *state)
{
    uint32_t size = state->size;
    if (offset_of(state->next_used) >= size || offset_of(state->batch_end) >= size ||
        offset_of(state->next_avail) >= size)
        return false;
    uint32_t batch = distance(state->next_used, state->batch_end, size);
    uint32_t taken = distance(state->next_used, state->next_avail, size);
    return batch <= size && taken <= size && (batch == 0 || batch_valid(state, batch));
}

static void write_used(const struct virtqueue *vq, uint16_t position, const struct state_used *used,
                       int order)
{
    struct vring_packed_desc *desc = &vq->packed.desc[offset_of(position)];
    uint16_t flags = wrap_counter(position) ? DESC_AVAIL | DESC_USED : 0;
    if (used->length > 0)
        flags |= VRING_DESC_F_WRITE; /* §2.8.3, §2.8.4: without it the length has no meaning */
    __atomic_store_n(&desc->id, used->id, __ATOMIC_RELAXED);
    __atomic_store_n(&desc->len, used->length, __ATOMIC_RELAXED);
    __atomic_store_n(&desc->flags, flags, order);
}

/* Steps 2 and 3. */
static void write_batch(const struct virtqueue *vq, uint16_t first, uint32_t count)
{
    const struct state_used *batch = vq->state->batch;
    uint16_t position = first;
    for (uint32_t i = 1; i < count; i++) {
        position = advance(position, batch[i - 1].descriptors, vq->size);
        write_used(vq, position, &batch[i], __ATOMIC_RELAXED);
    }
    /* Release: pairs with the driver's read barrier after the flags of the next used descriptor.
     * Everything that was written before comes before the flags that give it all to the driver: the
     * bytes in the buffers, this descriptor's id and length, and the descriptors that follow.
     * batch_end comes before them, too, so that a successor finds it if the flags have changed. */
    write_used(vq, first, &batch[0], __ATOMIC_RELEASE);
}

/* Finish the batch that a predecessor began. */
static void settle_batch(const struct virtqueue *vq)
{
    struct state_queue *state = vq->state;
    uint16_t first = state->next_used;
    if (state->batch_end != first) {
        /* No barrier is needed: nothing else that the driver writes is read here. */
        uint16_t flags = guest_load16(&vq->packed.desc[offset_of(first)].flags);
        bool published = ((flags & DESC_USED) != 0) == wrap_counter(first);
        if (!published)
            write_batch(vq, first, state->batch_count);
        atomic_signal_fence(memory_order_seq_cst);
        state->next_used = state->batch_end;
    }
    state->next_avail = state->next_used;
}

void packed_start(struct virtqueue *vq)
{
    const struct state_queue *state = vq->state;
    struct packed_ring *ring = &vq->packed;
    ring->desc = window_translate(vq->window, (struct guest_addr){state->desc}, 16ull * vq->size);
    ring->driver_event =
        window_translate(vq->window, (struct guest_addr){state->driver}, EVENT_AREA_SIZE);
    ring->device_event =
        window_translate(vq->window, (struct guest_addr){state->device}, EVENT_AREA_SIZE);
    settle_batch(vq);
    ring->used_position = state->next_used;
    ring->avail_position = state->next_used;
    ring->undecided = 0;
}

/* ---- Taking chains ---- */

/* §2.8.7: all entries of a table belong to the chain, and of their flags only WRITE counts. So
 * there is no nesting, either. */
static enum ring_check walk_table(const struct virtqueue *vq, struct chain *chain,
                                  const struct vring_packed_desc *from)
{
    const unsigned char *base = NULL;
    uint32_t count = 0;
    if (!vq->indirect)
        return CHECK_INDIRECT_FEATURE;
    enum ring_check check = indirect_table(vq, from->addr, from->len, &base, &count);
    if (check == CHECK_OK && count > CHAIN_SEGMENTS_MAX)
        check = CHECK_SEGMENTS;
    for (uint32_t i = 0; check == CHECK_OK && i < count; i++) {
        struct vring_packed_desc desc;
        guest_copy(&desc, base + i * sizeof(desc), sizeof(desc));
        check = chain_add(vq, chain, desc.addr, desc.len, (desc.flags & VRING_DESC_F_WRITE) != 0);
    }
    return check;
}

/*
 * Follow the chain at avail_position to its end. Every descriptor is copied once, when the walk
 * reaches it. The flags of the first one have been looked at before, but from here on only the copy
 * is used. The walk ends where the descriptors begin that the driver has not got back yet, so what
 * is taken never exceeds the ring. *ret_offset: where it failed.
 */
static enum ring_check walk_chain(const struct virtqueue *vq, struct chain *chain,
                                  uint16_t *ret_offset)
{
    const struct packed_ring *ring = &vq->packed;
    uint32_t room = vq->size - distance(ring->used_position, ring->avail_position, vq->size);
    uint16_t position = ring->avail_position;
    for (uint32_t visited = 0;; position = advance(position, 1, vq->size)) {
        struct vring_packed_desc desc;
        *ret_offset = offset_of(position);
        if (visited == room)
            return CHECK_LOOP;
        if (visited == CHAIN_SEGMENTS_MAX)
            return CHECK_SEGMENTS;
        guest_copy(&desc, &ring->desc[offset_of(position)], sizeof(desc));
        if (!packed_available(desc.flags, position))
            return CHECK_AVAILABLE;
        visited++;

        bool next = (desc.flags & VRING_DESC_F_NEXT) != 0;
        bool indirect = (desc.flags & VRING_DESC_F_INDIRECT) != 0;
        if (indirect && (next || visited > 1))
            return CHECK_INDIRECT_WITH_NEXT;
        enum ring_check check = indirect ? walk_table(vq, chain, &desc)
                                         : chain_add(vq, chain, desc.addr, desc.len,
                                                     (desc.flags & VRING_DESC_F_WRITE) != 0);
        if (check != CHECK_OK)
            return check;
        if (!next) {
            /* §2.8.6: the Buffer ID is that of the last descriptor. It may be any value: the driver
             * gets it back, and the worker does not use it. */
            chain->ref = (struct chain_ref){.id = desc.id, .descriptors = (uint16_t)visited};
            return CHECK_OK;
        }
    }
}

int packed_pop(struct virtqueue *vq, struct chain *ret_chain, struct guest_fault *ret_fault)
{
    struct packed_ring *ring = &vq->packed;
    uint16_t first = offset_of(ring->avail_position);
    /* Acquire: pairs with the driver's barrier between filling a chain's descriptors and buffers,
     * and its first descriptor's flags. Without it, descriptors and buffers could be read as they
     * were before. */
    uint16_t flags = __atomic_load_n(&ring->desc[first].flags, __ATOMIC_ACQUIRE);
    if (!packed_available(flags, ring->avail_position))
        return 0;
    chain_clear(ret_chain);
    uint16_t offset = first;
    enum ring_check check = walk_chain(vq, ret_chain, &offset);
    if (check == CHECK_LOOP || check == CHECK_SEGMENTS || check == CHECK_LENGTH)
        return ring_fault(ret_fault, LOG_CHAIN_INVALID, vq->index, first, check);
    if (check != CHECK_OK)
        return ring_fault(ret_fault, LOG_DESC_INVALID, vq->index, offset, check);
    ring->avail_position = advance(ring->avail_position, ret_chain->ref.descriptors, vq->size);
    vq->state->next_avail = ring->avail_position;
    vq->next_avail++;
    return 1;
}

/* ---- Giving them back ---- */

void packed_publish(struct virtqueue *vq)
{
    struct state_queue *state = vq->state;
    struct packed_ring *ring = &vq->packed;
    uint32_t descriptors = 0;
    for (uint32_t i = 0; i < vq->filled; i++)
        descriptors += state->batch[i].descriptors;
    uint16_t end = advance(ring->used_position, descriptors, vq->size);

    /* Between the steps it is enough to keep the compiler's order: a process dies between two
     * instructions, and its successor sees all that it has done. */
    state->batch_count = vq->filled;
    atomic_signal_fence(memory_order_seq_cst);
    state->batch_end = end;
    atomic_signal_fence(memory_order_seq_cst);
    write_batch(vq, ring->used_position, vq->filled);
    atomic_signal_fence(memory_order_seq_cst);
    state->next_used = end;

    ring->used_position = end;
    ring->undecided += descriptors;
    vq->next_used = (uint16_t)(vq->next_used + vq->filled);
    vq->filled = 0;
}

/* ---- Event suppression, §2.8.10 ---- */

/*
 * Is `event` among the `descriptors` before `position`? Positions repeat after two laps. But a
 * driver waits for something that is outstanding, so it is less than a lap ahead, or was passed
 * within the last lap.
 */
static bool passed(uint16_t event, uint16_t position, uint32_t descriptors, uint32_t size)
{
    uint32_t at = offset_of(event) + (wrap_counter(event) ? 0 : size);
    uint32_t now = offset_of(position) + (wrap_counter(position) ? 0 : size);
    if (offset_of(event) >= size)
        return true; /* such a position is never reached: one interrupt too many does no harm */
    uint32_t back = now > at ? now - at : now + 2 * size - at;
    return back <= descriptors && back <= size;
}

bool packed_interrupt_wanted(struct virtqueue *vq)
{
    struct packed_ring *ring = &vq->packed;
    uint32_t descriptors = ring->undecided;
    ring->undecided = 0;
    /* Only one load is made, since the driver may change both words. */
    uint32_t event = __atomic_load_n(ring->driver_event, __ATOMIC_RELAXED);
    uint32_t flags = event >> EVENT_FLAGS_SHIFT & EVENT_FLAGS_MASK;
    if (flags == VRING_PACKED_EVENT_FLAG_DESC && vq->event_idx)
        return passed(off_wrap((uint16_t)event), ring->used_position, descriptors, vq->size);
    return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
}

void packed_notify_off(struct virtqueue *vq)
{
    __atomic_store_n(vq->packed.device_event,
                     (uint32_t)VRING_PACKED_EVENT_FLAG_DISABLE << EVENT_FLAGS_SHIFT,
                     __ATOMIC_RELAXED);
}

void packed_notify_on(struct virtqueue *vq)
{
    uint32_t event = (uint32_t)VRING_PACKED_EVENT_FLAG_ENABLE << EVENT_FLAGS_SHIFT;
    if (vq->event_idx)
        event = (uint32_t)VRING_PACKED_EVENT_FLAG_DESC << EVENT_FLAGS_SHIFT |
                off_wrap(vq->packed.avail_position);
    __atomic_store_n(vq->packed.device_event, event, __ATOMIC_RELAXED);
}
