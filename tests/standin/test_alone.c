/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices stand alone, also when the broker dies. What was open stays open, whatever has become of
 * its name. A file that can't be opened, or hangs, holds up its own device and no other. A broker
 * that does not answer is replaced.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/faults/hang_fs.h"
#include "tests/standin/fixture.h"
#include "tests/standin/net_fixture.h"

#define DEADLINE_MS 20000
#define FOUND_MS 12000 /* 5 s without an answer, and some time more for a busy machine */

#define BLOCK(id, path)                                                                            \
    "  - id: " #id "\n    type: block\n    data_plane: virtio\n    mmio_addr: " MMIO_##id          \
        "\n"                                                                                       \
        "    file_path: \"" path "\"\n    read_only: false\n"
#define MMIO_0 "0xa003e00"
#define MMIO_1 "0xa004000"
#define CONSOLE(keys)                                                                              \
    "  - id: 1\n    type: console\n    data_plane: virtio\n    mmio_addr: " MMIO_1 "\n" keys
#define NET                                                                                        \
    "  - id: 1\n    type: net\n    data_plane: virtio\n    mmio_addr: " MMIO_1                     \
    "\n    tap_name: tap0\n"

struct pair {
    struct fixture fixture;
    struct guest_block block;
    pid_t broker;
};

static void path_of(const struct pair *pair, const char *name, char ret[128])
{
    snprintf(ret, 128, "%s/%s", pair->fixture.dir, name);
}

/* Device 0 is a block device on disk0.img; device 1 is what `yaml` says. */
static void start(struct pair *pair, const char *yaml)
{
    char text[1024];
    fixture_init(&pair->fixture);
    fixture_make_image(&pair->fixture, "disk0.img", FIXTURE_IMAGE_SECTORS);
    fixture_make_image(&pair->fixture, "disk1.img", FIXTURE_IMAGE_SECTORS);
    snprintf(text, sizeof(text), "devices:\n" BLOCK(0, "@/disk0.img") "%s", yaml);
    fixture_configure(&pair->fixture, text);
    fixture_start(&pair->fixture, 2, 2);
    fixture_block(&pair->fixture, 0, &pair->block, GUEST_BLOCK_FEATURES, 4, 512);
    fixture_assert_reads(&pair->block, 1);
    pair->broker = pair->fixture.broker;
}

static void kill_broker(struct pair *pair)
{
    CU_ASSERT_EQUAL(kill(pair->broker, SIGKILL), 0);
    pair->broker = fixture_wait_broker(&pair->fixture, pair->broker);
    CU_ASSERT_FATAL(pair->broker > 0);
    fixture_assert_reads(&pair->block, 2);
}

/* The device's worker answers a register access: a register of a device that was given up reads 0.
 */
static void assert_serves(const struct pair *pair, unsigned int id)
{
    uint64_t value = 0;
    CU_ASSERT_EQUAL(
        standin_read(pair->fixture.standin, id, fixture_base(id), 4, &value, DEADLINE_MS), 0);
    CU_ASSERT_EQUAL(value, 0x74726976);
}

static void stop(struct pair *pair)
{
    struct standin_counts counts;
    fixture_assert_running(&pair->block.guest);
    guest_block_free(&pair->block);
    standin_counts(pair->fixture.standin, &counts);
    CU_ASSERT_EQUAL(counts.dm_get_info, 2);
    CU_ASSERT_EQUAL(counts.dm_releases, 0);
    fixture_stop(&pair->fixture);
    fixture_free(&pair->fixture);
}

/* ---- What was open stays open ---- */

/* Two deaths, one after the other: the second broker gets the open files from a broker that has
 * itself inherited them. */
static void both_serve_after_deaths(struct pair *pair)
{
    kill_broker(pair);
    assert_serves(pair, 1);
    kill_broker(pair);
    assert_serves(pair, 1);
}

static void an_image_that_was_renamed(void)
{
    struct pair pair;
    struct guest_block second;
    char from[128], to[128];
    start(&pair, BLOCK(1, "@/disk1.img"));
    fixture_block(&pair.fixture, 1, &second, GUEST_BLOCK_FEATURES, 4, 512);
    path_of(&pair, "disk1.img", from);
    path_of(&pair, "another.img", to);
    CU_ASSERT_EQUAL(rename(from, to), 0);
    both_serve_after_deaths(&pair);
    fixture_assert_reads(&second, 7);
    guest_block_free(&second);
    stop(&pair);
}

