/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the broker hands to a worker: clients of this machine, and answers of the connector. Each
 * arrives once, in order, and no file of it stays with the broker. However many come, and however
 * little the worker reads, their number is bounded.
 */
#include "tests/unit/connections_under_test.h"

/* ---- Listeners ---- */

static int listen_at(const char *name, struct sockaddr_un *ret)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(ret->sun_path + 1, sizeof(ret->sun_path) - 1, "bao-%d-%s", getpid(), name);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (const struct sockaddr *)ret, sizeof(*ret)), 0);
    CU_ASSERT_EQUAL_FATAL(listen(fd, 4), 0);
    return fd;
}

static void each_listener_tells_of_a_client_once(void)
{
    struct sockaddr_un addresses[BACKEND_LISTENERS];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    begin(false);
    CU_ASSERT_EQUAL(connections_watch(&device, epoll, 31), 0); /* there are none */
    for (unsigned int i = 0; i < BACKEND_LISTENERS; i++)
        device.backend.files[OPENED_LISTENER_FIRST + i] =
            listen_at(i == 0 ? "a" : "b", &addresses[i]);
    CU_ASSERT_EQUAL(connections_watch(&device, epoll, 31), 0);
    for (unsigned int i = 0; i < BACKEND_LISTENERS; i++) {
        struct epoll_event events[4] = {0};
        int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CU_ASSERT_EQUAL(epoll_wait(epoll, events, 4, 0), 0);
        CU_ASSERT_EQUAL(
            connect(client, (const struct sockaddr *)&addresses[i], sizeof(addresses[i])), 0);
        CU_ASSERT_EQUAL(epoll_wait(epoll, events, 4, 0), 1);
        CU_ASSERT_EQUAL(events[0].data.u32, 31);
        CU_ASSERT_EQUAL(events[0].events, EPOLLIN);
        CU_ASSERT_EQUAL(epoll_wait(epoll, events, 4, 0), 0);
        close(client);
    }
    CU_ASSERT_EQUAL(connections_watch(&device, epoll, 31), -EEXIST);
    for (unsigned int i = 0; i < BACKEND_LISTENERS; i++)
        close(device.backend.files[OPENED_LISTENER_FIRST + i]);
    end();
    close(epoll);
}

/* fd 0 is a file like any other. */
static void a_listener_may_have_any_number(void)
{
    struct sockaddr_un address;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int before = dup(STDIN_FILENO);
    begin(false);
    int listener = listen_at("zero", &address);
    CU_ASSERT_EQUAL(dup2(listener, 0), 0);
    device.backend.files[OPENED_LISTENER_FIRST + 1] = 0;
    CU_ASSERT_EQUAL(connections_watch(&device, epoll, 5), 0);
    CU_ASSERT_EQUAL(epoll_ctl(epoll, EPOLL_CTL_DEL, 0, NULL), 0);
    come(1, STDIN_FILENO, 1);
    CU_ASSERT_PTR_NULL(serve(NOW));
    CU_ASSERT_EQUAL(read_all(CONNECTION_FROM_HOST, 0, 0), 1);
    close(listener);
    CU_ASSERT_EQUAL(dup2(before, STDIN_FILENO), STDIN_FILENO);
    end();
    close(before);
    close(epoll);
}

/* ---- Clients ---- */

static void each_client_arrives_once(void)
{
    begin(true);
    come(0, 11, 2);
    come(1, 11, 1);
    CU_ASSERT_PTR_NULL(serve(NOW));
    CU_ASSERT_EQUAL(again, LATE);
    CU_ASSERT_FALSE(device.worker.clients_wait);
    CU_ASSERT_EQUAL(read_all(CONNECTION_FROM_HOST, 11, 0), 3);
    CU_ASSERT_EQUAL(device.backend.client, -1);
    CU_ASSERT_PTR_NULL(serve(NOW + 1));
    CU_ASSERT_EQUAL(read_all(CONNECTION_FROM_HOST, 11, 0), 0);
    end();
}

static void no_listener_is_asked_while_nothing_waits(void)
{
    begin(true);
    come(0, 11, 1);
    device.worker.clients_wait = false;
    CU_ASSERT_PTR_NULL(serve(NOW));
    CU_ASSERT_EQUAL(accepted[0], 0);
    device.worker.clients_wait = true;
    device.backend.files[OPENED_LISTENER_FIRST] = -1; /* there is no such listener */
    CU_ASSERT_PTR_NULL(serve(NOW));
    CU_ASSERT_EQUAL(accepted[0], 0);
    CU_ASSERT_FALSE(device.worker.clients_wait);
    end();
}

