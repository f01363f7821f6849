/* SPDX-License-Identifier: Apache-2.0 */
/* The devices that are attacked from within, with their drivers. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/attack/session.h"
#include "tests/standin/block_daemon.h"
#include "tests/standin/clock.h"
#include "tests/standin/net_fixture.h"
#include "tests/standin/vsock_fixture.h"

#define PATIENCE_MS 60000

static void run(const char *format, const char *dir)
{
    char command[512];
    snprintf(command, sizeof(command), format, dir, dir);
    CU_ASSERT_EQUAL_FATAL(system(command), 0);
}

/* ---- rng ---- */

#define RNG_ID 4
#define RNG_FEATURES (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM)

static struct {
    struct guest guest;
    struct guest_queue queue;
    uint8_t *buffer;
    uint64_t addr;
} rng;

static void free_rng(struct session *session)
{
    (void)session;
    guest_queue_free(&rng.queue);
}

static void start_rng(struct session *session)
{
    free_rng(session);
    fixture_guest(&session->fixture, 0, &rng.guest);
    CU_ASSERT_EQUAL_FATAL(guest_probe(&rng.guest, RNG_ID), 0);
    CU_ASSERT_EQUAL_FATAL(guest_negotiate(&rng.guest, RNG_FEATURES), 0);
    CU_ASSERT_EQUAL_FATAL(guest_queue_start(&rng.guest, &rng.queue, 0, 0), 0);
    rng.buffer = guest_alloc(&rng.guest, 256, 64, &rng.addr);
    CU_ASSERT_PTR_NOT_NULL_FATAL(rng.buffer);
    CU_ASSERT_EQUAL_FATAL(guest_driver_ok(&rng.guest), 0);
}

static void rng_serves(struct session *session)
{
    const struct guest_segment segment = {rng.addr, 256, true};
    uint32_t length = 0;
    (void)session;
    CU_ASSERT_EQUAL_FATAL(guest_queue_add(&rng.queue, &segment, 1, rng.buffer), 0);
    guest_queue_kick(&rng.queue);
    while (!guest_queue_get(&rng.queue, &length)) {
        if (guest_queue_enable_interrupts(&rng.queue))
            CU_ASSERT_FATAL(guest_take_interrupt(&rng.guest) >= 0);
    }
    CU_ASSERT_EQUAL(length, 256);
    fixture_assert_running(&rng.guest);
}

const struct victim victim_rng = {
    .name = "rng/virtio",
    .yaml = "  - id: 0\n    type: rng\n    data_plane: virtio\n    mmio_addr: 0xa003e00\n",
    .devices = 1,
    .start = start_rng,
    .serves = rng_serves,
    .free = free_rng,
};

/* ---- block, and what a daemon serves in its place ---- */

static struct guest_block block;

static void free_block(struct session *session)
{
    (void)session;
    guest_block_free(&block);
}

static void start_block_with(struct session *session, uint64_t features)
{
    free_block(session);
    fixture_block(&session->fixture, 0, &block, features, 4, 4096);
}

static void start_block(struct session *session)
{
    start_block_with(session, GUEST_BLOCK_FEATURES);
}

static void block_serves(struct session *session)
{
    uint8_t data[512];
    (void)session;
    memset(data, 0x5a, sizeof(data));
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_OUT, 100, data, sizeof(data)),
                    VIRTIO_BLK_S_OK);
    memset(data, 0, sizeof(data));
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_IN, 100, data, sizeof(data)),
                    VIRTIO_BLK_S_OK);
    CU_ASSERT(data[0] == 0x5a && data[511] == 0x5a);
    fixture_assert_running(&block.guest);
}

/* A small file system. A bystander's image is on it as well. */
static void make_file_system(struct session *session)
{
    run("cd %s && mkdir fs && truncate -s 96M fs.img && mkfs.ext4 -q -F fs.img && "
        "mount -o loop fs.img fs && truncate -s 8M fs/disk.img",
        session->fixture.dir);
}

