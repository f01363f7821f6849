/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A power without a bound is a bug. Every rule of every worker's policy has its powers in the list,
 * each power has an attack, each attack has a test, and docs/SECURITY.md says the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/catalog.h"
#include "tests/attack/powers.h"
#include "tests/attack/test_attack.h"
#include "tests/cunit_main.h"

#define RULE_SIZE 1024u
#define TABLE_SIZE (1u << 17)
#define TABLE_BEGIN "<!-- made by test_powers --markdown -->\n"
#define TABLE_END "<!-- end of what test_powers makes -->\n"

static const char *const attack_names[ATTACK_COUNT] = {[ATTACK_NONE] = NULL,
#define X(name, words) [ATTACK_##name] = #name,
                                                       ATTACKS(X)
#undef X
};

/* ---- Rules ---- */

/* A worker's policy is "TYPE/DATA_PLANE"; the others have one word. */
static bool is_of_worker(const struct policy_listing *listing)
{
    return listing->arch == POLICY_ARCH_NATIVE && strchr(listing->program.name, '/') != NULL;
}

/* "call(condition, condition)", as it stands in policies. */
static void text_of(const struct policy_rule *rule, char ret[RULE_SIZE])
{
    int used = snprintf(ret, RULE_SIZE, "%s(", rule->call);
    for (unsigned int i = 0; i < rule->condition_count; i++)
        used += snprintf(ret + used, RULE_SIZE - (size_t)used, "%s%s", i > 0 ? ", " : "",
                         rule->conditions[i].text);
    used += snprintf(ret + used, RULE_SIZE - (size_t)used, ")");
    if ((size_t)used >= RULE_SIZE)
        abort();
}

static bool has_rule(const struct policy_listing *listing, const char *wanted)
{
    char text[RULE_SIZE];
    for (unsigned int r = 0; r < listing->rule_count; r++) {
        text_of(&listing->rules[r], text);
        if (strcmp(text, wanted) == 0)
            return true;
    }
    return false;
}

static bool is_listed(const char *rule)
{
    for (const struct power *power = powers; power->power; power++) {
        if (power->rule && strcmp(power->rule, rule) == 0)
            return true;
    }
    return false;
}

static void every_rule_has_its_powers_listed(void)
{
    char text[RULE_SIZE];
    unsigned int rules = 0;
    for (const struct policy_listing *at = policy_catalog; at->program.name; at++) {
        for (unsigned int r = 0; is_of_worker(at) && r < at->rule_count; r++, rules++) {
            text_of(&at->rules[r], text);
            if (!is_listed(text))
                fprintf(stderr, "\n%s: no row of tests/attack/powers.c is of\n    %s\n",
                        at->rules[r].source, text);
            CU_ASSERT_TRUE(is_listed(text));
        }
    }
    CU_ASSERT(rules > 50);
}

static void every_power_is_of_a_rule(void)
{
    for (const struct power *power = powers; power->power; power++) {
        bool found = !power->rule;
        for (const struct policy_listing *at = policy_catalog; at->program.name && !found; at++)
            found = is_of_worker(at) && has_rule(at, power->rule);
        if (!found)
            fprintf(stderr, "\ntests/attack/powers.c: no policy has the rule\n    %s\n",
                    power->rule);
        CU_ASSERT_TRUE(found);
        CU_ASSERT_PTR_NOT_NULL(power->bound);
        CU_ASSERT((power->attack != ATTACK_NONE) != (power->test != NULL));
    }
}

/* ---- Attacks ---- */

/* A test has the name of its attack, followed by a colon or a comma. */
static bool is_tested(const char *attack)
{
    const CU_TestInfo *const lists[] = {common_tests, backend_tests, daemon_tests, vhost_tests};
    const size_t length = strlen(attack);
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        for (const CU_TestInfo *test = lists[i]; test->pName; test++) {
            if (strncmp(test->pName, attack, length) == 0 &&
                (test->pName[length] == ':' || test->pName[length] == ','))
                return true;
        }
    }
    return false;
}

