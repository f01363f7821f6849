/* SPDX-License-Identifier: Apache-2.0 */
/* bao-seccomp as its user meets it: answers, exit statuses, and JSON that a parser accepts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "policy/catalog.h"
#include "tests/cunit_main.h"
#include "tool.h"

/* ---- For people ---- */

static void test_wrong_questions(void)
{
    CU_ASSERT_EQUAL(tool_run(""), 2);
    CU_ASSERT(tool_says("Usage: bao-seccomp VERB"));
    CU_ASSERT_EQUAL(tool_run("lst"), 2);
    CU_ASSERT(tool_says(
        "bao-seccomp: no verb 'lst': expected list, show, hash, notes, export, check, diff, "
        "explain or verify\n"));
    CU_ASSERT_EQUAL(tool_run("list no/such"), 2);
    CU_ASSERT(tool_says("bao-seccomp: no policy 'no/such': expected one of\n  block/io_uring "));
    CU_ASSERT(tool_says("\n  vsock/vhost "));
    CU_ASSERT_EQUAL(tool_run("list --arch sparc"), 2);
    CU_ASSERT(tool_says("no architecture 'sparc': expected x86_64, aarch64, riscv64 or all"));
    CU_ASSERT_EQUAL(tool_run("hash keeper broker"), 2);
    CU_ASSERT(tool_says("unexpected argument 'broker': expected one policy at most"));
    CU_ASSERT_EQUAL(tool_run("list --josn"), 2);
    static const char *const to_a_full_disk[] = {"list > /dev/full", "--help > /dev/full",
                                                 "--version > /dev/full"};
    for (size_t i = 0; i < sizeof(to_a_full_disk) / sizeof(to_a_full_disk[0]); i++) {
        CU_ASSERT_EQUAL(tool_run(to_a_full_disk[i]), 2);
        CU_ASSERT_STRING_EQUAL(
            tool_answer, "bao-seccomp: the answer could not be written: No space left on device\n");
    }
}

static void test_help_and_version(void)
{
    CU_ASSERT_EQUAL(tool_run("--help"), 0);
    CU_ASSERT(tool_says("Exit status:"));
    CU_ASSERT(tool_says("  keeper "));
    CU_ASSERT_EQUAL(tool_run("--version"), 0);
    CU_ASSERT_STRING_EQUAL(tool_answer, "bao-seccomp " BVDM_VERSION "\n");
}

/* A list names every call, condition, reason and place. This one is in the order of the text. */
static void test_list(void)
{
    for (const struct policy_listing *at = policy_catalog; at->program.name; at++) {
        char arguments[64];
        snprintf(arguments, sizeof(arguments), "list %s --arch %s", at->program.name,
                 policy_arch_name(at->arch));
        CU_ASSERT_EQUAL(tool_run(arguments), 0);
        const char *rest = tool_answer;
        for (unsigned int r = 0; r < at->rule_count && rest; r++) {
            const struct policy_rule *rule = &at->rules[r];
            rest = strstr(rest, rule->call);
            for (unsigned int c = 0; c < rule->condition_count && rest; c++)
                rest = strstr(rest, rule->conditions[c].words);
            rest = rest ? strstr(rest, rule->reason) : NULL;
            if (rule->only)
                rest = rest ? strstr(rest, rule->only) : NULL;
            rest = rest ? strstr(rest, rule->source) : NULL;
            if (rule->included)
                rest = rest ? strstr(rest, rule->included) : NULL;
        }
        CU_ASSERT_PTR_NOT_NULL(rest);
        char total[64];
        snprintf(total, sizeof(total), "total: 1 program, %u rules, %u system calls\n",
                 at->rule_count, at->program.calls);
        CU_ASSERT(tool_says(total));
    }
    CU_ASSERT_EQUAL(tool_run("list block/virtio"), 0);
    CU_ASSERT(tool_says("fd is the image (fd 8)"));
}

static void test_show(void)
{
    CU_ASSERT_EQUAL(tool_run("show vsock/vhost --arch riscv64"), 0);
    CU_ASSERT(tool_says("; riscv64\n"));
    CU_ASSERT(tool_says("; epoll_pwait2\n"));
    CU_ASSERT(tool_says("; ioctl: low half of request\n"));
    CU_ASSERT(tool_says("; VHOST_VSOCK_SET_RUNNING\n"));
    CU_ASSERT(tool_says("  ret  KILL_PROCESS\n"));
    CU_ASSERT_FALSE(tool_says("x32"));
    CU_ASSERT_EQUAL(tool_run("show vsock/vhost --arch x86_64"), 0);
    CU_ASSERT(tool_says("; calls of the x32 ABI\n"));
}

static void test_hash(void)
{
    CU_ASSERT_EQUAL(tool_run("hash"), 0);
    for (const struct policy_listing *at = policy_catalog; at->program.name; at++) {
        char line[160];
        snprintf(line, sizeof(line), "%s  %s/%s\n", at->program.hash, policy_arch_name(at->arch),
                 at->program.name);
        CU_ASSERT(tool_says(line));
    }
}

/* ---- For tools: JSON is YAML, and a YAML parser is available here ---- */

