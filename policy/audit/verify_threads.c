/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads of a process. Each thread has its own seccomp filters and credentials, and the files
 * of /proc/PID show only those of the main thread.
 *
 * All threads are stopped before any is looked at. A thread can't lose a filter: a thread without a
 * filter was made by a thread without it. While all are stopped, no thread is made, so none can be
 * missed between two looks, however short its life is.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/audit/report.h"
#include "policy/audit/verify.h"

/* PF_USER_WORKER, a kernel thread of vhost, and since Linux 6.4 also of an io_uring; PF_IO_WORKER,
 * one of an io_uring. */
#define KERNEL_THREADS (0x4000u | 0x10u)
#define THREADS_MAX 256u /* a broker has one for each device, and its main thread */
#define TURNS_MAX 100u   /* a thread that is about to end can't be stopped, and soon ends */
#define TURN_PAUSE_US 1000u

enum { THREAD_STOPPED, THREAD_KERNELS, THREAD_WRONG, THREAD_GONE };

struct thread {
    pid_t id;
    int state;
    int signal; /* to be delivered when it goes on */
};

struct threads {
    size_t count;
    struct thread items[THREADS_MAX];
};

static struct report_row *wrong(struct report *report, const struct verified *verified,
                                struct thread *thread)
{
    char check[32];
    thread->state = THREAD_WRONG;
    snprintf(check, sizeof(check), "thread %d", (int)thread->id);
    struct report_row *row = report_add(report, verified->process, NOT_AS_EXPECTED, check);
    snprintf(row->expected, sizeof(row->expected), "the %zu filter%s of the main thread, in order",
             verified->filters.count, audit_plural(verified->filters.count));
    return row;
}

/* ---- Stopping them ---- */

static bool is_kernels(pid_t thread)
{
    char text[1024];
    unsigned long flags = 0;
    if (!process_file(thread, "stat", text, sizeof(text)))
        return false;
    const char *at = strrchr(text, ')'); /* after the name, which may hold any characters */
    return at && sscanf(at, ") %*c %*d %*d %*d %*d %*d %lu", &flags) == 1 &&
           (flags & KERNEL_THREADS) != 0;
}

static bool is_known(const struct threads *threads, pid_t id)
{
    for (size_t i = 0; i < threads->count; i++) {
        if (threads->items[i].id == id)
            return true;
    }
    return false;
}

/* Stops threads that are not stopped yet. Returns how many there were, and the last error of those
 * that could not be stopped. */
static size_t stop_new(struct report *report, const struct verified *verified,
                       struct threads *threads, int *ret_error)
{
    char path[64];
    size_t moving = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)verified->process->pid);
    DIR *tasks = opendir(path);
    const struct dirent *entry;
    while (tasks && (entry = readdir(tasks)) && threads->count < THREADS_MAX) {
        struct thread thread = {.id = (pid_t)strtol(entry->d_name, NULL, 10)};
        if (thread.id <= 0 || is_known(threads, thread.id))
            continue;
        moving++;
        int error = 0;
        if (is_kernels(thread.id))
            thread.state = THREAD_KERNELS;
        else
            error = filters_stop(thread.id, &thread.signal);
        if (error == -ETIMEDOUT) {
            snprintf(wrong(report, verified, &thread)->found, REPORT_TEXT,
                     "it did not stop to have its filters read");
        } else if (error < 0) {
            *ret_error = error;
            continue;
        }
        threads->items[threads->count++] = thread;
    }
    if (tasks)
        closedir(tasks);
    return moving;
}

static void stop_all(struct report *report, const struct verified *verified,
                     struct threads *threads)
{
    size_t moving = 1;
    int error = 0;
    for (unsigned int turn = 0; moving > 0 && turn < TURNS_MAX; turn++) {
        size_t before = threads->count;
        error = 0;
        moving = stop_new(report, verified, threads, &error);
        if (moving > 0 && threads->count == before)
            usleep(TURN_PAUSE_US);
    }
    if (threads->count == THREADS_MAX)
        snprintf(report_add(report, verified->process, NOT_AS_EXPECTED, "threads")->found,
                 REPORT_TEXT, "more than the %u that are looked at", THREADS_MAX);
    else if (moving > 0)
        snprintf(report_add(report, verified->process, NOT_AS_EXPECTED, "threads")->found,
                 REPORT_TEXT, "%zu that can't be stopped to have their filters read: %s", moving,
                 error < 0 ? strerror(-error) : "new ones all the time");
}

