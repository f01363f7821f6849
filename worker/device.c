/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/device.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <string.h>
#include <unistd.h>

#include "common/eventfd.h"
#include "common/wait.h"
#include "worker/log.h"
#include "worker/state_check.h"
#include "worker/ticks.h"
#include "worker/transport.h"
#include "worker/virtqueue/poison.h"

static const struct device_ops *const ops_of_kind[DEVICE_KINDS] = {
#define DEVICE_KIND(name, backend, ops, ...) [DEVICE_##name] = &(ops),
#include "common/kinds.def"
#undef DEVICE_KIND
};

#define WINDOW_ALIGNMENT 4096u /* the smallest page, so that guest alignment and ours agree */

/* The features of worker/virtqueue/virtqueue.h. If the kernel or a daemon serves a queue, the kind
 * says which features that side has: a device has the same features for all of its queues. */
#define QUEUE_FEATURES                                                                             \
    (1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX |                       \
     1ull << VIRTIO_F_RING_PACKED | 1ull << VIRTIO_F_IN_ORDER | 1ull << VIRTIO_F_RING_RESET)

#define QUEUE_SIZE_MIN 4u /* a block request takes three descriptors */

const struct device_ops *device_ops_of(uint32_t kind)
{
    return ops_of_kind[kind];
}

static bool queues_usable(const struct message_start *start)
{
    uint32_t size = start->queue_size_max;
    return start->queue_count > 0 && start->queue_count <= device_kinds[start->kind].queues_max &&
           size >= QUEUE_SIZE_MIN && size <= QUEUE_SIZE_MAX && (size & (size - 1)) == 0;
}

static bool window_usable(const struct message_start *start)
{
    return start->shmem_size != 0 && start->shmem_addr % WINDOW_ALIGNMENT == 0 &&
           start->shmem_size - 1 <= UINT64_MAX - start->shmem_addr;
}

bool device_start_usable(const struct message_start *start)
{
    const struct device_kind_info *info = device_kind_info(start->kind);
    if (!info || !queues_usable(start) || !window_usable(start))
        return false;
    const struct device_ops *ops = ops_of_kind[start->kind];
    return start->backend_fd_count <= info->backend_fds_max &&
           start->boxed >> start->backend_fd_count == 0 &&
           start->irq_delay_us <= IRQ_DELAY_US_MAX &&
           (info->connections_max == 0 ||
            start->of_kind.vsock.connections <= info->connections_max) &&
           (!ops->start_usable || ops->start_usable(start));
}

int device_init(struct device *dev, const struct message_start *start, struct state_page *state,
                void *window)
{
    if (!device_start_usable(start))
        return -EINVAL;
    *dev = (struct device){
        .ops = ops_of_kind[start->kind],
        .info = &device_kinds[start->kind],
        .kind = (enum device_kind)start->kind,
        .state = state,
        .window = {.base = window, .guest_base = start->shmem_addr, .size = start->shmem_size},
        .virtio_id = start->virtio_id,
        .queue_size_max = start->queue_size_max,
        .queue_count = start->queue_count,
        .backend_fd_count = start->backend_fd_count,
        .config_changed = start->config_changed != 0,
    };
    log_init(start->header.device);
    int r = dev->ops->init(dev, start);
    if (r < 0)
        return r;
    /* Without ACCESS_PLATFORM a Linux driver would put its buffers outside the window. */
    dev->features |= 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM;
    ticks_init();
    dev->irq_delay = ticks_of_us(start->irq_delay_us);
    polling_init(&dev->polling, dev->user_queues != 0 ? start->poll_us : 0,
                 dev->backend_events != 0 || dev->ops->connection_event);
    if (dev->user_queues == (1u << dev->queue_count) - 1)
        dev->features |= QUEUE_FEATURES;
    dev->features &= ~start->features_off;
    return 0;
}

int device_confined(struct device *dev)
{
    return dev->ops->confined ? dev->ops->confined(dev) : 0;
}

bool device_live(const struct device *dev)
{
    uint32_t status = dev->state->transport.status;
    return (status & VIRTIO_CONFIG_S_DRIVER_OK) != 0 && (status & VIRTIO_CONFIG_S_NEEDS_RESET) == 0;
}

static bool user_queue(const struct device *dev, unsigned int queue)
{
    return (dev->user_queues & 1u << queue) != 0;
}

/* ---- Notifications ---- */

