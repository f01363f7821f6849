/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VirtIO device: what every kind has in common, and the table of operations that makes a
 * kind. A process is one device, so a kind keeps its own state in static variables of its file.
 *
 * Errors of three kinds do not mix: the guest's end in device_needs_reset, the system's are
 * -errno, our own are assertions.
 */
#ifndef WORKER_DEVICE_H
#define WORKER_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/device_kind.h"
#include "common/message.h"
#include "common/state.h"
#include "worker/virtqueue/virtqueue.h"
#include "worker/virtqueue/window.h"

#define DEVICE_CONFIG_MAX 256u /* bytes of configuration space, §2.5 */

struct device;

/* What a step of a queue's turn came to (worker/turn.h), and what the turn did. */
enum serve {
    SERVE_DONE,         /* a step is done: go on with the next */
    SERVE_WAIT_ROOM,    /* there is no chain: the driver's kick will say when to go on */
    SERVE_WAIT_BACKEND, /* something else will: a file, a pause, another queue; no kick is needed */
    SERVE_FAULT,        /* the guest's fault, in *ret_fault: the device needs a reset */
    SERVE_END,          /* others first: the queue is to have another turn */
};

/* Which reason a kind has to call for device_needs_reset is in what it returns. */
struct device_ops {
    /*
     * Is the kind's part of START usable? The broker is trusted, yet a mistake there should end in
     * a message. Optional: whatever is in it can be used.
     */
    bool (*start_usable)(const struct message_start *start);
    /*
     * Before all else that is done with the backend: put into START what only a worker may ask for,
     * since the answer can take any time. Optional.
     */
    void (*measure)(struct message_start *start);
    /* How far the worker may write into a file, bytes: its RLIMIT_FSIZE. Optional: it writes none.
     */
    uint64_t (*file_size_max)(const struct message_start *start);
    /*
     * Before lock-down: set dev->features, the configuration space, user_queues and
     * backend_events, and do with the backend all that needs no guest. Returns 0 or -errno.
     */
    int (*init)(struct device *dev, const struct message_start *start);
    /*
     * In the confined process, but before the resource limits and the filter: what makes the
     * kernel take over this process's credentials. Returns 0 or -errno. Optional.
     */
    int (*confined)(struct device *dev);
    /*
     * DRIVER_OK is set and every ready ring has been checked; or, with `resumed`, a predecessor
     * had come so far. Returns 0; -EBADMSG with *ret_fault: needs reset. Optional.
     */
    int (*start)(struct device *dev, bool resumed, struct guest_fault *ret_fault);
    /* Touch neither the rings nor the interrupt from now on. Idempotent. Optional. */
    void (*stop)(struct device *dev);
    /* One queue became ready, or stopped being so, while the device runs. Optional. */
    int (*queue_start)(struct device *dev, unsigned int queue, struct guest_fault *ret_fault);
    void (*queue_stop)(struct device *dev, unsigned int queue);
    /*
     * Serve one of dev->user_queues for a bounded time: turn_run (worker/turn.h), mostly. Returns
     * anything but SERVE_DONE.
     */
    enum serve (*turn)(struct device *dev, unsigned int queue, struct guest_fault *ret_fault);
    /*
     * Backend file number `file` of those in dev->backend_events has something to say. Returns 0;
     * -EBADMSG with *ret_fault: needs reset. Optional.
     */
    int (*backend_event)(struct device *dev, unsigned int file, struct guest_fault *ret_fault);

    /*
     * The broker has changed dev->state->backend: take it over into the configuration space.
     * Returns true if that is another now. Called before the device first runs, too. Optional.
     */
    bool (*backend_changed)(struct device *dev);

    /*
     * A message of the broker's that this kind knows, with fds (now owned by the kind). Returns
     * false if it must not come: the worker then ends. Without it no message may come. Optional.
     */
    bool (*message)(struct device *dev, const union message *message, const int *fds,
                    size_t fd_count);
    /* A connection that was watched by loop_watch_connection: EPOLL* bits of what is to be done.
     * Optional. */
    void (*connection_event)(struct device *dev, unsigned int number, uint32_t events);

    /*
     * The driver writes to the configuration space, §2.5: `width` bytes of 1, 2, 4 or 8 at
     * `offset`, which with them is below config_size. Returns 0; -EBADMSG with *ret_fault: needs
     * reset. Without it every write is ignored, as writes to read-only fields are. Optional.
     */
    int (*write_config)(struct device *dev, uint32_t offset, unsigned int width, uint64_t value,
                        struct guest_fault *ret_fault);

