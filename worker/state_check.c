/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/state_check.h"

#include <linux/virtio_config.h>
#include <stddef.h>

#include "worker/device.h"
#include "worker/transport.h"
#include "worker/virtqueue/virtqueue.h"

static bool all_zero(const void *from, size_t length)
{
    const unsigned char *bytes = from;
    unsigned char any = 0;
    for (size_t i = 0; i < length; i++)
        any |= bytes[i];
    return any == 0;
}

bool state_is_fresh(const struct state_page *state)
{
    return state->magic == 0 && all_zero(&state->transport, sizeof(state->transport)) &&
           all_zero(state->queues, sizeof(state->queues)) &&
           all_zero(&state->of_kind, sizeof(state->of_kind));
}

/* §3.1.1: the order in which a driver sets the bits; transport.c keeps to it. */
static bool status_valid(uint32_t status)
{
    if ((status & ~(TRANSPORT_STATUS_DRIVER | VIRTIO_CONFIG_S_NEEDS_RESET)) != 0)
        return false;
    /* If a device needs a reset, nothing else of its page is used: the page may have been given
     * up. */
    return (status & VIRTIO_CONFIG_S_NEEDS_RESET) != 0 ||
           (status & VIRTIO_CONFIG_S_DRIVER_OK) == 0 || (status & VIRTIO_CONFIG_S_FEATURES_OK) != 0;
}

/* The queue is checked whatever the status says. The driver can bring a device that does not run to
 * DRIVER_OK, and its rings are then served from where the page says. */
static enum state_check check_queue(const struct device *dev, const struct state_queue *queue)
{
    if (queue->ready > 1)
        return STATE_BAD_READY;
    if (queue->ready == 0)
        return STATE_OK; /* its positions are set to 0 before it becomes ready */
    const struct state_transport *transport = &dev->state->transport;
    uint64_t features = transport->driver_features;
    bool usable = virtqueue_usable(queue, &dev->window, dev->queue_size_max, features);
    if (device_live(dev) && !usable)
        return STATE_BAD_RING;
    if (virtqueue_untouched(queue))
        return STATE_OK; /* a driver may describe any ring until it sets DRIVER_OK */
    bool has_run = (transport->status & VIRTIO_CONFIG_S_DRIVER_OK) != 0 && usable;
    return has_run && virtqueue_indices_valid(queue, features) ? STATE_OK : STATE_BAD_INDEX;
}

enum state_check state_check(const struct device *dev)
{
    const struct state_page *state = dev->state;
    const struct state_transport *transport = &state->transport;
    if (state->magic != STATE_MAGIC)
        return STATE_BAD_MAGIC;
    if (state->version != STATE_VERSION)
        return STATE_BAD_VERSION;
    if (state->kind != dev->kind || state->queue_count != dev->queue_count)
        return STATE_BAD_KIND;
    if (!status_valid(transport->status))
        return STATE_BAD_STATUS;
    if ((transport->status & VIRTIO_CONFIG_S_FEATURES_OK) != 0 &&
        (transport->status & VIRTIO_CONFIG_S_NEEDS_RESET) == 0 && !transport_features_valid(dev))
        return STATE_BAD_FEATURES;
    for (uint32_t q = 0; q < dev->queue_count; q++) {
        enum state_check check = check_queue(dev, &state->queues[q]);
        if (check != STATE_OK)
            return check;
    }
    return STATE_OK;
}

void state_init(const struct device *dev, struct state_page *state)
{
    state_reset(state, 0);
    state->transport.config_generation = 0;
    state_finish(state, dev->kind, dev->queue_count);
}
