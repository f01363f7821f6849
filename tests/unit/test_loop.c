/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's event loop, with a device of this test's own: what it watches, how long it waits, to
 * whom each event goes, and in which order a round does its work. No time passes here: epoll_pwait2
 * is the test's.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/wait.h"
#include "tests/cunit_main.h"
#include "tests/unit/guest.h"
#include "worker/log.h"
#include "worker/loop.h"
#include "worker/ticks.h"

#define RING 16u
#define BUFFER (GUEST_BASE + GUEST_BUFFERS)
#define FOUND_IN_A_ROW 16u /* of worker/loop.c */
#define MS 1000000ull      /* nanoseconds */

/* ---- The kernel's side ---- */

static struct watched {
    int operation, fd;
    uint32_t events, source;
} watched[16];
static unsigned int watched_count, watch_fails; /* the call of that number, from 1 on; 0: none */

int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    CU_ASSERT_EQUAL(epoll, WORKER_FD_EPOLL);
    CU_ASSERT_FATAL(watched_count < sizeof(watched) / sizeof(watched[0]));
    watched[watched_count++] =
        (struct watched){operation, fd, event ? event->events : 0, event ? event->data.u32 : 0};
    if (watched_count != watch_fails)
        return 0;
    errno = ENOSPC;
    return -1;
}

/* What the next waits find; afterwards nothing happens. */
static struct {
    struct epoll_event events[4];
    int count, error;              /* count -1: the error */
    unsigned int waits, waits_max; /* after so many, the loop is left; 0: never */
    uint64_t timeouts[64];         /* nanoseconds */
    jmp_buf end;
} kernel;

int __wrap_epoll_pwait2(int epoll, struct epoll_event *events, int max,
                        const struct timespec *timeout, const sigset_t *mask);
int __wrap_epoll_pwait2(int epoll, struct epoll_event *events, int max,
                        const struct timespec *timeout, const sigset_t *mask)
{
    CU_ASSERT(epoll == WORKER_FD_EPOLL && max >= 4 && mask == NULL);
    kernel.timeouts[kernel.waits++ % 64] =
        timeout ? (uint64_t)timeout->tv_sec * 1000 * MS + (uint64_t)timeout->tv_nsec
                : WAIT_FOR_EVER;
    if (kernel.waits == kernel.waits_max)
        longjmp(kernel.end, 1);
    int count = kernel.count;
    kernel.count = 0;
    if (count > 0)
        memcpy(events, kernel.events, (size_t)count * sizeof(events[0]));
    errno = kernel.error;
    return count;
}

static void happens(uint32_t source, uint32_t events)
{
    kernel.events[kernel.count++] = (struct epoll_event){.events = events, .data.u32 = source};
}

/* ---- The device ---- */

static struct device dev;
static struct state_page page;
static struct guest_ring ring;

static struct {
    unsigned int turns, pauses, changes;
    uint64_t accesses_before; /* register accesses when the turn came */
    bool busy;                /* a turn leaves work */
    unsigned int file, connection;
    uint32_t file_events, connection_events;
} seen;

static enum serve turn(struct device *of, unsigned int queue, struct guest_fault *ret_fault)
{
    (void)ret_fault;
    CU_ASSERT_EQUAL(queue, 0);
    seen.turns++;
    seen.accesses_before = of->state->counters.register_accesses;
    return seen.busy ? SERVE_END : SERVE_WAIT_ROOM;
}

static int backend_event(struct device *of, unsigned int file, uint32_t events,
                         struct guest_fault *ret_fault)
{
    (void)of;
    (void)ret_fault;
    seen.file = file;
    seen.file_events = events;
    return 0;
}

static void connection_event(struct device *of, unsigned int number, uint32_t events)
{
    (void)of;
    seen.connection = number;
    seen.connection_events = events;
}

static void pause_over(struct device *of)
{
    CU_ASSERT_EQUAL(of->pause_ms, 0);
    seen.pauses++;
}

static bool backend_changed(struct device *of)
{
    (void)of;
    seen.changes++;
    return false;
}

static const struct device_ops ops = {
    .turn = turn,
    .backend_event = backend_event,
    .connection_event = connection_event,
    .pause_over = pause_over,
    .backend_changed = backend_changed,
};

