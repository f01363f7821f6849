/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <linux/virtio_config.h>
#include <stdbool.h>
#include <stdio.h>

#include "broker/dmctl/dmctl.h"
#include "broker/generations.h"
#include "broker/words.h"
#include "common/cgroup_limit.h"
#include "common/device_kind.h"
#include "common/sandbox_layer.h"

static const char *const phases[] = {
    [CONTROL_WAITING] = "waiting to be started",
    [CONTROL_STARTING] = "starting",
    [CONTROL_RUNNING] = "running",
    [CONTROL_ENDING] = "ending",
};

static const char *phase_words(uint32_t phase)
{
    return phase < sizeof(phases) / sizeof(phases[0]) ? phases[phase] : "unknown";
}

/* How far the driver's initialization has come, §2.1. */
static const char *driver_words(uint32_t status)
{
    if ((status & VIRTIO_CONFIG_S_NEEDS_RESET) != 0)
        return "needs a reset";
    if ((status & VIRTIO_CONFIG_S_FAILED) != 0)
        return "failed";
    if ((status & VIRTIO_CONFIG_S_DRIVER_OK) != 0)
        return "running";
    return status != 0 ? "starting" : "none";
}

static const char *data_plane(const struct control_device *device)
{
    const struct device_kind_info *info = device_kind_info(device->kind);
    return info ? info->data_plane : "unknown";
}

static const char *generation_name(const struct control_device *device)
{
    return device->generation < BAO_GENERATIONS ? generations[device->generation].name : "unknown";
}

/* The index in the ring. For a packed ring, bit 15 of the word in the state page is the wrap
 * counter. */
static uint32_t position(const struct control_device *device, uint32_t of_page)
{
    bool is_packed = (device->features & 1ull << VIRTIO_F_RING_PACKED) != 0;
    return is_packed ? of_page & 0x7fff : of_page;
}

/* The memory for its connections, which is mapped at the start of its worker. */
static uint64_t connections_kib(const struct control_device *device)
{
    return (uint64_t)device->connections * CONNECTION_MEMORY / 1024;
}

static void print_duration(uint64_t ms)
{
    uint64_t s = ms / 1000;
    if (s >= 86400)
        printf("%" PRIu64 " d %" PRIu64 " h", s / 86400, s % 86400 / 3600);
    else if (s >= 3600)
        printf("%" PRIu64 " h %" PRIu64 " min", s / 3600, s % 3600 / 60);
    else if (s >= 60)
        printf("%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
    else
        printf("%" PRIu64 ".%" PRIu64 " s", s, ms % 1000 / 100);
}

/* A limit that is not in force is missing in the kernel, or it was not delegated. The log of the
 * start names it. */
static void print_limits(uint32_t cgroup)
{
    char in_force[WORDS_SIZE], missing[WORDS_SIZE];
    if (cgroup == 0) {
        puts("  limits      none: it has no cgroup of its own");
        return;
    }
    (void)words_limits(cgroup, in_force);
    (void)words_limits(~cgroup, missing);
    printf("  limits      %s%s%s\n", in_force[0] ? in_force : "none",
           missing[0] ? "; not available: " : "", missing);
}

static void print_limits_json(uint32_t cgroup)
{
    const char *separator = "";
    printf("\"cgroup\": %s, \"limits\": [", cgroup != 0 ? "true" : "false");
#define X(constant, controller, file)                                                              \
    if ((cgroup & 1u << CGROUP_##constant) != 0) {                                                 \
        printf("%s\"" file "\"", separator);                                                       \
        separator = ", ";                                                                          \
    }
    CGROUP_LIMITS(X)
#undef X
    putchar(']');
}

static void print_text(const struct control_device *device)
{
    char in_force[WORDS_SIZE], missing[WORDS_SIZE];
    printf("%s (%s), registers at 0x%" PRIx64 ", window of 0x%" PRIx64 " bytes at 0x%" PRIx64 "\n",
           device->name, data_plane(device), device->mmio_addr, device->shmem_size,
           device->shmem_addr);
    printf("  dispatcher  generation %s of Bao's driver%s\n", generation_name(device),
           device->gone ? ", which has given the device up" : "");
    printf("  worker      %s", phase_words(device->phase));
    if (device->pid > 0) {
        printf(", pid %d, for ", device->pid);
        print_duration(device->uptime_ms);
    }
    printf("; %u restart%s%s%s\n", device->restarts, device->restarts == 1 ? "" : "s",
           device->last_death[0] ? ", last death: " : "", device->last_death);
    if (device->trouble[0] != '\0')
        printf("  trouble     %s\n", device->trouble);
    if (device->layers != 0) {
        printf("  confined by %s\n", words_layers(device->layers, in_force));
        if (words_layers(~device->layers, missing)[0])
            printf("  without     %s\n", missing);
    }
    if (device->pid > 0)
        print_limits(device->cgroup);
    if (device->cache[0] != '\0')
        printf("  cache       %s\n", device->cache);
    printf("  driver      %s, status 0x%x, features 0x%" PRIx64 "\n", driver_words(device->status),
           device->status, device->features);
    if (device->connections > 0)
        printf("  connections up to %u, memory for them %" PRIu64 " KiB\n", device->connections,
               connections_kib(device));
    for (uint32_t q = 0; q < device->queue_count && q < STATE_QUEUES_MAX; q++) {
        const struct control_queue *queue = &device->queues[q];
        printf("  queue %-5u %s, size %u, taken %u, used %u\n", q,
               queue->ready == 1 ? "ready" : "not ready", queue->size,
               position(device, queue->next_avail), position(device, queue->next_used));
    }
}

static void print_layers_json(uint32_t layers)
{
    static const char *const names[LAYER_COUNT] = {
#define X(constant, name, core) [LAYER_##constant] = name,
        SANDBOX_LAYERS(X)
#undef X
    };
    const char *separator = "";
    for (size_t i = 0; i < LAYER_COUNT; i++) {
        if ((layers & 1u << i) == 0)
            continue;
        printf("%s\"%s\"", separator, names[i]);
        separator = ", ";
    }
}

void json_print_string(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c > 0x7e)
            printf("\\u%04x", c);
        else
            printf(c == '"' || c == '\\' ? "\\%c" : "%c", c);
    }
    putchar('"');
}

