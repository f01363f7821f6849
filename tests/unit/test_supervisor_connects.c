/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's loop starts the process that connects to a device's sockets, and hears it. It hears
 * workers, and serves their connections while they are ready. Keeper, workers and connectors are
 * this test; time passes only when it says so.
 */
#include "tests/unit/supervisor_watched.h"

static void logged(const char *words)
{
    if (!strstr(said.text, words))
        CU_FAIL(words);
}

/* ---- Connectors ---- */

static int process; /* the connector's end */

static uint32_t files_of(const struct device_config *of)
{
    return of == &config.devices[0] ? 1u << OPENED_DIRECTORY : 0;
}

static void begin_with_connector(void)
{
    make_all();
    ops.files = files_of;
    process = -1;
    CU_ASSERT_EQUAL(init(), 0);
}

static void run_with_connector(void)
{
    int status = supervisor_run(&supervisor);
    CU_ASSERT_EQUAL(status, EXIT_SUCCESS);
    CU_ASSERT_PTR_NULL(steps[step]); /* each step was done */
    if (process >= 0)
        close(process);
    if (devices[0].backend.connector.socket >= 0)
        close(devices[0].backend.connector.socket);
    end();
}

static void keeper_starts_a_connector(void)
{
    if (process >= 0)
        close(process);
    CU_ASSERT_TRUE_FATAL(keeper_gets(MSG_CONNECTOR));
    CU_ASSERT_EQUAL(message.header.device, 4); /* its id */
    CU_ASSERT_EQUAL_FATAL(got_count, 1);
    process = got[0];
}

static void a_connector_is_started(void)
{
    struct connector *connector = &devices[0].backend.connector;
    const struct connector_request request = {.type = SOCK_STREAM};
    union message asked = {0};
    keeper_starts_a_connector();
    both_are_started();
    CU_ASSERT(connector->socket >= 0);
    CU_ASSERT_EQUAL(watched_as(connector->socket), EVENT_CONNECTOR_FIRST);
    CU_ASSERT_EQUAL(fcntl(connector->socket, F_GETFD), FD_CLOEXEC);
    CU_ASSERT_NOT_EQUAL(fcntl(connector->socket, F_GETFL) & O_NONBLOCK, 0);
    CU_ASSERT_EQUAL(connector_ask(connector, &request), 0);
    CU_ASSERT_EQUAL(message_receive(process, ROLE_BROKER, &asked, got, &got_count), 1);
    CU_ASSERT_EQUAL(asked.header.type, MSG_CONNECT_TO);
}

static void it_answers_a_worker_s_question(void)
{
    union message answer = {.connected = {.header = {.type = MSG_CONNECTED}, .error = ENOENT}};
    CU_ASSERT_EQUAL(message_send(process, &answer, NULL, 0), 0);
}

static void another_is_not_started(void)
{
    CU_ASSERT_TRUE(keeper_has_nothing());
    CU_ASSERT_TRUE(connector_answered(&devices[0].backend.connector));
}

static void one_connector_is_started_and_heard(void)
{
    begin_with_connector();
    steps[0] = a_connector_is_started;
    steps[1] = both_are_ready;
    steps[2] = all_is_well;
    steps[3] = it_answers_a_worker_s_question;
    steps[4] = another_is_not_started;
    steps[5] = stops;
    run_with_connector();
    CU_ASSERT_PTR_NULL(strstr(said.text, "has ended"));
}

/* The first worker is not there: its backend waits for the connector. */
static void the_backend_waits(void)
{
    a_connector_is_started();
    supervision_close_socket(&devices[0].worker);
    devices[0].worker.phase = WORKER_DUE;
    devices[0].worker.when = INT64_MAX;
    devices[1].worker.phase = WORKER_ENDING;
    keeper_pings(); /* a turn */
}

