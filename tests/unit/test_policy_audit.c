/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that judge: check, lint, diff, export. The cases come from the policies themselves, or
 * from texts in this file whose errors are known. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/catalog.h"
#include "policy_folder.h"
#include "tests/cunit_main.h"
#include "tool.h"

#define SAMPLE 12 /* number of rules that the test asks about, of each policy and architecture */

static void question(const char *format, const struct policy_listing *listing,
                     const struct policy_rule *rule, const uint64_t *arguments, char *ret,
                     size_t size)
{
    int used = snprintf(ret, size, format, listing->program.name, policy_arch_name(listing->arch),
                        rule->call);
    for (unsigned int i = 0; i < POLICY_ARGUMENTS; i++)
        used += snprintf(ret + used, size - (size_t)used, " 0x%" PRIx64, arguments[i]);
}

/* ---- check ---- */

static void allowed_arguments(const struct policy_rule *rule, uint64_t *arguments)
{
    for (unsigned int i = 0; i < POLICY_ARGUMENTS; i++)
        arguments[i] = 0x123456789abcdefull;
    for (unsigned int c = 0; c < rule->condition_count; c++) {
        const struct policy_condition *condition = &rule->conditions[c];
        uint64_t *argument = &arguments[condition->index];
        *argument = (*argument & ~condition->mask) | condition->values[condition->value_count - 1];
    }
}

static void test_check_names_the_rule(void)
{
    char arguments_text[512], at[256];
    unsigned int tried = 0;
    for (const struct policy_listing *listing = policy_catalog; listing->program.name; listing++) {
        unsigned int step = listing->rule_count / SAMPLE + 1;
        for (unsigned int r = 0; r < listing->rule_count; r += step, tried++) {
            const struct policy_rule *rule = &listing->rules[r];
            uint64_t arguments[POLICY_ARGUMENTS];
            allowed_arguments(rule, arguments);
            question("check %s --arch %s %s", listing, rule, arguments, arguments_text,
                     sizeof(arguments_text));
            CU_ASSERT_EQUAL(tool_run(arguments_text), 0);
            snprintf(at, sizeof(at), ") is allowed\n  by the rule at %s: %s\n", rule->source,
                     rule->reason);
            CU_ASSERT(tool_says(at));
            if (rule->condition_count == 0)
                continue;
            arguments[rule->conditions[0].index] = 0x5eadbeef5eadbeefull;
            question("check %s --arch %s %s", listing, rule, arguments, arguments_text,
                     sizeof(arguments_text));
            CU_ASSERT_EQUAL(tool_run(arguments_text), 1);
            snprintf(at, sizeof(at), "  the rule at %s asks that %s\n", rule->source,
                     rule->conditions[0].words);
            CU_ASSERT(tool_says(at));
        }
    }
    CU_ASSERT(tried > 40);
}

static void test_check_takes_names(void)
{
    CU_ASSERT_EQUAL(tool_run("check block/virtio sendto @control 0 8 "
                             "'MSG_DONTWAIT | MSG_NOSIGNAL' NULL 0"),
                    0);
    CU_ASSERT(tool_says("sockfd the socket to the broker (fd 3)"));
    CU_ASSERT_EQUAL(tool_run("check broker openat AT_FDCWD 0 'O_RDWR | O_CLOEXEC' --arch all"), 0);
    CU_ASSERT_EQUAL(tool_run("check broker openat AT_FDCWD 0 'O_RDONLY | O_CLOEXEC'"), 1);
    CU_ASSERT_EQUAL(tool_run("check broker ptrace"), 1);
    CU_ASSERT(tool_says("broker on "));
    CU_ASSERT(tool_says(": ptrace() ends the process with SIGSYS\n  no rule names this call\n"));
    CU_ASSERT_EQUAL(tool_run("check broker 9999"), 1);
    CU_ASSERT_EQUAL(tool_run("check broker ptrace --json"), 1);
    CU_ASSERT(tool_says("\"allowed\": false"));
}

static void test_check_refuses_nonsense(void)
{
    CU_ASSERT_EQUAL(tool_run("check"), 2);
    CU_ASSERT_EQUAL(tool_run("check broker"), 2);
    CU_ASSERT_EQUAL(tool_run("check broker no_such_call"), 2);
    CU_ASSERT(tool_says("no system call 'no_such_call' on"));
    CU_ASSERT_EQUAL(tool_run("check broker epoll_wait 1 --arch aarch64"), 2);
    CU_ASSERT_EQUAL(tool_run("check block/virtio read @nothing"), 2);
    CU_ASSERT(tool_says("no fd '@nothing' in a worker of block/virtio"));
    CU_ASSERT_EQUAL(tool_run("check block/virtio read '1 2'"), 2);
    CU_ASSERT(tool_says("argument:1:3: expected '|' or the end, found '2'"));
    CU_ASSERT_EQUAL(tool_run("check block/virtio read 1 2 3 4 5 6 7"), 2);
}

