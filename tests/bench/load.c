/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

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

static int count_calls(const struct bench *bench, const struct load *load,
                       const struct load_side *side, struct load_served *served)
{
    struct load_turn turn = {.duration_ns = bench->slice_ns / TURN_PART};
    struct counted data, rest = {.method = SYSCALLS_NONE, .syscalls = -1};
    counted_begin(&data, &side->model->workers, turn.duration_ns);
    if (data.method == SYSCALLS_TRACEPOINT)
        counted_begin(&rest, &side->model->rest, turn.duration_ns);
    int r = load->turn(side->context, &turn);
    counted_end(&rest);
    counted_end(&data);
    const double count = (double)turn.count;
    served->data.syscalls = data.syscalls < 0 ? -1 : (double)data.syscalls / count;
    served->rest.syscalls = rest.syscalls < 0 ? -1 : (double)rest.syscalls / count;
    return r;
}

static double rate(const struct load_turn *turn)
{
    return turn->ns == 0 ? 0 : (double)turn->count * 1e9 / (double)turn->ns;
}

/* What is measured of a side, until it is divided by the number of operations. */
struct measured {
    struct guest before;
    uint64_t count;
    struct use data, rest;
};

static int begin(const struct bench *bench, const struct load *load, const struct load_side *side,
                 struct load_served *served, struct measured *measured)
{
    int r = count_calls(bench, load, side, served);
    *measured = (struct measured){.before = *side->guest};
    return r;
}

static int measure_turn(const struct bench *bench, const struct load *load,
                        const struct load_side *side, unsigned int round,
                        struct load_served *served, struct measured *measured)
{
    struct load_turn turn = {.duration_ns = bench->slice_ns / TURN_PART,
                             .latency = load->timed ? &served->latency : NULL};
    const struct use data = use_of(&side->model->workers), rest = use_of(&side->model->rest);
    int r = load->turn(side->context, &turn);
    use_add(&measured->data, data, &side->model->workers);
    use_add(&measured->rest, rest, &side->model->rest);
    measured->count += turn.count;
    served->rate[round] = rate(&turn);
    return r < 0 ? r : side->guest->error;
}

static void conclude(const struct load_side *side, const struct measured *measured,
                     struct load_served *served)
{
    const struct guest *guest = side->guest, *before = &measured->before;
    const double count = (double)measured->count;
    served->kicks = (double)(guest->kicks - before->kicks) / count;
    served->interrupts = (double)(guest->interrupts - before->interrupts) / count;
    served->register_accesses =
        (double)(guest->register_accesses - before->register_accesses) / count - served->kicks;
    use_divide(&measured->data, count, &served->data);
    use_divide(&measured->rest, count, &served->rest);
}

static void look_at_peer(const struct load *load, struct load_side *peer, int result)
{
    if (result == 0)
        return;
    fprintf(stderr, "bench: %s: the peer fails, and is left out here: %s\n", load->name,
            strerror(-result));
    peer->context = NULL;
}

int load_run(const struct bench *bench, struct load_set *set, const struct load *load,
             const struct load_side *ours, struct load_side *peer)
{
    struct load_result *result = &set->results[set->count++];
    struct measured measured, peer_measured;
    *result = (struct load_result){.load = load};
    int r = begin(bench, load, ours, &result->ours, &measured);
    if (r == 0 && peer->context)
        look_at_peer(load, peer, begin(bench, load, peer, &result->peer, &peer_measured));
    for (unsigned int round = 0; r == 0 && round < bench->rounds; round++) {
        r = measure_turn(bench, load, ours, round, &result->ours, &measured);
        if (r == 0 && peer->context)
            look_at_peer(load, peer,
                         measure_turn(bench, load, peer, round, &result->peer, &peer_measured));
        struct load_turn turn = {.duration_ns = bench->slice_ns / BARE_PART,
                                 .latency = load->timed ? &result->bare_latency : NULL};
        if (r == 0 && load->bare)
            r = load->bare(ours->context, &turn);
        result->bare_rate[round] = rate(&turn);
    }
    if (r < 0 || measured.count == 0) {
        fprintf(stderr, "bench: %s, %s: no result\n", set->name, load->name);
        return r < 0 ? r : -EIO;
    }
    conclude(ours, &measured, &result->ours);
    result->has_peer = peer->context != NULL;
    if (result->has_peer)
        conclude(peer, &peer_measured, &result->peer);
    return 0;
}

/* ---- The results ---- */

static double mib(double rate, const struct load *load)
{
    return rate * load->bytes / 1048576;
}

static int name_width(const struct load_set *set)
{
    int width = NAME_WIDTH;
    for (unsigned int i = 0; i < set->count; i++) {
        const int length = (int)strlen(set->results[i].load->name);
        width = length > width ? length : width;
    }
    return width;
}

static void print_latency(struct load_result *result, int width)
{
    printf("%-*s p50 %.1f us, p99 %.1f us", width, "", samples_us(&result->ours.latency, 50),
           samples_us(&result->ours.latency, 99));
    if (result->load->bare)
        printf("; bare p50 %.1f us, p99 %.1f us", samples_us(&result->bare_latency, 50),
               samples_us(&result->bare_latency, 99));
    printf("\n");
}

static double cpu_ns(const struct load_served *served)
{
    return served->data.cpu_ns + served->rest.cpu_ns;
}

static bool has_peer(const struct load_set *set)
{
    bool has = false;
    for (unsigned int i = 0; i < set->count; i++)
        has = has || set->results[i].has_peer;
    return has;
}

