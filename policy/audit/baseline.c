/* SPDX-License-Identifier: Apache-2.0 */
/* JSON is YAML, for which the project has a reader. */
#include "policy/audit/baseline.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "policy/audit/process.h"
#include "policy/audit/report.h"

/* Names of keys that are compared. In YAML many objects can stand for the same long one. A report
 * of the size that is read takes a tenth of these. */
#define COMPARISONS_MAX (1ul << 24)

struct reader {
    yaml_document_t document;
    unsigned long comparisons;
    struct entries *entries;
    char *error; /* the first one; empty: none */
};

/* Returns NULL, so that a caller can return what this returns. */
__attribute__((format(printf, 2, 3))) static void *fail(struct reader *reader, const char *format,
                                                        ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (reader->error[0] == '\0')
        vsnprintf(reader->error, BASELINE_ERROR, format, arguments);
    va_end(arguments);
    return NULL;
}

static bool has_failed(const struct reader *reader)
{
    return reader->error[0] != '\0';
}

/* ---- Values ---- */

static yaml_node_t *find(struct reader *reader, const yaml_node_t *map, const char *key)
{
    if (!map || map->type != YAML_MAPPING_NODE)
        return fail(reader, "expected an object with \"%s\"", key);
    for (const yaml_node_pair_t *pair = map->data.mapping.pairs.start;
         pair < map->data.mapping.pairs.top; pair++) {
        const yaml_node_t *name = yaml_document_get_node(&reader->document, pair->key);
        if (++reader->comparisons > COMPARISONS_MAX)
            return fail(reader, "expected a report, found too many objects");
        if (name && name->type == YAML_SCALAR_NODE &&
            strcmp((const char *)name->data.scalar.value, key) == 0)
            return yaml_document_get_node(&reader->document, pair->value);
    }
    return fail(reader, "expected \"%s\" in an object", key);
}

/* In reports, each byte that is not ASCII is written as the character of that number (json.c); the
 * YAML reader makes UTF-8 of it. */
static void back_to_bytes(char *text)
{
    unsigned char *to = (unsigned char *)text;
    for (const unsigned char *at = to; *at != '\0'; at++) {
        bool latin = (*at == 0xc2 || *at == 0xc3) && (at[1] & 0xc0) == 0x80;
        *to++ = latin ? (unsigned char)((*at & 3) << 6 | (at[1] & 0x3f)) : *at;
        at += latin;
    }
    *to = '\0';
}

/* Control characters in a text would go to a terminal. */
static char *text_of(struct reader *reader, const yaml_node_t *map, const char *key)
{
    yaml_node_t *node = find(reader, map, key);
    if (!node)
        return NULL;
    if (node->type != YAML_SCALAR_NODE ||
        strlen((const char *)node->data.scalar.value) != node->data.scalar.length)
        return fail(reader, "expected a text as \"%s\"", key);
    char *text = (char *)node->data.scalar.value;
    if (node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strcmp(text, "null") == 0)
        text[0] = '\0';
    /* An alias can bring the same text again; then it is ASCII, or no report of ours. */
    back_to_bytes(text);
    process_make_printable(text);
    return text;
}

/* Calls `each` with every item of an array. */
static void read_items(struct reader *reader, const yaml_node_t *map, const char *key,
                       void (*each)(struct reader *, const yaml_node_t *))
{
    const yaml_node_t *list = find(reader, map, key);
    if (has_failed(reader))
        return;
    if (!list || list->type != YAML_SEQUENCE_NODE) {
        fail(reader, "expected an array as \"%s\"", key);
        return;
    }
    for (const yaml_node_item_t *item = list->data.sequence.items.start;
         item < list->data.sequence.items.top && !has_failed(reader); item++)
        each(reader, yaml_document_get_node(&reader->document, *item));
}

static void add(struct reader *reader, const char *where, const char *what, const char *value)
{
    if (reader->entries->count >= BASELINE_ENTRIES_MAX)
        fail(reader, "expected at most %u statements", BASELINE_ENTRIES_MAX);
    if (!has_failed(reader))
        entries_add(reader->entries, where, what, value);
}

/* ---- A report ---- */

static void read_policy(struct reader *reader, const yaml_node_t *policy)
{
    const char *name = text_of(reader, policy, "policy"), *hash = text_of(reader, policy, "sha256");
    add(reader, ENTRY_POLICIES, name, hash);
}

static void read_configuration(struct reader *reader, const yaml_node_t *configuration)
{
    const char *file = text_of(reader, configuration, "file");
    const char *hash = text_of(reader, configuration, "sha256");
    add(reader, ENTRY_CONFIGURATIONS, file, hash);
}

static bool is_lasting(struct reader *reader, const yaml_node_t *check)
{
    const char *text = text_of(reader, check, "lasting");
    return text && strcmp(text, "true") == 0;
}

static bool has_lasting(struct reader *reader, const yaml_node_t *checks)
{
    for (const yaml_node_item_t *item = checks->data.sequence.items.start;
         item < checks->data.sequence.items.top && !has_failed(reader); item++) {
        if (is_lasting(reader, yaml_document_get_node(&reader->document, *item)))
            return true;
    }
    return false;
}

