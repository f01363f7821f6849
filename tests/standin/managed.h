/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device model under service_manager.c: the fixture of the tests of the keeper's death.
 */
#ifndef TESTS_STANDIN_MANAGED_H
#define TESTS_STANDIN_MANAGED_H

#include "tests/standin/fixture.h"

#define MANAGED_DEADLINE_MS 20000

struct managed {
    struct fixture fixture;
    int commands, events;
    const char *starter[8];
};

/* Two images, and the configuration. `kill_at`: see service_manager.c; NULL: never. `abstract`: the
 * service manager's socket has no name in the file system. */
void managed_prepare(struct managed *managed, const char *yaml, const char *kill_at, bool abstract);

/* How many lines the service manager has said that begin so. */
unsigned int managed_events(const struct managed *managed, const char *begin);
void managed_wait_events(const struct managed *managed, const char *begin, unsigned int count);

/* Letters for the service manager. */
void managed_command(const struct managed *managed, const char *letters);

/* Another keeper, which has said READY, and is at work. `spoil`: letters for its start. */
void managed_restart(const struct managed *managed, const char *spoil);

/* Asserts a clean end, and that `devices` have been asked of the dispatcher, once each. */
void managed_stop(struct managed *managed, unsigned int devices);
/* The rest of it, for one that has ended. */
void managed_free(struct managed *managed);

#endif
