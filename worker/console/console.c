/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Console device, VirtIO 1.2 §5.3: each port is a terminal (the master of a pty) or a log file,
 * read and written straight from and to guest memory.
 *
 * Output waits in the ring while a connected reader is slow: a chain is completed when all of it is
 * written. While nobody has the terminal open, output is discarded, so that the guest never waits
 * for a reader who may not come. On port 0 output does not wait for ever, either: Linux's driver
 * spins, with interrupts off, until its console output is completed. Input waits in the pty until
 * the driver has a buffer for it.
 *
 * The kernel reports when a reader leaves, but not when one comes. So before output is written or
 * discarded, the worker asks whether a reader is there. It asks a second epoll instance, made by
 * the broker, which reports exactly the ports without a reader.
 *
 * A console with a socket has one port, whose file is the connection of the present client
 * (worker/console/client.h). A write that fails shows that the client has left.
 *
 * System calls: read and write on the ports' files, epoll_pwait2 on WORKER_FD_BACKEND, those of
 * worker/console/log_file.h; with a socket, those of worker/console/client.h instead of the last
 * two.
 */
#include "worker/console/console.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/wait.h"
#include "worker/console/client.h"
#include "worker/console/log_file.h"
#include "worker/log.h"
#include "worker/turn.h"

#define READERS_FD WORKER_FD_BACKEND /* the ports that nobody has open */
#define PORT_FD(p) (WORKER_FD_BACKEND2 + (int)(p))

/* A turn ends after this many steps, and each step moves at most CALL_BYTES (about what a pty takes
 * at a time). So no register access waits for long. */
#define TURN_STEPS 64u

/* The driver needs the buffers of so few writes back only to free them: Linux's spins until a write
 * is used, and does not wait for the interrupt. Its console (hvc) writes 16 bytes at a time; a
 * program that writes large pieces may wait when it has eight of them under way. */
#define LATE_WRITES 4u
#define LATE_SMALL_WRITES 16u
#define SMALL_BYTES 256u /* of a turn */
#define CALL_BYTES 4096u

/* How long port 0 waits for a reader who takes nothing. It is well below the time after which Linux
 * reports a lockup (20 s). It is enough for a serial line of 4800 baud, which frees 4 KiB of a pty
 * at a time. */
#define PATIENCE_MS 10000u

struct stream {
    bool active;        /* `chain` is taken, and not completed */
    struct cursor left; /* tx: what is not written yet */
    struct chain chain;
};

static struct {
    unsigned int ports;
    bool socket;          /* port 0 is a client's connection */
    bool out_of_patience; /* port 0 does not wait for its reader, until he reads */
    bool live;            /* the driver may be told of a new size */
    uint32_t readers;     /* bit p: port p had a reader when last asked; a log file always has */
    struct stream rx[STATE_CONSOLE_PORTS], tx[STATE_CONSOLE_PORTS];
} console;

bool console_multiport(const struct device *dev)
{
    return (dev->state->transport.driver_features & 1ull << VIRTIO_CONSOLE_F_MULTIPORT) != 0;
}

static int console_init(struct device *dev, const struct message_start *start)
{
    const struct start_console *from = &start->of_kind.console;
    memset(&console, 0, sizeof(console));
    if (from->ports == 0 || from->ports > STATE_CONSOLE_PORTS ||
        start->queue_count != (from->ports == 1 ? 2 : 2 * from->ports + 2))
        return -EINVAL;
    console.ports = from->ports;
    console.socket = start->kind == DEVICE_CONSOLE_SOCKET;
    console_control_init(from->ports, start->name);

    dev->features = 1ull << VIRTIO_CONSOLE_F_EMERG_WRITE;
    if (!console.socket) /* a socket has no window size */
        dev->features |= 1ull << VIRTIO_CONSOLE_F_SIZE;
    if (from->ports > 1)
        dev->features |= 1ull << VIRTIO_CONSOLE_F_MULTIPORT;
    const struct virtio_console_config config = {
        .max_nr_ports = from->ports,
    };
    memcpy(dev->config, &config, sizeof(config));
    dev->config_size = sizeof(config);
    dev->user_queues = (1u << start->queue_count) - 1;
    if (console.socket)
        return from->ports == 1 ? console_client_init(from->client != 0) : -EINVAL;
    for (unsigned int p = 0; p < from->ports; p++) {
        if ((from->files & 1u << p) == 0)
            dev->backend_events |= 1u << (PORT_FD(p) - WORKER_FD_BACKEND);
    }
    dev->backend_writes = dev->backend_events;
    log_file_init(from->files == 0 ? 0 : from->log_size);
    return 0;
}

/* ---- Readers ---- */

/* -1: no client has come yet. */
static int port_fd(unsigned int port)
{
    return console.socket ? console_client_fd() : PORT_FD(port);
}

