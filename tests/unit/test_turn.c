/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The turn of a queue. A device of this test's own serves it. How much may a turn take, what does
 * the driver see, when is it interrupted, and who says when the turn goes on?
 */
#include <CUnit/CUnit.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/wait.h"
#include "tests/cunit_main.h"
#include "tests/unit/guest.h"
#include "worker/ticks.h"
#include "worker/turn.h"

#define RING 16u
#define BUFFER (GUEST_BASE + GUEST_BUFFERS)
#define NO_KICKS VRING_USED_F_NO_NOTIFY

static struct device dev;
static struct state_page page;
static struct guest_ring ring;
static struct guest_fault fault;

/* What the device does, and what it has found. */
static struct {
    enum serve after;         /* result of step number `done_steps` and of later ones */
    unsigned int done_steps;  /* this many steps complete one chain each */
    uint32_t bytes[RING];     /* bytes that step i moves */
    uint32_t completed[RING]; /* bytes that step i completes */
    uint32_t more_steps;      /* additional steps that each step counts */
    bool late_chain;          /* a chain comes just when the last step says that there is none */
    unsigned int count;       /* steps so far */
    uint16_t used_idx[RING];  /* at the start of each step: what the driver could see */
    uint64_t interrupts[RING];
    bool kicks_off[RING];
} script;

static bool kicks_off(void)
{
    return (ring.used->flags & NO_KICKS) != 0;
}

static void offer_chains(unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        guest_desc(&ring, i, BUFFER, 64, VRING_DESC_F_WRITE, 0);
        guest_offer(&ring, (uint16_t)i);
    }
}

/* A queue with `chains` chains of 64 bytes that the device writes to. */
static void start(unsigned int chains)
{
    memset(&page, 0, sizeof(page));
    memset(&script, 0, sizeof(script));
    page.queue_count = 1;
    guest_ring_init(&ring, 0, RING);
    page.queues[0] = guest_ring_state(&ring);
    dev = (struct device){.state = &page, .queue_count = 1, .work = 1};
    CU_ASSERT_EQUAL_FATAL(
        virtqueue_start(&dev.queues[0], 0, &guest_window, &page.queues[0], RING, 0, &fault), 0);
    script.after = SERVE_WAIT_ROOM;
    script.done_steps = RING;
    offer_chains(chains);
}

static enum serve step(struct turn *turn)
{
    static struct chain chain;
    unsigned int number = script.count++;
    script.used_idx[number] = ring.used->idx;
    script.interrupts[number] = page.counters.interrupts_sent;
    script.kicks_off[number] = kicks_off();
    if (number >= script.done_steps)
        return script.after;
    enum serve r = turn_take(turn, &chain, 0, 64);
    if (r == SERVE_WAIT_ROOM && script.late_chain)
        offer_chains(1);
    if (r != SERVE_DONE)
        return r;
    virtqueue_push(turn->vq, chain.ref, 0);
    turn->steps += script.more_steps;
    turn->bytes += script.bytes[number];
    turn->completed_bytes += script.completed[number];
    return SERVE_DONE;
}

static enum serve run(const struct turn_rules *rules)
{
    script.count = 0;
    return turn_run(&dev, 0, rules, step, &fault);
}

static void test_bounds(void)
{
    const struct turn_rules steps = {.steps = 4}, bytes = {.steps = 10, .bytes = 100};
    start(10);
    CU_ASSERT_EQUAL(run(&steps), SERVE_END);
    CU_ASSERT_EQUAL(script.count, 4);
    CU_ASSERT_EQUAL(ring.used->idx, 4);
    CU_ASSERT_TRUE(kicks_off());
    script.more_steps = 1;
    CU_ASSERT_EQUAL(run(&steps), SERVE_END);
    CU_ASSERT_EQUAL(script.count, 2);
    start(10);
    for (unsigned int i = 0; i < RING; i++)
        script.bytes[i] = 40;
    CU_ASSERT_EQUAL(run(&bytes), SERVE_END);
    CU_ASSERT_EQUAL(script.count, 3);
    CU_ASSERT_EQUAL(run(&steps), SERVE_END); /* it has no bound for bytes */
    CU_ASSERT_EQUAL(script.count, 4);
}