static void four_clients_in_a_millisecond(void)
{
    begin(true);
    come(0, 11, 3);
    come(1, 11, 6);
    CU_ASSERT_PTR_NULL(serve(NOW));
    CU_ASSERT_EQUAL(again, NOW + 1);
    CU_ASSERT_TRUE(device.worker.clients_wait);
    CU_ASSERT_EQUAL(read_all(CONNECTION_FROM_HOST, 11, 0), 4);
    CU_ASSERT_PTR_NULL(serve(NOW));
    CU_ASSERT_EQUAL(read_all(CONNECTION_FROM_HOST, 11, 0), 0);
    CU_ASSERT_PTR_NULL(serve(NOW + 1));
    CU_ASSERT_EQUAL(read_all(CONNECTION_FROM_HOST, 11, 0), 4);
    CU_ASSERT_PTR_NULL(serve(NOW + 2));
    CU_ASSERT_EQUAL(read_all(CONNECTION_FROM_HOST, 11, 0), 1);
    CU_ASSERT_EQUAL(again, LATE);
    CU_ASSERT_FALSE(device.worker.clients_wait);
    end();
}

/* An earlier time stays. */
static void the_time_is_only_lowered(void)
{
    begin(true);
    come(0, 11, 5);
    again = NOW;
    CU_ASSERT_PTR_NULL(connections_serve(&device, NOW, &again));
    CU_ASSERT_EQUAL(again, NOW);
    CU_ASSERT_EQUAL(read_all(CONNECTION_FROM_HOST, 11, 0), 4);
    end();
}

/* Those that are turned away take time as well. */
static void one_that_is_turned_away_counts(void)
{
    begin(true);
    come(0, -ECONNREFUSED, 3);
    come(0, 11, 2);
    CU_ASSERT_PTR_NULL(serve(NOW));
    CU_ASSERT_EQUAL(accepted[0], 4);
    CU_ASSERT_EQUAL(read_all(CONNECTION_FROM_HOST, 11, 0), 1);
    CU_ASSERT_EQUAL(again, NOW + 1);
    end();
}

static void a_listener_that_fails_is_left_alone(void)
{
    begin(true);
    come(0, -EBADF, 1);
    come(1, 11, 1);
    CU_ASSERT_PTR_NULL(serve(NOW));
    CU_ASSERT_EQUAL(accepted[0], 1);
    CU_ASSERT_EQUAL(read_all(CONNECTION_FROM_HOST, 11, 0), 1);
    CU_ASSERT_EQUAL(again, LATE);
    CU_ASSERT_FALSE(device.worker.clients_wait);
    end();
}

/* Its listener tells of a client only once. */
static void a_client_that_there_is_no_room_for_is_not_forgotten(void)
{
    static const int errors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        begin(true);
        come(0, -errors[i], 1);
        come(1, 11, 1);
        CU_ASSERT_PTR_NULL(serve(NOW));
        CU_ASSERT_EQUAL(again, NOW + 100);
        CU_ASSERT_TRUE(device.worker.clients_wait);
        CU_ASSERT_EQUAL(read_all(CONNECTION_FROM_HOST, 11, 0), 1);
        come(0, 11, 1);
        CU_ASSERT_PTR_NULL(serve(NOW + 100));
        CU_ASSERT_EQUAL(accepted[0], 2);
        CU_ASSERT_EQUAL(read_all(CONNECTION_FROM_HOST, 11, 0), 1);
        CU_ASSERT_FALSE(device.worker.clients_wait);
        end();
    }
}

