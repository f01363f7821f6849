/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hanging file system itself: what it promises to the tests that use it, and how this kernel's
 * processes wait in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/faults/hang_fs.h"
#include "tests/standin/clock.h"

#define WAIT_MS 10000
#define SIZE 1048576

static char dir[64], path[128];
static struct hang_fs *fs;

static void start(void)
{
    strcpy(dir, "/tmp/bao-hang-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    CU_ASSERT_EQUAL_FATAL(hang_fs_start(dir, &fs), 0);
    CU_ASSERT_EQUAL_FATAL(hang_fs_add(fs, "file", -1), 0);
    snprintf(path, sizeof(path), "%s/file", dir);
    CU_ASSERT_EQUAL_FATAL(truncate(path, SIZE), 0);
}

static void stop(void)
{
    hang_fs_stop(fs);
    CU_ASSERT_EQUAL(rmdir(dir), 0);
}

static int open_it(int flags)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | flags);
    CU_ASSERT_FATAL(fd >= 0);
    return fd;
}

static char state_of(pid_t pid)
{
    char name[64], line[256] = "", state = '?';
    snprintf(name, sizeof(name), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(name, "re");
    const char *end = file && fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
    if (end)
        (void)!sscanf(end, ") %c", &state);
    if (file)
        fclose(file);
    return state;
}

static bool wait_state(pid_t pid, char state)
{
    const uint64_t end = now_ms() + WAIT_MS;
    while (state_of(pid) != state && now_ms() < end)
        usleep(1000);
    return state_of(pid) == state;
}

static void it_holds_what_is_written(void)
{
    char data[] = "abcdefgh", back[8] = "";
    struct stat file;
    start();
    int fd = open_it(0);
    CU_ASSERT_EQUAL(pwrite(fd, data, 8, 4096), 8);
    CU_ASSERT_EQUAL(pread(fd, back, 8, 4096), 8);
    CU_ASSERT_EQUAL(memcmp(data, back, 8), 0);
    CU_ASSERT_EQUAL(fsync(fd), 0);
    CU_ASSERT_EQUAL(lseek(fd, 0, SEEK_END), SIZE);
    CU_ASSERT_EQUAL(lseek(fd, 0, SEEK_DATA), 4096);
    CU_ASSERT_EQUAL(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096), 0);
    CU_ASSERT_EQUAL(pread(fd, back, 8, 4096), 8);
    CU_ASSERT_EQUAL(back[0], 0);
    CU_ASSERT_EQUAL(ftruncate(fd, SIZE / 2), 0);
    CU_ASSERT_EQUAL(fstat(fd, &file), 0);
    CU_ASSERT_EQUAL(file.st_size, SIZE / 2);
    close(fd);
    stop();
}

static void it_has_links_and_sockets(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char link[128], target[32] = "";
    start();
    snprintf(link, sizeof(link), "%s/link", dir);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", dir);
    CU_ASSERT_EQUAL(symlink("file", link), 0);
    CU_ASSERT_EQUAL(readlink(link, target, sizeof(target)), 4);
    CU_ASSERT_EQUAL(access(link, R_OK), 0);
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL(bind(server, (struct sockaddr *)&address, sizeof(address)), 0);
    CU_ASSERT_EQUAL(listen(server, 1), 0);
    CU_ASSERT_EQUAL(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
    close(client);
    close(server);
    CU_ASSERT_EQUAL(unlink(address.sun_path), 0);
    CU_ASSERT_EQUAL(rename(link, path), 0);
    stop();
}

static void it_fails_when_told(void)
{
    char byte = 0;
    start();
    int fd = open_it(0);
    hang_fs_fail(fs, HANG_READ, EIO);
    hang_fs_fail(fs, HANG_WRITE | HANG_FALLOCATE, ENOSPC);
    CU_ASSERT(pread(fd, &byte, 1, 0) < 0 && errno == EIO);
    CU_ASSERT(pwrite(fd, &byte, 1, 0) < 0 && errno == ENOSPC);
    CU_ASSERT(fallocate(fd, 0, 0, 4096) < 0 && errno == ENOSPC);
    hang_fs_fail(fs, HANG_ALL, 0);
    CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, 0), 1);
    hang_fs_slow(fs, HANG_READ, 50000);
    uint64_t before = now_ms();
    CU_ASSERT_EQUAL(pread(fd, &byte, 1, 0), 1);
    CU_ASSERT(now_ms() - before >= 50);
    close(fd);
    stop();
}

