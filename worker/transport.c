/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/transport.h"

#include <linux/virtio_mmio.h>
#include <string.h>
#include <unistd.h>

#include "common/eventfd.h"
#include "worker/device.h"
#include "worker/log.h"

#ifndef VIRTIO_MMIO_QUEUE_RESET
#define VIRTIO_MMIO_QUEUE_RESET 0x0c0 /* some installed headers do not have it yet */
#endif

#define MAGIC_VALUE 0x74726976u /* "virt" */
#define VERSION 2u
#define NO_QUEUE_SIZE UINT32_MAX /* stands for 0, which the state page uses otherwise */
#define NO_REGION UINT32_MAX     /* §4.2.2: length and base of a missing memory region */

/* ---- Configuration space, §2.5 ---- */

/* Any width and any offset are allowed; bytes beyond the device's fields read as 0. */
static uint64_t read_config(const struct device *dev, uint32_t offset, unsigned int width)
{
    uint64_t value = 0;
    uint32_t at = offset - VIRTIO_MMIO_CONFIG;
    if (width > sizeof(value) || at >= dev->config_size)
        return 0;
    uint32_t present = dev->config_size - at;
    memcpy(&value, dev->config + at, width < present ? width : present);
    return value;
}

/* A write that does not lie entirely within the device's fields is ignored. */
static void write_config(struct device *dev, uint32_t offset, unsigned int width, uint64_t value)
{
    struct guest_fault fault;
    uint32_t at = offset - VIRTIO_MMIO_CONFIG;
    if (!dev->ops->write_config || at >= dev->config_size || width > dev->config_size - at)
        return;
    if (dev->ops->write_config(dev, at, width, value, &fault) < 0)
        device_needs_reset(dev, &fault);
}

/* ---- Registers ---- */

/* The queue that QueueSel selects, or NULL if the device has none of that number. */
static struct state_queue *selected(const struct device *dev)
{
    uint32_t queue = dev->state->transport.queue_sel;
    return queue < dev->queue_count ? &dev->state->queues[queue] : NULL;
}

static uint32_t feature_word(uint64_t features, uint32_t sel)
{
    return sel < 2 ? (uint32_t)(features >> (32 * sel)) : 0;
}

uint64_t transport_read(const struct device *dev, uint32_t offset, unsigned int width)
{
    const struct state_transport *transport = &dev->state->transport;
    const struct state_queue *queue = selected(dev);
    if (offset >= VIRTIO_MMIO_CONFIG)
        return read_config(dev, offset, width);
    if (width != 4)
        return 0; /* §4.2.2.2: registers are accessed in 32 bits, aligned */

    switch (offset) {
    case VIRTIO_MMIO_MAGIC_VALUE:
        return MAGIC_VALUE;
    case VIRTIO_MMIO_VERSION:
        return VERSION;
    case VIRTIO_MMIO_DEVICE_ID:
        return dev->virtio_id;
    case VIRTIO_MMIO_VENDOR_ID:
        return TRANSPORT_VENDOR_ID;
    case VIRTIO_MMIO_DEVICE_FEATURES:
        return feature_word(dev->features, transport->device_features_sel);
    case VIRTIO_MMIO_QUEUE_NUM_MAX:
        return queue ? dev->queue_size_max : 0;
    case VIRTIO_MMIO_QUEUE_READY:
        return queue ? queue->ready : 0;
    case VIRTIO_MMIO_STATUS:
        return transport->status;
    case VIRTIO_MMIO_SHM_LEN_LOW:
    case VIRTIO_MMIO_SHM_LEN_HIGH:
    case VIRTIO_MMIO_SHM_BASE_LOW:
    case VIRTIO_MMIO_SHM_BASE_HIGH:
        return NO_REGION;
    case VIRTIO_MMIO_CONFIG_GENERATION:
        return transport->config_generation;
    default:
        /* QueueReset is among these: a reset is over before its write is answered. InterruptStatus
         * is answered by the broker, which raises the interrupts. */
        return 0;
    }
}

/* §2.2: final once FEATURES_OK is set. */
static void write_driver_features(struct device *dev, uint32_t value)
{
    struct state_transport *transport = &dev->state->transport;
    if ((transport->status & VIRTIO_CONFIG_S_FEATURES_OK) != 0)
        return;
    uint64_t low = (uint32_t)transport->driver_features;
    uint64_t high = transport->driver_features >> 32;
    switch (transport->driver_features_sel) {
    case 0:
        low = value;
        break;
    case 1:
        high = value;
        break;
    default:
        /* No feature above bit 63 is offered. A write there is remembered, so that FEATURES_OK can
         * be refused. */
        if (value != 0)
            transport->driver_features_beyond = 1;
        break;
    }
    transport->driver_features = low | high << 32;
}

bool transport_features_valid(const struct device *dev)
{
    const struct state_transport *transport = &dev->state->transport;
    return (transport->driver_features & ~dev->features) == 0 &&
           transport->driver_features_beyond == 0 &&
           (transport->driver_features & (1ull << VIRTIO_F_VERSION_1)) != 0;
}

/*
 * §2.1, §3.1.1: bits can only be added, and the last two only in order: FEATURES_OK needs features
 * that we can serve, and DRIVER_OK comes after it. A refused bit reads back as 0.
 */
