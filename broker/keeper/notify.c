/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/keeper/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/log.h"
#include "common/one_fd.h"

static int connect_to(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || length < 2 || length >= sizeof(address.sun_path))
        return -EINVAL;
    memcpy(address.sun_path, name, length);
    if (name[0] == '@')
        address.sun_path[0] = '\0'; /* the abstract namespace, unix(7) */
    else
        length++; /* with its terminating 0 */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

/* Half of WATCHDOG_USEC, in ms; 0 if it is meant for another process: sd_watchdog_enabled(3). */
static uint32_t watchdog_interval(void)
{
    const char *pid = getenv("WATCHDOG_PID"), *usec = getenv("WATCHDOG_USEC");
    if (!usec || (pid && strtol(pid, NULL, 10) != (long)getpid()))
        return 0;
    unsigned long long half_ms = strtoull(usec, NULL, 10) / 2000;
    return half_ms > INT32_MAX ? INT32_MAX : (uint32_t)half_ms;
}

void notify_open(struct notify *ret)
{
    const char *name = getenv("NOTIFY_SOCKET");
    /* Set the fields one by one, not the whole structure: the queue is large, and its pages should
     * be allocated only when it is used. */
    ret->socket = -1;
    ret->watchdog_ms = 0;
    ret->watchdog_at = 0;
    ret->taken = ret->gone = 0;
    if (name) {
        ret->socket = connect_to(name);
        if (ret->socket < 0)
            log_line(NULL, "the service manager's socket %s: %s", name, strerror(-ret->socket));
        else
            ret->watchdog_ms = watchdog_interval();
    }
}

void notify_clear_environment(void)
{
    static const char *const variables[] = {
        "NOTIFY_SOCKET", "WATCHDOG_PID",   "WATCHDOG_USEC", "LISTEN_PID",
        "LISTEN_FDS",    "LISTEN_FDNAMES", "FDSTORE",       NULL};
    for (const char *const *name = variables; *name; name++)
        unsetenv(*name);
}

/* --- Delivery ------------------------------------------------------------------------------- */

static int send_text(const struct notify *notify, char *text, int fd)
{
    union one_fd room = {0};
    struct iovec iov = {.iov_base = text, .iov_len = strlen(text)};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    one_fd_attach(&header, &room, fd);
    ssize_t sent;
    do
        sent = sendmsg(notify->socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

/* The manager's queue is full, or the kernel is short of something: both will pass. */
static bool passes(int error)
{
    return error == -EAGAIN || error == -ENOBUFS || error == -ENOMEM || error == -ETOOMANYREFS;
}

static struct notify_message *message_at(struct notify *notify, uint64_t number)
{
    return &notify->queue[number % NOTIFY_QUEUE];
}

void notify_flush(struct notify *notify)
{
    while (notify_waits(notify)) {
        struct notify_message *message = message_at(notify, notify->gone);
        int result = send_text(notify, message->text, message->fd);
        notify->polls = result == -EAGAIN;
        if (passes(result))
            return;
        if (result < 0)
            log_line(NULL, "can't tell the service manager \"%s\": %s", message->text,
                     strerror(-result));
        if (message->fd >= 0)
            close(message->fd);
        notify->gone++;
    }
}

/* Send it now if that is possible now and nothing is queued before it; otherwise queue it. */
static int deliver(struct notify *notify, char *text, int fd)
{
    if (!notify_waits(notify)) {
        int result = send_text(notify, text, fd);
        if (!passes(result))
            return result;
        notify->polls = result == -EAGAIN;
    }
    if (notify->taken - notify->gone == NOTIFY_QUEUE)
        return -ENOBUFS;
    struct notify_message *message = message_at(notify, notify->taken);
    message->fd = -1;
    if (fd >= 0) {
        message->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (message->fd < 0)
            return -errno;
    }
    snprintf(message->text, sizeof(message->text), "%s", text);
    notify->taken++;
    return 0;
}

/* --- What is told --------------------------------------------------------------------------- */

static bool is_state(const char *text)
{
    static const char state[] = "STATUS=";
    return strncmp(text, state, sizeof(state) - 1) == 0;
}

int notify_say(struct notify *notify, const char *format, ...)
{
    char text[NOTIFY_TEXT_SIZE];
    va_list args;
    if (!notify_present(notify))
        return 0;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (notify_waits(notify) && is_state(text)) {
        struct notify_message *last = message_at(notify, notify->taken - 1);
        if (is_state(last->text)) {
            memcpy(last->text, text, sizeof(text));
            return 0;
        }
    }
    return deliver(notify, text, -1);
}

int notify_watchdog(struct notify *notify, int64_t now)
{
    if (notify->watchdog_ms == 0)
        return -1;
    if (now >= notify->watchdog_at) {
        char text[] = "WATCHDOG=1";
        (void)send_text(notify, text, -1); /* not queued: it is useless later */
        notify->watchdog_at = now + notify->watchdog_ms;
    }
    return (int)(notify->watchdog_at - now);
}

int notify_store(struct notify *notify, const char *name, int fd)
{
    char text[NOTIFY_TEXT_SIZE];
    /*
     * FDPOLL=0: otherwise the manager drops an fd on which it sees POLLERR or POLLHUP. An eventfd
     * has POLLERR when its counter overflows, and a worker can cause that.
     */
    snprintf(text, sizeof(text), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
    return deliver(notify, text, fd);
}

int notify_remove(struct notify *notify, const char *name)
{
    char text[NOTIFY_TEXT_SIZE];
    snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
    return deliver(notify, text, -1);
}
