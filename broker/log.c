/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_MAX_BYTES 512

/* snprintf's result as an index that stays inside the buffer. */
static size_t clamped(int written, size_t room)
{
    if (written < 0)
        return 0;
    return (size_t)written < room ? (size_t)written : room - 1;
}

static atomic_int level = LOG_LEVEL_INFO;

enum log_level log_level(void)
{
    return (enum log_level)atomic_load_explicit(&level, memory_order_relaxed);
}

void log_set_level(enum log_level to)
{
    atomic_store_explicit(&level, (int)to, memory_order_relaxed);
}

bool log_says(enum log_level of)
{
    return of <= log_level();
}

const char *log_level_name(unsigned int of)
{
    static const char *const names[LOG_LEVELS] = {
#define X(constant, name) name,
        LOG_LEVELS_OF(X)
#undef X
    };
    return of < LOG_LEVELS ? names[of] : NULL;
}

/* --- stderr ------------------------------------------------------------------------------------
 */

static bool is_socket;         /* since log_prepare */
static atomic_uint lost;       /* lines that nobody was told of */
static atomic_bool in_midline; /* a terminal or a full disk took a part of a line */

/* An open file description of our own: O_NONBLOCK on the one that we were given would be
 * everybody's who has it, the user's shell included. A FIFO that nobody reads can be opened for
 * both only. */
static int open_again(void)
{
    static const int ways[] = {O_WRONLY, O_RDWR};
    int fd = -1;
    for (size_t i = 0; fd < 0 && i < sizeof(ways) / sizeof(ways[0]); i++)
        fd = open("/proc/self/fd/2", ways[i] | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int log_prepare(void)
{
    struct stat file;
    if (fstat(STDERR_FILENO, &file) < 0)
        return -errno;
    is_socket = S_ISSOCK(file.st_mode);
    bool can_stop = S_ISFIFO(file.st_mode) || S_ISCHR(file.st_mode);
    if (!can_stop || (fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK) != 0)
        return 0;
    int fd = open_again();
    if (fd < 0)
        return fd;
    int result = dup2(fd, STDERR_FILENO) < 0 ? -errno : 0;
    close(fd);
    return result;
}

static ssize_t write_now(const char *text, size_t length)
{
    struct iovec part = {(char *)text, length};
    const struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t written;
    do
        written = is_socket ? sendmsg(STDERR_FILENO, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
                            : write(STDERR_FILENO, text, length);
    while (written < 0 && errno == EINTR);
    return written;
}

/* One line. Returns false if there is no room for it at present. Where stderr is gone altogether
 * there is nobody left to tell. */
static bool put_line(const char *line, size_t length)
{
    if (atomic_load_explicit(&in_midline, memory_order_relaxed)) {
        if (write_now("\n", 1) != 1)
            return false;
        atomic_store_explicit(&in_midline, false, memory_order_relaxed);
    }
    ssize_t written = write_now(line, length);
    if (written < 0)
        return errno != EAGAIN && errno != ENOSPC && errno != EDQUOT && errno != ENOBUFS;
    if ((size_t)written == length)
        return true;
    atomic_store_explicit(&in_midline, true, memory_order_relaxed);
    return false;
}

bool log_tell_lost(void)
{
    char line[64];
    unsigned int count = atomic_exchange_explicit(&lost, 0, memory_order_relaxed);
    if (count == 0)
        return true;
    size_t length = clamped(snprintf(line, sizeof(line), "bao-virtio-dm: %u line%s lost here\n",
                                     count, count == 1 ? " was" : "s were"),
                            sizeof(line));
    if (put_line(line, length))
        return true;
    atomic_fetch_add_explicit(&lost, count, memory_order_relaxed);
    return false;
}

/* In its turn: what was lost before is told first. */
static void say_line(const char *line, size_t length)
{
    if (!log_tell_lost() || !put_line(line, length))
        atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
}

void log_text(const char *text)
{
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        length += text[length] == '\n';
        say_line(text, length);
        text += length;
    }
}

/* --- Lines -------------------------------------------------------------------------------------
 */

static void write_line(const char *device, const char *format, va_list args)
{
    char line[LINE_MAX_BYTES];
    size_t room = sizeof(line) - 1; /* for the line's end */
    int prefix = device ? snprintf(line, room, "bao-virtio-dm: %s: ", device)
                        : snprintf(line, room, "bao-virtio-dm: ");
    size_t length = clamped(prefix, room);
    length += clamped(vsnprintf(line + length, room - length, format, args), room - length);

    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    }
    line[length++] = '\n';
    say_line(line, length);
}

void log_line(const char *device, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_line(device, format, args);
    va_end(args);
}

void log_at(enum log_level of, const char *device, const char *format, ...)
{
    if (!log_says(of))
        return;
    va_list args;
    va_start(args, format);
    write_line(device, format, args);
    va_end(args);
}