static void it_is_answered(void)
{
    CU_ASSERT_TRUE(keeper_gets(MSG_PONG));
    CU_ASSERT_TRUE(keeper_has_nothing());
    CU_ASSERT_EQUAL(slept, -1);
    it_answers_a_worker_s_question();
}

static void it_goes_on(void)
{
    CU_ASSERT_TRUE(keeper_gets(MSG_SPAWN));
    CU_ASSERT_EQUAL(message.header.device, 0);
    close(got[0]);
}

static void a_backend_goes_on_when_its_connector_answers(void)
{
    begin_with_connector();
    steps[0] = the_backend_waits;
    steps[1] = it_is_answered;
    steps[2] = it_goes_on;
    steps[3] = stops;
    run_with_connector();
}

static void it_has_nothing_to_answer_and_ends(void)
{
    keeper_starts_a_connector();
    both_are_started();
    close(process);
    process = -1;
    supervision_close_socket(&devices[0].worker);
    devices[0].worker.phase = WORKER_DUE;
    devices[0].worker.when = INT64_MAX;
    now_ms += 400;
}

static void it_is_not_started_at_once(void)
{
    CU_ASSERT_EQUAL(devices[0].backend.connector.socket, -1);
    CU_ASSERT_TRUE(keeper_has_nothing());
    CU_ASSERT_EQUAL(slept, 600);
    now_ms += slept;
}

static void another_is_started_after_a_second(void)
{
    begin_with_connector();
    steps[0] = it_has_nothing_to_answer_and_ends;
    steps[1] = it_is_not_started_at_once;
    steps[2] = keeper_starts_a_connector;
    steps[3] = stops;
    run_with_connector();
    CU_ASSERT_STRING_EQUAL(said.text,
                           "bao-virtio-dm: rng 4: the process that connects to its sockets has "
                           "ended, or has to end first: another is started\n");
}

static void there_is_no_connector(void)
{
    both_are_started(); /* that is all that the keeper gets */
    CU_ASSERT_EQUAL(devices[0].backend.connector.socket, -1);
    devices[0].opening.unkept = false;
}

static void now_there_is_one(void)
{
    CU_ASSERT_TRUE(keeper_gets(MSG_PONG));
    keeper_starts_a_connector();
}

/* It gets the directory from the keeper. */
static void a_connector_waits_until_the_keeper_has_the_directory(void)
{
    begin_with_connector();
    devices[0].opening.unkept = true;
    steps[0] = there_is_no_connector;
    steps[1] = keeper_starts_a_connector;
    steps[2] = stops;
    run_with_connector();
}

static void only_the_other_is_started(void)
{
    CU_ASSERT_TRUE(keeper_gets(MSG_SPAWN));
    CU_ASSERT_EQUAL(message.header.device, 1);
    close(got[0]);
    CU_ASSERT_TRUE(keeper_has_nothing());
    devices[0].opening.phase = OPENING_DONE;
    keeper_pings(); /* a turn */
}

static void a_connector_waits_for_the_opener(void)
{
    begin_with_connector();
    devices[0].opening.phase = OPENING_RUNS;
    steps[0] = only_the_other_is_started;
    steps[1] = now_there_is_one;
    steps[2] = stops;
    run_with_connector();
}

static bool keeper_was_told;

static void it_has_failed(void)
{
    if (keeper_was_told)
        keeper_starts_a_connector();
    keeper_starts_both();
    CU_ASSERT_PTR_NULL(failing.call);
    CU_ASSERT_EQUAL(devices[0].backend.connector.socket, -1);
    CU_ASSERT_EQUAL(slept, 1000);
    now_ms += slept;
}

static void one_that_can_t_be_started_is_tried_again(void)
{
    static const char *const calls[] = {"socketpair", "sendmsg", "epoll_ctl"};
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        begin_with_connector();
        keeper_was_told = i == 2;
        fail_once(calls[i], ENOBUFS, 0);
        steps[0] = it_has_failed;
        steps[1] = keeper_starts_a_connector;
        steps[2] = stops;
        run_with_connector();
    }
}

