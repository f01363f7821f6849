/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the broker starts a worker, what it believes of what the worker says, and how it ends one. A
 * worker that says what it must not is ended, whatever it is. The keeper and the worker are this
 * test; time passes only when it says so.
 */
#include "tests/unit/workers_under_test.h"

/* ---- The backend ---- */

static void a_backend_s_news_are_told_once(void)
{
    begin();
    CU_ASSERT_FALSE(supervision_look_at_backend(&device)); /* its kind has none */
    CU_ASSERT_EQUAL(state.backend.changes, 0);
    ops.worker_looks = true;
    CU_ASSERT_TRUE(supervision_look_at_backend(&device));
    CU_ASSERT_EQUAL(state.backend.changes, 1);
    ops.worker_looks = false;
    ops.look = look;
    CU_ASSERT_FALSE(supervision_look_at_backend(&device));
    look_says = look_has_news = true;
    CU_ASSERT_TRUE(supervision_look_at_backend(&device));
    CU_ASSERT_EQUAL(state.backend.changes, 2);
    look_has_news = false;
    CU_ASSERT_TRUE(supervision_look_at_backend(&device));
    strcpy(device.backend.news.text, "x"); /* short ones, too */
    CU_ASSERT_TRUE(supervision_look_at_backend(&device));
    CU_ASSERT_STRING_EQUAL(end(), "bao-virtio-dm: rng 5: there are news\n"
                                  "bao-virtio-dm: rng 5: x\n");
}

static void a_backend_that_waits_is_watched(void)
{
    begin();
    CU_ASSERT_TRUE(supervision_prepare_backend(&supervisor, &device)); /* it needs none */
    ops.prepare = prepare;
    CU_ASSERT_TRUE(supervision_prepare_backend(&supervisor, &device));
    prepare_result = -EINPROGRESS;
    prepare_wait = (struct backend_wait){.fd = device.irq, .until = 12345};
    strcpy(prepare_wait.news.text, "x");
    CU_ASSERT_FALSE(supervision_prepare_backend(&supervisor, &device));
    CU_ASSERT_EQUAL(device.worker.when, 12345);
    CU_ASSERT_EQUAL(device.backend_watched, device.irq);
    struct epoll_event event = {0};
    CU_ASSERT_EQUAL(epoll_wait(supervisor.epoll, &event, 1, 0), 0);
    eventfd_signal(device.irq);
    CU_ASSERT_EQUAL(epoll_wait(supervisor.epoll, &event, 1, 0), 1);
    CU_ASSERT_EQUAL(event.data.u32, EVENT_BACKEND_FIRST + 2u);
    prepare_wait.fd = -1;
    prepare_wait.news.text[0] = '\0';
    CU_ASSERT_FALSE(supervision_prepare_backend(&supervisor, &device));
    CU_ASSERT_EQUAL(device.backend_watched, -1);
    CU_ASSERT_EQUAL(epoll_wait(supervisor.epoll, &event, 1, 0), 0);
    prepare_wait.fd = 9999; /* it can't be watched: the time is left */
    CU_ASSERT_FALSE(supervision_prepare_backend(&supervisor, &device));
    CU_ASSERT_EQUAL(device.backend_watched, -1);
    CU_ASSERT_STRING_EQUAL(end(), "bao-virtio-dm: rng 5: x\n");
}

static void what_it_waits_for_may_have_the_number_0(void)
{
    begin();
    free_0();
    int awaited = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    CU_ASSERT_EQUAL_FATAL(awaited, 0);
    ops.prepare = prepare;
    prepare_result = -EINPROGRESS;
    prepare_wait = (struct backend_wait){.fd = awaited, .until = 12345};
    struct epoll_event event = {0};
    for (unsigned int i = 0; i < 2; i++) {
        CU_ASSERT_FALSE(supervision_prepare_backend(&supervisor, &device));
        CU_ASSERT_EQUAL(device.backend_watched, 0);
        CU_ASSERT_EQUAL(epoll_wait(supervisor.epoll, &event, 1, 0), 1);
    }
    prepare_wait.fd = -1;
    CU_ASSERT_FALSE(supervision_prepare_backend(&supervisor, &device));
    CU_ASSERT_EQUAL(epoll_wait(supervisor.epoll, &event, 1, 0), 0);
    take_0_back();
    (void)end();
    begin();
    free_0();
    device.worker.socket = eventfd(0, EFD_CLOEXEC);
    supervision_close_socket(&device.worker);
    CU_ASSERT_TRUE(fcntl(0, F_GETFD) < 0);
    CU_ASSERT_EQUAL(device.worker.socket, -1);
    take_0_back();
    (void)end();
}

