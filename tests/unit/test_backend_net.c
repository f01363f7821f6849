/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network devices in the broker: what is learned of a tap, what a worker gets, what the user is
 * told of a link, and the kernel's vhost-net. The kernel is a stand-in (tests/unit/kernel_nodes.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <linux/vhost.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "broker/backend/backend.h"
#include "tests/cunit_main.h"
#include "tests/unit/fd_count.h"
#include "tests/unit/kernel_nodes.h"

static struct backend backend;
static struct failure failure;
static struct device_config config;
static enum config_key key;
static struct message_start start;
static struct backend_fds given;

static void begin(enum device_kind kind)
{
    kernel_begin();
    kernel.interfaces[0] = (struct interface){.name = "tap0", .index = 7, .mtu = 1500};
    kernel.vhost_features = 0x1234567812345678;
    config = (struct device_config){.kind = kind, .id = 4, .tap_name = (char *)"tap0"};
    backend_init(&backend, &config);
}

static int open_backend(void)
{
    failure.text[0] = '\0';
    key = CONFIG_KEY_ID;
    int result = backend.ops->open(&backend, &key, &failure);
    CU_ASSERT_EQUAL(result < 0, failure.text[0] != '\0');
    return result;
}

static void close_backend(void)
{
    for (size_t file = 0; file < OPENED_FILES; file++) {
        if (backend.files[file] >= 0)
            close(backend.files[file]);
    }
}

/* The files that it has are those that a device of this configuration has. */
static void has_its_files(void)
{
    uint32_t files = 0;
    for (size_t file = 0; file < OPENED_FILES; file++)
        files |= backend.files[file] >= 0 ? 1u << file : 0;
    CU_ASSERT_EQUAL(files, backend.ops->files(&config));
}

static int give(void)
{
    memset(&start, 0xff, sizeof(start));
    memset(&given, 0xff, sizeof(given));
    return backend.ops->give(&backend, &start, &given);
}

/* ---- A tap ---- */

static void what_is_learned(void)
{
    static const uint8_t mac[6] = {0x02, 0x12, 0x34, 0x56, 0x78, 0x9a};
    int header_size = 0;
    begin(DEVICE_NET_VIRTIO);
    config.mac_addr = (char *)"02:12:34:56:78:9a";
    kernel.interfaces[0].mtu = 1400;
    kernel.offloads = TUN_F_CSUM;
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
    CU_ASSERT_EQUAL(key, CONFIG_KEY_TAP_NAME);
    has_its_files();
    CU_ASSERT_STRING_EQUAL(backend.words, "");
    CU_ASSERT(backend.file_id.device == 0 && backend.file_id.inode == 7);
    CU_ASSERT_STRING_EQUAL(backend.learned.net.name, "tap0");
    CU_ASSERT_EQUAL(backend.learned.net.index, 7);
    CU_ASSERT_PTR_EQUAL(kernel_attached(backend.files[OPENED_TAP_FIRST], &header_size),
                        &kernel.interfaces[0]);

    CU_ASSERT_EQUAL(give(), 0);
    CU_ASSERT_EQUAL(memcmp(start.of_kind.net.mac, mac, sizeof(mac)), 0);
    CU_ASSERT_EQUAL(start.of_kind.net.mtu, 1400);
    CU_ASSERT_EQUAL(start.of_kind.net.tun_offloads, TUN_F_CSUM);
    CU_ASSERT(given.count == 1 && given.fds[0] == backend.files[OPENED_TAP_FIRST]);
    CU_ASSERT_FALSE(given.owned); /* the next worker gets it as well */
    CU_ASSERT(given.boxed == 0 && given.kept == 0);
    close_backend();
}

/* It is the same address after each start, and the devices of a machine have different ones. */
static void addresses_that_nobody_chose(void)
{
    uint8_t first[6];
    begin(DEVICE_NET_VIRTIO);
    CU_ASSERT_EQUAL(open_backend(), 0);
    memcpy(first, backend.learned.net.start.mac, sizeof(first));
    CU_ASSERT_EQUAL(first[0] & 3, 2); /* chosen here, and of one station */
    close_backend();
    begin(DEVICE_NET_VIRTIO);
    CU_ASSERT_EQUAL(open_backend(), 0);
    CU_ASSERT_EQUAL(memcmp(backend.learned.net.start.mac, first, sizeof(first)), 0);
    close_backend();
    begin(DEVICE_NET_VIRTIO);
    config.id = 5;
    CU_ASSERT_EQUAL(open_backend(), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(backend.learned.net.start.mac, first, sizeof(first)), 0);
    close_backend();
}