/* The other strings of a device need no escapes: they are names, and words from the broker's own
 * lists. */
static void print_json(const struct control_device *device, const char *end)
{
    printf("  {\"device\": \"%s\", \"id\": %u, \"data_plane\": \"%s\", \"virtio_id\": %u,\n",
           device->name, device->id, data_plane(device), device->virtio_id);
    printf("   \"mmio_addr\": %" PRIu64 ", \"shmem_addr\": %" PRIu64 ", \"shmem_size\": %" PRIu64
           ",\n",
           device->mmio_addr, device->shmem_addr, device->shmem_size);
    printf("   \"dispatcher\": {\"generation\": \"%s\", \"gone\": %s},\n", generation_name(device),
           device->gone ? "true" : "false");
    printf("   \"worker\": {\"phase\": \"%s\", \"pid\": %d, \"uptime_ms\": %" PRIu64
           ", \"restarts\": %u, \"last_death\": \"%s\", \"layers\": [",
           phase_words(device->phase), device->pid, device->uptime_ms, device->restarts,
           device->last_death);
    print_layers_json(device->layers);
    printf("], ");
    print_limits_json(device->cgroup);
    fputs("},\n   \"trouble\": ", stdout);
    json_print_string(device->trouble);
    printf(",\n");
    if (device->cache[0] != '\0')
        printf("   \"cache\": \"%s\",\n", device->cache);
    printf("   \"driver\": {\"state\": \"%s\", \"status\": %u, \"features\": %" PRIu64 "},\n",
           driver_words(device->status), device->status, device->features);
    if (device->connections > 0)
        printf("   \"connections\": {\"max\": %u, \"memory_kib\": %" PRIu64 "},\n",
               device->connections, connections_kib(device));
    printf("   \"queues\": [");
    for (uint32_t q = 0; q < device->queue_count && q < STATE_QUEUES_MAX; q++) {
        const struct control_queue *queue = &device->queues[q];
        printf("%s{\"ready\": %s, \"size\": %u, \"next_avail\": %u, \"next_used\": %u}",
               q > 0 ? ", " : "", queue->ready == 1 ? "true" : "false", queue->size,
               position(device, queue->next_avail), position(device, queue->next_used));
    }
    printf("]}%s\n", end);
}

void status_print(const struct snapshot *snapshot, bool json)
{
    if (json)
        puts("[");
    for (size_t i = 0; i < snapshot->count; i++) {
        if (json)
            print_json(&snapshot->devices[i], i + 1 < snapshot->count ? "," : "");
        else
            print_text(&snapshot->devices[i]);
    }
    if (json)
        puts("]");
}
