/* SPDX-License-Identifier: Apache-2.0 */
/* The interrupt gate, in each of its states, against everybody who calls and everybody who
 * acknowledges. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_mmio.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "broker/gate.h"
#include "common/eventfd.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/failing_threads.h"

#define SLACK_MS 10000
#define FLOOD 300000
#define VRING VIRTIO_MMIO_INT_VRING
#define CONFIG VIRTIO_MMIO_INT_CONFIG

static struct gate *gate;
static struct gate_line *line;
static struct state_page *state;
static struct journal *journal;

/* ---- What the gate calls ---- */

WRAPPED(int, epoll_create1, (int flags), (flags))

static void (*_Atomic on_mute)(
    void); /* called once, when the call is about to be watched no more */

int __real_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);

int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    void (*call)(void) = NULL;
    if (call_fails("epoll_ctl"))
        return -1;
    if (operation == EPOLL_CTL_MOD && (event->events & EPOLLIN) == 0)
        call = atomic_exchange(&on_mute, NULL);
    if (call)
        call();
    return __real_epoll_ctl(epoll, operation, fd, event);
}

int __real_epoll_pwait2(int epoll, struct epoll_event *events, int most,
                        const struct timespec *timeout, const sigset_t *mask);
int __wrap_epoll_pwait2(int epoll, struct epoll_event *events, int most,
                        const struct timespec *timeout, const sigset_t *mask);

int __wrap_epoll_pwait2(int epoll, struct epoll_event *events, int most,
                        const struct timespec *timeout, const sigset_t *mask)
{
    for (int i = 0; i < most; i++)
        events[i].data.u32 = 0; /* what has not come must not be heard for the first line */
    return __real_epoll_pwait2(epoll, events, most, timeout, mask);
}

int __real_poll(struct pollfd *files, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *files, nfds_t count, int timeout_ms);

/* A vCPU waits while a relay looks at its call. */
int __wrap_poll(struct pollfd *files, nfds_t count, int timeout_ms)
{
    if (files && files->fd == line->call) {
        CU_ASSERT_EQUAL(count, 1);
        CU_ASSERT_EQUAL(timeout_ms, 0);
    }
    return __real_poll(files, count, timeout_ms);
}

/* Not freed: a gate's thread lives as long as its process. */
static void *forever(size_t size)
{
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
    return memset(memory, 0, size);
}

static int new_eventfd(void)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    CU_ASSERT_FATAL(fd >= 0);
    return fd;
}

/* Make a gate whose line is closed. Pages and eventfds are new, or those of the last gate. */
static void prepare(bool sets_no_bits, bool successor)
{
    struct gate_line **lines = forever(sizeof(*lines));
    int call = successor ? line->call : new_eventfd(), irq = successor ? line->irq : new_eventfd();
    if (!successor) {
        state = forever(sizeof(*state));
        journal = forever(sizeof(*journal));
        journal_init(journal);
    }
    gate = forever(sizeof(*gate));
    line = lines[0] = forever(sizeof(*line));
    *line = (struct gate_line){
        .call = call,
        .irq = irq,
        .sets_no_bits = sets_no_bits,
        .state = state,
        .journal = journal,
    };
    *gate = (struct gate){.report = new_eventfd(), .lines = lines, .line_count = 1};
    CU_ASSERT_EQUAL_FATAL(gate_start(gate), 0);
    struct pollfd runs = {.fd = gate->report, .events = POLLIN};
    CU_ASSERT_EQUAL_FATAL(poll(&runs, 1, SLACK_MS), 1);
}

static void begin(bool sets_no_bits)
{
    prepare(sets_no_bits, false);
    gate_open(line);
}

/* How often the interrupt was raised since the last call; 0 if it was not raised in time. */
static uint64_t raised(int timeout_ms)
{
    uint64_t count = 0;
    struct pollfd irq = {.fd = line->irq, .events = POLLIN};
    if (poll(&irq, 1, timeout_ms) == 1)
        CU_ASSERT_EQUAL(read(line->irq, &count, sizeof(count)), sizeof(count));
    return count;
}