static void every_attack_has_a_power_and_a_test(void)
{
    for (unsigned int attack = ATTACK_NONE + 1; attack < ATTACK_COUNT; attack++) {
        bool found = false;
        for (const struct power *power = powers; power->power && !found; power++)
            found = power->attack == attack;
        if (!found || !is_tested(attack_names[attack]))
            fprintf(stderr, "\n%s: %s\n", attack_names[attack],
                    found ? "there is no test of it" : "no row of tests/attack/powers.c has it");
        CU_ASSERT_TRUE(found);
        CU_ASSERT_TRUE(is_tested(attack_names[attack]));
    }
}

/* ---- The document ---- */

static int add(char *table, int used, const char *format, const char *text)
{
    return used + snprintf(table + used, TABLE_SIZE - (size_t)used, format, text);
}

/* "all", or which policies have the rule. */
static int add_policies(char *table, int used, const char *rule)
{
    unsigned int all = 0, with = 0;
    for (const struct policy_listing *at = policy_catalog; at->program.name; at++) {
        all += is_of_worker(at);
        with += is_of_worker(at) && (!rule || has_rule(at, rule));
    }
    if (with == all)
        return add(table, used, "| %s |", "all");
    used = add(table, used, "%s", "|");
    const char *between = " ";
    for (const struct policy_listing *at = policy_catalog; at->program.name; at++) {
        if (is_of_worker(at) && has_rule(at, rule)) {
            used = add(table, used, "%s", between);
            used = add(table, used, "%s", at->program.name);
            between = ", ";
        }
    }
    return add(table, used, "%s", " |");
}

/* An earlier row has the same power and bound, for the same call: for example, for other fd
 * numbers. */
static bool is_said(const struct power *power)
{
    for (const struct power *other = powers; power->rule && other < power; other++) {
        size_t call = strcspn(power->rule, "(");
        if (other->rule && strncmp(other->rule, power->rule, call + 1) == 0 &&
            strcmp(other->power, power->power) == 0 && strcmp(other->bound, power->bound) == 0)
            return true;
    }
    return false;
}

static char *make_table(void)
{
    char *table = calloc(1, TABLE_SIZE);
    int used = add(table, 0, "%s",
                   "| policy | call | power | what bounds it | test |\n"
                   "| --- | --- | --- | --- | --- |\n");
    for (const struct power *power = powers; power->power; power++) {
        char call[RULE_SIZE] = "none";
        if (is_said(power))
            continue;
        if (power->rule)
            snprintf(call, sizeof(call), "`%.*s`", (int)strcspn(power->rule, "("), power->rule);
        used = add_policies(table, used, power->rule);
        used = add(table, used, " %s |", call);
        used = add(table, used, " %s |", power->power);
        used = add(table, used, " %s |", power->bound);
        used = add(table, used, " `%s` |\n",
                   power->attack != ATTACK_NONE ? attack_names[power->attack] : power->test);
    }
    return table;
}

static char *read_document(void)
{
    static char text[1 << 20];
    FILE *file = fopen(DOCUMENT, "re");
    size_t length = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
    text[length] = '\0';
    if (file)
        fclose(file);
    return text;
}

static void the_document_has_the_table(void)
{
    char *table = make_table();
    const char *begin = strstr(read_document(), TABLE_BEGIN);
    const char *end = begin ? strstr(begin, TABLE_END) : NULL;
    CU_ASSERT_PTR_NOT_NULL(end);
    bool same = end && strlen(table) == (size_t)(end - begin) - strlen(TABLE_BEGIN) &&
                strncmp(begin + strlen(TABLE_BEGIN), table, strlen(table)) == 0;
    if (!same)
        fprintf(stderr,
                "\ndocs/SECURITY.md: between its marks there has to be what test_powers --markdown "
                "prints\n");
    CU_ASSERT_TRUE(same);
    free(table);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--markdown") == 0) {
        char *table = make_table();
        fputs(table, stdout);
        free(table);
        return EXIT_SUCCESS;
    }
    CU_TestInfo tests[] = {
        {"every_rule_has_its_powers_listed", every_rule_has_its_powers_listed},
        {"every_power_is_of_a_rule", every_power_is_of_a_rule},
        {"every_attack_has_a_power_and_a_test", every_attack_has_a_power_and_a_test},
        {"the_document_has_the_table", the_document_has_the_table},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "residual powers", tests);
}