static void it_has_the_number_0(void)
{
    CU_ASSERT_EQUAL(devices[0].backend.connector.socket, 0);
    a_connector_is_started();
}

static void it_is_heard_all_the_same(void)
{
    another_is_not_started();
    give_0(&devices[0].backend.connector.socket);
}

static void a_connector_s_socket_may_have_the_number_0(void)
{
    begin_with_connector();
    gives_0 = "socketpair";
    steps[0] = it_has_the_number_0;
    steps[1] = both_are_ready;
    steps[2] = all_is_well; /* no other one is started, or waited for */
    steps[3] = it_answers_a_worker_s_question;
    steps[4] = it_is_heard_all_the_same;
    steps[5] = stops;
    run_with_connector();
}

/* ---- Workers ---- */

static void none_is_served_yet(void)
{
    both_are_started();
    CU_ASSERT_EQUAL(served[0] + served[1], 0);
}

static void both_are_served(void)
{
    CU_ASSERT(served[0] > 0 && served[1] > 0);
    CU_ASSERT_EQUAL(slept, ALIVE_MS);
    serve_next = now_ms + 1 + 40;
    keeper_pings(); /* a turn */
}

static void it_does_not_take_them(void)
{
    CU_ASSERT_EQUAL(slept, 40);
    CU_ASSERT_TRUE(keeper_gets(MSG_PONG));
    serve_wrong = "it does not take them";
    keeper_pings(); /* a turn */
}

static void that_one_is_ended(void)
{
    CU_ASSERT_TRUE(keeper_gets(MSG_PONG));
    CU_ASSERT_TRUE(keeper_gets(MSG_KILL));
    CU_ASSERT_EQUAL(message.header.device, 0);
    CU_ASSERT_TRUE(keeper_has_nothing());
    CU_ASSERT_EQUAL(devices[1].worker.phase, WORKER_READY);
}

static void connections_are_served_while_a_worker_is_ready(void)
{
    start_both_watched();
    steps[0] = none_is_served_yet;
    steps[2] = both_are_served;
    steps[3] = it_does_not_take_them;
    steps[4] = that_one_is_ended;
    steps[5] = stops;
    (void)run();
    logged("rng 4: worker 4710 is ended: it does not take them\n");
}

static int listener;

static void a_client_of_the_first_comes(void)
{
    devices[0].worker.clients_wait = devices[1].worker.clients_wait = false;
    CU_ASSERT_TRUE(eventfd_signal(listener));
}

static void it_waits_for_its_worker(void)
{
    CU_ASSERT_TRUE(devices[0].worker.clients_wait);
    CU_ASSERT_FALSE(devices[1].worker.clients_wait);
}

static void a_client_waits_for_the_worker_of_its_device(void)
{
    make_all();
    listener = devices[0].backend.files[OPENED_LISTENER_FIRST] = new_eventfd();
    CU_ASSERT_EQUAL(init(), 0);
    steps[0] = both_are_started;
    steps[1] = both_are_ready;
    steps[2] = a_client_of_the_first_comes;
    steps[3] = it_waits_for_its_worker;
    steps[4] = stops;
    int status = supervisor_run(&supervisor);
    CU_ASSERT_EQUAL(status, EXIT_SUCCESS);
    CU_ASSERT_EQUAL(step, 5);
    close(listener);
    end();
}

static void it_was_left_unread(void)
{
    devices[0].worker.left_unread = true;
    devices[0].worker.connections = (struct pace){.at = now_ms + 1, .done = 8};
    keeper_pings(); /* a turn */
}

static void it_is_too_early(void)
{
    CU_ASSERT_EQUAL(slept, 1);
    CU_ASSERT_TRUE(devices[0].worker.left_unread);
    now_ms++;
}