static void remove_file_system(struct session *session)
{
    run("umount %s/fs && rmdir %s/fs", session->fixture.dir);
}

#define DISK(its_name, keys)                                                                       \
    {                                                                                              \
        .name = its_name,                                                                          \
        .yaml = "  - id: 0\n    type: block\n    data_plane: virtio\n"                             \
                "    mmio_addr: 0xa003e00\n    file_path: \"@/fs/disk.img\"\n" keys,               \
        .devices = 1, .folder = "fs", .prepare = make_file_system, .clean_up = remove_file_system, \
        .start = start_block, .serves = block_serves, .free = free_block,                          \
    }

const struct victim victim_block = DISK("block/virtio", "");
const struct victim victim_ring = DISK("block/io_uring", "    io_engine: io_uring\n");

static pid_t daemon_pid;

static void start_daemon(struct session *session)
{
    char socket_path[96];
    snprintf(socket_path, sizeof(socket_path), "%s/blk.sock", session->fixture.dir);
    unlink(socket_path);
    daemon_pid = block_daemon_start(&session->fixture, "disk.img", NULL);
    block_daemon_wait(&session->fixture);
}

static void prepare_daemon(struct session *session)
{
    fixture_make_image(&session->fixture, "disk.img", FIXTURE_IMAGE_SECTORS);
    start_daemon(session);
}

/* Its own worker may have killed it. It belongs to that device and to no other. */
static void end_daemon(struct session *session)
{
    (void)session;
    kill(daemon_pid, SIGKILL);
    CU_ASSERT_EQUAL(waitpid(daemon_pid, NULL, 0), daemon_pid);
}

static void start_with_daemon(struct session *session)
{
    if (waitpid(daemon_pid, NULL, WNOHANG) == daemon_pid)
        start_daemon(session);
    start_block_with(session, 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |
                                  1ull << VIRTIO_BLK_F_FLUSH);
}

const struct victim victim_daemon = {
    .name = "other/vhost_user",
    .yaml = "  - id: 0\n    type: block\n    data_plane: vhost_user\n    mmio_addr: 0xa003e00\n"
            "    config_size: 8\n    socket_path: \"@/blk.sock\"\n",
    .devices = 1,
    .prepare = prepare_daemon,
    .clean_up = end_daemon,
    .start = start_with_daemon,
    .serves = block_serves,
    .free = free_block,
};

/* ---- console ---- */

#define HELLO "hello, world"

static struct {
    struct guest_console console;
    int user; /* at the terminal, or a client */
} console = {.user = -1};

static void free_console(struct session *session)
{
    (void)session;
    guest_console_free(&console.console);
    if (console.user >= 0)
        close(console.user);
    console.user = -1;
}

static void start_console(struct session *session)
{
    free_console(session);
    memset(&console.console, 0, sizeof(console.console));
    fixture_guest(&session->fixture, 0, &console.console.guest);
    CU_ASSERT_EQUAL_FATAL(guest_console_start(&console.console, GUEST_CONSOLE_FEATURES), 0);
}

/* The guest says it again and again: bytes that an attacker has left come first. */
static bool says_hello_to(int fd, const char *file)
{
    static char seen[1 << 20];
    size_t length = 0;
    for (uint64_t end = now_ms() + PATIENCE_MS; now_ms() < end; usleep(1000)) {
        guest_console_poll(&console.console);
        if (guest_console_busy(&console.console, 0) == 0)
            (void)guest_console_send(&console.console, 0, HELLO, sizeof(HELLO) - 1);
        ssize_t got = file ? pread(fd, seen, sizeof(seen), lseek(fd, 0, SEEK_END) - 64)
                           : read(fd, seen + length, sizeof(seen) - length);
        size_t known = got > 0 ? (file ? 0 : length) + (size_t)got : length;
        if (memmem(seen, known, HELLO, sizeof(HELLO) - 1))
            return true;
        length = file || known > sizeof(seen) / 2 ? 0 : known;
    }
    return false;
}

static int open_in(const struct session *session, const char *name, int flags)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/%s", session->fixture.dir, name);
    int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC);
    CU_ASSERT_FATAL(fd >= 0);
    return fd;
}

