/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/compiler/conditions.h"

#include <string.h>

/* What has been read of one condition so far. */
struct draft {
    struct policy_condition condition;
    uint64_t values[POLICY_VALUES_MAX];
    const char *spelled[POLICY_VALUES_MAX];
};

static const char *argument_names(struct arena *arena, const struct call_signature *signature)
{
    const char *names = "";
    for (unsigned int i = 0; i < POLICY_ARGUMENTS && signature->arguments[i].name; i++)
        names =
            arena_printf(arena, "%s%s%s", names, i == 0 ? "" : ", ", signature->arguments[i].name);
    return *names == '\0' ? "none" : names;
}

static bool find_argument(struct lexer *lexer, const struct call_signature *signature,
                          struct policy_condition *ret_condition)
{
    if (lexer->token.kind != TOKEN_NAME)
        return lex_error(lexer, "expected the name of an argument of %s (%s), found %s",
                         signature->name, argument_names(lexer->arena, signature),
                         lex_describe(lexer));
    for (unsigned int i = 0; i < POLICY_ARGUMENTS && signature->arguments[i].name; i++) {
        const struct call_argument *argument = &signature->arguments[i];
        if (strcmp(argument->name, lexer->token.text) == 0) {
            *ret_condition = (struct policy_condition){
                .argument = argument->name,
                .index = i,
                .bits = argument->bits,
                .mask = argument->bits == 64 ? UINT64_MAX : UINT32_MAX,
            };
            return lex_next(lexer);
        }
    }
    return lex_error(lexer, "%s has no argument '%s': expected %s", signature->name,
                     lexer->token.text, argument_names(lexer->arena, signature));
}

static bool add_value(struct lexer *lexer, const struct token *at, struct draft *draft,
                      const struct value *value)
{
    struct policy_condition *condition = &draft->condition;
    for (unsigned int i = 0; i < condition->value_count; i++) {
        if (draft->values[i] == value->number)
            return lex_error_at(lexer, at, "'%s' is the same value as '%s' before it", value->text,
                                draft->spelled[i]);
    }
    if (condition->value_count == POLICY_VALUES_MAX)
        return lex_error_at(lexer, at, "expected at most %d values", POLICY_VALUES_MAX);
    draft->values[condition->value_count] = value->number;
    draft->spelled[condition->value_count++] = value->text;
    return true;
}

/* '==' value; the token is behind '=='. */
static bool equal_test(struct scope *scope, struct lexer *lexer, struct draft *draft)
{
    struct policy_condition *condition = &draft->condition;
    struct token start = lexer->token;
    struct value value = {0};
    if (!scope_value(scope, lexer, condition->bits, &value) ||
        !add_value(lexer, &start, draft, &value))
        return false;
    condition->text = arena_printf(lexer->arena, "%s == %s", condition->argument, value.text);
    condition->words = arena_printf(lexer->arena, "%s is %s", condition->argument, value.words);
    return true;
}

/* 'in' '{' value { ',' value } '}'; the token is behind 'in'. */
static bool set_test(struct scope *scope, struct lexer *lexer, struct draft *draft)
{
    struct policy_condition *condition = &draft->condition;
    const char *text = "", *words = "";
    if (lexer->token.kind != '{')
        return lex_error(lexer, "expected '{', found %s", lex_describe(lexer));
    do {
        struct value value = {0};
        if (!lex_next(lexer))
            return false;
        struct token start = lexer->token;
        if (!scope_value(scope, lexer, condition->bits, &value) ||
            !add_value(lexer, &start, draft, &value))
            return false;
        bool first = condition->value_count == 1, last = lexer->token.kind != ',';
        text = arena_printf(lexer->arena, "%s%s%s", text, first ? "" : ", ", value.text);
        words = arena_printf(lexer->arena, "%s%s%s", words,
                             first  ? ""
                             : last ? " or "
                                    : ", ",
                             value.words);
    } while (lexer->token.kind == ',');
    if (lexer->token.kind != '}')
        return lex_error(lexer, "expected '|', ',' or '}', found %s", lex_describe(lexer));
    condition->text = arena_printf(lexer->arena, "%s in {%s}", condition->argument, text);
    condition->words = arena_printf(lexer->arena, "%s is %s", condition->argument, words);
    return lex_next(lexer);
}

/* '&' value '==' value; the token is behind '&'. */
static bool mask_test(struct scope *scope, struct lexer *lexer, struct draft *draft)
{
    struct policy_condition *condition = &draft->condition;
    struct value mask = {0}, value = {0};
    struct token mask_start = lexer->token;
    if (!scope_value(scope, lexer, condition->bits, &mask))
        return false;
    if (lexer->token.kind != TOKEN_EQUAL)
        return lex_error(lexer, "expected '|' or '==', found %s", lex_describe(lexer));
    if (mask.number == 0)
        return lex_error_at(lexer, &mask_start,
                            "the mask '%s' is 0, so that anything would be allowed", mask.text);
    if (!lex_next(lexer))
        return false;
    struct token value_start = lexer->token;
    if (!scope_value(scope, lexer, condition->bits, &value))
        return false;
    if ((value.number & ~mask.number) != 0)
        return lex_error_at(lexer, &value_start,
                            "'%s' has bits outside of the mask '%s', so that this never holds",
                            value.text, mask.text);
    condition->mask = mask.number;
    condition->text =
        arena_printf(lexer->arena, "%s & %s == %s", condition->argument, mask.text, value.text);
    if (value.number != 0)
        condition->words = arena_printf(lexer->arena, "of the bits %s, %s has just %s", mask.words,
                                        condition->argument, value.words);
    else if (mask.words[0] == '~')
        condition->words = arena_printf(lexer->arena, "%s has no bits but %s", condition->argument,
                                        mask.words + 1);
    else
        condition->words = arena_printf(lexer->arena, "%s has none of the bits %s",
                                        condition->argument, mask.words);
    return add_value(lexer, &value_start, draft, &value);
}

