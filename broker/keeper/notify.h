/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service manager, if it has started the keeper. The keeper sends it the datagrams that
 * sd_notify(3) documents, on the AF_UNIX socket that NOTIFY_SOCKET names. The protocol is
 * guaranteed to be stable, and it takes a few lines; libsystemd can't be linked statically. So the
 * protocol is implemented here.
 */
#ifndef BROKER_KEEPER_NOTIFY_H
#define BROKER_KEEPER_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#define NOTIFY_TEXT_SIZE 192u
/* All files of 16 devices, and the same number again. Each device has 7 + 16 files, its record, and
 * two more pages. */
#define NOTIFY_QUEUE 1024u

/* A message for which the manager had no room yet. */
struct notify_message {
    char text[NOTIFY_TEXT_SIZE];
    int fd; /* our own copy; -1: none */
};

struct notify {
    int socket;           /* connected; -1: there is no service manager */
    uint32_t watchdog_ms; /* how often it wants to hear from us; 0: never */
    int64_t watchdog_at;  /* ms: when to tell it again */
    bool polls;           /* we can wait for it with POLLOUT; otherwise: by time */
    uint64_t taken;       /* messages that we have accepted for delivery, since the start, */
    uint64_t gone;        /* and how many of them have been sent; the others are in `queue` */
    struct notify_message queue[NOTIFY_QUEUE]; /* number n is at n % NOTIFY_QUEUE */
};

/*
 * Connect to the socket that the environment names, if it names one. Before lock-down. An error is
 * logged in one line; then the keeper works as without a service manager.
 */
void notify_open(struct notify *ret);

/* Remove all variables of a service manager from the environment: no child may find them. */
void notify_clear_environment(void);

static inline bool notify_present(const struct notify *notify)
{
    return notify->socket >= 0;
}

/*
 * Nothing here waits for a manager that is busy, stuck or stopped. A message for which it has no
 * room is queued, in order, and notify_flush sends it. If the queue is full: -ENOBUFS.
 */

/* Send "READY=1" and the like, one on a line. If several STATUS= messages wait in a row, only the
 * last one is kept. Returns 0 or -errno. */
int notify_say(struct notify *notify, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Feed the watchdog if that is due. Returns when to call again: in so many ms; -1: never. */
int notify_watchdog(struct notify *notify, int64_t now);

/* Make the manager keep a copy of `fd` under `name`, or forget all fds of that name. Both return 0
 * or -errno. */
int notify_store(struct notify *notify, const char *name, int fd);
int notify_remove(struct notify *notify, const char *name);

static inline bool notify_waits(const struct notify *notify)
{
    return notify->gone != notify->taken;
}

#define NOTIFY_RETRY_MS 100

/* Send the queued messages that can go now. While notify_waits is true, call this when the socket
 * has POLLOUT (if `polls`), or after NOTIFY_RETRY_MS. */
void notify_flush(struct notify *notify);

#endif
