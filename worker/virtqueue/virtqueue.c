/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/virtqueue/virtqueue.h"

#include <linux/virtio_config.h>
#include <stddef.h>

#include "worker/virtqueue/format.h"

_Static_assert(sizeof(struct vring_desc) == sizeof(struct vring_packed_desc), "indirect_table");

/* What the code here needs from QUEUE_SIZE_MAX (common/device_kind.h). */
_Static_assert((QUEUE_SIZE_MAX & (QUEUE_SIZE_MAX - 1)) == 0, "counts of 16 bits index `taken`");
_Static_assert(QUEUE_SIZE_MAX <= STATE_POSITION_LAP, "a position has 15 bits for the offset");

static bool negotiated(uint64_t features, unsigned int bit)
{
    return (features & 1ull << bit) != 0;
}

/* ---- The queue, whatever its format ---- */

bool virtqueue_usable(const struct state_queue *state, const struct window *window,
                      uint32_t size_max, uint64_t features)
{
    if (state->size == 0 || state->size > size_max)
        return false;
    return negotiated(features, VIRTIO_F_RING_PACKED) ? packed_usable(state, window)
                                                      : split_usable(state, window);
}

bool virtqueue_indices_valid(const struct state_queue *state, uint64_t features)
{
    return negotiated(features, VIRTIO_F_RING_PACKED) ? packed_indices_valid(state)
                                                      : split_indices_valid(state);
}

bool virtqueue_untouched(const struct state_queue *state)
{
    return state->next_used == 0 && state->batch_end == 0 && state->next_avail == 0;
}

int virtqueue_start(struct virtqueue *vq, unsigned int index, const struct window *window,
                    struct state_queue *state, uint32_t size_max, uint64_t features,
                    struct guest_fault *ret_fault)
{
    if (!virtqueue_usable(state, window, size_max, features))
        return ring_fault(ret_fault, LOG_QUEUE_INVALID, index, state->size, 0);
    /* Checked here even if the page was checked before: a position outside the ring would be
     * written to. */
    if (!virtqueue_indices_valid(state, features))
        return ring_fault(ret_fault, LOG_POSITION_INVALID, index, state->next_used,
                          state->batch_end);

    *vq = (struct virtqueue){
        .window = window,
        .state = state,
        .index = index,
        .is_packed = negotiated(features, VIRTIO_F_RING_PACKED),
        .event_idx = negotiated(features, VIRTIO_RING_F_EVENT_IDX),
        .indirect = negotiated(features, VIRTIO_RING_F_INDIRECT_DESC),
        .signal_always = true,
        .size = (uint16_t)state->size,
    };
    if (vq->is_packed) {
        packed_start(vq);
    } else {
        int r = split_start(vq, ret_fault);
        if (r < 0)
            return r;
    }
    vq->running = true;
    vq->ahead.next_avail = vq->next_avail;
    return 0;
}

void virtqueue_stop(struct virtqueue *vq)
{
    vq->running = false;
    vq->filled = 0;
}

int virtqueue_pop(struct virtqueue *vq, struct chain *ret_chain, struct guest_fault *ret_fault)
{
    const uint16_t taken = vq->next_avail;
    int r =
        vq->is_packed ? packed_pop(vq, ret_chain, ret_fault) : split_pop(vq, ret_chain, ret_fault);
    if (r <= 0)
        return r;
    vq->taken[taken % QUEUE_SIZE_MAX] = ret_chain->ref.id;
    /* Both counts have 16 bits: a place far behind would seem to be in front. */
    if (!virtqueue_was_shown(vq))
        vq->ahead.next_avail = taken;
    return r;
}

static struct virtqueue_place place(const struct virtqueue *vq)
{
    struct virtqueue_place place = {.next_avail = vq->next_avail};
    if (vq->is_packed)
        place.avail_position = vq->packed.avail_position;
    else
        place.avail_idx = vq->split.avail_idx;
    return place;
}

static void go_to(struct virtqueue *vq, const struct virtqueue_place *place)
{
    vq->next_avail = place->next_avail;
    if (vq->is_packed)
        vq->packed.avail_position = place->avail_position;
    else
        vq->split.avail_idx = place->avail_idx;
}

bool virtqueue_ahead(struct virtqueue *vq, struct chain *ret_chain)
{
    struct guest_fault unused;
    const struct virtqueue_place here = place(vq);
    const uint16_t taken = vq->state->next_avail;
    if ((int16_t)(vq->ahead.next_avail - vq->next_avail) > 0)
        go_to(vq, &vq->ahead);
    int r = vq->is_packed ? packed_pop(vq, ret_chain, &unused) : split_pop(vq, ret_chain, &unused);
    if (r > 0)
        vq->ahead = place(vq);
    go_to(vq, &here);
    vq->state->next_avail = taken;
    return r > 0;
}

/*
 * Restarts rely on this, since there is no record of each chain in flight: every device completes
 * chains in the order in which it took them. A device that did not would have a defect that shows
 * only when a worker dies. With this check it shows at once.
 */
static void check_order(const struct virtqueue *vq, uint16_t id)
{
    uint16_t place = (uint16_t)(vq->next_used + vq->filled);
    if (place == vq->next_avail || vq->taken[place % QUEUE_SIZE_MAX] != id)
        __builtin_trap();
}

void virtqueue_push(struct virtqueue *vq, struct chain_ref ref, uint32_t length)
{
    if (vq->filled == STATE_BATCH_MAX)
        virtqueue_publish(vq);
    check_order(vq, ref.id);
    vq->state->batch[vq->filled++] =
        (struct state_used){.id = ref.id, .descriptors = ref.descriptors, .length = length};
}

void virtqueue_publish(struct virtqueue *vq)
{
    if (vq->filled == 0)
        return;
    if (vq->is_packed)
        packed_publish(vq);
    else
        split_publish(vq);
}

bool virtqueue_interrupt_due(struct virtqueue *vq)
{
    uint16_t old = vq->decided;
    vq->decided = vq->next_used;
    /* Pairs with the driver's full barrier between writing its event words (used_event or
     * avail->flags; the Driver Event Suppression structure) and looking for used chains. Without
     * it, this side could read the old words before its published chains can be seen, while the
     * driver does not see them and sleeps. Then no interrupt would ever come. */
    atomic_thread_fence(memory_order_seq_cst);
    bool wanted = vq->is_packed ? packed_interrupt_wanted(vq) : split_interrupt_wanted(vq, old);
    if (!wanted && !vq->signal_always)
        return false;
    vq->signal_always = false;
    vq->signalled = vq->next_used;
    return true;
}

/* §2.7.10. With EVENT_IDX nothing is to be done: the driver does not kick once it has passed the
 * event index. */
void virtqueue_disable_notify(struct virtqueue *vq)
{
    if (vq->event_idx || vq->notify_off)
        return;
    vq->notify_off = true;
    if (vq->is_packed)
        packed_notify_off(vq);
    else
        split_notify_off(vq);
}

bool virtqueue_enable_notify(struct virtqueue *vq)
{
    vq->notify_off = false;
    if (vq->is_packed)
        packed_notify_on(vq);
    else
        split_notify_on(vq);
    /* Pairs with the driver's full barrier between making a chain available and reading
     * avail_event, used->flags or the Device Event Suppression structure. Without it, both could
     * read the old values: the driver does not kick, and this side does not look. */
    atomic_thread_fence(memory_order_seq_cst);
    return !virtqueue_available(vq);
}
