/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the running processes are what was audited. The processes of every device model on this
 * machine, or one of them, are compared with this build's policies and with what its sources
 * promise.
 */
#include "policy/audit/verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/audit/baseline.h"

/* A process that was just started soon locks itself up. It is given this much time. */
#define SETTLE_MS 10000
#define SETTLE_PAUSE_US 50000

/* The processes that run here, in the order in which they were found. */
struct machine {
    size_t count;
    struct process processes[PROCESSES_MAX];
    const struct told *told;
};

static const struct process *find(const struct machine *machine, pid_t pid)
{
    for (size_t i = 0; i < machine->count; i++) {
        if (machine->processes[i].pid == pid)
            return &machine->processes[i];
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
        report_equal(report, process, "parent", found, found)->passing = true;
        return;
    }
    struct report_row *row = report_add(report, process, NOT_AS_EXPECTED, "parent");
    snprintf(row->expected, sizeof(row->expected), "a keeper");
    snprintf(row->found, sizeof(row->found), "%s", found);
}

/* Whether the file still says what the keeper has read. Anybody may edit it for the next start. */
static void check_configuration(struct report *report, const struct process *process)
{
    struct origin origin;
    char file[SHA256_TEXT];
    evidence_of_process(process, process, &origin);
    evidence_of_configuration_file(process, file);
    bool same = file[0] != '\0' && strcmp(file, origin.configuration_hash) == 0;
    struct report_row *row =
        report_add(report, process, same ? AS_EXPECTED : TO_KNOW, "configuration");
    snprintf(row->expected, sizeof(row->expected), "the file is as it was read");
    snprintf(row->found, sizeof(row->found), "%s",
             same                                   ? row->expected
             : file[0] == '\0'                      ? "the file can't be read"
             : origin.configuration_hash[0] == '\0' ? "what was read is not known"
                                                    : "the file has changed since it was read");
}

/* A keeper has one broker, and workers. After an upgrade, processes run programs that no file name
 * leads to. */
static void check_program(struct report *report, const struct verified *verified)
{
    const struct process *process = verified->process;
    size_t brokers = 0;
    for (size_t i = 0; i < verified->count; i++)
        brokers +=
            verified->all[i].role == PROCESS_BROKER && verified->all[i].parent == process->pid;
    if (process->role == PROCESS_KEEPER)
        report_number(report, process, "brokers", 1, brokers);
    if (process->role == PROCESS_KEEPER)
        check_configuration(report, process);
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
    if (verified->process->role == PROCESS_OPENER) {
        /* It is as privileged as the keeper, has the keeper's filter, and holds no guest's data. */
        struct report_row *row = report_add(report, verified->process, TO_KNOW, "state");
        snprintf(row->found, sizeof(row->found),
                 "it opens a device's backend, and ends when that is open");
        row->passing = true;
        return;
    }
    verify_filters(report, verified, keeper_filters);
    if (verified->process->role == PROCESS_OTHER)
        return;
    verify_privileges(report, verified);
    verify_namespaces(report, verified);
    verify_memory(report, verified);
    verify_fds(report, verified);
    verify_told(report, verified);
}

/* Filters that can't be read count as missing; the row that compares them then reports that. */
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

/*
 * Its own filter is the last thing that a process gets: as long as it has only its keeper's
 * filters, it may still be starting. Before its exec it also has the keeper's name.
 */
static bool is_starting(const struct verified *verified, const struct filters *of_keeper)
{
    const struct process *process = verified->process;
    const struct filters *filters = &verified->filters;
    if (!verified->keeper || process_age_ms(process->pid) > SETTLE_MS)
        return false;
    return process->role == PROCESS_KEEPER ||
           (verified->policy && filters->count <= of_keeper->count &&
            !process_has_program(filters, filters->count - 1, verified->policy));
}

/* Looks at a process once. The caller has filled in `verified`, except what is read here. Returns
 * whether to look at the process again. */
