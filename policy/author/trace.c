/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log-only mode, without a switch in the programs. A command, and all that it starts, runs as this
 * program's tracee. If a process loads a program of ours, it gets another one instead, which allows
 * everything. From then on its calls are compared with the policy here.
 *
 * The program itself, byte for byte, says which policy a process loads. Filters of others are not
 * changed. The calls are also compared with the policies that a process inherits.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "policy/audit/json.h"
#include "policy/audit/process.h"
#include "policy/author/usage.h"
#include "policy/catalog.h"

#define TASKS_MAX 4096
#define POLICIES_MAX 64 /* bits of a mask */

#define OPTIONS                                                                                    \
    (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |      \
     PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL)

struct task {
    pid_t id;          /* 0: a free place */
    pid_t process;     /* its thread group */
    uint64_t policies; /* bit n: trace.policies[n] would be in force */
    bool known;        /* its parent's stop has reported it */
    bool waits;        /* it stopped before it was reported, and waits */
};

struct trace {
    const struct question *question;
    const struct policy_listing *policies[POLICIES_MAX];
    size_t policy_count;
    struct usage usages[POLICIES_MAX];
    struct task tasks[TASKS_MAX];
    size_t task_count, task_end; /* places from task_end on are free */
    pid_t command;
    int command_status;
    int error;
};

/* ---- Tasks ---- */

static struct task *find_task(struct trace *trace, pid_t id)
{
    for (size_t i = 0; i < trace->task_end; i++) {
        if (trace->tasks[i].id == id)
            return &trace->tasks[i];
    }
    return NULL;
}

static struct task *add_task(struct trace *trace, pid_t id)
{
    char group[16] = "";
    struct task *task = find_task(trace, 0);
    if (!task && trace->task_end < TASKS_MAX)
        task = &trace->tasks[trace->task_end++];
    if (!task) {
        trace->error = -E2BIG;
        return NULL;
    }
    *task = (struct task){.id = id, .process = id};
    if (process_field(id, "status", "Tgid", group, sizeof(group)))
        task->process = (pid_t)strtol(group, NULL, 10);
    trace->task_count++;
    return task;
}

static void remove_task(struct trace *trace, struct task *task)
{
    *task = (struct task){0};
    trace->task_count--;
}

/* A task that has loaded no policy yet stops only when it loads one (run_command). The task may
 * have ended: then waitpid reports that next. */
static void go_on(const struct task *task, int signal)
{
    ptrace(task->policies != 0 ? PTRACE_SYSCALL : PTRACE_CONT, task->id, 0, (long)signal);
}

/* ---- A filter is being loaded ---- */

/* Finds the policy whose program this is. If several policies have the same program, the loader's
 * name decides. */
static bool find_policy(const struct trace *trace, pid_t loader, const struct sock_filter *filter,
                        size_t length, size_t *ret_index)
{
    char name[PROCESS_TEXT] = "";
    int best = -1;
    process_field(loader, "status", "Name", name, sizeof(name));
    for (size_t i = 0; i < trace->policy_count; i++) {
        const struct policy_program *program = &trace->policies[i]->program;
        if (program->length != length ||
            memcmp(program->filter, filter, length * sizeof(*filter)) != 0)
            continue;
        int fit = process_name_fits(program->name, name);
        if (fit > best)
            *ret_index = i;
        best = fit > best ? fit : best;
    }
    return best >= 0;
}

static bool read_memory(pid_t id, uintptr_t from, void *to, size_t size)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/%d/mem", (int)id);
    int memory = open(path, O_RDONLY | O_CLOEXEC);
    if (memory < 0)
        return false;
    bool whole = pread(memory, to, size, (off_t)from) == (ssize_t)size;
    close(memory);
    return whole;
}

/* Writes eight bytes, even to memory that the process itself could not write. */
static bool write_memory(pid_t id, uintptr_t to, uint64_t value)
{
    _Static_assert(sizeof(long) == sizeof(value), "a word is eight bytes");
    return ptrace(PTRACE_POKEDATA, id, to, (long)value) == 0;
}

/* Turns the program that is about to be loaded into one that allows everything. */
static bool disarm(pid_t id, uintptr_t fprog, uintptr_t filter)
{
    const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog shorter = {0};
    uint64_t instruction, length;
    shorter.len = 1;
    memcpy(&instruction, &allow, sizeof(instruction));
    memcpy(&length, &shorter, sizeof(length)); /* the pointer after it stays */
    return write_memory(id, filter, instruction) && write_memory(id, fprog, length);
}

