/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's loop: what it does when something comes, and when time has passed. Keeper, workers,
 * relays and clients are this test. Each time that the loop waits, the next step of a case is done;
 * time passes only when a step says so.
 */
#include "tests/unit/supervisor_under_test.h"

/* ---- What the relays say ---- */

static void the_relay_says_much(void)
{
    struct relay *relay = &devices[0].relay;
    atomic_store(&relay->given_up, 2);
    atomic_store(&relay->malformed, 3);
    atomic_store(&relay->refused, 1);
    atomic_store(&relay->attach_error, EIO);
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

static unsigned int lines(void)
{
    unsigned int count = 0;
    for (const char *at = said.text; (at = strchr(at, '\n')); at++)
        count++;
    return count;
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
    logged("rng 4: requests that are no access to its registers: 3\n");
    logged("rng 4: the dispatcher refused to complete a request\n");
    logged("rng 4: can't take requests from the dispatcher: Input/output error\n");
    logged("rng 4: Bao's driver has given the device up (was it unloaded?)");
    CU_ASSERT_EQUAL(lines(), 2 + 6);
}

static void an_earlier_worker_was_unusable(void)
{
    atomic_store(&devices[0].relay.unusable, devices[0].worker.incarnation + 2);
    CU_ASSERT_TRUE(eventfd_signal(supervisor.report));
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
    killed[1] = 77; /* none of ours */
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

/* ---- Clients of the control socket ---- */

static void a_client_comes(void)
{
    accept_result = 1;
    (void)eventfd_signal(supervisor.control.listener);
}

static void it_is_accepted_and_asks(void)
{
    CU_ASSERT_EQUAL(accepts, 1);
    CU_ASSERT_EQUAL(serves, 0);
    (void)eventfd_signal(client_fd);
}

static void it_is_served(void)
{
    CU_ASSERT_EQUAL(serves, 1);
    CU_ASSERT_EQUAL(drops, 0);
}

static void too_many_come(void)
{
    accept_result = -EBUSY;
    accepts = 0;
    (void)eventfd_signal(supervisor.control.listener);
}

static void they_wait(void)
{
    CU_ASSERT_EQUAL(accepts, 1);
    CU_ASSERT(slept > 0 && slept <= 1000 && supervisor.control_at != 0);
    now_ms += slept;
}

static void and_come_again(void)
{
    CU_ASSERT(accepts > 1);
}

static void clients_are_served_and_too_many_wait(void)
{
    start_both();
    steps[3] = a_client_comes;
    steps[4] = it_is_accepted_and_asks;
    steps[5] = it_is_served;
    steps[6] = too_many_come;
    steps[7] = they_wait;
    steps[8] = and_come_again;
    steps[9] = stops;
    (void)run();
}

static void a_client_can_t_be_watched(void)
{
    close(client_fd);
    client_fd = supervisor.control.clients[1] = -1;
    accept_result = 1;
    (void)eventfd_signal(supervisor.control.listener);
}

static void it_is_dropped(void)
{
    CU_ASSERT_EQUAL(drops, 1);
}

static void a_client_that_can_t_be_watched_is_dropped(void)
{
    start_both();
    steps[3] = a_client_can_t_be_watched;
    steps[4] = it_is_dropped;
    steps[5] = stops;
    (void)run();
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"it starts, serves and stops", it_starts_serves_and_stops},
        {"without its keeper", without_its_keeper_it_leaves_all_as_it_is},
        {"a worker that dies is replaced", a_worker_that_dies_is_replaced},
        {"a worker that can't be started", a_worker_that_can_t_be_started_is_tried_again},
        {"a start has an end", a_start_has_an_end},
        {"no two workers use one page", no_two_workers_use_one_page},
        {"what relays find out is told once", what_relays_find_out_is_told_once},
        {"another worker's fault", another_worker_s_fault_is_not_this_one_s},
        {"the call of a death is told", the_call_of_a_death_is_told},
        {"stuck workers are ended", stuck_workers_are_ended},
        {"backends are looked at once a second", backends_are_looked_at_once_a_second},
        {"clients are served", clients_are_served_and_too_many_wait},
        {"a client that can't be watched", a_client_that_can_t_be_watched_is_dropped},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "supervisor", tests);
}
