/* SPDX-License-Identifier: Apache-2.0 */
/* Whoever asks a connector gets an answer to each question, in order, whatever happens to the
 * process. It never gets more answers than questions. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/backend/connector.h"
#include "broker/connector_process.h"
#include "common/message.h"
#include "common/worker_fds.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"

WRAPPED(int, socket, (int family, int type, int protocol), (family, type, protocol))

static struct connector connector;
static int process;           /* the process's end of the socket */
static int listener, packets; /* of a stream, and of packets */
static char dir[] = "/tmp/bao-connector-XXXXXX";

static unsigned int open_before;

static void begin(void)
{
    int sockets[2];
    open_before = fd_count();
    CU_ASSERT_EQUAL_FATAL(
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets), 0);
    connector = (struct connector){.socket = sockets[0]};
    process = sockets[1];
}

static void end(void)
{
    if (connector.socket >= 0)
        close(connector.socket);
    if (process >= 0)
        close(process);
    CU_ASSERT_EQUAL(fd_count(), open_before); /* nothing else is left open */
}

static int ask(const char *name, int type, uint32_t tag)
{
    struct connector_request request = {
        .address = {.sun_family = AF_UNIX}, .type = type, .tag = tag, .incarnation = 3};
    snprintf(request.address.sun_path, sizeof(request.address.sun_path), "%s/%s", dir, name);
    return connector_ask(&connector, &request);
}

static int result_of(uint32_t tag)
{
    struct connector_request request = {0};
    CU_ASSERT_TRUE_FATAL(connector_take(&connector, &request));
    CU_ASSERT(request.tag == tag && request.incarnation == 3);
    return request.result;
}

static void answers_come_in_order(void)
{
    begin();
    CU_ASSERT_EQUAL(ask("nobody", SOCK_STREAM, 1), 0);
    CU_ASSERT_EQUAL(ask("stream", SOCK_STREAM, 2), 0);
    CU_ASSERT_EQUAL(ask("stream", SOCK_SEQPACKET, 3), 0);
    CU_ASSERT_FALSE(connector_answered(&connector));
    CU_ASSERT_TRUE(connector_serve(process));
    CU_ASSERT_FALSE(connector_answered(&connector)); /* the answer must be received first */
    CU_ASSERT_TRUE(connector_receive(&connector));
    CU_ASSERT_EQUAL(result_of(1), -ENOENT);
    const int fd = result_of(2);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_NOT_EQUAL(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    close(fd);
    close(accept(listener, NULL, NULL));
    CU_ASSERT_EQUAL(result_of(3), -EPROTOTYPE);
    CU_ASSERT_FALSE(connector_answered(&connector));
    end();
}

static int send_buffer(int fd)
{
    int size = 0;
    socklen_t length = sizeof(size);
    CU_ASSERT_EQUAL(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &length), 0);
    return size;
}

/* A packet must fit as a whole. A stream does without. */
static void only_packets_need_room(void)
{
    const int most = CONNECTION_MESSAGE_MAX;
    int stream = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int packet = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL(setsockopt(packet, SOL_SOCKET, SO_SNDBUF, &most, sizeof(most)), 0);
    CU_ASSERT_NOT_EQUAL(send_buffer(packet), send_buffer(stream));
    begin();
    CU_ASSERT_EQUAL(ask("packets", SOCK_SEQPACKET, 1), 0);
    CU_ASSERT_EQUAL(ask("stream", SOCK_STREAM, 2), 0);
    CU_ASSERT_TRUE(connector_serve(process));
    CU_ASSERT_TRUE(connector_receive(&connector));
    int fd = result_of(1);
    CU_ASSERT_EQUAL(send_buffer(fd), send_buffer(packet));
    close(fd);
    fd = result_of(2);
    CU_ASSERT_EQUAL(send_buffer(fd), send_buffer(stream));
    close(fd);
    close(accept(listener, NULL, NULL));
    close(accept(packets, NULL, NULL));
    end();
    close(stream);
    close(packet);
}

static void no_room_for_a_socket_is_an_answer(void)
{
    begin();
    CU_ASSERT_EQUAL(ask("stream", SOCK_STREAM, 1), 0);
    fail_once("socket", EMFILE, 0);
    CU_ASSERT_TRUE(connector_serve(process));
    CU_ASSERT_TRUE(connector_receive(&connector));
    CU_ASSERT_EQUAL(result_of(1), -EMFILE);
    end();
}

static void no_connection_stays_with_the_process(void)
{
    begin();
    const unsigned int before = fd_count();
    CU_ASSERT_EQUAL(ask("stream", SOCK_STREAM, 1), 0);
    CU_ASSERT_EQUAL(ask("stream", SOCK_SEQPACKET, 2), 0);
    CU_ASSERT_EQUAL(ask("nobody", SOCK_STREAM, 3), 0);
    CU_ASSERT_TRUE(connector_serve(process));
    CU_ASSERT_EQUAL(fd_count(), before); /* it is in the socket, and nowhere else */
    CU_ASSERT_TRUE(connector_receive(&connector));
    CU_ASSERT_EQUAL(fd_count(), before + 1);
    close(result_of(1));
    close(accept(listener, NULL, NULL));
    CU_ASSERT_EQUAL(result_of(2), -EPROTOTYPE);
    CU_ASSERT_EQUAL(result_of(3), -ENOENT);
    end();
}

