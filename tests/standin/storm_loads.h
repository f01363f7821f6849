/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storms over loads of loads.h, whichever data plane serves them: what test_storm has in common
 * with storm-vhost. Each takes a device that is at work, and leaves it so, for more to be asked of
 * it.
 */
#ifndef TESTS_STANDIN_STORM_LOADS_H
#define TESTS_STANDIN_STORM_LOADS_H

#include "tests/standin/loads.h"
#include "tests/standin/storm.h"

/* Asserts that frames go on, that none is damaged, that each buffer has come back, and that nobody
 * needs a reset. `words` for storm_report. */
void storm_over_frames(storm_begin *begin, struct net_fixture *net, const char *words);

/* Asserts that each connection has had its answer or its reset, at once, and that the guest was
 * told of each death in the midst of connections. `storm` and `load` are the caller's, who has set
 * what the load needs, and can look at both afterwards; so is vsock_load_end. */
void storm_over_sockets(struct storm *storm, storm_begin *begin, struct vsock_load *load,
                        const struct fixture *fixture, const char *words);

#endif
