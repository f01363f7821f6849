/* SPDX-License-Identifier: Apache-2.0 */
/* From rules to programs. Each program does what its text says, on every architecture. The build's
 * check notices a program that does not. The same text gives the same bytes. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/bpf.h"
#include "policy/catalog.h"
#include "policy/compiler/compile.h"
#include "policy/compiler/emit.h"
#include "policy/compiler/number.h"
#include "policy/compiler/prove.h"
#include "policy_folder.h"
#include "tests/cunit_main.h"

#define GENERIC_NUMBERS "/usr/include/asm-generic/unistd.h"
#define EVALUATIONS 1000000u

static uint64_t next_random(void)
{
    static uint64_t state = 0x9e3779b97f4a7c15ull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* ---- The interpreter ---- */

static const struct refused {
    struct sock_filter program[3];
    size_t length, index;
    const char *wrong;
} refused[] = {
    {{{0}}, 0, 0, "has a length that the kernel refuses"},
    {{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4)}, 1, 0, "falls off the end"},
    {{BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 4)}, 1, 0, "falls off the end"},
    {{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
     2,
     0,
     "loads from outside of seccomp_data"},
    {{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
     2,
     0,
     "loads from outside of seccomp_data"},
    {{BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
     2,
     0,
     "jumps off the end"},
    {{BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 1, 1, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
     2,
     0,
     "jumps off the end"},
    {{BPF_STMT(BPF_JMP | BPF_JA, 0xffffffff), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
     2,
     0,
     "jumps off the end"},
    {{BPF_STMT(BPF_JMP | BPF_JA, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_THREAD)},
     2,
     1,
     "returns neither ALLOW nor KILL_PROCESS"},
    {{BPF_STMT(BPF_JMP | BPF_JA, 0), BPF_STMT(BPF_RET | BPF_A, 0)},
     2,
     1,
     "has an opcode that no filter of ours needs"},
    {{BPF_STMT(BPF_ALU | BPF_OR | BPF_K, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
     2,
     0,
     "has an opcode that no filter of ours needs"},
};

static void test_validator_refuses(void)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        size_t index = 99;
        const char *wrong = bpf_validate(refused[i].program, refused[i].length, &index);
        CU_ASSERT_PTR_NOT_NULL_FATAL(wrong);
        CU_ASSERT_STRING_EQUAL(wrong, refused[i].wrong);
        CU_ASSERT_EQUAL(index, refused[i].index);
    }
    static struct sock_filter long_one[BPF_MAXINSNS + 1];
    size_t index;
    CU_ASSERT_PTR_NOT_NULL(bpf_validate(long_one, BPF_MAXINSNS + 1, &index));
}

/* "Is x (opcode) k?" of the first word of seccomp_data. */
static uint32_t compare(unsigned int operation, uint32_t x, uint32_t k)
{
    const struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP((unsigned short)(BPF_JMP | operation | BPF_K), k, 0, 2),
        BPF_STMT(BPF_JMP | BPF_JA, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    const struct seccomp_data data = {.nr = (int)x};
    size_t index;
    CU_ASSERT_PTR_NULL(bpf_validate(program, sizeof(program) / sizeof(program[0]), &index));
    return bpf_run(program, &data);
}

static void test_interpreter(void)
{
    const uint32_t allow = SECCOMP_RET_ALLOW, kill = SECCOMP_RET_KILL_PROCESS;
    CU_ASSERT_EQUAL(compare(BPF_JEQ, 7, 7), allow);
    CU_ASSERT_EQUAL(compare(BPF_JEQ, 7, 8), kill);
    CU_ASSERT_EQUAL(compare(BPF_JGT, 8, 7), allow);
    CU_ASSERT_EQUAL(compare(BPF_JGT, 7, 7), kill);
    CU_ASSERT_EQUAL(compare(BPF_JGT, 0x80000000, 7), allow); /* compared as unsigned */
    CU_ASSERT_EQUAL(compare(BPF_JGE, 7, 7), allow);
    CU_ASSERT_EQUAL(compare(BPF_JGE, 6, 7), kill);
    CU_ASSERT_EQUAL(compare(BPF_JSET, 6, 2), allow);
    CU_ASSERT_EQUAL(compare(BPF_JSET, 4, 2), kill);

    const struct sock_filter masked[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5]) + 4),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xf0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x30, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct seccomp_data data = {.args[5] = 0x1234564f30303030ull};
    CU_ASSERT_EQUAL(bpf_run(masked, &data), kill);
    data.args[5] = 0x1234563a00000000ull;
    CU_ASSERT_EQUAL(bpf_run(masked, &data), allow);
}

/* ---- Compiled programs ---- */

/* A call that differs little from one that a rule of the listing allows. */
static struct seccomp_data near_call(const struct policy_listing *listing)
{
    const struct policy_rule *rule = &listing->rules[next_random() % listing->rule_count];
    bool other_arch = next_random() % 16 == 0, other_number = next_random() % 8 == 0;
    struct seccomp_data data = {
        .nr = (int)(rule->number + other_number),
        .arch = policy_arch_token(other_arch ? (listing->arch + 1) % POLICY_ARCHES : listing->arch),
    };
    for (unsigned int i = 0; i < POLICY_ARGUMENTS; i++)
        data.args[i] = next_random();
    for (unsigned int i = 0; i < rule->condition_count; i++) {
        const struct policy_condition *condition = &rule->conditions[i];
        uint64_t other = (uint64_t)data.args[condition->index] & ~condition->mask;
        uint64_t value = condition->values[next_random() % condition->value_count];
        uint64_t flip = next_random() % 8 == 0 ? 1ull << (next_random() % 64) : 0;
        data.args[condition->index] = (value | other) ^ flip;
    }
    return data;
}

/* This is done for each policy and architecture of this build. */
static void test_programs_do_what_their_texts_say(void)
{
    unsigned int listings = 0, allowed = 0;
    for (const struct policy_listing *at = policy_catalog; at->program.name; at++)
        listings++;
    CU_ASSERT_FATAL(listings >= 4 * POLICY_ARCHES);
    for (unsigned int n = 0; n < EVALUATIONS; n++) {
        const struct policy_listing *listing = &policy_catalog[n % listings];
        struct seccomp_data data = near_call(listing);
        bool allows = policy_allows(listing, &data) != NULL;
        uint32_t found = bpf_run(listing->program.filter, &data);
        CU_ASSERT_FATAL(found == (allows ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL_PROCESS));
        allowed += allows;
    }
    CU_ASSERT(allowed > EVALUATIONS / 4 && allowed < EVALUATIONS * 9 / 10);
}

/* Rules that libseccomp has to combine. */
static void test_entangled_rules(void)
{
    static const char text[] =
        "confines \"a test\"\n"
        "allow fcntl(fd == 1, cmd == F_SETFL, arg == 0) \"x\"\n"
        "allow fcntl(fd == 1, cmd == F_SETFL, arg & ~O_NONBLOCK == O_APPEND) \"x\"\n"
        "allow fcntl(fd == 1, cmd in {F_GETFL, F_GETFD}) \"x\"\n"
        "allow fcntl(fd == 2, arg == 0x100000001) \"x\"\n"
        "allow fcntl(fd == -1, arg in {1, 0x100000000, -1}) \"x\"\n"
        "allow mmap(prot & PROT_EXEC == 0, flags & MAP_SHARED == 0) \"x\"\n"
        "allow mmap(prot & (PROT_EXEC | PROT_WRITE) == PROT_EXEC, fd == 3) \"x\"\n"
        "allow mmap(length & 0xfff00000fff == 0x80000000001, fd == 4, prot == 7) \"x\"\n";
    for (enum policy_arch arch = 0; arch < POLICY_ARCHES; arch++) {
        struct parsed_policy policy;
        struct policy_error error = {""};
        bool parsed = policy_folder_parse(text, NULL, arch, &policy, &error);
        CU_ASSERT_STRING_EQUAL(error.text, "");
        CU_ASSERT_TRUE_FATAL(parsed);
        CU_ASSERT_TRUE(policy_compile(&policy, &error));
        CU_ASSERT_STRING_EQUAL(error.text, "");
        CU_ASSERT_EQUAL(policy.listing.program.calls, 2);
        policy_free(&policy);
    }
}

/* ---- The check of the build ---- */

static bool same_answers(const struct policy_listing *listing, const struct sock_filter *changed)
{
    for (unsigned int n = 0; n < 2000; n++) {
        struct seccomp_data data = near_call(listing);
        if (bpf_run(changed, &data) != bpf_run(listing->program.filter, &data))
            return false;
    }
    return true;
}

#define CHANGES 7

static void change_instruction(struct sock_filter *at, unsigned int change)
{
    uint8_t jt = at->jt;
    switch (change) {
    case 0:
        at->k ^= 1;
        break;
    case 1:
        at->k ^= 0x80000000;
        break;
    case 2:
        at->jt = at->jf;
        at->jf = jt;
        break;
    case 3:
        at->jt++;
        break;
    case 4:
        at->jf++;
        break;
    case 5:
        at->k += 4;
        break;
    default:
        if (at->code == (BPF_RET | BPF_K))
            at->k = at->k == SECCOMP_RET_ALLOW ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ALLOW;
    }
}

/*
 * Every instruction is changed in several ways. If the proof still accepts a changed program, that
 * program must have the same effect. Such programs exist: libseccomp compares upper halves that it
 * has masked out.
 */
static void test_proof_notices_changed_programs(void)
{
    unsigned int noticed = 0, harmless = 0;
    for (const struct policy_listing *listing = policy_catalog; listing->program.name; listing++) {
        size_t size = listing->program.length * sizeof(struct sock_filter), wrong;
        struct sock_filter *copy = malloc(size);
        CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
        struct policy_listing changed = *listing;
        changed.program.filter = copy;
        for (unsigned int i = 0; i < CHANGES * listing->program.length; i++) {
            struct policy_error error = {""};
            memcpy(copy, listing->program.filter, size);
            change_instruction(&copy[i / CHANGES], i % CHANGES);
            bool is_program = bpf_validate(copy, listing->program.length, &wrong) == NULL;
            if (!is_program || memcmp(copy, listing->program.filter, size) == 0)
                continue;
            if (policy_prove(&changed, &error)) {
                CU_ASSERT_TRUE(same_answers(listing, copy));
                harmless++;
            } else {
                CU_ASSERT_STRING_NOT_EQUAL(error.text, "");
                noticed++;
            }
        }
        free(copy);
    }
    CU_ASSERT(noticed > 2000);
    CU_ASSERT(harmless < noticed / 2);
}

/* One program is exchanged for another. */
static void test_check_notices_exchanged_programs(void)
{
    for (const struct policy_listing *listing = policy_catalog; listing->program.name; listing++) {
        struct policy_error error;
        CU_ASSERT_TRUE(policy_prove(listing, &error));
        struct policy_listing exchanged = *listing;
        exchanged.program = (listing == policy_catalog ? listing[1] : listing[-1]).program;
        CU_ASSERT_FALSE(policy_prove(&exchanged, &error));
    }
}

/* The text has one rule more, or one rule less, than the program. */
static void test_check_notices_changed_rules(void)
{
    unsigned int changes = 0;
    for (const struct policy_listing *listing = policy_catalog; listing->program.name; listing++) {
        struct policy_error error;
        struct policy_listing shorter = *listing;
        shorter.rule_count--;
        CU_ASSERT_FALSE(policy_prove(&shorter, &error));

        struct policy_rule *rules = malloc(listing->rule_count * sizeof(*rules));
        CU_ASSERT_PTR_NOT_NULL_FATAL(rules);
        for (unsigned int r = 0; r < listing->rule_count; r++) {
            memcpy(rules, listing->rules, listing->rule_count * sizeof(*rules));
            if (rules[r].condition_count == 0)
                continue;
            rules[r].condition_count--;
            struct policy_listing looser = *listing;
            looser.rules = rules;
            CU_ASSERT_FALSE(policy_prove(&looser, &error));
            changes++;
        }
        free(rules);
    }
    CU_ASSERT(changes > 30);
}

/* ---- What is written ---- */

struct written {
    char *text;
    size_t size;
};

static struct written write_all(const char *directory,
                                void (*emit)(FILE *, const struct parsed_policy *, size_t))
{
    static const char *const names[] = {
        "block/virtio", "console/virtio", "net/vhost",    "net/vhost", "net/virtio",
        "rng/virtio",   "vsock/vhost",    "vsock/virtio", "keeper",    "broker"};
    enum { COUNT = sizeof(names) / sizeof(names[0]) };
    struct parsed_policy policies[COUNT];
    struct policy_error error = {""};
    for (size_t i = 0; i < COUNT; i++) {
        CU_ASSERT_TRUE_FATAL(policy_parse(directory, names[i], POLICY_ARCH_AARCH64, number_of_call,
                                          &policies[i], &error));
        CU_ASSERT_TRUE_FATAL(policy_compile(&policies[i], &error));
    }
    struct written written;
    FILE *file = open_memstream(&written.text, &written.size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    emit(file, policies, COUNT);
    CU_ASSERT_EQUAL(fclose(file), 0);
    for (size_t i = 0; i < COUNT; i++)
        policy_free(&policies[i]);
    return written;
}

static void test_same_text_same_bytes(void)
{
    void (*const emits[])(FILE *, const struct parsed_policy *, size_t) = {emit_table,
                                                                           emit_catalog};
    char elsewhere[256];
    snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", policy_folder_path());
    CU_ASSERT_EQUAL_FATAL(symlink(POLICY_DIR, elsewhere), 0);
    for (size_t i = 0; i < 2; i++) {
        struct written here = write_all(POLICY_DIR, emits[i]);
        struct written there = write_all(elsewhere, emits[i]);
        CU_ASSERT(here.size > 1000);
        CU_ASSERT_EQUAL_FATAL(here.size, there.size);
        CU_ASSERT_EQUAL(memcmp(here.text, there.text, here.size), 0);
        CU_ASSERT_PTR_NULL(strstr(here.text, POLICY_DIR));
        CU_ASSERT_PTR_NULL(strstr(there.text, policy_folder_path()));
        free(here.text);
        free(there.text);
    }
    unlink(elsewhere);
}

/* The program that policy_table() links in is the one that bao-seccomp shows. */
static void test_table_is_as_in_catalog(void)
{
    unsigned int rows = 0;
    for (const struct policy_listing *at = policy_catalog; at->program.name; at++) {
        if (at->arch != POLICY_ARCH_NATIVE)
            continue;
        const struct policy_program *row = policy_find(at->program.name);
        CU_ASSERT_PTR_NOT_NULL_FATAL(row);
        CU_ASSERT_STRING_EQUAL(row->hash, at->program.hash);
        CU_ASSERT_EQUAL(row->calls, at->program.calls);
        CU_ASSERT_EQUAL_FATAL(row->length, at->program.length);
        CU_ASSERT_EQUAL(memcmp(row->filter, at->program.filter, row->length * sizeof(*row->filter)),
                        0);
        rows++;
    }
    unsigned int linked = 0;
    while (policy_programs[linked].name)
        linked++;
    CU_ASSERT_EQUAL(rows, linked);
    CU_ASSERT_PTR_NULL(policy_find("no/such"));
}

/* SHA-256 of a program; coreutils compute it. */
static void test_hash(void)
{
    for (const struct policy_listing *at = policy_catalog; at->program.name; at++) {
        char command[] = "sha256sum /tmp/test-policy-hash-XXXXXX";
        char *path = strchr(command, '/');
        int fd = mkstemp(path);
        CU_ASSERT_FATAL(fd >= 0);
        FILE *file = fdopen(fd, "w");
        CU_ASSERT_PTR_NOT_NULL_FATAL(file);
        emit_program(file, &at->program);
        CU_ASSERT_EQUAL(fclose(file), 0);

        char hash[65] = "";
        FILE *pipe = popen(command, "re");
        CU_ASSERT_PTR_NOT_NULL_FATAL(pipe);
        CU_ASSERT_EQUAL(fscanf(pipe, "%64s", hash), 1);
        CU_ASSERT_EQUAL(pclose(pipe), 0);
        unlink(path);
        CU_ASSERT_STRING_EQUAL(hash, at->program.hash);
    }
}

/* ---- Numbers ---- */

/* The value of "#define NAME value" in a header, perhaps through one more #define; or -1. */
static long defined_as(const char *header, const char *name)
{
    char pattern[80];
    snprintf(pattern, sizeof(pattern), "#define %s ", name);
    const char *at = strstr(header, pattern);
    if (!at)
        return -1;
    at += strlen(pattern);
    if (isdigit((unsigned char)*at))
        return strtol(at, NULL, 10);
    char other[64];
    return sscanf(at, "%63[A-Za-z0-9_]", other) == 1 && strcmp(other, name) != 0
               ? defined_as(header, other)
               : -1;
}

static char *read_header(const char *path)
{
    static char text[1 << 17];
    FILE *file = fopen(path, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    size_t length = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[length] = '\0';
    for (char *tab = text; (tab = strchr(tab, '\t')); tab++)
        *tab = ' ';
    return text;
}

/* libseccomp's numbers for aarch64 and riscv64 are those of the kernel's generic table. (Each
 * generated table asserts those of the build's target.) */
static void test_numbers_of_generic_table(void)
{
    const char *header = read_header(GENERIC_NUMBERS);
    unsigned int compared = 0;
    for (const struct call_signature *row = call_signatures; row->name; row++) {
        char name[64];
        snprintf(name, sizeof(name), "__NR_%s", row->name);
        long expected = defined_as(header, name);
        for (enum policy_arch arch = POLICY_ARCH_AARCH64; arch < POLICY_ARCHES; arch++) {
            uint32_t number;
            if (expected < 0 || !number_of_call(row->name, arch, &number))
                continue;
            CU_ASSERT_EQUAL(number, expected);
            compared++;
        }
    }
    CU_ASSERT(compared > 300);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"test_validator_refuses", test_validator_refuses},
        {"test_interpreter", test_interpreter},
        {"test_programs_do_what_their_texts_say", test_programs_do_what_their_texts_say},
        {"test_entangled_rules", test_entangled_rules},
        {"test_proof_notices_changed_programs", test_proof_notices_changed_programs},
        {"test_check_notices_exchanged_programs", test_check_notices_exchanged_programs},
        {"test_check_notices_changed_rules", test_check_notices_changed_rules},
        {"test_same_text_same_bytes", test_same_text_same_bytes},
        {"test_table_is_as_in_catalog", test_table_is_as_in_catalog},
        {"test_hash", test_hash},
        {"test_numbers_of_generic_table", test_numbers_of_generic_table},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {{.pName = "policy programs",
                              .pInitFunc = policy_folder_make,
                              .pCleanupFunc = policy_folder_remove,
                              .pTests = tests},
                             CU_SUITE_INFO_NULL};
    return run_suites(argc, argv, suites);
}
