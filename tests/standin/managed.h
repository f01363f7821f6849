/* SPDX-License-Identifier: Apache-2.0 */
/* A device model under service_manager.c: the fixture for the tests of the keeper's death. */
#ifndef TESTS_STANDIN_MANAGED_H
#define TESTS_STANDIN_MANAGED_H

#include "tests/standin/fixture.h"

#define MANAGED_DEADLINE_MS 20000

struct managed {
    struct fixture fixture;
    int commands, events;
    const char *starter[8];
};

/* Make two images and the configuration. `kill_at`: see service_manager.c; NULL: never. `abstract`:
 * the service manager's socket has no name in the file system. */
void managed_prepare(struct managed *managed, const char *yaml, const char *kill_at, bool abstract);

/* How many lines of the service manager begin with `begin`. */
unsigned int managed_events(const struct managed *managed, const char *begin);
void managed_wait_events(const struct managed *managed, const char *begin, unsigned int count);

/* Send letters (commands) to the service manager. */
void managed_command(const struct managed *managed, const char *letters);

/* Start another keeper, and wait until it has said READY and works. `spoil`: letters to send before
 * its start. */
void managed_restart(const struct managed *managed, const char *spoil);

/* Asserts a clean end, and that the dispatcher was asked for `devices` devices, once each. */
void managed_stop(struct managed *managed, unsigned int devices);
/* The other part of managed_stop, for a device model that has already ended. */
void managed_free(struct managed *managed);

#endif