static bool condition(struct scope *scope, struct lexer *lexer,
                      const struct call_signature *signature, struct policy_condition *ret)
{
    struct draft draft = {0};
    if (!find_argument(lexer, signature, &draft.condition))
        return false;
    bool parsed;
    int test = lexer->token.kind;
    bool in = test == TOKEN_NAME && strcmp(lexer->token.text, "in") == 0;
    if (test != TOKEN_EQUAL && test != '&' && !in)
        return lex_error(lexer, "expected '==', 'in' or '&', found %s", lex_describe(lexer));
    if (!lex_next(lexer))
        return false;
    if (in)
        parsed = set_test(scope, lexer, &draft);
    else if (test == '&')
        parsed = mask_test(scope, lexer, &draft);
    else
        parsed = equal_test(scope, lexer, &draft);
    if (!parsed)
        return false;

    size_t count = draft.condition.value_count;
    uint64_t *values = arena_alloc(lexer->arena, count * sizeof(*values));
    const char **spelled = arena_alloc(lexer->arena, count * sizeof(*spelled));
    memcpy(values, draft.values, count * sizeof(*values));
    memcpy(spelled, draft.spelled, count * sizeof(*spelled));
    *ret = draft.condition;
    ret->values = values;
    ret->spelled = spelled;
    return true;
}

/* libseccomp takes only one comparison for each argument. */
static bool add_condition(struct lexer *lexer, const struct token *at, struct policy_rule *rule,
                          struct policy_condition *conditions,
                          const struct policy_condition *condition)
{
    for (unsigned int i = 0; i < rule->condition_count; i++) {
        if (conditions[i].index == condition->index)
            return lex_error_at(lexer, at,
                                "'%s' has a condition already: expected one for each argument",
                                condition->argument);
    }
    conditions[rule->condition_count++] = *condition; /* at most one for each argument */
    return true;
}

bool conditions_parse(struct scope *scope, struct lexer *lexer,
                      const struct call_signature *signature, struct policy_rule *rule)
{
    if (lexer->token.kind != '(')
        return true;
    if (!lex_next(lexer))
        return false;
    if (lexer->token.kind == ')')
        return lex_next(lexer);

    struct policy_condition *conditions =
        arena_alloc(lexer->arena, POLICY_ARGUMENTS * sizeof(*conditions));
    rule->conditions = conditions;
    for (;;) {
        struct token start = lexer->token;
        struct policy_condition next = {0};
        if (!condition(scope, lexer, signature, &next) ||
            !add_condition(lexer, &start, rule, conditions, &next))
            return false;
        if (lexer->token.kind == ')')
            return lex_next(lexer);
        if (lexer->token.kind != ',')
            return lex_error(lexer, "expected '|', ',' or ')', found %s", lex_describe(lexer));
        if (!lex_next(lexer))
            return false;
    }
}

static const struct policy_condition *on_argument(const struct policy_rule *rule,
                                                  unsigned int index)
{
    for (unsigned int i = 0; i < rule->condition_count; i++) {
        if (rule->conditions[i].index == index)
            return &rule->conditions[i];
    }
    return NULL;
}

static bool has_value(const struct policy_condition *condition, uint64_t value)
{
    for (unsigned int i = 0; i < condition->value_count; i++) {
        if (condition->values[i] == value)
            return true;
    }
    return false;
}

/* Whether `wide` allows some alternative of `narrow` completely, argument by argument. */
static bool covers_some(const struct policy_rule *wide, const struct policy_rule *narrow)
{
    for (unsigned int i = 0; i < wide->condition_count; i++) {
        const struct policy_condition *asked = &wide->conditions[i];
        const struct policy_condition *given = on_argument(narrow, asked->index);
        if (!given || (asked->mask & ~given->mask) != 0)
            return false;
        bool some = false;
        for (unsigned int v = 0; v < given->value_count; v++)
            some |= has_value(asked, given->values[v] & asked->mask);
        if (!some)
            return false;
    }
    return true;
}

const char *conditions_clash(const struct policy_rule *earlier, const struct policy_rule *later)
{
    if (strcmp(earlier->call, later->call) != 0)
        return NULL;
    bool covered = covers_some(earlier, later), covers = covers_some(later, earlier);
    if (covered && covers)
        return "repeats, at least in part,";
    if (covered)
        return "is covered, at least in part, by";
    return covers ? "covers, at least in part," : NULL;
}