/* ---- lint ---- */

static int lint(const char *text)
{
    char arguments[256];
    policy_folder_write("block/virtio.policy", text);
    snprintf(arguments, sizeof(arguments), "lint '%s'", policy_folder_path());
    return tool_run_policy(arguments);
}

static const struct lint_case {
    const char *rule;
    const char *finding; /* text behind "policy/block/virtio.policy:"; NULL: no finding */
} lint_cases[] = {
    {"allow fsync(fd == @image) \"sync\"", "2: \"sync\" is no reason for 'fsync'"},
    {"allow fsync() \"writes it back\"", "2: 'fsync' is allowed on any file: expected a condition"},
    {"allow execve() \"runs a helper\"", "2: 'execve' runs another program: expected"},
    {"allow io_uring_setup() \"is fast\"", "2: 'io_uring_setup' reaches a large part"},
    {"allow mmap(fd == -1) \"takes memory\"", "2: 'mmap' gets new executable memory"},
    {"allow mmap(prot & PROT_WRITE == 0, fd == -1) \"takes memory\"", "2: 'mmap' gets new"},
    {"allow mmap(prot & PROT_EXEC == 0, fd == -1) \"takes memory\"", NULL},
    {"allow mprotect(prot in {PROT_READ, PROT_EXEC}) \"changes memory\"", "2: 'mprotect' gets new"},
    {"allow mprotect(prot == PROT_READ) \"changes memory\"", NULL},
    {"allow ioctl(fd == @image) \"asks for the size\"", "2: 'ioctl' does whatever its command"},
    {"allow ioctl(fd == @image, request == BLKGETSIZE64) \"asks for the size\"", NULL},
    {"allow ptrace() \"looks at itself\" justified \"it has no child\"", NULL},
    {"allow fsync(fd == @image) \"a b\" [x86_64] allow poll() \"waits for it\"",
     "2: 'poll' is allowed on x86_64, but neither"},
    {"[x86_64] allow poll() \"waits for it\" [aarch64, riscv64] allow ppoll() \"the same\"", NULL},
    {"allow fsync(fd == @image) \"a b\" [aarch64] allow fdatasync(fd == @image) \"a b\"",
     "2: 'fdatasync' is allowed on aarch64"},
    /* What the compiler rejects is a finding, too. */
    {"allow fsync(fd == @image)", "3:1: expected the reason of this rule in quotes"},
    {"allow fsync(fd == @image) \"writes it back\" justified", "3:1: expected why this call can"},
    {"allow fsync(fd == @image) \"a b\" allow fsync() \"a b\"", "2:33: this rule covers"},
};

static void test_lint_finds(void)
{
    for (size_t i = 0; i < sizeof(lint_cases) / sizeof(lint_cases[0]); i++) {
        const struct lint_case *lint_case = &lint_cases[i];
        char text[512], expected[256];
        snprintf(text, sizeof(text), "confines \"a test\" fd @image = @backend \"the image\"\n%s\n",
                 lint_case->rule);
        CU_ASSERT_EQUAL(lint(text), lint_case->finding ? 1 : 0);
        snprintf(expected, sizeof(expected), "policy/block/virtio.policy:%s",
                 lint_case->finding ? lint_case->finding : "");
        if (lint_case->finding && !tool_says(expected))
            printf("\n    expected %s\n    found %s", expected, tool_answer);
        if (lint_case->finding)
            CU_ASSERT(tool_says(expected));
        if (!lint_case->finding)
            CU_ASSERT_STRING_EQUAL(tool_answer, "");
    }
}

/* A process may do only what the filter allows that it inherits. */
static void test_lint_finds_what_the_keeper_lacks(void)
{
    policy_folder_write("keeper.policy", "confines \"all\" allow fsync() \"writes it back\"");
    CU_ASSERT_EQUAL(lint("confines \"a test\" allow fsync(fd == @backend) \"writes it back\"\n"
                         "allow fdatasync(fd == @backend) \"writes it back\""),
                    1);
    CU_ASSERT(tool_says("policy/block/virtio.policy:2: 'fdatasync' is allowed here, but not by "
                        "policy/keeper.policy"));
    CU_ASSERT_FALSE(tool_says("'fsync' is allowed here"));
    policy_folder_write("keeper.policy", NULL);
}

