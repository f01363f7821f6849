/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include "broker/dmctl/dmctl.h"

static const struct column {
    const char *name, *title, *help;
    size_t offset;
} columns[] = {
#define COLUMN(field, title, help)                                                                 \
    {                                                                                              \
#field, title, help, offsetof(struct control_device, counters.field)                       \
    }
    COLUMN(requests, "requests", "Requests that the worker has completed."),
    COLUMN(bytes_in, "bytes in", "Bytes that went to the driver."),
    COLUMN(bytes_out, "bytes out", "Bytes that came from the driver."),
    COLUMN(kicks, "kicks", "Notifications by the driver."),
    COLUMN(interrupts_sent, "wanted", "Interrupts that the worker has asked for."),
    COLUMN(interrupts_suppressed, "suppressed", "Interrupts that the driver did not want."),
    {"interrupts_raised", "interrupts", "Interrupts that the driver got.",
     offsetof(struct control_device, interrupts_raised)},
    COLUMN(register_accesses, "registers", "Register accesses that the worker has answered."),
    COLUMN(guest_errors, "errors",
           "Times that the driver broke the rules, and had to reset the device."),
    COLUMN(dropped_in, "lost in", "Frames that did not reach the driver."),
    COLUMN(dropped_out, "lost out", "Frames that did not leave the driver's device."),
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
    for (size_t i = 0; i < snapshot->count; i++) {
        if (snapshot->devices[i].id == id)
            return &snapshot->devices[i];
    }
    return NULL;
}

/* A counter of device `i`; with an earlier snapshot that has the device, its increase per second.
 */
static double value(const struct snapshot *snapshot, const struct snapshot *before, size_t i,
                    size_t column)
{
    const struct control_device *device = &snapshot->devices[i];
    const struct control_device *earlier = before ? find(before, device->id) : NULL;
    uint64_t now = counter(device, column);
    if (!earlier)
        return (double)now;
    /* If it is smaller than before, its page is a new one. */
    uint64_t then = counter(earlier, column);
    double seconds = snapshot->at - before->at;
    return seconds > 0 && now >= then ? (double)(now - then) / seconds : 0;
}

static void print_text(const struct snapshot *snapshot, const struct snapshot *before)
{
    printf("%-12s", before ? "a second" : "in all");
    for (size_t c = 0; c < COLUMNS; c++)
        printf(" %13s", columns[c].title);
    putchar('\n');
    for (size_t i = 0; i < snapshot->count; i++) {
        printf("%-12s", snapshot->devices[i].name);
        for (size_t c = 0; c < COLUMNS; c++)
            printf(" %13.0f", value(snapshot, before, i, c));
        putchar('\n');
    }
}

static void print_json(const struct snapshot *snapshot, const struct snapshot *before)
{
    printf("{\"per_second\": %s, \"devices\": [", before ? "true" : "false");
    for (size_t i = 0; i < snapshot->count; i++) {
        const struct control_device *device = &snapshot->devices[i];
        printf("%s\n  {\"device\": \"%s\", \"id\": %u", i > 0 ? "," : "", device->name, device->id);
        for (size_t c = 0; c < COLUMNS; c++)
            printf(", \"%s\": %.0f", columns[c].name, value(snapshot, before, i, c));
        putchar('}');
    }
    puts("\n]}");
}

/* ---- OpenMetrics 1.0 ---- */

/* Prints the labels. In our names there is nothing to escape. */
static void print_labels(const struct control_device *device)
{
    printf("{device=\"%s\",id=\"%u\"}", device->name, device->id);
}

static void print_counter(const struct snapshot *snapshot, size_t column)
{
    printf("# TYPE bao_virtio_%s counter\n# HELP bao_virtio_%s %s\n", columns[column].name,
           columns[column].name, columns[column].help);
    for (size_t i = 0; i < snapshot->count; i++) {
        printf("bao_virtio_%s_total", columns[column].name);
        print_labels(&snapshot->devices[i]);
        printf(" %" PRIu64 "\n", counter(&snapshot->devices[i], column));
    }
}

static void begin_metric(const char *name, const char *type, const char *text)
{
    printf("# TYPE bao_virtio_%s %s\n# HELP bao_virtio_%s %s\n", name, type, name, text);
}

static void print_sample(const char *name, const struct control_device *device, uint64_t sample)
{
    printf("bao_virtio_%s", name);
    print_labels(device);
    printf(" %" PRIu64 "\n", sample);
}

void stats_print_openmetrics(const struct snapshot *snapshot)
{
    for (size_t column = 0; column < COLUMNS; column++)
        print_counter(snapshot, column);
    begin_metric("worker_restarts", "counter",
                 "Workers that were replaced since the broker started.");
    for (size_t i = 0; i < snapshot->count; i++)
        print_sample("worker_restarts_total", &snapshot->devices[i], snapshot->devices[i].restarts);
    begin_metric("worker_running", "gauge", "1 while the device has a worker at work.");
    for (size_t i = 0; i < snapshot->count; i++)
        print_sample("worker_running", &snapshot->devices[i],
                     snapshot->devices[i].phase == CONTROL_RUNNING);
    begin_metric("driver_status", "gauge", "The device's status register, VirtIO 1.2 section 2.1.");
    for (size_t i = 0; i < snapshot->count; i++)
        print_sample("driver_status", &snapshot->devices[i], snapshot->devices[i].status);
    begin_metric("trouble", "gauge",
                 "1 while something that the device needs can't work: see status.");
    for (size_t i = 0; i < snapshot->count; i++)
        print_sample("trouble", &snapshot->devices[i], snapshot->devices[i].trouble[0] != '\0');
    puts("# EOF");
}

void stats_print(const struct snapshot *snapshot, const struct snapshot *before, bool json)
{
    if (json)
        print_json(snapshot, before);
    else
        print_text(snapshot, before);
}
