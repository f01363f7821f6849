/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/kernel_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/calls.h"

#define RECORD_SIZE 8192     /* the kernel's own limit for a record of /dev/kmsg */
#define RECORDS_AT_ONCE 1000 /* if the log grows faster than it is read, stop */

int kernel_log_open(void)
{
    int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -1;
    (void)lseek(fd, 0, SEEK_END);
    return fd;
}

/* The number after ` key=`; false if it is not there. */
static bool field(const char *record, const char *key, long *ret)
{
    const char *at = strstr(record, key);
    if (!at)
        return false;
    char *end;
    at += strlen(key);
    *ret = strtol(at, &end, 10);
    return end != at;
}

/* The audit record of a seccomp filter, type 1326; `sig` is 0 if the call was only logged. */
static bool is_kill(const char *record, long *ret_pid, long *ret_call)
{
    long signal;
    return strstr(record, "audit: type=1326 ") && field(record, " pid=", ret_pid) &&
           field(record, " sig=", &signal) && signal != 0 && field(record, " syscall=", ret_call);
}

static void name_call(long number, char ret_call[KERNEL_LOG_CALL_SIZE])
{
    const struct policy_call *call = policy_calls;
    while (call->name && call->number[POLICY_ARCH_NATIVE] != number)
        call++;
    snprintf(ret_call, KERNEL_LOG_CALL_SIZE, "%s (%ld)", call->name ? call->name : "unknown",
             number);
}

bool kernel_log_next(int kernel_log, pid_t *ret_pid, char ret_call[KERNEL_LOG_CALL_SIZE])
{
    static char record[RECORD_SIZE + 1];
    for (unsigned int i = 0; i < RECORDS_AT_ONCE; i++) {
        long pid, call;
        ssize_t length = read(kernel_log, record, RECORD_SIZE);
        if (length < 0 && errno == EPIPE)
            continue; /* some were overwritten; the next is the oldest that is left */
        if (length <= 0)
            return false;
        record[length] = '\0';
        if (is_kill(record, &pid, &call)) {
            *ret_pid = (pid_t)pid;
            name_call(call, ret_call);
            return true;
        }
    }
    return false;
}
