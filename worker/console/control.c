/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control queues of a console device with several ports, VirtIO 1.2 §5.3.6.2.
 *
 * Messages that are due are kept as bits in the state page, one bit for each message of each port.
 * So a driver that keeps asking makes nothing grow, and a successor goes on. A bit is cleared after
 * the driver can see its message. If a worker dies in between, the message comes twice, which
 * changes nothing.
 */
#include <linux/virtio_console.h>
#include <stddef.h>
#include <string.h>

#include "worker/console/console.h"
#include "worker/turn.h"

#define TURN_MESSAGES 64u
#define NAME_MAX_BYTES 40u

/* The messages to the driver about a port, in the order in which it needs them. */
enum {
    SAY_ADD = 1u << 0,
    SAY_CONSOLE = 1u << 1,
    SAY_RESIZE = 1u << 2,
    SAY_NAME = 1u << 3,
    SAY_OPEN = 1u << 4,
};
#define SAY_ALL (SAY_ADD | SAY_CONSOLE | SAY_RESIZE | SAY_NAME | SAY_OPEN)

struct message_to_driver {
    struct virtio_console_control header;
    unsigned char more[NAME_MAX_BYTES];
};

static struct {
    unsigned int ports;
    char name[DEVICE_NAME_SIZE];
    struct chain chain;
} control;

void console_control_init(unsigned int ports, const char *name)
{
    memset(&control, 0, sizeof(control));
    control.ports = ports;
    /* "console 3" becomes "console3": Linux makes /dev/virtio-ports/console3.1 of it. */
    for (size_t to = 0; *name && to < sizeof(control.name) - 1; name++) {
        if (*name != ' ')
            control.name[to++] = *name;
    }
}

bool console_open(const struct device *dev, unsigned int port)
{
    return port == 0 || (dev->state->of_kind.console.guest_open & 1u << port) != 0;
}

bool console_control_valid(const struct state_console *state)
{
    unsigned int beyond = (unsigned int)state->ready | state->guest_open;
    bool valid = beyond >> control.ports == 0;
    for (unsigned int p = 0; p < STATE_CONSOLE_PORTS; p++)
        valid &= (state->pending[p] & ~(p < control.ports ? SAY_ALL : 0u)) == 0;
    return valid;
}

static void say(struct device *dev, unsigned int port, unsigned int messages)
{
    dev->state->of_kind.console.pending[port] |= (uint8_t)messages;
    dev->work |= 1u << CONSOLE_CONTROL_RX;
}

void console_control_resized(struct device *dev)
{
    if (console_multiport(dev) && (dev->state->of_kind.console.ready & 1u) != 0)
        say(dev, 0, SAY_RESIZE);
}

/* ---- From the driver ---- */

static void set_bit(uint8_t *bits, unsigned int bit, bool value)
{
    *bits = (uint8_t)(value ? *bits | 1u << bit : *bits & ~(1u << bit));
}

static void heard(struct device *dev, const struct virtio_console_control *message)
{
    struct state_console *state = &dev->state->of_kind.console;
    uint32_t port = message->id;
    if (message->event == VIRTIO_CONSOLE_DEVICE_READY && message->value == 1) {
        for (unsigned int p = 0; p < control.ports; p++)
            say(dev, p, SAY_ADD);
        return;
    }
    if (port >= control.ports)
        return;
    if (message->event == VIRTIO_CONSOLE_PORT_READY && message->value == 1) {
        set_bit(&state->ready, port, true);
        say(dev, port, (port == 0 ? SAY_CONSOLE | SAY_RESIZE : 0) | SAY_NAME | SAY_OPEN);
    } else if (message->event == VIRTIO_CONSOLE_PORT_OPEN) {
        set_bit(&state->guest_open, port, message->value == 1);
        dev->work |= 1u << console_rx_queue(port);
    }
}

static enum serve hear(struct turn *turn)
{
    struct virtio_console_control message = {0};
    enum serve r = turn_take(turn, &control.chain, sizeof(message), 0);
    if (r != SERVE_DONE)
        return r;
    struct cursor from = chain_readable(&control.chain);
    cursor_read(&from, &message, sizeof(message));
    heard(turn->dev, &message);
    virtqueue_push(turn->vq, control.chain.ref, 0);
    return SERVE_DONE;
}

/* ---- To the driver ---- */

/* The next message that is due; 0: none. */
static unsigned int next_due(const struct state_console *state, unsigned int *ret_port)
{
    for (unsigned int p = 0; p < control.ports; p++) {
        unsigned int due = state->pending[p];
        *ret_port = p;
        if (due != 0)
            return due & -due;
    }
    return 0;
}

/* Build a message. Returns its length. */
static uint32_t compose(const struct device *dev, unsigned int port, unsigned int what,
                        struct message_to_driver *ret)
{
    const uint32_t header = sizeof(ret->header);
    *ret = (struct message_to_driver){.header = {.id = port, .value = 1}};
    switch (what) {
    case SAY_ADD:
        ret->header.event = VIRTIO_CONSOLE_PORT_ADD;
        return header;
    case SAY_CONSOLE:
        ret->header.event = VIRTIO_CONSOLE_CONSOLE_PORT;
        return header;
    case SAY_RESIZE:
        ret->header.event = VIRTIO_CONSOLE_RESIZE;
        memcpy(ret->more, dev->config, 2 * sizeof(uint16_t)); /* cols, rows */
        return header + 2 * (uint32_t)sizeof(uint16_t);
    case SAY_NAME: {
        ret->header.event = VIRTIO_CONSOLE_PORT_NAME;
        size_t length = strlen(control.name);
        memcpy(ret->more, control.name, length);
        ret->more[length++] = '.';
        ret->more[length++] = (unsigned char)('0' + port);
        return header + (uint32_t)length;
    }
    default:
        ret->header.event = VIRTIO_CONSOLE_PORT_OPEN;
        return header;
    }
}

static enum serve tell(struct turn *turn)
{
    struct state_console *state = &turn->dev->state->of_kind.console;
    struct message_to_driver message;
    unsigned int port;
    unsigned int what = next_due(state, &port);
    if (what == 0)
        return SERVE_WAIT_BACKEND; /* nothing is to be said: new buffers need no attention */
    uint32_t length = compose(turn->dev, port, what, &message);
    enum serve r = turn_take(turn, &control.chain, 0, length);
    if (r != SERVE_DONE)
        return r;
    struct cursor room = chain_writable(&control.chain);
    cursor_write(&room, &message, length);
    virtqueue_push(turn->vq, control.chain.ref, length);
    virtqueue_publish(turn->vq);
    atomic_signal_fence(memory_order_seq_cst);
    state->pending[port] &= (uint8_t)~what;
    return SERVE_DONE;
}

enum serve console_control_turn(struct device *dev, unsigned int queue,
                                struct guest_fault *ret_fault)
{
    static const struct turn_rules rules = {.steps = TURN_MESSAGES};
    return queue == CONSOLE_CONTROL_TX ? turn_run(dev, queue, &rules, hear, ret_fault)
                                       : turn_run(dev, queue, &rules, tell, ret_fault);
}
