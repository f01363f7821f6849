/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The generations of Bao's driver (docs/DRIVER.md). The device model recognises each by its node,
 * uses its ioctl numbers, and says which one it is. With generation D it finds out who holds the
 * node, it starts nothing without window and interrupt, and it ends cleanly. If the driver gives up
 * a device, the other devices go on.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bao_abi.h"
#include "tests/standin/audit_session.h"
#include "tests/standin/fixture.h"

#define EXIT_MS 8000
#define WAIT_MS 20000
#define DMCTL "'" PROGRAM_DIR "/bao-dmctl' --control %s/control "

static struct fixture fixture;

static void start(enum standin_abi abi, unsigned int devices)
{
    fixture_init(&fixture);
    fixture.abi = abi;
    fixture_configure_blocks(&fixture, devices);
    fixture_start(&fixture, devices, devices);
}

static void stop(void)
{
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

static unsigned int count_in_log(const char *words)
{
    char *log = fixture_log(&fixture);
    unsigned int count = 0;
    for (const char *at = strstr(log, words); at; at = strstr(at + 1, words))
        count++;
    free(log);
    return count;
}

/* ---- Which it is ---- */

static void each_is_served_and_named(void)
{
    for (enum standin_abi abi = STANDIN_A; abi <= STANDIN_D; abi++) {
        static struct guest_block block;
        const char letter = (char)('A' + (int)(abi - STANDIN_A));
        char words[64];
        start(abi, 2);
        fixture_block(&fixture, 1, &block, GUEST_BLOCK_FEATURES, 4, 4096);
        for (unsigned int i = 0; i < 40; i++)
            fixture_assert_reads(&block, i);
        snprintf(words, sizeof(words), "Bao's driver is of generation %c (/dev/bao", letter);
        CU_ASSERT_EQUAL(count_in_log(words), 1);
        CU_ASSERT_EQUAL(count_in_log("can't take requests"), 0);
        CU_ASSERT_EQUAL(audit_ask(DMCTL "status 2>&1", fixture.dir), 0);
        snprintf(words, sizeof(words), "  dispatcher  generation %c of Bao's driver\n", letter);
        CU_ASSERT(audit_says(words));
        CU_ASSERT_EQUAL(audit_ask(DMCTL "status --json | python3 -c 'import json, sys; print([d["
                                        "\"dispatcher\"] for d in json.load(sys.stdin)])'",
                                  fixture.dir),
                        0);
        snprintf(words, sizeof(words), "[{'generation': '%c', 'gone': False}, ", letter);
        CU_ASSERT(audit_says(words));
        stop();
    }
}

/* The broker that takes over is told which generation it is: it asks no node. */
static void a_successor_knows_it(void)
{
    for (enum standin_abi abi = STANDIN_A; abi <= STANDIN_D; abi++) {
        static struct guest_block block;
        struct standin_counts counts;
        start(abi, 1);
        fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 4, 4096);
        pid_t broker = fixture.broker;
        for (unsigned int i = 0; i < 3; i++) {
            kill(broker, SIGKILL);
            fixture_assert_reads(&block, i);
            broker = fixture_wait_broker(&fixture, broker);
            CU_ASSERT_FATAL(broker > 0);
        }
        standin_counts(fixture.standin, &counts);
        CU_ASSERT_EQUAL(counts.dm_get_info, 1);
        stop();
    }
}

/* ---- What is wrong with a machine ---- */

/* Asserts one line with each of the words, exit status 1, and that no device was asked for. */
static void assert_refused(const char *const *words)
{
    struct standin_counts counts;
    fixture_start(&fixture, 1, 0);
    fixture_assert_start_fails(&fixture, EXIT_MS);
    CU_ASSERT_EQUAL(standin_wait_all(fixture.standin, 20000), 0);
    char *log = fixture_log(&fixture);
    const char *end = strchr(log, '\n');
    CU_ASSERT(end && end[1] == '\0');
    for (; *words; words++) {
        if (!strstr(log, *words))
            fprintf(stderr, "\nnot in the line: %s\n%s", *words, log);
        CU_ASSERT_PTR_NOT_NULL(strstr(log, *words));
    }
    free(log);
    standin_counts(fixture.standin, &counts);
    CU_ASSERT_EQUAL(counts.dm_get_info, 0);
    fixture_stop_failed(&fixture);
    fixture_free(&fixture);
}

