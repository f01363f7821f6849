/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: AF_UNIX SOCK_SEQPACKET. Each request is one packet of fixed size, and so is
 * its reply. The mode of the socket says who may connect. Only root may change anything.
 */
#ifndef COMMON_CONTROL_H
#define COMMON_CONTROL_H

#include <stdint.h>

#include "common/log_level.h"
#include "common/message.h"
#include "common/state.h"

/* The directory in which each bao-virtio-dm has its socket. The name comes from the configuration:
 * NAME.socket for NAME.yaml; NAME-2.socket if another one has that name, and so on. */
#define CONTROL_DIRECTORY "/run/bao-virtio-dm"
#define CONTROL_SUFFIX ".socket"
#define CONTROL_PATH_SIZE 108u   /* sun_path */
#define CONTROL_CONFIG_SIZE 512u /* of a configuration's name, which may be truncated */
#define CONTROL_VERSION 6u       /* changes with this file's structures and numbers */

enum control_verb {
    CONTROL_STATUS = 1, /* of the device at `index` in the configuration */
    CONTROL_RESTART,    /* replace the worker of the device whose id is `index`; root */
    CONTROL_LOG_LEVEL,  /* `index`: enum log_level; root */
    CONTROL_VERBS,
};

enum control_phase { CONTROL_WAITING, CONTROL_STARTING, CONTROL_RUNNING, CONTROL_ENDING };

struct control_request {
    uint32_t version; /* CONTROL_VERSION */
    uint32_t verb;    /* enum control_verb */
    uint32_t index;
    uint32_t reserved; /* 0 */
};

struct control_queue {
    uint32_t size; /* 0: not set up */
    uint32_t ready;
    uint32_t next_avail, next_used; /* of queues that the worker serves */
};

/* A device. The fields from `status` on come from the state page: only the worker vouches for
 * them. */
struct control_device {
    char name[DEVICE_NAME_SIZE]; /* "vsock 0", with the terminating 0 */
    uint32_t id;                 /* the dispatcher's */
    uint32_t kind;               /* enum device_kind */
    uint32_t virtio_id;
    uint32_t phase;    /* enum control_phase */
    uint32_t restarts; /* of its worker, since the broker started */
    int32_t pid;       /* 0: none */
    uint32_t layers;   /* 1 << enum sandbox_layer: in force */
    uint32_t queue_count;
    uint32_t cgroup;      /* common/cgroup_limit.h; 0 while it has no worker */
    uint32_t generation;  /* enum bao_generation: of the driver behind it */
    uint32_t gone;        /* 1: the driver has given the device up */
    uint32_t connections; /* vsock/virtio: maximum number of connections; else 0 */
    uint64_t uptime_ms;   /* of its worker */
    uint64_t mmio_addr, shmem_addr, shmem_size;
    char last_death[128]; /* in words; empty: none has died */
    char trouble[256];    /* what is there and can't work, with the cure; empty: nothing */
    char cache[16];       /* block: the mode, by its name in the configuration; else empty */

    uint64_t interrupts_raised; /* since the device was started; counted by the gate */

    uint32_t status;       /* §2.1 */
    uint32_t broker_level; /* enum log_level */
    uint64_t features;     /* accepted by the driver */
    struct control_queue queues[STATE_QUEUES_MAX];
    struct state_counters counters;
};

struct control_reply {
    uint32_t version;
    int32_t error;                    /* 0, or a positive errno: nothing was done */
    uint32_t device_count;            /* of the configuration */
    int32_t keeper;                   /* the pid of the keeper */
    char config[CONTROL_CONFIG_SIZE]; /* the configuration's name, absolute */
    struct control_device device;     /* CONTROL_STATUS */
};

#endif