/* A worker's device_interrupt. */
static void ask_for(uint32_t bits)
{
    if (atomic_fetch_or(&state->interrupt.pending, bits) == 0 &&
        atomic_load(&state->interrupt.raised) == 0)
        CU_ASSERT_TRUE(eventfd_signal(line->call));
}

static void acknowledge(uint32_t bits)
{
    uint64_t which = 0;
    gate_acknowledge(line, &which, bits);
    gate_raise_pending(line);
}

/* Wait until the thread has handled its event, and waits again. */
static void settle(void)
{
    for (int i = 0; i < 3; i++)
        poll(NULL, 0, 1);
}

static uint64_t line_state(void)
{
    return atomic_load(&journal->interrupt) & INTERRUPT_STATE;
}

/* --- One at a time ------------------------------------------------------------------------- */

static void one_is_outstanding_until_acknowledged(void)
{
    begin(false);
    const uint64_t before = atomic_load(&journal->interrupt) >> INTERRUPT_COUNT_SHIFT;
    ask_for(VRING);
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
    CU_ASSERT_EQUAL(atomic_load(&state->interrupt.raised), 1);
    for (int i = 0; i < SLACK_MS && line_state() != INTERRUPT_RAISED; i++)
        poll(NULL, 0, 1); /* the thread notes it after the signal */
    CU_ASSERT_EQUAL(line_state(), INTERRUPT_RAISED);
    CU_ASSERT_EQUAL(atomic_load(&journal->interrupt) >> INTERRUPT_COUNT_SHIFT, before + 1);
    CU_ASSERT_EQUAL(gate_interrupt_status(line), VRING);
    for (int i = 0; i < 10; i++) { /* the driver has read InterruptStatus */
        ask_for(VRING);
        CU_ASSERT_TRUE(eventfd_signal(line->call)); /* a worker that does not look at `raised` */
    }
    settle();
    CU_ASSERT_EQUAL(raised(0), 0);
    acknowledge(VRING);
    CU_ASSERT_EQUAL(raised(0), 1); /* before the relay goes on */
    CU_ASSERT_EQUAL(gate_interrupt_status(line), VRING);
    acknowledge(VRING);
    settle();
    CU_ASSERT_EQUAL(raised(0), 0);
    CU_ASSERT_EQUAL(gate_interrupt_status(line), 0);
    ask_for(CONFIG);
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
    CU_ASSERT_EQUAL(gate_interrupt_status(line), CONFIG);
}

/* An event comes while the driver handles an interrupt. The next interrupt tells it, even if the
 * driver acknowledges at the end. */
static void a_late_acknowledgement_hides_nothing(void)
{
    begin(false);
    ask_for(VRING);
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
    CU_ASSERT_EQUAL(gate_interrupt_status(line), VRING);
    ask_for(VRING | CONFIG); /* the driver has already looked at its rings */
    acknowledge(VRING);
    CU_ASSERT_EQUAL(raised(0), 1);
    CU_ASSERT_EQUAL(gate_interrupt_status(line), VRING | CONFIG);
}

/* With a driver that polls, an interrupt stays outstanding for a long time. */
static void what_came_since_joins_an_outstanding_one(void)
{
    begin(false);
    ask_for(VRING);
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
    ask_for(CONFIG);
    CU_ASSERT_EQUAL(gate_interrupt_status(line), VRING | CONFIG);
    acknowledge(VRING | CONFIG);
    settle();
    CU_ASSERT_EQUAL(raised(0), 0);
    CU_ASSERT_EQUAL(gate_interrupt_status(line), 0);
    atomic_store(&state->interrupt.pending, VRING); /* none is outstanding: it is raised */
    CU_ASSERT_EQUAL(gate_interrupt_status(line), 0);
    CU_ASSERT_TRUE(eventfd_signal(line->call));
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
}

