/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/disassemble.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "policy/audit/audit.h"
#include "policy/audit/ways.h"

/* What is known before an instruction, by whatever way the program came there. */
struct knowledge {
    bool reached;
    const struct policy_rule
        *call;       /* a rule for the call that is being looked at; NULL: any call */
    uint32_t loaded; /* offset in seccomp_data from which the accumulator was loaded */
};

#define NOTHING_LOADED UINT32_MAX
#define OF(field) ((uint32_t)offsetof(struct seccomp_data, field))

static bool is_conditional(const struct sock_filter *at)
{
    return BPF_CLASS(at->code) == BPF_JMP && BPF_OP(at->code) != BPF_JA;
}

static const struct policy_rule *rule_of(const struct policy_listing *listing, uint32_t number)
{
    for (unsigned int i = 0; i < listing->rule_count; i++) {
        if (listing->rules[i].number == number)
            return &listing->rules[i];
    }
    return NULL;
}

static void merge(struct knowledge *into, const struct knowledge *from)
{
    if (!into->reached) {
        *into = *from;
        return;
    }
    if (into->call != from->call)
        into->call = NULL;
    if (into->loaded != from->loaded)
        into->loaded = NOTHING_LOADED;
}

/* Passes what is known before instruction i on to the instructions that may follow it. */
static void follow(const struct policy_listing *listing, unsigned int i, struct knowledge *known)
{
    const struct sock_filter *at = &listing->program.filter[i];
    struct knowledge next = known[i];
    if (BPF_CLASS(at->code) == BPF_RET)
        return;
    if (at->code == (BPF_LD | BPF_W | BPF_ABS))
        next.loaded = at->k;
    else if (BPF_CLASS(at->code) == BPF_LD || BPF_CLASS(at->code) == BPF_MISC)
        next.loaded = NOTHING_LOADED;
    if (!is_conditional(at)) {
        merge(&known[i + 1 + (BPF_CLASS(at->code) == BPF_JMP ? at->k : 0)], &next);
        return;
    }
    merge(&known[i + 1 + at->jf], &next);
    if (next.loaded == OF(nr) && BPF_OP(at->code) == BPF_JEQ)
        next.call = rule_of(listing, at->k);
    merge(&known[i + 1 + at->jt], &next);
}

static const char *jump_name(const struct sock_filter *at)
{
    switch (BPF_OP(at->code)) {
    case BPF_JEQ:
        return "jeq";
    case BPF_JGT:
        return "jgt";
    case BPF_JGE:
        return "jge";
    default:
        return "jset";
    }
}

static void write_jump(const struct sock_filter *at, unsigned int i, char *ret, size_t size)
{
    if (BPF_OP(at->code) == BPF_JA)
        snprintf(ret, size, "ja   %" PRIu32, i + 1 + at->k);
    else if (BPF_SRC(at->code) == BPF_X)
        snprintf(ret, size, "%-4s %-10s then %u else %u", jump_name(at), "x", i + 1 + at->jt,
                 i + 1 + at->jf);
    else
        snprintf(ret, size, "%-4s 0x%-8" PRIx32 " then %u else %u", jump_name(at), at->k,
                 i + 1 + at->jt, i + 1 + at->jf);
}

static void write_calculation(const struct sock_filter *at, char *ret, size_t size)
{
    static const char *const names[] = {"add", "sub", "mul", "div", "or", "and",
                                        "lsh", "rsh", "neg", "mod", "xor"};
    const char *name = names[BPF_OP(at->code) >> 4];
    if (BPF_OP(at->code) == BPF_NEG)
        snprintf(ret, size, "%s", name);
    else if (BPF_SRC(at->code) == BPF_X)
        snprintf(ret, size, "%-4s x", name);
    else
        snprintf(ret, size, "%-4s 0x%" PRIx32, name, at->k);
}

static void write_load(const struct sock_filter *at, char *ret, size_t size)
{
    const char *name = BPF_CLASS(at->code) == BPF_LD ? "ld" : "ldx";
    switch (BPF_MODE(at->code)) {
    case BPF_ABS:
        snprintf(ret, size, "%-4s [%" PRIu32 "]", name, at->k);
        break;
    case BPF_MEM:
        snprintf(ret, size, "%-4s M[%" PRIu32 "]", name, at->k);
        break;
    case BPF_LEN:
        snprintf(ret, size, "%-4s length", name);
        break;
    default:
        snprintf(ret, size, "%-4s 0x%" PRIx32, name, at->k);
    }
}

