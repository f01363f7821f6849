/* SPDX-License-Identifier: Apache-2.0 */
/* What a user at a console and its driver notice of the death of a worker or of the broker. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/standin/console_session.h"

static void goes_on_after_its_worker_was_killed(void)
{
    struct console_session test;
    console_start_one(&test);
    test.user = console_open(&test, 0);
    console_outlives_workers(&test, 24 << 20);
    /* The terminal is the same one: it still takes input. */
    CU_ASSERT_EQUAL(write(test.user, "alive?", 6), 6);
    CU_ASSERT(console_gets(&test, "alive?"));
    console_stop(&test);
}

/* The terminal stays, and a user who has it open keeps it: the keeper has held it. */
static void goes_on_after_its_broker_was_killed(void)
{
    struct console_session test;
    char before[64] = "", after[64] = "";
    console_start_one(&test);
    test.user = console_open(&test, 0);
    console_say(&test, 0, "before\n");
    CU_ASSERT(console_reads(&test, test.user, "before\n"));
    CU_ASSERT(readlink(test.alias, before, sizeof(before) - 1) > 0);
    CU_ASSERT_EQUAL(kill(test.fixture.broker, SIGKILL), 0);
    CU_ASSERT_FATAL(fixture_wait_broker(&test.fixture, test.fixture.broker) > 0);
    CU_ASSERT_EQUAL(guest_read(&test.console.guest, VIRTIO_MMIO_DEVICE_ID, 4), 3);
    console_say(&test, 0, "after\n");
    CU_ASSERT(console_reads(&test, test.user, "after\n"));
    CU_ASSERT_EQUAL(write(test.user, "typed", 5), 5);
    CU_ASSERT(console_gets(&test, "typed"));
    CU_ASSERT(readlink(test.alias, after, sizeof(after) - 1) > 0);
    CU_ASSERT_STRING_EQUAL(before, after);
    /* The device also sees that the user has gone: later output is completed, and lost. */
    close(test.user);
    test.user = -1;
    console_say(&test, 0, "nobody is there\n");
    CU_ASSERT(console_drained(&test, 0, PATIENCE_MS));
    console_stop(&test);
}

#define LOG_SIZE 65536u
#define TAIL 8u /* "the end\n" */

static void log_pattern(struct console_session *test, uint64_t from, uint64_t to)
{
    uint8_t chunk[CHUNK];
    for (uint64_t at = from; at < to; at += sizeof(chunk)) {
        console_fill(chunk, at, sizeof(chunk));
        while (guest_console_send(&test->console, 0, chunk, sizeof(chunk)) == 0)
            guest_console_poll(&test->console);
    }
    CU_ASSERT(console_drained(test, 0, PATIENCE_MS));
}

static size_t load(const struct console_session *test, const char *name, uint8_t *to)
{
    int fd = fixture_open(&test->fixture, name);
    ssize_t length = pread(fd, to, 2 * LOG_SIZE, 0);
    close(fd);
    return length < 0 ? 0 : (size_t)length;
}

/* Whether the kernel stops the worker from writing beyond `size`, whatever code runs in it. */
static bool limited_to(pid_t worker, unsigned long size)
{
    char name[64], line[128];
    unsigned long soft = 0, hard = 0;
    snprintf(name, sizeof(name), "/proc/%d/limits", (int)worker);
    FILE *limits = fopen(name, "re");
    while (limits && fgets(line, sizeof(line), limits) &&
           sscanf(line, "Max file size %lu %lu", &soft, &hard) != 2)
        ;
    if (limits)
        fclose(limits);
    return soft == size && hard == size;
}

/* Worker and broker die while the log is written. However often that happens, neither file is
 * longer than log_size, and the last output is in them without a gap. */
static void its_log_keeps_to_its_size(void)
{
    static uint8_t found[4 * LOG_SIZE];
    const uint64_t total = 16ull * LOG_SIZE;
    struct console_session test;
    console_start(&test, GUEST_CONSOLE_FEATURES,
                  "    log_path: \"@/log.txt\"\n    log_size: 65536\n");
    pid_t worker = test.fixture.workers[0];
    CU_ASSERT(limited_to(worker, LOG_SIZE));
    for (unsigned int i = 0; i < 4; i++) {
        log_pattern(&test, i * total / 8, (i + 1) * total / 8);
        CU_ASSERT_EQUAL(kill(i == 2 ? test.fixture.broker : worker, SIGKILL), 0);
        worker = fixture_wait_worker(&test.fixture, 0, worker);
        CU_ASSERT_FATAL(worker > 0);
    }
    log_pattern(&test, total / 2, total);
    console_say(&test, 0, "the end\n");
    CU_ASSERT(console_drained(&test, 0, PATIENCE_MS));
    size_t old = load(&test, "log.txt.1", found);
    size_t length = old + load(&test, "log.txt", found + old);
    CU_ASSERT_EQUAL(old, LOG_SIZE);
    CU_ASSERT_FATAL(length >= old + TAIL && length <= 2 * LOG_SIZE);
    CU_ASSERT_EQUAL(memcmp(found + length - TAIL, "the end\n", TAIL), 0);
    CU_ASSERT_EQUAL(console_differences(found, total + TAIL - length, length - TAIL), 0);
    console_stop(&test);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"goes on after its worker was killed", goes_on_after_its_worker_was_killed},
        {"goes on after its broker was killed", goes_on_after_its_broker_was_killed},
        {"its log keeps to its size", its_log_keeps_to_its_size},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "console device, deaths", tests);
}