static void test_each_step_is_seen(void)
{
    const struct turn_rules rules = {.steps = 10};
    start(5);
    CU_ASSERT_EQUAL(run(&rules), SERVE_WAIT_ROOM);
    CU_ASSERT_EQUAL_FATAL(script.count, 6);
    for (unsigned int i = 0; i < 6; i++) {
        CU_ASSERT_EQUAL(script.used_idx[i], i);
        CU_ASSERT_EQUAL(script.interrupts[i], 0);
        CU_ASSERT_TRUE(script.kicks_off[i]);
    }
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 1);
    CU_ASSERT_FALSE(kicks_off());
}

static void test_interrupts(void)
{
    const struct turn_rules chains = {.steps = 10, .signal_chains = 3};
    const struct turn_rules bytes = {.steps = 10, .signal_bytes = 50};
    static const unsigned int after_chains[] = {0, 0, 0, 1, 1, 1, 2, 2};
    static const unsigned int after_bytes[] = {0, 0, 0, 1, 1};
    start(7);
    CU_ASSERT_EQUAL(run(&chains), SERVE_WAIT_ROOM);
    CU_ASSERT_EQUAL_FATAL(script.count, 8);
    for (unsigned int i = 0; i < 8; i++)
        CU_ASSERT_EQUAL(script.interrupts[i], after_chains[i]);
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 3);
    /* 30 in each of two steps are not 60 in one step. */
    start(4);
    script.completed[0] = script.completed[1] = 30;
    script.completed[2] = 50;
    CU_ASSERT_EQUAL(run(&bytes), SERVE_WAIT_ROOM);
    CU_ASSERT_EQUAL_FATAL(script.count, 5);
    for (unsigned int i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(script.interrupts[i], after_bytes[i]);
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 2);
}

/* The driver makes a chain available before it knows that it has to kick. */
static void test_late_chain(void)
{
    const struct turn_rules rules = {.steps = 10};
    start(2);
    script.late_chain = true;
    CU_ASSERT_EQUAL(run(&rules), SERVE_END);
    CU_ASSERT_EQUAL(script.count, 3);
    script.late_chain = false;
    CU_ASSERT_EQUAL(run(&rules), SERVE_WAIT_ROOM);
    CU_ASSERT_EQUAL(ring.used->idx, 3);
    CU_ASSERT_FALSE(kicks_off());
}

/* Another event than a kick says when to go on. So the driver is not asked to kick. */
static void test_other_ends(void)
{
    static const enum serve ends[] = {SERVE_WAIT_BACKEND, SERVE_FAULT, SERVE_END};
    const struct turn_rules rules = {.steps = 10};
    for (unsigned int i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        start(2);
        dev.polling = (struct polling){.max = 1000, .window = 1000};
        script.done_steps = 2;
        script.after = ends[i];
        CU_ASSERT_EQUAL(run(&rules), ends[i]);
        CU_ASSERT_TRUE(kicks_off());
        CU_ASSERT_EQUAL(dev.unasked, 0);
        CU_ASSERT_EQUAL(page.counters.interrupts_sent, 1);
    }
}

/* The worker looks at its rings before it sleeps. So the driver is not asked to kick yet, except if
 * looking does not pay. */
static void test_polling(void)
{
    const struct turn_rules rules = {.steps = 10};
    start(2);
    dev.polling = (struct polling){.max = 1000, .window = 1000};
    CU_ASSERT_EQUAL(run(&rules), SERVE_WAIT_ROOM);
    CU_ASSERT_TRUE(kicks_off());
    CU_ASSERT_EQUAL(dev.unasked, 1);
    device_ask_for_kicks(&dev);
    CU_ASSERT_FALSE(kicks_off());
    CU_ASSERT_EQUAL(dev.unasked, 0);
    start(2);
    dev.polling = (struct polling){.max = 1000, .window = 1000, .skip = 1};
    CU_ASSERT_EQUAL(run(&rules), SERVE_WAIT_ROOM);
    CU_ASSERT_FALSE(kicks_off());
    CU_ASSERT_EQUAL(dev.unasked, 0);
}

