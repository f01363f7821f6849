/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VirtIO device: what all kinds have in common, and the table of operations that each kind
 * provides. A process is one device, so a kind keeps its own state in static variables of its file.
 *
 * There are three sorts of errors, which do not mix: errors of the guest end in device_needs_reset,
 * errors of the system are -errno, and our own errors are assertions.
 */
#ifndef WORKER_DEVICE_H
#define WORKER_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/device_kind.h"
#include "common/message.h"
#include "common/state.h"
#include "worker/polling.h"
#include "worker/virtqueue/virtqueue.h"
#include "worker/virtqueue/window.h"

#define DEVICE_CONFIG_MAX 256u /* bytes of configuration space, §2.5 */

struct device;

/* The result of one step of a queue's turn (worker/turn.h), and of the whole turn. */
enum serve {
    SERVE_DONE,         /* a step is done: go on with the next */
    SERVE_WAIT_ROOM,    /* there is no chain: the driver's kick will say when to go on */
    SERVE_WAIT_BACKEND, /* a file, a pause or another queue will say when; no kick is needed */
    SERVE_FAULT,        /* the guest made the error in *ret_fault: the device needs a reset */
    SERVE_END,          /* others have their turn first: the queue is to have another one */
};

/* A kind does not call device_needs_reset itself: it returns the reason for it. */
struct device_ops {
    /*
     * Is the kind's part of START usable? The broker is trusted, yet a mistake there should end in
     * a message. Optional: without it every value is usable.
     */
    bool (*start_usable)(const struct message_start *start);
    /*
     * Called before anything else is done with the backend. Put into START what only a worker may
     * ask for, since the answer can take any time. Optional.
     */
    void (*measure)(struct message_start *start);
    /* How far the worker may write into a file, in bytes: its RLIMIT_FSIZE. Optional: without it
     * the worker writes no file. */
    uint64_t (*file_size_max)(const struct message_start *start);
    /*
     * Before lock-down: set dev->features, the configuration space, user_queues and backend_events,
     * and do all work on the backend that needs no guest. Returns 0 or -errno.
     */
    int (*init)(struct device *dev, const struct message_start *start);
    /*
     * Called in the confined process, but before the resource limits and the filter. Do here what
     * makes the kernel take over this process's credentials. Returns 0 or -errno. Optional.
     */
    int (*confined)(struct device *dev);
    /*
     * DRIVER_OK is set, and every ready ring has been checked. With `resumed`, a predecessor had
     * come this far. Returns 0; -EBADMSG with *ret_fault: needs reset. Optional.
     */
    int (*start)(struct device *dev, bool resumed, struct guest_fault *ret_fault);
    /* Touch neither the rings nor the interrupt from now on. Idempotent. Optional. */
    void (*stop)(struct device *dev);
    /* One queue became ready, or is no longer ready, while the device runs. Optional. */
    int (*queue_start)(struct device *dev, unsigned int queue, struct guest_fault *ret_fault);
    void (*queue_stop)(struct device *dev, unsigned int queue);
    /*
     * Serve one of dev->user_queues for a bounded time, mostly by turn_run (worker/turn.h). Returns
     * any value except SERVE_DONE.
     */
    enum serve (*turn)(struct device *dev, unsigned int queue, struct guest_fault *ret_fault);
    /*
     * There is an event on backend file number `file`, one of those in dev->backend_events.
     * `events`: everything that is true of the file now, EPOLL* bits. What becomes true later is
     * another event. Returns 0; -EBADMSG with *ret_fault: needs reset. Optional.
     */
    int (*backend_event)(struct device *dev, unsigned int file, uint32_t events,
                         struct guest_fault *ret_fault);

    /*
     * The broker has changed dev->state->backend: take the change over into the configuration
     * space. Returns true if the configuration space has changed. Also called before the device
     * first runs. Optional.
     */
    bool (*backend_changed)(struct device *dev);

    /*
     * A message from the broker that this kind knows, with fds (now owned by the kind). Returns
     * false if this message must not come: the worker then ends. Without this operation no message
     * may come. Optional.
     */
    bool (*message)(struct device *dev, const union message *message, const int *fds,
                    size_t fd_count);
    /* There is an event on a connection that loop_watch_connection watches: EPOLL* bits.
     * Optional. */
    void (*connection_event)(struct device *dev, unsigned int number, uint32_t events);

