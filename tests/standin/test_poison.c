/* SPDX-License-Identifier: Apache-2.0 */
/*
 * If one worker after the other dies of a request, the device sets DEVICE_NEEDS_RESET. Nothing else
 * does: a worker that was ended on request, or ended with the broker, did not die of a request.
 *
 * ptrace holds each worker where it is about to read the image, and the worker dies there.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/worker_fds.h"
#include "tests/standin/control_client.h"
#include "tests/standin/fixture.h"
#include "worker/virtqueue/poison.h"

#define DEATHS (POISON_DEATHS + 1)
#define STOP_MS 20000
#define CALL_STOP (SIGTRAP | 0x80)
#define FOLLOWED                                                                                   \
    (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |      \
     PTRACE_O_TRACEEXEC)

static struct fixture fixture;
static struct guest_block block;
static pid_t keeper;

/* ---- Holding workers ---- */

/* Follow the keeper, and every process that it starts from now on. */
static void follow_keeper(void)
{
    keeper = standin_pid(fixture.standin);
    CU_ASSERT_EQUAL_FATAL(ptrace(PTRACE_SEIZE, keeper, 0, FOLLOWED), 0);
}

static void leave_keeper(void)
{
    int status;
    CU_ASSERT_EQUAL_FATAL(ptrace(PTRACE_INTERRUPT, keeper, 0, 0), 0);
    CU_ASSERT_EQUAL_FATAL(waitpid(keeper, &status, __WALL), keeper);
    CU_ASSERT_EQUAL_FATAL(ptrace(PTRACE_DETACH, keeper, 0, 0), 0);
}

static bool is_called(pid_t pid, const char *name)
{
    char path[64], found[32] = "";
    snprintf(path, sizeof(path), "/proc/%d/comm", pid);
    FILE *file = fopen(path, "re");
    (void)!(file && fgets(found, sizeof(found), file));
    if (file)
        fclose(file);
    return strncmp(found, name, strlen(name)) == 0;
}

static bool is_about_to_read(pid_t pid)
{
    struct __ptrace_syscall_info info = {0};
    return ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) > 0 &&
           info.op == PTRACE_SYSCALL_INFO_ENTRY && info.entry.nr == SYS_preadv2 &&
           info.entry.args[0] == WORKER_FD_BACKEND;
}

/* Let a stopped process go on; a worker only until its next system call. */
static void go_on(pid_t pid, int status)
{
    int signal = WSTOPSIG(status), event = status >> 16;
    if (event != 0 || signal == SIGTRAP || signal == CALL_STOP)
        signal = 0;
    if (event == PTRACE_EVENT_EXEC && is_called(pid, "bao-virtio-brok"))
        ptrace(PTRACE_DETACH, pid, 0, 0);
    else
        ptrace(pid == keeper ? PTRACE_CONT : PTRACE_SYSCALL, pid, 0, (long)signal);
}

/* Wait until a worker is about to read the image, and leave it stopped there. */
static pid_t hold_next_worker(void)
{
    for (unsigned int i = 0; i < STOP_MS * 10; i++) {
        int status;
        pid_t pid = waitpid(-1, &status, __WALL | WNOHANG);
        if (pid > 0 && WIFSTOPPED(status)) {
            if (WSTOPSIG(status) == CALL_STOP && is_about_to_read(pid))
                return pid;
            go_on(pid, status);
        } else if (pid <= 0) {
            usleep(100);
        }
    }
    CU_FAIL_FATAL("no worker reads the image");
    return -1;
}

/* The first worker was there before we followed the keeper. */
static pid_t hold_first_worker(void)
{
    pid_t worker = fixture.workers[0];
    int status;
    CU_ASSERT_EQUAL_FATAL(ptrace(PTRACE_SEIZE, worker, 0, PTRACE_O_TRACESYSGOOD), 0);
    CU_ASSERT_EQUAL_FATAL(ptrace(PTRACE_INTERRUPT, worker, 0, 0), 0);
    CU_ASSERT_EQUAL_FATAL(waitpid(worker, &status, __WALL), worker);
    ptrace(PTRACE_SYSCALL, worker, 0, 0);
    follow_keeper();
    CU_ASSERT_EQUAL_FATAL(guest_block_submit(&block, &block.requests[0], VIRTIO_BLK_T_IN, 3, 512),
                          0);
    guest_queue_kick(&block.queue);
    return hold_next_worker();
}

/* ---- Its ends ---- */

static void kill_it(pid_t worker)
{
    CU_ASSERT_EQUAL(kill(worker, SIGKILL), 0);
}

static void ask_for_restart(pid_t worker)
{
    char path[96];
    struct control_reply reply;
    (void)worker;
    snprintf(path, sizeof(path), "%s/control", fixture.dir);
    CU_ASSERT_EQUAL(control_client_ask(path, CONTROL_RESTART, 0, &reply), 0);
}

static void kill_broker(pid_t worker)
{
    (void)worker;
    CU_ASSERT_EQUAL(kill(standin_find_process(fixture.standin, "bao-virtio-broker", 0), SIGKILL),
                    0);
}

