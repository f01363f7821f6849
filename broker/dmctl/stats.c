/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include "broker/dmctl/dmctl.h"

static const struct column {
    const char *name, *title;
    size_t offset;
} columns[] = {
#define COLUMN(field, title)                                                                       \
    {                                                                                              \
#field, title, offsetof(struct control_device, counters.field)                             \
    }
    COLUMN(requests, "requests"),
    COLUMN(bytes_in, "bytes in"),
    COLUMN(bytes_out, "bytes out"),
    COLUMN(kicks, "kicks"),
    COLUMN(interrupts_sent, "wanted"),
    COLUMN(interrupts_suppressed, "suppressed"),
    {"interrupts_raised", "interrupts", offsetof(struct control_device, interrupts_raised)},
    COLUMN(register_accesses, "registers"),
    COLUMN(guest_errors, "errors"),
    COLUMN(dropped_in, "lost in"),
    COLUMN(dropped_out, "lost out"),
#undef COLUMN
};

#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static uint64_t counter(const struct control_device *device, size_t column)
{
    const char *bytes = (const char *)device;
    return *(const uint64_t *)(const void *)(bytes + columns[column].offset);
}

static const struct control_device *find(const struct snapshot *snapshot, uint32_t id)
{
    for (size_t i = 0; snapshot && i < snapshot->count; i++) {
        if (snapshot->devices[i].id == id)
            return &snapshot->devices[i];
    }
    return NULL;
}

/* The counter itself, or what it grew by in a second. */
static double value(const struct control_device *device, const struct control_device *before,
                    double seconds, size_t column)
{
    uint64_t now = counter(device, column);
    if (!before)
        return (double)now;
    /* Smaller than before: its page was made anew. */
    uint64_t then = counter(before, column);
    return seconds > 0 && now >= then ? (double)(now - then) / seconds : 0;
}

static void print_text(const struct snapshot *snapshot, const struct snapshot *before)
{
    double seconds = before ? snapshot->at - before->at : 0;
    printf("%-12s", before ? "a second" : "in all");
    for (size_t c = 0; c < COLUMNS; c++)
        printf(" %13s", columns[c].title);
    putchar('\n');
    for (size_t i = 0; i < snapshot->count; i++) {
        const struct control_device *device = &snapshot->devices[i];
        printf("%-12s", device->name);
        for (size_t c = 0; c < COLUMNS; c++)
            printf(" %13.0f", value(device, find(before, device->id), seconds, c));
        putchar('\n');
    }
}

static void print_json(const struct snapshot *snapshot, const struct snapshot *before)
{
    double seconds = before ? snapshot->at - before->at : 0;
    printf("{\"per_second\": %s, \"devices\": [", before ? "true" : "false");
    for (size_t i = 0; i < snapshot->count; i++) {
        const struct control_device *device = &snapshot->devices[i];
        printf("%s\n  {\"device\": \"%s\", \"id\": %u", i > 0 ? "," : "", device->name, device->id);
        for (size_t c = 0; c < COLUMNS; c++)
            printf(", \"%s\": %.0f", columns[c].name,
                   value(device, find(before, device->id), seconds, c));
        putchar('}');
    }
    puts("\n]}");
}

void stats_print(const struct snapshot *snapshot, const struct snapshot *before, bool json)
{
    if (json)
        print_json(snapshot, before);
    else
        print_text(snapshot, before);
}
