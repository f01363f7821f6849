/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/dmctl/board.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/dmctl/dmctl.h"

static const char *const words[] = {
    [BOARD_OK] = "ok", [BOARD_NOTE] = "note", [BOARD_MISSING] = "MISSING"};
static const char *const json_words[] = {
    [BOARD_OK] = "ok", [BOARD_NOTE] = "note", [BOARD_MISSING] = "missing"};

static size_t count_of(const struct board_report *report, enum board_level level)
{
    size_t count = 0;
    for (size_t i = 0; i < report->count; i++)
        count += report->items[i].level == level;
    return count;
}

static void print_text(const struct board_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        const struct board_finding *item = &report->items[i];
        printf("%-8s %s: %s%s%s\n", words[item->level], item->check, item->found,
               item->cure[0] ? ": " : "", item->cure);
    }
    printf("%zu ok, %zu to know, %zu missing\n", count_of(report, BOARD_OK),
           count_of(report, BOARD_NOTE), count_of(report, BOARD_MISSING));
}

static void print_json(const struct board_report *report)
{
    puts("{\"findings\": [");
    for (size_t i = 0; i < report->count; i++) {
        const struct board_finding *item = &report->items[i];
        printf("  {\"level\": \"%s\", \"check\": ", json_words[item->level]);
        json_print_string(item->check);
        fputs(", \"found\": ", stdout);
        json_print_string(item->found);
        fputs(", \"cure\": ", stdout);
        json_print_string(item->cure);
        printf("}%s\n", i + 1 < report->count ? "," : "");
    }
    printf("], \"ok\": %zu, \"notes\": %zu, \"missing\": %zu}\n", count_of(report, BOARD_OK),
           count_of(report, BOARD_NOTE), count_of(report, BOARD_MISSING));
}

/* Returns whether there is a usable configuration. A wrong file counts as none, but is reported. */
static bool load(const char *path, struct config *ret, struct board_report *report)
{
    static struct config_diagnostics diagnostics;
    struct board_finding *item = &report->items[report->count];
    int result = config_load(path, ret, &diagnostics);
    report->count++;
    *item = (struct board_finding){.level = BOARD_OK, .check = "configuration"};
    snprintf(item->found, sizeof(item->found), "%.120s", path);
    if (result == 0)
        return true;
    item->level = BOARD_MISSING;
    snprintf(item->found, sizeof(item->found), "%.120s is not right", path);
    snprintf(item->cure, sizeof(item->cure), "\"bao-virtio-dm --check-config --config %.120s\"",
             path);
    return false;
}

int board_run(const char *config_path, bool json)
{
    static struct board_facts facts;
    static struct config config;
    static struct board_report report;
    const char *path = config_path ? config_path : BOARD_CONFIG;
    bool loaded = false;
    struct board_report about_file = {0};
    if (config_path || access(path, F_OK) == 0)
        loaded = load(path, &config, &about_file);
    board_facts("", &facts);
    board_judge(&facts, loaded ? &config : NULL, &report);
    if (about_file.count > 0 && report.count < BOARD_FINDINGS_MAX)
        report.items[report.count++] = about_file.items[0];
    if (json)
        print_json(&report);
    else
        print_text(&report);
    return count_of(&report, BOARD_MISSING) > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