/* A device with three files and three queues. It serves the first and the last queue, and watches
 * the first and the last file; only the last one also for room. */
static void start(void)
{
    struct guest_fault fault;
    memset(&page, 0, sizeof(page));
    memset(&seen, 0, sizeof(seen));
    memset(&kernel, 0, sizeof(kernel));
    watched_count = watch_fails = 0;
    page.queue_count = 3;
    guest_ring_init(&ring, 0, RING);
    page.queues[0] = guest_ring_state(&ring);
    dev = (struct device){
        .ops = &ops,
        .state = &page,
        .queue_count = 3,
        .backend_fd_count = 3,
        .user_queues = 1u << 0 | 1u << 2 | 1u << 3, /* there is no queue 3, and no file 3 */
        .backend_events = 1u << 0 | 1u << 2 | 1u << 3,
        .backend_writes = 1u << 2,
    };
    CU_ASSERT_EQUAL_FATAL(
        virtqueue_start(&dev.queues[0], 0, &guest_window, &page.queues[0], RING, 0, &fault), 0);
    log_quiet();
}

/* An interrupt is due for queue 0, and waits for so many ticks. */
static void interrupt_waits(uint64_t ticks)
{
    static struct chain chain;
    struct guest_fault fault;
    guest_desc(&ring, 0, BUFFER, 64, VRING_DESC_F_WRITE, 0);
    guest_offer(&ring, 0);
    CU_ASSERT_EQUAL_FATAL(virtqueue_pop(&dev.queues[0], &chain, &fault), 1);
    virtqueue_push(&dev.queues[0], chain.ref, 0);
    virtqueue_publish(&dev.queues[0]);
    device_signal_late(&dev, &dev.queues[0], ticks);
}

/* ---- What is watched ---- */

static const struct watched expected[] = {
    {EPOLL_CTL_ADD, WORKER_FD_CONTROL, EPOLLIN | EPOLLRDHUP, 0},
    {EPOLL_CTL_ADD, WORKER_FD_REQUEST, EPOLLIN | EPOLLET, 1},
    {EPOLL_CTL_ADD, WORKER_FD_BACKEND, EPOLLIN | EPOLLET, 0x200},
    {EPOLL_CTL_ADD, WORKER_FD_BACKEND + 2, EPOLLIN | EPOLLOUT | EPOLLET, 0x202},
    {EPOLL_CTL_ADD, WORKER_FD_BACKEND + 3, EPOLLIN | EPOLLET, 0x100},
    {EPOLL_CTL_ADD, WORKER_FD_BACKEND + 5, EPOLLIN | EPOLLET, 0x102},
};
#define EXPECTED (sizeof(expected) / sizeof(expected[0]))

static void test_everything_is_watched(void)
{
    start();
    CU_ASSERT_EQUAL(loop_watch(&dev), 0);
    CU_ASSERT_EQUAL(watched_count, EXPECTED);
    CU_ASSERT_EQUAL(memcmp(watched, expected, sizeof(expected)), 0);
}

/* What can't be watched is told, and nothing more is tried. */
static void test_what_can_t_be_watched(void)
{
    for (unsigned int i = 1; i <= EXPECTED; i++) {
        start();
        watch_fails = i;
        CU_ASSERT_EQUAL(loop_watch(&dev), -ENOSPC);
        CU_ASSERT_EQUAL(watched_count, i);
    }
    start();
    watch_fails = 1;
    CU_ASSERT_EQUAL(loop_watch_connection(70, 5, false), -ENOSPC);
}

static void test_a_connection_is_watched(void)
{
    static const struct watched calls[] = {
        {EPOLL_CTL_ADD, 70, EPOLLIN | EPOLLRDHUP | EPOLLET, 0x300 + 5},
        {EPOLL_CTL_DEL, 70, 0, 0},
        {EPOLL_CTL_ADD, 70, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, 0x300 + 1023},
    };
    start();
    CU_ASSERT_EQUAL(loop_watch_connection(70, 5, false), 0);
    loop_forget_connection(70);
    CU_ASSERT_EQUAL(loop_watch_connection(70, 1023, true), 0);
    CU_ASSERT_EQUAL(watched_count, 3);
    CU_ASSERT_EQUAL(memcmp(watched, calls, sizeof(calls)), 0);
}

/* ---- Events ---- */

