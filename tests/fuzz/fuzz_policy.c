/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar of policies, read for every architecture. An input is a policy; behind the first NUL
 * is the text that it can include. So no file is needed: fopen is replaced. Policies with few rules
 * are compiled. That also checks the program against its text.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "policy/compiler/compile.h"
#include "policy/compiler/number.h"
#include "tests/fuzz/violated.h"

#define DIRECTORY "/fuzzed"
#define POLICY "block/virtio" /* this one has fds */
#define COMPILED_RULES_MAX 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    const uint8_t *data;
    size_t size;
} policy_text, include_text;

FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);

FILE *__wrap_fopen(const char *path, const char *mode)
{
    if (strncmp(path, DIRECTORY "/", strlen(DIRECTORY "/")) != 0)
        return __real_fopen(path, mode);
    require(!strstr(path, "/../"), "an include outside of the directory");
    bool is_policy = strcmp(path, DIRECTORY "/" POLICY ".policy") == 0;
    if (!is_policy && strcmp(path, DIRECTORY "/worker.inc") != 0) {
        errno = ENOENT;
        return NULL;
    }
    const uint8_t *data = is_policy ? policy_text.data : include_text.data;
    size_t size = is_policy ? policy_text.size : include_text.size;
    /* The data is only read. glibc's fmemopen does not accept an empty buffer. */
    return size > 0 ? fmemopen((void *)(uintptr_t)data, size, "r")
                    : __real_fopen("/dev/null", "re");
}

static void check_rules(const struct policy_listing *listing)
{
    require(listing->confines && listing->confines[0] != '\0', "confines");
    require(listing->rule_count > 0 && listing->rule_count <= POLICY_RULES_MAX, "rule_count");
    for (unsigned int r = 0; r < listing->rule_count; r++) {
        const struct policy_rule *rule = &listing->rules[r];
        require(rule->call && rule->reason && rule->reason[0] != '\0' && rule->source, "a rule");
        require(!rule->justified || rule->justified[0] != '\0', "a justification");
        require(!rule->only || rule->only[0] != '\0', "where alone it is used");
        require(rule->condition_count <= POLICY_ARGUMENTS, "condition_count");
        for (unsigned int c = 0; c < rule->condition_count; c++) {
            const struct policy_condition *condition = &rule->conditions[c];
            require(condition->index < POLICY_ARGUMENTS, "argument");
            require(condition->mask != 0, "mask");
            require(condition->value_count > 0 && condition->value_count <= POLICY_VALUES_MAX,
                    "value_count");
            for (unsigned int v = 0; v < condition->value_count; v++)
                require((condition->values[v] & ~condition->mask) == 0 && condition->spelled[v],
                        "a value");
        }
    }
}

/* An error says where and what is wrong: "policy/...:LINE:COLUMN: words". */
static void check_error(const struct policy_error *error)
{
    size_t length = strnlen(error->text, sizeof(error->text));
    require(length > 0 && length < sizeof(error->text), "an error without words");
    require(strncmp(error->text, "policy/", 7) == 0, "an error without a place");
    require(!strchr(error->text, '\n'), "an error of several lines");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size > 0 ? memchr(data, 0, size) : NULL;
    policy_text.data = data;
    policy_text.size = nul ? (size_t)(nul - data) : size;
    include_text.data = nul ? nul + 1 : data;
    include_text.size = nul ? size - policy_text.size - 1 : 0;
    for (enum policy_arch arch = 0; arch < POLICY_ARCHES; arch++) {
        struct parsed_policy policy;
        struct policy_error error = {""};
        if (!policy_parse(DIRECTORY, POLICY, arch, number_of_call, &policy, &error)) {
            check_error(&error);
            continue;
        }
        check_rules(&policy.listing);
        if (policy.listing.rule_count <= COMPILED_RULES_MAX && !policy_compile(&policy, &error))
            check_error(&error);
        policy_free(&policy);
    }
    return 0;
}