static void no_more_wait_than_there_is_room_for(void)
{
    begin();
    for (uint32_t i = 0; i < CONNECTOR_REQUESTS; i++)
        CU_ASSERT_EQUAL(ask("nobody", SOCK_STREAM, i), 0);
    CU_ASSERT_EQUAL(ask("nobody", SOCK_STREAM, 99), -EBUSY);
    CU_ASSERT_TRUE(connector_serve(process));
    CU_ASSERT_TRUE(connector_receive(&connector));
    CU_ASSERT_EQUAL(ask("nobody", SOCK_STREAM, 99), -EBUSY); /* until one answer is taken */
    CU_ASSERT_EQUAL(result_of(0), -ENOENT);
    CU_ASSERT_EQUAL(ask("nobody", SOCK_STREAM, CONNECTOR_REQUESTS), 0);
    CU_ASSERT_TRUE(connector_serve(process));
    CU_ASSERT_TRUE(connector_receive(&connector));
    for (uint32_t i = 1; i <= CONNECTOR_REQUESTS; i++)
        CU_ASSERT_EQUAL(result_of(i), -ENOENT);
    end();
}

static void its_end_is_an_answer(void)
{
    begin();
    CU_ASSERT_EQUAL(ask("stream", SOCK_STREAM, 1), 0);
    CU_ASSERT_EQUAL(ask("stream", SOCK_STREAM, 2), 0);
    close(process);
    process = -1;
    CU_ASSERT_FALSE(connector_receive(&connector));
    CU_ASSERT_EQUAL(connector.socket, -1);
    CU_ASSERT_EQUAL(result_of(1), -ECONNABORTED);
    CU_ASSERT_EQUAL(result_of(2), -ECONNABORTED);
    CU_ASSERT_EQUAL(ask("stream", SOCK_STREAM, 3), -EBUSY);
    end();
}

static void expect_ended(struct message_connected sent, const int *fds, size_t count)
{
    union message message = {.connected = sent};
    message.header.type = MSG_CONNECTED;
    CU_ASSERT_EQUAL(message_send(process, &message, fds, count), 0);
    CU_ASSERT_FALSE(connector_receive(&connector));
    CU_ASSERT_EQUAL(connector.socket, -1);
    end();
}

static void what_answers_nothing_ends_it(void)
{
    const int null = listener;
    begin(); /* nobody has asked */
    expect_ended((struct message_connected){.error = 0}, &null, 1);
    begin();
    expect_ended((struct message_connected){.error = ENOENT}, NULL, 0);
    begin();
    CU_ASSERT_EQUAL(ask("stream", SOCK_STREAM, 1), 0);
    expect_ended((struct message_connected){.error = 0}, NULL, 0); /* success, but no socket */
    begin();
    CU_ASSERT_EQUAL(ask("stream", SOCK_STREAM, 1), 0);
    expect_ended((struct message_connected){.error = ENOENT}, &null, 1); /* error, with a socket */
}

/* A connector that was taken over may send any number. Its error must not become the number of one
 * of the broker's own files: that file would go to the worker, and be closed. */
static void an_error_is_no_file_of_the_broker(void)
{
    const int numbers[] = {-1, -9, INT_MIN};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        begin();
        CU_ASSERT_EQUAL(ask("stream", SOCK_STREAM, 1), 0);
        union message message = {
            .connected = {.header = {.type = MSG_CONNECTED}, .error = numbers[i]}};
        CU_ASSERT_EQUAL(message_send(process, &message, NULL, 0), 0);
        CU_ASSERT_FALSE(connector_receive(&connector));
        CU_ASSERT_EQUAL(connector.socket, -1);
        CU_ASSERT_EQUAL(result_of(1), -ECONNABORTED);
        end();
    }
}

/* An error of any number comes back. */
static void errors_come_back(void)
{
    begin();
    for (int error = 1; error < 3; error++) {
        union message message = {.connected = {.header = {.type = MSG_CONNECTED}, .error = error}};
        CU_ASSERT_EQUAL(ask("stream", SOCK_STREAM, 1), 0);
        CU_ASSERT_EQUAL(message_send(process, &message, NULL, 0), 0);
        CU_ASSERT_TRUE(connector_receive(&connector));
        CU_ASSERT_EQUAL(result_of(1), -error);
    }
    end();
}

