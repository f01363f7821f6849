/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the cost of a random read grows with what is under way, with its size, and with the number of
 * queues and devices. One device model has all the devices; a point uses some of them. The points
 * of an axis take turns, so that a machine that is slow for a while is slow for all.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bench/lanes.h"
#include "tests/bench/svg.h"

#define PATH_SIZE 256
#define CONFIG_SIZE 4096
#define TURN_PART 2u
#define LEAST 0.001                 /* what has no logarithm is drawn there */
#define WITH_QUEUES (LANES_MAX - 1) /* this device has several queues, the others have one */
#define CLIFF 1.5                   /* times what a step of the axis explains */

struct axis {
    const char *name, *title, *subtitle, *unit;
    double step_explains; /* by how much processor time may grow from a point to the next */
    unsigned int count;
    const char *const *names;
    struct lanes_load loads[SVG_POINTS_MAX];
};

static const char *const depths[] = {"1",  "2",   "4",   "8",   "16",  "32",
                                     "64", "128", "256", "512", "1024"};
static const char *const sizes[] = {"512",  "1 k",  "2 k",   "4 k",   "8 k",   "16 k",
                                    "32 k", "64 k", "128 k", "256 k", "512 k", "1 M"};
static const char *const counts[] = {"1", "2", "3", "4", "5", "6", "7", "8"};
static const char *const devices[] = {"1", "2", "3", "4", "6", "8", "12", "16"};

#define DEPTH(n)                                                                                   \
    {                                                                                              \
        .devices = 1, .queues = 1, .depth = n, .size = 4096                                        \
    }
#define SIZE(n)                                                                                    \
    {                                                                                              \
        .devices = 1, .queues = 1, .depth = 8, .size = n                                           \
    }
#define QUEUES(n)                                                                                  \
    {                                                                                              \
        .first = WITH_QUEUES, .devices = 1, .queues = n, .depth = 32, .size = 4096                 \
    }
#define DEVICES(n)                                                                                 \
    {                                                                                              \
        .devices = n, .queues = 1, .depth = 8, .size = 4096                                        \
    }

static const struct axis axes[] = {
    {.name = "depth",
     .title = "Requests under way",
     .subtitle = "4 KiB random reads, one device with one queue of 1024",
     .unit = "requests under way",
     .step_explains = 1,
     .count = 11,
     .names = depths,
     .loads = {DEPTH(1), DEPTH(2), DEPTH(4), DEPTH(8), DEPTH(16), DEPTH(32), DEPTH(64), DEPTH(128),
               DEPTH(256), DEPTH(512), DEPTH(1024)}},
    {.name = "size",
     .title = "Size of a request",
     .subtitle = "random reads, 8 under way, one device with one queue",
     .unit = "bytes of a request",
     .step_explains = 2,
     .count = 12,
     .names = sizes,
     .loads = {SIZE(512), SIZE(1024), SIZE(2048), SIZE(4096), SIZE(8192), SIZE(16384), SIZE(32768),
               SIZE(65536), SIZE(131072), SIZE(262144), SIZE(524288), SIZE(1048576)}},
    {.name = "queues",
     .title = "Queues of a device",
     .subtitle = "4 KiB random reads, 32 under way, spread over the queues of one device",
     .unit = "queues",
     .step_explains = 1,
     .count = 8,
     .names = counts,
     .loads = {QUEUES(1), QUEUES(2), QUEUES(3), QUEUES(4), QUEUES(5), QUEUES(6), QUEUES(7),
               QUEUES(8)}},
    {.name = "devices",
     .title = "Devices of a device model",
     .subtitle = "4 KiB random reads, 8 under way on each device, all workers on one processor",
     .unit = "devices that work",
     .step_explains = 1,
     .count = 8,
     .names = devices,
     .loads = {DEVICES(1), DEVICES(2), DEVICES(3), DEVICES(4), DEVICES(6), DEVICES(8), DEVICES(12),
               DEVICES(16)}},
};
#define AXES (sizeof(axes) / sizeof(axes[0]))

/* What was measured at a point. Of a request, but the rate; a value for each turn. */
struct point {
    double rate[ROUNDS_MAX], worker_us[ROUNDS_MAX], broker_us[ROUNDS_MAX];
    double worker_calls, broker_calls; /* < 0: unknown */
};

struct plots {
    const struct bench *bench;
    struct model model;
    struct processes broker;
    struct lanes lanes;
    struct image image;
    struct point points[AXES][SVG_POINTS_MAX];
};

static double axis_value(const struct axis *axis, unsigned int point)
{
    const struct lanes_load *load = &axis->loads[point];
    return strcmp(axis->name, "depth") == 0    ? load->depth
           : strcmp(axis->name, "size") == 0   ? load->size
           : strcmp(axis->name, "queues") == 0 ? load->queues
                                               : load->devices;
}

/* ---- Measure ---- */