static void test_to_whom_an_event_goes(void)
{
    start();
    dev.polling.idle = true;
    happens(0x200, EPOLLIN);
    loop_round(&dev, 0);
    CU_ASSERT(seen.file == 0 && seen.file_events == EPOLLIN);
    CU_ASSERT_TRUE(dev.polling.idle); /* there is still nothing to do */
    happens(0x202, EPOLLOUT);
    loop_round(&dev, 0);
    CU_ASSERT(seen.file == 2 && seen.file_events == EPOLLOUT);
    happens(0x300, EPOLLHUP);
    loop_round(&dev, 0);
    CU_ASSERT(seen.connection == 0 && seen.connection_events == EPOLLHUP);
    happens(0x300 + 1023, EPOLLIN);
    loop_round(&dev, 0);
    CU_ASSERT(seen.connection == 1023 && seen.connection_events == EPOLLIN);
    happens(1, EPOLLIN); /* a register access: each round looks for it */
    loop_round(&dev, 0);
    CU_ASSERT_EQUAL(page.counters.kicks, 0);
    CU_ASSERT_EQUAL(seen.turns, 0);
    happens(0x100, EPOLLIN);
    loop_round(&dev, 0);
    CU_ASSERT_EQUAL(page.counters.kicks, 1);
    CU_ASSERT_EQUAL(seen.turns, 1);
    CU_ASSERT_FALSE(dev.polling.idle);
    /* Several at once. */
    happens(0x200, EPOLLOUT);
    happens(0x300 + 7, EPOLLOUT);
    happens(0x100, EPOLLIN);
    loop_round(&dev, 0);
    CU_ASSERT(seen.file == 0 && seen.file_events == EPOLLOUT && seen.connection == 7);
    CU_ASSERT_EQUAL(page.counters.kicks, 2);
}

/* Work that a file's event brings ends the idle time; it says nothing about kicks. */
static int file_brings_work(struct device *of, unsigned int file, uint32_t events,
                            struct guest_fault *ret_fault)
{
    (void)file;
    (void)events;
    (void)ret_fault;
    of->work |= 1u << 0;
    return 0;
}

static void test_work_ends_the_idle_time(void)
{
    static const struct device_ops with_work = {.turn = turn, .backend_event = file_brings_work};
    start();
    dev.ops = &with_work;
    dev.polling = (struct polling){.idle = true, .max = 1ull << 40, .idle_since = ticks_now()};
    happens(0x200, EPOLLIN);
    loop_round(&dev, 0);
    CU_ASSERT_EQUAL(seen.turns, 1);
    CU_ASSERT_FALSE(dev.polling.idle);
    CU_ASSERT_EQUAL(dev.polling.window, 0);
    dev.polling = (struct polling){.idle = true, .max = 1ull << 40, .idle_since = ticks_now()};
    happens(0x100, EPOLLIN); /* a kick */
    loop_round(&dev, 0);
    CU_ASSERT(dev.polling.window > 0);
}

/* How the process ends if this happens in a round; 99: it goes on. */
static int ends_with(void)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        loop_round(&dev, 0);
        _exit(99);
    }
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_the_end(void)
{
    static const int errors[] = {EINTR, EBADF};
    start();
    CU_ASSERT_EQUAL(ends_with(), 99);
    happens(0, EPOLLIN); /* this kind knows no message */
    CU_ASSERT_EQUAL(ends_with(), EXIT_SUCCESS);
    for (unsigned int i = 0; i < 2; i++) {
        start();
        kernel.count = -1;
        kernel.error = errors[i];
        CU_ASSERT_EQUAL(ends_with(), errors[i] == EINTR ? 99 : EXIT_FAILURE);
    }
}

/* ---- Time that passes ---- */

static void limit_the_log(void)
{
    log_event(LOG_RESET, 0);
    CU_ASSERT_TRUE(log_limited());
}