/* A chain that comes before kicks are asked for is found by looking, or at the latest when they
 * are asked for. */
static void test_found_without_a_kick(void)
{
    const struct turn_rules rules = {.steps = 10};
    for (unsigned int look = 0; look < 2; look++) {
        start(2);
        dev.polling = (struct polling){.max = 1000, .window = 1000};
        CU_ASSERT_EQUAL(run(&rules), SERVE_WAIT_ROOM);
        dev.work = 0;
        CU_ASSERT_FALSE(device_look(&dev));
        offer_chains(1);
        if (look == 1)
            CU_ASSERT_TRUE(device_look(&dev));
        device_ask_for_kicks(&dev);
        CU_ASSERT_EQUAL(dev.work, 1);
    }
    /* A register access is found as well. */
    start(0);
    dev.work = 0;
    CU_ASSERT_FALSE(device_look(&dev));
    page.mailbox.request_seq = 1;
    CU_ASSERT_TRUE(device_look(&dev));
}

static enum serve busy_and_waiting(struct device *of, unsigned int queue, struct guest_fault *ret)
{
    const struct turn_rules rules = {.steps = 10};
    return queue == 1 ? SERVE_END : turn_run(of, queue, &rules, step, ret);
}

/* A queue that always has work does not keep the worker from looking at one without kicks. */
static void test_found_beside_a_busy_queue(void)
{
    static const struct device_ops ops = {.turn = busy_and_waiting};
    start(2);
    dev.ops = &ops;
    dev.queue_count = page.queue_count = 2;
    dev.queues[1].running = true;
    dev.polling = (struct polling){.max = 1000, .window = 1000};
    dev.work = 3;
    device_turns(&dev);
    CU_ASSERT_EQUAL(dev.work, 2);
    CU_ASSERT_EQUAL(dev.unasked, 1);
    offer_chains(1);
    device_turns(&dev);
    CU_ASSERT_EQUAL(ring.used->idx, 3);
    CU_ASSERT_EQUAL(dev.work, 2);
}

/* The chains of a turn whose interrupt can wait. */
static void run_late(unsigned int chains, uint64_t window)
{
    const struct turn_rules rules = {.steps = 10, .late_chains = 2, .late_polling = true};
    start(chains);
    dev.polling = (struct polling){.max = ticks_of_us(IRQ_DELAY_US_MAX), .window = window};
    CU_ASSERT_EQUAL(run(&rules), SERVE_WAIT_ROOM);
    CU_ASSERT_EQUAL(ring.used->idx, chains); /* the driver sees them at once */
}

/* It waits only while the worker polls, and only of a few chains. */
static void test_late(void)
{
    run_late(2, 1000);
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 0);
    device_late_before_sleep(&dev);
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 1);
    device_late_before_sleep(&dev);
    device_late_is_over(&dev, true);
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 1);
    run_late(3, 1000);
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 1);
    run_late(2, 0);
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 1);
    /* Those of the next turn are added. */
    const struct turn_rules rules = {.steps = 10, .late_chains = 2, .late_polling = true};
    run_late(2, 1000);
    offer_chains(1);
    CU_ASSERT_EQUAL(run(&rules), SERVE_WAIT_ROOM);
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 1);
    CU_ASSERT_EQUAL(dev.late, 0);
}

/* It waits for poll_us at most, from the first chain on. */
static void test_late_has_an_end(void)
{
    const struct turn_rules rules = {.steps = 10, .late_chains = 2, .late_polling = true};
    run_late(1, 1000);
    dev.late_until = ticks_now() - 1;
    offer_chains(1);
    CU_ASSERT_EQUAL(run(&rules), SERVE_WAIT_ROOM);
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 0);
    device_late_is_over(&dev, false);
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 1);
    /* The same if the processor's counter jumps back. */
    run_late(1, 1000);
    dev.late_until = ticks_now() + (1ull << 60);
    CU_ASSERT_EQUAL(device_late_ns(&dev), 0);
    device_late_is_over(&dev, false);
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 1);
}

