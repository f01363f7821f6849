/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any seccomp program is explained correctly. Each call takes the one way whose conditions it
 * meets, and ends as an interpreter says. The programs are made at random, by libseccomp, and by
 * hand.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf_some.h"
#include "confined_child.h"
#include "policy/audit/ways.h"
#include "tests/cunit_main.h"
#include "tool.h"

#define PROGRAMS 4000
#define CALLS 40

/* ---- A call and the ways ---- */

struct taken {
    const struct seccomp_data *call;
    unsigned int clear, unclear, agreeing;
    uint32_t result;
};

static bool look_at_leaf(void *context, const struct ways_leaf *leaf)
{
    struct taken *taken = context;
    for (size_t i = 0; i < leaf->count; i++) {
        if (!ways_test_holds(&leaf->tests[i], taken->call))
            return true;
    }
    if (leaf->unclear)
        taken->unclear++;
    else
        taken->clear++;
    taken->agreeing += leaf->is_computed || leaf->result == taken->result;
    return true;
}

/* Returns 1 if the explanation of the call's result did not contain "unclear". */
static unsigned int check_call(const struct sock_filter *program, const struct seccomp_data *call)
{
    struct taken taken = {.call = call, .result = bpf_interpreted(program, call)};
    int error = ways_of_call(program, call->arch, (uint32_t)call->nr, look_at_leaf, &taken);
    CU_ASSERT_EQUAL(error, 0);
    if (taken.unclear == 0)
        CU_ASSERT_EQUAL(taken.clear, 1);
    CU_ASSERT(taken.clear <= 1);
    CU_ASSERT(taken.agreeing > 0);
    return taken.unclear == 0;
}

/* ---- Programs at random ---- */

static void programs_at_random_are_explained_as_an_interpreter_runs_them(void)
{
    unsigned int clear = 0;
    for (unsigned int p = 0; p < PROGRAMS; p++) {
        struct sock_filter program[BPF_SOME_MAX];
        size_t index, length = bpf_some_program(program);
        CU_ASSERT_PTR_NULL_FATAL(ways_validate(program, length, &index));
        for (unsigned int c = 0; c < CALLS; c++) {
            struct seccomp_data call = bpf_some_call();
            clear += check_call(program, &call);
        }
    }
    CU_ASSERT(clear > PROGRAMS * CALLS / 4); /* so it was right without being vague */
}

static void what_the_kernel_refuses_is_refused(void)
{
    static const struct sock_filter wrong[] = {
        {BPF_LD | BPF_W | BPF_ABS, 0, 0, 2}, {BPF_LD | BPF_W | BPF_ABS, 0, 0, 64},
        {BPF_LD | BPF_B | BPF_ABS, 0, 0, 0}, {BPF_LD | BPF_W | BPF_IND, 0, 0, 0},
        {BPF_JMP | BPF_JEQ, 1, 0, 0},        {BPF_JMP | BPF_JEQ, 0, 1, 0},
        {BPF_JMP | BPF_JA, 0, 0, 1},         {BPF_ALU | BPF_DIV, 0, 0, 0},
        {BPF_ALU | BPF_LSH, 0, 0, 32},       {BPF_ALU | BPF_MOD, 0, 0, 3},
        {BPF_ST, 0, 0, BPF_MEMWORDS},        {BPF_RET | BPF_X, 0, 0, 0},
        {0x100 | BPF_RET, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const struct sock_filter program[] = {wrong[i], {BPF_RET, 0, 0, 0}};
        size_t index = 9;
        CU_ASSERT_PTR_NOT_NULL(ways_validate(program, 2, &index));
        CU_ASSERT_EQUAL(index, 0);
        /* The kernel confirms it. */
        pid_t child = fork();
        if (child == 0) {
            const struct sock_fprog loaded = {2, (struct sock_filter *)program};
            _exit(syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &loaded) < 0 ? errno : 0);
        }
        int status = 0;
        CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
        CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == EINVAL);
    }
    const struct sock_filter load = {BPF_LD | BPF_W | BPF_ABS, 0, 0, 0};
    size_t index;
    CU_ASSERT_PTR_NOT_NULL(ways_validate(&load, 1, &index)); /* runs beyond its end */
    CU_ASSERT_PTR_NOT_NULL(ways_validate(&load, 0, &index));
}

