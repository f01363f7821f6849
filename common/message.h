/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between keeper, broker and worker: one structure of fixed size in each packet, on an
 * AF_UNIX SOCK_SEQPACKET socket. Length, version and number of fds must be exactly those of the
 * type, and the sender must be allowed to send it (the table in message.c). Anything else is a
 * protocol error: -EPROTO, and the fds are closed unread.
 */
#ifndef COMMON_MESSAGE_H
#define COMMON_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include <sys/socket.h>
#include <sys/un.h>

#include "common/of_kind.h"
#include "common/worker_fds.h"

#define MESSAGE_VERSION 1u
#define MESSAGE_FDS_MAX 40
#define DEVICE_NAME_SIZE 24 /* "vsock 0", with the terminating 0 */

enum message_role { ROLE_KEEPER, ROLE_BROKER, ROLE_WORKER, ROLE_OPENER, ROLE_CONNECTOR };

enum message_type {
    /* broker and worker */
    MSG_START = 1,  /* broker to worker: its device, with its fds */
    MSG_READY,      /* worker to broker: it is locked down, and serves */
    MSG_LOG,        /* worker to broker: one of the fixed messages */
    MSG_FAILED,     /* worker to broker: a step before READY failed; the worker exits */
    MSG_CONNECT,    /* worker to broker: connect to the backend's socket of that port */
    MSG_CONNECTION, /* broker to worker: the connection, or why there is none */
    /* broker and keeper */
    MSG_STORE,       /* broker to keeper: keep these fds for my successor */
    MSG_RESTORE,     /* keeper to broker, at its start: what a predecessor stored */
    MSG_RESTORE_END, /* keeper to broker: there is nothing more to restore */
    MSG_RUNNING,     /* broker to keeper: start-up is over; from now on, replace me if I die */
    MSG_SPAWN,       /* broker to keeper: start a worker; the fd becomes its WORKER_FD_CONTROL */
    MSG_KILL,        /* broker to keeper: kill that worker */
    MSG_SPAWNED,     /* keeper to broker: the worker's pid; the keeper keeps the pidfd */
    MSG_DIED,        /* keeper to broker: the worker was reaped, and how it died */
    MSG_STOP,        /* keeper to broker: the user wants it to end */
    MSG_STORED,      /* keeper to broker: the fds are kept, also by a service manager */
    MSG_CONFIG,      /* broker to keeper: use this text from now on; no fd: the kept text */
    MSG_OPEN, /* broker to keeper: start an opener for a backend; the opener's socket, and the
                 configuration */
    MSG_KEEP, /* broker to keeper: what an opener has opened; or nothing: forget it */
    MSG_KEPT, /* keeper to broker, before RESTORE_END: what a predecessor had kept */
    MSG_PING, /* keeper to broker: are you alive? */
    MSG_PONG, /* broker to keeper: yes */
    /* opener and broker */
    MSG_OPENED, /* opener to broker: the backend's files; or why there are none */
    /* connectors */
    MSG_CONNECTOR,  /* broker to keeper: start a connector for the device with that id of the
                       dispatcher, in the directory that you keep for it; its socket */
    MSG_CONNECT_TO, /* broker to connector: connect to this address */
    MSG_CONNECTED,  /* connector to broker: the socket, or why there is none; in order */
    MSG_TYPES,
};

struct message_header {
    uint16_t type;    /* enum message_type */
    uint16_t version; /* MESSAGE_VERSION */
    uint32_t device;  /* index in the configuration; UINT32_MAX: no device */
};

#define MESSAGE_NO_DEVICE UINT32_MAX