    /* dev->pause_ms have passed, at least; it is 0 by now. Optional. */
    void (*pause_over)(struct device *dev);

    /*
     * Make the configuration space what it has to be by dev->state->of_kind and the features that
     * the driver has accepted: after a reset, once FEATURES_OK is set, and on a predecessor's page,
     * which is hostile. Returns 0; -EINVAL if this kind could not have written that: the page is
     * then given up. Optional.
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
    uint32_t backend_changes; /* of state->backend.changes, the last one taken over */
    uint32_t queue_size_max;
    uint32_t config_size;
    uint8_t config[DEVICE_CONFIG_MAX];
    bool config_changed; /* the driver of a predecessor has seen another configuration space */
    uint32_t work;       /* bit q: queue q needs a turn */
    unsigned int linger_looks; /* worker/linger.h */
    unsigned int pause_ms;     /* what is left until pause_over is called, at least; 0: it is not */
    struct virtqueue queues[STATE_QUEUES_MAX];
};

/* The worker's half of a kind, below DEVICE_KINDS. */
const struct device_ops *device_ops_of(uint32_t kind);

/* Can a device be made of it? Looks at nothing but the message. */
bool device_start_usable(const struct message_start *start);

/*
 * Make a device of what the broker says. `state` and `window` (shmem_size bytes) are mapped
 * and stay so; the fds are at their places (common/worker_fds.h), the backend's among them.
 * Reads neither. Before lock-down: may allocate and call whatever the backend needs, but for what
 * makes the kernel take over the caller's credentials: that is device_confined's.
 * Returns 0; -EINVAL if the message is not usable; -errno of a backend.
 */
int device_init(struct device *dev, const struct message_start *start, struct state_page *state,
                void *window);

/* After every layer but resource limits and filter (struct sandbox). Returns 0 or -errno. */
int device_confined(struct device *dev);

/*
 * Take over the state page: initialise a fresh one, check a used one and go on with it. An
 * interrupt is due then, since the predecessor may have died before it sent its last.
 */
void device_resume(struct device *dev);

/* §2.4: everything to its initial state, at any time. */
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

/* An available buffer notification for `queue`, by whichever way. */
void device_notify(struct device *dev, unsigned int queue);

/* Backend file `file` is readable. */
void device_backend_event(struct device *dev, unsigned int file);

/* The pause that the device asked for is over. */
void device_pause_over(struct device *dev);

/* Take over what the broker has said about the backend, if it is new. */
void device_backend_changed(struct device *dev);

/*
 * The control socket is readable: take what the broker has sent. Returns false if the broker is
 * gone, or has sent what this kind does not know: the worker then has nothing left to do.
 */
bool device_control_event(struct device *dev);

/* Serve each queue that needs it for a turn. */
void device_turns(struct device *dev);

/* §2.1: DRIVER_OK and not DEVICE_NEEDS_RESET. */
bool device_live(const struct device *dev);

/* The guest's fault: count it, say it, stop, set DEVICE_NEEDS_RESET, tell the driver. */
void device_needs_reset(struct device *dev, const struct guest_fault *fault);

/* Used Buffer Notification (VIRTIO_MMIO_INT_VRING), Configuration Change (_CONFIG), §4.2.2. */
void device_interrupt(struct device *dev, uint32_t bits);

/* Interrupt the driver, if one is due for what the queue has published. */
void device_signal(struct device *dev, struct virtqueue *vq);

/* Answer the broker's question whether this process is alive. */
static inline void device_alive(struct device *dev)
{
    struct state_watch *watch = &dev->state->watch;
    uint32_t asked = atomic_load_explicit(&watch->asked, memory_order_relaxed);
    if (asked != atomic_load_explicit(&watch->answered, memory_order_relaxed))
        atomic_store_explicit(&watch->answered, asked, memory_order_relaxed);
}

/* Around a system call that waits for a disk: however long it takes, the broker does not take this
 * process for one that is stuck. */
static inline void device_io_begins(struct device *dev)
{
    atomic_store_explicit(&dev->state->watch.in_io, 1, memory_order_relaxed);
}

static inline void device_io_ends(struct device *dev)
{
    atomic_store_explicit(&dev->state->watch.in_io, 0, memory_order_relaxed);
}

/* Statistics: one writer, any number of readers. */
static inline void device_count(uint64_t *counter, uint64_t add)
{
    __atomic_store_n(counter, *counter + add, __ATOMIC_RELAXED);
}

#define DEVICE_KIND(name, backend, ops, ...) extern const struct device_ops ops;
#include "common/kinds.def"
#undef DEVICE_KIND

#endif
