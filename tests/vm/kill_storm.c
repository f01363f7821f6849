/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bao-kill-storm kills workers, or the broker, of a running bao-virtio-dm at random moments, as
 * often as is wanted. It prints how long their successors took. It does not verify what the guest
 * gets meanwhile: other programs do.
 *
 * As in tests/standin/storm.h, most workers die of a restart that the control socket asks for. That
 * ends them by SIGKILL as well, and keeps the pauses before a successor short.
 */
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/standin/control_client.h"

#define PATIENCE_MS 60000 /* for an emulated processor on a busy machine */
#define LOOK_US 1000
#define DEATHS_MAX 4096u
#define KILL_EVERY 6u    /* one in so many is our own SIGKILL; all others are restarts */
#define AT_ONCE_EVERY 4u /* one in so many does not wait until the successor is at work */

static struct {
    const char *control;
    unsigned int deaths, moment_ms, idle_ms, stops;
    bool broker;
    int device; /* the id */
} options = {.deaths = 30, .moment_ms = 50, .idle_ms = 1000, .device = -1};

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static unsigned int below(unsigned int limit)
{
    static uint64_t random;
    if (random == 0)
        random = now_us();
    random = random * 6364136223846793005ull + 1442695040888963407ull;
    return limit == 0 ? 0 : (unsigned int)(random >> 33) % limit;
}

static int ask(enum control_verb verb, uint32_t index, struct control_reply *ret_reply)
{
    return control_client_ask(options.control, verb, index, ret_reply);
}

/* The device's place in the configuration, or -1. */
static int find_device(void)
{
    struct control_reply reply;
    if (ask(CONTROL_STATUS, 0, &reply) < 0)
        return -1;
    uint32_t count = reply.device_count;
    for (uint32_t i = 0; i < count; i++) {
        if (ask(CONTROL_STATUS, i, &reply) == 0 && reply.device.id == (uint32_t)options.device)
            return (int)i;
    }
    return -1;
}

/* Wait for another worker than `before` at that place. `at_work`: wait until it is ready. */
static pid_t next_worker(int place, pid_t before, bool at_work, struct control_reply *ret_reply)
{
    for (uint64_t end = now_us() + PATIENCE_MS * 1000ull; now_us() < end; usleep(LOOK_US)) {
        if (ask(CONTROL_STATUS, (uint32_t)place, ret_reply) < 0)
            continue;
        const struct control_device *device = &ret_reply->device;
        bool ready = device->phase == CONTROL_RUNNING;
        if (device->pid > 0 && device->pid != before &&
            (ready || (!at_work && device->phase == CONTROL_STARTING)))
            return device->pid;
    }
    return -1;
}

/* Wait until the guest has got something done, by the device's counters. For a while it may have
 * nothing to do. */
static void wait_for_progress(int place, const struct control_device *before)
{
    struct control_reply reply;
    const struct state_counters *then = &before->counters, *now = &reply.device.counters;
    for (uint64_t end = now_us() + options.idle_ms * 1000ull; now_us() < end; usleep(LOOK_US)) {
        if (ask(CONTROL_STATUS, (uint32_t)place, &reply) == 0 &&
            (now->requests != then->requests || now->kicks != then->kicks ||
             now->register_accesses != then->register_accesses))
            return;
    }
}

/* The broker is the process that listens on the socket. Other processes run its program, too. */
static pid_t find_broker(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred listener = {.pid = -1};
    socklen_t length = sizeof(listener);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", options.control);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &listener, &length) < 0)
        listener.pid = -1;
    close(fd);
    return listener.pid;
}

static bool all_at_work(void)
{
    struct control_reply reply;
    if (ask(CONTROL_STATUS, 0, &reply) < 0)
        return false;
    for (uint32_t i = 0, count = reply.device_count; i < count; i++) {
        if (ask(CONTROL_STATUS, i, &reply) < 0 || reply.device.phase != CONTROL_RUNNING)
            return false;
    }
    return true;
}

static pid_t next_broker(pid_t before)
{
    for (uint64_t end = now_us() + PATIENCE_MS * 1000ull; now_us() < end; usleep(LOOK_US)) {
        pid_t pid = all_at_work() ? find_broker() : -1;
        if (pid > 0 && pid != before)
            return pid;
    }
    return -1;
}

static uint32_t took_us[DEATHS_MAX];

static int compare(const void *a, const void *b)
{
    uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;
    return one < other ? -1 : one > other;
}

static int report(const char *what, unsigned int deaths, unsigned int timed)
{
    printf("%u deaths of %s", deaths, what);
    if (timed > 0) {
        qsort(took_us, timed, sizeof(took_us[0]), compare);
        printf(", the next at work after %u ms (median), %u ms (worst)", took_us[timed / 2] / 1000,
               took_us[timed - 1] / 1000);
    }
    puts("");
    return EXIT_SUCCESS;
}

static int fail(const char *what, unsigned int deaths)
{
    printf("after %u deaths: %s\n", deaths, what);
    return EXIT_FAILURE;
}

