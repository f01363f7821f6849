/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vhost-user daemon of daemon.c, a block device, as a child of a test. It listens on blk.sock
 * in the fixture's directory, and lives until it is killed.
 */
#ifndef TESTS_STANDIN_BLOCK_DAEMON_H
#define TESTS_STANDIN_BLOCK_DAEMON_H

#include "tests/standin/fixture.h"

#define BLOCK_DAEMON_OPTIONS_MAX 4

/* Start it on an image of the fixture's; `options` are daemon.c's, up to a NULL or that many. NULL:
 * none. */
pid_t block_daemon_start(const struct fixture *fixture, const char *image,
                         const char *const options[]);
/* Asserts that its socket is there in time; one that a daemon before it has left counts as well. */
void block_daemon_wait(const struct fixture *fixture);
/* Asserts that it has died of this and has not ended before, on something that it did not like. */
void block_daemon_kill(pid_t pid);

#endif
