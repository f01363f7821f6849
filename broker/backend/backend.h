/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's half of a device kind: what the device is made of on this machine. A kind is
 * one file that ends in one const table, which the kind's row names (common/kinds.def).
 *
 * Errors that a user can put right are found in `open`, before any worker of the device starts.
 */
#ifndef BROKER_BACKEND_H
#define BROKER_BACKEND_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "broker/backend/connector.h"
#include "broker/backend/dialogue.h"
#include "broker/backend/directory.h"
#include "broker/backend/tap.h"
#include "broker/config/config.h"
#include "broker/failure.h"
#include "common/message.h"
#include "common/state.h"

#define BACKEND_LISTENERS 2

/* What a kind keeps while it runs, besides what its configuration says and what `open` has
 * learned. */

struct backend_net {
    bool link_said; /* the worker has been told whether the link is up, */
    bool link_up;   /* and how it was */
    enum tap_place place;
};

struct backend_console {
    int readers;    /* epoll: reports the ports that nobody has open */
    bool size_said; /* the worker has been told a size, */
    uint32_t size;  /* and which one: columns << 16 | rows */
};

struct backend_daemon {
    struct vhost_user dialogue;
    uint32_t config_size; /* of the configuration space in the file; 0: it has none */
    uint8_t config[VHOST_USER_CONFIG_MAX];
    /* The configuration space of the last worker that was ready, which the driver may have seen;
     * and of the last one that was to start. */
    uint8_t shown[VHOST_USER_CONFIG_MAX], given[VHOST_USER_CONFIG_MAX];
};

struct backend {
    const struct backend_ops *ops;
    const struct device_config *config; /* borrowed */

    /*
     * What `open` has opened and learned. It goes from the opener to the broker, and from one
     * broker to the next (broker/backend/opened.h). `files` is indexed by enum opened_file; -1: no
     * such file. In an opener, an image and a log are the files themselves; from then on they are
     * boxes with the files in them (opened_box). The broker has the directory until the keeper has
     * it.
     */
    int files[OPENED_FILES];
    union opened_part learned;
    char words[512];            /* what the backend is called, for the user; empty: nothing */
    char socket_path[PATH_MAX]; /* of a daemon, as the user knows it */

    /* What the device's path led to. `open` sets these before it can fail because the file is in
     * use: the file (image, log; for a tap, {0, its index}), and the directory of its name; all 0:
     * none. */
    struct file_id file_id, directory_id;

    struct tap_before tap_before; /* in an opener */

    struct connector connector; /* connects to the sockets in its directory */
    int client;                 /* keeps_client: the client that has connected; -1: none yet */
    struct failure news;        /* for the log, from `look`; logging it empties it; "": nothing */

    /* For status, from `look` and `prepare`: what is there and can't work, with the cure; "":
     * nothing is wrong. */
    struct failure trouble;

    union {
        struct backend_net net;
        struct backend_console console;
        struct backend_daemon daemon;
    };
};

/* The frontend's memory. */
struct backend_memory {
    int dm; /* the DM file; borrowed */
    uint64_t guest_addr, size;
};

/* What a device waits for before it can have a worker. */
struct backend_wait {
    int fd;              /* wait until it is readable; -1: no fd */
    int64_t until;       /* ms: or until this time */
    struct failure news; /* for the log; "": nothing new */
};

/* What one worker gets. */
struct backend_fds {
    int fds[BACKEND_FDS_MAX]; /* `count` of them */
    uint32_t count;           /* up to backend_fds_max of the kind */
    bool owned;               /* made for this worker: the caller closes them once they are sent */
    uint32_t kept;            /* bit f: file f is not closed, even if `owned` */
    uint32_t boxed;           /* bit f: file f is a box, which the worker opens */
};

struct backend_ops {
    /* A node that must stay reachable after lock-down, or NULL. */
    const char *node;
    const char *node_in_root; /* its name in the root that lock-down leaves */

    /* A kernel or a daemon signals used buffers by itself, without a note in the state page. */
    bool calls_without_worker;

    /* Its worker can deliver nothing before the kernel's random generator is ready. */
    bool wants_entropy;

    /* The broker keeps the last client as backend->client. That is a copy of the worker's fd, and
     * each new worker gets it again. */
    bool keeps_client;

