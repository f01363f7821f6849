/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_dispatcher.c, which includes it: the machine and its driver. */
#ifndef TESTS_UNIT_DISPATCHER_UNDER_TEST_H
#define TESTS_UNIT_DISPATCHER_UNDER_TEST_H

#include "broker/dispatcher.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_mmio.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"

#define ID 3u
#define WINDOW 0x80000000ull
#define WINDOW_SIZE 0x1000000ull
#define IRQ 47u

static const char *nodes[4]; /* that exist */
static mode_t node_mode;
static char opened[32]; /* the path of the last open */
static unsigned int opens;
static int open_error;

/* The driver: returns what ioctl returns, with errno set. */
static int (*driver)(int fd, unsigned long request, void *arg);
static unsigned int calls;

int __wrap_stat(const char *path, struct stat *ret);
int __wrap_stat64(const char *path, void *ret);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_stat(const char *path, struct stat *ret)
{
    for (size_t i = 0; i < 4; i++) {
        if (nodes[i] && strcmp(nodes[i], path) == 0) {
            *ret = (struct stat){.st_mode = node_mode};
            return 0;
        }
    }
    errno = ENOENT;
    return -1;
}

int __wrap_stat64(const char *path, void *ret)
{
    return __wrap_stat(path, ret);
}

int __wrap_open(const char *path, int flags, ...)
{
    if (strncmp(path, "/dev/bao", 8) != 0)
        return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0);
    opens++;
    snprintf(opened, sizeof(opened), "%s", path);
    CU_ASSERT_EQUAL(flags, O_RDWR | O_CLOEXEC);
    errno = open_error ? open_error : EIO; /* an older one means nothing */
    return open_error ? -1 : (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", flags, 0);
}

int __wrap_open64(const char *path, int flags, ...)
{
    return __wrap_open(path, flags);
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *arg = va_arg(arguments, void *);
    va_end(arguments);
    calls++;
    return driver(fd, request, arg);
}

static int fails(int error)
{
    errno = error;
    return -1;
}

static struct dispatcher dispatcher;
static struct dispatcher_device device;
static struct failure failure;
static unsigned int fds;

static void begin(enum bao_generation generation)
{
    memset(nodes, 0, sizeof(nodes));
    node_mode = S_IFCHR;
    opens = calls = 0;
    open_error = 0;
    opened[0] = '\0';
    dispatcher = (struct dispatcher){.generation = generation, .node = -1};
    device = (struct dispatcher_device){.id = ID, .dm = -1};
    failure.text[0] = '\0';
    fds = fd_count();
}

static void fails_with(int result, int expected, const char *words)
{
    CU_ASSERT_EQUAL(result, expected);
    CU_ASSERT_STRING_EQUAL(failure.text, words);
    CU_ASSERT_EQUAL(fd_count(), fds);
}

#endif
