/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/access.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "policy/bpf.h"
#include "policy/walk.h"

static bool is_within(const struct access *narrow, const struct access *wide)
{
    if (narrow->number != wide->number)
        return false;
    for (unsigned int i = 0; i < POLICY_ARGUMENTS; i++) {
        if ((wide->masks[i] & ~narrow->masks[i]) != 0 ||
            ((narrow->values[i] ^ wide->values[i]) & wide->masks[i]) != 0)
            return false;
    }
    return true;
}

/* Do not add an item that another item covers already. */
static int add(struct access_set *set, const struct access *access)
{
    if (access_covers(set, access))
        return 0;
    size_t kept = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (!is_within(&set->items[i], access))
            set->items[kept++] = set->items[i];
    }
    set->count = kept;
    struct access *items = realloc(set->items, (kept + 1) * sizeof(*items));
    if (!items)
        return -ENOMEM;
    set->items = items;
    items[set->count++] = *access;
    return 0;
}

struct reader {
    struct access_set *set;
    uint32_t token; /* of the architecture; other ways are not looked at */
    int error;
};

static bool read_way(void *context, const struct walk_state *state, uint32_t result)
{
    struct reader *reader = context;
    const struct walk_word *nr = &state->words[WALK_WORD_OF(nr)];
    if (result != SECCOMP_RET_ALLOW)
        return true;
    /* A program that allows calls which it does not name is none of ours. */
    if (nr->known != UINT32_MAX || state->words[WALK_WORD_OF(arch)].value != reader->token) {
        reader->error = -EINVAL;
        return false;
    }
    struct access access = {.number = nr->value};
    for (unsigned int i = 0; i < POLICY_ARGUMENTS; i++) {
        access.masks[i] = walk_known(state, i);
        access.values[i] = walk_value(state, i);
    }
    reader->error = add(reader->set, &access);
    return reader->error == 0;
}

int access_of_program(const struct sock_filter *filter, size_t length, enum policy_arch arch,
                      struct access_set *ret)
{
    size_t index;
    struct access_set set = {0};
    struct reader reader = {.set = &set, .token = policy_arch_token(arch)};
    struct walk walk = {.leaf = read_way, .context = &reader};
    if (bpf_validate(filter, length, &index) != NULL)
        return -EINVAL;
    if (walk_program(&walk, filter, (struct walk_state){0})) {
        *ret = set;
        return 0;
    }
    access_free(&set);
    return reader.error != 0 ? reader.error : -EINVAL;
}

int access_of_rules(const struct policy_listing *listing, struct access_set *ret)
{
    struct access_set set = {0};
    for (unsigned int r = 0; r < listing->rule_count; r++) {
        const struct policy_rule *rule = &listing->rules[r];
        unsigned int choice[POLICY_ARGUMENTS] = {0};
        do {
            struct access access = {.number = rule->number};
            for (unsigned int c = 0; c < rule->condition_count; c++) {
                const struct policy_condition *condition = &rule->conditions[c];
                access.masks[condition->index] = condition->mask;
                access.values[condition->index] = condition->values[choice[c]];
            }
            int error = add(&set, &access);
            if (error < 0) {
                access_free(&set);
                return error;
            }
        } while (policy_next_choice(rule, choice));
    }
    *ret = set;
    return 0;
}

void access_free(struct access_set *set)
{
    free(set->items);
    *set = (struct access_set){0};
}

bool access_covers(const struct access_set *set, const struct access *access)
{
    for (size_t i = 0; i < set->count; i++) {
        if (is_within(access, &set->items[i]))
            return true;
    }
    return false;
}

bool access_names(const struct access_set *set, uint32_t number)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->items[i].number == number)
            return true;
    }
    return false;
}

bool access_words(const struct access *access, unsigned int index,
                  const struct policy_listing *listing, enum policy_arch arch, char *ret,
                  size_t size)
{
    uint64_t mask = access->masks[index], value = access->values[index];
    if (mask == 0)
        return false;
    const char *argument = audit_argument_name(audit_call_name(access->number, arch), index);
    char words[128];
    audit_value_words(listing, access->number, index, mask, value, words, sizeof(words));
    if (mask == UINT32_MAX || mask == UINT64_MAX)
        snprintf(ret, size, "%s is %s", argument, words);
    else
        snprintf(ret, size, "%s has %s of the bits 0x%" PRIx64, argument, words, mask);
    return true;
}