static void ask_for_readers(void)
{
    struct epoll_event missing[STATE_CONSOLE_PORTS];
    if (console.socket) {
        console.readers = console_client_reads() ? 1u << 0 : 0;
        return;
    }
    int count = wait_events(READERS_FD, missing, STATE_CONSOLE_PORTS, 0);
    if (count < 0)
        return; /* interrupted: keep what was known until the next time */
    console.readers = (1u << STATE_CONSOLE_PORTS) - 1;
    for (int i = 0; i < count; i++) {
        if (missing[i].data.u32 < STATE_CONSOLE_PORTS)
            console.readers &= ~(1u << missing[i].data.u32);
    }
}

static bool has_reader(unsigned int port)
{
    return (console.readers & 1u << port) != 0;
}

/* ---- How far a chain is, for a successor ---- */

/*
 * The state page says how many bytes of which chain are moved. A chain is known by the place in the
 * ring where it will be completed. A record of any other chain is old and is ignored. The record is
 * hostile: see take_up.
 */
static uint32_t place(const struct virtqueue *vq)
{
    return (uint32_t)vq->state->next_used;
}

static void note(const struct virtqueue *vq, uint64_t *record, uint32_t bytes)
{
    __atomic_store_n(record, (uint64_t)place(vq) << 32 | bytes, __ATOMIC_RELAXED);
}

/* How much a predecessor has moved of the chain that was just taken, at most `length` bytes. */
static uint32_t take_up(const struct virtqueue *vq, uint64_t *record, uint32_t length)
{
    uint64_t value = *record;
    uint32_t bytes = (uint32_t)value;
    if (value >> 32 == place(vq) && bytes <= length)
        return bytes;
    note(vq, record, 0);
    return 0;
}

static void complete(struct turn *turn, struct stream *stream, uint32_t written)
{
    virtqueue_push(turn->vq, stream->chain.ref, written);
    stream->active = false;
    device_count(&turn->dev->state->counters.requests, 1);
}

/* ---- Output ---- */

/* Take the next chain of output. Returns as turn_take. */
static enum serve next_output(struct turn *turn, unsigned int port)
{
    struct stream *tx = &console.tx[port];
    uint64_t *record = &turn->dev->state->of_kind.console.written[port];
    enum serve r = turn_take(turn, &tx->chain, 0, 0);
    if (r != SERVE_DONE)
        return r;
    tx->active = true;
    tx->left = chain_readable(&tx->chain);
    cursor_skip(&tx->left, take_up(turn->vq, record, tx->chain.readable_length));
    return SERVE_DONE;
}

/* A write has failed. Is there a reader to wait for? If not, the rest of the chain is dropped. */
static enum serve write_failed(unsigned int port, int error)
{
    struct stream *tx = &console.tx[port];
    if (error == EINTR)
        return SERVE_DONE;
    if (error == EAGAIN) {
        ask_for_readers();
        if (has_reader(port) && (port > 0 || !console.out_of_patience))
            return SERVE_WAIT_BACKEND;
    } else if (console.socket) {
        console_client_left();
        ask_for_readers();
    } else if (log_file_is_full(error)) {
        return SERVE_DONE;
    } else {
        log_event(LOG_OUTPUT_LOST, port, (uint64_t)error);
    }
    cursor_cut(&tx->left, 0);
    return SERVE_DONE;
}

static enum serve write_some(struct turn *turn, unsigned int port)
{
    struct device *dev = turn->dev;
    struct stream *tx = &console.tx[port];
    struct cursor ahead = tx->left;
    const struct iovec piece = cursor_next(&ahead, CALL_BYTES);
    int fd = port_fd(port);
    uint32_t length = log_file_room((uint32_t)piece.iov_len);
    if (length == 0) {
        log_file_step(dev);
        return SERVE_DONE;
    }
    if (fd < 0)
        return write_failed(port, EAGAIN);
    ssize_t written = write(fd, piece.iov_base, length);
    if (written <= 0)
        return write_failed(port, written < 0 ? errno : EAGAIN);
    if (port == 0) {
        console.out_of_patience = false;
        dev->pause_ms = 0;
    }
    log_file_wrote((uint32_t)written);
    cursor_skip(&tx->left, (size_t)written);
    note(turn->vq, &dev->state->of_kind.console.written[port],
         tx->chain.readable_length - (uint32_t)tx->left.left);
    device_count(&dev->state->counters.bytes_out, (uint64_t)written);
    turn->bytes += (uint32_t)written;
    return SERVE_DONE;
}

