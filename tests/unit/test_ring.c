/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's io_uring, by the kernel: what it does, what it refuses, and when it is gone. */
#include "worker/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/worker_fds.h"
#include "tests/cunit_main.h"

#define SIZE 4096u

static int image, page;

static int high(int fd)
{
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, 100);
    if (moved < 0)
        abort();
    close(fd);
    return moved;
}

/* An open file description of the page that nobody else has. */
static int mark(void)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", page);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    CU_ASSERT_FATAL(fd >= 0);
    return fd;
}

static int open_ring(bool writes)
{
    int fd = mark();
    CU_ASSERT_EQUAL_FATAL(dup2(image, WORKER_FD_BACKEND), WORKER_FD_BACKEND);
    CU_ASSERT_EQUAL_FATAL(dup2(fd, WORKER_FD_RING), WORKER_FD_RING);
    close(fd);
    return ring_open(writes, 0);
}

static bool is_locked(void)
{
    const struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = mark();
    bool locked = fcntl(fd, F_OFD_SETLK, &lock) < 0 && errno == EAGAIN;
    close(fd);
    return locked;
}

static void wait_until_gone(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = mark();
    alarm(20); /* ends this program */
    CU_ASSERT_EQUAL(fcntl(fd, F_OFD_SETLKW, &lock), 0);
    alarm(0);
    close(fd);
}

static int32_t result_of(uint32_t number)
{
    uint32_t found = 0;
    int32_t result = -EAGAIN;
    CU_ASSERT_EQUAL(ring_enter(1), 0);
    CU_ASSERT_TRUE(ring_done(&found, &result));
    CU_ASSERT_EQUAL(found, number);
    return result;
}

/* As long as a queue is mapped, the ring is there. */
static struct {
    void *at;
    size_t length;
} mapped[2];
static unsigned int mapped_count;

void *__real_mmap(void *at, size_t length, int access, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t length, int access, int flags, int fd, off_t offset);

void *__wrap_mmap(void *at, size_t length, int access, int flags, int fd, off_t offset)
{
    void *mapping = __real_mmap(at, length, access, flags, fd, offset);
    mapped[mapped_count % 2].at = mapping;
    mapped[mapped_count++ % 2].length = length;
    return mapping;
}

static void end_ring(void)
{
    for (unsigned int i = 0; i < 2; i++)
        munmap(mapped[i].at, mapped[i].length);
    close(WORKER_FD_RING);
    close(WORKER_FD_BACKEND);
    wait_until_gone();
}

static void it_reads(void)
{
    char first[16] = "", second[32] = "";
    const struct iovec to[] = {{first, sizeof(first)}, {second, sizeof(second)}};
    CU_ASSERT_EQUAL_FATAL(open_ring(false), 0);
    for (uint32_t i = 0; i < 200; i++) {
        ring_add_read(i, to, 2, i);
        CU_ASSERT_EQUAL(result_of(i), 48);
        CU_ASSERT_EQUAL(first[0], (char)i);
        CU_ASSERT_EQUAL(second[31], (char)(i + 47));
    }
    ring_add_read(7, to, 2, SIZE - 20);
    CU_ASSERT_EQUAL(result_of(7), 20);
    ring_add_read(8, to, 2, SIZE);
    CU_ASSERT_EQUAL(result_of(8), 0);
    end_ring();
}

static void it_writes_only_if_that_was_asked_for(void)
{
    char text[4] = "abc";
    const struct iovec data = {text, 3};
    CU_ASSERT_EQUAL_FATAL(open_ring(false), 0);
    ring_add_write(1, &data, 1, 0);
    CU_ASSERT_EQUAL(result_of(1), -EACCES);
    end_ring();
    CU_ASSERT_EQUAL_FATAL(open_ring(true), 0);
    ring_add_write(2, &data, 1, 0);
    CU_ASSERT_EQUAL(result_of(2), 3);
    char found[4] = "";
    CU_ASSERT_EQUAL(pread(image, found, 3, 0), 3);
    CU_ASSERT_STRING_EQUAL(found, "abc");
    text[0] = 0, text[1] = 1, text[2] = 2;
    CU_ASSERT_EQUAL(pwrite(image, text, 3, 0), 3);
    end_ring();
}

static void what_was_not_handed_over_can_be_taken_back(void)
{
    char byte;
    const struct iovec to = {&byte, 1};
    uint32_t number = 0;
    CU_ASSERT_EQUAL_FATAL(open_ring(false), 0);
    ring_add_read(1, &to, 1, 5);
    ring_add_read(2, &to, 1, 6);
    CU_ASSERT_TRUE(ring_take_back(&number));
    CU_ASSERT_EQUAL(number, 2);
    CU_ASSERT_EQUAL(result_of(1), 1);
    CU_ASSERT_EQUAL(byte, 5);
    CU_ASSERT_FALSE(ring_take_back(&number));
    end_ring();
}

/* A successor's ring_open waits for the lock that this one has. */
static void its_end_can_be_waited_for(void)
{
    CU_ASSERT_FALSE(is_locked());
    CU_ASSERT_EQUAL_FATAL(open_ring(false), 0);
    CU_ASSERT_TRUE(is_locked());
    end_ring();
    CU_ASSERT_FALSE(is_locked());

    int ends[2], status;
    char byte = 0;
    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        bool opened = open_ring(false) == 0;
        byte = opened ? 'y' : 'n';
        if (write(ends[1], &byte, 1) == 1)
            pause();
        _exit(1);
    }
    CU_ASSERT_EQUAL(read(ends[0], &byte, 1), 1);
    CU_ASSERT_EQUAL(byte, 'y');
    CU_ASSERT_TRUE(is_locked());
    CU_ASSERT_EQUAL(kill(child, SIGKILL), 0);
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_EQUAL(open_ring(false), 0); /* it waits */
    CU_ASSERT_TRUE(is_locked());
    end_ring();
    close(ends[0]);
    close(ends[1]);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"it reads", it_reads},
        {"it writes only if that was asked for", it_writes_only_if_that_was_asked_for},
        {"what was not handed over can be taken back", what_was_not_handed_over_can_be_taken_back},
        {"its end can be waited for", its_end_can_be_waited_for},
        CU_TEST_INFO_NULL,
    };
    unsigned char bytes[SIZE];
    for (unsigned int i = 0; i < SIZE; i++)
        bytes[i] = (unsigned char)i;
    image = memfd_create("image", MFD_CLOEXEC);
    page = memfd_create("page", MFD_CLOEXEC);
    if (image < 0 || page < 0 || write(image, bytes, SIZE) != SIZE || ftruncate(page, SIZE) < 0)
        return EXIT_FAILURE;
    image = high(image);
    page = high(page);
    return run_tests(argc, argv, "ring", tests);
}
