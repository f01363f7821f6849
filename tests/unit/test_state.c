/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reset of the state page. The process that does it is killed before each of its instructions: at
 * each of these moments a successor can use the page. That process is single-stepped, and between
 * two steps this process looks at the page.
 */
#include <linux/virtio_config.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/state.h"
#include "tests/cunit_main.h"
#include "tests/unit/guest.h"
#include "worker/state_check.h"

#define QUEUES 4u
#define FEATURES (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_RING_PACKED)
#define RUNNING                                                                                    \
    (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |          \
     VIRTIO_CONFIG_S_DRIVER_OK)

static struct state_page *page; /* shared with the process that resets it */
static struct device device;
static uint32_t new_status;

/* A device that runs, with positions that only a packed ring can have. */
static void fill(void)
{
    memset(page, 0, sizeof(*page));
    state_finish(page, DEVICE_BLOCK_VIRTIO, QUEUES);
    memset(&page->transport, 0x5a, sizeof(page->transport));
    page->transport.status = RUNNING;
    page->transport.driver_features_beyond = 0;
    page->transport.driver_features = FEATURES;
    for (unsigned int q = 0; q < STATE_QUEUES_MAX; q++) {
        memset(&page->queues[q], 0x5a, sizeof(page->queues[q]));
        page->queues[q].size = 16;
        page->queues[q].ready = 1;
        page->queues[q].desc = GUEST_BASE;
        page->queues[q].driver = GUEST_BASE + 0x1000;
        page->queues[q].device = GUEST_BASE + 0x2000;
        page->queues[q].next_used = STATE_POSITION_LAP | 3;
        page->queues[q].batch_end = STATE_POSITION_LAP | 3;
        page->queues[q].next_avail = 1; /* of the next lap */
    }
    memset(&page->of_kind, 0x5a, sizeof(page->of_kind));
    memset(&page->counters, 0x5a, sizeof(page->counters));
    atomic_store(&page->interrupt.pending, 3);
    CU_ASSERT_EQUAL_FATAL(state_check(&device), STATE_OK);
}

static bool all_zero(const void *from, size_t length)
{
    const unsigned char *bytes = from;
    while (length > 0 && bytes[length - 1] == 0)
        length--;
    return length == 0;
}

static void expect_reset(void)
{
    const struct state_transport expected = {.status = new_status, .config_generation = 0x5a5a5a5a};
    CU_ASSERT_EQUAL(memcmp(&page->transport, &expected, sizeof(expected)), 0);
    CU_ASSERT(all_zero(page->queues, sizeof(page->queues)));
    CU_ASSERT(all_zero(&page->of_kind, sizeof(page->of_kind)));
    /* The rest stays. */
    CU_ASSERT_EQUAL(atomic_load(&page->interrupt.pending), 3);
    CU_ASSERT_EQUAL(page->counters.requests, 0x5a5a5a5a5a5a5a5aull);
    CU_ASSERT(page->magic == STATE_MAGIC && page->version == STATE_VERSION &&
              page->kind == DEVICE_BLOCK_VIRTIO && page->queue_count == QUEUES);
}

static void test_result(void)
{
    fill();
    new_status = 0;
    state_reset(page, new_status);
    expect_reset();
    fill();
    new_status = VIRTIO_CONFIG_S_NEEDS_RESET;
    state_reset(page, new_status);
    expect_reset();
}

static bool any_ready(void)
{
    bool any = false;
    for (unsigned int q = 0; q < STATE_QUEUES_MAX; q++)
        any |= page->queues[q].ready != 0;
    return any;
}

/* What holds at each moment. Returns whether the registers have their new values. */
static bool look(void)
{
    const struct state_transport *transport = &page->transport;
    CU_ASSERT_EQUAL_FATAL(state_check(&device), STATE_OK);
    CU_ASSERT_EQUAL_FATAL(transport->config_generation, 0x5a5a5a5a);
    CU_ASSERT_FATAL(transport->status == RUNNING || transport->status == new_status);
    if (any_ready())
        CU_ASSERT_FATAL(transport->status == RUNNING && transport->driver_features == FEATURES);
    if (transport->driver_features != FEATURES)
        CU_ASSERT_EQUAL_FATAL(transport->status, new_status);
    return !any_ready() && transport->status == new_status && transport->queue_sel == 0;
}

static void killed_at_each_instruction(uint32_t status)
{
    int wait_status = 0;
    unsigned int steps = 0;
    new_status = status;
    fill();
    pid_t pid = fork();
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        state_reset(page, new_status);
        _exit(0);
    }
    CU_ASSERT_FATAL(pid > 0);
    CU_ASSERT_FATAL(waitpid(pid, &wait_status, 0) == pid && WIFSTOPPED(wait_status));
    /* After that only queues that are not ready are cleared, and what the kind keeps. */
    for (; !look(); steps++) {
        CU_ASSERT_EQUAL_FATAL(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
        CU_ASSERT_FATAL(waitpid(pid, &wait_status, 0) == pid && WIFSTOPPED(wait_status));
    }
    CU_ASSERT(steps >= STATE_QUEUES_MAX);
    CU_ASSERT_EQUAL(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
    CU_ASSERT(waitpid(pid, &wait_status, 0) == pid && wait_status == 0);
    expect_reset();
}

static void test_killed(void)
{
    killed_at_each_instruction(0);
    killed_at_each_instruction(VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void test_finish(void)
{
    memset(page, 0, sizeof(*page));
    state_finish(page, DEVICE_NET_VIRTIO, 3);
    const struct state_page expected = {.magic = STATE_MAGIC,
                                        .version = STATE_VERSION,
                                        .kind = DEVICE_NET_VIRTIO,
                                        .queue_count = 3};
    CU_ASSERT_EQUAL(memcmp(page, &expected, sizeof(expected)), 0);
}

int main(int argc, char **argv)
{
    guest_window_init();
    page = mmap(NULL, STATE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return EXIT_FAILURE;
    struct message_start start = guest_start(DEVICE_BLOCK_VIRTIO);
    start.queue_count = QUEUES;
    guest_fds(DEVICE_BLOCK_VIRTIO, -1);
    if (device_init(&device, &start, page, guest_memory) < 0)
        return EXIT_FAILURE;
    CU_TestInfo tests[] = {
        {"a reset leaves what it should", test_result},
        {"a successor can use the page whenever a reset ends", test_killed},
        {"a page of this version", test_finish},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "state page", tests);
}
