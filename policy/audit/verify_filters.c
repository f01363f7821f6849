/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filters of a process, as the kernel hands them out: of each of its threads, since each has
 * its own. All that a thread has are in force, and the sternest answer counts.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/audit/access.h"
#include "policy/audit/verify.h"

#define USER_WORKER 0x4000u /* PF_USER_WORKER: a thread of the kernel's, of vhost */
#define THREADS_MAX 256u    /* a broker has one a device, and its main thread */
#define ENDING_LOOKS 50
#define ENDING_PAUSE_US 2000

static bool same_filter(const struct filters *a, const struct filters *b, size_t index)
{
    return index < a->count && index < b->count &&
           a->items[index].length == b->items[index].length &&
           memcmp(a->items[index].filter, b->items[index].filter,
                  a->items[index].length * sizeof(*a->items[index].filter)) == 0;
}

static size_t count_only_in(const struct access_set *a, const struct access_set *b)
{
    size_t count = 0;
    for (size_t i = 0; i < a->count; i++)
        count += !access_covers(b, &a->items[i]);
    return count;
}

/* How a filter that is not the policy's program differs from it. */
static void describe(const struct filters *filters, const struct policy_listing *policy, char *ret,
                     size_t size)
{
    struct access_set loaded, expected;
    size_t last = filters->count - 1;
    if (filters->count == 0) {
        snprintf(ret, size, "no filter");
        return;
    }
    if (access_of_program(filters->items[last].filter, filters->items[last].length, policy->arch,
                          &loaded) < 0) {
        snprintf(ret, size, "a program of %u instructions that allows more than named calls",
                 filters->items[last].length);
        return;
    }
    if (access_of_rules(policy, &expected) == 0) {
        snprintf(ret, size, "another program, of %u instructions: allows %zu more, %zu less",
                 filters->items[last].length, count_only_in(&loaded, &expected),
                 count_only_in(&expected, &loaded));
        access_free(&expected);
    }
    access_free(&loaded);
}

static void verify_own_filter(struct report *report, const struct verified *verified)
{
    const struct policy_listing *policy = verified->policy;
    const struct filters *filters = &verified->filters;
    bool same = filters->count > 0 && process_has_program(filters, filters->count - 1, policy);
    struct report_row *row =
        report_add(report, verified->process, same ? AS_EXPECTED : NOT_AS_EXPECTED, "filter");
    snprintf(row->expected, sizeof(row->expected), "%s, %u instructions, SHA-256 %s",
             policy->program.name, policy->program.length, policy->program.hash);
    if (same)
        snprintf(row->found, sizeof(row->found), "%s", row->expected);
    else
        describe(filters, policy, row->found, sizeof(row->found));
}

/* All filters are in force, and the sternest answer counts: below the own one, the keeper's. */
static void verify_inherited(struct report *report, const struct verified *verified,
                             const struct filters *keeper_filters)
{
    const struct filters *filters = &verified->filters;
    size_t own = verified->policy ? 1 : 0, same = 0;
    if (!verified->keeper) {
        size_t outer = filters->count > own ? filters->count - own : 0;
        if (outer > 0)
            snprintf(report_add(report, verified->process, TO_KNOW, "outer filters")->found,
                     REPORT_TEXT, "%zu, of whoever started it: they can only deny more", outer);
        return;
    }
    report_number(report, verified->process, "filters in force", keeper_filters->count + own,
                  filters->count);
    while (same < keeper_filters->count && same_filter(filters, keeper_filters, same))
        same++;
    report_number(report, verified->process, "inherited filters", keeper_filters->count, same);
}

/* ---- Threads ---- */

enum { THREAD_GOOD, THREAD_KERNELS, THREAD_GONE, THREAD_WRONG };

struct thread {
    pid_t id;
    int state;
};

struct threads {
    size_t count;
    struct thread items[THREADS_MAX];
};