    /*
     * The driver writes to the configuration space, §2.5: `width` bytes (1, 2, 4 or 8) at `offset`,
     * all of them below config_size. Returns 0; -EBADMSG with *ret_fault: needs reset. Without this
     * operation every write is ignored, as writes to read-only fields are. Optional.
     */
    int (*write_config)(struct device *dev, uint32_t offset, unsigned int width, uint64_t value,
                        struct guest_fault *ret_fault);

    /* At least dev->pause_ms have passed; it is 0 now. Optional. */
    void (*pause_over)(struct device *dev);

    /*
     * Set the configuration space as dev->state->of_kind and the features that the driver has
     * accepted require. Called after a reset, after FEATURES_OK is set, and on a predecessor's
     * page, which is hostile. Returns 0; -EINVAL if this kind could not have written this state:
     * the page is then given up. Optional.
     */
    int (*adopt)(struct device *dev);
};

struct device {
    const struct device_ops *ops;
    const struct device_kind_info *info;
    enum device_kind kind;
    struct state_page *state; /* shared with the broker, outlives this process */
    struct window window;
    uint64_t features; /* offered; a kind sets its own, the common ones are added */
    uint32_t virtio_id;
    uint32_t queue_count;
    uint32_t backend_fd_count;
    uint32_t user_queues;     /* bit q: queue q is served here, and not by a kernel or daemon */
    uint32_t backend_events;  /* bit f: file WORKER_FD_BACKEND + f is watched */
    uint32_t backend_writes;  /* bit f: it is watched for room to write as well */
    uint32_t backend_changes; /* the last state->backend.changes that was taken over */
    uint32_t queue_size_max;
    uint32_t config_size;
    uint8_t config[DEVICE_CONFIG_MAX];
    bool config_changed; /* the driver saw another configuration space with a predecessor */
    uint32_t work;       /* bit q: queue q needs a turn */
    uint32_t unasked;    /* bit q: queue q is empty, and kicks are not yet asked for */
    uint32_t late;       /* bit q: an interrupt may be due for queue q; it can wait */
    uint32_t late_awake; /* those of them that can't wait while the worker sleeps */
    uint64_t late_until; /* ticks_now() when none of them can wait any more */
    uint64_t irq_delay;  /* ticks; the key irq_delay_us */
    struct polling polling;
    uint32_t found_in_a_row; /* worker/loop.c */
    unsigned int pause_ms;   /* the least time until pause_over is called; 0: no call is due */
    struct virtqueue queues[STATE_QUEUES_MAX];
};

/* The worker's half of a kind; `kind` is below DEVICE_KINDS. */
const struct device_ops *device_ops_of(uint32_t kind);

/* Can a device be made of this message? Looks at nothing but the message. */
bool device_start_usable(const struct message_start *start);

/*
 * Make a device of what the broker says. `state` and `window` (shmem_size bytes) are mapped and
 * stay so; the fds are at their places (common/worker_fds.h), the backend's among them. This
 * function reads neither of them. Before lock-down: it may allocate memory and make any call that
 * the backend needs, except calls that make the kernel take over the caller's credentials:
 * device_confined makes those.
 * Returns 0; -EINVAL if the message is not usable; -errno of a backend.
 */
int device_init(struct device *dev, const struct message_start *start, struct state_page *state,
                void *window);

/* Called when every layer is in force except resource limits and filter (struct sandbox). Returns 0
 * or -errno. */
int device_confined(struct device *dev);

/*
 * Take over the state page: initialise a fresh page, or check a used page and go on with it. After
 * a used page an interrupt is due, since the predecessor may have died before it sent its last one.
 */
void device_resume(struct device *dev);

/* §2.4: set everything to its initial state. Allowed at any time. */
void device_reset(struct device *dev);

/* DRIVER_OK has been set: check the rings and start. */
void device_start(struct device *dev);

/* FEATURES_OK has been set. */
void device_features_ok(struct device *dev);

