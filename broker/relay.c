/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/relay.h"

#include <errno.h>
#include <linux/virtio_mmio.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "broker/access.h"
#include "broker/alive.h"
#include "broker/clock.h"
#include "broker/dispatcher.h"
#include "common/ensure.h"
#include "common/eventfd.h"
#include "common/wait.h"

#define STACK_SIZE ((size_t)256 * 1024) /* aarch64 takes no less than 128 KiB */
#define ATTACH_RETRY_MS 100
#define NOT_ASKED_MS 1000 /* how much longer to look if signals kept it from asking the driver */

/* glibc has the field, but not always this name for it. */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

const struct relay_limits relay_limits_default = {
    .answer_ms = WORKER_ANSWER_MS,
    .slow_ms = 3 * WORKER_ANSWER_MS, /* 15 s: Linux warns about a vCPU that is stuck for 21 s */
    .give_up_ms = 2 * WORKER_ANSWER_MS,
    .recover_ms = 100, /* a vCPU that went on makes its next access by then, even if busy */
};

static void report(struct relay *relay)
{
    (void)eventfd_signal(relay->report);
}

/* Both fds are edge-triggered and never read, so one epoll_pwait2 is the whole wait. */
static bool wait_event(struct relay *relay, int64_t timeout_ms)
{
    struct epoll_event events[2];
    return wait_events(relay->epoll, events, 2, wait_ns(timeout_ms)) != 0;
}

/* --- The mailbox -------------------------------------------------------------------------- */

static void put_in_mailbox(struct relay *relay, const struct access *access)
{
    struct state_mailbox *mailbox = &relay->state->mailbox;
    mailbox->offset = access->offset;
    mailbox->value = access->value;
    mailbox->is_write = access->is_write;
    mailbox->width = access->width;
    /* Pairs with the worker's acquire load of request_seq: it must see the fields above. */
    atomic_store_explicit(&mailbox->request_seq, ++relay->sequence, memory_order_release);
}

static bool take_answer(struct relay *relay, const struct access *access, uint64_t *ret_answer)
{
    struct state_mailbox *mailbox = &relay->state->mailbox;
    /* Pairs with the worker's release store of response_seq, after its answer. */
    if (atomic_load_explicit(&mailbox->response_seq, memory_order_acquire) != relay->sequence)
        return false;
    uint64_t answer = *(volatile uint64_t *)&mailbox->answer; /* once: the worker can change it */
    *ret_answer = access->is_write ? 0 : access_mask(answer, access->width);
    return true;
}

/* --- Who answers, and until when (attempt.h) ----------------------------------------------- */

static void report_unusable(struct relay *relay, uint32_t worker)
{
    atomic_store(&relay->unusable, worker);
    report(relay);
}

static uint32_t usable_worker(struct relay *relay)
{
    uint32_t worker = atomic_load(&relay->ready);
    if (!attempt_is_worker(worker))
        return worker;
    if (worker == relay->attempt.missed)
        return RELAY_NO_WORKER;
    if (atomic_load(&relay->journal->given_up)) {
        /* It started before its driver was told fixed values, and knows nothing of them. */
        report_unusable(relay, worker);
        return RELAY_NO_WORKER;
    }
    return worker;
}

static struct attempt_next look(struct relay *relay, bool is_timed_out)
{
    const struct state_watch *watch = &relay->state->watch;
    uint32_t worker = usable_worker(relay);
    const struct attempt_seen seen = {
        .worker = worker,
        .is_timed_out = is_timed_out,
        .is_in_io = atomic_load_explicit(&watch->in_io, memory_order_relaxed) != 0,
        .is_stopping = atomic_load(&relay->stopping),
        .now = attempt_needs_clock(&relay->attempt, worker) ? clock_ms() : 0,
    };
    return attempt_next(&relay->attempt, &relay->limits, &seen);
}

static uint64_t give_up(struct relay *relay, const struct access *access)
{
    /* Before the vCPU goes on, so that the next worker starts from a device that needs a reset. */
    atomic_store(&relay->journal->given_up, 1);
    if (atomic_fetch_add(&relay->given_up, 1) == 0)
        report(relay);
    return access_given_up_answer(access);
}

/* Have a worker answer an access: the one that is there, or one that comes in time. */
static uint64_t ask_worker(struct relay *relay, const struct access *access)
{
    bool is_timed_out = false;
    uint64_t answer;

    attempt_begin(&relay->attempt);
    put_in_mailbox(relay, access);
    for (;;) {
        const struct attempt_next next = look(relay, is_timed_out);
        is_timed_out = false;
        switch (next.step) {
        case ATTEMPT_GIVE_UP:
            return give_up(relay, access);
        case ATTEMPT_REPLACE:
            report_unusable(relay, relay->attempt.missed);
            continue;
        case ATTEMPT_TELL:
            /* The previous worker may have damaged the mailbox. */
            if (next.is_again)
                put_in_mailbox(relay, access);
            (void)eventfd_signal(relay->request);
            break;
        case ATTEMPT_WAIT:
            break;
        }
        is_timed_out = !wait_event(relay, next.wait_ms);
        if (take_answer(relay, access, &answer)) {
            attempt_answered(&relay->attempt);
            return answer;
        }
    }
}

