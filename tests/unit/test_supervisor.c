/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's loop: what it does when something comes, and when time has passed. Keeper, workers,
 * relays and clients are this test. Each time that the loop waits, the next step of a case is done;
 * time passes only when a step says so.
 */
#include "tests/unit/supervisor_under_test.h"

static void begin(void)
{
    make();
    errno = EIO; /* of an earlier call */
    CU_ASSERT_EQUAL(supervisor_init(&supervisor), 0);
}

static void logged(const char *words)
{
    if (!strstr(said.text, words))
        CU_FAIL(words);
}

static void start_both(void)
{
    begin();
    steps[0] = both_are_started;
    steps[1] = both_are_ready;
    steps[2] = all_is_well;
}

/* How many lines were logged. */
static unsigned int lines(void)
{
    unsigned int count = 0;
    for (const char *at = said.text; (at = strchr(at, '\n')); at++)
        count++;
    return count;
}

/* ---- Workers come and go ---- */

static void it_answers(void)
{
    CU_ASSERT_TRUE(keeper_gets(MSG_PONG));
    CU_ASSERT_FALSE(keeper_gets(MSG_PONG));
}

static void it_starts_serves_and_stops(void)
{
    start_both();
    steps[3] = keeper_pings;
    steps[4] = it_answers;
    steps[5] = stops;
    CU_ASSERT_EQUAL(run(), EXIT_SUCCESS);
    CU_ASSERT_FALSE(supervisor.abandoned);
    CU_ASSERT_EQUAL(naps, 0); /* no relay had anything left to do */
    for (uint32_t i = 0; i < DEVICES; i++)
        CU_ASSERT_TRUE(atomic_load(&devices[i].relay.stopping));
}

static struct journal_slot *take_request(uint32_t device)
{
    journals[device].slots[0].request = (struct bao_io_request){.request_id = 3};
    return &journals[device].slots[0];
}

static void relays_have_requests(void)
{
    (void)take_request(0);
    (void)take_request(1);
    stops();
}

static void relays_complete_them(unsigned int nap)
{
    if (nap == 7)
        journal_done(&journals[0].slots[0]);
    if (nap == 9)
        journal_done(&journals[1].slots[0]);
}

static void all_requests_are_completed_before_it_ends(void)
{
    start_both();
    steps[3] = relays_have_requests;
    on_nap = relays_complete_them;
    CU_ASSERT_EQUAL(run(), EXIT_SUCCESS);
    CU_ASSERT_EQUAL(naps, 9);
}

/* The driver may not take what a relay completes. */
static void it_does_not_wait_for_relays_for_ever(void)
{
    start_both();
    steps[3] = relays_have_requests;
    CU_ASSERT_EQUAL(run(), EXIT_SUCCESS);
    CU_ASSERT_EQUAL(naps, 200);
}

static void keeper_says_what_concerns_nobody(void)
{
    spawned(DEVICES, 4720);
    keeper_says((union message){.died = {.header = {.type = MSG_DIED, .device = DEVICES},
                                         .code = CLD_KILLED,
                                         .status = 9}});
    keeper_says((union message){.header = {.type = MSG_STORED, .device = 0}});
    keeper_says((union message){.header = {.type = MSG_PING, .device = 1}});
}

static void it_only_answers(void)
{
    it_answers();
    all_is_well();
    CU_ASSERT_EQUAL(devices[1].worker.pid, 4711);
}

static void what_concerns_nobody_changes_nothing(void)
{
    start_both();
    steps[3] = keeper_says_what_concerns_nobody;
    steps[4] = it_only_answers;
    steps[5] = stops;
    (void)run();
}

static void keeper_goes(void)
{
    close(keeper);
    keeper = -1;
}

/* Another keeper may go on: no access gets fixed values. */
static void without_its_keeper_it_leaves_all_as_it_is(void)
{
    start_both();
    steps[3] = keeper_goes;
    CU_ASSERT_EQUAL(run(), EXIT_SUCCESS);
    CU_ASSERT_TRUE(supervisor.abandoned);
    CU_ASSERT_FALSE(atomic_load(&devices[0].relay.stopping));
}

