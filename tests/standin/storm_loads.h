/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storms over loads of loads.h, for any data plane: what test_storm and storm-vhost share. Each
 * takes a device that is at work, and leaves it at work, so that the test can go on with it.
 */
#ifndef TESTS_STANDIN_STORM_LOADS_H
#define TESTS_STANDIN_STORM_LOADS_H

#include "tests/standin/loads.h"
#include "tests/standin/storm.h"

/* Asserts that frames go on, that none is damaged, that each buffer has come back, and that the
 * device needs no reset. `words`: for storm_report. */
void storm_over_frames(storm_begin *begin, struct net_fixture *net, const char *words);

/* Asserts that each connection has had its answer or its reset, at once, and that the guest was
 * told of each death that came during connections. The caller owns `storm` and `load`. It has set
 * what the load needs, and can look at both afterwards; it also calls vsock_load_end. */
void storm_over_sockets(struct storm *storm, storm_begin *begin, struct vsock_load *load,
                        const struct fixture *fixture, const char *words);

#endif