static void the_bit_of_a_ring_joins_an_outstanding_one(void)
{
    begin(false);
    ask_for(CONFIG);
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
    ask_for(VRING);
    CU_ASSERT_EQUAL(gate_interrupt_status(line), VRING | CONFIG);
    CU_ASSERT_EQUAL(atomic_load(&state->interrupt.pending), 0);
    acknowledge(VRING); /* the other one stays */
    CU_ASSERT_EQUAL(gate_interrupt_status(line), CONFIG);
    acknowledge(CONFIG);
    CU_ASSERT_EQUAL(gate_interrupt_status(line), 0);
    CU_ASSERT_EQUAL(raised(0), 0);
}

static void bits_that_do_not_exist_raise_nothing(void)
{
    begin(false);
    ask_for(0xfffffff0);
    settle();
    CU_ASSERT_EQUAL(raised(0), 0);
    atomic_store(&state->interrupt.pending, 0xfffffff0 | VRING);
    CU_ASSERT_TRUE(eventfd_signal(line->call));
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
    CU_ASSERT_EQUAL(gate_interrupt_status(line), VRING);
}

static void a_reset_driver_is_interrupted_again(void)
{
    begin(false);
    ask_for(VRING | CONFIG);
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
    acknowledge(UINT32_MAX); /* from Status, not from InterruptACK */
    CU_ASSERT_EQUAL(gate_interrupt_status(line), 0);
    ask_for(VRING);
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
    acknowledge(0); /* for example DRIVER_OK of a driver that polled until now */
    CU_ASSERT_EQUAL(gate_interrupt_status(line), VRING);
    ask_for(VRING);
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
}

/* --- A kernel's vhost, or a daemon --------------------------------------------------------- */

static void a_call_without_bits_means_a_used_buffer(void)
{
    begin(true);
    CU_ASSERT_TRUE(eventfd_signal(line->call));
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
    CU_ASSERT_EQUAL(gate_interrupt_status(line), VRING);
    CU_ASSERT_TRUE(eventfd_signal(line->call));
    settle();
    CU_ASSERT_EQUAL(raised(0), 0);
    acknowledge(VRING);
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1); /* by the relay, or by the gate if it notices so late */
    acknowledge(VRING);
    settle();
    CU_ASSERT_EQUAL(raised(0), 0);
    CU_ASSERT_EQUAL(gate_interrupt_status(line), 0);
}

/* --- Floods --------------------------------------------------------------------------------- */

static int64_t cpu_us(pthread_t thread)
{
    clockid_t clock;
    struct timespec time;
    CU_ASSERT_EQUAL_FATAL(pthread_getcpuclockid(thread, &clock), 0);
    CU_ASSERT_EQUAL_FATAL(clock_gettime(clock, &time), 0);
    return time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static void flood(bool sets_no_bits, uint32_t bits)
{
    begin(sets_no_bits);
    int64_t before = cpu_us(gate->thread);
    for (int i = 0; i < FLOOD; i++) {
        atomic_fetch_or(&state->interrupt.pending, bits);
        (void)eventfd_signal(line->call);
    }
    for (int i = 0; i < SLACK_MS && !atomic_load(&line->muted); i++)
        poll(NULL, 0, 1);
    CU_ASSERT_EQUAL(atomic_load(&line->muted), 1);
    uint64_t expected = sets_no_bits || bits != 0;
    CU_ASSERT_EQUAL(raised(0), expected);
    CU_ASSERT(cpu_us(gate->thread) - before < 20000); /* 300,000 wake-ups take ten times that */
    acknowledge(VRING);
    CU_ASSERT_EQUAL(raised(0), expected); /* the mute loses nothing */
    acknowledge(VRING);
    CU_ASSERT_EQUAL(raised(0), 0);
    ask_for(sets_no_bits ? 0 : VRING);    /* vhost calls, and sets nothing */
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1); /* the gate listens again */
}

static void a_flood_costs_nothing(void)
{
    flood(false, 0);
    flood(false, VRING);
    flood(true, 0);
}

/* Wait until the thread has heard that much in vain. */
static void wait_unheard(uint32_t count)
{
    for (int i = 0; i < SLACK_MS && atomic_load(&line->unheard) != count; i++)
        poll(NULL, 0, 1);
    CU_ASSERT_EQUAL(atomic_load(&line->unheard), count);
}

