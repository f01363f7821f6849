/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/relay_under_test.h"

#include <CUnit/CUnit.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "broker/dispatcher.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/failing_threads.h"

/* --- The dispatcher -------------------------------------------------------------------------- */

int requests[2];                 /* a pipe; `dm` is requests[0] */
static int completions[2];       /* another pipe */
static int completions_of[1024]; /* indexed by `dm`: relays of earlier tests still run */
_Atomic int complete_result, interrupted, attach_result, attaches, takes, empties;
void (*_Atomic on_take)(void);

static int take(int dm, struct bao_io_request *slot)
{
    struct bao_io_request request;
    ssize_t length = read(dm, &request, sizeof(request));
    if (length != (ssize_t)sizeof(request))
        return length < 0 && errno == EINTR ? -ETIME : -EIO;
    *slot = request;
    return 0;
}

int dispatcher_attach(enum bao_generation generation, int dm, struct bao_io_request *slot)
{
    (void)generation;
    if (dm != requests[0]) /* a relay of an earlier test */
        return take(dm, slot);
    if (interrupted > 0 && atomic_fetch_sub(&interrupted, 1) > 0) {
        poll(NULL, 0, 1);
        return -EINTR;
    }
    if (empties > 0 && atomic_fetch_sub(&empties, 1) > 0)
        return 0;
    if (attach_result < 0) {
        atomic_fetch_add(&attaches, 1);
        poll(NULL, 0, 1);      /* no driver answers faster */
        slot->request_id = 99; /* what a failure leaves there means nothing */
        return attach_result;
    }
    atomic_fetch_add(&takes, 1);
    void (*call)(void) = atomic_load(&on_take);
    if (call)
        call();
    return take(dm, slot);
}

int dispatcher_complete(enum bao_generation generation, int dm,
                        const struct bao_io_request *request)
{
    (void)generation;
    int result = complete_result; /* read it before the test goes on */
    /* No CUnit assertion: relays of earlier tests can call this at any time. */
    if (write(completions_of[dm], request, sizeof(*request)) != (ssize_t)sizeof(*request))
        abort();
    return result;
}

void ask(uint64_t op, uint64_t offset, uint64_t width, uint64_t value, uint64_t id)
{
    const struct bao_io_request request = {DM_ID, BASE + offset, op, value, width, id};
    CU_ASSERT_EQUAL(write(requests[1], &request, sizeof(request)), sizeof(request));
}

/* The next completion; a failure if none comes in time. */
struct bao_io_request completed(int timeout_ms)
{
    struct bao_io_request request = {.request_id = UINT64_MAX};
    struct pollfd pipe = {.fd = completions[0], .events = POLLIN};
    bool is_completed = poll(&pipe, 1, timeout_ms) == 1;
    CU_ASSERT_TRUE(is_completed);
    if (is_completed)
        CU_ASSERT_EQUAL(read(completions[0], &request, sizeof(request)), sizeof(request));
    return request;
}

bool nothing_completed(int for_ms)
{
    struct pollfd pipe = {.fd = completions[0], .events = POLLIN};
    return poll(&pipe, 1, for_ms) == 0;
}

/* --- The worker ------------------------------------------------------------------------------ */

struct state_page *state;
struct journal *journal;
struct relay *relay;
struct gate *gate;
struct gate_line *line;
int told, answered, report;

bool wait_told(int timeout_ms)
{
    uint64_t count;
    struct pollfd poll_told = {.fd = told, .events = POLLIN};
    return poll(&poll_told, 1, timeout_ms) == 1 && read(told, &count, sizeof(count)) > 0;
}

void answer(uint64_t value)
{
    const uint64_t one = 1;
    state->mailbox.answer = value;
    atomic_store(&state->mailbox.response_seq, atomic_load(&state->mailbox.request_seq));
    CU_ASSERT_EQUAL(write(answered, &one, sizeof(one)), sizeof(one));
}

/* The worker that the relay reports as unusable within the time. */
uint32_t wait_unusable(int timeout_ms)
{
    for (int i = 0;; i++) {
        uint32_t worker = relay_take_unusable(relay);
        if (worker != RELAY_NO_WORKER || i >= timeout_ms)
            return worker;
        poll(NULL, 0, 1);
    }
}

uint64_t reported(uint64_t least)
{
    uint64_t all = 0;
    for (;;) {
        uint64_t count = 0;
        struct pollfd poll_report = {.fd = report, .events = POLLIN};
        bool some = poll(&poll_report, 1, all < least ? SLACK_MS : 0) == 1;
        if (!some || read(report, &count, sizeof(count)) != (ssize_t)sizeof(count))
            return all;
        all += count;
    }
}