static void what_is_unread_is_bounded(void)
{
    static const char words[] = "it does not take the connections that it is handed";
    begin(true);
    come(0, 11, 60);
    int64_t now = NOW;
    while (again != now + 10 && now < NOW + 100) { /* it looks again after a while */
        CU_ASSERT_PTR_NULL(serve(++now));
        CU_ASSERT_TRUE(device.worker.clients_wait);
    }
    CU_ASSERT(accepted[0] >= 8 && accepted[0] <= 33);
    const unsigned int before = accepted[0];
    CU_ASSERT_PTR_NULL(serve(now + ALIVE_MS - 1));
    CU_ASSERT_EQUAL(again, now + ALIVE_MS - 1 + 10);
    CU_ASSERT_STRING_EQUAL(serve(now + ALIVE_MS), words);
    CU_ASSERT_EQUAL(accepted[0], before);

    /* One that reads in time has all its time again. */
    CU_ASSERT_EQUAL(read_all(CONNECTION_FROM_HOST, 11, 0), before);
    now += ALIVE_MS + 1;
    device.worker.clients_wait = true;
    CU_ASSERT_PTR_NULL(serve(now));
    CU_ASSERT_EQUAL(accepted[0], before + 4);
    for (again = 0; again != now + 10 && accepted[0] < 60;)
        CU_ASSERT_PTR_NULL(serve(++now));
    CU_ASSERT_PTR_NULL(serve(now + ALIVE_MS - 1));
    CU_ASSERT(read_all(CONNECTION_FROM_HOST, 11, 0) > 4);
    end();
}

static void there_is_room_for_less_than_16_kib(void)
{
    begin(true);
    come(0, 11, 1);
    unread = 16384;
    CU_ASSERT_PTR_NULL(serve(NOW));
    CU_ASSERT_EQUAL(accepted[0], 0);
    CU_ASSERT_EQUAL(again, NOW + 10);
    unread = 16383;
    CU_ASSERT_PTR_NULL(serve(NOW + 1));
    CU_ASSERT_EQUAL(accepted[0], 1);
    CU_ASSERT_EQUAL(read_all(CONNECTION_FROM_HOST, 11, 0), 1);
    end();
}

static void without_an_answer_there_is_no_room(void)
{
    begin(true);
    come(0, 11, 1);
    unread_error = ENOTSOCK;
    CU_ASSERT_PTR_NULL(serve(NOW));
    CU_ASSERT_EQUAL(accepted[0], 0);
    CU_ASSERT_PTR_NOT_NULL(serve(NOW + ALIVE_MS));
    CU_ASSERT_EQUAL(accepted[0], 0);
    end();
}

static void clients_are_logged(void)
{
    static struct said said;
    const enum log_level before = log_level();
    begin(true);
    come(0, 11, 1);
    come(0, -ECONNREFUSED, 1);
    log_set_level(LOG_LEVEL_DEBUG);
    said_begin(&said, STDERR_FILENO);
    const char *wrong = serve(NOW);
    said_end(&said);
    log_set_level(before);
    CU_ASSERT_PTR_NULL(wrong);
    CU_ASSERT_STRING_EQUAL(said.text, "bao-virtio-dm: vsock 0: a client has connected\n"
                                      "bao-virtio-dm: vsock 0: a client was turned away\n");
    CU_ASSERT_EQUAL(read_all(CONNECTION_FROM_HOST, 11, 0), 1);
    end();
}

static void file_0_may_be_a_new_client(void)
{
    int before = dup(STDIN_FILENO);
    begin(true);
    come(0, 11, 1);
    close(STDIN_FILENO);
    CU_ASSERT_PTR_NULL(serve(NOW)); /* the client gets the number 0 */
    CU_ASSERT_EQUAL(fcntl(STDIN_FILENO, F_GETFD), -1);
    CU_ASSERT_EQUAL(dup2(before, STDIN_FILENO), STDIN_FILENO);
    CU_ASSERT_EQUAL(read_all(CONNECTION_FROM_HOST, 11, 0), 1);
    end();
    close(before);
}

/* ---- A client that is kept ---- */

static void a_kept_client_goes_to_each_worker(void)
{
    begin(true);
    ops.keeps_client = true;
    come(0, 7, 1);
    CU_ASSERT_PTR_NULL(serve(NOW));
    CU_ASSERT_EQUAL(read_all(CONNECTION_FROM_HOST, 7, 0), 1);
    CU_ASSERT_FATAL(device.backend.client >= 0);
    for (unsigned int i = 0; i < 2; i++) {
        connections_resume(&device);
        CU_ASSERT_EQUAL(read_all(CONNECTION_FROM_HOST, 0, 0), 1);
    }
    close(worker); /* the worker has gone: it can't be handed over */
    connections_resume(&device);
    CU_ASSERT_EQUAL(device.backend.client, -1);
    worker = open("/dev/null", O_RDONLY | O_CLOEXEC);
    connections_resume(&device);
    end();
}