static void prepare(enum standin_abi abi)
{
    fixture_init(&fixture);
    fixture.abi = abi;
    fixture_configure_blocks(&fixture, 1);
}

static void two_drivers(void)
{
    prepare(STANDIN_A);
    fixture.other_node = BAO_NODE;
    assert_refused((const char *[]){BAO_DISPATCHER_NODE " and " BAO_NODE " are both there", NULL});
    prepare(STANDIN_D);
    fixture.other_node = BAO_DM_NODE "3";
    assert_refused((const char *[]){BAO_DM_NODE "3 and " BAO_NODE " are both there", NULL});
}

static void a_node_of_somebody_else(void)
{
    prepare(STANDIN_A);
    fixture.no_driver = true;
    assert_refused((const char *[]){BAO_DISPATCHER_NODE, "Inappropriate ioctl", "expected", NULL});
    prepare(STANDIN_D);
    fixture.no_driver = true;
    assert_refused((const char *[]){BAO_NODE ": ", "Inappropriate ioctl", "expected", NULL});
}

static void a_device_that_is_not_there(void)
{
    static const char *const words[][3] = {
        [STANDIN_A] = {"rng 7", "device tree", NULL},
        [STANDIN_B] = {"rng 7", "device tree", NULL},
        [STANDIN_C] = {"rng 7", BAO_DM_NODE "7", NULL},
        [STANDIN_D] = {"rng 7", "CREATE_DM of id 7", NULL},
    };
    for (enum standin_abi abi = STANDIN_A; abi <= STANDIN_D; abi++) {
        prepare(abi);
        fixture_configure(&fixture, "devices:\n  - id: 7\n    type: rng\n    data_plane: virtio\n"
                                    "    mmio_addr: 0xa003e00\n");
        assert_refused(words[abi]);
    }
}

#define RNG "devices:\n  - id: 0\n    type: rng\n    data_plane: virtio\n    mmio_addr: 0xa003e00\n"