static void it_is_read_again(void)
{
    CU_ASSERT_FALSE(devices[0].worker.left_unread);
    CU_ASSERT_EQUAL(slept, ALIVE_MS - 1);
}

static void what_was_left_unread_is_read_in_the_next_millisecond(void)
{
    start_both_watched();
    steps[3] = it_was_left_unread;
    steps[4] = it_is_too_early;
    steps[5] = it_is_read_again;
    steps[6] = stops;
    (void)run();
}

static int awaited;

static void the_backend_of_the_first_waits(void)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u32 = EVENT_BACKEND_FIRST};
    both_are_started();
    supervision_close_socket(&devices[0].worker);
    devices[0].worker.phase = WORKER_DUE;
    devices[0].worker.when = INT64_MAX;
    CU_ASSERT_EQUAL(epoll_ctl(supervisor.epoll, EPOLL_CTL_ADD, awaited, &event), 0);
    CU_ASSERT_TRUE(eventfd_signal(awaited));
}

static void what_a_backend_waits_for_comes(void)
{
    start_both_watched();
    awaited = new_eventfd();
    steps[0] = the_backend_of_the_first_waits;
    steps[1] = it_goes_on;
    steps[2] = stops;
    (void)supervisor_run(&supervisor);
    CU_ASSERT_EQUAL(step, 3);
    close(awaited);
    end();
}

static void the_first_can_t_be_watched(void)
{
    fail_once("epoll_ctl", ENOSPC, 0);
    both_are_started();
}

static void it_is_ended_at_once(void)
{
    CU_ASSERT_TRUE(keeper_gets(MSG_KILL));
    CU_ASSERT_EQUAL(message.header.device, 0);
    CU_ASSERT_TRUE(keeper_has_nothing());
    CU_ASSERT_EQUAL(devices[1].worker.phase, WORKER_STARTING);
}

static void a_worker_that_can_t_be_watched_is_ended(void)
{
    start_both_watched();
    steps[0] = the_first_can_t_be_watched;
    steps[1] = it_is_ended_at_once;
    steps[2] = stops;
    (void)run();
    logged("rng 4: worker 4710 is ended: its socket can't be watched\n");
}

static void the_first_worker_is_watched_as_0(void)
{
    CU_ASSERT_EQUAL(devices[0].worker.socket, 0);
    CU_ASSERT_EQUAL(watched_as(0), EVENT_WORKER_FIRST);
    give_0(&devices[0].worker.socket);
}

static void a_worker_s_socket_may_have_the_number_0(void)
{
    start_both_watched();
    gives_0 = "socketpair";
    steps[1] = the_first_worker_is_watched_as_0;
    steps[2] = stops;
    (void)run();
}

int main(int argc, char **argv)
{
    CU_TestInfo connectors[] = {
        {"one connector is started and heard", one_connector_is_started_and_heard},
        {"a backend goes on", a_backend_goes_on_when_its_connector_answers},
        {"another is started after a second", another_is_started_after_a_second},
        {"it waits for the keeper", a_connector_waits_until_the_keeper_has_the_directory},
        {"it waits for the opener", a_connector_waits_for_the_opener},
        {"one that can't be started", one_that_can_t_be_started_is_tried_again},
        {"a connector's socket may have the number 0", a_connector_s_socket_may_have_the_number_0},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo of_workers[] = {
        {"connections are served", connections_are_served_while_a_worker_is_ready},
        {"a client waits", a_client_waits_for_the_worker_of_its_device},
        {"what was left unread", what_was_left_unread_is_read_in_the_next_millisecond},
        {"what a backend waits for", what_a_backend_waits_for_comes},
        {"one that can't be watched", a_worker_that_can_t_be_watched_is_ended},
        {"a worker's socket may have the number 0", a_worker_s_socket_may_have_the_number_0},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"connectors", NULL, NULL, NULL, NULL, connectors},
        {"workers", NULL, NULL, NULL, NULL, of_workers},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