static int count_calls(struct plots *plots, const struct lanes_load *load, struct point *point)
{
    struct processes workers = {.count = load->devices};
    struct counted worker, broker;
    uint64_t count = 0, ns;
    const uint64_t duration_ns = plots->bench->slice_ns / TURN_PART;
    memcpy(workers.pids, plots->model.workers.pids + load->first,
           load->devices * sizeof(workers.pids[0]));
    counted_begin(&worker, &workers, duration_ns);
    counted_begin(&broker, &plots->broker, duration_ns);
    int r = lanes_turn(&plots->lanes, load, duration_ns, &count, &ns);
    counted_end(&broker);
    counted_end(&worker);
    const double n = (double)count;
    point->worker_calls = worker.syscalls < 0 ? -1 : (double)worker.syscalls / n;
    point->broker_calls = broker.syscalls < 0 ? -1 : (double)broker.syscalls / n;
    return r;
}

static int measure_turn(struct plots *plots, const struct lanes_load *load, unsigned int round,
                        struct point *point)
{
    const struct use worker = use_of(&plots->model.workers), broker = use_of(&plots->broker);
    uint64_t count = 0, ns = 1;
    int r = lanes_turn(&plots->lanes, load, plots->bench->slice_ns / TURN_PART, &count, &ns);
    const double n = (double)count;
    point->rate[round] = n * 1e9 / (double)ns;
    point->worker_us[round] =
        (double)(use_of(&plots->model.workers).cpu_ns - worker.cpu_ns) / n / 1e3;
    point->broker_us[round] = (double)(use_of(&plots->broker).cpu_ns - broker.cpu_ns) / n / 1e3;
    return r;
}

static int measure_axis(struct plots *plots, const struct axis *axis, struct point *points)
{
    int r = 0;
    progress(axis->title);
    for (unsigned int round = 0; r == 0 && round < plots->bench->rounds; round++) {
        for (unsigned int i = 0; r == 0 && i < axis->count; i++) {
            r = lanes_start(&plots->lanes, &axis->loads[i]);
            if (r == 0 && round == 0)
                r = count_calls(plots, &axis->loads[i], &points[i]);
            if (r == 0)
                r = measure_turn(plots, &axis->loads[i], round, &points[i]);
            if (r < 0)
                fprintf(stderr, "bench: %s, %s: %s\n", axis->title, axis->names[i], strerror(-r));
        }
    }
    return r;
}

static int start(struct plots *plots, const char *dir, int log)
{
    char config[PATH_SIZE];
    snprintf(config, sizeof(config), "%s/plots.yaml", dir);
    FILE *file = fopen(config, "we");
    if (!file)
        return -errno;
    fprintf(file, "devices:\n");
    for (unsigned int i = 0; i < LANES_MAX; i++)
        fprintf(file,
                "  - id: %u\n    mmio_addr: 0x%llx\n    type: block\n    data_plane: virtio\n"
                "    file_path: \"%s/plots\"\n    read_only: true\n    queues: %u\n"
                "    queue_size: 1024\n%s",
                i, (unsigned long long)bench_base(i), dir, i == WITH_QUEUES ? LANE_QUEUES : 1,
                plots->bench->no_polling ? "    poll_us: 0\n" : "");
    int r = fclose(file) < 0 ? -errno : 0;
    if (r == 0)
        r = model_start_program(plots->bench, MODEL_PROGRAM, config, log, LANES_MAX, &plots->model);
    unlink(config);
    if (r < 0)
        return r;
    plots->broker = (struct processes){.pids = {plots->model.broker}, .count = 1};
    lanes_init(&plots->lanes, plots->model.standin, &plots->image);
    return plots->model.workers.count == LANES_MAX ? 0 : -ESRCH;
}

/* ---- Pictures ---- */

static void fill_series(struct svg_series *series, unsigned int point, const double *values,
                        unsigned int count)
{
    series->y[point] = fmax(median(values, count), LEAST);
    series->low[point] = fmax(quantile(values, count, 0.25), LEAST);
    series->high[point] = fmax(quantile(values, count, 0.75), LEAST);
}

static int draw(const struct axis *axis, const struct point *points, unsigned int rounds,
                const char *folder)
{
    struct svg_panel panels[] = {
        {"Rate", "requests a second", 1, {{.name = "all devices"}}},
        {"Processor time", "us a request", 2, {{.name = "workers"}, {.name = "broker"}}},
        {"System calls", "calls a request", 2, {{.name = "workers"}, {.name = "broker"}}},
    };
    struct svg_picture picture = {.title = axis->title,
                                  .subtitle = axis->subtitle,
                                  .axis = axis->unit,
                                  .point_count = axis->count,
                                  .x_names = axis->names};
    for (unsigned int i = 0; i < axis->count; i++) {
        const struct point *point = &points[i];
        picture.x[i] = axis_value(axis, i);
        fill_series(&panels[0].series[0], i, point->rate, rounds);
        fill_series(&panels[1].series[0], i, point->worker_us, rounds);
        fill_series(&panels[1].series[1], i, point->broker_us, rounds);
        fill_series(&panels[2].series[0], i, &point->worker_calls, 1);
        fill_series(&panels[2].series[1], i, &point->broker_calls, 1);
    }
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), "%s/%s.svg", folder, axis->name);
    FILE *file = fopen(path, "we");
    if (!file)
        return -errno;
    svg_write(file, &picture, panels, points[0].worker_calls < 0 ? 2 : 3);
    return fclose(file) < 0 ? -errno : 0;
}