/* --- The driver, and what is in doubt (journal.h) ------------------------------------------- */

/*
 * Take the next request into a slot. Returns 0, or an error like dispatcher_attach. An error that a
 * driver should never return is reported, and the function then waits a little before it returns.
 */
static int attach(struct relay *relay, struct journal_slot **ret_slot)
{
    struct journal_slot *slot = journal_attach_slot(relay->journal);
    ENSURE(slot != NULL); /* serve_taken and look_for_newer leave one slot empty */
    int result = dispatcher_attach(relay->generation, relay->dm, &slot->request);
    if (result == 0 && journal_slot_state(slot) != SLOT_TAKEN)
        result = -EPROTO;
    if (result == 0) {
        *ret_slot = slot;
        return 0;
    }
    journal_done(slot);
    if (result == -ETIME || result == -EINTR || result == -EAGAIN)
        return result;
    if (result == -ENODEV)
        atomic_store(&relay->gone, true);
    else
        atomic_store(&relay->attach_error, -result);
    report(relay);
    if (result != -ENODEV)
        wait_event(relay, ATTACH_RETRY_MS);
    return result;
}

static void interrupt_attach(int signal)
{
    (void)signal;
}

static int make_recovery_timer(timer_t *ret_timer)
{
    /* No SA_RESTART, so that the signal ends ATTACH. */
    struct sigaction action = {.sa_handler = interrupt_attach};
    if (sigaction(SIGALRM, &action, NULL) < 0)
        return -errno;
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);

    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
    event.sigev_notify_thread_id = gettid();
    return timer_create(CLOCK_MONOTONIC, &event, ret_timer) < 0 ? -errno : 0;
}

static void set_recovery_timer(const struct relay *relay, int interval_ms)
{
    struct timespec interval = {.tv_nsec = interval_ms * 1000000L};
    /* The timer is periodic: a single signal that comes just before ATTACH sleeps would be lost. */
    struct itimerspec setting = {.it_interval = interval, .it_value = interval};
    timer_settime(relay->timer, 0, &setting, NULL);
}

/* Is there more to look for? `result`: of the last ATTACH. Each request that came takes a slot, so
 * their number is limited. */
static bool looks_on(int result, int64_t end)
{
    int64_t now = clock_ms();
    if (result == 0)
        return true;
    if (result == -EINTR)
        return now < end + NOT_ASKED_MS;
    return result != -ENODEV && now < end;
}

/*
 * Look for requests that are newer than those whose completion is in doubt. Even if this thread
 * gets to run very late, it asks the driver before the caller completes anything, which is the next
 * step. But a driver that answers wrongly can't keep the vCPU waiting.
 */
static void look_for_newer(struct relay *relay)
{
    struct journal *journal = relay->journal;
    int64_t end = clock_ms() + relay->limits.recover_ms;
    int result = -EINTR;

    set_recovery_timer(relay, relay->limits.recover_ms);
    while (journal_find(journal, SLOT_COMPLETING) && journal_find(journal, SLOT_EMPTY) &&
           looks_on(result, end)) {
        struct journal_slot *slot;
        result = attach(relay, &slot);
        if (result == 0)
            journal_drop_older(journal, slot);
    }
    set_recovery_timer(relay, 0);
}

/* --- Requests ----------------------------------------------------------------------------- */

/* Complete the request with the answer in the slot. Returns false if the dispatcher knows no such
 * request. */
static bool finish(struct relay *relay, struct journal_slot *slot)
{
    struct bao_io_request request = slot->request;
    /* The hypervisor acts on both fields, so they are ours, whatever came in. A completion as WRITE
     * only lets the vCPU go on. */
    request.dm_id = relay->dm_id;
    if (request.op != BAO_IO_READ)
        request.op = BAO_IO_WRITE;
    int result = dispatcher_complete(relay->generation, relay->dm, &request);
    journal_done(slot);

    if (result < 0 && result != -EPERM) {
        atomic_fetch_add(&relay->refused, 1);
        report(relay);
    }
    return result == 0;
}

static void complete(struct relay *relay, struct journal_slot *slot, uint64_t answer)
{
    journal_completing(slot, answer);
    if (journal_in_doubt(relay->journal, slot)) {
        journal_set_doubt(relay->journal, slot, false); /* its phase shows the doubt now */
        look_for_newer(relay);
    }
    if (journal_slot_state(slot) == SLOT_COMPLETING)
        (void)finish(relay, slot);
}

static bool is_status_write(const struct access *access)
{
    return access->is_write && access->offset == VIRTIO_MMIO_STATUS;
}

