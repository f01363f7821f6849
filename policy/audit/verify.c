/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether what runs is what was audited: the processes of every device model on this machine, or
 * one of them, compared with this build's policies and with what its sources promise.
 */
#include "policy/audit/verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct process *find(const struct process *all, size_t count, pid_t pid)
{
    for (size_t i = 0; i < count; i++) {
        if (all[i].pid == pid)
            return &all[i];
    }
    return NULL;
}

static void check_family(struct report *report, const struct verified *verified)
{
    const struct process *process = verified->process;
    char found[REPORT_TEXT];
    if (process->role == PROCESS_KEEPER)
        return;
    snprintf(found, sizeof(found), "%d", (int)process->parent);
    if (verified->keeper) {
        report_equal(report, process, "parent", found, found);
        return;
    }
    struct report_row *row = report_add(report, process, NOT_AS_EXPECTED, "parent");
    snprintf(row->expected, sizeof(row->expected), "a keeper");
    snprintf(row->found, sizeof(row->found), "%s", found);
}

/* A keeper has one broker, and workers; an upgrade leaves programs behind that no file names. */
static void check_program(struct report *report, const struct verified *verified)
{
    const struct process *process = verified->process;
    size_t brokers = 0;
    for (size_t i = 0; i < verified->count; i++)
        brokers +=
            verified->all[i].role == PROCESS_BROKER && verified->all[i].parent == process->pid;
    if (process->role == PROCESS_KEEPER)
        report_number(report, process, "brokers", 1, brokers);
    if (process->role == PROCESS_OTHER) {
        struct report_row *row = report_add(report, process, NOT_AS_EXPECTED, "program");
        snprintf(row->expected, sizeof(row->expected), "bao-virtio-broker or bao-virtio-worker");
        snprintf(row->found, sizeof(row->found), "%s", process->program);
    } else if (strstr(process->program, " (deleted)")) {
        struct report_row *row = report_add(report, process, TO_KNOW, "program");
        snprintf(row->found, sizeof(row->found),
                 "its file was replaced or removed since it was started");
    }
}

static void verify_one(struct report *report, struct verified *verified,
                       const struct filters *keeper_filters)
{
    check_family(report, verified);
    check_program(report, verified);
    verify_filters(report, verified, keeper_filters);
    if (verified->process->role == PROCESS_OTHER)
        return;
    verify_privileges(report, verified);
    verify_namespaces(report, verified);
    verify_memory(report, verified);
    verify_fds(report, verified);
}

/* Filters that can't be read count as none, and the row that compares them says so. */
static void read_filters(struct report *report, const struct process *process,
                         struct filters *filters)
{
    int error = filters_read(process->pid, filters);
    if (error == 0)
        return;
    struct report_row *row = report_add(report, process, NOT_AS_EXPECTED, "reading filters");
    snprintf(row->expected, sizeof(row->expected), "the kernel hands them out");
    snprintf(row->found, sizeof(row->found), "%s", strerror(-error));
}

/* A process may end while it is looked at: then it is not wrong, but gone. */
static void verify_process(struct report *report, const struct process *process,
                           const struct process *all, size_t count)
{
    struct report own = {0};
    struct filters of_keeper = {0};
    struct process again;
    struct verified verified = {.process = process, .all = all, .count = count};
    const struct process *parent = find(all, count, process->parent);
    if (parent && parent->role == PROCESS_KEEPER)
        verified.keeper = parent;
    read_filters(&own, process, &verified.filters);
    if (verified.keeper)
        read_filters(&own, verified.keeper, &of_keeper);
    verified.policy = process_policy(process, &verified.filters);
    verify_one(&own, &verified, &of_keeper);
    if (process_read(process->pid, &again) < 0) {
        own.count = own.wrong = 0;
        snprintf(report_add(&own, process, TO_KNOW, "state")->found, REPORT_TEXT,
                 "it ended in the meantime");
    }
    for (size_t i = 0; i < own.count; i++)
        *report_add(report, process, own.rows[i].verdict, "") = own.rows[i];
    free(own.rows);
    filters_free(&verified.filters);
    filters_free(&of_keeper);
}

/* Which processes: the one asked for, or all. Returns AUDIT_GOOD or AUDIT_TROUBLE. */
static int choose(const struct question *question, const struct process *all, size_t count,
                  pid_t *ret_only)
{
    *ret_only = 0;
    if (question->argc > 1 || (question->argc == 1 && question->all))
        return audit_complain("verify with", question->argv[question->argc - 1],
                              "one PID, or --all");
    if (count == 0) {
        fputs("bao-seccomp: no bao-virtio-dm is running here\n", stderr);
        return AUDIT_TROUBLE;
    }
    if (question->argc == 0)
        return AUDIT_GOOD;
    *ret_only = (pid_t)strtol(question->argv[0], NULL, 10);
    if (find(all, count, *ret_only))
        return AUDIT_GOOD;
    return audit_complain("verify", question->argv[0], "the pid of a process of a bao-virtio-dm");
}

int audit_verify(const struct question *question)
{
    static struct process all[PROCESSES_MAX];
    struct report report = {0};
    pid_t only;
    if (geteuid() != 0) {
        fputs("bao-seccomp: verify needs root: the kernel hands out filters to nobody else\n",
              stderr);
        return AUDIT_TROUBLE;
    }
    int count = processes_find(all);
    if (count < 0)
        return count;
    int answer = choose(question, all, (size_t)count, &only);
    if (answer != AUDIT_GOOD)
        return answer;
    size_t verified = 0;
    for (int i = 0; i < count; i++) {
        if (only != 0 && all[i].pid != only)
            continue;
        verify_process(&report, &all[i], all, (size_t)count);
        verified++;
    }
    report_print(&report, verified, question->format);
    answer = report.out_of_memory ? -ENOMEM : report.wrong == 0 ? AUDIT_GOOD : AUDIT_OBJECTS;
    free(report.rows);
    return answer;
}
