/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/vsock/host.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "worker/loop.h"
#include "worker/vsock/buffer.h"

/* On a seqpacket socket: how many reads of 0 bytes are taken for empty messages. */
#define EMPTY_READS_A_TURN 64u
#define EMPTY_READS_MAX 1024u

/* A socket that has reported room so many times, and was never full meanwhile, is no longer asked
 * to report room: each report wakes the worker. */
#define ROOM_REPORTS_MAX 16u

struct end {
    bool open;
    bool readable, writable, hung_up;
    bool ended;     /* the other end writes no more: nothing comes after what is in the socket */
    bool shut_sent; /* SHUT_WR is done */
    /* The socket reports when there is room in it again. If it does not, `writable` is true. */
    bool reports_room;
    uint32_t room_reports; /* since it was full last */
    int fd;
    uint32_t greeting_length;
    uint32_t unfinished;  /* bytes of the guest's message that is not complete yet */
    uint32_t empty_reads; /* reads of 0 bytes in a row, on a seqpacket socket */
    /* The message of which the guest has only a part: its bytes; the bytes that the guest has got;
     * and how many of its first bytes are not in `message`, since they went to the guest at
     * once. */
    uint32_t message_length, message_done, message_direct;
    char greeting[VSOCK_GREETING_MAX + 1];
};

/* Mapped before lock-down; the kernel allocates a page when it is first written to. */
struct memory {
    struct vsock_buffer buffer;
    unsigned char message[VSOCK_MESSAGE_MAX + 1]; /* so a message that is too large shows */
};

_Static_assert(VSOCK_MESSAGE_MAX <= VSOCK_BUFFER_SIZE, "the guest has credit for every message");
_Static_assert(sizeof(struct memory) / 1024 < CONNECTION_MEMORY / 1024, "what bao-dmctl tells of");

static struct end ends[VSOCK_CONNECTIONS_MAX];
static struct memory *memories; /* ends_used elements */
static uint32_t ends_used;

int vsock_host_init(uint32_t limit)
{
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return -errno;
    if (memories && limit <= ends_used)
        return 0;
    void *all = mmap(NULL, sizeof(*memories) * limit, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        return -errno;
    memories = all;
    ends_used = limit;
    return 0;
}

void vsock_host_reset(void)
{
    for (uint32_t slot = 0; slot < ends_used; slot++)
        vsock_host_close(slot);
}

bool vsock_host_open(uint32_t slot, uint16_t type, int fd)
{
    if (loop_watch_connection(fd, slot, false) < 0) {
        close(fd);
        return false;
    }
    ends[slot] = (struct end){.open = true, .readable = true, .writable = true, .fd = fd};
    if (type == VIRTIO_VSOCK_TYPE_SEQPACKET)
        vsock_buffer_clear(&memories[slot].buffer);
    return true;
}

bool vsock_host_is_open(uint32_t slot)
{
    return ends[slot].open;
}

void vsock_host_close(uint32_t slot)
{
    if (!ends[slot].open)
        return;
    ends[slot].open = false;
    loop_forget_connection(ends[slot].fd);
    close(ends[slot].fd);
}

/* Returns false if the socket can't be watched any more: it is then unwatched. */
static bool watch_room(uint32_t slot, bool room)
{
    struct end *end = &ends[slot];
    end->room_reports = 0;
    if (end->reports_room == room)
        return true;
    end->reports_room = room;
    loop_forget_connection(end->fd);
    return loop_watch_connection(end->fd, slot, room) == 0;
}

int vsock_host_event(uint32_t slot, uint32_t events)
{
    struct end *end = &ends[slot];
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        end->readable = true;
    if ((events & EPOLLOUT) != 0)
        end->writable = true;
    if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0)
        end->ended = true;
    if ((events & (EPOLLHUP | EPOLLERR)) != 0)
        end->hung_up = true;
    if ((events & EPOLLOUT) != 0 && ++end->room_reports > ROOM_REPORTS_MAX)
        return watch_room(slot, false) ? 0 : -ENOMEM;
    return 0;
}

bool vsock_host_hung_up(uint32_t slot)
{
    return ends[slot].hung_up;
}

/* ---- The two calls ---- */