/* It is proved: what the keeper lacks is found however narrow it is, and whatever form it has. */
static const struct inherited_case {
    const char *keeper, *own;
    const char *beyond; /* a call that only the own policy allows; NULL: there is none */
} inherited_cases[] = {
    {"allow ioctl(request == BLKGETSIZE64)", "allow ioctl(fd == @image, request == BLKGETSIZE64)",
     NULL},
    {"allow ioctl(request == BLKGETSIZE64)", "allow ioctl(fd == @image, request == BLKSSZGET)",
     "ioctl(0x8, 0x1268, 0)"},
    /* One of several values; none of its own. */
    {"allow preadv2(flags in {0, RWF_NOWAIT})",
     "allow preadv2(fd == @image, flags in {0, RWF_HIPRI})", "preadv2(0x8, 0, 0, 0, 0, 0x1)"},
    /* Bits that a mask leaves open: a sample with one pattern in them would miss these. */
    {"allow mmap(prot & 0xc == 0, fd == -1)", "allow mmap(prot & PROT_EXEC == 0, fd == -1)",
     "mmap(0, 0, 0x8, 0, 0xffffffff, 0)"},
    {"allow mmap(prot & PROT_EXEC == 0)", "allow mmap(prot & 0xc == 0, fd == -1)", NULL},
    {"allow lseek(offset & 0xfffffffffffffffe == 0)", "allow lseek(fd == @image, offset == 1)",
     NULL},
    {"allow lseek(offset == 0)", "allow lseek(fd == @image)", "lseek(0x8, 0x100000000, 0)"},
    /* Two rules of the keeper's together allow what neither allows alone. */
    {"allow lseek(whence & 1 == 0) \"a b\" allow lseek(whence & 1 == 1)",
     "allow lseek(fd == @image)", NULL},
    {"allow lseek(whence & 3 == 0) \"a b\" allow lseek(whence & 3 == 1)",
     "allow lseek(fd == @image)", "lseek(0x8, 0, 0x2)"},
};

static void test_lint_proves_what_is_inherited(void)
{
    for (size_t i = 0; i < sizeof(inherited_cases) / sizeof(inherited_cases[0]); i++) {
        const struct inherited_case *one = &inherited_cases[i];
        char text[512], expected[256];
        snprintf(text, sizeof(text), "confines \"all\" %s \"does it\" justified \"a test\"",
                 one->keeper);
        policy_folder_write("keeper.policy", text);
        snprintf(text, sizeof(text),
                 "confines \"a test\" fd @image = @backend \"the image\"\n%s \"does it\" justified "
                 "\"a test\"",
                 one->own);
        int status = lint(text);
        CU_ASSERT_EQUAL(status, one->beyond ? 1 : 0);
        snprintf(expected, sizeof(expected),
                 "is allowed here, but not by policy/keeper.policy, whose filter this process "
                 "inherits: %s\n",
                 one->beyond ? one->beyond : "");
        if (one->beyond ? !tool_says(expected) : status != 0)
            printf("\n    %s: expected %s\n    found %s", one->own, expected, tool_answer);
        if (one->beyond)
            CU_ASSERT(tool_says(expected));
    }
    policy_folder_write("keeper.policy", NULL);
    CU_ASSERT_EQUAL(tool_run_policy("lint"), 0); /* this build: its texts, and its programs */
}

/* ---- lint --score ---- */

