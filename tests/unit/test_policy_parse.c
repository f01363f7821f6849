/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar of policies: which rules a text gives; and for each mistake, where it is and what was
 * expected. */
#include <stdlib.h>
#include <string.h>

#include "policy/compiler/number.h"
#include "policy/compiler/vocabulary.h"
#include "policy_folder.h"
#include "tests/cunit_main.h"

#define CONFINES "confines \"a test\"\n"
#define ALL_KICKS                                                                                  \
    "@kick0 @kick1 @kick2 @kick3 @kick4 @kick5 @kick6 @kick7 @kick8 @kick9 @kick10 @kick11 "       \
    "@kick12 @kick13 @kick14 @kick15"
#define SHARED "include \"../shared.inc\"\n"

/* ---- Mistakes ---- */

static const struct mistake {
    const char *policy;
    const char *shared;
    const char *error; /* the whole message */
} mistakes[] = {
    /* The shape of a file. */
    {"", NULL,
     "policy/block/virtio.policy:1:1: expected 'confines' and what this policy confines, found the "
     "end of the file"},
    {"confines read", NULL,
     "policy/block/virtio.policy:1:10: expected what this policy confines in quotes, found 'read'"},
    {CONFINES, NULL,
     "policy/block/virtio.policy:1:1: expected at least one rule for x86_64, found none"},
    {CONFINES "  deny read() \"no\"", NULL,
     "policy/block/virtio.policy:2:3: expected 'allow', '[', 'include' or 'fd', found 'deny'"},
    {CONFINES CONFINES, NULL,
     "policy/block/virtio.policy:2:1: expected 'allow', '[', 'include' or 'fd', found 'confines'"},
    {CONFINES "allow read() \"a\nb\"", NULL,
     "policy/block/virtio.policy:2:14: this string does not end in its line: expected '\"'"},
    {CONFINES "allow read() \"\"", NULL,
     "policy/block/virtio.policy:2:14: expected some text in this string, found none"},
    {CONFINES "allow read() \"a\\b\"", NULL,
     "policy/block/virtio.policy:2:14: a string holds a character 0x5c: expected printable ASCII "
     "without '\\'"},
    {CONFINES "allow read() \"a\tb\"", NULL,
     "policy/block/virtio.policy:2:14: a string holds a character 0x09: expected printable ASCII "
     "without '\\'"},
    {CONFINES "# comment\n\n  %", NULL, "policy/block/virtio.policy:4:3: unexpected character '%'"},
    {CONFINES "\r\n", NULL, "policy/block/virtio.policy:2:1: unexpected character 0x0d"},

    /* Rules. */
    {CONFINES "allow \"x\"", NULL,
     "policy/block/virtio.policy:2:7: expected the name of a system call, found \"x\""},
    {CONFINES "allow raed() \"x\"", NULL,
     "policy/block/virtio.policy:2:7: unknown system call 'raed': expected one of "
     "policy/compiler/calls.c, or add its signature there"},
    {CONFINES "allow read()", NULL,
     "policy/block/virtio.policy:2:13: expected the reason of this rule in quotes, found the end "
     "of the file"},
    {CONFINES "allow read()\nallow write() \"x\"", NULL,
     "policy/block/virtio.policy:3:1: expected the reason of this rule in quotes, found 'allow'"},
    {CONFINES "allow read() \"x\" justified", NULL,
     "policy/block/virtio.policy:2:27: expected why this call can do no harm here in quotes, found "
     "the end of the file"},
    {CONFINES "allow read() \"x\" only", NULL,
     "policy/block/virtio.policy:2:22: expected where alone this call is made in quotes, found "
     "the end of the file"},
    {CONFINES "allow read() \"x\" justified \"x\" only \"x\"", NULL,
     "policy/block/virtio.policy:2:32: expected 'allow', '[', 'include' or 'fd', found 'only'"},
    {CONFINES "allow read() only \"x\"", NULL,
     "policy/block/virtio.policy:2:14: expected the reason of this rule in quotes, found 'only'"},
    {CONFINES "allow read() justified \"x\"", NULL,
     "policy/block/virtio.policy:2:14: expected the reason of this rule in quotes, found "
     "'justified'"},
    {CONFINES "allow read() \"x\" justified \"x\" justified \"x\"", NULL,
     "policy/block/virtio.policy:2:32: expected 'allow', '[', 'include' or 'fd', found "
     "'justified'"},
    {CONFINES "allow read(fd == 1", NULL,
     "policy/block/virtio.policy:2:19: expected '|', ',' or ')', found the end of the file"},
    {CONFINES "allow read(fd == 1,) \"x\"", NULL,
     "policy/block/virtio.policy:2:20: expected the name of an argument of read (fd, buf, count), "
     "found ')'"},
    {CONFINES "allow read(file == 1) \"x\"", NULL,
     "policy/block/virtio.policy:2:12: read has no argument 'file': expected fd, buf, count"},
    {CONFINES "allow getpid(pid == 1) \"x\"", NULL,
     "policy/block/virtio.policy:2:14: getpid has no argument 'pid': expected none"},
    {CONFINES "allow read(fd = 1) \"x\"", NULL,
     "policy/block/virtio.policy:2:15: expected '==', 'in' or '&', found '='"},
    {CONFINES "allow read(fd == 1, count == 8, fd == 2) \"x\"", NULL,
     "policy/block/virtio.policy:2:33: 'fd' has a condition already: expected one for each "
     "argument"},

    /* Values. */
    {CONFINES "allow read(fd == ) \"x\"", NULL,
     "policy/block/virtio.policy:2:18: expected a number, a constant, an @fd, '~' or '(', found "
     "')'"},
    {CONFINES "allow read(fd == 0x1g) \"x\"", NULL,
     "policy/block/virtio.policy:2:18: '0x1g' is no number: expected decimal or 0x and "
     "hexadecimal digits"},
    {CONFINES "allow read(fd == 010) \"x\"", NULL,
     "policy/block/virtio.policy:2:18: '010' is no number: expected decimal or 0x and hexadecimal "
     "digits"},
    {CONFINES "allow read(count == 18446744073709551616) \"x\"", NULL,
     "policy/block/virtio.policy:2:21: '18446744073709551616' does not fit in 64 bits"},
    {CONFINES "allow read(fd == 0x100000000) \"x\"", NULL,
     "policy/block/virtio.policy:2:18: '0x100000000' is 0x100000000: expected a value of 32 bits "
     "for this argument"},
    {CONFINES "allow preadv2(flags == RWF_NONE) \"x\"", NULL,
     "policy/block/virtio.policy:2:24: unknown constant 'RWF_NONE': expected one of "
     "policy/compiler/constants.def, or add it there"},
    {CONFINES "allow preadv2(flags == (RWF_SYNC RWF_DSYNC)) \"x\"", NULL,
     "policy/block/virtio.policy:2:34: expected '|' or ')', found 'RWF_DSYNC'"},
    {CONFINES "allow preadv2(flags in 0) \"x\"", NULL,
     "policy/block/virtio.policy:2:24: expected '{', found '0'"},
    {CONFINES "allow preadv2(flags in {0, RWF_SYNC) \"x\"", NULL,
     "policy/block/virtio.policy:2:36: expected '|', ',' or '}', found ')'"},
    {CONFINES "allow preadv2(flags in {RWF_SYNC, 4}) \"x\"", NULL,
     "policy/block/virtio.policy:2:35: '4' is the same value as 'RWF_SYNC' before it"},
    {CONFINES "allow preadv2(flags & RWF_SYNC) \"x\"", NULL,
     "policy/block/virtio.policy:2:31: expected '|' or '==', found ')'"},
    {CONFINES "allow preadv2(flags & 0 == 0) \"x\"", NULL,
     "policy/block/virtio.policy:2:23: the mask '0' is 0, so that anything would be allowed"},
    {CONFINES "allow preadv2(flags & RWF_SYNC == RWF_DSYNC) \"x\"", NULL,
     "policy/block/virtio.policy:2:35: 'RWF_DSYNC' has bits outside of the mask 'RWF_SYNC', so "
     "that this never holds"},

    /* Fds: block/virtio has one backend file and up to 16 queues. */
    {CONFINES "allow read(fd == @backend2) \"x\"", NULL,
     "policy/block/virtio.policy:2:18: no fd '@backend2' in a worker of block/virtio: expected one "
     "of @null_in @null_out @null_err @control @epoll @request @reply @call @backend " ALL_KICKS},
    {CONFINES "allow read(fd == @kick0 | 1) \"x\"", NULL,
     "policy/block/virtio.policy:2:25: expected '|', ',' or ')', found '|'"},
    {CONFINES "fd image = @backend \"x\"", NULL,
     "policy/block/virtio.policy:2:4: expected a new @name of an fd, found 'image'"},
    {CONFINES "fd @image @backend \"x\"", NULL,
     "policy/block/virtio.policy:2:11: expected '=', found '@backend'"},
    {CONFINES "fd @image = 8 \"x\"", NULL,
     "policy/block/virtio.policy:2:13: expected the @name of an fd that exists, found '8'"},
    {CONFINES "fd @image = @kick16 \"x\"", NULL,
     "policy/block/virtio.policy:2:13: no fd '@kick16' in a worker of block/virtio: expected one "
     "of "
     "@null_in @null_out @null_err @control @epoll @request @reply @call @backend " ALL_KICKS},
    {CONFINES "fd @image = @backend", NULL,
     "policy/block/virtio.policy:2:21: expected words for this fd in quotes, found the end of the "
     "file"},
    {CONFINES "fd @call = @backend \"x\"", NULL,
     "policy/block/virtio.policy:2:4: '@call' is already the name of an fd"},

    /* Architectures. */
    {CONFINES "[i386] allow read() \"x\"", NULL,
     "policy/block/virtio.policy:2:2: expected x86_64, aarch64 or riscv64, found 'i386'"},
    {CONFINES "[x86_64, x86_64] allow read() \"x\"", NULL,
     "policy/block/virtio.policy:2:10: x86_64 is named twice"},
    {CONFINES "[x86_64 allow read() \"x\"", NULL,
     "policy/block/virtio.policy:2:9: expected ',' or ']', found 'allow'"},
    {CONFINES "[x86_64] read() \"x\"", NULL,
     "policy/block/virtio.policy:2:10: expected 'allow', found 'read'"},
    {CONFINES "allow epoll_wait() \"x\"", NULL,
     "policy/block/virtio.policy:2:7: 'epoll_wait' does not exist on aarch64, riscv64: expected "
     "[x86_64] or less before 'allow'"},
    {CONFINES "[x86_64, riscv64] allow epoll_wait() \"x\"", NULL,
     "policy/block/virtio.policy:2:25: 'epoll_wait' does not exist on aarch64, riscv64: expected "
     "[x86_64] or less before 'allow'"},

    /* Includes. */
    {CONFINES "include shared", NULL,
     "policy/block/virtio.policy:2:9: expected the name of a file in quotes, found 'shared'"},
    {CONFINES "include \"../shared.policy\"", NULL,
     "policy/block/virtio.policy:2:9: \"../shared.policy\": expected the name of a .inc file"},
    {CONFINES "include \"../../shared.inc\"", NULL,
     "policy/block/virtio.policy:2:9: \"../../shared.inc\" lies outside of policy/"},
    {CONFINES "include \"/shared.inc\"", NULL,
     "policy/block/virtio.policy:2:9: \"/shared.inc\" lies outside of policy/"},
    {CONFINES "  include \"../shared.inc\"", NULL,
     "policy/block/virtio.policy:2:11: policy/shared.inc can't be read: No such file or directory"},
    {CONFINES SHARED, "allow read()",
     "policy/shared.inc:1:13: expected the reason of this rule in quotes, found the end of the "
     "file"},
    {CONFINES SHARED, CONFINES,
     "policy/shared.inc:1:1: expected 'allow', '[', 'include' or 'fd', found 'confines'"},
    {CONFINES SHARED, "include \"shared.inc\"",
     "policy/shared.inc:1:9: includes are nested more than 4 deep: is this a loop?"},

    /* Rules that make one another unnecessary. */
    {CONFINES "allow read() \"x\"\nallow read() \"y\"", NULL,
     "policy/block/virtio.policy:3:1: this rule repeats, at least in part, the rule for 'read' at "
     "policy/block/virtio.policy:2"},
    {CONFINES SHARED "\nallow read(fd == 5) \"x\"", "allow read() \"y\"",
     "policy/block/virtio.policy:4:1: this rule is covered, at least in part, by the rule for "
     "'read' at policy/shared.inc:1"},
    {CONFINES "allow read(fd == 5) \"x\"\n" SHARED, "[x86_64] allow read() \"y\"",
     "policy/shared.inc:1:1: this rule covers, at least in part, the rule for 'read' at "
     "policy/block/virtio.policy:2"},
    {CONFINES "allow read(fd in {1, 2}) \"x\" allow read(fd in {2, 3}) \"y\"", NULL,
     "policy/block/virtio.policy:2:30: this rule repeats, at least in part, the rule for 'read' at "
     "policy/block/virtio.policy:2"},
    {CONFINES "allow mmap(prot & PROT_EXEC == 0) \"x\" allow mmap(prot == PROT_READ) \"y\"", NULL,
     "policy/block/virtio.policy:2:39: this rule is covered, at least in part, by the rule for "
     "'mmap' at policy/block/virtio.policy:2"},
};