static void wait_muted(void)
{
    for (int i = 0; i < SLACK_MS && !atomic_load(&line->muted); i++)
        poll(NULL, 0, 1);
    CU_ASSERT_EQUAL(atomic_load(&line->muted), 1);
}

static void a_call_is_not_watched_from_the_last_vain_one_on(void)
{
    begin(false);
    atomic_store(&line->unheard, GATE_UNHEARD_MAX - 2);
    CU_ASSERT_TRUE(eventfd_signal(line->call));
    wait_unheard(GATE_UNHEARD_MAX - 1);
    settle();
    CU_ASSERT_EQUAL(atomic_load(&line->muted), 0);
    ask_for(VRING); /* this one is not in vain */
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
    settle();
    CU_ASSERT_EQUAL(atomic_load(&line->unheard), GATE_UNHEARD_MAX - 1);
    CU_ASSERT_EQUAL(atomic_load(&line->muted), 0);
    CU_ASSERT_TRUE(eventfd_signal(line->call));
    wait_unheard(GATE_UNHEARD_MAX);
    wait_muted();
}

static void the_relay_acknowledges(void)
{
    uint64_t which = 0;
    gate_acknowledge(line, &which, VRING);
}

/* The acknowledgement comes while the thread mutes the line. */
static void a_line_that_is_acknowledged_meanwhile_is_heard(void)
{
    begin(false);
    atomic_store(&on_mute, the_relay_acknowledges);
    atomic_store(&line->unheard, GATE_UNHEARD_MAX - 1);
    CU_ASSERT_TRUE(eventfd_signal(line->call));
    wait_unheard(0);
    for (int i = 0; i < SLACK_MS && atomic_load(&line->muted); i++)
        poll(NULL, 0, 1);
    settle();
    ask_for(VRING);
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
}

/* --- Deaths ----------------------------------------------------------------------------------- */

/* A worker that was taken over can leave anything behind. */
static void a_worker_spoils_nothing_for_its_successor(void)
{
    const uint64_t full = UINT64_MAX - 1;
    begin(false);
    CU_ASSERT_EQUAL(write(line->call, &full, sizeof(full)), sizeof(full));
    settle();
    for (int i = 0; i < 100; i++) /* the line may become muted */
        (void)eventfd_signal(line->call);
    atomic_store(&state->interrupt.pending, 0xfffffffc);
    atomic_store(&state->interrupt.raised, 1);
    gate_renew(line, 0);
    ask_for(VRING);
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
    CU_ASSERT_EQUAL(gate_interrupt_status(line), VRING);

    acknowledge(VRING);
    gate_renew(line, VRING); /* the last worker may have died before it asked */
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
}

static void a_successor_of_a_muted_worker_is_heard(void)
{
    begin(false);
    atomic_store(&line->unheard, GATE_UNHEARD_MAX - 1);
    CU_ASSERT_TRUE(eventfd_signal(line->call));
    wait_muted();
    settle();
    gate_renew(line, 0);
    CU_ASSERT_EQUAL(atomic_load(&line->muted), 0);
    settle();
    ask_for(VRING);
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
}

/* A call that only rings, of a worker that sets bits: what the gate has not heard may be drained,
 * so it is heard in any case. The call of a vhost means a used buffer, so it comes only if there
 * was one. */
static void a_new_worker_s_call_is_heard_if_it_may_mean_something(void)
{
    begin(false);
    gate_renew(line, 0);
    wait_unheard(1);
    begin(true);
    gate_renew(line, 0);
    settle();
    CU_ASSERT_EQUAL(raised(0), 0);
    CU_ASSERT_EQUAL(gate_interrupt_status(line), 0);
    gate_renew(line, VRING);
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
    CU_ASSERT_EQUAL(gate_interrupt_status(line), VRING);
}