/* ---- What a worker says ---- */

static void a_worker_that_is_ready_serves(void)
{
    begin();
    start();
    device.worker.connects = 3;
    device.worker.no_room_since = 4;
    device.worker.outage_logged = true;
    device.worker.messages = (struct rate_limit){.spent = 500, .refilled_at = now_ms + 8};
    device.backend.client = dup(device.dm);
    atomic_store(&device.relay.given_up, 6);
    now_ms += 7;
    says(ready());
    supervision_receive(&supervisor, &device);
    CU_ASSERT_EQUAL(device.worker.phase, WORKER_READY);
    CU_ASSERT_EQUAL(device.worker.start_ms, 8);
    CU_ASSERT_EQUAL(device.worker.layers, (1u << LAYER_COUNT) - 1);
    CU_ASSERT_EQUAL(device.worker.connects, 0);
    CU_ASSERT_EQUAL(device.worker.no_room_since, 0);
    CU_ASSERT_FALSE(device.worker.outage_logged);
    CU_ASSERT_EQUAL(device.worker.messages.spent, 0); /* that was the last one's share */
    CU_ASSERT_TRUE(device.worker.clients_wait);
    CU_ASSERT_EQUAL(device.worker.alive.when, now_ms + 1 + ALIVE_MS);
    CU_ASSERT_EQUAL(atomic_load(&device.relay.given_up), 0);
    CU_ASSERT_EQUAL(atomic_load(&device.relay.ready), device.worker.incarnation + 1);
    CU_ASSERT_TRUE(receive(worker)); /* its predecessor's client */
    CU_ASSERT_EQUAL(message.header.type, MSG_CONNECTION);
    close_got();
    CU_ASSERT_FALSE(keeper_kills());
    (void)end();
    CU_ASSERT_STRING_EQUAL(
        said.text,
        "bao-virtio-dm: rng 5: worker 4711 ready, confined by: fds, uid, capabilities, "
        "no_new_privs, empty root, seccomp, namespaces, session, rlimits, not dumpable, keyring, "
        "user namespace, landlock, mdwe\n"
        "bao-virtio-dm: rng 5: register accesses answered without a worker: 6 in all\n");
}

static void what_is_not_available_is_told_once(void)
{
    begin();
    start();
    for (unsigned int i = 0; i < 3; i++) {
        union message it = ready();
        if (i < 2)
            it.ready.layers &= ~(1u << LAYER_MDWE);
        device.worker.phase = WORKER_STARTING;
        says(it);
        supervision_receive(&supervisor, &device);
    }
    (void)end();
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "user namespace, landlock; not available: mdwe\n"
                                             "bao-virtio-dm: rng 5: worker 4711 ready\n"));
    const size_t length = strlen(said.text), last = strlen("user namespace, landlock, mdwe\n");
    CU_ASSERT_FATAL(length > last);
    CU_ASSERT_STRING_EQUAL(said.text + length - last, "user namespace, landlock, mdwe\n");
}

/* One access is as bad as many. */
static void a_single_access_without_a_worker_is_told(void)
{
    begin();
    start();
    atomic_store(&device.relay.given_up, 1);
    says(ready());
    supervision_receive(&supervisor, &device);
    (void)end();
    CU_ASSERT_PTR_NOT_NULL(
        strstr(said.text, "rng 5: register accesses answered without a worker: 1 in all\n"));
}

static void a_worker_that_is_not_confined_is_ended(void)
{
    for (unsigned int layer = 0; layer < LAYER_COUNT; layer++) {
        if ((words_core_layers() & 1u << layer) == 0)
            continue;
#ifdef BVDM_SANITIZE
        if (layer == LAYER_SECCOMP || layer == LAYER_RLIMITS)
            continue;
#endif
        begin();
        start();
        union message it = ready();
        it.ready.layers &= ~(1u << layer);
        says(it);
        supervision_receive(&supervisor, &device);
        is_ended("it is not confined by every layer that it must be confined by");
    }
    begin();
    union message it = ready();
    (void)end();
    it.ready.fd_count++;
    says_what_ends_it(it, "it has not the files that it must have");
    started_and_ready();
    says(ready());
    supervision_receive(&supervisor, &device);
    is_ended("it says READY again");
}

static union message log_of(uint32_t code, uint32_t suppressed)
{
    return (union message){.log = {.header = {.type = MSG_LOG},
                                   .code = code,
                                   .suppressed = suppressed,
                                   .args = {1, 2, 3, 4}}};
}

