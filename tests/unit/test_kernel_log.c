/* SPDX-License-Identifier: Apache-2.0 */
/* For which call a filter has killed a process, as the kernel's log tells it. Other records mean
 * nothing, and no record makes the broker read for ever. */
#include "broker/kernel_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/cunit_main.h"

#define LOG 0x7000 /* no open file */

/* What each read gets: a record; NULL: EPIPE. */
static const char *records[8];
static unsigned int record_count, reads;
static const char *always; /* each read gets this */
static int open_error;

ssize_t __wrap_read(int fd, void *buffer, size_t size);
ssize_t __wrap___read_chk(int fd, void *buffer, size_t size, size_t room);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
off_t __wrap_lseek(int fd, off_t offset, int whence);
off_t __wrap_lseek64(int fd, off_t offset, int whence);

ssize_t __wrap_read(int fd, void *buffer, size_t size)
{
    if (fd != LOG)
        return syscall(SYS_read, fd, buffer, size);
    const char *record = always;
    CU_ASSERT_EQUAL(size, 8192); /* the kernel refuses less than a record needs */
    if (!record && reads == record_count) {
        errno = EAGAIN;
        return -1;
    }
    if (!record)
        record = records[reads];
    reads++;
    errno = EPIPE;
    if (!record)
        return -1;
    /* What a longer record has left behind is not this record's. */
    memset(buffer, 'x', 4096);
    memcpy((char *)buffer + 100, " pid=1 sig=31 syscall=2 ", 24);
    memcpy(buffer, record, strlen(record));
    return (ssize_t)strlen(record);
}

ssize_t __wrap___read_chk(int fd, void *buffer, size_t size, size_t room)
{
    CU_ASSERT(room > size);
    return __wrap_read(fd, buffer, size);
}

static int opened_flags, seeks;

int __wrap_open(const char *path, int flags, ...)
{
    CU_ASSERT_STRING_EQUAL(path, "/dev/kmsg");
    opened_flags = flags;
    errno = open_error;
    return open_error ? -1 : LOG;
}

int __wrap_open64(const char *path, int flags, ...)
{
    return __wrap_open(path, flags);
}

off_t __wrap_lseek(int fd, off_t offset, int whence)
{
    seeks += fd == LOG && offset == 0 && whence == SEEK_END;
    return 0;
}

off_t __wrap_lseek64(int fd, off_t offset, int whence)
{
    return __wrap_lseek(fd, offset, whence);
}

static pid_t pid;
static char call[KERNEL_LOG_CALL_SIZE];

static bool next(const char *record)
{
    records[0] = record;
    record_count = 1;
    reads = 0;
    pid = -1;
    always = NULL;
    strcpy(call, "unset");
    return kernel_log_next(LOG, &pid, call);
}

#define BEFORE "5,1201,99887766,-;audit: type=1326 audit(1.2:3): auid=0 uid=1879048192 gid=0 ses=1"

static void a_kill_is_told_by_pid_and_call(void)
{
    char record[256], expected[64];
    snprintf(record, sizeof(record),
             BEFORE " pid=4711 comm=\"w\" exe=\"/w\" sig=31 arch=c000003e syscall=%d compat=0",
             (int)SYS_openat);
    CU_ASSERT_TRUE(next(record));
    CU_ASSERT_EQUAL(pid, 4711);
    snprintf(expected, sizeof(expected), "openat (%d)", (int)SYS_openat);
    CU_ASSERT_STRING_EQUAL(call, expected);
    CU_ASSERT_TRUE(next(BEFORE " pid=12 sig=31 arch=c000003e syscall=99999 compat=0"));
    CU_ASSERT_STRING_EQUAL(call, "unknown (99999)");
    CU_ASSERT_EQUAL(pid, 12);
}

static void other_records_are_none(void)
{
    CU_ASSERT_FALSE(next("6,1,2,-;hello"));
    CU_ASSERT_FALSE(next(BEFORE " pid=12 sig=0 arch=c000003e syscall=2")); /* only logged */
    CU_ASSERT_FALSE(next(BEFORE " pid=12 arch=c000003e syscall=2"));
    CU_ASSERT_FALSE(next(BEFORE " sig=31 arch=c000003e syscall=2"));
    CU_ASSERT_FALSE(next(BEFORE " pid=12 sig=31 arch=c000003e"));
    CU_ASSERT_FALSE(next(BEFORE " pid= sig=31 syscall=2"));
    CU_ASSERT_FALSE(next(BEFORE " pid=12 sig=31 syscall=?"));
    CU_ASSERT_FALSE(next("5,1,2,-;audit: type=1300 pid=12 sig=31 syscall=2"));
    CU_ASSERT_EQUAL(pid, -1); /* nothing was said */
    CU_ASSERT_STRING_EQUAL(call, "unset");
}

/* The call 0 and a short record are like others. */
static void call_0_is_a_call(void)
{
    CU_ASSERT_TRUE(next("audit: type=1326  pid=3 sig=9 syscall=0"));
    CU_ASSERT_EQUAL(pid, 3);
}

static void what_was_overwritten_is_skipped(void)
{
    records[0] = NULL;
    records[1] = "6,1,2,-;hello";
    records[2] = BEFORE " pid=1 sig=31 syscall=2";
    records[3] = NULL;
    records[4] = BEFORE " pid=2 sig=31 syscall=2";
    record_count = 5;
    reads = 0;
    always = NULL;
    CU_ASSERT_TRUE(kernel_log_next(LOG, &pid, call));
    CU_ASSERT_EQUAL(pid, 1);
    CU_ASSERT_EQUAL(reads, 3); /* one at a time */
    CU_ASSERT_TRUE(kernel_log_next(LOG, &pid, call));
    CU_ASSERT_EQUAL(pid, 2);
    CU_ASSERT_FALSE(kernel_log_next(LOG, &pid, call));
    CU_ASSERT_EQUAL(reads, 5);
}

static void an_end_is_no_record(void)
{
    always = "";
    reads = 0;
    CU_ASSERT_FALSE(kernel_log_next(LOG, &pid, call));
    CU_ASSERT_EQUAL(reads, 1);
}

static void a_log_that_grows_faster_than_it_is_read_ends_the_look(void)
{
    always = "6,1,2,-;hello";
    reads = 0;
    CU_ASSERT_FALSE(kernel_log_next(LOG, &pid, call));
    CU_ASSERT(reads >= 100 && reads <= 10000);
}

static void it_begins_at_the_end_of_the_log(void)
{
    open_error = seeks = 0;
    CU_ASSERT_EQUAL(kernel_log_open(), LOG);
    CU_ASSERT_EQUAL(opened_flags, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    CU_ASSERT_EQUAL(seeks, 1);
    open_error = EPERM;
    CU_ASSERT_EQUAL(kernel_log_open(), -1);
    CU_ASSERT_EQUAL(seeks, 1);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"a kill is told by pid and call", a_kill_is_told_by_pid_and_call},
        {"other records are none", other_records_are_none},
        {"call 0 is a call", call_0_is_a_call},
        {"what was overwritten is skipped", what_was_overwritten_is_skipped},
        {"an end is no record", an_end_is_no_record},
        {"a log that grows", a_log_that_grows_faster_than_it_is_read_ends_the_look},
        {"it begins at the end of the log", it_begins_at_the_end_of_the_log},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "kernel log", tests);
}
