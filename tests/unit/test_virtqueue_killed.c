/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker is killed before each single instruction of a publication. Its successor is killed
 * before each instruction of the take-over. Each completed chain is completed exactly once, and a
 * batch as a whole. The worker is a process that is single-stepped. Between two steps, this process
 * goes on as if the worker were dead.
 *
 * The steps also show the instructions themselves: that the barriers are there on which both sides
 * rely.
 */
#include <elf.h>
#include <linux/virtio_config.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "worker/virtqueue/virtqueue.h"

#define PACKED (1ull << VIRTIO_F_RING_PACKED)
#define BASE 0x40000000ull
#define SIZE 8u
#define CHAINS 5u     /* in flight: 2 descriptors each, but one has 1 */
#define BATCH 3u      /* number of them that the dying worker completes */
#define BEFORE_MAX 13 /* chains that were completed before */
#define FIRST_RUN 100 /* the used length from the dying worker; next: from its successor */
#define SECOND_RUN 200

/* The memory that outlives a worker. */
struct shared {
    unsigned char window[0x1000];
    struct state_queue state;
    volatile bool done; /* the body has ended */
};

static struct shared *shared;
static struct window window;
static struct virtqueue vq;
static struct chain chain;
static struct guest_fault fault;
static uint64_t features;

/* ---- A driver that has one chain of each kind, with a Buffer ID or head for each ---- */

static struct {
    unsigned int at;   /* free-running count of descriptors */
    unsigned int used; /* the same; chains in the split ring */
} driver;

static struct vring_desc *split_desc(void)
{
    return (struct vring_desc *)(void *)shared->window;
}

static struct vring_avail *split_avail(void)
{
    return (struct vring_avail *)(void *)(shared->window + 0x400);
}

static struct vring_used *split_used(void)
{
    return (struct vring_used *)(void *)(shared->window + 0x800);
}

static struct vring_packed_desc *packed_desc(unsigned int at)
{
    return (struct vring_packed_desc *)(void *)shared->window + at % SIZE;
}

static uint16_t lap_flags(unsigned int at, bool used)
{
    bool wrap = at / SIZE % 2 == 0;
    uint16_t avail_bit = 1u << VRING_PACKED_DESC_F_AVAIL, used_bit = 1u << VRING_PACKED_DESC_F_USED;
    return (uint16_t)((wrap ? avail_bit : 0) | (wrap == used ? used_bit : 0));
}

static void offer(uint16_t id, unsigned int descriptors)
{
    unsigned int first = driver.at;
    for (unsigned int i = 0; i < descriptors; i++, driver.at++) {
        uint16_t next = i + 1 < descriptors ? VRING_DESC_F_NEXT : 0;
        uint16_t flags = next | VRING_DESC_F_WRITE;
        if (features & PACKED)
            *packed_desc(driver.at) = (struct vring_packed_desc){
                BASE + 0xc00, 16, id, (uint16_t)(flags | lap_flags(driver.at, false))};
        else
            split_desc()[driver.at % SIZE] =
                (struct vring_desc){BASE + 0xc00, 16, flags, (uint16_t)((driver.at + 1) % SIZE)};
    }
    struct vring_avail *avail = split_avail();
    if ((features & PACKED) == 0)
        avail->ring[avail->idx++ % SIZE] = (uint16_t)(first % SIZE);
}

/* The id and length of the next used chain; false if there is none. */
static bool get(uint32_t *ret_id, uint32_t *ret_length, unsigned int descriptors)
{
    if ((features & PACKED) == 0) {
        const struct vring_used_elem *element = &split_used()->ring[driver.used % SIZE];
        if (split_used()->idx == (uint16_t)driver.used)
            return false;
        *ret_id = element->id;
        *ret_length = element->len;
        driver.used++;
        return true;
    }
    const struct vring_packed_desc *desc = packed_desc(driver.used);
    const uint16_t both = 1u << VRING_PACKED_DESC_F_AVAIL | 1u << VRING_PACKED_DESC_F_USED;
    if ((desc->flags & both) != lap_flags(driver.used, true))
        return false;
    *ret_id = desc->id;
    *ret_length = desc->len;
    driver.used += descriptors;
    return true;
}