static uint32_t trouble_code(void)
{
    uint32_t code = 0;
    while (words_log_level(code) > LOG_LEVEL_WARNING)
        code++;
    return code;
}

static void what_it_says_is_in_the_list(void)
{
    char text[WORDS_SIZE], expected[2 * WORDS_SIZE + 64];
    const uint64_t args[4] = {1, 2, 3, 4};
    uint32_t code = 0;
    while (words_log_level(code) > LOG_LEVEL_INFO)
        code++;
    (void)words_log(code, args, text);
    started_and_ready();
    says(log_of(code, 0));
    says(log_of(code, 1));
    supervision_receive(&supervisor, &device);
    CU_ASSERT_EQUAL(device.worker.phase, WORKER_READY);
    (void)end();
    snprintf(expected, sizeof(expected),
             "rng 5: %s\nbao-virtio-dm: rng 5: %s (and 1 more like it)\n", text, text);
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, expected));
    says_what_ends_it(log_of(LOG_CODE_COUNT, 0), "it says what is not in the list of messages");
}

/* For the journal's fields. */
static void a_line_tells_where_it_comes_from(void)
{
    unsigned int told = 0;
    for (uint32_t code = 0; code < LOG_CODE_COUNT; code++) {
        if (words_log_level(code) > LOG_LEVEL_INFO)
            continue;
        started_and_ready();
        says(log_of(code, 0));
        supervision_receive(&supervisor, &device);
        CU_ASSERT_EQUAL(logged.level, words_log_level(code));
        CU_ASSERT_STRING_EQUAL(logged.source.device, "rng 5");
        CU_ASSERT_EQUAL(logged.source.worker, 4711);
        CU_ASSERT_PTR_NOT_NULL_FATAL(logged.source.code);
        CU_ASSERT_STRING_EQUAL(logged.source.code, words_log_code(code));
        supervision_log(&device, LOG_LEVEL_INFO, "of the broker");
        CU_ASSERT_EQUAL(logged.level, LOG_LEVEL_INFO);
        CU_ASSERT_PTR_NULL(logged.source.code);
        (void)end();
        told++;
    }
    CU_ASSERT(told > 0);
}

static void a_step_that_failed_is_told(void)
{
    const union message failed = {
        .failed = {.header = {.type = MSG_FAILED}, .step = STEP_SESSION, .error = EPERM}};
    begin();
    start();
    says(failed);
    supervision_receive(&supervisor, &device);
    CU_ASSERT_EQUAL(device.worker.phase, WORKER_STARTING);
    CU_ASSERT_STRING_EQUAL(end(), "bao-virtio-dm: rng 5: worker failed to become a session of its "
                                  "own: Operation not permitted\n");
    union message wrong = failed;
    wrong.failed.step = STEP_COUNT;
    says_what_ends_it(wrong, "it reports a failure that it can't have");
    started_and_ready();
    says(failed);
    supervision_receive(&supervisor, &device);
    is_ended("it reports a failure that it can't have");
}

static void what_is_not_a_worker_s_message_ends_it(void)
{
    begin();
    start();
    CU_ASSERT_EQUAL(send(worker, "x", 1, 0), 1);
    supervision_receive(&supervisor, &device);
    CU_ASSERT_EQUAL(device.worker.socket, -1);
    is_ended("it sends what is not a message");
    const union message connect = {.connect = {.header = {.type = MSG_CONNECT}}};
    says_what_ends_it(connect, "it asks for a connection that it can't have");
}

static void the_end_of_its_socket_is_its_end(void)
{
    begin();
    start();
    close(worker);
    worker = -1;
    supervision_receive(&supervisor, &device);
    CU_ASSERT_EQUAL(device.worker.phase, WORKER_ENDING);
    CU_ASSERT_EQUAL(device.worker.socket, -1);
    CU_ASSERT_FALSE(device.worker.judged); /* the keeper says how it died */
    CU_ASSERT_TRUE(keeper_kills());
    CU_ASSERT_STRING_EQUAL(end(), "");
}

static void one_that_ends_is_not_heard(void)
{
    started_and_ready();
    device.worker.phase = WORKER_ENDING;
    logged.level = LOG_LEVEL_DEBUG;
    says(ready());
    says(log_of(trouble_code(), 0));
    says(log_of(LOG_CODE_COUNT, 0));
    CU_ASSERT_EQUAL(send(worker, "x", 1, 0), 1);
    supervision_receive(&supervisor, &device);
    CU_ASSERT_EQUAL(logged.level, LOG_LEVEL_DEBUG); /* nothing was logged */
    CU_ASSERT_FALSE(keeper_kills());
    CU_ASSERT_EQUAL(device.worker.socket, -1);
    (void)end();
    CU_ASSERT_PTR_NULL(strstr(said.text, "is ended"));
}