static void test_mistakes(void)
{
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        const struct mistake *mistake = &mistakes[i];
        struct parsed_policy policy;
        struct policy_error error = {""};
        bool parsed = policy_folder_parse(mistake->policy, mistake->shared, POLICY_ARCH_X86_64,
                                          &policy, &error);
        CU_ASSERT_FALSE(parsed);
        if (parsed)
            policy_free(&policy);
        CU_ASSERT_STRING_EQUAL(error.text, mistake->error);
        if (strcmp(error.text, mistake->error) != 0)
            fprintf(stderr, "\nfound    %s\nexpected %s\n", error.text, mistake->error);
    }
}

static void test_no_fds_outside_of_workers(void)
{
    struct parsed_policy policy;
    struct policy_error error;
    policy_folder_write("keeper.policy", CONFINES "allow read(fd == @call) \"x\"");
    CU_ASSERT_FALSE(policy_parse(policy_folder_path(), "keeper", POLICY_ARCH_X86_64, number_of_call,
                                 &policy, &error));
    CU_ASSERT_STRING_EQUAL(error.text, "policy/keeper.policy:2:18: '@call': keeper has no fixed "
                                       "fds, since it is no worker's policy");
    policy_folder_write("keeper.policy", NULL);
    CU_ASSERT_FALSE(policy_parse(policy_folder_path(), "keeper", POLICY_ARCH_X86_64, number_of_call,
                                 &policy, &error));
    CU_ASSERT_STRING_EQUAL(error.text, "policy/keeper.policy:1:1: policy/keeper.policy can't be "
                                       "read: No such file or directory");
}

