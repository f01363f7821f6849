/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATH_SIZE 128
#define UP_MS 10000

uint64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void progress(const char *what)
{
    static uint64_t start;
    if (start == 0)
        start = bench_now_ns();
    fprintf(stderr, "bench: %3.0f s: %s\n", (double)(bench_now_ns() - start) / 1e9, what);
}

void samples_add(struct samples *samples, uint64_t ns)
{
    if (samples->count == samples->capacity) {
        samples->capacity = samples->capacity == 0 ? 65536 : samples->capacity * 2;
        samples->ns = reallocarray(samples->ns, samples->capacity, sizeof(samples->ns[0]));
        if (!samples->ns)
            abort();
    }
    samples->ns[samples->count++] = ns;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

uint64_t samples_percentile(struct samples *samples, unsigned int percent)
{
    if (samples->count == 0)
        return 0;
    qsort(samples->ns, samples->count, sizeof(samples->ns[0]), compare);
    return samples->ns[(samples->count - 1) * percent / 100];
}

void samples_free(struct samples *samples)
{
    free(samples->ns);
    *samples = (struct samples){0};
}

double median(const double *values, unsigned int count)
{
    double sorted[ROUNDS_MAX];
    memcpy(sorted, values, count * sizeof(values[0]));
    qsort(sorted, count, sizeof(sorted[0]), compare_double);
    return count % 2 != 0 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

double quantile(const double *values, unsigned int count, double part)
{
    double sorted[ROUNDS_MAX];
    memcpy(sorted, values, count * sizeof(values[0]));
    qsort(sorted, count, sizeof(sorted[0]), compare_double);
    return sorted[(unsigned int)((count - 1) * part + 0.5)];
}

double samples_us(struct samples *samples, unsigned int percent)
{
    return (double)samples_percentile(samples, percent) / 1e3;
}

static void divide(const double *rates, const double *bare, unsigned int count,
                   double ret[ROUNDS_MAX])
{
    for (unsigned int i = 0; i < count; i++)
        ret[i] = bare[i] > 0 ? rates[i] / bare[i] : 0;
}

double median_ratio(const double *rates, const double *bare, unsigned int count)
{
    double ratios[ROUNDS_MAX] = {0};
    divide(rates, bare, count, ratios);
    return median(ratios, count);
}

double ratio_spread(const double *rates, const double *bare, unsigned int count)
{
    double ratios[ROUNDS_MAX] = {0};
    divide(rates, bare, count, ratios);
    return (quantile(ratios, count, 0.75) - quantile(ratios, count, 0.25)) / 2;
}

struct ratio_words ratio_words(const double *rates, const double *bare, unsigned int count)
{
    struct ratio_words words;
    const double ratio = median_ratio(rates, bare, count);
    const double part = ratio > 0 ? ratio_spread(rates, bare, count) / ratio : 0;
    snprintf(words.text, sizeof(words.text), "%6.2f %3.0f%%", ratio, fmin(part * 100, 999));
    return words;
}

/* ---- A device model ---- */

int model_write_config(const char *path, const char *dir, const char *keys, bool no_polling)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return -errno;
    fprintf(file, "devices:\n  - id: 0\n    mmio_addr: 0x%llx\n%s", BENCH_BASE,
            no_polling ? "    poll_us: 0\n" : "");
    for (const char *at = keys; *at; at++) {
        if (*at == '@')
            fputs(dir, file);
        else
            fputc(*at, file);
    }
    return fclose(file) < 0 ? -errno : 0;
}

static int launch(const char *program, const char *config, const char *control, int log,
                  unsigned int devices, struct standin **ret)
{
    const char *argv[] = {program, "--config", config, control ? "--control" : NULL, control, NULL};
    struct standin_options options = {
        .argv = argv,
        .stdin_fd = -1,
        .stdout_fd = log,
        .stderr_fd = log,
    };
    for (unsigned int i = 0; i < devices; i++)
        options.devices[i] = (struct standin_device){
            .present = true, .shmem_addr = bench_shmem(i), .shmem_size = BENCH_SHMEM_SIZE};
    uint64_t value;
    int r = standin_start(&options, ret);
    for (unsigned int i = 0; r == 0 && i < devices; i++)
        r = standin_read(*ret, i, bench_base(i), 4, &value, UP_MS); /* when it is up */
    return r;
}

int model_launch(const char *program, const char *config, const char *control, int log,
                 struct standin **ret)
{
    return launch(program, config, control, log, 1, ret);
}

int model_start_program(const struct bench *bench, const char *program, const char *config, int log,
                        unsigned int devices, struct model *ret)
{
    *ret = (struct model){0};
    place_nowhere();
    if (bench->one_processor && !place_what_starts())
        return -ENODEV;
    const uint64_t before = bench_now_ns();
    int r = launch(program, config, NULL, log, devices, &ret->standin);
    if (r < 0)
        return r;
    ret->start_ns = bench_now_ns() - before;
    ret->worker = standin_find_process(ret->standin, "bao-virtio-worker", 0);
    ret->broker = standin_find_process(ret->standin, "bao-virtio-broker", 0);
    for (unsigned int i = 0; i < devices; i++) {
        const pid_t worker = standin_find_process(ret->standin, "bao-virtio-worker", i);
        if (worker > 0)
            ret->workers.pids[ret->workers.count++] = worker;
    }
    const bool ours = ret->worker > 0 && ret->broker > 0;
    if (ours)
        ret->rest = (struct processes){.pids = {ret->broker}, .count = 1};
    else
        ret->workers.count = standin_processes(ret->standin, ret->workers.pids, PROCESSES_MAX);
    if (!bench->anywhere)
        ret->placed = ours && !bench->one_processor ? place_processes(&ret->workers, ret->broker)
                                                    : place_guest();
    return 0;
}

int model_start(const struct bench *bench, const char *dir, int log, const char *keys,
                struct model *ret)
{
    char config[PATH_SIZE];
    *ret = (struct model){0};
    snprintf(config, sizeof(config), "%s/config.yaml", dir);
    int r = model_write_config(config, dir, keys, bench->no_polling);
    if (r == 0)
        r = model_start_program(bench, MODEL_PROGRAM, config, log, 1, ret);
    unlink(config);
    return r == 0 && (ret->worker < 0 || ret->broker < 0) ? -ESRCH : r;
}

int model_stop(struct model *model, int result)
{
    if (model->standin) {
        const bool wrong = standin_protocol_error(model->standin) != NULL;
        int status = standin_stop(model->standin);
        if (result == 0 && wrong)
            result = -EPROTO;
        if (result == 0 && (status < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0))
            result = -ECHILD;
    }
    model->standin = NULL;
    place_nowhere();
    return result;
}