void device_interrupt(struct device *dev, uint32_t bits)
{
    struct state_interrupt *interrupt = &dev->state->interrupt;
    /* Both are sequentially consistent. They pair with the broker, which clears `raised` and then
     * looks at `pending` (broker/gate.h). If a bit was set already, the broker has been told, or
     * will look. */
    if (atomic_fetch_or(&interrupt->pending, bits) == 0 && atomic_load(&interrupt->raised) == 0)
        (void)eventfd_signal(WORKER_FD_CALL);
    device_count(&dev->state->counters.interrupts_sent, 1);
}

void device_config_changed(struct device *dev)
{
    dev->state->transport.config_generation++;
    if (device_live(dev))
        device_interrupt(dev, VIRTIO_MMIO_INT_CONFIG);
}

/* Acquire: pairs with the broker's release after it has written the change. */
static bool take_backend_change(struct device *dev)
{
    uint32_t changes = atomic_load_explicit(&dev->state->backend.changes, memory_order_acquire);
    if (changes == dev->backend_changes || !dev->ops->backend_changed)
        return false;
    dev->backend_changes = changes;
    return dev->ops->backend_changed(dev);
}

void device_backend_changed(struct device *dev)
{
    if (take_backend_change(dev))
        device_config_changed(dev);
}

/* An interrupt is for all queues of the device, §4.2.2: what has waited is told with it. */
static bool late_due(struct device *dev)
{
    bool due = false;
    dev->late_awake = 0;
    for (; dev->late != 0; dev->late &= dev->late - 1)
        due |= virtqueue_interrupt_due(&dev->queues[__builtin_ctz(dev->late)]);
    return due;
}

static void forget_late(struct device *dev, uint32_t queues)
{
    dev->late &= ~queues;
    dev->late_awake &= ~queues;
}

static void interrupt_if(struct device *dev, bool due)
{
    if (due)
        device_interrupt(dev, VIRTIO_MMIO_INT_VRING);
    else
        device_count(&dev->state->counters.interrupts_suppressed, 1);
}

void device_signal(struct device *dev, struct virtqueue *vq)
{
    if (!virtqueue_undecided(vq))
        return;
    forget_late(dev, 1u << vq->index);
    bool due = virtqueue_interrupt_due(vq);
    if (due)
        (void)late_due(dev);
    interrupt_if(dev, due);
}

void device_signal_late(struct device *dev, const struct virtqueue *vq, uint64_t ticks)
{
    if (!virtqueue_undecided(vq))
        return;
    const uint64_t until = ticks_now() + ticks;
    if (dev->late == 0 || until < dev->late_until)
        dev->late_until = until;
    dev->late |= 1u << vq->index;
}

void device_signal_while_polling(struct device *dev, const struct virtqueue *vq)
{
    device_signal_late(dev, vq, dev->polling.max);
    dev->late_awake |= dev->late & 1u << vq->index;
}

/* A time further away than any that was set is over as well: the counter has jumped. */
static uint64_t late_left(const struct device *dev)
{
    const uint64_t left = dev->late_until - ticks_now();
    return left <= ticks_of_us(IRQ_DELAY_US_MAX) ? left : 0;
}

void device_late_is_over(struct device *dev, bool now)
{
    if (dev->late != 0 && (now || late_left(dev) == 0))
        interrupt_if(dev, late_due(dev));
}

void device_late_before_sleep(struct device *dev)
{
    if (dev->late_awake != 0)
        device_late_is_over(dev, true);
}

uint64_t device_late_ns(const struct device *dev)
{
    return dev->late != 0 ? ticks_to_ns(late_left(dev)) : WAIT_FOR_EVER;
}

void device_notify(struct device *dev, unsigned int queue)
{
    if (queue >= dev->queue_count)
        return;
    device_count(&dev->state->counters.kicks, 1);
    if (user_queue(dev, queue)) {
        dev->work |= 1u << queue;
        return;
    }
    /* The kick came as a register access, and is for the side that watches this eventfd. */
    (void)eventfd_signal(device_kick_fd(dev, queue));
}

/* ---- Running and not running ---- */

/* Returns false if the page holds what this kind could not have written. */
static bool adopt(struct device *dev)
{
    return !dev->ops->adopt || dev->ops->adopt(dev) == 0;
}

void device_features_ok(struct device *dev)
{
    (void)adopt(dev); /* the page has passed the check before */
}

static void stop(struct device *dev)
{
    if (dev->ops->stop)
        dev->ops->stop(dev);
    for (unsigned int q = 0; q < dev->queue_count; q++)
        virtqueue_stop(&dev->queues[q]);
    dev->work = 0;
    dev->unasked = 0;
    forget_late(dev, dev->late);
}