static bool look_at(struct report *report, struct verified *verified)
{
    struct filters of_keeper = {0};
    read_filters(report, verified->process, &verified->filters);
    if (verified->keeper)
        read_filters(report, verified->keeper, &of_keeper);
    verified->policy = process_policy(verified->process, &verified->filters);
    verify_one(report, verified, &of_keeper);
    bool again = report->wrong > 0 && is_starting(verified, &of_keeper);
    filters_free(&verified->filters);
    filters_free(&of_keeper);
    return again;
}

/* A process may end while it is looked at. Then it is not reported as wrong: it has ended. */
static void verify_process(struct report *report, struct process *process,
                           const struct machine *machine)
{
    struct report own = {0};
    struct verified verified = {.process = process,
                                .all = machine->processes,
                                .count = machine->count,
                                .told = machine->told};
    const struct process *parent = find(machine, process->parent);
    if (parent && parent->role == PROCESS_KEEPER)
        verified.keeper = parent;
    struct origin origin = {0};
    int result = process_read(process->pid, process);
    while (result == 0) {
        const struct process before = *process;
        evidence_of_process(process, process->role == PROCESS_KEEPER ? process : verified.keeper,
                            &origin);
        bool again = look_at(&own, &verified);
        result = process_read(process->pid, process);
        /* The process may have taken its name during this, and the name decides about its
         * policy. */
        bool renamed = strcmp(before.name, process->name) != 0 || before.role != process->role;
        if (!again && !(own.wrong > 0 && renamed))
            break;
        usleep(SETTLE_PAUSE_US);
        report_clear(&own);
    }
    process->origin = origin;
    if (result < 0) {
        report_clear(&own);
        struct report_row *row = report_add(&own, process, TO_KNOW, "state");
        snprintf(row->found, sizeof(row->found), "it ended in the meantime");
        row->passing = true;
    }
    for (size_t i = 0; i < own.count; i++)
        *report_add(report, process, own.rows[i].verdict, "") = own.rows[i];
    report->out_of_memory |= own.out_of_memory;
    free(own.rows);
}

/* ---- Which processes ---- */

/* The processes of the device model whose broker was asked: its keeper, and all that the keeper has
 * started. */
static bool is_of_broker(const struct machine *machine, const struct process *process)
{
    const struct process *broker = find(machine, machine->told->broker);
    return broker && (process->pid == broker->parent || process->parent == broker->parent);
}

static bool is_asked_for(const struct machine *machine, const struct process *process, pid_t only)
{
    if (machine->told)
        return is_of_broker(machine, process);
    return only == 0 || process->pid == only;
}

/* Adds processes that have been started since; those that have ended stay in the list. Returns 0 or
 * -errno. */
static int find_more(struct machine *machine)
{
    static struct process found[PROCESSES_MAX];
    int count = processes_find(found);
    for (int i = 0; i < count; i++) {
        const struct process *known = find(machine, found[i].pid);
        if (known)
            continue;
        if (machine->count == PROCESSES_MAX)
            return -E2BIG;
        machine->processes[machine->count++] = found[i];
    }
    return count < 0 ? count : 0;
}

/* The process that was asked for, or all. Returns AUDIT_GOOD or AUDIT_TROUBLE. */
static int choose(const struct question *question, const struct machine *machine, pid_t *ret_only)
{
    *ret_only = 0;
    if (machine->count == 0) {
        fputs("bao-seccomp: no bao-virtio-dm is running here\n", stderr);
        return AUDIT_TROUBLE;
    }
    if (machine->told) {
        const struct process *broker = find(machine, machine->told->broker);
        if (broker && broker->role == PROCESS_BROKER)
            return AUDIT_GOOD;
        fprintf(stderr, "bao-seccomp: process %d, which answered, is no bao-virtio-broker here\n",
                (int)machine->told->broker);
        return AUDIT_TROUBLE;
    }
    if (question->argc == 0)
        return AUDIT_GOOD;
    *ret_only = (pid_t)strtol(question->argv[0], NULL, 10);
    if (find(machine, *ret_only))
        return AUDIT_GOOD;
    return audit_complain("verify", question->argv[0], "the pid of a process of a bao-virtio-dm");
}

