/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that outlives a process: its size stays, a text stays as it is, one process at a time has
 * it. A step that fails leaves nothing open. */
#include "broker/shared_page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"

#define SIZE 8192u

static int create_error, size_error, seal_error, open_error;
/* Of the next writes; 0: it works; -1: it writes one byte only; -2: it writes nothing. */
static int write_errors[2];

int __wrap_memfd_create(const char *name, unsigned int flags);
int __wrap_ftruncate(int fd, off_t size);
int __wrap_ftruncate64(int fd, off_t size);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
ssize_t __wrap_write(int fd, const void *bytes, size_t size);

/* A call that does not fail leaves errno as an earlier one has set it. */
static int after_error(int result)
{
    errno = E2BIG;
    return result;
}

static int fails(int error)
{
    errno = error;
    return -1;
}

int __wrap_memfd_create(const char *name, unsigned int flags)
{
    CU_ASSERT_EQUAL(flags, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return create_error ? fails(create_error)
                        : after_error((int)syscall(SYS_memfd_create, name, flags));
}

int __wrap_ftruncate(int fd, off_t size)
{
    int result = size_error ? fails(size_error) : (int)syscall(SYS_ftruncate, fd, size);
    return result < 0 ? result : after_error(result);
}

int __wrap_ftruncate64(int fd, off_t size)
{
    return __wrap_ftruncate(fd, size);
}

int __wrap_fcntl(int fd, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    int value = va_arg(arguments, int);
    va_end(arguments);
    if (seal_error && command == F_ADD_SEALS)
        return fails(seal_error);
    int result = (int)syscall(SYS_fcntl, fd, command, value);
    return result < 0 ? result : after_error(result);
}

int __wrap_fcntl64(int fd, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    int value = va_arg(arguments, int);
    va_end(arguments);
    return __wrap_fcntl(fd, command, value);
}

int __wrap_open(const char *path, int flags, ...)
{
    CU_ASSERT_EQUAL(flags, O_RDWR | O_CLOEXEC);
    return open_error ? fails(open_error)
                      : after_error((int)syscall(SYS_openat, AT_FDCWD, path, flags, 0));
}

int __wrap_open64(const char *path, int flags, ...)
{
    return __wrap_open(path, flags);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t size)
{
    int error = write_errors[0];
    write_errors[0] = write_errors[1];
    write_errors[1] = 0;
    if (error > 0) {
        errno = error;
        return -1;
    }
    if (error == -2)
        return after_error(0);
    return syscall(SYS_write, fd, bytes, error < 0 && size > 0 ? 1 : size);
}

static void a_page_keeps_its_size(void)
{
    int fd = shared_page_create("page", SIZE);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(fcntl(fd, F_GETFD, 0), FD_CLOEXEC);
    CU_ASSERT_EQUAL(ftruncate(fd, SIZE / 2), -1);
    CU_ASSERT_EQUAL(ftruncate(fd, SIZE * 2), -1);
    CU_ASSERT_EQUAL(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1); /* nobody makes it a text */
    CU_ASSERT_TRUE(shared_page_is(fd, SIZE));
    CU_ASSERT_FALSE(shared_page_is(fd, SIZE - 1));
    CU_ASSERT_FALSE(shared_page_is(-1, 0));
    CU_ASSERT_FALSE(shared_page_is_text(fd));
    char *page = shared_page_map(fd, SIZE);
    CU_ASSERT_PTR_NOT_NULL_FATAL(page);
    page[SIZE - 1] = 7;
    char byte = 0;
    CU_ASSERT_EQUAL(pread(fd, &byte, 1, SIZE - 1), 1);
    CU_ASSERT_EQUAL(byte, 7);
    munmap(page, SIZE);
    CU_ASSERT_PTR_NULL(shared_page_map(-1, SIZE));
    close(fd);
}

static void one_at_a_time_has_it(void)
{
    int fd = shared_page_create("page", SIZE);
    const unsigned int before = fd_count();
    int first = shared_page_claim(fd);
    CU_ASSERT(first >= 0 && first != fd);
    CU_ASSERT_EQUAL(shared_page_claim(fd), -EWOULDBLOCK);
    CU_ASSERT_EQUAL(fd_count(), before + 1);
    int second = shared_page_reopen(fd);
    CU_ASSERT_EQUAL(shared_page_lock(second), -EWOULDBLOCK);
    CU_ASSERT_EQUAL(shared_page_lock(first), 0); /* it has it */
    void *page = shared_page_map(first, SIZE);
    close(first);
    CU_ASSERT_EQUAL(shared_page_lock(second), -EWOULDBLOCK); /* the mapping keeps it */
    munmap(page, SIZE);
    CU_ASSERT_EQUAL(shared_page_lock(second), 0);
    CU_ASSERT_EQUAL(shared_page_lock(-1), -EBADF);
    close(second);
    open_error = EMFILE;
    CU_ASSERT_EQUAL(shared_page_reopen(fd), -EMFILE);
    CU_ASSERT_EQUAL(shared_page_claim(fd), -EMFILE);
    open_error = 0;
    CU_ASSERT_EQUAL(fd_count(), before);
    close(fd);
}

static void a_text_stays_as_it_is(void)
{
    char text[8];
    static const int errors[][2] = {{0, 0}, {EINTR, 0}, {-1, -1}, {-2, -1}};
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        memcpy(write_errors, errors[i], sizeof(write_errors));
        int fd = shared_page_of_text("text", "abcdef", 6);
        CU_ASSERT_FATAL(fd >= 0);
        CU_ASSERT_TRUE(shared_page_is(fd, 6));
        CU_ASSERT_TRUE(shared_page_is_text(fd));
        CU_ASSERT_EQUAL(pread(fd, text, sizeof(text), 0), 6);
        CU_ASSERT_EQUAL(memcmp(text, "abcdef", 6), 0);
        CU_ASSERT_EQUAL(pwrite(fd, "x", 1, 0), -1);
        CU_ASSERT_EQUAL(ftruncate(fd, 0), -1);
        CU_ASSERT_EQUAL(ftruncate(fd, 9), -1);
        CU_ASSERT_EQUAL(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL), -1);
        close(fd);
    }
    CU_ASSERT_FALSE(shared_page_is_text(-1));
    int fd = shared_page_of_text("text", "", 0);
    CU_ASSERT_TRUE(shared_page_is_text(fd));
    close(fd);
}