struct message_start {
    struct message_header header;
    char name[DEVICE_NAME_SIZE];
    uint32_t kind;        /* enum device_kind */
    uint32_t incarnation; /* 0 for the first worker of this state page */
    uint32_t uid;         /* the worker switches to it */
    uint32_t virtio_id;   /* DeviceID, VirtIO 1.2 §5 */
    uint32_t queue_size_max;
    uint32_t queue_count;      /* 1 to queues_max of the kind */
    uint32_t backend_fd_count; /* up to backend_fds_max of the kind */
    uint32_t boxed;            /* bit f: file f of the backend comes in a box (common/box.h) */
    uint32_t config_changed;   /* 1: the configuration space differs from the one shown before */
    uint32_t sched_priority;   /* of SCHED_FIFO; 0: SCHED_OTHER */
    uint32_t poll_us;          /* the worker looks at its rings for so long at most */
    uint32_t irq_delay_us;     /* an interrupt that can wait does so, up to IRQ_DELAY_US_MAX */
    uint64_t processors;       /* bit n: may run on processor n; 0: on any */
    uint64_t features_off;     /* not offered, even if the device has them */
    uint64_t shmem_addr;       /* guest-physical base of the window */
    uint64_t shmem_size;       /* bytes: map no more than this */
    union start_kind of_kind;
};

struct message_ready {
    struct message_header header;
    uint32_t layers; /* 1 << enum sandbox_layer: in force */
    uint32_t fd_count;
};

struct message_log {
    struct message_header header;
    uint32_t code;       /* enum log_code */
    uint32_t suppressed; /* messages of this code left out since the last one sent */
    uint64_t args[4];    /* unsigned, for the code's format */
};

struct message_failed {
    struct message_header header;
    uint32_t step; /* enum worker_step */
    int32_t error; /* errno, positive */
};

struct message_connect {
    struct message_header header;
    uint32_t port;
    uint32_t type;    /* enum virtio_vsock_type */
    uint32_t request; /* the answer repeats it; not CONNECTION_FROM_HOST */
    uint32_t reserved;
};

/* A worker may have this many requests without an answer: fewer than the broker's connector has
 * room for. If the guest wants more, those requests wait in the worker. */
#define CONNECTIONS_AT_ONCE 8u

#define CONNECTION_FROM_HOST UINT32_MAX /* not an answer: a client has connected to the device */

struct message_connection { /* with a non-blocking socket, or `error` */
    struct message_header header;
    uint32_t request; /* of MSG_CONNECT, or CONNECTION_FROM_HOST */
    uint32_t type;    /* enum virtio_vsock_type */
    int32_t error;    /* errno, positive, if no socket comes with it; else 0 */
    uint32_t reserved;
};

struct message_connect_to {
    struct message_header header;
    struct sockaddr_un address;
    uint32_t type; /* SOCK_STREAM or SOCK_SEQPACKET */
};

struct message_connected { /* with a non-blocking socket, or `error` */
    struct message_header header;
    int32_t error; /* errno, positive, if no socket comes with it; else 0 */
    uint32_t reserved;
};

/* What is stored for the successor of a broker: one set for each device. */
enum store_item {
    STORE_DM,          /* the DM file */
    STORE_STATE,       /* the state page */
    STORE_JOURNAL,     /* the relay's journal page */
    STORE_REQUEST,     /* mailbox eventfds */
    STORE_REPLY,       /*                  */
    STORE_CALL,        /* eventfd of the interrupt that workers signal */
    STORE_IRQ,         /* eventfd of the interrupt that is registered with the dispatcher */
    STORE_QUEUE_FIRST, /* kick eventfds, one for each queue */
};

/* What is left of a set that a service manager kept when the keeper died. */
enum store_condition {
    STORE_WHOLE,         /* complete; a broker always stores this */
    STORE_DM_ONLY,       /* only the DM file comes with it: nothing was registered yet */
    STORE_OTHER_VERSION, /* complete, but its state page must not be read */
    STORE_UNUSABLE,      /* only the DM file comes with it, and it can't be used: fds were lost */
};

