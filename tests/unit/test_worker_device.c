/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all kinds of device have in common (worker/device.h), with a device of this test's own:
 * which START is usable, when the driver is interrupted, which queue has a turn, and what an error
 * ends.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/guest.h"
#include "worker/ticks.h"
#include "worker/transport.h"

#define RING 16u
#define LIVE                                                                                       \
    (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |          \
     VIRTIO_CONFIG_S_DRIVER_OK)
#define QUEUES 3u
#define FAULT                                                                                      \
    {                                                                                              \
        LOG_CHAIN_INVALID,                                                                         \
        {                                                                                          \
            1, 2, 3                                                                                \
        }                                                                                          \
    }

static struct device dev;
static struct state_page page;
static struct guest_ring rings[QUEUES];

/* What the device was asked to do, and what it answers. */
static struct {
    unsigned int turns[8], count; /* queues that had a turn, in order */
    enum serve result[QUEUES];
    unsigned int stops, starts, stopped, messages, adopted;
    int adopt_result;
    bool resumed, changed, knows_message;
    int start_result, queue_start_result, started;
} seen;

static enum serve turn(struct device *of, unsigned int queue, struct guest_fault *ret_fault)
{
    (void)of;
    seen.turns[seen.count++ % 8] = queue;
    *ret_fault = (struct guest_fault)FAULT;
    return seen.result[queue];
}

static int on_start(struct device *of, bool resumed, struct guest_fault *ret_fault)
{
    (void)of;
    seen.starts++;
    seen.resumed = resumed;
    *ret_fault = (struct guest_fault)FAULT;
    return seen.start_result;
}

static void on_stop(struct device *of)
{
    (void)of;
    seen.stops++;
}

static int on_queue_start(struct device *of, unsigned int queue, struct guest_fault *ret_fault)
{
    (void)of;
    seen.started = (int)queue;
    *ret_fault = (struct guest_fault)FAULT;
    return seen.queue_start_result;
}

static void on_queue_stop(struct device *of, unsigned int queue)
{
    CU_ASSERT_EQUAL(of->state->queues[queue].ready, 1); /* the queue is still there */
    seen.stopped = queue;
}

static bool on_backend_changed(struct device *of)
{
    (void)of;
    return seen.changed;
}

static bool on_message(struct device *of, const union message *message, const int *fds,
                       size_t fd_count)
{
    (void)of;
    (void)fds;
    CU_ASSERT_EQUAL(message->header.type, MSG_CONNECTION);
    CU_ASSERT_EQUAL(fd_count, 0);
    seen.messages++;
    return seen.knows_message;
}

static int on_adopt(struct device *of)
{
    (void)of;
    seen.adopted++;
    return seen.adopt_result;
}

static int on_backend_event(struct device *of, unsigned int file, uint32_t events,
                            struct guest_fault *ret_fault)
{
    (void)of;
    *ret_fault = (struct guest_fault)FAULT;
    return file == 0 && events == 1 ? 0 : -EBADMSG;
}

static const struct device_ops ops = {
    .start = on_start,
    .stop = on_stop,
    .queue_start = on_queue_start,
    .queue_stop = on_queue_stop,
    .turn = turn,
    .backend_event = on_backend_event,
    .backend_changed = on_backend_changed,
    .message = on_message,
    .adopt = on_adopt,
};
static const struct device_ops few_ops = {.turn = turn};

static uint64_t signals(int fd)
{
    uint64_t count = 0;
    return read(fd, &count, sizeof(count)) < 0 ? 0 : count;
}

static void nothing_seen(void)
{
    memset(&seen, 0, sizeof(seen));
    seen.started = -1;
    for (unsigned int q = 0; q < QUEUES; q++)
        seen.result[q] = SERVE_WAIT_ROOM;
}

/* A device that serves queues 0 and 2; somebody else serves queue 1. Its driver has not come to
 * DRIVER_OK yet. */
static void fresh(void)
{
    memset(&page, 0, sizeof(page));
    nothing_seen();
    page.queue_count = QUEUES;
    page.transport.driver_features = 1ull << VIRTIO_F_VERSION_1;
    dev = (struct device){
        .ops = &ops,
        .state = &page,
        .window = guest_window,
        .queue_count = QUEUES,
        .queue_size_max = RING,
        .user_queues = 1u << 0 | 1u << 2,
    };
    for (unsigned int q = 0; q < QUEUES; q++) {
        guest_ring_init(&rings[q], q, RING);
        page.queues[q] = guest_ring_state(&rings[q]);
    }
    (void)signals(WORKER_FD_CALL);
    (void)guest_logged(LOG_RESET);
}