    /* It opens nothing and needs no opener: `open` is called in the broker. */
    bool opens_nothing;

    /* `begin`: in the broker, before its lock-down: make the kernel objects that `adopt` will need.
     * `adopt`: when an opener has answered; `backend` then has what it had after `open`. Both
     * return 0 or -errno. Optional. */
    int (*begin)(struct backend *backend);
    int (*adopt)(struct backend *backend);

    /* In an opener (broker/opener.c), a process that does nothing else and so may block for any
     * time: fill in `files`, `learned` and the two ids. Returns 0, or -errno with *failure filled
     * in: its text follows the position of `*ret_key` in the configuration. What the configuration
     * alone can tell is checked there (broker/config/values.c), and is not checked again here. */
    int (*open)(struct backend *backend, enum config_key *ret_key, struct failure *failure);

    /* `files`: all files that a device of this configuration has after `open`. `boxed`: those of
     * them that lie on a file system, so that neither broker nor keeper may have them open. Bit f,
     * enum opened_file. NULL: none. */
    uint32_t (*files)(const struct device_config *config);
    uint32_t (*boxed)(const struct device_config *config);

    /* Can `open` have learned this? Another process sent it. NULL: any value is accepted. */
    bool (*learned_usable)(const union opened_part *learned);

    /* How many queues a device of this configuration has. NULL: queue_count of its kind. This is
     * called before `open`, and the answer must not change while the device runs. */
    uint32_t (*queues)(const struct device_config *config);

    /*
     * Before each worker, after lock-down: agree with every other party that is needed. Never
     * waits. Returns 0: `give` can be called. -EINPROGRESS: call it again when *ret says. Optional.
     */
    int (*prepare)(struct backend *backend, const struct backend_memory *memory, int64_t now,
                   struct backend_wait *ret);

    /* For each worker, after lock-down: fill in the kind's part of START, and its fds. Returns
     * 0, or -errno: the device has to wait. */
    int (*give)(struct backend *backend, struct message_start *start, struct backend_fds *ret);

    /* The worker that `give` was called for is ready, and serves the driver from now on. Optional.
     */
    void (*ready)(struct backend *backend);

    /*
     * While a worker runs: a client waits on backend_listener(number). Never waits. Returns a
     * non-blocking socket, which the caller closes once it is sent (but see keeps_client). -EAGAIN:
     * no client waits; -ECONNREFUSED: one did, and was turned away; -errno. Optional.
     */
    int (*accept)(struct backend *backend, unsigned int number, uint32_t *ret_type);

    /* A worker asks for a connection to that port, with a type of enum virtio_vsock_type: write the
     * address for the connector. Returns SOCK_STREAM or SOCK_SEQPACKET, or -errno. Optional. */
    int (*address)(const struct backend *backend, uint32_t port, uint32_t type,
                   struct sockaddr_un *ret);

    /* The worker looks at its backend itself, since that can block. It gets the signal for news
     * before it starts and once a second, as if something were new. */
    bool worker_looks;

    /* Before each worker starts, and once a second while the device has one: write to *state what
     * the worker has to know. Returns true if that is new; may set backend->news. Never waits.
     * Optional. */
    bool (*look)(struct backend *backend, struct state_backend *state);
};

/* Initialize a backend that has nothing yet. */
void backend_init(struct backend *backend, const struct device_config *config);

/* The socket to which clients of the host connect; -1: none. */
static inline int backend_listener(const struct backend *backend, unsigned int number)
{
    return backend->files[OPENED_LISTENER_FIRST + number];
}

/* Does the backend connect to sockets in a directory of the host? */
static inline bool backend_connects(const struct backend *backend)
{
    return backend->ops->files &&
           (backend->ops->files(backend->config) & 1u << OPENED_DIRECTORY) != 0;
}

/* Does the text have its terminating 0 within its array? */
static inline bool backend_text_ends(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

/* `count` files, beginning with `first`, as bits. */
static inline uint32_t backend_files_from(enum opened_file first, uint32_t count)
{
    return ((1u << count) - 1) << first;
}

/* One row for each kind, indexed by enum device_kind. */
extern const struct backend_ops *const backend_kinds[DEVICE_KINDS];

#define DEVICE_KIND(name, backend, ...) extern const struct backend_ops backend;
#include "common/kinds.def"
#undef DEVICE_KIND

#endif
