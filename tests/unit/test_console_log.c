/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A console's log file. Neither it nor the older file ever takes more than its bound. The newest
 * bytes are always there, whenever a worker dies.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/virtio_mmio.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/guest.h"
#include "worker/console/console.h"
#include "worker/console/log_file.h"
#include "worker/transport.h"

#define VERSION_1 (1ull << VIRTIO_F_VERSION_1)
#define BUFFER (GUEST_BASE + GUEST_BUFFERS)
#define SIZE 0x10000u
#define STREAM_MAX 0x1000000u

static char folder[] = "/tmp/test_console_log.XXXXXX";
static char path[64], old_path[64];
static struct guest_ring rings[2];
static struct message_start start;
static unsigned char sent[STREAM_MAX]; /* all that was sent */
static size_t sent_length;

/* How the next calls on the older file end: with an error, or, if `most` is not 0, after so many
 * bytes. write and read are this program's own, in front of the C library's. */
static struct {
    int error;
    bool returns_nothing; /* 0, which no file system should */
    size_t most;
    unsigned int writes, outside_io; /* calls; those that the broker takes for a stuck worker */
} older;
static int read_error;   /* of the next read */
static size_t read_most; /* bytes of the next read; 0: there is no bound */

ssize_t write(int fd, const void *from, size_t length)
{
    if (fd != LOG_FILE_OLD)
        return syscall(SYS_write, fd, from, length);
    older.writes++;
    older.outside_io += atomic_load(&guest_state.watch.in_io) != 1;
    errno = older.error != 0 ? older.error : EINTR; /* an old one, if the call succeeds */
    if (older.error != 0 || older.returns_nothing)
        return older.error = 0, older.returns_nothing ? 0 : -1;
    return syscall(SYS_write, fd, from,
                   older.most > 0 && older.most < length ? older.most : length);
}

ssize_t read(int fd, void *to, size_t length)
{
    const size_t most = read_most > 0 && read_most < length ? read_most : length;
    if (fd != LOG_FILE_READ)
        return syscall(SYS_read, fd, to, length);
    read_most = 0;
    if (read_error == 0)
        return syscall(SYS_read, fd, to, most);
    errno = read_error;
    read_error = 0;
    return -1;
}

static void put_at(int fd, int number)
{
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(dup2(fd, number), number);
    close(fd);
}

/* The files that a broker hands over. */
static void open_files(void)
{
    put_at(epoll_create1(EPOLL_CLOEXEC), WORKER_FD_BACKEND);
    put_at(open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600), LOG_FILE);
    put_at(open(old_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600), LOG_FILE_OLD);
    put_at(open(path, O_RDONLY | O_CLOEXEC), LOG_FILE_READ);
}

/* The kernel keeps this process to the bound, as RLIMIT_FSIZE keeps a worker. */
static void limit(uint64_t size)
{
    struct rlimit files;
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_FSIZE, &files), 0);
    files.rlim_cur = size;
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_FSIZE, &files), 0);
}

static void worker(uint64_t size)
{
    start.of_kind.console = (struct start_console){.ports = 1, .files = 1, .log_size = size};
    guest_worker(&start);
}

static void driver(void)
{
    guest_negotiate(VERSION_1);
    for (unsigned int q = 0; q < 2; q++) {
        guest_ring_init(&rings[q], q, 64);
        guest_queue_setup(q, &rings[q]);
    }
    guest_driver_ok();
    guest_run();
}

static void running(uint64_t size)
{
    limit(RLIM_INFINITY);
    unlink(path);
    unlink(old_path);
    memset(&guest_state, 0, sizeof(guest_state));
    memset(&older, 0, sizeof(older));
    read_error = 0;
    sent_length = 0;
    start = guest_start(DEVICE_CONSOLE_VIRTIO);
    start.queue_count = 2;
    guest_fds(DEVICE_CONSOLE_VIRTIO, -1);
    open_files();
    worker(size);
    limit(size);
    driver();
}