static void live(void)
{
    fresh();
    page.transport.status = LIVE;
    device_start(&dev);
    nothing_seen();
    page.counters = (struct state_counters){0};
}

static bool needs_reset(void)
{
    return (page.transport.status & VIRTIO_CONFIG_S_NEEDS_RESET) != 0;
}

/* ---- Interrupts ---- */

static void test_the_broker_is_told_once(void)
{
    for (uint32_t pending = 0; pending < 3; pending++) {
        for (uint32_t raised = 0; raised < 2; raised++) {
            fresh();
            page.interrupt.pending = pending;
            page.interrupt.raised = raised;
            device_interrupt(&dev, VIRTIO_MMIO_INT_CONFIG);
            CU_ASSERT_EQUAL(signals(WORKER_FD_CALL), pending == 0 && raised == 0 ? 1 : 0);
            CU_ASSERT_EQUAL(page.interrupt.pending, pending | VIRTIO_MMIO_INT_CONFIG);
            CU_ASSERT_EQUAL(page.counters.interrupts_sent, 1);
        }
    }
}

static void test_a_new_configuration(void)
{
    live();
    device_config_changed(&dev);
    CU_ASSERT_EQUAL(page.transport.config_generation, 1);
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 1);
    static const uint32_t others[] = {0, LIVE & ~VIRTIO_CONFIG_S_DRIVER_OK,
                                      LIVE | VIRTIO_CONFIG_S_NEEDS_RESET};
    for (size_t i = 0; i < 3; i++) {
        live();
        page.transport.status = others[i];
        device_config_changed(&dev);
        CU_ASSERT_EQUAL(page.transport.config_generation, 1);
        CU_ASSERT_EQUAL(page.counters.interrupts_sent, 0);
    }
}

static void test_news_of_the_backend_are_taken_once(void)
{
    live();
    seen.changed = true;
    device_backend_changed(&dev);
    CU_ASSERT_EQUAL(page.transport.config_generation, 0);
    page.backend.changes = 7;
    for (unsigned int i = 0; i < 2; i++) {
        device_backend_changed(&dev);
        CU_ASSERT_EQUAL(page.transport.config_generation, 1);
    }
    seen.changed = false; /* nothing that the driver sees */
    page.backend.changes = 8;
    device_backend_changed(&dev);
    CU_ASSERT_EQUAL(page.transport.config_generation, 1);
    dev.ops = &few_ops;
    page.backend.changes = 9;
    device_backend_changed(&dev);
    CU_ASSERT_EQUAL(page.transport.config_generation, 1);
}

/* A kick is work, or goes on to the side that serves the queue. */
static void test_for_whom_a_kick_is(void)
{
    live();
    const int other = device_kick_fd(&dev, 1);
    int signal = eventfd(0, EFD_NONBLOCK);
    CU_ASSERT_EQUAL_FATAL(dup2(signal, other), other);
    dev.work = 0;
    device_notify(&dev, QUEUES);
    CU_ASSERT(dev.work == 0 && page.counters.kicks == 0);
    device_notify(&dev, 1);
    CU_ASSERT(dev.work == 0 && page.counters.kicks == 1);
    CU_ASSERT_EQUAL(signals(other), 1);
    device_notify(&dev, 2);
    CU_ASSERT(dev.work == 4 && page.counters.kicks == 2);
    CU_ASSERT_EQUAL(signals(other), 0);
    close(other);
    close(signal);
}

/* ---- Starting, stopping, errors ---- */

static void test_a_device_starts(void)
{
    fresh();
    page.queues[0].ready = 0;
    page.transport.status = LIVE;
    device_start(&dev);
    CU_ASSERT(seen.starts == 1 && !seen.resumed);
    CU_ASSERT_EQUAL(dev.work, 1u << 2);
    CU_ASSERT_FALSE(dev.queues[0].running);
    CU_ASSERT_FALSE(dev.queues[1].running);
    CU_ASSERT_TRUE(dev.queues[2].running);
    CU_ASSERT_EQUAL(guest_logged(LOG_DRIVER_OK), 1);
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 0);
}