static yaml_document_t document;

static const yaml_node_t *parse_answer(void)
{
    yaml_parser_t parser;
    CU_ASSERT_FATAL(yaml_parser_initialize(&parser));
    yaml_parser_set_input_string(&parser, (const unsigned char *)tool_answer, strlen(tool_answer));
    CU_ASSERT_FATAL(yaml_parser_load(&parser, &document));
    yaml_parser_delete(&parser);
    const yaml_node_t *root = yaml_document_get_root_node(&document);
    CU_ASSERT_PTR_NOT_NULL_FATAL(root);
    return root;
}

static unsigned int length_of(const yaml_node_t *list)
{
    CU_ASSERT_FATAL(list->type == YAML_SEQUENCE_NODE);
    return (unsigned int)(list->data.sequence.items.top - list->data.sequence.items.start);
}

static const yaml_node_t *item_of(const yaml_node_t *list, unsigned int index)
{
    CU_ASSERT_FATAL(index < length_of(list));
    return yaml_document_get_node(&document, list->data.sequence.items.start[index]);
}

static const char *text_of(const yaml_node_t *node)
{
    CU_ASSERT_FATAL(node->type == YAML_SCALAR_NODE);
    return (const char *)node->data.scalar.value;
}

static const yaml_node_t *value_of(const yaml_node_t *map, const char *key)
{
    CU_ASSERT_FATAL(map->type == YAML_MAPPING_NODE);
    for (const yaml_node_pair_t *pair = map->data.mapping.pairs.start;
         pair < map->data.mapping.pairs.top; pair++) {
        if (strcmp(text_of(yaml_document_get_node(&document, pair->key)), key) == 0)
            return yaml_document_get_node(&document, pair->value);
    }
    CU_FAIL_FATAL("a key is missing");
    return NULL;
}

static void check_listing(const yaml_node_t *entry, const struct policy_listing *listing)
{
    CU_ASSERT_STRING_EQUAL(text_of(value_of(entry, "policy")), listing->program.name);
    CU_ASSERT_STRING_EQUAL(text_of(value_of(entry, "arch")), policy_arch_name(listing->arch));
    const yaml_node_t *rules = value_of(entry, "rules");
    CU_ASSERT_EQUAL_FATAL(length_of(rules), listing->rule_count);
    for (unsigned int r = 0; r < listing->rule_count; r++) {
        const struct policy_rule *rule = &listing->rules[r];
        const yaml_node_t *item = item_of(rules, r);
        CU_ASSERT_STRING_EQUAL(text_of(value_of(item, "syscall")), rule->call);
        CU_ASSERT_STRING_EQUAL(text_of(value_of(item, "reason")), rule->reason);
        CU_ASSERT_STRING_EQUAL(text_of(value_of(item, "source")), rule->source);
        const yaml_node_t *conditions = value_of(item, "conditions");
        const yaml_node_t *tests = value_of(item, "tests");
        CU_ASSERT_EQUAL_FATAL(length_of(conditions), rule->condition_count);
        CU_ASSERT_EQUAL_FATAL(length_of(tests), rule->condition_count);
        for (unsigned int c = 0; c < rule->condition_count; c++) {
            CU_ASSERT_STRING_EQUAL(text_of(item_of(conditions, c)), rule->conditions[c].words);
            const char *mask = text_of(value_of(item_of(tests, c), "mask"));
            CU_ASSERT_EQUAL(strtoull(mask, NULL, 16), rule->conditions[c].mask);
        }
    }
}

static void test_json(void)
{
    unsigned int count = 0;
    while (policy_catalog[count].program.name)
        count++;

    CU_ASSERT_EQUAL(tool_run("list --arch all --json"), 0);
    const yaml_node_t *root = parse_answer();
    CU_ASSERT_EQUAL_FATAL(length_of(root), count);
    for (unsigned int i = 0; i < count; i++)
        check_listing(item_of(root, i), &policy_catalog[i]);
    yaml_document_delete(&document);

    CU_ASSERT_EQUAL(tool_run("hash --json"), 0);
    root = parse_answer();
    CU_ASSERT_EQUAL_FATAL(length_of(root), count);
    for (unsigned int i = 0; i < count; i++)
        CU_ASSERT_STRING_EQUAL(text_of(value_of(item_of(root, i), "sha256")),
                               policy_catalog[i].program.hash);
    yaml_document_delete(&document);

    CU_ASSERT_EQUAL(tool_run("show -j block/virtio --arch aarch64"), 0);
    root = parse_answer();
    CU_ASSERT_EQUAL_FATAL(length_of(root), 1);
    const yaml_node_t *instructions = value_of(item_of(root, 0), "instructions");
    CU_ASSERT(length_of(instructions) > 10);
    CU_ASSERT_STRING_EQUAL(text_of(value_of(item_of(instructions, 0), "text")), "ld   [4]");
    yaml_document_delete(&document);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"test_wrong_questions", test_wrong_questions},
        {"test_help_and_version", test_help_and_version},
        {"test_list", test_list},
        {"test_show", test_show},
        {"test_hash", test_hash},
        {"test_json", test_json},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "bao-seccomp", tests);
}
