/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the broker's loop waits for: which files it watches, and for whom; how long it sleeps; and
 * what it does if something can't be watched. Time passes only when this test says so.
 */
#include "tests/unit/supervisor_watched.h"

/* ---- At the start ---- */

static void all_sources_are_watched(void)
{
    make_all();
    devices[0].backend.files[OPENED_LISTENER_FIRST] = new_eventfd();
    devices[1].opening.socket = new_eventfd();
    CU_ASSERT_EQUAL(init(), 0);
    CU_ASSERT_EQUAL(watch_count, 6);
    CU_ASSERT_EQUAL(watched_as(supervisor.keeper), EVENT_KEEPER);
    CU_ASSERT_EQUAL(watched_as(supervisor.report), EVENT_REPORT);
    CU_ASSERT_EQUAL(watched_as(supervisor.kernel_log), EVENT_KERNEL_LOG);
    CU_ASSERT_EQUAL(watched_as(supervisor.control.listener), EVENT_CONTROL);
    CU_ASSERT_EQUAL(watched_as(devices[1].opening.socket), EVENT_OPENER_FIRST + 1u);
    CU_ASSERT_EQUAL(watched_as(devices[0].backend.files[OPENED_LISTENER_FIRST]),
                    EVENT_CLIENT_FIRST);
    CU_ASSERT_EQUAL(fcntl(supervisor.epoll, F_GETFD), FD_CLOEXEC);
    close(devices[0].backend.files[OPENED_LISTENER_FIRST]);
    close(devices[1].opening.socket);
    end();
}

/* Whichever can't be watched, its error comes back, and nothing else is watched. */
static void what_can_t_be_watched_at_the_start_is_an_error(void)
{
    unsigned int failures = 0;
    for (bool fails = true; fails; failures += fails) {
        make_all();
        devices[0].backend.files[OPENED_LISTENER_FIRST] = new_eventfd();
        devices[1].opening.socket = new_eventfd();
        fail_once("epoll_ctl", ENOSPC, failures);
        int result = init();
        fails = failing.call == NULL;
        failing.call = NULL;
        CU_ASSERT_EQUAL(result, fails ? -ENOSPC : 0);
        CU_ASSERT_EQUAL(watch_count, failures);
        close(devices[0].backend.files[OPENED_LISTENER_FIRST]);
        close(devices[1].opening.socket);
        end();
    }
    CU_ASSERT_EQUAL(failures, 6);
    make_all();
    fail_once("epoll_create1", EMFILE, 0);
    CU_ASSERT_EQUAL(init(), -EMFILE);
    CU_ASSERT_EQUAL(watch_count, 0);
    end();
}

static void what_is_not_there_is_not_watched(void)
{
    make_all();
    close(supervisor.kernel_log);
    close(supervisor.control.listener);
    supervisor.kernel_log = supervisor.control.listener = -1;
    CU_ASSERT_EQUAL(init(), 0);
    CU_ASSERT_EQUAL(watch_count, 2);
    end();
}

static void each_file_may_have_the_number_0(void)
{
    int *const files[] = {&supervisor.control.listener, &supervisor.kernel_log,
                          &devices[0].opening.socket};
    const uint32_t sources[] = {EVENT_CONTROL, EVENT_KERNEL_LOG, EVENT_OPENER_FIRST};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        make_all();
        give_0(files[i]);
        CU_ASSERT_EQUAL(init(), 0);
        CU_ASSERT_EQUAL(watched_as(0), sources[i]);
        give_0(files[i]);
        if (i == 2)
            close(devices[0].opening.socket);
        end();
    }
    make_all();
    free_0();
    CU_ASSERT_EQUAL(init(), 0);
    CU_ASSERT_EQUAL(supervisor.epoll, 0);
    give_0(&supervisor.epoll);
    end();
}

/* ---- Openers ---- */

static bool opener_starts, opener_ends;
static unsigned int opener_heard;

static void open_the_first(struct device *device)
{
    struct opening *opening = &device->opening;
    if (device->index != 0)
        return;
    if (opening->phase == OPENING_DUE && opener_starts) {
        opening->phase = OPENING_RUNS;
        opening->socket = new_eventfd();
    }
    if (opening->phase == OPENING_RUNS)
        opener_heard += eventfd_drain(opening->socket);
    if (opening->phase == OPENING_RUNS && opener_ends) {
        opening->phase = OPENING_DONE;
        close(opening->socket);
        opening->socket = -1;
    }
}

