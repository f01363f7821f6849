/* SPDX-License-Identifier: Apache-2.0 */
/* Which programs the keeper will ever start: those beside its own, or in libexec, and which one is
 * named if it is missing. The folders are this test's. */
#include "broker/keeper/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"

#define BROKER "bao-virtio-broker"
#define WORKER "bao-virtio-worker"
#define FILES 64

static const char *program; /* where the keeper's program is said to be */
static int readlink_error;
static const char *there[2];     /* programs that exist: both are this one */
static const char *forbidden;    /* one that can't be opened */
static char tried[4 * PATH_MAX]; /* what was opened, a line each */
static const char *missing;

int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
ssize_t __wrap_readlink(const char *path, char *ret, size_t size);
ssize_t __wrap___readlink_chk(const char *path, char *ret, size_t size, size_t room);

int __wrap_open(const char *path, int flags, ...)
{
    const bool null = strcmp(path, "/dev/null") == 0;
    CU_ASSERT_EQUAL(flags, (null ? O_RDWR : O_PATH) | O_CLOEXEC);
    if (call_fails(null ? "null" : "open"))
        return -1;
    if (null)
        return (int)syscall(SYS_openat, AT_FDCWD, path, flags);
    strcat(strcat(tried, path), "\n");
    errno = EACCES;
    if (forbidden && strcmp(path, forbidden) == 0)
        return -1;
    for (size_t i = 0; i < 2; i++) {
        if (there[i] && strcmp(path, there[i]) == 0)
            return (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/exe", flags);
    }
    errno = ENOENT;
    return -1;
}

int __wrap_open64(const char *path, int flags, ...)
{
    return __wrap_open(path, flags);
}

ssize_t __wrap_readlink(const char *path, char *ret, size_t size)
{
    CU_ASSERT_STRING_EQUAL(path, "/proc/self/exe");
    CU_ASSERT_EQUAL(size, PATH_MAX - 1); /* there is room for one more */
    memset(ret, '/', size + 1);
    errno = readlink_error;
    memcpy(ret, program, strlen(program));
    return readlink_error ? -1 : (ssize_t)strlen(program);
}

ssize_t __wrap___readlink_chk(const char *path, char *ret, size_t size, size_t room)
{
    (void)room;
    return __wrap_readlink(path, ret, size);
}

static void finds(const char *where, const char *broker, const char *worker, int expected)
{
    const unsigned int before = fd_count();
    struct executables found = {-5, -5, -5};
    program = where;
    there[0] = broker;
    there[1] = worker;
    tried[0] = '\0';
    CU_ASSERT_EQUAL(executables_open(&found, &missing), expected);
    if (expected == 0) {
        CU_ASSERT(found.null >= SPAWN_CLAIMS_FD && found.broker > 0 && found.worker > 0);
        CU_ASSERT_NOT_EQUAL(found.broker, found.worker);
        close(found.broker);
        close(found.worker);
        close(found.null);
    } else {
        CU_ASSERT(found.null == -5 && found.broker == -5 && found.worker == -5);
    }
    for (int fd = 0; fd_count() > before; fd++) {
        struct stat status, null;
        CU_ASSERT_FATAL(fd < FILES && stat("/dev/null", &null) == 0);
        if (fstat(fd, &status) == 0 && (status.st_rdev == null.st_rdev || expected < 0) &&
            fcntl(fd, F_GETFD) == FD_CLOEXEC)
            close(fd);
    }
}

static void each_program_is_beside_this_one_or_in_libexec(void)
{
    finds("/opt/bin/dm", "/opt/bin/" BROKER, "/opt/bin/" WORKER, 0);
    CU_ASSERT_STRING_EQUAL(tried, "/opt/bin/" BROKER "\n/opt/bin/" WORKER "\n");
    finds("/opt/bin/dm", "/opt/bin/../libexec/bao-virtio-dm/" BROKER,
          "/opt/bin/../libexec/bao-virtio-dm/" WORKER, 0);
    CU_ASSERT_STRING_EQUAL(tried, "/opt/bin/" BROKER "\n"
                                  "/opt/bin/../libexec/bao-virtio-dm/" BROKER "\n"
                                  "/opt/bin/" WORKER "\n"
                                  "/opt/bin/../libexec/bao-virtio-dm/" WORKER "\n");
    finds("/dm", "/" BROKER, "/" WORKER, 0);
    free_0(); /* /dev/null gets it, too */
    finds("/dm", "/" BROKER, "/" WORKER, 0);
    take_0_back();
}

/* Below that number a child's files arrive. */
static void null_is_the_first_file_that_is_out_of_the_way(void)
{
    struct executables found;
    int kept = fcntl(SPAWN_CLAIMS_FD, F_DUPFD_CLOEXEC, 30), below[SPAWN_CLAIMS_FD];
    close(SPAWN_CLAIMS_FD);
    for (int fd = 3; fd < SPAWN_CLAIMS_FD; fd++)
        below[fd] = fcntl(fd, F_GETFD);
    program = "/dm";
    there[0] = "/" BROKER;
    there[1] = "/" WORKER;
    CU_ASSERT_EQUAL(executables_open(&found, &missing), 0);
    CU_ASSERT_EQUAL(found.null, SPAWN_CLAIMS_FD);
    for (int fd = 3; fd < SPAWN_CLAIMS_FD; fd++) {
        CU_ASSERT(fcntl(fd, F_GETFD) >= 0);
        if (below[fd] < 0)
            close(fd);
    }
    close(found.broker);
    close(found.worker);
    close(found.null);
    if (kept >= 0) {
        dup2(kept, SPAWN_CLAIMS_FD);
        close(kept);
    }
}

static void what_is_missing_is_named(void)
{
    finds("/opt/bin/dm", NULL, "/opt/bin/" WORKER, -ENOENT);
    CU_ASSERT_STRING_EQUAL(missing, BROKER);
    finds("/opt/bin/dm", "/opt/bin/" BROKER, NULL, -ENOENT);
    CU_ASSERT_STRING_EQUAL(missing, WORKER);
    forbidden = "/opt/bin/" WORKER; /* it is there: another one must not take its place */
    finds("/opt/bin/dm", "/opt/bin/" BROKER, "/opt/bin/../libexec/bao-virtio-dm/" WORKER, -EACCES);
    CU_ASSERT_STRING_EQUAL(missing, WORKER);
    forbidden = NULL;
    finds("dm", "/" BROKER, "/" WORKER, -ENOENT);
    CU_ASSERT_STRING_EQUAL(missing, "/proc/self/exe");
    CU_ASSERT_STRING_EQUAL(tried, "");
    readlink_error = EIO;
    finds("/opt/bin/dm", "/opt/bin/" BROKER, "/opt/bin/" WORKER, -EIO);
    CU_ASSERT_STRING_EQUAL(missing, "/proc/self/exe");
    readlink_error = 0;
    fail_once("null", EMFILE, 1);
    finds("/opt/bin/dm", "/opt/bin/" BROKER, "/opt/bin/" WORKER, -EMFILE);
    CU_ASSERT_STRING_EQUAL(missing, "/dev/null");
}

static void a_name_that_is_too_long_is_refused(void)
{
    static char path[PATH_MAX];
    for (size_t room = strlen(BROKER); room <= strlen(BROKER) + 1; room++) {
        memset(path, 'a', sizeof(path));
        path[0] = '/';
        strcpy(path + PATH_MAX - 1 - room, "/x");
        finds(path, NULL, NULL, -ENAMETOOLONG);
        /* The shorter of two names is tried if it fits. */
        CU_ASSERT_EQUAL(tried[0] == '\0', room == strlen(BROKER));
    }
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"each is beside this one or in libexec", each_program_is_beside_this_one_or_in_libexec},
        {"null is out of the way", null_is_the_first_file_that_is_out_of_the_way},
        {"what is missing is named", what_is_missing_is_named},
        {"a name that is too long is refused", a_name_that_is_too_long_is_refused},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "programs", tests);
}