static void resume_all(struct threads *threads)
{
    for (size_t i = 0; i < threads->count; i++) {
        if (threads->items[i].state != THREAD_KERNELS)
            filters_resume(threads->items[i].id, threads->items[i].signal);
    }
}

/* ---- Looking at them ---- */

static void look_at_credentials(struct report *report, const struct verified *verified,
                                struct thread *thread)
{
    static const char *const keys[] = {"Uid",    "Gid",    "Groups", "CapInh",    "CapPrm",
                                       "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char own[REPORT_TEXT / 4] = "", of_main[REPORT_TEXT / 4] = "";
        bool shown =
            process_field(thread->id, "status", keys[i], own, sizeof(own)) &&
            process_field(verified->process->pid, "status", keys[i], of_main, sizeof(of_main));
        if (!shown || strcmp(own, of_main) == 0)
            continue;
        struct report_row *row = wrong(report, verified, thread);
        snprintf(row->expected, sizeof(row->expected), "%s %s, as of the main thread", keys[i],
                 of_main);
        snprintf(row->found, sizeof(row->found), "%s %s", keys[i], own);
        return;
    }
}

/* A kernel thread makes no system call and can't be stopped: only its filters are counted. */
static void look_at_kernels(struct report *report, const struct verified *verified,
                            struct thread *thread)
{
    char mode[16] = "", count[16] = "", expected[16];
    snprintf(expected, sizeof(expected), "%zu", verified->filters.count);
    if (!process_field(thread->id, "status", "Seccomp", mode, sizeof(mode))) {
        thread->state = THREAD_GONE;
        return;
    }
    bool counted =
        process_field(thread->id, "status", "Seccomp_filters", count, sizeof(count)); /* 5.9 */
    if (strcmp(mode, "2") != 0 || (counted && strcmp(count, expected) != 0))
        snprintf(wrong(report, verified, thread)->found, REPORT_TEXT,
                 "a thread of the kernel's in seccomp mode %s with %s filters", mode,
                 counted ? count : "unknown");
}

static void look_at_filters(struct report *report, const struct verified *verified,
                            struct thread *thread)
{
    struct filters filters;
    int error = filters_of_stopped(thread->id, &filters);
    if (error < 0) {
        snprintf(wrong(report, verified, thread)->found, REPORT_TEXT,
                 "its filters can't be read: %s", strerror(-error));
        return;
    }
    size_t same = filters_alike(&filters, &verified->filters);
    if (same != verified->filters.count || filters.count != verified->filters.count)
        snprintf(wrong(report, verified, thread)->found, REPORT_TEXT,
                 "%zu filter%s, of which the first %zu are the same", filters.count,
                 audit_plural(filters.count), same);
    filters_free(&filters);
}

static void look_at(struct report *report, const struct verified *verified, struct thread *thread)
{
    if (thread->state != THREAD_WRONG)
        look_at_credentials(report, verified, thread);
    if (thread->state == THREAD_KERNELS)
        look_at_kernels(report, verified, thread);
    else if (thread->state == THREAD_STOPPED)
        look_at_filters(report, verified, thread);
}

void verify_threads(struct report *report, const struct verified *verified)
{
    static struct threads threads;
    unsigned long states[THREAD_GONE + 1] = {0};
    const struct process *process = verified->process;
    threads.count = 0;
    stop_all(report, verified, &threads);
    for (size_t i = 0; i < threads.count; i++)
        look_at(report, verified, &threads.items[i]);
    resume_all(&threads);
    for (size_t i = 0; i < threads.count; i++)
        states[threads.items[i].state]++;
    unsigned long good = states[THREAD_STOPPED] + states[THREAD_KERNELS];
    report_number(report, process, "threads so confined", good + states[THREAD_WRONG], good);
    if (process->role == PROCESS_WORKER || process->role == PROCESS_KEEPER ||
        process->role == PROCESS_CONNECTOR)
        report_number(report, process, "threads of its own", 1,
                      states[THREAD_STOPPED] + states[THREAD_WRONG]);
    if (states[THREAD_KERNELS] > 0)
        snprintf(report_add(report, process, TO_KNOW, "threads of the kernel")->found, REPORT_TEXT,
                 "%lu, of vhost or of an io_uring: they make no system calls",
                 states[THREAD_KERNELS]);
}
