/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/storm_loads.h"

#include <unistd.h>

void storm_over_frames(storm_begin *begin, struct net_fixture *net, const char *words)
{
    static struct net_load load;
    static struct storm storm;
    bool arrives = true;
    load = (struct net_load){.net = net};
    net->net.guest.timeout_ms = LOAD_DEADLINE_MS;
    begin(&storm, &net->fixture);
    while (storm_rages(&storm) && (arrives = net_load_exchange(&load))) {
        storm_progress(&storm);
        usleep(200);
    }
    CU_ASSERT_TRUE(arrives);
    storm_end(&storm);
    storm_report(&storm, words);
    CU_ASSERT_TRUE(net_load_exchange(&load));
    CU_ASSERT_EQUAL(load.wrong, 0);
    CU_ASSERT_EQUAL(guest_net_flush(&net->net, 0), 0); /* each buffer has come back */
    fixture_assert_running(&net->net.guest);
}

void storm_over_sockets(struct storm *storm, storm_begin *begin, struct vsock_load *load,
                        const struct fixture *fixture, const char *words)
{
    bool answered = true;
    load->storm = storm;
    load->vsock->guest.timeout_ms = LOAD_DEADLINE_MS;
    begin(storm, fixture);
    while (storm_rages(storm) && (answered = vsock_load_run(load)))
        storm_progress(storm);
    CU_ASSERT_TRUE(answered);
    storm_end(storm);
    storm_report(storm, words);
    CU_ASSERT_EQUAL(load->wrong, 0);
    CU_ASSERT_EQUAL(load->lost, 0);
    CU_ASSERT(load->vsock->transport_resets >= storm->calm);
}
