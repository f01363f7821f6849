/* SPDX-License-Identifier: Apache-2.0 */
/* What a new broker gets from its keeper. It takes all of it, each part once, and nothing else;
 * what it does not take is closed. */
#include "broker/handed.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/fd_count.h"

static int broker, keeper;
static struct handed handed;
static unsigned int fds;
static int poll_error;

int __wrap_poll(struct pollfd *poll_fds, nfds_t count, int timeout);

/* Whoever would wait has waited in vain. */
int __wrap_poll(struct pollfd *poll_fds, nfds_t count, int timeout)
{
    CU_ASSERT(count == 1 && poll_fds->fd == broker && poll_fds->events == POLLIN);
    CU_ASSERT(timeout >= 1000);
    if (poll_error != 0) {
        errno = poll_error;
        return -1;
    }
    return (int)syscall(SYS_ppoll, poll_fds, count, &(struct timespec){0}, NULL, 0);
}

static void begin(void)
{
    int sockets[2];
    CU_ASSERT_EQUAL_FATAL(
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets), 0);
    broker = sockets[0];
    keeper = sockets[1];
    handed = (struct handed){0};
    poll_error = 0;
    fds = fd_count();
}

static void end(void)
{
    for (size_t i = 0; i < BAO_DEVICES_MAX; i++) {
        handed_close_stored(&handed.devices[i]);
        handed_close_kept(&handed.devices[i]);
    }
    CU_ASSERT_EQUAL(handed_ids(&handed), 0);
    CU_ASSERT_EQUAL(fd_count(), fds);
    close(broker);
    close(keeper);
}

static void send_it(union message *message, size_t count)
{
    int files[MESSAGE_FDS_MAX] = {0};
    for (size_t i = 0; i < count; i++)
        files[i] = broker;
    CU_ASSERT_EQUAL(message_send(keeper, message, files, count), 0);
}

static void send_stored(uint32_t id, size_t count)
{
    union message message = {.store = {.header = {.type = MSG_RESTORE}, .dm_id = id, .kind = 5}};
    send_it(&message, count);
}

static void send_kept(uint32_t id, size_t count)
{
    union message message = {.opened = {.header = {.type = MSG_KEPT}, .dm_id = id, .digest = 1234}};
    send_it(&message, count);
}

static void send_plain(enum message_type type)
{
    union message message = {.header = {.type = (uint16_t)type}};
    send_it(&message, 0);
}

static void nothing_is_all(void)
{
    begin();
    send_plain(MSG_RESTORE_END);
    CU_ASSERT_EQUAL(handed_receive(broker, &handed), 0);
    CU_ASSERT_EQUAL(handed_ids(&handed), 0);
    end();
}

static void each_part_comes_to_its_device(void)
{
    begin();
    send_stored(0, 9);
    send_kept(0, 2);
    send_kept(7, 0);
    send_stored(BAO_DEVICES_MAX - 1, 1);
    send_plain(MSG_RESTORE_END);
    send_plain(MSG_PING); /* this is for later */
    CU_ASSERT_EQUAL(handed_receive(broker, &handed), 0);
    CU_ASSERT_EQUAL(handed_ids(&handed), 1u | 1u << (BAO_DEVICES_MAX - 1));
    const struct handed_device *first = &handed.devices[0];
    CU_ASSERT(first->stored && first->kept);
    CU_ASSERT_EQUAL(first->message.kind, 5);
    CU_ASSERT_EQUAL(first->fd_count, 9);
    CU_ASSERT_EQUAL(first->opened.digest, 1234);
    CU_ASSERT_EQUAL(first->opened_count, 2);
    for (size_t i = 0; i < 9; i++)
        CU_ASSERT_EQUAL(fcntl(first->fds[i], F_GETFD), FD_CLOEXEC);
    for (size_t i = 0; i < 2; i++)
        CU_ASSERT_EQUAL(fcntl(first->opened_fds[i], F_GETFD), FD_CLOEXEC);
    CU_ASSERT(handed.devices[7].kept && !handed.devices[7].stored);
    CU_ASSERT_TRUE(handed.devices[BAO_DEVICES_MAX - 1].stored);
    CU_ASSERT_EQUAL(fd_count(), fds + 12);
    handed_close_stored(&handed.devices[0]);
    CU_ASSERT_EQUAL(fd_count(), fds + 3);
    CU_ASSERT(!first->stored && first->kept && first->fd_count == 0);
    CU_ASSERT_EQUAL(handed_ids(&handed), 1u << (BAO_DEVICES_MAX - 1));
    handed_close_stored(&handed.devices[BAO_DEVICES_MAX - 1]);
    CU_ASSERT_EQUAL(handed_ids(&handed), 0);
    handed_close_kept(&handed.devices[0]);
    CU_ASSERT_EQUAL(fd_count(), fds);
    CU_ASSERT(!first->kept && first->opened_count == 0);
    end();
}

