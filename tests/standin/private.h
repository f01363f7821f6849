/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the stand-in:
 *   standin.c  the caller's side: start, stop, waiting for processes
 *   child.c    what happens between fork and exec: mount namespace, filter
 *   serve.c    notifications: fetch, find the device, read and write the caller's memory
 *   driver.c   the driver: ATTACH, COMPLETE, IOEVENTFD, IRQFD
 *   vcpu.c     the frontend's register accesses
 *   watch.c    events without a notification: signals to waiting attachers, last closes, the end
 */
#ifndef TESTS_STANDIN_PRIVATE_H
#define TESTS_STANDIN_PRIVATE_H

#include <linux/seccomp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "common/bao_abi.h"
#include "tests/standin/standin.h"

#define QUEUE_MAX (4 * STANDIN_VCPUS_MAX) /* completed entries may stay in the driver's list */
#define EVENTFDS_MAX 64
#define THREADS_KNOWN 64

/* A slot of the hypervisor: it holds one register access of a vCPU. Its index is the request_id. */
struct slot {
    enum { SLOT_FREE, SLOT_PROCESSING, SLOT_COMPLETE } state;
    bool taken;     /* ATTACH has handed it out */
    bool abandoned; /* its vCPU has timed out; no vCPU waits for the answer */
    unsigned int device;
    uint64_t op;
    uint64_t value;
    sem_t done; /* posted once, and not under the lock: the vCPU need not wait for the lock */
};

struct ioeventfd {
    int fd;
    uint64_t eventfd_id;
    uint64_t addr, data;
    uint32_t len;
    bool wildcard;
};

struct irqfd {
    int fd;
    uint64_t eventfd_id;
};

/* A thread that waits in ATTACH. */
struct attacher {
    bool waiting;
    uint64_t notification;
    pid_t tid;
    uint64_t buffer;  /* address in the caller's memory */
    uint64_t since;   /* ms, monotonic */
    pid_t status_tid; /* the thread that the two files belong to; 0: none */
    int status_fd, leader_status_fd;
    pid_t tracer; /* the thread's tracer when we last looked; 0: none */
};

struct device {
    struct standin_device options;
    void *mapping;
    ino_t inode;
    dev_t dev;
    int watch;      /* its inotify watch descriptor */
    char path[32];  /* generation C: the window, a file with a name */
    bool created;   /* generation D */
    bool destroyed; /* it is gone for good */
    unsigned int attaches;

    struct bao_io_request queue[QUEUE_MAX]; /* the driver's list */
    unsigned int queue_head, queue_length;
    struct attacher attacher;
    struct ioeventfd ioeventfds[EVENTFDS_MAX];
    unsigned int ioeventfd_count;
    struct irqfd irqfds[EVENTFDS_MAX];
    unsigned int irqfd_count;
};

/* A thread that makes ioctls. */
struct known_thread {
    pid_t tid;
    int fd_dir;            /* its /proc/TID/fd, opened once */
    int fd;                /* the last fd that it used for ATTACH or COMPLETE, ... */
    struct device *device; /* ... the device of that fd; NULL: not known ... */
    uint64_t known_at;     /* ... and the time when this was seen, ms */
};

struct standin {
    enum standin_abi abi;
    bool no_driver;
    pthread_mutex_t lock; /* protects everything below that is not constant after the start */
    struct device devices[STANDIN_DEVICES_MAX];
    struct slot slots[STANDIN_VCPUS_MAX];
    pthread_cond_t slot_free;
    bool served;          /* a thread receives notifications: only one thread does at a time */
    pthread_cond_t serve; /* tells the server to look whether it has to take over from the vCPUs */
    unsigned int vcpus_waiting;
    uint64_t last_completion_us;
    struct standin_counts counts;
    enum standin_moment kill_at_complete;
    char protocol_error[160];
    bool end_expected;
    bool ended; /* no process of the device model is left */
    pthread_cond_t end;

    pid_t pid;
    bool reaped;
    int wait_status;

    int listener;
    dev_t node_dev;
    ino_t node_inode;
    int inotify;
    int stop_event;
    size_t notification_size;
    struct seccomp_notif *notification;               /* used by the thread that serves, ... */
    struct known_thread known_threads[THREADS_KNOWN]; /* ... and by no other thread */
    atomic_bool stopping;
    atomic_bool server_ended;
    pthread_t server, watcher;
    unsigned int threads_started;
};

/* child.c: never returns. `report` is a SOCK_SEQPACKET socket to standin_child_receive's end. */
_Noreturn void standin_child_run(const struct standin *standin,
                                 const struct standin_options *options, int report);
/* Receive the listener and the open node. Returns 0 or -errno, after printing the reason. */
int standin_child_receive(int report, int *ret_listener, int *ret_node);

/* serve.c */
void *standin_server(void *standin);
/* Receive one notification (blocks) and serve it. Returns 0 or -errno. */
int standin_serve_next(struct standin *standin);
void standin_forget_threads(struct standin *standin);
int standin_memory_read(pid_t tid, uint64_t address, void *buffer, size_t size);
int standin_memory_write(pid_t tid, uint64_t address, const void *buffer, size_t size);
bool standin_notification_valid(struct standin *standin, uint64_t notification);
/* Answer a notification: result >= 0 is what ioctl returns, < 0 is -errno. Returns 0 or -errno. */
int standin_respond(struct standin *standin, uint64_t notification, int64_t result);

/* driver.c: called with the lock held. The results are what the ioctl returns, or -errno. */
void standin_protocol_violated(struct standin *standin, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Answers the notification itself, now or later. */
void standin_driver_attach(struct standin *standin, struct device *device, uint64_t notification,
                           pid_t tid, uint64_t buffer);
/* Hand the first queued request to the waiting attacher, if there are both. */
void standin_driver_deliver(struct standin *standin, struct device *device);
/* The waiting attacher was interrupted or is gone. */
void standin_driver_interrupt(struct standin *standin, struct device *device);
/* On success, the caller has to post *ret_slot, unless it is NULL. */
int standin_driver_complete(struct standin *standin, const struct device *device,
                            const struct bao_io_request *request, struct slot **ret_slot);
/* `fd` is a copy of the eventfd, which the stand-in then owns, or -errno. */
int standin_driver_ioeventfd(struct device *device, const struct bao_ioeventfd *config, int fd);
int standin_driver_irqfd(struct device *device, const struct bao_irqfd *config, int fd);
/* Destroy a device (generation D, or for good): requests that wait for it are completed with 0. */
void standin_driver_destroy(struct standin *standin, struct device *device);
unsigned int standin_device_id(const struct standin *standin, const struct device *device);

/* watch.c */
void *standin_watch(void *standin);

#endif