/* Calls that raise nothing are counted from the last acknowledgement on, and for each worker. */
static void idle_calls_are_counted_anew(void)
{
    begin(false);
    atomic_store(&line->unheard, GATE_UNHEARD_MAX - 1);
    acknowledge(VRING);
    CU_ASSERT_EQUAL(atomic_load(&line->unheard), 0);
    atomic_store(&line->unheard, GATE_UNHEARD_MAX - 1);
    atomic_store(&line->open, false); /* the gate hears nothing meanwhile */
    gate_renew(line, 0);
    CU_ASSERT_EQUAL(atomic_load(&line->unheard), 0);
}

/* The predecessor was killed between any two steps. */
static void a_successor_finds_what_is_pending(void)
{
    static const struct {
        uint64_t interrupt;
        uint32_t pending;
        bool call; /* signalled, and not yet handled */
        uint64_t raised;
        uint32_t status;
    } rows[] = {
        {INTERRUPT_IDLE, 0, false, 0, 0},
        {INTERRUPT_IDLE, VRING, false, 1, VRING}, /* acknowledged, and then killed */
        {INTERRUPT_IDLE, VRING, true, 1, VRING},
        {INTERRUPT_RAISING, 0, false, 1, VRING}, /* killed around the signal */
        {INTERRUPT_RAISING, VRING, false, 1, VRING},
        {INTERRUPT_RAISED, VRING, true, 0, VRING}, /* raised at the acknowledgement */
        {INTERRUPT_RAISED, 0, false, 0, VRING},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        prepare(false, false);
        uint64_t status = rows[i].interrupt == INTERRUPT_IDLE ? 0 : VRING;
        atomic_store(&journal->interrupt, UINT64_C(8) << INTERRUPT_COUNT_SHIFT |
                                              status << INTERRUPT_STATUS_SHIFT | rows[i].interrupt);
        atomic_store(&state->interrupt.pending, rows[i].pending);
        atomic_store(&state->interrupt.raised, rows[i].interrupt == INTERRUPT_IDLE);
        if (rows[i].call)
            CU_ASSERT_TRUE(eventfd_signal(line->call));
        settle();
        CU_ASSERT_EQUAL(raised(0), 0); /* the line is not open yet */
        gate_open(line);
        settle();
        CU_ASSERT_EQUAL(atomic_load(&state->interrupt.raised),
                        rows[i].raised != 0 || rows[i].interrupt != INTERRUPT_IDLE);
        CU_ASSERT_EQUAL(raised(0), rows[i].raised);
        /* If another was pending beside the outstanding one, it is raised when that one is
         * acknowledged. */
        bool again = rows[i].pending != 0 && rows[i].interrupt != INTERRUPT_IDLE;
        if (again)
            acknowledge(VRING);
        CU_ASSERT_EQUAL(raised(0), again);
        CU_ASSERT_EQUAL(gate_interrupt_status(line), rows[i].status);
        acknowledge(VRING);
        ask_for(VRING);
        CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
    }
}

/* The relay was killed after it had acknowledged, and after its gate had raised the next interrupt.
 */
static void an_acknowledgement_carried_out_twice_is_one(void)
{
    uint64_t which = 0;
    begin(false);
    ask_for(VRING);
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
    gate_acknowledge(line, &which, VRING);
    ask_for(VRING | CONFIG);
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
    ask_for(VRING);
    gate_acknowledge(line, &which, VRING);
    gate_raise_pending(line);
    settle();
    CU_ASSERT_EQUAL(raised(0), 0);
    acknowledge(0); /* the third came while the second was outstanding */
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
    CU_ASSERT_EQUAL(gate_interrupt_status(line), VRING | CONFIG);
}

static void a_call_of_vhost_outlives_the_gate(void)
{
    begin(true);
    CU_ASSERT_TRUE(eventfd_signal(line->call));
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
    uint64_t count;
    (void)!read(line->call, &count, sizeof(count));
    struct gate_line *dead = line;
    CU_ASSERT_EQUAL(epoll_ctl(dead->epoll, EPOLL_CTL_DEL, dead->call, NULL), 0);
    acknowledge(VRING);
    CU_ASSERT_TRUE(eventfd_signal(line->call)); /* while there is no broker */
    prepare(true, true);
    settle(); /* the thread has seen the call, but the line was not open */
    gate_open(line);
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
    CU_ASSERT_EQUAL(gate_interrupt_status(line), VRING);
}

