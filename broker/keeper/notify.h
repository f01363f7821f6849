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

struct notify {
    int socket;           /* connected; -1: there is no service manager */
    uint32_t watchdog_ms; /* it wants to hear from us that often; 0: it does not */
    int64_t watchdog_at;  /* ms: when it is told again */
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

/* "READY=1" and the like, a line each. Waits some seconds for a manager that is busy. */
void notify_say(const struct notify *notify, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Feed the watchdog if that is due; never waits. Returns when to call again: ms from now, -1:
 * never. */
int notify_watchdog(struct notify *notify, int64_t now);

/*
 * Have the manager keep a copy of `fd` under `name`, or forget all fds of that name. Both wait some
 * seconds for a manager that is busy. Return 0 or -errno.
 */
int notify_store(const struct notify *notify, const char *name, int fd);
int notify_remove(const struct notify *notify, const char *name);

#endif
