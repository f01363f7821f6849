/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench.h"

#include <dirent.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRACING "/sys/kernel/tracing"
#define EVENT_ID TRACING "/events/raw_syscalls/sys_enter/id"

static int64_t read_number(const char *path)
{
    int64_t number = -1;
    FILE *file = fopen(path, "re");
    if (!file)
        return -1;
    if (fscanf(file, "%ld", &number) != 1)
        number = -1;
    fclose(file);
    return number;
}

static int64_t tracepoint_id(void)
{
    int64_t id = read_number(EVENT_ID);
    /* It is not mounted: mount it where no other process sees it. */
    if (id < 0 && unshare(CLONE_NEWNS) == 0 &&
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        mount("tracefs", TRACING, "tracefs", 0, NULL) == 0)
        id = read_number(EVENT_ID);
    return id;
}

/* Finds out how system calls can be counted here. */
static enum syscall_method syscall_counter_open(struct syscall_counter *counter, pid_t pid)
{
    *counter = (struct syscall_counter){.method = SYSCALLS_PTRACE, .event = -1};
    int64_t id = tracepoint_id();
    struct perf_event_attr attr = {
        .type = PERF_TYPE_TRACEPOINT,
        .size = sizeof(attr),
        .config = (uint64_t)id,
    };
    if (id >= 0)
        counter->event =
            (int)syscall(SYS_perf_event_open, &attr, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (counter->event >= 0)
        counter->method = SYSCALLS_TRACEPOINT;
    return counter->method;
}

static uint64_t syscall_counter_read(const struct syscall_counter *counter)
{
    uint64_t count = 0;
    if (counter->event >= 0 && read(counter->event, &count, sizeof(count)) != sizeof(count))
        count = 0;
    return count;
}

static void syscall_counter_close(struct syscall_counter *counter)
{
    if (counter->event >= 0)
        close(counter->event);
    counter->event = -1;
}

/* Follow a process with ptrace for so long, and count. Meanwhile the process is slower. */
static int64_t syscalls_by_ptrace(pid_t pid, uint64_t duration_ns)
{
    int status;
    if (ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD) < 0 ||
        ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0)
        return -errno;
    int64_t stops = 0;
    uint64_t end = bench_now_ns() + duration_ns;
    bool ending = false;
    for (;;) {
        pid_t waited = waitpid(pid, &status, __WALL | (ending ? 0 : WNOHANG));
        if (waited < 0 || (waited == pid && !WIFSTOPPED(status)))
            return -ESRCH;
        if (!ending && bench_now_ns() >= end) {
            ptrace(PTRACE_INTERRUPT, pid, 0, 0); /* it may sleep in a system call */
            ending = true;
        }
        if (waited == 0)
            continue;
        if (WSTOPSIG(status) == (SIGTRAP | 0x80))
            stops++;
        if (ending) { /* any stop is good: it came instead of the requested one */
            ptrace(PTRACE_DETACH, pid, 0, 0);
            return stops / 2; /* each call stops at entry and exit */
        }
        ptrace(PTRACE_SYSCALL, pid, 0, 0);
    }
}

static void *trace(void *argument)
{
    struct counted *counted = argument;
    counted->syscalls = syscalls_by_ptrace(counted->pid, counted->duration_ns);
    return NULL;
}

void counted_begin(struct counted *counted, pid_t pid, uint64_t duration_ns)
{
    *counted = (struct counted){.pid = pid, .duration_ns = duration_ns, .syscalls = -1};
    counted->method = syscall_counter_open(&counted->counter, pid);
    if (counted->method == SYSCALLS_PTRACE &&
        pthread_create(&counted->tracer, NULL, trace, counted) != 0)
        counted->method = SYSCALLS_NONE;
}

void counted_end(struct counted *counted)
{
    if (counted->method == SYSCALLS_PTRACE)
        pthread_join(counted->tracer, NULL);
    else if (counted->method == SYSCALLS_TRACEPOINT)
        counted->syscalls = (int64_t)syscall_counter_read(&counted->counter);
    syscall_counter_close(&counted->counter);
}

uint64_t cpu_time_ns(pid_t pid)
{
    char path[320];
    uint64_t total = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    const struct dirent *entry;
    while (tasks && (entry = readdir(tasks))) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid, entry->d_name);
        int64_t ns = read_number(path); /* the first number of the line */
        total += ns > 0 ? (uint64_t)ns : 0;
    }
    if (tasks)
        closedir(tasks);
    return total;
}

static bool set_threads(pid_t pid, const cpu_set_t *processors)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    const struct dirent *entry;
    bool done = tasks != NULL;
    while (tasks && (entry = readdir(tasks))) {
        pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
        if (thread > 0 && sched_setaffinity(thread, sizeof(*processors), processors) < 0)
            done = false;
    }
    if (tasks)
        closedir(tasks);
    return done;
}

void place_nowhere(void)
{
    cpu_set_t all;
    memset(&all, 0xff, sizeof(all)); /* all that exist */
    (void)sched_setaffinity(0, sizeof(all), &all);
}

/* The last processor, and the others. */
static bool split_processors(cpu_set_t *ret_last, cpu_set_t *ret_others)
{
    CPU_ZERO(ret_last);
    if (sched_getaffinity(0, sizeof(*ret_others), ret_others) < 0 || CPU_COUNT(ret_others) < 2)
        return false;
    size_t processor = CPU_SETSIZE - 1;
    while (!CPU_ISSET(processor, ret_others))
        processor--;
    CPU_CLR(processor, ret_others);
    CPU_SET(processor, ret_last);
    return true;
}

bool place_processes(pid_t worker, pid_t broker)
{
    cpu_set_t guest, last;
    return split_processors(&last, &guest) && set_threads(worker, &last) &&
           set_threads(getpid(), &guest) && set_threads(broker, &guest);
}

bool place_what_starts(void)
{
    cpu_set_t guest, last;
    return split_processors(&last, &guest) && sched_setaffinity(0, sizeof(last), &last) == 0;
}

bool place_guest(void)
{
    cpu_set_t guest, last;
    place_nowhere();
    return split_processors(&last, &guest) && set_threads(getpid(), &guest);
}

double private_kib(pid_t pid, bool shared_too)
{
    char path[64], line[512], sharing;
    bool counts = false;
    unsigned long kib = 0, part;
    snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return -1;
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "%*x-%*x %*3c%c", &sharing) == 1)
            counts = shared_too || sharing == 'p';
        else if (counts && (sscanf(line, "Private_Clean: %lu", &part) == 1 ||
                            sscanf(line, "Private_Dirty: %lu", &part) == 1))
            kib += part;
    }
    fclose(file);
    return (double)kib;
}