/* Do the next step of the chain in hand, or of the next chain. */
static enum serve serve_output(struct turn *turn)
{
    unsigned int port = console_port(turn->vq->index);
    struct stream *tx = &console.tx[port];
    enum serve r = SERVE_DONE;
    if (!tx->active)
        r = next_output(turn, port);
    if (r != SERVE_DONE)
        return r;
    if (!has_reader(port))
        ask_for_readers();
    if (!has_reader(port))
        cursor_cut(&tx->left, 0); /* discarded */
    else if (tx->left.left > 0)
        r = write_some(turn, port);
    if (tx->left.left == 0)
        complete(turn, tx, 0);
    /* Wait until the reader reads or leaves, which is an event on the terminal, or until the pause
     * is over. */
    if (r == SERVE_WAIT_BACKEND && port == 0 && turn->dev->pause_ms == 0)
        turn->dev->pause_ms = PATIENCE_MS;
    return r;
}

/* ---- Input ---- */

/* Read into the buffer's first segment. There is nothing to read in these cases: EAGAIN; EIO:
 * nobody has the terminal open; EBADF: a log file; 0: the client has ended its output, or there is
 * no client. */
static enum serve fill_buffer(struct turn *turn, unsigned int port)
{
    struct stream *rx = &console.rx[port];
    struct device *dev = turn->dev;
    uint64_t *record = &dev->state->of_kind.console.read[port];
    struct cursor room = chain_writable(&rx->chain);
    const struct iovec piece = cursor_next(&room, CALL_BYTES);
    uint32_t filled = take_up(turn->vq, record, (uint32_t)piece.iov_len);
    if (filled == 0) {
        int fd = port_fd(port);
        ssize_t got = fd >= 0 ? read(fd, piece.iov_base, piece.iov_len) : 0;
        if (got < 0 && errno == EINTR)
            return SERVE_DONE;
        if (got <= 0)
            return SERVE_WAIT_BACKEND;
        filled = (uint32_t)got;
        note(turn->vq, record, filled);
    }
    complete(turn, rx, filled);
    device_count(&dev->state->counters.bytes_in, filled);
    return SERVE_DONE;
}

static enum serve serve_input(struct turn *turn)
{
    unsigned int port = console_port(turn->vq->index);
    struct stream *rx = &console.rx[port];
    if (!console_open(turn->dev, port))
        return SERVE_WAIT_BACKEND; /* until the driver says by a message that it is open */
    if (!rx->active) {
        enum serve r = turn_take(turn, &rx->chain, 0, 1);
        if (r != SERVE_DONE)
            return r;
        rx->active = true;
    }
    return fill_buffer(turn, port);
}

static enum serve output_turn(struct device *dev, unsigned int queue, struct guest_fault *ret_fault)
{
    struct turn_rules rules = {
        .steps = TURN_STEPS,
        .late_polling = true,
        .late_ticks = dev->irq_delay,
    };
    struct turn turn = turn_begin(dev, queue, ret_fault);
    enum serve r = turn_serve(&turn, &rules, serve_output);
    rules.late_chains = turn.bytes <= SMALL_BYTES ? LATE_SMALL_WRITES : LATE_WRITES;
    return turn_end(&turn, &rules, r);
}

/* ---- The device ---- */

static enum serve console_turn(struct device *dev, unsigned int queue,
                               struct guest_fault *ret_fault)
{
    static const struct turn_rules rules = {.steps = TURN_STEPS};
    if (queue > CONSOLE_TX && !console_multiport(dev))
        return SERVE_WAIT_BACKEND; /* §5.3.2: these queues do not exist */
    if (queue == CONSOLE_CONTROL_RX || queue == CONSOLE_CONTROL_TX)
        return console_control_turn(dev, queue, ret_fault);
    return queue % 2 == 0 ? turn_run(dev, queue, &rules, serve_input, ret_fault)
                          : output_turn(dev, queue, ret_fault);
}

/*
 * There is input, or room for output; or the last reader has left (EPOLLHUP). A reader who makes
 * room again and again causes no call but the one that writes: a chain in hand waits for the room.
 */
static int console_backend_event(struct device *dev, unsigned int file, uint32_t events,
                                 struct guest_fault *ret_fault)
{
    unsigned int port = file - (PORT_FD(0) - WORKER_FD_BACKEND);
    (void)ret_fault;
    if ((events & ~(uint32_t)(EPOLLIN | EPOLLOUT)) != 0)
        console.readers &= ~(1u << port);
    if ((events & ~(uint32_t)EPOLLOUT) != 0)
        dev->work |= 1u << console_rx_queue(port);
    if ((events & ~(uint32_t)EPOLLIN) != 0 && console.tx[port].active)
        dev->work |= 1u << console_tx_queue(port);
    return 0;
}