static ssize_t read_in(struct end *end, const struct iovec *to, unsigned int count)
{
    ssize_t moved;
    do
        moved = readv(end->fd, to, (int)count);
    while (moved < 0 && errno == EINTR);
    if (moved < 0 && errno == EAGAIN)
        end->readable = false;
    return moved < 0 ? -errno : moved;
}

static ssize_t write_out(struct end *end, const struct iovec *from, unsigned int count)
{
    ssize_t moved;
    do
        moved = writev(end->fd, from, (int)count);
    while (moved < 0 && errno == EINTR);
    if (moved < 0 && errno == EAGAIN)
        end->writable = false;
    return moved < 0 ? -errno : moved;
}

/* ---- The client's first line ---- */

/* Parse "CONNECT" in upper or lower case, blanks, a number, and perhaps blanks. */
static bool parse_greeting(const char *line, uint32_t *ret_port)
{
    static const char word[] = "connect";
    uint64_t port = 0;
    if (strncasecmp(line, word, sizeof(word) - 1) != 0)
        return false;
    line += sizeof(word) - 1;
    size_t blanks = strspn(line, " \t");
    line += blanks;
    size_t digits = strspn(line, "0123456789");
    if (blanks == 0 || digits == 0 || digits > 10)
        return false;
    for (size_t i = 0; i < digits; i++)
        port = 10 * port + (uint64_t)(line[i] - '0');
    line += digits;
    *ret_port = (uint32_t)port;
    return port < UINT32_MAX && line[strspn(line, " \t\r")] == '\0'; /* UINT32_MAX is no port */
}

/* A stream is read byte by byte: what follows the line is for the guest already. */
int vsock_host_greeting(uint32_t slot, uint16_t type, uint32_t *ret_port)
{
    struct end *end = &ends[slot];
    const size_t step = type == VIRTIO_VSOCK_TYPE_STREAM ? 1 : VSOCK_GREETING_MAX;
    while (end->readable && end->greeting_length < VSOCK_GREETING_MAX) {
        const struct iovec at = {end->greeting + end->greeting_length, step};
        ssize_t moved = read_in(end, &at, 1);
        if (moved == -EAGAIN)
            continue;
        if (moved <= 0)
            return -EPIPE;
        end->greeting_length += (uint32_t)moved;
        char *last = &end->greeting[end->greeting_length - 1];
        if (*last == '\n') {
            *last = '\0';
            return parse_greeting(end->greeting, ret_port) ? 1 : -EPROTO;
        }
        if (type != VIRTIO_VSOCK_TYPE_STREAM)
            return -EPROTO;
    }
    return end->greeting_length == VSOCK_GREETING_MAX ? -EPROTO : 0;
}

/* Nothing was written to the socket before, so there is room for the line. */
int vsock_host_welcome(uint32_t slot, uint32_t host_port)
{
    char line[sizeof("OK 4294967295\n")] = "OK ";
    char digits[10];
    size_t count = 0, length = 3;
    do {
        digits[count++] = (char)('0' + host_port % 10);
        host_port /= 10;
    } while (host_port > 0);
    while (count > 0)
        line[length++] = digits[--count];
    line[length++] = '\n';
    const struct iovec at = {line, length};
    return write_out(&ends[slot], &at, 1) == (ssize_t)length ? 0 : -EPIPE;
}

/* ---- Guest to host ---- */

/* Discard what is buffered: nobody will read it. */
static void discard(struct vsock_table *table, uint32_t slot)
{
    vsock_host_shutdown(table, slot, VIRTIO_VSOCK_SHUTDOWN_RCV);
    vsock_forwarded(table, slot, vsock_buffered(&table->connections[slot]));
}

/*
 * Write, and count what the socket took. A socket that was full has something buffered, so only
 * vsock_host_flush comes here for it, and not before there is room. Returns bytes; 0 if the socket
 * takes none now; -EPIPE if it will never take any again, and then all is discarded; -EMSGSIZE;
 * -ENOMEM if it is full and can't report room.
 */