static void the_second_dies(void)
{
    keeper_says((union message){.died = {.header = {.type = MSG_DIED, .device = 1},
                                         .code = CLD_KILLED,
                                         .status = SIGSEGV}});
}

static void another_is_started(void)
{
    CU_ASSERT_TRUE(keeper_gets(MSG_SPAWN));
    CU_ASSERT_EQUAL(message.header.device, 1);
    close(workers[1]);
    workers[1] = got[0];
    CU_ASSERT_EQUAL(devices[1].worker.incarnation, 1);
    CU_ASSERT_STRING_EQUAL(devices[1].worker.last_death, "killed by SIGSEGV");
    CU_ASSERT_EQUAL(devices[1].worker.last_pid, 4711);
    CU_ASSERT_EQUAL(devices[0].worker.incarnation, 0);
}

static void a_worker_that_dies_is_replaced(void)
{
    start_both();
    steps[3] = the_second_dies;
    steps[4] = another_is_started;
    steps[5] = stops;
    (void)run();
    logged("rng 5: worker 4711 died: killed by SIGSEGV: starting another\n");
}

static void the_second_has_said_something(void)
{
    uint32_t code = 0;
    while (words_log_level(code) > LOG_LEVEL_WARNING)
        code++;
    union message log = {.log = {.header = {.type = MSG_LOG, .device = 1}, .code = code}};
    the_second_dies(); /* this comes first */
    CU_ASSERT_EQUAL(message_send(workers[1], &log, NULL, 0), 0);
}

static void its_last_words_are_told(void)
{
    start_both();
    steps[3] = the_second_has_said_something;
    steps[4] = another_is_started;
    steps[5] = stops;
    (void)run();
    CU_ASSERT_EQUAL(lines(), 2 + 2); /* and then that it died */
}

/* ---- A worker that does not start ---- */

static void both_wait(void)
{
    for (uint32_t i = 0; i < DEVICES; i++) {
        CU_ASSERT_TRUE(keeper_gets(MSG_SPAWN));
        workers[i] = got[0];
    }
    spawned(0, -EBUSY);
    spawned(1, -ENOMEM);
}

static void the_first_is_tried_soon(void)
{
    CU_ASSERT_EQUAL(devices[0].worker.phase, WORKER_DUE);
    CU_ASSERT_EQUAL(devices[0].worker.incarnation, 0); /* that was no life */
    CU_ASSERT_EQUAL(devices[0].worker.socket, -1);
    CU_ASSERT_EQUAL(atomic_load(&devices[0].relay.ready), RELAY_NO_WORKER);
    CU_ASSERT(slept > 0 && slept <= 1000);
    CU_ASSERT_EQUAL(devices[1].worker.incarnation, 1);
    CU_ASSERT_TRUE(keeper_gets(MSG_SPAWN)); /* the second one at once */
    CU_ASSERT_EQUAL(message.header.device, 1);
    close(got[0]);
    now_ms += slept;
}

static void it_is_tried(void)
{
    CU_ASSERT_TRUE(keeper_gets(MSG_SPAWN));
    CU_ASSERT_EQUAL(message.header.device, 0);
    close(got[0]);
}

static void a_worker_that_can_t_be_started_is_tried_again(void)
{
    begin();
    steps[0] = both_wait;
    steps[1] = the_first_is_tried_soon;
    steps[2] = it_is_tried;
    steps[3] = stops;
    (void)run();
    logged("rng 5: can't start a worker: Cannot allocate memory: starting another\n");
    CU_ASSERT_PTR_NULL(strstr(said.text, "rng 4"));
}

static void keeper_tells_strange_pids(void)
{
    for (uint32_t i = 0; i < DEVICES; i++) {
        CU_ASSERT_TRUE(keeper_gets(MSG_SPAWN));
        workers[i] = got[0];
    }
    spawned(0, 1);
    spawned(1, 0);
}

