/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one program allows and another does not is found, all of it and nothing else: by an
 * interpreter, on programs at random; and as diff tells it, on programs of libseccomp's, of
 * processes, and by hand.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf_some.h"
#include "common/device_kind.h"
#include "confined_child.h"
#include "policy/audit/example.h"
#include "policy/audit/gap.h"
#include "policy/catalog.h"
#include "tests/cunit_main.h"
#include "tool.h"

#define PAIRS 3000
#define CALLS 30

/* ---- By an interpreter ---- */

static bool holds(const struct ways_test *tests, size_t count, const struct seccomp_data *call)
{
    for (size_t i = 0; i < count; i++) {
        if (!ways_test_holds(&tests[i], call))
            return false;
    }
    return true;
}

static bool allows(const struct sock_filter *program, const struct seccomp_data *call)
{
    const struct ways_leaf leaf = {.result = bpf_interpreted(program, call)};
    return stack_allows(&leaf);
}

/* The tests of a way are met by the example that is found; if none is, then no call meets them. */
static void an_example_meets_the_tests(void)
{
    unsigned int found = 0, none = 0;
    for (unsigned int round = 0; round < 20000; round++) {
        struct ways_test tests[6];
        size_t count = 1 + bpf_pick(6);
        for (size_t i = 0; i < count; i++)
            tests[i] = (struct ways_test){4 + bpf_pick(2), (enum ways_relation)bpf_pick(4),
                                          bpf_pick(8), bpf_pick(8)};
        struct seccomp_data example, call = {0};
        enum example answer = example_find(tests, count, &example);
        bool some = false;
        for (uint64_t value = 0; value < 64 && !some; value++) {
            call.args[0] = (value & 7) | (value >> 3) << 32;
            some = holds(tests, count, &call);
        }
        CU_ASSERT_EQUAL(answer, some ? EXAMPLE_FOUND : EXAMPLE_NONE);
        CU_ASSERT(answer != EXAMPLE_FOUND || holds(tests, count, &example));
        found += some;
        none += !some;
    }
    CU_ASSERT(found > 3000 && none > 3000);
}

struct seen {
    const struct sock_filter *more, *less;
    const struct seccomp_data *call; /* that one allows and the other does not, or NULL */
    size_t certain, wrong;
    bool has_call;
};

static bool look_at_gap(void *context, const struct gap *gap)
{
    struct seen *seen = context;
    if (gap->certain) {
        seen->certain++;
        seen->wrong += !allows(seen->more, &gap->example) || allows(seen->less, &gap->example);
    }
    seen->has_call |= seen->call && holds(gap->both->tests, gap->both->count, seen->call);
    return true;
}

static void gaps_of_programs_at_random_are_all_found(void)
{
    size_t certain = 0, beside = 0;
    for (unsigned int p = 0; p < PAIRS; p++) {
        struct sock_filter more[BPF_SOME_MAX], less[BPF_SOME_MAX];
        struct stack stacks[2] = {0};
        /* Results at random are rarely those of the kernel: half are made ALLOW, half KILL. */
        struct sock_filter *programs[] = {more, less};
        for (size_t i = 0; i < 2; i++) {
            size_t length = bpf_some_program(programs[i]);
            for (size_t at = 0; at < length; at++) {
                if (programs[i][at].code == (BPF_RET | BPF_K))
                    programs[i][at].k = bpf_pick(2) ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL_PROCESS;
                else if (bpf_pick(8) == 0)
                    programs[i][at] = (struct sock_filter){
                        .code = BPF_RET | BPF_K, .k = bpf_pick(2) ? SECCOMP_RET_ALLOW : 0};
            }
            CU_ASSERT_FATAL(stack_add(&stacks[i], programs[i], length));
        }
        struct seen seen = {.more = more, .less = less};
        CU_ASSERT_EQUAL(gaps_find(&stacks[0], &stacks[1], NULL, 0, look_at_gap, &seen), 0);
        CU_ASSERT_EQUAL(seen.wrong, 0);
        certain += seen.certain;
        for (unsigned int c = 0; c < CALLS; c++) {
            struct seccomp_data call = bpf_some_call();
            if (!allows(more, &call) || allows(less, &call))
                continue;
            struct seen of_call = {.more = more, .less = less, .call = &call};
            gaps_find(&stacks[0], &stacks[1], NULL, 0, look_at_gap, &of_call);
            CU_ASSERT(of_call.has_call);
            beside++;
        }
    }
    CU_ASSERT(certain > PAIRS / 4);
    CU_ASSERT(beside > PAIRS / 4);
}

