/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vhost-user daemon of daemon.c, a block device, as a child of a test. It listens on blk.sock
 * in the fixture's directory, and lives until it is killed.
 */
#ifndef TESTS_STANDIN_BLOCK_DAEMON_H
#define TESTS_STANDIN_BLOCK_DAEMON_H

#include "tests/standin/fixture.h"

#define BLOCK_DAEMON_OPTIONS_MAX 4

/* Start it on an image of the fixture. `options` are those of daemon.c: up to
 * BLOCK_DAEMON_OPTIONS_MAX, or up to a NULL. `options` NULL: none. */
pid_t block_daemon_start(const struct fixture *fixture, const char *image,
                         const char *const options[]);
/* Asserts that its socket exists in time. A socket that an earlier daemon has left counts as well.
 */
void block_daemon_wait(const struct fixture *fixture);
/* Kills the daemon. Asserts that it died of this kill: it must not have ended earlier because it
 * rejected something. */
void block_daemon_kill(pid_t pid);

#endif