/* Offer a chain of the stream, without a kick. */
static void offer(uint32_t length)
{
    unsigned char *at = guest_at(BUFFER);
    CU_ASSERT_FATAL(sent_length + length <= STREAM_MAX);
    for (uint32_t i = 0; i < length; i++)
        at[i] = sent[sent_length + i] = (unsigned char)guest_random();
    sent_length += length;
    guest_desc(&rings[CONSOLE_TX], 0, BUFFER, length, 0, 0);
    guest_offer(&rings[CONSOLE_TX], 0);
}

static bool completed(void)
{
    struct vring_used_elem element;
    return guest_used(&rings[CONSOLE_TX], &element);
}

static void send_some(uint32_t length)
{
    offer(length);
    guest_kick(CONSOLE_TX);
    CU_ASSERT_TRUE(completed());
}

static size_t load(const char *name, unsigned char *to, size_t room)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, to, room);
    if (fd >= 0)
        close(fd);
    return length < 0 ? 0 : (size_t)length;
}

/* Asserts that the two files, one after the other, are the end of what was sent, and that neither
 * is too long. */
static void expect_newest(uint64_t size, size_t at_least)
{
    static unsigned char found[2 * STREAM_MAX];
    size_t old = load(old_path, found, STREAM_MAX);
    size_t length = old + load(path, found + old, STREAM_MAX);
    CU_ASSERT_FATAL(old <= size && length - old <= size);
    CU_ASSERT_FATAL(length <= sent_length && length >= at_least);
    CU_ASSERT_EQUAL_FATAL(memcmp(found, sent + sent_length - length, length), 0);
}

/* ---- Tests ---- */

static void test_bound(void)
{
    running(SIZE);
    while (sent_length < 20 * SIZE) {
        send_some(1 + (uint32_t)(guest_random() % 5000));
        expect_newest(SIZE, sent_length < SIZE ? sent_length : SIZE);
    }
    for (unsigned int i = 0; i < 40; i++) { /* more than the file takes */
        send_some(2 * SIZE + (uint32_t)i * 1000);
        expect_newest(SIZE, SIZE);
    }
    CU_ASSERT_EQUAL(guest_logged(LOG_OUTPUT_LOST), 0);
}

/* A file that is exactly full stays until more output comes. */
static void test_exactly_full(void)
{
    struct stat file;
    running(SIZE);
    send_some(SIZE);
    CU_ASSERT_EQUAL(stat(path, &file), 0);
    CU_ASSERT_EQUAL(file.st_size, SIZE);
    CU_ASSERT_EQUAL(stat(old_path, &file), 0);
    CU_ASSERT_EQUAL(file.st_size, 0);
    send_some(1);
    CU_ASSERT_EQUAL(stat(path, &file), 0);
    CU_ASSERT_EQUAL(file.st_size, 1);
    expect_newest(SIZE, SIZE + 1);
}

/* Workers die between any two steps of the copying, and before and after it. */
static void test_deaths(void)
{
    const uint64_t size = 8 * 0x8000u;
    unsigned int midway = 0;
    for (unsigned int steps = 0; steps < 14; steps++) {
        running(size);
        send_some((uint32_t)size);
        /* One step is one call of log_file_step, as a turn makes it. */
        for (unsigned int i = 0; i < steps && log_file_room(1) == 0; i++)
            log_file_step(&guest_device);
        midway += log_file_room(1) == 0;
        start.incarnation = 1;
        worker(size);
        send_some(100);
        expect_newest(size, size + 100);
        send_some((uint32_t)size);
        expect_newest(size, size + 100);
    }
    CU_ASSERT(midway > 5 && midway < 14);
}

/* A long file is copied in several turns. None of them takes too long. */
static void test_turns_are_bounded(void)
{
    const uint64_t size = 0x400000;
    running(size);
    send_some((uint32_t)size);
    offer(10);
    device_notify(&guest_device, CONSOLE_TX);
    device_turns(&guest_device);
    CU_ASSERT_FALSE(completed());
    CU_ASSERT_TRUE(guest_device.work != 0);
    guest_run();
    CU_ASSERT_TRUE(completed());
    expect_newest(size, size + 10);
}