/* Two programs one after the other do what the stricter of the two does. */
static bool look_at_strictest(void *context, const struct ways_leaf *leaf)
{
    struct seen *seen = context;
    if (!leaf->unclear && !leaf->is_computed && holds(leaf->tests, leaf->count, seen->call)) {
        seen->certain++;
        seen->wrong += stack_allows(leaf) !=
                       (allows(seen->more, seen->call) && allows(seen->less, seen->call));
    }
    return true;
}

static void programs_at_random_together_do_the_strictest(void)
{
    size_t certain = 0;
    for (unsigned int p = 0; p < PAIRS; p++) {
        struct sock_filter one[BPF_SOME_MAX], two[BPF_SOME_MAX];
        struct stack both = {0};
        CU_ASSERT(stack_add(&both, one, bpf_some_program(one)));
        CU_ASSERT(stack_add(&both, two, bpf_some_program(two)));
        for (unsigned int c = 0; c < CALLS; c++) {
            struct seccomp_data call = bpf_some_call();
            struct seen seen = {.more = one, .less = two, .call = &call};
            CU_ASSERT_EQUAL(stack_follow(&both, NULL, 0, look_at_strictest, &seen), 0);
            CU_ASSERT_EQUAL(seen.wrong, 0);
            CU_ASSERT(seen.certain <= 1);
            certain += seen.certain;
        }
    }
    CU_ASSERT(certain > PAIRS * CALLS / 8);
}

/* Rules as the most simple program allow what the compiled program allows, and no more. */
static void simple_programs_are_the_compiled_ones(void)
{
    for (const struct policy_listing *at = policy_catalog; at->program.name; at++) {
        struct sock_filter *program;
        size_t length;
        CU_ASSERT_EQUAL_FATAL(rules_program(at, at->rules, at->rule_count, &program, &length), 0);
        const struct stack simple = {1, {program}, {length}};
        struct stack compiled = {0}, none = {0};
        CU_ASSERT(stack_add(&compiled, at->program.filter, at->program.length));
        CU_ASSERT_EQUAL(gaps_count(&simple, &compiled), 0);
        CU_ASSERT_EQUAL(gaps_count(&compiled, &simple), 0);
        CU_ASSERT(gaps_count(&none, &simple) > 0); /* without programs, everything is allowed */
        free(program);
        CU_ASSERT_EQUAL_FATAL(rules_program(at, at->rules, at->rule_count - 1, &program, &length),
                              0);
        const struct stack shorter = {1, {program}, {length}};
        CU_ASSERT(gaps_count(&compiled, &shorter) > 0);
        CU_ASSERT_EQUAL(gaps_count(&shorter, &compiled), 0);
        free(program);
    }
}

/* ---- As diff tells it ---- */

static void write_filter(scmp_filter_ctx filter, char *path)
{
    int file = mkstemp(path);
    CU_ASSERT_FATAL(file >= 0);
    CU_ASSERT_EQUAL(seccomp_export_bpf(filter, file), 0);
    close(file);
    seccomp_release(filter);
    char with_suffix[64];
    snprintf(with_suffix, sizeof(with_suffix), "%s.bpf", path);
    CU_ASSERT_EQUAL(rename(path, with_suffix), 0);
}

/* What a container may do, by a list of what is forbidden. */
static scmp_filter_ctx container(bool with_more)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!with_more) {
        seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(bpf), 0);
        seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1,
                         SCMP_A0(SCMP_CMP_EQ, AF_ALG));
    }
    seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ptrace), 0);
    seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                     SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));
    return filter;
}

static int diff_of(scmp_filter_ctx old, scmp_filter_ctx new, const char *options)
{
    char paths[2][32] = {"/tmp/test_policy_gap.XXXXXX", "/tmp/test_policy_gap.XXXXXX"};
    char arguments[4096];
    write_filter(old, paths[0]);
    write_filter(new, paths[1]);
    snprintf(arguments, sizeof(arguments), "diff %s.bpf %s.bpf %s; s=$?; rm %s.bpf %s.bpf; exit $s",
             paths[0], paths[1], options, paths[0], paths[1]);
    return tool_run(arguments);
}

static void foreign_programs_are_compared_and_ranked(void)
{
    CU_ASSERT_EQUAL(diff_of(container(false), container(false), ""), 0);
    CU_ASSERT_STRING_EQUAL(tool_answer, "0 of 1 program differ\n");
    CU_ASSERT_EQUAL(diff_of(container(false), container(true), ""), 1);
    CU_ASSERT(
        tool_says("  + bpf (a call that was not allowed at all) [high: reaches a large part"));
    CU_ASSERT(tool_says("  + socket [high: reaches the kernel's cryptography"));
    CU_ASSERT(tool_says("  gained: 2 high\n1 of 1 program differ\n"));
    CU_ASSERT_FALSE(tool_says("ptrace"));
    CU_ASSERT_FALSE(tool_says("clone"));
    CU_ASSERT_EQUAL(diff_of(container(true), container(false), ""), 1);
    CU_ASSERT(tool_says("  - bpf (the call is no longer allowed at all)"));
    CU_ASSERT(tool_says("  lost: 2 high\n"));
    CU_ASSERT_EQUAL(
        diff_of(container(false), container(true), "--json | '" SHAPE "' '" DOCUMENT "' diff"), 0);
}

