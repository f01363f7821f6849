/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One cell, in its own process. For each cell it asserts:
 *
 *  - Devices 1 to 3 get right answers, and no pause between two of their rounds is longer than
 *    PAUSE_MS (DEATH_PAUSE_MS where a process that they share dies). Unless such a process dies,
 *    nobody of theirs is replaced.
 *  - No register access of device 0 waits longer than REGISTER_MS.
 *  - Device 0 has the fate that its row says, while the fault lasts and after the repair.
 *  - The end is clean: exit status 0, no process left, no mistake that the driver would punish.
 */
#include "tests/faults/cell.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/standin/block_daemon.h"
#include "tests/standin/clock.h"

#define DEVICES 4u
#define ROUNDS 20   /* number of rounds of each other device, while the fault lasts */
#define MEET_MS 200 /* time for a request to meet the fault, before a process is killed */
#define DEAD_MS 1000
#define LOOK_US 1000
#define EXIT_MS 15000

const char *const moment_words[MOMENTS] = {"start", "running", "worker's death", "broker's death",
                                           "keeper's death"};

const char *fate_word(enum fate fate)
{
    switch (fate) {
    case NOT_APPLICABLE:
        return "-";
    case WORKS:
        return "works";
    case FAILS:
        return "errors";
    case WAITS:
        return "waits";
    case RESETS:
        return "reset";
    case COPES:
        return "copes";
    case LOST:
        return "lost";
    case REFUSED:
        return "refused";
    }
    return "?";
}

static const struct expected *expected_of(const struct cell *cell)
{
    return &cell->row->at[cell->moment];
}

/* ---- Start ---- */

#define BLOCK(id, address)                                                                         \
    "  - {id: " id ", type: block, data_plane: virtio, mmio_addr: " address                        \
    ", file_path: \"@/disk" id ".img\"}\n"

static void configure(struct cell *cell, char *yaml, size_t size)
{
    char subject[512];
    subject_prepare(cell, subject, sizeof(subject));
    snprintf(
        yaml, size,
        "devices:\n  - id: 0\n    mmio_addr: 0xa003e00\n%s" BLOCK("1", "0xa004000") BLOCK(
            "2", "0xa004200") "  - {id: 3, type: rng, data_plane: virtio, mmio_addr: 0xa004400}\n",
        subject);
}

/* managed_prepare makes disk0.img and disk1.img itself. */
static void prepare(struct cell *cell)
{
    static char yaml[2048];
    cell->fixture = &cell->managed.fixture;
    cell->subject = (struct subject){.terminal = -1, .log = -1, .net = {.packets = -1}};
    cell->loop.fd = -1;
    managed_prepare(&cell->managed, "", NULL, false);
    fixture_make_image(cell->fixture, "disk2.img", FIXTURE_IMAGE_SECTORS);
    if (!cell->is_managed)
        cell->fixture->starter = NULL;
    if (cell->row->prepare)
        cell->row->prepare(cell);
    if (cell->result->skipped)
        return;
    configure(cell, yaml, sizeof(yaml));
    fixture_configure(cell->fixture, yaml);
}

static void start_others(struct cell *cell)
{
    for (unsigned int i = 0; i < 3; i++)
        witness_start(&cell->witnesses[i], cell->fixture, i + 1);
    register_watch_start(&cell->watch, cell->fixture);
}

static void assert_others_get_on(struct cell *cell)
{
    for (unsigned int i = 0; i < 3; i++)
        CU_ASSERT_TRUE_FATAL(witness_gets_on(&cell->witnesses[i], ROUNDS, DEATH_PAUSE_MS));
}

/* ---- Deaths ---- */

static bool is_dead(pid_t pid)
{
    char path[64], line[256], state = 'Z';
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    const char *end = file && fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
    if (end)
        (void)!sscanf(end, ") %c", &state);
    if (file)
        fclose(file);
    return state == 'Z' || state == 'X';
}

/* Kill the process that the moment names. Afterwards device 0's old worker has gone, or can't die.
 */
static void strike(struct cell *cell, pid_t worker)
{
    const uint64_t end = now_ms() + DEAD_MS;
    pid_t victim = -1;
    if (cell->moment == WORKERS_DEATH)
        victim = worker;
    else if (cell->moment == BROKERS_DEATH)
        victim = standin_find_process(cell->fixture->standin, "bao-virtio-broker", 0);
    else if (cell->moment == KEEPERS_DEATH)
        victim = fixture_managed_keeper(cell->fixture);
    else
        return;
    const bool is_struck = victim > 0 && kill(victim, SIGKILL) == 0;
    /* A worker may have died of the fault already, or may have ended with the daemon that it
     * depends on. */
    CU_ASSERT_FATAL(is_struck || cell->moment == WORKERS_DEATH);
    while (worker > 0 && !is_dead(worker) && now_ms() < end)
        usleep(LOOK_US);
}

