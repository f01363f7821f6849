/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes made by the keeper. A child starts with /dev/null as 0, 1 and (but for the broker,
 * which logs) 2, one socket as 3, the configuration's text or a directory as 4 where it needs one,
 * for the broker who has what (broker/claims.h) as 5, no other fd, no environment, no blocked or
 * handled signal, and dies with the keeper.
 */
#ifndef BROKER_KEEPER_SPAWN_H
#define BROKER_KEEPER_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/message.h"

struct executables {
    int broker, worker; /* O_PATH */
    int null;           /* /dev/null */
};

struct child {
    pid_t pid;
    int pidfd; /* -1: there is no such child */
};

#define NO_CHILD ((struct child){.pidfd = -1})

/*
 * Open what is ever executed, from beside this program or from ../libexec/bao-virtio-dm, and
 * /dev/null. Returns 0, or -errno and in *ret_missing the name of what is missing.
 */
int executables_open(struct executables *ret, const char **ret_missing);

/* Become the broker, in this process: for --check-config. Returns -errno on failure only. */
int become_broker(const struct executables *executables, char *const argv[]);

/* Start the broker with `socket` as its fd 3, `text` (-1: none) as 4, `claims` (-1: none) as 5;
 * borrowed. Returns 0 or -errno. */
int spawn_broker(const struct executables *executables, int socket, int text, int claims,
                 char *const argv[], struct child *ret);

/* Start an opener (broker/opener.h) for what the message says, by the configuration `text` of the
 * name `path`. Likewise. */
int spawn_opener(const struct executables *executables, int socket, int text, char *path,
                 const struct message_open *message, struct child *ret);

/* Start a connector (broker/connector_process.h), with `directory` as its fd 4. Likewise. */
int spawn_connector(const struct executables *executables, int socket, int directory,
                    struct child *ret);

/* Start a worker, in namespaces and a session of its own, and in the cgroup whose directory
 * `cgroup` is; -1: in the keeper's. Likewise. */
int spawn_worker(const struct executables *executables, int socket, int cgroup, struct child *ret);

/* SIGKILL; harmless if it is dead already. */
void child_kill(const struct child *child);

/*
 * Has it died? If so it is reaped, *child is NO_CHILD again, and *ret_code and *ret_status are
 * waitid's si_code and si_status.
 */
bool child_reap(struct child *child, int *ret_code, int *ret_status);

#endif