/* A call that is only allowed with more arguments has a power if one of those gives it. */
static void only_what_is_gained_is_ranked(void)
{
    scmp_filter_ctx old = seccomp_init(SCMP_ACT_KILL_PROCESS);
    scmp_filter_ctx new = seccomp_init(SCMP_ACT_KILL_PROCESS);
    seccomp_rule_add(old, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, TIOCGWINSZ));
    seccomp_rule_add(old, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                     SCMP_A2(SCMP_CMP_EQ, PROT_READ | PROT_EXEC));
    seccomp_rule_add(new, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, TIOCGWINSZ));
    seccomp_rule_add(new, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, TIOCSTI));
    seccomp_rule_add(new, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                     SCMP_A2(SCMP_CMP_EQ, PROT_READ | PROT_EXEC));
    seccomp_rule_add(new, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                     SCMP_A2(SCMP_CMP_EQ, PROT_READ | PROT_WRITE));
    CU_ASSERT_EQUAL(diff_of(old, new, ""), 1);
    CU_ASSERT(tool_says("  + ioctl with request is 0x5412\n"));
    CU_ASSERT(tool_says("  + mprotect with prot is "));
    CU_ASSERT_FALSE(tool_says("gained"));
}

static void put_program(const char *folder, const char *name, const void *program, size_t size)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fwrite(program, size, 1, file), 1);
    fclose(file);
}

/* By hand: a comparison of what is calculated is no proof, and is said to be none. */
static void what_can_not_be_followed_is_said(void)
{
    static const struct sock_filter by_sum[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 1),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 4, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    static const struct sock_filter deny[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)};
    char folder[] = "/tmp/test-policy-gap.XXXXXX", command[512];
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    put_program(folder, "sum.bpf", by_sum, sizeof(by_sum));
    put_program(folder, "deny.bpf", deny, sizeof(deny));
    snprintf(command, sizeof(command), "diff %s/deny.bpf %s/sum.bpf", folder, folder);
    CU_ASSERT_EQUAL(tool_run(command), 1);
    CU_ASSERT(tool_says("  + calls that have no name here with a comparison of what is calculated "
                        "from the call, perhaps: the program calculates it"));
    snprintf(command, sizeof(command),
             "diff %s/sum.bpf %s/deny.bpf --json | grep -c '\"certain\": true'", folder, folder);
    CU_ASSERT_EQUAL(tool_run(command), 1);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    CU_ASSERT_EQUAL(system(command), 0);
}

static bool load_foreign(void)
{
    return seccomp_load(container(false)) == 0;
}

/* A process of any program is compared with a policy; or, here, with one without a filter. */
static void a_foreign_process_is_compared(void)
{
    char arguments[64];
    struct confined_child child = confined_child_start(load_foreign);
    snprintf(arguments, sizeof(arguments), "diff %d block/virtio", (int)child.pid);
    CU_ASSERT_EQUAL(tool_run(arguments), 1);
    snprintf(arguments, sizeof(arguments), "process %d, compared with block/virtio on ",
             (int)child.pid);
    CU_ASSERT(tool_says(arguments));
    CU_ASSERT(tool_says("  - calls that have no name here (the call is no longer allowed at all)"));
    CU_ASSERT(tool_says("  - preadv2\n"));
    CU_ASSERT(tool_says("  - execve (the call is no longer allowed at all) [high: runs another"));
    CU_ASSERT_FALSE(tool_says("  + "));
    /* With that of the architecture that is asked for, which is this machine's if none is. */
    static const char *const arches[] = {"x86_64", "aarch64", "riscv64"};
    for (size_t i = 0; i < sizeof(arches) / sizeof(arches[0]); i++) {
        snprintf(arguments, sizeof(arguments), "diff --arch %s %d block/virtio", arches[i],
                 (int)child.pid);
        CU_ASSERT_EQUAL(tool_run(arguments), 1);
        snprintf(arguments, sizeof(arguments), "compared with block/virtio on %s\n", arches[i]);
        CU_ASSERT(tool_says(arguments));
    }
    snprintf(arguments, sizeof(arguments), "diff %d $$", (int)child.pid);
    CU_ASSERT_EQUAL(tool_run(arguments), 1);
    CU_ASSERT(tool_says("  + ptrace (a call that was not allowed at all) [high: "));
    CU_ASSERT(tool_says("  + clone [high: makes processes and namespaces"));
    confined_child_end(&child);
}