/* No number says that there is no socket, but a negative one. */
static void a_socket_may_have_the_number_0(void)
{
    begin();
    CU_ASSERT_EQUAL(ask("stream", SOCK_STREAM, 1), 0);
    CU_ASSERT_TRUE(connector_serve(process));
    free_0();
    CU_ASSERT_TRUE(connector_receive(&connector));
    CU_ASSERT_EQUAL(result_of(1), 0);
    take_0_back();
    close(accept(listener, NULL, NULL));
    end();
    begin(); /* nor does the process's own copy say so */
    CU_ASSERT_EQUAL(ask("stream", SOCK_STREAM, 1), 0);
    free_0();
    CU_ASSERT_TRUE(connector_serve(process));
    CU_ASSERT_TRUE(fcntl(0, F_GETFD) < 0);
    take_0_back();
    CU_ASSERT_TRUE(connector_receive(&connector));
    int fd = result_of(1);
    CU_ASSERT(fd > 0);
    close(fd);
    close(accept(listener, NULL, NULL));
    end();
    begin(); /* one that nobody has asked for is closed */
    union message message = {.connected = {.header = {.type = MSG_CONNECTED}}};
    CU_ASSERT_EQUAL(message_send(process, &message, &listener, 1), 0);
    free_0();
    CU_ASSERT_FALSE(connector_receive(&connector));
    CU_ASSERT_TRUE(fcntl(0, F_GETFD) < 0);
    take_0_back();
    end();
    begin(); /* nor does the connector's own */
    free_0();
    int own = fcntl(connector.socket, F_DUPFD_CLOEXEC, 0);
    close(connector.socket);
    connector.socket = own;
    CU_ASSERT_EQUAL(own, 0);
    CU_ASSERT_EQUAL(ask("nobody", SOCK_STREAM, 1), 0);
    CU_ASSERT_TRUE(connector_serve(process));
    CU_ASSERT_TRUE(connector_receive(&connector));
    CU_ASSERT_EQUAL(result_of(1), -ENOENT);
    connector.socket = -1;
    take_0_back();
    end();
}

/* Messages that only the broker could send, but that ask for nothing. */
static void what_asks_for_nothing_ends_the_process(void)
{
    union message message = {
        .connect_to = {.header = {.type = MSG_CONNECT_TO}, .type = SOCK_DGRAM}};
    begin();
    CU_ASSERT_EQUAL(message_send(connector.socket, &message, NULL, 0), 0);
    CU_ASSERT_FALSE(connector_serve(process));
    message = (union message){.header = {.type = MSG_RUNNING}};
    CU_ASSERT_EQUAL(message_send(connector.socket, &message, NULL, 0), 0);
    CU_ASSERT_FALSE(connector_serve(process));
    /* What another message has there is not what it asks for. */
    message = (union message){.connect_to = {.type = SOCK_STREAM}};
    message.header.type = MSG_KEEP;
    CU_ASSERT_EQUAL(message_send(connector.socket, &message, NULL, 0), 0);
    CU_ASSERT_FALSE(connector_serve(process));
    close(connector.socket);
    connector.socket = -1;
    CU_ASSERT_FALSE(connector_serve(process));
    end();
    /* What came before is not asked for again. */
    begin();
    CU_ASSERT_EQUAL(ask("nobody", SOCK_STREAM, 1), 0);
    CU_ASSERT_EQUAL(send(connector.socket, "x", 1, 0), 1);
    CU_ASSERT_FALSE(connector_serve(process));
    CU_ASSERT_TRUE(connector_receive(&connector));
    CU_ASSERT_EQUAL(result_of(1), -ENOENT);
    end();
}

static void without_its_broker_it_ends(void)
{
    begin();
    CU_ASSERT_EQUAL(ask("nobody", SOCK_STREAM, 1), 0);
    close(connector.socket); /* nobody takes the answer */
    connector.socket = -1;
    CU_ASSERT_FALSE(connector_serve(process));
    end();
}

static int listen_at(const char *name, int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", dir, name);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    bool listens =
        bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 16) == 0;
    return listens ? fd : -1;
}

static int listen_there(void)
{
    if (!mkdtemp(dir))
        return -1;
    listener = listen_at("stream", SOCK_STREAM);
    packets = listen_at("packets", SOCK_SEQPACKET);
    return listener >= 0 && packets >= 0 ? 0 : -1;
}

static int clean_up(void)
{
    char path[sizeof(dir) + 8];
    snprintf(path, sizeof(path), "%s/stream", dir);
    int result = unlink(path);
    snprintf(path, sizeof(path), "%s/packets", dir);
    result |= unlink(path);
    return result | rmdir(dir);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"answers come in order", answers_come_in_order},
        {"only packets need room", only_packets_need_room},
        {"no room for a socket is an answer", no_room_for_a_socket_is_an_answer},
        {"no connection stays with the process", no_connection_stays_with_the_process},
        {"no more wait than there is room for", no_more_wait_than_there_is_room_for},
        {"its end is an answer", its_end_is_an_answer},
        {"what answers nothing ends it", what_answers_nothing_ends_it},
        {"an error is no file of the broker", an_error_is_no_file_of_the_broker},
        {"errors come back", errors_come_back},
        {"a socket may have the number 0", a_socket_may_have_the_number_0},
        {"what asks for nothing ends the process", what_asks_for_nothing_ends_the_process},
        {"without its broker it ends", without_its_broker_it_ends},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"connector", listen_there, clean_up, NULL, NULL, tests},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