static unsigned long stat_flags(pid_t thread)
{
    char text[1024];
    if (!process_file(thread, "stat", text, sizeof(text)))
        return 0;
    const char *at = strrchr(text, ')'); /* behind the name, which may hold anything */
    unsigned long flags = 0;
    if (at && sscanf(at, ") %*c %*d %*d %*d %*d %*d %lu", &flags) != 1)
        flags = 0;
    return flags;
}

static bool is_there(const struct process *process, pid_t thread)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task/%d", (int)process->pid, (int)thread);
    return access(path, F_OK) == 0;
}

static struct report_row *wrong_thread(struct report *report, const struct verified *verified,
                                       pid_t thread)
{
    char check[32];
    snprintf(check, sizeof(check), "thread %d", (int)thread);
    struct report_row *row = report_add(report, verified->process, NOT_AS_EXPECTED, check);
    snprintf(row->expected, sizeof(row->expected), "the %zu filter%s of the main thread, in order",
             verified->filters.count, audit_plural(verified->filters.count));
    return row;
}

/* A thread of the kernel's makes no system call and can't be stopped: its filters are counted. */
static int look_at_kernels(struct report *report, const struct verified *verified, pid_t thread)
{
    char mode[16] = "", count[16] = "", expected[16];
    snprintf(expected, sizeof(expected), "%zu", verified->filters.count);
    process_field(thread, "status", "Seccomp", mode, sizeof(mode));
    bool counted =
        process_field(thread, "status", "Seccomp_filters", count, sizeof(count)); /* Linux 5.9 */
    if (strcmp(mode, "2") == 0 && (!counted || strcmp(count, expected) == 0))
        return THREAD_KERNELS;
    if (!is_there(verified->process, thread))
        return THREAD_GONE;
    snprintf(wrong_thread(report, verified, thread)->found, REPORT_TEXT,
             "a thread of the kernel's in seccomp mode %s with %s filters", mode,
             counted ? count : "unknown");
    return THREAD_WRONG;
}

/* What else the kernel keeps for each thread, and shows of the main thread only by default. */
static bool same_credentials(struct report *report, const struct verified *verified, pid_t thread)
{
    static const char *const keys[] = {"Uid",    "Gid",    "Groups", "CapInh",    "CapPrm",
                                       "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char own[REPORT_TEXT / 4] = "", of_main[REPORT_TEXT / 4] = "";
        bool shown =
            process_field(thread, "status", keys[i], own, sizeof(own)) &&
            process_field(verified->process->pid, "status", keys[i], of_main, sizeof(of_main));
        if (!shown || strcmp(own, of_main) == 0 || !is_there(verified->process, thread))
            continue;
        struct report_row *row = wrong_thread(report, verified, thread);
        snprintf(row->expected, sizeof(row->expected), "%s %s, as of the main thread", keys[i],
                 of_main);
        snprintf(row->found, sizeof(row->found), "%s %s", keys[i], own);
        return false;
    }
    return true;
}

static int look_at_thread(struct report *report, const struct verified *verified, pid_t thread)
{
    const struct filters *expected = &verified->filters;
    struct filters filters = {0};
    if (!same_credentials(report, verified, thread))
        return THREAD_WRONG;
    if ((stat_flags(thread) & USER_WORKER) != 0)
        return look_at_kernels(report, verified, thread);
    int error = filters_read(thread, &filters);
    for (unsigned int i = 0; i < ENDING_LOOKS && error < 0 && error != -ETIMEDOUT; i++) {
        if (!is_there(verified->process, thread))
            return THREAD_GONE;
        usleep(ENDING_PAUSE_US); /* what is about to end can't be traced any more */
        error = filters_read(thread, &filters);
    }
    if (error < 0) {
        if (!is_there(verified->process, thread))
            return THREAD_GONE;
        snprintf(wrong_thread(report, verified, thread)->found, REPORT_TEXT,
                 "its filters can't be read: %s",
                 error == -ETIMEDOUT ? "it did not stop for that" : strerror(-error));
        return THREAD_WRONG;
    }
    size_t same = 0;
    while (same < expected->count && same_filter(&filters, expected, same))
        same++;
    bool good = same == expected->count && filters.count == expected->count;
    if (!good)
        snprintf(wrong_thread(report, verified, thread)->found, REPORT_TEXT,
                 "%zu filter%s, of which the first %zu are the same", filters.count,
                 audit_plural(filters.count), same);
    filters_free(&filters);
    return good ? THREAD_GOOD : THREAD_WRONG;
}