void device_needs_reset(struct device *dev, const struct guest_fault *fault)
{
    struct state_transport *transport = &dev->state->transport;
    log_send(fault->code, fault->args);
    device_count(&dev->state->counters.guest_errors, 1);
    transport->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    stop(dev);
    if ((transport->status & VIRTIO_CONFIG_S_DRIVER_OK) != 0)
        device_interrupt(dev, VIRTIO_MMIO_INT_CONFIG);
}

static int start_queue(struct device *dev, unsigned int queue, struct guest_fault *ret_fault)
{
    struct state_queue *state = &dev->state->queues[queue];
    uint64_t features = dev->state->transport.driver_features;
    if (user_queue(dev, queue)) {
        /* The queue gets a turn at once: the driver's kick may have gone to a predecessor. */
        dev->work |= 1u << queue;
        return virtqueue_start(&dev->queues[queue], queue, &dev->window, state, dev->queue_size_max,
                               features, ret_fault);
    }
    if (virtqueue_usable(state, &dev->window, dev->queue_size_max, features))
        return 0;
    *ret_fault = (struct guest_fault){LOG_QUEUE_INVALID, {queue, state->size}};
    return -EBADMSG;
}

static int start_all(struct device *dev, bool resumed, struct guest_fault *ret_fault)
{
    for (unsigned int q = 0; q < dev->queue_count; q++) {
        if (dev->state->queues[q].ready == 0)
            continue;
        int r = start_queue(dev, q, ret_fault);
        if (r < 0)
            return r;
    }
    return dev->ops->start ? dev->ops->start(dev, resumed, ret_fault) : 0;
}

void device_start(struct device *dev)
{
    struct guest_fault fault;
    if (!device_live(dev)) {
        /* The device needed a reset before DRIVER_OK, when the driver could not be interrupted,
         * §2.1.2. */
        device_interrupt(dev, VIRTIO_MMIO_INT_CONFIG);
        return;
    }
    log_event(LOG_DRIVER_OK, dev->state->transport.driver_features);
    if (start_all(dev, false, &fault) < 0)
        device_needs_reset(dev, &fault);
}

void device_queue_ready(struct device *dev, unsigned int queue)
{
    struct guest_fault fault;
    struct state_queue *state = &dev->state->queues[queue];
    if (state->size == 0)
        state->size = dev->queue_size_max;
    state->next_used = 0;
    state->batch_end = 0;
    state->next_avail = 0;
    atomic_signal_fence(
        memory_order_seq_cst); /* a ready queue is believed, a process dies anywhere */
    state->ready = 1;
    if (!device_live(dev))
        return;
    int r = start_queue(dev, queue, &fault);
    if (r == 0 && dev->ops->queue_start)
        r = dev->ops->queue_start(dev, queue, &fault);
    if (r < 0)
        device_needs_reset(dev, &fault);
}

void device_queue_unready(struct device *dev, unsigned int queue)
{
    if (dev->ops->queue_stop)
        dev->ops->queue_stop(dev, queue);
    virtqueue_stop(&dev->queues[queue]);
    dev->work &= ~(1u << queue);
    dev->unasked &= ~(1u << queue);
    forget_late(dev, 1u << queue);
    dev->state->queues[queue].ready = 0;
}

void device_reset(struct device *dev)
{
    if (dev->state->transport.status != 0)
        log_event(LOG_RESET, 0);
    stop(dev);
    state_reset(dev->state, 0);
    atomic_store(&dev->state->interrupt.pending, 0);
    poison_forget(dev->state);
    (void)adopt(dev);
}

/* ---- A predecessor's page ---- */

/* Nothing in the page can be trusted. Only the driver's status bits stay, and the driver is told
 * that the device needs a reset. */
static void abandon_state(struct device *dev, enum state_check check)
{
    struct state_transport *transport = &dev->state->transport;
    uint32_t status = transport->status & TRANSPORT_STATUS_DRIVER;
    state_init(dev, dev->state);
    (void)adopt(dev);
    transport->status = status;
    device_needs_reset(dev, &(struct guest_fault){LOG_STATE_INVALID, {check}});
}