static ssize_t give(struct vsock_table *table, uint32_t slot, struct cursor data)
{
    static struct iovec segments[VSOCK_SEGMENTS_MAX];
    unsigned int count = cursor_segments(&data, segments, VSOCK_SEGMENTS_MAX);
    ssize_t moved = write_out(&ends[slot], segments, count);
    bool full = moved == -EAGAIN || (moved >= 0 && (size_t)moved < data.left);
    if (full && !watch_room(slot, true))
        return -ENOMEM;
    if (moved == -EAGAIN)
        return 0;
    if (moved == -EMSGSIZE)
        return moved;
    if (moved < 0) {
        discard(table, slot);
        return -EPIPE;
    }
    vsock_forwarded(table, slot, (uint32_t)moved);
    return moved;
}

static bool takes_nothing(const struct vsock_table *table, uint32_t slot)
{
    const struct vsock_connection *connection = &table->connections[slot];
    return (connection->host_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV) != 0;
}

bool vsock_host_takes(const struct vsock_table *table, uint32_t slot)
{
    const struct vsock_connection *connection = &table->connections[slot];
    return connection->type == VIRTIO_VSOCK_TYPE_STREAM && ends[slot].writable &&
           !takes_nothing(table, slot);
}

int vsock_host_deliver(struct vsock_table *table, uint32_t slot, struct cursor payload, bool end)
{
    const uint32_t length = (uint32_t)payload.left;
    const struct vsock_connection *connection = &table->connections[slot];
    struct vsock_buffer *buffer = &memories[slot].buffer;
    if (takes_nothing(table, slot)) {
        discard(table, slot);
        return 0;
    }
    if (connection->type == VIRTIO_VSOCK_TYPE_SEQPACKET) {
        ends[slot].unfinished += length;
        /* Without an end by now there is no more credit for it. */
        uint32_t most = end ? VSOCK_MESSAGE_MAX : VSOCK_MESSAGE_MAX - 1;
        if (ends[slot].unfinished > most)
            return -EMSGSIZE;
        if (end)
            ends[slot].unfinished = 0;
    }
    uint32_t first = connection->received - length;
    bool whole = connection->type == VIRTIO_VSOCK_TYPE_STREAM || end;
    ssize_t moved = 0;
    if (length > 0 && whole && connection->forwarded == first)
        moved = give(table, slot, payload);
    if (moved < 0)
        return moved == -EPIPE ? 0 : (int)moved;
    cursor_skip(&payload, (size_t)moved);
    vsock_buffer_put(buffer, first + (uint32_t)moved, payload);
    bool message = connection->type == VIRTIO_VSOCK_TYPE_SEQPACKET && end;
    if (message && connection->forwarded != connection->received) {
        vsock_buffer_end_message(buffer, connection->received);
        if (first != connection->forwarded)
            return vsock_host_flush(table, slot);
    }
    return 0;
}

/* What one call writes: all of a stream, or one message of a seqpacket socket. */
static bool next_part(struct vsock_buffer *buffer, const struct vsock_connection *connection,
                      uint32_t *ret_end)
{
    if (connection->forwarded == connection->received)
        return false;
    *ret_end = connection->received;
    return connection->type == VIRTIO_VSOCK_TYPE_STREAM ||
           vsock_buffer_message(buffer, connection->forwarded, connection->received, ret_end);
}

/* Is what is buffered the last that the guest sends? */
static bool is_last(const struct vsock_connection *connection)
{
    return connection->state == VSOCK_DRAINING ||
           (connection->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND) != 0;
}

/* The loop ends when the socket is full. It is full after some hundred messages, however small. */
int vsock_host_flush(struct vsock_table *table, uint32_t slot)
{
    const struct vsock_connection *connection = &table->connections[slot];
    struct vsock_buffer *buffer = &memories[slot].buffer;
    struct iovec parts[2];
    uint32_t end;
    bool waited = vsock_buffered(connection) > 0;
    while (ends[slot].writable && next_part(buffer, connection, &end)) {
        unsigned int count = vsock_buffer_get(buffer, connection->forwarded, end, parts);
        ssize_t moved = give(table, slot, cursor_of(parts, count));
        if (moved <= 0)
            return moved == -EPIPE ? 0 : (int)moved;
        if (connection->type == VIRTIO_VSOCK_TYPE_SEQPACKET)
            vsock_buffer_drop_end(buffer, end);
    }
    if (waited && vsock_buffered(connection) == 0)
        vsock_run_empty(table, slot);
    /* A message that the guest did not end is discarded. */
    if (is_last(connection) && !next_part(buffer, connection, &end))
        vsock_forwarded(table, slot, vsock_buffered(connection));
    return 0;
}