/* QueueReady has become 1 or 0. */
void device_queue_ready(struct device *dev, unsigned int queue);
void device_queue_unready(struct device *dev, unsigned int queue);

/* The configuration space has changed while the device runs, §2.5.1: tell the driver. */
void device_config_changed(struct device *dev);

/* The kick eventfd of a queue. */
static inline int device_kick_fd(const struct device *dev, unsigned int queue)
{
    return WORKER_FD_BACKEND + (int)(dev->backend_fd_count + queue);
}

/* An available buffer notification for `queue` has come, by any way. */
void device_notify(struct device *dev, unsigned int queue);

/* There is an event on backend file `file`: EPOLL* bits. */
void device_backend_event(struct device *dev, unsigned int file, uint32_t events);

/* The pause that the device asked for is over. */
void device_pause_over(struct device *dev);

/* Take over what the broker has said about the backend, if it is new. */
void device_backend_changed(struct device *dev);

/*
 * The control socket is readable: take what the broker has sent. Returns false if the broker is
 * gone, or has sent a message that this kind does not know: the worker then has nothing left to do.
 */
bool device_control_event(struct device *dev);

/* Serve each queue that needs it for a turn, also those with chains for which no kick comes. */
void device_turns(struct device *dev);

/* Look at the rings for which kicks are not asked for, and at the mailbox: is there something to
 * do? */
bool device_look(struct device *dev);

/* Ask for kicks for these rings. Chains that came before the driver knew become work. */
void device_ask_for_kicks(struct device *dev);

/* §2.1: is DRIVER_OK set, and DEVICE_NEEDS_RESET not set? */
bool device_live(const struct device *dev);

/* The guest made an error: count it, log it, stop, set DEVICE_NEEDS_RESET, tell the driver. */
void device_needs_reset(struct device *dev, const struct guest_fault *fault);

/* Send a Used Buffer Notification (VIRTIO_MMIO_INT_VRING) or a Configuration Change Notification
 * (_CONFIG), §4.2.2. */
void device_interrupt(struct device *dev, uint32_t bits);

/* Interrupt the driver, if one is due for what the queue has published. */
void device_signal(struct device *dev, struct virtqueue *vq);

/*
 * The same, but it can wait: for the next interrupt of the device, and for so many ticks,
 * those of IRQ_DELAY_US_MAX at most. If this process dies meanwhile, its successor interrupts
 * the driver in any case (device_resume).
 */
void device_signal_late(struct device *dev, const struct virtqueue *vq, uint64_t ticks);
/* It can wait until the worker stops polling. */
void device_signal_while_polling(struct device *dev, const struct virtqueue *vq);

/* Interrupt the driver for what has waited: all of it (`now`), or if the time is over. */
void device_late_is_over(struct device *dev, bool now);
/* The worker is about to sleep: do it now if something can't wait for so long. */
void device_late_before_sleep(struct device *dev);
/* The time that is left, in nanoseconds; WAIT_FOR_EVER (common/wait.h): nothing waits. */
uint64_t device_late_ns(const struct device *dev);

/* Answer the broker's question whether this process is alive. */
static inline void device_alive(struct device *dev)
{
    struct state_watch *watch = &dev->state->watch;
    uint32_t asked = atomic_load_explicit(&watch->asked, memory_order_relaxed);
    if (asked != atomic_load_explicit(&watch->answered, memory_order_relaxed))
        atomic_store_explicit(&watch->answered, asked, memory_order_relaxed);
}

/* Used around a system call that waits for a disk: however long it takes, the broker does not think
 * that this process is stuck. */
static inline void device_io_begins(struct device *dev)
{
    atomic_store_explicit(&dev->state->watch.in_io, 1, memory_order_relaxed);
}

static inline void device_io_ends(struct device *dev)
{
    atomic_store_explicit(&dev->state->watch.in_io, 0, memory_order_relaxed);
}

/* Add to a statistics counter: it has one writer and any number of readers. */
static inline void device_count(uint64_t *counter, uint64_t add)
{
    __atomic_store_n(counter, *counter + add, __ATOMIC_RELAXED);
}

#define DEVICE_KIND(name, backend, ops, ...) extern const struct device_ops ops;
#include "common/kinds.def"
#undef DEVICE_KIND

#endif