/* ---- The worker ---- */

static bool take_over(void)
{
    return virtqueue_indices_valid(&shared->state, features) &&
           virtqueue_start(&vq, 0, &window, &shared->state, SIZE, features, &fault) == 0;
}

static bool complete(unsigned int chains, uint32_t length)
{
    for (unsigned int i = 0; i < chains; i++) {
        if (virtqueue_pop(&vq, &chain, &fault) != 1)
            return false;
        virtqueue_push(&vq, chain.ref, length);
    }
    return true;
}

static unsigned int length_of(unsigned int number)
{
    return number == 1 ? 1 : 2;
}

/* CHAINS chains are available after `before` others. In the packed ring, ids count from 0. */
static void prepare(unsigned int before)
{
    uint32_t id, length;
    memset(shared, 0, sizeof(*shared));
    memset(&driver, 0, sizeof(driver));
    shared->state = (struct state_queue){
        .size = SIZE, .ready = 1, .desc = BASE, .driver = BASE + 0x400, .device = BASE + 0x800};
    CU_ASSERT_TRUE_FATAL(take_over());
    for (unsigned int i = 0; i < before; i++) {
        offer(99, 1);
        CU_ASSERT_TRUE_FATAL(complete(1, 0));
        virtqueue_publish(&vq);
        CU_ASSERT_TRUE_FATAL(get(&id, &length, 1));
    }
    for (unsigned int i = 0; i + 1 < CHAINS; i++)
        offer((uint16_t)i, length_of(i));
    CU_ASSERT_TRUE_FATAL(complete(BATCH, FIRST_RUN));
}

static pid_t stepped; /* the process that is single-stepped */

/* Run `body` in a process of its own. Before each of its instructions, and after the last one, run
 * `test` on the memory at that moment. */