static void keys_that_are_missing(void)
{
    static const struct {
        const char *yaml;
        const char *words[4];
    } cases[] = {
        {RNG, {"config.yaml:2:9:", "no key shmem_addr shmem_size irq:", "remio_devs", NULL}},
        {RNG "    shmem_addr: 0x50000000\n    irq: 52\n", {"no key shmem_size:", NULL}},
        {RNG "    shmem_addr: 0x50000000\n    shmem_size: 0x1000000\n", {"no key irq:", NULL}},
        {RNG "    shmem_addr: 0x50000800\n    shmem_size: 0x1000000\n    irq: 52\n",
         {"0x50000800", "multiples of 0x1000", NULL}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        prepare(STANDIN_D);
        fixture.as_written = true;
        fixture_configure(&fixture, cases[i].yaml);
        assert_refused(cases[i].words);
    }
}

/* With other generations the keys have no effect as long as they say the same as the driver. A
 * different irq is only reported. */
static void keys_that_are_not_needed(void)
{
    fixture_init(&fixture);
    fixture.abi = STANDIN_B;
    fixture_configure(&fixture,
                      RNG "    shmem_addr: 0x50000000\n    shmem_size: 0x1000000\n    irq: 47\n");
    fixture_start(&fixture, 1, 1);
    fixture_assert_logged(&fixture, "irq is 47 in the configuration, and 52 by the driver");
    stop();
}

/* ---- What a holder of the node could do ---- */

static void nobody_holds_the_node(void)
{
    static const struct {
        enum standin_abi abi;
        const char *node, *policy, *other;
    } cases[] = {
        {STANDIN_A, BAO_DISPATCHER_NODE, "broker", "broker_d"},
        {STANDIN_D, BAO_NODE, "broker_d", "broker"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char words[64];
        start(cases[i].abi, 1);
        pid_t keeper = standin_pid(fixture.standin);
        CU_ASSERT_EQUAL(audit_ask(DMCTL "audit 2>&1", fixture.dir), 0);
        if (strstr(audit_answer, "WRONG"))
            puts(audit_answer);
        CU_ASSERT_EQUAL(audit_run("verify %d", fixture.broker), 0);
        snprintf(words, sizeof(words), "  ok     filter                  %s, ", cases[i].policy);
        CU_ASSERT(audit_says(words));
        /* This broker is not confined as a broker of the other generation would be. */
        CU_ASSERT_EQUAL(audit_ask("echo broker %d %s | '" PROGRAM_DIR
                                  "/bao-seccomp' verify --told - 2>&1",
                                  fixture.broker, cases[i].other),
                        1);
        snprintf(words, sizeof(words), "  WRONG  policy                  %s\n", cases[i].policy);
        CU_ASSERT(audit_says(words));
        long fd = audit_add_file(keeper, cases[i].node);
        CU_ASSERT_EQUAL(audit_run("verify %d", keeper), 1);
        CU_ASSERT(audit_says("  WRONG  nodes of Bao's driver   fd "));
        CU_ASSERT_EQUAL(audit_ask(DMCTL "audit 2>&1", fixture.dir), 1);
        audit_remove_fd(keeper, fd);
        CU_ASSERT_EQUAL(audit_run("verify %d", keeper), 0);
        stop();
    }
}

/* ---- The end ---- */

static uint64_t read_magic(unsigned int id, int timeout_ms)
{
    uint64_t value = 0;
    (void)standin_read(fixture.standin, id, fixture_base(id), 4, &value, timeout_ms);
    return value;
}

/* Generation D: after a stop, a second device model can start, and serves. */
static void a_second_start(void)
{
    static const char *const starter[] = {"/bin/sh", "-c", "\"$@\"; exec \"$@\"", "sh", NULL};
    fixture_init(&fixture);
    fixture.abi = STANDIN_D;
    fixture.starter = starter;
    fixture.starter_in = fixture.starter_out = -1;
    fixture_configure_blocks(&fixture, 1);
    fixture_start(&fixture, 1, 1);
    pid_t keeper = standin_find_process(fixture.standin, "bao-virtio-dm", 0);
    CU_ASSERT_FATAL(keeper > 0);
    standin_expect_end(fixture.standin);
    kill(keeper, SIGTERM);
    CU_ASSERT(fixture_wait_worker(&fixture, 0, fixture.workers[0]) > 0);
    CU_ASSERT_EQUAL(read_magic(0, WAIT_MS), 0x74726976);
    struct standin_counts counts;
    standin_counts(fixture.standin, &counts);
    CU_ASSERT_EQUAL(counts.dm_get_info, 2);
    CU_ASSERT_EQUAL(counts.protocol_errors, 0);
    int status = standin_stop(fixture.standin); /* the second one has replaced the shell (exec) */
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    fixture_free(&fixture);
}

/* ---- A device that its driver gives up ---- */

static void the_others_go_on(enum standin_abi abi)
{
    static struct guest_block block;
    const char gone[] = "block 0: Bao's driver has given the device up";
    start(abi, 2);
    fixture_block(&fixture, 1, &block, GUEST_BLOCK_FEATURES, 4, 4096);
    standin_destroy(fixture.standin, 0);
    fixture_wait_logged(&fixture, gone, WAIT_MS);
    fixture_assert_reads(&block, 7);
    CU_ASSERT_EQUAL(audit_ask(DMCTL "status 0 2>&1", fixture.dir), 0);
    CU_ASSERT(audit_says(", which has given the device up\n"));
    fixture_assert_never_restarted(&fixture);
    CU_ASSERT_EQUAL(count_in_log(gone), 1);
    CU_ASSERT_EQUAL(count_in_log("can't take requests"), 0);
    /* The next broker is not disturbed either. */
    kill(fixture.broker, SIGKILL);
    CU_ASSERT(fixture_wait_broker(&fixture, fixture.broker) > 0);
    fixture_assert_reads(&block, 9);
    for (int i = 0; i < WAIT_MS / 10 && count_in_log(gone) < 2; i++)
        usleep(10000);
    CU_ASSERT_EQUAL(count_in_log(gone), 2);
    CU_ASSERT_EQUAL(count_in_log("the broker died"), 1);
    stop();
}

static void a_device_that_is_destroyed(void)
{
    the_others_go_on(STANDIN_A);
    the_others_go_on(STANDIN_D);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"each is served and named", each_is_served_and_named},
        {"a successor knows it", a_successor_knows_it},
        {"two drivers", two_drivers},
        {"a node of somebody else's", a_node_of_somebody_else},
        {"a device that is not there", a_device_that_is_not_there},
        {"keys that are missing", keys_that_are_missing},
        {"keys that are not needed", keys_that_are_not_needed},
        {"nobody holds the node", nobody_holds_the_node},
        {"a second start", a_second_start},
        {"a device that is destroyed", a_device_that_is_destroyed},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "generations", tests);
}