static void read_check(struct reader *reader, const yaml_node_t *node, const char *where,
                       const char *role)
{
    const struct entry_check check = {
        .where = where,
        .role = role,
        .check = text_of(reader, node, "check"),
        .verdict = text_of(reader, node, "verdict"),
        .expected = text_of(reader, node, "expected"),
        .found = text_of(reader, node, "found"),
    };
    if (!is_lasting(reader, node) || has_failed(reader))
        return;
    if (reader->entries->count >= BASELINE_ENTRIES_MAX)
        fail(reader, "expected at most %u statements", BASELINE_ENTRIES_MAX);
    else
        entries_add_check(reader->entries, &check);
}

static void read_process(struct reader *reader, const yaml_node_t *process)
{
    char where[3 * PROCESS_TEXT], program[PROCESS_TEXT + SHA256_TEXT + 16];
    const char *role = text_of(reader, process, "role"), *name = text_of(reader, process, "name");
    const char *path = text_of(reader, process, "program");
    const char *hash = text_of(reader, process, "sha256");
    const char *configuration = text_of(reader, process, "configuration");
    const yaml_node_t *checks = find(reader, process, "checks");
    if (has_failed(reader))
        return;
    if (!checks || checks->type != YAML_SEQUENCE_NODE) {
        fail(reader, "expected an array as \"checks\"");
        return;
    }
    if (!has_lasting(reader, checks))
        return;
    entries_name_process(role, name, configuration, where, sizeof(where));
    entries_program(path, hash, program, sizeof(program));
    add(reader, where, ENTRY_PROGRAM, program);
    for (const yaml_node_item_t *item = checks->data.sequence.items.start;
         item < checks->data.sequence.items.top && !has_failed(reader); item++)
        read_check(reader, yaml_document_get_node(&reader->document, *item), where, role);
}

static void read_facts(struct reader *reader, const yaml_node_t *root, struct baseline *baseline)
{
    static const char *const kernel_keys[][2] = {
        {"release", "kernel"}, {"version", "kernel's version"}, {"machine", "machine"}};
    const char *time = text_of(reader, root, "time");
    if (time)
        snprintf(baseline->time, sizeof(baseline->time), "%s", time);
    add(reader, ENTRY_MACHINE, "host", text_of(reader, root, "host"));
    const yaml_node_t *kernel = find(reader, root, "kernel");
    for (size_t i = 0; i < sizeof(kernel_keys) / sizeof(kernel_keys[0]); i++)
        add(reader, ENTRY_MACHINE, kernel_keys[i][1], text_of(reader, kernel, kernel_keys[i][0]));
    const yaml_node_t *auditor = find(reader, root, "auditor");
    add(reader, ENTRY_AUDITOR, "version", text_of(reader, auditor, "version"));
    add(reader, ENTRY_AUDITOR, "sha256", text_of(reader, auditor, "sha256"));
}

static void read_report(struct reader *reader, struct baseline *baseline)
{
    const yaml_node_t *root = yaml_document_get_root_node(&reader->document);
    const char *name = text_of(reader, root, "report");
    if (!name || strcmp(name, REPORT_NAME) != 0) {
        reader->error[0] = '\0';
        fail(reader, "expected a report, as verify --json writes it");
        return;
    }
    const char *version = text_of(reader, root, "version");
    if (version && strtol(version, NULL, 10) != REPORT_VERSION)
        fail(reader, "expected a report of version %d, found %.20s", REPORT_VERSION, version);
    read_facts(reader, root, baseline);
    read_items(reader, root, "policies", read_policy);
    read_items(reader, root, "configurations", read_configuration);
    read_items(reader, root, "processes", read_process);
}

bool baseline_parse(const uint8_t *data, size_t size, struct baseline *ret,
                    char ret_error[static BASELINE_ERROR])
{
    struct baseline baseline = {0};
    struct reader reader = {.entries = &baseline.entries, .error = ret_error};
    yaml_parser_t parser;
    ret_error[0] = '\0';
    if (!yaml_parser_initialize(&parser)) {
        fail(&reader, "out of memory");
        return false;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, data, size);
    if (!yaml_parser_load(&parser, &reader.document)) {
        fail(&reader, "line %zu: expected JSON: %s", parser.problem_mark.line + 1,
             parser.problem ? parser.problem : "out of memory");
    } else {
        read_report(&reader, &baseline);
        yaml_document_delete(&reader.document);
    }
    yaml_parser_delete(&parser);
    if (baseline.entries.out_of_memory)
        fail(&reader, "out of memory");
    if (has_failed(&reader))
        entries_free(&baseline.entries);
    else
        *ret = baseline;
    return !has_failed(&reader);
}

static uint8_t *read_all(const char *path, size_t *ret_size, char error[static BASELINE_ERROR])
{
    FILE *file = fopen(path, "re");
    uint8_t *data = file ? malloc(BASELINE_SIZE_MAX + 1) : NULL;
    if (data)
        *ret_size = fread(data, 1, BASELINE_SIZE_MAX + 1, file);
    bool good = data && !ferror(file);
    if (!good)
        snprintf(error, BASELINE_ERROR, "%s", strerror(errno));
    else if (*ret_size > BASELINE_SIZE_MAX)
        snprintf(error, BASELINE_ERROR, "expected at most %u bytes", BASELINE_SIZE_MAX);
    if (file)
        fclose(file);
    if (good && *ret_size <= BASELINE_SIZE_MAX)
        return data;
    free(data);
    return NULL;
}

bool baseline_read(const char *path, struct baseline *ret, char ret_error[static BASELINE_ERROR])
{
    size_t size = 0;
    uint8_t *data = read_all(path, &size, ret_error);
    bool good = data && baseline_parse(data, size, ret, ret_error);
    free(data);
    return good;
}