static void terminal_serves(struct session *session)
{
    if (console.user < 0)
        console.user = open_in(session, "console", O_RDWR | O_NOCTTY);
    CU_ASSERT_TRUE(says_hello_to(console.user, NULL));
    fixture_assert_running(&console.console.guest);
}

const struct victim victim_console = {
    .name = "console/virtio",
    .yaml = "  - id: 0\n    type: console\n    data_plane: virtio\n    mmio_addr: 0xa003e00\n"
            "    pty_alias: \"@/console\"\n    ports: 2\n",
    .devices = 1,
    .start = start_console,
    .serves = terminal_serves,
    .free = free_console,
};

static void log_file_serves(struct session *session)
{
    int fd = open_in(session, "console.log", O_RDONLY);
    CU_ASSERT_TRUE(says_hello_to(fd, "console.log"));
    close(fd);
    fixture_assert_running(&console.console.guest);
}

/* This is asserted at once, not after a wait in which nothing came up. */
static void assert_log_size_known(struct session *session)
{
    char command[512];
    fixture_configure(&session->fixture,
                      "devices:\n  - id: 0\n    type: console\n    data_plane: virtio\n"
                      "    mmio_addr: 0xa003e00\n    log_path: \"@/console.log\"\n"
                      "    log_size: " VICTIM_LOG_SIZE "\n");
    snprintf(command, sizeof(command), "%s/bao-virtio-dm --check-config -c %s/config.yaml",
             session_programs(), session->fixture.dir);
    CU_ASSERT_EQUAL_FATAL(system(command), 0);
}

const struct victim victim_log_file = {
    .name = "console/virtio",
    .yaml = "  - id: 0\n    type: console\n    data_plane: virtio\n    mmio_addr: 0xa003e00\n"
            "    log_path: \"@/console.log\"\n    log_size: " VICTIM_LOG_SIZE "\n",
    .devices = 1,
    .prepare = assert_log_size_known,
    .start = start_console,
    .serves = log_file_serves,
    .free = free_console,
};

static void client_serves(struct session *session)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/console", session->fixture.dir);
    if (console.user < 0) {
        console.user = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        CU_ASSERT_EQUAL_FATAL(connect(console.user, (struct sockaddr *)&address, sizeof(address)),
                              0);
    }
    CU_ASSERT_TRUE(says_hello_to(console.user, NULL));
    fixture_assert_running(&console.console.guest);
}

const struct victim victim_socket = {
    .name = "console/socket",
    .yaml = "  - id: 0\n    type: console\n    data_plane: virtio\n    mmio_addr: 0xa003e00\n"
            "    socket_path: \"@/console\"\n",
    .devices = 1,
    .start = start_console,
    .serves = client_serves,
    .free = free_console,
};

/* ---- net ---- */

static struct net_fixture net = {.packets = -1};

static const struct guest_net_options net_options = {
    .features = GUEST_NET_FEATURES,
    .rx_count = 64,
    .tx_count = 32,
    .rx_size = 1536,
    .tx_size = 2048,
};

static void prepare_net(struct session *session)
{
    (void)session;
    net_fixture_interface("mode tap");
}

static void clean_up_net(struct session *session)
{
    (void)session;
    net_fixture_ip("link delete tap0");
}

static void free_net(struct session *session)
{
    (void)session;
    guest_net_free(&net.net);
    if (net.packets >= 0)
        close(net.packets);
    net.packets = -1;
}

static void start_net(struct session *session)
{
    free_net(session);
    memset(&net.net, 0, sizeof(net.net));
    fixture_guest(&session->fixture, 0, &net.net.guest);
    net_fixture_driver(&net, &net_options);
}