static void an_image_of_an_odd_size(void)
{
    struct pair pair;
    char path[128];
    start(&pair, BLOCK(1, "@/disk1.img"));
    path_of(&pair, "disk1.img", path);
    CU_ASSERT_EQUAL(truncate(path, 100001), 0);
    both_serve_after_deaths(&pair);
    stop(&pair);
}

static void a_tap_of_another_mtu_and_name(void)
{
    struct pair pair;
    if (!net_fixture_namespace())
        CU_FAIL_FATAL("no namespace for a tap");
    net_fixture_interface("mode tap");
    start(&pair, NET);
    net_fixture_ip("link set tap0 mtu 600");
    both_serve_after_deaths(&pair);
    net_fixture_ip("link set tap0 down");
    net_fixture_ip("link set tap0 name tap7");
    both_serve_after_deaths(&pair);
    stop(&pair);
    net_fixture_ip("link del tap7");
}

static void a_terminal_whose_name_is_something_else(void)
{
    struct pair pair;
    char path[128], terminal[64] = "", text[8] = "";
    start(&pair, CONSOLE("    pty_alias: \"@/console\"\n"));
    path_of(&pair, "console", path);
    CU_ASSERT(readlink(path, terminal, sizeof(terminal) - 1) > 0);
    int user = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    CU_ASSERT_FATAL(user >= 0);
    CU_ASSERT_EQUAL(unlink(path), 0);
    close(fixture_open(&pair.fixture, "console"));
    both_serve_after_deaths(&pair);
    /* The user's terminal has not been hung up. */
    CU_ASSERT_EQUAL(read(user, text, sizeof(text)), -1);
    CU_ASSERT_EQUAL(errno, EAGAIN);
    CU_ASSERT_EQUAL(access(terminal, F_OK), 0);
    close(user);
    stop(&pair);
}

static void a_log_that_is_a_directory(void)
{
    struct pair pair;
    char path[128];
    start(&pair, CONSOLE("    log_path: \"@/console.log\"\n"));
    path_of(&pair, "console.log", path);
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
    both_serve_after_deaths(&pair);
    CU_ASSERT_EQUAL(rmdir(path), 0);
    stop(&pair);
}

/* The directory holds the device's sockets and the socket of bao-dmctl. */
static void a_directory_of_sockets_that_was_moved(void)
{
    struct pair pair;
    char to[128];
    start(&pair, "  - id: 1\n    type: vsock\n    data_plane: virtio\n    mmio_addr: " MMIO_1
                 "\n    guest_cid: 5\n    socket_path: \"@/guest\"\n");
    snprintf(to, sizeof(to), "%s-moved", pair.fixture.dir);
    CU_ASSERT_EQUAL(rename(pair.fixture.dir, to), 0);
    both_serve_after_deaths(&pair);
    fixture_assert_logged(&pair.fixture, "bao-dmctl can't be used");
    CU_ASSERT_EQUAL(rename(to, pair.fixture.dir), 0);
    stop(&pair);
}

static void a_configuration_that_was_spoilt_or_removed(void)
{
    struct pair pair;
    char path[128];
    start(&pair, BLOCK(1, "@/disk1.img"));
    fixture_configure(&pair.fixture, "devices:\n  - id: 0\n    type: nonsense\n");
    both_serve_after_deaths(&pair);
    path_of(&pair, "config.yaml", path);
    CU_ASSERT_EQUAL(unlink(path), 0);
    both_serve_after_deaths(&pair);
    stop(&pair);
}

/* ---- What hangs ---- */

struct hang {
    char dir[32];
    char yaml[256]; /* device 1, on the image in `dir` */
    struct hang_fs *fs;
    int image;
};