static void one_of_them_is_a_pid(void)
{
    CU_ASSERT_EQUAL(devices[0].worker.pid, 1);
    CU_ASSERT_EQUAL(devices[0].worker.phase, WORKER_STARTING);
    CU_ASSERT_TRUE(keeper_gets(MSG_SPAWN));
    CU_ASSERT_EQUAL(message.header.device, 1);
    close(got[0]);
    CU_ASSERT_EQUAL(devices[1].worker.pid, 0);
    CU_ASSERT_EQUAL(devices[1].worker.incarnation, 1);
}

static void a_pid_is_positive(void)
{
    begin();
    steps[0] = keeper_tells_strange_pids;
    steps[1] = one_of_them_is_a_pid;
    steps[2] = stops;
    (void)run();
    logged("rng 5: can't start a worker: Success: starting another\n");
    CU_ASSERT_EQUAL(lines(), 1);
}

static void the_first_is_ready(void)
{
    is_ready(0);
}

static void the_earlier_time_counts(void)
{
    CU_ASSERT_EQUAL(devices[0].worker.phase, WORKER_READY);
    CU_ASSERT_EQUAL(devices[1].worker.phase, WORKER_STARTING);
    CU_ASSERT_EQUAL(slept, ALIVE_MS);
    devices[0].worker.phase = devices[1].worker.phase = WORKER_ENDING;
    keeper_pings(); /* a turn */
}

static void no_time_counts(void)
{
    CU_ASSERT_EQUAL(slept, -1);
}

static void it_sleeps_until_the_next_time(void)
{
    begin();
    steps[0] = both_are_started;
    steps[1] = the_first_is_ready;
    steps[2] = the_earlier_time_counts;
    steps[3] = no_time_counts;
    steps[4] = stops;
    (void)run();
}

static void time_to_start_passes(void)
{
    now_ms += WORKER_START_MS;
}

static void both_are_killed(void)
{
    CU_ASSERT_TRUE(keeper_gets(MSG_KILL));
    CU_ASSERT_TRUE(keeper_gets(MSG_KILL));
}

static void a_start_has_an_end(void)
{
    begin();
    steps[0] = both_are_started;
    steps[1] = time_to_start_passes;
    steps[2] = both_are_killed;
    steps[3] = stops;
    (void)run();
    logged("rng 4: worker 4710 is ended: it did not become ready in time\n");
    logged("rng 5: worker 4711 is ended: it did not become ready in time\n");
}

static int last_one; /* a worker of an earlier broker: its lock on the page */

static void the_page_is_claimed(void)
{
    CU_ASSERT_TRUE(keeper_gets(MSG_SPAWN));
    CU_ASSERT_EQUAL(message.header.device, 1); /* the other one does not wait */
    close(got[0]);
    CU_ASSERT(slept > 0 && slept <= 1000);
    now_ms += slept;
}

static void it_still_waits(void)
{
    CU_ASSERT_FALSE(keeper_gets(MSG_SPAWN));
    close(last_one);
    now_ms += slept;
}

static void no_two_workers_use_one_page(void)
{
    begin();
    last_one = shared_page_claim(devices[0].state_fd);
    int own = shared_page_reopen(devices[0].state_fd);
    close(devices[0].state_fd);
    devices[0].state_fd = devices[0].claim_fd = own;
    steps[0] = the_page_is_claimed;
    steps[1] = it_still_waits;
    steps[2] = it_is_tried;
    steps[3] = stops;
    (void)run();
    CU_ASSERT_STRING_EQUAL(said.text, "bao-virtio-dm: rng 4: waits for the end of its last worker, "
                                      "which was killed with its broker\n");
}

/* ---- What the relays say ---- */

static void the_relay_says_much(void)
{
    struct relay *relay = &devices[0].relay;
    atomic_store(&relay->given_up, 1);
    atomic_store(&relay->malformed, 1);
    atomic_store(&relay->refused, 1);
    atomic_store(&relay->attach_error, EPERM);
    atomic_store(&relay->gone, true);
    atomic_store(&relay->unusable, devices[0].worker.incarnation + 1);
    CU_ASSERT_TRUE(eventfd_signal(supervisor.report));
}

