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

#include "broker/backend/connector.h"
#include "broker/backend/dialogue.h"
#include "broker/backend/directory.h"
#include "broker/backend/tap.h"
#include "broker/config/config.h"
#include "broker/failure.h"
#include "common/message.h"
#include "common/state.h"

#define BACKEND_NAME_SIZE 16
#define BACKEND_LISTENERS 2
#define BACKEND_SOCKET_NAME_SIZE 96

struct backend {
    const struct backend_ops *ops;
    int image;                    /* block: kept, and sent to each worker; -1: none. In an opener
                                     the file, from then on a box with it: opened_box */
    struct start_block block;     /* its geometry */
    uint32_t guest_cid;           /* vsock */
    struct tap tap;               /* net */
    struct tap_before tap_before; /* in an opener */
    struct start_net net;
    bool link_said; /* net: whether the link is up has been said */
    bool link_up;   /* and how it was */
    enum tap_place tap_place;
    uint32_t rate_limit; /* rng: bytes per second; 0: none */
    struct {
        int readers;                    /* epoll: reports the ports that nobody has open */
        int files[STATE_CONSOLE_PORTS]; /* terminals, or a log's three (as `image`); kept, sent to
                                           each worker */
        struct start_console start;
        bool size_said; /* whether a size has been said, and which */
        uint32_t size;  /* columns << 16 | rows */
    } console;

    /* A directory of the host's, for the sockets in it (O_PATH; until the keeper has it), and its
     * name for the connector, who connects to what is there; "": none. */
    int directory;
    char directory_in_root[BACKEND_NAME_SIZE];
    struct connector connector;

    /* What the device's path led to, set by `open` before it can fail for its being in use: the
     * file (image, log; of a tap, {0, its number}), and the directory of its name; all 0: none. */
    struct file_id file_id, directory_id;

    /* Where clients of the host connect, -1: nowhere; keeps_client: who has, -1: nobody yet. */
    int listeners[BACKEND_LISTENERS];
    int client;

    /* vsock/virtio: what the names of all its sockets in the directory begin with. */
    char socket_name[BACKEND_SOCKET_NAME_SIZE];

    char words[512];     /* for the user, by `open`: what the backend is called; empty: nothing */
    struct failure news; /* for the log, by `look`; whoever logs it empties it; "": nothing */

    /* For status, by `look` and `prepare`: what is there and can't work, with the cure; "": nothing
     * is wrong. */
    struct failure trouble;

    /* vhost_user: the dialogue with the daemon, and what is said about it. */
    struct vhost_user daemon;
    uint32_t config_size; /* of the configuration space as the file has it; 0: it has not */
    uint8_t config[VHOST_USER_CONFIG_MAX];
    struct start_vhost_user given; /* to the last worker */
    char socket_path[PATH_MAX];    /* as the user knows it */
    struct failure said;           /* the last failure that the user was told of */
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
     * time. Returns 0, or -errno with *failure filled in: the text follows
     * the position of `*ret_key` in the configuration. What can be told from the configuration
     * alone is told there (broker/config/values.c), and not looked at again. */
    int (*open)(struct backend *backend, const struct device_config *config,
                enum config_key *ret_key, struct failure *failure);

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
     * While a worker runs: a client waits on listeners[number]. Never waits. Returns a non-blocking
     * socket, to be closed once it is sent (but see keeps_client); -EAGAIN: no client waits,
     * -ECONNREFUSED: one did, and was turned away; -errno. Optional.
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

#define BACKEND_NONE                                                                               \
    ((struct backend){.image = -1,                                                                 \
                      .listeners = {-1, -1},                                                       \
                      .client = -1,                                                                \
                      .directory = -1,                                                             \
                      .connector.socket = -1,                                                      \
                      .console.readers = -1})

/* One row a kind, indexed by enum device_kind. */
extern const struct backend_ops *const backend_kinds[DEVICE_KINDS];

#define DEVICE_KIND(name, backend, ...) extern const struct backend_ops backend;
#include "common/kinds.def"
#undef DEVICE_KIND

#endif
