/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This kernel enforces every policy of this build. What the text allows passes; everything else
 * dies of SIGSYS. The cases come from the policies themselves.
 *
 * An allowed call must do no harm here (the keeper may kill and mount). So each child first loads a
 * filter of the test's own, which answers every call with an errno and does not carry it out. The
 * kernel takes the stricter answer of the two filters: that errno if the policy allows the call,
 * and death if it does not.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "policy/bpf.h"
#include "policy/catalog.h"
#include "tests/cunit_main.h"

#define NOT_CARRIED_OUT ENOANO /* the answer of the test's own filter */
#define MAGIC 0x5eccu          /* in a free argument of seccomp(): only that call passes */
#define NUMBERS 1024           /* above the last system call of any architecture */
#define X32_NUMBERS 600        /* above the last one of the x32 ABI */
#define X32_BIT 0x40000000u

#define I386_NUMBERS 512     /* above the last one of i386 */
#define EVALUATIONS 1000000u /* evaluations by the kernel, of all policies */
#define STREAM 2048u         /* calls of one child; the last one kills it */

enum outcome { PASSED, KILLED, DIED_OTHERWISE };

/* ---- A child that is confined ---- */

static void load_filter(const struct sock_filter *filter, unsigned short length)
{
    struct sock_fprog fprog = {.len = length, .filter = (struct sock_filter *)filter};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &fprog, MAGIC) != 0)
        _exit(1);
}

static void confine(const struct policy_program *program)
{
    static const struct sock_filter answer_only[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_seccomp, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MAGIC, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | NOT_CARRIED_OUT),
    };
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    signal(SIGILL, SIG_DFL);
    signal(SIGTRAP, SIG_DFL);
    signal(SIGSYS, SIG_DFL);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        _exit(1);
    load_filter(answer_only, sizeof(answer_only) / sizeof(answer_only[0]));
    load_filter(program->filter, program->length);
}

static bool call_passes(const struct seccomp_data *data)
{
    errno = 0;
    long result = syscall((long)(uint32_t)data->nr, data->args[0], data->args[1], data->args[2],
                          data->args[3], data->args[4], data->args[5]);
    return result == -1 && errno == NOT_CARRIED_OUT;
}

static enum outcome outcome_of(pid_t child)
{
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
        return DIED_OTHERWISE;
    switch (WTERMSIG(status)) {
    case SIGILL:
    case SIGTRAP: /* from __builtin_trap(), which ends a child without a system call */
        return PASSED;
    case SIGSYS:
        return KILLED;
    default:
        return DIED_OTHERWISE;
    }
}

/* Tries calls, one after the other, in one child. Returns how the child ended, and how many calls
 * it survived. */