static void test_a_pause_is_over(void)
{
    start();
    dev.pause_ms = 100;
    loop_round(&dev, 40);
    CU_ASSERT(dev.pause_ms == 60 && seen.pauses == 0);
    happens(1, EPOLLIN); /* this cut the wait short */
    loop_round(&dev, 60);
    CU_ASSERT(dev.pause_ms == 60 && seen.pauses == 0);
    loop_round(&dev, 59);
    CU_ASSERT(dev.pause_ms == 1 && seen.pauses == 0);
    loop_round(&dev, 1);
    CU_ASSERT(dev.pause_ms == 0 && seen.pauses == 1);
    loop_round(&dev, 1000);
    CU_ASSERT_EQUAL(seen.pauses, 1);
    dev.pause_ms = 5;
    loop_round(&dev, 6);
    CU_ASSERT(dev.pause_ms == 0 && seen.pauses == 2);
    kernel.count = -1;
    kernel.error = EINTR;
    dev.pause_ms = 5;
    loop_round(&dev, 6);
    CU_ASSERT(dev.pause_ms == 5 && seen.pauses == 2);
}

static void test_a_quiet_second(void)
{
    start();
    limit_the_log();
    loop_round(&dev, LOG_QUIET_MS - 1);
    CU_ASSERT_TRUE(log_limited());
    happens(1, EPOLLIN);
    loop_round(&dev, LOG_QUIET_MS);
    CU_ASSERT_TRUE(log_limited());
    loop_round(&dev, LOG_QUIET_MS);
    CU_ASSERT_FALSE(log_limited());
}

/* An interrupt that waits has an end, by the kernel's clock: the wait for it is no quiet time. */
static void test_an_interrupt_that_waits(void)
{
    const uint64_t ticks = ticks_of_us(IRQ_DELAY_US_MAX);
    start();
    dev.pause_ms = 10;
    interrupt_waits(ticks);
    loop_round(&dev, 10000);
    CU_ASSERT(kernel.timeouts[0] <= 1001ull * IRQ_DELAY_US_MAX);
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 1);
    CU_ASSERT(dev.pause_ms == 10 && seen.pauses == 0);
    /* Its time is over while a round works. */
    start();
    interrupt_waits(1);
    dev.late_until = ticks_now() - 1;
    loop_round(&dev, 0);
    CU_ASSERT_EQUAL(page.counters.interrupts_sent, 1);
}

/* ---- Looking at the rings ---- */

static void a_register_access_waits(void)
{
    page.mailbox.width = 4;
    page.mailbox.request_seq++;
}

/* Who finds something by looking need not ask for events as well, but for once in a while. */
static void test_found_by_looking(void)
{
    start();
    dev.polling =
        (struct polling){.max = 1ull << 40, .slice = 1ull << 40, .gap = 1ull << 40, .window = 1};
    for (unsigned int i = 1; i <= 2 * FOUND_IN_A_ROW; i++) {
        dev.polling.window = 1ull << 40;
        a_register_access_waits();
        loop_round(&dev, -1);
        CU_ASSERT_FALSE(dev.polling.idle);
        CU_ASSERT_EQUAL(kernel.waits, i / FOUND_IN_A_ROW);
    }
    CU_ASSERT(kernel.timeouts[0] == 0 && kernel.timeouts[1] == 0);
    CU_ASSERT_EQUAL(page.counters.register_accesses, 2 * FOUND_IN_A_ROW);
}

/* Between two looks it takes the events that there are, and does not wait for others. */
static void test_looking_goes_on(void)
{
    start();
    dev.polling =
        (struct polling){.max = 1ull << 40, .slice = 0, .gap = 1ull << 40, .window = 1ull << 40};
    dev.unasked = 1;
    virtqueue_disable_notify(&dev.queues[0]);
    loop_round(&dev, -1);
    CU_ASSERT(kernel.waits == 1 && kernel.timeouts[0] == 0);
    CU_ASSERT_EQUAL(dev.unasked, 1); /* kicks are not yet asked for */
}

/* Before it sleeps it asks for kicks, and interrupts the driver. What has come meanwhile is work.
 */
static void test_before_it_sleeps(void)
{
    for (unsigned int late_chain = 0; late_chain < 2; late_chain++) {
        start();
        interrupt_waits(ticks_of_us(IRQ_DELAY_US_MAX));
        dev.late_awake = dev.late;
        dev.unasked = 1;
        virtqueue_disable_notify(&dev.queues[0]);
        if (late_chain == 1)
            guest_offer(&ring, 0);
        loop_round(&dev, 70);
        CU_ASSERT_EQUAL(kernel.timeouts[0], late_chain == 1 ? 0 : 70 * MS);
        CU_ASSERT_EQUAL(seen.turns, late_chain);
        CU_ASSERT_EQUAL(dev.unasked, 0);
        CU_ASSERT_EQUAL(ring.used->flags, 0);
        CU_ASSERT_EQUAL(page.counters.interrupts_sent, 1);
    }
    /* A round that does not wait asks for nothing. */
    start();
    dev.unasked = 1;
    virtqueue_disable_notify(&dev.queues[0]);
    loop_round(&dev, 0);
    CU_ASSERT(dev.unasked == 1 && kernel.timeouts[0] == 0);
}