static bool wait_for_another_worker(struct cell *cell, pid_t before, int timeout_ms)
{
    const uint64_t end = now_ms() + (uint64_t)timeout_ms;
    pid_t worker;
    while ((worker = fixture_worker(cell->fixture, 0)) <= 0 || worker == before) {
        if (now_ms() > end)
            return false;
        usleep(10 * LOOK_US);
    }
    return true;
}

/* ---- What becomes of device 0 ---- */

static enum fate fate_of(enum outcome outcome)
{
    return outcome == DONE ? WORKS : outcome == ERROR ? FAILS : WAITS;
}

static bool is_as_expected(enum fate seen, enum fate wanted)
{
    if (wanted == COPES)
        return seen == WORKS || seen == FAILS || seen == WAITS;
    if (wanted == RESETS || wanted == LOST)
        return seen == WAITS;
    return seen == wanted;
}

static void assert_fate(struct cell *cell, int timeout_ms)
{
    const enum fate wanted = expected_of(cell)->fate;
    cell->result->seen = fate_of(subject_attempt(cell, timeout_ms));
    if (!is_as_expected(cell->result->seen, wanted))
        fprintf(stderr, "\ndevice 0: %s, expected: %s\n", fate_word(cell->result->seen),
                fate_word(wanted));
    CU_ASSERT_TRUE_FATAL(is_as_expected(cell->result->seen, wanted));
}

static unsigned int hold_ms(const struct cell *cell)
{
    if (expected_of(cell)->hold_ms > 0)
        return expected_of(cell)->hold_ms;
    if (cell->row->hold_ms > 0)
        return cell->row->hold_ms;
    return cell->moment == RUNNING ? LOOK_HOLD_MS : HOLD_MS;
}

/* While the fault lasts. A worker that is about to die may still answer. So if the device is to
 * work, its successor is asked. */
static void meet_fault(struct cell *cell)
{
    const enum fate wanted = expected_of(cell)->fate;
    const uint64_t end = now_ms() + hold_ms(cell);
    const bool is_brief = wanted != WORKS && wanted != FAILS;
    const pid_t worker = fixture_worker(cell->fixture, 0);
    (void)subject_attempt(cell, MEET_MS);
    if (cell->moment != RUNNING) {
        strike(cell, worker);
        if (!is_brief)
            CU_ASSERT_TRUE_FATAL(wait_for_another_worker(cell, worker, RECOVER_MS));
    }
    assert_fate(cell, is_brief ? (int)hold_ms(cell) : RECOVER_MS);
    if (!expected_of(cell)->everybody)
        assert_others_get_on(cell);
    while (now_ms() < end)
        usleep(LOOK_US);
}

/* A device that was given up reads as 0 until it has a worker again. Then its driver may start. */
static void start_driver_again(struct cell *cell)
{
    const uint64_t end = now_ms() + RECOVER_MS;
    uint64_t magic = 0;
    while (magic != 0x74726976 && now_ms() < end) {
        CU_ASSERT_EQUAL_FATAL(
            standin_read(cell->fixture->standin, 0, fixture_base(0), 4, &magic, REGISTER_MS), 0);
        usleep(10 * LOOK_US);
    }
    subject_start(cell);
}

/* The device model may notice a little later that a size, a link or a socket is as before. */
static void assert_recovers(struct cell *cell)
{
    const uint64_t end = now_ms() + RECOVER_MS;
    enum outcome outcome;
    while ((outcome = subject_attempt(cell, RECOVER_MS)) == ERROR && now_ms() < end)
        usleep(50 * LOOK_US);
    if (outcome != DONE)
        fprintf(stderr, "\ndevice 0 after the repair: %s\n", fate_word(fate_of(outcome)));
    CU_ASSERT_EQUAL_FATAL(outcome, DONE);
}

static void assert_repaired(struct cell *cell)
{
    const enum fate wanted = expected_of(cell)->fate;
    if (cell->row->repair)
        cell->row->repair(cell);
    if (wanted == LOST)
        return;
    if (wanted == RESETS) {
        CU_ASSERT_TRUE(cell->watch.needed_reset);
        CU_ASSERT_EQUAL(subject_attempt(cell, MEET_MS), PENDING);
        start_driver_again(cell);
    }
    assert_recovers(cell);
    if (wanted == FAILS || wanted == COPES)
        return;
    fixture_assert_running(&(struct guest){
        .standin = cell->fixture->standin, .base = fixture_base(0), .timeout_ms = REGISTER_MS});
}

/* ---- The others ---- */