static struct thread *find_thread(struct threads *threads, pid_t id)
{
    for (size_t i = 0; i < threads->count; i++) {
        if (threads->items[i].id == id)
            return &threads->items[i];
    }
    return NULL;
}

/* Looks at each thread that has not been looked at; false if there was none. */
static bool look_at_new(struct report *report, const struct verified *verified,
                        struct threads *threads)
{
    char path[64];
    bool any = false;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)verified->process->pid);
    DIR *tasks = opendir(path);
    const struct dirent *entry;
    while (tasks && (entry = readdir(tasks)) && threads->count < THREADS_MAX) {
        pid_t id = (pid_t)strtol(entry->d_name, NULL, 10);
        if (id <= 0 || find_thread(threads, id))
            continue;
        int state = look_at_thread(report, verified, id);
        threads->items[threads->count++] = (struct thread){id, state};
        any = true;
    }
    if (tasks)
        closedir(tasks);
    return any;
}

/*
 * Every thread has what the main thread has. One that is made while this looks inherits the filters
 * of its maker: it is found when the list has nothing new, or looked at in the next turn. One that
 * ends is none of those that are counted.
 */
static void verify_threads(struct report *report, const struct verified *verified)
{
    static struct threads threads;
    unsigned long states[THREAD_WRONG + 1] = {0};
    const struct process *process = verified->process;
    threads.count = 0;
    while (look_at_new(report, verified, &threads) && threads.count < THREADS_MAX)
        ;
    for (size_t i = 0; i < threads.count; i++)
        states[threads.items[i].state]++;
    unsigned long good = states[THREAD_GOOD] + states[THREAD_KERNELS];
    report_number(report, process, "threads so confined", good + states[THREAD_WRONG], good);
    if (threads.count == THREADS_MAX)
        snprintf(report_add(report, process, NOT_AS_EXPECTED, "threads")->found, REPORT_TEXT,
                 "more than are looked at");
    if (process->role == PROCESS_WORKER || process->role == PROCESS_KEEPER)
        report_number(report, process, "threads of its own", 1,
                      states[THREAD_GOOD] + states[THREAD_WRONG]);
    if (states[THREAD_KERNELS] > 0)
        snprintf(report_add(report, process, TO_KNOW, "threads of the kernel")->found, REPORT_TEXT,
                 "%lu, of vhost: they make no system calls", states[THREAD_KERNELS]);
}

void verify_field(struct report *report, const struct process *process, const char *key,
                  const char *expected)
{
    char found[REPORT_TEXT] = "";
    if (!process_field(process->pid, "status", key, found, sizeof(found)))
        snprintf(found, sizeof(found), "not shown by this kernel");
    report_equal(report, process, key, expected, found);
}

void verify_filters(struct report *report, const struct verified *verified,
                    const struct filters *keeper_filters)
{
    if (verified->policy)
        verify_own_filter(report, verified);
    else if (verified->process->role != PROCESS_OTHER)
        snprintf(report_add(report, verified->process, NOT_AS_EXPECTED, "filter")->found,
                 REPORT_TEXT, "this build has no policy for a device of this name");
    verify_inherited(report, verified, keeper_filters);
    verify_threads(report, verified);
    verify_field(report, verified->process, "Seccomp", "2");
    verify_field(report, verified->process, "NoNewPrivs", "1");
}