/* No number says that it failed, but a negative one. */
static void each_file_may_have_the_number_0(void)
{
    free_0();
    CU_ASSERT_EQUAL(shared_page_create("page", SIZE), 0);
    take_0_back();
    free_0();
    CU_ASSERT_EQUAL(shared_page_of_text("text", "abc", 3), 0);
    CU_ASSERT_TRUE(shared_page_is_text(0));
    take_0_back();
    int fd = shared_page_create("page", SIZE);
    free_0();
    CU_ASSERT_EQUAL(shared_page_reopen(fd), 0);
    take_0_back();
    free_0();
    CU_ASSERT_EQUAL(shared_page_claim(fd), 0);
    CU_ASSERT_EQUAL(shared_page_claim(fd), -EWOULDBLOCK); /* the lock was taken */
    take_0_back();
    int claimed = shared_page_claim(fd);
    CU_ASSERT(claimed > 0);
    free_0();
    CU_ASSERT_EQUAL(shared_page_claim(fd), -EWOULDBLOCK);
    CU_ASSERT_EQUAL(fcntl(0, F_GETFD, 0), -1); /* it was closed again */
    take_0_back();
    close(claimed);
    close(fd);
}

static void a_step_that_fails_leaves_nothing_open(void)
{
    const unsigned int before = fd_count();
    create_error = ENFILE;
    CU_ASSERT_EQUAL(shared_page_create("page", SIZE), -ENFILE);
    CU_ASSERT_EQUAL(shared_page_of_text("text", "abc", 3), -ENFILE);
    create_error = 0;
    size_error = ENOSPC;
    CU_ASSERT_EQUAL(shared_page_create("page", SIZE), -ENOSPC);
    size_error = 0;
    seal_error = EPERM;
    CU_ASSERT_EQUAL(shared_page_create("page", SIZE), -EPERM);
    CU_ASSERT_EQUAL(shared_page_of_text("text", "abc", 3), -EPERM);
    seal_error = 0;
    write_errors[0] = ENOSPC;
    CU_ASSERT_EQUAL(shared_page_of_text("text", "abc", 3), -ENOSPC);
    CU_ASSERT_EQUAL(fd_count(), before);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"a page keeps its size", a_page_keeps_its_size},
        {"one at a time has it", one_at_a_time_has_it},
        {"a text stays as it is", a_text_stays_as_it_is},
        {"each file may have the number 0", each_file_may_have_the_number_0},
        {"a step that fails leaves nothing open", a_step_that_fails_leaves_nothing_open},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "shared page", tests);
}
