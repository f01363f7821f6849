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

/* What a kind keeps while it runs, besides what its configuration says and `open` has learned. */

struct backend_net {
    bool link_said; /* whether the link is up has been said, */
    bool link_up;   /* and how it was */
    enum tap_place place;
};

struct backend_console {
    int readers;    /* epoll: reports the ports that nobody has open */
    bool size_said; /* whether a size has been said, */
    uint32_t size;  /* and which: columns << 16 | rows */
};

struct backend_daemon {
    struct vhost_user dialogue;
    uint32_t config_size; /* of the configuration space as the file has it; 0: it has not */
    uint8_t config[VHOST_USER_CONFIG_MAX];
    struct start_vhost_user given; /* to the last worker */
    struct failure said;           /* the last failure that the user was told of */
};

struct backend {
    const struct backend_ops *ops;
    const struct device_config *config; /* borrowed */

    /*
     * What `open` has opened and learned. It goes from the opener to the broker, and from broker to
     * broker (broker/backend/opened.h). Files by enum opened_file, -1: none. In an opener an image
     * and a log are the files themselves, from then on boxes with them: opened_box. The directory
     * is the broker's until the keeper has it.
     */
    int files[OPENED_FILES];
    union opened_part learned;
    char words[512];            /* for the user: what the backend is called; empty: nothing */
    char socket_path[PATH_MAX]; /* of a daemon, as the user knows it */

    /* What the device's path led to, set by `open` before it can fail for its being in use: the
     * file (image, log; of a tap, {0, its number}), and the directory of its name; all 0: none. */
    struct file_id file_id, directory_id;

    struct tap_before tap_before; /* in an opener */

    struct connector connector; /* connects to the sockets in its directory */
    int client;                 /* keeps_client: who has connected; -1: nobody yet */
    struct failure news; /* for the log, by `look`; whoever logs it empties it; "": nothing */

    /* For status, by `look` and `prepare`: what is there and can't work, with the cure; "": nothing
     * is wrong. */
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
    int fd;              /* until it is readable; -1: nothing */
    int64_t until;       /* ms: or until then */
    struct failure news; /* for the log; "": nothing new */
};

/* What one worker gets. */
struct backend_fds {
    int fds[BACKEND_FDS_MAX]; /* `count` of them */
    uint32_t count;           /* up to backend_fds_max of the kind */
    bool owned;               /* made for this worker: to be closed once they are sent */
    uint32_t kept;            /* bit f: file f is not, nevertheless */
    uint32_t boxed;           /* bit f: file f is a box, for the worker to open */
};

struct backend_ops {
    /* A node that must stay within reach after lock-down, or NULL. */
    const char *node;
    const char *node_in_root; /* its name in the root that lock-down leaves */

    /* A kernel or daemon signals used buffers by itself, without saying so in the state page. */
    bool calls_without_worker;

    /* Its worker has nothing to give before the kernel's random generator is ready. */
    bool wants_entropy;

    /* The last client is kept as backend->client, a copy of what its worker has, and each worker
     * gets it anew. */
    bool keeps_client;

    /* It opens nothing, and needs no opener: `open` is called in the broker. */
    bool opens_nothing;

    /* In the broker, before its lock-down: make what `adopt` will need of the kernel. And when an
     * opener has answered: `backend` has what it had after `open`. Return 0 or -errno. Optional. */
    int (*begin)(struct backend *backend);
    int (*adopt)(struct backend *backend);

    /* In an opener (broker/opener.c), a process that does nothing else, and so may block for any
     * time: fill in `files`, `learned` and the two ids. Returns 0, or -errno with *failure filled
     * in: the text follows the position of `*ret_key` in the configuration. What can be told from
     * the configuration alone is told there (broker/config/values.c), and not looked at again. */
    int (*open)(struct backend *backend, enum config_key *ret_key, struct failure *failure);

    /* Which files a device of this configuration has after `open`, all of them; and which of these
     * lie on a file system, so that neither broker nor keeper may have them open: bit f, enum
     * opened_file. NULL: none. */
    uint32_t (*files)(const struct device_config *config);
    uint32_t (*boxed)(const struct device_config *config);

    /* Is that what `open` can have learned? Asked of what another process sent. NULL: anything is.
     */
    bool (*learned_usable)(const union opened_part *learned);

    /* How many queues a device of this configuration has. NULL: queue_count of its kind. Asked
     * before `open`, and the answer must not change while the device runs. */
    uint32_t (*queues)(const struct device_config *config);

    /*
     * Before each worker, after lock-down: agree with whoever else is needed. Never waits. Returns
     * 0: `give` can be called. -EINPROGRESS: to be called again as *ret says. Optional.
     */
    int (*prepare)(struct backend *backend, const struct backend_memory *memory, int64_t now,
                   struct backend_wait *ret);

    /* For each worker, after lock-down: fill in the kind's part of START, and its fds. Returns
     * 0, or -errno: the device has to wait. */
    int (*give)(struct backend *backend, struct message_start *start, struct backend_fds *ret);

    /*
     * While a worker runs: a client waits on backend_listener(number). Never waits. Returns a
     * non-blocking socket, to be closed once it is sent (but see keeps_client); -EAGAIN: no client
     * waits, -ECONNREFUSED: one did, and was turned away; -errno. Optional.
     */
    int (*accept)(struct backend *backend, unsigned int number, uint32_t *ret_type);

    /* A worker asks for a connection to that port, with a type of enum virtio_vsock_type: the
     * address, for the connector. Returns SOCK_STREAM or SOCK_SEQPACKET, or -errno. Optional. */
    int (*address)(const struct backend *backend, uint32_t port, uint32_t type,
                   struct sockaddr_un *ret);

    /* The worker looks at its backend itself, since that can block: it is told to as if something
     * were new, before it starts and once a second. */
    bool worker_looks;

    /* Before each worker starts, and once a second while the device has one: write to *state what
     * the worker is to know. Returns true if that is new; may set backend->news. Never waits.
     * Optional. */
    bool (*look)(struct backend *backend, struct state_backend *state);
};

/* A backend that has nothing yet. */
void backend_init(struct backend *backend, const struct device_config *config);

/* Where clients of the host connect; -1: nowhere. */
static inline int backend_listener(const struct backend *backend, unsigned int number)
{
    return backend->files[OPENED_LISTENER_FIRST + number];
}

/* Does it connect to sockets in a directory of the host's? */
static inline bool backend_connects(const struct backend *backend)
{
    return backend->ops->files &&
           (backend->ops->files(backend->config) & 1u << OPENED_DIRECTORY) != 0;
}

/* Is it a string, within its array? */
static inline bool backend_text_ends(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

/* The first `count` files from `first` on, as bits. */
static inline uint32_t backend_files_from(enum opened_file first, uint32_t count)
{
    return ((1u << count) - 1) << first;
}

/* One row a kind, indexed by enum device_kind. */
extern const struct backend_ops *const backend_kinds[DEVICE_KINDS];

#define DEVICE_KIND(name, backend, ...) extern const struct backend_ops backend;
#include "common/kinds.def"
#undef DEVICE_KIND

#endif