static void a_client_of_a_worker_that_has_gone_is_closed(void)
{
    begin(true);
    come(0, 7, 1);
    close(worker);
    CU_ASSERT_PTR_NULL(serve(NOW));
    CU_ASSERT_EQUAL(accepted[0], 1);
    worker = open("/dev/null", O_RDONLY | O_CLOEXEC);
    end();
}

static void no_client_is_none(void)
{
    begin(true);
    connections_resume(&device);
    CU_ASSERT_EQUAL(read_all(CONNECTION_FROM_HOST, 0, 0), 0);
    end();
}

static void file_0_is_a_client(void)
{
    int before = dup(STDIN_FILENO);
    begin(true);
    ops.keeps_client = true;
    device.backend.client = STDIN_FILENO;
    connections_resume(&device);
    CU_ASSERT_EQUAL(read_all(CONNECTION_FROM_HOST, 0, 0), 1);
    CU_ASSERT_EQUAL(device.backend.client, STDIN_FILENO);
    CU_ASSERT_EQUAL(dup2(before, STDIN_FILENO), STDIN_FILENO);
    end();
    close(before);
}

/* ---- Connections that a guest asks for ---- */

static const char *make(uint32_t port, uint32_t type, uint32_t request)
{
    const struct message_connect wanted = {.port = port, .type = type, .request = request};
    return connections_make(&device, &wanted);
}

/* The connector answers its next request with a file, or with an error. `free_0`: the file gets the
 * number 0. Returns the type that it was asked for. */
static uint32_t answers_with(uint32_t port, int error, bool free_0)
{
    union message message;
    int got[MESSAGE_FDS_MAX];
    size_t got_count;
    char path[32];
    CU_ASSERT_EQUAL_FATAL(message_receive(connector, ROLE_BROKER, &message, got, &got_count), 1);
    snprintf(path, sizeof(path), "/sockets/%u", port);
    CU_ASSERT_STRING_EQUAL(message.connect_to.address.sun_path, path);
    uint32_t type = message.connect_to.type;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    union message answer = {
        .connected = {.header = {.type = MSG_CONNECTED, .device = MESSAGE_NO_DEVICE},
                      .error = error}};
    CU_ASSERT_EQUAL(message_send(connector, &answer, &fd, error == 0 ? 1 : 0), 0);
    close(fd);
    if (free_0)
        close(STDIN_FILENO);
    CU_ASSERT_TRUE(connector_receive(&device.backend.connector));
    return type;
}

static uint32_t connector_answers(uint32_t port, int error)
{
    return answers_with(port, error, false);
}

static void connector_answers_with_0(uint32_t port)
{
    (void)answers_with(port, 0, true);
}

static void each_question_gets_its_answer(void)
{
    begin(false);
    CU_ASSERT_PTR_NULL(make(80, VIRTIO_VSOCK_TYPE_STREAM, 1));
    CU_ASSERT_PTR_NULL(make(81, VIRTIO_VSOCK_TYPE_SEQPACKET, 2));
    CU_ASSERT_PTR_NULL(make(82, VIRTIO_VSOCK_TYPE_STREAM, 3));
    CU_ASSERT_EQUAL(device.worker.connects, 3);
    CU_ASSERT_PTR_NULL(serve(NOW));
    CU_ASSERT_EQUAL(read_all(0, 0, 0), 0); /* not yet */
    CU_ASSERT_EQUAL(connector_answers(80, 0), SOCK_STREAM);
    CU_ASSERT_PTR_NULL(serve(NOW));
    CU_ASSERT_EQUAL(read_all(1, VIRTIO_VSOCK_TYPE_STREAM, 0), 1);
    CU_ASSERT_STRING_EQUAL(logged[0], "connection to port 80: made");
    CU_ASSERT_EQUAL(device.worker.connects, 2);
    CU_ASSERT_EQUAL(connector_answers(81, 0), SOCK_SEQPACKET);
    CU_ASSERT_PTR_NULL(serve(NOW));
    CU_ASSERT_EQUAL(read_all(2, VIRTIO_VSOCK_TYPE_SEQPACKET, 0), 1);
    CU_ASSERT_EQUAL(connector_answers(82, ECONNREFUSED), SOCK_STREAM);
    CU_ASSERT_PTR_NULL(serve(NOW));
    CU_ASSERT_EQUAL(read_all(3, VIRTIO_VSOCK_TYPE_STREAM, ECONNREFUSED), 1);
    CU_ASSERT_STRING_EQUAL(logged[2], "connection to port 82: Connection refused");
    CU_ASSERT_EQUAL(device.worker.connects, 0);
    CU_ASSERT_EQUAL(log_count, 3);
    end();
}

