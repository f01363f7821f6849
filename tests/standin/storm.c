/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/storm.h"
#include "tests/cunit_main.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/standin/clock.h"
#include "tests/standin/control_client.h"

#define PATIENCE_MS 60000 /* the longest pause and a missed deadline, on a slow machine */
#define LOOK_US 500
#define MOMENT_US 3000 /* a kill comes at most this much later than the progress */
#define WITHOUT_PROGRESS 4
#define KEEPER_STARTS_US 40000 /* about the time until a keeper, its broker and its worker run */
#define BROKERS_A_ROUND 5u     /* they cause pauses of 0.1 to 0.8 s */

static unsigned int below(struct storm *storm, unsigned int limit)
{
    storm->random = storm->random * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned int)(storm->random >> 33) % limit;
}

static void note(struct storm_times *times, uint64_t since_ns)
{
    if (times->count < STORM_TIMES_MAX)
        times->us[times->count++] = (uint32_t)((now_ns() - since_ns) / 1000);
}

void storm_told(struct storm *storm)
{
    uint64_t since_ns = atomic_exchange(&storm->struck_ns, 0);
    if (since_ns != 0)
        note(&storm->told, since_ns);
}

static int ask(const struct storm *storm, enum control_verb verb, struct control_reply *ret_reply)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/control", storm->fixture->dir);
    return control_client_ask(path, verb, 0, ret_reply);
}

/* Wait for another worker than `before`, at work or starting. Returns -1 if there is none. */
static pid_t next_worker(const struct storm *storm, pid_t before, bool at_work)
{
    struct control_reply reply;
    for (unsigned int i = 0; i < PATIENCE_MS * 1000u / LOOK_US; i++, usleep(LOOK_US)) {
        if (ask(storm, CONTROL_STATUS, &reply) < 0 || reply.device.pid <= 0 ||
            reply.device.pid == before)
            continue;
        uint32_t phase = reply.device.phase;
        if (phase == CONTROL_RUNNING || (phase == CONTROL_STARTING && !at_work))
            return reply.device.pid;
    }
    return -1;
}

static bool wait_for_progress(const struct storm *storm)
{
    uint64_t before = atomic_load(&storm->progress);
    for (unsigned int i = 0; i < PATIENCE_MS * 1000u / LOOK_US; i++, usleep(LOOK_US)) {
        if (atomic_load(&storm->progress) - before >= 2) /* at least one began after `before` */
            return true;
    }
    return false;
}

/* Wait for the moment of strike number `i`. */
static bool wait_for_moment(struct storm *storm, unsigned int i)
{
    if (i % WITHOUT_PROGRESS == WITHOUT_PROGRESS - 1)
        return true;
    storm->calm++;
    bool progress = wait_for_progress(storm);
    usleep(below(storm, MOMENT_US));
    return progress;
}

static const char *ask_for_restart(const struct storm *storm)
{
    struct control_reply reply;
    int r = ask(storm, CONTROL_RESTART, &reply);
    return r == 0 ? NULL : "a restart is refused";
}

static const char *rage_at_workers(struct storm *storm)
{
    const unsigned int total = storm->kills + storm->restarts, turn = total / storm->kills;
    pid_t worker = 0;
    uint64_t struck_ns = 0;
    for (unsigned int i = 0; i < total; i++) {
        bool at_work = i % WITHOUT_PROGRESS != WITHOUT_PROGRESS - 1;
        worker = next_worker(storm, worker, at_work);
        if (worker < 0)
            return "no successor";
        if (at_work && struck_ns != 0)
            note(&storm->at_work, struck_ns);
        if (!wait_for_moment(storm, i))
            return "the guest gets nothing done";
        struck_ns = now_ns();
        atomic_store(&storm->struck_ns, struck_ns);
        if (i % turn == turn / 2 && kill(worker, SIGKILL) < 0)
            return "a worker has died by itself";
        const char *refused = i % turn == turn / 2 ? NULL : ask_for_restart(storm);
        if (refused)
            return refused;
        storm->deaths++;
    }
    return next_worker(storm, worker, true) > 0 ? NULL : "no last successor";
}

static const char *rage_at_brokers(struct storm *storm)
{
    pid_t broker = 0;
    for (unsigned int i = 0; i < storm->kills; i++) {
        broker = fixture_wait_broker(storm->fixture, broker);
        if (broker < 0)
            return "no successor";
        if (!wait_for_moment(storm, i))
            return "the guest gets nothing done";
        if (kill(broker, SIGKILL) < 0)
            return "a broker has died by itself";
        storm->deaths++;
    }
    return fixture_wait_broker(storm->fixture, broker) > 0 ? NULL : "no last successor";
}