static void begin_policy(struct trace *trace, const struct task *loader, bool all_threads,
                         size_t index)
{
    trace->usages[index].processes++;
    for (size_t i = 0; i < trace->task_end; i++) {
        struct task *task = &trace->tasks[i];
        if (task->id == 0 || task->process != loader->process ||
            (!all_threads && task->id != loader->id))
            continue;
        if (task->policies == 0 && task->id != loader->id)
            ptrace(PTRACE_INTERRUPT, task->id, 0, 0); /* so that its calls stop it from now on */
        task->policies |= 1ull << index;
    }
}

static void see_filter(struct trace *trace, const struct task *task, const uint64_t *arguments)
{
    struct sock_fprog fprog;
    struct sock_filter filter[BPF_MAXINSNS];
    uintptr_t address = (uintptr_t)arguments[2];
    size_t index = 0; /* GCC 14 does not see that find_policy() has set it */
    if (arguments[0] != SECCOMP_SET_MODE_FILTER ||
        !read_memory(task->id, address, &fprog, sizeof(fprog)) || fprog.len > BPF_MAXINSNS ||
        !read_memory(task->id, (uintptr_t)fprog.filter, filter, fprog.len * sizeof(filter[0])) ||
        !find_policy(trace, task->id, filter, fprog.len, &index))
        return;
    if (!disarm(task->id, address, (uintptr_t)fprog.filter)) {
        trace->error = -errno;
        return;
    }
    begin_policy(trace, task, (arguments[1] & SECCOMP_FILTER_FLAG_TSYNC) != 0, index);
}

/* ---- Stops ---- */

static void see_call(struct trace *trace, const struct task *task)
{
    struct __ptrace_syscall_info info = {0};
    long size = ptrace(PTRACE_GET_SYSCALL_INFO, task->id, sizeof(info), &info);
    if (size <= 0 || info.op != PTRACE_SYSCALL_INFO_ENTRY)
        return;
    struct seccomp_data data = {.nr = (int)info.entry.nr, .arch = info.arch};
    memcpy(data.args, info.entry.args, sizeof(data.args));
    for (size_t i = 0; i < trace->policy_count; i++) {
        if ((task->policies & 1ull << i) != 0 && usage_note(&trace->usages[i], &data) < 0)
            trace->error = -ENOMEM;
    }
}

/* Handles a stop at seccomp(), which the filter of run_command causes. */
static void see_seccomp(struct trace *trace, const struct task *task)
{
    struct __ptrace_syscall_info info = {0};
    uint64_t arguments[POLICY_ARGUMENTS];
    long size = ptrace(PTRACE_GET_SYSCALL_INFO, task->id, sizeof(info), &info);
    if (size <= 0 || info.op != PTRACE_SYSCALL_INFO_SECCOMP)
        return;
    memcpy(arguments, info.seccomp.args, sizeof(arguments));
    see_filter(trace, task, arguments);
}

/* A new thread or process has the filters of its parent. */
static void see_birth(struct trace *trace, const struct task *parent)
{
    unsigned long id = 0;
    if (ptrace(PTRACE_GETEVENTMSG, parent->id, 0, &id) < 0)
        return;
    struct task *task = find_task(trace, (pid_t)id);
    if (!task)
        task = add_task(trace, (pid_t)id);
    if (!task)
        return;
    task->policies = parent->policies;
    task->known = true;
    if (task->waits)
        go_on(task, 0);
    task->waits = false;
}

static void see_stop(struct trace *trace, pid_t id, int status)
{
    int signal = WSTOPSIG(status), event = status >> 16;
    struct task *task = find_task(trace, id);
    if (!task)
        task = add_task(trace, id);
    if (!task)
        return;
    if (!task->known) {
        task->waits = true;
        return;
    }
    if (signal == (SIGTRAP | 0x80)) {
        see_call(trace, task);
        go_on(task, 0);
    } else if (event == PTRACE_EVENT_STOP) {
        bool stopped =
            signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
        if (!stopped || ptrace(PTRACE_LISTEN, id, 0, 0) < 0)
            go_on(task, 0);
    } else if (event == PTRACE_EVENT_SECCOMP) {
        see_seccomp(trace, task);
        go_on(task, 0);
    } else if (event != 0) {
        see_birth(trace, task);
        go_on(task, 0);
    } else {
        go_on(task, signal);
    }
}