static void hang_start(struct hang *hang)
{
    strcpy(hang->dir, "/tmp/bao-hang-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(hang->dir));
    CU_ASSERT_EQUAL(chmod(hang->dir, 0755), 0);
    snprintf(hang->yaml, sizeof(hang->yaml), BLOCK(1, "%s/disk.img"), hang->dir);
    CU_ASSERT_EQUAL_FATAL(hang_fs_start(hang->dir, &hang->fs), 0);
    hang->image = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    CU_ASSERT_FATAL(hang->image >= 0);
    CU_ASSERT_EQUAL(ftruncate(hang->image, 1 << 20), 0);
    CU_ASSERT_EQUAL_FATAL(hang_fs_add(hang->fs, "disk.img", hang->image), 0);
}

static void hang_end(struct hang *hang)
{
    hang_fs_stop(hang->fs);
    close(hang->image);
    rmdir(hang->dir);
}

/* The open hangs at the first start. The broker dies before the open has ended. */
static void an_image_whose_open_hangs(void)
{
    struct pair pair;
    struct hang hang;
    uint64_t value = 1;
    char text[1024];
    hang_start(&hang);
    hang_fs_hang(hang.fs, HANG_OPEN | HANG_LOOKUP);
    fixture_init(&pair.fixture);
    fixture_make_image(&pair.fixture, "disk0.img", FIXTURE_IMAGE_SECTORS);
    snprintf(text, sizeof(text), "devices:\n" BLOCK(0, "@/disk0.img") "%s", hang.yaml);
    fixture_configure(&pair.fixture, text);
    fixture_start(&pair.fixture, 2, 1);
    pair.broker = pair.fixture.broker;
    fixture_block(&pair.fixture, 0, &pair.block, GUEST_BLOCK_FEATURES, 4, 512);
    fixture_assert_reads(&pair.block, 1);
    fixture_wait_logged(&pair.fixture, "block 1: its backend has not been opened for 10 s",
                        DEADLINE_MS);
    /* The driver waits for 10 s, and no longer. */
    CU_ASSERT_EQUAL(standin_read(pair.fixture.standin, 1, fixture_base(1), 4, &value, DEADLINE_MS),
                    0);
    CU_ASSERT_EQUAL(value, 0);
    kill_broker(&pair);
    hang_fs_go_on(hang.fs);
    CU_ASSERT(fixture_wait_worker(&pair.fixture, 1, -1) > 0);
    assert_serves(&pair, 1);
    stop(&pair);
    hang_end(&hang);
}

/* A worker can't die while its disk does not answer. Neither the other devices nor the next broker
 * wait for it. Its own device is served as soon as it has gone. */
static void a_worker_that_hangs_in_its_disk(void)
{
    struct pair pair;
    struct guest_block second;
    struct hang hang;
    uint8_t data[512];
    hang_start(&hang);
    start(&pair, hang.yaml);
    fixture_block(&pair.fixture, 1, &second, GUEST_BLOCK_FEATURES, 4, 512);
    hang_fs_hang(hang.fs, HANG_READ);
    pid_t worker = fixture_worker(&pair.fixture, 1);
    second.guest.timeout_ms = 1;
    CU_ASSERT_NOT_EQUAL(guest_block_io(&second, VIRTIO_BLK_T_IN, 0, data, sizeof(data)),
                        VIRTIO_BLK_S_OK); /* the request was made, and has no answer */
    CU_ASSERT_EQUAL_FATAL(hang_fs_wait_held(hang.fs, 1, DEADLINE_MS), 0);
    kill_broker(&pair);
    CU_ASSERT_EQUAL(kill(worker, 0), 0); /* it still exists */
    fixture_wait_logged(&pair.fixture, "block 1: waits for the end of its last worker",
                        DEADLINE_MS);
    kill_broker(&pair);
    hang_fs_go_on(hang.fs);
    CU_ASSERT(fixture_wait_worker(&pair.fixture, 1, worker) > 0);
    assert_serves(&pair, 1);
    guest_block_free(&second);
    stop(&pair);
    hang_end(&hang);
}

/* ---- A broker that does not answer ---- */

static void a_broker_that_is_stopped(void)
{
    struct pair pair;
    start(&pair, BLOCK(1, "@/disk1.img"));
    CU_ASSERT_EQUAL(kill(pair.broker, SIGSTOP), 0);
    fixture_wait_logged(&pair.fixture, "the broker is ended: it has not answered for 5 s",
                        FOUND_MS);
    CU_ASSERT(fixture_wait_broker(&pair.fixture, pair.broker) > 0);
    fixture_assert_reads(&pair.block, 2);
    assert_serves(&pair, 1);
    stop(&pair);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"an image that was renamed", an_image_that_was_renamed},
        {"an image of an odd size", an_image_of_an_odd_size},
        {"a tap of another MTU and name", a_tap_of_another_mtu_and_name},
        {"a terminal whose name is something else", a_terminal_whose_name_is_something_else},
        {"a log that is a directory", a_log_that_is_a_directory},
        {"a directory of sockets that was moved", a_directory_of_sockets_that_was_moved},
        {"a configuration that was spoilt or removed", a_configuration_that_was_spoilt_or_removed},
        {"an image whose open hangs", an_image_whose_open_hangs},
        {"a worker that hangs in its disk", a_worker_that_hangs_in_its_disk},
        {"a broker that is stopped", a_broker_that_is_stopped},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "devices stand alone", tests);
}