/* --- What a relay needs from the system ------------------------------------------------------ */

WRAPPED(int, eventfd, (unsigned int value, int flags), (value, flags))
WRAPPED(int, epoll_create1, (int flags), (flags))
WRAPPED(int, epoll_ctl, (int epoll, int operation, int fd, struct epoll_event *event),
        (epoll, operation, fd, event))
WRAPPED(int, sigaction, (int number, const struct sigaction *action, struct sigaction *ret),
        (number, action, ret))

_Atomic int timers;
_Atomic int64_t timer_first_ns, timer_ns;
_Atomic bool timer_wrong;

int __real_timer_create(clockid_t clock, struct sigevent *event, timer_t *ret);
int __wrap_timer_create(clockid_t clock, struct sigevent *event, timer_t *ret);

int __wrap_timer_create(clockid_t clock, struct sigevent *event, timer_t *ret)
{
    timers++;
    return call_fails("timer_create") ? -1 : __real_timer_create(clock, event, ret);
}

int __real_timer_settime(timer_t timer, int flags, const struct itimerspec *setting,
                         struct itimerspec *ret);
int __wrap_timer_settime(timer_t timer, int flags, const struct itimerspec *setting,
                         struct itimerspec *ret);

int __wrap_timer_settime(timer_t timer, int flags, const struct itimerspec *setting,
                         struct itimerspec *ret)
{
    timer_ns = setting->it_interval.tv_sec * 1000000000 + setting->it_interval.tv_nsec;
    if (timer_first_ns < 0)
        timer_first_ns = timer_ns;
    if (flags != 0 || setting->it_value.tv_sec != setting->it_interval.tv_sec ||
        setting->it_value.tv_nsec != setting->it_interval.tv_nsec)
        timer_wrong = true;
    return __real_timer_settime(timer, flags, setting, ret);
}

/* --- A relay for each test ------------------------------------------------------------------- */

void *relay_tests_memory[1024]; /* keeps the memory reachable for leak detection */

/* Not freed: a relay's thread lives as long as its process. */
static void *forever(size_t size)
{
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
    static size_t count;
    relay_tests_memory[count++ % 1024] = memory;
    return memset(memory, 0, size);
}

void prepare(void)
{
    complete_result = 0;
    attach_result = 0;
    takes = 0;
    on_take = NULL;
    empties = 0;
    timers = 0;
    timer_first_ns = timer_ns = -1;
    timer_wrong = false;
    CU_ASSERT_EQUAL_FATAL(pipe2(requests, O_CLOEXEC), 0);
    CU_ASSERT_EQUAL_FATAL(pipe2(completions, O_CLOEXEC), 0);
    completions_of[requests[0]] = completions[1];
    told = eventfd(0, EFD_NONBLOCK);
    answered = eventfd(0, EFD_NONBLOCK);
    report = eventfd(0, EFD_NONBLOCK);
    state = forever(sizeof(*state));
    journal = forever(sizeof(*journal));
    relay = forever(sizeof(*relay));
    line = forever(sizeof(*line));
    gate = forever(sizeof(*gate));
    *line = (struct gate_line){
        .call = eventfd(0, EFD_NONBLOCK),
        .irq = eventfd(0, EFD_NONBLOCK),
        .state = state,
        .journal = journal,
    };
    journal_init(journal);
    *relay = (struct relay){
        .dm_id = DM_ID,
        .mmio_addr = BASE,
        .dm = requests[0],
        .request = told,
        .reply = answered,
        .report = report,
        .state = state,
        .journal = journal,
        .interrupt = line,
        .limits = {.answer_ms = ANSWER_MS,
                   .slow_ms = 3 * ANSWER_MS,
                   .give_up_ms = GIVE_UP_MS,
                   .recover_ms = RECOVER_MS},
    };
}

void begin(void)
{
    struct gate_line **lines = forever(sizeof(*lines));
    lines[0] = line;
    *gate = (struct gate){.report = report, .lines = lines, .line_count = 1};
    CU_ASSERT_EQUAL_FATAL(gate_start(gate), 0);
    CU_ASSERT_EQUAL_FATAL(relay_start(relay), 0);
    relay_go(relay);
}

void start(void)
{
    prepare();
    begin();
}

int relay_tests_run(int argc, char **argv, const CU_SuiteInfo *suites)
{
    /* As in the broker, SIGALRM is blocked; the threads inherit that. */
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    sigprocmask(SIG_BLOCK, &alarm, NULL);
    return run_suites(argc, argv, suites);
}