static void serve(struct relay *relay, struct journal_slot *slot)
{
    const struct bao_io_request request = slot->request;
    struct access access;
    uint64_t answer = 0;
    bool idle = false; /* no interrupt is outstanding after this access */

    switch (access_decode(&request, relay->dm_id, relay->mmio_addr, &access)) {
    case ACCESS_TO_WORKER:
        answer = ask_worker(relay, &access);
        idle = is_status_write(&access);
        if (idle)
            gate_acknowledge(relay->interrupt, &slot->acknowledges,
                             access.value == 0 ? UINT32_MAX : 0);
        break;
    case ACCESS_INTERRUPT_STATUS:
        answer = gate_interrupt_status(relay->interrupt);
        break;
    case ACCESS_INTERRUPT_ACK:
        gate_acknowledge(relay->interrupt, &slot->acknowledges, (uint32_t)access.value);
        idle = true;
        break;
    case ACCESS_MALFORMED:
        atomic_fetch_add(&relay->malformed, 1);
        report(relay);
        break;
    }
    complete(relay, slot, answer);
    if (idle)
        gate_raise_pending(relay->interrupt);
}

/* --- Taking over from a relay that was killed (journal.h) ---------------------------------- */

static void serve_taken(struct relay *relay)
{
    struct journal_slot *slot;
    while ((slot = journal_find(relay->journal, SLOT_TAKEN)))
        serve(relay, slot);
}

static void take_over(struct relay *relay)
{
    struct journal *journal = relay->journal;
    struct journal_slot *slot;

    for (unsigned int i = 0; i < JOURNAL_SLOTS; i++) {
        if (journal_slot_state(&journal->slots[i]) == SLOT_TAKEN)
            journal_drop_older(journal, &journal->slots[i]);
    }
    if (journal_find(journal, SLOT_COMPLETING))
        look_for_newer(relay);
    while ((slot = journal_find(journal, SLOT_COMPLETING))) {
        const struct journal_slot completed = *slot;
        journal_set_doubt(journal, slot, true); /* before finish: it may be killed again */
        if (!finish(relay, slot))
            journal_set_doubt(journal, &completed, false);
    }
    serve_taken(relay);
}

/* --- The thread --------------------------------------------------------------------------- */

static void *relay_thread(void *argument)
{
    struct relay *relay = argument;

    if (journal_find(relay->journal, SLOT_COMPLETING) || relay->journal->doubts != 0) {
        int result = make_recovery_timer(&relay->timer);
        if (result < 0) {
            atomic_store(&relay->attach_error, -result);
            report(relay);
            return NULL;
        }
    }
    report(relay);
    while (!atomic_load(&relay->started))
        wait_event(relay, -1);

    take_over(relay);
    gate_open(relay->interrupt);
    for (;;) {
        struct journal_slot *slot;
        if (!atomic_load(&relay->gone) && attach(relay, &slot) == 0)
            serve_taken(relay); /* more may come while one is in doubt */
        else if (atomic_load(&relay->gone))
            wait_event(relay, -1); /* the driver has completed what was waiting */
    }
    return NULL;
}

static int watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int relay_start(struct relay *relay)
{
    relay->sequence = atomic_load(&relay->state->mailbox.request_seq);
    relay->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    relay->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (relay->wake < 0 || relay->epoll < 0)
        return -errno;
    int result = watch(relay->epoll, relay->reply);
    if (result == 0)
        result = watch(relay->epoll, relay->wake);
    if (result < 0)
        return result;

    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    result = -pthread_create(&relay->thread, &attributes, relay_thread, relay);
    pthread_attr_destroy(&attributes);
    return result;
}

/* --- What the supervisor calls --------------------------------------------------------------- */

void relay_go(struct relay *relay)
{
    atomic_store(&relay->started, true);
    (void)eventfd_signal(relay->wake);
}

static void set_worker(struct relay *relay, uint32_t worker)
{
    atomic_store(&relay->ready, worker);
    (void)eventfd_signal(relay->wake);
}

void relay_worker_gone(struct relay *relay)
{
    set_worker(relay, RELAY_NO_WORKER);
}

void relay_worker_starting(struct relay *relay)
{
    set_worker(relay, RELAY_WORKER_STARTING);
}

void relay_worker_ready(struct relay *relay, uint32_t incarnation)
{
    set_worker(relay, incarnation + 1);
}

void relay_stop(struct relay *relay)
{
    atomic_store(&relay->stopping, true);
    relay_worker_gone(relay);
}

bool relay_busy(const struct relay *relay)
{
    return journal_find(relay->journal, SLOT_TAKEN) ||
           journal_find(relay->journal, SLOT_COMPLETING);
}

uint32_t relay_take_unusable(struct relay *relay)
{
    return atomic_exchange(&relay->unusable, RELAY_NO_WORKER);
}