/* In whatever queue the error is, whoever serves it; and if the kind itself finds it. */
static void test_a_device_that_can_t_start(void)
{
    for (unsigned int q = 0; q <= QUEUES; q++) {
        fresh();
        page.transport.status = LIVE;
        if (q < QUEUES)
            page.queues[q].desc++;
        else
            seen.start_result = -EBADMSG;
        device_start(&dev);
        CU_ASSERT_TRUE(needs_reset());
        CU_ASSERT_EQUAL(seen.starts, q == QUEUES);
        CU_ASSERT_EQUAL(seen.stops, 1);
        CU_ASSERT_EQUAL(page.counters.guest_errors, 1);
        CU_ASSERT_EQUAL(page.interrupt.pending, VIRTIO_MMIO_INT_CONFIG);
        CU_ASSERT_EQUAL(guest_logged(q < QUEUES ? LOG_QUEUE_INVALID : LOG_CHAIN_INVALID), 1);
        CU_ASSERT_EQUAL(dev.work, 0);
        for (unsigned int k = 0; k < QUEUES; k++)
            CU_ASSERT_FALSE(dev.queues[k].running);
    }
}

/* §2.1.2: it needed a reset before DRIVER_OK, when the driver could not be told. */
static void test_a_driver_that_starts_a_broken_device(void)
{
    const struct guest_fault fault = FAULT;
    fresh();
    page.transport.status = LIVE & ~VIRTIO_CONFIG_S_DRIVER_OK;
    device_needs_reset(&dev, &fault);
    CU_ASSERT_TRUE(needs_reset());
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 0);
    page.transport.status |= VIRTIO_CONFIG_S_DRIVER_OK;
    device_start(&dev);
    CU_ASSERT_EQUAL(seen.starts, 0);
    CU_ASSERT_EQUAL(page.interrupt.pending, VIRTIO_MMIO_INT_CONFIG);
}

static void test_a_queue_that_comes_later(void)
{
    fresh();
    page.transport.status = LIVE;
    page.queues[2].ready = 0;
    device_start(&dev);
    dev.work = 0;
    struct state_queue *queue = &page.queues[2];
    queue->size = 0;
    queue->next_used = queue->batch_end = queue->next_avail = 5;
    device_queue_ready(&dev, 2);
    CU_ASSERT_EQUAL(queue->size, RING); /* a driver that has written none */
    CU_ASSERT(queue->next_used == 0 && queue->batch_end == 0 && queue->next_avail == 0);
    CU_ASSERT_EQUAL(queue->ready, 1);
    CU_ASSERT_EQUAL(seen.started, 2);
    CU_ASSERT_EQUAL(dev.work, 1u << 2);
    CU_ASSERT_TRUE(dev.queues[2].running);
    CU_ASSERT_FALSE(needs_reset());
    /* And goes again. */
    dev.unasked = dev.late = dev.late_awake = dev.work = 7;
    device_queue_unready(&dev, 2);
    CU_ASSERT_EQUAL(seen.stopped, 2);
    CU_ASSERT_FALSE(dev.queues[2].running);
    CU_ASSERT_TRUE(dev.queues[0].running);
    CU_ASSERT(dev.work == 3 && dev.unasked == 3 && dev.late == 3 && dev.late_awake == 3);
    CU_ASSERT_EQUAL(queue->ready, 0);
    /* Before DRIVER_OK it is only noted. */
    fresh();
    page.queues[2].ready = 0;
    device_queue_ready(&dev, 2);
    CU_ASSERT_EQUAL(page.queues[2].ready, 1);
    CU_ASSERT(seen.started == -1 && !dev.queues[2].running && dev.work == 0);
}

static void test_a_queue_that_can_t_start(void)
{
    for (unsigned int i = 0; i < 2; i++) {
        live();
        device_queue_unready(&dev, 2);
        if (i == 0)
            page.queues[2].desc++;
        else
            seen.queue_start_result = -EBADMSG;
        seen.started = -1;
        device_queue_ready(&dev, 2);
        CU_ASSERT_EQUAL(seen.started, i == 0 ? -1 : 2);
        CU_ASSERT_TRUE(needs_reset());
        CU_ASSERT_EQUAL(guest_logged(i == 0 ? LOG_QUEUE_INVALID : LOG_CHAIN_INVALID), 1);
    }
}

static void test_a_reset_is_logged_if_there_was_a_driver(void)
{
    for (uint32_t status = 0; status < 2; status++) {
        fresh();
        page.transport.status = status;
        page.interrupt.pending = 3;
        dev.work = dev.unasked = 7;
        device_reset(&dev);
        CU_ASSERT_EQUAL(guest_logged(LOG_RESET), status);
        CU_ASSERT_EQUAL(page.transport.status, 0);
        CU_ASSERT_EQUAL(page.interrupt.pending, 0);
        CU_ASSERT(seen.stops == 1 && dev.work == 0 && dev.unasked == 0);
    }
}

