/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_MAX_BYTES 512

/* The result of snprintf as an index that stays inside the buffer. */
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

/* --- stderr ---------------------------------------------------------------------------------- */

static bool is_socket;         /* set by log_prepare */
static atomic_uint lost;       /* lost lines that were not reported yet */
static atomic_bool in_midline; /* a terminal or a full disk took only a part of a line */

/* An open file description of our own. O_NONBLOCK on the one that we were given would apply to all
 * processes that have it, including the user's shell. A FIFO without a reader can only be opened
 * for reading and writing. */
static int open_again(void)
{
    static const int ways[] = {O_WRONLY, O_RDWR};
    int fd = -1;
    for (size_t i = 0; fd < 0 && i < sizeof(ways) / sizeof(ways[0]); i++)
        fd = open("/proc/self/fd/2", ways[i] | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static ssize_t send_now(int fd, const char *text, size_t length)
{
    struct iovec part = {(char *)text, length};
    const struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t sent;
    do
        sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent;
}

static ssize_t write_now(const char *text, size_t length)
{
    ssize_t written;
    if (is_socket)
        return send_now(STDERR_FILENO, text, length);
    do
        written = write(STDERR_FILENO, text, length);
    while (written < 0 && errno == EINTR);
    return written;
}

/* --- The journal ----------------------------------------------------------------------------- */

static int journal = -1; /* set by log_prepare; -1: stderr is not the journal */

static bool stderr_is_journal(void)
{
    struct sockaddr_un peer = {0};
    socklen_t length = sizeof(peer);
    return getpeername(STDERR_FILENO, (struct sockaddr *)&peer, &length) == 0 &&
           peer.sun_family == AF_UNIX && length < sizeof(peer) &&
           strcmp(peer.sun_path, LOG_JOURNAL "/stdout") == 0;
}

/* Without the journal, lines go to stderr. */
static void open_journal(void)
{
    const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = LOG_JOURNAL "/socket"};
    if (journal >= 0)
        close(journal);
    journal = -1;
    if (!is_socket || !stderr_is_journal())
        return;
    journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (journal >= 0 && connect(journal, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        close(journal);
        journal = -1;
    }
}

int log_prepare(void)
{
    struct stat file;
    if (fstat(STDERR_FILENO, &file) < 0)
        return -errno;
    is_socket = S_ISSOCK(file.st_mode);
    open_journal();
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

/* An entry in the format that systemd documents as the journal's native protocol: one field for
 * each line. No value of ours contains a newline. */
static size_t compose_entry(char *entry, size_t size, enum log_level of,
                            const struct log_source *source, const char *text, size_t length)
{
    static const int priorities[LOG_LEVELS] = {[LOG_LEVEL_ERROR] = 3,
                                               [LOG_LEVEL_WARNING] = 4,
                                               [LOG_LEVEL_INFO] = 6,
                                               [LOG_LEVEL_DEBUG] = 7};
    size_t at = clamped(
        snprintf(entry, size, "SYSLOG_IDENTIFIER=bao-virtio-dm\nPRIORITY=%d\n", priorities[of]),
        size);
    if (source->device)
        at +=
            clamped(snprintf(entry + at, size - at, "BAO_DEVICE=%s\n", source->device), size - at);
    if (source->worker > 0)
        at += clamped(snprintf(entry + at, size - at, "BAO_WORKER_PID=%d\n", (int)source->worker),
                      size - at);
    if (source->code)
        at += clamped(snprintf(entry + at, size - at, "BAO_CODE=%s\n", source->code), size - at);
    return at +
           clamped(snprintf(entry + at, size - at, "MESSAGE=%.*s\n", (int)length, text), size - at);
}

enum put { PUT, NO_ROOM, NOT_TAKEN };

/* `text` has no "bao-virtio-dm: ", which is in the identifier, and no newline at the end. */
static enum put put_entry(enum log_level of, const struct log_source *source, const char *text,
                          size_t length)
{
    char entry[LINE_MAX_BYTES + 256];
    if (journal < 0)
        return NOT_TAKEN;
    size_t size = compose_entry(entry, sizeof(entry), of, source, text, length);
    if (send_now(journal, entry, size) == (ssize_t)size)
        return PUT;
    return errno == EAGAIN || errno == ENOBUFS ? NO_ROOM : NOT_TAKEN;
}

/* Write one line. Returns false if there is no room for it at present. If stderr is gone
 * altogether, there is nobody left to tell, and the result is true. */
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

/* Log a line, which is not empty, as a journal entry without its first `skip` bytes, or unchanged
 * on stderr. If lines were lost before, this is told first. */
static void say_line(enum log_level of, const struct log_source *source, const char *line,
                     size_t length, size_t skip)
{
    enum put put = NO_ROOM;
    if (log_tell_lost()) {
        size_t end = line[length - 1] == '\n' ? length - 1 : length;
        put = put_entry(of, source, line + skip, end - skip);
        if (put == NOT_TAKEN && put_line(line, length))
            put = PUT;
    }
    if (put != PUT)
        atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
}

static const struct log_source no_source;

void log_text(const char *text)
{
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        length += text[length] == '\n';
        say_line(LOG_LEVEL_ERROR, &no_source, text, length, 0);
        text += length;
    }
}

/* --- Lines ----------------------------------------------------------------------------------- */

static void write_line(enum log_level of, const struct log_source *source, const char *format,
                       va_list args)
{
    static const char program[] = "bao-virtio-dm: ";
    char line[LINE_MAX_BYTES];
    const size_t room = sizeof(line); /* the newline takes the place of the terminating 0 */
    int prefix = source->device ? snprintf(line, room, "%s%s: ", program, source->device)
                                : snprintf(line, room, "%s", program);
    size_t length = clamped(prefix, room);
    length += clamped(vsnprintf(line + length, room - length, format, args), room - length);

    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    }
    line[length++] = '\n';
    say_line(of, source, line, length, sizeof(program) - 1);
}

void log_line(const char *device, const char *format, ...)
{
    const struct log_source source = {.device = device};
    va_list args;
    va_start(args, format);
    write_line(LOG_LEVEL_ERROR, &source, format, args);
    va_end(args);
}

void log_from(enum log_level of, const struct log_source *source, const char *format, ...)
{
    if (!log_says(of))
        return;
    va_list args;
    va_start(args, format);
    write_line(of, source, format, args);
    va_end(args);
}

void log_at(enum log_level of, const char *device, const char *format, ...)
{
    if (!log_says(of))
        return;
    const struct log_source source = {.device = device};
    va_list args;
    va_start(args, format);
    write_line(of, &source, format, args);
    va_end(args);
}
