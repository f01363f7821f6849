/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service manager, if one has started the keeper: what is told to it, by the datagrams that
 * sd_notify(3) documents, on the AF_UNIX socket that NOTIFY_SOCKET names. The protocol is promised
 * to be stable and a few lines long, and libsystemd can't be linked statically; so it is spoken
 * here.
 */
#ifndef BROKER_KEEPER_NOTIFY_H
#define BROKER_KEEPER_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#define NOTIFY_TEXT_SIZE 192u
/* All files of 16 devices, and as much again: of each 7 + 16 files, its record, two pages more. */
#define NOTIFY_QUEUE 1024u

/* What the manager has had no room for yet. */
struct notify_message {
    char text[NOTIFY_TEXT_SIZE];
    int fd; /* a copy of our own; -1: none */
};

struct notify {
    int socket;           /* connected; -1: there is no service manager */
    uint32_t watchdog_ms; /* it wants to hear from us that often; 0: it does not */
    int64_t watchdog_at;  /* ms: when it is told again */
    bool polls;           /* it can be waited for by POLLOUT; else: by time */
    uint64_t taken;       /* messages that are ours to deliver, since the start, */
    uint64_t gone;        /* and of these, those that are out; the others wait in `queue` */
    struct notify_message queue[NOTIFY_QUEUE]; /* number n is at n % NOTIFY_QUEUE */
};

/*
 * Connect to the socket that the environment names, if any. Before lock-down. What is wrong is
 * said in a line; the keeper then works as without a service manager.
 */
void notify_open(struct notify *ret);

/* Take every variable of a service manager's out of the environment: no child is to find them. */
void notify_clear_environment(void);

static inline bool notify_present(const struct notify *notify)
{
    return notify->socket >= 0;
}

/*
 * Nothing here waits for a manager that is busy, stuck or stopped. What it has no room for is
 * queued, in order, and goes out by notify_flush. A queue that is full refuses: -ENOBUFS.
 */

/* "READY=1" and the like, a line each. Of states that nobody has taken the last one is kept.
 * Returns 0 or -errno. */
int notify_say(struct notify *notify, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Feed the watchdog if that is due. Returns when to call again: ms from now, -1: never. */
int notify_watchdog(struct notify *notify, int64_t now);

/* Have the manager keep a copy of `fd` under `name`, or forget all fds of that name. Return 0 or
 * -errno. */
int notify_store(struct notify *notify, const char *name, int fd);
int notify_remove(struct notify *notify, const char *name);

static inline bool notify_waits(const struct notify *notify)
{
    return notify->gone != notify->taken;
}

#define NOTIFY_RETRY_MS 100

/* Deliver what waits and can go now. While notify_waits, to be called when the socket has POLLOUT
 * (if `polls`), or after NOTIFY_RETRY_MS. */
void notify_flush(struct notify *notify);

#endif