static void the_worker_is_ended(void)
{
    CU_ASSERT_TRUE(keeper_gets(MSG_KILL));
    CU_ASSERT_EQUAL(message.header.device, 0);
    CU_ASSERT_EQUAL(devices[0].worker.phase, WORKER_ENDING);
    CU_ASSERT_EQUAL(devices[1].worker.phase, WORKER_READY);
    CU_ASSERT_TRUE(eventfd_signal(supervisor.report)); /* nothing is said twice */
}

static void nothing_more(void)
{
    CU_ASSERT_FALSE(keeper_gets(MSG_KILL));
}

static void what_relays_find_out_is_told_once(void)
{
    start_both();
    steps[3] = the_relay_says_much;
    steps[4] = the_worker_is_ended;
    steps[5] = nothing_more;
    steps[6] = stops;
    (void)run();
    logged("rng 4: worker 4710 is ended: it did not answer a register access in time\n");
    logged("rng 4: no worker answers: register accesses get fixed values, and the device needs "
           "a reset\n");
    logged("rng 4: requests that are no access to its registers: 1\n");
    logged("rng 4: the dispatcher refused to complete a request\n");
    logged("rng 4: can't take requests from the dispatcher: Operation not permitted\n");
    logged("rng 4: Bao's driver has given the device up (was it unloaded?)");
    CU_ASSERT_EQUAL(lines(), 2 + 6);
}

static void an_earlier_worker_was_unusable(void)
{
    atomic_store(&devices[0].relay.unusable, devices[0].worker.incarnation + 2);
    CU_ASSERT_TRUE(eventfd_signal(supervisor.report));
}

static void one_was_ready_too_late(void)
{
    atomic_store(&journals[1].given_up, 1);
    atomic_store(&devices[1].relay.unusable, devices[1].worker.incarnation + 1);
    CU_ASSERT_TRUE(eventfd_signal(supervisor.report));
}

static void it_is_ended(void)
{
    CU_ASSERT_TRUE(keeper_gets(MSG_KILL));
    CU_ASSERT_EQUAL(message.header.device, 1);
}

/* Its driver was told fixed values, and it does not know of them. */
static void one_that_is_ready_too_late_is_ended(void)
{
    start_both();
    steps[3] = one_was_ready_too_late;
    steps[4] = it_is_ended;
    steps[5] = stops;
    (void)run();
    logged("rng 5: worker 4711 is ended: the device was given up before it was ready\n");
    CU_ASSERT_EQUAL(lines(), 3);
}

static void another_worker_s_fault_is_not_this_one_s(void)
{
    start_both();
    steps[3] = an_earlier_worker_was_unusable;
    steps[4] = nothing_more;
    steps[5] = stops;
    (void)run();
    CU_ASSERT_EQUAL(lines(), 2);
}

static void the_kernel_has_logged(void)
{
    snprintf(devices[1].worker.last_death, sizeof(devices[1].worker.last_death), "old");
    devices[1].worker.last_pid = 99;
    killed[0] = 4710;
    killed[1] = devices[DEVICES].worker.pid; /* none of ours */
    killed[2] = 99;
    CU_ASSERT_TRUE(eventfd_signal(supervisor.kernel_log));
}

static void the_call_of_a_death_is_told(void)
{
    start_both();
    steps[3] = the_kernel_has_logged;
    steps[4] = stops;
    (void)run();
    logged("rng 4: worker 4710 was killed for system call openat (257)\n");
    logged("rng 5: worker 99 was killed for system call openat (257)\n");
    CU_ASSERT_EQUAL(lines(), 4);
    CU_ASSERT_STRING_EQUAL(devices[0].worker.last_death, "");
    CU_ASSERT_STRING_EQUAL(devices[1].worker.last_death,
                           "seccomp violation (SIGSYS) by openat (257)");
}

/* ---- Time ---- */

static void nobody_answers(void)
{
    CU_ASSERT(slept > 0);
    now_ms += slept;
}