/* The file is longer than the bound: an earlier version has left it. Its end is kept. */
static void test_too_long_before(void)
{
    running(SIZE);
    limit(RLIM_INFINITY);
    for (unsigned int i = 0; i < 5 * SIZE; i++)
        sent[i] = (unsigned char)guest_random();
    sent_length = 5 * SIZE;
    CU_ASSERT_EQUAL(write(LOG_FILE, sent, sent_length), (ssize_t)sent_length);
    limit(SIZE);
    worker(SIZE);
    send_some(10);
    expect_newest(SIZE, SIZE + 10);
}

/* Other programs write to the file, or truncate it. What is in the file counts, not what this
 * worker has written. */
static void test_others_write(void)
{
    struct stat file;
    running(SIZE);
    send_some(SIZE / 2);
    int other = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    memset(sent + sent_length, 'x', SIZE / 4);
    CU_ASSERT_EQUAL(write(other, sent + sent_length, SIZE / 4), SIZE / 4);
    sent_length += SIZE / 4;
    send_some(SIZE / 2);
    expect_newest(SIZE, SIZE + SIZE / 4);

    running(SIZE);
    send_some(SIZE);
    close(other);
    other = open(path, O_WRONLY | O_CLOEXEC);
    CU_ASSERT_EQUAL(ftruncate(other, 0), 0);
    send_some(100);
    CU_ASSERT_EQUAL(stat(path, &file), 0);
    CU_ASSERT_EQUAL(file.st_size, 100);
    CU_ASSERT_EQUAL(stat(old_path, &file), 0);
    CU_ASSERT_EQUAL(file.st_size, 0);
    close(other);
}

/* There is no room for the older output: it is lost, and the log says so. The new output is not
 * lost. */
static void test_no_room_for_the_old(void)
{
    running(SIZE);
    send_some(SIZE);
    put_at(open("/dev/full", O_WRONLY | O_CLOEXEC), LOG_FILE_OLD);
    send_some(100);
    struct stat file;
    CU_ASSERT_EQUAL(stat(path, &file), 0);
    CU_ASSERT_EQUAL(file.st_size, 100);
    CU_ASSERT_EQUAL(guest_logged(LOG_OUTPUT_LOST), 0); /* the copy can't even begin: no loss */
    running(SIZE);
    send_some(SIZE);
    limit(SIZE / 2); /* there is room for a part of it */
    send_some(100);
    CU_ASSERT_EQUAL(guest_logged(LOG_OUTPUT_LOST), 1);
    CU_ASSERT_EQUAL(stat(path, &file), 0);
    CU_ASSERT_EQUAL(file.st_size, 100);
}

/* Calls that are interrupted, or do a part of their work, lose nothing. */
static void test_short_calls(void)
{
    running(SIZE);
    send_some(SIZE);
    older.most = 1000;
    older.error = EINTR;
    read_error = EINTR;
    send_some(10);
    expect_newest(SIZE, SIZE + 10);
    CU_ASSERT(older.writes > SIZE / 1000);
    CU_ASSERT_EQUAL(older.outside_io, 0);
    CU_ASSERT_EQUAL(atomic_load(&guest_state.watch.in_io), 0);
    CU_ASSERT_EQUAL(guest_logged(LOG_OUTPUT_LOST), 0);

    running(SIZE);
    send_some(SIZE);
    read_most = 1;
    send_some(10);
    expect_newest(SIZE, SIZE + 10);

    running(2000);
    send_some(2000);
    older.most = 1; /* byte by byte */
    send_some(10);
    expect_newest(2000, 2000 + 10);
}

/* After the first failure no more is copied: the file begins anew at once. */
static void test_copy_fails(void)
{
    for (int i = 0; i < 2; i++) {
        struct stat file;
        running(SIZE);
        send_some(SIZE);
        older.error = i == 0 ? ENOSPC : 0;
        older.returns_nothing = i == 1;
        (void)guest_logged(LOG_OUTPUT_LOST);
        send_some(100);
        CU_ASSERT_EQUAL(older.writes, 1);
        struct message_log log;
        CU_ASSERT_EQUAL(recv(guest_control, &log, sizeof(log), MSG_DONTWAIT), sizeof(log));
        CU_ASSERT_EQUAL(log.code, LOG_OUTPUT_LOST);
        CU_ASSERT(log.args[0] == 0 && log.args[1] == (uint64_t)(i == 0 ? ENOSPC : EIO));
        CU_ASSERT_EQUAL(guest_logged(LOG_OUTPUT_LOST), 0);
        CU_ASSERT(stat(path, &file) == 0 && file.st_size == 100);
        CU_ASSERT(stat(old_path, &file) == 0 && file.st_size == 0);
    }
}