/* ---- --effective ---- */

/* What a policy says is in force: the keeper's program below it takes nothing away. */
static void each_policy_is_in_force_as_a_whole(void)
{
    for (const struct policy_listing *at = policy_catalog; at->program.name; at++) {
        char arguments[64], expected[160];
        if (at->arch != POLICY_ARCH_NATIVE)
            continue;
        snprintf(arguments, sizeof(arguments), "list --effective %s", at->program.name);
        CU_ASSERT_EQUAL(tool_run(arguments), 0);
        const char *above = device_kind_keeper(at->program.name);
        bool keeper = strcmp(at->program.name, above) == 0;
        snprintf(
            expected, sizeof(expected),
            "%s by the entry of %s: %s%s%s\nallowed together: %u system calls; everything else: "
            "kill the process\n",
            at->program.name, policy_arch_name(at->arch), keeper ? "" : above,
            keeper ? "" : " and ", at->program.name, at->program.calls);
        CU_ASSERT(tool_says(expected));
        for (unsigned int r = 0; r < at->rule_count; r++)
            CU_ASSERT(tool_says(at->rules[r].reason));
    }
    CU_ASSERT_EQUAL(tool_run("list --effective block/virtio --arch riscv64"), 0);
    CU_ASSERT(tool_says("  fdatasync        fd is the image (fd 8)\n"
                        "      block/virtio: serves VIRTIO_BLK_T_FLUSH\n"));
    CU_ASSERT(tool_says("      keeper: worker: block\n"));
    CU_ASSERT_EQUAL(tool_run("show --effective block/virtio"), 0);
    CU_ASSERT(
        tool_says("block/virtio: 2 programs, of which the kernel takes the strictest answer"));
    CU_ASSERT(strstr(tool_answer, "\nkeeper on ") < strstr(tool_answer, "\nblock/virtio on "));
    CU_ASSERT_EQUAL(tool_run("hash --effective"), 2);
    CU_ASSERT_EQUAL(tool_run("list --effective 999999999"), 2);
    CU_ASSERT(tool_says("can't read the programs of '999999999': "));
}

static bool load_foreign_and_keeper(void)
{
    const struct policy_listing *keeper = policy_catalog;
    while (strcmp(keeper->program.name, "keeper") != 0 || keeper->arch != POLICY_ARCH_NATIVE)
        keeper++;
    scmp_filter_ctx foreign = container(false);
    seccomp_rule_add(foreign, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(openat), 0);
    const struct sock_fprog loaded = {keeper->program.length,
                                      (struct sock_filter *)keeper->program.filter};
    return seccomp_load(foreign) == 0 &&
           syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &loaded) == 0;
}

/* Of a running process: what the kernel has, whoever made it, and the reasons of what is ours. */
static void a_process_is_told_with_the_reasons_that_are_known(void)
{
    char arguments[64];
    struct confined_child child = confined_child_start(load_foreign_and_keeper);
    snprintf(arguments, sizeof(arguments), "list --effective %d", (int)child.pid);
    CU_ASSERT_EQUAL(tool_run(arguments), 0);
    CU_ASSERT(tool_says("a program of "));
    CU_ASSERT(tool_says(" instructions that is none of this build's and keeper\n"));
    CU_ASSERT(tool_says("  fdatasync        with any arguments\n      keeper: worker: block\n"));
    CU_ASSERT_FALSE(tool_says("  openat "));
    CU_ASSERT_FALSE(tool_says("  ptrace "));
    snprintf(arguments, sizeof(arguments), "show --effective %d", (int)child.pid);
    CU_ASSERT_EQUAL(tool_run(arguments), 0);
    CU_ASSERT(tool_says(": 2 programs, of which the kernel takes the strictest answer\n"));
    CU_ASSERT(tool_says("  ret  ERRNO 1\n"));
    CU_ASSERT(tool_says("\nkeeper on "));
    confined_child_end(&child);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"an example meets the tests", an_example_meets_the_tests},
        {"gaps of programs at random are all found", gaps_of_programs_at_random_are_all_found},
        {"programs at random together do the strictest",
         programs_at_random_together_do_the_strictest},
        {"simple programs are the compiled ones", simple_programs_are_the_compiled_ones},
        {"foreign programs are compared and ranked", foreign_programs_are_compared_and_ranked},
        {"only what is gained is ranked", only_what_is_gained_is_ranked},
        {"what can not be followed is said", what_can_not_be_followed_is_said},
        {"a foreign process is compared", a_foreign_process_is_compared},
        {"each policy is in force as a whole", each_policy_is_in_force_as_a_whole},
        {"a process is told with the reasons that are known",
         a_process_is_told_with_the_reasons_that_are_known},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "what one allows and another does not", tests);
}