/* The parser returns whatever is in a file. What it accepts is consistent. */
static void test_mutated_texts(void)
{
    static const char original[] =
        CONFINES "fd @image = @backend \"the image\"\n"
                 "[x86_64] allow epoll_wait(epfd == @epoll, timeout in {-1, 0x10}) \"waits\"\n"
                 "allow mmap(prot & ~(PROT_READ | PROT_WRITE) == 0, fd == -1) \"a\" \"b\"\n" SHARED;
    static const char letters[] = "a_@0x-\"'(){}[],&|~= \n#\\\t\x80";
    unsigned int accepted = 0, refused = 0;
    srandom(1);
    for (unsigned int n = 0; n < 2000; n++) {
        char text[sizeof(original)];
        memcpy(text, original, sizeof(text));
        for (long changes = random() % 3 + 1; changes > 0; changes--)
            text[random() % (long)(sizeof(text) - 1)] =
                letters[random() % (long)(sizeof(letters) - 1)];
        struct parsed_policy policy;
        struct policy_error error = {""};
        if (policy_folder_parse(text, "allow read(fd == @request) \"x\"", POLICY_ARCH_X86_64,
                                &policy, &error)) {
            CU_ASSERT(policy.listing.rule_count >= 1);
            policy_free(&policy);
            accepted++;
        } else {
            CU_ASSERT_EQUAL(strncmp(error.text, "policy/", 7), 0);
            refused++;
        }
    }
    CU_ASSERT(accepted > 50);
    CU_ASSERT(refused > 500);
}