static void write_return(const struct sock_filter *at, char *ret, size_t size)
{
    uint32_t data = at->k & SECCOMP_RET_DATA;
    if (BPF_RVAL(at->code) == BPF_A)
        snprintf(ret, size, "ret  a");
    else if (at->k == SECCOMP_RET_ALLOW)
        snprintf(ret, size, "ret  ALLOW");
    else if (at->k == SECCOMP_RET_KILL_PROCESS)
        snprintf(ret, size, "ret  KILL_PROCESS");
    else if (at->k == SECCOMP_RET_KILL_THREAD)
        snprintf(ret, size, "ret  KILL_THREAD");
    else if ((at->k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO)
        snprintf(ret, size, "ret  ERRNO %" PRIu32, data);
    else
        snprintf(ret, size, "ret  0x%" PRIx32, at->k);
}

static void write_text(const struct sock_filter *at, unsigned int i, struct disassembled *line)
{
    size_t size = sizeof(line->text);
    switch (BPF_CLASS(at->code)) {
    case BPF_JMP:
        write_jump(at, i, line->text, size);
        break;
    case BPF_ALU:
        write_calculation(at, line->text, size);
        break;
    case BPF_RET:
        write_return(at, line->text, size);
        break;
    case BPF_ST:
    case BPF_STX:
        snprintf(line->text, size, "%-4s M[%" PRIu32 "]",
                 BPF_CLASS(at->code) == BPF_ST ? "st" : "stx", at->k);
        break;
    case BPF_MISC:
        snprintf(line->text, size, BPF_MISCOP(at->code) == BPF_TAX ? "tax" : "txa");
        break;
    default:
        write_load(at, line->text, size);
    }
}

static unsigned int argument_index(uint32_t offset)
{
    return (offset - OF(args)) / 8;
}

static bool is_high_half(uint32_t offset)
{
    return (offset - OF(args)) % 8 != 0;
}

static bool is_argument(uint32_t offset)
{
    return offset != NOTHING_LOADED && offset >= OF(args);
}

/* The next condition on this argument of this call after `last` (NULL: the first), or NULL. */
static const struct policy_condition *next_condition(const struct policy_listing *listing,
                                                     uint32_t number, unsigned int index,
                                                     const struct policy_condition *last)
{
    bool found_last = last == NULL;
    for (unsigned int r = 0; r < listing->rule_count; r++) {
        const struct policy_rule *rule = &listing->rules[r];
        for (unsigned int c = 0; c < rule->condition_count && rule->number == number; c++) {
            const struct policy_condition *condition = &rule->conditions[c];
            if (found_last && condition->index == index)
                return condition;
            found_last |= condition == last;
        }
    }
    return NULL;
}

static void comment_load(const struct policy_listing *listing, const struct knowledge *known,
                         uint32_t offset, struct disassembled *line)
{
    size_t size = sizeof(line->comment);
    if (offset == OF(nr)) {
        snprintf(line->comment, size, "the number of the call");
    } else if (offset == OF(arch)) {
        snprintf(line->comment, size, "the architecture of the call");
    } else if (is_argument(offset) && known->call) {
        const struct policy_condition *condition =
            next_condition(listing, known->call->number, argument_index(offset), NULL);
        snprintf(line->comment, size, "%s: %s half of %s", known->call->call,
                 is_high_half(offset) ? "high" : "low",
                 condition ? condition->argument : "an argument");
    }
}

/* How the policy's text spells the value with which half of an argument is compared. */
static const char *spelled(const struct policy_listing *listing, const struct knowledge *known,
                           uint32_t value)
{
    unsigned int shift = is_high_half(known->loaded) ? 32 : 0;
    const struct policy_condition *condition = NULL;
    for (;;) {
        condition =
            next_condition(listing, known->call->number, argument_index(known->loaded), condition);
        if (!condition)
            return NULL;
        if ((uint32_t)(condition->mask >> shift) == 0)
            continue;
        for (unsigned int v = 0; v < condition->value_count; v++) {
            if ((uint32_t)(condition->values[v] >> shift) == value)
                return condition->spelled[v];
        }
    }
}

static void comment_jump(const struct policy_listing *listing, const struct knowledge *known,
                         const struct sock_filter *at, struct disassembled *line)
{
    const char *words = NULL;
    if (known->loaded == OF(nr)) {
        const struct policy_rule *rule = rule_of(listing, at->k);
        bool x32 = BPF_OP(at->code) == BPF_JGE && at->k == 0x40000000;
        words = rule  ? rule->call
                : x32 ? "calls of the x32 ABI"
                      : audit_call_name(at->k, listing->arch);
    } else if (known->loaded == OF(arch) && at->k == policy_arch_token(listing->arch)) {
        words = policy_arch_name(listing->arch);
    } else if (is_argument(known->loaded) && known->call) {
        words = spelled(listing, known, at->k);
    }
    if (words)
        snprintf(line->comment, sizeof(line->comment), "%s", words);
}

int disassemble(const struct policy_listing *listing, struct disassembled *lines)
{
    const struct sock_filter *filter = listing->program.filter;
    unsigned int length = listing->program.length;
    size_t wrong;
    if (ways_validate(filter, length, &wrong) != NULL)
        return -EINVAL;
    struct knowledge *known = calloc(length, sizeof(*known));
    if (!known)
        return -ENOMEM;
    known[0] = (struct knowledge){.reached = true, .loaded = NOTHING_LOADED};
    for (unsigned int i = 0; i < length; i++) {
        lines[i] = (struct disassembled){0};
        write_text(&filter[i], i, &lines[i]);
        if (filter[i].code == (BPF_LD | BPF_W | BPF_ABS))
            comment_load(listing, &known[i], filter[i].k, &lines[i]);
        else if (is_conditional(&filter[i]))
            comment_jump(listing, &known[i], &filter[i], &lines[i]);
        follow(listing, i, known);
    }
    free(known);
    return 0;
}