/* A time for which it waits, also while the worker sleeps. */
static void test_late_for_a_time(void)
{
    const uint64_t ticks = ticks_of_us(IRQ_DELAY_US_MAX);
    const struct turn_rules rules = {.steps = 10, .late_chains = 2, .late_ticks = ticks};
    start(1);
    CU_ASSERT_EQUAL(device_late_ns(&dev), WAIT_FOR_EVER);
    CU_ASSERT_EQUAL(run(&rules), SERVE_WAIT_ROOM);
    device_late_before_sleep(&dev);
    device_late_is_over(&dev, false);
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 0);
    CU_ASSERT(device_late_ns(&dev) > 0);
    CU_ASSERT(device_late_ns(&dev) <= 1001ull * IRQ_DELAY_US_MAX);
    /* It begins with the first chain. A queue whose time is over sooner has all told. */
    const uint64_t until = dev.late_until;
    offer_chains(1);
    CU_ASSERT_EQUAL(run(&rules), SERVE_WAIT_ROOM);
    CU_ASSERT_EQUAL(dev.late_until, until);
    offer_chains(1);
    CU_ASSERT_EQUAL(run(&rules), SERVE_WAIT_ROOM); /* the third is no longer few */
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 1);
    CU_ASSERT_EQUAL(dev.late, 0);
    const struct turn_rules sooner = {.steps = 10, .late_chains = 2, .late_ticks = ticks / 2};
    offer_chains(1);
    CU_ASSERT_EQUAL(run(&rules), SERVE_WAIT_ROOM);
    offer_chains(1);
    CU_ASSERT_EQUAL(run(&sooner), SERVE_WAIT_ROOM);
    CU_ASSERT(dev.late_until - ticks_now() <= ticks / 2);
}

/* It waits for whatever reason the turn has ended, but for an error of the guest's. */
static void test_late_at_any_end(void)
{
    static const enum serve ends[] = {SERVE_WAIT_BACKEND, SERVE_END, SERVE_FAULT};
    const struct turn_rules rules = {.steps = 10, .late_chains = 2, .late_ticks = 1000};
    for (unsigned int i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        start(2);
        script.done_steps = 2;
        script.after = ends[i];
        CU_ASSERT_EQUAL(run(&rules), ends[i]);
        CU_ASSERT_EQUAL(page.counters.interrupts_sent, ends[i] == SERVE_FAULT ? 1 : 0);
    }
}

/* Nothing waits on behalf of a queue that the driver has stopped, nor after a reset. */
static void test_late_and_stopped(void)
{
    static const struct device_ops ops = {.turn = busy_and_waiting};
    for (unsigned int reset = 0; reset < 2; reset++) {
        run_late(1, 1000);
        CU_ASSERT(dev.late == 1 && dev.late_awake == 1);
        dev.ops = &ops;
        if (reset == 0)
            device_queue_unready(&dev, 0);
        else
            device_reset(&dev);
        CU_ASSERT(dev.late == 0 && dev.late_awake == 0);
        CU_ASSERT_EQUAL(device_late_ns(&dev), WAIT_FOR_EVER);
        device_late_is_over(&dev, true);
        CU_ASSERT_EQUAL(page.counters.interrupts_sent, 0);
    }
}

/* A driver that asks for no interrupt gets none, however late. */
static void test_late_and_unwanted(void)
{
    run_late(1, 1000);
    dev.queues[0].signal_always = false; /* as after its first interrupt */
    ring.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
    device_late_is_over(&dev, true);
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 0);
    CU_ASSERT_EQUAL(page.counters.interrupts_suppressed, 1);
    /* What is decided at once does not wait any more. */
    run_late(1, 1000);
    dev.queues[0].signal_always = false;
    ring.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
    device_signal(&dev, &dev.queues[0]);
    CU_ASSERT_EQUAL(dev.late, 0);
    ring.avail->flags = 0;
    device_late_is_over(&dev, true);
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 0);
    CU_ASSERT_EQUAL(page.counters.interrupts_suppressed, 1);
}