/* ---- What is right ---- */

static const struct policy_condition *condition_of(const struct parsed_policy *policy,
                                                   unsigned int rule, unsigned int condition)
{
    CU_ASSERT_FATAL(rule < policy->listing.rule_count);
    CU_ASSERT_FATAL(condition < policy->listing.rules[rule].condition_count);
    return &policy->listing.rules[rule].conditions[condition];
}

static void test_conditions(void)
{
    struct parsed_policy policy;
    struct policy_error error = {""};
    CU_ASSERT_TRUE_FATAL(policy_folder_parse(
        CONFINES "fd @image = @backend \"the image\"\n"
                 "allow pwritev2(flags in {0, RWF_DSYNC}, fd == @image) \"writes\" \"much\"\n"
                 "    only \"where\" \"it can\" justified \"but\" \"in vain\"\n"
                 "allow mmap(prot & ~(PROT_READ | PROT_WRITE) == 0, fd == -1, offset == -1) \"m\"\n"
                 "allow socket(type & (SOCK_STREAM | SOCK_CLOEXEC) == SOCK_CLOEXEC) \"s\"\n",
        NULL, POLICY_ARCH_X86_64, &policy, &error));
    const struct policy_listing *listing = &policy.listing;
    CU_ASSERT_EQUAL(listing->rule_count, 3);
    CU_ASSERT_STRING_EQUAL(listing->confines, "a test");
    CU_ASSERT_STRING_EQUAL(listing->rules[0].call, "pwritev2");
    CU_ASSERT_STRING_EQUAL(listing->rules[0].reason, "writes much");
    CU_ASSERT_STRING_EQUAL(listing->rules[0].justified, "but in vain");
    CU_ASSERT_STRING_EQUAL(listing->rules[0].only, "where it can");
    CU_ASSERT_PTR_NULL(listing->rules[1].justified);
    CU_ASSERT_PTR_NULL(listing->rules[1].only);
    CU_ASSERT_STRING_EQUAL(listing->rules[0].source, "policy/block/virtio.policy:3");
    CU_ASSERT_PTR_NULL(listing->rules[0].included);

    const struct policy_condition *flags = condition_of(&policy, 0, 0);
    CU_ASSERT_EQUAL(flags->index, 5);
    CU_ASSERT_EQUAL(flags->mask, 0xffffffffu);
    CU_ASSERT_EQUAL(flags->value_count, 2);
    CU_ASSERT_EQUAL(flags->values[1], 2);
    CU_ASSERT_STRING_EQUAL(flags->spelled[1], "RWF_DSYNC");
    CU_ASSERT_STRING_EQUAL(flags->text, "flags in {0, RWF_DSYNC}");
    CU_ASSERT_STRING_EQUAL(flags->words, "flags is 0 or RWF_DSYNC");
    const struct policy_condition *fd = condition_of(&policy, 0, 1);
    CU_ASSERT_EQUAL(fd->values[0], 8);
    CU_ASSERT_STRING_EQUAL(fd->words, "fd is the image (fd 8)");

    const struct policy_condition *prot = condition_of(&policy, 1, 0);
    CU_ASSERT_EQUAL(prot->mask, ~3ull);
    CU_ASSERT_STRING_EQUAL(prot->words, "prot has no bits but (PROT_READ | PROT_WRITE)");
    CU_ASSERT_EQUAL(condition_of(&policy, 1, 1)->values[0], 0xffffffffu);
    CU_ASSERT_EQUAL(condition_of(&policy, 1, 2)->values[0], UINT64_MAX);
    const struct policy_condition *type = condition_of(&policy, 2, 0);
    CU_ASSERT_EQUAL(type->mask, 02000001);
    CU_ASSERT_EQUAL(type->values[0], 02000000);
    CU_ASSERT_STRING_EQUAL(type->words,
                           "of the bits (SOCK_STREAM | SOCK_CLOEXEC), type has just SOCK_CLOEXEC");
    policy_free(&policy);
}