struct message_store { /* also MSG_RESTORE */
    struct message_header header;
    uint32_t dm_id; /* below BAO_DEVICES_MAX */
    uint32_t kind;
    uint64_t mmio_addr; /* the device is registered with the dispatcher under these */
    uint64_t shmem_addr;
    uint64_t shmem_size;
    uint32_t fd_count;   /* STORE_QUEUE_FIRST + queues */
    uint32_t condition;  /* enum store_condition */
    uint32_t generation; /* enum bao_generation: of the driver behind the DM file */
    uint32_t reserved;
};

struct message_open {
    struct message_header header; /* device: the dispatcher's id */
    uint32_t again;               /* 1: the device has run before, by an earlier broker */
    uint32_t tap_index; /* net: index of the interface that it had then, of which the keeper
                           has files; 0: not known */
};

struct message_spawned {
    struct message_header header;
    int32_t pid;     /* or -errno: the worker could not be started */
    uint32_t cgroup; /* the limits of its cgroup: common/cgroup_limit.h */
};

struct message_died {
    struct message_header header;
    int32_t code;   /* CLD_EXITED, CLD_KILLED or CLD_DUMPED */
    int32_t status; /* exit status or signal */
};

/* What an opener has opened goes to the broker (MSG_OPENED), from there to the keeper (MSG_KEEP),
 * and to the next broker (MSG_KEPT). */
#define OPENED_MAGIC 0x656e65706f647662ull /* "bvdopene": for a copy in a page */
#define OPENED_VERSION 4u                  /* changes with every change of the structure */
#define OPENED_TEXT 512

struct message_opened {
    struct message_header header;
    uint64_t magic;
    uint32_t version;
    uint32_t dm_id;  /* below BAO_DEVICES_MAX */
    uint64_t digest; /* of the device, in the configuration that was used to open it */
    uint32_t kind;   /* enum device_kind */
    uint32_t files;  /* bit f: enum opened_file; these come with it */
    int32_t error;   /* errno, positive: opening failed, and `text` says why; else 0 */
    uint32_t key;    /* enum config_key: the error concerns this key */
    uint64_t file_id[2], directory_id[2]; /* device and inode to which its paths led */
    char socket_path[160];                /* of a daemon, as the user knows it, perhaps truncated */
    union opened_part learned;
    char words[512]; /* what the backend is called, for the user */
    char text[OPENED_TEXT];
};

/* MSG_RESTORE_END, MSG_RUNNING, MSG_SPAWN, MSG_KILL, MSG_STOP, MSG_STORED, MSG_CONFIG, MSG_PING,
 * MSG_PONG and MSG_CONNECTOR are a bare header. */

union message {
    struct message_header header;
    struct message_start start;
    struct message_ready ready;
    struct message_log log;
    struct message_failed failed;
    struct message_connect connect;
    struct message_connection connection;
    struct message_connect_to connect_to;
    struct message_connected connected;
    struct message_store store;
    struct message_open open;
    struct message_spawned spawned;
    struct message_died died;
    struct message_opened opened;
};

/*
 * Send a message with its fds (borrowed), without waiting. The header's type must be set; version
 * is filled in. Returns 0, or -errno: -EAGAIN if the socket is full, -EPIPE if the peer is gone.
 */
int message_send(int socket, union message *message, const int *fds, size_t fd_count);

/*
 * Take the files that came with a received message: up to `room` of them go to `fds`, and are the
 * caller's from now on. All others are closed. Returns how many came.
 */
size_t message_take_fds(struct msghdr *header, int *fds, size_t room);

/*
 * Receive one message from a peer that acts as `sender`, without waiting for it. On success, `fds`
 * (MESSAGE_FDS_MAX entries) has *ret_fd_count new close-on-exec fds, owned by the caller. Returns
 * 1; 0 if the peer has closed its end; -EAGAIN; -EPROTO (as above; nothing is kept); -errno.
 */
int message_receive(int socket, enum message_role sender, union message *ret_message, int *fds,
                    size_t *ret_fd_count);

#endif
