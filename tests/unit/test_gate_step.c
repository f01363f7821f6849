/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate's thread and a device's relay change the same words. One of them is single-stepped, and
 * after each of its instructions, in a run of its own, the other one does all that it has to do. So
 * each exchange that can fail has failed once.
 */
#include <linux/virtio_mmio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/gate.h"
#include "common/eventfd.h"
#include "tests/cunit_main.h"

#define VRING VIRTIO_MMIO_INT_VRING
#define CONFIG VIRTIO_MMIO_INT_CONFIG
#define COUNT 5u /* interrupts that were raised before */
#define STEPS_MAX 20000u

/* What both processes have. */
static struct shared {
    struct state_page state;
    _Alignas(4096) struct journal journal;
    struct gate_line line;
    uint64_t acknowledges;
    uint32_t told; /* InterruptStatus, as the driver has read it */
    _Atomic bool over;
} * shared;

typedef void step(void);

static void raises(void)
{
    gate_raise_pending(&shared->line);
}

static void acknowledges_vring(void)
{
    gate_acknowledge(&shared->line, &shared->acknowledges, VRING);
}

static void acknowledges_config(void)
{
    gate_acknowledge(&shared->line, &shared->acknowledges, CONFIG);
}

static void reads_status(void)
{
    shared->told = gate_interrupt_status(&shared->line);
}

static uint64_t word(uint64_t interrupt_state, uint32_t bits)
{
    return (uint64_t)COUNT << INTERRUPT_COUNT_SHIFT | (uint64_t)bits << INTERRUPT_STATUS_SHIFT |
           interrupt_state;
}

static uint32_t status(void)
{
    return (uint32_t)((atomic_load(&shared->journal.interrupt) & INTERRUPT_STATUS) >>
                      INTERRUPT_STATUS_SHIFT);
}

static uint64_t state(void)
{
    return atomic_load(&shared->journal.interrupt) & INTERRUPT_STATE;
}

/* How often the driver was interrupted since the last call. */
static uint64_t signals(void)
{
    uint64_t count = 0;
    return read(shared->line.irq, &count, sizeof(count)) < 0 ? 0 : count;
}

static void prepare(uint64_t interrupt, uint32_t pending)
{
    shared->line.state = &shared->state;
    shared->line.journal = &shared->journal;
    atomic_store(&shared->line.unheard, 0);
    atomic_store(&shared->line.muted, 0);
    (void)signals();
    atomic_store(&shared->journal.interrupt, interrupt);
    atomic_store(&shared->state.interrupt.pending, pending);
    atomic_store(&shared->state.interrupt.raised, (interrupt & INTERRUPT_STATE) != INTERRUPT_IDLE);
    atomic_store(&shared->over, false);
    shared->acknowledges = 0;
    shared->told = 0;
}

static bool can_step(void)
{
#ifdef __x86_64__
    return true;
#else
    case_skipped("an exchange that is one instruction: steps break the pairs of other processors");
    return false;
#endif
}

static pid_t begin(step *stepped)
{
    int wait_status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        stepped();
        atomic_store(&shared->over, true);
        _exit(0);
    }
    CU_ASSERT_FATAL(pid > 0);
    CU_ASSERT_FATAL(waitpid(pid, &wait_status, 0) == pid && WIFSTOPPED(wait_status));
    return pid;
}