static void stop_others(struct cell *cell)
{
    const bool shared = cell->moment == BROKERS_DEATH || cell->moment == KEEPERS_DEATH ||
                        expected_of(cell)->everybody;
    const unsigned int limit_ms = expected_of(cell)->everybody ? REGISTER_MS
                                  : shared                     ? DEATH_PAUSE_MS
                                                               : PAUSE_MS;
    register_watch_stop(&cell->watch);
    cell->result->register_ms = (unsigned int)(cell->watch.longest_ns / 1000000);
    for (unsigned int i = 0; i < 3; i++) {
        const unsigned int ms = (unsigned int)(atomic_load(&cell->witnesses[i].pause_ns) / 1000000);
        if (ms > cell->result->pause_ms)
            cell->result->pause_ms = ms;
        witness_stop(&cell->witnesses[i]);
    }
    const unsigned int register_ms =
        expected_of(cell)->register_ms > 0 ? expected_of(cell)->register_ms : REGISTER_MS;
    if (cell->result->pause_ms > limit_ms || cell->result->register_ms > register_ms)
        fprintf(stderr, "\nlongest pause of the others: %u ms (limit %u), register access: %u ms\n",
                cell->result->pause_ms, limit_ms, cell->result->register_ms);
    CU_ASSERT(cell->result->pause_ms <= limit_ms);
    CU_ASSERT(cell->result->register_ms <= register_ms);
}

static void assert_others_are_the_same(const struct cell *cell)
{
    const struct fixture *fixture = cell->fixture;
    if (cell->moment == BROKERS_DEATH || cell->moment == KEEPERS_DEATH ||
        expected_of(cell)->everybody)
        return;
    CU_ASSERT_EQUAL(standin_find_process(fixture->standin, "bao-virtio-broker", 0),
                    fixture->broker);
    for (unsigned int i = 1; i < DEVICES; i++)
        CU_ASSERT_EQUAL(fixture_worker(fixture, i), fixture->workers[i]);
}

/* ---- A cell from start to end ---- */

static void run_at_start(struct cell *cell)
{
    const enum fate wanted = expected_of(cell)->fate;
    const bool is_brief = wanted != WORKS && wanted != FAILS;
    cell->row->inject(cell);
    fixture_start(cell->fixture, DEVICES, 0);
    if (wanted == REFUSED) {
        fixture_assert_start_fails(cell->fixture, EXIT_MS);
        fixture_assert_logged(cell->fixture, cell->row->words ? cell->row->words : ":");
        cell->result->seen = REFUSED;
        return;
    }
    start_others(cell);
    if (is_brief) {
        assert_others_get_on(cell);
        usleep(hold_ms(cell) * 1000);
        CU_ASSERT(wanted != RESETS || cell->watch.needed_reset);
        cell->row->repair(cell);
        cell->result->seen = wanted;
        start_driver_again(cell);
    } else {
        subject_start(cell);
        assert_fate(cell, RECOVER_MS);
        assert_others_get_on(cell);
        if (cell->row->repair)
            cell->row->repair(cell);
    }
    assert_recovers(cell);
}

static void run_later(struct cell *cell)
{
    fixture_start(cell->fixture, DEVICES, DEVICES);
    subject_start(cell);
    start_others(cell);
    CU_ASSERT_EQUAL_FATAL(subject_attempt(cell, RECOVER_MS), DONE);
    cell->row->inject(cell);
    meet_fault(cell);
    assert_repaired(cell);
    assert_others_get_on(cell);
    assert_others_are_the_same(cell);
}

static void end(struct cell *cell, bool is_refused)
{
    if (is_refused) {
        if (cell->row->repair)
            cell->row->repair(cell);
        fixture_stop_failed(cell->fixture);
    } else {
        stop_others(cell);
        fixture_stop(cell->fixture);
    }
    subject_stop(cell);
    if (cell->daemon > 0)
        block_daemon_kill(cell->daemon);
    if (cell->row->clean)
        cell->row->clean(cell);
    managed_free(&cell->managed);
}

void cell_lacks(struct cell *cell, const char *what)
{
    cell->result->skipped = true;
    snprintf(cell->result->missing, sizeof(cell->result->missing), "%s", what);
}

/* This runs outside of CUnit's tests, so it has none of CUnit's assertions. */
void cell_show_log(const struct cell *cell)
{
    char text[4096];
    ssize_t length;
    if (!cell->fixture || !cell->fixture->standin || cell->fixture->log_fd < 0)
        return;
    puts("--- log of the device model:");
    for (off_t at = 0; (length = pread(cell->fixture->log_fd, text, sizeof(text), at)) > 0;
         at += length)
        fwrite(text, 1, (size_t)length, stdout);
    puts("---");
}

void cell_run(struct cell *cell)
{
    const uint64_t begin = now_ms();
    cell->is_managed = cell->moment == KEEPERS_DEATH;
    prepare(cell);
    if (cell->result->skipped)
        return;
    if (cell->moment == AT_START)
        run_at_start(cell);
    else
        run_later(cell);
    end(cell, expected_of(cell)->fate == REFUSED);
    cell->result->total_ms = (unsigned int)(now_ms() - begin);
}
