/* SPDX-License-Identifier: Apache-2.0 */
/* A file in a box stays open and locked as long as the box exists. It can be taken out any number
 * of times. It is in nobody's fd table. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/box.h"
#include "common/one_fd.h"
#include "tests/cunit_main.h"

static char path[] = "/tmp/bao-box-XXXXXX";

static int a_file(void)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    CU_ASSERT_FATAL(fd >= 0);
    return fd;
}

static bool lock(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_SETLK, &whole) == 0;
}

static bool can_be_locked(void)
{
    int fd = a_file();
    bool locked = lock(fd);
    close(fd);
    return locked;
}

static int lowest_free(void)
{
    int fd = fcntl(0, F_DUPFD_CLOEXEC, 0);
    CU_ASSERT_FATAL(fd >= 0);
    close(fd);
    return fd;
}

static void it_takes_one_fd(void)
{
    int fd = a_file(), box = box_make(fd);
    CU_ASSERT_EQUAL(lowest_free(), box + 1);
    int copy = box_open(box);
    CU_ASSERT_EQUAL(copy, box + 1);
    CU_ASSERT_EQUAL(lowest_free(), copy + 1);
    close(copy);
    close(box);
    close(fd);
    CU_ASSERT_EQUAL(lowest_free(), fd);
    CU_ASSERT_EQUAL(box_make(1000000), -EBADF); /* and nothing of it is left */
    CU_ASSERT_EQUAL(lowest_free(), fd);
}

static void it_comes_out_as_often_as_wanted(void)
{
    int fd = a_file(), box = box_make(fd);
    CU_ASSERT_FATAL(box >= 0);
    CU_ASSERT_EQUAL(fcntl(box, F_GETFD), FD_CLOEXEC);
    CU_ASSERT_EQUAL(lseek(fd, 5, SEEK_SET), 5);
    close(fd);
    for (int i = 0; i < 3; i++) {
        int copy = box_open(box);
        CU_ASSERT_FATAL(copy >= 0);
        CU_ASSERT_EQUAL(fcntl(copy, F_GETFD), FD_CLOEXEC);
        CU_ASSERT_EQUAL(lseek(copy, 0, SEEK_CUR), 5 + i); /* all copies are one open file */
        CU_ASSERT_EQUAL(write(copy, "x", 1), 1);
        close(copy);
    }
    close(box);
}

static void it_keeps_its_lock(void)
{
    int fd = a_file(), box = box_make(fd), copy = fcntl(box, F_DUPFD_CLOEXEC, 3);
    CU_ASSERT_TRUE(lock(fd));
    close(fd);
    CU_ASSERT_FALSE(can_be_locked());
    close(box);
    CU_ASSERT_FALSE(can_be_locked());
    close(copy); /* the last one */
    CU_ASSERT_TRUE(can_be_locked());
}

/* A box can be passed on, as files are. If a process dies while a box is in its socket's queue, the
 * file does not go with it. */
static void it_is_passed_on(void)
{
    int fd = a_file(), box = box_make(fd), outer = box_make(box);
    CU_ASSERT_TRUE(lock(fd));
    close(fd);
    close(box);
    pid_t pid = fork();
    if (pid == 0) {
        int inner = box_open(outer), found = box_open(inner);
        _exit(found >= 0 && lock(found) ? 0 : 1);
    }
    int status;
    CU_ASSERT(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CU_ASSERT_FALSE(can_be_locked());
    close(outer);
    CU_ASSERT_TRUE(can_be_locked());
}

/* Number 0 is a number like any other. */
static void it_takes_fd_0(void)
{
    int kept = fcntl(0, F_DUPFD_CLOEXEC, 3), fd = a_file();
    CU_ASSERT_EQUAL_FATAL(dup2(fd, 0), 0);
    close(fd);
    int box = box_make(0);
    CU_ASSERT_FATAL(box >= 0);
    close(0);
    CU_ASSERT_EQUAL(box_open(box), 0);
    close(box);
    CU_ASSERT_EQUAL(dup2(kept, 0), 0);
    close(kept);
}

/* As a box holds it, but for the mark. */
static void send_file(int socket, int fd)
{
    char mark = 'x';
    union one_fd room = {0};
    struct iovec iov = {.iov_base = &mark, .iov_len = 1};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    one_fd_attach(&message, &room, fd);
    CU_ASSERT_EQUAL(sendmsg(socket, &message, 0), 1);
}

static void anything_else_is_no_box(void)
{
    int fd = a_file(), event = eventfd(0, EFD_CLOEXEC), ends[2];
    CU_ASSERT_EQUAL(box_make(-1), -EBADF);
    CU_ASSERT_EQUAL(box_open(-1), -EBADF);
    CU_ASSERT_EQUAL(box_open(fd), -EPROTO);
    CU_ASSERT_EQUAL(box_open(event), -EPROTO);
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    CU_ASSERT_EQUAL(box_open(ends[0]), -EPROTO); /* it holds nothing, and does not wait */
    CU_ASSERT_EQUAL(write(ends[1], "B", 1), 1);
    CU_ASSERT_EQUAL(box_open(ends[0]), -EPROTO); /* it holds no file */
    close(ends[0]);
    close(ends[1]);
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    send_file(ends[1], fd);
    int next = lowest_free();
    CU_ASSERT_EQUAL(box_open(ends[0]), -EPROTO); /* it has another mark */
    CU_ASSERT_EQUAL(lowest_free(), next);
    char byte;
    CU_ASSERT_EQUAL(read(ends[0], &byte, 1), 1);
    close(ends[1]);
    errno = EIO;
    CU_ASSERT_EQUAL(box_open(ends[0]), -EPROTO); /* it is at its end */
    close(ends[0]);
    close(event);
    close(fd);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"it takes one fd", it_takes_one_fd},
        {"it comes out as often as it is wanted", it_comes_out_as_often_as_wanted},
        {"it keeps its lock as long as there is a box", it_keeps_its_lock},
        {"it is passed on, in other processes' queues", it_is_passed_on},
        {"fd 0", it_takes_fd_0},
        {"anything else is no box", anything_else_is_no_box},
        CU_TEST_INFO_NULL,
    };
    int fd = mkstemp(path);
    if (fd < 0)
        return EXIT_FAILURE;
    close(fd);
    int status = run_tests(argc, argv, "box", tests);
    unlink(path);
    return status;
}