/* The other one comes after `steps` instructions. Returns false if there are not so many. */
static bool meets_after(unsigned int steps, step *stepped, step *other)
{
    int wait_status = 0;
    pid_t pid = begin(stepped);
    for (unsigned int i = 0; i < steps && !atomic_load(&shared->over); i++) {
        CU_ASSERT_EQUAL_FATAL(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
        CU_ASSERT_FATAL(waitpid(pid, &wait_status, 0) == pid && WIFSTOPPED(wait_status));
    }
    bool meets = !atomic_load(&shared->over);
    other();
    CU_ASSERT_EQUAL(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
    CU_ASSERT(waitpid(pid, &wait_status, 0) == pid && wait_status == 0);
    return meets;
}

/* While the gate raises an interrupt, the driver acknowledges a bit of an earlier one. The bit that
 * is pending gets into InterruptStatus with the interrupt for it. */
static void an_acknowledgement_while_it_is_raised(void)
{
    if (!can_step())
        return;
    bool meets = true;
    unsigned int steps = 0;
    for (; meets && steps < STEPS_MAX; steps++) {
        prepare(word(INTERRUPT_IDLE, CONFIG), VRING);
        meets = meets_after(steps, raises, acknowledges_config);
        CU_ASSERT_EQUAL_FATAL(status(), VRING);
        CU_ASSERT_EQUAL_FATAL(atomic_load(&shared->journal.interrupt) >> INTERRUPT_COUNT_SHIFT,
                              COUNT + 1);
        CU_ASSERT_EQUAL_FATAL(atomic_load(&shared->state.interrupt.pending), 0);
        CU_ASSERT_EQUAL_FATAL(signals(), 1);
    }
    CU_ASSERT(!meets && steps > 10);
}

/* Both of them find the bit pending. One raises the interrupt. */
static void two_raise_one(void)
{
    if (!can_step())
        return;
    bool meets = true;
    unsigned int steps = 0;
    for (; meets && steps < STEPS_MAX; steps++) {
        prepare(word(INTERRUPT_IDLE, 0), VRING);
        meets = meets_after(steps, raises, raises);
        CU_ASSERT_EQUAL_FATAL(status(), VRING);
        CU_ASSERT_EQUAL_FATAL(state(), INTERRUPT_RAISED);
        CU_ASSERT_EQUAL_FATAL(atomic_load(&shared->journal.interrupt) >> INTERRUPT_COUNT_SHIFT,
                              COUNT + 1);
        CU_ASSERT_EQUAL_FATAL(atomic_load(&shared->state.interrupt.pending), 0);
        CU_ASSERT_EQUAL_FATAL(signals(), 1);
    }
    CU_ASSERT(!meets && steps > 10);
}

/* The bit that has become pending meanwhile is told, or it stays pending. */
static void expect_no_bit_is_lost(void)
{
    const uint32_t pending = atomic_load(&shared->state.interrupt.pending);
    CU_ASSERT_EQUAL_FATAL(state(), INTERRUPT_IDLE);
    CU_ASSERT_EQUAL_FATAL(status() & VRING, 0);
    CU_ASSERT_EQUAL_FATAL(status() | pending, CONFIG);
    CU_ASSERT_EQUAL_FATAL(status(), shared->told & CONFIG);
    CU_ASSERT_EQUAL_FATAL(atomic_load(&shared->state.interrupt.raised), 0);
}

static void status_and_acknowledgement(void)
{
    if (!can_step())
        return;
    bool meets = true;
    unsigned int steps = 0;
    for (; meets && steps < STEPS_MAX; steps++) {
        prepare(word(INTERRUPT_RAISED, VRING), CONFIG);
        meets = meets_after(steps, acknowledges_vring, reads_status);
        expect_no_bit_is_lost();
    }
    CU_ASSERT(!meets && steps > 10);
    for (meets = true, steps = 0; meets && steps < STEPS_MAX; steps++) {
        prepare(word(INTERRUPT_RAISED, VRING), CONFIG);
        meets = meets_after(steps, reads_status, acknowledges_vring);
        expect_no_bit_is_lost();
    }
    CU_ASSERT(!meets && steps > 10);
}

int main(int argc, char **argv)
{
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return EXIT_FAILURE;
    shared->line.call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    shared->line.irq = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    /* What is called for the first time may have to be looked up, in thousands of instructions. */
    (void)eventfd_signal(shared->line.irq);
    CU_TestInfo tests[] = {
        {"an acknowledgement while it is raised", an_acknowledgement_while_it_is_raised},
        {"two raise one interrupt", two_raise_one},
        {"InterruptStatus and an acknowledgement", status_and_acknowledgement},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "gate: at each instruction", tests);
}