/* One interrupt is for all queues. */
static void test_late_comes_along(void)
{
    static struct guest_ring other;
    static struct chain chain;
    run_late(1, 1000);
    guest_ring_init(&other, 1, RING);
    page.queues[1] = guest_ring_state(&other);
    dev.queue_count = page.queue_count = 2;
    CU_ASSERT_EQUAL_FATAL(
        virtqueue_start(&dev.queues[1], 1, &guest_window, &page.queues[1], RING, 0, &fault), 0);
    guest_desc(&other, 0, BUFFER, 64, VRING_DESC_F_WRITE, 0);
    guest_offer(&other, 0);
    CU_ASSERT_EQUAL_FATAL(virtqueue_pop(&dev.queues[1], &chain, &fault), 1);
    virtqueue_push(&dev.queues[1], chain.ref, 0);
    virtqueue_publish(&dev.queues[1]);
    device_signal(&dev, &dev.queues[1]);
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 1);
    CU_ASSERT_EQUAL(dev.late, 0);
    device_late_is_over(&dev, true);
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 1);
}

static enum serve take(size_t readable, size_t writable)
{
    static struct chain chain;
    struct turn turn = turn_begin(&dev, 0, &fault);
    memset(&fault, 0, sizeof(fault));
    return turn_take(&turn, &chain, readable, writable);
}

static void test_chains_that_are_too_short(void)
{
    start(0);
    CU_ASSERT_EQUAL(take(0, 0), SERVE_WAIT_ROOM);
    /* 16 bytes for the device to read, 8 for it to write. */
    for (uint16_t i = 0; i < 5; i++) {
        guest_desc(&ring, 2u * i, BUFFER, 16, VRING_DESC_F_NEXT, (uint16_t)(2 * i + 1));
        guest_desc(&ring, 2u * i + 1, BUFFER, 8, VRING_DESC_F_WRITE, 0);
        guest_offer(&ring, (uint16_t)(2 * i));
    }
    CU_ASSERT_EQUAL(take(16, 8), SERVE_DONE);
    CU_ASSERT_EQUAL(take(0, 0), SERVE_DONE);
    CU_ASSERT_EQUAL(take(17, 0), SERVE_FAULT);
    CU_ASSERT_EQUAL(fault.code, LOG_CHAIN_INVALID);
    CU_ASSERT_EQUAL(fault.args[0], 0);
    CU_ASSERT_EQUAL(fault.args[1], 4);
    CU_ASSERT_EQUAL(fault.args[2], CHECK_NO_ROOM);
    CU_ASSERT_EQUAL(take(0, 9), SERVE_FAULT);
    CU_ASSERT_EQUAL(fault.args[1], 6);
    guest_offer(&ring, RING); /* no such descriptor */
    CU_ASSERT_EQUAL(take(16, 8), SERVE_DONE);
    CU_ASSERT_EQUAL(take(0, 0), SERVE_FAULT);
    CU_ASSERT_EQUAL(fault.code, LOG_DESC_INVALID);
}

int main(int argc, char **argv)
{
    ticks_init();
    int call = eventfd(0, EFD_NONBLOCK);
    if (call < 0 || dup2(call, WORKER_FD_CALL) < 0)
        return EXIT_FAILURE;
    guest_window_init();
    CU_TestInfo tests[] = {
        {"it takes no more than it may", test_bounds},
        {"the driver sees each step at once", test_each_step_is_seen},
        {"it is interrupted as the rules say", test_interrupts},
        {"a chain that comes late is not lost", test_late_chain},
        {"who waits for something else asks for no kick", test_other_ends},
        {"if the worker polls, kicks are asked for later", test_polling},
        {"what comes until then is found", test_found_without_a_kick},
        {"also while another queue is busy", test_found_beside_a_busy_queue},
        {"an interrupt that can wait does, while the worker polls", test_late},
        {"it does not wait for ever", test_late_has_an_end},
        {"it waits for a time, while the worker sleeps, too", test_late_for_a_time},
        {"but not with an error of the guest's", test_late_at_any_end},
        {"nothing waits for a queue that is stopped", test_late_and_stopped},
        {"it is not sent if the driver wants none", test_late_and_unwanted},
        {"it comes with that of another queue", test_late_comes_along},
        {"a chain that is too short is the guest's fault", test_chains_that_are_too_short},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "the turn of a queue", tests);
}