/* ---- How much it may say ---- */

static unsigned int unread(void)
{
    unsigned int count = 0;
    int none[MESSAGE_FDS_MAX];
    size_t none_count;
    while (message_receive(device.worker.socket, ROLE_WORKER, &message, none, &none_count) == 1)
        count++;
    return count;
}

static void others_have_their_turn(void)
{
    started_and_ready();
    for (unsigned int i = 0; i < 40; i++)
        says(log_of(0, 0));
    supervision_receive(&supervisor, &device);
    CU_ASSERT_EQUAL(unread(), 8);
    CU_ASSERT_FALSE(device.worker.left_unread);
    (void)end();
}

static void more_messages_than_any_worker_has_to_send_end_it(void)
{
    started_and_ready();
    for (unsigned int i = 0; i < 1100 && device.worker.phase == WORKER_READY; i++) {
        says(log_of(0, 0));
        supervision_receive(&supervisor, &device);
        CU_ASSERT(device.worker.phase == WORKER_READY || i >= 1000);
    }
    is_ended("it sends more messages than any worker has to");
}

static void its_log_lines_are_limited(void)
{
    const uint32_t trouble = trouble_code();
    uint32_t news = 0;
    while (words_log_level(news) != LOG_LEVEL_INFO && news < LOG_CODE_COUNT)
        news++;
    started_and_ready();
    for (unsigned int i = 0; i < RATE_LIMIT_BURST + 1; i++) {
        says(log_of(trouble, 0));
        supervision_receive(&supervisor, &device);
    }
    if (news < LOG_CODE_COUNT) { /* they have a share of their own */
        says(log_of(news, 0));
        supervision_receive(&supervisor, &device);
    }
    supervision_log(&device, LOG_LEVEL_DEBUG, "a debug line"); /* these are not logged */
    now_ms += RATE_LIMIT_INTERVAL_MS;
    supervision_log(&device, LOG_LEVEL_WARNING, "the last line");
    (void)end();
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "rng 5: the last line (after 1 messages left out)\n"));
    CU_ASSERT_PTR_NULL(strstr(said.text, "debug"));
    unsigned int lines = 0;
    for (const char *at = said.text; (at = strchr(at, '\n')); at++)
        lines++;
    CU_ASSERT_EQUAL(lines, 1 + RATE_LIMIT_BURST + (news < LOG_CODE_COUNT) + 1);
}

static int address(const struct backend *backend, uint32_t port, uint32_t type,
                   struct sockaddr_un *ret)
{
    (void)backend;
    (void)port;
    (void)type;
    (void)ret;
    return -EACCES; /* it is answered at once */
}

/* Its questions stay in its socket until the next millisecond. */
static void questions_wait_in_its_socket(void)
{
    const union message connect = {.connect = {.header = {.type = MSG_CONNECT}, .request = 1}};
    struct epoll_event event;
    started_and_ready();
    ops.address = address;
    for (unsigned int i = 0; i < 12; i++)
        says(connect);
    supervision_receive(&supervisor, &device);
    CU_ASSERT_EQUAL(device.worker.phase, WORKER_READY);
    CU_ASSERT_TRUE(device.worker.left_unread);
    CU_ASSERT_EQUAL(epoll_wait(supervisor.epoll, &event, 1, 0), 0);
    int64_t next = INT64_MAX;
    supervision_listen(&supervisor, &device, now_ms + 1, &next);
    CU_ASSERT_EQUAL(next, now_ms + 2);
    CU_ASSERT_TRUE(device.worker.left_unread);
    next = now_ms;
    supervision_listen(&supervisor, &device, now_ms + 1, &next);
    CU_ASSERT_EQUAL(next, now_ms);
    now_ms++;
    next = INT64_MAX;
    supervision_listen(&supervisor, &device, now_ms + 1, &next);
    CU_ASSERT_EQUAL(next, INT64_MAX);
    CU_ASSERT_FALSE(device.worker.left_unread);
    CU_ASSERT_EQUAL(epoll_wait(supervisor.epoll, &event, 1, 0), 1);
    CU_ASSERT_EQUAL(event.data.u32, EVENT_WORKER_FIRST + 2u);
    CU_ASSERT_EQUAL(event.events, EPOLLIN);
    /* Its share is used up, but it is heard already. */
    supervision_listen(&supervisor, &device, now_ms, &next);
    CU_ASSERT_EQUAL(next, INT64_MAX);
    CU_ASSERT_EQUAL(unread(), 4);
    (void)end();
}

