/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storms over the kinds of devices that the kernel's vhost serves, for a kernel that has vhost:
 * storm-vhost runs in the backend VM (tests/vm/storms.sh), with the programs in /usr/bin and the
 * modules loaded. At the end of each storm it prints how long the guest waited until it was told of
 * a death.
 */
#include <sys/socket.h> /* before linux/vm_sockets.h, which in Linux 6.1 does not include it */

#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/standin/storm_loads.h"
#include "tests/standin/vsock_fixture.h"

#define PORT 1053u /* a port of the host */

/* ---- Sockets ---- */

static struct sockaddr_vm address_of(uint32_t cid, uint32_t port)
{
    return (struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
}

static int listen_in_kernel(void)
{
    struct sockaddr_vm address = address_of(VMADDR_CID_ANY, PORT);
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    CU_ASSERT_EQUAL_FATAL(listen(fd, 64), 0);
    return fd;
}

static void start_vsock(struct vsock_fixture *test)
{
    *test = (struct vsock_fixture){.server = -1};
    fixture_init(&test->fixture);
    fixture_configure(&test->fixture, "devices:\n  - id: 0\n    type: vsock\n"
                                      "    data_plane: vhost\n    mmio_addr: 0xa003e00\n"
                                      "    guest_cid: 3\n");
    fixture_start(&test->fixture, 1, 1);
    fixture_guest(&test->fixture, 0, &test->vsock.guest);
    test->vsock.guest.timeout_ms = LOAD_DEADLINE_MS;
    test->server = listen_in_kernel();
    test->vsock.listening = GUEST_PORT;
    CU_ASSERT_EQUAL_FATAL(guest_vsock_start(&test->vsock, GUEST_VSOCK_FEATURES), 0);
}

/* A program on the host connects to the guest, and they talk. */
static void assert_host_connects(struct vsock_fixture *test)
{
    struct pair pair = pair_by_kernel(test);
    assert_talks(test, &pair);
    close(pair.host);
}

static struct storm storm;
static struct vsock_load sockets;

static void rage_on_sockets(storm_begin *begin, const char *words)
{
    static struct vsock_fixture test;
    start_vsock(&test);
    sockets = (struct vsock_load){.vsock = &test.vsock, .server = test.server, .port = PORT};
    storm_over_sockets(&storm, begin, &sockets, &test.fixture, words);
    assert_host_connects(&test);
    vsock_load_end(&sockets);
    vsock_stop(&test, true);
}

static void sockets_are_reset_at_once_and_made_anew(void)
{
    rage_on_sockets(storm_fewer_workers, "vsock by vhost");
    CU_ASSERT(sockets.resets >= storm.calm);
}

/* The next broker finds that the CID is free, too. */
static void sockets_survive_brokers(void)
{
    rage_on_sockets(storm_brokers, "vsock by vhost, brokers");
}

/* ---- Frames ---- */

static void rage_on_frames(storm_begin *begin, const char *words)
{
    static struct net_fixture net;
    net_fixture_start_plane(&net, "vhost", "mode tap", "", &net_load_options);
    storm_over_frames(begin, &net, words);
    net_fixture_stop(&net);
}

static void frames_go_on_without_a_reset(void)
{
    rage_on_frames(storm_fewer_workers, "net by vhost");
}

static void frames_survive_brokers(void)
{
    rage_on_frames(storm_brokers, "net by vhost, brokers");
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"vsock: reset at once, and made anew", sockets_are_reset_at_once_and_made_anew},
        {"vsock brokers: a broker dies", sockets_survive_brokers},
        {"net: frames go on without a reset", frames_go_on_without_a_reset},
        {"net brokers: a broker dies", frames_survive_brokers},
        CU_TEST_INFO_NULL,
    };
    return net_fixture_namespace() ? fixture_main(argc, argv, "storm over vhost", tests)
                                   : EXIT_FAILURE;
}
