/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/compiler/compile.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "policy/compiler/number.h"
#include "policy/compiler/prove.h"

/* Makes a context for this one architecture only, whatever the host's architecture is. */
static int make_context(enum policy_arch arch, scmp_filter_ctx *ret_context)
{
    scmp_filter_ctx context = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!context)
        return -ENOMEM;
    uint32_t token = number_of_arch(arch);
    int error = 0;
    if (seccomp_arch_exist(context, token) != 0) {
        error = seccomp_arch_remove(context, seccomp_arch_native());
        if (error == 0)
            error = seccomp_arch_add(context, token);
    }
    /* By default, libseccomp would kill only the thread that calls through another entry. */
    if (error == 0)
        error = seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    /* The filter compares one call after the other in the order of priority, since our filters are
     * short. */
    if (error == 0)
        error = seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 1);
    if (error != 0) {
        seccomp_release(context);
        return error;
    }
    *ret_context = context;
    return 0;
}

/*
 * Whole 64-bit arguments are compared for equality. All others are compared under a mask: the upper
 * half of a 32-bit argument has any value that the caller's register held. Ordered comparisons are
 * not used, since libseccomp 2.5.4 merges them wrongly.
 */
static struct scmp_arg_cmp comparison(const struct policy_condition *condition, uint64_t value)
{
    if (condition->mask == UINT64_MAX)
        return SCMP_CMP64(condition->index, SCMP_CMP_EQ, value);
    return SCMP_CMP64(condition->index, SCMP_CMP_MASKED_EQ, condition->mask, value);
}

/* Adds a rule once for each combination of its conditions' alternatives. */
static int add_rule(scmp_filter_ctx context, const struct policy_rule *rule)
{
    /* libseccomp takes the host's number and translates it by name. */
    int number = seccomp_syscall_resolve_name(rule->call);
    unsigned int choice[POLICY_ARGUMENTS] = {0};
    int error;
    do {
        struct scmp_arg_cmp comparisons[POLICY_ARGUMENTS];
        for (unsigned int i = 0; i < rule->condition_count; i++)
            comparisons[i] =
                comparison(&rule->conditions[i], rule->conditions[i].values[choice[i]]);
        error = seccomp_rule_add_exact_array(context, SCMP_ACT_ALLOW, number, rule->condition_count,
                                             comparisons);
    } while (error == 0 && policy_next_choice(rule, choice));
    return error;
}

static bool seen_before(const struct policy_listing *listing, unsigned int index)
{
    for (unsigned int i = 0; i < index; i++) {
        if (listing->rules[i].number == listing->rules[index].number)
            return true;
    }
    return false;
}

/* Adds all rules, the calls in the order of the text. */
static int add_rules(scmp_filter_ctx context, struct policy_listing *listing)
{
    uint8_t priority = UINT8_MAX;
    for (unsigned int i = 0; i < listing->rule_count; i++) {
        const struct policy_rule *rule = &listing->rules[i];
        int error = add_rule(context, rule);
        if (error == 0 && !seen_before(listing, i)) {
            listing->program.calls++;
            error = seccomp_syscall_priority(context, seccomp_syscall_resolve_name(rule->call),
                                             priority--);
        }
        if (error != 0)
            return error;
    }
    return 0;
}

/* libseccomp can export only into a file. */
static int export_program(scmp_filter_ctx context, struct arena *arena,
                          struct policy_program *program)
{
    int fd = memfd_create("policy", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int error = seccomp_export_bpf(context, fd);
    off_t size = error == 0 ? lseek(fd, 0, SEEK_END) : 0;
    size_t length = (size_t)size / sizeof(struct sock_filter);
    if (error == 0 && (size < 0 || length == 0 || length > BPF_MAXINSNS))
        error = -E2BIG;
    if (error == 0) {
        struct sock_filter *filter = arena_alloc(arena, (size_t)size);
        if (pread(fd, filter, (size_t)size, 0) != size)
            error = -EIO;
        program->filter = filter;
        program->length = (unsigned short)length;
    }
    close(fd);
    return error;
}

void policy_instruction_bytes(const struct sock_filter *instruction,
                              uint8_t bytes[static POLICY_INSTRUCTION_SIZE])
{
    bytes[0] = (uint8_t)instruction->code;
    bytes[1] = (uint8_t)(instruction->code >> 8);
    bytes[2] = instruction->jt;
    bytes[3] = instruction->jf;
    for (unsigned int i = 0; i < 4; i++)
        bytes[4 + i] = (uint8_t)(instruction->k >> (8 * i));
}

static const char *hash(struct arena *arena, const struct policy_program *program)
{
    struct sha256_ctx context;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&context);
    for (unsigned int i = 0; i < program->length; i++) {
        uint8_t bytes[POLICY_INSTRUCTION_SIZE];
        policy_instruction_bytes(&program->filter[i], bytes);
        sha256_update(&context, sizeof(bytes), bytes);
    }
    sha256_digest(&context, sizeof(digest), digest);
    char *text = arena_alloc(arena, 2 * sizeof(digest) + 1);
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    return text;
}

bool policy_compile(struct parsed_policy *policy, struct policy_error *ret_error)
{
    struct policy_listing *listing = &policy->listing;
    scmp_filter_ctx context;
    int error = make_context(listing->arch, &context);
    if (error == 0) {
        error = add_rules(context, listing);
        if (error == 0)
            error = export_program(context, &policy->arena, &listing->program);
        seccomp_release(context);
    }
    if (error != 0) {
        snprintf(ret_error->text, sizeof(ret_error->text), "policy/%s.policy: libseccomp, %s: %s",
                 listing->program.name, policy_arch_name(listing->arch), strerror(-error));
        return false;
    }
    listing->program.hash = hash(&policy->arena, &listing->program);
    return policy_prove(listing, ret_error);
}