static void used_up(void)
{
    const union message connect = {.connect = {.header = {.type = MSG_CONNECT}, .request = 1}};
    started_and_ready();
    ops.address = address;
    for (unsigned int i = 0; i < 9; i++)
        says(connect);
    supervision_receive(&supervisor, &device);
    CU_ASSERT_TRUE(device.worker.left_unread);
}

static void it_is_heard_again_in_the_next_millisecond(void)
{
    static const struct {
        int64_t before, after; /* from now */
    } rows[] = {{0, 0}, {1, 1}, {2, 1}, {3, 1}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        used_up();
        const int64_t now = now_ms + 1;
        int64_t next = now + rows[i].before;
        supervision_listen(&supervisor, &device, now, &next);
        CU_ASSERT_EQUAL(next, now + rows[i].after);
        (void)end();
    }
    used_up();
    supervision_close_socket(&device.worker); /* it has ended meanwhile */
    device.worker.left_unread = true;
    int64_t next = INT64_MAX;
    supervision_listen(&supervisor, &device, now_ms + 1, &next);
    CU_ASSERT_EQUAL(next, INT64_MAX);
    (void)end();
}

static void its_socket_may_have_the_number_0(void)
{
    used_up();
    int socket = device.worker.socket;
    free_0();
    device.worker.socket = fcntl(socket, F_DUPFD_CLOEXEC, 0);
    close(socket);
    CU_ASSERT_EQUAL_FATAL(device.worker.socket, 0);
    int64_t next = INT64_MAX;
    supervision_listen(&supervisor, &device, now_ms + 1, &next);
    CU_ASSERT_EQUAL(next, now_ms + 2);
    supervision_receive(&supervisor, &device); /* the ninth */
    CU_ASSERT_EQUAL(unread(), 0);
    device.worker.socket = -1;
    take_0_back();
    (void)end();
}

int main(int argc, char **argv)
{
    CU_TestInfo starting[] = {
        {"a worker gets all that it needs", a_worker_gets_all_that_it_needs},
        {"some files are kept and others borrowed", some_files_are_kept_and_others_borrowed},
        {"the size of queues", the_size_of_queues_is_the_kind_s_unless_it_is_given},
        {"its name comes with it", its_name_comes_with_it_and_nothing_else},
        {"a successor looks at everything", a_successor_looks_at_everything},
        {"one that can't be prepared is due again", one_that_can_t_be_prepared_is_due_again},
        {"the next one is due after a pause", the_next_one_is_due_after_a_pause},
        {"a start that takes long costs more", a_start_that_takes_long_costs_more},
        {"a restart is no death", a_restart_is_no_death},
        {"a backend's news are told once", a_backend_s_news_are_told_once},
        {"a backend that waits is watched", a_backend_that_waits_is_watched},
        {"what it waits for may have the number 0", what_it_waits_for_may_have_the_number_0},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo saying[] = {
        {"a worker that is ready serves", a_worker_that_is_ready_serves},
        {"what is not available is told once", what_is_not_available_is_told_once},
        {"a single access without a worker", a_single_access_without_a_worker_is_told},
        {"a worker that is not confined is ended", a_worker_that_is_not_confined_is_ended},
        {"what it says is in the list", what_it_says_is_in_the_list},
        {"a line tells where it comes from", a_line_tells_where_it_comes_from},
        {"a step that failed is told", a_step_that_failed_is_told},
        {"what is not a worker's message", what_is_not_a_worker_s_message_ends_it},
        {"the end of its socket is its end", the_end_of_its_socket_is_its_end},
        {"one that ends is not heard", one_that_ends_is_not_heard},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo much[] = {
        {"others have their turn", others_have_their_turn},
        {"more messages than it has to send", more_messages_than_any_worker_has_to_send_end_it},
        {"its log lines are limited", its_log_lines_are_limited},
        {"questions wait in its socket", questions_wait_in_its_socket},
        {"it is heard again", it_is_heard_again_in_the_next_millisecond},
        {"its socket may have the number 0", its_socket_may_have_the_number_0},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"starting", NULL, NULL, NULL, NULL, starting},
        {"saying", NULL, NULL, NULL, NULL, saying},
        {"how much", NULL, NULL, NULL, NULL, much},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