/* Verifies each process once, including those that are started meanwhile. Returns how many, or
 * -errno. */
static int verify_all(struct report *report, struct machine *machine, pid_t only)
{
    int verified = 0;
    for (size_t i = 0; i < machine->count; i++) {
        if (is_asked_for(machine, &machine->processes[i], only)) {
            verify_process(report, &machine->processes[i], machine);
            verified++;
        }
        int error = only == 0 && i + 1 == machine->count ? find_more(machine) : 0;
        if (error < 0)
            return error;
    }
    return verified;
}

/* Asks about processes of others, once all of ours are known. */
static void look_for_others(struct report *report, const struct machine *machine)
{
    static struct process own[PROCESSES_MAX];
    struct others others = {
        .all = machine->processes, .all_count = machine->count, .own = own, .root = getpid()};
    for (size_t i = 0; i < machine->count; i++) {
        if (!is_asked_for(machine, &machine->processes[i], 0))
            continue;
        own[others.own_count++] = machine->processes[i];
        if (machine->processes[i].role == PROCESS_KEEPER)
            others.root = machine->processes[i].pid;
    }
    report->other_count = verify_others(report, &others);
}

static int hear(const struct question *question, struct machine *machine)
{
    static struct told told;
    if (!question->told)
        return AUDIT_GOOD;
    int error = told_read(question->told, &told);
    machine->told = &told;
    if (error == 0)
        return AUDIT_GOOD;
    fprintf(stderr, "bao-seccomp: %s: %s\n", question->told,
            error == -EINVAL ? "expected lines as bao-dmctl audit writes them" : strerror(-error));
    return AUDIT_TROUBLE;
}

static int print(const struct report *report, enum format format)
{
    report_print(report, format);
    bool changed = report->changes && report->changes->count > 0;
    return report->wrong > 0 || changed ? AUDIT_OBJECTS : AUDIT_GOOD;
}

/* Prints the report with what is different from an earlier one. Returns what a verb returns. */
static int print_changes(struct report *report, const struct question *question)
{
    struct baseline baseline = {0};
    struct entries now = {0};
    struct changes changes = {0};
    char error[BASELINE_ERROR];
    if (!baseline_read(question->against, &baseline, error)) {
        fprintf(stderr, "bao-seccomp: %s: %s\n", question->against, error);
        return AUDIT_TROUBLE;
    }
    report_entries(report, &now);
    int answer = now.out_of_memory ? -ENOMEM : changes_find(&baseline.entries, &now, &changes);
    if (answer == 0) {
        report->baseline = baseline.time;
        report->changes = &changes;
        answer = print(report, question->format);
        report->changes = NULL;
        report->baseline = NULL;
    }
    free(changes.items);
    entries_free(&now);
    entries_free(&baseline.entries);
    return answer;
}

int audit_verify(const struct question *question)
{
    static struct machine machine;
    struct report report = {0};
    pid_t only;
    if (geteuid() != 0) {
        fputs("bao-seccomp: verify needs root: the kernel hands out filters to nobody else\n",
              stderr);
        return AUDIT_TROUBLE;
    }
    if (question->argc > 1 || (question->argc == 1 && (question->all || question->told)))
        return audit_complain("verify with", question->argv[question->argc - 1],
                              "one PID, or --all");
    int answer = hear(question, &machine);
    if (answer == AUDIT_GOOD)
        answer = find_more(&machine);
    if (answer == AUDIT_GOOD)
        answer = choose(question, &machine, &only);
    if (answer != AUDIT_GOOD)
        return answer;
    evidence_of_machine(&report.evidence);
    int verified = verify_all(&report, &machine, only);
    report.process_count = verified < 0 ? 0 : (size_t)verified;
    if (verified >= 0 && only == 0)
        look_for_others(&report, &machine);
    answer = verified < 0           ? verified
             : report.out_of_memory ? -ENOMEM
             : question->against    ? print_changes(&report, question)
                                    : print(&report, question->format);
    free(report.rows);
    return answer;
}
