/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

/* There are many loads, so their turns are shorter than those of the others. */
#define TURN_PART 2u
#define BARE_PART 4u

/* ---- Interrupts ---- */

int load_take_interrupt(struct guest *guest)
{
    struct pollfd line = {.fd = standin_irq_fd(guest->standin, guest->id), .events = POLLIN};
    if (line.fd < 0 || poll(&line, 1, 0) <= 0)
        return guest->error;
    int r = guest_take_interrupt(guest);
    return r < 0 ? r : 0;
}

int load_wait(struct guest_queue *queue)
{
    if (!guest_queue_enable_interrupts(queue))
        return 0;
    int r = guest_take_interrupt(queue->guest);
    return r < 0 ? r : 0;
}

/* ---- Turns ---- */

int load_repeat(struct load_turn *turn, int (*once)(void *context), void *context)
{
    int r = 0;
    for (const uint64_t start = bench_now_ns(); r == 0 && turn->ns < turn->duration_ns;) {
        const uint64_t before = turn->ns;
        r = once(context);
        turn->ns = bench_now_ns() - start;
        turn->count++;
        if (turn->latency)
            samples_add(turn->latency, turn->ns - before);
    }
    return r;
}

static int count_calls(const struct bench *bench, const struct load *load, void *context,
                       pid_t worker, struct load_result *result)
{
    struct load_turn turn = {.duration_ns = bench->slice_ns / TURN_PART};
    struct counted counted;
    counted_begin(&counted, worker, turn.duration_ns);
    int r = load->turn(context, &turn);
    counted_end(&counted);
    result->syscalls = counted.syscalls < 0 ? -1 : (double)counted.syscalls / (double)turn.count;
    return r;
}

static double rate(const struct load_turn *turn)
{
    return turn->ns == 0 ? 0 : (double)turn->count * 1e9 / (double)turn->ns;
}

int load_run(const struct bench *bench, struct load_set *set, const struct load *load,
             void *context, struct guest *guest, pid_t worker)
{
    struct load_result *result = &set->results[set->count++];
    uint64_t count = 0, cpu = 0;
    *result = (struct load_result){.load = load};
    int r = count_calls(bench, load, context, worker, result);
    const struct guest before = *guest;
    for (unsigned int round = 0; r == 0 && round < bench->rounds; round++) {
        struct load_turn turn = {.duration_ns = bench->slice_ns / TURN_PART,
                                 .latency = load->timed ? &result->latency : NULL};
        const uint64_t cpu_before = cpu_time_ns(worker);
        r = load->turn(context, &turn);
        cpu += cpu_time_ns(worker) - cpu_before;
        count += turn.count;
        result->rate[round] = rate(&turn);
        turn = (struct load_turn){.duration_ns = bench->slice_ns / BARE_PART,
                                  .latency = load->timed ? &result->bare_latency : NULL};
        if (r == 0 && load->bare)
            r = load->bare(context, &turn);
        result->bare_rate[round] = rate(&turn);
    }
    if (r < 0 || count == 0) {
        fprintf(stderr, "bench: %s, %s: no result\n", set->name, load->name);
        return r < 0 ? r : -EIO;
    }
    result->kicks = (double)(guest->kicks - before.kicks) / (double)count;
    result->interrupts = (double)(guest->interrupts - before.interrupts) / (double)count;
    result->worker_cpu_ns = (double)cpu / (double)count;
    return guest->error;
}

/* ---- The results ---- */

static double mib(double rate, const struct load *load)
{
    return rate * load->bytes / 1048576;
}

static void print_latency(struct load_result *result)
{
    printf("%-28s p50 %.1f us, p99 %.1f us", "", samples_us(&result->latency, 50),
           samples_us(&result->latency, 99));
    if (result->load->bare)
        printf("; bare p50 %.1f us, p99 %.1f us", samples_us(&result->bare_latency, 50),
               samples_us(&result->bare_latency, 99));
    printf("\n");
}

void load_print(const struct bench *bench, struct load_set *set)
{
    printf("\n%-28s %10s %10s %10s %6s %8s %8s %8s %8s\n", set->title, set->operation, "bare",
           "MiB/s", "ratio", "calls", "kicks", "irqs", "cpu us");
    for (unsigned int i = 0; i < set->count; i++) {
        struct load_result *result = &set->results[i];
        const double rate = median(result->rate, bench->rounds);
        printf("%-28s %10.0f %10.0f %10.3g %6.2f %8.3f %8.3f %8.3f %8.2f\n", result->load->name,
               rate, median(result->bare_rate, bench->rounds), mib(rate, result->load),
               median_ratio(result->rate, result->bare_rate, bench->rounds), result->syscalls,
               result->kicks, result->interrupts, result->worker_cpu_ns / 1e3);
        if (result->load->timed)
            print_latency(result);
    }
    printf("%s", set->notes);
}

void load_print_json(FILE *file, const struct bench *bench, struct load_set *set)
{
    fprintf(file, "  \"%s\": [\n", set->name);
    for (unsigned int i = 0; i < set->count; i++) {
        struct load_result *result = &set->results[i];
        const double rate = median(result->rate, bench->rounds);
        fprintf(file,
                "    {\"name\": \"%s\", \"per_s\": %.0f, \"bare_per_s\": %.0f, "
                "\"mib_per_s\": %.3f, \"ratio\": %.3f, \"syscalls\": %.4f, \"kicks\": %.4f, "
                "\"interrupts\": %.4f, \"worker_cpu_us\": %.3f, \"p50_us\": %.2f, "
                "\"p99_us\": %.2f, \"bare_p50_us\": %.2f, \"bare_p99_us\": %.2f}%s\n",
                result->load->name, rate, median(result->bare_rate, bench->rounds),
                mib(rate, result->load),
                median_ratio(result->rate, result->bare_rate, bench->rounds), result->syscalls,
                result->kicks, result->interrupts, result->worker_cpu_ns / 1e3,
                samples_us(&result->latency, 50), samples_us(&result->latency, 99),
                samples_us(&result->bare_latency, 50), samples_us(&result->bare_latency, 99),
                i + 1 < set->count ? "," : "");
    }
    fprintf(file, "  ],\n");
}

void load_check(const struct load_set *set, unsigned int *count, unsigned int *failed)
{
    for (unsigned int i = 0; i < set->count; i++) {
        const struct load_result *result = &set->results[i];
        const struct {
            const char *what;
            double is, limit;
        } promises[] = {
            {"system calls", result->syscalls, result->load->syscalls_max},
            {"kicks", result->kicks, result->load->kicks_max},
            {"interrupts", result->interrupts, result->load->interrupts_max},
        };
        for (unsigned int n = 0; n < sizeof(promises) / sizeof(promises[0]); n++) {
            const bool kept = promises[n].is >= 0 && promises[n].is <= promises[n].limit;
            if (promises[n].limit == 0)
                continue;
            printf("%s: %s, %s: %s: %.3f, at most %.2f\n", kept ? "ok" : "MISSED", set->name,
                   result->load->name, promises[n].what, promises[n].is, promises[n].limit);
            *count += 1;
            *failed += !kept;
        }
    }
}

void load_free(struct load_set *set)
{
    for (unsigned int i = 0; i < set->count; i++) {
        samples_free(&set->results[i].latency);
        samples_free(&set->results[i].bare_latency);
    }
    set->count = 0;
}
