/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/landlock_log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "policy/audit/process.h"

#define RECORD_SIZE 8192       /* the kernel's own limit for a record of /dev/kmsg */
#define RECORDS_MAX 1000000u   /* a log that grows as fast as it is read is left */
#define OF_PROGRAMS 8u         /* priorities from here on are of what programs wrote into it */
#define FIRST_PIDS 0xeffffffcu /* the inode of the first pid namespace: its pids are in the log */

/*
 * "PRIORITY,NUMBER,MICROSECONDS,FLAGS;audit: type=1424 audit(TIME:SERIAL): domain=HEX
 * status=allocated mode=enforcing pid=PID ...". Type 1424 is AUDIT_LANDLOCK_DOMAIN. The kernel
 * writes it once for each domain: after the first refusal that it logs.
 */
bool landlock_log_tells(const char *record, pid_t pid, long long since, uint64_t *ret)
{
    unsigned int priority;
    long long at;
    int text = 0, domain = 0, maker;
    uint64_t number;
    if (sscanf(record, "%u,%*u,%lld,%*[^;];audit: type=1424 audit(%n", &priority, &at, &text) !=
            2 ||
        text == 0 || priority >= OF_PROGRAMS ||
        sscanf(record + text, "%*[^)]): domain=%n", &domain) != 0 || domain == 0)
        return false;
    if (sscanf(record + text + domain, "%" SCNx64 " status=allocated mode=enforcing pid=%d ",
               &number, &maker) != 2 ||
        maker != pid || at < since)
        return false;
    *ret = number;
    return true;
}

static bool sees_the_pids_of_the_log(void)
{
    char link[PROCESS_TEXT], first[32];
    snprintf(first, sizeof(first), "pid:[%u]", FIRST_PIDS);
    return process_link(getpid(), "ns/pid", link, sizeof(link)) && strcmp(link, first) == 0;
}

bool landlock_log_find(pid_t pid, uint64_t *ret)
{
    static char record[RECORD_SIZE + 1];
    long ticks = sysconf(_SC_CLK_TCK);
    long long started = (long long)process_started(pid);
    if (ticks <= 0 || started == 0 || !sees_the_pids_of_the_log())
        return false;
    /* The log's clock stands still while the machine is suspended, and that of the start does not.
     * So a record may seem too old, but none of an earlier process with that pid seems new. */
    const long long since = started * (1000000 / ticks);
    int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    bool found = false;
    for (unsigned int i = 0; log >= 0 && !found && i < RECORDS_MAX; i++) {
        ssize_t length = read(log, record, RECORD_SIZE);
        if (length < 0 && errno == EPIPE)
            continue; /* some were overwritten; the next is the oldest that is left */
        if (length <= 0)
            break;
        record[length] = '\0';
        found = landlock_log_tells(record, pid, since, ret);
    }
    if (log >= 0)
        close(log);
    return found;
}