/* With what the broker says of the device now, if it answers. */
static int fail_without_worker(const char *what, unsigned int deaths, int place, pid_t before)
{
    static const char *const phases[] = {
        [CONTROL_WAITING] = "waits for its start",
        [CONTROL_STARTING] = "starts",
        [CONTROL_RUNNING] = "runs",
        [CONTROL_ENDING] = "ends",
    };
    struct control_reply reply;
    const int error = ask(CONTROL_STATUS, (uint32_t)place, &reply);
    fail(what, deaths);
    if (error < 0)
        printf("the broker (%d) does not answer: %s\n", (int)find_broker(), strerror(-error));
    else
        printf("the last worker was %d; worker %d %s\n", (int)before, (int)reply.device.pid,
               reply.device.phase < sizeof(phases) / sizeof(phases[0]) ? phases[reply.device.phase]
                                                                       : "does what nobody knows");
    return EXIT_FAILURE;
}

static int strike(int place, pid_t worker, unsigned int i)
{
    struct control_reply reply;
    if (options.stops > 0 && i % (options.deaths / options.stops) == 0)
        return kill(worker, SIGSTOP); /* it stays stopped until the broker finds and kills it */
    if (i % KILL_EVERY == KILL_EVERY / 2)
        return kill(worker, SIGKILL);
    if (ask(CONTROL_STATUS, (uint32_t)place, &reply) < 0)
        return -1;
    return ask(CONTROL_RESTART, reply.device.id, &reply);
}

static int kill_workers(int place)
{
    struct control_reply reply;
    unsigned int timed = 0;
    uint64_t struck = 0;
    pid_t worker = 0;
    for (unsigned int i = 0; i < options.deaths; i++) {
        bool at_work = i % AT_ONCE_EVERY != AT_ONCE_EVERY - 1;
        const pid_t before = worker;
        worker = next_worker(place, before, at_work, &reply);
        if (worker < 0)
            return fail_without_worker("no successor", i, place, before);
        if (at_work && struck != 0)
            took_us[timed++] = (uint32_t)(now_us() - struck);
        if (at_work) {
            wait_for_progress(place, &reply.device);
            usleep(1000 * below(options.moment_ms));
        }
        struck = now_us();
        if (strike(place, worker, i) < 0)
            return fail("a worker has died by itself, or a restart is refused", i);
    }
    if (next_worker(place, worker, true, &reply) < 0)
        return fail_without_worker("no last successor", options.deaths, place, worker);
    return report(reply.device.name, options.deaths, timed);
}

static int kill_brokers(void)
{
    uint64_t struck = 0;
    pid_t broker = 0;
    unsigned int timed = 0;
    for (unsigned int i = 0; i <= options.deaths; i++) {
        broker = next_broker(broker);
        if (broker < 0)
            return fail("no successor", i);
        if (struck != 0)
            took_us[timed++] = (uint32_t)(now_us() - struck);
        if (i == options.deaths)
            break;
        usleep(1000 * below(options.moment_ms));
        struck = now_us();
        if (kill(broker, SIGKILL) < 0)
            return fail("a broker has died by itself", i);
    }
    return report("the broker", options.deaths, timed);
}

static int usage(void)
{
    fputs(
        "usage: bao-kill-storm (--device ID | --broker) [--deaths N] [--stops N]\n"
        "                      [--idle MS] [--moment MS] [--control PATH]\n"
        "  --stops N    so many of the deaths begin with SIGSTOP\n"
        "  --idle MS    a successor is spared until the guest has got something done, or has had\n"
        "               nothing to do for so long (1000)\n"
        "  --moment MS  and then for a random time up to this (50)\n",
        stderr);
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option words[] = {
        {"deaths", required_argument, NULL, 'n'},  {"moment", required_argument, NULL, 'm'},
        {"control", required_argument, NULL, 'c'}, {"device", required_argument, NULL, 'd'},
        {"idle", required_argument, NULL, 'i'},    {"stops", required_argument, NULL, 's'},
        {"broker", no_argument, NULL, 'b'},        {0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", words, NULL)) != -1) {
        unsigned int number = optarg ? (unsigned int)strtoul(optarg, NULL, 10) : 0;
        if (option == 'n')
            options.deaths = number < DEATHS_MAX ? number : DEATHS_MAX;
        else if (option == 'm')
            options.moment_ms = number;
        else if (option == 'i')
            options.idle_ms = number;
        else if (option == 's')
            options.stops = number;
        else if (option == 'c')
            options.control = optarg;
        else if (option == 'd')
            options.device = (int)number;
        else if (option == 'b')
            options.broker = true;
        else
            return usage();
    }
    if (optind < argc || options.broker == (options.device >= 0) || options.deaths == 0 ||
        options.stops > options.deaths)
        return usage();
    static char only[CONTROL_PATH_SIZE];
    if (!options.control) {
        if (control_client_find(only) < 0)
            return fail("no bao-virtio-dm answers", 0);
        options.control = only;
    }
    if (options.broker)
        return kill_brokers();
    int place = find_device();
    return place < 0 ? fail("no such device, or no bao-virtio-dm", 0) : kill_workers(place);
}