static void the_first_device_counts_as_any(void)
{
    begin();
    send_stored(0, 1);
    send_plain(MSG_RESTORE_END);
    CU_ASSERT_EQUAL(handed_receive(broker, &handed), 0);
    CU_ASSERT_EQUAL(handed_ids(&handed), 1);
    end();
}

static void what_is_behind_the_last_device_is_none(void)
{
    static struct {
        struct handed handed;
        struct handed_device behind;
    } both;
    both.behind.stored = true;
    CU_ASSERT_EQUAL(handed_ids(&both.handed), 0);
    both.handed.devices[BAO_DEVICES_MAX - 1].stored = true;
    CU_ASSERT_EQUAL(handed_ids(&both.handed), 1u << (BAO_DEVICES_MAX - 1));
}

static void is_refused(void)
{
    send_plain(MSG_RESTORE_END);
    CU_ASSERT_EQUAL(handed_receive(broker, &handed), -EPROTO);
}

static void what_the_keeper_must_not_send_is_refused(void)
{
    begin();
    send_stored(BAO_DEVICES_MAX, 2);
    is_refused();
    CU_ASSERT_EQUAL(fd_count(), fds);
    end();
    begin();
    send_kept(BAO_DEVICES_MAX, 2);
    is_refused();
    CU_ASSERT_EQUAL(fd_count(), fds);
    end();
    begin();
    send_plain(MSG_STOP);
    is_refused();
    end();
    begin();
    send_stored(3, 2);
    send_stored(3, 2); /* a second time */
    is_refused();
    CU_ASSERT_EQUAL(fd_count(), fds + 2);
    end();
    begin();
    send_kept(3, 2);
    send_kept(3, 1);
    is_refused();
    CU_ASSERT_EQUAL(fd_count(), fds + 2);
    end();
}

static void a_keeper_that_sends_no_end_is_an_error(void)
{
    begin();
    send_stored(3, 2);
    CU_ASSERT_EQUAL(handed_receive(broker, &handed), -ETIMEDOUT);
    poll_error = EBADF;
    CU_ASSERT_EQUAL(handed_receive(broker, &handed), -EBADF);
    poll_error = 0;
    CU_ASSERT_EQUAL(shutdown(keeper, SHUT_RDWR), 0);
    CU_ASSERT_EQUAL(handed_receive(broker, &handed), -EPIPE);
    end();
    begin();
    CU_ASSERT_EQUAL(send(keeper, "x", 1, 0), 1);
    CU_ASSERT_EQUAL(handed_receive(broker, &handed), -EPROTO);
    end();
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"nothing is all", nothing_is_all},
        {"each part comes to its device", each_part_comes_to_its_device},
        {"the first device counts as any", the_first_device_counts_as_any},
        {"what is behind the last device", what_is_behind_the_last_device_is_none},
        {"what the keeper must not send is refused", what_the_keeper_must_not_send_is_refused},
        {"a keeper that sends no end", a_keeper_that_sends_no_end_is_an_error},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "handed", tests);
}