/* ---- Numbers ---- */

static void print_axis_json(FILE *file, const struct axis *axis, const struct point *points,
                            unsigned int rounds)
{
    fprintf(file, "  \"%s\": [\n", axis->name);
    for (unsigned int i = 0; i < axis->count; i++) {
        const struct point *point = &points[i];
        fprintf(
            file,
            "    {\"%s\": %.0f, \"requests_per_s\": %.0f, \"worker_cpu_us\": %.3f, "
            "\"broker_cpu_us\": %.3f, \"worker_syscalls\": %.4f, \"broker_syscalls\": %.4f}%s\n",
            axis->name, axis_value(axis, i), median(point->rate, rounds),
            median(point->worker_us, rounds), median(point->broker_us, rounds), point->worker_calls,
            point->broker_calls, i + 1 < axis->count ? "," : "");
    }
    fprintf(file, "  ],\n");
}

static int write_json(const struct plots *plots, const char *folder)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), "%s/plots.json", folder);
    FILE *file = fopen(path, "we");
    if (!file)
        return -errno;
    fprintf(file, "{\n");
    for (size_t a = 0; a < AXES; a++)
        print_axis_json(file, &axes[a], plots->points[a], plots->bench->rounds);
    fprintf(file, "  \"rounds\": %u\n}\n", plots->bench->rounds);
    return fclose(file) < 0 ? -errno : 0;
}

/* What must not jump: each as a cost, which is better when it is lower. */
static double cost(const struct point *point, unsigned int rounds, unsigned int which)
{
    switch (which) {
    case 0:
        return median(point->worker_us, rounds) + median(point->broker_us, rounds);
    case 1:
        return point->worker_calls + point->broker_calls;
    default:
        return 1 / median(point->rate, rounds);
    }
}

/* The largest step between neighbours, upwards. */
static void print_largest(const struct axis *axis, const struct point *points, unsigned int rounds,
                          unsigned int which)
{
    static const char *const names[] = {"processor time a request", "system calls a request",
                                        "time a request, all together"};
    unsigned int worst = 1;
    double largest = 0;
    for (unsigned int i = 1; i < axis->count; i++) {
        const double step = cost(&points[i], rounds, which) / cost(&points[i - 1], rounds, which);
        if (step > largest) {
            largest = step;
            worst = i;
        }
    }
    printf("%s: %s grows most from %s to %s: %.2f times%s\n",
           largest > axis->step_explains * CLIFF ? "A CLIFF" : "no cliff", names[which],
           axis->names[worst - 1], axis->names[worst], largest,
           axis->step_explains > 1 ? ", for twice the bytes" : "");
}

static void print_axis(const struct axis *axis, const struct point *points, unsigned int rounds)
{
    printf("\n%-28s %10s %11s %11s %9s %9s\n", axis->unit, "requests/s", "worker us", "broker us",
           "calls", "broker's");
    for (unsigned int i = 0; i < axis->count; i++) {
        const struct point *point = &points[i];
        printf("%-28s %10.0f %11.2f %11.2f %9.3f %9.3f\n", axis->names[i],
               median(point->rate, rounds), median(point->worker_us, rounds),
               median(point->broker_us, rounds), point->worker_calls, point->broker_calls);
    }
    for (unsigned int which = 0; which < 3; which++)
        print_largest(axis, points, rounds, which);
}

int plots_run(const struct bench *bench, const char *folder, const char *dir, int log)
{
    static struct plots plots;
    char image[PATH_SIZE];
    plots.bench = bench;
    snprintf(image, sizeof(image), "%s/plots", dir);
    int r = mkdir(folder, 0755) < 0 && errno != EEXIST ? -errno : 0;
    if (r == 0)
        r = image_make(image, IMAGE_SIZE, &plots.image);
    if (r == 0)
        r = start(&plots, dir, log);
    for (size_t a = 0; r == 0 && a < AXES; a++)
        r = measure_axis(&plots, &axes[a], plots.points[a]);
    r = model_stop(&plots.model, r);
    for (size_t a = 0; r == 0 && a < AXES; a++) {
        print_axis(&axes[a], plots.points[a], bench->rounds);
        r = draw(&axes[a], plots.points[a], bench->rounds, folder);
    }
    if (r == 0)
        r = write_json(&plots, folder);
    lanes_free(&plots.lanes);
    image_free(&plots.image);
    unlink(image);
    return r;
}