static void a_tap_that_was_made(void)
{
    begin(DEVICE_NET_VIRTIO);
    config.tap_name = (char *)"tap1";
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
    CU_ASSERT_STRING_EQUAL(
        backend.words,
        "tap \"tap1\" did not exist and was made: it has no address, and goes when bao-virtio-dm "
        "goes: \"ip address add ADDRESS/24 dev tap1\", or \"ip link set tap1 master BRIDGE\"");
    close_backend();
}

/* One tap queue for each pair of the device's; and the control queue, §5.1.2. */
static void pairs_of_queues(void)
{
    for (uint32_t pairs = 0; pairs <= 7; pairs++) {
        uint32_t real = pairs > 0 ? pairs : 1;
        begin(DEVICE_NET_VIRTIO);
        config.queues = pairs;
        kernel.interfaces[0].several = real > 1;
        CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
        CU_ASSERT_EQUAL(backend.ops->queues(&config), 2 * real + 1);
        has_its_files();
        CU_ASSERT_EQUAL(give(), 0);
        CU_ASSERT_EQUAL(given.count, real);
        for (uint32_t i = 0; i < real; i++)
            CU_ASSERT_EQUAL(given.fds[i], backend.files[OPENED_TAP_FIRST + i]);
        close_backend();
    }
}

static void mtu(uint32_t of_file, int of_tap, bool accepted, uint16_t learned)
{
    char words[200];
    begin(DEVICE_NET_VIRTIO);
    config.mtu = of_file;
    kernel.interfaces[0].mtu = of_tap;
    CU_ASSERT_EQUAL(open_backend(), accepted ? 0 : -ERANGE);
    CU_ASSERT_EQUAL(key, CONFIG_KEY_TAP_NAME);
    if (accepted)
        CU_ASSERT_EQUAL(backend.learned.net.start.mtu, learned);
    if (!accepted) {
        snprintf(words, sizeof(words),
                 "tap \"tap0\" has an MTU of %d; expected 1280 to 65535: \"ip link set tap0 mtu "
                 "1500\"",
                 of_file > 0 ? (int)of_file : of_tap);
        CU_ASSERT_STRING_EQUAL(failure.text, words);
    }
    close_backend();
}

/* VirtIO 1.2 §5.1.4.1. The tap's counts, unless the file has one. */
static void mtus(void)
{
    mtu(0, 1279, false, 0);
    mtu(0, 1280, true, 1280);
    mtu(0, 65535, true, 65535);
    mtu(0, 65536, false, 0);
    mtu(1281, 68, true, 1281);
    mtu(9000, 70000, true, 9000);
    mtu(1, 1500, false, 0);
}

static void a_tap_that_fails(void)
{
    begin(DEVICE_NET_VIRTIO);
    unsigned int before = fd_count();
    kernel_refuses(SIOCGIFMTU, EPERM, 0, 1);
    CU_ASSERT_EQUAL(open_backend(), -EPERM);
    CU_ASSERT_EQUAL(key, CONFIG_KEY_TAP_NAME);
    CU_ASSERT_STRING_EQUAL(failure.text, "tap \"tap0\": SIOCGIFMTU: Operation not permitted");
    CU_ASSERT_EQUAL(fd_count(), before);
    for (size_t file = 0; file < OPENED_FILES; file++)
        CU_ASSERT_EQUAL(backend.files[file], -1);
}

/* What an earlier broker knew of the device: its tap may have another name by now. */
static void a_tap_from_before(void)
{
    begin(DEVICE_NET_VIRTIO);
    config.tap_name = (char *)"old";
    backend.tap_before = (struct tap_before){.ran = true, .index = 7};
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
    CU_ASSERT_STRING_EQUAL(backend.learned.net.name, "tap0");
    close_backend();
}

static void names_without_an_end(void)
{
    union opened_part learned = {0};
    CU_ASSERT_TRUE(backend_net.learned_usable(&learned));
    memset(learned.net.name, 'x', sizeof(learned.net.name));
    CU_ASSERT_FALSE(backend_net.learned_usable(&learned));
    learned.net.name[sizeof(learned.net.name) - 1] = '\0';
    CU_ASSERT_TRUE(backend_net.learned_usable(&learned));
}

/* ---- Its link ---- */

#define IS_DOWN                                                                                    \
    "tap \"tap0\" is down, and the frontend's link with it: \"ip link set tap0 up\"; a new one "   \
    "also needs an address or a bridge"
#define WAS_MOVED                                                                                  \
    "tap \"tap0\" is in another network namespace now: the link is up while the interface is, "    \
    "whatever its carrier"
