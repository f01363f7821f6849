/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/relay_under_test.h"

#include <CUnit/CUnit.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "broker/dispatcher.h"
#include "tests/cunit_main.h"

/* --- The dispatcher -------------------------------------------------------------------------- */

int requests[2];                 /* a pipe; `dm` is requests[0] */
static int completions[2];       /* another pipe */
static int completions_of[1024]; /* indexed by `dm`: relays of earlier tests still run */
_Atomic int complete_result, interrupted, attach_result, attaches;

int dispatcher_attach(enum bao_generation generation, int dm, struct bao_io_request *slot)
{
    struct bao_io_request request;
    (void)generation;
    if (interrupted > 0 && atomic_fetch_sub(&interrupted, 1) > 0) {
        poll(NULL, 0, 1);
        return -EINTR;
    }
    if (attach_result < 0) {
        atomic_fetch_add(&attaches, 1);
        poll(NULL, 0, 1); /* no driver answers faster */
        return attach_result;
    }
    ssize_t length = read(dm, &request, sizeof(request));
    if (length != (ssize_t)sizeof(request))
        return length < 0 && errno == EINTR ? -ETIME : -EIO;
    *slot = request;
    return 0;
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