/* ---- What it leaves to its successors ---- */

/* A worker that was taken over can write to its eventfds: here as much as they take. */
static void fill(pid_t worker, int number)
{
    const uint64_t most = UINT64_MAX - 1;
    uint64_t count;
    int pidfd = (int)syscall(SYS_pidfd_open, worker, 0);
    int fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
    CU_ASSERT_FATAL(fd >= 0);
    (void)!read(fd, &count, sizeof(count));
    CU_ASSERT_EQUAL(write(fd, &most, sizeof(most)), (ssize_t)sizeof(most));
    close(fd);
    close(pidfd);
}

static uint64_t counter(pid_t worker, int number)
{
    char path[64], line[128];
    unsigned long long count = 0;
    snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", worker, number);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        (void)sscanf(line, "eventfd-count: %llx", &count);
    if (file)
        fclose(file);
    return count;
}

/* ---- Tests ---- */

static void start(void)
{
    fixture_start_blocks(&fixture, 1);
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 1, 4096);
    block.guest.timeout_ms = STOP_MS;
}

static void stop(void)
{
    guest_block_free(&block);
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

static void die_in_it(unsigned int deaths, void (*end)(pid_t worker))
{
    pid_t worker = hold_first_worker();
    for (unsigned int i = 1; i < deaths; i++) {
        end(worker);
        worker = hold_next_worker();
    }
    leave_keeper();
    end(worker);
    int status;
    CU_ASSERT_EQUAL(waitpid(worker, &status, __WALL), worker);
}

static void a_request_that_kills_leads_to_a_reset(void)
{
    start();
    die_in_it(POISON_DEATHS, kill_it);
    CU_ASSERT(guest_take_interrupt(&block.guest) >= 0);
    for (unsigned int i = 0;
         i < STOP_MS && (guest_status(&block.guest) & VIRTIO_CONFIG_S_NEEDS_RESET) == 0; i++)
        usleep(1000);
    CU_ASSERT((guest_status(&block.guest) & VIRTIO_CONFIG_S_NEEDS_RESET) != 0);
    fixture_wait_logged(&fixture, "workers died on the next: needs reset", STOP_MS);
    CU_ASSERT_EQUAL(guest_reset(&block.guest), 0);
    guest_block_free(&block);
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 1, 4096);
    fixture_assert_reads(&block, 5);
    stop();
}

static void completes_in_the_end(void (*end)(pid_t worker))
{
    uint8_t expected[512];
    start();
    die_in_it(DEATHS, end);
    while (block.requests[0].busy && guest_block_interrupt(&block) >= 0)
        ;
    CU_ASSERT_EQUAL(*block.requests[0].status, VIRTIO_BLK_S_OK);
    fixture_sector(3, expected);
    CU_ASSERT_EQUAL(memcmp(block.requests[0].data, expected, sizeof(expected)), 0);
    CU_ASSERT_EQUAL(guest_status(&block.guest) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
    fixture_assert_reads(&block, 5);
    stop();
}

static void ends_that_are_asked_for_do_not(void)
{
    completes_in_the_end(ask_for_restart);
}

static void ends_with_the_broker_do_not(void)
{
    completes_in_the_end(kill_broker);
}

/* The last worker may have written anything into the counters of its eventfds. Kicks of a queue and
 * register accesses reach the next worker nevertheless. They also reach the kernel's vhost, which
 * can't use a counter of 2^64-1. */
static void full_counters_do_not_outlive_a_worker(void)
{
    static const int filled[] = {WORKER_FD_REQUEST, WORKER_FD_REPLY, WORKER_FD_BACKEND + 1};
    start();
    pid_t worker = fixture.workers[0];
    for (unsigned int round = 0; round < 2; round++) {
        pid_t broker = fixture.broker;
        CU_ASSERT_EQUAL_FATAL(kill(worker, SIGSTOP), 0);
        for (size_t i = 0; i < sizeof(filled) / sizeof(filled[0]); i++)
            fill(worker, filled[i]);
        if (round == 1)
            CU_ASSERT_EQUAL(kill(broker, SIGKILL), 0);
        CU_ASSERT_EQUAL(kill(worker, SIGKILL), 0);
        worker = fixture_wait_worker(&fixture, 0, worker);
        CU_ASSERT_FATAL(worker > 0);
        fixture_assert_reads(&block, 7);
        fixture_assert_running(&block.guest);
        fixture_assert_reads(&block, 9);
        for (size_t i = 0; i < sizeof(filled) / sizeof(filled[0]); i++)
            CU_ASSERT(counter(worker, filled[i]) < 1000);
    }
    stop();
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"a request that kills leads to a reset", a_request_that_kills_leads_to_a_reset},
        {"ends that are asked for do not", ends_that_are_asked_for_do_not},
        {"ends with the broker do not", ends_with_the_broker_do_not},
        {"full counters do not outlive a worker", full_counters_do_not_outlive_a_worker},
        CU_TEST_INFO_NULL,
    };
    return fixture_main_formats(argc, argv, "poison", tests, tests);
}