/* ---- Programs of libseccomp, as container runtimes and daemons make them ---- */

/* Some calls are forbidden, one of them depending on its flags, and one by a comparison. All others
 * are allowed. */
static scmp_filter_ctx list_of_forbidden(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ptrace), 0);
    seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(bpf), 0);
    seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                     SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));
    seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(socket), 1,
                     SCMP_A0(SCMP_CMP_GT, AF_NETLINK));
    return filter;
}

static char *written(scmp_filter_ctx filter)
{
    static char path[] = "/tmp/test_policy_explain.XXXXXX";
    memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
    int file = mkstemp(path);
    CU_ASSERT_FATAL(file >= 0);
    CU_ASSERT_EQUAL(seccomp_export_bpf(filter, file), 0);
    close(file);
    return path;
}

static void explain(const char *subject, const char *options)
{
    char arguments[4096];
    snprintf(arguments, sizeof(arguments), "explain %s %s", subject, options);
    CU_ASSERT_EQUAL(tool_run(arguments), 0);
}

static void a_list_of_what_is_forbidden_is_told(void)
{
    scmp_filter_ctx filter = list_of_forbidden();
    const char *path = written(filter);
    explain(path, "");
    CU_ASSERT(tool_says("  ptrace, bpf:\n    error 1 (Operation not permitted)\n"));
    CU_ASSERT(tool_says("  clone:\n    error 1 (Operation not permitted) if flags & 0x10000000 == "
                        "0x10000000\n"));
    CU_ASSERT(tool_says("  socket:\n    kill the process if "));
    CU_ASSERT(tool_says("  otherwise: allow\n"));
    CU_ASSERT(tool_says("by the entry of any other:\n  otherwise: kill the thread\n"));
    explain(path, "--json");
    CU_ASSERT(tool_says("\"call\": \"ptrace\", \"ways\": [\n"
                        "              {\"action\": \"error 1 (Operation not permitted)\", "
                        "\"if\": null}]"));
    CU_ASSERT(tool_says("\"otherwise\": \"allow\""));
    unlink(path);
    seccomp_release(filter);
}

static bool load_two(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    seccomp_rule_add(filter, SCMP_ACT_TRAP, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, TIOCSTI));
    return seccomp_load(list_of_forbidden()) == 0 && seccomp_load(filter) == 0;
}

static void the_programs_of_a_process_are_told(void)
{
    char pid[16];
    struct confined_child child = confined_child_start(load_two);
    snprintf(pid, sizeof(pid), "%d", (int)child.pid);
    explain(pid, "");
    CU_ASSERT(tool_says(": 2 programs, of which the kernel takes the strictest answer\n"));
    CU_ASSERT(tool_says("  ptrace, bpf:\n"));
    CU_ASSERT(tool_says("  ioctl:\n    signal SIGSYS if request == 0x5412\n"));
    CU_ASSERT(tool_says("\n1 program of "));
    explain(pid, "--effective");
    CU_ASSERT(tool_says("\n2 programs of "));
    CU_ASSERT(tool_says("  ptrace, bpf:\n"));
    CU_ASSERT(tool_says("  ioctl:\n    signal SIGSYS if request == 0x5412\n"));
    confined_child_end(&child);
}