static void test_score_sums_ranks(void)
{
    policy_folder_write("block/virtio.policy",
                        "confines \"a test\"\n"
                        "allow bpf() \"loads it\" allow ioctl() \"does it\"\n"
                        "allow ptrace() \"does it\" allow fcntl() \"does it\"\n"
                        "allow socket(domain == AF_UNIX) \"does it\"\n"
                        "allow socket(domain == 2) \"does it\"\n");
    char arguments[256];
    snprintf(arguments, sizeof(arguments), "lint --score '%s'", policy_folder_path());
    CU_ASSERT_EQUAL(tool_run_policy(arguments), 0);
    CU_ASSERT(tool_says(": 34, for 3 high, 1 medium, 1 low\n"));
    CU_ASSERT(
        tool_says("  high   bpf              reaches a large part of the kernel that filters"));
    CU_ASSERT(tool_says("  medium socket           reaches other processes or machines: "));
    /* With the domain open, it is AF_ALG as well. */
    policy_folder_write("block/virtio.policy", "confines \"a test\" allow socket() \"does it\"");
    CU_ASSERT_EQUAL(tool_run_policy(arguments), 0);
    CU_ASSERT(tool_says(": 10, for 1 high\n  high   socket           reaches the kernel's crypto"));
    policy_folder_write(
        "block/virtio.policy",
        "confines \"a test\" allow clone(flags & CLONE_VM == CLONE_VM) \"does it\"");
    CU_ASSERT_EQUAL(tool_run_policy(arguments), 0);
    CU_ASSERT(tool_says(": 10, for 1 high\n  high   clone            makes processes and names"));
    CU_ASSERT_EQUAL(tool_run_policy("lint --score"), 0);
    CU_ASSERT(tool_says("block/virtio on "));
    CU_ASSERT(tool_says(": 0\nbroker on "));
    CU_ASSERT_EQUAL(tool_run("list --score"), 2);
    CU_ASSERT(tool_says("--score with 'list': expected bao-policy lint"));
}

/* ---- export to others' tools ---- */

/* What pfc, minijail and OCI say is what the policy says, and what is lost is named. */
static void test_exports_agree(void)
{
    int status = system("'" EXPORTS_AGREE "' '" TOOL "' '" POLICY_TOOL "'");
    CU_ASSERT_EQUAL(status, 0);
    CU_ASSERT_EQUAL(tool_run_policy("export minijail block/virtio --arch x86_64"), 0);
    CU_ASSERT(tool_says("# serves VIRTIO_BLK_T_FLUSH\nfdatasync: arg0 == 0x8\n"));
    CU_ASSERT_EQUAL(tool_run_policy("export pfc"), 2);
    CU_ASSERT(tool_says("export with 'too little': expected a format and one policy"));
    CU_ASSERT_EQUAL(tool_run_policy("export docker keeper"), 2);
    CU_ASSERT(tool_says("no format 'docker': expected pfc, minijail, oci or systemd"));
    CU_ASSERT_EQUAL(tool_run_policy("export oci none"), 2);
    CU_ASSERT_EQUAL(tool_run_policy("export oci keeper --arch all"), 2);
}

/* ---- diff and export ---- */

static void diff(const char *text, int status)
{
    char arguments[256];
    policy_folder_write("block/virtio.policy", text);
    snprintf(arguments, sizeof(arguments), "diff '%s/old' '%s' --arch x86_64", policy_folder_path(),
             policy_folder_path());
    CU_ASSERT_EQUAL(tool_run(arguments), status);
}

static const char old_text[] = "confines \"a test\" fd @image = @backend \"the image\"\n"
                               "allow fsync(fd in {@image, @call}) \"a reason\"\n"
                               "allow pwritev2(fd == @image, flags == RWF_DSYNC) \"a reason\"\n";

static void test_diff_of_texts(void)
{
    char command[256];
    snprintf(command, sizeof(command), "mkdir -p '%s/old/block'", policy_folder_path());
    CU_ASSERT_EQUAL_FATAL(system(command), 0);
    policy_folder_write("old/block/virtio.policy", old_text);
    diff(old_text, 0);
    CU_ASSERT_STRING_EQUAL(tool_answer, "0 of 1 program differ\n");
    diff("confines \"a test\" fd @image = @backend \"the image\"\n"
         "allow fsync(fd == @image) \"a reason\"\n"
         "allow pwritev2(fd == @image, flags in {0, RWF_DSYNC}) \"a reason\"\n"
         "allow fallocate(fd == @image) \"a reason\"\n",
         1);
    CU_ASSERT(tool_says("  + pwritev2 with fd is the image (fd 8); flags is 0\n"));
    CU_ASSERT(tool_says("  + fallocate with fd is the image (fd 8) (a call that was not allowed"));
    CU_ASSERT(tool_says(
        "  - fsync with fd is the eventfd by which the broker is asked for an interrupt (fd 7)\n"));
    CU_ASSERT_FALSE(tool_says("RWF_DSYNC"));
    diff("confines \"a test\" allow fsync() \"a reason\"\n", 1);
    CU_ASSERT(tool_says("  + fsync\n"));
    CU_ASSERT(tool_says("  - pwritev2 with fd is the image (fd 8); flags is RWF_DSYNC (the call"));
    CU_ASSERT_FALSE(tool_says("- fsync"));
    policy_folder_write("old/block/virtio.policy", NULL);
    snprintf(command, sizeof(command), "rmdir '%s/old/block' '%s/old'", policy_folder_path(),
             policy_folder_path());
    CU_ASSERT_EQUAL(system(command), 0);
}