void vsock_host_shut(struct vsock_table *table, uint32_t slot)
{
    const struct vsock_connection *connection = &table->connections[slot];
    struct end *end = &ends[slot];
    bool no_more = (connection->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND) != 0;
    if (no_more && !end->shut_sent && vsock_buffered(connection) == 0) {
        (void)shutdown(end->fd, SHUT_WR);
        end->shut_sent = true;
    }
    if ((connection->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV) != 0)
        (void)shutdown(end->fd, SHUT_RD);
}

/* ---- Host to guest ---- */

bool vsock_host_readable(uint32_t slot)
{
    const struct end *end = &ends[slot];
    return end->open && (end->readable || end->message_done < end->message_length);
}

uint32_t vsock_host_message(uint32_t slot)
{
    const struct end *end = &ends[slot];
    return end->message_done < end->message_length ? end->message_length : 0;
}

/*
 * Read a whole message at once, since the socket gives it only so: into the guest's segments, and
 * what does not fit there into the worker's own memory.
 *
 * readv returns 0 for an empty message and for the end. It is not the end until the other side has
 * shut down, which an event of its own reports. After that nothing more can come. The end is then
 * reached when more reads in a row return 0 than there is room for empty messages in a socket's
 * send buffer (2 * net.core.wmem_max, some 800 bytes each).
 */
static ssize_t read_message(uint32_t slot, struct cursor room, uint32_t message_max)
{
    static struct iovec all[VSOCK_SEGMENTS_MAX];
    struct end *end = &ends[slot];
    unsigned int count = cursor_segments(&room, all, VSOCK_SEGMENTS_MAX - 1);
    all[count++] = (struct iovec){memories[slot].message, VSOCK_MESSAGE_MAX + 1};
    ssize_t length = read_in(end, all, count);
    while (length == 0) {
        end->empty_reads++;
        if (end->ended && end->empty_reads >= EMPTY_READS_MAX)
            return 0;
        if (end->empty_reads % EMPTY_READS_A_TURN == 0)
            return -EINTR;
        length = read_in(end, all, count);
    }
    end->empty_reads = 0;
    if (length < 0)
        return length;
    if (length > (ssize_t)message_max || length > (ssize_t)VSOCK_MESSAGE_MAX)
        return -EMSGSIZE;
    end->message_length = (uint32_t)length;
    cursor_cut(&room, (size_t)length);
    end->message_direct = (uint32_t)room.left;
    end->message_done = end->message_direct;
    return end->message_direct;
}

static ssize_t next_of_message(uint32_t slot, struct cursor room, uint32_t message_max,
                               bool *ret_end)
{
    struct end *end = &ends[slot];
    ssize_t part;
    if (end->message_done == end->message_length) {
        part = read_message(slot, room, message_max);
        if (part <= 0)
            return part;
    } else {
        const unsigned char *rest =
            memories[slot].message + end->message_done - end->message_direct;
        part = (ssize_t)cursor_write(&room, rest, end->message_length - end->message_done);
        end->message_done += (uint32_t)part;
    }
    *ret_end = end->message_done == end->message_length;
    return part;
}

ssize_t vsock_host_read(uint32_t slot, uint16_t type, struct cursor room, uint32_t message_max,
                        bool *ret_end)
{
    struct end *end = &ends[slot];
    ssize_t moved;
    *ret_end = false;
    if (type == VIRTIO_VSOCK_TYPE_SEQPACKET) {
        moved = next_of_message(slot, room, message_max, ret_end);
    } else {
        static struct iovec segments[VSOCK_SEGMENTS_MAX];
        moved = read_in(end, segments, cursor_segments(&room, segments, VSOCK_SEGMENTS_MAX));
    }
    if (moved != 0)
        return moved;
    /* The end. The event that reports it also tells whether the other side reads no more, either.
     * The guest is to be told both at once, so the event is waited for. */
    end->readable = false;
    return end->ended ? 0 : -EAGAIN;
}