static void an_opener_runs(void)
{
    CU_ASSERT_EQUAL(devices[0].opening.phase, OPENING_RUNS);
    CU_ASSERT_EQUAL(watched_as(devices[0].opening.socket), EVENT_OPENER_FIRST);
    CU_ASSERT_EQUAL(watch_count, 4 + 1); /* no other one */
    CU_ASSERT_TRUE(keeper_has_nothing());
    CU_ASSERT_EQUAL(slept, -1);
    CU_ASSERT_TRUE(eventfd_signal(devices[0].opening.socket));
}

static void it_was_heard(void)
{
    CU_ASSERT_EQUAL(opener_heard, 1);
    CU_ASSERT_EQUAL(watch_count, 4 + 1);
    CU_ASSERT_EQUAL(connections_watched, 2); /* when the broker began */
    CU_ASSERT_TRUE(keeper_has_nothing());
    opener_ends = true;
    keeper_pings(); /* a turn */
}

static void its_device_has_a_worker(void)
{
    CU_ASSERT_TRUE(keeper_gets(MSG_PONG));
    CU_ASSERT_TRUE(keeper_gets(MSG_SPAWN));
    CU_ASSERT_EQUAL(message.header.device, 0);
    close(got[0]);
    CU_ASSERT_TRUE(keeper_has_nothing()); /* the other one is not open */
    CU_ASSERT_EQUAL(connections_watched, 3);
    keeper_pings(); /* a turn */
}

static void nothing_is_watched_twice(void)
{
    CU_ASSERT_EQUAL(connections_watched, 3);
    CU_ASSERT_EQUAL(watch_count, 4 + 1);
}

static void a_device_waits_for_its_opener(void)
{
    make_all();
    devices[0].opening.phase = devices[1].opening.phase = OPENING_DUE;
    CU_ASSERT_EQUAL(init(), 0);
    opener_starts = true;
    opener_ends = false;
    opener_heard = 0;
    on_opening = open_the_first;
    steps[0] = an_opener_runs;
    steps[1] = it_was_heard;
    steps[2] = its_device_has_a_worker;
    steps[3] = nothing_is_watched_twice;
    steps[4] = stops;
    (void)run();
}

static void it_is_watched_as_0(void)
{
    CU_ASSERT_EQUAL(devices[0].opening.socket, 0);
    CU_ASSERT_EQUAL(watched_as(0), EVENT_OPENER_FIRST);
    give_0(&devices[0].opening.socket);
}

static void an_opener_s_socket_may_have_the_number_0(void)
{
    make_all();
    devices[0].opening.phase = devices[1].opening.phase = OPENING_DUE;
    CU_ASSERT_EQUAL(init(), 0);
    opener_starts = true;
    opener_ends = false;
    on_opening = open_the_first;
    steps[0] = it_is_watched_as_0;
    steps[1] = stops;
    free_0();
    int status = supervisor_run(&supervisor);
    CU_ASSERT_EQUAL(status, EXIT_SUCCESS);
    CU_ASSERT_EQUAL(step, 2);
    close(devices[0].opening.socket);
    end();
}

static int64_t next_times[] = {77, 1, 0, -5};
static unsigned int next_time;

static void it_slept_so_long(void)
{
    if (next_time > 0) {
        const int64_t left = next_times[next_time - 1];
        CU_ASSERT_EQUAL(slept, left > 0 ? left : 0);
    }
    opening_next = next_time < 4 ? now_ms + 1 + next_times[next_time] : INT64_MAX;
    next_time++;
    keeper_pings(); /* a turn */
}

static void an_opening_is_looked_at_in_time(void)
{
    start_both_watched();
    next_time = 0;
    for (unsigned int i = 3; i < 3 + 5; i++)
        steps[i] = it_slept_so_long;
    steps[8] = stops;
    (void)run();
    CU_ASSERT_EQUAL(next_time, 5);
}

/* ---- What else the loop hears ---- */

static void nothing_is_there_to_receive(void)
{
    fail_once("recvmsg", EAGAIN, 0);
    keeper_pings();
}

static void the_keeper_is_answered(void)
{
    CU_ASSERT_PTR_NULL(failing.call);
    CU_ASSERT_TRUE(keeper_gets(MSG_PONG));
}

static void an_event_without_a_message_is_none(void)
{
    start_both_watched();
    steps[3] = nothing_is_there_to_receive;
    steps[4] = the_keeper_is_answered;
    steps[5] = stops;
    (void)run();
    CU_ASSERT_FALSE(supervisor.abandoned);
}

static void lines_get_lost(void)
{
    lines_are_lost = true;
    keeper_pings(); /* a turn */
}