/* The same policies in four forms: this build, the texts, the exported programs, and a program file
 * (here the tool itself). */
static void test_diff_of_the_same(void)
{
    static const char *const same[] = {"this", "'" POLICY_DIR "'", "'" PROGRAMS_DIR "'",
                                       "'" TOOL "'"};
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        for (size_t j = 0; j < sizeof(same) / sizeof(same[0]); j++) {
            char arguments[4096];
            snprintf(arguments, sizeof(arguments), "diff %s %s", same[i], same[j]);
            CU_ASSERT_EQUAL(tool_run(arguments), 0);
        }
    }
}

/* Exported programs one by one: each is equal to that of this build, and to no other. */
static void test_diff_of_single_programs(void)
{
    const char *const bpf = "'" PROGRAMS_DIR "'";
    for (const struct policy_listing *at = policy_catalog; at->program.name; at++) {
        char arguments[4096];
        snprintf(arguments, sizeof(arguments), "diff %s/%s/%s.bpf this", bpf,
                 policy_arch_name(at->arch), at->program.name);
        CU_ASSERT_EQUAL(tool_run(arguments), 0);
        CU_ASSERT_STRING_EQUAL(tool_answer, "0 of 1 program differ\n");
    }
    CU_ASSERT_EQUAL(tool_run("diff '" PROGRAMS_DIR "/aarch64/net/vhost.bpf' '" PROGRAMS_DIR
                             "/aarch64/vsock/vhost.bpf'"),
                    1);
    CU_ASSERT(tool_says("net/vhost, compared with vsock/vhost on aarch64\n"));
    CU_ASSERT(tool_says("  + ioctl with fd is vhost-vsock (fd 8); request is "
                        "VHOST_VSOCK_SET_RUNNING; arg has VHOST_VALUES_RUNNING of the bits "
                        "0xfffffffffffffffb\n"));
    CU_ASSERT(tool_says("  - ioctl with fd is vhost-net (fd 8); request is "
                        "VHOST_NET_SET_BACKEND; arg has VHOST_VALUES_BACKEND of the bits "
                        "0xffffffffffffffe7\n"));
    CU_ASSERT(tool_says("1 of 1 program differ\n"));
    /* Programs of different architectures; a name that no policy has; a program that is cut short.
     */
    CU_ASSERT_EQUAL(tool_run("diff '" PROGRAMS_DIR "/aarch64/keeper.bpf' '" PROGRAMS_DIR
                             "/riscv64/keeper.bpf'"),
                    2);
    CU_ASSERT_EQUAL(tool_run("diff this /tmp/there-is-none.bpf; "
                             "f=$(mktemp /tmp/test-policy-audit.XXXXXX.bpf); "
                             "cp '" PROGRAMS_DIR "/x86_64/keeper.bpf' $f; '" TOOL
                             "' diff this $f; echo \"= $?\"; head -c 1001 '" PROGRAMS_DIR
                             "/x86_64/keeper.bpf' >$f; '" TOOL
                             "' diff this $f; echo \"= $?\"; rm $f"),
                    0);
    CU_ASSERT(tool_says("there-is-none.bpf can't be compared: No such file or directory"));
    CU_ASSERT(tool_says("no policy in common (a single program has the name ARCH/NAME.bpf)\n= 2"));
    CU_ASSERT(tool_says("can't be compared: it holds what can't be read\n= 2"));
}

/* The last folder counts: a checkout or a build may lie in one that is named after an
 * architecture. */
static void test_architecture_of_a_path(void)
{
    CU_ASSERT_EQUAL(
        tool_run("list >/dev/null; d=$(mktemp -d /tmp/test-policy-audit.XXXXXX); "
                 "for a in aarch64 riscv64 x86_64; do for b in aarch64 riscv64 x86_64; do "
                 "f=$d/$a/$b; mkdir -p $f; cp '" PROGRAMS_DIR "'/$b/keeper.bpf $f; '" TOOL
                 "' diff this $f/keeper.bpf || echo $f: $?; "
                 "done; done; rm -r $d"),
        0);
    CU_ASSERT(!tool_says("/tmp/test-policy-audit"));
    CU_ASSERT(tool_says("0 of 1 program differ"));
}