static void write_status(struct device *dev, uint32_t value)
{
    struct state_transport *transport = &dev->state->transport;
    if (value == 0) {
        device_reset(dev);
        return;
    }
    uint32_t added = value & TRANSPORT_STATUS_DRIVER & ~transport->status;
    if ((added & VIRTIO_CONFIG_S_FEATURES_OK) != 0 && !transport_features_valid(dev)) {
        log_event(LOG_FEATURES_REFUSED, transport->driver_features);
        added &= ~(uint32_t)VIRTIO_CONFIG_S_FEATURES_OK;
    }
    if (((transport->status | added) & VIRTIO_CONFIG_S_FEATURES_OK) == 0)
        added &= ~(uint32_t)VIRTIO_CONFIG_S_DRIVER_OK;
    transport->status |= added;
    if ((added & VIRTIO_CONFIG_S_FEATURES_OK) != 0)
        device_features_ok(dev);
    if ((added & VIRTIO_CONFIG_S_DRIVER_OK) != 0)
        device_start(dev);
}

static void write_queue_ready(struct device *dev, uint32_t value)
{
    struct state_queue *queue = selected(dev);
    if (!queue || value > 1 || value == queue->ready)
        return;
    if (value == 1)
        device_queue_ready(dev, dev->state->transport.queue_sel);
    else
        device_queue_unready(dev, dev->state->transport.queue_sel);
}

/* §2.6.1: the reset is over when the write is answered. */
static void write_queue_reset(struct device *dev, uint32_t value)
{
    const struct state_transport *transport = &dev->state->transport;
    struct state_queue *queue = selected(dev);
    if (!queue || value != 1 || (transport->status & VIRTIO_CONFIG_S_FEATURES_OK) == 0 ||
        (transport->driver_features & (1ull << VIRTIO_F_RING_RESET)) == 0)
        return;
    device_queue_unready(dev, transport->queue_sel);
    memset(queue, 0, sizeof(*queue));
}

static void set_low(uint64_t *address, uint32_t value)
{
    *address = (*address & ~(uint64_t)UINT32_MAX) | value;
}

static void set_high(uint64_t *address, uint32_t value)
{
    *address = (uint32_t)*address | (uint64_t)value << 32;
}

/* Set the ring of the selected queue. It cannot change while the queue is ready, and is checked
 * when the queue starts. */
static void write_ring(struct device *dev, uint32_t offset, uint32_t value)
{
    struct state_queue *queue = selected(dev);
    if (!queue || queue->ready)
        return;
    switch (offset) {
    case VIRTIO_MMIO_QUEUE_NUM:
        queue->size = value > 0 ? value : NO_QUEUE_SIZE;
        break;
    case VIRTIO_MMIO_QUEUE_DESC_LOW:
        set_low(&queue->desc, value);
        break;
    case VIRTIO_MMIO_QUEUE_DESC_HIGH:
        set_high(&queue->desc, value);
        break;
    case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
        set_low(&queue->driver, value);
        break;
    case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
        set_high(&queue->driver, value);
        break;
    case VIRTIO_MMIO_QUEUE_USED_LOW:
        set_low(&queue->device, value);
        break;
    case VIRTIO_MMIO_QUEUE_USED_HIGH:
        set_high(&queue->device, value);
        break;
    default: /* a read-only register, or none */
        break;
    }
}

void transport_write(struct device *dev, uint32_t offset, unsigned int width, uint64_t value64)
{
    struct state_transport *transport = &dev->state->transport;
    uint32_t value = (uint32_t)value64;
    if (offset >= VIRTIO_MMIO_CONFIG) {
        write_config(dev, offset, width, value64);
        return;
    }
    if (width != 4)
        return;

    switch (offset) {
    case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        transport->device_features_sel = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        transport->driver_features_sel = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES:
        write_driver_features(dev, value);
        break;
    case VIRTIO_MMIO_QUEUE_SEL:
        transport->queue_sel = value;
        break;
    case VIRTIO_MMIO_QUEUE_READY:
        write_queue_ready(dev, value);
        break;
    case VIRTIO_MMIO_QUEUE_RESET:
        write_queue_reset(dev, value);
        break;
    case VIRTIO_MMIO_QUEUE_NOTIFY:
        device_notify(dev, value);
        break;
    case VIRTIO_MMIO_STATUS:
        write_status(dev, value);
        break;
    case VIRTIO_MMIO_SHM_SEL:
        transport->shm_sel = value;
        break;
    default:
        write_ring(dev, offset, value);
        break;
    }
}

/* ---- The mailbox ---- */

void transport_serve_mailbox(struct device *dev)
{
    struct state_mailbox *mailbox = &dev->state->mailbox;
    /* Acquire: pairs with the broker's release after it filled the request. */
    uint32_t seq = atomic_load_explicit(&mailbox->request_seq, memory_order_acquire);
    if (seq == atomic_load_explicit(&mailbox->response_seq, memory_order_relaxed))
        return;

    uint32_t offset = mailbox->offset;
    unsigned int width = mailbox->width;
    device_count(&dev->state->counters.register_accesses, 1);
    if (mailbox->is_write)
        transport_write(dev, offset, width, mailbox->value);
    else
        mailbox->answer = transport_read(dev, offset, width);

    /* Release: pairs with the broker's acquire before it takes the answer. */
    atomic_store_explicit(&mailbox->response_seq, seq, memory_order_release);
    (void)eventfd_signal(WORKER_FD_REPLY);
}