static void test_an_error_on_a_file(void)
{
    live();
    device_backend_event(&dev, 0, 1);
    CU_ASSERT_FALSE(needs_reset());
    device_backend_event(&dev, 1, 1);
    CU_ASSERT_TRUE(needs_reset());
    live();
    dev.ops = &few_ops;
    device_backend_event(&dev, 1, 1);
    CU_ASSERT_FALSE(needs_reset());
}

/* ---- A page ---- */

/* The page of a device that ran. */
static void used_page(void)
{
    fresh();
    dev.features = 1ull << VIRTIO_F_VERSION_1;
    memset(&page, 0, sizeof(page));
    device_resume(&dev); /* as the first worker */
    CU_ASSERT_EQUAL(seen.adopted, 1);
    page.transport.driver_features = dev.features;
    page.transport.status = LIVE;
    for (unsigned int q = 0; q < QUEUES; q++) {
        guest_ring_init(&rings[q], q, RING);
        page.queues[q] = guest_ring_state(&rings[q]);
    }
    nothing_seen();
    (void)guest_logged(LOG_RESUMED);
}

static void test_a_page_is_taken_over(void)
{
    used_page();
    page.watch.in_io = 1; /* a predecessor died there */
    device_resume(&dev);
    CU_ASSERT_EQUAL(guest_logged(LOG_RESUMED), 1);
    CU_ASSERT(seen.adopted == 1 && seen.starts == 1 && seen.resumed);
    CU_ASSERT_EQUAL(page.watch.in_io, 0);
    CU_ASSERT_EQUAL(page.interrupt.pending, VIRTIO_MMIO_INT_VRING);
    CU_ASSERT_EQUAL(page.transport.config_generation, 0);
    CU_ASSERT_EQUAL(dev.work, 5);
    /* The driver saw another configuration space. */
    used_page();
    dev.config_changed = true;
    device_resume(&dev);
    CU_ASSERT_EQUAL(page.transport.config_generation, 1);
    CU_ASSERT_EQUAL(page.interrupt.pending, VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG);
    /* The driver has not come so far; or it knows of the error, perhaps. */
    used_page();
    page.transport.status = LIVE & ~VIRTIO_CONFIG_S_DRIVER_OK;
    device_resume(&dev);
    CU_ASSERT(seen.starts == 0 && page.interrupt.pending == 0 && dev.work == 0);
    used_page();
    page.transport.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    device_resume(&dev);
    CU_ASSERT(seen.starts == 0 && page.interrupt.pending == VIRTIO_MMIO_INT_CONFIG);
    /* It can't start again. */
    used_page();
    seen.start_result = -EBADMSG;
    device_resume(&dev);
    CU_ASSERT_TRUE(needs_reset());
    CU_ASSERT_EQUAL(guest_logged(LOG_CHAIN_INVALID), 1);
}

static void test_a_page_that_is_not_usable(void)
{
    for (unsigned int of_kind = 0; of_kind < 2; of_kind++) {
        used_page();
        if (of_kind == 1)
            seen.adopt_result = -EINVAL;
        else
            page.queues[0].ready = 7;
        device_resume(&dev);
        CU_ASSERT_TRUE(needs_reset());
        CU_ASSERT_EQUAL(page.transport.status, LIVE | VIRTIO_CONFIG_S_NEEDS_RESET);
        CU_ASSERT_EQUAL(seen.adopted, 1 + of_kind); /* the new state, at least */
        CU_ASSERT_EQUAL(seen.starts, 0);
        CU_ASSERT_EQUAL(page.queues[0].ready, 0);
        CU_ASSERT_EQUAL(guest_logged(LOG_STATE_INVALID), 1);
        CU_ASSERT_EQUAL(page.interrupt.pending, VIRTIO_MMIO_INT_CONFIG);
    }
    fresh();
    device_features_ok(&dev);
    CU_ASSERT_EQUAL(seen.adopted, 1);
    device_reset(&dev);
    CU_ASSERT_EQUAL(seen.adopted, 2);
}

/* ---- Turns ---- */