static void stuck_workers_are_ended(void)
{
    start_both();
    steps[3] = nobody_answers; /* it is asked */
    steps[4] = nobody_answers; /* it is asked again */
    steps[5] = nobody_answers;
    steps[6] = both_are_killed;
    steps[7] = stops;
    (void)run();
    logged("rng 4: worker 4710 is ended: it has not looked at its events for 5 s\n");
    logged("rng 5: worker 4711 is ended: it has not looked at its events for 5 s\n");
}

static bool look(struct backend *backend, struct state_backend *page)
{
    (void)backend;
    (void)page;
    looks++;
    return look_new;
}

static void looks_begin(void)
{
    for (uint32_t i = 0; i < DEVICES; i++)
        (void)eventfd_drain(devices[i].request);
    ops.look = look;
    looks = 0;
    supervisor.look_at = 0;
    keeper_pings(); /* a turn */
}

static void there_was_nothing_new(void)
{
    CU_ASSERT_EQUAL(looks, 2);
    CU_ASSERT_FALSE(eventfd_drain(devices[0].request));
    CU_ASSERT_EQUAL(slept, 1000);
    look_new = true;
    devices[1].worker.phase = WORKER_ENDING;
    now_ms += 1000;
}

static void the_worker_is_told(void)
{
    CU_ASSERT_EQUAL(looks, 3); /* of those that are ready */
    CU_ASSERT_TRUE(eventfd_drain(devices[0].request));
    CU_ASSERT_FALSE(eventfd_drain(devices[1].request));
}

static void backends_are_looked_at_once_a_second(void)
{
    start_both();
    steps[3] = looks_begin;
    steps[4] = there_was_nothing_new;
    steps[5] = the_worker_is_told;
    steps[6] = stops;
    (void)run();
}

static void the_worker_is_told_again(void)
{
    CU_ASSERT_TRUE(eventfd_drain(devices[0].request));
}

static void the_worker_looks_itself(void)
{
    ops.worker_looks = true;
    now_ms += 1000;
}

static void what_a_worker_is_told_is_a_debug_line(void)
{
    start_both();
    log_set_level(LOG_LEVEL_DEBUG);
    steps[3] = looks_begin;
    steps[4] = there_was_nothing_new;
    steps[5] = the_worker_is_told;
    steps[6] = the_worker_looks_itself;
    steps[7] = the_worker_is_told_again;
    steps[8] = stops;
    (void)run();
    log_set_level(LOG_LEVEL_INFO);
    logged("rng 4: worker 4710 started, number 1 of this broker\n");
    logged("rng 5: worker 4711 started, number 1 of this broker\n");
    logged("rng 4: its backend has changed: worker 4710 is told\n");
    CU_ASSERT_EQUAL(lines(), 2 + 2 + 1); /* a look of its own is no news */
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"it starts, serves and stops", it_starts_serves_and_stops},
        {"without its keeper", without_its_keeper_it_leaves_all_as_it_is},
        {"all requests are completed before", all_requests_are_completed_before_it_ends},
        {"it does not wait for relays for ever", it_does_not_wait_for_relays_for_ever},
        {"what concerns nobody", what_concerns_nobody_changes_nothing},
        {"a worker that dies is replaced", a_worker_that_dies_is_replaced},
        {"its last words are told", its_last_words_are_told},
        {"a worker that can't be started", a_worker_that_can_t_be_started_is_tried_again},
        {"a pid is positive", a_pid_is_positive},
        {"it sleeps until the next time", it_sleeps_until_the_next_time},
        {"a start has an end", a_start_has_an_end},
        {"no two workers use one page", no_two_workers_use_one_page},
        {"what relays find out is told once", what_relays_find_out_is_told_once},
        {"one that is ready too late", one_that_is_ready_too_late_is_ended},
        {"another worker's fault", another_worker_s_fault_is_not_this_one_s},
        {"the call of a death is told", the_call_of_a_death_is_told},
        {"stuck workers are ended", stuck_workers_are_ended},
        {"backends are looked at once a second", backends_are_looked_at_once_a_second},
        {"what a worker is told", what_a_worker_is_told_is_a_debug_line},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "supervisor", tests);
}