static void run(struct trace *trace)
{
    while (trace->task_count > 0 && trace->error == 0) {
        int status;
        pid_t id = waitpid(-1, &status, __WALL);
        if (id < 0) {
            if (errno != EINTR)
                return;
        } else if (WIFSTOPPED(status)) {
            see_stop(trace, id, status);
        } else {
            struct task *task = find_task(trace, id);
            if (id == trace->command)
                trace->command_status = status;
            if (task)
                remove_task(trace, task);
        }
    }
}

/* ---- The command ---- */

/* Stops the command, and everything that it starts, when it loads a filter; otherwise it runs
 * freely. */
static bool stop_at_filters(void)
{
    static struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_seccomp, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

static _Noreturn void run_command(const struct question *question, int gate)
{
    char byte;
    if (read(gate, &byte, 1) != 1) /* wait until it is traced */
        _exit(127);
    close(gate);
    if (!stop_at_filters()) {
        fputs("bao-policy: trace needs root\n", stderr);
        _exit(127);
    }
    if (question->format == FORMAT_JSON)
        dup2(STDERR_FILENO, STDOUT_FILENO); /* stdout is for the answer only */
    execvp(question->argv[0], question->argv);
    fprintf(stderr, "bao-policy: %s can't be run: %s\n", question->argv[0], strerror(errno));
    _exit(127);
}

static int start(struct trace *trace)
{
    int gate[2];
    if (pipe(gate) < 0)
        return -errno;
    pid_t child = fork();
    if (child == 0) {
        close(gate[1]);
        run_command(trace->question, gate[0]);
    }
    close(gate[0]);
    int error = child < 0 ? -errno : 0;
    if (error == 0 && ptrace(PTRACE_SEIZE, child, 0, OPTIONS) < 0)
        error = -errno;
    struct task *task = error == 0 ? add_task(trace, child) : NULL;
    if (task) {
        task->known = true;
        trace->command = child;
        if (ptrace(PTRACE_INTERRUPT, child, 0, 0) < 0 || write(gate[1], "", 1) != 1)
            error = -errno;
    }
    close(gate[1]);
    return error;
}

static int report(const struct trace *trace)
{
    bool json = trace->question->format == FORMAT_JSON, denied = false, loaded = false;
    const char *policy = trace->question->selection.policy;
    if (json)
        json_open('[');
    for (size_t i = 0; i < trace->policy_count; i++) {
        const struct usage *usage = &trace->usages[i];
        if (policy && strcmp(policy, usage->listing->program.name) != 0)
            continue;
        denied |= usage->denied_count > 0;
        loaded |= usage->processes > 0;
        if (json)
            usage_json(usage);
        else if (usage->processes > 0)
            usage_print(usage);
    }
    if (json)
        json_close();
    if (!loaded)
        fprintf(stderr, "bao-policy: nothing that %s started loaded %s of this build\n",
                trace->question->argv[0], policy ? policy : "a policy");
    if (trace->command_status != 0)
        fprintf(stderr, "bao-policy: %s failed\n", trace->question->argv[0]);
    if (!loaded || trace->command_status != 0)
        return AUDIT_TROUBLE;
    return denied ? AUDIT_OBJECTS : AUDIT_GOOD;
}

static int prepare(struct trace *trace)
{
    const struct selection all = {NULL, POLICY_ARCH_NATIVE};
    for (const struct policy_listing *at = selection_next(&all, NULL); at;
         at = selection_next(&all, at)) {
        if (trace->policy_count == POLICIES_MAX)
            return -E2BIG;
        trace->policies[trace->policy_count] = at;
        int error = usage_init(&trace->usages[trace->policy_count++], at);
        if (error < 0)
            return error;
    }
    return 0;
}

int audit_trace(const struct question *question)
{
    if (question->argc == 0)
        return audit_complain("trace with", "nothing", "POLICY -- COMMAND");
    struct trace *trace = calloc(1, sizeof(*trace));
    if (!trace)
        return -ENOMEM;
    trace->question = question;
    int answer = prepare(trace);
    if (answer == 0)
        answer = start(trace);
    if (answer == 0)
        run(trace);
    if (answer == 0)
        answer = trace->error;
    if (answer == 0)
        answer = report(trace);
    else
        fprintf(stderr, "bao-policy: %s can't be traced: %s\n", question->argv[0],
                strerror(-answer));
    for (size_t i = 0; i < trace->policy_count; i++)
        usage_free(&trace->usages[i]);
    free(trace);
    return answer < 0 ? AUDIT_TROUBLE : answer;
}