static pid_t next_keeper(const struct storm *storm, pid_t before)
{
    for (unsigned int i = 0; i < PATIENCE_MS * 1000u / LOOK_US; i++, usleep(LOOK_US)) {
        pid_t pid = fixture_managed_keeper(storm->fixture);
        if (pid > 0 && pid != before)
            return pid;
    }
    return -1;
}

static const char *rage_at_keepers(struct storm *storm)
{
    pid_t keeper = 0;
    for (unsigned int i = 0; i < storm->kills; i++) {
        keeper = next_keeper(storm, keeper);
        if (keeper < 0)
            return "no successor";
        if (!wait_for_moment(storm, i))
            return "the guest gets nothing done";
        if (i % WITHOUT_PROGRESS == WITHOUT_PROGRESS - 1)
            usleep(below(storm, KEEPER_STARTS_US));
        if (kill(keeper, SIGKILL) < 0)
            return "a keeper has died by itself";
        storm->deaths++;
    }
    return next_keeper(storm, keeper) > 0 ? NULL : "no last successor";
}

static void *rage(void *argument)
{
    struct storm *storm = argument;
    storm->failed = storm->rage(storm);
    if (!storm->failed && !wait_for_progress(storm))
        storm->failed = "the guest gets nothing done at last";
    atomic_store(&storm->over, true);
    return NULL;
}

static void begin(struct storm *storm, const struct fixture *fixture, unsigned int kills,
                  unsigned int restarts, const char *(*rage_at)(struct storm *storm))
{
    *storm = (struct storm){.fixture = fixture,
                            .kills = kills,
                            .restarts = restarts,
                            .rage = rage_at,
                            .random = (uint64_t)getpid() << 32 | (uint64_t)kills};
    CU_ASSERT_EQUAL_FATAL(pthread_create(&storm->thread, NULL, rage, storm), 0);
}

void storm_workers(struct storm *storm, const struct fixture *fixture)
{
    begin(storm, fixture, long_form() ? 240 : 20, long_form() ? 960 : 100, rage_at_workers);
}

void storm_fewer_workers(struct storm *storm, const struct fixture *fixture)
{
    begin(storm, fixture, long_form() ? 240 : 16, long_form() ? 960 : 80, rage_at_workers);
}

void storm_brokers(struct storm *storm, const struct fixture *fixture)
{
    begin(storm, fixture, BROKERS_A_ROUND, 0, rage_at_brokers);
}

void storm_keepers(struct storm *storm, const struct fixture *fixture)
{
    begin(storm, fixture, long_form() ? 300 : 40, 0, rage_at_keepers);
}

unsigned int storm_broker_rounds(unsigned int rounds, unsigned int long_deaths)
{
    return long_form() ? long_deaths / BROKERS_A_ROUND : rounds;
}

void storm_end(struct storm *storm)
{
    struct control_reply reply = {0};
    pthread_join(storm->thread, NULL);
    if (storm->failed)
        fprintf(stderr, "\nafter %u deaths: %s\n", storm->deaths, storm->failed);
    CU_ASSERT_PTR_NULL(storm->failed);
    CU_ASSERT_EQUAL(storm->deaths, storm->kills + storm->restarts);
    if (storm->restarts == 0)
        return;
    /* No worker has died by itself. */
    CU_ASSERT_EQUAL(ask(storm, CONTROL_STATUS, &reply), 0);
    CU_ASSERT_EQUAL(reply.device.restarts, storm->deaths);
}

static int compare(const void *a, const void *b)
{
    uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;
    return one < other ? -1 : one > other;
}

static uint32_t print_times(struct storm_times *times, const char *words)
{
    if (times->count == 0)
        return 0;
    qsort(times->us, times->count, sizeof(times->us[0]), compare);
    printf(", %s after %.1f ms (median), %.1f ms (worst)", words,
           (double)times->us[times->count / 2] / 1000, (double)times->us[times->count - 1] / 1000);
    return times->us[times->count - 1];
}

unsigned int storm_report(struct storm *storm, const char *words)
{
    printf("\n@storm %s: %u deaths", words, storm->deaths);
    (void)print_times(&storm->at_work, "a successor at work");
    uint32_t told = print_times(&storm->told, "the guest told");
    putchar('\n');
    return told / 1000;
}
