/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/author/score.h"

#include <stdio.h>
#include <string.h>

#include "policy/audit/danger.h"
#include "policy/audit/json.h"

/* Each power of a call counts once, by however many rules a policy gives it. */
static bool is_counted(const struct policy_listing *listing, unsigned int index,
                       const struct danger *danger)
{
    for (unsigned int r = 0; r < index; r++) {
        if (strcmp(listing->rules[r].call, listing->rules[index].call) == 0 &&
            danger_of(&listing->rules[r]) == danger)
            return true;
    }
    return false;
}

/* The power that rule `index` adds to those of the rules before it, or NULL. */
static const struct danger *added(const struct policy_listing *listing, unsigned int index)
{
    const struct danger *danger = danger_of(&listing->rules[index]);
    return danger && !is_counted(listing, index, danger) ? danger : NULL;
}

static unsigned int count(const struct policy_listing *listing, size_t ret[RANKS])
{
    unsigned int points = 0;
    memset(ret, 0, RANKS * sizeof(ret[0]));
    for (unsigned int r = 0; r < listing->rule_count; r++) {
        const struct danger *danger = added(listing, r);
        if (!danger)
            continue;
        ret[danger->rank]++;
        points += rank_points(danger->rank);
    }
    return points;
}

static void print_score(const struct policy_listing *listing)
{
    size_t counts[RANKS];
    char words[80];
    unsigned int points = count(listing, counts);
    ranks_in_words(counts, words, sizeof(words));
    printf("%s on %s: %u%s%s\n", listing->program.name, policy_arch_name(listing->arch), points,
           points > 0 ? ", for " : "", words);
    for (int rank = RANKS - 1; rank >= 0; rank--) {
        for (unsigned int r = 0; r < listing->rule_count; r++) {
            const struct danger *danger = added(listing, r);
            if (danger && danger->rank == (enum rank)rank)
                printf("  %-6s %-16s %s: %s\n", rank_name(danger->rank), listing->rules[r].call,
                       danger->can, danger->reason);
        }
    }
}

static void json_score(const struct policy_listing *listing)
{
    size_t counts[RANKS];
    json_open('{');
    json_text_of("policy", listing->program.name);
    json_text_of("arch", policy_arch_name(listing->arch));
    json_number_of("score", count(listing, counts));
    for (int rank = RANKS - 1; rank >= 0; rank--)
        json_number_of(rank_name((enum rank)rank), counts[rank]);
    json_key("powers");
    json_open('[');
    for (unsigned int r = 0; r < listing->rule_count; r++) {
        const struct danger *danger = added(listing, r);
        if (!danger)
            continue;
        json_open('{');
        json_text_of("syscall", listing->rules[r].call);
        json_text_of("rank", rank_name(danger->rank));
        json_text_of("can", danger->can);
        json_text_of("because", danger->reason);
        json_text_of("justified", listing->rules[r].justified);
        json_close();
    }
    json_close();
    json_close();
}

int score(const struct question *question, const struct policy_listing *const *listings)
{
    bool json = question->format == FORMAT_JSON;
    if (json)
        json_open('[');
    for (size_t i = 0; listings[i]; i++) {
        if (question->selection.arch != POLICY_ARCHES &&
            question->selection.arch != listings[i]->arch)
            continue;
        if (json)
            json_score(listings[i]);
        else
            print_score(listings[i]);
    }
    if (json)
        json_close();
    return AUDIT_GOOD;
}