/* An old connection's event does no harm: each turn finds out by itself what there is. */
static void console_connection_event(struct device *dev, unsigned int number, uint32_t events)
{
    (void)number;
    if ((events & ~(uint32_t)EPOLLOUT) != 0)
        dev->work |= 1u << CONSOLE_RX;
    if ((events & ~(uint32_t)EPOLLIN) != 0 && console.tx[0].active)
        dev->work |= 1u << CONSOLE_TX;
}

/* A client has come: port 0 waits for it again, even if it no longer waited for the last one. */
static bool console_message(struct device *dev, const union message *message, const int *fds,
                            size_t fd_count)
{
    if (!console_client_take(message, fds, fd_count))
        return false;
    console.out_of_patience = false;
    dev->pause_ms = 0;
    ask_for_readers();
    dev->work |= 1u << CONSOLE_RX | 1u << CONSOLE_TX;
    return true;
}

static void console_pause_over(struct device *dev)
{
    console.out_of_patience = true;
    dev->work |= 1u << CONSOLE_TX;
}

/* §5.3.4: emergency write. It works in any state of the device, and waits for nobody. */
static int console_write_config(struct device *dev, uint32_t offset, unsigned int width,
                                uint64_t value, struct guest_fault *ret_fault)
{
    const unsigned char character = (unsigned char)value;
    (void)width;
    (void)ret_fault;
    if (offset != offsetof(struct virtio_console_config, emerg_wr))
        return 0;
    ask_for_readers();
    if (log_file_room(1) == 0)
        log_file_step(dev); /* while that goes on, a character can be lost */
    if (has_reader(0) && port_fd(0) >= 0 && log_file_room(1) == 1 &&
        write(port_fd(0), &character, 1) == 1)
        log_file_wrote(1);
    return 0;
}

/* Take over the size that the broker has set into the configuration space, and return it. */
static uint32_t take_size(struct device *dev)
{
    uint32_t size = atomic_load_explicit(&dev->state->backend.size, memory_order_relaxed);
    const uint16_t cols_rows[2] = {(uint16_t)(size >> 16), (uint16_t)size};
    _Static_assert(offsetof(struct virtio_console_config, rows) == sizeof(uint16_t),
                   "they come first");
    memcpy(dev->config, cols_rows, sizeof(cols_rows));
    return size;
}

static bool console_backend_changed(struct device *dev)
{
    struct state_console *state = &dev->state->of_kind.console;
    uint32_t size = take_size(dev);
    if (!console.live || size == state->size)
        return false;
    state->size = size;
    console_control_resized(dev);
    return true;
}

static int console_start(struct device *dev, bool resumed, struct guest_fault *ret_fault)
{
    struct state_console *state = &dev->state->of_kind.console;
    uint32_t size = take_size(dev);
    (void)ret_fault;
    if (resumed && size != state->size) {
        console_control_resized(dev);
        device_config_changed(dev);
    }
    state->size = size;
    console.live = true;
    return 0;
}

/* The records of how far chains are need no check here: take_up checks them. */
static int console_adopt(struct device *dev)
{
    return console_control_valid(&dev->state->of_kind.console) ? 0 : -EINVAL;
}

/* The chains in hand belong to the driver again. */
static void console_stop(struct device *dev)
{
    (void)dev;
    for (unsigned int p = 0; p < console.ports; p++)
        console.rx[p].active = console.tx[p].active = false;
    console.live = false;
}

static void console_queue_stop(struct device *dev, unsigned int queue)
{
    struct state_console *state = &dev->state->of_kind.console;
    unsigned int port = console_port(queue);
    if (queue == CONSOLE_CONTROL_RX || queue == CONSOLE_CONTROL_TX)
        return;
    if (queue % 2 == 0) {
        console.rx[port].active = false;
        state->read[port] = 0;
    } else {
        console.tx[port].active = false;
        state->written[port] = 0;
    }
}

/* The size of a log; a terminal has no size. */
static uint64_t console_file_size_max(const struct message_start *start)
{
    return start->of_kind.console.files != 0 ? start->of_kind.console.log_size : 0;
}

const struct device_ops console_ops = {
    .file_size_max = console_file_size_max,
    .init = console_init,
    .start = console_start,
    .stop = console_stop,
    .queue_stop = console_queue_stop,
    .turn = console_turn,
    .backend_event = console_backend_event,
    .backend_changed = console_backend_changed,
    .pause_over = console_pause_over,
    .write_config = console_write_config,
    .adopt = console_adopt,
};

const struct device_ops console_socket_ops = {
    .init = console_init,
    .start = console_start,
    .stop = console_stop,
    .queue_stop = console_queue_stop,
    .turn = console_turn,
    .message = console_message,
    .connection_event = console_connection_event,
    .pause_over = console_pause_over,
    .write_config = console_write_config,
    .adopt = console_adopt,
};