void device_resume(struct device *dev)
{
    struct state_transport *transport = &dev->state->transport;
    struct guest_fault fault;
    (void)take_backend_change(dev); /* the kind itself tells a driver that saw another value */
    device_io_ends(dev);            /* a predecessor can have died in it */
    if (state_is_fresh(dev->state)) {
        state_init(dev, dev->state);
        (void)adopt(dev);
        return;
    }
    enum state_check check = state_check(dev);
    if (check == STATE_OK && !adopt(dev))
        check = STATE_BAD_OF_KIND;
    if (check != STATE_OK) {
        abandon_state(dev, check);
        return;
    }
    log_event(LOG_RESUMED, transport->status);
    if (dev->config_changed)
        device_config_changed(dev);
    if ((transport->status & VIRTIO_CONFIG_S_DRIVER_OK) == 0)
        return;
    if (!device_live(dev)) {
        device_interrupt(dev, VIRTIO_MMIO_INT_CONFIG);
        return;
    }
    unsigned int queue;
    if (poison_found(dev->state, &queue)) {
        const struct state_queue *poisoned = &dev->state->queues[queue];
        device_needs_reset(
            dev, &(struct guest_fault){LOG_POISONED, {queue, poisoned->next_used, POISON_DEATHS}});
        return;
    }
    if (start_all(dev, true, &fault) < 0)
        device_needs_reset(dev, &fault);
    else
        device_interrupt(dev, VIRTIO_MMIO_INT_VRING);
}

/* ---- Work ---- */

/* Chains in rings for which kicks are not asked for become work. */
static void look_at_rings(struct device *dev)
{
    for (uint32_t rest = dev->unasked; rest != 0; rest &= rest - 1) {
        unsigned int q = (unsigned int)__builtin_ctz(rest);
        if (virtqueue_available(&dev->queues[q]))
            dev->work |= 1u << q;
    }
}

void device_turns(struct device *dev)
{
    struct guest_fault fault;
    /* While another queue is busy, nobody else finds what comes without a kick. */
    look_at_rings(dev);
    /* Downwards: of a pair, the queue to the device comes first. What it sends may have an answer,
     * which the queue to the driver then brings in the same round. */
    for (unsigned int q = dev->queue_count; q-- > 0 && dev->work != 0;) {
        if ((dev->work & 1u << q) == 0)
            continue;
        if (!dev->queues[q].running) {
            dev->work &= ~(1u << q);
            continue;
        }
        dev->unasked &= ~(1u << q);
        poison_turn_begins(dev->state, q);
        enum serve r = dev->ops->turn(dev, q, &fault);
        poison_turn_ends(dev->state);
        if (r == SERVE_FAULT)
            device_needs_reset(dev, &fault);
        else if (r == SERVE_WAIT_ROOM || r == SERVE_WAIT_BACKEND)
            dev->work &= ~(1u << q);
    }
}

bool device_look(struct device *dev)
{
    struct state_mailbox *mailbox = &dev->state->mailbox;
    /* These loads are hints: the code that takes the chain or the access reads the index again,
     * with acquire. */
    uint32_t request = atomic_load_explicit(&mailbox->request_seq, memory_order_relaxed);
    if (request != atomic_load_explicit(&mailbox->response_seq, memory_order_relaxed))
        return true;
    look_at_rings(dev);
    return dev->work != 0;
}

void device_ask_for_kicks(struct device *dev)
{
    for (; dev->unasked != 0; dev->unasked &= dev->unasked - 1) {
        unsigned int q = (unsigned int)__builtin_ctz(dev->unasked);
        if (!virtqueue_enable_notify(&dev->queues[q]))
            dev->work |= 1u << q;
    }
}

void device_backend_event(struct device *dev, unsigned int file, uint32_t events)
{
    struct guest_fault fault;
    if (dev->ops->backend_event && dev->ops->backend_event(dev, file, events, &fault) < 0)
        device_needs_reset(dev, &fault);
}

void device_pause_over(struct device *dev)
{
    dev->pause_ms = 0;
    dev->ops->pause_over(dev);
}

#define MESSAGES_A_ROUND                                                                           \
    16 /* the control socket is watched by level: the rest is not forgotten                        \
        */

bool device_control_event(struct device *dev)
{
    if (!dev->ops->message)
        return false;
    for (unsigned int i = 0; i < MESSAGES_A_ROUND; i++) {
        union message message;
        int fds[MESSAGE_FDS_MAX];
        size_t fd_count;
        int r = message_receive(WORKER_FD_CONTROL, ROLE_BROKER, &message, fds, &fd_count);
        if (r == -EAGAIN)
            return true;
        if (r <= 0 || !dev->ops->message(dev, &message, fds, fd_count))
            return false;
    }
    return true;
}
