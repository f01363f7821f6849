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
#include <time.h>
#include <unistd.h>

#define TRACING "/sys/kernel/tracing"
#define EVENT_ID TRACING "/events/raw_syscalls/sys_enter/id"
#define THREADS_MAX 96u /* of a process */

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

/* The threads of a process, at most THREADS_MAX. Returns their number. */
static unsigned int list_threads(pid_t pid, pid_t threads[THREADS_MAX])
{
    char path[64];
    unsigned int count = 0;
    const struct dirent *entry;
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    while (tasks && count < THREADS_MAX && (entry = readdir(tasks))) {
        pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
        if (thread > 0)
            threads[count++] = thread;
    }
    if (tasks)
        closedir(tasks);
    return count;
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

/* Count for this thread, and for those that it starts. */
static bool add_event(struct syscall_counter *counter, int64_t id, pid_t thread)
{
    struct perf_event_attr attr = {
        .type = PERF_TYPE_TRACEPOINT,
        .size = sizeof(attr),
        .config = (uint64_t)id,
        .inherit = 1,
    };
    int event =
        counter->count == SYSCALL_EVENTS_MAX
            ? -1
            : (int)syscall(SYS_perf_event_open, &attr, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (event >= 0)
        counter->events[counter->count++] = event;
    return event >= 0;
}

static void syscall_counter_close(struct syscall_counter *counter)
{
    while (counter->count > 0)
        close(counter->events[--counter->count]);
}

/* Finds out how system calls can be counted here. ptrace follows one thread. */
static enum syscall_method syscall_counter_open(struct syscall_counter *counter,
                                                const struct processes *processes)
{
    pid_t threads[THREADS_MAX];
    const int64_t id = tracepoint_id();
    bool all = id >= 0;
    unsigned int thread_count = 0;
    *counter = (struct syscall_counter){0};
    for (unsigned int i = 0; i < processes->count; i++) {
        const unsigned int count = list_threads(processes->pids[i], threads);
        thread_count += count;
        for (unsigned int t = 0; all && t < count; t++)
            all = add_event(counter, id, threads[t]);
    }
    if (all) /* no process makes no calls */
        return SYSCALLS_TRACEPOINT;
    syscall_counter_close(counter);
    return thread_count == 1 ? SYSCALLS_PTRACE : SYSCALLS_NONE;
}

static int64_t syscall_counter_read(const struct syscall_counter *counter)
{
    int64_t sum = 0;
    for (unsigned int i = 0; i < counter->count; i++) {
        int64_t count = 0;
        if (read(counter->events[i], &count, sizeof(count)) == sizeof(count))
            sum += count;
    }
    return sum;
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

void counted_begin(struct counted *counted, const struct processes *processes, uint64_t duration_ns)
{
    *counted =
        (struct counted){.pid = processes->pids[0], .duration_ns = duration_ns, .syscalls = -1};
    counted->method = syscall_counter_open(&counted->counter, processes);
    if (counted->method == SYSCALLS_PTRACE &&
        pthread_create(&counted->tracer, NULL, trace, counted) != 0)
        counted->method = SYSCALLS_NONE;
}

void counted_end(struct counted *counted)
{
    if (counted->method == SYSCALLS_PTRACE)
        pthread_join(counted->tracer, NULL);
    else if (counted->method == SYSCALLS_TRACEPOINT)
        counted->syscalls = syscall_counter_read(&counted->counter);
    syscall_counter_close(&counted->counter);
}

uint64_t cpu_time_ns(pid_t pid)
{
    clockid_t clock;
    struct timespec time = {0};
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) < 0)
        return 0;
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* The number behind the key, in the thread's status. */
static uint64_t read_switches(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

struct use use_of(const struct processes *processes)
{
    char path[64], text[4096];
    pid_t threads[THREADS_MAX];
    struct use use = {0};
    for (unsigned int i = 0; i < processes->count; i++) {
        const unsigned int count = list_threads(processes->pids[i], threads);
        use.cpu_ns += cpu_time_ns(processes->pids[i]);
        for (unsigned int t = 0; t < count; t++) {
            snprintf(path, sizeof(path), "/proc/%d/task/%d/status", processes->pids[i], threads[t]);
            FILE *file = fopen(path, "re");
            const size_t length = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
            text[length] = '\0';
            use.voluntary += read_switches(text, "\nvoluntary_ctxt_switches:");
            use.involuntary += read_switches(text, "\nnonvoluntary_ctxt_switches:");
            if (file)
                fclose(file);
        }
    }
    return use;
}

void use_add(struct use *sum, struct use before, const struct processes *processes)
{
    const struct use after = use_of(processes);
    sum->cpu_ns += after.cpu_ns - before.cpu_ns;
    sum->voluntary += after.voluntary - before.voluntary;
    sum->involuntary += after.involuntary - before.involuntary;
}

void use_divide(const struct use *use, double count, struct request_use *ret)
{
    ret->cpu_ns = (double)use->cpu_ns / count;
    ret->voluntary = (double)use->voluntary / count;
    ret->involuntary = (double)use->involuntary / count;
}

void use_print_title(const char *title, int width)
{
    printf("\n%-*s | %-37s | %s\n%-*s | %8s %8s %9s %9s | %8s %8s %9s %9s\n", width, "", "worker",
           "broker", width, title, "cpu us", "calls", "voluntary", "involunt.", "cpu us", "calls",
           "voluntary", "involunt.");
}

static void print_one(const struct request_use *use)
{
    printf(" | %8.2f %8.3f %9.3f %9.3f", use->cpu_ns / 1e3, use->syscalls, use->voluntary,
           use->involuntary);
}

void use_print(const char *name, int width, const struct request_use *data,
               const struct request_use *rest)
{
    printf("%-*s", width, name);
    print_one(data);
    print_one(rest);
    printf("\n");
}

void use_print_json(FILE *file, const char *name, const struct request_use *use)
{
    fprintf(file,
            ", \"%s\": {\"cpu_us\": %.3f, \"syscalls\": %.4f, \"voluntary_switches\": %.4f, "
            "\"involuntary_switches\": %.4f}",
            name, use->cpu_ns / 1e3, use->syscalls, use->voluntary, use->involuntary);
}

static bool set_threads(pid_t pid, const cpu_set_t *processors)
{
    pid_t threads[THREADS_MAX];
    const unsigned int count = list_threads(pid, threads);
    bool done = count > 0;
    for (unsigned int i = 0; i < count; i++) {
        if (sched_setaffinity(threads[i], sizeof(*processors), processors) < 0)
            done = false;
    }
    return done;
}

static bool one_for_all;

void place_all_on_one(void)
{
    one_for_all = true;
    place_nowhere();
}

void place_nowhere(void)
{
    cpu_set_t processors;
    if (one_for_all)
        CPU_ZERO_S(sizeof(processors), &processors);
    else
        memset(&processors, 0xff, sizeof(processors)); /* all that exist */
    CPU_SET(0, &processors);
    (void)sched_setaffinity(0, sizeof(processors), &processors);
}

/* The last processor of this machine, and the others. The caller is on all of them. False: there is
 * one for all. */
static bool split_processors(cpu_set_t *ret_last, cpu_set_t *ret_others)
{
    place_nowhere();
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

bool place_processes(const struct processes *workers, pid_t broker)
{
    cpu_set_t guest, last;
    bool done = split_processors(&last, &guest);
    for (unsigned int i = 0; done && i < workers->count; i++)
        done = set_threads(workers->pids[i], &last);
    return done && set_threads(getpid(), &guest) && set_threads(broker, &guest);
}

bool place_what_starts(void)
{
    cpu_set_t guest, last;
    return split_processors(&last, &guest) && sched_setaffinity(0, sizeof(last), &last) == 0;
}

bool place_guest(void)
{
    cpu_set_t guest, last;
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