/* --- The start ------------------------------------------------------------------------------- */

static void each_line_has_a_number_of_its_own(void)
{
    begin(false);
    struct gate_line *first = line, **lines = forever(2 * sizeof(*lines));
    struct state_page *of_first = state;
    prepare(false, false);
    struct gate_line *second = line;
    lines[0] = first;
    lines[1] = second;
    gate = forever(sizeof(*gate));
    *gate = (struct gate){.report = new_eventfd(), .lines = lines, .line_count = 2};
    errno = EIO; /* of an earlier call */
    CU_ASSERT_EQUAL_FATAL(gate_start(gate), 0);
    gate_open(second);
    ask_for(VRING);
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
    CU_ASSERT_EQUAL(second->number, 1);
    line = first;
    state = of_first;
    ask_for(CONFIG);
    CU_ASSERT_EQUAL(raised(SLACK_MS), 1);
}

static void a_start_that_fails_is_told(void)
{
    static const struct {
        const char *call;
        int error, result;
    } rows[] = {{"epoll_create1", EMFILE, -EMFILE},
                {"epoll_ctl", ENOSPC, -ENOSPC},
                {"pthread_create", EAGAIN, -EAGAIN}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        prepare(false, false);
        fail_once(rows[i].call, rows[i].error, 0);
        CU_ASSERT_EQUAL(gate_start(gate), rows[i].result);
        CU_ASSERT_PTR_NULL(failing.call);
    }
}

static void its_epoll_may_have_the_number_0(void)
{
    prepare(false, false);
    fail_once("pthread_create", EAGAIN, 0); /* no thread may use it after this case */
    free_0();
    errno = EIO; /* of an earlier call */
    CU_ASSERT_EQUAL(gate_start(gate), -EAGAIN);
    CU_ASSERT_EQUAL(gate->epoll, 0);
    take_0_back();
}

static void its_thread_needs_little_memory(void)
{
    begin(false);
    CU_ASSERT_EQUAL(stack_size, 256 * 1024);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"one interrupt is outstanding until it is acknowledged",
         one_is_outstanding_until_acknowledged},
        {"a late acknowledgement hides nothing", a_late_acknowledgement_hides_nothing},
        {"what came since joins an outstanding interrupt",
         what_came_since_joins_an_outstanding_one},
        {"bits that do not exist raise nothing", bits_that_do_not_exist_raise_nothing},
        {"a driver that was reset is interrupted again", a_reset_driver_is_interrupted_again},
        {"a call without bits means a used buffer", a_call_without_bits_means_a_used_buffer},
        {"the bit of a ring joins it", the_bit_of_a_ring_joins_an_outstanding_one},
        {"a flood costs nothing", a_flood_costs_nothing},
        {"the last vain call", a_call_is_not_watched_from_the_last_vain_one_on},
        {"a line that is acknowledged meanwhile", a_line_that_is_acknowledged_meanwhile_is_heard},
        {"a successor of a muted worker", a_successor_of_a_muted_worker_is_heard},
        {"a new worker's call", a_new_worker_s_call_is_heard_if_it_may_mean_something},
        {"a worker spoils nothing for its successor", a_worker_spoils_nothing_for_its_successor},
        {"idle calls are counted anew", idle_calls_are_counted_anew},
        {"a successor finds what is pending", a_successor_finds_what_is_pending},
        {"an acknowledgement that is carried out twice is one",
         an_acknowledgement_carried_out_twice_is_one},
        {"a call of vhost outlives the gate", a_call_of_vhost_outlives_the_gate},
        {"each line has a number of its own", each_line_has_a_number_of_its_own},
        {"a start that fails is told", a_start_that_fails_is_told},
        {"its epoll may have the number 0", its_epoll_may_have_the_number_0},
        {"its thread needs little memory", its_thread_needs_little_memory},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "gate", tests);
}