/* ---- A round, and the next ---- */

static void test_a_round_does_all(void)
{
    start();
    page.backend.changes = 1;
    page.watch.asked = 5;
    a_register_access_waits();
    dev.work = 1;
    loop_round(&dev, 0);
    CU_ASSERT_EQUAL(seen.changes, 1);
    CU_ASSERT_EQUAL(page.mailbox.response_seq, page.mailbox.request_seq);
    CU_ASSERT_EQUAL(page.watch.answered, 5);
    CU_ASSERT_EQUAL(seen.turns, 1);
    CU_ASSERT_EQUAL(seen.accesses_before, 1); /* the register access comes first */
    loop_round(&dev, 0);
    CU_ASSERT(seen.changes == 1 && seen.turns == 1);
}

static uint64_t waits_for(unsigned int pause_ms, bool limited, bool busy)
{
    start();
    memset(&page, 0, sizeof(page)); /* the loop begins with a page that nobody has used */
    seen.busy = busy;
    kernel.waits_max = 1;
    if (setjmp(kernel.end) == 0) {
        dev.work = busy ? 1 : 0;
        dev.unasked = 1;
        dev.pause_ms = pause_ms;
        if (limited)
            limit_the_log();
        loop_run(&dev);
    }
    CU_ASSERT_NOT_EQUAL(page.magic, 0);         /* it has taken the page over */
    CU_ASSERT_EQUAL(dev.unasked, busy ? 1 : 0); /* who does not sleep needs no kick */
    return kernel.timeouts[0];
}

static void test_how_long_it_waits(void)
{
    CU_ASSERT_EQUAL(waits_for(0, false, false), WAIT_FOR_EVER);
    CU_ASSERT_EQUAL(waits_for(0, true, false), LOG_QUIET_MS * MS);
    CU_ASSERT_EQUAL(waits_for(1, true, false), MS);
    CU_ASSERT_EQUAL(waits_for(99, false, false), 99 * MS);
    CU_ASSERT_EQUAL(waits_for(100, false, false), 100 * MS);
    CU_ASSERT_EQUAL(waits_for(5000, false, false), 100 * MS);
    CU_ASSERT_EQUAL(waits_for(5000, true, true), 0);
}

static int prepare(void)
{
    int pair[2], high[2];
    ticks_init();
    guest_window_init();
    log_init(5);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair) < 0)
        return -1;
    for (unsigned int i = 0; i < 2; i++) {
        high[i] = dup2(pair[i], 100 + (int)i);
        close(pair[i]);
    }
    int signals = eventfd(0, EFD_NONBLOCK);
    return dup2(high[1], WORKER_FD_CONTROL) < 0 || dup2(signals, WORKER_FD_CALL) < 0 ||
                   dup2(signals, WORKER_FD_REPLY) < 0
               ? -1
               : 0;
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"everything is watched", test_everything_is_watched},
        {"what can't be watched", test_what_can_t_be_watched},
        {"a connection is watched", test_a_connection_is_watched},
        {"to whom an event goes", test_to_whom_an_event_goes},
        {"work ends the idle time", test_work_ends_the_idle_time},
        {"the end", test_the_end},
        {"a pause is over", test_a_pause_is_over},
        {"a quiet second", test_a_quiet_second},
        {"an interrupt that waits", test_an_interrupt_that_waits},
        {"found by looking", test_found_by_looking},
        {"looking goes on", test_looking_goes_on},
        {"before it sleeps", test_before_it_sleeps},
        {"a round does all", test_a_round_does_all},
        {"how long it waits", test_how_long_it_waits},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {{"the worker's loop", prepare, NULL, NULL, NULL, tests},
                             CU_SUITE_INFO_NULL};
    return run_suites(argc, argv, suites);
}
