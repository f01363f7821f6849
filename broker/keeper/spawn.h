/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that the keeper starts. A child starts with: /dev/null as fds 0, 1 and 2 (the broker,
 * which logs, keeps its 2); one socket as 3; the text of the configuration or a directory as 4, if
 * it needs one; for the broker, the file of claims (broker/claims.h) as 5; for an opener, files of
 * a tap from 6 on. It has no other fd, no environment, and no blocked or handled signal. It dies
 * with the keeper.
 */
#ifndef BROKER_KEEPER_SPAWN_H
#define BROKER_KEEPER_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/message.h"

/* Numbers of these files. */
#define SPAWN_SOCKET_FD 3
#define SPAWN_TEXT_FD 4
#define SPAWN_CLAIMS_FD 5
#define SPAWN_TAPS_FD 6
#define SPAWN_TAPS_MAX ((unsigned int)(OPENED_TAP_SOCKET - OPENED_TAP_FIRST))

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
 * Open every program that is ever executed, from the directory of this program or from
 * ../libexec/bao-virtio-dm, and /dev/null. Returns 0; or -errno, with the name of the missing file
 * in *ret_missing.
 */
int executables_open(struct executables *ret, const char **ret_missing);

/* Turn this process into the broker: for --check-config. Returns only on failure: -errno. */
int become_broker(const struct executables *executables, char *const argv[]);

/* Start the broker with `socket` as its fd 3, `text` (-1: none) as 4, `claims` (-1: none) as 5; all
 * borrowed. Returns 0 or -errno. */
int spawn_broker(const struct executables *executables, int socket, int text, int claims,
                 char *const argv[], struct child *ret);

/* Start an opener (broker/opener.h) for the device in the message, with the configuration `text`,
 * whose name is `path`. `taps` (`tap_count`, at most SPAWN_TAPS_MAX): the files of its tap that are
 * kept, as its fds from 6 on. fds and result as for spawn_broker. */
int spawn_opener(const struct executables *executables, int socket, int text, char *path,
                 const struct message_open *message, const int *taps, unsigned int tap_count,
                 struct child *ret);

/* Start a connector (broker/connector_process.h), with `directory` as its fd 4. fds and result as
 * for spawn_broker. */
int spawn_connector(const struct executables *executables, int socket, int directory,
                    struct child *ret);

/* Start a worker, in its own namespaces and session. `cgroup`: the directory of the cgroup for it;
 * -1: it stays in the keeper's cgroup. fds and result as for spawn_broker. */
int spawn_worker(const struct executables *executables, int socket, int cgroup, struct child *ret);

/* Send SIGKILL; harmless if it is dead already. */
void child_kill(const struct child *child);

/*
 * Has the child died? If so, it is reaped, *child is NO_CHILD again, and *ret_code and *ret_status
 * are si_code and si_status of waitid.
 */
bool child_reap(struct child *child, int *ret_code, int *ret_status);

#endif