static void before_each_instruction(void (*body)(void), void (*test)(void))
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        body();
        shared->done = true;
        _exit(0);
    }
    CU_ASSERT_FATAL(pid > 0);
    stepped = pid;
    bool done = false;
    while (!done) {
        CU_ASSERT_FATAL(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
        struct shared kept;
        unsigned int at = driver.at, used = driver.used;
        memcpy(&kept, shared, sizeof(kept));
        done = kept.done;
        shared->done = false; /* the test may use it, too */
        test();
        memcpy(shared, &kept, sizeof(kept));
        driver.at = at;
        driver.used = used;
        if (!done)
            CU_ASSERT_EQUAL_FATAL(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
    }
    shared->done = false;
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
}

static void publish(void)
{
    virtqueue_publish(&vq);
}

static void take_over_and_forget(void)
{
    (void)take_over();
}

/* Who completed the batch, and how often. */
static unsigned int ended_by[2];
enum { DEAD_ONE, SUCCESSOR };

/* Asserts what the driver gets: the whole batch from the first run, or nothing of it. The rest
 * comes from the second run, in order, each chain once. Meanwhile the driver uses the free places
 * again. */
static void expect_exactly_once(void)
{
    uint32_t id, length, first_run = 0;
    while (get(&id, &length, length_of(first_run))) {
        CU_ASSERT_EQUAL_FATAL(length, FIRST_RUN);
        if (features & PACKED)
            CU_ASSERT_EQUAL_FATAL(id, first_run);
        first_run++;
    }
    CU_ASSERT_TRUE_FATAL(first_run == 0 || first_run == BATCH);
    if (first_run > 0)
        offer(CHAINS - 1, 2); /* in place of the published ones */
    CU_ASSERT_TRUE_FATAL(take_over());
    while (get(&id, &length, length_of(first_run))) { /* the successor ends the batch */
        CU_ASSERT_EQUAL_FATAL(length, FIRST_RUN);
        first_run++;
    }
    CU_ASSERT_TRUE_FATAL(first_run == 0 || first_run == BATCH);
    unsigned int number = first_run;
    while (virtqueue_pop(&vq, &chain, &fault) == 1)
        virtqueue_push(&vq, chain.ref, SECOND_RUN);
    virtqueue_publish(&vq);
    while (get(&id, &length, length_of(number))) {
        CU_ASSERT_EQUAL_FATAL(length, SECOND_RUN);
        if (features & PACKED)
            CU_ASSERT_EQUAL_FATAL(id, number);
        number++;
    }
    CU_ASSERT_TRUE_FATAL(number == CHAINS - 1 || number == CHAINS);
    CU_ASSERT_EQUAL(driver.used, features & PACKED ? driver.at : split_avail()->idx);
    ended_by[first_run > 0 ? DEAD_ONE : SUCCESSOR]++;
}

static void test_killed_while_publishing(void)
{
    memset(ended_by, 0, sizeof(ended_by));
    for (unsigned int before = 0; before <= BEFORE_MAX; before++) {
        prepare(before);
        before_each_instruction(publish, expect_exactly_once);
    }
    CU_ASSERT_TRUE(ended_by[DEAD_ONE] > 100 && ended_by[SUCCESSOR] > 100);
}

static void successor_dies_if_under_way(void)
{
    if (shared->state.batch_end != shared->state.next_used)
        before_each_instruction(take_over_and_forget, expect_exactly_once);
}

/* The publication is stopped while it is under way. Then the take-over is stopped, too. */
static void test_killed_while_taking_over(void)
{
    memset(ended_by, 0, sizeof(ended_by));
    prepare(BEFORE_MAX);
    before_each_instruction(publish, successor_dies_if_under_way);
    CU_ASSERT_TRUE(ended_by[DEAD_ONE] > 100);
}

/* ---- Barriers ---- */

extern const char __executable_start, etext; /* of the linker */

static unsigned int barriers;

/* The words at which the stepped process is; 0: it is in a library. */
static uint64_t next_instruction(void)
{
    struct user_regs_struct registers;
    struct iovec to = {&registers, sizeof(registers)};
    CU_ASSERT_EQUAL_FATAL(ptrace(PTRACE_GETREGSET, stepped, (void *)NT_PRSTATUS, &to), 0);
#if defined(__x86_64__)
    const uintptr_t at = registers.rip;
#else
    const uintptr_t at = registers.pc;
#endif
    if (at < (uintptr_t)&__executable_start || at >= (uintptr_t)&etext)
        return 0;
    return (uint64_t)ptrace(PTRACE_PEEKTEXT, stepped, (void *)at, NULL);
}

/* Does it keep every load behind it from being made before a store in front of it? */
static bool is_full_barrier(uint64_t instruction)
{
#if defined(__x86_64__)
    return (instruction & 0xff) == 0xf0 || (instruction & 0xffffff) == 0xf0ae0f; /* lock, mfence */
#elif defined(__aarch64__)
    return (uint32_t)instruction == 0xd5033bbf; /* dmb ish */
#else
    return (uint32_t)instruction == 0x0330000f; /* fence rw, rw */
#endif
}

static void look_for_barrier(void)
{
    barriers += is_full_barrier(next_instruction());
}

static void decide(void)
{
    (void)virtqueue_interrupt_due(&vq);
}

static void ask_for_kicks(void)
{
    (void)virtqueue_enable_notify(&vq);
}

/* Between what it tells the driver and its look at what the driver says, or neither may see the
 * other (tests/unit/test_virtqueue_race.c has the two sides, and meets the moment now and then). */
static void test_barriers(void)
{
    prepare(0);
    virtqueue_publish(&vq);
    barriers = 0;
    before_each_instruction(decide, look_for_barrier);
    CU_ASSERT_EQUAL(barriers, 1);
    barriers = 0;
    before_each_instruction(ask_for_kicks, look_for_barrier);
    CU_ASSERT_EQUAL(barriers, 1);
}

static int use_split(void)
{
    features = 0;
    return 0;
}

static int use_packed(void)
{
    features = PACKED;
    return 0;
}

int main(int argc, char **argv)
{
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return EXIT_FAILURE;
    window =
        (struct window){.base = shared->window, .guest_base = BASE, .size = sizeof(shared->window)};
    CU_TestInfo tests[] = {
        {"while publishing", test_killed_while_publishing},
        {"while taking over", test_killed_while_taking_over},
        {"barriers", test_barriers},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {.pName = "killed, split ring", .pInitFunc = use_split, .pTests = tests},
        {.pName = "killed, packed ring", .pInitFunc = use_packed, .pTests = tests},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