static void it_looks_again_soon(void)
{
    CU_ASSERT_EQUAL(slept, LOG_RETRY_MS);
    opening_next = now_ms + 1 + 30;
    keeper_pings(); /* a turn */
}

static void or_sooner(void)
{
    CU_ASSERT_EQUAL(slept, 30);
}

static void lost_lines_are_told_as_soon_as_there_is_room(void)
{
    start_both_watched();
    steps[3] = lines_get_lost;
    steps[4] = it_looks_again_soon;
    steps[5] = or_sooner;
    steps[6] = stops;
    (void)run();
}

static int64_t entropy_times[] = {0, 1, 2100900, 2100990};
static unsigned int entropy_time;

static void entropy_comes(void)
{
    entropy_took = entropy_times[entropy_time++];
    CU_ASSERT_TRUE(eventfd_signal(supervisor.report));
}

static void how_long_entropy_took_is_told(void)
{
    start_both_watched();
    entropy_time = 0;
    for (unsigned int i = 3; i < 3 + 4; i++)
        steps[i] = entropy_comes;
    steps[7] = stops;
    (void)run();
#define READY "bao-virtio-dm: the kernel's random generator is ready, after "
    const char *told = strstr(said.text, READY);
    CU_ASSERT_PTR_NOT_NULL_FATAL(told);
    CU_ASSERT_STRING_EQUAL(told, READY "0.0 s\n" READY "2100.9 s\n" READY "2100.9 s\n");
}

/* ---- Clients of the control socket ---- */

static void a_client_comes(void)
{
    accept_result = (int)client_number;
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
    CU_ASSERT_EQUAL(accepts, 2);
    (void)eventfd_drain(supervisor.control.listener); /* they have gone */
    now_ms += slept;
}

static void nobody_waits_any_more(void)
{
    CU_ASSERT_EQUAL(accepts, 2);
    CU_ASSERT_EQUAL(supervisor.control_at, 0);
    CU_ASSERT(slept > 1000);
}

static void clients_are_served_and_too_many_wait(void)
{
    start_both_watched();
    steps[3] = a_client_comes;
    steps[4] = it_is_accepted_and_asks;
    steps[5] = it_is_served;
    steps[6] = too_many_come;
    steps[7] = they_wait;
    steps[8] = and_come_again;
    steps[9] = nobody_waits_any_more;
    steps[10] = stops;
    (void)run();
}

static void the_first_client_is_served(void)
{
    client_number = 0;
    start_both_watched();
    steps[3] = a_client_comes;
    steps[4] = it_is_accepted_and_asks;
    steps[5] = it_is_served;
    steps[6] = stops;
    (void)run();
    client_number = 1;
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
    start_both_watched();
    steps[3] = a_client_can_t_be_watched;
    steps[4] = it_is_dropped;
    steps[5] = stops;
    (void)run();
}

static void nothing_is_to_do(void)
{
    CU_ASSERT_EQUAL(watch_count, 4 + 2); /* and the workers */
    keeper_pings();                      /* a turn */
}

static void nothing_is_watched_again(void)
{
    start_both_watched();
    steps[3] = nothing_is_to_do;
    steps[4] = nothing_is_to_do;
    steps[5] = stops;
    (void)run();
    CU_ASSERT_EQUAL(watch_count, 4 + 2);
}

int main(int argc, char **argv)
{
    CU_TestInfo beginning[] = {
        {"all sources are watched", all_sources_are_watched},
        {"what can't be watched", what_can_t_be_watched_at_the_start_is_an_error},
        {"what is not there", what_is_not_there_is_not_watched},
        {"each file may have the number 0", each_file_may_have_the_number_0},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo openers[] = {
        {"a device waits for its opener", a_device_waits_for_its_opener},
        {"an opener's socket may have the number 0", an_opener_s_socket_may_have_the_number_0},
        {"an opening is looked at in time", an_opening_is_looked_at_in_time},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo others[] = {
        {"an event without a message", an_event_without_a_message_is_none},
        {"lost lines are told", lost_lines_are_told_as_soon_as_there_is_room},
        {"how long entropy took", how_long_entropy_took_is_told},
        {"clients are served", clients_are_served_and_too_many_wait},
        {"the first client is served", the_first_client_is_served},
        {"a client that can't be watched", a_client_that_can_t_be_watched_is_dropped},
        {"nothing is watched again", nothing_is_watched_again},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"start", NULL, NULL, NULL, NULL, beginning},
        {"openers", NULL, NULL, NULL, NULL, openers},
        {"others", NULL, NULL, NULL, NULL, others},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