static enum outcome try_calls(const struct policy_listing *listing,
                              const struct seccomp_data *calls, size_t count, size_t *ret_passed)
{
    static size_t *passed; /* shared with the child, which can't send anything */
    if (!passed)
        passed =
            mmap(NULL, sizeof(*passed), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (passed == MAP_FAILED)
        return DIED_OTHERWISE;
    *passed = 0;
    pid_t child = fork();
    if (child == 0) {
        confine(&listing->program);
        for (size_t i = 0; i < count && call_passes(&calls[i]); i++)
            *(volatile size_t *)passed = i + 1;
        __builtin_trap();
    }
    enum outcome outcome = outcome_of(child);
    *ret_passed = *passed;
    return outcome;
}

/* The interpreter's answer to a call. The kernel must agree with each answer. */
static enum outcome interpreted(const struct policy_listing *listing,
                                const struct seccomp_data *call)
{
    return bpf_run(listing->program.filter, call) == SECCOMP_RET_ALLOW ? PASSED : KILLED;
}

static enum outcome try_call(const struct policy_listing *listing, const struct seccomp_data *call)
{
    size_t passed;
    enum outcome outcome = try_calls(listing, call, 1, &passed);
    if (outcome == PASSED && passed != 1)
        outcome = DIED_OTHERWISE;
    CU_ASSERT(outcome == interpreted(listing, call) || outcome == DIED_OTHERWISE);
    return outcome;
}

/* ---- Calls to try ---- */

static uint64_t next_random(void)
{
    static uint64_t state = 0x2545f4914f6cdd1dull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static struct seccomp_data random_call(uint32_t number)
{
    struct seccomp_data data = {.nr = (int)number, .arch = policy_arch_token(POLICY_ARCH_NATIVE)};
    for (size_t i = 0; i < POLICY_ARGUMENTS; i++)
        data.args[i] = next_random();
    /* Do not make the one call that the test's own filter passes. */
    data.args[3] &= ~0xffffull;
    return data;
}

/* Arguments that the rule allows: the n-th value of each condition, and random bits where the rule
 * has no condition. */
static struct seccomp_data allowed_call(const struct policy_rule *rule, unsigned int n)
{
    struct seccomp_data data = random_call(rule->number);
    for (unsigned int i = 0; i < rule->condition_count; i++) {
        const struct policy_condition *condition = &rule->conditions[i];
        uint64_t other = (uint64_t)data.args[condition->index] & ~condition->mask;
        data.args[condition->index] = condition->values[n % condition->value_count] | other;
    }
    return data;
}

/* The next policy of this architecture. */
static const struct policy_listing *next_native(const struct policy_listing *last)
{
    const struct policy_listing *at = last ? last + 1 : policy_catalog;
    while (at->program.name && at->arch != POLICY_ARCH_NATIVE)
        at++;
    return at->program.name ? at : NULL;
}

#define FOR_EACH_POLICY(listing)                                                                   \
    for (const struct policy_listing *listing = next_native(NULL); listing;                        \
         listing = next_native(listing))

static unsigned int most_values(const struct policy_rule *rule)
{
    unsigned int most = 1;
    for (unsigned int i = 0; i < rule->condition_count; i++) {
        if (rule->conditions[i].value_count > most)
            most = rule->conditions[i].value_count;
    }
    return most;
}

/* ---- Tests ---- */

static void test_allowed_arguments_pass(void)
{
    static struct seccomp_data calls[4096];
    unsigned int policies = 0;
    FOR_EACH_POLICY(listing)
    {
        size_t count = 0, passed;
        for (unsigned int r = 0; r < listing->rule_count; r++) {
            for (unsigned int n = 0; n < most_values(&listing->rules[r]); n++)
                calls[count++] = allowed_call(&listing->rules[r], n);
        }
        CU_ASSERT_FATAL(count < sizeof(calls) / sizeof(calls[0]));
        for (size_t i = 0; i < count; i++)
            CU_ASSERT_EQUAL(interpreted(listing, &calls[i]), PASSED);
        CU_ASSERT_EQUAL(try_calls(listing, calls, count, &passed), PASSED);
        CU_ASSERT_EQUAL(passed, count);
        policies++;
    }
    CU_ASSERT(policies >= 4);
}

/* Changes one pinned argument, so that no other rule allows the call either. */
static bool change_argument(const struct policy_listing *listing,
                            const struct policy_condition *condition, struct seccomp_data *data,
                            bool from_top)
{
    for (unsigned int i = 0; i < 64; i++) {
        uint64_t bit = 1ull << (from_top ? 63 - i : i);
        if ((condition->mask & bit) == 0)
            continue;
        struct seccomp_data changed = *data;
        changed.args[condition->index] ^= bit;
        if (!policy_allows(listing, &changed)) {
            *data = changed;
            return true;
        }
    }
    return false;
}

static void test_changed_arguments_die(void)
{
    unsigned int tried = 0;
    FOR_EACH_POLICY(listing)
    {
        for (unsigned int r = 0; r < listing->rule_count; r++) {
            const struct policy_rule *rule = &listing->rules[r];
            for (unsigned int c = 0; c < 2 * rule->condition_count; c++) {
                struct seccomp_data call = allowed_call(rule, c);
                CU_ASSERT_TRUE_FATAL(
                    change_argument(listing, &rule->conditions[c / 2], &call, c % 2 == 1));
                CU_ASSERT_EQUAL(try_call(listing, &call), KILLED);
                tried++;
            }
        }
    }
    CU_ASSERT(tried > 50);
}

static const struct policy_rule *rule_for(const struct policy_listing *listing, uint32_t number)
{
    for (unsigned int r = 0; r < listing->rule_count; r++) {
        if (listing->rules[r].number == number)
            return &listing->rules[r];
    }
    return NULL;
}

/*
 * Recent kernels on x86_64 exempt these two calls from all filters: the kernel's own trampolines
 * make them. If anything else makes them, as here, the kernel ends the process with SIGILL.
 */
static bool is_uprobe_trampoline(uint32_t number)
{
#ifdef __x86_64__
    return number == 335 || number == 336;
#else
    (void)number;
    return false;
#endif
}

/* A child for each call takes its time, and the build has proved each program. So a policy tries
 * one of `parts` calls that die, and the policies together try all; in the long form each tries
 * all. */
static bool is_tried(const struct policy_listing *listing, uint32_t number, uint32_t parts)
{
    return long_form() || number % parts == (uint32_t)(listing - policy_catalog) % parts;
}

/* A call passes exactly if there is a rule for its number. */
static void test_every_number(void)
{
    FOR_EACH_POLICY(listing)
    {
        unsigned int allowed = 0;
        for (uint32_t number = 0; number < NUMBERS; number++) {
            const struct policy_rule *rule = rule_for(listing, number);
            if (!rule && !is_tried(listing, number, 4))
                continue;
            struct seccomp_data call = rule ? allowed_call(rule, 0) : random_call(number);
            enum outcome outcome = try_call(listing, &call);
            bool by_kernel = is_uprobe_trampoline(number) && outcome == DIED_OTHERWISE;
            CU_ASSERT(outcome == (rule ? PASSED : KILLED) || by_kernel);
            allowed += rule != NULL;
        }
        CU_ASSERT_EQUAL(allowed, listing->program.calls);
    }
}

static void test_numbers_out_of_range(void)
{
    static const uint32_t numbers[] = {0x3fffffff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
    FOR_EACH_POLICY(listing)
    {
        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
            struct seccomp_data call = random_call(numbers[i]);
            CU_ASSERT_EQUAL(try_call(listing, &call), KILLED);
        }
    }
}

/* The x32 ABI has the same architecture token as x86_64. Its calls differ by one bit of the number.
 * On other architectures no such number exists. */
static void test_x32_numbers_die(void)
{
    FOR_EACH_POLICY(listing)
    {
        for (uint32_t number = 0; number < X32_NUMBERS; number++) {
            if (!is_tried(listing, number, 8))
                continue;
            const struct policy_rule *rule = rule_for(listing, number);
            struct seccomp_data call = rule ? allowed_call(rule, 0) : random_call(number);
            call.nr = (int)(number | X32_BIT);
            CU_ASSERT_EQUAL(try_call(listing, &call), KILLED);
        }
    }
}

#ifdef __x86_64__
/* How a child ends that makes a call through the 32-bit entry, confined or not. */
static int end_of_32_bit_call(const struct policy_program *program, uint32_t number)
{
    pid_t child = fork();
    if (child == 0) {
        /* A sanitizer must not report it: it needs a second for each, and there are thousands. */
        signal(SIGSEGV, SIG_DFL);
        if (program)
            confine(program);
        long result = (long)number;
        long none = 0;
        __asm__ volatile("int $0x80"
                         : "+a"(result)
                         : "b"(none), "c"(none), "d"(none), "S"(none), "D"(none)
                         : "memory", "r8", "r9", "r10", "r11");
        __builtin_trap();
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
        return 0;
    return WTERMSIG(status);
}

/* Every number of i386. If the kernel has the 32-bit entry, the filter kills the calls. If it does
 * not, they die anyway. */
static void test_32_bit_entry_dies(void)
{
    const uint32_t getpid_of_i386 = 20;
    int without = end_of_32_bit_call(NULL, getpid_of_i386);
    CU_ASSERT(without == SIGILL || without == SIGSEGV);
    FOR_EACH_POLICY(listing)
    {
        for (uint32_t number = 0; number < I386_NUMBERS; number++) {
            struct seccomp_data call = {.nr = (int)number, .arch = AUDIT_ARCH_I386};
            CU_ASSERT_EQUAL(interpreted(listing, &call), KILLED);
            if (!is_tried(listing, number, 8))
                continue;
            CU_ASSERT_EQUAL(end_of_32_bit_call(&listing->program, number),
                            without == SIGILL ? SIGSYS : SIGSEGV);
        }
    }
}
#endif

/* A board of this architecture would never load the programs of the other architectures. They allow
 * none of this kernel's calls. */
static void test_programs_of_others_allow_nothing(void)
{
    for (const struct policy_listing *at = policy_catalog; at->program.name; at++) {
        for (uint32_t number = 0; number < 8 && at->arch != POLICY_ARCH_NATIVE; number++) {
            struct seccomp_data call = random_call(at->rules[number % at->rule_count].number);
            CU_ASSERT_EQUAL(try_call(at, &call), KILLED);
        }
    }
}

/* A call that differs little from one that a rule allows: up to two bits of its arguments are
 * changed. */
static struct seccomp_data near_call(const struct policy_listing *listing, bool may_differ)
{
    const struct policy_rule *rule = &listing->rules[next_random() % listing->rule_count];
    struct seccomp_data call = allowed_call(rule, (unsigned int)(next_random() % 64));
    for (uint64_t flips = may_differ ? next_random() % 3 : 0; flips > 0; flips--) {
        uint64_t bit = next_random();
        call.args[bit % 3] ^= 1ull << (bit / 8 % 64);
    }
    return call;
}

/*
 * Random calls, up to one that the interpreter says is denied. The kernel must let the child come
 * to that one, and no further. Returns how many calls the kernel judged.
 */
static unsigned int try_stream(const struct policy_listing *listing, unsigned int length,
                               unsigned long *denied)
{
    static struct seccomp_data calls[STREAM];
    unsigned int count = 0;
    enum outcome last = PASSED;
    while (count < length && last == PASSED) {
        /* Most of them are allowed: a denied one costs a process. */
        calls[count] = near_call(listing, count + 1 == length || next_random() % 80 == 0);
        last = interpreted(listing, &calls[count]);
        CU_ASSERT_EQUAL(last, policy_allows(listing, &calls[count]) ? PASSED : KILLED);
        count++;
    }
    size_t passed;
    CU_ASSERT_EQUAL(try_calls(listing, calls, count, &passed), last);
    CU_ASSERT_EQUAL(passed, last == PASSED ? count : count - 1);
    *denied += last == KILLED;
    return count;
}

/* With any arguments, the kernel, the interpreter and the text agree. */
static void test_kernel_and_interpreter_agree(void)
{
    unsigned long evaluations = 0, denied = 0, policies = 0;
    FOR_EACH_POLICY(listing)
    policies++;
    FOR_EACH_POLICY(listing)
    {
        for (unsigned long own = 0; own <= EVALUATIONS / policies;) {
            unsigned int count = try_stream(listing, STREAM, &denied);
            own += count;
            evaluations += count;
        }
    }
    printf("%lu evaluations, %lu of them denied ... ", evaluations, denied);
    CU_ASSERT(evaluations >= EVALUATIONS);
    CU_ASSERT(denied >= 50 * policies);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"test_allowed_arguments_pass", test_allowed_arguments_pass},
        {"test_changed_arguments_die", test_changed_arguments_die},
        {"test_every_number", test_every_number},
        {"test_numbers_out_of_range", test_numbers_out_of_range},
        {"test_x32_numbers_die", test_x32_numbers_die},
#ifdef __x86_64__
        {"test_32_bit_entry_dies", test_32_bit_entry_dies},
#endif
        {"test_programs_of_others_allow_nothing", test_programs_of_others_allow_nothing},
        {"test_kernel_and_interpreter_agree", test_kernel_and_interpreter_agree},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "policies in the kernel", tests);
}