static void an_answer_that_is_known_is_given_at_once(void)
{
    begin(false);
    CU_ASSERT_PTR_NULL(make(0, VIRTIO_VSOCK_TYPE_STREAM, 9));
    CU_ASSERT_EQUAL(read_all(9, VIRTIO_VSOCK_TYPE_SEQPACKET, EACCES), 1);
    CU_ASSERT_EQUAL(device.worker.connects, 0);
    close(device.backend.connector.socket);
    device.backend.connector.socket = -1;
    fds--;
    CU_ASSERT_PTR_NULL(make(80, VIRTIO_VSOCK_TYPE_STREAM, 10));
    CU_ASSERT_EQUAL(read_all(10, VIRTIO_VSOCK_TYPE_STREAM, EBUSY), 1);
    CU_ASSERT_EQUAL(device.worker.connects, 0);
    end();
}

static void a_worker_asks_only_for_what_it_may_have(void)
{
    static const char cant[] = "it asks for a connection that it can't have";
    begin(false);
    device.worker.phase = WORKER_STARTING;
    CU_ASSERT_STRING_EQUAL(make(80, VIRTIO_VSOCK_TYPE_STREAM, 1), cant);
    device.worker.phase = WORKER_READY;
    ops.address = NULL;
    CU_ASSERT_STRING_EQUAL(make(80, VIRTIO_VSOCK_TYPE_STREAM, 1), cant);
    ops.address = address_of;
    for (uint32_t i = 0; i < CONNECTIONS_AT_ONCE; i++)
        CU_ASSERT_PTR_NULL(make(80, VIRTIO_VSOCK_TYPE_STREAM, i));
    CU_ASSERT_STRING_EQUAL(make(80, VIRTIO_VSOCK_TYPE_STREAM, 99),
                           "it asks for more connections at once than it may");
    CU_ASSERT_EQUAL(device.worker.connects, CONNECTIONS_AT_ONCE);
    CU_ASSERT_EQUAL(read_all(0, 0, 0), 0);
    end();
}

static void an_answer_for_a_dead_worker_is_dropped(void)
{
    begin(false);
    CU_ASSERT_PTR_NULL(make(80, VIRTIO_VSOCK_TYPE_STREAM, 1));
    CU_ASSERT_PTR_NULL(make(81, VIRTIO_VSOCK_TYPE_STREAM, 2));
    device.worker.incarnation++;
    device.worker.connects = 0;
    CU_ASSERT_PTR_NULL(make(82, VIRTIO_VSOCK_TYPE_STREAM, 3));
    connector_answers(80, 0);
    connector_answers(81, ENOENT);
    connector_answers(82, ENOENT);
    CU_ASSERT_PTR_NULL(serve(NOW));
    CU_ASSERT_EQUAL(read_all(3, VIRTIO_VSOCK_TYPE_STREAM, ENOENT), 1);
    CU_ASSERT_EQUAL(device.worker.connects, 0);
    end();
}

/* For the worker that has asked, and for one that is dead. */
static void file_0_may_be_a_connection(void)
{
    int before = dup(STDIN_FILENO);
    for (unsigned int died = 0; died <= 1; died++) {
        begin(false);
        CU_ASSERT_PTR_NULL(make(80, VIRTIO_VSOCK_TYPE_STREAM, 7));
        connector_answers_with_0(80);
        device.worker.incarnation += died;
        CU_ASSERT_PTR_NULL(serve(NOW));
        CU_ASSERT_EQUAL(fcntl(STDIN_FILENO, F_GETFD), -1);
        CU_ASSERT_EQUAL(dup2(before, STDIN_FILENO), STDIN_FILENO);
        CU_ASSERT_EQUAL(read_all(7, VIRTIO_VSOCK_TYPE_STREAM, 0), 1 - died);
        if (died == 0)
            CU_ASSERT_STRING_EQUAL(logged[0], "connection to port 80: made");
        end();
    }
    close(before);
}

/* Fill the worker's socket, which is small, with messages that it leaves unread. */
static void fill(void)
{
    const int size = 1;
    union message message = {.connection = {.header = {.type = MSG_CONNECTION}, .error = 1}};
    CU_ASSERT_EQUAL(setsockopt(device.worker.socket, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)),
                    0);
    while (message_send(device.worker.socket, &message, NULL, 0) == 0)
        continue;
}