/* Runs in a child: does the operation that hangs, chosen by the number of its kind. */
static void do_kind(int fd, unsigned int kind)
{
    char byte = 0;
    struct stat file;
    switch (kind) {
    case HANG_LOOKUP:
        (void)!access(path, F_OK);
        break;
    case HANG_OPEN:
        (void)!open(path, O_RDWR | O_CLOEXEC);
        break;
    case HANG_READ:
        (void)!pread(fd, &byte, 1, 0);
        break;
    case HANG_WRITE:
        (void)!pwrite(fd, &byte, 1, 0);
        break;
    case HANG_FSYNC:
        (void)!fsync(fd);
        break;
    case HANG_FLUSH:
        (void)!close(fd);
        break;
    case HANG_GETATTR:
        (void)!fstat(fd, &file);
        break;
    case HANG_SETATTR:
        (void)!ftruncate(fd, SIZE);
        break;
    case HANG_FALLOCATE:
        (void)!fallocate(fd, 0, 0, 4096);
        break;
    default:
        (void)!lseek(fd, 0, SEEK_DATA);
        break;
    }
}

static pid_t child_of(int fd, unsigned int kind)
{
    pid_t pid = fork();
    if (pid == 0) {
        do_kind(fd, kind);
        _exit(0);
    }
    CU_ASSERT_FATAL(pid > 0);
    return pid;
}

static void each_kind_hangs_and_goes_on(void)
{
    start();
    int fd = open_it(0);
    for (unsigned int kind = 1; kind < HANG_ALL; kind *= 2) {
        int status = -1;
        hang_fs_hang(fs, kind);
        pid_t pid = child_of(fd, kind);
        CU_ASSERT_EQUAL(hang_fs_wait_held(fs, 1, WAIT_MS), 0);
        CU_ASSERT_EQUAL(waitpid(pid, &status, WNOHANG), 0);
        hang_fs_go_on(fs);
        CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
        CU_ASSERT_EQUAL(status, 0);
    }
    close(fd);
    stop();
}

static void what_is_killed_there_waits_on(void)
{
    int status = -1;
    start();
    int fd = open_it(0);
    hang_fs_hang(fs, HANG_READ);
    pid_t pid = child_of(fd, HANG_READ);
    CU_ASSERT_EQUAL(hang_fs_wait_held(fs, 1, WAIT_MS), 0);
    CU_ASSERT(wait_state(pid, 'S'));
    kill(pid, SIGKILL);
    CU_ASSERT(wait_state(pid, 'D'));
    CU_ASSERT_EQUAL(waitpid(pid, &status, WNOHANG), 0);
    hang_fs_go_on(fs);
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT(WIFSIGNALED(status));
    close(fd);
    stop();
}

/* After the unmount, no process waits any more. */
static void its_end_ends_all_waits(void)
{
    int status = -1;
    start();
    int fd = open_it(0);
    hang_fs_hang(fs, HANG_FLUSH);
    pid_t pid = child_of(fd, HANG_FLUSH);
    CU_ASSERT_EQUAL(hang_fs_wait_held(fs, 1, WAIT_MS), 0);
    kill(pid, SIGKILL);
    CU_ASSERT(wait_state(pid, 'D'));
    stop();
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    close(fd);
}

static void a_block_device_over_it_is_in_d_at_once(void)
{
    struct hang_loop loop = {.fd = -1};
    int status = -1;
    start();
    CU_ASSERT_EQUAL_FATAL(hang_loop_attach(path, &loop), 0);
    int fd = open(loop.path, O_RDWR | O_DIRECT | O_CLOEXEC);
    CU_ASSERT_FATAL(fd >= 0);
    hang_fs_hang(fs, HANG_READ);
    pid_t pid = fork();
    if (pid == 0) {
        void *buffer = NULL;
        _exit(posix_memalign(&buffer, 4096, 4096) != 0 || pread(fd, buffer, 4096, 0) != 4096);
    }
    CU_ASSERT_EQUAL(hang_fs_wait_held(fs, 1, WAIT_MS), 0);
    CU_ASSERT(wait_state(pid, 'D'));
    hang_fs_go_on(fs);
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT_EQUAL(status, 0);
    close(fd);
    hang_loop_detach(&loop);
    stop();
}

int main(int argc, char **argv)
{
    if (geteuid() != 0) {
        fprintf(stderr, "test_hang_fs: root is needed: it mounts a file system\n");
        return EXIT_FAILURE;
    }
    CU_TestInfo tests[] = {
        {"it holds what is written", it_holds_what_is_written},
        {"it has links and sockets", it_has_links_and_sockets},
        {"it fails and is slow when told", it_fails_when_told},
        {"each kind hangs and goes on", each_kind_hangs_and_goes_on},
        {"what is killed there waits on", what_is_killed_there_waits_on},
        {"its end ends all waits", its_end_ends_all_waits},
        {"a block device over it is in D at once", a_block_device_over_it_is_in_d_at_once},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "hanging file system", tests);
}