#define IS_BACK "tap \"tap0\" is back in its network namespace"
#define WAS_REMOVED                                                                                \
    "tap \"tap0\" was removed: the link is down until bao-virtio-dm is started again"
#define START_AGAIN "tap \"tap0\" was removed: start bao-virtio-dm again"

/* Then the worker is told, if `new`; and the log has one line more, if `news` is none of "". */
static void sees(bool new, bool up, const char *news, const char *trouble)
{
    struct state_backend state = {.link_up = 77};
    backend.news.text[0] = '\0'; /* as logging it does */
    CU_ASSERT_EQUAL(backend.ops->look(&backend, &state), new);
    CU_ASSERT_EQUAL(state.link_up, up);
    CU_ASSERT_STRING_EQUAL(backend.news.text, news);
    CU_ASSERT_STRING_EQUAL(backend.trouble.text, trouble);
}

static void the_log_is_told_once(void)
{
    begin(DEVICE_NET_VIRTIO);
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
    struct interface *tap = &kernel.interfaces[0];
    sees(true, false, IS_DOWN, IS_DOWN); /* the worker does not know yet */
    sees(false, false, "", IS_DOWN);
    tap->flags = IFF_UP | IFF_RUNNING;
    sees(true, true, "", "");
    sees(false, true, "", "");
    tap->flags = IFF_UP; /* who took the carrier away knows of it */
    sees(true, false, "", "");
    sees(false, false, "", "");
    tap->flags = 0;
    sees(false, false, IS_DOWN, IS_DOWN);
    tap->flags = IFF_UP | IFF_RUNNING;
    sees(true, true, "", "");
    close_backend();
}

static void the_first_link_is_up(void)
{
    begin(DEVICE_NET_VIRTIO);
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
    kernel.interfaces[0].flags = IFF_UP | IFF_RUNNING;
    sees(true, true, "", "");
    sees(false, true, "", "");
    kernel.interfaces[0].flags = IFF_RUNNING;
    sees(true, false, IS_DOWN, IS_DOWN);
    close_backend();
}

static void a_tap_moves(void)
{
    begin(DEVICE_NET_VIRTIO);
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
    struct interface *tap = &kernel.interfaces[0];
    tap->flags = IFF_UP | IFF_RUNNING;
    sees(true, true, "", "");
    tap->elsewhere = true; /* the kernel sets it down, too: one line is enough */
    tap->flags = 0;
    sees(true, false, WAS_MOVED, IS_DOWN);
    sees(false, false, "", IS_DOWN);
    tap->flags = IFF_UP;
    sees(true, true, "", "");
    tap->elsewhere = false;
    tap->flags = IFF_UP | IFF_RUNNING;
    sees(false, true, IS_BACK, "");
    sees(false, true, "", "");
    close_backend();
}

static void a_tap_is_removed(void)
{
    begin(DEVICE_NET_VIRTIO);
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
    kernel.interfaces[0].flags = IFF_UP | IFF_RUNNING;
    sees(true, true, "", "");
    kernel.interfaces[0].index = 0;
    sees(true, false, WAS_REMOVED, START_AGAIN);
    sees(false, false, "", START_AGAIN);
    close_backend();
    begin(DEVICE_NET_VIRTIO); /* one that was down before */
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
    sees(true, false, IS_DOWN, IS_DOWN);
    kernel.interfaces[0].index = 0;
    sees(false, false, WAS_REMOVED, START_AGAIN);
    sees(false, false, "", START_AGAIN);
    close_backend();
}

/* ---- With vhost-net ---- */

static void vhost_is_there(void)
{
    begin(DEVICE_NET_VHOST);
    unsigned int before = fd_count();
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
    CU_ASSERT_EQUAL(fd_count(), before + 2); /* the tap, and a socket: the node is closed again */
    has_its_files();
    CU_ASSERT_EQUAL(kernel_calls(VHOST_GET_FEATURES), 1);
    CU_ASSERT_STRING_EQUAL(backend.ops->node, "/dev/vhost-net");
    CU_ASSERT_TRUE(backend_net_vhost.learned_usable(&backend.learned));
    close_backend();
}