static void test_diff_refuses_nonsense(void)
{
    CU_ASSERT_EQUAL(tool_run("diff this"), 2);
    CU_ASSERT_EQUAL(tool_run("diff this /no/such/thing"), 2);
    CU_ASSERT(tool_says("/no/such/thing can't be compared: No such file or directory"));
    CU_ASSERT_EQUAL(tool_run("diff this /bin/false"), 2);
    CU_ASSERT(tool_says("it is no bao-seccomp"));
    CU_ASSERT_EQUAL(tool_run("diff this $$"), 2);
    CU_ASSERT_EQUAL(tool_run_policy("lint /no/such/thing"), 2);
}

/* ---- For tools ---- */

/* A JSON reader checks the answer of each verb (the last three are of bao-policy) against the
 * formats of docs/POLICY.md. (For verify, see tests/standin/test_audit.c.) */
static void test_json_is_as_documented(void)
{
    static const char *const questions[][2] = {
        {"list", "list --arch all"},
        {"show", "show --arch all"},
        {"hash", "hash"},
        {"export", "export '%s/exported'"},
        {"check", "check broker openat AT_FDCWD 0 0"},
        {"check", "check all exit_group --arch all"},
        {"diff", "diff '" PROGRAMS_DIR "/aarch64/net/vhost.bpf' '" PROGRAMS_DIR
                 "/aarch64/vsock/vhost.bpf'"},
        {"list --effective", "list --effective --arch all"},
        {"show --effective", "show --effective block/virtio"},
        {"lint", "lint '%s'"},
        {"lint --score", "lint --score"},
        {"trace", "trace all --json -- true"},
    };
    policy_folder_write("block/virtio.policy", "confines \"a test\" allow fsync() \"x\"\n");
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        char verb[2048], arguments[4096];
        snprintf(verb, sizeof(verb), questions[i][1], policy_folder_path());
        snprintf(arguments, sizeof(arguments),
                 "--json %s 2>/dev/null | '" SHAPE "' '" DOCUMENT "' '%s'", verb, questions[i][0]);
        bool is_board = i < sizeof(questions) / sizeof(questions[0]) - 3;
        int status = is_board ? tool_run(arguments) : tool_run_policy(arguments);
        CU_ASSERT_EQUAL(status, 0);
        if (status != 0)
            printf("\n    %s: %s", questions[i][1], tool_answer);
    }
    /* The checker does reject: it refuses another verb's format, and an answer with nothing in it.
     */
    CU_ASSERT_NOT_EQUAL(tool_run("hash --json | '" SHAPE "' '" DOCUMENT "' list"), 0);
    CU_ASSERT_NOT_EQUAL(tool_run_policy("lint --json | '" SHAPE "' '" DOCUMENT "' lint"), 0);
    /* An answer that breaks off is still valid JSON. */
    CU_ASSERT_EQUAL(tool_run("check all no_such_call --json 2>/dev/null | python3 -m json.tool"),
                    0);
    CU_ASSERT_EQUAL(tool_run("export /proc/none --json 2>/dev/null | python3 -m json.tool"), 0);
    char command[256];
    snprintf(command, sizeof(command), "rm -r '%s/exported'", policy_folder_path());
    CU_ASSERT_EQUAL(system(command), 0);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"test_check_names_the_rule", test_check_names_the_rule},
        {"test_check_takes_names", test_check_takes_names},
        {"test_check_refuses_nonsense", test_check_refuses_nonsense},
        {"test_lint_finds", test_lint_finds},
        {"test_lint_finds_what_the_keeper_lacks", test_lint_finds_what_the_keeper_lacks},
        {"test_lint_proves_what_is_inherited", test_lint_proves_what_is_inherited},
        {"test_score_sums_ranks", test_score_sums_ranks},
        {"test_exports_agree", test_exports_agree},
        {"test_diff_of_texts", test_diff_of_texts},
        {"test_diff_of_the_same", test_diff_of_the_same},
        {"test_diff_of_single_programs", test_diff_of_single_programs},
        {"test_architecture_of_a_path", test_architecture_of_a_path},
        {"test_diff_refuses_nonsense", test_diff_refuses_nonsense},
        {"test_json_is_as_documented", test_json_is_as_documented},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {{.pName = "bao-seccomp judges",
                              .pInitFunc = policy_folder_make,
                              .pCleanupFunc = policy_folder_remove,
                              .pTests = tests},
                             CU_SUITE_INFO_NULL};
    return run_suites(argc, argv, suites);
}