/* From the last queue to the first: the answer to what comes in by one goes out by the next. */
static void test_the_order_of_turns(void)
{
    live();
    dev.work = 7; /* queue 1 does not run here */
    dev.unasked = 0;
    device_turns(&dev);
    CU_ASSERT(seen.count == 2 && seen.turns[0] == 2 && seen.turns[1] == 0);
    CU_ASSERT_EQUAL(dev.work, 0);
    device_turns(&dev);
    CU_ASSERT_EQUAL(seen.count, 2);
}

static void test_what_a_turn_says(void)
{
    static const struct {
        enum serve result;
        uint32_t work;
    } cases[] = {{SERVE_WAIT_ROOM, 0}, {SERVE_WAIT_BACKEND, 0}, {SERVE_END, 4}};
    for (size_t i = 0; i < 3; i++) {
        live();
        seen.result[2] = cases[i].result;
        dev.work = 4;
        dev.unasked = 0;
        device_turns(&dev);
        CU_ASSERT_EQUAL(dev.work, cases[i].work);
        CU_ASSERT_EQUAL(page.deaths.turn, 0);
        CU_ASSERT_FALSE(needs_reset());
    }
    live();
    seen.result[2] = SERVE_FAULT;
    dev.work = 5;
    device_turns(&dev);
    CU_ASSERT_TRUE(needs_reset());
    CU_ASSERT_EQUAL(seen.count, 1); /* the other queue has stopped, too */
    CU_ASSERT_EQUAL(dev.work, 0);
}

/* ---- Messages of the broker ---- */

static void put_messages(unsigned int count)
{
    union message message = {.connection = {.header = {.type = MSG_CONNECTION}, .error = 5}};
    for (unsigned int i = 0; i < count; i++)
        CU_ASSERT_EQUAL(message_send(guest_control, &message, NULL, 0), 0);
}

static void test_messages_of_the_broker(void)
{
    live();
    seen.knows_message = true;
    CU_ASSERT_TRUE(device_control_event(&dev));
    CU_ASSERT_EQUAL(seen.messages, 0);
    put_messages(40);
    static const unsigned int after[] = {16, 32, 40, 40}; /* at most so many in a round */
    for (unsigned int i = 0; i < 4; i++) {
        CU_ASSERT_TRUE(device_control_event(&dev));
        CU_ASSERT_EQUAL(seen.messages, after[i]);
    }
    seen.knows_message = false;
    put_messages(2);
    CU_ASSERT_FALSE(device_control_event(&dev));
    CU_ASSERT_EQUAL(seen.messages, 41);
    CU_ASSERT_FALSE(device_control_event(&dev));
    dev.ops = &few_ops; /* no message may come */
    CU_ASSERT_FALSE(device_control_event(&dev));
    /* A message that nobody may send, and the end. */
    dev.ops = &ops;
    seen.knows_message = true;
    CU_ASSERT_EQUAL(send(guest_control, "x", 1, 0), 1);
    CU_ASSERT_FALSE(device_control_event(&dev));
    CU_ASSERT_TRUE(device_control_event(&dev));
    CU_ASSERT_EQUAL(shutdown(guest_control, SHUT_WR), 0);
    CU_ASSERT_FALSE(device_control_event(&dev));
    CU_ASSERT_EQUAL(seen.messages, 42);
}

static int prepare(void)
{
    ticks_init();
    guest_window_init();
    guest_fds(DEVICE_RNG_VIRTIO, -1);
    return 0;
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"the broker is told once", test_the_broker_is_told_once},
        {"a new configuration", test_a_new_configuration},
        {"news of the backend are taken once", test_news_of_the_backend_are_taken_once},
        {"for whom a kick is", test_for_whom_a_kick_is},
        {"a device starts", test_a_device_starts},
        {"a device that can't start", test_a_device_that_can_t_start},
        {"a driver that starts a broken device", test_a_driver_that_starts_a_broken_device},
        {"a queue that comes later", test_a_queue_that_comes_later},
        {"a queue that can't start", test_a_queue_that_can_t_start},
        {"a reset is logged if there was a driver", test_a_reset_is_logged_if_there_was_a_driver},
        {"an error on a file", test_an_error_on_a_file},
        {"a page is taken over", test_a_page_is_taken_over},
        {"a page that is not usable", test_a_page_that_is_not_usable},
        {"the order of turns", test_the_order_of_turns},
        {"what a turn says", test_what_a_turn_says},
        {"messages of the broker", test_messages_of_the_broker},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {{"what all devices have in common", prepare, NULL, NULL, NULL, tests},
                             CU_SUITE_INFO_NULL};
    return run_suites(argc, argv, suites);
}
