/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of the configuration's keys and kinds, as JSON, for tests/described/described. With
 * --parse: the parser's answer about many files. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config/internal.h"
#include "common/device_kind.h"

static const char *const types[] = {
    [VALUE_INTEGER] = "integer",   [VALUE_BOOLEAN] = "boolean", [VALUE_STRING] = "string",
    [VALUE_MAC] = "mac",           [VALUE_SCHED] = "sched",     [VALUE_PROCESSORS] = "processors",
    [VALUE_FEATURES] = "features", [VALUE_BYTES] = "bytes",     [VALUE_CACHE] = "cache",
    [VALUE_ENGINE] = "engine",     [VALUE_PATH] = "string",     [VALUE_NAME] = "string",
};

static void print_string(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
    putchar('"');
}

static void print_key(const struct key_info *info, const char *end)
{
    printf("  {\"name\": \"%s\", \"type\": \"%s\", \"min\": %" PRIu64 ", \"max\": %" PRIu64
           ", \"length_max\": %zu, \"multiple_of\": %u, \"power_of_two\": %s, \"expected\": ",
           info->name, types[info->type], info->min, info->max, info->length_max, info->multiple_of,
           info->power_of_two ? "true" : "false");
    print_string(info->expected);
    printf("}%s\n", end);
}

static void print_keys_of(const char *name, uint64_t keys)
{
    const char *separator = "";
    printf(", \"%s\": [", name);
    for (size_t key = 0; key < CONFIG_KEYS; key++) {
        if ((keys & 1ull << key) == 0)
            continue;
        printf("%s\"%s\"", separator, key_infos[key].name);
        separator = ", ";
    }
    putchar(']');
}

/* Each line of standard input is a file. The parser's objections to it are printed in one line. */
static int parse_lines(void)
{
    static struct config_diagnostics diagnostics;
    static struct config config;
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    while ((length = getline(&line, &size, stdin)) > 0) {
        if (config_parse("f", line, (size_t)length, &config, &diagnostics) == 0)
            config_free(&config);
        for (size_t i = 0; i < diagnostics.count; i++) {
            if (diagnostics.items[i].severity == CONFIG_ERROR)
                printf("%s; ", diagnostics.items[i].text);
        }
        putchar('\n');
    }
    free(line);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--parse") == 0)
        return parse_lines();
    struct word_list names = {0};
    puts("{\"keys\": [");
    for (size_t key = 0; key < CONFIG_KEYS; key++)
        print_key(&key_infos[key], key + 1 < CONFIG_KEYS ? "," : "");
    puts("], \"kinds\": [");
    const char *between = "";
    for (unsigned int kind = 0; kind < DEVICE_KINDS; kind++) {
        if (device_kind_replaces(&device_kinds[kind]))
            continue; /* for the user it is the same as the other */
        struct kind_keys keys = config_kind_keys((enum device_kind)kind);
        printf(
            "%s  {\"type\": \"%s\", \"virtio_id\": %u, \"data_plane\": \"%s\", \"queues_max\": %u",
            between, device_kinds[kind].type, device_kinds[kind].virtio_id,
            device_kinds[kind].data_plane, keys.queues_max);
        print_keys_of("required", keys.required);
        print_keys_of("optional", keys.optional);
        printf("}\n");
        between = ",";
    }
    type_names(&names);
    printf("], \"types\": \"%s\", \"features\": [", names.text);
    const char *separator = "", *name, *type;
    for (size_t i = 0; (name = features_name(i, &type)); i++) {
        printf("%s[\"%s\", \"%s\"]", separator, name, type ? type : "");
        separator = ", ";
    }
    puts("]}");
    return 0;
}