static void test_includes_and_architectures(void)
{
    for (enum policy_arch arch = 0; arch < POLICY_ARCHES; arch++) {
        struct parsed_policy policy;
        struct policy_error error = {""};
        CU_ASSERT_TRUE_FATAL(policy_folder_parse(
            CONFINES SHARED "[aarch64, riscv64] allow openat(flags == O_DIRECTORY) \"x\"\n"
                            "[x86_64] allow open(flags == O_DIRECTORY) \"y\"",
            "\nallow ppoll() \"z\"", arch, &policy, &error));
        const struct policy_rule *rules = policy.listing.rules;
        CU_ASSERT_EQUAL_FATAL(policy.listing.rule_count, 2);
        CU_ASSERT_STRING_EQUAL(rules[0].source, "policy/shared.inc:2");
        CU_ASSERT_STRING_EQUAL(rules[0].included, "policy/block/virtio.policy:2");
        static const uint64_t directory[POLICY_ARCHES] = {0200000, 040000, 0200000};
        CU_ASSERT_STRING_EQUAL(rules[1].call, arch == POLICY_ARCH_X86_64 ? "open" : "openat");
        CU_ASSERT_EQUAL(rules[1].conditions[0].values[0], directory[arch]);
        CU_ASSERT_EQUAL(rules[1].number, arch == POLICY_ARCH_X86_64 ? 2 : 56);
        policy_free(&policy);
    }
}