static void print_beside(const struct bench *bench, struct load_set *set)
{
    const int width = name_width(set);
    printf("\nof peer: %-*s %10s %11s %9s %9s %6s %8s %8s\n", width - 9, set->title, set->operation,
           RATIO_TITLE, "p50 us", "cpu us", "ratio", "irqs", "kicks");
    for (unsigned int i = 0; i < set->count; i++) {
        struct load_result *result = &set->results[i];
        struct load_served *peer = &result->peer;
        if (result->has_peer)
            printf("%-*s %10.0f %11s %9.1f %9.2f %6.2f %8.3f %8.3f\n", width, result->load->name,
                   median(peer->rate, bench->rounds),
                   ratio_words(result->ours.rate, peer->rate, bench->rounds).text,
                   samples_us(&peer->latency, 50), cpu_ns(peer) / 1e3,
                   cpu_ns(peer) > 0 ? cpu_ns(&result->ours) / cpu_ns(peer) : 0, peer->interrupts,
                   peer->kicks);
    }
}

void load_print(const struct bench *bench, struct load_set *set)
{
    const int width = name_width(set);
    printf("\n%-*s %10s %10s %10s %11s %8s %8s %8s\n", width, set->title, set->operation, "bare",
           "MiB/s", RATIO_TITLE, "kicks", "irqs", "regs");
    for (unsigned int i = 0; i < set->count; i++) {
        struct load_result *result = &set->results[i];
        const struct load_served *ours = &result->ours;
        const double rate = median(ours->rate, bench->rounds);
        printf("%-*s %10.0f %10.0f %10.3g %11s %8.3f %8.3f %8.3f\n", width, result->load->name,
               rate, median(result->bare_rate, bench->rounds), mib(rate, result->load),
               ratio_words(ours->rate, result->bare_rate, bench->rounds).text, ours->kicks,
               ours->interrupts, ours->register_accesses);
        if (result->load->timed)
            print_latency(result, width);
    }
    use_print_title(set->title, width);
    for (unsigned int i = 0; i < set->count; i++)
        use_print(set->results[i].load->name, width, &set->results[i].ours.data,
                  &set->results[i].ours.rest);
    if (has_peer(set))
        print_beside(bench, set);
    printf("%s", set->notes);
}

static void print_peer_json(FILE *file, const struct bench *bench, struct load_result *result)
{
    fprintf(file,
            ", \"peer\": {\"per_s\": %.0f, \"ratio_of_ours\": %.3f, \"ratio_spread\": %.3f, "
            "\"p50_us\": %.2f, \"kicks\": %.4f, \"interrupts\": %.4f",
            median(result->peer.rate, bench->rounds),
            median_ratio(result->ours.rate, result->peer.rate, bench->rounds),
            ratio_spread(result->ours.rate, result->peer.rate, bench->rounds),
            samples_us(&result->peer.latency, 50), result->peer.kicks, result->peer.interrupts);
    use_print_json(file, "worker", &result->peer.data);
    use_print_json(file, "broker", &result->peer.rest);
    fprintf(file, "}");
}

void load_print_json(FILE *file, const struct bench *bench, struct load_set *set)
{
    fprintf(file, "  \"%s\": [\n", set->name);
    for (unsigned int i = 0; i < set->count; i++) {
        struct load_result *result = &set->results[i];
        struct load_served *ours = &result->ours;
        const double rate = median(ours->rate, bench->rounds);
        fprintf(file,
                "    {\"name\": \"%s\", \"per_s\": %.0f, \"bare_per_s\": %.0f, "
                "\"mib_per_s\": %.3f, \"ratio\": %.3f, \"ratio_spread\": %.3f, \"kicks\": %.4f, "
                "\"interrupts\": %.4f, "
                "\"register_accesses\": %.4f, \"p50_us\": %.2f, \"p99_us\": %.2f, "
                "\"bare_p50_us\": %.2f, \"bare_p99_us\": %.2f",
                result->load->name, rate, median(result->bare_rate, bench->rounds),
                mib(rate, result->load), median_ratio(ours->rate, result->bare_rate, bench->rounds),
                ratio_spread(ours->rate, result->bare_rate, bench->rounds), ours->kicks,
                ours->interrupts, ours->register_accesses, samples_us(&ours->latency, 50),
                samples_us(&ours->latency, 99), samples_us(&result->bare_latency, 50),
                samples_us(&result->bare_latency, 99));
        use_print_json(file, "worker", &ours->data);
        use_print_json(file, "broker", &ours->rest);
        if (result->has_peer)
            print_peer_json(file, bench, result);
        fprintf(file, "}%s\n", i + 1 < set->count ? "," : "");
    }
    fprintf(file, "  ],\n");
}

void load_check(const struct bench *bench, const struct load_set *set, unsigned int *count,
                unsigned int *failed)
{
    if (set->peers && bench->peer_is_ours) {
        const bool kept = has_peer(set);
        printf("%s: %s: a second device model is measured, as a peer\n", kept ? "ok" : "MISSED",
               set->name);
        *count += 1;
        *failed += !kept;
    }
    for (unsigned int i = 0; i < set->count; i++) {
        const struct load_result *result = &set->results[i];
        const struct {
            const char *what;
            double is, limit;
        } promises[] = {
            {"system calls", result->ours.data.syscalls, result->load->syscalls_max},
            {"kicks", result->ours.kicks, result->load->kicks_max},
            {"interrupts", result->ours.interrupts, result->load->interrupts_max},
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
        samples_free(&set->results[i].ours.latency);
        samples_free(&set->results[i].peer.latency);
        samples_free(&set->results[i].bare_latency);
    }
    set->count = 0;
}