static void a_process_without_programs_is_told(void)
{
    char pid[16];
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    snprintf(pid, sizeof(pid), "%d", (int)child);
    explain(pid, "");
    CU_ASSERT(tool_says(": 0 programs, of which the kernel takes the strictest answer\n"));
    explain(pid, "--effective --json");
    CU_ASSERT_STRING_EQUAL(tool_answer, "[]\n");
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void what_is_no_program_is_named(void)
{
    CU_ASSERT_EQUAL(tool_run("explain"), 2);
    CU_ASSERT(tool_says("expected one policy, the pid of a process, or a file of instructions"));
    CU_ASSERT_EQUAL(tool_run("explain /no/such/file"), 2);
    CU_ASSERT(tool_says("can't read the program of '/no/such/file': No such file"));
    CU_ASSERT_EQUAL(tool_run("explain /etc/passwd"), 2);
    CU_ASSERT_EQUAL(tool_run("explain /dev/null"), 2);
    CU_ASSERT(tool_says("no program in '/dev/null': expected 1 to 4096 instructions"));
}

/* The explanation of a policy's program says what the policy's text says. */
static void our_own_programs_are_told_as_their_policies_say(void)
{
    explain(PROGRAMS_DIR "/x86_64/block/virtio.bpf", "");
    CU_ASSERT(tool_says("  preadv2:\n    allow if fd == 0x8 and flags == 0x8\n"));
    CU_ASSERT(tool_says("  lseek:\n    allow if fd == 0x8 and offset == 0x0 and whence == 0x2\n"));
    CU_ASSERT(tool_says("  otherwise: kill the process\n"));
}

/* The keeper's program is inherited. It forbids nothing that a policy allows. */
static void all_programs_together_allow_what_the_own_one_says(void)
{
    static const char *const policies[] = {"block/virtio", "vsock/vhost", "net/virtio", "broker"};
    static char own[sizeof(tool_answer)];
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        explain(policies[i], "");
        CU_ASSERT(tool_says("1 program of "));
        snprintf(own, sizeof(own), "%s", strchr(tool_answer, '\n'));
        explain(policies[i], "--effective");
        CU_ASSERT(tool_says("2 programs of "));
        CU_ASSERT_STRING_EQUAL(strchr(tool_answer, '\n'), own);
    }
}

static bool load_two_about_one_argument(void)
{
    scmp_filter_ctx one = seccomp_init(SCMP_ACT_ALLOW), two = seccomp_init(SCMP_ACT_ALLOW);
    seccomp_rule_add(one, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(kill), 1, SCMP_A1(SCMP_CMP_EQ, SIGSTOP));
    seccomp_rule_add(one, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(kill), 1, SCMP_A1(SCMP_CMP_EQ, SIGCONT));
    seccomp_rule_add(two, SCMP_ACT_TRAP, SCMP_SYS(kill), 1, SCMP_A1(SCMP_CMP_EQ, SIGSTOP));
    return seccomp_load(one) == 0 && seccomp_load(two) == 0;
}

/* The stricter of two answers counts, even if both depend on the same argument. */
static void the_strictest_answer_of_two_programs_is_told(void)
{
    char pid[16];
    struct confined_child child = confined_child_start(load_two_about_one_argument);
    snprintf(pid, sizeof(pid), "%d", (int)child.pid);
    explain(pid, "--effective");
    CU_ASSERT(tool_says("    signal SIGSYS if sig == 0x13\n"));
    CU_ASSERT(tool_says("    error 13 (Permission denied) if sig == 0x12\n"));
    CU_ASSERT_FALSE(tool_says("if sig == 0x13 and sig"));
    CU_ASSERT_FALSE(tool_says("error 13 (Permission denied) if sig == 0x13"));
    confined_child_end(&child);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"programs at random are explained as an interpreter runs them",
         programs_at_random_are_explained_as_an_interpreter_runs_them},
        {"what the kernel refuses is refused", what_the_kernel_refuses_is_refused},
        {"a list of what is forbidden is told", a_list_of_what_is_forbidden_is_told},
        {"the programs of a process are told", the_programs_of_a_process_are_told},
        {"a process without programs is told", a_process_without_programs_is_told},
        {"what is no program is named", what_is_no_program_is_named},
        {"our own programs are told as their policies say",
         our_own_programs_are_told_as_their_policies_say},
        {"all programs together allow what the own one says",
         all_programs_together_allow_what_the_own_one_says},
        {"the strictest answer of two programs is told",
         the_strictest_answer_of_two_programs_is_told},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "explain", tests);
}