/* These rules look alike, but each allows something that the others do not. */
static void test_rules_side_by_side(void)
{
    struct parsed_policy policy;
    struct policy_error error = {""};
    CU_ASSERT_TRUE(policy_folder_parse(
        CONFINES "allow read(fd == 1) \"x\" allow read(fd == 2) \"y\" allow read(count == 1) \"z\""
                 "allow mmap(prot & PROT_EXEC == 0) \"x\" allow mmap(prot & PROT_READ == 0) \"y\"",
        NULL, POLICY_ARCH_X86_64, &policy, &error));
    CU_ASSERT_EQUAL(policy.listing.rule_count, 5);
    policy_free(&policy);
}

/* ---- The vocabulary ---- */

static void test_vocabulary(void)
{
    for (const struct call_signature *row = call_signatures; row->name; row++) {
        CU_ASSERT(row == call_signatures || strcmp(row[-1].name, row->name) < 0);
        CU_ASSERT_PTR_EQUAL(call_signature_find(row->name), row);
        unsigned int known = 0;
        for (enum policy_arch arch = 0; arch < POLICY_ARCHES; arch++) {
            uint32_t number;
            known += number_of_call(row->name, arch, &number);
        }
        CU_ASSERT(known > 0);
    }
    for (const struct constant *row = constants; row->name; row++)
        CU_ASSERT_PTR_EQUAL(constant_find(row->name), row);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"test_mistakes", test_mistakes},
        {"test_no_fds_outside_of_workers", test_no_fds_outside_of_workers},
        {"test_mutated_texts", test_mutated_texts},
        {"test_conditions", test_conditions},
        {"test_includes_and_architectures", test_includes_and_architectures},
        {"test_rules_side_by_side", test_rules_side_by_side},
        {"test_vocabulary", test_vocabulary},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {{.pName = "policy texts",
                              .pInitFunc = policy_folder_make,
                              .pCleanupFunc = policy_folder_remove,
                              .pTests = tests},
                             CU_SUITE_INFO_NULL};
    return run_suites(argc, argv, suites);
}