/* Frames of an attacker may come before it. */
static void net_serves(struct session *session)
{
    static uint8_t frame[256], seen[GUEST_NET_FRAME_MAX];
    const struct virtio_net_hdr_v1 header = {0};
    bool found = false;
    (void)session;
    net_fixture_frame(frame, net.host_mac, net_fixture_mac, sizeof(frame), 77);
    CU_ASSERT_EQUAL(guest_net_send(&net.net, 0, &header, frame, sizeof(frame)), 0);
    for (uint64_t end = now_ms() + PATIENCE_MS; !found && now_ms() < end;)
        found = net_fixture_host_receive(&net, seen, 1000) == (int)sizeof(frame) &&
                net_fixture_is_frame(seen, sizeof(frame), 77);
    CU_ASSERT_TRUE(found);
    fixture_assert_running(&net.net.guest);
}

#define NET_YAML(plane)                                                                            \
    "  - id: 0\n    type: net\n    data_plane: " plane "\n    mmio_addr: 0xa003e00\n"              \
    "    tap_name: tap0\n    mac_addr: \"" NET_FIXTURE_MAC "\"\n"

const struct victim victim_net = {
    .name = "net/virtio",
    .yaml = NET_YAML("virtio"),
    .devices = 1,
    .prepare = prepare_net,
    .clean_up = clean_up_net,
    .start = start_net,
    .serves = net_serves,
    .free = free_net,
};

const struct victim victim_net_vhost = {
    .name = "net/vhost",
    .yaml = NET_YAML("vhost"),
    .devices = 1,
    .prepare = prepare_net,
    .clean_up = clean_up_net,
    .start = start_net,
    .serves = net_serves,
    .free = free_net,
};

/* ---- vsock ---- */

static struct vsock_fixture vsock = {.server = -1};
static struct pair pair = {.host = -1};

static void free_vsock(struct session *session)
{
    (void)session;
    guest_vsock_free(&vsock.vsock);
    if (pair.host >= 0)
        close(pair.host);
    pair.host = -1;
}

static void start_vsock(struct session *session)
{
    free_vsock(session);
    memset(&vsock.vsock, 0, sizeof(vsock.vsock));
    vsock.fixture = session->fixture; /* borrowed */
    fixture_guest(&session->fixture, 0, &vsock.vsock.guest);
    vsock.vsock.listening = GUEST_PORT;
    CU_ASSERT_EQUAL_FATAL(guest_vsock_start(&vsock.vsock, GUEST_VSOCK_FEATURES), 0);
}

/* The connection stays open: attacks use it. */
static void vsock_serves(struct session *session)
{
    (void)session;
    if (pair.host >= 0)
        close(pair.host);
    pair = pair_by_host(&vsock, "v0", SOCK_STREAM);
    assert_talks(&vsock, &pair);
    fixture_assert_running(&vsock.vsock.guest);
}

#define VSOCK_YAML(id, addr, cid)                                                                  \
    "  - id: " id "\n    type: vsock\n    data_plane: virtio\n    mmio_addr: " addr "\n"           \
    "    guest_cid: " cid "\n    socket_path: \"@/v" id "\"\n"

/* So many devices that they can have more files in flight than a user may have open. */
const struct victim victim_vsock = {
    .name = "vsock/virtio",
    .yaml = VSOCK_YAML("0", "0xa003e00", "3") VSOCK_YAML("1", "0xa004000", "4")
        VSOCK_YAML("2", "0xa004200", "5") VSOCK_YAML("3", "0xa004400", "6"),
    .devices = 4,
    .start = start_vsock,
    .serves = vsock_serves,
    .free = free_vsock,
};

static void vsock_vhost_serves(struct session *session)
{
    (void)session;
    if (pair.host >= 0)
        close(pair.host);
    pair = pair_by_kernel(&vsock);
    assert_talks(&vsock, &pair);
    fixture_assert_running(&vsock.vsock.guest);
}

const struct victim victim_vsock_vhost = {
    .name = "vsock/vhost",
    .yaml = "  - id: 0\n    type: vsock\n    data_plane: vhost\n    mmio_addr: 0xa003e00\n"
            "    guest_cid: 3\n",
    .devices = 1,
    .start = start_vsock,
    .serves = vsock_vhost_serves,
    .free = free_vsock,
};
