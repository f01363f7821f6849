/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A restart under a service manager, with another configuration: a device that has run keeps its
 * tap, and no other tap is made in its place.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/standin/managed.h"
#include "tests/standin/net_fixture.h"

#define DEADLINE_MS MANAGED_DEADLINE_MS

#define NET(mac)                                                                                   \
    "devices:\n"                                                                                   \
    "  - id: 0\n    type: rng\n    data_plane: virtio\n    mmio_addr: 0xa003e00\n"                 \
    "  - id: 1\n    type: net\n    data_plane: virtio\n    mmio_addr: 0xa004000\n"                 \
    "    tap_name: tap0\n    mac_addr: \"52:54:00:12:34:" mac "\"\n"

static void start(struct managed *managed)
{
    managed_prepare(managed, NET("01"), NULL, false);
    fixture_start(&managed->fixture, 2, 2);
}

/* A tap takes one open file. If it does not take ours, the device has it. */
static bool is_in_use(const char *tap)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    if (if_nametoindex(tap) == 0)
        return false;
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", tap);
    bool busy = fd >= 0 && ioctl(fd, TUNSETIFF, &request) < 0 && errno == EBUSY;
    if (fd >= 0)
        close(fd);
    return busy;
}

static void wait_in_use(const char *tap)
{
    for (unsigned int i = 0; i < DEADLINE_MS / 10 && !is_in_use(tap); i++)
        usleep(10000);
    CU_ASSERT_TRUE(is_in_use(tap));
}

/* The configuration of the device has changed, so its tap is opened again. */
static void restart_with(struct managed *managed, const char *yaml, const char *tap)
{
    fixture_configure(&managed->fixture, yaml);
    managed_restart(managed, "");
    wait_in_use(tap);
}

static void a_tap_of_another_name_is_not_made_anew(void)
{
    struct managed managed;
    if (!net_fixture_namespace())
        CU_FAIL_FATAL("no namespace for a tap");
    net_fixture_interface("mode tap");
    start(&managed);
    net_fixture_ip("link set tap0 down");
    net_fixture_ip("link set tap0 name tap7");
    restart_with(&managed, NET("02"), "tap7");
    CU_ASSERT_EQUAL(if_nametoindex("tap0"), 0);
    net_fixture_ip("link del tap7");
    fixture_configure(&managed.fixture, NET("03"));
    managed_restart(&managed, "");
    fixture_wait_logged(&managed.fixture, "tap \"tap0\" is not there any more: none is made",
                        DEADLINE_MS);
    CU_ASSERT_EQUAL(if_nametoindex("tap0"), 0);
    net_fixture_interface("mode tap");
    wait_in_use("tap0");
    managed_stop(&managed, 2);
    net_fixture_ip("link del tap0");
}

/* There is no tap, so the device model makes one. Returns its index. */
static unsigned int start_with_own_tap(struct managed *managed)
{
    if (!net_fixture_namespace())
        CU_FAIL_FATAL("no namespace for a tap");
    start(managed);
    unsigned int index = if_nametoindex("tap0");
    CU_ASSERT_NOT_EQUAL(index, 0);
    return index;
}

static void stop_with_own_tap(struct managed *managed)
{
    managed_stop(managed, 2);
    CU_ASSERT_EQUAL(if_nametoindex("tap0"), 0);
}

/* The device model has made this tap. The tap lasts as long as the device model runs, though its
 * files are replaced. */
static void a_tap_of_its_own_is_the_same_after_a_restart(void)
{
    struct managed managed;
    const unsigned int index = start_with_own_tap(&managed);
    restart_with(&managed, NET("02"), "tap0");
    CU_ASSERT_EQUAL(if_nametoindex("tap0"), index);
    restart_with(&managed, NET("03"), "tap0");
    CU_ASSERT_EQUAL(if_nametoindex("tap0"), index);
    stop_with_own_tap(&managed);
}

/* The first opener of the second run fails when it has the tap's files already. */
static void a_tap_of_its_own_outlasts_a_failure_to_open_it_again(void)
{
    struct managed managed;
    const unsigned int index = start_with_own_tap(&managed);
    net_fixture_ip("link set tap0 mtu 1000");
    fixture_configure(&managed.fixture, NET("02"));
    managed_restart(&managed, "");
    fixture_wait_logged(&managed.fixture, "tap \"tap0\" has an MTU of 1000", DEADLINE_MS);
    CU_ASSERT_EQUAL(if_nametoindex("tap0"), index);
    net_fixture_ip("link set tap0 mtu 1500");
    fixture_wait_logged(&managed.fixture, "net 1: its backend is open now", DEADLINE_MS);
    CU_ASSERT_EQUAL(if_nametoindex("tap0"), index);
    stop_with_own_tap(&managed);
}

/* Each restart meets the one before it while the tap's files are being replaced. */
static void a_tap_of_its_own_outlasts_restarts_that_are_cut_short(void)
{
    struct managed managed;
    const unsigned int index = start_with_own_tap(&managed);
    for (unsigned int round = 0; round < 10; round++) {
        unsigned int started = managed_events(&managed, "started");
        fixture_configure(&managed.fixture, round % 2 == 0 ? NET("02") : NET("01"));
        managed_command(&managed, "r");
        managed_wait_events(&managed, "started", started + 1);
        usleep(round * 5000); /* another moment each time */
        CU_ASSERT_EQUAL(if_nametoindex("tap0"), index);
    }
    restart_with(&managed, NET("03"), "tap0");
    CU_ASSERT_EQUAL(if_nametoindex("tap0"), index);
    stop_with_own_tap(&managed);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"a tap of another name is not made anew", a_tap_of_another_name_is_not_made_anew},
        {"a tap of its own is the same after a restart",
         a_tap_of_its_own_is_the_same_after_a_restart},
        {"a tap of its own outlasts a failure to open it again",
         a_tap_of_its_own_outlasts_a_failure_to_open_it_again},
        {"a tap of its own outlasts restarts that are cut short",
         a_tap_of_its_own_outlasts_restarts_that_are_cut_short},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "the taps of a restart", tests);
}