/* Each worker gets an open file of the node for itself, and the tap, which stays the broker's. */
static void what_a_vhost_worker_gets(void)
{
    begin(DEVICE_NET_VHOST);
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
    unsigned int before = fd_count();
    CU_ASSERT_EQUAL_FATAL(give(), 0);
    CU_ASSERT_STRING_EQUAL(kernel.opened, backend.ops->node_in_root);
    CU_ASSERT_EQUAL(kernel.open_flags, O_RDWR | O_CLOEXEC);
    CU_ASSERT_EQUAL(start.of_kind.net.vhost_features, 0x1234567812345678);
    CU_ASSERT_EQUAL(start.of_kind.net.mtu, 1500);
    CU_ASSERT_EQUAL(given.count, 3);
    CU_ASSERT_EQUAL(kernel_call(VHOST_GET_FEATURES, 1)->fd, given.fds[0]);
    CU_ASSERT_EQUAL(given.fds[1], backend.files[OPENED_TAP_FIRST]);
    CU_ASSERT_EQUAL(fcntl(given.fds[2], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    CU_ASSERT_EQUAL(fcntl(given.fds[2], F_GETFD), FD_CLOEXEC);
    uint64_t errors = 0;
    CU_ASSERT(read(given.fds[2], &errors, sizeof(errors)) < 0 && errno == EAGAIN);
    CU_ASSERT_TRUE(given.owned);
    CU_ASSERT_EQUAL(given.kept, 1u << 1);
    CU_ASSERT_EQUAL(given.boxed, 0);
    close(given.fds[0]);
    close(given.fds[2]);
    CU_ASSERT_EQUAL(fd_count(), before);
    close_backend();
}

static void vhost_refused(unsigned long request, int error, const char *words)
{
    begin(DEVICE_NET_VHOST);
    unsigned int before = fd_count();
    kernel_refuses(request, error, 0, 1);
    CU_ASSERT_EQUAL(open_backend(), -error);
    CU_ASSERT_EQUAL(key, CONFIG_KEY_DATA_PLANE);
    CU_ASSERT_STRING_EQUAL(failure.text, words);
    CU_ASSERT_EQUAL(fd_count(), before);
}

static void vhost_that_fails(void)
{
    vhost_refused(CALL_OPEN, ENOENT,
                  "/dev/vhost-net: No such file or directory: load the module with \"modprobe "
                  "vhost_net\"");
    vhost_refused(CALL_OPEN, ENODEV,
                  "/dev/vhost-net: No such device: load the module with \"modprobe vhost_net\"");
    vhost_refused(CALL_OPEN, EACCES, "/dev/vhost-net: Permission denied");
    vhost_refused(VHOST_GET_FEATURES, EPERM, "/dev/vhost-net: Operation not permitted");
}

/* For a worker, too: it has to wait then, and nothing is left open. */
static void giving_that_fails(void)
{
    static const unsigned long requests[] = {CALL_OPEN, VHOST_GET_FEATURES, CALL_EVENTFD};
    begin(DEVICE_NET_VHOST);
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
    unsigned int before = fd_count();
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        memset(kernel.refusals, 0, sizeof(kernel.refusals));
        kernel_refuses(requests[i], EMFILE, 0, 1);
        CU_ASSERT_EQUAL(give(), -EMFILE);
        CU_ASSERT_EQUAL(fd_count(), before);
    }
    close_backend();
}

/* A number of a file is no failure unless it is negative. */
static void a_file_may_have_the_number_0(void)
{
    begin(DEVICE_NET_VHOST);
    kernel_gives_0(CALL_OPEN);
    CU_ASSERT_EQUAL(open_backend(), 0);
    kernel_takes_0();
    kernel_gives_0(CALL_OPEN);
    CU_ASSERT_EQUAL(give(), 0);
    CU_ASSERT(given.fds[0] == 0 && given.fds[2] > 0);
    close(given.fds[2]);
    kernel_takes_0();
    kernel_gives_0(CALL_EVENTFD);
    CU_ASSERT_EQUAL(give(), 0);
    CU_ASSERT(given.fds[0] > 0 && given.fds[2] == 0);
    close(given.fds[0]);
    kernel_takes_0();
    close_backend();
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"what is learned", what_is_learned},
        {"addresses that nobody chose", addresses_that_nobody_chose},
        {"a tap that was made", a_tap_that_was_made},
        {"pairs of queues", pairs_of_queues},
        {"MTUs", mtus},
        {"a tap that fails", a_tap_that_fails},
        {"a tap from before", a_tap_from_before},
        {"names without an end", names_without_an_end},
        {"the log is told once", the_log_is_told_once},
        {"the first link is up", the_first_link_is_up},
        {"a tap moves", a_tap_moves},
        {"a tap is removed", a_tap_is_removed},
        {"vhost is there", vhost_is_there},
        {"what a vhost worker gets", what_a_vhost_worker_gets},
        {"vhost that fails", vhost_that_fails},
        {"giving that fails", giving_that_fails},
        {"a file may have the number 0", a_file_may_have_the_number_0},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "network devices in the broker", tests);
}