/* Two pieces are copied, and at the end the file has all its room again. */
static void test_steps(void)
{
    running(SIZE);
    send_some(SIZE);
    for (unsigned int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(log_file_room(1), 0);
        log_file_step(&guest_device);
    }
    CU_ASSERT_EQUAL(log_file_room(2 * SIZE), SIZE);
}

/* Only the kernel's answer that a file is too long is about the bound, if there is one. It raises
 * no signal. */
static void test_which_error_means_full(void)
{
    static const int others[] = {ENOSPC, EIO, EAGAIN};
    for (unsigned int bound = 0; bound < 2; bound++) {
        signal(SIGXFSZ, SIG_DFL);
        running(bound * SIZE);
        for (size_t i = 0; i < 3; i++)
            CU_ASSERT_FALSE(log_file_is_full(others[i]));
        CU_ASSERT_EQUAL(log_file_room(10), 10);
        CU_ASSERT_EQUAL(log_file_is_full(EFBIG), bound == 1);
        CU_ASSERT_EQUAL(log_file_room(10), bound == 1 ? 0 : 10);
        CU_ASSERT_EQUAL(signal(SIGXFSZ, SIG_IGN), bound == 1 ? SIG_IGN : SIG_DFL);
    }
}

/* If nobody can say how long the file is, it counts as empty: the kernel says when it is full. */
static void test_a_length_that_nobody_knows(void)
{
    int ends[2];
    running(SIZE);
    send_some(100);
    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    put_at(ends[0], LOG_FILE_READ);
    worker(SIZE);
    CU_ASSERT_EQUAL(log_file_room(2 * SIZE), SIZE);
    close(ends[1]);
}

/* Nothing can be written at all: the output is lost, and the guest does not wait. */
static void test_no_room_at_all(void)
{
    running(SIZE);
    limit(0);
    send_some(100);
    CU_ASSERT_EQUAL(guest_logged(LOG_OUTPUT_LOST), 1);
    send_some(100);
    limit(SIZE);
}

/* §5.3.4: single characters, without a driver. */
static void test_emergency_output(void)
{
    struct stat file;
    running(SIZE);
    send_some(SIZE - 1);
    guest_write(VIRTIO_MMIO_STATUS, 0);
    for (unsigned int i = 0; i < 20; i++)
        transport_write(&guest_device,
                        VIRTIO_MMIO_CONFIG + offsetof(struct virtio_console_config, emerg_wr), 4,
                        'a' + i);
    CU_ASSERT_EQUAL(stat(path, &file), 0);
    CU_ASSERT(file.st_size > 10 && file.st_size < 20);
    CU_ASSERT_EQUAL(stat(old_path, &file), 0);
    CU_ASSERT_EQUAL(file.st_size, SIZE);
}

int main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN); /* for the tests' own writes */
    if (!mkdtemp(folder))
        return EXIT_FAILURE;
    snprintf(path, sizeof(path), "%s/log", folder);
    snprintf(old_path, sizeof(old_path), "%s/log.1", folder);
    guest_window_init();
    CU_TestInfo tests[] = {
        {"bound", test_bound},
        {"exactly full", test_exactly_full},
        {"deaths", test_deaths},
        {"turns are bounded", test_turns_are_bounded},
        {"too long before", test_too_long_before},
        {"others write", test_others_write},
        {"no room for the old", test_no_room_for_the_old},
        {"interrupted and short calls", test_short_calls},
        {"the copy fails", test_copy_fails},
        {"steps", test_steps},
        {"which error means full", test_which_error_means_full},
        {"a length that nobody knows", test_a_length_that_nobody_knows},
        {"no room at all", test_no_room_at_all},
        {"emergency output", test_emergency_output},
        CU_TEST_INFO_NULL,
    };
    int status = run_tests(argc, argv, "a console's log file", tests);
    unlink(path);
    unlink(old_path);
    rmdir(folder);
    return status;
}