static void answers_that_are_not_taken_are_the_worker_s_fault(void)
{
    begin(false);
    CU_ASSERT_PTR_NULL(make(80, VIRTIO_VSOCK_TYPE_STREAM, 1));
    connector_answers(80, 0);
    fill();
    CU_ASSERT_STRING_EQUAL(serve(NOW), "it does not take the connections that it is handed");
    CU_ASSERT_STRING_EQUAL(make(0, VIRTIO_VSOCK_TYPE_STREAM, 2),
                           "it does not take the answers to what it asks for");
    end();
}

static void answers_wait_for_room(void)
{
    begin(false);
    come(0, 11, 4);
    device.backend.files[OPENED_LISTENER_FIRST] = 1000;
    CU_ASSERT_PTR_NULL(make(80, VIRTIO_VSOCK_TYPE_STREAM, 1));
    int64_t now = NOW;
    for (again = 0; again != now + 10 && now < NOW + 100;) {
        come(0, 11, wait_count[0] < 60 ? 4 : 0);
        device.worker.clients_wait = true;
        CU_ASSERT_PTR_NULL(serve(++now));
    }
    connector_answers(80, 0);
    device.worker.clients_wait = false;
    CU_ASSERT_PTR_NULL(serve(now));
    CU_ASSERT_EQUAL(again, now + 10);
    CU_ASSERT_EQUAL(device.worker.connects, 1);
    CU_ASSERT_STRING_EQUAL(serve(now + ALIVE_MS),
                           "it does not take the connections that it is handed");
    CU_ASSERT(read_all(CONNECTION_FROM_HOST, 11, 0) > 4);
    CU_ASSERT_PTR_NULL(serve(now));
    CU_ASSERT_EQUAL(read_all(1, VIRTIO_VSOCK_TYPE_STREAM, 0), 1);
    end();
}

/* Its backend makes no connections, and the connector is another device's. */
static void one_that_can_t_ask_gets_no_answer(void)
{
    begin(false);
    CU_ASSERT_PTR_NULL(make(80, VIRTIO_VSOCK_TYPE_STREAM, 1));
    connector_answers(80, ENOENT);
    ops.address = NULL;
    CU_ASSERT_PTR_NULL(serve(NOW));
    CU_ASSERT_EQUAL(read_all(0, 0, 0), 0);
    end();
}

int main(int argc, char **argv)
{
    CU_TestInfo clients[] = {
        {"each listener tells of a client once", each_listener_tells_of_a_client_once},
        {"a listener may have any number", a_listener_may_have_any_number},
        {"each client arrives once", each_client_arrives_once},
        {"no listener is asked while nothing waits", no_listener_is_asked_while_nothing_waits},
        {"four clients in a millisecond", four_clients_in_a_millisecond},
        {"the time is only lowered", the_time_is_only_lowered},
        {"one that is turned away counts", one_that_is_turned_away_counts},
        {"a listener that fails is left alone", a_listener_that_fails_is_left_alone},
        {"no room for a client", a_client_that_there_is_no_room_for_is_not_forgotten},
        {"what is unread is bounded", what_is_unread_is_bounded},
        {"room for less than 16 KiB", there_is_room_for_less_than_16_kib},
        {"without an answer, no room", without_an_answer_there_is_no_room},
        {"clients are logged", clients_are_logged},
        {"file 0 may be a new client", file_0_may_be_a_new_client},
        {"a kept client goes to each worker", a_kept_client_goes_to_each_worker},
        {"a worker that has gone", a_client_of_a_worker_that_has_gone_is_closed},
        {"no client is none", no_client_is_none},
        {"file 0 is a client", file_0_is_a_client},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo connects[] = {
        {"each question gets its answer", each_question_gets_its_answer},
        {"an answer that is known", an_answer_that_is_known_is_given_at_once},
        {"a worker asks only for what it may have", a_worker_asks_only_for_what_it_may_have},
        {"an answer for a dead worker is dropped", an_answer_for_a_dead_worker_is_dropped},
        {"file 0 may be a connection", file_0_may_be_a_connection},
        {"answers that are not taken", answers_that_are_not_taken_are_the_worker_s_fault},
        {"answers wait for room", answers_wait_for_room},
        {"one that can't ask", one_that_can_t_ask_gets_no_answer},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"clients", NULL, NULL, NULL, NULL, clients},
        {"connections", NULL, NULL, NULL, NULL, connects},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
